"""Hardware that dies or hangs, disks that are full, state that cannot be read, ends in the middle of
work: a clear error for whom it concerns, nothing lost, everybody else served."""
import json
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
import unittest

from peer import jws
from peer.agent import BIN, Athd, Connection, Failed
from peer.keys import Key, PublicKey
from peer.pin_case import requests_come
from peer.transcript import now, random_id
from peer.wire import Wire, is_running, kill, open_files, process, reason, request, wait_for

AUDIENCE = "https://api.example"
AGENT_ID = "https://agent.example/a.json"
SIGN = {"key": "agent", "audience": AUDIENCE}


class FaultTest(unittest.TestCase):
    arguments = ()

    def setUp(self):
        self.athd = self.new(*self.arguments)

    def new(self, *arguments, **more):
        athd = Athd(arguments=arguments, **more)
        self.addCleanup(self.end, athd)
        athd.start()
        return athd

    def end(self, athd):
        try:
            if athd.process and athd.process.poll() is None:
                self.assertEqual(athd.stop(), 0, athd.read_log())
            self.assertNotIn("Sanitizer", athd.read_log())
        finally:
            athd.__exit__()

    def create_agent(self, athd=None):
        info = (athd or self.athd).call("key.create", name="agent", role="client", agent_id=AGENT_ID)
        self.key = PublicKey.from_jwk(info["public_jwk"])
        return info

    def audit(self, athd=None):
        with open(os.path.join((athd or self.athd).state, "audit", "00000001.jsonl"), encoding="utf-8") as file:
            records = [json.loads(line) for line in file if line.endswith("\n")]
        self.assertEqual([record["index"] for record in records], list(range(len(records))))
        return records

    def check_signed(self, answers, athd=None):
        """Each verifies and has its record."""
        issued = {record.get("jti") for record in self.audit(athd)}
        for answer in answers:
            claims, _ = jws.read(answer["jwt"], "JWT", self.key)
            self.assertIn(claims["jti"], issued)

    def refused(self, reason_text, method, **params):
        with self.assertRaises(Failed) as caught:
            self.athd.call(method, **params)
        self.assertEqual(caught.exception.reason, reason_text, caught.exception)
        return caught.exception

    def hsm(self):
        return self.athd.call("agent.status")["hsms"][0]


