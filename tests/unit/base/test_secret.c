#include "tests/support/support.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/secret.h"
#include "tests/support/skip.h"

static void
test_a_secret_is_zeroed_and_holds_its_bytes(void **state)
{
    static const size_t lens[] = {1, 31, 32, 33, 64, 2048, 2049, 65536};
    size_t i, j;

    (void)state;
    for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct ath_secret secret;

        assert_int_equal(ath_secret_init(&secret, lens[i]), ATH_OK);
        assert_int_equal(secret.len, lens[i]);
        for (j = 0; j < lens[i]; j++)
            assert_int_equal(secret.data[j], 0);
        memset(secret.data, 0xAA, lens[i]);
        ath_secret_done(&secret);
        assert_null(secret.data);
        assert_int_equal(secret.len, 0);
        ath_secret_done(&secret);
    }
}

static void
test_lengths_outside_the_limits_are_refused(void **state)
{
    struct ath_secret secret;

    (void)state;
    assert_int_equal(ath_secret_init(&secret, 0), ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(ath_secret_init(&secret, ATH_SECRET_MAX + 1), ATH_ERR_LIMIT_EXCEEDED);
    assert_null(secret.data);
}

static void
test_a_freed_slot_is_used_again_and_was_wiped(void **state)
{
    struct ath_secret first, second;
    size_t i;

    (void)state;
    assert_int_equal(ath_secret_from(ath_slice_of("0123456789abcdef0123456789abcdef", 32), &first),
                     ATH_OK);
    ath_secret_done(&first);
    assert_int_equal(ath_secret_init(&second, 32), ATH_OK);
    for (i = 0; i < 32; i++)
        assert_int_equal(second.data[i], 0);
    ath_secret_done(&second);
}

static void
test_many_secrets_do_not_overlap(void **state)
{
    struct ath_secret secrets[2000];
    size_t i, j;

    (void)state;
    for (i = 0; i < 2000; i++) {
        assert_int_equal(ath_secret_init(&secrets[i], 48), ATH_OK);
        memset(secrets[i].data, (int)(i % 251), 48);
    }
    for (i = 0; i < 2000; i++)
        for (j = 0; j < 48; j++)
            if (secrets[i].data[j] != i % 251)
                fail_msg("secret %zu was overwritten", i);
    for (i = 0; i < 2000; i++)
        ath_secret_done(&secrets[i]);
}

static void
test_comparison_is_by_length_and_bytes(void **state)
{
    struct ath_secret secret;

    (void)state;
    assert_int_equal(ath_secret_from(ath_slice_of("abc", 3), &secret), ATH_OK);
    assert_true(ath_secret_equal(&secret, ath_slice_of("abc", 3)));
    assert_false(ath_secret_equal(&secret, ath_slice_of("abd", 3)));
    assert_false(ath_secret_equal(&secret, ath_slice_of("ab", 2)));
    assert_false(ath_secret_equal(&secret, ath_slice_of("abcd", 4)));
    assert_true(bytes_equal_secret("x", "y", 0));
    ath_secret_done(&secret);
}

/* Does the mapping that holds `at` have this flag (proc(5), VmFlags)? */
static bool
has_vm_flag(const void *at, const char *flag)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    bool inside = false, found = false;

    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long begin, end;

        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
            inside = (uintptr_t)at >= begin && (uintptr_t)at < end;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            found = strstr(line, flag) != NULL;
    }
    fclose(maps);
    return found;
}

/* Sanitizers replace mlock by nothing; then there is nothing to see. */
static bool
locking_works(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool works;

    assert_true(page != MAP_FAILED);
    works = mlock(page, 4096) == 0 && has_vm_flag(page, " lo");
    munmap(page, 4096);
    return works;
}

static void
test_secrets_stay_out_of_core_dumps_and_swap(void **state)
{
    struct ath_secret small, large;

    (void)state;
    assert_int_equal(ath_secret_init(&small, 32), ATH_OK);
    assert_int_equal(ath_secret_init(&large, 60000), ATH_OK);
    assert_true(has_vm_flag(small.data, " dd"));
    assert_true(has_vm_flag(large.data, " dd"));
    if (locking_works()) {
        assert_true(has_vm_flag(small.data, " lo"));
        assert_true(has_vm_flag(large.data, " lo"));
    }
    ath_secret_done(&small);
    ath_secret_done(&large);
}

static void
test_the_process_can_be_closed_to_others(void **state)
{
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        struct rlimit core;

        secret_protect_process();
        getrlimit(RLIMIT_CORE, &core);
        _exit(prctl(PR_GET_DUMPABLE) == 0 && core.rlim_max == 0 ? 7 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 7);
}

/* In a child without the right to lock memory. */
static int
init_without_locking(bool allow)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        struct rlimit none = {0, 0};
        struct ath_secret secret;

        if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && setuid(65534) != 0))
            _exit(99);
        if (allow)
            secret_allow_unlocked();
        _exit((int)ath_secret_init(&secret, 40000));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
test_memory_that_cannot_be_locked_is_refused_unless_allowed(void **state)
{
    (void)state;
    if (!locking_works())
        skip_because("no memory can be locked here");
    assert_int_equal(init_without_locking(false), ATH_ERR_NOMEM);
    assert_int_equal(init_without_locking(true), ATH_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_secret_is_zeroed_and_holds_its_bytes),
        cmocka_unit_test(test_lengths_outside_the_limits_are_refused),
        cmocka_unit_test(test_a_freed_slot_is_used_again_and_was_wiped),
        cmocka_unit_test(test_many_secrets_do_not_overlap),
        cmocka_unit_test(test_comparison_is_by_length_and_bytes),
        cmocka_unit_test(test_secrets_stay_out_of_core_dumps_and_swap),
        cmocka_unit_test(test_the_process_can_be_closed_to_others),
        cmocka_unit_test(test_memory_that_cannot_be_locked_is_refused_unless_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
