/*
 * Asking the user: one prompter process a question (pinentry protocol), at most 64; on one terminal
 * one at a time. A waiting question holds up nobody else, ends with its caller, times out to "no".
 */
#ifndef ATHD_CONSENT_H
#define ATHD_CONSENT_H

#include "athd/request.h"
#include "protocol/scope.h"

struct consent;
struct consent_question;

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

/* ATH_OK: the user said yes. ATH_ERR_USER_DENIED, ATH_ERR_CONSENT_TIMEOUT, ATH_ERR_NO_PROMPTER,
 * ATH_ERR_LIMIT_EXCEEDED. */
typedef void consent_done_fn(void *ctx, ath_err err);

ath_err consent_new(struct athd *athd, struct consent **ret_consent) ATH_MUST_USE;
void consent_close(struct consent *consent);         /* open questions end as CONSENT_TIMEOUT */
bool consent_is_idle(const struct consent *consent); /* no question, no prompter any more */
void consent_free(struct consent *consent);          /* when it is idle */

/* Asks; a text that is too long for PINENTRY_PAGES_MAX pages is ATH_ERR_LIMIT_EXCEEDED. ok_label,
 * e.g. "Allow". timeout_s: 0 is the configured one (120). While it runs it is the request's stage
 * (cancel kills the prompter). done from the loop, once, never from inside. */
void consent_ask(struct request *request, struct consent_text *taken_text, const char *ok_label,
                 int64_t timeout_s, consent_done_fn *done, void *ctx);
size_t consent_waiting(const struct consent *consent);

/* Lines up; granted and closed are set by the caller. PINs and questions take turns. */
void consent_turn_wait(struct consent *consent, struct consent_turn *turn);
/* Its prompter has gone, or it wants no turn any more. */
void consent_turn_end(struct consent *consent, struct consent_turn *turn);
/* The locale and terminal that a prompter of ours is told of; NULL: not known. */
const char *consent_ttyname(void);
const char *consent_ttytype(void);
const char *consent_lc_ctype(void);

#endif
