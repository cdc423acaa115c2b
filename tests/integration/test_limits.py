"""Every limit of docs/api.md, "Transport", with its error, and that one caller's excess is nobody
else's trouble. (The 30 s of a half-sent line: tests/unit/athd/test_connection.c.)"""
import contextlib
import errno
import json
import os
import resource
import select
import signal
import socket
import threading
import time
import unittest

from peer.agent import BIN, Athd
from peer.wire import (Wire, apart, children, descriptors, kill, memory, process, reason, request,
                       wait_for)

LINE_MAX = 262144
HELLO = request(1, "agent.hello")
AGENT_ID = "https://agent.example/a"
NOBODY = 65534


class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096) if hard > 0 else 4096, hard))
        cls.athd = Athd()
        # freed memory is not to be kept where sanitizers do that: some tests measure
        cls.athd.environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
        cls.athd.start()
        cls.athd.call("key.create", name="agent", role="client", agent_id=AGENT_ID)
        cls.athd.call("key.create", name="alice", role="user")

    @classmethod
    def tearDownClass(cls):
        status = cls.athd.stop()
        log = cls.athd.read_log()
        cls.athd.__exit__()
        assert status == 0 and "Sanitizer" not in log, log

    def setUp(self):
        self.wire = Wire(self.athd.socket)
        self.addCleanup(self.wire.close)

    def tearDown(self):
        self.assertEqual(self.athd.call("agent.hello")["server"], "athd")  # whatever was done to it

    def refused(self, answer, code, reason_text=None, number=None):
        self.assertEqual(answer["error"]["code"], code, answer)
        self.assertEqual(answer["id"], number, answer)
        self.assertTrue(answer["error"]["message"])
        if reason_text:
            self.assertEqual(reason(answer), reason_text)

    def is_fine(self, answer, number=1):
        self.assertEqual(answer["id"], number, answer)
        self.assertEqual(answer["result"]["server"], "athd")

    # ---- one line ----

    def padded(self, length, end=b"\n"):
        line = json.dumps(HELLO).encode()
        return line[:-1] + b" " * (length - len(line)) + b"}" + end

    def test_line_of_256_kib_is_served_and_a_longer_one_ends_the_connection(self):
        self.is_fine(self.wire.ask(self.padded(LINE_MAX)))
        self.is_fine(self.wire.ask(self.padded(LINE_MAX, b"\r\n")))
        self.refused(self.wire.ask(self.padded(LINE_MAX + 1)), -32012, "LIMIT_EXCEEDED")
        self.assertIsNone(self.wire.line())

    def test_line_without_end_is_refused_when_it_is_too_long_not_when_memory_is_full(self):
        before = memory(self.athd.process.pid)
        try:
            self.wire.send(b"[" * (16 << 20))
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.refused(self.wire.line(), -32012, "LIMIT_EXCEEDED")
        self.assertIsNone(self.wire.line())
        self.assertLess(memory(self.athd.process.pid) - before, 8 << 20)

    def test_what_was_asked_before_the_long_line_is_answered_too(self):
        self.wire.send(request(7, "attestation.create", key="agent", audience="https://x.example"),
                       b"x" * (LINE_MAX + 2))
        answers = self.wire.lines(2)
        self.assertEqual(sorted(answer["id"] or 0 for answer in answers), [0, 7])
        self.assertIsNone(self.wire.line())

    def test_line_without_its_end_counts_when_the_caller_has_said_all(self):
        self.wire.send(json.dumps(HELLO).encode())
        self.wire.end_of_writing()
        self.is_fine(self.wire.line())
        self.assertIsNone(self.wire.line())

    def test_bytes_may_come_one_at_a_time(self):
        for byte in json.dumps(HELLO).encode() + b"\r\n":
            self.wire.send(bytes([byte]))
        self.is_fine(self.wire.line())

    def test_empty_lines_are_nothing(self):
        self.is_fine(self.wire.ask(b"\n\r\n\n" * 10000, HELLO))

    def nested(self, depth):
        """A message of that depth: its object and params are two of them."""
        return (b'{"jsonrpc":"2.0","id":1,"method":"agent.hello","params":{"x":' + b"[" * (depth - 2) +
                b"]" * (depth - 2) + b"}}\n")

    def test_depth_of_32_is_read_and_of_33_refused(self):
        self.refused(self.wire.ask(self.nested(32)), -32602, number=1)  # no such parameter
        self.refused(self.wire.ask(self.nested(33)), -32012, "LIMIT_EXCEEDED")
        self.refused(self.wire.ask(self.nested(100000)), -32012, "LIMIT_EXCEEDED")
        self.is_fine(self.wire.ask(HELLO))

    def test_what_is_no_json_is_told_and_the_connection_goes_on(self):
        hello = json.dumps(HELLO).encode()
        for line in (b"garbage", b"{", b"}", b"\x00", bytes(range(128, 256)), b"\x7fELF" + os.urandom(64).replace(b"\n", b" "),
                     b"\xef\xbb\xbf" + hello, hello + hello, hello + b"x", b"'" + hello + b"'",
                     hello[:-1] + b",}", b"nul", b"\xff\xfe{\x00}\x00", b"GET / HTTP/1.1",
                     hello.replace(b'"id": 1', b'"id": 01'), hello.replace(b'"id": 1', b'"id": +1'),
                     hello.replace(b'"id": 1', b'"id": .5'), hello.replace(b'"id": 1', b'"id": 0x1')):
            with self.subTest(line=line):
                self.refused(self.wire.ask(line + b"\n"), -32700)
        self.is_fine(self.wire.ask(HELLO))

    def test_what_two_readers_would_read_differently_is_refused(self):
        for client in (b'"x","client":"y"', b'NaN', b'Infinity', b'"\xff"', b'"\xc0\xaf"',
                       b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\x01"', b'"\t"', b'"\xf4\x90\x80\x80"',
                       b'{"a":1,"\\u0061":2}'):
            with self.subTest(client=client):
                answer = self.wire.ask(b'{"jsonrpc":"2.0","id":1,"method":"agent.hello","params":{"client":' +
                                       client + b"}}\n")
                self.assertIn(answer["error"]["code"], (-32700, -32600), answer)
                self.assertIsNone(answer["id"])
        self.is_fine(self.wire.ask(HELLO))

    def test_a_number_that_is_not_whole_or_too_large_is_refused(self):
        for client in (b"-0", b"1e3", b"1.5", b"1E+2", b"123456789012345678901", b"9007199254740993"):
            with self.subTest(client=client):
                self.refused(self.wire.ask(b'{"jsonrpc":"2.0","id":1,"method":"agent.hello","params":{"client":' +
                                           client + b"}}\n"), -32602, number=1)
        self.is_fine(self.wire.ask(HELLO))

    def test_an_object_of_many_members_is_refused(self):
        members = ",".join(f'"m{n}":1' for n in range(2000))
        self.refused(self.wire.ask(b"{" + members.encode() + b"}\n"), -32012, "LIMIT_EXCEEDED")

    def test_message_that_is_no_request_is_told_so(self):
        for message in (1, "x", None, True, {}, {"jsonrpc": "2.0", "id": 1}, {**HELLO, "jsonrpc": "1.0"},
                        {**HELLO, "jsonrpc": 2}, {**HELLO, "method": 1}, {**HELLO, "id": {}}, {**HELLO, "id": [1]},
                        {**HELLO, "id": True}, {**HELLO, "id": "x" * 257}):
            with self.subTest(message=message):
                answer = self.wire.ask(message)
                self.assertEqual(answer["error"]["code"], -32600, answer)
        self.refused(self.wire.ask({**HELLO, "params": [1]}), -32602, number=1)
        self.refused(self.wire.ask({**HELLO, "params": 1}), -32602, number=1)
        self.refused(self.wire.ask({**HELLO, "method": "no.such"}), -32601, number=1)
        self.refused(self.wire.ask({**HELLO, "method": "x\ny" + "z" * 100000}), -32601, number=1)

    def test_id_comes_back_as_it_was(self):
        for number in (0, -1, 1, 2**53 - 1, -2**53 + 1, "", "x", "é\u202e\"\\\n\u0001x", "x" * 256, None):
            with self.subTest(id=number):
                self.is_fine(self.wire.ask({**HELLO, "id": number}), number)

    # ---- batches, notifications ----

    def test_batch_of_64_is_answered_and_of_65_refused(self):
        answers = self.wire.ask([{**HELLO, "id": n} for n in range(64)])
        self.assertEqual(sorted(answer["id"] for answer in answers), list(range(64)))
        self.refused(self.wire.ask([{**HELLO, "id": n} for n in range(65)]), -32012, "LIMIT_EXCEEDED")
        self.refused(self.wire.ask([]), -32600)

    def test_batch_with_errors_answers_each(self):
        answers = self.wire.ask([HELLO, {**HELLO, "id": 2, "method": "no.such"}, 5, [], {"jsonrpc": "2.0", "method": "agent.hello"},
                                 {**HELLO, "id": 3, "params": []}, {"jsonrpc": "2.0", "method": "no.such"},
                                 request(4, "attestation.create", key="agent", audience="https://x.example"),
                                 request(5, "attestation.create", key="none", audience="https://x.example")])
        by_id = {}
        for answer in answers:
            by_id.setdefault(answer["id"], []).append(answer.get("error", {}).get("code"))
        self.assertEqual(by_id, {1: [None], 2: [-32601], None: [-32600, -32600], 3: [-32602], 4: [None], 5: [-32003]})

    def test_what_has_no_id_is_carried_out_and_not_answered(self):
        notification = {"jsonrpc": "2.0", "method": "peer.remove", "params": {"did": "did:web:no.example"}}
        create = {"jsonrpc": "2.0", "method": "key.create", "params": {"name": "quiet", "role": "server"}}
        self.wire.send(notification, [notification, notification], create, b"[" + json.dumps(notification).encode() + b"]\n")
        self.is_fine(self.wire.ask(HELLO))
        wait_for(lambda: any(key["name"] == "quiet" for key in self.athd.call("key.list")["keys"]))
        self.athd.call("key.delete", name="quiet")

    # ---- many ----

    def test_129th_request_in_flight_is_refused_at_once_and_128_are_answered(self):
        helper = process(self.athd, "ath-hsm-helper")
        kill(helper, signal.SIGSTOP)
        try:
            self.wire.send(*(request(n, "attestation.create", key="agent", audience="https://x.example")
                             for n in range(130)))
            for number in (128, 129):
                self.refused(self.wire.line(), -32012, "LIMIT_EXCEEDED", number)
            with Wire(self.athd.socket) as other:
                self.is_fine(other.ask(HELLO))
        finally:
            kill(helper, signal.SIGCONT)
        answers = self.wire.lines(128)
        self.assertEqual(sorted(answer["id"] for answer in answers), list(range(128)))
        self.assertTrue(all("jwt" in answer["result"] for answer in answers))
        self.is_fine(self.wire.ask(HELLO))

    def test_1025th_connection_of_a_uid_is_told_so(self):
        self.is_fine(self.wire.ask(HELLO))
        before = descriptors(self.athd.process.pid)
        wires = [Wire(self.athd.socket) for _ in range(1022)]  # with self.wire and the fixture's own
        try:
            for wire in (wires[0], wires[-1], self.wire):
                self.is_fine(wire.ask(HELLO))
            extra = Wire(self.athd.socket)
            self.refused(extra.line(), -32012, "LIMIT_EXCEEDED")
            self.assertIsNone(extra.line())
            extra.close()
            wires.pop().close()
            wait_for(lambda: self.is_served())
        finally:
            for wire in wires:
                wire.close()
        wait_for(lambda: descriptors(self.athd.process.pid) <= before)

    def is_served(self):
        with Wire(self.athd.socket) as wire:
            try:
                wire.send(HELLO)
                return "result" in (wire.line() or {})
            except OSError:
                return False

    def test_caller_that_does_not_read_is_paused_and_gets_all_when_it_does(self):
        before = memory(self.athd.process.pid)
        line = json.dumps(HELLO).encode() + b"\n"
        data = line * 200000  # 14 MB; the answers would be ten times that
        sent = self.wire.send_until_blocked(data)
        self.assertLess(sent, len(data))
        self.assertLess(memory(self.athd.process.pid) - before, 8 << 20)
        with Wire(self.athd.socket) as other:
            self.is_fine(other.ask(HELLO))
        rest = len(line) - sent % len(line)
        whole = (sent + rest) // len(line)
        reader = threading.Thread(target=lambda: self.wire.send(line[-rest:]))
        reader.start()
        for _ in range(whole):
            self.assertEqual(self.wire.line()["id"], 1)
        reader.join()
        self.is_fine(self.wire.ask(HELLO))

    def test_caller_that_does_not_read_is_cut_off_at_1_mib(self):
        before = memory(self.athd.process.pid)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # cut off before it has sent the last
            self.wire.send(*(request(n, "attestation.create", key="agent", audience="https://x.example",
                                     capabilities=["c" * 200] * 64) for n in range(128)))
        wait_for(lambda: "event=cut-off" in self.athd.read_log())
        with Wire(self.athd.socket) as other:
            self.is_fine(other.ask(HELLO))
        self.assertLess(memory(self.athd.process.pid) - before, 16 << 20)
        answers = 0
        while self.wire.line() is not None:
            answers += 1
        self.assertLess(answers, 128)

    def test_50_callers_that_do_not_read_hold_up_nobody(self):
        flood = b"".join(json.dumps(line).encode() + b"\n" for line in (
            HELLO, request(2, "attestation.create", key="agent", audience="https://x.example"))) * 2000
        calm = apart(self.slowest_of_50)  # on this machine, as busy as it is
        wires = [Wire(self.athd.socket, receive_buffer=4096) for _ in range(50)]
        try:
            for wire in wires:
                wire.socket.setblocking(False)
                try:
                    wire.socket.send(flood)
                except BlockingIOError:
                    pass
            self.assertLess(apart(self.slowest_of_50), 30 + 10 * calm)  # 100,000 are before it
        finally:
            for wire in wires:
                wire.close()

    def slowest_of_50(self):
        """Signatures for another process: its turn comes whatever one process has queued."""
        slowest = 0
        with Wire(self.athd.socket) as wire:
            for _ in range(50):
                began = time.monotonic()
                answer = wire.ask(request(1, "attestation.create", key="agent", audience="https://x.example"))
                assert "result" in answer, answer
                slowest = max(slowest, time.monotonic() - began)
        return slowest

    def test_many_questions_beyond_those_that_may_be_open_are_refused(self):
        self.athd.answers("# not yet")  # it never answers CONFIRM
        try:
            wires = [Wire(self.athd.socket) for _ in range(4)]
            question = {"key": "alice", "client": self.athd.call("key.get", name="agent")["did"],
                        "scopes": ["a"], "ttl": 60}
            lines = [request(n, "credential.issue", **question) for n in range(128)]
            for wire in wires:
                wire.send(*lines)
            refusals = [answer for wire in wires for answer in wire.lines_so_far()]
            while len(refusals) < 4 * 128 - 64:
                select.select([wire.socket for wire in wires], [], [], 60)
                refusals += [answer for wire in wires for answer in wire.lines_so_far()]
            self.assertEqual({reason(answer) for answer in refusals}, {"LIMIT_EXCEEDED"})
            self.assertEqual(self.athd.call("agent.hello")["server"], "athd")
        finally:
            for wire in wires:
                wire.close()
            self.athd.answers("OK")
        wait_for(lambda: len(children(self.athd.process.pid)) == 1)  # no prompter is left

    def test_records_that_are_too_long_are_refused_however_many_come(self):
        wires = [Wire(self.athd.socket) for _ in range(4)]
        lines = [request(n, "attestation.create", key="agent", audience=["https://x.example"] + ["a" * 5000] * 15)
                 for n in range(128)]
        threads = [threading.Thread(target=wire.send, args=lines) for wire in wires]
        for thread in threads:
            thread.start()
        for wire in wires:
            for answer in wire.lines(128):
                self.assertIn("error", answer)
        for thread in threads:
            thread.join()
        for wire in wires:
            wire.close()


