#include "hsm/wire/hsm_wire.h"

#define MAX_LABEL 64u
#define MAX_KIND 16u
#define MAX_TEXT 64u
#define MAX_SENTENCE 255u
#define MAX_ENVIRONMENT 256u /* a terminal's name or type */
#define NONCE_LEN 32u
#define PARALLEL_MAX 64u
#define LENGTH_LEN 4u

/* Bits of struct hsm_key_facts on the wire. */
enum fact_bit {
    FACT_GENERATED_INSIDE = 1u << 0,
    FACT_EXTRACTABLE = 1u << 1,
    FACT_FIXED_TPM = 1u << 2,
    FACT_DECRYPT = 1u << 3,
    FACT_DA = 1u << 4,
    FACT_EMPTY_AUTH = 1u << 5,
    FACT_RESTRICTED = 1u << 6,
    FACT_ALWAYS_SENSITIVE = 1u << 7,
    FACT_NEVER_EXTRACTABLE = 1u << 8,
    FACT_ALWAYS_AUTHENTICATE = 1u << 9,
    FACT_ALL = (1u << 10) - 1u,
};

static bool
op_is_known(uint8_t op)
{
    return op >= HSM_OP_INFO && op <= HSM_OP_COUNTER;
}

/* Leaves room for the length; what is returned goes to frame_end. */
static size_t
frame_begin(struct ath_buf *out)
{
    size_t start = out->len;

    bytes_put_u32(out, 0);
    return start;
}

static void
frame_end(struct ath_buf *out, size_t start)
{
    size_t len;

    if (out->err != ATH_OK)
        return;
    len = out->len - start - LENGTH_LEN;
    if (len > HSM_WIRE_MAX_FRAME) {
        out->err = ATH_ERR_LIMIT_EXCEEDED;
        return;
    }
    for (size_t i = 0; i < LENGTH_LEN; i++)
        out->data[start + i] = (uint8_t)(len >> (8u * (LENGTH_LEN - 1u - i)));
}

static bool
read_bool(struct byte_reader *reader)
{
    uint8_t value = byte_reader_u8(reader);

    if (value > 1)
        reader->bad = true;
    return value == 1;
}

static void
put_facts(struct ath_buf *out, const struct hsm_key_facts *facts)
{
    unsigned bits = 0;

    bits |= facts->generated_inside ? FACT_GENERATED_INSIDE : 0u;
    bits |= facts->extractable ? FACT_EXTRACTABLE : 0u;
    bits |= facts->fixed_tpm ? FACT_FIXED_TPM : 0u;
    bits |= facts->decrypt ? FACT_DECRYPT : 0u;
    bits |= facts->da ? FACT_DA : 0u;
    bits |= facts->empty_auth ? FACT_EMPTY_AUTH : 0u;
    bits |= facts->restricted ? FACT_RESTRICTED : 0u;
    bits |= facts->always_sensitive ? FACT_ALWAYS_SENSITIVE : 0u;
    bits |= facts->never_extractable ? FACT_NEVER_EXTRACTABLE : 0u;
    bits |= facts->always_authenticate ? FACT_ALWAYS_AUTHENTICATE : 0u;
    bytes_put_u16(out, (uint16_t)bits);
}

static void
read_facts(struct byte_reader *reader, struct hsm_key_facts *ret_facts)
{
    unsigned bits = byte_reader_u16(reader);

    if ((bits & ~(unsigned)FACT_ALL) != 0)
        reader->bad = true;
    ret_facts->generated_inside = (bits & FACT_GENERATED_INSIDE) != 0;
    ret_facts->extractable = (bits & FACT_EXTRACTABLE) != 0;
    ret_facts->fixed_tpm = (bits & FACT_FIXED_TPM) != 0;
    ret_facts->decrypt = (bits & FACT_DECRYPT) != 0;
    ret_facts->da = (bits & FACT_DA) != 0;
    ret_facts->empty_auth = (bits & FACT_EMPTY_AUTH) != 0;
    ret_facts->restricted = (bits & FACT_RESTRICTED) != 0;
    ret_facts->always_sensitive = (bits & FACT_ALWAYS_SENSITIVE) != 0;
    ret_facts->never_extractable = (bits & FACT_NEVER_EXTRACTABLE) != 0;
    ret_facts->always_authenticate = (bits & FACT_ALWAYS_AUTHENTICATE) != 0;
}

