"""`ath consent` as a person uses it, at a pseudo-terminal, against a real athd: what is shown, which keys are answers
and which are not, and that the terminal is left as it was. And its other forms: for scripts, and with a prompter."""
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
import unittest

from peer.agent import PROMPTER, Athd
from peer.scene import CheckedAthd
from peer.wire import is_running, wait_for
from test_cli import ATH, ath

SETTLE = 0.7 + 0.1  # CONSENT_SETTLE_MS, and a little
ESCAPE = "\x1b"


class Terminal:
    """A program at a terminal of its own, of which it is the session's leader."""

    def __init__(self, *words, rows=24, columns=80, uid=None, **environment):
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = self.modes()
        self.text = ""
        self.seen = 0
        self.process = subprocess.Popen(
            words, stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
            user=uid, group=uid, extra_groups=None if uid is None else [],
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "dumb", **environment})

    def modes(self):
        return termios.tcgetattr(self.slave)

    def reads_keys(self):
        return not self.modes()[3] & (termios.ICANON | termios.ECHO)

    def read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            self.text += os.read(self.master, 65536).decode("utf-8", "replace")
            self.text = self.text.replace("\r\n", "\n")  # also where two reads have one each

    def wait(self, words, seconds=60):
        """Until these words have come, behind those that were waited for last."""
        deadline = time.monotonic() + seconds
        while words not in self.text[self.seen:]:
            if time.monotonic() > deadline:
                raise AssertionError(f"{words!r} did not come: {self.text!r}")
            self.read(0.1)
        self.seen = self.text.index(words, self.seen) + len(words)

    def shown(self, words="> "):
        """The same, and then until a key may be an answer, if the program is not slow (take)."""
        self.wait(words)
        time.sleep(SETTLE)

    def press(self, keys):
        os.write(self.master, keys.encode())

    def press_until(self, key, is_taken, again=4 * SETTLE):
        """As a person does: once more where it came too early, since the program was slow to read what came before."""
        deadline = time.monotonic() + 240
        while not is_taken():
            if time.monotonic() > deadline:
                raise AssertionError(f"{key!r} does nothing: {self.text!r}")
            begin, until = len(self.text), time.monotonic() + again
            self.press(key)
            while not is_taken() and time.monotonic() < until:
                self.read(0.05)
                if "came too early" in self.text[begin:]:
                    time.sleep(SETTLE)
                    break

    def take(self, key, is_taken=None):
        """Presses a letter until it is taken, which shows it; one that came too early is not shown."""
        begin = len(self.text)
        self.press_until(key, is_taken or (lambda: key + "\n" in self.text[begin:]), again=30)

    def end(self, seconds=60):
        """Its exit status, once it has ended; all it said is in text."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not end: {self.text!r}")
            self.read(0.05)
        self.read(0)
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class ConsentTest(unittest.TestCase):
    timeout = 300

    def setUp(self):
        self.athd = CheckedAthd()
        self.athd.configure({"consent_timeout": self.timeout})
        self.addCleanup(self.athd.__exit__)
        self.athd.start()
        self.athd.call("key.create", name="alice", role="user")
        self.client = self.athd.call("key.create", name="bot", role="client", agent_id="https://bot.example/a.json")["did"]
        self.askers = []
        self.addCleanup(self.end_askers)

    def end_askers(self):
        for asker in self.askers:
            if asker.poll() is None:
                asker.kill()
            asker.communicate()

    def ask(self, *scopes, program=ATH, key="alice"):
        """Somebody asks for a grant; the process."""
        words = [word for scope in scopes or ("mail:read", "mail:send") for word in ("--scope", scope)]
        self.askers.append(subprocess.Popen(
            [program, "credential", "issue", "--key", key, "--client", self.client, "--ttl", "60", "--json", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "ATH_AUTH_SOCK": self.athd.socket}))
        return self.askers[-1]

    def outcome(self, asker):
        """Exit status, and the error's reason or the scopes that were granted."""
        out, err = asker.communicate(timeout=120)
        if asker.returncode != 0:
            return asker.returncode, json.loads(err)["data"]["reason"]
        return 0, json.loads(out)["scopes"] if "scopes" in json.loads(out) else None

    def attend(self, **options):
        terminal = Terminal(ATH, "consent", ATH_AUTH_SOCK=self.athd.socket, **options)
        self.addCleanup(terminal.close)
        terminal.wait("No question waits.")
        return terminal

    def questions(self):
        return self.athd.call("consent.list")["questions"]

    def wait_until_asked(self, count=1):
        wait_for(lambda: len(self.questions()) == count)

    def ended_well(self, terminal):
        self.assertEqual(terminal.end(), 0, terminal.text)
        self.left_as_it_was(terminal)

    def left_as_it_was(self, terminal):
        self.assertEqual(terminal.modes(), terminal.before)
        self.assertNotIn("Sanitizer", terminal.text)


