"""Compact JWS with the rules of docs/protocol.md, section 2."""
from .encoding import b64u, b64u_decode, jcs, parse, require
from .keys import PublicKey

FORBIDDEN = ("crit", "b64", "zip", "jku", "x5u", "x5c")


def make(key, typ, claims, with_jwk=False):
    header = {"alg": "ES256", "typ": typ, "kid": key.jkt}
    if with_jwk:
        header["jwk"] = key.jwk
    signed = b64u(jcs(header)) + "." + b64u(jcs(claims))
    return signed + "." + b64u(key.sign(signed.encode()))


def read(token, typ, key=None):
    """Checks everything but the claims' meaning; gives (claims, key). key None: the header's jwk."""
    require(isinstance(token, str) and token.count(".") == 2, "INVALID_CREDENTIAL", "not a JWS")
    head, body, signature = token.split(".")
    header, claims = parse(b64u_decode(head)), parse(b64u_decode(body))
    require(header.get("alg") == "ES256" and header.get("typ") == typ, "INVALID_CREDENTIAL", "header")
    require(not any(name in header for name in FORBIDDEN), "INVALID_CREDENTIAL", "header member")
    key = key or PublicKey.from_jwk(header.get("jwk"))
    require(header.get("kid") == key.jkt, "INVALID_CREDENTIAL", "kid")
    key.verify(f"{head}.{body}".encode(), b64u_decode(signature))
    return claims, key
