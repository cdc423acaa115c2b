/* `ath policy diff`, `ath policy learn`, `ath explain`. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ath_cmd_audit_log.h"
#include "ath_cmd_policy.h"
#include "policy/policy_diff.h"
#include "policy/policy_files.h"

/* ---- diff ---- */

struct diffing {
    const struct cmd_context *context;
    struct json_maker gains;
};

static void
on_gain(void *ctx, const struct policy_rule *rule, const char *method, const char *why)
{
    struct diffing *diffing = ctx;
    struct json_maker gain;

    json_object_begin(&gain);
    json_put_string(&gain, "rule", rule == NULL ? NULL : rule->name);
    json_put_string(&gain, "method", method);
    json_put_string(&gain, "why", why);
    json_put_maker(&diffing->gains, NULL, &gain);
}

static void
print_gains(const struct json *gains)
{
    for (const struct json *gain = json_first(gains); gain != NULL; gain = json_next(gain)) {
        const char *rule = json_get_string(gain, "rule");

        fputs("may gain: ", stdout);
        cmd_print_text(stdout, json_get_string(gain, "method"));
        if (rule != NULL) {
            fputs(", by rule ", stdout);
            cmd_print_text(stdout, rule);
        }
        printf(": %s\n", json_get_string(gain, "why"));
    }
}

static int
print_diff(const struct cmd_context *context, bool is_tighter, const struct json *gains)
{
    struct ath_buf text = {0};

    if (context->json) {
        ath_buf_printf(&text, "{\"tightens\":%s,\"gains\":", is_tighter ? "true" : "false");
        json_write(gains, &text);
        ath_buf_put_string(&text, "}");
        puts(text.err == ATH_OK ? ath_buf_text(&text) : "");
        ath_buf_done(&text);
    } else {
        print_gains(gains);
        puts(is_tighter ? "it only tightens" : "it does not only tighten");
    }
    return is_tighter ? EXIT_SUCCESS : EXIT_FAILURE;
}

static struct policy_rules *
read_policy(const struct cmd_context *context, const char *place)
{
    const char *path = json_get_string(context->extra, place);
    struct policy_rules *rules = NULL;
    struct why why = {{0}};
    ath_err err = policy_files_read_at(path, geteuid(), &why, &rules);

    if (err == ATH_OK)
        return rules;
    cmd_error("%s", why.text[0] != '\0' ? why.text : ath_err_sentence(err));
    return NULL;
}

int
cmd_run_policy_diff(struct cmd_context *context)
{
    struct diffing diffing = {.context = context};
    struct policy_rules *a = read_policy(context, "A");
    struct policy_rules *b = a == NULL ? NULL : read_policy(context, "B");
    struct json *gains = NULL;
    int status = EXIT_FAILURE;
    bool is_tighter;

    if (b != NULL) {
        json_array_begin(&diffing.gains);
        is_tighter = policy_diff(a, b, on_gain, &diffing);
        if (json_maker_end(&diffing.gains, &gains) == ATH_OK)
            status = print_diff(context, is_tighter, gains);
    }
    json_free(gains);
    policy_rules_free(b);
    policy_rules_free(a);
    return status;
}

/* ---- learn ---- */

#define LEARNT_MAX 1024

/* One rule for each kind of caller, key and audience that was seen: {"who", "may", ...}. */
struct learning {
    const struct cmd_context *context;
    struct json *rules[LEARNT_MAX];
    size_t count;
    size_t left_out; /* records of names with wildcards */
    bool is_full;
    ath_err err;
};

static void
put_known(struct json_maker *object, const char *name, const struct json *value)
{
    if (value != NULL)
        json_put_copy(object, name, value);
}

/* The unit says more than the program; the program only where there is no unit. */
static void
put_who(struct json_maker *rule, const struct json *caller)
{
    const struct json *unit = json_get(caller, "unit"), *grant = json_get(caller, "grant");
    struct json_maker who;

    json_object_begin(&who);
    put_known(&who, "uid", json_get(caller, "uid"));
    put_known(&who, "grant", grant);
    put_known(&who, "unit", unit);
    if (unit == NULL && grant == NULL && !json_is_true(json_get(caller, "exe_is_elsewhere")))
        put_known(&who, "exe", json_get(caller, "exe"));
    json_put_maker(rule, "who", &who);
}

static bool
has_wildcard(const struct json *value)
{
    const struct json *entry;

    if (json_string(value) != NULL)
        return strpbrk(json_string(value), "*?") != NULL;
    for (entry = json_first(value); entry != NULL; entry = json_next(entry))
        if (has_wildcard(entry))
            return true;
    return false;
}

