"""Prompters that crash, hang, lie, talk without end or will not die; callers that leave while one is
open: the answer is never a yes that nobody gave, and nobody else waits."""
import json
import os
import select
import signal
import time
import unittest

from peer.agent import Athd
from peer.wire import Wire, children, descriptors, is_running, kill, reason, request, wait_for

AUDIENCE = "https://api.example"
SIGN = {"key": "agent", "audience": AUDIENCE}
# $0 notes its process so that the test can see it go
BEGIN = 'echo $$ >> "{dir}/pids"\n'
GREET = BEGIN + "echo OK ready\n"
OBEY = GREET + "while read -r line; do case $line in CONFIRM*) {confirm};; *) echo OK;; esac; done\n"


class PrompterTest(unittest.TestCase):
    timeout = 300

    def setUp(self):
        self.athd = Athd()
        self.addCleanup(self.end)
        config = os.path.join(self.athd.dir, "athd.json")
        with open(config, "w", encoding="utf-8") as file:
            json.dump({"consent_timeout": self.timeout}, file)
        self.athd.arguments = ["--config", config]
        self.athd.start()
        self.athd.call("key.create", name="alice", role="user")
        self.agent = self.athd.call("key.create", name="agent", role="client", agent_id="https://agent.example/a.json")
        self.issue = {"key": "alice", "client": self.agent["did"], "scopes": ["a"], "ttl": 60}
        self.names = set()
        self.descriptors = descriptors(self.athd.process.pid)

    def end(self):
        try:
            if self.athd.process:
                self.assertEqual(self.athd.stop(), 0, self.athd.read_log())
            self.assertNotIn("Sanitizer", self.athd.read_log())
            self.assertEqual([pid for pid in self.pids() if is_running(pid)], [])
        finally:
            for pid in self.pids():
                kill(pid)
            self.athd.__exit__()

    def prompter(self, script, **words):
        path = os.path.join(self.athd.dir, "prompter")
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + script.replace("{dir}", self.athd.dir).format(**words))
        os.chmod(path + ".new", 0o700)
        os.rename(path + ".new", path)

    def pids(self):
        try:
            with open(os.path.join(self.athd.dir, "pids"), encoding="utf-8") as file:
                return [int(line) for line in file.read().split()]
        except FileNotFoundError:
            return []

    def forgive(self):
        """Who was refused may ask at once again."""
        for pause in self.athd.call("consent.list")["refused"]:
            self.athd.call("consent.forget", id=pause["id"])

    def issue_other(self, number):
        """Another question each, about another key each: none is another's, and none waits for another's."""
        name = f"alice{number}"
        if name not in self.names:
            self.athd.call("key.create", name=name, role="user")
            self.names.add(name)
        return {**self.issue, "key": name}

    def ask(self):
        with Wire(self.athd.socket) as wire:
            return wire.ask(request(1, "credential.issue", **self.issue))

    def all_is_as_before(self):
        wait_for(lambda: not any(is_running(pid) for pid in self.pids()))
        wait_for(lambda: len(children(self.athd.process.pid)) == 1)
        wait_for(lambda: descriptors(self.athd.process.pid) <= self.descriptors)
        self.assertEqual(self.athd.call("credential.list"), {"credentials": []})
        self.athd.call("attestation.create", **SIGN)


class Misbehaviour(PrompterTest):
    def check(self, expected, script, seconds=60.0, **words):
        self.forgive()
        self.prompter(script, **words)
        began = time.monotonic()
        answer = self.ask()
        self.assertEqual((reason(answer), answer["error"]["code"]), (expected, -32002), answer)
        self.assertLess(time.monotonic() - began, seconds)
        self.all_is_as_before()

    def test_none_of_these_is_a_yes(self):
        cases = {
            "ends at once": BEGIN + "exit 0\n",
            "ends with an error": BEGIN + "exit 1\n",
            "crashes": BEGIN + "kill -SEGV $$\n",
            "crashes at the question": OBEY.replace("{confirm}", "kill -KILL $$"),
            "ends at the question": OBEY.replace("{confirm}", "exit 0"),
            "writes garbage": BEGIN + "head -c 4000 /dev/urandom\nsleep 60\n",
            "writes garbage for an answer": OBEY.replace("{confirm}", "echo yes"),
            "writes half an answer": OBEY.replace("{confirm}", "printf O; exit"),
            "is another protocol": BEGIN + "echo '220 mail ready'\nsleep 60\n",
            "asks back": OBEY.replace("{confirm}", "echo INQUIRE PASSWORD"),
            "answers before it is asked": BEGIN + "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo OK; done\n"
                                                  "sleep 60\n",
            "answers in one go": BEGIN + 'printf "OK\\nOK\\nOK\\nOK\\nOK\\nOK\\nOK\\nOK\\nOK\\nOK\\nOK\\nOK\\n"\nsleep 60\n',
            "talks without end": BEGIN + "while :; do echo '# talk talk talk'; done\n",
            "talks without line ends": BEGIN + "yes | tr -d '\\n'\n",
            "talks in status lines": GREET + "yes 'S PROGRESS x y 1 2'\n",
            "refuses what is to be shown": GREET + "while read -r line; do case $line in SETDESC*) echo ERR 1 no;;"
                                                   " *) echo OK;; esac; done\n",
            "closes its output": BEGIN + "exec >&-\nsleep 60\n",
            "closes all": BEGIN + "exec >&- <&-\nsleep 60\n",
        }
        for name, script in cases.items():
            with self.subTest(name):
                self.check("NO_PROMPTER", script)

    def test_an_error_is_no_prompter_but_a_no_is_a_no(self):
        for code, expected in ((83886194, "USER_DENIED"), (83886179, "USER_DENIED"), (114, "USER_DENIED"),
                               (83886142, "CONSENT_TIMEOUT"), (1, "NO_PROMPTER"), ("x", "NO_PROMPTER"),
                               (2**64 + 114, "NO_PROMPTER"), (-114, "NO_PROMPTER")):
            with self.subTest(code):
                self.check(expected, OBEY.replace("{confirm}", f"echo ERR {code} x"))

    def test_program_that_cannot_be_run_is_none(self):
        path = os.path.join(self.athd.dir, "prompter")
        for make in (lambda: os.unlink(path), lambda: os.mkdir(path), lambda: (os.rmdir(path), open(path, "w").close()),
                     lambda: os.chmod(path, 0o600)):
            make()
            answer = self.ask()
            self.assertEqual(reason(answer), "NO_PROMPTER", answer)
        self.all_is_as_before()

    def test_what_a_prompter_leaves_behind_goes_with_it(self):
        self.prompter(OBEY, confirm="sleep 60 & echo $! >> \"" + self.athd.dir + "/pids\"; echo ERR 114 no")
        self.assertEqual(reason(self.ask()), "USER_DENIED")
        wait_for(lambda: len(self.pids()) == 2)
        self.all_is_as_before()

    def test_prompter_that_will_not_die_is_killed_when_its_caller_leaves(self):
        self.prompter("trap '' TERM HUP INT PIPE\n" + OBEY, confirm="while :; do sleep 60; done")
        wire = Wire(self.athd.socket)
        wire.send(request(1, "credential.issue", **self.issue))
        wait_for(lambda: self.pids() and self.athd.questions() == "")
        time.sleep(0.05)
        wire.close()
        began = time.monotonic()
        self.all_is_as_before()
        self.assertLess(time.monotonic() - began, 60)

    def test_caller_that_only_stops_writing_still_gets_its_answer(self):
        self.prompter(OBEY, confirm="sleep 0.3; echo OK")
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "credential.issue", **self.issue))
            wire.end_of_writing()
            self.assertIn("credential", wire.line()["result"])
            self.assertIsNone(wire.line())


