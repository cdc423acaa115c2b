/* `ath status` for people, and `ath doctor`. */
#include "ath_cmd.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Calls without saying what failed: the client knows it. */
static ath_err
ask(struct ath_client *client, const char *method, struct json **ret_result)
{
    char *text = NULL;
    ath_err err = ath_client_call(client, method, NULL, &text);

    if (err == ATH_OK && (*ret_result = cmd_parse(text)) == NULL)
        err = ATH_ERR_NOMEM;
    ath_string_free(text);
    return err;
}

static bool
is_token(const struct json *hsm)
{
    const char *kind = json_get_string(hsm, "kind");

    return kind != NULL && strcmp(kind, "pkcs11") == 0;
}

static const char *
software_name(const struct json *hsm)
{
    return is_token(hsm) ? "token in software" : "software TPM";
}

static void
show_status(const struct cmd_context *context, const struct json *result)
{
    const struct json *hsms = json_get(result, "hsms"), *hsm, *file;

    cmd_print_fields(result, "uptime locked lock lock_on keys handshakes sessions audit counters");
    if (hsms == NULL)
        return; /* a grant is not told of the hardware */
    printf("\n");
    cmd_print_table(context, hsms,
                    "name kind state login logged_in tries_left software manufacturer model "
                    "serial");
    for (hsm = json_first(hsms); hsm != NULL; hsm = json_next(hsm)) {
        if (json_get_string(hsm, "message") != NULL)
            cmd_note(context, "%s: %s", json_get_string(hsm, "name"),
                     json_get_string(hsm, "message"));
        if (json_is_true(json_get(hsm, "software")))
            cmd_note(context, "%s is a %s: only file permissions protect its keys.",
                     json_get_string(hsm, "name"), software_name(hsm));
    }
    for (file = json_first(json_get(result, "damaged")); file != NULL; file = json_next(file))
        cmd_note(context, "%s cannot be used: %s", json_get_string(file, "file"),
                 json_get_string(file, "message"));
}

/* What a grant may do: agent.hello tells it to whoever comes through the grant's socket. */
static void
print_grant(const struct cmd_context *context, const struct json *grant)
{
    if (grant == NULL)
        return;
    cmd_note(context, "This is the socket of a grant: it can do what follows, and no more.");
    cmd_print_fields(grant, NULL);
    printf("\n");
}

/* `ath status` */
int
cmd_run_status(struct cmd_context *context)
{
    int status = EXIT_SUCCESS;
    struct ath_client *client;
    struct json *hello = NULL, *answer = NULL;
    ath_err err;

    if (context->json || context->field != NULL)
        return cmd_run_method(context);
    if ((client = cmd_connect(context, NULL, &status)) == NULL)
        return status;
    err = cmd_call(context, client, context->command->method, context->params, &answer);
    if (err == ATH_OK) {
        /* a grant without agent.hello still has its status */
        if (ask(client, "agent.hello", &hello) == ATH_OK)
            print_grant(context, json_get(hello, "grant"));
        show_status(context, answer);
    } else {
        status = ath_err_exit_status(err);
    }
    json_free(hello);
    json_free(answer);
    ath_client_free(client);
    return status;
}

/* ---- doctor ---- */

enum finding { FINE, HINT, WRONG };

struct doctor {
    const struct cmd_context *context;
    struct json_maker findings;
    bool wrong;
    bool is_grant;    /* the hardware and its prompter are not the caller's business */
    bool is_machines; /* athd runs as another user, for all: its prompter asks nobody */
};

static const char *
colour_of(const struct doctor *doctor, enum finding finding)
{
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};

    return doctor->context->colour ? colours[finding] : "";
}

/* One finding: what was looked at, what was found, and (NULL: nothing) what to do. */
static void ATH_PRINTF(5, 6) found(struct doctor *doctor, enum finding finding, const char *what,
                                   const char *advice, const char *fmt, ...)
{
    static const char *const words[] = {"ok", "note", "WRONG"};
    struct json_maker entry;
    char text[700];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    doctor->wrong = doctor->wrong || finding == WRONG;
    json_object_begin(&entry);
    json_put_string(&entry, "what", what);
    json_put_string(&entry, "state", words[finding]);
    json_put_string(&entry, "found", text);
    json_put_string(&entry, "advice", advice);
    json_put_maker(&doctor->findings, NULL, &entry);
    if (doctor->context->json || (doctor->context->quiet && finding == FINE))
        return;
    printf("%s%-6s%s%-10s ", colour_of(doctor, finding), words[finding],
           doctor->context->colour ? "\033[0m" : "", what);
    cmd_print_text(stdout, text);
    printf("\n");
    if (advice != NULL)
        printf("%-16s -> %s\n", "", advice);
}

