/* A policy file becomes rules. What it says twice, does not know or leaves open is wrong: a rule
 * that is read otherwise than it was meant allows what nobody wanted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "policy/policy_line.h"
#include "policy/policy_reading.h"

#define DEPTH_MAX 8u
#define MEMBERS_MAX 64u
#define TTL_MAX 3155760000 /* a hundred years */
#define RATE_MAX 1000000
#define CONSENT_MAX_S (366 * 86400)

static const struct json_limits limits = {POLICY_FILE_MAX, DEPTH_MAX, MEMBERS_MAX, JSON_INTEGERS};
/* ---- what ---- */

static ath_err
read_may(const struct policy_reading *reading, const struct json *value)
{
    struct policy_texts names = {0};
    ath_err err = policy_list_texts(reading, value, &names);

    for (size_t i = 0; i < names.count && err == ATH_OK; i++)
        if (!policy_methods_add(names.items[i], reading->rule->methods))
            err = policy_refuse(reading, value, "\"may\": there is no method or group \"%s\"",
                         names.items[i]);
    free(names.items);
    return err;
}

static ath_err
read_audiences(const struct policy_reading *reading, const struct json *value, struct policy_texts *texts,
               struct policy_audience **patterns)
{
    ath_err err = policy_list_texts(reading, value, texts);
    const char *wrong;

    if (err != ATH_OK)
        return err;
    if ((*patterns = calloc(texts->count, sizeof(**patterns))) == NULL)
        return ATH_ERR_NOMEM;
    for (size_t i = 0; i < texts->count; i++)
        if ((wrong = policy_audience_read_pattern(texts->items[i], &(*patterns)[i])) != NULL)
            return policy_refuse(reading, value, "\"%s\": \"%.80s\" %s", json_name(value), texts->items[i],
                          wrong);
    return ATH_OK;
}

static ath_err
read_peers(const struct policy_reading *reading, const struct json *value)
{
    struct policy_rule *rule = reading->rule;
    ath_err err = read_audiences(reading, value, &rule->peers, &rule->peer_patterns);

    for (size_t i = 0; i < rule->peers.count && err == ATH_OK; i++)
        if (strcmp(rule->peers.items[i], "*") != 0 && strncmp(rule->peers.items[i], "did:", 4) != 0)
            err = policy_refuse(reading, value, "\"peers\" are DIDs, not \"%.80s\"", rule->peers.items[i]);
    return err;
}

static ath_err
read_max_ttl(const struct policy_reading *reading, const struct json *value)
{
    if (!json_int(value, &reading->rule->max_ttl) || reading->rule->max_ttl < 1 ||
        reading->rule->max_ttl > TTL_MAX)
        return policy_refuse(reading, value, "\"max_ttl\" is a number of seconds, at least 1");
    return ATH_OK;
}

/* A number from 1 to max in digits, and what stands behind it. */
static bool
read_count(const char *text, int64_t max, int64_t *ret_count, const char **ret_rest)
{
    int64_t count = 0;

    for (; *text >= '0' && *text <= '9' && count <= max; text++)
        count = count * 10 + (*text - '0');
    *ret_count = count;
    *ret_rest = text;
    return count >= 1 && count <= max;
}

static ath_err
read_rate(const struct policy_reading *reading, const struct json *value)
{
    static const struct {
        const char *unit;
        uint32_t seconds;
    } units[] = {{"/s", 1},    {"/sec", 1},     {"/min", 60},
                 {"/h", 3600}, {"/hour", 3600}, {"/day", 86400}};
    const char *text = json_string(value), *rest = NULL;
    int64_t count = 0;

    if (text != NULL && read_count(text, RATE_MAX, &count, &rest))
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
            if (strcmp(rest, units[i].unit) == 0) {
                reading->rule->rate = (uint32_t)count;
                reading->rule->rate_s = units[i].seconds;
                return ATH_OK;
            }
    return policy_refuse(reading, value,
                  "\"rate\" is so many in a time: \"20/min\", \"5/s\", \"100/hour\" or "
                  "\"500/day\"");
}

