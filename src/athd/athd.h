/* The daemon's parts, made in the order they are listed and ended in the reverse one. */
#ifndef ATHD_ATHD_H
#define ATHD_ATHD_H

#include <uv.h>

#include "athd/audit_budget.h"
#include "athd/audit_flood.h"
#include "athd/clock_watch.h"
#include "athd/config.h"
#include "athd/damage.h"
#include "athd/deferred.h"
#include "athd/passphrase_hash.h"
#include "athd/request.h"
#include "athd/store.h"
#include "athd/tenant.h"
#include "base/json.h"
#include "protocol/did.h"

struct athd {
    uv_loop_t *loop;
    struct config *config; /* borrowed from main */
    uid_t owner;
    uint64_t started_ms;
    bool ending;

    struct deferred_queue deferred;
    struct request_table requests;
    struct store_queue stores;
    struct passphrase_queue passphrases;
    struct damage_list damage; /* of what the stores read at the start */
    struct audit_log *audit;
    struct audit_flood flood;
    struct audit_budget audit_budget;
    struct clock_watch clock;
    struct audit_checkpoints *checkpoints;
    struct {
        TAILQ_HEAD(, reading) waiting;
        unsigned running, begun;
        uint64_t turns;
    } readings; /* method_audit.c's */
    struct hsm_pool *hsms;
    struct policy *policy;
    LIST_HEAD(, signing) signings; /* under way, of all tenants */
    struct tenant_list tenants;
    struct lock_watch *lock_watch; /* NULL: lock_on asks for nothing */
    struct consent *consent;
    struct listener *listener;

    size_t descriptors;     /* how many it may have */
    unsigned topics_wanted; /* 1 << enum event_topic: asked for since the start */
    struct {                /* agent.status counters; each tenant has others */
        uint64_t prompts /* for PINs and passphrases */, helper_restarts, connections_refused;
    } counters;

    /* private to athd.c */
    uv_loop_t loop_storage;
    uv_signal_t signals[3];
    uv_timer_t end_timer;
    uint64_t end_at_ms;
    unsigned parts_ending;
    bool has_handles, is_closing_parts;
    bool is_last_checkpoint_begun, is_last_checkpoint_done;
    int state_lock;
};

/* Makes everything and listens. Exit statuses of docs/api.md come from the ath_err. On failure
 * there is nothing left to end. */
ath_err athd_start(struct athd *athd, struct config *config, struct why *why) ATH_MUST_USE;
/* Runs until SIGTERM or SIGINT, ends cleanly, returns the exit status. */
int athd_run(struct athd *athd);

#endif
