#include "athd/lock_file.h"

#include <string.h>

#include "base/base64url.h"
#include "base/json.h"

#define FILE_VERSION 1
#define REASONS_IN_FILE 3u

static const struct json_limits limits = {LOCK_FILE_MAX, 3, 8, JSON_INTEGERS};

static const struct {
    enum lock_reason reason;
    const char *name;
} reasons[] = {
    {LOCK_BY_PASSPHRASE, "passphrase"},
    {LOCK_BY_SUSPEND, "suspend"},
    {LOCK_BY_SESSION, "session"},
    {LOCK_BY_DAMAGE, "damage"},
};

const char *
lock_reason_name(enum lock_reason reason)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].reason == reason)
            return reasons[i].name;
    return "";
}

/* ---- reading ---- */

static ath_err
decode_reasons(const struct json *list, unsigned *ret_bits)
{
    unsigned bits = 0;

    if (!json_is_array(list))
        return ATH_ERR_PARSE;
    for (const struct json *entry = json_first(list); entry != NULL; entry = json_next(entry)) {
        const char *name = json_string(entry);
        unsigned bit = 0;

        for (size_t i = 0; i < REASONS_IN_FILE && name != NULL; i++)
            if (strcmp(reasons[i].name, name) == 0)
                bit = (unsigned)reasons[i].reason;
        if (bit == 0 || (bits & bit) != 0)
            return ATH_ERR_PARSE;
        bits |= bit;
    }
    *ret_bits = bits;
    return bits == 0 ? ATH_ERR_PARSE : ATH_OK;
}

static ath_err
decode_bytes(const struct json *object, const char *name, size_t len, uint8_t *ret_bytes)
{
    const char *text = json_get_string(object, name);
    struct ath_buf bytes = {.max = len};
    ath_err err = ATH_ERR_PARSE;

    if (text != NULL && base64url_decode(ath_slice_of_string(text), &bytes) == ATH_OK &&
        bytes.len == len) {
        memcpy(ret_bytes, bytes.data, len);
        err = ATH_OK;
    }
    ath_buf_done(&bytes);
    return err;
}

static bool
get_uint32(const struct json *object, const char *name, uint32_t *ret_value)
{
    int64_t value = 0;

    if (!json_get_int(object, name, &value) || value < 0 || value > UINT32_MAX)
        return false;
    *ret_value = (uint32_t)value;
    return true;
}

static ath_err
decode_verifier(const struct json *object, struct lock_verifier *ret_verifier)
{
    struct scrypt_cost *cost = &ret_verifier->cost;
    ath_err err;

    if (!json_is_object(object) || json_count(object) != 5 || !get_uint32(object, "n", &cost->n) ||
        !get_uint32(object, "r", &cost->r) || !get_uint32(object, "p", &cost->p) ||
        !scrypt_cost_is_valid(cost))
        return ATH_ERR_PARSE;
    if ((err = decode_bytes(object, "salt", LOCK_SALT_LEN, ret_verifier->salt)) != ATH_OK)
        return err;
    return decode_bytes(object, "hash", LOCK_HASH_LEN, ret_verifier->hash);
}

static ath_err
decode_counts(const struct json *object, struct lock_record *record)
{
    int64_t wrong = 0;

    if (!json_get_int(object, "since", &record->since) || record->since < 0 ||
        !json_get_int(object, "wrong", &wrong) || wrong < 0 || wrong > LOCK_WRONG_MAX ||
        !json_get_int(object, "failed_at", &record->failed_at) || record->failed_at < 0)
        return ATH_ERR_PARSE;
    record->wrong = (unsigned)wrong;
    return ATH_OK;
}

static ath_err
decode_object(const struct json *object, struct why *why, struct lock_record *record)
{
    const struct json *verifier = json_get(object, "scrypt");
    int64_t version = 0;
    bool has_passphrase;

    if (!json_is_object(object) || !json_get_int(object, "version", &version) ||
        version != FILE_VERSION)
        return why_set(why, ATH_ERR_PARSE, "version is not %d", FILE_VERSION);
    if (decode_reasons(json_get(object, "by"), &record->reasons) != ATH_OK)
        return why_set(why, ATH_ERR_PARSE, "by is not as athd writes it");
    if (decode_counts(object, record) != ATH_OK)
        return why_set(why, ATH_ERR_PARSE, "since, wrong or failed_at is missing or wrong");
    has_passphrase = (record->reasons & LOCK_BY_PASSPHRASE) != 0;
    if (has_passphrase != (verifier != NULL) ||
        (has_passphrase && decode_verifier(verifier, &record->verifier) != ATH_OK))
        return why_set(why, ATH_ERR_PARSE, "scrypt is not as athd writes it");
    if (json_count(object) != (has_passphrase ? 6 : 5))
        return why_set(why, ATH_ERR_PARSE, "it has members that athd does not write");
    return ATH_OK;
}

ath_err
lock_record_decode(struct ath_slice text, struct why *why, struct lock_record *ret_record)
{
    struct lock_record record = {0};
    struct json *tree = NULL;
    ath_err err = json_parse(text, &limits, why, &tree);

    if (err == ATH_OK)
        err = decode_object(tree, why, &record);
    if (err == ATH_OK)
        *ret_record = record;
    json_free(tree);
    return err == ATH_OK || err == ATH_ERR_NOMEM ? err : ATH_ERR_PARSE;
}

/* ---- writing ---- */

static void
put_verifier(struct json_maker *object, const struct lock_verifier *verifier)
{
    struct json_maker maker;

    json_object_begin(&maker);
    json_put_int(&maker, "n", verifier->cost.n);
    json_put_int(&maker, "r", verifier->cost.r);
    json_put_int(&maker, "p", verifier->cost.p);
    json_put_base64url(&maker, "salt", ath_slice_of(verifier->salt, LOCK_SALT_LEN));
    json_put_base64url(&maker, "hash", ath_slice_of(verifier->hash, LOCK_HASH_LEN));
    json_put_maker(object, "scrypt", &maker);
}

void
lock_record_encode(const struct lock_record *record, struct ath_buf *out)
{
    struct json_maker object, by;
    struct json *tree = NULL;

    json_object_begin(&object);
    json_put_int(&object, "version", FILE_VERSION);
    json_array_begin(&by);
    for (size_t i = 0; i < REASONS_IN_FILE; i++)
        if ((record->reasons & (unsigned)reasons[i].reason) != 0)
            json_put_string(&by, NULL, reasons[i].name);
    json_put_maker(&object, "by", &by);
    json_put_int(&object, "since", record->since);
    if ((record->reasons & LOCK_BY_PASSPHRASE) != 0)
        put_verifier(&object, &record->verifier);
    json_put_int(&object, "wrong", record->wrong);
    json_put_int(&object, "failed_at", record->failed_at);
    if (json_maker_end(&object, &tree) != ATH_OK) {
        out->err = ATH_ERR_NOMEM;
        return;
    }
    json_write_pretty(tree, out);
    ath_buf_put_byte(out, '\n');
    json_free(tree);
}
