"""The audit log with a PKCS#11 token only: nobody is asked for a PIN because of it, and what is missing is said."""
import os
import subprocess
import time
import unittest

from peer.agent import BIN, Failed
from peer.token_case import TokenTest


class AuditToken(TokenTest):
    def audit(self):
        return self.athd.call("agent.status")["audit"]

    def wait_for_checkpoint(self):
        deadline = time.monotonic() + 60
        while "last_checkpoint" not in self.audit():
            self.assertLess(time.monotonic(), deadline, self.athd.read_log()[-2000:])
            time.sleep(0.02)

    def test_checkpoints_wait_for_a_login_and_never_ask_for_one(self):
        token = self.new_token()
        self.athd = self.new_athd(token)
        time.sleep(0.5)  # long enough for a question that must not come
        self.assertEqual((self.audit()["state"], self.athd.pins_asked()), ("no-key", 0))
        self.assertIn("logged in", self.audit()["message"])
        self.create(self.athd)  # asks
        self.wait_for_checkpoint()
        self.assertEqual(self.athd.pins_asked(), 1)
        note = self.athd.call("audit.checkpoint")["checkpoint"]
        self.assertEqual(note.split("\n")[5], "counter none")
        self.assertNotIn("counter", self.audit()["last_checkpoint"])
        key = self.audit()["key"]
        self.assertEqual(self.athd.stop(), 0)
        done = subprocess.run([os.path.join(BIN, "ath"), "audit", "verify", "--state-dir", self.athd.state],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.athd.start()
        time.sleep(0.5)
        self.assertEqual((self.audit()["state"], self.athd.pins_asked()), ("no-key", 1))
        self.attest(self.athd)
        size = self.audit()["size"]
        self.assertIn(f"\n{size}\n", self.athd.call("audit.checkpoint")["checkpoint"])
        self.assertEqual((self.audit()["state"], self.audit()["key"], self.athd.pins_asked()), ("ok", key, 2))

    def test_who_asks_for_a_checkpoint_asks_nobody_for_a_pin(self):
        self.athd = self.new_athd(self.new_token())
        connection = self.athd.connection
        connection.socket.settimeout(60)
        with self.assertRaises(Failed) as caught:
            self.athd.call("audit.checkpoint")
        self.assertEqual(caught.exception.reason, "HSM_UNAVAILABLE")
        self.assertIn("logged in", caught.exception.message)
        self.assertEqual(self.athd.pins_asked(), 0)


if __name__ == "__main__":
    unittest.main()
