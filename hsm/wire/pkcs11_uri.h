/*
 * PKCS#11 URIs (RFC 7512), as far as athd takes them: a token is named by what is written on it,
 * never by a slot number (slots change), and a URI never holds a PIN (it stands in argv and in
 * files). Read by athd to judge its configuration and by the helper, which acts on it.
 *
 * Path attributes: token, serial, manufacturer, model, object, id, type (only "private"). Query
 * attributes: module-path, module-name, pin-source ("file:/absolute/path", or
 * "credential:NAME" for a file in $CREDENTIALS_DIRECTORY). Any other name is refused, and each may
 * stand once.
 */
#ifndef HSM_WIRE_PKCS11_URI_H
#define HSM_WIRE_PKCS11_URI_H

#include "base/buf.h"
#include "base/why.h"

#define PKCS11_URI_MAX 4096u
#define PKCS11_URI_ID_MAX 255u

/* Texts are decoded, without NUL; "" where the URI does not say. A label of 32 bytes fits. */
struct pkcs11_uri {
    char token[33], manufacturer[33], model[17], serial[17];
    char object[256];
    uint8_t id[PKCS11_URI_ID_MAX];
    size_t id_len;
    char module_path[1024]; /* absolute */
    char module_name[65];
    char pin_file[1024];     /* pin-source=file: */
    char pin_credential[65]; /* pin-source=credential: */
};

/* ATH_ERR_INVALID_PARAMS with why: what is wrong with it, and for slot-id, pin-value and unknown
 * attributes what to write instead. The text of the URI is not repeated in why: it may hold a
 * pin-value. */
ath_err pkcs11_uri_parse(struct ath_slice text, struct why *why,
                         struct pkcs11_uri *ret_uri) ATH_MUST_USE;

/* Appends "pkcs11:" and the path attributes that are set (token, manufacturer, model, serial, id,
 * object, in this order), percent-encoded: what athd stores for a key. */
void pkcs11_uri_put_path(const struct pkcs11_uri *uri, struct ath_buf *out);

/* Does everything that `wanted` says of the token agree with `is`? What it does not say agrees. */
bool pkcs11_uri_token_matches(const struct pkcs11_uri *wanted, const struct pkcs11_uri *is);

#endif
