/* Which files a PIN is taken from, and how each other one is refused. */
#include "hsm/hsm_pin_source.h"

#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

struct place {
    char dir[64], path[96], uri[192];
    struct why why;
    struct ath_secret pin;
    char stamp[HSM_WIRE_MAX_STAMP + 1];
};

static int
setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    assert_non_null(place);
    (void)snprintf(place->dir, sizeof(place->dir), "/tmp/test-hsm-pin-source-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    (void)snprintf(place->path, sizeof(place->path), "%s/pin", place->dir);
    (void)snprintf(place->uri, sizeof(place->uri), "pkcs11:token=t?pin-source=file:%s",
                   place->path);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    *state = place;
    return 0;
}

static int
teardown(void **state)
{
    struct place *place = *state;

    ath_secret_done(&place->pin);
    (void)unlink(place->path);
    assert_int_equal(rmdir(place->dir), 0);
    free(place);
    return 0;
}

static void
put_bytes(const struct place *place, const void *content, size_t len)
{
    int fd = open(place->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, ath_slice_of(content, len)), ATH_OK);
    close(fd);
}

static void
put(const struct place *place, const char *content)
{
    put_bytes(place, content, strlen(content));
}

static ath_err
read_again(struct place *place, const char *refused)
{
    ath_secret_done(&place->pin);
    place->why = (struct why){""};
    return pin_source_read(place->uri, ath_slice_of_string(refused), &place->why, &place->pin,
                           place->stamp);
}

static void
must_give(struct place *place, const char *pin)
{
    assert_int_equal(read_again(place, ""), ATH_OK);
    assert_int_equal(place->pin.len, strlen(pin));
    assert_memory_equal(place->pin.data, pin, place->pin.len);
    assert_true(place->stamp[0] != '\0');
}

/* With a sentence that names the file and says this. */
static void
must_refuse(struct place *place, const char *because)
{
    assert_int_equal(read_again(place, ""), ATH_ERR_PIN_REQUIRED);
    assert_null(place->pin.data);
    assert_non_null(strstr(place->why.text, place->path));
    if (strstr(place->why.text, because) == NULL)
        fail_msg("%s", place->why.text);
}

static void
test_pin_is_what_stands_before_the_line_end(void **state)
{
    struct place *place = *state;
    char longest[258];

    put(place, "1234\n");
    must_give(place, "1234");
    put(place, "1234");
    must_give(place, "1234");
    put(place, "12 34\n\n");
    must_give(place, "12 34\n");
    memset(longest, '7', sizeof(longest));
    longest[255] = '\n';
    put_bytes(place, longest, 256);
    longest[255] = '\0';
    must_give(place, longest);
}

static void
test_what_is_no_pin_is_refused(void **state)
{
    struct place *place = *state;
    char bytes[300];

    memset(bytes, '7', sizeof(bytes));
    put(place, "");
    must_refuse(place, "1 to 255 bytes");
    put(place, "\n");
    must_refuse(place, "1 to 255 bytes");
    put_bytes(place, bytes, 256);
    must_refuse(place, "1 to 255 bytes");
    put_bytes(place, bytes, 300);
    must_refuse(place, "1 to 255 bytes");
    bytes[256] = '\n'; /* a line end behind too much */
    put_bytes(place, bytes, 257);
    must_refuse(place, "1 to 255 bytes");
    put_bytes(place,
              "12\0"
              "34",
              5);
    must_refuse(place, "1 to 255 bytes");
}

static void
test_file_that_others_may_read_or_write_is_refused(void **state)
{
    struct place *place = *state;
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0666};

    put(place, "1234\n");
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        assert_int_equal(chmod(place->path, modes[i]), 0);
        must_refuse(place, "chmod 600");
        assert_string_equal(place->stamp, ""); /* nothing of it was tried */
    }
    assert_int_equal(chmod(place->path, 0400), 0);
    must_give(place, "1234");
}

static void
test_what_is_no_plain_file_is_refused(void **state)
{
    struct place *place = *state;
    char other[128];

    must_refuse(place, "No such file");
    assert_int_equal(mkfifo(place->path, 0600), 0); /* and nobody waits for its writer */
    must_refuse(place, "no regular file");
    assert_int_equal(unlink(place->path), 0);
    (void)snprintf(other, sizeof(other), "%s/other", place->dir);
    assert_int_equal(symlink("/dev/null", place->path), 0);
    must_refuse(place, "symbolic link");
    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(mkdir(place->path, 0700), 0);
    must_refuse(place, "no regular file");
    assert_int_equal(rmdir(place->path), 0);
}

static void
test_stamp_changes_with_the_file_only(void **state)
{
    struct place *place = *state;
    char first[HSM_WIRE_MAX_STAMP + 1];
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1, .tv_nsec = 1}};

    put(place, "1234\n");
    must_give(place, "1234");
    memcpy(first, place->stamp, sizeof(first));
    must_give(place, "1234");
    assert_string_equal(place->stamp, first);
    assert_null(strstr(place->stamp, "1234"));
    assert_int_equal(utimensat(AT_FDCWD, place->path, times, 0), 0);
    must_give(place, "1234");
    assert_string_not_equal(place->stamp, first);
}

static void
test_refused_file_is_not_read_again(void **state)
{
    struct place *place = *state;
    char refused[HSM_WIRE_MAX_STAMP + 1];

    put(place, "1234\n");
    must_give(place, "1234");
    memcpy(refused, place->stamp, sizeof(refused));
    assert_int_equal(read_again(place, refused), ATH_ERR_PIN_REQUIRED);
    assert_null(place->pin.data);
    assert_non_null(strstr(place->why.text, "was refused before; correct the file"));
    assert_non_null(strstr(place->why.text, place->path));
    put(place, "12345\n");
    assert_int_equal(read_again(place, refused), ATH_OK);
}

static void
test_credential_is_found_in_its_directory(void **state)
{
    struct place *place = *state;

    (void)snprintf(place->uri, sizeof(place->uri), "pkcs11:token=t?pin-source=credential:pin");
    put(place, "1234\n");
    assert_int_equal(read_again(place, ""), ATH_ERR_PIN_REQUIRED);
    assert_non_null(strstr(place->why.text, "LoadCredential=pin"));
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", place->dir, 1), 0);
    must_give(place, "1234");
    assert_int_equal(chmod(place->path, 0440), 0); /* an ACL's mask */
    must_give(place, "1234");
    assert_int_equal(chmod(place->path, 0444), 0);
    must_refuse(place, "others may read");
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "relative", 1), 0);
    assert_int_equal(read_again(place, ""), ATH_ERR_PIN_REQUIRED);
}

static void
test_uri_without_pin_source_is_told(void **state)
{
    struct place *place = *state;

    (void)snprintf(place->uri, sizeof(place->uri), "pkcs11:token=t");
    assert_int_equal(read_again(place, ""), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(place->why.text, "no pin-source"));
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pin_is_what_stands_before_the_line_end),
        TEST(test_what_is_no_pin_is_refused),
        TEST(test_file_that_others_may_read_or_write_is_refused),
        TEST(test_what_is_no_plain_file_is_refused),
        TEST(test_stamp_changes_with_the_file_only),
        TEST(test_refused_file_is_not_read_again),
        TEST(test_credential_is_found_in_its_directory),
        TEST(test_uri_without_pin_source_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
