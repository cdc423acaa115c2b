#include "athd/audit_follower.h"

#include <stdlib.h>

#include "athd/athd.h"
#include "base/log.h"

#define REST_MS 50u     /* between a record and its leaf, where nobody waits */
#define BEHIND_MAX 256u /* records: more are not left waiting */
#define RETRY_MS 1000u
#define RETRY_MAX_MS 60000u

TAILQ_HEAD(reach_list, audit_reach);

struct audit_follower {
    struct athd *athd;
    struct audit_tiler *tiler;
    uv_timer_t timer; /* of the rest, or of the next try */
    uv_work_t work;
    struct audit_head head;
    struct reach_list waiting;
    struct audit_watch watch;
    bool is_working, is_closing;
    uint64_t retry_ms; /* 0: the last run went well */
    struct why why;
    /* of the run, for the thread */
    struct audit_span span;
    uint64_t target;
    bool whole;
    struct audit_head run_head;
    struct why run_why;
    ath_err run_err;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static void run(struct audit_follower *follower);

static void
on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

/* ---- those who wait ---- */

static bool
is_there(const struct audit_follower *follower, const struct audit_reach *reach)
{
    if (reach->whole)
        return follower->whole && follower->target == reach->size &&
               follower->head.size == reach->size;
    return follower->head.size >= reach->size;
}

/* Whoever is told may wait again, or forget another. */
static void
tell_all(struct audit_follower *follower, ath_err err)
{
    struct audit_reach *reach;

    TAILQ_FOREACH (reach, &follower->waiting, entry)
        reach->is_due = err != ATH_OK || is_there(follower, reach);
    do {
        TAILQ_FOREACH (reach, &follower->waiting, entry)
            if (reach->is_due)
                break;
        if (reach != NULL) {
            TAILQ_REMOVE(&follower->waiting, reach, entry);
            reach->done(reach->ctx, err, &follower->head, &follower->why);
        }
    } while (reach != NULL);
}

/* ---- the run ---- */

static void
on_work(uv_work_t *work)
{
    struct audit_follower *follower = work->data;

    follower->run_err = audit_tiler_run(follower->tiler, &follower->span, follower->target,
                                        follower->whole, &follower->run_head, &follower->run_why);
}

static void
say_closed(struct audit_follower *follower)
{
    void (*closed)(void *) = follower->closed;

    if (closed == NULL)
        return;
    follower->closed = NULL;
    tell_all(follower, ATH_ERR_IO);
    uv_close((uv_handle_t *)&follower->timer, NULL);
    closed(follower->closed_ctx);
}

/* Where the tree stands against the log. */
static void
rest(struct audit_follower *follower)
{
    uint64_t size = audit_log_size(follower->athd->audit);

    if (!TAILQ_EMPTY(&follower->waiting) || size - follower->head.size > BEHIND_MAX)
        run(follower);
    else if (size > follower->head.size && !uv_is_active((uv_handle_t *)&follower->timer))
        uv_timer_start(&follower->timer, on_timer, REST_MS, 0);
}

static void
fail(struct audit_follower *follower)
{
    /* never empty: status says it, too */
    why_set(&follower->why, follower->run_err, "%s",
            why_text(&follower->run_why, follower->run_err));
    if (follower->retry_ms == 0)
        log_error("event=audit err=%s reason=\"the tree of the log is not kept: %s\"; records are",
                  ath_err_reason(follower->run_err), follower->why.text);
    follower->retry_ms = follower->retry_ms == 0                 ? RETRY_MS
                         : follower->retry_ms * 2 < RETRY_MAX_MS ? follower->retry_ms * 2
                                                                 : RETRY_MAX_MS;
    uv_timer_start(&follower->timer, on_timer, follower->retry_ms, 0);
    tell_all(follower, follower->run_err);
}

static void
on_worked(uv_work_t *work, int status)
{
    struct audit_follower *follower = work->data;

    follower->is_working = false;
    if (status != 0 && follower->run_err == ATH_OK)
        follower->run_err = ATH_ERR_IO;
    if (follower->run_err == ATH_OK) {
        if (follower->retry_ms != 0)
            log_info("event=audit reason=\"the tree of the log is kept again\"");
        follower->retry_ms = 0;
        follower->head = follower->run_head;
        tell_all(follower, ATH_OK);
    } else {
        fail(follower);
    }
    if (follower->is_closing)
        say_closed(follower);
    else if (follower->retry_ms == 0)
        rest(follower);
}

/* A whole tree is of exactly its size, so none goes beyond it before. */
static void
choose_target(struct audit_follower *follower)
{
    const struct audit_reach *reach;

    follower->span = audit_log_span(follower->athd->audit);
    follower->target = follower->span.size;
    follower->whole = false;
    TAILQ_FOREACH (reach, &follower->waiting, entry)
        if (reach->whole) {
            follower->target = reach->size;
            follower->whole = true;
        }
}

static void
run(struct audit_follower *follower)
{
    if (follower->is_working || follower->is_closing)
        return;
    uv_timer_stop(&follower->timer);
    choose_target(follower);
    follower->is_working = true;
    follower->run_why = (struct why){{0}};
    follower->work.data = follower;
    /* fails only without a callback (uv_queue_work, libuv 1.44) */
    uv_queue_work(follower->athd->loop, &follower->work, on_work, on_worked);
}

static void
on_grown(void *ctx)
{
    struct audit_follower *follower = ctx;

    if (!follower->is_working && follower->retry_ms == 0 && !follower->is_closing)
        rest(follower);
}

/* ---- life ---- */

ath_err
audit_follower_new(struct athd *athd, const struct audit_head *newest,
                   struct audit_follower **ret_follower)
{
    struct audit_follower *follower = calloc(1, sizeof(*follower));
    ath_err err;

