/* handshake.start (client), and what both roles share: receive, get, list, abort. */
#include <stdlib.h>
#include <string.h>

#include "athd/credential_store.h"
#include "athd/dispatch.h"
#include "athd/handshake_answer.h"
#include "athd/handshake_record.h"
#include "athd/handshake_step.h"
#include "athd/handshake_table.h"
#include "athd/method_support.h"
#include "athd/peer_store.h"
#include "base/clock.h"
#include "crypto/random.h"
#include "protocol/handshake_message.h"

/* ---- handshake.start ---- */

struct start { /* what start's params come to; all borrowed but scopes */
    struct key *key, *user_key;
    const char *wanted_did, *origin, *origin_pin;
    struct scope_list scopes;
    int64_t ttl;
    const struct json *credential; /* NULL: the machine will ask for a grant */
    bool asks;                     /* before the first signature */
};

static ath_err
decode_server(const struct request *request, struct why *why, struct start *start)
{
    const struct json *server = method_param_json(request, "server"), *member;
    const struct peer *peer;

    start->wanted_did = json_get_string(server, "did");
    start->origin = json_get_string(server, "origin");
    for (member = json_first(server); member != NULL; member = json_next(member))
        if (strcmp(json_name(member), "did") != 0 && strcmp(json_name(member), "origin") != 0)
            return why_set(why, ATH_ERR_INVALID_PARAMS, "server has no member \"%s\"",
                           json_name(member));
    if ((start->wanted_did == NULL) == (start->origin == NULL) || json_count(server) != 1)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "server must have one of did and origin, a string");
    if (start->origin == NULL)
        return ATH_OK;
    if ((peer = peer_store_find_origin(request->tenant->peers, start->origin)) != NULL)
        start->origin_pin = peer->did;
    return ATH_OK;
}

/* Given, to be issued, or chosen from the store: chosen at once where the server is known. */
static ath_err
decode_grant(const struct request *request, struct why *why, struct start *start)
{
    const char *user_key = method_param(request, "user_key");
    const char *server_did = start->wanted_did != NULL ? start->wanted_did : start->origin_pin;
    const struct credential *stored;

    start->credential = method_param_json(request, "credential");
    if (start->credential != NULL && user_key != NULL)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "give credential or user_key, not both");
    if (user_key != NULL)
        return method_key(request, user_key, DID_USER, why, &start->user_key);
    if (start->credential != NULL)
        return ATH_OK;
    stored = credential_store_choose(request->tenant->credentials, start->key->did, server_did,
                                     &start->scopes, clock_now());
    if (stored == NULL)
        return why_set(why, ATH_ERR_INVALID_CREDENTIAL,
                       "there is no stored grant for this client, server and any of these scopes");
    if (server_did != NULL)
        start->credential = stored->text;
    return ATH_OK;
}

static ath_err
decode_start(const struct request *request, struct why *why, struct start *start)
{
    ath_err err;

    err = method_key(request, method_param(request, "key"), DID_CLIENT, why, &start->key);
    if (err != ATH_OK)
        return err;
    start->ttl = HANDSHAKE_TTL_DEFAULT_S;
    (void)json_get_int(request->params, "ttl", &start->ttl);
    if (scope_list_decode(method_param_json(request, "scopes"), 1, why, &start->scopes) != ATH_OK)
        return ATH_ERR_INVALID_PARAMS;
    if ((err = decode_server(request, why, start)) != ATH_OK)
        return err;
    return decode_grant(request, why, start);
}

static ath_err
start_machine(const struct request *request, struct start *start, struct handshake *handshake,
              struct why *why, struct handshake_need *need)
{
    const struct handshake_client_config config = {
        .client_did = start->key->did,
        .client_key = start->key->public_key,
        .server_did = start->wanted_did,
        .origin = start->origin,
        .origin_pin = start->origin_pin,
        .pins = &request->tenant->pins,
        .scopes = &start->scopes,
        .ttl = start->ttl,
        .context = method_param(request, "context"),
        .traceparent = request->trace,
        .credential = start->credential,
    };
    ath_err err;

