/* Proofs out of the log's tiles, checked against a checkpoint before they leave. Blocking. */
#ifndef ATHD_AUDIT_PROVE_H
#define ATHD_AUDIT_PROVE_H

#include "athd/audit_segments.h"
#include "crypto/merkle.h"
#include "protocol/checkpoint.h"

/* A proof is a few hashes for each level. */
#define AUDIT_PATH_MAX (2u * MERKLE_MAX_PATH * SHA256_LEN)

struct audit_inclusion {
    uint8_t leaf[SHA256_LEN];
    struct ath_buf path;   /* hashes of 32 bytes */
    struct ath_buf record; /* the line; empty: its segment was removed */
    struct ath_buf note;   /* the checkpoint of this size */
};

/* Of record `index` in the tree of the checkpoint of `size`. ATH_ERR_NOT_FOUND: no such checkpoint,
 * or it does not cover the record; ATH_ERR_IO, ATH_ERR_PARSE: files are missing or damaged;
 * ATH_ERR_INVALID_EVIDENCE: they do not give the checkpoint's root; all with why. ATH_ERR_NOMEM. */
ath_err audit_prove_inclusion(const char *dir, const struct audit_span *span, uint64_t index,
                              uint64_t size, struct why *why,
                              struct audit_inclusion *ret_inclusion) ATH_MUST_USE;
void audit_inclusion_done(struct audit_inclusion *inclusion);

/* That the checkpoint of `to` continues the one of `from`: hashes of 32 bytes, appended. Errors as
 * above. */
ath_err audit_prove_consistency(const char *dir, uint64_t from, uint64_t to, struct why *why,
                                struct ath_buf *path) ATH_MUST_USE;

#endif
