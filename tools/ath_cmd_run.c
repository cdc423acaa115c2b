/*
 * `ath run`: a grant, and a command that has it. In order: the command's process is there but does
 * nothing yet; athd makes the grant and ties it to that process; the process becomes the command.
 * So nothing runs without its grant, and no grant outlives what it was made for, whoever is killed.
 */
#include "ath_cmd_run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/utf8.h"

#define GONE_WAIT_MS 2000
#define GONE_LOOK_MS 10

extern char **environ;

/* ---- what is asked for ---- */

/* The flags of RUN_LIMITS, as params. */
static const char *const limits[] = {"keys",   "methods", "audiences", "peers",
                                     "scopes", "ttl",     "max_uses"};

static bool
has_limits(const struct json *params)
{
    size_t i;

    for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        if (json_get(params, limits[i]) != NULL)
            return true;
    }
    return false;
}

static bool
is_set(const struct cmd_context *context, const char *flag)
{
    return json_is_true(json_get(context->extra, flag));
}

/* Without a limit it is a grant that exists. 0, or the exit status for wrong usage. */
static int
check_usage(struct cmd_context *context)
{
    struct json_maker params = {.root = context->params, .err = ATH_OK};

    if (context->field != NULL)
        return cmd_error("--field does not go with run: what it prints is the command's");
    if (!has_limits(context->params)) {
        json_put_bool(&params, "adopt", true);
        return params.err == ATH_OK ? 0 : ath_err_exit_status(params.err);
    }
    if (json_get(context->params, "keys") == NULL)
        return cmd_error("--key is missing: which keys the command may use (without any limit it "
                         "gets the grant %s as it is)",
                         json_get_string(context->params, "name"));
    return 0;
}

/* ---- --dry-run ---- */

struct dry {
    struct cmd_context *context;
    struct ath_client *client;
    struct json_maker told;
    int status;
};

static void
tell_existing(struct dry *dry, const struct json *grant, const char *name)
{
    json_put_bool(&dry->told, "exists", grant != NULL);
    if (grant != NULL) {
        json_put_copy(&dry->told, "grant", grant);
        return;
    }
    cmd_error("there is no grant %s: say what is granted (--key …), or make it with `ath grant "
              "create`",
              name);
    dry->status = EXIT_FAILURE;
}

static void
tell_made(struct dry *dry, const struct json *grant, const char *name)
{
    json_put_bool(&dry->told, "exists", grant != NULL);
    json_put_copy(&dry->told, "grant", dry->context->params);
    if (grant == NULL)
        return;
    cmd_error("there already is a grant %s: end it (`ath grant revoke %s`), or choose another name",
              name, name);
    dry->status = EXIT_FAILURE;
}

static void
look_at_grant(struct dry *dry)
{
    const char *name = json_get_string(dry->context->params, "name");
    struct json *list = NULL;
    ath_err err;

    if ((err = cmd_call(dry->context, dry->client, "grant.list", NULL, &list)) != ATH_OK)
        dry->status = ath_err_exit_status(err);
    else if (json_is_true(json_get(dry->context->params, "adopt")))
        tell_existing(dry, run_find_grant(list, name), name);
    else
        tell_made(dry, run_find_grant(list, name), name);
    json_free(list);
}

static void
look_at_keys(struct dry *dry)
{
    const struct json *name = json_first(json_get(dry->context->params, "keys"));
    struct json_maker params;
    struct json *question = NULL, *key = NULL;
    ath_err err;

    for (; name != NULL; name = json_next(name)) {
        json_object_begin(&params);
        json_put_string(&params, "name", json_string(name));
        err = json_maker_end(&params, &question);
        if (err == ATH_OK)
            err = cmd_call(dry->context, dry->client, "key.get", question, &key);
        if (err != ATH_OK)
            dry->status = ath_err_exit_status(err);
        json_free(question);
        json_free(key);
        question = key = NULL;
    }
}