class Answers(ConsentTest):
    def test_yes_is_one_key_and_no_prompter_is_asked(self):
        terminal = self.attend()
        asker = self.ask()
        terminal.wait("Question ")
        terminal.wait('mail:send')
        terminal.shown()
        terminal.take("y")
        terminal.wait(": yes.")
        self.assertEqual(self.outcome(asker)[0], 0)
        terminal.wait("No question waits.")
        terminal.press("q")
        self.ended_well(terminal)
        self.assertEqual(self.athd.prompters(), [])
        self.assertNotIn(ESCAPE, terminal.text)

    def test_no_is_the_callers_no(self):
        terminal = self.attend()
        asker = self.ask()
        terminal.shown()
        terminal.take("n")
        self.assertEqual(self.outcome(asker), (77, "USER_DENIED"))
        self.assertEqual(self.athd.call("credential.list"), {"credentials": []})

    def test_scopes_that_were_taken_away_are_not_granted(self):
        terminal = self.attend()
        asker = self.ask("mail:read", "mail:send", "mail:delete")
        terminal.shown()
        terminal.take("s")
        terminal.wait("numbers to take away")
        number = [row.split()[1] for row in terminal.text.splitlines() if row.endswith("mail:delete")][-1]
        terminal.press(number + "\n")
        terminal.wait("y allows only:")
        terminal.shown()
        terminal.take("y")
        terminal.wait(": yes.")
        self.assertEqual(self.outcome(asker)[0], 0)
        granted = self.athd.call("credential.list")["credentials"][0]["scopes"]
        self.assertEqual(sorted(granted), ["mail:read", "mail:send"])

    def test_for_a_while_nothing_is_asked_until_it_is_forgotten(self):
        terminal = self.attend()
        asker = self.ask()
        terminal.shown()
        terminal.take("w")
        terminal.wait("how often")
        terminal.press("2 1h\n")
        terminal.wait("2 times, for 1 h")
        terminal.shown()
        terminal.take("y")
        terminal.wait("No question waits.")
        self.assertEqual(self.outcome(asker)[0], 0)
        self.assertEqual(self.outcome(self.ask())[0], 0)
        self.assertEqual(self.athd.call("consent.list")["allowed"][0]["uses_left"], 1)
        terminal.press("r")
        terminal.wait("credential.issue, key alice")
        terminal.wait("numbers to forget")
        self.assertFalse(terminal.reads_keys())  # what is typed from here on is kept
        terminal.press("1\n")
        terminal.wait("Forgotten.")
        self.assertEqual(self.athd.call("consent.list")["allowed"], [])
        asker = self.ask()
        terminal.shown("question ")
        terminal.take("n")
        self.assertEqual(self.outcome(asker), (77, "USER_DENIED"))

    def test_a_key_is_frozen_with_two_keys(self):
        terminal = self.attend()
        asker = self.ask()
        terminal.shown()
        terminal.take("f")
        terminal.shown("f again")
        terminal.take("f")
        terminal.wait("frozen")
        self.assertEqual(self.outcome(asker)[0], 77)
        self.assertEqual(self.athd.call("agent.status")["frozen"]["keys"], ["alice"])

    def test_a_small_terminal_shows_all_before_it_takes_a_yes(self):
        terminal = self.attend(rows=10, columns=40)
        asker = self.ask(*(f"scope:{number}" for number in range(12)))
        terminal.wait("-- more of question")
        time.sleep(SETTLE)
        terminal.take("y")
        terminal.wait("-- more of question")
        self.assertEqual(len(self.questions()), 1)
        while "y yes, n no" not in terminal.text:
            rows = terminal.text.count("-- more")
            terminal.press_until(" ", lambda: terminal.text.count("-- more") > rows or "y yes" in terminal.text)
        time.sleep(SETTLE)
        self.assertTrue(all(f"scope:{number}" in terminal.text for number in range(12)))
        self.assertTrue(all(len(row) <= 40 for row in terminal.text.splitlines() if row.startswith(("|", ":"))))
        terminal.take("y")
        self.assertEqual(self.outcome(asker)[0], 0)


    def test_the_same_question_asked_twice_is_one_and_its_answer_is_for_both(self):
        terminal = self.attend()
        first = self.ask()
        terminal.shown()
        second = self.ask()
        terminal.wait("(asked 2 times now)")
        terminal.wait("> ")
        terminal.take("y")
        terminal.wait("No question waits.")
        self.assertEqual((self.outcome(first)[0], self.outcome(second)[0]), (0, 0))


