"""PINs of a token: asked for once, tried once, never in a loop. The fault module writes a line for each
C_Login, whoever calls it, and locks the token after so many wrong ones as a card does."""
import glob
import json
import os
import subprocess
import time
import unittest

from peer.agent import Failed
from peer.pin_case import SIGN, PinCase, QuestionTests, requests_come
from peer.pinentry import CANCELLED, DIES, GOOD, HANGS, WRONG
from peer.token import FAULT
from peer.token_case import AGENT_ID, TokenTest, verified
from peer.wire import Wire, request, wait_for

OK, INCORRECT, LOCKED = 0, 0xA0, 0xA4


class PinTest(PinCase, TokenTest):
    def setUp(self):
        self.token = self.new_token()

    def start(self, **more):
        """An athd with a key in the token, started anew, so that nobody is logged in."""
        self.athd = self.new_athd(self.token, **more)
        self.info = self.create(self.athd)
        self.again()
        self.asked, self.tried = self.athd.pins_asked(), len(self.token.logins())

    def again(self):
        self.assertEqual(self.athd.stop(), 0)
        self.athd.start()

    def counts(self):
        """How often somebody was asked and what was tried, since start()."""
        return self.count(), self.token.logins()[self.tried:]

    def tries(self):
        return [login == OK for login in self.token.logins()[self.tried:]]

    def sign(self, **more):
        return self.attest(self.athd, **more)

    def try_wrong_outside(self, times=1):
        """Somebody else mistypes the PIN."""
        for _ in range(times):
            subprocess.run(["pkcs11-tool", "--module", FAULT, "--token-label", self.token.label, "--login", "--pin",
                            "wrong", "--list-objects"], env={**os.environ, **self.token.environment}, check=False,
                           stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
        self.tried += times


class ByPrompter(QuestionTests, PinTest):
    def test_right_pin_is_asked_for_once_and_tried_once(self):
        self.start()
        for _ in range(20):
            self.assertIsNone(self.reason())
        self.assertEqual(self.counts(), (1, [OK]))
        self.again()
        self.assertIsNone(self.reason())
        self.assertEqual(self.counts(), (2, [OK, OK]))

    def test_question_says_what_for(self):
        self.start()
        self.assertIsNone(self.reason())
        questions = self.athd.questions().rsplit("SETDESC", 1)[1]
        self.assertIn(self.token.label.replace(" ", "%20"), questions.replace(" ", "%20"))
        self.assertIn("agent", questions)

    def test_ten_callers_are_one_question_and_one_try(self):
        self.start()
        go = self.athd.answers_pin_after_go(GOOD)
        claims = self.at_once(10, lambda connection, _: self.sign(connection=connection), go)
        self.assertEqual(len({claim["jti"] for claim in claims}), 10)
        self.assertEqual(self.counts(), (1, [OK]))

    def test_wrong_pin_for_ten_callers_costs_one_try(self):
        self.start()
        go = self.athd.answers_pin_after_go(WRONG)
        failed = self.at_once(10, lambda connection, _: self.sign(connection=connection), go)
        self.assertEqual({failure.reason for failure in failed}, {"PIN_INCORRECT"})
        self.assertEqual(self.counts(), (1, [INCORRECT]))

    def test_wrong_pin_costs_one_try_and_says_what_is_left(self):
        self.token.fault("token tries 3")
        self.start()
        self.athd.answers_pin(WRONG)
        failed = self.outcome()
        self.assertEqual((failed.code, failed.reason), (-32005, "PIN_INCORRECT"), failed)
        self.assertEqual(self.counts(), (1, [INCORRECT]))
        self.assertNotIn("wrong.", self.athd.questions())
        self.athd.answers_pin(GOOD)
        self.assertIsNone(self.reason())
        self.assertEqual(self.counts(), (2, [INCORRECT, OK]))
        self.assertIn("The last PIN was wrong.", self.athd.questions().rsplit("SETDESC", 1)[1])
        self.again()
        self.assertIsNone(self.reason())
        self.assertNotIn("wrong.", self.athd.questions().rsplit("SETDESC", 1)[1])

    def test_last_try_is_said(self):
        self.token.fault("token tries 2")
        self.start()
        self.athd.answers_pin(WRONG)
        self.assertEqual(self.outcome().data["tries_left"], 1)
        self.athd.answers_pin(CANCELLED)
        self.assertEqual(self.reason(), "USER_DENIED")
        self.assertIn("Only 1 try is left", self.athd.questions().rsplit("SETDESC", 1)[1])
        self.assertEqual(self.counts(), (2, [INCORRECT]))

    def test_loop_of_fifty_is_throttled(self):
        """Some tokens never lock, others lock for good: athd makes a pause itself."""
        self.start()
        self.athd.answers_pin(WRONG)
        began = time.monotonic()
        failed = [self.outcome() for _ in range(50)]
        asked, tried = self.counts()
        self.assertEqual(asked, len(tried), "no try without a question")
        self.assertEqual(set(tried), {INCORRECT})
        self.assertEqual({failure.reason for failure in failed}, {"PIN_INCORRECT", "PIN_LOCKED"})
        pauses = (1, 5, 30, 120, 600, 3600)  # after the second one, the third one, ...
        self.assertLessEqual(sum(pauses[:len(tried) - 2]), time.monotonic() - began)

    def started_with(self, wrong, seconds_ago):
        """Ends athd and starts it again, as if there had been so many wrong PINs, the last so long ago."""
        self.assertEqual(self.athd.stop(), 0)
        [path] = glob.glob(os.path.join(self.athd.state, "pins", "*.json"))
        with open(path, encoding="utf-8") as file:
            record = {**json.load(file), "wrong": wrong, "failed_at": int(time.time()) - seconds_ago}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(record, file)
        self.athd.start()

    def test_pause_outlives_athd(self):
        self.start()
        self.athd.answers_pin(WRONG)
        self.assertEqual(self.reason(), "PIN_INCORRECT")
        self.started_with(6, 3601)
        failed = self.outcome()
        self.assertEqual(failed.reason, "PIN_INCORRECT")
        self.assertIn(failed.data["retry_after"], range(3000, 3601))
        for _ in range(20):
            failed = self.outcome()
            self.assertEqual(failed.reason, "PIN_LOCKED")
            self.assertIn(failed.data["retry_after"], range(3000, 3601))
        self.again()
        self.assertEqual(self.reason(), "PIN_LOCKED")
        self.assertEqual(self.counts(), (2, [INCORRECT] * 2), "no try in it, and no question")

    def test_locked_token_is_not_tried(self):
        self.token.fault("token tries 3")
        self.start()
        self.try_wrong_outside(3)
        for _ in range(5):
            self.assertEqual(self.reason(), "PIN_LOCKED")
        _, tried = self.counts()
        self.assertLessEqual(len(tried), 1)  # what was open before may have to ask
        self.assertNotIn(INCORRECT, tried)

    def test_no_is_no_try(self):
        self.start(pin=GOOD)
        for script, expected in ((CANCELLED, {"USER_DENIED"}), (DIES, {"NO_PROMPTER"}), ("exit 0", {"NO_PROMPTER"}),
                                 ("echo OK", {"NO_PROMPTER", "USER_DENIED", "PIN_REQUIRED"}),
                                 ("echo D; echo OK", {"NO_PROMPTER", "USER_DENIED", "PIN_REQUIRED"}),
                                 ("echo 'ERR 1 strange'", {"NO_PROMPTER"}),
                                 ("head -c 5000 /dev/zero | tr '\\0' x; echo", {"NO_PROMPTER"}),
                                 ("printf 'D '; head -c 900 /dev/zero | tr '\\0' 7; echo; echo OK",
                                  {"NO_PROMPTER", "PIN_REQUIRED", "PIN_INCORRECT"}),
                                 ("echo 'D %zz'; echo OK", {"NO_PROMPTER"})):
            with self.subTest(script):
                self.athd.answers_pin(script)
                self.assertIn(self.reason(), expected, self.athd.read_log()[-2000:])
        self.assertEqual(self.counts()[1], [])
        self.athd.answers_pin(GOOD)
        self.assertIsNone(self.reason())

    def test_question_lasts_while_one_of_the_callers_stays(self):
        self.start()
        go = self.athd.answers_pin_after_go(GOOD)
        first, second = Wire(self.athd.socket), Wire(self.athd.socket)
        self.addCleanup(second.close)
        first.send(request(1, "attestation.create", **SIGN))
        wait_for(lambda: self.counts()[0] == 1)
        second.send(request(1, "attestation.create", **SIGN))
        wait_for(lambda: self.athd.hsm()["queued"] >= 2 if "queued" in self.athd.hsm() else True)
        first.close()
        wait_for(lambda: self.athd.hsm().get("queued", 1) <= 1)
        go()
        verified(second.line()["result"]["jwt"], self.info["public_pem"])
        self.assertEqual(self.counts(), (1, [OK]))

    def test_question_lasts_while_a_key_that_is_not_frozen_waits(self):
        self.start()
        other = self.create(self.athd, name="other")
        self.again()
        self.asked, self.tried = self.athd.pins_asked(), len(self.token.logins())
        go = self.athd.answers_pin_after_go(GOOD)
        with Wire(self.athd.socket) as first, Wire(self.athd.socket) as second:
            there = requests_come(self.athd, 2)
            first.send(request(1, "attestation.create", **SIGN))
            second.send(request(1, "attestation.create", **{**SIGN, "key": "other"}))
            there()
            wait_for(lambda: self.counts()[0] == 1)
            self.athd.call("policy.freeze", key="agent")
            self.assertEqual(first.line()["error"]["data"]["rule"], "frozen")
            go()
            verified(second.line()["result"]["jwt"], other["public_pem"])
        self.assertEqual(self.counts(), (1, [OK]))

    def test_keys_elsewhere_wait_for_no_pin(self):
        self.start(software_tpm=True)
        self.athd.call("key.create", name="other", role="client", agent_id=AGENT_ID, hsm="swtpm")
        self.athd.answers_pin(HANGS)
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "attestation.create", **SIGN))
            wait_for(lambda: self.counts()[0] == 1)
            for _ in range(20):
                began = time.monotonic()
                self.assertIsNone(self.reason(key="other"))
                self.assertLess(time.monotonic() - began, 60)
            self.assertEqual(self.athd.call("key.get", name="agent")["did"], self.info["did"])


