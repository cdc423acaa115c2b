#include "hsm/hsm_channel.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/fd.h"

#define READ_LEN 65536u
#define FRAME_LEN (HSM_WIRE_MAX_FRAME + 4u)
#define WAITING_MAX FRAME_LEN /* bytes that wait for a writer before senders wait too */

void
hsm_channel_init(struct hsm_channel *channel, int fd)
{
    *channel = (struct hsm_channel){
        .fd = fd,
        .in.max = FRAME_LEN + READ_LEN,
        .out.max = WAITING_MAX + FRAME_LEN,
        .writing.max = WAITING_MAX + FRAME_LEN,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .room = PTHREAD_COND_INITIALIZER,
    };
}

void
hsm_channel_done(struct hsm_channel *channel)
{
    ath_buf_done(&channel->in);
    ath_buf_done(&channel->out);
    ath_buf_done(&channel->writing);
    pthread_cond_destroy(&channel->room);
    pthread_mutex_destroy(&channel->lock);
}

/* ---- in ---- */

bool
hsm_channel_is_readable(const struct hsm_channel *channel)
{
    return fd_poll_now(channel->fd, POLLIN) != 0;
}

ath_err
hsm_channel_fill(struct hsm_channel *channel)
{
    uint8_t *room;
    ssize_t n;

    ath_buf_consume(&channel->in, channel->taken);
    channel->taken = 0;
    if ((room = ath_buf_reserve(&channel->in, READ_LEN)) == NULL)
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

ath_err
hsm_channel_next(struct hsm_channel *channel, struct hsm_request *ret_request, bool *ret_is_there)
{
    struct ath_slice content, rest;
    size_t total = 0;
    ath_err err;

    *ret_is_there = false;
    if (channel->in.len == channel->taken)
        return ATH_OK;
    rest = ath_slice_of(channel->in.data + channel->taken, channel->in.len - channel->taken);
    if ((err = hsm_frame_peek(rest, &content, &total)) != ATH_OK || total == 0)
        return err;
    channel->taken += total;
    *ret_is_there = true;
    return hsm_request_decode(content, ret_request);
}

/* ---- out; all with the lock held ---- */

static void
write_out(struct hsm_channel *channel)
{
    channel->is_writing = true;
    while (channel->out.len > 0 && channel->write_err == ATH_OK) {
        struct ath_buf empty = channel->writing;
        ath_err err;

        channel->writing = channel->out;
        channel->out = empty;
        pthread_cond_broadcast(&channel->room);
        pthread_mutex_unlock(&channel->lock);
        err = fd_write_all(channel->fd, ath_buf_slice(&channel->writing));
        ath_buf_clear(&channel->writing);
        pthread_mutex_lock(&channel->lock);
        channel->write_err = err;
    }
    channel->is_writing = false;
    pthread_cond_broadcast(&channel->room);
}

static ath_err
put(struct hsm_channel *channel, const struct hsm_response *response)
{
    size_t before = channel->out.len;
    ath_err err;

    hsm_response_encode(response, &channel->out);
    if ((err = channel->out.err) != ATH_OK) { /* the others' answers stay whole */
        channel->out.len = before;
        channel->out.err = ATH_OK;
    }
    return err;
}

static ath_err
send_now_or_soon(struct hsm_channel *channel, const struct hsm_response *response, bool may_wait)
{
    ath_err err;

    pthread_mutex_lock(&channel->lock);
    while (channel->is_writing && channel->out.len > WAITING_MAX && channel->write_err == ATH_OK)
        pthread_cond_wait(&channel->room, &channel->lock);
    if ((err = channel->write_err) == ATH_OK) {
        bool is_first = channel->out.len == 0;

        err = put(channel, response);
        if (err == ATH_OK && !channel->is_writing && !(is_first && may_wait)) {
            write_out(channel);
            err = channel->write_err;
        }
    }
    pthread_mutex_unlock(&channel->lock);
    return err;
}

ath_err
hsm_channel_send(struct hsm_channel *channel, const struct hsm_response *response)
{
    return send_now_or_soon(channel, response, false);
}

ath_err
hsm_channel_send_soon(struct hsm_channel *channel, const struct hsm_response *response)
{
    return send_now_or_soon(channel, response, true);
}

void
hsm_channel_flush(struct hsm_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    if (!channel->is_writing)
        write_out(channel);
    pthread_mutex_unlock(&channel->lock);
}
