#include "athd/hsm_pool.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/hsm_key_login.h"
#include "base/clock.h"
#include "base/file.h"

#define TICK_MS 100u
#define CLOSE_MS 2000u /* for the helpers to shut their hardware down */

struct hsm_pool {
    struct athd *athd;
    struct hsm_unit units[CONFIG_HSMS_MAX];
    size_t count;
    uint32_t next_key;
    struct hsm_throttles *throttles;
    void (*opened)(void *ctx); /* NULL: nobody watches */
    void *opened_ctx;
    uv_timer_t tick;
    void (*closed)(void *ctx);
    void *closed_ctx;
    uint64_t close_at_ms;
    bool is_shut; /* locked */
};

/* ---- time ---- */

static void
finish_close(struct hsm_pool *pool)
{
    void (*closed)(void *) = pool->closed;

    pool->closed = NULL;
    uv_close((uv_handle_t *)&pool->tick, NULL);
    closed(pool->closed_ctx);
}

static void
tick_closing(struct hsm_pool *pool, uint64_t now_ms)
{
    bool all_gone = true;
    size_t i;

    for (i = 0; i < pool->count; i++) {
        if (hsm_unit_is_gone(&pool->units[i]))
            continue;
        all_gone = false;
        if (now_ms - pool->close_at_ms >= CLOSE_MS)
            hsm_unit_leave(&pool->units[i], true);
    }
    if (all_gone)
        finish_close(pool);
}

static void
on_tick(uv_timer_t *timer)
{
    struct hsm_pool *pool = timer->data;
    uint64_t now_ms = clock_monotonic_ms();
    bool again = false;
    size_t i;

    if (pool->closed != NULL) {
        tick_closing(pool, now_ms);
        return;
    }
    for (i = 0; i < pool->count; i++) {
        hsm_unit_tick(&pool->units[i], now_ms);
        again = again || hsm_unit_wants_ticks(&pool->units[i]);
    }
    if (!again)
        uv_timer_stop(timer);
}

void
hsm_pool_want_ticks(struct hsm_pool *pool)
{
    if (!uv_is_active((uv_handle_t *)&pool->tick) && !uv_is_closing((uv_handle_t *)&pool->tick))
        uv_timer_start(&pool->tick, on_tick, TICK_MS, TICK_MS);
}

void
hsm_pool_pump_others(struct hsm_pool *pool, const struct hsm_unit *unit)
{
    for (size_t i = 0; i < pool->count; i++)
        if (&pool->units[i] != unit)
            hsm_unit_pump(&pool->units[i]);
}

/* ---- life ---- */

ath_err
hsm_pool_new(struct athd *athd, struct why *why, struct hsm_pool **ret_pool)
{
    const struct config *config = athd->config;
    struct hsm_pool *pool = calloc(1, sizeof(*pool));
    char *dir = file_path(config->state_dir, "pins");
    ath_err err = ATH_ERR_NOMEM;
    size_t i;

    if (pool == NULL || dir == NULL ||
        (err = hsm_throttle_open(athd, dir, why, &pool->throttles)) != ATH_OK)
        goto out;
    pool->athd = athd;
    err = ATH_ERR_NOMEM; /* cannot be with libuv 1.44: these only fill the handles in */
    if (uv_timer_init(athd->loop, &pool->tick) != 0)
        goto out;
    pool->tick.data = pool;
    for (i = 0; i < config->hsm_count; i++)
        if (hsm_unit_init(&pool->units[i], athd, pool, &config->hsms[i]) == ATH_OK)
            pool->count++;
    *ret_pool = pool;
    pool = NULL;
    err = ATH_OK;
out:
    if (pool != NULL)
        hsm_throttle_free(pool->throttles);
    free(pool);
    free(dir);
    return err;
}

struct hsm_throttles *
hsm_pool_throttles(const struct hsm_pool *pool)
{
    return pool->throttles;
}

void
hsm_pool_start(struct hsm_pool *pool)
{
    size_t i;

    for (i = 0; i < pool->count; i++)
        hsm_unit_start(&pool->units[i]);
}

void
hsm_pool_close(struct hsm_pool *pool, void (*done)(void *ctx), void *ctx)
{
    size_t i;

    pool->closed = done;
    pool->closed_ctx = ctx;
    pool->close_at_ms = clock_monotonic_ms();
    for (i = 0; i < pool->count; i++)
        hsm_unit_close(&pool->units[i]);
    uv_timer_start(&pool->tick, on_tick, 0, TICK_MS / 10);
}

void
hsm_pool_free(struct hsm_pool *pool)
{
    size_t i;

    if (pool == NULL)
        return;
    for (i = 0; i < pool->count; i++)
        hsm_unit_done(&pool->units[i]);
    hsm_throttle_free(pool->throttles);
    free(pool);
}

/* ---- locked ---- */

void
hsm_pool_shut(struct hsm_pool *pool, bool is_shut)
{
    pool->is_shut = is_shut;
    for (size_t i = 0; i < pool->count; i++) {
        if (is_shut) {
            hsm_login_shut(&pool->units[i]);
            hsm_key_login_shut(&pool->units[i], NULL);
        } else {
            hsm_unit_pump(&pool->units[i]);
        }
    }
}

