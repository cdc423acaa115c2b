/* A rule's "who": whom it is for. */
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "policy/policy_reading.h"

#define ID_MAX UINT32_MAX /* (uid_t)-1 is nobody */

static ath_err
read_uid(const struct policy_reading *reading, const struct json *value)
{
    const char *text = json_string(value);

    if (text == NULL)
        return policy_list_numbers(reading, value, ID_MAX, &reading->rule->uids);
    if (strcmp(text, "*") != 0)
        return policy_refuse(reading, value,
                             "\"uid\" is a number, a list of numbers, or \"*\" (anybody); "
                             "\"user\" takes names");
    reading->rule->is_anyone = true;
    return ATH_OK;
}

static ath_err
read_named(const struct policy_reading *reading, const struct json *value, bool is_user)
{
    struct policy_numbers *ids = is_user ? &reading->rule->uids : &reading->rule->gids;
    struct policy_texts names = {0};
    ath_err err = policy_list_texts(reading, value, &names);

    for (size_t i = 0; i < names.count && err == ATH_OK; i++) {
        const struct passwd *user = is_user ? getpwnam(names.items[i]) : NULL;
        const struct group *group = is_user ? NULL : getgrnam(names.items[i]);

        if (user == NULL && group == NULL)
            err = policy_refuse(reading, value, "this machine has no %s \"%s\"",
                                is_user ? "user" : "group", names.items[i]);
        else
            err = policy_list_add(ids, is_user ? user->pw_uid : group->gr_gid);
    }
    free(names.items);
    return err;
}

static ath_err
read_namespaces(const struct policy_reading *reading, const struct json *value)
{
    static const char *const names[] = {"unseen", "same", "other"};
    struct policy_texts texts = {0};
    ath_err err = policy_list_texts(reading, value, &texts);

    for (size_t i = 0; i < texts.count && err == ATH_OK; i++) {
        unsigned kind = 0;

        while (kind < 3 && strcmp(names[kind], texts.items[i]) != 0)
            kind++;
        if (kind == 3)
            err =
                policy_refuse(reading, value, "\"namespace\" is \"same\", \"other\" or \"unseen\"");
        else
            reading->rule->namespaces |= 1u << kind;
    }
    free(texts.items);
    return err;
}

static ath_err
read_exes(const struct policy_reading *reading, const struct json *value)
{
    struct policy_texts *exes = &reading->rule->exes;
    ath_err err = policy_list_texts(reading, value, exes);

    for (size_t i = 0; i < exes->count && err == ATH_OK; i++)
        if (exes->items[i][0] != '/')
            err = policy_refuse(reading, value,
                                "\"exe\" is the absolute path of a program, not \"%s\"",
                                exes->items[i]);
    return err;
}

static ath_err
read_verities(const struct policy_reading *reading, const struct json *value)
{
    struct policy_texts *digests = &reading->rule->verities;
    ath_err err = policy_list_texts(reading, value, digests);

    for (size_t i = 0; i < digests->count && err == ATH_OK; i++) {
        const char *hex = strchr(digests->items[i], ':');
        size_t len = hex == NULL ? 0 : strspn(hex + 1, "0123456789abcdef");
        size_t wanted = strncmp(digests->items[i], "sha256:", 7) == 0   ? 64
                        : strncmp(digests->items[i], "sha512:", 7) == 0 ? 128
                                                                        : SIZE_MAX;

        if (len != wanted || hex[1 + len] != '\0')
            err = policy_refuse(reading, value,
                                "\"verity\" is what `fsverity digest` prints: sha256: and 64 "
                                "hexadecimal digits in lower case");
    }
    return err;
}

/* "uid" and "user" say the same thing: whether both must hold or one of them, each reader would
 * guess for itself. */
static ath_err
check_doubled(const struct policy_reading *reading, const struct json *who)
{
    static const char *const pairs[][2] = {{"uid", "user"}, {"gid", "group"}};

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if (json_get(who, pairs[i][0]) != NULL && json_get(who, pairs[i][1]) != NULL)
            return policy_refuse(reading, json_get(who, pairs[i][1]),
                                 "\"who\" has \"%s\" and \"%s\": give one of them", pairs[i][0],
                                 pairs[i][1]);
    return ATH_OK;
}

static ath_err
read_who_member(const struct policy_reading *reading, const struct json *member)
{
    struct policy_rule *rule = reading->rule;
    const char *name = json_name(member);

    if (strcmp(name, "uid") == 0)
        return read_uid(reading, member);
    if (strcmp(name, "gid") == 0)
        return policy_list_numbers(reading, member, ID_MAX, &rule->gids);
    if (strcmp(name, "user") == 0 || strcmp(name, "group") == 0)
        return read_named(reading, member, name[0] == 'u');
    if (strcmp(name, "unit") == 0)
        return policy_list_texts(reading, member, &rule->units);
    if (strcmp(name, "slice") == 0)
        return policy_list_texts(reading, member, &rule->slices);
    if (strcmp(name, "grant") == 0)
        return policy_list_texts(reading, member, &rule->grants);
    if (strcmp(name, "exe") == 0)
        return read_exes(reading, member);
    if (strcmp(name, "exe_inode") == 0)
        return policy_list_numbers(reading, member, INT64_C(1) << 53, &rule->exe_inodes);
    if (strcmp(name, "verity") == 0)
        return read_verities(reading, member);
    if (strcmp(name, "namespace") == 0)
        return read_namespaces(reading, member);
    return policy_refuse(reading, member, "\"who\" knows no \"%s\"", name);
}

ath_err
policy_read_who(const struct policy_reading *reading, const struct json *value)
{
    const struct json *member;
    ath_err err = ATH_OK;

    if (!json_is_object(value) || json_count(value) == 0)
        return policy_refuse(reading, value,
                             "\"who\" is an object that says whom the rule is for, as "
                             "{\"uid\": 1000}; {\"uid\": \"*\"} is anybody");
    err = check_doubled(reading, value);
    for (member = json_first(value); member != NULL && err == ATH_OK; member = json_next(member))
        err = read_who_member(reading, member);
    return err;
}
