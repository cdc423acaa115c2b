#include "hsm/hsm_helper.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "hsm/helper_sandbox.h"
#include "hsm/hsm_helper_state.h"

#define CHECK_EVERY_MS 1000
#define SURE_LOOKS 3u

const struct hsm_ops *
hsm_helper_backend(const struct hsm_ops *const *backends, const char *uri)
{
    for (; *backends != NULL; backends++) {
        for (size_t i = 0; (*backends)->schemes[i] != NULL; i++) {
            const char *scheme = (*backends)->schemes[i];

            if (strncmp(uri, scheme, strlen(scheme)) == 0)
                return *backends;
        }
    }
    return NULL;
}

bool
helper_is_token(const struct helper *helper)
{
    return helper->ops->sign_with != NULL;
}

/* An answer that cannot be sent ends us. */
ath_err
helper_respond(struct helper *helper, struct hsm_response *response)
{
    ath_err err = hsm_answer(&helper->channel, &helper->fault, response);

    *response = (struct hsm_response){.id = response->id, .op = response->op, .err = response->err};
    return err;
}

ath_err
helper_settle(struct helper *helper)
{
    if (helper->workers == NULL)
        return hsm_overlap_release(&helper->overlap);
    hsm_workers_drain(helper->workers);
    return hsm_workers_err(helper->workers);
}

/* ---- INFO, and a token that is not there ---- */

/* A thread a session. */
static ath_err
start_workers(struct helper *helper)
{
    const struct hsm_workers_setup setup = {
        .ops = helper->ops,
        .hsm = helper->hsm,
        .channel = &helper->channel,
        .pins = &helper->pins,
        .count = helper->info.parallel > 1 ? helper->info.parallel : 1,
        .wake_fd = helper->wake_fd,
    };

    if (!helper_is_token(helper) || (helper->info.parallel <= 1 && helper->ops->sign_begin != NULL))
        return ATH_OK;
    return hsm_workers_new(&setup, &helper->workers);
}

/* What cannot be said shows when INFO is answered. */
static void
on_slow(void *ctx, const char *why)
{
    struct helper *helper = ctx;
    struct hsm_response response = {
        .id = helper->info_id, .op = HSM_OP_INFO, .err = ATH_ERR_HSM_BUSY, .waits = true};
    struct hsm_fault fault = {0};

    why_set(&fault.why, response.err, "%s", why);
    if (hsm_answer(&helper->channel, &fault, &response) != ATH_OK)
        log_debug("event=hsm_slow err=untold");
}

/* What opens afterwards, the workers' threads among it, is in the sandbox too. */
static ath_err
open_hardware(struct helper *helper)
{
    const struct hsm_options options = {.uri = helper->options->uri,
                                        .state_dir = helper->options->state_dir,
                                        .is_slow = on_slow,
                                        .ctx = helper};
    ath_err err;

    if (helper->hsm != NULL)
        return ATH_OK;
    if ((err = helper->ops->open(&options, &helper->fault, &helper->hsm)) != ATH_OK)
        return err;
    if (helper->options->sandbox)
        helper_sandbox_enter(helper->options->uri);
    helper->overlap.hsm = helper->hsm;
    helper->check_at_ms = clock_monotonic_ms() + CHECK_EVERY_MS;
    helper->ops->info(helper->hsm, &helper->info);
    if ((err = start_workers(helper)) != ATH_OK) {
        helper->ops->close(helper->hsm);
        helper->hsm = NULL;
    }
    return err;
}

static void
describe(const struct hsm_info *info, struct hsm_response *response)
{
    response->kind = ath_slice_of_string(info->kind);
    response->software = info->software;
    response->has_ek_certificate = info->has_ek_certificate;
    response->algorithms = info->algorithms;
    response->parallel = (uint8_t)(info->parallel < UINT8_MAX ? info->parallel : UINT8_MAX);
    response->has_counter = info->has_counter;
    response->login = info->login;
    response->pin_locked = info->pin_locked;
    response->tries_left = info->tries_left;
    response->manufacturer = ath_slice_of_string(info->manufacturer);
    response->model = ath_slice_of_string(info->model);
    response->firmware = ath_slice_of_string(info->firmware);
    response->serial = ath_slice_of_string(info->serial);
}

/* After 20, 50, 100, 200, 500 and then every 1,000 ms. SoftHSM (2.6) writes to a token's file at
 * each login, in place: a process that looks just then finds none. So it takes SURE_LOOKS. */
static void
plan_next_look(struct helper *helper)
{
    static const unsigned pauses_ms[] = {20, 50, 100, 200, 500, 1000};
    const unsigned last = sizeof(pauses_ms) / sizeof(pauses_ms[0]) - 1;

    helper->look_at_ms =
        clock_monotonic_ms() + pauses_ms[helper->looked < last ? helper->looked : last];
    helper->looked++;
}

