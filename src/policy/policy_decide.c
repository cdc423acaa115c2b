/* The decision: for each rule that names the method, conditions in a fixed order, the first that
 * does not hold ends it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "policy/policy_quick.h"
#include "policy/policy_rules.h"

#define AUDIENCES_MAX 64u

/* A question with its audiences read, once for all rules. */
struct asked {
    const struct policy_question *question;
    const struct policy_subject *subject;
    uid_t owner;
    bool is_too_much; /* more audiences than anybody can ask for */
    size_t audience_count, peer_count;
    struct policy_audience audiences[AUDIENCES_MAX], peers[AUDIENCES_MAX];
};

typedef bool holds_fn(const struct policy_rule *rule, const struct asked *asked);

static bool
has_number(const struct policy_numbers *numbers, uint64_t number)
{
    for (size_t i = 0; i < numbers->count; i++)
        if (numbers->items[i] == number)
            return true;
    return false;
}

/* An unknown fits nothing. */
static bool
has_text(const struct policy_texts *texts, const char *text, bool by_path)
{
    for (size_t i = 0; i < texts->count && text != NULL; i++) {
        const char *item = texts->items[i];

        if (item[0] != text[0] && item[0] != '*' && item[0] != '?')
            continue; /* as most do */
        if (strcmp(item, text) == 0 || policy_glob(item, text, by_path))
            return true;
    }
    return texts->count == 0;
}

static bool
holds_uid(const struct policy_rule *rule, const struct asked *asked)
{
    return rule->uids.count == 0 || has_number(&rule->uids, asked->subject->uid);
}

static bool
holds_gid(const struct policy_rule *rule, const struct asked *asked)
{
    const struct policy_subject *subject = asked->subject;

    if (rule->gids.count == 0 || has_number(&rule->gids, subject->gid))
        return true;
    for (size_t i = 0; i < subject->group_count; i++)
        if (has_number(&rule->gids, subject->groups[i]))
            return true;
    return false;
}

static bool
holds_namespace(const struct policy_rule *rule, const struct asked *asked)
{
    return rule->namespaces == 0 || (rule->namespaces >> asked->subject->name_space & 1) != 0;
}

static bool
holds_grant(const struct policy_rule *rule, const struct asked *asked)
{
    return has_text(&rule->grants, asked->subject->grant, false);
}

/* Users name the units and slices of their own manager as they like: such a one counts where the
 * rule says whose it is, or where it is athd's own user's. */
static bool
holds_place(const struct policy_rule *rule, const struct asked *asked,
            const struct policy_texts *places, const char *place)
{
    const struct policy_subject *subject = asked->subject;

    if (places->count > 0 && subject->is_users_unit && rule->uids.count == 0 &&
        subject->uid != asked->owner)
        return false;
    return has_text(places, place, false);
}

static bool
holds_unit(const struct policy_rule *rule, const struct asked *asked)
{
    return holds_place(rule, asked, &rule->units, asked->subject->unit);
}

static bool
holds_slice(const struct policy_rule *rule, const struct asked *asked)
{
    return holds_place(rule, asked, &rule->slices, asked->subject->slice);
}

static bool
holds_exe(const struct policy_rule *rule, const struct asked *asked)
{
    return has_text(&rule->exes, asked->subject->exe, true);
}

static bool
holds_exe_inode(const struct policy_rule *rule, const struct asked *asked)
{
    return rule->exe_inodes.count == 0 ||
           (asked->subject->exe_inode != 0 &&
            has_number(&rule->exe_inodes, asked->subject->exe_inode));
}

static bool
holds_verity(const struct policy_rule *rule, const struct asked *asked)
{
    return has_text(&rule->verities, asked->subject->verity, false);
}

static bool
has_any(const struct policy_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(texts->items[i], "*") == 0)
            return true;
    return texts->count == 0;
}

/* A call about no key in particular is none that `keys` limits. */
static bool
holds_key(const struct policy_rule *rule, const struct asked *asked)
{
    const struct policy_question *question = asked->question;

    return (question->key == NULL || has_text(&rule->keys, question->key, false)) &&
           (question->also_key == NULL || has_text(&rule->keys, question->also_key, false)) &&
           (!question->is_about_all || has_any(&rule->keys));
}

