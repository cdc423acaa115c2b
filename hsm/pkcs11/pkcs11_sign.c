#include "hsm/pkcs11/pkcs11_sign.h"

#include <string.h>

#include "crypto/digest.h"
#include "hsm/pkcs11/pkcs11_login.h"

#define ANSWER_MAX 256u /* longer than any signature we ask for */

static const char doing_sign[] = "sign";

struct signing {
    unsigned index; /* of the session */
    struct hsm_key *key;
    struct ath_slice input; /* digest; for EdDSA the message */
    struct ath_slice pin;
    uint8_t signature[ANSWER_MAX];
    CK_ULONG len;
};

static CK_RV
call_sign(struct pkcs11_token *token, CK_SESSION_HANDLE session, struct signing *signing)
{
    uint8_t *input = (uint8_t *)(uintptr_t)signing->input.data; /* the parameter lacks a const */

    signing->len = sizeof(signing->signature);
    return token->module->f->C_Sign(session, input, signing->input.len, signing->signature,
                                    &signing->len);
}

/* The session must not go on waiting for this signature. Only the one that holds the login is kept:
 * there C_Sign, which now fails, ends it (PKCS #11 2.40, 5.11). */
static void
abandon(struct pkcs11_token *token, CK_SESSION_HANDLE session, struct signing *signing)
{
    if (signing->index != PKCS11_MAIN_SESSION)
        pkcs11_session_drop(token, signing->index);
    else
        (void)call_sign(token, session, signing);
}

/* C_SignInit has succeeded. */
static ath_err
finish(struct pkcs11_token *token, CK_SESSION_HANDLE session, struct signing *signing,
       struct hsm_fault *fault)
{
    ath_err err = ATH_OK;
    CK_RV rv;

    if (signing->key->facts.always_authenticate)
        err = pkcs11_login_for_signature(token, session, signing->pin, fault);
    if (err != ATH_OK) {
        abandon(token, session, signing);
        return err;
    }
    rv = call_sign(token, session, signing);
    if (rv == CKR_BUFFER_TOO_SMALL) /* the one failure after which the module goes on waiting */
        pkcs11_session_drop(token, signing->index);
    return pkcs11_error_report(rv, doing_sign, fault);
}

static ath_err
sign_step(struct pkcs11_token *token, CK_SESSION_HANDLE session, void *arg, struct hsm_fault *fault)
{
    struct signing *signing = arg;
    CK_MECHANISM mechanism = {signing->key->curve->sign, NULL, 0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    ath_err err;

    err = pkcs11_key_use(token, session, signing->key, fault, &handle);
    if (err != ATH_OK)
        return err;
    err = pkcs11_error_report(token->module->f->C_SignInit(session, &mechanism, handle), doing_sign,
                              fault);
    if (err == ATH_OK)
        err = finish(token, session, signing, fault);
    if (err != ATH_OK)
        pkcs11_key_forget(token, signing->key, handle);
    return err;
}

static ath_err
take_signature(const struct signing *signing, struct hsm_fault *fault,
               uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    size_t len = key_algorithm_signature_len(signing->key->curve->algorithm);

    if (signing->len != len)
        return pkcs11_error_nonsense(doing_sign, "made a signature of a length that is none",
                                     fault);
    memcpy(ret_signature, signing->signature, len);
    return ATH_OK;
}

static ath_err
digest_of(enum key_algorithm algorithm, struct ath_slice message, uint8_t digest[SHA384_LEN],
          struct ath_slice *ret_input)
{
    switch (algorithm) {
    case KEY_ES256:
        *ret_input = ath_slice_of(digest, SHA256_LEN);
        return sha256(message, digest);
    case KEY_ES384:
        *ret_input = ath_slice_of(digest, SHA384_LEN);
        return sha384(message, digest);
    case KEY_EDDSA:
        break;
    }
    *ret_input = message;
    return ATH_OK;
}

ath_err
pkcs11_sign(struct pkcs11_token *token, unsigned worker, struct hsm_key *key,
            struct ath_slice message, struct ath_slice pin, struct hsm_fault *fault,
            uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    struct signing signing = {
        .index = pkcs11_session_of_worker(token, worker), .key = key, .pin = pin};
    uint8_t digest[SHA384_LEN];
    ath_err err;

    if (key->facts.always_authenticate && pin.len == 0 && token->info.login != HSM_LOGIN_PAD)
        return why_set(&fault->why, ATH_ERR_PIN_REQUIRED,
                       "the key wants the token's PIN for each signature");
    if ((err = digest_of(key->curve->algorithm, message, digest, &signing.input)) != ATH_OK)
        return err;
    /* A PIN is given once: what fails after it is not done again. */
    err = key->facts.always_authenticate
              ? pkcs11_session_run_once(token, signing.index, sign_step, &signing, fault)
              : pkcs11_session_run(token, signing.index, sign_step, &signing, fault);
    return err != ATH_OK ? err : take_signature(&signing, fault, ret_signature);
}

struct drawing {
    uint8_t *bytes;
    size_t len;
};

static ath_err
random_step(struct pkcs11_token *token, CK_SESSION_HANDLE session, void *arg,
            struct hsm_fault *fault)
{
    const struct drawing *drawing = arg;

    return pkcs11_error_report(
        token->module->f->C_GenerateRandom(session, drawing->bytes, drawing->len),
        "draw random bytes", fault);
}

ath_err
pkcs11_random(struct pkcs11_token *token, uint8_t *ret_bytes, size_t len, struct hsm_fault *fault)
{
    struct drawing drawing = {ret_bytes, len};

    return pkcs11_session_run(token, PKCS11_MAIN_SESSION, random_step, &drawing, fault);
}
