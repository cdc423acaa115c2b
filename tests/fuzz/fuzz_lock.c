/* What decides whether athd is locked: lock.json, and the lines of ath-logind-watch. Input: a byte
 * (even: a file, odd: a line), then it. A file that is taken is written as it was read; nothing
 * else is taken for a line but what the program writes. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "athd/lock_file.h"
#include "athd/lock_watch_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_file(struct ath_slice text)
{
    struct lock_record record, again;
    struct ath_buf out = {.max = LOCK_FILE_MAX};

    memset(&record, 0, sizeof(record));
    memset(&again, 0, sizeof(again));
    if (lock_record_decode(text, NULL, &record) == ATH_OK) {
        assert(record.reasons != 0 && (record.reasons & LOCK_BY_DAMAGE) == 0);
        assert((record.reasons & LOCK_BY_PASSPHRASE) == 0 ||
               scrypt_cost_is_valid(&record.verifier.cost));
        lock_record_encode(&record, &out);
        assert(out.err == ATH_OK);
        assert(lock_record_decode(ath_buf_slice(&out), NULL, &again) == ATH_OK);
        assert(memcmp(&record, &again, sizeof(record)) == 0);
    }
    ath_buf_done(&out);
}

static void
try_line(struct ath_slice line)
{
    static const char *const words[] = {"watching", "sleep", "wake", "lock", "unlock"};
    enum lock_watch_event event = LOCK_WATCH_READY;
    char text[LOCK_WATCH_LINE_MAX + 1];
    uid_t uid = 0;

    if (lock_watch_line_decode(line, &event, &uid) != ATH_OK)
        return;
    if (event == LOCK_WATCH_LOCK || event == LOCK_WATCH_UNLOCK)
        (void)snprintf(text, sizeof(text), "%s %" PRIu32, words[event], (uint32_t)uid);
    else
        (void)snprintf(text, sizeof(text), "%s", words[event]);
    assert(ath_slice_is(line, text));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ath_slice rest = ath_slice_of(data + 1, size > 0 ? size - 1 : 0);

    if (size == 0)
        return 0;
    if ((data[0] & 1) == 0)
        try_file(rest);
    else
        try_line(rest);
    return 0;
}
