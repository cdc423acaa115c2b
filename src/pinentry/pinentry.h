/*
 * A question to a person, as the pinentry protocol (Assuan) carries it. Does no I/O: the prompter's
 * bytes go in, ours come out, so the same code serves athd's loop and a blocking program.
 *
 * An Assuan line has at most 1,000 bytes. A description that needs more is shown in pages, each to
 * be confirmed: nothing is cut off unseen. Whatever stands in the texts, a line of ours holds one
 * command: line ends and percent signs are escaped (Assuan, "Client requests").
 */
#ifndef PINENTRY_PINENTRY_H
#define PINENTRY_PINENTRY_H

#include "base/buf.h"
#include "base/why.h"

#define PINENTRY_LINE_MAX 1000u /* without the line end */
#define PINENTRY_PAGES_MAX 16u

struct pinentry_question {
    const char *title;
    const char *description; /* lines separated by LF */
    const char *ok, *not_ok; /* the buttons */
    unsigned timeout_s;      /* told to the prompter; the owner has a timer of its own */
    const char *ttyname, *ttytype, *lc_ctype; /* NULL: not told */
};

struct pinentry;

/* Copies what it needs. ATH_ERR_LIMIT_EXCEEDED: more than PINENTRY_PAGES_MAX pages; ATH_ERR_NOMEM.
 */
ath_err pinentry_new(const struct pinentry_question *question,
                     struct pinentry **ret_pinentry) ATH_MUST_USE;
void pinentry_free(struct pinentry *pinentry);

/*
 * Takes what the prompter said; what it is to be told next is appended to `out`.
 * ATH_OK: go on, or, when pinentry_is_done, the person said yes. ATH_ERR_USER_DENIED (not
 * confirmed, or cancelled), ATH_ERR_CONSENT_TIMEOUT, ATH_ERR_NO_PROMPTER (any other error, or not
 * this protocol: an answer that comes before its question, talk without end), ATH_ERR_NOMEM: it is
 * over.
 */
ath_err pinentry_receive(struct pinentry *pinentry, struct ath_slice bytes,
                         struct ath_buf *out) ATH_MUST_USE;
/* Whether what it was told last still lies unread in the pipe: then an answer is to nothing. For
 * the pinentry_receive that follows. */
void pinentry_note_unread(struct pinentry *pinentry, bool is_unread);
bool pinentry_is_done(const struct pinentry *pinentry);
/* What it said that was no answer, for the log: "" where it said nothing of that kind. */
const char *pinentry_complaint(const struct pinentry *pinentry);

#endif
