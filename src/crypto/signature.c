/* JOSE signatures (RFC 7518 3.4, RFC 8037 3.1) and the DER that OpenSSL and PKCS#11 tools speak. */
#include <string.h>

#include <openssl/err.h>

#include "base/bytes.h"
#include "crypto/digest.h"
#include "crypto/public_key_internal.h"

#define TABLE_AT 256u /* verifications: a key that was used so often will be used on */
#define DER_SEQUENCE 0x30
#define DER_INTEGER 0x02
#define MAX_DER_SIGNATURE (2 + 2 * (2 + 1 + CURVE_MAX_COORDINATE))

const char *
key_algorithm_name(enum key_algorithm algorithm)
{
    const struct curve *curve = curve_of_algorithm(algorithm);

    return curve != NULL ? curve->algorithm_name : "none";
}

bool
key_algorithm_parse(const char *name, enum key_algorithm *ret_algorithm)
{
    static const enum key_algorithm all[] = {KEY_ES256, KEY_ES384, KEY_EDDSA};

    for (size_t i = 0; name != NULL && i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(key_algorithm_name(all[i]), name) == 0) {
            *ret_algorithm = all[i];
            return true;
        }
    return false;
}

size_t
key_algorithm_signature_len(enum key_algorithm algorithm)
{
    const struct curve *curve = curve_of_algorithm(algorithm);

    return curve != NULL ? 2 * curve->coordinate_len : 0;
}

/* Appends an INTEGER: no leading zeros but the one that keeps it positive. Returns the new end. */
static uint8_t *
put_integer(uint8_t *at, const uint8_t *number, size_t len)
{
    bool needs_zero;

    while (len > 1 && number[0] == 0) {
        number++;
        len--;
    }
    needs_zero = (number[0] & 0x80) != 0;
    *at++ = DER_INTEGER;
    *at++ = (uint8_t)(len + (needs_zero ? 1 : 0));
    if (needs_zero)
        *at++ = 0;
    memcpy(at, number, len);
    return at + len;
}

/* Both numbers of P-384 fit the one-byte length: at most 102 bytes. */
static size_t
put_der(const struct curve *curve, const uint8_t *signature, uint8_t *ret_der)
{
    uint8_t *end = put_integer(ret_der + 2, signature, curve->coordinate_len);

    end = put_integer(end, signature + curve->coordinate_len, curve->coordinate_len);
    ret_der[0] = DER_SEQUENCE;
    ret_der[1] = (uint8_t)(end - ret_der - 2);
    return (size_t)(end - ret_der);
}

/* A positive INTEGER in its shortest form, right-aligned in width bytes. */
static bool
read_integer(struct byte_reader *reader, uint8_t *ret, size_t width)
{
    uint8_t tag = byte_reader_u8(reader);
    size_t len = byte_reader_u8(reader);
    struct ath_slice number = byte_reader_bytes(reader, len);

    if (reader->bad || tag != DER_INTEGER || number.len == 0 || (number.data[0] & 0x80) != 0)
        return false;
    if (number.data[0] == 0 && number.len > 1) {
        if ((number.data[1] & 0x80) == 0)
            return false;
        number.data++;
        number.len--;
    }
    if (number.len > width)
        return false;
    memset(ret, 0, width - number.len);
    memcpy(ret + width - number.len, number.data, number.len);
    return true;
}

ath_err
signature_from_der(enum key_algorithm algorithm, struct ath_slice der,
                   uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    const struct curve *curve = curve_of_algorithm(algorithm);
    struct byte_reader reader = byte_reader_of(der);
    uint8_t signature[SIGNATURE_MAX_LEN];

    if (curve == NULL || !curve->has_y)
        return ATH_ERR_UNSUPPORTED_ALGORITHM;
    if (byte_reader_u8(&reader) != DER_SEQUENCE || byte_reader_u8(&reader) != reader.rest.len ||
        !read_integer(&reader, signature, curve->coordinate_len) ||
        !read_integer(&reader, signature + curve->coordinate_len, curve->coordinate_len) ||
        !byte_reader_is_done(&reader) || !curve_is_scalar(curve, signature) ||
        !curve_is_scalar(curve, signature + curve->coordinate_len))
        return ATH_ERR_INVALID_SIGNATURE;
    memcpy(ret_signature, signature, 2 * curve->coordinate_len);
    return ATH_OK;
}