static void
look_at_tpm_device(struct doctor *doctor)
{
    const char *device = "/dev/tpmrm0";

    if (access(device, F_OK) != 0)
        found(doctor, HINT, "tpm",
              "on a machine with one, turn it on in the firmware; else athd --software-tpm is for "
              "trying",
              "there is no %s: this machine has no TPM 2.0, or its kernel does not show it",
              device);
    else if (access(device, R_OK | W_OK) != 0)
        found(doctor, HINT, "tpm", "sudo usermod -aG tss \"$USER\", then log in again",
              "%s is there, but you may not use it (athd may, if it runs as another user)", device);
    else
        found(doctor, FINE, "tpm", NULL, "%s is there and yours to use", device);
}

static void
look_at_socket_file(struct doctor *doctor, const char *path)
{
    struct stat info;

    if (stat(path, &info) != 0)
        return;
    doctor->is_machines = info.st_uid != geteuid();
    if (doctor->is_machines)
        found(doctor, FINE, "socket", NULL, "it is that of the machine's athd, which is uid %lu",
              (unsigned long)info.st_uid);
    else if ((info.st_mode & 077) != 0)
        found(doctor, HINT, "socket",
              "chmod 600 it, unless this machine's packager meant others to use it",
              "%s is open to others (mode %03o); athd answers its owner only", path,
              (unsigned)info.st_mode & 0777);
}

static void
look_at_prompter(struct doctor *doctor)
{
    const char *gpg_tty = getenv("GPG_TTY");
    bool window = getenv("DISPLAY") != NULL || getenv("WAYLAND_DISPLAY") != NULL;
    const char *path = getenv("PATH");
    char candidate[512];
    bool there = false;

    if (doctor->is_machines) {
        found(doctor, HINT, "prompter",
              "ath consent, or systemctl --user enable --now ath-consent.service",
              "the machine's athd starts none: questions come to the `ath consent` that you run");
        return;
    }
    while (path != NULL && *path != '\0' && !there) {
        size_t len = strcspn(path, ":");

        snprintf(candidate, sizeof(candidate), "%.*s/pinentry", (int)len, path);
        there = access(candidate, X_OK) == 0;
        path += len + (path[len] == ':' ? 1 : 0);
    }
    if (!there)
        found(doctor, WRONG, "prompter",
              "sudo apt-get install pinentry-curses (or pinentry-gnome3, pinentry-qt), or athd "
              "--prompter",
              "no pinentry in $PATH: unless athd was given another prompter it cannot ask you, and "
              "what needs your yes ends as NO_PROMPTER");
    else if (!window && (gpg_tty == NULL || *gpg_tty == '\0'))
        found(
            doctor, HINT, "prompter",
            "export GPG_TTY=$(tty); ath consent environment: then pinentry knows your terminal; or "
            "answer in another one with ath consent",
            "%s, without a window system and without GPG_TTY", candidate);
    else
        found(doctor, FINE, "prompter", NULL, "%s (unless athd was given another)", candidate);
}

/* Who has to do what before a token's keys sign. */
static void
look_at_login(struct doctor *doctor, const struct json *hsm, const char *name)
{
    const char *reason = json_get_string(hsm, "reason");
    int64_t tries = 0, wait_s = 0;

    if (reason != NULL && strcmp(reason, "PIN_LOCKED") == 0)
        found(
            doctor, WRONG, "hsm",
            "unblock it with its PUK or SO PIN (pkcs11-tool --init-pin --login --login-type so, or "
            "its maker's program)",
            "%s takes no PIN any more: too many were wrong", name);
    else if (json_get_int(hsm, "tries_left", &tries) && tries == 1)
        found(doctor, WRONG, "hsm",
              "have the right PIN at hand: the next request asks for it; a pin-source is not used",
              "%s: one try is left, after another wrong PIN it is locked", name);
    else if (json_get_int(hsm, "retry_after", &wait_s))
        found(doctor, HINT, "hsm", "wait, then enter the right PIN",
              "%s: athd takes no PIN for %lld s, because wrong ones were entered", name,
              (long long)wait_s);
    else
        found(doctor, HINT, "hsm", NULL,
              "%s: the next request asks for its PIN, or takes it from its pin-source", name);
}

