/* Reading a directory of state at start-up: one JSON object a file. Blocking. */
#ifndef ATHD_STORE_LOAD_H
#define ATHD_STORE_LOAD_H

#include "base/json.h"

struct athd;

#define STORE_FILE_MAX (1024u * 1024u)

/* What a store does with DIR/STEM.json. ATH_ERR_NOMEM ends the reading; any other error means that
 * this file is damaged, with why. */
typedef ath_err store_each_fn(void *ctx, const char *stem, const struct json *object,
                              struct why *why);
typedef void store_damaged_fn(void *ctx, const char *stem);

/* Makes the directory if it is missing, removes what a killed write left, gives each file to
 * `each`. A damaged file is noted in athd->damage, kept, given to `damaged` (may be NULL), and
 * holds up nothing else. ATH_ERR_IO, ATH_ERR_NOMEM with why. */
ath_err store_load(struct athd *athd, const char *dir, store_each_fn *each,
                   store_damaged_fn *damaged, void *ctx, struct why *why) ATH_MUST_USE;

/* JSON text for a file: pretty, ends with LF. */
ath_err store_file_text(const struct json *object, struct ath_buf *out) ATH_MUST_USE;

/* "dir/stem" and suffix on the heap; NULL when out of memory. */
char *store_file_path(const char *dir, const char *stem, const char *suffix);

#endif
