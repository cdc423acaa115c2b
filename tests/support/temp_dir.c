#include "tests/support/temp_dir.h"

#include <ftw.h>
#include <stdio.h>

#include "tests/support/support.h"

const char *
temp_dir_make(struct temp_dir *temp, const char *name)
{
    const char *base = getenv("TMPDIR");

    snprintf(temp->root, sizeof(temp->root), "%s/ath-test-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(temp->root));
    assert_true(snprintf(temp->path, sizeof(temp->path), "%s/%s", temp->root, name) <
                (int)sizeof(temp->path));
    return temp->path;
}

static int
remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

void
temp_dir_remove(struct temp_dir *temp)
{
    assert_int_equal(nftw(temp->root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}
