/* How the fault module's token looks and judges PINs. */
#ifndef MODULES_FAULT_TOKEN_H
#define MODULES_FAULT_TOKEN_H

#include <p11-kit/pkcs11.h>

#include "fault_rules.h"

/*
 * Lies about the token:
 *   C_GetTokenInfo flags SET [CLEAR]
 *   C_GetTokenInfo label|manufacturer|model|serial HEX   these bytes and nothing after them (NULs)
 *   C_GetTokenInfo sessions N                            ulMaxSessionCount
 *   token tries N        N wrong PINs in a row lock it, which its flags show
 *   token pad            the PIN is typed at the reader
 */
void fault_token_info(struct fault_call *call, CK_TOKEN_INFO *info);

/* The real C_Login, behind what `token tries` and `token pad` say. What is typed at the pad is in
 * the file `pad`; without it the user pressed cancel. */
CK_RV fault_token_login(struct fault_call *call, CK_SESSION_HANDLE session, CK_USER_TYPE user,
                        CK_BYTE_PTR pin, CK_ULONG pin_len);

/* Appends the line to `logins`. */
void fault_token_note_login(CK_USER_TYPE user, CK_RV rv);

#endif
