/* An athd without a socket and without hardware: a loop, a state directory, and what writes to it.
 */
#ifndef TESTS_FIXTURE_STORES_H
#define TESTS_FIXTURE_STORES_H

#include "athd/athd.h"
#include "athd/store.h"
#include "tests/support/support.h"

struct stores {
    struct athd athd;
    uv_loop_t loop;
    struct config config;
    struct tenant tenant; /* of no stores */
    char dir[64];
};

/* Never fail: they end the test. stores_end runs the loop out, and checks that nothing is left in
 * it. */
void stores_begin(struct stores *stores);
void stores_end(struct stores *stores);
/* dir/name, valid until the next call. */
const char *stores_path(const struct stores *stores, const char *name);
void stores_write(const struct stores *stores, const char *name, const char *text);
bool stores_has(const struct stores *stores, const char *name);

/* A store_done_fn, and what it was told; stores_wait turns the loop until it was. */
struct store_answer {
    bool has_come;
    ath_err err;
};
void on_store_answer(void *ctx, ath_err err, const struct why *why);
ath_err stores_wait(struct stores *stores, struct store_answer *answer);
/* Until nothing is being written any more, whoever waits for it: as when athd has ended. */
void stores_settle(struct stores *stores);

/* Lets the timer whose data is `owner` fire now. */
void stores_fire_timer(struct stores *stores, const void *owner);

/* A service that is in no store; the caller drops the reference. */
struct service_entry;
struct service_entry *stores_service(const char *name, const char *rules_json);

#endif
