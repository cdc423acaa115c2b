/* Key files go both ways between us and tpm2-openssl, on a swtpm both reach by a Unix socket. */
#include "fixture_tpm.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "crypto/digest.h"
#include "skip.h"

#define PROVIDERS "-provider tpm2 -provider default -propquery '?provider=tpm2'"

struct shared {
    char dir[64];
    pid_t swtpm;
    struct hsm *hsm; /* only while `openssl` is not running: swtpm serves one at a time */
};

static bool
has_provider(void)
{
    return system("openssl list -providers -provider tpm2 >/dev/null 2>&1") == 0;
}

static void
start_swtpm(struct shared *shared)
{
    char state[96], server[128], control[128];
    char program[] = "swtpm", mode[] = "socket", tpm2[] = "--tpm2", state_option[] = "--tpmstate",
         server_option[] = "--server", control_option[] = "--ctrl", flags[] = "--flags",
         flags_value[] = "not-need-init,startup-clear";
    char *argv[] = {program, mode,           tpm2,    state_option, state,       server_option,
                    server,  control_option, control, flags,        flags_value, NULL};

    (void)snprintf(state, sizeof(state), "dir=%s", shared->dir);
    (void)snprintf(server, sizeof(server), "type=unixio,path=%s/sock", shared->dir);
    (void)snprintf(control, sizeof(control), "type=unixio,path=%s/sock.ctrl", shared->dir);
    shared->swtpm = fork();
    assert_true(shared->swtpm >= 0);
    if (shared->swtpm == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(126);
        execvp(program, argv);
        _exit(127);
    }
}

static bool
takes_connections(const struct shared *shared, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool does;

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", shared->dir, name);
    does = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    fd_close(&fd);
    return does;
}

/* A file is there from bind(2) on, and the one before the other. */
static void
wait_for_sockets(const struct shared *shared)
{
    for (unsigned i = 0; i < 6000; i++) {
        if (takes_connections(shared, "sock.ctrl") && takes_connections(shared, "sock"))
            return;
        (void)usleep(10000);
    }
    fail_msg("swtpm does not start");
}

static int
setup(void **state)
{
    struct shared *shared = calloc(1, sizeof(*shared));
    char tcti[128];

    assert_non_null(shared);
    *state = shared;
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(crypto_init(), ATH_OK);
    make_temp_dir(shared->dir);
    start_swtpm(shared);
    wait_for_sockets(shared);
    (void)snprintf(tcti, sizeof(tcti), "swtpm:path=%s/sock", shared->dir);
    assert_int_equal(setenv("TPM2OPENSSL_TCTI", tcti, 1), 0);
    return 0;
}

static int
teardown(void **state)
{
    struct shared *shared = *state;

    (void)kill(shared->swtpm, SIGKILL);
    (void)waitpid(shared->swtpm, NULL, 0);
    remove_tree(shared->dir);
    free(shared);
    return 0;
}

static void
open_hsm(struct shared *shared)
{
    char uri[128];
    struct hsm_options options = {.uri = uri, .state_dir = shared->dir};
    struct hsm_fault fault = {0};
    ath_err err;

    (void)snprintf(uri, sizeof(uri), "tpm:tcti=swtpm:path=%s/sock", shared->dir);
    err = tpm_backend_ops.open(&options, &fault, &shared->hsm);
    if (err != ATH_OK)
        fail_msg("%s", why_text(&fault.why, err));
}

static void
close_hsm(struct shared *shared)
{
    tpm_backend_ops.close(shared->hsm);
    shared->hsm = NULL;
}

static void
put_file(const struct shared *shared, const char *name, struct ath_slice content)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", shared->dir, name);
    assert_int_equal(file_replace(path, content, NULL), ATH_OK);
}

static void
get_file(const struct shared *shared, const char *name, struct ath_buf *out)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", shared->dir, name);
    ath_buf_clear(out);
    assert_int_equal(file_read(path, out, NULL), ATH_OK);
}

/* Runs in the directory; its output is shown when it fails. */
static void
run(const struct shared *shared, const char *command)
{
    char line[2048];

    (void)snprintf(line, sizeof(line), "cd %s && { %s; } >out 2>&1 || { cat out; false; }",
                   shared->dir, command);
    assert_int_equal(system(line), 0);
}

