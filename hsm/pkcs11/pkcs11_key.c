#include "hsm/pkcs11/pkcs11_key.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hsm/pkcs11/pkcs11_public.h"

#define PUBLIC_MAX 8u /* public keys with one id */

/* ---- the URI ---- */

static bool
is_own_module(const struct pkcs11_token *token, const struct pkcs11_uri *uri)
{
    if (uri->module_name[0] != '\0')
        return strcmp(uri->module_name, token->wanted.module_name) == 0;
    return uri->module_path[0] == '\0' || strcmp(uri->module_path, token->module->path) == 0;
}

static ath_err
judge_uri(const struct pkcs11_token *token, const struct pkcs11_uri *uri, struct why *why)
{
    if (uri->pin_file[0] != '\0' || uri->pin_credential[0] != '\0')
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "a key's URI names no pin-source: that belongs into the hsm's");
    if (!is_own_module(token, uri))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the key's URI names another module than the hsm's (%s)",
                       token->module->path);
    if (!pkcs11_uri_token_matches(uri, &token->place.name))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "this key lies in another token: \"%s\" (serial %s), while this hsm is "
                       "\"%s\" (serial %s)",
                       uri->token[0] != '\0' ? uri->token : "any label",
                       uri->serial[0] != '\0' ? uri->serial : "any", token->place.name.token,
                       token->place.name.serial);
    if (uri->id_len == 0 && uri->object[0] == '\0')
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the URI names no key: it says neither id= nor object=");
    return ATH_OK;
}

/* ---- finding ---- */

static struct ath_slice
id_of(const struct hsm_key *key)
{
    return ath_slice_of(key->id, key->id_len);
}

static struct ath_slice
label_of(const struct hsm_key *key)
{
    return ath_slice_of_string(key->label);
}

/* ATH_ERR_NOT_FOUND: the token shows no such private key. */
static ath_err
find_private(struct pkcs11_token *token, CK_SESSION_HANDLE session, const struct hsm_key *key,
             struct hsm_fault *fault, CK_OBJECT_HANDLE *ret_handle)
{
    const struct pkcs11_object_query query = {CKO_PRIVATE_KEY, id_of(key), label_of(key)};
    CK_OBJECT_HANDLE objects[2];
    size_t count = 0;
    ath_err err = pkcs11_object_find(token, session, &query, objects, 2, &count, fault);

    if (err != ATH_OK)
        return err;
    if (count == 0)
        return ATH_ERR_NOT_FOUND;
    if (count > 1)
        return why_set(&fault->why, ATH_ERR_INVALID_PARAMS,
                       "the token has more than one private key that fits the URI; say id= and "
                       "object=");
    *ret_handle = objects[0];
    return ATH_OK;
}

/* Private keys are not to be seen before somebody logs in, and not when the token was taken out. */
static ath_err
explain_missing(struct pkcs11_token *token, CK_SESSION_HANDLE session, struct hsm_fault *fault)
{
    ath_err err = pkcs11_session_need_login(token, session, fault);

    if (err == ATH_OK)
        err = pkcs11_token_check(token, fault);
    return err != ATH_OK ? err
                         : why_set(&fault->why, ATH_ERR_KEY_NOT_FOUND,
                                   "the token \"%s\" has no such private key", token->info.label);
}

ath_err
pkcs11_key_use(struct pkcs11_token *token, CK_SESSION_HANDLE session, struct hsm_key *key,
               struct hsm_fault *fault, CK_OBJECT_HANDLE *ret_handle)
{
    ath_err err = ATH_OK;

    (void)pthread_mutex_lock(&token->lock);
    if (key->handle == CK_INVALID_HANDLE || key->generation != token->generation) {
        key->handle = CK_INVALID_HANDLE;
        err = find_private(token, session, key, fault, &key->handle);
        key->generation = token->generation;
    }
    *ret_handle = key->handle;
    (void)pthread_mutex_unlock(&token->lock);
    return err == ATH_ERR_NOT_FOUND ? explain_missing(token, session, fault) : err;
}

void
pkcs11_key_forget(struct pkcs11_token *token, struct hsm_key *key, CK_OBJECT_HANDLE handle)
{
    (void)pthread_mutex_lock(&token->lock);
    if (key->handle == handle)
        key->handle = CK_INVALID_HANDLE;
    (void)pthread_mutex_unlock(&token->lock);
}