class Hardware(FaultTest):
    def test_each_killed_helper_and_tpm_is_one_retry_for_128_waiting_requests(self):
        self.create_agent()
        signed = []
        for victim in ("ath-hsm-helper", "swtpm") * 3:
            pid = process(self.athd, victim)
            with Wire(self.athd.socket) as wire:
                wire.send(*(request(n, "attestation.create", **SIGN) for n in range(128)))
                first = wire.line()
                kill(pid)
                answers = [first, *wire.lines(127)]
            self.assertEqual({reason(answer) for answer in answers}, {None}, self.athd.read_log())
            signed += [answer["result"] for answer in answers]
        self.check_signed(signed)
        self.assertEqual(len({answer["jti"] for answer in signed}), len(signed))
        self.assertEqual(self.athd.call("agent.status")["counters"]["helper_restarts"], 6)

    def test_key_that_was_being_made_is_made_once(self):
        self.athd.wait_for_hsm()
        with Wire(self.athd.socket) as wire:
            wire.send(*(request(n, "key.create", name=f"k{n}", role="client") for n in range(20)))
            first = wire.line()
            kill(process(self.athd, "swtpm"))
            answers = [first, *wire.lines(19)]
        self.assertEqual({reason(answer) for answer in answers}, {None}, self.athd.read_log())
        self.assertEqual(self.athd.call("agent.status")["keys"], 20)

    def test_who_dies_at_once_is_started_ever_more_rarely(self):
        self.athd.stop()
        self.athd.arguments = ["--hsm", "tpm:device=/dev/null", "--log-level", "debug"]
        began = time.monotonic()
        self.athd.start()  # a second hsm; the software TPM stays the first
        time.sleep(1.2)
        wait_for(lambda: self.athd.read_log().count("program=") >= 5)
        starts = self.athd.read_log().count("program=") - 1  # one is the software TPM's
        # two at once, and each later than the one before by 50 ms, 100 ms, 200 ms ...
        self.assertLessEqual(0.05 * (2 ** (starts - 2) - 1), time.monotonic() - began)
        self.create_agent()
        self.athd.call("attestation.create", **SIGN)
        other = self.athd.call("agent.status")["hsms"][1]
        self.assertIn(other["state"], ("absent", "failed"))
        self.assertIn("/dev/null", other["message"])

    def test_hanging_tpm_and_helper_are_replaced_and_nobody_else_waits(self):
        """Three at once, since each takes the ten seconds after which a helper counts as hanging: one
        whose TPM hangs, one whose helper hangs, one that is told to end meanwhile."""
        self.create_agent()
        second, third = self.new(), self.new()
        keys = {self.athd: self.key}
        for athd in (second, third):
            self.create_agent(athd)
            keys[athd] = self.key
        stopped = [(self.athd, process(self.athd, "swtpm")), (second, process(second, "ath-hsm-helper")),
                   (third, process(third, "ath-hsm-helper"))]
        wires = {}
        for athd, pid in stopped:
            kill(pid, signal.SIGSTOP)
            wires[athd] = Wire(athd.socket)
            self.addCleanup(wires[athd].close)
            come = requests_come(athd, 8)
            wires[athd].send(*(request(n, "attestation.create", **SIGN) for n in range(8)))
            come()
            self.assertNotIn("hangs", athd.read_log(), "what athd itself does has waited for the hardware")
            if athd is third:
                self.assertEqual(third.stop(), 0)  # what cannot be finished in five seconds is not
                self.assertNotIn("hangs", athd.read_log())
                self.assertEqual({reason(answer) for answer in wires[third].lines(8)}, {"HSM_UNAVAILABLE"})
                continue
            for _ in range(20):
                athd.call("key.list")
                athd.call("attestation.verify", jwt=self.attestation(), audience=AUDIENCE, public_key=self.verifier.pem)
        for athd in (self.athd, second):
            answers = wires[athd].lines(8)
            self.assertEqual({reason(answer) for answer in answers}, {None}, athd.read_log())
            self.key = keys[athd]
            self.check_signed([answer["result"] for answer in answers], athd)
            self.assertIn("hangs", athd.read_log())
        for _, pid in stopped:
            wait_for(lambda pid=pid: not is_running(pid))

    verifier = Key()

    def attestation(self):
        stamp = now()
        return jws.make(self.verifier, "JWT", {"iss": AGENT_ID, "sub": AGENT_ID, "aud": AUDIENCE, "iat": stamp,
                                               "exp": stamp + 600, "jti": random_id()})


class SoftwareTpm(FaultTest):
    def test_missing_program_is_said_and_everything_else_works(self):
        self.athd.stop()
        self.athd.environment = {"PATH": "/nonexistent"}
        self.athd.start()
        wait_for(lambda: self.hsm().get("message", "").find("started") < 0)
        hsm = self.hsm()
        self.assertIn(hsm["state"], ("absent", "failed"))
        self.assertIn("swtpm", hsm["message"])
        self.assertEqual(self.athd.call("key.list"), {"keys": []})

    def corrupt(self, change):
        self.create_agent()
        self.athd.stop()
        change(os.path.join(self.athd.state, "swtpm"))
        self.athd.start()
        wait_for(lambda: self.hsm()["state"] in ("failed", "absent") and "being started" not in self.hsm()["message"])
        self.assertEqual([key["name"] for key in self.athd.call("key.list")["keys"]], ["agent"])
        return self.hsm()

    def test_corrupt_state_is_an_absent_tpm_and_is_not_written_over(self):
        garbage = b"garbage" * 1000

        def change(path):
            with open(os.path.join(path, "tpm2-00.permall"), "wb") as file:
                file.write(garbage)
        self.assertTrue(self.corrupt(change)["message"])
        time.sleep(0.5)
        with open(os.path.join(self.athd.state, "swtpm", "tpm2-00.permall"), "rb") as file:
            self.assertEqual(file.read(), garbage)

    def test_state_that_is_not_ours_is_said(self):
        self.assertIn("chmod go-w", self.corrupt(lambda path: os.chmod(path, 0o777))["message"])

    def test_state_that_is_no_directory_is_said(self):
        def change(path):
            shutil.rmtree(path)
            with open(path, "w", encoding="utf-8"):
                pass
        self.assertIn("directory", self.corrupt(change)["message"])

    def test_another_tpm_in_its_place_refuses_the_keys_and_says_why(self):
        self.create_agent()
        other = self.new()
        other.wait_for_hsm()
        other.stop()
        self.athd.stop()
        shutil.rmtree(os.path.join(self.athd.state, "swtpm"))
        shutil.copytree(os.path.join(other.state, "swtpm"), os.path.join(self.athd.state, "swtpm"))
        self.athd.start()
        error = self.refused("HSM_ERROR", "attestation.create", **SIGN)
        self.assertTrue(error.message)
        self.athd.call("key.create", name="new", role="client", agent_id=AGENT_ID)
        self.athd.call("attestation.create", key="new", audience=AUDIENCE)


