"""For tests of `ath run`: an athd with two client keys, and commands that have a grant of it."""
import os
import subprocess
import tempfile
import time
import unittest

from .agent import BIN, Athd

ATH = os.path.join(BIN, "ath")
AUDIENCE = "https://flights.example"
AGENT_ID = "https://agents.example/bot"


def environment(**more):
    kept = {name: value for name, value in os.environ.items()
            if name not in ("ATH_AUTH_SOCK", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")}
    return {**kept, "ATH": ATH, **more}


def wait_for(what, seconds=120):
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


class WithAthd(unittest.TestCase):
    """Each class has an athd of its own, with the client keys bot and other."""

    @classmethod
    def setUpClass(cls):
        cls.athd = Athd()
        cls.athd.__enter__()
        cls.addClassCleanup(cls.athd.__exit__)
        for name in ("bot", "other"):
            cls.athd.call("key.create", name=name, role="client", agent_id=AGENT_ID)

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="t", dir=self.athd.dir)
        self.addCleanup(self.no_grant_is_left)

    def no_grant_is_left(self):
        wait_for(lambda: not self.grants())

    def grants(self):
        return {grant["name"]: grant for grant in self.athd.call("grant.list")["grants"]}

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, *words, name="travel", limits=("--key", "bot"), **more):
        """ath run, in a process group of its own as a shell would give it."""
        more.setdefault("stdin", subprocess.DEVNULL)
        variables = more.pop("variables", {})
        return subprocess.Popen([ATH, "run", name, *limits, "--", *words], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, start_new_session=True,
                                env=environment(ATH_AUTH_SOCK=self.athd.socket, DIR=self.dir, **variables), **more)

    def run_it(self, *words, text=None, **more):
        with self.start(*words, **{"stdin": subprocess.PIPE, **more} if text is not None else more) as run:
            out, err = run.communicate(text, timeout=120)
        if b"Sanitizer" in err:
            raise AssertionError(err.decode())
        return subprocess.CompletedProcess(words, run.returncode, out, err)

    def sh(self, script, **more):
        return self.run_it("sh", "-c", script, **more)

    def succeeds(self, script, **more):
        run = self.sh(script, **more)
        self.assertEqual(run.returncode, 0, run.stderr.decode())
        return run.stdout.decode()
