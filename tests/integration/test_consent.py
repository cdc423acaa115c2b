"""Questions to the user: equal ones are one, who was refused waits, what is allowed for a while stays within
its limits, what the user takes away is not signed, and nobody answers for himself."""
import base64
import json
import os
import pty
import shutil
import sys
import time
import unittest

from peer.agent import Athd, Connection, Failed
from peer.asker import Asker
from peer.scene import Scene
from peer.wire import Wire, apart, is_running, reason, request, wait_for

AUDIENCE = "did:web:app.example"
CLIENT = "did:web:agent.example"
# notes its process and its environment, and answers when the file `says` is there
PROMPTER = """#!/bin/sh
echo $$ >> "{dir}/prompters"
env > "{dir}/environment"
echo OK ready
while read -r line; do
    printf '%s\\n' "$line" >> "{dir}/questions"
    case "$line" in
    CONFIRM*) while [ ! -e "{dir}/says" ]; do sleep 0.05; done; cat "{dir}/says" ;;
    GETPIN*) echo "D correct horse battery staple"; echo OK ;;
    *) echo OK ;;
    esac
done
"""


def claims(jws):
    body = jws.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


class ConsentTest(unittest.TestCase):
    arguments = ()

    def setUp(self):
        self.athd = Athd(arguments=self.arguments)
        self.addCleanup(self.end)
        path = os.path.join(self.athd.dir, "prompter")
        with open(path, "w", encoding="utf-8") as file:
            file.write(PROMPTER.replace("{dir}", self.athd.dir))
        os.chmod(path, 0o700)
        self.athd.start()
        self.athd.wait_for_hsm()
        self.call("key.create", name="alice", role="user")
        self.call("key.create", name="bob", role="user")
        self.issue = {"key": "alice", "client": CLIENT, "audience": AUDIENCE, "scopes": ["a", "b", "c"], "ttl": 600}

    def end(self):
        try:
            if self.athd.process:
                self.assertEqual(self.athd.stop(), 0, self.athd.read_log())
            self.assertNotIn("Sanitizer", self.athd.read_log())
        finally:
            self.athd.__exit__()

    def call(self, method, /, **params):
        return self.athd.call(method, **params)

    def fails(self, code, method, /, **params):
        with self.assertRaises(Failed) as caught:
            self.call(method, **params)
        self.assertEqual(caught.exception.code, code, caught.exception)
        return caught.exception

    def says(self, answer):
        """What all prompters say from now on, also to what they were asked before."""
        with open(os.path.join(self.athd.dir, "says.new"), "w", encoding="utf-8") as file:
            file.write(answer + "\n")
        os.rename(os.path.join(self.athd.dir, "says.new"), os.path.join(self.athd.dir, "says"))

    def asker(self, program=sys.executable):
        asker = Asker(self.athd.socket, program)
        self.addCleanup(asker.close)
        return asker

    def other_program(self):
        path = os.path.join(self.athd.dir, "python")
        shutil.copy2(os.path.realpath(sys.executable), path)
        return path

    def attend(self):
        attending = Connection(self.athd.socket)
        self.addCleanup(attending.close)
        self.assertEqual(attending.call("consent.attend"), {})
        return attending

    def questions(self):
        return self.call("consent.list")["questions"]

    def question(self, count=1):
        """The one question there is, when so many requests have asked it."""
        wait_for(lambda: any(entry["count"] >= count for entry in self.questions()))
        questions = self.questions()
        self.assertEqual(len(questions), 1, questions)
        return questions[0]

    def answer(self, **answer):
        return self.answer_to(self.question(), **answer)

    def answer_to(self, question, **answer):
        self.answered = time.monotonic()
        self.assertEqual(self.call("consent.answer", id=question["id"], **answer), {})
        return question

    def give(self, asker, approve=True, **answer):
        """Asks by the asker, answers by consent.answer."""
        asker.ask("credential.issue", **self.issue)
        self.answer(approve=approve, **answer)
        return asker.answer()

    def is_asked(self, asker, **more):
        """Is it put to the user? It is refused then, and that forgotten."""
        asker.ask("credential.issue", **{**self.issue, **more})
        wait_for(lambda: self.questions() or asker.has_answer())
        if asker.has_answer():
            self.assertIn("result", asker.answer())
            return False
        self.answer(approve=False)
        self.assertEqual(reason(asker.answer()), "USER_DENIED")
        self.forgive()
        return True

    def rate_limited(self, asker, refusals, **more):
        """The error that it gets now, and how often it was refused. Where the machine was so slow that the pause is
        over it is asked, and refused once more: the next pause is twice as long."""
        while True:
            asker.ask("credential.issue", **{**self.issue, **more})
            wait_for(lambda: self.questions() or asker.has_answer())
            if asker.has_answer():
                return asker.answer()["error"], refusals
            self.assertGreaterEqual(time.monotonic() - self.answered, 2 ** (refusals - 1) - 0.01)
            self.answer(approve=False)
            self.assertEqual(reason(asker.answer()), "USER_DENIED")
            refusals += 1

    def of(self, asker):
        return [question for question in self.questions() if question["caller"]["pid"] == asker.pid]

    def forgive(self):
        for pause in self.call("consent.list")["refused"]:
            self.call("consent.forget", id=pause["id"])

    def records(self, event):
        return self.call("audit.query", event=event, limit=1000)["records"]


