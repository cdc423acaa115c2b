/*
 * A counter in the TPM's non-volatile memory that only goes up (TPM 2.0 part 1, 37.2.2 and part 3,
 * 31.3: also one that was deleted and made again begins above the highest value any counter of this
 * TPM ever had), and what the TPM certifies of it. Whoever puts an old state of a disk back cannot
 * put this back with it.
 *
 * The index is defined in the owner hierarchy, with an empty authValue for reading and stepping:
 * others on the machine can step it too, which only makes it jump forward. Its authPolicy is a
 * random number that no policy has, so that its Name is like no other's; whether it is a counter
 * is part of the Name too.
 */
#ifndef HSM_TPM_TPM_COUNTER_H
#define HSM_TPM_TPM_COUNTER_H

#include "hsm/tpm/tpm_nv.h"

/* Ours begin here, in the range of TPM 2.0 part 2, 7.4 (registry of handles) that is the owner's.
 */
#define TPM_COUNTER_FIRST 0x01a74800u
#define TPM_COUNTER_PLACES 64u

/* The blob: TPM2B_NV_PUBLIC as the TPM marshals it, of the index once it has been written. */
void tpm_counter_encode(const TPMS_NV_PUBLIC *public, struct ath_buf *blob);

/* ATH_ERR_INVALID_PARAMS for anything else than the above, byte for byte. */
ath_err tpm_counter_decode(struct ath_slice blob, struct why *why,
                           TPMS_NV_PUBLIC *ret_public) ATH_MUST_USE;

/* Can it work here: the owner hierarchy has no password, or there are counters of ours already. */
ath_err tpm_counter_is_possible(struct tpm_context *context, struct hsm_fault *fault,
                                bool *ret_possible) ATH_MUST_USE;

struct tpm_counting {
    struct hsm_key *key;
    struct ath_slice blob; /* empty: a new counter is made */
    bool step;
    struct ath_slice nonce; /* what the certificate covers as its extraData */
};

/*
 * Steps the counter, if so wanted, once, whatever happens on the way, and has its value certified;
 * what the TPM certified has been compared with all that was asked, and the signature verified. A
 * new counter's blob is appended to ret_blob as soon as there is one, TPM2B_ATTEST and r || s to
 * ret_evidence. ATH_ERR_INVALID_PARAMS: no restricted key, no such blob, or the TPM has no or
 * another index there; ATH_ERR_HSM_ERROR: no room, owner hierarchy with a password.
 *
 * A connection lost in between leaves it open whether the counter was stepped: the next call must
 * be one that only reads.
 */
ath_err tpm_counter_run(struct tpm_device *device, const struct tpm_counting *counting,
                        struct hsm_fault *fault, struct ath_buf *ret_blob, uint64_t *ret_value,
                        struct ath_buf *ret_evidence) ATH_MUST_USE;

/* TPMS_ATTEST, in full: its magic, that it is of NV contents, extraData `nonce`, the index's Name,
 * eight bytes at offset 0. ATH_ERR_HSM_ERROR; *ret_value the counter's value. */
ath_err tpm_counter_judge(struct ath_slice attest, const struct tpm_name *name,
                          struct ath_slice nonce, struct why *why,
                          uint64_t *ret_value) ATH_MUST_USE;

#endif
