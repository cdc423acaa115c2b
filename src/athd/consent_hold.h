/* What a plain yes is remembered as, beyond what is asked: said in the question, so that nobody
 * says yes to more than they read. What the user allows for a while is another matter
 * (consent_window.h). */
#ifndef ATHD_CONSENT_HOLD_H
#define ATHD_CONSENT_HOLD_H

#include "athd/consent.h"

#define CONSENT_HOLDS_MAX 3u

struct consent_holds {
    struct consent_hold {
        const char *rule;  /* which wants one yes; lives as long as athd; NULL: the key does */
        int64_t seconds;   /* INT64_MAX: until athd ends */
        bool any_program;  /* else only the one that asks, where it runs now */
        bool any_audience; /* else only those that are asked about */
    } holds[CONSENT_HOLDS_MAX];
    size_t count;
    bool is_in_grant; /* whoever asks comes through one: nothing of it holds elsewhere */
};

void consent_holds_of(const struct request *request, const struct consent_order *order,
                      struct consent_holds *ret_holds);
/* Lines of the question. */
void consent_holds_text(const struct consent_holds *holds, const char *method,
                        struct consent_text *text);
/* An array; nothing where there is none. */
void consent_holds_put(const struct consent_holds *holds, struct json_maker *object,
                       const char *name);

#endif
