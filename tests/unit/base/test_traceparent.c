#include "base/traceparent.h"

#include <stdlib.h>

#include "tests/support/support.h"

#define TRACE_ID "0af7651916cd43dd8448eb211c80319c"
#define PARENT_ID "b7ad6b7169203331"
#define ZEROS "00000000000000000000000000000000"

static void
test_w3c_examples_are_valid(void **state)
{
    (void)state;
    assert_true(traceparent_is_valid("00-" TRACE_ID "-" PARENT_ID "-01"));
    assert_true(traceparent_is_valid("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"));
}

static void
test_anything_else_is_not(void **state)
{
    static const char *const wrong[] = {
        NULL,
        "",
        "00-" TRACE_ID "-" PARENT_ID,
        "00-" TRACE_ID "-" PARENT_ID "-",
        "00-" TRACE_ID "-" PARENT_ID "-1",
        "00-" TRACE_ID "-" PARENT_ID "-01-",
        "00-" TRACE_ID "-" PARENT_ID "-011",
        "ff-" TRACE_ID "-" PARENT_ID "-01",
        "00-" ZEROS "-" PARENT_ID "-01",
        "00-" TRACE_ID "-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" PARENT_ID "-01",
        "00-0af7651916cd43dd8448eb211c80319g-" PARENT_ID "-01",
        "00_" TRACE_ID "-" PARENT_ID "-01",
        "00-" TRACE_ID "0" PARENT_ID "-01",
        " 00-" TRACE_ID "-" PARENT_ID "-0",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(traceparent_is_valid(wrong[i]));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_w3c_examples_are_valid),
        cmocka_unit_test(test_anything_else_is_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
