#include "athd/handshake_answer.h"

#include "athd/athd.h"
#include "athd/peer_store.h"
#include "protocol/protocol_limits.h"

#define ANSWER_MAX_LEN (4 * MESSAGE_MAX_LEN) /* two messages and a result, or M6 */

/* One message, or an array where there are several. */
static void
put_send(struct json_maker *maker, struct handshake_need *need)
{
    struct json_maker array;

    if (need->send_count == 1) {
        json_put_take(maker, "send", need->send[0]);
        need->send[0] = NULL;
    } else if (need->send_count > 1) {
        json_array_begin(&array);
        for (size_t i = 0; i < need->send_count; i++) {
            json_put_take(&array, NULL, need->send[i]);
            need->send[i] = NULL;
        }
        json_put_maker(maker, "send", &array);
    }
    need->send_count = 0;
}

static struct json *
end(struct json_maker *maker)
{
    struct json *object = NULL;

    return json_maker_end(maker, &object) == ATH_OK ? object : NULL;
}

struct json *
handshake_answer_new(const char *state, struct handshake_need *need, struct json *taken_result)
{
    struct json_maker answer;

    json_object_begin(&answer);
    json_put_string(&answer, "state", state);
    put_send(&answer, need);
    if (need->wait_s > 0)
        json_put_int(&answer, "wait", need->wait_s);
    if (need->confirm != NULL) {
        json_put_take(&answer, "confirm", need->confirm);
        need->confirm = NULL;
    }
    if (taken_result != NULL)
        json_put_take(&answer, "result", taken_result);
    return end(&answer);
}

void
handshake_answer_keep(struct handshake *handshake, const struct json *answer)
{
    ath_buf_done(&handshake->answer);
    handshake->answer.max = ANSWER_MAX_LEN;
    if (answer != NULL)
        json_write(answer, &handshake->answer);
    if (handshake->answer.err != ATH_OK)
        ath_buf_done(&handshake->answer);
}

struct json *
handshake_answer_kept(const struct handshake *handshake)
{
    static const struct json_limits limits = {
        .max_len = ANSWER_MAX_LEN,
        .max_depth = 2 * MESSAGE_MAX_DEPTH,
        .max_members = MESSAGE_MAX_MEMBERS,
        .numbers = JSON_INTEGERS,
    };
    struct json *answer = NULL;

    if (handshake->answer.len == 0 ||
        json_parse(ath_buf_slice(&handshake->answer), &limits, NULL, &answer) != ATH_OK)
        return NULL;
    return answer;
}

static void
put_peer(struct json_maker *maker, const struct tenant *tenant, const char *did)
{
    const struct peer *peer = peer_store_find(tenant->peers, did);
    struct json_maker object;

    json_object_begin(&object);
    json_put_string(&object, "did", did);
    json_put_string(&object, "name", peer == NULL ? NULL : peer->name);
    json_put_maker(maker, "peer", &object);
}

struct json *
handshake_answer_result(const struct tenant *tenant, const struct handshake *handshake,
                        const struct handshake_result *result, const struct session *session)
{
    struct json *scopes = NULL, *denied = NULL;
    struct json_maker maker;

    json_object_begin(&maker);
    json_put_string(&maker, "session", session->id);
    put_peer(&maker, tenant, session->peer_did);
    json_put_string(&maker, "user_did", session->user_did);
    if (handshake->service != NULL)
        json_put_string(&maker, "account",
                        service_account_of(handshake->service->rules, session->user_did));
    if (scope_list_encode(&session->scopes, &scopes) != ATH_OK)
        scopes = NULL;
    json_put_take(&maker, "scopes", scopes);
    if (scope_denied_encode(&result->scopes, &denied) != ATH_OK)
        denied = NULL;
    json_put_take(&maker, "denied", denied);
    json_put_int(&maker, "expires_at", session->expires_at);
    if (result->restrictions != NULL)
        json_put_copy(&maker, "restrictions", result->restrictions);
    if (session->channel.side == JWE_CLIENT)
        json_put_slice(&maker, "access_token", ath_secret_slice(&session->access_token));
    return end(&maker);
}

struct json *
handshake_answer_error(ath_err err, const struct why *why)
{
    struct json_maker maker, error;

    json_object_begin(&error);
    json_put_string(&error, "code", ath_err_reason(err));
    json_put_string(&error, "message", why_text(why, err));
    json_object_begin(&maker);
    json_put_maker(&maker, "error", &error);
    return end(&maker);
}

struct json *
handshake_answer_data(struct handshake_need *need)
{
    struct json_maker maker;

    if (need->send_count == 0)
        return NULL;
    json_object_begin(&maker);
    put_send(&maker, need);
    return end(&maker);
}
