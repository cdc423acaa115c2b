/* What is taken has a canonical form that is taken too and says the same; what is refused is told
 * why. */
#include <assert.h>
#include <string.h>

#include "hsm/wire/pkcs11_uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must_survive(const struct pkcs11_uri *uri)
{
    struct ath_buf first = {.max = PKCS11_URI_MAX}, second = {.max = PKCS11_URI_MAX};
    struct pkcs11_uri again;
    ath_err err;

    pkcs11_uri_put_path(uri, &first);
    assert(first.err == ATH_OK || first.err == ATH_ERR_NOMEM);
    if (first.err == ATH_OK) {
        err = pkcs11_uri_parse(ath_buf_slice(&first), NULL, &again);
        assert(err == ATH_OK);
        assert(pkcs11_uri_token_matches(uri, &again) && pkcs11_uri_token_matches(&again, uri));
        assert(again.id_len == uri->id_len && memcmp(again.id, uri->id, uri->id_len) == 0);
        assert(strcmp(again.object, uri->object) == 0);
        pkcs11_uri_put_path(&again, &second);
        assert(ath_slice_equal(ath_buf_slice(&first), ath_buf_slice(&second)));
    }
    ath_buf_done(&second);
    ath_buf_done(&first);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pkcs11_uri uri;
    struct why why = {{0}};
    ath_err err = pkcs11_uri_parse(ath_slice_of(data, size), &why, &uri);

    if (err == ATH_OK) {
        assert(uri.module_path[0] == '\0' || uri.module_path[0] == '/');
        assert(uri.pin_file[0] == '\0' || uri.pin_file[0] == '/');
        assert(strchr(uri.module_name, '/') == NULL && strchr(uri.pin_credential, '/') == NULL);
        must_survive(&uri);
    } else {
        assert(err == ATH_ERR_INVALID_PARAMS && why.text[0] != '\0');
    }
    return 0;
}
