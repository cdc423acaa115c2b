#include "athd/audit_tile_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"

#define OLD_MS 600000u        /* a reader of the log is done by then */
#define TEMPORARY ".tmp-tile" /* one writer: one name, replaced after a kill */

static ath_err
fail(struct audit_tile_store *store, const char *what, const char *path)
{
    return why_set(&store->why, ATH_ERR_IO, "cannot %s %s: %s", what, path, strerror(errno));
}

static char *
path_of(const struct audit_tile_store *store, const struct audit_tile *tile)
{
    char name[AUDIT_TILE_MAX_PATH];

    audit_tile_path(tile, name);
    return file_path(store->dir, name);
}

/* The directories between the log's and the tile. */
static ath_err
make_parents(struct audit_tile_store *store, char *path)
{
    char *slash = path + strlen(store->dir);

    while ((slash = strchr(slash + 1, '/')) != NULL) {
        int result;

        *slash = '\0';
        result = mkdir(path, 0700);
        if (result != 0 && errno != EEXIST) {
            ath_err err = fail(store, "make", path);

            *slash = '/';
            return err;
        }
        *slash = '/';
    }
    return ATH_OK;
}

static ath_err
write_temporary(struct audit_tile_store *store, const char *path, bool sync,
                struct ath_slice content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    ath_err err = ATH_OK;

    if (fd < 0)
        return fail(store, "make", path);
    if (fd_write_all(fd, content) != ATH_OK)
        err = fail(store, "write", path);
    else if (sync && fsync(fd) != 0)
        err = fail(store, "sync", path);
    fd_close(&fd);
    return err;
}

/* sync: before it gets its name. */
static ath_err
replace(struct audit_tile_store *store, char *path, bool sync, struct ath_slice content)
{
    char *temporary = file_path(store->dir, TEMPORARY);
    ath_err err = temporary == NULL ? ATH_ERR_NOMEM : ATH_OK;

    if (err == ATH_OK)
        err = write_temporary(store, temporary, sync, content);
    if (err == ATH_OK && rename(temporary, path) != 0) {
        err = errno == ENOENT ? make_parents(store, path) : fail(store, "replace", path);
        if (err == ATH_OK && rename(temporary, path) != 0)
            err = fail(store, "replace", path);
    }
    free(temporary);
    return err;
}

/* "067.p" with all that is in it: the full tile says the same. What cannot be removed does no harm.
 */
static void
remove_partials(const struct audit_tile_store *store, const struct audit_tile *tile)
{
    struct ath_buf path = {.max = 8192};
    char name[AUDIT_TILE_MAX_PATH];
    struct dirent *entry;
    DIR *dir = NULL;

    audit_tile_path(tile, name);
    ath_buf_printf(&path, "%s/%s.p", store->dir, name);
    if (ath_buf_text(&path) == NULL || (dir = opendir((const char *)path.data)) == NULL)
        goto out;
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.' && unlinkat(dirfd(dir), entry->d_name, 0) != 0)
            log_debug("event=audit reason=\"a partial tile stays\"");
    closedir(dir);
    if (rmdir((const char *)path.data) != 0)
        log_debug("event=audit reason=\"a directory of partial tiles stays\"");
out:
    ath_buf_done(&path);
}

static bool
has_partials(const char *full_path)
{
    struct ath_buf path = {.max = 8192};
    bool has;

    ath_buf_printf(&path, "%s.p", full_path);
    has = ath_buf_text(&path) != NULL && access((const char *)path.data, F_OK) == 0;
    ath_buf_done(&path);
    return has;
}

static void
age(struct audit_tile_store *store, const struct audit_tile *filled, const char *path)
{
    uint64_t now_ms = clock_monotonic_ms();
    size_t last;

    while (store->old_count > 0 && now_ms - store->old_since_ms[store->old_first] >= OLD_MS) {
        remove_partials(store, &store->old[store->old_first]);
        store->old_first = (store->old_first + 1) % AUDIT_TILES_OLD_MAX;
        store->old_count--;
    }
    if (store->old_count == AUDIT_TILES_OLD_MAX || !has_partials(path))
        return;
    last = (store->old_first + store->old_count++) % AUDIT_TILES_OLD_MAX;
    store->old[last] = *filled;
    store->old_since_ms[last] = now_ms;
}

ath_err
audit_tile_store_put(void *ctx, const struct audit_tile *tile, const uint8_t *hashes)
{
    struct audit_tile_store *store = ctx;
    char *path;
    ath_err err;

    if (store->unsynced_count == AUDIT_TILES_UNSYNCED_MAX &&
        (err = audit_tile_store_sync(store)) != ATH_OK)
        return err;
    if ((path = path_of(store, tile)) == NULL)
        return ATH_ERR_NOMEM;
    /* a full tile that is lost before a checkpoint stands on it is made again; a partial one is
     * not, when the log has grown meanwhile, and who verifies would find it wrong */
    err = replace(store, path, tile->width < AUDIT_TILE_WIDTH,
                  ath_slice_of(hashes, (size_t)tile->width * SHA256_LEN));
    if (err == ATH_OK)
        store->unsynced[store->unsynced_count++] = *tile;
    if (err == ATH_OK && tile->width == AUDIT_TILE_WIDTH)
        age(store, tile, path);
    free(path);
    return err;
}

/* ---- sync ---- */

static ath_err
sync_path(struct audit_tile_store *store, const char *path, int flags)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | flags);
    ath_err err = ATH_OK;

    if (fd < 0)
        return errno == ENOENT ? ATH_OK : fail(store, "open", path); /* a partial one of before */
    if (fsync(fd) != 0)
        err = fail(store, "sync", path);
    fd_close(&fd);
    return err;
}

/* The tile, and the names that lead to it. */
static ath_err
sync_tile(struct audit_tile_store *store, const struct audit_tile *tile, char **last_dir)
{
    char *path = path_of(store, tile), *slash;
    ath_err err = path == NULL ? ATH_ERR_NOMEM : sync_path(store, path, 0);

    if (err != ATH_OK)
        goto out;
    *strrchr(path, '/') = '\0';
    if (*last_dir != NULL && strcmp(*last_dir, path) == 0)
        goto out;
    free(*last_dir);
    if ((*last_dir = ath_strdup(path)) == NULL)
        err = ATH_ERR_NOMEM;
    while (err == ATH_OK && strlen(path) > strlen(store->dir)) {
        err = sync_path(store, path, O_DIRECTORY);
        if ((slash = strrchr(path, '/')) != NULL)
            *slash = '\0';
    }
    if (err == ATH_OK)
        err = sync_path(store, store->dir, O_DIRECTORY);
out:
    free(path);
    return err;
}

ath_err
audit_tile_store_sync(struct audit_tile_store *store)
{
    char *last_dir = NULL;
    ath_err err = ATH_OK;
    size_t i;

    for (i = 0; i < store->unsynced_count && err == ATH_OK; i++)
        err = sync_tile(store, &store->unsynced[i], &last_dir);
    if (err == ATH_OK)
        store->unsynced_count = 0;
    free(last_dir);
    return err;
}
