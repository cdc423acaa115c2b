#include "protocol/purpose.h"

#include <string.h>

#include "base/base64url.h"
#include "crypto/digest.h"
#include "protocol/jws.h"

struct purpose {
    const char *text;
    enum did_role role;
    bool is_jws;
};

#define PURPOSE_ROW(name, text, role, jws) [PURPOSE_##name] = {text, role, jws},
static const struct purpose purposes[PURPOSE_COUNT] = {PURPOSE_LIST(PURPOSE_ROW)};
#undef PURPOSE_ROW

const char *
purpose_text(enum sign_purpose purpose)
{
    return purposes[purpose].text;
}

static bool
skip(struct ath_slice *bytes, const char *expected)
{
    size_t len = strlen(expected);

    if (bytes->len < len || memcmp(bytes->data, expected, len) != 0)
        return false;
    bytes->data += len;
    bytes->len -= len;
    return true;
}

static bool
skip_digest(struct ath_slice *bytes)
{
    const size_t len = BASE64URL_LEN(SHA256_LEN);
    uint8_t digest[SHA256_LEN];

    if (bytes->len < len ||
        base64url_decode_exact(ath_slice_of(bytes->data, len), digest, sizeof(digest)) != ATH_OK)
        return false;
    bytes->data += len;
    bytes->len -= len;
    return true;
}

static bool
is_labelled(const char *label, struct ath_slice bytes)
{
    return skip(&bytes, "ATH-TB1 ") && skip(&bytes, label) && skip(&bytes, " ") &&
           skip_digest(&bytes) && skip(&bytes, " ") && skip_digest(&bytes) && bytes.len == 0;
}

static ath_err
check_signing_input(const char *typ, struct ath_slice bytes)
{
    const uint8_t *dot = bytes.len != 0 ? memchr(bytes.data, '.', bytes.len) : NULL;
    struct json *header = NULL;
    enum key_algorithm algorithm;
    size_t header_len;
    ath_err err;

    if (dot == NULL || bytes.len > JWS_MAX_LEN)
        return ATH_ERR_PARSE;
    header_len = (size_t)(dot - bytes.data);
    /* a second dot is no base64url, so the claims' decoder refuses it */
    if ((err = jws_decode_object(ath_slice_of(bytes.data, header_len), "header", NULL, &header)) ==
            ATH_OK &&
        (err = jws_check_header(header, typ, NULL, &algorithm)) == ATH_OK)
        err = jws_decode_object(ath_slice_of(dot + 1, bytes.len - header_len - 1), "claims", NULL,
                                NULL);
    json_free(header);
    return err;
}

ath_err
purpose_check(enum sign_purpose purpose, enum did_role role, struct ath_slice bytes)
{
    const struct purpose *row;
    ath_err err;

    if ((unsigned)purpose >= PURPOSE_COUNT || purposes[purpose].role != role)
        return ATH_ERR_POLICY_DENIED;
    row = &purposes[purpose];
    if (!row->is_jws)
        return is_labelled(row->text, bytes) ? ATH_OK : ATH_ERR_POLICY_DENIED;
    err = check_signing_input(row->text, bytes);
    return err == ATH_OK || err == ATH_ERR_NOMEM ? err : ATH_ERR_POLICY_DENIED;
}