static void
look_at_policy(struct dry *dry)
{
    struct json_maker params;
    struct json *question = NULL, *answer = NULL;
    ath_err err;

    json_object_begin(&params);
    json_put_string(&params, "method", "grant.create");
    json_put_copy(&params, "params", dry->context->params);
    err = json_maker_end(&params, &question);
    if (err == ATH_OK)
        err = cmd_call(dry->context, dry->client, "policy.check", question, &answer);
    if (err == ATH_OK)
        json_put_copy(&dry->told, "policy", answer);
    if (err != ATH_OK || !json_is_true(json_get(answer, "allowed")))
        dry->status = ath_err_exit_status(err != ATH_OK ? err : ATH_ERR_POLICY_DENIED);
    json_free(question);
    json_free(answer);
}

/* How the command would run. Its words need not be UTF-8: those that are not are left out. */
static void
tell_command(struct dry *dry, const char *socket)
{
    struct json_maker words, removed;
    char **word, *name;

    json_array_begin(&words);
    for (word = dry->context->words; *word != NULL; word++) {
        if (utf8_is_valid(ath_slice_of_string(*word)))
            json_put_string(&words, NULL, *word);
    }
    json_put_maker(&dry->told, "command", &words);
    json_put_string(&dry->told, "runs",
                    run_scope_is_possible() ? "in a systemd scope of its own"
                                            : "in this group of processes: no systemd user manager "
                                              "answers here");
    json_array_begin(&removed);
    for (word = environ; *word != NULL; word++) {
        if (run_leads_to(*word, socket) &&
            (name = ath_slice_dup(ath_slice_of(*word, strcspn(*word, "=")))) != NULL) {
            if (strcmp(name, "ATH_AUTH_SOCK") != 0)
                json_put_string(&removed, NULL, name);
            free(name);
        }
    }
    json_put_maker(&dry->told, "removed_environment", &removed);
}

/* As execvp(3) will look for it, and fail. */
static void
look_at_command(struct dry *dry)
{
    const char *program = dry->context->words[0];
    bool is_path = strchr(program, '/') != NULL;
    bool is_there = is_path ? access(program, F_OK) == 0 : run_is_in_path(program, F_OK);

    if (is_path ? access(program, X_OK) == 0 : run_is_in_path(program, X_OK))
        return;
    if (is_there)
        cmd_error("%s: it cannot be run (its mode, or its directory's)", program);
    else
        cmd_error("%s: there is no such command%s", program, is_path ? "" : " in PATH");
    if (dry->status == EXIT_SUCCESS)
        dry->status = is_there ? RUN_CANNOT : RUN_NOT_FOUND;
}

static int
run_dry(struct cmd_context *context, struct ath_client *client, const char *socket)
{
    struct dry dry = {.context = context, .client = client};
    struct ath_buf text = {.max = 4 * 1024 * 1024};
    struct json *told = NULL;

    json_object_begin(&dry.told);
    look_at_grant(&dry);
    look_at_keys(&dry);
    look_at_policy(&dry);
    tell_command(&dry, socket);
    look_at_command(&dry);
    if (json_maker_end(&dry.told, &told) != ATH_OK)
        dry.status = EXIT_FAILURE;
    else if (!context->json)
        cmd_print_fields(told, NULL);
    else
        json_write(told, &text);
    if (context->json && ath_buf_text(&text) != NULL)
        cmd_print_json(ath_buf_text(&text));
    ath_buf_done(&text);
    json_free(told);
    return dry.status;
}

/* ---- the grant ---- */

/* Asks athd for it; the client has the answer's socket. NULL after saying why there is none. */
static char *
make_grant(struct cmd_context *context, struct ath_client *client, const struct run_child *child,
           int *ret_status)
{
    struct json_maker params = {.root = context->params, .err = ATH_OK};
    struct json *grant = NULL;
    char *socket = NULL;
    ath_err err;

    json_put_int(&params, "process", (int64_t)child->pid);
    if (child->unit[0] != '\0' && !json_is_true(json_get(context->params, "adopt")))
        json_put_string(&params, "unit", child->unit);
    err = params.err;
    if (err == ATH_OK)
        err = cmd_call(context, client, "grant.create", context->params, &grant);
    if (err == ATH_OK && (socket = ath_strdup(json_get_string(grant, "socket"))) == NULL)
        err = ATH_ERR_NOMEM;
    json_free(grant);
    *ret_status = ath_err_exit_status(err);
    return socket;
}

