#include "policy/policy_files.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/conf_file.h"
#include "base/file.h"

static ath_err
add_file(struct policy_rules *rules, const char *path, struct why *why)
{
    struct ath_buf text = {.max = POLICY_FILE_MAX};
    ath_err err = conf_file_read(path, &text, why);

    if (err == ATH_OK)
        err = policy_rules_add(rules, ath_buf_slice(&text), path, why);
    ath_buf_done(&text);
    return err;
}

static ath_err
add_checked(void *ctx, const char *path, struct why *why)
{
    struct policy_rules *rules = ctx;
    ath_err err = conf_file_check_writers(path, rules->owner, why);

    return err != ATH_OK ? err : add_file(rules, path, why);
}

static ath_err
add_all(struct policy_rules *rules, const char *dir, struct why *why)
{
    char *file = file_path(dir, "policy.json"), *parts = file_path(dir, "policy.d");
    ath_err err = file == NULL || parts == NULL ? ATH_ERR_NOMEM : conf_file_check_dir(dir, why);

    if (err == ATH_OK)
        err = add_checked(rules, file, why);
    if (err == ATH_OK || err == ATH_ERR_NOT_FOUND)
        err = conf_file_each(parts, add_checked, rules, why);
    free(parts);
    free(file);
    if (err == ATH_OK || err == ATH_ERR_NOT_FOUND)
        err = rules->file_count == 0 ? ATH_ERR_NOT_FOUND : ATH_OK;
    return err;
}

ath_err
policy_files_read(const char *dir, uid_t owner, struct why *why, struct policy_rules **ret_rules)
{
    struct policy_rules *rules = policy_rules_new(owner);

    return policy_rules_finish(rules, rules == NULL ? ATH_ERR_NOMEM : add_all(rules, dir, why),
                               ret_rules);
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
    return policy_rules_finish(rules, add_file(rules, path, why), ret_rules);
}
