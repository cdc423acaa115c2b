#include "athd/events.h"

#include "athd/athd.h"
#include "athd/listener.h"
#include "rpc/jsonrpc.h"

#define EVENT_MAX_LEN 65536u

static const char *const names[EVENT_TOPIC_COUNT] = {
    [EVENT_CONSENT] = "consent",
    [EVENT_HSM] = "hsm",
    [EVENT_KEY] = "key",
    [EVENT_AUDIT] = "audit",
    [EVENT_LOCK] = "lock",
};

const char *
event_topic_name(enum event_topic topic)
{
    return names[topic];
}

bool
events_wanted(const struct athd *athd, enum event_topic topic)
{
    return (athd->topics_wanted & 1u << topic) != 0;
}

static void
publish(struct athd *athd, const struct listener_audience *audience, enum event_topic topic,
        struct json_maker *event)
{
    struct ath_buf line = {.max = EVENT_MAX_LEN};
    struct json *params = NULL;

    json_put_string(event, "topic", names[topic]);
    if (json_maker_end(event, &params) != ATH_OK) {
        log_warning("event=event-lost topic=%s reason=out-of-memory", names[topic]);
        return;
    }
    rpc_put_notification(&line, "event", params);
    ath_buf_put_byte(&line, '\n');
    if (line.err == ATH_OK && athd->listener != NULL)
        listener_publish(athd->listener, audience, 1u << topic, ath_buf_slice(&line));
    ath_buf_done(&line);
    json_free(params);
}

void
events_publish(struct athd *athd, enum event_topic topic, struct json_maker *event)
{
    publish(athd, &(struct listener_audience){.tenant = NULL}, topic, event);
}

void
events_publish_to(struct tenant *tenant, enum event_topic topic, struct json_maker *event)
{
    publish(tenant->athd, &(struct listener_audience){.tenant = tenant}, topic, event);
}

void
events_publish_of(const struct request *request, enum event_topic topic, struct json_maker *event)
{
    const struct listener_audience audience = {request->tenant, request->caller->through};

    publish(request->athd, &audience, topic, event);
}
