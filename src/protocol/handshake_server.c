/* The server's machine: its life, and the table of who may say what when. */
#include "protocol/handshake_server.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/handshake_server_state.h"

static const struct {
    enum server_state state;
    enum handshake_message_type type;
    ath_err (*handle)(struct handshake_server *server, const struct json *message, int64_t now,
                      struct why *why, struct handshake_need *need);
} TABLE[] = {
    {SERVER_WAIT_PROOF, MESSAGE_IDENTITY_PROOF, server_on_proof},
    {SERVER_WAIT_SCOPE_REQUEST, MESSAGE_SCOPE_REQUEST, server_on_scope_request},
    {SERVER_WAIT_CONFIRMATION, MESSAGE_CONFIRMATION_RESPONSE, server_on_confirmation},
};

#define TABLE_COUNT (sizeof(TABLE) / sizeof(TABLE[0]))

static bool
has_ended(const struct handshake_server *server)
{
    return server->state == SERVER_DONE || server->state == SERVER_FAILED;
}

static bool
waits_for_signature(const struct handshake_server *server)
{
    return server->state == SERVER_SIGN_RESPONSE || server->state == SERVER_SIGN_CONFIRMATION ||
           server->state == SERVER_SIGN_TOKEN;
}

static void
set_failed(struct handshake_server *server)
{
    server->state = SERVER_FAILED;
    ath_secret_done(&server->z);
    handshake_result_done(&server->result);
}

/* What a refusal of this message means for an M6 that is open, if there is one. */
static enum confirmation_end
confirmation_end_of(const struct handshake_server *server, const struct json *message)
{
    const char *request_id = json_get_string(message, "request_id");

    /* Whoever could answer with this request_id has seen M6; a client that ends its handshake while
     * the user is being asked, be it by an answer to no question, has wasted the user's time and
     * waits. */
    if (handshake_message_type(message) == MESSAGE_CONFIRMATION_RESPONSE && request_id != NULL &&
        strcmp(request_id, server->confirmation.request_id) == 0)
        return CONFIRMATION_VOID;
    return CONFIRMATION_REFUSED;
}

/* The message that tells the client why: M4 for M3, M8 for M5 and M7, none for what is out of place. */
static ath_err
add_refusal(const struct handshake_server *server, enum server_state state,
            enum handshake_message_type type, const struct why *why, int64_t now,
            struct handshake_need *need)
{
    ath_err err = need->err;

    if (state == SERVER_WAIT_PROOF && type == MESSAGE_IDENTITY_PROOF)
        return server_add_identity_failure(err, why, now, need);
    if ((state == SERVER_WAIT_SCOPE_REQUEST && type == MESSAGE_SCOPE_REQUEST) ||
        (state == SERVER_WAIT_CONFIRMATION && type == MESSAGE_CONFIRMATION_RESPONSE))
        return server_add_scope_refusal(server, err, why, now, need);
    return ATH_OK;
}

/* Each channel's last message is answered by what came of it in the end. */
static ath_err
remember(struct handshake_server *server, const struct handshake_need *need)
{
    ath_err err = handshake_memory_answer(&server->client_memory, need);

    if (err == ATH_OK && server->user_memory.has_message)
        err = handshake_memory_answer(&server->user_memory, need);
    return err;
}

/* Where every call ends: an own error ends the handshake, an answer is remembered. */
static ath_err
conclude(struct handshake_server *server, ath_err err, struct handshake_need *need)
{
    if (err == ATH_OK && waits_for_signature(server))
        return ATH_OK;
    if (err == ATH_OK)
        err = remember(server, need);
    if (err != ATH_OK || server->state == SERVER_FAILED)
        set_failed(server);
    if (err != ATH_OK)
        handshake_need_done(need);
    return err;
}

static ath_err
timed_out(struct handshake_server *server, struct handshake_need *need)
{
    struct why why = {{0}};

    (void)why_set(&why, ATH_ERR_HANDSHAKE_TIMEOUT, "the handshake took too long");
    handshake_need_fail(need, ATH_ERR_HANDSHAKE_TIMEOUT, &why);
    set_failed(server);
    return conclude(server, ATH_OK, need);
}

/* ---- life ---- */

