#include "protocol/identity_document.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/attestation.h"
#include "protocol/claims.h"
#include "protocol/protocol_limits.h"

#define ATH_VERSION_TEXT "0.1"

/* ---- display ---- */

static ath_err
refuse(struct why *why, const char *reason)
{
    return why_set(why, ATH_ERR_INVALID_PARAMS, "display: %s", reason);
}

static bool
has_only(const struct json *object, const char *const *names, size_t count)
{
    for (const struct json *member = json_first(object); member != NULL;
         member = json_next(member)) {
        bool known = false;

        for (size_t i = 0; i < count; i++)
            known = known || strcmp(json_name(member), names[i]) == 0;
        if (!known)
            return false;
    }
    return true;
}

static bool
capabilities_are_valid(const struct json *capabilities)
{
    if (!json_is_array(capabilities) || json_count(capabilities) > CAPABILITIES_MAX)
        return false;
    for (const struct json *c = json_first(capabilities); c != NULL; c = json_next(c)) {
        const char *text = json_string(c);

        if (text == NULL || text[0] == '\0' || strlen(text) > CAPABILITY_MAX_LEN)
            return false;
    }
    return true;
}

/* A required text, or one that may be absent. */
static ath_err
read_text(const struct json *object, const char *name, bool required, struct why *why,
          char **ret_text)
{
    const char *text = claims_text(object, name, DISPLAY_TEXT_MAX_LEN);

    if (text == NULL && (required || json_get(object, name) != NULL))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "display: %s must be a text of 1 to %u bytes",
                       name, DISPLAY_TEXT_MAX_LEN);
    if (text == NULL)
        return ATH_OK;
    return (*ret_text = ath_strdup(text)) != NULL ? ATH_OK : ATH_ERR_NOMEM;
}

static ath_err
read_developer(const struct json *developer, struct why *why, struct display *display)
{
    static const char *const names[] = {"name", "id", "contact"};
    ath_err err;

    if (developer == NULL)
        return ATH_OK;
    if (!json_is_object(developer) || !has_only(developer, names, 3))
        return refuse(why, "developer is {name, id, contact?}");
    if ((err = read_text(developer, "name", true, why, &display->developer_name)) != ATH_OK ||
        (err = read_text(developer, "id", true, why, &display->developer_id)) != ATH_OK)
        return err;
    return read_text(developer, "contact", false, why, &display->developer_contact);
}

static ath_err
read_capabilities(const struct json *capabilities, struct why *why, struct display *display)
{
    if (capabilities == NULL)
        return ATH_OK;
    if (!capabilities_are_valid(capabilities))
        return refuse(why, "capabilities is a list of short texts");
    return (display->capabilities = json_clone(capabilities)) != NULL ? ATH_OK : ATH_ERR_NOMEM;
}

ath_err
display_decode(const struct json *object, struct why *why, struct display *ret_display)
{
    static const char *const names[] = {"name", "developer", "capabilities"};
    struct display display = {0};
    ath_err err;

    if (!json_is_object(object) || !has_only(object, names, 3))
        return refuse(why, "it is {name, developer?, capabilities?}");
    if ((err = read_text(object, "name", true, why, &display.name)) != ATH_OK ||
        (err = read_developer(json_get(object, "developer"), why, &display)) != ATH_OK ||
        (err = read_capabilities(json_get(object, "capabilities"), why, &display)) != ATH_OK) {
        display_done(&display);
        return err;
    }
    *ret_display = display;
    return ATH_OK;
}

static void
put_developer(struct json_maker *maker, const struct display *display)
{
    struct json_maker developer = {0};

    if (display->developer_name != NULL) {
        json_object_begin(&developer);
        json_put_string(&developer, "name", display->developer_name);
        json_put_string(&developer, "id", display->developer_id);
        json_put_string(&developer, "contact", display->developer_contact);
        json_put_maker(maker, "developer", &developer);
    }
}

static void
put_capabilities(struct json_maker *maker, const struct display *display)
{
    if (display->capabilities != NULL)
        json_put_copy(maker, "capabilities", display->capabilities);
}

