#include "fixture_token.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "crypto/digest.h"
#include "hsm/wire/hsm_fd.h"

struct hsm_key {
    EVP_PKEY *private;
    struct public_key *public;
    bool always_authenticate;
};

struct hsm {
    int dummy;
};

struct token_state token = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct hsm the_token;

/* ---- the token ---- */

/* Every call but signatures: none of those may be running. */
static void
enter(void)
{
    pthread_mutex_lock(&token.lock);
    token.violations += token.signing > 0;
}

static void
leave(void)
{
    pthread_cond_broadcast(&token.changed);
    pthread_mutex_unlock(&token.lock);
}

static ath_err
token_open(const struct hsm_options *options, struct hsm_fault *fault, struct hsm **ret_hsm)
{
    ath_err err;

    (void)options;
    enter();
    err = token.open_err;
    token.opens++;
    leave();
    if (err != ATH_OK)
        return why_set(&fault->why, err, "no token here");
    *ret_hsm = &the_token;
    return ATH_OK;
}

static void
token_close(struct hsm *hsm)
{
    enter();
    token.closes += hsm != NULL;
    leave();
}

static void
token_info(const struct hsm *hsm, struct hsm_info *ret_info)
{
    (void)hsm;
    enter();
    *ret_info = (struct hsm_info){.kind = "pkcs11",
                                  .algorithms = 2,
                                  .parallel = token.parallel,
                                  .login = token.pad ? HSM_LOGIN_PAD : HSM_LOGIN_PIN,
                                  .tries_left = token.tries_left,
                                  .pin_locked = token.tries_left == 0,
                                  .label = "my token\n\xE2\x80\xAE",
                                  .manufacturer = "us",
                                  .serial = "0815"};
    leave();
}

static ath_err
token_key_open(struct hsm *hsm, struct ath_slice blob, struct hsm_fault *fault,
               struct hsm_key **ret_key)
{
    struct hsm_key *key;
    unsigned char *der = NULL;
    ath_err err;
    int len;

    (void)hsm;
    if (!ath_slice_is(blob, "plain") && !ath_slice_is(blob, "card"))
        return why_set(&fault->why, ATH_ERR_INVALID_PARAMS, "not a blob");
    if ((key = calloc(1, sizeof(*key))) == NULL)
        return ATH_ERR_NOMEM;
    key->always_authenticate = ath_slice_is(blob, "card");
    key->private = EVP_EC_gen("P-256");
    len = i2d_PUBKEY(key->private, &der);
    err = public_key_from_der(ath_slice_of(der, (size_t)len), NULL, &key->public);
    OPENSSL_free(der);
    if (err != ATH_OK) {
        EVP_PKEY_free(key->private);
        free(key);
        return err;
    }
    enter();
    token.keys_open++;
    leave();
    *ret_key = key;
    return ATH_OK;
}

static void
token_key_close(struct hsm *hsm, struct hsm_key *key)
{
    (void)hsm;
    EVP_PKEY_free(key->private);
    public_key_free(key->public);
    free(key);
    enter();
    token.keys_open--;
    leave();
}

static const struct public_key *
token_key_public(const struct hsm_key *key)
{
    return key->public;
}

static void
token_key_facts(const struct hsm_key *key, struct hsm_key_facts *ret_facts)
{
    *ret_facts = (struct hsm_key_facts){.generated_inside = true,
                                        .always_authenticate = key->always_authenticate};
}

static struct ath_slice
token_key_blob(const struct hsm_key *key)
{
    (void)key;
    return ath_slice_of_string("canonical");
}

/* The lock is held. */
static ath_err
try_pin(struct ath_slice pin, struct hsm_fault *fault)
{
    if (token.tries_left == 0)
        return why_set(&fault->why, ATH_ERR_PIN_LOCKED, "locked");
    if ((token.pad && pin.len == 0) || (token_is_pin(pin) && !token.is_changed))
        return ATH_OK;
    token.wrong_pins++;
    token.tries_left--;
    fault->native = 0xA0;
    return why_set(&fault->why, ATH_ERR_PIN_INCORRECT, "wrong");
}

