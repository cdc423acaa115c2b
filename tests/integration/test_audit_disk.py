"""A disk that fails now and then, at any call of athd's on the audit log and its key, under load: every signature
that a client received has its record, once; the log is whole, counter included; and all is well by itself as soon
as the disk is.

ATH_TEST_DISK_SECONDS says for how long it fails (a soak run: 60)."""
import os
import struct
import time
import unittest

import test_audit_kill
from peer.agent import BIN, Athd, Connection, Failed
from peer.keys import PublicKey

SECONDS = float(os.environ.get("ATH_TEST_DISK_SECONDS", "6"))
LIBRARY = os.path.join(os.path.dirname(BIN), "tests", "libfailing_disk.so")


class AuditDisk(test_audit_kill.Looking, unittest.TestCase):
    def setUp(self):
        self.athd = Athd()
        self.addCleanup(self.athd.__exit__)
        self.control = os.path.join(self.athd.dir, "failing")
        self.let_fail(0)
        self.athd.environment = {"LD_PRELOAD": LIBRARY, "FAILING_DISK": self.control,
                                 "FAILING_DISK_BELOW": os.path.join(self.athd.state, "audit"),
                                 "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}
        self.athd.configure({"audit": {"segment_size": 16384, "checkpoint_interval": 1}})
        self.athd.start()
        self.key = PublicKey.from_jwk(self.athd.call("key.create", name="agent", role="client",
                                                     agent_id=test_audit_kill.AGENT_ID)["public_jwk"])
        self.athd.connection.close()
        self.athd.connection = None

    def let_fail(self, permille):
        if not os.path.exists(self.control):
            with open(self.control, "wb") as file:
                file.write(bytes(8))
        with open(self.control, "r+b") as file:
            file.write(struct.pack("=I", permille))

    def happened(self):
        with open(self.control, "rb") as file:
            return struct.unpack("=II", file.read())[1]

    def ask_for_checkpoints(self, seconds):
        connection = Connection(self.athd.socket)
        over = time.monotonic() + seconds
        made = 0
        while time.monotonic() < over:
            try:
                connection.call("audit.checkpoint")
                made += 1
            except Failed as failure:
                self.assertIn(failure.reason, ("AUDIT_UNAVAILABLE", "HSM_UNAVAILABLE", "IO"))
            time.sleep(0.02)
        connection.close()
        return made

    def test_every_signature_received_has_its_record_once_and_all_is_well_again(self):
        clients = [test_audit_kill.Client(self.athd.socket) for _ in range(3)]
        for client in clients:
            client.start()
        for permille in (5, 30, 200):
            self.let_fail(permille)
            self.ask_for_checkpoints(SECONDS / 3)
            self.let_fail(0)
            self.look()
        for client in clients:
            client.over = True
        for client in clients:
            client.join(60)
        self.assertEqual(self.athd.stop(), 0)
        self.verify()
        received = [jwt for client in clients for jwt in client.received]
        print(f"{self.happened()} calls failed, {len(received)} signatures")
        self.assertGreater(self.happened(), 20)
        self.check_records(received)
        self.assertLessEqual(set().union(*(client.errors for client in clients)), {"AUDIT_UNAVAILABLE"})


if __name__ == "__main__":
    unittest.main()
