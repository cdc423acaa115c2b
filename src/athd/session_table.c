#include "athd/session_table.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/session_record.h"
#include "athd/string_map.h"
#include "athd/wall_timer.h"
#include "base/clock.h"
#include "crypto/random.h"
#include "protocol/protocol_limits.h"

#define SESSION_ID_BYTES 16
#define REMEMBER_S 600 /* how long an ended session answers SESSION_EXPIRED */

struct session_table {
    struct tenant *tenant;
    struct string_map by_id;
    LIST_HEAD(, session) all;
    size_t running;
    struct wall_timer *timer;
};

/* ---- one session ---- */

static void
wipe(struct session *session)
{
    jwe_channel_done(&session->channel);
    ath_secret_done(&session->access_token);
}

static void
session_free(struct session *session)
{
    wipe(session);
    scope_list_done(&session->scopes);
    service_entry_free(session->service);
    free(session->peer_did);
    free(session->user_did);
    free(session->trace);
    free(session->key_name);
    free(session->audience);
    free(session);
}

/* ---- time ---- */

static void
on_due(void *ctx)
{
    struct session_table *table = ctx;
    int64_t now = clock_now(), next_at = WALL_TIMER_NEVER;
    struct session *session, *next;

    for (session = LIST_FIRST(&table->all); session != NULL; session = next) {
        next = LIST_NEXT(session, of_table);
        if (!session->ended && session->expires_at <= now)
            session_table_end(table, session);
        if (session->ended && session->forget_at <= now) {
            session_table_remove(table, session);
            continue;
        }
        if (session->ended ? session->forget_at < next_at : session->expires_at < next_at)
            next_at = session->ended ? session->forget_at : session->expires_at;
    }
    wall_timer_set(table->timer, next_at);
}

/* ---- the table ---- */

ath_err
session_table_new(struct tenant *tenant, struct session_table **ret_table)
{
    struct session_table *table = calloc(1, sizeof(*table));

    if (table == NULL ||
        wall_timer_new(tenant->athd->loop, on_due, table, &table->timer) != ATH_OK) {
        free(table);
        return ATH_ERR_NOMEM;
    }
    table->tenant = tenant;
    LIST_INIT(&table->all);
    *ret_table = table;
    return ATH_OK;
}

void
session_table_free(struct session_table *table)
{
    struct session *session;

    if (table == NULL)
        return;
    while ((session = LIST_FIRST(&table->all)) != NULL)
        session_table_remove(table, session);
    string_map_done(&table->by_id);
    wall_timer_free(table->timer);
    free(table);
}

static size_t
count_of_caller(const struct session_table *table, uint64_t caller_identity)
{
    const struct session *session;
    size_t count = 0;

    LIST_FOREACH (session, &table->all, of_table)
        count += !session->ended && session->caller_identity == caller_identity;
    return count;
}

static ath_err
fill(struct session *session, struct handshake_result *result, struct service_entry *service)
{
    ath_err err;

    if ((err = random_base64url(SESSION_ID_BYTES, session->id)) != ATH_OK)
        return err;
    if (service == NULL && (err = ath_secret_from(ath_buf_slice(&result->access_token),
                                                  &session->access_token)) != ATH_OK)
        return err;
    if ((err = scope_list_copy(&result->scopes.granted, &session->scopes)) != ATH_OK)
        return err;
    if ((session->peer_did = ath_strdup(result->peer_did)) == NULL ||
        (session->user_did = ath_strdup(result->user_did)) == NULL)
        return ATH_ERR_NOMEM;
    jwe_channel_init(&session->channel, &result->keys, service == NULL ? JWE_CLIENT : JWE_SERVER);
    session->service = service == NULL ? NULL : service_entry_ref(service);
    session->expires_at = result->expires_at;
    memcpy(session->transcript, result->transcript, sizeof(session->transcript));
    memcpy(session->t5, result->t5, sizeof(session->t5));
    return ATH_OK;
}

ath_err
session_table_add(struct session_table *table, struct handshake_result *taken_result,
                  struct service_entry *service, uint64_t caller_identity,
                  struct session **ret_session)
{
    struct session *session;
    ath_err err;

    if (count_of_caller(table, caller_identity) >= SESSIONS_PER_CALLER ||
        (service != NULL && service->memory->sessions >= SESSIONS_PER_SERVICE))
        return ATH_ERR_LIMIT_EXCEEDED;
    if ((session = calloc(1, sizeof(*session))) == NULL)
        return ATH_ERR_NOMEM;
    if ((err = fill(session, taken_result, service)) != ATH_OK ||
        (err = string_map_put(&table->by_id, session->id, session)) != ATH_OK) {
        session_free(session);
        return err;
    }
    session->caller_identity = caller_identity;
    LIST_INSERT_HEAD(&table->all, session, of_table);
    table->running++;
    if (service != NULL)
        service->memory->sessions++;
    wall_timer_set(table->timer, session->expires_at);
    *ret_session = session;
    return ATH_OK;
}

ath_err
session_table_find(struct session_table *table, const char *id, struct session **ret_session)
{
    struct session *session = string_map_get(&table->by_id, id);

    if (session == NULL)
        return ATH_ERR_SESSION_NOT_FOUND;
    if (!session->ended && session->expires_at <= clock_now())
        session_table_end(table, session);
    if (session->ended)
        return ATH_ERR_SESSION_EXPIRED;
    *ret_session = session;
    return ATH_OK;
}

ath_err
session_table_find_for(struct session_table *table, const char *id, const struct caller *caller,
                       struct session **ret_session)
{
    const struct session *session = string_map_get(&table->by_id, id);

    if (session != NULL && !caller_sees(caller, session->caller_identity))
        return ATH_ERR_SESSION_NOT_FOUND;
    return session_table_find(table, id, ret_session);
}

void
session_table_end(struct session_table *table, struct session *session)
{
    if (session->ended)
        return;
    if (!session->is_on_record)
        session_record(table->tenant, session,
                       session->expires_at <= clock_now() ? "session_expired" : "session_closed",
                       NULL);
    wipe(session);
    session->ended = true;
    session->forget_at = clock_now() + REMEMBER_S;
    table->running--;
    if (session->service != NULL)
        session->service->memory->sessions--;
    wall_timer_set(table->timer, session->forget_at);
}

void
session_table_remove(struct session_table *table, struct session *session)
{
    session_table_end(table, session);
    (void)string_map_remove(&table->by_id, session->id);
    LIST_REMOVE(session, of_table);
    session_free(session);
}

void
session_table_remove_service(struct session_table *table, const char *service_name)
{
    struct session *session, *next;

    for (session = LIST_FIRST(&table->all); session != NULL; session = next) {
        next = LIST_NEXT(session, of_table);
        if (session->service != NULL && strcmp(session->service->rules->name, service_name) == 0)
            session_table_remove(table, session);
    }
}

void
session_table_end_of(struct session_table *table, uint64_t caller_identity)
{
    struct session *session;

    LIST_FOREACH (session, &table->all, of_table)
        if (session->caller_identity == caller_identity)
            session_table_end(table, session);
}

size_t
session_table_count(const struct session_table *table)
{
    return table->running;
}

void
session_table_each(const struct session_table *table,
                   void (*each)(void *ctx, const struct session *session), void *ctx)
{
    const struct session *session;

    LIST_FOREACH (session, &table->all, of_table)
        if (!session->ended)
            each(ctx, session);
}
