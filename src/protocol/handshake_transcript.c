#include "protocol/handshake_transcript.h"

#include <string.h>

#include "base/base64url.h"
#include "crypto/merkle.h"
#include "protocol/protocol_limits.h"

/* Labels are short; two digests are 43 characters each. */
#define STRING_MAX_LEN 160
#define CANONICAL_MAX_LEN (2 * MESSAGE_MAX_LEN) /* M6 holds M5, and JCS may write \u00XX for one byte */
#define BATCH_PATH_MAX (16 * SHA256_LEN)        /* 65,536 leaves: 16 levels */

static const char PROFILE_NAME[] = "ATH-TB1";

void
transcript_start(uint8_t ret_t0[SHA256_LEN])
{
    /* SHA-256 of "ATH-TB1", a constant so that starting cannot fail */
    static const uint8_t T0[SHA256_LEN] = {
        0x35, 0x18, 0xa5, 0x92, 0x4a, 0xfc, 0xfb, 0x24, 0xac, 0x94, 0x9f, 0xdc,
        0x6f, 0x1e, 0x9c, 0x9d, 0xd3, 0x46, 0x0d, 0x59, 0x24, 0x47, 0x84, 0xa6,
        0x8b, 0x4e, 0xcd, 0x29, 0x55, 0x47, 0x64, 0x1e,
    };

    memcpy(ret_t0, T0, SHA256_LEN);
}

ath_err
transcript_hash(const struct json *message, uint8_t ret_hash[SHA256_LEN])
{
    struct ath_buf canonical = {.max = CANONICAL_MAX_LEN};
    ath_err err;

    json_canonical(message, &canonical);
    err = canonical.err;
    if (err == ATH_OK)
        err = sha256(ath_buf_slice(&canonical), ret_hash);
    ath_buf_done(&canonical);
    return err;
}

ath_err
transcript_add(uint8_t t[SHA256_LEN], const struct json *message)
{
    uint8_t hash[SHA256_LEN], next[SHA256_LEN];
    ath_err err;

    if ((err = transcript_hash(message, hash)) != ATH_OK)
        return err;
    err = sha256_2(ath_slice_of(t, SHA256_LEN), ath_slice_of(hash, SHA256_LEN), next);
    if (err != ATH_OK)
        return err;
    memcpy(t, next, SHA256_LEN);
    return ATH_OK;
}

struct json *
message_without(const struct json *message, const char *container, const char *member)
{
    struct json *copy = json_clone(message);

    if (copy == NULL)
        return NULL;
    json_remove(container == NULL ? copy : json_get_mutable(copy, container), member);
    return copy;
}

ath_err
message_put_signature(struct json *message, const char *container, const char *member,
                      struct ath_slice signature)
{
    struct json_maker maker = {
        .root = container == NULL ? message : json_get_mutable(message, container)};

    json_put_base64url(&maker, member, signature);
    return maker.err;
}

ath_err
handshake_string(const char *label, const uint8_t t[SHA256_LEN], const struct json *message,
                 struct ath_buf *out)
{
    uint8_t hash[SHA256_LEN];
    ath_err err;

    if ((err = transcript_hash(message, hash)) != ATH_OK)
        return err;
    ath_buf_put_string(out, PROFILE_NAME);
    ath_buf_put_byte(out, ' ');
    ath_buf_put_string(out, label);
    ath_buf_put_byte(out, ' ');
    base64url_put(out, ath_slice_of(t, SHA256_LEN));
    ath_buf_put_byte(out, ' ');
    base64url_put(out, ath_slice_of(hash, SHA256_LEN));
    return out->err;
}

/* ---- verification ---- */