class Equal(ConsentTest):
    def test_ten_equal_questions_are_one_prompt_and_ten_answers(self):
        askers = [self.asker() for _ in range(2)]
        for _ in range(5):
            for asker in askers:
                asker.ask("credential.issue", **self.issue)
        question = self.question(10)
        self.assertEqual(question["count"], 10)
        self.says("OK")
        answers = [asker.answer() for asker in askers for _ in range(5)]
        self.assertEqual(len({answer["result"]["jti"] for answer in answers}), 10)
        self.assertEqual(len(self.athd.prompters()), 1)
        given = self.records("consent_given")
        self.assertEqual([record["question"] for record in given], [question["id"]] * 10)
        self.assertEqual({record["caller"]["pid"] for record in given}, {asker.pid for asker in askers})
        self.assertEqual([record["count"] for record in self.records("consent_asked")], list(range(1, 11)))

    def test_a_no_is_a_no_to_all_who_asked(self):
        asker = self.asker()
        for _ in range(10):
            asker.ask("credential.issue", **self.issue)
        self.question(10)
        self.says("ERR 83886179 Operation cancelled <Pinentry>")
        self.assertEqual({reason(asker.answer()) for _ in range(10)}, {"USER_DENIED"})
        self.assertEqual(self.call("consent.list")["refused"][0]["refusals"], 1)

    def test_what_differs_is_another_question(self):
        self.attend()
        asker, other = self.asker(), self.asker(self.other_program())
        differing = ({}, {"key": "bob"}, {"scopes": ["a", "b"]}, {"scopes": ["a", "b", "d"]}, {"ttl": 601},
                     {"client": CLIENT + ":2"}, {"audience": AUDIENCE + ":2"}, {"audience": [AUDIENCE, AUDIENCE + ":2"]})
        for more in differing:
            asker.ask("credential.issue", **{**self.issue, **more})
        other.ask("credential.issue", **self.issue)
        wait_for(lambda: len(self.questions()) == len(differing) + 1)
        self.assertEqual({question["count"] for question in self.questions()}, {1})

    def test_one_who_leaves_leaves_the_question_to_the_others(self):
        first, second = self.asker(), self.asker()
        first.ask("credential.issue", **self.issue)
        self.question()
        second.ask("credential.issue", **self.issue)
        self.question(2)
        first.close()
        wait_for(lambda: len(self.records("consent_refused")) == 1)
        self.says("OK")
        self.assertIn("result", second.answer())
        self.assertEqual(len(self.athd.prompters()), 1)

    def test_when_the_last_one_leaves_it_is_gone_and_counts_as_not_answered(self):
        asker = self.asker()
        asker.ask("credential.issue", **self.issue)
        asker.ask("credential.issue", **self.issue)
        self.question(2)
        wait_for(self.athd.prompters)
        asker.close()
        wait_for(lambda: not self.questions())
        wait_for(lambda: not any(map(is_running, self.athd.prompters())))
        self.assertEqual([pause["refusals"] for pause in self.call("consent.list")["refused"]], [1])

    def test_the_65th_who_asks_the_same_is_refused(self):
        self.attend()
        asker = self.asker()
        for _ in range(65):
            asker.ask("credential.issue", **self.issue)
        self.assertEqual(reason(asker.answer()), "LIMIT_EXCEEDED")
        self.answer(approve=True)
        self.assertEqual(sum("result" in asker.answer() for _ in range(64)), 64)


class Backoff(ConsentTest):
    def test_after_a_refusal_the_next_comes_later_and_from_the_fourth_on_not_at_all(self):
        self.attend()
        asker = self.asker()
        self.answered = time.monotonic()
        for pause in (0, 1, 2, 4):
            before, self.answered = self.answered, None
            self.assertEqual(reason(self.give(asker, approve=False)), "USER_DENIED")
            self.assertGreaterEqual(self.answered - before, pause - 0.01)  # clocks of milliseconds
        error, refusals = self.rate_limited(asker, 4)
        for _ in range(20):
            self.assertEqual((error["code"], error["data"]["reason"]), (-32007, "RATE_LIMITED"))
            self.assertIn(error["data"]["retry_after"], range(1, 2 ** (refusals - 1) + 1))
            error, refusals = self.rate_limited(asker, refusals)
        self.assertEqual(self.questions(), [])
        refused = self.call("consent.list")["refused"]
        self.assertEqual([(entry["refusals"], entry["key"]) for entry in refused], [(refusals, "alice")])
        # another key, and another program, are not held up
        self.assertTrue(self.is_asked(asker, key="bob"))
        self.assertIn("result", self.give(asker))
        self.assertEqual(self.call("consent.list")["refused"], [])

    def test_another_program_does_not_wait_for_one_that_was_refused(self):
        self.attend()
        asker, other = self.asker(), self.asker(self.other_program())
        self.give(asker, approve=False)
        asker.ask("credential.issue", **self.issue)
        other.ask("credential.issue", **self.issue)
        wait_for(lambda: self.of(other))
        self.assertTrue(not self.of(asker) or time.monotonic() - self.answered >= 1)  # it waits
        self.answer_to(self.of(other)[0], approve=True)
        self.assertIn("result", other.answer())
        self.call("consent.forget", id=self.call("consent.list")["refused"][0]["id"])
        self.answer(approve=True)  # now it is shown
        self.assertIn("result", asker.answer())

    def test_a_yes_ends_the_pause(self):
        self.attend()
        asker = self.asker()
        for _ in range(2):
            self.give(asker, approve=False)
        self.give(asker)
        self.assertEqual(self.call("consent.list")["refused"], [])
        self.assertEqual(reason(self.give(asker, approve=False)), "USER_DENIED")
        self.assertEqual(self.call("consent.list")["refused"][0]["refusals"], 1)


