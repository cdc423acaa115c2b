/* Grants in the plain-object form whose key is not the user's: whoever can make a key must not be
 * able to grant in somebody else's name (profile sections 2 and 3). */
#include "protocol/user_grant.h"

#include "protocol/handshake.h"
#include "tests/support/handshake_scene.h"

static const char PINNED[] = "did:ath:alice";

static struct party alice, mallory, client, server;

static int
set_up(void **state)
{
    (void)state;
    party_init(&alice, DID_USER, TEST_KEY_P256, "alice");
    party_init(&mallory, DID_USER, TEST_KEY_P256, "mallory");
    party_init(&client, DID_CLIENT, TEST_KEY_P256, "client");
    party_init(&server, DID_SERVER, TEST_KEY_P256, "server");
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    party_done(&alice);
    party_done(&mallory);
    party_done(&client);
    party_done(&server);
    return 0;
}

static const struct public_key *
pinned_key(void *ctx, const char *did)
{
    (void)ctx;
    return strcmp(did, PINNED) == 0 ? alice.key : NULL;
}

static const struct did_pins pins = {pinned_key, NULL};

/* A grant that says it is user_did's; its key (NULL: none is in it) and signature are signer's. */
static ath_err
read_object(const char *user_did, const struct public_key *key, const struct party *signer)
{
    struct json_maker maker = {0};
    struct user_grant grant = {0};
    struct json *object = NULL;
    uint8_t t0[SHA256_LEN];
    struct why why = {""};
    ath_err err;

    json_object_begin(&maker);
    json_put_string(&maker, "user_did", user_did);
    json_put_string(&maker, "client_did", client.did);
    json_put_take(&maker, "scopes", scene_json("[\"mail:read\"]"));
    json_put_int(&maker, "expires_at", SCENE_NOW + 60);
    if (key != NULL)
        handshake_put_key(&maker, "user_pubkey", key);
    assert_int_equal(json_maker_end(&maker, &object), ATH_OK);
    transcript_start(t0);
    scene_sign_message(signer, USER_GRANT_LABEL, t0, object, NULL, "signature");
    err = user_grant_read(object, &pins, SCENE_NOW, &why, &grant);
    user_grant_done(&grant);
    json_free(object);
    return err;
}

static void
test_user_grants_with_the_key_of_the_did(void **state)
{
    (void)state;
    assert_int_equal(read_object(alice.did, alice.key, &alice), ATH_OK);
    assert_int_equal(read_object(PINNED, alice.key, &alice), ATH_OK);
    assert_int_equal(read_object(PINNED, NULL, &alice), ATH_OK);
}

static void
test_self_made_key_grants_nothing_in_anothers_name(void **state)
{
    struct ath_buf did_key = {0};

    (void)state;
    assert_int_equal(public_key_did_key(alice.key, &did_key), ATH_OK);
    assert_int_equal(read_object(alice.did, mallory.key, &mallory), ATH_ERR_INVALID_CREDENTIAL);
    assert_int_equal(read_object(PINNED, mallory.key, &mallory), ATH_ERR_INVALID_CREDENTIAL);
    assert_int_equal(read_object(ath_buf_text(&did_key), alice.key, &alice), ATH_OK);
    assert_int_equal(read_object(ath_buf_text(&did_key), mallory.key, &mallory),
                     ATH_ERR_INVALID_CREDENTIAL);
    assert_int_equal(read_object("did:ath:nobody", mallory.key, &mallory),
                     ATH_ERR_INVALID_CREDENTIAL);
    ath_buf_done(&did_key);
}

static void
test_client_or_server_key_is_no_users_key(void **state)
{
    (void)state;
    assert_int_equal(read_object(client.did, client.key, &client), ATH_ERR_INVALID_CREDENTIAL);
    assert_int_equal(read_object(server.did, server.key, &server), ATH_ERR_INVALID_CREDENTIAL);
}

static void
test_signature_by_another_than_the_key_shown_is_refused(void **state)
{
    (void)state;
    assert_int_equal(read_object(alice.did, alice.key, &mallory), ATH_ERR_INVALID_CREDENTIAL);
    assert_int_equal(read_object(PINNED, NULL, &mallory), ATH_ERR_INVALID_CREDENTIAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_user_grants_with_the_key_of_the_did),
        cmocka_unit_test(test_self_made_key_grants_nothing_in_anothers_name),
        cmocka_unit_test(test_client_or_server_key_is_no_users_key),
        cmocka_unit_test(test_signature_by_another_than_the_key_shown_is_refused),
    };

    if (crypto_init() != ATH_OK)
        return 1;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
