"""What the tests of the lock have in common: an athd with one key, and a person with a passphrase."""
import json
import os
import unittest

from .agent import Failed
from .scene import CheckedAthd
from .wire import is_running, kill, wait_for

PASSPHRASE = "correct horse 7531"
AUDIENCE = "https://api.example"
SIGN = {"key": "agent", "audience": AUDIENCE}
AGENT_ID = "https://agent.example/a.json"


class LockTest(unittest.TestCase):
    arguments = ()

    def setUp(self):
        self.athd = CheckedAthd(arguments=self.arguments)
        self.addCleanup(self.end)
        self.answers(PASSPHRASE)

    def end(self):
        try:
            if self.athd.process and self.athd.process.poll() is None:
                self.assertEqual(self.athd.stop(), 0, self.athd.read_log())
            if os.path.exists(self.athd.log):
                self.assertNotRegex(self.athd.read_log(), r"Sanitizer|runtime error")
            for pid in self.athd.prompters():
                wait_for(lambda pid=pid: not is_running(pid))
        finally:
            for pid in self.athd.prompters():
                kill(pid)
            self.athd.__exit__()

    def start(self):
        self.athd.start()
        self.athd.call("key.create", name="agent", role="client", agent_id=AGENT_ID)

    def answers(self, *passphrases, before=""):
        """What the prompter gives, one for each question; the last for all others too."""
        path = os.path.join(self.athd.dir, "getpin")
        counter = os.path.join(self.athd.dir, "getpin.count")
        if os.path.exists(counter):
            os.unlink(counter)
        cases = "".join(f"{i}) echo 'D {text}' ;;\n" for i, text in enumerate(passphrases[:-1]))
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(f"{before}\nn=$(wc -l < {counter} 2>/dev/null || echo 0); echo >> {counter}\n"
                       f"case $n in {cases} *) echo 'D {passphrases[-1]}' ;; esac; echo OK\n")
        os.replace(path + ".new", path)

    def says_at_getpin(self, line):
        with open(os.path.join(self.athd.dir, "getpin"), "w", encoding="utf-8") as file:
            file.write(line + "\n")

    def refused(self, expected, method, /, **params):
        with self.assertRaises(Failed) as caught:
            self.athd.call(method, **params)
        self.assertEqual(caught.exception.reason, expected, f"{caught.exception}\n{self.athd.read_log()}")
        return caught.exception

    def status(self):
        return self.athd.call("agent.status")

    def is_locked(self, *by):
        status = self.status()
        self.assertEqual((status["locked"], sorted(status["lock"]["by"])), (True, sorted(by)))
        self.refused("AGENT_LOCKED", "attestation.create", **SIGN)

    def is_open(self):
        status = self.status()
        self.assertFalse(status["locked"])
        self.assertNotIn("lock", status)
        self.athd.call("attestation.create", **SIGN)

    def kill(self):
        self.athd.process.kill()
        self.athd.process.wait()
        self.athd.connection.close()
        self.athd.log_seen = len(self.athd.read_log())
        self.athd.start()

    def file(self):
        with open(os.path.join(self.athd.state, "lock.json"), encoding="utf-8") as file:
            return json.load(file)
