/* The main loop with a back end of our own behind it, on one socketpair in one thread: requests are
 * written and the writing side closed before the loop runs, answers are read when it has ended. */
#include "hsm/hsm_helper.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/fd.h"
#include "base/log.h"
#include "crypto/digest.h"
#include "support.h"

struct hsm_key {
    EVP_PKEY *private;
    struct public_key *public;
};

/* The hardware: what it is told to do, and what it saw. */
static struct double_state {
    ath_err open_err, sign_err;
    bool is_slow;
    bool bad_signature;
    bool caller_leaves; /* when the second signature has begun */
    int peer;           /* where answers arrive, to see when */
    unsigned opened, closed, keys_open;
    int answered_at_begin[8], answered_at_finish[8]; /* bytes that had arrived */
    unsigned begun, finished;
    uint8_t signature[SIGNATURE_MAX_LEN];
} hardware;

struct hsm {
    int dummy;
};

static struct hsm the_hsm;

static ath_err
double_open(const struct hsm_options *options, struct hsm_fault *fault, struct hsm **ret_hsm)
{
    assert_string_equal(options->uri, "double:");
    assert_string_equal(options->state_dir, "/state");
    if (hardware.is_slow)
        options->is_slow(options->ctx, "it is being made");
    if (hardware.open_err != ATH_OK)
        return why_set(&fault->why, hardware.open_err, "no hardware here");
    hardware.opened++;
    *ret_hsm = &the_hsm;
    return ATH_OK;
}

static void
double_close(struct hsm *hsm)
{
    if (hsm != NULL)
        hardware.closed++;
}

static void
double_info(const struct hsm *hsm, struct hsm_info *ret_info)
{
    (void)hsm;
    *ret_info =
        (struct hsm_info){.kind = "pkcs11", .manufacturer = "us", .algorithms = 2, .parallel = 1};
}

static ath_err
double_key_create(struct hsm *hsm, enum key_algorithm algorithm, enum hsm_key_usage usage,
                  const char *label, struct hsm_fault *fault, struct ath_buf *blob)
{
    (void)hsm;
    assert_int_equal(usage, HSM_KEY_IDENTITY);
    assert_string_equal(label, "name");
    if (algorithm != KEY_ES256)
        return why_set(&fault->why, ATH_ERR_UNSUPPORTED_ALGORITHM, "only P-256");
    ath_buf_put_string(blob, "blob");
    return blob->err;
}

static ath_err
double_key_open(struct hsm *hsm, struct ath_slice blob, struct hsm_fault *fault,
                struct hsm_key **ret_key)
{
    struct hsm_key *key = calloc(1, sizeof(*key));
    unsigned char *der = NULL;
    int len;

    (void)hsm;
    assert_non_null(key);
    if (!ath_slice_is(blob, "blob")) {
        free(key);
        return why_set(&fault->why, ATH_ERR_INVALID_PARAMS, "not a blob");
    }
    key->private = EVP_EC_gen("P-256");
    len = i2d_PUBKEY(key->private, &der);
    assert_int_equal(public_key_from_der(ath_slice_of(der, (size_t)len), NULL, &key->public),
                     ATH_OK);
    OPENSSL_free(der);
    hardware.keys_open++;
    *ret_key = key;
    return ATH_OK;
}

static void
double_key_close(struct hsm *hsm, struct hsm_key *key)
{
    (void)hsm;
    EVP_PKEY_free(key->private);
    public_key_free(key->public);
    free(key);
    hardware.keys_open--;
}

static ath_err
double_key_delete(struct hsm *hsm, struct hsm_key *key, struct hsm_fault *fault)
{
    (void)fault;
    double_key_close(hsm, key);
    return ATH_OK;
}

static const struct public_key *
double_key_public(const struct hsm_key *key)
{
    return key->public;
}

static void
double_key_facts(const struct hsm_key *key, struct hsm_key_facts *ret_facts)
{
    (void)key;
    *ret_facts = (struct hsm_key_facts){.generated_inside = true};
}