class FullDisk(FaultTest):
    """A file system that is full, or where mounts are not allowed a limit of file lengths."""

    def setUp(self):
        self.athd = Athd()
        self.addCleanup(self.end, self.athd)
        self.is_mounted = False
        os.makedirs(self.athd.state, 0o700)
        if os.geteuid() == 0:
            mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "ath-test", self.athd.state],
                                   capture_output=True, check=False)
            self.is_mounted = mount.returncode == 0
        if self.is_mounted:
            self.addCleanup(subprocess.run, ["umount", "-l", self.athd.state], check=False)
            self.addCleanup(self.athd.stop)
        self.athd.tpm = self.athd.tpms.take(self.athd.state)
        self.athd.start()

    def fill(self):
        if not self.is_mounted:
            self.limit_files(0)
            return
        with open(os.path.join(self.athd.state, "filler"), "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def make_room(self):
        if self.is_mounted:
            os.unlink(os.path.join(self.athd.state, "filler"))
        else:
            self.limit_files(resource.RLIM_INFINITY)

    def limit_files(self, limit):
        resource.prlimit(self.athd.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def check(self):
        self.create_agent()
        self.athd.call("key.create", name="shop", role="server")
        service = {"name": "mail", "key": "shop", "scopes_supported": ["a"], "token_max_ttl": 60,
                   "require_user_confirmation": False, "agents": {}, "users": {}}
        self.athd.call("service.put", **service)
        before = [self.athd.call("attestation.create", **SIGN) for _ in range(3)]
        size = len(self.audit())
        verify = {"jwt": before[0]["jwt"], "audience": AUDIENCE, "public_key": self.key.pem}
        self.fill()
        while True:  # the last page of the log takes some more
            try:
                before.append(self.athd.call("attestation.create", **SIGN))
            except Failed as failed:
                self.assertEqual((failed.code, failed.reason), (-32008, "AUDIT_UNAVAILABLE"))
                break
        for method, params in (("key.create", {"name": "new", "role": "client"}), ("attestation.verify", verify),
                               ("service.put", {**service, "token_max_ttl": 61}),
                               ("peer.pin", {"did": Key().did("server"), "name": "x"})):
            with self.subTest(method):
                with self.assertRaises(Failed) as caught:
                    self.athd.call(method, **params)
                self.assertIn(caught.exception.code, (-32603, -32008), caught.exception)
                self.assertTrue(caught.exception.message)
        self.assertEqual(self.athd.call("agent.hello")["server"], "athd")
        self.assertEqual(sorted(key["name"] for key in self.athd.call("key.list")["keys"]), ["agent", "shop"])
        self.assertEqual(self.athd.call("service.list")["services"][0]["token_max_ttl"], 60)
        for _ in range(20):
            self.refused("AUDIT_UNAVAILABLE", "attestation.create", **SIGN)
        self.make_room()
        after = [self.athd.call("attestation.create", **SIGN) for _ in range(3)]  # by itself
        self.athd.call("attestation.verify", **verify)  # the use that was not written was none
        self.refused("REPLAYED", "attestation.verify", **verify)
        self.athd.call("key.create", name="new", role="client")
        self.athd.call("service.put", **{**service, "token_max_ttl": 61})
        self.check_signed(before + after)
        self.assertEqual(self.athd.stop(), 0)
        records = self.audit()
        self.assertGreaterEqual(len(records), size + len(after))
        self.athd.start()
        self.assertEqual(self.athd.call("agent.status")["damaged"], [])
        self.assertEqual(self.audit()[:len(records)], records)
        self.refused("REPLAYED", "attestation.verify", **verify)

    def test_nothing_leaves_without_its_record_and_it_goes_on_when_there_is_room(self):
        self.check()

    def test_the_same_where_files_may_not_grow(self):
        self.is_mounted, mounted = False, self.is_mounted
        try:
            self.check()
        finally:
            self.is_mounted = mounted


class UnreadableState(FaultTest):
    def write(self, name, text, mode=0o600):
        path = os.path.join(self.athd.state, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def restart(self):
        self.athd.stop()
        self.athd.start()

    def damaged(self):
        return {item["file"]: item["message"] for item in self.athd.call("agent.status")["damaged"]}

    def test_each_file_that_cannot_be_used_is_named_and_the_others_are(self):
        self.create_agent()
        self.athd.call("key.create", name="shop", role="server")
        self.athd.call("key.create", name="lent", role="client")
        self.athd.stop()
        keys = os.path.join(self.athd.state, "keys")
        with open(os.path.join(keys, "agent.json"), encoding="utf-8") as file:
            good = file.read()
        self.write("keys/garbage.json", "not JSON")
        self.write("keys/empty.json", "")
        self.write("keys/list.json", "[]")
        self.write("keys/cut.json", good[:len(good) // 2])
        self.write("keys/other.json", good)  # another name's
        self.write("keys/nopem.json", good.replace('"agent"', '"nopem"'))
        self.write("keys/huge.json", "[" + "1," * 600000 + "1]")
        self.write("keys/deep.json", "[" * 100000)
        self.write("services/mail.json", "{}")
        self.write("peers/x.json", "\x00\x01")
        self.write("credentials/x.json", "{}")
        os.chmod(os.path.join(keys, "lent.json"), 0o666)
        os.symlink("agent.json", os.path.join(keys, "link.json"))
        os.mkdir(os.path.join(keys, "dir.json"))
        os.mkfifo(os.path.join(keys, "fifo.json"))
        listed = ["keys/garbage.json", "keys/empty.json", "keys/list.json", "keys/cut.json", "keys/other.json",
                  "keys/nopem.json", "keys/huge.json", "keys/deep.json", "services/mail.json", "peers/x.json",
                  "credentials/x.json", "keys/lent.json", "keys/link.json", "keys/dir.json", "keys/fifo.json"]
        if os.geteuid() == 0:
            os.chown(self.write("keys/foreign.json", good), 65534, 65534)
            listed.append("keys/foreign.json")
        self.athd.start()
        damaged = self.damaged()
        self.assertEqual(sorted(damaged), sorted(listed))
        self.assertTrue(all(damaged.values()), damaged)
        self.assertIn("others may write", damaged["keys/lent.json"])
        self.assertEqual(sorted(key["name"] for key in self.athd.call("key.list")["keys"]), ["agent", "shop"])
        self.athd.call("attestation.create", **SIGN)
        for name in ("garbage", "link", "dir", "lent"):  # what may be mended is not written over
            self.refused("KEY_EXISTS", "key.create", name=name, role="client")
        with open(os.path.join(keys, "garbage.json"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "not JSON")
        shown = subprocess.run([os.path.join(BIN, "ath"), "--socket", self.athd.socket, "status"], check=True,
                               capture_output=True, text=True)
        self.assertIn("keys/garbage.json", shown.stdout + shown.stderr)

    def test_damaged_key_says_so_when_it_is_used(self):
        self.create_agent()
        self.athd.stop()
        self.write("keys/agent.pem", "-----BEGIN TSS2 PRIVATE KEY-----\nAAAA\n-----END TSS2 PRIVATE KEY-----\n")
        self.athd.start()
        with self.assertRaises(Failed) as caught:
            self.athd.call("attestation.create", **SIGN)
        self.assertTrue(caught.exception.message)
        self.athd.call("key.create", name="other", role="client", agent_id=AGENT_ID)
        self.athd.call("attestation.create", key="other", audience=AUDIENCE)

    def test_torn_line_of_the_log_is_cut_off_and_the_numbers_go_on(self):
        self.create_agent()
        self.athd.call("attestation.create", **SIGN)
        self.athd.stop()
        path = os.path.join(self.athd.state, "audit", "00000001.jsonl")
        whole = self.audit()
        with open(path, "ab") as file:
            file.write(b'{"index":%d,"timestamp":"2026-0' % len(whole))
        self.athd.start()
        self.athd.call("attestation.create", **SIGN)
        self.assertEqual(self.audit()[:len(whole)], whole)
        self.assertGreater(len(self.audit()), len(whole))

    def test_attestations_are_refused_while_it_is_not_known_which_were_used(self):
        self.create_agent()
        made = [self.athd.call("attestation.create", **SIGN) for _ in range(2)]
        used, unused = ({"jwt": one["jwt"], "audience": AUDIENCE, "public_key": self.key.pem} for one in made)
        self.athd.call("attestation.verify", **used)
        self.athd.stop()
        folder = os.path.join(self.athd.state, "replay")
        [name] = os.listdir(folder)
        os.chmod(os.path.join(folder, name), 0o622)
        self.athd.start()
        self.assertEqual(list(self.damaged()), [f"replay/{name}"])
        self.refused("INTERNAL_ERROR", "attestation.verify", **used)
        self.refused("INTERNAL_ERROR", "attestation.verify", **unused)
        self.athd.call("attestation.create", **SIGN)
        os.chmod(os.path.join(folder, name), 0o600)
        self.restart()
        self.refused("REPLAYED", "attestation.verify", **used)
        self.athd.call("attestation.verify", **unused)

    def start_fails(self, expected):
        self.athd.log_seen = len(self.athd.read_log())
        self.athd.spawn()
        self.assertEqual(self.athd.process.wait(60), 1)
        self.athd.process = None
        self.assertIn(expected, self.athd.read_log()[self.athd.log_seen:])

    def test_directories_that_others_may_change_are_refused(self):
        self.athd.stop()
        for name in ("keys", "audit", "replay", "peers", "."):
            path = os.path.join(self.athd.state, name)
            os.chmod(path, 0o770)
            self.start_fails("others may write to")
            os.chmod(path, 0o700)
        self.athd.start()

    def test_socket_directory_that_others_may_change_is_refused(self):
        self.athd.stop()
        os.chmod(self.athd.dir, 0o777)
        self.start_fails("others may write to")
        os.chmod(self.athd.dir, 0o700)
        if os.geteuid() == 0:
            os.chown(self.athd.dir, 65534, 65534)
            self.start_fails("belongs to uid 65534")
            os.chown(self.athd.dir, 0, 0)
        self.athd.start()

    def test_what_lies_in_the_sockets_place_is_not_removed_unless_it_is_a_dead_socket(self):
        self.athd.stop()
        with open(self.athd.socket, "w", encoding="utf-8") as file:
            file.write("mine")
        self.start_fails("in the way")
        with open(self.athd.socket, encoding="utf-8") as file:
            self.assertEqual(file.read(), "mine")
        os.unlink(self.athd.socket)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.athd.socket)
        self.athd.start()
        self.assertEqual(stat.S_IMODE(os.stat(self.athd.socket).st_mode), 0o600)


class Surroundings(FaultTest):
    def test_log_that_nobody_reads_holds_up_nobody(self):
        self.athd.stop()
        read, write = os.pipe()
        with subprocess.Popen([os.path.join(BIN, "athd"), "--hsm", "tpm:device=/dev/none", "--state-dir", self.athd.state,
                               "--socket", self.athd.socket, "--log-level", "debug"], stderr=write) as athd:
            os.close(write)
            with os.fdopen(read, "rb") as log:
                while b"ready socket=" not in log.readline():
                    pass
                with Wire(self.athd.socket) as wire:
                    for _ in range(40):  # each refusal is a line of the log: four times what the pipe takes
                        wire.send(*(request(n, "key.get", name="none") for n in range(100)))
                        self.assertEqual({reason(answer) for answer in wire.lines(100)}, {"KEY_NOT_FOUND"})
                    os.set_blocking(log.fileno(), False)
                    rest = log.read() or b""
                    wire.ask(request(1, "key.get", name="none"))
                self.assertIn(b"lines were lost", rest + (log.read() or b""))
                os.set_blocking(log.fileno(), True)
                athd.send_signal(signal.SIGTERM)
                log.read()
        self.assertEqual(athd.returncode, 0)

    def leave_no_descriptor_free(self, pid, hard_limit):
        """The limit is the first number that is not in use; one that was in use only for a moment makes it lower."""
        def is_full():
            open_files(pid)  # skips the test where nobody may look
            used = {int(number) for number in os.listdir(f"/proc/{pid}/fd")}
            free = next(number for number in range(len(used) + 1) if number not in used)
            is_so = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] == free
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, hard_limit))
            self.athd.call("key.get", name="agent")
            return is_so
        wait_for(is_full)

    def test_no_descriptors_left_is_an_error_and_passes(self):
        """As if others had taken them all: connections are refused, what is open goes on."""
        info = self.create_agent()
        self.athd.call("attestation.create", **SIGN)
        self.athd.call("key.create", name="alice", role="user")
        self.athd.call("key.create", name="shop", role="server")
        service = {"name": "mail", "key": "shop", "scopes_supported": ["a"], "token_max_ttl": 60,
                   "require_user_confirmation": False, "agents": {}, "users": {}}
        pid = self.athd.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        self.leave_no_descriptor_free(pid, limits[1])
        with Wire(self.athd.socket) as refused:
            self.assertIsNone(refused.line())
        self.athd.call("key.get", name="agent")  # it is done with that caller
        # a file that was being written then is closed now: what is opened from here on has no number left
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        self.refused("NO_PROMPTER", "credential.issue", key="alice", client=info["did"], scopes=["a"], ttl=60)
        self.refused("INTERNAL_ERROR", "service.put", **service)
        self.check_signed([self.athd.call("attestation.create", **SIGN) for _ in range(10)])
        kill(process(self.athd, "swtpm"))
        time.sleep(0.3)  # it cannot be started now
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        self.check_signed([self.athd.call("attestation.create", **SIGN)])
        self.athd.call("service.put", **service)
        with Wire(self.athd.socket) as wire:
            self.assertIn("result", wire.ask(request(1, "agent.hello")))


class Ends(FaultTest):
    def test_sigterm_lets_what_is_in_flight_out(self):
        self.create_agent()
        with Wire(self.athd.socket) as wire:
            come = requests_come(self.athd, 100)
            wire.send(*(request(n, "attestation.create", **SIGN) for n in range(100)))
            come()
            self.athd.connection.close()
            self.athd.connection = None
            began = time.monotonic()
            self.athd.process.send_signal(signal.SIGTERM)
            answers = []
            while (answer := wire.line()) is not None:
                answers.append(answer)
            took = time.monotonic() - began
        self.assertEqual(self.athd.process.wait(60), 0)
        self.assertEqual(len(answers), 100)
        if took < 5:  # so long it waits for its hardware
            self.assertEqual({reason(answer) for answer in answers}, {None})
        self.assertLessEqual({reason(answer) for answer in answers}, {None, "HSM_UNAVAILABLE"})
        self.check_signed([answer["result"] for answer in answers if "result" in answer])
        self.assertFalse(os.path.exists(self.athd.socket))

    def test_callers_come_and_go_while_it_ends_and_starts(self):
        self.create_agent()
        stop, troubles = threading.Event(), []

        def call():
            while not stop.is_set():
                try:
                    connection = Connection(self.athd.socket)
                    connection.call("attestation.create", **SIGN)
                    connection.close()
                except (OSError, ValueError):
                    pass  # it is away
                except Failed as failed:
                    if failed.reason != "HSM_UNAVAILABLE":
                        troubles.append(failed)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(8):
            time.sleep(0.1)
            self.assertEqual(self.athd.stop(), 0)
            self.athd.start()
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(troubles, [])
        self.audit()


if __name__ == "__main__":
    unittest.main()