static ath_err
copy_config(struct handshake_server *server, const struct handshake_server_config *config,
            const struct handshake_hello *hello)
{
    ath_err err;

    server->service = config->service;
    server->pins = config->pins;
    server->gate = config->gate;
    server->server_key = public_key_ref(config->server_key);
    server->client_key = public_key_ref(hello->client_key);
    if ((err = ath_strdup_to(config->server_did, &server->server_did)) != ATH_OK ||
        (err = ath_strdup_to(config->client_name, &server->client_name)) != ATH_OK ||
        (err = ath_strdup_to(config->client_developer, &server->client_developer)) != ATH_OK ||
        (err = ath_strdup_to(hello->client_did, &server->client_did)) != ATH_OK)
        return err;
    return ath_strdup_to(json_get_string(hello->message, "traceparent"), &server->traceparent);
}

ath_err
handshake_server_start(const struct handshake_server_config *config, struct handshake_hello *hello,
                       int64_t now, struct handshake_server **ret_server,
                       struct handshake_need *need)
{
    struct handshake_server *server = calloc(1, sizeof(*server));
    ath_err err;

    if (server == NULL)
        return ATH_ERR_NOMEM;
    server->started_at = now;
    transcript_start(server->t);
    if ((err = copy_config(server, config, hello)) != ATH_OK ||
        (err = transcript_add(server->t, hello->message)) != ATH_OK ||
        (err = server_response(server, now, need)) != ATH_OK)
        goto out;
    handshake_memory_begin(&server->client_memory, hello->hash);
    handshake_hello_done(hello);
    *ret_server = server;
    server = NULL;
out:
    if (err != ATH_OK)
        handshake_need_done(need);
    handshake_server_free(server);
    return err;
}

void
handshake_server_free(struct handshake_server *server)
{
    if (server == NULL)
        return;
    if (server->state == SERVER_SIGN_CONFIRMATION)
        server_close_gate(server, 0, CONFIRMATION_VOID);
    free(server->server_did);
    public_key_free(server->server_key);
    free(server->client_name);
    free(server->client_developer);
    free(server->client_did);
    public_key_free(server->client_key);
    free(server->traceparent);
    json_free(server->draft);
    scope_list_done(&server->requested);
    user_grant_done(&server->grant);
    ath_secret_done(&server->z);
    scope_decision_done(&server->decision);
    scope_list_done(&server->confirmation.requested);
    scope_list_done(&server->confirmation.approved);
    json_free(server->scope_result);
    ath_buf_done(&server->token_input);
    handshake_memory_done(&server->client_memory);
    handshake_memory_done(&server->user_memory);
    handshake_result_done(&server->result);
    free(server);
}

/* ---- what comes in ---- */

static ath_err
dispatch(struct handshake_server *server, const struct json *message, int64_t now, struct why *why,
         struct handshake_need *need)
{
    enum handshake_message_type type = handshake_message_type(message);

    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (TABLE[i].state == server->state && TABLE[i].type == type)
            return TABLE[i].handle(server, message, now, why, need);
    }
    return why_set(why, ATH_ERR_UNEXPECTED_MESSAGE, "a message of type %s is not expected here",
                   handshake_message_type_name(type));
}

/* The message is refused: the handshake ends, and whoever must know is told. */
static ath_err
refuse(struct handshake_server *server, const struct json *message, ath_err err,
       const struct why *why, int64_t now, struct handshake_need *need)
{
    enum handshake_message_type type = handshake_message_type(message);
    enum server_state state = server->state;

    handshake_need_fail(need, err, why);
    server_close_gate(server, now, confirmation_end_of(server, message));
    set_failed(server);
    return conclude(server, add_refusal(server, state, type, why, now, need), need);
}

/* A handshake that has ended says so, to anything but its last message. */
static ath_err
ended(struct handshake_need *need)
{
    struct why why = {{0}};

    (void)why_set(&why, ATH_ERR_UNEXPECTED_MESSAGE, "the handshake has ended");
    handshake_need_fail(need, ATH_ERR_UNEXPECTED_MESSAGE, &why);
    return ATH_OK;
}

ath_err
handshake_server_receive(struct handshake_server *server, const struct json *message, int64_t now,
                         struct handshake_need *need)
{
    struct handshake_memory *memory = &server->client_memory;
    struct why why = {{0}};
    uint8_t hash[SHA256_LEN];
    ath_err err;

