"""Byte and text forms of docs/protocol.md, section 1."""
import base64
import json
import re


class Refused(Exception):
    """A peer's message that must not be accepted; `reason` is what programs switch on."""

    def __init__(self, reason, sentence=""):
        super().__init__(f"{reason}: {sentence}" if sentence else reason)
        self.reason = reason


def require(condition, reason, sentence=""):
    if not condition:
        raise Refused(reason, sentence)


# ---- base64url without padding: every byte string has exactly one form -------------------------
def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64u_decode(text):
    require(isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9_-]*", text) and len(text) % 4 != 1,
            "INVALID_MESSAGE", "not base64url")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    require(b64u(data) == text, "INVALID_MESSAGE", "unused bits are not zero")
    return data


# ---- strict JSON -------------------------------------------------------------------------------
MAX_BYTES, MAX_DEPTH, MAX_MEMBERS, MAX_NUMBER = 65536, 16, 1024, 2**53 - 1


def _pairs(pairs):
    names = [name for name, _ in pairs]
    require(len(set(names)) == len(names), "INVALID_MESSAGE", "a name twice")
    require(len(names) <= MAX_MEMBERS, "INVALID_MESSAGE", "too many members")
    return dict(pairs)


def _integer(text):
    require(text != "-0" and abs(int(text)) <= MAX_NUMBER, "INVALID_MESSAGE", "number")
    return int(text)


def _no_number(_text):
    raise Refused("INVALID_MESSAGE", "not an integer")


def _check(value, depth):
    if isinstance(value, str):
        require("\0" not in value and not re.search("[\ud800-\udfff]", value),
                "INVALID_MESSAGE", "U+0000 or a lone surrogate")
    elif isinstance(value, dict):
        require(depth <= MAX_DEPTH, "INVALID_MESSAGE", "too deep")
        for name, member in value.items():
            _check(name, depth)
            _check(member, depth + 1)
    elif isinstance(value, list):
        require(depth <= MAX_DEPTH, "INVALID_MESSAGE", "too deep")
        for member in value:
            _check(member, depth + 1)


def parse(text):
    """One JSON object from bytes or text, as strict as section 1 demands."""
    data = text.encode() if isinstance(text, str) else text
    require(len(data) <= MAX_BYTES, "INVALID_MESSAGE", "too long")
    try:
        value = json.loads(data.decode("utf-8", "strict"), object_pairs_hook=_pairs,
                           parse_int=_integer, parse_float=_no_number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused("INVALID_MESSAGE", str(error)) from None
    require(isinstance(value, dict), "INVALID_MESSAGE", "not an object")
    _check(value, 1)
    return value


# ---- RFC 8785 ----------------------------------------------------------------------------------
def jcs(value):
    """Canonical JSON as bytes. Our messages hold no number but integers below 2^53."""
    def write(item):
        if isinstance(item, dict):
            names = sorted(item, key=lambda name: name.encode("utf-16-be"))
            return "{" + ",".join(write(name) + ":" + write(item[name]) for name in names) + "}"
        if isinstance(item, list):
            return "[" + ",".join(write(member) for member in item) + "]"
        if isinstance(item, float):
            raise TypeError("no fractions in ATH-TB1")
        return json.dumps(item, ensure_ascii=False)
    return write(value).encode()
