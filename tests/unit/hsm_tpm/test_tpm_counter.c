/* The counter: it goes up by one a step whatever happens on the way, its certificate says what was
 * asked, and a TPM that was put back shows. */
#include "fixture_tpm.h"

#include <stdio.h>
#include <tss2/tss2_mu.h>
#include <unistd.h>

#include "hsm/tpm/tpm_counter.h"

struct scene {
    struct fixture *fixture;
    struct ath_buf key_blob, blob, evidence;
    struct hsm_key *key;
    struct hsm_fault fault;
    uint64_t value; /* of the last count that went well */
};

static const uint8_t nonce[32] = "what the certificate answers to.";

static struct ath_slice
nonce_slice(void)
{
    return ath_slice_of(nonce, sizeof(nonce));
}

static ath_err
count_with(struct scene *scene, struct hsm_key *key, struct ath_slice blob, uint32_t steps,
           struct ath_buf *ret_blob)
{
    scene->fault = (struct hsm_fault){0};
    ath_buf_clear(&scene->evidence);
    return tpm_backend_ops.counter(scene->fixture->hsm, key, blob, steps, nonce_slice(),
                                   &scene->fault, ret_blob, &scene->value, &scene->evidence);
}

static ath_err
count(struct scene *scene, uint32_t steps)
{
    struct ath_buf none = {0};
    ath_err err = count_with(scene, scene->key, ath_buf_slice(&scene->blob), steps, &none);

    assert_int_equal(none.len, 0);
    return err;
}

static void
must_count(struct scene *scene, uint32_t steps)
{
    ath_err err = count(scene, steps);

    if (err != ATH_OK)
        fail_msg("%s", why_text(&scene->fault.why, err));
}

static void
open_key(struct scene *scene)
{
    assert_int_equal(tpm_key_open(scene->fixture->device, ath_buf_slice(&scene->key_blob),
                                  &scene->fault, &scene->key),
                     ATH_OK);
}

static void
close_all(struct scene *scene)
{
    tpm_key_close(scene->fixture->device, scene->key);
    scene->key = NULL;
    fixture_close(scene->fixture);
}

static void
open_again(struct scene *scene)
{
    assert_int_equal(fixture_open(scene->fixture, &scene->fault), ATH_OK);
    open_key(scene);
}

static int
setup(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    void *fixture = NULL;

    assert_non_null(scene);
    assert_int_equal(fixture_setup(&fixture), 0);
    scene->fixture = fixture;
    assert_int_equal(tpm_key_create(scene->fixture->device, KEY_ES256, HSM_KEY_AUDIT, &scene->fault,
                                    &scene->key_blob),
                     ATH_OK);
    open_key(scene);
    assert_int_equal(count_with(scene, scene->key, ath_slice_of(NULL, 0), 0, &scene->blob), ATH_OK);
    *state = scene;
    return 0;
}

static int
teardown(void **state)
{
    struct scene *scene = *state;
    void *fixture = scene->fixture;

    if (scene->fixture->device != NULL)
        tpm_key_close(scene->fixture->device, scene->key);
    fixture_teardown(&fixture);
    ath_buf_done(&scene->key_blob);
    ath_buf_done(&scene->blob);
    ath_buf_done(&scene->evidence);
    free(scene);
    return 0;
}

static void
arm(struct scene *scene, enum fault_kind kind, TPM2_CC command, unsigned times)
{
    struct fault_tcti *fault = scene->fixture->fault;

    fault->kind = kind;
    fault->command = command;
    fault->times = times;
    fault->at = 20; /* in the HMAC */
    memset(fault->sent_of, 0, sizeof(fault->sent_of));
}

static TPMS_NV_PUBLIC
public_of(const struct scene *scene)
{
    TPMS_NV_PUBLIC public;

    assert_int_equal(tpm_counter_decode(ath_buf_slice(&scene->blob), NULL, &public), ATH_OK);
    return public;
}

