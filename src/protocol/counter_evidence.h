/* What a TPM says of one of its NV counters: TPM2_NV_Certify (TPM 2.0 part 3, 31.16), checked
 * without a TPM and without its libraries. */
#ifndef PROTOCOL_COUNTER_EVIDENCE_H
#define PROTOCOL_COUNTER_EVIDENCE_H

#include "base/why.h"
#include "crypto/digest.h"
#include "crypto/public_key.h"

#define COUNTER_EVIDENCE_MAX_LEN 1024u

struct counter_evidence {
    uint32_t index;               /* NV index */
    uint32_t attributes;          /* TPMA_NV (part 2, 13.4) */
    uint64_t value;               /* what it counted to */
    struct ath_slice nonce;       /* extraData: the qualifying data */
    struct ath_slice attest;      /* TPMS_ATTEST: what is signed */
    struct ath_slice signature;   /* r||s */
    uint32_t resets, restarts;    /* TPMS_CLOCK_INFO */
    uint8_t name[2 + SHA256_LEN]; /* of the index: TPM2B_NV_PUBLIC's */
};

/* Decodes TPM2B_NV_PUBLIC || TPM2B_ATTEST || r||s (64 bytes), nothing behind it, and checks all
 * that needs no key: TPM_GENERATED, type TPM_ST_ATTEST_NV, a SHA-256 name that is that of the
 * public area, a counter that was written (TPM_NT_COUNTER, TPMA_NV_WRITTEN), offset 0, 8 bytes.
 * ATH_ERR_PARSE, ATH_ERR_INVALID_EVIDENCE with why; ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err counter_evidence_decode(struct ath_slice bytes, struct why *why,
                                struct counter_evidence *ret_evidence) ATH_MUST_USE;

/* The signature by key (ES256) over the attest. ATH_ERR_INVALID_SIGNATURE. */
ath_err counter_evidence_verify(const struct counter_evidence *evidence,
                                const struct public_key *key, struct why *why) ATH_MUST_USE;

#endif