class NoAnswers(ConsentTest):
    def test_what_is_typed_ahead_or_held_down_approves_nothing(self):
        terminal = self.attend()
        terminal.press("yyyy")
        asker = self.ask()
        deadline, until = time.monotonic() + 60, None
        last, longest = time.monotonic(), 0
        while until is None or time.monotonic() < until:
            if until is None and "too early" in terminal.text:
                until = time.monotonic() + 2
            self.assertLess(time.monotonic(), deadline, terminal.text)
            terminal.press("y")
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
            if ": yes." in terminal.text and longest > SETTLE / 2:  # so it was not held down
                self.skipTest("this machine is too busy to hold a key down")
            terminal.read(0.02)
        self.assertIsNone(asker.poll())
        self.assertEqual(len(self.questions()), 1)
        time.sleep(SETTLE)
        terminal.press_until("y", lambda: asker.poll() is not None)
        self.assertEqual(self.outcome(asker)[0], 0)

    def test_a_paste_approves_nothing(self):
        terminal = self.attend()
        asker = self.ask()
        terminal.shown()
        terminal.press("y\ny\ny\n")
        time.sleep(SETTLE)
        self.assertIsNone(asker.poll())
        terminal.press_until("n", lambda: asker.poll() is not None)
        self.assertEqual(self.outcome(asker), (77, "USER_DENIED"))

    def test_another_question_does_not_take_the_place_of_the_one_that_is_read(self):
        terminal = self.attend()
        first = self.ask("a")
        terminal.shown()
        second = self.ask("b")
        terminal.wait("2 questions wait now")
        terminal.wait("> ")
        began = time.monotonic()
        terminal.take("n")
        self.assertEqual(self.outcome(first), (77, "USER_DENIED"))
        self.assertIsNone(second.poll())
        terminal.wait("Question ")
        begin = len(terminal.text)
        terminal.press("y")  # a finger that was on its way: refused, or gone with what came before the words
        terminal.take("l", lambda: "l\n" in terminal.text[begin:] or ": yes." in terminal.text)
        if ": yes." in terminal.text:
            self.assertGreater(time.monotonic() - began, SETTLE - 0.1)  # it was no more, on a busy machine
            return
        self.assertIsNone(second.poll())
        self.assertEqual(len(self.questions()), 1)

    def test_escape_sequences_in_a_strangers_words_do_nothing(self):
        place = os.path.join(self.athd.dir, f"{ESCAPE}[2J{ESCAPE}]0;owned\a\u202e\nyes")
        os.mkdir(place)
        program = shutil.copy(ATH, os.path.join(place, "ath"))
        terminal = self.attend()
        self.ask(program=program)
        terminal.shown()
        for key in "dlr":
            terminal.take(key)
            terminal.wait("> ")
        terminal.take("q")
        terminal.end()
        self.assertIn("owned", terminal.text)
        self.assertEqual([letter for letter in terminal.text.replace("\n", "").replace("\a", "", 1)
                          if not letter.isprintable()], [])
        self.assertNotIn("\nyes", terminal.text)
        listed = ath("consent", "list", socket=self.athd.socket).stdout.decode()
        self.assertNotIn(ESCAPE, listed)