static void
put_pin_request(struct ath_buf *out, const struct hsm_pin_request *pin)
{
    bytes_put_u8(out, (uint8_t)pin->from);
    if (pin->from == HSM_PIN_NONE)
        return;
    bytes_put_u8(out, pin->keep ? 1 : 0);
    bytes_put_u32(out, pin->timeout_s);
    bytes_put_field(out, pin->text);
    bytes_put_field(out, pin->ttyname);
    bytes_put_field(out, pin->ttytype);
    bytes_put_field(out, pin->lc_ctype);
    bytes_put_field(out, pin->refused);
}

static void
read_pin_request(struct byte_reader *reader, struct hsm_pin_request *ret_pin)
{
    uint8_t from = byte_reader_u8(reader);

    if (from > HSM_PIN_KEPT)
        reader->bad = true;
    ret_pin->from = (enum hsm_pin_from)from;
    if (reader->bad || from == HSM_PIN_NONE)
        return;
    ret_pin->keep = read_bool(reader);
    ret_pin->timeout_s = byte_reader_u32(reader);
    ret_pin->text = byte_reader_field(reader, HSM_WIRE_MAX_TEXT);
    ret_pin->ttyname = byte_reader_field(reader, MAX_ENVIRONMENT);
    ret_pin->ttytype = byte_reader_field(reader, MAX_ENVIRONMENT);
    ret_pin->lc_ctype = byte_reader_field(reader, MAX_ENVIRONMENT);
    ret_pin->refused = byte_reader_field(reader, HSM_WIRE_MAX_STAMP);
}

void
hsm_request_encode(const struct hsm_request *request, struct ath_buf *out)
{
    size_t start = frame_begin(out);

    bytes_put_u32(out, request->id);
    bytes_put_u8(out, (uint8_t)request->op);
    switch (request->op) {
    case HSM_OP_INFO:
        bytes_put_u32(out, request->version);
        break;
    case HSM_OP_KEY_CREATE:
        bytes_put_u8(out, request->algorithm);
        bytes_put_u8(out, request->usage);
        bytes_put_field(out, request->name);
        put_pin_request(out, &request->pin);
        break;
    case HSM_OP_KEY_OPEN:
        bytes_put_u32(out, request->key);
        bytes_put_field(out, request->data);
        break;
    case HSM_OP_SIGN:
        bytes_put_u32(out, request->key);
        bytes_put_field(out, request->data);
        put_pin_request(out, &request->pin);
        break;
    case HSM_OP_KEY_CLOSE:
    case HSM_OP_KEY_DELETE:
    case HSM_OP_LOGOUT:
        bytes_put_u32(out, request->key);
        break;
    case HSM_OP_RANDOM:
        bytes_put_u32(out, request->count);
        break;
    case HSM_OP_LOGIN:
        bytes_put_u32(out, request->key);
        put_pin_request(out, &request->pin);
        break;
    case HSM_OP_COUNTER:
        bytes_put_u32(out, request->key);
        bytes_put_u32(out, request->count);
        bytes_put_field(out, request->data);
        bytes_put_field(out, request->nonce);
        break;
    }
    frame_end(out, start);
}

