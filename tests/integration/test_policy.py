"""Policy in a running athd: rules, reloading, the kill switch, and callers who are not who they seem."""
import json
import os
import signal
import subprocess
import sys
import unittest

import random
import threading
import time

from peer.agent import BIN, Connection, Failed
from peer.scene import NO, YES, CheckedAthd, Scene

ID = "https://agent.example/.well-known/agent.json"
ROOT = os.getuid() == 0
ME = os.getuid()


class WithPolicy(CheckedAthd):
    def write_policy(self, policy, name="policy.json"):
        path = os.path.join(self.dir, "ath", name)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(policy if isinstance(policy, str) else json.dumps(policy))

    def rules(self, *rules, **more):
        self.write_policy({"rules": list(rules), **more})
        return self.call("policy.reload")

    def open_to_all(self):
        for path in (self.dir, self.socket):
            os.chmod(path, 0o777)


def rule(name="r", **members):
    return {"name": name, "who": {"uid": ME}, "may": ["*"], **members}


class Case(unittest.TestCase):
    def denied(self, connection, method, **params):
        with self.assertRaises(Failed) as caught:
            connection.call(method, **params)
        self.assertEqual(caught.exception.reason, "POLICY_DENIED", caught.exception)
        return caught.exception.data


class Rules(Case):
    def test_without_a_file_the_owner_may_and_the_policy_is_shown_as_a_file(self):
        with WithPolicy() as athd:
            shown = athd.call("policy.show")
            self.assertEqual(shown["source"], "built-in")
            self.assertEqual(shown["policy"]["rules"][0]["who"], {"uid": ME})
            self.assertTrue(athd.call("policy.check", method="key.create")["allowed"])
            other = athd.call("policy.check", method="key.list", **{"as": {"uid": ME + 1}})
            self.assertEqual((other["allowed"], other["rule"]), (False, "default"))
            athd.write_policy(shown["policy"])
            self.assertEqual(athd.call("policy.reload")["source"], "files")
            athd.call("key.list")

    def test_what_no_rule_allows_is_denied_with_the_nearest_rule(self):
        with WithPolicy() as athd:
            athd.call("key.create", name="travel", role="client", agent_id=ID)
            athd.call("key.create", name="other", role="client", agent_id=ID)
            athd.rules(rule("attest", may=["group:attest"], keys=["tra*"], audiences=["https://a.example"],
                            max_ttl=300), rule("rest", may=["group:policy", "group:audit", "agent.status"]))
            athd.call("attestation.create", key="travel", audience="https://a.example/x")
            for params, missing in (({"key": "other", "audience": "https://a.example"}, "keys: other"),
                                    ({"key": "travel", "audience": "https://a.example.evil"},
                                     "audiences: https://a.example.evil"),
                                    ({"key": "travel", "audience": ["https://a.example", "https://b.example"]},
                                     "audiences: https://b.example"),
                                    ({"key": "travel", "audience": "https://a.example", "ttl": 301},
                                     "max_ttl: 301, at most 300")):
                data = self.denied(athd, "attestation.create", **params)
                self.assertEqual((data["rule"], data["missing"]), ("attest", missing))
                said = athd.call("policy.check", method="attestation.create", params=params)
                self.assertEqual((said["allowed"], said["missing"]), (False, missing))
            self.assertEqual(self.denied(athd, "key.list")["missing"], "may: key.list")
            athd.call("audit.checkpoint")  # all records are there then
            self.assertEqual(athd.last_record("policy_denied")["method"], "key.list")

    def test_a_wrong_file_is_refused_with_its_line_and_the_old_rules_stay(self):
        with WithPolicy() as athd:
            athd.rules(rule("one", may=["policy.*", "key.list"]))
            athd.write_policy('{"rules": [\n  {"name": "two",\n   "who": {"uid": 0},\n   "may": ["nothing"]}]}')
            with self.assertRaises(Failed) as caught:
                athd.call("policy.reload")
            self.assertIn("policy.json:4: ", caught.exception.message)
            athd.process.send_signal(signal.SIGHUP)
            self.assertIn("policy.json:4: ", athd.last_record("policy_refused")["message"])
            athd.call("key.list")
            self.denied(athd, "agent.hello")
            athd.stop()
            with self.assertRaises(AssertionError):
                athd.start()
            self.assertEqual(athd.process.wait(60), 1)
            athd.process = None
            self.assertIn("policy.json:4: ", athd.read_log())

    def test_check_config_refuses_the_policy_that_a_start_would_refuse(self):
        with WithPolicy() as athd:
            config = os.path.join(athd.dir, "ath", "athd.json")
            athd.write_policy("{}", "athd.json")
            command = [os.path.join(BIN, "athd"), "--check-config", "--software-tpm", "--config", config, "--socket",
                       os.path.join(athd.dir, "s"), "--state-dir", athd.state]
            for policy, status, said in (('{"rules": []}', 0, ""), ('{\n"rules": 1}', 1, "policy.json:2")):
                athd.write_policy(policy)
                done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertIn(said, done.stderr)

    def test_files_of_policy_d_come_after_in_order(self):
        with WithPolicy() as athd:
            athd.write_policy({"rules": [rule("b")]}, "policy.d/2.json")
            athd.write_policy({"rules": [rule("a", may=["key.list"])]}, "policy.d/1.json")
            self.assertEqual(athd.call("policy.reload")["rules"], 2)
            self.assertEqual(athd.call("policy.check", method="key.list")["rule"], "a")

    def test_consent_is_asked_as_the_rule_wants_it(self):
        with WithPolicy(NO) as athd:
            athd.call("key.create", name="k", role="client", agent_id=ID)
            athd.rules(rule("ask", may=["attestation.create", "key.export"], consent="first-audience"), rule())
            attest = dict(key="k", audience="https://a.example")
            with self.assertRaises(Failed) as caught:
                athd.call("attestation.create", **attest)
            self.assertEqual(caught.exception.reason, "USER_DENIED")
            with self.assertRaises(Failed) as caught:
                athd.call("key.export", name="k", format="did")
            self.assertEqual(caught.exception.reason, "USER_DENIED")
            athd.answers(YES)
            athd.call("attestation.create", **attest)
            athd.answers(NO)
            athd.call("attestation.create", **attest)  # the same audience
            with self.assertRaises(Failed) as caught:
                athd.call("attestation.create", key="k", audience="https://b.example")
            self.assertEqual(caught.exception.reason, "USER_DENIED")

    def test_a_rate_ends_with_when_to_come_again_and_others_go_on(self):
        with WithPolicy() as athd:
            athd.call("key.create", name="a", role="client", agent_id=ID)
            athd.call("key.create", name="b", role="client", agent_id=ID)
            athd.rules(rule(may=["attestation.create", "agent.status", "policy.*"], rate="5/hour"))
            for _ in range(5):
                athd.call("attestation.create", key="a", audience="https://a.example")
            for _ in range(50):  # the flood
                with self.assertRaises(Failed) as caught:
                    athd.call("attestation.create", key="a", audience="https://a.example")
                self.assertEqual(caught.exception.reason, "RATE_LIMITED")
                self.assertGreaterEqual(caught.exception.data["retry_after"], 1)
            athd.call("attestation.create", key="b", audience="https://a.example")

    def test_observing_records_and_allows(self):
        with WithPolicy() as athd:
            athd.rules(rule(may=["policy.*", "agent.*"]), observe=True)
            athd.call("key.list")
            self.assertEqual(athd.last_record("policy_would_deny")["method"], "key.list")


