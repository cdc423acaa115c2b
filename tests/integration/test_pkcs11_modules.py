"""Real modules: tpm2-pkcs11 with a software TPM, p11-kit's proxy before SoftHSM, OpenSC with pcscd and a
virtual PIV card."""
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import shutil
import time
import unittest

from peer.agent import Failed
from peer.piv_card import PivCard, Reader
from peer.pinentry import CANCELLED, GOOD, WRONG
from peer.token import SOFTHSM
from peer.token_case import AGENT_ID, TokenTest
from peer.wire import wait_for

LIBRARIES = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}"
TPM2_PKCS11 = f"{LIBRARIES}/libtpm2_pkcs11.so.1"
PROXY = f"{LIBRARIES}/p11-kit-proxy.so"
OPENSC = f"{LIBRARIES}/opensc-pkcs11.so"
OWN_RUN = "ATH_TEST_OWN_RUN"
OWN_PLACE = ["mount", "-t", "tmpfs", "tmpfs", "/run"]  # for pcscd's socket


class Tpm2Token:
    """tpm2-pkcs11 with a swtpm of its own; what of peer.token.Token a TokenAthd needs."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="athd-tpm2-")
        self.label, self.pin, self.so_pin = "tpm token", "pin-4711", "so-4711"
        for name in ("tpm", "store"):
            os.mkdir(os.path.join(self.dir, name), 0o700)
        self.start()
        self.environment = {"TPM2_PKCS11_STORE": os.path.join(self.dir, "store"),
                            "TPM2_PKCS11_TCTI": f"swtpm:host=127.0.0.1,port={self.port}"}
        self.tool("--init-token", "--slot-index", "0", "--label", self.label, "--so-pin", self.so_pin)
        self.tool("--token-label", self.label, "--login", "--login-type", "so", "--so-pin", self.so_pin, "--init-pin",
                  "--pin", self.pin)

    def start(self):
        """Again, if somebody else has taken the ports meanwhile: then it ends."""
        self.port = self.free_ports()
        self.tpm = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.dir}/tpm", "--flags", "startup-clear,not-need-init",
             "--server", f"type=tcp,port={self.port},bindaddr=127.0.0.1", "--ctrl",
             f"type=tcp,port={self.port + 1},bindaddr=127.0.0.1"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        wait_for(lambda: self.is_up() or self.tpm.poll() is not None)
        if self.tpm.poll() is not None:
            self.start()

    @staticmethod
    def free_ports():
        """Two in a row that nobody listens on."""
        while True:
            with socket.socket() as first, socket.socket() as second:
                first.bind(("127.0.0.1", 0))
                port = first.getsockname()[1]
                try:
                    second.bind(("127.0.0.1", port + 1))
                    return port
                except (OSError, OverflowError):
                    continue

    def is_up(self):
        with open("/proc/net/tcp", encoding="utf-8") as file:
            listening = file.read()
        return all(f"0100007F:{port:04X} 00000000:0000 0A" in listening for port in (self.port, self.port + 1))

    def tool(self, *arguments):
        return subprocess.run(["pkcs11-tool", "--module", TPM2_PKCS11, *arguments], check=True, timeout=60,
                              env={**os.environ, **self.environment, "TSS2_LOG": "all+none"}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True).stdout

    def flush(self):
        """What the module leaves behind at each C_Finalize takes one of the TPM's three slots; a resource
        manager (/dev/tpmrm0) frees it."""
        subprocess.run(["tpm2_flushcontext", "--transient-object", "--tcti", self.environment["TPM2_PKCS11_TCTI"]],
                       check=True, timeout=120, capture_output=True)

    def uri(self, query="", module=None):
        return f"pkcs11:token={self.label.replace(' ', '%20')}?module-path={module or TPM2_PKCS11}{query}"

    def close(self):
        self.tpm.terminate()
        self.tpm.wait(60)
        shutil.rmtree(self.dir, ignore_errors=True)


class Tpm2Pkcs11(TokenTest):
    module_leaks = True  # 1.9.0 does: a point for each signature

    def test_key_is_made_used_found_again_and_destroyed(self):
        token = Tpm2Token()
        self.addCleanup(token.close)
        athd = self.new_athd(token)
        info = self.create(athd)
        self.assertFalse(info["hardware"]["extractable"])
        for _ in range(10):
            self.attest(athd, pem=info["public_pem"])
        athd.stop()
        token.flush()
        athd.start()
        self.attest(athd, pem=info["public_pem"])
        self.assertEqual(athd.pins_asked(), 2)
        with self.assertRaises(Failed) as caught:
            self.create(athd, name="ed", algorithm="EdDSA")
        self.assertEqual(caught.exception.reason, "UNSUPPORTED_ALGORITHM", caught.exception)
        athd.call("key.delete", name="agent")
        athd.stop()
        token.flush()
        self.assertNotRegex(token.tool("--token-label", token.label, "--login", "--pin", token.pin, "--list-objects",
                                       "--type", "privkey"), "label: +agent")
        token.flush()
        athd.answers_pin(WRONG)
        athd.start()
        with self.assertRaises(Failed) as caught:
            self.create(athd)
        self.assertEqual(caught.exception.reason, "PIN_INCORRECT", caught.exception)


class P11Kit(TokenTest):
    def check(self, query):
        token = self.new_token(module=SOFTHSM)
        token.uri = lambda **_more: f"pkcs11:token={token.label.replace(' ', '%20')}?{query}"
        athd = self.new_athd(token, start=False)
        athd.environment["TPM2_PKCS11_STORE"] = token.dir  # the proxy loads that module too
        athd.start()
        info = self.create(athd)
        self.attest(athd, pem=info["public_pem"])
        athd.stop()
        athd.start()
        self.attest(athd, pem=info["public_pem"])
        self.assertIn("agent", token.tool("--list-objects", "--type", "privkey"))
        athd.call("key.delete", name="agent")
        self.assertNotIn("agent", token.tool("--list-objects", "--type", "privkey"))

    def test_proxy(self):
        self.check(f"module-path={PROXY}")

    def test_module_by_its_name(self):
        self.check("module-name=softhsm2")


class Card:
    """The card as TokenAthd takes a token."""

    def __init__(self):
        self.pin = "482913"
        self.card = PivCard(self.pin)
        self.dir, self.environment = None, {}

    def uri(self, query="", module=None):
        return f"pkcs11:serial={self.card.serial}?module-path={module or OPENSC}{query}"


class OpenSc(TokenTest):
    module_leaks = True  # 0.23.0 does, when a card is taken out

    @classmethod
    def setUpClass(cls):
        subprocess.run(OWN_PLACE, check=True)

    def setUp(self):
        self.token = Card()
        self.card = self.token.card
        self.reader = Reader()
        self.addCleanup(self.reader.close)
        self.reader.insert(self.card)
        self.athd = self.new_athd(self.token, software_tpm=True)
        self.athd.wait_for_hsm("locked", "ready")

    def adopt(self, name, identifier):
        return self.athd.call("key.import", name=name, role="client", agent_id=AGENT_ID, hsm="pkcs11",
                              pkcs11_uri=f"pkcs11:serial={self.card.serial};id=%{identifier}")

    def again(self):
        """Nobody is logged in any more, neither at the card nor in athd."""
        self.athd.stop()
        self.reader.remove()
        self.reader.insert(self.card)
        self.athd.start()
        self.athd.wait_for_hsm("locked", "ready")

    def test_key_that_wants_its_pin_once(self):
        info = self.adopt("agent", "01")
        self.assertFalse(info["hardware"].get("always_authenticate", False))
        for _ in range(5):
            self.attest(self.athd, pem=info["public_pem"])
        self.assertEqual(self.athd.pins_asked(), 1)
        self.assertEqual(self.card.signatures, 5)

    def test_key_that_wants_its_pin_for_each_signature(self):
        info = self.adopt("agent", "02")
        self.assertTrue(info["hardware"]["always_authenticate"])
        asked = self.athd.pins_asked()
        for turn in range(1, 4):
            self.attest(self.athd, pem=info["public_pem"])
            self.assertEqual(self.athd.pins_asked() - asked, turn)
        self.athd.answers_pin(CANCELLED)
        self.attest_refused("USER_DENIED", self.athd)
        self.assertEqual(self.card.signatures, 3)
        self.assertEqual(set(self.card.verifications), {0x9000})

    def test_wrong_pin_costs_one_try_of_the_card(self):
        self.adopt("agent", "01")
        self.again()
        self.card.verifications.clear()
        self.athd.answers_pin(WRONG.replace("wrong-$pin", "000000"))
        self.attest_refused("PIN_INCORRECT", self.athd)
        self.assertEqual(self.card.verifications, [0x63C2])
        self.athd.answers_pin(GOOD)
        self.attest(self.athd)
        self.assertEqual(self.card.verifications[:2], [0x63C2, 0x9000])

    def test_card_is_never_locked_by_a_loop(self):
        self.athd.stop()
        path = os.path.join(self.reader.dir, "pin")
        with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write("000000")
        self.athd = self.new_athd(self.token, query=f"&pin-source=file:{path}", pin=CANCELLED)
        for _ in range(30):
            with self.assertRaises(Failed):
                self.adopt("agent", "01")
        self.assertEqual(self.card.verifications, [0x63C2])

    def gone(self):
        """Soon: pcscd looks for a card now and then, and until it has, OpenSC says many things."""
        began = time.monotonic()
        while True:
            with self.assertRaises(Failed) as caught:
                self.attest(self.athd)
            if caught.exception.reason == "HSM_UNAVAILABLE":
                break
            self.assertEqual(caught.exception.reason, "HSM_ERROR", caught.exception)
            self.assertLess(time.monotonic() - began, 60)

    def test_card_is_taken_out_and_put_back(self):
        info = self.adopt("agent", "01")
        self.athd.call("key.create", name="other", role="client", agent_id=AGENT_ID, hsm="swtpm")
        for _ in range(3):
            self.attest(self.athd, pem=info["public_pem"])
            self.reader.remove()
            self.gone()
            self.attest(self.athd, key="other")
            self.reader.insert(self.card)
            self.athd.wait_for_hsm("locked", "ready")
        self.attest(self.athd, pem=info["public_pem"])

    def test_another_card_is_not_taken_for_it(self):
        info = self.adopt("agent", "01")
        self.reader.remove()
        self.gone()
        other = PivCard(self.token.pin)
        self.reader.insert(other)
        time.sleep(1.0)  # in which it must not be taken
        self.attest_refused("HSM_UNAVAILABLE", self.athd)
        self.assertEqual((other.verifications, other.signatures), ([], 0))
        self.reader.remove()
        self.reader.insert(self.card)
        self.athd.wait_for_hsm("locked", "ready")
        self.attest(self.athd, pem=info["public_pem"])


class Cards(unittest.TestCase):
    def test_opensc_and_a_virtual_piv_card(self):
        namespaces = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
        may = subprocess.run(["unshare", *namespaces, *OWN_PLACE], check=False, capture_output=True, text=True)
        if may.returncode:
            self.skipTest("OpenSC and a card: pcscd needs a /run of its own, and this environment has no mount "
                          f"namespace for that (CAP_SYS_ADMIN, or namespaces of users): {may.stderr.strip()}")
        run = subprocess.run(["unshare", *namespaces, sys.executable, os.path.abspath(__file__), "-v", "OpenSc"],
                             env={**os.environ, OWN_RUN: "1"}, check=False, timeout=600, stdin=subprocess.DEVNULL,
                             capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertIn("OK", run.stderr)
        self.assertNotIn("skipped", run.stderr)


if OWN_RUN not in os.environ:
    del OpenSc  # Cards runs it, in a mount namespace

if __name__ == "__main__":
    unittest.main()