static void
make_signature(const struct hsm_key *key, struct ath_slice message, uint8_t *ret_signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t der[128];
    size_t len = sizeof(der);

    if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->private) != 1 ||
        EVP_DigestSign(ctx, der, &len, message.data, message.len) != 1 ||
        signature_from_der(KEY_ES256, ath_slice_of(der, len), ret_signature) != ATH_OK)
        abort();
    EVP_MD_CTX_free(ctx);
}

static ath_err
token_sign_with(struct hsm *hsm, unsigned worker, struct hsm_key *key, struct ath_slice message,
                struct ath_slice pin, struct hsm_fault *fault,
                uint8_t ret_signature[SIGNATURE_MAX_LEN])
{
    bool is_bad;
    ath_err err;

    (void)hsm;
    pthread_mutex_lock(&token.lock);
    token.violations += worker >= token.parallel || (!key->always_authenticate && pin.len > 0);
    token.signing++;
    token.most_signing = token.signing > token.most_signing ? token.signing : token.most_signing;
    pthread_cond_broadcast(&token.changed);
    while (token.holds)
        pthread_cond_wait(&token.changed, &token.lock);
    token.signatures++;
    token.pin_signatures += pin.len > 0;
    is_bad = token.bad_signature;
    if ((err = token.sign_err) != ATH_OK)
        (void)why_set(&fault->why, err, "it broke");
    else if (key->always_authenticate)
        err = pin.len == 0 ? ATH_ERR_PIN_REQUIRED : try_pin(pin, fault);
    pthread_mutex_unlock(&token.lock);
    if (err == ATH_OK) {
        make_signature(key, message, ret_signature);
        ret_signature[63] ^= is_bad ? 1 : 0;
    }
    pthread_mutex_lock(&token.lock);
    token.signing--;
    leave();
    return err;
}

static ath_err
token_random(struct hsm *hsm, uint8_t *ret_bytes, size_t len, struct hsm_fault *fault)
{
    (void)hsm;
    (void)fault;
    enter();
    memset(ret_bytes, 'r', len);
    leave();
    return ATH_OK;
}

static ath_err
token_login(struct hsm *hsm, struct ath_slice pin, struct hsm_fault *fault)
{
    ath_err err;

    (void)hsm;
    enter();
    token.logins++;
    err = token.login_err != ATH_OK ? token.login_err : try_pin(pin, fault);
    token.is_logged_in = token.is_logged_in || err == ATH_OK;
    leave();
    return err;
}

static void
token_logout(struct hsm *hsm)
{
    (void)hsm;
    enter();
    token.logouts++;
    token.is_logged_in = false;
    leave();
}

static ath_err
token_check(struct hsm *hsm, struct hsm_fault *fault)
{
    ath_err err;

    (void)hsm;
    enter();
    token.checks++;
    if ((err = token.check_err) != ATH_OK)
        (void)why_set(&fault->why, err, "taken out");
    leave();
    return err;
}

const struct hsm_ops token_ops = {
    .schemes = {"pkcs11:"},
    .open = token_open,
    .close = token_close,
    .info = token_info,
    .key_open = token_key_open,
    .key_close = token_key_close,
    .key_public = token_key_public,
    .key_facts = token_key_facts,
    .key_blob = token_key_blob,
    .sign_with = token_sign_with,
    .random = token_random,
    .login = token_login,
    .logout = token_logout,
    .check = token_check,
};

static const struct hsm_ops *const backends[] = {&token_ops, NULL};

bool
token_wait(const unsigned *number, unsigned wanted)
{
    uint64_t ends_at = clock_monotonic_ms() + PATIENCE_MS;

    while (token_read(number) < wanted) {
        if (clock_monotonic_ms() > ends_at)
            return false;
        (void)poll(NULL, 0, 1);
    }
    return true;
}

void
token_hold(bool holds)
{
    pthread_mutex_lock(&token.lock);
    token.holds = holds;
    leave();
}

unsigned
token_read(const unsigned *number)
{
    unsigned value;

    pthread_mutex_lock(&token.lock);
    value = *number;
    pthread_mutex_unlock(&token.lock);
    return value;
}

/* ---- the PIN ---- */

