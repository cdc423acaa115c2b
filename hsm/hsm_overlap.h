/* Signatures of hardware that makes one at a time: the last one is verified and sent while the
 * hardware works on the next. */
#ifndef HSM_HSM_OVERLAP_H
#define HSM_HSM_OVERLAP_H

#include "hsm/hsm_answer.h"

struct hsm_overlap {
    const struct hsm_ops *ops; /* borrowed, as all of these */
    struct hsm *hsm;
    struct hsm_channel *channel;
    /* A signature the hardware has made and nobody has checked yet. */
    bool is_there;
    uint32_t id, hardware_us;
    struct hsm_key *key; /* the table is not changed before this is dealt with */
    struct ath_buf message;
    uint8_t signature[SIGNATURE_MAX_LEN];
};

void hsm_overlap_done(struct hsm_overlap *overlap);

/* Signs; answers what came before, and this one if it fails; else this one waits for the next, or
 * for hsm_overlap_release. *ret_result is what the hardware said. ATH_ERR_IO and others: an answer
 * could not be sent. */
ath_err hsm_overlap_sign(struct hsm_overlap *overlap, struct hsm_key *key,
                         const struct hsm_request *request, ath_err *ret_result) ATH_MUST_USE;

/* Checks the waiting signature, if there is one, and sends it. */
ath_err hsm_overlap_release(struct hsm_overlap *overlap) ATH_MUST_USE;

#endif