static void
test_openssl_signs_with_our_key_file(void **state)
{
    static const struct {
        enum key_algorithm algorithm;
        const char *command;
    } cases[] = {
        {KEY_ES256, "openssl dgst " PROVIDERS " -sha256 -sign key.pem -out signature message"},
        {KEY_ES384, "openssl dgst " PROVIDERS " -sha384 -sign key.pem -out signature message"},
    };
    const struct ath_slice message = ath_slice_of_string("made by us, signed by openssl\n");
    struct ath_buf blob = {0}, der = {0};
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct shared *shared = *state;

    if (!has_provider())
        skip_because("openssl has no provider tpm2 here");
    for (size_t i = 0; i < 2; i++) {
        size_t len = key_algorithm_signature_len(cases[i].algorithm);
        struct hsm_fault fault = {0};
        struct public_key *public;
        struct hsm_key *key = NULL;

        ath_buf_clear(&blob);
        open_hsm(shared);
        assert_int_equal(tpm_backend_ops.key_create(shared->hsm, cases[i].algorithm,
                                                    HSM_KEY_IDENTITY, "x", &fault, &blob),
                         ATH_OK);
        assert_int_equal(tpm_backend_ops.key_open(shared->hsm, ath_buf_slice(&blob), &fault, &key),
                         ATH_OK);
        public = public_key_ref(key->public);
        tpm_backend_ops.key_close(shared->hsm, key);
        close_hsm(shared);
        put_file(shared, "key.pem", ath_buf_slice(&blob));
        put_file(shared, "message", message);
        run(shared, cases[i].command);
        get_file(shared, "signature", &der);
        assert_int_equal(signature_from_der(cases[i].algorithm, ath_buf_slice(&der), signature),
                         ATH_OK);
        assert_int_equal(public_key_verify(public, message, ath_slice_of(signature, len)), ATH_OK);
        public_key_free(public);
    }
    ath_buf_done(&blob);
    ath_buf_done(&der);
}

static void
import(struct shared *shared, struct hsm_key **ret_key)
{
    struct hsm_fault fault = {0};
    struct ath_buf blob = {0};
    ath_err err;

    get_file(shared, "key.pem", &blob);
    open_hsm(shared);
    err = tpm_backend_ops.key_open(shared->hsm, ath_buf_slice(&blob), &fault, ret_key);
    if (err != ATH_OK)
        fail_msg("%s", why_text(&fault.why, err));
    ath_buf_done(&blob);
}

static void
test_key_of_tpm2_openssl_signs_and_shows_what_it_may(void **state)
{
    const struct ath_slice message = ath_slice_of_string("made by openssl, signed by us");
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct shared *shared = *state;
    struct hsm_fault fault = {0};
    struct hsm_key_facts facts;
    struct hsm_key *key = NULL;

    if (!has_provider())
        skip_because("openssl has no provider tpm2 here");
    run(shared, "openssl genpkey " PROVIDERS " -algorithm EC -pkeyopt group:P-256 -out key.pem");
    import(shared, &key);
    tpm_backend_ops.key_facts(key, &facts);
    assert_true(facts.decrypt && facts.da && facts.empty_auth);
    assert_true(facts.generated_inside && facts.fixed_tpm && !facts.extractable);
    assert_int_equal(hsm_sign(&tpm_backend_ops, shared->hsm, key, message, &fault, signature),
                     ATH_OK);
    assert_int_equal(public_key_verify(key->public, message, ath_slice_of(signature, 64)), ATH_OK);
    tpm_backend_ops.key_close(shared->hsm, key);
    close_hsm(shared);
}

static void
test_key_of_tpm2_openssl_with_a_password_signs_with_it(void **state)
{
    const struct ath_slice message = ath_slice_of_string("made by openssl, signed by us");
    const struct ath_slice wrong = ath_slice_of_string("abd"), right = ath_slice_of_string("abc");
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct shared *shared = *state;
    struct hsm_fault fault = {0};
    struct hsm_key_facts facts;
    struct hsm_key *key = NULL;

    if (!has_provider())
        skip_because("openssl has no provider tpm2 here");
    run(shared, "openssl genpkey " PROVIDERS
                " -algorithm EC -pkeyopt group:P-256 -pkeyopt user-auth:abc -out key.pem");
    import(shared, &key);
    tpm_backend_ops.key_facts(key, &facts);
    assert_true(facts.da && !facts.empty_auth);
    assert_int_equal(hsm_sign(&tpm_backend_ops, shared->hsm, key, message, &fault, signature),
                     ATH_ERR_PIN_REQUIRED);
    assert_int_equal(tpm_backend_ops.key_login(shared->hsm, key, wrong, &fault),
                     ATH_ERR_PIN_INCORRECT);
    assert_non_null(strstr(fault.why.text, "counted")); /* such keys can be locked */
    assert_int_equal(tpm_backend_ops.key_login(shared->hsm, key, right, &fault), ATH_OK);
    assert_int_equal(hsm_sign(&tpm_backend_ops, shared->hsm, key, message, &fault, signature),
                     ATH_OK);
    assert_int_equal(public_key_verify(key->public, message, ath_slice_of(signature, 64)), ATH_OK);
    tpm_backend_ops.key_close(shared->hsm, key);
    close_hsm(shared);
}

