#include "fixture_stores.h"

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "athd/audit_log.h"
#include "athd/hsm_pool.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "crypto/digest.h"

#include <fcntl.h>

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
    store_queue_init(&stores->athd.stores);
    assert_int_equal(deferred_queue_init(&stores->athd.deferred, &stores->loop), ATH_OK);
    assert_int_equal(audit_log_open(&stores->athd, stores->dir, NULL, &stores->athd.audit), ATH_OK);
    assert_int_equal(hsm_pool_new(&stores->athd, &stores->athd.hsms), ATH_OK); /* of no hsm */
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
