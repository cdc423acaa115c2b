/* What any function of the fault module may do wrong, before the real one is called. */
#ifndef MODULES_FAULT_ANY_H
#define MODULES_FAULT_ANY_H

#include <p11-kit/pkcs11.h>

#include "fault_rules.h"

/* The module behind this one: the path in the file `module`, else SoftHSM. NULL: it cannot be had.
 */
CK_FUNCTION_LIST *fault_real(void);

/*
 * Begins a call. true: the function is to return *ret_rv at once. Actions:
 *   slow MS                 that much later
 *   hang                    never returns
 *   wait                    returns once the rule is gone
 *   crash segv|abort|kill|exit
 *   print stdout|stderr     a line of noise
 *   close FD                closes a descriptor that is not its own
 *   signals                 takes over SIGSEGV, SIGTERM, SIGPIPE and SIGCHLD
 *   thread                  leaves a thread behind
 *   forget                  all sessions of the token are gone
 *   logout                  whoever was logged in is not any more
 *   return CODE
 *   token away [CODE]       nobody is in the slot; a session's functions return CODE, or
 *                           CKR_DEVICE_REMOVED
 * session: 0 where the function has none.
 */
bool fault_begin(struct fault_call *call, const char *function, int number,
                 CK_SESSION_HANDLE session, CK_RV *ret_rv);

/* Around a real call that names a session: SoftHSM takes no care of a session that ends while
 * another thread signs with it, and `forget` and `token away` end them. */
void fault_hold_sessions(void);
void fault_release_sessions(void);

/* token slots N: slot ids are N higher than the real module's. */
CK_SLOT_ID fault_slot_shift(struct fault_call *call);

#endif