@unittest.skipUnless(os.geteuid() == 0, "only root can be somebody else")
class OtherUsers(unittest.TestCase):
    """On a socket that others may connect to, as systemd could hand it over, they are refused by uid."""

    def client_as(self, uid, path, *methods):
        def client():
            with Wire(path) as wire:
                return [wire.ask(request(1, method)) for method in methods]
        return apart(client, uid)

    def athd_of(self, uid):
        """One that listens, as from systemd, at a place that all can reach."""
        athd = Athd(own_tpm=True)
        self.addCleanup(athd.__exit__)
        os.makedirs(athd.state, 0o700)
        os.chown(athd.state, uid, uid)
        os.chown(athd.dir, uid, uid)
        os.chmod(athd.dir, 0o755)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(athd.socket)
            listener.listen(16)
            os.chmod(athd.socket, 0o666)
            self.start(athd, listener.fileno(), uid)
        wait_for(lambda: "ready socket=" in athd.read_log())
        return athd

    def start(self, athd, listener, uid):
        program = os.path.join(BIN, "athd")
        log = os.open(athd.log, os.O_WRONLY | os.O_CREAT, 0o644)
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.dup2(log, 2)
            os.dup2(listener, 3)
            os.set_inheritable(3, True)
            os.closerange(4, 1024)
            os.execve(program, [program, "--hsm", "tpm:device=/dev/none", "--state-dir", athd.state],
                      {"PATH": os.environ["PATH"], "XDG_CONFIG_HOME": athd.dir, "LISTEN_FDS": "1",
                       "LISTEN_PID": str(os.getpid()), "XDG_RUNTIME_DIR": athd.dir})
        os.close(log)
        athd.process = Forked(pid)

    def check(self, owner, stranger):
        program = os.path.join(BIN, "athd")
        if not apart(lambda: os.access(program, os.X_OK), owner):
            self.skipTest(f"uid {owner} may not run {program}")
        athd = self.athd_of(owner)
        answers = self.client_as(stranger, athd.socket, "agent.hello", "key.list", "key.create", "no.such")
        self.assertEqual([answer["error"]["code"] for answer in answers], [-32001, -32001, -32602, -32601])
        self.assertEqual(reason(answers[0]), "POLICY_DENIED")
        self.assertIn("missing", answers[0]["error"]["data"])
        answers = self.client_as(owner, athd.socket, "agent.hello")
        self.assertEqual(answers[0]["result"]["you"]["uid"], owner)

    def test_nobody_is_refused_by_roots_athd(self):
        self.check(0, NOBODY)

    def test_root_is_refused_by_anothers_athd(self):
        self.check(NOBODY, 0)

    def test_another_user_does_not_reach_athds_own_socket(self):
        with Athd() as athd:
            self.assertEqual(self.client_as(NOBODY, athd.socket, "agent.hello"), {"errno": errno.EACCES})
            os.chmod(athd.dir, 0o755)  # the socket alone keeps them out as well
            self.assertEqual(self.client_as(NOBODY, athd.socket, "agent.hello"), {"errno": errno.EACCES})


class Forked:
    """What Athd needs of a subprocess.Popen."""

    def __init__(self, pid):
        self.pid = pid

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, _timeout=None):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


if __name__ == "__main__":
    unittest.main()
