"""Keys in a TPM with a PIN of their own: chosen once, asked for once, tried once, counted by athd; where the
PIN is, and where it is not."""
import json
import os
import re
import socket
import subprocess
import time
import unittest

from peer.agent import BIN, Failed
from peer.pin_case import SIGN, PinCase, QuestionTests
from peer.pin_keys import PinAthd
from peer.pinentry import CANCELLED, DIES, GOOD, HANGS, WRONG, Terminal
from peer.token_case import AUDIENCE, verified
from peer.wire import Wire, children, is_running, kill, name_of, process, reason, request, wait_for
from test_pkcs11_secrets import HUGE, files_with, memory_has, processes, told_to

def is_sanitized(pid):
    """A sanitizer's runtime makes mlock(2) do nothing."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        return "libasan" in (text := file.read()) or "libtsan" in text


class PinTest(PinCase, unittest.TestCase):
    def new_athd(self, start=True, **more):
        athd = PinAthd(**more)
        self.addCleanup(self.end, athd)
        if start:
            athd.start()
            athd.wait_for_hsm()
        return athd

    def end(self, athd):
        try:
            if athd.process and athd.process.poll() is None:
                self.assertEqual(athd.stop(), 0, athd.read_log())
            self.assertIsNone(re.search(r"ERROR: \w+Sanitizer|runtime error:", athd.read_log()), athd.read_log())
            for pid in athd.prompters():
                wait_for(lambda pid=pid: not is_running(pid))
        finally:
            for pid in athd.prompters():
                kill(pid)
            athd.__exit__()

    def again(self, athd=None):
        athd = athd or self.athd
        self.assertEqual(athd.stop(), 0)
        athd.start()
        athd.wait_for_hsm()

    def attest(self, key="agent", connection=None, athd=None):
        """An attestation that verifies; its claims."""
        call = (connection or athd or self.athd).call
        jwt = call("attestation.create", key=key, audience=AUDIENCE)["jwt"]
        return verified(jwt, call("key.get", name=key)["public_pem"])

    def sign(self, **more):
        return self.attest(**more)

    def refused(self, expected, method, **params):
        with self.assertRaises(Failed) as caught:
            self.athd.call(method, **params)
        self.assertEqual(caught.exception.reason, expected, f"{caught.exception}\n{self.athd.read_log()}")
        return caught.exception


class Create(PinTest):
    def setUp(self):
        self.athd = self.new_athd()

    def test_new_pin_is_entered_twice_and_the_key_has_it(self):
        info = self.athd.create()
        self.assertIs(info["pin"], True)
        self.assertIs(info["hardware"]["empty_auth"], False)
        self.assertIs(info["hardware"]["da"], False)
        self.assertEqual(self.athd.pins_asked(), 2)
        self.assertIn("Choose a PIN", self.athd.questions())
        self.assertIn("Key: agent", self.athd.questions())
        self.assertIs(self.athd.call("key.get", name="agent")["pin"], True)
        self.again()
        self.assertIs(self.athd.call("key.get", name="agent")["pin"], True)
        self.attest()
        self.assertEqual(self.athd.pins_asked(), 3)

    def test_prompter_that_repeats_by_itself_is_asked_once(self):
        self.athd.answers_pin('echo "D $pin"; echo "S PIN_REPEATED"; echo OK')
        self.athd.create()
        self.assertEqual(self.athd.pins_asked(), 1)

    def test_no_key_without_its_pin(self):
        self.athd.knows("agent", "1234567")
        count = f'echo x >> {self.athd.dir}/count; n=$(wc -l < {self.athd.dir}/count); '
        for script, expected, asked in ((CANCELLED, "USER_DENIED", 1), (DIES, "NO_PROMPTER", 1),
                                        ("echo OK", "USER_DENIED", 1),
                                        ('echo "D 123"; echo OK', "USER_DENIED", 3),
                                        ('echo "D 123456789012345678901234567890123"; echo OK', "USER_DENIED", 3),
                                        (count + 'echo "D 1234$n"; echo OK', "USER_DENIED", 6)):
            with self.subTest(script):
                before = self.athd.pins_asked()
                self.athd.answers_pin(script)
                with self.assertRaises(Failed) as caught:
                    self.athd.create()
                self.assertEqual(caught.exception.reason, expected, self.athd.read_log())
                self.assertEqual(self.athd.pins_asked() - before, asked)
        self.assertEqual(self.athd.call("key.list"), {"keys": []})
        self.athd.answers_pin(GOOD)
        self.athd.create()

    def test_one_that_is_not_the_same_is_asked_for_anew(self):
        self.athd.knows("agent", "right-one")
        self.athd.answers_pin(f'if [ -e {self.athd.dir}/once ]; then {GOOD}; else : > {self.athd.dir}/once; '
                              'echo "D another"; echo OK; fi')
        self.athd.create()
        self.assertIn("SETERROR They are not the same", self.athd.questions())
        self.assertEqual(self.athd.pins_asked(), 4)
        self.attest()

    def test_others_work_while_a_person_chooses(self):
        self.athd.create("other", pin=False)
        self.athd.knows("agent")
        self.athd.answers_pin(HANGS)
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "key.create", name="agent", role="user", pin=True))
            wait_for(lambda: self.athd.pins_asked() == 1)
            for _ in range(20):
                began = time.monotonic()
                self.attest("other")
                self.assertLess(time.monotonic() - began, 60)
        self.prompters_end()
        self.assertEqual([key["name"] for key in self.athd.call("key.list")["keys"]], ["other"])

    def test_ath_makes_one(self):
        def ath(*arguments):
            return subprocess.run([os.path.join(BIN, "ath"), "--socket", self.athd.socket, *arguments], text=True,
                                  capture_output=True, timeout=60, check=False)
        self.athd.knows("agent")
        made = ath("key", "create", "agent", "--role", "client", "--agent-id", "https://a.example/x", "--pin", "--json")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertIs(json.loads(made.stdout)["pin"], True)
        self.assertRegex(ath("key", "show", "agent").stdout, r"(?m)^pin +(yes|true)")
        self.attest()
        self.athd.answers_pin(WRONG)
        self.again()
        refused = ath("attest", "agent", "--audience", AUDIENCE)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("PIN", refused.stderr)

    def test_it_can_be_an_es384_key_too(self):
        self.athd.create(algorithm="ES384")
        self.attest()

    def test_key_without_a_pin_asks_nobody(self):
        info = self.athd.create(pin=False)
        self.assertIs(info["pin"], False)
        self.athd.create("explicitly", pin=False, role="user")
        self.attest()
        self.assertEqual(self.athd.pins_asked(), 0)


class KeyTest(PinTest):
    def start(self, **more):
        """An athd with a key, started anew, so that nobody has entered its PIN."""
        self.athd = self.new_athd(**more)
        self.info = self.athd.create()
        self.again()
        self.asked = self.athd.pins_asked()

    def tries(self):
        """As they are on record."""
        return [record["success"] for record in self.athd.audit() if record["event"] == "login"]


class Use(QuestionTests, KeyTest):
    def test_right_pin_is_asked_for_once(self):
        self.start()
        for _ in range(20):
            self.assertIsNone(self.reason())
        self.assertEqual(self.count(), 1)
        self.again()
        self.assertIsNone(self.reason())
        self.assertEqual(self.count(), 2)

    def test_question_says_what_for(self):
        self.start()
        self.attest()
        question = self.athd.last_question()
        for part in ("The PIN of a key in the software TPM", "For: attestation.create", "Key: agent"):
            self.assertIn(part, question)

    def test_try_is_on_record_with_its_key(self):
        self.start()
        self.athd.answers_pin(WRONG)
        self.assertEqual(self.reason(), "PIN_INCORRECT")
        self.athd.answers_pin(GOOD)
        self.attest()
        wait_for(lambda: len(self.tries()) == 2)
        self.assertEqual(self.tries(), [False, True])
        self.assertEqual(self.athd.last_record("login")["key"], "agent")

    def test_ten_callers_are_one_question(self):
        self.start()
        go = self.athd.answers_pin_after_go(GOOD)
        claims = self.at_once(10, lambda connection, _: self.attest(connection=connection), once_there=go)
        self.assertEqual(len({claim["jti"] for claim in claims}), 10)
        self.assertEqual(self.count(), 1)

    def test_wrong_pin_for_ten_callers_costs_one_try(self):
        self.start()
        go = self.athd.answers_pin_after_go(WRONG)
        failed = self.at_once(10, lambda connection, _: self.attest(connection=connection), once_there=go)
        self.assertEqual({failure.reason for failure in failed}, {"PIN_INCORRECT"})
        self.assertEqual(self.count(), 1)
        wait_for(lambda: self.tries() == [False])
        self.athd.answers_pin(GOOD)
        self.attest()
        self.assertIn("The last PIN was wrong.", self.athd.last_question())

    def test_wrong_pin_signs_nothing(self):
        self.start()
        self.athd.answers_pin(WRONG)
        failed = self.outcome()
        self.assertEqual((failed.code, failed.reason), (-32005, "PIN_INCORRECT"))
        self.assertNotIn("tries_left", failed.data)  # the TPM does not count
        self.assertEqual(self.athd.signatures(), 0)

    def test_two_keys_with_different_pins_at_once(self):
        self.start()
        self.athd.create("second")
        self.again()
        self.asked = self.athd.pins_asked()
        keys = ["agent", "second"] * 5
        claims = self.at_once(10, lambda connection, n: self.attest(key=keys[n], connection=connection))
        self.assertEqual(len({claim["jti"] for claim in claims}), 10)
        self.assertEqual(self.count(), 2)

    def test_right_pin_of_one_key_opens_no_other(self):
        self.start()
        self.athd.create("second", pin=True)
        self.again()
        self.attest()
        self.athd.answers_pin(f'pin=$(cat {self.athd.dir}/pin-agent)\n' + GOOD)
        self.assertEqual(self.reason(key="second"), "PIN_INCORRECT")
        self.attest()

    def test_keys_without_a_pin_wait_for_nobody(self):
        self.start()
        self.athd.create("other", pin=False)
        self.athd.answers_pin(HANGS)
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "attestation.create", **SIGN))
            wait_for(lambda: self.count() == 1)
            for _ in range(20):
                began = time.monotonic()
                self.assertIsNone(self.reason(key="other"))
                self.assertLess(time.monotonic() - began, 60)
            self.assertEqual(self.athd.call("agent.status")["hsms"][0]["state"], "ready")

    def test_no_is_no_try(self):
        self.start()
        for script, expected in ((CANCELLED, "USER_DENIED"), (DIES, "NO_PROMPTER"), ("exit 0", "NO_PROMPTER"),
                                 ("echo OK", "USER_DENIED"), ("echo 'ERR 1 strange'", "NO_PROMPTER"),
                                 ("echo 'D %zz'; echo OK", "NO_PROMPTER")):
            with self.subTest(script):
                self.athd.answers_pin(script)
                self.assertEqual(self.reason(), expected, self.athd.read_log()[-2000:])
        self.assertEqual(self.tries(), [])
        self.athd.answers_pin(GOOD)
        self.assertIsNone(self.reason())

    def test_deleted_key_takes_its_question_along(self):
        self.start()
        self.athd.answers_pin(HANGS)
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "attestation.create", **SIGN))
            wait_for(lambda: self.count() == 1)
            self.athd.call("key.delete", name="agent")
            self.assertEqual(reason(wire.line()), "KEY_NOT_FOUND")
        self.prompters_end()


class NewRules(KeyTest):
    """What somebody is asked a PIN for is decided again."""

    def rules(self, *rules):
        path = os.path.join(self.athd.dir, "ath", "policy.json")
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"rules": [{"name": f"rule-{number}", "who": {"uid": os.getuid()}, "may": ["*"], **rule}
                                 for number, rule in enumerate(rules)]}, file)
        return self.athd.call("policy.reload")

    def reloaded(self, *rules):
        """athd's answer to a signature that waits for its PIN while these become the rules."""
        self.start()
        self.athd.answers_pin(HANGS)
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "attestation.create", **SIGN))
            wait_for(lambda: self.count() == 1)
            self.rules(*rules)
            return wire.line()["error"]

    def test_what_they_do_not_allow_any_more_ends_at_once_with_its_question(self):
        error = self.reloaded({"audiences": ["https://other.example"]})
        self.assertEqual(error["data"]["reason"], "POLICY_DENIED", error)
        self.assertEqual(error["data"]["rule"], "rule-0")
        self.assertIn("audiences", error["data"]["missing"])
        self.prompters_end()
        self.assertEqual((self.athd.signatures(), self.athd.last_record("policy_denied")["rule"]), (0, "rule-0"))

    def test_a_yes_that_they_want_was_not_given(self):
        error = self.reloaded({"consent": "always"})
        self.assertEqual(error["data"]["reason"], "POLICY_DENIED", error)
        self.assertIn("ask anew", error["data"]["missing"])
        self.assertEqual(self.athd.signatures(), 0)

    def test_a_yes_that_was_given_is_enough(self):
        self.start()
        self.rules({"consent": "always"})
        go = self.athd.answers_pin_after_go(GOOD)
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "attestation.create", **SIGN))
            wait_for(lambda: self.count() == 1)
            self.rules({"consent": "always", "max_ttl": 900})
            go()
            self.assertIn("result", wire.line())

    def test_what_they_still_allow_goes_on_also_the_last_of_a_grant(self):
        self.start()
        go = self.athd.answers_pin_after_go(GOOD)
        grant = self.athd.call("grant.create", name="helper", keys=["agent"], max_uses=1)
        with Wire(grant["socket"]) as wire:
            wire.send(request(1, "attestation.create", **SIGN))
            wait_for(lambda: self.count() == 1)
            self.rules({"max_ttl": 900})
            go()
            self.assertIn("result", wire.line())
        self.assertEqual(self.count(), 1)

    def test_after_a_while_also_without_new_rules(self):
        self.start()
        self.rules({"who": {"uid": os.getuid(), "exe": os.path.realpath("/proc/self/exe")}})
        go = self.athd.answers_pin_after_go(GOOD)
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as answers:
            asker = os.fork()
            if asker == 0:  # connects, and is gone before the PIN is there
                try:
                    connection.connect(self.athd.socket)
                    connection.sendall(json.dumps(request(1, "attestation.create", **SIGN)).encode() + b"\n")
                    time.sleep(300)
                finally:
                    os._exit(0)
            try:
                wait_for(lambda: self.count() == 1)
            finally:
                kill(asker)
                os.waitpid(asker, 0)
            time.sleep(1.1)  # what was decided a moment ago holds
            go()
            connection.settimeout(60)
            error = json.loads(answers.readline())["error"]
        self.assertEqual((error["data"]["reason"], error["data"]["rule"]), ("POLICY_DENIED", "rule-0"))
        self.assertIn("exe", error["data"]["missing"])
        self.assertEqual(self.athd.signatures(), 0)


