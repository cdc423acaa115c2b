"""SIGKILL of athd, its helper and the TPM at any moment under load: every signature that a client received has
its record, once, and the log is whole, checkpoints and counter included.

ATH_TEST_KILLS says how often (a soak run: 1000), ATH_TEST_SEED makes the choices again."""
import hashlib
import json
import os
import random
import signal
import subprocess
import threading
import time
import unittest

from peer import jws
from peer.agent import BIN, Athd, Connection, Failed
from peer.keys import PublicKey
from peer.seed import SEED
from peer.wire import wait_for

KILLS = int(os.environ.get("ATH_TEST_KILLS", "30"))
AGENT_ID = "https://agent.example/a.json"
CLIENTS, DEPTH = 3, 8


def children(pid, name):
    """Processes below pid whose program is called so."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                text = file.read()
        except (OSError, NotADirectoryError):
            continue
        parent = int(text.rsplit(")", 1)[1].split()[1])
        if parent == pid:
            if name in text.split("(", 1)[1].rsplit(")", 1)[0]:
                found.append(int(entry))
            found += children(int(entry), name)
    return found


class Client(threading.Thread):
    """Signs as fast as it is answered; goes on when athd is back."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.received, self.over = path, [], False
        self.errors = set()

    def run(self):
        while not self.over:
            try:
                connection = Connection(self.path)
            except OSError:
                time.sleep(0.005)
                continue
            try:
                self.sign(connection)
            except (OSError, ValueError):
                pass
            finally:
                connection.socket.close()
                try:
                    connection.lines.close()
                except OSError:
                    pass  # what was not sent yet

    def sign(self, connection):
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "attestation.create",
                              "params": {"key": "agent", "audience": "https://api.example"}}).encode() + b"\n"
        connection.socket.sendall(request * DEPTH)
        while not self.over:
            answer = json.loads(connection.lines.readline())
            if "result" in answer:
                self.received.append(answer["result"]["jwt"])
            else:
                self.errors.add(answer["error"]["data"]["reason"])
            connection.socket.sendall(request)


class Looking:
    """Of a test that has an athd and the key its clients sign with."""

    def records(self):
        folder = os.path.join(self.athd.state, "audit")
        records = []
        for name in sorted(os.listdir(folder)):
            if name.endswith(".jsonl"):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    records += [json.loads(line) for line in file]
        return records

    def verify(self):
        done = subprocess.run([os.path.join(BIN, "ath"), "audit", "verify", "--state-dir", self.athd.state],
                              capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + self.athd.read_log()[-4000:])

    def look(self):
        """All is well, seen from inside and from outside."""
        connection = Connection(self.athd.socket)
        deadline = time.monotonic() + 60
        while True:  # the hardware may be coming back
            try:
                connection.call("audit.checkpoint")
                break
            except Failed as failure:
                self.assertLess(time.monotonic(), deadline, failure)
        self.assertEqual(connection.call("agent.status")["damaged"], [])
        connection.close()
        self.verify()

    def check_records(self, received):
        records = self.records()
        self.assertEqual([record["index"] for record in records], list(range(len(records))))
        self.assertEqual([record for record in records if record["event"] == "audit_rollback"], [])
        issued = {}
        for record in records:
            if record["event"] == "attestation_issued":
                self.assertNotIn(record["jti"], issued)
                issued[record["jti"]] = record["sha256"]
        for jwt in received:
            claims, _ = jws.read(jwt, "JWT", self.key)
            digest = hashlib.sha256(jwt.rsplit(".", 1)[0].encode()).digest()
            self.assertEqual(issued[claims["jti"]], jws.b64u(digest))
        torn = sum(record["event"] == "log_torn" for record in records)
        print(f"{len(received)} signatures, {len(records)} records, {torn} torn lines")


class AuditKill(Looking, unittest.TestCase):
    def setUp(self):
        self.random = random.Random(SEED)
        self.athd = Athd()
        self.addCleanup(self.athd.__exit__)
        self.athd.configure({"audit": {"segment_size": 65536, "checkpoint_interval": 1}})
        self.athd.start()
        self.key = PublicKey.from_jwk(
            self.athd.call("key.create", name="agent", role="client", agent_id=AGENT_ID)["public_jwk"])

    def restart(self):
        self.athd.process.wait()
        self.athd.log_seen = len(self.athd.read_log())
        self.athd.spawn()
        self.athd.wait_until_ready()

    def kill_one(self):
        victim = self.random.choice(["athd", "athd", "ath-hsm-helper", "swtpm"])
        if self.random.random() < 0.5:  # in the middle of a checkpoint
            connection = Connection(self.athd.socket)
            connection.lines.write(b'{"jsonrpc":"2.0","id":1,"method":"audit.checkpoint"}\n')
            connection.lines.flush()
            time.sleep(self.random.choice([0, 0.002, 0.004, 0.008, 0.016]) * self.random.random())
            connection.socket.close()
        if victim == "athd":
            os.kill(self.athd.process.pid, signal.SIGKILL)
            self.restart()
            return
        for pid in children(self.athd.process.pid, victim):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def test_every_signature_received_has_its_record_once_and_the_log_is_whole(self):
        print(f"seed {SEED}, {KILLS} kills")
        self.athd.connection.close()
        self.athd.connection = None
        clients = [Client(self.athd.socket) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for turn in range(KILLS):
            if turn % 2:  # on a busy machine nothing would be signed in so short a time
                before = sum(len(client.received) for client in clients)
                wait_for(lambda: sum(len(client.received) for client in clients) > before + DEPTH)
            time.sleep(self.random.choice([0.02, 0.1, 0.3]) * (0.5 + self.random.random()))
            self.kill_one()
            if turn % 25 == 24:
                self.look()
        for client in clients:
            client.over = True
        for client in clients:
            client.join(60)
            self.assertFalse(client.is_alive())
        self.look()
        self.assertEqual(self.athd.stop(), 0)
        self.verify()
        received = [jwt for client in clients for jwt in client.received]
        self.check_records(received)
        self.assertGreater(len(received), KILLS)
        self.assertNotIn("Sanitizer", self.athd.read_log())
        self.assertLessEqual(set().union(*(client.errors for client in clients)),
                             {"HSM_UNAVAILABLE", "HSM_BUSY", "HSM_ERROR"})


if __name__ == "__main__":
    unittest.main()