    if (follower == NULL)
        return ATH_ERR_NOMEM;
    follower->athd = athd;
    TAILQ_INIT(&follower->waiting);
    if ((err = audit_tiler_new(audit_log_dir(athd->audit), newest, &follower->tiler)) != ATH_OK ||
        uv_timer_init(athd->loop, &follower->timer) != 0) {
        audit_follower_free(follower);
        return err != ATH_OK ? err : ATH_ERR_NOMEM;
    }
    follower->timer.data = follower;
    audit_log_watch(athd->audit, &follower->watch, on_grown, follower);
    uv_timer_start(&follower->timer, on_timer, REST_MS, 0);
    *ret_follower = follower;
    return ATH_OK;
}

void
audit_follower_reach(struct audit_follower *follower, struct audit_reach *reach)
{
    reach->is_due = false;
    TAILQ_INSERT_TAIL(&follower->waiting, reach, entry);
    if (follower->retry_ms == 0) /* else with the next try */
        run(follower);
}

void
audit_follower_forget(struct audit_follower *follower, struct audit_reach *reach)
{
    struct audit_reach *waiting;

    TAILQ_FOREACH (waiting, &follower->waiting, entry)
        if (waiting == reach) {
            TAILQ_REMOVE(&follower->waiting, reach, entry);
            return;
        }
}

const char *
audit_follower_failure(const struct audit_follower *follower)
{
    return follower->retry_ms == 0 ? NULL : follower->why.text;
}

bool
audit_follower_is_inconsistent(const struct audit_follower *follower)
{
    return !follower->is_working && audit_tiler_is_inconsistent(follower->tiler);
}

void
audit_follower_close(struct audit_follower *follower, void (*done)(void *ctx), void *ctx)
{
    follower->closed = done;
    follower->closed_ctx = ctx;
    follower->is_closing = true;
    audit_log_unwatch(follower->athd->audit, &follower->watch);
    if (!follower->is_working)
        say_closed(follower);
}

void
audit_follower_free(struct audit_follower *follower)
{
    if (follower == NULL)
        return;
    audit_tiler_free(follower->tiler);
    free(follower);
}
