#include "athd/tenant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/credential_store.h"
#include "athd/freeze.h"
#include "athd/grant_table.h"
#include "athd/handshake_table.h"
#include "athd/key_store.h"
#include "athd/lock.h"
#include "athd/peer_store.h"
#include "athd/replay_store.h"
#include "athd/service_store.h"
#include "athd/session_table.h"
#include "athd/sub_uid.h"
#include "base/file.h"
#include "base/log.h"

#define USERS_DIR "users"
#define UID_TEXT_SIZE 16

static void
tenant_close(struct tenant *tenant)
{
    deferred_remove(&tenant->athd->deferred, &tenant->turn.next);
    if (tenant->grants != NULL)
        grant_table_close(tenant->grants);
    handshake_table_free(tenant->handshakes);
    session_table_free(tenant->sessions);
    tenant->handshakes = NULL;
    tenant->sessions = NULL;
}

static void
tenant_free(struct tenant *tenant)
{
    if (tenant == NULL)
        return;
    tenant_close(tenant);
    replay_store_free(tenant->replays);
    credential_store_free(tenant->credentials);
    service_store_free(tenant->services);
    peer_store_free(tenant->peers);
    key_store_free(tenant->keys);
    lock_free(tenant->lock);
    freeze_free(tenant->freeze);
    grant_table_free(tenant->grants);
    free(tenant->limits);
    free(tenant->dir);
    free(tenant);
}

/* Each kind in its own place. */
static ath_err
open_stores(struct tenant *tenant, struct why *why)
{
    static const char *const names[] = {"keys", "peers", "services", "credentials", "replay", "grants"};
    char *dirs[sizeof(names) / sizeof(names[0])] = {NULL};
    struct athd *athd = tenant->athd;
    ath_err err = ATH_OK;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if ((dirs[i] = file_path(tenant->dir, names[i])) == NULL)
            err = ATH_ERR_NOMEM;
    if (err == ATH_OK &&
        (err = freeze_open(athd, tenant->dir, why, &tenant->freeze)) == ATH_OK &&
        (err = key_store_open(athd, dirs[0], why, &tenant->keys)) == ATH_OK &&
        (err = peer_store_open(athd, dirs[1], why, &tenant->peers)) == ATH_OK)
        tenant->pins = peer_store_pins(tenant->peers);
    if (err == ATH_OK &&
        (err = service_store_open(athd, dirs[2], why, &tenant->services)) == ATH_OK &&
        (err = credential_store_open(athd, &tenant->pins, dirs[3], why, &tenant->credentials)) ==
            ATH_OK &&
        (err = replay_store_open(athd, dirs[4], why, &tenant->replays)) == ATH_OK)
        err = grant_table_open(tenant, dirs[5], why, &tenant->grants);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        free(dirs[i]);
    return err;
}

/* Takes dir. */
static ath_err
tenant_open(struct athd *athd, uid_t uid, char *taken_dir, struct why *why,
            struct tenant **ret_tenant)
{
    struct tenant *tenant = calloc(1, sizeof(*tenant));
    ath_err err;

    if (tenant == NULL || taken_dir == NULL) {
        free(tenant);
        free(taken_dir);
        return ATH_ERR_NOMEM;
    }
    *tenant = (struct tenant){.athd = athd, .uid = uid, .dir = taken_dir};
    TAILQ_INIT(&tenant->turn.waiting);
    if ((err = file_make_private_dir(tenant->dir, why)) != ATH_OK ||
        (err = open_stores(tenant, why)) != ATH_OK ||
        (err = handshake_table_new(tenant, &tenant->handshakes)) != ATH_OK ||
        (err = session_table_new(tenant, &tenant->sessions)) != ATH_OK ||
        (err = lock_open(tenant, &tenant->lock)) != ATH_OK) {
        tenant_free(tenant);
        return err;
    }
    SLIST_INSERT_HEAD(&athd->tenants.all, tenant, of_athd);
    athd->tenants.count++;
    if (athd->listener != NULL)
        grant_table_start(tenant->grants);
    *ret_tenant = tenant;
    return ATH_OK;
}

