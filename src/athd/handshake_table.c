#include "athd/handshake_table.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/handshake_record.h"
#include "athd/string_map.h"
#include "athd/wall_timer.h"
#include "base/clock.h"
#include "protocol/protocol_limits.h"

struct handshake_table {
    struct tenant *tenant;
    struct string_map by_id;
    LIST_HEAD(, handshake) all;
    TAILQ_HEAD(handshake_lives, handshake) alive, ended; /* each in the order it came */
    /* apart, so that each M1 costs a look at these few and not at all that came and went */
    LIST_HEAD(, handshake) half_open;
    size_t running;
    struct wall_timer *timer;
};

/* ---- one handshake ---- */

struct handshake *
handshake_new(struct key *key, const char *trace)
{
    struct handshake *handshake = calloc(1, sizeof(*handshake));

    if (handshake == NULL)
        return NULL;
    handshake->references = 1;
    handshake->key = key_ref(key);
    handshake->started_at = clock_now();
    if (trace != NULL && (handshake->trace = ath_strdup(trace)) == NULL) {
        handshake_free(handshake);
        return NULL;
    }
    return handshake;
}

struct handshake *
handshake_ref(struct handshake *handshake)
{
    handshake->references++;
    return handshake;
}

/* What only a handshake that goes on needs. */
static void
drop_machine(struct handshake *handshake)
{
    handshake_client_free(handshake->client);
    handshake_server_free(handshake->server);
    handshake->client = NULL;
    handshake->server = NULL;
    handshake_need_done(&handshake->need);
    handshake->need = (struct handshake_need){0};
    handshake->stalled = false;
    json_free(handshake->message);
    handshake->message = NULL;
}

void
handshake_free(struct handshake *handshake)
{
    if (handshake == NULL || --handshake->references > 0)
        return;
    drop_machine(handshake);
    ath_buf_done(&handshake->answer);
    key_free(handshake->key);
    key_free(handshake->user_key);
    scope_list_done(&handshake->scopes);
    service_entry_free(handshake->service); /* behind the machine, which borrows from it */
    free(handshake->origin);
    free(handshake->wanted_did);
    free(handshake->source);
    free(handshake->hello);
    free(handshake->trace);
    free(handshake);
}

bool
handshake_is_client(const struct handshake *handshake)
{
    return handshake->service == NULL;
}

const char *
handshake_state(const struct handshake *handshake)
{
    if (handshake->ended_at != 0)
        return handshake->ended_err == ATH_OK ? "done" : "failed";
    if (handshake->server != NULL)
        return handshake_server_state(handshake->server);
    return "waiting";
}

static void
set_half_open(struct handshake *handshake, bool half_open)
{
    if (handshake->half_open == half_open)
        return;
    handshake->half_open = half_open;
    if (half_open) {
        handshake->service->memory->half_open++;
        LIST_INSERT_HEAD(&handshake->table->half_open, handshake, of_half_open);
    } else {
        handshake->service->memory->half_open--;
        LIST_REMOVE(handshake, of_half_open);
    }
}

void
handshake_note_progress(struct handshake *handshake)
{
    if (handshake->server == NULL || !handshake_server_is_half_open(handshake->server))
        set_half_open(handshake, false);
}

/* ---- time ---- */

static int64_t
deadline_of(const struct handshake *handshake)
{
    if (handshake->ended_at != 0)
        return handshake->ended_at + HANDSHAKE_LIFE_S;
    /* too late is the second behind the deadline */
    if (handshake->client != NULL)
        return handshake_client_deadline(handshake->client) + 1;
    return handshake_server_deadline(handshake->server) + 1;
}

static bool
is_expired(const struct handshake *handshake, int64_t now)
{
    return handshake->client != NULL ? handshake_client_is_expired(handshake->client, now)
                                     : handshake_server_is_expired(handshake->server, now);
}

static void
on_due(void *ctx)
{
    struct handshake_table *table = ctx;
    int64_t now = clock_now(), next_at = WALL_TIMER_NEVER;
    struct handshake *handshake, *next;

    for (handshake = LIST_FIRST(&table->all); handshake != NULL; handshake = next) {
        next = LIST_NEXT(handshake, of_table);
        /* one that is being worked on learns from its machine that it is too late */
        if (handshake->ended_at == 0 && handshake->request == NULL && is_expired(handshake, now))
            handshake_abort(handshake, ATH_ERR_HANDSHAKE_TIMEOUT);
        if (handshake->ended_at != 0 && handshake->request == NULL &&
            deadline_of(handshake) <= now) {
            handshake_table_remove(table, handshake);
            continue;
        }
        if (deadline_of(handshake) < next_at)
            next_at = deadline_of(handshake);
    }
    wall_timer_set(table->timer, next_at);
}

/* ---- the table ---- */

ath_err
handshake_table_new(struct tenant *tenant, struct handshake_table **ret_table)
{
    struct handshake_table *table = calloc(1, sizeof(*table));

    if (table == NULL ||
        wall_timer_new(tenant->athd->loop, on_due, table, &table->timer) != ATH_OK) {
        free(table);
        return ATH_ERR_NOMEM;
    }
    table->tenant = tenant;
    LIST_INIT(&table->all);
    TAILQ_INIT(&table->alive);
    TAILQ_INIT(&table->ended);
    LIST_INIT(&table->half_open);
    *ret_table = table;
    return ATH_OK;
}

void
handshake_table_free(struct handshake_table *table)
{
    struct handshake *handshake;

    if (table == NULL)
        return;
    while ((handshake = LIST_FIRST(&table->all)) != NULL)
        handshake_table_remove(table, handshake);
    string_map_done(&table->by_id);
    wall_timer_free(table->timer);
    free(table);
}

