#include "protocol/checkpoint.h"

#include <stdio.h>

#include "base/base64.h"
#include "protocol/counter_evidence.h"
#include "tests/support/audit_scene.h"
#include "tests/support/support.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_key.h"

#define COUNTER_ATTRIBUTES 0x20040014u
#define WRITTEN 0x20000000u

static struct temp_dir temp;
static struct audit_scene *scene;
static struct test_key *pair;
static const struct public_key *key;

static int
set_up(void **state)
{
    (void)state;
    scene = audit_scene_new(temp_dir_make(&temp, "audit"), "checkpoint", 100, true);
    pair = test_key_new(TEST_KEY_P256, "checkpoint");
    key = audit_scene_key(scene);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    audit_scene_free(scene);
    test_key_free(pair);
    temp_dir_remove(&temp);
    return 0;
}

static struct checkpoint
example(bool has_counter)
{
    struct checkpoint checkpoint = {.size = 20852163,
                                    .time = "2026-01-02T03:04:05.678Z",
                                    .has_previous = true,
                                    .previous = 20852000,
                                    .has_counter = has_counter,
                                    .counter_index = AUDIT_SCENE_COUNTER_INDEX,
                                    .counter = 42};

    strcpy(checkpoint.jkt, public_key_jkt(key));
    memset(checkpoint.root, 0xfb, sizeof(checkpoint.root));
    return checkpoint;
}

/* What a counter says, to be changed. */
struct saying {
    uint32_t index, attributes;
    uint64_t value;
    bool is_missing, is_for_other_text;
};

static void
put_note(const struct checkpoint *checkpoint, const struct saying *saying, struct ath_buf *note)
{
    struct ath_buf text = {0}, signature = {0}, nv_public = {0}, evidence = {0};
    uint8_t nonce[SHA256_LEN];

    checkpoint_put_text(checkpoint, &text);
    test_key_sign(pair, ath_buf_slice(&text), &signature);
    assert_int_equal(checkpoint_nonce(ath_buf_slice(&text), nonce), ATH_OK);
    nonce[0] ^= saying != NULL && saying->is_for_other_text ? 1 : 0;
    if (saying != NULL && !saying->is_missing) {
        audit_scene_put_counter_public(saying->index, saying->attributes, &nv_public);
        audit_scene_put_counter_evidence(scene, ath_buf_slice(&nv_public), saying->value,
                                         ath_slice_of(nonce, sizeof(nonce)), &evidence);
    }
    assert_int_equal(checkpoint_put_note(ath_buf_slice(&text), key, ath_buf_slice(&signature),
                                         ath_buf_slice(&nv_public), ath_buf_slice(&evidence), note),
                     ATH_OK);
    ath_buf_done(&text);
    ath_buf_done(&signature);
    ath_buf_done(&nv_public);
    ath_buf_done(&evidence);
}

static ath_err
judge(struct ath_slice bytes, struct why *why)
{
    struct checkpoint_note note;
    ath_err err = checkpoint_decode(bytes, why, &note);

    return err != ATH_OK ? err : checkpoint_verify(&note, key, why);
}

static void
test_the_text_is_the_documented_one(void **state)
{
    struct checkpoint checkpoint = example(true);
    struct ath_buf text = {0};
    char expected[512];

    (void)state;
    snprintf(expected, sizeof(expected),
             "athd.audit/%s\n20852163\n+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=\n"
             "time 2026-01-02T03:04:05.678Z\nprevious 20852000\ncounter tpm 01800a7d 42\n",
             public_key_jkt(key));
    checkpoint_put_text(&checkpoint, &text);
    assert_string_equal(ath_buf_text(&text), expected);
    ath_buf_clear(&text);
    checkpoint.has_counter = checkpoint.has_previous = false;
    checkpoint_put_text(&checkpoint, &text);
    assert_non_null(strstr(ath_buf_text(&text), "previous none\ncounter none\n"));
    ath_buf_done(&text);
}

static void
test_a_note_comes_back_as_it_was_put(void **state)
{
    static const struct saying saying = {AUDIT_SCENE_COUNTER_INDEX, COUNTER_ATTRIBUTES, 42, false,
                                         false};
    struct why why = {""};

    (void)state;
    for (int has_counter = 0; has_counter < 2; has_counter++) {
        struct checkpoint checkpoint = example(has_counter == 1);
        struct checkpoint_note note;
        struct ath_buf bytes = {0}, text = {0};

        put_note(&checkpoint, has_counter == 1 ? &saying : NULL, &bytes);
        assert_int_equal(checkpoint_decode(ath_buf_slice(&bytes), &why, &note), ATH_OK);
        assert_int_equal(checkpoint_verify(&note, key, &why), ATH_OK);
        checkpoint_put_text(&checkpoint, &text);
        assert_true(ath_slice_equal(note.text, ath_buf_slice(&text)));
        assert_int_equal(note.checkpoint.size, 20852163);
        assert_int_equal(note.checkpoint.previous, 20852000);
        assert_int_equal(note.checkpoint.counter, has_counter == 1 ? 42 : 0);
        ath_buf_done(&text);
        assert_int_equal(note.line_count, 1 + has_counter);
        /* and other keys' signatures are left alone (signed-note: MUST ignore) */
        ath_buf_put_string(&bytes, "\xe2\x80\x94 witness.example/w1 AAAAAAAAAAAAAA==\n");
        assert_int_equal(judge(ath_buf_slice(&bytes), &why), ATH_OK);
        ath_buf_done(&bytes);
    }
}

