#include "athd/handshake_table.h"

#include <stdio.h>

#include "fixture_stores.h"
#include "handshake_scene.h"
#include "protocol/protocol_limits.h"

struct fixture {
    struct stores stores;
    struct handshake_table *table;
    struct service_entry *service;
    struct scene scene;
    struct key *key;
};

#define RULES                                                                                      \
    "{\"name\":\"mail\",\"key\":\"shop\",\"scopes_supported\":[\"a:b\"],\"token_max_ttl\":600,"    \
    "\"require_user_confirmation\":false,\"agents\":{},\"users\":{}}"

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    secret_allow_unlocked();
    stores_begin(&f->stores);
    assert_int_equal(handshake_table_new(&f->stores.tenant, &f->table), ATH_OK);
    f->service = stores_service("mail", RULES);
    scene_init(&f->scene, NULL);
    fake_clock_set(SCENE_NOW);
    f->key = key_new();
    f->key->name = ath_strdup("shop");
    f->key->role = DID_SERVER;
    key_set_public(f->key, public_key_ref(f->scene.server.key));
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    handshake_table_free(f->table);
    service_entry_free(f->service);
    scene_done(&f->scene);
    key_free(f->key);
    stores_end(&f->stores);
    fake_clock_set(0);
    free(f);
    return 0;
}

/* A server's handshake up to M2 (step 2) or M4 (step 4), of this source, M1's hash as given. */
static struct handshake *
add_server(struct fixture *f, int step, const char *source, const char *hello)
{
    static unsigned number;
    struct handshake *handshake = handshake_new(f->key, NULL);

    scene_run(&f->scene, step);
    handshake->server = f->scene.s;
    f->scene.s = NULL;
    handshake->service = service_entry_ref(f->service);
    handshake->source = ath_strdup(source);
    handshake->hello = ath_strdup(hello);
    (void)snprintf(handshake->id, sizeof(handshake->id), "handshake-%u", ++number);
    assert_int_equal(handshake_table_add(f->table, handshake), ATH_OK);
    handshake_free(handshake); /* the table has its own reference */
    return handshake;
}

static void
test_half_open_handshakes_are_counted_by_source_until_m3(void **state)
{
    struct fixture *f = *state;
    struct handshake *handshake = add_server(f, 2, "192.0.2.1", "h1");

    assert_int_equal(f->service->memory->half_open, 1);
    assert_int_equal(handshake_table_half_open(f->table, f->service->memory, "192.0.2.1"), 1);
    assert_int_equal(handshake_table_half_open(f->table, f->service->memory, "192.0.2.2"), 0);
    handshake_note_progress(handshake);
    assert_int_equal(f->service->memory->half_open, 1);
    f->scene.s = handshake->server;
    scene_run(&f->scene, 4);
    f->scene.s = NULL;
    handshake_note_progress(handshake);
    assert_int_equal(f->service->memory->half_open, 0);
    assert_int_equal(handshake_table_count(f->table), 1);
}

static void
test_same_m1_is_recognised_while_half_open_and_from_the_same_source(void **state)
{
    struct fixture *f = *state;
    struct handshake *handshake = add_server(f, 2, "192.0.2.1", "h1");

    assert_ptr_equal(handshake_table_find_hello(f->table, "h1", "192.0.2.1"), handshake);
    assert_null(handshake_table_find_hello(f->table, "h1", "192.0.2.2"));
    assert_null(handshake_table_find_hello(f->table, "h2", "192.0.2.1"));
    handshake_end(handshake, ATH_ERR_INVALID_SIGNATURE);
    assert_null(handshake_table_find_hello(f->table, "h1", "192.0.2.1"));
    assert_int_equal(f->service->memory->half_open, 0);
}

