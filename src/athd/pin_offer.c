#include "athd/pin_offer.h"

#include <fcntl.h>
#include <string.h>

#include "athd/connection.h"
#include "athd/pin_dialogue_private.h"
#include "base/fd.h"

/* ---- who attends ---- */

bool
pin_offer_is_attended(const struct consent *consent, const struct tenant *tenant,
                      const struct caller *caller)
{
    const struct connection *connection;

    LIST_FOREACH (connection, &consent->attending, attending)
        if (connection->attends_pins && connection->tenant == tenant && !connection->is_closing &&
            (caller == NULL || !consent_is_same_process(caller, connection->caller)))
            return true;
    return false;
}

static void
offer(struct pin_dialogue *dialogue)
{
    consent_turn_end(dialogue->athd->consent, &dialogue->turn);
    dialogue->is_offered = true;
    pin_record_asked(dialogue, "program");
    pin_record_publish(dialogue, "asked", ATH_OK);
}

void
pin_offer_place(struct pin_dialogue *dialogue)
{
    struct consent *consent = dialogue->athd->consent;
    bool is_attended = pin_offer_is_attended(consent, dialogue->tenant, dialogue->caller);

    if (dialogue->is_shown || dialogue->is_over)
        return;
    if (consent->is_closing) {
        pin_dialogue_fail(dialogue, ATH_ERR_HSM_UNAVAILABLE);
    } else if (is_attended && !dialogue->is_offered) {
        offer(dialogue);
    } else if (!is_attended && !consent_has_prompter(consent)) {
        pin_dialogue_fail(dialogue, ATH_ERR_NO_PROMPTER);
    } else if (!is_attended && (dialogue->is_offered || !dialogue->turn.is_waiting)) {
        pin_offer_withdraw(dialogue, ATH_ERR_NO_PROMPTER);
        consent_turn_wait(consent, &dialogue->turn);
    }
}

void
pin_offers_look(struct consent *consent)
{
    struct pin_dialogue *dialogue, *next;

    for (dialogue = TAILQ_FIRST(&consent->pins); dialogue != NULL; dialogue = next) {
        next = TAILQ_NEXT(dialogue, entry);
        pin_offer_place(dialogue);
    }
}

void
pin_offers_close(struct consent *consent)
{
    struct pin_dialogue *dialogue, *next;

    for (dialogue = TAILQ_FIRST(&consent->pins); dialogue != NULL; dialogue = next) {
        next = TAILQ_NEXT(dialogue, entry);
        pin_dialogue_fail(dialogue, ATH_ERR_HSM_UNAVAILABLE);
    }
}

void
pin_offer_withdraw(struct pin_dialogue *dialogue, ath_err how)
{
    if (dialogue->is_offered)
        pin_record_publish(dialogue, how == ATH_ERR_USER_DENIED ? "refused" : "gone", how);
    dialogue->is_offered = false;
}

/* ---- what they see ---- */

static bool
is_meant(const struct pin_dialogue *dialogue, uid_t tenant, const char *id)
{
    return dialogue->is_offered && dialogue->tenant != NULL && dialogue->tenant->uid == tenant &&
           (id == NULL || strcmp(dialogue->id, id) == 0);
}

struct pin_dialogue *
pin_offer_find(struct consent *consent, uid_t tenant, const char *id)
{
    struct pin_dialogue *dialogue;

    TAILQ_FOREACH (dialogue, &consent->pins, entry)
        if (is_meant(dialogue, tenant, id))
            return dialogue;
    return NULL;
}

