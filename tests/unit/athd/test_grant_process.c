/* A grant's process is one process: not its number, and not somebody else's. */
#include "fixture_daemon.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "athd/grant_process.h"

static struct fixture f;
static int ended;

static int
begin(void **state)
{
    (void)state;
    fixture_begin(&f, NULL);
    ended = 0;
    return 0;
}

static int
end(void **state)
{
    (void)state;
    fixture_end(&f);
    return 0;
}

static void
on_ended(void *ctx)
{
    assert_ptr_equal(ctx, &ended);
    ended++;
}

/* A process that lives until it is killed. */
static pid_t
start_process(void)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        for (;;)
            pause();
    return pid;
}

static void
end_process(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void
test_a_process_of_the_uid_is_found_and_found_again(void **state)
{
    struct grant_process *process = NULL, *again = NULL;
    struct why why = {{0}};
    pid_t pid = start_process();

    (void)state;
    assert_int_equal(grant_process_find(pid, getuid(), &why, &process), ATH_OK);
    assert_int_equal(grant_process_id(process)->pid, pid);
    assert_true(grant_process_id(process)->start_ticks > 0);
    assert_int_equal(strlen(grant_process_id(process)->boot_id), GRANT_BOOT_ID_SIZE - 1);
    assert_int_equal(grant_process_find_again(grant_process_id(process), getuid(), &why, &again),
                     ATH_OK);
    grant_process_free(again);
    grant_process_free(process);
    end_process(pid);
}

static void
test_another_uids_and_none_at_all_are_refused(void **state)
{
    struct grant_process *process = NULL;
    struct why why = {{0}};
    pid_t pid = start_process();

    (void)state;
    assert_int_equal(grant_process_find(pid, getuid() + 1, &why, &process), ATH_ERR_INVALID_PARAMS);
    assert_non_null(strstr(why.text, "uid"));
    end_process(pid);
    assert_int_equal(grant_process_find(pid, getuid(), &why, &process), ATH_ERR_INVALID_PARAMS);
    assert_int_equal(grant_process_find(0, getuid(), &why, &process), ATH_ERR_INVALID_PARAMS);
    assert_null(process);
}

static void
test_one_that_has_ended_and_waits_to_be_waited_for_is_none(void **state)
{
    struct grant_process *process = NULL;
    struct why why = {{0}};
    siginfo_t info;
    pid_t pid = start_process();

    (void)state;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(grant_process_find(pid, getuid(), &why, &process), ATH_ERR_INVALID_PARAMS);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void
test_a_number_with_another_start_or_boot_is_another_process(void **state)
{
    struct grant_process *process = NULL, *again = NULL;
    struct grant_process_id id;
    struct why why = {{0}};
    pid_t pid = start_process();

    (void)state;
    assert_int_equal(grant_process_find(pid, getuid(), &why, &process), ATH_OK);
    id = *grant_process_id(process);
    id.start_ticks++;
    assert_int_equal(grant_process_find_again(&id, getuid(), &why, &again), ATH_ERR_NOT_FOUND);
    id.start_ticks--;
    id.boot_id[0] = id.boot_id[0] == '0' ? '1' : '0';
    assert_int_equal(grant_process_find_again(&id, getuid(), &why, &again), ATH_ERR_NOT_FOUND);
    id = *grant_process_id(process);
    assert_int_equal(grant_process_find_again(&id, getuid() + 1, &why, &again), ATH_ERR_NOT_FOUND);
    end_process(pid);
    assert_int_equal(grant_process_find_again(&id, getuid(), &why, &again), ATH_ERR_NOT_FOUND);
    grant_process_free(process);
}

static void
test_its_end_is_told_once(void **state)
{
    struct grant_process *process = NULL;
    pid_t pid = start_process();

    (void)state;
    assert_int_equal(grant_process_find(pid, getuid(), NULL, &process), ATH_OK);
    assert_int_equal(grant_process_watch(process, f.athd.loop, on_ended, &ended), ATH_OK);
    fixture_turn(&f);
    assert_int_equal(ended, 0);
    end_process(pid);
    fixture_run_until(&f, &ended, 1);
    fixture_turn(&f);
    assert_int_equal(ended, 1);
    grant_process_free(process);
}

static void
test_an_end_before_the_watch_is_told_too_and_none_after_it(void **state)
{
    struct grant_process *early = NULL, *late = NULL;
    pid_t pid = start_process(), other = start_process();

    (void)state;
    assert_int_equal(grant_process_find(pid, getuid(), NULL, &early), ATH_OK);
    assert_int_equal(grant_process_find(other, getuid(), NULL, &late), ATH_OK);
    end_process(pid);
    assert_int_equal(grant_process_watch(early, f.athd.loop, on_ended, &ended), ATH_OK);
    assert_int_equal(grant_process_watch(late, f.athd.loop, on_ended, &ended), ATH_OK);
    grant_process_free(late);
    end_process(other);
    fixture_run_until(&f, &ended, 1);
    fixture_turn(&f);
    assert_int_equal(ended, 1);
    grant_process_free(early);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_process_of_the_uid_is_found_and_found_again, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_another_uids_and_none_at_all_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(test_one_that_has_ended_and_waits_to_be_waited_for_is_none,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_a_number_with_another_start_or_boot_is_another_process,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_its_end_is_told_once, begin, end),
        cmocka_unit_test_setup_teardown(test_an_end_before_the_watch_is_told_too_and_none_after_it,
                                        begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
