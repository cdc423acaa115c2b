/* The audit key: found again at each start, kept while the hardware is only away, replaced when it
 * does not know it any more. */
#include "fixture_stores.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/audit_key_private.h"
#include "athd/audit_log.h"
#include "base/base64url.h"
#include "base/file.h"
#include "protocol/audit_key.h"
#include "tests/support/audit_scene.h"
#include "tests/support/temp_dir.h"

static struct temp_dir temp, other_temp;
static struct audit_scene *scene, *other;
static struct stores stores;
static struct audit_key *key;
static int ready;

/* ---- the hardware ---- */

static struct {
    unsigned opens, creates;
    struct hsm_job_params params; /* of the last job */
    char blob[64];                /* of the key that was opened */
} hardware;

const char *__wrap_hsm_pool_find(const struct hsm_pool *pool, const char *name);
bool __wrap_hsm_pool_is_open(const struct hsm_pool *pool, const char *hsm);
ath_err __wrap_hsm_pool_key_open(struct hsm_pool *pool, const struct hsm_key_ref *ref,
                                 const struct hsm_job_params *params, struct hsm_job **ret_job);
ath_err __wrap_hsm_pool_key_create(struct hsm_pool *pool, const char *hsm, uint8_t algorithm,
                                   enum hsm_key_usage usage, const char *label,
                                   const struct hsm_job_params *params, struct hsm_job **ret_job);
void __wrap_hsm_pool_describe(const struct hsm_pool *pool, const char *hsm, const char **ret_kind,
                              bool *ret_software);

const char *
__wrap_hsm_pool_find(const struct hsm_pool *pool, const char *name)
{
    (void)pool;
    assert_null(name);
    return "one";
}

bool
__wrap_hsm_pool_is_open(const struct hsm_pool *pool, const char *hsm)
{
    (void)pool;
    assert_string_equal(hsm, "one");
    return true;
}

ath_err
__wrap_hsm_pool_key_open(struct hsm_pool *pool, const struct hsm_key_ref *ref,
                         const struct hsm_job_params *params, struct hsm_job **ret_job)
{
    (void)pool;
    (void)ret_job;
    hardware.opens++;
    hardware.params = *params;
    assert_true(ref->blob.len < sizeof(hardware.blob));
    memcpy(hardware.blob, ref->blob.data, ref->blob.len);
    hardware.blob[ref->blob.len] = '\0';
    return ATH_OK;
}

ath_err
__wrap_hsm_pool_key_create(struct hsm_pool *pool, const char *hsm, uint8_t algorithm,
                           enum hsm_key_usage usage, const char *label,
                           const struct hsm_job_params *params, struct hsm_job **ret_job)
{
    (void)pool;
    (void)label;
    (void)ret_job;
    assert_string_equal(hsm, "one");
    assert_int_equal(algorithm, KEY_ES256);
    assert_int_equal(usage, HSM_KEY_AUDIT);
    hardware.creates++;
    hardware.params = *params;
    return ATH_OK;
}

void
__wrap_hsm_pool_describe(const struct hsm_pool *pool, const char *hsm, const char **ret_kind,
                         bool *ret_software)
{
    (void)pool;
    (void)hsm;
    *ret_kind = "tpm";
    *ret_software = false;
}

static void
answer(const struct hsm_outcome *outcome)
{
    hardware.params.done(hardware.params.ctx, outcome);
}

/* ---- the scene ---- */

static void
on_ready(void *ctx)
{
    (void)ctx;
    ready++;
}

static int
setup(void **state)
{
    (void)state;
    memset(&hardware, 0, sizeof(hardware));
    ready = 0;
    key = NULL;
    scene = audit_scene_new(temp_dir_make(&temp, "audit"), "audit", 100, true);
    other = audit_scene_new(temp_dir_make(&other_temp, "audit"), "other", 100, true);
    stores_begin(&stores);
    assert_int_equal(mkdir(stores_path(&stores, "audit_key"), 0700), 0);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    audit_key_close(key);
    stores_end(&stores);
    audit_key_free(key);
    audit_scene_free(scene);
    audit_scene_free(other);
    temp_dir_remove(&temp);
    temp_dir_remove(&other_temp);
    return 0;
}

