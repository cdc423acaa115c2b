"""`ath run` and `ath grant` against a real athd: what the command gets, what it does not, and what is left when
somebody is killed."""
import json
import os
import pty
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
import unittest

from peer.agent import BIN, Athd, Connection, Failed
from peer.place import PLACE

ATH = os.path.join(BIN, "ath")
AUDIENCE = "https://flights.example"
AGENT_ID = "https://agents.example/bot"


def environment(**more):
    kept = {name: value for name, value in os.environ.items()
            if name not in ("ATH_AUTH_SOCK", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")}
    return {**kept, "ATH": ATH, **more}


def wait_for(what, seconds=30):
    """What `what` gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come to pass in {seconds} s")
        time.sleep(0.01)
    return found


def content(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Usage(unittest.TestCase):
    """What needs no athd."""

    def ath(self, *words, **more):
        return subprocess.run([ATH, *words], env=environment(**more), stdin=subprocess.DEVNULL, timeout=60,
                              capture_output=True, check=False)

    def test_wrong_usage_is_64_and_says_what(self):
        for words, expected in (
                (("run",), b"NAME is missing"),
                (("run", "travel"), b"COMMAND is missing"),
                (("run", "travel", "--ttl", "1h", "--", "true"), b"--key is missing"),
                (("run", "travel", "--max-uses", "some", "--", "true"), b"--max-uses takes"),
                (("run", "travel", "--nonsense", "--", "true"), b"no such option"),
                (("run", "travel", "--field", "socket", "--", "true"), b"--field"),
                (("grant",), b"grant create"),
                (("grant", "create"), b"NAME is missing"),
                (("grant", "create", "travel", "--key"), b"is missing"),
                (("grant", "create", "travel", "--key", "k", "--process", "me"), b"--process takes")):
            run = self.ath(*words)
            self.assertEqual(run.returncode, 64, words)
            self.assertIn(expected, run.stdout + run.stderr, words)

    def test_without_athd_nothing_runs(self):
        run = self.ath("run", "travel", "--key", "bot", "--", "echo", "it ran", ATH_AUTH_SOCK="/nonexistent/agent.sock")
        self.assertEqual((run.returncode, run.stdout), (2, b""))
        self.assertIn(b"athd is not running", run.stderr)

    def test_a_socket_of_a_grant_that_ended_is_told_from_an_athd_that_does_not_run(self):
        run = self.ath("status", ATH_AUTH_SOCK="/nonexistent/grants/travel/agent.sock")
        self.assertEqual(run.returncode, 2)
        self.assertIn(b"the grant has ended", run.stderr)

    def test_what_systemd_run_is_to_start_is_not_for_people(self):
        run = self.ath("--as-child-of-ath-run")
        self.assertEqual(run.returncode, 64)
        self.assertIn(b"use `ath run`", run.stderr)


if __name__ == "__main__":
    unittest.main()
