/* The trust store: which DID stands for which key, and which DID an https origin is. The owner's
 * own decisions (peer.pin, first contact): PEERS/<sha256 of the DID>.json. */
#ifndef ATHD_PEER_STORE_H
#define ATHD_PEER_STORE_H

#include "athd/store.h"
#include "protocol/did.h"

struct athd;
struct peer_store;

#define PEERS_MAX 65536u

struct peer {
    char *did;
    struct public_key *public_key; /* NULL: the DID proves its key and none was given */
    char *origin;                  /* NULL: none */
    char *name;                    /* NULL: none */
    int64_t pinned_at;
};

/* NULL strings stay NULL. ATH_ERR_NOMEM. */
ath_err peer_new(const char *did, const struct public_key *public_key, const char *origin,
                 const char *name, int64_t now, struct peer **ret_peer) ATH_MUST_USE;
void peer_free(struct peer *peer);
ath_err peer_encode(const struct peer *peer, struct json **ret_object) ATH_MUST_USE;

/* Reads the directory (blocking, start-up); damaged files are logged and left out. */
ath_err peer_store_open(struct athd *athd, const char *dir, struct why *why,
                        struct peer_store **ret_store) ATH_MUST_USE;
void peer_store_free(struct peer_store *store);

/* Borrowed until the next call that changes the store. NULL: none. */
const struct peer *peer_store_find(const struct peer_store *store, const char *did);
const struct peer *peer_store_find_origin(const struct peer_store *store, const char *origin);
void peer_store_each(const struct peer_store *store,
                     void (*each)(void *ctx, const struct peer *peer), void *ctx);
/* For the protocol layer; lives as long as the store. */
struct did_pins peer_store_pins(struct peer_store *store);

/* Pins durably, in place of an older pin of the DID; an origin moves to the newest pin that names
 * it. In the store when done says ATH_OK. ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_NOMEM: done is not
 * called; the peer is taken either way. */
ath_err peer_store_put(struct peer_store *store, struct peer *taken_peer, store_done_fn *done,
                       void *ctx) ATH_MUST_USE;
/* Out of the store at once. ATH_ERR_NOT_FOUND, ATH_ERR_NOMEM: done is not called. */
ath_err peer_store_remove(struct peer_store *store, const char *did, store_done_fn *done,
                          void *ctx) ATH_MUST_USE;

#endif
