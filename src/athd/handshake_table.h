/*
 * Handshakes under way: memory only. Each holds its machine, its key and what its caller was last
 * told; its end (done, failed, too late) leaves it in the table for a while, so that a message that
 * comes twice and handshake.get still find the answer.
 */
#ifndef ATHD_HANDSHAKE_TABLE_H
#define ATHD_HANDSHAKE_TABLE_H

#include "athd/key_store.h"
#include "athd/request.h"
#include "athd/service_store.h"
#include "protocol/handshake_client.h"
#include "protocol/handshake_server.h"

struct handshake_table;

#define HANDSHAKE_ID_LEN 22

struct handshake { /* counted: the table, and the request that works on it */
    unsigned references;
    struct handshake_table *table;
    char id[HANDSHAKE_ID_LEN + 1];
    struct key *key;                 /* counted */
    int64_t started_at;
    int64_t ended_at;                /* 0: still running */
    ath_err ended_err;               /* why it failed; ATH_OK: done, or running */
    bool listed;                     /* in the table; not yet, while M2 is being signed */
    char *trace;                     /* NULL: none */

    /* one of the two */
    struct handshake_client *client;
    struct handshake_server *server;

    /* client */
    struct key *user_key;            /* counted; NULL: no grant is issued on the way */
    struct scope_list scopes;
    int64_t ttl;
    char *origin;                    /* NULL: the server was named by its DID */

    /* server */
    struct service_entry *service;   /* counted */
    char *source;                    /* "": none given */
    char *hello;                     /* b64u(H(JCS(M1))): the same M1 gets the same M2 */
    bool half_open;                  /* counted in the service's memory */

    /* the step that is being worked on */
    struct request *request;         /* NULL: none; a second request is told HSM_BUSY */
    struct json *message;            /* the message it brought */
    struct handshake_need need;      /* a signature that was not made, to be taken up again */
    bool stalled;                    /* `need` waits for the same message to come again */

    struct json *answer;             /* what the last step was answered with */
};

ath_err handshake_table_new(struct athd *athd, struct handshake_table **ret_table) ATH_MUST_USE;
/* Ends all. The memory itself goes when the loop has closed the table's timer. */
void handshake_table_free(struct handshake_table *table);

/* An empty handshake with one reference, the caller's; not in the table. NULL: out of memory. */
struct handshake *handshake_new(struct handshake_table *table, struct key *key, const char *trace);
struct handshake *handshake_ref(struct handshake *handshake);
void handshake_free(struct handshake *handshake); /* drops one reference; NULL is fine */

/* Puts it under handshake->id. ATH_ERR_NOMEM, ATH_ERR_LIMIT_EXCEEDED (65,536). */
ath_err handshake_table_add(struct handshake_table *table, struct handshake *handshake) ATH_MUST_USE;
struct handshake *handshake_table_find(const struct handshake_table *table, const char *id); /* NULL: none */
/* A half-open handshake that began with this M1 from this source; NULL: none. */
struct handshake *handshake_table_find_hello(const struct handshake_table *table, const char *hello, const char *source);
/* How many half-open handshakes of a service a source has. */
size_t handshake_table_half_open(const struct handshake_table *table, const struct service_memory *service, const char *source);

/* Half-open ends with the first valid M3, or with the handshake. */
void handshake_set_half_open(struct handshake *handshake, bool half_open);
/* The end, once: err ATH_OK is success. The machine of a failed one is freed. */
void handshake_end(struct handshake *handshake, ath_err err, const char *why);
void handshake_table_abort_service(struct handshake_table *table, const char *service_name);

size_t handshake_table_count(const struct handshake_table *table); /* those that are running */
void handshake_table_each(const struct handshake_table *table, void (*each)(void *ctx, const struct handshake *handshake), void *ctx);

#endif
