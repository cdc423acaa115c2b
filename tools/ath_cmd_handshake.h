/* `ath handshake run`: what carrying (ath_cmd_handshake_run.c) and showing it share. */
#ifndef TOOLS_ATH_CMD_HANDSHAKE_H
#define TOOLS_ATH_CMD_HANDSHAKE_H

#include "ath_cmd.h"

struct party {
    const char *label;
    struct ath_client *client;
    bool shared; /* `client` is another party's */
    struct ath_handshake_step step;
};

struct run {
    struct cmd_context *context;
    struct party client, server, user;
    const char *client_key, *service;
    char *server_key, *user_key; /* names of keys, for people */
    char *server_did;
    char *credential; /* NULL: a stored one */
    struct json_maker steps;
    uint64_t total_us;
    unsigned messages;
};

/* What it took to make a message: in all, and of that in the hardware. */
struct cost {
    uint64_t us, hardware_us;
};

/* A message is about to be carried: it is printed and kept for --json. The cost is shown once: of
 * several messages that one call made, the first has its time, the signed one that of the hardware.
 */
void run_show_message(struct run *run, const char *message, struct cost *cost);
/* What came of it; the exit status. */
int run_finish(struct run *run);

#endif
