"""The helper alone with a module that fails in each of its functions with each code the standard has: an
error or an end, never a crash of ours, a hang, a bad signature or a second try of a PIN.
ATH_TEST_ALL=1 takes every code for every function, and every lie twice (minutes); else it is a choice."""
import os
import random
import unittest

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from peer.helper import INFO, Ended, Helper
from peer.lies import LIES, codes
from peer.seed import SEED
from peer.token import FUNCTIONS
from peer.token_case import ON_PURPOSE, TokenTest

ALL = "ATH_TEST_ALL" in os.environ
HSM = {"HSM_UNAVAILABLE", "HSM_ERROR", "HSM_BUSY"}
PIN = {"PIN_REQUIRED", "PIN_INCORRECT", "PIN_LOCKED"}
OTHER = {"USER_DENIED", "KEY_NOT_FOUND", "UNSUPPORTED_ALGORITHM", "INVALID_PARAMS", "INVALID_PUBLIC_KEY", "CRYPTO", "NOMEM"}


class Alone(TokenTest):
    def setUp(self):
        self.token = self.new_token()
        self.query = self.token.pin_file()
        with Helper(self.token, self.query) as helper:
            for step in (lambda: helper.ask(INFO), helper.login, helper.create):
                response = step()
                self.assertEqual(response.error, "OK", f"{response.sentence}\n{helper.read_log()}")
            self.blob, self.der = response.blob, response.der
            self.assertEqual(helper.end(), 0)

    def check_signature(self, signature, der, message=b"message"):
        self.assertEqual(len(signature), 64)
        whole = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        try:
            serialization.load_der_public_key(der).verify(whole, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            self.fail("a bad signature has left the helper")

    def life(self):
        """All it can be asked for; the errors met."""
        errors = set()
        with Helper(self.token, self.query) as helper:
            try:
                for name, step in (("info", lambda: helper.ask(INFO)), ("login", helper.login),
                                   ("open", lambda: helper.open(self.blob)), ("sign", helper.sign),
                                   ("again", helper.sign), ("create", lambda: helper.create(b"new")),
                                   ("random", helper.random), ("sign", helper.sign)):
                    response = step()
                    errors.add(response.error)
                    if response.error == "OK" and name in ("sign", "again"):
                        self.check_signature(response.data, self.der)
                    if response.error == "OK" and name == "open":
                        self.assertEqual(response.der, self.der, "another key than the one that was asked for")
                    if response.error != "OK":
                        self.assertTrue(response.sentence)
                        if name == "info":
                            break
                    if response.error == "OK" and name == "create":
                        helper.open(response.blob, 2)
                        helper.delete(2)
                helper.end()
            except Ended:
                errors.add("ended")
            except TimeoutError:
                self.fail(f"it hangs\n{helper.read_log()}")
            log = helper.read_log()
            status = helper.process.wait(60)
        self.assertNotRegex(ON_PURPOSE.sub("", log), r"ERROR: \w+Sanitizer|runtime error:", log)
        # 69: it was told that the token is gone, and ends so that it is looked for anew
        self.assertIn(status, (0, 1, 69), log)
        return errors

    def test_alone_it_works(self):
        self.assertEqual(self.life(), {"OK"})

    def called(self):
        self.token.fault()
        self.life()
        return [function for function in FUNCTIONS if self.token.calls(function)]

    def test_every_function_with_codes(self):
        print(f"seed {SEED}")
        choices = random.Random(SEED)
        numbers = codes()
        common = ["CKR_HOST_MEMORY", "CKR_GENERAL_ERROR", "CKR_DEVICE_REMOVED", "CKR_SESSION_HANDLE_INVALID",
                  "CKR_USER_NOT_LOGGED_IN"]
        for function in self.called():
            names = set(numbers)
            if not ALL:
                names = {*choices.sample(common, 2), choices.choice(sorted(numbers))}
            for name in sorted(names):
                with self.subTest(f"{function} {name}"):
                    self.token.fault(f"{function} return {numbers[name]:#x}")
                    tried = len(self.token.logins())
                    errors = self.life()
                    self.assertLessEqual(errors, {"OK", "ended"} | HSM | PIN | OTHER)
                    self.assertLessEqual(len(self.token.logins()) - tried, 1)
        self.token.fault()
        self.assertEqual(self.life(), {"OK"})

    def test_every_lie(self):
        for lie in LIES:
            with self.subTest(lie[:70]):
                self.token.fault(lie)
                self.life()
        self.token.fault()
        self.assertEqual(self.life(), {"OK"})

    def test_lies_that_begin_later(self):
        """What was good once is asked again."""
        for lie in LIES if ALL else random.Random(SEED).sample(LIES, 20):
            with self.subTest(lie[:70]):
                self.token.fault(lie + " after=1")
                self.life()
        self.token.fault()
        self.assertEqual(self.life(), {"OK"})

    def test_crash_in_every_function_ends_it(self):
        for number, function in enumerate(self.called()):
            ways = ("abort", "exit")  # a sanitizer takes a second for its report of a SIGSEGV
            for how in ways if ALL else ways[number % 2:][:1]:
                with self.subTest(f"{function} {how}"):
                    self.token.fault(f"{function} crash {how}")
                    with Helper(self.token, self.query) as helper:
                        try:
                            for step in (lambda: helper.ask(INFO), helper.login, lambda: helper.open(self.blob),
                                         helper.sign, lambda: helper.create(b"new"), helper.random):
                                step()
                            helper.end()
                        except Ended:
                            pass
                        helper.process.wait(60)

    def test_end_is_quick_though_the_module_hangs(self):
        for function in ("C_Finalize", "C_CloseSession", "C_Logout", "C_CloseAllSessions"):
            with self.subTest(function):
                self.token.fault()
                with Helper(self.token, self.query) as helper:
                    self.assertEqual(helper.ask(INFO).error, "OK")
                    self.assertEqual(helper.login().error, "OK")
                    self.token.fault(f"{function} hang")
                    helper.end(60)


if __name__ == "__main__":
    unittest.main()
