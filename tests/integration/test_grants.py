"""Grants: sockets for one agent. What can be had at one, what cannot whatever it names, and that it
ends when it should: by processes that are real, and with athd killed at any moment."""
import json
import os
import random
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
import unittest

from peer.agent import SOURCE, Athd, Connection, Failed
from peer.scene import Scene
from peer.wire import Wire, request, wait_for

AGENT_ID = "https://bot.example/.well-known/agent.json"
A = "https://a.example"
NOBODY = 65534

# Each method of athd's is one of these. One that comes later must be put here, and so thought of:
# what the owner alone does, what an agent's grant has where nothing is said (group:use), what a grant
# has only if it says so.
OWNERS = """audit.query audit.checkpoint audit.proof audit.consistency consent.list consent.answer
    consent.attend consent.environment consent.forget consent.pinentry key.create key.delete key.import peer.pin peer.remove
    policy.reload policy.show policy.freeze policy.unfreeze service.put service.delete agent.lock
    agent.unlock""".split()
USE = """agent.hello agent.status events.subscribe key.list key.get key.export attestation.create
    attestation.verify handshake.start handshake.receive handshake.accept handshake.get handshake.list
    handshake.abort session.seal session.open session.token session.list session.close token.verify
    credential.list credential.verify""".split()
NAMED = """confirmation.answer credential.issue credential.put grant.create grant.list grant.revoke peer.list
    policy.check service.list""".split()

CHILD = """
import os, sys, time
sys.path.insert(0, os.environ["HERE"])
from peer.agent import Connection
"""


def schema():
    with open(os.path.join(SOURCE, "docs", "api.schema.json"), encoding="utf-8") as file:
        return json.load(file)


SCHEMA = schema()


def example(part):
    """A value that the schema takes: as little as it may be."""
    if "$ref" in part:
        return example(SCHEMA["$defs"][part["$ref"].rsplit("/", 1)[-1]])
    if "properties" in part:
        more = part.get("anyOf", part.get("oneOf", [{}]))[0].get("required", [])
        return {name: example(part["properties"][name]) for name in part.get("required", []) + more}
    for choice in ("anyOf", "oneOf"):
        if choice in part:
            return example(part[choice][0])
    if "enum" in part:
        return part["enum"][0]
    if "const" in part:
        return part["const"]
    if part.get("type") == "object":
        return {}
    if part.get("type") == "array":
        return [example(part["items"])] * part.get("minItems", 0)
    if part.get("type") == "integer":
        return part.get("minimum", 1)
    if part.get("type") == "boolean":
        return True
    if "did:" in part.get("pattern", ""):
        return "did:web:a.example"
    return "k" * max(4, part.get("minLength", 4))


def params_of(method):
    return example(SCHEMA["properties"][method]["properties"]["params"])


def records_of(athd, event):
    found, after = [], {}
    while True:
        answer = athd.call("audit.query", event=event, limit=1000, **after)
        found += answer["records"]
        if "next" not in answer:
            return found
        after = {"after": answer["next"]}


