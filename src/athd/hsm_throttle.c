#include "athd/hsm_throttle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "athd/athd.h"
#include "athd/store_load.h"
#include "base/base64url.h"
#include "base/clock.h"
#include "crypto/digest.h"

#define FILE_VERSION 1
#define ID_BYTES 16u
#define WRONG_MAX 1000000

struct hsm_throttles {
    struct athd *athd;
    char *dir;
    struct hsm_throttle *first;
};

/* ---- files ---- */

/* In seconds, after so many wrong PINs. */
static int64_t
pause_of(const struct hsm_throttle *throttle)
{
    static const int64_t of_token[] = {0, 0, 1, 5, 30, 120, 600, 3600};
    static const int64_t of_key[] = {0, 0, 0, 0, 0, 5, 30, 120, 600, 3600};
    const size_t last_of_token = sizeof(of_token) / sizeof(of_token[0]) - 1;
    const size_t last_of_key = sizeof(of_key) / sizeof(of_key[0]) - 1;
    size_t wrong = throttle->wrong;

    return throttle->is_key ? of_key[wrong < last_of_key ? wrong : last_of_key]
                            : of_token[wrong < last_of_token ? wrong : last_of_token];
}

/* What is left of a pause that began before this start. By the time of day, for want of another
 * clock: where that was put back, the pause is as long as it was, and no longer. */
uint64_t
hsm_throttle_until_ms(int64_t pause_s, int64_t failed_at)
{
    int64_t past_s = clock_now() - failed_at;
    int64_t left_s = past_s < 0 ? pause_s : past_s > pause_s ? 0 : pause_s - past_s;

    return clock_boot_ms() + (uint64_t)left_s * 1000;
}

static struct hsm_throttle *
add(struct hsm_throttles *throttles, const char *id)
{
    struct hsm_throttle *throttle = calloc(1, sizeof(*throttle));

    if (throttle == NULL)
        return NULL;
    snprintf(throttle->id, sizeof(throttle->id), "%s", id);
    throttle->next = throttles->first;
    throttles->first = throttle;
    return throttle;
}

static bool
is_id(const char *text)
{
    return strlen(text) == 2 * (size_t)ID_BYTES &&
           strspn(text, "0123456789abcdef") == 2 * (size_t)ID_BYTES;
}

static ath_err
decode_refused(const struct json *object, struct why *why, struct hsm_throttle *throttle)
{
    const char *text = json_get_string(object, "refused");
    struct ath_buf bytes = {.max = sizeof(throttle->refused)};
    ath_err err;

    if (text == NULL)
        return ATH_OK;
    err = base64url_decode(ath_slice_of_string(text), &bytes);
    if (err == ATH_OK) {
        throttle->refused_len = bytes.len;
        memcpy(throttle->refused, bytes.data, bytes.len);
    }
    ath_buf_done(&bytes);
    return err == ATH_OK ? ATH_OK : why_set(why, ATH_ERR_PARSE, "refused is not as athd writes it");
}

static ath_err
load_throttle(void *ctx, const char *stem, const struct json *object, struct why *why)
{
    struct hsm_throttles *throttles = ctx;
    struct hsm_throttle *throttle, decoded = {0};
    int64_t version = 0, wrong = 0;
    ath_err err;

    if (!is_id(stem))
        return why_set(why, ATH_ERR_PARSE, "its name is not that of a token or key");
    if (!json_get_int(object, "version", &version) || version != FILE_VERSION)
        return why_set(why, ATH_ERR_PARSE, "version is not %d", FILE_VERSION);
    if (!json_get_int(object, "wrong", &wrong) || wrong < 0 || wrong > WRONG_MAX ||
        !json_get_int(object, "failed_at", &decoded.failed_at) || decoded.failed_at < 0)
        return why_set(why, ATH_ERR_PARSE, "wrong or failed_at is missing or wrong");
    if ((err = decode_refused(object, why, &decoded)) != ATH_OK)
        return err;
    if ((throttle = add(throttles, stem)) == NULL)
        return ATH_ERR_NOMEM;
    throttle->is_key = json_is_true(json_get(object, "key"));
    throttle->wrong = (unsigned)wrong;
    throttle->failed_at = decoded.failed_at;
    memcpy(throttle->refused, decoded.refused, decoded.refused_len);
    throttle->refused_len = decoded.refused_len;
    throttle->until_ms = hsm_throttle_until_ms(pause_of(throttle), throttle->failed_at);
    return ATH_OK;
}

