/*
 * A cookie is b64u(body || MAC): 8 bytes of the time when the client is to come back, 1 of proof, 16 random ones (so
 * that two cookies of one second differ and each can be spent), 32 of HMAC-SHA-256. Spent ones are
 * remembered by their MAC, which is uniform and so is its own hash, in an open table that is made anew
 * when it is half full.
 */
#include "protocol/handshake_cookie.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64url.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "crypto/digest.h"
#include "crypto/random.h"
#include "protocol/handshake_message.h"

#define SALT_LEN 16
#define BODY_LEN (8 + 1 + SALT_LEN)
#define COOKIE_LEN (BODY_LEN + SHA256_LEN)
#define JAR_KEY_LEN 32
#define ID_LEN 16
#define MAC_INPUT_MAX (BODY_LEN + 8192)
#define TABLE_MIN 64u

struct spent {
    uint8_t id[ID_LEN]; /* of the MAC */
    int64_t until;      /* 0: free */
};

struct cookie_jar {
    uint8_t key[JAR_KEY_LEN];
    struct spent *table; /* a power of two, at most half full */
    size_t size, count;
    int64_t swept_at; /* the last time the table was full and was looked through */
};

ath_err
cookie_jar_new(struct cookie_jar **ret_jar)
{
    struct cookie_jar *jar = calloc(1, sizeof(*jar));
    ath_err err;

    if (jar == NULL)
        return ATH_ERR_NOMEM;
    if ((err = random_bytes(jar->key, sizeof(jar->key))) != ATH_OK) {
        free(jar);
        return err;
    }
    *ret_jar = jar;
    return ATH_OK;
}

void
cookie_jar_free(struct cookie_jar *jar)
{
    if (jar == NULL)
        return;
    free(jar->table);
    explicit_bzero(jar, sizeof(*jar));
    free(jar);
}

static ath_err
compute_mac(const struct cookie_jar *jar, const uint8_t body[BODY_LEN], const char *client_did,
            const char *source, uint8_t ret_mac[SHA256_LEN])
{
    struct ath_buf input = {.max = MAC_INPUT_MAX};
    ath_err err;

    ath_buf_put(&input, body, BODY_LEN);
    bytes_put_field(&input, ath_slice_of_string(client_did));
    bytes_put_field(&input, ath_slice_of_string(source));
    if ((err = input.err) == ATH_OK)
        err = hmac_sha256(ath_slice_of(jar->key, sizeof(jar->key)), ath_buf_slice(&input), ret_mac);
    ath_buf_done(&input);
    return err;
}

/* ---- out ---- */

static ath_err
make_cookie(const struct cookie_jar *jar, const char *client_did, const char *source, bool proof,
            int64_t good_from, uint8_t ret_cookie[COOKIE_LEN])
{
    uint64_t time = (uint64_t)good_from;
    ath_err err;

    for (size_t i = 0; i < 8; i++)
        ret_cookie[i] = (uint8_t)(time >> (56 - 8 * i));
    ret_cookie[8] = proof ? 1 : 0;
    if ((err = random_bytes(ret_cookie + 9, SALT_LEN)) != ATH_OK)
        return err;
    return compute_mac(jar, ret_cookie, client_did, source, ret_cookie + BODY_LEN);
}

ath_err
cookie_jar_retry(struct cookie_jar *jar, const char *client_did, const char *source, bool proof,
                 int64_t retry_after_s, int64_t now, struct json **ret_message)
{
    struct json_maker message = {0};
    uint8_t cookie[COOKIE_LEN];
    ath_err err;

    if (retry_after_s < 0 || retry_after_s > RETRY_AFTER_MAX_S)
        return ATH_ERR_INVALID_PARAMS;
    err = make_cookie(jar, client_did, source, proof, now + retry_after_s, cookie);
    if (err != ATH_OK)
        return err;
    json_object_begin(&message);
    json_put_string(&message, "type", handshake_message_type_name(MESSAGE_HANDSHAKE_RETRY));
    json_put_base64url(&message, "cookie", ath_slice_of(cookie, sizeof(cookie)));
    json_put_bool(&message, "proof", proof);
    json_put_int(&message, "retry_after", retry_after_s);
    json_put_int(&message, "timestamp", now);
    return json_maker_end(&message, ret_message);
}

