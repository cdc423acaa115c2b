/* The requests that need nothing but the back end. */
#include <stdlib.h>
#include <string.h>

#include "hsm/hsm_helper_state.h"

static void
describe(struct helper *helper, const struct hsm_key *key, struct hsm_response *response)
{
    response->public_der = public_key_der(helper->ops->key_public(key));
    helper->ops->key_facts(key, &response->facts);
}

/* What is to be stored for a key that was opened, where that is other than what was given. */
static struct ath_slice
canonical_blob(const struct helper *helper, const struct hsm_key *key)
{
    if (helper->ops->key_blob == NULL)
        return ath_slice_of(NULL, 0);
    return helper->ops->key_blob(key);
}

ath_err
helper_respond_new_key(struct helper *helper, const struct ath_buf *blob,
                       struct hsm_response *response)
{
    struct hsm_key *key = NULL;
    ath_err err;

    if (response->err == ATH_OK)
        response->err =
            helper->ops->key_open(helper->hsm, ath_buf_slice(blob), &helper->fault, &key);
    if (response->err == ATH_OK)
        describe(helper, key, response);
    response->blob = ath_buf_slice(blob);
    err = helper_respond(helper, response);
    if (key != NULL)
        helper->ops->key_close(helper->hsm, key);
    return err;
}

ath_err
helper_on_key_create(struct helper *helper, const struct hsm_request *request,
                     struct hsm_response *response)
{
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    char *label;
    ath_err err;

    if (request->pin.from != HSM_PIN_NONE)
        return helper_ask_new_pin(helper, request, response);
    if ((label = ath_slice_dup(request->name)) == NULL)
        response->err = ATH_ERR_NOMEM;
    else
        response->err = helper->ops->key_create(helper->hsm, (enum key_algorithm)request->algorithm,
                                                (enum hsm_key_usage)request->usage, label,
                                                &helper->fault, &blob);
    err = helper_respond_new_key(helper, &blob, response);
    free(label);
    ath_buf_done(&blob);
    return err;
}

ath_err
helper_on_key_open(struct helper *helper, const struct hsm_request *request,
                   struct hsm_response *response)
{
    struct hsm_key *key = NULL;

    if (hsm_key_table_find(&helper->keys, request->key) != NULL)
        response->err = ATH_ERR_EXISTS;
    else
        response->err = helper->ops->key_open(helper->hsm, request->data, &helper->fault, &key);
    if (response->err == ATH_OK &&
        (response->err = hsm_key_table_put(&helper->keys, request->key, key)) != ATH_OK)
        helper->ops->key_close(helper->hsm, key);
    if (response->err == ATH_OK) {
        describe(helper, key, response);
        response->blob = canonical_blob(helper, key);
    }
    return helper_respond(helper, response);
}

ath_err
helper_on_key_close(struct helper *helper, const struct hsm_request *request,
                    struct hsm_response *response)
{
    struct hsm_key *key = hsm_key_table_remove(&helper->keys, request->key);

    if (key == NULL)
        response->err = ATH_ERR_KEY_NOT_FOUND;
    else
        helper->ops->key_close(helper->hsm, key);
    return helper_respond(helper, response);
}

ath_err
helper_on_key_delete(struct helper *helper, const struct hsm_request *request,
                     struct hsm_response *response)
{
    struct hsm_key *key = hsm_key_table_find(&helper->keys, request->key);

    if (key == NULL)
        response->err = ATH_ERR_KEY_NOT_FOUND;
    else
        response->err = helper->ops->key_delete(helper->hsm, key, &helper->fault);
    if (response->err == ATH_OK)
        (void)hsm_key_table_remove(&helper->keys, request->key);
    return helper_respond(helper, response);
}

ath_err
helper_on_random(struct helper *helper, const struct hsm_request *request,
                 struct hsm_response *response)
{
    uint8_t bytes[HSM_WIRE_MAX_RANDOM];
    ath_err err;

    response->err = helper->ops->random(helper->hsm, bytes, request->count, &helper->fault);
    response->data = ath_slice_of(bytes, request->count);
    err = helper_respond(helper, response);
    explicit_bzero(bytes, sizeof(bytes));
    return err;
}

ath_err
helper_on_counter(struct helper *helper, const struct hsm_request *request,
                  struct hsm_response *response)
{
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB}, evidence = {.max = HSM_WIRE_MAX_EVIDENCE};
    struct hsm_key *key = hsm_key_table_find(&helper->keys, request->key);
    ath_err err;

    if (helper->ops->counter == NULL)
        response->err = why_set(&helper->fault.why, ATH_ERR_INVALID_PARAMS,
                                "this hsm has no counter; only a TPM has one");
    else if (key == NULL)
        response->err = ATH_ERR_KEY_NOT_FOUND;
    else
        response->err =
            helper->ops->counter(helper->hsm, key, request->data, request->count, request->nonce,
                                 &helper->fault, &blob, &response->counter, &evidence);
    response->blob = ath_buf_slice(&blob);
    response->data = ath_buf_slice(&evidence);
    err = helper_respond(helper, response);
    ath_buf_done(&evidence);
    ath_buf_done(&blob);
    return err;
}
