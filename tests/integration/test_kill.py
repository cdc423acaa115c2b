"""SIGKILL at any moment: what was answered is there when athd is back, the rest is whole or absent.

Each round sends changes to services, pins, grants, keys and used attestations in one go, kills athd
somewhere in the middle of them, starts it again and looks. ATH_TEST_KILLS says how often, ATH_TEST_SEED
makes the choices again."""
import json
import os
import random
import signal
import time
import unittest

from peer import jws
from peer.agent import Athd
from peer.keys import Key, PublicKey
from peer.seed import SEED
from peer.transcript import now, random_id
from peer.user import grant
from peer.wire import Wire, reason, request

KILLS = int(os.environ.get("ATH_TEST_KILLS", "110"))
AUDIENCE = "https://api.example"
AGENT_ID = "https://agent.example/a.json"


def attestation(key):
    stamp = now()
    return jws.make(key, "JWT", {"iss": AGENT_ID, "sub": AGENT_ID, "aud": AUDIENCE, "iat": stamp,
                                 "exp": stamp + 3600, "jti": random_id()})


class Model:
    """What may be on disk: for each item the values it can have; one value when athd has answered."""

    def __init__(self):
        self.services, self.peers, self.keys, self.grants, self.used = {}, {}, {}, {}, {}

    @staticmethod
    def sent(items, name, value):
        items[name] = items.get(name, {None}) | {value}

    @staticmethod
    def answered(items, name, value):
        items[name] = {value}


