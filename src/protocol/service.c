#include "protocol/service.h"

#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "protocol/protocol_limits.h"

#define ANYONE "*"

static ath_err
refuse(struct why *why, const char *member, const char *what)
{
    return why_set(why, ATH_ERR_INVALID_PARAMS, "service: \"%s\" %s", member, what);
}

static ath_err
members_check(const struct json *object, struct why *why)
{
    static const char *const MEMBERS[] = {
        "name",   "key",     "scopes_supported", "token_max_ttl", "require_user_confirmation",
        "agents", "users",   "origins",          "bearer",        "restrictions",
        "trace",
    };

    if (!json_is_object(object))
        return why_set(why, ATH_ERR_INVALID_PARAMS, "a service is an object");
    for (const struct json *member = json_first(object); member != NULL;
         member = json_next(member)) {
        bool known = false;

        for (size_t i = 0; i < sizeof(MEMBERS) / sizeof(MEMBERS[0]); i++)
            known = known || strcmp(MEMBERS[i], json_name(member)) == 0;
        if (!known)
            return refuse(why, json_name(member), "is not a member of a service");
    }
    return ATH_OK;
}

static ath_err
name_decode(const struct json *object, const char *member, struct why *why, char **ret_name)
{
    const char *name = json_get_string(object, member);

    if (name == NULL || !name_is_valid(name))
        return refuse(why, member, "is not a name (1 to 64 of [A-Za-z0-9._@-])");
    *ret_name = ath_strdup(name);
    return *ret_name == NULL ? ATH_ERR_NOMEM : ATH_OK;
}

static ath_err
scopes_decode(const struct json *array, const char *member, size_t min, struct why *why,
              struct scope_list *ret_list)
{
    struct why inner = {{0}};
    ath_err err = scope_list_decode(array, min, &inner, ret_list);

    if (err == ATH_OK || err == ATH_ERR_NOMEM)
        return err;
    return why_set(why, ATH_ERR_INVALID_PARAMS, "service: \"%s\": %s", member,
                   why_text(&inner, err));
}

static ath_err
bool_decode(const struct json *object, const char *member, bool required, struct why *why,
            bool *ret_value)
{
    const struct json *value = json_get(object, member);

    if (value == NULL && !required)
        return ATH_OK;
    if (!json_is_bool(value))
        return refuse(why, member, "is neither true nor false");
    *ret_value = json_is_true(value);
    return ATH_OK;
}

/* The agents and users tables have a DID or "*" for each name. */
static ath_err
table_check(const struct json *table, const char *member, struct why *why)
{
    if (!json_is_object(table))
        return refuse(why, member, "is not an object");
    for (const struct json *row = json_first(table); row != NULL; row = json_next(row)) {
        if (strcmp(json_name(row), ANYONE) != 0 && !did_is_valid(json_name(row)))
            return refuse(why, member, "has a name that is neither a DID nor \"*\"");
    }
    return ATH_OK;
}

static ath_err
agent_decode(const struct json *row, const struct scope_list *supported, struct why *why,
             struct service_agent *agent)
{
    ath_err err;

    if ((agent->did = ath_strdup(json_name(row))) == NULL)
        return ATH_ERR_NOMEM;
    if ((err = scopes_decode(row, "agents", 0, why, &agent->scopes)) != ATH_OK)
        return err;
    for (size_t i = 0; i < agent->scopes.count; i++) {
        const char *scope = agent->scopes.items[i];

        if (!scope_list_has(supported, scope))
            continue;
        if ((err = scope_list_add(&agent->allowed, scope)) != ATH_OK)
            return err;
    }
    return ATH_OK;
}

static ath_err
agents_decode(const struct json *object, struct why *why, struct service *service)
{
    const struct json *table = json_get(object, "agents");
    ath_err err = table_check(table, "agents", why);
    size_t count = json_count(table);

    if (err != ATH_OK || count == 0)
        return err;
    if ((service->agents = calloc(count, sizeof(*service->agents))) == NULL)
        return ATH_ERR_NOMEM;
    for (const struct json *row = json_first(table); row != NULL; row = json_next(row)) {
        struct service_agent *agent = &service->agents[service->agent_count++];

        if ((err = agent_decode(row, &service->scopes_supported, why, agent)) != ATH_OK)
            return err;
    }
    return ATH_OK;
}

