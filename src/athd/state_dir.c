#include "athd/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base/fd.h"
#include "base/file.h"

ath_err
state_dir_lock(const char *path, struct why *why, int *ret_lock)
{
    char *lock_path;
    ath_err err;
    int fd;

    if ((err = file_make_private_dir(path, why)) != ATH_OK)
        return err;
    if ((lock_path = file_path(path, "lock")) == NULL)
        return ATH_ERR_NOMEM;
    fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        err = why_set(why, ATH_ERR_IO, "cannot open %s: %s", lock_path, strerror(errno));
    else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        err = errno == EWOULDBLOCK
                  ? why_set(why, ATH_ERR_IO, "another athd uses the state directory %s", path)
                  : why_set(why, ATH_ERR_IO, "cannot lock %s: %s", lock_path, strerror(errno));
    free(lock_path);
    if (err != ATH_OK)
        fd_close(&fd);
    else
        *ret_lock = fd;
    return err;
}