static void
save(struct hsm_throttles *throttles, const struct hsm_throttle *throttle, store_done_fn *done,
     void *ctx)
{
    struct ath_buf text = {.max = STORE_FILE_MAX};
    struct json_maker maker;
    struct json *object = NULL;
    char *path = store_file_path(throttles->dir, throttle->id, ".json");

    json_object_begin(&maker);
    json_put_int(&maker, "version", FILE_VERSION);
    if (throttle->is_key)
        json_put_bool(&maker, "key", true);
    json_put_int(&maker, "wrong", throttle->wrong);
    json_put_int(&maker, "failed_at", throttle->failed_at);
    if (throttle->refused_len > 0)
        json_put_base64url(&maker, "refused",
                           ath_slice_of(throttle->refused, throttle->refused_len));
    if (json_maker_end(&maker, &object) != ATH_OK || store_file_text(object, &text) != ATH_OK ||
        path == NULL)
        text.err = ATH_ERR_NOMEM; /* the write fails with it */
    store_replace(throttles->athd, path == NULL ? throttles->dir : path, &text, done, ctx);
    json_free(object);
    free(path);
}

/* ---- the list ---- */

ath_err
hsm_throttle_open(struct athd *athd, const char *dir, struct why *why,
                  struct hsm_throttles **ret_throttles)
{
    struct hsm_throttles *throttles = calloc(1, sizeof(*throttles));
    ath_err err = ATH_ERR_NOMEM;

    if (throttles == NULL || (throttles->dir = ath_strdup(dir)) == NULL)
        goto out;
    throttles->athd = athd;
    if ((err = store_load(athd, dir, load_throttle, NULL, throttles, why)) != ATH_OK)
        goto out;
    *ret_throttles = throttles;
    throttles = NULL;
out:
    hsm_throttle_free(throttles);
    return err;
}

void
hsm_throttle_free(struct hsm_throttles *throttles)
{
    struct hsm_throttle *next;

    if (throttles == NULL)
        return;
    for (; throttles->first != NULL; throttles->first = next) {
        next = throttles->first->next;
        free(throttles->first);
    }
    free(throttles->dir);
    free(throttles);
}

/* The one that this text names; it is freed. NULL: out of memory. */
static struct hsm_throttle *
find_or_add(struct hsm_throttles *throttles, struct ath_buf *taken_text)
{
    struct hsm_throttle *throttle = NULL;
    uint8_t digest[SHA256_LEN];
    char id[2 * ID_BYTES + 1] = "";

    if (taken_text->err == ATH_OK && sha256(ath_buf_slice(taken_text), digest) == ATH_OK) {
        for (size_t i = 0; i < ID_BYTES; i++)
            snprintf(id + 2 * i, 3, "%02x", digest[i]);
        for (throttle = throttles->first; throttle != NULL; throttle = throttle->next)
            if (strcmp(throttle->id, id) == 0)
                break;
        if (throttle == NULL)
            throttle = add(throttles, id);
    }
    ath_buf_done(taken_text);
    return throttle;
}

struct hsm_throttle *
hsm_throttle_of(struct hsm_throttles *throttles, const char *hsm, const char *manufacturer,
                const char *model, const char *serial)
{
    struct ath_buf text = {.max = 1024};

    if (serial[0] != '\0')
        ath_buf_printf(&text, "token\n%s\n%s\n%s", manufacturer, model, serial);
    else
        ath_buf_printf(&text, "hsm\n%s", hsm);
    return find_or_add(throttles, &text);
}

struct hsm_throttle *
hsm_throttle_of_key(struct hsm_throttles *throttles, const char *jkt)
{
    struct ath_buf text = {.max = 128};
    struct hsm_throttle *throttle;

    ath_buf_printf(&text, "key\n%s", jkt);
    throttle = find_or_add(throttles, &text);
    if (throttle != NULL)
        throttle->is_key = true;
    return throttle;
}

/* ---- the brake ---- */

uint32_t
hsm_throttle_wait_s(const struct hsm_throttle *throttle)
{
    uint64_t now_ms = clock_boot_ms();

    return now_ms >= throttle->until_ms ? 0
                                        : (uint32_t)((throttle->until_ms - now_ms + 999) / 1000);
}

void
hsm_throttle_failed(struct hsm_throttles *throttles, struct hsm_throttle *throttle,
                    struct ath_slice stamp, store_done_fn *done, void *ctx)
{
    if (throttle->wrong < WRONG_MAX)
        throttle->wrong++;
    throttle->failed_at = clock_now();
    throttle->until_ms = clock_boot_ms() + (uint64_t)pause_of(throttle) * 1000;
    if (stamp.len > 0 && stamp.len <= sizeof(throttle->refused)) {
        memcpy(throttle->refused, stamp.data, stamp.len);
        throttle->refused_len = stamp.len;
    }
    save(throttles, throttle, done, ctx);
}

void
hsm_throttle_passed(struct hsm_throttles *throttles, struct hsm_throttle *throttle,
                    bool from_source)
{
    bool forgets = from_source && throttle->refused_len > 0;

    if (throttle->wrong == 0 && !forgets)
        return;
    throttle->wrong = 0;
    throttle->failed_at = 0;
    throttle->until_ms = 0;
    if (forgets)
        throttle->refused_len = 0;
    save(throttles, throttle, NULL, NULL);
}
