"""`ath run` in a systemd scope, and in a sandbox: with what stands for systemd-run, with cgroups made by hand,
with a real user manager and a real bubblewrap where they can run."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import unittest

from peer.agent import BIN
from peer.run_case import ATH, AUDIENCE, WithAthd, content, environment, is_running, wait_for

SYSTEMD_RUN = """#!/bin/sh
# Stands for systemd-run: writes down its words, and becomes what it is to run, in no scope.
printf '%s\\n' "$@" > "$DIR/words"
env > "$DIR/variables"
{before}
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


def mounted_cgroups():
    with open("/proc/self/mounts", encoding="utf-8") as file:
        return next((line.split()[1] for line in file if line.split()[2] == "cgroup2"), None)


CGROUPS = mounted_cgroups()
SLICE = f"athd-tests-{os.getpid()}.slice"
MANAGERS_SERVICE = f"{SLICE}/user@{os.getuid()}.service"


def can_make_cgroups():
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        is_at_the_top = "0::/\n" in file.readlines()
    # where a systemd is in charge the hierarchy is its own
    return is_at_the_top and CGROUPS and os.access(CGROUPS, os.W_OK) and not os.path.exists("/run/systemd/system")


class Scope(WithAthd):
    """Where a systemd user manager seems to answer: what ath tells systemd-run, and what it makes of its answers."""

    def setUp(self):
        super().setUp()
        os.makedirs(self.path("runtime/systemd"))
        self.manager = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.manager.close)
        self.manager.bind(self.path("runtime/systemd/private"))
        self.manager.listen(8)

    def variables(self, before="", **more):
        os.makedirs(self.path("bin"), exist_ok=True)
        with open(self.path("bin/systemd-run"), "w", encoding="utf-8") as file:
            file.write(SYSTEMD_RUN.format(before=before))
        os.chmod(self.path("bin/systemd-run"), 0o755)
        return {"XDG_RUNTIME_DIR": self.path("runtime"), "PATH": self.path("bin") + ":" + os.environ["PATH"], **more}

    def test_systemd_run_is_asked_for_a_scope_and_never_sees_the_command(self):
        run = self.sh("echo $ATH_AUTH_SOCK; echo 'a secret thing'; exit 8", variables=self.variables())
        self.assertEqual(run.returncode, 8, run.stderr)
        self.assertIn(b"grants/travel/agent.sock\na secret thing\n", run.stdout)
        words = content(self.path("words")).splitlines()
        self.assertEqual(words[:4], ["--user", "--scope", "--quiet", "--collect"])
        self.assertRegex(words[4], r"^--unit=ath-run-travel-[A-Za-z0-9_-]{8,}\.scope$")
        self.assertEqual(words[5:7], ["--description=ath run travel", "--"])
        self.assertNotIn("secret", "".join(words))
        self.assertNotIn(self.athd.socket, content(self.path("variables")))

    def test_a_command_that_is_in_no_scope_has_a_grant_that_is_tied_to_none(self):
        run = self.sh('"$ATH" attest bot --audience https://flights.example', variables=self.variables())
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn(b"the grant is not tied to it", run.stderr)

    def test_the_process_that_the_grant_is_tied_to_is_the_command(self):
        with self.start("sh", "-c", "echo $$; read line", variables=self.variables(), stdin=subprocess.PIPE) as run:
            self.assertEqual(int(run.stdout.readline()), self.grants()["travel"]["process"]["pid"])
            run.communicate(b"end\n", timeout=60)

    @unittest.skipUnless(can_make_cgroups(), "takes a cgroup hierarchy of version 2 that may be written to")
    def test_in_a_scope_only_what_is_in_it_is_served(self):
        """The cgroup that systemd would make, made by hand: athd asks the kernel where its caller is."""
        manager = f"{CGROUPS}/{MANAGERS_SERVICE}/app.slice"
        self.addCleanup(subprocess.run, f"cd {CGROUPS} && rmdir -p {os.path.relpath(manager, CGROUPS)}/ath-run-*.scope "
                        "2>/dev/null; true", shell=True, check=True)
        variables = self.variables(f'for word; do case $word in --unit=*) unit={manager}/${{word#--unit=}} ;; esac; done; '
                                   'mkdir -p "$unit"; echo $$ > "$unit/cgroup.procs"')
        with self.start("sh", "-c", '"$ATH" attest bot --audience https://flights.example; read line; exit 4',
                        variables=variables, stdin=subprocess.PIPE) as run:
            self.assertTrue(run.stdout.readline().startswith(b"ey"))
            grant = self.grants()["travel"]
            self.assertRegex(grant["unit"], r"^ath-run-travel-.*\.scope$")
            outside = subprocess.run([ATH, "attest", "bot", "--audience", AUDIENCE], capture_output=True, timeout=60,
                                     env=environment(ATH_AUTH_SOCK=grant["socket"]), check=False)
            _, err = run.communicate(b"end\n", timeout=60)
        self.assertEqual((run.returncode, err), (4, b""))
        self.assertNotEqual(outside.returncode, 0)
        self.assertEqual(outside.stdout, b"")

    def test_a_systemd_run_that_fails_is_told_and_the_command_runs_all_the_same(self):
        run = self.sh("echo it ran; exit 8",
                      variables=self.variables("echo 'Failed to connect to bus: No medium found' >&2; exit 1"))
        self.assertEqual((run.returncode, run.stdout), (8, b"it ran\n"))
        self.assertIn(b"No medium found\n", run.stderr)
        self.assertIn(b"systemd-run made no scope", run.stderr)

    def test_a_manager_that_does_not_answer_is_not_asked(self):
        variables = self.variables()
        self.manager.close()
        run = self.sh("exit 8", variables=variables)
        self.assertEqual((run.returncode, run.stderr), (8, b""))
        self.assertFalse(os.path.exists(self.path("words")))

    def test_dry_run_says_that_it_would(self):
        run = self.run_it("true", limits=("--key", "bot", "--dry-run", "--json"), variables=self.variables())
        self.assertIn("systemd scope", json.loads(run.stdout)["runs"])
        self.assertFalse(os.path.exists(self.path("words")))