static ath_err
on_info(struct helper *helper, const struct hsm_request *request, struct hsm_response *response)
{
    if (request->version != HSM_WIRE_VERSION) {
        response->err = why_set(&helper->fault.why, ATH_ERR_INVALID_REQUEST,
                                "athd and its helper are of different versions");
        return helper_respond(helper, response);
    }
    if (helper->info_id == 0)
        helper->info_id = request->id;
    response->err = open_hardware(helper);
    if (response->err == ATH_OK) {
        helper->ops->info(helper->hsm, &helper->info);
        describe(&helper->info, response);
    } else if (response->err == ATH_ERR_HSM_UNAVAILABLE && helper_is_token(helper)) {
        helper->is_lost = true;
        helper->looked = 0;
        plan_next_look(helper);
        return ATH_OK; /* it is answered when that is sure */
    }
    return helper_respond(helper, response);
}

/* Whatever athd asks meanwhile. */
static ath_err
serve_without_token(struct helper *helper, const struct hsm_request *request)
{
    struct hsm_response response = {.id = request->id, .op = request->op};

    response.err = why_set(&helper->fault.why, ATH_ERR_HSM_UNAVAILABLE, "the token is not there");
    response.waits = request->op == HSM_OP_INFO;
    helper_drop_prompter(helper, request);
    return helper_respond(helper, &response);
}

/* It is still not there: once for each reason. */
static ath_err
tell_reason(struct helper *helper, struct hsm_response *response)
{
    if (response->err != ATH_ERR_HSM_UNAVAILABLE || helper->looked < SURE_LOOKS)
        return ATH_OK;
    if (helper->looked > SURE_LOOKS && strcmp(helper->told.text, helper->fault.why.text) == 0)
        return ATH_OK;
    helper->told = helper->fault.why;
    response->waits = true;
    return helper_respond(helper, response);
}

/* Is it back? Then the first INFO is answered again; any other end of the wait is ours too. */
static ath_err
look_again(struct helper *helper)
{
    struct hsm_response response = {.id = helper->info_id, .op = HSM_OP_INFO};
    ath_err err;

    if (clock_monotonic_ms() < helper->look_at_ms)
        return ATH_OK;
    helper->fault = (struct hsm_fault){0};
    response.err = open_hardware(helper);
    if (response.err == ATH_ERR_HSM_UNAVAILABLE || response.err == ATH_ERR_HSM_BUSY) {
        plan_next_look(helper);
        return tell_reason(helper, &response);
    }
    helper->is_lost = false;
    if (response.err == ATH_OK)
        describe(&helper->info, &response);
    err = helper_respond(helper, &response);
    return err == ATH_OK && response.err != ATH_OK ? ATH_ERR_HSM_UNAVAILABLE : err;
}

/* Once a second, also while requests come, which may tell nothing of it; workers would notice. */
static ath_err
check_token(struct helper *helper)
{
    struct hsm_response response = {.id = helper->info_id, .op = HSM_OP_INFO};
    ath_err err;

    if (helper->hsm == NULL || helper->ops->check == NULL ||
        clock_monotonic_ms() < helper->check_at_ms ||
        (helper->workers != NULL && !hsm_workers_is_idle(helper->workers)))
        return ATH_OK;
    helper->check_at_ms = clock_monotonic_ms() + CHECK_EVERY_MS;
    helper->fault = (struct hsm_fault){0};
    response.err = helper->ops->check(helper->hsm, &helper->fault);
    if (response.err != ATH_ERR_HSM_UNAVAILABLE)
        return ATH_OK; /* whoever needs it next is told */
    err = helper_respond(helper, &response);
    return err == ATH_OK ? ATH_ERR_HSM_UNAVAILABLE : err;
}

/* ---- requests ---- */

static ath_err
carry_out(struct helper *helper, const struct hsm_request *request, struct hsm_response *response)
{
    switch (request->op) {
    case HSM_OP_INFO:
        return on_info(helper, request, response);
    case HSM_OP_KEY_CREATE:
        return helper_on_key_create(helper, request, response);
    case HSM_OP_KEY_OPEN:
        return helper_on_key_open(helper, request, response);
    case HSM_OP_KEY_CLOSE:
        return helper_on_key_close(helper, request, response);
    case HSM_OP_KEY_DELETE:
        return helper_on_key_delete(helper, request, response);
    case HSM_OP_SIGN:
        return helper_on_sign(helper, request, response);
    case HSM_OP_RANDOM:
        return helper_on_random(helper, request, response);
    case HSM_OP_LOGIN:
        return helper_on_login(helper, request, response);
    case HSM_OP_LOGOUT:
        return helper_on_logout(helper, request, response);
    case HSM_OP_COUNTER:
        return helper_on_counter(helper, request, response);
    }
    return ATH_ERR_INTERNAL;
}

