#include "hsm/tpm/tpm_session.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "crypto/random.h"
#include "hsm/tpm/tpm_error.h"
#include "hsm/tpm/tpm_kdf.h"

#define NONCE_LEN TPM_SESSION_NONCE_LEN
#define CFB_KEY_LEN 16
#define MAX_PARAMETER 2048u

struct tpm_session {
    TPM2_HANDLE handle; /* 0: none in the TPM */
    bool out_of_step;
    unsigned uses;
    struct ath_secret key; /* the session's, and behind it the authValue of the command at hand */
    size_t auth_len;
    uint8_t nonce_tpm[NONCE_LEN], nonce_caller[NONCE_LEN];
    TPMA_SESSION attributes; /* of the command under way */
    EVP_CIPHER *cfb;
    EVP_CIPHER_CTX *cipher;
};

ath_err
tpm_session_new(struct tpm_session **ret_session)
{
    struct tpm_session *session = calloc(1, sizeof(*session));
    ath_err err;

    if (session == NULL)
        return ATH_ERR_NOMEM;
    if ((err = ath_secret_init(&session->key, TPM_KDF_LEN + TPM_AUTH_MAX)) != ATH_OK)
        goto fail;
    err = ATH_ERR_CRYPTO;
    if ((session->cfb = EVP_CIPHER_fetch(NULL, "AES-128-CFB", NULL)) == NULL ||
        (session->cipher = EVP_CIPHER_CTX_new()) == NULL)
        goto fail;
    *ret_session = session;
    return ATH_OK;
fail:
    ERR_clear_error();
    tpm_session_free(session);
    return err;
}

void
tpm_session_free(struct tpm_session *session)
{
    if (session == NULL)
        return;
    EVP_CIPHER_CTX_free(session->cipher);
    EVP_CIPHER_free(session->cfb);
    ath_secret_done(&session->key);
    explicit_bzero(session, sizeof(*session));
    free(session);
}

static struct ath_slice
nonce_slice(const uint8_t nonce[NONCE_LEN])
{
    return ath_slice_of(nonce, NONCE_LEN);
}

static ath_err
session_open(struct tpm_session *session, struct tpm_context *context, TPM2_HANDLE salt_key,
             const TPM2B_ENCRYPTED_SECRET *encrypted, struct hsm_fault *fault)
{
    const TPMT_SYM_DEF symmetric = {
        .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};
    TPM2B_NONCE caller = {.size = NONCE_LEN}, tpm = {.size = sizeof(tpm.buffer)};
    TPM2_HANDLE handle;
    TSS2_RC rc;

    memcpy(caller.buffer, session->nonce_caller, NONCE_LEN);
    rc = Tss2_Sys_StartAuthSession(context->sys, salt_key, TPM2_RH_NULL, NULL, &caller, encrypted,
                                   TPM2_SE_HMAC, &symmetric, TPM2_ALG_SHA256, &handle, &tpm, NULL);
    if (rc == TSS2_RC_SUCCESS && tpm.size != NONCE_LEN) {
        tpm_context_flush(context, handle);
        rc = TSS2_TCTI_RC_MALFORMED_RESPONSE;
    }
    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, "start a session with the TPM", fault);
    memcpy(session->nonce_tpm, tpm.buffer, NONCE_LEN);
    session->handle = handle;
    session->out_of_step = false;
    session->uses = 0;
    return ATH_OK;
}

ath_err
tpm_session_start(struct tpm_session *session, struct tpm_context *context, TPM2_HANDLE salt_key,
                  const TPMT_PUBLIC *salt_public, struct hsm_fault *fault)
{
    TPM2B_ENCRYPTED_SECRET encrypted = {0};
    uint8_t salt[TPM_KDF_LEN];
    ath_err err;

    tpm_session_end(session, context);
    if ((err = tpm_salt_new(salt_public, &encrypted, salt)) != ATH_OK)
        goto out;
    if ((err = random_bytes(session->nonce_caller, NONCE_LEN)) != ATH_OK)
        goto out;
    if ((err = session_open(session, context, salt_key, &encrypted, fault)) != ATH_OK)
        goto out;
    err = tpm_kdfa(ath_slice_of(salt, sizeof(salt)), "ATH", nonce_slice(session->nonce_tpm),
                   nonce_slice(session->nonce_caller), session->key.data);
    if (err != ATH_OK)
        tpm_session_end(session, context);
out:
    explicit_bzero(salt, sizeof(salt));
    return err;
}

