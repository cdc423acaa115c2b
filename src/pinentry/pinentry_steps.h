/* What a conversation with a prompter consists of: the commands we say, in order, and where it
 * stands. Private to pinentry.c and pinentry_steps.c. */
#ifndef PINENTRY_PINENTRY_STEPS_H
#define PINENTRY_PINENTRY_STEPS_H

#include "pinentry/pinentry.h"

#define PINENTRY_STEPS_MAX (17u + 2u * PINENTRY_PAGES_MAX)

enum step_kind {
    STEP_OPTIONAL, /* prompters may not know it */
    STEP_REQUIRED, /* without it the person would be asked something else */
    STEP_CONFIRM,
    STEP_GETPIN,
    STEP_GETPIN_AGAIN,
};

struct step {
    char *line; /* the command with its line end, owned */
    enum step_kind kind;
    size_t then; /* the step that follows its answer */
};

/* Of a new PIN: where the conversation goes when it is not accepted. */
struct new_pin {
    struct ath_secret first; /* to be entered again; empty: not entered yet, or not asked for */
    size_t first_len;
    size_t again_at, different_at, length_at; /* steps */
    size_t min, max;                          /* bytes; max 0: no new PIN */
    unsigned refused;                         /* how often */
    bool is_repeated;                         /* the prompter has seen to it itself */
};

struct pinentry {
    struct step steps[PINENTRY_STEPS_MAX];
    size_t count;
    size_t asked; /* the step that waits for its answer */
    size_t next;  /* the step to be sent */
    uint8_t *in;  /* the line that is coming in; points into locked_in for a PIN */
    size_t in_len;
    struct ath_secret locked_in;
    struct ath_secret
        pin; /* PINENTRY_PIN_MAX bytes, of which pin_len hold; none: yes is asked for */
    size_t pin_len;
    struct new_pin new_pin;
    size_t heard;
    bool is_unread; /* our last command has not been taken from the pipe yet */
    bool is_greeted;
    bool has_asked; /* a first command has been said */
    bool is_done;
    struct why complaint;
};

/* All that is to be said. ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_NOMEM. */
ath_err pinentry_steps_plan(struct pinentry *pinentry,
                            const struct pinentry_question *question) ATH_MUST_USE;
void pinentry_steps_free(struct pinentry *pinentry);

#endif
