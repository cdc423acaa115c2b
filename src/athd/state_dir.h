/* The state directory: private, and one athd's alone. */
#ifndef ATHD_STATE_DIR_H
#define ATHD_STATE_DIR_H

#include "base/why.h"

/* Makes it where it is missing and locks it (flock(2); the kernel drops the lock however athd
 * ends). *ret_lock is to be kept open. ATH_ERR_IO: it cannot be used, or another athd does. */
ath_err state_dir_lock(const char *path, struct why *why, int *ret_lock) ATH_MUST_USE;

#endif
