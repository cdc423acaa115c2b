/* The one place that says what a locked athd still does: it tells what it holds, takes away, and
 * can be unlocked. All else waits for the person. */
#include <string.h>

#include "athd/athd.h"
#include "athd/lock.h"

static const struct {
    const char *method;
    enum lock_class class;
} classes[] = {
    {"agent.hello", LOCK_OPEN},
    {"agent.status", LOCK_OPEN},
    {"agent.lock", LOCK_ENTRY},
    {"agent.unlock", LOCK_OPEN},
    {"events.subscribe", LOCK_OPEN},
    /* keys: their public halves */
    {"key.create", LOCK_CLOSED},
    {"key.list", LOCK_OPEN},
    {"key.get", LOCK_OPEN},
    {"key.delete", LOCK_CLOSED},
    {"key.import", LOCK_CLOSED},
    {"key.export", LOCK_OPEN},
    {"attestation.create", LOCK_CLOSED},
    {"attestation.verify", LOCK_CLOSED},
    {"handshake.start", LOCK_CLOSED},
    {"handshake.receive", LOCK_CLOSED},
    {"handshake.accept", LOCK_CLOSED},
    {"handshake.get", LOCK_CLOSED},
    {"handshake.list", LOCK_OPEN},
    {"handshake.abort", LOCK_CLOSED},
    {"confirmation.answer", LOCK_CLOSED},
    {"service.put", LOCK_CLOSED},
    {"service.list", LOCK_OPEN},
    {"service.delete", LOCK_CLOSED},
    {"credential.issue", LOCK_CLOSED},
    {"credential.put", LOCK_CLOSED},
    {"credential.verify", LOCK_CLOSED},
    {"credential.list", LOCK_OPEN},
    {"session.seal", LOCK_CLOSED},
    {"session.open", LOCK_CLOSED},
    {"session.token", LOCK_CLOSED},
    {"session.list", LOCK_OPEN},
    {"session.close", LOCK_CLOSED},
    {"token.verify", LOCK_CLOSED},
    {"peer.pin", LOCK_CLOSED},
    {"peer.list", LOCK_OPEN},
    {"peer.remove", LOCK_CLOSED},
    {"policy.check", LOCK_OPEN},
    {"policy.reload", LOCK_CLOSED},
    {"policy.show", LOCK_OPEN},
    {"policy.freeze", LOCK_OPEN},
    {"policy.unfreeze", LOCK_CLOSED},
    {"grant.create", LOCK_CLOSED},
    {"grant.list", LOCK_OPEN},
    {"grant.revoke", LOCK_OPEN},
    /* the only question of a locked tenant's is that of agent.unlock */
    {"consent.attend", LOCK_OPEN},
    {"consent.list", LOCK_OPEN},
    {"consent.answer", LOCK_OPEN},
    {"consent.forget", LOCK_OPEN},
    /* else the prompter that is to unlock it might not be seen */
    {"consent.environment", LOCK_OPEN},
    /* questions for PINs have ended with the lock */
    {"consent.pinentry", LOCK_CLOSED},
    {"audit.query", LOCK_OPEN},
    {"audit.checkpoint", LOCK_OPEN},
    {"audit.proof", LOCK_OPEN},
    {"audit.consistency", LOCK_OPEN},
};

enum lock_class
lock_class_of(const char *method)
{
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (strcmp(classes[i].method, method) == 0)
            return classes[i].class;
    return LOCK_UNKNOWN;
}

ath_err
lock_refusal(unsigned reasons, struct why *why)
{
    const char *way_out = "`ath unlock` ends that";

    if (reasons == 0)
        return why_set(why, ATH_ERR_AGENT_LOCKED, "athd was locked while this was under way");
    if ((reasons & LOCK_BY_DAMAGE) != 0)
        return why_set(why, ATH_ERR_AGENT_LOCKED,
                       "athd is locked, because lock.json in its state directory cannot be read: "
                       "look at it, remove it and start athd again");
    if ((reasons & LOCK_BY_PASSPHRASE) != 0)
        way_out = "`ath unlock` and its passphrase end that";
    else if ((reasons & LOCK_BY_SESSION) != 0)
        way_out = "unlocking the session or `ath unlock` ends that";
    return why_set(why, ATH_ERR_AGENT_LOCKED, "athd is locked; %s", way_out);
}

ath_err
lock_admits(const struct request *request, struct why *why)
{
    unsigned reasons = lock_reasons(request->tenant->lock);

    if (request->is_locked_out)
        return lock_refusal(reasons, why);
    if (reasons == 0 || lock_class_of(request->method->name) == LOCK_OPEN)
        return ATH_OK;
    return lock_refusal(reasons, why);
}

ath_err
lock_releases(const struct request *request, struct why *why)
{
    return request->is_locked_out ? lock_refusal(lock_reasons(request->tenant->lock), why) : ATH_OK;
}
