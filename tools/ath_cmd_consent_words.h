/*
 * How `ath consent` writes and reads: questions, windows and back-offs as consent.list has them,
 * and what a person types about them. No I/O. Whatever stands in a question, each of its rows
 * begins with a mark of ours ('|', or ':' where a row goes on), so that no words can pass for words
 * of ours.
 */
#ifndef TOOLS_ATH_CMD_CONSENT_WORDS_H
#define TOOLS_ATH_CMD_CONSENT_WORDS_H

#include <stdbool.h>

#include "base/json.h"

/* The narrowest rows that are written; a terminal that says less is not believed. */
#define CONSENT_COLUMNS_MIN 20u

/* What consent.answer takes as `remember`. 0: not said. */
struct consent_while {
    int64_t uses, seconds;
};

#define CONSENT_USES_MAX 10000
#define CONSENT_SECONDS_MAX 86400
#define CONSENT_SCOPES_MAX 1024u

/* A question's or window's id as text, "-" where it has none. */
void consent_words_id(const struct json *item, struct ath_buf *out);

/* text in rows of at most `columns` characters (0: as long as they are), each marked and ended. */
void consent_words_block(const char *text, size_t columns, struct ath_buf *out);
/* "Question 12 (asked 10 times, 1 min 52 s left)" with `others` waiting beside it; no line end. */
void consent_words_heading(const struct json *question, size_t others, int64_t now,
                           struct ath_buf *out);
/* "Question 12 (1 min 52 s left): credential.issue, key alice; asked by /usr/bin/node, user 1000";
 * marked. */
void consent_words_summary(const struct json *question, int64_t now, size_t columns,
                           struct ath_buf *out);
/* Who asks and for what, as athd proved it; marked. */
void consent_words_details(const struct json *question, size_t columns, struct ath_buf *out);
/* The scopes, each with its number from 1; marked. */
void consent_words_scopes(const struct json *scopes, size_t columns, struct ath_buf *out);
/* What is allowed for a while and who was refused, of an answer of consent.list: marked, each with
 * its number from 1, or its id. Nothing where there is nothing. */
void consent_words_rules(const struct json *list, bool numbered, int64_t now, size_t columns,
                         struct ath_buf *out);
/* "20 times, for 2 h"; what was not said is athd's maximum. */
void consent_words_while(const struct consent_while *remember, struct ath_buf *out);

/* "20 2h", "20" or "2h": how often, for how long, or both; each once. False: anything else, or
 * beyond what athd takes. */
bool consent_words_read_while(const char *text, struct consent_while *ret_remember);
/* "1 3" or "1,3": numbers from 1 to count, in any order; ret_chosen[number - 1] becomes true.
 * False: anything else, or none. */
bool consent_words_read_numbers(const char *text, size_t count, bool *ret_chosen);

#endif