static ath_err
users_decode(const struct json *object, struct why *why, struct service *service)
{
    const struct json *table = json_get(object, "users");
    ath_err err = table_check(table, "users", why);
    size_t count = json_count(table);

    if (err != ATH_OK || count == 0)
        return err;
    if ((service->users = calloc(count, sizeof(*service->users))) == NULL)
        return ATH_ERR_NOMEM;
    for (const struct json *row = json_first(table); row != NULL; row = json_next(row)) {
        struct service_user *user = &service->users[service->user_count++];
        const char *account = json_string(row);

        if (account == NULL || account[0] == '\0' || strlen(account) > ACCOUNT_MAX_LEN)
            return refuse(why, "users", "has an account that is not a string of 1 to 256 bytes");
        if ((user->did = ath_strdup(json_name(row))) == NULL ||
            (user->account = ath_strdup(account)) == NULL)
            return ATH_ERR_NOMEM;
    }
    return ATH_OK;
}

static ath_err
origins_decode(const struct json *object, struct why *why, struct service *service)
{
    const struct json *array = json_get(object, "origins");
    size_t count = json_count(array);

    if (array == NULL)
        return ATH_OK;
    if (!json_is_array(array) || count > ORIGINS_MAX)
        return refuse(why, "origins", "is not an array of at most 16 origins");
    if (count == 0)
        return ATH_OK;
    if ((service->origins = calloc(count, sizeof(*service->origins))) == NULL)
        return ATH_ERR_NOMEM;
    for (const struct json *item = json_first(array); item != NULL; item = json_next(item)) {
        const char *origin = json_string(item);

        if (origin == NULL || !origin_is_valid(origin))
            return refuse(why, "origins",
                          "has an entry that is not https://host[:port] in lower case, without "
                          "default port and slash (http:// on loopback only)");
        if ((service->origins[service->origin_count] = ath_strdup(origin)) == NULL)
            return ATH_ERR_NOMEM;
        service->origin_count++;
    }
    return ATH_OK;
}

/* They travel in M8 and in the token's claims, so they must be fit for a message. */
static ath_err
restrictions_decode(const struct json *object, struct why *why, struct service *service)
{
    static const struct json_limits LIMITS = {
        .max_len = RESTRICTIONS_MAX_LEN,
        .max_depth = RESTRICTIONS_MAX_DEPTH,
        .max_members = MESSAGE_MAX_MEMBERS,
        .numbers = JSON_INTEGERS,
    };
    const struct json *restrictions = json_get(object, "restrictions");
    struct ath_buf text = {.max = RESTRICTIONS_MAX_LEN};
    ath_err err;

    if (restrictions == NULL)
        return ATH_OK;
    if (!json_is_object(restrictions))
        return refuse(why, "restrictions", "is not an object");
    json_write(restrictions, &text);
    if ((err = text.err) == ATH_OK)
        err = json_parse(ath_buf_slice(&text), &LIMITS, NULL, &service->restrictions);
    ath_buf_done(&text);
    if (err == ATH_OK || err == ATH_ERR_NOMEM)
        return err;
    return refuse(why, "restrictions", "is too long, too deep or has a number that is not whole");
}

static ath_err
members_decode(const struct json *object, struct why *why, struct service *service)
{
    ath_err err;

    if ((err = members_check(object, why)) != ATH_OK ||
        (err = name_decode(object, "name", why, &service->name)) != ATH_OK ||
        (err = name_decode(object, "key", why, &service->key)) != ATH_OK ||
        (err = scopes_decode(json_get(object, "scopes_supported"), "scopes_supported", 1, why,
                             &service->scopes_supported)) != ATH_OK)
        return err;
    if (!json_get_int(object, "token_max_ttl", &service->token_max_ttl) ||
        service->token_max_ttl < 1 || service->token_max_ttl > TTL_MAX_S)
        return refuse(why, "token_max_ttl", "is not a whole number of 1 to 3600 seconds");
    if ((err = bool_decode(object, "require_user_confirmation", true, why,
                           &service->require_user_confirmation)) != ATH_OK ||
        (err = bool_decode(object, "bearer", false, why, &service->bearer)) != ATH_OK ||
        (err = agents_decode(object, why, service)) != ATH_OK ||
        (err = users_decode(object, why, service)) != ATH_OK ||
        (err = origins_decode(object, why, service)) != ATH_OK)
        return err;
    return restrictions_decode(object, why, service);
}