    if (waits_for_signature(server))
        return ATH_ERR_INVALID_PARAMS;
    if (handshake_server_is_expired(server, now))
        return timed_out(server, need);
    if (handshake_message_type(message) == MESSAGE_CONFIRMATION_RESPONSE)
        memory = &server->user_memory;
    if ((err = handshake_message_check(message, &why)) == ATH_OK)
        err = transcript_hash(message, hash);
    if (err == ATH_OK && handshake_memory_is(memory, hash))
        return handshake_memory_repeat(memory, need);
    if (has_ended(server))
        return handshake_err_is_own(err) ? err : ended(need);
    if (err == ATH_OK) {
        handshake_memory_begin(memory, hash);
        err = dispatch(server, message, now, &why, need);
    }
    if (err == ATH_OK || handshake_err_is_own(err))
        return conclude(server, err, need);
    return refuse(server, message, err, &why, now, need);
}

ath_err
handshake_server_signed(struct handshake_server *server, struct ath_slice signature, int64_t now,
                        struct handshake_need *need)
{
    enum key_algorithm algorithm = public_key_algorithm(server->server_key);
    ath_err err;

    if (signature.len != key_algorithm_signature_len(algorithm) || !waits_for_signature(server))
        return ATH_ERR_INVALID_PARAMS;
    if (handshake_server_is_expired(server, now)) {
        server_close_gate(server, now, CONFIRMATION_VOID); /* M6 was not shown */
        return timed_out(server, need);
    }
    if (server->state == SERVER_SIGN_RESPONSE)
        err = server_response_signed(server, signature, need);
    else if (server->state == SERVER_SIGN_CONFIRMATION)
        err = server_confirm_signed(server, signature, need);
    else
        err = server_token_signed(server, signature, need);
    return conclude(server, err, need);
}

void
handshake_server_fail(struct handshake_server *server, ath_err err, const char *why)
{
    struct handshake_need need = {0};
    struct why reason = {{0}};

    if (has_ended(server))
        return;
    /* Silence is left to the gate, which knows when M6 expired. */
    if (err != ATH_ERR_HANDSHAKE_TIMEOUT || server->state == SERVER_SIGN_CONFIRMATION)
        server_close_gate(server, 0, CONFIRMATION_VOID);
    (void)why_set(&reason, err, "%s", why == NULL ? ath_err_sentence(err) : why);
    set_failed(server);
    handshake_need_fail(&need, err, &reason);
    if (remember(server, &need) != ATH_OK) {
        handshake_memory_done(&server->client_memory); /* a repetition is then just unexpected */
        handshake_memory_done(&server->user_memory);
    }
}

/* ---- what it is asked ---- */

int64_t
handshake_server_deadline(const struct handshake_server *server)
{
    const struct server_confirmation *confirmation = &server->confirmation;

    if (has_ended(server))
        return 0;
    if (handshake_server_is_half_open(server))
        return server->started_at + HALF_OPEN_LIFE_S;
    return server->started_at + HANDSHAKE_LIFE_S + confirmation->expires_at - confirmation->asked_at;
}

bool
handshake_server_is_expired(const struct handshake_server *server, int64_t now)
{
    return !has_ended(server) && now > handshake_server_deadline(server);
}

bool
handshake_server_is_half_open(const struct handshake_server *server)
{
    return server->state == SERVER_SIGN_RESPONSE || server->state == SERVER_WAIT_PROOF;
}

const char *
handshake_server_id(const struct handshake_server *server)
{
    return server->handshake_id;
}

const char *
handshake_server_state(const struct handshake_server *server)
{
    switch (server->state) {
    case SERVER_WAIT_CONFIRMATION:
        return "confirm";
    case SERVER_DONE:
        return "done";
    case SERVER_FAILED:
        return "failed";
    default:
        return "waiting";
    }
}

const uint8_t *
handshake_server_t5(const struct handshake_server *server)
{
    return server->has_t5 ? server->t5 : NULL;
}

const char *
handshake_server_client_did(const struct handshake_server *server)
{
    return server->client_did;
}

const char *
handshake_server_user_did(const struct handshake_server *server)
{
    return server->grant.user_did;
}

const char *
handshake_server_traceparent(const struct handshake_server *server)
{
    return server->traceparent;
}

void
handshake_server_take_result(struct handshake_server *server, struct handshake_result *ret_result)
{
    *ret_result = server->result;
    server->result = (struct handshake_result){0};
}
