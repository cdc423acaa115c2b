#include "athd/key_store.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/file.h"
#include "fixture_stores.h"
#include "protocol/identity_document.h"
#include "test_key.h"

struct fixture {
    struct stores stores;
    struct key_store *store;
};

static void
open_store(struct fixture *f)
{
    assert_int_equal(
        key_store_open(&f->stores.athd, stores_path(&f->stores, "keys"), NULL, &f->store), ATH_OK);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    stores_begin(&f->stores);
    open_store(f);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    key_store_free(f->store);
    stores_end(&f->stores);
    free(f);
    return 0;
}

static void
restart(struct fixture *f)
{
    stores_settle(&f->stores);
    key_store_free(f->store);
    open_store(f);
}

/* A key as key.create makes it; `pair` names its key pair. */
static struct key *
make_key(const char *name, enum did_role role, const char *pair)
{
    struct test_key *test_key = test_key_new(TEST_KEY_P256, pair);
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    struct public_key *public_key = NULL;
    struct key *key = key_new();

    assert_int_equal(public_key_from_der(test_key_der(test_key), NULL, &public_key), ATH_OK);
    test_key_free(test_key);
    key->name = ath_strdup(name);
    key->hsm = ath_strdup("swtpm");
    key->role = role;
    key->created_at = 1790000000;
    key->confirm = KEY_CONFIRM_SESSION;
    key->facts = (struct hsm_key_facts){.generated_inside = true, .fixed_tpm = true, .da = true};
    key->software = true;
    ath_buf_put_string(&blob, "-----BEGIN TSS2 PRIVATE KEY-----\n");
    key_attach(key, &blob, 1);
    key_set_public(key, public_key);
    return key;
}

static ath_err
put(struct fixture *f, struct key *key)
{
    struct store_answer answer = {0};
    ath_err err = key_store_put(f->store, key, on_store_answer, &answer);

    return err != ATH_OK ? err : stores_wait(&f->stores, &answer);
}

static void
put_named(struct fixture *f, const char *name, const char *pair)
{
    struct key *key = make_key(name, DID_CLIENT, pair);

    assert_int_equal(key_store_reserve(f->store, name), ATH_OK);
    assert_int_equal(put(f, key), ATH_OK);
    key_store_release(f->store, name);
    key_free(key);
}