/* The part up to the next '.', which is skipped; the last part is the rest. */
static struct ath_slice
next_part(struct ath_slice *rest)
{
    const uint8_t *dot = rest->len == 0 ? NULL : memchr(rest->data, '.', rest->len);
    size_t len = dot == NULL ? rest->len : (size_t)(dot - rest->data);
    struct ath_slice part = {rest->data, len};

    rest->data += len;
    rest->len -= len;
    if (dot != NULL) {
        rest->data++;
        rest->len--;
    }
    return part;
}

/* 0 or [1-9][0-9]*, at most max: a number has one form, as everything that is signed. */
static bool
decimal_decode(struct ath_slice text, uint32_t max, uint32_t *ret_value)
{
    uint64_t value = 0;

    if (text.len == 0 || text.len > 5 || (text.len > 1 && text.data[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret_value = (uint32_t)value;
    return value <= max;
}

static ath_err
single_verify(const struct public_key *key, struct ath_slice string, struct ath_slice text)
{
    uint8_t signature[SIGNATURE_MAX_LEN];
    size_t len = key_algorithm_signature_len(public_key_algorithm(key));

    if (base64url_decode_exact(text, signature, len) != ATH_OK)
        return ATH_ERR_INVALID_SIGNATURE;
    return public_key_verify(key, string, ath_slice_of(signature, len));
}

struct batch_signature {
    struct ath_slice signature;
    uint32_t size, index;
    struct ath_slice path; /* b64u */
};

/* b64u(signature) "." n "." i "." b64u(path) */
static bool
batch_split(struct ath_slice text, struct batch_signature *ret_batch)
{
    struct ath_slice size, index;
    size_t dots = 0;

    for (size_t i = 0; i < text.len; i++)
        dots += text.data[i] == '.';
    if (dots != 3)
        return false;
    ret_batch->signature = next_part(&text);
    size = next_part(&text);
    index = next_part(&text);
    ret_batch->path = text;
    return decimal_decode(size, BATCH_MAX_LEAVES, &ret_batch->size) && ret_batch->size >= 2 &&
           decimal_decode(index, ret_batch->size - 1, &ret_batch->index);
}

static ath_err
batch_verify(const struct public_key *key, struct ath_slice string, struct ath_slice text)
{
    struct ath_buf path = {.max = BATCH_PATH_MAX}, root_string = {.max = STRING_MAX_LEN};
    struct batch_signature batch;
    uint8_t root[SHA256_LEN];
    ath_err err = ATH_ERR_INVALID_SIGNATURE;

    if (!batch_split(text, &batch))
        goto out;
    if ((err = base64url_decode(batch.path, &path)) != ATH_OK)
        goto out;
    err = merkle_root_from_path(string, batch.index, batch.size, ath_buf_slice(&path), root);
    if (err != ATH_OK)
        goto out;
    ath_buf_printf(&root_string, "%s batch %u ", PROFILE_NAME, batch.size);
    base64url_put(&root_string, ath_slice_of(root, sizeof(root)));
    if ((err = root_string.err) != ATH_OK)
        goto out;
    err = single_verify(key, ath_buf_slice(&root_string), batch.signature);
out:
    ath_buf_done(&root_string);
    ath_buf_done(&path);
    if (err == ATH_ERR_PARSE || err == ATH_ERR_LIMIT_EXCEEDED)
        err = ATH_ERR_INVALID_SIGNATURE;
    return err;
}

ath_err
handshake_signature_verify(const struct public_key *key, const char *label,
                           const uint8_t t[SHA256_LEN], const struct json *message,
                           const char *signature, bool allow_batch)
{
    struct ath_buf string = {.max = STRING_MAX_LEN};
    struct ath_slice text = ath_slice_of_string(signature);
    ath_err err;

    if ((err = handshake_string(label, t, message, &string)) != ATH_OK)
        goto out;
    if (allow_batch && strchr(signature, '.') != NULL)
        err = batch_verify(key, ath_buf_slice(&string), text);
    else
        err = single_verify(key, ath_buf_slice(&string), text);
out:
    ath_buf_done(&string);
    return err;
}
