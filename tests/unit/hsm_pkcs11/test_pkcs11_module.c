#include "fixture_token.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>

static void
line_is(const char *text, const char *expected)
{
    struct ath_slice line = pkcs11_module_line(ath_slice_of_string(text));

    if (!ath_slice_is(line, expected))
        fail_msg("\"%s\" gives \"%.*s\"", text, (int)line.len, (const char *)line.data);
}

static void
test_module_line_is_found_as_p11_kit_finds_it(void **state)
{
    (void)state;
    line_is("module: a.so\n", "a.so");
    line_is("module:a.so", "a.so");
    line_is("# module: b.so\n\n  module :\t/x/a b.so \r\npriority: 1\n", "/x/a b.so");
    line_is("x-module: b.so\ncritical: no\nmodule: a.so\n", "a.so");
    line_is("module\nmodule:\n", "");
    line_is("remote: |ssh host\n", "");
    line_is("", "");
    line_is("\n\n:\n", "");
}

static void
test_module_is_found_by_path_by_name_and_by_nothing(void **state)
{
    const struct pkcs11_uri by_path = {.module_path = "/a/b.so"}, nothing = {.id_len = 0};
    const struct pkcs11_uri absolute = {.module_name = "softhsm2"};
    const struct pkcs11_uri relative = {.module_name = "opensc-pkcs11"};
    char path[PKCS11_PATH_MAX];
    struct why why;

    (void)state;
    assert_int_equal(pkcs11_module_find(&by_path, &why, path), ATH_OK);
    assert_string_equal(path, "/a/b.so");
    assert_int_equal(pkcs11_module_find(&nothing, &why, path), ATH_OK);
    assert_non_null(strstr(path, "/p11-kit-proxy.so"));
    assert_int_equal(pkcs11_module_find(&absolute, &why, path), ATH_OK);
    assert_non_null(strstr(path, "/libsofthsm2.so"));
    assert_int_equal(pkcs11_module_find(&relative, &why, path), ATH_OK);
    assert_non_null(strstr(path, "/pkcs11/opensc-pkcs11.so"));
    assert_int_equal(path[0], '/');
}

static void
test_unknown_name_says_where_it_was_looked_for(void **state)
{
    const struct pkcs11_uri uri = {.module_name = "no-such-module"};
    char path[PKCS11_PATH_MAX];
    struct why why;

    (void)state;
    assert_int_equal(pkcs11_module_find(&uri, &why, path), ATH_ERR_HSM_UNAVAILABLE);
    assert_non_null(strstr(why.text, "no-such-module.module"));
    assert_non_null(strstr(why.text, "/etc/pkcs11/modules"));
    assert_non_null(strstr(why.text, "module-path"));
}

static void
must_not_open(struct fixture *fixture, const char *path, const char *says)
{
    struct hsm_fault fault;
    char uri[1200];

    (void)snprintf(uri, sizeof(uri), "pkcs11:?module-path=%s", path);
    assert_int_equal(fixture_open(fixture, uri, &fault), ATH_ERR_HSM_UNAVAILABLE);
    fixture_must_say(&fault, says);
    fixture_must_say(&fault, path);
}

static void
test_what_is_no_module_is_unavailable_and_says_which_file(void **state)
{
    struct fixture *fixture = *state;
    struct link_map *map = NULL;
    char path[128];
    void *other;
    FILE *file;

    must_not_open(fixture, "/nonexistent/libp11.so", "cannot be loaded");
    must_not_open(fixture, fixture->dir, "cannot be loaded");
    (void)snprintf(path, sizeof(path), "%s/text.so", fixture->dir);
    assert_non_null(file = fopen(path, "w"));
    assert_int_equal(fclose(file), 0);
    must_not_open(fixture, path, "cannot be loaded");
    assert_non_null(other = dlopen("libm.so.6", RTLD_NOW));
    assert_int_equal(dlinfo(other, RTLD_DI_LINKMAP, &map), 0);
    must_not_open(fixture, map->l_name, "no C_GetFunctionList");
    assert_int_equal(dlclose(other), 0);
}

static void
test_uri_of_another_kind_is_refused_for_good(void **state)
{
    struct fixture *fixture = *state;
    struct hsm_fault fault;

    assert_int_equal(fixture_open(fixture, "pkcs11:slot-id=1", &fault), ATH_ERR_INVALID_PARAMS);
    fixture_must_say(&fault, "name the token");
}

/* Somebody else in this process uses the module: it is theirs to finalise. */
static void
test_module_that_is_in_use_already_is_used_and_left_running(void **state)
{
    struct fixture *fixture = *state;
    struct pkcs11_module *first = NULL, *second = NULL;
    struct pkcs11_uri uri = {.id_len = 0};
    struct hsm_fault fault = {0};
    CK_INFO info;

    (void)snprintf(uri.module_path, sizeof(uri.module_path), "%s", fixture->module);
    assert_int_equal(pkcs11_module_open(&uri, &fault, &first), ATH_OK);
    assert_int_equal(pkcs11_module_open(&uri, &fault, &second), ATH_OK);
    pkcs11_module_close(second);
    assert_int_equal(first->f->C_GetInfo(&info), CKR_OK);
    pkcs11_module_close(first);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_module_line_is_found_as_p11_kit_finds_it),
        cmocka_unit_test(test_module_is_found_by_path_by_name_and_by_nothing),
        cmocka_unit_test(test_unknown_name_says_where_it_was_looked_for),
        cmocka_unit_test_setup_teardown(test_what_is_no_module_is_unavailable_and_says_which_file,
                                        fixture_setup_empty, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_uri_of_another_kind_is_refused_for_good,
                                        fixture_setup_empty, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_module_that_is_in_use_already_is_used_and_left_running,
                                        fixture_setup_closed, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
