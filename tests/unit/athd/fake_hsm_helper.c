/* In the place of ath-hsm-helper: speaks its protocol and has the faults that a test asks for by
 * the URI, "swtpm:FAULT", or for a token "pkcs11:token=FAULT+FAULT". A fault ending in "-once" is
 * had by one life only: a file in the state directory remembers it. Files "insert" and "remove"
 * there are somebody's hand at the reader. */
#include <poll.h>
#include <signal.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "hsm/wire/hsm_fd.h"
#include "hsm/wire/hsm_wire.h"

static const char *fault = "", *state_dir = "/nowhere";
static bool opened[1024], is_in_key[1024]; /* "key-pin": a TPM's keys have PINs */
static bool is_in, is_token, is_absent, is_unplugged;
static uint32_t info_id;
static struct hsm_response late; /* an answer that another one goes before */

/* Is it one of the words between plus signs? */
static bool
is_named(const char *name)
{
    const char *at = fault;
    size_t len;

    for (; *at != '\0'; at += len + (at[len] == '+')) {
        len = strcspn(at, "+?;");
        if (strlen(name) == len && strncmp(at, name, len) == 0)
            return true;
        if (at[len] != '+')
            return false;
    }
    return false;
}

static bool
there_is(const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", state_dir, name);
    return access(path, F_OK) == 0;
}

static void
touch(const char *name)
{
    char path[256];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", state_dir, name);
    if ((fd = open(path, O_CREAT | O_WRONLY, 0600)) < 0)
        exit(7);
    fd_close(&fd);
}

static bool
has_fault(const char *name)
{
    char path[256], once[64];
    int fd;

    if (is_named(name))
        return true;
    snprintf(once, sizeof(once), "%s-once", name);
    if (!is_named(once))
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
    if (request->op == HSM_OP_LOGIN || request->pin.from != HSM_PIN_NONE)
        len = snprintf(
            line, sizeof(line), "%d %u pin=%d keep=%d %.*s\n", (int)request->op, request->key,
            (int)request->pin.from, request->pin.keep, (int)request->pin.refused.len,
            request->pin.refused.len == 0 ? "" : (const char *)request->pin.refused.data);
    if ((fd = open(path, O_CREAT | O_APPEND | O_WRONLY, 0600)) >= 0 &&
        write(fd, line, (size_t)len) < 0)
        exit(3);
    fd_close(&fd);
}

static void
send_response(const struct hsm_response *response)
{
    struct ath_buf out = {.max = HSM_WIRE_MAX_FRAME + 4};

    hsm_response_encode(response, &out);
    if (out.err != ATH_OK || fd_write_all(STDIN_FILENO, ath_buf_slice(&out)) != ATH_OK)
        exit(5);
    ath_buf_done(&out);
}

/* ---- tokens ---- */

/* Reads a line of the prompter's; false: it is gone. */
static bool
read_line(int fd, char *line, size_t size)
{
    size_t len = 0;

    while (len + 1 < size && read(fd, line + len, 1) == 1)
        if (line[len++] == '\n') {
            line[len] = '\0';
            return true;
        }
    return false;
}

static ath_err
ask(const struct hsm_request *request)
{
    char line[256];
    int fd = -1;
    ath_err err = ATH_ERR_NO_PROMPTER;

    if (hsm_fd_receive(STDOUT_FILENO, request->id, &fd) != ATH_OK)
        exit(6);
    if (read_line(fd, line, sizeof(line)) && write(fd, "GETPIN\n", 7) == 7 &&
        read_line(fd, line, sizeof(line)))
        err = strcmp(line, "D 1234\n") == 0 ? ATH_OK : ATH_ERR_USER_DENIED;
    fd_close(&fd);
    return err;
}

/* A person who is asked while others sign. */
static bool
is_slow(const struct hsm_request *request)
{
    return request->op == HSM_OP_SIGN && request->pin.from == HSM_PIN_PROMPTER && has_fault("two");
}

