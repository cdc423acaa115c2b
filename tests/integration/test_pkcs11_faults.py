"""Modules that hang, crash, lie or forget (tests/modules/): a clear error for whom it concerns, everybody
else served, and all is well when the module is."""
import os
import random
import subprocess
import time
import unittest

from peer.agent import Failed
from peer.lies import LIES, codes
from peer.seed import SEED
from peer.token import FAULT, FUNCTIONS
from peer.token_case import AGENT_ID, AUDIENCE, TokenTest, verified
from peer.wire import Wire, children, descriptors, is_running, kill, name_of, process, reason, request, wait_for

SIGN = {"key": "agent", "audience": AUDIENCE}
HSM = {"HSM_UNAVAILABLE", "HSM_ERROR", "HSM_BUSY"}
PIN = {"PIN_REQUIRED", "PIN_INCORRECT", "PIN_LOCKED"}


class Module(TokenTest):
    """The fault module does what it is told, else the rest of this proves nothing."""

    def setUp(self):
        self.token = self.new_token()

    def tool(self, *arguments):
        return subprocess.run(["pkcs11-tool", "--module", FAULT, "--token-label", self.token.label, *arguments],
                              env={**os.environ, **self.token.environment}, timeout=120, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def login(self, pin):
        return self.tool("--login", "--pin", pin, "--list-objects")

    def test_without_rules_it_is_the_real_module(self):
        run = self.login(self.token.pin)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(self.token.logins(), [0])
        self.assertGreater(self.token.calls("C_GetTokenInfo"), 0)

    def test_rules(self):
        for rule, expected in (("C_FindObjectsInit return 0x30", "CKR_DEVICE_ERROR"),
                               ("C_GetTokenInfo label 6e6f626f6479", "No slot with token named"),
                               ("token away", "No slot"), ("C_Initialize return 5", "CKR_GENERAL_ERROR")):
            with self.subTest(rule):
                self.token.fault(rule)
                run = self.login(self.token.pin)
                self.assertNotEqual(run.returncode, 0)
                self.assertIn(expected, run.stderr + run.stdout)
        self.token.fault("C_OpenSession crash segv")
        self.assertEqual(self.login(self.token.pin).returncode, -11)
        self.token.fault("C_OpenSession return 0x30 after=1", "C_Finalize return 0x30 times=1")
        self.assertEqual(self.login(self.token.pin).returncode, 0)
        self.token.fault()
        self.assertEqual(self.login(self.token.pin).returncode, 0)

    def test_wrong_pins_are_counted_and_lock(self):
        self.token.fault("token tries 3")
        for expected in (0xA0, 0xA0, 0xA0, 0xA4, 0xA4):
            self.login("wrong")
            self.assertEqual(self.token.logins()[-1], expected)
        self.login(self.token.pin)
        self.assertEqual(self.token.logins()[-1], 0xA4)


class FaultTest(TokenTest):
    software_tpm = False
    may_say = frozenset()  # other reasons that are right

    def setUp(self):
        self.token = self.new_token()
        self.athd = self.new_athd(self.token, query=self.token.pin_file(), software_tpm=self.software_tpm)
        self.info = self.create(self.athd)
        self.attest(self.athd, pem=self.info["public_pem"])
        self.athd.call("audit.checkpoint")  # the first one: it signs, and must not meet the faults

    def works(self, seconds=60.0):
        """Again, soon; what it says before that is an hsm's error."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.attest(self.athd, pem=self.info["public_pem"])
            except Failed as failed:
                self.assertIn(failed.reason, HSM | PIN)
                if time.monotonic() > deadline:
                    raise AssertionError(f"{failed}\n{self.athd.read_log()}") from failed
            time.sleep(0.02)

    def outcome(self, more=frozenset()):
        """The reason that a signature fails with; None: it verifies."""
        try:
            self.attest(self.athd, pem=self.info["public_pem"])
            return None
        except Failed as failed:
            self.assertIn(failed.reason, HSM | PIN | {"KEY_NOT_FOUND", "UNSUPPORTED_ALGORITHM"} | more, failed)
            self.assertTrue(failed.message)
            return failed.reason


class Hangs(FaultTest):
    software_tpm = True

    def test_hang_delays_nobody_else_and_is_cut_off(self):
        self.athd.call("key.create", name="other", role="client", agent_id=AGENT_ID, hsm="swtpm")
        pem = self.athd.call("key.get", name="other")["public_pem"]
        helpers = [pid for pid in children(self.athd.process.pid) if name_of(pid) == "ath-hsm-helper"]
        restarts = self.athd.call("agent.status")["counters"]["helper_restarts"]
        self.token.fault("C_Sign hang")
        with Wire(self.athd.socket, timeout=90) as wire:
            began = time.monotonic()
            wire.send(*(request(n, "attestation.create", **SIGN) for n in range(4)))
            wait_for(lambda: self.token.calls("C_Sign") > 0)
            self.attest(self.athd, key="other", pem=pem)
            self.assertNotIn("hangs", self.athd.read_log(), "it was waited for")
            while time.monotonic() < began + 5:
                self.attest(self.athd, key="other", pem=pem)
            answers = wire.lines(4)
        self.assertLessEqual({reason(answer) for answer in answers}, HSM, answers)
        self.assertGreater(self.athd.call("agent.status")["counters"]["helper_restarts"], restarts)
        self.assertIn("hangs", self.athd.read_log())
        self.token.fault()
        self.works()
        # the one that hung is gone, the TPM's is still the same
        wait_for(lambda: len([pid for pid in helpers if is_running(pid)]) == 1)

    def test_slow_module_is_waited_for(self):
        restarts = self.athd.call("agent.status")["counters"]["helper_restarts"]
        self.token.fault("C_Sign slow 1500")
        self.assertIsNone(self.outcome())
        self.assertEqual(self.athd.call("agent.status")["counters"]["helper_restarts"], restarts)


class Crashes(FaultTest):
    def crash(self, rule):
        self.token.fault(rule)
        self.outcome()
        if self.athd.hsm()["state"] == "ready":
            pid = process(self.athd, "ath-hsm-helper")
            kill(pid)  # so that what is called at the start is called
            self.outcome()
        self.token.fault()
        self.works()

    def test_crash_in_any_function_is_survived(self):
        self.athd.stop()
        self.athd.start()
        self.token.fault()
        self.outcome()
        called = [function for function in FUNCTIONS if self.token.calls(function)]
        self.assertIn("C_Sign", called)
        for function in called:
            with self.subTest(function):
                self.athd.stop()
                self.athd.start()  # one that has seen no crash yet starts the helper at once
                self.crash(f"{function} crash abort times=1")

    def test_each_way_to_die(self):
        for how in ("abort", "kill", "exit", "segv"):
            with self.subTest(how):
                self.crash(f"C_Sign crash {how} times=1")

    def test_who_crashes_always_is_told_and_started_ever_more_rarely(self):
        self.athd.stop()
        self.token.fault("C_Initialize crash abort")
        self.athd.start()
        wait_for(lambda: self.token.calls("C_Initialize") >= 4)
        began, before = time.monotonic(), self.token.calls("C_Initialize")
        hsm = self.athd.hsm()
        self.assertIn(hsm["state"], ("absent", "failed"))
        self.assertTrue(hsm["message"])
        time.sleep(1.0)  # a span in which starts are counted
        self.assertLessEqual(self.token.calls("C_Initialize") - before, 2 + 4 * (time.monotonic() - began))
        self.athd.call("key.list")
        self.token.fault()
        self.works()

    def test_module_that_cannot_use_our_locks_starts_with_its_own_or_in_one_thread(self):
        for refused in (1, 2):
            with self.subTest(refused):
                self.athd.stop()
                self.token.fault(f"C_Initialize return 0xa times={refused}")  # CKR_CANT_LOCK
                self.athd.start()
                self.attest(self.athd, pem=self.info["public_pem"])
                self.assertEqual(self.token.calls("C_Initialize"), refused + 1)
        self.token.fault()

    def test_signals_threads_and_noise_are_harmless(self):
        self.athd.stop()
        self.token.fault("C_Initialize signals", "C_Initialize thread", "* print stdout", "* print stderr")
        self.athd.start()
        for _ in range(20):
            self.attest(self.athd, pem=self.info["public_pem"])
        helper = process(self.athd, "ath-hsm-helper")
        self.assertEqual(self.athd.stop(), 0)
        wait_for(lambda: not is_running(helper))
        self.athd.start()

    def test_closed_descriptors_are_a_helper_that_is_gone(self):
        for number in range(0, 8):
            with self.subTest(number):
                self.token.fault(f"C_Sign close {number} times=1")
                self.outcome()
                self.token.fault()
                self.works()


class Codes(FaultTest):
    """Every CKR code, from the two functions that matter most."""
    NO = {"USER_DENIED"}
    CANNOT = {"UNSUPPORTED_ALGORITHM"}
    EXPECTED_OF_SIGN = {
        "CKR_HOST_MEMORY": {"INTERNAL_ERROR", "HSM_ERROR"},
        "CKR_FUNCTION_NOT_SUPPORTED": CANNOT, "CKR_KEY_SIZE_RANGE": CANNOT, "CKR_KEY_TYPE_INCONSISTENT": CANNOT,
        "CKR_MECHANISM_INVALID": CANNOT, "CKR_MECHANISM_PARAM_INVALID": CANNOT, "CKR_DOMAIN_PARAMS_INVALID": CANNOT,
        "CKR_CURVE_NOT_SUPPORTED": CANNOT,
        # the token is there though the function says that it is not: a new helper tries it once more
        "CKR_DEVICE_REMOVED": {"HSM_UNAVAILABLE", None},
        "CKR_TOKEN_NOT_PRESENT": {"HSM_UNAVAILABLE", None}, "CKR_DATA_INVALID": {"HSM_ERROR"},
        "CKR_FUNCTION_FAILED": {"HSM_ERROR"}, "CKR_GENERAL_ERROR": {"HSM_ERROR"}, "CKR_PIN_LOCKED": {"PIN_LOCKED"},
    }
    EXPECTED_OF_LOGIN = {
        "CKR_PIN_INCORRECT": {"PIN_INCORRECT"}, "CKR_PIN_LOCKED": {"PIN_LOCKED"},
        "CKR_USER_ALREADY_LOGGED_IN": {None, "PIN_REQUIRED", "HSM_ERROR"},
    }

    def test_each_code_of_sign_is_an_error_and_no_more(self):
        all_codes = codes()
        self.assertGreater(len(all_codes), 80)
        for name, number in all_codes.items():
            with self.subTest(name):
                self.token.fault(f"C_Sign return {number:#x}")
                self.check(self.EXPECTED_OF_SIGN.get(name, HSM | PIN | self.NO | {None}))

    def check(self, expected):
        """Tried once, not for as long as the module fails."""
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "attestation.create", **SIGN))
            wait_for(lambda: self.token.calls("C_Sign") > 0)
            self.token.fault()
            answer = wire.line()
            self.assertIn(reason(answer), expected, f"{answer}\n{self.athd.read_log()[-3000:]}")
        self.works()

    def test_each_code_of_login_is_an_error_and_one_try(self):
        numbers = codes()
        # all are tried with the helper alone (test_pkcs11_helper.py); these are athd's matter
        names = {"CKR_PIN_INCORRECT", "CKR_PIN_INVALID", "CKR_PIN_LOCKED", "CKR_PIN_EXPIRED", "CKR_PIN_LEN_RANGE",
                 "CKR_USER_ALREADY_LOGGED_IN", "CKR_USER_PIN_NOT_INITIALIZED", "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
                 "CKR_CANCEL", "CKR_DEVICE_REMOVED", "CKR_GENERAL_ERROR", "CKR_HOST_MEMORY", "CKR_SESSION_HANDLE_INVALID",
                 *random.Random(SEED).sample(sorted(numbers), 2)}
        for name in sorted(names):
            with self.subTest(name):
                self.athd.stop()
                self.athd.forget_wrong_pins()
                self.token.pin_file()  # another file: what was refused is not
                self.token.fault(f"C_Login return {numbers[name]:#x}")
                before = len(self.token.logins())
                self.athd.start()
                outcomes = {self.outcome(self.NO) for _ in range(3)}
                expected = self.EXPECTED_OF_LOGIN.get(name, HSM | PIN | self.NO)
                self.assertLessEqual(outcomes, expected | PIN)
                self.assertTrue(outcomes & expected, (outcomes, self.athd.read_log()[-2000:]))
                if name in ("CKR_PIN_INCORRECT", "CKR_PIN_INVALID", "CKR_PIN_LOCKED"):
                    self.assertEqual(len(self.token.logins()) - before, 1)
        self.token.fault()


class Lies(FaultTest):
    """With the sanitizers this is what finds reads and writes past what a module gave."""
    def test_lies_are_errors_or_do_no_harm(self):
        for lie in random.Random(SEED).sample(LIES, 4):  # all are told to the helper alone (test_pkcs11_helper.py)
            with self.subTest(lie[:70]):
                self.token.fault(lie)
                with Wire(self.athd.socket) as wire:
                    # one that is running meets it, and one that starts with it
                    before = self.token.calls()
                    wire.send(request(1, "attestation.create", **SIGN),
                              request(2, "key.create", name="new", role="client", hsm="pkcs11"))
                    self.settle(before)
                    kill(process(self.athd, "ath-hsm-helper"))
                    before = self.token.calls()
                    wire.send(request(3, "attestation.create", **SIGN))
                    self.settle(before)
                    self.token.fault()
                    for answer in wire.lines(3):
                        self.judge(lie, answer)
                kill(process(self.athd, "ath-hsm-helper"))  # it may believe for a while what it was told
                self.works()
                self.delete("new")
                self.no_report(self.athd)

    def settle(self, before):
        """Until the module was called since then, and then not for a while."""
        wait_for(lambda: self.token.calls() > before)
        while (now := self.token.calls()) != before:
            before = now
            time.sleep(0.03)

    def judge(self, lie, answer):
        """A good signature or an error; a damaged one never leaves."""
        if answer["id"] in (1, 3) and "result" in answer:
            verified(answer["result"]["jwt"], self.info["public_pem"])
        elif "error" in answer:
            self.assertIn(answer["error"]["code"], (-32003, -32004, -32005, -32602), (lie, answer))

    def delete(self, name):
        try:
            self.athd.call("key.delete", name=name)
        except Failed as failed:
            self.assertIn(failed.reason, HSM | {"KEY_NOT_FOUND"})

    def test_texts_of_a_token_cannot_drive_a_terminal(self):
        token = self.new_token()
        token.fault("C_GetTokenInfo manufacturer " + "1b5b324a0a".ljust(64, "0"), "C_GetTokenInfo model " + "ff" * 16)
        athd = self.new_athd(token)
        self.create(athd)
        self.attest(athd)
        hsm = athd.hsm()
        self.assertNotRegex(hsm.get("manufacturer", "") + hsm.get("model", ""), r"[\x00-\x1f\x7f]")
        for text in (athd.read_log(), athd.questions()):
            self.assertNotRegex(text, r"[\x00-\x09\x0b-\x1f\x7f]")


class Forgets(FaultTest):
    def test_forgotten_sessions_are_opened_again(self):
        # After "forget" the other worker's session is gone, too: if that one signs next, C_SignInit is what fails,
        # and a C_Sign that failed as well would be its second loss, which is an error.
        for rule in ("C_Sign return 0xb3 times=1", "C_SignInit return 0xb3 times=1", "C_Sign forget times=1",
                     "C_SignInit forget times=1"):
            with self.subTest(rule):
                self.token.fault(rule)
                self.assertIsNone(self.outcome(), self.athd.read_log())
                self.token.fault()

    def test_who_was_logged_out_logs_in_again(self):
        for rule in ("C_SignInit logout times=1", "C_Sign logout times=1", "C_SignInit return 0x101 times=1"):
            with self.subTest(rule):
                self.token.fault(rule)
                self.assertIsNone(self.outcome(), self.athd.read_log())
                self.token.fault()
                self.works()

    def test_nothing_is_left_over(self):
        self.works()
        open_before = descriptors(process(self.athd, "ath-hsm-helper"))
        for _ in range(30):
            self.token.fault("C_SignInit forget times=1")
            self.outcome()
        self.token.fault()
        self.works()
        self.assertLessEqual(descriptors(process(self.athd, "ath-hsm-helper")), open_before + 2)


if __name__ == "__main__":
    unittest.main()
