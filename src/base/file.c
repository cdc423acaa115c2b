#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define TEMPORARY_PREFIX ".tmp-"

static ath_err
fail(struct why *why, const char *what, const char *path)
{
    int native = errno;

    return why_set(why, native == ENOENT ? ATH_ERR_NOT_FOUND : ATH_ERR_IO, "%s %s: %s", what, path,
                   strerror(native));
}

/* As fail, where a missing directory is no "there is no such item". */
static ath_err
fail_write(struct why *why, const char *what, const char *path)
{
    return why_set(why, ATH_ERR_IO, "%s %s: %s", what, path, strerror(errno));
}

char *
file_path(const char *dir, const char *name)
{
    struct ath_buf path = {0};
    const char *text;
    char *copy;

    ath_buf_put_string(&path, dir);
    ath_buf_put_byte(&path, '/');
    ath_buf_put_string(&path, name);
    text = ath_buf_text(&path);
    copy = ath_strdup(text);
    ath_buf_done(&path);
    return copy;
}

/* The directory a path lies in, on the heap. */
static char *
parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return ath_strdup(".");
    return ath_slice_dup(ath_slice_of(path, slash == path ? 1 : (size_t)(slash - path)));
}

/* ---- reading ---- */

static ath_err
read_all(int fd, const char *path, struct ath_buf *out, struct why *why)
{
    uint8_t chunk[4096];
    ath_err err = ATH_OK;
    ssize_t n = 0;

    do {
        n = read(fd, chunk, sizeof(chunk));
        if (n > 0)
            ath_buf_put(out, chunk, (size_t)n);
    } while ((n > 0 && out->err == ATH_OK) || (n < 0 && errno == EINTR));
    if (n < 0)
        err = fail_write(why, "cannot read", path);
    else if (out->err != ATH_OK)
        err = why_set(why, out->err, "%s: %s", path, ath_err_sentence(out->err));
    explicit_bzero(chunk, sizeof(chunk));
    return err;
}

static ath_err
check_own(const struct stat *st, const char *path, struct why *why)
{
    if (st->st_uid != geteuid())
        return why_set(why, ATH_ERR_IO, "%s belongs to uid %u, not to us (uid %u)", path,
                       (unsigned)st->st_uid, (unsigned)geteuid());
    if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return why_set(why, ATH_ERR_IO, "others may write to %s; chmod go-w it", path);
    return ATH_OK;
}

static ath_err
read_file(const char *path, bool own, struct ath_buf *out, struct why *why)
{
    struct stat st;
    ath_err err;
    int fd;

    /* O_NONBLOCK: opening a FIFO must not wait for its other end */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail(why, "cannot open", path);
    if (fstat(fd, &st) != 0)
        err = fail_write(why, "cannot read", path);
    else if (!S_ISREG(st.st_mode))
        err = why_set(why, ATH_ERR_IO, "%s is not a regular file", path);
    else if (!own || (err = check_own(&st, path, why)) == ATH_OK)
        err = read_all(fd, path, out, why);
    fd_close(&fd);
    return err;
}

ath_err
file_read(const char *path, struct ath_buf *out, struct why *why)
{
    return read_file(path, false, out, why);
}

ath_err
file_read_own(const char *path, struct ath_buf *out, struct why *why)
{
    return read_file(path, true, out, why);
}

/* ---- writing ---- */

static ath_err
sync_dir(const char *dir, struct why *why)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ath_err err = ATH_OK;

    if (fd < 0)
        return fail_write(why, "cannot open", dir);
    if (fsync(fd) != 0)
        err = fail_write(why, "cannot sync", dir);
    fd_close(&fd);
    return err;
}

/* Content into a new file, on disk before its name is used. */
static ath_err
write_temporary(int fd, const char *path, struct ath_slice content, struct why *why)
{
    if (fchmod(fd, 0600) != 0 || fd_write_all(fd, content) != ATH_OK || fsync(fd) != 0)
        return fail_write(why, "cannot write", path);
    return ATH_OK;
}

