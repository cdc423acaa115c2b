/*
 * What belongs to one uid: keys, pins, services, grants of users, handshakes and sessions, and what
 * is frozen. A user's athd has one tenant, its owner's, in the state directory itself; the system's
 * (--system) has one for each uid that calls, in users/UID, and nobody reaches another's: root's is
 * one like any other.
 */
#ifndef ATHD_TENANT_H
#define ATHD_TENANT_H

#include <sys/queue.h>
#include <sys/types.h>

#include "athd/deferred.h"
#include "base/why.h"
#include "protocol/did.h"

struct athd;
struct caller;
struct connection;
struct public_key;

#define TENANTS_MAX 4096u

struct tenant {
    struct athd *athd;
    uid_t uid;
    char *dir; /* STATE, or STATE/users/UID */
    struct freeze *freeze;
    struct lock *lock;
    struct key_store *keys;
    struct peer_store *peers;
    struct did_pins pins; /* peers', for the protocol layer */
    struct service_store *services;
    struct credential_store *credentials;
    struct replay_store *replays;
    struct handshake_table *handshakes;
    struct session_table *sessions;
    struct grant_table *grants;
    struct policy_limits *limits; /* policy.c's; NULL: nothing to remember yet */
    unsigned requests;            /* under way */
    struct {
        TAILQ_HEAD(, connection) waiting;
        struct deferred next;
        uint64_t used_us; /* in this turn of the loop */
    } turn;               /* connection_turn.c's */
    struct {                      /* agent.status counters */
        uint64_t requests, errors, signatures, denials, prompts;
    } counters;
    struct {
        unsigned begun;
        uint64_t turn; /* when it last read: the larger, the later */
    } readings;        /* method_audit.c's */
    SLIST_ENTRY(tenant) of_athd;
};

struct tenant_list {
    SLIST_HEAD(, tenant) all;
    unsigned count;
};

/* Reads what there is in the state directory (blocking, start-up): the owner's, or every uid's. */
ath_err tenants_open(struct athd *athd, struct why *why) ATH_MUST_USE;
/* Their grants' sockets: when athd listens. */
void tenants_start(struct athd *athd);
/* Of their grants is written what was used: while what is written is still waited for. */
void tenants_settle(struct athd *athd);
/* Their timers: while the loop still runs, when no request uses them any more. */
void tenants_close(struct athd *athd);
void tenants_free(struct athd *athd);

/* Whose things a caller at athd's own socket works with. The first call of a uid makes its (empty)
 * directory, which blocks for as long as that takes. Lives as long as athd. ATH_ERR_LIMIT_EXCEEDED
 * (TENANTS_MAX), ATH_ERR_POLICY_DENIED (a uid that is several people's, somebody else's
 * tomorrow, or lent to another's containers), ATH_ERR_IO, ATH_ERR_NOMEM with why. */
ath_err tenant_of_caller(struct athd *athd, const struct caller *caller, struct why *why,
                         struct tenant **ret_tenant) ATH_MUST_USE;

/* Of what a user's athd keeps at most `max`, a uid has a sixteenth where athd serves several: it is
 * read at the start and lies in memory. */
size_t tenant_share(const struct athd *athd, size_t max);
/* May it make one more key? Else why says how many there may be. ATH_ERR_LIMIT_EXCEEDED. */
ath_err tenant_check_key_count(const struct tenant *tenant, struct why *why) ATH_MUST_USE;
/* Is the public key one of any tenant's? One key of the hardware has one owner. */
bool tenants_have_public(const struct athd *athd, const struct public_key *public_key);

#endif
