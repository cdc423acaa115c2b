#include "athd/audit_key.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/audit_log.h"
#include "athd/store_load.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "protocol/audit_key.h"

#define LABEL "athd audit"
#define DEADLINE_MS 30000u
#define RETRY_MS 1000u
#define RETRY_MAX_MS 60000u

enum state {
    STATE_NEW,     /* nothing was tried yet */
    STATE_OPENING, /* the hardware looks at the blob */
    STATE_MAKING,  /* the hardware makes one */
    STATE_WRITING, /* the files are written */
    STATE_WAITING, /* for the next try */
    STATE_READY,
};

struct audit_key {
    struct athd *athd;
    char *dir;        /* audit_key */
    char *public_dir; /* audit/keys */
    const char *hsm;  /* borrowed from the pool; NULL: there is none of this name */
    enum state state;
    struct public_key *public;
    struct ath_buf blob;
    struct hsm_key_ref ref;
    int64_t created_at;
    char replaced[JKT_LEN + 1]; /* the key that this one takes the place of; "": none */
    bool is_fresh;              /* made since athd started */
    bool is_unrecorded;         /* its record is still to be written */
    bool is_refused;            /* it is of no use any more: another is to be made */
    struct public_key *made;    /* until it is on disk */
    struct ath_buf made_blob;
    uv_timer_t timer;
    uint64_t retry_ms;
    bool is_closing;
    struct hsm_job *job;
    struct why why;
    void (*ready)(void *ctx);
    void *ctx;
};

static void try(struct audit_key *key);

/* ---- files ---- */

static const char *
suffix_of(struct ath_slice blob)
{
    static const char scheme[] = "pkcs11:";

    return blob.len > strlen(scheme) && memcmp(blob.data, scheme, strlen(scheme)) == 0 ? ".uri"
                                                                                       : ".pem";
}

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

static void
take(struct audit_key *key, struct public_key *taken_public, struct ath_buf *taken_blob)
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

/* The newest one of our hsm is ours; the newest of any is what a new one takes the place of. */
static ath_err
load(void *ctx, const char *stem, const struct json *object, struct why *why)
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
    take(key, public, &blob);
    public = NULL;
out:
    public_key_free(public);
    ath_buf_done(&blob);
    return err;
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

/* ---- the next try ---- */

static void
on_timer(uv_timer_t *timer)
{
    try(timer->data);
}

static void
wait(struct audit_key *key, ath_err err, const struct why *why)
{
    if (key->retry_ms == 0 && !key->is_closing)
        log_info("event=audit reason=\"no checkpoints yet: %s\"", why_text(why, err));
    why_set(&key->why, err, "%s", why_text(why, err));
    key->state = STATE_WAITING;
    if (key->is_closing)
        return;
    key->retry_ms = key->retry_ms == 0                 ? RETRY_MS
                    : key->retry_ms * 2 < RETRY_MAX_MS ? key->retry_ms * 2
                                                       : RETRY_MAX_MS;
    uv_timer_start(&key->timer, on_timer, key->retry_ms, 0);
}

static void
become_ready(struct audit_key *key)
{
    key->state = STATE_READY;
    key->retry_ms = 0;
    key->why.text[0] = '\0';
    key->ready(key->ctx);
}

/* Nothing of the hardware's, or somebody may yet log in: the key may well be good. */
static bool
may_pass(ath_err err)
{
    return err == ATH_ERR_HSM_UNAVAILABLE || err == ATH_ERR_HSM_BUSY || err == ATH_ERR_NOMEM ||
           err == ATH_ERR_PIN_REQUIRED || err == ATH_ERR_PIN_INCORRECT ||
           err == ATH_ERR_PIN_LOCKED || err == ATH_ERR_LIMIT_EXCEEDED;
}

static struct hsm_job_params
job_params(struct audit_key *key, hsm_done_fn *done)
{
    return (struct hsm_job_params){.caller_identity = 0,
                                   .priority = HSM_PRIORITY_NORMAL,
                                   .deadline_ms = clock_monotonic_ms() + DEADLINE_MS,
                                   .done = done,
                                   .ctx = key};
}

