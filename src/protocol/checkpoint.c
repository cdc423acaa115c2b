#include "protocol/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "protocol/counter_evidence.h"

#define TYPE_ECDSA 0x02 /* signed-note, "Signature types" */
#define COUNTER_TYPE "athd.audit/tpm-nv-counter"
#define ID_LEN 4u
#define DASH "\xe2\x80\x94 " /* U+2014, a space */

/* ---- names ---- */

void
checkpoint_name(uint64_t size, char ret_name[CHECKPOINT_NAME_LEN + 1])
{
    snprintf(ret_name, CHECKPOINT_NAME_LEN + 1, "%020llu", (unsigned long long)size);
}

ath_err
checkpoint_parse_name(const char *name, uint64_t *ret_size)
{
    char same[CHECKPOINT_NAME_LEN + 1];
    uint64_t size = 0;

    if (strlen(name) != CHECKPOINT_NAME_LEN)
        return ATH_ERR_PARSE;
    for (const char *at = name; *at != '\0'; at++) {
        if (*at < '0' || *at > '9')
            return ATH_ERR_PARSE;
        size = size * 10 + (uint64_t)(*at - '0'); /* may wrap: then it is not the same text */
    }
    checkpoint_name(size, same);
    if (strcmp(same, name) != 0)
        return ATH_ERR_PARSE;
    *ret_size = size;
    return ATH_OK;
}

/* ---- writing ---- */

void
checkpoint_put_text(const struct checkpoint *checkpoint, struct ath_buf *text)
{
    ath_buf_printf(text, "%s%s\n%llu\n", CHECKPOINT_ORIGIN, checkpoint->jkt,
                   (unsigned long long)checkpoint->size);
    base64_put(text, ath_slice_of(checkpoint->root, SHA256_LEN));
    ath_buf_printf(text, "\ntime %s\n", checkpoint->time);
    if (checkpoint->has_previous)
        ath_buf_printf(text, "previous %llu\n", (unsigned long long)checkpoint->previous);
    else
        ath_buf_put_string(text, "previous none\n");
    if (checkpoint->has_counter)
        ath_buf_printf(text, "counter tpm %08x %llu\n", checkpoint->counter_index,
                       (unsigned long long)checkpoint->counter);
    else
        ath_buf_put_string(text, "counter none\n");
}

ath_err
checkpoint_nonce(struct ath_slice text, uint8_t ret_nonce[SHA256_LEN])
{
    return sha256(text, ret_nonce);
}

static ath_err
key_id(const struct public_key *key, const char *type, uint8_t ret_id[ID_LEN])
{
    struct ath_buf bytes = {.max = CHECKPOINT_MAX_TEXT};
    uint8_t digest[SHA256_LEN];
    ath_err err;

    if (type != NULL)
        ath_buf_printf(&bytes, "%s%s\n\xff%s", CHECKPOINT_ORIGIN, public_key_jkt(key), type);
    ath_buf_put_slice(&bytes, public_key_der(key));
    if ((err = bytes.err) == ATH_OK && (err = sha256(ath_buf_slice(&bytes), digest)) == ATH_OK)
        memcpy(ret_id, digest, ID_LEN);
    ath_buf_done(&bytes);
    return err;
}

/* type: NULL is TYPE_ECDSA, whose key ID has nothing but the key in it. */
static ath_err
put_line(const struct public_key *key, const char *type, struct ath_slice signature,
         struct ath_buf *note)
{
    struct ath_buf bytes = {.max = COUNTER_EVIDENCE_MAX_LEN + ID_LEN};
    uint8_t id[ID_LEN];
    ath_err err;

    if ((err = key_id(key, type, id)) != ATH_OK)
        return err;
    ath_buf_put(&bytes, id, sizeof(id));
    ath_buf_put_slice(&bytes, signature);
    if ((err = bytes.err) == ATH_OK) {
        ath_buf_printf(note, DASH "%s%s ", CHECKPOINT_ORIGIN, public_key_jkt(key));
        base64_put(note, ath_buf_slice(&bytes));
        ath_buf_put_byte(note, '\n');
        err = note->err;
    }
    ath_buf_done(&bytes);
    return err;
}

ath_err
checkpoint_put_note(struct ath_slice text, const struct public_key *key, struct ath_slice signature,
                    struct ath_slice counter_public, struct ath_slice counter_evidence,
                    struct ath_buf *note)
{
    struct ath_buf bytes = {.max = COUNTER_EVIDENCE_MAX_LEN};
    ath_err err;

    if (public_key_algorithm(key) != KEY_ES256)
        return ATH_ERR_UNSUPPORTED_ALGORITHM;
    ath_buf_put_slice(note, text);
    ath_buf_put_byte(note, '\n');
    if ((err = signature_to_der(KEY_ES256, signature, &bytes)) != ATH_OK ||
        (err = put_line(key, NULL, ath_buf_slice(&bytes), note)) != ATH_OK)
        goto out;
    if (counter_evidence.len == 0)
        goto out;
    ath_buf_clear(&bytes);
    ath_buf_put_slice(&bytes, counter_public);
    ath_buf_put_slice(&bytes, counter_evidence);
    if ((err = bytes.err) == ATH_OK)
        err = put_line(key, COUNTER_TYPE, ath_buf_slice(&bytes), note);
out:
    ath_buf_done(&bytes);
    return err;
}

