#include "athd/peer_store.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/store_load.h"
#include "athd/string_map.h"
#include "crypto/digest.h"
#include "protocol/origin.h"

#define PEER_FILE_VERSION 1

struct peer_store {
    struct athd *athd;
    char *dir;
    struct string_map by_did, by_origin;
    struct change *changes;
};

/* ---- one peer ---- */

ath_err
peer_new(const char *did, const struct public_key *public_key, const char *origin, const char *name,
         int64_t now, struct peer **ret_peer)
{
    struct peer *peer = calloc(1, sizeof(*peer));

    if (peer == NULL)
        return ATH_ERR_NOMEM;
    peer->pinned_at = now;
    peer->public_key = public_key_ref(public_key);
    peer->did = ath_strdup(did);
    peer->origin = ath_strdup(origin);
    peer->name = ath_strdup(name);
    if (peer->did == NULL || (origin != NULL && peer->origin == NULL) ||
        (name != NULL && peer->name == NULL)) {
        peer_free(peer);
        return ATH_ERR_NOMEM;
    }
    *ret_peer = peer;
    return ATH_OK;
}

void
peer_free(struct peer *peer)
{
    if (peer == NULL)
        return;
    public_key_free(peer->public_key);
    free(peer->name);
    free(peer->origin);
    free(peer->did);
    free(peer);
}

static void
put_members(struct json_maker *maker, const struct peer *peer)
{
    struct ath_buf pem = {.max = 1024};

    json_put_string(maker, "did", peer->did);
    json_put_string(maker, "name", peer->name);
    json_put_string(maker, "origin", peer->origin);
    if (peer->public_key != NULL) {
        public_key_put_pem(peer->public_key, &pem);
        json_put_slice(maker, "public_pem", ath_buf_slice(&pem));
    }
    json_put_int(maker, "pinned_at", peer->pinned_at);
    ath_buf_done(&pem);
}

ath_err
peer_encode(const struct peer *peer, struct json **ret_object)
{
    struct json_maker maker;

    json_object_begin(&maker);
    put_members(&maker, peer);
    return json_maker_end(&maker, ret_object);
}

/* ---- the directory ---- */

/* DIR/<sha256 of the DID, hex>.json: DIDs are too long and too odd for file names. */
static char *
path_of(const struct peer_store *store, const char *did)
{
    uint8_t digest[SHA256_LEN];
    struct ath_buf hex = {.max = 2 * SHA256_LEN + 1};
    char *path = NULL;

    if (sha256(ath_slice_of_string(did), digest) != ATH_OK)
        return NULL;
    for (size_t i = 0; i < sizeof(digest); i++)
        ath_buf_printf(&hex, "%02x", digest[i]);
    if (ath_buf_text(&hex) != NULL)
        path = store_file_path(store->dir, (const char *)hex.data, ".json");
    ath_buf_done(&hex);
    return path;
}

static ath_err
text_of(const struct peer *peer, struct ath_buf *out)
{
    struct json_maker maker;
    struct json *object = NULL;
    ath_err err;

    json_object_begin(&maker);
    json_put_int(&maker, "version", PEER_FILE_VERSION);
    put_members(&maker, peer);
    if ((err = json_maker_end(&maker, &object)) == ATH_OK)
        err = store_file_text(object, out);
    json_free(object);
    return err;
}

struct change {
    struct change *next; /* of those under way */
    bool superseded;     /* removed again before it was written */
    struct peer_store *store;
    struct peer *peer; /* owned; NULL for a removal */
    store_done_fn *done;
    void *ctx;
};

/* The origin has gone to another peer. On disk, too: else it would come back when that one is
 * removed. A write of this peer that is under way has its own word on that. */
static void
give_up_origin(struct peer_store *store, struct peer *peer)
{
    struct ath_buf text = {.max = STORE_FILE_MAX};
    const struct change *change;
    char *path = path_of(store, peer->did);

    free(peer->origin);
    peer->origin = NULL;
    for (change = store->changes; change != NULL; change = change->next)
        if (change->peer != NULL && strcmp(change->peer->did, peer->did) == 0)
            break;
    if (change == NULL && path != NULL && text_of(peer, &text) == ATH_OK)
        store_replace(store->athd, path, &text, NULL, NULL); /* that it failed is in the log */
    ath_buf_done(&text);
    free(path);
}

/* Takes the peer, also on failure. */
static ath_err
add(struct peer_store *store, struct peer *peer)
{
    struct peer *old = string_map_get(&store->by_did, peer->did), *holder;
    ath_err err;

    if ((err = string_map_put(&store->by_did, peer->did, peer)) != ATH_OK) {
        peer_free(peer);
        return err;
    }
    if (old != NULL && old->origin != NULL && string_map_get(&store->by_origin, old->origin) == old)
        (void)string_map_remove(&store->by_origin, old->origin);
    peer_free(old);
    if (peer->origin == NULL)
        return ATH_OK;
    holder = string_map_get(&store->by_origin, peer->origin);
    if (holder != NULL && holder->pinned_at > peer->pinned_at) {
        give_up_origin(store, peer); /* only while files are read, in no order */
        return ATH_OK;
    }
    err = string_map_put(&store->by_origin, peer->origin, peer);
    if (err == ATH_OK && holder != NULL)
        give_up_origin(store, holder);
    return err;
}

