"""What the tests of PKCS#11 tokens have in common: what they start is ended and looked at, each signature
is verified by python3-cryptography."""
import base64
import json
import re
import unittest

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from .agent import Failed
from .token import Token, TokenAthd
from .wire import is_running, kill, wait_for

AGENT_ID = "https://agent.example/a.json"
AUDIENCE = "https://api.example"
# What the fault module does when it is told to crash; reported by sanitizers, and not ours.
ON_PURPOSE = re.compile(r"^==\d+==ERROR: \w+Sanitizer: SEGV on unknown address 0x0*dead000 .*$", re.MULTILINE)

# Each leak report of a sanitizer, to its summary; and what shows that our code had a part in it.
LEAKS = re.compile(r"^==\d+==ERROR: LeakSanitizer: .*?^SUMMARY: .*?$", re.MULTILINE | re.DOTALL)
OURS = re.compile(r" in \w+ /\S*/(?:hsm|src|tools)/|\(\S*ath-hsm-helper\+|\(\S*athd\+")
# A mutex that a module had us make, and did not have us destroy.
MUTEX = re.compile(r" in create_mutex .*")


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verified(jwt, pem):
    """The claims of a JWS that the key has signed, whatever its algorithm; else an exception."""
    head, body, signature = jwt.split(".")
    signed, signature = f"{head}.{body}".encode(), decode(signature)
    algorithm = json.loads(decode(head))["alg"]
    key = serialization.load_pem_public_key(pem.encode())
    if algorithm == "EdDSA":
        key.verify(signature, signed)
    else:
        half = {"ES256": 32, "ES384": 48}[algorithm]
        if len(signature) != 2 * half:
            raise AssertionError(f"{algorithm}: a signature of {len(signature)} bytes")
        der = utils.encode_dss_signature(int.from_bytes(signature[:half], "big"),
                                         int.from_bytes(signature[half:], "big"))
        key.verify(der, signed, ec.ECDSA({"ES256": hashes.SHA256(), "ES384": hashes.SHA384()}[algorithm]))
    return json.loads(decode(body))


class TokenTest(unittest.TestCase):
    module_leaks = False  # SoftHSM 2.6.1 does: with EdDSA, and when a token vanishes during a signature

    def new_token(self, **more):
        token = Token(**more)
        self.addCleanup(token.close)
        return token

    def new_athd(self, token, start=True, **more):
        athd = TokenAthd(token, **more)
        self.addCleanup(self.end, athd)
        if start:
            athd.start()
        return athd

    def end(self, athd):
        try:
            if athd.process and athd.process.poll() is None:
                self.assertEqual(athd.stop(), 0, athd.read_log())
            self.no_report(athd)
            for pid in athd.prompters():
                wait_for(lambda pid=pid: not is_running(pid))
        finally:
            for pid in athd.prompters():
                kill(pid)
            athd.__exit__()

    def no_report(self, athd):
        """No sanitizer has found anything, but what the fault module did on purpose."""
        log = athd.read_log()
        rest = ON_PURPOSE.sub("", log)
        if self.module_leaks:
            rest = LEAKS.sub(lambda leaks: leaks[0] if OURS.search(MUTEX.sub("", leaks[0])) else "", rest)
        report = re.search(r"ERROR: \w+Sanitizer|runtime error:", rest)
        self.assertIsNone(report, log)

    def create(self, athd, name="agent", role="client", **more):
        """A key in the token."""
        if role == "client":
            more = {"agent_id": AGENT_ID, **more}
        return athd.call("key.create", name=name, role=role, hsm="pkcs11", **more)

    def attest(self, athd, key="agent", pem=None, connection=None):
        """An attestation that verifies; its claims."""
        call = (connection or athd).call
        jwt = call("attestation.create", key=key, audience=AUDIENCE)["jwt"]
        return verified(jwt, pem or call("key.get", name=key)["public_pem"])

    def refused(self, reason, athd, method, **params):
        with self.assertRaises(Failed) as caught:
            athd.call(method, **params)
        self.assertEqual(caught.exception.reason, reason, f"{caught.exception}\n{athd.read_log()}")
        return caught.exception

    def attest_refused(self, reason, athd, key="agent"):
        return self.refused(reason, athd, "attestation.create", key=key, audience=AUDIENCE)
