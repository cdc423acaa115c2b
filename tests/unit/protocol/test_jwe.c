#include "protocol/jwe.h"

#include "base/base64url.h"
#include "crypto/aead.h"
#include "crypto/digest.h"
#include "tests/unit/crypto/hex.h"

#define SID "mD4hAtj0oz5TDsm1_Dqhzw"

/* The keys of test_session_keys.c */
static struct jwe_channel
channel_of(enum jwe_side side)
{
    struct jwe_channel channel;
    struct session_keys keys = {0};
    struct ath_secret z = {0};
    uint8_t bytes[32], transcript[SHA256_LEN];

    hex_decode("9e56d91d817135d372834283bf84269cfb316ea3da806a48f6daa7798cfe90c4", bytes);
    assert_int_equal(ath_secret_from(ath_slice_of(bytes, sizeof(bytes)), &z), ATH_OK);
    assert_int_equal(sha256(ath_slice_of_string("transcript"), transcript), ATH_OK);
    assert_int_equal(session_keys_derive(&z, transcript, &keys), ATH_OK);
    assert_string_equal(keys.sid, SID);
    ath_secret_done(&z);
    jwe_channel_init(&channel, &keys, side);
    assert_null(keys.c2s.data); /* taken */
    return channel;
}

struct pair {
    struct jwe_channel client, server;
};

static struct pair
pair_new(void)
{
    return (struct pair){channel_of(JWE_CLIENT), channel_of(JWE_SERVER)};
}

static void
pair_done(struct pair *pair)
{
    jwe_channel_done(&pair->client);
    jwe_channel_done(&pair->server);
}

static ath_err
open_text(struct jwe_channel *channel, const char *jwe, const char *expected, int64_t expected_re)
{
    struct ath_buf plaintext = {.max = SESSION_PLAINTEXT_MAX};
    struct why why = {""};
    uint32_t seq = 0;
    int64_t re = -2;
    ath_err err = jwe_open(channel, ath_slice_of_string(jwe), &why, &plaintext, &seq, &re);

    assert_true((err == ATH_OK) == (why.text[0] == '\0'));
    if (err == ATH_OK) {
        assert_true(ath_slice_is(ath_buf_slice(&plaintext), expected));
        assert_int_equal(re, expected_re);
    } else {
        assert_int_equal(plaintext.len, 0);
    }
    ath_buf_done(&plaintext);
    return err;
}

/* Made with python3-cryptography's AESGCM. */
static const char client_first[] =
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoibUQ0aEF0ajBvejVURHNtMV9EcWh6dyIsImRpciI6ImMycy"
    "Is"
    "InNlcSI6MCwidHlwIjoiYXRoLXNlc3Npb24randlIn0..AAAAAAAAAAAAAAAA.BtvJoOE.k4NKH886KWONoy2hmNHVpQ";
static const char server_answer[] = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoibUQ0aEF0ajBvej"
                                    "VURHNtMV9EcWh6dyIsImRpciI6InMyYyIs"
                                    "InNlcSI6MCwidHlwIjoiYXRoLXNlc3Npb24randlIiwicmUiOjB9.."
                                    "AAAAAAAAAAAAAAAA..1UNCsgA6sMNRmV7Or-EV0A";

static void
test_messages_are_those_of_another_implementation(void **state)
{
    struct pair pair = pair_new();
    struct ath_buf out = {0};

    (void)state;
    assert_int_equal(jwe_seal(&pair.client, ath_slice_of_string("hello"), -1, &out), ATH_OK);
    assert_string_equal(ath_buf_text(&out), client_first);
    ath_buf_clear(&out);
    assert_int_equal(jwe_seal(&pair.server, (struct ath_slice){0}, 0, &out), ATH_OK);
    assert_string_equal(ath_buf_text(&out), server_answer);
    assert_int_equal(open_text(&pair.server, client_first, "hello", -1), ATH_OK);
    assert_int_equal(open_text(&pair.client, server_answer, "", 0), ATH_OK);
    ath_buf_done(&out);
    pair_done(&pair);
}

