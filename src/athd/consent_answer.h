/* What a program of the user's answers (consent.answer), and what it is shown (consent.list). */
#ifndef ATHD_CONSENT_ANSWER_H
#define ATHD_CONSENT_ANSWER_H

#include "athd/consent_question.h"

struct consent_answer {
    bool approve, freeze;
    bool is_narrowed;
    struct scope_list scopes; /* is_narrowed; owned */
    unsigned uses, seconds;   /* of what is remembered; 0: nothing is */
};

/* From the params of consent.answer; what does not go with this question, or not together, is
 * ATH_ERR_INVALID_PARAMS with why. ATH_ERR_NOMEM. */
ath_err consent_answer_read(const struct json *params, const struct consent_question *question,
                            struct why *why, struct consent_answer *ret_answer) ATH_MUST_USE;
void consent_answer_done(struct consent_answer *answer);

/* Gives it, in the name of the request's caller; on failure the question goes on waiting.
 * ATH_ERR_LIMIT_EXCEEDED with why (too much is remembered), ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err consent_answer_give(struct consent_question *question, struct request *request,
                            const struct consent_answer *answer, struct why *why) ATH_MUST_USE;

/* The members questions, pins, allowed, refused of consent.list. id NULL: all. False: the tenant has no
 * such question. */
bool consent_list_put(struct consent *consent, uid_t tenant, const char *id,
                      struct json_maker *result);

#endif
