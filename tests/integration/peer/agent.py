"""Starts an athd with a software TPM in a directory of its own, and speaks JSON-RPC with it."""
import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from . import place  # before anything is made

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BIN = os.environ.get("ATH_BIN", os.path.join(SOURCE, "build", "release", "bin"))

PROMPTER = """#!/bin/sh
# A pinentry that writes down what it is told and answers every question with {answer}; asked for a PIN,
# it does what the file getpin says ($about: the description that names a key).
echo $$ >> "{dir}/prompters"
echo OK ready
while read -r line; do
    printf '%s\\n' "$line" >> "{dir}/questions"
    case "$line" in
    CONFIRM*) echo "{answer}" ;;
    SETDESC*Key:*) about=$line; echo OK ;;
    GETPIN*) . "{dir}/getpin" ;;
    BYE*) echo OK; exit ;;
    *) echo OK ;;
    esac
done
"""


class Failed(Exception):
    """athd's error answer."""

    def __init__(self, error):
        super().__init__(f"{error['code']} {error.get('data', {}).get('reason')}: {error['message']}")
        self.code, self.message = error["code"], error["message"]
        self.data = error.get("data", {})
        self.reason = self.data.get("reason")


class Connection:
    """One connection, one call at a time: ten lines is what a client takes."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rwb")
        self.id = 0

    def exchange(self, line):
        self.lines.write(line.encode() + b"\n")
        self.lines.flush()
        return json.loads(self.lines.readline())

    def call(self, method, /, **params):
        self.id += 1
        answer = self.exchange(json.dumps({"jsonrpc": "2.0", "id": self.id, "method": method,
                                           "params": params}))
        if answer.get("id") != self.id:
            raise AssertionError(f"an answer to something else: {answer}")
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["result"]

    def close(self):
        self.lines.close()
        self.socket.close()


class Tpms:
    """To set up a software TPM with its certificates takes over a second. That is done once for each
    of the athds that live at the same time; who comes later takes a copy of one that nobody has."""

    def __init__(self):
        self.unused = []

    def take(self, state):
        tpm = self.unused.pop() if self.unused else self.make()
        os.makedirs(state, 0o700, exist_ok=True)
        for part in ("swtpm", "swtpm-ca"):
            if os.path.isdir(os.path.join(tpm, part)):
                shutil.copytree(os.path.join(tpm, part), os.path.join(state, part))
        return tpm

    @staticmethod
    def make():
        athd = Athd(own_tpm=True)
        atexit.register(shutil.rmtree, athd.dir, ignore_errors=True)
        athd.start()
        athd.wait_for_hsm()
        athd.stop()
        return athd.state


class Athd:
    """`with Athd() as athd: athd.call(...)`. says: what the prompter answers to every question.
    own_tpm: set up its TPM as on the first start; software_tpm: else it has none."""

    tpms = Tpms()

    def __init__(self, says="OK", arguments=(), own_tpm=False, software_tpm=True):
        self.dir = tempfile.mkdtemp(prefix="athd-test-")
        self.socket = os.path.join(self.dir, "socket")
        self.state = os.path.join(self.dir, "state")
        self.log = os.path.join(self.dir, "log")
        self.arguments = list(arguments)
        self.environment = {}  # more than that of the test
        self.programs, self.uid, self.directory = BIN, None, None  # who it is, and where
        self.process = self.connection = None
        self.own_tpm, self.tpm = own_tpm, None
        self.software_tpm = software_tpm
        self.log_seen = 0  # what earlier runs wrote
        self.answers(says)

    def answers(self, says):
        """What the prompter says from now on: "OK", or "ERR 83886179 Operation cancelled <Pinentry>"."""
        path = os.path.join(self.dir, "prompter")
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(PROMPTER.format(answer=says, dir=self.dir))
        os.chmod(path + ".new", 0o700)
        os.replace(path + ".new", path)  # one that is being started is not written to (ETXTBSY)

    def configure(self, config):
        """Its configuration file from the next start on."""
        path = os.path.join(self.dir, "athd.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        if "--config" not in self.arguments:
            self.arguments += ["--config", path]

    def prompters(self):
        """The processes that were started as prompters."""
        try:
            with open(os.path.join(self.dir, "prompters"), encoding="utf-8") as file:
                return [int(line) for line in file]
        except FileNotFoundError:
            return []

    def questions(self):
        """All the prompter was told."""
        try:
            with open(os.path.join(self.dir, "questions"), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def start(self):
        """As __enter__, for who ends it by hand, and to start it again."""
        self.spawn()
        self.wait_until_ready()
        self.connection = Connection(self.socket)
        return self

    def spawn(self):
        environment = {**os.environ, "XDG_CONFIG_HOME": self.dir, "XDG_RUNTIME_DIR": self.dir,
                       **self.environment}
        if self.software_tpm and not self.own_tpm and not os.path.exists(self.state):
            self.tpm = self.tpms.take(self.state)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(self.programs, "athd"), *(["--software-tpm"] if self.software_tpm else []), "--state-dir",
                 self.state, "--socket", self.socket, "--prompter", os.path.join(self.dir, "prompter"),
                 *self.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=self.directory,
                user=self.uid, group=self.uid, extra_groups=None if self.uid is None else [])

    def wait_until_ready(self):
        deadline = time.monotonic() + 120
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("athd did not become ready:\n" + self.read_log())
            time.sleep(0.002)

    def wait_for_hsm(self, state="ready"):
        deadline = time.monotonic() + 180  # to make a TPM takes over a second where nothing else runs
        while self.call("agent.status")["hsms"][0]["state"] != state:
            if time.monotonic() > deadline:
                raise AssertionError(f"its hsm did not become {state}:\n" + self.read_log())
            time.sleep(0.01)

    def is_ready(self):
        return f"ready socket={self.socket}" in self.read_log()[self.log_seen:]

    def read_log(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def call(self, method, /, **params):
        return self.connection.call(method, **params)

    def stop(self):
        """Ends athd cleanly; its state stays. Gives its exit status."""
        if self.connection:
            self.connection.close()
            self.connection = None
        if not self.process:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("athd did not end:\n" + self.read_log()) from None
        finally:
            self.process = None
            self.log_seen = len(self.read_log())
        return status

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_exception):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)
            if self.tpm:
                self.tpms.unused.append(self.tpm)
                self.tpm = None