static ath_err
read_hours(const struct policy_reading *reading, const struct json *value)
{
    const char *text = json_string(value);
    uint8_t days = reading->rule->hours.days; /* "days" may have come first */

    if (text == NULL || !policy_hours_read(text, &reading->rule->hours))
        return policy_refuse(reading, value, "\"hours\" is a time of the day, as \"08:00-18:00\"");
    if (days != 0)
        reading->rule->hours.days = days;
    return ATH_OK;
}

static ath_err
read_days(const struct policy_reading *reading, const struct json *value)
{
    struct policy_hours *hours = &reading->rule->hours;
    struct policy_texts names = {0};
    uint8_t days = 0;
    ath_err err = policy_list_texts(reading, value, &names);

    for (size_t i = 0; i < names.count && err == ATH_OK; i++)
        if (!policy_days_read(names.items[i], &days))
            err = policy_refuse(reading, value,
                         "\"days\" are \"mon\", \"tue\" ... or \"mon-fri\", not \"%s\"",
                         names.items[i]);
    free(names.items);
    if (!hours->is_given)
        *hours = (struct policy_hours){.is_given = true, .to = 24 * 60};
    hours->days = days;
    return err;
}

static ath_err
read_consent(const struct policy_reading *reading, const struct json *value)
{
    struct policy_rule *rule = reading->rule;
    const char *text = json_string(value), *rest = NULL;

    if (text != NULL && strcmp(text, "never") == 0)
        rule->consent = POLICY_CONSENT_NEVER;
    else if (text != NULL && strcmp(text, "always") == 0)
        rule->consent = POLICY_CONSENT_ALWAYS;
    else if (text != NULL && strcmp(text, "first-audience") == 0)
        rule->consent = POLICY_CONSENT_FIRST_AUDIENCE;
    else if (text != NULL && strncmp(text, "once:", 5) == 0 &&
             read_count(text + 5, CONSENT_MAX_S, &rule->consent_s, &rest) && *rest == '\0')
        rule->consent = POLICY_CONSENT_ONCE;
    else
        return policy_refuse(reading, value,
                      "\"consent\" is \"never\", \"always\", \"once:SECONDS\" or "
                      "\"first-audience\"");
    return ATH_OK;
}

/* ---- rules ---- */

static ath_err
read_name(const struct policy_reading *reading, const struct json *value)
{
    static const char *const taken[] = {POLICY_RULE_NONE, "frozen", "grant", "built-in", "locked"};
    const char *name = json_string(value);

    if (!name_is_valid(name))
        return policy_refuse(reading, value,
                      "\"name\" is 1 to 64 of A-Z a-z 0-9 . _ @ -, not beginning with . "
                      "or -");
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        if (strcmp(name, taken[i]) == 0)
            return policy_refuse(reading, value, "no rule is named \"%s\": athd says it of itself", name);
    for (const struct policy_rule *other = reading->rules->rules; other < reading->rule; other++)
        if (strcmp(other->name, name) == 0)
            return policy_refuse(reading, value, "two rules are named \"%s\"", name);
    reading->rule->name = name;
    return ATH_OK;
}

static ath_err
read_member(const struct policy_reading *reading, const struct json *member)
{
    static const struct {
        const char *name;
        ath_err (*read)(const struct policy_reading *, const struct json *);
    } readers[] = {
        {"name", read_name},   {"who", policy_read_who},         {"may", read_may},
        {"peers", read_peers}, {"max_ttl", read_max_ttl}, {"rate", read_rate},
        {"hours", read_hours}, {"days", read_days},       {"consent", read_consent},
    };
    struct policy_rule *rule = reading->rule;
    const char *name = json_name(member);

    for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++)
        if (strcmp(readers[i].name, name) == 0)
            return readers[i].read(reading, member);
    if (strcmp(name, "keys") == 0)
        return policy_list_texts(reading, member, &rule->keys);
    if (strcmp(name, "scopes") == 0)
        return policy_list_texts(reading, member, &rule->scopes);
    if (strcmp(name, "audiences") == 0)
        return read_audiences(reading, member, &rule->audiences, &rule->audience_patterns);
    return policy_refuse(reading, member, "a rule has no \"%s\"", name);
}