class Silence(PrompterTest):
    timeout = 1

    def test_silence_is_a_no_after_the_time_and_ends_the_prompter(self):
        scripts = {"never greets": BEGIN + "sleep 60\n", "never answers": OBEY.replace("{confirm}", ":"),
                   "reads nothing": GREET + "sleep 60\n", "is stopped": BEGIN + "kill -STOP $$\n",
                   "will not die": "trap '' TERM\n" + BEGIN + "while :; do sleep 60; done\n"}
        wires, issues = [], [self.issue_other(number) for number in range(len(scripts))]
        for number, script in enumerate(scripts.values()):
            self.prompter(script)
            wires.append(Wire(self.athd.socket))
            begun = len(self.pids())
            wires[-1].send(request(1, "credential.issue", **issues[number]))
            # a second may be over before a busy machine has started the program
            wait_for(lambda: len(self.pids()) > begun or select.select([wires[-1].socket], [], [], 0)[0])
        began = time.monotonic()
        for name, wire in zip(scripts, wires):
            with self.subTest(name):
                self.assertEqual(reason(wire.line()), "CONSENT_TIMEOUT")
            wire.close()
        self.assertLess(time.monotonic() - began, 60)
        self.all_is_as_before()


class Many(PrompterTest):
    def test_50_open_questions_hold_up_no_signature(self):
        self.prompter(OBEY, confirm=":")
        wires = [Wire(self.athd.socket) for _ in range(50)]
        for number, wire in enumerate(wires):
            wire.send(request(1, "credential.issue", **{**self.issue, "scopes": [f"a{number}"]}))
        wait_for(lambda: len(self.pids()) == 50)
        slowest = 0
        with Wire(self.athd.socket) as other:
            for _ in range(50):
                began = time.monotonic()
                self.assertIn("jwt", other.ask(request(1, "attestation.create", **SIGN))["result"])
                slowest = max(slowest, time.monotonic() - began)
        self.assertLess(slowest, 30)  # their time is ten times that
        for wire in wires[:25]:
            wire.close()  # their callers leave
        wait_for(lambda: sum(map(is_running, self.pids())) == 25)
        self.athd.connection.close()
        self.athd.connection = None
        self.athd.process.send_signal(signal.SIGTERM)  # athd ends
        for wire in wires[25:]:
            self.assertEqual(reason(wire.line()), "HSM_UNAVAILABLE")
            wire.close()
        self.assertEqual(self.athd.process.wait(60), 0)
        self.athd.process = None

    def test_questions_come_and_go_a_hundred_times_and_leave_nothing(self):
        self.prompter(OBEY, confirm="echo ERR 114 no")
        issues = [self.issue_other(number) for number in range(10)]
        for turn in range(10):
            self.forgive()
            wires = [Wire(self.athd.socket) for _ in range(10)]
            for number, wire in enumerate(wires):
                wire.send(request(1, "credential.issue", **issues[number]))
            for number, wire in enumerate(wires):
                if (number + turn) % 2:
                    self.assertEqual(reason(wire.line()), "USER_DENIED")
                wire.close()
        self.all_is_as_before()

    def test_sigkill_of_athd_ends_its_prompters(self):
        self.prompter(OBEY, confirm=":")
        with Wire(self.athd.socket) as wire:
            wire.send(*(request(n, "credential.issue", **{**self.issue, "scopes": [f"a{n}"]}) for n in range(5)))
            wait_for(lambda: len(self.pids()) == 5)
            self.athd.process.kill()
            self.athd.process.wait()
        wait_for(lambda: not any(is_running(pid) for pid in self.pids()))
        self.athd.process = None


if __name__ == "__main__":
    unittest.main()
