/* A machine's athd has room for so many keys: nobody has more than a part of them, nor more than
 * are left for others. */
#include "athd/key_store.h"

#include <stdio.h>

#include "fixture_stores.h"
#include "test_key.h"

#define FULL (KEY_STORE_MAX / KEY_STORE_TENANT_MAX) /* uids that have all they may */
#define FEW 100u
#define TENANTS (FULL + 3)

struct fixture {
    struct stores stores;
    struct tenant tenants[TENANTS];
    size_t count;
};

static struct key *
make_key(size_t number)
{
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    struct public_key *public_key = NULL;
    struct key *key = key_new();
    struct test_key *test_key;
    char name[16];

    (void)snprintf(name, sizeof(name), "key-%zu", number);
    test_key = test_key_new(TEST_KEY_P256, name);
    assert_int_equal(public_key_from_der(test_key_der(test_key), NULL, &public_key), ATH_OK);
    test_key_free(test_key);
    key->name = ath_strdup(name);
    key->hsm = ath_strdup("swtpm");
    key->role = DID_SERVER;
    key->created_at = 1790000000;
    ath_buf_put_string(&blob, "-----BEGIN TSS2 PRIVATE KEY-----\n");
    key_attach(key, &blob, (uint32_t)number + 1);
    key_set_public(key, public_key);
    return key;
}

/* A directory with so many keys; others may read it as theirs. */
static void
make_dir(struct fixture *f, const char *dir, size_t count)
{
    struct key_store *store;

    assert_int_equal(key_store_open(&f->stores.athd, stores_path(&f->stores, dir), NULL, &store),
                     ATH_OK);
    for (size_t i = 0; i < count; i++) {
        struct store_answer answer = {0};
        struct key *key = make_key(i);

        assert_int_equal(key_store_reserve(store, key->name), ATH_OK);
        assert_int_equal(key_store_put(store, key, on_store_answer, &answer), ATH_OK);
        assert_int_equal(stores_wait(&f->stores, &answer), ATH_OK);
        key_store_release(store, key->name);
        key_free(key);
    }
    key_store_free(store);
}

static struct tenant *
add_tenant(struct fixture *f, const char *dir)
{
    struct tenant *tenant = &f->tenants[f->count++];

    tenant->athd = &f->stores.athd;
    assert_int_equal(
        key_store_open(&f->stores.athd, stores_path(&f->stores, dir), NULL, &tenant->keys), ATH_OK);
    SLIST_INSERT_HEAD(&f->stores.athd.tenants.all, tenant, of_athd);
    return tenant;
}

static void
refused(const struct tenant *tenant, const char *sentence)
{
    struct why why = {{0}};

    assert_int_equal(tenant_check_key_count(tenant, &why), ATH_ERR_LIMIT_EXCEEDED);
    assert_string_equal(why.text, sentence);
}

static void
test_who_has_many_leaves_room_for_who_has_none(void **state)
{
    static struct fixture f;
    struct tenant *full = NULL, *few, *none;
    struct why why = {{0}};

    (void)state;
    stores_begin(&f.stores);
    SLIST_INIT(&f.stores.athd.tenants.all);
    f.stores.athd.config->is_system = true;
    make_dir(&f, "full", KEY_STORE_TENANT_MAX);
    make_dir(&f, "few", FEW);
    make_dir(&f, "none", 0);
    for (size_t i = 0; i < FULL - 1; i++)
        full = add_tenant(&f, "full");
    few = add_tenant(&f, "few");
    none = add_tenant(&f, "none");
    refused(full, "athd keeps 256 keys of each user at most: delete some first");
    assert_int_equal(tenant_check_key_count(few, &why), ATH_OK);
    assert_int_equal(tenant_check_key_count(none, &why), ATH_OK);

    (void)add_tenant(&f, "full"); /* room for 60 more */
    refused(few, "you have 100 keys and athd has room for 60: delete some first");
    assert_int_equal(tenant_check_key_count(none, &why), ATH_OK);

    while (f.count > 0)
        key_store_free(f.tenants[--f.count].keys);
    SLIST_INIT(&f.stores.athd.tenants.all);
    stores_end(&f.stores);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_has_many_leaves_room_for_who_has_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