class Window(ConsentTest):
    def setUp(self):
        super().setUp()
        self.attend()
        self.agent = self.asker()

    def allow(self, **remember):
        self.assertIn("result", self.give(self.agent, remember=remember))
        return self.call("consent.list")["allowed"][0]

    def test_within_it_nothing_is_asked_and_the_record_says_by_which(self):
        window = self.allow(uses=3)
        self.assertEqual((window["uses_left"], window["scopes"], window["audiences"], window["peers"], window["ttl"]),
                         (3, ["a", "b", "c"], [AUDIENCE], [CLIENT], 600))
        self.assertFalse(self.is_asked(self.agent))
        self.assertFalse(self.is_asked(self.asker(), scopes=["c", "a"]))  # another process of the program
        self.assertFalse(self.is_asked(self.agent, ttl=1))
        self.assertEqual(self.call("consent.list")["allowed"], [])  # used up
        self.assertTrue(self.is_asked(self.agent))
        self.assertEqual([record.get("window") for record in self.records("consent_given")], [window["id"]] * 4)
        self.assertEqual([(record["window"], record["uses"]) for record in self.records("consent_allowed")],
                         [(window["id"], 3)])

    def test_what_is_more_than_was_allowed_is_asked(self):
        self.allow(uses=100, seconds=600)
        for more in ({"scopes": ["a", "b", "c", "d"]}, {"scopes": ["d"]}, {"audience": AUDIENCE + ":2"},
                     {"audience": [AUDIENCE, AUDIENCE + ":2"]}, {"client": CLIENT + ":2"}, {"ttl": 601}, {"key": "bob"},
                     {"scopes": ["A"]}):
            with self.subTest(more):
                self.assertTrue(self.is_asked(self.agent, **more))
        self.issue.pop("audience")  # that is: for any
        self.assertTrue(self.is_asked(self.agent))

    def test_another_program_is_asked(self):
        self.allow(uses=100)
        self.assertTrue(self.is_asked(self.asker(self.other_program())))

    def test_it_ends_with_its_time(self):
        self.assertIn("result", self.give(self.agent, remember={"seconds": 1}))
        wait_for(lambda: not self.call("consent.list")["allowed"])
        self.assertTrue(self.is_asked(self.agent))

    def test_policy_reload_freeze_forget_and_a_restart_end_it(self):
        for end in (lambda window: self.call("policy.reload"),
                    lambda window: self.call("consent.forget", id=window["id"]),
                    lambda window: (self.call("policy.freeze", key="alice"), self.call("policy.unfreeze", key="alice"))):
            end(self.allow(uses=100))
            self.assertEqual(self.call("consent.list")["allowed"], [])
            self.assertTrue(self.is_asked(self.agent))
        self.allow(uses=100)
        self.athd.stop()
        self.athd.start()
        self.athd.wait_for_hsm()
        self.attend()
        self.assertEqual(self.call("consent.list")["allowed"], [])
        self.assertTrue(self.is_asked(self.asker()))

    def test_a_new_key_of_the_same_name_is_asked_for(self):
        self.allow(uses=100)
        self.call("key.delete", name="alice")
        self.call("key.create", name="alice", role="user")
        self.assertTrue(self.is_asked(self.agent))

    def test_what_was_taken_away_is_not_in_it(self):
        self.assertIn("result", self.give(self.agent, scopes=["a"], remember={"uses": 100}))
        self.assertEqual(self.call("consent.list")["allowed"][0]["scopes"], ["a"])
        self.assertTrue(self.is_asked(self.agent))
        self.assertTrue(self.is_asked(self.agent, scopes=["b"]))
        self.assertFalse(self.is_asked(self.agent, scopes=["a"]))

    def test_wrong_limits_are_refused_and_the_question_stays(self):
        self.agent.ask("credential.issue", **self.issue)
        question = self.question()
        for remember in ({}, {"uses": 0}, {"uses": 10001}, {"seconds": 86401}, {"seconds": -1}, {"uses": "1"}, {"for": 1},
                         {"uses": True}):
            with self.subTest(remember):
                self.fails(-32602, "consent.answer", id=question["id"], approve=True, remember=remember)
        self.fails(-32602, "consent.answer", id=question["id"], approve=False, remember={"uses": 1})
        self.assertEqual(self.questions()[0]["id"], question["id"])
        self.assertEqual(self.call("consent.list")["allowed"], [])