static void
test_a_message_is_taken_once_and_only_by_the_other_side(void **state)
{
    struct pair pair = pair_new();

    (void)state;
    assert_int_equal(open_text(&pair.client, client_first, "", 0),
                     ATH_ERR_DECRYPT_FAILED); /* reflected */
    assert_int_equal(open_text(&pair.server, client_first, "hello", -1), ATH_OK);
    assert_int_equal(open_text(&pair.server, client_first, "", 0), ATH_ERR_SESSION_REPLAYED);
    pair_done(&pair);
}

/* ---- what others may send: any header and segments, encrypted with the client's key ---- */

struct forged {
    const char *header;
    const char *encrypted_key; /* "" is right */
    uint8_t iv[AEAD_IV_LEN];
    const char *plaintext;
};

static char *
forge(const struct forged *forged)
{
    struct jwe_channel client = channel_of(JWE_CLIENT);
    struct ath_buf text = {0}, ciphertext = {0};
    uint8_t tag[AEAD_TAG_LEN];
    char *copy;

    base64url_put(&text, ath_slice_of_string(forged->header));
    assert_int_equal(aead_seal(&client.keys.c2s, forged->iv, ath_buf_slice(&text),
                               ath_slice_of_string(forged->plaintext), &ciphertext, tag),
                     ATH_OK);
    ath_buf_printf(&text, ".%s.", forged->encrypted_key);
    base64url_put(&text, ath_slice_of(forged->iv, AEAD_IV_LEN));
    ath_buf_put_byte(&text, '.');
    base64url_put(&text, ath_buf_slice(&ciphertext));
    ath_buf_put_byte(&text, '.');
    base64url_put(&text, ath_slice_of(tag, sizeof(tag)));
    copy = ath_slice_dup(ath_buf_slice(&text));
    ath_buf_done(&ciphertext);
    ath_buf_done(&text);
    jwe_channel_done(&client);
    return copy;
}

static ath_err
open_forged(const struct forged *forged)
{
    struct jwe_channel server = channel_of(JWE_SERVER);
    char *text = forge(forged);
    ath_err err = open_text(&server, text, "x", -1);

    free(text);
    jwe_channel_done(&server);
    return err;
}

#define HEAD "{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"" SID "\",\"dir\":\"c2s\",\"seq\":5"
#define TYP ",\"typ\":\"ath-session+jwe\""

static ath_err
open_header(const char *header)
{
    const struct forged forged = {header, "", {[11] = 5}, "x"};

    return open_forged(&forged);
}

