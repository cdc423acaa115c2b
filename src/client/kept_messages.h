/* Answers and events that came while something else was waited for, oldest first. */
#ifndef CLIENT_KEPT_MESSAGES_H
#define CLIENT_KEPT_MESSAGES_H

#include "base/json.h"

/* Zero-initialise, end with kept_drop. */
struct kept_messages {
    struct kept_message *first;
    size_t count;
};

/* Takes message, on failure too. ATH_ERR_NOMEM. */
ath_err kept_add(struct kept_messages *kept, struct json *message) ATH_MUST_USE;
struct json *kept_take(struct kept_messages *kept); /* the oldest, the caller's now; NULL: none */
void kept_drop(struct kept_messages *kept);

#endif