# What a user manager takes: a machine that looks as if systemd had started it, and a cgroup of its own.
MANAGER = """
set -eu
while umount -l /sys/fs/cgroup 2>/dev/null; do :; done
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /run/systemd
mkdir -p /run/systemd/system "$SERVICE"
echo $$ > "$SERVICE/cgroup.procs"
exec "$SYSTEMD" --user --log-target=console
"""
SYSTEMD = "/lib/systemd/systemd"


def can_start_a_manager():
    return can_make_cgroups() and os.access(SYSTEMD, os.X_OK) and os.path.isdir("/run/systemd") and shutil.which(
        "systemd-run") and subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/run/systemd"],
                                          capture_output=True, timeout=60, check=False).returncode == 0


@unittest.skipUnless(can_start_a_manager(), "systemd's user manager cannot run here")
class RealScope(WithAthd):
    """With a real systemd user manager, of no other units than those that ath makes."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.runtime = os.path.join(cls.athd.dir, "runtime")
        units = os.path.join(cls.athd.dir, "units")
        os.mkdir(cls.runtime, 0o700)
        os.mkdir(units)
        with open(os.path.join(units, "default.target"), "w", encoding="utf-8") as file:
            file.write("[Unit]\nDescription=Nothing\n")
        log = os.path.join(cls.athd.dir, "manager.log")
        with open(log, "wb") as file:
            cls.manager = subprocess.Popen(
                ["unshare", "-m", "--propagation", "private", "sh", "-c", MANAGER], stdin=subprocess.DEVNULL,
                stdout=file, stderr=file, start_new_session=True, env=environment(
                    XDG_RUNTIME_DIR=cls.runtime, HOME=cls.athd.dir, SYSTEMD=SYSTEMD, SYSTEMD_UNIT_PATH=units,
                    SERVICE=os.path.join("/sys/fs/cgroup", MANAGERS_SERVICE)))
        cls.addClassCleanup(cls.end_manager)
        wait_for(lambda: os.path.exists(os.path.join(cls.runtime, "systemd", "private")) or cls.manager.poll())
        if cls.manager.poll() is not None:
            raise AssertionError(content(log))

    @classmethod
    def end_manager(cls):
        cls.manager.send_signal(signal.SIGRTMIN + 24)  # leave at once: systemd(1)
        try:
            cls.manager.wait(20)
        except subprocess.TimeoutExpired:
            cls.manager.kill()
            cls.manager.wait()
        for folder, _, _ in os.walk(os.path.join(CGROUPS, SLICE), topdown=False):
            wait_for(lambda path=folder: "populated 0" in content(os.path.join(path, "cgroup.events")))
            os.rmdir(folder)

    def units(self):
        run = subprocess.run(["systemctl", "--user", "list-units", "--type=scope", "--plain", "--no-legend"],
                             env=environment(XDG_RUNTIME_DIR=self.runtime), capture_output=True, text=True, timeout=60,
                             check=True)
        return [line.split()[0] for line in run.stdout.splitlines() if line.startswith("ath-run-")]

    def test_command_is_in_a_scope_of_its_own_and_only_it_is_served(self):
        with self.start("sh", "-c", 'grep ^0:: /proc/self/cgroup; "$ATH" attest bot --audience https://flights.example; '
                        "setsid sleep 1000 & echo $! > $DIR/left; read line; exit 4",
                        variables={"XDG_RUNTIME_DIR": self.runtime}, stdin=subprocess.PIPE) as run:
            scope = run.stdout.readline().decode().strip().rsplit("/", 1)[1]
            self.assertRegex(scope, r"^ath-run-travel-.*\.scope$")
            self.assertTrue(run.stdout.readline().startswith(b"ey"))
            self.assertEqual((self.grants()["travel"]["unit"], self.units()), (scope, [scope]))
            outside = subprocess.run([ATH, "attest", "bot", "--audience", AUDIENCE], capture_output=True, timeout=60,
                                     env=environment(ATH_AUTH_SOCK=self.grants()["travel"]["socket"]), check=False)
            self.assertEqual((outside.returncode, outside.stdout), (77, b""))
            self.assertIn(b"unit", outside.stderr)
            _, err = run.communicate(b"end\n", timeout=60)
        self.assertEqual(run.returncode, 4)
        self.assertIn(b"ended 1 process", err)
        self.assertFalse(is_running(int(content(self.path("left")))))
        wait_for(lambda: not self.units())

    def test_words_and_status_pass_unchanged(self):
        words = [b"", b"two words", b"$HOME ${HOME}", b"%n %%", b"--help", b"\xff\xfe"]
        run = self.run_it("printf", "%s\\0", *words, variables={"XDG_RUNTIME_DIR": self.runtime})
        self.assertEqual((run.returncode, run.stdout.split(b"\0")[:-1], run.stderr), (0, words, b""))
        for command, status in (("no-such-command-here", 127), ("/etc/passwd", 126)):
            self.assertEqual(self.run_it(command, variables={"XDG_RUNTIME_DIR": self.runtime}).returncode, status)
        self.assertEqual(self.sh("kill -9 $$", variables={"XDG_RUNTIME_DIR": self.runtime}).returncode, 137)

    def test_only_the_three_descriptors_are_the_commands(self):
        out = self.run_it(sys.executable, "-c", "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))",
                          variables={"XDG_RUNTIME_DIR": self.runtime}).stdout
        self.assertEqual(json.loads(out), [0, 1, 2, 3])

    def test_athd_is_killed_and_the_scope_is_still_served(self):
        with self.start("sh", "-c", 'echo ready; read line; "$ATH" attest bot --audience https://flights.example',
                        variables={"XDG_RUNTIME_DIR": self.runtime}, stdin=subprocess.PIPE) as run:
            self.assertEqual(run.stdout.readline(), b"ready\n")
            self.athd.stop()
            self.athd.start()
            out, err = run.communicate(b"go\n", timeout=60)
        self.assertEqual(run.returncode, 0, err)
        self.assertTrue(out.startswith(b"ey"))


def bubblewrap_works():
    return shutil.which("bwrap") and subprocess.run(
        ["bwrap", "--ro-bind", "/", "/", "--proc", "/proc", "--unshare-all", "true"], stdin=subprocess.DEVNULL,
        capture_output=True, timeout=60, check=False).returncode == 0


@unittest.skipUnless(bubblewrap_works(), "bubblewrap cannot run here")
class Sandbox(WithAthd):
    """docs/sandbox.md, with a real bubblewrap: the grant's directory is all there is of athd."""

    def sandbox(self, script, bind='--ro-bind "${ATH_AUTH_SOCK%/*}" "${ATH_AUTH_SOCK%/*}"', **more):
        programs = " ".join(f"--ro-bind {path} {path}" for path in ("/usr", BIN) if path != "/usr/bin")
        with open(self.path("inside"), "w", encoding="utf-8") as file:
            file.write(script)
        os.mkdir(self.path("shared"))
        return self.start("sh", "-c", f"""
            exec bwrap --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
                --proc /proc --dev /dev --tmpfs /tmp {programs} {bind} --bind "$DIR/shared" /shared \
                --ro-bind "$DIR/inside" /inside --unshare-all --share-net --die-with-parent -- sh /inside""", **more)

    def run_in(self, script, **more):
        with self.sandbox(script, **more) as run:
            out, err = run.communicate(timeout=60)
        return run.returncode, out.decode(), err.decode()

    def test_the_grant_works_and_nothing_else_is_to_be_seen(self):
        status, out, said = self.run_in(f"""
            "$ATH" attest bot --audience {AUDIENCE} | cut -c1-2
            [ -e {self.athd.socket} ] && echo socket
            [ -e {self.athd.state} ] && echo state
            "$ATH" --socket {self.athd.socket} status; echo $?
            "$ATH" attest other --audience {AUDIENCE}; echo $?
            ls -d /proc/[0-9]* | wc -l""")
        lines = out.split()
        self.assertEqual((status, lines[:3]), (0, ["ey", "2", "77"]), said)
        self.assertLess(int(lines[3]), 10)

    def test_athd_is_started_again_and_the_directory_that_is_mounted_has_its_socket(self):
        with self.sandbox(f"""
            "$ATH" attest bot --audience {AUDIENCE} > /shared/first; echo $? > /shared/status1
            while ! [ -e /shared/go ]; do sleep 0.01; done
            "$ATH" attest bot --audience {AUDIENCE} > /shared/second 2> /shared/err; echo $? > /shared/status2
            """) as run:
            self.assertEqual(wait_for(lambda: content(self.path("shared/status1"))), "0\n")
            self.athd.stop()
            self.athd.start()
            open(self.path("shared/go"), "wb").close()
            self.assertEqual(wait_for(lambda: content(self.path("shared/status2"))), "0\n",
                             content(self.path("shared/err")))
            run.communicate(timeout=60)
        self.assertEqual(run.returncode, 0)

    def test_within_it_a_grant_can_be_made_and_none_for_a_process(self):
        status, out, said = self.run_in("""
            "$ATH" run inner --key bot -- echo it ran; echo $?
            "$ATH" grant create inner --key bot --field socket""",
                                        limits=("--key", "bot", "--method", "group:use", "--method", "grant.create"))
        self.assertEqual((status, out.split()), (0, ["64", os.path.join(self.athd.dir, "grants/inner/agent.sock")]), said)
        self.assertIn("PID namespace", said)

    def test_a_directory_that_is_not_mounted_is_told(self):
        status, _, said = self.run_in('"$ATH" status', bind="")
        self.assertEqual(status, 2)
        self.assertIn("a sandbox does not show it", said)


if __name__ == "__main__":
    unittest.main()
