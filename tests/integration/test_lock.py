"""A locked athd: what it still does, what it does not, how it is unlocked, and where the passphrase is: nowhere."""
import json
import os
import subprocess
import threading
import time
import unittest

from peer.agent import BIN
from peer.lock_case import AGENT_ID, AUDIENCE, PASSPHRASE, SIGN, LockTest
from peer.pinentry import GOOD, Terminal
from peer.token_case import TokenTest
from peer.wire import Wire, is_running, name_of, reason, request, wait_for
from test_pkcs11_secrets import files_with, memory_has, processes, told_to

ATH = os.path.join(BIN, "ath")
OPEN = """agent.hello agent.status agent.unlock events.subscribe key.list key.get key.export handshake.list service.list
    credential.list session.list peer.list policy.check policy.show policy.freeze grant.list grant.revoke consent.list
    consent.environment consent.forget consent.attend consent.answer audit.query audit.checkpoint audit.proof audit.consistency""".split()
# params that a method takes, so that it is the lock that refuses it
PARAMS = {
    "key.create": {"name": "k", "role": "user"}, "key.delete": {"name": "agent"},
    "key.import": {"name": "k", "role": "user", "tss2_pem": "x"}, "attestation.create": SIGN,
    "attestation.verify": {"jwt": "a.b.c", "audience": AUDIENCE},
    "handshake.start": {"key": "agent", "scopes": ["a"], "server": {"did": "did:web:a.example"}},
    "handshake.receive": {"handshake": "h", "message": "{}"}, "handshake.accept": {"service": "s", "message": "{}"},
    "handshake.get": {"handshake": "h"}, "handshake.abort": {"handshake": "h"},
    "confirmation.answer": {"key": "alice", "message": "{}"},
    "service.put": {"name": "s", "key": "shop", "scopes_supported": ["a"], "token_max_ttl": 60,
                    "require_user_confirmation": False, "agents": {}, "users": {}, "origins": []},
    "service.delete": {"name": "s"}, "credential.put": {"credential": "a.b.c"},
    "credential.issue": {"key": "alice", "client": "did:web:a.example", "scopes": ["a"], "ttl": 60},
    "credential.verify": {"credential": "a.b.c"}, "session.seal": {"session": "s", "plaintext": "AA"},
    "session.open": {"session": "s", "jwe": "a"}, "session.token": {"session": "s"}, "session.close": {"session": "s"},
    "token.verify": {"service": "s", "token": "a.b.c"}, "peer.pin": {"did": "did:web:a.example"},
    "peer.remove": {"did": "did:web:a.example"}, "policy.unfreeze": {"key": "agent"},
    "grant.create": {"name": "g", "keys": ["agent"]}, "consent.answer": {"id": "x", "approve": True},
    "consent.pinentry": {"id": "x"},
}