class Ttl(PinTest):
    def test_pin_is_good_for_so_long(self):
        self.athd = self.new_athd(software_tpm=False, config={"hsm": {"pin_ttl": 2}})
        self.athd.create()
        self.athd.create("second")
        asked = self.athd.pins_asked()
        began = time.monotonic()
        self.attest()
        self.attest()
        self.attest("second")
        if time.monotonic() - began < 2:  # else its time may have been over meanwhile
            self.assertEqual(self.athd.pins_asked() - asked, 2)
        wait_for(lambda: sum(record["event"] == "logout" for record in self.athd.audit()) >= 2)
        asked = self.athd.pins_asked()
        helper = process(self.athd, "ath-hsm-helper")
        wait_for(lambda: not memory_has(helper, self.athd.pins["agent"].encode())[0])
        self.attest()
        self.assertEqual(self.athd.pins_asked() - asked, 1)


class Throttle(PinTest):
    """The first pauses are seconds, which a busy machine takes for less: what must hold in a pause is looked at in
    one of an hour, which begins with the ninth wrong PIN."""

    def setUp(self):
        self.athd = self.new_athd()
        self.athd.create()
        self.again()

    def file(self):
        """Where the only key's wrong PINs are counted."""
        folder = os.path.join(self.athd.state, "pins")
        [name] = os.listdir(folder)
        return os.path.join(folder, name)

    def counted(self):
        with open(self.file(), encoding="utf-8") as file:
            return json.load(file)

    def started_with(self, wrong, seconds_ago):
        """Ends athd and starts it again, as if there had been so many wrong PINs, the last so long ago."""
        self.assertEqual(self.athd.stop(), 0)
        record = {**self.counted(), "wrong": wrong, "failed_at": int(time.time()) - seconds_ago}
        with open(self.file(), "w", encoding="utf-8") as file:
            json.dump(record, file)
        self.athd.start()
        self.athd.wait_for_hsm()

    def wrong_five_times(self):
        self.athd.answers_pin(WRONG)
        for _ in range(5):
            self.assertEqual(self.reason(), "PIN_INCORRECT")
        self.assertEqual(self.counted()["wrong"], 5)

    def test_five_tries_then_a_pause(self):
        self.athd.answers_pin(WRONG)
        asked = self.athd.pins_asked()
        for _ in range(4):
            failed = self.outcome()
            self.assertEqual(failed.reason, "PIN_INCORRECT")
            self.assertNotIn("retry_after", failed.data)
        began = time.monotonic()
        failed = self.outcome()
        self.assertEqual(failed.reason, "PIN_INCORRECT")
        if time.monotonic() - began < 4:
            self.assertIn(failed.data["retry_after"], range(1, 6))
        failed = self.outcome()
        if time.monotonic() - began < 5:  # the pause is that long, and began after that
            self.assertEqual(failed.reason, "PIN_LOCKED")
            self.assertIn(failed.data["retry_after"], range(1, 6))
            self.assertEqual(self.athd.pins_asked() - asked, 5, "no question without a try")
        self.assertGreaterEqual(self.counted()["wrong"], 5)

    def test_each_pause_is_longer_and_they_outlive_athd(self):
        self.wrong_five_times()
        for wrong, pause in ((5, 30), (6, 120), (7, 600), (8, 3600), (9, 3600)):
            self.started_with(wrong, 3601)
            asked = self.athd.pins_asked()
            failed = self.outcome()
            self.assertEqual((failed.reason, self.athd.pins_asked() - asked), ("PIN_INCORRECT", 1))
            self.assertEqual(self.counted()["wrong"], wrong + 1)
            if pause >= 600:
                self.assertIn(failed.data["retry_after"], range(pause - 300, pause + 1))
        for _ in range(20):
            failed = self.outcome()
            self.assertEqual(failed.reason, "PIN_LOCKED")
            self.assertIn(failed.data["retry_after"], range(3000, 3601))
        self.again()
        self.assertEqual(self.reason(), "PIN_LOCKED")
        self.assertEqual(self.athd.pins_asked() - asked, 1, "no question without a try")
        self.assertEqual(self.counted()["wrong"], 10)

    def test_right_pin_starts_the_count_anew(self):
        for _ in range(2):
            self.athd.answers_pin(WRONG)
            for _ in range(4):
                self.assertEqual(self.reason(), "PIN_INCORRECT")
            self.athd.answers_pin(GOOD)
            self.assertIsNone(self.reason())
            self.again()

    def test_it_is_counted_by_key(self):
        self.athd.create("second")
        self.again()
        self.wrong_five_times()
        self.started_with(9, 0)
        self.assertEqual(self.reason(), "PIN_LOCKED")
        self.athd.answers_pin(GOOD)
        self.assertIsNone(self.reason(key="second"))
        self.assertEqual(self.reason(), "PIN_LOCKED")

    def test_deleting_and_importing_wins_no_tries(self):
        pem = self.athd.call("key.export", name="agent", format="tss2")["data"]
        self.wrong_five_times()
        self.started_with(9, 0)
        self.athd.call("key.delete", name="agent")
        self.athd.knows("again")
        failed = self.refused("PIN_LOCKED", "key.import", name="again", role="user", tss2_pem=pem)
        self.assertGreater(failed.data["retry_after"], 0)