ath_err
checkpoint_put_vkey(const struct public_key *key, struct ath_buf *vkey)
{
    struct ath_buf bytes = {.max = CHECKPOINT_MAX_TEXT};
    uint8_t id[ID_LEN];
    ath_err err;

    if ((err = key_id(key, NULL, id)) != ATH_OK)
        return err;
    ath_buf_put_byte(&bytes, TYPE_ECDSA);
    ath_buf_put_slice(&bytes, public_key_der(key));
    if ((err = bytes.err) == ATH_OK) {
        ath_buf_printf(vkey, "%s%s+%02x%02x%02x%02x+", CHECKPOINT_ORIGIN, public_key_jkt(key),
                       id[0], id[1], id[2], id[3]);
        base64_put(vkey, ath_buf_slice(&bytes));
        err = vkey->err;
    }
    ath_buf_done(&bytes);
    return err;
}

/* ---- verifying ---- */

/* The signature of the line by this key and type; empty if there is none. Of two the first
 * counts: the second could only be the same or wrong. */
static ath_err
find_line(const struct checkpoint_note *note, const struct public_key *key, const char *type,
          struct ath_buf *signature)
{
    uint8_t id[ID_LEN];
    ath_err err;

    if ((err = key_id(key, type, id)) != ATH_OK)
        return err;
    for (size_t i = 0; i < note->line_count; i++) {
        const struct checkpoint_line *line = &note->lines[i];

        if (memcmp(line->id, id, ID_LEN) != 0 ||
            !ath_slice_equal(line->name, ath_slice_of(note->text.data, CHECKPOINT_ORIGIN_LEN)))
            continue;
        if ((err = base64_decode(line->signature, signature)) != ATH_OK)
            return err;
        ath_buf_consume(signature, ID_LEN);
        return ATH_OK;
    }
    return ATH_OK;
}

static ath_err
verify_text(const struct checkpoint_note *note, const struct public_key *key, struct why *why)
{
    struct ath_buf der = {.max = COUNTER_EVIDENCE_MAX_LEN};
    uint8_t signature[SIGNATURE_MAX_LEN];
    ath_err err;

    if ((err = find_line(note, key, NULL, &der)) != ATH_OK)
        goto out;
    if (der.len == 0) {
        err = why_set(why, ATH_ERR_INVALID_SIGNATURE, "no signature by the audit key %s",
                      public_key_jkt(key));
        goto out;
    }
    if ((err = signature_from_der(KEY_ES256, ath_buf_slice(&der), signature)) == ATH_OK)
        err = public_key_verify(key, note->text,
                                ath_slice_of(signature, key_algorithm_signature_len(KEY_ES256)));
    if (err == ATH_ERR_INVALID_SIGNATURE)
        why_set(why, err, "the signature by the audit key %s does not hold", public_key_jkt(key));
out:
    ath_buf_done(&der);
    return err;
}

static ath_err
compare_evidence(const struct checkpoint_note *note, const struct counter_evidence *evidence,
                 struct why *why)
{
    uint8_t nonce[SHA256_LEN];
    ath_err err;

    if ((err = checkpoint_nonce(note->text, nonce)) != ATH_OK)
        return err;
    if (!ath_slice_equal(evidence->nonce, ath_slice_of(nonce, sizeof(nonce))))
        return why_set(why, ATH_ERR_INVALID_EVIDENCE, "the counter's evidence is for another text");
    if (evidence->index != note->checkpoint.counter_index ||
        evidence->value != note->checkpoint.counter)
        return why_set(why, ATH_ERR_INVALID_EVIDENCE,
                       "the text says counter %08x %llu, the TPM certified %08x %llu",
                       note->checkpoint.counter_index, (unsigned long long)note->checkpoint.counter,
                       evidence->index, (unsigned long long)evidence->value);
    return ATH_OK;
}

static ath_err
verify_counter(const struct checkpoint_note *note, const struct public_key *key, struct why *why)
{
    struct ath_buf bytes = {.max = COUNTER_EVIDENCE_MAX_LEN + ID_LEN};
    struct counter_evidence evidence;
    ath_err err;

    if ((err = find_line(note, key, COUNTER_TYPE, &bytes)) != ATH_OK)
        goto out;
    if (!note->checkpoint.has_counter || bytes.len == 0) {
        if (note->checkpoint.has_counter || bytes.len != 0)
            err = why_set(why, ATH_ERR_INVALID_EVIDENCE,
                          bytes.len == 0 ? "the TPM's evidence of its counter is missing"
                                         : "there is evidence of a counter that the text does not "
                                           "name");
        goto out;
    }
    if ((err = counter_evidence_decode(ath_buf_slice(&bytes), why, &evidence)) == ATH_OK &&
        (err = counter_evidence_verify(&evidence, key, why)) == ATH_OK)
        err = compare_evidence(note, &evidence, why);
    if (err == ATH_ERR_PARSE)
        err = ATH_ERR_INVALID_EVIDENCE;
out:
    ath_buf_done(&bytes);
    return err;
}

ath_err
checkpoint_verify(const struct checkpoint_note *note, const struct public_key *key, struct why *why)
{
    ath_err err;

    if (strcmp(public_key_jkt(key), note->checkpoint.jkt) != 0)
        return why_set(why, ATH_ERR_UNKNOWN_PEER, "the note is of the audit key %s, not of %s",
                       note->checkpoint.jkt, public_key_jkt(key));
    if (public_key_algorithm(key) != KEY_ES256)
        return why_set(why, ATH_ERR_INVALID_SIGNATURE, "an audit key is of P-256 (ES256)");
    if ((err = verify_text(note, key, why)) != ATH_OK)
        return err;
    return verify_counter(note, key, why);
}
