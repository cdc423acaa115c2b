/* Questions for PINs that programs may take: what no test of a whole athd reaches in time. */
#include "fixture_daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "athd/connection.h"
#include "athd/pin_dialogue_private.h"
#include "athd/pin_offer.h"
#include "base/fd.h"

#define PEOPLE 4

static struct fixture fixture;
static struct tenant people[PEOPLE];
static struct connection attending[PEOPLE]; /* a program of each */

struct question {
    struct pin_dialogue *dialogue;
    int shown, failed;
    bool helper_refuses;
    uint32_t timeout_s;
    ath_err err;
};

static void
on_shown(void *ctx, const struct pin_shown *shown)
{
    struct question *question = ctx;

    question->shown++;
    question->timeout_s = shown->timeout_s;
    assert_true(fcntl(shown->fd, F_GETFD) >= 0);
    if (question->helper_refuses)
        pin_dialogue_end(question->dialogue, ATH_ERR_NO_PROMPTER);
}

static void
on_failed(void *ctx, ath_err err)
{
    struct question *question = ctx;

    question->failed++;
    question->err = err;
}

static void
begin(bool is_system)
{
    fixture_begin(&fixture, NULL);
    fixture.config.is_system = is_system;
    assert_int_equal(consent_new(&fixture.athd, &fixture.athd.consent), ATH_OK);
    for (size_t i = 0; i < PEOPLE; i++) {
        people[i] = (struct tenant){.athd = &fixture.athd, .uid = 1000 + (uid_t)i};
        attending[i] = (struct connection){
            .athd = &fixture.athd, .tenant = &people[i], .attends = true, .attends_pins = true};
        LIST_INSERT_HEAD(&fixture.athd.consent->attending, &attending[i], attending);
    }
}

static void
end(void)
{
    fixture.config.is_system = false;
    consent_close(fixture.athd.consent);
    fixture_turn(&fixture); /* what failed is told, what was closed is so */
    fixture_turn(&fixture);
    assert_true(consent_is_idle(fixture.athd.consent));
    consent_free(fixture.athd.consent);
    fixture_end(&fixture);
}

static ath_err
start(struct question *question, size_t who, struct caller *caller, const char *hsm)
{
    const struct pin_dialogue_order order = {.tenant = &people[who],
                                             .caller = caller,
                                             .method = "attestation.create",
                                             .hsm = hsm,
                                             .key = "agent",
                                             .text = "The PIN of a key\n"};
    const struct pin_dialogue_events events = {on_shown, on_failed, question};

    *question = (struct question){.dialogue = NULL};
    return pin_dialogue_start(&fixture.athd, &order, &events, &question->dialogue);
}

static void
ask(struct question *question, size_t who)
{
    assert_int_equal(start(question, who, NULL, "one"), ATH_OK);
}

static void
finish(struct question *question)
{
    pin_dialogue_end(question->dialogue, ATH_ERR_USER_DENIED);
}

/* *ret_other: the pinentry's end; NULL: it is closed. */
static ath_err
take(struct question *question, struct why *why, int *ret_other)
{
    struct request *request = fixture_request(&fixture, RPC_CONSENT_PINENTRY);
    struct pin_shown shown;
    int pair[2];
    ath_err err;

    assert_non_null(request);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    shown = (struct pin_shown){.fd = pair[0]};
    err = pin_offer_take(question->dialogue, request, &shown, why);
    request_fail(request, ATH_ERR_INTERNAL, NULL);
    if (ret_other != NULL)
        *ret_other = pair[1];
    else
        fd_close(&pair[1]);
    return err;
}

static bool
is_at_its_end(int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLIN};
    char byte;

    return poll(&look, 1, 0) == 1 && read(fd, &byte, 1) == 0;
}

/* ---- whose it is ---- */

static void
test_question_is_its_uids_while_it_lasts(void **state)
{
    struct consent *consent;
    struct question question;
    char id[CONSENT_ID_SIZE];

    (void)state;
    begin(true);
    consent = fixture.athd.consent;
    ask(&question, 1);
    strcpy(id, question.dialogue->id);
    assert_ptr_equal(pin_offer_find(consent, people[1].uid, id), question.dialogue);
    assert_ptr_equal(pin_offer_find(consent, people[1].uid, NULL), question.dialogue);
    assert_null(pin_offer_find(consent, people[0].uid, id));
    assert_null(pin_offer_find(consent, people[0].uid, NULL));
    assert_null(pin_offer_find(consent, people[1].uid, "p"));
    finish(&question);
    assert_null(pin_offer_find(consent, people[1].uid, id));
    assert_int_equal(question.failed, 0); /* nobody is told who has ended it themselves */
    end();
}

static void
test_question_that_was_refused_is_not_there_before_its_failure_is_told(void **state)
{
    struct question question;

    (void)state;
    begin(true);
    ask(&question, 0);
    pin_offer_refuse(question.dialogue);
    assert_int_equal(question.failed, 0);
    assert_null(pin_offer_find(fixture.athd.consent, people[0].uid, NULL));
    fixture_run_until(&fixture, &question.failed, 1);
    assert_int_equal(question.err, ATH_ERR_USER_DENIED);
    finish(&question);
    end();
}