class Import(PinTest):
    def setUp(self):
        self.athd = self.new_athd()
        self.athd.create()
        self.pem = self.athd.call("key.export", name="agent", format="tss2")["data"]
        self.athd.call("key.delete", name="agent")
        self.athd.knows("back", self.athd.pins["agent"])
        self.asked = self.athd.pins_asked()

    def bring(self):
        return self.athd.call("key.import", name="back", role="user", tss2_pem=self.pem)

    def test_it_asks_for_the_pin_and_signs(self):
        info = self.bring()
        self.assertIs(info["pin"], True)
        self.assertIn("For: key.import", self.athd.last_question())
        self.athd.call("key.delete", name="back")
        self.assertEqual(self.athd.pins_asked() - self.asked, 1)

    def test_wrong_pin_imports_nothing(self):
        for script, expected in ((WRONG, "PIN_INCORRECT"), (CANCELLED, "USER_DENIED")):
            self.athd.answers_pin(script)
            with self.assertRaises(Failed) as caught:
                self.bring()
            self.assertEqual(caught.exception.reason, expected)
        self.assertEqual(self.athd.call("key.list"), {"keys": []})
        self.athd.answers_pin(GOOD)
        self.bring()
        self.again()
        self.assertIs(self.athd.call("key.get", name="back")["pin"], True)

    def test_caller_who_leaves_imports_nothing(self):
        self.athd.answers_pin(HANGS)
        wire = Wire(self.athd.socket)
        wire.send(request(1, "key.import", name="back", role="user", tss2_pem=self.pem))
        wait_for(lambda: self.athd.pins_asked() - self.asked == 1)
        wire.close()
        self.prompters_end()
        self.athd.answers_pin(GOOD)
        self.bring()


