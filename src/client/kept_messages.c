#include "client/kept_messages.h"

#include <stdlib.h>

struct kept_message {
    struct kept_message *next;
    struct json *message;
};

ath_err
kept_add(struct kept_messages *kept, struct json *message)
{
    struct kept_message **end = &kept->first;
    struct kept_message *entry = malloc(sizeof(*entry));

    if (entry == NULL) {
        json_free(message);
        return ATH_ERR_NOMEM;
    }
    *entry = (struct kept_message){NULL, message};
    while (*end != NULL)
        end = &(*end)->next;
    *end = entry;
    kept->count++;
    return ATH_OK;
}

struct json *
kept_take(struct kept_messages *kept)
{
    struct kept_message *entry = kept->first;
    struct json *message;

    if (entry == NULL)
        return NULL;
    message = entry->message;
    kept->first = entry->next;
    kept->count--;
    free(entry);
    return message;
}

void
kept_drop(struct kept_messages *kept)
{
    while (kept->first != NULL)
        json_free(kept_take(kept));
}
