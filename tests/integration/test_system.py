"""One athd for every uid of a machine (--system): each works with things of its own, and neither sees nor
uses another's; nor does root."""
import contextlib
import json
import os
import select
import signal
import socket
import stat
import subprocess
import time
import unittest

from peer.agent import BIN, Athd, Connection, Failed
from peer.wire import Wire, apart, request

ALICE, BOB, ROOT_UID, ATH = 12301, 12302, 0, 12399
AGENT_ID = "https://agent.example/a.json"
AUDIENCE = "https://api.example"
SANITIZED = b"libasan" in subprocess.run(["ldd", os.path.join(BIN, "athd")], capture_output=True, check=True).stdout


def read_records(state):
    with open(os.path.join(state, "audit", "00000001.jsonl"), encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def call_as(uid, path, *calls):
    """Each call's result, or {"reason", "data", "message"} of its error; or {"errno"} where the socket is closed."""
    def run():
        connection, answers = Connection(path), []
        for method, params in calls:
            try:
                answers.append(connection.call(method, **params))
            except Failed as failed:
                answers.append({"reason": failed.reason, "data": failed.data, "message": failed.message})
        connection.close()
        return answers
    return apart(run, uid)


def first_line(path):
    """What it says without having been asked: why it turns one away."""
    with Wire(path) as wire:
        return wire.line()


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class SystemTest(unittest.TestCase):
    mode = "0666"

    def setUp(self):
        self.athd = Athd(arguments=["--system"])
        self.addCleanup(self.athd.__exit__)
        self.addCleanup(lambda: self.assertNotIn("Sanitizer", self.athd.read_log()))
        os.chmod(self.athd.dir, 0o755)
        self.athd.configure({"socket_mode": self.mode})
        self.athd.start()

    def ask(self, uid, method, **params):
        answers = call_as(uid, self.athd.socket, (method, params))
        return answers[0] if isinstance(answers, list) else answers

    def key(self, uid, name="agent", **more):
        return self.ask(uid, "key.create", **{"name": name, "role": "client", "agent_id": AGENT_ID, **more})


class NameSpaces(SystemTest):
    def test_each_uid_has_keys_of_its_own_under_the_same_name(self):
        keys = {uid: self.key(uid) for uid in (ALICE, BOB, ROOT_UID)}
        self.assertEqual(len({key["did"] for key in keys.values()}), 3)
        for uid, key in keys.items():
            self.assertEqual([entry["did"] for entry in self.ask(uid, "key.list")["keys"]], [key["did"]])
            self.assertEqual(self.ask(uid, "key.get", name="agent")["did"], key["did"])
            self.assertEqual(self.ask(uid, "agent.status")["keys"], 1)
            signed = self.ask(uid, "attestation.create", key="agent", audience=AUDIENCE)
            self.assertIn("jwt", signed)
            verified = self.ask(BOB, "attestation.verify", jwt=signed["jwt"], audience=AUDIENCE,
                                public_key=key["public_jwk"])
            self.assertTrue(verified["valid"])
        self.ask(ALICE, "key.delete", name="agent")
        self.assertEqual(self.ask(ALICE, "key.get", name="agent")["reason"], "KEY_NOT_FOUND")
        self.assertEqual(self.ask(BOB, "key.get", name="agent")["did"], keys[BOB]["did"])

    def test_nobody_uses_anothers_key_service_pin_credential_or_session(self):
        self.key(ALICE, "alices")
        user = self.ask(ALICE, "key.create", name="user", role="user", confirm="never")
        self.ask(ALICE, "key.create", name="shop", role="server")
        self.assertNotIn("reason", self.ask(ALICE, "service.put", name="mail", key="shop", scopes_supported=["a"],
                                            token_max_ttl=60, require_user_confirmation=False, agents={}, users={}))
        self.assertNotIn("reason", self.ask(ALICE, "peer.pin", did=user["did"], name="alice"))
        issued = self.ask(ALICE, "credential.issue", key="user", client=self.ask(ALICE, "key.get", name="alices")["did"],
                          scopes=["a"], ttl=60)
        self.assertIn("credential", issued)
        self.key(BOB, "bobs")
        for uid in (BOB, ROOT_UID):
            for method, params in (("attestation.create", {"key": "alices", "audience": AUDIENCE}),
                                   ("key.export", {"name": "alices", "format": "pem"}),
                                   ("key.delete", {"name": "alices"}),
                                   ("credential.issue", {"key": "user", "client": user["did"], "scopes": ["a"], "ttl": 60}),
                                   ("policy.freeze", {"key": "alices"})):
                answer = self.ask(uid, method, **params)
                self.assertEqual(answer.get("reason"), "KEY_NOT_FOUND", (method, answer))
            self.assertEqual(self.ask(uid, "service.list")["services"], [])
            self.assertEqual(self.ask(uid, "peer.list")["peers"], [])
            self.assertEqual(self.ask(uid, "credential.list")["credentials"], [])
            self.assertEqual(self.ask(uid, "session.list")["sessions"], [])
            self.assertEqual(self.ask(uid, "handshake.list")["handshakes"], [])
        self.assertEqual(len(self.ask(ALICE, "credential.list")["credentials"]), 1)
        self.assertEqual(len(self.ask(ALICE, "service.list")["services"]), 1)

    def test_a_session_or_handshake_of_anothers_does_not_exist_for_whoever_knows_its_name(self):
        self.key(ALICE, "alices")
        did = self.ask(ALICE, "key.create", name="shop", role="server")["did"]
        user = self.ask(ALICE, "key.create", name="user", role="user", confirm="never")
        self.assertIn("did", user)
        started = self.ask(ALICE, "handshake.start", key="alices", scopes=["a"], ttl=60, user_key="user", server={"did": did})
        self.assertIn("handshake", started, started)
        for uid in (BOB, ROOT_UID):
            for method, params in (("handshake.get", {}), ("handshake.abort", {}), ("handshake.receive", {"message": {}})):
                answer = self.ask(uid, method, handshake=started["handshake"], **params)
                self.assertEqual(answer["reason"], "HANDSHAKE_NOT_FOUND", (method, answer))
        self.assertNotIn("reason", self.ask(ALICE, "handshake.get", handshake=started["handshake"]))

    def test_a_used_attestation_is_used_for_one_uid_only(self):
        key = self.key(ALICE)
        jwt = self.ask(ALICE, "attestation.create", key="agent", audience=AUDIENCE)["jwt"]
        check = {"jwt": jwt, "audience": AUDIENCE, "public_key": key["public_jwk"]}
        self.assertTrue(self.ask(ALICE, "attestation.verify", **check)["valid"])
        self.assertEqual(self.ask(ALICE, "attestation.verify", **check)["reason"], "REPLAYED")
        self.assertTrue(self.ask(BOB, "attestation.verify", **check)["valid"])

    def test_freezing_all_stops_ones_own_keys_only(self):
        self.key(ALICE)
        self.key(BOB)
        self.assertNotIn("reason", self.ask(BOB, "policy.freeze", all=True))
        self.assertEqual(self.ask(BOB, "attestation.create", key="agent", audience=AUDIENCE)["data"]["rule"], "frozen")
        self.assertIn("jwt", self.ask(ALICE, "attestation.create", key="agent", audience=AUDIENCE))

    def test_all_is_there_after_a_restart(self):
        keys = {uid: self.key(uid)["did"] for uid in (ALICE, BOB)}
        self.assertNotIn("reason", self.ask(BOB, "policy.freeze", key="agent"))
        self.assertEqual(self.athd.stop(), 0)
        self.athd.start()
        for uid, did in keys.items():
            self.assertEqual(self.ask(uid, "key.get", name="agent")["did"], did)
        self.assertIn("jwt", self.ask(ALICE, "attestation.create", key="agent", audience=AUDIENCE))
        self.assertEqual(self.ask(BOB, "attestation.create", key="agent", audience=AUDIENCE)["data"]["rule"], "frozen")

    def test_files_lie_apart_and_only_athd_can_read_them(self):
        self.key(ALICE)
        self.assertTrue(os.path.isfile(os.path.join(self.athd.state, "users", str(ALICE), "keys", "agent.json")))
        self.assertEqual(stat.S_IMODE(os.stat(self.athd.state).st_mode), 0o700)
        self.assertIn("errno", apart(lambda: os.listdir(os.path.join(self.athd.state, "users", str(ALICE))), ALICE))

    def test_what_is_no_uid_in_users_is_left_alone_and_said(self):
        self.key(ALICE)
        self.athd.stop()
        for name in ("007", "root", "+5", "4294967295"):
            os.mkdir(os.path.join(self.athd.state, "users", name), 0o700)
        self.athd.start()
        for name in ("007", "root", "+5", "4294967295"):
            self.assertIn(f"users/{name} is no uid", self.athd.read_log())
        self.assertEqual(len(self.ask(ALICE, "key.list")["keys"]), 1)

    def test_ones_damaged_file_is_told_to_that_one_only(self):
        self.key(ALICE)
        self.key(BOB)
        self.athd.stop()
        with open(os.path.join(self.athd.state, "users", str(ALICE), "keys", "agent.json"), "w", encoding="utf-8") as file:
            file.write("{")
        self.athd.start()
        self.assertEqual(len(self.ask(ALICE, "agent.status")["damaged"]), 1)
        self.assertEqual(self.ask(BOB, "agent.status")["damaged"], [])
        self.assertIn("jwt", self.ask(BOB, "attestation.create", key="agent", audience=AUDIENCE))


    def test_keys_of_an_athd_of_one_user_are_nobodys_and_said_with_what_to_do(self):
        did = self.key(ALICE)["did"]
        self.athd.stop()
        own = os.path.join(self.athd.state, "users", str(ALICE))
        for name in os.listdir(own):  # as an athd without --system has them
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(self.athd.state, name))
            os.rename(os.path.join(own, name), os.path.join(self.athd.state, name))
        self.athd.start()
        for uid in (ALICE, BOB, ROOT_UID):
            self.assertEqual(self.ask(uid, "key.list")["keys"], [])
        log = self.athd.read_log()
        self.assertIn("has keys of an athd without --system", log)
        self.athd.stop()
        for name in ("keys", "peers", "services", "credentials", "replay"):  # what the log says
            there = os.path.join(own, name)
            os.rmdir(there)
            os.rename(os.path.join(self.athd.state, name), there)
        seen = len(log)
        self.athd.start()
        self.assertEqual(self.ask(ALICE, "key.get", name="agent")["did"], did)
        self.assertNotIn("without --system", self.athd.read_log()[seen:])

    def test_a_uids_directory_that_cannot_be_used_stops_that_one_only_and_only_until_it_can(self):
        self.key(ALICE)
        self.key(BOB)
        self.athd.stop()
        own = os.path.join(self.athd.state, "users", str(ALICE))
        os.chmod(own, 0o777)
        self.athd.start()
        self.assertIn("jwt", self.ask(BOB, "attestation.create", key="agent", audience=AUDIENCE))
        with Wire(self.athd.socket) as wire:
            self.assertNotIn("error", wire.ask(request(1, "key.list")))
        refusal = apart(lambda: first_line(self.athd.socket), ALICE)
        self.assertIn("others may write to", refusal["error"]["message"])
        os.chmod(own, 0o700)
        self.assertIn("jwt", self.ask(ALICE, "attestation.create", key="agent", audience=AUDIENCE))

    def test_counters_are_ones_own(self):
        self.key(ALICE)
        self.assertIn("jwt", self.ask(ALICE, "attestation.create", key="agent", audience=AUDIENCE))
        self.ask(ALICE, "key.get", name="none")
        self.ask(ALICE, "policy.reload")
        mine, others = (self.ask(uid, "agent.status")["counters"] for uid in (ALICE, BOB))
        self.assertEqual((mine["signatures"], mine["errors"], mine["denials"]), (1, 2, 1))
        self.assertEqual((others["signatures"], others["errors"], others["denials"], others["requests"]), (0, 0, 0, 1))


