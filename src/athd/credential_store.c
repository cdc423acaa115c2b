#include "athd/credential_store.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/grant_room.h"
#include "athd/store_load.h"
#include "athd/string_map.h"
#include "base/base64url.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/digest.h"

#define CREDENTIAL_FILE_VERSION 1

struct credential_store {
    struct athd *athd;
    const struct did_pins *pins; /* borrowed */
    char *dir;
    struct string_map by_id;
    struct change *changes;
};

/* ---- one credential ---- */

/* A jti of another maker may be anything: only base64url goes into a file name. */
static ath_err
id_of(const struct json *text, const struct user_grant *grant, char **ret_id)
{
    struct ath_buf canonical = {0};
    uint8_t digest[SHA256_LEN];
    char id[BASE64URL_LEN(SHA256_LEN) + 1];
    ath_err err;

    if (base64url_is_alphabet(ath_slice_of_string(grant->jti), 1, JTI_MAX_LEN)) {
        *ret_id = ath_strdup(grant->jti);
        return *ret_id == NULL ? ATH_ERR_NOMEM : ATH_OK;
    }
    json_canonical(text, &canonical);
    if ((err = canonical.err) == ATH_OK &&
        (err = sha256(ath_buf_slice(&canonical), digest)) == ATH_OK) {
        base64url_encode(ath_slice_of(digest, sizeof(digest)), id);
        *ret_id = ath_strdup(id);
        err = *ret_id == NULL ? ATH_ERR_NOMEM : ATH_OK;
    }
    ath_buf_done(&canonical);
    return err;
}

ath_err
credential_new(struct json *taken_text, struct user_grant *taken_grant, int64_t now,
               struct credential **ret_credential)
{
    struct credential *credential = calloc(1, sizeof(*credential));
    ath_err err;

    if (credential == NULL) {
        json_free(taken_text);
        user_grant_done(taken_grant);
        return ATH_ERR_NOMEM;
    }
    credential->text = taken_text;
    credential->grant = *taken_grant;
    *taken_grant = (struct user_grant){0};
    credential->added_at = now;
    if ((err = id_of(credential->text, &credential->grant, &credential->id)) != ATH_OK)
        credential_free(credential);
    else
        *ret_credential = credential;
    return err;
}

void
credential_free(struct credential *credential)
{
    if (credential == NULL)
        return;
    user_grant_done(&credential->grant);
    json_free(credential->text);
    free(credential->id);
    free(credential->through);
    free(credential);
}

void
credential_put_grant(struct json_maker *maker, const char *jti, const struct user_grant *grant)
{
    struct json_maker audience;
    struct json *scopes = NULL;

    json_put_string(maker, "jti", jti);
    json_put_string(maker, "user_did", grant->user_did);
    json_put_string(maker, "client_did", grant->client_did);
    if (grant->audiences != NULL) {
        json_array_begin(&audience);
        for (size_t i = 0; i < grant->audience_count; i++)
            json_put_string(&audience, NULL, grant->audiences[i]);
        json_put_maker(maker, "audience", &audience);
    }
    if (scope_list_encode(&grant->scopes, &scopes) != ATH_OK)
        scopes = NULL; /* put_take turns it into an error */
    json_put_take(maker, "scopes", scopes);
    if (grant->issued_at != 0)
        json_put_int(maker, "iat", grant->issued_at);
    json_put_int(maker, "expires_at", grant->expires_at);
}

ath_err
credential_encode(const struct credential *credential, struct json **ret_object)
{
    struct json_maker maker;

    json_object_begin(&maker);
    credential_put_grant(&maker, credential->id, &credential->grant);
    json_put_copy(&maker, "credential", credential->text);
    return json_maker_end(&maker, ret_object);
}

/* ---- the directory ---- */

/* Takes the credential, also on failure. */
static ath_err
add(struct credential_store *store, struct credential *credential)
{
    struct credential *old = string_map_get(&store->by_id, credential->id);
    ath_err err;

    if ((err = string_map_put(&store->by_id, credential->id, credential)) != ATH_OK)
        credential_free(credential);
    else
        credential_free(old);
    return err;
}

static void
on_pruned(void *ctx, ath_err err, const struct why *why)
{
    (void)ctx;
    if (err != ATH_OK && err != ATH_ERR_NOT_FOUND)
        log_warning("event=credential_prune err=%s why=\"%s\"", ath_err_reason(err),
                    why_text(why, err));
}

