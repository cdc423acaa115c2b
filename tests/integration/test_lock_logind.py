"""athd is locked when the machine sleeps and when a session is locked, as a logind on a bus of the test's says."""
import contextlib
import fcntl
import os
import re
import shutil
import struct
import subprocess
import termios
import threading
import time
import unittest

from peer.agent import BIN, Failed
from peer.asker import Asker
from peer.lock_case import AGENT_ID, PASSPHRASE, SIGN, LockTest
from peer.logind import Bus, Logind
from peer.pin_taker import Person
from peer.scene import NO, YES
from peer.wire import Wire, apart, children, is_running, kill, name_of, reason, request, wait_for
from test_system import ALICE, BOB, call_as


class LogindTest(LockTest):
    lock_on = ("suspend", "session")

    def setUp(self):
        self.bus = Bus()
        self.addCleanup(self.bus.close)
        self.bus.start()
        self.logind = Logind(self.bus)
        self.addCleanup(lambda: self.logind.close())
        super().setUp()
        self.athd.configure({"lock_on": list(self.lock_on)})
        self.athd.environment = {"DBUS_SYSTEM_BUS_ADDRESS": self.bus.address}
        self.uid = str(os.getuid())

    def start(self):
        super().start()
        self.wait_until_watching()

    def wait_until_watching(self):
        wait_for(lambda: self.status()["lock_on"]["watching"])

    def wait_until(self, locked):
        wait_for(lambda: self.status()["locked"] == locked)

    def watcher(self):
        return [pid for pid in children(self.athd.process.pid) if name_of(pid) == "ath-logind-watc"]


class Suspend(LogindTest):
    def test_athd_is_locked_before_the_machine_sleeps(self):
        self.start()
        self.logind.wait_for("inhibited sleep athd delay")
        self.logind.tell("sleep")
        self.logind.wait_for("released")
        self.assertEqual(self.file()["by"], ["suspend"], "on disk before the machine sleeps")
        self.is_locked("suspend")
        self.logind.tell("wake")
        self.logind.wait_for("inhibited sleep athd delay")
        self.is_locked("suspend")
        self.kill()
        self.is_locked("suspend")
        self.athd.answers(NO)
        self.refused("USER_DENIED", "agent.unlock")
        self.is_locked("suspend")
        self.athd.answers(YES)
        self.athd.call("agent.unlock")
        self.is_open()
        self.assertEqual(self.athd.last_record("agent_locked")["by"], "suspend")
        self.assertEqual(self.athd.last_record("agent_unlocked")["by"], "answer")

    def test_passphrase_is_still_needed_after_sleep(self):
        self.start()
        self.athd.call("agent.lock")
        self.logind.tell("sleep")
        self.logind.wait_for("released")
        self.is_locked("passphrase", "suspend")
        self.answers("something else")
        self.refused("PIN_INCORRECT", "agent.unlock")
        self.is_locked("passphrase", "suspend")
        self.answers(PASSPHRASE)
        self.athd.call("agent.unlock")
        self.is_open()

    def is_tried(self, wrong):
        """Or it is unlocked already."""
        try:
            return self.file()["wrong"] > wrong
        except FileNotFoundError:
            return True

    def test_unlocking_that_sleep_overtakes_stays_locked(self):
        self.start()
        self.athd.call("agent.lock")
        wrong = self.file()["wrong"]
        with Wire(self.athd.socket) as wire:
            for _ in range(20):
                wire.send(request(1, "agent.unlock"))
                wait_for(lambda tried=wrong: self.is_tried(tried))
                self.logind.tell("sleep")
                answer = wire.line()
                self.logind.wait_for("released")
                self.assertTrue(self.status()["locked"], answer)
                if reason(answer) == "AGENT_LOCKED":
                    break
                self.logind.tell("wake")
                self.logind.wait_for("inhibited sleep athd delay")
                if "passphrase" not in self.status()["lock"]["by"]:
                    self.athd.call("agent.unlock")
                    self.athd.call("agent.lock")
                    wrong = self.file()["wrong"]
        self.kill()
        self.assertTrue(self.status()["locked"])


