#include "hsm/hsm_watchdog.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

struct hsm_watchdog {
    pthread_t thread;
    int fd; /* borrowed */
    int hurry_fd, stop_fd;
    unsigned patience_ms;
};

/* Until the other end hangs up, or there is another reason to hurry. False: stopped before. */
static bool
wait_for_reason(const struct hsm_watchdog *watchdog)
{
    struct pollfd items[] = {{.fd = watchdog->fd, .events = POLLRDHUP},
                             {.fd = watchdog->hurry_fd, .events = POLLIN},
                             {.fd = watchdog->stop_fd, .events = POLLIN}};

    while (poll(items, 3, -1) < 0 && errno == EINTR)
        ;
    return items[2].revents == 0;
}

static bool
is_stopped_within(const struct hsm_watchdog *watchdog, unsigned patience_ms)
{
    struct pollfd item = {.fd = watchdog->stop_fd, .events = POLLIN};
    uint64_t ends_at = clock_monotonic_ms() + patience_ms, now;

    while ((now = clock_monotonic_ms()) < ends_at)
        if (poll(&item, 1, (int)(ends_at - now)) > 0)
            return true;
    return false;
}

static void *
watch(void *arg)
{
    const struct hsm_watchdog *watchdog = arg;

    if (wait_for_reason(watchdog) && !is_stopped_within(watchdog, watchdog->patience_ms)) {
        log_error("event=helper_ends reason=\"the module does not come back\"");
        _exit(ath_err_exit_status(ATH_ERR_HSM_UNAVAILABLE));
    }
    return NULL;
}

static void
release(struct hsm_watchdog *watchdog)
{
    fd_close(&watchdog->hurry_fd);
    fd_close(&watchdog->stop_fd);
    free(watchdog);
}

ath_err
hsm_watchdog_new(int fd, unsigned patience_ms, struct hsm_watchdog **ret_watchdog)
{
    struct hsm_watchdog *watchdog = calloc(1, sizeof(*watchdog));

    if (watchdog == NULL)
        return ATH_ERR_NOMEM;
    watchdog->fd = fd;
    watchdog->patience_ms = patience_ms;
    watchdog->hurry_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watchdog->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watchdog->hurry_fd < 0 || watchdog->stop_fd < 0 ||
        pthread_create(&watchdog->thread, NULL, watch, watchdog) != 0) {
        release(watchdog);
        return ATH_ERR_NOMEM;
    }
    *ret_watchdog = watchdog;
    return ATH_OK;
}

void
hsm_watchdog_hurry(struct hsm_watchdog *watchdog)
{
    if (watchdog != NULL)
        (void)eventfd_write(watchdog->hurry_fd, 1);
}

void
hsm_watchdog_free(struct hsm_watchdog *watchdog)
{
    if (watchdog == NULL)
        return;
    (void)eventfd_write(watchdog->stop_fd, 1);
    (void)pthread_join(watchdog->thread, NULL);
    release(watchdog);
}
