/* The client's machine: its life, and the table of who may say what when. */
#include "protocol/handshake_client.h"

#include <stdlib.h>
#include <string.h>

#include "base/traceparent.h"
#include "protocol/handshake_client_state.h"
#include "protocol/handshake_message.h"
#include "protocol/origin.h"
#include "protocol/protocol_limits.h"

static const struct {
    enum client_state state;
    enum handshake_message_type type;
    ath_err (*handle)(struct handshake_client *client, const struct json *message, int64_t now,
                      struct why *why, struct handshake_need *need);
} TABLE[] = {
    {CLIENT_WAIT_RESPONSE, MESSAGE_HANDSHAKE_RETRY, client_on_retry},
    {CLIENT_WAIT_RESPONSE, MESSAGE_HANDSHAKE_RESPONSE, client_on_response},
    {CLIENT_WAIT_IDENTITY_RESULT, MESSAGE_IDENTITY_RESULT, client_on_identity_result},
    {CLIENT_WAIT_SCOPE_RESULT, MESSAGE_SCOPE_RESULT, client_on_scope_result},
    {CLIENT_WAIT_COMPLETE, MESSAGE_HANDSHAKE_COMPLETE, client_on_complete},
};

#define TABLE_COUNT (sizeof(TABLE) / sizeof(TABLE[0]))

static bool
has_ended(const struct handshake_client *client)
{
    return client->state == CLIENT_DONE || client->state == CLIENT_FAILED;
}

/* Somebody other than the peer has to answer first. */
static bool
waits_for_owner(const struct handshake_client *client)
{
    switch (client->state) {
    case CLIENT_SIGN_HELLO:
    case CLIENT_WAIT_TRUST:
    case CLIENT_WAIT_GRANT:
    case CLIENT_SIGN_IDENTITY:
    case CLIENT_SIGN_SCOPE_REQUEST:
        return true;
    default:
        return false;
    }
}

/* The end of a handshake that failed: the ephemeral key goes at once. */
static void
set_failed(struct handshake_client *client)
{
    client->state = CLIENT_FAILED;
    key_agreement_free(client->agreement);
    client->agreement = NULL;
    handshake_result_done(&client->result);
}

/* Where every call ends: a refusal becomes a need, an answer is remembered. */
static ath_err
conclude(struct handshake_client *client, ath_err err, const struct why *why,
         struct handshake_need *need)
{
    if (err != ATH_OK) {
        set_failed(client);
        handshake_need_done(need);
        if (handshake_err_is_own(err))
            return err;
        handshake_need_fail(need, err, why);
    }
    if (waits_for_owner(client))
        return ATH_OK;
    if ((err = handshake_memory_answer(&client->memory, need)) != ATH_OK) {
        set_failed(client);
        handshake_need_done(need);
    }
    return err;
}

static ath_err
timed_out(struct handshake_client *client, struct handshake_need *need)
{
    struct why why = {{0}};

    return conclude(client, why_set(&why, ATH_ERR_HANDSHAKE_TIMEOUT, "the handshake took too long"),
                    &why, need);
}

/* ---- life ---- */

static bool
config_is_valid(const struct handshake_client_config *config, struct why *why)
{
    const char *what = NULL;

    if ((config->server_did == NULL) == (config->origin == NULL))
        what = "one of a server's DID and an origin is needed";
    else if (config->server_did != NULL && !did_is_valid(config->server_did))
        what = "the server's DID is not a DID";
    else if (config->origin != NULL && !origin_is_valid(config->origin))
        what = "the origin is not https://host[:port] (http:// on loopback)";
    else if (config->ttl < 1 || config->ttl > TTL_MAX_S)
        what = "the ttl is not 1 to 3600 seconds";
    else if (config->scopes->count < 1 || config->scopes->count > SCOPES_MAX)
        what = "there are not 1 to 64 scopes";
    else if (config->context != NULL && strlen(config->context) > CONTEXT_MAX_LEN)
        what = "the context is longer than 1,024 bytes";
    else if (config->traceparent != NULL && !traceparent_is_valid(config->traceparent))
        what = "the trace is not a W3C traceparent";
    if (what != NULL)
        (void)why_set(why, ATH_ERR_INVALID_PARAMS, "%s", what);
    return what == NULL;
}

