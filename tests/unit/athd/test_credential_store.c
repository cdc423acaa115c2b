#include "athd/credential_store.h"

#include <stdio.h>

#include "fixture_stores.h"
#include "handshake_scene.h"

#define NOW SCENE_NOW

struct fixture {
    struct stores stores;
    struct did_pins pins; /* none */
    struct credential_store *store;
    struct party user, client, server;
};

static void
open_store(struct fixture *f)
{
    assert_int_equal(credential_store_open(&f->stores.athd, &f->pins,
                                           stores_path(&f->stores, "credentials"), NULL,
                                           &f->store),
                     ATH_OK);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    fake_clock_set(NOW);
    stores_begin(&f->stores);
    open_store(f);
    party_init(&f->user, DID_USER, TEST_KEY_P256, "user");
    party_init(&f->client, DID_CLIENT, TEST_KEY_P256, "client");
    party_init(&f->server, DID_SERVER, TEST_KEY_P256, "server");
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    party_done(&f->user);
    party_done(&f->client);
    party_done(&f->server);
    credential_store_free(f->store);
    stores_end(&f->stores);
    fake_clock_set(0);
    free(f);
    return 0;
}

/* Keeps a grant; *ret_id is its name in the store. */
static ath_err
keep(struct fixture *f, struct json *taken_text, char ret_id[64])
{
    struct credential *credential = NULL;
    struct user_grant grant = {0};
    struct store_answer answer = {0};
    ath_err err;

    assert_int_equal(user_grant_read(taken_text, NULL, NOW, NULL, &grant), ATH_OK);
    assert_int_equal(credential_new(taken_text, &grant, NOW, &credential), ATH_OK);
    if (ret_id != NULL)
        (void)snprintf(ret_id, 64, "%s", credential->id);
    err = credential_store_put(f->store, credential, on_store_answer, &answer);
    return err != ATH_OK ? err : stores_wait(&f->stores, &answer);
}

static struct json *
grant(struct fixture *f, const char *audience, const char *scopes, int64_t issued_at, int64_t ttl)
{
    return scene_make_grant(&f->user, f->client.did, audience, scopes, issued_at, issued_at + ttl);
}

static const char *
choose(const struct fixture *f, const char *server_did, const char *scopes, int64_t now)
{
    struct scope_list list = scene_scopes(scopes);
    const struct credential *chosen;

    chosen = credential_store_choose(f->store, f->client.did, server_did, &list, now);
    scope_list_done(&list);
    return chosen == NULL ? "none" : chosen->id;
}

static void
test_grant_is_the_same_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct json *before = NULL, *after = NULL;
    char id[64];

    assert_int_equal(keep(f, grant(f, f->server.did, "a:b c:d", NOW, 600), id), ATH_OK);
    assert_int_equal(credential_encode(credential_store_find(f->store, id), &before), ATH_OK);
    stores_settle(&f->stores);
    credential_store_free(f->store);
    open_store(f);
    assert_int_equal(credential_encode(credential_store_find(f->store, id), &after), ATH_OK);
    assert_true(json_equal(before, after));
    json_free(before);
    json_free(after);
}

static void
test_the_one_that_covers_most_is_chosen_then_the_newest(void **state)
{
    struct fixture *f = *state;
    char narrow[64], wide[64], newer[64], other[64], any[64];

    fake_random_seed(1);
    assert_string_equal(choose(f, f->server.did, "a:b", NOW), "none");
    assert_int_equal(keep(f, grant(f, f->server.did, "a:b", NOW - 5, 600), narrow), ATH_OK);
    assert_int_equal(keep(f, grant(f, f->server.did, "a:b c:d", NOW - 9, 600), wide), ATH_OK);
    assert_int_equal(keep(f, grant(f, f->server.did, "c:d a:b x:y", NOW - 4, 60), newer), ATH_OK);
    assert_int_equal(keep(f, grant(f, "did:web:other.example", "a:b c:d e:f", NOW, 600), other),
                     ATH_OK);
    assert_string_equal(choose(f, f->server.did, "a:b", NOW), newer);
    assert_string_equal(choose(f, f->server.did, "a:b c:d", NOW), newer);
    assert_string_equal(choose(f, f->server.did, "a:b c:d", NOW + 100),
                        wide); /* the newer one is over */
    assert_string_equal(choose(f, f->server.did, "a:b", NOW + 100), narrow);
    assert_string_equal(choose(f, f->server.did, "e:f", NOW), "none");
    assert_string_equal(choose(f, NULL, "e:f", NOW), other);
    assert_int_equal(keep(f, grant(f, NULL, "e:f", NOW, 600), any), ATH_OK); /* for any server */
    assert_string_equal(choose(f, f->server.did, "e:f", NOW), any);
    fake_random_seed(0);
}

static void
test_grant_for_another_client_is_never_chosen(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(
        keep(f, scene_make_grant(&f->user, f->server.did, NULL, "a:b", NOW, NOW + 600), NULL),
        ATH_OK);
    assert_string_equal(choose(f, f->server.did, "a:b", NOW), "none");
    assert_string_equal(choose(f, NULL, "a:b", NOW), "none");
}