class Locking(LockTest):
    def test_passphrase_locks_and_unlocks(self):
        self.start()
        before = int(time.time())
        self.assertEqual(self.athd.call("agent.lock")["lock"]["by"], ["passphrase"])
        self.is_locked("passphrase")
        self.assertTrue(before <= self.status()["lock"]["since"] <= time.time())
        self.assertEqual(self.athd.call("agent.unlock"), {"locked": False})
        self.is_open()
        self.assertEqual(self.athd.call("agent.unlock"), {"locked": False}, "nobody is asked")
        self.assertEqual(self.athd.questions().count("GETPIN"), 3)
        self.assertFalse(os.path.exists(os.path.join(self.athd.state, "lock.json")))
        self.assertEqual(self.athd.last_record("agent_locked")["by"], "passphrase")
        unlocked = self.athd.last_record("agent_unlocked")
        self.assertEqual((unlocked["by"], unlocked["locked"], unlocked["caller"]["pid"]),
                         ("passphrase", False, os.getpid()))

    def test_every_method_is_open_or_closed(self):
        self.start()
        self.athd.call("agent.lock")
        for method in self.athd.call("agent.hello")["capabilities"]:
            with self.subTest(method), Wire(self.athd.socket) as wire:
                if method == "agent.unlock":
                    continue
                answer = wire.ask(request(1, method, **PARAMS.get(method, {})))
                if method in OPEN:
                    self.assertNotEqual(reason(answer), "AGENT_LOCKED", answer)
                else:
                    self.assertEqual((reason(answer), answer["error"]["code"]), ("AGENT_LOCKED", -32006), answer)
        self.athd.call("policy.freeze", key="agent")

    def test_neither_sigkill_nor_restart_unlocks(self):
        self.start()
        self.athd.call("agent.lock")
        self.kill()
        self.is_locked("passphrase")
        self.assertEqual(self.athd.stop(), 0)
        self.athd.start()
        self.is_locked("passphrase")
        self.athd.call("agent.unlock")
        self.is_open()
        self.kill()
        self.is_open()

    def edit(self, **changes):
        """Of lock.json, while athd is away."""
        self.assertEqual(self.athd.stop(), 0)
        record = {**self.file(), **changes}
        with open(os.path.join(self.athd.state, "lock.json"), "w", encoding="utf-8") as file:
            json.dump(record, file)
        self.athd.start()

    def test_wrong_passphrases_are_counted_over_restarts(self):
        self.start()
        self.athd.call("agent.lock")
        self.answers("something else")
        self.assertNotIn("retry_after", self.refused("PIN_INCORRECT", "agent.unlock").data)
        self.assertEqual(self.refused("PIN_INCORRECT", "agent.unlock").data["retry_after"], 1)
        self.assertEqual(self.file()["wrong"], 2)
        self.edit(failed_at=int(time.time()) - 2)
        self.assertEqual(self.refused("PIN_INCORRECT", "agent.unlock").data["retry_after"], 5)
        self.edit(failed_at=int(time.time()) - 6)
        self.assertEqual(self.refused("PIN_INCORRECT", "agent.unlock").data["retry_after"], 30)
        self.edit(wrong=7, failed_at=int(time.time()) - 3601)
        self.assertEqual(self.refused("PIN_INCORRECT", "agent.unlock").data["retry_after"], 3600)
        self.kill()
        asked = self.athd.questions().count("GETPIN")
        self.answers(PASSPHRASE)
        self.assertIn(self.refused("PIN_LOCKED", "agent.unlock").data["retry_after"], range(3000, 3601))
        self.assertIn(self.status()["lock"]["retry_after"], range(3000, 3601))
        self.assertEqual(self.athd.questions().count("GETPIN"), asked, "nobody is asked in a pause")
        self.assertEqual(self.file()["wrong"], 8)
        wait_for(lambda: self.athd.last_record("unlock_refused")["denial_reason"] == "PIN_LOCKED")
        self.edit(failed_at=int(time.time()) - 3601)
        self.athd.call("agent.unlock")
        self.is_open()

    def test_time_of_day_put_back_shortens_no_pause_and_put_forward_ends_it(self):
        self.start()
        self.athd.call("agent.lock")
        self.edit(wrong=20, failed_at=int(time.time()) + 86400)
        self.assertIn(self.refused("PIN_LOCKED", "agent.unlock").data["retry_after"], range(3500, 3601))
        self.edit(wrong=20, failed_at=int(time.time()) - 3601)
        self.athd.call("agent.unlock")

    def test_a_try_that_was_killed_counts(self):
        self.start()
        self.athd.call("agent.lock")
        wrong = self.file()["wrong"]
        self.answers("something else")
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "agent.unlock"))
            wait_for(lambda: self.file()["wrong"] > wrong)
            self.kill()
        self.assertEqual(self.file()["wrong"], wrong + 1)
        self.is_locked("passphrase")

    def test_nobody_to_ask_is_no_lock(self):
        self.start()
        os.unlink(os.path.join(self.athd.dir, "prompter"))
        self.refused("NO_PROMPTER", "agent.lock")
        self.is_open()

    def test_no_answer_is_no_lock(self):
        self.start()
        for says, expected in (("echo 'ERR 83886179 Operation cancelled <Pinentry>'", "USER_DENIED"),
                               ("echo OK", "USER_DENIED"), ("exit", "NO_PROMPTER"),
                               ("echo 'D short'; echo OK", "USER_DENIED")):
            with self.subTest(says):
                self.says_at_getpin(says)
                self.refused(expected, "agent.lock")
                self.is_open()
        self.answers("passphrase 1", "passphrase 2", "passphrase 3", "passphrase 4", "passphrase 5", "passphrase 6")
        self.refused("USER_DENIED", "agent.lock")
        self.is_open()

    def test_caller_that_leaves_takes_the_question_along(self):
        self.start()
        self.says_at_getpin("sleep 600 & wait")
        wire = Wire(self.athd.socket)
        wire.send(request(1, "agent.lock"))
        wait_for(lambda: "GETPIN" in self.athd.questions())
        self.refused("LIMIT_EXCEEDED", "agent.lock")
        wire.close()
        wait_for(lambda: not any(is_running(pid) for pid in self.athd.prompters()))
        self.is_open()
        self.answers(PASSPHRASE)
        self.athd.call("agent.lock")

    def test_damaged_file_is_a_lock_with_a_way_out(self):
        self.start()
        self.athd.stop()
        path = os.path.join(self.athd.state, "lock.json")
        for text, mode in (("", 0o600), ("{}", 0o600), ("x" * 5000, 0o600),
                           ('{"version":1,"by":[],"since":0,"wrong":0,"failed_at":0}', 0o600),
                           ('{"version":1,"by":["session"],"since":0,"wrong":0,"failed_at":0}', 0o666)):
            with self.subTest(text[:60]):
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                os.chmod(path, mode)
                self.athd.start()
                self.is_locked("damage")
                self.assertIn("lock.json", self.refused("AGENT_LOCKED", "agent.unlock").message)
                self.assertEqual([os.path.basename(entry["file"]) for entry in self.status()["damaged"]],
                                 ["lock.json"])
                self.assertEqual(self.athd.stop(), 0)
                with open(path, encoding="utf-8") as file:
                    self.assertEqual(file.read(), text, "it is left as it was")
        os.unlink(path)
        self.athd.start()
        self.is_open()

    def test_subscribers_are_told(self):
        self.start()
        with Wire(self.athd.socket) as wire:
            self.assertIn("result", wire.ask(request(1, "events.subscribe", topics=["lock"])))
            self.athd.call("agent.lock")
            self.athd.call("agent.unlock")
            events = [line["params"] for line in wire.lines(2)]
        self.assertEqual(events, [{"state": "locked", "by": "passphrase", "topic": "lock"},
                                  {"state": "unlocked", "by": "passphrase", "topic": "lock"}])


