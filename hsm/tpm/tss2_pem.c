#include "hsm/tpm/tss2_pem.h"

#include <string.h>

#include <openssl/asn1t.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <tss2/tss2_mu.h>

#define LABEL "TSS2 PRIVATE KEY"
#define BEGIN_LINE "-----BEGIN " LABEL "-----"
#define OID_LOADABLE "2.23.133.10.1.3"
#define DER_TRUE 0xff
#define MAX_FILE 65536u

typedef struct {
    ASN1_INTEGER *command_code;
    ASN1_OCTET_STRING *command_policy;
} TSS2_POLICY;

typedef struct {
    ASN1_UTF8STRING *name;
    STACK_OF(TSS2_POLICY) * policy;
} TSS2_AUTH_POLICY;

typedef struct {
    ASN1_OBJECT *type;
    ASN1_BOOLEAN empty_auth;
    STACK_OF(TSS2_POLICY) * policy;
    ASN1_OCTET_STRING *secret;
    STACK_OF(TSS2_AUTH_POLICY) * auth_policy;
    ASN1_UTF8STRING *description;
    ASN1_BOOLEAN rsa_parent;
    ASN1_INTEGER *parent;
    ASN1_OCTET_STRING *public;
    ASN1_OCTET_STRING *private;
} TSS2_FILE;

/* clang-format off */
ASN1_SEQUENCE(TSS2_POLICY) = {
    ASN1_EXP(TSS2_POLICY, command_code, ASN1_INTEGER, 0),
    ASN1_EXP(TSS2_POLICY, command_policy, ASN1_OCTET_STRING, 1),
} static_ASN1_SEQUENCE_END(TSS2_POLICY)

ASN1_SEQUENCE(TSS2_AUTH_POLICY) = {
    ASN1_EXP_OPT(TSS2_AUTH_POLICY, name, ASN1_UTF8STRING, 0),
    ASN1_EXP_SEQUENCE_OF(TSS2_AUTH_POLICY, policy, TSS2_POLICY, 1),
} static_ASN1_SEQUENCE_END(TSS2_AUTH_POLICY)

ASN1_SEQUENCE(TSS2_FILE) = {
    ASN1_SIMPLE(TSS2_FILE, type, ASN1_OBJECT),
    ASN1_EXP_OPT(TSS2_FILE, empty_auth, ASN1_BOOLEAN, 0),
    ASN1_EXP_SEQUENCE_OF_OPT(TSS2_FILE, policy, TSS2_POLICY, 1),
    ASN1_EXP_OPT(TSS2_FILE, secret, ASN1_OCTET_STRING, 2),
    ASN1_EXP_SEQUENCE_OF_OPT(TSS2_FILE, auth_policy, TSS2_AUTH_POLICY, 3),
    ASN1_EXP_OPT(TSS2_FILE, description, ASN1_UTF8STRING, 4),
    ASN1_EXP_OPT(TSS2_FILE, rsa_parent, ASN1_BOOLEAN, 5),
    ASN1_SIMPLE(TSS2_FILE, parent, ASN1_INTEGER),
    ASN1_SIMPLE(TSS2_FILE, public, ASN1_OCTET_STRING),
    ASN1_SIMPLE(TSS2_FILE, private, ASN1_OCTET_STRING),
} static_ASN1_SEQUENCE_END(TSS2_FILE)
    /* clang-format on */

    static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (memchr(" \t\r\n", text[i], 4) == NULL)
            return false;
    }
    return true;
}

/* The block's content; nothing may stand before or behind it, and it has no headers. */
static ath_err
pem_unwrap(struct ath_slice text, struct why *why, unsigned char **ret_der, long *ret_len)
{
    char *name = NULL, *header = NULL, *rest = NULL;
    unsigned char *der = NULL;
    ath_err err = ATH_ERR_INVALID_PARAMS;
    BIO *bio = NULL;
    long len = 0, rest_len;

    if (text.len < strlen(BEGIN_LINE) || text.len > MAX_FILE ||
        memcmp(text.data, BEGIN_LINE, strlen(BEGIN_LINE)) != 0) {
        (void)why_set(why, err, "this is not a \"%s\" file", LABEL);
        goto out;
    }
    if ((bio = BIO_new_mem_buf(text.data, (int)text.len)) == NULL) {
        err = ATH_ERR_NOMEM;
        goto out;
    }
    if (PEM_read_bio(bio, &name, &header, &der, &len) != 1 || strcmp(name, LABEL) != 0 ||
        header[0] != '\0') {
        (void)why_set(why, err, "the key file's PEM is damaged");
        goto out;
    }
    rest_len = BIO_get_mem_data(bio, &rest);
    if (rest_len < 0 || !is_blank(rest, (size_t)rest_len)) {
        (void)why_set(why, err, "something follows the key in its file");
        goto out;
    }
    *ret_der = der;
    der = NULL;
    *ret_len = len;
    err = ATH_OK;
out:
    ERR_clear_error();
    OPENSSL_free(der);
    OPENSSL_free(header);
    OPENSSL_free(name);
    BIO_free(bio);
    return err;
}

/* d2i takes BER too; what it read must be what DER writes. An odd TRUE survives i2d as it is. */
static bool
is_der(const TSS2_FILE *file, const unsigned char *der, long len)
{
    unsigned char *again = NULL;
    int again_len = ASN1_item_i2d((const ASN1_VALUE *)file, &again, ASN1_ITEM_rptr(TSS2_FILE));
    bool same = again_len == len && memcmp(again, der, (size_t)len) == 0;

    OPENSSL_free(again);
    return same;
}