class Rules(SystemTest):
    def test_adopting_keys_and_reading_files_again_wants_a_rule(self):
        for method, params in (("key.import", {"name": "k", "role": "client", "pkcs11_uri": "pkcs11:token=t"}),
                               ("policy.reload", {})):
            answer = self.ask(ALICE, method, **params)
            self.assertEqual(answer["reason"], "POLICY_DENIED")
            self.assertEqual(answer["data"]["rule"], "everyone-their-own", answer)

    def test_rules_of_the_machine_hold_for_whom_they_name(self):
        self.key(ALICE)
        self.key(BOB)
        with open(os.path.join(self.athd.dir, "policy.json"), "w", encoding="utf-8") as file:
            json.dump({"rules": [{"name": "alice", "who": {"uid": ALICE}, "may": ["*"]},
                                 {"name": "readers", "who": {"uid": "*"}, "may": ["group:keys-read", "agent.hello"]}]}, file)
        self.assertNotIn("reason", self.ask(ALICE, "agent.hello"))
        self.athd.process.send_signal(1)
        while "rules=2" not in self.athd.read_log():
            self.assertIsNone(self.athd.process.poll())
        self.assertIn("jwt", self.ask(ALICE, "attestation.create", key="agent", audience=AUDIENCE))
        self.assertEqual(self.ask(BOB, "attestation.create", key="agent", audience=AUDIENCE)["reason"], "POLICY_DENIED")
        self.assertEqual(self.ask(ROOT_UID, "policy.reload")["reason"], "POLICY_DENIED")

    def test_who_makes_grants_gets_no_more_of_a_machines_rate(self):
        with open(os.path.join(self.athd.dir, "policy.json"), "w", encoding="utf-8") as file:
            json.dump({"rules": [{"name": "few", "who": {"uid": "*"}, "may": ["attestation.create"], "rate": "3/h"},
                                 {"name": "rest", "who": {"uid": "*"}, "may": ["agent.*", "key.*", "group:grants"]}]}, file)
        self.athd.process.send_signal(1)
        while "rules=2" not in self.athd.read_log():
            self.assertIsNone(self.athd.process.poll())
        self.key(ALICE)
        self.key(BOB)
        answers = []
        for name in ("one", "two", "three", "four"):
            grant = self.ask(ALICE, "grant.create", name=name, keys=["agent"])
            answers.append(call_as(ALICE, grant["socket"], ("attestation.create", {"key": "agent", "audience": AUDIENCE}))[0])
        self.assertEqual(["jwt" in answer for answer in answers], [True, True, True, False], answers)
        self.assertEqual(answers[3]["reason"], "RATE_LIMITED")
        self.assertEqual(self.ask(ALICE, "attestation.create", key="agent", audience=AUDIENCE)["reason"], "RATE_LIMITED")
        self.assertIn("jwt", self.ask(BOB, "attestation.create", key="agent", audience=AUDIENCE))

    def test_without_rules_checkpoints_are_few(self):
        answers = [self.ask(ALICE, "audit.checkpoint") for _ in range(8)]
        self.assertIn("RATE_LIMITED", [answer.get("reason") for answer in answers])
        self.assertIn("checkpoint", self.ask(BOB, "audit.checkpoint"))

    def test_a_uid_that_is_several_peoples_gets_nothing(self):
        def read():
            with socket.socket(socket.AF_UNIX) as caller:
                caller.settimeout(60)
                caller.connect(self.athd.socket)
                with caller.makefile("rb") as lines:
                    return [json.loads(line) for line in lines]  # to the end

        for uid, why in ((65534, "no uid here"), (61184, "DynamicUser"), (65519, "DynamicUser")):
            answers = apart(read, uid)
            self.assertEqual([answer["error"]["data"]["reason"] for answer in answers], ["POLICY_DENIED"])
            self.assertIn(why, answers[0]["error"]["message"])
        self.assertNotIn("reason", self.ask(61183, "key.list"))
        self.assertEqual(sorted(os.listdir(os.path.join(self.athd.state, "users"))), ["0", "61183"])


