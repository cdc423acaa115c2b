"""10,000 random changes of valid messages and of JSON-RPC lines, through the sockets of both sides: each
has its clear answer, none is taken for the real one, both daemons live, and nothing is left behind.

ATH_TEST_SEED makes the same changes again; ATH_TEST_CHANGES says how many there are."""
import copy
import json
import os
import random
import subprocess
import unittest

from peer.agent import BIN
from peer.scene import SCOPES, Scene
from peer.seed import SEED
from peer.wire import Wire, descriptors, memory, process, request, wait_for

CHANGES = int(os.environ.get("ATH_TEST_CHANGES", "10000"))
AT_ONCE = 50
SANITIZED = b"libasan" in subprocess.run(["ldd", os.path.join(BIN, "athd")], capture_output=True, check=True).stdout
WORDS = ["", "0", "did:ath:client_x", "did:web:example.com", "did:ath:server_" + "A" * 43, "ES256", "mail:read",
         "mail:send", "files:read", "A" * 43, "A" * 86, "\u202e\u0000"[:1], "\ud7ff\ue000", "handshake_request",
         "handshake_complete", "scope_result", "https://mail.example", "x" * 5000, "-----BEGIN PUBLIC KEY-----\n"]
VALUES = [None, True, False, 0, -1, 1, 2**53, 2**63, [], {}, [[]], {"": {}}, [None] * 70, {"a": [{"b": "c"}]}]
NUMBERS = ["-0", "1e3", "1.5", "01", "NaN", "1E400", "9" * 400, "-", "+1"]
OURS = set(range(-32012, -32000)) | {-32700, -32600, -32601, -32602}