/* What a caller asked for, or is called, may hold a `*`: in a rule it would stand for anything. */
static bool
is_pattern(const struct json *record)
{
    const struct json *caller = json_get(record, "caller");

    return has_wildcard(json_get(record, "audience")) ||
           has_wildcard(json_get(record, "requested_scopes")) ||
           has_wildcard(json_get(record, "key")) || has_wildcard(json_get(caller, "unit")) ||
           has_wildcard(json_get(caller, "exe"));
}

static struct json *
rule_of(const struct json *record)
{
    struct json_maker rule, list;
    struct json *tree = NULL;

    json_object_begin(&rule);
    put_who(&rule, json_get(record, "caller"));
    json_array_begin(&list);
    put_known(&list, NULL, json_get(record, "method"));
    json_put_maker(&rule, "may", &list);
    put_known(&rule, "keys", json_get(record, "key"));
    put_known(&rule, "audiences", json_get(record, "audience"));
    put_known(&rule, "scopes", json_get(record, "requested_scopes"));
    return json_maker_end(&rule, &tree) == ATH_OK ? tree : NULL;
}

static bool
is_same_but_for_methods(const struct json *a, const struct json *b)
{
    static const char *const members[] = {"who", "keys", "audiences", "scopes"};

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const struct json *of_a = json_get(a, members[i]), *of_b = json_get(b, members[i]);

        if ((of_a == NULL) != (of_b == NULL) || (of_a != NULL && !json_equal(of_a, of_b)))
            return false;
    }
    return true;
}

/* rule's method is added to known's, unless it is there. */
static ath_err
merge(struct json **known, const struct json *rule)
{
    const struct json *method = json_first(json_get(rule, "may")), *entry;
    struct json_maker list, merged;
    struct json *tree = NULL;
    ath_err err;

    json_array_begin(&list);
    for (entry = json_first(json_get(*known, "may")); entry != NULL; entry = json_next(entry)) {
        if (json_equal(entry, method)) {
            json_maker_done(&list);
            return ATH_OK;
        }
        json_put_copy(&list, NULL, entry);
    }
    json_put_copy(&list, NULL, method);
    json_object_begin(&merged);
    for (entry = json_first(*known); entry != NULL; entry = json_next(entry))
        if (strcmp(json_name(entry), "may") != 0)
            json_put_copy(&merged, json_name(entry), entry);
    json_put_maker(&merged, "may", &list);
    if ((err = json_maker_end(&merged, &tree)) != ATH_OK)
        return err;
    json_free(*known);
    *known = tree;
    return ATH_OK;
}

static bool
learn_from(void *ctx, const struct json *record)
{
    struct learning *learning = ctx;
    struct json *rule;

    if (is_pattern(record)) {
        learning->left_out++;
        return true;
    }
    if ((rule = rule_of(record)) == NULL) {
        learning->err = ATH_ERR_NOMEM;
        return false;
    }
    for (size_t i = 0; i < learning->count; i++)
        if (is_same_but_for_methods(learning->rules[i], rule)) {
            learning->err = merge(&learning->rules[i], rule);
            json_free(rule);
            return learning->err == ATH_OK;
        }
    if (learning->count == LEARNT_MAX) {
        learning->is_full = true;
        json_free(rule);
        return false;
    }
    learning->rules[learning->count++] = rule;
    return true;
}

static ath_err
print_learnt(struct learning *learning)
{
    struct json_maker policy, rules, rule;
    struct json *tree = NULL;
    struct ath_buf text = {0};
    char name[32];
    ath_err err;

    json_object_begin(&policy);
    json_array_begin(&rules);
    for (size_t i = 0; i < learning->count; i++) {
        (void)snprintf(name, sizeof(name), "learned-%zu", i + 1);
        json_object_begin(&rule);
        json_put_string(&rule, "name", name);
        for (const struct json *member = json_first(learning->rules[i]); member != NULL;
             member = json_next(member))
            json_put_copy(&rule, json_name(member), member);
        json_put_maker(&rules, NULL, &rule);
    }
    json_put_maker(&policy, "rules", &rules);
    if ((err = json_maker_end(&policy, &tree)) == ATH_OK) {
        json_write_pretty(tree, &text);
        if ((err = text.err) == ATH_OK)
            puts(ath_buf_text(&text));
    }
    ath_buf_done(&text);
    json_free(tree);
    return err;
}

static ath_err
learn_event(struct learning *learning, struct ath_client *client, const char *event)
{
    struct json_maker maker;
    struct json *filter = NULL;
    ath_err err;

    json_object_begin(&maker);
    json_put_string(&maker, "event", event);
    if ((err = json_maker_end(&maker, &filter)) == ATH_OK)
        err = cmd_audit_each(learning->context, client, filter, -1, learn_from, learning, NULL);
    json_free(filter);
    return err != ATH_OK ? err : learning->err;
}