def child(code):
    """A process that says what it does, line by line, and goes on when it is told."""
    return subprocess.Popen([sys.executable, "-c", CHILD + textwrap.dedent(code)], text=True,
                            env={**os.environ, "HERE": os.path.dirname(os.path.abspath(__file__))},
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def sleeper():
    return subprocess.Popen(["sleep", "300"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class Case(unittest.TestCase):
    """One athd for the tests of a class; each test has grants of its own, which end with it."""
    athd = None

    @classmethod
    def setUpClass(cls):
        cls.athd = Athd()
        cls.athd.start()
        for name in ("k", "other"):
            cls.athd.call("key.create", name=name, role="client", agent_id=AGENT_ID)

    @classmethod
    def tearDownClass(cls):
        status = cls.athd.stop()
        log = cls.athd.read_log()
        cls.athd.__exit__()
        assert status == 0 and "Sanitizer" not in log, log

    def setUp(self):
        self.addCleanup(self.end_grants)

    def end_grants(self):
        for grant in self.athd.call("grant.list")["grants"]:
            if "parent" not in grant:
                self.athd.call("grant.revoke", name=grant["name"])

    def grant(self, name="g", through=None, **limits):
        limits.setdefault("keys", ["k"])
        return (through or self.athd).call("grant.create", name=name, **limits)

    def connect(self, grant):
        connection = Connection(grant["socket"] if isinstance(grant, dict) else grant)
        self.addCleanup(connection.close)
        return connection

    def process(self, made):
        def end():
            made.kill()
            made.wait()
            for pipe in (made.stdin, made.stdout):
                if pipe:
                    pipe.close()
        self.addCleanup(end)
        return made

    def fails(self, reason, connection, method, /, **params):
        with self.assertRaises(Failed, msg=(method, params)) as caught:
            connection.call(method, **params)
        self.assertEqual(caught.exception.reason, reason, (method, params, caught.exception.message))
        return caught.exception

    def denied(self, missing, connection, method, /, rule="grant:g", **params):
        error = self.fails("POLICY_DENIED", connection, method, **params)
        self.assertEqual(error.code, -32001)
        self.assertEqual(error.data["rule"], rule, error.data)
        self.assertTrue(error.data["missing"].startswith(missing), (method, error.data))
        return error

    def is_cut(self, connection):
        """It has been closed by athd, or is within a minute."""
        connection.socket.settimeout(60)
        try:
            return connection.lines.readline() == b""
        except ConnectionError:
            return True

    def names(self):
        return [grant["name"] for grant in self.athd.call("grant.list")["grants"]]

    def records(self, event, **members):
        """Those that say so; one at least, which may be about to be written."""
        def find():
            return [record for record in records_of(self.athd, event) if members.items() <= record.items()]
        wait_for(find)
        return find()

    def attest(self, connection, **params):
        return connection.call("attestation.create", **{"key": "k", "audience": A, **params})


class Narrow(Case):
    """What a grant allows, dimension by dimension."""

    def test_every_method_has_been_thought_of(self):
        kinds = OWNERS + USE + NAMED
        self.assertEqual(len(kinds), len(set(kinds)))
        self.assertEqual(set(SCHEMA["properties"]), set(kinds))

    def test_a_narrow_socket_refuses_each_method_it_was_not_given(self):
        agent = self.connect(self.grant(methods=["agent.hello"]))
        for method in SCHEMA["properties"]:
            if method != "agent.hello":
                self.denied("methods: " + method, agent, method, **params_of(method))
        self.assertEqual(agent.call("agent.hello")["grant"]["methods"], ["agent.hello"])

    def test_without_methods_it_has_what_an_agent_needs_and_no_more(self):
        agent = self.connect(self.grant())
        self.assertEqual(set(agent.call("agent.hello")["grant"]["methods"]), set(USE))
        for method in SCHEMA["properties"]:
            if method not in USE:
                self.denied("methods: " + method, agent, method, **params_of(method))

    def test_what_is_the_owners_is_in_no_grant_whatever_it_names(self):
        agent = self.connect(self.grant(methods=["*"]))
        self.assertEqual(set(agent.call("agent.hello")["grant"]["methods"]), set(USE + NAMED))
        for method in SCHEMA["properties"]:
            if method in OWNERS:
                self.denied("methods: " + method, agent, method, **params_of(method))
                error = self.fails("INVALID_PARAMS", self.athd, "grant.create", name="h", keys=["k"],
                                   methods=["agent.hello", method])
                self.assertIn(method, error.message)
        self.fails("INVALID_PARAMS", self.athd, "grant.create", name="h", keys=["k"], methods=["audit.*"])

    def test_only_its_keys_are_there(self):
        agent = self.connect(self.grant(methods=["group:use", "group:user"]))
        self.assertEqual([key["name"] for key in agent.call("key.list")["keys"]], ["k"])
        self.assertEqual(agent.call("agent.status")["keys"], 1)
        self.attest(agent)
        for method, params in (("key.get", {"name": "other"}), ("key.export", {"name": "other", "format": "did"}),
                               ("attestation.create", {"key": "other", "audience": A}),
                               ("handshake.start", {"key": "other", "scopes": ["a"],
                                                    "server": {"origin": A}}),
                               ("handshake.start", {"key": "k", "user_key": "other", "scopes": ["a"],
                                                    "server": {"origin": A}}),
                               ("credential.issue", {"key": "other", "client": "did:web:a.example",
                                                     "scopes": ["a"], "ttl": 60}),
                               ("confirmation.answer", {"key": "other", "message": {}})):
            self.denied("keys: other", agent, method, **params)

    def test_services_of_other_keys_are_not_there(self):
        """Neither their names nor those of their keys can be found out."""
        for name in ("mine", "theirs"):
            self.athd.call("key.create", name=name + "-key", role="server")
            self.addCleanup(self.athd.call, "key.delete", name=name + "-key")
            self.athd.call("service.put", name=name, key=name + "-key", scopes_supported=["a"], token_max_ttl=60,
                           require_user_confirmation=False, agents={}, users={})
            self.addCleanup(self.athd.call, "service.delete", name=name)
        agent = self.connect(self.grant(keys=["mine-key"], methods=["group:application", "policy.check"]))
        self.assertEqual([service["name"] for service in agent.call("service.list")["services"]], ["mine"])
        for method, more, of_mine in (("token.verify", {"token": "a.b.c"}, "INVALID_CREDENTIAL"),
                                      ("handshake.accept", {"message": {}}, "UNEXPECTED_MESSAGE")):
            self.fails(of_mine, agent, method, service="mine", **more)
            for name in ("theirs", "nothing"):
                error = self.fails("INVALID_PARAMS", agent, method, service=name, **more)
                self.assertEqual(error.message, f'there is no service "{name}"')
            theirs, nothing = (agent.call("policy.check", method=method, params={"service": name, **more})
                               for name in ("theirs", "nothing"))
            self.assertEqual(theirs, nothing)

    def test_a_later_key_of_the_name_is_another_key(self):
        self.athd.call("key.create", name="brief", role="client", agent_id=AGENT_ID)
        self.addCleanup(self.athd.call, "key.delete", name="brief")
        agent = self.connect(self.grant(keys=["brief"]))
        self.attest(agent, key="brief")
        self.athd.call("key.delete", name="brief")
        self.fails("KEY_NOT_FOUND", agent, "attestation.create", key="brief", audience=A)
        self.athd.call("key.create", name="brief", role="client", agent_id=AGENT_ID)
        self.denied("keys: brief is another key", agent, "attestation.create", key="brief", audience=A)
        self.denied("keys: brief is another key", agent, "key.get", name="brief")
        self.assertEqual(agent.call("key.list")["keys"], [])

    def test_audiences_peers_and_scopes(self):
        agent = self.connect(self.grant(audiences=[A, "https://*.b.example"], peers=["did:web:*"],
                                        scopes=["mail:*"]))
        self.attest(agent)
        self.attest(agent, audience=["https://x.b.example/p", A])
        for audience in ("https://a.example.evil", "https://b.example", "http://a.example", [A, "https://c.example"]):
            self.denied("audiences:", agent, "attestation.create", key="k", audience=audience)
        start = {"key": "k", "scopes": ["mail:read"], "server": {"origin": A}}
        self.denied("audiences: https://c.example", agent, "handshake.start",
                    **{**start, "server": {"origin": "https://c.example"}})
        self.denied("audiences: did:ath:a", agent, "handshake.start", **{**start, "server": {"did": "did:ath:a"}})

    def test_scopes_are_looked_at_before_anything_is_signed(self):
        with Scene() as scene:
            scene.issue()
            scene.me.call("grant.create", name="g", keys=["agent"], scopes=["mail:read"])
            agent = Connection(scene.me.call("grant.list")["grants"][0]["socket"])
            signed = scene.me.call("agent.status")["counters"]["signatures"]
            start = {"key": "agent", "server": {"did": scene.shop["did"]}}
            m2 = None
            for scopes, allowed in ((["mail:read", "mail:send"], False), (["mail:read"], True)):
                try:
                    started = agent.call("handshake.start", scopes=scopes, **start)
                    m2 = scene.app.call("handshake.accept", service="mail", message=started["send"])
                    agent.call("handshake.receive", handshake=started["handshake"], message=m2["send"])
                    self.assertTrue(allowed, scopes)
                except Failed as error:
                    self.assertEqual((error.data["missing"], allowed), ("scopes: mail:send", False))
                    self.assertEqual(scene.me.call("agent.status")["counters"]["signatures"], signed)
            self.assertGreater(scene.me.call("agent.status")["counters"]["signatures"], signed)
            agent.close()

    def test_credentials_are_those_of_its_keys(self):
        with Scene() as scene:
            scene.me.call("key.create", name="second", role="client", agent_id=AGENT_ID)
            second = scene.me.call("key.get", name="second")["did"]
            scene.issue()
            theirs = scene.me.call("credential.issue", key="alice", client=second, scopes=["a"], ttl=60)
            grant = scene.me.call("grant.create", name="g", keys=["agent"], methods=["group:use", "credential.put"])
            agent = Connection(grant["socket"])
            listed = agent.call("credential.list")["credentials"]
            self.assertEqual([entry["client_did"] for entry in listed], [scene.agent["did"]])
            self.assertEqual(len(scene.me.call("credential.list")["credentials"]), 2)
            self.fails("POLICY_DENIED", agent, "credential.put", credential=theirs["credential"])
            agent.close()

    def test_it_ends_in_time(self):
        grant = self.grant(ttl=2)
        self.assertLessEqual(grant["expires_at"], time.time() + 2)
        try:
            agent = self.connect(grant)
        except OSError:  # on a machine so busy that it has ended meanwhile
            self.assertGreaterEqual(time.time(), grant["expires_at"])
        else:
            self.assertTrue(self.is_cut(agent))
        wait_for(lambda: not self.names())
        self.assertFalse(os.path.exists(os.path.dirname(grant["socket"])))
        self.records("grant_ended", grant="g", why="expired")

    def test_so_many_signatures_and_not_one_more(self):
        agent = self.connect(self.grant(max_uses=3))
        second = self.connect(self.athd.call("grant.list")["grants"][0])
        lines = [json.dumps({"jsonrpc": "2.0", "id": i, "method": "attestation.create",
                             "params": {"key": "k", "audience": A}}) for i in range(20)]
        agent.lines.write(("\n".join(lines) + "\n").encode())
        agent.lines.flush()
        answers = [json.loads(agent.lines.readline()) for _ in lines]
        self.assertEqual(sum("result" in answer for answer in answers), 3)
        refused = [answer["error"]["data"] for answer in answers if "error" in answer]
        self.assertEqual({error["reason"] for error in refused}, {"POLICY_DENIED"})
        error = self.denied("max_uses: all 3 are used", second, "attestation.create", key="k", audience=A)
        self.assertEqual(error.data["uses_left"], 0)
        self.assertEqual(second.call("agent.hello")["grant"]["uses_left"], 0)
        self.assertEqual(self.athd.call("grant.list")["grants"][0]["uses_left"], 0)

    def test_what_is_not_signed_is_not_counted(self):
        agent = self.connect(self.grant(max_uses=1))
        self.athd.call("policy.freeze", key="k")
        self.fails("POLICY_DENIED", agent, "attestation.create", key="k", audience=A)
        self.athd.call("policy.unfreeze", key="k")
        self.fails("INVALID_PARAMS", agent, "attestation.create", key="k", audience=A, ttl=7200)
        self.attest(agent)
        self.denied("max_uses", agent, "attestation.create", key="k", audience=A)

    def test_a_unit_must_be_proven(self):
        agent = self.connect(self.grant(unit="ath-run-g.scope"))
        for method in ("agent.hello", "key.list"):
            self.denied("unit:", agent, method)
        self.fails("INVALID_PARAMS", self.athd, "grant.create", name="h", keys=["k"], unit="*.scope")

    def test_policy_is_asked_as_well_and_knows_the_grant(self):
        with Athd() as athd:
            athd.call("key.create", name="k", role="client", agent_id=AGENT_ID)
            for name in ("g", "h"):
                athd.call("grant.create", name=name, keys=["k"])
            me = {"uid": os.getuid()}
            os.makedirs(os.path.join(athd.dir, "ath"), mode=0o700, exist_ok=True)
            with open(os.path.join(athd.dir, "ath", "policy.json"), "w", encoding="utf-8") as file:
                json.dump({"rules": [
                    {"name": "through-g", "who": {**me, "grant": "g"}, "may": ["agent.hello", "group:attest"]},
                    {"name": "rest", "who": me, "may": ["group:policy"]}]}, file)
            athd.call("policy.reload")
            g, h = (self.connect(os.path.join(athd.dir, "grants", name, "agent.sock")) for name in "gh")
            self.attest(g)
            self.denied("keys: k2", g, "attestation.create", key="k2", audience=A)  # the grant's word first
            self.denied("may: key.list", g, "key.list", rule="through-g")
            self.fails("POLICY_DENIED", h, "attestation.create", key="k", audience=A)

    def test_to_policy_a_grant_within_one_is_that_one(self):
        """Or an agent would name it after a grant that rules allow more."""
        with Athd() as athd:
            athd.call("key.create", name="k", role="client", agent_id=AGENT_ID)
            g = self.connect(athd.call("grant.create", name="g", keys=["k"], methods=["group:use", "group:grants"]))
            me = {"uid": os.getuid()}
            os.makedirs(os.path.join(athd.dir, "ath"), mode=0o700, exist_ok=True)
            with open(os.path.join(athd.dir, "ath", "policy.json"), "w", encoding="utf-8") as file:
                json.dump({"rules": [
                    {"name": "agents", "who": {**me, "grant": "g"}, "may": ["agent.hello", "grant.create"]},
                    {"name": "trusted", "who": {**me, "grant": "trusted"}, "may": ["group:attest"]},
                    {"name": "rest", "who": me, "may": ["group:policy"]}]}, file)
            athd.call("policy.reload")
            inner = self.connect(g.call("grant.create", name="trusted", keys=["k"]))
            self.denied("may: attestation.create", inner, "attestation.create", rule="agents", key="k", audience=A)
            self.assertEqual(inner.call("agent.hello")["you"]["grant"], "trusted")
            self.assertFalse(athd.call("policy.check", method="attestation.create",
                                       params={"key": "k", "audience": A},
                                       **{"as": {**me, "grant": "trusted"}})["allowed"])

    def test_policy_check_asks_the_grant_first(self):
        agent = self.connect(self.grant(methods=["group:use", "policy.check"], audiences=[A]))
        check = {"method": "attestation.create", "params": {"key": "k", "audience": "https://b.example"}}
        for answer in (agent.call("policy.check", **check),
                       self.athd.call("policy.check", **check, **{"as": {"uid": os.getuid(), "grant": "g"}})):
            self.assertEqual((answer["allowed"], answer["rule"], answer["missing"]),
                             (False, "grant:g", "audiences: https://b.example"))
        check["params"]["audience"] = A
        self.assertTrue(agent.call("policy.check", **check)["allowed"])
        self.fails("POLICY_DENIED", agent, "policy.check", **check, **{"as": {"uid": 0}})

    def test_a_later_grant_of_the_name_is_in_another_directory(self):
        """A sandbox that still has the old one mounted sees nothing of it."""
        place = os.path.dirname(self.grant()["socket"])
        mounted = os.open(place, os.O_RDONLY)
        self.addCleanup(os.close, mounted)
        left = os.path.join(place, "left")
        os.close(os.open(left, os.O_CREAT | os.O_WRONLY, 0o600))  # so that it cannot be removed
        self.athd.call("grant.revoke", name="g")
        with self.assertRaises(Failed) as caught:
            self.grant()
        self.assertIn(place, caught.exception.message)
        self.assertEqual((self.names(), os.listdir(mounted)), ([], ["left"]))
        os.remove(left)
        self.grant()
        self.assertEqual(os.listdir(mounted), [])

    def test_a_key_that_asks_once_asks_once_in_each_grant(self):
        self.athd.call("key.create", name="once", role="client", agent_id=AGENT_ID, confirm="session")
        self.addCleanup(self.athd.call, "key.delete", name="once")
        agents = [self.connect(self.grant(name, keys=["once"])) for name in "gh"]
        asked = len(self.athd.prompters())
        for i, caller in enumerate([self.athd] + agents):
            for _ in range(2):
                self.attest(caller, key="once")
            self.assertEqual(len(self.athd.prompters()) - asked, i + 1)

    def test_wrong_params_are_refused_with_the_member_named(self):
        for members, named in (({"keys": None}, "keys"), ({"methods": ["key.nothing"]}, "key.nothing"),
                               ({"methods": ["k*"]}, "k*"), ({"audiences": ["https://a*.example"]}, "audiences"),
                               ({"peers": ["https://a.example"]}, "peers"), ({"process": os.getpid() ^ 0x3fffff}, "process"),
                               ({"adopt": True, "keys": ["k"]}, "adopt")):
            params = {"name": "h", "keys": ["k"], **members}
            error = self.fails("INVALID_PARAMS", self.athd, "grant.create",
                               **{name: value for name, value in params.items() if value is not None})
            self.assertIn(named, error.message)
        self.fails("KEY_NOT_FOUND", self.athd, "grant.create", name="h", keys=["nothing"])
        self.assertEqual(self.names(), [])

    def test_a_name_is_taken_once(self):
        self.grant()
        error = self.fails("GRANT_EXISTS", self.athd, "grant.create", name="g", keys=["other"])
        self.assertIn('"g"', error.message)
        self.athd.call("grant.revoke", name="g")
        self.grant(keys=["other"])
        self.fails("GRANT_NOT_FOUND", self.athd, "grant.revoke", name="h")


class Within(Case):
    """Grants within grants."""

    def setUp(self):
        super().setUp()
        self.outer = self.grant(keys=["k", "other"], methods=["group:use", "group:grants"],
                                audiences=[A, "https://*.b.example"], peers=["did:web:*"],
                                scopes=["mail:*", "files:read"], ttl=600, max_uses=5)
        self.agent = self.connect(self.outer)

    def test_it_cannot_be_wider_in_any_dimension(self):
        for member, value, missing in (
                ("methods", ["confirmation.answer"], "methods: confirmation.answer"),
                ("methods", ["*"], "methods: "),
                ("keys", ["k", "third"], "keys: third"),
                ("audiences", ["https://c.example"], "audiences: https://c.example"),
                ("audiences", ["*"], "audiences: *"),
                ("audiences", ["https://*.example"], "audiences: https://*.example"),
                ("audiences", ["did:ath:a"], "audiences: did:ath:a"),
                ("peers", ["did:*"], "peers: did:*"),
                ("peers", ["*"], "peers: *"),
                ("scopes", ["mail:read", "files:*"], "scopes: files:*"),
                ("scopes", ["*"], "scopes: *"),
                ("ttl", 700, "ttl: 700"),
                ("max_uses", 6, "max_uses: 6")):
            params = {"name": "h", "keys": ["k"], member: value}
            self.denied(missing, self.agent, "grant.create", **params)
        self.assertEqual(self.names(), ["g"])

    def test_what_it_does_not_say_is_what_the_outer_one_says(self):
        inner = self.connect(self.grant("h", self.agent, keys=["k"]))
        hello = inner.call("agent.hello")["grant"]
        self.assertEqual(hello["audiences"], [A, "https://*.b.example"])
        self.assertEqual((hello["scopes"], hello["peers"]), (["mail:*", "files:read"], ["did:web:*"]))
        self.assertEqual(set(hello["methods"]), set(USE))
        self.assertEqual(hello["expires_at"], self.outer["expires_at"])
        self.denied("audiences: https://c.example", inner, "attestation.create", key="k",
                    audience="https://c.example")
        self.denied("keys: other", inner, "key.get", name="other", rule="grant:h")
        self.denied("methods: grant.create", inner, "grant.create", name="i", keys=["k"], rule="grant:h")

    def test_the_uses_of_each_above_are_used(self):
        inner = self.connect(self.grant("h", self.agent, keys=["k"], max_uses=4))
        for _ in range(2):
            self.attest(inner)
            self.attest(self.agent)
        self.assertEqual(inner.call("agent.hello")["grant"]["uses_left"], 1)
        self.attest(inner)
        self.denied("max_uses: all 5", inner, "attestation.create", key="k", audience=A)
        self.denied("max_uses: all 5", self.agent, "attestation.create", key="k", audience=A)

    def test_it_ends_with_the_one_it_is_within(self):
        inner = self.connect(self.grant("h", self.agent, methods=["group:grants", "agent.hello"]))
        last = self.connect(self.grant("i", inner, methods=["agent.hello"]))
        self.athd.call("grant.revoke", name="g")
        for connection in (self.agent, inner, last):
            self.assertTrue(self.is_cut(connection))
        self.assertEqual(self.names(), [])
        for name in "hi":
            self.records("grant_ended", grant=name, why="parent_ended")

    def test_it_knows_itself_and_what_is_within_it_alone(self):
        self.grant("own")
        inner = self.connect(self.grant("h", self.agent, methods=["group:grants"]))
        self.grant("i", inner, methods=["grant.list"])
        self.grant("j", self.agent)

        def seen(connection):
            return [grant["name"] for grant in connection.call("grant.list")["grants"]]
        self.assertEqual(seen(inner), ["h", "i"])
        self.assertEqual(seen(self.agent), ["g", "h", "i", "j"])
        for name in ("g", "j", "own", "nothing"):
            self.fails("GRANT_NOT_FOUND", inner, "grant.revoke", name=name)
        inner.call("grant.revoke", name="i")
        self.assertEqual(seen(inner), ["h"])

    def test_eight_deep_and_no_deeper(self):
        agent = self.agent
        for depth in range(2, 9):
            agent = self.connect(self.grant(f"d{depth}", agent, methods=["group:grants", "attestation.create"]))
        self.fails("LIMIT_EXCEEDED", agent, "grant.create", name="d9", keys=["k"])
        self.attest(agent)
        self.assertEqual(self.athd.call("grant.list")["grants"][-1]["uses_left"], 4)


class Apart(unittest.TestCase):
    """Handshakes, sessions and events of a grant are its own and the owner's."""

    @classmethod
    def setUpClass(cls):
        cls.scene = Scene().__enter__()
        cls.scene.issue()
        for name in "gh":
            cls.scene.me.call("grant.create", name=name, keys=["agent"], methods=["group:use"])
        cls.scene.app.call("grant.create", name="s", keys=["shop"])
        cls.scene.app.call("grant.create", name="t", keys=["shop"])

    @classmethod
    def tearDownClass(cls):
        cls.scene.__exit__()

    def at(self, athd, name):
        connection = Connection(os.path.join(athd.dir, "grants", name, "agent.sock"))
        self.addCleanup(connection.close)
        return connection

    def run_handshake(self, agent, service):
        """All steps, each side through the grant it is given; gives ids and results."""
        started = agent.call("handshake.start", key="agent", scopes=["mail:read"],
                             server={"did": self.scene.shop["did"]})
        accepted = service.call("handshake.accept", service="mail", message=started["send"])
        ids, message = (started["handshake"], accepted["handshake"]), accepted["send"]
        m3 = agent.call("handshake.receive", handshake=ids[0], message=message)["send"]
        m4 = service.call("handshake.receive", handshake=ids[1], message=m3)["send"]
        m5 = agent.call("handshake.receive", handshake=ids[0], message=m4)["send"]
        last = service.call("handshake.receive", handshake=ids[1], message=m5)
        for message in last["send"]:
            done = agent.call("handshake.receive", handshake=ids[0], message=message)
        return ids, done["result"], last["result"]

    def fails(self, reason, connection, method, /, **params):
        with self.assertRaises(Failed, msg=(method, params)) as caught:
            connection.call(method, **params)
        self.assertEqual(caught.exception.reason, reason, (method, caught.exception.message))

    def test_the_ids_of_another_grant_are_of_no_use(self):
        g, h = self.at(self.scene.me, "g"), self.at(self.scene.me, "h")
        s, t = self.at(self.scene.app, "s"), self.at(self.scene.app, "t")
        ids, client, server = self.run_handshake(g, s)
        for other, own, number, result in ((h, g, 0, client), (t, s, 1, server)):
            for method, more in (("handshake.get", {}), ("handshake.abort", {}), ("handshake.receive", {"message": {}})):
                self.fails("HANDSHAKE_NOT_FOUND", other, method, handshake=ids[number], **more)
            for method, more in (("session.seal", {"plaintext": "aGk"}), ("session.open", {"jwe": "a.b.c.d.e"}),
                                 ("session.token", {}), ("session.close", {})):
                self.fails("SESSION_NOT_FOUND", other, method, session=result["session"], **more)
            self.assertEqual(other.call("handshake.list")["handshakes"], [])
            self.assertEqual(other.call("session.list")["sessions"], [])
            self.assertEqual(other.call("agent.status")["sessions"], 0)
            self.assertIn(ids[number], [entry["handshake"] for entry in own.call("handshake.list")["handshakes"]])
        token = g.call("session.token", session=client["session"])["access_token"]
        self.fails("SESSION_NOT_FOUND", t, "token.verify", service="mail", token=token, session=server["session"])
        s.call("token.verify", service="mail", token=token, session=server["session"])
        jwe = g.call("session.seal", session=client["session"], plaintext="aGk")["jwe"]
        self.assertEqual(s.call("session.open", session=server["session"], jwe=jwe)["plaintext"], "aGk")
        # the owner sees all
        self.assertIn(client["session"],
                      [entry["session"] for entry in self.scene.me.call("session.list")["sessions"]])
        self.scene.me.call("handshake.get", handshake=ids[0])

    def test_what_the_owner_does_is_no_grants(self):
        self.scene.start(scopes=["mail:read"])
        self.fails("HANDSHAKE_NOT_FOUND", self.at(self.scene.me, "g"), "handshake.get",
                   handshake=self.scene.client)

    def test_sessions_and_handshakes_end_with_the_grant(self):
        self.scene.me.call("grant.create", name="brief", keys=["agent"])
        agent = self.at(self.scene.me, "brief")
        _, client, _ = self.run_handshake(agent, self.scene.app)
        running = agent.call("handshake.start", key="agent", scopes=["mail:read"],
                             server={"did": self.scene.shop["did"]})["handshake"]
        self.scene.me.call("grant.revoke", name="brief")
        self.fails("SESSION_EXPIRED", self.scene.me, "session.token", session=client["session"])
        self.assertEqual(self.scene.me.call("handshake.get", handshake=running)["state"], "failed")

    def test_events_are_those_of_the_same_grant(self):
        g, h = self.at(self.scene.me, "g"), self.at(self.scene.me, "h")
        owner = Connection(self.scene.me.socket)
        self.addCleanup(owner.close)
        for connection in (g, h, owner):
            connection.call("events.subscribe", topics=["hsm", "key", "audit"])
        caller = self.at(self.scene.me, "g")
        caller.call("attestation.create", key="agent", audience=A)

        def topics(connection):
            """What has come before the answer to a call that is made now."""
            found = []
            line = connection.exchange(json.dumps({"jsonrpc": "2.0", "id": "last", "method": "agent.hello"}))
            while line.get("id") != "last":
                found.append(line["params"]["topic"])
                line = json.loads(connection.lines.readline())
            return set(found)
        self.assertEqual(topics(h), set())
        self.assertEqual(topics(g), {"hsm"})
        self.assertTrue(topics(owner) >= {"hsm", "audit"})


class Processes(Case):
    """The grant ends with its process; and with nothing else that is about to happen."""

    def test_the_end_of_the_process_ends_the_grant_and_cuts_its_connections(self):
        bound = self.process(sleeper())
        grant = self.grant(process=bound.pid)
        self.assertEqual(grant["process"]["pid"], bound.pid)
        mine = self.connect(grant)
        bound.kill()
        bound.wait()
        self.assertTrue(self.is_cut(mine))
        wait_for(lambda: not self.names())
        self.assertFalse(os.path.exists(os.path.dirname(grant["socket"])))
        with self.assertRaises(OSError):
            Connection(grant["socket"])
        self.records("grant_ended", grant="g", why="process_ended")

    def test_a_fork_that_outlives_its_grant_has_nothing(self):
        leader = self.process(child("""
            path = sys.stdin.readline().strip()
            agent = Connection(path)
            agent.call("agent.hello")
            if os.fork():
                sys.stdin.readline()
                os._exit(0)
            print("forked", flush=True)
            try: # the connection that was there, and a new one
                while agent.call("agent.hello"):
                    time.sleep(0.01)
            except Exception as error:
                print("cut", flush=True)
            try:
                Connection(path)
                print("connected", flush=True)
            except OSError as error:
                print("gone", flush=True)
        """))
        grant = self.grant(process=leader.pid)
        leader.stdin.write(grant["socket"] + "\n")
        leader.stdin.flush()
        self.assertEqual(leader.stdout.readline(), "forked\n")
        leader.stdin.write("\n")
        leader.stdin.flush()
        self.assertEqual(leader.stdout.readline(), "cut\n")
        self.assertEqual(leader.stdout.readline(), "gone\n")

    def test_a_process_must_be_there_and_the_callers(self):
        gone = subprocess.Popen(["true"])
        gone.wait()
        self.fails("INVALID_PARAMS", self.athd, "grant.create", name="g", keys=["k"], process=gone.pid)
        if os.geteuid() != 0:
            self.skipTest("another uid's process: needs root")
        other = self.process(subprocess.Popen(["sleep", "300"], user=NOBODY))
        self.fails("INVALID_PARAMS", self.athd, "grant.create", name="g", keys=["k"], process=other.pid)
        self.assertEqual(self.names(), [])

    def test_a_process_that_has_ended_but_is_not_waited_for_is_no_process(self):
        zombie = subprocess.Popen(["true"])
        wait_for(lambda: read(f"/proc/{zombie.pid}/stat").split()[2] == "Z")
        self.fails("INVALID_PARAMS", self.athd, "grant.create", name="g", keys=["k"], process=zombie.pid)
        zombie.wait()

    def test_a_grant_that_is_there_can_be_given_its_process(self):
        bound = self.process(sleeper())
        grant = self.grant(max_uses=9)
        agent = self.connect(grant)
        self.attest(agent)
        adopted = self.athd.call("grant.create", name="g", process=bound.pid, adopt=True)
        self.assertEqual((adopted["socket"], adopted["uses_left"], adopted["process"]["pid"]),
                         (grant["socket"], 8, bound.pid))
        self.attest(agent)  # who was connected stays so
        error = self.fails("GRANT_EXISTS", self.athd, "grant.create", name="g", process=os.getpid(), adopt=True)
        self.assertIn(str(bound.pid), error.message)
        self.fails("GRANT_NOT_FOUND", self.athd, "grant.create", name="h", process=bound.pid, adopt=True)
        self.fails("INVALID_PARAMS", self.athd, "grant.create", name="g", process=bound.pid, adopt=True, ttl=5)
        bound.kill()
        self.assertTrue(self.is_cut(agent))

    def test_a_grant_does_not_give_itself_a_process(self):
        """It would outlive an athd that was to end it."""
        bound = self.process(sleeper())
        agent = self.connect(self.grant(methods=["group:use", "group:grants"]))
        self.denied("adopt:", agent, "grant.create", name="g", process=bound.pid, adopt=True)
        self.assertNotIn("process", self.athd.call("grant.list")["grants"][0])
        self.grant("h", agent)
        self.assertEqual(agent.call("grant.create", name="h", process=bound.pid, adopt=True)["process"]["pid"], bound.pid)

    def test_revoking_cuts_at_once_also_what_waits_for_the_user(self):
        self.athd.call("key.create", name="asked", role="client", agent_id=AGENT_ID, confirm="always")
        self.addCleanup(self.athd.call, "key.delete", name="asked")
        with open(os.path.join(self.athd.dir, "prompter.new"), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\necho $$ > " + self.athd.dir + "/hanging\necho OK\nwhile read -r l; do case $l in "
                       "CONFIRM*) sleep 300 & wait ;; *) echo OK ;; esac; done\n")
        os.chmod(file.name, 0o700)
        os.replace(file.name, os.path.join(self.athd.dir, "prompter"))
        self.addCleanup(self.athd.answers, "OK")
        agent = self.connect(self.grant(keys=["asked", "k"]))
        agent.lines.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "attestation.create",
                                      "params": {"key": "asked", "audience": A}}).encode() + b"\n")
        agent.lines.flush()
        hanging = os.path.join(self.athd.dir, "hanging")
        wait_for(lambda: os.path.exists(hanging) and read(hanging).strip())
        prompter = int(read(hanging))
        started = time.monotonic()
        self.athd.call("grant.revoke", name="g")
        self.assertTrue(self.is_cut(agent))
        self.assertLess(time.monotonic() - started, 60)
        wait_for(lambda: not os.path.exists(f"/proc/{prompter}"))

    def test_the_socket_is_the_owners_alone(self):
        grant = self.grant()
        self.assertEqual(stat.S_IMODE(os.stat(grant["socket"]).st_mode), 0o600)
        for path in (os.path.dirname(grant["socket"]), os.path.join(self.athd.dir, "grants")):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o700)
        if os.geteuid() != 0:
            self.skipTest("another uid: needs root")
        os.chmod(grant["socket"], 0o666)  # whoever gets as far is refused there
        for path in (self.athd.dir, os.path.join(self.athd.dir, "grants"), os.path.dirname(grant["socket"])):
            before = stat.S_IMODE(os.stat(path).st_mode)
            os.chmod(path, 0o711)
            self.addCleanup(os.chmod, path, before) if path == self.athd.dir else None
        stranger = subprocess.run([sys.executable, "-c", textwrap.dedent("""
            import os, socket, sys
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
            s = socket.socket(socket.AF_UNIX)
            s.connect(sys.argv[1])
            print(s.makefile().readline())"""), grant["socket"]], capture_output=True, text=True, timeout=60)
        if "PermissionError" in stranger.stderr:
            self.skipTest("the directory of this test cannot be reached by another uid")
        error = json.loads(stranger.stdout)["error"]
        self.assertEqual((error["code"], error["data"]["reason"]), (-32001, "POLICY_DENIED"))


