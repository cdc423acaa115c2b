#include "athd/policy_question.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/handshake_table.h"
#include "athd/service_store.h"
#include "athd/session_table.h"
#include "protocol/attestation.h"

static void
add_audience(struct policy_asked *asked, const char *audience)
{
    struct policy_question *question = &asked->question;

    if (audience != NULL && question->audience_count < POLICY_QUESTION_AUDIENCES)
        asked->audiences[question->audience_count++] = audience;
}

static void
set_peer(struct policy_asked *asked, const char *did)
{
    asked->peers[0] = did;
    asked->question.peer_count = did != NULL;
}

/* ---- what the params name ---- */

static void
look_at_handshake(const struct tenant *tenant, const struct caller *caller, const char *id,
                  struct policy_asked *asked)
{
    const struct handshake *handshake = handshake_table_find(tenant->handshakes, id);

    if (handshake == NULL || !caller_sees(caller, handshake->caller_identity))
        return;
    asked->question.key = handshake->key->name;
    if (handshake->server != NULL) {
        add_audience(asked, handshake_server_client_did(handshake->server));
        return;
    }
    add_audience(asked, handshake->origin != NULL ? handshake->origin : handshake->wanted_did);
    asked->question.scopes = &handshake->scopes;
    asked->question.ttl = handshake->ttl;
    set_peer(asked, handshake->wanted_did != NULL ? handshake->wanted_did
                    : handshake->client != NULL   ? handshake_client_server_did(handshake->client)
                                                  : NULL);
}

static void
look_at_session(const struct tenant *tenant, const struct caller *caller, const char *id,
                struct policy_asked *asked)
{
    struct session *session = NULL;

    if (session_table_find_for(tenant->sessions, id, caller, &session) != ATH_OK)
        return;
    asked->question.key = session->key_name;
    add_audience(asked, session->audience);
    set_peer(asked, session->peer_did);
}

/* NULL: there is no such service, or none that the caller may know of. */
static const char *
key_of_service(const struct tenant *tenant, const struct caller *caller, const char *name)
{
    const struct service_entry *entry =
        name == NULL ? NULL : service_store_find_for(tenant, caller, name);

    return entry == NULL ? NULL : entry->rules->key;
}

/* ---- params ---- */

static bool
is_of(const struct rpc_method *method, const char *group)
{
    return strncmp(method->name, group, strlen(group)) == 0;
}

/* Calls that leave out which key they are about are about all of them. */
static bool
is_about_all(const struct rpc_method *method, const struct json *params)
{
    return json_get(params, "key") == NULL &&
           (method->id == RPC_POLICY_FREEZE || method->id == RPC_POLICY_UNFREEZE ||
            method->id == RPC_AUDIT_QUERY);
}

static void
look_at_key(const struct tenant *tenant, const struct caller *caller,
            const struct rpc_method *method, const struct json *params, struct policy_asked *asked)
{
    const char *handshake = json_get_string(params, "handshake");
    const char *session = json_get_string(params, "session");
    const char *service = json_get_string(params, "service");
    struct policy_question *question = &asked->question;

    question->key = json_get_string(params, is_of(method, "key.") ? "name" : "key");
    question->is_about_all = is_about_all(method, params);
    if (method->id == RPC_SERVICE_PUT) /* it takes the place of one that may have another key */
        question->also_key = key_of_service(tenant, caller, json_get_string(params, "name"));
    else if (method->id == RPC_HANDSHAKE_START)
        question->also_key = json_get_string(params, "user_key");
    else if (method->id == RPC_SERVICE_DELETE)
        service = json_get_string(params, "name");
    if (handshake != NULL && is_of(method, "handshake."))
        look_at_handshake(tenant, caller, handshake, asked);
    else if (service != NULL)
        question->key = key_of_service(tenant, caller, service);
    else if (session != NULL && is_of(method, "session."))
        look_at_session(tenant, caller, session, asked);
}

static void
look_at_audience(const struct rpc_method *method, const struct json *params,
                 struct policy_asked *asked)
{
    const struct json *audience = json_get(params, "audience"), *entry;
    const struct json *server = json_get(params, "server");

    if (method->id == RPC_ATTESTATION_CREATE || method->id == RPC_CREDENTIAL_ISSUE) {
        add_audience(asked, json_string(audience));
        for (entry = json_first(audience); entry != NULL; entry = json_next(entry))
            add_audience(asked, json_string(entry));
    }
    if (method->id == RPC_CREDENTIAL_ISSUE)
        set_peer(asked, json_get_string(params, "client"));
    if (method->id == RPC_HANDSHAKE_START) {
        const char *origin = json_get_string(server, "origin"),
                   *did = json_get_string(server, "did");

        add_audience(asked, origin != NULL ? origin : did);
        set_peer(asked, did);
    }
    if (is_of(method, "peer."))
        set_peer(asked, json_get_string(params, "did"));
}

static void
put_defaults(const struct rpc_method *method, struct policy_question *question)
{
    if (question->ttl == 0 && method->id == RPC_ATTESTATION_CREATE)
        question->ttl = ATTESTATION_TTL_DEFAULT_S;
    if (question->ttl == 0 && method->id == RPC_HANDSHAKE_START)
        question->ttl = HANDSHAKE_TTL_DEFAULT_S;
}

/* What is wrong with them the method says. */
static ath_err
look_at_scopes(const struct rpc_method *method, const struct json *params,
               struct policy_asked *asked)
{
    bool has_scopes = method->id == RPC_HANDSHAKE_START || method->id == RPC_CREDENTIAL_ISSUE;
    const struct json *scopes = has_scopes ? json_get(params, "scopes") : NULL;
    struct why why;
    ath_err err;