class Exhaustion(SystemTest):
    """What one uid takes as much of as it gets leaves room for the others."""

    def setUp(self):
        super().setUp()
        self.athd.stop()
        self.athd.programs = os.path.join(self.athd.dir, "programs")
        os.mkdir(self.athd.programs)
        with open(os.path.join(self.athd.programs, "athd"), "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nulimit -n 1024\nexec {BIN}/athd "$@"\n')
        os.chmod(file.name, 0o755)
        self.athd.start()
        self.held = []  # connections
        self.key(BOB)

    def test_of_connections(self):
        def take():
            while len(self.held) < 1024:
                self.held.append(Wire(self.athd.socket))
                with contextlib.suppress(BrokenPipeError):  # turned away already: the line says why
                    self.held[-1].send(request(1, "key.list"))
                answer = self.held[-1].line()
                if "error" in answer:
                    return [len(self.held), answer["error"]["message"]]
            return None

        count, message = self.with_bob_served(take)
        self.assertIn("there is no room for more", message)
        self.assertLess(count, 130)  # half of 256

    def with_bob_served(self, take, until=lambda: True):
        """Bob has his answers while Alice holds what take() took, and longer: until()."""
        ready, go = os.pipe(), os.pipe()
        result = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setgid(ALICE)
                os.setuid(ALICE)
                os.write(result[1], json.dumps(take()).encode())
            except BaseException as error:  # for the parent's message
                os.write(result[1], json.dumps(repr(error)).encode())
            finally:
                os.close(result[1])
                os.write(ready[1], b"x")
                os.read(go[0], 1)
                os._exit(0)
        os.read(ready[0], 1)
        try:
            self.assertIn("jwt", self.ask(BOB, "attestation.create", key="agent", audience=AUDIENCE))
            self.assertEqual(self.ask(BOB, "agent.status")["keys"], 1)
            deadline = time.monotonic() + 240
            while not until():
                self.assertLess(time.monotonic(), deadline, self.athd.read_log())
                time.sleep(0.02)
        finally:
            os.close(result[1])
            with os.fdopen(result[0], "rb") as pipe:
                taken = json.loads(pipe.read())
            os.write(go[1], b"x")
            os.waitpid(pid, 0)
            for fd in (*ready, *go):
                os.close(fd)
        return taken

    @contextlib.contextmanager
    def attending(self, uid):
        """A program of this uid's that shows questions, and answers none."""
        told, end = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(end[1])
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
                with Wire(self.athd.socket) as wire:
                    os.write(told[1], json.dumps(wire.ask(request(1, "consent.attend"))).encode() + b"\n")
                    os.read(end[0], 1)
            finally:
                os._exit(0)
        os.close(told[1])
        os.close(end[0])
        try:
            with os.fdopen(told[0]) as file:
                self.assertIn("result", json.loads(file.readline()))
                yield
        finally:
            os.close(end[1])
            os.waitpid(pid, 0)

    def test_of_requests_under_way(self):
        """1,024 of a uid's, however many connections it has for them: here they wait for its own yes."""
        self.key(ALICE, confirm="always")

        def take():
            messages, deadline = [], time.monotonic() + 60
            self.held = [Wire(self.athd.socket) for _ in range(9)]
            for number, wire in enumerate(self.held):  # 128 of a connection's; 64 equal ones are one question
                wire.send(*(request(second, "attestation.create", key="agent",
                                    audience=f"https://{number}-{second // 64}.example") for second in range(128)))
            while len(messages) < 128 and time.monotonic() < deadline:  # the others wait
                ready = select.select([wire.socket for wire in self.held], [], [], 1)[0]
                for wire in self.held:
                    if wire.socket in ready:
                        messages += [answer["error"]["message"] for answer in wire.lines_so_far()]
            with Wire(self.athd.socket) as wire:
                return messages + [wire.ask(request(1, "key.list"))["error"]["message"]]

        with self.attending(ALICE):
            messages = self.with_bob_served(take)
            self.assertEqual(len(messages), 129, messages[:3])
            self.assertEqual(set(messages), {"1024 requests of uid 12301 are under way; wait for an answer"})
        deadline = time.monotonic() + 60  # its connections are gone, and what they asked
        while "keys" not in (answer := self.ask(ALICE, "key.list")):
            self.assertLess(time.monotonic(), deadline, answer)

    def test_of_grants(self):
        self.key(ALICE)

        def take():
            with Wire(self.athd.socket) as wire:
                for number in range(257):
                    answer = wire.ask(request(1, "grant.create", name=f"g{number}", keys=["agent"]))
                    if "error" in answer:
                        return [number, answer["error"]["message"]]
            return None

        count, message = self.with_bob_served(take)
        self.assertEqual(count, 64)  # half of 128
        self.assertIn("athd has no room for more", message)
        self.assertIn("socket", self.ask(BOB, "grant.create", name="g0", keys=["agent"]))

    def test_of_turns_by_connecting_without_end(self):
        def connect():
            while True:
                with socket.socket(socket.AF_UNIX) as caller:
                    caller.setblocking(False)
                    with contextlib.suppress(OSError):
                        caller.connect(self.athd.socket)

        self.with_busy(3, connect)

    def test_of_turns_by_calling_without_end(self):
        batch = (json.dumps([request(number, "agent.hello") for number in range(64)]) + "\n").encode()

        def call():
            wires = [Wire(self.athd.socket) for _ in range(100)]
            for wire in wires:
                wire.socket.setblocking(False)
            while True:
                for wire in wires:
                    with contextlib.suppress(BlockingIOError):
                        wire.socket.send(batch)
                    with contextlib.suppress(BlockingIOError):
                        wire.socket.recv(1 << 20)

        def count():
            return self.ask(ALICE, "agent.status")["counters"]["requests"]

        for_each = []  # of Bob's; 6,400 and more where each connection has its turn; where Bob himself stalls: many
        while not for_each or min(for_each) > 5500:
            self.assertLess(len(for_each), 5, for_each)
            before = count()
            self.with_busy(1, call)
            for_each.append((count() - before) / 50)

    def with_busy(self, count, work):
        """Bob gets his answers while processes of Alice's do nothing but work()."""
        with Wire(self.athd.socket) as wire:
            busy = []
            for _ in range(count):
                pid = os.fork()
                if pid == 0:
                    try:
                        os.setgroups([])
                        os.setgid(ALICE)
                        os.setuid(ALICE)
                        work()
                    finally:
                        os._exit(1)
                busy.append(pid)
            try:
                for number in range(50):
                    self.assertIn("result", wire.ask(request(number, "agent.hello")))
                self.assertEqual([os.waitpid(pid, os.WNOHANG)[0] for pid in busy], [0] * count)
            finally:
                for pid in busy:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)

    def test_of_memory(self):
        self.key(ALICE)

        def fill_log():
            with Wire(self.athd.socket) as wire:
                for _ in range(4):
                    wire.send(*(request(number, "attestation.create", key="agent", audience=AUDIENCE) for number in range(100)))
                    wire.lines(100)

        def take():
            batch = [request(number, "audit.query", limit=1000) for number in range(64)]
            for _ in range(30):  # answers of 12 MB each that nobody reads
                self.held.append(Wire(self.athd.socket))
                self.held[-1].send(batch)
            return True

        self.assertIsNone(apart(fill_log, ALICE))
        before = self.resident()
        self.with_bob_served(take, until=lambda: "reason=answers-not-read" in self.athd.read_log())
        if not SANITIZED:  # which keeps what was freed
            self.assertLess(self.resident() - before, 200 << 20)

    def resident(self):
        """The most it ever had."""
        with open(f"/proc/{self.athd.process.pid}/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM:"))

    def test_of_the_log(self):
        self.athd.stop()
        self.athd.configure({"socket_mode": self.mode, "audit": {"uid_bytes_per_day": 8 << 20}})
        self.athd.start()
        self.key(ALICE)
        audiences = [f"https://{number}.example/{'x' * 900}" for number in range(16)]

        def write():
            with Wire(self.athd.socket) as wire:
                for number in range(1000):  # 15 KB each: about 480 of them
                    answer = wire.ask(request(1, "grant.create", name="g", keys=["agent"], audiences=audiences))
                    if "error" in answer:
                        return [number, answer["error"]]
                    wire.ask(request(2, "grant.revoke", name="g"))
            return None

        count, error = apart(write, ALICE)
        self.assertEqual(error["data"]["reason"], "RATE_LIMITED", error)
        self.assertIn("uid_bytes_per_day", error["message"])
        self.assertGreater(error["data"]["retry_after"], 0)
        self.assertGreater(count, 400)
        frozen = self.ask(ALICE, "policy.freeze", all=True)
        self.assertTrue(frozen["frozen"]["all"], frozen)
        self.assertIn("jwt", self.ask(BOB, "attestation.create", key="agent", audience=AUDIENCE))
        self.assertIn("records", self.ask(ALICE, "audit.query", limit=1))
        self.athd.stop()
        spent = [record for record in read_records(self.athd.state) if record["event"] == "audit_budget_spent"]
        self.assertEqual([(record["owner"], record["method"]) for record in spent], [(ALICE, "grant.create")])

    def test_of_the_logs_readers(self):
        self.key(ALICE)
        with Wire(self.athd.socket) as wire:
            for number in range(300):
                wire.ask(request(number, "attestation.verify", jwt="a.b.c", audience=AUDIENCE, public_key={}))

        def take():
            self.held = [Wire(self.athd.socket) for _ in range(16)]
            for wire in self.held:
                wire.send(*(request(number, "audit.query", limit=1000, event="none") for number in range(128)))
            return True

        started = time.monotonic()
        self.with_bob_served(take)
        self.assertIn("records", self.ask(BOB, "audit.query", limit=1))
        self.assertLess(time.monotonic() - started, 120)