static const uint8_t pin_masked[] = {'s' ^ 0x5A, 'e' ^ 0x5A, 'c' ^ 0x5A, 'r' ^ 0x5A,
                                     'e' ^ 0x5A, 't' ^ 0x5A, '-' ^ 0x5A, '7' ^ 0x5A,
                                     '5' ^ 0x5A, '3' ^ 0x5A, '1' ^ 0x5A};

bool
token_is_pin(struct ath_slice pin)
{
    if (pin.len != sizeof(pin_masked))
        return false;
    for (size_t i = 0; i < pin.len; i++)
        if ((pin.data[i] ^ 0x5A) != pin_masked[i])
            return false;
    return true;
}

void
token_put_pin_line(uint8_t line[32], size_t *ret_len)
{
    volatile uint8_t mask = 0x5A; /* so that the compiler does not put it together */

    line[0] = 'D';
    line[1] = ' ';
    for (size_t i = 0; i < sizeof(pin_masked); i++)
        line[2 + i] = pin_masked[i] ^ mask;
    line[2 + sizeof(pin_masked)] = '\n';
    *ret_len = sizeof(pin_masked) + 3;
}

/* ---- the helper ---- */

static void
token_reset(void)
{
    token = (struct token_state){.lock = PTHREAD_MUTEX_INITIALIZER,
                                 .changed = PTHREAD_COND_INITIALIZER,
                                 .parallel = 2,
                                 .tries_left = 3};
}

int
scene_setup(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    int pair[2];

    assert_non_null(scene);
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(crypto_init(), ATH_OK);
    token_reset();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    scene->fd = pair[0];
    scene->helper_fd = pair[1];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    scene->prompter_fd = pair[0];
    scene->helper_prompter_fd = pair[1];
    scene->options = (struct hsm_helper_options){.uri = "pkcs11:token=double",
                                                 .state_dir = "/state",
                                                 .backends = backends,
                                                 .fd = scene->helper_fd,
                                                 .prompter_fd = scene->helper_prompter_fd};
    *state = scene;
    return 0;
}

static void *
run(void *arg)
{
    struct scene *scene = arg;

    scene->result = hsm_helper_run(&scene->options);
    (void)shutdown(scene->helper_fd, SHUT_RDWR); /* whoever reads sees the end */
    return NULL;
}

void
scene_start(struct scene *scene)
{
    assert_int_equal(pthread_create(&scene->thread, NULL, run, scene), 0);
    scene->is_running = true;
}

ath_err
scene_end(struct scene *scene)
{
    (void)shutdown(scene->fd, SHUT_RDWR);
    if (scene->is_running)
        assert_int_equal(pthread_join(scene->thread, NULL), 0);
    scene->is_running = false;
    return scene->result;
}

int
scene_teardown(void **state)
{
    struct scene *scene = *state;

    token_hold(false);
    (void)scene_end(scene);
    assert_int_equal(token.violations, 0);
    assert_int_equal(token.keys_open, 0);
    assert_true(token.closes <= token.opens);
    fd_close(&scene->fd);
    fd_close(&scene->prompter_fd);
    fd_close(&scene->helper_fd);
    fd_close(&scene->helper_prompter_fd);
    ath_buf_done(&scene->in);
    ath_buf_done(&scene->frame);
    public_key_free(scene->key);
    free(scene);
    return 0;
}

void
scene_ask(struct scene *scene, struct hsm_request request)
{
    struct ath_buf frame = {0};

    hsm_request_encode(&request, &frame);
    assert_int_equal(frame.err, ATH_OK);
    assert_int_equal(fd_write_all(scene->fd, ath_buf_slice(&frame)), ATH_OK);
    ath_buf_done(&frame);
}

