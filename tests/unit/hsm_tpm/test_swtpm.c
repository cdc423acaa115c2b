#include "fixture_tpm.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "crypto/digest.h"
#include "hsm/tpm/swtpm_state.h"

static int
setup(void **state)
{
    char *dir = malloc(64);

    assert_non_null(dir);
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(crypto_init(), ATH_OK);
    make_temp_dir(dir);
    *state = dir;
    return 0;
}

static int
teardown(void **state)
{
    remove_tree(*state);
    free(*state);
    return 0;
}

static unsigned said_slow;

static void
on_slow(void *ctx, const char *why)
{
    assert_null(ctx);
    assert_non_null(strstr(why, "is being made"));
    said_slow++;
}

static struct hsm *
open_swtpm(const char *dir)
{
    struct hsm_options options = {.uri = "swtpm:", .state_dir = dir, .is_slow = on_slow};
    struct hsm_fault fault = {0};
    struct hsm *hsm = NULL;
    ath_err err = tpm_backend_ops.open(&options, &fault, &hsm);

    if (err != ATH_OK)
        fail_msg("%s", why_text(&fault.why, err));
    return hsm;
}

static bool
is_there(const char *dir, const char *name)
{
    char path[256];
    struct stat status;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return stat(path, &status) == 0;
}

static void
write_file(const char *dir, const char *name, const char *text)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(file_replace(path, ath_slice_of_string(text), NULL), ATH_OK);
}

static void
make_dir(const char *dir, const char *name)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void
test_first_start_makes_a_tpm_with_ek_certificate(void **state)
{
    const char *dir = *state;
    struct hsm *hsm = open_swtpm(dir);
    struct hsm_info info;

    tpm_backend_ops.info(hsm, &info);
    assert_string_equal(info.kind, "tpm");
    assert_true(info.software);
    assert_true(info.has_ek_certificate);
    assert_string_equal(info.manufacturer, "IBM");
    assert_non_null(strstr(info.model, "SW"));
    assert_true(strlen(info.firmware) > 0);
    assert_int_equal(info.algorithms, 1u << KEY_ES256 | 1u << KEY_ES384);
    tpm_backend_ops.close(hsm);
    assert_true(is_there(dir, "swtpm/tpm2-00.permall"));
    assert_false(is_there(dir, "swtpm.new"));
}

static void
test_that_it_is_made_is_said_and_then_no_more(void **state)
{
    said_slow = 0;
    tpm_backend_ops.close(open_swtpm(*state));
    assert_int_equal(said_slow, 1);
    tpm_backend_ops.close(open_swtpm(*state));
    assert_int_equal(said_slow, 1);
}

static void
test_failing_setup_goes_on_without_ek_certificate(void **state)
{
    const char *dir = *state;
    struct hsm_info info;
    struct hsm *hsm;

    make_dir(dir, "swtpm-ca");
    write_file(dir, "swtpm-ca/swtpm_setup.conf", "create_certs_tool = /nonexistent\n");
    hsm = open_swtpm(dir);
    tpm_backend_ops.info(hsm, &info);
    assert_false(info.has_ek_certificate);
    tpm_backend_ops.close(hsm);
}

static void
test_setup_that_was_killed_is_done_again(void **state)
{
    const char *dir = *state;
    struct hsm_info info;
    struct hsm *hsm;

    make_dir(dir, "swtpm.new");
    write_file(dir, "swtpm.new/tpm2-00.permall", "half a state");
    hsm = open_swtpm(dir);
    tpm_backend_ops.info(hsm, &info);
    assert_true(info.has_ek_certificate);
    tpm_backend_ops.close(hsm);
}

