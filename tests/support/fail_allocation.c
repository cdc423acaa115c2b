#include "tests/support/support.h"

/* Every malloc, calloc and realloc of our own code comes here (--wrap); libraries keep theirs. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *data, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *data, size_t size);

static _Thread_local unsigned countdown;
static _Thread_local bool happened;

void
fail_allocation(unsigned nth)
{
    countdown = nth;
    happened = false;
}

bool
fail_allocation_happened(void)
{
    return happened;
}

static bool
fails_now(void)
{
    if (countdown == 0 || --countdown > 0)
        return false;
    happened = true;
    return true;
}

void *
__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *data, size_t size)
{
    return fails_now() ? NULL : __real_realloc(data, size);
}

void
each_allocation_failing(ath_err (*body)(void *ctx), void *ctx)
{
    unsigned nth;

    for (nth = 1; nth <= 100000; nth++) {
        ath_err err;
        bool failed;

        fail_allocation(nth);
        err = body(ctx);
        failed = fail_allocation_happened();
        fail_allocation(0);
        if (!failed) {
            assert_int_equal(err, ATH_OK);
            return;
        }
    }
    fail_msg("the body never ran through without a failed allocation");
}
