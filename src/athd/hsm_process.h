/* One life of one ath-hsm-helper: the process, its two socketpairs (frames; descriptors
 * for it), frames out and in. It knows nothing
 * of jobs. */
#ifndef ATHD_HSM_PROCESS_H
#define ATHD_HSM_PROCESS_H

#include <uv.h>

#include "hsm/wire/hsm_wire.h"

struct hsm_process;

struct hsm_process_params {
    const char *program; /* path of ath-hsm-helper */
    const char *uri;
    const char *state_dir;
    const char *log_level;
    /* A whole response; slices are valid during the call. */
    void (*on_response)(void *ctx, const struct hsm_response *response);
    /* It is gone, process and connection; it has been freed. Once, whatever happened. */
    void (*on_gone)(void *ctx);
    void *ctx;
};

/* ATH_ERR_NOMEM, ATH_ERR_IO: there is none, and on_gone will not be called. */
ath_err hsm_process_start(uv_loop_t *loop, const struct hsm_process_params *params,
                          struct hsm_process **ret_process) ATH_MUST_USE;

/* Sends the request; hsm_process_queue: with the next, or at hsm_process_flush, for one wake-up of
 * the helper. What cannot be sent kills the process (on_gone follows). */
void hsm_process_send(struct hsm_process *process, const struct hsm_request *request);
void hsm_process_queue(struct hsm_process *process, const struct hsm_request *request);
void hsm_process_flush(struct hsm_process *process);

/* Passes fd (stays the caller's) for the request with this id, which is to be sent next.
 * ATH_ERR_IO: it does not take it. */
ath_err hsm_process_send_fd(struct hsm_process *process, uint32_t id, int fd) ATH_MUST_USE;

/* End of file: the helper ends cleanly, if it can. No more responses come. */
void hsm_process_end(struct hsm_process *process);
void hsm_process_kill(struct hsm_process *process);

#endif
