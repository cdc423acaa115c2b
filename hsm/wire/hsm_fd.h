/*
 * Descriptors from athd to its helper: the helper's standard output is a SOCK_SEQPACKET socket on
 * which athd passes, before the request that says HSM_PIN_PROMPTER, one connection to a prompter
 * (SCM_RIGHTS), in a packet that holds the request's id (u32, big-endian).
 */
#ifndef HSM_WIRE_HSM_FD_H
#define HSM_WIRE_HSM_FD_H

#include "base/buf.h"

/* Passes fd, which stays the caller's; never waits. ATH_ERR_IO: the other end is gone, or takes no
 * more now. */
ath_err hsm_fd_send(int socket_fd, uint32_t id, int fd) ATH_MUST_USE;

/* The descriptor for request `id`, close-on-exec, the caller's to close; never waits, for it was
 * sent before the request. ATH_ERR_PARSE: what lies there is something else (it is closed);
 * ATH_ERR_IO. */
ath_err hsm_fd_receive(int socket_fd, uint32_t id, int *ret_fd) ATH_MUST_USE;

#endif