class Lost(PinTest):
    """The helper or its TPM goes."""

    def setUp(self):
        self.athd = self.new_athd()
        self.athd.create()
        self.attest()
        self.asked = self.athd.pins_asked()

    def test_another_helper_asks_again(self):
        for name in ("ath-hsm-helper", "swtpm"):
            with self.subTest(name):
                before = self.athd.pins_asked()
                gone = process(self.athd, name)
                kill(gone)
                wait_for(lambda gone=gone: not is_running(gone))
                self.assertIsNone(self.reason())
                self.assertEqual(self.athd.pins_asked() - before, 1)

    def test_helper_that_is_killed_while_it_asks_takes_the_question_along(self):
        self.again()
        self.athd.answers_pin(HANGS)
        asked = self.athd.pins_asked()
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "attestation.create", **SIGN))
            wait_for(lambda: self.athd.pins_asked() == asked + 1)
            wait_for(lambda: any(is_running(pid) for pid in self.athd.prompters()))
            kill(process(self.athd, "ath-hsm-helper"))
            self.assertEqual(reason(wire.line()), "HSM_UNAVAILABLE")
        self.prompters_end()
        self.athd.answers_pin(GOOD)
        self.assertIsNone(self.reason())

    def test_helper_that_is_killed_while_a_pin_is_chosen_makes_no_key(self):
        self.athd.answers_pin(HANGS)
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "key.create", name="new", role="user", pin=True))
            wait_for(lambda: self.athd.pins_asked() == self.asked + 1)
            kill(process(self.athd, "ath-hsm-helper"))
            self.assertEqual(reason(wire.line()), "HSM_UNAVAILABLE")
        self.prompters_end()
        self.athd.answers_pin(GOOD)
        self.athd.create("new")
        self.attest("new")


