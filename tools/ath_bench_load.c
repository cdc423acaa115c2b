/* A load on a socket that costs little itself: requests are written beforehand, answers are told
 * apart by their line feeds (ssh-agent's: by their lengths), and only looked at enough to see that
 * none is an error. Where answers come in another order than the requests, as from a token with
 * several sessions, a latency is that of the oldest request; the mean stays the same. */
#include "ath_bench.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"

#define CLIENTS_MAX 64
#define DEPTH_MAX 128
#define READ_SIZE 65536
#define SSH_HEADER_LEN 5 /* u32 length, u8 type */

struct line_client {
    int fd;
    unsigned in_flight, oldest;
    uint64_t sent_us[DEPTH_MAX];
    char start[64]; /* of the answer that is being read: enough to see an error */
    size_t start_len;
    size_t left; /* ssh-agent: bytes of the answer behind its start */
};

struct load_state {
    const struct bench_load *load;
    struct line_client clients[CLIENTS_MAX];
    struct pollfd polls[CLIENTS_MAX];
    struct bench_samples samples;
    size_t next_line;
    uint64_t ends_us, last_us;
    char input[READ_SIZE];
};

ath_err
bench_connect(const char *path, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(address.sun_path))
        return ATH_ERR_UNREACHABLE;
    memcpy(address.sun_path, path, strlen(path) + 1);
    if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
        return ATH_ERR_UNREACHABLE;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return ATH_ERR_UNREACHABLE;
    }
    *ret_fd = fd;
    return ATH_OK;
}

/* Sends as many requests as the depth allows, in one write. */
static ath_err
fill(struct load_state *state, struct line_client *client, uint64_t now)
{
    struct ath_buf out = {0};
    ath_err err = ATH_OK;

    while (client->in_flight < state->load->depth) {
        const struct ath_buf *line = &state->load->lines[state->next_line];

        state->next_line = (state->next_line + 1) % state->load->line_count;
        client->sent_us[(client->oldest + client->in_flight++) % DEPTH_MAX] = now;
        if (state->load->depth == 1 || out.err)
            return out.err ? out.err : fd_write_all(client->fd, ath_buf_slice(line));
        ath_buf_put_slice(&out, ath_buf_slice(line));
    }
    if (out.len)
        err = fd_write_all(client->fd, ath_buf_slice(&out));
    ath_buf_done(&out);
    return err;
}

static ath_err
take_answer(struct load_state *state, struct line_client *client, uint64_t now, struct why *why)
{
    client->start[client->start_len] = '\0';
    if (state->load->is_ssh) {
        if ((uint8_t)client->start[SSH_HEADER_LEN - 1] != BENCH_SSH_SIGN_RESPONSE)
            return why_set(why, ATH_ERR_INTERNAL, "ssh-agent does not sign");
    } else if (!strstr(client->start, "\"result\"")) {
        return why_set(why, ATH_ERR_INTERNAL, "athd answered %s", client->start);
    }
    client->start_len = 0;
    if (!client->in_flight)
        return why_set(why, ATH_ERR_INTERNAL, "an answer to nothing");
    bench_samples_add(&state->samples, now - client->sent_us[client->oldest]);
    client->oldest = (client->oldest + 1) % DEPTH_MAX;
    client->in_flight--;
    state->last_us = now;
    return ATH_OK;
}

/* Adds to the start of the answer, which is kept up to `most` bytes; how many it took. */
static size_t
keep_start(struct line_client *client, const char *bytes, size_t len, size_t most)
{
    size_t room = most - client->start_len;

    if (len > room)
        len = room;
    memcpy(client->start + client->start_len, bytes, len);
    client->start_len += len;
    return len;
}

static ath_err
take_lines(struct load_state *state, struct line_client *client, size_t len, uint64_t now,
           struct why *why)
{
    const char *at = state->input, *end = at + len, *feed;
    ath_err err;

    while ((feed = memchr(at, '\n', (size_t)(end - at)))) {
        keep_start(client, at, (size_t)(feed - at), sizeof(client->start) - 1);
        if ((err = take_answer(state, client, now, why)) != ATH_OK)
            return err;
        at = feed + 1;
    }
    keep_start(client, at, (size_t)(end - at), sizeof(client->start) - 1);
    return ATH_OK;
}

/* ssh-agent's messages: a length, a type, and what needs no look. */
static ath_err
take_messages(struct load_state *state, struct line_client *client, size_t len, uint64_t now,
              struct why *why)
{
    const char *at = state->input, *end = at + len;
    ath_err err;

