#include "hsm/pkcs11/pkcs11_public.h"

#include <openssl/err.h>
#include <openssl/x509.h>

#define CERTIFICATE_MAX 16384u
#define DER_MAX 256u
#define SAME_MAX 8u /* objects with one id */

/* ---- public key objects ---- */

static ath_err
read_object(struct pkcs11_token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
            struct hsm_fault *fault, struct public_key **ret_key)
{
    uint8_t params[DER_MAX], point[DER_MAX];
    size_t params_len = 0, point_len = 0;
    const struct pkcs11_curve *curve = NULL;
    ath_err err;

    err = pkcs11_object_bytes(token, session, object, CKA_EC_PARAMS, params, sizeof(params),
                              &params_len, fault);
    if (err == ATH_OK)
        err = pkcs11_object_bytes(token, session, object, CKA_EC_POINT, point, sizeof(point),
                                  &point_len, fault);
    if (err == ATH_OK)
        err = pkcs11_curve_of_params(ath_slice_of(params, params_len), &fault->why, &curve);
    if (err != ATH_OK)
        return err;
    return pkcs11_curve_point(curve, ath_slice_of(point, point_len), &fault->why, ret_key);
}

/* ---- certificates ---- */

ath_err
pkcs11_public_of_certificate(struct ath_slice certificate, struct why *why,
                             struct public_key **ret_key)
{
    const unsigned char *cursor = certificate.data;
    X509 *x509 = d2i_X509(NULL, &cursor, (long)certificate.len);
    unsigned char *der = NULL;
    int len = 0;
    ath_err err;

    if (x509 != NULL && X509_get_X509_PUBKEY(x509) != NULL)
        len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der);
    if (len > 0)
        err = public_key_from_der(ath_slice_of(der, (size_t)len), why, ret_key);
    else
        err = why_set(why, ATH_ERR_INVALID_PUBLIC_KEY,
                      "the token's certificate is no X.509 certificate");
    OPENSSL_free(der);
    X509_free(x509);
    ERR_clear_error();
    return err;
}

static ath_err
read_certificate(struct pkcs11_token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                 struct hsm_fault *fault, struct public_key **ret_key)
{
    uint8_t certificate[CERTIFICATE_MAX];
    size_t len = 0;
    ath_err err;

    err = pkcs11_object_bytes(token, session, object, CKA_VALUE, certificate, sizeof(certificate),
                              &len, fault);
    if (err != ATH_OK)
        return err;
    return pkcs11_public_of_certificate(ath_slice_of(certificate, len), &fault->why, ret_key);
}

/* ---- all of them ---- */

typedef ath_err (*reader)(struct pkcs11_token *token, CK_SESSION_HANDLE session,
                          CK_OBJECT_HANDLE object, struct hsm_fault *fault,
                          struct public_key **ret_key);

/* Refused for what it is, not because the token failed: another may do. */
static bool
is_of_no_use(ath_err err)
{
    return err == ATH_ERR_NOT_FOUND || err == ATH_ERR_INVALID_PUBLIC_KEY ||
           err == ATH_ERR_UNSUPPORTED_ALGORITHM;
}

/* The first of the objects that gives a key. ATH_ERR_NOT_FOUND: there is no object. */
static ath_err
read_first(struct pkcs11_token *token, CK_SESSION_HANDLE session,
           const struct pkcs11_object_query *query, reader read, struct hsm_fault *fault,
           struct public_key **ret_key)
{
    CK_OBJECT_HANDLE objects[SAME_MAX];
    size_t count = 0;
    ath_err err;

    if (query->id.len == 0 && query->label.len == 0)
        return ATH_ERR_NOT_FOUND;
    err = pkcs11_object_find(token, session, query, objects, SAME_MAX, &count, fault);
    if (err != ATH_OK)
        return err;
    err = ATH_ERR_NOT_FOUND;
    for (size_t i = 0; i < count; i++) {
        err = read(token, session, objects[i], fault, ret_key);
        if (!is_of_no_use(err))
            break;
    }
    return err;
}

static ath_err
read_info(struct pkcs11_token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private,
          struct hsm_fault *fault, struct public_key **ret_key)
{
    uint8_t der[DER_MAX];
    size_t len = 0;
    ath_err err;

    err = pkcs11_object_bytes(token, session, private, CKA_PUBLIC_KEY_INFO, der, sizeof(der), &len,
                              fault);
    if (err == ATH_OK && len == 0)
        err = ATH_ERR_NOT_FOUND;
    return err != ATH_OK ? err : public_key_from_der(ath_slice_of(der, len), &fault->why, ret_key);
}

ath_err
pkcs11_public_read(struct pkcs11_token *token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private,
                   struct ath_slice id, struct ath_slice label, struct hsm_fault *fault,
                   struct public_key **ret_key)
{
    const struct ath_slice by_label = id.len > 0 ? (struct ath_slice){NULL, 0} : label;
    const struct pkcs11_object_query keys = {CKO_PUBLIC_KEY, id, by_label};
    const struct pkcs11_object_query certificates = {CKO_CERTIFICATE, id, by_label};
    ath_err err, found;

    err = read_first(token, session, &keys, read_object, fault, ret_key);
    if (!is_of_no_use(err))
        return err;
    found = err;
    err = read_first(token, session, &certificates, read_certificate, fault, ret_key);
    if (!is_of_no_use(err))
        return err;
    found = found == ATH_ERR_NOT_FOUND ? err : found;
    err = read_info(token, session, private, fault, ret_key);
    if (!is_of_no_use(err))
        return err;
    found = found == ATH_ERR_NOT_FOUND ? err : found;
    if (found == ATH_ERR_NOT_FOUND)
        return why_set(&fault->why, ATH_ERR_INVALID_PARAMS,
                       "the token has no public key or certificate beside this private key");
    /* to callers INVALID_PUBLIC_KEY is a peer's; this one is the token's */
    return found == ATH_ERR_INVALID_PUBLIC_KEY ? ATH_ERR_HSM_ERROR : found;
}
