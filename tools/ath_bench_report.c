#include "ath_bench.h"

#include <stdlib.h>

void
bench_report_begin(struct bench_report *report, bool json)
{
    *report = (struct bench_report){.json = json};
    ath_buf_put_string(&report->text, "{");
}

void
bench_report_section(struct bench_report *report, const char *name, const char *title)
{
    ath_buf_printf(&report->text, "%s\n  \"%s\": {", report->has_section ? "}," : "", name);
    report->has_section = true;
    report->has_value = false;
    if (!report->json)
        printf("\n%s\n", title);
}

static void
put_name(struct bench_report *report, const char *name)
{
    ath_buf_printf(&report->text, "%s\n    \"%s\": ", report->has_value ? "," : "", name);
    report->has_value = true;
}

void
bench_report_value(struct bench_report *report, const char *name, double value, int digits,
                   const char *unit)
{
    put_name(report, name);
    ath_buf_printf(&report->text, "%.*f", digits, value);
    if (!report->json)
        printf("  %-28s %10.*f %s\n", name, digits, value, unit);
    fflush(stdout);
}

void
bench_report_run(struct bench_report *report, const char *name, const struct bench_run *run)
{
    put_name(report, name);
    ath_buf_printf(&report->text,
                   "{\"rate\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"count\": %zu}",
                   run->rate, run->p50_ms, run->p99_ms, run->count);
    if (!report->json)
        printf("  %-28s %10.1f /s   p50 %8.3f ms   p99 %8.3f ms\n", name, run->rate, run->p50_ms,
               run->p99_ms);
    fflush(stdout);
}

void
bench_report_text(struct bench_report *report, const char *name, const char *value)
{
    put_name(report, name);
    ath_buf_printf(&report->text, "\"%s\"", value);
    if (!report->json)
        printf("  %-28s %s\n", name, value);
}

void
bench_report_end(struct bench_report *report)
{
    ath_buf_put_string(&report->text, report->has_section ? "}\n}\n" : "}\n");
    if (report->json && !report->text.err)
        fwrite(report->text.data, 1, report->text.len, stdout);
    ath_buf_done(&report->text);
}
