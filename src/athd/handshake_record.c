#include "athd/handshake_record.h"

#include "athd/athd.h"
#include "athd/audit_record.h"
#include "protocol/handshake_message.h"

static const uint8_t *
t5_of(const struct handshake *handshake)
{
    if (handshake->client != NULL)
        return handshake_client_t5(handshake->client);
    return handshake->server == NULL ? NULL : handshake_server_t5(handshake->server);
}

void
handshake_record_join(struct json_maker *record, const struct handshake *handshake)
{
    const uint8_t *t5 = t5_of(handshake);

    json_put_string(record, "handshake_id", handshake->id);
    if (t5 != NULL)
        json_put_base64url(record, "handshake", ath_slice_of(t5, SHA256_LEN));
    json_put_string(record, "trace", handshake->trace);
}

static void
put_scopes(struct json_maker *record, const char *name, const struct scope_list *scopes)
{
    struct json *array = NULL;

    if (scope_list_encode(scopes, &array) != ATH_OK)
        array = NULL;
    json_put_take(record, name, array);
}

/* Who took part, as far as this side knows by now. */
static void
begin(struct json_maker *record, const char *event, const struct tenant *tenant,
      const struct handshake *handshake, const struct request *request)
{
    const struct handshake_client *client = handshake->client;
    const struct handshake_server *server = handshake->server;

    audit_record_begin(record, event, request);
    if (request == NULL)
        audit_record_put_owner(record, tenant);
    json_put_string(record, "role", handshake_is_client(handshake) ? "client" : "server");
    handshake_record_join(record, handshake);
    if (handshake_is_client(handshake)) {
        json_put_string(record, "agent_id", handshake->key->did);
        json_put_string(record, "user_id",
                        client == NULL ? NULL : handshake_client_user_did(client));
        json_put_string(record, "provider_id",
                        client == NULL ? NULL : handshake_client_server_did(client));
        put_scopes(record, "requested_scopes", &handshake->scopes);
    } else {
        json_put_string(record, "agent_id",
                        server == NULL ? NULL : handshake_server_client_did(server));
        json_put_string(record, "user_id",
                        server == NULL ? NULL : handshake_server_user_did(server));
        json_put_string(record, "provider_id", handshake->key->did);
        json_put_string(record, "service", handshake->service->rules->name);
    }
}

static const char *
type_of(const struct json *message)
{
    return handshake_message_type_name(handshake_message_type(message));
}

void
handshake_record_step(struct tenant *tenant, const struct handshake *handshake,
                      const struct request *request, const char *state)
{
    struct json_maker record, sent;

    begin(&record, handshake->answer.len == 0 ? "authorization_started" : "handshake_step", tenant, handshake, request);
    if (handshake->message != NULL)
        json_put_string(&record, "received", type_of(handshake->message));
    json_array_begin(&sent);
    for (size_t i = 0; i < handshake->need.send_count; i++)
        json_put_string(&sent, NULL, type_of(handshake->need.send[i]));
    if (handshake->need.confirm != NULL) /* M6, to the user */
        json_put_string(&sent, NULL, type_of(handshake->need.confirm));
    json_put_maker(&record, "sent", &sent);
    json_put_string(&record, "state", state);
    audit_record_note(tenant->athd, &record);
}

static void
put_requested(struct json_maker *record, const struct scope_decision *decision)
{
    struct json_maker requested, denied;

    json_array_begin(&requested);
    for (size_t i = 0; i < decision->granted.count; i++)
        json_put_string(&requested, NULL, decision->granted.items[i]);
    json_array_begin(&denied);
    for (size_t i = 0; i < decision->denied_count; i++) {
        json_put_string(&requested, NULL, decision->denied[i].scope);
        json_put_string(&denied, NULL, decision->denied[i].scope);
    }
    json_put_maker(record, "requested_scopes", &requested);
    json_put_maker(record, "denied_scopes", &denied);
}

void
handshake_record_granted(struct tenant *tenant, const struct handshake *handshake,
                         const struct request *request, const struct handshake_result *result)
{
    struct json_maker record;

    begin(&record, "access_granted", tenant, handshake, request);
    if (handshake_is_client(handshake))
        json_put_string(&record, "provider_id", result->peer_did);
    else
        json_put_string(&record, "agent_id", result->peer_did);
    json_put_string(&record, "user_id", result->user_did);
    put_requested(&record, &result->scopes);
    put_scopes(&record, "effective_scopes", &result->scopes.granted);
    json_put_int(&record, "expires_at", result->expires_at);
    json_put_base64url(&record, "handshake", ath_slice_of(result->t5, sizeof(result->t5)));
    audit_record_note(tenant->athd, &record);
}

static void
put_denied(struct json_maker *record, const struct json *m8)
{
    const struct json *entry = json_first(json_get(m8, "scopes_denied"));
    struct json_maker denied;

    json_array_begin(&denied);
    for (; entry != NULL; entry = json_next(entry))
        json_put_string(&denied, NULL, json_get_string(entry, "scope"));
    json_put_maker(record, "denied_scopes", &denied);
}

/* A list that is none is not recorded: it may be too long for any record. */
static void
put_scopes_of_message(struct json_maker *record, const struct json *m5)
{
    struct scope_list scopes = {0};

    if (scope_list_decode(json_get(m5, "scopes"), 0, NULL, &scopes) == ATH_OK)
        put_scopes(record, "requested_scopes", &scopes);
    scope_list_done(&scopes);
}

void
handshake_record_denied(struct tenant *tenant, const struct handshake *handshake,
                        const struct request *request, ath_err err, const struct json *m8)
{
    struct json_maker record;

    begin(&record, "access_denied", tenant, handshake, request);
    if (!handshake_is_client(handshake))
        put_scopes_of_message(&record, handshake->message);
    if (m8 != NULL)
        put_denied(&record, m8);
    json_put_string(&record, "denial_reason", ath_err_reason(err));
    audit_record_note(tenant->athd, &record);
}
