"""What athd's keys sign, judged by code that is not ours: OpenSSL's command and python3-cryptography."""
import base64
import hashlib
import json
import os
import subprocess
import tempfile
import time
import unittest

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (decode_dss_signature,
                                                             encode_dss_signature)

from peer.agent import Athd, Failed

AGENT_ID = "https://bot.example/.well-known/agent.json"
HASHES = {"ES256": (hashes.SHA256(), "-sha256", 64), "ES384": (hashes.SHA384(), "-sha384", 96)}


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Jws:
    """A compact JWS taken apart, nothing else."""

    def __init__(self, text):
        head, body, signature = text.split(".")
        self.signed = f"{head}.{body}".encode()
        self.header, self.claims = json.loads(decode(head)), json.loads(decode(body))
        self.signature = decode(signature)
        self.hash, self.openssl_hash, self.length = HASHES[self.header["alg"]]

    def der(self):
        half = self.length // 2
        return encode_dss_signature(int.from_bytes(self.signature[:half], "big"),
                                    int.from_bytes(self.signature[half:], "big"))


class IndependentVerifiers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.athd = Athd().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.athd.__exit__()

    def openssl_takes(self, jws, pem):
        with tempfile.TemporaryDirectory() as directory:
            for name, content in (("key", pem.encode()), ("signature", jws.der()), ("data", jws.signed)):
                with open(os.path.join(directory, name), "wb") as file:
                    file.write(content)
            run = subprocess.run(["openssl", "dgst", jws.openssl_hash, "-verify", "key", "-signature",
                                  "signature", "data"], cwd=directory, capture_output=True, check=False)
            return run.returncode == 0 and run.stdout.strip() == b"Verified OK"

    def cryptography_takes(self, jws, pem):
        try:
            serialization.load_pem_public_key(pem.encode()).verify(jws.der(), jws.signed,
                                                                   ec.ECDSA(jws.hash))
            return True
        except InvalidSignature:
            return False

    def judge(self, text, pem):
        """Both take it, and neither takes it changed. Gives header and claims."""
        jws = Jws(text)
        self.assertEqual(len(jws.signature), jws.length)
        self.assertTrue(self.openssl_takes(jws, pem))
        self.assertTrue(self.cryptography_takes(jws, pem))
        jws.signed += b"A"
        self.assertFalse(self.openssl_takes(jws, pem))
        self.assertFalse(self.cryptography_takes(jws, pem))
        return jws.header, jws.claims

    def key(self, name, role, **more):
        return self.athd.call("key.create", name=name, role=role, **more)

    def test_attestations_hold_for_others(self):
        key = self.key("attester", "client", agent_id=AGENT_ID)
        answer = self.athd.call("attestation.create", key="attester", ttl=60,
                                audience=["https://a.example", "https://b.example"])
        header, claims = self.judge(answer["jwt"], key["public_pem"])
        self.assertEqual((header["alg"], header["typ"], header["kid"]), ("ES256", "JWT", key["kid"]))
        self.assertEqual(claims["sub"], AGENT_ID)
        self.assertEqual(claims["aud"], ["https://a.example", "https://b.example"])
        self.assertEqual(claims["exp"] - claims["iat"], 60)
        self.assertEqual((claims["jti"], claims["exp"]), (answer["jti"], answer["expires_at"]))

    def records(self):
        with open(os.path.join(self.athd.state, "audit", "00000001.jsonl"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_each_signatures_record_is_on_disk_before_its_answer(self):
        key = self.key("recorded", "client", agent_id=AGENT_ID)
        for _ in range(10):
            answer = self.athd.call("attestation.create", key="recorded", audience="https://a.example")
            records = self.records()
            [record] = [one for one in records if one.get("jti") == answer["jti"]]
            signed = answer["jwt"].rpartition(".")[0].encode()
            self.assertEqual(decode(record["sha256"]), hashlib.sha256(signed).digest())
            self.assertEqual((record["key"], record["jkt"]), ("recorded", key["kid"]))
            self.assertEqual([one["index"] for one in records], list(range(len(records))))

    def test_nothing_is_released_without_its_record(self):
        with Athd() as athd:
            athd.call("key.create", name="k", role="client", agent_id=AGENT_ID)
            athd.call("attestation.create", key="k", audience="https://a.example")
            os.truncate(os.path.join(athd.state, "audit", "00000001.jsonl"), 10)
            with self.assertRaises(Failed) as caught:
                athd.call("attestation.create", key="k", audience="https://a.example")
            self.assertEqual((caught.exception.code, caught.exception.reason),
                             (-32008, "AUDIT_UNAVAILABLE"))
            self.assertNotIn("ey", json.dumps(caught.exception.data))
            athd.call("agent.status")

    def test_each_attestation_differs(self):
        self.key("repeater", "client", agent_id=AGENT_ID)
        jtis = {self.athd.call("attestation.create", key="repeater", audience="https://a.example")["jti"]
                for _ in range(20)}
        self.assertEqual(len(jtis), 20)

    def test_p384_attestations_hold_for_others(self):
        key = self.key("attester384", "client", agent_id=AGENT_ID, algorithm="ES384")
        answer = self.athd.call("attestation.create", key="attester384", audience="https://a.example")
        header, _ = self.judge(answer["jwt"], key["public_pem"])
        self.assertEqual(header["alg"], "ES384")

    def test_grants_and_access_tokens_hold_for_others(self):
        client, server, user = (self.key(role + "-1", role) for role in ("client", "server", "user"))
        self.athd.call("service.put", name="app", key="server-1", scopes_supported=["a:read"],
                       token_max_ttl=600, require_user_confirmation=False,
                       agents={client["did"]: ["a:read"]}, users={user["did"]: "somebody"})
        grant = self.athd.call("credential.issue", key="user-1", client=client["did"],
                               scopes=["a:read"], ttl=900)["credential"]
        header, claims = self.judge(grant, user["public_pem"])
        self.assertEqual((header["typ"], claims["iss"], claims["sub"]),
                         ("ath-user-auth+jwt", user["did"], client["did"]))
        token = self.handshake("client-1", server["did"])
        header, claims = self.judge(token, server["public_pem"])
        self.assertEqual((header["typ"], header["kid"]), ("at+jwt", server["kid"]))
        self.assertEqual((claims["iss"], claims["sub"], claims["scope"], claims["cnf"]),
                         (server["did"], client["did"], "a:read", {"jkt": client["kid"]}))

    def handshake(self, key, server_did):
        """A whole one inside one athd; gives the access token."""
        start = self.athd.call("handshake.start", key=key, scopes=["a:read"], server={"did": server_did})
        answer = self.athd.call("handshake.accept", service="app", message=start["send"])
        sends = [answer["send"]]
        while True:
            for message in sends:
                at_client = self.athd.call("handshake.receive", handshake=start["handshake"],
                                           message=message)
            if at_client["state"] == "done":
                return at_client["result"]["access_token"]
            sends = self.athd.call("handshake.receive", handshake=answer["handshake"],
                                   message=at_client["send"])["send"]
            sends = sends if isinstance(sends, list) else [sends]

    def test_exported_public_keys_are_one_key(self):
        key = self.key("exported", "client", agent_id=AGENT_ID, display={"name": "Bot"})
        pem = serialization.load_pem_public_key(key["public_pem"].encode())
        numbers = pem.public_numbers()
        jwk = key["public_jwk"]
        self.assertEqual((decode(jwk["x"]), decode(jwk["y"])),
                         (numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")))
        ssh = self.athd.call("key.export", name="exported", format="ssh")["data"]
        self.assertEqual(serialization.load_ssh_public_key(ssh.encode()).public_numbers(), numbers)
        again = self.athd.call("key.export", name="exported", format="pem")["data"]
        self.assertEqual(serialization.load_pem_public_key(again.encode()).public_numbers(), numbers)

    def test_attestations_of_others_are_judged(self):
        private = ec.generate_private_key(ec.SECP256R1())
        pem = private.public_key().public_bytes(serialization.Encoding.PEM,
                                                serialization.PublicFormat.SubjectPublicKeyInfo).decode()
        jwt = make_attestation(private)
        answer = self.athd.call("attestation.verify", jwt=jwt, audience="https://a.example",
                                public_key=pem)
        self.assertEqual(answer["claims"]["sub"], AGENT_ID)
        for audience, text, reason in (("https://a.example", jwt, "REPLAYED"),
                                       ("https://b.example", make_attestation(private),
                                        "INVALID_ATTESTATION"),
                                       ("https://a.example", make_attestation(private)[:-8] + "AAAAAAAA",
                                        "INVALID_SIGNATURE")):
            with self.assertRaises(Failed) as caught:
                self.athd.call("attestation.verify", jwt=text, audience=audience, public_key=pem)
            self.assertEqual(caught.exception.reason, reason)


def make_attestation(private):
    """By python3-cryptography alone."""
    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    now = int(time.time())
    head = encode(json.dumps({"alg": "ES256", "typ": "JWT", "kid": "key-1"}).encode())
    body = encode(json.dumps({"iss": "https://bot.example", "sub": AGENT_ID, "aud": "https://a.example",
                              "iat": now, "exp": now + 60, "jti": os.urandom(16).hex()}).encode())
    r, s = decode_dss_signature(private.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256())))
    return f"{head}.{body}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


if __name__ == "__main__":
    unittest.main()
