#include "fixture_daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "athd/consent_question.h"

static struct fixture fixture;
static int answers;

struct answer {
    struct request *request;
    int done;
    int place;
    ath_err err;
    int narrowed; /* to so many scopes; 0: not */
};

static void
on_answer(void *ctx, ath_err err, const struct scope_list *narrowed)
{
    struct answer *answer = ctx;

    answer->narrowed = narrowed == NULL ? 0 : (int)narrowed->count;
    answer->done++;
    answer->place = ++answers;
    answer->err = err;
    request_fail(answer->request, err, NULL);
}

static void
begin(const char *mode)
{
    answers = 0;
    fixture_begin(&fixture, NULL);
    setenv("FAKE_PROMPTER", mode, 1);
    setenv("FAKE_PROMPTER_LOG", fixture_path(&fixture, "prompter"), 1);
    unsetenv("GPG_TTY");
    unsetenv("DISPLAY");
    unsetenv("WAYLAND_DISPLAY");
    assert_int_equal(consent_new(&fixture.athd, &fixture.athd.consent), ATH_OK);
}

static void
run_until_idle(void)
{
    int turns;

    for (turns = 0; !consent_is_idle(fixture.athd.consent) && turns < 100000; turns++)
        uv_run(fixture.athd.loop, UV_RUN_ONCE);
    assert_true(consent_is_idle(fixture.athd.consent));
}

static void
end(void)
{
    consent_close(fixture.athd.consent);
    run_until_idle();
    consent_free(fixture.athd.consent);
    fixture_end(&fixture);
}

/* Each is another question. */
static void
ask_for(struct request *request, struct answer *answer, int64_t timeout_s)
{
    static unsigned questions;
    struct consent_text text = {0};
    char number[16];

    assert_non_null(request);
    *answer = (struct answer){.request = request};
    consent_text_title(&text, "Really?");
    consent_text_line(&text, "Name", "100%\nCONFIRM", CONSENT_STRANGER);
    snprintf(number, sizeof(number), "%u", ++questions);
    consent_ask(
        answer->request, &text,
        &(struct consent_order){.ok_label = "Allow", .timeout_s = timeout_s, .rest = number},
        on_answer, answer);
    assert_int_equal(answer->done, 0);
}

static void
ask_as(uint64_t identity, struct answer *answer, int64_t timeout_s)
{
    struct request *request = fixture_request(&fixture, RPC_CREDENTIAL_ISSUE);

    assert_non_null(request);
    request->caller->identity = identity;
    ask_for(request, answer, timeout_s);
}

/* Each for another caller. */
static void
ask(struct answer *answer, int64_t timeout_s)
{
    static uint64_t callers;

    ask_as(++callers, answer, timeout_s);
}

/* How many lines of the prompters' log begin with this. */
static int
count_lines(const char *beginning)
{
    FILE *log = fopen(fixture_path(&fixture, "prompter"), "r");
    char line[4096];
    int count = 0;

    while (log != NULL && fgets(line, sizeof(line), log) != NULL)
        count += strncmp(line, beginning, strlen(beginning)) == 0;
    if (log != NULL)
        fclose(log);
    return count;
}

struct lines {
    const char *beginning;
    int count;
};

static bool
are_there(void *ctx)
{
    const struct lines *lines = ctx;

    return count_lines(lines->beginning) >= lines->count;
}

static void
run_until_lines(const char *beginning, int count)
{
    struct lines lines = {beginning, count};

    fixture_run_until_so(&fixture, are_there, &lines);
    assert_int_equal(count_lines(beginning), count);
}

static void
test_answers_become_errors_as_the_api_says(void **state)
{
    static const struct {
        const char *mode;
        ath_err expected;
    } cases[] = {
        {"yes", ATH_OK},
        {"no", ATH_ERR_USER_DENIED},
        {"cancel", ATH_ERR_USER_DENIED},
        {"timeout", ATH_ERR_CONSENT_TIMEOUT},
        {"error", ATH_ERR_NO_PROMPTER},
        {"gone", ATH_ERR_NO_PROMPTER},
        {"garbage", ATH_ERR_NO_PROMPTER},
    };
    struct answer answer;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(cases[i].mode);
        ask(&answer, 60);
        fixture_run_until(&fixture, &answers, 1);
        assert_int_equal(answer.err, cases[i].expected);
        assert_int_equal(answer.done, 1);
        end();
        assert_int_equal(answer.done, 1);
    }
}

