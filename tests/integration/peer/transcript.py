"""What is signed: docs/protocol.md, section 4."""
import os
import re
import time

from .encoding import b64u, jcs, require
from .keys import sha256, verify_text

T0 = sha256(b"ATH-TB1")
LEEWAY = 300


def add(transcript, message):
    """T(n) = H(T(n-1) || H(JCS(Mn)))"""
    return sha256(transcript, sha256(jcs(message)))


def without(message, *path):
    """A copy of the message without the one member that `path` leads to."""
    if len(path) == 1:
        return {name: value for name, value in message.items() if name != path[0]}
    return {**message, path[0]: without(message[path[0]], *path[1:])}


def string(label, transcript, unsigned):
    return f"ATH-TB1 {label} {b64u(transcript)} {b64u(sha256(jcs(unsigned)))}".encode()


def sign(key, label, transcript, unsigned):
    return b64u(key.sign(string(label, transcript, unsigned)))


def verify(key, label, transcript, message, *path):
    signature = message
    for name in path:
        require(isinstance(signature, dict) and name in signature, "INVALID_MESSAGE", f"no {name}")
        signature = signature[name]
    verify_text(key, string(label, transcript, without(message, *path)), signature,
                label in ("server-identity", "confirmation-request"))


# ---- members that many messages have -----------------------------------------------------------
def now():
    return int(time.time())


def random_id(size=16):
    return b64u(os.urandom(size))


def check_message(message, kind, timestamp_too=True):
    require(isinstance(message, dict), "INVALID_MESSAGE", "not an object")
    require(message.get("type") == kind, "UNEXPECTED_MESSAGE", f"{message.get('type')}, not {kind}")
    stamp = message.get("timestamp")
    require(type(stamp) is int, "INVALID_MESSAGE", "timestamp")
    require(not timestamp_too or abs(stamp - now()) <= LEEWAY, "TIMESTAMP_SKEW")


def check_nonce(nonce):
    require(isinstance(nonce, str) and re.fullmatch(r"[A-Za-z0-9_-]{22,128}", nonce), "INVALID_NONCE")


def check_scopes(scopes, least=1):
    require(isinstance(scopes, list) and least <= len(scopes) <= 64 and
            all(isinstance(s, str) and re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}", s)
                for s in scopes) and len(set(scopes)) == len(scopes), "INVALID_MESSAGE", "scopes")