def rules_of(athd, *rules):
    """For any athd: the policy beside its configuration."""
    with open(os.path.join(athd.dir, "ath", "policy.json"), "w", encoding="utf-8") as file:
        json.dump({"rules": list(rules)}, file)
    athd.call("policy.reload")


class Details(Case):
    """What is said before a method begins is never enough to sign: it asks again when all is known."""

    def refused(self, athd, narrow, missing, method, /, again=False, **params):
        """`again`: nothing in the params fails the rule `narrow`, but what is signed does."""
        narrow = rule("narrow", may=[method], **narrow)
        rules_of(athd, narrow, rule("rest", may=["policy.*", "agent.status", "audit.*"]))
        before = athd.signatures()
        data = self.denied(athd, method, **params)
        self.assertEqual((data["rule"], data["missing"].split(":")[0]), ("narrow", missing), method)
        self.assertEqual(athd.signatures(), before, method)
        athd.call("audit.checkpoint")
        self.assertEqual("purpose" in athd.last_record("policy_denied"), again, method)
        rules_of(athd, rule())

    def test_no_method_signs_what_its_rule_does_not_allow(self):
        with Scene(require_user_confirmation=True) as scene:
            os.makedirs(os.path.join(scene.me.dir, "ath"), exist_ok=True)
            os.makedirs(os.path.join(scene.app.dir, "ath"), exist_ok=True)
            no_scope, nobody = {"scopes": ["none"]}, {"audiences": ["did:ath:nobody"]}
            self.refused(scene.me, {"max_ttl": 1}, "max_ttl", "attestation.create", key="agent",
                         audience="https://mail.example")
            self.refused(scene.me, no_scope, "scopes", "credential.issue", key="alice", client=scene.agent["did"],
                         scopes=["mail:read"], ttl=600)
            scene.issue()
            start = {"key": "agent", "scopes": ["mail:read"], "server": {"did": scene.shop["did"]}}
            self.refused(scene.me, no_scope, "scopes", "handshake.start", **start)
            self.refused(scene.me, no_scope, "scopes", "handshake.start", user_key="alice", **start)
            m1 = scene.start()
            self.refused(scene.app, nobody, "audiences", "handshake.accept", service="mail", message=m1, again=True)
            m2 = scene.accept(m1)
            self.refused(scene.me, no_scope, "scopes", "handshake.receive", handshake=scene.client, message=m2)
            m2 = scene.accept(scene.start(server={"origin": "https://mail.example"}))
            self.refused(scene.me, {"peers": ["did:ath:nobody"]}, "peers", "handshake.receive", handshake=scene.client,
                         message=m2, again=True)
            last = scene.to_server(scene.until_m5())
            self.refused(scene.me, no_scope, "scopes", "confirmation.answer", key="alice", message=last["confirm"],
                         server=scene.shop["did"], again=True)
            scene.answer(last["confirm"])

    def test_a_users_key_is_asked_for_by_its_own_name(self):
        with Scene() as scene:
            os.makedirs(os.path.join(scene.me.dir, "ath"), exist_ok=True)
            rules_of(scene.me, rule("agent-only", keys=["agent"]))
            start = {"key": "agent", "scopes": ["mail:read"], "server": {"did": scene.shop["did"]}, "user_key": "alice"}
            self.assertEqual(self.denied(scene.me, "handshake.start", **start)["missing"], "keys: alice")

    def test_a_session_is_for_those_whom_its_signature_was_for(self):
        with Scene() as scene:
            os.makedirs(os.path.join(scene.me.dir, "ath"), exist_ok=True)
            scene.issue()
            session = scene.run()[0]["session"]
            rules_of(scene.me, rule(audiences=["https://other.example"]))
            self.assertEqual(self.denied(scene.me, "session.token", session=session)["missing"].split(":")[0], "audiences")
            rules_of(scene.me, rule(audiences=[scene.shop["did"]]))
            scene.me.call("session.token", session=session)

    def test_keys_hold_also_for_calls_about_all_of_them_and_for_what_is_replaced(self):
        with Scene() as scene:
            os.makedirs(os.path.join(scene.app.dir, "ath"), exist_ok=True)
            scene.app.call("key.create", name="mine", role="server")
            rules_of(scene.app, rule("mine", keys=["mine"]))
            for method, params in (("policy.freeze", {"all": True}), ("policy.unfreeze", {"all": True}), ("audit.query", {})):
                self.assertEqual(self.denied(scene.app, method, **params)["missing"], "keys: all of them")
            scene.app.call("audit.query", key="mine")
            with self.assertRaises(Failed) as caught:
                scene.put_service(key="mine")  # it would end the other one
            self.assertEqual(caught.exception.data["missing"], "keys: shop")


