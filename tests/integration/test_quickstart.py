"""tools/quickstart as a stranger runs it: without a terminal, on one (with pinentry), and cut short."""
import glob
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from peer.agent import BIN, SOURCE

QUICKSTART = [os.path.join(SOURCE, "tools", "quickstart"), "--bin", BIN]


def clean(output):
    """What is left on the screen: no colours, no cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]|\r", "", output)


def command_line(process):
    try:
        with open(os.path.join(process, "cmdline"), encoding="utf-8", errors="replace") as file:
            return file.read().replace("\0", " ")
    except OSError:  # it has ended
        return ""


class Quickstart(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.mkdtemp(prefix="athd-test-")
        self.addCleanup(shutil.rmtree, self.tmp, ignore_errors=True)
        self.environment = {**os.environ, "TMPDIR": self.tmp, "TERM": "xterm"}

    def assert_complete(self, text):
        for step in range(1, 10):
            self.assertRegex(text, rf"(?m)^ *{step}  (agent|application|user) +-> ")
        self.assertEqual(len(re.findall(r"ms in its hardware", text)), 6, text)
        self.assertIn("granted  flights:search flights:book\n", text)
        self.assertIn("denied   flights:cancel  (server_policy", text)
        self.assertIn("Two seats to Oslo on Friday, please.", text)
        self.assertIn("Booked: seats 12A and 12B.", text)
        self.assertRegex(text, r"scope +flights:search flights:book\n")
        self.assertIn("protects nothing", text)
        trace_id = re.search(r"It had the trace-id ([0-9a-f]{32})", text).group(1)
        self.assertEqual(text.count(f"trace        00-{trace_id}-"), 2)  # the same handshake in both logs
        self.assertEqual(len(set(re.findall(r"handshake    ([A-Za-z0-9_-]{43})", text))), 1)
        self.assertEqual(text.count("all as they were written"), 2)
        for words, result in (("attest travel --audience https://flights.example", "done"),
                              ("attest travel --audience https://elsewhere.example",
                               r"refused \(audiences: https://elsewhere\.example\)"),
                              ("attest me --audience https://flights.example", r"refused \(keys: me\)"),
                              ("key delete travel", r"refused \(methods: key\.delete\)")):
            self.assertRegex(text, rf"(?m)^     ath {words} +{result}$")  # at the grant's socket

    def assert_nothing_left(self):
        self.assertEqual(glob.glob(os.path.join(self.tmp, "athd-quickstart.*")), [])
        for _ in range(600):
            left = [command for command in map(command_line, glob.glob("/proc/[0-9]*")) if self.tmp in command]
            if not left:
                return
            time.sleep(0.1)
        self.fail(f"processes are left: {left}")

    def test_without_a_terminal_a_demo_prompter_shows_the_questions(self):
        run = subprocess.run(QUICKSTART, env=self.environment, stdin=subprocess.DEVNULL, timeout=300,
                             capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assert_complete(run.stdout)
        self.assertIn("   | Grant an agent access in your name?", run.stdout)
        asked, confirmed, answer = (run.stdout.index(text) for text in (
            "authorization_confirmation_request ", "   | Confirm what an agent", "authorization_confirmation_response "))
        self.assertTrue(asked < confirmed < answer, run.stdout)
        self.assert_nothing_left()

    @unittest.skipUnless(shutil.which("pinentry-curses"), "no pinentry-curses here")
    def test_on_a_terminal_pinentry_asks(self):
        child, terminal = pty.fork()
        if child == 0:
            os.environ.update(self.environment, PINENTRY_USER_DATA="")
            for name in ("DISPLAY", "WAYLAND_DISPLAY"):
                os.environ.pop(name, None)
            os.execv(QUICKSTART[0], QUICKSTART)
        output, answered, deadline = b"", 0, time.monotonic() + 300
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 0.2)[0]:
                if output.count(b"<Deny>") > answered:  # the dialog is complete: its default is the yes
                    answered += 1
                    os.write(terminal, b"\r")
                continue
            try:
                output += os.read(terminal, 65536)
            except OSError:  # the terminal's other end is closed
                break
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        text = clean(output.decode(errors="replace"))
        self.assertEqual((status, answered), (0, 2), text)
        # pinentry's dialog is drawn over the line in which step 7 appears
        self.assertIn("granted  flights:search flights:book\n", text)
        self.assertIn("Booked: seats 12A and 12B.", text)
        self.assert_nothing_left()

    @unittest.skipUnless(shutil.which("softhsm2-util"), "no SoftHSM here")
    def test_on_softhsm_tokens_the_pin_is_asked_for_and_never_shown(self):
        run = subprocess.run([*QUICKSTART, "--hsm", "softhsm", "--keep"], env=self.environment, timeout=300,
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        kill = re.search(r"(?m)^ +When you are done: +(kill \d+ \d+; rm -rf (\S+))$", run.stdout)
        self.assertIsNotNone(kill, run.stdout + run.stderr)
        pins = []
        for owner in ("person", "application"):
            path = os.path.join(kill[2], owner, "pin")
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            with open(path, encoding="ascii") as file:
                pins.append(file.read().strip())
        subprocess.run(["bash", "-c", kill[1]], check=True)
        self.assert_complete(run.stdout)
        self.assertEqual(run.stdout.count("[the demo prompter typed the PIN]"), 1, run.stdout)
        self.assertIn("   | Token: person\n", run.stdout)
        for key in ("me", "travel", "flights"):
            self.assertRegex(run.stdout, rf"(?m)^ +{key} +yes +yes +yes +no$")
        for pin in pins:
            self.assertGreater(len(pin), 5)
            self.assertNotIn(pin, run.stdout + run.stderr)
        self.assert_nothing_left()

    def test_another_hsm_is_wrong_usage(self):
        run = subprocess.run([*QUICKSTART, "--hsm", "cloud"], env=self.environment, timeout=60,
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 64)
        self.assertIn("swtpm or softhsm", run.stderr)

    def test_cut_short_it_leaves_nothing(self):
        with subprocess.Popen(QUICKSTART, env={**self.environment, "ATH_DEMO_ANSWER": "silence"},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              start_new_session=True) as run:
            output = b""
            while b"Grant an agent" not in output:
                self.assertIsNone(run.poll(), output)
                output += run.stdout.read1()
            os.killpg(run.pid, signal.SIGINT)
            self.assertEqual(run.wait(30), 130)
        self.assert_nothing_left()

    def test_a_no_ends_it_with_77(self):
        run = subprocess.run(QUICKSTART, env={**self.environment, "ATH_DEMO_ANSWER": "no"}, timeout=300,
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 77, run.stdout + run.stderr)
        self.assertIn("USER_DENIED", run.stderr)
        self.assert_nothing_left()

    def test_keep_leaves_both_running_until_they_are_killed(self):
        run = subprocess.run([*QUICKSTART, "--keep"], env=self.environment, stdin=subprocess.DEVNULL,
                             timeout=300, capture_output=True, text=True, check=False)
        kill = re.search(r"(?m)^ +When you are done: +(kill \d+ \d+; rm -rf \S+)$", run.stdout)
        self.assertIsNotNone(kill, run.stdout + run.stderr)
        socket = re.search(r"export ATH_AUTH_SOCK=(\S+)", run.stdout)[1]
        status = subprocess.run([os.path.join(BIN, "ath"), "--socket", socket, "status"], timeout=60,
                                capture_output=True, check=False)
        subprocess.run(["bash", "-c", kill[1]], check=True)
        self.assertEqual(status.returncode, 0, status.stderr)
        self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