class Session(LogindTest):
    def test_session_of_the_owners_locks_and_unlocks(self):
        self.logind.tell("session", "c1", self.uid)
        self.logind.tell("session", "c2", str(os.getuid() + 1))
        self.start()
        self.logind.tell("lock", "c2")
        self.logind.tell("lock", "c1")
        self.wait_until(True)
        self.is_locked("session")
        self.logind.tell("unlock", "c2")
        self.logind.tell("unlock", "c1")
        self.wait_until(False)
        self.is_open()
        self.logind.tell("lock", "c2")
        self.logind.tell("hint", "c1", "1")
        self.wait_until(True)
        self.logind.tell("hint", "c1", "0")
        self.wait_until(False)
        self.assertEqual(self.athd.last_record("agent_unlocked")["by"], "session")

    def test_unlocked_session_ends_no_other_lock(self):
        self.logind.tell("session", "c1", self.uid)
        self.start()
        self.athd.call("agent.lock")
        self.logind.tell("lock", "c1")
        wait_for(lambda: "session" in self.status()["lock"]["by"])
        self.logind.tell("sleep")
        self.logind.wait_for("released")
        self.logind.tell("unlock", "c1")
        wait_for(lambda: "session" not in self.status()["lock"]["by"])
        self.is_locked("passphrase", "suspend")

    def test_session_that_was_locked_before_athd_locks_it(self):
        self.logind.tell("session", "c1", self.uid, "locked")
        self.start()
        self.wait_until(True)
        self.is_locked_by_session()

    def is_locked_by_session(self):
        self.assertEqual(self.status()["lock"]["by"], ["session"])

    def start(self):
        try:
            super().start()
        except Failed as failed:  # it was locked before there was a key
            self.assertEqual(failed.reason, "AGENT_LOCKED")

    def test_killing_athd_in_a_locked_session_does_not_unlock(self):
        self.logind.tell("session", "c1", self.uid)
        self.start()
        self.logind.tell("lock", "c1")  # and no hint: that is the locker's
        self.wait_until(True)
        wait_for(lambda: os.path.exists(os.path.join(self.athd.state, "lock.json")))
        self.kill()
        self.wait_until_watching()
        self.is_locked_by_session()
        self.logind.tell("unlock", "c1")
        self.wait_until(False)

    def test_watcher_that_ends_is_started_again(self):
        self.logind.tell("session", "c1", self.uid)
        self.start()
        first = self.watcher()
        self.assertEqual(len(first), 1)
        kill(first[0])
        wait_for(lambda: self.watcher() and self.watcher() != first)
        self.wait_until_watching()
        self.logind.tell("lock", "c1")
        self.wait_until(True)
        self.assertEqual(self.athd.stop(), 0)
        self.assertFalse(any(is_running(pid) for pid in first))

    def test_logind_that_is_started_again_is_watched_again(self):
        self.logind.tell("session", "c1", self.uid)
        self.start()
        self.logind.close()
        wait_for(lambda: not self.status()["lock_on"]["watching"])
        self.logind = Logind(self.bus)
        self.logind.tell("session", "c1", self.uid)
        wait_for(lambda: self.status()["lock_on"]["watching"])
        self.logind.tell("lock", "c1")
        self.wait_until(True)


class Impostor(LogindTest):
    """Any program on the system bus may send a signal to one other program, under any name of interface and member:
    only its sender shows that it is not logind's."""

    def start(self):
        self.logind.tell("session", "c1", self.uid)
        super().start()

    def send_to_all(self, path, signal, *values):
        names = subprocess.run(["dbus-send", f"--bus={self.bus.address}", "--print-reply", "--dest=org.freedesktop.DBus",
                                "/", "org.freedesktop.DBus.ListNames"], check=True, capture_output=True, text=True)
        for name in re.findall(r":1\.\d+", names.stdout):
            subprocess.run(["dbus-send", f"--bus={self.bus.address}", f"--dest={name}", "--type=signal", path, signal,
                            *values], check=True)

    def test_impostor_unlocks_nothing(self):
        self.start()
        self.logind.tell("lock", "c1")
        self.wait_until(True)
        self.send_to_all("/org/freedesktop/login1/session/c1", "org.freedesktop.login1.Session.Unlock")
        self.logind.tell("sleep")  # comes behind it
        self.logind.wait_for("released")
        self.is_locked("session", "suspend")

    def test_impostor_locks_nothing_and_lets_nothing_sleep(self):
        self.start()
        self.logind.wait_for("inhibited sleep athd delay")
        first = self.watcher()
        self.send_to_all("/org/freedesktop/login1", "org.freedesktop.login1.Manager.PrepareForSleep", "boolean:true")
        self.send_to_all("/org/freedesktop/DBus", "org.freedesktop.DBus.NameOwnerChanged",
                         "string:org.freedesktop.login1", "string::1.0", "string:")
        self.logind.tell("lock", "c1")
        self.wait_until(True)
        self.is_locked("session")
        self.assertFalse(self.logind.has_said("released", 0))
        self.assertEqual(self.watcher(), first)


def unread(pipe):
    """Bytes that nobody has read yet, of either end (pipe(7))."""
    return struct.unpack("i", fcntl.ioctl(pipe.fileno(), termios.FIONREAD, b"\0" * 4))[0]


