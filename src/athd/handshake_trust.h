/* What a client's handshake needs between M2 and M3: trust in a server that is new, and the user's
 * grant for it. */
#ifndef ATHD_HANDSHAKE_TRUST_H
#define ATHD_HANDSHAKE_TRUST_H

#include "athd/handshake_table.h"

/* First contact with an origin: the user is asked, then the server is pinned, then the machine goes
 * on (handshake_step_drive). */
void handshake_need_trust(struct handshake *handshake);
/* The grant: issued now by the user's key, or chosen from the store. */
void handshake_need_grant(struct handshake *handshake);

#endif
