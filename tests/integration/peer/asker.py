"""A caller that is a process of its own: who asks is told from who answers by the process."""
import json
import os
import select
import subprocess
import sys

from .wire import request

RELAY = """
import os, socket, sys, threading
wire = socket.socket(socket.AF_UNIX)
wire.connect(sys.argv[1])
def back():
    while data := wire.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 65536):
    wire.sendall(data)
os._exit(0)
"""


class Asker:
    """`program` is a Python, or a copy of one: another program to athd. It ends with its input."""

    def __init__(self, path, program=sys.executable, uid=None):
        self.process = subprocess.Popen([program, "-I", "-S", "-c", RELAY, path], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, user=uid, group=uid,
                                        extra_groups=None if uid is None else [])
        self.pid = self.process.pid
        self.id = 0
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, method, /, **params):
        """Sends it; the answer is awaited by `answer`."""
        self.id += 1
        self.process.stdin.write(json.dumps(request(self.id, method, **params)).encode() + b"\n")
        self.process.stdin.flush()
        return self.id

    def call(self, method, /, **params):
        """Its result."""
        self.ask(method, **params)
        answer = self.answer()
        if "result" not in answer:
            raise AssertionError(f"{method}: {answer}")
        return answer["result"]

    def has_answer(self):
        """Without waiting."""
        return b"\n" in self.buffer or bool(select.select([self.process.stdout], [], [], 0)[0])

    def answer(self):
        """The next one, whatever it answers."""
        while b"\n" not in self.buffer:
            if not select.select([self.process.stdout], [], [], 120)[0]:
                raise AssertionError("no answer")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise AssertionError("athd has closed the connection")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