static bool
fits_one(const struct policy_audience *patterns, size_t count,
         const struct policy_audience *audience)
{
    for (size_t i = 0; i < count; i++)
        if (policy_audience_fits(&patterns[i], audience))
            return true;
    return false;
}

static bool
is_did(const struct policy_audience *audience)
{
    return audience->kind == POLICY_AUDIENCE_EXACT && audience->text.len > 4 &&
           memcmp(audience->text.data, "did:", 4) == 0;
}

/* An audience that is a DID may be named by `peers` as well. What is for nobody in particular is
 * for anybody, and fits only where anybody is allowed. */
static bool
holds_audience(const struct policy_rule *rule, const struct asked *asked)
{
    static const struct policy_audience anybody = {.kind = POLICY_AUDIENCE_EXACT};

    if (rule->audiences.count == 0)
        return true;
    if (asked->audience_count == 0 && !asked->question->is_preliminary)
        return asked->question->purpose == NULL ||
               fits_one(rule->audience_patterns, rule->audiences.count, &anybody);
    for (size_t i = 0; i < asked->audience_count; i++) {
        const struct policy_audience *audience = &asked->audiences[i];

        if (!fits_one(rule->audience_patterns, rule->audiences.count, audience) &&
            !(is_did(audience) && fits_one(rule->peer_patterns, rule->peers.count, audience)))
            return false;
    }
    return !asked->is_too_much;
}

/* Every DID that is known must be among them; where none is known, an audience that is a URL is
 * enough if the rule names it. */
static bool
holds_peer(const struct policy_rule *rule, const struct asked *asked)
{
    size_t dids = asked->peer_count;

    if (rule->peers.count == 0)
        return true;
    for (size_t i = 0; i < asked->peer_count; i++)
        if (!fits_one(rule->peer_patterns, rule->peers.count, &asked->peers[i]))
            return false;
    for (size_t i = 0; i < asked->audience_count; i++) {
        const struct policy_audience *audience = &asked->audiences[i];

        if (!is_did(audience))
            continue;
        dids++;
        if (!fits_one(rule->peer_patterns, rule->peers.count, audience) &&
            !fits_one(rule->audience_patterns, rule->audiences.count, audience))
            return false;
    }
    return !asked->is_too_much && (dids > 0 || asked->question->is_preliminary ||
                                   asked->question->purpose == NULL || rule->audiences.count > 0);
}

static bool
holds_scope(const struct policy_rule *rule, const struct asked *asked)
{
    const struct scope_list *scopes = asked->question->scopes;

    if (rule->scopes.count == 0 || scopes == NULL)
        return true;
    for (size_t i = 0; i < scopes->count; i++)
        if (!has_text(&rule->scopes, scopes->items[i], false))
            return false;
    return true;
}

static bool
holds_ttl(const struct policy_rule *rule, const struct asked *asked)
{
    return rule->max_ttl == 0 || asked->question->ttl <= rule->max_ttl;
}

static bool
holds_hours(const struct policy_rule *rule, const struct asked *asked)
{
    return asked->question->now == 0 || policy_hours_hold(&rule->hours, asked->question->now);
}

static holds_fn *const conditions[POLICY_COND_COUNT] = {
    [POLICY_COND_UID] = holds_uid,
    [POLICY_COND_GID] = holds_gid,
    [POLICY_COND_NAMESPACE] = holds_namespace,
    [POLICY_COND_GRANT] = holds_grant,
    [POLICY_COND_UNIT] = holds_unit,
    [POLICY_COND_SLICE] = holds_slice,
    [POLICY_COND_EXE] = holds_exe,
    [POLICY_COND_EXE_INODE] = holds_exe_inode,
    [POLICY_COND_VERITY] = holds_verity,
    [POLICY_COND_KEY] = holds_key,
    [POLICY_COND_AUDIENCE] = holds_audience,
    [POLICY_COND_PEER] = holds_peer,
    [POLICY_COND_SCOPE] = holds_scope,
    [POLICY_COND_TTL] = holds_ttl,
    [POLICY_COND_HOURS] = holds_hours,
};

