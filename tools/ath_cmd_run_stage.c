/*
 * The process that becomes COMMAND, from where it has been told what COMMAND is. It is a fork of
 * ath, or `ath` started anew by systemd-run in the scope (run_stage_main).
 */
#include "ath_cmd_run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"

extern char **environ;

/* ---- the environment ---- */

bool
run_leads_to(const char *variable, const char *socket)
{
    const char *equals = strchr(variable, '=');
    size_t name_len = equals == NULL ? strlen(variable) : (size_t)(equals - variable);

    if (equals != NULL && socket[0] != '\0' && strstr(equals + 1, socket) != NULL)
        return true;
    return name_len > 9 && strncmp(variable, "ATH_", 4) == 0 &&
           strncmp(variable + name_len - 5, "_SOCK", 5) == 0;
}

void
run_clean_environment(const char *socket)
{
    char **from, **to = environ;
    char *real = realpath(socket, NULL);

    for (from = environ; from != NULL && *from != NULL; from++) {
        if (!run_leads_to(*from, socket) && (real == NULL || !run_leads_to(*from, real)))
            *to++ = *from;
    }
    if (to != NULL)
        *to = NULL;
    free(real);
}

bool
run_is_in_path(const char *program, int mode)
{
    const char *path = getenv("PATH");
    char candidate[4096];

    while (path != NULL && *path != '\0') {
        size_t len = strcspn(path, ":");

        snprintf(candidate, sizeof(candidate), "%.*s/%s", (int)len, path, program);
        if (access(candidate, mode) == 0)
            return true;
        path += len + (path[len] == ':' ? 1 : 0);
    }
    return false;
}

/* ---- being told ---- */

/* {u32 length of all that follows, then fields: socket, words}. False: ath has gone. */
static bool
read_message(struct ath_buf *message)
{
    uint8_t head[4] = {0};
    struct byte_reader reader = byte_reader_of(ath_slice_of(head, sizeof(head)));
    uint8_t *place;
    uint32_t len;

    if (fd_read_exact(RUN_STAGE_FD, head, sizeof(head)) != ATH_OK)
        return false;
    len = byte_reader_u32(&reader);
    place = ath_buf_reserve(message, len);
    if (place == NULL || fd_read_exact(RUN_STAGE_FD, place, len) != ATH_OK)
        return false;
    message->len = len;
    return true;
}

static void
free_words(char **words)
{
    char **word;

    for (word = words; word != NULL && *word != NULL; word++)
        free(*word);
    free(words);
}

/* How many fields the message has; 0: they are not whole. */
static size_t
count_fields(struct ath_slice message)
{
    struct byte_reader reader = byte_reader_of(message);
    size_t count = 0;

    for (; !byte_reader_is_done(&reader) && !reader.bad; count++)
        (void)byte_reader_field(&reader, RUN_MESSAGE_MAX);
    return reader.bad ? 0 : count;
}

/* The socket and the words as strings, followed by NULL; NULL: they are not there. */
static char **
words_of(struct ath_slice message)
{
    struct byte_reader reader = byte_reader_of(message);
    size_t count = count_fields(message), i;
    char **words = count < 2 ? NULL : calloc(count + 1, sizeof(*words));

    for (i = 0; words != NULL && i < count; i++) {
        if ((words[i] = ath_slice_dup(byte_reader_field(&reader, RUN_MESSAGE_MAX))) == NULL) {
            free_words(words);
            return NULL;
        }
    }
    return words;
}

static int
become(char **words)
{
    bool is_path = strchr(words[1], '/') != NULL;
    int error;

    if (setenv("ATH_AUTH_SOCK", words[0], 1) != 0)
        return RUN_CANNOT;
    execvp(words[1], words + 1);
    error = errno;
    /* EACCES may be that of a directory in PATH that has no such file */
    if (!is_path && (error == ENOENT || !run_is_in_path(words[1], F_OK))) {
        cmd_error("%s: there is no such command in PATH", words[1]);
        return RUN_NOT_FOUND;
    }
    cmd_error("%s: %s", words[1], strerror(error));
    return error == ENOENT || error == ENOTDIR ? RUN_NOT_FOUND : RUN_CANNOT;
}

int
run_stage(void)
{
    struct ath_buf message = {.max = RUN_MESSAGE_MAX};
    char **words = NULL;
    int status = EXIT_FAILURE;

    if (read_message(&message) && (words = words_of(ath_buf_slice(&message))) != NULL) {
        fd_close_from(RUN_STAGE_FD); /* systemd-run's too, if it left any */
        status = become(words);
    }
    free_words(words);
    ath_buf_done(&message);
    return status;
}

int
run_stage_main(void)
{
    static const uint8_t ready[] = {'R'};

    if (fd_write_all(RUN_STAGE_FD, ath_slice_of(ready, sizeof(ready))) != ATH_OK)
        return cmd_error("%s is what `ath run` has systemd-run start; use `ath run`",
                         RUN_STAGE_WORD);
    return run_stage();
}
