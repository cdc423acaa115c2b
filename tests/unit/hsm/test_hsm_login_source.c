/* PINs from files; tried once. And where PINs are: in locked memory while they are needed, and
 * nowhere afterwards. */
#include "fixture_token.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

static struct hsm_pin_request
from_person(uint32_t timeout_s)
{
    return (struct hsm_pin_request){.from = HSM_PIN_PROMPTER,
                                    .timeout_s = timeout_s,
                                    .text = ath_slice_of_string("to sign for alice")};
}

static struct hsm_pin_request
from_source(const char *refused)
{
    return (struct hsm_pin_request){.from = HSM_PIN_SOURCE,
                                    .refused = ath_slice_of_string(refused)};
}

static const struct hsm_pin_request kept = {.from = HSM_PIN_KEPT};

static void
ask_login(struct scene *scene, uint32_t id, struct hsm_pin_request pin, bool keep)
{
    pin.keep = keep;
    scene_ask(scene, (struct hsm_request){.id = id, .op = HSM_OP_LOGIN, .pin = pin});
}

/* A LOGIN with this person at the prompter. */
static struct hsm_response
login(struct scene *scene, uint32_t id, enum person person, bool keep, ath_err expected)
{
    pid_t pid = scene_pass_prompter(scene, id, person, -1);
    struct hsm_response response;

    ask_login(scene, id, from_person(60), keep);
    response = scene_answer(scene, id, expected);
    scene_wait_prompter(pid);
    return response;
}

struct pin_file {
    char dir[64], path[96], uri[160];
};

static void
make_file(struct scene *scene, struct pin_file *file)
{
    (void)snprintf(file->dir, sizeof(file->dir), "/tmp/test-hsm-login-XXXXXX");
    assert_non_null(mkdtemp(file->dir));
    (void)snprintf(file->path, sizeof(file->path), "%s/pin", file->dir);
    (void)snprintf(file->uri, sizeof(file->uri), "pkcs11:token=double?pin-source=file:%s",
                   file->path);
    scene->options.uri = file->uri;
}

/* Another file each time: one that is written again has the time it had where the kernel's clock
 * for that has not moved on yet, some milliseconds long. */