int
cmd_run_policy_learn(struct cmd_context *context)
{
    struct learning learning = {.context = context};
    int status = EXIT_SUCCESS;
    struct ath_client *client = cmd_connect(context, NULL, &status);
    ath_err err;

    if (client == NULL)
        return status;
    if ((err = learn_event(&learning, client, "policy_would_deny")) == ATH_OK)
        err = print_learnt(&learning);
    if (err != ATH_OK)
        status = ath_err_exit_status(err);
    else if (learning.is_full)
        cmd_note(context, "only the first %d rules are printed", LEARNT_MAX);
    if (learning.left_out > 0)
        cmd_note(context,
                 "%zu records are left out: a \"*\" or \"?\" in what was asked for would stand for "
                 "anything in a rule",
                 learning.left_out);
    while (learning.count > 0)
        json_free(learning.rules[--learning.count]);
    ath_client_free(client);
    return status;
}

/* ---- explain ---- */

struct explaining {
    const struct cmd_context *context;
    int64_t index; /* -1: any */
    unsigned count;
};

static void
put_line(const char *label, const struct json *value)
{
    struct ath_buf text = {0};

    if (value == NULL)
        return;
    if (json_string(value) != NULL)
        ath_buf_put_string(&text, json_string(value));
    else
        json_write(value, &text);
    printf("%-10s", label);
    cmd_print_text(stdout, text.err == ATH_OK ? ath_buf_text(&text) : "");
    putchar('\n');
    ath_buf_done(&text);
}

static bool
explain(void *ctx, const struct json *record)
{
    static const struct {
        const char *label, *member;
    } lines[] = {
        {"record", "index"},      {"time", "timestamp"},      {"event", "event"},
        {"method", "method"},     {"caller", "caller"},       {"key", "key"},
        {"audience", "audience"}, {"peer", "peer"},           {"scopes", "requested_scopes"},
        {"ttl", "ttl"},           {"rule", "rule"},           {"missing", "missing"},
        {"consent", "consent"},   {"reason", "denial_reason"}};
    struct explaining *explaining = ctx;
    int64_t index = -1;

    if (explaining->index >= 0 &&
        (!json_get_int(record, "index", &index) || index != explaining->index))
        return false;
    if (explaining->index < 0 && json_get(record, "rule") == NULL)
        return true;
    if (explaining->count++ > 0)
        putchar('\n');
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        put_line(lines[i].label, json_get(record, lines[i].member));
    if (json_get(record, "missing") != NULL)
        puts("so it was refused: of that rule, which came nearest, this condition did not hold");
    else if (json_get(record, "rule") != NULL)
        puts("so it was allowed: every condition of that rule held");
    else
        puts("no rule was asked for this");
    return explaining->index < 0;
}

/* The filter and where to begin: an index is one record, else all of a trace or handshake. */
static struct json *
filter_of_id(const char *wanted, int64_t *ret_index)
{
    size_t digits = strspn(wanted, "0123456789");
    struct json_maker maker;
    struct json *filter = NULL;
    char trace[64];

    *ret_index = -1;
    json_object_begin(&maker);
    if (digits > 0 && digits < 16 && wanted[digits] == '\0') {
        *ret_index = strtoll(wanted, NULL, 10);
    } else if (strlen(wanted) == 32 && strspn(wanted, "0123456789abcdef") == 32) {
        (void)snprintf(trace, sizeof(trace), "00-%s-0000000000000001-00", wanted);
        json_put_string(&maker, "trace", trace);
    } else {
        json_put_string(&maker,
                        wanted[0] == '0' && wanted[1] == '0' && wanted[2] == '-' ? "trace"
                                                                                 : "handshake",
                        wanted);
    }
    return json_maker_end(&maker, &filter) == ATH_OK ? filter : NULL;
}

int
cmd_run_explain(struct cmd_context *context)
{
    const char *wanted = json_get_string(context->extra, "INDEX|ID");
    struct explaining explaining = {.context = context};
    struct json *filter = filter_of_id(wanted, &explaining.index);
    int status = EXIT_SUCCESS;
    struct ath_client *client = filter == NULL ? NULL : cmd_connect(context, NULL, &status);
    ath_err err;

    if (client != NULL) {
        err = cmd_audit_each(context, client, filter,
                             explaining.index < 0 ? -1 : explaining.index - 1, explain, &explaining,
                             NULL);
        if (err != ATH_OK)
            status = ath_err_exit_status(err);
        else if (explaining.count == 0)
            status = (cmd_error("athd has no record %s, or none that you may see", wanted), EXIT_FAILURE);
    }
    json_free(filter);
    ath_client_free(client);
    return status;
}
