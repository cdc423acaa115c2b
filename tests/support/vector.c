#include "tests/support/support.h"

#include <stdio.h>

#include "base/file.h"

void
read_vector(const char *name, struct ath_buf *out)
{
    char *path = file_path(TEST_VECTORS, name);
    struct why why = {""};

    assert_non_null(path);
    if (file_read(path, out, &why) != ATH_OK)
        fail_msg("%s", why.text);
    free(path);
}
