#include "protocol/jwe.h"

#include <string.h>

#include "base/base64url.h"
#include "base/json.h"
#include "crypto/aead.h"

#define JWE_TYP "ath-session+jwe"
#define SEQ_MAX UINT32_MAX
#define HEADER_MAX_LEN 512u
#define HEADER_MEMBERS 6
#define NO_ANSWER (-1)

void
jwe_channel_init(struct jwe_channel *channel, struct session_keys *taken_keys, enum jwe_side side)
{
    *channel = (struct jwe_channel){.keys = *taken_keys, .side = side};
    *taken_keys = (struct session_keys){0};
}

void
jwe_channel_done(struct jwe_channel *channel)
{
    session_keys_done(&channel->keys);
    *channel = (struct jwe_channel){.next_seq = (uint64_t)SEQ_MAX + 1};
}

/* `sends`: seen from this side. */
static const char *
direction(const struct jwe_channel *channel, bool sends)
{
    return (channel->side == JWE_CLIENT) == sends ? "c2s" : "s2c";
}

static const struct ath_secret *
key_of(const struct jwe_channel *channel, bool sends)
{
    return (channel->side == JWE_CLIENT) == sends ? &channel->keys.c2s : &channel->keys.s2c;
}

/* Four zero bytes, then the number, big-endian: a key never meets an IV twice (SP 800-38D 8.2.1).
 */
static void
make_iv(uint32_t seq, uint8_t ret_iv[AEAD_IV_LEN])
{
    memset(ret_iv, 0, AEAD_IV_LEN);
    for (size_t i = 0; i < 4; i++)
        ret_iv[AEAD_IV_LEN - 1 - i] = (uint8_t)(seq >> (8 * i));
}

/* ---- sending ---- */

static ath_err
put_header(const struct jwe_channel *channel, uint32_t seq, int64_t re, struct ath_buf *out)
{
    struct ath_buf text = {.max = HEADER_MAX_LEN};
    ath_err err;

    ath_buf_printf(&text,
                   "{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"%s\",\"dir\":\"%s\",\"seq\":%u,"
                   "\"typ\":\"" JWE_TYP "\"",
                   channel->keys.sid, direction(channel, true), (unsigned)seq);
    if (re != NO_ANSWER)
        ath_buf_printf(&text, ",\"re\":%u", (unsigned)re);
    ath_buf_put_byte(&text, '}');
    if ((err = text.err) == ATH_OK)
        base64url_put(out, ath_buf_slice(&text));
    ath_buf_done(&text);
    return err != ATH_OK ? err : out->err;
}

ath_err
jwe_seal(struct jwe_channel *channel, struct ath_slice plaintext, int64_t re, struct ath_buf *out)
{
    struct ath_buf jwe = {.max = JWE_MAX_LEN}, ciphertext = {.max = SESSION_PLAINTEXT_MAX};
    uint8_t iv[AEAD_IV_LEN], tag[AEAD_TAG_LEN];
    uint32_t seq;
    ath_err err;

    if (plaintext.len > SESSION_PLAINTEXT_MAX)
        return ATH_ERR_LIMIT_EXCEEDED;
    if (re < NO_ANSWER || re > SEQ_MAX)
        return ATH_ERR_INVALID_PARAMS;
    if (channel->next_seq > SEQ_MAX)
        return ATH_ERR_SESSION_EXPIRED;
    seq = (uint32_t)channel->next_seq++; /* before anything can fail: it is never given again */
    make_iv(seq, iv);
    if ((err = put_header(channel, seq, re, &jwe)) != ATH_OK ||
        (err = aead_seal(key_of(channel, true), iv, ath_buf_slice(&jwe), plaintext, &ciphertext,
                         tag)) != ATH_OK)
        goto out;
    ath_buf_put_string(&jwe, "..");
    base64url_put(&jwe, ath_slice_of(iv, sizeof(iv)));
    ath_buf_put_byte(&jwe, '.');
    base64url_put(&jwe, ath_buf_slice(&ciphertext));
    ath_buf_put_byte(&jwe, '.');
    base64url_put(&jwe, ath_slice_of(tag, sizeof(tag)));
    if ((err = jwe.err) != ATH_OK)
        goto out;
    ath_buf_put_slice(out, ath_buf_slice(&jwe));
    err = out->err;
out:
    ath_buf_done(&ciphertext);
    ath_buf_done(&jwe);
    return err;
}

