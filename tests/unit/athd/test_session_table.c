#include "athd/session_table.h"

#include "crypto/random.h"
#include "fixture_stores.h"
#include "protocol/protocol_limits.h"

#define NOW 1790000000
#define RULES                                                                                      \
    "{\"name\":\"mail\",\"key\":\"shop\",\"scopes_supported\":[\"a:b\"],\"token_max_ttl\":600,"    \
    "\"require_user_confirmation\":false,\"agents\":{},\"users\":{}}"

struct fixture {
    struct stores stores;
    struct session_table *table;
    struct service_entry *service;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    fake_clock_set(NOW);
    secret_allow_unlocked();
    stores_begin(&f->stores);
    assert_int_equal(session_table_new(&f->stores.tenant, &f->table), ATH_OK);
    f->service = stores_service("mail", RULES);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    session_table_free(f->table);
    service_entry_free(f->service);
    stores_end(&f->stores);
    fake_clock_set(0);
    free(f);
    return 0;
}

/* What a handshake leaves. */
static void
make_result(struct handshake_result *result, int64_t expires_at)
{
    *result = (struct handshake_result){.expires_at = expires_at, .access_token = {.max = 64}};
    result->peer_did = ath_strdup("did:web:peer.example");
    result->user_did = ath_strdup("did:web:user.example");
    ath_buf_put_string(&result->access_token, "token");
    assert_int_equal(scope_list_add(&result->scopes.granted, "a:b"), ATH_OK);
    assert_int_equal(ath_secret_init(&result->keys.c2s, 32), ATH_OK);
    assert_int_equal(ath_secret_init(&result->keys.s2c, 32), ATH_OK);
    memcpy(result->keys.sid, "sidsidsidsidsidsidsids", SID_LEN + 1);
}

static ath_err
add(struct fixture *f, bool is_server, uint64_t caller, int64_t expires_at,
    char ret_id[SESSION_ID_LEN + 1])
{
    struct handshake_result result;
    struct session *session = NULL;
    ath_err err;

    make_result(&result, expires_at);
    err = session_table_add(f->table, &result, is_server ? f->service : NULL, caller, &session);
    handshake_result_done(&result);
    if (err == ATH_OK && ret_id != NULL)
        memcpy(ret_id, session->id, SESSION_ID_LEN + 1);
    return err;
}

static void
test_session_ends_with_its_token_and_its_keys_are_wiped(void **state)
{
    struct fixture *f = *state;
    char id[SESSION_ID_LEN + 1];
    struct session *session = NULL;

    assert_int_equal(add(f, false, 1, NOW + 60, id), ATH_OK);
    assert_int_equal(session_table_find(f->table, id, &session), ATH_OK);
    assert_true(ath_slice_is(ath_secret_slice(&session->access_token), "token"));
    assert_int_equal(session_table_count(f->table), 1);
    fake_clock_move(59);
    assert_int_equal(session_table_find(f->table, id, &session), ATH_OK);
    fake_clock_move(1);
    assert_int_equal(session_table_find(f->table, id, &session), ATH_ERR_SESSION_EXPIRED);
    assert_null(session->channel.keys.c2s.data);
    assert_null(session->channel.keys.s2c.data);
    assert_null(session->access_token.data);
    assert_int_equal(session_table_count(f->table), 0);
    assert_int_equal(session_table_find(f->table, "nonsense", &session), ATH_ERR_SESSION_NOT_FOUND);
}

static void
test_timer_wipes_what_nobody_asks_for_and_forgets_it_later(void **state)
{
    struct fixture *f = *state;
    char id[SESSION_ID_LEN + 1], later[SESSION_ID_LEN + 1];
    struct session *session = NULL;

    assert_int_equal(add(f, true, 1, NOW + 60, id), ATH_OK);
    assert_int_equal(add(f, true, 1, NOW + 6000, later), ATH_OK);
    assert_int_equal(session_table_find(f->table, id, &session), ATH_OK);
    fake_clock_move(60);
    stores_fire_timer(&f->stores, f->table);
    assert_null(session->channel.keys.c2s.data);
    assert_int_equal(f->service->memory->sessions, 1);
    fake_clock_move(3600);
    stores_fire_timer(&f->stores, f->table);
    assert_int_equal(session_table_find(f->table, id, &session), ATH_ERR_SESSION_NOT_FOUND);
    assert_int_equal(session_table_find(f->table, later, &session), ATH_OK);
}

static void
test_caller_has_4096_sessions_and_another_one_has_its_own(void **state)
{
    struct fixture *f = *state;
    char id[SESSION_ID_LEN + 1];
    struct session *session = NULL;

    for (unsigned i = 0; i < SESSIONS_PER_CALLER; i++)
        assert_int_equal(add(f, true, 1, NOW + 60, id), ATH_OK);
    assert_int_equal(add(f, true, 1, NOW + 60, NULL), ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(add(f, true, 2, NOW + 60, NULL), ATH_OK);
    assert_int_equal(session_table_find(f->table, id, &session), ATH_OK);
    session_table_remove(f->table, session);
    assert_int_equal(add(f, true, 1, NOW + 60, NULL), ATH_OK);
}

static void
test_service_has_65536_sessions(void **state)
{
    struct fixture *f = *state;

    f->service->memory->sessions = SESSIONS_PER_SERVICE - 1;
    assert_int_equal(add(f, true, 1, NOW + 60, NULL), ATH_OK);
    assert_int_equal(add(f, true, 1, NOW + 60, NULL), ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(add(f, false, 1, NOW + 60, NULL), ATH_OK); /* a client's is no service's */
}

static void
test_sessions_of_a_deleted_service_go_with_it(void **state)
{
    struct fixture *f = *state;
    char server[SESSION_ID_LEN + 1], client[SESSION_ID_LEN + 1];
    struct session *session = NULL;

    assert_int_equal(add(f, true, 1, NOW + 60, server), ATH_OK);
    assert_int_equal(add(f, false, 1, NOW + 60, client), ATH_OK);
    session_table_remove_service(f->table, "mail");
    assert_int_equal(session_table_find(f->table, server, &session), ATH_ERR_SESSION_NOT_FOUND);
    assert_int_equal(session_table_find(f->table, client, &session), ATH_OK);
}

static void
test_nothing_is_lost_when_memory_is_short(void **state)
{
    struct fixture *f = *state;
    struct session *session = NULL;
    struct handshake_result result;
    bool failed = true;
    ath_err err;

    for (unsigned nth = 1; failed; nth++) {
        make_result(&result, NOW + 60);
        fail_allocation(nth);
        err = session_table_add(f->table, &result, f->service, 1, &session);
        failed = fail_allocation_happened();
        fail_allocation(0);
        handshake_result_done(&result);
        assert_int_equal(err, failed ? ATH_ERR_NOMEM : ATH_OK);
        assert_int_equal(session_table_count(f->table), failed ? 0 : 1);
        assert_int_equal(f->service->memory->sessions, failed ? 0 : 1);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_session_ends_with_its_token_and_its_keys_are_wiped),
        TEST(test_timer_wipes_what_nobody_asks_for_and_forgets_it_later),
        TEST(test_caller_has_4096_sessions_and_another_one_has_its_own),
        TEST(test_service_has_65536_sessions),
        TEST(test_sessions_of_a_deleted_service_go_with_it),
        TEST(test_nothing_is_lost_when_memory_is_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