/* Files of a key of the hsm "one" as athd writes them. */
static void
write_key(const char *stem, const struct audit_scene *of, int64_t created_at, const char *blob)
{
    struct ath_buf text = {0}, jwk = {0};
    char name[128];

    audit_key_put_file(audit_scene_key(of), &jwk);
    ath_buf_printf(&text, "{\"hsm\":\"one\",\"created_at\":%lld,\"public_jwk\":%s}",
                   (long long)created_at, ath_buf_text(&jwk));
    (void)snprintf(name, sizeof(name), "audit_key/%s.json", stem);
    assert_int_equal(file_replace(stores_path(&stores, name), ath_buf_slice(&text), NULL), ATH_OK);
    (void)snprintf(name, sizeof(name), "audit_key/%s.pem", stem);
    assert_int_equal(file_replace(stores_path(&stores, name), ath_slice_of_string(blob), NULL),
                     ATH_OK);
    ath_buf_done(&text);
    ath_buf_done(&jwk);
}

static void
open_key(void)
{
    struct why why = {{0}};

    if (audit_key_open(&stores.athd, on_ready, NULL, &why, &key) != ATH_OK)
        fail_msg("%s", why.text);
    audit_key_poke(key);
}

static void
open_own(void)
{
    write_key(audit_scene_jkt(scene), scene, 1, "blob of scene");
    open_key();
    assert_int_equal(hardware.opens, 1);
    assert_string_equal(hardware.blob, "blob of scene");
}

/* ---- the key there is ---- */

static void
test_a_key_that_the_hardware_knows_is_used(void **state)
{
    (void)state;
    open_own();
    answer(&(struct hsm_outcome){.public_der = public_key_der(audit_scene_key(scene))});
    assert_int_equal(ready, 1);
    assert_true(audit_key_is_ready(key));
    assert_int_equal(hardware.creates, 0);
    assert_null(audit_key_failure(key));
}

/* Whoever has a log with one key must not have another for a token that is away for a minute. */
static void
test_a_key_is_kept_while_the_hardware_is_only_away_and_tried_again(void **state)
{
    static const ath_err passing[] = {
        ATH_ERR_HSM_UNAVAILABLE, ATH_ERR_HSM_BUSY,   ATH_ERR_NOMEM,         ATH_ERR_PIN_REQUIRED,
        ATH_ERR_PIN_INCORRECT,   ATH_ERR_PIN_LOCKED, ATH_ERR_LIMIT_EXCEEDED};
    unsigned opens = 1;

    (void)state;
    open_own();
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        answer(&(struct hsm_outcome){.err = passing[i]});
        assert_false(audit_key_is_ready(key));
        assert_non_null(audit_key_public(key));
        assert_non_null(audit_key_failure(key));
        stores_fire_timer(&stores, key);
        assert_int_equal(hardware.opens, ++opens);
        assert_int_equal(hardware.creates, 0);
    }
}

static void
test_a_key_that_the_hardware_does_not_know_is_replaced(void **state)
{
    static const ath_err lasting[] = {ATH_ERR_KEY_NOT_FOUND, ATH_ERR_INVALID_PARAMS,
                                      ATH_ERR_HSM_ERROR};

    (void)state;
    open_own();
    for (size_t i = 0; i < sizeof(lasting) / sizeof(lasting[0]); i++) {
        key->is_refused = false;
        key->state = AUDIT_KEY_WAITING;
        audit_key_poke(key);
        answer(&(struct hsm_outcome){.err = lasting[i]});
        assert_int_equal(hardware.creates, i + 1);
        assert_null(audit_key_public(key));
    }
}

static void
test_another_key_under_its_blob_is_not_it(void **state)
{
    (void)state;
    open_own();
    answer(&(struct hsm_outcome){.public_der = public_key_der(audit_scene_key(other))});
    assert_int_equal(ready, 0);
    assert_int_equal(hardware.creates, 1);
}

/* ---- files ---- */

static bool
is_damage_told(void)
{
    struct json *report = NULL;
    bool is_told;

    assert_int_equal(damage_report(&stores.athd.damage, stores_path(&stores, "audit_key"), &report),
                     ATH_OK);
    is_told = json_count(report) != 0;
    json_free(report);
    return is_told;
}