/* ---- the memory of what was redeemed ---- */

/* Where id is, or the free place where it belongs. */
static struct spent *
slot_of(struct spent *table, size_t size, const uint8_t id[ID_LEN])
{
    size_t at = 0;

    for (size_t i = 0; i < sizeof(at); i++)
        at = at << 8 | id[i];
    for (at &= size - 1; table[at].until != 0; at = (at + 1) & (size - 1)) {
        if (memcmp(table[at].id, id, ID_LEN) == 0)
            break;
    }
    return &table[at];
}

/* A table of the right size with those that still matter. */
static ath_err
rebuild(struct cookie_jar *jar, int64_t now)
{
    size_t live = 0, size = TABLE_MIN, count = 0;
    struct spent *table;

    for (size_t i = 0; i < jar->size; i++)
        live += jar->table[i].until >= now && jar->table[i].until != 0;
    while (size < 4 * live)
        size *= 2;
    if ((table = calloc(size, sizeof(*table))) == NULL)
        return ATH_ERR_NOMEM;
    for (size_t i = 0; i < jar->size; i++) {
        const struct spent *spent = &jar->table[i];

        if (spent->until != 0 && spent->until >= now) {
            *slot_of(table, size, spent->id) = *spent;
            count++;
        }
    }
    free(jar->table);
    jar->table = table;
    jar->size = size;
    jar->count = count;
    return ATH_OK;
}

static ath_err
make_room(struct cookie_jar *jar, int64_t now)
{
    bool full = jar->count >= COOKIES_REMEMBERED;
    ath_err err;

    if (!full && jar->count < jar->size / 2)
        return ATH_OK;
    /* Full: looked through at most once a second, whatever comes in. */
    if (full && jar->swept_at == now)
        return ATH_ERR_RATE_LIMITED;
    if (full)
        jar->swept_at = now;
    if ((err = rebuild(jar, now)) != ATH_OK)
        return err;
    return jar->count >= COOKIES_REMEMBERED ? ATH_ERR_RATE_LIMITED : ATH_OK;
}

/* until: the last second in which the cookie would be good, and so must not be forgotten. */
static ath_err
spend(struct cookie_jar *jar, const uint8_t mac[SHA256_LEN], int64_t now, int64_t until)
{
    struct spent *slot;
    ath_err err;

    if (jar->size > 0 && slot_of(jar->table, jar->size, mac)->until != 0)
        return ATH_ERR_INVALID_MESSAGE;
    if ((err = make_room(jar, now)) != ATH_OK)
        return err;
    slot = slot_of(jar->table, jar->size, mac);
    memcpy(slot->id, mac, ID_LEN);
    slot->until = until;
    jar->count++;
    return ATH_OK;
}

/* ---- back ---- */

ath_err
cookie_jar_redeem(struct cookie_jar *jar, const char *cookie, const char *client_did,
                  const char *source, int64_t now, bool *ret_proof)
{
    uint8_t bytes[COOKIE_LEN], mac[SHA256_LEN];
    struct byte_reader reader;
    int64_t good_from;
    ath_err err;

    if (base64url_decode_exact(ath_slice_of_string(cookie), bytes, sizeof(bytes)) != ATH_OK)
        return ATH_ERR_INVALID_MESSAGE;
    if ((err = compute_mac(jar, bytes, client_did, source, mac)) != ATH_OK)
        return err;
    if (!bytes_equal_secret(mac, bytes + BODY_LEN, sizeof(mac)))
        return ATH_ERR_INVALID_MESSAGE;
    reader = byte_reader_of(ath_slice_of(bytes, BODY_LEN));
    good_from = (int64_t)byte_reader_u64(&reader);
    /* Its life begins when the client was asked to come back; who comes earlier may. A cookie from
     * further ahead than we ever write is from before our clock was set back. */
    if (now > good_from + COOKIE_LIFE_S || good_from > now + RETRY_AFTER_MAX_S)
        return ATH_ERR_INVALID_MESSAGE;
    if ((err = spend(jar, mac, now, good_from + COOKIE_LIFE_S)) != ATH_OK)
        return err;
    *ret_proof = byte_reader_u8(&reader) == 1;
    return ATH_OK;
}