/* What github.com/transparency-dev's and Rekor's verifiers take. */
static void
test_the_verifier_key_and_key_id_are_those_of_signed_note(void **state)
{
    struct ath_buf vkey = {0}, der = {0}, note = {0};
    struct checkpoint checkpoint = example(false);
    struct checkpoint_note decoded;
    uint8_t digest[SHA256_LEN];
    char id[9];
    const char *text, *plus;

    (void)state;
    assert_int_equal(sha256(public_key_der(key), digest), ATH_OK);
    snprintf(id, sizeof(id), "%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3]);
    assert_int_equal(checkpoint_put_vkey(key, &vkey), ATH_OK);
    text = ath_buf_text(&vkey);
    assert_memory_equal(text, "athd.audit/", 11);
    plus = strchr(text, '+');
    assert_memory_equal(plus + 1, id, 8);
    assert_int_equal(plus[9], '+');
    assert_int_equal(base64_decode(ath_slice_of_string(plus + 10), &der), ATH_OK);
    assert_int_equal(der.data[0], 2);
    assert_true(ath_slice_equal(ath_slice_of(der.data + 1, der.len - 1), public_key_der(key)));
    put_note(&checkpoint, NULL, &note);
    assert_int_equal(checkpoint_decode(ath_buf_slice(&note), NULL, &decoded), ATH_OK);
    assert_memory_equal(decoded.lines[0].id, digest, 4);
    ath_buf_done(&note);
    ath_buf_done(&der);
    ath_buf_done(&vkey);
}

static void
test_every_changed_byte_of_a_note_is_refused(void **state)
{
    static const struct saying saying = {AUDIT_SCENE_COUNTER_INDEX, COUNTER_ATTRIBUTES, 42, false,
                                         false};
    struct checkpoint checkpoint = example(true);
    struct ath_buf bytes = {0};
    struct why why;

    (void)state;
    put_note(&checkpoint, &saying, &bytes);
    for (size_t at = 0; at < bytes.len; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes.data[at] ^= (uint8_t)(1u << bit);
            why.text[0] = '\0';
            assert_int_not_equal(judge(ath_buf_slice(&bytes), &why), ATH_OK);
            assert_int_not_equal(why.text[0], '\0');
            bytes.data[at] ^= (uint8_t)(1u << bit);
        }
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_not_equal(judge(ath_slice_of(bytes.data, len), &why), ATH_OK);
    assert_int_equal(judge(ath_buf_slice(&bytes), &why), ATH_OK);
    ath_buf_done(&bytes);
}

static void
test_a_counter_that_says_something_else_is_refused(void **state)
{
    static const struct {
        struct saying saying;
        const char *reason;
    } cases[] = {
        {{AUDIT_SCENE_COUNTER_INDEX, COUNTER_ATTRIBUTES, 43, false, false},
         "the text says counter 01800a7d 42, the TPM certified 01800a7d 43"},
        {{AUDIT_SCENE_COUNTER_INDEX + 1, COUNTER_ATTRIBUTES, 42, false, false},
         "the text says counter 01800a7d 42, the TPM certified 01800a7e 42"},
        {{AUDIT_SCENE_COUNTER_INDEX, WRITTEN | 0x00040004, 42, false, false},
         "the counter's evidence is of an index that is no counter"},
        {{AUDIT_SCENE_COUNTER_INDEX, COUNTER_ATTRIBUTES & ~WRITTEN, 42, false, false},
         "the counter's evidence is of a counter that was never stepped"},
        {{AUDIT_SCENE_COUNTER_INDEX, COUNTER_ATTRIBUTES, 42, false, true},
         "the counter's evidence is for another text"},
        {{AUDIT_SCENE_COUNTER_INDEX, COUNTER_ATTRIBUTES, 42, true, false},
         "the TPM's evidence of its counter is missing"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct checkpoint checkpoint = example(true);
        struct ath_buf bytes = {0};
        struct why why = {""};

        put_note(&checkpoint, &cases[i].saying, &bytes);
        assert_int_equal(judge(ath_buf_slice(&bytes), &why), ATH_ERR_INVALID_EVIDENCE);
        assert_string_equal(why.text, cases[i].reason);
        ath_buf_done(&bytes);
    }
}

static void
test_evidence_without_a_counter_in_the_text_is_refused(void **state)
{
    static const struct saying saying = {AUDIT_SCENE_COUNTER_INDEX, COUNTER_ATTRIBUTES, 42, false,
                                         false};
    struct checkpoint checkpoint = example(false);
    struct ath_buf bytes = {0};
    struct why why = {""};

    (void)state;
    put_note(&checkpoint, &saying, &bytes);
    assert_int_equal(judge(ath_buf_slice(&bytes), &why), ATH_ERR_INVALID_EVIDENCE);
    assert_string_equal(why.text, "there is evidence of a counter that the text does not name");
    ath_buf_done(&bytes);
}

static void
test_another_keys_note_is_refused(void **state)
{
    struct test_key *other = test_key_new(TEST_KEY_P256, "other");
    struct checkpoint checkpoint = example(false);
    struct public_key *other_key = NULL;
    struct ath_buf bytes = {0};
    struct checkpoint_note note;
    struct why why = {""};

    (void)state;
    assert_int_equal(public_key_from_der(test_key_der(other), NULL, &other_key), ATH_OK);
    put_note(&checkpoint, NULL, &bytes);
    assert_int_equal(checkpoint_decode(ath_buf_slice(&bytes), &why, &note), ATH_OK);
    assert_int_equal(checkpoint_verify(&note, other_key, &why), ATH_ERR_UNKNOWN_PEER);
    public_key_free(other_key);
    test_key_free(other);
    ath_buf_done(&bytes);
}

/* Each text with its signature is refused; a decoder that let one pass would have two forms of one
 * checkpoint. */
static void
test_other_forms_of_a_text_are_refused(void **state)
{
    static const struct {
        const char *from, *to;
    } changes[] = {
        {"\n20852163\n", "\n020852163\n"},
        {"\n20852163\n", "\n+20852163\n"},
        {"\n20852163\n", "\n 20852163\n"},
        {"\n20852163\n", "\n20852163 \n"},
        {"\n20852163\n", "\n-1\n"},
        {"\n20852163\n", "\n\n"},
        {"\n20852163\n", "\n18446744073709551616\n"},
        {"\n20852163\n", "\n20851999\n"}, /* not more than previous */
        {"+/s=", "+/t="},                 /* unused bits */
        {"+/s=", "+/s"},
        {"+/v7", "-_v7"},
        {"time 2026", "time  2026"},
        {"time 2026-01-02", "time 2026-13-02"},
        {".678Z", ".678z"},
        {".678Z", ".6780Z"},
        {"previous 20852000", "previous 020852000"},
        {"previous 20852000", "previous 0x0"},
        {"previous 20852000", "Previous 20852000"},
        {"counter tpm 01800a7d 42", "counter tpm 01800A7D 42"},
        {"counter tpm 01800a7d 42", "counter tpm 1800a7d 42"},
        {"counter tpm 01800a7d 42", "counter tpm 01800a7d 042"},
        {"counter tpm 01800a7d 42", "counter tpm 01800a7d"},
        {"counter tpm 01800a7d 42\n", "counter tpm 01800a7d 42\r\n"},
        {"counter tpm 01800a7d 42\n", "counter tpm 01800a7d 42\nmore\n"},
        {"counter tpm 01800a7d 42\n", ""},
        {"athd.audit/", "athd.audit/x"},
        {"athd.audit/", "Athd.audit/"},
    };
    struct checkpoint checkpoint = example(true);
    struct ath_buf bytes = {0};

    (void)state;
    put_note(&checkpoint, NULL, &bytes);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        const char *at = strstr(ath_buf_text(&bytes), changes[i].from);
        struct ath_buf changed = {0};
        struct checkpoint_note note;
        struct why why = {""};

        assert_non_null(at);
        ath_buf_put(&changed, bytes.data, (size_t)((const uint8_t *)at - bytes.data));
        ath_buf_put_string(&changed, changes[i].to);
        ath_buf_put_string(&changed, at + strlen(changes[i].from));
        if (checkpoint_decode(ath_buf_slice(&changed), &why, &note) == ATH_OK)
            fail_msg("\"%s\" was accepted", changes[i].to);
        assert_int_not_equal(why.text[0], '\0');
        ath_buf_done(&changed);
    }
    ath_buf_done(&bytes);
}

static void
test_other_forms_of_signature_lines_are_refused(void **state)
{
    static const char *const lines[] = {
        "",
        "\n",
        "\xe2\x80\x94 w.example AAAAAAAAAA==\n\n",
        "- w.example AAAAAAAAAA==\n",
        "\xe2\x80\x94 w.example  AAAAAAAAAA==\n",
        "\xe2\x80\x94 w.example AAAAAAAAAA=\n",
        "\xe2\x80\x94 w.example AAAAAA==\n",
        "\xe2\x80\x94 w+example AAAAAAAAAA==\n",
        "\xe2\x80\x94  AAAAAAAAAA==\n",
        "\xe2\x80\x94 w.example AAAAAAAAAB==\n",
        "\xe2\x80\x94 w.example AAAAAAAAAA==",
        "\xe2\x80\x94 w.example\tx AAAAAAAAAA==\n",
        "\xe2\x80\x94 w.\xff.example AAAAAAAAAA==\n",
    };
    struct checkpoint checkpoint = example(false);
    struct ath_buf bytes = {0};
    struct checkpoint_note note;
    size_t text_len;

    (void)state;
    checkpoint_put_text(&checkpoint, &bytes);
    ath_buf_put_byte(&bytes, '\n');
    text_len = bytes.len;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        bytes.len = text_len;
        ath_buf_put_string(&bytes, lines[i]);
        assert_int_equal(checkpoint_decode(ath_buf_slice(&bytes), NULL, &note), ATH_ERR_PARSE);
    }
    bytes.len = text_len;
    for (size_t i = 0; i <= CHECKPOINT_MAX_LINES; i++) {
        if (i != 0)
            assert_int_equal(checkpoint_decode(ath_buf_slice(&bytes), NULL, &note), ATH_OK);
        ath_buf_put_string(&bytes, "\xe2\x80\x94 w.example AAAAAAAAAA==\n");
    }
    assert_int_equal(checkpoint_decode(ath_buf_slice(&bytes), NULL, &note), ATH_ERR_LIMIT_EXCEEDED);
    ath_buf_done(&bytes);
}