static size_t
count_of_caller(const struct handshake_table *table, uint64_t caller_identity)
{
    const struct handshake *handshake;
    size_t count = 0;

    TAILQ_FOREACH (handshake, &table->alive, of_life)
        count += handshake_is_client(handshake) && handshake->caller_identity == caller_identity;
    return count;
}

/* What has ended is remembered for those who ask again, not to keep others out. */
static ath_err
make_room(struct handshake_table *table, const struct handshake *handshake)
{
    size_t max = tenant_share(table->tenant->athd, HANDSHAKES_MAX);
    size_t ended_max = tenant_share(table->tenant->athd, HANDSHAKES_ENDED_MAX);
    struct handshake *oldest;

    if (handshake_is_client(handshake) &&
        count_of_caller(table, handshake->caller_identity) >= HANDSHAKES_PER_CALLER)
        return ATH_ERR_LIMIT_EXCEEDED;
    while (table->by_id.count >= max || table->by_id.count - table->running >= ended_max) {
        TAILQ_FOREACH (oldest, &table->ended, of_life)
            if (oldest->request == NULL)
                break;
        if (oldest == NULL)
            return table->by_id.count < max ? ATH_OK : ATH_ERR_LIMIT_EXCEEDED;
        handshake_table_remove(table, oldest);
    }
    return ATH_OK;
}

ath_err
handshake_table_add(struct handshake_table *table, struct handshake *handshake)
{
    ath_err err;

    if ((err = make_room(table, handshake)) != ATH_OK)
        return err;
    if ((err = string_map_put(&table->by_id, handshake->id, handshake)) != ATH_OK)
        return err;
    (void)handshake_ref(handshake); /* outside the macro, which names its argument several times */
    LIST_INSERT_HEAD(&table->all, handshake, of_table);
    TAILQ_INSERT_TAIL(&table->alive, handshake, of_life);
    handshake->table = table;
    table->running++;
    if (handshake->server != NULL)
        set_half_open(handshake, true);
    wall_timer_set(table->timer, deadline_of(handshake));
    return ATH_OK;
}

void
handshake_table_remove(struct handshake_table *table, struct handshake *handshake)
{
    if (handshake->table != table)
        return;
    set_half_open(handshake, false);
    if (handshake->ended_at == 0)
        table->running--;
    TAILQ_REMOVE(handshake->ended_at == 0 ? &table->alive : &table->ended, handshake, of_life);
    (void)string_map_remove(&table->by_id, handshake->id);
    LIST_REMOVE(handshake, of_table);
    handshake->table = NULL;
    handshake_free(handshake);
}

struct handshake *
handshake_table_find(const struct handshake_table *table, const char *id)
{
    return string_map_get(&table->by_id, id);
}

struct handshake *
handshake_table_find_hello(const struct handshake_table *table, const char *hello,
                           const char *source)
{
    struct handshake *handshake;

    LIST_FOREACH (handshake, &table->half_open, of_half_open)
        if (strcmp(handshake->hello, hello) == 0 && strcmp(handshake->source, source) == 0)
            return handshake;
    return NULL;
}

size_t
handshake_table_half_open(const struct handshake_table *table, const struct service_memory *service,
                          const char *source)
{
    const struct handshake *handshake;
    size_t count = 0;

    LIST_FOREACH (handshake, &table->half_open, of_half_open)
        count += handshake->service->memory == service && strcmp(handshake->source, source) == 0;
    return count;
}

/* ---- the end ---- */

void
handshake_end(struct handshake *handshake, ath_err err)
{
    if (handshake->ended_at != 0)
        return;
    handshake->ended_at = clock_now();
    handshake->ended_err = err;
    set_half_open(handshake, false);
    if (handshake->table == NULL)
        return;
    handshake->table->running--;
    TAILQ_REMOVE(&handshake->table->alive, handshake, of_life);
    TAILQ_INSERT_TAIL(&handshake->table->ended, handshake, of_life);
    wall_timer_set(handshake->table->timer, deadline_of(handshake));
}

void
handshake_abort(struct handshake *handshake, ath_err err)
{
    if (handshake->ended_at == 0 && handshake->table != NULL)
        handshake_record_denied(handshake->table->tenant, handshake, NULL, err, NULL);
    handshake_end(handshake, err);
    if (handshake->request != NULL) { /* its completion finds the machine as it left it */
        request_cancel(handshake->request, err);
        return;
    }
    drop_machine(handshake);
    ath_buf_done(&handshake->answer);
}

void
handshake_table_abort_service(struct handshake_table *table, const char *service_name)
{
    struct handshake *handshake, *next;

    for (handshake = TAILQ_FIRST(&table->alive); handshake != NULL; handshake = next) {
        next = TAILQ_NEXT(handshake, of_life);
        if (handshake->service != NULL &&
            strcmp(handshake->service->rules->name, service_name) == 0)
            handshake_abort(handshake, ATH_ERR_HANDSHAKE_NOT_FOUND);
    }
}

void
handshake_table_abort_of(struct handshake_table *table, uint64_t caller_identity)
{
    struct handshake *handshake, *next;

    for (handshake = TAILQ_FIRST(&table->alive); handshake != NULL; handshake = next) {
        next = TAILQ_NEXT(handshake, of_life);
        if (handshake->caller_identity == caller_identity)
            handshake_abort(handshake, ATH_ERR_HANDSHAKE_NOT_FOUND);
    }
}

size_t
handshake_table_count(const struct handshake_table *table)
{
    return table->running;
}

void
handshake_table_each(const struct handshake_table *table,
                     void (*each)(void *ctx, const struct handshake *handshake), void *ctx)
{
    const struct handshake *handshake;

    LIST_FOREACH (handshake, &table->all, of_table)
        each(ctx, handshake);
}