/* ---- reading ---- */

ath_err
pkcs11_key_read_facts(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                      CK_OBJECT_HANDLE handle, struct hsm_fault *fault,
                      struct hsm_key_facts *ret_facts)
{
    struct hsm_key_facts facts = {.extractable = true};
    const struct {
        CK_ATTRIBUTE_TYPE type;
        bool if_unknown;
        bool *value;
    } attributes[] = {
        {CKA_LOCAL, false, &facts.generated_inside},
        {CKA_EXTRACTABLE, true, &facts.extractable},
        {CKA_ALWAYS_SENSITIVE, false, &facts.always_sensitive},
        {CKA_NEVER_EXTRACTABLE, false, &facts.never_extractable},
        {CKA_ALWAYS_AUTHENTICATE, false, &facts.always_authenticate},
    };
    ath_err err;

    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
        err = pkcs11_object_bool(token, session, handle, attributes[i].type,
                                 attributes[i].if_unknown, fault, attributes[i].value);
        if (err != ATH_OK)
            return err;
    }
    *ret_facts = facts;
    return ATH_OK;
}

ath_err
pkcs11_key_put_uri(struct pkcs11_token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle,
                   struct hsm_fault *fault, struct pkcs11_uri *ret_uri, struct ath_buf *out)
{
    struct pkcs11_uri uri = token->place.name;
    size_t label_len = 0;
    ath_err err;

    err = pkcs11_object_bytes(token, session, handle, CKA_ID, uri.id, sizeof(uri.id), &uri.id_len,
                              fault);
    if (err != ATH_OK && err != ATH_ERR_NOT_FOUND)
        return err;
    err = pkcs11_object_bytes(token, session, handle, CKA_LABEL, (uint8_t *)uri.object,
                              sizeof(uri.object) - 1, &label_len, fault);
    if (err != ATH_OK && err != ATH_ERR_NOT_FOUND)
        return err;
    uri.object[label_len] = '\0';
    if (strlen(uri.object) != label_len) /* what has a NUL in it cannot be said in a URI */
        memset(uri.object, 0, sizeof(uri.object));
    if (uri.id_len == 0 && uri.object[0] == '\0')
        return why_set(&fault->why, ATH_ERR_INVALID_PARAMS,
                       "the key has neither an id nor a label by which it could be found again");
    pkcs11_uri_put_path(&uri, out);
    *ret_uri = uri;
    return out->err;
}

static ath_err
judge_kind(struct pkcs11_token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle,
           struct hsm_fault *fault)
{
    CK_ULONG type = 0;
    bool signs = false;
    ath_err err;

    err = pkcs11_object_number(token, session, handle, CKA_KEY_TYPE, fault, &type);
    if (err == ATH_OK && type != CKK_EC && type != CKK_EC_EDWARDS)
        err = why_set(&fault->why, ATH_ERR_UNSUPPORTED_ALGORITHM,
                      "the key is not on P-256, P-384 or Ed25519");
    if (err == ATH_OK)
        err = pkcs11_object_bool(token, session, handle, CKA_SIGN, true, fault, &signs);
    if (err == ATH_OK && !signs)
        err = why_set(&fault->why, ATH_ERR_INVALID_PARAMS, "the key cannot sign");
    return err;
}

static ath_err
judge_algorithm(const struct pkcs11_token *token, struct hsm_key *key, struct why *why)
{
    enum key_algorithm algorithm = public_key_algorithm(key->public);

    key->curve = pkcs11_curve_of_algorithm(algorithm);
    if (key->curve == NULL || (token->info.algorithms & 1u << algorithm) == 0)
        return why_set(why, ATH_ERR_UNSUPPORTED_ALGORITHM,
                       "the token holds a key for %s, but does not sign with it",
                       key_algorithm_name(algorithm));
    return ATH_OK;
}

