#include "policy/policy_files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

struct file_list {
    char *names[POLICY_FILES_MAX];
    size_t count;
};

static ath_err
collect(void *ctx, const char *name)
{
    struct file_list *list = ctx;

    if (list->count == POLICY_FILES_MAX)
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

/* Whoever writes the file says who may sign. A group may, as with athd.json: with an umask of 002
 * each user's own group may write to everything. */
static ath_err
check_writers(const char *path, uid_t owner, struct why *why)
{
    struct stat st;

    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return ATH_OK; /* reading it says why not */
    if (st.st_uid != owner && st.st_uid != 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "%s belongs to uid %lu, not to us (uid %lu)",
                       path, (unsigned long)st.st_uid, (unsigned long)owner);
    if ((st.st_mode & S_IWOTH) != 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "everybody may write to %s; chmod o-w it",
                       path);
    return ATH_OK;
}

static ath_err
add_file(struct policy_rules *rules, const char *path, struct why *why)
{
    struct ath_buf text = {.max = POLICY_FILE_MAX};
    char *target = realpath(path, NULL); /* configuration may well be a symlink */
    ath_err err = file_read(target != NULL ? target : path, &text, why);

    free(target);
    if (err == ATH_ERR_LIMIT_EXCEEDED)
        err = why_set(why, ATH_ERR_INVALID_PARAMS, "%s: is longer than %u bytes", path,
                      POLICY_FILE_MAX);
    if (err == ATH_OK)
        err = policy_rules_add(rules, ath_buf_slice(&text), path, why);
    ath_buf_done(&text);
    return err;
}

static ath_err
add_checked(struct policy_rules *rules, const char *path, struct why *why)
{
    ath_err err = check_writers(path, rules->owner, why);

    return err != ATH_OK ? err : add_file(rules, path, why);
}

static ath_err
add_directory(struct policy_rules *rules, const char *dir, struct why *why)
{
    struct file_list list = {{NULL}, 0};
    ath_err err = file_each(dir, ".json", collect, &list, why);

    if (err == ATH_ERR_LIMIT_EXCEEDED)
        err = why_set(why, ATH_ERR_INVALID_PARAMS, "%s: there are more than %u files", dir,
                      POLICY_FILES_MAX);
    qsort(list.names, list.count, sizeof(list.names[0]), compare_names);
    for (size_t i = 0; i < list.count && err == ATH_OK; i++) {
        char *path = file_path(dir, list.names[i]);

        err = path == NULL ? ATH_ERR_NOMEM : add_checked(rules, path, why);
        free(path);
        if (err == ATH_ERR_NOT_FOUND) /* a link that leads nowhere, or it went just now */
            err = ATH_ERR_IO;
    }
    for (size_t i = 0; i < list.count; i++)
        free(list.names[i]);
    return err;
}

static ath_err
add_all(struct policy_rules *rules, const char *dir, struct why *why)
{
    char *file = file_path(dir, "policy.json"), *parts = file_path(dir, "policy.d");
    ath_err err = file == NULL || parts == NULL ? ATH_ERR_NOMEM : add_checked(rules, file, why);

    if (err == ATH_OK || err == ATH_ERR_NOT_FOUND)
        err = add_directory(rules, parts, why);
    free(parts);
    free(file);
    if (err == ATH_OK || err == ATH_ERR_NOT_FOUND)
        err = rules->file_count == 0 ? ATH_ERR_NOT_FOUND : ATH_OK;
    return err;
}

static ath_err
finish(struct policy_rules *rules, ath_err err, struct policy_rules **ret_rules)
{
    if (err == ATH_OK)
        err = policy_rules_index(rules);
    if (err == ATH_OK)
        *ret_rules = rules;
    else
        policy_rules_free(rules);
    return err;
}

ath_err
policy_files_read(const char *dir, uid_t owner, struct why *why, struct policy_rules **ret_rules)
{
    struct policy_rules *rules = policy_rules_new(owner);

    return rules == NULL ? ATH_ERR_NOMEM : finish(rules, add_all(rules, dir, why), ret_rules);
}

ath_err
policy_files_read_at(const char *path, uid_t owner, struct why *why,
                     struct policy_rules **ret_rules)
{
    struct policy_rules *rules;
    struct stat st;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return policy_files_read(path, owner, why, ret_rules);
    if ((rules = policy_rules_new(owner)) == NULL)
        return ATH_ERR_NOMEM;
    return finish(rules, add_file(rules, path, why), ret_rules);
}
