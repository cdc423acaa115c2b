#include "athd/service_store.h"

#include <stdio.h>

#include "fixture_stores.h"

struct fixture {
    struct stores stores;
    struct service_store *store;
};

static void
open_store(struct fixture *f)
{
    assert_int_equal(
        service_store_open(&f->stores.athd, stores_path(&f->stores, "services"), NULL, &f->store),
        ATH_OK);
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

    service_store_free(f->store);
    stores_end(&f->stores);
    free(f);
    return 0;
}

static struct service *
make_rules(const char *name, const char *key, int ttl)
{
    const struct json_limits limits = {4096, 8, 64, JSON_INTEGERS};
    struct service *rules = NULL;
    struct json *object = NULL;
    char text[512];

    (void)snprintf(
        text, sizeof(text),
        "{\"name\":\"%s\",\"key\":\"%s\",\"scopes_supported\":[\"a:b\"],\"token_max_ttl\":%d,"
        "\"require_user_confirmation\":false,\"agents\":{\"*\":[\"a:b\"]},\"users\":{\"*\":\"x\"}}",
        name, key, ttl);
    assert_int_equal(json_parse(ath_slice_of_string(text), &limits, NULL, &object), ATH_OK);
    assert_int_equal(service_decode(object, NULL, &rules), ATH_OK);
    json_free(object);
    return rules;
}

static ath_err
put(struct fixture *f, const char *name, const char *key, int ttl)
{
    struct store_answer answer = {0};
    ath_err err = service_store_put(f->store, make_rules(name, key, ttl), on_store_answer, &answer);

    return err != ATH_OK ? err : stores_wait(&f->stores, &answer);
}

static void
test_service_is_the_same_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct service_entry *entry;

    assert_int_equal(put(f, "mail", "shop", 600), ATH_OK);
    stores_settle(&f->stores);
    service_store_free(f->store);
    open_store(f);
    entry = service_store_find(f->store, "mail");
    assert_non_null(entry);
    assert_string_equal(entry->rules->key, "shop");
    assert_int_equal(entry->rules->token_max_ttl, 600);
    assert_non_null(service_account_of(entry->rules, "did:web:x"));
}

static void
test_new_rules_leave_a_running_handshake_the_old_ones_and_the_memory(void **state)
{
    struct fixture *f = *state;
    struct service_entry *old;

    assert_int_equal(put(f, "mail", "shop", 600), ATH_OK);
    old = service_entry_ref(service_store_find(f->store, "mail"));
    assert_int_equal(put(f, "mail", "shop", 60), ATH_OK);
    assert_int_equal(old->rules->token_max_ttl, 600);
    assert_int_equal(service_store_find(f->store, "mail")->rules->token_max_ttl, 60);
    assert_ptr_equal(old->memory, service_store_find(f->store, "mail")->memory);
    service_entry_free(old);
}

static void
test_server_key_belongs_to_one_service_only(void **state)
{
    struct fixture *f = *state;
    struct store_answer answer = {0}, other = {0};

    assert_int_equal(put(f, "mail", "shop", 600), ATH_OK);
    assert_int_equal(put(f, "files", "shop", 600), ATH_ERR_EXISTS);
    /* also of two that are written at the same time */
    assert_int_equal(
        service_store_put(f->store, make_rules("a", "k", 60), on_store_answer, &answer), ATH_OK);
    assert_int_equal(service_store_put(f->store, make_rules("b", "k", 60), NULL, NULL),
                     ATH_ERR_EXISTS);
    assert_int_equal(service_store_put(f->store, make_rules("a", "k", 61), on_store_answer, &other),
                     ATH_OK);
    assert_int_equal(stores_wait(&f->stores, &answer), ATH_OK);
    assert_int_equal(stores_wait(&f->stores, &other), ATH_OK);
    assert_int_equal(service_store_find(f->store, "a")->rules->token_max_ttl, 61);
}

static void
test_deleted_service_frees_its_key_and_stays_deleted(void **state)
{
    struct fixture *f = *state;
    struct store_answer answer = {0}, written = {0};

    assert_int_equal(put(f, "mail", "shop", 600), ATH_OK);
    assert_int_equal(
        service_store_put(f->store, make_rules("mail", "shop", 60), on_store_answer, &written),
        ATH_OK);
    assert_int_equal(service_store_remove(f->store, "mail", on_store_answer, &answer), ATH_OK);
    assert_null(service_store_find(f->store, "mail"));
    assert_int_equal(stores_wait(&f->stores, &written), ATH_OK);
    assert_int_equal(stores_wait(&f->stores, &answer), ATH_OK);
    assert_null(service_store_find(f->store, "mail"));
    assert_int_equal(service_store_remove(f->store, "mail", NULL, NULL), ATH_ERR_NOT_FOUND);
    assert_int_equal(put(f, "files", "shop", 600), ATH_OK);
    assert_false(stores_has(&f->stores, "services/mail.json"));
}

static void
test_damaged_file_holds_up_nothing_else(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f, "mail", "shop", 600), ATH_OK);
    stores_write(&f->stores, "services/bad.json", "{}");
    stores_settle(&f->stores);
    service_store_free(f->store);
    open_store(f);
    assert_non_null(service_store_find(f->store, "mail"));
    assert_null(service_store_find(f->store, "bad"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_service_is_the_same_after_a_restart),
        TEST(test_new_rules_leave_a_running_handshake_the_old_ones_and_the_memory),
        TEST(test_server_key_belongs_to_one_service_only),
        TEST(test_deleted_service_frees_its_key_and_stays_deleted),
        TEST(test_damaged_file_holds_up_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