bool
tpm_session_is_usable(const struct tpm_session *session)
{
    return session->handle != 0 && !session->out_of_step && session->uses < TPM_SESSION_MAX_USES;
}

void
tpm_session_end(struct tpm_session *session, struct tpm_context *context)
{
    if (session->handle != 0)
        tpm_context_flush(context, session->handle);
    session->handle = 0;
    explicit_bzero(session->key.data, session->key.len);
}

/* H(head || names || parameters): cpHash and rpHash of part 1, 18.7 and 18.8. */
static ath_err
parameter_hash(struct ath_slice head, const struct tpm_call *call, struct ath_slice parameters,
               uint8_t ret_digest[SHA256_LEN])
{
    uint8_t input[8 + 3 * TPM_NAME_MAX];
    size_t len = head.len;

    memcpy(input, head.data, head.len);
    for (size_t i = 0; call != NULL && i < call->name_count; i++) {
        if (call->names[i].len > sizeof(input) - len)
            return ATH_ERR_INTERNAL;
        memcpy(input + len, call->names[i].bytes, call->names[i].len);
        len += call->names[i].len;
    }
    return sha256_2(ath_slice_of(input, len), parameters, ret_digest);
}

/* sessionKey || authValue (part 1, 19.6.5 and 21.2). */
static struct ath_slice
session_value(const struct tpm_session *session)
{
    return ath_slice_of(session->key.data, TPM_KDF_LEN + session->auth_len);
}

static ath_err
take_auth(struct tpm_session *session, const struct tpm_call *call)
{
    if (call->auth.len > TPM_AUTH_MAX)
        return ATH_ERR_INTERNAL;
    if (call->auth.len > 0)
        memcpy(session->key.data + TPM_KDF_LEN, call->auth.data, call->auth.len);
    session->auth_len = call->auth.len;
    return ATH_OK;
}

static void
drop_auth(struct tpm_session *session)
{
    if (session->auth_len > 0)
        explicit_bzero(session->key.data + TPM_KDF_LEN, session->auth_len);
    session->auth_len = 0;
}

/* Part 1, 19.6.5: HMAC(sessionKey || authValue, pHash || nonceNewer || nonceOlder || attributes).
 */
static ath_err
session_hmac(const struct tpm_session *session, const uint8_t hash[SHA256_LEN],
             const uint8_t *newer, const uint8_t *older, TPMA_SESSION attributes,
             uint8_t ret_mac[SHA256_LEN])
{
    uint8_t input[SHA256_LEN + 2 * NONCE_LEN + 1];

    memcpy(input, hash, SHA256_LEN);
    memcpy(input + SHA256_LEN, newer, NONCE_LEN);
    memcpy(input + SHA256_LEN + NONCE_LEN, older, NONCE_LEN);
    input[SHA256_LEN + 2 * NONCE_LEN] = attributes;
    return hmac_sha256(session_value(session), ath_slice_of(input, sizeof(input)), ret_mac);
}

/* Part 1, 21.3: AES-128-CFB with key and IV from KDFa("CFB"). Encrypts or decrypts in place. */
static ath_err
session_crypt(struct tpm_session *session, bool encrypt, const uint8_t *newer, const uint8_t *older,
              uint8_t *bytes, size_t len)
{
    uint8_t bits[TPM_KDF_LEN];
    int out_len = 0;
    ath_err err;

    err = tpm_kdfa(session_value(session), "CFB", nonce_slice(newer), nonce_slice(older), bits);
    if (err == ATH_OK &&
        (EVP_CipherInit_ex2(session->cipher, session->cfb, bits, bits + CFB_KEY_LEN,
                            encrypt ? 1 : 0, NULL) != 1 ||
         EVP_CipherUpdate(session->cipher, bytes, &out_len, bytes, (int)len) != 1 ||
         (size_t)out_len != len))
        err = ATH_ERR_CRYPTO;
    explicit_bzero(bits, sizeof(bits));
    return err;
}

