#include "fixture_token.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "crypto/digest.h"

static const struct hsm_ops *const backends[] = {&token_ops, NULL};

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