class Load(Case):
    """Limits, and that one grant's flood is nobody else's trouble."""

    def test_so_many_grants(self):
        for i in range(256):
            self.grant(f"g{i}")
        self.fails("LIMIT_EXCEEDED", self.athd, "grant.create", name="h", keys=["k"])
        self.assertEqual(len(self.names()), 256)

    def test_so_many_connections_of_a_grant_which_are_not_the_owners(self):
        grant = self.grant()
        wires = []
        for _ in range(128):
            wires.append(Wire(grant["socket"]))
            self.addCleanup(wires[-1].close)
        last = socket.socket(socket.AF_UNIX)
        self.addCleanup(last.close)
        last.settimeout(60)
        last.connect(grant["socket"])
        with last.makefile("rb") as lines:
            error = json.loads(lines.readline())["error"]
        self.assertEqual(error["data"]["reason"], "LIMIT_EXCEEDED")
        self.assertIn('"g"', error["message"])
        with Wire(self.athd.socket) as owner:
            self.assertEqual(owner.ask(request(1, "agent.hello"))["result"]["server"], "athd")

    def test_a_flood_through_one_grant_holds_nobody_up(self):
        self.grant("flood")
        stop = threading.Event()
        path = os.path.join(self.athd.dir, "grants", "flood", "agent.sock")
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "attestation.create",
                           "params": {"key": "k", "audience": A}}).encode() + b"\n"
        done = []

        def flood():
            try:
                with Wire(path) as wire:
                    wire.send(line * 100)
                    while not stop.is_set() and (answer := wire.line()):
                        wire.send(line)
                        if "result" in answer:
                            done.append(1)
            except OSError:
                pass  # it was revoked
        threads = [threading.Thread(target=flood) for _ in range(16)]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: len(done) > 50)
            # each of the owner's waits for what the hardware has at that moment and for its turn: not for
            # the 1,600 that were there before
            before, own = len(done), 20
            for _ in range(own):
                self.attest(self.athd)
            flooded = len(done) - before
        finally:
            stop.set()
            self.athd.call("grant.revoke", name="flood")
            for thread in threads:
                thread.join()
        # some 20 for each of its own; hundreds where this process has no turn itself; 1,600 if it had to wait for them
        self.assertLess(flooded, 400 * own)