static ath_err
encrypt_command(struct tpm_session *session, struct tpm_context *context,
                const struct tpm_call *call, struct hsm_fault *fault)
{
    uint8_t bytes[MAX_PARAMETER];
    const uint8_t *plain;
    size_t len;
    ath_err err;
    TSS2_RC rc;

    if ((rc = Tss2_Sys_GetDecryptParam(context->sys, &len, &plain)) != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, call->doing, fault);
    if (len > sizeof(bytes))
        return ATH_ERR_LIMIT_EXCEEDED;
    memcpy(bytes, plain, len);
    err = session_crypt(session, true, session->nonce_caller, session->nonce_tpm, bytes, len);
    if (err == ATH_OK)
        err = tpm_error_report(Tss2_Sys_SetDecryptParam(context->sys, len, bytes), call->doing,
                               fault);
    explicit_bzero(bytes, sizeof(bytes));
    return err;
}

static ath_err
decrypt_response(struct tpm_session *session, struct tpm_context *context,
                 const struct tpm_call *call, struct hsm_fault *fault)
{
    uint8_t bytes[MAX_PARAMETER];
    const uint8_t *cipher;
    size_t len;
    ath_err err;
    TSS2_RC rc;

    if ((rc = Tss2_Sys_GetEncryptParam(context->sys, &len, &cipher)) != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, call->doing, fault);
    if (len > sizeof(bytes))
        return ATH_ERR_LIMIT_EXCEEDED;
    memcpy(bytes, cipher, len);
    err = session_crypt(session, false, session->nonce_tpm, session->nonce_caller, bytes, len);
    if (err == ATH_OK)
        err = tpm_error_report(Tss2_Sys_SetEncryptParam(context->sys, len, bytes), call->doing,
                               fault);
    explicit_bzero(bytes, sizeof(bytes));
    return err;
}

static void
put_code(TPM2_CC code, uint8_t out[4])
{
    for (unsigned i = 0; i < 4; i++)
        out[i] = (uint8_t)(code >> (24 - 8 * i));
}

static ath_err
authorize_command(struct tpm_session *session, struct tpm_context *context,
                  const struct tpm_call *call, struct hsm_fault *fault)
{
    TSS2L_SYS_AUTH_COMMAND auths = {.count = (UINT16)(1 + call->passwords)};
    TPMS_AUTH_COMMAND *auth = &auths.auths[0];
    uint8_t code[4], hash[SHA256_LEN];
    const uint8_t *parameters;
    size_t len;
    ath_err err;
    TSS2_RC rc;

    for (unsigned i = 1; i <= call->passwords; i++)
        auths.auths[i].sessionHandle = TPM2_RH_PW;

    if ((rc = Tss2_Sys_GetCpBuffer(context->sys, &len, &parameters)) != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, call->doing, fault);
    put_code(call->code, code);
    err =
        parameter_hash(ath_slice_of(code, sizeof(code)), call, ath_slice_of(parameters, len), hash);
    if (err != ATH_OK)
        return err;
    auth->sessionHandle = session->handle;
    auth->sessionAttributes = session->attributes;
    auth->nonce.size = NONCE_LEN;
    memcpy(auth->nonce.buffer, session->nonce_caller, NONCE_LEN);
    auth->hmac.size = SHA256_LEN;
    err = session_hmac(session, hash, session->nonce_caller, session->nonce_tpm,
                       session->attributes, auth->hmac.buffer);
    if (err != ATH_OK)
        return err;
    return tpm_error_report(Tss2_Sys_SetCmdAuths(context->sys, &auths), call->doing, fault);
}

static ath_err
protect_command(struct tpm_session *session, struct tpm_context *context,
                const struct tpm_call *call, struct hsm_fault *fault)
{
    ath_err err;

    session->attributes = TPMA_SESSION_CONTINUESESSION | call->protect;
    session->uses++;
    if ((err = random_bytes(session->nonce_caller, NONCE_LEN)) != ATH_OK)
        return err;
    if ((call->protect & TPMA_SESSION_DECRYPT) != 0 &&
        (err = encrypt_command(session, context, call, fault)) != ATH_OK)
        return err;
    return authorize_command(session, context, call, fault);
}

