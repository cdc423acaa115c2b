/* events.subscribe: notifications `event` {topic, ...} to the connections that asked for a topic.
 */
#ifndef ATHD_EVENTS_H
#define ATHD_EVENTS_H

#include "base/json.h"

struct athd;
struct request;
struct tenant;

enum event_topic {
    EVENT_CONSENT,
    EVENT_HSM,
    EVENT_KEY,
    EVENT_AUDIT,
    EVENT_LOCK,
    EVENT_TOPIC_COUNT
};

const char *event_topic_name(enum event_topic topic);
/* Has anybody asked for the topic since athd started? Where nobody has, an event need not be made.
 */
bool events_wanted(const struct athd *athd, enum event_topic topic);
/* Ends the maker; `topic` is put by this. To everybody who asked at an owner's socket; to those of a
 * tenant; of what a request brings about, also to those at the grant's socket that it came through.
 * A connection that does not read loses the event, not its answers. */
void events_publish(struct athd *athd, enum event_topic topic, struct json_maker *event);
void events_publish_to(struct tenant *tenant, enum event_topic topic, struct json_maker *event);
void events_publish_of(const struct request *request, enum event_topic topic,
                       struct json_maker *event);

#endif