class UnderWay(LockTest):
    """What had begun when the lock came."""

    def setUp(self):
        super().setUp()
        self.start()
        self.athd.call("key.create", name="alice", role="user")
        agent = self.athd.call("key.get", name="agent")
        self.issue = {"key": "alice", "client": agent["did"], "scopes": ["a"], "ttl": 60}

    def test_open_questions_end(self):
        self.athd.answers('" >/dev/null; sleep 600 & wait; echo "')
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "credential.issue", **self.issue))
            wait_for(lambda: "CONFIRM" in self.athd.questions())
            asking = self.athd.prompters()
            self.athd.call("agent.lock")
            answer = wire.line()
        self.assertEqual((reason(answer), answer["error"]["code"]), ("AGENT_LOCKED", -32006), answer)
        wait_for(lambda: not any(is_running(pid) for pid in asking))
        self.assertEqual(self.athd.call("credential.list"), {"credentials": []})

    def test_hundreds_of_requests_are_answered_with_it_or_before_it(self):
        results = []

        def flood():
            with Wire(self.athd.socket) as wire:
                for round_ in range(200):
                    wire.send(*[request(round_ * 16 + i, "attestation.create", **SIGN) for i in range(16)])
                    lines = wire.lines(16)
                    results.extend(lines)
                    if all(reason(line) == "AGENT_LOCKED" for line in lines):
                        return

        threads = [threading.Thread(target=flood) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(results) > 64)
        self.athd.call("agent.lock")
        signed = self.status()["counters"]["signatures"]
        for thread in threads:
            thread.join(60)
        self.assertFalse(any(thread.is_alive() for thread in threads))
        self.assertEqual({reason(line) for line in results}, {None, "AGENT_LOCKED"})
        self.assertLessEqual(sum(reason(line) is None for line in results), signed)
        self.athd.call("agent.unlock")
        self.is_open()

    def test_session_confirmations_are_asked_anew(self):
        self.athd.call("key.create", name="once", role="client", agent_id=AGENT_ID, confirm="session")
        sign = {**SIGN, "key": "once"}
        for _ in range(2):
            self.athd.call("attestation.create", **sign)
        self.assertEqual(self.athd.questions().count("CONFIRM"), 1)
        self.athd.call("agent.lock")
        self.athd.call("agent.unlock")
        self.athd.call("attestation.create", **sign)
        self.assertEqual(self.athd.questions().count("CONFIRM"), 2)


