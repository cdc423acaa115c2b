"""Who can do what: the table of docs/threat-model.md, "What each can do", row by row, by real processes."""
import ctypes
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

from peer.agent import BIN, Athd, Connection, Failed
from peer.scene import SOURCE
from peer.wire import Wire, apart, reason, request, wait_for

OWNER, STRANGER, ATH = 12401, 12402, 12403
AGENT_ID = "https://agent.example/a.json"
AUDIENCE = "https://api.example"
SIGN = {"key": "agent", "audience": AUDIENCE}
PTRACE_SEIZE = 0x4206


BECOME_ANOTHER = """
import os, socket, sys
connected = socket.socket(socket.AF_UNIX)
connected.connect(sys.argv[1])
connected.sendall(b'{"jsonrpc":"2.0","id":0,"method":"agent.hello","params":{}}\\n')
line = b""
while not line.endswith(b"\\n"):
    line += connected.recv(65536)
os.write(1, line)
os.dup2(connected.fileno(), 4)
os.close(1)
os.execv("/bin/sh", ["sh", "-c", "exec 5<&0; cat <&5 >&4 & exec cat <&4 >&5"])
"""


def table():
    """{row: {column: cell}} of the threat model."""
    with open(os.path.join(SOURCE, "docs", "threat-model.md"), encoding="utf-8") as file:
        part = file.read().split("## What each can do", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")]
            for line in part.splitlines() if line.startswith("|")]
    return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]}


def programs():
    """Of which everybody may run a copy."""
    path = tempfile.mkdtemp(prefix="athd-bin-")
    for name in ("athd", "ath-hsm-helper", "ath"):
        shutil.copy2(os.path.join(BIN, name), path)
    os.chmod(path, 0o755)
    return path


def owned(path, uid):
    for where, _, files in os.walk(path):
        for name in [where, *(os.path.join(where, file) for file in files)]:
            os.chown(name, uid, uid)


# ---- what is tried, on a connection that the attacker has or can make ----

def allowed(connection, method, **params):
    """False: denied, locked out or not there."""
    try:
        connection.call(method, **params)
        return True
    except Failed as failed:
        if failed.reason in ("POLICY_DENIED", "KEY_NOT_FOUND", "NO_PROMPTER", "USER_DENIED"):
            return False
        raise


def sees_keys(connection):
    try:
        return "other" in [key["name"] for key in connection.call("key.list")["keys"]]
    except Failed:
        return False


def answers_questions(connection):
    """Of a question that is open; unknown ones are refused in another way than forbidden ones."""
    try:
        connection.call("consent.answer", id="A" * 22, approve=True)
    except Failed as failed:
        if failed.reason == "POLICY_DENIED":
            return False
        return True
    raise AssertionError("a question that nobody asked was answered")


def can_read(path):
    try:
        with open(path, "rb") as file:
            return len(file.read()) > 0
    except OSError:
        return False


