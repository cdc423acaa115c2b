"""Keys in a PKCS#11 token (SoftHSM): what athd says of them is what the token says, what they sign
verifies, and a handshake takes them like keys of a TPM."""
import os
import re
import unittest

from peer.agent import Failed
from peer.scene import Scene
from peer.token import SOFTHSM, TokenAthd
from peer.token_case import AGENT_ID, TokenTest
from peer.wire import wait_for


class Keys(TokenTest):
    def setUp(self):
        self.token = self.new_token(module=SOFTHSM)
        self.athd = self.new_athd(self.token)

    def objects(self):
        """What pkcs11-tool sees, as blocks of text; not the key that signs the audit log."""
        listing = self.token.tool("--list-objects", "--type", "privkey")
        objects = re.findall(r"Private Key Object.*?(?=Private Key Object|\Z)", listing, re.DOTALL)
        return [text for text in objects if "athd audit" not in text]

    def make_outside(self, label, identifier, *more, kind="EC:prime256v1"):
        """A key pair that pkcs11-tool made in the token; not while athd looks for it (Token.tool)."""
        self.athd.wait_for_hsm("locked", "ready")
        self.token.tool("--keypairgen", "--key-type", kind, "--label", label, "--id", identifier, *more)

    def import_key(self, path, name="agent", **more):
        return self.athd.call("key.import", name=name, role="client", agent_id=AGENT_ID, hsm="pkcs11",
                              pkcs11_uri=f"pkcs11:token={self.token.label.replace(' ', '%20')}{path}", **more)

    def test_key_of_each_algorithm_is_made_used_and_destroyed_inside(self):
        self.module_leaks = True
        for algorithm in ("ES256", "ES384", "EdDSA"):
            with self.subTest(algorithm):
                info = self.create(self.athd, algorithm=algorithm)
                self.assertEqual((info["algorithm"], info["hsm"], info["hsm_kind"]), (algorithm, "pkcs11", "pkcs11"))
                self.assertEqual(self.attest(self.athd, pem=info["public_pem"])["sub"], AGENT_ID)
                self.assertEqual(self.athd.call("key.list")["keys"], [info])
                (private,) = self.objects()
                self.assertIn("agent", private)
                for fact in ("sensitive", "always sensitive", "never extractable", "local"):
                    self.assertIn(fact, private)
                self.athd.call("key.delete", name="agent")
                self.assertEqual(self.objects(), [])
                self.assertNotRegex(self.token.tool("--list-objects"), "label: +agent")
                self.attest_refused("KEY_NOT_FOUND", self.athd)

    def test_facts_are_what_the_token_says(self):
        info = self.create(self.athd)
        hardware = info["hardware"]
        self.assertTrue(hardware["generated_inside"])
        self.assertFalse(hardware["extractable"])
        self.assertTrue(hardware["always_sensitive"])
        self.assertTrue(hardware["never_extractable"])
        hsm = self.athd.hsm()
        listing = self.token.tool("--list-token-slots", login=False)
        for name, text in (("manufacturer", "token manufacturer"), ("model", "token model"), ("serial", "serial num")):
            self.assertEqual(hsm[name], re.search(rf"{text} *: *(.*)", listing)[1].strip())

    def test_key_is_found_again_after_a_restart(self):
        info = self.create(self.athd)
        self.athd.stop()
        self.athd.start()
        self.assertEqual(self.athd.call("key.get", name="agent")["did"], info["did"])
        self.attest(self.athd, pem=info["public_pem"])

    def test_two_keys_of_one_name_are_never_mixed_up(self):
        """Labels are not unique in a token: the id decides."""
        first = self.create(self.athd)
        self.make_outside("agent", "beef")
        self.athd.stop()
        self.athd.start()
        self.attest(self.athd, pem=first["public_pem"])
        self.athd.call("key.delete", name="agent")
        (left,) = self.objects()
        self.assertIn("beef", left)

    def test_existing_key_is_adopted(self):
        self.make_outside("mine", "0a0b", "--sensitive")
        info = self.import_key(";id=%0A%0B")
        self.attest(self.athd, pem=info["public_pem"])
        self.assertTrue(info["hardware"]["generated_inside"])
        self.assertFalse(info["hardware"]["extractable"])
        with self.assertRaises(Failed) as caught:
            self.import_key(";object=mine", name="again")
        self.assertEqual(caught.exception.reason, "KEY_EXISTS", "one key under two names")
        self.make_outside("yours", "0a0c", "--sensitive")
        by_label = self.import_key(";object=yours", name="again")
        self.assertNotEqual(by_label["public_pem"], info["public_pem"])
        self.attest(self.athd, key="again", pem=by_label["public_pem"])

    def test_extractable_key_is_refused_unless_told(self):
        self.make_outside("loose", "0c", "--extractable")
        with self.assertRaises(Failed) as caught:
            self.import_key(";id=%0C")
        self.assertIn("extract", caught.exception.message)
        self.assertEqual(self.athd.call("key.list"), {"keys": []})
        info = self.import_key(";id=%0C", allow_extractable=True)
        self.assertTrue(info["hardware"]["extractable"])
        self.attest(self.athd, pem=info["public_pem"])

    def test_key_that_is_not_there_or_of_no_use_is_told(self):
        self.create(self.athd, name="other")  # somebody has logged in
        with self.assertRaises(Failed) as caught:
            self.import_key(";id=%77")
        self.assertIn(caught.exception.reason, ("KEY_NOT_FOUND", "INVALID_PARAMS"))
        self.make_outside("rsa", "0d", kind="RSA:2048")
        with self.assertRaises(Failed) as caught:
            self.import_key(";id=%0D")
        self.assertEqual(caught.exception.reason, "UNSUPPORTED_ALGORITHM", caught.exception)
        self.make_outside("twins", "0e")
        self.make_outside("twins", "0f")
        with self.assertRaises(Failed) as caught:
            self.import_key(";object=twins")
        self.assertIn("id", caught.exception.message)

    def test_uri_of_another_token_is_refused(self):
        self.create(self.athd, name="other")
        for uri in ("pkcs11:token=nobody;id=%01", "pkcs11:id=%01?pin-value=1234", "pkcs11:slot-id=1;id=%01", "tpm:", "",
                    "pkcs11:" + "a" * 5000):
            with self.subTest(uri[:40]):
                with self.assertRaises(Failed) as caught:
                    self.athd.call("key.import", name="agent", role="client", agent_id=AGENT_ID, hsm="pkcs11",
                                   pkcs11_uri=uri)
                self.assertIn(caught.exception.code, (-32602, -32003, -32004))
                self.assertNotIn("1234", caught.exception.message)

    def test_tool_sees_what_athd_stores(self):
        """The URI in the key's file names the object for other programs too."""
        self.create(self.athd)
        with open(os.path.join(self.athd.state, "keys", "agent.json"), encoding="utf-8") as file:
            uri = re.search(r"pkcs11:[^\"]*", file.read())[0]
        self.assertIn("id=", uri)
        self.assertNotIn("slot", uri)
        self.assertNotIn("pin", uri)
        listing = self.token.run("p11tool", "--provider", SOFTHSM, "--login", "--set-pin", self.token.pin, "--list-all",
                                 uri)
        self.assertIn("agent", listing)