static enum policy_condition
first_failure(const struct policy_rule *rule, const struct asked *asked)
{
    for (unsigned i = 0; i < rule->condition_count; i++)
        if (!conditions[rule->conditions[i]](rule, asked))
            return (enum policy_condition)rule->conditions[i];
    return POLICY_COND_COUNT;
}

static size_t
read_audiences(const char *const *texts, size_t count, struct policy_audience *ret_read)
{
    size_t i;

    for (i = 0; i < count && i < AUDIENCES_MAX; i++)
        policy_audience_read(texts[i], &ret_read[i]);
    return i;
}

/* No rule that names the method came as far as the method: is there one for this caller? */
static void
find_for_caller(const struct policy_rules *rules, const struct asked *asked,
                struct policy_decision *decision)
{
    for (size_t i = 0; i < rules->count; i++) {
        if (first_failure(&rules->rules[i], asked) < POLICY_COND_METHOD)
            continue;
        decision->nearest = &rules->rules[i];
        decision->failed = POLICY_COND_METHOD;
        return;
    }
}

/* Neither does it hold, nor come nearer than the nearest one. */
static bool
is_passed_over(const struct policy_rules *rules, size_t rule, const struct policy_quick *asked,
               const struct policy_decision *decision)
{
    enum policy_condition failed =
        rules->quick == NULL ? POLICY_COND_COUNT : policy_quick_fails(&rules->quick[rule], asked);

    return decision->nearest != NULL && failed != POLICY_COND_COUNT && failed <= decision->failed;
}

struct policy_decision
policy_rules_decide(const struct policy_rules *rules, const struct policy_subject *subject,
                    const struct policy_question *question)
{
    const struct rpc_method *method = method_find(question->method);
    struct policy_decision decision = {.failed = POLICY_COND_UID};
    struct policy_quick quick;
    struct asked asked;

    asked.question = question;
    asked.subject = subject;
    asked.owner = rules->owner;
    asked.audience_count =
        read_audiences(question->audiences, question->audience_count, asked.audiences);
    asked.peer_count = read_audiences(question->peers, question->peer_count, asked.peers);
    asked.is_too_much =
        asked.audience_count < question->audience_count || asked.peer_count < question->peer_count;
    policy_quick_of_question(subject, question, asked.audiences, asked.audience_count, &quick);
    for (size_t i = 0; method != NULL && i < rules->of_method_count[method->id]; i++) {
        size_t at = rules->of_method[method->id][i];
        const struct policy_rule *rule = &rules->rules[at];
        enum policy_condition failed;

        if (is_passed_over(rules, at, &quick, &decision))
            continue;
        failed = first_failure(rule, &asked);
        if (failed == POLICY_COND_COUNT)
            return (struct policy_decision){rule, NULL, POLICY_COND_COUNT};
        if (decision.nearest == NULL || failed > decision.failed) {
            decision.nearest = rule;
            decision.failed = failed;
        }
    }
    if (decision.nearest == NULL || decision.failed < POLICY_COND_METHOD)
        find_for_caller(rules, &asked, &decision);
    return decision;
}

/* ---- telling ---- */

static bool
is_for_caller(const struct policy_decision *decision)
{
    return decision->nearest != NULL && decision->failed > POLICY_COND_GID;
}

const char *
policy_decision_rule(const struct policy_decision *decision)
{
    if (decision->allowing != NULL)
        return decision->allowing->name;
    return is_for_caller(decision) ? decision->nearest->name : POLICY_RULE_NONE;
}