class ByFile(PinTest):
    def start_by_file(self, pin=None, **more):
        self.start(query=self.token.pin_file(), **more)
        self.token.pin_file(pin)

    def test_right_pin_asks_nobody(self):
        self.start_by_file()
        for _ in range(5):
            self.assertIsNone(self.reason())
        self.assertEqual(self.counts(), (0, [OK]))

    def test_wrong_pin_costs_one_try_however_often_and_long_it_is_asked_for(self):
        self.start_by_file("wrong")
        self.assertEqual(self.reason(), "PIN_INCORRECT")
        for _ in range(49):
            self.assertIn(self.reason(), ("PIN_REQUIRED", "PIN_LOCKED", "PIN_INCORRECT"))
        self.assertEqual(self.counts(), (0, [INCORRECT]))
        for _ in range(2):
            self.again()
            for _ in range(10):
                self.assertIn(self.reason(), ("PIN_REQUIRED", "PIN_LOCKED", "PIN_INCORRECT"))
        self.assertEqual(self.counts(), (0, [INCORRECT]))
        self.token.pin_file()  # corrected
        self.assertIsNone(self.reason())
        self.assertEqual(self.counts(), (0, [INCORRECT, OK]))

    def test_ten_callers_cost_one_try(self):
        self.start_by_file("wrong")
        failed = self.at_once(10, lambda connection, _: self.sign(connection=connection))
        self.assertTrue(all(isinstance(failure, Failed) for failure in failed), failed)
        self.assertEqual(self.counts(), (0, [INCORRECT]))

    def test_final_try_is_for_a_person(self):
        self.token.fault("token tries 3")
        self.start_by_file("wrong")
        self.athd.answers_pin(CANCELLED)
        self.try_wrong_outside(2)
        self.again()
        for _ in range(5):
            self.assertIn(self.reason(), ("USER_DENIED", "PIN_REQUIRED", "PIN_LOCKED"))
        self.assertEqual(self.counts()[1], [])
        self.athd.answers_pin(GOOD)
        self.assertIsNone(self.reason())
        self.assertEqual(self.counts()[1], [OK])

    def test_file_that_others_can_read_or_that_is_none_is_refused(self):
        self.start_by_file()
        path = os.path.join(self.token.dir, "pin")

        def world():
            os.chmod(path, 0o644)

        def link():
            os.rename(path, path + ".real")
            os.symlink(path + ".real", path)

        def gone():
            os.unlink(path)

        def fifo():
            os.unlink(path)
            os.mkfifo(path, 0o600)

        def huge():
            self.token.pin_file("x" * 100000)

        def empty():
            self.token.pin_file("")
        for change in (world, gone, fifo, huge, empty):
            with self.subTest(change.__name__):
                if os.path.lexists(path):
                    os.unlink(path)
                self.token.pin_file()
                change()
                began = time.monotonic()
                failed = self.outcome()
                self.assertIsNotNone(failed)
                self.assertIn(failed.code, (-32005, -32004), failed)
                self.assertIn(path, failed.message)
                self.assertLess(time.monotonic() - began, 60)
        self.assertEqual(self.counts(), (0, []))
        if os.path.lexists(path):
            os.unlink(path)
        self.token.pin_file()
        self.assertIsNone(self.reason())

    def test_credential_of_the_service_manager(self):
        directory = os.path.join(self.token.dir, "credentials")
        os.mkdir(directory, 0o700)
        self.token.pin_file()
        os.rename(os.path.join(self.token.dir, "pin"), os.path.join(directory, "token-pin"))
        os.chmod(os.path.join(directory, "token-pin"), 0o400)
        athd = self.new_athd(self.token, query="&pin-source=credential:token-pin", start=False)
        athd.environment["CREDENTIALS_DIRECTORY"] = directory
        athd.start()
        self.create(athd)
        self.attest(athd)
        self.assertEqual((athd.pins_asked(), self.token.logins()), (0, [OK]))

    def test_wrong_credential_costs_one_try(self):
        directory = os.path.join(self.token.dir, "credentials")
        os.mkdir(directory, 0o700)
        with open(os.path.join(directory, "token-pin"), "w", encoding="utf-8",
                  opener=lambda path, flags: os.open(path, flags, 0o400)) as file:
            file.write("wrong")
        athd = self.new_athd(self.token, query="&pin-source=credential:token-pin", start=False)
        athd.environment["CREDENTIALS_DIRECTORY"] = directory
        for _ in range(2):
            athd.start()
            for _ in range(10):
                with self.assertRaises(Failed):
                    self.create(athd)
            athd.stop()
        self.assertEqual(self.token.logins(), [INCORRECT])