static void
look_at_token(struct doctor *doctor, const struct json *hsm, const char *name, const char *state,
              const char *why)
{
    const char *model = json_get_string(hsm, "model"), *serial = json_get_string(hsm, "serial");
    const char *login = json_get_string(hsm, "login");

    if (strcmp(state, "absent") == 0)
        found(
            doctor, WRONG, "hsm",
            "insert it, which is noticed by itself; or correct its URI in athd.json or --hsm, and "
            "start athd again (p11tool --provider MODULE --list-tokens shows what a module sees)",
            "the token %s is not there: %s", name, why);
    else if (strcmp(state, "failed") == 0)
        found(
            doctor, WRONG, "hsm",
            "look at its URI (athd.json or --hsm): module-path must be the token's PKCS#11 module",
            "the token %s cannot be used: %s", name, why);
    else if (strcmp(state, "locked") == 0)
        look_at_login(doctor, hsm, name);
    else
        found(doctor, FINE, "hsm", NULL, "%s is ready: %s, serial number %s, %s", name,
              model == NULL ? "a token" : model, serial == NULL ? "unknown" : serial,
              login != NULL && strcmp(login, "none") == 0 ? "without a PIN" : "logged in");
    if (json_is_true(json_get(hsm, "software")))
        found(doctor, HINT, "hsm", "for trying only; a card or an HSM keeps its keys inside",
              "%s is a token in software: only file permissions protect its keys", name);
}

static void
look_at_hsm(struct doctor *doctor, const struct json *hsm)
{
    const char *name = json_get_string(hsm, "name"), *state = json_get_string(hsm, "state");
    const char *model = json_get_string(hsm, "model"), *why = json_get_string(hsm, "message");

    if (state == NULL || name == NULL)
        return;
    if (why == NULL)
        why = "athd's log says why";
    if (is_token(hsm)) {
        look_at_token(doctor, hsm, name, state, why);
        return;
    }
    if (strcmp(state, "absent") == 0)
        found(doctor, WRONG, "hsm", "its keys cannot sign; it is tried again by itself",
              "%s is absent: %s", name, why);
    else if (strcmp(state, "failed") == 0)
        found(doctor, WRONG, "hsm", "its keys cannot sign; a TPM that was reset needs a reboot",
              "%s has failed: %s", name, why);
    else if (strcmp(state, "locked") == 0)
        found(
            doctor, WRONG, "hsm",
            "wait: a TPM in lockout lets go by itself (tpm2_getcap properties-variable shows when)",
            "%s is locked after too many wrong PINs", name);
    else if (json_is_true(json_get(hsm, "software")))
        found(doctor, HINT, "hsm",
              "with a TPM, start athd without --software-tpm, and make new keys",
              "%s is a software TPM: only file permissions protect its keys", name);
    else
        found(doctor, FINE, "hsm", NULL, "%s is ready%s%s", name, model == NULL ? "" : ": ",
              model == NULL ? "" : model);
}

static void
look_at_audit(struct doctor *doctor, const struct json *audit)
{
    const char *state = json_get_string(audit, "state"), *why = json_get_string(audit, "message");

    if (state == NULL || why == NULL)
        return;
    if (strcmp(state, "unavailable") == 0)
        found(doctor, WRONG, "audit", "make room there, or mend it; athd goes on by itself",
              "nothing is signed, since no record can be written: %s", why);
    else if (strcmp(state, "failing") == 0)
        found(doctor, WRONG, "audit", "it is tried again by itself; athd's log has more",
              "new records are not covered by a signature: %s", why);
    else if (strcmp(state, "no-key") == 0)
        found(doctor, HINT, "audit", NULL, "new records are not signed yet: %s", why);
}

static bool
has_hsm(const struct json *status, const char *name)
{
    const struct json *hsm = json_first(json_get(status, "hsms"));

    while (hsm != NULL && strcmp(json_get_string(hsm, "name"), name) != 0)
        hsm = json_next(hsm);
    return hsm != NULL;
}

/* A key belongs to the hsm of the name under which it was made. */
static void
look_at_keys(struct doctor *doctor, const struct json *keys, const struct json *status)
{
    const struct json *key;

    for (key = json_first(json_get(keys, "keys")); key != NULL; key = json_next(key)) {
        const char *name = json_get_string(key, "name"), *hsm = json_get_string(key, "hsm");

        if (name != NULL && hsm != NULL && !has_hsm(status, hsm))
            found(doctor, WRONG, "key", "give its hsm that \"name\" in athd.json, as it had before",
                  "%s is in the hsm %s, and none of this name is configured", name, hsm);
    }
}

static void
look_at_damage(struct doctor *doctor, const struct json *file)
{
    if (json_get_string(file, "file") != NULL && json_get_string(file, "message") != NULL)
        found(doctor, WRONG, "state", "mend it or move it away, then start athd again", "%s: %s",
              json_get_string(file, "file"), json_get_string(file, "message"));
}

/* Is it the socket of a grant? Then what it may do is a finding, and what it may not see is none.
 */
