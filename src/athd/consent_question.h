/* The questions that wait, as consent's own files share them. */
#ifndef ATHD_CONSENT_QUESTION_H
#define ATHD_CONSENT_QUESTION_H

#include <sys/queue.h>

#include <uv.h>

#include "athd/athd.h"
#include "athd/consent.h"
#include "athd/consent_backoff.h"
#include "athd/consent_environment.h"
#include "athd/consent_hold.h"
#include "athd/consent_window.h"
#include "athd/prompter.h"
#include "athd/tenant.h"

#define CONSENT_QUESTIONS_MAX 64u        /* of one tenant */
#define CONSENT_QUESTIONS_CALLER_MAX 56u /* so that there is room for somebody else's */
#define CONSENT_WAITERS_MAX 64u          /* requests that wait for one answer */

/* One request that waits for the answer. */
struct consent_waiter {
    TAILQ_ENTRY(consent_waiter) entry;
    struct consent_question *question;
    struct request *request;
    uint64_t asked_at_ms, ends_at_ms; /* clock_monotonic_ms */
    bool is_over;                     /* its answer is known */
    ath_err answer;
    struct deferred deferred; /* tells it */
    void (*cancel_before)(struct request *request, ath_err err);
    void *stage_before;
    consent_done_fn *done;
    void *ctx;
};

struct consent_question {
    TAILQ_ENTRY(consent_question) entry;
    struct consent *consent;
    struct tenant *tenant; /* whose keys are asked for; borrowed: lives as long as athd */
    char id[CONSENT_ID_SIZE];
    uint8_t digest[SHA256_LEN]; /* what equal questions have in common */
    struct consent_asker asker;
    struct consent_about about;
    bool can_narrow, can_remember, only_prompter;
    char *text, *ok_label; /* owned */
    struct consent_holds holds;
    struct caller *caller; /* counted: who asked first */
    TAILQ_HEAD(, consent_waiter) waiters;
    unsigned waiting; /* whose answer is not known */
    unsigned asked;   /* how many requests there ever were */
    int64_t asked_at; /* clock_now */
    uint64_t asked_at_ms, ends_at_ms;
    uint64_t not_before_ms; /* there was a refusal: it is not shown before; 0: no such time */
    uint64_t shown_at_ms;   /* clock_boot_ms; 0: nobody has seen it */
    uv_timer_t timer;
    unsigned round;            /* how many of its caller's were waiting when it came */
    struct prompter *prompter; /* NULL: waits for the screen, is shown by others, or is over */
    bool is_listed, is_told;   /* in the list; published as asked */

    /* when it is over */
    bool is_over;
    struct caller *answerer;      /* counted; NULL: the prompter, or nobody */
    char window[CONSENT_ID_SIZE]; /* which allowed it, or was opened by it; "": none */
    bool is_by_window;
    bool is_narrowed;
    struct scope_list approved; /* is_narrowed; owned */
    int64_t retry_after_s;      /* RATE_LIMITED */
};

TAILQ_HEAD(consent_question_list, consent_question);
TAILQ_HEAD(consent_turn_list, consent_turn);

struct pin_dialogue;

struct consent {
    struct athd *athd;
    struct consent_question_list questions; /* not answered yet, in the order they are shown */
    size_t count;
    struct consent_turn_list turns;  /* waiting, and on the screen */
    TAILQ_HEAD(, pin_dialogue) pins; /* questions for a PIN that are not over; pin_offer.h's */
    bool turn_was_last;              /* a PIN had the screen, now it is a question's turn */
    unsigned on_screen;              /* prompters that have not gone */
    unsigned handles;                /* timers that are not closed */
    bool is_showing;                 /* in consent_show */
    bool is_closing;
    LIST_HEAD(, connection) attending;
    struct deferred look; /* waits: those who attend have changed */
    struct consent_windows windows;
    struct consent_backoffs backoffs;
    struct consent_environment environment;
};

/* ---- consent.c ---- */

/* The loop's own clock: timers go by it. */
uint64_t consent_loop_ms(void);
/* May programs of the user's see it? One that has to wait after a refusal is not there yet. */
bool consent_question_is_shown(const struct consent_question *question);
/* An open one of the tenant's that they may see; NULL: there is none (any more). */
struct consent_question *consent_question_find(struct consent *consent, uid_t tenant,
                                               const char *id);
/* consent_show at the loop's next turn. */
void consent_look_later(struct consent *consent);
/* ---- consent_end.c ---- */

/* The answer to all who wait; it is told at the loop's next turn. Nothing happens where it is over.
 * A refusal and a yes are counted for the back-off. */
void consent_question_end(struct consent_question *question, ath_err answer);
/* One of those who wait does not wait any more; a request's cancel. */
void consent_waiter_cancel(struct request *request, ath_err err);
/* It is not shown before. */
void consent_question_wait(struct consent_question *question, uint64_t wait_ms);
/* After those who wait have changed: the next that somebody's time is over. */
void consent_question_set_timer(struct consent_question *question);
/* Until the last one's time is over; at least 1. */
int64_t consent_question_seconds_left(const struct consent_question *question);

/* The time of day at which the last of them gives up, as seen when it was asked: the same each
 * time. */
int64_t consent_question_expires_at(const struct consent_question *question);
/* Gives the request the sentence, and retry_after, for an answer that is none of the user's. */
void consent_say_limit(struct request *request, const struct consent_question *question,
                       ath_err answer);
/* One that nobody waits for, and that is in no list. drop: whose timer has been initialised. */
void consent_question_drop(struct consent_question *question);
void consent_question_free(struct consent_question *question);

/* ---- consent_screen.c ---- */

/* Brings every question on its way: to those who attend, to the screen as far as there is room, or
 * to its end. */
void consent_show(struct consent *consent);

/* ---- consent_attend.c ---- */

/* Does a program of the tenant's attend that is not the one that asks? */
bool consent_is_attended(const struct consent_question *question);
/* Are they one process? A number alone may be another's by now; with the time of its beginning it
 * is not. */
bool consent_is_same_process(const struct caller *a, const struct caller *b);
/* Is it one of the processes that ask, or one that these have started? Reads /proc. */
bool consent_is_asker(const struct consent_question *question, const struct caller *caller);

/* ---- consent_record.c ---- */

void consent_publish(const struct consent_question *question, const char *state, ath_err answer);
void consent_record_asked(const struct consent_waiter *waiter);
/* That nothing was signed, and why, is on record, too. */
void consent_record_end(const struct consent_waiter *waiter);
/* A request that became no question. */
void consent_record_refused(struct request *request, const char *key, ath_err err);

#endif