static int
arrived(void)
{
    int count = 0;

    assert_int_equal(ioctl(hardware.peer, FIONREAD, &count), 0);
    return count;
}

static ath_err
double_sign_begin(struct hsm *hsm, struct hsm_key *key, struct ath_slice message,
                  struct hsm_fault *fault)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t der[128];
    size_t len = sizeof(der);

    (void)hsm;
    if (hardware.begun < 8)
        hardware.answered_at_begin[hardware.begun] = arrived();
    hardware.begun++;
    if (hardware.caller_leaves && hardware.begun == 2)
        assert_int_equal(shutdown(hardware.peer, SHUT_RD), 0);
    if (hardware.sign_err == ATH_ERR_PIN_REQUIRED) { /* refused before anything is sent */
        EVP_MD_CTX_free(ctx);
        return why_set(&fault->why, hardware.sign_err, "no PIN");
    }
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->private), 1);
    assert_int_equal(EVP_DigestSign(ctx, der, &len, message.data, message.len), 1);
    assert_int_equal(signature_from_der(KEY_ES256, ath_slice_of(der, len), hardware.signature),
                     ATH_OK);
    EVP_MD_CTX_free(ctx);
    return ATH_OK;
}

static ath_err
double_sign_finish(struct hsm *hsm, struct hsm_fault *fault,
                   uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    (void)hsm;
    if (hardware.finished < 8)
        hardware.answered_at_finish[hardware.finished] = arrived();
    hardware.finished++;
    if (hardware.sign_err != ATH_OK) {
        fault->native = 0x101;
        return why_set(&fault->why, hardware.sign_err, "it broke");
    }
    memcpy(ret_signature, hardware.signature, SIGNATURE_MAX_LEN);
    if (hardware.bad_signature)
        ret_signature[63] ^= 1;
    return ATH_OK;
}

static ath_err
double_random(struct hsm *hsm, uint8_t *ret_bytes, size_t len, struct hsm_fault *fault)
{
    (void)hsm;
    (void)fault;
    memset(ret_bytes, 'r', len);
    return ATH_OK;
}

static const struct hsm_ops double_ops = {
    .schemes = {"other:", "double:"},
    .open = double_open,
    .close = double_close,
    .info = double_info,
    .key_create = double_key_create,
    .key_open = double_key_open,
    .key_close = double_key_close,
    .key_delete = double_key_delete,
    .key_public = double_key_public,
    .key_facts = double_key_facts,
    .sign_begin = double_sign_begin,
    .sign_finish = double_sign_finish,
    .random = double_random,
};

static const struct hsm_ops *const backends[] = {&double_ops, NULL};

/* ---- one run of the loop ---- */

struct run {
    int fds[2]; /* ours, the helper's */
    struct ath_buf requests, answers;
    size_t read; /* of answers */
    ath_err result;
};

static int
setup(void **state)
{
    struct run *run = calloc(1, sizeof(*run));

    assert_non_null(run);
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(crypto_init(), ATH_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, run->fds), 0);
    hardware = (struct double_state){.peer = run->fds[0]};
    *state = run;
    return 0;
}

static int
teardown(void **state)
{
    struct run *run = *state;

    assert_int_equal(hardware.keys_open, 0);
    assert_int_equal(hardware.closed, hardware.opened);
    fd_close(&run->fds[0]);
    fd_close(&run->fds[1]);
    ath_buf_done(&run->requests);
    ath_buf_done(&run->answers);
    free(run);
    return 0;
}

static void
ask(struct run *run, struct hsm_request request)
{
    hsm_request_encode(&request, &run->requests);
    assert_int_equal(run->requests.err, ATH_OK);
}

static void
ask_info(struct run *run)
{
    ask(run, (struct hsm_request){.id = 1, .op = HSM_OP_INFO, .version = HSM_WIRE_VERSION});
}

