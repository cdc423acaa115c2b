#include "base/conf_file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

ath_err
conf_file_check_writers(const char *path, uid_t owner, struct why *why)
{
    struct stat st;

    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return ATH_OK;
    if (st.st_uid != owner && st.st_uid != 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "%s belongs to uid %lu, not to us (uid %lu)",
                       path, (unsigned long)st.st_uid, (unsigned long)owner);
    if ((st.st_mode & S_IWOTH) != 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "everybody may write to %s; chmod o-w it",
                       path);
    return ATH_OK;
}

ath_err
conf_file_check_dir(const char *path, struct why *why)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & S_IWOTH) != 0 &&
        (st.st_mode & S_ISVTX) == 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "everybody may put files into %s; chmod o-w it",
                       path);
    return ATH_OK;
}

ath_err
conf_file_read(const char *path, struct ath_buf *out, struct why *why)
{
    char *target = realpath(path, NULL); /* configuration may well be a symlink */
    ath_err err = file_read(target != NULL ? target : path, out, why);

    free(target);
    if (err == ATH_ERR_LIMIT_EXCEEDED)
        err = why_set(why, ATH_ERR_INVALID_PARAMS, "%s: is longer than %zu bytes", path, out->max);
    return err;
}

/* ---- directories ---- */

struct file_list {
    char *names[CONF_DIR_FILES_MAX];
    size_t count;
};

static ath_err
collect(void *ctx, const char *name)
{
    struct file_list *list = ctx;

    if (list->count == CONF_DIR_FILES_MAX)
        return ATH_ERR_LIMIT_EXCEEDED;
    if ((list->names[list->count] = ath_strdup(name)) == NULL)
        return ATH_ERR_NOMEM;
    list->count++;
    return ATH_OK;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

ath_err
conf_file_each(const char *dir, ath_err (*each)(void *ctx, const char *path, struct why *why),
               void *ctx, struct why *why)
{
    struct file_list list = {{NULL}, 0};
    ath_err err = conf_file_check_dir(dir, why);

    if (err == ATH_OK)
        err = file_each(dir, ".json", collect, &list, why);

    if (err == ATH_ERR_LIMIT_EXCEEDED)
        err = why_set(why, ATH_ERR_INVALID_PARAMS, "%s: there are more than %u files", dir,
                      CONF_DIR_FILES_MAX);
    qsort(list.names, list.count, sizeof(list.names[0]), compare_names);
    for (size_t i = 0; i < list.count && err == ATH_OK; i++) {
        char *path = file_path(dir, list.names[i]);

        err = path == NULL ? ATH_ERR_NOMEM : each(ctx, path, why);
        free(path);
        if (err == ATH_ERR_NOT_FOUND) /* a link that leads nowhere, or it went just now */
            err = ATH_ERR_IO;
    }
    for (size_t i = 0; i < list.count; i++)
        free(list.names[i]);
    return err;
}
