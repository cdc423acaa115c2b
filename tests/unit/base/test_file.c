#include "tests/support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static char dir[64];

static int
make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/ath-test-file-XXXXXX");
    return mkdtemp(dir) == NULL;
}

static ath_err
remove_it(void *ctx, const char *name)
{
    char *path = file_path(ctx, name);
    ath_err err = file_remove(path, NULL);

    free(path);
    return err;
}

static int
remove_dir(void **state)
{
    (void)state;
    return file_each(dir, "", remove_it, dir, NULL) != ATH_OK ||
           file_remove_temporaries(dir, NULL) != ATH_OK || rmdir(dir) != 0;
}

static char *
in_dir(const char *name)
{
    char *path = file_path(dir, name);

    assert_non_null(path);
    return path;
}

static void
write_file(const char *name, const char *text)
{
    char *path = in_dir(name);

    assert_int_equal(file_replace(path, ath_slice_of_string(text), NULL), ATH_OK);
    free(path);
}

static void
assert_content(const char *name, const char *text)
{
    struct ath_buf content = {0};
    char *path = in_dir(name);

    assert_int_equal(file_read(path, &content, NULL), ATH_OK);
    assert_true(ath_slice_is(ath_buf_slice(&content), text));
    ath_buf_done(&content);
    free(path);
}

static void
test_a_file_is_replaced_and_read_and_private(void **state)
{
    char *path = in_dir("a.json");
    struct stat st;

    (void)state;
    write_file("a.json", "one");
    assert_content("a.json", "one");
    write_file("a.json", "another");
    assert_content("a.json", "another");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free(path);
}

static void
test_a_failed_replace_leaves_the_old_file_and_no_other(void **state)
{
    char *missing = in_dir("no/such/file"), *is_dir = in_dir("d");
    struct why why = {""};

    (void)state;
    assert_int_equal(file_replace(missing, ath_slice_of_string("x"), &why), ATH_ERR_IO);
    assert_non_null(strstr(why.text, "no/such/file"));
    assert_int_equal(mkdir(is_dir, 0700), 0);
    assert_int_equal(file_replace(is_dir, ath_slice_of_string("x"), &why), ATH_ERR_IO);
    assert_int_equal(rmdir(is_dir), 0);
    free(missing);
    free(is_dir);
}

static ath_err
replace_body(void *path)
{
    return file_replace(path, ath_slice_of_string("new"), NULL);
}

static void
test_replace_survives_each_failed_allocation(void **state)
{
    char *path = in_dir("n.json");

    (void)state;
    each_allocation_failing(replace_body, path);
    assert_content("n.json", "new");
    free(path);
}

static void
test_reading_says_what_is_wrong(void **state)
{
    char *path = in_dir("x"), *link = in_dir("link"), *fifo = in_dir("fifo");
    struct ath_buf content = {.max = 2};
    struct why why = {""};

    (void)state;
    assert_int_equal(file_read(path, &content, &why), ATH_ERR_NOT_FOUND);
    write_file("x", "abc");
    assert_int_equal(file_read(path, &content, &why), ATH_ERR_LIMIT_EXCEEDED);
    ath_buf_clear(&content);
    assert_int_equal(symlink("x", link), 0);
    assert_int_equal(file_read(link, &content, &why), ATH_ERR_IO);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(file_read(fifo, &content, &why), ATH_ERR_IO);
    assert_non_null(strstr(why.text, "not a regular file"));
    assert_int_equal(file_read(dir, &content, &why), ATH_ERR_IO);
    assert_int_equal(unlink(link) + unlink(fifo), 0);
    ath_buf_done(&content);
    free(path);
    free(link);
    free(fifo);
}

static void
test_own_file_is_one_that_nobody_else_can_have_written(void **state)
{
    struct ath_buf content = {.max = 16};
    char *path = in_dir("own");
    struct why why = {""};

    (void)state;
    write_file("own", "abc");
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(file_read_own(path, &content, &why), ATH_OK);
    assert_int_equal(chmod(path, 0660), 0);
    assert_int_equal(file_read_own(path, &content, &why), ATH_ERR_IO);
    assert_non_null(strstr(why.text, "others may write"));
    assert_int_equal(chmod(path, 0600), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 65534, 65534), 0);
        assert_int_equal(file_read_own(path, &content, &why), ATH_ERR_IO);
        assert_non_null(strstr(why.text, "belongs to uid 65534"));
    }
    assert_int_equal(unlink(path), 0);
    ath_buf_done(&content);
    free(path);
}

