/* What libath's own files share: calls whose params and results are trees instead of texts. */
#ifndef CLIENT_CLIENT_PRIVATE_H
#define CLIENT_CLIENT_PRIVATE_H

#include "ath/client.h"
#include "base/json.h"
#include "client/connection.h"
#include "client/kept_messages.h"
#include "rpc/jsonrpc.h"

struct ath_client {
    struct connection connection;
    int timeout_ms;
    int64_t last_id;
    struct kept_messages answers, events;

    /* the last call's error */
    ath_err err;
    int code;
    char *reason, *message, *data; /* NULL: what ath_err says, none */
};

/* ---- client_error.c ---- */

void client_forget_error(struct ath_client *client);
/* Records what came with an error; where memory is short the ath_err's own words stand in. */
void client_set_error(struct ath_client *client, ath_err err, int code, const char *message,
                      const struct json *data);
/* Records an error of our own and returns it. cause and message may be NULL. */
ath_err client_fail(struct ath_client *client, ath_err err, const char *cause, const char *message);

/* ---- client_exchange.c: every failure is recorded ---- */

/* What a caller waits for. */
struct wanted {
    bool event; /* else an answer: */
    int64_t id; /* to this call; 0: to any */
};

uint64_t client_deadline(const struct ath_client *client); /* of a call that begins now */
void client_disconnect(struct ath_client *client);
/* Records why and closes: what may still come belongs to nobody. */
ath_err client_fail_transport(struct ath_client *client, ath_err err,
                              const struct connection_failure *failure);
/* The call's number is client->last_id then. params NULL: {}. */
ath_err client_send(struct ath_client *client, const char *method, const struct json *params,
                    uint64_t deadline_ms) ATH_MUST_USE;
/* What was not wanted is kept. */
ath_err client_next_message(struct ath_client *client, const struct wanted *wanted,
                            uint64_t deadline_ms, struct json **ret_message) ATH_MUST_USE;
/* Keeps what has come, without waiting. */
ath_err client_take_in(struct ath_client *client) ATH_MUST_USE;
/* Takes message. An error answer is returned and recorded; *ret_id is set then too (0: none). */
ath_err client_open_answer(struct ath_client *client, struct json *message, int64_t *ret_id,
                           struct json **ret_result) ATH_MUST_USE;
/* Sends and waits. ret_result may be NULL. */
ath_err client_call_tree(struct ath_client *client, const char *method, const struct json *params,
                         struct json **ret_result) ATH_MUST_USE;
/* The same, with params that this ends, also on failure. */
ath_err client_call(struct ath_client *client, const char *method, struct json_maker *params,
                    struct json **ret_result) ATH_MUST_USE;

/* ---- client.c ---- */

/* A string member of a result on the heap. ATH_ERR_INTERNAL where athd's answer has none. */
ath_err client_take_string(struct ath_client *client, const struct json *result, const char *name,
                           char **ret_text) ATH_MUST_USE;

/* The tree as text on the heap; NULL when out of memory. */
char *client_json_text(const struct json *json);

#endif