static void
undefine(struct scene *scene, TPM2_HANDLE index)
{
    const TSS2L_SYS_AUTH_COMMAND auth = {.count = 1, .auths[0].sessionHandle = TPM2_RH_PW};

    assert_int_equal(Tss2_Sys_NV_UndefineSpace(scene->fixture->device->context->sys, TPM2_RH_OWNER,
                                               index, &auth, NULL),
                     0);
}

static TSS2_RC
define(struct scene *scene, const TPMS_NV_PUBLIC *public)
{
    const TSS2L_SYS_AUTH_COMMAND auth = {.count = 1, .auths[0].sessionHandle = TPM2_RH_PW};
    const TPM2B_NV_PUBLIC area = {.nvPublic = *public};
    const TPM2B_AUTH none = {0};

    return Tss2_Sys_NV_DefineSpace(scene->fixture->device->context->sys, TPM2_RH_OWNER, &auth,
                                   &none, &area, NULL);
}

/* ---- counting ---- */

static void
test_each_step_is_one(void **state)
{
    struct scene *scene = *state;
    uint64_t first = scene->value;

    for (uint64_t i = 1; i <= 20; i++) {
        must_count(scene, 1);
        assert_true(scene->value == first + i);
    }
}

static void
test_reading_does_not_step(void **state)
{
    struct scene *scene = *state;
    uint64_t first = scene->value;

    must_count(scene, 0);
    must_count(scene, 0);
    assert_true(scene->value == first);
}

static void
test_info_says_that_there_is_a_counter(void **state)
{
    struct scene *scene = *state;
    struct hsm_info info;

    tpm_backend_ops.info(scene->fixture->hsm, &info);
    assert_true(info.has_counter);
}

/* What an auditor does, with nothing but the evidence, the blob and the public key. */
static void
test_evidence_is_an_attest_and_its_signature(void **state)
{
    struct scene *scene = *state;
    struct byte_reader reader;
    struct ath_slice attest, signature;
    struct tpm_name name;
    TPMS_NV_PUBLIC public;
    uint64_t value = 0;

    must_count(scene, 1);
    reader = byte_reader_of(ath_buf_slice(&scene->evidence));
    attest = byte_reader_bytes(&reader, byte_reader_u16(&reader));
    signature = byte_reader_bytes(&reader, 64);
    assert_true(byte_reader_is_done(&reader));
    assert_int_equal(public_key_verify(scene->key->public, attest, signature), ATH_OK);
    public = public_of(scene);
    assert_int_equal(tpm_name_of_nv(&public, &name), ATH_OK);
    assert_int_equal(tpm_counter_judge(attest, &name, nonce_slice(), NULL, &value), ATH_OK);
    assert_true(value == scene->value);
    assert_int_equal(public.attributes >> 4 & 0xf, TPM2_NT_COUNTER);
    assert_int_equal(public.attributes & TPMA_NV_ORDERLY, 0);
}

static void
test_value_survives_a_restart(void **state)
{
    struct scene *scene = *state;
    uint64_t before;

    must_count(scene, 1);
    before = scene->value;
    close_all(scene);
    fixture_stop_tpm(scene->fixture);
    fixture_start_tpm(scene->fixture);
    open_again(scene);
    must_count(scene, 1);
    assert_true(scene->value == before + 1);
}

static void
copy_state(const struct scene *scene, const char *from, const char *to)
{
    char command[256];

    (void)snprintf(command, sizeof(command), "cp -a %s/%s/. %s/%s/", scene->fixture->dir, from,
                   scene->fixture->dir, to);
    assert_int_equal(system(command), 0);
}

/* With a TPM this cannot be done; a software TPM is a file. The value tells. */
static void
test_restored_snapshot_of_a_software_tpm_has_a_lower_value(void **state)
{
    struct scene *scene = *state;
    char path[96];
    uint64_t newest;

    close_all(scene);
    fixture_stop_tpm(scene->fixture);
    (void)snprintf(path, sizeof(path), "mkdir %s/old", scene->fixture->dir);
    assert_int_equal(system(path), 0);
    copy_state(scene, "swtpm", "old");
    fixture_start_tpm(scene->fixture);
    open_again(scene);
    must_count(scene, 1);
    must_count(scene, 1);
    newest = scene->value;
    close_all(scene);
    fixture_stop_tpm(scene->fixture);
    copy_state(scene, "old", "swtpm");
    fixture_start_tpm(scene->fixture);
    open_again(scene);
    must_count(scene, 1);
    assert_true(scene->value < newest);
}

