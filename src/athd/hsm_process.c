#include "athd/hsm_process.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "athd/child.h"
#include "athd/hsm_environment.h"
#include "base/fd.h"
#include "base/log.h"
#include "hsm/wire/hsm_fd.h"

/* What can fly (HSM_IDS), each as long as may be: memory that the queue holds already. */
#define OUT_MAX (512u * (HSM_WIRE_MAX_FRAME + 4u))

struct hsm_process {
    struct hsm_process_params params;
    struct child *child; /* NULL once it has ended */
    uv_pipe_t pipe;
    int descriptors; /* our end of its standard output: prompters' connections go there */
    bool is_pipe_closed;
    bool is_ending; /* responses are of no use any more */
    struct ath_buf in;
    struct ath_buf out, writing;
    bool is_writing;
    uv_write_t write;
};

/* One for all helpers: on_read uses it up at once. */
static char read_chunk[16384];

/* ---- the end ---- */

static void
finish_if_gone(struct hsm_process *process)
{
    struct hsm_process_params params = process->params;

    if (process->child != NULL || !process->is_pipe_closed)
        return;
    fd_close(&process->descriptors);
    ath_buf_done(&process->in);
    ath_buf_done(&process->out);
    ath_buf_done(&process->writing);
    free(process);
    params.on_gone(params.ctx);
}

static void
on_child_ended(void *ctx)
{
    struct hsm_process *process = ctx;

    process->child = NULL;
    hsm_process_end(process);
    finish_if_gone(process);
}

static void
on_closed(uv_handle_t *handle)
{
    struct hsm_process *process = handle->data;

    process->is_pipe_closed = true;
    finish_if_gone(process);
}

void
hsm_process_end(struct hsm_process *process)
{
    if (process->is_ending)
        return;
    process->is_ending = true;
    uv_close((uv_handle_t *)&process->pipe, on_closed);
}

void
hsm_process_kill(struct hsm_process *process)
{
    if (process->child != NULL)
        child_kill(process->child, SIGKILL);
    hsm_process_end(process);
}

/* ---- out ---- */

static void start_write(struct hsm_process *process);

static void
on_written(uv_write_t *write, int status)
{
    struct hsm_process *process = write->data;

    process->is_writing = false;
    ath_buf_done(&process->writing);
    if (process->is_ending)
        return;
    if (status != 0)
        hsm_process_kill(process);
    else if (process->out.len > 0)
        start_write(process);
}

static void
start_write(struct hsm_process *process)
{
    uv_buf_t buf;

    process->writing = process->out; /* ownership moves */
    process->out = (struct ath_buf){.max = OUT_MAX};
    buf = uv_buf_init((char *)process->writing.data, (unsigned)process->writing.len);
    process->write.data = process;
    process->is_writing = true;
    if (uv_write(&process->write, (uv_stream_t *)&process->pipe, &buf, 1, on_written) != 0) {
        process->is_writing = false;
        hsm_process_kill(process);
    }
}

void
hsm_process_queue(struct hsm_process *process, const struct hsm_request *request)
{
    if (process->is_ending)
        return;
    hsm_request_encode(request, &process->out);
    if (process->out.err != ATH_OK)
        hsm_process_kill(process);
}

void
hsm_process_flush(struct hsm_process *process)
{
    uv_buf_t buf;
    int sent;

    if (process->is_ending || process->is_writing || process->out.len == 0)
        return;
    buf = uv_buf_init((char *)process->out.data, (unsigned)process->out.len);
    sent = uv_try_write((uv_stream_t *)&process->pipe, &buf, 1);
    if (sent > 0 && (size_t)sent == process->out.len) {
        ath_buf_clear(&process->out);
        return;
    }
    if (sent > 0)
        ath_buf_consume(&process->out, (size_t)sent);
    if (sent < 0 && sent != UV_EAGAIN)
        hsm_process_kill(process);
    else
        start_write(process);
}

void
hsm_process_send(struct hsm_process *process, const struct hsm_request *request)
{
    hsm_process_queue(process, request);
    hsm_process_flush(process);
}