static void
ask_open(struct run *run, uint32_t id, uint32_t key)
{
    ask(run, (struct hsm_request){
                 .id = id, .op = HSM_OP_KEY_OPEN, .key = key, .data = ath_slice_of_string("blob")});
}

static void
ask_sign(struct run *run, uint32_t id, uint32_t key, const char *message)
{
    ask(run, (struct hsm_request){
                 .id = id, .op = HSM_OP_SIGN, .key = key, .data = ath_slice_of_string(message)});
}

static void
serve(struct run *run)
{
    struct hsm_helper_options options = {
        .uri = "double:", .state_dir = "/state", .backends = backends, .fd = run->fds[1]};
    uint8_t *room;
    ssize_t n;

    assert_int_equal(fd_write_all(run->fds[0], ath_buf_slice(&run->requests)), ATH_OK);
    assert_int_equal(shutdown(run->fds[0], SHUT_WR), 0);
    run->result = hsm_helper_run(&options);
    fd_close(&run->fds[1]);
    do {
        room = ath_buf_reserve(&run->answers, 65536);
        assert_non_null(room);
        n = read(run->fds[0], room, 65536);
        assert_true(n >= 0);
        run->answers.len += (size_t)n;
    } while (n > 0);
}

/* The next answer: to request id, with err. */
static struct hsm_response
answer(struct run *run, uint32_t id, ath_err err)
{
    struct hsm_response response = {0};
    struct ath_slice content;
    size_t total;

    assert_int_equal(
        hsm_frame_peek(ath_slice_of(run->answers.data + run->read, run->answers.len - run->read),
                       &content, &total),
        ATH_OK);
    assert_true(total > 0);
    run->read += total;
    assert_int_equal(hsm_response_decode(content, &response), ATH_OK);
    if (response.id != id || response.err != err)
        fail_msg("answer %u %s: %.*s", response.id, ath_err_reason(response.err),
                 (int)response.sentence.len, (const char *)response.sentence.data);
    return response;
}

static void
no_more_answers(const struct run *run)
{
    assert_int_equal(run->answers.len, run->read);
}

/* ---- tests ---- */

static void
test_info_opens_the_hardware_once_and_describes_it(void **state)
{
    struct run *run = *state;
    struct hsm_response response;

    ask_info(run);
    ask_info(run);
    serve(run);
    assert_int_equal(run->result, ATH_OK);
    response = answer(run, 1, ATH_OK);
    assert_true(ath_slice_is(response.kind, "pkcs11"));
    assert_true(ath_slice_is(response.manufacturer, "us"));
    assert_int_equal(response.algorithms, 2);
    (void)answer(run, 1, ATH_OK);
    no_more_answers(run);
    assert_int_equal(hardware.opened, 1);
}

static void
test_that_opening_takes_long_is_said_before_info_is_answered(void **state)
{
    struct run *run = *state;
    struct hsm_response response;

    hardware.is_slow = true;
    ask_info(run);
    serve(run);
    response = answer(run, 1, ATH_ERR_HSM_BUSY);
    assert_true(response.waits);
    assert_true(ath_slice_is(response.sentence, "it is being made"));
    response = answer(run, 1, ATH_OK);
    assert_false(response.waits);
    no_more_answers(run);
}

static void
test_other_wire_version_is_refused(void **state)
{
    struct run *run = *state;

    ask(run, (struct hsm_request){.id = 1, .op = HSM_OP_INFO, .version = HSM_WIRE_VERSION + 1});
    serve(run);
    (void)answer(run, 1, ATH_ERR_INVALID_REQUEST);
    assert_int_equal(hardware.opened, 0);
}

static void
test_nothing_works_before_info(void **state)
{
    struct run *run = *state;

    ask_open(run, 1, 7);
    ask_sign(run, 2, 7, "x");
    serve(run);
    (void)answer(run, 1, ATH_ERR_INVALID_REQUEST);
    (void)answer(run, 2, ATH_ERR_INVALID_REQUEST);
    no_more_answers(run);
}

