"""A system bus of the test's own, and a logind on it that says what the test wants (fake_logind.c)."""
import os
import select
import shutil
import subprocess
import tempfile
import time
import unittest

from .agent import BIN

FAKE = os.path.join(BIN, "..", "tests", "fake_logind")
CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path={dir}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_destination="*" eavesdrop="true"/> <allow eavesdrop="true"/>
  </policy>
</busconfig>
"""


class Bus:
    """`with Bus() as bus:`; bus.address is for DBUS_SYSTEM_BUS_ADDRESS."""

    def __init__(self):
        if shutil.which("dbus-daemon") is None:
            raise unittest.SkipTest("there is no dbus-daemon here")
        if not os.path.exists(os.path.join(BIN, "ath-logind-watch")):
            raise unittest.SkipTest("this was built without libsystemd")
        self.dir = tempfile.mkdtemp(prefix="athd-bus-")
        self.address = f"unix:path={self.dir}/bus"
        self.process = None

    def start(self):
        path = os.path.join(self.dir, "bus.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(dir=self.dir))
        self.process = subprocess.Popen(["dbus-daemon", f"--config-file={path}", "--nofork", "--print-address"],
                                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)  # it complains of limits
        if not self.process.stdout.readline():
            raise AssertionError("the bus did not start")
        return self

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Logind:
    def __init__(self, bus):
        self.process = subprocess.Popen([FAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                        env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus.address})
        self.buffer, self.said = b"", []
        try:
            self.wait_for("ready")
        except BaseException:
            self.close()
            raise

    def wait_for(self, line, seconds=120.0):
        """Until it has said this; what it said is used up to there."""
        deadline = time.monotonic() + seconds
        while line not in self.said:
            readable, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 4096) if readable else b""
            if not data:
                raise AssertionError(f"no {line!r} of logind's, but {self.said} {self.buffer}")
            self.buffer += data
            *lines, self.buffer = self.buffer.split(b"\n")
            self.said += [text.decode() for text in lines]
        del self.said[:self.said.index(line) + 1]

    def has_said(self, line, seconds):
        try:
            self.wait_for(line, seconds)
        except AssertionError:
            return False
        return True

    def tell(self, *words):
        self.process.stdin.write(" ".join(words).encode() + b"\n")
        self.wait_for("done")

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None
