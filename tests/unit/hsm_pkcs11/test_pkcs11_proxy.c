/* SoftHSM behind p11-kit's proxy module, which is what a URI without a module means. */
#include <stdio.h>
#include <sys/stat.h>

#include "fixture_token.h"

#define OPENED_AGAIN 5

static void
write_file(const struct fixture *fixture, const char *name, const char *text, const char *more)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", fixture->dir, name);
    assert_non_null(file = fopen(path, "w"));
    fprintf(file, "%s%s\n", text, more);
    assert_int_equal(fclose(file), 0);
}

static void
make_dir(const struct fixture *fixture, const char *name)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", fixture->dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

/* p11-kit shall know SoftHSM and nothing else of what is installed here (pkcs11.conf(5)). Root has
 * no configuration of its own: there all modules are loaded, and tpm2-pkcs11 looks for a TPM. */
static int
setup(void **state)
{
    struct fixture *fixture;

    fixture_setup_closed(state);
    fixture = *state;
    assert_int_equal(setenv("XDG_CONFIG_HOME", fixture->dir, 1), 0);
    assert_int_equal(setenv("TPM2_PKCS11_STORE", fixture->dir, 1), 0);
    assert_int_equal(setenv("TSS2_LOG", "all+none", 1), 0);
    make_dir(fixture, "pkcs11");
    make_dir(fixture, "pkcs11/modules");
    write_file(fixture, "pkcs11/pkcs11.conf", "user-config: ", "only");
    write_file(fixture, "pkcs11/modules/softhsm2.module", "module: ", fixture->module);
    return 0;
}

static void
test_key_is_made_and_signs_through_the_proxy(void **state)
{
    static const enum key_algorithm algorithms[] = {KEY_ES256, KEY_ES384, KEY_EDDSA};
    struct fixture *fixture = *state;
    struct hsm_fault fault;
    struct hsm_info info;

    assert_int_equal(fixture_open(fixture, "pkcs11:token=agent", &fault), ATH_OK);
    pkcs11_backend_ops.info(fixture->hsm, &info);
    assert_string_equal(info.manufacturer, "SoftHSM project");
    assert_true(info.software);
    assert_int_equal(fixture_login(fixture, "00000000", &fault), ATH_ERR_PIN_INCORRECT);
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
    for (size_t i = 0; i < 3; i++) {
        struct hsm_key *key = fixture_key(fixture, algorithms[i], "k");

        fixture_must_sign(fixture, 0, key);
        fixture_must_sign(fixture, 1, key);
        assert_int_equal(pkcs11_backend_ops.key_delete(fixture->hsm, key, &fault), ATH_OK);
    }
    assert_int_equal(fixture_count_objects(fixture, CKO_PRIVATE_KEY), 0);
}

static void
test_token_comes_back_behind_the_proxy(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault = {0};

    assert_int_equal(fixture_open(fixture, "pkcs11:token=agent", &fault), ATH_OK);
    fixture_hide_tokens(fixture);
    assert_int_equal(pkcs11_backend_ops.check(fixture->hsm, &fault), ATH_ERR_HSM_UNAVAILABLE);
    fixture_close(fixture);
    for (int i = 0; i < OPENED_AGAIN; i++)
        assert_int_equal(fixture_open(fixture, "pkcs11:token=agent", &fault),
                         ATH_ERR_HSM_UNAVAILABLE);
    fixture_must_say(&fault, "p11-kit-proxy.so");
    fixture_show_tokens(fixture);
    assert_int_equal(fixture_open(fixture, "pkcs11:token=agent", &fault), ATH_OK);
    assert_int_equal(fixture_login(fixture, FIXTURE_PIN, &fault), ATH_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_key_is_made_and_signs_through_the_proxy, setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_token_comes_back_behind_the_proxy, setup,
                                        fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