/* A key of ours with a PIN, in key.pem. */
static struct public_key *
make_key_with_pin(struct shared *shared, const char *pin)
{
    struct public_key *public;
    struct hsm_fault fault = {0};
    struct hsm_key *key = NULL;
    struct ath_buf blob = {0};

    open_hsm(shared);
    assert_int_equal(tpm_backend_ops.key_create_with_pin(shared->hsm, KEY_ES256, "x",
                                                         ath_slice_of_string(pin), &fault, &blob),
                     ATH_OK);
    assert_int_equal(tpm_backend_ops.key_open(shared->hsm, ath_buf_slice(&blob), &fault, &key),
                     ATH_OK);
    public = public_key_ref(key->public);
    tpm_backend_ops.key_close(shared->hsm, key);
    close_hsm(shared);
    put_file(shared, "key.pem", ath_buf_slice(&blob));
    ath_buf_done(&blob);
    return public;
}

/* With this PIN, and (else this proves nothing) not with another. */
static void
check_other_program(struct shared *shared, const char *with_right, const char *with_wrong)
{
    const struct ath_slice message = ath_slice_of_string("made by us, signed by others");
    struct public_key *public = make_key_with_pin(shared, "7531-right");
    uint8_t signature[SIGNATURE_MAX_LEN];
    struct ath_buf der = {0};
    char line[1024];

    put_file(shared, "message", message);
    (void)snprintf(line, sizeof(line), "! { %s; }", with_wrong);
    run(shared, line);
    run(shared, with_right);
    get_file(shared, "signature", &der);
    assert_int_equal(signature_from_der(KEY_ES256, ath_buf_slice(&der), signature), ATH_OK);
    assert_int_equal(public_key_verify(public, message, ath_slice_of(signature, 64)), ATH_OK);
    public_key_free(public);
    ath_buf_done(&der);
}

#define OPENSSL_SIGN(pin)                                                                          \
    "openssl dgst " PROVIDERS " -sha256 -sign key.pem -passin pass:" pin " -out signature message"

static void
test_openssl_signs_with_our_key_and_its_pin(void **state)
{
    if (!has_provider())
        skip_because("openssl has no provider tpm2 here");
    check_other_program(*state, OPENSSL_SIGN("7531-right"), OPENSSL_SIGN("7531-wrong"));
}

/* tpm2_load derives the parent itself, by what the file says. */
#define TOOLS_SIGN(pin)                                                                            \
    "export TPM2TOOLS_TCTI=$TPM2OPENSSL_TCTI && tpm2_flushcontext -t && "                          \
    "tpm2_load -Q -r key.pem -c key && tpm2_flushcontext -t && "                                   \
    "tpm2_sign -Q -c key -p " pin " -g sha256 -f plain -o signature message"

static void
test_tpm2_tools_sign_with_our_key_and_its_pin(void **state)
{
    if (system("tpm2_sign --version >/dev/null 2>&1") != 0)
        skip_because("there are no tpm2-tools here");
    check_other_program(*state, TOOLS_SIGN("7531-right"), TOOLS_SIGN("7531-wrong"));
}

/* Through a TCTI that dials anew for each command, others come in between; we leave nothing. */
static void
test_nothing_is_left_for_the_next_program(void **state)
{
    struct shared *shared = *state;
    struct hsm_key *key = NULL;

    if (!has_provider())
        skip_because("openssl has no provider tpm2 here");
    for (int i = 0; i < 5; i++) {
        run(shared,
            "openssl genpkey " PROVIDERS " -algorithm EC -pkeyopt group:P-384 -out key.pem");
        import(shared, &key);
        tpm_backend_ops.key_close(shared->hsm, key);
        close_hsm(shared);
    }
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_openssl_signs_with_our_key_file),
        TEST(test_key_of_tpm2_openssl_signs_and_shows_what_it_may),
        TEST(test_key_of_tpm2_openssl_with_a_password_signs_with_it),
        TEST(test_openssl_signs_with_our_key_and_its_pin),
        TEST(test_tpm2_tools_sign_with_our_key_and_its_pin),
        TEST(test_nothing_is_left_for_the_next_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
