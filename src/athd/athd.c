#include "athd/athd.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "athd/athd_record.h"
#include "athd/audit_checkpoint.h"
#include "athd/audit_log.h"
#include "athd/consent.h"
#include "athd/hsm_pool.h"
#include "athd/listener.h"
#include "athd/lock_watch.h"
#include "athd/policy.h"
#include "athd/sandbox.h"
#include "athd/service_manager.h"
#include "athd/state_dir.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "crypto/digest.h"

#define END_STEP_MS 10u
#define END_WAIT_MS 5000u /* for what is in flight */
#define END_TELL_MS 100u
#define END_LIMIT_MS 10000u /* whatever still hangs then is left behind */
/* 2,048 connections a uid, two each, and more than one uid */
#define DESCRIPTORS 16384u
#define DESCRIPTORS_SYSTEM 65536u

static const int signal_numbers[] = {SIGTERM, SIGINT, SIGHUP};

/* ---- the end ---- */

static void
close_handles(struct athd *athd)
{
    size_t i;

    if (!athd->has_handles)
        return;
    athd->has_handles = false;
    /* these have timers: freed while the loop still runs, and when no request uses them any more */
    tenants_close(athd);
    for (i = 0; i < sizeof(signal_numbers) / sizeof(signal_numbers[0]); i++)
        uv_close((uv_handle_t *)&athd->signals[i], NULL);
    uv_close((uv_handle_t *)&athd->end_timer, NULL);
    request_table_close(&athd->requests);
    deferred_queue_close(&athd->deferred);
}

static void
on_part_ended(void *ctx)
{
    struct athd *athd = ctx;

    athd->parts_ending--;
}

/* Everything that has handles is asked to close them; the loop ends when it has none. */
static void
close_parts(struct athd *athd)
{
    audit_flood_close(&athd->flood);
    clock_watch_close(&athd->clock);
    athd->is_closing_parts = true;
    tenants_settle(athd);
    if (athd->consent != NULL)
        consent_close(athd->consent);
    if (athd->listener != NULL) {
        listener_stop(athd->listener);
        listener_close(athd->listener);
    }
    if (athd->hsms != NULL) {
        athd->parts_ending++;
        hsm_pool_close(athd->hsms, on_part_ended, athd);
    }
    athd->parts_ending++;
    lock_watch_close(athd->lock_watch, on_part_ended, athd);
    if (athd->checkpoints != NULL) {
        athd->parts_ending++;
        audit_checkpoints_close(athd->checkpoints, on_part_ended, athd);
    }
    if (athd->audit != NULL) {
        athd->parts_ending++;
        audit_log_close(athd->audit, on_part_ended, athd);
    }
}

static bool
is_quiet(const struct athd *athd)
{
    return athd->listener == NULL ||
           (athd->requests.count == 0 && listener_connections(athd->listener) == 0);
}

static void
on_last_checkpoint(void *ctx)
{
    struct athd *athd = ctx;

    athd->is_last_checkpoint_done = true;
}

/* When nobody adds a record any more, the hardware signs the log's end; within the time that all
 * have. */
static bool
has_last_checkpoint(struct athd *athd)
{
    if (athd->checkpoints == NULL)
        return true;
    if (!athd->is_last_checkpoint_begun) {
        athd->is_last_checkpoint_begun = true;
        audit_checkpoints_finish(athd->checkpoints, on_last_checkpoint, athd);
    }
    return athd->is_last_checkpoint_done;
}

static void
on_end_step(uv_timer_t *timer)
{
    struct athd *athd = timer->data;
    uint64_t past_ms = clock_monotonic_ms() - athd->end_at_ms;

    if (past_ms >= END_LIMIT_MS) {
        log_warning("event=end reason=something-hangs");
        uv_stop(athd->loop);
        return;
    }
    if (!athd->is_closing_parts) {
        if (past_ms >= END_WAIT_MS)
            request_table_cancel_all(&athd->requests, ATH_ERR_HSM_UNAVAILABLE);
        /* those who were cancelled are told so first */
        if ((is_quiet(athd) && has_last_checkpoint(athd)) || past_ms >= END_WAIT_MS + END_TELL_MS)
            close_parts(athd);
    }
    if (athd->is_closing_parts && athd->parts_ending == 0 && athd->requests.count == 0 &&
        store_queue_is_empty(&athd->stores) &&
        (athd->consent == NULL || consent_is_idle(athd->consent)))
        close_handles(athd);
}

