"""After step 9: keys and encrypted messages (docs/protocol.md, section 6)."""
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.exceptions import InvalidTag

from .encoding import b64u, b64u_decode, jcs, parse, require

MEMBERS = {"alg", "enc", "kid", "dir", "seq", "typ"}
WINDOW = 1024


def _hmac(key, data):
    mac = hmac.HMAC(key, hashes.SHA256())
    mac.update(data)
    return mac.finalize()


def derive(z, ath_th):
    """RFC 5869; each output is one block at most, so Expand is one HMAC."""
    prk = _hmac(ath_th, z)
    c2s, s2c, sid = (_hmac(prk, info + b"\x01") for info in
                     (b"ATH-TB1 c2s", b"ATH-TB1 s2c", b"ATH-TB1 sid"))
    return c2s, s2c, b64u(sid[:16])


class Session:
    def __init__(self, z, ath_th, sends):
        c2s, s2c, self.sid = derive(z, ath_th)
        self.keys = {"c2s": AESGCM(c2s), "s2c": AESGCM(s2c)}
        self.sends, self.receives = sends, "s2c" if sends == "c2s" else "c2s"
        self.next_seq, self.highest, self.seen = 0, -1, set()

    def seal(self, plaintext, re=None):
        header = {"alg": "dir", "enc": "A256GCM", "kid": self.sid, "dir": self.sends,
                  "seq": self.next_seq, "typ": "ath-session+jwe"}
        if re is not None:
            header["re"] = re
        iv = bytes(4) + self.next_seq.to_bytes(8, "big")
        self.next_seq += 1
        head = b64u(jcs(header))
        sealed = self.keys[self.sends].encrypt(iv, plaintext, head.encode())
        return f"{head}..{b64u(iv)}.{b64u(sealed[:-16])}.{b64u(sealed[-16:])}"

    def open(self, jwe):
        """(plaintext, seq, re or None)"""
        parts = jwe.split(".")
        require(len(parts) == 5 and parts[1] == "", "DECRYPT_FAILED", "form")
        header = parse(b64u_decode(parts[0]))
        require(set(header) in (MEMBERS, MEMBERS | {"re"}), "DECRYPT_FAILED", "header members")
        require((header["alg"], header["enc"], header["kid"], header["dir"], header["typ"]) ==
                ("dir", "A256GCM", self.sid, self.receives, "ath-session+jwe"), "DECRYPT_FAILED", "header")
        seq = header["seq"]
        require(type(seq) is int and 0 <= seq < 2**32, "DECRYPT_FAILED", "seq")
        iv = bytes(4) + seq.to_bytes(8, "big")
        require(b64u_decode(parts[2]) == iv, "DECRYPT_FAILED", "iv")
        require(seq > self.highest - WINDOW and seq not in self.seen, "REPLAYED")
        tag = b64u_decode(parts[4])
        require(len(tag) == 16, "DECRYPT_FAILED", "tag")
        try:
            plaintext = self.keys[self.receives].decrypt(iv, b64u_decode(parts[3]) + tag,
                                                         parts[0].encode())
        except InvalidTag:
            require(False, "DECRYPT_FAILED")
        self.highest = max(self.highest, seq)
        self.seen = {n for n in self.seen | {seq} if n > self.highest - WINDOW}
        return plaintext, seq, header.get("re")