static void
test_key_is_the_same_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct key *key = make_key("agent.1@home", DID_CLIENT, "a"), *found;
    struct json *before = NULL, *after = NULL;
    struct stat st;

    key->agent_id = ath_strdup("https://agent.example/agent.json");
    key->display.name = ath_strdup("Agent");
    key->expires_at = 1890000000;
    assert_int_equal(key_store_reserve(f->store, key->name), ATH_OK);
    assert_int_equal(put(f, key), ATH_OK);
    assert_ptr_equal(key_store_find(f->store, "agent.1@home"), key);
    assert_int_equal(key_info(key, NULL, &before), ATH_OK);
    key_free(key);
    restart(f);
    found = key_store_find(f->store, "agent.1@home");
    assert_non_null(found);
    assert_int_equal(key_info(found, NULL, &after), ATH_OK);
    assert_true(json_equal(before, after));
    assert_true(ath_slice_is(found->ref.blob, "-----BEGIN TSS2 PRIVATE KEY-----\n"));
    assert_ptr_equal(key_store_find_did(f->store, found->did), found);
    assert_ptr_equal(key_store_find_public(f->store, found->public_key), found);
    assert_int_equal(stat(stores_path(&f->stores, "keys/agent.1@home.pem"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    json_free(before);
    json_free(after);
}

/* A token's key: its URI is in the JSON, which is the only file. */
static void
test_key_of_a_token_is_one_file_and_the_same_after_a_restart(void **state)
{
    static const char uri[] = "pkcs11:token=t;serial=01;id=%01;object=card";
    struct fixture *f = *state;
    struct key *key = make_key("card", DID_CLIENT, "a"), *found;
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    struct json *info = NULL;
    struct hsm_key_facts facts = {.generated_inside = true, .always_authenticate = true};
    struct stat st;

    ath_buf_put_string(&blob, uri);
    key_attach(key, &blob, 7);
    key_set_facts(key, &facts);
    key->is_token = key->pin = true;
    assert_int_equal(key_store_reserve(f->store, "card"), ATH_OK);
    assert_int_equal(put(f, key), ATH_OK);
    key_store_release(f->store, "card");
    key_free(key);
    assert_int_equal(stat(stores_path(&f->stores, "keys/card.json"), &st), 0);
    assert_int_not_equal(stat(stores_path(&f->stores, "keys/card.pem"), &st), 0);
    restart(f);
    assert_non_null(found = key_store_find(f->store, "card"));
    assert_true(found->is_token && found->pin && found->ref.wants_pin);
    assert_int_equal(found->ref.blob.len, strlen(uri));
    assert_memory_equal(found->ref.blob.data, uri, strlen(uri));
    assert_int_equal(key_info(found, NULL, &info), ATH_OK);
    assert_string_equal(json_get_string(info, "hsm_kind"), "pkcs11");
    assert_string_equal(json_get_string(info, "uri"), uri);
    assert_true(json_is_true(json_get(json_get(info, "hardware"), "always_authenticate")));
    assert_null(json_get(json_get(info, "hardware"), "fixed_tpm"));
    json_free(info);
}

static void
test_name_is_given_away_once(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(key_store_reserve(f->store, "agent"), ATH_OK);
    assert_int_equal(key_store_reserve(f->store, "agent"), ATH_ERR_KEY_EXISTS);
    key_store_release(f->store, "agent");
    put_named(f, "agent", "a");
    assert_int_equal(key_store_reserve(f->store, "agent"), ATH_ERR_KEY_EXISTS);
}

static void
test_one_key_does_not_get_two_names(void **state)
{
    struct fixture *f = *state;
    struct key *first = make_key("first", DID_CLIENT, "same"),
               *second = make_key("second", DID_SERVER, "same");
    struct key *third = make_key("third", DID_CLIENT, "same");
    struct store_answer answer = {0};

    assert_int_equal(key_store_put(f->store, first, on_store_answer, &answer), ATH_OK);
    assert_int_equal(key_store_put(f->store, third, NULL, NULL),
                     ATH_ERR_KEY_EXISTS); /* at the same time */
    assert_int_equal(stores_wait(&f->stores, &answer), ATH_OK);
    assert_int_equal(put(f, second), ATH_ERR_KEY_EXISTS); /* in another role */
    assert_int_equal(key_store_count(f->store), 1);
    key_free(first);
    key_free(second);
    key_free(third);
}

static void
test_deleted_key_is_gone_from_disk_and_the_name_is_free(void **state)
{
    struct fixture *f = *state;
    struct store_answer answer = {0};
    struct key *key;

    put_named(f, "agent", "a");
    key = key_ref(key_store_find(f->store, "agent"));
    assert_int_equal(key_store_remove(f->store, key, on_store_answer, &answer), ATH_OK);
    assert_null(key_store_find(f->store, "agent"));
    assert_string_equal(key->name, "agent"); /* whoever still uses it may */
    key_free(key);
    assert_int_equal(stores_wait(&f->stores, &answer), ATH_OK);
    assert_false(stores_has(&f->stores, "keys/agent.json"));
    assert_false(stores_has(&f->stores, "keys/agent.pem"));
    put_named(f, "agent", "b");
}

static void
assert_report(const struct fixture *f, const char *list, const char *name)
{
    struct json *report = NULL;

    assert_int_equal(key_store_report(f->store, &report), ATH_OK);
    assert_int_equal(json_count(json_get(report, list)), 1);
    assert_string_equal(json_string(json_first(json_get(report, list))), name);
    json_free(report);
}

static void
test_lone_pem_is_reported_and_kept_even_if_its_name_is_wanted(void **state)
{
    struct fixture *f = *state;
    struct json *report = NULL;
    const char *kept;
    char path[128];

    stores_write(&f->stores, "keys/lost.pem", "lost key");
    restart(f);
    assert_report(f, "orphans", "lost");
    put_named(f, "lost", "a");
    assert_int_equal(key_store_report(f->store, &report), ATH_OK);
    kept = json_string(json_first(json_get(report, "orphans")));
    assert_string_not_equal(kept, "lost");
    (void)snprintf(path, sizeof(path), "keys/%s.pem", kept);
    assert_true(stores_has(&f->stores, path));
    json_free(report);
    restart(f);
    assert_non_null(key_store_find(f->store, "lost"));
}

static void
test_damaged_files_hold_up_nothing_else_and_are_not_written_over(void **state)
{
    struct fixture *f = *state;
    struct json *report = NULL;

    put_named(f, "good", "a");
    stores_write(&f->stores, "keys/bad.json", "{\"version\":1,");
    stores_write(&f->stores, "keys/bad.pem", "its key");
    stores_write(&f->stores, "keys/empty.json", "");
    stores_write(&f->stores, "keys/list.json", "[]");
    restart(f);
    assert_int_equal(key_store_count(f->store), 1);
    assert_non_null(key_store_find(f->store, "good"));
    assert_int_equal(key_store_reserve(f->store, "bad"), ATH_ERR_KEY_EXISTS);
    assert_int_equal(key_store_report(f->store, &report), ATH_OK);
    assert_int_equal(json_count(json_get(report, "damaged")), 3);
    assert_int_equal(json_count(json_get(report, "orphans")), 0);
    json_free(report);
}

static void
test_file_whose_did_or_name_does_not_fit_is_damaged(void **state)
{
    struct fixture *f = *state;
    struct ath_buf text = {.max = 65536};
    char *changed, *at;

    put_named(f, "good", "a");
    assert_int_equal(file_read(stores_path(&f->stores, "keys/good.json"), &text, NULL), ATH_OK);
    stores_write(&f->stores, "keys/copy.json", ath_buf_text(&text));
    stores_write(&f->stores, "keys/copy.pem", "x");
    changed = ath_strdup(ath_buf_text(&text));
    at = strstr(changed, "did:ath:client_");
    assert_non_null(at);
    at[15] = at[15] == 'A' ? 'B' : 'A';
    stores_write(&f->stores, "keys/good.json", changed);
    restart(f);
    assert_int_equal(key_store_count(f->store), 0);
    free(changed);
    ath_buf_done(&text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void
test_more_keys_than_a_helper_knows_are_refused(void **state)
{
    struct fixture *f = *state;
    char name[32];
    unsigned i;

    for (i = 0; i < KEY_STORE_MAX; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        assert_int_equal(key_store_reserve(f->store, name), ATH_OK);
    }
    assert_int_equal(key_store_reserve(f->store, "k1"), ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(key_store_reserve(f->store, "more"), ATH_ERR_LIMIT_EXCEEDED);
    key_store_release(f->store, "k1");
    assert_int_equal(key_store_reserve(f->store, "more"), ATH_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_key_is_the_same_after_a_restart),
        TEST(test_key_of_a_token_is_one_file_and_the_same_after_a_restart),
        TEST(test_name_is_given_away_once),
        TEST(test_one_key_does_not_get_two_names),
        TEST(test_deleted_key_is_gone_from_disk_and_the_name_is_free),
        TEST(test_lone_pem_is_reported_and_kept_even_if_its_name_is_wanted),
        TEST(test_damaged_files_hold_up_nothing_else_and_are_not_written_over),
        TEST(test_file_whose_did_or_name_does_not_fit_is_damaged),
        cmocka_unit_test_setup_teardown(test_more_keys_than_a_helper_knows_are_refused, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
