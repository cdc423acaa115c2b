#include "athd/peer_store.h"

#include "fixture_stores.h"
#include "test_key.h"

#define ORIGIN "https://mail.example"

struct fixture {
    struct stores stores;
    struct peer_store *store;
    struct public_key *one, *two;
};

static void
open_store(struct fixture *f)
{
    assert_int_equal(
        peer_store_open(&f->stores.athd, stores_path(&f->stores, "peers"), NULL, &f->store),
        ATH_OK);
}

static struct public_key *
make_public_key(const char *name)
{
    struct test_key *pair = test_key_new(TEST_KEY_P256, name);
    struct public_key *key = NULL;

    assert_int_equal(public_key_from_der(test_key_der(pair), NULL, &key), ATH_OK);
    test_key_free(pair);
    return key;
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    stores_begin(&f->stores);
    open_store(f);
    f->one = make_public_key("one");
    f->two = make_public_key("two");
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    public_key_free(f->one);
    public_key_free(f->two);
    peer_store_free(f->store);
    stores_end(&f->stores);
    free(f);
    return 0;
}

static void
pin(struct fixture *f, const char *did, const struct public_key *key, const char *origin,
    int64_t now)
{
    struct store_answer answer = {0};
    struct peer *peer = NULL;

    assert_int_equal(peer_new(did, key, origin, "name", now, &peer), ATH_OK);
    assert_int_equal(peer_store_put(f->store, peer, on_store_answer, &answer), ATH_OK);
    assert_int_equal(stores_wait(&f->stores, &answer), ATH_OK);
}

static void
restart(struct fixture *f)
{
    stores_settle(&f->stores);
    peer_store_free(f->store);
    open_store(f);
}

static void
test_pin_is_the_same_after_a_restart(void **state)
{
    struct fixture *f = *state;
    const struct peer *peer;
    struct did_pins pins;

    pin(f, "did:web:mail.example", f->one, ORIGIN, 100);
    restart(f);
    peer = peer_store_find(f->store, "did:web:mail.example");
    assert_non_null(peer);
    assert_string_equal(peer->origin, ORIGIN);
    assert_string_equal(peer->name, "name");
    assert_int_equal(peer->pinned_at, 100);
    assert_ptr_equal(peer_store_find_origin(f->store, ORIGIN), peer);
    pins = peer_store_pins(f->store);
    assert_true(public_key_equal(pins.key_of(pins.ctx, "did:web:mail.example"), f->one));
    assert_null(pins.key_of(pins.ctx, "did:web:other.example"));
}

static void
test_protocol_layer_takes_the_pinned_key_and_no_other(void **state)
{
    struct fixture *f = *state;
    struct did_pins pins = peer_store_pins(f->store);

    assert_int_equal(did_check("did:web:x.example", DID_SERVER, f->one, &pins, NULL),
                     ATH_ERR_UNKNOWN_PEER);
    pin(f, "did:web:x.example", f->one, NULL, 100);
    assert_int_equal(did_check("did:web:x.example", DID_SERVER, f->one, &pins, NULL), ATH_OK);
    assert_int_equal(did_check("did:web:x.example", DID_SERVER, f->two, &pins, NULL),
                     ATH_ERR_PEER_KEY_CHANGED);
    pin(f, "did:web:x.example", f->two, NULL, 101);
    assert_int_equal(did_check("did:web:x.example", DID_SERVER, f->two, &pins, NULL), ATH_OK);
}

static void
test_origin_belongs_to_the_newest_pin_also_after_a_restart(void **state)
{
    struct fixture *f = *state;

    pin(f, "did:web:old.example", f->one, ORIGIN, 100);
    pin(f, "did:web:new.example", f->two, ORIGIN, 200);
    assert_string_equal(peer_store_find_origin(f->store, ORIGIN)->did, "did:web:new.example");
    restart(f);
    assert_string_equal(peer_store_find_origin(f->store, ORIGIN)->did, "did:web:new.example");
    pin(f, "did:web:new.example", f->two, NULL, 300);
    assert_null(peer_store_find_origin(f->store, ORIGIN));
}

static void
test_origin_does_not_go_back_to_an_older_pin_when_the_newer_one_is_removed(void **state)
{
    struct fixture *f = *state;
    struct store_answer answer = {0};

    pin(f, "did:web:old.example", f->one, ORIGIN, 100);
    pin(f, "did:web:new.example", f->two, ORIGIN, 100); /* in the same second */
    assert_null(peer_store_find(f->store, "did:web:old.example")->origin);
    assert_int_equal(peer_store_remove(f->store, "did:web:new.example", on_store_answer, &answer),
                     ATH_OK);
    assert_int_equal(stores_wait(&f->stores, &answer), ATH_OK);
    restart(f);
    assert_null(peer_store_find_origin(f->store, ORIGIN));
    assert_non_null(peer_store_find(f->store, "did:web:old.example"));
}

static void
test_removed_pin_is_gone_from_disk_and_its_origin_with_it(void **state)
{
    struct fixture *f = *state;
    struct store_answer answer = {0};

    pin(f, "did:web:x.example", f->one, ORIGIN, 100);
    assert_int_equal(peer_store_remove(f->store, "did:web:x.example", on_store_answer, &answer),
                     ATH_OK);
    assert_null(peer_store_find_origin(f->store, ORIGIN));
    assert_int_equal(stores_wait(&f->stores, &answer), ATH_OK);
    assert_int_equal(peer_store_remove(f->store, "did:web:x.example", NULL, NULL),
                     ATH_ERR_NOT_FOUND);
    restart(f);
    assert_null(peer_store_find(f->store, "did:web:x.example"));
}

static void
test_pin_that_is_removed_while_it_is_written_stays_removed(void **state)
{
    struct fixture *f = *state;
    struct store_answer written = {0}, removed = {0};
    struct peer *peer = NULL;

    pin(f, "did:web:x.example", f->one, NULL, 100);
    assert_int_equal(peer_new("did:web:x.example", f->two, NULL, NULL, 200, &peer), ATH_OK);
    assert_int_equal(peer_store_put(f->store, peer, on_store_answer, &written), ATH_OK);
    assert_int_equal(peer_store_remove(f->store, "did:web:x.example", on_store_answer, &removed),
                     ATH_OK);
    assert_int_equal(stores_wait(&f->stores, &written), ATH_OK);
    assert_int_equal(stores_wait(&f->stores, &removed), ATH_OK);
    assert_null(peer_store_find(f->store, "did:web:x.example"));
    restart(f);
    assert_null(peer_store_find(f->store, "did:web:x.example"));
}

static void
test_damaged_file_holds_up_nothing_else(void **state)
{
    struct fixture *f = *state;

    pin(f, "did:web:x.example", f->one, NULL, 100);
    stores_write(&f->stores, "peers/bad.json",
                 "{\"did\":\"did:web:y.example\",\"pinned_at\":1,\"origin\":\"y\"}");
    restart(f);
    assert_non_null(peer_store_find(f->store, "did:web:x.example"));
    assert_null(peer_store_find(f->store, "did:web:y.example"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pin_is_the_same_after_a_restart),
        TEST(test_protocol_layer_takes_the_pinned_key_and_no_other),
        TEST(test_origin_belongs_to_the_newest_pin_also_after_a_restart),
        TEST(test_origin_does_not_go_back_to_an_older_pin_when_the_newer_one_is_removed),
        TEST(test_removed_pin_is_gone_from_disk_and_its_origin_with_it),
        TEST(test_pin_that_is_removed_while_it_is_written_stays_removed),
        TEST(test_damaged_file_holds_up_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