class Ends(ConsentTest):
    def test_a_signal_leaves_the_terminal_as_it_was(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGSEGV, signal.SIGABRT):
            with self.subTest(number):
                terminal = self.attend()
                wait_for(terminal.reads_keys)
                if number == signal.SIGINT:
                    terminal.press("\x03")
                else:
                    os.kill(terminal.process.pid, number)
                terminal.end()
                if "Sanitizer" not in terminal.text:  # which reports a crash and exits
                    self.assertEqual(terminal.process.returncode, -number)
                self.assertEqual(terminal.modes(), terminal.before)

    def test_a_signal_while_a_line_is_typed_does_so_too(self):
        terminal = self.attend()
        self.ask()
        terminal.shown()
        terminal.take("w")
        terminal.wait("how often")
        terminal.press("\x03")
        terminal.end()
        self.left_as_it_was(terminal)

    def test_stopped_it_lets_go_of_terminal_and_questions_and_what_is_typed_meanwhile_is_no_answer(self):
        self.athd.answers("#")  # athd's own prompter says nothing
        terminal = Terminal("bash", "-c", 'set -m; "$0" consent; echo "stopped: $?"; read -r line; fg; echo "ended: $?"',
                            ATH, ATH_AUTH_SOCK=self.athd.socket)
        self.addCleanup(terminal.close)
        terminal.wait("No question waits.")
        asker = self.ask()
        terminal.shown()
        self.assertTrue(terminal.reads_keys())
        terminal.press("\x1a")
        terminal.wait("stopped: ")
        self.assertFalse(terminal.reads_keys())
        wait_for(lambda: len(self.athd.prompters()) == 1)
        terminal.press("\ny")
        terminal.wait("Question ")  # drawn anew
        terminal.shown()
        self.assertTrue(terminal.reads_keys())
        self.assertIsNone(asker.poll())
        terminal.take("y")
        terminal.wait(": yes.")
        terminal.press("q")
        terminal.wait("ended: 0")
        terminal.end()
        self.left_as_it_was(terminal)
        self.assertEqual(self.outcome(asker)[0], 0)

    def test_in_the_background_nothing_is_asked_there(self):
        terminal = Terminal("bash", "-c", 'set -m; "$0" consent & wait -n; jobs; read -r line; kill -KILL %1',
                            ATH, ATH_AUTH_SOCK=self.athd.socket)
        self.addCleanup(terminal.close)
        terminal.wait("Stopped")
        self.assertEqual(self.outcome(self.ask())[0], 0)  # by athd's own prompter
        self.assertEqual(len(self.athd.prompters()), 1)
        self.assertEqual(terminal.modes(), terminal.before)
        terminal.press("\n")
        terminal.end()

    def test_athd_that_goes_away_is_exit_status_2_and_said(self):
        terminal = self.attend()
        self.ask()
        terminal.shown()
        self.athd.stop()
        self.assertEqual(terminal.end(), 2)
        self.assertIn("athd ended the connection", terminal.text)
        self.left_as_it_was(terminal)

    def test_a_terminal_that_is_closed_ends_it(self):
        terminal = self.attend()
        os.close(terminal.master)
        terminal.process.wait(60)
        terminal.master = os.open("/dev/null", os.O_RDONLY)

    def test_without_athd_it_is_exit_status_2_and_without_a_terminal_64(self):
        terminal = Terminal(ATH, "consent", ATH_AUTH_SOCK="/nonexistent/socket")
        self.addCleanup(terminal.close)
        self.assertEqual(terminal.end(), 2)
        self.left_as_it_was(terminal)
        run = ath("consent", socket=self.athd.socket)
        self.assertEqual(run.returncode, 64)
        self.assertIn(b"--prompter", run.stderr)


class Elsewhere(ConsentTest):
    def test_of_two_that_attend_the_first_answer_counts_and_the_other_is_told(self):
        one, other = self.attend(), self.attend()
        asker = self.ask()
        for terminal in (one, other):
            terminal.wait("question ")
        one.shown()
        other.wait("> ")
        one.take("y")
        other.wait("was answered elsewhere: yes.")
        self.assertEqual(self.outcome(asker)[0], 0)
        for terminal in (one, other):
            terminal.wait("No question waits.")
            terminal.press("q")
            self.ended_well(terminal)

    def test_an_answer_by_a_script_is_told(self):
        terminal = self.attend()
        asker = self.ask()
        terminal.shown()
        number = self.questions()[0]["id"]
        self.assertEqual(ath("consent", "answer", number, "--refuse", socket=self.athd.socket).returncode, 0)
        terminal.wait("was answered elsewhere: no.")
        self.assertEqual(self.outcome(asker), (77, "USER_DENIED"))

    def test_a_question_whose_caller_leaves_is_taken_away(self):
        terminal = self.attend()
        asker = self.ask()
        terminal.shown()
        terminal.take("s")
        terminal.wait("numbers to take away")
        asker.kill()
        terminal.wait("nobody waits for the answer any more")
        terminal.wait("No question waits.")
        wait_for(terminal.reads_keys)

    def test_what_waits_goes_to_the_prompter_when_the_last_that_attends_leaves(self):
        terminal = self.attend()
        asker = self.ask()
        terminal.shown()
        self.assertEqual(self.athd.prompters(), [])
        terminal.take("q")
        self.assertEqual(self.outcome(asker)[0], 0)
        self.assertEqual(len(self.athd.prompters()), 1)


class NoAnswerInTime(ConsentTest):
    timeout = 8

    def test_that_the_time_is_over_is_said(self):
        terminal = self.attend()
        asker = self.ask()
        terminal.wait("> ")
        terminal.wait("got no answer in time.")
        self.assertEqual(self.outcome(asker), (77, "CONSENT_TIMEOUT"))


