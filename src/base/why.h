/* Why something was refused, in one sentence a person can act on, beside the ath_err that programs
 * switch on. Decoders and state machines fill it; NULL is accepted everywhere. */
#ifndef BASE_WHY_H
#define BASE_WHY_H

#include "ath/err.h"

struct why {
    char text[256]; /* "" : nothing more exact than the error's own sentence is known */
};

/* Sets the sentence and returns err, so that a refusal is one line: return why_set(why, err, ...).
 * Control characters in what strangers sent are replaced by '?'. */
ath_err why_set(struct why *why, ath_err err, const char *fmt, ...) ATH_PRINTF(3, 4);

/* The sentence, or the error's own where there is none. */
const char *why_text(const struct why *why, ath_err err);

#endif
