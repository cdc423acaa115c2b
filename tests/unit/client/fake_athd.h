/* An athd that says what a test wrote down: a child process behind a real socket. */
#ifndef TESTS_FAKE_ATHD_H
#define TESTS_FAKE_ATHD_H

#include "tests/support/support.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct fake_athd {
    char dir[64], path[80];
    pid_t child;
};

/* What it does with one connection, line by line: fd is the connection's. */
typedef void fake_athd_fn(int fd);

static inline void
fake_athd_address(const char *path, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_address->sun_path, path, strlen(path) + 1);
}

/* A socket in a directory of its own; serve NULL: it is closed, and nobody answers. */
static inline void
fake_athd_start(struct fake_athd *athd, fake_athd_fn *serve)
{
    struct sockaddr_un address;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd;

    strcpy(athd->dir, "/tmp/ath-unit-XXXXXX");
    assert_non_null(mkdtemp(athd->dir));
    snprintf(athd->path, sizeof(athd->path), "%s/s", athd->dir);
    fake_athd_address(athd->path, &address);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    athd->child = -1;
    if (serve != NULL) {
        assert_int_equal(listen(listener, 4), 0);
        athd->child = fork();
    }
    if (athd->child == 0) {
        alarm(600);
        if ((fd = accept(listener, NULL, NULL)) >= 0)
            serve(fd);
        _exit(0);
    }
    close(listener);
}

static inline void
fake_athd_stop(struct fake_athd *athd)
{
    if (athd->child > 0) {
        kill(athd->child, SIGKILL);
        waitpid(athd->child, NULL, 0);
    }
    unlink(athd->path);
    rmdir(athd->dir);
}

/* One line that the client sent, without its end; false: it is gone. */
static inline bool
fake_athd_read(int fd, char *line, size_t size)
{
    size_t len = 0;

    while (len + 1 < size && read(fd, line + len, 1) == 1) {
        if (line[len] == '\n') {
            line[len] = '\0';
            return true;
        }
        len++;
    }
    return false;
}

static inline void
fake_athd_say(int fd, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n <= 0)
            _exit(0);
        text += n;
        len -= (size_t)n;
    }
}

#endif
