#include "hsm/wire/hsm_wire.h"
#include "support.h"

static struct ath_slice
content_of(const struct ath_buf *frame)
{
    struct ath_slice content;
    size_t total;

    assert_int_equal(frame->err, ATH_OK);
    assert_int_equal(hsm_frame_peek(ath_buf_slice(frame), &content, &total), ATH_OK);
    assert_int_equal(total, frame->len);
    return content;
}

static struct hsm_pin_request
sample_pin(void)
{
    return (struct hsm_pin_request){.from = HSM_PIN_PROMPTER,
                                    .keep = true,
                                    .timeout_s = 120,
                                    .text = ath_slice_of_string("Key: agent\nAsked by: node"),
                                    .ttyname = ath_slice_of_string("/dev/pts/3"),
                                    .ttytype = ath_slice_of_string("xterm"),
                                    .lc_ctype = ath_slice_of_string("C.UTF-8"),
                                    .refused = ath_slice_of_string("8:15:3")};
}

static struct hsm_request
sample_request(enum hsm_op op)
{
    struct hsm_request request = {.id = 0x01020304, .op = op};

    switch (op) {
    case HSM_OP_INFO:
        request.version = HSM_WIRE_VERSION;
        break;
    case HSM_OP_KEY_CREATE:
        request.algorithm = 2;
        request.usage = HSM_KEY_AUDIT;
        request.name = ath_slice_of_string("agent@host");
        request.pin = sample_pin();
        break;
    case HSM_OP_KEY_OPEN:
    case HSM_OP_SIGN:
        request.key = 7;
        request.data = ath_slice_of_string("some bytes");
        if (op == HSM_OP_SIGN)
            request.pin = sample_pin();
        break;
    case HSM_OP_LOGIN:
        request.key = 7;
        request.pin = sample_pin();
        break;
    case HSM_OP_LOGOUT:
        request.key = 8;
        break;
    case HSM_OP_COUNTER:
        request.key = 7;
        request.count = 1;
        request.data = ath_slice_of_string("which counter");
        request.nonce = ath_slice_of_string("0123456789abcdef0123456789abcdef");
        break;
    case HSM_OP_KEY_CLOSE:
    case HSM_OP_KEY_DELETE:
        request.key = 0xfffffffe;
        break;
    case HSM_OP_RANDOM:
        request.count = HSM_WIRE_MAX_RANDOM;
        break;
    }
    return request;
}

static struct hsm_response
sample_response(enum hsm_op op)
{
    struct hsm_response response = {.id = 9,
                                    .op = op,
                                    .hardware_us = 412,
                                    .tries_left = 2,
                                    .waits = true,
                                    .pin_in_doubt = true};

    switch (op) {
    case HSM_OP_INFO:
        response.kind = ath_slice_of_string("tpm");
        response.software = true;
        response.manufacturer = ath_slice_of_string("IBM");
        response.model = ath_slice_of_string("SW   TPM");
        response.firmware = ath_slice_of_string("8217.4131");
        response.has_ek_certificate = true;
        response.algorithms = 6;
        response.parallel = 2;
        response.has_counter = true;
        response.login = HSM_LOGIN_PAD;
        response.pin_locked = true;
        break;
    case HSM_OP_KEY_CREATE:
        response.blob = ath_slice_of_string("-----BEGIN TSS2 PRIVATE KEY-----\n");
        response.public_der = ath_slice_of_string("0Y0");
        response.facts = (struct hsm_key_facts){.generated_inside = true, .fixed_tpm = true};
        break;
    case HSM_OP_KEY_OPEN:
        response.blob = ath_slice_of_string("pkcs11:id=%01");
        response.public_der = ath_slice_of_string("0Y0");
        response.facts = (struct hsm_key_facts){.always_sensitive = true,
                                                .never_extractable = true,
                                                .always_authenticate = true,
                                                .restricted = true,
                                                .extractable = true,
                                                .decrypt = true,
                                                .da = true,
                                                .empty_auth = true};
        break;
    case HSM_OP_KEY_CLOSE:
    case HSM_OP_KEY_DELETE:
    case HSM_OP_LOGOUT:
        break;
    case HSM_OP_LOGIN:
        response.stamp = ath_slice_of_string("8:15:3");
        break;
    case HSM_OP_COUNTER:
        response.blob = ath_slice_of_string("which counter");
        response.counter = UINT64_MAX - 1;
        response.data = ath_slice_of_string("attest and signature");
        break;
    case HSM_OP_SIGN:
    case HSM_OP_RANDOM:
        response.data = ath_slice_of_string("r and s");
        break;
    }
    return response;
}