    if ((err = random_base64url(16, handshake->id)) != ATH_OK ||
        (err = ath_strdup_to(start->origin, &handshake->origin)) != ATH_OK ||
        (err = ath_strdup_to(start->wanted_did, &handshake->wanted_did)) != ATH_OK)
        return err;
    err = handshake_client_start(&config, clock_now(), why, &handshake->client, need);
    if (err != ATH_OK)
        return err;
    handshake->user_key = start->user_key == NULL ? NULL : key_ref(start->user_key);
    handshake->ttl = start->ttl;
    handshake->asks_first = start->asks;
    handshake->memo = request->memo;
    handshake->caller_identity = request->caller->identity;
    handshake->scopes = start->scopes;
    start->scopes = (struct scope_list){0};
    if ((err = handshake_table_add(request->tenant->handshakes, handshake)) ==
        ATH_ERR_LIMIT_EXCEEDED)
        return why_set(why, err, "%u handshakes that you started are still under way",
                       HANDSHAKES_PER_CALLER);
    return err;
}

/* M1 alone is no signature, but its scopes are what is asked for with the next one. */
static ath_err
ask_policy(struct request *request, struct start *start, struct why *why, struct json **ret_data)
{
    static const enum sign_purpose purpose = PURPOSE_CLIENT_HELLO;
    const char *audience = start->origin != NULL ? start->origin : start->wanted_did;

    return method_policy(request,
                         &(struct policy_question){
                             .method = request->method->name,
                             .key = start->key->name,
                             .also_key = method_param(request, "user_key"),
                             .purpose = &purpose,
                             .audiences = &audience,
                             .audience_count = 1,
                             .peers = &start->wanted_did,
                             .peer_count = start->wanted_did != NULL,
                             .scopes = &start->scopes,
                             .ttl = start->ttl,
                         },
                         why, ret_data, &start->asks);
}

void
method_handshake_start(struct request *request)
{
    struct handshake *handshake = NULL;
    struct handshake_need need = {0};
    struct start start = {0};
    struct json *data = NULL;
    struct why why = {""};
    ath_err err;

    if ((err = decode_start(request, &why, &start)) != ATH_OK ||
        (err = ask_policy(request, &start, &why, &data)) != ATH_OK)
        goto out;
    if ((handshake = handshake_new(start.key, request->trace)) == NULL) {
        err = ATH_ERR_NOMEM;
        goto out;
    }
    if ((err = start_machine(request, &start, handshake, &why, &need)) != ATH_OK)
        goto out;
    handshake_step_begin(handshake, request, NULL);
    handshake_step_drive(handshake, ATH_OK, &need);
out:
    handshake_need_done(&need);
    handshake_free(handshake);
    scope_list_done(&start.scopes);
    if (err != ATH_OK)
        request_fail_data(request, err, &why, data);
}

/* ---- handshake.receive ---- */

/* The handshake that params name; NULL: the request has failed. */
static struct handshake *
named_handshake(struct request *request)
{
    struct handshake *handshake;

    handshake =
        handshake_table_find(request->tenant->handshakes, method_param(request, "handshake"));
    if (handshake != NULL && !caller_sees(request->caller, handshake->caller_identity))
        handshake = NULL; /* another grant's: there is none */
    if (handshake == NULL)
        request_fail(request, ATH_ERR_HANDSHAKE_NOT_FOUND, NULL);
    return handshake;
}

static void
receive(struct handshake *handshake, struct request *request, struct json *taken_message)
{
    struct handshake_need need = {0};
    int64_t now = clock_now();
    ath_err err;

    handshake_step_begin(handshake, request, taken_message);
    if (handshake->client != NULL)
        err = handshake_client_receive(handshake->client, taken_message, now, &need);
    else
        err = handshake_server_receive(handshake->server, taken_message, now, &need);
    handshake_step_drive(handshake, err, &need);
}

/* Text that is no message ends the handshake like any other refusal, unless it came where the
 * user's answer is awaited: that channel is open to others. */
static void
receive_garbage(struct handshake *handshake, struct request *request, ath_err err,
                const struct why *why)
{
    if (err == ATH_ERR_NOMEM || handshake->ended_at != 0 ||
        strcmp(handshake_state(handshake), "confirm") == 0) {
        request_fail(request, err, why);
        return;
    }
    handshake->stalled = false;
    handshake_step_begin(handshake, request, NULL);
    handshake_step_fail(handshake, err, why);
}

/* A signature of the last step was not made: the same message asks for it again, another one is out
 * of order. */