/* ---- a new key ---- */

static void
on_recorded(void *ctx, ath_err err)
{
    struct audit_key *key = ctx;

    if (err != ATH_OK) {
        wait(key, err, NULL);
        return;
    }
    key->is_unrecorded = false;
    become_ready(key);
}

/* Which key signs from now on is on record, under the first checkpoint it signs. */
static void
record(struct audit_key *key)
{
    struct json_maker maker;

    audit_record_begin(&maker, "audit_key", NULL);
    json_put_string(&maker, "jkt", public_key_jkt(key->public));
    json_put_string(&maker, "hsm", key->hsm);
    if (key->replaced[0] != '\0')
        json_put_string(&maker, "replaces", key->replaced);
    audit_append(key->athd->audit, &maker, on_recorded, key);
}

static void
on_written(void *ctx, ath_err err, const struct why *why)
{
    struct audit_key *key = ctx;

    if (err != ATH_OK) {
        wait(key, err, why); /* the made one is written by the next try */
        return;
    }
    key->replaced[0] = '\0';
    if (key->public != NULL)
        strcpy(key->replaced, public_key_jkt(key->public));
    take(key, key->made, &key->made_blob);
    key->made = NULL;
    key->is_refused = false;
    log_info("event=audit_key jkt=%s hsm=%s", public_key_jkt(key->public), key->hsm);
    key->is_unrecorded = key->is_fresh = true;
    record(key);
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
        wait(key, err, why);
}

/* RFC 7638 3.3 and a line feed: the thumbprint is the digest of the line. */
static ath_err
write_made(struct audit_key *key)
{
    struct ath_buf text = {.max = AUDIT_KEY_MAX_LEN};
    char *path = store_file_path(key->public_dir, public_key_jkt(key->made), ".json");
    ath_err err;

    audit_key_put_file(key->made, &text);
    if ((err = path == NULL ? ATH_ERR_NOMEM : text.err) == ATH_OK) {
        key->state = STATE_WRITING;
        store_replace(key->athd, path, &text, on_public_written, key);
    }
    ath_buf_done(&text);
    free(path);
    return err;
}

static void
on_made(void *ctx, const struct hsm_outcome *outcome)
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
        err = write_made(key);
    if (err != ATH_OK)
        wait(key, err, &why);
}

/* ---- the key there is ---- */

static void
on_opened(void *ctx, const struct hsm_outcome *outcome)
{
    struct audit_key *key = ctx;

    key->job = NULL;
    if (outcome->err == ATH_OK && ath_slice_equal(outcome->public_der, public_key_der(key->public)))
        become_ready(key);
    else if (outcome->err == ATH_OK || !may_pass(outcome->err))
        audit_key_refuse(key, &outcome->why);
    else
        wait(key, outcome->err, &outcome->why);
}

static void
try(struct audit_key *key)
{
    struct hsm_job_params params = job_params(key, on_made);
    struct why why = {{0}};
    ath_err err;

    if (key->is_closing)
        return;
    uv_timer_stop(&key->timer);
    if (key->hsm == NULL) {
        err = ATH_ERR_HSM_NOT_FOUND;
    } else if (!hsm_pool_is_open(key->athd->hsms, key->hsm)) {
        /* a job would ask somebody for the PIN; audit_key_poke comes when it is open */
        key->state = STATE_WAITING;
        return;
    } else if (key->is_unrecorded) {
        record(key);
        return;
    } else if (key->made != NULL) {
        err = write_made(key);
    } else if (key->public == NULL || key->is_refused) {
        key->state = STATE_MAKING;
        err = hsm_pool_key_create(key->athd->hsms, key->hsm, KEY_ES256, HSM_KEY_AUDIT, LABEL,
                                  &params, &key->job);
    } else {
        key->state = STATE_OPENING;
        params.done = on_opened;
        err = hsm_pool_key_open(key->athd->hsms, &key->ref, &params, &key->job);
    }
    if (err != ATH_OK)
        wait(key, err, &why);
}