/* ---- faults on the way ---- */

static void
test_lost_answer_to_a_step_is_read_and_not_stepped_again(void **state)
{
    struct scene *scene = *state;
    uint64_t before = scene->value;

    arm(scene, FAULT_FLIP, TPM2_CC_NV_Increment, 1);
    must_count(scene, 1);
    assert_int_equal(scene->fixture->fault->sent_of[TPM2_CC_NV_Increment & 0x1ff], 1);
    assert_true(scene->value == before + 1);
}

static void
test_step_that_the_tpm_never_saw_is_made(void **state)
{
    struct scene *scene = *state;
    uint64_t before = scene->value;

    arm(scene, FAULT_CODE, TPM2_CC_NV_Increment, 1);
    scene->fixture->fault->code = 0x9a2; /* the session is out of step */
    must_count(scene, 1);
    assert_true(scene->value == before + 1);
    arm(scene, FAULT_CODE, TPM2_CC_NV_Increment, 2);
    scene->fixture->fault->code = 0x920; /* NV_RATE: sent again by the transport */
    must_count(scene, 1);
    assert_true(scene->value == before + 2);
}

static void
test_lost_certificate_is_asked_for_again_without_a_step(void **state)
{
    struct scene *scene = *state;
    uint64_t before = scene->value;

    arm(scene, FAULT_FLIP, TPM2_CC_NV_Certify, 1);
    must_count(scene, 1);
    assert_int_equal(scene->fixture->fault->sent_of[TPM2_CC_NV_Certify & 0x1ff], 2);
    assert_int_equal(scene->fixture->fault->sent_of[TPM2_CC_NV_Increment & 0x1ff], 1);
    assert_true(scene->value == before + 1);
}

