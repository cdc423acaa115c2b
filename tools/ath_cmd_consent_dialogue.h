/*
 * The dialogue of `ath consent` with a person at a terminal, without the terminal: what athd says,
 * keys and the time go in; text to be shown and calls to be made come out.
 *
 * An answer belongs to the question that stands on the screen, by its id, and to nothing else. It
 * is a key pressed alone, after the question was shown whole, at least CONSENT_SETTLE_MS after it
 * was shown and after any key before: what was typed ahead, pasted or held down says nothing. Shown
 * is what the terminal has, and a key counts from when the terminal was last seen without one: who
 * asks may make this machine slow, and us with it. A question that comes meanwhile waits its turn;
 * one that goes takes its half-made answer with it.
 */
#ifndef TOOLS_ATH_CMD_CONSENT_DIALOGUE_H
#define TOOLS_ATH_CMD_CONSENT_DIALOGUE_H

#include <stdbool.h>

#include "base/json.h"

#define CONSENT_SETTLE_MS 700u

struct consent_dialogue;

/* When it is, and how large the terminal is (0: not known). */
struct consent_moment {
    uint64_t ms;       /* of clock_monotonic_ms */
    uint64_t empty_ms; /* of keys: when it was seen last that nothing was typed; they came later */
    int64_t now;       /* of clock_now */
    size_t columns, rows;
};

/* NULL: out of memory. */
struct consent_dialogue *consent_dialogue_new(void);
void consent_dialogue_free(struct consent_dialogue *dialogue); /* NULL is fine */

/* A new answer of consent.list; takes it. */
void consent_dialogue_list(struct consent_dialogue *dialogue, struct json *taken_list,
                           const struct consent_moment *moment);
/* An event of the topic consent: why a question will be missing in the next list. */
void consent_dialogue_event(struct consent_dialogue *dialogue, const struct json *event);
/* What one read gave: keys, or in entry mode a line. len 0: no line was given after all. */
void consent_dialogue_keys(struct consent_dialogue *dialogue, const char *bytes, size_t len,
                           const struct consent_moment *moment);
/* Says that time runs out, where it does; in so many milliseconds it is to be called (-1: at no
 * time). */
void consent_dialogue_tick(struct consent_dialogue *dialogue, const struct consent_moment *moment);
int consent_dialogue_tick_ms(const struct consent_dialogue *dialogue,
                             const struct consent_moment *moment);
/* The screen was not ours for a while: shows what is asked anew. */
void consent_dialogue_redraw(struct consent_dialogue *dialogue,
                             const struct consent_moment *moment);

/* What is to be shown; the caller clears it. Harmless for a terminal. */
struct ath_buf *consent_dialogue_out(struct consent_dialogue *dialogue);
/* Whether something new stands there that asks for attention. Once. */
bool consent_dialogue_takes_bell(struct consent_dialogue *dialogue);
/* Whether what was typed until now must be thrown away, after `out` was shown. Once. */
bool consent_dialogue_takes_flush(struct consent_dialogue *dialogue);
/* All of `out` is on the terminal, and what was to be thrown away is: what was shown so far is from
 * now on answered by keys that come CONSENT_SETTLE_MS later. Without it none is an answer. */
void consent_dialogue_shown(struct consent_dialogue *dialogue, const struct consent_moment *moment);
/* In so many milliseconds it is to be seen whether something was typed: a key after that may be an
 * answer (-1: at no time). */
int consent_dialogue_look_ms(const struct consent_dialogue *dialogue,
                             const struct consent_moment *moment);
/* A line is wanted instead of keys: the terminal edits and shows it. */
bool consent_dialogue_wants_line(const struct consent_dialogue *dialogue);
/* A call to be made; NULL: none. params are the caller's. The call's end is told before keys are.
 */
const char *consent_dialogue_take_call(struct consent_dialogue *dialogue, struct json **ret_params);
/* err, and athd's words where it is an error. What it was for is over; a new list follows. */
void consent_dialogue_called(struct consent_dialogue *dialogue, ath_err err, const char *message,
                             const struct consent_moment *moment);
/* The person wants to leave. */
bool consent_dialogue_is_over(const struct consent_dialogue *dialogue);

#endif