/* athd sees the process end by itself; whoever waits for ath may count on it. */
static void
wait_until_gone(struct ath_client *client, const char *name, pid_t pid)
{
    const struct timespec moment = {.tv_nsec = GONE_LOOK_MS * 1000000L};
    uint64_t until = clock_monotonic_ms() + GONE_WAIT_MS;
    bool is_there = true;

    while (is_there && clock_monotonic_ms() < until) {
        char *text = NULL;
        struct json *list = NULL;
        int64_t process = 0;

        if (ath_client_call(client, "grant.list", NULL, &text) == ATH_OK)
            list = cmd_parse(text);
        is_there = json_get_int(json_get(run_find_grant(list, name), "process"), "pid", &process) &&
                   process == (int64_t)pid;
        json_free(list);
        ath_string_free(text);
        if (is_there)
            (void)nanosleep(&moment, NULL);
    }
}

/* ---- the command ---- */

static void
end_leftovers(const struct cmd_context *context)
{
    size_t remain = 0, ended;

    if (is_set(context, "--keep-children"))
        return;
    ended = run_left_end(&remain);
    if (ended > remain)
        cmd_note(context, "ath: ended %zu process%s that the command had left running",
                 ended - remain, ended - remain == 1 ? "" : "es");
    if (remain > 0)
        cmd_note(context, "ath: %zu process%s of the command's could not be ended; the grant has",
                 remain, remain == 1 ? "" : "es");
}

/* As the terminal's SIGINT ends a program that does nothing about it, so that a shell's loop ends
 * too. */
static void
end_by_interrupt(void)
{
    sigset_t one;

    sigemptyset(&one);
    sigaddset(&one, SIGINT);
    signal(SIGINT, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    raise(SIGINT);
}

static int
run_with(struct cmd_context *context, const char *owner_socket, struct run_child *child,
         const char *socket)
{
    const char *name = json_get_string(context->params, "name");
    pid_t pid = child->pid;
    struct ath_client *client;
    bool interrupted = false;
    int status;

    run_wait_begin();
    if (run_child_go(child, socket, context->words) != ATH_OK) {
        run_child_drop(child);
        cmd_error("the command could not be started: its process has ended");
        return EXIT_FAILURE;
    }
    status = run_wait(pid, &interrupted);
    end_leftovers(context);
    client = ath_client_new();
    if (client != NULL && ath_client_connect(client, owner_socket) == ATH_OK)
        wait_until_gone(client, name, pid);
    ath_client_free(client);
    if (interrupted)
        end_by_interrupt();
    return status;
}

/* COMMAND may get what of 0, 1 and 2 is closed as /dev/null, but nothing of ours in its place. */
static void
open_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        fd_close(&fd);
}

static int
run(struct cmd_context *context, const char *owner_socket)
{
    struct run_child child = {.pid = -1, .fd = -1};
    int status = EXIT_FAILURE;
    struct ath_client *client = cmd_connect(context, owner_socket, &status);
    char *socket = NULL;
    ath_err err;

    if (client == NULL)
        return status;
    if (is_set(context, "--dry-run")) {
        status = run_dry(context, client, owner_socket);
        goto out;
    }
    signal(SIGCHLD, SIG_DFL); /* ignored, it would take the command's exit status away */
    if (!is_set(context, "--keep-children"))
        run_left_begin();
    err = run_child_start(context, json_get_string(context->params, "name"), owner_socket, &child);
    if (err != ATH_OK) {
        cmd_error("no process could be started: %s", ath_err_sentence(err));
        goto out;
    }
    if ((socket = make_grant(context, client, &child, &status)) == NULL)
        run_child_drop(&child);
out:
    ath_client_free(client);
    if (socket != NULL)
        status = run_with(context, owner_socket, &child, socket);
    free(socket);
    return status;
}

/* `ath run NAME [LIMITS] -- COMMAND` */
int
cmd_run_run(struct cmd_context *context)
{
    char *owner_socket;
    int status;

    open_standard_descriptors();
    if ((status = check_usage(context)) != 0)
        return status;
    owner_socket = context->socket != NULL ? ath_strdup(context->socket) : ath_client_socket_path();
    if (owner_socket == NULL) {
        cmd_error("out of memory");
        return EXIT_FAILURE;
    }
    status = run(context, owner_socket);
    free(owner_socket);
    return status;
}
