"""ath-hsm-helper without athd: the few of its frames that tests of modules need (hsm/wire/hsm_wire.h)."""
import os
import re
import socket
import struct
import subprocess
import tempfile

from .agent import BIN, SOURCE

VERSION = 4  # HSM_WIRE_VERSION
INFO, KEY_CREATE, KEY_OPEN, KEY_CLOSE, KEY_DELETE, SIGN, RANDOM, LOGIN, LOGOUT = range(1, 10)
FROM_NOBODY, FROM_SOURCE = 0, 2
with open(os.path.join(SOURCE, "include", "ath", "err.h"), encoding="utf-8") as _file:
    ERRORS = re.findall(r"^ +X\((\w+), \"", _file.read(), re.MULTILINE)


def field(data):
    return struct.pack(">I", len(data)) + data


class Response:
    def __init__(self, frame):
        self.id, self.op, error, self.native = struct.unpack_from(">IBHI", frame)
        self.rest = frame[11:]
        self.error = ERRORS[error]
        self.sentence = self.take().decode()
        self.waits, self.tries_left, self.pin_in_doubt = struct.unpack_from(">IBBB", self.rest)[1:]
        self.rest = self.rest[7:]
        self.stamp = self.take()
        if self.error == "OK" and self.op in (KEY_CREATE, KEY_OPEN):
            self.blob, self.der = self.take(), self.take()
        if self.error == "OK" and self.op in (SIGN, RANDOM):
            self.data = self.take()

    def take(self):
        (length,) = struct.unpack_from(">I", self.rest)
        data, self.rest = self.rest[4:4 + length], self.rest[4 + length:]
        return data


class Ended(Exception):
    """The helper has gone."""


class Helper:
    """`with Helper(token) as helper: helper.ask(INFO)`. What it writes to stderr is in `log`."""

    def __init__(self, token, query="", uri=None):
        self.log = tempfile.TemporaryFile()
        self.socket, theirs = socket.socketpair()
        prompters, theirs_too = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self.socket.settimeout(60)
        self.process = subprocess.Popen(
            [os.path.join(BIN, "ath-hsm-helper"), "--uri", uri or token.uri(query=query), "--state-dir", token.dir],
            stdin=theirs, stdout=theirs_too, stderr=self.log, env={"PATH": os.environ["PATH"], **token.environment})
        theirs.close()
        theirs_too.close()
        self.prompters = prompters
        self.id = 0

    def ask(self, op, members=b""):
        """The answer to it. Raises Ended, and TimeoutError."""
        self.id += 1
        content = struct.pack(">IB", self.id, op) + (struct.pack(">I", VERSION) if op == INFO else members)
        try:
            self.socket.sendall(field(content))
            while (response := Response(self.read(struct.unpack(">I", self.read(4))[0]))).id != self.id:
                pass  # what comes unasked
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Ended from error
        return response

    def read(self, length):
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise Ended
            data += part
        return data

    def login(self):
        """From the URI's pin-source."""
        return self.ask(LOGIN, struct.pack(">I", 0) + bytes([FROM_SOURCE, 0]) + struct.pack(">I", 0) + field(b"") * 5)

    def create(self, label=b"key", algorithm=1):
        return self.ask(KEY_CREATE, bytes([algorithm, 0]) + field(label) + bytes([FROM_NOBODY]))

    def open(self, blob, number=1):
        return self.ask(KEY_OPEN, struct.pack(">I", number) + field(blob))

    def sign(self, message=b"message", number=1):
        return self.ask(SIGN, struct.pack(">I", number) + field(message) + bytes([FROM_NOBODY]))

    def delete(self, number=1):
        return self.ask(KEY_DELETE, struct.pack(">I", number))

    def random(self):
        return self.ask(RANDOM, struct.pack(">I", 32))

    def read_log(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def end(self, seconds=60):
        """Closes the connection and waits; its exit status."""
        self.socket.close()
        self.prompters.close()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.socket.close()
        self.prompters.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()
