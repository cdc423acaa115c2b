#include "athd/grant_place.h"

#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "athd/athd.h"
#include "athd/grant_table.h"
#include "athd/listener.h"
#include "athd/socket_file.h"
#include "base/file.h"
#include "base/name.h"

#define DIR_NAME "grants"
#define SOCKET_NAME "agent.sock"
#define PATH_MAX_LEN 4096u

/* NULL: out of memory. */
static char *
text_of(struct ath_buf *text)
{
    const char *found = ath_buf_text(text);
    char *copy = found == NULL ? NULL : ath_strdup(found);

    ath_buf_done(text);
    return copy;
}

/* The directory of a uid's grants. */
static ath_err
dir_of(const struct athd *athd, uid_t uid, struct why *why, char **ret_dir)
{
    const char *socket = listener_path(athd->listener), *slash = strrchr(socket, '/');
    struct ath_buf text = {.max = PATH_MAX_LEN};

    if (slash == NULL)
        return why_set(why, ATH_ERR_IO,
                       "athd's own socket is nowhere in the file system, so there is no place for "
                       "those of grants");
    ath_buf_printf(&text, "%.*s/" DIR_NAME, (int)(slash - socket), socket);
    if (athd->config->is_system)
        ath_buf_printf(&text, "/%lu", (unsigned long)uid);
    *ret_dir = text_of(&text);
    return *ret_dir == NULL ? ATH_ERR_NOMEM : ATH_OK;
}

/* In the system's athd everybody walks through to his own: who may connect is asked there, too. */
static ath_err
open_dir(const struct athd *athd, const char *dir, struct why *why)
{
    struct stat st;

    if (!athd->config->is_system || (stat(dir, &st) == 0 && (st.st_mode & 0777) == 0711))
        return ATH_OK;
    return chmod(dir, 0711) == 0
               ? ATH_OK
               : why_set(why, ATH_ERR_IO, "cannot open %s: %s", dir, strerror(errno));
}

#define ACL_ENTRY(tag, perm, id)                                                                   \
    {                                                                                              \
        htole16(tag), htole16(perm), htole32((uint32_t)(id))                                       \
    }
#define ACL_READ_WRITE (ACL_READ | ACL_WRITE | ACL_EXECUTE)

/* A uid's own directory: others neither learn the names of its grants nor get as far as to connect
 * (acl(5); getxattr(2) of "system.posix_acl_access"). Where the file system has no such lists they
 * do get as far, and are refused. */
static ath_err
open_to(const struct athd *athd, const char *dir, uid_t uid, struct why *why)
{
    const struct {
        struct posix_acl_xattr_header header;
        struct posix_acl_xattr_entry entries[5];
    } list = {
        {htole32(POSIX_ACL_XATTR_VERSION)},
        {ACL_ENTRY(ACL_USER_OBJ, ACL_READ_WRITE, ACL_UNDEFINED_ID),
         ACL_ENTRY(ACL_USER, ACL_READ | ACL_EXECUTE, uid),
         ACL_ENTRY(ACL_GROUP_OBJ, 0, ACL_UNDEFINED_ID),
         ACL_ENTRY(ACL_MASK, ACL_READ | ACL_EXECUTE, ACL_UNDEFINED_ID),
         ACL_ENTRY(ACL_OTHER, 0, ACL_UNDEFINED_ID)},
    };

    if (!athd->config->is_system || uid == geteuid() ||
        setxattr(dir, "system.posix_acl_access", &list, sizeof(list), 0) == 0)
        return ATH_OK;
    log_debug("event=grant dir=%s reason=\"no access list: %s\"", dir, strerror(errno));
    return open_dir(athd, dir, why);
}

static ath_err
open_parents(const struct athd *athd, uid_t uid, char *dir, struct why *why)
{
    ath_err err = open_to(athd, dir, uid, why);
    char *slash = strrchr(dir, '/');

    if (err != ATH_OK || !athd->config->is_system)
        return err;
    *slash = '\0';
    err = open_dir(athd, dir, why);
    *slash = '/';
    return err;
}

/* A later grant's is another one: a sandbox may still have the earlier one's mounted, and have left
 * a file in it so that it stays. */