class Scripts(ConsentTest):
    def attending(self):
        """Somebody attends, so that questions wait."""
        self.attend()

    def run_ath(self, *words, **options):
        return ath("consent", *words, socket=self.athd.socket, **options)

    def test_list_shows_questions_whole_and_as_json(self):
        self.attending()
        self.assertIn(b"no question waits", self.run_ath("list").stderr)
        self.ask()
        self.wait_until_asked()
        text = self.run_ath("list").stdout.decode()
        listed = json.loads(self.run_ath("list", "--json").stdout)
        self.assertEqual(listed["questions"][0]["scopes"], ["mail:read", "mail:send"])
        for line in listed["questions"][0]["text"].splitlines():
            self.assertIn("| " + line if line else "|", text)
        number = listed["questions"][0]["id"]
        self.assertIn("Question " + number, text)
        self.assertEqual(self.run_ath("list", number).stdout.decode().splitlines()[1:], text.splitlines()[1:])
        self.assertEqual(self.run_ath("list", "--field", "questions.0.id").stdout, number.encode() + b"\n")

    def test_answer_takes_scopes_and_a_while_and_forget_ends_it(self):
        self.attending()
        asker = self.ask()
        self.wait_until_asked()
        number = self.questions()[0]["id"]
        run = self.run_ath("answer", number, "--approve", "--scope", "mail:read", "--times", "5", "--for", "2h")
        self.assertEqual((run.returncode, run.stdout), (0, f"answered {number}\n".encode()), run.stderr)
        self.assertEqual(self.outcome(asker)[0], 0)
        self.assertEqual(self.athd.call("credential.list")["credentials"][0]["scopes"], ["mail:read"])
        allowed = self.athd.call("consent.list")["allowed"]
        self.assertEqual((allowed[0]["uses_left"], allowed[0]["scopes"]), (5, ["mail:read"]))
        self.assertIn(b"Allowed without asking:", self.run_ath("list").stdout)
        self.assertEqual(self.run_ath("forget", allowed[0]["id"]).returncode, 0)
        self.assertEqual(self.athd.call("consent.list")["allowed"], [])

    def test_refuse_and_freeze(self):
        self.attending()
        asker = self.ask()
        self.wait_until_asked()
        self.assertEqual(self.run_ath("answer", self.questions()[0]["id"], "--refuse", "--freeze").returncode, 0)
        self.assertEqual(self.outcome(asker)[0], 77)
        self.assertEqual(self.athd.call("agent.status")["frozen"]["keys"], ["alice"])

    def test_who_was_refused_is_listed_and_forgotten(self):
        self.attending()
        asker = self.ask()
        self.wait_until_asked()
        self.run_ath("answer", self.questions()[0]["id"], "--refuse")
        self.outcome(asker)
        refused = self.athd.call("consent.list")["refused"]
        self.assertEqual(refused[0]["refusals"], 1)
        self.assertIn(b"1 time no", self.run_ath("list").stdout)
        self.assertEqual(self.run_ath("forget", refused[0]["id"]).returncode, 0)
        self.assertEqual(self.athd.call("consent.list")["refused"], [])

    def test_wrong_usage_and_what_is_not_there(self):
        for words, status, expected in (
                (("answer", "1"), 64, b"--approve or --refuse is missing"),
                (("answer", "1", "--approve", "--refuse"), 64, b"exclude each other"),
                (("answer", "1", "--approve", "--freeze"), 64, b"--freeze goes with --refuse"),
                (("answer", "1", "--refuse", "--scope", "a"), 64, b"go with --approve"),
                (("answer", "1", "--refuse", "--times", "1"), 64, b"go with --approve"),
                (("answer", "--approve"), 64, b"ID is missing"),
                (("forget",), 64, b"ID is missing"),
                (("answer", "no-such", "--approve"), 1, b"CONSENT_NOT_FOUND"),
                (("forget", "no-such"), 1, b"CONSENT_NOT_FOUND")):
            run = self.run_ath(*words)
            self.assertEqual(run.returncode, status, (words, run.stderr))
            self.assertIn(expected, run.stderr, words)

    def test_the_prompter_gets_the_environment_of_now(self):
        note = os.path.join(self.athd.dir, "environment")
        path = os.path.join(self.athd.dir, "prompter")
        with open(path, encoding="utf-8") as file:
            script = file.read()
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(script.replace("echo OK ready", f'env > "{note}"\necho OK ready', 1))
        os.chmod(path + ".new", 0o700)
        os.replace(path + ".new", path)
        run = self.run_ath("environment", DISPLAY=":77", WAYLAND_DISPLAY="wayland-77", LC_ALL="C.UTF-8", GPG_TTY="")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(self.outcome(self.ask())[0], 0)
        with open(note, encoding="utf-8") as file:
            got = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
        self.assertEqual((got.get("DISPLAY"), got.get("WAYLAND_DISPLAY")), (":77", "wayland-77"))
        self.assertNotIn("GPG_TTY", got)

    def test_the_terminal_it_is_called_at_becomes_the_prompters(self):
        terminal = Terminal(ATH, "consent", "environment", ATH_AUTH_SOCK=self.athd.socket, GPG_TTY="")
        self.addCleanup(terminal.close)
        self.assertEqual(terminal.end(), 0, terminal.text)
        self.assertEqual(self.outcome(self.ask())[0], 0)
        self.assertIn("OPTION ttyname=" + os.ttyname(terminal.slave), self.athd.questions())


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class OfAMachine(unittest.TestCase):
    alice, bob = 12301, 12302

    def setUp(self):
        self.athd = Athd(arguments=["--system"])
        self.addCleanup(self.athd.__exit__)
        os.chmod(self.athd.dir, 0o755)
        self.ath = shutil.copy(ATH, self.athd.dir)  # where everybody can read it
        self.athd.configure({"socket_mode": "0666"})
        self.athd.start()

    def run_as(self, uid, *words):
        return subprocess.Popen([self.ath, *words, "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, user=uid, group=uid, extra_groups=[],
                                env={**os.environ, "ATH_AUTH_SOCK": self.athd.socket})

    def attend(self, uid):
        terminal = Terminal(self.ath, "consent", uid=uid, ATH_AUTH_SOCK=self.athd.socket)
        self.addCleanup(terminal.close)
        terminal.wait("No question waits.")
        return terminal

    def test_each_is_asked_at_their_own_terminal_and_nowhere_else(self):
        for words in (("key", "create", "me", "--role", "user"),
                      ("key", "create", "bot", "--role", "client", "--agent-id", "https://bot.example/a.json")):
            out, err = self.run_as(self.alice, *words).communicate(timeout=60)
            self.assertEqual(err, b"")
        issue = ("credential", "issue", "--key", "me", "--client", json.loads(out)["did"], "--scope", "a", "--ttl", "60")
        bobs = self.attend(self.bob)
        out, err = self.run_as(self.alice, *issue).communicate(timeout=60)
        self.assertEqual(json.loads(err)["data"]["reason"], "NO_PROMPTER")
        alices = self.attend(self.alice)
        asker = self.run_as(self.alice, *issue)
        alices.shown()
        alices.take("y")
        alices.wait(": yes.")
        out, err = asker.communicate(timeout=120)
        self.assertIn("credential", json.loads(out))
        bobs.press("l")
        bobs.wait("No question waits.")
        self.assertNotIn("Question", bobs.text)
        self.assertEqual(self.athd.prompters(), [])


class PlayedAthd:
    """Answers calls by `answers`, a function a method, and notes what was called."""

    def __init__(self, **answers):
        self.answers = {name.replace("_", ".", 1): answer for name, answer in answers.items()}
        self.calls = []
        self.events = []  # to be told after the next answer
        self.path = os.path.join(tempfile.mkdtemp(), "socket")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with self.listener:
            connection, _ = self.listener.accept()
        with connection, connection.makefile("rwb") as lines:
            for line in lines:
                call = json.loads(line)
                params = call.get("params", {})
                self.calls.append((call["method"], params))
                result = self.answers.get(call["method"], lambda params: {})(params)
                lines.write(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}).encode() + b"\n")
                while self.events:
                    lines.write(json.dumps({"jsonrpc": "2.0", "method": "event", "params": self.events.pop()}).encode() + b"\n")
                lines.flush()

    def called(self, method):
        return [params for name, params in self.calls if name == method]


