"""What a caller of the socket may try: leaving in the middle, listening to others, holding things up."""
import json
import os
import subprocess
import time
import unittest

from peer import jws
from peer.agent import BIN, Athd, Connection
from peer.keys import Key

AGENT_ID = "https://agent.example/.well-known/agent.json"


class Attacks(unittest.TestCase):
    def setUp(self):
        self.athd = Athd()
        self.addCleanup(self.end)
        self.athd.start()

    def end(self):
        try:
            self.athd.stop()
            self.assertNotIn("Sanitizer", self.athd.read_log())
        finally:
            self.athd.__exit__()

    def send(self, connection, **request):
        connection.lines.write(json.dumps({"jsonrpc": "2.0", **request}).encode() + b"\n")
        connection.lines.flush()

    def wait_until(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, "it did not happen")
            time.sleep(0.01)

    def processes_of(self, name):
        """Who runs it; athd itself only knows its name."""
        found = []
        for entry in os.listdir("/proc"):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if (entry.isdigit() and int(entry) != self.athd.process.pid
                            and name.encode() in file.read()):
                        found.append(int(entry))
            except OSError:
                pass
        return found

    def test_a_handshake_that_is_aborted_takes_its_question_with_it(self):
        self.athd.answers("# no answer")
        self.athd.call("key.create", name="agent", role="client", confirm="always")
        asking = Connection(self.athd.socket)
        self.send(asking, id=1, method="handshake.start", params={
            "key": "agent", "scopes": ["a:b"], "server": {"origin": "https://x.example"},
            "user_key": "alice"})
        self.assertIn("error", json.loads(asking.lines.readline()))  # there is no alice
        self.athd.call("key.create", name="alice", role="user")
        self.athd.call("key.create", name="shop", role="server")
        self.athd.call("service.put", name="mail", key="shop", scopes_supported=["a:b"],
                       token_max_ttl=600, require_user_confirmation=False, agents={"*": ["a:b"]},
                       users={"*": "all"}, origins=["https://x.example"])
        started = self.athd.call("handshake.start", key="agent", scopes=["a:b"], user_key="alice",
                                 server={"origin": "https://x.example"})
        m2 = self.athd.call("handshake.accept", service="mail", message=started["send"])["send"]
        self.send(asking, id=2, method="handshake.receive", params={
            "handshake": started["handshake"], "message": m2})
        prompter = os.path.join(self.athd.dir, "prompter")
        self.wait_until(lambda: "CONFIRM" in self.athd.questions())
        self.athd.call("handshake.abort", handshake=started["handshake"])
        answer = json.loads(asking.lines.readline())
        self.assertEqual(answer["error"]["data"]["reason"], "UNEXPECTED_MESSAGE")
        self.wait_until(lambda: not self.processes_of(prompter))
        asking.close()

    def test_a_claim_cannot_drive_the_terminal_of_who_reads_it(self):
        key, now = Key(), int(time.time())
        attestation = jws.make(key, "JWT", {
            "iss": AGENT_ID, "sub": AGENT_ID, "aud": "https://me.example", "iat": now, "exp": now + 60,
            "jti": "one", "\u001b[2Jname\u009b1m": "\u001b]0;value\u0007"})
        public = os.path.join(self.athd.dir, "public.jwk")
        with open(public, "w", encoding="utf-8") as file:
            json.dump(key.jwk, file)
        shown = subprocess.run(
            [os.path.join(BIN, "ath"), "--socket", self.athd.socket, "verify", "--audience",
             "https://me.example", "--public-key", "@" + public],
            input=attestation.encode(), capture_output=True, check=True, timeout=60).stdout.decode()
        self.assertIn("name", shown)
        self.assertIn("value", shown)
        self.assertFalse([c for c in shown if (c < " " and c != "\n") or "\x7f" <= c <= "\x9f"])

    def test_who_watches_the_log_hears_that_it_grew(self):
        listener = Connection(self.athd.socket)
        listener.call("events.subscribe", topics=["audit"])
        self.athd.call("key.create", name="agent", role="client", agent_id=AGENT_ID)
        event = json.loads(listener.lines.readline())
        self.assertEqual(event["method"], "event")
        self.assertEqual(event["params"]["topic"], "audit")
        size = event["params"]["size"]
        self.assertGreaterEqual(size, 1)
        self.assertGreaterEqual(self.athd.call("agent.status")["audit"]["size"], size)
        listener.close()


if __name__ == "__main__":
    unittest.main()
