#include "tests/support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "athd/config.h"
#include "base/fd.h"
#include "tests/support/skip.h"

static char dir[64];

static int
begin(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/ath-test-config-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return 1;
    setenv("XDG_CONFIG_HOME", dir, 1);
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    setenv("XDG_STATE_HOME", "/state", 1);
    unsetenv("LISTEN_FDS");
    return 0;
}

static int
end(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return strncmp(dir, "/tmp/ath-test-config-", 21) != 0 || system(command) != 0;
}

static void
write_file(const char *name, const char *text)
{
    char path[256], *slash;
    int fd;

    snprintf(path, sizeof(path), "%s/ath/%s", dir, name);
    for (slash = path + strlen(dir) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, ath_slice_of_string(text)), ATH_OK);
    fd_close(&fd);
}

#define ARGUMENTS(...)                                                                             \
    (char *[]){"athd", __VA_ARGS__, NULL}, sizeof((char *[]){"athd", __VA_ARGS__}) / sizeof(char *)

static ath_err
settle(char **argv, size_t argc, struct why *why, struct config *config)
{
    ath_err err;

    *why = (struct why){{0}};
    *config = (struct config){0};
    if ((err = config_from_arguments((int)argc, argv, why, config)) != ATH_OK)
        return err;
    return config_settle(config, why);
}

static void
test_flags_are_read_and_hsms_named(void **state)
{
    struct config config;
    struct why why;

    (void)state;
    assert_int_equal(
        settle(ARGUMENTS("--socket", "/s/a.sock", "--state-dir=/d", "--software-tpm", "--hsm",
                         "tpm:device=/dev/tpmrm0", "--hsm", "tpm:device=/dev/tpmrm1", "--log-level",
                         "debug", "--prompter", "ask"),
               &why, &config),
        ATH_OK);
    assert_string_equal(config.socket, "/s/a.sock");
    assert_string_equal(config.state_dir, "/d");
    assert_string_equal(config.prompter, "ask");
    assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(config.hsm_count, 3);
    assert_string_equal(config.hsms[0].name, "swtpm");
    assert_string_equal(config.hsms[1].name, "tpm");
    assert_string_equal(config.hsms[2].name, "tpm-2");
    assert_int_equal(config.consent_timeout_s, 120);
    assert_non_null(strstr(config.helper, "ath-hsm-helper"));
    config_done(&config);
}

static void
test_defaults_follow_the_xdg_directories(void **state)
{
    struct config config;
    struct why why;

    (void)state;
    assert_int_equal(settle(ARGUMENTS("--software-tpm"), &why, &config), ATH_OK);
    assert_string_equal(config.socket, "/run/user/7/ath/agent.sock");
    assert_string_equal(config.state_dir, "/state/ath");
    assert_string_equal(config.prompter, "pinentry");
    assert_int_equal(config.audit.segment_size, 16777216);
    assert_int_equal(config.audit.segment_age_s, 2592000);
    assert_int_equal(config.audit.checkpoint_interval_s, 3600);
    assert_int_equal(config.audit.uid_bytes_per_day, 1073741824);
    assert_int_equal(config.audit.keep_days, 0);
    assert_int_equal(config.audit.keep_segments, 0);
    config_done(&config);
}

static void
test_settings_of_the_audit_log_are_read_and_those_that_may_change_reloaded(void **state)
{
    struct config config;
    struct why why;

    (void)state;
    write_file("athd.json", "{\"audit\": {\"segment_size\": 4096, \"segment_age\": 0, "
                            "\"uid_bytes_per_day\": 8388608}}");
    assert_int_equal(settle(ARGUMENTS("--software-tpm"), &why, &config), ATH_OK);
    assert_int_equal(config.audit.segment_size, 4096);
    assert_int_equal(config.audit.segment_age_s, 0);
    assert_int_equal(config.audit.uid_bytes_per_day, 8388608);
    write_file("athd.json",
               "{\"audit\": {\"segment_size\": 8192, \"checkpoint_interval\": 7, \"keep_days\": 8, "
               "\"keep_segments\": 9, \"uid_bytes_per_day\": 0, \"witness\": true}}");
    assert_int_equal(config_reload(&config, &why), ATH_OK);
    assert_non_null(strstr(why.text, "at the next start"));
    assert_int_equal(config.audit.segment_size, 4096);
    assert_int_equal(config.audit.checkpoint_interval_s, 7);
    assert_int_equal(config.audit.keep_days, 8);
    assert_int_equal(config.audit.keep_segments, 9);
    assert_int_equal(config.audit.uid_bytes_per_day, 0);
    assert_true(config.audit.witness);
    config_done(&config);
}