class Inhibitor(unittest.TestCase):
    """ath-logind-watch by itself, with an athd that is slow."""

    def test_answer_that_comes_after_sleep_does_not_let_the_next_one_through(self):
        with contextlib.ExitStack() as stack:
            bus = Bus()
            stack.callback(bus.close)
            logind = Logind(bus.start())
            stack.callback(logind.close)
            watch = stack.enter_context(subprocess.Popen(
                [os.path.join(BIN, "ath-logind-watch"), "--sleep"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                bufsize=0, env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus.address}))
            stack.callback(watch.kill)
            logind.wait_for("inhibited sleep athd delay")
            self.assertEqual(watch.stdout.readline(), b"watching\n")
            logind.tell("sleep")
            self.assertEqual(watch.stdout.readline(), b"sleep\n")
            logind.tell("wake")  # it has waited long enough
            self.assertEqual(watch.stdout.readline(), b"wake\n")
            watch.stdin.write(b"locked\n")
            wait_for(lambda: unread(watch.stdin) == 0)
            logind.tell("sleep")
            self.assertEqual(watch.stdout.readline(), b"sleep\n")
            self.assertFalse(logind.has_said("released", 0.5), "nobody has locked yet")
            watch.stdin.write(b"locked\n")
            logind.wait_for("released")


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class Machine(LogindTest):
    """One athd for all uids: each has a lock of its own."""
    arguments = ("--system",)

    def setUp(self):
        super().setUp()
        os.chmod(self.athd.dir, 0o755)
        self.athd.configure({"socket_mode": "0666", "lock_on": ["suspend", "session"]})
        self.logind.tell("session", "c1", str(ALICE))
        self.logind.tell("session", "c2", str(BOB))
        self.athd.start()
        self.wait_until_watching()
        for uid in (ALICE, BOB):
            self.ask(uid, "key.create", name="agent", role="client", agent_id=AGENT_ID)

    def ask(self, uid, method, **params):
        answers = call_as(uid, self.athd.socket, (method, params))
        return answers[0] if isinstance(answers, list) else answers

    def signs(self, uid):
        return "jwt" in self.ask(uid, "attestation.create", **SIGN)

    def test_session_locks_its_users_things_only(self):
        self.logind.tell("lock", "c1")
        wait_for(lambda: not self.signs(ALICE))
        self.assertEqual(self.ask(ALICE, "attestation.create", **SIGN)["reason"], "AGENT_LOCKED")
        self.assertTrue(self.signs(BOB))
        self.assertFalse(self.ask(BOB, "agent.status")["locked"])
        self.kill()
        self.assertEqual(self.ask(ALICE, "agent.status")["lock"]["by"], ["session"])
        self.assertTrue(self.signs(BOB))
        self.wait_until_watching()
        self.logind.tell("unlock", "c2")
        self.logind.tell("unlock", "c1")
        wait_for(lambda: self.signs(ALICE))
        records = [record for record in self.athd.audit() if record["event"] in ("agent_locked", "agent_unlocked")]
        self.assertEqual({record["owner"] for record in records}, {ALICE})

    def test_session_forgets_the_pins_of_its_users_keys_and_ends_their_questions(self):
        people, askers = {}, {}
        for uid in (ALICE, BOB):
            person = people[uid] = Person(self.athd.socket, os.path.join(self.athd.dir, str(uid)), uid=uid)
            self.addCleanup(person.close)
            asker = askers[uid] = Asker(self.athd.socket, uid=uid)
            self.addCleanup(asker.close)
            asker.ask("key.create", name="pinned", role="client", agent_id=AGENT_ID, pin=True)
            person.take(person.event("asked", pin=True)["id"])
            self.assertIn("result", asker.answer())
            asker.ask("attestation.create", **{**SIGN, "key": "pinned"})
            person.take(person.event("asked", pin=True)["id"])
            self.assertIn("jwt", asker.answer()["result"])  # from here on it is there
            self.assertIn("jwt", asker.call("attestation.create", **{**SIGN, "key": "pinned"}))
        for tell in ("lock", "unlock"):
            self.logind.tell(tell, "c1")
            wait_for(lambda tell=tell: self.signs(ALICE) == (tell == "unlock"))
        self.assertIn("jwt", askers[BOB].call("attestation.create", **{**SIGN, "key": "pinned"}))
        askers[ALICE].ask("attestation.create", **{**SIGN, "key": "pinned"})
        number = people[ALICE].event("asked", pin=True)["id"]
        self.logind.tell("lock", "c1")
        self.assertEqual(reason(askers[ALICE].answer()), "AGENT_LOCKED")
        self.assertEqual(reason(people[ALICE].answer_to(people[ALICE].take(number))), "AGENT_LOCKED")

    def test_passphrase_cannot_be_asked(self):
        self.assertEqual(self.ask(ALICE, "agent.lock")["reason"], "NO_PROMPTER")
        self.assertTrue(self.signs(ALICE))

    def test_sleep_locks_all_and_each_unlocks_theirs(self):
        self.logind.tell("sleep")
        self.logind.wait_for("released")
        for uid in (ALICE, BOB):
            self.assertEqual(self.ask(uid, "agent.status")["lock"]["by"], ["suspend"])
        self.assertEqual(self.ask(ALICE, "agent.unlock")["reason"], "NO_PROMPTER")

        def attend():
            with Wire(self.athd.socket) as wire:
                wire.send(request(1, "consent.attend"))
                while True:
                    line = wire.line()
                    if line.get("params", {}).get("state") == "asked":
                        wire.send(request(2, "consent.answer", id=line["params"]["id"], approve=True))
                    elif line.get("id") == 2:
                        return line["result"]

        answers = []
        attending = threading.Thread(target=lambda: answers.append(apart(attend, ALICE)))
        attending.start()
        try:
            def unlocked():
                return self.ask(ALICE, "agent.unlock").get("locked") is False
            wait_for(unlocked)
        finally:
            attending.join(60)
        self.assertEqual(answers, [{}])
        self.assertTrue(self.signs(ALICE))
        self.assertFalse(self.signs(BOB))