/* The helper dies between the step and its answer: what the next one reads tells. */
static void
test_connection_lost_after_a_step_is_told_by_reading(void **state)
{
    struct scene *scene = *state;
    uint64_t before = scene->value;

    arm(scene, FAULT_GONE, TPM2_CC_NV_Increment, 1);
    assert_int_equal(count(scene, 1), ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(scene->fixture->fault->sent_of[TPM2_CC_NV_Increment & 0x1ff], 1);
    close_all(scene);
    open_again(scene);
    must_count(scene, 0);
    assert_true(scene->value == before + 1);
}

/* swtpm itself is killed, with no clean end, and a step was the last that it did. */
static void
test_step_is_durable_when_the_tpm_is_killed(void **state)
{
    struct scene *scene = *state;
    uint64_t before;

    must_count(scene, 1);
    before = scene->value;
    scene->fixture->device->gone = true; /* no TPM2_Shutdown */
    close_all(scene);
    fixture_stop_tpm(scene->fixture);
    fixture_start_tpm(scene->fixture);
    open_again(scene);
    must_count(scene, 0);
    assert_true(scene->value == before);
}

/* ---- foreign, gone, re-made ---- */

static void
test_deleted_counter_is_an_error_that_says_so(void **state)
{
    struct scene *scene = *state;

    undefine(scene, public_of(scene).nvIndex);
    assert_int_equal(count(scene, 1), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(scene->fault.why.text, "is gone"));
    fixture_must_sign(scene->fixture, scene->key);
}

static void
test_index_made_again_is_an_error_that_says_so(void **state)
{
    struct scene *scene = *state;
    TPMS_NV_PUBLIC public = public_of(scene);

    undefine(scene, public.nvIndex);
    public.attributes &= ~TPMA_NV_WRITTEN;
    public.authPolicy.buffer[0] ^= 1;
    assert_int_equal(define(scene, &public), 0);
    assert_int_equal(count(scene, 1), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(scene->fault.why.text, "made again"));
}

/* An ordinary index could be written with any value: its Name is another one. */
static void
test_ordinary_index_in_its_place_is_no_counter(void **state)
{
    struct scene *scene = *state;
    TPMS_NV_PUBLIC public = public_of(scene);

    undefine(scene, public.nvIndex);
    public.attributes &= ~(TPMA_NV_WRITTEN | TPMA_NV_TPM2_NT_MASK);
    assert_int_equal(define(scene, &public), 0);
    assert_int_equal(count(scene, 0), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(scene->fault.why.text, "not the counter"));
}

/* TPM 2.0 part 1, 37.2.2. */
static void
test_counter_made_again_never_goes_back(void **state)
{
    struct scene *scene = *state;
    uint64_t highest;

    for (unsigned i = 0; i < 30; i++)
        must_count(scene, 1);
    highest = scene->value;
    undefine(scene, public_of(scene).nvIndex);
    ath_buf_clear(&scene->blob);
    assert_int_equal(count_with(scene, scene->key, ath_slice_of(NULL, 0), 0, &scene->blob), ATH_OK);
    assert_true(scene->value > highest);
}

static void
test_counter_of_another_tpm_is_refused(void **state)
{
    struct scene *scene = *state;
    void *other = NULL;
    struct scene *there;

    assert_int_equal(setup(&other), 0);
    there = other;
    assert_int_equal(count_with(scene, scene->key, ath_buf_slice(&there->blob), 1, &scene->blob),
                     ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(scene->fault.why.text, "another TPM"));
    teardown(&other);
}

static void
test_only_an_audit_key_certifies(void **state)
{
    struct scene *scene = *state;
    struct hsm_key *key = fixture_key(scene->fixture, KEY_ES256);
    struct ath_buf none = {0};

    assert_int_equal(count_with(scene, key, ath_buf_slice(&scene->blob), 0, &none),
                     ATH_ERR_INVALID_PARAMS);
    tpm_key_close(scene->fixture->device, key);
}

/* ---- making ---- */

static void
test_two_counters_take_two_places_and_count_apart(void **state)
{
    struct scene *scene = *state;
    struct ath_buf second = {0}, none = {0};
    TPMS_NV_PUBLIC public;
    uint64_t value;

    assert_int_equal(count_with(scene, scene->key, ath_slice_of(NULL, 0), 1, &second), ATH_OK);
    assert_int_equal(tpm_counter_decode(ath_buf_slice(&second), NULL, &public), ATH_OK);
    assert_int_not_equal(public.nvIndex, public_of(scene).nvIndex);
    value = scene->value;
    must_count(scene, 1);
    assert_int_equal(count_with(scene, scene->key, ath_buf_slice(&second), 0, &none), ATH_OK);
    assert_true(scene->value == value);
    ath_buf_done(&second);
}

/* An answer that is lost on the way makes no second index. */
static void
test_lost_answers_while_making_leave_one_index(void **state)
{
    static const TPM2_CC commands[] = {TPM2_CC_NV_DefineSpace, TPM2_CC_NV_Increment};
    struct scene *scene = *state;

    for (size_t i = 0; i < 2; i++) {
        unsigned before = fixture_count_handles(scene->fixture, TPM_COUNTER_FIRST);
        struct ath_buf blob = {0};

        arm(scene, FAULT_FLIP, commands[i], 1);
        assert_int_equal(count_with(scene, scene->key, ath_slice_of(NULL, 0), 0, &blob), ATH_OK);
        assert_int_equal(scene->fixture->fault->times, 0);
        assert_int_equal(fixture_count_handles(scene->fixture, TPM_COUNTER_FIRST), before + 1);
        assert_int_equal(count_with(scene, scene->key, ath_buf_slice(&blob), 1, &blob), ATH_OK);
        scene->fixture->device->hmac_failures = 0;
        ath_buf_done(&blob);
    }
}

static void
test_place_taken_meanwhile_is_passed_over(void **state)
{
    struct scene *scene = *state;
    struct ath_buf blob = {0};
    TPMS_NV_PUBLIC public;

    arm(scene, FAULT_CODE, TPM2_CC_NV_DefineSpace, 1);
    scene->fixture->fault->code = TPM2_RC_NV_DEFINED;
    assert_int_equal(count_with(scene, scene->key, ath_slice_of(NULL, 0), 0, &blob), ATH_OK);
    assert_int_equal(tpm_counter_decode(ath_buf_slice(&blob), NULL, &public), ATH_OK);
    assert_int_equal(public.nvIndex, TPM_COUNTER_FIRST + 2);
    ath_buf_done(&blob);
}

static void
test_full_memory_says_what_to_do(void **state)
{
    struct scene *scene = *state;
    TPMS_NV_PUBLIC public = {.nameAlg = TPM2_ALG_SHA256,
                             .attributes = TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_NO_DA,
                             .dataSize = 2048,
                             .nvIndex = 0x01900000};
    struct ath_buf blob = {0};

    for (; public.dataSize > 0; public.dataSize /= 2) {
        while (define(scene, &public) == 0)
            public.nvIndex++;
    }
    /* libtpms keeps some room back for counters. */
    public.attributes |= (TPMA_NV)TPM2_NT_COUNTER << 4;
    public.dataSize = TPM_NV_COUNTER_LEN;
    while (define(scene, &public) == 0)
        public.nvIndex++;
    assert_int_equal(count_with(scene, scene->key, ath_slice_of(NULL, 0), 0, &blob),
                     ATH_ERR_HSM_ERROR);
    assert_non_null(strstr(scene->fault.why.text, "has no room for a counter"));
    assert_int_equal(blob.len, 0);
    must_count(scene, 1);
}

static void
test_owner_password_is_told_and_made_counters_go_on(void **state)
{
    const TSS2L_SYS_AUTH_COMMAND auth = {.count = 1, .auths[0].sessionHandle = TPM2_RH_PW};
    const TPM2B_AUTH password = {.size = 4, .buffer = "1234"};
    struct scene *scene = *state;
    TSS2_SYS_CONTEXT *sys = scene->fixture->device->context->sys;
    struct ath_buf blob = {0};
    bool possible = true;

    assert_int_equal(Tss2_Sys_HierarchyChangeAuth(sys, TPM2_RH_OWNER, &auth, &password, NULL), 0);
    arm(scene, FAULT_NONE, 0, 0);
    assert_int_equal(count_with(scene, scene->key, ath_slice_of(NULL, 0), 0, &blob),
                     ATH_ERR_HSM_ERROR);
    assert_non_null(strstr(scene->fault.why.text, "has a password"));
    assert_int_equal(scene->fixture->fault->sent_of[TPM2_CC_NV_DefineSpace & 0x1ff], 0);
    must_count(scene, 1);
    assert_int_equal(
        tpm_counter_is_possible(scene->fixture->device->context, &scene->fault, &possible), ATH_OK);
    assert_true(possible); /* there is one */
}

/* ---- what strangers could put in ---- */

static void
test_each_changed_byte_of_a_blob_is_refused_or_another_index(void **state)
{
    struct scene *scene = *state;
    TPMS_NV_PUBLIC public, mine = public_of(scene);
    struct tpm_name name, other;

    assert_int_equal(tpm_name_of_nv(&mine, &name), ATH_OK);
    for (size_t i = 0; i < scene->blob.len; i++) {
        scene->blob.data[i] ^= 1;
        if (tpm_counter_decode(ath_buf_slice(&scene->blob), NULL, &public) == ATH_OK) {
            assert_int_equal(tpm_name_of_nv(&public, &other), ATH_OK);
            assert_false(tpm_name_equal(&name, &other));
            assert_int_equal(count(scene, 1), ATH_ERR_INVALID_PARAMS);
        }
        scene->blob.data[i] ^= 1;
    }
    must_count(scene, 1);
}

static void
test_shorter_and_longer_blobs_are_refused(void **state)
{
    struct scene *scene = *state;
    TPMS_NV_PUBLIC public;

    for (size_t len = 0; len < scene->blob.len; len++)
        assert_int_equal(tpm_counter_decode(ath_slice_of(scene->blob.data, len), NULL, &public),
                         ATH_ERR_INVALID_PARAMS);
    ath_buf_put_byte(&scene->blob, 0);
    assert_int_equal(tpm_counter_decode(ath_buf_slice(&scene->blob), NULL, &public),
                     ATH_ERR_INVALID_PARAMS);
}

static void
test_each_changed_byte_of_an_attest_that_matters_is_refused(void **state)
{
    struct scene *scene = *state;
    TPMS_NV_PUBLIC public = public_of(scene);
    struct ath_slice attest;
    struct tpm_name name;
    unsigned refused = 0;
    uint64_t value;

    must_count(scene, 1);
    attest = ath_slice_of(scene->evidence.data + 2, scene->evidence.len - 66);
    assert_int_equal(tpm_name_of_nv(&public, &name), ATH_OK);
    for (size_t i = 0; i < attest.len; i++) {
        scene->evidence.data[2 + i] ^= 1;
        if (tpm_counter_judge(attest, &name, nonce_slice(), NULL, &value) != ATH_OK)
            refused++;
        assert_int_equal(public_key_verify(scene->key->public, attest,
                                           ath_slice_of(attest.data + attest.len, 64)),
                         ATH_ERR_INVALID_SIGNATURE);
        scene->evidence.data[2 + i] ^= 1;
    }
    /* magic, type, three lengths, nonce, name, offset */
    assert_true(refused >= 4 + 2 + 2 + 32 + 2 + 34 + 2);
    assert_int_equal(tpm_counter_judge(ath_slice_of(attest.data, attest.len - 1), &name,
                                       nonce_slice(), NULL, &value),
                     ATH_ERR_HSM_ERROR);
}

static ath_err
make_and_step(void *ctx)
{
    struct scene *scene = ctx;
    struct ath_buf blob = {0}, evidence = {0};
    struct hsm_fault fault = {0};
    uint64_t value;
    ath_err err;

    err = tpm_backend_ops.counter(scene->fixture->hsm, scene->key, ath_slice_of(NULL, 0), 1,
                                  nonce_slice(), &fault, &blob, &value, &evidence);
    if (blob.len > 0)
        undefine(scene, (uint32_t)blob.data[2] << 24 | (uint32_t)blob.data[3] << 16 |
                            (uint32_t)blob.data[4] << 8 | blob.data[5]);
    ath_buf_done(&blob);
    ath_buf_done(&evidence);
    return err;
}

static void
test_each_failing_allocation_is_survived(void **state)
{
    each_allocation_failing(make_and_step, *state);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(test_each_step_is_one),
        SCENE(test_reading_does_not_step),
        SCENE(test_info_says_that_there_is_a_counter),
        SCENE(test_evidence_is_an_attest_and_its_signature),
        SCENE(test_value_survives_a_restart),
        SCENE(test_restored_snapshot_of_a_software_tpm_has_a_lower_value),
        SCENE(test_lost_answer_to_a_step_is_read_and_not_stepped_again),
        SCENE(test_step_that_the_tpm_never_saw_is_made),
        SCENE(test_lost_certificate_is_asked_for_again_without_a_step),
        SCENE(test_connection_lost_after_a_step_is_told_by_reading),
        SCENE(test_step_is_durable_when_the_tpm_is_killed),
        SCENE(test_deleted_counter_is_an_error_that_says_so),
        SCENE(test_index_made_again_is_an_error_that_says_so),
        SCENE(test_ordinary_index_in_its_place_is_no_counter),
        SCENE(test_counter_made_again_never_goes_back),
        SCENE(test_counter_of_another_tpm_is_refused),
        SCENE(test_only_an_audit_key_certifies),
        SCENE(test_two_counters_take_two_places_and_count_apart),
        SCENE(test_lost_answers_while_making_leave_one_index),
        SCENE(test_place_taken_meanwhile_is_passed_over),
        SCENE(test_full_memory_says_what_to_do),
        SCENE(test_owner_password_is_told_and_made_counters_go_on),
        SCENE(test_each_changed_byte_of_a_blob_is_refused_or_another_index),
        SCENE(test_shorter_and_longer_blobs_are_refused),
        SCENE(test_each_changed_byte_of_an_attest_that_matters_is_refused),
        SCENE(test_each_failing_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
