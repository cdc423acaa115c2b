#include "fixture_daemon.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "crypto/digest.h"

#define PATIENCE_MS 100000 /* less than ctest has */
#define LOOK_US 300

void
fixture_begin(struct fixture *fixture, const char *hsm_uri)
{
    *fixture = (struct fixture){.config = {.consent_timeout_s = 120, .log_level = LOG_LEVEL_ERROR}};
    log_set_level(LOG_LEVEL_ERROR);
    strcpy(fixture->dir, "/tmp/ath-test-athd-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    assert_int_equal(crypto_init(), ATH_OK);
    fixture->config.state_dir = ath_strdup(fixture->dir);
    fixture->config.helper = ath_strdup(TEST_PROGRAMS "/fake_hsm_helper");
    fixture->config.prompter = ath_strdup(TEST_PROGRAMS "/fake_prompter");
    if (hsm_uri != NULL)
        assert_int_equal(config_add_hsm(&fixture->config, "one", hsm_uri, NULL), ATH_OK);
    fixture->athd.config = &fixture->config;
    fixture->athd.owner = geteuid();
    fixture->athd.loop = &fixture->athd.loop_storage;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(uv_loop_init(fixture->athd.loop), 0);
    assert_int_equal(uv_timer_init(fixture->athd.loop, &fixture->patience), 0);
    assert_int_equal(deferred_queue_init(&fixture->athd.deferred, fixture->athd.loop), ATH_OK);
    assert_int_equal(request_table_init(&fixture->athd.requests, fixture->athd.loop), ATH_OK);
    store_queue_init(&fixture->athd.stores);
    passphrase_queue_init(&fixture->athd.passphrases);
    TAILQ_INIT(&fixture->athd.readings.waiting);
    assert_int_equal(policy_open(&fixture->athd, NULL, &fixture->athd.policy), ATH_OK);
    assert_int_equal(tenants_open(&fixture->athd, NULL), ATH_OK);
    fixture->tenant = SLIST_FIRST(&fixture->athd.tenants.all);
}

static void
remove_tree(const char *path)
{
    char command[128];

    /* only ever a directory that mkdtemp made */
    assert_int_equal(strncmp(path, "/tmp/ath-test-athd-", 19), 0);
    snprintf(command, sizeof(command), "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

void
fixture_end(struct fixture *fixture)
{
    tenants_close(&fixture->athd);
    request_table_close(&fixture->athd.requests);
    deferred_queue_close(&fixture->athd.deferred);
    uv_close((uv_handle_t *)&fixture->patience, NULL);
    uv_run(fixture->athd.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(fixture->athd.loop), 0);
    tenants_free(&fixture->athd);
    policy_free(fixture->athd.policy);
    damage_done(&fixture->athd.damage);
    config_done(&fixture->config);
    remove_tree(fixture->dir);
    fake_clock_set(0);
}

static void
on_patience_over(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

void
fixture_run_until(struct fixture *fixture, const int *flag, int count)
{
    bool is_over = false;

    fixture->patience.data = &is_over;
    uv_timer_start(&fixture->patience, on_patience_over, PATIENCE_MS, 0);
    while (*flag < count && !is_over)
        uv_run(fixture->athd.loop, UV_RUN_ONCE);
    uv_timer_stop(&fixture->patience);
    assert_true(*flag >= count);
}

void
fixture_run_until_so(struct fixture *fixture, bool (*is_so)(void *ctx), void *ctx)
{
    uint64_t ends_at_ns = uv_hrtime() + PATIENCE_MS * UINT64_C(1000000);

    while (!is_so(ctx)) {
        assert_true(uv_hrtime() < ends_at_ns);
        fixture_turn(fixture);
        usleep(LOOK_US);
    }
}

void
fixture_turn(struct fixture *fixture)
{
    uv_run(fixture->athd.loop, UV_RUN_NOWAIT);
}

const char *
fixture_path(const struct fixture *fixture, const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", fixture->dir, name);
    return path;
}

char *
fixture_read(const struct fixture *fixture, const char *name)
{
    struct ath_buf text = {0};
    char *copy;

    assert_int_equal(file_read(fixture_path(fixture, name), &text, NULL), ATH_OK);
    copy = ath_slice_dup(ath_buf_slice(&text));
    ath_buf_done(&text);
    assert_non_null(copy);
    return copy;
}

static struct json *
empty_object(void)
{
    struct json_maker maker;
    struct json *object = NULL;

    json_object_begin(&maker);
    return json_maker_end(&maker, &object) == ATH_OK ? object : NULL;
}

static struct caller *
this_process(void)
{
    struct caller *caller = NULL;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    if (caller_of_socket(pair[0], &caller) != ATH_OK)
        caller = NULL;
    fd_close(&pair[0]);
    fd_close(&pair[1]);
    return caller;
}

struct request *
fixture_request(struct fixture *fixture, enum rpc_method_id method)
{
    struct request *request = calloc(1, sizeof(*request));
    struct json *params = empty_object();
    struct caller *caller = this_process();

    if (request == NULL || params == NULL || caller == NULL) {
        caller_free(caller);
        json_free(params);
        free(request);
        return NULL;
    }
    request->athd = &fixture->athd;
    request->tenant = fixture->tenant;
    request->method = method_at(method);
    request->params = params;
    request->caller = caller;
    LIST_INSERT_HEAD(&fixture->athd.requests.all, request, of_athd);
    fixture->athd.requests.count++;
    request_set_deadline(request, clock_monotonic_ms() + REQUEST_DEADLINE_MS);
    return request;
}
