/* Files of configuration, which a person writes, and which say what is done in somebody's name.
 * Blocking: for start-up, SIGHUP and tools. */
#ifndef BASE_CONF_FILE_H
#define BASE_CONF_FILE_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/why.h"

#define CONF_DIR_FILES_MAX 64u

/* Is it owner's or root's, and not writable by everybody? A group may write to it: with an umask
 * of 002 each user's own group may write to everything. ATH_ERR_INVALID_PARAMS; ATH_OK also where
 * there is no such file: reading it says why not. */
ath_err conf_file_check_writers(const char *path, uid_t owner, struct why *why) ATH_MUST_USE;

/* May not everybody remove or replace the files in it? ATH_ERR_INVALID_PARAMS; ATH_OK also where
 * there is no such directory. */
ath_err conf_file_check_dir(const char *path, struct why *why) ATH_MUST_USE;

/* As file_read, through symlinks. ATH_ERR_INVALID_PARAMS: it is longer than out->max. */
ath_err conf_file_read(const char *path, struct ath_buf *out, struct why *why) ATH_MUST_USE;

/* Calls each(ctx, path, why) for every .json file of dir, in the order of their names, until it
 * returns an error, which is passed on. ATH_ERR_NOT_FOUND: there is no such directory, never that a
 * file in it was not there (ATH_ERR_IO). ATH_ERR_INVALID_PARAMS: more than CONF_DIR_FILES_MAX, or
 * conf_file_check_dir.
 * ATH_ERR_NOMEM. */
ath_err conf_file_each(const char *dir,
                       ath_err (*each)(void *ctx, const char *path, struct why *why), void *ctx,
                       struct why *why) ATH_MUST_USE;

#endif