class Configuration(TokenTest):
    def test_token_that_is_not_there_is_absent_and_said(self):
        token = self.new_token(module=SOFTHSM)
        real, token.label = token.label, "another token"
        athd = self.new_athd(token)
        wait_for(lambda: "another token" in athd.hsm().get("message", ""))
        self.assertEqual(athd.hsm()["state"], "absent")
        token.initialize("another token", token.pin)
        athd.wait_for_hsm("locked", "ready")
        self.create(athd)
        token.label = real

    def test_token_that_cannot_be_read_for_a_moment_is_not_said_to_be_absent(self):
        """SoftHSM's, while another process writes to it."""
        token = self.new_token()
        token.fault("C_GetTokenInfo times=4 return 5")  # two looks at two slots
        athd = self.new_athd(token)
        athd.wait_for_hsm("locked", "ready")
        self.assertGreater(token.calls("C_GetTokenInfo"), 4)
        self.assertNotIn("state=absent", athd.read_log())

    def test_module_that_is_not_there_is_said(self):
        token = self.new_token(module="/nonexistent/module.so")
        athd = self.new_athd(token)
        wait_for(lambda: "/nonexistent/module.so" in athd.hsm().get("message", ""))
        self.assertIn(athd.hsm()["state"], ("absent", "failed"))

    def test_module_that_is_none_is_said(self):
        for path in ("/etc/passwd", "/usr/lib/x86_64-linux-gnu/libz.so.1", "/usr/lib/x86_64-linux-gnu/libuv.so.1"):
            with self.subTest(path):
                if not os.path.exists(path):
                    continue
                athd = self.new_athd(self.new_token(module=path))
                wait_for(lambda athd=athd, path=path: path in athd.hsm().get("message", ""))
                self.assertIn(athd.hsm()["state"], ("absent", "failed"))

    def test_two_tokens_and_a_tpm_at_once(self):
        token, other = self.new_token(module=SOFTHSM), self.new_token(module=SOFTHSM)
        token.initialize(other.label, token.pin)  # both in one module
        athd = self.new_athd(token, software_tpm=True, start=False)
        athd.arguments += ["--hsm", f"pkcs11:token={other.label.replace(' ', '%20')}?module-path={SOFTHSM}"]
        athd.start()
        keys = {name: athd.call("key.create", name=name, role="client", agent_id=AGENT_ID, hsm=name)
                for name in ("swtpm", "pkcs11", "pkcs11-2")}
        for name, info in keys.items():
            self.assertEqual(info["hsm"], name)
            self.attest(athd, key=name, pem=info["public_pem"])


