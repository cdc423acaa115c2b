/*
 * Asking the user. A question goes to the user's programs that attend (consent.attend), else to the
 * prompter: one process a question (pinentry protocol), at most 64; on one terminal one at a time.
 * A waiting question holds up nobody else, ends with its callers, times out to "no". Equal
 * questions of one asker are one, and so is their answer; after a refusal the next comes later;
 * what the user allowed for a while is not asked.
 */
#ifndef ATHD_CONSENT_H
#define ATHD_CONSENT_H

#include "athd/policy.h"
#include "athd/request.h"
#include "protocol/scope.h"

struct connection;
struct consent;
struct key;

/* A turn at the screen for a prompter that asks no question of ours: it asks for a PIN, for a
 * helper. The storage is the owner's. */
struct consent_turn {
    TAILQ_ENTRY(consent_turn) entry;
    bool is_waiting, is_on_screen;
    void (*granted)(
        void *ctx);            /* the screen is its: once; may come from inside consent_turn_wait */
    void (*closed)(void *ctx); /* athd ends */
    void *ctx;
};

enum consent_text_kind {
    CONSENT_OURS,     /* our own words and facts we proved */
    CONSENT_STRANGER, /* a stranger's words: quoted, at most 256 characters, made harmless */
};

/* The question grows line by line: "Label: value". */
struct consent_text {
    struct ath_buf text;
    size_t pid_at, pid_len; /* where the caller's number stands: it makes no other question */
};

void consent_text_title(struct consent_text *text, const char *title);
void consent_text_line(struct consent_text *text, const char *label, const char *value,
                       enum consent_text_kind kind);
/* Who asks: pid, executable. */
void consent_text_caller(struct consent_text *text, const struct caller *caller);
void consent_text_scopes(struct consent_text *text, const char *label,
                         const struct scope_list *scopes);
void consent_text_duration(struct consent_text *text, const char *label, int64_t seconds);
void consent_text_done(struct consent_text *text);

/* What is asked, beside its words. All borrowed during the call, and copied. */
struct consent_order {
    const char *ok_label;                /* e.g. "Allow" */
    int64_t timeout_s;                   /* 0: the configured one (120) */
    const struct policy_question *about; /* NULL: nothing is known but the method */
    const struct key *key;               /* NULL: none */
    const char *rest;  /* what else makes it another question, and stands in no other place; NULL */
    const struct policy_memo *memo, *also_memo; /* what a yes is remembered as; NULL: nothing */
    bool key_asks_once; /* a yes is one to all that the key signs */
    bool can_narrow;   /* fewer scopes than were asked for can be approved */
    bool can_remember; /* a yes may hold for more of it */
    bool only_prompter; /* for no program that attends, and in no list */
};

/* ATH_OK: the user said yes; narrowed: to these scopes only, NULL: to all, borrowed during the
 * call. ATH_ERR_USER_DENIED, ATH_ERR_CONSENT_TIMEOUT, ATH_ERR_NO_PROMPTER, ATH_ERR_RATE_LIMITED,
 * ATH_ERR_LIMIT_EXCEEDED; ATH_ERR_HSM_UNAVAILABLE: athd ends. */
typedef void consent_done_fn(void *ctx, ath_err err, const struct scope_list *narrowed);

ath_err consent_new(struct athd *athd, struct consent **ret_consent) ATH_MUST_USE;
/* Open questions end as whatever waits when athd ends: ATH_ERR_HSM_UNAVAILABLE. */
void consent_close(struct consent *consent);
bool consent_is_idle(const struct consent *consent); /* no question, no prompter any more */
void consent_free(struct consent *consent);          /* when it is idle; NULL is fine */

/* Asks; a text that is too long for PINENTRY_PAGES_MAX pages is ATH_ERR_LIMIT_EXCEEDED. While it
 * runs it is the request's stage (cancel ends its part of the question, and the question with the
 * last one). done from the loop, once, never from inside. */
void consent_ask(struct request *request, struct consent_text *taken_text,
                 const struct consent_order *order, consent_done_fn *done, void *ctx);
size_t consent_waiting(const struct consent *consent); /* questions, of all tenants */

/* What was allowed for a while is not allowed any more: the policy has been read again (all), or
 * this tenant is locked; this key of its has been deleted. */
void consent_end_windows(struct consent *consent);
void consent_end_windows_of(struct consent *consent, uid_t tenant);
void consent_end_windows_of_key(struct consent *consent, uid_t tenant, const char *key);
/* A key (NULL: all of the tenant's) has been frozen: nothing is asked for it, or allowed to it, any
 * more. */
void consent_end_frozen(struct consent *consent, uid_t tenant, const char *key);

/* This connection's program shows questions, until it leaves: it ends, or does not read. pins: it
 * has a pinentry for PINs, too (pin_offer.h). */
void consent_attend(struct consent *consent, struct connection *connection, bool pins);
void consent_leave(struct connection *connection);

/* Lines up; granted and closed are set by the caller. PINs and questions take turns. */
void consent_turn_wait(struct consent *consent, struct consent_turn *turn);
/* Its prompter has gone, or it wants no turn any more. */
void consent_turn_end(struct consent *consent, struct consent_turn *turn);

/* Has athd a prompter? Not for a whole machine: whose screen would it be. */
bool consent_has_prompter(const struct consent *consent);
/* What a prompter of ours is started with, and the locale and terminal that it is told of (NULL:
 * not known): of the user's place of now. Borrowed, for now. */
char *const *consent_environment(const struct consent *consent);
const char *consent_ttyname(const struct consent *consent);
const char *consent_ttytype(const struct consent *consent);
const char *consent_lc_ctype(const struct consent *consent);

#endif