def can_trace(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.ptrace(PTRACE_SEIZE, pid, 0, 0) == 0


def try_all(make_connection, secret, pid):
    """Each column's answer."""
    done = {"read athd's files": can_read(secret), "trace athd": can_trace(pid)}
    try:
        connection = make_connection()
        hello = connection.call("agent.hello")
        done["be served"] = "you" in hello
    except (OSError, ValueError, AssertionError, Failed):
        done["be served"] = False
    if not done["be served"]:
        return {**done, **dict.fromkeys(("see the owner's keys", "sign as granted", "sign for another audience",
                                         "sign with another key", "sign with a key that asks", "change the rules",
                                         "answer questions"), False)}
    return {**done,
            "see the owner's keys": sees_keys(connection),
            "sign as granted": allowed(connection, "attestation.create", key="agent", audience=AUDIENCE),
            "sign for another audience": allowed(connection, "attestation.create", key="agent",
                                                 audience="https://other.example"),
            "sign with another key": allowed(connection, "attestation.create", key="other", audience=AUDIENCE),
            "sign with a key that asks": allowed(connection, "attestation.create", key="asks", audience=AUDIENCE),
            "change the rules": allowed(connection, "policy.unfreeze", all=True),
            "answer questions": answers_questions(connection)}


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class Attackers(unittest.TestCase):
    maxDiff = None

    def start(self, *arguments, uid=OWNER, config=None):
        athd = Athd(says="ERR 83886194 Not confirmed <Pinentry>", arguments=arguments)
        self.addCleanup(athd.__exit__)
        athd.programs = programs()
        self.addCleanup(shutil.rmtree, athd.programs)
        athd.uid, athd.directory = uid, "/"
        athd.configure(config or {})
        athd.tpm = athd.tpms.take(athd.state)
        owned(athd.dir, uid)
        athd.start()
        self.athd = athd
        return athd

    def keys(self, uid=None):
        def make():
            connection = Connection(self.athd.socket)
            for name in ("agent", "other", "asks"):
                connection.call("key.create", name=name, role="client", agent_id=AGENT_ID,
                                confirm="always" if name == "asks" else "never")
            connection.close()
            return True
        self.assertIs(apart(make, self.athd.uid if uid is None else uid), True)

    def check(self, row, done):
        """What was done is what the table says."""
        self.assertNotIn("error", done, done)
        expected = {column: cell == "yes" for column, cell in table()[row].items()}
        self.assertEqual(done, expected, row)

    def attack(self, uid, secret=None):
        athd = self.athd
        secret = secret or os.path.join(athd.state, "keys", "agent.pem")
        pid, path = athd.process.pid, athd.socket
        return apart(lambda: try_all(lambda: Connection(path), secret, pid), uid)

    # ---- an athd of one user ----

    def test_another_uid(self):
        self.start()
        self.keys()
        os.chmod(self.athd.dir, 0o755)
        self.check("another uid", self.attack(STRANGER))

    def test_another_uid_at_a_socket_that_was_opened_to_all(self):
        self.start()
        self.keys()
        os.chmod(self.athd.dir, 0o755)
        os.chmod(self.athd.socket, 0o666)
        self.check("another uid, the socket opened to all", self.attack(STRANGER))

    def test_a_thief_of_the_same_uid(self):
        self.start()
        self.keys()
        self.check("the same uid, outside any sandbox", self.attack(OWNER))

    def test_a_program_that_took_over_anothers_connection(self):
        """A rule names python; python connects and becomes a program that none names, which goes on."""
        self.start()
        self.keys()
        with open(os.path.join(self.athd.dir, "policy.json"), "w", encoding="utf-8") as file:
            json.dump({"rules": [{"name": "python", "who": {"uid": OWNER, "exe": os.path.realpath(sys.executable)},
                                  "may": ["*"]}]}, file)
        self.athd.process.send_signal(1)
        wait_for(lambda: "rules=1" in self.athd.read_log())
        relay, there = socket.socketpair()
        taker = subprocess.Popen([sys.executable, "-c", BECOME_ANOTHER, self.athd.socket], stdin=there, stdout=subprocess.PIPE,
                                 user=OWNER, group=OWNER, extra_groups=[], cwd="/")
        there.close()
        self.addCleanup(taker.wait)
        self.addCleanup(taker.kill)
        self.addCleanup(relay.close)
        with taker.stdout:
            self.assertIn(b'"you"', taker.stdout.readline())  # python is served

        class Taken(Connection):
            def __init__(self):
                self.socket, self.id = relay, 0
                self.socket.settimeout(60)
                self.lines = self.socket.makefile("rwb")

        done = try_all(Taken, os.path.join(self.athd.state, "none"), 1)
        row = "a program that took over another's connection, where a rule names that one's program"
        expected = {column: cell == "yes" for column, cell in table()[row].items()}
        for column in ("read athd's files", "trace athd"):  # as any process of this uid
            del done[column], expected[column]
        self.assertEqual(done, expected)

    # ---- a grant ----

    def in_sandbox(self, run, directory):
        """As the owner, in a file system in which there is only the grant's socket."""
        def confined():
            sys.stdout.flush()
            os.chroot(directory)
            os.chdir("/")
            os.setgroups([])
            os.setgid(OWNER)
            os.setuid(OWNER)
            return run()
        return apart(confined)

    def grant(self, **more):
        def create():
            connection = Connection(self.athd.socket)
            made = connection.call("grant.create", name="helper", keys=["agent"], audiences=[AUDIENCE], **more)
            connection.close()
            return made
        return apart(create, OWNER)["socket"]

    def test_an_agent_in_a_sandbox_with_its_grant(self):
        self.start()
        self.keys()
        path = self.grant()
        pid, secret = self.athd.process.pid, os.path.join(self.athd.state, "keys", "agent.pem")
        done = self.in_sandbox(lambda: try_all(lambda: Connection("/" + os.path.basename(path)), secret, pid),
                               os.path.dirname(path))
        self.check("an agent in a sandbox that has its grant's socket only", done)

    def test_what_outlives_its_grant(self):
        """Its connection, open before, and its forks."""
        self.start()
        self.keys()
        holder, gate = os.pipe()
        is_owners, owners = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(gate)
            os.setgroups([])
            os.setgid(OWNER)
            os.setuid(OWNER)
            os.write(owners, b"x")
            os.read(holder, 1)  # until the other end is closed
            os._exit(0)
        os.close(holder)
        os.read(is_owners, 1)  # until then it is root's
        os.close(is_owners)
        os.close(owners)
        path = self.grant(process=child)
        ready, go = os.pipe(), os.pipe()
        pid, secret = self.athd.process.pid, os.path.join(self.athd.state, "none")

        def outlive():
            before = Connection("/" + os.path.basename(path))
            before.call("attestation.create", key="agent", audience=AUDIENCE)
            os.write(ready[1], b"x")
            select.select([before.socket], [], [], 60)  # it is cut
            return [try_all(lambda: before, secret, pid),
                    try_all(lambda: Connection("/" + os.path.basename(path)), secret, pid)]

        ender = os.fork()
        if ender == 0:
            os.read(ready[0], 1)
            os.close(gate)
            os._exit(0)
        os.close(gate)
        done = self.in_sandbox(outlive, os.path.dirname(path))
        os.waitpid(child, 0)
        os.waitpid(ender, 0)
        for each in done:
            self.check("the same, when its grant has ended", each)

    # ---- an athd of the machine ----

    def test_a_user_of_the_machine(self):
        self.start("--system", uid=ATH, config={"socket_mode": "0666"})
        os.chmod(self.athd.dir, 0o755)
        self.keys(OWNER)
        secret = os.path.join(self.athd.state, "users", str(OWNER), "keys", "agent.pem")
        self.assertTrue(can_read(secret))  # by root
        self.check("`--system`: another uid", self.attack(STRANGER, secret))
        self.check("`--system`: the same uid, outside any sandbox", self.attack(OWNER, secret))

    # ---- one that harms nobody else ----

    def test_a_flood_from_one_caller_does_not_go_before_another(self):
        """Three processes send 2,000 calls; 20 of a fourth, one after the other, are done long before them."""
        self.start()
        self.keys()

        def flood():
            with Wire(self.athd.socket, timeout=120) as wire:
                for _ in range(6):
                    wire.send(*(request(n, "attestation.create", **SIGN) for n in range(110)))
                    wire.lines(110)

        def work():
            flooders = []
            for _ in range(3):
                flooders.append(os.fork())
                if flooders[-1] == 0:
                    flood()
                    os._exit(0)
            with Wire(self.athd.socket, timeout=120) as wire:
                answers = [wire.ask(request(n, "attestation.create", **SIGN)) for n in range(20)]
            flooding = [os.waitpid(pid, os.WNOHANG)[0] == 0 for pid in flooders]
            for pid, is_flooding in zip(flooders, flooding):
                if is_flooding:
                    os.waitpid(pid, 0)
            return [flooding, [reason(answer) for answer in answers]]

        self.assertEqual(apart(work, OWNER), [[True] * 3, [None] * 20])


if __name__ == "__main__":
    unittest.main()