ath_err
file_replace(const char *path, struct ath_slice content, struct why *why)
{
    char *dir = parent_of(path), *temporary = NULL;
    ath_err err = ATH_ERR_NOMEM;
    int fd = -1;

    if (dir == NULL || (temporary = file_path(dir, TEMPORARY_PREFIX "XXXXXX")) == NULL)
        goto out;
    if ((fd = mkostemp(temporary, O_CLOEXEC)) < 0) {
        err = fail_write(why, "cannot make a file beside", path);
        goto out;
    }
    if ((err = write_temporary(fd, path, content, why)) == ATH_OK && rename(temporary, path) != 0)
        err = fail_write(why, "cannot replace", path);
    if (err != ATH_OK) {
        unlink(temporary);
        goto out;
    }
    err = sync_dir(dir, why);
out:
    fd_close(&fd);
    free(temporary);
    free(dir);
    return err;
}

ath_err
file_remove(const char *path, struct why *why)
{
    char *dir = parent_of(path);
    ath_err err;

    if (dir == NULL)
        return ATH_ERR_NOMEM;
    if (unlink(path) != 0)
        err = fail(why, "cannot remove", path);
    else
        err = sync_dir(dir, why);
    free(dir);
    return err;
}

/* ---- directories ---- */

/* Makes one directory; it is fine if it is there. */
static ath_err
make_dir(const char *path, struct why *why)
{
    struct stat st;
    char *parent;
    ath_err err;

    /* first stat: a sandbox or read-only mount may refuse mkdir even of what exists */
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return ATH_OK;
    if (mkdir(path, 0700) != 0)
        return errno == EEXIST ? ATH_OK : fail_write(why, "cannot make", path);
    if ((parent = parent_of(path)) == NULL)
        return ATH_ERR_NOMEM;
    err = sync_dir(parent, why);
    free(parent);
    return err;
}

static ath_err
check_private(const char *path, struct why *why)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return fail_write(why, "cannot read", path);
    if (!S_ISDIR(st.st_mode))
        return why_set(why, ATH_ERR_IO, "%s is not a directory", path);
    return check_own(&st, path, why);
}

ath_err
file_make_private_dir(const char *path, struct why *why)
{
    char *copy = ath_strdup(path), *slash;
    ath_err err = ATH_OK;

    if (copy == NULL)
        return ATH_ERR_NOMEM;
    slash = copy;
    while (err == ATH_OK && *slash != '\0' && (slash = strchr(slash + 1, '/')) != NULL) {
        *slash = '\0';
        err = make_dir(copy, why);
        *slash = '/';
    }
    if (err == ATH_OK)
        err = make_dir(path, why);
    if (err == ATH_OK)
        err = check_private(path, why);
    free(copy);
    return err;
}

static bool
has_suffix(const char *name, const char *suffix)
{
    size_t len = strlen(name), suffix_len = strlen(suffix);

    return len >= suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

ath_err
file_each(const char *path, const char *suffix, ath_err (*each)(void *ctx, const char *name),
          void *ctx, struct why *why)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    ath_err err = ATH_OK;

    if (dir == NULL)
        return fail(why, "cannot open", path);
    while (err == ATH_OK && (errno = 0, entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' || !has_suffix(entry->d_name, suffix))
            continue;
        err = each(ctx, entry->d_name);
    }
    if (err == ATH_OK && errno != 0)
        err = fail_write(why, "cannot read", path);
    closedir(dir);
    return err;
}

ath_err
file_remove_temporaries(const char *path, struct why *why)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    ath_err err = ATH_OK;

    if (dir == NULL)
        return fail(why, "cannot open", path);
    while (err == ATH_OK && (entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, TEMPORARY_PREFIX, strlen(TEMPORARY_PREFIX)) == 0 &&
            unlinkat(dirfd(dir), entry->d_name, 0) != 0)
            err = fail_write(why, "cannot remove a left-over file in", path);
    closedir(dir);
    return err;
}