void
hsm_pool_forget_pins(struct hsm_pool *pool, const struct tenant *tenant)
{
    for (size_t i = 0; i < pool->count; i++)
        hsm_key_login_shut(&pool->units[i], tenant);
}

bool
hsm_pool_is_shut(const struct hsm_pool *pool)
{
    return pool->is_shut;
}

/* ---- hsms by name ---- */

struct hsm_unit *
hsm_pool_find_unit(struct hsm_pool *pool, const char *name)
{
    size_t i;

    for (i = 0; name != NULL && i < pool->count; i++)
        if (strcmp(pool->units[i].name, name) == 0)
            return &pool->units[i];
    return NULL;
}

const char *
hsm_pool_find(const struct hsm_pool *pool, const char *name)
{
    size_t i;

    for (i = 0; i < pool->count; i++)
        if (name == NULL || strcmp(pool->units[i].name, name) == 0)
            return pool->units[i].name;
    return NULL;
}

uint32_t
hsm_pool_next_key_number(struct hsm_pool *pool)
{
    return ++pool->next_key;
}

/* ---- facts ---- */

uint64_t
hsm_pool_wait_ms(const struct hsm_pool *pool, const char *hsm, uint64_t caller_identity)
{
    size_t i;

    for (i = 0; i < pool->count; i++) {
        const struct hsm_unit *unit = &pool->units[i];

        if (strcmp(unit->name, hsm) == 0)
            return (hsm_queue_ahead_of_late(&unit->queue, caller_identity) + unit->flying_count) *
                   unit->service_us / unit->parallel / 1000;
    }
    return 0;
}

void
hsm_pool_describe(const struct hsm_pool *pool, const char *hsm, const char **ret_kind,
                  bool *ret_software)
{
    size_t i;

    *ret_kind = "";
    *ret_software = false;
    for (i = 0; i < pool->count; i++) {
        if (strcmp(pool->units[i].name, hsm) != 0)
            continue;
        *ret_kind = pool->units[i].kind;
        *ret_software = pool->units[i].software;
    }
}

static const struct hsm_unit *
find_const(const struct hsm_pool *pool, const char *name)
{
    size_t i;

    for (i = 0; i < pool->count; i++)
        if (strcmp(pool->units[i].name, name) == 0)
            return &pool->units[i];
    return NULL;
}

bool
hsm_pool_is_token(const struct hsm_pool *pool, const char *hsm)
{
    const struct hsm_unit *unit = find_const(pool, hsm);

    return unit != NULL && unit->is_token;
}

bool
hsm_pool_is_open(const struct hsm_pool *pool, const char *hsm)
{
    const struct hsm_unit *unit = find_const(pool, hsm);

    return unit != NULL && unit->is_open && unit->state == HSM_UNIT_READY;
}

void
hsm_pool_watch(struct hsm_pool *pool, void (*opened)(void *ctx), void *ctx)
{
    pool->opened = opened;
    pool->opened_ctx = ctx;
}

void
hsm_pool_note_open(struct hsm_pool *pool)
{
    if (pool->opened != NULL && pool->closed == NULL)
        pool->opened(pool->opened_ctx);
}

bool
hsm_pool_needs_pin(const struct hsm_pool *pool, const char *hsm)
{
    const struct hsm_unit *unit = find_const(pool, hsm);

    return unit != NULL && unit->login.kind != HSM_LOGIN_NONE;
}

/* What only one of them says is no contradiction. */
static bool
may_be_same(const char *a, const char *b)
{
    return a[0] == '\0' || b[0] == '\0' || strcmp(a, b) == 0;
}

/* By its configuration, and by what is written on it as far as it has been seen. */
static bool
may_be_of(const struct hsm_unit *unit, const struct pkcs11_uri *key)
{
    struct pkcs11_uri own;

    return pkcs11_uri_parse(ath_slice_of_string(unit->uri), NULL, &own) == ATH_OK &&
           may_be_same(own.token, key->token) && may_be_same(own.serial, key->serial) &&
           may_be_same(own.manufacturer, key->manufacturer) && may_be_same(own.model, key->model) &&
           may_be_same(unit->serial, key->serial);
}

const char *
hsm_pool_find_token(const struct hsm_pool *pool, const struct pkcs11_uri *key)
{
    size_t i;

    for (i = 0; i < pool->count; i++)
        if (may_be_of(&pool->units[i], key))
            return pool->units[i].name;
    return NULL;
}

bool
hsm_pool_has_counter(const struct hsm_pool *pool, const char *hsm)
{
    size_t i;

    for (i = 0; i < pool->count; i++)
        if (strcmp(pool->units[i].name, hsm) == 0)
            return pool->units[i].has_counter;
    return false;
}

ath_err
hsm_pool_status(const struct hsm_pool *pool, struct json **ret_array)
{
    struct json_maker array;
    size_t i;

    json_array_begin(&array);
    for (i = 0; i < pool->count; i++)
        hsm_unit_put_status(&pool->units[i], &array);
    return json_maker_end(&array, ret_array);
}
