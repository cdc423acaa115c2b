/*
 * Which (kid, jti) were used, until their exp, across restarts: durable before the answer (profile
 * section 1: replay is judged by these two). Append-only files, one for a span of expiry times, so
 * that a file is removed whole when all in it has expired; written and synced in groups.
 */
#ifndef ATHD_REPLAY_STORE_H
#define ATHD_REPLAY_STORE_H

#include "athd/store.h"

struct athd;
struct replay_store;

/* Reads the directory (blocking, start-up), cuts torn last lines, removes what has expired. Lines
 * and files that cannot be read are noted in athd->damage and left where they are; after such a
 * file replay_store_use gives ATH_ERR_IO, since nothing is known to be new. */
ath_err replay_store_open(struct athd *athd, const char *dir, struct why *why,
                          struct replay_store **ret_store) ATH_MUST_USE;
void
replay_store_free(struct replay_store *store); /* waits for nothing: call when the loop has ended */

/* Remembers the use; done says when it is on disk (ATH_OK), or ATH_ERR_IO: then it is not
 * remembered. ATH_ERR_REPLAYED, ATH_ERR_LIMIT_EXCEEDED (1,000,000 live ones), ATH_ERR_NOMEM,
 * ATH_ERR_CRYPTO: done is not called. */
ath_err replay_store_use(struct replay_store *store, const char *kid, const char *jti,
                         int64_t expires_at, store_done_fn *done, void *ctx) ATH_MUST_USE;
size_t replay_store_count(const struct replay_store *store);
size_t replay_store_max(const struct replay_store *store); /* live ones it takes */

#endif