static void
remove_file(struct credential_store *store, const char *id)
{
    char *path = store_file_path(store->dir, id, ".json");

    if (path != NULL)
        store_remove(store->athd, path, on_pruned, NULL);
    free(path);
}

static ath_err
load_credential(void *ctx, const char *stem, const struct json *object, struct why *why)
{
    struct credential_store *store = ctx;
    struct credential *credential = NULL;
    struct user_grant grant = {0};
    struct json *text;
    int64_t expires_at, added_at, now = clock_now();
    ath_err err;

    if (!json_get_int(object, "expires_at", &expires_at) ||
        !json_get_int(object, "added_at", &added_at))
        return why_set(why, ATH_ERR_PARSE, "expires_at or added_at is missing");
    if (expires_at <= now) {
        remove_file(store, stem);
        return ATH_OK;
    }
    err = user_grant_read(json_get(object, "credential"), store->pins, now, why, &grant);
    if (err != ATH_OK)
        return err;
    if ((text = json_clone(json_get(object, "credential"))) == NULL) {
        user_grant_done(&grant);
        return ATH_ERR_NOMEM;
    }
    if ((err = credential_new(text, &grant, added_at, &credential)) != ATH_OK)
        return err;
    if ((err = ath_strdup_to(json_get_string(object, "through"), &credential->through)) != ATH_OK) {
        credential_free(credential);
        return err;
    }
    return add(store, credential);
}

ath_err
credential_store_open(struct athd *athd, const struct did_pins *pins, const char *dir,
                      struct why *why,
                      struct credential_store **ret_store)
{
    struct credential_store *store = calloc(1, sizeof(*store));
    ath_err err = ATH_ERR_NOMEM;

    if (store == NULL || (store->dir = ath_strdup(dir)) == NULL)
        goto out;
    store->athd = athd;
    store->pins = pins;
    if ((err = store_load(athd, dir, load_credential, NULL, store, why)) != ATH_OK)
        goto out;
    *ret_store = store;
    store = NULL;
out:
    credential_store_free(store);
    return err;
}

void
credential_store_free(struct credential_store *store)
{
    struct credential *credential;
    size_t cursor = 0;

    if (store == NULL)
        return;
    while ((credential = string_map_next(&store->by_id, &cursor)) != NULL)
        credential_free(credential);
    string_map_done(&store->by_id);
    free(store->dir);
    free(store);
}

const struct credential *
credential_store_find(const struct credential_store *store, const char *id)
{
    return string_map_get(&store->by_id, id);
}

void
credential_store_each(const struct credential_store *store,
                      void (*each)(void *ctx, const struct credential *credential), void *ctx)
{
    void **credentials = string_map_sorted(&store->by_id);

    for (size_t i = 0; credentials != NULL && i < store->by_id.count; i++)
        each(ctx, credentials[i]);
    free(credentials);
}

void
credential_store_prune(struct credential_store *store, int64_t now)
{
    void **credentials = string_map_sorted(&store->by_id);
    size_t count = store->by_id.count;

    for (size_t i = 0; credentials != NULL && i < count; i++) {
        struct credential *credential = credentials[i];

        if (credential->grant.expires_at > now)
            continue;
        (void)string_map_remove(&store->by_id, credential->id);
        remove_file(store, credential->id);
        credential_free(credential);
    }
    free(credentials);
}

/* ---- choosing ---- */

static size_t
scopes_covered(const struct scope_list *wanted, const struct scope_list *held)
{
    size_t covered = 0;

    for (size_t i = 0; i < wanted->count; i++)
        covered += scope_list_has(held, wanted->items[i]);
    return covered;
}

static bool
is_newer(const struct credential *a, const struct credential *b)
{
    if (a->grant.issued_at != b->grant.issued_at)
        return a->grant.issued_at > b->grant.issued_at;
    return a->added_at > b->added_at;
}

/* server_did NULL: whatever the server. */
static bool
is_for(const struct user_grant *grant, const char *client_did, const char *server_did)
{
    return server_did == NULL ? strcmp(grant->client_did, client_did) == 0
                              : user_grant_is_for(grant, client_did, server_did);
}

