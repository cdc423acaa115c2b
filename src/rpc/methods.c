#include "rpc/methods.h"

#include <inttypes.h>
#include <string.h>

#include "base/base64url.h"
#include "base/name.h"
#include "base/traceparent.h"
#include "rpc/methods_table.h"

#define ELEMENT_LEN_MAX 2048u /* of one string in an array */

/* Every method takes it beside its own. */
#define TRACE "trace"

const struct rpc_method *
method_find(const char *name)
{
    size_t i;

    for (i = 0; i < RPC_METHOD_COUNT; i++)
        if (strcmp(rpc_methods[i].name, name) == 0)
            return &rpc_methods[i];
    return NULL;
}

const struct rpc_method *
method_at(enum rpc_method_id id)
{
    return (unsigned)id < RPC_METHOD_COUNT ? &rpc_methods[id] : NULL;
}

/* ---- one value against its spec ---- */

static ath_err
refuse(const struct rpc_param *param, struct why *why, const char *must)
{
    return why_set(why, ATH_ERR_INVALID_PARAMS, "\"%s\" must %s", param->name, must);
}

static bool
is_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);
    const char *at = choices;

    while (at != NULL && *at != '\0') {
        size_t word = strcspn(at, " ");

        if (word == len && strncmp(at, text, len) == 0)
            return true;
        at += word + (at[word] == ' ');
    }
    return false;
}

static ath_err
check_string(const struct rpc_param *param, const struct json *value, struct why *why)
{
    const char *text = json_string(value);
    int64_t len;

    if (text == NULL)
        return refuse(param, why, "be a string");
    if (param->choices != NULL && !is_choice(param->choices, text))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "\"%s\" must be one of: %s", param->name,
                       param->choices);
    len = (int64_t)strlen(text);
    if (len < param->min || len > param->max)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "\"%s\" must have %" PRId64 " to %" PRId64 " bytes", param->name, param->min,
                       param->max);
    return ATH_OK;
}

static ath_err
check_name(const struct rpc_param *param, const struct json *value, struct why *why)
{
    if (!name_is_valid(json_string(value)))
        return refuse(param, why,
                      "be a name: 1 to 64 of A-Z a-z 0-9 . _ @ -, not beginning with . or -");
    return ATH_OK;
}

static ath_err
check_did(const struct rpc_param *param, const struct json *value, struct why *why)
{
    const char *text = json_string(value), *at;

    if (text == NULL || strncmp(text, "did:", 4) != 0 || text[4] == '\0' ||
        strlen(text) > (size_t)param->max)
        return refuse(param, why, "be a DID (did:...)");
    for (at = text; *at != '\0'; at++)
        if (*at <= ' ' || *at > '~')
            return refuse(param, why, "be a DID (did:...), of visible ASCII characters");
    return ATH_OK;
}

static ath_err
check_base64url(const struct rpc_param *param, const struct json *value, struct why *why)
{
    struct ath_buf bytes = {.max = (size_t)param->max};
    const char *text = json_string(value);
    ath_err err;

    if (text == NULL)
        return refuse(param, why, "be a base64url string");
    err = base64url_decode(ath_slice_of_string(text), &bytes);
    if (err == ATH_ERR_PARSE)
        err = refuse(param, why, "be base64url without padding");
    else if (err == ATH_ERR_LIMIT_EXCEEDED)
        err = why_set(why, err, "\"%s\" is longer than %" PRId64 " bytes", param->name, param->max);
    else if (err == ATH_OK && (int64_t)bytes.len < param->min)
        err = why_set(why, ATH_ERR_INVALID_PARAMS, "\"%s\" is shorter than %" PRId64 " bytes",
                      param->name, param->min);
    ath_buf_done(&bytes);
    return err;
}

static ath_err
check_int(const struct rpc_param *param, const struct json *value, struct why *why)
{
    int64_t number;

    if (!json_int(value, &number) || number < param->min || number > param->max)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "\"%s\" must be a whole number from %" PRId64 " to %" PRId64, param->name,
                       param->min, param->max);
    return ATH_OK;
}