class AtReader(PinTest):
    def test_pin_typed_at_the_reader_is_asked_for_by_nobody_else(self):
        self.token.fault("token pad")
        self.token.type_at_pad(self.token.pin)
        self.start()
        self.assertIsNone(self.reason())
        self.assertEqual(self.counts(), (0, [OK]))

    def test_wrong_or_no_pin_at_the_reader(self):
        self.token.fault("token pad")
        self.token.type_at_pad(self.token.pin)
        self.start()
        self.token.type_at_pad("wrong")
        self.assertEqual(self.reason(), "PIN_INCORRECT")
        self.assertEqual(self.counts(), (0, [INCORRECT]))
        self.token.type_at_pad(None)
        self.assertEqual(self.reason(), "USER_DENIED")
        self.token.type_at_pad(self.token.pin)
        self.assertIn(self.reason(), (None, "PIN_LOCKED"))


class EachTime(PinTest):
    """CKA_ALWAYS_AUTHENTICATE: the key wants its PIN for each signature (as PIV's 9C does)."""

    def adopt(self, **more):
        self.token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "careful", "--id", "09",
                        "--always-auth", "--sensitive")
        self.athd = self.new_athd(self.token, **more)
        self.info = self.athd.call("key.import", name="agent", role="client", agent_id=AGENT_ID, hsm="pkcs11",
                                   pkcs11_uri=f"pkcs11:token={self.token.label.replace(' ', '%20')};id=%09")
        self.assertTrue(self.info["hardware"]["always_authenticate"])
        self.asked, self.tried = self.athd.pins_asked(), len(self.token.logins())

    def test_person_is_asked_each_time(self):
        self.adopt()
        for turn in range(1, 4):
            self.assertIsNone(self.reason(), self.athd.read_log()[-3000:])
            self.assertEqual(self.counts()[0], turn)
        self.assertEqual(set(self.counts()[1]), {OK})

    def test_wrong_pin_is_one_try_and_no_signature(self):
        self.adopt()
        self.athd.answers_pin(WRONG)
        self.assertEqual(self.reason(), "PIN_INCORRECT")
        self.assertEqual(self.counts(), (1, [INCORRECT]))
        self.athd.answers_pin(CANCELLED)
        self.assertEqual(self.reason(), "USER_DENIED")
        self.assertEqual(self.counts()[1], [INCORRECT])

    def test_file_serves_each_time(self):
        self.adopt(query=self.token.pin_file())
        for _ in range(5):
            self.assertIsNone(self.reason(), self.athd.read_log()[-3000:])
        asked, tried = self.counts()
        self.assertEqual((asked, set(tried)), (0, {OK}))
        self.token.pin_file("wrong")
        reasons = [self.reason() for _ in range(10)]
        self.assertNotIn(None, reasons)
        self.assertEqual(self.counts()[1].count(INCORRECT), 1)


if __name__ == "__main__":
    unittest.main()