static void
test_question_goes_when_the_last_of_its_uid_leaves(void **state)
{
    struct question hers, his;

    (void)state;
    begin(true);
    ask(&hers, 0);
    ask(&his, 1);
    attending[0].is_closing = true;
    pin_offers_look(fixture.athd.consent);
    fixture_run_until(&fixture, &hers.failed, 1);
    assert_int_equal(hers.err, ATH_ERR_NO_PROMPTER);
    assert_int_equal(his.failed, 0);
    assert_non_null(pin_offer_find(fixture.athd.consent, people[1].uid, NULL));
    finish(&hers);
    finish(&his);
    end();
}

static void
test_who_asks_does_not_take_it_but_who_has_its_number_by_now_may(void **state)
{
    struct request *asker, *answerer;
    const char *missing = NULL;
    struct question question;
    struct why why;

    (void)state;
    begin(true);
    assert_non_null(asker = fixture_request(&fixture, RPC_ATTESTATION_CREATE));
    assert_non_null(answerer = fixture_request(&fixture, RPC_CONSENT_PINENTRY));
    attending[0].caller = answerer->caller;
    asker->caller->start_ticks++; /* the number was given away */
    assert_int_equal(start(&question, 0, asker->caller, "one"), ATH_OK);
    assert_int_equal(pin_offer_check(question.dialogue, answerer->caller, &missing, &why), ATH_OK);
    asker->caller->start_ticks--;
    assert_int_equal(pin_offer_check(question.dialogue, answerer->caller, &missing, &why),
                     ATH_ERR_POLICY_DENIED);
    assert_string_equal(missing, "asker");
    assert_false(pin_offer_is_attended(fixture.athd.consent, &people[0], asker->caller));
    answerer->caller->is_proven = false;
    assert_int_equal(pin_offer_check(question.dialogue, answerer->caller, &missing, &why),
                     ATH_ERR_POLICY_DENIED);
    assert_string_equal(missing, "process");
    finish(&question);
    attending[0].caller = NULL;
    request_fail(asker, ATH_ERR_INTERNAL, NULL);
    request_fail(answerer, ATH_ERR_INTERNAL, NULL);
    end();
}

/* ---- taking it ---- */

static void
test_the_second_is_told_that_it_is_taken(void **state)
{
    struct request *answerer;
    const char *missing = NULL;
    struct question question;
    struct why why = {{0}};

    (void)state;
    begin(true);
    assert_non_null(answerer = fixture_request(&fixture, RPC_CONSENT_PINENTRY));
    ask(&question, 0);
    assert_int_equal(take(&question, &why, NULL), ATH_OK);
    assert_int_equal(question.shown, 1);
    assert_int_equal(pin_offer_check(question.dialogue, answerer->caller, &missing, &why),
                     ATH_ERR_CONSENT_NOT_FOUND);
    assert_null(missing);
    finish(&question);
    request_fail(answerer, ATH_ERR_INTERNAL, NULL);
    end();
}

/* Takes so many of a person's; the last is to end so. */
static void
take_many(struct question *questions, size_t count, size_t who, ath_err last)
{
    struct why why = {{0}};

    for (size_t i = 0; i < count; i++) {
        ask(&questions[i], who);
        assert_int_equal(take(&questions[i], &why, NULL), i + 1 < count ? ATH_OK : last);
    }
    assert_int_equal(questions[count - 1].shown, last == ATH_OK);
}

static void
finish_many(struct question *questions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        finish(&questions[i]);
}

static void
test_no_uid_takes_more_of_an_hsm_than_is_left_for_others(void **state)
{
    struct question of[PEOPLE][5], elsewhere;
    struct why why = {{0}};

    (void)state;
    begin(true);
    take_many(of[0], 5, 0, ATH_ERR_LIMIT_EXCEEDED);
    take_many(of[1], 3, 1, ATH_ERR_LIMIT_EXCEEDED);
    take_many(of[2], 2, 2, ATH_ERR_LIMIT_EXCEEDED);
    take_many(of[3], 1, 3, ATH_OK);
    take_many(&of[3][1], 1, 3, ATH_ERR_LIMIT_EXCEEDED);
    assert_int_equal(start(&elsewhere, 0, NULL, "two"), ATH_OK);
    assert_int_equal(take(&elsewhere, &why, NULL), ATH_OK);
    /* it waits on, and is there for the next when one of the others has been answered */
    assert_ptr_equal(pin_offer_find(fixture.athd.consent, people[2].uid, of[2][1].dialogue->id),
                     of[2][1].dialogue);
    finish_many(of[0], 3);
    assert_int_equal(take(&of[2][1], &why, NULL), ATH_OK);
    finish_many(&of[0][3], 2);
    finish_many(of[1], 3);
    finish_many(of[2], 2);
    finish_many(of[3], 2);
    finish(&elsewhere);
    end();
}

