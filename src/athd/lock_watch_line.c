#include "athd/lock_watch_line.h"

#include <string.h>

static ath_err
decode_uid(struct ath_slice text, uid_t *ret_uid)
{
    uint64_t uid = 0;

    if (text.len == 0 || text.len > 10 || (text.data[0] == '0' && text.len > 1))
        return ATH_ERR_PARSE;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return ATH_ERR_PARSE;
        uid = uid * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (uid >= UINT32_MAX)
        return ATH_ERR_PARSE;
    *ret_uid = (uid_t)uid;
    return ATH_OK;
}

static bool
begins_with(struct ath_slice line, const char *word)
{
    size_t len = strlen(word);

    return line.len >= len && memcmp(line.data, word, len) == 0;
}

ath_err
lock_watch_line_decode(struct ath_slice line, enum lock_watch_event *ret_event, uid_t *ret_uid)
{
    static const struct {
        const char *text;
        enum lock_watch_event event;
        bool has_uid;
    } forms[] = {
        {"watching", LOCK_WATCH_READY, false}, {"sleep", LOCK_WATCH_SLEEP, false},
        {"wake", LOCK_WATCH_WAKE, false},      {"lock ", LOCK_WATCH_LOCK, true},
        {"unlock ", LOCK_WATCH_UNLOCK, true},
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        size_t len = strlen(forms[i].text);

        if (!begins_with(line, forms[i].text))
            continue;
        *ret_event = forms[i].event;
        if (forms[i].has_uid)
            return decode_uid(ath_slice_of(line.data + len, line.len - len), ret_uid);
        return line.len == len ? ATH_OK : ATH_ERR_PARSE;
    }
    return ATH_ERR_PARSE;
}