class Programs(SystemTest):
    """`ath` of an ordinary user."""

    def ath(self, uid, *arguments):
        if not apart(lambda: os.access(os.path.join(BIN, "ath"), os.X_OK), uid):
            self.skipTest(f"uid {uid} may not run {BIN}/ath")
        return subprocess.run([os.path.join(BIN, "ath"), "--socket", self.athd.socket, *arguments], user=uid, group=uid,
                              extra_groups=[], cwd="/", capture_output=True, text=True, timeout=60, check=False,
                              env={"PATH": os.environ["PATH"]})

    def test_status_and_doctor_tell_a_user_of_its_own(self):
        self.key(BOB, "secret-project")
        self.key(ALICE)
        for command in ("status", "doctor", "key list"):
            ran = self.ath(ALICE, *command.split())
            self.assertEqual(ran.returncode, 0, (command, ran.stdout, ran.stderr))
            self.assertNotIn("secret-project", ran.stdout + ran.stderr)

    def test_who_is_not_in_the_sockets_group_is_told_what_to_ask_for(self):
        os.chown(self.athd.socket, 0, 100)
        os.chmod(self.athd.socket, 0o660)
        ran = self.ath(ALICE, "status")
        self.assertEqual(ran.returncode, 2, ran.stderr)
        self.assertIn('for members of the group "users": ask to be added', ran.stderr)


