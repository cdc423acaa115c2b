"""tests/vectors/handshake-*.json, checked without athd's code: whoever builds a peer from
docs/protocol.md and these files gets the same values."""
import json
import os
import pathlib
import unittest

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (Encoding, PublicFormat, load_pem_private_key,
                                                          load_pem_public_key)

from peer.encoding import b64u, b64u_decode, jcs, parse
from peer.keys import merkle_root, merkle_root_of_path, sha256
from peer.session import Session, derive
from peer.transcript import T0, add, string, without

SOURCE = pathlib.Path(os.environ.get("ATH_SOURCE", pathlib.Path(__file__).parents[2]))
FILES = sorted((SOURCE / "tests" / "vectors").glob("handshake-*.json"))


def verify(pem, message, signature):
    """JOSE signatures: r||s of the curve's length, or Ed25519. Raises where it does not hold."""
    key = load_pem_public_key(pem.encode())
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, message)
        return
    width = (key.key_size + 7) // 8
    assert len(signature) == 2 * width
    r, s = (int.from_bytes(signature[i:i + width], "big") for i in (0, width))
    digest = hashes.SHA384() if width == 48 else hashes.SHA256()
    key.verify(encode_dss_signature(r, s), message, ec.ECDSA(digest))


def der(public_key):
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def thumbprint(jwk):
    names = ("crv", "kty", "x") if jwk["kty"] == "OKP" else ("crv", "kty", "x", "y")
    return b64u(sha256(jcs({name: jwk[name] for name in names})))