class Narrow(ConsentTest):
    def setUp(self):
        super().setUp()
        self.attend()
        self.agent = self.asker()

    def test_what_is_signed_has_only_the_scopes_that_were_approved(self):
        answer = self.give(self.agent, scopes=["c", "a"])["result"]
        grant = claims(answer["credential"])
        self.assertEqual(sorted(grant["scopes"]), ["a", "c"])
        self.assertEqual(sorted(self.call("credential.list")["credentials"][0]["scopes"]), ["a", "c"])
        self.assertEqual(sorted(self.records("credential_issued")[0]["effective_scopes"]), ["a", "c"])
        self.assertEqual(sorted(self.records("consent_given")[0]["effective_scopes"]), ["a", "c"])

    def test_all_who_asked_get_less(self):
        for _ in range(3):
            self.agent.ask("credential.issue", **self.issue)
        self.question(3)
        self.answer(approve=True, scopes=["b"])
        for _ in range(3):
            self.assertIn("result", self.agent.answer())
        self.assertEqual([entry["scopes"] for entry in self.call("credential.list")["credentials"]], [["b"]] * 3)

    def test_nothing_can_be_added_or_taken_where_nothing_can_be_taken_away(self):
        self.agent.ask("credential.issue", **self.issue)
        question = self.question()
        for answer in ({"approve": True, "scopes": ["d"]}, {"approve": True, "scopes": ["a", "d"]},
                       {"approve": True, "scopes": ["a", "a"]}, {"approve": True, "scopes": []},
                       {"approve": False, "scopes": ["a"]}, {"approve": True, "freeze": True},
                       {"approve": True, "scopes": ["a b"]}):
            with self.subTest(answer):
                self.fails(-32602, "consent.answer", id=question["id"], **answer)
        self.answer(approve=True)
        self.assertIn("result", self.agent.answer())
        self.call("key.create", name="agent", role="client", agent_id="https://agent.example/a.json", confirm="always")
        self.agent.ask("attestation.create", key="agent", audience="https://api.example", capabilities=["x"])
        question = self.question()
        self.assertEqual((question["can_narrow"], question["can_remember"]), (False, True))
        self.fails(-32602, "consent.answer", id=question["id"], approve=True, scopes=["x"])
        self.answer(approve=True, remember={"uses": 5})
        self.assertIn("jwt", self.agent.answer()["result"])
        # capabilities are no scopes, but more of them is more
        self.agent.ask("attestation.create", key="agent", audience="https://api.example", capabilities=["x", "y"])
        self.answer(approve=False)
        self.assertEqual(reason(self.agent.answer()), "USER_DENIED")
        self.agent.ask("attestation.create", key="agent", audience="https://api.example", capabilities=["x"])
        self.assertIn("jwt", self.agent.answer()["result"])

    def test_freeze_refuses_all_that_waits_for_the_key(self):
        self.agent.ask("credential.issue", **self.issue)
        first = self.question()
        self.agent.ask("credential.issue", **{**self.issue, "ttl": 1})
        self.agent.ask("credential.issue", **{**self.issue, "key": "bob"})
        wait_for(lambda: len(self.questions()) == 3)
        self.call("consent.answer", id=first["id"], approve=False, freeze=True)
        self.assertEqual([reason(self.agent.answer()) for _ in range(2)], ["USER_DENIED", "POLICY_DENIED"])
        self.assertEqual([question["key"] for question in self.questions()], ["bob"])
        self.assertEqual(self.call("agent.status")["frozen"]["keys"], ["alice"])
        self.assertEqual(len(self.records("keys_frozen")), 1)
        self.agent.ask("credential.issue", **self.issue)
        self.assertEqual(reason(self.agent.answer()), "POLICY_DENIED")


