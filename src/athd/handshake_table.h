/*
 * Handshakes under way: memory only. Each holds its machine, its key and what its caller was last
 * told; its end (done, failed, too late) leaves it in the table for a while, so that a message that
 * comes twice and handshake.get still find the answer.
 */
#ifndef ATHD_HANDSHAKE_TABLE_H
#define ATHD_HANDSHAKE_TABLE_H

#include <sys/queue.h>

#include "athd/key_store.h"
#include "athd/request.h"
#include "athd/service_store.h"
#include "protocol/handshake_client.h"
#include "protocol/handshake_server.h"

struct handshake_table;
struct tenant;

#define HANDSHAKE_ID_LEN 22
#define HANDSHAKE_TTL_DEFAULT_S 3600 /* of what a client asks for */
#define HANDSHAKES_MAX 65536u
#define HANDSHAKES_ENDED_MAX 4096u /* of those: a few KiB each, and strangers choose how many come */
#define HANDSHAKES_PER_CALLER 4096u /* running ones that it started as client */

struct handshake { /* counted: the table, and the request that works on it */
    unsigned references;
    struct handshake_table *table; /* NULL: no longer in it */
    LIST_ENTRY(handshake) of_table;
    TAILQ_ENTRY(handshake) of_life;     /* of those that run, or of those that have ended */
    LIST_ENTRY(handshake) of_half_open; /* while half_open */
    uint64_t caller_identity;           /* of who started or accepted it */
    char id[HANDSHAKE_ID_LEN + 1];
    struct key *key; /* counted */
    int64_t started_at;
    int64_t ended_at;  /* 0: still running */
    ath_err ended_err; /* why it failed; ATH_OK: done, or running */
    char *trace;       /* NULL: none */

    /* one of the two; both NULL after an end that needs no machine any more (too late, aborted) */
    struct handshake_client *client;
    struct handshake_server *server;

    /* client */
    struct key *user_key; /* counted; NULL: no grant is issued on the way */
    struct scope_list scopes;
    int64_t ttl;
    char *origin, *wanted_did; /* one of them: how the caller named the server */
    bool asks_first;         /* the rule that allowed the start wants a yes before a signature */
    struct policy_memo memo; /* what that yes is remembered as */

    /* server */
    struct service_entry *service; /* counted; NULL for a client */
    char *source;                  /* "": none given */
    char *hello;                   /* b64u(H(JCS(M1))): the same M1 gets the same M2 */
    bool half_open;                /* counted in the service's memory */

    /* the step that is being worked on */
    struct request *request;    /* NULL: none; a second request is told HSM_BUSY */
    struct json *message;       /* the message it brought; NULL: M1 is being made */
    struct handshake_need need; /* what the machine waits for */
    bool approved;              /* the user allowed the key's use, where that is asked */
    bool stalled;               /* `need` was not met: the same message may come again */

    struct ath_buf answer; /* what the last step was answered with; empty: nothing yet. Text:
                            * a tree of what a stranger chose can take forty times as much */
};

ath_err handshake_table_new(struct tenant *tenant, struct handshake_table **ret_table) ATH_MUST_USE;
/* Ends all. The timer's memory goes when the loop has closed it. */
void handshake_table_free(struct handshake_table *table);

/* A handshake with one reference, the caller's, not in the table. trace may be NULL. NULL: out of
 * memory. */
struct handshake *handshake_new(struct key *key, const char *trace);
struct handshake *handshake_ref(struct handshake *handshake);
void handshake_free(struct handshake *handshake); /* drops one reference; NULL is fine */
bool handshake_is_client(const struct handshake *handshake);
const char *
handshake_state(const struct handshake *handshake); /* "waiting" "confirm" "done" "failed" */

/* Puts it under handshake->id, with a reference of its own; a server's is half-open then. When the
 * table is full, the one that ended first is forgotten. ATH_ERR_NOMEM, ATH_ERR_LIMIT_EXCEEDED. */
ath_err handshake_table_add(struct handshake_table *table,
                            struct handshake *handshake) ATH_MUST_USE;
/* Takes it out: nobody was told of it. */
void handshake_table_remove(struct handshake_table *table, struct handshake *handshake);
struct handshake *handshake_table_find(const struct handshake_table *table,
                                       const char *id); /* NULL: none */
/* A half-open handshake that began with this M1 from this source; NULL: none. */
struct handshake *handshake_table_find_hello(const struct handshake_table *table, const char *hello,
                                             const char *source);
/* How many half-open handshakes of a service a source has. */
size_t handshake_table_half_open(const struct handshake_table *table,
                                 const struct service_memory *service, const char *source);

/* Half-open ends with the first valid M3, or with the handshake: looks at the machine. */
void handshake_note_progress(struct handshake *handshake);
/* The end: err ATH_OK is success. The machine stays, to repeat its answer. Only the first one
 * counts. */
void handshake_end(struct handshake *handshake, ath_err err);
/* The end from outside: the machine goes, and a request that works on it is cancelled. */
void handshake_abort(struct handshake *handshake, ath_err err);
void handshake_table_abort_service(struct handshake_table *table, const char *service_name);
/* Those of an identity: its grant has ended. */
void handshake_table_abort_of(struct handshake_table *table, uint64_t caller_identity);

size_t handshake_table_count(const struct handshake_table *table); /* those that are running */
void handshake_table_each(const struct handshake_table *table,
                          void (*each)(void *ctx, const struct handshake *handshake), void *ctx);

#endif