/* What becomes of the PIN. */
static void
try_pin(const struct hsm_request *request, struct hsm_response *response)
{
    if (request->pin.from == HSM_PIN_PROMPTER)
        response->err = ask(request);
    if (has_fault("tries-slowly")) /* its prompter has gone meanwhile */
        usleep(100000);
    if (response->err == ATH_OK && request->pin.from == HSM_PIN_SOURCE &&
        ath_slice_is(request->pin.refused, "STAMP"))
        response->err = ATH_ERR_PIN_REQUIRED;
    if (has_fault("login-crash"))
        abort();
    if (request->op == HSM_OP_LOGIN && has_fault("login-hang"))
        sleep(1000);
    if (request->op == HSM_OP_SIGN && has_fault("lock-sign"))
        response->err = ATH_ERR_PIN_LOCKED;
    if (response->err != ATH_OK)
        return;
    response->pin_in_doubt =
        has_fault("vague") || (request->op == HSM_OP_SIGN && has_fault("vague-sign"));
    if (!response->pin_in_doubt && !has_fault("wrong") &&
        (request->op != HSM_OP_SIGN || !has_fault("wrong-sign")))
        return;
    response->err = response->pin_in_doubt ? ATH_ERR_HSM_ERROR : ATH_ERR_PIN_INCORRECT;
    response->tries_left = 2;
    if (request->pin.from == HSM_PIN_SOURCE)
        response->stamp = ath_slice_of_string("STAMP");
}

static void
answer_token_info(struct hsm_response *response)
{
    info_id = response->id;
    is_absent = has_fault("away") && !there_is("insert");
    response->kind = ath_slice_of_string("pkcs11");
    response->software = false;
    response->serial = ath_slice_of_string("0001");
    response->login = has_fault("pad")   ? HSM_LOGIN_PAD
                      : has_fault("pin") ? HSM_LOGIN_PIN
                                         : HSM_LOGIN_NONE;
    response->parallel = has_fault("two") ? 2 : has_fault("many") ? 32 : 1;
    response->pin_locked = has_fault("locked");
    response->tries_left = has_fault("last") ? 1 : 0;
    if (is_absent) {
        response->err = ATH_ERR_HSM_UNAVAILABLE;
        response->sentence = ath_slice_of_string("no token is there");
        response->waits = true;
    }
}

/* A token without anybody logged in. */
static bool
needs_login(const struct hsm_request *request)
{
    if (is_in && ath_slice_is(request->data, "logged-out") && has_fault("pin")) {
        is_in = there_is("had-logout");
        if (!is_in) {
            char path[256];
            FILE *file;

            snprintf(path, sizeof(path), "%s/had-logout", state_dir);
            if ((file = fopen(path, "w")) != NULL)
                fclose(file);
        }
    }
    return !is_in && (has_fault("pin") || has_fault("pad")) && request->op != HSM_OP_INFO &&
           request->op != HSM_OP_LOGIN && request->op != HSM_OP_LOGOUT &&
           request->op != HSM_OP_KEY_CLOSE;
}

/* Somebody's hand, while nobody asks. */
static void
look_at_reader(void)
{
    struct hsm_response response = {.id = info_id, .op = HSM_OP_INFO};

    if (!is_token || info_id == 0)
        return;
    if (is_absent && there_is("insert")) {
        response.manufacturer = ath_slice_of_string("FAKE");
        answer_token_info(&response);
        send_response(&response);
    } else if (is_absent && !is_unplugged && there_is("unplug")) {
        is_unplugged = true;
        response.err = ATH_ERR_HSM_UNAVAILABLE;
        response.sentence = ath_slice_of_string("no reader is there");
        response.waits = true;
        send_response(&response);
    } else if (!is_absent && there_is("remove")) {
        response.err = ATH_ERR_HSM_UNAVAILABLE;
        response.sentence = ath_slice_of_string("it was taken out");
        send_response(&response);
        exit(0);
    }
}

/* ---- requests ---- */

/* Until the file "made" is there. */
static void
open_slowly(const struct hsm_response *response)
{
    struct hsm_response slow = {.id = response->id,
                                .op = response->op,
                                .err = ATH_ERR_HSM_BUSY,
                                .sentence = ath_slice_of_string("the TPM is being made"),
                                .waits = true};

    send_response(&slow);
    while (!there_is("made"))
        (void)poll(NULL, 0, 5);
}