static void
test_two_grants_do_not_share_a_jti_and_the_same_twice_is_fine(void **state)
{
    struct fixture *f = *state;
    struct json *first;

    fake_random_seed(7); /* the same jti for both */
    first = grant(f, f->server.did, "a:b", NOW, 600);
    assert_int_equal(keep(f, json_clone(first), NULL), ATH_OK);
    assert_int_equal(keep(f, first, NULL), ATH_OK);
    fake_random_seed(7);
    assert_int_equal(keep(f, grant(f, f->server.did, "x:y", NOW, 600), NULL), ATH_ERR_EXISTS);
    fake_random_seed(0);
}

static void
test_expired_ones_are_forgotten_on_disk_too(void **state)
{
    struct fixture *f = *state;
    char id[64], path[128];

    assert_int_equal(keep(f, grant(f, f->server.did, "a:b", NOW, 60), id), ATH_OK);
    (void)snprintf(path, sizeof(path), "credentials/%s.json", id);
    assert_true(stores_has(&f->stores, path));
    credential_store_prune(f->store, NOW + 59);
    assert_non_null(credential_store_find(f->store, id));
    credential_store_prune(f->store, NOW + 60);
    assert_null(credential_store_find(f->store, id));
    uv_run(&f->stores.loop, UV_RUN_DEFAULT);
    assert_false(stores_has(&f->stores, path));
}

static void
test_file_that_was_changed_is_left_out(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(keep(f, grant(f, f->server.did, "a:b", NOW, 600), NULL), ATH_OK);
    stores_write(
        &f->stores, "credentials/bad.json",
        "{\"version\":1,\"added_at\":1,\"expires_at\":1890000000,\"credential\":\"ey.ey.AA\"}");
    stores_settle(&f->stores);
    credential_store_free(f->store);
    open_store(f);
    assert_null(credential_store_find(f->store, "bad"));
    assert_string_not_equal(choose(f, f->server.did, "a:b", NOW), "none");
}

/* As method_credential_put does; the store's limit is CREDENTIALS_MAX / 16, as of a machine's uid. */
static ath_err
keep_through(struct fixture *f, const char *name, struct why *why)
{
    struct json *text = grant(f, NULL, "a:b", NOW, 600);
    struct credential *credential = NULL;
    struct user_grant read = {0};
    struct store_answer answer = {0};
    ath_err err;

    assert_int_equal(user_grant_read(text, NULL, NOW, NULL, &read), ATH_OK);
    assert_int_equal(credential_new(text, &read, NOW, &credential), ATH_OK);
    credential->through = ath_strdup(name);
    if ((err = credential_store_check_room(f->store, credential, why)) != ATH_OK) {
        credential_free(credential);
        return err;
    }
    err = credential_store_put(f->store, credential, on_store_answer, &answer);
    return err != ATH_OK ? err : stores_wait(&f->stores, &answer);
}

static void
test_grants_put_a_part_here_also_after_a_restart_and_their_owner_goes_on(void **state)
{
    struct fixture *f = *state;
    struct why why = {{0}};

    f->stores.athd.config->is_system = true;
    fake_random_seed(1);
    for (size_t i = 0; i < CREDENTIALS_MAX / 16 / 16; i++)
        assert_int_equal(keep_through(f, "agent", &why), ATH_OK);
    assert_int_equal(keep_through(f, "agent", &why), ATH_ERR_LIMIT_EXCEEDED);
    assert_non_null(strstr(why.text, "through the grant \"agent\""));
    stores_settle(&f->stores);
    credential_store_free(f->store);
    open_store(f);
    assert_int_equal(keep_through(f, "agent", &why), ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(keep_through(f, "other", &why), ATH_OK);
    assert_int_equal(keep_through(f, NULL, &why), ATH_OK);
    fake_clock_set(NOW + 601); /* they have expired */
    credential_store_prune(f->store, NOW + 601);
    fake_clock_set(NOW);
    assert_int_equal(keep_through(f, "agent", &why), ATH_OK);
    fake_random_seed(0);
}

static void
test_one_uid_of_a_machine_fills_a_sixteenth_and_another_has_its_own(void **state)
{
    struct fixture *f = *state;
    struct credential_store *first = f->store;
    struct why why = {{0}};

    f->stores.athd.config->is_system = true;
    fake_random_seed(1);
    for (size_t i = 0; i < CREDENTIALS_MAX / 16; i++)
        assert_int_equal(keep_through(f, NULL, &why), ATH_OK);
    assert_int_equal(keep_through(f, NULL, &why), ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(credential_store_open(&f->stores.athd, &f->pins,
                                           stores_path(&f->stores, "another"), NULL, &f->store),
                     ATH_OK);
    assert_int_equal(keep_through(f, NULL, &why), ATH_OK);
    credential_store_free(f->store);
    f->store = first;
    fake_random_seed(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_grant_is_the_same_after_a_restart),
        TEST(test_the_one_that_covers_most_is_chosen_then_the_newest),
        TEST(test_grant_for_another_client_is_never_chosen),
        TEST(test_two_grants_do_not_share_a_jti_and_the_same_twice_is_fine),
        TEST(test_expired_ones_are_forgotten_on_disk_too),
        TEST(test_file_that_was_changed_is_left_out),
        TEST(test_one_uid_of_a_machine_fills_a_sixteenth_and_another_has_its_own),
        TEST(test_grants_put_a_part_here_also_after_a_restart_and_their_owner_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
