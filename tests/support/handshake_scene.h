/*
 * A user, a client and a server with test keys, and the machines between them: for tests that run a
 * handshake up to some message, change it, and look what the next one says. With `recorded` set the
 * signatures are taken from an earlier run instead of made, which replays it exactly (random bytes
 * and the time are fixed).
 */
#ifndef TESTS_HANDSHAKE_SCENE_H
#define TESTS_HANDSHAKE_SCENE_H

#include "protocol/handshake_client.h"
#include "protocol/handshake_server.h"
#include "tests/support/support.h"
#include "tests/support/test_key.h"

#define SCENE_NOW 1790000000
#define SCENE_SEED 1000 /* random_bytes is seeded with this plus the step before each call */
#define SCENE_TRACE "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

struct party {
    struct test_key *pair;
    struct public_key *key;
    char did[DID_ATH_MAX_LEN];
};

struct scene_options { /* NULL, 0, false: the default */
    bool confirm;
    const char *requested;   /* scopes, space-separated */
    const char *granted;     /* by the user in the grant */
    const char *allowed;     /* by the service for the client */
    const char *supported;
    int64_t ttl, token_max_ttl, grant_ttl;
    const char *context, *trace;
    const char *origin;      /* the client knows an origin, not a DID */
    const char *origin_pin;
    const char *restrictions; /* JSON text */
    enum test_key_kind client_kind, server_kind, user_kind;
    const char *client_key, *server_key, *user_key; /* names of test keys: a key for two roles */
    const char *client_did;        /* instead of the one that follows from the key */
    const struct did_pins *pins;   /* everybody's */
    bool no_credential;      /* GRANT is needed */
    const char *audience;    /* the grant's; "": any server. Default: the server */
    struct json *grant;      /* this one instead; borrowed */
    const char *agents, *users; /* JSON texts for the service */
};

struct scene {
    struct scene_options options;
    struct party user, client, server;
    struct json *grant;
    struct scope_list requested;
    struct service *service;
    struct confirmation_gate *gate;
    struct handshake_client *c;
    struct handshake_server *s;
    struct confirmation *asked; /* the user's side of M6 */
    struct json *m[10];         /* 1 to 9, as they were made */
    struct handshake_need need; /* of the last call */
    int64_t now;
    uint64_t seed;
    bool random;                  /* real randomness instead of the seed */
    const struct scene *recorded; /* borrowed */
    bool allocations_fail;        /* nothing of ours may allocate inside a call of a machine */
    unsigned client_signatures, server_signatures, user_signatures;
    struct scope_list *approve;   /* what the user approves; NULL: all; borrowed */
    bool user_says_no;
};

void party_init(struct party *party, enum did_role role, enum test_key_kind kind, const char *name);
void party_done(struct party *party);
/* Signs like hardware: JOSE form, into a buffer of SIGNATURE_MAX_LEN. */
struct ath_slice party_sign(const struct party *party, struct ath_slice message,
                            uint8_t buffer[SIGNATURE_MAX_LEN]);

/* A grant as a JWS. audience NULL: any server. */
struct json *scene_make_grant(const struct party *user, const char *client_did, const char *audience,
                              const char *scopes, int64_t issued_at, int64_t expires_at);
struct scope_list scene_scopes(const char *text); /* the caller ends it */
struct json *scene_json(const char *text);        /* text -> JSON, which must hold */

void scene_init(struct scene *scene, const struct scene_options *options); /* NULL: all defaults */
void scene_done(struct scene *scene);

/* Replays `recorded` into the machine that message `step` is for, up to just before it. The user's side
 * has no state. */
void scene_replay_receiver(struct scene *scene, int step);

/* Makes all messages up to m[step] (what was made stays). Steps 6 and 7 are passed over where there is
 * no confirmation; 10 lets the client take M8 and M9. Each call must succeed. */
void scene_run(struct scene *scene, int step);

/* One call of a machine, signatures included; scene->need is what came out in the end. */
ath_err scene_client_start(struct scene *scene, struct why *why);
ath_err scene_client_receive(struct scene *scene, const struct json *message);
ath_err scene_server_accept(struct scene *scene, const struct json *m1, struct why *why);
ath_err scene_server_receive(struct scene *scene, const struct json *message);
/* The user's side: M6 in, *ret_m7 out. */
ath_err scene_user_answer(struct scene *scene, const struct json *m6, struct json **ret_m7);

/* T0 ... T5, T8 over scene->m. */
void scene_transcript(const struct scene *scene, int n, uint8_t ret_t[SHA256_LEN]);
/* Puts a fresh signature by `party` over label, t and the message without it. */
void scene_sign_message(const struct party *party, const char *label, const uint8_t t[SHA256_LEN],
                        struct json *message, const char *container, const char *member);
/* The same as leaf `index` of a batch of `size` (2 to 8). */
void scene_sign_batch(const struct party *party, const char *label, const uint8_t t[SHA256_LEN],
                      struct json *message, size_t index, size_t size);
/* M9 for this M8 as a server makes it that signs whatever it likes: `edit` may change the claims. */
struct json *scene_forge_complete(const struct scene *scene, const struct json *m8,
                                  void (*edit)(struct json_maker *claims, const void *ctx),
                                  const void *ctx);

/* The signature in m[step] (2, 3, 5, 6 or 7) made anew by whom it belongs to. */
void scene_resign(struct scene *scene, int step);
/* m[step] to whom it is for must be refused with err. */
void assert_step_refused(struct scene *scene, int step, ath_err err);
/* ... must be taken. */
void assert_step_taken(struct scene *scene, int step);

/* Changing a member of a message, in place. */
void json_set_string(struct json *object, const char *name, const char *text);
void json_set_int(struct json *object, const char *name, int64_t value);
void json_set_json(struct json *object, const char *name, const char *json_text);

/* The last call was refused with err (need FAILED). */
void assert_refused(const struct scene *scene, ath_err err);

#endif
