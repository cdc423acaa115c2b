#include "athd/store.h"

#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "base/file.h"

#define RUNNING_MAX 4u /* libuv's threads */
#define STEPS_MAX 2

/* One call: one or two steps, each a file replaced or removed. */
struct store_operation {
    struct athd *athd;
    uv_work_t work;
    TAILQ_ENTRY(store_operation) entry;
    char *paths[STEPS_MAX];
    struct ath_buf contents[STEPS_MAX];
    bool is_removal;
    bool is_running;
    ath_err err;
    struct why why;
    store_done_fn *done;
    void *ctx;
};

void
store_queue_init(struct store_queue *queue)
{
    TAILQ_INIT(&queue->operations);
    queue->len = queue->running = 0;
}

bool
store_queue_is_empty(const struct store_queue *queue)
{
    return queue->len == 0;
}

static void
operation_free(struct store_operation *operation)
{
    size_t i;

    for (i = 0; i < STEPS_MAX; i++) {
        free(operation->paths[i]);
        ath_buf_done(&operation->contents[i]);
    }
    free(operation);
}

/* ---- in a thread of libuv's ---- */

static ath_err
run_step(struct store_operation *operation, size_t i)
{
    ath_err err;

    if (operation->paths[i] == NULL)
        return ATH_OK;
    if (!operation->is_removal)
        return file_replace(operation->paths[i], ath_buf_slice(&operation->contents[i]),
                            &operation->why);
    err = file_remove(operation->paths[i], &operation->why);
    return err == ATH_ERR_NOT_FOUND ? ATH_OK : err;
}

static void
on_work(uv_work_t *work)
{
    struct store_operation *operation = work->data;
    size_t i;

    for (i = 0; i < STEPS_MAX && operation->err == ATH_OK; i++)
        operation->err = run_step(operation, i);
}

/* ---- in the loop ---- */

static void start_next(struct athd *athd);

static void
on_worked(uv_work_t *work, int status)
{
    struct store_operation *operation = work->data;
    struct athd *athd = operation->athd;

    if (status != 0 && operation->err == ATH_OK)
        operation->err = ATH_ERR_IO;
    if (operation->err != ATH_OK)
        log_error("event=store err=%s reason=\"%s\"", ath_err_reason(operation->err),
                  why_text(&operation->why, operation->err));
    TAILQ_REMOVE(&athd->stores.operations, operation, entry);
    athd->stores.len--;
    athd->stores.running--;
    start_next(athd);
    if (operation->done != NULL)
        operation->done(operation->ctx, operation->err, &operation->why);
    operation_free(operation);
}

static bool
shares_path(const struct store_operation *a, const struct store_operation *b)
{
    size_t i, j;

    for (i = 0; i < STEPS_MAX; i++)
        for (j = 0; j < STEPS_MAX; j++)
            if (a->paths[i] != NULL && b->paths[j] != NULL && strcmp(a->paths[i], b->paths[j]) == 0)
                return true;
    return false;
}

/* Nothing that came before touches the same file. */
static bool
may_start(const struct store_queue *queue, const struct store_operation *operation)
{
    const struct store_operation *before;

    TAILQ_FOREACH (before, &queue->operations, entry) {
        if (before == operation)
            return true;
        if (shares_path(before, operation))
            return false;
    }
    return true;
}

static void
start_next(struct athd *athd)
{
    struct store_operation *operation;

    TAILQ_FOREACH (operation, &athd->stores.operations, entry) {
        if (athd->stores.running >= RUNNING_MAX)
            return;
        if (operation->is_running || !may_start(&athd->stores, operation))
            continue;
        operation->is_running = true;
        athd->stores.running++;
        /* fails only without a callback (uv_queue_work, libuv 1.44) */
        uv_queue_work(athd->loop, &operation->work, on_work, on_worked);
    }
}

static void
fail(void (*done)(void), void *ctx, ath_err err)
{
    store_done_fn *store_done = (store_done_fn *)done;

    if (store_done != NULL)
        store_done(ctx, err, &(struct why){{0}});
}

static void
take_content(struct ath_buf *taken, struct ath_buf *ret_content)
{
    if (taken == NULL)
        return;
    *ret_content = *taken;
    *taken = (struct ath_buf){.max = taken->max};
}

static void
start(struct athd *athd, bool is_removal, const char *const paths[STEPS_MAX],
      struct ath_buf *const taken[STEPS_MAX], store_done_fn *done, void *ctx)
{
    struct store_operation *operation = calloc(1, sizeof(*operation));
    ath_err err = operation == NULL ? ATH_ERR_NOMEM : ATH_OK;
    struct ath_buf contents[STEPS_MAX] = {{0}, {0}};
    size_t i;

    for (i = 0; i < STEPS_MAX; i++) {
        take_content(taken[i], &contents[i]);
        err = err == ATH_OK ? contents[i].err : err;
        if (operation == NULL)
            ath_buf_done(&contents[i]);
        else
            operation->contents[i] = contents[i]; /* ownership moves */
        if (err == ATH_OK && paths[i] != NULL &&
            (operation->paths[i] = ath_strdup(paths[i])) == NULL)
            err = ATH_ERR_NOMEM;
    }
    if (err != ATH_OK) {
        if (operation != NULL)
            operation_free(operation);
        deferred_fail(&athd->deferred, fail, (void (*)(void))done, ctx, err);
        return;
    }
    operation->athd = athd;
    operation->work.data = operation;
    operation->is_removal = is_removal;
    operation->done = done;
    operation->ctx = ctx;
    TAILQ_INSERT_TAIL(&athd->stores.operations, operation, entry);
    athd->stores.len++;
    start_next(athd);
}

void
store_replace_two(struct athd *athd, const char *first_path, struct ath_buf *taken_first,
                  const char *second_path, struct ath_buf *taken_second, store_done_fn *done,
                  void *ctx)
{
    start(athd, false, (const char *const[]){first_path, second_path},
          (struct ath_buf *const[]){taken_first, taken_second}, done, ctx);
}

void
store_replace(struct athd *athd, const char *path, struct ath_buf *taken_content,
              store_done_fn *done, void *ctx)
{
    store_replace_two(athd, path, taken_content, NULL, NULL, done, ctx);
}

void
store_remove_two(struct athd *athd, const char *first_path, const char *second_path,
                 store_done_fn *done, void *ctx)
{
    start(athd, true, (const char *const[]){first_path, second_path},
          (struct ath_buf *const[]){NULL, NULL}, done, ctx);
}

void
store_remove(struct athd *athd, const char *path, store_done_fn *done, void *ctx)
{
    store_remove_two(athd, path, NULL, done, ctx);
}