static void
test_the_newest_of_two_is_used(void **state)
{
    (void)state;
    write_key(audit_scene_jkt(scene), scene, 2, "new");
    write_key(audit_scene_jkt(other), other, 1, "old");
    open_key();
    assert_string_equal(hardware.blob, "new");
    assert_string_equal(public_key_jkt(audit_key_public(key)), audit_scene_jkt(scene));
    assert_false(is_damage_told());
}

static void
test_a_key_under_anothers_name_is_told_and_not_used(void **state)
{
    (void)state;
    write_key(audit_scene_jkt(scene), other, 1, "blob");
    open_key();
    assert_true(is_damage_told());
    assert_int_equal(hardware.opens, 0);
    assert_int_equal(hardware.creates, 1);
}

/* docs/audit.md, "Keys": the thumbprint is the digest of all but the line feed. */
static void
assert_public_file(const struct audit_scene *of)
{
    struct ath_buf text = {.max = AUDIT_KEY_MAX_LEN}, digest_text = {0};
    uint8_t digest[SHA256_LEN];
    char name[128];

    (void)snprintf(name, sizeof(name), "audit/keys/%s.json", audit_scene_jkt(of));
    assert_int_equal(file_read(stores_path(&stores, name), &text, NULL), ATH_OK);
    assert_int_equal(text.data[text.len - 1], '\n');
    assert_int_equal(sha256(ath_slice_of(text.data, text.len - 1), digest), ATH_OK);
    base64url_put(&digest_text, ath_slice_of(digest, sizeof(digest)));
    assert_string_equal(ath_buf_text(&digest_text), audit_scene_jkt(of));
    ath_buf_done(&text);
    ath_buf_done(&digest_text);
}

static void
test_the_public_half_that_was_lost_or_changed_is_written_again(void **state)
{
    char name[128];

    (void)state;
    (void)snprintf(name, sizeof(name), "audit/keys/%s.json", audit_scene_jkt(scene));
    assert_int_equal(mkdir(stores_path(&stores, "audit/keys"), 0700), 0);
    stores_write(&stores, name, "{}\n");
    write_key(audit_scene_jkt(scene), scene, 2, "new");
    write_key(audit_scene_jkt(other), other, 1, "old");
    open_key();
    assert_public_file(scene);
    assert_public_file(other);
}

static void
test_a_key_that_was_made_is_on_disk_and_on_record_before_it_is_used(void **state)
{
    char name[128];
    char *blob_name;

    (void)state;
    write_key(audit_scene_jkt(other), other, 1, "old");
    open_key();
    answer(&(struct hsm_outcome){.err = ATH_ERR_KEY_NOT_FOUND});
    answer(&(struct hsm_outcome){.public_der = public_key_der(audit_scene_key(scene)),
                                 .blob = ath_slice_of_string("pkcs11:token=x")});
    while (ready == 0 && uv_run(&stores.loop, UV_RUN_ONCE) != 0)
        assert_true(ready == 0 || audit_log_size(stores.athd.audit) == 1);
    assert_int_equal(ready, 1);
    assert_int_equal(audit_log_size(stores.athd.audit), 1);
    assert_true(audit_key_is_ready(key));
    assert_true(audit_key_is_fresh(key));
    assert_string_equal(key->replaced, audit_scene_jkt(other));
    assert_public_file(scene);
    (void)snprintf(name, sizeof(name), "audit_key/%s.uri", audit_scene_jkt(scene));
    assert_true(stores_has(&stores, name));
    blob_name = strrchr(name, '.');
    strcpy(blob_name, ".json");
    assert_true(stores_has(&stores, name));
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_key_that_the_hardware_knows_is_used),
        TEST(test_a_key_is_kept_while_the_hardware_is_only_away_and_tried_again),
        TEST(test_a_key_that_the_hardware_does_not_know_is_replaced),
        TEST(test_another_key_under_its_blob_is_not_it),
        TEST(test_the_newest_of_two_is_used),
        TEST(test_a_key_under_anothers_name_is_told_and_not_used),
        TEST(test_the_public_half_that_was_lost_or_changed_is_written_again),
        TEST(test_a_key_that_was_made_is_on_disk_and_on_record_before_it_is_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