static void
test_relative_paths_become_absolute(void **state)
{
    struct config config;
    struct why why;

    (void)state;
    assert_int_equal(chdir("/tmp"), 0);
    assert_int_equal(
        settle(ARGUMENTS("--software-tpm", "--socket", "x/a", "--state-dir", "y"), &why, &config),
        ATH_OK);
    assert_string_equal(config.socket, "/tmp/x/a");
    assert_string_equal(config.state_dir, "/tmp/y");
    config_done(&config);
}

static void
test_unknown_flags_and_words_are_usage_errors(void **state)
{
    struct config config;
    struct why why;

    (void)state;
    assert_int_equal(settle(ARGUMENTS("--nonsense"), &why, &config), ATH_ERR_USAGE);
    assert_non_null(strstr(why.text, "--nonsense"));
    assert_int_equal(settle(ARGUMENTS("word"), &why, &config), ATH_ERR_USAGE);
    assert_int_equal(settle(ARGUMENTS("--socket"), &why, &config), ATH_ERR_USAGE);
    assert_int_equal(settle(ARGUMENTS("--socket", ""), &why, &config), ATH_ERR_USAGE);
    assert_non_null(strstr(why.text, "--socket"));
    assert_int_equal(settle(ARGUMENTS("--log-level", "loud"), &why, &config), ATH_ERR_USAGE);
    assert_int_equal(settle(ARGUMENTS("--hsm", "usb:1"), &why, &config), ATH_ERR_USAGE);
}

static void
test_files_are_read_in_order_and_flags_win(void **state)
{
    struct config config;
    struct why why;

    (void)state;
    write_file("athd.json",
               "{\n // first\n \"hsm\": [{\"name\": \"main\", \"uri\": \"swtpm:\"}],\n"
               " \"socket\": \"/from/file\", \"consent_timeout\": 30, \"log_level\": \"error\","
               " \"lock_on\": [\"session\", \"suspend\"]}");
    write_file("conf.d/20.json", "{\"consent_timeout\": 50}");
    write_file("conf.d/10.json", "{\"consent_timeout\": 40, \"prompter\": \"mine\"}");
    write_file("conf.d/ignored.txt", "nonsense");
    assert_int_equal(settle(ARGUMENTS("--socket", "/from/flag"), &why, &config), ATH_OK);
    assert_string_equal(config.hsms[0].name, "main");
    assert_string_equal(config.socket, "/from/flag");
    assert_string_equal(config.prompter, "mine");
    assert_int_equal(config.consent_timeout_s, 50);
    assert_int_equal(config.lock_on, CONFIG_LOCK_ON_SUSPEND | CONFIG_LOCK_ON_SESSION);
    assert_int_equal(config.log_level, LOG_LEVEL_ERROR);
    config_done(&config);
    assert_int_equal(settle(ARGUMENTS("--software-tpm"), &why, &config), ATH_OK);
    assert_int_equal(config.hsm_count, 1);
    assert_string_equal(config.hsms[0].name, "swtpm");
    config_done(&config);
}

static void
test_pin_in_a_uri_is_refused_and_not_repeated(void **state)
{
    static const char *const uris[] = {"pkcs11:token=x?pin-value=123456",
                                       "PKCS11:token=x?pin-value=123456",
                                       "pkcs11;token=x?pin-value=123456"};
    struct config config = {0};
    struct why why;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        why = (struct why){{0}};
        assert_int_equal(config_add_hsm(&config, NULL, uris[i], &why), ATH_ERR_INVALID_PARAMS);
        assert_null(strstr(why.text, "123456"));
        assert_true(strlen(why.text) > 20);
    }
    assert_int_equal(config.hsm_count, 0);
    config_done(&config);
}

