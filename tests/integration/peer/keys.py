"""P-256 keys, the DIDs they prove, and signatures (docs/protocol.md, sections 1, 2 and 4)."""
import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (decode_dss_signature,
                                                             encode_dss_signature)

from .encoding import b64u, b64u_decode, jcs, require

SPKI_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


class PublicKey:
    """A P-256 key that passed the byte-for-byte check of its form."""

    def __init__(self, point):
        require(len(point) == 65 and point[0] == 4, "INVALID_PUBLIC_KEY", "not an uncompressed point")
        try:
            self.key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        except ValueError:
            require(False, "INVALID_PUBLIC_KEY", "not on the curve")
        self.point = point

    @classmethod
    def from_pem(cls, pem):
        match = re.fullmatch(r"-----BEGIN PUBLIC KEY-----\r?\n((?:[A-Za-z0-9+/=]+\r?\n)+)"
                             r"-----END PUBLIC KEY-----(?:\r?\n)?", pem if isinstance(pem, str) else "")
        require(match, "INVALID_PUBLIC_KEY", "not one PUBLIC KEY block")
        base64_text = re.sub(r"\s", "", match.group(1)).rstrip("=")
        der = b64u_decode(base64_text.replace("+", "-").replace("/", "_"))
        require(len(der) == 91 and der.startswith(SPKI_P256), "INVALID_PUBLIC_KEY", "not a P-256 key")
        return cls(der[26:])

    @classmethod
    def from_jwk(cls, jwk):
        require(isinstance(jwk, dict) and jwk.get("kty") == "EC" and jwk.get("crv") == "P-256"
                and "d" not in jwk, "INVALID_PUBLIC_KEY", "not a public P-256 JWK")
        x, y = b64u_decode(jwk.get("x")), b64u_decode(jwk.get("y"))
        require(len(x) == 32 and len(y) == 32, "INVALID_PUBLIC_KEY", "coordinate length")
        return cls(b"\x04" + x + y)

    @property
    def pem(self):
        return self.key.public_bytes(serialization.Encoding.PEM,
                                     serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def jwk(self):
        return {"kty": "EC", "crv": "P-256", "x": b64u(self.point[1:33]), "y": b64u(self.point[33:])}

    @property
    def jkt(self):
        """RFC 7638 thumbprint: of the required members alone, in canonical form."""
        return b64u(sha256(jcs(self.jwk)))

    def did(self, role):
        return f"did:ath:{role}_{self.jkt}"

    def verify(self, message, signature):
        """`signature` is r||s, 64 bytes. Refused unless it holds."""
        require(len(signature) == 64, "INVALID_SIGNATURE", "length")
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        require(0 < r < ORDER and 0 < s < ORDER, "INVALID_SIGNATURE", "range")
        try:
            self.key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            require(False, "INVALID_SIGNATURE")


class Key(PublicKey):
    """A key of our own. (A real peer keeps it in hardware.)"""

    def __init__(self, private=None):
        self.private = private or ec.generate_private_key(ec.SECP256R1())
        super().__init__(self.private.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint))

    def sign(self, message):
        r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def agree(self, share):
        """ECDH with the peer's share (text): the x-coordinate, 32 bytes."""
        try:
            peer = PublicKey(b64u_decode(share))
        except Exception:
            require(False, "INVALID_KEY_SHARE")
        require(peer.point != self.point, "INVALID_KEY_SHARE", "our own share")
        return self.private.exchange(ec.ECDH(), peer.key)

    @property
    def share(self):
        return b64u(self.point)


def check_did(did, role, key):
    """Self-certifying DIDs only: this peer keeps no pins."""
    require(did == key.did(role), "UNKNOWN_PEER", f"{did} is not this {role} key's DID")


# ---- one signature for many: RFC 6962 section 2.1 ----------------------------------------------
def _split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def merkle_root(leaves):
    if len(leaves) == 1:
        return sha256(b"\0", leaves[0])
    k = _split(len(leaves))
    return sha256(b"\1", merkle_root(leaves[:k]), merkle_root(leaves[k:]))


def merkle_path(index, leaves):
    if len(leaves) == 1:
        return b""
    k = _split(len(leaves))
    if index < k:
        return merkle_path(index, leaves[:k]) + merkle_root(leaves[k:])
    return merkle_path(index - k, leaves[k:]) + merkle_root(leaves[:k])


def merkle_root_of_path(leaf, index, size, path):
    """The root that leaf `index` of `size` leads to (RFC 9162 section 2.1.3.2)."""
    require(index < size and len(path) % 32 == 0, "INVALID_SIGNATURE", "batch path")
    node, fn, sn = sha256(b"\0", leaf), index, size - 1
    for start in range(0, len(path), 32):
        step = path[start:start + 32]
        require(sn > 0, "INVALID_SIGNATURE", "batch path too long")
        if fn & 1 or fn == sn:
            node = sha256(b"\1", step, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = sha256(b"\1", node, step)
        fn, sn = fn >> 1, sn >> 1
    require(sn == 0, "INVALID_SIGNATURE", "batch path too short")
    return node


def _batch_string(size, root):
    return f"ATH-TB1 batch {size} {b64u(root)}".encode()


def sign_batch(key, strings):
    """The `signature` member for each of 2 to 65,536 strings, from one use of the key."""
    signature = b64u(key.sign(_batch_string(len(strings), merkle_root(strings))))
    return [f"{signature}.{len(strings)}.{index}.{b64u(merkle_path(index, strings))}"
            for index in range(len(strings))]


def verify_text(key, string, text, batch_allowed=False):
    """A `signature` member over `string`: alone, or one of a batch where the label may have one."""
    require(isinstance(text, str), "INVALID_SIGNATURE", "not a string")
    if "." not in text:
        key.verify(string, b64u_decode(text))
        return
    parts = text.split(".")
    require(batch_allowed and len(parts) == 4, "INVALID_SIGNATURE", "no batch here")
    require(all(re.fullmatch("0|[1-9][0-9]{0,4}", part) for part in parts[1:3]),
            "INVALID_SIGNATURE", "batch numbers")
    size, index = int(parts[1]), int(parts[2])
    require(2 <= size <= 65536, "INVALID_SIGNATURE", "batch size")
    root = merkle_root_of_path(string, index, size, b64u_decode(parts[3]))
    key.verify(_batch_string(size, root), b64u_decode(parts[0]))
