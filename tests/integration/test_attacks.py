"""What a caller of the socket may try: leaving in the middle, listening to others, holding things up."""
import json
import os
import unittest

from peer.agent import Athd, Connection, Failed

AGENT_ID = "https://agent.example/.well-known/agent.json"


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


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

    def test_who_watches_the_log_hears_that_it_grew(self):
        listener = Connection(self.athd.socket)
        listener.call("events.subscribe", topics=["audit"])
        self.athd.call("key.create", name="agent", role="client", agent_id=AGENT_ID)
        event = json.loads(listener.lines.readline())
        self.assertEqual(event["method"], "event")
        self.assertEqual(event["params"]["topic"], "audit")
        self.assertEqual(event["params"]["size"], 1)
        self.assertEqual(self.athd.call("agent.status")["audit"]["size"], 1)
        listener.close()


if __name__ == "__main__":
    unittest.main()