class Who(ConsentTest):
    def denied(self, missing, connection, question, **answer):
        with self.assertRaises(Failed) as caught:
            connection.call("consent.answer", id=question["id"], **(answer or {"approve": True}))
        self.assertEqual((caught.exception.reason, caught.exception.data.get("missing")), ("POLICY_DENIED", missing))

    def test_who_asks_does_not_answer_by_any_of_its_connections(self):
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "credential.issue", **self.issue))
            question = self.question()
            self.denied("asker", self.athd.connection, question)
            self.denied("asker", self.athd.connection, question, approve=False)
            own = Connection(self.athd.socket)
            self.denied("asker", own, question)
            own.close()
            self.assertEqual(wire.lines_so_far(), [])
            wait_for(lambda: len(self.records("policy_denied")) == 3)

    def test_nor_do_those_it_has_started(self):
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "credential.issue", **self.issue))
            question = self.question()

            def child():
                connection = Connection(self.athd.socket)
                try:
                    connection.call("consent.answer", id=question["id"], approve=True)
                except Failed as error:
                    return error.data.get("missing")
                return None

            self.assertEqual(apart(child), "asker")
            self.assertEqual(apart(lambda: apart(child)), "asker")
            with Asker(self.athd.socket, self.other_program()) as other:  # another program that it has started
                other.ask("consent.answer", id=question["id"], approve=True)
                self.assertEqual(other.answer()["error"]["data"]["missing"], "asker")
            self.assertEqual(wire.lines_so_far(), [])

    def test_one_of_many_who_ask_the_same_does_not_answer_for_all(self):
        asker = self.asker()
        asker.ask("credential.issue", **self.issue)
        self.question()
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "credential.issue", **self.issue))
            self.denied("asker", self.athd.connection, self.question(2))

    def test_an_answer_is_on_record_with_who_gave_it(self):
        self.assertIn("result", self.give(self.asker()))
        self.assertEqual(self.records("consent_given")[0]["answered_by"]["pid"], os.getpid())

    def test_an_answer_comes_once(self):
        asker = self.asker()
        asker.ask("credential.issue", **self.issue)
        question = self.answer(approve=True)
        self.assertEqual(self.fails(-32002, "consent.answer", id=question["id"], approve=True).reason, "CONSENT_NOT_FOUND")
        self.assertIn("result", asker.answer())

    def test_nothing_of_it_through_a_grant(self):
        grant = self.call("grant.create", name="agent", keys=["alice"], methods=["*"])
        asker = Asker(grant["socket"])
        self.addCleanup(asker.close)
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "credential.issue", **self.issue))
            question = self.question()
            for method, params in (("consent.list", {}), ("consent.attend", {}), ("consent.forget", {"id": "w0"}),
                                   ("consent.answer", {"id": question["id"], "approve": True}),
                                   ("consent.environment", {"TERM": "dumb"})):
                asker.ask(method, **params)
                self.assertEqual(reason(asker.answer()), "POLICY_DENIED", method)
        self.assertEqual(self.records("prompter_environment"), [])

    def test_asked_through_a_grant_it_names_the_grant_and_is_another_asker(self):
        self.attend()
        grant = self.call("grant.create", name="agent", keys=["alice"], methods=["credential.issue"])
        asker, owner = Asker(grant["socket"]), self.asker()
        self.addCleanup(asker.close)
        asker.ask("credential.issue", **self.issue)
        question = self.question()
        self.assertEqual(question["caller"]["grant"], "agent")
        self.assertIn("agent", question["text"])
        self.call("consent.answer", id=question["id"], approve=True, remember={"uses": 5})
        self.assertIn("result", asker.answer())
        self.assertTrue(self.is_asked(owner))  # what was allowed to the grant is not allowed outside
        self.assertFalse(self.is_asked(asker))

    def test_a_rule_that_wants_consent_does_not_give_consent(self):
        os.makedirs(os.path.join(self.athd.dir, "ath"), exist_ok=True)
        path = os.path.join(self.athd.dir, "ath", "policy.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"rules": [{"name": "all", "who": {"uid": os.getuid()}, "may": ["*"], "consent": "always"}]}, file)
        self.athd.process.send_signal(1)
        wait_for(lambda: self.policy_is_read())
        self.assertEqual(self.fails(-32001, "consent.list").reason, "POLICY_DENIED")

    def policy_is_read(self):
        return "event=policy rules=1" in self.athd.read_log()


class YesHolds(ConsentTest):
    """The question says what a plain yes is more than a yes to it."""

    def rules(self, consent):
        os.makedirs(os.path.join(self.athd.dir, "ath"), exist_ok=True)
        own = {"who": {"uid": os.getuid()}}
        with open(os.path.join(self.athd.dir, "ath", "policy.json"), "w", encoding="utf-8") as file:
            json.dump({"rules": [{**own, "name": "asks", "may": ["attestation.create", "key.export"], "consent": consent},
                                 {**own, "name": "rest", "may": ["policy.*", "consent.*", "agent.*", "key.*"]}]}, file)
        self.call("policy.reload")
        self.call("key.create", name="agent", role="client", agent_id="https://a.example/agent.json")

    def asked(self, asker, key="agent", audience="https://b.example", method="attestation.create"):
        """What the question says, which is answered yes; None: it was not asked."""
        asker.ask(method, **({"key": key, "audience": audience} if method == "attestation.create" else
                             {"name": key, "format": "did"}))
        wait_for(lambda: self.questions() or asker.has_answer())
        question = None if asker.has_answer() else self.answer(approve=True)
        self.assertIn("result", asker.answer())
        if question:
            self.assertIn(self.words(question), question["text"])
        return question and question.get("yes_holds")

    def words(self, question):
        """In the text: of each that it holds for."""
        said = ""
        for hold in question.get("yes_holds", []):
            said += {3600: "A yes holds for: 1 hour", None: "A yes holds: until athd ends or is locked"}[hold.get("seconds")]
            said += "\n  of: " + ("every program of this user" if hold["any_program"] else "this program, where it runs now")
            what = f"{question['method']} with the same key, " + ("whatever the audience" if hold["any_audience"] else
                                                                   "for the same audience") + ", whatever the scopes"
            said += "\n  for: " + ("all that this key signs" if hold["of"] == "key" else
                                   what + ", as far as the rule allows") + "\n"
        return said

    def test_once_for_so_long_for_this_program_and_every_audience(self):
        self.rules("once:3600")
        self.attend()
        asker, other = self.asker(), self.asker(self.other_program())
        hold = {"of": "rule", "rule": "asks", "seconds": 3600, "any_program": False, "any_audience": True}
        self.assertEqual(self.asked(asker), [hold])
        self.assertIsNone(self.asked(asker, audience="https://c.example"))
        self.assertEqual(self.asked(other), [hold])
        # so does a method that asks nobody by itself
        self.assertEqual(self.asked(asker, method="key.export"), [hold])
        self.assertIsNone(self.asked(asker, method="key.export"))

    def test_first_audience_for_this_audience_until_athd_ends(self):
        self.rules("first-audience")
        self.attend()
        asker = self.asker()
        hold = {"of": "rule", "rule": "asks", "any_program": False, "any_audience": False}
        self.assertEqual(self.asked(asker), [hold])
        self.assertIsNone(self.asked(asker))
        self.assertEqual(self.asked(asker, audience="https://c.example"), [hold])

    def test_a_key_that_asks_once_for_every_program(self):
        self.call("key.create", name="once", role="client", agent_id="https://a.example/agent.json", confirm="session")
        self.attend()
        self.assertEqual(self.asked(self.asker(), key="once"), [{"of": "key", "any_program": True, "any_audience": True}])
        self.assertIsNone(self.asked(self.asker(self.other_program()), key="once", audience="https://c.example"))

    def test_a_yes_that_is_none_to_the_next_says_nothing_of_it(self):
        self.rules("always")
        self.attend()
        asker = self.asker()
        for _ in range(2):
            asker.ask("attestation.create", key="agent", audience="https://b.example")
            question = self.answer(approve=True)
            self.assertIn("result", asker.answer())
            self.assertNotIn("yes_holds", question)
            self.assertNotIn("A yes holds", question["text"])

    def test_athds_own_prompter_says_it_too(self):
        self.rules("once:3600")
        self.says("OK")
        asker = self.asker()
        asker.ask("attestation.create", key="agent", audience="https://b.example")
        self.assertIn("result", asker.answer())
        self.assertIn("A yes holds for: 1 hour%0A  of: this program, where it runs now%0A  for: attestation.create with",
                      self.athd.questions())


class Attend(ConsentTest):
    def event(self, connection):
        return json.loads(connection.lines.readline())["params"]

    def test_who_attends_is_told_and_no_prompter_is_started(self):
        attending = self.attend()
        asker = self.asker()
        asker.ask("credential.issue", **self.issue)
        asked = self.event(attending)
        self.assertEqual((asked["topic"], asked["state"], asked["method"], asked["key"], asked["count"]),
                         ("consent", "asked", "credential.issue", "alice", 1))
        asker.ask("credential.issue", **self.issue)
        self.assertEqual(self.event(attending)["count"], 2)
        self.call("consent.answer", id=asked["id"], approve=True)
        self.assertEqual(self.event(attending)["state"], "approved")
        self.give(asker, approve=False)
        self.assertEqual([self.event(attending)["state"] for _ in range(2)], ["asked", "refused"])
        self.assertEqual(self.athd.prompters(), [])

    def test_when_the_last_one_leaves_the_prompter_takes_over(self):
        first, second = self.attend(), self.attend()
        asker = self.asker()
        asker.ask("credential.issue", **self.issue)
        self.question()
        first.close()
        self.assertEqual(self.event(second)["state"], "asked")
        self.assertEqual(self.athd.prompters(), [])
        second.close()
        wait_for(self.athd.prompters)
        self.says("OK")
        self.assertIn("result", asker.answer())

    def test_what_a_prompter_shows_can_be_answered_elsewhere(self):
        asker = self.asker()
        asker.ask("credential.issue", **self.issue)
        wait_for(self.athd.prompters)
        self.answer(approve=True)
        self.assertIn("result", asker.answer())
        wait_for(lambda: not any(map(is_running, self.athd.prompters())))

    def test_who_attends_and_asks_is_not_asked_itself(self):
        self.attend()
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "credential.issue", **self.issue))
            wait_for(self.athd.prompters)
            self.says("OK")
            self.assertIn("result", wire.line())

    def test_one_that_does_not_read_attends_no_more_and_harms_nobody(self):
        deaf = Wire(self.athd.socket)
        self.addCleanup(deaf.close)
        deaf.send(request(1, "consent.attend"))
        wait_for(lambda: b"result" in deaf.socket.recv(65536, 2))  # MSG_PEEK
        slowest = 0
        for _ in range(400):
            with Wire(self.athd.socket) as wire:
                began = time.monotonic()
                wire.send([request(number, "credential.issue", **self.issue) for number in range(64)])
                self.call("key.list")
                slowest = max(slowest, time.monotonic() - began)
                wait_for(lambda: self.athd.prompters() or any(entry["count"] == 64 for entry in self.questions()))
            if self.athd.prompters():
                break
        self.assertTrue(self.athd.prompters())
        self.assertLess(slowest, 60)

    def test_there_are_64_questions_and_others_are_not_held_up(self):
        self.attend()
        askers = [self.asker(), self.asker()]
        for number in range(64):
            askers[number % 2].ask("credential.issue", **{**self.issue, "ttl": number + 1})
        wait_for(lambda: len(self.questions()) == 64)
        for asker in askers:
            asker.ask("credential.issue", **{**self.issue, "ttl": 100})
            self.assertEqual(reason(asker.answer()), "LIMIT_EXCEEDED")
        listed = self.call("consent.list")
        self.assertEqual(len({question["id"] for question in listed["questions"]}), 64)
        self.assertTrue(all("text" in question for question in listed["questions"]))
        began = time.monotonic()
        for _ in range(20):
            self.call("key.list")
        self.assertLess(time.monotonic() - began, 60)