ath_err
display_encode(const struct display *display, struct json **ret_json)
{
    struct json_maker maker = {0};

    json_object_begin(&maker);
    json_put_string(&maker, "name", display->name);
    put_developer(&maker, display);
    put_capabilities(&maker, display);
    return json_maker_end(&maker, ret_json);
}

void
display_done(struct display *display)
{
    free(display->name);
    free(display->developer_name);
    free(display->developer_id);
    free(display->developer_contact);
    json_free(display->capabilities);
    *display = (struct display){0};
}

/* ---- the document ---- */

static ath_err
make_jwk(const struct public_key *key, struct json **ret_jwk)
{
    struct json_maker maker = {0};
    struct json *jwk = NULL;
    ath_err err;

    if ((err = public_key_jwk(key, &jwk)) != ATH_OK)
        return err;
    json_object_begin(&maker);
    for (const struct json *member = json_first(jwk); member != NULL; member = json_next(member))
        json_put_copy(&maker, json_name(member), member);
    json_put_string(&maker, "kid", public_key_jkt(key));
    json_put_string(&maker, "alg", key_algorithm_name(public_key_algorithm(key)));
    json_put_string(&maker, "use", "sig");
    json_free(jwk);
    return json_maker_end(&maker, ret_jwk);
}

ath_err
identity_document_build(const char *agent_id, const struct display *display,
                        const struct public_key *key, struct json **ret_document)
{
    static const struct display nothing = {0};
    struct json_maker maker = {0};
    struct json *jwk = NULL;
    ath_err err;

    if (!agent_id_is_valid(agent_id))
        return ATH_ERR_INVALID_PARAMS;
    if ((err = make_jwk(key, &jwk)) != ATH_OK)
        return err;
    if (display == NULL)
        display = &nothing;
    json_object_begin(&maker);
    json_put_string(&maker, "ath_version", ATH_VERSION_TEXT);
    json_put_string(&maker, "agent_id", agent_id);
    json_put_string(&maker, "name", display->name != NULL ? display->name : agent_id);
    put_developer(&maker, display);
    json_put_take(&maker, "public_key", jwk);
    put_capabilities(&maker, display);
    return json_maker_end(&maker, ret_document);
}

static bool
is_absent_or(const struct json *jwk, const char *name, const char *expected)
{
    const char *text = json_get_string(jwk, name);

    return json_get(jwk, name) == NULL || (text != NULL && strcmp(text, expected) == 0);
}

/* RFC 7517 4.2 to 4.4 */
static bool
jwk_is_for_verifying(const struct json *jwk, const struct public_key *key)
{
    const struct json *key_ops = json_get(jwk, "key_ops");

    if (!is_absent_or(jwk, "use", "sig") ||
        !is_absent_or(jwk, "alg", key_algorithm_name(public_key_algorithm(key))))
        return false;
    return key_ops == NULL || (json_is_array(key_ops) && claims_audience_has(key_ops, "verify"));
}

static ath_err
read_key(const struct json *member, struct why *why, struct public_key **ret_key)
{
    const char *pem = json_string(member);
    struct public_key *key = NULL;
    ath_err err;

    if (pem != NULL)
        return public_key_from_pem(ath_slice_of_string(pem), why, ret_key);
    if (!json_is_object(member))
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY,
                       "the identity document's public_key is neither a JWK nor PEM");
    if ((err = public_key_from_jwk(member, why, &key)) != ATH_OK)
        return err;
    if (!jwk_is_for_verifying(member, key)) {
        public_key_free(key);
        return why_set(why, ATH_ERR_INVALID_PUBLIC_KEY,
                       "the identity document's JWK is not one for verifying signatures");
    }
    *ret_key = key;
    return ATH_OK;
}

ath_err
identity_document_read(const struct json *document, struct why *why, const char **ret_agent_id,
                       struct public_key **ret_key)
{
    const char *agent_id = json_get_string(document, "agent_id");
    ath_err err;

    if (!json_is_object(document) || !agent_id_is_valid(agent_id))
        return why_set(why, ATH_ERR_INVALID_ATTESTATION,
                       "the identity document has no agent_id (an https URI)");
    if ((err = read_key(json_get(document, "public_key"), why, ret_key)) == ATH_OK)
        *ret_agent_id = agent_id;
    return err;
}
