#include "protocol/audit_proof.h"

#include <stdio.h>

#include "base/base64url.h"
#include "crypto/merkle.h"
#include "tests/support/audit_scene.h"
#include "tests/support/support.h"
#include "tests/support/temp_dir.h"

static struct temp_dir temp;
static const char *dir;
static struct audit_scene *scene;

static int
set_up(void **state)
{
    (void)state;
    dir = temp_dir_make(&temp, "audit");
    scene = audit_scene_new(dir, "audit", 200, true);
    audit_scene_append(scene, 260, 150);
    audit_scene_checkpoint(scene);
    audit_scene_append(scene, 440, 150);
    audit_scene_checkpoint(scene);
    audit_scene_append(scene, 5, 150);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    audit_scene_free(scene);
    temp_dir_remove(&temp);
    return 0;
}

static void
put_path(const struct json *proof, struct ath_buf *path)
{
    const struct json *hash = json_first(json_get(proof, "path"));

    for (; hash != NULL; hash = json_next(hash))
        assert_int_equal(base64url_decode(ath_slice_of_string(json_string(hash)), path), ATH_OK);
}

/* As a reader who has the proof and the key does it. */
static void
assert_proves(const struct json *proof, uint64_t index, uint64_t size)
{
    const char *leaf = json_get_string(proof, "leaf"), *text = json_get_string(proof, "checkpoint");
    struct public_key *key = NULL;
    struct checkpoint_note note;
    struct ath_buf path = {0};
    uint8_t root[SHA256_LEN];

    assert_int_equal(public_key_from_jwk(json_get(proof, "key"), NULL, &key), ATH_OK);
    assert_true(public_key_equal(key, audit_scene_key(scene)));
    assert_int_equal(checkpoint_decode(ath_slice_of_string(text), NULL, &note), ATH_OK);
    assert_int_equal(checkpoint_verify(&note, key, NULL), ATH_OK);
    assert_int_equal(note.checkpoint.size, size);
    put_path(proof, &path);
    assert_int_equal(
        merkle_root_from_path(ath_slice_of_string(leaf), index, size, ath_buf_slice(&path), root),
        ATH_OK);
    assert_memory_equal(root, note.checkpoint.root, SHA256_LEN);
    ath_buf_done(&path);
    public_key_free(key);
}

static void
test_records_are_proved_against_each_checkpoint(void **state)
{
    struct why why = {""};

    (void)state;
    for (uint64_t index = 0; index < 700; index += 7) {
        struct json *proof = NULL;

        assert_int_equal(audit_proof_inclusion(dir, index, UINT64_MAX, &why, &proof), ATH_OK);
        assert_proves(proof, index, 700);
        json_free(proof);
        if (index >= 260)
            continue;
        assert_int_equal(audit_proof_inclusion(dir, index, 260, &why, &proof), ATH_OK);
        assert_proves(proof, index, 260);
        json_free(proof);
    }
}

static void
test_what_is_not_covered_cannot_be_proved(void **state)
{
    struct json *proof = NULL;
    struct why why = {""};

    (void)state;
    assert_int_equal(audit_proof_inclusion(dir, 702, UINT64_MAX, &why, &proof), ATH_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "not covered by the checkpoint of 700 records"));
    assert_int_equal(audit_proof_inclusion(dir, 260, 260, &why, &proof), ATH_ERR_NOT_FOUND);
    assert_int_equal(audit_proof_inclusion(dir, 1, 300, &why, &proof), ATH_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "no checkpoint covers exactly 300 records"));
    assert_int_equal(audit_proof_consistency(dir, 260, 300, &why, &proof), ATH_ERR_NOT_FOUND);
    assert_int_equal(audit_proof_consistency(dir, 700, 260, &why, &proof), ATH_ERR_NOT_FOUND);
    assert_null(proof);
}

static void
test_checkpoints_are_proved_to_continue_each_other(void **state)
{
    struct json *proof = NULL;
    struct ath_buf path = {0};
    struct audit_signed_note from = {0}, to = {0};

    (void)state;
    assert_int_equal(audit_proof_consistency(dir, 260, UINT64_MAX, NULL, &proof), ATH_OK);
    assert_int_equal(audit_signed_note_load(dir, 260, NULL, &from), ATH_OK);
    assert_int_equal(audit_signed_note_load(dir, UINT64_MAX, NULL, &to), ATH_OK);
    put_path(proof, &path);
    assert_int_equal(merkle_check_consistency(260, from.note.checkpoint.root, 700,
                                              to.note.checkpoint.root, ath_buf_slice(&path)),
                     ATH_OK);
    assert_string_equal(json_get_string(proof, "from_checkpoint"), ath_buf_text(&from.bytes));
    assert_string_equal(json_get_string(proof, "to_checkpoint"), ath_buf_text(&to.bytes));
    ath_buf_done(&path);
    audit_signed_note_done(&from);
    audit_signed_note_done(&to);
    json_free(proof);
}

/* A log that was tampered with gives no proof of what was not signed. */
static void
test_a_changed_record_is_not_proved(void **state)
{
    char path[4096];
    struct json *proof = NULL;
    struct why why = {""};
    FILE *file;
    int byte;

    (void)state;
    snprintf(path, sizeof(path), "%s/00000001.jsonl", dir);
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 100, SEEK_SET), 0);
    byte = fgetc(file);
    assert_int_equal(fseek(file, 100, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 1, file), byte ^ 1);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(audit_proof_inclusion(dir, 0, UINT64_MAX, &why, &proof),
                     ATH_ERR_INVALID_EVIDENCE);
    assert_non_null(strstr(why.text, "record 0 is not what was signed"));
    assert_int_equal(fseek(file, 100, SEEK_SET), 0);
    assert_int_equal(fputc(byte, file), byte);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(audit_proof_inclusion(dir, 0, UINT64_MAX, &why, &proof), ATH_OK);
    json_free(proof);
}

static ath_err
prove_body(void *ctx)
{
    struct json *proof = NULL;
    ath_err err = audit_proof_inclusion(dir, 300, UINT64_MAX, NULL, &proof);

    (void)ctx;
    json_free(proof);
    if (err != ATH_OK)
        return err;
    proof = NULL;
    err = audit_proof_consistency(dir, 260, 700, NULL, &proof);
    json_free(proof);
    return err;
}

static void
test_no_failing_allocation_leaks(void **state)
{
    (void)state;
    each_allocation_failing(prove_body, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_are_proved_against_each_checkpoint),
        cmocka_unit_test(test_what_is_not_covered_cannot_be_proved),
        cmocka_unit_test(test_checkpoints_are_proved_to_continue_each_other),
        cmocka_unit_test(test_a_changed_record_is_not_proved),
        cmocka_unit_test(test_no_failing_allocation_leaks),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