static void
test_tokens_are_named_and_their_pin_has_its_time(void **state)
{
    static const char text[] = "{\"hsm\": [{\"uri\": \"pkcs11:token=a?module-path=/m.so\"},\n"
                               "{\"uri\": \"pkcs11:serial=b?module-path=/m.so\", \"pin_ttl\": 300,"
                               "\"pin_users\": [\"root\", 12301]}]}";
    char *argv[] = {(char[]){"athd"}, (char[]){"--socket"}, (char[]){"/s"}, NULL};
    struct config config, other = {0};
    struct why why = {{0}};

    (void)state;
    assert_int_equal(config_from_arguments(3, argv, &why, &config), ATH_OK);
    assert_int_equal(config_read_text(&config, ath_slice_of_string(text), "athd.json", &why),
                     ATH_OK);
    assert_int_equal(config_settle(&config, &why), ATH_OK);
    assert_int_equal(config.hsm_count, 2);
    assert_string_equal(config.hsms[0].name, "pkcs11");
    assert_string_equal(config.hsms[1].name, "pkcs11-2");
    assert_int_equal(config.hsms[0].pin_ttl_s, 0);
    assert_int_equal(config.hsms[1].pin_ttl_s, 300);
    assert_int_equal(config.hsms[0].pin_uid_count, 0);
    assert_int_equal(config.hsms[1].pin_uid_count, 2);
    assert_int_equal(config.hsms[1].pin_uids[0], 0);
    assert_int_equal(config.hsms[1].pin_uids[1], 12301);
    assert_int_equal(config_check_tokens(&config, &why), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "/m.so"));
    assert_int_equal(config_add_hsm(&other, "pkcs11", config.hsms[0].uri, &why), ATH_OK);
    assert_true(config_needs_start(&config, &other));
    config_done(&other);
    config_done(&config);
}

static ath_err
check_token(const char *query, struct why *why)
{
    char *argv[] = {(char[]){"athd"}, NULL}, uri[512];
    struct config config;
    ath_err err;

    assert_int_equal(config_from_arguments(1, argv, why, &config), ATH_OK);
    snprintf(uri, sizeof(uri), "pkcs11:token=a?%s", query);
    assert_int_equal(config_add_hsm(&config, "card", uri, why), ATH_OK);
    err = config_check_tokens(&config, why);
    config_done(&config);
    return err;
}

static void
test_what_the_helper_would_refuse_is_told_before(void **state)
{
    char path[128], query[256];
    struct why why = {{0}};

    (void)state;
    write_file("pin", "1234\n");
    snprintf(path, sizeof(path), "%s/ath/pin", dir);
    snprintf(query, sizeof(query), "module-path=%s", path);
    assert_int_equal(check_token(query, &why), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "nor any other shared library"));
    snprintf(query, sizeof(query), "pin-source=file:%s", path);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(check_token(query, &why), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "chmod 600"));
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(check_token(query, &why), ATH_OK);
    snprintf(query, sizeof(query), "pin-source=file:%s", dir);
    assert_int_equal(check_token(query, &why), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "cannot be read"));
}