static void
assert_same_pin(const struct hsm_pin_request *a, const struct hsm_pin_request *b)
{
    assert_int_equal(a->from, b->from);
    assert_int_equal(a->keep, b->keep);
    assert_int_equal(a->timeout_s, b->timeout_s);
    assert_true(ath_slice_equal(a->text, b->text));
    assert_true(ath_slice_equal(a->ttyname, b->ttyname));
    assert_true(ath_slice_equal(a->ttytype, b->ttytype));
    assert_true(ath_slice_equal(a->lc_ctype, b->lc_ctype));
    assert_true(ath_slice_equal(a->refused, b->refused));
}

static void
test_request_comes_back_as_it_was_sent(void **state)
{
    (void)state;
    for (int op = HSM_OP_INFO; op <= HSM_OP_COUNTER; op++) {
        struct hsm_request in = sample_request((enum hsm_op)op), out;
        struct ath_buf frame = {0};

        hsm_request_encode(&in, &frame);
        assert_int_equal(hsm_request_decode(content_of(&frame), &out), ATH_OK);
        assert_int_equal(out.id, in.id);
        assert_int_equal(out.op, in.op);
        assert_int_equal(out.key, in.key);
        assert_int_equal(out.algorithm, in.algorithm);
        assert_int_equal(out.count, in.count);
        assert_int_equal(out.version, in.version);
        assert_true(ath_slice_equal(out.name, in.name));
        assert_true(ath_slice_equal(out.data, in.data));
        assert_int_equal(out.usage, in.usage);
        assert_true(ath_slice_equal(out.nonce, in.nonce));
        assert_same_pin(&out.pin, &in.pin);
        ath_buf_done(&frame);
    }
}

static void
assert_same_response(const struct hsm_response *a, const struct hsm_response *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->op, b->op);
    assert_int_equal(a->err, b->err);
    assert_int_equal(a->native, b->native);
    assert_int_equal(a->hardware_us, b->hardware_us);
    assert_true(ath_slice_equal(a->sentence, b->sentence));
    assert_true(ath_slice_equal(a->kind, b->kind));
    assert_int_equal(a->software, b->software);
    assert_true(ath_slice_equal(a->manufacturer, b->manufacturer));
    assert_true(ath_slice_equal(a->model, b->model));
    assert_true(ath_slice_equal(a->firmware, b->firmware));
    assert_true(ath_slice_equal(a->serial, b->serial));
    assert_int_equal(a->has_ek_certificate, b->has_ek_certificate);
    assert_int_equal(a->algorithms, b->algorithms);
    assert_true(ath_slice_equal(a->blob, b->blob));
    assert_true(ath_slice_equal(a->public_der, b->public_der));
    assert_true(ath_slice_equal(a->data, b->data));
    assert_int_equal(a->facts.generated_inside, b->facts.generated_inside);
    assert_int_equal(a->facts.extractable, b->facts.extractable);
    assert_int_equal(a->facts.fixed_tpm, b->facts.fixed_tpm);
    assert_int_equal(a->facts.decrypt, b->facts.decrypt);
    assert_int_equal(a->facts.da, b->facts.da);
    assert_int_equal(a->facts.empty_auth, b->facts.empty_auth);
    assert_int_equal(a->facts.restricted, b->facts.restricted);
    assert_int_equal(a->facts.always_sensitive, b->facts.always_sensitive);
    assert_int_equal(a->facts.never_extractable, b->facts.never_extractable);
    assert_int_equal(a->facts.always_authenticate, b->facts.always_authenticate);
    assert_int_equal(a->waits, b->waits);
    assert_int_equal(a->tries_left, b->tries_left);
    assert_int_equal(a->pin_in_doubt, b->pin_in_doubt);
    assert_true(ath_slice_equal(a->stamp, b->stamp));
    assert_int_equal(a->parallel, b->parallel);
    assert_int_equal(a->has_counter, b->has_counter);
    assert_int_equal(a->login, b->login);
    assert_int_equal(a->pin_locked, b->pin_locked);
    assert_int_equal(a->counter, b->counter);
}