class AgainstAPlayedAthd(unittest.TestCase):
    """What a real one does only in need: it gives up who does not listen, and leaves out words where there are many."""

    @staticmethod
    def question(text, **members):
        return {"id": "q1", "method": "credential.issue", "can_narrow": False, "can_remember": False, "count": 1,
                "caller": {"uid": 0, "pid": 1}, "asked_at": 1, "expires_at": int(time.time()) + 60,
                **({"text": text} if text else {}), **members}

    def attend(self, athd):
        terminal = Terminal(ATH, "consent", ATH_AUTH_SOCK=athd.path)
        self.addCleanup(terminal.close)
        return terminal

    def test_given_up_it_attends_again(self):
        athd = PlayedAthd(consent_list=lambda params: {"attending": len(athd.called("consent.attend")) > 1,
                                                       "questions": [], "allowed": [], "refused": []})
        self.attend(athd).wait("No question waits.")
        self.assertEqual([name for name, _ in athd.calls],
                         ["consent.attend", "consent.list", "consent.attend", "consent.list"])

    def test_words_that_are_left_out_are_asked_for(self):
        athd = PlayedAthd(consent_list=lambda params: {
            "attending": True, "allowed": [], "refused": [],
            "questions": [self.question("All of it?" if "id" in params else None)]})
        terminal = self.attend(athd)
        terminal.wait("| All of it?")
        terminal.shown()
        terminal.take("y")
        terminal.wait(": yes.")
        self.assertEqual(athd.called("consent.answer"), [{"id": "q1", "approve": True}])

    def test_a_key_that_waits_while_athd_is_slow_may_have_been_pressed_too_early(self):
        times, go = [], threading.Event()

        def consent_list(_):
            times.append(time.monotonic())
            if len(times) == 1:
                athd.events.append({"topic": "consent", "state": "asked", "id": "q2"})
            else:  # all of it waits for this answer
                self.assertTrue(go.wait(120))
            return {"attending": True, "allowed": [], "refused": [], "questions": [self.question("Shall it?")]}

        athd = PlayedAthd(consent_list=consent_list)
        self.addCleanup(go.set)
        terminal = self.attend(athd)
        terminal.wait("| Shall it?")
        wait_for(lambda: len(times) == 2)
        if times[1] - times[0] > SETTLE - 0.1:
            self.skipTest("this machine is too busy: a key may be an answer by now")
        terminal.press("y")
        time.sleep(SETTLE)
        go.set()
        terminal.wait("came too early")
        self.assertEqual(athd.called("consent.answer"), [])
        terminal.shown()
        terminal.take("y")
        terminal.wait(": yes.")

    def test_even_athds_own_words_do_not_steer_the_terminal(self):
        bad = f"{ESCAPE}[2J\r\u202e\x9b\u2028"
        athd = PlayedAthd(consent_list=lambda params: {
            "attending": True, "questions": [self.question(bad + "text", method=bad, key=bad)],
            "allowed": [{"id": bad, "method": bad, "asker": {"exe": bad}}], "refused": [{"id": bad, "key": bad}]})
        terminal = self.attend(athd)
        terminal.shown()
        for key in "dl":
            terminal.take(key)
            terminal.wait("> ")
        terminal.take("r")
        terminal.wait("numbers to forget")
        self.assertEqual([letter for letter in terminal.text.replace("\n", "").replace("\a", "", 1)
                          if not letter.isprintable()], [])


