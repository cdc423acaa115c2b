#include "protocol/handshake.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/protocol_limits.h"

#define KEY_PEM_MAX_LEN 512
#define TO_SIGN_MAX_LEN 65536 /* a token's signing input is the longest */

static const char PROFILE[] = "ATH-TB1";

void
handshake_need_done(struct handshake_need *need)
{
    for (size_t i = 0; i < need->send_count; i++)
        json_free(need->send[i]);
    json_free(need->confirm);
    ath_buf_done(&need->to_sign);
    *need = (struct handshake_need){0};
}

void
handshake_result_done(struct handshake_result *result)
{
    free(result->peer_did);
    public_key_free(result->peer_key);
    free(result->user_did);
    scope_decision_done(&result->scopes);
    json_free(result->restrictions);
    ath_buf_done(&result->access_token);
    session_keys_done(&result->keys);
    *result = (struct handshake_result){0};
}

void
handshake_need_fail(struct handshake_need *need, ath_err err, const struct why *why)
{
    struct why kept = *why; /* may be the need's own */

    handshake_need_done(need);
    need->kind = HANDSHAKE_NEED_FAILED;
    need->err = err;
    need->why = kept;
}

ath_err
handshake_need_signature(struct handshake_need *need, enum sign_purpose purpose,
                         const uint8_t t[SHA256_LEN], const struct json *message)
{
    need->kind = HANDSHAKE_NEED_SIGNATURE;
    need->purpose = purpose;
    need->to_sign.max = TO_SIGN_MAX_LEN;
    return handshake_string(purpose_text(purpose), t, message, &need->to_sign);
}

ath_err
handshake_need_add(struct handshake_need *need, const struct json *message)
{
    struct json *copy = json_clone(message);

    if (copy == NULL)
        return ATH_ERR_NOMEM;
    need->send[need->send_count++] = copy;
    return ATH_OK;
}

ath_err
handshake_need_copy(const struct handshake_need *need, struct handshake_need *ret_need)
{
    struct handshake_need copy = *need;
    ath_err err = ATH_OK;

    copy.send_count = 0;
    copy.confirm = NULL;
    copy.to_sign = (struct ath_buf){.max = need->to_sign.max};
    for (size_t i = 0; i < need->send_count && err == ATH_OK; i++)
        err = handshake_need_add(&copy, need->send[i]);
    if (err == ATH_OK && need->confirm != NULL && (copy.confirm = json_clone(need->confirm)) == NULL)
        err = ATH_ERR_NOMEM;
    ath_buf_put_slice(&copy.to_sign, ath_buf_slice(&need->to_sign));
    if (err == ATH_OK)
        err = copy.to_sign.err;
    if (err != ATH_OK) {
        handshake_need_done(&copy);
        return err;
    }
    *ret_need = copy;
    return ATH_OK;
}

bool
handshake_err_is_own(ath_err err)
{
    return ath_err_code(err) == ath_err_code(ATH_ERR_INTERNAL);
}

ath_err
handshake_timestamp_check(int64_t timestamp, int64_t now, struct why *why)
{
    int64_t ahead = timestamp - now; /* both lie within +-2^53 */

    if (ahead > TIMESTAMP_LEEWAY_S || ahead < -TIMESTAMP_LEEWAY_S)
        return why_set(why, ATH_ERR_TIMESTAMP_SKEW,
                       "the message's timestamp is %lld s from our clock (at most 300 are allowed)",
                       (long long)ahead);
    return ATH_OK;
}

void
handshake_put_key(struct json_maker *message, const char *name, const struct public_key *key)
{
    struct ath_buf pem = {.max = KEY_PEM_MAX_LEN};

    public_key_put_pem(key, &pem);
    if (pem.err != ATH_OK)
        message->err = pem.err;
    else
        json_put_slice(message, name, ath_buf_slice(&pem));
    ath_buf_done(&pem);
}

void
handshake_put_scopes(struct json_maker *message, const char *name, const struct scope_list *list)
{
    struct json *array = NULL;

    if (scope_list_encode(list, &array) != ATH_OK)
        array = NULL; /* json_put_take says NOMEM */
    json_put_take(message, name, array);
}

void
handshake_put_capabilities(struct json_maker *message)
{
    static const char *const CAPABILITIES[] = {"ES256", "ES384", "EdDSA", "TLS1.3", PROFILE};
    struct json_maker array = {0};

    json_array_begin(&array);
    for (size_t i = 0; i < sizeof(CAPABILITIES) / sizeof(CAPABILITIES[0]); i++)
        json_put_string(&array, NULL, CAPABILITIES[i]);
    json_put_maker(message, "capabilities", &array);
}

bool
handshake_has_profile(const struct json *capabilities)
{
    for (const struct json *item = json_first(capabilities); item != NULL; item = json_next(item)) {
        const char *text = json_string(item);

        if (text != NULL && strcmp(text, PROFILE) == 0)
            return true;
    }
    return false;
}