class Lock(PinTest):
    """agent.lock, whose passphrase the person enters at the same prompter."""

    def setUp(self):
        self.athd = self.new_athd()
        self.athd.create()
        self.again()
        with open(os.path.join(self.athd.dir, "pin-"), "w", encoding="utf-8") as file:
            file.write("a passphrase of theirs")

    def test_lock_forgets_the_pin(self):
        self.attest()
        helper, needle = process(self.athd, "ath-hsm-helper"), self.athd.pins["agent"].encode()
        self.assertTrue(memory_has(helper, needle)[0])
        self.athd.answers_pin('echo "D a passphrase of theirs"; echo OK')
        self.athd.call("agent.lock")
        self.assertEqual(self.reason(), "AGENT_LOCKED")
        wait_for(lambda: not memory_has(helper, needle)[0])
        self.athd.call("agent.unlock")
        self.athd.answers_pin(GOOD)
        asked = self.athd.pins_asked()
        self.attest()
        self.assertEqual(self.athd.pins_asked() - asked, 1)

    def test_who_waits_for_a_pin_is_locked_out(self):
        self.athd.answers_pin(HANGS)
        with Wire(self.athd.socket) as wire, Wire(self.athd.socket) as other:
            wire.send(request(1, "attestation.create", **SIGN))
            wait_for(lambda: any(children(pid) for pid in self.athd.prompters()))  # it hangs
            prompter = self.athd.prompters()[-1]
            self.athd.answers_pin('echo "D a passphrase of theirs"; echo OK')
            other.send(request(1, "agent.lock"))
            kill(prompter)  # the person turns the question away
            self.assertIn(reason(wire.line()), ("NO_PROMPTER", "AGENT_LOCKED"))
            self.assertIn("result", other.line())
        self.assertEqual(self.reason(), "AGENT_LOCKED")