static void
test_hardware_that_is_not_there_ends_the_loop_after_its_answer(void **state)
{
    struct run *run = *state;
    struct hsm_response response;

    hardware.open_err = ATH_ERR_HSM_UNAVAILABLE;
    ask_info(run);
    ask_info(run);
    serve(run);
    assert_int_equal(run->result, ATH_ERR_HSM_UNAVAILABLE);
    response = answer(run, 1, ATH_ERR_HSM_UNAVAILABLE);
    assert_true(ath_slice_is(response.sentence, "no hardware here"));
    no_more_answers(run);
}

static void
test_created_key_comes_with_blob_public_half_and_facts(void **state)
{
    struct run *run = *state;
    struct hsm_response response;

    ask_info(run);
    ask(run, (struct hsm_request){.id = 2,
                                  .op = HSM_OP_KEY_CREATE,
                                  .algorithm = KEY_ES256,
                                  .name = ath_slice_of_string("name")});
    ask(run, (struct hsm_request){.id = 3,
                                  .op = HSM_OP_KEY_CREATE,
                                  .algorithm = KEY_ES384,
                                  .name = ath_slice_of_string("name")});
    serve(run);
    (void)answer(run, 1, ATH_OK);
    response = answer(run, 2, ATH_OK);
    assert_true(ath_slice_is(response.blob, "blob"));
    assert_int_equal(response.public_der.len, 91);
    assert_true(response.facts.generated_inside);
    response = answer(run, 3, ATH_ERR_UNSUPPORTED_ALGORITHM);
    assert_true(ath_slice_is(response.sentence, "only P-256"));
}

static void
must_verify(const struct public_key *key, const char *message, const struct hsm_response *response)
{
    assert_int_equal(response->data.len, 64);
    assert_int_equal(public_key_verify(key, ath_slice_of_string(message), response->data), ATH_OK);
}

static void
test_signatures_come_in_order_and_verify(void **state)
{
    struct run *run = *state;
    struct hsm_response opened, response;
    struct public_key *key = NULL;

    ask_info(run);
    ask_open(run, 2, 70000);
    ask_sign(run, 3, 70000, "one");
    ask_sign(run, 4, 70000, "two");
    ask(run, (struct hsm_request){.id = 5, .op = HSM_OP_RANDOM, .count = 5});
    ask_sign(run, 6, 70000, "three");
    serve(run);
    assert_int_equal(run->result, ATH_OK);
    (void)answer(run, 1, ATH_OK);
    opened = answer(run, 2, ATH_OK);
    assert_int_equal(public_key_from_der(opened.public_der, NULL, &key), ATH_OK);
    response = answer(run, 3, ATH_OK);
    must_verify(key, "one", &response);
    response = answer(run, 4, ATH_OK);
    must_verify(key, "two", &response);
    response = answer(run, 5, ATH_OK);
    assert_true(ath_slice_is(response.data, "rrrrr"));
    response = answer(run, 6, ATH_OK); /* the last one is sent although the other end has closed */
    must_verify(key, "three", &response);
    no_more_answers(run);
    public_key_free(key);
}

static void
test_signature_is_checked_while_the_hardware_makes_the_next(void **state)
{
    struct run *run = *state;
    int before;

    ask_info(run);
    ask_open(run, 2, 1);
    ask_sign(run, 3, 1, "one");
    ask_sign(run, 4, 1, "two");
    ask_sign(run, 5, 1, "three");
    serve(run);
    before = hardware.answered_at_begin[0];
    /* When the second begins, the first is not out yet; when the second is awaited, it is. */
    assert_int_equal(hardware.answered_at_begin[1], before);
    assert_true(hardware.answered_at_finish[1] > before);
    assert_int_equal(hardware.answered_at_begin[2], hardware.answered_at_finish[1]);
    assert_true(hardware.answered_at_finish[2] > hardware.answered_at_begin[2]);
}