static ath_err
copy_config(struct handshake_client *client, const struct handshake_client_config *config)
{
    const char *wanted = config->server_did != NULL ? config->server_did : config->origin_pin;
    ath_err err;

    client->client_key = public_key_ref(config->client_key);
    client->pins = config->pins;
    client->ttl = config->ttl;
    if ((err = ath_strdup_to(config->client_did, &client->client_did)) != ATH_OK ||
        (err = ath_strdup_to(wanted, &client->wanted_did)) != ATH_OK ||
        (err = ath_strdup_to(config->origin, &client->origin)) != ATH_OK ||
        (err = ath_strdup_to(config->context, &client->context)) != ATH_OK ||
        (err = ath_strdup_to(config->traceparent, &client->traceparent)) != ATH_OK)
        return err;
    return scope_list_copy(config->scopes, &client->scopes);
}

ath_err
handshake_client_start(const struct handshake_client_config *config, int64_t now, struct why *why,
                       struct handshake_client **ret_client, struct handshake_need *need)
{
    struct handshake_client *client = NULL;
    ath_err err;

    if (!config_is_valid(config, why))
        return ATH_ERR_INVALID_PARAMS;
    if ((client = calloc(1, sizeof(*client))) == NULL)
        return ATH_ERR_NOMEM;
    if ((err = copy_config(client, config)) != ATH_OK)
        goto out;
    if (config->credential != NULL &&
        (err = client_set_credential(client, config->credential, now, why)) != ATH_OK)
        goto out;
    if ((err = client_hello(client, NULL, false, now, need)) != ATH_OK)
        goto out;
    *ret_client = client;
    client = NULL;
out:
    if (err != ATH_OK)
        handshake_need_done(need);
    handshake_client_free(client);
    return err;
}

void
handshake_client_free(struct handshake_client *client)
{
    if (client == NULL)
        return;
    free(client->client_did);
    public_key_free(client->client_key);
    free(client->wanted_did);
    free(client->origin);
    scope_list_done(&client->scopes);
    free(client->context);
    free(client->traceparent);
    json_free(client->credential);
    user_grant_done(&client->grant);
    json_free(client->draft);
    free(client->server_did);
    public_key_free(client->server_key);
    key_agreement_free(client->agreement);
    handshake_memory_done(&client->memory);
    handshake_result_done(&client->result);
    free(client);
}

/* ---- what comes in ---- */

static ath_err
dispatch(struct handshake_client *client, const struct json *message, int64_t now, struct why *why,
         struct handshake_need *need)
{
    enum handshake_message_type type = handshake_message_type(message);

    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (TABLE[i].state == client->state && TABLE[i].type == type)
            return TABLE[i].handle(client, message, now, why, need);
    }
    return why_set(why, ATH_ERR_UNEXPECTED_MESSAGE, "a message of type %s is not expected here",
                   handshake_message_type_name(type));
}

ath_err
handshake_client_receive(struct handshake_client *client, const struct json *message, int64_t now,
                         struct handshake_need *need)
{
    struct why why = {{0}};
    uint8_t hash[SHA256_LEN];
    ath_err err;

    if (waits_for_owner(client))
        return ATH_ERR_INVALID_PARAMS;
    if (!has_ended(client) && handshake_client_is_expired(client, now))
        return timed_out(client, need);
    if ((err = handshake_message_check(message, &why)) == ATH_OK)
        err = transcript_hash(message, hash);
    if (err == ATH_OK && handshake_memory_is(&client->memory, hash))
        return handshake_memory_repeat(&client->memory, need);
    if (has_ended(client)) {
        if (handshake_err_is_own(err))
            return err;
        (void)why_set(&why, ATH_OK, "the handshake has ended");
        handshake_need_fail(need, ATH_ERR_UNEXPECTED_MESSAGE, &why);
        return ATH_OK;
    }
    if (err == ATH_OK) {
        handshake_memory_begin(&client->memory, hash);
        err = dispatch(client, message, now, &why, need);
    }
    return conclude(client, err, &why, need);
}

ath_err
handshake_client_signed(struct handshake_client *client, struct ath_slice signature, int64_t now,
                        struct handshake_need *need)
{
    enum key_algorithm algorithm = public_key_algorithm(client->client_key);
    struct why why = {{0}};
    ath_err err;