class Vectors(unittest.TestCase):
    def each(self):
        self.assertGreaterEqual(len(FILES), 4)
        for path in FILES:
            with self.subTest(path.name):
                vector = json.loads(path.read_text())
                yield vector, {step["step"]: step for step in vector["steps"]}

    def test_parties_are_what_their_keys_prove(self):
        for vector, _ in self.each():
            for role, party in vector["parties"].items():
                self.assertEqual(party["jkt"], thumbprint(party["public_jwk"]))
                self.assertEqual(party["did"], f"did:ath:{role}_{party['jkt']}")
                private = load_pem_private_key(party["TEST_ONLY_private_key_pem"].encode(), None)
                public = load_pem_public_key(party["public_key_pem"].encode())
                self.assertEqual(der(private.public_key()), der(public))

    def test_transcripts_follow_from_the_messages(self):
        for vector, steps in self.each():
            self.assertEqual(vector["t0"], b64u(T0))
            t = T0
            for n, step in steps.items():
                parse(json.dumps(step["message"], ensure_ascii=False))  # a message of section 1
                self.assertEqual(step["canonical"].encode(), jcs(step["message"]))
                self.assertEqual(step["hash"], b64u(sha256(jcs(step["message"]))))
                if n in (1, 2, 3, 4, 5, 8):
                    t = add(t, step["message"])
                    self.assertEqual(step["transcript"], b64u(t))
            ath_th = add(t, without(steps[9]["message"], "access_token"))
            self.assertEqual(vector["ath_th"], b64u(ath_th))
            if 6 in steps:
                u6 = add(T0, steps[6]["message"])
                u7 = add(u6, steps[7]["message"])
                self.assertEqual(steps[6]["user_transcript"], b64u(u6))
                self.assertEqual(steps[7]["user_transcript"], b64u(u7))
                self.assertEqual(steps[8]["message"]["confirmation"], b64u(u7))
                self.assertEqual(steps[6]["message"]["handshake"], steps[5]["transcript"])
                self.assertEqual(steps[6]["message"]["transcript"], steps[4]["transcript"])
                self.assertEqual(steps[6]["message"]["scope_request"], steps[5]["message"])
            else:
                self.assertNotIn("confirmation", steps[8]["message"])

    def before(self, n, steps):
        """What the signature of message n has for T(n-1)."""
        if n == 6:
            return T0
        return b64u_decode(steps[6]["user_transcript"] if n == 7 else steps[n - 1]["transcript"])

    def test_signatures_hold_over_the_strings(self):
        for vector, steps in self.each():
            for n, step in steps.items():
                if "label" not in step:
                    continue
                path = ("user_authorization", "signature") if n == 5 else ("signature",)
                signature = step["message"]
                for name in path:
                    signature = signature[name]
                signed = string(step["label"], self.before(n, steps), without(step["message"], *path))
                self.assertEqual(step["to_be_signed"].encode(), signed)
                if "batch" in step:
                    signature, signed = self.batch(step, signature, signed)
                verify(vector["parties"][step["signed_by"]]["public_key_pem"], signed,
                       b64u_decode(signature))

    def batch(self, step, text, signed):
        """The signature that the key made, and over what."""
        leaves = [leaf.encode() for leaf in step["batch"]["leaves"]]
        signature, size, index, path = text.split(".")
        self.assertEqual(int(size), len(leaves))
        self.assertEqual(int(index), step["batch"]["index"])
        self.assertEqual(leaves[int(index)], signed)
        root = merkle_root_of_path(signed, int(index), int(size), b64u_decode(path))
        self.assertEqual(root, merkle_root(leaves))
        return signature, f"ATH-TB1 batch {size} {b64u(root)}".encode()

    def test_tokens_hold_and_say_what_was_granted(self):
        for vector, steps in self.each():
            parties, m8 = vector["parties"], steps[8]["message"]
            for token, role in ((vector["grant"], "user"),
                                (steps[9]["message"]["access_token"], "server")):
                signed, _, signature = token.rpartition(".")
                verify(parties[role]["public_key_pem"], signed.encode(), b64u_decode(signature))
                header = parse(b64u_decode(signed.split(".")[0]))
                self.assertEqual(header["kid"], parties[role]["jkt"])
                claims = parse(b64u_decode(signed.split(".")[1]))
            self.assertEqual(steps[9]["to_be_signed"], signed)
            self.assertEqual(claims["iss"], parties["server"]["did"])
            self.assertEqual(claims["aud"], parties["server"]["did"])
            self.assertEqual(claims["sub"], parties["client"]["did"])
            self.assertEqual(claims["user_did"], parties["user"]["did"])
            self.assertEqual(claims["cnf"], {"jkt": parties["client"]["jkt"]})
            self.assertEqual(claims["scope"], " ".join(m8["scopes_granted"]))
            self.assertEqual(claims["exp"] - claims["iat"], m8["ttl_granted"])
            self.assertEqual(claims["ath_th"], vector["ath_th"])
            self.assertEqual(claims.get("restrictions"), m8.get("restrictions"))

    def test_session_follows_from_the_ephemeral_keys(self):
        for vector, steps in self.each():
            keys = {role: ec.derive_private_key(
                int.from_bytes(b64u_decode(one["private"]), "big"), ec.SECP256R1())
                for role, one in vector["TEST_ONLY_ephemeral"].items()}
            z = keys["client"].exchange(ec.ECDH(), keys["server"].public_key())
            session = vector["session"]
            self.assertEqual(session["z"], b64u(z))
            c2s, s2c, sid = derive(z, b64u_decode(vector["ath_th"]))
            self.assertEqual((session["k_c2s"], session["k_s2c"], session["sid"]),
                             (b64u(c2s), b64u(s2c), sid))
            for role, n in (("client", 5), ("server", 9)):
                self.assertEqual(steps[n]["message"]["key_exchange_params"],
                                 vector["TEST_ONLY_ephemeral"][role]["share"])
            sides = {"c2s": Session(z, b64u_decode(vector["ath_th"]), "s2c"),
                     "s2c": Session(z, b64u_decode(vector["ath_th"]), "c2s")}
            for sealed in session["sealed"]:
                plaintext, seq, re = sides[sealed["dir"]].open(sealed["jwe"])
                self.assertEqual((plaintext.decode(), seq, re),
                                 (sealed["plaintext"], sealed["seq"], sealed.get("re")))


if __name__ == "__main__":
    unittest.main()