static void
test_signature_that_does_not_verify_never_leaves(void **state)
{
    struct run *run = *state;
    struct hsm_response response;

    hardware.bad_signature = true;
    log_set_level(LOG_LEVEL_ERROR);
    ask_info(run);
    ask_open(run, 2, 1);
    ask_sign(run, 3, 1, "one");
    ask_sign(run, 4, 1, "two");
    serve(run);
    (void)answer(run, 1, ATH_OK);
    (void)answer(run, 2, ATH_OK);
    response = answer(run, 3, ATH_ERR_HSM_ERROR);
    assert_int_equal(response.data.len, 0);
    (void)answer(run, 4, ATH_ERR_HSM_ERROR);
    no_more_answers(run);
}

static void
test_unknown_number_is_an_unknown_key(void **state)
{
    struct run *run = *state;

    ask_info(run);
    ask_open(run, 2, 1);
    ask_sign(run, 3, 1, "one");
    ask_sign(run, 4, 2, "two");
    ask(run, (struct hsm_request){.id = 5, .op = HSM_OP_KEY_CLOSE, .key = 2});
    ask(run, (struct hsm_request){.id = 6, .op = HSM_OP_KEY_DELETE, .key = 2});
    ask(run, (struct hsm_request){.id = 7, .op = HSM_OP_KEY_CLOSE, .key = 1});
    ask_sign(run, 8, 1, "one");
    serve(run);
    (void)answer(run, 1, ATH_OK);
    (void)answer(run, 2, ATH_OK);
    (void)answer(run, 3, ATH_OK);
    (void)answer(run, 4, ATH_ERR_KEY_NOT_FOUND);
    (void)answer(run, 5, ATH_ERR_KEY_NOT_FOUND);
    (void)answer(run, 6, ATH_ERR_KEY_NOT_FOUND);
    (void)answer(run, 7, ATH_OK);
    (void)answer(run, 8, ATH_ERR_KEY_NOT_FOUND);
}

static void
test_number_in_use_is_not_given_twice(void **state)
{
    struct run *run = *state;

    ask_info(run);
    ask_open(run, 2, 1);
    ask_open(run, 3, 1);
    ask(run, (struct hsm_request){.id = 4, .op = HSM_OP_KEY_DELETE, .key = 1});
    ask_open(run, 5, 1);
    serve(run);
    (void)answer(run, 1, ATH_OK);
    (void)answer(run, 2, ATH_OK);
    (void)answer(run, 3, ATH_ERR_EXISTS);
    (void)answer(run, 4, ATH_OK);
    (void)answer(run, 5, ATH_OK);
}

static void
test_refused_begin_is_answered_after_the_one_before(void **state)
{
    struct run *run = *state;

    hardware.sign_err = ATH_ERR_PIN_REQUIRED;
    ask_info(run);
    ask_open(run, 2, 1);
    ask_sign(run, 3, 1, "one");
    ask_sign(run, 4, 1, "two");
    serve(run);
    (void)answer(run, 1, ATH_OK);
    (void)answer(run, 2, ATH_OK);
    (void)answer(run, 3, ATH_ERR_PIN_REQUIRED);
    (void)answer(run, 4, ATH_ERR_PIN_REQUIRED);
    assert_int_equal(hardware.finished, 0);
}

static void
test_failing_hardware_is_reported_with_its_code(void **state)
{
    struct run *run = *state;
    struct hsm_response response;

    hardware.sign_err = ATH_ERR_HSM_ERROR;
    ask_info(run);
    ask_open(run, 2, 1);
    ask_sign(run, 3, 1, "one");
    serve(run);
    (void)answer(run, 1, ATH_OK);
    (void)answer(run, 2, ATH_OK);
    response = answer(run, 3, ATH_ERR_HSM_ERROR);
    assert_int_equal(response.native, 0x101);
    assert_true(ath_slice_is(response.sentence, "it broke"));
    assert_int_equal(run->result, ATH_OK);
}