static void
test_a_strangers_text_is_never_a_command(void **state)
{
    struct answer answer;
    char *log;

    (void)state;
    begin("yes");
    ask(&answer, 60);
    fixture_run_until(&fixture, &answers, 1);
    log = fixture_read(&fixture, "prompter");
    assert_non_null(strstr(log, "SETDESC Really?%0A%0AName: \"100%25\\u{000a}CONFIRM\"%0A\n"));
    assert_int_equal(count_lines("CONFIRM"), 1);
    assert_int_equal(count_lines("SETOK Allow"), 1);
    assert_int_equal(count_lines("SETTIMEOUT "), 1);
    free(log);
    end();
}

static void
test_no_program_is_no_prompter(void **state)
{
    struct answer answer;

    (void)state;
    begin("yes");
    free(fixture.config.prompter);
    fixture.config.prompter = ath_strdup("/no/such/prompter");
    ask(&answer, 60);
    fixture_run_until(&fixture, &answers, 1);
    assert_int_equal(answer.err, ATH_ERR_NO_PROMPTER);
    end();
}

static void
test_nobody_answering_is_no_after_the_time(void **state)
{
    struct answer answer;

    (void)state;
    begin("silent");
    ask(&answer, 1);
    fixture_run_until(&fixture, &answers, 1);
    assert_int_equal(answer.err, ATH_ERR_CONSENT_TIMEOUT);
    end();
}

static pid_t
last_prompter(void)
{
    FILE *log = fopen(fixture_path(&fixture, "prompter"), "r");
    char line[4096];
    long pid = 0;

    assert_non_null(log);
    while (fgets(line, sizeof(line), log) != NULL)
        if (strncmp(line, "START", 5) == 0)
            sscanf(line, "START %*s %ld", &pid);
    fclose(log);
    assert_true(pid > 0);
    return (pid_t)pid;
}

static void
test_cancelled_question_leaves_the_screen_even_if_its_prompter_is_deaf(void **state)
{
    static const char *const modes[] = {"silent", "deaf"};
    struct answer answer;
    pid_t pid;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        begin(modes[i]);
        ask(&answer, 60);
        run_until_lines("CONFIRM", 1);
        pid = last_prompter();
        assert_int_equal(kill(pid, 0), 0);
        request_cancel(answer.request, ATH_ERR_HSM_UNAVAILABLE);
        assert_int_equal(answer.done, 0); /* never from inside */
        fixture_run_until(&fixture, &answers, 1);
        assert_int_equal(answer.err, ATH_ERR_CONSENT_TIMEOUT);
        run_until_idle();
        assert_int_equal(kill(pid, 0), -1);
        assert_int_equal(errno, ESRCH);
        end();
    }
}