class TokenScene(Scene):
    """The person's user key in a TPM and the agent's in a token; the application's key in a token."""

    def __init__(self, me, app):  # pylint: disable=super-init-not-called
        self.me, self.app, self.service = TokenAthd(me, software_tpm=True), TokenAthd(app), {}

    def create_keys(self):
        self.user = self.me.call("key.create", name="alice", role="user", hsm="swtpm")
        self.agent = self.me.call("key.create", name="agent", role="client", hsm="pkcs11", agent_id=AGENT_ID)
        self.shop = self.app.call("key.create", name="shop", role="server", hsm="pkcs11")


class Handshake(TokenTest):
    def test_nine_steps_with_a_tpm_and_two_tokens(self):
        with TokenScene(self.new_token(module=SOFTHSM), self.new_token(module=SOFTHSM)) as scene:
            for confirm in (False, True):
                with self.subTest(confirm=confirm):
                    scene.put_service(require_user_confirmation=confirm)
                    mine, theirs = scene.run(user_key="alice")
                    self.assertEqual(mine["peer"]["did"], scene.shop["did"])
                    self.assertEqual(theirs["peer"]["did"], scene.agent["did"])
                    self.assertEqual(mine["scopes"], ["mail:read", "mail:send"])
                    sealed = scene.me.call("session.seal", session=mine["session"], plaintext="aGVsbG8")
                    opened = scene.app.call("session.open", session=theirs["session"], jwe=sealed["jwe"])
                    self.assertEqual(opened["plaintext"], "aGVsbG8")
            self.assertEqual({hsm["kind"] for hsm in scene.me.call("agent.status")["hsms"]}, {"tpm", "pkcs11"})
            for athd in (scene.me, scene.app):
                self.assertEqual(athd.pins_asked(), 1)
                self.no_report(athd)


if __name__ == "__main__":
    unittest.main()