static const char *
first_misfit(const struct policy_decision *decision, const struct policy_question *question)
{
    const struct policy_rule *rule = decision->nearest;
    struct policy_audience audience;

    for (size_t i = 0; i < question->audience_count && i < AUDIENCES_MAX; i++) {
        policy_audience_read(question->audiences[i], &audience);
        if ((decision->failed == POLICY_COND_AUDIENCE || is_did(&audience)) &&
            !fits_one(rule->audience_patterns, rule->audiences.count, &audience) &&
            !(is_did(&audience) && fits_one(rule->peer_patterns, rule->peers.count, &audience)))
            return question->audiences[i];
    }
    for (size_t i = 0; i < question->peer_count && decision->failed == POLICY_COND_PEER; i++) {
        policy_audience_read(question->peers[i], &audience);
        if (!fits_one(rule->peer_patterns, rule->peers.count, &audience))
            return question->peers[i];
    }
    return NULL;
}

static const char *
first_scope(const struct policy_decision *decision, const struct policy_question *question)
{
    for (size_t i = 0; question->scopes != NULL && i < question->scopes->count; i++)
        if (!has_text(&decision->nearest->scopes, question->scopes->items[i], false))
            return question->scopes->items[i];
    return NULL;
}

static const char *
misfit_key(const struct policy_decision *decision, const struct policy_question *question)
{
    if (question->key != NULL && !has_text(&decision->nearest->keys, question->key, false))
        return question->key;
    return question->is_about_all ? "all of them" : question->also_key;
}

static const char *
or_unknown(const char *text)
{
    return text != NULL ? text : "unknown";
}

/* What the question holds in the place of the condition that failed. */
static const char *
found_instead(const struct policy_decision *decision, const struct policy_subject *subject,
              const struct policy_question *question, char room[40])
{
    static const char *const namespaces[] = {"unseen", "same", "other"};

    switch (decision->failed) {
    case POLICY_COND_UID:
        (void)snprintf(room, 40, "%lu", (unsigned long)subject->uid);
        return room;
    case POLICY_COND_GID:
        (void)snprintf(room, 40, "%lu", (unsigned long)subject->gid);
        return room;
    case POLICY_COND_NAMESPACE:
        return namespaces[subject->name_space];
    case POLICY_COND_GRANT:
        return subject->grant != NULL ? subject->grant : "none";
    case POLICY_COND_UNIT:
        return or_unknown(subject->unit);
    case POLICY_COND_SLICE:
        return or_unknown(subject->slice);
    case POLICY_COND_EXE:
        return or_unknown(subject->exe);
    case POLICY_COND_EXE_INODE:
        (void)snprintf(room, 40, "%" PRIu64, subject->exe_inode);
        return room;
    case POLICY_COND_VERITY:
        return subject->verity != NULL ? subject->verity : "none";
    case POLICY_COND_METHOD:
        return question->method;
    case POLICY_COND_KEY:
        return misfit_key(decision, question);
    case POLICY_COND_AUDIENCE:
    case POLICY_COND_PEER: {
        const char *misfit = first_misfit(decision, question);

        return misfit != NULL ? misfit : "anybody";
    }
    case POLICY_COND_SCOPE:
        return or_unknown(first_scope(decision, question));
    case POLICY_COND_TTL:
        (void)snprintf(room, 40, "%" PRId64 ", at most %" PRId64, question->ttl,
                       decision->nearest->max_ttl);
        return room;
    default:
        return "not now";
    }
}

void
policy_decision_missing(const struct policy_decision *decision,
                        const struct policy_subject *subject,
                        const struct policy_question *question, char ret_text[POLICY_MISSING_SIZE])
{
    static const char *const names[POLICY_COND_COUNT] = {
        "uid",    "gid", "namespace", "grant",     "unit",  "slice",  "exe",     "exe_inode",
        "verity", "may", "keys",      "audiences", "peers", "scopes", "max_ttl", "hours"};
    char room[40];

    ret_text[0] = '\0';
    if (decision->allowing != NULL)
        return;
    if (decision->nearest == NULL || (decision->failed <= POLICY_COND_GID))
        (void)snprintf(ret_text, POLICY_MISSING_SIZE, "uid: no rule is for uid %lu that names %s",
                       (unsigned long)subject->uid, question->method);
    else
        (void)snprintf(ret_text, POLICY_MISSING_SIZE, "%s: %.180s", names[decision->failed],
                       found_instead(decision, subject, question, room));
}
