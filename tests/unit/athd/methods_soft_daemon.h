/*
 * In the place of the hardware, the prompter and the socket: for tests of the methods. It is linked
 * instead of hsm_pool.c, consent.c, request.c and events.c (its definitions are found before
 * theirs), keeps three key pairs made by OpenSSL, says yes or no as it is told, and holds answers
 * back when a test wants to be in the middle of something.
 */
#ifndef TESTS_SOFT_DAEMON_H
#define TESTS_SOFT_DAEMON_H

#include "athd/dispatch.h"
#include "fixture_stores.h"
#include "hsm/wire/hsm_wire.h"

struct soft_answer {
    bool has_come;
    ath_err err; /* ATH_OK: result */
    struct why why;
    struct json *result; /* owned by the soft daemon until the next call */
    struct json *data;   /* of an error; the same */
};

extern struct soft {
    struct stores stores;
    struct tenant *tenant;
    ath_err consent;            /* what the user says */
    struct scope_list narrowed; /* and to which scopes only; empty: to all */
    ath_err hsm_err;            /* of signatures */
    struct hsm_key_facts facts; /* of the next keys */
    bool is_token;              /* the hsm; its label is "card" */
    char opened[256];           /* the blob that the hardware was last asked to open */
    unsigned forgotten;         /* hsm_pool_key_forget */
    uint64_t wait_ms;           /* hsm_pool_wait_ms */
    bool is_shut;               /* hsm_pool_shut */
    bool hold;                  /* the hardware does not answer until soft_release */
    unsigned questions, signatures;
    char question[16384];     /* the last one's text */
    uint64_t caller;          /* identity of the next calls; 0: the usual one */
    unsigned fail_allocation; /* of the next call's method: this one */
    bool failed;              /* it did */
} soft;

void soft_begin(void);
void soft_end(void);

/* Calls a method with params as JSON text; soft_wait gives its answer. `slot` is 0 or 1: two
 * requests may be under way. */
void soft_send(int slot, enum rpc_method_id method, const char *params);
const struct soft_answer *soft_wait(int slot);
/* Both. */
const struct soft_answer *soft_call(enum rpc_method_id method, const char *params);
/* Must succeed. */
const struct json *soft_ok(enum rpc_method_id method, const char *params);

void soft_cancel(int slot, ath_err err); /* as a caller who goes away does */
void soft_release(void);                 /* the hardware answers what it holds */
void soft_turn(void);                    /* turns the loop without waiting */

/* printf into one of a few static buffers. */
const char *soft_text(const char *fmt, ...) ATH_PRINTF(1, 2);
/* JSON text of a value, likewise. */
const char *soft_json(const struct json *json);

#endif
