"""Where a PIN is: in the helper while it is needed, and nowhere else. Looked for in arguments, environments,
files and memory, by its bytes."""
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from peer.agent import BIN
from peer.pinentry import GOOD
from peer.token_case import AUDIENCE, TokenTest
from peer.wire import Wire, apart, is_running, name_of, process, request, wait_for

SIGN = {"key": "agent", "audience": AUDIENCE}
NOBODY = 65534
HUGE = 1 << 30  # what a sanitizer maps for itself


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def told_to(pid):
    """Its arguments and environment."""
    text = b""
    for name in ("cmdline", "environ"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                text += file.read()
        except OSError:
            pass
    return text


def memory_has(pid, needle):
    """Whether the bytes are in any readable page of the process; and how much was looked at."""
    seen, found = 0, False
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
            maps = [line.split() for line in file]
    except PermissionError:
        raise unittest.SkipTest("only root, with CAP_SYS_PTRACE, may look into the memory of athd") from None
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for fields in maps:
            begin, end = (int(part, 16) for part in fields[0].split("-"))
            if "r" not in fields[1] or fields[-1] in ("[vvar]", "[vsyscall]") or end - begin >= HUGE:
                continue
            try:
                memory.seek(begin)
                content = memory.read(end - begin)
            except (OSError, OverflowError, ValueError):
                continue
            seen += len(content)
            found = found or needle in content
    return found, seen


def files_with(directory, needle):
    found = []
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    if needle in file.read():
                        found.append(path)
    return found


class Nowhere(TokenTest):
    def setUp(self):
        self.token = self.new_token()
        self.needle = self.token.pin.encode()
        self.athd = self.new_athd(self.token, arguments=("--log-level", "debug"))

    def look(self, when):
        for pid in processes():
            self.assertNotIn(self.needle, told_to(pid), (when, name_of(pid)))
        self.assertEqual(files_with(self.athd.state, self.needle), [], when)
        for text in (self.athd.read_log(), self.athd.questions()):
            self.assertNotIn(self.token.pin, text, when)
        found, seen = memory_has(self.athd.process.pid, self.needle)
        self.assertGreater(seen, 1 << 20)
        self.assertFalse(found, f"{when}: in athd's memory")

    def test_pin_of_a_prompter_is_in_the_helper_only(self):
        self.create(self.athd)
        self.look("after the first login")
        self.athd.stop()
        self.athd.answers_pin(f"while [ ! -e {self.token.dir}/go ]; do sleep 0.02; done\n" + GOOD)
        self.token.fault("C_Login wait")
        self.athd.start()
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "attestation.create", **SIGN))
            wait_for(lambda: self.athd.questions().count("GETPIN") > 1)
            self.look("while a person is asked")
            with open(os.path.join(self.token.dir, "go"), "w", encoding="utf-8"):
                pass
            wait_for(lambda: self.token.calls("C_Login") > 0)
            helper = process(self.athd, "ath-hsm-helper")
            self.assertTrue(memory_has(helper, self.needle)[0], "else this finds nothing anywhere")
            self.look("while the PIN is tried")
            self.token.fault()
            self.assertIn("result", wire.line())
        self.look("after login")
        self.assertFalse(memory_has(helper, self.needle)[0], "a PIN that is not kept stays in the helper")
        for _ in range(10):
            self.attest(self.athd)
        self.look("after signatures")

    def test_pin_of_a_file_is_in_the_helper_only(self):
        self.athd.stop()
        athd = self.athd = self.new_athd(self.token, query=self.token.pin_file(), arguments=("--log-level", "debug"))
        self.create(athd)
        self.attest(athd)
        self.look("after login")

    def test_wrong_pin_is_in_no_log_either(self):
        self.create(self.athd)
        self.athd.stop()
        self.athd.answers_pin(f'echo "D {self.token.pin}-wrong"; echo OK')
        self.athd.start()
        self.attest_refused("PIN_INCORRECT", self.athd)
        self.look("after a wrong one")


class Out(TokenTest):
    """What another process of the same user can get, and what a crash leaves."""

    def setUp(self):
        self.token = self.new_token()

    def as_somebody(self):
        """An athd of an ordinary user, with programs that this user can run."""
        athd = self.new_athd(self.token, start=False)
        programs = tempfile.mkdtemp(prefix="athd-bin-")
        self.addCleanup(shutil.rmtree, programs)
        for name in ("athd", "ath-hsm-helper"):
            shutil.copy2(os.path.join(BIN, name), programs)
        os.chmod(programs, 0o755)
        if os.geteuid() == 0:
            for directory in (athd.dir, self.token.dir):
                subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", directory], check=True)
            athd.uid = NOBODY
        athd.programs, athd.token.module = programs, self.token.module
        return athd

    def test_same_user_can_read_no_memory(self):
        athd = self.as_somebody()
        athd.arguments[athd.arguments.index("--hsm") + 1] = self.token.uri(module="/usr/lib/softhsm/libsofthsm2.so")
        athd.spawn()
        athd.wait_until_ready()
        helper = process(athd, "ath-hsm-helper")
        uid = NOBODY if os.geteuid() == 0 else None

        def readable():
            other = subprocess.Popen(["sleep", "30"])
            time.sleep(0.1)
            found = {}
            for name, pid in (("athd", athd.process.pid), ("helper", helper), ("other", other.pid)):
                try:
                    with open(f"/proc/{pid}/mem", "rb"):
                        found[name] = True
                except PermissionError:
                    found[name] = False
            other.kill()
            other.wait()
            return found
        self.assertEqual(apart(readable, uid), {"athd": False, "helper": False, "other": True})

    def cores(self, directory):
        return [name for name in os.listdir(directory) if name.startswith("core")]

    def test_crash_leaves_no_core(self):
        with open("/proc/sys/kernel/core_pattern", encoding="utf-8") as file:
            if file.read().strip().startswith(("|", "/")):
                self.skipTest("cores do not go where this test could find them")
        limits = resource.getrlimit(resource.RLIMIT_CORE)
        if limits[1] != resource.RLIM_INFINITY:
            self.skipTest("no core could be had")
        directory = tempfile.mkdtemp(prefix="athd-core-")
        self.addCleanup(shutil.rmtree, directory)
        athd = self.new_athd(self.token, query=self.token.pin_file(), start=False)
        athd.directory = directory
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_CORE, limits)
        control = subprocess.Popen(["sleep", "30"], cwd=directory)
        control.send_signal(signal.SIGQUIT)
        control.wait()
        self.assertEqual(len(self.cores(directory)), 1, "else this would find none anyway")
        for name in self.cores(directory):
            os.unlink(os.path.join(directory, name))
        athd.start()
        self.create(athd)
        for number in (signal.SIGTRAP, signal.SIGABRT, signal.SIGQUIT):  # not SIGSEGV: a sanitizer takes it
            helper = process(athd, "ath-hsm-helper")
            os.kill(helper, number)
            wait_for(lambda helper=helper: not is_running(helper), 10)
            self.attest(athd)
        athd.connection.close()
        athd.connection = None
        athd.process.send_signal(signal.SIGABRT)
        self.assertEqual(athd.process.wait(20), -signal.SIGABRT)
        athd.process = None
        self.assertEqual(self.cores(directory), [])


if __name__ == "__main__":
    unittest.main()