class Answers(Case):
    """What the user said yes to is decided once more then."""
    ASK = {"key": "k", "audience": "https://a.example"}
    FIRST = dict(may=["attestation.create", "key.export"], consent="always")

    def ask(self, athd, method, **params):
        """Begins the call; gives what its end is put into, once the question is there."""
        athd.answers("$(while [ ! -e '%s/go' ]; do sleep 0.05; done; echo OK)" % athd.dir)
        told, came = len(athd.prompters()), {}

        def call():
            try:
                came["result"] = Connection(athd.socket).call(method, **params)
            except Failed as failed:
                came["error"] = failed

        came["thread"] = threading.Thread(target=call)
        came["thread"].start()
        deadline = time.monotonic() + 60
        while len(athd.prompters()) == told:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        return came

    def say_yes(self, athd, came):
        with open(os.path.join(athd.dir, "go"), "w", encoding="utf-8"):
            pass
        came["thread"].join(60)
        os.unlink(os.path.join(athd.dir, "go"))
        return came.get("error")

    def test_a_yes_does_not_outlive_a_rule_that_was_taken_away(self):
        with WithPolicy() as athd:
            athd.call("key.create", name="k", role="client", agent_id=ID)
            for method, params in (("attestation.create", self.ASK), ("key.export", {"name": "k", "format": "did"})):
                athd.rules(rule("ask", **self.FIRST), rule("rest", may=["policy.*", "agent.*", "audit.*"]))
                came = self.ask(athd, method, **params)
                before = athd.signatures()
                athd.rules(rule("rest", may=["policy.*", "agent.*", "audit.*"]))
                error = self.say_yes(athd, came)
                self.assertEqual(error.reason, "POLICY_DENIED")
                self.assertEqual((error.data["rule"], error.data["missing"]), ("rest", "may: " + method))
                self.assertEqual(athd.signatures(), before)
                athd.rules(rule("ask", **self.FIRST), rule("rest", may=["policy.*", "agent.*", "audit.*"]))
                came = self.ask(athd, method, **params)
                athd.call("policy.reload")  # the same rules
                self.assertIsNone(self.say_yes(athd, came))

    def test_a_yes_that_a_key_wants_does_not_outlive_its_rule_either(self):
        with WithPolicy() as athd:
            athd.call("key.create", name="k", role="client", agent_id=ID, confirm="always")
            athd.rules(rule())
            came = self.ask(athd, "attestation.create", **self.ASK)
            athd.rules(rule(audiences=["https://b.example"]))
            self.assertEqual(self.say_yes(athd, came).data["missing"], "audiences: https://a.example")

    def test_a_key_that_is_frozen_while_the_user_is_asked_signs_nothing(self):
        with WithPolicy() as athd:
            athd.call("key.create", name="k", role="client", agent_id=ID, confirm="always")
            came = self.ask(athd, "attestation.create", **self.ASK)
            athd.call("policy.freeze", key="k")
            before = athd.signatures()
            self.assertEqual(self.say_yes(athd, came).reason, "POLICY_DENIED")
            self.assertEqual(athd.signatures(), before)

    def test_a_yes_is_forgotten_with_the_key_the_rule_and_the_side_it_was_for(self):
        with WithPolicy() as athd:
            rest = rule("rest", may=["policy.*", "key.*", "agent.*"])
            make = dict(name="k", role="client", agent_id=ID)
            athd.call("key.create", **make)
            for consent in ("first-audience", "once:600"):
                first = rule("ask", may=["attestation.create"], consent=consent, max_ttl=300)
                athd.rules(first, rest)
                athd.answers(YES)
                athd.call("attestation.create", **self.ASK)
                athd.answers(NO)
                athd.call("attestation.create", **self.ASK)
                athd.call("policy.reload")
                athd.call("attestation.create", **self.ASK)
                athd.rules({**first, "max_ttl": 400}, rest)  # another rule
                self.assert_asked(athd)
                athd.rules(first, rest)
                athd.call("attestation.create", **self.ASK)
                athd.call("key.delete", name="k")
                athd.call("key.create", **make)
                self.assert_asked(athd)

    def assert_asked(self, athd):
        with self.assertRaises(Failed) as caught:
            athd.call("attestation.create", **self.ASK)
        self.assertEqual(caught.exception.reason, "USER_DENIED")

    def test_a_yes_for_one_server_is_none_for_another(self):
        with Scene() as scene:
            os.makedirs(os.path.join(scene.me.dir, "ath"), exist_ok=True)
            other = scene.app.call("key.create", name="other", role="server")
            scene.put_service(name="mail2", key="other", origins=["https://mail2.example"])
            scene.issue()
            rules_of(scene.me, rule("ask", may=["group:handshake"], consent="first-audience"), rule())

            def sign(key, service):
                started = scene.me.call("handshake.start", key="agent", scopes=["mail:read"], server={"did": key["did"]})
                m2 = scene.app.call("handshake.accept", service=service, message=started["send"])["send"]
                scene.me.call("handshake.receive", handshake=started["handshake"], message=m2)

            sign(scene.shop, "mail")
            scene.me.answers(NO)
            sign(scene.shop, "mail")
            with self.assertRaises(Failed) as caught:
                sign(other, "mail2")
            self.assertEqual(caught.exception.reason, "USER_DENIED")

    def test_a_rule_for_the_start_of_a_handshake_is_asked_about_before_its_first_signature(self):
        with Scene(NO) as scene:
            os.makedirs(os.path.join(scene.me.dir, "ath"), exist_ok=True)
            rules_of(scene.me, rule("start", may=["handshake.start"], consent="always", rate="1/hour"), rule())
            scene.me.answers(YES)
            scene.issue()
            scene.me.answers(NO)
            m2 = scene.accept(scene.start())
            with self.assertRaises(Failed) as caught:
                scene.to_client(m2)
            self.assertEqual(caught.exception.reason, "USER_DENIED")
            with self.assertRaises(Failed) as caught:
                scene.start()
            self.assertEqual(caught.exception.reason, "RATE_LIMITED")


