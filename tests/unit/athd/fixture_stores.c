#include "fixture_stores.h"

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "athd/audit_log.h"
#include "athd/hsm_pool.h"
#include "athd/service_store.h"
#include "base/file.h"
#include "base/log.h"
#include "crypto/digest.h"

void
stores_begin(struct stores *stores)
{
    memset(stores, 0, sizeof(*stores));
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(crypto_init(), ATH_OK);
    (void)snprintf(stores->dir, sizeof(stores->dir), "/tmp/athd-unit-XXXXXX");
    assert_non_null(mkdtemp(stores->dir));
    assert_int_equal(uv_loop_init(&stores->loop), 0);
    stores->config.state_dir = stores->dir;
    stores->athd.config = &stores->config;
    stores->athd.loop = &stores->loop;
    stores->athd.owner = geteuid();
    stores->tenant = (struct tenant){
        .athd = &stores->athd, .uid = stores->athd.owner, .dir = stores->dir};
    store_queue_init(&stores->athd.stores);
    assert_int_equal(deferred_queue_init(&stores->athd.deferred, &stores->loop), ATH_OK);
    assert_int_equal(audit_log_open(&stores->athd, stores->dir, NULL, &stores->athd.audit), ATH_OK);
    assert_int_equal(hsm_pool_new(&stores->athd, NULL, &stores->athd.hsms), ATH_OK); /* of no hsm */
}

static void
on_closed(void *ctx)
{
    (void)ctx;
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void
stores_end(struct stores *stores)
{
    struct athd *athd = &stores->athd;

    hsm_pool_close(athd->hsms, on_closed, NULL);
    audit_log_close(athd->audit, on_closed, NULL);
    uv_run(&stores->loop, UV_RUN_DEFAULT);
    deferred_queue_close(&athd->deferred);
    uv_run(&stores->loop, UV_RUN_DEFAULT);
    hsm_pool_free(athd->hsms);
    audit_log_free(athd->audit);
    damage_done(&athd->damage);
    assert_int_equal(uv_loop_close(&stores->loop), 0);
    assert_int_equal(nftw(stores->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

const char *
stores_path(const struct stores *stores, const char *name)
{
    static char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", stores->dir, name);
    return path;
}

void
stores_write(const struct stores *stores, const char *name, const char *text)
{
    FILE *file = fopen(stores_path(stores, name), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

bool
stores_has(const struct stores *stores, const char *name)
{
    return access(stores_path(stores, name), F_OK) == 0;
}

void
on_store_answer(void *ctx, ath_err err, const struct why *why)
{
    struct store_answer *answer = ctx;

    (void)why;
    assert_false(answer->has_come);
    *answer = (struct store_answer){true, err};
}

ath_err
stores_wait(struct stores *stores, struct store_answer *answer)
{
    while (!answer->has_come)
        assert_true(uv_run(&stores->loop, UV_RUN_ONCE) != 0 || answer->has_come);
    answer->has_come = false;
    return answer->err;
}

void
stores_settle(struct stores *stores)
{
    const struct store_queue *queue = &stores->athd.stores;

    while (!store_queue_is_empty(queue))
        assert_true(uv_run(&stores->loop, UV_RUN_ONCE) != 0 || store_queue_is_empty(queue));
}

struct timer_search {
    const void *owner;
    uv_timer_t *found;
};

static void
look_at_handle(uv_handle_t *handle, void *ctx)
{
    struct timer_search *search = ctx;

    if (handle->type == UV_TIMER && handle->data == search->owner)
        search->found = (uv_timer_t *)handle;
}

void
stores_fire_timer(struct stores *stores, const void *owner)
{
    struct timer_search search = {owner, NULL};
    uv_timer_cb callback;

    uv_walk(&stores->loop, look_at_handle, &search);
    assert_non_null(search.found);
    assert_true(uv_is_active((uv_handle_t *)search.found));
    callback = search.found->timer_cb;
    (void)uv_timer_stop(search.found);
    callback(search.found);
}

struct service_entry *
stores_service(const char *name, const char *rules_json)
{
    const struct json_limits limits = {65536, 8, 64, JSON_INTEGERS};
    struct service_entry *entry = calloc(1, sizeof(*entry));
    struct json *object = NULL;

    assert_int_equal(json_parse(ath_slice_of_string(rules_json), &limits, NULL, &object), ATH_OK);
    assert_int_equal(service_decode(object, NULL, &entry->rules), ATH_OK);
    assert_string_equal(entry->rules->name, name);
    json_free(object);
    entry->references = 1;
    entry->memory = calloc(1, sizeof(*entry->memory));
    entry->memory->references = 1;
    assert_int_equal(confirmation_gate_new(&entry->memory->gate), ATH_OK);
    assert_int_equal(cookie_jar_new(&entry->memory->cookies), ATH_OK);
    return entry;
}
