#include "ath/err.h"

#include <stddef.h>
#include <string.h>

struct entry {
    const char *reason;
    int code;
    int exit_status;
    const char *sentence;
};

#define ENTRY(name, reason, code, exit_status, sentence) {reason, code, exit_status, sentence},
static const struct entry entries[ATH_ERR_COUNT] = {ATH_ERR_LIST(ENTRY)};
#undef ENTRY

static const struct entry *
entry_of(ath_err err)
{
    return &entries[(unsigned)err < ATH_ERR_COUNT ? err : ATH_ERR_INTERNAL];
}

const char *
ath_err_reason(ath_err err)
{
    return entry_of(err)->reason;
}

const char *
ath_err_sentence(ath_err err)
{
    return entry_of(err)->sentence;
}

int
ath_err_code(ath_err err)
{
    return entry_of(err)->code;
}

int
ath_err_exit_status(ath_err err)
{
    return entry_of(err)->exit_status;
}

ath_err
ath_err_from_wire(int code, const char *reason)
{
    ath_err by_code = ATH_ERR_INTERNAL;
    int i;

    for (i = ATH_ERR_COUNT - 1; i > ATH_OK; i--) {
        if (entries[i].code != code)
            continue;
        if (reason != NULL && strcmp(entries[i].reason, reason) == 0)
            by_code = (ath_err)i;
        else if (reason == NULL)
            by_code = (ath_err)i;
    }
    return by_code;
}
