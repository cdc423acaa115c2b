/* Programs of the user's that show questions (consent.attend), and who may not answer which. */
#include "athd/connection.h"
#include "athd/consent_question.h"
#include "athd/events.h"

void
consent_attend(struct consent *consent, struct connection *connection, bool pins)
{
    if (connection->attends && connection->attends_pins == pins)
        return;
    connection->attends_pins = pins;
    consent_look_later(consent);
    if (connection->attends)
        return;
    connection->attends = true;
    connection->topics |= 1u << EVENT_CONSENT;
    connection->athd->topics_wanted |= 1u << EVENT_CONSENT;
    LIST_INSERT_HEAD(&consent->attending, connection, attending);
}

void
consent_leave(struct connection *connection)
{
    struct consent *consent = connection->athd->consent;

    if (!connection->attends)
        return;
    connection->attends = connection->attends_pins = false;
    LIST_REMOVE(connection, attending);
    consent_look_later(consent); /* from wherever this was found out */
}

bool
consent_is_same_process(const struct caller *a, const struct caller *b)
{
    if (a->pid == 0 || a->pid != b->pid)
        return false;
    return a->start_ticks == 0 || b->start_ticks == 0 || a->start_ticks == b->start_ticks;
}

static bool
asks(const struct consent_question *question, const struct caller *caller)
{
    const struct consent_waiter *waiter;

    TAILQ_FOREACH (waiter, &question->waiters, entry)
        if (consent_is_same_process(waiter->request->caller, caller))
            return true;
    return consent_is_same_process(question->caller, caller);
}

bool
consent_is_attended(const struct consent_question *question)
{
    const struct connection *connection;

    if (question->only_prompter)
        return false;
    LIST_FOREACH (connection, &question->consent->attending, attending)
        if (connection->tenant == question->tenant && !connection->is_closing &&
            !asks(question, connection->caller))
            return true;
    return false;
}

bool
consent_is_asker(const struct consent_question *question, const struct caller *caller)
{
    const struct consent_waiter *waiter;

    if (asks(question, caller) || caller_descends(caller, question->caller))
        return true;
    TAILQ_FOREACH (waiter, &question->waiters, entry)
        if (caller_descends(caller, waiter->request->caller))
            return true;
    return false;
}