static void
test_names_of_files_are_sizes_of_20_digits(void **state)
{
    static const uint64_t sizes[] = {0, 1, 600, UINT64_MAX};
    static const char *const wrong[] = {"",
                                        "0000000000000000001",
                                        "000000000000000000001",
                                        "18446744073709551616",
                                        "99999999999999999999",
                                        "0000000000000000000a",
                                        "+0000000000000000001"};
    char name[CHECKPOINT_NAME_LEN + 1];
    uint64_t size = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        checkpoint_name(sizes[i], name);
        assert_int_equal(strlen(name), 20);
        assert_int_equal(checkpoint_parse_name(name, &size), ATH_OK);
        assert_true(size == sizes[i]);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(checkpoint_parse_name(wrong[i], &size), ATH_ERR_PARSE);
}

/* Every cut and every longer form of what a TPM says. */
static void
test_counter_evidence_of_other_lengths_is_refused(void **state)
{
    struct ath_buf bytes = {0};
    struct counter_evidence evidence;
    struct why why;

    (void)state;
    audit_scene_put_counter_public(AUDIT_SCENE_COUNTER_INDEX, COUNTER_ATTRIBUTES, &bytes);
    audit_scene_put_counter_evidence(scene, ath_buf_slice(&bytes), 7, ath_slice_of("n", 1), &bytes);
    assert_int_equal(counter_evidence_decode(ath_buf_slice(&bytes), &why, &evidence), ATH_OK);
    assert_int_equal(counter_evidence_verify(&evidence, key, &why), ATH_OK);
    assert_int_equal(evidence.value, 7);
    assert_int_equal(evidence.index, AUDIT_SCENE_COUNTER_INDEX);
    assert_int_equal(evidence.resets, 7);
    assert_int_equal(evidence.restarts, 8);
    assert_true(ath_slice_is(evidence.nonce, "n"));
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_not_equal(
            counter_evidence_decode(ath_slice_of(bytes.data, len), &why, &evidence), ATH_OK);
    ath_buf_put_byte(&bytes, 0);
    assert_int_equal(counter_evidence_decode(ath_buf_slice(&bytes), &why, &evidence),
                     ATH_ERR_PARSE);
    ath_buf_done(&bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_text_is_the_documented_one),
        cmocka_unit_test(test_a_note_comes_back_as_it_was_put),
        cmocka_unit_test(test_the_verifier_key_and_key_id_are_those_of_signed_note),
        cmocka_unit_test(test_every_changed_byte_of_a_note_is_refused),
        cmocka_unit_test(test_a_counter_that_says_something_else_is_refused),
        cmocka_unit_test(test_evidence_without_a_counter_in_the_text_is_refused),
        cmocka_unit_test(test_another_keys_note_is_refused),
        cmocka_unit_test(test_other_forms_of_a_text_are_refused),
        cmocka_unit_test(test_other_forms_of_signature_lines_are_refused),
        cmocka_unit_test(test_names_of_files_are_sizes_of_20_digits),
        cmocka_unit_test(test_counter_evidence_of_other_lengths_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