class Nowhere(PinTest):
    """The PIN is in the helper while it is needed, and nowhere else."""

    def look(self, needle, when):
        for pid in processes():
            self.assertNotIn(needle, told_to(pid), (when, name_of(pid)))
        self.assertEqual(files_with(self.athd.state, needle), [], when)
        for text in (self.athd.read_log(), self.athd.questions()):
            self.assertNotIn(needle.decode(), text, when)
        found, seen = memory_has(self.athd.process.pid, needle)
        self.assertGreater(seen, 1 << 20)
        self.assertFalse(found, f"{when}: in athd's memory")

    def test_it_is_in_the_helper_only(self):
        self.athd = self.new_athd(software_tpm=False, arguments=("--log-level", "debug"),
                                  config={"hsm": {"pin_ttl": 5}})
        go = os.path.join(self.athd.dir, "go")
        needle = self.athd.knows("agent").encode()
        self.athd.answers_pin(f"while [ ! -e {go} ]; do sleep 0.02; done\n" + GOOD)
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "key.create", name="agent", role="client", agent_id="https://a.example/x", pin=True))
            wait_for(lambda: self.athd.pins_asked() == 1)
            self.look(needle, "while a person is asked")
            with open(go, "w", encoding="utf-8"):
                pass
            self.assertIn("result", wire.line())
        helper = process(self.athd, "ath-hsm-helper")
        self.look(needle, "after it was created")
        self.assertFalse(memory_has(helper, needle)[0], "nobody has used it yet")
        self.assertFalse(memory_has(process(self.athd, "swtpm"), b"no such thing" + needle)[0])
        began = time.monotonic()
        self.attest()
        if not memory_has(helper, needle)[0]:
            self.assertGreater(time.monotonic() - began, 5, "else this finds nothing anywhere")
        for _ in range(10):
            self.attest()
        self.look(needle, "after signatures")
        wait_for(lambda: any(record["event"] == "logout" for record in self.athd.audit()))
        wait_for(lambda: not memory_has(helper, needle)[0])
        self.look(needle, "after its time")

    def places(self, pid, needle):
        """The flags (proc(5), smaps) of each mapping of the process that has the bytes."""
        found, begin, end = [], 0, 0
        try:
            with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
                lines = file.readlines()
        except PermissionError:
            self.skipTest("only root, with CAP_SYS_PTRACE, may look into the memory of the helper")
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in lines:
                head = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
                if head:
                    begin, end = int(head[1], 16), int(head[2], 16)
                elif line.startswith("VmFlags:") and end - begin < HUGE:
                    try:
                        memory.seek(begin)
                        if needle in memory.read(end - begin):
                            found.append(line.split()[1:])
                    except (OSError, OverflowError, ValueError):
                        pass
        return found

    def test_while_it_is_kept_it_is_in_locked_memory_that_is_in_no_core(self):
        self.athd = self.new_athd()
        self.athd.create()
        for _ in range(3):
            self.attest()
        helper = process(self.athd, "ath-hsm-helper")
        places = self.places(helper, self.athd.pins["agent"].encode())
        self.assertNotEqual(places, [])
        for flags in places:
            self.assertIn("dd", flags)  # MADV_DONTDUMP
            if not is_sanitized(helper):
                self.assertIn("lo", flags)  # mlock(2)
        with open(f"/proc/{helper}/limits", encoding="utf-8") as file:
            self.assertRegex(file.read(), r"Max core file size +0 +0 ")

    def test_wrong_pin_is_in_no_log_either(self):
        self.athd = self.new_athd(arguments=("--log-level", "debug"))
        self.athd.create()
        self.again()
        self.athd.answers_pin(WRONG)
        self.assertEqual(self.reason(), "PIN_INCORRECT")
        needle = b"wrong-" + self.athd.pins["agent"].encode()
        self.look(needle, "after a wrong one")
        self.assertFalse(memory_has(process(self.athd, "ath-hsm-helper"), needle)[0])


class RealPrompters(PinTest):
    """pinentry-tty asks for the repetition by itself, pinentry-curses does not."""

    def type_at(self, program, *patterns):
        """The PIN is typed once each has been shown."""
        self.athd = self.new_athd(start=False)
        terminal = Terminal(self, self.athd, program)
        self.athd.start()
        self.athd.wait_for_hsm()
        with terminal.typing([(pattern, b"75314\r") for pattern in patterns]) as screen:
            self.athd.call("key.create", name="agent", role="client", agent_id="https://a.example/x", pin=True)
            self.again()
            self.attest()
        self.assertNotIn(b"7531", screen)

    def test_pinentry_tty(self):
        self.type_at("pinentry-tty", rb"PIN: ", rb"Again: ", rb"attestation\.create.*PIN: ")

    def test_pinentry_curses(self):
        self.type_at("pinentry-curses", rb"PIN: _", rb"again.*PIN: _", rb"attestation\.create.*PIN: _")


if __name__ == "__main__":
    unittest.main()