/* One request; ATH_ERR_HSM_UNAVAILABLE when that was its answer. */
static ath_err
serve(struct helper *helper, const struct hsm_request *request)
{
    struct hsm_response response = {.id = request->id, .op = request->op};
    ath_err err;

    if (request->op != HSM_OP_SIGN && (err = helper_settle(helper)) != ATH_OK)
        return err;
    helper->fault = (struct hsm_fault){0};
    if (helper->is_lost)
        return serve_without_token(helper, request);
    if (request->op != HSM_OP_INFO && helper->hsm == NULL) {
        helper_drop_prompter(helper, request);
        response.err =
            why_set(&helper->fault.why, ATH_ERR_INVALID_REQUEST, "the first request must be INFO");
        return helper_respond(helper, &response);
    }
    if ((err = carry_out(helper, request, &response)) != ATH_OK)
        return err;
    return response.err == ATH_ERR_HSM_UNAVAILABLE && !helper->is_lost ? ATH_ERR_HSM_UNAVAILABLE
                                                                       : ATH_OK;
}

/* ---- waiting ---- */

static int
patience_ms(const struct helper *helper)
{
    uint64_t now;

    if (!helper->is_lost)
        return helper->hsm != NULL && helper->ops->check != NULL ? CHECK_EVERY_MS : -1;
    now = clock_monotonic_ms();
    return now < helper->look_at_ms ? (int)(helper->look_at_ms - now) : 0;
}

static ath_err
on_wake(struct helper *helper)
{
    eventfd_t count;
    ath_err err;

    (void)eventfd_read(helper->wake_fd, &count);
    if (helper->workers != NULL && (err = hsm_workers_err(helper->workers)) != ATH_OK)
        return err;
    return helper_on_wake(helper);
}

/* For requests, for what threads have to tell, or for the time to look after the token. A read(2)
 * that waits would be woken by each answer the other end takes, poll(2) is only by bytes: a wakeup
 * less for each signature. */
static ath_err
wait(struct helper *helper)
{
    bool may_wake = helper_is_token(helper) || helper->dialogues.count > 0;
    struct pollfd items[2] = {{.fd = helper->channel.fd, .events = POLLIN},
                              {.fd = may_wake ? helper->wake_fd : -1, .events = POLLIN}};
    ath_err err = ATH_OK;
    int n = poll(items, 2, patience_ms(helper));

    if (n < 0)
        return errno == EINTR ? ATH_OK : ATH_ERR_IO;
    if (items[1].revents != 0)
        err = on_wake(helper);
    if (err == ATH_OK && helper->is_lost)
        err = look_again(helper);
    else if (err == ATH_OK)
        err = check_token(helper);
    if (err == ATH_OK && n == 0) /* a module hangs that was quick before */
        hsm_channel_flush(&helper->channel);
    if (err == ATH_OK && items[0].revents != 0)
        err = hsm_channel_fill(&helper->channel);
    return err;
}

static ath_err
step(struct helper *helper)
{
    struct hsm_request request;
    bool is_there;
    ath_err err;

    if ((err = hsm_channel_next(&helper->channel, &request, &is_there)) != ATH_OK)
        return err;
    if (is_there)
        return serve(helper, &request);
    if (helper->overlap.is_there && !hsm_channel_is_readable(&helper->channel))
        return hsm_overlap_release(&helper->overlap);
    return wait(helper);
}

/* ---- the whole ---- */

static ath_err
begin(struct helper *helper)
{
    const struct hsm_helper_options *options = helper->options;
    ath_err err;

    hsm_channel_init(&helper->channel, options->fd);
    hsm_pins_init(&helper->pins);
    helper->overlap = (struct hsm_overlap){.ops = helper->ops, .channel = &helper->channel};
    helper->wake_fd = helper->dialogues.cancel_fd = -1;
    if (!helper_is_token(helper) && helper->ops->key_login == NULL)
        return ATH_OK;
    if ((helper->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        return ATH_ERR_NOMEM;
    if ((err = hsm_dialogues_init(&helper->dialogues, helper->wake_fd)) != ATH_OK)
        return err;
    return !helper_is_token(helper) || options->hang_limit_ms == 0
               ? ATH_OK
               : hsm_watchdog_new(options->fd, options->hang_limit_ms, &helper->watchdog);
}

static void
end(struct helper *helper)
{
    hsm_watchdog_hurry(helper->watchdog);
    hsm_dialogues_done(&helper->dialogues);
    hsm_workers_free(helper->workers);
    for (size_t i = 0; i < helper->keys.count; i++)
        helper->ops->key_close(helper->hsm, helper->keys.entries[i].key);
    hsm_key_table_done(&helper->keys);
    helper->ops->close(helper->hsm);
    hsm_overlap_done(&helper->overlap);
    hsm_pins_done(&helper->pins);
    hsm_channel_done(&helper->channel);
    fd_close(&helper->wake_fd);
    hsm_watchdog_free(helper->watchdog);
}

ath_err
hsm_helper_run(const struct hsm_helper_options *options)
{
    struct helper helper = {.options = options};
    ath_err err;

    if ((helper.ops = hsm_helper_backend(options->backends, options->uri)) == NULL)
        return ATH_ERR_INVALID_PARAMS;
    err = begin(&helper);
    while (err == ATH_OK)
        err = step(&helper);
    if (err == ATH_ERR_NOT_FOUND)
        err = helper_settle(&helper);
    end(&helper);
    return err;
}