class Changes:
    """Random changes, of the tree or of the text."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def places(self, value, found):
        """(container, key) of everything in it."""
        for key in (value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()):
            found.append((value, key))
            self.places(value[key], found)
        return found

    def of_string(self, text):
        at = self.random.randrange(len(text) + 1)
        kind = self.random.randrange(6)
        if kind == 0:
            return text[:at]
        if kind == 1:
            return text[:at] + self.random.choice("AZaz09-_.=+/ \n\u00e9") + text[at:]
        if kind == 2 and text:
            at = self.random.randrange(len(text))
            return text[:at] + self.random.choice("ABCDabcd0123-_.") + text[at + 1:]
        if kind == 3:
            return text + text
        if kind == 4:
            return text[::-1]
        return self.random.choice(WORDS)

    def of_tree(self, message):
        message = json.loads(json.dumps(message))
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            places = self.places(message, [])
            if not places:
                break
            container, key = self.random.choice(places)
            kind = self.random.randrange(8)
            if kind == 0:
                del container[key]
            elif kind == 1:
                container[key] = copy.deepcopy(self.random.choice(VALUES))
            elif kind == 2:
                other, other_key = self.random.choice(places)
                try:
                    container[key] = copy.deepcopy(other[other_key])
                except (KeyError, IndexError):
                    pass
            elif kind == 3 and isinstance(container, dict):
                container[self.random.choice(WORDS)[:50] or "x"] = copy.deepcopy(self.random.choice(VALUES))
            elif isinstance(container[key], str):
                container[key] = self.of_string(container[key])
            elif isinstance(container[key], int):
                container[key] = self.random.choice([container[key] + 1, -container[key], container[key] - 86400, 2**31])
            else:
                container[key] = self.random.choice(WORDS)
        return json.dumps(message)

    def of_text(self, text):
        at = self.random.randrange(len(text))
        end = at + self.random.choice([1, 1, 1, 3, 20])
        kind = self.random.randrange(6)
        if kind == 0:
            return text[:at] + text[end:]
        if kind == 1:
            return text[:at] + text[at:end] * 2 + text[end:]
        if kind == 2:
            return text[:at]
        if kind == 3:
            return text[:at] + self.random.choice(NUMBERS + ["{", "}", "[", "]", '"', ",", ":", "\\", "[" * 40]) + text[at:]
        if kind == 4:
            return text[:at] + chr(self.random.randrange(1, 0xD800)) + text[at + 1:]
        return text + self.random.choice([" ", "\n", "}", "x", text])

    def of(self, message):
        change = self.of_tree(message) if self.random.random() < 0.6 else self.of_text(json.dumps(message))
        return change.replace("\x00", "")


def same(text, message):
    """Is this still the same message?"""
    try:
        return json.loads(text) == message
    except (ValueError, RecursionError):
        return False


class Fuzz(unittest.TestCase):
    def setUp(self):
        self.changes = Changes(SEED)
        self.random = self.changes.random
        self.scene = Scene(require_user_confirmation=False)
        for athd in (self.scene.me, self.scene.app):
            athd.environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
        self.scene.__enter__()
        self.addCleanup(self.scene.__exit__)
        self.me, self.app = Wire(self.scene.me.socket), Wire(self.scene.app.socket)
        self.scene.issue()
        self.count, self.turn, self.taken = 0, 0, {}

    def tearDown(self):
        self.me.close()
        self.app.close()

    # ---- many calls at once ----

    def calls(self, wire, calls):
        """The answers, in the order of the calls."""
        self.turn += 1  # answers to changed lines may still come: theirs are other ids
        ids = [f"{self.turn}-{n}" for n in range(len(calls))]
        wire.send(*(request(number, method, **params) for number, (method, params) in zip(ids, calls)))
        answers = {}
        while not all(number in answers for number in ids):
            answer = wire.line()
            self.assertIsNotNone(answer, "the connection has ended")
            if not isinstance(answer, list):
                answers[answer.get("id")] = answer
        return [answers[number] for number in ids]

    def good(self, wire, calls):
        answers = self.calls(wire, calls)
        for answer in answers:
            self.assertIn("result", answer)
        return [answer["result"] for answer in answers]

    def judge(self, step, answer, is_same):
        """A clear error, or a result where that is no wonder."""
        self.count += 1
        if "error" in answer:
            error = answer["error"]
            self.assertIn(error["code"], OURS, (step, answer))
            self.assertTrue(error["message"] and error["data"]["reason"], (step, answer))
            return
        self.taken[step] = self.taken.get(step, 0) + 1
        if step in ("M1", "M4", "M8"):
            return  # not signed by themselves: what was changed is found out later
        result = answer["result"]
        refused = result.get("state") == "failed" or (step == "M3" and not result["send"]["success"])
        self.assertTrue(is_same or refused, (step, answer))

    # ---- the nine steps, AT_ONCE of them side by side, up to the one that is changed ----

    def start(self):
        return self.good(self.me, [("handshake.start", {"key": "agent", "scopes": SCOPES[:2], "server": {"did": self.scene.shop["did"]}})
                                   for _ in range(AT_ONCE)])

    def accept(self, started):
        return self.good(self.app, [("handshake.accept", {"service": "mail", "message": s["send"]}) for s in started])

    def receive(self, wire, handshakes, messages):
        return self.good(wire, [("handshake.receive", {"handshake": h["handshake"], "message": m}) for h, m in zip(handshakes, messages)])

    def change_all(self, step, wire, handshakes, messages):
        changed = [self.changes.of(message) for message in messages]
        answers = self.calls(wire, [("handshake.receive", {"handshake": h["handshake"], "message": text})
                                    for h, text in zip(handshakes, changed)])
        for answer, text, message in zip(answers, changed, messages):
            self.judge(step, answer, same(text, message))

    def until(self, step):
        """Changes message `step` of AT_ONCE handshakes."""
        started = self.start()
        if step == "M1":
            texts = [self.changes.of(s["send"]) for s in started]
            for answer in self.calls(self.app, [("handshake.accept", {"service": "mail", "message": text}) for text in texts]):
                self.judge(step, answer, False)
            return
        accepted = self.accept(started)
        messages = [a["send"] for a in accepted]
        for name, wire, handshakes in (("M2", self.me, started), ("M3", self.app, accepted), ("M4", self.me, started),
                                       ("M5", self.app, accepted)):
            if name == step:
                self.change_all(step, wire, handshakes, messages)
                return
            messages = [answer["send"] for answer in self.receive(wire, handshakes, messages)]
        if step == "M8":
            self.change_all(step, self.me, started, [pair[0] for pair in messages])
            return
        self.receive(self.me, started, [pair[0] for pair in messages])
        self.change_all("M9", self.me, started, [pair[1] for pair in messages])

    def confirmation(self, count):
        """M6 at the user's athd. M7 one at a time, since a user is asked one question at a time, and with
        its own request_id, since another one earns the client a pause."""
        self.scene.put_service(require_user_confirmation=True)
        m6 = self.scene.to_server(self.scene.until_m5())["confirm"]
        for _ in range(max(1, count // AT_ONCE)):
            texts = [self.changes.of(m6) for _ in range(AT_ONCE)]
            for text, answer in zip(texts, self.calls(self.me, [("confirmation.answer", {"key": "alice", "message": text})
                                                                for text in texts])):
                self.judge("M6", answer, same(text, m6))
        m7 = self.scene.answer(m6)
        for _ in range(count // 10):
            kept = {name: m7[name] for name in ("type", "request_id")}
            text = json.dumps({**json.loads(self.changes.of_tree({n: v for n, v in m7.items() if n not in kept})), **kept})
            if same(text, m7):
                continue
            [answer] = self.calls(self.app, [("handshake.receive", {"handshake": self.scene.server, "message": text})])
            self.judge("M7", answer, False)
            # what is no message at all leaves the question open, what is a wrong one ends it
            if self.scene.app.call("handshake.get", handshake=self.scene.server)["state"] != "confirm":
                m7 = self.scene.answer(self.scene.to_server(self.scene.until_m5())["confirm"])
        self.assertEqual(self.scene.to_server(m7)["state"], "done")
        self.scene.put_service()

    # ---- JSON-RPC ----

    def lines(self, wire, samples, count):
        for _ in range(count // AT_ONCE):
            raw = []
            for _ in range(AT_ONCE):
                text = self.changes.of(self.random.choice(samples)).encode("utf-8", "surrogatepass")
                if text and self.random.random() < 0.3:
                    at = self.random.randrange(len(text))
                    text = text[:at] + bytes([self.random.randrange(256)]) + text[at + 1:]
                raw.append(text.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n")
            wire.send(*raw, request("mark", "agent.hello"))
            while True:
                answer = wire.line()
                self.assertIsNotNone(answer, raw)
                for one in answer if isinstance(answer, list) else [answer]:
                    if "error" in one:
                        self.assertIn(one["error"]["code"], OURS, one)
                if not isinstance(answer, list) and answer.get("id") == "mark":
                    break
            self.count += AT_ONCE

    def samples(self):
        """A call of each method that asks nobody; they name things there are not, so that nothing piles up."""
        did, pem = self.scene.shop["did"], self.scene.shop["public_pem"]
        params = {
            "agent.hello": {"client": "x"}, "agent.status": {}, "events.subscribe": {"topics": []}, "key.list": {"role": "user"},
            "key.get": {"name": "none"}, "key.delete": {"name": "none"}, "key.export": {"name": "agent", "format": "jwk"},
            "key.create": {"name": ".", "role": "client"}, "key.import": {"name": "x", "role": "client", "tss2_pem": "x"},
            "attestation.create": {"key": "agent", "audience": ["https://a.example"], "ttl": 5},
            "attestation.verify": {"jwt": "a.b.c", "audience": "x", "public_key": pem}, "credential.list": {},
            "credential.verify": {"credential": "a.b.c"}, "credential.put": {"credential": "a.b.c"}, "service.list": {},
            "service.delete": {"name": "none"}, "peer.list": {}, "peer.remove": {"did": did}, "session.list": {},
            "session.seal": {"session": "x", "plaintext": "AAAA"}, "session.open": {"session": "x", "jwe": "a.b.c.d.e"},
            "session.token": {"session": "x"}, "session.close": {"session": "x"}, "handshake.list": {},
            "handshake.get": {"handshake": "x"}, "handshake.abort": {"handshake": "x"},
            "handshake.receive": {"handshake": "x", "message": {"type": "x"}},
            "token.verify": {"service": "mail", "token": "a.b.c"}, "confirmation.answer": {"key": "alice", "message": {}},
            "service.put": {"name": "-", "key": "shop", "scopes_supported": ["a"], "token_max_ttl": 1,
                            "require_user_confirmation": True, "agents": {}, "users": {}},
        }
        calls = [request(n, method, **given) for n, (method, given) in enumerate(params.items())]
        return calls + [calls[:3], [calls[0], 1, {}], {"jsonrpc": "2.0", "method": "agent.hello"}]

    # ---- all of it ----

    def attack(self, count):
        """That many changes, in their shares."""
        shares = {"M1": 12, "M2": 8, "M3": 8, "M4": 3, "M5": 4, "M8": 2, "M9": 2}
        for step, share in shares.items():
            for _ in range(max(1, count * share // 100 // AT_ONCE)):
                self.until(step)
        self.confirmation(count * 15 // 100)
        samples = self.samples()
        self.lines(self.me, samples, count * 24 // 100)
        self.lines(self.app, samples, count * 24 // 100)

    def processes(self):
        for athd in (self.scene.me, self.scene.app):
            yield athd.process.pid
            yield process(athd, "ath-hsm-helper")

    def test_each_change_has_its_answer_and_nothing_is_left(self):
        print(f"seed {SEED}")
        self.attack(CHANGES // 10)  # tables and heaps have their size then
        pids = list(self.processes())
        before = [(descriptors(pid), memory(pid)) for pid in pids]
        self.attack(CHANGES - CHANGES // 10)
        self.assertGreaterEqual(self.count, CHANGES)
        self.assertEqual(list(self.processes()), pids)  # nobody had to be started again
        print(f"{self.count} changes; taken all the same: {self.taken}")
        for pid, (open_before, bytes_before) in zip(pids, before):
            wait_for(lambda pid=pid, most=open_before: descriptors(pid) <= most)
            grown = memory(pid) - bytes_before
            print(f"{pid}: {grown >> 10} KiB more, {memory(pid) >> 10} KiB")
            if not SANITIZED:  # at most 4,096 handshakes that have ended are remembered
                self.assertLess(grown, 64 << 20)
        mine, theirs = self.scene.run()
        sealed = self.scene.me.call("session.seal", session=mine["session"], plaintext="aGVsbG8")
        self.assertEqual(self.scene.app.call("session.open", session=theirs["session"], jwe=sealed["jwe"])["plaintext"], "aGVsbG8")
        for athd in (self.scene.me, self.scene.app):
            self.assertEqual(athd.stop(), 0, athd.read_log())
            self.assertNotIn("Sanitizer", athd.read_log())


if __name__ == "__main__":
    unittest.main()