    while (at < end) {
        size_t took = client->left < (size_t)(end - at) ? client->left : (size_t)(end - at);

        if (client->start_len < SSH_HEADER_LEN) {
            struct byte_reader length;

            at += keep_start(client, at, (size_t)(end - at), SSH_HEADER_LEN);
            if (client->start_len < SSH_HEADER_LEN)
                return ATH_OK;
            length = byte_reader_of(ath_slice_of(client->start, 4));
            client->left = byte_reader_u32(&length);
            if (client->left == 0 || client->left > READ_SIZE)
                return why_set(why, ATH_ERR_PARSE, "ssh-agent answers something else");
            client->left--; /* the type was read */
        } else {
            at += took;
            client->left -= took;
        }
        if (client->left == 0 && (err = take_answer(state, client, now, why)) != ATH_OK)
            return err;
    }
    return ATH_OK;
}

static ath_err
read_answers(struct load_state *state, struct line_client *client, struct why *why)
{
    ssize_t got = read(client->fd, state->input, sizeof(state->input));
    const uint64_t now = clock_monotonic_us();
    ath_err err;

    if (got < 0 && errno == EINTR)
        return ATH_OK;
    if (got <= 0)
        return why_set(why, ATH_ERR_UNREACHABLE, "%s closed the connection",
                       state->load->is_ssh ? "ssh-agent" : "athd");
    err = state->load->is_ssh ? take_messages(state, client, (size_t)got, now, why)
                              : take_lines(state, client, (size_t)got, now, why);
    if (err != ATH_OK)
        return err;
    return now < state->ends_us && !bench_interrupted ? fill(state, client, now) : ATH_OK;
}

static bool
any_in_flight(const struct load_state *state)
{
    for (unsigned i = 0; i < state->load->clients; i++)
        if (state->clients[i].in_flight)
            return true;
    return false;
}

static ath_err
run_clients(struct load_state *state, struct why *why)
{
    ath_err err;

    while (any_in_flight(state)) {
        if (poll(state->polls, state->load->clients, 30000) == 0)
            return why_set(why, ATH_ERR_UNREACHABLE, "no answer in 30 s");
        for (unsigned i = 0; i < state->load->clients; i++)
            if (state->polls[i].revents &&
                (err = read_answers(state, &state->clients[i], why)) != ATH_OK)
                return err;
    }
    return ATH_OK;
}

ath_err
bench_load_run(const struct bench_load *load, struct why *why, struct bench_run *ret_run)
{
    struct load_state *state;
    uint64_t began;
    ath_err err = ATH_OK;

    if (!(state = calloc(1, sizeof(*state))))
        return ATH_ERR_NOMEM;
    state->load = load;
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        state->clients[i].fd = -1;
    for (unsigned i = 0; i < load->clients; i++) {
        if ((err = bench_connect(load->socket, &state->clients[i].fd)) != ATH_OK)
            goto out;
        state->polls[i] = (struct pollfd){.fd = state->clients[i].fd, .events = POLLIN};
    }
    began = clock_monotonic_us();
    state->ends_us = began + (uint64_t)(load->seconds * 1e6);
    for (unsigned i = 0; i < load->clients; i++)
        if ((err = fill(state, &state->clients[i], clock_monotonic_us())) != ATH_OK)
            goto out;
    if ((err = run_clients(state, why)) != ATH_OK)
        goto out;
    *ret_run = bench_run_of(&state->samples, state->last_us - began);
out:
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        fd_close(&state->clients[i].fd);
    bench_samples_done(&state->samples);
    free(state);
    return err;
}

/* Reads up to and without the line feed. */
static ath_err
read_line(int fd, struct ath_buf *line)
{
    char byte;

    ath_buf_clear(line);
    while (read(fd, &byte, 1) == 1) {
        if (byte == '\n')
            return line->err;
        ath_buf_put_byte(line, (uint8_t)byte);
    }
    return ATH_ERR_UNREACHABLE;
}

ath_err
bench_call(const char *socket_path, const char *method, const char *params, struct ath_buf *answer,
           struct why *why)
{
    struct ath_buf request = {0};
    int fd = -1;
    ath_err err;

    ath_buf_printf(&request, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}\n",
                   method, params);
    if ((err = request.err) != ATH_OK)
        goto out;
    if ((err = bench_connect(socket_path, &fd)) != ATH_OK)
        goto out;
    if ((err = fd_write_all(fd, ath_buf_slice(&request))) != ATH_OK)
        goto out;
    if ((err = read_line(fd, answer)) != ATH_OK)
        goto out;
    if (!ath_buf_text(answer) || !strstr((const char *)answer->data, "\"result\""))
        err = why_set(why, ATH_ERR_INTERNAL, "%s: %s", method, ath_buf_text(answer));
out:
    fd_close(&fd);
    ath_buf_done(&request);
    return err;
}
