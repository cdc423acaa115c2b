#include "athd/lock_watch.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "athd/athd.h"
#include "athd/child.h"
#include "athd/lock.h"
#include "athd/lock_watch_line.h"
#include "base/clock.h"
#include "base/fd.h"

#define RESTART_MS 1000u
#define RESTART_MAX_MS 60000u
#define GOOD_LIFE_MS 60000u /* one that lived so long did not fail at its start */

/* One run of the program. */
struct life {
    struct lock_watch *watch;
    struct child *child; /* NULL once it has ended */
    uv_pipe_t to, from;  /* its standard input and output */
    unsigned open_handles;
    bool is_closing;
    uint64_t began_ms;
    char line[LOCK_WATCH_LINE_MAX];
    size_t line_len;
};

struct lock_watch {
    struct athd *athd;
    struct life *life; /* NULL: it waits to be started again */
    uv_timer_t restart;
    unsigned failures;
    bool is_watching;
    unsigned locks_pending; /* of tenants, being written down before sleep */
    bool is_sleep_waiting;
    void (*closed)(void *ctx); /* athd ends */
    void *closed_ctx;
    bool is_timer_closed;
};

static void start(struct lock_watch *watch);

/* ---- its end ---- */

static void
finish_close(struct lock_watch *watch)
{
    void (*closed)(void *) = watch->closed;

    if (closed == NULL || watch->life != NULL || !watch->is_timer_closed)
        return;
    watch->closed = NULL;
    closed(watch->closed_ctx);
}

static uint64_t
restart_after_ms(const struct lock_watch *watch)
{
    unsigned doublings = watch->failures > 6 ? 6 : watch->failures - 1;
    uint64_t wait_ms = (uint64_t)RESTART_MS << doublings;

    return wait_ms > RESTART_MAX_MS ? RESTART_MAX_MS : wait_ms;
}

static void
on_restart(uv_timer_t *timer)
{
    start(timer->data);
}

static void
wait_for_restart(struct lock_watch *watch, const char *reason)
{
    watch->failures++;
    if (watch->failures == 1)
        log_warning("event=lock-watch reason=\"%s; until it runs again, sleep and locked sessions "
                    "do not lock athd\"",
                    reason);
    uv_timer_start(&watch->restart, on_restart, restart_after_ms(watch), 0);
}

static void
finish_if_gone(struct life *life)
{
    struct lock_watch *watch = life->watch;
    uint64_t lived_ms = clock_monotonic_ms() - life->began_ms;

    if (life->child != NULL || life->open_handles > 0)
        return;
    free(life);
    watch->life = NULL;
    watch->is_watching = watch->is_sleep_waiting = false;
    if (watch->closed != NULL) {
        finish_close(watch);
        return;
    }
    if (lived_ms >= GOOD_LIFE_MS)
        watch->failures = 0;
    wait_for_restart(watch, "ath-logind-watch has ended");
}

static void
on_closed(uv_handle_t *handle)
{
    struct life *life = handle->data;

    life->open_handles--;
    finish_if_gone(life);
}

static void
close_pipes(struct life *life)
{
    if (life->is_closing)
        return;
    life->is_closing = true;
    uv_close((uv_handle_t *)&life->to, on_closed);
    uv_close((uv_handle_t *)&life->from, on_closed);
}

static void
on_child_ended(void *ctx)
{
    struct life *life = ctx;

    life->child = NULL;
    close_pipes(life);
    finish_if_gone(life);
}

/* It has nothing to put in order: at once. */
static void
end_life(struct life *life)
{
    if (life->child != NULL)
        child_kill(life->child, SIGKILL);
    close_pipes(life);
}

/* ---- what it says ---- */

static void
let_sleep(struct lock_watch *watch)
{
    static char answer[] = "locked\n";
    uv_buf_t buf = uv_buf_init(answer, sizeof(answer) - 1);

    if (!watch->is_sleep_waiting || watch->locks_pending > 0)
        return;
    watch->is_sleep_waiting = false;
    /* into an empty pipe; logind waits some seconds only, whatever becomes of it */
    if (uv_try_write((uv_stream_t *)&watch->life->to, &buf, 1) < 0)
        log_debug("event=lock-watch reason=no-answer");
}