struct hsm_response
scene_take(struct scene *scene)
{
    struct hsm_response response = {0};
    struct ath_slice content;
    size_t total = 0;

    for (;;) {
        struct pollfd item = {.fd = scene->fd, .events = POLLIN};
        uint8_t *room;
        ssize_t n;

        assert_int_equal(hsm_frame_peek(ath_buf_slice(&scene->in), &content, &total), ATH_OK);
        if (total > 0)
            break;
        assert_int_equal(poll(&item, 1, PATIENCE_MS), 1);
        assert_non_null(room = ath_buf_reserve(&scene->in, 65536));
        n = read(scene->fd, room, 65536);
        assert_true(n > 0);
        scene->in.len += (size_t)n;
    }
    ath_buf_clear(&scene->frame);
    ath_buf_put_slice(&scene->frame, content);
    ath_buf_consume(&scene->in, total);
    assert_int_equal(hsm_response_decode(ath_buf_slice(&scene->frame), &response), ATH_OK);
    return response;
}

struct hsm_response
scene_answer(struct scene *scene, uint32_t id, ath_err err)
{
    struct hsm_response response = scene_take(scene);

    if (response.id != id || response.err != err)
        fail_msg("answer %u %s instead of %u %s: %.*s", response.id, ath_err_reason(response.err),
                 id, ath_err_reason(err), (int)response.sentence.len,
                 (const char *)response.sentence.data);
    return response;
}

void
scene_open(struct scene *scene, const char *blob)
{
    struct hsm_response response;

    scene_ask(scene, (struct hsm_request){.id = 1, .op = HSM_OP_INFO, .version = HSM_WIRE_VERSION});
    (void)scene_answer(scene, 1, ATH_OK);
    scene_ask(scene,
              (struct hsm_request){
                  .id = 2, .op = HSM_OP_KEY_OPEN, .key = 1, .data = ath_slice_of_string(blob)});
    response = scene_answer(scene, 2, ATH_OK);
    assert_true(ath_slice_is(response.blob, "canonical"));
    assert_int_equal(public_key_from_der(response.public_der, NULL, &scene->key), ATH_OK);
}

void
scene_sign(struct scene *scene, uint32_t id, struct hsm_pin_request pin)
{
    char message[32];

    (void)snprintf(message, sizeof(message), "message %u", id);
    scene_ask(scene, (struct hsm_request){.id = id,
                                          .op = HSM_OP_SIGN,
                                          .key = 1,
                                          .data = ath_slice_of_string(message),
                                          .pin = pin});
}

void
scene_verify(const struct scene *scene, const struct hsm_response *response)
{
    char message[32];

    (void)snprintf(message, sizeof(message), "message %u", response->id);
    assert_int_equal(response->data.len, 64);
    assert_int_equal(public_key_verify(scene->key, ath_slice_of_string(message), response->data),
                     ATH_OK);
}

/* ---- a person ---- */

static void
say(int fd, const char *text)
{
    if (fd_write_all(fd, ath_slice_of_string(text)) != ATH_OK)
        _exit(0);
}

static void
give_pin(int fd, enum person person)
{
    uint8_t line[32];
    char sevens[256];
    size_t len;

    memset(sevens, '7', sizeof(sevens));
    token_put_pin_line(line, &len);
    line[len - 2] = person == PERSON_WRONG ? (uint8_t)'0' : line[len - 2];
    if (person == PERSON_RIGHT || person == PERSON_SLOW || person == PERSON_WRONG) {
        if (fd_write_all(fd, ath_slice_of(line, len)) != ATH_OK)
            _exit(0);
    } else if (person == PERSON_255 || person == PERSON_256) {
        say(fd, "D ");
        if (fd_write_all(fd, ath_slice_of(sevens, person == PERSON_255 ? 255 : 256)) != ATH_OK)
            _exit(0);
        say(fd, "\n");
    }
    say(fd, "OK\n");
}

static void
answer_getpin(int fd, enum person person)
{
    sigset_t awaited;
    int number;

    sigemptyset(&awaited);
    sigaddset(&awaited, SIGUSR1);
    if (person == PERSON_SLOW)
        (void)sigwait(&awaited, &number);
    if (person == PERSON_CANCELS)
        say(fd, "ERR 83886179 Operation cancelled <Pinentry>\n");
    else if (person == PERSON_SILENT)
        return;
    else if (person == PERSON_GARBAGE)
        say(fd, "\x01\x02 what is this\n");
    else if (person == PERSON_DIES)
        _exit(0);
    else
        give_pin(fd, person);
}

