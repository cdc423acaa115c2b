#include "athd/consent_answer.h"

#include <string.h>

#include "athd/audit_record.h"

/* ---- reading ---- */

static ath_err
read_number(const struct json *member, int64_t max, struct why *why, unsigned *ret_number)
{
    int64_t number;

    if (!json_int(member, &number) || number < 1 || number > max)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "\"remember\": \"%s\" is 1 to %lld",
                       json_name(member), (long long)max);
    *ret_number = (unsigned)number;
    return ATH_OK;
}

/* What is not said is its maximum. */
static ath_err
read_remember(const struct json *remember, struct why *why, struct consent_answer *answer)
{
    ath_err err = ATH_OK;

    if (json_count(remember) == 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "\"remember\" needs \"uses\", \"seconds\" or both");
    answer->uses = CONSENT_WINDOW_USES_MAX;
    answer->seconds = CONSENT_WINDOW_SECONDS_MAX;
    for (const struct json *member = json_first(remember); member != NULL && err == ATH_OK;
         member = json_next(member)) {
        if (strcmp(json_name(member), "uses") == 0)
            err = read_number(member, CONSENT_WINDOW_USES_MAX, why, &answer->uses);
        else if (strcmp(json_name(member), "seconds") == 0)
            err = read_number(member, CONSENT_WINDOW_SECONDS_MAX, why, &answer->seconds);
        else
            err = why_set(why, ATH_ERR_INVALID_PARAMS, "\"remember\" has no member \"%.40s\"",
                          json_name(member));
    }
    return err;
}

static ath_err
read_scopes(const struct json *list, const struct consent_question *question, struct why *why,
            struct consent_answer *answer)
{
    if (!question->can_narrow)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "no \"scopes\" can be taken away here: say yes or no to all of it");
    if (scope_list_decode(list, 1, why, &answer->scopes) != ATH_OK)
        return ATH_ERR_INVALID_PARAMS;
    if (!scope_list_is_subset(&answer->scopes, &question->about.scopes))
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "\"scopes\" has one that was not asked for; it can only have fewer");
    answer->is_narrowed = answer->scopes.count < question->about.scopes.count;
    return ATH_OK;
}

static ath_err
check_members(const struct json *params, const struct consent_question *question, struct why *why,
              const struct consent_answer *answer)
{
    bool has_more = json_get(params, "scopes") != NULL || json_get(params, "remember") != NULL;

    if (!answer->approve && has_more)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "\"scopes\" and \"remember\" go with a yes");
    if (answer->approve && answer->freeze)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "\"freeze\" goes with a no");
    if (answer->freeze && question->about.key == NULL)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "this question is about no key to freeze");
    if (json_get(params, "remember") != NULL && !question->can_remember)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "a yes to this cannot be remembered: only to what is signed, for a program "
                       "that the kernel proves");
    return ATH_OK;
}

ath_err
consent_answer_read(const struct json *params, const struct consent_question *question,
                    struct why *why, struct consent_answer *ret_answer)
{
    const struct json *scopes = json_get(params, "scopes");
    const struct json *remember = json_get(params, "remember");
    struct consent_answer answer = {.approve = json_is_true(json_get(params, "approve")),
                                    .freeze = json_is_true(json_get(params, "freeze"))};
    ath_err err = check_members(params, question, why, &answer);

    if (err == ATH_OK && scopes != NULL)
        err = read_scopes(scopes, question, why, &answer);
    if (err == ATH_OK && remember != NULL)
        err = read_remember(remember, why, &answer);
    if (err != ATH_OK) {
        consent_answer_done(&answer);
        return err;
    }
    *ret_answer = answer;
    return ATH_OK;
}

void
consent_answer_done(struct consent_answer *answer)
{
    scope_list_done(&answer->scopes);
}

/* ---- giving ---- */

static void
record_window(struct request *request, const struct consent_question *question,
              const struct consent_window *window, unsigned seconds)
{
    struct json_maker record;

    audit_record_begin(&record, "consent_allowed", request);
    json_put_string(&record, "window", window->id);
    json_put_string(&record, "question", question->id);
    consent_about_put(&window->about, &record);
    consent_asker_put(&window->asker, &record, "asker");
    json_put_int(&record, "uses", window->uses_left);
    json_put_int(&record, "seconds", seconds);
    audit_record_note(request->athd, &record);
}

static ath_err
open_window(struct consent_question *question, struct request *request,
            const struct consent_answer *answer, struct why *why)
{
    struct consent *consent = question->consent;
    const struct consent_window *window = NULL;
    struct consent_about about = {.method = ""};
    ath_err err;

    if ((err = consent_about_clone(&question->about, answer->is_narrowed ? &answer->scopes : NULL,
                                   &about)) != ATH_OK)
        return err;
    about.method = question->about.method;
    err = consent_windows_add(&consent->windows, &question->asker, &about, answer->uses,
                              answer->seconds, &window);
    if (err == ATH_ERR_LIMIT_EXCEEDED)
        return why_set(why, err, "%u things are allowed for a while already; forget one",
                       CONSENT_WINDOWS_MAX);
    if (err != ATH_OK)
        return err;
    memcpy(question->window, window->id, sizeof(question->window));
    record_window(request, question, window, answer->seconds);
    return ATH_OK;
}

ath_err
consent_answer_give(struct consent_question *question, struct request *request,
                    const struct consent_answer *answer, struct why *why)
{
    ath_err err;

    if (answer->is_narrowed &&
        (err = scope_list_copy(&answer->scopes, &question->approved)) != ATH_OK)
        return err;
    if (answer->uses > 0 && (err = open_window(question, request, answer, why)) != ATH_OK) {
        scope_list_done(&question->approved);
        question->approved = (struct scope_list){0};
        return err;
    }
    question->is_narrowed = answer->is_narrowed;
    question->answerer = caller_ref(request->caller);
    consent_question_end(question, answer->approve ? ATH_OK : ATH_ERR_USER_DENIED);
    return ATH_OK;
}
