/*
 * A question to a person, as the pinentry protocol (Assuan) carries it. Does no I/O: the prompter's
 * bytes go in, ours come out, so the same code serves athd's loop and a blocking program.
 *
 * An Assuan line has at most 1,000 bytes. A description that needs more is shown in pages, each to
 * be confirmed: nothing is cut off unseen. Whatever stands in the texts, a line of ours holds one
 * command: line ends and percent signs are escaped (Assuan, "Client requests").
 *
 * A question is answered with yes (CONFIRM) or with a PIN (GETPIN, below the last page). A PIN is
 * kept in locked memory from the first byte; the prompter is never told that it may store one.
 */
#ifndef PINENTRY_PINENTRY_H
#define PINENTRY_PINENTRY_H

#include "base/buf.h"
#include "base/secret.h"
#include "base/why.h"

#define PINENTRY_LINE_MAX 1000u /* without the line end */
#define PINENTRY_PAGES_MAX 16u
#define PINENTRY_PIN_MAX 255u /* bytes */

struct pinentry_question {
    bool asks_pin; /* GETPIN instead of CONFIRM */
    /* A new PIN (or passphrase) of new_min to new_max bytes, entered twice; `again` is what is said
     * the second time. new_max 0: one that there is. */
    unsigned new_min, new_max;
    const char *again;
    const char *prompt; /* beside the field of a PIN; NULL: the title */
    const char *error;  /* what was wrong before (SETERROR); NULL: nothing */
    const char *title;
    const char *description; /* lines separated by LF */
    const char *ok, *not_ok; /* the buttons */
    unsigned timeout_s;      /* told to the prompter; the owner has a timer of its own */
    const char *ttyname, *ttytype, *lc_ctype; /* NULL: not told */
};

struct pinentry;

/* Copies what it needs. ATH_ERR_LIMIT_EXCEEDED: more than PINENTRY_PAGES_MAX pages; ATH_ERR_NOMEM
 * (for a PIN also: no memory that can be locked). */
ath_err pinentry_new(const struct pinentry_question *question,
                     struct pinentry **ret_pinentry) ATH_MUST_USE;
void pinentry_free(struct pinentry *pinentry); /* wipes what there is of a PIN; NULL is fine */

/*
 * Takes what the prompter said; what it is to be told next is appended to `out`, which never holds
 * a PIN. `bytes` may hold one: they are the caller's to lock and wipe.
 * ATH_OK: go on, or, when pinentry_is_done, the person said yes or gave a PIN. ATH_ERR_USER_DENIED
 * (not confirmed, cancelled, an empty PIN, or no good new one in three rounds),
 * ATH_ERR_CONSENT_TIMEOUT, ATH_ERR_NO_PROMPTER (any other error, or not this protocol: an answer
 * that comes before its question, talk without end), ATH_ERR_NOMEM: it is over.
 */
ath_err pinentry_receive(struct pinentry *pinentry, struct ath_slice bytes,
                         struct ath_buf *out) ATH_MUST_USE;
/* Whether what it was told last still lies unread in the pipe: then an answer is to nothing. For
 * the pinentry_receive that follows. */
void pinentry_note_unread(struct pinentry *pinentry, bool is_unread);
bool pinentry_is_done(const struct pinentry *pinentry);
/* Once it is done, and a PIN was asked for: the PIN, 1 to PINENTRY_PIN_MAX bytes, now the caller's.
 * ATH_ERR_NOT_FOUND: there is none; ATH_ERR_NOMEM. */
ath_err pinentry_take_pin(struct pinentry *pinentry, struct ath_secret *ret_pin) ATH_MUST_USE;
/* What it said that was no answer, or what was wrong with it, for the log: "" where there is
 * nothing of that kind. Never a PIN. */
const char *pinentry_complaint(const struct pinentry *pinentry);

#endif