/* ---- one for each uid ---- */

static ath_err
open_of_uid(struct athd *athd, uid_t uid, struct why *why, struct tenant **ret_tenant)
{
    struct ath_buf path = {.max = 8192};
    char *dir;

    ath_buf_printf(&path, "%s/" USERS_DIR "/%lu", athd->config->state_dir, (unsigned long)uid);
    dir = ath_buf_text(&path) == NULL ? NULL : ath_strdup(ath_buf_text(&path));
    ath_buf_done(&path);
    return tenant_open(athd, uid, dir, why, ret_tenant);
}

static bool
is_uid(const char *name, uid_t *ret_uid)
{
    char text[UID_TEXT_SIZE];
    char *end = NULL;
    unsigned long number = strtoul(name, &end, 10);

    if (end == name || *end != '\0' || number >= UINT32_MAX)
        return false;
    (void)snprintf(text, sizeof(text), "%lu", number);
    *ret_uid = (uid_t)number;
    return strcmp(text, name) == 0; /* "007" and "+7" are nobody */
}

static ath_err
open_found(void *ctx, const char *name)
{
    struct athd *athd = ctx;
    struct why why = {{0}};
    struct tenant *tenant;
    uid_t uid = 0;
    ath_err err;

    if (!is_uid(name, &uid)) {
        log_warning("event=state reason=\"users/%s is no uid; it is left alone\"", name);
        return ATH_OK;
    }
    if ((err = open_of_uid(athd, uid, &why, &tenant)) == ATH_ERR_NOMEM)
        return err;
    if (err != ATH_OK) /* it is tried again when they call; the others are served */
        log_error("event=state uid=%lu reason=\"%s\"", (unsigned long)uid, why_text(&why, err));
    return ATH_OK;
}

static ath_err
found_one(void *ctx, const char *name)
{
    (void)name;
    *(bool *)ctx = true;
    return ATH_OK;
}

/* What an athd of one user had in the same place is nobody's here: whose it is can only be said by
 * a person. */
static void
look_for_keys_of_one(const struct athd *athd)
{
    const char *state = athd->config->state_dir;
    char *dir = file_path(state, "keys");
    struct why why = {{0}};
    bool is_found = false;

    if (dir != NULL && file_each(dir, ".json", found_one, &is_found, &why) == ATH_OK && is_found)
        log_warning("event=state reason=\"%s has keys of an athd without --system, which nobody "
                    "reaches here: stop athd and move keys, peers, services, credentials, replay, "
                    "frozen.json and lock.json from %s to %s/" USERS_DIR "/UID of the user they "
                    "belong to; see athd(8)\"",
                    dir, state, state);
    free(dir);
}

static ath_err
open_all(struct athd *athd, struct why *why)
{
    char *dir = file_path(athd->config->state_dir, USERS_DIR);
    ath_err err = dir == NULL ? ATH_ERR_NOMEM : file_make_private_dir(dir, why);

    look_for_keys_of_one(athd);

    if (err == ATH_OK)
        err = file_each(dir, "", open_found, athd, why);
    free(dir);
    return err;
}

/* What a kernel calls every uid that it has no number for (user_namespaces(7), overflowuid). */
#define UID_OVERFLOW 65534u
/* What systemd lends to services with DynamicUser=, each time to another (systemd's
 * docs/UIDS-GIDS.md). */
#define UID_DYNAMIC_FIRST 61184u
#define UID_DYNAMIC_LAST 65519u

static ath_err
check_uid(uid_t uid, struct why *why)
{
    if (uid == UID_OVERFLOW)
        return why_set(why, ATH_ERR_POLICY_DENIED,
                       "uid %u is everybody's who has no uid here (a container's, nobody's): give "
                       "the program a user of its own",
                       UID_OVERFLOW);
    if (uid >= UID_DYNAMIC_FIRST && uid <= UID_DYNAMIC_LAST)
        return why_set(why, ATH_ERR_POLICY_DENIED,
                       "uid %lu is lent by systemd (DynamicUser=) and another service's tomorrow: "
                       "give the service a user of its own",
                       (unsigned long)uid);
    return ATH_OK;
}