ath_err
hsm_process_send_fd(struct hsm_process *process, uint32_t id, int fd)
{
    return process->is_ending ? ATH_ERR_IO : hsm_fd_send(process->descriptors, id, fd);
}

/* ---- in ---- */

/* The whole frames at the start of `in`. Whatever is no response of this protocol ends the helper.
 */
static bool
take_frames(struct hsm_process *process)
{
    struct ath_slice rest = ath_buf_slice(&process->in), content;
    struct hsm_response response;
    size_t total = 0;

    while (!process->is_ending) {
        if (hsm_frame_peek(rest, &content, &total) != ATH_OK)
            return false;
        if (total == 0)
            break;
        if (hsm_response_decode(content, &response) != ATH_OK)
            return false;
        process->params.on_response(process->params.ctx, &response);
        rest = ath_slice_of(rest.data + total, rest.len - total);
    }
    if (rest.len == 0)
        ath_buf_done(&process->in);
    else
        ath_buf_consume(&process->in, process->in.len - rest.len);
    return true;
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    (void)handle;
    (void)suggested;
    *ret_buf = uv_buf_init(read_chunk, sizeof(read_chunk));
}

static void
on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct hsm_process *process = stream->data;

    if (len == 0 || process->is_ending)
        return;
    if (len < 0) { /* it has ended, or has closed its side: it is of no use */
        hsm_process_kill(process);
        return;
    }
    process->in.max = HSM_WIRE_MAX_FRAME + 4 + sizeof(read_chunk);
    ath_buf_put(&process->in, buf->base, (size_t)len);
    if (process->in.err != ATH_OK || !take_frames(process)) {
        log_error("event=helper uri=%s reason=\"its answer makes no sense\"", process->params.uri);
        hsm_process_kill(process);
    }
}

/* ---- the beginning ---- */

static ath_err
start_child(uv_loop_t *loop, struct hsm_process *process, int frames, int descriptors)
{
    const struct hsm_process_params *params = &process->params;
    struct hsm_environment environment;
    const char *arguments[] = {params->program,   "--uri",       params->uri,       "--state-dir",
                               params->state_dir, "--log-level", params->log_level, NULL};
    struct spawn_params child = {
        .program = params->program, .input = frames, .output = descriptors};

    hsm_environment_make(environ, params->uri, &environment);
    child.arguments = (char *const *)(uintptr_t)arguments; /* execve(2) does not change them */
    child.environment = environment.variables;
    return child_start(loop, &child, on_child_ended, process, &process->child);
}

static void
on_unused_closed(uv_handle_t *handle)
{
    free(handle->data);
}

ath_err
hsm_process_start(uv_loop_t *loop, const struct hsm_process_params *params,
                  struct hsm_process **ret_process)
{
    struct hsm_process *process = calloc(1, sizeof(*process));
    int fds[2] = {-1, -1}, passing[2] = {-1, -1};
    ath_err err = ATH_ERR_IO;

    if (process == NULL)
        return ATH_ERR_NOMEM;
    process->params = *params;
    process->out.max = OUT_MAX;
    process->descriptors = -1;
    if (uv_pipe_init(loop, &process->pipe, 0) != 0) {
        free(process);
        return ATH_ERR_NOMEM;
    }
    process->pipe.data = process;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, passing) != 0 ||
        uv_pipe_open(&process->pipe, fds[0]) != 0)
        goto out;
    fds[0] = -1; /* the handle's now */
    if (uv_read_start((uv_stream_t *)&process->pipe, on_alloc, on_read) != 0)
        goto out;
    if ((err = start_child(loop, process, fds[1], passing[1])) != ATH_OK)
        goto out;
    process->descriptors = passing[0];
    passing[0] = -1;
    *ret_process = process;
    process = NULL;
out:
    fd_close(&fds[0]);
    fd_close(&fds[1]);
    fd_close(&passing[0]);
    fd_close(&passing[1]);
    if (process != NULL)
        uv_close((uv_handle_t *)&process->pipe, on_unused_closed);
    return err;
}