static ath_err
make_dir(const char *dir, bool is_new, struct why *why)
{
    struct stat st;

    if (is_new && rmdir(dir) != 0 && errno != ENOENT)
        return why_set(why, ATH_ERR_IO, "%s is left of an earlier grant, and cannot be removed: %s",
                       dir, strerror(errno));
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return why_set(why, ATH_ERR_IO, "cannot make %s: %s", dir, strerror(errno));
    if (lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 022) != 0)
        return why_set(why, ATH_ERR_IO, "%s is in the way", dir);
    return ATH_OK;
}

ath_err
grant_place_make(const struct athd *athd, uid_t uid, const char *name, bool is_new, struct why *why,
                 char **ret_path)
{
    struct ath_buf text = {.max = PATH_MAX_LEN};
    char *parent = NULL, *dir = NULL, *path = NULL;
    ath_err err;

    if ((err = dir_of(athd, uid, why, &parent)) != ATH_OK ||
        (err = file_make_private_dir(parent, why)) != ATH_OK ||
        (err = open_parents(athd, uid, parent, why)) != ATH_OK)
        goto out;
    ath_buf_printf(&text, "%s/%s/" SOCKET_NAME, parent, name);
    if ((dir = file_path(parent, name)) == NULL || (path = text_of(&text)) == NULL)
        err = ATH_ERR_NOMEM;
    else if ((err = make_dir(dir, is_new, why)) == ATH_OK)
        err = open_dir(athd, dir, why);
    if (err != ATH_OK)
        goto out;
    *ret_path = path;
    path = NULL;
out:
    ath_buf_done(&text);
    free(path);
    free(dir);
    free(parent);
    return err;
}

/* Where athd serves several uids, who has as many grants as there is room left for gets no more. A
 * quarter of the descriptors are for grants, a socket and a pidfd each. */
bool
grant_place_has_room(const struct athd *athd, size_t own)
{
    const struct tenant *tenant;
    size_t max = athd->descriptors / 8, count = 0;

    if (!athd->config->is_system)
        return true;
    SLIST_FOREACH(tenant, &athd->tenants.all, of_athd)
    count += tenant->grants == NULL ? 0 : grant_table_count(tenant->grants);
    return count < max && own < max - count;
}

void
grant_place_remove(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash == NULL ? NULL : ath_slice_dup(ath_slice_of(path, (size_t)(slash - path)));

    if (dir != NULL && rmdir(dir) != 0 && errno != ENOENT)
        log_debug("event=grant dir=%s reason=\"%s\"", dir, strerror(errno));
    free(dir);
}

/* ---- what is left of an earlier athd ---- */

struct sweep {
    const char *dir;
    bool (*is_kept)(void *ctx, const char *name);
    void *ctx;
};

static ath_err
sweep_one(void *ctx, const char *name)
{
    const struct sweep *sweep = ctx;
    struct ath_buf text = {.max = PATH_MAX_LEN};
    struct why why = {{0}};
    char *path;

    if (!name_is_valid(name) || sweep->is_kept(sweep->ctx, name))
        return ATH_OK;
    ath_buf_printf(&text, "%s/%s/" SOCKET_NAME, sweep->dir, name);
    if ((path = text_of(&text)) == NULL)
        return ATH_ERR_NOMEM;
    if (socket_file_clear(path, &why) == ATH_OK)
        grant_place_remove(path);
    else
        log_warning("event=grant reason=\"%s\"", why.text);
    free(path);
    return ATH_OK;
}

void
grant_place_sweep(const struct athd *athd, uid_t uid, bool (*is_kept)(void *ctx, const char *name),
                  void *ctx)
{
    struct sweep sweep = {NULL, is_kept, ctx};
    struct why why = {{0}};
    char *dir = NULL;
    ath_err err = dir_of(athd, uid, &why, &dir);

    sweep.dir = dir;
    if (err == ATH_OK)
        err = file_each(dir, "", sweep_one, &sweep, &why);
    if (err != ATH_OK && err != ATH_ERR_NOT_FOUND && dir != NULL)
        log_warning("event=grant reason=\"%s\"", why_text(&why, err));
    free(dir);
}
