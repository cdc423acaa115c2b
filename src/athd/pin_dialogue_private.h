/* A question for a PIN, as pin_dialogue.c (its life, athd's own prompter), pin_offer.c (programs
 * that attend) and pin_record.c share it. */
#ifndef ATHD_PIN_DIALOGUE_PRIVATE_H
#define ATHD_PIN_DIALOGUE_PRIVATE_H

#include <sys/queue.h>

#include "athd/consent_question.h"
#include "athd/pin_dialogue.h"

struct pin_dialogue {
    TAILQ_ENTRY(pin_dialogue) entry; /* of consent's, until it is over */
    struct athd *athd;
    struct pin_dialogue_events events;
    char id[CONSENT_ID_SIZE];
    struct tenant *tenant; /* borrowed: lives as long as athd; NULL: nobody's */
    struct caller *caller; /* counted; NULL: athd itself */
    const char *method;    /* static; NULL: none */
    const char *hsm;       /* borrowed: lives as long as athd */
    char *key;             /* owned; NULL: none */
    char *text;            /* owned */
    bool is_new;
    unsigned tries_left;

    bool is_offered; /* to programs that attend; else it waits for the screen, or is there */
    bool is_shown;   /* the helper has the connection to a prompter */
    int taken_fd;    /* a program's connection, kept only to be broken (shutdown(2)); -1: none */
    struct consent_turn turn;
    struct prompter *prompter; /* NULL: waits for the screen, is a program's, or has gone */
    uv_timer_t timer;
    bool is_timer_closed;
    bool is_over; /* no event comes any more, but for the failure that is deferred */
    bool is_ended;
    bool is_asked;    /* that is on record */
    int64_t asked_at; /* clock_now */
    uint64_t asked_at_ms;
    ath_err failed;
    struct deferred deferred;
};

/* ---- pin_dialogue.c ---- */

/* No prompter for it any more; the failure is told at the loop's next turn. Nothing happens where
 * it is over. */
void pin_dialogue_fail(struct pin_dialogue *dialogue, ath_err err);
uint32_t pin_dialogue_seconds_left(const struct pin_dialogue *dialogue);

/* ---- pin_offer.c ---- */

/* Brings it where it belongs: to those who attend, to the screen, or to its end. */
void pin_offer_place(struct pin_dialogue *dialogue);
/* It is over: those who attend are told. */
void pin_offer_withdraw(struct pin_dialogue *dialogue, ath_err how);

/* ---- pin_record.c ---- */

void pin_record_publish(const struct pin_dialogue *dialogue, const char *state, ath_err how);
/* at: "prompter" (athd's own), "program" (one that attends). */
void pin_record_asked(struct pin_dialogue *dialogue, const char *at);
void pin_record_taken(const struct pin_dialogue *dialogue, const struct request *request);
void pin_record_answered(const struct pin_dialogue *dialogue, ath_err how);

#endif
