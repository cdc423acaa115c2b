/* A directory of a test's own. */
#ifndef TESTS_TEMP_DIR_H
#define TESTS_TEMP_DIR_H

#define TEMP_DIR_MAX 1024

struct temp_dir {
    char root[TEMP_DIR_MAX];
    char path[TEMP_DIR_MAX];
};

/* Makes it; returns the path of `name` in it, which is not there yet. Ends the test if it fails. */
const char *temp_dir_make(struct temp_dir *temp, const char *name);
/* With all that is in it. */
void temp_dir_remove(struct temp_dir *temp);

#endif