const struct credential *
credential_store_choose(const struct credential_store *store, const char *client_did,
                        const char *server_did, const struct scope_list *scopes, int64_t now)
{
    const struct credential *credential, *best = NULL;
    size_t cursor = 0, best_covered = 0;

    while ((credential = string_map_next(&store->by_id, &cursor)) != NULL) {
        size_t covered = scopes_covered(scopes, &credential->grant.scopes);

        if (covered == 0 || covered < best_covered || credential->grant.expires_at <= now ||
            !is_for(&credential->grant, client_did, server_did))
            continue;
        if (covered > best_covered || is_newer(credential, best)) {
            best = credential;
            best_covered = covered;
        }
    }
    return best;
}

/* ---- changes ---- */

struct change {
    struct change *next; /* of those under way */
    struct credential_store *store;
    struct credential *credential; /* owned */
    store_done_fn *done;
    void *ctx;
};

static void
on_written(void *ctx, ath_err err, const struct why *why)
{
    struct change *change = ctx, **link = &change->store->changes;

    while (*link != change)
        link = &(*link)->next;
    *link = change->next;
    if (err == ATH_OK)
        err = add(change->store, change->credential);
    else
        credential_free(change->credential);
    change->done(change->ctx, err, why);
    free(change);
}

static ath_err
text_of(const struct credential *credential, struct ath_buf *out)
{
    struct json_maker maker;
    struct json *object = NULL;
    ath_err err;

    json_object_begin(&maker);
    json_put_int(&maker, "version", CREDENTIAL_FILE_VERSION);
    json_put_int(&maker, "added_at", credential->added_at);
    json_put_int(&maker, "expires_at", credential->grant.expires_at);
    json_put_string(&maker, "through", credential->through);
    json_put_copy(&maker, "credential", credential->text);
    if ((err = json_maker_end(&maker, &object)) == ATH_OK)
        err = store_file_text(object, out);
    json_free(object);
    return err;
}

/* Two grants of one jti: a maker's mistake, or somebody's attempt to push one out. */
static bool
is_other(const struct credential *held, const struct credential *credential)
{
    return held != NULL && strcmp(held->id, credential->id) == 0 &&
           !json_equal(held->text, credential->text);
}

static ath_err
check_room(const struct credential_store *store, const struct credential *credential)
{
    if (is_other(credential_store_find(store, credential->id), credential))
        return ATH_ERR_EXISTS;
    for (const struct change *change = store->changes; change != NULL; change = change->next)
        if (is_other(change->credential, credential))
            return ATH_ERR_EXISTS;
    return store->by_id.count >= tenant_share(store->athd, CREDENTIALS_MAX) ? ATH_ERR_LIMIT_EXCEEDED
                                                                            : ATH_OK;
}

static bool
came_through(const struct credential *credential, const char *name)
{
    return credential->through != NULL && strcmp(credential->through, name) == 0;
}

ath_err
credential_store_check_room(const struct credential_store *store,
                            const struct credential *credential, struct why *why)
{
    const char *name = credential->through;
    size_t own = 0, held = store->by_id.count, cursor = 0;
    const struct credential *other;

    if (name == NULL || credential_store_find(store, credential->id) != NULL)
        return ATH_OK;
    while ((other = string_map_next(&store->by_id, &cursor)) != NULL)
        own += came_through(other, name);
    for (const struct change *change = store->changes; change != NULL; change = change->next) {
        own += came_through(change->credential, name);
        held++;
    }
    return grant_room_check(name, own, held, tenant_share(store->athd, CREDENTIALS_MAX), why);
}

ath_err
credential_store_put(struct credential_store *store, struct credential *taken_credential,
                     store_done_fn *done, void *ctx)
{
    struct ath_buf text = {.max = STORE_FILE_MAX};
    struct change *change = NULL;
    char *path = store_file_path(store->dir, taken_credential->id, ".json");
    ath_err err = path == NULL ? ATH_ERR_NOMEM : text_of(taken_credential, &text);

    credential_store_prune(store, taken_credential->added_at);
    if (err == ATH_OK)
        err = check_room(store, taken_credential);
    if (err == ATH_OK && (change = calloc(1, sizeof(*change))) == NULL)
        err = ATH_ERR_NOMEM;
    if (err != ATH_OK) {
        credential_free(taken_credential);
    } else {
        *change = (struct change){store->changes, store, taken_credential, done, ctx};
        store->changes = change;
        store_replace(store->athd, path, &text, on_written, change);
    }
    ath_buf_done(&text);
    free(path);
    return err;
}