class Audit(SystemTest):
    def test_each_sees_its_own_records_and_those_of_athd(self):
        self.key(ALICE)
        self.key(BOB, "secret-project")
        self.assertIn("jwt", self.ask(BOB, "attestation.create", key="secret-project", audience="https://bobs.example"))
        seen = self.ask(ALICE, "audit.query", limit=1000)["records"]
        self.assertNotIn("bob", json.dumps(seen))
        self.assertNotIn("secret-project", json.dumps(seen))
        self.assertTrue({"athd_started", "key_created"} <= {record["event"] for record in seen})
        self.assertEqual({record["owner"] for record in seen if "owner" in record}, {ALICE})
        self.assertEqual(self.ask(ALICE, "audit.query", key="secret-project")["records"], [])
        whole = read_records(self.athd.state)
        bobs = [record for record in whole if record.get("owner") == BOB]
        self.assertIn("attestation_issued", [record["event"] for record in bobs])
        self.assertTrue(all("owner" in record for record in whole if "caller" in record))

    def test_a_proof_of_anothers_record_holds_without_its_words(self):
        self.key(BOB, "secret-project")
        index = next(record["index"] for record in read_records(self.athd.state) if record.get("owner") == BOB)
        self.ask(BOB, "audit.checkpoint")
        self.assertIn("secret-project", self.ask(BOB, "audit.proof", index=index)["record"])
        proof = self.ask(ALICE, "audit.proof", index=index)
        self.assertNotIn("record", proof)
        self.assertEqual(proof["leaf"], self.ask(BOB, "audit.proof", index=index)["leaf"])

    def test_events_go_to_those_they_are_about(self):
        def watch():
            connection = Connection(self.athd.socket)
            connection.call("events.subscribe", topics=["key", "hsm", "consent"])
            connection.call("agent.hello")
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            connection.lines.write(b'{"jsonrpc":"2.0","id":9,"method":"agent.hello","params":{}}\n')
            connection.lines.flush()
            line = json.loads(connection.lines.readline())
            connection.close()
            return line

        self.key(ALICE)  # the hardware is there
        ready, go = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(ready[0], 1)
            try:
                self.key(BOB)
            finally:
                os.write(go[1], b"x")
                os._exit(0)
        first = apart(watch, ALICE)  # an event of Bob's would have come before
        os.waitpid(pid, 0)
        self.assertEqual(first.get("id"), 9, first)