static void
test_wrong_files_are_told_with_file_and_line(void **state)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"{\n\n \"sokcet\": \"/x\"}", "athd.json:3: \"sokcet\""},
        {"{\n \"log_level\": \"loud\"}", "athd.json:2: \"log_level\""},
        {"{\"consent_timeout\": 0}", "athd.json:1: \"consent_timeout\""},
        {"{\"consent_timeout\": \"5\"}", "athd.json:1: \"consent_timeout\""},
        {"{\"lock_on\": \"suspend\"}", "athd.json:1: \"lock_on\""},
        {"{\n\"lock_on\": [\"suspend\", \"sleep\"]}", "athd.json:2: \"lock_on\""},
        {"{\"lock_on\": [1]}", "athd.json:1: \"lock_on\""},
        {"{\"socket\": \"\"}", "athd.json:1: \"socket\""},
        {"{\n\"hsm\": {}}", "athd.json:2: \"hsm\""},
        {"{\n\"hsm\": [\n{\"uri\": \"usb:\"}]}", "athd.json:3: \"usb:\""},
        {"{\"hsm\": [{\"name\": \"x\"}]}", "\"hsm\""},
        {"{\"hsm\": [{\"uri\": \"swtpm:\",\n\"speed\": 1}]}", "athd.json:2: \"speed\""},
        {"{\"hsm\": [{\"uri\": \"swtpm:\", \"name\": \"a\"}, {\"uri\": \"tpm:device=/d\", "
         "\"name\": \"a\"}]}",
         "two hsms"},
        {"{\"hsm\": [{\"uri\": \"swtpm:\", \"name\": \"a\"}, {\"uri\": \"swtpm:\", \"name\": "
         "\"b\"}]}",
         "athd.json:1: swtpm: (or --software-tpm) is given twice"},
        {"{\"hsm\": [{\"uri\": \"swtpm:\", \"name\": \"../a\"}]}", "cannot be the name"},
        {"[]", "must be a JSON object"},
        {"{\"socket\": \"/a\",\n\"socket\": \"/b\"}", "athd.json:2: "},
        {"{\"socket\": \"/a\",\n\n}", "athd.json:3: "},
        {"{\n\"hsm\": [\n{\"uri\": \"tpm:\"}]}", "athd.json:3: \"tpm:\" is no hsm"},
        {"{\n\"hsm\": [\n{\"uri\": \"tpm:tcti=\"}]}", "athd.json:3: \"tpm:tcti=\" is no hsm"},
        {"{\n\"hsm\": [\n{\"uri\": \"pkcs11:\"}]}",
         "athd.json:3: a pkcs11: URI of an hsm must name"},
        {"{\"hsm\": [{\"uri\": \"pkcs11:token=x;id=%01\"}]}", "names a token, not a key"},
        {"{\"hsm\": [{\"uri\": \"pkcs11:token=x;slot-id=1\"}]}", "names a slot"},
        {"{\"hsm\": [{\"uri\": \"pkcs11:token=x\", \"pin_ttl\": 0}]}", "pin_ttl"},
        {"{\"hsm\": [{\"uri\": \"swtpm:\", \"pin_ttl\": 86401}]}", "pin_ttl"},
        {"{\"hsm\": [{\"uri\": \"swtpm:\", \"pin_users\": []}]}", "\"pin_users\" must be a list"},
        {"{\"hsm\": [{\"uri\": \"swtpm:\", \"pin_users\": [-1]}]}", "\"pin_users\" must be a list"},
        {"{\"hsm\": [{\"uri\": \"swtpm:\", \"pin_users\": [\"no-such-user\"]}]}", "\"pin_users\""},
        {"{\"hsm\": [{\"uri\": \"swtpm:\", \"pin_users\": \"root\"}]}", "\"pin_users\""},
        {"{\"hsm\": [\n{\"url\": \"swtpm:\"}]}", "athd.json:2: \"url\" is not known"},
        {"{\n\"state_dir\": \"~/ath\"}", "athd.json:2: \"state_dir\" must be an absolute path"},
        {"{\"socket\": \"a.sock\"}", "\"socket\" must be an absolute path"},
        {"{\"prompter\": \"bin/ask\"}", "\"prompter\" must be an absolute path"},
        {"{\"audit\": {\"uid_bytes_per_day\": 8388607}}", "\"uid_bytes_per_day\" must be 8388608"},
        {"{\"audit\": {\"uid_bytes_per_day\": 1099511627777}}", "\"uid_bytes_per_day\" must be"},
        {"{\"audit\": {\"uid_bytes_per_day\": -1}}", "\"uid_bytes_per_day\" must be"},
        {"{\"audit\": {\"uid_bytes_per_day\": \"8388608\"}}", "\"uid_bytes_per_day\" must be"},
        {"{\"audit\": {\"segment_size\": 4095}}", "\"segment_size\" must be 4096 to 1073741824"},
        {"{\"audit\": {\"segment_size\": 1073741825}}", "\"segment_size\" must be"},
        {"{\"audit\": {\"segment_age\": -1}}", "\"segment_age\" must be"},
        {"{\"audit\": {\"keep_segments\": 1000001}}", "\"keep_segments\" must be"},
        {"{\"audit\": {\"witness\": 1}}", "\"witness\" must be true or false"},
        {"{\"audit\": {\"hsm\": \"../a\"}}", "\"audit\" names its \"hsm\""},
        {"{\"audit\": {\"sigment_size\": 4096}}", "\"sigment_size\" is not known here"},
        {"{\"audit\": []}", "\"audit\" must be an object"},
    };
    struct config config;
    struct why why;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_file("athd.json", cases[i].text);
        assert_int_equal(settle(ARGUMENTS("--socket", "/s/a"), &why, &config),
                         ATH_ERR_INVALID_PARAMS);
        if (strstr(why.text, cases[i].expected) == NULL)
            fail_msg("%s: \"%s\" is not in \"%s\"", cases[i].text, cases[i].expected, why.text);
        config_done(&config);
    }
}

