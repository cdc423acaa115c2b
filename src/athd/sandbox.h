/*
 * What athd gives up once it has started: it opens no network socket (docs/architecture.md,
 * decision 5), looks into no other process, changes no mount, module, clock or key ring, and gains
 * no privileges by exec. Helpers and prompters inherit this, so nothing they need is among it.
 */
#ifndef ATHD_SANDBOX_H
#define ATHD_SANDBOX_H

#include "athd/config.h"

/* For the whole process and all its children, for good. Network sockets stay possible where a
 * configured hsm may be reached over one (tpm:tcti= with another TCTI than device, pkcs11:): then
 * it is athd's helper that needs them. ATH_ERR_IO with why: the kernel does not have seccomp
 * filters. */
ath_err sandbox_enter(const struct config *config, struct why *why) ATH_MUST_USE;

/* May this hsm be reached over the network? */
bool sandbox_uri_needs_network(const char *uri);

#endif