static void
begin_end(struct athd *athd)
{
    if (athd->ending)
        return;
    log_info("event=end");
    athd_record_stopping(athd);
    service_manager_notify("STOPPING=1");
    athd->ending = true;
    athd->end_at_ms = clock_monotonic_ms();
    listener_stop(athd->listener);
    consent_close(athd->consent);
    uv_timer_start(&athd->end_timer, on_end_step, 0, END_STEP_MS);
}

/* The loop is over: frees what the parts own. */
static void
free_parts(struct athd *athd)
{
    listener_free(athd->listener);
    athd->listener = NULL;
    consent_free(athd->consent);
    hsm_pool_free(athd->hsms);
    lock_watch_free(athd->lock_watch);
    tenants_free(athd);
    policy_free(athd->policy);
    audit_checkpoints_free(athd->checkpoints);
    audit_log_free(athd->audit);
    audit_budget_done(&athd->audit_budget);
    damage_done(&athd->damage);
    fd_close(&athd->state_lock);
    if (uv_loop_close(athd->loop) != 0)
        log_warning("event=end reason=handles-left");
}

/* ---- signals ---- */

/* No error: who only serves applications never asks. */
static void
look_for_prompter(const struct athd *athd)
{
    struct why why = {{0}};

    if (config_check_prompter(athd->config, &why) != ATH_OK)
        log_warning("event=prompter reason=\"%s\"", why.text);
}

static void
reload(struct athd *athd)
{
    struct why why = {{0}};
    ath_err err = config_reload(athd->config, &why);

    athd_record_configuration(athd, err, &why);
    if (err != ATH_OK) {
        log_error("event=reload err=%s reason=\"%s\"; the old configuration is kept",
                  ath_err_reason(err), why_text(&why, err));
        return;
    }
    log_set_level(athd->config->log_level);
    look_for_prompter(athd);
    audit_checkpoints_reload(athd->checkpoints);
    if (why.text[0] != '\0')
        log_warning("event=reload reason=\"%s\"", why.text);
    else
        log_info("event=reload");
}

/* Whether the configuration is good or not: each is in a file of its own. */
static void
reload_policy(struct athd *athd)
{
    struct why why = {{0}};

    if (policy_reload(athd->policy, &why) != ATH_OK)
        log_debug("event=reload policy=kept"); /* it has said why, and recorded it */
}

static void
on_signal(uv_signal_t *signal, int number)
{
    struct athd *athd = signal->data;

    if (number == SIGHUP) {
        reload(athd);
        reload_policy(athd);
    } else {
        begin_end(athd);
    }
}

static ath_err
init_handles(struct athd *athd)
{
    size_t i;

    store_queue_init(&athd->stores);
    passphrase_queue_init(&athd->passphrases);
    TAILQ_INIT(&athd->readings.waiting);
    if (deferred_queue_init(&athd->deferred, athd->loop) != ATH_OK ||
        request_table_init(&athd->requests, athd->loop) != ATH_OK ||
        uv_timer_init(athd->loop, &athd->end_timer) != 0)
        return ATH_ERR_NOMEM;
    athd->end_timer.data = athd;
    for (i = 0; i < sizeof(signal_numbers) / sizeof(signal_numbers[0]); i++) {
        if (uv_signal_init(athd->loop, &athd->signals[i]) != 0)
            return ATH_ERR_NOMEM;
        athd->signals[i].data = athd;
    }
    athd->has_handles = true;
    for (i = 0; i < sizeof(signal_numbers) / sizeof(signal_numbers[0]); i++)
        if (uv_signal_start(&athd->signals[i], on_signal, signal_numbers[i]) != 0)
            return ATH_ERR_NOMEM;
    return ATH_OK;
}