static void
test_hardware_that_vanishes_ends_the_loop(void **state)
{
    struct run *run = *state;

    hardware.sign_err = ATH_ERR_HSM_UNAVAILABLE;
    ask_info(run);
    ask_open(run, 2, 1);
    ask_sign(run, 3, 1, "one");
    ask_sign(run, 4, 1, "two");
    serve(run);
    (void)answer(run, 1, ATH_OK);
    (void)answer(run, 2, ATH_OK);
    (void)answer(run, 3, ATH_ERR_HSM_UNAVAILABLE);
    no_more_answers(run);
    assert_int_equal(run->result, ATH_ERR_HSM_UNAVAILABLE);
}

static void
test_hardware_is_heard_out_though_the_caller_is_gone(void **state)
{
    struct run *run = *state;

    hardware.caller_leaves = true;
    ask_info(run);
    ask_open(run, 2, 7);
    ask_sign(run, 3, 7, "a");
    ask_sign(run, 4, 7, "b");
    serve(run);
    assert_int_equal(run->result, ATH_ERR_IO);
    assert_int_equal(hardware.begun, 2);
    assert_int_equal(hardware.finished, 2);
}

static void
test_garbage_ends_the_loop(void **state)
{
    struct run *run = *state;

    ask_info(run);
    ath_buf_put(&run->requests, "\0\0\0\5\0\0\0\1\xff", 9);
    serve(run);
    (void)answer(run, 1, ATH_OK);
    no_more_answers(run);
    assert_int_equal(run->result, ATH_ERR_PARSE);
}

static void
test_frame_above_the_limit_ends_the_loop(void **state)
{
    struct run *run = *state;

    ath_buf_put(&run->requests, "\x7f\xff\xff\xff", 4);
    serve(run);
    assert_int_equal(run->result, ATH_ERR_LIMIT_EXCEEDED);
}

static void
test_half_a_frame_at_the_end_is_the_end(void **state)
{
    struct run *run = *state;

    ask_info(run);
    ath_buf_put(&run->requests, "\0\0\0\5\0", 5);
    serve(run);
    (void)answer(run, 1, ATH_OK);
    no_more_answers(run);
    assert_int_equal(run->result, ATH_OK);
}

static void
test_uri_finds_its_back_end(void **state)
{
    (void)state;
    assert_ptr_equal(hsm_helper_backend(backends, "double:x"), &double_ops);
    assert_ptr_equal(hsm_helper_backend(backends, "other:"), &double_ops);
    assert_null(hsm_helper_backend(backends, "doubl"));
    assert_null(hsm_helper_backend(backends, "tpm:"));
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_info_opens_the_hardware_once_and_describes_it),
        TEST(test_that_opening_takes_long_is_said_before_info_is_answered),
        TEST(test_other_wire_version_is_refused),
        TEST(test_nothing_works_before_info),
        TEST(test_hardware_that_is_not_there_ends_the_loop_after_its_answer),
        TEST(test_created_key_comes_with_blob_public_half_and_facts),
        TEST(test_signatures_come_in_order_and_verify),
        TEST(test_signature_is_checked_while_the_hardware_makes_the_next),
        TEST(test_signature_that_does_not_verify_never_leaves),
        TEST(test_unknown_number_is_an_unknown_key),
        TEST(test_number_in_use_is_not_given_twice),
        TEST(test_refused_begin_is_answered_after_the_one_before),
        TEST(test_failing_hardware_is_reported_with_its_code),
        TEST(test_hardware_that_vanishes_ends_the_loop),
        TEST(test_hardware_is_heard_out_though_the_caller_is_gone),
        TEST(test_garbage_ends_the_loop),
        TEST(test_frame_above_the_limit_ends_the_loop),
        TEST(test_half_a_frame_at_the_end_is_the_end),
        TEST(test_uri_finds_its_back_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
