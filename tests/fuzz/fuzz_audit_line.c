/* One record's line; and, where it begins so, the path of a tile. */
#include <stdlib.h>

#include "protocol/audit_line.h"
#include "protocol/audit_tile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
must(bool holds)
{
    if (!holds)
        abort();
}

/* What is accepted is what json_parse sees too: the same index, an object. */
static void
try_line(struct ath_slice text)
{
    struct json *record = NULL;
    struct why why = {""};
    struct audit_line line;
    int64_t index = -1;
    ath_err err = audit_line_check(text, &why, &line);

    must(err == ATH_OK || why.text[0] != '\0');
    if (err != ATH_OK)
        return;
    must(json_parse(text, &audit_line_limits, NULL, &record) == ATH_OK);
    must(json_get_int(record, "index", &index) && (uint64_t)index == line.index);
    must(ath_slice_is(line.timestamp, json_get_string(record, "timestamp")));
    must(!line.is_retention ||
         ath_slice_is(ath_slice_of_string(json_get_string(record, "event")), "audit_retention"));
    json_free(record);
}

static void
try_path(struct ath_slice text)
{
    char path[AUDIT_TILE_MAX_PATH];
    struct audit_tile tile;

    if (audit_tile_parse(text, &tile) != ATH_OK)
        return;
    must(tile.level < AUDIT_TILE_LEVELS && tile.width >= 1 && tile.width <= AUDIT_TILE_WIDTH);
    audit_tile_path(&tile, path);
    must(ath_slice_is(text, path));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len != 0 && data[0] == 't')
        try_path(ath_slice_of(data, len));
    else
        try_line(ath_slice_of(data, len));
    return 0;
}
