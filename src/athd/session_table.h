/* Sessions that handshakes left: keys in locked memory until the token's exp, gone with the process
 * (profile section 6). */
#ifndef ATHD_SESSION_TABLE_H
#define ATHD_SESSION_TABLE_H

#include <sys/queue.h>

#include "athd/service_store.h"
#include "protocol/handshake.h"
#include "protocol/jwe.h"

struct caller;
struct session_table;
struct tenant;

#define SESSION_ID_LEN 22

struct session {
    LIST_ENTRY(session) of_table;
    char id[SESSION_ID_LEN + 1];
    struct jwe_channel channel; /* side says which role */
    char *peer_did, *user_did;
    char *audience; /* whom the key signed for: an origin or DID; NULL: not known */
    char *key_name; /* whose handshake it came from; NULL: not known */
    struct scope_list scopes;
    int64_t expires_at;
    uint64_t caller_identity;       /* whom it counts for */
    uint8_t transcript[SHA256_LEN]; /* ath_th */
    uint8_t t5[SHA256_LEN];         /* names its handshake in records */
    char *trace;                    /* NULL: none */
    struct ath_secret access_token; /* client side only */
    struct service_entry *service;  /* server side; counted */
    bool is_on_record; /* its end */
    bool ended; /* keys are wiped; kept for a while so that its callers learn SESSION_EXPIRED */
    int64_t forget_at; /* of one that has ended */
};

ath_err session_table_new(struct tenant *tenant, struct session_table **ret_table) ATH_MUST_USE;
/* Wipes everything. The memory itself goes when the loop has closed the table's timer. */
void session_table_free(struct session_table *table);

/* Takes the result's keys, token and strings. service is NULL for a client. ATH_ERR_LIMIT_EXCEEDED
 * (65,536 a service, 4,096 a caller), ATH_ERR_NOMEM. The session belongs to the table. */
ath_err session_table_add(struct session_table *table, struct handshake_result *taken_result,
                          struct service_entry *service, uint64_t caller_identity,
                          struct session **ret_session) ATH_MUST_USE;

/* ATH_ERR_SESSION_NOT_FOUND, ATH_ERR_SESSION_EXPIRED. */
ath_err session_table_find(struct session_table *table, const char *id,
                           struct session **ret_session) ATH_MUST_USE;
/* The same for a caller, who may not know of all (caller_sees). */
ath_err session_table_find_for(struct session_table *table, const char *id,
                               const struct caller *caller,
                               struct session **ret_session) ATH_MUST_USE;
/* Wipes the keys; remembered as expired, or not at all. */
void session_table_end(struct session_table *table, struct session *session);
void session_table_remove(struct session_table *table, struct session *session);
void session_table_remove_service(struct session_table *table, const char *service_name);
/* Ends those of an identity: its grant has ended. */
void session_table_end_of(struct session_table *table, uint64_t caller_identity);

size_t session_table_count(const struct session_table *table); /* those that have not ended */
void session_table_each(const struct session_table *table,
                        void (*each)(void *ctx, const struct session *session), void *ctx);

#endif
