/* Files that are whole after a kill at any moment. Blocking: for start-up, tools and the helper;
 * the daemon's durable writes go through libuv's thread pool (src/athd/store.c), which calls
 * file_replace there. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/why.h"

/* Reads a regular file of at most out->max bytes. ATH_ERR_NOT_FOUND, ATH_ERR_IO,
 * ATH_ERR_LIMIT_EXCEEDED. Never follows a symlink in the last component. */
ath_err file_read(const char *path, struct ath_buf *out, struct why *why) ATH_MUST_USE;

/* As file_read, of a file that nobody else can have written: it must be ours and not writable by
 * others, else ATH_ERR_IO. */
ath_err file_read_own(const char *path, struct ath_buf *out, struct why *why) ATH_MUST_USE;

/* Writes a temporary file beside path, fsyncs it, renames it over path, fsyncs the directory.
 * Mode 0600. ATH_ERR_IO: the old file is still whole. */
ath_err file_replace(const char *path, struct ath_slice content, struct why *why) ATH_MUST_USE;

/* Removes and fsyncs the directory. ATH_ERR_NOT_FOUND, ATH_ERR_IO. */
ath_err file_remove(const char *path, struct why *why) ATH_MUST_USE;

/* Makes path and its missing parents, new ones 0700. ATH_ERR_IO. The last one must be ours and not
 * writable by others, else ATH_ERR_IO with the reason in why. */
ath_err file_make_private_dir(const char *path, struct why *why) ATH_MUST_USE;

/* Calls each(ctx, name) for every entry that ends in suffix (not hidden), in no order, until it
 * returns an error, which is passed on. It may be no file: reading it says so. ATH_ERR_NOT_FOUND
 * (no such directory), ATH_ERR_IO. */
ath_err file_each(const char *dir, const char *suffix, ath_err (*each)(void *ctx, const char *name),
                  void *ctx, struct why *why) ATH_MUST_USE;

/* Removes the temporary files that a file_replace which was killed left in dir. At start-up only:
 * nobody else may be writing there. ATH_ERR_NOT_FOUND, ATH_ERR_IO. */
ath_err file_remove_temporaries(const char *dir, struct why *why) ATH_MUST_USE;

/* dir + "/" + name on the heap; NULL when out of memory. */
char *file_path(const char *dir, const char *name);

#endif