/* ---- the beginning ---- */

/* Descriptors for every caller it promises to serve; small heaps for libuv's threads. */
static void
set_limits(struct athd *athd)
{
    rlim_t wanted = athd->config->is_system ? DESCRIPTORS_SYSTEM : DESCRIPTORS;
    struct rlimit limit;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a write that fails, and is told */
    mallopt(M_ARENA_MAX, 1);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            log_warning("event=start reason=few-descriptors");
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        athd->descriptors = limit.rlim_cur < wanted ? (size_t)limit.rlim_cur : (size_t)wanted;
}

static ath_err
start_parts(struct athd *athd, struct why *why)
{
    ath_err err;

    if ((err = state_dir_lock(athd->config->state_dir, why, &athd->state_lock)) != ATH_OK ||
        (err = policy_open(athd, why, &athd->policy)) != ATH_OK ||
        /* before the first helper: helpers and prompters inherit it */
        (err = sandbox_enter(athd->config, why)) != ATH_OK ||
        (err = hsm_pool_new(athd, why, &athd->hsms)) !=
            ATH_OK || /* it numbers the keys that are read */
        (err = audit_budget_init(&athd->audit_budget, athd)) != ATH_OK ||
        (err = audit_log_open(athd, athd->config->state_dir, why, &athd->audit)) != ATH_OK ||
        (err = audit_checkpoints_open(athd, why, &athd->checkpoints)) != ATH_OK ||
        (err = tenants_open(athd, why)) != ATH_OK ||
        (err = audit_flood_init(&athd->flood, athd)) != ATH_OK ||
        (err = clock_watch_init(&athd->clock, athd)) != ATH_OK ||
        (err = consent_new(athd, &athd->consent)) != ATH_OK)
        return err;
    if ((err = lock_watch_open(athd, why, &athd->lock_watch)) != ATH_OK ||
        (err = listener_open(athd, why, &athd->listener)) != ATH_OK)
        return err;
    athd_record_started(athd);
    athd_record_configuration(athd, ATH_OK, NULL);
    policy_record_loaded(athd);
    tenants_start(athd);
    /* last: an athd that cannot start touches no hardware */
    hsm_pool_start(athd->hsms);
    audit_checkpoints_start(athd->checkpoints);
    return ATH_OK;
}

ath_err
athd_start(struct athd *athd, struct config *config, struct why *why)
{
    ath_err err;

    *athd = (struct athd){.config = config, .owner = geteuid(), .state_lock = -1};
    athd->started_ms = clock_monotonic_ms();
    athd->loop = &athd->loop_storage;
    set_limits(athd);
    log_set_level(config->log_level);
    if ((err = crypto_init()) != ATH_OK)
        return why_set(why, err, "OpenSSL cannot be used");
    if (uv_loop_init(athd->loop) != 0 || init_handles(athd) != ATH_OK)
        return why_set(why, ATH_ERR_NOMEM, "the event loop cannot be made");
    if ((err = start_parts(athd, why)) == ATH_OK)
        return ATH_OK;
    athd->ending = true;
    athd->end_at_ms = clock_monotonic_ms();
    uv_timer_start(&athd->end_timer, on_end_step, 0, END_STEP_MS);
    uv_run(athd->loop, UV_RUN_DEFAULT);
    free_parts(athd);
    return err;
}

static void
say_ready(const struct athd *athd)
{
    const char *path = listener_path(athd->listener);
    struct ath_buf line = {0};

    /* not through the log: scripts wait for this line, whatever the log level is */
    ath_buf_printf(&line, "ready socket=%s\n", path[0] == '\0' ? "systemd" : path);
    if (line.err != ATH_OK || fd_write_all(STDERR_FILENO, ath_buf_slice(&line)) != ATH_OK)
        log_debug("event=ready");
    ath_buf_done(&line);
    service_manager_notify("READY=1");
}

int
athd_run(struct athd *athd)
{
    look_for_prompter(athd);
    say_ready(athd);
    uv_run(athd->loop, UV_RUN_DEFAULT);
    free_parts(athd);
    return 0;
}