static void
put(const struct pin_dialogue *dialogue, struct json_maker *list)
{
    struct json_maker object;

    json_object_begin(&object);
    json_put_string(&object, "id", dialogue->id);
    json_put_string(&object, "method", dialogue->method);
    json_put_string(&object, "hsm", dialogue->hsm);
    json_put_string(&object, "key", dialogue->key);
    json_put_bool(&object, "new", dialogue->is_new);
    if (dialogue->tries_left > 0)
        json_put_int(&object, "tries_left", dialogue->tries_left);
    json_put_string(&object, "text", dialogue->text);
    if (dialogue->caller != NULL)
        caller_put(dialogue->caller, &object, "caller");
    json_put_bool(&object, "taken", dialogue->is_shown);
    json_put_int(&object, "asked_at", dialogue->asked_at);
    json_put_int(&object, "expires_at",
                 dialogue->asked_at + dialogue->athd->config->consent_timeout_s);
    json_put_maker(list, NULL, &object);
}

bool
pin_offers_put(struct consent *consent, uid_t tenant, const char *id, struct json_maker *result)
{
    const struct pin_dialogue *dialogue;
    struct json_maker list;
    bool is_found = false;

    json_array_begin(&list);
    TAILQ_FOREACH (dialogue, &consent->pins, entry) {
        if (!is_meant(dialogue, tenant, id))
            continue;
        is_found = true;
        put(dialogue, &list);
    }
    json_put_maker(result, "pins", &list);
    return id == NULL || is_found;
}

/* ---- what they do ---- */

ath_err
pin_offer_check(const struct pin_dialogue *dialogue, const struct caller *caller,
                const char **ret_missing, struct why *why)
{
    const struct caller *asker = dialogue->caller;

    if (dialogue->is_shown)
        return why_set(why, ATH_ERR_CONSENT_NOT_FOUND,
                       "another program asks for this PIN already, by a pinentry of its own");
    if (!caller_is_still(caller)) {
        *ret_missing = "process";
        return why_set(why, ATH_ERR_POLICY_DENIED,
                       "the kernel does not prove which process answers");
    }
    if (asker != NULL &&
        (consent_is_same_process(asker, caller) || caller_descends(caller, asker))) {
        *ret_missing = "asker";
        return why_set(why, ATH_ERR_POLICY_DENIED,
                       "a PIN is not entered by the process that asked for it, nor by one it "
                       "started");
    }
    return ATH_OK;
}

/* The helper's threads are for all: nobody has more of them than is left for the others. */
static ath_err
check_room(const struct pin_dialogue *dialogue, struct why *why)
{
    const struct pin_dialogue *other;
    unsigned own = 0, all = 0;

    TAILQ_FOREACH (other, &dialogue->athd->consent->pins, entry) {
        if (!other->is_shown || strcmp(other->hsm, dialogue->hsm) != 0)
            continue;
        all++;
        own += other->tenant == dialogue->tenant;
    }
    if (all < PIN_OFFERS_TAKEN_MAX &&
        (!dialogue->athd->config->is_system || own < PIN_OFFERS_TAKEN_MAX - all))
        return ATH_OK;
    return why_set(why, ATH_ERR_LIMIT_EXCEEDED,
                   "%u PINs for %s are being entered; answer one of these first", all,
                   dialogue->hsm);
}

ath_err
pin_offer_take(struct pin_dialogue *dialogue, const struct request *request,
               const struct pin_shown *taken, struct why *why)
{
    struct pin_shown shown = *taken;
    ath_err err;

    if ((err = check_room(dialogue, why)) == ATH_OK &&
        (dialogue->taken_fd = fcntl(shown.fd, F_DUPFD_CLOEXEC, 0)) < 0)
        err = ATH_ERR_NOMEM;
    if (err == ATH_OK) {
        dialogue->athd->counters.prompts++;
        dialogue->is_shown = true;
        shown.timeout_s = pin_dialogue_seconds_left(dialogue);
        pin_record_taken(dialogue, request);
        pin_record_publish(dialogue, "taken", ATH_OK);
        dialogue->events.on_shown(dialogue->events.ctx, &shown);
        if (dialogue->is_over)
            err = ATH_ERR_NO_PROMPTER;
    }
    fd_close(&shown.fd);
    return err;
}

void
pin_offer_refuse(struct pin_dialogue *dialogue)
{
    pin_dialogue_fail(dialogue, ATH_ERR_USER_DENIED);
}