ath_err
signature_to_der(enum key_algorithm algorithm, struct ath_slice signature, struct ath_buf *der)
{
    const struct curve *curve = curve_of_algorithm(algorithm);
    uint8_t bytes[MAX_DER_SIGNATURE];

    if (curve == NULL || !curve->has_y)
        return ATH_ERR_UNSUPPORTED_ALGORITHM;
    if (signature.len != 2 * curve->coordinate_len)
        return ATH_ERR_INVALID_SIGNATURE;
    ath_buf_put(der, bytes, put_der(curve, signature.data, bytes));
    return der->err;
}

/* 1: holds, 0: does not; else openssl's failure. */
static ath_err
verify_result(int result)
{
    unsigned long code = ERR_peek_last_error();

    ERR_clear_error();
    if (result == 1)
        return ATH_OK;
    return ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE ? ATH_ERR_NOMEM : ATH_ERR_INVALID_SIGNATURE;
}

static ath_err
verify_ecdsa(const struct public_key *key, struct ath_slice message, const uint8_t *signature)
{
    uint8_t digest[SHA384_LEN], der[MAX_DER_SIGNATURE];
    bool is_p384 = key->curve->algorithm == KEY_ES384;
    size_t der_len;
    EVP_PKEY_CTX *ctx;
    ath_err err;

    if (!curve_is_scalar(key->curve, signature) ||
        !curve_is_scalar(key->curve, signature + key->curve->coordinate_len))
        return ATH_ERR_INVALID_SIGNATURE;
    if ((err = is_p384 ? sha384(message, digest) : sha256(message, digest)) != ATH_OK)
        return err;
    der_len = put_der(key->curve, signature, der);
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    if (ctx == NULL || EVP_PKEY_verify_init(ctx) != 1)
        err = openssl_failed("EVP_PKEY_verify_init");
    else
        err = verify_result(
            EVP_PKEY_verify(ctx, der, der_len, digest, is_p384 ? SHA384_LEN : SHA256_LEN));
    EVP_PKEY_CTX_free(ctx);
    return err;
}

static ath_err
verify_eddsa(const struct public_key *key, struct ath_slice message, const uint8_t *signature)
{
    static const uint8_t nothing;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ath_err err;

    if (ctx == NULL)
        return ATH_ERR_NOMEM;
    if (EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, key->pkey, NULL) != 1)
        err = openssl_failed("EVP_DigestVerifyInit_ex");
    else
        err = verify_result(EVP_DigestVerify(ctx, signature, 2 * key->curve->coordinate_len,
                                             message.len != 0 ? message.data : &nothing,
                                             message.len));
    EVP_MD_CTX_free(ctx);
    return err;
}

ath_err
public_key_verify(const struct public_key *key, struct ath_slice message,
                  struct ath_slice signature)
{
    if (signature.len != key_algorithm_signature_len(key->curve->algorithm))
        return ATH_ERR_INVALID_SIGNATURE;
    return key->curve->has_y ? verify_ecdsa(key, message, signature.data)
                             : verify_eddsa(key, message, signature.data);
}

/* By the table; what it does not find good, OpenSSL decides. */
static ath_err
verify_by_table(const struct public_key *key, const struct point_table *table,
                struct ath_slice message, struct ath_slice signature)
{
    uint8_t digest[SHA256_LEN];

    if (curve_is_scalar(key->curve, signature.data) &&
        curve_is_scalar(key->curve, signature.data + key->curve->coordinate_len) &&
        sha256(message, digest) == ATH_OK &&
        point_table_verify(table, digest, signature.data) == ATH_OK)
        return ATH_OK;
    return public_key_verify(key, message, signature);
}

static void
make_table(struct public_key *key)
{
    const struct ath_slice point = {public_key_point(key), curve_point_len(key->curve)};
    struct point_table *table = NULL;

    if (point_table_new(point, &table) == ATH_OK)
        atomic_store(&key->table, table);
}

ath_err
public_key_verify_own(const struct public_key *key, struct ath_slice message,
                      struct ath_slice signature)
{
    /* Neither the count nor the table is part of the value that const protects. */
    struct public_key *shared = (struct public_key *)(uintptr_t)key;
    const struct point_table *table = atomic_load(&shared->table);

    if (table != NULL && signature.len == key_algorithm_signature_len(KEY_ES256))
        return verify_by_table(key, table, message, signature);
    if (key->curve->algorithm == KEY_ES256 && table == NULL &&
        atomic_fetch_add(&shared->own_uses, 1) == TABLE_AT)
        make_table(shared);
    return public_key_verify(key, message, signature);
}
