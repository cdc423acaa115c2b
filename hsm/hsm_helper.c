#include "hsm/hsm_helper.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "hsm/helper_sandbox.h"
#include "hsm/hsm_channel.h"
#include "hsm/hsm_key_table.h"

/* A signature the hardware has made and nobody has checked yet. */
struct unverified {
    bool is_there;
    uint32_t id, hardware_us;
    struct hsm_key *key; /* borrowed: the table is not changed before this is dealt with */
    struct ath_buf message;
    uint8_t signature[SIGNATURE_MAX_LEN];
};

struct helper {
    const struct hsm_helper_options *options;
    const struct hsm_ops *ops;
    struct hsm *hsm; /* NULL: not open yet */
    struct hsm_channel channel;
    struct hsm_key_table keys;
    struct unverified last;
    struct hsm_fault fault; /* of the request at hand */
};

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

static uint32_t
elapsed_us(uint64_t since)
{
    uint64_t us = clock_monotonic_us() - since;

    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* Sends; what the hardware refused becomes a sentence. What the answer points to need not outlive
 * this. An answer that cannot be sent ends us. */
static ath_err
respond(struct helper *helper, struct hsm_response *response)
{
    ath_err err;

    if (response->err != ATH_OK) {
        response->native = helper->fault.native;
        response->sentence = ath_slice_of_string(why_text(&helper->fault.why, response->err));
        log_debug("event=hsm_request op=%d err=%s why=\"%s\"", (int)response->op,
                  ath_err_reason(response->err), why_text(&helper->fault.why, response->err));
    }
    err = hsm_channel_send(&helper->channel, response);
    *response = (struct hsm_response){.id = response->id, .op = response->op, .err = response->err};
    return err;
}

/* Checks the waiting signature and sends it. */
static ath_err
release_last(struct helper *helper)
{
    struct unverified *last = &helper->last;
    const struct public_key *public;
    struct hsm_response response = {.op = HSM_OP_SIGN};

    if (!last->is_there)
        return ATH_OK;
    last->is_there = false;
    public = helper->ops->key_public(last->key);
    response.id = last->id;
    response.hardware_us = last->hardware_us;
    response.data =
        ath_slice_of(last->signature, key_algorithm_signature_len(public_key_algorithm(public)));
    if (public_key_verify(public, ath_buf_slice(&last->message), response.data) != ATH_OK) {
        log_error("event=bad_signature key=%.8s", public_key_jkt(public));
        response.err = why_set(&helper->fault.why, ATH_ERR_HSM_ERROR,
                               "the hardware made a signature that its public key does not verify");
    }
    return respond(helper, &response);
}

static ath_err
sign_on(struct helper *helper, struct hsm_key *key, const struct hsm_request *request,
        struct hsm_response *response)
{
    struct unverified *last = &helper->last;
    uint8_t signature[SIGNATURE_MAX_LEN];
    uint64_t since = clock_monotonic_us();
    struct hsm_fault begin_fault = {0};
    ath_err err;

    response->err = helper->ops->sign_begin(helper->hsm, key, request->data, &begin_fault);
    /* The hardware works; meanwhile: */
    if ((err = release_last(helper)) != ATH_OK) {
        /* nobody is there to hear it, but a TPM that is waited for can be shut down cleanly */
        if (response->err == ATH_OK)
            response->err = helper->ops->sign_finish(helper->hsm, &helper->fault, signature);
        return err;
    }
    helper->fault = begin_fault;
    if (response->err != ATH_OK)
        return respond(helper, response);
    ath_buf_clear(&last->message);
    last->message.max = HSM_WIRE_MAX_MESSAGE;
    ath_buf_put_slice(&last->message, request->data);
    response->err = helper->ops->sign_finish(helper->hsm, &helper->fault, signature);
    if (response->err == ATH_OK)
        response->err = last->message.err;
    if (response->err != ATH_OK)
        return respond(helper, response);
    last->is_there = true;
    last->id = request->id;
    last->key = key;
    last->hardware_us = elapsed_us(since);
    memcpy(last->signature, signature, sizeof(signature));
    return ATH_OK;
}

static ath_err
on_sign(struct helper *helper, const struct hsm_request *request, struct hsm_response *response)
{
    struct hsm_key *key = hsm_key_table_find(&helper->keys, request->key);
    ath_err err;

    if (key != NULL)
        return sign_on(helper, key, request, response);
    if ((err = release_last(helper)) != ATH_OK)
        return err;
    response->err = ATH_ERR_KEY_NOT_FOUND;
    return respond(helper, response);
}

static ath_err
open_hardware(struct helper *helper)
{
    const struct hsm_options options = {.uri = helper->options->uri,
                                        .state_dir = helper->options->state_dir};
    ath_err err;

    if (helper->hsm != NULL)
        return ATH_OK;
    if ((err = helper->ops->open(&options, &helper->fault, &helper->hsm)) != ATH_OK)
        return err;
    if (helper->options->sandbox)
        helper_sandbox_enter(helper->options->uri);
    return ATH_OK;
}

static ath_err
on_info(struct helper *helper, const struct hsm_request *request, struct hsm_response *response)
{
    struct hsm_info info = {.kind = "", .parallel = 1};

    if (request->version != HSM_WIRE_VERSION)
        response->err = why_set(&helper->fault.why, ATH_ERR_INVALID_REQUEST,
                                "athd and its helper are of different versions");
    else if ((response->err = open_hardware(helper)) == ATH_OK)
        helper->ops->info(helper->hsm, &info);
    response->kind = ath_slice_of_string(info.kind);
    response->software = info.software;
    response->has_ek_certificate = info.has_ek_certificate;
    response->algorithms = info.algorithms;
    response->parallel = (uint8_t)info.parallel;
    response->has_counter = info.has_counter;
    response->login = info.login;
    response->pin_locked = info.pin_locked;
    response->tries_left = (uint8_t)info.tries_left;
    response->manufacturer = ath_slice_of_string(info.manufacturer);
    response->model = ath_slice_of_string(info.model);
    response->firmware = ath_slice_of_string(info.firmware);
    response->serial = ath_slice_of_string(info.serial);
    return respond(helper, response);
}

static void
describe(struct helper *helper, const struct hsm_key *key, struct hsm_response *response)
{
    response->public_der = public_key_der(helper->ops->key_public(key));
    helper->ops->key_facts(key, &response->facts);
}

/* The new key is opened once: that proves its blob and gives its public half. */
static ath_err
on_key_create(struct helper *helper, const struct hsm_request *request,
              struct hsm_response *response)
{
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    char *label = ath_slice_dup(request->name);
    struct hsm_key *key = NULL;
    ath_err err;

    if (label == NULL)
        response->err = ATH_ERR_NOMEM;
    else
        response->err = helper->ops->key_create(
            helper->hsm, (enum key_algorithm)request->algorithm, (enum hsm_key_usage)request->usage,
            label, &helper->fault, &blob);
    if (response->err == ATH_OK)
        response->err =
            helper->ops->key_open(helper->hsm, ath_buf_slice(&blob), &helper->fault, &key);
    if (response->err == ATH_OK)
        describe(helper, key, response);
    response->blob = ath_buf_slice(&blob);
    err = respond(helper, response);
    if (key != NULL)
        helper->ops->key_close(helper->hsm, key);
    free(label);
    ath_buf_done(&blob);
    return err;
}

static ath_err
on_key_open(struct helper *helper, const struct hsm_request *request, struct hsm_response *response)
{
    struct hsm_key *key = NULL;

    if (hsm_key_table_find(&helper->keys, request->key) != NULL)
        response->err = ATH_ERR_EXISTS;
    else
        response->err = helper->ops->key_open(helper->hsm, request->data, &helper->fault, &key);
    if (response->err == ATH_OK &&
        (response->err = hsm_key_table_put(&helper->keys, request->key, key)) != ATH_OK)
        helper->ops->key_close(helper->hsm, key);
    if (response->err == ATH_OK)
        describe(helper, key, response);
    return respond(helper, response);
}

static ath_err
on_key_close(struct helper *helper, const struct hsm_request *request,
             struct hsm_response *response)
{
    struct hsm_key *key = hsm_key_table_remove(&helper->keys, request->key);

    if (key == NULL)
        response->err = ATH_ERR_KEY_NOT_FOUND;
    else
        helper->ops->key_close(helper->hsm, key);
    return respond(helper, response);
}

static ath_err
on_key_delete(struct helper *helper, const struct hsm_request *request,
              struct hsm_response *response)
{
    struct hsm_key *key = hsm_key_table_find(&helper->keys, request->key);

    if (key == NULL)
        response->err = ATH_ERR_KEY_NOT_FOUND;
    else
        response->err = helper->ops->key_delete(helper->hsm, key, &helper->fault);
    if (response->err == ATH_OK)
        (void)hsm_key_table_remove(&helper->keys, request->key);
    return respond(helper, response);
}

static ath_err
on_random(struct helper *helper, const struct hsm_request *request, struct hsm_response *response)
{
    uint8_t bytes[HSM_WIRE_MAX_RANDOM];
    ath_err err;

    response->err = helper->ops->random(helper->hsm, bytes, request->count, &helper->fault);
    response->data = ath_slice_of(bytes, request->count);
    err = respond(helper, response);
    explicit_bzero(bytes, sizeof(bytes));
    return err;
}

static ath_err
carry_out(struct helper *helper, const struct hsm_request *request, struct hsm_response *response)
{
    if (request->op == HSM_OP_INFO)
        return on_info(helper, request, response);
    if (helper->hsm == NULL) {
        response->err =
            why_set(&helper->fault.why, ATH_ERR_INVALID_REQUEST, "the first request must be INFO");
        return respond(helper, response);
    }
    switch (request->op) {
    case HSM_OP_KEY_CREATE:
        return on_key_create(helper, request, response);
    case HSM_OP_KEY_OPEN:
        return on_key_open(helper, request, response);
    case HSM_OP_KEY_CLOSE:
        return on_key_close(helper, request, response);
    case HSM_OP_KEY_DELETE:
        return on_key_delete(helper, request, response);
    case HSM_OP_SIGN:
        return on_sign(helper, request, response);
    case HSM_OP_RANDOM:
        return on_random(helper, request, response);
    case HSM_OP_LOGIN:
    case HSM_OP_LOGOUT:
    case HSM_OP_COUNTER:
        response->err = ATH_ERR_NOT_FOUND;
        return respond(helper, response);
    case HSM_OP_INFO:
        break;
    }
    return ATH_ERR_INTERNAL;
}

/* One request; ATH_ERR_HSM_UNAVAILABLE when that was its answer. */
static ath_err
serve_one(struct helper *helper)
{
    struct hsm_response response = {0};
    struct hsm_request request;
    ath_err err;

    if (helper->last.is_there && !hsm_channel_is_ready(&helper->channel) &&
        (err = release_last(helper)) != ATH_OK)
        return err;
    if ((err = hsm_channel_receive(&helper->channel, &request)) != ATH_OK)
        return err;
    if (request.op != HSM_OP_SIGN && (err = release_last(helper)) != ATH_OK)
        return err;
    helper->fault = (struct hsm_fault){0};
    response.id = request.id;
    response.op = request.op;
    if ((err = carry_out(helper, &request, &response)) != ATH_OK)
        return err;
    return response.err == ATH_ERR_HSM_UNAVAILABLE ? ATH_ERR_HSM_UNAVAILABLE : ATH_OK;
}

static void
close_all(struct helper *helper)
{
    for (size_t i = 0; i < helper->keys.count; i++)
        helper->ops->key_close(helper->hsm, helper->keys.entries[i].key);
    hsm_key_table_done(&helper->keys);
    helper->ops->close(helper->hsm);
    ath_buf_done(&helper->last.message);
    hsm_channel_done(&helper->channel);
}

ath_err
hsm_helper_run(const struct hsm_helper_options *options)
{
    struct helper helper = {.options = options};
    ath_err err;

    if ((helper.ops = hsm_helper_backend(options->backends, options->uri)) == NULL)
        return ATH_ERR_INVALID_PARAMS;
    hsm_channel_init(&helper.channel, options->fd);
    do {
        err = serve_one(&helper);
    } while (err == ATH_OK);
    if (err == ATH_ERR_NOT_FOUND)
        err = release_last(&helper);
    close_all(&helper);
    return err;
}
