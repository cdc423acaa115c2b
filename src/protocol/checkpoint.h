/*
 * Checkpoints of the audit log: C2SP tlog-checkpoint in a C2SP signed-note. Text:
 *
 *     athd.audit/<JWK thumbprint of the audit key>
 *     <size, decimal>
 *     <root, base64>
 *     time <RFC 3339, UTC, milliseconds>
 *     previous <size of the checkpoint before this one> | previous none
 *     counter tpm <NV index, 8 hexadecimal digits> <value, decimal> | counter none
 *
 * Signature line by the audit key: type 2 (ECDSA over SHA-256, the form that transparency-dev's
 * verifiers and Rekor use): key ID = SHA-256(SubjectPublicKeyInfo)[:4], signature in DER.
 * With a counter a second line: type ff "athd.audit/tpm-nv-counter", key ID = SHA-256(origin || LF
 * || ff || "athd.audit/tpm-nv-counter" || SubjectPublicKeyInfo)[:4], signature = TPM2B_NV_PUBLIC of
 * the counter || TPM2B_ATTEST of NV_Certify, whose qualifying data is SHA-256(text) || r || s by
 * the same key. Lines of other keys (witnesses) are allowed and ignored, as signed-note says.
 */
#ifndef PROTOCOL_CHECKPOINT_H
#define PROTOCOL_CHECKPOINT_H

#include "base/clock.h"
#include "base/why.h"
#include "crypto/digest.h"
#include "crypto/public_key.h"

#define CHECKPOINT_ORIGIN "athd.audit/"
#define CHECKPOINT_ORIGIN_LEN (sizeof(CHECKPOINT_ORIGIN) - 1 + JKT_LEN)
#define CHECKPOINT_MAX_LEN 16384u /* bytes of a note */
#define CHECKPOINT_MAX_TEXT 512u
#define CHECKPOINT_MAX_LINES 16u /* signatures of a note */
#define CHECKPOINT_NAME_LEN 20   /* digits of its size, its file's name below checkpoints/ */

struct checkpoint {
    char jkt[JKT_LEN + 1]; /* of the audit key */
    uint64_t size;         /* records it covers */
    uint8_t root[SHA256_LEN];
    char time[CLOCK_TEXT_SIZE]; /* when it was made */
    bool has_previous;
    uint64_t previous; /* size of the checkpoint before it, less than size */
    bool has_counter;
    uint32_t counter_index; /* TPM NV index */
    uint64_t counter;       /* its value: larger in each new note of one index */
};

/* Appends the text that is signed. */
void checkpoint_put_text(const struct checkpoint *checkpoint, struct ath_buf *text);

/* What NV_Certify is to be given as qualifying data: SHA-256 of the text. ATH_ERR_NOMEM,
 * ATH_ERR_CRYPTO. */
ath_err checkpoint_nonce(struct ath_slice text, uint8_t ret_nonce[SHA256_LEN]) ATH_MUST_USE;

/* Appends the note: text, then its lines. key is P-256, the one whose thumbprint the text names;
 * signature is r||s over the text; counter_public (TPM2B_NV_PUBLIC) and counter_evidence (what
 * HSM_OP_COUNTER gives: TPM2B_ATTEST, r||s) are empty for a checkpoint without counter.
 * ATH_ERR_UNSUPPORTED_ALGORITHM, ATH_ERR_INVALID_SIGNATURE, ATH_ERR_NOMEM, the buffer's error.
 * Nothing is verified: athd does that with checkpoint_decode and checkpoint_verify before it writes
 * a note. */
ath_err checkpoint_put_note(struct ath_slice text, const struct public_key *key,
                            struct ath_slice signature, struct ath_slice counter_public,
                            struct ath_slice counter_evidence, struct ath_buf *note) ATH_MUST_USE;

/* The verifier key of signed-note tools: "<origin>+<key ID>+<base64 of 02 || SPKI>", appended. */
ath_err checkpoint_put_vkey(const struct public_key *key, struct ath_buf *vkey) ATH_MUST_USE;

/* A decoded note; slices point into what was decoded. */
struct checkpoint_line {
    struct ath_slice name;      /* of the key */
    uint8_t id[4];              /* of the key */
    struct ath_slice signature; /* base64, with the id in front */
};

struct checkpoint_note {
    struct checkpoint checkpoint;
    struct ath_slice text; /* what is signed, its last LF included */
    struct checkpoint_line lines[CHECKPOINT_MAX_LINES];
    size_t line_count;
};

/* Strict: exactly the lines above, canonical numbers and base64, nothing behind the last LF.
 * ATH_ERR_PARSE (why names the line), ATH_ERR_LIMIT_EXCEEDED, ATH_ERR_NOMEM. */
ath_err checkpoint_decode(struct ath_slice note, struct why *why,
                          struct checkpoint_note *ret_note) ATH_MUST_USE;

/* The text alone, as checkpoint_put_text writes it. Errors as checkpoint_decode. */
ath_err checkpoint_decode_text(struct ath_slice text, struct why *why,
                               struct checkpoint *ret_checkpoint) ATH_MUST_USE;

/* The signature by key, and the counter's evidence if the text names one (and none if it does not).
 * ATH_ERR_INVALID_SIGNATURE (why says what), ATH_ERR_INVALID_EVIDENCE (of the counter),
 * ATH_ERR_UNKNOWN_PEER: the note is another key's; ATH_ERR_NOMEM, ATH_ERR_CRYPTO. */
ath_err checkpoint_verify(const struct checkpoint_note *note, const struct public_key *key,
                          struct why *why) ATH_MUST_USE;

/* File name below checkpoints/. */
void checkpoint_name(uint64_t size, char ret_name[CHECKPOINT_NAME_LEN + 1]);
/* ATH_ERR_PARSE for anything but 20 digits that fit 64 bits. */
ath_err checkpoint_parse_name(const char *name, uint64_t *ret_size) ATH_MUST_USE;

#endif