/* One that could not be written down holds nevertheless, until athd ends. */
static void
on_written(void *ctx, ath_err err, const struct why *why)
{
    struct lock_watch *watch = ctx;

    if (err != ATH_OK)
        log_error("event=locked reason=\"it could not be written down: %s\"", why_text(why, err));
    watch->locks_pending--;
    let_sleep(watch);
}

static void
lock_all(struct lock_watch *watch)
{
    struct tenant *tenant;

    watch->is_sleep_waiting = true;
    watch->locks_pending++; /* so that none of these is the last */
    SLIST_FOREACH(tenant, &watch->athd->tenants.all, of_athd)
    {
        watch->locks_pending++;
        lock_add(tenant->lock, LOCK_BY_SUSPEND, on_written, watch);
    }
    watch->locks_pending--;
    let_sleep(watch);
}

static struct tenant *
tenant_of(struct athd *athd, uid_t uid)
{
    struct tenant *tenant;

    SLIST_FOREACH(tenant, &athd->tenants.all, of_athd)
    if (tenant->uid == uid)
        return tenant;
    return NULL;
}

/* Sessions of uids that have nothing here are nothing to us. */
static void
take_session(struct athd *athd, uid_t uid, bool is_locked)
{
    struct tenant *tenant = tenant_of(athd, uid);

    if (tenant != NULL && is_locked)
        lock_add(tenant->lock, LOCK_BY_SESSION, NULL, NULL);
    else if (tenant != NULL)
        lock_end(tenant->lock, LOCK_BY_SESSION, lock_count(tenant->lock), NULL, NULL, NULL);
}

/* Only what it was told to watch. */
static bool
is_asked_for(const struct lock_watch *watch, enum lock_watch_event event)
{
    unsigned lock_on = watch->athd->config->lock_on;

    switch (event) {
    case LOCK_WATCH_READY:
        return true;
    case LOCK_WATCH_SLEEP:
    case LOCK_WATCH_WAKE:
        return (lock_on & CONFIG_LOCK_ON_SUSPEND) != 0;
    case LOCK_WATCH_LOCK:
    case LOCK_WATCH_UNLOCK:
        return (lock_on & CONFIG_LOCK_ON_SESSION) != 0;
    }
    return false;
}

static ath_err
take_line(struct lock_watch *watch, struct ath_slice line)
{
    enum lock_watch_event event;
    uid_t uid = 0;

    if (lock_watch_line_decode(line, &event, &uid) != ATH_OK || !is_asked_for(watch, event))
        return ATH_ERR_PARSE;
    switch (event) {
    case LOCK_WATCH_READY:
        watch->is_watching = true;
        log_info("event=lock-watch state=watching");
        break;
    case LOCK_WATCH_SLEEP:
        lock_all(watch);
        break;
    case LOCK_WATCH_WAKE:
        break;
    case LOCK_WATCH_LOCK:
    case LOCK_WATCH_UNLOCK:
        take_session(watch->athd, uid, event == LOCK_WATCH_LOCK);
        break;
    }
    return ATH_OK;
}

static ath_err
take_bytes(struct life *life, struct ath_slice bytes)
{
    ath_err err = ATH_OK;

    for (size_t i = 0; i < bytes.len && err == ATH_OK; i++) {
        if (bytes.data[i] == '\n') {
            err = take_line(life->watch, ath_slice_of(life->line, life->line_len));
            life->line_len = 0;
        } else if (life->line_len == sizeof(life->line)) {
            err = ATH_ERR_LIMIT_EXCEEDED;
        } else {
            life->line[life->line_len++] = (char)bytes.data[i];
        }
    }
    return err;
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    static char chunk[256]; /* one for all: on_read uses it up at once */

    (void)handle;
    (void)suggested;
    *ret_buf = uv_buf_init(chunk, sizeof(chunk));
}

static void
on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct life *life = stream->data;

    if (len == 0)
        return;
    if (len > 0 && take_bytes(life, ath_slice_of(buf->base, (size_t)len)) == ATH_OK)
        return;
    if (len > 0)
        log_error("event=lock-watch reason=\"what ath-logind-watch says makes no sense\"");
    end_life(life);
}

/* ---- its beginning ---- */