static ath_err
check_strings(const struct rpc_param *param, const struct json *value, struct why *why)
{
    const struct rpc_param element = {param->name, RPC_STRING,      true,
                                      1,           ELEMENT_LEN_MAX, param->choices};
    int64_t count = (int64_t)json_count(value);
    const struct json *entry;

    if (!json_is_array(value))
        return refuse(param, why, "be an array of strings");
    if (count < param->min || count > param->max)
        return why_set(why, ATH_ERR_INVALID_PARAMS,
                       "\"%s\" must have %" PRId64 " to %" PRId64 " entries", param->name,
                       param->min, param->max);
    for (entry = json_first(value); entry != NULL; entry = json_next(entry)) {
        if (json_string(entry) == NULL)
            return refuse(param, why, "be an array of strings");
        if (check_string(&element, entry, why) != ATH_OK)
            return ATH_ERR_INVALID_PARAMS;
    }
    return ATH_OK;
}

static ath_err
check_string_or_strings(const struct rpc_param *param, const struct json *value, struct why *why)
{
    const struct rpc_param one = {param->name, RPC_STRING,      true,
                                  1,           ELEMENT_LEN_MAX, param->choices};

    if (json_string(value) != NULL)
        return check_string(&one, value, why);
    if (!json_is_array(value))
        return refuse(param, why, "be a string or an array of strings");
    return check_strings(param, value, why);
}

static ath_err
check_value(const struct rpc_param *param, const struct json *value, struct why *why)
{
    switch (param->type) {
    case RPC_STRING:
        return check_string(param, value, why);
    case RPC_NAME:
        return check_name(param, value, why);
    case RPC_DID:
        return check_did(param, value, why);
    case RPC_BASE64URL:
        return check_base64url(param, value, why);
    case RPC_INT:
        return check_int(param, value, why);
    case RPC_BOOL:
        return json_is_bool(value) ? ATH_OK : refuse(param, why, "be true or false");
    case RPC_OBJECT:
        return json_is_object(value) ? ATH_OK : refuse(param, why, "be an object");
    case RPC_STRINGS:
        return check_strings(param, value, why);
    case RPC_STRING_OR_OBJECT:
        if (json_is_object(value))
            return ATH_OK;
        if (json_string(value) == NULL)
            return refuse(param, why, "be a string or an object");
        return check_string(param, value, why);
    case RPC_STRING_OR_STRINGS:
        return check_string_or_strings(param, value, why);
    case RPC_FALSE:
        if (!json_is_bool(value))
            return refuse(param, why, "be true or false");
        if (!json_is_true(value))
            return ATH_OK;
        break;
    }
    return why_set(why, ATH_ERR_INVALID_PARAMS, "\"%s\" is not built yet in this version of athd",
                   param->name);
}

/* ---- all of them ---- */

static const struct rpc_param *
find_param(const struct rpc_method *method, const char *name)
{
    size_t i;

    for (i = 0; i < method->param_count; i++)
        if (strcmp(method->params[i].name, name) == 0)
            return &method->params[i];
    return NULL;
}

static ath_err
check_members(const struct rpc_method *method, const struct json *params, struct why *why)
{
    const struct json *member;
    ath_err err;

    for (member = json_first(params); member != NULL; member = json_next(member)) {
        const struct rpc_param *param = find_param(method, json_name(member));

        if (strcmp(json_name(member), TRACE) == 0) {
            if (!traceparent_is_valid(json_string(member)))
                return why_set(why, ATH_ERR_INVALID_PARAMS,
                               "\"" TRACE "\" must be a W3C traceparent (00-...-...-01)");
            continue;
        }
        if (param == NULL)
            return why_set(why, ATH_ERR_INVALID_PARAMS, "\"%.64s\" is no parameter of %s",
                           json_name(member), method->name);
        if ((err = check_value(param, member, why)) != ATH_OK)
            return err;
    }
    return ATH_OK;
}

ath_err
method_check_params(const struct rpc_method *method, const struct json *params, struct why *why)
{
    ath_err err;
    size_t i;

    if (!json_is_object(params))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "params must be an object");
    if ((err = check_members(method, params, why)) != ATH_OK)
        return err;
    for (i = 0; i < method->param_count; i++)
        if (method->params[i].required && json_get(params, method->params[i].name) == NULL)
            return why_set(why, ATH_ERR_INVALID_PARAMS, "\"%s\" is missing: %s needs it",
                           method->params[i].name, method->name);
    return ATH_OK;
}