static void
test_in_an_athd_of_ones_own_one_may_take_all(void **state)
{
    struct question questions[PIN_OFFERS_TAKEN_MAX + 1];

    (void)state;
    begin(false);
    take_many(questions, PIN_OFFERS_TAKEN_MAX + 1, 0, ATH_ERR_LIMIT_EXCEEDED);
    finish_many(questions, PIN_OFFERS_TAKEN_MAX + 1);
    end();
}

static void
test_connection_that_the_helper_does_not_take_ends_the_question(void **state)
{
    struct why why = {{0}};
    struct question question;
    int other = -1;

    (void)state;
    begin(true);
    ask(&question, 0);
    question.helper_refuses = true;
    assert_int_equal(take(&question, &why, &other), ATH_ERR_NO_PROMPTER);
    assert_true(is_at_its_end(other));
    assert_null(pin_offer_find(fixture.athd.consent, people[0].uid, NULL));
    fd_close(&other);
    end();
}

static void
test_connection_is_broken_for_whoever_has_a_copy(void **state)
{
    struct why why = {{0}};
    struct question question;
    int other = -1, copy;

    (void)state;
    begin(true);
    ask(&question, 0);
    assert_int_equal(take(&question, &why, &other), ATH_OK);
    assert_true((copy = fcntl(question.dialogue->taken_fd, F_DUPFD_CLOEXEC, 0)) >= 0);
    assert_false(is_at_its_end(other));
    finish(&question);
    assert_true(is_at_its_end(other));
    assert_true(is_at_its_end(copy)); /* the helper's */
    fd_close(&copy);
    fd_close(&other);
    end();
}

static void
test_helper_is_told_what_is_left_of_the_time(void **state)
{
    struct question in_time, late;
    struct why why = {{0}};

    (void)state;
    fake_clock_set(1000000);
    begin(true);
    ask(&in_time, 0);
    ask(&late, 0);
    fake_clock_move(50);
    assert_int_equal(take(&in_time, &why, NULL), ATH_OK);
    assert_int_equal(in_time.timeout_s, 70);
    fake_clock_move(500); /* the machine was busy: the timer has not been looked at */
    assert_int_equal(take(&late, &why, NULL), ATH_OK);
    assert_int_equal(late.timeout_s, 1);
    finish(&in_time);
    finish(&late);
    end();
}

/* ---- athd ends ---- */

static void
test_when_athd_ends_all_end_so_taken_or_not_and_none_begins(void **state)
{
    struct question offered, taken, late;
    struct why why = {{0}};
    int other = -1;

    (void)state;
    begin(true);
    ask(&offered, 0);
    ask(&taken, 1);
    assert_int_equal(take(&taken, &why, &other), ATH_OK);
    consent_close(fixture.athd.consent);
    assert_true(is_at_its_end(other));
    ask(&late, 0);
    fixture_run_until(&fixture, &offered.failed, 1);
    fixture_run_until(&fixture, &taken.failed, 1);
    fixture_run_until(&fixture, &late.failed, 1);
    assert_int_equal(offered.err, ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(taken.err, ATH_ERR_HSM_UNAVAILABLE);
    assert_int_equal(late.err, ATH_ERR_HSM_UNAVAILABLE);
    finish(&offered);
    finish(&taken);
    finish(&late);
    fd_close(&other);
    end();
}

static ath_err
ask_once(void *ctx)
{
    struct question *question = ctx;
    ath_err err = start(question, 0, NULL, "one");

    if (err == ATH_OK)
        finish(question);
    return err;
}

static void
test_each_failing_allocation_is_an_error(void **state)
{
    struct question question;

    (void)state;
    begin(true);
    each_allocation_failing(ask_once, &question);
    assert_null(pin_offer_find(fixture.athd.consent, people[0].uid, NULL));
    end();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_question_is_its_uids_while_it_lasts),
        cmocka_unit_test(test_question_that_was_refused_is_not_there_before_its_failure_is_told),
        cmocka_unit_test(test_question_goes_when_the_last_of_its_uid_leaves),
        cmocka_unit_test(test_who_asks_does_not_take_it_but_who_has_its_number_by_now_may),
        cmocka_unit_test(test_the_second_is_told_that_it_is_taken),
        cmocka_unit_test(test_no_uid_takes_more_of_an_hsm_than_is_left_for_others),
        cmocka_unit_test(test_in_an_athd_of_ones_own_one_may_take_all),
        cmocka_unit_test(test_connection_that_the_helper_does_not_take_ends_the_question),
        cmocka_unit_test(test_connection_is_broken_for_whoever_has_a_copy),
        cmocka_unit_test(test_helper_is_told_what_is_left_of_the_time),
        cmocka_unit_test(test_when_athd_ends_all_end_so_taken_or_not_and_none_begins),
        cmocka_unit_test(test_each_failing_allocation_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