class Tokens(TokenTest):
    """Tokens are logged out; a signature that the hardware was making is not released."""

    def setUp(self):
        self.token = self.new_token()
        self.athd = self.new_athd(self.token)
        self.create(self.athd)
        self.attest(self.athd)

    def lock(self, pin=PASSPHRASE):
        self.athd.answers_pin(f"echo 'D {pin}'; echo OK")
        result = self.athd.call("agent.lock")
        self.athd.answers_pin(GOOD)
        return result

    def unlock(self):
        self.athd.answers_pin(f"echo 'D {PASSPHRASE}'; echo OK")
        self.athd.call("agent.unlock")
        self.athd.answers_pin(GOOD)

    def test_token_is_logged_out_and_asked_for_anew(self):
        self.token.fault()
        self.lock()
        wait_for(lambda: self.token.calls("C_Logout") > 0)
        hsm = self.athd.call("agent.status")["hsms"][0]
        self.assertEqual((hsm["state"], hsm["logged_in"], hsm["reason"]), ("locked", False, "PIN_REQUIRED"))
        logins = len(self.token.logins())
        self.attest_refused("AGENT_LOCKED", self.athd)
        self.unlock()
        self.attest(self.athd)
        self.assertEqual(len(self.token.logins()), logins + 1)

    def test_signature_in_the_hardware_is_not_released(self):
        self.token.fault("C_Sign wait")
        with Wire(self.athd.socket) as wire:
            for number in range(8):
                wire.send(request(number, "attestation.create", key="agent", audience=AUDIENCE))
            wait_for(lambda: self.token.calls("C_Sign") > 0)
            signed = self.athd.call("agent.status")["counters"]["signatures"]
            self.lock()
            self.token.fault()
            self.assertEqual({reason(wire.line()) for _ in range(8)}, {"AGENT_LOCKED"})
        self.assertEqual(self.athd.call("agent.status")["counters"]["signatures"], signed)
        self.unlock()
        self.attest(self.athd)

    def test_question_for_a_pin_ends(self):
        self.athd.stop()
        self.athd.answers_pin("case \"$(tail -n 40 {0}/questions)\" in *passphrase*) echo 'D {1}'; echo OK ;; "
                              "*) sleep 600 & wait ;; esac".format(self.athd.dir, PASSPHRASE))
        before = self.athd.pins_asked()
        self.athd.start()
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "attestation.create", key="agent", audience=AUDIENCE))
            wait_for(lambda: self.athd.pins_asked() > before)
            asking = self.athd.prompters()
            self.athd.call("agent.lock")
            self.assertEqual(reason(wire.line()), "AGENT_LOCKED")
        wait_for(lambda: not any(is_running(pid) for pid in asking))


