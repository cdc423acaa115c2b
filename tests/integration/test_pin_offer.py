"""PINs at a machine's athd: a person's own program offers a pinentry, and the helper talks with it."""
import ctypes
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
import unittest

from peer.agent import Athd
from peer.asker import Asker
from peer.pin_taker import Person
from peer.token import SOFTHSM, Token
from peer.token_case import verified
from peer.wire import Wire, apart, children, is_running, name_of, process, reason, request, wait_for
from test_cli import ATH
from test_consent_cli import SETTLE, Terminal
from test_pkcs11_secrets import files_with, memory_has, processes, told_to

ALICE, BOB = 12301, 12302
AGENT_ID = "https://agent.example/a.json"
AUDIENCE = "https://api.example"
SIGN = {"key": "agent", "audience": AUDIENCE}
CREATE = {"name": "agent", "role": "client", "agent_id": AGENT_ID, "pin": True}


class OfferTest(unittest.TestCase):
    system = True
    timeout = 600  # no question's time is up on a busy machine

    def setUp(self):
        self.athd = self.new_athd()
        self.addCleanup(self.end)
        os.chmod(self.athd.dir, 0o755)
        self.athd.configure({**({"socket_mode": "0666"} if self.system else {}), "consent_timeout": self.timeout,
                             **self.settings()})
        self.athd.start()
        self.until_there()
        self.dir = tempfile.mkdtemp(prefix="pin-offer-")
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def new_athd(self):
        return Athd(arguments=["--system"] if self.system else [])

    def settings(self):
        return {}

    def until_there(self):
        self.athd.wait_for_hsm()

    def end(self):
        try:
            if self.athd.process and self.athd.process.poll() is None:
                self.assertEqual(self.athd.stop(), 0, self.athd.read_log())
            self.assertIsNone(re.search(r"ERROR: \w+Sanitizer|runtime error:", self.athd.read_log()), self.athd.read_log())
        finally:
            self.athd.__exit__()

    def person(self, uid=ALICE, **more):
        person = Person(self.athd.socket, os.path.join(self.dir, str(uid)), uid=uid, **more)
        self.addCleanup(person.close)
        return person

    def asker(self, uid=ALICE, path=None):
        asker = Asker(path or self.athd.socket, uid=uid)
        self.addCleanup(asker.close)
        return asker

    def records(self, event):
        found = []
        with open(os.path.join(self.athd.state, "audit", "00000001.jsonl"), encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n") and (record := json.loads(line))["event"] == event:
                    found.append(record)
        return found

    def created(self, person, asker, **more):
        """A key with the person's PIN."""
        asker.ask("key.create", **{**CREATE, **more})
        taker = person.take(person.event("asked")["id"])
        self.assertEqual(person.answer_to(taker)["result"], {})
        answer = asker.answer()
        self.assertIs(answer["result"]["pin"], True)
        return answer["result"]


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class System(OfferTest):
    def test_new_pin_and_its_use_are_asked_at_the_pinentry_of_the_uid(self):
        person, asker = self.person(), self.asker()
        self.created(person, asker)
        self.assertEqual(person.told().count("GETPIN"), 2)
        self.assertIn("Choose a PIN", person.told())
        self.assertIn("Key: agent", person.told())
        self.assertTrue(self.used(person, asker))
        self.assertEqual(person.told().count("GETPIN"), 3)
        wait_for(lambda: not any(map(is_running, person.pinentries())))
        asked, taken, answered = (self.records(event) for event in ("pin_asked", "pin_taken", "pin_answered"))
        self.assertEqual([(record["at"], record["owner"]) for record in asked], [("program", ALICE)] * 2)
        self.assertEqual([record["caller"]["pid"] for record in taken], [taker.pid for taker in person.takers])
        self.assertEqual([record["entered"] for record in answered], [True] * 2)
        self.assertEqual([record["question"] for record in taken], [record["question"] for record in asked])

    def used(self, person, asker, **place):
        """A signature, for which the PIN is asked anew."""
        self.forget()
        person.again()
        asker = self.asker()
        asker.ask("attestation.create", **SIGN)
        taker = person.take(person.event("asked")["id"], **place)
        self.assertEqual(person.answer_to(taker).get("result"), {})
        return "jwt" in asker.answer()["result"]

    def forget(self):
        self.assertEqual(self.athd.stop(), 0, self.athd.read_log())
        self.athd.start()
        self.athd.wait_for_hsm()

    def test_the_pinentry_is_told_its_own_place(self):
        person, asker = self.person(), self.asker()
        self.created(person, asker)
        self.assertNotIn("ttyname", person.told())
        self.assertTrue(self.used(person, asker, GPG_TTY="/dev/pts/77", TERM="vt220", LC_CTYPE="C.UTF-8"))
        for option in ("ttyname=/dev/pts/77", "ttytype=vt220", "lc-ctype=C.UTF-8"):
            self.assertIn("OPTION " + option, person.told())

    def test_nobody_attends_and_that_is_said_at_once(self):
        asker = self.asker()
        self.person(BOB)  # is somebody else
        self.person(pins=False)  # answers questions, and has no pinentry
        asker.ask("key.create", **CREATE)
        answer = asker.answer()
        self.assertEqual(reason(answer), "NO_PROMPTER")
        self.assertIn("ath consent", answer["error"]["message"])

    def test_who_asks_does_not_attend_to_itself(self):
        asker = self.asker()
        asker.call("consent.attend", pins=True)
        asker.ask("key.create", **CREATE)
        self.assertEqual(reason(asker.answer()), "NO_PROMPTER")

    def test_the_last_that_attends_leaves(self):
        person, asker = self.person(), self.asker()
        asker.ask("key.create", **CREATE)
        person.event("asked")
        person.wire.close()
        self.assertEqual(reason(asker.answer()), "NO_PROMPTER")

    def asked(self, person, asker):
        asker.ask("key.create", **CREATE)
        return person.event("asked", pin=True)["id"]

    def refusal(self, person, number, **more):
        return person.answer_to(person.take(number, **more))

    def test_another_uid_neither_sees_nor_takes_it(self):
        person, asker = self.person(), self.asker()
        number = self.asked(person, asker)
        for uid in (BOB, 0):
            other = self.person(uid)
            self.assertEqual(other.calls.call("consent.list")["pins"], [])
            self.assertEqual(reason(self.refusal(other, number)), "CONSENT_NOT_FOUND")
            other.calls.ask("consent.answer", id=number, approve=False)
            self.assertEqual(reason(other.calls.answer()), "CONSENT_NOT_FOUND")
            self.assertEqual(other.told(), "")
            self.assertFalse(other.wire.has_answer(), "an event of another's question")
        self.assertEqual(person.calls.call("consent.list")["pins"][0]["id"], number)
        person.answer_to(person.take(number))
        self.assertIn("result", asker.answer())

    def test_nothing_of_it_through_a_grant(self):
        person, asker = self.person(), self.asker()
        self.asker().call("key.create", name="plain", role="client", agent_id=AGENT_ID)
        socket = self.asker().call("grant.create", name="g", keys=["plain"])["socket"]
        number = self.asked(person, asker)
        answer = self.refusal(person, number, path=socket)
        self.assertEqual(reason(answer), "POLICY_DENIED")
        inside = self.asker(path=socket)
        for method, params in (("consent.attend", {"pins": True}), ("consent.list", {}),
                               ("consent.answer", {"id": number, "approve": False})):
            inside.ask(method, **params)
            self.assertEqual(reason(inside.answer()), "POLICY_DENIED", method)
        self.assertEqual(person.calls.call("consent.list")["pins"][0]["taken"], False)

    def test_who_asks_cannot_take_it_nor_can_what_it_started(self):
        person, asker = self.person(), self.asker()
        number = self.asked(person, asker)
        asker.ask("consent.pinentry", id=number)  # the asker's own connection is not alone, either
        self.assertEqual(asker.answer()["error"]["code"], -32600)
        # a process that takes for itself what it asked on another connection
        self.assertEqual(reason(self.both_in_one(number)), "POLICY_DENIED")
        self.assertEqual(person.calls.call("consent.list")["pins"][0]["taken"], False)

    def both_in_one(self, number):
        """consent.pinentry for a question that this very process asks."""
        def run():
            with Wire(self.athd.socket) as asking, Wire(self.athd.socket) as taking:
                asking.send(request(1, "key.create", **{**CREATE, "name": "other"}))
                ids = []
                while not ids:
                    with Wire(self.athd.socket) as looking:
                        pins = looking.ask(request(2, "consent.list"))["result"]["pins"]
                    ids = [pin["id"] for pin in pins if pin["id"] != number]
                return taking.ask(request(3, "consent.pinentry", id=ids[0]))
        return apart(run, ALICE)

    def test_the_first_has_it_and_the_second_is_told(self):
        person, asker = self.person(), self.asker()
        person.answers("exec sleep 600")
        number = self.asked(person, asker)
        self.assertEqual(self.refusal(person, number)["result"], {})
        second = self.refusal(person, number)
        self.assertEqual(reason(second), "CONSENT_NOT_FOUND")
        self.assertIn("another program", second["error"]["message"])
        self.assertIs(person.calls.call("consent.list")["pins"][0]["taken"], True)
        person.takers[0].kill()  # gone behind the hand-over
        self.assertEqual(reason(asker.answer()), "NO_PROMPTER")

    def test_a_program_that_is_gone_before_or_behind_the_hand_over(self):
        person, asker = self.person(), self.asker()
        number = self.asked(person, asker)
        self.raw(lambda taking: taking.send(request(1, "consent.pinentry", id=number)))  # it has not even heard
        while not asker.has_answer():  # where athd saw the end the question waits for another
            if "result" in self.raw(lambda taking: taking.ask(request(1, "consent.pinentry", id=number))):
                break
        self.assertEqual(reason(asker.answer()), "NO_PROMPTER")

    def test_what_comes_behind_the_request_is_refused_and_reaches_nobody(self):
        person, asker = self.person(), self.asker()
        number = self.asked(person, asker)
        for extra in (b"OK ready\n", b"O", b"OK\nD 1234-abcd\nOK\n", json.dumps(request(2, "agent.hello")).encode() + b"\n"):
            answer = self.refusal(person, number, extra=extra)
            self.assertEqual(answer["error"]["code"], -32600, answer)
        self.assertEqual(self.raw(lambda taking: taking.ask([request(1, "consent.pinentry", id=number)]))[0]["error"]["code"],
                         -32600, "in a batch")
        self.assertIsNone(self.raw(lambda taking: (taking.send({"jsonrpc": "2.0", "method": "consent.pinentry",
                                                               "params": {"id": number}}),
                                                   taking.end_of_writing(), taking.line())[-1]), "a notification")

        def subscribed(taking):
            taking.ask(request(1, "events.subscribe", topics=["consent"]))
            return taking.ask(request(2, "consent.pinentry", id=number))
        self.assertEqual(self.raw(subscribed)["error"]["code"], -32600, "events would come between")

        self.assertEqual(self.refusal(person, number)["result"], {})
        self.assertIn("result", asker.answer())

    def test_what_is_refused_for_what_stands_behind_it_takes_no_answer_from_that(self):
        person, asker = self.person(), self.asker()
        number = self.asked(person, asker)

        def both(taking):
            taking.send(request(1, "consent.pinentry", id=number), request(2, "agent.hello"))
            return taking.lines(2)
        first, second = self.raw(both)
        self.assertEqual((first["id"], first["error"]["code"]), (1, -32600))
        self.assertEqual(second["id"], 2)
        self.assertIn("result", second)
        self.assertEqual(self.refusal(person, number)["result"], {})
        self.assertIn("result", asker.answer())

    def raw(self, talk):
        def run():
            with Wire(self.athd.socket) as wire:
                return talk(wire)
        return apart(run, ALICE)

    def test_a_program_that_floods_or_babbles_ends_its_own_question_and_nothing_else(self):
        person, asker = self.person(), self.asker()
        helper = process(self.athd, "ath-hsm-helper")
        for script in ("while :; do echo '# comments are for nobody'; done", "head -c 3000000 /dev/zero; exec sleep 600",
                       "echo OK; echo OK; echo OK; exec sleep 600", "echo INQUIRE PIN; exec sleep 600",
                       "printf 'D %01000d\\n' 7; echo OK; exec sleep 600",
                       "i=0; while [ $i -lt 90 ]; do printf 'D %0900d\\n' 0; i=$((i+1)); done; exec sleep 600"):
            person.answers(script)
            taker = person.take(self.asked(person, asker))
            self.assertEqual(person.answer_to(taker)["result"], {}, script)
            self.assertIn(reason(asker.answer()), ("NO_PROMPTER", "USER_DENIED"), script)
            taker.kill()
        self.assertEqual(process(self.athd, "ath-hsm-helper"), helper)
        person.answers('echo "D $(cat "%s/pin")"; echo OK' % person.dir)
        self.created(person, asker)

    def test_an_end_that_is_kept_is_broken_when_the_pin_has_been_entered(self):
        """Whoever holds a copy of it hears nothing of the next question, and says nothing to it."""
        person, asker = self.person(), self.asker()
        person.answers('echo "D $(cat "{0}/pin")"; echo OK; [ ! -e "{0}/once" ] || exec sleep 600; : > "{0}/once"'
                       .format(person.dir))
        taker = person.take(self.asked(person, asker))
        self.assertEqual(person.answer_to(taker)["result"], {})
        self.assertIn("result", asker.answer())
        self.assertIsNone(taker.poll())
        self.assertTrue(self.is_cut_off(taker))

    def descriptors(self):
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in (self.athd.process.pid, process(self.athd, "ath-hsm-helper"))]

    def test_no_way_that_a_question_ends_leaves_a_descriptor(self):
        person, asker = self.person(), self.asker()
        self.created(person, asker)
        before = self.descriptors()
        for round in range(3):
            number = self.asked_anew(person, asker, f"refused-{round}")
            self.refusal(person, number, GPG_TTY="/tmp/x")
            self.refusal(person, number, extra=b"OK\n")
            person.answers("exec sleep 600")
            self.refusal(person, number)  # takes it
            self.assertEqual(reason(self.refusal(person, number)), "CONSENT_NOT_FOUND")
            person.takers[-2].kill()
            self.assertEqual(reason(asker.answer()), "NO_PROMPTER")
            number = self.asked_anew(person, asker, f"denied-{round}")
            person.calls.call("consent.answer", id=number, approve=False)
            self.assertEqual(reason(asker.answer()), "USER_DENIED")
            leaving = self.asker()
            self.refusal(person, self.asked_anew(person, leaving, f"left-{round}"))
            leaving.close()
            person.event("gone", pin=True)
        wait_for(lambda: self.descriptors() == before)

    def asked_anew(self, person, asker, name):
        asker.ask("key.create", **{**CREATE, "name": name})
        return person.event("asked", pin=True)["id"]

    def test_helper_that_dies_ends_what_was_taken_and_the_next_asks_again(self):
        person, asker = self.person(), self.asker()
        person.answers("exec sleep 600")
        taker = person.take(self.asked(person, asker))
        self.assertEqual(person.answer_to(taker)["result"], {})
        wait_for(lambda: "GETPIN" in person.told())
        os.kill(process(self.athd, "ath-hsm-helper"), 9)
        self.assertEqual(reason(asker.answer()), "HSM_UNAVAILABLE")
        self.assertTrue(self.is_cut_off(taker))
        person.answers('echo "D $(cat "%s/pin")"; echo OK' % person.dir)
        self.athd.wait_for_hsm()
        self.created(person, asker)

    def test_a_wrong_place_is_refused_and_the_question_waits_on(self):
        person, asker = self.person(), self.asker()
        number = self.asked(person, asker)
        for place in ({"GPG_TTY": "/tmp/x"}, {"GPG_TTY": "/dev/pts/../mem"}, {"TERM": "a\nb"}, {"LC_CTYPE": "$(x)"}):
            self.assertEqual(self.refusal(person, number, **place)["error"]["code"], -32602, place)
        self.assertEqual(self.refusal(person, number)["result"], {})

    def test_the_user_says_no(self):
        person, asker = self.person(), self.asker()
        number = self.asked(person, asker)
        person.calls.ask("consent.answer", id=number, approve=True)
        self.assertEqual(person.calls.answer()["error"]["code"], -32602)
        person.calls.ask("consent.answer", id=number, approve=False)
        self.assertEqual(reason(asker.answer()), "USER_DENIED")
        wait_for(lambda: self.records("pin_answered"))
        self.assertEqual(self.records("pin_answered")[0]["denial_reason"], "USER_DENIED")
        number = self.asked(person, asker)
        person.answers("echo 'ERR 83886179 Operation cancelled <Pinentry>'")
        person.take(number)
        self.assertEqual(reason(asker.answer()), "USER_DENIED")

    def test_nobody_waits_any_more_and_the_pinentry_is_cut_off(self):
        person, asker = self.person(), self.asker()
        person.answers("sleep 600 & wait")
        taker = person.take(self.asked(person, asker))
        self.assertEqual(person.answer_to(taker)["result"], {})
        wait_for(lambda: "GETPIN" in person.told())
        asker.close()
        person.event("gone", pin=True)
        self.assertEqual(person.calls.call("consent.list")["pins"], [])
        # its own process does not read just now; its connection is at its end
        self.assertTrue(self.is_cut_off(taker))

    def test_frozen_keys_end_the_questions_for_their_pins_taken_or_not(self):
        person, asker = self.person(), self.asker()
        for name in ("agent", "other"):
            self.created(person, asker, name=name)
        self.forget()
        person.again()
        person.answers("sleep 600 & wait")
        answered, told = len(self.records("pin_answered")), person.told().count("GETPIN")
        mine, others = {}, {}
        for name, question in (("agent", mine), ("other", others)):
            question["asker"] = self.asker()
            question["asker"].ask("attestation.create", **{**SIGN, "key": name})
            question["id"] = person.event("asked", key=name)["id"]
        self.asker(BOB).call("policy.freeze", all=True)
        self.assertEqual([pin["key"] for pin in person.calls.call("consent.list")["pins"]], ["agent", "other"])
        person.calls.call("policy.freeze", key="agent")
        self.is_frozen(mine, person)
        self.assertEqual([pin["id"] for pin in person.calls.call("consent.list")["pins"]], [others["id"]])
        taker = person.take(others["id"])
        self.assertEqual(person.answer_to(taker)["result"], {})
        wait_for(lambda: person.told().count("GETPIN") > told)
        person.calls.call("policy.freeze", all=True)
        self.is_frozen(others, person)
        self.assertEqual(person.calls.call("consent.list")["pins"], [])
        self.assertTrue(self.is_cut_off(taker))
        wait_for(lambda: len(self.records("pin_answered")) == answered + 2)
        self.assertEqual([record["denial_reason"] for record in self.records("pin_answered")[answered:]],
                         ["POLICY_DENIED"] * 2)

    def test_no_that_freezes_ends_the_question_for_the_keys_pin_too(self):
        person, asker = self.person(), self.asker()
        self.created(person, asker, confirm="always")
        self.forget()
        person.again()
        question = {"asker": self.asker()}
        question["asker"].ask("attestation.create", **SIGN)
        person.calls.call("consent.answer", id=person.event("asked")["id"], approve=True)
        question["id"] = person.event("asked", pin=True)["id"]
        second = self.asker()
        second.ask("attestation.create", **{**SIGN, "audience": "https://other.example"})
        person.calls.call("consent.answer", id=person.event("asked")["id"], approve=False, freeze=True)
        self.assertEqual(reason(second.answer()), "USER_DENIED")
        self.is_frozen(question, person)

    def is_frozen(self, question, person):
        answer = question["asker"].answer()
        self.assertEqual((reason(answer), answer["error"]["data"]["rule"]), ("POLICY_DENIED", "frozen"))
        person.event("gone", pin=True, id=question["id"])

    def test_athd_ends_while_a_pin_is_offered_or_entered(self):
        person, askers = self.person(), [self.asker(), self.asker()]
        person.answers("sleep 600 & wait")
        ids = [self.asked_anew(person, asker, f"agent-{number}") for number, asker in enumerate(askers)]
        taker = person.take(ids[1])
        self.assertEqual(person.answer_to(taker)["result"], {})
        wait_for(lambda: "GETPIN" in person.told())
        self.assertEqual(self.athd.stop(), 0, self.athd.read_log())
        for asker in askers:
            error = asker.answer()["error"]
            self.assertEqual((error["data"]["reason"], error["message"]),
                             ("HSM_UNAVAILABLE", "athd is stopping; ask again when it runs"))
        self.assertEqual({record["question"]: record["denial_reason"] for record in self.records("pin_answered")},
                         dict.fromkeys(ids, "HSM_UNAVAILABLE"))
        self.assertTrue(self.is_cut_off(taker))

    @staticmethod
    def is_cut_off(taker):
        """By whether a copy of its standard input is at its end."""
        pidfd = os.pidfd_open(taker.pid)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            copy = libc.syscall(438, pidfd, 0, 0)  # pidfd_getfd(2)
            if copy < 0:
                raise unittest.SkipTest("only root, with CAP_SYS_PTRACE, gets a copy of another's descriptor")
            with socket.socket(fileno=copy) as end:
                end.settimeout(30)
                while end.recv(4096):
                    pass
            return True
        finally:
            os.close(pidfd)

    def test_wrong_pins_count_as_ever(self):
        person, asker = self.person(), self.asker()
        self.created(person, asker)
        self.forget()
        person.again()
        person.knows("wrong-one")
        asker = self.asker()
        for tried in range(5):
            asker.ask("attestation.create", **SIGN)
            person.take(person.event("asked")["id"])
            self.assertEqual(reason(asker.answer()), "PIN_INCORRECT", tried)
        asker.ask("attestation.create", **SIGN)
        answer = asker.answer()
        self.assertEqual(reason(answer), "PIN_LOCKED")
        self.assertGreater(answer["error"]["data"]["retry_after"], 0)
        self.assertIn("The last 4 PINs were wrong", person.told())
        self.assertEqual([record["success"] for record in self.records("login")], [False] * 5)

    def test_no_uid_takes_what_the_others_need(self):
        person, bob = self.person(), self.person(BOB)
        for one in (person, bob):
            one.answers("sleep 600 & wait")
        askers, answers = [self.asker() for _ in range(6)], []
        for number, asker in enumerate(askers):
            asker.ask("key.create", **{**CREATE, "name": f"agent-{number}"})
            answers.append(self.refusal(person, person.event("asked")["id"]))
        self.assertEqual([reason(answer) for answer in answers], [None] * 4 + ["LIMIT_EXCEEDED"] * 2)
        theirs = self.asker(BOB)
        theirs.ask("key.create", **CREATE)
        self.assertEqual(self.refusal(bob, bob.event("asked")["id"])["result"], {})

    def test_pin_is_neither_in_athd_nor_in_any_argument_environment_or_file(self):
        needle = "pin-" + secrets.token_hex(8)
        person, asker = self.person(pin=needle), self.asker()
        person.answers(f'while [ ! -e "{person.dir}/go" ]; do sleep 0.02; done; read -r pin < "{person.dir}/pin"; '
                       'echo "D $pin"; echo OK')
        number = self.asked(person, asker)
        taker = person.take(number)
        self.assertEqual(person.answer_to(taker)["result"], {})
        with open(os.path.join(person.dir, "go"), "w", encoding="utf-8"):
            pass
        self.assertIn("result", asker.answer())
        helper = process(self.athd, "ath-hsm-helper")
        for pid in processes():
            self.assertNotIn(needle.encode(), told_to(pid), name_of(pid))
        self.assertEqual(files_with(self.athd.state, needle.encode()), [])
        self.assertNotIn(needle, self.athd.read_log())
        found, seen = memory_has(self.athd.process.pid, needle.encode())
        self.assertGreater(seen, 1 << 20)
        self.assertFalse(found, "in athd's memory")
        self.assertNotEqual(helper, self.athd.process.pid)


