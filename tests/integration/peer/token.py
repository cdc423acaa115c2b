"""SoftHSM tokens in directories of their own, the fault module in front of them, and an athd that uses
them."""
import glob
import os
import re
import secrets
import shutil
import struct
import subprocess
import tempfile
import time

from .agent import BIN, SOURCE
from .pinentry import GOOD, AskingAthd

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
FAULT = os.path.join(os.path.dirname(BIN), "tests", "fault_module.so")
# The fault module's: the counters' places in fault.counts, and how many there are.
COUNTERS = 96
with open(os.path.join(SOURCE, "tests", "modules", "fault_functions.h"), encoding="utf-8") as _file:
    FUNCTIONS = re.findall(r"^ +(?:PLAIN|SESSION|OWN)\((C_\w+)", _file.read(), re.MULTILINE)


class Token:
    """A SoftHSM token; module: the one that stands in its URI."""

    def __init__(self, module=FAULT, label=None):
        self.dir = tempfile.mkdtemp(prefix="athd-token-")
        self.store = os.path.join(self.dir, "tokens")
        self.away = os.path.join(self.dir, "away")
        self.conf = os.path.join(self.dir, "softhsm2.conf")
        self.module = module
        self.label = label or "token " + secrets.token_hex(4)
        self.pin, self.so_pin = "pin-" + secrets.token_hex(8), "so-" + secrets.token_hex(8)
        os.mkdir(self.store, 0o700)
        os.mkdir(self.away, 0o700)
        self.write_conf(self.conf, self.store)
        self.initialize(self.label, self.pin)

    def write_conf(self, path, store):
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"directories.tokendir = {store}\nobjectstore.backend = file\n"
                       "log.level = ERROR\nslots.removable = true\n")

    @property
    def environment(self):
        """The second is for tpm2-pkcs11, which p11-kit's proxy starts too: it lays files wherever it may."""
        return {"SOFTHSM2_CONF": self.conf, "TPM2_PKCS11_STORE": self.dir}

    def run(self, *arguments, conf=None):
        environment = {**os.environ, **self.environment, "SOFTHSM2_CONF": conf or self.conf}
        return subprocess.run(arguments, env=environment, timeout=120, check=True, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True).stdout

    def initialize(self, label, pin):
        """One more token; it comes whole, also for who is looking for it."""
        with tempfile.TemporaryDirectory(dir=self.dir) as made:
            conf, store = os.path.join(made, "conf"), os.path.join(made, "tokens")
            os.mkdir(store, 0o700)
            self.write_conf(conf, store)
            self.run("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", self.so_pin, "--pin", pin,
                     conf=conf)
            for name in os.listdir(store):
                os.rename(os.path.join(store, name), os.path.join(self.store, name))

    def tool(self, *arguments, module=SOFTHSM, login=True):
        """pkcs11-tool on the token, not through the fault module. While another process writes to the token's file, as
        each login of athd's does, SoftHSM takes it for none."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return self.run("pkcs11-tool", "--module", module, "--token-label", self.label,
                                *(["--login", "--pin", self.pin] if login else []), *arguments)
            except subprocess.CalledProcessError as error:
                if "No slot with token named" not in error.stderr or time.monotonic() > deadline:
                    raise

    def uri(self, path="", query="", module=None):
        """Of this token. path: more attributes, as ";id=%01"; query: more, as "&pin-source=..."."""
        return (f"pkcs11:token={self.label.replace(' ', '%20')}{path}"
                f"?module-path={module or self.module}{query}")

    def pin_file(self, pin=None):
        """A file with the PIN, and the query that names it."""
        path = os.path.join(self.dir, "pin")
        with open(path + ".new", "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write((self.pin if pin is None else pin) + "\n")
        os.replace(path + ".new", path)
        return f"&pin-source=file:{path}"

    # ---- what is wrong with it ----

    def fault(self, *lines):
        """From now on; nothing: all is well. Counting begins anew."""
        counts = os.path.join(self.dir, "fault.counts")
        if os.path.exists(counts):
            with open(counts, "r+b") as file:
                file.write(b"\0" * 16 * COUNTERS)
        path = os.path.join(self.dir, "fault")
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))
        os.replace(path + ".new", path)

    def calls(self, function=None):
        """How often it, or any, was called since fault()."""
        place = FUNCTIONS.index(function) if function else COUNTERS - 1
        try:
            with open(os.path.join(self.dir, "fault.counts"), "rb") as file:
                return struct.unpack_from("Q", file.read(), 8 * place)[0]
        except (FileNotFoundError, struct.error):
            return 0

    def logins(self):
        """The results of all C_Login so far, of whatever process."""
        try:
            with open(os.path.join(self.dir, "logins"), encoding="utf-8") as file:
                return [int(line.split()[2], 16) for line in file]
        except FileNotFoundError:
            return []

    def type_at_pad(self, pin):
        """What the user types at the reader; None: cancel."""
        path = os.path.join(self.dir, "pad")
        if pin is None:
            os.unlink(path)
            return
        with open(path, "w", encoding="utf-8") as file:
            file.write(pin)

    # ---- in and out ----

    def remove(self):
        for path in glob.glob(os.path.join(self.store, "*")):
            os.rename(path, os.path.join(self.away, os.path.basename(path)))

    def insert(self):
        for path in glob.glob(os.path.join(self.away, "*")):
            os.rename(path, os.path.join(self.store, os.path.basename(path)))

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class TokenAthd(AskingAthd):
    """An athd with the token as hsm "pkcs11"; software_tpm: and "swtpm" before it. pin: what the prompter does
    when it is asked for one."""

    def __init__(self, token, pin=GOOD, query="", software_tpm=False, module=None, config=None, arguments=(),
                 **more):
        super().__init__(software_tpm=software_tpm, arguments=["--hsm", token.uri(query=query, module=module),
                                                               *arguments], **more)
        self.token = token
        self.environment = dict(token.environment)
        self.answers_pin(pin)
        if config:
            self.configure(config)

    def know_pin(self):
        return f"pin='{self.token.pin}'"

    def hsm(self, name="pkcs11"):
        return next(hsm for hsm in self.call("agent.status")["hsms"] if hsm["name"] == name)

    def wait_for_hsm(self, *states, name="pkcs11", seconds=120.0):
        """Until it has one of these states ("locked": there, and wants its PIN); how long it took."""
        began = time.monotonic()
        while self.hsm(name)["state"] not in states:
            if time.monotonic() > began + seconds:
                raise AssertionError(f"{name} did not become {states}: {self.hsm(name)}\n{self.read_log()}")
            time.sleep(0.01)
        return time.monotonic() - began