class TheSocket(SystemTest):
    mode = "0600"

    def test_its_mode_says_who_gets_as_far(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.athd.socket).st_mode), 0o600)
        self.assertEqual(self.ask(ALICE, "agent.hello"), {"errno": 13})

    def start_with(self, config, expected):
        self.athd.stop()
        self.athd.configure(config)
        self.athd.spawn()
        self.assertEqual(self.athd.process.wait(60), expected, self.athd.read_log())
        self.athd.process = None
        return self.athd.read_log()

    def test_what_it_cannot_be_is_said(self):
        log = self.start_with({"socket_mode": "0777"}, 1)
        self.assertIn('"socket_mode" must be "0600", "0660" or "0666"', log)
        log = self.start_with({"socket_group": "no-such-group"}, 1)
        self.assertIn('there is no group "no-such-group"', log)
        self.athd.arguments.remove("--system")
        log = self.start_with({"socket_mode": "0666"}, 1)
        self.assertIn("are for --system", log)

    def test_a_group_may_be_given(self):
        self.athd.stop()
        self.athd.configure({"socket_mode": "0660", "socket_group": "users"})
        self.athd.start()
        entry = os.stat(self.athd.socket)
        self.assertEqual((stat.S_IMODE(entry.st_mode), entry.st_gid), (0o660, 100))


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class OwnUser(unittest.TestCase):
    def test_an_athd_of_its_own_uid_serves_others_and_has_no_power_over_them(self):
        athd = Athd(arguments=["--system"])
        self.addCleanup(athd.__exit__)
        if not apart(lambda: os.access(os.path.join(BIN, "athd"), os.X_OK), ATH):
            self.skipTest(f"uid {ATH} may not run {BIN}/athd")
        athd.uid, athd.directory = ATH, "/"
        athd.configure({"socket_mode": "0666"})
        athd.tpm = athd.tpms.take(athd.state)
        for path, names, files in os.walk(athd.dir):
            for name in [path, *(os.path.join(path, entry) for entry in names + files)]:
                os.chown(name, ATH, ATH)
        os.chmod(athd.dir, 0o755)
        athd.start()
        key = call_as(ALICE, athd.socket, ("key.create", {"name": "agent", "role": "client", "agent_id": AGENT_ID}),
                      ("attestation.create", {"key": "agent", "audience": AUDIENCE}), ("agent.hello", {}))
        self.assertIn("jwt", key[1])
        self.assertEqual(key[2]["you"]["uid"], ALICE)
        self.assertEqual(call_as(ATH, athd.socket, ("key.list", {}))[0]["keys"], [])
        self.assertIn("errno", apart(lambda: os.listdir(athd.state), ALICE))
        self.assertEqual(call_as(ROOT_UID, athd.socket, ("key.get", {"name": "agent"}))[0]["reason"], "KEY_NOT_FOUND")
        self.assertNotIn("exe", key[2]["you"])  # another uid's process is closed to it, and it says so in no other way
        self.assertEqual(athd.read_log().count("level=error"), 0)
        grant = call_as(ALICE, athd.socket, ("grant.create", {"name": "travel", "keys": ["agent"]}))[0]
        self.assertIn("jwt", call_as(ALICE, grant["socket"], ("attestation.create", {"key": "agent", "audience": AUDIENCE}))[0])
        self.assertEqual(apart(lambda: os.stat(grant["socket"]).st_mode, BOB), {"errno": 13})