ath_err
tpm_session_send(struct tpm_session *session, struct tpm_context *context,
                 const struct tpm_call *call, struct hsm_fault *fault)
{
    ath_err err;

    if ((err = take_auth(session, call)) == ATH_OK)
        err = protect_command(session, context, call, fault);
    drop_auth(session);
    if (err != ATH_OK)
        return err;
    return tpm_error_report(Tss2_Sys_ExecuteAsync(context->sys), call->doing, fault);
}

/* The response's HMAC with the nonce it brings; only when it holds does the nonce become ours. */
static ath_err
check_response(struct tpm_session *session, struct tpm_context *context,
               const struct tpm_call *call, struct hsm_fault *fault)
{
    uint8_t head[8] = {0}, hash[SHA256_LEN], mac[SHA256_LEN];
    TSS2L_SYS_AUTH_RESPONSE auths = {0};
    const TPMS_AUTH_RESPONSE *auth = &auths.auths[0];
    const uint8_t *parameters;
    size_t len;
    ath_err err;
    TSS2_RC rc;

    session->out_of_step = true;
    if ((rc = Tss2_Sys_GetRspAuths(context->sys, &auths)) != TSS2_RC_SUCCESS ||
        (rc = Tss2_Sys_GetRpBuffer(context->sys, &len, &parameters)) != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, call->doing, fault);
    if (auths.count != 1 + call->passwords || auth->nonce.size != NONCE_LEN ||
        auth->hmac.size != SHA256_LEN)
        return tpm_error_report(TPM_RC_RESPONSE_HMAC, call->doing, fault);
    put_code(call->code, head + 4); /* behind a responseCode of zero */
    err =
        parameter_hash(ath_slice_of(head, sizeof(head)), NULL, ath_slice_of(parameters, len), hash);
    if (err == ATH_OK)
        err = session_hmac(session, hash, auth->nonce.buffer, session->nonce_caller,
                           auth->sessionAttributes, mac);
    if (err != ATH_OK)
        return err;
    if (!bytes_equal_secret(mac, auth->hmac.buffer, SHA256_LEN))
        return tpm_error_report(TPM_RC_RESPONSE_HMAC, call->doing, fault);
    memcpy(session->nonce_tpm, auth->nonce.buffer, NONCE_LEN);
    if ((auth->sessionAttributes & TPMA_SESSION_CONTINUESESSION) == 0)
        session->handle = 0; /* the TPM has ended it */
    session->out_of_step = false;
    return ATH_OK;
}

static ath_err
unprotect_response(struct tpm_session *session, struct tpm_context *context,
                   const struct tpm_call *call, struct hsm_fault *fault)
{
    ath_err err;

    if ((err = check_response(session, context, call, fault)) != ATH_OK)
        return err;
    if ((call->protect & TPMA_SESSION_ENCRYPT) != 0)
        return decrypt_response(session, context, call, fault);
    return ATH_OK;
}

ath_err
tpm_session_receive(struct tpm_session *session, struct tpm_context *context,
                    const struct tpm_call *call, struct hsm_fault *fault)
{
    TSS2_RC rc = Tss2_Sys_ExecuteFinish(context->sys, TSS2_TCTI_TIMEOUT_BLOCK);
    ath_err err;

    if (rc != TSS2_RC_SUCCESS)
        return tpm_error_report(rc, call->doing, fault);
    if ((err = take_auth(session, call)) == ATH_OK)
        err = unprotect_response(session, context, call, fault);
    drop_auth(session);
    return err;
}

ath_err
tpm_session_run(struct tpm_session *session, struct tpm_context *context,
                const struct tpm_call *call, struct hsm_fault *fault)
{
    ath_err err = tpm_session_send(session, context, call, fault);

    return err != ATH_OK ? err : tpm_session_receive(session, context, call, fault);
}
