/*
 * One call of one caller, from its arrival to its answer. Stages pass it forward: dispatch, method,
 * policy, consent, hardware and record, finish. A request has one owner and one end: every path
 * ends in request_finish or request_fail, exactly once.
 */
#ifndef ATHD_REQUEST_H
#define ATHD_REQUEST_H

#include <sys/queue.h>

#include <uv.h>

#include "athd/caller.h"
#include "athd/policy.h"
#include "base/json.h"
#include "rpc/jsonrpc.h"
#include "rpc/methods.h"

struct athd;
struct policy_kept;
struct connection;
struct batch;
struct handshake;
struct tenant;

struct request {
    struct athd *athd;             /* borrowed: outlives every request */
    struct tenant *tenant;         /* borrowed: lives as long as athd */
    struct connection *connection; /* borrowed; NULL once the caller is gone */
    const struct rpc_method *method;
    struct json *params;   /* object, checked against the method's table; owned */
    struct caller *caller; /* counted */
    const char *trace;     /* in params; NULL: none */
    const char *rule;      /* static: the policy rule that allowed it; NULL: none was asked yet */
    /* of which handshake its records are; borrowed while the request works on it, NULL: none */
    const struct handshake *handshake;
    const char *handshake_t5, *handshake_trace; /* of one that only a message tells of */
    bool has_consent;      /* the user was asked and said yes */
    bool is_by_window;     /* that yes was an earlier one, for a while: it is remembered already */
    const char *limit;     /* what stood against a question; static, NULL: nothing */
    int64_t retry_after_s; /* after refusals; 0: nothing to tell */
    bool is_rated;         /* it has been counted for a rule's rate */
    bool is_locked_out;    /* its tenant was locked while it was under way: lock_releases */
    struct policy_memo memo;  /* what a yes to policy's question is remembered as */
    struct policy_kept *kept; /* what policy allowed, to be asked again; owned, NULL: nothing */
    char allowed_key[NAME_MAX_LEN + 1]; /* the key that policy has been asked about, with all there
                                           is to know: no other one signs for this request */
    struct json *denied;  /* data of a refusal that came after a yes; owned, NULL: none */
    uint64_t arrived_us;  /* clock_monotonic_us; 0: not known */
    uint64_t deadline_ms; /* clock_monotonic_ms; request_set_deadline changes it */

    /* What holds the request now sets this; it is called once when the caller has gone, the
     * deadline is over or athd ends, must drop the work and must lead to request_fail(err). NULL:
     * nothing to drop, the stage will finish by itself. */
    void (*cancel)(struct request *request, ath_err err);
    void *stage; /* of whoever set cancel */

    /* private to request.c and connection.c */
    struct json *id;
    bool is_notification;
    struct batch *batch;
    bool is_of_connection; /* is in a list by of_connection */
    LIST_ENTRY(request) of_connection;
    LIST_ENTRY(request) of_athd;
};

/* All that are under way, and the timer of their deadlines. */
struct request_table {
    LIST_HEAD(, request) all;
    unsigned count;
    uv_timer_t timer;
    uint64_t timer_at_ms; /* 0: not running */
};

/* ATH_ERR_NOMEM. */
ath_err request_table_init(struct request_table *table, uv_loop_t *loop) ATH_MUST_USE;
void request_table_close(struct request_table *table);
/* Cancels every request with err. */
void request_table_cancel_all(struct request_table *table, ath_err err);

/* Takes the call's id and params; its method must exist and its params be checked. ATH_ERR_NOMEM:
 * the call is untouched. */
ath_err request_new(struct connection *connection, struct batch *batch, struct rpc_call *call,
                    const struct rpc_method *method, struct request **ret_request) ATH_MUST_USE;

/* Drops its work, if what holds it can drop it; the request may be gone afterwards. */
void request_cancel(struct request *request, ath_err err);
/* A stage that waits for a person has its own time and moves the deadline (clock_monotonic_ms). */
void request_set_deadline(struct request *request, uint64_t deadline_ms);
#define REQUEST_DEADLINE_MS 30000u

/* The answer. Takes result (NULL: out of memory, answered as an internal error). Frees the request.
 */
void request_finish(struct request *request, struct json *taken_result);

/* A method's result as it is built: ends the maker. */
void request_finish_maker(struct request *request, struct json_maker *result);

/* An error answer: why may be NULL. data (taken, may be NULL) holds members beside `reason`. */
void request_fail(struct request *request, ath_err err, const struct why *why);
void request_fail_data(struct request *request, ath_err err, const struct why *why,
                       struct json *taken_data);

#endif