class Grants(SystemTest):
    """Sockets for agents: each uid's in a directory of its own, where nobody else gets to, and only that uid
    is served."""

    def grant(self, uid, name="g", **limits):
        return self.ask(uid, "grant.create", name=name, keys=["agent"], **limits)

    @staticmethod
    def first_line(uid, path):
        """What a caller of this uid is told that has said nothing yet."""
        return apart(lambda: first_line(path), uid)

    def process(self, uid):
        process = subprocess.Popen(["sleep", "300"], user=uid, group=uid, extra_groups=[])

        def end():
            process.kill()
            process.wait()
        self.addCleanup(end)
        return process

    def test_each_uids_serve_that_uid_alone(self):
        paths = {}
        for uid in (ALICE, BOB, ROOT_UID):
            self.key(uid)
            paths[uid] = self.grant(uid)["socket"]
            self.assertEqual(paths[uid], os.path.join(self.athd.dir, "grants", str(uid), "g", "agent.sock"))
            attested, hello = call_as(uid, paths[uid], ("attestation.create", {"key": "agent", "audience": AUDIENCE}),
                                      ("agent.hello", {}))
            self.assertIn("jwt", attested)
            self.assertEqual((hello["you"]["uid"], hello["grant"]["name"]), (uid, "g"))
            self.assertEqual(len(self.ask(uid, "grant.list")["grants"]), 1)
        for uid, path in paths.items():
            for other in {ALICE, BOB, ROOT_UID} - {uid}:
                answer = self.first_line(other, path)
                if other != ROOT_UID:
                    self.assertEqual(answer, {"errno": 13})
                    continue
                error = answer["error"]
                self.assertEqual((error["code"], error["data"]["reason"]), (-32001, "POLICY_DENIED"))
        self.assertEqual(self.ask(BOB, "grant.revoke", name="none")["reason"], "GRANT_NOT_FOUND")
        self.ask(BOB, "grant.revoke", name="g")
        self.assertEqual(len(self.ask(ALICE, "grant.list")["grants"]), 1)
        self.assertFalse(os.path.exists(paths[BOB]))

    def test_a_process_must_be_the_uids_own(self):
        self.key(ALICE)
        self.assertEqual(self.grant(ALICE, process=self.process(BOB).pid)["reason"], "INVALID_PARAMS")
        self.assertEqual(self.grant(ALICE, process=os.getpid())["reason"], "INVALID_PARAMS")
        self.assertIn("socket", self.grant(ALICE, process=self.process(ALICE).pid))

    def test_those_of_living_processes_outlive_a_kill(self):
        for uid in (ALICE, BOB):
            self.key(uid)
        path = self.grant(ALICE, process=self.process(ALICE).pid)["socket"]
        self.grant(BOB)
        self.athd.process.kill()
        self.athd.process.wait()
        self.athd.log_seen = len(self.athd.read_log())
        self.athd.connection.close()
        self.athd.start()
        self.assertEqual(len(self.ask(ALICE, "grant.list")["grants"]), 1)
        self.assertEqual(self.ask(BOB, "grant.list")["grants"], [])
        [hello] = call_as(ALICE, path, ("agent.hello", {}))
        self.assertEqual(hello["grant"]["name"], "g")
        self.assertEqual(self.first_line(BOB, path), {"errno": 13})
        self.assertEqual(os.listdir(os.path.join(self.athd.dir, "grants", str(BOB))), [])