class Check(Case):
    """policy.check says what the call itself is then told."""

    def random_rule(self, chance, name):
        some = {"keys": ["a", "b", "a*", "*"], "audiences": ["https://a.example", "https://*.example", "did:web:x", "*"],
                "peers": ["did:web:*", "did:web:x", "*"], "scopes": ["m:r", "m:*", "*"], "max_ttl": [60, 300, 4000]}
        made = rule(name, may=chance.choice((["*"], ["attestation.create"], ["group:keys"], ["handshake.*", "service.*"],
                                             ["credential.*", "peer.*"], ["policy.*", "audit.*"])))
        for member in chance.sample(sorted(some), chance.randrange(3)):
            made[member] = chance.choice(some[member])
        return made

    def random_call(self, chance, dids):
        audience = [["https://a.example"], ["https://b.example/x"], ["did:web:x"], ["https://a.example", "did:web:x"]]
        ttl = chance.choice(({}, {"ttl": 30}, {"ttl": 200}, {"ttl": 3600}))
        return chance.choice((
            ("attestation.create", {"key": chance.choice("ab"), "audience": chance.choice(audience), **ttl}),
            ("handshake.start", {"key": chance.choice("ab"), "scopes": chance.choice((["m:r"], ["m:r", "m:w"], ["x"])),
                                 "server": chance.choice(({"did": dids["s"]}, {"origin": "https://a.example"})), **ttl}),
            ("credential.issue", {"key": "u", "client": dids["a"], "scopes": chance.choice((["m:r"], ["x"])), "ttl": 200,
                                  **chance.choice(({}, {"audience": dids["s"]}))}),
            ("key.get", {"name": chance.choice("ab")}), ("key.list", {}), ("key.export", {"name": "a", "format": "did"}),
            ("service.list", {}), ("peer.list", {}), ("audit.query", chance.choice(({}, {"key": "a"}))),
            ("policy.unfreeze", {"key": "b"}), ("policy.unfreeze", {"all": True}), ("session.list", {}),
            ("handshake.list", {}), ("agent.hello", {}), ("credential.list", {})))

    def test_check_and_call_agree(self):
        chance = random.Random(20261123)
        with WithPolicy() as athd:
            dids = {name: athd.call("key.create", name=name, role=role, **more)["did"] for name, role, more in (
                ("a", "client", {"agent_id": ID}), ("b", "client", {"agent_id": ID}), ("u", "user", {}), ("s", "server", {}))}
            athd.call("credential.issue", key="u", client=dids["a"], scopes=["m:r", "m:w"], ttl=3600)
            athd.call("credential.issue", key="u", client=dids["b"], scopes=["m:r", "m:w"], ttl=3600)
            outcomes = {True: 0, False: 0}
            for _ in range(40):
                athd.rules(rule("check", may=["policy.check", "policy.reload"]),
                           *(self.random_rule(chance, "r%d" % i) for i in range(1 + chance.randrange(3))))
                for _ in range(12):
                    method, params = self.random_call(chance, dids)
                    said = athd.call("policy.check", method=method, params=params)
                    failed = None
                    try:
                        athd.call(method, **params)
                    except Failed as error:
                        failed = error
                    denied = failed is not None and failed.reason == "POLICY_DENIED"
                    if failed is not None and failed.reason in ("INVALID_CREDENTIAL", "INVALID_PARAMS") and not said["allowed"]:
                        continue  # it did not come as far as the signature
                    self.assertEqual(said["allowed"], not denied, (method, params, said, failed))
                    if denied:
                        self.assertEqual((said["rule"], said["missing"]), (failed.data["rule"], failed.data["missing"]))
                    outcomes[said["allowed"]] += 1
            self.assertGreater(min(outcomes.values()), 40, outcomes)


