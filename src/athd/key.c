#include "athd/key.h"

#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "hsm/wire/pkcs11_uri.h"

#define KEY_FILE_VERSION 1

static const char *const confirm_names[] = {
    [KEY_CONFIRM_NEVER] = "never",
    [KEY_CONFIRM_ALWAYS] = "always",
    [KEY_CONFIRM_SESSION] = "session",
};

struct key *
key_new(void)
{
    struct key *key = calloc(1, sizeof(*key));

    if (key != NULL)
        key->references = 1;
    return key;
}

struct key *
key_ref(struct key *key)
{
    key->references++;
    return key;
}

void
key_free(struct key *key)
{
    if (key == NULL || --key->references > 0)
        return;
    public_key_free(key->public_key);
    display_done(&key->display);
    ath_buf_done(&key->blob);
    free(key->agent_id);
    free(key->hsm);
    free(key->name);
    free(key);
}

/* What the pool is to know of it follows from the rest. */
static void
settle_ref(struct key *key)
{
    key->ref.wants_pin = key->facts.always_authenticate;
    key->ref.jkt = key->public_key == NULL ? NULL : public_key_jkt(key->public_key);
    key->ref.has_pin = !key->is_token && !key->facts.empty_auth && key->public_key != NULL;
}

void
key_set_public(struct key *key, struct public_key *taken_public_key)
{
    public_key_free(key->public_key);
    key->public_key = taken_public_key;
    did_of_key(key->role, taken_public_key, key->did);
    settle_ref(key);
}

void
key_attach(struct key *key, struct ath_buf *taken_blob, uint32_t number)
{
    ath_buf_done(&key->blob);
    key->blob = *taken_blob;
    *taken_blob = (struct ath_buf){0};
    key->ref =
        (struct hsm_key_ref){.number = number, .hsm = key->hsm, .blob = ath_buf_slice(&key->blob)};
    settle_ref(key);
}

void
key_set_facts(struct key *key, const struct hsm_key_facts *facts)
{
    key->facts = *facts;
    settle_ref(key);
}

bool
key_is_expired(const struct key *key, int64_t now)
{
    return key->expires_at != 0 && key->expires_at <= now;
}

const char *
key_confirm_name(enum key_confirm confirm)
{
    return confirm_names[confirm];
}

bool
key_confirm_parse(const char *text, enum key_confirm *ret_confirm)
{
    for (size_t i = 0; text != NULL && i < sizeof(confirm_names) / sizeof(*confirm_names); i++)
        if (strcmp(confirm_names[i], text) == 0) {
            *ret_confirm = (enum key_confirm)i;
            return true;
        }
    return false;
}

static const char *
kind_of(const struct key *key)
{
    return key->is_token ? "pkcs11" : "tpm";
}

/* Members that KeyInfo and the file have in common. */
static void
put_common(struct json_maker *maker, const struct key *key)
{
    struct ath_buf pem = {.max = 1024};
    struct json *display = NULL;

    json_put_string(maker, "name", key->name);
    json_put_string(maker, "role", did_role_name(key->role));
    json_put_string(maker, "did", key->did);
    json_put_string(maker, "algorithm", key_algorithm_name(public_key_algorithm(key->public_key)));
    json_put_string(maker, "kid", public_key_jkt(key->public_key));
    json_put_string(maker, "hsm", key->hsm);
    json_put_int(maker, "created_at", key->created_at);
    if (key->expires_at != 0)
        json_put_int(maker, "expires_at", key->expires_at);
    json_put_string(maker, "agent_id", key->agent_id);
    if (key->display.name != NULL) {
        if (display_encode(&key->display, &display) != ATH_OK)
            display = NULL; /* put_take turns it into an error */
        json_put_take(maker, "display", display);
    }
    json_put_string(maker, "confirm", key_confirm_name(key->confirm));
    public_key_put_pem(key->public_key, &pem);
    json_put_slice(maker, "public_pem", ath_buf_slice(&pem));
    ath_buf_done(&pem);
}