/* NULL: not such a file. */
static TSS2_FILE *
file_parse(const unsigned char *der, long len)
{
    const unsigned char *p = der;
    TSS2_FILE *file = (TSS2_FILE *)ASN1_item_d2i(NULL, &p, len, ASN1_ITEM_rptr(TSS2_FILE));

    ERR_clear_error();
    if (file != NULL && p == der + len && is_der(file, der, len))
        return file;
    ASN1_item_free((ASN1_VALUE *)file, ASN1_ITEM_rptr(TSS2_FILE));
    return NULL;
}

static ath_err
file_is_for_us(const TSS2_FILE *file, struct why *why)
{
    char oid[64];

    if (OBJ_obj2txt(oid, sizeof(oid), file->type, 1) < 0 || strcmp(oid, OID_LOADABLE) != 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the file holds no loadable TPM key (2.23.133.10.1.3)");
    if (file->policy != NULL || file->secret != NULL)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "the key is bound to a policy, which athd cannot fulfil");
    if (file->rsa_parent > 0)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "the key's parent is an RSA storage key");
    return ATH_OK;
}

static bool
unmarshal_areas(const TSS2_FILE *file, struct tss2_key *key)
{
    size_t len = (size_t)ASN1_STRING_length(file->public), offset = 0;

    if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(ASN1_STRING_get0_data(file->public), len, &offset,
                                       &key->public) != TSS2_RC_SUCCESS ||
        offset != len)
        return false;
    len = (size_t)ASN1_STRING_length(file->private);
    offset = 0;
    return Tss2_MU_TPM2B_PRIVATE_Unmarshal(ASN1_STRING_get0_data(file->private), len, &offset,
                                           &key->private) == TSS2_RC_SUCCESS &&
           offset == len;
}

ath_err
tss2_pem_decode(struct ath_slice text, struct why *why, struct tss2_key *ret_key)
{
    struct tss2_key key = {0};
    unsigned char *der = NULL;
    TSS2_FILE *file = NULL;
    uint64_t parent;
    long len = 0;
    ath_err err;

    if ((err = pem_unwrap(text, why, &der, &len)) != ATH_OK)
        goto out;
    if ((file = file_parse(der, len)) == NULL) {
        err = why_set(why, ATH_ERR_INVALID_PARAMS, "the key file's ASN.1 is damaged");
        goto out;
    }
    if ((err = file_is_for_us(file, why)) != ATH_OK)
        goto out;
    err = ATH_ERR_INVALID_PARAMS;
    if (ASN1_INTEGER_get_uint64(&parent, file->parent) != 1 || parent > UINT32_MAX) {
        (void)why_set(why, err, "the key's parent is not a handle");
        goto out;
    }
    if (!unmarshal_areas(file, &key)) {
        (void)why_set(why, err, "the key's public or private area is damaged");
        goto out;
    }
    key.parent = (uint32_t)parent;
    key.empty_auth = file->empty_auth > 0;
    *ret_key = key;
    err = ATH_OK;
out:
    ERR_clear_error();
    ASN1_item_free((ASN1_VALUE *)file, ASN1_ITEM_rptr(TSS2_FILE));
    OPENSSL_free(der);
    return err;
}

static bool
file_fill(TSS2_FILE *file, const struct tss2_key *key)
{
    uint8_t bytes[sizeof(TPM2B_PUBLIC) + sizeof(TPM2B_PRIVATE)];
    size_t offset = 0;

    ASN1_OBJECT_free(file->type);
    if ((file->type = OBJ_txt2obj(OID_LOADABLE, 1)) == NULL)
        return false;
    file->empty_auth = key->empty_auth ? DER_TRUE : 0;
    file->rsa_parent = -1; /* absent */
    if (ASN1_INTEGER_set_uint64(file->parent, key->parent) != 1)
        return false;
    if (Tss2_MU_TPM2B_PUBLIC_Marshal(&key->public, bytes, sizeof(bytes), &offset) !=
            TSS2_RC_SUCCESS ||
        ASN1_OCTET_STRING_set(file->public, bytes, (int)offset) != 1)
        return false;
    offset = 0;
    return Tss2_MU_TPM2B_PRIVATE_Marshal(&key->private, bytes, sizeof(bytes), &offset) ==
               TSS2_RC_SUCCESS &&
           ASN1_OCTET_STRING_set(file->private, bytes, (int)offset) == 1;
}

ath_err
tss2_pem_encode(const struct tss2_key *key, struct ath_buf *out)
{
    unsigned char *der = NULL;
    TSS2_FILE *file = NULL;
    ath_err err = ATH_ERR_CRYPTO;
    char *text = NULL;
    BIO *bio = NULL;
    long text_len;
    int len;

    if ((file = (TSS2_FILE *)ASN1_item_new(ASN1_ITEM_rptr(TSS2_FILE))) == NULL ||
        (bio = BIO_new(BIO_s_mem())) == NULL) {
        err = ATH_ERR_NOMEM;
        goto out;
    }
    if (!file_fill(file, key))
        goto out;
    if ((len = ASN1_item_i2d((ASN1_VALUE *)file, &der, ASN1_ITEM_rptr(TSS2_FILE))) <= 0)
        goto out;
    if (PEM_write_bio(bio, LABEL, "", der, len) <= 0 ||
        (text_len = BIO_get_mem_data(bio, &text)) <= 0)
        goto out;
    ath_buf_put(out, text, (size_t)text_len);
    err = out->err;
out:
    ERR_clear_error();
    OPENSSL_free(der);
    BIO_free(bio);
    ASN1_item_free((ASN1_VALUE *)file, ASN1_ITEM_rptr(TSS2_FILE));
    return err;
}
