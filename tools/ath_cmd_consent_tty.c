#include "ath_cmd_consent_tty.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* Set before a handler can run, and not changed while one can. */
static struct termios before, keys;
static bool is_noted;
static volatile sig_atomic_t is_ours, is_lent, reads_lines, is_to_stop, was_away;
static sigset_t waiting_mask;          /* of signals, while we wait */
static struct sigaction earlier[NSIG]; /* what signals that end us did before */

/* tcsetattr(3) may be called in a signal handler (POSIX, 2.4.3). */
static void
set_mode(const struct termios *mode, int when)
{
    int error = errno;

    while (tcsetattr(STDIN_FILENO, when, mode) != 0 && errno == EINTR)
        ;
    errno = error;
}

/* In the background the terminal is not ours to put right: whoever is in front has done so. */
static void
put_back(int when)
{
    if (tcgetpgrp(STDIN_FILENO) == getpgrp())
        set_mode(&before, when);
}

static void
apply(int when)
{
    struct termios mode = keys;

    if (reads_lines)
        mode.c_lflag |= before.c_lflag & (tcflag_t)(ICANON | ECHO | ECHOE | ECHOK);
    set_mode(&mode, when);
}

/* ---- signals ---- */

static void
set_action(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};

    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

/* Here it takes effect, blocked or not. */
static void
raise_now(int number)
{
    sigset_t only;

    sigemptyset(&only);
    sigaddset(&only, number);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
}

/* Ends us as if we had not been asked, but with the terminal as it was. */
static void
pass_on(int number)
{
    if (is_ours)
        put_back(TCSANOW);
    sigaction(number, &earlier[number], NULL);
    raise_now(number);
}

static void
on_stop(int number)
{
    (void)number;
    is_to_stop = 1;
}

static void
on_continue(int number)
{
    (void)number;
    if (is_ours && !is_lent) /* SIGSTOP gave no warning; a shell may have changed it */
        apply(TCSAFLUSH);
    was_away = 1;
}

static const int ends[] = {SIGHUP,  SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGPIPE,
                           SIGSEGV, SIGBUS, SIGFPE,  SIGILL,  SIGABRT};

static void
handle_signals(void)
{
    sigset_t held;
    size_t i;

    for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (sigaction(ends[i], NULL, &earlier[ends[i]]) == 0 &&
            earlier[ends[i]].sa_handler != SIG_IGN)
            set_action(ends[i], pass_on);
    }
    sigemptyset(&held);
    sigaddset(&held, SIGTSTP);
    sigaddset(&held, SIGCONT);
    sigprocmask(SIG_BLOCK, &held, &waiting_mask);
    set_action(SIGTSTP, on_stop);
    set_action(SIGCONT, on_continue);
}

/* ---- modes ---- */

bool
consent_tty_is_there(void)
{
    return isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
}

ath_err
consent_tty_begin(void)
{
    if (!consent_tty_is_there())
        return ATH_ERR_USAGE;
    if (tcgetattr(STDIN_FILENO, &before) != 0)
        return ATH_ERR_IO;
    keys = before;
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ECHOE | ECHOK | ECHONL);
    keys.c_lflag |= ISIG;
    keys.c_iflag |= ICRNL;
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    handle_signals();
    is_ours = 1;
    apply(TCSAFLUSH);
    return ATH_OK;
}

void
consent_tty_end(void)
{
    if (!is_ours)
        return;
    is_ours = 0;
    put_back(TCSAFLUSH); /* what was typed for us is no command for the shell */
}

void
consent_tty_stop(void)
{
    sigset_t only;

    put_back(TCSANOW);
    set_action(SIGTSTP, SIG_DFL);
    raise_now(SIGTSTP);
    sigemptyset(&only);
    sigaddset(&only, SIGTSTP);
    sigprocmask(SIG_BLOCK, &only, NULL);
    set_action(SIGTSTP, on_stop);
    apply(TCSAFLUSH); /* in the background: here we are stopped again */
}

void
consent_tty_lend(void)
{
    is_lent = 1;
    put_back(TCSADRAIN);
}

void
consent_tty_take_back(void)
{
    is_lent = 0;
    apply(TCSAFLUSH);
}

void
consent_tty_note(void)
{
    is_noted = isatty(STDIN_FILENO) != 0 && tcgetattr(STDIN_FILENO, &before) == 0;
}

void
consent_tty_put_back(void)
{
    if (is_noted)
        put_back(TCSADRAIN);
}

void
consent_tty_read_lines(bool lines)
{
    if (lines == (reads_lines != 0))
        return;
    reads_lines = lines;
    apply(TCSAFLUSH);
}

void
consent_tty_flush(void)
{
    tcflush(STDIN_FILENO, TCIFLUSH);
}

void
consent_tty_drain(void)
{
    while (tcdrain(STDOUT_FILENO) != 0 && errno == EINTR)
        ;
}

bool
consent_tty_is_empty(void)
{
    struct pollfd entry = {.fd = STDIN_FILENO, .events = POLLIN};

    return poll(&entry, 1, 0) == 0;
}

void
consent_tty_size(size_t *ret_columns, size_t *ret_rows)
{
    struct winsize size = {0};

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        size = (struct winsize){0};
    *ret_columns = size.ws_col;
    *ret_rows = size.ws_row;
}

/* ---- reading ---- */

ath_err
consent_tty_wait(int other_fd, int timeout_ms, struct consent_tty_news *ret_news)
{
    struct pollfd entries[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                               {.fd = other_fd, .events = POLLIN}};
    struct timespec limit = {.tv_sec = timeout_ms / 1000,
                             .tv_nsec = (long)(timeout_ms % 1000) * 1000000L};
    int n = ppoll(entries, 2, timeout_ms < 0 ? NULL : &limit, &waiting_mask);

    *ret_news = (struct consent_tty_news){0};
    if (n < 0 && errno != EINTR)
        return ATH_ERR_IO;
    ret_news->has_keys = n > 0 && entries[0].revents != 0;
    ret_news->has_other = n > 0 && entries[1].revents != 0;
    ret_news->is_to_stop = is_to_stop != 0;
    ret_news->was_away = was_away != 0;
    is_to_stop = was_away = 0;
    return ATH_OK;
}

ath_err
consent_tty_read(char *bytes, size_t size, size_t *ret_len)
{
    ssize_t n;

    do {
        n = read(STDIN_FILENO, bytes, size);
    } while (n < 0 && errno == EINTR);
    if (n < 0 || (n == 0 && !reads_lines))
        return ATH_ERR_NOT_FOUND;
    *ret_len = (size_t)n;
    return ATH_OK;
}