static void
test_a_file_that_strangers_may_write_is_refused_and_a_symlink_followed(void **state)
{
    struct config config;
    struct why why;
    char path[512], target[512];

    (void)state;
    write_file("athd.json", "{\"consent_timeout\": 33}");
    snprintf(path, sizeof(path), "%s/ath/athd.json", getenv("XDG_CONFIG_HOME"));
    snprintf(target, sizeof(target), "%s/ath/elsewhere", getenv("XDG_CONFIG_HOME"));
    assert_int_equal(chmod(path, 0606), 0);
    assert_int_equal(settle(ARGUMENTS("--software-tpm"), &why, &config), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "chmod o-w"));
    config_done(&config);
    assert_int_equal(chmod(path, 0664), 0);
    assert_int_equal(rename(path, target), 0);
    assert_int_equal(symlink("elsewhere", path), 0);
    assert_int_equal(settle(ARGUMENTS("--software-tpm"), &why, &config), ATH_OK);
    assert_int_equal(config.consent_timeout_s, 33);
    config_done(&config);
}

static void
test_programs_that_are_not_there_are_told(void **state)
{
    struct config config = {.helper = "/no/helper", .prompter = "/no/prompter"};
    struct why why = {""};

    (void)state;
    assert_int_equal(config_check_helper(&config, &why), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "/no/helper"));
    assert_int_equal(config_check_prompter(&config, &why), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "/no/prompter"));
    config.prompter = "no-such-program";
    assert_int_equal(config_check_prompter(&config, &why), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "$PATH"));
    config.prompter = "/"; /* a directory is no program */
    assert_int_equal(config_check_prompter(&config, &why), ATH_ERR_INVALID_PARAMS);
    config.prompter = "sh";
    config.helper = "/bin/sh";
    assert_int_equal(config_check_prompter(&config, &why), ATH_OK);
    assert_int_equal(config_check_helper(&config, &why), ATH_OK);
}

static void
test_named_file_must_be_there(void **state)
{
    struct config config;
    struct why why;

    (void)state;
    assert_int_equal(
        settle(ARGUMENTS("--config", "/no/such/file", "--software-tpm"), &why, &config),
        ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "/no/such/file"));
    config_done(&config);
}

static void
test_no_hsm_is_never_a_silent_software_tpm(void **state)
{
    struct config config;
    struct why why;

    (void)state;
    if (access("/dev/tpmrm0", F_OK) == 0)
        skip_because("this machine has a TPM: /dev/tpmrm0");
    assert_int_equal(settle(ARGUMENTS("--socket", "/s/a"), &why, &config), ATH_ERR_HSM_UNAVAILABLE);
    assert_non_null(strstr(why.text, "--software-tpm"));
    config_done(&config);
}

static void
test_nowhere_to_listen_is_a_usage_error_for_an_ordinary_user(void **state)
{
    struct config config;
    struct why why;

    (void)state;
    unsetenv("XDG_RUNTIME_DIR");
    if (geteuid() == 0) {
        assert_int_equal(settle(ARGUMENTS("--software-tpm"), &why, &config), ATH_OK);
        assert_string_equal(config.socket, "/run/ath/agent.sock");
    } else {
        assert_int_equal(settle(ARGUMENTS("--software-tpm"), &why, &config), ATH_ERR_USAGE);
    }
    config_done(&config);
}

