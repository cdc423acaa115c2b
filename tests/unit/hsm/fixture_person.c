#include "fixture_token.h"

#include <fcntl.h>
#include <signal.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "hsm/wire/hsm_fd.h"

#define PIN_LEN 11u

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
        for (size_t i = 0; i + PIN_LEN <= len; i++)
            found += chunk[i] == 's' && chunk[i + 6] == '-' &&
                     token_is_pin(ath_slice_of(chunk + i, PIN_LEN));
        carried = len < PIN_LEN - 1 ? len : PIN_LEN - 1;
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
