#include "athd/sub_uid.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"

#define FILE_MAX (1024u * 1024u)

static bool
lends(const char *line, uid_t uid, char ret_user[SUB_UID_LENDER_SIZE])
{
    unsigned long first, count;
    char user[SUB_UID_LENDER_SIZE];
    char end;

    if (sscanf(line, "%64[^:#]:%lu:%lu%c", user, &first, &count, &end) != 3 || uid < first ||
        uid - first >= count)
        return false;
    memcpy(ret_user, user, sizeof(user));
    utf8_make_harmless(ret_user);
    return true;
}

bool
sub_uid_is_lent(const char *path, uid_t uid, char ret_user[SUB_UID_LENDER_SIZE])
{
    struct ath_buf text = {.max = FILE_MAX};
    struct why why = {{0}};
    bool is_lent = false;
    char *line, *rest;

    if (file_read(path, &text, &why) == ATH_OK && ath_buf_text(&text) != NULL)
        for (line = strtok_r((char *)text.data, "\n", &rest); line != NULL && !is_lent;
             line = strtok_r(NULL, "\n", &rest))
            is_lent = lends(line, uid, ret_user);
    ath_buf_done(&text);
    return is_lent;
}
