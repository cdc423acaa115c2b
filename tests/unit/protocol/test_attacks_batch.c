/* Batches of a size that none has. A batch of one: a server's key signs batches of 2 and more, so
 * what looks like one of a single message was made by somebody who wants the other string signed
 * (profile section 4). */
#include "protocol/handshake_transcript.h"

#include "base/base64url.h"
#include "crypto/merkle.h"
#include "tests/support/handshake_scene.h"

static const char LABEL[] = "server-identity";

/* "b64u(signature).size.0." by party, over the tree whose only leaf is the message's string. */
static void
sign_alone(const struct party *party, const struct json *message, unsigned size,
           struct ath_buf *signature)
{
    struct ath_buf string = {0}, root_string = {0};
    uint8_t t0[SHA256_LEN], root[SHA256_LEN], buffer[SIGNATURE_MAX_LEN];

    transcript_start(t0);
    assert_int_equal(handshake_string(LABEL, t0, message, &string), ATH_OK);
    assert_int_equal(merkle_leaf(ath_buf_slice(&string), root), ATH_OK);
    ath_buf_printf(&root_string, "ATH-TB1 batch %u ", size);
    base64url_put(&root_string, ath_slice_of(root, sizeof(root)));
    base64url_put(signature, party_sign(party, ath_buf_slice(&root_string), buffer));
    ath_buf_printf(signature, ".%u.0.", size);
    ath_buf_done(&string);
    ath_buf_done(&root_string);
}

static void
test_batch_of_one_or_none_is_refused(void **state)
{
    struct party server;
    struct json *message = scene_json("{\"a\":1}");
    uint8_t t0[SHA256_LEN];

    (void)state;
    party_init(&server, DID_SERVER, TEST_KEY_P256, "server");
    transcript_start(t0);
    for (unsigned size = 0; size < 2; size++) {
        struct ath_buf signature = {0};

        sign_alone(&server, message, size, &signature);
        assert_int_equal(handshake_signature_verify(server.key, LABEL, t0, message,
                                                    ath_buf_text(&signature), true),
                         ATH_ERR_INVALID_SIGNATURE);
        ath_buf_done(&signature);
    }
    json_free(message);
    party_done(&server);
}

/* The last leaf of 2^k + 1 has a path of one hash, however many the others have. */
static void
test_batch_above_65536_is_refused(void **state)
{
    static const struct {
        unsigned size;
        ath_err err;
    } cases[] = {{32769, ATH_OK}, {65537, ATH_ERR_INVALID_SIGNATURE}};
    struct json *message = scene_json("{\"a\":1}");
    uint8_t t0[SHA256_LEN], root[SHA256_LEN], buffer[SIGNATURE_MAX_LEN];
    const uint8_t sibling[SHA256_LEN] = {7};
    struct ath_buf string = {0};
    struct party server;

    (void)state;
    party_init(&server, DID_SERVER, TEST_KEY_P256, "server");
    transcript_start(t0);
    assert_int_equal(handshake_string(LABEL, t0, message, &string), ATH_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ath_slice path = ath_slice_of(sibling, sizeof(sibling));
        struct ath_buf root_string = {0}, signature = {0};
        unsigned size = cases[i].size;

        assert_int_equal(merkle_root_from_path(ath_buf_slice(&string), size - 1, size, path, root),
                         ATH_OK);
        ath_buf_printf(&root_string, "ATH-TB1 batch %u ", size);
        base64url_put(&root_string, ath_slice_of(root, sizeof(root)));
        base64url_put(&signature, party_sign(&server, ath_buf_slice(&root_string), buffer));
        ath_buf_printf(&signature, ".%u.%u.", size, size - 1);
        base64url_put(&signature, path);
        assert_int_equal(handshake_signature_verify(server.key, LABEL, t0, message,
                                                    ath_buf_text(&signature), true),
                         cases[i].err);
        ath_buf_done(&root_string);
        ath_buf_done(&signature);
    }
    ath_buf_done(&string);
    json_free(message);
    party_done(&server);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_of_one_or_none_is_refused),
        cmocka_unit_test(test_batch_above_65536_is_refused),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