void
audit_key_poke(struct audit_key *key)
{
    if (key->state == STATE_NEW || key->state == STATE_WAITING)
        try(key);
    else if (audit_key_is_ready(key))
        key->ready(key->ctx);
}

void
audit_key_check(struct audit_key *key)
{
    if (key->state != STATE_READY)
        return;
    key->state = STATE_WAITING;
    try(key);
}

void
audit_key_refuse(struct audit_key *key, const struct why *why)
{
    log_warning("event=audit_key jkt=%s reason=\"%s\"; another key is made",
                key->public == NULL ? "" : public_key_jkt(key->public),
                why_text(why, ATH_ERR_KEY_NOT_FOUND));
    key->is_refused = true;
    try(key);
}

/* ---- looking ---- */

bool
audit_key_is_ready(const struct audit_key *key)
{
    return key->state == STATE_READY && hsm_pool_is_open(key->athd->hsms, key->hsm);
}

const char *
audit_key_failure(const struct audit_key *key)
{
    if (audit_key_is_ready(key))
        return NULL;
    if (key->hsm == NULL)
        return "no hsm is configured that could hold the audit key";
    if (!hsm_pool_is_open(key->athd->hsms, key->hsm))
        return hsm_pool_needs_pin(key->athd->hsms, key->hsm)
                   ? "the audit key waits until somebody has logged in to its hsm"
                   : "the audit key waits for its hsm";
    return key->why.text[0] != '\0' ? key->why.text : "the audit key is being made ready";
}

const struct public_key *
audit_key_public(const struct audit_key *key)
{
    return key->is_refused ? NULL : key->public;
}

bool
audit_key_is_fresh(const struct audit_key *key)
{
    return key->is_fresh;
}

const struct hsm_key_ref *
audit_key_ref(const struct audit_key *key)
{
    return &key->ref;
}

const char *
audit_key_hsm(const struct audit_key *key)
{
    return key->hsm;
}

/* ---- life ---- */

ath_err
audit_key_open(struct athd *athd, void (*ready)(void *ctx), void *ctx, struct why *why,
               struct audit_key **ret_key)
{
    struct audit_key *key = calloc(1, sizeof(*key));
    ath_err err = ATH_ERR_NOMEM;

    if (key == NULL || (key->public_dir = file_path(audit_log_dir(athd->audit), "keys")) == NULL ||
        (key->dir = file_path(athd->config->state_dir, AUDIT_KEY_DIR)) == NULL)
        goto out;
    key->athd = athd;
    key->ready = ready;
    key->ctx = ctx;
    key->blob.max = key->made_blob.max = HSM_WIRE_MAX_BLOB;
    key->hsm = hsm_pool_find(athd->hsms, athd->config->audit.hsm);
    if ((err = file_make_private_dir(key->public_dir, why)) != ATH_OK ||
        (err = store_load(athd, key->dir, load, NULL, key, why)) != ATH_OK)
        goto out;
    if (uv_timer_init(athd->loop, &key->timer) != 0) {
        err = ATH_ERR_NOMEM;
        goto out;
    }
    key->timer.data = key;
    *ret_key = key;
    key = NULL;
out:
    audit_key_free(key);
    return err;
}

void
audit_key_close(struct audit_key *key)
{
    key->is_closing = true;
    if (!uv_is_closing((uv_handle_t *)&key->timer))
        uv_close((uv_handle_t *)&key->timer, NULL);
}

void
audit_key_free(struct audit_key *key)
{
    if (key == NULL)
        return;
    public_key_free(key->public);
    public_key_free(key->made);
    ath_buf_done(&key->blob);
    ath_buf_done(&key->made_blob);
    free(key->public_dir);
    free(key->dir);
    free(key);
}
