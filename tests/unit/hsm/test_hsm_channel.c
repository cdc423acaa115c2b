/* Answers out of a helper: in order, and those that may wait leave with the next. */
#include "hsm/hsm_channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/support/support.h"

struct scene {
    struct hsm_channel channel;
    int fds[2]; /* ours, the channel's */
};

static int
begin(void **state)
{
    static struct scene scene;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, scene.fds), 0);
    hsm_channel_init(&scene.channel, scene.fds[1]);
    *state = &scene;
    return 0;
}

static int
end(void **state)
{
    struct scene *scene = *state;

    hsm_channel_done(&scene->channel);
    fd_close(&scene->fds[0]);
    fd_close(&scene->fds[1]);
    return 0;
}

static struct hsm_response
random_answer(uint32_t id)
{
    return (struct hsm_response){
        .id = id, .op = HSM_OP_RANDOM, .data = ath_slice_of_string("random")};
}

static void
send_now(struct scene *scene, uint32_t id)
{
    const struct hsm_response response = random_answer(id);

    assert_int_equal(hsm_channel_send(&scene->channel, &response), ATH_OK);
}

static void
send_soon(struct scene *scene, uint32_t id)
{
    const struct hsm_response response = random_answer(id);

    assert_int_equal(hsm_channel_send_soon(&scene->channel, &response), ATH_OK);
}

/* What has come by now, by its first and last id; the count. */
static unsigned
receive(const struct scene *scene, uint32_t *ret_first, uint32_t *ret_last)
{
    struct pollfd item = {.fd = scene->fds[0], .events = POLLIN};
    uint8_t bytes[4096];
    struct ath_slice rest, content;
    struct hsm_response response;
    unsigned count = 0;
    size_t total;
    ssize_t n;

    if (poll(&item, 1, 0) == 0)
        return 0;
    n = read(scene->fds[0], bytes, sizeof(bytes));
    assert_true(n > 0);
    for (rest = ath_slice_of(bytes, (size_t)n); rest.len > 0; count++) {
        assert_int_equal(hsm_frame_peek(rest, &content, &total), ATH_OK);
        assert_true(total > 0);
        assert_int_equal(hsm_response_decode(content, &response), ATH_OK);
        if (count == 0)
            *ret_first = response.id;
        *ret_last = response.id;
        rest = ath_slice_of(rest.data + total, rest.len - total);
    }
    return count;
}

static void
test_the_first_of_two_that_may_wait_leaves_with_the_second(void **state)
{
    struct scene *scene = *state;
    uint32_t first = 0, last = 0;

    for (uint32_t id = 1; id < 100; id += 2) {
        send_soon(scene, id);
        assert_int_equal(receive(scene, &first, &last), 0);
        send_soon(scene, id + 1);
        assert_int_equal(receive(scene, &first, &last), 2);
        assert_int_equal(first, id);
        assert_int_equal(last, id + 1);
    }
}

static void
test_what_may_not_wait_takes_what_waits_with_it(void **state)
{
    struct scene *scene = *state;
    uint32_t first = 0, last = 0;

    send_now(scene, 1);
    assert_int_equal(receive(scene, &first, &last), 1);
    send_soon(scene, 2);
    send_now(scene, 3);
    assert_int_equal(receive(scene, &first, &last), 2);
    assert_int_equal(first, 2);
    assert_int_equal(last, 3);
}

static void
test_flush_sends_what_waits(void **state)
{
    struct scene *scene = *state;
    uint32_t first = 0, last = 0;

    hsm_channel_flush(&scene->channel);
    assert_int_equal(receive(scene, &first, &last), 0);
    send_soon(scene, 1);
    hsm_channel_flush(&scene->channel);
    assert_int_equal(receive(scene, &first, &last), 1);
    assert_int_equal(first, 1);
}

static void
test_who_sends_after_a_failed_flush_is_told(void **state)
{
    struct scene *scene = *state;
    const struct hsm_response response = random_answer(2);

    send_soon(scene, 1);
    fd_close(&scene->fds[0]);
    hsm_channel_flush(&scene->channel);
    assert_int_equal(hsm_channel_send_soon(&scene->channel, &response), ATH_ERR_IO);
    assert_int_equal(hsm_channel_send(&scene->channel, &response), ATH_ERR_IO);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_first_of_two_that_may_wait_leaves_with_the_second,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_what_may_not_wait_takes_what_waits_with_it, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_flush_sends_what_waits, begin, end),
        cmocka_unit_test_setup_teardown(test_who_sends_after_a_failed_flush_is_told, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
