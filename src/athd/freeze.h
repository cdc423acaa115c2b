/* The kill switch: keys that sign nothing until they are unfrozen. STATE/frozen.json, so that it
 * survives athd; a file that cannot be read freezes all. */
#ifndef ATHD_FREEZE_H
#define ATHD_FREEZE_H

#include "athd/store.h"
#include "base/json.h"

struct freeze;

#define FREEZE_KEYS_MAX 4096u

/* Reads the file (blocking, start-up). ATH_ERR_NOMEM. */
ath_err freeze_open(struct athd *athd, const char *state_dir, struct why *why,
                    struct freeze **ret_freeze) ATH_MUST_USE;
void freeze_free(struct freeze *freeze);

bool freeze_has(const struct freeze *freeze, const char *key);
/* What unfreezes this frozen key, as a person types it behind `ath unfreeze`: its name, or --all. */
const char *freeze_remedy(const struct freeze *freeze, const char *key);
/* {all, keys} for agent.status. */
void freeze_put(const struct freeze *freeze, struct json_maker *object, const char *name);

/* key NULL: all. Freezing holds from now on and is on disk when done says so; unfreezing holds when
 * it is on disk. ATH_ERR_INVALID_PARAMS (why: one key of a freeze of all), ATH_ERR_LIMIT_EXCEEDED,
 * ATH_ERR_NOMEM: done is not called. */
ath_err freeze_set(struct freeze *freeze, const char *key, struct why *why, store_done_fn *done,
                   void *ctx) ATH_MUST_USE;
ath_err freeze_end(struct freeze *freeze, const char *key, struct why *why, store_done_fn *done,
                   void *ctx) ATH_MUST_USE;

#endif