class TokenTest(OfferTest):
    pin_users = [ALICE]

    def setUp(self):
        self.token = Token(module=SOFTHSM)
        self.addCleanup(self.token.close)
        super().setUp()

    def new_athd(self):
        athd = Athd(arguments=["--system"], software_tpm=False)
        athd.environment = dict(self.token.environment)
        return athd

    def settings(self):
        return {"hsm": [{"name": "card", "uri": self.token.uri(), "pin_users": self.pin_users}]}

    def until_there(self):
        self.athd.wait_for_hsm("locked")

    def asks(self, asker):
        """For a key; it waits for the PIN when this has returned."""
        asker.ask("key.create", name="agent", role="client", agent_id=AGENT_ID)
        asker.call("agent.hello")


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class MachinesToken(TokenTest):
    """A token's PIN is asked of those whom pin_users names."""

    def test_who_is_named_is_asked_and_nobody_else(self):
        alice, bob = self.person(pin=self.token.pin), self.person(BOB, pin="wrong")
        theirs = self.asker(BOB)
        theirs.ask("key.create", name="agent", role="client", agent_id=AGENT_ID)
        answer = theirs.answer()
        self.assertEqual(reason(answer), "NO_PROMPTER")
        self.assertIn("pin_users", answer["error"]["message"])
        asker = self.asker()
        asker.ask("key.create", name="agent", role="client", agent_id=AGENT_ID)
        number = alice.event("asked", pin=True)["id"]
        self.assertEqual(bob.calls.call("consent.list")["pins"], [])
        self.assertEqual(reason(bob.answer_to(bob.take(number))), "CONSENT_NOT_FOUND")
        self.assertIn("The PIN of the token", alice.calls.call("consent.list")["pins"][0]["text"])
        # whose words the person reads are one's own, whoever else waits
        theirs.ask("key.create", name="others-key", role="client", agent_id=AGENT_ID)
        self.assertEqual(alice.answer_to(alice.take(number))["result"], {})
        self.assertIn("result", asker.answer())
        self.assertIn("result", theirs.answer())  # a login is everybody's
        self.assertIn("Key: agent", alice.told())
        self.assertNotIn("others-key", alice.told())
        self.assertEqual(bob.told(), "")

    def test_when_the_one_who_was_asked_has_gone_others_do_not_wait(self):
        alice = self.person(pin=self.token.pin)
        asker, theirs = self.asker(), self.asker(BOB)
        asker.ask("key.create", name="agent", role="client", agent_id=AGENT_ID)
        alice.event("asked", pin=True)
        theirs.ask("key.create", name="agent", role="client", agent_id=AGENT_ID)
        asker.close()
        alice.event("gone", pin=True)
        self.assertEqual(reason(theirs.answer()), "NO_PROMPTER")


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class EachTime(TokenTest):
    """A key that wants its PIN for each signature (CKA_ALWAYS_AUTHENTICATE), after the token's own was entered."""

    def settings(self):
        """Who may import keys of a machine's token the machine's rules say."""
        with open(os.path.join(self.athd.dir, "policy.json"), "w", encoding="utf-8") as file:
            json.dump({"rules": [{"name": "all", "who": {"uid": "*"}, "may": ["*"]}]}, file)
        return super().settings()

    def setUp(self):
        super().setUp()
        self.token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "careful", "--id", "09",
                        "--always-auth", "--sensitive")
        self.alice, self.hers = self.person(pin=self.token.pin), self.asker()
        self.hers.ask("key.import", name="agent", role="client", agent_id=AGENT_ID, hsm="card",
                      pkcs11_uri=f"pkcs11:token={self.token.label.replace(' ', '%20')};id=%09")
        self.enters(self.asked())
        self.info = self.hers.answer()["result"]
        self.assertIs(self.info["hardware"]["always_authenticate"], True)

    def asked(self):
        return self.alice.event("asked", pin=True)["id"]

    def enters(self, number):
        self.assertEqual(self.alice.answer_to(self.alice.take(number))["result"], {})

    def signed(self):
        """What became of a signature, when the PIN has been entered."""
        self.hers.ask("attestation.create", **SIGN)
        self.enters(self.asked())
        return self.hers.answer()

    def test_the_pinentry_of_the_uid_is_asked_each_time(self):
        bob = self.person(BOB, pin="wrong")
        before = self.alice.told().count("GETPIN")
        for turn in range(1, 4):
            verified(self.signed()["result"]["jwt"], self.info["public_pem"])
            self.assertEqual(self.alice.told().count("GETPIN"), before + turn)
        self.assertEqual((bob.told(), bob.wire.has_answer()), ("", False))
        wait_for(lambda: [record["entered"] for record in self.records("pin_answered")] == [True] * 4)

    def test_wrong_pin_a_no_and_nobody_there_are_no_signature(self):
        self.alice.knows("wrong-one")
        self.assertEqual(reason(self.signed()), "PIN_INCORRECT")
        self.hers.ask("attestation.create", **SIGN)
        self.alice.calls.call("consent.answer", id=self.asked(), approve=False)
        self.assertEqual(reason(self.hers.answer()), "USER_DENIED")
        self.hers.ask("attestation.create", **SIGN)
        self.asked()
        self.alice.leave()
        self.assertEqual(reason(self.hers.answer()), "NO_PROMPTER")
        self.hers.ask("attestation.create", **SIGN)
        answer = self.hers.answer()
        self.assertEqual(reason(answer), "NO_PROMPTER")
        self.assertIn("ath consent", answer["error"]["message"])
        wait_for(lambda: [record["success"] for record in self.records("login")] == [True, False])

    def test_each_signature_has_a_question_of_its_own(self):
        askers = [self.hers, self.asker()]
        ids = []
        for asker in askers:
            asker.ask("attestation.create", **SIGN)
            ids.append(self.asked())
        self.assertEqual(len(set(ids)), 2)
        self.enters(ids[1])
        verified(askers[1].answer()["result"]["jwt"], self.info["public_pem"])
        self.assertEqual([pin["id"] for pin in self.alice.calls.call("consent.list")["pins"]], [ids[0]])
        self.assertFalse(askers[0].has_answer())
        self.enters(ids[0])
        verified(askers[0].answer()["result"]["jwt"], self.info["public_pem"])

    def test_a_frozen_key_ends_the_question_taken_or_not(self):
        self.alice.answers("sleep 600 & wait")
        askers = [self.hers, self.asker()]
        ids = []
        for asker in askers:
            asker.ask("attestation.create", **SIGN)
            ids.append(self.asked())
        self.enters(ids[0])
        self.alice.calls.call("policy.freeze", key="agent")
        for asker in askers:
            self.assertEqual(asker.answer()["error"]["data"]["rule"], "frozen")
        self.assertEqual({self.alice.event("gone", pin=True)["id"] for _ in ids}, set(ids))
        self.assertEqual(self.alice.calls.call("consent.list")["pins"], [])


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class SharedToken(TokenTest):
    """A token whose PIN several people know."""

    pin_users = [ALICE, BOB]

    def setUp(self):
        super().setUp()
        self.alice, self.bob = self.person(pin=self.token.pin), self.person(BOB, pin=self.token.pin)
        self.hers, self.his = self.asker(), self.asker(BOB)
        self.asks(self.hers)
        self.number = self.alice.event("asked", pin=True)["id"]
        self.asks(self.his)

    def he_is_asked_and_served(self):
        self.bob.take(self.bob.event("asked", pin=True)["id"])
        self.assertIn("result", self.his.answer())

    def test_a_no_is_for_ones_own_requests_and_the_next_is_asked(self):
        self.alice.calls.call("consent.answer", id=self.number, approve=False)
        self.assertEqual(reason(self.hers.answer()), "USER_DENIED")
        self.assertFalse(self.his.has_answer())
        self.he_is_asked_and_served()

    def test_what_a_useless_pinentry_says_is_for_its_own_user_and_the_next_is_asked(self):
        self.alice.answers("echo ERR 1 send your PIN to alice; exit")
        self.alice.take(self.number)
        answer = self.hers.answer()
        self.assertEqual(reason(answer), "NO_PROMPTER")
        self.assertIn("send your PIN to alice", answer["error"]["message"])
        self.he_is_asked_and_served()

    def test_who_leaves_is_asked_no_more_and_the_next_is(self):
        self.alice.wire.close()
        self.assertEqual(reason(self.hers.answer()), "NO_PROMPTER")
        self.he_is_asked_and_served()

    def test_a_wrong_pin_is_everybodys_try(self):
        self.alice.knows("wrong-one")
        self.alice.take(self.number)
        for asker in (self.hers, self.his):
            self.assertEqual(reason(asker.answer()), "PIN_INCORRECT")
        self.assertEqual([record["success"] for record in self.records("login")], [False])


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class SharedTokenInTime(TokenTest):
    pin_users = [ALICE, BOB]
    timeout = 5

    def test_who_does_not_answer_keeps_nobody_else_from_being_asked(self):
        alice, bob = self.person(pin=self.token.pin), self.person(BOB, pin=self.token.pin)
        hers, his = self.asker(), self.asker(BOB)
        hers.ask("key.create", name="agent", role="client", agent_id=AGENT_ID)
        alice.event("asked", pin=True)
        # however late his comes on a busy machine, he is asked
        his.ask("key.create", name="agent", role="client", agent_id=AGENT_ID)
        bob.event("asked", pin=True)
        self.assertEqual(reason(hers.answer()), "CONSENT_TIMEOUT")


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class Cli(OfferTest):
    """`ath consent` of the user, in both forms, with pinentries that people have."""

    def setUp(self):
        super().setUp()
        self.home = os.path.join(self.dir, "home")
        os.mkdir(self.home)
        os.chown(self.home, ALICE, ALICE)
        self.ath = shutil.copy2(ATH, self.home)  # what was built may lie where only root comes

    def terminal(self, *words, **more):
        terminal = Terminal(self.ath, "consent", *words, uid=ALICE, ATH_AUTH_SOCK=self.athd.socket, GPG_TTY="",
                            WAYLAND_DISPLAY="", HOME=self.home, LC_ALL="C.UTF-8", **{"DISPLAY": "", **more})
        os.chown(os.ttyname(terminal.slave), ALICE, -1)
        self.addCleanup(terminal.close)
        return terminal

    def needs(self, program):
        self.assertIsNotNone(shutil.which(program), f"there is no {program} here: tools/lib.sh names the packages")

    def enter_twice(self, terminal, asker, pin):
        """At pinentry-tty."""
        terminal.wait("PIN: ")
        terminal.press(pin + "\r")
        terminal.wait("Again: ")
        terminal.press(pin + "\r")
        self.assertIs(asker.answer()["result"]["pin"], True)

    def is_nowhere(self, pin, *pids):
        for pid in (self.athd.process.pid, *pids):
            found, seen = memory_has(pid, pin.encode())
            self.assertGreater(seen, 1 << 18)
            self.assertFalse(found, name_of(pid))

    def test_at_a_terminal_by_pinentry_tty(self):
        self.needs("pinentry-tty")
        pin = "pin-" + secrets.token_hex(8)
        terminal, asker = self.terminal("--pinentry", "pinentry-tty"), self.asker()
        terminal.wait("come here")
        asker.ask("key.create", **CREATE)
        terminal.wait("Choose a PIN for a new key")
        terminal.shown("y enter the PIN, n no")
        terminal.take("y", lambda: children(terminal.process.pid))  # its pinentry
        self.enter_twice(terminal, asker, pin)
        terminal.wait("its prompter has gone")
        self.assertNotIn(pin, terminal.text)
        self.is_nowhere(pin, terminal.process.pid)
        asker.ask("key.create", **{**CREATE, "name": "second"})
        terminal.shown("y enter the PIN, n no")
        terminal.take("n")
        self.assertEqual(reason(asker.answer()), "USER_DENIED")
        terminal.press("q")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(terminal.modes(), terminal.before)

    def test_a_question_that_goes_takes_its_pinentry_from_the_terminal(self):
        self.needs("pinentry-curses")
        terminal, asker = self.terminal("--pinentry", "pinentry-curses", TERM="vt100"), self.asker()
        terminal.wait("come here")
        asker.ask("key.create", **CREATE)
        terminal.shown("y enter the PIN, n no")
        terminal.take("y", lambda: children(terminal.process.pid))  # its pinentry
        terminal.wait("Cancel")
        asker.close()
        terminal.wait("its prompter has gone")
        terminal.wait("No question waits")
        time.sleep(SETTLE)
        terminal.press("q")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(terminal.modes(), terminal.before)

    def test_as_on_a_desktop(self):
        self.needs("pinentry-tty")
        pin = "pin-" + secrets.token_hex(8)
        terminal, asker = self.terminal("--prompter", "pinentry-tty"), self.asker()
        terminal.wait("from here")
        asker.ask("key.create", **CREATE)
        self.enter_twice(terminal, asker, pin)
        self.is_nowhere(pin, terminal.process.pid)
        wait_for(lambda: terminal.modes() == terminal.before)
        asker.ask("key.create", **{**CREATE, "name": "second"})
        terminal.wait("PIN: ")
        asker.close()
        wait_for(lambda: terminal.modes() == terminal.before)
        self.assertIsNone(terminal.process.poll())


    def test_on_a_desktop_what_was_too_many_is_shown_when_there_is_room(self):
        person = self.person(pins=False)
        person.answers("exec sleep 600")
        terminal = self.terminal("--prompter", person.program, DISPLAY=":99")
        terminal.wait("from here")
        tried = len(person.pinentries())  # whether it greets
        askers = [self.asker() for _ in range(5)]
        for number, asker in enumerate(askers):
            asker.ask("key.create", **{**CREATE, "name": f"agent-{number}"})
            if number < 4:
                wait_for(lambda: len(person.pinentries()) == tried + number + 1)
        terminal.wait("answer one of these first")
        self.assertEqual(len(person.pinentries()), tried + 4)
        askers[0].close()
        wait_for(lambda: len(person.pinentries()) == tried + 5)
        self.assertEqual(terminal.text.count("answer one of these first"), 1)


class User(OfferTest):
    """An athd of one's own: a program that has a pinentry is asked, else its own prompter."""

    system = False

    def test_who_attends_with_a_pinentry_has_it_before_athds_own(self):
        person, asker = self.person(None), self.asker(None)
        self.created(person, asker)
        self.assertEqual(self.athd.prompters(), [])

    def test_else_athds_own_asks_also_when_the_last_has_left(self):
        with open(os.path.join(self.athd.dir, "getpin"), "w", encoding="utf-8") as file:
            file.write('echo "D 1234-abcd"; echo OK\n')
        yes_and_no = self.person(None, pins=False)
        asker = self.asker(None)
        asker.ask("key.create", **CREATE)
        self.assertIn("result", asker.answer())
        self.assertEqual(len(self.athd.prompters()), 1)
        yes_and_no.close()
        person = self.person(None)
        asker.ask("key.create", **{**CREATE, "name": "second"})
        person.event("asked")
        person.wire.close()
        self.assertIn("result", asker.answer())
        self.assertEqual(len(self.athd.prompters()), 2)


if __name__ == "__main__":
    unittest.main()