static void
put_facts(struct json_maker *maker, const struct hsm_key_facts *facts, bool is_token)
{
    struct json_maker hardware, warnings;

    json_object_begin(&hardware);
    json_put_bool(&hardware, "generated_inside", facts->generated_inside);
    json_put_bool(&hardware, "extractable", facts->extractable);
    if (is_token) {
        json_put_bool(&hardware, "always_sensitive", facts->always_sensitive);
        json_put_bool(&hardware, "never_extractable", facts->never_extractable);
        json_put_bool(&hardware, "always_authenticate", facts->always_authenticate);
    } else {
        json_put_bool(&hardware, "fixed_tpm", facts->fixed_tpm);
        json_put_bool(&hardware, "decrypt", facts->decrypt);
        json_put_bool(&hardware, "da", facts->da);
        json_put_bool(&hardware, "empty_auth", facts->empty_auth);
    }
    if (facts->decrypt || facts->da || (is_token && facts->extractable)) {
        json_array_begin(&warnings);
        if (is_token && facts->extractable)
            json_put_string(&warnings, NULL,
                            "the token lets this key be taken out: a copy may be elsewhere");
        if (facts->decrypt)
            json_put_string(&warnings, NULL, "the TPM lets this key decrypt as well as sign");
        if (facts->da)
            json_put_string(&warnings, NULL,
                            "failed authorisations of other keys can lock this one "
                            "(dictionary attack protection)");
        json_put_maker(&hardware, "warnings", &warnings);
    }
    json_put_maker(maker, "hardware", &hardware);
}

ath_err
key_info(const struct key *key, const struct hsm_pool *pool, struct json **ret_info)
{
    struct json_maker maker;
    struct json *jwk = NULL;
    const char *kind = "";
    bool software = false;

    if (pool != NULL)
        hsm_pool_describe(pool, key->hsm, &kind, &software);
    if (kind[0] == '\0') /* its hsm has not said yet, or is gone */
        software = key->software;
    json_object_begin(&maker);
    put_common(&maker, key);
    json_put_string(&maker, "hsm_kind", kind_of(key));
    json_put_bool(&maker, "software", software);
    json_put_bool(&maker, "pin",
                  key->pin || key->ref.has_pin ||
                      (pool != NULL && key->is_token && hsm_pool_needs_pin(pool, key->hsm)));
    if (public_key_jwk(key->public_key, &jwk) != ATH_OK)
        jwk = NULL;
    json_put_take(&maker, "public_jwk", jwk);
    if (key->is_token)
        json_put_slice(&maker, "uri", ath_buf_slice(&key->blob));
    put_facts(&maker, &key->facts, key->is_token);
    return json_maker_end(&maker, ret_info);
}

ath_err
key_encode(const struct key *key, struct json **ret_object)
{
    struct json_maker maker;

    json_object_begin(&maker);
    json_put_int(&maker, "version", KEY_FILE_VERSION);
    put_common(&maker, key);
    json_put_string(&maker, "hsm_kind", kind_of(key));
    json_put_bool(&maker, "software", key->software);
    json_put_int(&maker, "owner", (int64_t)key->owner);
    if (key->is_token) {
        json_put_slice(&maker, "uri", ath_buf_slice(&key->blob));
        json_put_bool(&maker, "pin", key->pin);
    }
    put_facts(&maker, &key->facts, key->is_token);
    return json_maker_end(&maker, ret_object);
}

static bool
has_true(const struct json *object, const char *name)
{
    return json_is_true(json_get(object, name));
}

static ath_err
decode_numbers(const struct json *object, struct why *why, struct key *key)
{
    int64_t version = 0, owner = 0;

    if (!json_get_int(object, "version", &version) || version != KEY_FILE_VERSION)
        return why_set(why, ATH_ERR_PARSE, "version is not %d", KEY_FILE_VERSION);
    if (!json_get_int(object, "created_at", &key->created_at))
        return why_set(why, ATH_ERR_PARSE, "created_at is missing");
    if (json_get(object, "expires_at") != NULL &&
        !json_get_int(object, "expires_at", &key->expires_at))
        return why_set(why, ATH_ERR_PARSE, "expires_at is not a number");
    if (!json_get_int(object, "owner", &owner) || owner < 0 || owner > UINT32_MAX)
        return why_set(why, ATH_ERR_PARSE, "owner is not a uid");
    key->owner = (uid_t)owner;
    return ATH_OK;
}

