/*
 * Every function of Cryptoki 2.40 once, in the order in which their calls are counted (peer/faults.py
 * reads the names here). SESSION and PLAIN are handed on as they are, but for the faults that any
 * function can have; those under OWN have lies of their own (fault_module.c).
 */
#ifndef MODULES_FAULT_FUNCTIONS_H
#define MODULES_FAULT_FUNCTIONS_H

#define S CK_SESSION_HANDLE session
#define U8 CK_BYTE_PTR
#define LEN CK_ULONG
#define RET_LEN CK_ULONG_PTR
#define MECHANISM CK_MECHANISM_PTR
#define ATTRIBUTES CK_ATTRIBUTE_PTR
#define OBJECT CK_OBJECT_HANDLE
#define RET_OBJECT CK_OBJECT_HANDLE_PTR

/* clang-format off */
#define FAULT_FUNCTIONS(PLAIN, SESSION, OWN) \
    PLAIN(C_Initialize, (void *a), (a)) \
    PLAIN(C_Finalize, (void *a), (a)) \
    PLAIN(C_GetInfo, (CK_INFO_PTR a), (a)) \
    OWN(C_GetFunctionList, 0, 0) \
    OWN(C_GetSlotList, 0, 0) \
    OWN(C_GetSlotInfo, 0, 0) \
    OWN(C_GetTokenInfo, 0, 0) \
    OWN(C_GetMechanismList, 0, 0) \
    OWN(C_GetMechanismInfo, 0, 0) \
    OWN(C_InitToken, 0, 0) \
    SESSION(C_InitPIN, (S, U8 a, LEN b), (session, a, b)) \
    SESSION(C_SetPIN, (S, U8 a, LEN b, U8 c, LEN d), (session, a, b, c, d)) \
    OWN(C_OpenSession, 0, 0) \
    SESSION(C_CloseSession, (S), (session)) \
    OWN(C_CloseAllSessions, 0, 0) \
    OWN(C_GetSessionInfo, 0, 0) \
    SESSION(C_GetOperationState, (S, U8 a, RET_LEN b), (session, a, b)) \
    SESSION(C_SetOperationState, (S, U8 a, LEN b, OBJECT c, OBJECT d), (session, a, b, c, d)) \
    OWN(C_Login, 0, 0) \
    SESSION(C_Logout, (S), (session)) \
    SESSION(C_CreateObject, (S, ATTRIBUTES a, LEN b, RET_OBJECT c), (session, a, b, c)) \
    SESSION(C_CopyObject, (S, OBJECT a, ATTRIBUTES b, LEN c, RET_OBJECT d), (session, a, b, c, d)) \
    SESSION(C_DestroyObject, (S, OBJECT a), (session, a)) \
    SESSION(C_GetObjectSize, (S, OBJECT a, RET_LEN b), (session, a, b)) \
    OWN(C_GetAttributeValue, 0, 0) \
    SESSION(C_SetAttributeValue, (S, OBJECT a, ATTRIBUTES b, LEN c), (session, a, b, c)) \
    SESSION(C_FindObjectsInit, (S, ATTRIBUTES a, LEN b), (session, a, b)) \
    OWN(C_FindObjects, 0, 0) \
    SESSION(C_FindObjectsFinal, (S), (session)) \
    SESSION(C_EncryptInit, (S, MECHANISM a, OBJECT b), (session, a, b)) \
    SESSION(C_Encrypt, (S, U8 a, LEN b, U8 c, RET_LEN d), (session, a, b, c, d)) \
    SESSION(C_EncryptUpdate, (S, U8 a, LEN b, U8 c, RET_LEN d), (session, a, b, c, d)) \
    SESSION(C_EncryptFinal, (S, U8 a, RET_LEN b), (session, a, b)) \
    SESSION(C_DecryptInit, (S, MECHANISM a, OBJECT b), (session, a, b)) \
    SESSION(C_Decrypt, (S, U8 a, LEN b, U8 c, RET_LEN d), (session, a, b, c, d)) \
    SESSION(C_DecryptUpdate, (S, U8 a, LEN b, U8 c, RET_LEN d), (session, a, b, c, d)) \
    SESSION(C_DecryptFinal, (S, U8 a, RET_LEN b), (session, a, b)) \
    SESSION(C_DigestInit, (S, MECHANISM a), (session, a)) \
    SESSION(C_Digest, (S, U8 a, LEN b, U8 c, RET_LEN d), (session, a, b, c, d)) \
    SESSION(C_DigestUpdate, (S, U8 a, LEN b), (session, a, b)) \
    SESSION(C_DigestKey, (S, OBJECT a), (session, a)) \
    SESSION(C_DigestFinal, (S, U8 a, RET_LEN b), (session, a, b)) \
    SESSION(C_SignInit, (S, MECHANISM a, OBJECT b), (session, a, b)) \
    OWN(C_Sign, 0, 0) \
    SESSION(C_SignUpdate, (S, U8 a, LEN b), (session, a, b)) \
    SESSION(C_SignFinal, (S, U8 a, RET_LEN b), (session, a, b)) \
    SESSION(C_SignRecoverInit, (S, MECHANISM a, OBJECT b), (session, a, b)) \
    SESSION(C_SignRecover, (S, U8 a, LEN b, U8 c, RET_LEN d), (session, a, b, c, d)) \
    SESSION(C_VerifyInit, (S, MECHANISM a, OBJECT b), (session, a, b)) \
    SESSION(C_Verify, (S, U8 a, LEN b, U8 c, LEN d), (session, a, b, c, d)) \
    SESSION(C_VerifyUpdate, (S, U8 a, LEN b), (session, a, b)) \
    SESSION(C_VerifyFinal, (S, U8 a, LEN b), (session, a, b)) \
    SESSION(C_VerifyRecoverInit, (S, MECHANISM a, OBJECT b), (session, a, b)) \
    SESSION(C_VerifyRecover, (S, U8 a, LEN b, U8 c, RET_LEN d), (session, a, b, c, d)) \
    SESSION(C_DigestEncryptUpdate, (S, U8 a, LEN b, U8 c, RET_LEN d), (session, a, b, c, d)) \
    SESSION(C_DecryptDigestUpdate, (S, U8 a, LEN b, U8 c, RET_LEN d), (session, a, b, c, d)) \
    SESSION(C_SignEncryptUpdate, (S, U8 a, LEN b, U8 c, RET_LEN d), (session, a, b, c, d)) \
    SESSION(C_DecryptVerifyUpdate, (S, U8 a, LEN b, U8 c, RET_LEN d), (session, a, b, c, d)) \
    SESSION(C_GenerateKey, (S, MECHANISM a, ATTRIBUTES b, LEN c, RET_OBJECT d), (session, a, b, c, d)) \
    SESSION(C_GenerateKeyPair, (S, MECHANISM a, ATTRIBUTES b, LEN c, ATTRIBUTES d, LEN e, RET_OBJECT f, \
                                RET_OBJECT g), (session, a, b, c, d, e, f, g)) \
    SESSION(C_WrapKey, (S, MECHANISM a, OBJECT b, OBJECT c, U8 d, RET_LEN e), (session, a, b, c, d, e)) \
    SESSION(C_UnwrapKey, (S, MECHANISM a, OBJECT b, U8 c, LEN d, ATTRIBUTES e, LEN f, RET_OBJECT g), \
            (session, a, b, c, d, e, f, g)) \
    SESSION(C_DeriveKey, (S, MECHANISM a, OBJECT b, ATTRIBUTES c, LEN d, RET_OBJECT e), \
            (session, a, b, c, d, e)) \
    SESSION(C_SeedRandom, (S, U8 a, LEN b), (session, a, b)) \
    SESSION(C_GenerateRandom, (S, U8 a, LEN b), (session, a, b)) \
    SESSION(C_GetFunctionStatus, (S), (session)) \
    SESSION(C_CancelFunction, (S), (session)) \
    PLAIN(C_WaitForSlotEvent, (CK_FLAGS a, CK_SLOT_ID_PTR b, void *c), (a, b, c))
/* clang-format on */

#endif
