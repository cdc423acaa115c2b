#include "athd/audit_line.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define INDEX_MEMBER "{\"index\":"
#define TIME_MEMBER ",\"timestamp\":\""
#define INDEX_MAX 9007199254740991u /* 2^53-1 */

/* Behind the index's digits, 0: there is none. */
static size_t
read_index(struct ath_slice line, uint64_t *ret_index)
{
    size_t i = strlen(INDEX_MEMBER), begin = i;
    uint64_t index = 0;

    if (line.len < i || memcmp(line.data, INDEX_MEMBER, i) != 0)
        return 0;
    for (; i < line.len && line.data[i] >= '0' && line.data[i] <= '9'; i++) {
        index = index * 10 + (uint64_t)(line.data[i] - '0');
        if (index > INDEX_MAX)
            return 0;
    }
    if (i == begin || i == line.len || (line.data[i] != ',' && line.data[i] != '}') ||
        (line.data[begin] == '0' && i > begin + 1))
        return 0;
    *ret_index = index;
    return i;
}

bool
audit_line_index(struct ath_slice line, uint64_t *ret_index)
{
    return read_index(line, ret_index) != 0;
}

bool
audit_line_time(struct ath_slice line, char ret_text[CLOCK_TEXT_SIZE])
{
    uint64_t index;
    size_t at = read_index(line, &index), len = strlen(TIME_MEMBER);

    if (at == 0 || line.len - at < len + CLOCK_TEXT_SIZE ||
        memcmp(line.data + at, TIME_MEMBER, len) != 0 ||
        line.data[at + len + CLOCK_TEXT_SIZE - 1] != '"')
        return false;
    memcpy(ret_text, line.data + at + len, CLOCK_TEXT_SIZE - 1);
    ret_text[CLOCK_TEXT_SIZE - 1] = '\0';
    return true;
}

void
audit_time_text(int64_t at, char ret_text[CLOCK_TEXT_SIZE])
{
    time_t seconds = (time_t)at;
    struct tm utc;
    char text[80];

    memset(&utc, 0, sizeof(utc));
    gmtime_r(&seconds, &utc);
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.000Z", utc.tm_year + 1900,
             utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
    memcpy(ret_text, text, CLOCK_TEXT_SIZE - 1);
    ret_text[CLOCK_TEXT_SIZE - 1] = '\0';
}
