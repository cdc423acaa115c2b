"""What holds of PINs whatever has them: the tests of keys in a TPM and those of tokens share it."""
import json
import os
import threading
import time

from .agent import Connection, Failed
from .pinentry import GOOD, HANGS
from .token_case import AUDIENCE
from .wire import Wire, is_running, request, wait_for

SIGN = {"key": "agent", "audience": AUDIENCE}


def requests_come(athd, count):
    """A function that waits until athd has `count` more requests than now, those of its own not counted."""
    def come():
        return athd.call("agent.status")["counters"]["requests"]

    asked, before = 0, come()

    def are_there():
        nonlocal asked
        asked += 1
        return come() - before - asked >= count
    return lambda: wait_for(are_there)


class PinCase:
    """Beside unittest.TestCase. The class has start(**more), which makes self.athd with a key "agent" whose PIN
    nobody has told it yet, and self.asked, how often somebody was asked before; sign(key=, connection=); tries():
    whether each PIN was right that was tried since start()."""

    def count(self):
        """How often somebody was asked since start()."""
        return self.athd.pins_asked() - self.asked

    def outcome(self, **more):
        """Why there was no signature; None: there was."""
        try:
            self.sign(**more)
            return None
        except Failed as failed:
            return failed

    def reason(self, **more):
        failed = self.outcome(**more)
        return failed and failed.reason

    def at_once(self, count, call, once_there=None):
        """call(connection, number) on `count` connections at the same time; what each gave, or its Failed.
        once_there is called when athd has the request of each."""
        results = [None] * count
        until_there = requests_come(self.athd, count)

        def run(number):
            connection = Connection(self.athd.socket)
            try:
                results[number] = call(connection, number)
            except Failed as failed:
                results[number] = failed
            finally:
                connection.close()

        threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        if once_there:
            until_there()
            once_there()
        for thread in threads:
            thread.join(90)
        self.assertFalse(any(thread.is_alive() for thread in threads), self.athd.read_log())
        return results

    def prompters_end(self):
        wait_for(lambda: not any(is_running(pid) for pid in self.athd.prompters()))


class QuestionTests(PinCase):
    """The question's end: its caller's, its time's."""

    def test_caller_who_leaves_takes_the_question_along(self):
        self.start()
        self.athd.answers_pin(HANGS)
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "attestation.create", **SIGN))
            wait_for(lambda: self.count() == 1)
        self.prompters_end()
        self.athd.answers_pin(GOOD)
        self.assertIsNone(self.reason())
        self.assertEqual(self.count(), 2)
        wait_for(lambda: self.tries() == [True])

    def test_frozen_key_takes_the_question_along(self):
        self.start()
        self.athd.answers_pin(HANGS)
        with Wire(self.athd.socket) as first, Wire(self.athd.socket) as second:
            there = requests_come(self.athd, 2)
            for wire in (first, second):
                wire.send(request(1, "attestation.create", **SIGN))
            there()
            wait_for(lambda: self.count() == 1)
            self.athd.call("policy.freeze", key="agent")
            for wire in (first, second):
                error = wire.line()["error"]
                self.assertEqual((error["data"]["reason"], error["data"]["rule"]), ("POLICY_DENIED", "frozen"))
                self.assertIn("ath unfreeze agent", error["message"])
        self.prompters_end()
        self.assertEqual(self.tries(), [])
        self.athd.call("policy.unfreeze", key="agent")
        self.athd.answers_pin(GOOD)
        self.assertIsNone(self.reason())
        self.assertEqual(self.count(), 2)

    def test_time_is_up(self):
        self.start(config={"consent_timeout": 1})
        self.athd.answers_pin(HANGS)
        began = time.monotonic()
        self.assertEqual(self.reason(), "CONSENT_TIMEOUT")
        self.assertLess(time.monotonic() - began, 60)
        self.assertEqual(self.tries(), [])

    def test_athd_ends_while_it_asks(self):
        self.start()
        self.athd.answers_pin(HANGS)
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "attestation.create", **SIGN))
            wait_for(lambda: self.count() == 1)
            self.assertEqual(self.athd.stop(), 0)
            error = wire.line()["error"]
            self.assertEqual((error["data"]["reason"], error["message"]),
                             ("HSM_UNAVAILABLE", "athd is stopping; ask again when it runs"))
        self.prompters_end()
        with open(os.path.join(self.athd.state, "audit", "00000001.jsonl"), encoding="utf-8") as file:
            records = [record for record in map(json.loads, file) if record["event"] == "pin_answered"]
        self.assertEqual(records[-1]["denial_reason"], "HSM_UNAVAILABLE")
