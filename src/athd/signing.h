/* The one door to the hardware: purpose gate, record and signature started together, the answer
 * when both are there. */
#ifndef ATHD_SIGNING_H
#define ATHD_SIGNING_H

#include "athd/audit_log.h"
#include "athd/hsm_pool.h"
#include "athd/key_store.h"
#include "protocol/purpose.h"

struct signing_outcome {
    ath_err err;
    struct why why;
    uint32_t native;    /* with HSM errors */
    uint8_t tries_left; /* as in struct hsm_outcome */
    uint32_t retry_after_s;
    struct ath_slice signature; /* JOSE form; valid during the completion */
    uint32_t hardware_us;
};

typedef void signing_done_fn(void *ctx, const struct signing_outcome *outcome);

struct signing;

/*
 * Signs `message` with `key` for `purpose`. `record` (ended here) is what audit_record_begin began;
 * this adds key, jkt, purpose and sha256. While it runs it is the request's stage: the request's
 * cancel is set and restored. done is called once, from the event loop, never from inside this call
 * - also for errors found here (purpose gate, key deleted or expired, queue full).
 */
void signing_start(struct request *request, struct key *key, enum sign_purpose purpose,
                   struct ath_slice message, enum hsm_priority priority, struct json_maker *record,
                   signing_done_fn *done, void *ctx);

/* The rules were read again: what they allow no more ends, whether it waits for a PIN, in the queue
 * or for its answer. */
void signing_decide_again(struct athd *athd);
/* Keys of the tenant's were frozen: what they were to sign ends likewise, and with it the question
 * for a PIN that nothing else waits for. */
void signing_end_frozen(const struct tenant *tenant);

#endif