class Environment(ConsentTest):
    def prompters_environment(self):
        with open(os.path.join(self.athd.dir, "environment"), encoding="utf-8") as file:
            return dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)

    def test_the_prompter_has_that_of_now(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        path = os.ttyname(slave)
        self.call("consent.environment", GPG_TTY=path, TERM="vt100", LC_ALL="C.UTF-8", DISPLAY=":7")
        self.says("OK")
        asker = self.asker()
        asker.ask("credential.issue", **self.issue)
        self.assertIn("result", asker.answer())
        seen = self.prompters_environment()
        self.assertEqual((seen["GPG_TTY"], seen["TERM"], seen["LC_ALL"], seen["DISPLAY"]), (path, "vt100", "C.UTF-8", ":7"))
        self.assertEqual(seen["PATH"], os.environ["PATH"])
        self.assertIn(f"OPTION ttyname={path}", self.athd.questions())
        self.call("consent.environment", WAYLAND_DISPLAY="wayland-1")
        asker.ask("credential.issue", **{**self.issue, "ttl": 1})
        self.assertIn("result", asker.answer())
        seen = self.prompters_environment()
        self.assertEqual(seen["WAYLAND_DISPLAY"], "wayland-1")
        self.assertFalse({"GPG_TTY", "TERM", "LC_ALL", "DISPLAY"} & set(seen))
        self.assertEqual([record["environment"] for record in self.records("prompter_environment")],
                         [{"DISPLAY": ":7", "GPG_TTY": path, "TERM": "vt100", "LC_ALL": "C.UTF-8"},
                          {"WAYLAND_DISPLAY": "wayland-1"}])

    def test_values_that_lead_elsewhere_are_refused(self):
        for name, value in (("GPG_TTY", "/dev/null"), ("GPG_TTY", "/dev/pts/../null"), ("GPG_TTY", "/tmp/x"),
                            ("GPG_TTY", "/dev/pts/99999"), ("GPG_TTY", "tty1"), ("TERM", "../../evil"),
                            ("DBUS_SESSION_BUS_ADDRESS", "unixexec:path=/bin/sh"),
                            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x;unixexec:path=/bin/sh"),
                            ("DBUS_SESSION_BUS_ADDRESS", "autolaunch:"), ("XAUTHORITY", "x"), ("XDG_RUNTIME_DIR", "x"),
                            ("DISPLAY", ":0\n"), ("DISPLAY", ":0 x"), ("LC_ALL", "C;id"), ("WAYLAND_DISPLAY", "../x"),
                            ("LD_PRELOAD", "/x.so"), ("PATH", "/tmp")):
            with self.subTest(name=name, value=value):
                self.fails(-32602, "consent.environment", **{name: value})
        self.assertEqual(self.records("prompter_environment"), [])

    def test_a_terminal_of_another_uid_is_refused(self):
        if os.getuid() != 0:
            self.skipTest("only root can give a terminal away")
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        os.fchown(slave, 12345, 12345)
        self.fails(-32602, "consent.environment", GPG_TTY=os.ttyname(slave))


class Lock(ConsentTest):
    def test_a_lock_ends_questions_and_what_was_allowed(self):
        self.attend()
        asker = self.asker()
        self.assertIn("result", self.give(asker, remember={"uses": 100}))
        asker.ask("credential.issue", **{**self.issue, "ttl": 700})
        self.question()
        self.call("agent.lock")
        self.assertEqual(reason(asker.answer()), "AGENT_LOCKED")
        listed = self.call("consent.list")
        self.assertEqual((listed["questions"], listed["allowed"], listed["refused"]), ([], [], []))
        self.call("agent.unlock")
        self.assertTrue(self.is_asked(asker))


class Handshakes(unittest.TestCase):
    """The agent is a process of its own; the user answers in this one."""

    def begin(self, **service):
        scene = Scene(**service).__enter__()
        self.addCleanup(scene.__exit__)
        attending, agent = Connection(scene.me.socket), Asker(scene.me.socket)
        self.addCleanup(attending.close)
        self.addCleanup(agent.close)
        attending.call("consent.attend")
        return scene, agent

    def answer(self, scene, **answer):
        wait_for(lambda: scene.me.call("consent.list")["questions"])
        question = scene.me.call("consent.list")["questions"][0]
        self.assertTrue(question["can_narrow"])
        scene.me.call("consent.answer", id=question["id"], approve=True, **answer)

    def until_m3(self, scene, agent):
        started = agent.call("handshake.start", key="agent", scopes=["mail:read", "mail:send"],
                             server={"did": scene.shop["did"]}, user_key="alice")
        scene.client = started["handshake"]
        agent.ask("handshake.receive", handshake=scene.client, message=scene.accept(started["send"]))

    def test_a_grant_that_is_issued_on_the_way_has_only_what_was_approved(self):
        scene, agent = self.begin()
        self.until_m3(scene, agent)
        self.answer(scene, scopes=["mail:read"])
        m4 = scene.to_server(agent.answer()["result"]["send"])["send"]
        m5 = agent.call("handshake.receive", handshake=scene.client, message=m4)["send"]
        m8, m9 = scene.to_server(m5)["send"]
        agent.call("handshake.receive", handshake=scene.client, message=m8)
        result = agent.call("handshake.receive", handshake=scene.client, message=m9)["result"]
        self.assertEqual(result["scopes"], ["mail:read"])
        self.assertEqual(result["denied"], [{"scope": "mail:send", "reason": "user_grant"}])

    def test_m7_has_only_what_was_approved(self):
        scene, agent = self.begin(require_user_confirmation=True)
        self.until_m3(scene, agent)
        self.answer(scene)
        m4 = scene.to_server(agent.answer()["result"]["send"])["send"]
        m5 = agent.call("handshake.receive", handshake=scene.client, message=m4)["send"]
        m6 = scene.to_server(m5)["confirm"]
        agent.ask("confirmation.answer", key="alice", message=m6, server=scene.shop["did"])
        self.answer(scene, scopes=["mail:send"])
        m7 = agent.answer()["result"]["send"]
        self.assertEqual((m7["approved"], m7["approved_scopes"]), (True, ["mail:send"]))
        m8, _ = scene.to_server(m7)["send"]
        self.assertEqual(m8["scopes_granted"], ["mail:send"])
        record = scene.me.last_record("confirmation_given")
        self.assertEqual((record["requested_scopes"], record["effective_scopes"]),
                         (["mail:read", "mail:send"], ["mail:send"]))


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class System(unittest.TestCase):
    ALICE, BOB = 12301, 12302

    def setUp(self):
        self.athd = Athd(arguments=["--system"])
        self.addCleanup(self.athd.__exit__)
        os.chmod(self.athd.dir, 0o755)
        self.athd.configure({"socket_mode": "0666"})
        self.athd.start()
        self.athd.wait_for_hsm()
        self.agent, self.user, self.bob = (self.process(uid) for uid in (self.ALICE, self.ALICE, self.BOB))
        self.agent.call("key.create", name="alice", role="user")
        self.issue = {"key": "alice", "client": CLIENT, "scopes": ["a"], "ttl": 60}

    def process(self, uid):
        asker = Asker(self.athd.socket, uid=uid)
        self.addCleanup(asker.close)
        return asker

    def test_nobody_attends_nobody_can_be_asked_at_once(self):
        self.agent.ask("credential.issue", **self.issue)
        error = self.agent.answer()["error"]
        self.assertEqual(error["data"]["reason"], "NO_PROMPTER")
        self.assertIn("ath consent", error["message"])
        self.bob.call("consent.attend")  # not for Alice
        self.agent.ask("credential.issue", **self.issue)
        self.assertEqual(reason(self.agent.answer()), "NO_PROMPTER")
        self.bob.ask("consent.environment", TERM="dumb")
        self.assertEqual(reason(self.bob.answer()), "NO_PROMPTER")
        self.assertEqual(self.athd.prompters(), [])

    def test_each_answers_for_himself_only_and_when_he_leaves_what_waits_ends(self):
        attending = self.process(self.ALICE)
        attending.call("consent.attend")
        self.agent.ask("credential.issue", **self.issue)
        wait_for(lambda: self.user.call("consent.list")["questions"])
        question = self.user.call("consent.list")["questions"][0]
        for stranger in (self.bob, self.process(0)):
            self.assertEqual(stranger.call("consent.list")["questions"], [])
            stranger.ask("consent.answer", id=question["id"], approve=True)
            self.assertEqual(reason(stranger.answer()), "CONSENT_NOT_FOUND")
        is_shown = question["can_remember"]  # the kernel shows another uid's program to who has CAP_SYS_PTRACE
        self.user.call("consent.answer", id=question["id"], approve=True, **({"remember": {"uses": 3}} if is_shown else {}))
        self.assertIn("result", self.agent.answer())
        if is_shown:
            window = self.user.call("consent.list")["allowed"][0]
            self.assertEqual(self.bob.call("consent.list")["allowed"], [])
            self.bob.ask("consent.forget", id=window["id"])
            self.assertEqual(reason(self.bob.answer()), "CONSENT_NOT_FOUND")
            self.user.call("consent.forget", id=window["id"])
        self.agent.ask("credential.issue", **self.issue)
        wait_for(lambda: self.user.call("consent.list")["questions"])
        attending.close()
        self.assertEqual(reason(self.agent.answer()), "NO_PROMPTER")


if __name__ == "__main__":
    unittest.main()
