#include "athd/grant.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "athd/grant_table.h"
#include "athd/key_store.h"

/* ---- life ---- */

struct grant *
grant_new_empty(const char *name)
{
    static uint64_t last_serial;
    struct grant *grant = calloc(1, sizeof(*grant));

    if (grant == NULL)
        return NULL;
    grant->references = 1;
    grant->depth = 1;
    grant->serial = ++last_serial;
    TAILQ_INIT(&grant->waiting);
    (void)snprintf(grant->name, sizeof(grant->name), "%s", name);
    (void)snprintf(grant->rule, sizeof(grant->rule), "grant:%s", name);
    return grant;
}

struct grant *
grant_ref(struct grant *grant)
{
    if (grant != NULL)
        grant->references++;
    return grant;
}

void
grant_free(struct grant *grant)
{
    struct grant *parent;

    for (; grant != NULL; grant = parent) {
        assert(grant->references > 0);
        if (--grant->references > 0)
            return;
        parent = grant->parent;
        grant_process_free(grant->process);
        policy_rules_free(grant->limits);
        free(grant->keys);
        free(grant->path);
        free(grant);
    }
}

/* ---- making ---- */

static struct grant_key *
find_key(const struct grant *grant, const char *name)
{
    const struct policy_rule *rule = grant_limits_rule(grant->limits);

    for (size_t i = 0; i < rule->keys.count; i++)
        if (strcmp(grant->keys[i].name, name) == 0)
            return &grant->keys[i];
    return NULL;
}

static ath_err
take_keys(struct grant *grant, const struct key_store *keys, struct why *why)
{
    const struct policy_rule *rule = grant_limits_rule(grant->limits);

    if (rule->keys.count == 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "\"keys\" is missing: a grant is for some keys");
    if ((grant->keys = calloc(rule->keys.count, sizeof(*grant->keys))) == NULL)
        return ATH_ERR_NOMEM;
    for (size_t i = 0; i < rule->keys.count; i++) {
        const struct key *key = key_store_find(keys, rule->keys.items[i]);

        if (key == NULL)
            return why_set(why, ATH_ERR_KEY_NOT_FOUND, "there is no key \"%.64s\"",
                           rule->keys.items[i]);
        grant->keys[i].name = rule->keys.items[i];
        (void)snprintf(grant->keys[i].jkt, sizeof(grant->keys[i].jkt), "%s",
                       public_key_jkt(key->public_key));
    }
    return ATH_OK;
}

/* The names are checked with the limits, before any key is looked for: whoever has no grant for a
 * key learns nothing of it. */
static ath_err
check_keys_within(const struct grant *grant, const struct grant *parent, struct why *why)
{
    const struct policy_rule *rule = grant_limits_rule(grant->limits);

    for (size_t i = 0; i < rule->keys.count; i++) {
        const struct grant_key *key = find_key(parent, grant->keys[i].name);

        if (key == NULL || strcmp(key->jkt, grant->keys[i].jkt) != 0)
            return why_set(why, ATH_ERR_POLICY_DENIED,
                           "keys: %s is another key now than when the "
                           "grant \"%s\" was made",
                           grant->keys[i].name, parent->name);
    }
    return ATH_OK;
}

/* Neither longer nor more often than what it is within. */
static ath_err
take_numbers(struct grant *grant, const struct json *params, const struct grant *parent,
             int64_t now, struct why *why)
{
    int64_t ttl = 0, outer_end = grant_expires_at(parent), outer_uses = grant_uses_left(parent);

    grant->created_at = now;
    if (json_get_int(params, "ttl", &ttl))
        grant->expires_at = now + ttl;
    (void)json_get_int(params, "max_uses", &grant->max_uses);
    if (outer_end != 0 && grant->expires_at > outer_end)
        return why_set(why, ATH_ERR_POLICY_DENIED, "ttl: %lld, at most %lld", (long long)ttl,
                       (long long)(outer_end - now));
    if (outer_uses >= 0 && grant->max_uses > outer_uses)
        return why_set(why, ATH_ERR_POLICY_DENIED, "max_uses: %lld, at most %lld",
                       (long long)grant->max_uses, (long long)outer_uses);
    return ATH_OK;
}

static ath_err
take_params(struct grant *grant, const struct json *params, uid_t owner, struct grant *parent,
            const struct key_store *keys, struct why *why)
{
    const struct policy_rule *outer = NULL;
    ath_err err;

    if (parent != NULL) {
        if (parent->depth >= GRANT_DEPTH_MAX)
            return why_set(why, ATH_ERR_LIMIT_EXCEEDED, "a grant within a grant: at most %u deep",
                           GRANT_DEPTH_MAX);
        grant->parent = grant_ref(parent);
        grant->depth = parent->depth + 1;
        outer = grant_limits_rule(parent->limits);
    }
    if ((err = grant_limits_new(params, owner, outer, why, &grant->limits)) != ATH_OK)
        return err;
    if (outer != NULL &&
        (err = grant_limits_check_narrower(outer, grant_limits_rule(grant->limits), why)) != ATH_OK)
        return err;
    if ((err = take_keys(grant, keys, why)) != ATH_OK || parent == NULL)
        return err;
    return check_keys_within(grant, parent, why);
}