ath_err
hsm_request_decode(struct ath_slice frame, struct hsm_request *ret_request)
{
    struct byte_reader reader = byte_reader_of(frame);
    struct hsm_request request = {0};
    uint8_t op;

    request.id = byte_reader_u32(&reader);
    op = byte_reader_u8(&reader);
    if (!op_is_known(op))
        return ATH_ERR_PARSE;
    request.op = (enum hsm_op)op;
    switch (request.op) {
    case HSM_OP_INFO:
        request.version = byte_reader_u32(&reader);
        break;
    case HSM_OP_KEY_CREATE:
        request.algorithm = byte_reader_u8(&reader);
        request.usage = byte_reader_u8(&reader);
        if (request.usage > HSM_KEY_AUDIT)
            return ATH_ERR_PARSE;
        request.name = byte_reader_field(&reader, MAX_LABEL);
        read_pin_request(&reader, &request.pin);
        break;
    case HSM_OP_KEY_OPEN:
        request.key = byte_reader_u32(&reader);
        request.data = byte_reader_field(&reader, HSM_WIRE_MAX_BLOB);
        break;
    case HSM_OP_SIGN:
        request.key = byte_reader_u32(&reader);
        request.data = byte_reader_field(&reader, HSM_WIRE_MAX_MESSAGE);
        read_pin_request(&reader, &request.pin);
        break;
    case HSM_OP_KEY_CLOSE:
    case HSM_OP_KEY_DELETE:
    case HSM_OP_LOGOUT:
        request.key = byte_reader_u32(&reader);
        break;
    case HSM_OP_RANDOM:
        request.count = byte_reader_u32(&reader);
        if (request.count > HSM_WIRE_MAX_RANDOM)
            return ATH_ERR_PARSE;
        break;
    case HSM_OP_LOGIN:
        request.key = byte_reader_u32(&reader);
        read_pin_request(&reader, &request.pin);
        break;
    case HSM_OP_COUNTER:
        request.key = byte_reader_u32(&reader);
        request.count = byte_reader_u32(&reader);
        request.data = byte_reader_field(&reader, HSM_WIRE_MAX_BLOB);
        request.nonce = byte_reader_field(&reader, NONCE_LEN);
        if (request.count > 1 || request.nonce.len != NONCE_LEN)
            return ATH_ERR_PARSE;
        break;
    }
    if (!byte_reader_is_done(&reader))
        return ATH_ERR_PARSE;
    *ret_request = request;
    return ATH_OK;
}

static void
put_info(struct ath_buf *out, const struct hsm_response *response)
{
    bytes_put_field(out, response->kind);
    bytes_put_u8(out, response->software ? 1 : 0);
    bytes_put_field(out, response->manufacturer);
    bytes_put_field(out, response->model);
    bytes_put_field(out, response->firmware);
    bytes_put_field(out, response->serial);
    bytes_put_u8(out, response->has_ek_certificate ? 1 : 0);
    bytes_put_u32(out, response->algorithms);
    bytes_put_u8(out, response->parallel);
    bytes_put_u8(out, response->has_counter ? 1 : 0);
    bytes_put_u8(out, (uint8_t)response->login);
    bytes_put_u8(out, response->pin_locked ? 1 : 0);
}

static void
read_info(struct byte_reader *reader, struct hsm_response *response)
{
    uint8_t login;

    response->kind = byte_reader_field(reader, MAX_KIND);
    response->software = read_bool(reader);
    response->manufacturer = byte_reader_field(reader, MAX_TEXT);
    response->model = byte_reader_field(reader, MAX_TEXT);
    response->firmware = byte_reader_field(reader, MAX_TEXT);
    response->serial = byte_reader_field(reader, MAX_TEXT);
    response->has_ek_certificate = read_bool(reader);
    response->algorithms = byte_reader_u32(reader);
    response->parallel = byte_reader_u8(reader);
    response->has_counter = read_bool(reader);
    login = byte_reader_u8(reader);
    response->login = (enum hsm_login)login;
    response->pin_locked = read_bool(reader);
    if (response->parallel < 1 || response->parallel > PARALLEL_MAX || login > HSM_LOGIN_PAD)
        reader->bad = true;
}

static void
put_members(struct ath_buf *out, const struct hsm_response *response)
{
    switch (response->op) {
    case HSM_OP_INFO:
        put_info(out, response);
        break;
    case HSM_OP_KEY_CREATE:
    case HSM_OP_KEY_OPEN:
        bytes_put_field(out, response->blob);
        bytes_put_field(out, response->public_der);
        put_facts(out, &response->facts);
        break;
    case HSM_OP_KEY_CLOSE:
    case HSM_OP_KEY_DELETE:
    case HSM_OP_LOGIN:
    case HSM_OP_LOGOUT:
        break;
    case HSM_OP_COUNTER:
        bytes_put_field(out, response->blob);
        bytes_put_u64(out, response->counter);
        bytes_put_field(out, response->data);
        break;
    case HSM_OP_SIGN:
    case HSM_OP_RANDOM:
        bytes_put_field(out, response->data);
        break;
    }
}