/* A prompter's process: its connection is fd. */
static void
be_prompter(int fd, enum person person, int told_fd)
{
    char line[2048];
    size_t len = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    say(fd, "OK Pleased to meet you\n");
    while (len < sizeof(line) && read(fd, line + len, 1) == 1) {
        if (line[len++] != '\n')
            continue;
        if (told_fd >= 0 && write(told_fd, line, len) < 0)
            _exit(0);
        if (len >= 3 && memcmp(line, "BYE", 3) == 0)
            _exit(0);
        if (len >= 6 && memcmp(line, "GETPIN", 6) == 0)
            answer_getpin(fd, person);
        else
            say(fd, "OK\n");
        len = 0;
    }
    _exit(0); /* the connection is closed */
}

pid_t
scene_pass_prompter(struct scene *scene, uint32_t id, enum person person, int told_fd)
{
    sigset_t blocked;
    int pair[2];
    pid_t pid;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1); /* the prompter's, from its first moment on */
    (void)pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    pid = fork();
    (void)(pid != 0 && pthread_sigmask(SIG_UNBLOCK, &blocked, NULL));
    assert_true(pid >= 0);
    if (pid == 0) {
        close(pair[1]);
        close(scene->fd);
        close(scene->prompter_fd);
        close(scene->helper_fd);
        close(scene->helper_prompter_fd);
        be_prompter(pair[0], person, told_fd);
    }
    close(pair[0]);
    assert_int_equal(hsm_fd_send(scene->prompter_fd, id, pair[1]), ATH_OK);
    close(pair[1]);
    if (told_fd >= 0)
        close(told_fd);
    return pid;
}

void
scene_wait_prompter(pid_t pid)
{
    uint64_t ends_at = clock_monotonic_ms() + PATIENCE_MS;
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_monotonic_ms() > ends_at) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            fail_msg("the prompter's connection is not closed");
        }
        (void)poll(NULL, 0, 1);
    }
}

unsigned
scene_count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* ---- where the PIN is ---- */

/* Occurrences in one mapping. */
static unsigned
count_in(int memory, unsigned long begin, unsigned long end)
{
    static uint8_t chunk[65536 + 16];
    size_t carried = 0, len;
    unsigned found = 0;

    for (unsigned long at = begin; at < end; at += 65536) {
        ssize_t n = pread(memory, chunk + carried, end - at < 65536 ? end - at : 65536, (off_t)at);

        if (n <= 0)
            break;
        len = carried + (size_t)n;
        for (size_t i = 0; i + sizeof(pin_masked) <= len; i++)
            found += chunk[i] == (pin_masked[0] ^ 0x5A) && chunk[i + 6] == '-' &&
                     token_is_pin(ath_slice_of(chunk + i, sizeof(pin_masked)));
        carried = len < sizeof(pin_masked) - 1 ? len : sizeof(pin_masked) - 1;
        memmove(chunk, chunk + len - carried, carried);
    }
    explicit_bzero(chunk, sizeof(chunk));
    return found;
}

bool
scene_find_pin(pid_t pid, unsigned *ret_locked, unsigned *ret_unlocked)
{
    char line[512], rights[8] = "";
    unsigned long begin = 0, end = 0;
    unsigned found = 0;
    FILE *maps;
    int memory;

    (void)snprintf(line, sizeof(line), "/proc/%d/mem", (int)pid);
    memory = open(line, O_RDONLY | O_CLOEXEC);
    (void)snprintf(line, sizeof(line), "/proc/%d/smaps", (int)pid);
    maps = fopen(line, "re");
    *ret_locked = *ret_unlocked = 0;
    while (memory >= 0 && maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%lx-%lx %7s", &begin, &end, rights) == 3) {
            bool is_searched = rights[0] == 'r' && rights[1] == 'w' && end - begin < (1ul << 30);

            found = is_searched ? count_in(memory, begin, end) : 0;
        } else if (strncmp(line, "VmFlags:", 8) == 0) {
            *(strstr(line, " dd") != NULL ? ret_locked : ret_unlocked) += found;
            found = 0;
        }
    }
    if (maps != NULL)
        (void)fclose(maps);
    fd_close(&memory);
    return end > 0;
}