static void
test_the_header_has_its_members_and_no_other(void **state)
{
    static const char *const bad[] = {
        HEAD "}",
        HEAD TYP ",\"zip\":\"DEF\"}",
        HEAD TYP ",\"crit\":[]}",
        HEAD TYP ",\"x\":1}",
        HEAD TYP ",\"re\":-1}",
        HEAD TYP ",\"re\":4294967296}",
        HEAD TYP ",\"re\":null}",
        HEAD TYP ",\"re\":\"1\"}",
        HEAD TYP ",\"seq\":5}",
        HEAD ",\"typ\":\"JWT\"}",
        "{\"alg\":\"A256KW\",\"enc\":\"A256GCM\",\"kid\":\"" SID "\",\"dir\":\"c2s\",\"seq\":5" TYP
        "}",
        "{\"alg\":\"dir\",\"enc\":\"A128GCM\",\"kid\":\"" SID "\",\"dir\":\"c2s\",\"seq\":5" TYP
        "}",
        "{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"dir\":\"c2s\","
        "\"seq\":5" TYP "}",
        "{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"" SID "\",\"dir\":\"s2c\",\"seq\":5" TYP
        "}",
        "{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"" SID "\",\"dir\":\"c2s\",\"seq\":\"5\"" TYP
        "}",
        "{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"" SID
        "\",\"dir\":\"c2s\",\"seq\":4294967301" TYP "}",
        "{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"" SID "\",\"dir\":\"c2s\",\"seq\":-5" TYP
        "}",
        "{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"" SID "\",\"dir\":\"c2s\",\"seq\":5.0" TYP
        "}",
        "{\"enc\":\"A256GCM\",\"kid\":\"" SID "\",\"dir\":\"c2s\",\"seq\":5,\"re\":1" TYP "}",
        "[]",
        "",
        "{",
    };

    (void)state;
    assert_int_equal(open_header(HEAD TYP "}"), ATH_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(open_header(bad[i]), ATH_ERR_DECRYPT_FAILED);
}

static void
test_the_iv_must_be_that_of_the_number(void **state)
{
    struct forged forged = {HEAD TYP "}", "", {[11] = 6}, "x"};

    (void)state;
    assert_int_equal(open_forged(&forged), ATH_ERR_DECRYPT_FAILED);
    forged = (struct forged){HEAD TYP "}", "", {[0] = 1, [11] = 5}, "x"};
    assert_int_equal(open_forged(&forged), ATH_ERR_DECRYPT_FAILED);
}

static void
test_an_encrypted_key_is_refused(void **state)
{
    const struct forged forged = {HEAD TYP "}", "AAAA", {[11] = 5}, "x"};

    (void)state;
    assert_int_equal(open_forged(&forged), ATH_ERR_DECRYPT_FAILED);
}

static void
test_text_of_another_form_is_refused(void **state)
{
    static const char *const bad[] = {"", ".", "....", ".....", "a.b.c", "a..b.c"};
    struct pair pair = pair_new();
    char text[512];
    size_t len = strlen(client_first);

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(open_text(&pair.server, bad[i], "", 0), ATH_ERR_DECRYPT_FAILED);
    snprintf(text, sizeof(text), "%s.", client_first);
    assert_int_equal(open_text(&pair.server, text, "", 0), ATH_ERR_DECRYPT_FAILED);
    snprintf(text, sizeof(text), "%s=", client_first);
    assert_int_equal(open_text(&pair.server, text, "", 0), ATH_ERR_DECRYPT_FAILED);
    for (size_t i = 0; i < len; i++) { /* each character changed, the last one in its unused bits */
        memcpy(text, client_first, len + 1);
        text[i] = text[i] == 'A' ? 'B' : 'A';
        assert_int_equal(open_text(&pair.server, text, "", 0), ATH_ERR_DECRYPT_FAILED);
    }
    /* none of all that moved the window */
    assert_int_equal(open_text(&pair.server, client_first, "hello", -1), ATH_OK);
    pair_done(&pair);
}

/* ---- the window ---- */

/* Message number seq of the client, whatever was sent before. */
static char *
numbered(struct pair *pair, uint32_t seq)
{
    struct ath_buf out = {0};
    char *text;

    pair->client.next_seq = seq;
    assert_int_equal(jwe_seal(&pair->client, ath_slice_of_string("x"), -1, &out), ATH_OK);
    text = ath_slice_dup(ath_buf_slice(&out));
    ath_buf_done(&out);
    return text;
}

static ath_err
deliver(struct pair *pair, uint32_t seq)
{
    char *text = numbered(pair, seq);
    ath_err err = open_text(&pair->server, text, "x", -1);

    free(text);
    return err;
}

static void
test_the_window_takes_each_of_the_last_1024_numbers_once(void **state)
{
    struct pair pair = pair_new();

    (void)state;
    assert_int_equal(deliver(&pair, 3000), ATH_OK);
    assert_int_equal(deliver(&pair, 3000), ATH_ERR_SESSION_REPLAYED);
    assert_int_equal(deliver(&pair, 1976), ATH_ERR_SESSION_REPLAYED); /* 3000 - 1024 */
    assert_int_equal(deliver(&pair, 1977), ATH_OK);                   /* 3000 - 1023 */
    assert_int_equal(deliver(&pair, 1977), ATH_ERR_SESSION_REPLAYED);
    assert_int_equal(deliver(&pair, 0), ATH_ERR_SESSION_REPLAYED);
    assert_int_equal(deliver(&pair, 2999), ATH_OK);
    assert_int_equal(deliver(&pair, 3002), ATH_OK);
    assert_int_equal(deliver(&pair, 3001), ATH_OK); /* passed over before */
    assert_int_equal(deliver(&pair, 3001), ATH_ERR_SESSION_REPLAYED);
    assert_int_equal(deliver(&pair, 1977), ATH_ERR_SESSION_REPLAYED); /* now too old */
    pair_done(&pair);
}

static void
test_the_window_forgets_no_number_when_it_moves(void **state)
{
    struct pair pair = pair_new();
    uint32_t at = 0;

    (void)state;
    assert_int_equal(deliver(&pair, at), ATH_OK);
    /* steps of every kind: within a word, over words, over the whole window */
    for (uint32_t step = 1; step <= 2048; step = step * 3 / 2 + 1) {
        at += step;
        assert_int_equal(deliver(&pair, at), ATH_OK);
        assert_int_equal(deliver(&pair, at), ATH_ERR_SESSION_REPLAYED);
        if (step > 1)
            assert_int_equal(deliver(&pair, at - 1), ATH_OK);
        assert_int_equal(deliver(&pair, at - 1), ATH_ERR_SESSION_REPLAYED);
    }
    pair_done(&pair);
}

static void
test_only_a_message_that_decrypted_moves_the_window(void **state)
{
    struct pair pair = pair_new();
    char *far = numbered(&pair, 1000000);

    (void)state;
    far[strlen(far) - 2] = far[strlen(far) - 2] == 'A' ? 'B' : 'A';
    assert_int_equal(open_text(&pair.server, far, "", 0), ATH_ERR_DECRYPT_FAILED);
    assert_int_equal(deliver(&pair, 0), ATH_OK);
    free(far);
    pair_done(&pair);
}

/* ---- the numbers' end, and sizes ---- */

static void
test_a_session_ends_with_its_last_number(void **state)
{
    struct pair pair = pair_new();
    struct ath_buf out = {0};

    (void)state;
    assert_int_equal(deliver(&pair, UINT32_MAX), ATH_OK);
    assert_int_equal(jwe_seal(&pair.client, ath_slice_of_string("x"), -1, &out),
                     ATH_ERR_SESSION_EXPIRED);
    assert_int_equal(out.len, 0);
    assert_int_equal(deliver(&pair, UINT32_MAX), ATH_ERR_SESSION_REPLAYED);
    assert_int_equal(deliver(&pair, UINT32_MAX - 1), ATH_OK);
    pair_done(&pair);
}

static void
test_a_number_is_not_used_again_after_a_failure(void **state)
{
    struct pair pair = pair_new();
    struct ath_buf tight = {.max = 10}, out = {0};

    (void)state;
    assert_int_equal(jwe_seal(&pair.client, ath_slice_of_string("hello"), -1, &tight),
                     ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(jwe_seal(&pair.client, ath_slice_of_string("hello"), -1, &out), ATH_OK);
    assert_string_not_equal(ath_buf_text(&out), client_first);
    assert_int_equal(pair.client.next_seq, 2);
    ath_buf_done(&tight);
    ath_buf_done(&out);
    pair_done(&pair);
}

static void
test_a_plaintext_has_at_most_64_kib(void **state)
{
    struct pair pair = pair_new();
    struct ath_buf out = {0}, plaintext = {0};
    uint8_t *big = calloc(1, SESSION_PLAINTEXT_MAX + 1);
    uint32_t seq;
    int64_t re;

    (void)state;
    assert_int_equal(jwe_seal(&pair.client, ath_slice_of(big, SESSION_PLAINTEXT_MAX + 1), -1, &out),
                     ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(jwe_seal(&pair.client, ath_slice_of(big, SESSION_PLAINTEXT_MAX), -1, &out),
                     ATH_OK);
    assert_true(out.len <= JWE_MAX_LEN);
    assert_int_equal(jwe_open(&pair.server, ath_buf_slice(&out), NULL, &plaintext, &seq, &re),
                     ATH_OK);
    assert_int_equal(plaintext.len, SESSION_PLAINTEXT_MAX);
    ath_buf_done(&plaintext);
    for (unsigned i = 0; i < JWE_MAX_LEN; i++)
        ath_buf_put_byte(&out, 'A');
    assert_int_equal(jwe_open(&pair.server, ath_buf_slice(&out), NULL, &plaintext, &seq, &re),
                     ATH_ERR_LIMIT_EXCEEDED);
    free(big);
    ath_buf_done(&out);
    pair_done(&pair);
}

static void
test_an_answer_must_name_a_number(void **state)
{
    struct pair pair = pair_new();
    struct ath_buf out = {0};

    (void)state;
    assert_int_equal(jwe_seal(&pair.client, ath_slice_of_string("x"), -2, &out),
                     ATH_ERR_INVALID_PARAMS);
    assert_int_equal(
        jwe_seal(&pair.client, ath_slice_of_string("x"), (int64_t)UINT32_MAX + 1, &out),
        ATH_ERR_INVALID_PARAMS);
    assert_int_equal(pair.client.next_seq, 0);
    assert_int_equal(jwe_seal(&pair.client, ath_slice_of_string("x"), UINT32_MAX, &out), ATH_OK);
    assert_int_equal(open_text(&pair.server, ath_buf_text(&out), "x", UINT32_MAX), ATH_OK);
    ath_buf_done(&out);
    pair_done(&pair);
}

static void
test_a_channel_that_is_done_seals_nothing(void **state)
{
    struct pair pair = pair_new();
    struct ath_buf out = {0};

    (void)state;
    pair_done(&pair);
    assert_int_equal(jwe_seal(&pair.client, ath_slice_of_string("x"), -1, &out),
                     ATH_ERR_SESSION_EXPIRED);
}

static ath_err
exchange_body(void *ctx)
{
    struct pair *pair = ctx;
    struct ath_buf out = {0}, plaintext = {0};
    uint32_t seq;
    int64_t re;
    ath_err err;

    if ((err = jwe_seal(&pair->client, ath_slice_of_string("hello"), 7, &out)) == ATH_OK)
        err = jwe_open(&pair->server, ath_buf_slice(&out), NULL, &plaintext, &seq, &re);
    ath_buf_done(&plaintext);
    ath_buf_done(&out);
    return err;
}

static void
test_an_exchange_survives_each_failing_allocation(void **state)
{
    struct pair pair = pair_new();

    (void)state;
    each_allocation_failing(exchange_body, &pair);
    pair_done(&pair);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_are_those_of_another_implementation),
        cmocka_unit_test(test_a_message_is_taken_once_and_only_by_the_other_side),
        cmocka_unit_test(test_the_header_has_its_members_and_no_other),
        cmocka_unit_test(test_the_iv_must_be_that_of_the_number),
        cmocka_unit_test(test_an_encrypted_key_is_refused),
        cmocka_unit_test(test_text_of_another_form_is_refused),
        cmocka_unit_test(test_the_window_takes_each_of_the_last_1024_numbers_once),
        cmocka_unit_test(test_the_window_forgets_no_number_when_it_moves),
        cmocka_unit_test(test_only_a_message_that_decrypted_moves_the_window),
        cmocka_unit_test(test_a_session_ends_with_its_last_number),
        cmocka_unit_test(test_a_number_is_not_used_again_after_a_failure),
        cmocka_unit_test(test_a_plaintext_has_at_most_64_kib),
        cmocka_unit_test(test_an_answer_must_name_a_number),
        cmocka_unit_test(test_a_channel_that_is_done_seals_nothing),
        cmocka_unit_test(test_an_exchange_survives_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