class System(LockTest):
    """An athd for the whole machine asks nobody for a passphrase; it says what else there is."""

    def as_system(self):
        self.athd.arguments.append("--system")
        self.athd.start()

    def run_ath(self, *words):
        return subprocess.run([ATH, *words], env={**os.environ, "ATH_AUTH_SOCK": self.athd.socket}, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    def test_it_cannot_be_locked_by_a_passphrase_and_says_what_stops_keys(self):
        self.as_system()
        self.athd.call("key.create", name="agent", role="client", agent_id=AGENT_ID)
        run = self.run_ath("lock")
        self.assertNotEqual(run.returncode, 0)
        for told in (run.stderr, self.refused("NO_PROMPTER", "agent.lock").message):
            self.assertIn("nothing has been locked", told)
            self.assertIn("`ath freeze --all`", told)
        self.is_open()
        self.assertEqual(self.athd.prompters(), [])
        self.assertEqual(self.run_ath("freeze", "--all").returncode, 0)
        self.refused("POLICY_DENIED", "attestation.create", **SIGN)

    def test_a_passphrases_lock_that_it_was_given_stays_and_says_what_ends_it(self):
        self.start()
        self.athd.call("agent.lock")
        self.assertEqual(self.athd.stop(), 0)
        own = os.path.join("users", str(os.getuid()), "lock.json")
        os.makedirs(os.path.join(self.athd.state, os.path.dirname(own)), 0o700)
        os.rename(os.path.join(self.athd.state, "lock.json"), os.path.join(self.athd.state, own))
        asked = len(self.athd.prompters())
        self.as_system()
        run = self.run_ath("unlock")
        self.assertNotEqual(run.returncode, 0)
        for told in (run.stderr, self.refused("NO_PROMPTER", "agent.unlock").message):
            self.assertIn(f"removing {own} from its state directory", told)
        self.assertEqual(self.status()["lock"]["by"], ["passphrase"])
        self.assertEqual(len(self.athd.prompters()), asked)
        self.assertEqual(self.athd.stop(), 0)
        os.unlink(os.path.join(self.athd.state, own))
        self.athd.start()
        self.assertFalse(self.status()["locked"])
        self.assertEqual(self.athd.call("agent.unlock"), {"locked": False})


class Nowhere(LockTest):
    """The passphrase is in the prompter, and for as long as it is worked on in athd."""

    def look(self, when):
        needle = PASSPHRASE.encode()
        for pid in processes():
            self.assertNotIn(needle, told_to(pid), (when, name_of(pid)))
        self.assertEqual(files_with(self.athd.state, needle), [], when)
        self.assertNotIn(PASSPHRASE, self.athd.read_log() + self.athd.questions(), when)
        self.assertNotIn(PASSPHRASE, json.dumps(self.athd.audit()), when)
        found, seen = memory_has(self.athd.process.pid, needle)
        self.assertGreater(seen, 1 << 20)
        self.assertFalse(found, f"{when}: in athd's memory")

    def test_passphrase_is_in_no_file_argument_environment_or_memory(self):
        self.athd.arguments += ["--log-level", "debug"]
        self.start()
        self.athd.call("agent.lock")
        self.look("locked")
        self.answers(PASSPHRASE + " and more")
        self.refused("PIN_INCORRECT", "agent.unlock")
        self.look("after a wrong one")
        self.answers(PASSPHRASE)
        self.athd.call("agent.unlock")
        self.look("unlocked")
        self.athd.call("agent.lock")
        self.kill()
        self.athd.call("agent.unlock")
        self.look("unlocked after a restart")

    def test_memory_that_is_searched_would_show_it(self):
        self.start()
        name = "found-in-memory-7531"
        self.athd.call("key.create", name=name, role="client", agent_id=AGENT_ID)
        self.assertTrue(memory_has(self.athd.process.pid, name.encode())[0])


class CommandLine(LockTest):
    def ath(self, *words):
        return subprocess.run([ATH, *words], capture_output=True, text=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL, env={**os.environ, "ATH_AUTH_SOCK": self.athd.socket})

    def test_exit_statuses_say_what_came_of_it(self):
        self.start()
        run = self.ath("lock")
        self.assertEqual((run.returncode, run.stdout), (0, "locked by passphrase\n"), run.stderr)
        self.assertEqual(self.ath("attest", "agent", "--audience", AUDIENCE).returncode, 77)
        self.answers("something else")
        run = self.ath("unlock")
        self.assertEqual(run.returncode, 77)
        self.assertIn("wrong", run.stderr)
        statuses = []
        while len(statuses) < 5 and 75 not in statuses:  # the first pauses are short
            statuses.append(self.ath("unlock").returncode)
        self.assertEqual({*statuses}, {75, 77})
        self.answers(PASSPHRASE)
        wait_for(lambda: "retry_after" not in self.status()["lock"], 180)
        run = self.ath("unlock")
        self.assertEqual((run.returncode, run.stdout), (0, "not locked\n"), run.stderr)
        os.unlink(os.path.join(self.athd.dir, "prompter"))
        self.assertEqual(self.ath("lock").returncode, 77)


class RealPrompters(LockTest):
    """pinentry-tty and pinentry-curses at a terminal of their own."""

    def type_at(self, program, *patterns):
        """The passphrase is typed once each has been shown."""
        terminal = Terminal(self, self.athd, program)
        self.start()
        with terminal.typing([(pattern, PASSPHRASE.encode() + b"\r") for pattern in patterns]) as screen:
            self.athd.call("agent.lock")
            self.is_locked("passphrase")
            self.athd.call("agent.unlock")
            self.is_open()
        self.assertNotIn(PASSPHRASE.encode(), screen)

    def test_pinentry_tty(self):
        self.type_at("pinentry-tty", rb"Passphrase: ", rb"Again: ", rb"Unlock athd.*Passphrase: ")

    def test_pinentry_curses(self):
        self.type_at("pinentry-curses", rb"Passphrase _", rb"Once more.*Passphrase _", rb"Unlock athd.*Passphrase _")


if __name__ == "__main__":
    unittest.main()