static ath_err
digest_rule(const struct json *object, uint8_t ret_digest[SHA256_LEN])
{
    struct ath_buf text = {.max = 4 * POLICY_FILE_MAX}; /* escapes are longer than what they are */
    ath_err err;

    json_write(object, &text);
    err = text.err != ATH_OK ? text.err : sha256(ath_buf_slice(&text), ret_digest);
    ath_buf_done(&text);
    return err;
}

static ath_err
read_rule(struct policy_reading *reading, const struct json *object)
{
    static const char *const wanted[] = {"name", "who", "may"};
    const struct json *member;
    ath_err err = ATH_OK;

    if (!json_is_object(object))
        return policy_refuse(reading, object, "a rule is an object {\"name\", \"who\", \"may\", ...}");
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        if (json_get(object, wanted[i]) == NULL)
            return policy_refuse(reading, object, "a rule must have \"%s\"", wanted[i]);
    for (member = json_first(object); member != NULL && err == ATH_OK; member = json_next(member))
        err = read_member(reading, member);
    return err != ATH_OK ? err : digest_rule(object, reading->rule->digest);
}

static ath_err
read_rules(struct policy_reading *reading, const struct json *list)
{
    struct policy_rules *rules = reading->rules;
    size_t count = json_count(list);
    struct policy_rule *grown;
    ath_err err = ATH_OK;

    if (!json_is_array(list))
        return policy_refuse(reading, list, "\"rules\" must be a list");
    if (count > POLICY_RULES_MAX - rules->count)
        return policy_refuse(reading, list, "there are more than %u rules", POLICY_RULES_MAX);
    if (count == 0)
        return ATH_OK;
    if ((grown = realloc(rules->rules, (rules->count + count) * sizeof(*grown))) == NULL)
        return ATH_ERR_NOMEM;
    rules->rules = grown;
    memset(grown + rules->count, 0, count * sizeof(*grown));
    for (const struct json *item = json_first(list); item != NULL && err == ATH_OK;
         item = json_next(item)) {
        reading->rule = &rules->rules[rules->count++]; /* policy_rules_free has it from here on */
        reading->rule->name = "";
        err = read_rule(reading, item);
    }
    return err;
}

static ath_err
read_file(struct policy_reading *reading)
{
    const struct json *member;
    ath_err err = ATH_OK;

    if (!json_is_object(reading->tree))
        return policy_refuse(reading, NULL, "a policy is an object {\"rules\": [...]}");
    if (json_get(reading->tree, "rules") == NULL)
        return policy_refuse(reading, NULL, "a policy must have \"rules\"");
    for (member = json_first(reading->tree); member != NULL && err == ATH_OK;
         member = json_next(member)) {
        const char *name = json_name(member);

        if (strcmp(name, "rules") == 0)
            err = read_rules(reading, member);
        else if (strcmp(name, "observe") == 0 && json_is_bool(member))
            reading->rules->observe |= json_is_true(member);
        else if (strcmp(name, "observe") == 0)
            err = policy_refuse(reading, member, "\"observe\" is true or false");
        else if (strcmp(name, "$schema") != 0)
            err = policy_refuse(reading, member, "a policy has no \"%s\"", name);
    }
    return err;
}

ath_err
policy_rules_add(struct policy_rules *rules, struct ath_slice text, const char *path,
                 struct why *why)
{
    struct policy_file *file = &rules->files[rules->file_count];
    struct policy_reading reading = {.rules = rules, .text = text, .path = path, .why = why};
    struct why inner = {{0}};
    ath_err err;

    if (rules->file_count == POLICY_FILES_MAX)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "%s: there are more than %u policy files", path,
                       POLICY_FILES_MAX);
    if ((file->path = ath_strdup(path)) == NULL)
        return ATH_ERR_NOMEM;
    rules->file_count++;
    if ((err = sha256(text, file->sha256)) != ATH_OK)
        return err;
    err = json_parse_config(text, &limits, &inner, &file->tree);
    if (err == ATH_ERR_NOMEM)
        return err;
    if (err != ATH_OK)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "%s:%s", path, why_text(&inner, err));
    reading.tree = file->tree;
    return read_file(&reading);
}