class Agent(ConsentTest):
    def setUp(self):
        super().setUp()
        self.dir = os.path.join(self.athd.dir, "agent")
        os.mkdir(self.dir)
        self.program = os.path.join(self.dir, "prompter")
        self.write(PROMPTER.format(answer="OK", dir=self.dir))

    def write(self, script):
        with open(self.program + ".new", "w", encoding="utf-8") as file:
            file.write(script)
        os.chmod(self.program + ".new", 0o700)
        os.replace(self.program + ".new", self.program)

    def start(self, **environment):
        agent = subprocess.Popen([ATH, "consent", "--prompter", self.program], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env={**os.environ, "ATH_AUTH_SOCK": self.athd.socket, **environment})
        self.addCleanup(lambda: (agent.kill(), agent.communicate()))
        wait_for(lambda: self.attends(agent))
        return agent

    def attends(self, agent):
        """It says so when it does."""
        if not hasattr(agent, "said"):
            agent.said = ""
        if select.select([agent.stderr], [], [], 0.1)[0]:
            agent.said += os.read(agent.stderr.fileno(), 4096).decode()
        self.assertIsNone(agent.poll(), agent.said)
        return "from here" in agent.said

    def end(self, agent, status=0):
        _, err = agent.communicate(timeout=60)
        self.assertNotIn(b"Sanitizer", err)
        self.assertEqual(agent.returncode, status, err)
        return agent.said + err.decode()

    def note(self, name):
        try:
            with open(os.path.join(self.dir, name), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def prompters(self):
        return [int(line) for line in self.note("prompters").split()]

    def test_its_prompter_shows_the_question_in_its_environment_and_answers(self):
        self.write(PROMPTER.format(answer="OK", dir=self.dir).replace(
            "echo OK ready", f'echo "$DISPLAY" > "{self.dir}/display"\necho OK ready', 1))
        agent = self.start(DISPLAY=":78")
        self.assertEqual(self.outcome(self.ask())[0], 0)
        self.write(PROMPTER.format(answer="ERR 83886194 Not confirmed <Pinentry>", dir=self.dir))
        self.assertEqual(self.outcome(self.ask("other")), (77, "USER_DENIED"))
        self.assertEqual(self.note("display"), ":78\n")
        self.assertIn("SETDESC ", self.note("questions"))
        self.assertIn("mail:send", self.note("questions"))
        self.assertEqual(self.athd.prompters(), [])
        agent.send_signal(signal.SIGTERM)
        self.end(agent)
        wait_for(lambda: not any(map(is_running, self.prompters())))

    def test_a_prompter_that_does_not_work_gives_way_to_athds_own(self):
        works = PROMPTER.format(answer="OK", dir=self.dir)
        for script, said in (("#!/bin/sh\nexit 1\n", "gave no answer"),
                             ("#!/bin/sh\necho 220 mail ready\nsleep 60\n", "gave no answer"),
                             ("#!/bin/sh\necho OK\nwhile read -r line; do echo 'ERR 1 no display'; done\n",
                              "no display"), (None, "gave no answer")):
            with self.subTest(script):
                self.write(works)
                agent = self.start()
                if script is None:
                    os.unlink(self.program)
                else:
                    self.write(script)  # it breaks later
                asker = self.ask()
                self.assertIn(said, self.end(agent, 77))
                self.assertEqual(self.outcome(asker)[0], 0)  # by athd's
        self.assertEqual(len(self.athd.prompters()), 4)

    def test_a_program_that_cannot_be_one_is_an_error_before_anything_is_promised(self):
        self.write("#!/bin/sh\nexit 1\n")
        quiet, mail = os.path.join(self.dir, "quiet"), os.path.join(self.dir, "mail")
        for path, script in ((quiet, "#!/bin/sh\nexec >&-\nsleep 300\n"),
                             (mail, "#!/bin/sh\nprintf '220 \\033[2Jmail\\n'\nsleep 300\n")):
            with open(path, "w", encoding="utf-8") as file:
                file.write(script)
            os.chmod(path, 0o700)
        for program, said in (("/nosuch", "/nosuch cannot be run: there is no such program, or"),
                              ("nosuch-pinentry", "no such program in $PATH"), (self.dir, "cannot be run"),
                              (self.program, "ended with exit status 1 before it greeted"),
                              (quiet, "does not greet"), (mail, "is no pinentry: it began with \"220 ")):
            with self.subTest(program):
                result = ath("consent", "--prompter", program, socket=self.athd.socket)
                self.assertEqual(result.returncode, 77, result.stderr)
                self.assertIn(said, result.stderr.decode())
                self.assertNotIn(b"from here", result.stderr)
                self.assertNotIn(b"\033", result.stderr)

    def test_a_question_that_is_answered_elsewhere_or_left_is_taken_from_the_screen(self):
        self.write(PROMPTER.format(answer="#", dir=self.dir))  # no answer
        agent = self.start(DISPLAY=":0")
        first, second = self.ask("a"), self.ask("b")
        wait_for(lambda: self.note("questions").count("CONFIRM") == 2)
        self.assertEqual(sum(map(is_running, self.prompters())), 2)
        number = next(question["id"] for question in self.questions() if question["scopes"] == ["a"])
        self.assertEqual(ath("consent", "answer", number, "--approve", socket=self.athd.socket).returncode, 0)
        self.assertEqual(self.outcome(first)[0], 0)
        wait_for(lambda: sum(map(is_running, self.prompters())) == 1)
        second.kill()
        wait_for(lambda: sum(map(is_running, self.prompters())) == 0)
        self.assertIsNone(agent.poll())

    def test_no_prompter_outlives_it_however_it_ends(self):
        self.write("#!/bin/sh\ntrap '' TERM HUP INT\n" + PROMPTER.format(answer="#", dir=self.dir).split("\n", 1)[1])
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(number):
                agent = self.start(DISPLAY=":0")
                count = len(self.prompters())  # with the one that was only to greet
                asker = self.ask(f"signal:{int(number)}")
                wait_for(lambda: len(self.prompters()) > count)
                agent.send_signal(number)
                self.end(agent, 0 if number == signal.SIGTERM else -number)
                wait_for(lambda: not any(map(is_running, self.prompters())))
                self.outcome(asker)

    def test_pinentry_tty_asks_at_the_terminal_and_a_question_that_goes_leaves_it_as_it_was(self):
        terminal = Terminal(ATH, "consent", "--prompter", "pinentry-tty", ATH_AUTH_SOCK=self.athd.socket, GPG_TTY="",
                            DISPLAY="", WAYLAND_DISPLAY="")
        self.addCleanup(terminal.close)
        terminal.wait("from here")
        asker = self.ask("first")
        terminal.wait("first")
        terminal.wait("[ad]? ")
        terminal.press("a")
        self.assertEqual(self.outcome(asker)[0], 0)
        asker = self.ask("second")
        terminal.wait("second")
        terminal.wait("[ad]? ")
        self.assertNotEqual(terminal.modes(), terminal.before)
        asker.kill()
        wait_for(lambda: terminal.modes() == terminal.before)
        terminal.process.send_signal(signal.SIGTERM)
        self.ended_well(terminal)

    def test_athd_that_goes_away_is_exit_status_2(self):
        agent = self.start()
        self.athd.stop()
        self.assertIn("athd ended the connection", self.end(agent, 2))


if __name__ == "__main__":
    unittest.main()