ath_err
service_decode(const struct json *object, struct why *why, struct service **ret_service)
{
    struct service *service = calloc(1, sizeof(*service));
    ath_err err;

    if (service == NULL)
        return ATH_ERR_NOMEM;
    if ((err = members_decode(object, why, service)) != ATH_OK) {
        service_free(service);
        return err;
    }
    *ret_service = service;
    return ATH_OK;
}

static void
put_scopes(struct json_maker *maker, const char *name, const struct scope_list *list)
{
    struct json *array = NULL;

    if (scope_list_encode(list, &array) != ATH_OK)
        array = NULL; /* json_put_take says NOMEM */
    json_put_take(maker, name, array);
}

static void
put_tables(const struct service *service, struct json_maker *maker)
{
    struct json_maker agents = {0}, users = {0};

    json_object_begin(&agents);
    for (size_t i = 0; i < service->agent_count; i++)
        put_scopes(&agents, service->agents[i].did, &service->agents[i].scopes);
    json_put_maker(maker, "agents", &agents);
    json_object_begin(&users);
    for (size_t i = 0; i < service->user_count; i++)
        json_put_string(&users, service->users[i].did, service->users[i].account);
    json_put_maker(maker, "users", &users);
}

ath_err
service_encode(const struct service *service, struct json **ret_object)
{
    struct json_maker maker = {0}, origins = {0};

    json_object_begin(&maker);
    json_put_string(&maker, "name", service->name);
    json_put_string(&maker, "key", service->key);
    put_scopes(&maker, "scopes_supported", &service->scopes_supported);
    json_put_int(&maker, "token_max_ttl", service->token_max_ttl);
    json_put_bool(&maker, "require_user_confirmation", service->require_user_confirmation);
    put_tables(service, &maker);
    if (service->origin_count > 0) {
        json_array_begin(&origins);
        for (size_t i = 0; i < service->origin_count; i++)
            json_put_string(&origins, NULL, service->origins[i]);
        json_put_maker(&maker, "origins", &origins);
    }
    if (service->bearer)
        json_put_bool(&maker, "bearer", true);
    if (service->restrictions != NULL)
        json_put_copy(&maker, "restrictions", service->restrictions);
    return json_maker_end(&maker, ret_object);
}

void
service_free(struct service *service)
{
    if (service == NULL)
        return;
    for (size_t i = 0; i < service->agent_count; i++) {
        free(service->agents[i].did);
        scope_list_done(&service->agents[i].scopes);
        scope_list_done(&service->agents[i].allowed);
    }
    for (size_t i = 0; i < service->user_count; i++) {
        free(service->users[i].did);
        free(service->users[i].account);
    }
    for (size_t i = 0; i < service->origin_count; i++)
        free(service->origins[i]);
    free(service->agents);
    free(service->users);
    free(service->origins);
    scope_list_done(&service->scopes_supported);
    json_free(service->restrictions);
    free(service->name);
    free(service->key);
    free(service);
}

const struct scope_list *
service_scopes_of(const struct service *service, const char *client_did)
{
    const struct scope_list *anyone = NULL;

    for (size_t i = 0; i < service->agent_count; i++) {
        const struct service_agent *agent = &service->agents[i];

        if (strcmp(agent->did, client_did) == 0)
            return &agent->allowed;
        if (strcmp(agent->did, ANYONE) == 0)
            anyone = &agent->allowed;
    }
    return anyone;
}

const char *
service_account_of(const struct service *service, const char *user_did)
{
    const char *anyone = NULL;

    for (size_t i = 0; i < service->user_count; i++) {
        const struct service_user *user = &service->users[i];

        if (strcmp(user->did, user_did) == 0)
            return user->account;
        if (strcmp(user->did, ANYONE) == 0)
            anyone = user->account;
    }
    return anyone;
}

bool
service_has_origin(const struct service *service, const char *origin)
{
    for (size_t i = 0; i < service->origin_count; i++) {
        if (strcmp(service->origins[i], origin) == 0)
            return true;
    }
    return false;
}

bool
service_serves_anyone(const struct service *service)
{
    for (size_t i = 0; i < service->user_count; i++) {
        if (strcmp(service->users[i].did, ANYONE) == 0)
            return true;
    }
    return false;
}