/* ---- receiving ---- */

struct received {
    struct ath_slice header_text, ciphertext; /* as they came: base64url */
    uint8_t iv[AEAD_IV_LEN], tag[AEAD_TAG_LEN];
    uint32_t seq;
    int64_t re;
};

static ath_err
refuse(struct why *why, const char *reason)
{
    return why_set(why, ATH_ERR_DECRYPT_FAILED, "the session message's %s", reason);
}

/* RFC 7516 3.1: header . encrypted key . IV . ciphertext . tag */
static bool
split(struct ath_slice jwe, struct ath_slice ret_segments[5])
{
    const uint8_t *at = jwe.data, *end = jwe.len != 0 ? jwe.data + jwe.len : jwe.data;

    for (size_t i = 0; i < 5; i++) {
        const uint8_t *dot = at != end ? memchr(at, '.', (size_t)(end - at)) : NULL;

        if ((dot == NULL) != (i == 4))
            return false;
        ret_segments[i] = ath_slice_of(at, (size_t)((dot != NULL ? dot : end) - at));
        if (dot != NULL)
            at = dot + 1;
    }
    return true;
}

static bool
is_text(const struct json *header, const char *name, const char *expected)
{
    const char *text = json_get_string(header, name);

    return text != NULL && strcmp(text, expected) == 0;
}

static bool
is_seq(int64_t value)
{
    return value >= 0 && value <= SEQ_MAX;
}

/* The six members, `re` in an answer, and no other. */
static ath_err
check_header(const struct jwe_channel *channel, const struct json *header, struct why *why,
             struct received *received)
{
    bool has_re = json_get(header, "re") != NULL;
    int64_t seq = -1, re = -1;

    if (!json_is_object(header) ||
        json_count(header) != (has_re ? HEADER_MEMBERS + 1 : HEADER_MEMBERS))
        return refuse(why, "header has not exactly the members of a session's");
    if (!is_text(header, "alg", "dir") || !is_text(header, "enc", "A256GCM") ||
        !is_text(header, "typ", JWE_TYP))
        return refuse(why, "alg, enc or typ is not that of a session");
    if (!is_text(header, "kid", channel->keys.sid))
        return refuse(why, "kid is that of another session");
    if (!is_text(header, "dir", direction(channel, false)))
        return refuse(why, "direction is not towards us");
    if (!json_get_int(header, "seq", &seq) || !is_seq(seq))
        return refuse(why, "seq is missing or out of range");
    if (has_re && (!json_get_int(header, "re", &re) || !is_seq(re)))
        return refuse(why, "re is out of range");
    received->seq = (uint32_t)seq;
    received->re = has_re ? re : NO_ANSWER;
    return ATH_OK;
}

static ath_err
read_header(const struct jwe_channel *channel, struct why *why, struct received *received)
{
    const struct json_limits limits = {HEADER_MAX_LEN, 2, HEADER_MEMBERS + 1, JSON_INTEGERS};
    struct ath_buf text = {.max = HEADER_MAX_LEN};
    struct json *header = NULL;
    ath_err err;

    if ((err = base64url_decode(received->header_text, &text)) == ATH_OK)
        err = json_parse(ath_buf_slice(&text), &limits, NULL, &header);
    if (err == ATH_OK)
        err = check_header(channel, header, why, received);
    else if (err != ATH_ERR_NOMEM)
        err = refuse(why, "header is no strict JSON object in base64url");
    json_free(header);
    ath_buf_done(&text);
    return err;
}