    if (scopes == NULL)
        return ATH_OK;
    if ((err = scope_list_decode(scopes, 1, &why, &asked->scopes)) == ATH_OK)
        asked->question.scopes = &asked->scopes;
    return err == ATH_ERR_NOMEM ? err : ATH_OK;
}

ath_err
policy_question_of_call(const struct tenant *tenant, const struct caller *caller,
                        const struct rpc_method *method, const struct json *params,
                        struct policy_asked *ret_asked)
{
    struct policy_asked *asked = ret_asked;

    *asked = (struct policy_asked){
        .question = {.method = method->name, .is_preliminary = policy_method_signs(method->id)}};
    asked->question.audiences = asked->audiences;
    asked->question.peers = asked->peers;
    look_at_key(tenant, caller, method, params, asked);
    look_at_audience(method, params, asked);
    (void)json_get_int(params, "ttl", &asked->question.ttl);
    put_defaults(method, &asked->question);
    return look_at_scopes(method, params, asked);
}

/* ---- as if all were known ---- */

static const enum sign_purpose *
purpose_of(const struct rpc_method *method)
{
    static const enum sign_purpose attestation = PURPOSE_ATTESTATION, grant = PURPOSE_USER_GRANT,
                                   hello = PURPOSE_CLIENT_HELLO,
                                   confirmation = PURPOSE_USER_CONFIRMATION;

    switch (method->id) {
    case RPC_ATTESTATION_CREATE:
        return &attestation;
    case RPC_CREDENTIAL_ISSUE:
        return &grant;
    case RPC_CONFIRMATION_ANSWER:
        return &confirmation;
    case RPC_HANDSHAKE_START:
    case RPC_HANDSHAKE_RECEIVE:
    case RPC_HANDSHAKE_ACCEPT:
        return &hello;
    default:
        return NULL;
    }
}

/* Is there more in a message that has to be read first, or in a second question (for the user's
 * key)? */
static bool
is_open(const struct rpc_method *method, const struct json *params)
{
    return method->id == RPC_HANDSHAKE_RECEIVE || method->id == RPC_HANDSHAKE_ACCEPT ||
           method->id == RPC_CONFIRMATION_ANSWER ||
           (method->id == RPC_HANDSHAKE_START && json_get(params, "user_key") != NULL);
}

ath_err
policy_question_of_check(const struct tenant *tenant, const struct caller *caller,
                         const struct rpc_method *method, const struct json *params,
                         struct policy_asked *ret_asked)
{
    ath_err err = policy_question_of_call(tenant, caller, method, params, ret_asked);

    ret_asked->question.is_preliminary = is_open(method, params);
    ret_asked->question.purpose = purpose_of(method);
    return err;
}

void
policy_asked_done(struct policy_asked *asked)
{
    scope_list_done(&asked->scopes);
}

/* ---- a question that is kept ---- */

struct policy_kept {
    struct policy_question question;
    enum sign_purpose purpose;
    struct scope_list scopes; /* owned, as all texts */
    char *key, *also_key;
    char *audiences[POLICY_QUESTION_AUDIENCES];
    char *peers[1];
};

static ath_err
copy_texts(const char *const *texts, size_t count, char **copies, size_t max)
{
    if (count > max)
        return ATH_ERR_LIMIT_EXCEEDED;
    for (size_t i = 0; i < count; i++)
        if ((copies[i] = ath_strdup(texts[i])) == NULL)
            return ATH_ERR_NOMEM;
    return ATH_OK;
}

static ath_err
copy_question(const struct policy_question *question, struct policy_kept *kept)
{
    ath_err err;

    if ((err = copy_texts(question->audiences, question->audience_count, kept->audiences,
                          POLICY_QUESTION_AUDIENCES)) != ATH_OK ||
        (err = copy_texts(question->peers, question->peer_count, kept->peers, 1)) != ATH_OK ||
        (err = ath_strdup_to(question->key, &kept->key)) != ATH_OK ||
        (err = ath_strdup_to(question->also_key, &kept->also_key)) != ATH_OK)
        return err;
    kept->question = *question;
    kept->question.key = kept->key;
    kept->question.also_key = kept->also_key;
    kept->question.audiences = (const char *const *)kept->audiences;
    kept->question.peers = (const char *const *)kept->peers;
    if (question->purpose != NULL) {
        kept->purpose = *question->purpose;
        kept->question.purpose = &kept->purpose;
    }
    if (question->scopes == NULL)
        return ATH_OK;
    kept->question.scopes = &kept->scopes;
    return scope_list_copy(question->scopes, &kept->scopes);
}

ath_err
policy_kept_new(const struct policy_question *question, struct policy_kept **ret_kept)
{
    struct policy_kept *kept = calloc(1, sizeof(*kept));
    ath_err err = kept == NULL ? ATH_ERR_NOMEM : copy_question(question, kept);

    if (err == ATH_OK)
        *ret_kept = kept;
    else
        policy_kept_free(kept);
    return err;
}

const struct policy_question *
policy_kept_question(const struct policy_kept *kept)
{
    return &kept->question;
}

void
policy_kept_free(struct policy_kept *kept)
{
    if (kept == NULL)
        return;
    for (size_t i = 0; i < POLICY_QUESTION_AUDIENCES; i++)
        free(kept->audiences[i]);
    free(kept->peers[0]);
    free(kept->key);
    free(kept->also_key);
    scope_list_done(&kept->scopes);
    free(kept);
}