/* Runs again after a failure: what an earlier run left is replaced. */
static ath_err
read_step(struct pkcs11_token *token, CK_SESSION_HANDLE session, void *arg, struct hsm_fault *fault)
{
    struct hsm_key *key = arg;
    struct pkcs11_uri uri = {.id_len = 0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    ath_err err;

    ath_buf_clear(&key->blob);
    public_key_free(key->public);
    key->public = NULL;
    key->handle = CK_INVALID_HANDLE;
    if ((err = pkcs11_key_use(token, session, key, fault, &handle)) != ATH_OK)
        return err;
    if ((err = judge_kind(token, session, handle, fault)) != ATH_OK)
        return err;
    if ((err = pkcs11_key_read_facts(token, session, handle, fault, &key->facts)) != ATH_OK)
        return err;
    if ((err = pkcs11_key_put_uri(token, session, handle, fault, &uri, &key->blob)) != ATH_OK)
        return err;
    err = pkcs11_public_read(token, session, handle, ath_slice_of(uri.id, uri.id_len),
                             ath_slice_of_string(uri.object), fault, &key->public);
    if (err != ATH_OK)
        return err;
    memcpy(key->id, uri.id, sizeof(key->id));
    key->id_len = uri.id_len;
    memcpy(key->label, uri.object, sizeof(key->label));
    return judge_algorithm(token, key, &fault->why);
}

ath_err
pkcs11_key_open(struct pkcs11_token *token, struct ath_slice blob, struct hsm_fault *fault,
                struct hsm_key **ret_key)
{
    struct hsm_key *key = calloc(1, sizeof(*key));
    struct pkcs11_uri uri;
    ath_err err;

    if (key == NULL)
        return ATH_ERR_NOMEM;
    key->blob.max = PKCS11_URI_MAX;
    if ((err = pkcs11_uri_parse(blob, &fault->why, &uri)) != ATH_OK)
        goto out;
    if ((err = judge_uri(token, &uri, &fault->why)) != ATH_OK)
        goto out;
    memcpy(key->id, uri.id, sizeof(key->id));
    key->id_len = uri.id_len;
    memcpy(key->label, uri.object, sizeof(key->label));
    err = pkcs11_session_run(token, PKCS11_MAIN_SESSION, read_step, key, fault);
    if (err != ATH_OK)
        goto out;
    *ret_key = key;
    key = NULL;
out:
    pkcs11_key_close(key);
    return err;
}

void
pkcs11_key_close(struct hsm_key *key)
{
    if (key == NULL)
        return;
    public_key_free(key->public);
    ath_buf_done(&key->blob);
    free(key);
}

/* ---- deleting ---- */

/* The private key is gone by now: what is left of it harms nobody. */
static void
delete_public(struct pkcs11_token *token, CK_SESSION_HANDLE session, const struct hsm_key *key)
{
    const struct pkcs11_object_query query = {CKO_PUBLIC_KEY, id_of(key), label_of(key)};
    CK_OBJECT_HANDLE objects[PUBLIC_MAX];
    struct hsm_fault fault = {0};
    size_t count = 0;
    ath_err err;

    err = pkcs11_object_find(token, session, &query, objects, PUBLIC_MAX, &count, &fault);
    for (size_t i = 0; err == ATH_OK && i < count; i++)
        err = pkcs11_error_report(token->module->f->C_DestroyObject(session, objects[i]),
                                  "delete the public key", &fault);
    if (err != ATH_OK)
        log_warning("event=public_key_stays key=%.8s why=\"%s\"", public_key_jkt(key->public),
                    why_text(&fault.why, err));
}

static ath_err
delete_step(struct pkcs11_token *token, CK_SESSION_HANDLE session, void *arg,
            struct hsm_fault *fault)
{
    struct hsm_key *key = arg;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    ath_err err;

    if ((err = pkcs11_session_need_login(token, session, fault)) != ATH_OK)
        return err;
    if ((err = pkcs11_key_use(token, session, key, fault, &handle)) != ATH_OK)
        return err;
    err = pkcs11_error_report(token->module->f->C_DestroyObject(session, handle), "delete the key",
                              fault);
    if (err != ATH_OK) {
        pkcs11_key_forget(token, key, handle);
        return err;
    }
    delete_public(token, session, key);
    return ATH_OK;
}

ath_err
pkcs11_key_delete(struct pkcs11_token *token, struct hsm_key *key, struct hsm_fault *fault)
{
    ath_err err = pkcs11_session_run(token, PKCS11_MAIN_SESSION, delete_step, key, fault);

    if (err == ATH_OK)
        pkcs11_key_close(key);
    return err;
}
