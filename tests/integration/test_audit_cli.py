#!/usr/bin/env python3
"""ath audit show, follow, trace, checkpoint: the log by athd's socket, as people and programs read it."""
import json
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer.agent import BIN  # noqa: E402
from peer.scene import Scene  # noqa: E402

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def command(athd, *arguments):
    return [os.path.join(BIN, "ath"), "--socket", athd.socket, "audit", *arguments]


def run(athd, *arguments, status=0):
    done = subprocess.run(command(athd, *arguments), capture_output=True, text=True, timeout=60)
    if done.returncode != status:
        raise AssertionError(f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout if status == 0 else done.stderr


def lines(athd, *arguments):
    return [json.loads(line) for line in run(athd, *arguments, "--json").splitlines()]


class AuditCommands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scene = Scene(require_user_confirmation=True)
        cls.scene.__enter__()
        cls.addClassCleanup(cls.scene.__exit__)
        cls.scene.issue()
        cls.scene.run(trace=TRACE)
        cls.scene.run(trace=OTHER)
        granted = []
        deadline = time.monotonic() + 60
        while len(granted) < 2 and time.monotonic() < deadline:
            granted = [r for r in cls.scene.me.audit() if r["event"] == "access_granted"]
            time.sleep(0.02)
        cls.handshake = granted[0]["handshake"]
        cls.scene.app.last_record("session_opened")

    def test_show_prints_what_stands_in_the_log(self):
        scene = self.scene
        shown = lines(scene.me, "show", "--limit", "1000")
        self.assertEqual(shown, scene.me.audit()[:len(shown)])
        self.assertGreater(len(shown), 20)
        text = run(scene.me, "show", "--limit", "1000")
        self.assertIn("access_granted", text)
        self.assertIn("by python3", text)

    def test_show_without_more_is_the_end_of_the_log(self):
        self.assertEqual([r["index"] for r in lines(self.scene.me, "show", "--limit", "3")],
                         [r["index"] for r in self.scene.me.audit()[-3:]])
        self.assertLessEqual(len(lines(self.scene.me, "show")), 50)

    def test_filters(self):
        me = self.scene.me
        records = me.audit()
        for arguments, holds in (
                (("--event", "signature"), lambda r: r["event"] == "signature"),
                (("--key", "alice"), lambda r: r.get("key") == "alice"),
                (("--caller", str(os.getuid())), lambda r: "caller" in r),
                (("--caller", "ath"), lambda r: r.get("caller", {}).get("exe", "").endswith("/ath")),
                (("--caller", "th"), lambda r: False),
                (("--trace", TRACE), lambda r: r.get("trace") == TRACE),
                (("--handshake", self.handshake), lambda r: r.get("handshake") == self.handshake),
                (("--since", "-1h"), lambda r: True), (("--until", "-1h"), lambda r: False)):
            with self.subTest(arguments):
                wanted = [r for r in records if holds(r)]
                self.assertEqual(lines(me, "show", *arguments)[:len(wanted)], wanted)
        both = lines(me, "show", "--event", "signature", "--trace", OTHER, "--limit", "1")
        self.assertEqual(both, [r for r in records if r["event"] == "signature" and r.get("trace") == OTHER][-1:])

    def test_nothing_that_matches_is_said(self):
        command_line = command(self.scene.me, "show", "--event", "no-such-event")
        said = subprocess.run(command_line, capture_output=True, text=True, timeout=60, check=True)
        self.assertEqual((said.stdout, said.stderr), ("", "no record matches\n"))

    def test_trace_tells_the_same_handshake_on_both_sides(self):
        scene = self.scene
        mine = run(scene.me, "trace", TRACE.split("-")[1])
        theirs = run(scene.app, "trace", self.handshake)
        for text, side in ((mine, "client"), (theirs, "server")):
            self.assertIn(f"handshake    {self.handshake}\n", text)
            self.assertIn(f"trace        {TRACE}\n", text)
            self.assertIn(f"agent        {scene.agent['did']}\n", text)
            self.assertIn(f"application  {scene.shop['did']}\n", text)
            self.assertIn(f"this side    {side}\n", text)
            self.assertIn("access is granted", text)
        self.assertIn("the user's yes, signed", mine)
        # by T5 as well: what came before it was known is found by the id
        self.assertIn("went: handshake_response", theirs)
        self.assertIn("authorization_confirmation_request", theirs)
        self.assertLess(theirs.index("it begins"), theirs.index("access is granted"))
        self.assertNotIn(OTHER, mine + theirs)

    def test_trace_of_nothing_says_so(self):
        self.assertIn("no record", run(self.scene.me, "trace", "0" * 31 + "1", status=1))
        self.assertIn("no record", run(self.scene.me, "trace", "x", status=1))
        # no options, and no traceparent: names may begin so
        for name in ("-" + "x" * 21, "-" + "x" * 42, "xx-" + "x" * 40):
            self.assertIn("no record", run(self.scene.me, "trace", name, status=1))

    def test_checkpoint_covers_all_and_the_log_verifies(self):
        me = self.scene.me
        size = len(me.audit())
        note = run(me, "checkpoint").splitlines()
        self.assertTrue(note[0].startswith("athd.audit/"))
        self.assertGreaterEqual(int(note[1]), size)
        self.assertRegex(note[5], r"^counter tpm [0-9a-f]{8} [0-9]+$")
        self.assertIn("all as they were written", run(me, "verify", "--state-dir", me.state))

    def test_follow_prints_what_is_written_from_now_on(self):
        me = self.scene.me
        process = subprocess.Popen(command(me, "follow", "--event", "key_exported", "--json"),
                                   stdout=subprocess.PIPE, text=True)
        try:
            deadline = time.monotonic() + 60
            first = None
            os.set_blocking(process.stdout.fileno(), False)
            while not first and time.monotonic() < deadline:
                me.call("key.export", name="agent", format="pem")  # until it listens
                time.sleep(0.05)
                first = process.stdout.readline()
            self.assertEqual(json.loads(first)["event"], "key_exported")
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def test_wrong_limits_are_wrong_usage(self):
        self.assertIn("--limit", run(self.scene.me, "show", "--limit", "0", status=64))


if __name__ == "__main__":
    unittest.main()