ath_err
grant_new(const struct json *params, uid_t owner, struct grant *parent,
          const struct key_store *keys, int64_t now, struct why *why, struct grant **ret_grant)
{
    struct grant *grant = grant_new_empty(json_get_string(params, "name"));
    ath_err err = ATH_ERR_NOMEM;

    if (grant == NULL)
        return err;
    if ((err = take_params(grant, params, owner, parent, keys, why)) != ATH_OK ||
        (err = take_numbers(grant, params, parent, now, why)) != ATH_OK) {
        grant_free(grant);
        return err;
    }
    *ret_grant = grant;
    return ATH_OK;
}

/* ---- looking ---- */

uint64_t
grant_identity(const struct grant *grant)
{
    return (uint64_t)UINT32_MAX << 32 | (grant->serial & UINT32_MAX); /* no uid is UINT32_MAX */
}

const struct grant *
grant_outermost(const struct grant *grant)
{
    while (grant->parent != NULL)
        grant = grant->parent;
    return grant;
}

bool
grant_is_within(const struct grant *grant, const struct grant *outer)
{
    while (grant != NULL && grant != outer)
        grant = grant->parent;
    return grant != NULL;
}

int64_t
grant_expires_at(const struct grant *grant)
{
    int64_t earliest = 0;

    for (; grant != NULL; grant = grant->parent)
        if (grant->expires_at != 0 && (earliest == 0 || grant->expires_at < earliest))
            earliest = grant->expires_at;
    return earliest;
}

int64_t
grant_uses_left(const struct grant *grant)
{
    int64_t fewest = -1;

    for (; grant != NULL; grant = grant->parent)
        if (grant->max_uses != 0 && (fewest < 0 || grant->max_uses - grant->uses < fewest))
            fewest = grant->max_uses - grant->uses;
    return fewest;
}

bool
grant_has_key(const struct grant *grant, const struct key *key)
{
    const struct grant_key *found = find_key(grant, key->name);

    return found != NULL && strcmp(found->jkt, public_key_jkt(key->public_key)) == 0;
}

bool
grant_is_confirmed(const struct grant *grant, const struct key *key)
{
    const struct grant_key *found = find_key(grant, key->name);

    return found != NULL && found->confirmed && found->locks == key->locks;
}

void
grant_confirm(struct grant *grant, const struct key *key)
{
    struct grant_key *found = find_key(grant, key->name);

    if (found == NULL)
        return;
    found->confirmed = true;
    found->locks = key->locks;
}

/* ---- telling ---- */

static void
put_process(const struct grant_process *process, struct json_maker *object)
{
    const struct grant_process_id *id;
    struct json_maker member;

    if (process == NULL)
        return;
    id = grant_process_id(process);
    json_object_begin(&member);
    json_put_int(&member, "pid", id->pid);
    json_put_int(&member, "start_ticks", (int64_t)id->start_ticks);
    json_put_maker(object, "process", &member);
}

void
grant_put_all(const struct grant *grant, struct json_maker *object)
{
    const struct policy_rule *rule = grant_limits_rule(grant->limits);
    int64_t expires_at = grant_expires_at(grant), uses_left = grant_uses_left(grant);

    json_put_string(object, "name", grant->name);
    json_put_string(object, "socket", grant->path);
    if (grant->parent != NULL)
        json_put_string(object, "parent", grant->parent->name);
    grant_limits_put_texts(object, "keys", &rule->keys);
    grant_limits_put(rule, object);
    json_put_int(object, "created_at", grant->created_at);
    if (expires_at != 0)
        json_put_int(object, "expires_at", expires_at);
    if (grant->max_uses != 0)
        json_put_int(object, "max_uses", grant->max_uses);
    if (uses_left >= 0)
        json_put_int(object, "uses_left", uses_left);
    put_process(grant->process, object);
}

static const struct policy_texts *
audiences_of(const struct policy_rule *rule)
{
    return &rule->audiences;
}

static const struct policy_texts *
peers_of(const struct policy_rule *rule)
{
    return &rule->peers;
}

static const struct policy_texts *
scopes_of(const struct policy_rule *rule)
{
    return &rule->scopes;
}

/* What the nearest says that says anything of it: each below can only have narrowed it. */
static void
put_nearest(const struct grant *grant, const struct policy_texts *(*of)(const struct policy_rule *),
            const char *name, struct json_maker *object)
{
    while (grant != NULL && of(grant_limits_rule(grant->limits))->count == 0)
        grant = grant->parent;
    if (grant != NULL)
        grant_limits_put_texts(object, name, of(grant_limits_rule(grant->limits)));
}

void
grant_put_own(const struct grant *grant, struct json_maker *object, const char *name)
{
    const struct policy_rule *rule = grant_limits_rule(grant->limits);
    int64_t expires_at = grant_expires_at(grant), uses_left = grant_uses_left(grant);
    struct json_maker own;

    json_object_begin(&own);
    json_put_string(&own, "name", grant->name);
    grant_limits_put_texts(&own, "keys", &rule->keys);
    grant_limits_put_methods(rule, &own);
    put_nearest(grant, audiences_of, "audiences", &own);
    put_nearest(grant, peers_of, "peers", &own);
    put_nearest(grant, scopes_of, "scopes", &own);
    if (expires_at != 0)
        json_put_int(&own, "expires_at", expires_at);
    if (uses_left >= 0)
        json_put_int(&own, "uses_left", uses_left);
    json_put_maker(object, name, &own);
}