static void
test_reload_takes_what_may_change_and_keeps_the_old_when_wrong(void **state)
{
    struct config config;
    struct why why;

    (void)state;
    write_file("athd.json", "{\"consent_timeout\": 30, \"socket\": \"/old\"}");
    assert_int_equal(settle(ARGUMENTS("--software-tpm"), &why, &config), ATH_OK);
    write_file("athd.json",
               "{\"consent_timeout\": 60, \"socket\": \"/new\", \"log_level\": \"debug\", "
               "\"prompter\": \"other\"}");
    assert_int_equal(config_reload(&config, &why), ATH_OK);
    assert_int_equal(config.consent_timeout_s, 60);
    assert_string_equal(config.prompter, "other");
    assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(config.socket, "/old");
    assert_non_null(strstr(why.text, "at the next start"));
    write_file("athd.json", "{\"consent_timeout\": 60, \"log_level\": \"debug\", "
                            "\"prompter\": \"other\", \"socket\": \"/old\"}");
    assert_int_equal(config_reload(&config, &why), ATH_OK);
    assert_string_equal(why.text, ""); /* nothing to warn of: no conf.d is no fault */
    write_file("athd.json", "{\"consent_timeout\": 90, \"nonsense\": 1}");
    assert_int_equal(config_reload(&config, &why), ATH_ERR_INVALID_PARAMS);
    assert_int_equal(config.consent_timeout_s, 60);
    assert_string_equal(config.prompter, "other");
    config_done(&config);
}

static ath_err
settle_once(void *ctx)
{
    struct config config = {0};
    struct why why;
    ath_err err = settle(ARGUMENTS("--socket", "/s/a", "--prompter", "p"), &why, &config);

    (void)ctx;
    config_done(&config);
    return err;
}

static void
test_each_failing_allocation_is_told(void **state)
{
    (void)state;
    write_file(
        "athd.json",
        "{\"hsm\": [{\"name\": \"main\", \"uri\": \"swtpm:\"}, {\"uri\": \"tpm:device=/d\"}]}");
    write_file("conf.d/10.json", "{\"prompter\": \"mine\"}");
    each_allocation_failing(settle_once, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_flags_are_read_and_hsms_named, begin, end),
        cmocka_unit_test_setup_teardown(test_defaults_follow_the_xdg_directories, begin, end),
        cmocka_unit_test_setup_teardown(
            test_settings_of_the_audit_log_are_read_and_those_that_may_change_reloaded, begin, end),
        cmocka_unit_test_setup_teardown(test_relative_paths_become_absolute, begin, end),
        cmocka_unit_test_setup_teardown(test_unknown_flags_and_words_are_usage_errors, begin, end),
        cmocka_unit_test_setup_teardown(test_files_are_read_in_order_and_flags_win, begin, end),
        cmocka_unit_test_setup_teardown(test_pin_in_a_uri_is_refused_and_not_repeated, begin, end),
        cmocka_unit_test_setup_teardown(test_tokens_are_named_and_their_pin_has_its_time, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_what_the_helper_would_refuse_is_told_before, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_wrong_files_are_told_with_file_and_line, begin, end),
        cmocka_unit_test_setup_teardown(
            test_a_file_that_strangers_may_write_is_refused_and_a_symlink_followed, begin, end),
        cmocka_unit_test(test_programs_that_are_not_there_are_told),
        cmocka_unit_test_setup_teardown(test_named_file_must_be_there, begin, end),
        cmocka_unit_test_setup_teardown(test_no_hsm_is_never_a_silent_software_tpm, begin, end),
        cmocka_unit_test_setup_teardown(
            test_nowhere_to_listen_is_a_usage_error_for_an_ordinary_user, begin, end),
        cmocka_unit_test_setup_teardown(
            test_reload_takes_what_may_change_and_keeps_the_old_when_wrong, begin, end),
        cmocka_unit_test_setup_teardown(test_each_failing_allocation_is_told, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
