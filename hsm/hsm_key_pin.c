/* PINs of keys: a TPM's keys have one each, or none. A person enters it; it is tried once and then
 * lies with the key, in the back end, until it is logged out of. */
#include "hsm/hsm_helper_state.h"

/* ---- LOGIN to a key ---- */

static ath_err
check_login(struct helper *helper, const struct hsm_request *request, const struct hsm_key *key)
{
    struct why *why = &helper->fault.why;
    struct hsm_key_facts facts;

    if (helper->ops->key_login == NULL)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "keys of this hsm have no PIN of their own: log in to the token");
    if (key == NULL)
        return ATH_ERR_KEY_NOT_FOUND;
    helper->ops->key_facts(key, &facts);
    if (facts.empty_auth)
        return why_set(why, ATH_ERR_INVALID_PARAMS, "the key has no PIN");
    if (request->pin.from != HSM_PIN_PROMPTER)
        return why_set(why, ATH_ERR_INVALID_REQUEST, "the PIN of a key comes from a prompter");
    return ATH_OK;
}

ath_err
helper_on_key_login(struct helper *helper, const struct hsm_request *request,
                    struct hsm_response *response)
{
    struct hsm_key *key = hsm_key_table_find(&helper->keys, request->key);

    if ((response->err = check_login(helper, request, key)) == ATH_OK)
        return helper_ask_person(helper, request, helper->ops->key_public(key), response);
    helper_drop_prompter(helper, request);
    return helper_respond(helper, response);
}

ath_err
helper_login_after_dialogue(struct helper *helper, const struct hsm_dialogue *dialogue,
                            struct hsm_response *response)
{
    struct hsm_key *key = helper_find_asked_key(helper, dialogue);
    ath_err err;

    response->err = key == NULL
                        ? ATH_ERR_KEY_NOT_FOUND
                        : helper->ops->key_login(helper->hsm, key, ath_secret_slice(&dialogue->pin),
                                                 &helper->fault);
    err = helper_respond(helper, response);
    return err == ATH_OK && response->err == ATH_ERR_HSM_UNAVAILABLE ? response->err : err;
}

void
helper_key_logout(struct helper *helper, uint32_t number)
{
    for (size_t i = 0; i < helper->keys.count; i++) {
        const struct hsm_key_entry *entry = &helper->keys.entries[i];

        if (number == 0 || entry->number == number)
            helper->ops->key_logout(helper->hsm, entry->key);
    }
}

/* ---- a new key with a PIN ---- */

ath_err
helper_ask_new_pin(struct helper *helper, const struct hsm_request *request,
                   struct hsm_response *response)
{
    if (helper->ops->key_create_with_pin == NULL)
        response->err = why_set(&helper->fault.why, ATH_ERR_INVALID_PARAMS,
                                "keys of a token have no PIN of their own: the token's protects "
                                "them");
    else if (request->usage != HSM_KEY_IDENTITY)
        response->err =
            why_set(&helper->fault.why, ATH_ERR_INVALID_PARAMS, "an audit key has no PIN");
    else if (request->pin.from != HSM_PIN_PROMPTER)
        response->err = why_set(&helper->fault.why, ATH_ERR_INVALID_REQUEST,
                                "the PIN of a key comes from a prompter");
    if (response->err == ATH_OK)
        return helper_ask_person(helper, request, NULL, response);
    helper_drop_prompter(helper, request);
    return helper_respond(helper, response);
}

ath_err
helper_create_after_dialogue(struct helper *helper, const struct hsm_dialogue *dialogue,
                             struct hsm_response *response)
{
    struct ath_buf blob = {.max = HSM_WIRE_MAX_BLOB};
    ath_err err;

    response->err = helper->ops->key_create_with_pin(
        helper->hsm, (enum key_algorithm)dialogue->algorithm, dialogue->label,
        ath_secret_slice(&dialogue->pin), &helper->fault, &blob);
    err = helper_respond_new_key(helper, &blob, response);
    ath_buf_done(&blob);
    return err == ATH_OK && response->err == ATH_ERR_HSM_UNAVAILABLE ? response->err : err;
}
