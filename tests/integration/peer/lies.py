"""What the fault module can be told to lie about, and every code it can be told to return."""
import re

HEADER = "/usr/include/p11-kit-1/p11-kit/pkcs11.h"


def codes():
    """Every CKR_ that the standard has, name to number; CKR_OK is none."""
    with open(HEADER, encoding="utf-8") as file:
        found = re.findall(r"^#define (CKR_\w+)\s+\(\(?(?:CK_RV\))?\(?(0x[0-9a-f]+|\d+)UL", file.read(),
                           re.MULTILINE | re.IGNORECASE)
    return {name: int(number, 0) for name, number in found if name not in ("CKR_OK",)}


# Attributes: 0x181 CKA_EC_POINT, 0x180 CKA_EC_PARAMS, 0x102 CKA_ID, 0x3 CKA_LABEL, 0x100 CKA_KEY_TYPE,
# 0x103 CKA_SENSITIVE, 0x162 CKA_EXTRACTABLE, 0x202 CKA_ALWAYS_AUTHENTICATE, ...
LIES = [
    *(f"C_Sign length {n}" for n in (0, 1, 63, 65, 70, 96, 132, 1000, 1 << 31, -1)), "C_Sign der", "C_Sign flip",
    "C_Sign zero",
    *(f"C_GetAttributeValue length {a} {n}" for a in ("0x181", "0x180", "0x102", "0x3", "0x162", "0x103", "0x100",
                                                       "0x165", "0x164", "0x163", "0x202", "0x0")
      for n in (0, 1, 1 << 16, 1 << 31, -1)),
    *(f"C_GetAttributeValue missing {a}" for a in ("0x181", "0x180", "0x102", "0x162", "0x103", "0x100", "0x202")),
    *(f"C_GetAttributeValue value 0x181 {v}" for v in ("-", "04", "0441", "0441" + "00" * 65, "0441" + "04" + "00" * 64,
                                                        "04" + "ab" * 64, "0461" + "04" + "11" * 96, "04ff" + "04" * 200,
                                                        "048200410441" * 4, "0580", "ff" * 200)),
    *(f"C_GetAttributeValue value 0x180 {v}" for v in ("-", "06", "0608", "06082a8648ce3d0301ff", "06052b8104000a",
                                                        "3082" + "ff" * 40, "130c656477617264733235353139", "ff" * 300)),
    "C_GetAttributeValue value 0x100 ff", "C_GetAttributeValue value 0x103 02", "C_GetAttributeValue value 0x202 01",
    "C_GetAttributeValue value 0x102 " + "aa" * 255, "C_GetAttributeValue value 0x3 " + "0a1b" * 120,
    *(f"C_FindObjects {lie}" for lie in ("count 0", "count 1000", "count -1", "flood", "zero")),
    *(f"C_GetSlotList count {n}" for n in (0, 1000, 1 << 40, -1)),
    *(f"C_GetMechanismList count {n}" for n in (0, 1, 100000, 1 << 40, -1)),
    "C_GetTokenInfo label " + "41" * 32, "C_GetTokenInfo label " + "0a1b5b324a" * 6, "C_GetTokenInfo label " + "ff" * 32,
    "C_GetTokenInfo serial " + "00" * 16, "C_GetTokenInfo manufacturer " + "0d0a" * 16,
    "C_GetTokenInfo model " + "22" * 16, "C_GetTokenInfo flags 0xffffffff", "C_GetTokenInfo flags 0 0xffffffff",
    "C_GetTokenInfo sessions 1", "C_GetTokenInfo sessions 0", "C_GetTokenInfo sessions -1",
    "C_GetSessionInfo state 0", "C_GetSessionInfo state 99", "C_OpenSession zero",
    "C_GetFunctionList null", "C_GetFunctionList version 0", "C_GetFunctionList version 9",
    *(f"C_GetFunctionList hole {function}" for function in ("C_Initialize", "C_GetSlotList", "C_OpenSession", "C_Sign",
                                                             "C_Login", "C_GetAttributeValue", "C_GenerateKeyPair",
                                                             "C_WaitForSlotEvent", "C_GenerateRandom")),
]
