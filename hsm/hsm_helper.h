/* The helper's main loop: requests of hsm_wire.h from one descriptor, carried out by one back end.
 */
#ifndef HSM_HSM_HELPER_H
#define HSM_HSM_HELPER_H

#include "hsm/hsm.h"

struct hsm_helper_options {
    const char *uri;
    const char *state_dir;                 /* absolute */
    const struct hsm_ops *const *backends; /* NULL ends */
    int fd;                                /* the socket to athd */
    int prompter_fd; /* the socket over which athd passes prompters' connections (hsm_fd.h) */
    bool sandbox;
    /* A token whose module does not come back this long after the other end has closed ends the
     * process; 0: never. */
    unsigned hang_limit_ms;
};

/* NULL: no back end takes this URI. */
const struct hsm_ops *hsm_helper_backend(const struct hsm_ops *const *backends, const char *uri);

/*
 * Serves until the other end closes (ATH_OK, everything closed cleanly), or the hardware is gone
 * (ATH_ERR_HSM_UNAVAILABLE, after that answer was sent). ATH_ERR_PARSE, ATH_ERR_LIMIT_EXCEEDED: the
 * other end is not ours. ATH_ERR_NOMEM, ATH_ERR_IO.
 *
 * Hardware that makes one signature at a time (sign_begin): requests are carried out in the order
 * they come; a signature is verified with the public key before it is sent, while the hardware
 * works on the next one; a question to a person
 * holds nobody up. A token (sign_with): signatures are made and verified by a thread a
 * session, in any order; everything else when none is in flight, but that a question to a person
 * holds nobody up. A token that is not there is waited for, and one that is taken out while nobody
 * asks for anything is noticed.
 */
ath_err hsm_helper_run(const struct hsm_helper_options *options) ATH_MUST_USE;

#endif
