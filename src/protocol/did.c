#include "protocol/did.h"

#include <stdio.h>
#include <string.h>

#include "base/base64url.h"
#include "protocol/protocol_limits.h"

#define DID_ATH_PREFIX "did:ath:"
#define DID_KEY_PREFIX "did:key:"

static const char *const role_names[] = {
    [DID_USER] = "user", [DID_CLIENT] = "client", [DID_SERVER] = "server"};

#define ROLE_COUNT (sizeof(role_names) / sizeof(role_names[0]))

const char *
did_role_name(enum did_role role)
{
    return role_names[role];
}

bool
did_role_parse(const char *text, enum did_role *ret_role)
{
    for (size_t i = 0; text != NULL && i < ROLE_COUNT; i++)
        if (strcmp(text, role_names[i]) == 0) {
            *ret_role = (enum did_role)i;
            return true;
        }
    return false;
}

void
did_of_key(enum did_role role, const struct public_key *key, char ret_did[DID_ATH_MAX_LEN])
{
    (void)snprintf(ret_did, DID_ATH_MAX_LEN, DID_ATH_PREFIX "%s_%s", did_role_name(role),
                   public_key_jkt(key));
}

static bool
is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool
is_id_char(char c)
{
    return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("._-:%", c) != NULL);
}

bool
did_is_valid(const char *did)
{
    const char *at = did;

    if (did == NULL || strncmp(did, "did:", 4) != 0 || strnlen(did, DID_MAX_LEN + 1) > DID_MAX_LEN)
        return false;
    for (at += 4; is_lower_or_digit(*at); at++)
        ;
    if (at == did + 4 || *at++ != ':' || *at == '\0')
        return false;
    for (; *at != '\0'; at++)
        if (!is_id_char(*at))
            return false;
    return at[-1] != ':';
}

bool
did_is_self_certifying(const char *did)
{
    if (did == NULL || strncmp(did, DID_ATH_PREFIX, strlen(DID_ATH_PREFIX)) != 0)
        return false;
    did += strlen(DID_ATH_PREFIX);
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        size_t len = strlen(role_names[i]);

        if (strncmp(did, role_names[i], len) == 0 && did[len] == '_')
            return base64url_is_alphabet(ath_slice_of_string(did + len + 1), JKT_LEN, JKT_LEN);
    }
    return false;
}

bool
did_is_key(const char *did)
{
    return did != NULL && strncmp(did, DID_KEY_PREFIX, strlen(DID_KEY_PREFIX)) == 0;
}

/* A did:key is built anew from the key and compared (profile section 2). */
static ath_err
check_did_key(const char *did, const struct public_key *key, struct why *why)
{
    struct ath_buf built = {.max = DID_MAX_LEN};
    ath_err err = public_key_did_key(key, &built);
    bool fits = err == ATH_OK && ath_slice_is(ath_buf_slice(&built), did);

    ath_buf_done(&built);
    if (err != ATH_OK && err != ATH_ERR_UNSUPPORTED_ALGORITHM)
        return err;
    return fits ? ATH_OK : why_set(why, ATH_ERR_UNKNOWN_PEER, "the key is not that of %s", did);
}

ath_err
did_check(const char *did, enum did_role role, const struct public_key *key,
          const struct did_pins *pins, struct why *why)
{
    char built[DID_ATH_MAX_LEN];
    const struct public_key *pinned;

    if (!did_is_valid(did))
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "the %s is not named by a DID",
                       did_role_name(role));
    if (did_is_self_certifying(did)) {
        did_of_key(role, key, built);
        if (strcmp(built, did) == 0)
            return ATH_OK;
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "the key is not that of %s as a %s", did,
                       did_role_name(role));
    }
    if (did_is_key(did))
        return check_did_key(did, key, why);
    pinned = pins != NULL ? pins->key_of(pins->ctx, did) : NULL;
    if (pinned == NULL)
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "%s proves no key by itself and is not pinned",
                       did);
    if (!public_key_equal(pinned, key))
        return why_set(why, ATH_ERR_PEER_KEY_CHANGED, "%s is pinned to another key", did);
    return ATH_OK;
}

struct public_key *
did_resolve(const char *did, const struct did_pins *pins)
{
    struct public_key *key = NULL;

    if (!did_is_valid(did) || did_is_self_certifying(did))
        return NULL;
    if (did_is_key(did))
        return public_key_from_did_key(did, NULL, &key) == ATH_OK ? key : NULL;
    return pins != NULL ? public_key_ref(pins->key_of(pins->ctx, did)) : NULL;
}
