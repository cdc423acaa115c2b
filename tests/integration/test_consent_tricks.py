"""What an asker might try in order to get a yes that was not meant: other names, other programs, other times."""
import json
import os
import subprocess
import sys
import time
import unittest

from peer.asker import RELAY, Asker
from peer.wire import reason, wait_for
from test_consent import ConsentTest

# connects, and becomes another program that goes on with the connection
BECOMES = """
import os, socket, sys
wire = socket.socket(socket.AF_UNIX)
wire.connect(sys.argv[1])
wire.sendall(b'{"jsonrpc":"2.0","id":0,"method":"agent.hello","params":{}}\\n')
while not wire.recv(65536).endswith(b"\\n"):
    pass
os.dup2(wire.fileno(), 9)
os.execv(sys.argv[2], [sys.argv[2], "-I", "-S", "-c", sys.argv[3]])
"""
GOES_ON = RELAY.replace("wire = socket.socket(socket.AF_UNIX)\nwire.connect(sys.argv[1])\n",
                        "wire = socket.socket(fileno=9)\n")


class Changed(Asker):
    """Has connected as `program`, and is another one by now."""

    def __init__(self, path, program, other):  # pylint: disable=super-init-not-called
        self.process = subprocess.Popen([program, "-I", "-S", "-c", BECOMES, path, other, GOES_ON],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid
        self.id = 0
        self.buffer = b""


class Tricks(ConsentTest):
    def setUp(self):
        super().setUp()
        self.attend()

    def grant(self, name="agent"):
        return self.call("grant.create", name=name, keys=["alice"], methods=["credential.issue"])["socket"]

    def at(self, socket, program=sys.executable):
        asker = Asker(socket, program)
        self.addCleanup(asker.close)
        return asker

    def test_the_question_names_no_program_that_does_not_run_any_more(self):
        asker = Changed(self.athd.socket, self.other_program(), sys.executable)
        self.addCleanup(asker.close)
        wait_for(lambda: os.readlink(f"/proc/{asker.pid}/exe") == os.path.realpath(sys.executable))
        asker.ask("credential.issue", **self.issue)
        text = self.question()["text"]
        self.assertNotIn(os.path.join(self.athd.dir, "python"), text)
        self.assertIn("runs another program by now", text)
        self.answer(approve=True)
        self.assertIn("result", asker.answer())

    def test_a_program_that_became_another_answers_nothing(self):
        asker = self.asker()
        asker.ask("credential.issue", **self.issue)
        question = self.question()
        with Changed(self.athd.socket, self.other_program(), sys.executable) as other:
            wait_for(lambda: os.readlink(f"/proc/{other.pid}/exe") == os.path.realpath(sys.executable))
            other.ask("consent.answer", id=question["id"], approve=True)
            self.is_not_proven(other.answer())
        self.assertEqual(self.question()["id"], question["id"])
        self.answer(approve=True)
        self.assertIn("result", asker.answer())

    def test_nor_does_it_enter_a_pin(self):
        attending = self.asker()
        attending.call("consent.attend", pins=True)
        asker = self.asker()
        asker.ask("key.create", name="carol", role="user", pin=True)
        wait_for(lambda: self.call("consent.list")["pins"])
        number = self.call("consent.list")["pins"][0]["id"]
        with Changed(self.athd.socket, self.other_program(), sys.executable) as other:
            wait_for(lambda: os.readlink(f"/proc/{other.pid}/exe") == os.path.realpath(sys.executable))
            other.ask("consent.pinentry", id=number)
            self.is_not_proven(other.answer())
        self.assertEqual([pin["taken"] for pin in self.call("consent.list")["pins"]], [False])
        self.call("consent.answer", id=number, approve=False)
        self.assertEqual(reason(asker.answer()), "USER_DENIED")

    def is_not_proven(self, answer):
        self.assertEqual((reason(answer), answer["error"]["data"]["missing"]), ("POLICY_DENIED", "process"), answer)

    def test_a_yes_to_less_for_a_while_is_none_to_all_by_a_key_that_asks_once(self):
        self.call("key.create", name="carol", role="user", confirm="session")
        self.issue["key"] = "carol"
        asker = self.asker()
        self.assertIn("result", self.give(asker, scopes=["a"], remember={"uses": 5}))
        self.assertFalse(self.is_asked(asker, scopes=["a"]))  # within what was allowed
        self.assertTrue(self.is_asked(asker))  # more than that

    def test_nothing_stays_allowed_to_a_key_that_is_deleted(self):
        asker = self.asker()
        self.assertIn("result", self.give(asker, remember={"uses": 5}))
        self.call("key.delete", name="alice")
        self.assertEqual(self.call("consent.list")["allowed"], [])

    def test_a_question_that_is_taken_back_is_no_way_around_the_pause(self):
        for _ in range(4):
            asker = self.asker()
            asker.ask("credential.issue", **self.issue)
            self.question()
            self.answered = time.monotonic()
            asker.close()
            wait_for(lambda: not self.questions())
        error, _ = self.rate_limited(self.asker(), 4)
        self.assertEqual(error["data"]["reason"], "RATE_LIMITED")

    def test_a_grants_agent_is_one_asker_whichever_program_it_runs(self):
        socket = self.grant()
        asker, other = self.at(socket), self.at(socket, self.other_program())
        for _ in range(4):
            self.assertEqual(reason(self.give(asker, approve=False)), "USER_DENIED")
        error, _ = self.rate_limited(other, 4)
        self.assertEqual(error["data"]["reason"], "RATE_LIMITED")
        self.assertEqual(reason(self.give(self.asker(), approve=False)), "USER_DENIED")  # it alone

    def test_a_later_grant_of_the_same_name_is_asked(self):
        asker = self.at(self.grant())
        self.assertIn("result", self.give(asker, remember={"uses": 5}))
        self.call("grant.revoke", name="agent")
        self.assertTrue(self.is_asked(self.at(self.grant())))

    def test_what_a_rule_asks_about_is_told(self):
        os.makedirs(os.path.join(self.athd.dir, "ath"), exist_ok=True)
        with open(os.path.join(self.athd.dir, "ath", "policy.json"), "w", encoding="utf-8") as file:
            who = {"uid": os.getuid()}
            json.dump({"rules": [{"name": "ask", "who": who, "may": ["grant.create"], "consent": "always"},
                                 {"name": "all", "who": who, "may": ["*"]}]}, file)
        self.call("policy.reload")
        asker = self.asker()
        asker.ask("grant.create", name="agent", keys=["alice", "bob"], methods=["credential.issue"])
        text = self.question()["text"]
        for line in ('name: "agent"', 'keys: "[\\"alice\\",\\"bob\\"]"', 'methods: "[\\"credential.issue\\"]"'):
            self.assertIn("\n" + line + "\n", text)
        self.answer(approve=True)
        self.assertIn("result", asker.answer())

    def test_uses_are_counted_also_where_many_ask_at_once(self):
        asker = self.asker()
        self.assertIn("result", self.give(asker, remember={"uses": 7}))
        for ttl in range(20):
            asker.ask("credential.issue", **{**self.issue, "ttl": 100 + ttl})
        wait_for(lambda: len(self.questions()) == 13)
        self.assertEqual(sum("result" in asker.answer() for _ in range(7)), 7)
        self.assertEqual(len(self.questions()), 13)


if __name__ == "__main__":
    unittest.main()