static ath_err
load_peer(void *ctx, const char *stem, const struct json *object, struct why *why)
{
    const char *did = json_get_string(object, "did"), *pem = json_get_string(object, "public_pem");
    const char *origin = json_get_string(object, "origin");
    struct public_key *public_key = NULL;
    struct peer *peer = NULL;
    int64_t pinned_at;
    ath_err err;

    (void)stem;
    if (did == NULL || !did_is_valid(did) || !json_get_int(object, "pinned_at", &pinned_at))
        return why_set(why, ATH_ERR_PARSE, "did or pinned_at is missing or wrong");
    if (origin != NULL && !origin_is_valid(origin))
        return why_set(why, ATH_ERR_PARSE, "origin is not an origin");
    if (pem != NULL &&
        (err = public_key_from_pem(ath_slice_of_string(pem), why, &public_key)) != ATH_OK)
        return err;
    err = peer_new(did, public_key, origin, json_get_string(object, "name"), pinned_at, &peer);
    public_key_free(public_key);
    return err == ATH_OK ? add(ctx, peer) : err;
}

ath_err
peer_store_open(struct athd *athd, const char *dir, struct why *why, struct peer_store **ret_store)
{
    struct peer_store *store = calloc(1, sizeof(*store));
    ath_err err = ATH_ERR_NOMEM;

    if (store == NULL || (store->dir = ath_strdup(dir)) == NULL)
        goto out;
    store->athd = athd;
    if ((err = store_load(athd, dir, load_peer, NULL, store, why)) != ATH_OK)
        goto out;
    *ret_store = store;
    store = NULL;
out:
    peer_store_free(store);
    return err;
}

void
peer_store_free(struct peer_store *store)
{
    size_t cursor = 0;
    struct peer *peer;

    if (store == NULL)
        return;
    while ((peer = string_map_next(&store->by_did, &cursor)) != NULL)
        peer_free(peer);
    string_map_done(&store->by_did);
    string_map_done(&store->by_origin);
    free(store->dir);
    free(store);
}

const struct peer *
peer_store_find(const struct peer_store *store, const char *did)
{
    return string_map_get(&store->by_did, did);
}

const struct peer *
peer_store_find_origin(const struct peer_store *store, const char *origin)
{
    return string_map_get(&store->by_origin, origin);
}

void
peer_store_each(const struct peer_store *store, void (*each)(void *ctx, const struct peer *peer),
                void *ctx)
{
    void **peers = string_map_sorted(&store->by_did);

    for (size_t i = 0; peers != NULL && i < store->by_did.count; i++)
        each(ctx, peers[i]);
    free(peers);
}

static const struct public_key *
key_of(void *ctx, const char *did)
{
    const struct peer *peer = peer_store_find(ctx, did);

    return peer == NULL ? NULL : peer->public_key;
}

struct did_pins
peer_store_pins(struct peer_store *store)
{
    return (struct did_pins){key_of, store};
}

/* ---- changes ---- */

static struct change *
change_new(struct peer_store *store, struct peer *taken_peer, store_done_fn *done, void *ctx)
{
    struct change *change = calloc(1, sizeof(*change));

    if (change == NULL)
        peer_free(taken_peer);
    else
        *change = (struct change){store->changes, false, store, taken_peer, done, ctx};
    if (change != NULL)
        store->changes = change;
    return change;
}

/* Tells the caller, and forgets it. */
static void
change_end(struct change *change, ath_err err, const struct why *why)
{
    struct change **link = &change->store->changes;

    while (*link != change)
        link = &(*link)->next;
    *link = change->next;
    change->done(change->ctx, err, why);
    free(change);
}

static void
on_written(void *ctx, ath_err err, const struct why *why)
{
    struct change *change = ctx;

    if (err == ATH_OK && !change->superseded)
        err = add(change->store, change->peer);
    else
        peer_free(change->peer);
    change_end(change, err, why);
}

ath_err
peer_store_put(struct peer_store *store, struct peer *taken_peer, store_done_fn *done, void *ctx)
{
    struct ath_buf text = {.max = STORE_FILE_MAX};
    struct change *change = NULL;
    char *path = path_of(store, taken_peer->did);
    ath_err err = path == NULL ? ATH_ERR_NOMEM : text_of(taken_peer, &text);

    if (err == ATH_OK && store->by_did.count >= tenant_share(store->athd, PEERS_MAX) &&
        peer_store_find(store, taken_peer->did) == NULL)
        err = ATH_ERR_LIMIT_EXCEEDED;
    if (err != ATH_OK)
        peer_free(taken_peer);
    else if ((change = change_new(store, taken_peer, done, ctx)) == NULL)
        err = ATH_ERR_NOMEM;
    else
        store_replace(store->athd, path, &text, on_written, change);
    ath_buf_done(&text);
    free(path);
    return err;
}

static void
on_removed(void *ctx, ath_err err, const struct why *why)
{
    change_end(ctx, err, why);
}

ath_err
peer_store_remove(struct peer_store *store, const char *did, store_done_fn *done, void *ctx)
{
    struct peer *peer = string_map_get(&store->by_did, did);
    struct change *change;
    char *path;

    if (peer == NULL)
        return ATH_ERR_NOT_FOUND;
    if ((path = path_of(store, did)) == NULL)
        return ATH_ERR_NOMEM;
    if ((change = change_new(store, NULL, done, ctx)) == NULL) {
        free(path);
        return ATH_ERR_NOMEM;
    }
    for (struct change *other = store->changes; other != NULL; other = other->next)
        if (other->peer != NULL && strcmp(other->peer->did, did) == 0)
            other->superseded = true;
    (void)string_map_remove(&store->by_did, did);
    if (peer->origin != NULL && string_map_get(&store->by_origin, peer->origin) == peer)
        (void)string_map_remove(&store->by_origin, peer->origin);
    peer_free(peer);
    store_remove(store->athd, path, on_removed, change);
    free(path);
    return ATH_OK;
}
