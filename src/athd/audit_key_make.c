#include "athd/audit_key_private.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/audit_log.h"
#include "athd/store_load.h"
#include "base/clock.h"
#include "base/log.h"
#include "protocol/audit_key.h"

/* ---- on record ---- */

static void
on_recorded(void *ctx, ath_err err)
{
    struct audit_key *key = ctx;

    if (err != ATH_OK) {
        audit_key_wait(key, err, NULL);
        return;
    }
    key->is_unrecorded = false;
    audit_key_become_ready(key);
}

void
audit_key_record(struct audit_key *key)
{
    struct json_maker maker;

    audit_record_begin(&maker, "audit_key", NULL);
    json_put_string(&maker, "jkt", public_key_jkt(key->public));
    json_put_string(&maker, "hsm", key->hsm);
    if (key->replaced[0] != '\0')
        json_put_string(&maker, "replaces", key->replaced);
    audit_append(key->athd->audit, &maker, on_recorded, key);
}

/* ---- its files ---- */

static const char *
suffix_of(struct ath_slice blob)
{
    static const char scheme[] = "pkcs11:";

    return blob.len > strlen(scheme) && memcmp(blob.data, scheme, strlen(scheme)) == 0 ? ".uri"
                                                                                       : ".pem";
}

static ath_err
encode(const struct audit_key *key, struct ath_buf *text)
{
    const char *kind = "";
    struct json_maker maker;
    struct json *object = NULL, *jwk = NULL;
    bool software;
    ath_err err;

    hsm_pool_describe(key->athd->hsms, key->hsm, &kind, &software);
    if ((err = public_key_jwk(key->made, &jwk)) != ATH_OK)
        return err;
    json_object_begin(&maker);
    json_put_string(&maker, "hsm", key->hsm);
    json_put_string(&maker, "hsm_kind", kind);
    json_put_bool(&maker, "software", software);
    json_put_int(&maker, "created_at", clock_now());
    json_put_take(&maker, "public_jwk", jwk);
    if ((err = json_maker_end(&maker, &object)) == ATH_OK)
        err = store_file_text(object, text);
    json_free(object);
    return err;
}

static void
on_written(void *ctx, ath_err err, const struct why *why)
{
    struct audit_key *key = ctx;

    if (err != ATH_OK) {
        audit_key_wait(key, err, why); /* the made one is written by the next try */
        return;
    }
    key->replaced[0] = '\0';
    if (key->public != NULL)
        strcpy(key->replaced, public_key_jkt(key->public));
    audit_key_take(key, key->made, &key->made_blob);
    key->made = NULL;
    key->is_refused = false;
    log_info("event=audit_key jkt=%s hsm=%s", public_key_jkt(key->public), key->hsm);
    key->is_unrecorded = key->is_fresh = true;
    audit_key_record(key);
}

/* The public half is on disk: then the blob, and last what says that this is our key. */
static ath_err
write_private(struct audit_key *key)
{
    struct ath_buf text = {.max = STORE_FILE_MAX}, blob = {.max = HSM_WIRE_MAX_BLOB};
    const char *stem = public_key_jkt(key->made);
    char *json = store_file_path(key->dir, stem, ".json");
    char *beside = store_file_path(key->dir, stem, suffix_of(ath_buf_slice(&key->made_blob)));
    ath_err err = json == NULL || beside == NULL ? ATH_ERR_NOMEM : encode(key, &text);

    ath_buf_put_slice(&blob, ath_buf_slice(&key->made_blob));
    if (err == ATH_OK)
        err = blob.err;
    if (err == ATH_OK)
        store_replace_two(key->athd, beside, &blob, json, &text, on_written, key);
    ath_buf_done(&blob);
    ath_buf_done(&text);
    free(beside);
    free(json);
    return err;
}

static void
on_public_written(void *ctx, ath_err err, const struct why *why)
{
    struct audit_key *key = ctx;

    if (err == ATH_OK)
        err = write_private(key);
    if (err != ATH_OK)
        audit_key_wait(key, err, why);
}

/* RFC 7638 3.3 and a line feed: the thumbprint is the digest of the line. */
ath_err
audit_key_write_made(struct audit_key *key)
{
    struct ath_buf text = {.max = AUDIT_KEY_MAX_LEN};
    char *path = store_file_path(key->public_dir, public_key_jkt(key->made), ".json");
    ath_err err;

    audit_key_put_file(key->made, &text);
    if ((err = path == NULL ? ATH_ERR_NOMEM : text.err) == ATH_OK) {
        key->state = AUDIT_KEY_WRITING;
        store_replace(key->athd, path, &text, on_public_written, key);
    }
    ath_buf_done(&text);
    free(path);
    return err;
}

void
audit_key_on_made(void *ctx, const struct hsm_outcome *outcome)
{
    struct audit_key *key = ctx;
    struct why why = outcome->why;
    ath_err err = outcome->err;

    key->job = NULL;
    if (err == ATH_OK)
        err = public_key_from_der(outcome->public_der, &why, &key->made);
    if (err == ATH_OK) {
        ath_buf_done(&key->made_blob);
        key->made_blob.max = HSM_WIRE_MAX_BLOB;
        ath_buf_put_slice(&key->made_blob, outcome->blob);
        err = key->made_blob.err;
    }
    if (err == ATH_OK)
        err = audit_key_write_made(key);
    if (err != ATH_OK)
        audit_key_wait(key, err, &why);
}