static ath_err
decode(const struct jwe_channel *channel, struct ath_slice jwe, struct why *why,
       struct received *received)
{
    struct ath_slice segments[5];
    uint8_t iv[AEAD_IV_LEN];
    ath_err err;

    if (jwe.len > JWE_MAX_LEN)
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED, "a session message has at most %u bytes",
                       JWE_MAX_LEN);
    if (!split(jwe, segments) || segments[1].len != 0)
        return refuse(why, "form is not that of a compact JWE with direct encryption");
    received->header_text = segments[0];
    received->ciphertext = segments[3];
    if (received->ciphertext.len > BASE64URL_LEN(SESSION_PLAINTEXT_MAX))
        return why_set(why, ATH_ERR_LIMIT_EXCEEDED, "a session message carries at most %u bytes",
                       SESSION_PLAINTEXT_MAX);
    if ((err = read_header(channel, why, received)) != ATH_OK)
        return err;
    make_iv(received->seq, received->iv);
    if (base64url_decode_exact(segments[2], iv, sizeof(iv)) != ATH_OK ||
        memcmp(iv, received->iv, sizeof(iv)) != 0)
        return refuse(why, "IV is not that of its number");
    if (base64url_decode_exact(segments[4], received->tag, sizeof(received->tag)) != ATH_OK)
        return refuse(why, "tag has not 16 bytes");
    return ATH_OK;
}

static uint64_t *
window_word(struct jwe_channel *channel, uint32_t seq)
{
    return &channel->seen[seq % SESSION_WINDOW / 64];
}

static bool
may_take(struct jwe_channel *channel, uint32_t seq)
{
    if (!channel->received_any || seq > channel->highest)
        return true;
    if (channel->highest - seq >= SESSION_WINDOW)
        return false;
    return (*window_word(channel, seq) >> (seq % 64) & 1) == 0;
}

/* Only for a message that decrypted. */
static void
take(struct jwe_channel *channel, uint32_t seq)
{
    if (!channel->received_any || seq > channel->highest) {
        if (!channel->received_any || seq - channel->highest >= SESSION_WINDOW)
            memset(channel->seen, 0, sizeof(channel->seen));
        else /* the places of the numbers that are passed over belong to older ones */
            for (uint32_t passed = channel->highest + 1; passed != seq; passed++)
                *window_word(channel, passed) &= ~(UINT64_C(1) << (passed % 64));
        channel->highest = seq;
        channel->received_any = true;
    }
    *window_word(channel, seq) |= UINT64_C(1) << (seq % 64);
}

static ath_err
decrypt(struct jwe_channel *channel, const struct received *received, struct why *why,
        struct ath_buf *plaintext)
{
    struct ath_buf ciphertext = {.max = SESSION_PLAINTEXT_MAX};
    ath_err err;

    if ((err = base64url_decode(received->ciphertext, &ciphertext)) != ATH_OK) {
        if (err == ATH_ERR_PARSE)
            err = refuse(why, "ciphertext is not base64url");
        goto out;
    }
    err = aead_open(key_of(channel, false), received->iv, received->header_text,
                    ath_buf_slice(&ciphertext), received->tag, plaintext);
    if (err == ATH_ERR_DECRYPT_FAILED)
        err = refuse(why, "tag does not hold");
out:
    ath_buf_done(&ciphertext);
    return err;
}

ath_err
jwe_open(struct jwe_channel *channel, struct ath_slice jwe, struct why *why,
         struct ath_buf *plaintext, uint32_t *ret_seq, int64_t *ret_re)
{
    struct received received = {0};
    ath_err err;

    if ((err = decode(channel, jwe, why, &received)) != ATH_OK)
        return err;
    if (!may_take(channel, received.seq))
        return why_set(why, ATH_ERR_SESSION_REPLAYED,
                       "message %u was received before or is too old", (unsigned)received.seq);
    if ((err = decrypt(channel, &received, why, plaintext)) != ATH_OK)
        return err;
    take(channel, received.seq);
    *ret_seq = received.seq;
    *ret_re = received.re;
    return ATH_OK;
}
