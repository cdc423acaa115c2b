/* consent.list: what waits, what is allowed for a while, who was refused. */
#include <string.h>

#include "athd/consent_answer.h"
#include "athd/pin_offer.h"

#define TEXTS_MAX (1024u * 1024u) /* bytes of texts in one answer */

static void
put_question(const struct consent_question *question, bool has_text, struct json_maker *list)
{
    struct json_maker object;

    json_object_begin(&object);
    json_put_string(&object, "id", question->id);
    consent_about_put(&question->about, &object);
    json_put_bool(&object, "can_narrow", question->can_narrow);
    json_put_bool(&object, "can_remember", question->can_remember);
    consent_holds_put(&question->holds, &object, "yes_holds");
    if (has_text)
        json_put_string(&object, "text", question->text);
    caller_put(question->caller, &object, "caller");
    json_put_int(&object, "count", question->asked);
    json_put_int(&object, "asked_at", question->asked_at);
    json_put_int(&object, "expires_at", consent_question_expires_at(question));
    json_put_maker(list, NULL, &object);
}

static bool
is_meant(const struct consent_question *question, uid_t tenant, const char *id)
{
    return question->asker.tenant == tenant && consent_question_is_shown(question) &&
           (id == NULL || strcmp(question->id, id) == 0);
}

bool
consent_list_put(struct consent *consent, uid_t tenant, const char *id, struct json_maker *result)
{
    const struct consent_question *question;
    size_t found = 0, bytes = 0;
    bool is_pin;
    struct json_maker list;

    json_array_begin(&list);
    TAILQ_FOREACH (question, &consent->questions, entry) {
        if (!is_meant(question, tenant, id))
            continue;
        found++;
        bytes += strlen(question->text);
        put_question(question, bytes <= TEXTS_MAX, &list);
    }
    json_put_maker(result, "questions", &list);
    is_pin = pin_offers_put(consent, tenant, id, result);
    consent_windows_put(&consent->windows, tenant, result, "allowed");
    consent_backoffs_put(&consent->backoffs, tenant, result, "refused");
    return found > 0 || is_pin;
}
