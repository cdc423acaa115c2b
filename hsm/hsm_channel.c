#include "hsm/hsm_channel.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/fd.h"

#define READ_LEN 16384u

void
hsm_channel_init(struct hsm_channel *channel, int fd)
{
    *channel = (struct hsm_channel){
        .fd = fd,
        .in.max = HSM_WIRE_MAX_FRAME + 4u + READ_LEN,
        .out.max = HSM_WIRE_MAX_FRAME + 4u,
    };
}

void
hsm_channel_done(struct hsm_channel *channel)
{
    ath_buf_done(&channel->in);
    ath_buf_done(&channel->out);
}

static bool
is_readable(const struct hsm_channel *channel, int timeout_ms)
{
    struct pollfd item = {.fd = channel->fd, .events = POLLIN};

    return poll(&item, 1, timeout_ms) == 1;
}

/* One read; waits for it. */
static ath_err
fill(struct hsm_channel *channel)
{
    uint8_t *room = ath_buf_reserve(&channel->in, READ_LEN);
    ssize_t n;

    if (room == NULL)
        return channel->in.err;
    do {
        n = read(channel->fd, room, READ_LEN);
    } while (n < 0 && errno == EINTR);
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        return ATH_ERR_NOT_FOUND;
    if (n < 0)
        return ATH_ERR_IO;
    channel->in.len += (size_t)n;
    return ATH_OK;
}

static void
drop_taken(struct hsm_channel *channel)
{
    ath_buf_consume(&channel->in, channel->taken);
    channel->taken = 0;
}

bool
hsm_channel_is_ready(struct hsm_channel *channel)
{
    struct ath_slice content;
    size_t total;

    drop_taken(channel);
    for (;;) {
        if (hsm_frame_peek(ath_buf_slice(&channel->in), &content, &total) != ATH_OK || total > 0)
            return true;
        if (!is_readable(channel, 0))
            return false;
        if (fill(channel) != ATH_OK)
            return true; /* hsm_channel_receive will find out why */
    }
}

ath_err
hsm_channel_receive(struct hsm_channel *channel, struct hsm_request *ret_request)
{
    struct ath_slice content;
    size_t total;
    ath_err err;

    drop_taken(channel);
    for (;;) {
        err = hsm_frame_peek(ath_buf_slice(&channel->in), &content, &total);
        if (err != ATH_OK)
            return err;
        if (total > 0)
            break;
        /* A read(2) that waits is woken by each answer the other end takes, poll(2) only by bytes:
         * a wakeup less for each signature. Whatever else ends the wait, read finds out. */
        (void)is_readable(channel, -1);
        if ((err = fill(channel)) != ATH_OK)
            return err;
    }
    channel->taken = total;
    return hsm_request_decode(content, ret_request);
}

ath_err
hsm_channel_send(struct hsm_channel *channel, const struct hsm_response *response)
{
    ath_err err;

    hsm_response_encode(response, &channel->out);
    err = channel->out.err;
    if (err == ATH_OK)
        err = fd_write_all(channel->fd, ath_buf_slice(&channel->out));
    ath_buf_clear(&channel->out);
    return err;
}