class Kill(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(SEED)
        self.athd = Athd()
        self.addCleanup(self.athd.__exit__)
        self.athd.start()
        self.athd.call("key.create", name="shop", role="server")
        self.agent = self.athd.call("key.create", name="agent", role="client", agent_id=AGENT_ID)
        self.agent_key = PublicKey.from_jwk(self.agent["public_jwk"])
        self.user, self.strangers = Key(), [Key() for _ in range(6)]
        self.verifier = Key()
        self.attestations = []
        self.model = Model()

    # ---- one change each: (request, what is possible once sent, what is so once answered) ----

    def service(self):
        name = self.random.choice(["mail", "files"])
        if self.random.random() < 0.3:
            return "service.delete", {"name": name}, (self.model.services, name, None)
        ttl = self.random.randint(1, 3600)
        return "service.put", {"name": name, "key": "shop" if name == "mail" else "shop2", "token_max_ttl": ttl,
                               "scopes_supported": [f"s:{ttl}"], "require_user_confirmation": False, "agents": {},
                               "users": {}}, (self.model.services, name, ttl)

    def pin(self):
        key = self.random.choice(self.strangers)
        did = key.did("server")
        if self.random.random() < 0.3:
            return "peer.remove", {"did": did}, (self.model.peers, did, None)
        name = f"n{self.random.randrange(1000)}"
        return "peer.pin", {"did": did, "public_key": key.pem, "name": name}, (self.model.peers, did, name)

    def key(self):
        name = f"k{self.random.randrange(3)}"
        if self.random.random() < 0.4:
            return "key.delete", {"name": name}, (self.model.keys, name, None)
        return "key.create", {"name": name, "role": "client"}, (self.model.keys, name, True)

    def put_grant(self):
        text = grant(self.user, self.agent["did"], ["a"], 3600)
        return "credential.put", {"credential": text}, (self.model.grants, text, True)

    def use(self):
        if self.attestations and self.random.random() < 0.3:
            jwt = self.random.choice(self.attestations)
        else:
            jwt = attestation(self.verifier)
            self.attestations.append(jwt)
        return "attestation.verify", {"jwt": jwt, "audience": AUDIENCE, "public_key": self.verifier.pem}, (
            self.model.used, jwt, True)

    def sign(self):
        return "attestation.create", {"key": "agent", "audience": AUDIENCE}, None

    # ---- a round ----

    def changes(self):
        """Of each item at most one, so that the order they end in does not matter."""
        chosen, touched = [], set()
        for _ in range(40):
            change = self.random.choice([self.service, self.pin, self.key, self.put_grant, self.use, self.use, self.sign])()
            item = change[2] and (id(change[2][0]), change[2][1])
            if item not in touched:
                chosen.append(change)
            if item:
                touched.add(item)
        return chosen

    def take(self, change, answer):
        """An answer that came: from now on it is so."""
        method, _, item = change
        self.answers += 1
        if item is None:
            if "result" in answer:
                claims, _ = jws.read(answer["result"]["jwt"], "JWT", self.agent_key)
                self.signed.append(claims["jti"])
            return
        if "result" in answer:
            if method == "attestation.verify":
                self.assertNotEqual(self.before[id(item[0]), item[1]], {True}, "a jti was used twice")
            Model.answered(*item)
        elif reason(answer) == "REPLAYED":
            self.assertIn(True, item[0][item[1]])
            Model.answered(*item)
        elif reason(answer) in ("KEY_EXISTS", "KEY_NOT_FOUND", "NOT_FOUND", "UNKNOWN_PEER", "INVALID_PARAMS", "HSM_UNAVAILABLE",
                                "EXISTS"):
            item[0][item[1]] = self.before[id(item[0]), item[1]]
        else:
            self.fail(f"{method}: {answer}")

    def round(self, wire, turn):
        changes = self.changes()
        self.requests += len(changes)
        self.before = {}
        for _, _, item in changes:
            if item:
                self.before[id(item[0]), item[1]] = set(item[0].get(item[1], {None}))
                Model.sent(*item)
        wire.send(*(request(n, method, **params) for n, (method, params, _) in enumerate(changes)))
        self.some_are_answered(wire, changes, turn)
        time.sleep(self.random.choice([0.002, 0.005, 0.01, 0.02, 0.05, 0.1]) * self.random.random())
        os.kill(self.athd.process.pid, signal.SIGKILL)
        self.athd.process.wait()
        while (answer := wire.line()) is not None:
            self.take(changes[answer["id"]], answer)

    def some_are_answered(self, wire, changes, turn):
        """On a busy machine nothing would be by the time it is killed: in every other round so many are, in some
        a signature is."""
        signed, left = len(self.signed), len(changes)
        wanted = 1 + turn % 9 if turn % 2 else 0
        wants_signature = turn % 10 == 5 and any(method == "attestation.create" for method, _, _ in changes)
        while left > 0 and (wanted > 0 or wants_signature and len(self.signed) == signed):
            answer = wire.line()
            self.take(changes[answer["id"]], answer)
            wanted, left = wanted - 1, left - 1

    def check(self, wire):
        """What athd has now is possible, and from now on it is so."""
        status = wire.ask(request(1, "agent.status"))["result"]
        self.assertEqual((status["damaged"], status["key_files"]["damaged"]), ([], []))
        services = {s["name"]: s["token_max_ttl"] for s in wire.ask(request(1, "service.list"))["result"]["services"]}
        peers = {p["did"]: p["name"] for p in wire.ask(request(1, "peer.list"))["result"]["peers"]}
        keys = {k["name"]: True for k in wire.ask(request(1, "key.list"))["result"]["keys"]}
        grants = {g["credential"]: True for g in wire.ask(request(1, "credential.list"))["result"]["credentials"]}
        for there, possible in ((services, self.model.services), (peers, self.model.peers), (keys, self.model.keys),
                                (grants, self.model.grants)):
            for name, values in possible.items():
                self.assertIn(there.get(name), values, (name, status))
                possible[name] = {there.get(name)}
            if there is not keys:
                self.assertLessEqual(set(there), set(possible))
        self.audit = self.read_audit()

    def read_audit(self):
        with open(os.path.join(self.athd.state, "audit", "00000001.jsonl"), encoding="utf-8") as file:
            records = [json.loads(line) for line in file if line.endswith("\n")]
        self.assertEqual([record["index"] for record in records], list(range(len(records))))
        return records

    def check_used(self):
        """Whatever was answered as used is refused; whatever may have been used is decided now."""
        with Wire(self.athd.socket) as wire:
            for jwt, values in self.model.used.items():
                answer = wire.ask(request(1, "attestation.verify", jwt=jwt, audience=AUDIENCE, public_key=self.verifier.pem))
                if values == {True}:
                    self.assertEqual(reason(answer), "REPLAYED")
                else:
                    self.assertIn(reason(answer), (None, "REPLAYED"))
                self.model.used[jwt] = {True}

    def test_nothing_answered_is_lost_and_nothing_is_torn(self):
        self.signed, self.answers, self.requests = [], 0, 0
        self.athd.call("key.create", name="shop2", role="server")
        self.athd.connection.close()
        self.athd.connection = None
        print(f"seed {SEED}, {KILLS} kills")
        for turn in range(KILLS):
            with Wire(self.athd.socket) as wire:
                if turn > 0:
                    self.check(wire)
                self.round(wire, turn)
            self.athd.log_seen = len(self.athd.read_log())
            self.athd.spawn()
            self.athd.wait_until_ready()
            if turn % 20 == 19:
                self.check_used()
        with Wire(self.athd.socket) as wire:
            self.check(wire)
        self.check_used()
        self.assertNotIn("Sanitizer", self.athd.read_log())
        issued = {record.get("jti") for record in self.audit}
        self.assertLessEqual(set(self.signed), issued)
        # else it was killed too early or too late to show anything
        self.assertGreater(len(self.model.used), KILLS)
        self.assertGreater(self.answers, KILLS)
        self.assertLess(self.answers, self.requests)
        self.assertTrue(self.signed)
        print(f"{self.answers} of {self.requests} requests answered, {len(self.signed)} signatures")
        self.assertEqual([name for name in os.listdir(os.path.join(self.athd.state, "keys")) if name.startswith(".")], [])


if __name__ == "__main__":
    unittest.main()
