/* Where grants' sockets are: a directory for each, in the one beside athd's own socket. */
#ifndef ATHD_GRANT_PLACE_H
#define ATHD_GRANT_PLACE_H

#include <sys/types.h>

#include <stdbool.h>

#include "base/why.h"

struct athd;

/* The path of a grant's socket; its directory is made. In a user's athd nobody else can look into
 * it, in the system's nobody but the uid. is_new: no earlier grant had this very directory, else it
 * is the one that the grant had before athd was started again. *ret_path is the caller's.
 * ATH_ERR_IO (why), ATH_ERR_NOMEM. */
ath_err grant_place_make(const struct athd *athd, uid_t uid, const char *name, bool is_new,
                         struct why *why, char **ret_path) ATH_MUST_USE;
/* Is there room for another grant of who has `own` of them? */
bool grant_place_has_room(const struct athd *athd, size_t own);
/* The socket's directory, if nothing is left in it. */
void grant_place_remove(const char *path);
/* Removes what an athd that is no more left of the uid's grants, if nobody listens there: all but
 * those that `is_kept`. */
void grant_place_sweep(const struct athd *athd, uid_t uid,
                       bool (*is_kept)(void *ctx, const char *name), void *ctx);

#endif
