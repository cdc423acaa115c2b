/* In the place of ath-hsm-helper: speaks its protocol and has the faults that a test asks for by
 * the URI, "swtpm:FAULT". A fault ending in "-once" is had by one life only: a file in the state
 * directory remembers it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "hsm/wire/hsm_wire.h"

static const char *fault = "", *state_dir = "/nowhere";
static bool opened[1024];

static bool
has_fault(const char *name)
{
    char path[256], once[64];
    int fd;

    if (strcmp(fault, name) == 0)
        return true;
    snprintf(once, sizeof(once), "%s-once", name);
    if (strcmp(fault, once) != 0)
        return false;
    snprintf(path, sizeof(path), "%s/had-fault", state_dir);
    if ((fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600)) < 0)
        return false;
    fd_close(&fd);
    return true;
}

/* What came, in order, for the test to read. */
static void
note(const struct hsm_request *request)
{
    char path[256], line[64];
    int fd, len;

    snprintf(path, sizeof(path), "%s/seen", state_dir);
    len = snprintf(line, sizeof(line), "%d %u %.*s\n", (int)request->op, request->key,
                   (int)(request->data.len < 16 ? request->data.len : 16),
                   request->data.len == 0 ? "" : (const char *)request->data.data);
    if ((fd = open(path, O_CREAT | O_APPEND | O_WRONLY, 0600)) >= 0 &&
        write(fd, line, (size_t)len) < 0)
        exit(3);
    fd_close(&fd);
}

static void
answer_info(struct hsm_response *response)
{
    response->kind = ath_slice_of_string("tpm");
    response->software = true;
    response->manufacturer = ath_slice_of_string("FAKE");
    response->parallel = 1;
    response->has_counter = has_fault("counter");
    if (has_fault("absent")) {
        response->err = ATH_ERR_HSM_UNAVAILABLE;
        response->sentence = ath_slice_of_string("no such device");
    }
    if (has_fault("refuse")) {
        response->err = ATH_ERR_HSM_ERROR;
        response->sentence = ath_slice_of_string("a broken device");
    }
}

static void
answer_sign(const struct hsm_request *request, struct hsm_response *response)
{
    static uint8_t signature[64];

    if (has_fault("crash"))
        abort();
    if (has_fault("hang"))
        sleep(1000);
    if (has_fault("garbage") && write(STDIN_FILENO, "\xff\xff\xff\xff garbage", 12) > 0)
        sleep(1000);
    if (has_fault("stranger"))
        response->id += 77;
    if (has_fault("gone")) {
        response->err = ATH_ERR_HSM_UNAVAILABLE;
        response->sentence = ath_slice_of_string("the device went away");
    } else if (request->key >= 1024 || !opened[request->key]) {
        response->err = ATH_ERR_INVALID_PARAMS;
        response->sentence = ath_slice_of_string("no such key");
    }
    memset(signature, (int)request->key, sizeof(signature));
    response->data = ath_slice_of(signature, sizeof(signature));
    response->hardware_us = 1000;
}

static void
answer(const struct hsm_request *request, struct hsm_response *response)
{
    static const uint8_t der[91] = {0x30};

    if (request->op == HSM_OP_INFO)
        answer_info(response);
    if (request->op == HSM_OP_SIGN)
        answer_sign(request, response);
    if (request->op == HSM_OP_KEY_CREATE) {
        if (has_fault("crash-create"))
            abort();
        response->blob = ath_slice_of_string("BLOB");
        response->public_der = ath_slice_of(der, sizeof(der));
    }
    if (request->op == HSM_OP_KEY_OPEN) {
        response->public_der = ath_slice_of(der, sizeof(der));
        if (has_fault("bad-key")) {
            response->err = ATH_ERR_HSM_ERROR;
            response->native = 0x1df;
            response->sentence = ath_slice_of_string("integrity check failed");
        } else if (request->key < 1024) {
            opened[request->key] = true;
        }
    }
    if (request->op == HSM_OP_COUNTER) {
        if (has_fault("crash-counter"))
            abort();
        response->blob = ath_slice_of_string("NV");
        response->counter = 7 + request->count;
        response->data = ath_slice_of_string("EVIDENCE");
    }
    if (request->op == HSM_OP_KEY_CLOSE && request->key < 1024)
        opened[request->key] = false;
}

static void
serve(struct ath_slice frame)
{
    struct hsm_request request;
    struct hsm_response response = {0};
    struct ath_buf out = {.max = HSM_WIRE_MAX_FRAME + 4};

    if (hsm_request_decode(frame, &request) != ATH_OK)
        exit(4);
    note(&request);
    response.id = request.id;
    response.op = request.op;
    answer(&request, &response);
    hsm_response_encode(&response, &out);
    if (out.err != ATH_OK || fd_write_all(STDIN_FILENO, ath_buf_slice(&out)) != ATH_OK)
        exit(5);
    ath_buf_done(&out);
}

int
main(int argc, char **argv)
{
    struct ath_buf in = {.max = HSM_WIRE_MAX_FRAME + 4 + 4096};
    struct ath_slice content;
    size_t total;
    uint8_t chunk[4096];
    ssize_t n;
    int i;

    for (i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--uri") == 0)
            fault = strchr(argv[i + 1], ':') + 1;
        if (strcmp(argv[i], "--state-dir") == 0)
            state_dir = argv[i + 1];
    }
    if (has_fault("no-start"))
        return 1;
    while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0) {
        ath_buf_put(&in, chunk, (size_t)n);
        while (hsm_frame_peek(ath_buf_slice(&in), &content, &total) == ATH_OK && total > 0) {
            serve(content);
            ath_buf_consume(&in, total);
        }
    }
    if (has_fault("deaf"))
        sleep(1000);
    ath_buf_done(&in);
    return 0;
}