static void
test_half_open_handshake_times_out_after_60_s_and_is_forgotten_later(void **state)
{
    struct fixture *f = *state;
    struct handshake *handshake = add_server(f, 2, "", "h1");
    char id[HANDSHAKE_ID_LEN + 1];

    memcpy(id, handshake->id, sizeof(id));
    fake_clock_move(HALF_OPEN_LIFE_S);
    stores_fire_timer(&f->stores, f->table);
    assert_string_equal(handshake_state(handshake), "waiting");
    fake_clock_move(1);
    stores_fire_timer(&f->stores, f->table);
    assert_string_equal(handshake_state(handshake), "failed");
    assert_int_equal(handshake->ended_err, ATH_ERR_HANDSHAKE_TIMEOUT);
    assert_null(handshake->server);
    assert_int_equal(f->service->memory->half_open, 0);
    assert_int_equal(handshake_table_count(f->table), 0);
    assert_ptr_equal(handshake_table_find(f->table, id), handshake);
    fake_clock_move(HANDSHAKE_LIFE_S);
    stores_fire_timer(&f->stores, f->table);
    assert_null(handshake_table_find(f->table, id));
}

static void
test_handshake_that_is_being_worked_on_is_left_to_its_machine(void **state)
{
    struct fixture *f = *state;
    struct handshake *handshake = add_server(f, 2, "", "h1");
    struct request request = {0};

    handshake->request = &request;
    fake_clock_move(1000);
    stores_fire_timer(&f->stores, f->table);
    assert_int_equal(handshake->ended_at, 0);
    assert_non_null(handshake->server);
    handshake->request = NULL;
}

static void
test_deleted_service_ends_its_handshakes(void **state)
{
    struct fixture *f = *state;
    struct handshake *handshake = add_server(f, 4, "", "h1");

    handshake_table_abort_service(f->table, "other");
    assert_int_equal(handshake->ended_at, 0);
    handshake_table_abort_service(f->table, "mail");
    assert_string_equal(handshake_state(handshake), "failed");
    assert_null(handshake->server);
}

static void
test_client_handshake_times_out_after_120_s(void **state)
{
    struct fixture *f = *state;
    struct handshake *handshake = handshake_new(f->key, "trace");

    scene_run(&f->scene, 3);
    handshake->client = f->scene.c;
    f->scene.c = NULL;
    (void)snprintf(handshake->id, sizeof(handshake->id), "client");
    assert_int_equal(handshake_table_add(f->table, handshake), ATH_OK);
    fake_clock_move(HANDSHAKE_LIFE_S);
    stores_fire_timer(&f->stores, f->table);
    assert_int_equal(handshake->ended_at, 0);
    fake_clock_move(1);
    stores_fire_timer(&f->stores, f->table);
    assert_int_equal(handshake->ended_err, ATH_ERR_HANDSHAKE_TIMEOUT);
    handshake_free(handshake);
}

/* A client's, with a machine only while it is added. */
static struct handshake *
add_client(struct fixture *f, unsigned number, ath_err expected)
{
    struct handshake *handshake = handshake_new(f->key, NULL);

    handshake->client = f->scene.c;
    (void)snprintf(handshake->id, sizeof(handshake->id), "client-%u", number);
    assert_int_equal(handshake_table_add(f->table, handshake), expected);
    handshake->client = NULL;
    handshake_free(handshake);
    return handshake;
}

static void
test_what_has_ended_makes_room_for_what_begins(void **state)
{
    struct fixture *f = *state;
    unsigned i;

    scene_run(&f->scene, 3);
    for (i = 0; i < HANDSHAKES_ENDED_MAX; i++)
        handshake_end(add_client(f, i, ATH_OK), ATH_OK);
    (void)add_client(f, i, ATH_OK);
    assert_null(handshake_table_find(f->table, "client-0"));
    assert_non_null(handshake_table_find(f->table, "client-1"));
    assert_int_equal(handshake_table_count(f->table), 1);
    for (i = 0; i < HANDSHAKES_PER_CALLER - 1; i++)
        (void)add_client(f, HANDSHAKES_MAX + 1 + i, ATH_OK);
    handshake_end(handshake_table_find(f->table, "client-4096"), ATH_ERR_HANDSHAKE_TIMEOUT);
    (void)add_client(f, 100000, ATH_OK); /* those that have ended do not count */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_half_open_handshakes_are_counted_by_source_until_m3),
        TEST(test_same_m1_is_recognised_while_half_open_and_from_the_same_source),
        TEST(test_half_open_handshake_times_out_after_60_s_and_is_forgotten_later),
        TEST(test_handshake_that_is_being_worked_on_is_left_to_its_machine),
        TEST(test_deleted_service_ends_its_handshakes),
        TEST(test_client_handshake_times_out_after_120_s),
        TEST(test_what_has_ended_makes_room_for_what_begins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