static void
write_pin(const struct pin_file *file, bool is_right)
{
    char path[112];
    uint8_t line[32];
    size_t len;
    int fd;

    (void)snprintf(path, sizeof(path), "%s.new", file->path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    token_put_pin_line(line, &len);
    line[2] = is_right ? line[2] : (uint8_t)'X';
    assert_int_equal(fd_write_all(fd, ath_slice_of(line + 2, len - 2)), ATH_OK);
    explicit_bzero(line, sizeof(line));
    close(fd);
    assert_int_equal(rename(path, file->path), 0);
}

static void
remove_file(const struct pin_file *file)
{
    (void)unlink(file->path);
    assert_int_equal(rmdir(file->dir), 0);
}

static void
test_pin_from_a_file_logs_in_and_signs(void **state)
{
    struct scene *scene = *state;
    struct pin_file file;

    make_file(scene, &file);
    write_pin(&file, true);
    scene_start(scene);
    scene_open(scene, "card");
    ask_login(scene, 3, from_source(""), false);
    (void)scene_answer(scene, 3, ATH_OK);
    scene_sign(scene, 100, from_source(""));
    (void)scene_answer(scene, 100, ATH_OK);
    remove_file(&file);
    scene_sign(scene, 101, from_source(""));
    (void)scene_answer(scene, 101, ATH_ERR_PIN_REQUIRED);
}

static void
test_pin_in_a_file_is_refused_once_only(void **state)
{
    struct scene *scene = *state;
    struct hsm_response response;
    struct pin_file file;
    char stamp[HSM_WIRE_MAX_STAMP + 1] = "";

    make_file(scene, &file);
    write_pin(&file, false);
    scene_start(scene);
    scene_open(scene, "card");
    ask_login(scene, 3, from_source(""), true);
    response = scene_answer(scene, 3, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(response.tries_left, 2);
    assert_true(response.stamp.len > 10);
    memcpy(stamp, response.stamp.data, response.stamp.len);
    ask_login(scene, 4, from_source(stamp), false); /* athd remembers, */
    (void)scene_answer(scene, 4, ATH_ERR_PIN_REQUIRED);
    ask_login(scene, 5, from_source(""), false); /* and if it did not, we do */
    (void)scene_answer(scene, 5, ATH_ERR_PIN_REQUIRED);
    assert_int_equal(token_read(&token.wrong_pins), 1);
    write_pin(&file, true);
    ask_login(scene, 6, from_source(stamp), false);
    (void)scene_answer(scene, 6, ATH_OK);
    remove_file(&file);
}

static void
test_wrong_pin_in_a_file_costs_one_try_however_many_signatures_wait(void **state)
{
    struct scene *scene = *state;
    struct pin_file file;
    unsigned incorrect = 0, required = 0;

    make_file(scene, &file);
    write_pin(&file, false);
    token.parallel = 4;
    token.holds = true;
    scene_start(scene);
    scene_open(scene, "card");
    for (uint32_t i = 0; i < 70; i++)
        scene_sign(scene, 100 + i, from_source(""));
    assert_true(token_wait(&token.signing, 1));
    token_hold(false);
    for (unsigned i = 0; i < 70; i++) {
        struct hsm_response response = scene_take(scene);

        incorrect += response.err == ATH_ERR_PIN_INCORRECT && response.stamp.len > 0 &&
                     response.tries_left == 2;
        required += response.err == ATH_ERR_PIN_REQUIRED;
    }
    assert_int_equal(incorrect, 1);
    assert_int_equal(required, 69);
    assert_int_equal(token.wrong_pins, 1);
    remove_file(&file);
}

/* What names the file goes to athd, which does not try it again: not with another's PIN. */
static void
test_wrong_pin_of_a_person_is_not_said_to_be_the_files(void **state)
{
    struct scene *scene = *state;
    struct hsm_response response;
    struct pin_file file;
    pid_t pid;

    make_file(scene, &file);
    write_pin(&file, true);
    scene_start(scene);
    scene_open(scene, "card");
    for (uint32_t i = 0; i < 70; i++) { /* so many that each place for one has been used */
        scene_sign(scene, 100 + i, from_source(""));
        (void)scene_answer(scene, 100 + i, ATH_OK);
    }
    pid = scene_pass_prompter(scene, 200, PERSON_WRONG, -1);
    scene_sign(scene, 200, from_person(60));
    response = scene_answer(scene, 200, ATH_ERR_PIN_INCORRECT);
    assert_int_equal(response.stamp.len, 0);
    assert_int_equal(response.tries_left, 2);
    scene_wait_prompter(pid);
    remove_file(&file);
}

/* ---- where PINs are ---- */

static void
test_pin_of_a_signature_is_nowhere_as_soon_as_it_is_answered(void **state)
{
    struct scene *scene = *state;
    unsigned locked, unlocked;
    struct pin_file file;

    make_file(scene, &file);
    write_pin(&file, true);
    scene_start(scene);
    scene_open(scene, "card");
    scene_sign(scene, 100, from_source(""));
    (void)scene_answer(scene, 100, ATH_OK);
    assert_true(scene_find_pin(getpid(), &locked, &unlocked));
    assert_int_equal(locked + unlocked, 0);
    remove_file(&file);
}

static void
test_pin_is_in_locked_memory_only_and_nowhere_after_logout(void **state)
{
    struct scene *scene = *state;
    unsigned locked, unlocked;

    scene_start(scene);
    scene_open(scene, "card");
    (void)login(scene, 3, PERSON_RIGHT, true, ATH_OK);
    scene_sign(scene, 100, kept);
    (void)scene_answer(scene, 100, ATH_OK);
    assert_true(scene_find_pin(getpid(), &locked, &unlocked));
    assert_int_equal(locked, 1); /* the search can find it */
    assert_int_equal(unlocked, 0);
    scene_ask(scene, (struct hsm_request){.id = 4, .op = HSM_OP_LOGOUT});
    (void)scene_answer(scene, 4, ATH_OK);
    assert_true(scene_find_pin(getpid(), &locked, &unlocked));
    assert_int_equal(locked + unlocked, 0);
}

static void
test_pin_that_was_used_is_nowhere(void **state)
{
    struct scene *scene = *state;
    unsigned locked, unlocked;
    struct pin_file file;
    pid_t pid;

    make_file(scene, &file);
    write_pin(&file, true);
    scene_start(scene);
    scene_open(scene, "card");
    (void)login(scene, 3, PERSON_RIGHT, false, ATH_OK);
    ask_login(scene, 4, from_source(""), false);
    (void)scene_answer(scene, 4, ATH_OK);
    scene_sign(scene, 100, from_source(""));
    (void)scene_answer(scene, 100, ATH_OK);
    pid = scene_pass_prompter(scene, 101, PERSON_RIGHT, -1);
    scene_sign(scene, 101, from_person(60));
    (void)scene_answer(scene, 101, ATH_OK);
    scene_wait_prompter(pid);
    assert_int_equal(scene_end(scene), ATH_OK);
    assert_true(scene_find_pin(getpid(), &locked, &unlocked));
    assert_int_equal(locked + unlocked, 0);
    remove_file(&file);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, scene_setup, scene_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pin_from_a_file_logs_in_and_signs),
        TEST(test_pin_in_a_file_is_refused_once_only),
        TEST(test_wrong_pin_in_a_file_costs_one_try_however_many_signatures_wait),
        TEST(test_wrong_pin_of_a_person_is_not_said_to_be_the_files),
        TEST(test_pin_of_a_signature_is_nowhere_as_soon_as_it_is_answered),
        TEST(test_pin_is_in_locked_memory_only_and_nowhere_after_logout),
        TEST(test_pin_that_was_used_is_nowhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
