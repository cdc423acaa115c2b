#include "athd/prompter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "athd/child.h"
#include "base/fd.h"
#include "base/log.h"

#define KILL_AFTER_MS 1000u
#define CHUNK_LEN 4096u

struct prompter {
    struct prompter_events events;
    char program[256];         /* for the log: configuration may change meanwhile */
    struct pinentry *pinentry; /* NULL: somebody else talks to it, and there are no pipes */
    struct child *child;       /* NULL once it has ended */
    struct ath_secret chunk;   /* what is read of one that asks for a PIN; else empty */
    uv_pipe_t to, from;        /* its standard input and output */
    uv_timer_t kill_timer;
    bool is_over; /* answered, or nobody wants the answer any more */
    bool is_closing;
    unsigned open_handles;
};

/* ---- the end ---- */

static void
prompter_free(struct prompter *prompter)
{
    pinentry_free(prompter->pinentry);
    ath_secret_done(&prompter->chunk);
    free(prompter);
}

static void
finish_if_gone(struct prompter *prompter)
{
    struct prompter_events events = prompter->events;

    if (prompter->child != NULL || prompter->open_handles > 0)
        return;
    prompter_free(prompter);
    events.on_gone(events.gone_ctx);
}

static void
on_closed(uv_handle_t *handle)
{
    struct prompter *prompter = handle->data;

    prompter->open_handles--;
    finish_if_gone(prompter);
}

static void
close_handles(struct prompter *prompter)
{
    if (prompter->is_closing)
        return;
    prompter->is_closing = true;
    if (prompter->pinentry != NULL) {
        uv_close((uv_handle_t *)&prompter->to, on_closed);
        uv_close((uv_handle_t *)&prompter->from, on_closed);
    }
    uv_close((uv_handle_t *)&prompter->kill_timer, on_closed);
}

/* Whoever asked is told only that it does not work; what it said is for the owner's eyes. */
static void
log_failure(const struct prompter *prompter)
{
    const char *complaint = pinentry_complaint(prompter->pinentry);

    if (complaint[0] != '\0')
        log_warning("event=prompter program=\"%s\" reason=\"it said: %s\"", prompter->program,
                    complaint);
    else
        log_warning("event=prompter program=\"%s\" reason=\"it ended, or spoke another protocol, "
                    "before there was an answer: can it be run, and has it a terminal (GPG_TTY) or "
                    "a display?\"",
                    prompter->program);
}

static void
answer(struct prompter *prompter, ath_err err)
{
    if (prompter->is_over)
        return;
    if (err == ATH_ERR_NO_PROMPTER)
        log_failure(prompter);
    prompter->is_over = true;
    prompter->events.on_answer(prompter->events.ctx, err);
}

static void
on_child_ended(void *ctx)
{
    struct prompter *prompter = ctx;

    /* what it said last is still in the pipe; its end of file comes behind it */
    prompter->child = NULL;
    if (prompter->is_over || prompter->pinentry == NULL)
        close_handles(prompter);
    finish_if_gone(prompter);
}

static void
on_kill_timer(uv_timer_t *timer)
{
    struct prompter *prompter = timer->data;

    if (prompter->child != NULL)
        child_kill(prompter->child, SIGKILL);
}

void
prompter_end(struct prompter *prompter)
{
    prompter->is_over = true;
    if (prompter->child == NULL) {
        close_handles(prompter);
        return;
    }
    child_kill(prompter->child, SIGTERM);
    if (!prompter->is_closing)
        uv_timer_start(&prompter->kill_timer, on_kill_timer, KILL_AFTER_MS, 0);
}

/* ---- talking ---- */

static bool
send_text(struct prompter *prompter, struct ath_buf *text)
{
    uv_buf_t buf = uv_buf_init((char *)text->data, (unsigned)text->len);

    /* a line at a time goes into an empty pipe; one that does not take it is not being read */
    return text->len == 0 || uv_try_write((uv_stream_t *)&prompter->to, &buf, 1) == (int)text->len;
}

/* Has it not even read the command that it answers? (A pipe says so at both of its ends: pipe(7).)
 */
static bool
has_unread(const struct prompter *prompter)
{
    uv_os_fd_t fd;
    int len = 0;

    return uv_fileno((const uv_handle_t *)&prompter->to, &fd) == 0 &&
           ioctl(fd, FIONREAD, &len) == 0 && len > 0;
}

/* libuv reads straight into it (uv_read_start(3)): a PIN is in no other memory. */
static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    static char chunk[CHUNK_LEN]; /* one for all: on_read uses it up at once */
    struct prompter *prompter = handle->data;

    (void)suggested;
    if (prompter->chunk.data != NULL)
        *ret_buf = uv_buf_init((char *)prompter->chunk.data, (unsigned)prompter->chunk.len);
    else
        *ret_buf = uv_buf_init(chunk, sizeof(chunk));
}

static void
on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct prompter *prompter = stream->data;
    struct ath_buf out = {.max = 4 * PINENTRY_LINE_MAX};
    ath_err err = ATH_ERR_NO_PROMPTER;

    if (len == 0)
        return;
    if (len > 0 && !prompter->is_over) {
        pinentry_note_unread(prompter->pinentry, has_unread(prompter));
        err = pinentry_receive(prompter->pinentry, ath_slice_of(buf->base, (size_t)len), &out);
        if (err == ATH_OK && !send_text(prompter, &out) && !pinentry_is_done(prompter->pinentry))
            err = ATH_ERR_NO_PROMPTER;
    }
    ath_buf_done(&out);
    if (len > 0 && prompter->chunk.data != NULL)
        explicit_bzero(prompter->chunk.data, (size_t)len);
    if (len < 0)
        uv_read_stop(stream);
    if (err != ATH_OK || pinentry_is_done(prompter->pinentry))
        answer(prompter, err);
    if (len < 0 && prompter->child == NULL)
        close_handles(prompter);
}

