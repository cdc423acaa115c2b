#include "ath_bench.h"

#include <stdlib.h>
#include <string.h>

void
bench_samples_add(struct bench_samples *samples, uint64_t us)
{
    if (samples->count == samples->cap) {
        size_t cap = samples->cap ? samples->cap * 2 : 4096;
        uint32_t *grown = realloc(samples->us, cap * sizeof(*grown));

        if (!grown)
            return;
        samples->us = grown;
        samples->cap = cap;
    }
    samples->us[samples->count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

void
bench_samples_done(struct bench_samples *samples)
{
    free(samples->us);
    memset(samples, 0, sizeof(*samples));
}

static int
compare_us(const void *left, const void *right)
{
    uint32_t a, b;

    memcpy(&a, left, sizeof(a));
    memcpy(&b, right, sizeof(b));
    return (a > b) - (a < b);
}

static int
compare_double(const void *left, const void *right)
{
    double a, b;

    memcpy(&a, left, sizeof(a));
    memcpy(&b, right, sizeof(b));
    return (a > b) - (a < b);
}

struct bench_run
bench_run_of(struct bench_samples *samples, uint64_t elapsed_us)
{
    struct bench_run run = {.count = samples->count};

    if (!samples->count)
        return run;
    qsort(samples->us, samples->count, sizeof(*samples->us), compare_us);
    run.p50_ms = samples->us[samples->count / 2] / 1000.0;
    run.p99_ms = samples->us[samples->count - 1 - samples->count / 100] / 1000.0;
    if (elapsed_us)
        run.rate = (double)samples->count * 1e6 / (double)elapsed_us;
    return run;
}

double
bench_median(double *values, size_t count)
{
    if (!count)
        return 0;
    qsort(values, count, sizeof(*values), compare_double);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

struct bench_run
bench_run_median(const struct bench_run *runs, size_t count)
{
    double rate[BENCH_ROUNDS_MAX], p50[BENCH_ROUNDS_MAX], p99[BENCH_ROUNDS_MAX];
    struct bench_run median = {0};

    for (size_t i = 0; i < count; i++) {
        rate[i] = runs[i].rate;
        p50[i] = runs[i].p50_ms;
        p99[i] = runs[i].p99_ms;
        median.count += runs[i].count;
    }
    median.rate = bench_median(rate, count);
    median.p50_ms = bench_median(p50, count);
    median.p99_ms = bench_median(p99, count);
    return median;
}