/* ---- all of them ---- */

ath_err
tenants_open(struct athd *athd, struct why *why)
{
    struct tenant *tenant;

    if (athd->config->is_system)
        return open_all(athd, why);
    return tenant_open(athd, athd->owner, ath_strdup(athd->config->state_dir), why, &tenant);
}

void
tenants_start(struct athd *athd)
{
    struct tenant *tenant;

    SLIST_FOREACH (tenant, &athd->tenants.all, of_athd)
        grant_table_start(tenant->grants);
}

void
tenants_settle(struct athd *athd)
{
    struct tenant *tenant;

    SLIST_FOREACH (tenant, &athd->tenants.all, of_athd)
        grant_table_close(tenant->grants);
}

void
tenants_close(struct athd *athd)
{
    struct tenant *tenant;

    SLIST_FOREACH (tenant, &athd->tenants.all, of_athd)
        tenant_close(tenant);
}

void
tenants_free(struct athd *athd)
{
    struct tenant *tenant;

    while ((tenant = SLIST_FIRST(&athd->tenants.all)) != NULL) {
        SLIST_REMOVE_HEAD(&athd->tenants.all, of_athd);
        tenant_free(tenant);
    }
    athd->tenants.count = 0;
}

ath_err
tenant_of_caller(struct athd *athd, const struct caller *caller, struct why *why,
                 struct tenant **ret_tenant)
{
    char lender[SUB_UID_LENDER_SIZE];
    struct tenant *tenant;
    ath_err err;

    if (athd->config->is_system && (err = check_uid(caller->uid, why)) != ATH_OK)
        return err;
    SLIST_FOREACH (tenant, &athd->tenants.all, of_athd)
        if (!athd->config->is_system || tenant->uid == caller->uid) {
            *ret_tenant = tenant;
            return ATH_OK;
        }
    if (sub_uid_is_lent(SUB_UID_FILE, caller->uid, lender))
        return why_set(why, ATH_ERR_POLICY_DENIED,
                       "uid %lu is lent to %s for containers (" SUB_UID_FILE
                       "): use athd as that user",
                       (unsigned long)caller->uid, lender);
    if (athd->tenants.count >= TENANTS_MAX)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED, "%u users have their things here already",
                       TENANTS_MAX);
    return open_of_uid(athd, caller->uid, why, ret_tenant);
}

bool
tenants_have_public(const struct athd *athd, const struct public_key *public_key)
{
    const struct tenant *tenant;

    SLIST_FOREACH (tenant, &athd->tenants.all, of_athd)
        if (key_store_find_public(tenant->keys, public_key) != NULL)
            return true;
    return false;
}

size_t
tenant_share(const struct athd *athd, size_t max)
{
    return athd->config->is_system ? max / 16 : max;
}

ath_err
tenant_check_key_count(const struct tenant *tenant, struct why *why)
{
    bool is_system = tenant->athd->config->is_system;
    size_t count = 0, own = key_store_count(tenant->keys);
    const struct tenant *other;

    if (is_system && own >= KEY_STORE_TENANT_MAX)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED,
                       "athd keeps %u keys of each user at most: delete some first",
                       KEY_STORE_TENANT_MAX);
    SLIST_FOREACH (other, &tenant->athd->tenants.all, of_athd)
        count += key_store_count(other->keys);
    if (count >= KEY_STORE_MAX)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED,
                       "athd keeps %u keys at most: some must be deleted first", KEY_STORE_MAX);
    /* a few who have as many as they may leave room for those who have none */
    if (is_system && own >= KEY_STORE_MAX - count)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED,
                       "you have %zu keys and athd has room for %zu: delete some first", own,
                       KEY_STORE_MAX - count);
    return ATH_OK;
}