ath_err
prompter_take_pin(struct prompter *prompter, struct ath_secret *ret_pin)
{
    return pinentry_take_pin(prompter->pinentry, ret_pin);
}

/* ---- the beginning ---- */

static ath_err
init_handles(uv_loop_t *loop, struct prompter *prompter)
{
    /* these only fill the handles in (libuv 1.44) */
    if (prompter->pinentry != NULL &&
        (uv_pipe_init(loop, &prompter->to, 0) != 0 || uv_pipe_init(loop, &prompter->from, 0) != 0))
        return ATH_ERR_NOMEM;
    if (uv_timer_init(loop, &prompter->kill_timer) != 0)
        return ATH_ERR_NOMEM;
    prompter->to.data = prompter->from.data = prompter->kill_timer.data = prompter;
    prompter->open_handles = prompter->pinentry != NULL ? 3 : 1;
    return ATH_OK;
}

static ath_err
start_child(uv_loop_t *loop, struct prompter *prompter, const char *program,
            char *const *environment, int input, int output)
{
    const char *arguments[] = {program, NULL};
    struct spawn_params params = {.program = program,
                                  .environment = environment,
                                  .input = input,
                                  .output = output,
                                  .own_group = true};

    params.arguments = (char *const *)(uintptr_t)arguments; /* execve(2) does not change them */
    if (child_start(loop, &params, on_child_ended, prompter, &prompter->child) != ATH_OK)
        return ATH_ERR_NO_PROMPTER;
    return ATH_OK;
}

/* Gives our ends to the handles; what the handles took is -1 in `fds` afterwards. */
static ath_err
open_pipes(struct prompter *prompter, int *to_fd, int *from_fd)
{
    if (uv_pipe_open(&prompter->to, *to_fd) != 0)
        return ATH_ERR_NO_PROMPTER;
    *to_fd = -1;
    if (uv_pipe_open(&prompter->from, *from_fd) != 0)
        return ATH_ERR_NO_PROMPTER;
    *from_fd = -1;
    if (uv_read_start((uv_stream_t *)&prompter->from, on_alloc, on_read) != 0)
        return ATH_ERR_NO_PROMPTER;
    return ATH_OK;
}

static void
on_nothing(void *gone_ctx)
{
    (void)gone_ctx;
}

ath_err
prompter_start(uv_loop_t *loop, const char *program, char *const *environment,
               const struct pinentry_question *question, const struct prompter_events *events,
               struct prompter **ret_prompter)
{
    struct prompter *prompter = calloc(1, sizeof(*prompter));
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    ath_err err = ATH_ERR_NOMEM;

    if (prompter == NULL || (err = pinentry_new(question, &prompter->pinentry)) != ATH_OK ||
        (question->asks_pin && (err = ath_secret_init(&prompter->chunk, CHUNK_LEN)) != ATH_OK) ||
        (err = init_handles(loop, prompter)) != ATH_OK)
        goto out;
    prompter->events = *events;
    snprintf(prompter->program, sizeof(prompter->program), "%s", program);
    err = ATH_ERR_NO_PROMPTER;
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0 ||
        (err = open_pipes(prompter, &to[1], &from[0])) != ATH_OK ||
        (err = start_child(loop, prompter, program, environment, to[0], from[1])) != ATH_OK)
        goto out;
    *ret_prompter = prompter;
    prompter = NULL;
out:
    fd_close(&to[0]);
    fd_close(&to[1]);
    fd_close(&from[0]);
    fd_close(&from[1]);
    if (prompter != NULL && prompter->open_handles > 0) {
        prompter->events.on_gone = on_nothing;
        close_handles(prompter);
    } else if (prompter != NULL) {
        prompter_free(prompter);
    }
    return err;
}

ath_err
prompter_start_for_other(uv_loop_t *loop, const char *program, char *const *environment,
                         const struct prompter_events *events, struct prompter **ret_prompter,
                         int *ret_fd)
{
    struct prompter *prompter = calloc(1, sizeof(*prompter));
    int fds[2] = {-1, -1};
    ath_err err = ATH_ERR_NOMEM;

    if (prompter == NULL)
        goto out;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        err = ATH_ERR_NO_PROMPTER;
        goto out;
    }
    if ((err = init_handles(loop, prompter)) != ATH_OK)
        goto out;
    prompter->events = *events;
    snprintf(prompter->program, sizeof(prompter->program), "%s", program);
    if ((err = start_child(loop, prompter, program, environment, fds[0], fds[0])) != ATH_OK)
        goto out;
    *ret_prompter = prompter;
    *ret_fd = fds[1];
    prompter = NULL;
    fds[1] = -1;
out:
    fd_close(&fds[0]);
    fd_close(&fds[1]);
    if (prompter != NULL && prompter->open_handles > 0) {
        prompter->events.on_gone = on_nothing;
        close_handles(prompter);
    } else {
        free(prompter);
    }
    return err;
}
