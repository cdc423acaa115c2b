#include "athd/connection_private.h"

#include "athd/athd.h"
#include "athd/dispatch.h"
#include "base/clock.h"

#define TURN_US 5000u /* of one uid, where athd serves several: the same */

void
connection_leave_turn(struct connection *connection)
{
    if (connection->waits_for_turn)
        TAILQ_REMOVE(&connection->tenant->turn.waiting, connection, of_turn);
    connection->waits_for_turn = false;
}

/* Those that waited longest go first, until their uid's time is over. */
static void
on_tenants_turn(void *ctx)
{
    struct tenant *tenant = ctx;
    struct connection *connection;

    tenant->turn.used_us = 0;
    while (tenant->turn.used_us < TURN_US &&
           (connection = TAILQ_FIRST(&tenant->turn.waiting)) != NULL) {
        connection_leave_turn(connection);
        connection_handle_lines(connection);
    }
    if (!TAILQ_EMPTY(&tenant->turn.waiting) && !tenant->turn.next.waiting)
        deferred_add(&tenant->athd->deferred, &tenant->turn.next, on_tenants_turn, tenant);
}

static void
on_next_turn(void *ctx)
{
    connection_handle_lines(ctx);
}

bool
connection_has_turn(const struct connection *connection)
{
    return !connection->athd->config->is_system || connection->tenant->turn.used_us < TURN_US;
}

void
connection_wait_for_turn(struct connection *connection)
{
    struct tenant *tenant = connection->tenant;

    if (!connection->athd->config->is_system) {
        if (!connection->next_turn.waiting)
            deferred_add(&connection->athd->deferred, &connection->next_turn, on_next_turn,
                         connection);
        return;
    }
    if (!connection->waits_for_turn)
        TAILQ_INSERT_TAIL(&tenant->turn.waiting, connection, of_turn);
    connection->waits_for_turn = true;
    if (!tenant->turn.next.waiting)
        deferred_add(&tenant->athd->deferred, &tenant->turn.next, on_tenants_turn, tenant);
}

size_t
connection_take_line(struct connection *connection, struct ath_slice line)
{
    bool is_timed = connection->athd->config->is_system;
    struct tenant *tenant = connection->tenant;
    uint64_t begun_us = is_timed ? clock_monotonic_us() : 0;
    size_t calls = dispatch_line(connection, line);

    if (!is_timed)
        return calls;
    tenant->turn.used_us += clock_monotonic_us() - begun_us + 1;
    if (!tenant->turn.next.waiting) /* which begins anew */
        deferred_add(&tenant->athd->deferred, &tenant->turn.next, on_tenants_turn, tenant);
    return calls;
}
