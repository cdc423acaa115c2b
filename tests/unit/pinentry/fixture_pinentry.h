/* One dialogue with a pinentry, whose lines the test writes. */
#ifndef TESTS_FIXTURE_PINENTRY_H
#define TESTS_FIXTURE_PINENTRY_H

#include "tests/support/support.h"

#include "pinentry/pinentry.h"

extern struct pinentry *talk;
extern struct ath_buf talk_out; /* what it said last */

/* Ends the one before. */
void talk_begin(const struct pinentry_question *question);
/* A test's teardown, too. */
int talk_end(void **state);

/* What it says to these bytes is in talk_out. */
ath_err talk_receive(const char *text);
void talk_says(const char *text, const char *expected);
/* A greeting, and OK until `command`, with its line end, has been said. */
void talk_run_to(const char *command);

#endif
