#include "hsm/pkcs11/pkcs11_create.h"

#include <string.h>

#include "crypto/random.h"

#define ID_LEN 16u

static const char doing_create[] = "create the key";

struct creation {
    const struct pkcs11_curve *curve;
    const char *label;
    uint8_t id[ID_LEN];
    struct ath_buf *blob;
    CK_OBJECT_HANDLE public, private;
};

/* `uses`: also say that the key is not for secrets; not every token lets itself be told. */
static CK_RV
generate(struct pkcs11_token *token, CK_SESSION_HANDLE session, struct creation *creation,
         size_t spelling, bool uses)
{
    const struct pkcs11_curve *curve = creation->curve;
    CK_MECHANISM mechanism = {curve->generate, NULL, 0};
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_KEY_TYPE type = curve->key_type;
    void *label = (void *)(uintptr_t)creation->label; /* the parameter lacks a const */
    void *params = (void *)(uintptr_t)curve->params[spelling].der;
    CK_ATTRIBUTE public[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_PRIVATE, &no, sizeof(no)},
        {CKA_VERIFY, &yes, sizeof(yes)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_EC_PARAMS, params, curve->params[spelling].len},
        {CKA_ID, creation->id, sizeof(creation->id)},
        {CKA_LABEL, label, strlen(creation->label)},
    };
    CK_ATTRIBUTE private[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},
        {CKA_EXTRACTABLE, &no, sizeof(no)},
        {CKA_SIGN, &yes, sizeof(yes)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_ID, creation->id, sizeof(creation->id)},
        {CKA_LABEL, label, strlen(creation->label)},
        {CKA_DERIVE, &no, sizeof(no)},
        {CKA_DECRYPT, &no, sizeof(no)},
        {CKA_UNWRAP, &no, sizeof(no)},
    };
    const CK_ULONG public_count = sizeof(public) / sizeof(public[0]);
    const CK_ULONG private_count = sizeof(private) / sizeof(private[0]) - (uses ? 0 : 2);

    return token->module->f->C_GenerateKeyPair(session, &mechanism, public, public_count, private,
                                               private_count, &creation->public,
                                               &creation->private);
}

/* Would another spelling of the same wish do? */
static bool
is_of_template(CK_RV rv)
{
    static const CK_RV codes[] = {
        CKR_ATTRIBUTE_READ_ONLY,   CKR_ATTRIBUTE_TYPE_INVALID,  CKR_ATTRIBUTE_VALUE_INVALID,
        CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCOMPLETE,     CKR_DOMAIN_PARAMS_INVALID,
        CKR_CURVE_NOT_SUPPORTED,   CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD,
        CKR_GENERAL_ERROR,         CKR_FUNCTION_FAILED,
    };

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i] == rv)
            return true;
    }
    return false;
}

static CK_RV
generate_somehow(struct pkcs11_token *token, CK_SESSION_HANDLE session, struct creation *creation)
{
    CK_RV rv = CKR_FUNCTION_NOT_SUPPORTED;

    for (unsigned i = 0; i < 2 * PKCS11_CURVE_SPELLINGS; i++) {
        size_t spelling = i / 2;
        bool uses = i % 2 == 0;

        if (creation->curve->params[spelling].len == 0 ||
            (uses && token->module->verify_is_decrypt))
            continue;
        rv = generate(token, session, creation, spelling, uses);
        if (rv == CKR_OK || !is_of_template(rv))
            return rv;
    }
    return rv;
}

/* A token may grant less than was asked for without a word. */
static ath_err
judge(struct pkcs11_token *token, CK_SESSION_HANDLE session, const struct creation *creation,
      struct hsm_fault *fault)
{
    struct hsm_key_facts facts;
    bool sensitive = false;
    ath_err err;

    err = pkcs11_key_read_facts(token, session, creation->private, fault, &facts);
    if (err == ATH_OK)
        err = pkcs11_object_bool(token, session, creation->private, CKA_SENSITIVE, false, fault,
                                 &sensitive);
    if (err == ATH_OK && (facts.extractable || !sensitive))
        err = why_set(&fault->why, ATH_ERR_HSM_ERROR,
                      "the token made a key that could be taken out of it, though told not to; it "
                      "was deleted again");
    return err;
}

static void
destroy(struct pkcs11_token *token, CK_SESSION_HANDLE session, const struct creation *creation)
{
    if (creation->private != CK_INVALID_HANDLE)
        (void)token->module->f->C_DestroyObject(session, creation->private);
    if (creation->public != CK_INVALID_HANDLE)
        (void)token->module->f->C_DestroyObject(session, creation->public);
}

static ath_err
create_step(struct pkcs11_token *token, CK_SESSION_HANDLE session, void *arg,
            struct hsm_fault *fault)
{
    struct creation *creation = arg;
    struct pkcs11_uri uri;
    ath_err err;

    if ((err = pkcs11_session_need_login(token, session, fault)) != ATH_OK)
        return err;
    err = pkcs11_error_report(generate_somehow(token, session, creation), doing_create, fault);
    if (err != ATH_OK)
        return err;
    if (creation->private == CK_INVALID_HANDLE || creation->public == CK_INVALID_HANDLE)
        err = pkcs11_error_nonsense(doing_create, "made a key without a handle", fault);
    else if ((err = judge(token, session, creation, fault)) == ATH_OK)
        err = pkcs11_key_put_uri(token, session, creation->private, fault, &uri, creation->blob);
    if (err != ATH_OK)
        destroy(token, session, creation);
    return err;
}

ath_err
pkcs11_key_create(struct pkcs11_token *token, enum key_algorithm algorithm, const char *label,
                  struct hsm_fault *fault, struct ath_buf *blob)
{
    struct creation creation = {
        .curve = pkcs11_curve_of_algorithm(algorithm), .label = label, .blob = blob};
    ath_err err;

    if (creation.curve == NULL || (token->info.algorithms & 1u << algorithm) == 0)
        return why_set(&fault->why, ATH_ERR_UNSUPPORTED_ALGORITHM,
                       "the token \"%s\" does not have this algorithm", token->info.label);
    if ((err = random_bytes(creation.id, sizeof(creation.id))) != ATH_OK)
        return err;
    return pkcs11_session_run_once(token, PKCS11_MAIN_SESSION, create_step, &creation, fault);
}
