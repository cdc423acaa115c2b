/* session.*: business messages under the keys that a handshake left. */
#include "athd/dispatch.h"
#include "athd/method_support.h"
#include "athd/peer_store.h"
#include "athd/session_record.h"
#include "athd/session_table.h"
#include "base/base64url.h"

/* The session that params name; NULL: the request has failed. */
static struct session *
named_session(struct request *request)
{
    struct session *session = NULL;
    ath_err err;

    err = session_table_find_for(request->tenant->sessions, method_param(request, "session"),
                                 request->caller, &session);
    if (err != ATH_OK)
        request_fail(request, err, NULL);
    return session;
}

void
method_session_seal(struct request *request)
{
    struct ath_slice text = ath_slice_of_string(method_param(request, "plaintext"));
    struct ath_buf plaintext = {.max = SESSION_PLAINTEXT_MAX}, jwe = {.max = JWE_MAX_LEN};
    struct session *session = named_session(request);
    struct json_maker result;
    uint64_t seq;
    int64_t re = -1;
    ath_err err;

    if (session == NULL)
        return;
    (void)json_get_int(request->params, "re", &re);
    seq = session->channel.next_seq;
    if ((err = base64url_decode(text, &plaintext)) == ATH_OK)
        err = jwe_seal(&session->channel, ath_buf_slice(&plaintext), re, &jwe);
    if (err == ATH_ERR_SESSION_EXPIRED)
        session_table_end(request->tenant->sessions, session); /* its numbers are used up */
    if (err != ATH_OK) {
        request_fail(request, err == ATH_ERR_PARSE ? ATH_ERR_INVALID_PARAMS : err, NULL);
    } else {
        json_object_begin(&result);
        json_put_slice(&result, "jwe", ath_buf_slice(&jwe));
        json_put_int(&result, "seq", (int64_t)seq);
        request_finish_maker(request, &result);
    }
    ath_buf_done(&plaintext);
    ath_buf_done(&jwe);
}

void
method_session_open(struct request *request)
{
    struct ath_slice jwe = ath_slice_of_string(method_param(request, "jwe"));
    struct ath_buf plaintext = {.max = SESSION_PLAINTEXT_MAX};
    struct session *session = named_session(request);
    struct json_maker result;
    struct why why = {""};
    uint32_t seq = 0;
    int64_t re = -1;
    ath_err err;

    if (session == NULL)
        return;
    if ((err = jwe_open(&session->channel, jwe, &why, &plaintext, &seq, &re)) != ATH_OK) {
        request_fail(request, err, &why);
    } else {
        json_object_begin(&result);
        json_put_base64url(&result, "plaintext", ath_buf_slice(&plaintext));
        json_put_int(&result, "seq", seq);
        if (re >= 0)
            json_put_int(&result, "re", re);
        request_finish_maker(request, &result);
    }
    ath_buf_done(&plaintext);
}

void
method_session_token(struct request *request)
{
    struct session *session = named_session(request);
    struct json_maker result;
    struct why why;

    if (session == NULL)
        return;
    if (session->channel.side != JWE_CLIENT) {
        (void)why_set(&why, ATH_ERR_INVALID_PARAMS,
                      "only the client's side of a session has the token");
        request_fail(request, ATH_ERR_INVALID_PARAMS, &why);
        return;
    }
    session_record(request->tenant, session, "session_token_given", request);
    json_object_begin(&result);
    json_put_slice(&result, "access_token", ath_secret_slice(&session->access_token));
    json_put_int(&result, "expires_at", session->expires_at);
    request_finish_maker(request, &result);
}

/* ---- list, close ---- */

struct listing {
    const struct tenant *tenant;
    const struct caller *caller;
    struct json_maker array;
};

static void
list_session(void *ctx, const struct session *session)
{
    struct listing *listing = ctx;
    const struct peer *pinned = peer_store_find(listing->tenant->peers, session->peer_did);
    struct json_maker object, peer;
    struct json *scopes = NULL;

    if (!caller_sees(listing->caller, session->caller_identity))
        return;
    json_object_begin(&peer);
    json_put_string(&peer, "did", session->peer_did);
    json_put_string(&peer, "name", pinned == NULL ? NULL : pinned->name);
    json_object_begin(&object);
    json_put_string(&object, "session", session->id);
    json_put_string(&object, "role", session->channel.side == JWE_CLIENT ? "client" : "server");
    json_put_maker(&object, "peer", &peer);
    json_put_string(&object, "user_did", session->user_did);
    if (session->service != NULL)
        json_put_string(&object, "service", session->service->rules->name);
    if (scope_list_encode(&session->scopes, &scopes) != ATH_OK)
        scopes = NULL;
    json_put_take(&object, "scopes", scopes);
    json_put_int(&object, "expires_at", session->expires_at);
    json_put_maker(&listing->array, NULL, &object);
}

void
method_session_list(struct request *request)
{
    struct listing listing = {.tenant = request->tenant, .caller = request->caller};
    struct json_maker result;

    json_array_begin(&listing.array);
    session_table_each(request->tenant->sessions, list_session, &listing);
    json_object_begin(&result);
    json_put_maker(&result, "sessions", &listing.array);
    request_finish_maker(request, &result);
}

void
method_session_close(struct request *request)
{
    struct session *session = named_session(request);
    struct json_maker result;

    if (session == NULL)
        return;
    session_record(request->tenant, session, "session_closed", request);
    session->is_on_record = true;
    session_table_remove(request->tenant->sessions, session);
    json_object_begin(&result);
    request_finish_maker(request, &result);
}