static void
receive_stalled(struct handshake *handshake, struct request *request, struct json *taken_message)
{
    bool is_same = json_equal(handshake->message, taken_message);
    struct why why;

    json_free(taken_message);
    if (is_same) {
        handshake_step_resume(handshake, request);
        return;
    }
    json_free(handshake->message);
    handshake->stalled = false;
    handshake_step_begin(handshake, request, NULL);
    (void)why_set(&why, ATH_ERR_UNEXPECTED_MESSAGE,
                  "the message before this one has no answer yet");
    handshake_step_fail(handshake, ATH_ERR_UNEXPECTED_MESSAGE, &why);
}

void
method_handshake_receive(struct request *request)
{
    struct handshake *handshake = named_handshake(request);
    struct json *message = NULL;
    struct why why = {""};
    ath_err err;

    if (handshake == NULL)
        return;
    if (handshake->request != NULL) {
        (void)why_set(&why, ATH_ERR_HSM_BUSY,
                      "the message before this one is still being answered");
        request_fail(request, ATH_ERR_HSM_BUSY, &why);
    } else if (handshake->client == NULL && handshake->server == NULL) {
        request_fail(request, handshake->ended_err, NULL); /* too late, or aborted */
    } else if ((err = method_message(method_param_json(request, "message"), &why, &message)) !=
               ATH_OK) {
        receive_garbage(handshake, request, err, &why);
    } else if (handshake->stalled) {
        receive_stalled(handshake, request, message);
    } else {
        receive(handshake, request, message);
    }
}

/* ---- handshake.get, list, abort ---- */

static void
put_info(struct json_maker *maker, const struct handshake *handshake)
{
    const char *peer_did = NULL;
    struct json_maker peer;

    if (handshake->client != NULL)
        peer_did = handshake_client_server_did(handshake->client);
    else if (handshake->server != NULL)
        peer_did = handshake_server_client_did(handshake->server);
    json_put_string(maker, "handshake", handshake->id);
    json_put_string(maker, "role", handshake_is_client(handshake) ? "client" : "server");
    json_put_string(maker, "state", handshake_state(handshake));
    json_put_string(maker, "key", handshake->key->name);
    if (handshake->service != NULL)
        json_put_string(maker, "service", handshake->service->rules->name);
    json_put_int(maker, "started_at", handshake->started_at);
    if (handshake->ended_err != ATH_OK)
        json_put_string(maker, "reason", ath_err_reason(handshake->ended_err));
    if (peer_did != NULL) {
        json_object_begin(&peer);
        json_put_string(&peer, "did", peer_did);
        json_put_maker(maker, "peer", &peer);
    }
}

/* With what the last step was answered: whoever carries messages may have missed it. */
void
method_handshake_get(struct request *request)
{
    static const char *const members[] = {"send", "wait", "confirm", "result"};
    struct handshake *handshake = named_handshake(request);
    struct json *answer, *member;
    struct json_maker result;

    if (handshake == NULL)
        return;
    answer = handshake_answer_kept(handshake);
    json_object_begin(&result);
    put_info(&result, handshake);
    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
        if ((member = json_detach(answer, members[i])) != NULL)
            json_put_take(&result, members[i], member);
    json_free(answer);
    request_finish_maker(request, &result);
}

struct listing {
    const struct caller *caller;
    struct json_maker array;
};

static void
list_handshake(void *ctx, const struct handshake *handshake)
{
    struct listing *listing = ctx;
    struct json_maker object;

    if (!caller_sees(listing->caller, handshake->caller_identity))
        return;
    json_object_begin(&object);
    put_info(&object, handshake);
    json_put_maker(&listing->array, NULL, &object);
}

void
method_handshake_list(struct request *request)
{
    struct listing listing = {.caller = request->caller};
    struct json_maker result;

    json_array_begin(&listing.array);
    handshake_table_each(request->tenant->handshakes, list_handshake, &listing);
    json_object_begin(&result);
    json_put_maker(&result, "handshakes", &listing.array);
    request_finish_maker(request, &result);
}

/* By whom; how it stood is in the record of its end, which follows. */
static void
record_aborted(const struct request *request, const struct handshake *handshake)
{
    struct json_maker record;

    audit_record_begin(&record, "handshake_aborted", request);
    handshake_record_join(&record, handshake);
    audit_record_note(request->athd, &record);
}

void
method_handshake_abort(struct request *request)
{
    struct handshake *handshake = named_handshake(request);
    struct json_maker result;

    if (handshake == NULL)
        return;
    if (handshake->ended_at == 0) {
        record_aborted(request, handshake);
        handshake_abort(handshake, ATH_ERR_UNEXPECTED_MESSAGE);
    }
    json_object_begin(&result);
    request_finish_maker(request, &result);
}