    if (signature.len != key_algorithm_signature_len(algorithm))
        return ATH_ERR_INVALID_PARAMS;
    if (waits_for_owner(client) && handshake_client_is_expired(client, now))
        return timed_out(client, need);
    switch (client->state) {
    case CLIENT_SIGN_HELLO:
        err = client_hello_signed(client, signature, need);
        break;
    case CLIENT_SIGN_IDENTITY:
        err = client_identity_signed(client, signature, need);
        break;
    case CLIENT_SIGN_SCOPE_REQUEST:
        err = client_scope_request_signed(client, signature, need);
        break;
    default:
        return ATH_ERR_INVALID_PARAMS;
    }
    return conclude(client, err, &why, need);
}

ath_err
handshake_client_trusted(struct handshake_client *client, bool trusted, int64_t now,
                         struct handshake_need *need)
{
    struct why why = {{0}};
    ath_err err;

    if (client->state != CLIENT_WAIT_TRUST)
        return ATH_ERR_INVALID_PARAMS;
    if (handshake_client_is_expired(client, now))
        return timed_out(client, need);
    if (trusted)
        err = client_after_trust(client, now, &why, need);
    else
        err = why_set(&why, ATH_ERR_USER_DENIED, "the user does not trust this server");
    return conclude(client, err, &why, need);
}

ath_err
handshake_client_grant(struct handshake_client *client, const struct json *credential, int64_t now,
                       struct handshake_need *need)
{
    struct why why = {{0}};
    ath_err err;

    if (client->state != CLIENT_WAIT_GRANT)
        return ATH_ERR_INVALID_PARAMS;
    if (handshake_client_is_expired(client, now))
        return timed_out(client, need);
    if ((err = client_set_credential(client, credential, now, &why)) == ATH_OK)
        err = client_after_trust(client, now, &why, need);
    return conclude(client, err, &why, need);
}

void
handshake_client_fail(struct handshake_client *client, ath_err err, const char *why)
{
    struct handshake_need need = {0};
    struct why reason = {{0}};

    if (has_ended(client))
        return;
    (void)why_set(&reason, err, "%s", why == NULL ? ath_err_sentence(err) : why);
    set_failed(client);
    handshake_need_fail(&need, err, &reason);
    if (handshake_memory_answer(&client->memory, &need) != ATH_OK)
        handshake_memory_done(&client->memory); /* a repetition is then just unexpected */
}

/* ---- what it is asked ---- */

int64_t
handshake_client_deadline(const struct handshake_client *client)
{
    int64_t deadline = client->started_at + HANDSHAKE_LIFE_S;

    if (has_ended(client))
        return 0;
    /* The user is asked within the time the server keeps a half-open handshake. */
    if ((client->state == CLIENT_WAIT_TRUST || client->state == CLIENT_WAIT_GRANT) &&
        deadline > client->response_at + FIRST_CONTACT_LIFE_S)
        deadline = client->response_at + FIRST_CONTACT_LIFE_S;
    /* The time from M6 to its expires_at does not count, and we do not see M6. */
    if (client->waits_for_user)
        deadline += CONFIRMATION_LIFE_MAX_S;
    return deadline;
}

bool
handshake_client_is_expired(const struct handshake_client *client, int64_t now)
{
    return !has_ended(client) && now > handshake_client_deadline(client);
}

const uint8_t *
handshake_client_t5(const struct handshake_client *client)
{
    return client->has_t5 ? client->t5 : NULL;
}

const char *
handshake_client_server_did(const struct handshake_client *client)
{
    return client->server_did;
}

const struct public_key *
handshake_client_server_key(const struct handshake_client *client)
{
    return client->server_key;
}

const char *
handshake_client_user_did(const struct handshake_client *client)
{
    return client->grant.user_did;
}

const char *
handshake_client_state(const struct handshake_client *client)
{
    if (client->state == CLIENT_DONE)
        return "done";
    return client->state == CLIENT_FAILED ? "failed" : "waiting";
}

void
handshake_client_take_result(struct handshake_client *client, struct handshake_result *ret_result)
{
    *ret_result = client->result;
    client->result = (struct handshake_result){0};
}
