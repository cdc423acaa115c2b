#include "hsm/wire/pkcs11_uri.h"

#include <stdio.h>

#include "support.h"

static ath_err
parse(const char *text, struct why *why, struct pkcs11_uri *ret_uri)
{
    return pkcs11_uri_parse(ath_slice_of_string(text), why, ret_uri);
}

static void
must_parse(const char *text, struct pkcs11_uri *ret_uri)
{
    struct why why = {{0}};
    ath_err err = parse(text, &why, ret_uri);

    if (err != ATH_OK)
        print_error("%s: %s\n", text, why.text);
    assert_int_equal(err, ATH_OK);
}

static void
test_every_attribute_is_decoded(void **state)
{
    static const uint8_t id[] = {0, 1, 'a', 0xff};
    struct pkcs11_uri uri;

    (void)state;
    must_parse("pkcs11:token=My%20token;manufacturer=M;model=v%3b;serial=00ff;id=%00%01a%Ff;"
               "object=k%2Fey&x;type=private"
               "?module-path=/usr/lib/x.so&pin-source=file:/run/a%20pin?",
               &uri);
    assert_string_equal(uri.token, "My token");
    assert_string_equal(uri.manufacturer, "M");
    assert_string_equal(uri.model, "v;");
    assert_string_equal(uri.serial, "00ff");
    assert_string_equal(uri.object, "k/ey&x");
    assert_int_equal(uri.id_len, sizeof(id));
    assert_memory_equal(uri.id, id, sizeof(id));
    assert_string_equal(uri.module_path, "/usr/lib/x.so");
    assert_string_equal(uri.pin_file, "/run/a pin?");
    assert_string_equal(uri.pin_credential, "");
    must_parse("pkcs11:?module-name=softhsm2&pin-source=credential:token.pin", &uri);
    assert_string_equal(uri.module_name, "softhsm2");
    assert_string_equal(uri.pin_credential, "token.pin");
    assert_string_equal(uri.pin_file, "");
    assert_string_equal(uri.token, "");
    must_parse("pkcs11:", &uri);
    assert_int_equal(uri.id_len, 0);
}

static void
test_what_fits_exactly_is_taken_and_one_byte_more_is_not(void **state)
{
    static const struct {
        const char *name;
        size_t max;
    } limits[] = {{"token", 32},  {"manufacturer", 32}, {"model", 16},
                  {"serial", 16}, {"object", 255},      {"id", 255}};
    struct pkcs11_uri uri;
    struct why why;
    char text[512];

    (void)state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        int len = snprintf(text, sizeof(text), "pkcs11:%s=", limits[i].name);

        memset(text + len, 'x', limits[i].max + 1);
        text[(size_t)len + limits[i].max + 1] = '\0';
        assert_int_equal(parse(text, &why, &uri), ATH_ERR_INVALID_PARAMS);
        assert_non_null(strstr(why.text, limits[i].name));
        text[(size_t)len + limits[i].max] = '\0';
        must_parse(text, &uri);
    }
}

static void
test_what_is_not_exactly_right_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "pkcs11",
        "PKCS11:token=a",
        "tpm:device=/dev/tpm0",
        "pkcs11:token",
        "pkcs11:=a",
        "pkcs11:token=",
        "pkcs11:token=a;",
        "pkcs11:;token=a",
        "pkcs11:token=a;;serial=1",
        "pkcs11:token=a;token=a",
        "pkcs11:token=a b",
        "pkcs11:token=a/b",
        "pkcs11:token=a#b",
        "pkcs11:token=a\"b",
        "pkcs11:token=\xc3\xa4",
        "pkcs11:token=a%",
        "pkcs11:token=a%4",
        "pkcs11:token=a%4g",
        "pkcs11:token=a%g4",
        "pkcs11:token=a%00",
        "pkcs11:object=%00",
        "pkcs11:Token=a",
        "pkcs11:token=a?",
        "pkcs11:?",
        "pkcs11:?&module-name=a",
        "pkcs11:?token=a",
        "pkcs11:module-name=a",
        "pkcs11:type=public",
        "pkcs11:type=cert",
        "pkcs11:library-version=3",
        "pkcs11:x-vendor=3",
        "pkcs11:?module-path=lib.so",
        "pkcs11:?module-path=/a.so&module-name=a",
        "pkcs11:?module-name=../a",
        "pkcs11:?module-name=a%2Fb",
        "pkcs11:?module-name=.a",
        "pkcs11:?pin-source=/run/pin",
        "pkcs11:?pin-source=file:pin",
        "pkcs11:?pin-source=|/bin/pin",
        "pkcs11:?pin-source=credential:",
        "pkcs11:?pin-source=credential:a%2Fb",
        "pkcs11:?pin-source=credential:..",
        "pkcs11:?pin-source=file:/a&pin-source=file:/a",
    };
    struct pkcs11_uri uri;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct why why = {{0}};

        if (parse(wrong[i], &why, &uri) != ATH_ERR_INVALID_PARAMS)
            fail_msg("%s is taken", wrong[i]);
        assert_true(strlen(why.text) > 20);
    }
}

/* What stands in memory behind the text is not part of it. */
static void
test_escape_that_the_end_cuts_is_refused(void **state)
{
    static const char text[] = "pkcs11:token=%41";
    struct pkcs11_uri uri;
    struct why why;

    (void)state;
    for (size_t cut = 1; cut <= 2; cut++)
        assert_int_equal(pkcs11_uri_parse(ath_slice_of(text, strlen(text) - cut), &why, &uri),
                         ATH_ERR_INVALID_PARAMS);
    must_parse(text, &uri);
    assert_string_equal(uri.token, "A");
}