static bool
look_at_grant(struct doctor *doctor, const struct json *grant)
{
    const struct json *member;
    struct ath_buf text = {0};

    if (grant == NULL)
        return false;
    for (member = json_first(grant); member != NULL; member = json_next(member)) {
        if (strcmp(json_name(member), "name") == 0)
            continue;
        ath_buf_printf(&text, "%s%s ", text.len == 0 ? "" : "; ", json_name(member));
        cmd_print_value(json_name(member), member, &text);
    }
    found(doctor, FINE, "grant", NULL,
          "this is the socket of the grant %s, which can do no more: %s",
          json_get_string(grant, "name") == NULL ? "?" : json_get_string(grant, "name"),
          ath_buf_text(&text) == NULL ? "" : ath_buf_text(&text));
    ath_buf_done(&text);
    return true;
}

static void
look_at_athd(struct doctor *doctor, struct ath_client *client)
{
    struct json *hello = NULL, *status = NULL, *keys = NULL;
    const struct json *hsm, *file;

    if (ask(client, "agent.hello", &hello) == ATH_OK)
        doctor->is_grant = look_at_grant(doctor, json_get(hello, "grant"));
    if (hello == NULL || (ask(client, "agent.status", &status) != ATH_OK && !doctor->is_grant) ||
        (ask(client, "key.list", &keys) != ATH_OK && !doctor->is_grant)) {
        found(doctor, WRONG, "athd", NULL, "%s", ath_client_error_message(client));
        goto out;
    }
    found(doctor, FINE, "athd", NULL, "version %s answers",
          json_get_string(hello, "version") != NULL ? json_get_string(hello, "version") : "?");
    if (json_is_true(json_get(status, "locked")))
        found(doctor, WRONG, "athd", "ath unlock", "it is locked");
    if (json_get(status, "lock_on") != NULL &&
        !json_is_true(json_get(json_get(status, "lock_on"), "watching")))
        found(doctor, WRONG, "lock_on", "systemctl status systemd-logind, and athd's log",
              "logind cannot be heard: neither sleep nor a locked session locks athd");
    if (json_first(json_get(status, "hsms")) == NULL && !doctor->is_grant)
        found(doctor, WRONG, "hsm", "athd --hsm tpm:device=/dev/tpmrm0",
              "no hardware is configured");
    for (hsm = json_first(json_get(status, "hsms")); hsm != NULL; hsm = json_next(hsm))
        look_at_hsm(doctor, hsm);
    if (!doctor->is_grant)
        look_at_keys(doctor, keys, status);
    look_at_audit(doctor, json_get(status, "audit"));
    for (file = json_first(json_get(status, "damaged")); file != NULL; file = json_next(file))
        look_at_damage(doctor, file);
out:
    json_free(hello);
    json_free(status);
    json_free(keys);
}

/* How the socket was found or not; a client if it answers. */
static struct ath_client *
look_at_socket(struct doctor *doctor)
{
    char *path = doctor->context->socket != NULL ? ath_strdup(doctor->context->socket)
                                                 : ath_client_socket_path();
    struct ath_client *client = ath_client_new();

    if (client == NULL || path == NULL)
        goto fail;
    ath_client_set_timeout(client, 10000);
    if (ath_client_connect(client, path) != ATH_OK) {
        found(doctor, WRONG, "socket", NULL, "%s", ath_client_error_message(client));
        goto fail;
    }
    found(doctor, FINE, "socket", NULL, "%s", path);
    look_at_socket_file(doctor, path);
    free(path);
    return client;
fail:
    free(path);
    ath_client_free(client);
    return NULL;
}

int
cmd_run_doctor(struct cmd_context *context)
{
    struct doctor doctor = {.context = context};
    struct ath_buf text = {0};
    struct json *findings = NULL;
    struct ath_client *client;

    json_array_begin(&doctor.findings);
    client = look_at_socket(&doctor);
    if (client != NULL)
        look_at_athd(&doctor, client);
    if (!doctor.is_grant) {
        look_at_tpm_device(&doctor);
        look_at_prompter(&doctor);
    }
    if (json_maker_end(&doctor.findings, &findings) == ATH_OK && context->json) {
        json_write(findings, &text);
        printf("{\"ok\":%s,\"findings\":%s}\n", doctor.wrong ? "false" : "true",
               ath_buf_text(&text) != NULL ? ath_buf_text(&text) : "[]");
    }
    json_free(findings);
    ath_buf_done(&text);
    if (client == NULL)
        return ath_err_exit_status(ATH_ERR_UNREACHABLE);
    ath_client_free(client);
    return doctor.wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
