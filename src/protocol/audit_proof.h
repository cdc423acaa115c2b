/*
 * What convinces somebody who has nothing but the audit key's thumbprint: that a record stands in
 * the log (inclusion), that one checkpoint continues another (consistency). docs/audit.md,
 * "Proofs". Blocks; for tools. Reads O(log size) of the log.
 */
#ifndef PROTOCOL_AUDIT_PROOF_H
#define PROTOCOL_AUDIT_PROOF_H

#include "base/json.h"
#include "protocol/audit_notes.h"

/* A checkpoint of a log and the key that signed it, verified. */
struct audit_signed_note {
    struct ath_buf bytes;
    struct checkpoint_note note; /* points into bytes */
    struct public_key *key;
};

/* size UINT64_MAX: the newest (dir/checkpoint). ATH_ERR_NOT_FOUND: there is no such checkpoint (why
 * says which there are to choose from); ATH_ERR_INVALID_SIGNATURE, ATH_ERR_INVALID_EVIDENCE,
 * ATH_ERR_PARSE: it does not hold; ATH_ERR_IO, ATH_ERR_NOMEM. Zero-initialise. */
ath_err audit_signed_note_load(const char *dir, uint64_t size, struct why *why,
                               struct audit_signed_note *note) ATH_MUST_USE;
void audit_signed_note_done(struct audit_signed_note *note); /* an empty one is fine */

/* {"type":"athd.audit/inclusion","index","size","leaf","path","checkpoint","key"} for the
 * checkpoint of `size` records (UINT64_MAX: the newest). The proof has been verified against it.
 * The caller frees *ret_proof. ATH_ERR_NOT_FOUND: the record is not there, or not covered (yet);
 * ATH_ERR_INVALID_EVIDENCE: the log does not prove it (ath audit verify says why); those of
 * audit_signed_note_load. */
ath_err audit_proof_inclusion(const char *dir, uint64_t index, uint64_t size, struct why *why,
                              struct json **ret_proof) ATH_MUST_USE;

/* {"type":"athd.audit/consistency","from","to","path","from_checkpoint","from_key",
 * "to_checkpoint","to_key"}; to UINT64_MAX: the newest. Errors as above. */
ath_err audit_proof_consistency(const char *dir, uint64_t from, uint64_t to, struct why *why,
                                struct json **ret_proof) ATH_MUST_USE;

#endif
