#include "athd/audit_key_private.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/store_load.h"
#include "base/file.h"
#include "base/log.h"
#include "protocol/audit_key.h"

static ath_err
read_blob(const struct audit_key *key, const char *stem, struct ath_buf *blob, struct why *why)
{
    char *pem = store_file_path(key->dir, stem, ".pem");
    char *uri = store_file_path(key->dir, stem, ".uri");
    ath_err err = pem == NULL || uri == NULL ? ATH_ERR_NOMEM : file_read_own(pem, blob, why);

    if (err == ATH_ERR_NOT_FOUND)
        err = file_read_own(uri, blob, why);
    free(pem);
    free(uri);
    return err;
}

void
audit_key_take(struct audit_key *key, struct public_key *taken_public, struct ath_buf *taken_blob)
{
    public_key_free(key->public);
    ath_buf_done(&key->blob);
    key->public = taken_public;
    key->blob = *taken_blob; /* ownership moves */
    *taken_blob = (struct ath_buf){.max = HSM_WIRE_MAX_BLOB};
    key->ref = (struct hsm_key_ref){.number = hsm_pool_next_key_number(key->athd->hsms),
                                    .hsm = key->hsm,
                                    .blob = ath_buf_slice(&key->blob)};
}

/* The log has the public half of every key it ever had: one that was lost is put back, or no
 * checkpoint of it could be believed any more. Blocking (start-up). */
static ath_err
restore_public(const struct audit_key *key, const struct public_key *public, struct why *why)
{
    char *path = store_file_path(key->public_dir, public_key_jkt(public), ".json");
    struct ath_buf text = {.max = AUDIT_KEY_MAX_LEN}, there = {.max = AUDIT_KEY_MAX_LEN};
    ath_err err = ATH_ERR_NOMEM;

    audit_key_put_file(public, &text);
    if (path == NULL || (err = text.err) != ATH_OK)
        goto out;
    err = file_read(path, &there, why);
    if (err == ATH_OK && ath_slice_equal(ath_buf_slice(&there), ath_buf_slice(&text)))
        goto out;
    log_warning("event=audit reason=\"%s was lost or changed and is written again\"", path);
    err = file_replace(path, ath_buf_slice(&text), why);
out:
    ath_buf_done(&there);
    ath_buf_done(&text);
    free(path);
    return err;
}

ath_err
audit_key_load(void *ctx, const char *stem, const struct json *object, struct why *why)
{
    struct audit_key *key = ctx;
    const char *hsm = json_get_string(object, "hsm");
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    struct public_key *public = NULL;
    int64_t created_at = 0;
    ath_err err;

    if (hsm == NULL || !json_get_int(object, "created_at", &created_at))
        return why_set(why, ATH_ERR_PARSE, "\"hsm\" or \"created_at\" is missing");
    if ((err = public_key_from_jwk(json_get(object, "public_jwk"), why, &public)) != ATH_OK)
        return err;
    if (strcmp(public_key_jkt(public), stem) != 0) {
        err = why_set(why, ATH_ERR_PARSE, "its key is not that of the file's name");
        goto out;
    }
    if ((err = restore_public(key, public, why)) != ATH_OK)
        goto out;
    if (key->public != NULL && created_at < key->created_at)
        goto out;
    if ((err = read_blob(key, stem, &blob, why)) != ATH_OK)
        goto out;
    key->created_at = created_at;
    key->is_refused = key->hsm == NULL || strcmp(hsm, key->hsm) != 0;
    audit_key_take(key, public, &blob);
    public = NULL;
out:
    public_key_free(public);
    ath_buf_done(&blob);
    return err;
}