class Watcher(LockTest):
    """A program in the place of ath-logind-watch that says what it should not."""

    def watch_with(self, script, lock_on=("suspend", "session")):
        programs = os.path.join(self.athd.dir, "bin")
        os.makedirs(programs, exist_ok=True)
        for name in ("athd", "ath-hsm-helper"):
            if not os.path.exists(os.path.join(programs, name)):
                shutil.copy2(os.path.join(BIN, name), programs)
        path = os.path.join(programs, "ath-logind-watch")
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\necho $$ >> \"" + self.athd.dir + "/watchers\"\n" + script)
        os.chmod(path, 0o700)
        if os.path.exists(os.path.join(self.athd.dir, "watchers")):
            os.unlink(os.path.join(self.athd.dir, "watchers"))
        self.athd.programs = programs
        self.athd.configure({"lock_on": list(lock_on)})

    def watchers(self):
        try:
            with open(os.path.join(self.athd.dir, "watchers"), encoding="utf-8") as file:
                return [int(line) for line in file]
        except FileNotFoundError:
            return []

    def test_what_makes_no_sense_ends_it_and_locks_nothing(self):
        for says in ("lock", "lock  0", f"lock {os.getuid()} ", "lock 4294967295", "lock -1", "lock 00", "unlock",
                     "sleep now", "Lock 0", "", "x" * 5000):
            with self.subTest(says[:40]):
                self.watch_with(f"printf '%s\\n' '{says}'\nexec sleep 600\n")
                self.athd.start()
                wait_for(lambda: self.watchers() and not is_running(self.watchers()[-1]))
                self.assertFalse(self.status()["locked"])
                self.assertIn("makes no sense", self.athd.read_log()[self.athd.log_seen:])
                self.assertEqual(self.athd.stop(), 0)

    def test_what_it_was_not_asked_for_ends_it(self):
        self.watch_with("echo sleep\nexec sleep 600\n", lock_on=["session"])
        self.athd.start()
        wait_for(lambda: self.watchers() and not is_running(self.watchers()[-1]))
        self.assertFalse(self.status()["locked"])

    def test_one_that_ends_at_once_is_started_with_pauses(self):
        self.watch_with("exit 1\n")
        began = time.monotonic()
        self.athd.start()
        wait_for(lambda: len(self.watchers()) >= 3)
        self.assertGreaterEqual(time.monotonic() - began, 3)  # of one and of two seconds
        self.assertEqual(self.athd.read_log().count("event=lock-watch"), 1)

    def test_flapping_does_not_fill_the_log(self):
        end = os.path.join(self.athd.dir, "flapped")
        self.watch_with(f"i=0; while [ $i -lt 300 ]; do i=$((i + 1)); echo lock {os.getuid()}; "
                        f"echo unlock {os.getuid()}; sleep 0.005; done; echo lock {os.getuid()}; : > {end}\n"
                        "exec sleep 600\n")
        self.athd.start()
        wait_for(lambda: os.path.exists(end), 240)
        wait_for(lambda: self.status()["locked"] and os.path.exists(os.path.join(self.athd.state, "lock.json")))
        self.athd.stop()
        self.athd.configure({})
        self.athd.start()
        self.assertEqual(self.status()["lock"]["by"], ["session"], "the last word holds, on disk too")
        self.assertLessEqual(sum(record["event"].startswith("agent_") for record in self.athd.audit()), 41)

    def test_no_program_to_watch_with_is_no_start(self):
        self.watch_with("")
        os.unlink(os.path.join(self.athd.programs, "ath-logind-watch"))
        self.athd.spawn()
        self.assertEqual(self.athd.process.wait(60), 1, self.athd.read_log())
        self.assertIn("lock_on", self.athd.read_log())


if __name__ == "__main__":
    unittest.main()
