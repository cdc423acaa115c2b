/*
 * One call of one caller, from its arrival to its answer. Stages pass it forward: dispatch, method,
 * policy, consent, hardware and record, finish. A request has one owner and one end: every path ends
 * in request_finish or request_fail, exactly once.
 */
#ifndef ATHD_REQUEST_H
#define ATHD_REQUEST_H

#include "athd/caller.h"
#include "base/json.h"
#include "rpc/methods.h"

struct athd;
struct connection;

struct request {
    struct athd *athd;             /* borrowed: outlives every request */
    struct connection *connection; /* borrowed; NULL once the caller is gone */
    const struct rpc_method *method;
    struct json *params;           /* object, checked against the method's table; owned */
    struct caller *caller;         /* counted */
    const char *trace;             /* in params; NULL: none */
    uint64_t deadline_ms;          /* clock_monotonic_ms */

    /* What holds the request now sets this; it is called once when the caller has gone, the deadline
     * is over or athd ends, must drop the work and must lead to request_fail(err). NULL: nothing to
     * drop, the stage will finish by itself. */
    void (*cancel)(struct request *request, ath_err err);
    void *stage;                   /* of whoever set cancel */

    /* private to request.c and connection.c */
    struct json *id;
    bool is_notification;
    struct batch *batch;
    struct request *next, *prev;
    bool finished;
};

/* The answer. Takes result (NULL: out of memory, answered as an internal error). Frees the request. */
void request_finish(struct request *request, struct json *taken_result);

/* A method's result as it is built: ends the maker. */
void request_finish_maker(struct request *request, struct json_maker *result);

/* An error answer: why may be NULL. data (taken, may be NULL) holds members beside `reason`. */
void request_fail(struct request *request, ath_err err, const struct why *why);
void request_fail_data(struct request *request, ath_err err, const struct why *why, struct json *taken_data);

#endif
