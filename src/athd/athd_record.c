#include "athd/athd_record.h"

#include <time.h>
#include <unistd.h>

#include "ath/version.h"
#include "athd/audit_record.h"
#include "base/clock.h"
#include "base/file.h"

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_LEN 36u

/* Which boot it was (random(4)), and when, to the second. */
static void
put_boot(struct json_maker *record)
{
    struct ath_buf id = {.max = 64};
    struct timespec since_boot;

    if (file_read(BOOT_ID_PATH, &id, NULL) == ATH_OK && id.len >= BOOT_ID_LEN)
        json_put_slice(record, "boot_id", ath_slice_of(id.data, BOOT_ID_LEN));
    ath_buf_done(&id);
    clock_gettime(CLOCK_BOOTTIME, &since_boot);
    json_put_int(record, "booted_at", clock_now() - since_boot.tv_sec);
    json_put_int(record, "ticks_per_second", sysconf(_SC_CLK_TCK));
}

void
athd_record_started(struct athd *athd)
{
    struct json_maker record, hsms, hsm;

    audit_record_begin(&record, "athd_started", NULL);
    json_put_string(&record, "version", ATH_VERSION);
    json_put_int(&record, "pid", getpid());
    json_put_int(&record, "uid", athd->owner);
    put_boot(&record);
    json_array_begin(&hsms);
    for (size_t i = 0; i < athd->config->hsm_count; i++) {
        json_object_begin(&hsm);
        json_put_string(&hsm, "name", athd->config->hsms[i].name);
        json_put_string(&hsm, "uri", athd->config->hsms[i].uri);
        json_put_maker(&hsms, NULL, &hsm);
    }
    json_put_maker(&record, "hsms", &hsms);
    audit_record_note(athd, &record);
}

void
athd_record_stopping(struct athd *athd)
{
    struct json_maker record;

    audit_record_begin(&record, "athd_stopping", NULL);
    json_put_int(&record, "pid", getpid());
    json_put_int(&record, "uptime_s", (int64_t)((clock_monotonic_ms() - athd->started_ms) / 1000));
    audit_record_note(athd, &record);
}

void
athd_record_configuration(struct athd *athd, ath_err err, const struct why *why)
{
    const struct config *config = athd->config;
    struct json_maker record, files, file;

    audit_record_begin(&record, err == ATH_OK ? "configuration_loaded" : "configuration_refused",
                       NULL);
    json_array_begin(&files);
    for (size_t i = 0; i < config->source_count; i++) {
        json_object_begin(&file);
        json_put_string(&file, "path", config->sources[i].path);
        json_put_base64url(&file, "sha256", ath_slice_of(config->sources[i].sha256, SHA256_LEN));
        json_put_maker(&files, NULL, &file);
    }
    json_put_maker(&record, "files", &files);
    if (err != ATH_OK) {
        json_put_string(&record, "denial_reason", ath_err_reason(err));
        json_put_string(&record, "message", why_text(why, err));
    }
    audit_record_note(athd, &record);
}