class Restart(unittest.TestCase):
    """athd is killed; who lives keeps what was left, and nobody else anything."""

    def setUp(self):
        self.athd = Athd()
        self.addCleanup(self.athd.__exit__)
        self.athd.start()
        self.athd.call("key.create", name="k", role="client", agent_id=AGENT_ID)
        self.processes = []

    def tearDown(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def sleeper(self):
        self.processes.append(sleeper())
        return self.processes[-1]

    def connect(self, path):
        connection = Connection(path)
        self.addCleanup(connection.close)
        return connection

    def create(self, name, connection=None, **limits):
        return (connection or self.athd).call("grant.create", name=name, keys=["k"], **limits)

    def kill(self):
        self.athd.process.kill()
        self.athd.process.wait()
        self.athd.connection.close()
        self.athd.connection = self.athd.process = None
        self.athd.log_seen = len(self.athd.read_log())

    def names(self):
        return [grant["name"] for grant in self.athd.call("grant.list")["grants"]]

    def whys(self, count):
        """Why those ended that have, when so many are on record."""
        def find():
            return {record["grant"]: record["why"] for record in records_of(self.athd, "grant_ended")}
        wait_for(lambda: len(find()) >= count)
        return find()

    def attest(self, connection):
        return connection.call("attestation.create", key="k", audience=A)

    def test_those_of_living_processes_come_back_and_all_others_are_gone(self):
        living, dead, other = self.sleeper(), self.sleeper(), self.sleeper()
        grant = self.create("living", process=living.pid, max_uses=5, audiences=[A],
                            methods=["group:use", "group:grants"])
        self.create("dead", process=dead.pid)
        self.create("none")
        brief = self.create("brief", process=other.pid, ttl=1)
        agent = self.connect(grant["socket"])
        self.create("within", agent)
        inner = self.connect(os.path.join(self.athd.dir, "grants", "within", "agent.sock"))
        for _ in range(2):
            self.attest(agent)
        directory = os.open(os.path.dirname(grant["socket"]), os.O_RDONLY)  # as a mount holds it
        self.addCleanup(os.close, directory)
        self.kill()
        dead.kill()
        dead.wait()
        time.sleep(max(0, brief["expires_at"] + 1.1 - time.time()))  # for the time of "brief"
        self.athd.start()
        self.assertEqual(self.names(), ["living", "within"])
        self.assertEqual(self.whys(3), {"dead": "process_ended", "none": "athd_restarted", "brief": "expired"})
        self.assertEqual(sorted(os.listdir(os.path.join(self.athd.dir, "grants"))), ["living", "within"])
        self.assertEqual(sorted(os.listdir(os.path.join(self.athd.state, "grants"))), ["living.json", "within.json"])
        # the same directory, another socket in it
        self.assertEqual(os.listdir(directory), ["agent.sock"])
        self.assertEqual(os.stat("agent.sock", dir_fd=directory).st_ino, os.stat(grant["socket"]).st_ino)
        agent = self.connect(grant["socket"])
        hello = agent.call("agent.hello")["grant"]
        self.assertEqual((hello["uses_left"], hello["audiences"]), (3, [A]))
        for _ in range(3):
            self.attest(agent)
        inner = self.connect(os.path.join(self.athd.dir, "grants", "within", "agent.sock"))
        for connection in (agent, inner):
            with self.assertRaises(Failed) as caught:
                self.attest(connection)
            self.assertEqual(caught.exception.data["missing"], "max_uses: all 5 are used")
        living.kill()
        living.wait()
        wait_for(lambda: not self.names())

    def test_what_was_done_is_on_record(self):
        agent = self.connect(self.create("g", audiences=[A], max_uses=2, ttl=600)["socket"])
        self.attest(agent)
        with self.assertRaises(Failed):
            agent.call("key.get", name="other")
        self.athd.call("grant.revoke", name="g")
        self.assertEqual(self.whys(1), {"g": "revoked"})
        [made], [issued], [denied], [ended] = (records_of(self.athd, event) for event in (
            "grant_created", "attestation_issued", "policy_denied", "grant_ended"))
        self.assertEqual((made["grant"], made["limits"]["audiences"], made["limits"]["max_uses"]), ("g", [A], 2))
        self.assertEqual(issued["caller"]["grant"], "g")
        self.assertEqual((denied["caller"]["grant"], denied["rule"], denied["missing"]),
                         ("g", "grant:g", "keys: other"))
        self.assertEqual(ended["uses"], 1)

    def test_what_was_revoked_does_not_come_back(self):
        """Its file is gone when the answer comes; where it cannot be removed the answer says so."""
        path = os.path.join(self.athd.state, "grants", "g.json")
        self.create("g", process=self.sleeper().pid)
        self.assertTrue(os.path.exists(path))
        self.athd.call("grant.revoke", name="g")
        self.assertFalse(os.path.exists(path))
        self.create("g", process=self.sleeper().pid)
        os.remove(path)
        os.mkdir(path)
        with self.assertRaises(Failed) as caught:
            self.athd.call("grant.revoke", name="g")
        self.assertIn("its file stays", caught.exception.message)
        self.assertEqual(self.names(), [])
        os.rmdir(path)
        self.kill()
        self.athd.start()
        self.assertEqual(self.names(), [])

    def test_a_clean_end_keeps_them_too(self):
        living = self.sleeper()
        grant = self.create("living", process=living.pid, max_uses=1000)
        agent = self.connect(grant["socket"])
        for _ in range(3):
            self.attest(agent)
        self.assertEqual(self.athd.stop(), 0)
        self.assertTrue(os.path.isdir(os.path.dirname(grant["socket"])))
        self.assertEqual(os.listdir(os.path.dirname(grant["socket"])), [])
        self.athd.start()
        self.assertEqual(self.athd.call("grant.list")["grants"][0]["uses_left"], 997)  # to the last one

    def test_another_process_of_the_number_is_nobody(self):
        processes = [self.sleeper() for _ in range(4)]
        for i, process in enumerate(processes):
            self.create(f"g{i}", process=process.pid)
        self.kill()
        for i, change in enumerate(({}, {"start_ticks": 1}, {"boot_id": "0" * 36}, {"pid": 1})):
            path = os.path.join(self.athd.state, "grants", f"g{i}.json")
            with open(path, encoding="utf-8") as file:
                grant = json.load(file)
            if "start_ticks" in change:
                change = {"start_ticks": grant["process"]["start_ticks"] - 1}
            grant["process"].update(change)
            with open(path, "w", encoding="utf-8") as file:
                json.dump(grant, file)
        self.athd.start()
        self.assertEqual(self.names(), ["g0"])
        self.assertEqual(set(self.whys(3).values()), {"process_ended"})

    def test_a_damaged_file_gives_nothing(self):
        living = self.sleeper()
        whole = {"version": 1}
        for name in ("a", "b", "c", "d"):
            self.create(name, process=living.pid, max_uses=3)
        self.kill()
        folder = os.path.join(self.athd.state, "grants")
        with open(os.path.join(folder, "a.json"), encoding="utf-8") as file:
            whole = json.load(file)
        for name, text in (("b", "{"), ("c", json.dumps({**whole, "uses": -1})),
                           ("d", json.dumps({**whole, "jkts": []}))):
            with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as file:
                file.write(text)
        self.athd.start()
        self.assertEqual(self.names(), ["a"])
        damaged = self.athd.call("agent.status")["damaged"]
        self.assertEqual(sorted(os.path.basename(entry["file"]) for entry in damaged), ["b.json", "c.json", "d.json"])
        self.create("b")  # and keeps no name

    def test_what_is_wider_in_a_file_than_its_parent_is_not_wider(self):
        living = self.sleeper()
        grant = self.create("outer", process=living.pid, audiences=[A], methods=["group:use", "group:grants"])
        agent = self.connect(grant["socket"])
        self.create("inner", agent)
        self.kill()
        path = os.path.join(self.athd.state, "grants", "inner.json")
        with open(path, encoding="utf-8") as file:
            inner = json.load(file)
        inner["methods"] += ["audit.query", "credential.issue"]
        with open(path, "w", encoding="utf-8") as file:
            json.dump(inner, file)
        self.athd.start()
        if "inner" in self.names():  # it may as well be refused whole
            inner = self.connect(os.path.join(self.athd.dir, "grants", "inner", "agent.sock"))
            for method, params in (("audit.query", {}), ("credential.issue", params_of("credential.issue")),
                                   ("attestation.create", {"key": "k", "audience": "https://b.example"})):
                with self.assertRaises(Failed):
                    inner.call(method, **params)

    def test_kills_at_any_moment_give_not_one_signature_more(self):
        living, allowed, rounds = self.sleeper(), 120, 6
        grant = self.create("g", process=living.pid, max_uses=allowed)
        chance, left = random.Random(1), allowed
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "attestation.create",
                           "params": {"key": "k", "audience": A}}).encode() + b"\n"
        got = []

        def use(count):
            """Pipelined calls until athd is gone; what it answered counts, whatever became of it."""
            try:
                with socket.socket(socket.AF_UNIX) as wire:
                    wire.settimeout(60)
                    wire.connect(grant["socket"])
                    wire.sendall(line * count)
                    with wire.makefile("rb") as lines:
                        for answer in lines:
                            if b'"jwt"' in answer:
                                got.append(json.loads(answer)["result"]["jwt"])
            except OSError:
                pass
        for _ in range(rounds):
            threads = [threading.Thread(target=use, args=(5,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0, 0.05))  # not a wait: when the kill comes is left to chance
            self.kill()
            for thread in threads:
                thread.join()
            self.athd.start()
            before, left = left, self.athd.call("grant.list")["grants"][0]["uses_left"]
            self.assertGreaterEqual(allowed - left, len(got))
            # lost is what was on its way, and the few that are counted in advance
            self.assertLessEqual(before - left, 4 * 5 + allowed // 16)
        agent, before = self.connect(grant["socket"]), len(got)
        try:
            while True:
                got.append(self.attest(agent)["jwt"])
        except Failed as error:
            self.assertEqual(error.data["missing"], f"max_uses: all {allowed} are used")
        self.assertEqual(len(got) - before, left)
        self.assertEqual(len(got), len(set(got)))
        self.assertLessEqual(len(got), allowed)


if __name__ == "__main__":
    unittest.main()