static ath_err
start_child(struct life *life, int input, int output)
{
    const struct config *config = life->watch->athd->config;
    const char *arguments[6] = {config->logind_watch};
    struct spawn_params params = {
        .program = config->logind_watch, .environment = environ, .input = input, .output = output};
    size_t count = 1;
    char uid[16];

    snprintf(uid, sizeof(uid), "%lu", (unsigned long)life->watch->athd->owner);
    if ((config->lock_on & CONFIG_LOCK_ON_SUSPEND) != 0)
        arguments[count++] = "--sleep";
    if ((config->lock_on & CONFIG_LOCK_ON_SESSION) != 0)
        arguments[count++] = "--sessions";
    if (!config->is_system) {
        arguments[count++] = "--uid";
        arguments[count++] = uid;
    }
    arguments[count] = NULL;
    params.arguments = (char *const *)(uintptr_t)arguments; /* execve(2) does not change them */
    return child_start(life->watch->athd->loop, &params, on_child_ended, life, &life->child);
}

static ath_err
open_pipes(struct life *life, int *to_fd, int *from_fd)
{
    if (uv_pipe_open(&life->to, *to_fd) != 0)
        return ATH_ERR_IO;
    *to_fd = -1;
    if (uv_pipe_open(&life->from, *from_fd) != 0)
        return ATH_ERR_IO;
    *from_fd = -1;
    return uv_read_start((uv_stream_t *)&life->from, on_alloc, on_read) == 0 ? ATH_OK : ATH_ERR_IO;
}

static struct life *
life_new(struct lock_watch *watch)
{
    struct life *life = calloc(1, sizeof(*life));

    if (life == NULL)
        return NULL;
    /* these only fill the handles in (libuv 1.44) */
    (void)uv_pipe_init(watch->athd->loop, &life->to, 0);
    (void)uv_pipe_init(watch->athd->loop, &life->from, 0);
    life->to.data = life->from.data = life;
    life->open_handles = 2;
    life->watch = watch;
    life->began_ms = clock_monotonic_ms();
    return life;
}

static void
start(struct lock_watch *watch)
{
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    struct life *life = life_new(watch);

    if (life == NULL) {
        wait_for_restart(watch, "there is no memory to start ath-logind-watch");
        return;
    }
    watch->life = life;
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0 ||
        open_pipes(life, &to[1], &from[0]) != ATH_OK || start_child(life, to[0], from[1]) != ATH_OK)
        end_life(life); /* and the next one later */
    fd_close(&to[0]);
    fd_close(&to[1]);
    fd_close(&from[0]);
    fd_close(&from[1]);
}

ath_err
lock_watch_open(struct athd *athd, struct why *why, struct lock_watch **ret_watch)
{
    struct lock_watch *watch;
    ath_err err;

    *ret_watch = NULL;
    if (athd->config->lock_on == 0)
        return ATH_OK;
    if ((err = config_check_logind_watch(athd->config, why)) != ATH_OK)
        return err;
    if ((watch = calloc(1, sizeof(*watch))) == NULL)
        return ATH_ERR_NOMEM;
    watch->athd = athd;
    (void)uv_timer_init(athd->loop, &watch->restart); /* only fills the handle in (libuv 1.44) */
    watch->restart.data = watch;
    *ret_watch = watch;
    start(watch);
    return ATH_OK;
}

static void
on_timer_closed(uv_handle_t *handle)
{
    struct lock_watch *watch = handle->data;

    watch->is_timer_closed = true;
    finish_close(watch);
}

void
lock_watch_close(struct lock_watch *watch, void (*closed)(void *ctx), void *ctx)
{
    if (watch == NULL) {
        closed(ctx);
        return;
    }
    watch->closed = closed;
    watch->closed_ctx = ctx;
    uv_close((uv_handle_t *)&watch->restart, on_timer_closed);
    if (watch->life != NULL)
        end_life(watch->life);
}

void
lock_watch_free(struct lock_watch *watch)
{
    free(watch);
}

void
lock_watch_put_status(const struct lock_watch *watch, struct json_maker *object)
{
    struct json_maker status;
    unsigned lock_on;

    if (watch == NULL)
        return;
    lock_on = watch->athd->config->lock_on;
    json_object_begin(&status);
    json_put_bool(&status, "suspend", (lock_on & CONFIG_LOCK_ON_SUSPEND) != 0);
    json_put_bool(&status, "session", (lock_on & CONFIG_LOCK_ON_SESSION) != 0);
    json_put_bool(&status, "watching", watch->is_watching);
    json_put_maker(object, "lock_on", &status);
}
