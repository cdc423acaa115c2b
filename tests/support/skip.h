/* A test that this machine or this build cannot run says why: tools/check repeats it at the end. */
#ifndef TESTS_SKIP_H
#define TESTS_SKIP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Ends the test as skipped. `why`: what is missing, as "only root may look". */
#define skip_because(why)                                                                          \
    do {                                                                                           \
        print_message("%s ... skipped '%s'\n", __func__, (why));                                   \
        skip();                                                                                    \
    } while (0)

#endif