class PlacesOfGrants(SystemTest):
    """Of a uid's grants another learns nothing at all."""

    def setUp(self):
        super().setUp()
        self.key(ALICE)
        self.grant = self.ask(ALICE, "grant.create", name="travel", keys=["agent"])
        self.assertIn("socket", self.grant)

    def test_nobody_else_gets_as_far_as_its_socket_or_learns_its_name(self):
        place = os.path.dirname(os.path.dirname(self.grant["socket"]))
        self.assertEqual(os.path.basename(place), str(ALICE))
        self.assertIn("jwt", call_as(ALICE, self.grant["socket"],
                                     ("attestation.create", {"key": "agent", "audience": AUDIENCE}))[0])
        self.assertEqual(apart(lambda: os.listdir(place), ALICE), ["travel"])
        for look in (lambda: os.listdir(place), lambda: os.listdir(os.path.dirname(place)),
                     lambda: os.stat(self.grant["socket"]).st_mode, lambda: os.stat(os.path.join(place, "none")).st_mode,
                     lambda: first_line(self.grant["socket"])):
            self.assertEqual(apart(look, BOB), {"errno": 13})

    def test_who_gets_to_it_all_the_same_is_refused(self):
        answer = first_line(self.grant["socket"])  # root, whom no directory keeps out
        self.assertEqual(answer["error"]["data"]["reason"], "POLICY_DENIED")
        self.assertNotIn("travel", answer["error"]["message"])

    def test_the_same_name_is_anothers_own(self):
        self.key(BOB)
        other = self.ask(BOB, "grant.create", name="travel", keys=["agent"])
        self.assertNotEqual(other["socket"], self.grant["socket"])
        self.assertNotIn("reason", self.ask(BOB, "grant.revoke", name="travel"))
        self.assertEqual([grant["name"] for grant in self.ask(ALICE, "grant.list")["grants"]], ["travel"])
        self.assertEqual(self.ask(BOB, "grant.revoke", name="travel")["reason"], "GRANT_NOT_FOUND")


if __name__ == "__main__":
    unittest.main()