static void
test_keys_survive_a_restart(void **state)
{
    const char *dir = *state;
    struct ath_buf blob = {0};
    struct hsm_fault fault = {0};
    struct hsm_key *key = NULL;
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct hsm *hsm;

    make_dir(dir, "swtpm");
    hsm = open_swtpm(dir);
    assert_int_equal(
        tpm_backend_ops.key_create(hsm, KEY_ES256, HSM_KEY_IDENTITY, "x", &fault, &blob), ATH_OK);
    tpm_backend_ops.close(hsm);
    hsm = open_swtpm(dir);
    assert_int_equal(tpm_backend_ops.key_open(hsm, ath_buf_slice(&blob), &fault, &key), ATH_OK);
    assert_int_equal(
        hsm_sign(&tpm_backend_ops, hsm, key, ath_slice_of_string("x"), &fault, signature), ATH_OK);
    tpm_backend_ops.key_close(hsm, key);
    tpm_backend_ops.close(hsm);
    ath_buf_done(&blob);
}

static void
test_unfit_state_directory_is_refused(void **state)
{
    struct hsm_options options = {.uri = "swtpm:", .state_dir = "relative"};
    struct hsm_fault fault = {0};
    struct hsm *hsm = NULL;
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/file", (const char *)*state);
    write_file(*state, "file", "not a directory");
    options.state_dir = path;
    assert_int_equal(tpm_backend_ops.open(&options, &fault, &hsm), ATH_ERR_HSM_UNAVAILABLE);
    assert_true(fault.why.text[0] != '\0');
}

static void
test_uris_that_lead_nowhere_say_so(void **state)
{
    static const struct {
        const char *uri;
        ath_err err;
    } cases[] = {
        {"tpm:device=/nonexistent/tpm", ATH_ERR_HSM_UNAVAILABLE},
        {"tpm:tcti=nonexistent", ATH_ERR_HSM_UNAVAILABLE},
        {"tpm:tcti=swtpm:host=127.0.0.1,port=1", ATH_ERR_HSM_UNAVAILABLE},
        {"tpm:", ATH_ERR_INVALID_PARAMS},
        {"tpm:device=relative", ATH_ERR_INVALID_PARAMS},
        {"tpm:tcti=", ATH_ERR_INVALID_PARAMS},
        {"swtpm:x", ATH_ERR_INVALID_PARAMS},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hsm_options options = {.uri = cases[i].uri, .state_dir = *state};
        struct hsm_fault fault = {0};
        struct hsm *hsm = NULL;

        assert_int_equal(tpm_backend_ops.open(&options, &fault, &hsm), cases[i].err);
        assert_true(fault.why.text[0] != '\0');
    }
}

static void
test_swtpm_ends_when_its_connection_closes(void **state)
{
    const struct hsm_options options = {.state_dir = *state};
    struct swtpm *swtpm = NULL;
    struct why why;
    int fd = -1;

    make_dir(*state, "swtpm");
    assert_int_equal(swtpm_start(&options, &why, &swtpm, &fd), ATH_OK);
    close(fd);
    swtpm_stop(swtpm);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

static void
test_second_swtpm_on_the_same_state_is_refused_with_the_firsts_pid(void **state)
{
    struct swtpm *first = NULL, *second = NULL;
    struct hsm_options options = {.uri = "swtpm:", .state_dir = *state};
    struct tpm_connection connection;
    struct tpm_device *device = NULL;
    struct hsm_fault fault = {0};
    struct why why;
    int fd = -1;

    make_dir(*state, "swtpm");
    assert_int_equal(tpm_connect(&options, &fault, &connection), ATH_OK);
    first = connection.swtpm;
    assert_int_equal(tpm_device_open(connection.transport, true, &fault, &device), ATH_OK);
    assert_int_equal(swtpm_start(&options, &why, &second, &fd), ATH_ERR_HSM_UNAVAILABLE);
    assert_non_null(strstr(why.text, "in use by process"));
    tpm_device_close(device);
    swtpm_stop(first);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_first_start_makes_a_tpm_with_ek_certificate),
        TEST(test_that_it_is_made_is_said_and_then_no_more),
        TEST(test_failing_setup_goes_on_without_ek_certificate),
        TEST(test_setup_that_was_killed_is_done_again),
        TEST(test_keys_survive_a_restart),
        TEST(test_unfit_state_directory_is_refused),
        TEST(test_uris_that_lead_nowhere_say_so),
        TEST(test_swtpm_ends_when_its_connection_closes),
        TEST(test_second_swtpm_on_the_same_state_is_refused_with_the_firsts_pid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