static void
test_uri_of_too_many_characters_is_refused(void **state)
{
    static char text[PKCS11_URI_MAX + 2];
    struct pkcs11_uri uri;
    struct why why;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    memcpy(text, "pkcs11:", 7);
    assert_int_equal(parse(text, &why, &uri), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "4096"));
}

static void
test_refused_pin_and_slot_say_what_to_write_and_repeat_nothing(void **state)
{
    static const char *const pins[] = {"pkcs11:token=a?pin-value=483926", "pkcs11:pin-value=483926",
                                       "pkcs11:483926=pin-value", "pkcs11:token=a?483926",
                                       "pkcs11:token=483926%"};
    static const char *const slots[] = {"pkcs11:slot-id=1", "pkcs11:slot-description=a",
                                        "pkcs11:slot-manufacturer=a", "pkcs11:?slot-id=1"};
    struct pkcs11_uri uri;
    struct why why;

    (void)state;
    for (size_t i = 0; i < sizeof(pins) / sizeof(pins[0]); i++) {
        assert_int_equal(parse(pins[i], &why, &uri), ATH_ERR_INVALID_PARAMS);
        assert_null(strstr(why.text, "483926"));
        if (i < 2)
            assert_non_null(strstr(why.text, "pin-source=file:"));
    }
    for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
        assert_int_equal(parse(slots[i], &why, &uri), ATH_ERR_INVALID_PARAMS);
        assert_non_null(strstr(why.text, "name the token"));
    }
}

static void
test_canonical_form_has_one_order_and_one_spelling(void **state)
{
    struct ath_buf out = {.max = PKCS11_URI_MAX};
    struct pkcs11_uri uri, again;

    (void)state;
    must_parse("pkcs11:object=a:b;id=%0aA;serial=1;model=m%c3%a4;token=t%20%25;manufacturer=x"
               "?module-name=softhsm2",
               &uri);
    pkcs11_uri_put_path(&uri, &out);
    assert_string_equal(ath_buf_text(&out), "pkcs11:token=t%20%25;manufacturer=x;model=m%C3%A4;"
                                            "serial=1;id=%0A%41;object=a%3Ab");
    must_parse(ath_buf_text(&out), &again);
    assert_string_equal(again.token, uri.token);
    assert_string_equal(again.object, uri.object);
    ath_buf_done(&out);
    uri = (struct pkcs11_uri){.id_len = 0};
    pkcs11_uri_put_path(&uri, &out);
    assert_string_equal(ath_buf_text(&out), "pkcs11:");
    ath_buf_done(&out);
}

/* Every field as long as it can be, every byte escaped. */
static void
test_longest_canonical_form_is_no_longer_than_a_uri_may_be(void **state)
{
    struct ath_buf out = {.max = PKCS11_URI_MAX};
    struct pkcs11_uri uri = {.id_len = PKCS11_URI_ID_MAX}, again;

    (void)state;
    memset(uri.token, ' ', 32);
    memset(uri.manufacturer, ' ', 32);
    memset(uri.model, ' ', 16);
    memset(uri.serial, ' ', 16);
    memset(uri.object, ' ', 255);
    pkcs11_uri_put_path(&uri, &out);
    assert_int_equal(out.err, ATH_OK);
    must_parse(ath_buf_text(&out), &again);
    assert_memory_equal(&uri, &again, sizeof(uri));
    ath_buf_done(&out);
}

static void
test_token_matches_what_is_said_of_it(void **state)
{
    struct pkcs11_uri is, wanted;

    (void)state;
    must_parse("pkcs11:token=a;serial=1;model=m;manufacturer=x", &is);
    must_parse("pkcs11:", &wanted);
    assert_true(pkcs11_uri_token_matches(&wanted, &is));
    must_parse("pkcs11:token=a;object=key?module-name=other", &wanted);
    assert_true(pkcs11_uri_token_matches(&wanted, &is));
    assert_false(pkcs11_uri_token_matches(&is, &wanted));
    must_parse("pkcs11:token=a;serial=2", &wanted);
    assert_false(pkcs11_uri_token_matches(&wanted, &is));
    must_parse("pkcs11:token=A", &wanted);
    assert_false(pkcs11_uri_token_matches(&wanted, &is));
    must_parse("pkcs11:token=a;model=n", &wanted);
    assert_false(pkcs11_uri_token_matches(&wanted, &is));
    must_parse("pkcs11:manufacturer=y", &wanted);
    assert_false(pkcs11_uri_token_matches(&wanted, &is));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_attribute_is_decoded),
        cmocka_unit_test(test_what_fits_exactly_is_taken_and_one_byte_more_is_not),
        cmocka_unit_test(test_what_is_not_exactly_right_is_refused),
        cmocka_unit_test(test_escape_that_the_end_cuts_is_refused),
        cmocka_unit_test(test_uri_of_too_many_characters_is_refused),
        cmocka_unit_test(test_refused_pin_and_slot_say_what_to_write_and_repeat_nothing),
        cmocka_unit_test(test_canonical_form_has_one_order_and_one_spelling),
        cmocka_unit_test(test_longest_canonical_form_is_no_longer_than_a_uri_may_be),
        cmocka_unit_test(test_token_matches_what_is_said_of_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