static void
test_response_comes_back_as_it_was_sent(void **state)
{
    (void)state;
    for (int op = HSM_OP_INFO; op <= HSM_OP_COUNTER; op++) {
        struct hsm_response in = sample_response((enum hsm_op)op), out;
        struct ath_buf frame = {0};

        hsm_response_encode(&in, &frame);
        assert_int_equal(hsm_response_decode(content_of(&frame), &out), ATH_OK);
        assert_same_response(&out, &in);
        ath_buf_done(&frame);
    }
}

static void
test_error_response_carries_no_members(void **state)
{
    struct hsm_response in = sample_response(HSM_OP_SIGN), out;
    struct ath_buf frame = {0};

    (void)state;
    in.err = ATH_ERR_HSM_BUSY;
    in.native = 0x922;
    in.sentence = ath_slice_of_string("the TPM was not able to start the command");
    hsm_response_encode(&in, &frame);
    assert_int_equal(hsm_response_decode(content_of(&frame), &out), ATH_OK);
    assert_int_equal(out.data.len, 0);
    assert_int_equal(out.native, 0x922);
    assert_true(ath_slice_equal(out.sentence, in.sentence));
    ath_buf_done(&frame);
}

static void
test_truncated_and_trailing_bytes_are_refused(void **state)
{
    (void)state;
    for (int op = HSM_OP_INFO; op <= HSM_OP_COUNTER; op++) {
        struct hsm_request request = sample_request((enum hsm_op)op), request_out;
        struct hsm_response response = sample_response((enum hsm_op)op), response_out;
        struct ath_buf a = {0}, b = {0};
        struct ath_slice content;

        hsm_request_encode(&request, &a);
        hsm_response_encode(&response, &b);
        ath_buf_put_byte(&a, 0);
        ath_buf_put_byte(&b, 0);
        for (content = ath_slice_of(a.data + 4, 0); content.len <= a.len - 4; content.len++)
            assert_int_equal(hsm_request_decode(content, &request_out),
                             content.len == a.len - 5 ? ATH_OK : ATH_ERR_PARSE);
        for (content = ath_slice_of(b.data + 4, 0); content.len <= b.len - 4; content.len++)
            assert_int_equal(hsm_response_decode(content, &response_out),
                             content.len == b.len - 5 ? ATH_OK : ATH_ERR_PARSE);
        ath_buf_done(&a);
        ath_buf_done(&b);
    }
}

static void
assert_request_refused(const struct hsm_request *request)
{
    struct ath_buf frame = {0};
    struct hsm_request out;

    hsm_request_encode(request, &frame);
    assert_int_equal(hsm_request_decode(content_of(&frame), &out), ATH_ERR_PARSE);
    ath_buf_done(&frame);
}

static void
test_over_long_members_are_refused(void **state)
{
    static const uint8_t bytes[HSM_WIRE_MAX_MESSAGE + 1];
    struct hsm_request request;

    (void)state;
    request = sample_request(HSM_OP_KEY_CREATE);
    request.name = ath_slice_of(bytes, 65);
    assert_request_refused(&request);
    request = sample_request(HSM_OP_KEY_OPEN);
    request.data = ath_slice_of(bytes, HSM_WIRE_MAX_BLOB + 1);
    assert_request_refused(&request);
    request = sample_request(HSM_OP_SIGN);
    request.data = ath_slice_of(bytes, HSM_WIRE_MAX_MESSAGE + 1);
    assert_request_refused(&request);
    request = sample_request(HSM_OP_RANDOM);
    request.count = HSM_WIRE_MAX_RANDOM + 1;
    assert_request_refused(&request);
}

