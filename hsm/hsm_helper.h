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
    bool sandbox;
};

/* NULL: no back end takes this URI. */
const struct hsm_ops *hsm_helper_backend(const struct hsm_ops *const *backends, const char *uri);

/*
 * Serves until the other end closes (ATH_OK, everything closed cleanly), or the hardware is gone
 * (ATH_ERR_HSM_UNAVAILABLE, after that answer was sent). ATH_ERR_PARSE, ATH_ERR_LIMIT_EXCEEDED: the
 * other end is not ours.
 *
 * Requests are carried out in the order they come. A signature is verified with the public key
 * before it is sent, while the hardware works on the next one.
 */
ath_err hsm_helper_run(const struct hsm_helper_options *options) ATH_MUST_USE;

#endif
