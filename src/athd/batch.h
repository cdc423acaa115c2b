/* A JSON-RPC batch: the answers of one line's calls, sent as one array when the last is there. */
#ifndef ATHD_BATCH_H
#define ATHD_BATCH_H

#include "base/buf.h"

struct connection;

struct batch {
    unsigned references;    /* calls that are not answered yet, and the dispatcher while it reads */
    struct ath_buf answers; /* objects separated by commas */
};

/* With one reference. NULL when out of memory. */
struct batch *batch_new(void);
void batch_ref(struct batch *batch);
/* Adds one answer, which may be too much of them for `connection` (NULL: the caller is gone); more
 * than ANSWER_MAX bytes in all: .answers.err. */
void batch_put(struct batch *batch, struct connection *connection, struct ath_slice answer);
/* Drops a reference; the last one sends the array to `connection` (NULL: the caller is gone) unless
 * there was nothing to answer. */
void batch_release(struct batch *batch, struct connection *connection);

#endif