class Commands(Case):
    def ath(self, athd, *arguments, status=0):
        run = subprocess.run([os.path.join(BIN, "ath"), *arguments], capture_output=True, text=True, timeout=60,
                             env={**os.environ, "ATH_AUTH_SOCK": athd.socket}, check=False)
        self.assertEqual(run.returncode, status, run.stdout + run.stderr)
        return run.stdout

    def test_what_was_observed_becomes_a_policy_that_allows_that_and_no_more(self):
        with WithPolicy() as athd:
            athd.call("key.create", name="travel", role="client", agent_id=ID)
            rest = rule("rest", may=["group:policy", "group:audit", "agent.status"])
            athd.rules(rest, observe=True)
            self.ath(athd, "attest", "travel", "--audience", "https://a.example")
            learned = json.loads(self.ath(athd, "policy", "learn"))["rules"]
            athd.rules(rest, *learned)
            self.ath(athd, "attest", "travel", "--audience", "https://a.example")
            self.ath(athd, "attest", "travel", "--audience", "https://b.example", status=77)

    def test_explain_names_the_rule_that_came_nearest_and_what_failed(self):
        with WithPolicy() as athd:
            athd.call("key.create", name="travel", role="client", agent_id=ID)
            athd.rules(rule("only-a", may=["*"], audiences=["https://a.example"]),
                       rule("rest", may=["group:policy", "group:audit"]))
            index = self.denied(athd, "attestation.create", key="travel", audience="https://b.example")["record"]
            athd.call("audit.checkpoint")
            self.assertEqual(index, athd.call("audit.query", event="policy_denied")["records"][-1]["index"])
            told = self.ath(athd, "explain", str(index))
            self.assertIn("only-a", told)
            self.assertIn("audiences: https://b.example", told)

    def test_who_is_refused_is_told_what_explains_it(self):
        with WithPolicy() as athd:
            athd.call("key.create", name="travel", role="client", agent_id=ID)
            athd.rules(rule("only-a", may=["*"], audiences=["https://a.example"]),
                       rule("rest", may=["group:policy", "group:audit"]))

            def attest(*flags):
                run = subprocess.run([os.path.join(BIN, "ath"), *flags, "attest", "travel", "--audience",
                                      "https://b.example"], capture_output=True, text=True, timeout=60, check=False,
                                     env={**os.environ, "ATH_AUTH_SOCK": athd.socket})
                self.assertEqual((run.returncode, run.stdout), (77, ""))
                return run.stderr

            hint = attest().splitlines()[-1]
            self.assertRegex(hint, "^hint: `ath explain [0-9]+` says")
            self.assertIn("only-a", self.ath(athd, "explain", hint.split()[3].rstrip("`")))
            self.assertNotIn("hint", attest("--quiet"))
            self.assertEqual(json.loads(attest("--json"))["data"]["reason"], "POLICY_DENIED")  # and nothing else

    def test_what_was_answered_is_in_the_log_that_is_read_next(self):
        """Else `ath policy learn` and `ath explain` would miss what has just happened."""
        with WithPolicy() as athd:
            athd.call("key.create", name="travel", role="client", agent_id=ID)
            athd.rules(rule("only-a", may=["*"], audiences=["https://a.example"]),
                       rule("rest", may=["group:policy", "group:audit"]))
            for number in range(20):
                lines = [{"jsonrpc": "2.0", "id": 1, "method": "attestation.create",
                          "params": {"key": "travel", "audience": f"https://b{number}.example"}},
                         {"jsonrpc": "2.0", "id": 2, "method": "audit.query",
                          "params": {"event": "policy_denied", "limit": 1000}}]
                athd.connection.lines.write("".join(json.dumps(line) + "\n" for line in lines).encode())
                athd.connection.lines.flush()
                answers = {answer["id"]: answer for answer in
                           (json.loads(athd.connection.lines.readline()) for _ in lines)}
                self.assertIn(answers[1]["error"]["data"]["record"],
                              [record["index"] for record in answers[2]["result"]["records"]])


