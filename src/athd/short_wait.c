#include "athd/short_wait.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/fd.h"

#define US_A_SECOND 1000000u

struct short_wait {
    uv_poll_t poll;
    int fd;
    bool is_under_way;
    void (*over)(void *ctx);
    void *ctx;
};

static void
on_expired(uv_poll_t *poll, int status, int events)
{
    struct short_wait *wait = poll->data;
    uint64_t times;

    (void)status;
    (void)events;
    if (read(wait->fd, &times, sizeof(times)) != (ssize_t)sizeof(times) || !wait->is_under_way)
        return; /* one that was ended or replaced meanwhile */
    wait->is_under_way = false;
    wait->over(wait->ctx);
}

ath_err
short_wait_new(uv_loop_t *loop, void (*over)(void *ctx), void *ctx, struct short_wait **ret_wait)
{
    struct short_wait *wait = calloc(1, sizeof(*wait));

    if (wait == NULL)
        return ATH_ERR_NOMEM;
    wait->over = over;
    wait->ctx = ctx;
    wait->poll.data = wait;
    wait->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (wait->fd < 0 || uv_poll_init(loop, &wait->poll, wait->fd) != 0) {
        fd_close(&wait->fd);
        free(wait);
        return ATH_ERR_NOMEM;
    }
    /* cannot fail for an open handle and a descriptor that epoll(7) knows */
    (void)uv_poll_start(&wait->poll, UV_READABLE, on_expired);
    uv_unref((uv_handle_t *)&wait->poll); /* a loop that has nothing else to do ends */
    *ret_wait = wait;
    return ATH_OK;
}

static void
on_closed(uv_handle_t *handle)
{
    struct short_wait *wait = handle->data;

    fd_close(&wait->fd);
    free(wait);
}

void
short_wait_free(struct short_wait *wait)
{
    if (wait != NULL)
        uv_close((uv_handle_t *)&wait->poll, on_closed);
}

void
short_wait_begin(struct short_wait *wait, uint64_t us)
{
    const struct itimerspec when = {.it_value = {.tv_sec = (time_t)(us / US_A_SECOND),
                                                 .tv_nsec = (long)(us % US_A_SECOND) * 1000}};

    wait->is_under_way = true;
    /* cannot fail for a timer's descriptor and a time in range; a setting that has expired and was
     * not read yet is taken back by it */
    (void)timerfd_settime(wait->fd, 0, &when, NULL);
}

void
short_wait_end(struct short_wait *wait)
{
    wait->is_under_way = false;
}
