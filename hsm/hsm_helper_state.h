/* What the parts of the helper's main thread share (hsm_helper.c, hsm_requests.c, hsm_login.c). */
#ifndef HSM_HSM_HELPER_STATE_H
#define HSM_HSM_HELPER_STATE_H

#include "hsm/hsm_channel.h"
#include "hsm/hsm_dialogues.h"
#include "hsm/hsm_helper.h"
#include "hsm/hsm_key_table.h"
#include "hsm/hsm_overlap.h"
#include "hsm/hsm_pins.h"
#include "hsm/hsm_watchdog.h"
#include "hsm/hsm_workers.h"

struct helper {
    const struct hsm_helper_options *options;
    const struct hsm_ops *ops;
    struct hsm *hsm;      /* NULL: not open yet */
    struct hsm_info info; /* as the back end said last */
    struct hsm_channel channel;
    struct hsm_key_table keys;
    struct hsm_fault fault; /* of the request at hand */
    uint32_t info_id;       /* of the first INFO */

    struct hsm_overlap overlap;  /* signatures one at a time, or */
    struct hsm_workers *workers; /* several at once (NULL: not started) */

    /* where there are PINs: */
    struct hsm_dialogues dialogues;
    int wake_fd; /* eventfd(2): workers or dialogues have something for us; -1: none ever have */

    /* of tokens: */
    struct hsm_pins pins;
    struct hsm_watchdog *watchdog;
    bool is_lost;    /* the token is not there, we look for it */
    struct why told; /* why it is not, as athd was told last */
    unsigned looked;
    uint64_t look_at_ms;
    uint64_t check_at_ms; /* whether it is still there */
};

/* Is this a token: may be taken out, wants PINs, has sessions? */
bool helper_is_token(const struct helper *helper);

/* Answers with helper->fault. What the answer points to need not outlive this. */
ath_err helper_respond(struct helper *helper, struct hsm_response *response) ATH_MUST_USE;

/* Waits until no signature is in flight or unsent, so that the back end may be called. */
ath_err helper_settle(struct helper *helper) ATH_MUST_USE;

/* ---- hsm_requests.c: one request each, answered. Errors: no answer could be sent. ---- */
ath_err helper_on_key_create(struct helper *helper, const struct hsm_request *request,
                             struct hsm_response *response) ATH_MUST_USE;
/* The answer to KEY_CREATE: the new key is opened once, where there is one (response->err); that
 * proves its blob and gives its public half. */
ath_err helper_respond_new_key(struct helper *helper, const struct ath_buf *blob,
                               struct hsm_response *response) ATH_MUST_USE;
ath_err helper_on_key_open(struct helper *helper, const struct hsm_request *request,
                           struct hsm_response *response) ATH_MUST_USE;
ath_err helper_on_key_close(struct helper *helper, const struct hsm_request *request,
                            struct hsm_response *response) ATH_MUST_USE;
ath_err helper_on_key_delete(struct helper *helper, const struct hsm_request *request,
                             struct hsm_response *response) ATH_MUST_USE;
ath_err helper_on_random(struct helper *helper, const struct hsm_request *request,
                         struct hsm_response *response) ATH_MUST_USE;
ath_err helper_on_counter(struct helper *helper, const struct hsm_request *request,
                          struct hsm_response *response) ATH_MUST_USE;

/* ---- hsm_login.c: what PINs are needed for. Answered now, or when the PIN is there. ---- */
ath_err helper_on_login(struct helper *helper, const struct hsm_request *request,
                        struct hsm_response *response) ATH_MUST_USE;
ath_err helper_on_logout(struct helper *helper, const struct hsm_request *request,
                         struct hsm_response *response) ATH_MUST_USE;
ath_err helper_on_sign(struct helper *helper, const struct hsm_request *request,
                       struct hsm_response *response) ATH_MUST_USE;
/* Dialogues that are over, signatures whose PIN was wrong. */
ath_err helper_on_wake(struct helper *helper) ATH_MUST_USE;

/* Opens the question; the request is answered when it is over, or now if it cannot be asked. `key`:
 * whose use is asked for, or NULL. */
ath_err helper_ask_person(struct helper *helper, const struct hsm_request *request,
                          const struct public_key *key, struct hsm_response *response) ATH_MUST_USE;
/* The key that was meant; NULL: it may have been closed since, and its number given to another one.
 */
struct hsm_key *helper_find_asked_key(const struct helper *helper,
                                      const struct hsm_dialogue *dialogue);

/* ---- hsm_key_pin.c: PINs of keys ---- */
ath_err helper_on_key_login(struct helper *helper, const struct hsm_request *request,
                            struct hsm_response *response) ATH_MUST_USE;
void helper_key_logout(struct helper *helper, uint32_t number); /* 0: of all */
/* KEY_CREATE with a PIN. */
ath_err helper_ask_new_pin(struct helper *helper, const struct hsm_request *request,
                           struct hsm_response *response) ATH_MUST_USE;
/* A person has entered the PIN of a LOGIN, or a new one; the back end may be called. */
ath_err helper_login_after_dialogue(struct helper *helper, const struct hsm_dialogue *dialogue,
                                    struct hsm_response *response) ATH_MUST_USE;
ath_err helper_create_after_dialogue(struct helper *helper, const struct hsm_dialogue *dialogue,
                                     struct hsm_response *response) ATH_MUST_USE;

/* Takes the connection that lies ready for a request that will not need it. */
void helper_drop_prompter(struct helper *helper, const struct hsm_request *request);

#endif