static void
test_unknown_values_are_refused(void **state)
{
    struct hsm_request request = sample_request(HSM_OP_KEY_CLOSE), request_out;
    struct hsm_response response = sample_response(HSM_OP_KEY_OPEN), response_out;
    struct ath_buf frame = {0};
    struct ath_slice content;

    (void)state;
    hsm_request_encode(&request, &frame);
    content = content_of(&frame);
    frame.data[8] = 0; /* op */
    assert_int_equal(hsm_request_decode(content, &request_out), ATH_ERR_PARSE);
    frame.data[8] = HSM_OP_COUNTER + 1;
    assert_int_equal(hsm_request_decode(content, &request_out), ATH_ERR_PARSE);
    ath_buf_clear(&frame);

    hsm_response_encode(&response, &frame);
    content = content_of(&frame);
    frame.data[frame.len - 2] = 0x80; /* a fact that is not known */
    assert_int_equal(hsm_response_decode(content, &response_out), ATH_ERR_PARSE);
    frame.data[frame.len - 2] = 0;
    frame.data[9] = 0xff; /* error */
    assert_int_equal(hsm_response_decode(content, &response_out), ATH_ERR_PARSE);
    ath_buf_clear(&frame);

    response = sample_response(HSM_OP_INFO);
    hsm_response_encode(&response, &frame);
    content = content_of(&frame);
    frame.data[frame.len - 1] = 2; /* a bool */
    assert_int_equal(hsm_response_decode(content, &response_out), ATH_ERR_PARSE);
    frame.data[frame.len - 1] = 1;
    frame.data[frame.len - 2] = HSM_LOGIN_PAD;
    assert_int_equal(hsm_response_decode(content, &response_out), ATH_OK);
    frame.data[frame.len - 2] = HSM_LOGIN_PAD + 1;
    assert_int_equal(hsm_response_decode(content, &response_out), ATH_ERR_PARSE);
    ath_buf_clear(&frame);

    request = (struct hsm_request){.op = HSM_OP_LOGIN, .pin.from = HSM_PIN_KEPT};
    hsm_request_encode(&request, &frame);
    content = content_of(&frame);
    assert_int_equal(hsm_request_decode(content, &request_out), ATH_OK);
    frame.data[13] = HSM_PIN_KEPT + 1; /* where the PIN is from */
    assert_int_equal(hsm_request_decode(content, &request_out), ATH_ERR_PARSE);
    ath_buf_done(&frame);
}

static void
test_frame_is_found_only_when_it_is_whole(void **state)
{
    struct hsm_request request = sample_request(HSM_OP_SIGN);
    struct ath_buf frame = {0};
    struct ath_slice content;
    size_t total, first;

    (void)state;
    hsm_request_encode(&request, &frame);
    first = frame.len;
    hsm_request_encode(&request, &frame);
    for (size_t len = 0; len < first; len++) {
        assert_int_equal(hsm_frame_peek(ath_slice_of(frame.data, len), &content, &total), ATH_OK);
        assert_int_equal(total, 0);
        assert_int_equal(content.len, 0);
    }
    for (size_t len = first; len <= frame.len; len++) {
        assert_int_equal(hsm_frame_peek(ath_slice_of(frame.data, len), &content, &total), ATH_OK);
        assert_int_equal(total, first);
        assert_int_equal(content.len, first - 4);
    }
    ath_buf_done(&frame);
}

static void
test_frame_length_above_the_limit_is_refused(void **state)
{
    static const uint8_t bytes[HSM_WIRE_MAX_FRAME];
    struct hsm_request request = sample_request(HSM_OP_SIGN);
    const uint8_t too_long[] = {0, 2, 0x80, 1};
    struct ath_buf frame = {0};
    struct ath_slice content;
    size_t total;

    (void)state;
    assert_int_equal(hsm_frame_peek(ath_slice_of(too_long, 4), &content, &total),
                     ATH_ERR_LIMIT_EXCEEDED);
    request.data = ath_slice_of(bytes, sizeof(bytes));
    hsm_request_encode(&request, &frame);
    assert_int_equal(frame.err, ATH_ERR_LIMIT_EXCEEDED);
    ath_buf_done(&frame);
}

static ath_err
encode_both(void *ctx)
{
    struct hsm_request request = sample_request(HSM_OP_SIGN);
    struct hsm_response response = sample_response(HSM_OP_KEY_CREATE);
    struct ath_buf frame = {0};
    ath_err err;

    (void)ctx;
    hsm_request_encode(&request, &frame);
    hsm_response_encode(&response, &frame);
    err = frame.err;
    ath_buf_done(&frame);
    return err;
}

static void
test_encoding_survives_each_failing_allocation(void **state)
{
    (void)state;
    each_allocation_failing(encode_both, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_comes_back_as_it_was_sent),
        cmocka_unit_test(test_response_comes_back_as_it_was_sent),
        cmocka_unit_test(test_error_response_carries_no_members),
        cmocka_unit_test(test_truncated_and_trailing_bytes_are_refused),
        cmocka_unit_test(test_over_long_members_are_refused),
        cmocka_unit_test(test_unknown_values_are_refused),
        cmocka_unit_test(test_frame_is_found_only_when_it_is_whole),
        cmocka_unit_test(test_frame_length_above_the_limit_is_refused),
        cmocka_unit_test(test_encoding_survives_each_failing_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