static ath_err
decode_strings(const struct json *object, struct why *why, struct key *key)
{
    const char *name = json_get_string(object, "name"), *hsm = json_get_string(object, "hsm");
    const char *agent_id = json_get_string(object, "agent_id");

    if (name == NULL || !name_is_valid(name))
        return why_set(why, ATH_ERR_PARSE, "name is missing or wrong");
    if (hsm == NULL)
        return why_set(why, ATH_ERR_PARSE, "hsm is missing");
    if (!did_role_parse(json_get_string(object, "role"), &key->role))
        return why_set(why, ATH_ERR_PARSE, "role is missing or wrong");
    if (!key_confirm_parse(json_get_string(object, "confirm"), &key->confirm))
        return why_set(why, ATH_ERR_PARSE, "confirm is missing or wrong");
    if ((key->name = ath_strdup(name)) == NULL || (key->hsm = ath_strdup(hsm)) == NULL)
        return ATH_ERR_NOMEM;
    if (agent_id != NULL && (key->agent_id = ath_strdup(agent_id)) == NULL)
        return ATH_ERR_NOMEM;
    return ATH_OK;
}

static ath_err
decode_public(const struct json *object, struct why *why, struct key *key)
{
    const char *pem = json_get_string(object, "public_pem"), *did = json_get_string(object, "did");
    struct public_key *public_key = NULL;
    ath_err err;

    if ((err = public_key_from_pem(ath_slice_of_string(pem), why, &public_key)) != ATH_OK)
        return err;
    key_set_public(key, public_key);
    if (did == NULL || strcmp(did, key->did) != 0)
        return why_set(why, ATH_ERR_PARSE, "did does not fit role and public_pem");
    return ATH_OK;
}

static ath_err
decode_hsm_kind(const struct json *object, struct why *why, struct key *key)
{
    const char *kind = json_get_string(object, "hsm_kind"), *uri = json_get_string(object, "uri");
    struct pkcs11_uri parts;

    key->is_token = kind != NULL && strcmp(kind, "pkcs11") == 0;
    key->pin = has_true(object, "pin");
    if (!key->is_token)
        return ATH_OK;
    if (uri == NULL)
        return why_set(why, ATH_ERR_PARSE, "uri is missing");
    if (pkcs11_uri_parse(ath_slice_of_string(uri), why, &parts) != ATH_OK)
        return ATH_ERR_PARSE;
    key->blob.max = HSM_WIRE_MAX_BLOB;
    ath_buf_put_string(&key->blob, uri);
    return key->blob.err;
}

ath_err
key_decode(const struct json *object, struct why *why, struct key **ret_key)
{
    const struct json *hardware = json_get(object, "hardware"),
                      *display = json_get(object, "display");
    struct key *key = key_new();
    ath_err err = key == NULL ? ATH_ERR_NOMEM : decode_numbers(object, why, key);

    if (err != ATH_OK || (err = decode_strings(object, why, key)) != ATH_OK ||
        (err = decode_public(object, why, key)) != ATH_OK ||
        (err = decode_hsm_kind(object, why, key)) != ATH_OK)
        goto out;
    if (display != NULL && (err = display_decode(display, why, &key->display)) != ATH_OK)
        goto out;
    key->facts = (struct hsm_key_facts){
        .generated_inside = has_true(hardware, "generated_inside"),
        .extractable = has_true(hardware, "extractable"),
        .fixed_tpm = has_true(hardware, "fixed_tpm"),
        .decrypt = has_true(hardware, "decrypt"),
        .da = has_true(hardware, "da"),
        .empty_auth = has_true(hardware, "empty_auth"),
        .always_sensitive = has_true(hardware, "always_sensitive"),
        .never_extractable = has_true(hardware, "never_extractable"),
        .always_authenticate = has_true(hardware, "always_authenticate"),
    };
    key->software = has_true(object, "software");
    *ret_key = key;
    key = NULL;
out:
    key_free(key);
    return err;
}
