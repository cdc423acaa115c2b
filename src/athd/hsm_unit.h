/*
 * One hsm as athd sees it: its helper's lives, its queue, what is on its way, and which keys the
 * helper knows. Private to hsm_pool.c and hsm_unit.c.
 *
 *   queue ─pop─▶ flying (at most HSM_WINDOW, so that the helper can check a signature while the
 *     ▲             hardware makes the next) ─response─▶ completion
 *     └──────────── helper gone: once more, if that does no harm
 */
#ifndef ATHD_HSM_UNIT_H
#define ATHD_HSM_UNIT_H

#include "athd/deferred.h"
#include "athd/hsm_pool.h"
#include "athd/hsm_process.h"
#include "athd/hsm_queue.h"

#define HSM_WINDOW 4u
#define HSM_QUEUE_MAX 4096u
#define HSM_QUEUE_CALLER_MAX 1024u

enum hsm_unit_state {
    HSM_UNIT_STARTING,
    HSM_UNIT_ABSENT,
    HSM_UNIT_READY,
    HSM_UNIT_FAILED,
    HSM_UNIT_LOCKED
};

struct hsm_job {
    struct hsm_queue_item item;
    TAILQ_ENTRY(hsm_job) flying;
    struct hsm_unit *unit;
    struct deferred deferred; /* a completion that is due though no response came */
    enum hsm_op op;
    uint32_t id; /* on the wire, while it flies */
    uint32_t key;
    struct ath_slice key_blob; /* borrowed; not used after the completion */
    struct ath_buf data;       /* SIGN: message; KEY_OPEN, COUNTER: blob */
    char *label;               /* KEY_CREATE */
    uint8_t algorithm;
    enum hsm_key_usage usage;
    uint32_t count;    /* COUNTER: steps */
    uint8_t nonce[32]; /* COUNTER */
    uint64_t deadline_ms, queued_us, sent_us;
    bool is_flying;
    bool is_repeated; /* was on its way when a helper was lost */
    ath_err failed;   /* SIGN: its key could not be opened; KEY_OPEN of the pool's own: unused */
    struct why failed_why;
    uint32_t failed_native;
    hsm_done_fn *done; /* NULL: the pool's own, or its completion has been called */
    void *ctx;
    void (*sent)(void *ctx); /* NULL: not asked */
};

TAILQ_HEAD(hsm_jobs, hsm_job);

struct hsm_unit {
    struct athd *athd;
    struct hsm_pool *pool;
    const char *name, *uri; /* borrowed from config */
    enum hsm_unit_state state;
    struct why why; /* why it is not ready */
    char kind[16], manufacturer[64], model[64], firmware[32], serial[64];
    bool software, has_ek_certificate, has_counter;

    struct hsm_process *process; /* NULL: none */
    bool is_open;                /* INFO has been answered well */
    bool has_refused;            /* INFO has been answered with an error */
    bool is_leaving;             /* the process was ended or killed; its answers no longer count */
    uint64_t left_at_ms;
    unsigned failures;     /* lives in a row that came to nothing */
    uint64_t opened_at_ms; /* of this life */
    uint64_t progress_ms;  /* when the helper last answered, or was given work after a rest */
    uv_timer_t restart;
    bool is_closing; /* athd ends */

    struct hsm_queue queue;
    struct hsm_jobs flying;
    unsigned flying_count;
    uint32_t next_id;
    uint8_t *opened; /* bits: keys the helper knows, by number */
    size_t opened_len;
    uint64_t service_us; /* running mean of one job */
};

/* The handle is initialised; nothing is started. ATH_ERR_NOMEM. */
ath_err hsm_unit_init(struct hsm_unit *unit, struct athd *athd, struct hsm_pool *pool,
                      const char *name, const char *uri) ATH_MUST_USE;
void hsm_unit_start(struct hsm_unit *unit);
/* "ready", "absent", "failed", "locked". */
const char *hsm_unit_state_name(const struct hsm_unit *unit);
/* Ends the helper and all jobs (HSM_UNAVAILABLE). The unit is closed when hsm_unit_is_gone. */
void hsm_unit_close(struct hsm_unit *unit);
bool hsm_unit_is_gone(const struct hsm_unit *unit);
void hsm_unit_kill(struct hsm_unit *unit);
void hsm_unit_done(struct hsm_unit *unit); /* frees what it owns; after the loop */

/* ---- hsm_flight.c ---- */
/* The job is the unit's until its completion. ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_HSM_BUSY as
 * hsm_pool.h. */
ath_err hsm_unit_submit(struct hsm_unit *unit, struct hsm_job *job) ATH_MUST_USE;
void hsm_unit_cancel(struct hsm_job *job, ath_err err, const struct why *why);
void hsm_unit_forget(struct hsm_unit *unit, uint32_t key);
/* Sends as much as the window and the helper's state allow. */
void hsm_unit_pump(struct hsm_unit *unit);
uint32_t hsm_unit_next_id(struct hsm_unit *unit);
struct hsm_job *hsm_unit_find_flying(const struct hsm_unit *unit, uint32_t id,
                                     enum hsm_op op); /* NULL: none */
/* The answer to a job: its completion, unless it was cancelled. */
void hsm_unit_take_response(struct hsm_unit *unit, struct hsm_job *job,
                            const struct hsm_response *response);
/* The helper is gone: what flew is queued again, if it may be repeated, or fails. */
void hsm_unit_lose_flying(struct hsm_unit *unit);
/* The job ends with err at the loop's next turn; it is not queued any more. */
void hsm_job_fail_later(struct hsm_job *job, ath_err err, const struct why *why);
void hsm_job_free(struct hsm_job *job);

/* ---- hsm_unit.c ---- */
/* Deadlines, hangs. */
void hsm_unit_tick(struct hsm_unit *unit, uint64_t now_ms);
bool hsm_unit_wants_ticks(const struct hsm_unit *unit);
/* hsm_pool.c: hsm_unit_tick from now on, until no unit wants it. */
void hsm_pool_want_ticks(struct hsm_pool *pool);

#endif