class Freeze(Case):
    def test_a_frozen_key_signs_nothing_across_restarts(self):
        with WithPolicy() as athd:
            athd.call("key.create", name="k", role="client", agent_id=ID)
            attest = dict(key="k", audience="https://a.example")
            for which in ({"key": "k"}, {"all": True}):
                athd.call("policy.freeze", **which)
                self.assertEqual(self.denied(athd, "attestation.create", **attest)["rule"], "frozen")
                athd.stop()
                athd.start()
                self.assertEqual(self.denied(athd, "attestation.create", **attest)["rule"], "frozen")
                self.assertTrue(athd.call("agent.status")["frozen"]["all"] == ("all" in which))
                athd.call("policy.unfreeze", **which)
                athd.call("attestation.create", **attest)
            with self.assertRaises(Failed) as caught:
                athd.call("policy.freeze", key="nobody")
            self.assertEqual(caught.exception.reason, "KEY_NOT_FOUND")
            for which in ({}, {"key": "k", "all": True}, {"all": False}):
                with self.assertRaises(Failed):
                    athd.call("policy.freeze", **which)


ASK = """
import json, os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
os.set_inheritable(s.fileno(), True)
def call(method):
    s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode() + b"\\n")
    return json.loads(s.recv(65536))
"""


class Callers(Case):
    def ask(self, athd, code, *arguments, **more):
        done = subprocess.run([sys.executable, "-c", ASK + code, athd.socket, *arguments], capture_output=True,
                              text=True, timeout=60, check=True, **more)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def allow_python(self, athd):
        exe = os.path.realpath(sys.executable)
        athd.rules(rule("python", who={"uid": ME, "exe": exe}, may=["agent.hello", "policy.*"]))

    def test_a_rule_for_a_program_holds_for_that_program(self):
        with WithPolicy() as athd:
            self.allow_python(athd)
            answer = self.ask(athd, "print(json.dumps(call('agent.hello')))")[0]
            self.assertEqual(answer["result"]["you"]["exe"], os.path.realpath(sys.executable))
            ath = subprocess.run([os.path.join(BIN, "ath"), "--socket", athd.socket, "hello"],
                                 capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(ath.returncode, 77, ath.stderr)

    def test_a_connection_is_not_its_programs_any_more_when_another_program_runs(self):
        with WithPolicy() as athd:
            self.allow_python(athd)
            answers = self.ask(athd, """
print(json.dumps(call('agent.hello')), flush=True)
line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "agent.hello"})
os.execl("/bin/bash", "bash", "-c", 'echo "$0" >&%d; read -r a <&%d; echo "$a"' % (s.fileno(), s.fileno()), line)
""")
            self.assertIn("result", answers[0])
            self.assertEqual(answers[1]["error"]["data"]["missing"], "exe: unknown")

    def test_a_connection_left_to_a_child_is_nobodys(self):
        with WithPolicy() as athd:
            self.allow_python(athd)
            answers = self.ask(athd, """
print(json.dumps(call('agent.hello')), flush=True)
parent = os.getpid()
child = os.fork()
if child > 0:
    os._exit(0)
import time
deadline = time.monotonic() + 60
while os.path.exists("/proc/%d" % parent) and open("/proc/%d/stat" % parent).read().rsplit(")", 1)[1].split()[0] != "Z" and time.monotonic() < deadline:
    time.sleep(0.01)
print(json.dumps(call('agent.hello')), flush=True)
""")
            self.assertIn("result", answers[0])
            self.assertEqual(answers[1]["error"]["data"]["missing"], "exe: unknown")

    @unittest.skipUnless(ROOT, "only root can be somebody else")
    def test_two_more_uids_get_what_their_rules_say(self):
        with WithPolicy() as athd:
            athd.open_to_all()
            athd.rules(rule("root"), rule("nobody", who={"user": "nobody"}, may=["agent.hello"]))
            become = "os.setgroups([])\nos.setgid(%d)\nos.setuid(%d)\n"
            code = "\nprint(json.dumps(call('agent.hello')))\nprint(json.dumps(call('key.list')))"
            asked = {}
            for uid in (65534, 12345):
                program = "import os\n" + become % (uid, uid) + ASK + code
                done = subprocess.run([sys.executable, "-c", program, athd.socket], capture_output=True, text=True,
                                      timeout=60, check=True)
                asked[uid] = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual(asked[65534][0]["result"]["you"]["uid"], 65534)
            self.assertEqual(asked[65534][1]["error"]["data"]["missing"], "may: key.list")
            self.assertEqual(asked[12345][0]["error"]["data"]["rule"], "default")

    def test_athd_is_not_traced(self):
        with WithPolicy() as athd:
            code = ("import ctypes,os,sys\n"
                    "if os.getuid() == 0:\n    os.setgid(65534); os.setuid(65534)\n"
                    "libc = ctypes.CDLL(None, use_errno=True)\n"
                    "print(libc.ptrace(16, int(sys.argv[1]), 0, 0), ctypes.get_errno())\n")
            done = subprocess.run([sys.executable, "-c", code, str(athd.process.pid)], capture_output=True,
                                  text=True, timeout=60, check=True)
            self.assertEqual(done.stdout.split()[0], "-1", done.stdout)


if __name__ == "__main__":
    unittest.main()
