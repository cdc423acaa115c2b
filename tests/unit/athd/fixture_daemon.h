/* A daemon's loop and directories without the daemon: what its parts need to be tested one by one.
 */
#ifndef TESTS_FIXTURE_DAEMON_H
#define TESTS_FIXTURE_DAEMON_H

#include "tests/support/support.h"

#include "athd/athd.h"
#include "athd/policy.h"

struct fixture {
    struct athd athd;
    struct config config;
    struct tenant *tenant; /* the owner's */
    uv_timer_t patience;
    char dir[64]; /* a private directory, removed at the end */
};

/* hsm_uri may be NULL. The hsm is called "one", its helper is fake_hsm_helper. */
void fixture_begin(struct fixture *fixture, const char *hsm_uri);
/* Ends the loop and fails if a handle is left in it. */
void fixture_end(struct fixture *fixture);

/* Turns the loop until *flag is at least `count`, and not once more; fails the test when that takes
 * longer than any machine needs. */
void fixture_run_until(struct fixture *fixture, const int *flag, int count);
/* The same, for what no callback tells: until is_so(ctx). */
void fixture_run_until_so(struct fixture *fixture, bool (*is_so)(void *ctx), void *ctx);
/* One turn that does not wait. */
void fixture_turn(struct fixture *fixture);

/* dir/name; valid until the next call. */
const char *fixture_path(const struct fixture *fixture, const char *name);
/* The file's text; the caller frees it. Fails the test if it cannot be read. */
char *fixture_read(const struct fixture *fixture, const char *name);

/* A request of this process, not on any connection, in the daemon's table. Ends by request_finish
 * or request_fail. NULL: an allocation failed. */
struct request *fixture_request(struct fixture *fixture, enum rpc_method_id method);

#endif