static void
read_members(struct byte_reader *reader, struct hsm_response *response)
{
    switch (response->op) {
    case HSM_OP_INFO:
        read_info(reader, response);
        break;
    case HSM_OP_KEY_CREATE:
    case HSM_OP_KEY_OPEN:
        response->blob = byte_reader_field(reader, HSM_WIRE_MAX_BLOB);
        response->public_der = byte_reader_field(reader, HSM_WIRE_MAX_DER);
        read_facts(reader, &response->facts);
        break;
    case HSM_OP_KEY_CLOSE:
    case HSM_OP_KEY_DELETE:
    case HSM_OP_LOGIN:
    case HSM_OP_LOGOUT:
        break;
    case HSM_OP_COUNTER:
        response->blob = byte_reader_field(reader, HSM_WIRE_MAX_BLOB);
        response->counter = byte_reader_u64(reader);
        response->data = byte_reader_field(reader, HSM_WIRE_MAX_EVIDENCE);
        break;
    case HSM_OP_SIGN:
        response->data = byte_reader_field(reader, HSM_WIRE_MAX_SIGNATURE);
        break;
    case HSM_OP_RANDOM:
        response->data = byte_reader_field(reader, HSM_WIRE_MAX_RANDOM);
        break;
    }
}

void
hsm_response_encode(const struct hsm_response *response, struct ath_buf *out)
{
    size_t start = frame_begin(out);

    bytes_put_u32(out, response->id);
    bytes_put_u8(out, (uint8_t)response->op);
    bytes_put_u16(out, (uint16_t)response->err);
    bytes_put_u32(out, response->native);
    bytes_put_field(out, response->sentence);
    bytes_put_u32(out, response->hardware_us);
    bytes_put_u8(out, response->waits ? 1 : 0);
    bytes_put_u8(out, response->tries_left);
    bytes_put_u8(out, response->pin_in_doubt ? 1 : 0);
    bytes_put_field(out, response->stamp);
    if (response->err == ATH_OK)
        put_members(out, response);
    frame_end(out, start);
}

ath_err
hsm_response_decode(struct ath_slice frame, struct hsm_response *ret_response)
{
    struct byte_reader reader = byte_reader_of(frame);
    struct hsm_response response = {0};
    uint16_t err;
    uint8_t op;

    response.id = byte_reader_u32(&reader);
    op = byte_reader_u8(&reader);
    err = byte_reader_u16(&reader);
    if (!op_is_known(op) || err >= ATH_ERR_COUNT)
        return ATH_ERR_PARSE;
    response.op = (enum hsm_op)op;
    response.err = (ath_err)err;
    response.native = byte_reader_u32(&reader);
    response.sentence = byte_reader_field(&reader, MAX_SENTENCE);
    response.hardware_us = byte_reader_u32(&reader);
    response.waits = read_bool(&reader);
    response.tries_left = byte_reader_u8(&reader);
    response.pin_in_doubt = read_bool(&reader);
    response.stamp = byte_reader_field(&reader, HSM_WIRE_MAX_STAMP);
    if (response.err == ATH_OK)
        read_members(&reader, &response);
    if (!byte_reader_is_done(&reader))
        return ATH_ERR_PARSE;
    *ret_response = response;
    return ATH_OK;
}

ath_err
hsm_frame_peek(struct ath_slice stream, struct ath_slice *ret_content, size_t *ret_total)
{
    struct byte_reader reader = byte_reader_of(stream);
    uint32_t len = byte_reader_u32(&reader);

    *ret_content = (struct ath_slice){0};
    *ret_total = 0;
    if (stream.len < LENGTH_LEN)
        return ATH_OK;
    if (len > HSM_WIRE_MAX_FRAME)
        return ATH_ERR_LIMIT_EXCEEDED;
    if (reader.rest.len < len)
        return ATH_OK;
    *ret_content = byte_reader_bytes(&reader, len);
    *ret_total = LENGTH_LEN + (size_t)len;
    return ATH_OK;
}
