"""`ath run` and `ath grant` against a real athd: what the command gets, what it does not, and what is left when
somebody is killed."""
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

from peer.agent import Athd, Connection
from peer.run_case import ATH, AUDIENCE, WithAthd, content, environment, is_running, wait_for


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


class Command(WithAthd):
    """What the command is given, and how it ends."""

    def test_exit_status_is_the_commands(self):
        for status in (0, 1, 7, 126, 255):
            self.assertEqual(self.sh(f"exit {status}").returncode, status)
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
            self.assertEqual(self.sh(f"kill -{number} $$").returncode, 128 + number)

    def test_a_command_that_is_not_there_is_127_and_one_that_cannot_be_run_126(self):
        for command, status, words in ((os.path.join(self.dir, "none"), 127, b"No such file"),
                                       ("no-such-command-here", 127, b"no such command in PATH"),
                                       ("/etc/passwd", 126, b"Permission denied"),
                                       (self.dir, 126, b"Permission denied")):
            run = self.run_it(command)
            self.assertEqual((run.returncode, run.stdout), (status, b""), command)
            self.assertIn(words, run.stderr)

    def test_words_are_passed_as_they_are(self):
        words = [b"", b"two words", b"$HOME ${HOME}", b"%n", b"--help", b"--", b"-x", b"\xff\xfe", b"line\nline"]
        run = self.run_it("printf", "%s\\0", *words)
        self.assertEqual(run.stdout.split(b"\0")[:-1], words)

    def test_without_two_hyphens_the_command_begins_at_the_first_word(self):
        run = subprocess.run([ATH, "run", "travel", "--key", "bot", "echo", "--key", "other"], timeout=60,
                             env=environment(ATH_AUTH_SOCK=self.athd.socket), capture_output=True, check=False)
        self.assertEqual((run.returncode, run.stdout), (0, b"--key other\n"), run.stderr)

    def test_standard_input_and_output_are_the_commands(self):
        bytes_in = os.urandom(300000)
        self.assertEqual(self.run_it("cat", text=bytes_in).stdout, bytes_in)
        self.assertEqual(self.sh("echo out; echo error >&2; exit 3").stderr, b"error\n")

    def test_environment_names_the_grants_socket_and_does_not_lead_to_the_owners(self):
        run = self.run_it("env", variables={"MINE": "kept", "ATH_COLOUR": "kept", "ATH_OTHER_SOCK": "/elsewhere",
                                            "LEADS": f"unix:{self.athd.socket}"})
        variables = dict(line.split("=", 1) for line in run.stdout.decode().splitlines() if "=" in line)
        self.assertEqual(variables["ATH_AUTH_SOCK"], os.path.join(self.athd.dir, "grants", "travel", "agent.sock"))
        self.assertEqual((variables["MINE"], variables["ATH_COLOUR"]), ("kept", "kept"))
        self.assertEqual([name for name in ("LEADS", "ATH_OTHER_SOCK") if name in variables], [])
        self.assertNotIn(self.athd.socket, run.stdout.decode())

    def test_no_descriptor_is_inherited_but_the_three(self):
        with open(os.devnull, "rb") as file:
            os.set_inheritable(file.fileno(), True)
            out = self.run_it(sys.executable, "-c", "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))",
                              close_fds=False).stdout
        descriptors = json.loads(out)
        self.assertEqual(descriptors[:3], [0, 1, 2])
        self.assertEqual(len(descriptors), 4)  # the fourth reads the list

    def test_signals_sent_to_ath_are_passed_on(self):
        for name in ("TERM", "HUP", "INT", "QUIT", "USR1", "USR2"):
            with self.start("sh", "-c", f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
                            ) as run:
                self.assertEqual(run.stdout.readline(), b"ready\n")
                run.send_signal(getattr(signal, f"SIG{name}"))
                out, err = run.communicate(timeout=60)
            self.assertEqual((run.returncode, out), (9, f"got {name}\n".encode()), err)

    def test_what_the_command_leaves_running_is_ended(self):
        run = self.sh("""
            sleep 1000 & echo $! > $DIR/plain
            setsid sh -c 'echo $$ > $DIR/session; sleep 1000 & echo $! > $DIR/deeper; wait' &
            (trap "" TERM; exec sleep 1000) & echo $! > $DIR/stubborn
            while ! [ -s $DIR/deeper ]; do sleep 0.01; done""")
        self.assertEqual(run.returncode, 0, run.stderr)
        for name in ("plain", "session", "deeper", "stubborn"):
            self.assertFalse(is_running(int(content(self.path(name)))), name)
        self.assertIn(b"had left running", run.stderr)

    def test_what_was_there_before_is_not_ended(self):
        """A shell that becomes ath leaves it children that the command did not start."""
        run = subprocess.run(["sh", "-c", 'sleep 1000 & echo $! > $DIR/out; exec "$ATH" run travel --key bot -- true'],
                             env=environment(ATH_AUTH_SOCK=self.athd.socket, DIR=self.dir), timeout=60,
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
        pid = int(content(self.path("out")))
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        self.assertEqual(run.returncode, 0)
        self.assertTrue(is_running(pid))

    def test_kept_children_live_and_have_no_access(self):
        run = self.sh("""
            (trap "" HUP; while [ -d $DIR ] && ! [ -e $DIR/go ]; do sleep 0.01; done
             "$ATH" attest bot --audience https://flights.example > $DIR/out 2> $DIR/err; echo $? > $DIR/status
            ) > /dev/null 2>&1 &
            "$ATH" attest bot --audience https://flights.example > $DIR/before""",
                      limits=("--key", "bot", "--keep-children"))
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertRegex(content(self.path("before")), r"^ey")
        open(self.path("go"), "wb").close()
        self.assertEqual(wait_for(lambda: content(self.path("status"))), "2\n")
        self.assertEqual(content(self.path("out")), "")
        self.assertIn("the grant has ended", content(self.path("err")))


class Grant(WithAthd):
    """What comes through the socket may do what was granted."""

    def status_of(self, script, **more):
        run = self.sh(script, **more)
        return run.returncode, run.stderr.decode()

    def test_only_what_was_granted_works_inside(self):
        limits = ("--key", "bot", "--audience", AUDIENCE)
        self.assertRegex(self.succeeds('"$ATH" attest bot --audience https://flights.example', limits=limits), r"^ey")
        for script, words in (
                ('"$ATH" attest bot --audience https://elsewhere.example', "audience"),
                ('"$ATH" attest other --audience https://flights.example', ""),
                ('"$ATH" key create more --role client', ""),
                ('"$ATH" key delete bot', ""),
                ('"$ATH" policy show', ""),
                ('"$ATH" audit show', ""),
                ('"$ATH" grant create wide --key other', ""),
                ('"$ATH" grant list', "")):
            status, said = self.status_of(script, limits=limits)
            self.assertEqual(status, 77, (script, said))
            self.assertIn("POLICY_DENIED", said)
            self.assertIn(words, said)
        listed = json.loads(self.succeeds('"$ATH" key list --json', limits=limits))
        self.assertEqual([key["name"] for key in listed["keys"]], ["bot"])

    def test_uses_are_counted(self):
        out = self.succeeds("""
            for i in 1 2 3; do "$ATH" attest bot --audience https://flights.example > /dev/null 2>&1; echo $?; done""",
                            limits=("--key", "bot", "--max-uses", "2"))
        self.assertEqual(out.split()[:2], ["0", "0"])
        self.assertIn(out.split()[2], ("77", "2"))  # used up, it has ended

    def test_it_is_gone_when_ath_ends(self):
        path = self.succeeds('printf %s "$ATH_AUTH_SOCK"')
        self.assertEqual(self.grants(), {})
        self.assertFalse(os.path.exists(path))

    def test_command_of_a_grant_that_is_refused_does_not_run(self):
        run = self.run_it("echo", "it ran", limits=("--key", "nobody"))
        self.assertEqual((run.returncode, run.stdout), (1, b""))
        self.assertIn(b"KEY_NOT_FOUND", run.stderr)
        run = self.run_it("echo", "it ran", limits=("--key", "bot", "--method", "policy.reload"))
        self.assertNotEqual(run.returncode, 0)
        self.assertEqual(run.stdout, b"")
        self.assertIn(b"policy.reload", run.stderr)

    def test_a_name_in_use_is_told_and_the_other_goes_on(self):
        with self.start("sh", "-c", "echo ready; read line; exit 4", stdin=subprocess.PIPE) as first:
            self.assertEqual(first.stdout.readline(), b"ready\n")
            second = self.run_it("echo", "it ran")
            self.assertEqual((second.returncode, second.stdout), (1, b""))
            self.assertIn(b"travel", second.stderr)
            self.assertIn("travel", self.grants())
            first.communicate(b"go\n", timeout=60)
        self.assertEqual(first.returncode, 4)

    def test_one_that_was_made_before_is_used_as_it_is_and_ends_with_the_command(self):
        made = self.athd.call("grant.create", name="travel", keys=["bot"], audiences=[AUDIENCE])
        out = self.succeeds('echo "$ATH_AUTH_SOCK"; "$ATH" grant show --field audiences.0', limits=())
        self.assertEqual(out.split(), [made["socket"], AUDIENCE])
        self.assertEqual(self.grants(), {})
        run = self.run_it("echo", "it ran", limits=())
        self.assertEqual((run.returncode, run.stdout), (1, b""))
        self.assertIn(b"travel", run.stderr)

    def test_what_it_may_do_is_told_inside(self):
        limits = ("--key", "bot", "--audience", AUDIENCE, "--ttl", "10m", "--max-uses", "5")
        shown = json.loads(self.succeeds('"$ATH" grant show --json', limits=limits))
        self.assertEqual((shown["name"], shown["keys"], shown["audiences"], shown["uses_left"]),
                         ("travel", ["bot"], [AUDIENCE], 5))
        self.assertAlmostEqual(shown["expires_at"], time.time() + 600, delta=60)
        told = self.succeeds('"$ATH" status', limits=limits)
        self.assertRegex(told, r"name +travel\n")
        self.assertIn(AUDIENCE, told)
        doctor = json.loads(self.succeeds('"$ATH" doctor --json', limits=limits))
        found = [finding for finding in doctor["findings"] if finding["what"] == "grant"]
        self.assertEqual(len(found), 1)
        for word in ("travel", "bot", AUDIENCE):
            self.assertIn(word, found[0]["found"])
        own = subprocess.run([ATH, "grant", "show"], env=environment(ATH_AUTH_SOCK=self.athd.socket), timeout=60,
                             capture_output=True, check=False)
        self.assertEqual(own.returncode, 1)
        self.assertIn(b"not the socket of a grant", own.stderr)

    def test_inside_another_it_can_only_narrow(self):
        outer = ("--key", "bot", "--audience", AUDIENCE, "--method", "group:use", "--method", "grant.create")
        inner = '"$ATH" run inner --key bot --audience %s -- "$ATH" attest bot --audience %s'
        self.assertRegex(self.succeeds(inner % (AUDIENCE, AUDIENCE), limits=outer), r"^ey")
        status, said = self.status_of(inner % ("https://elsewhere.example", AUDIENCE), limits=outer)
        self.assertNotEqual(status, 0)
        self.assertIn("audience", said)
        status, said = self.status_of('"$ATH" run inner --key other -- echo it ran', limits=outer)
        self.assertNotEqual(status, 0)
        status, said = self.status_of('"$ATH" run inner --key bot -- echo it ran')
        self.assertEqual(status, 77, said)

    def test_dry_run_ends_as_the_run_would(self):
        limits = ("--key", "bot", "--dry-run")
        for command, status, said in (("nosuch-command", 127, b"nosuch-command: there is no such command in PATH"),
                                      ("/nosuch/command", 127, b"there is no such command"),
                                      ("/etc/passwd", 126, b"it cannot be run"), ("true", 0, b"")):
            with self.subTest(command):
                run = self.run_it(command, limits=limits)
                self.assertEqual(run.returncode, status, run.stderr)
                self.assertIn(said, run.stderr)
                self.assertEqual(self.run_it(command, limits=limits[:-1]).returncode, status)
        self.athd.call("grant.create", name="travel", keys=["bot"])
        run = self.run_it("true", limits=limits)
        self.assertEqual(run.returncode, 1)
        self.assertIn(b"there already is a grant travel: end it (`ath grant revoke travel`)", run.stderr)
        self.athd.call("grant.revoke", name="travel")

    def test_dry_run_tells_and_does_nothing(self):
        limits = ("--key", "bot", "--audience", AUDIENCE, "--dry-run")
        run = self.run_it("echo", "it ran", limits=(*limits, "--json"), variables={"LEADS": self.athd.socket})
        self.assertEqual(run.returncode, 0, run.stderr)
        told = json.loads(run.stdout)
        self.assertEqual(told["grant"], {"name": "travel", "keys": ["bot"], "audiences": [AUDIENCE]})
        self.assertEqual((told["command"], told["policy"]["allowed"], told["exists"]), (["echo", "it ran"], True, False))
        self.assertEqual(told["removed_environment"], ["LEADS"])
        self.assertIn("in this group of processes", told["runs"])
        self.assertRegex(self.run_it("echo", limits=limits).stdout.decode(), rf"audiences +{AUDIENCE}")
        self.assertEqual(self.run_it("echo", limits=("--key", "nobody", "--dry-run")).returncode, 1)
        self.assertEqual(self.run_it("echo", limits=("--dry-run",)).returncode, 1)
        self.assertEqual(self.grants(), {})
        self.run_it("echo", limits=limits, name="dry")
        self.run_it("echo", name="wet")
        made = [record["grant"] for record in self.athd.call("audit.query", event="grant_created", limit=1000)["records"]]
        self.assertEqual((made.count("dry"), made.count("wet")), (0, 1))

    def test_grants_are_made_shown_and_revoked(self):
        def ath(*words, status=0):
            run = subprocess.run([ATH, *words], env=environment(ATH_AUTH_SOCK=self.athd.socket), timeout=60,
                                 capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, status, run.stderr)
            return run.stdout + run.stderr

        path = ath("grant", "create", "web", "--key", "bot", "--ttl", "1h", "--field", "socket").strip()
        self.assertTrue(stat.S_ISSOCK(os.stat(path).st_mode))
        self.assertRegex(ath("grant", "list"), r"(?m)^NAME .*\nweb +bot ")
        self.assertRegex(ath("grant", "show", "web"), r"(?m)^keys +bot$")
        self.assertIn("no grant nobody", ath("grant", "show", "nobody", status=1))
        connection = Connection(path)
        self.assertEqual(ath("grant", "revoke", "web"), "revoked web\n")
        self.assertEqual(connection.socket.recv(1), b"")  # cut at once
        connection.close()
        self.assertFalse(os.path.exists(path))


class Killed(WithAthd):
    """Whoever is killed: the grant lives as long as the command."""

    SCRIPT = """
        echo $$ > $DIR/pid
        while [ -d $DIR ] && ! [ -e $DIR/end ]; do
            if [ -e $DIR/ask ]; then
                rm $DIR/ask
                "$ATH" attest bot --audience https://flights.example > $DIR/jwt 2> $DIR/err; echo $? > $DIR/status
            fi
            sleep 0.01
        done"""

    def ask(self):
        """The exit status of `ath attest` in the command."""
        if os.path.exists(self.path("status")):
            os.unlink(self.path("status"))
        open(self.path("ask"), "wb").close()
        return int(wait_for(lambda: content(self.path("status")).strip() or None))

    def end(self):
        open(self.path("end"), "wb").close()

    def test_ath_is_killed_and_the_grant_lives_until_the_command_ends(self):
        with self.start("sh", "-c", self.SCRIPT) as run:
            pid = int(wait_for(lambda: content(self.path("pid"))))
            run.kill()
            run.wait(60)
            self.assertTrue(is_running(pid))
            self.assertEqual(self.ask(), 0, content(self.path("err")))
            self.assertIn("travel", self.grants())
            self.end()
            wait_for(lambda: not is_running(pid))
            wait_for(lambda: not self.grants())
        self.assertFalse(os.path.exists(os.path.join(self.athd.dir, "grants", "travel", "agent.sock")))

    def test_athd_is_killed_or_ended_and_the_same_path_works_again(self):
        limits = ("--key", "bot", "--max-uses", "4")
        with self.start("sh", "-c", self.SCRIPT, limits=limits) as run:
            wait_for(lambda: content(self.path("pid")))
            self.assertEqual(self.ask(), 0, content(self.path("err")))
            self.athd.stop()
            self.assertEqual(self.ask(), 2)
            self.athd.start()
            self.assertEqual(self.ask(), 0, content(self.path("err")))
            self.assertEqual(self.grants()["travel"]["uses_left"], 2)
            self.athd.process.kill()
            self.athd.process.wait()
            self.athd.process = None
            self.athd.connection.close()
            self.athd.log_seen = len(self.athd.read_log())
            self.athd.start()
            self.assertEqual(self.ask(), 0, content(self.path("err")))
            self.assertLessEqual(self.grants()["travel"]["uses_left"], 1)
            self.end()
            run.communicate(timeout=60)
        self.assertEqual(run.returncode, 0)

    def test_athd_is_not_there_when_the_command_ends(self):
        with self.start("sh", "-c", self.SCRIPT) as run:
            wait_for(lambda: content(self.path("pid")))
            self.athd.stop()
            self.end()
            out, err = run.communicate(timeout=60)
        self.assertEqual((run.returncode, out), (0, b""), err)
        self.athd.start()
        self.assertEqual(self.grants(), {})

    def test_command_is_killed_and_its_grant_is_gone(self):
        with self.start("sh", "-c", self.SCRIPT) as run:
            os.kill(int(wait_for(lambda: content(self.path("pid")))), signal.SIGKILL)
            run.communicate(timeout=60)
        self.assertEqual(run.returncode, 128 + signal.SIGKILL)
        self.assertEqual(self.grants(), {})


@unittest.skipUnless(os.getuid() == 0, "takes root, to be somebody else")
class Others(WithAthd):
    """athds that are another's: one for the whole machine, and one that may not be reached."""

    USER = 12501

    def setUp(self):
        super().setUp()
        place = tempfile.mkdtemp(prefix="ath-bin-")  # of which everybody may run a copy
        os.chmod(place, 0o755)
        self.addCleanup(shutil.rmtree, place)
        self.program = shutil.copy2(ATH, place)

    def run_as(self, uid, path, *words):
        return subprocess.run([self.program, *words], user=uid, group=uid, extra_groups=[], cwd="/", timeout=60,
                              env=environment(ATH_AUTH_SOCK=path), stdin=subprocess.DEVNULL, capture_output=True,
                              check=False)

    def test_a_machines_athd_gives_each_uid_its_own(self):
        with Athd(arguments=["--system"]) as athd:
            os.chmod(athd.dir, 0o755)
            os.chmod(athd.socket, 0o666)
            for uid in (self.USER, self.USER + 1):
                made = self.run_as(uid, athd.socket, "key", "create", "bot", "--role", "client", "--agent-id",
                                   "https://agents.example/bot")
                self.assertEqual(made.returncode, 0, made.stderr)
            limits = ("run", "travel", "--key", "bot", "--")
            with subprocess.Popen([self.program, *limits, "sh", "-c", f'{self.program} attest bot --audience {AUDIENCE}; '
                                   'echo "$ATH_AUTH_SOCK"; read line'], user=self.USER, group=self.USER, extra_groups=[], cwd="/",
                                  env=environment(ATH_AUTH_SOCK=athd.socket), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
                self.assertTrue(run.stdout.readline().startswith(b"ey"))
                path = run.stdout.readline().decode().strip()
                self.assertEqual(path, os.path.join(athd.dir, "grants", str(self.USER), "travel", "agent.sock"))
                for uid in (self.USER + 1, 0):
                    self.assertNotEqual(self.run_as(uid, path, "attest", "bot", "--audience", AUDIENCE).returncode, 0)
                second = self.run_as(self.USER + 1, athd.socket, *limits, "true")  # a name is a uid's own
                self.assertEqual(second.returncode, 0, second.stderr)
                _, err = run.communicate(b"end\n", timeout=60)
            self.assertEqual((run.returncode, err), (0, b""))

    def test_a_socket_that_may_not_be_used_is_told_from_one_that_is_not_there(self):
        run = self.run_as(self.USER, self.athd.socket, "run", "travel", "--key", "bot", "--", "echo", "it ran")
        self.assertEqual((run.returncode, run.stdout), (2, b""))
        self.assertIn(b"not allowed to use the socket", run.stderr)
        self.assertNotIn(b"not running", run.stderr)


if __name__ == "__main__":
    unittest.main()
