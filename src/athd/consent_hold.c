#include "athd/consent_hold.h"

#include <string.h>

/* Two rules' yes may be the same one: a handshake's start and its first signature. */
static void
add(struct consent_holds *holds, const struct consent_hold *hold)
{
    for (size_t i = 0; i < holds->count; i++) {
        const struct consent_hold *other = &holds->holds[i];

        if (other->rule == hold->rule && other->seconds == hold->seconds &&
            other->any_program == hold->any_program && other->any_audience == hold->any_audience)
            return;
    }
    if (holds->count < CONSENT_HOLDS_MAX)
        holds->holds[holds->count++] = *hold;
}

static void
add_memo(struct consent_holds *holds, const struct policy_memo *memo)
{
    if (memo != NULL && memo->for_s > 0)
        add(holds, &(struct consent_hold){.rule = memo->rule,
                                          .seconds = memo->for_s,
                                          .any_program = !memo->is_of_program,
                                          .any_audience = !memo->is_of_audience});
}

void
consent_holds_of(const struct request *request, const struct consent_order *order,
                 struct consent_holds *ret_holds)
{
    *ret_holds = (struct consent_holds){.is_in_grant = request->caller->through != NULL};
    add_memo(ret_holds, order->memo);
    add_memo(ret_holds, order->also_memo);
    if (order->key_asks_once)
        add(ret_holds, &(struct consent_hold){
                           .seconds = INT64_MAX, .any_program = true, .any_audience = true});
}

/* ---- words ---- */

static void
put_for_whom(const struct consent_hold *hold, bool is_in_grant, struct ath_buf *text)
{
    if (!hold->any_program)
        ath_buf_printf(text, "  of: this program, where it runs now%s\n",
                       is_in_grant ? ", in its grant" : "");
    else
        ath_buf_printf(text, "  of: every program %s\n",
                       is_in_grant ? "in this grant" : "of this user");
}

static void
put_for_what(const struct consent_hold *hold, const char *method, struct ath_buf *text)
{
    if (hold->rule == NULL)
        ath_buf_put_string(text, "  for: all that this key signs\n");
    else
        ath_buf_printf(text, "  for: %s with the same key, %s, whatever the scopes%s\n", method,
                       hold->any_audience ? "whatever the audience" : "for the same audience",
                       ", as far as the rule allows");
}

void
consent_holds_text(const struct consent_holds *holds, const char *method, struct consent_text *text)
{
    for (size_t i = 0; i < holds->count; i++) {
        const struct consent_hold *hold = &holds->holds[i];

        if (hold->seconds == INT64_MAX)
            ath_buf_put_string(&text->text, "A yes holds: until athd ends or is locked\n");
        else
            consent_text_duration(text, "A yes holds for", hold->seconds);
        put_for_whom(hold, holds->is_in_grant, &text->text);
        put_for_what(hold, method, &text->text);
    }
}

/* ---- for programs ---- */

void
consent_holds_put(const struct consent_holds *holds, struct json_maker *object, const char *name)
{
    struct json_maker list, entry;

    if (holds->count == 0)
        return;
    json_array_begin(&list);
    for (size_t i = 0; i < holds->count; i++) {
        const struct consent_hold *hold = &holds->holds[i];

        json_object_begin(&entry);
        json_put_string(&entry, "of", hold->rule != NULL ? "rule" : "key");
        json_put_string(&entry, "rule", hold->rule);
        if (hold->seconds != INT64_MAX)
            json_put_int(&entry, "seconds", hold->seconds);
        json_put_bool(&entry, "any_program", hold->any_program);
        json_put_bool(&entry, "any_audience", hold->any_audience);
        json_put_maker(&list, NULL, &entry);
    }
    json_put_maker(object, name, &list);
}