static void
answer_info(struct hsm_response *response)
{
    if (has_fault("slow-open"))
        open_slowly(response);
    response->kind = ath_slice_of_string("tpm");
    response->software = true;
    response->manufacturer = ath_slice_of_string("FAKE");
    response->parallel = 1;
    response->has_counter = has_fault("counter");
    if (is_token)
        answer_token_info(response);
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
    if (response->err != ATH_OK) { /* its PIN */
    } else if (has_fault("gone")) {
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

/* Of a TPM's keys that have a PIN each. */
static void
note_key_pin(const struct hsm_request *request, const struct hsm_response *response)
{
    if (request->op == HSM_OP_LOGIN && request->key < 1024)
        is_in_key[request->key] = response->err == ATH_OK;
    for (uint32_t key = 0; key < 1024 && request->op == HSM_OP_LOGOUT; key++)
        is_in_key[key] = is_in_key[key] && request->key != 0 && request->key != key;
}

static bool
lacks_key_pin(const struct hsm_request *request)
{
    return request->op == HSM_OP_SIGN && has_fault("key-pin") && request->key < 4 &&
           !is_in_key[request->key];
}

static void
answer(const struct hsm_request *request, struct hsm_response *response)
{
    static const uint8_t der[91] = {0x30};

    if (request->op == HSM_OP_INFO)
        answer_info(response);
    if (is_token &&
        (needs_login(request) || (request->op == HSM_OP_SIGN && has_fault("forgets")))) {
        response->err = ATH_ERR_PIN_REQUIRED;
        return;
    }
    if (lacks_key_pin(request)) {
        response->err = ATH_ERR_PIN_REQUIRED;
        return;
    }
    if (request->op == HSM_OP_LOGIN) {
        try_pin(request, response);
        is_in = response->err == ATH_OK;
    }
    note_key_pin(request, response);
    if (request->op == HSM_OP_LOGOUT)
        is_in = false;
    if (request->op == HSM_OP_KEY_DELETE && (request->key >= 1024 || !opened[request->key]))
        response->err = ATH_ERR_KEY_NOT_FOUND;
    if ((request->op == HSM_OP_SIGN || request->op == HSM_OP_KEY_CREATE) &&
        request->pin.from != HSM_PIN_NONE && !is_slow(request))
        try_pin(request, response);
    if (request->op == HSM_OP_SIGN)
        answer_sign(request, response);
    if (request->op == HSM_OP_KEY_CREATE) {
        if (has_fault("crash-create"))
            abort();
        response->blob = ath_slice_of_string("BLOB");
        response->public_der = ath_slice_of(der, sizeof(der));
        response->facts.empty_auth = true;
    }
    if (request->op == HSM_OP_KEY_OPEN) {
        response->facts.empty_auth = true;
        response->public_der = ath_slice_of(der, sizeof(der));
        if (has_fault("bad-blob")) {
            response->err = ATH_ERR_INVALID_PARAMS;
        } else if (has_fault("bad-key")) {
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
    int fd;

    if (hsm_request_decode(frame, &request) != ATH_OK)
        exit(4);
    note(&request);
    response.id = request.id;
    response.op = request.op;
    answer(&request, &response);
    if (is_slow(&request) && hsm_fd_receive(STDOUT_FILENO, request.id, &fd) == ATH_OK)
        return; /* the person never answers */
    if (request.op == HSM_OP_SIGN && ath_slice_is(request.data, "hang"))
        return; /* for good, while others are answered */
    if (request.op == HSM_OP_SIGN && ath_slice_is(request.data, "later")) {
        late = response;
        return;
    }
    send_response(&response);
    if (request.op == HSM_OP_SIGN && late.id != 0) {
        send_response(&late);
        late.id = 0;
        touch("late-is-sent");
    }
}

/* Waits for bytes; looks at the reader meanwhile. */
static void
wait_for_bytes(void)
{
    struct pollfd item = {.fd = STDIN_FILENO, .events = POLLIN};

    while (poll(&item, 1, is_token ? 5 : -1) == 0)
        look_at_reader();
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
        if (strcmp(argv[i], "--uri") == 0 && strncmp(argv[i + 1], "pkcs11:token=", 13) == 0) {
            is_token = true;
            fault = argv[i + 1] + 13;
        }
        if (strcmp(argv[i], "--state-dir") == 0)
            state_dir = argv[i + 1];
    }
    signal(SIGPIPE, SIG_IGN); /* a prompter that has gone is no end of ours */
    if (has_fault("no-start"))
        return 1;
    while (wait_for_bytes(), (n = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0) {
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