static void
test_close_answers_every_question(void **state)
{
    struct answer a, b;

    (void)state;
    begin("silent");
    ask(&a, 60);
    ask(&b, 60);
    run_until_lines("CONFIRM", 2);
    end();
    assert_int_equal(a.err, ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(b.err, ATH_ERR_HSM_UNAVAILABLE);
}

static void
test_desktop_shows_all_questions_at_once(void **state)
{
    struct answer answers_of[5];
    size_t i;

    (void)state;
    begin("silent");
    setenv("DISPLAY", ":0", 1);
    setenv("GPG_TTY", "/dev/null", 1);
    for (i = 0; i < 5; i++)
        ask(&answers_of[i], 60);
    run_until_lines("CONFIRM", 5);
    assert_int_equal(consent_waiting(fixture.athd.consent), 5);
    end();
}

static void
test_terminal_shows_one_question_at_a_time(void **state)
{
    struct answer first, second, third;

    (void)state;
    begin("silent");
    setenv("GPG_TTY", "/dev/null", 1);
    ask(&first, 60);
    ask(&second, 1); /* its time passes while it waits for the screen */
    ask(&third, 60);
    run_until_lines("CONFIRM", 1);
    fixture_run_until(&fixture, &answers, 1);
    assert_int_equal(second.err, ATH_ERR_CONSENT_TIMEOUT);
    assert_int_equal(count_lines("START"), 1);
    assert_int_equal(count_lines("OPTION ttyname=/dev/null"), 1);
    request_cancel(first.request, ATH_ERR_CONSENT_TIMEOUT);
    run_until_lines("CONFIRM", 2);
    assert_int_equal(third.done, 0);
    end();
}

static void
test_a_caller_with_many_questions_does_not_keep_the_terminal_from_others(void **state)
{
    struct answer many[4], other, first_again;
    size_t i;

    (void)state;
    begin("silent");
    setenv("GPG_TTY", "/dev/null", 1);
    for (i = 0; i < 4; i++)
        ask_as(1, &many[i], 60);
    ask_as(2, &other, 60);
    run_until_lines("CONFIRM", 1);
    request_cancel(many[0].request, ATH_ERR_CONSENT_TIMEOUT);
    run_until_lines("CONFIRM", 2);
    request_cancel(other.request, ATH_ERR_CONSENT_TIMEOUT); /* it is the one on the screen */
    run_until_lines("CONFIRM", 3);
    assert_int_equal(other.done, 1);
    ask_as(2, &first_again, 60);
    assert_int_equal(many[1].done + many[2].done + many[3].done + first_again.done, 0);
    end();
}

static void
test_one_caller_cannot_take_all_questions(void **state)
{
    static struct answer answers_of[57];
    struct answer other;
    size_t i;

    (void)state;
    begin("silent");
    setenv("GPG_TTY", "/dev/null", 1);
    for (i = 0; i < 57; i++)
        ask_as(1, &answers_of[i], 60);
    ask_as(2, &other, 60);
    fixture_run_until(&fixture, &answers, 1);
    assert_int_equal(answers_of[56].err, ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(answers_of[56].done, 1);
    assert_int_equal(other.done, 0);
    request_cancel(answers_of[0].request, ATH_ERR_CONSENT_TIMEOUT);
    fixture_run_until(&fixture, &answers, 2);
    ask_as(1, &answers_of[56], 60); /* there is room again */
    end();
    assert_int_equal(answers, 59);
    assert_int_equal(answers_of[56].err, ATH_ERR_HSM_UNAVAILABLE);
}

/* How many of the prompters that ever started are still there. */
static int
count_alive(void)
{
    FILE *log = fopen(fixture_path(&fixture, "prompter"), "r");
    char line[4096];
    int count = 0;

    while (log != NULL && fgets(line, sizeof(line), log) != NULL) {
        long pid = 0;

        if (sscanf(line, "START %*s %ld", &pid) == 1 && kill((pid_t)pid, 0) == 0)
            count++;
    }
    if (log != NULL)
        fclose(log);
    return count;
}

static void
test_callers_who_leave_at_once_do_not_pile_up_prompters(void **state)
{
    static struct answer gone[64];
    struct answer late;
    int i;

    (void)state;
    begin("deaf");
    for (i = 0; i < 64; i++)
        ask(&gone[i], 60);
    run_until_lines("START", 64);
    for (i = 0; i < 64; i++)
        request_cancel(gone[i].request, ATH_ERR_CONSENT_TIMEOUT);
    fixture_run_until(&fixture, &answers, 64);
    ask(&late, 60);
    for (i = 0; i < 300; i++) {
        assert_true(count_alive() <= 64);
        usleep(1000);
        fixture_turn(&fixture);
    }
    run_until_lines("START", 65); /* when there is room for it */
    end();
}

static void
test_too_many_questions_are_refused(void **state)
{
    static struct answer answers_of[65];
    size_t i;

    (void)state;
    begin("silent");
    setenv("GPG_TTY", "/dev/null", 1); /* one prompter is enough for this */
    for (i = 0; i < 65; i++)
        ask(&answers_of[i], 60);
    fixture_run_until(&fixture, &answers, 1);
    assert_int_equal(answers_of[64].err, ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(answers_of[64].done, 1);
    end();
    assert_int_equal(answers, 65);
}

static void
test_long_question_is_shown_in_pages_each_to_be_confirmed(void **state)
{
    struct consent_text text = {0};
    struct answer answer = {0};
    int i;

    (void)state;
    begin("yes");
    answer.request = fixture_request(&fixture, RPC_CREDENTIAL_ISSUE);
    for (i = 0; i < 40; i++)
        consent_text_line(&text, "Scope", "0123456789012345678901234567890123456789",
                          CONSENT_STRANGER);
    consent_ask(answer.request, &text,
                &(struct consent_order){.ok_label = "Allow", .timeout_s = 60}, on_answer, &answer);
    fixture_run_until(&fixture, &answers, 1);
    assert_int_equal(answer.err, ATH_OK);
    assert_true(count_lines("CONFIRM") > 1);
    assert_int_equal(count_lines("CONFIRM"), count_lines("SETDESC ("));
    end();
}

static void
test_question_too_long_to_be_shown_is_not_asked(void **state)
{
    struct consent_text text = {0};
    struct answer answer = {0};
    int i;

    (void)state;
    begin("yes");
    answer.request = fixture_request(&fixture, RPC_CREDENTIAL_ISSUE);
    for (i = 0; i < 2000; i++)
        consent_text_line(&text, "Scope", "0123456789", CONSENT_STRANGER);
    consent_ask(answer.request, &text,
                &(struct consent_order){.ok_label = "Allow", .timeout_s = 60}, on_answer, &answer);
    fixture_run_until(&fixture, &answers, 1);
    assert_int_equal(answer.err, ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(count_lines("START"), 0);
    end();
}

static ath_err
ask_once(void *ctx)
{
    struct request *request = fixture_request(&fixture, RPC_CREDENTIAL_ISSUE);
    struct answer *answer = ctx;
    int before = answers;

    if (request == NULL)
        return ATH_ERR_NOMEM;
    ask_for(request, answer, 60);
    fixture_run_until(&fixture, &answers, before + 1);
    run_until_idle();
    return answer->err;
}

/* ---- equal questions ---- */

static void
ask_same(struct answer *answer)
{
    struct request *request = fixture_request(&fixture, RPC_CREDENTIAL_ISSUE);
    struct consent_text text = {0};

    assert_non_null(request);
    *answer = (struct answer){.request = request};
    consent_text_title(&text, "The same?");
    consent_text_caller(&text, request->caller);
    consent_ask(request, &text, &(struct consent_order){.ok_label = "Allow", .timeout_s = 60},
                on_answer, answer);
    assert_int_equal(answer->done, 0);
}

static void
test_equal_questions_are_one_and_so_is_their_answer(void **state)
{
    struct answer same[10];

    (void)state;
    begin("silent");
    for (size_t i = 0; i < 10; i++)
        ask_same(&same[i]);
    assert_int_equal(consent_waiting(fixture.athd.consent), 1);
    run_until_lines("CONFIRM", 1);
    request_cancel(same[3].request, ATH_ERR_CONSENT_TIMEOUT);
    fixture_run_until(&fixture, &answers, 1);
    assert_int_equal(same[3].err, ATH_ERR_CONSENT_TIMEOUT);
    consent_question_end(TAILQ_FIRST(&fixture.athd.consent->questions), ATH_OK);
    assert_int_equal(answers, 1); /* never from inside */
    fixture_run_until(&fixture, &answers, 10);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(same[i].done, 1);
        assert_int_equal(same[i].err, i == 3 ? ATH_ERR_CONSENT_TIMEOUT : ATH_OK);
    }
    assert_int_equal(count_lines("START"), 1);
    end();
}

static void
test_the_number_of_the_process_makes_no_other_question_but_its_program_does(void **state)
{
    struct request *requests[3];
    struct answer of[3];

    (void)state;
    begin("silent");
    for (size_t i = 0; i < 3; i++) {
        struct consent_text text = {0};

        requests[i] = fixture_request(&fixture, RPC_CREDENTIAL_ISSUE);
        assert_non_null(requests[i]);
        of[i] = (struct answer){.request = requests[i]};
        /* the kernel is not asked who this is: it would say that no such process is still here */
        if (i == 1)
            requests[i]->caller->exe_file.inode++;
        consent_text_caller(&text, requests[i]->caller);
        if (i == 2)
            text.text.data[text.pid_at] ^= 1;
        consent_ask(requests[i], &text, &(struct consent_order){.ok_label = "Allow"}, on_answer,
                    &of[i]);
    }
    /* another file runs there now: of that one only the uid is known, and it is another asker */
    assert_int_equal(consent_waiting(fixture.athd.consent), 2);
    end();
}

static void
test_whoever_was_refused_four_times_is_not_shown_a_fifth_time(void **state)
{
    struct answer refused[4], fifth, other;

    (void)state;
    begin("no");
    fake_clock_set(1700000000); /* it stands: no wait is over, however long this takes */
    for (size_t i = 0; i < 4; i++)
        ask(&refused[i], 60);
    fixture_run_until(&fixture, &answers, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(refused[i].err, ATH_ERR_USER_DENIED);
    ask(&fifth, 60);
    fixture_run_until(&fixture, &answers, 5);
    assert_int_equal(fifth.err, ATH_ERR_RATE_LIMITED);
    assert_int_equal(count_lines("START"), 4);
    consent_backoffs_end(&fixture.athd.consent->backoffs);
    ask(&other, 60);
    fixture_run_until(&fixture, &answers, 6);
    assert_int_equal(other.err, ATH_ERR_USER_DENIED);
    end();
}

static void
test_where_athd_has_no_prompter_and_nobody_attends_nobody_is_asked(void **state)
{
    struct answer answer;

    (void)state;
    begin("yes");
    fixture.config.is_system = true;
    ask(&answer, 60);
    fixture_run_until(&fixture, &answers, 1);
    assert_int_equal(answer.err, ATH_ERR_NO_PROMPTER);
    assert_int_equal(count_lines("START"), 0);
    end();
}

static void
test_a_number_that_another_process_has_by_now_is_not_the_asker(void **state)
{
    struct consent_question *question;
    struct caller other;
    struct answer answer;

    (void)state;
    begin("silent");
    ask(&answer, 60);
    question = TAILQ_FIRST(&fixture.athd.consent->questions);
    other = *answer.request->caller;
    assert_true(consent_is_asker(question, &other));
    other.start_ticks++; /* the number was given away */
    assert_false(consent_is_asker(question, &other));
    other.start_ticks = 0; /* it cannot be told: then it might be the same */
    assert_true(consent_is_asker(question, &other));
    other.pid = getppid();
    assert_false(consent_is_asker(question, &other)); /* who started the asker may answer */
    end();
}

static void
test_each_failing_allocation_is_an_answer(void **state)
{
    struct answer answer;

    (void)state;
    begin("yes");
    each_allocation_failing(ask_once, &answer);
    end();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_become_errors_as_the_api_says),
        cmocka_unit_test(test_a_strangers_text_is_never_a_command),
        cmocka_unit_test(test_no_program_is_no_prompter),
        cmocka_unit_test(test_nobody_answering_is_no_after_the_time),
        cmocka_unit_test(test_cancelled_question_leaves_the_screen_even_if_its_prompter_is_deaf),
        cmocka_unit_test(test_close_answers_every_question),
        cmocka_unit_test(test_desktop_shows_all_questions_at_once),
        cmocka_unit_test(test_terminal_shows_one_question_at_a_time),
        cmocka_unit_test(test_a_caller_with_many_questions_does_not_keep_the_terminal_from_others),
        cmocka_unit_test(test_one_caller_cannot_take_all_questions),
        cmocka_unit_test(test_callers_who_leave_at_once_do_not_pile_up_prompters),
        cmocka_unit_test(test_too_many_questions_are_refused),
        cmocka_unit_test(test_long_question_is_shown_in_pages_each_to_be_confirmed),
        cmocka_unit_test(test_question_too_long_to_be_shown_is_not_asked),
        cmocka_unit_test(test_equal_questions_are_one_and_so_is_their_answer),
        cmocka_unit_test(
            test_the_number_of_the_process_makes_no_other_question_but_its_program_does),
        cmocka_unit_test(test_whoever_was_refused_four_times_is_not_shown_a_fifth_time),
        cmocka_unit_test(test_where_athd_has_no_prompter_and_nobody_attends_nobody_is_asked),
        cmocka_unit_test(test_a_number_that_another_process_has_by_now_is_not_the_asker),
        cmocka_unit_test(test_each_failing_allocation_is_an_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