static ath_err
count_it(void *ctx, const char *name)
{
    (void)name;
    ++*(unsigned *)ctx;
    return ATH_OK;
}

static ath_err
stop_at_once(void *ctx, const char *name)
{
    (void)count_it(ctx, name);
    return ATH_ERR_PARSE;
}

static void
test_each_entry_is_seen_but_hidden_and_other_ones(void **state)
{
    char *subdir = in_dir("sub.json"), *missing = in_dir("missing");
    unsigned count = 0;

    (void)state;
    write_file("a.json", "");
    write_file("b.json", "");
    write_file(".hidden.json", "");
    write_file("c.pem", "");
    assert_int_equal(mkdir(subdir, 0700), 0);
    assert_int_equal(file_each(dir, ".json", count_it, &count, NULL), ATH_OK);
    assert_int_equal(count, 3); /* whoever reads sub.json is told that it is a directory */
    count = 0;
    assert_int_equal(file_each(dir, ".json", stop_at_once, &count, NULL), ATH_ERR_PARSE);
    assert_int_equal(count, 1);
    assert_int_equal(file_each(missing, "", count_it, &count, NULL), ATH_ERR_NOT_FOUND);
    assert_int_equal(rmdir(subdir), 0);
    assert_int_equal(remove_it(dir, ".hidden.json"), ATH_OK);
    assert_int_equal(remove_it(dir, ".hidden.json"), ATH_ERR_NOT_FOUND);
    free(subdir);
    free(missing);
}

static void
test_what_a_killed_replace_left_is_removed(void **state)
{
    char *left = in_dir(".tmp-abcdef");

    (void)state;
    write_file(".tmp-abcdef", "half");
    write_file("whole", "whole");
    assert_int_equal(file_remove_temporaries(dir, NULL), ATH_OK);
    assert_int_equal(access(left, F_OK), -1);
    assert_content("whole", "whole");
    free(left);
}

static void
test_private_directories_are_made_with_their_parents(void **state)
{
    char *deep = in_dir("p/q/r"), *middle = in_dir("p/q"), *top = in_dir("p");
    struct stat st;

    (void)state;
    assert_int_equal(file_make_private_dir(deep, NULL), ATH_OK);
    assert_int_equal(file_make_private_dir(deep, NULL), ATH_OK);
    assert_int_equal(stat(middle, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(rmdir(deep) + rmdir(middle) + rmdir(top), 0);
    free(deep);
    free(middle);
    free(top);
}

static void
test_a_directory_that_others_may_write_to_is_refused(void **state)
{
    char *open_dir = in_dir("open"), *file = in_dir("open-file");
    struct why why = {""};

    (void)state;
    assert_int_equal(mkdir(open_dir, 0700), 0);
    assert_int_equal(chmod(open_dir, 0770), 0);
    assert_int_equal(file_make_private_dir(open_dir, &why), ATH_ERR_IO);
    assert_non_null(strstr(why.text, "others may write"));
    assert_int_equal(chmod(open_dir, 0755), 0);
    assert_int_equal(file_make_private_dir(open_dir, &why), ATH_OK);
    write_file("open-file", "");
    assert_int_equal(file_make_private_dir(file, &why), ATH_ERR_IO);
    assert_int_equal(rmdir(open_dir), 0);
    free(open_dir);
    free(file);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(test_a_file_is_replaced_and_read_and_private),
        IN_DIR(test_a_failed_replace_leaves_the_old_file_and_no_other),
        IN_DIR(test_replace_survives_each_failed_allocation),
        IN_DIR(test_reading_says_what_is_wrong),
        IN_DIR(test_own_file_is_one_that_nobody_else_can_have_written),
        IN_DIR(test_each_entry_is_seen_but_hidden_and_other_ones),
        IN_DIR(test_what_a_killed_replace_left_is_removed),
        IN_DIR(test_private_directories_are_made_with_their_parents),
        IN_DIR(test_a_directory_that_others_may_write_to_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
