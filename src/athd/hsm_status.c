/* What agent.status says of an hsm. */
#include "athd/hsm_unit.h"

static void
put_known(struct json_maker *object, const char *name, const char *text)
{
    if (text[0] != '\0')
        json_put_string(object, name, text);
}

static void
put_login(struct json_maker *object, const struct hsm_unit *unit)
{
    static const char *const kinds[] = {
        [HSM_LOGIN_NONE] = "none", [HSM_LOGIN_PIN] = "pin", [HSM_LOGIN_PAD] = "pad"};
    const struct hsm_unit_login *login = &unit->login;
    uint32_t wait_s;

    json_put_string(object, "login", kinds[login->kind]);
    json_put_bool(object, "logged_in", login->is_in);
    if (login->tries_left > 0)
        json_put_int(object, "tries_left", login->tries_left);
    if (login->throttle != NULL && (wait_s = hsm_throttle_wait_s(login->throttle)) > 0)
        json_put_int(object, "retry_after", wait_s);
}

void
hsm_unit_put_status(const struct hsm_unit *unit, struct json_maker *array)
{
    struct json_maker object;

    json_object_begin(&object);
    json_put_string(&object, "name", unit->name);
    json_put_string(&object, "kind", unit->kind);
    json_put_string(&object, "state", hsm_unit_state_name(unit));
    json_put_bool(&object, "software", unit->software);
    put_known(&object, "manufacturer", unit->manufacturer);
    put_known(&object, "model", unit->model);
    put_known(&object, "firmware", unit->firmware);
    put_known(&object, "serial", unit->serial);
    if (unit->state == HSM_UNIT_READY)
        json_put_bool(&object, "ek_certificate", unit->has_ek_certificate);
    else
        put_known(&object, "message", unit->why.text);
    if (unit->state != HSM_UNIT_READY)
        json_put_string(&object, "reason", ath_err_reason(unit->reason));
    put_login(&object, unit);
    json_put_int(&object, "restarts", unit->restarts);
    if (unit->software)
        json_put_string(&object, "warning",
                        unit->is_token
                            ? "a token in software: its keys are protected by file permissions only"
                            : "a TPM in software: its keys are protected by file permissions only");
    json_put_int(&object, "queued", unit->queue.len + unit->flying_count + unit->waiting_count);
    json_put_maker(array, NULL, &object);
}
