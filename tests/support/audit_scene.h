/*
 * An audit log as athd writes it (docs/audit.md), by a throw-away software key that also plays the
 * TPM's part in counters. Two runs write the same records; signatures differ.
 */
#ifndef TESTS_AUDIT_SCENE_H
#define TESTS_AUDIT_SCENE_H

#include "protocol/audit_tree.h"
#include "protocol/checkpoint.h"

#define AUDIT_SCENE_COUNTER_INDEX 0x01800a7du

struct audit_scene;

/* Begins a log in dir, which must not be there yet. per_segment: records in a segment. All of
 * these end the test if they fail. */
struct audit_scene *audit_scene_new(const char *dir, const char *key_name, uint64_t per_segment,
                                    bool has_counter);
void audit_scene_free(struct audit_scene *scene);

/* Appends records of about line_len bytes (at least 100). */
void audit_scene_append(struct audit_scene *scene, uint64_t count, size_t line_len);
/* One record whose members behind the timestamp are these: "\"event\":\"x\"}". */
void audit_scene_append_text(struct audit_scene *scene, const char *members);
/* Bytes at the end of the newest segment. */
void audit_scene_append_bytes(struct audit_scene *scene, const char *bytes);

void audit_scene_checkpoint(struct audit_scene *scene);
/* What a checkpoint is to say, to be changed before audit_scene_sign writes it. */
struct checkpoint audit_scene_next_checkpoint(struct audit_scene *scene);
void audit_scene_sign(struct audit_scene *scene, const struct checkpoint *checkpoint);
/* Another key signs from now on. */
void audit_scene_change_key(struct audit_scene *scene, const char *key_name);
/* Removes the segments whose records all lie before kept_from, a record having said so. */
void audit_scene_retain(struct audit_scene *scene, uint64_t kept_from);

uint64_t audit_scene_size(const struct audit_scene *scene);
const char *audit_scene_jkt(const struct audit_scene *scene);
const struct public_key *audit_scene_key(const struct audit_scene *scene);

/* TPM2B_NV_PUBLIC and TPM2B_ATTEST with r||s, as HSM_OP_COUNTER and its blob give them. */
void audit_scene_put_counter_public(uint32_t index, uint32_t attributes, struct ath_buf *out);
void audit_scene_put_counter_evidence(const struct audit_scene *scene, struct ath_slice nv_public,
                                      uint64_t value, struct ath_slice nonce, struct ath_buf *out);

#endif
