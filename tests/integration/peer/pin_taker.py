"""A program of a user's that attends and has a pinentry for PINs, as processes of their own."""
import json
import os
import subprocess
import sys

from .asker import Asker

# Says consent.pinentry on a connection of its own and becomes the pinentry at its end; or says why not.
TAKER = """
import os, socket, sys
path, program = sys.argv[1:3]
with socket.socket(socket.AF_UNIX) as wire:
    wire.connect(path)
    wire.sendall(sys.stdin.buffer.read())
    line = b""
    while not line.endswith(b"\\n"):
        byte = wire.recv(1)
        if not byte:
            break
        line += byte
    sys.stderr.buffer.write(line)
    sys.stderr.flush()
    if b'"result"' not in line:
        os._exit(3)
    os.dup2(wire.fileno(), 0)
    os.dup2(wire.fileno(), 1)
os.execv(program, [program])
"""

# Writes down what it is told; asked for a PIN, does what the file getpin says.
PINENTRY = """#!/bin/sh
echo $$ >> "{dir}/pinentries"
echo OK ready
while read -r line; do
    printf '%s\\n' "$line" >> "{dir}/told"
    case "$line" in
    GETPIN*) . "{dir}/getpin" ;;
    BYE*) echo OK; exit ;;
    *) echo OK ;;
    esac
done
"""


def request_line(number, **params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "consent.pinentry", "params": params}).encode() + b"\n"


class Person:
    """Who attends as `uid` (None: as the test), knows a PIN, and enters it in a pinentry of theirs. `dir` is
    theirs: what the pinentry was told is in the file told."""

    def __init__(self, path, directory, uid=None, pin="1234-abcd", pins=True):
        self.path, self.dir, self.uid = path, directory, uid
        os.makedirs(directory, exist_ok=True)
        os.chmod(directory, 0o777)
        self.program = os.path.join(directory, "pinentry")
        with open(self.program, "w", encoding="utf-8") as file:
            file.write(PINENTRY.format(dir=directory))
        os.chmod(self.program, 0o755)
        self.knows(pin)
        self.answers('echo "D $(cat "%s/pin")"; echo OK' % directory)
        self.takers = []
        self.attends = {"pins": True} if pins else {}
        self.wire = self.calls = None
        self.again()

    def again(self):
        """athd has been started anew."""
        self.leave()
        self.wire = Asker(self.path, uid=self.uid)  # gets events
        self.calls = Asker(self.path, uid=self.uid)
        self.wire.call("consent.attend", **self.attends)

    def knows(self, pin):
        with open(os.path.join(self.dir, "pin"), "w", encoding="utf-8") as file:
            file.write(pin)

    def answers(self, script):
        """What the pinentry does from now on when it is asked for a PIN."""
        path = os.path.join(self.dir, "getpin")
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(script + "\n")
        os.replace(path + ".new", path)

    def told(self):
        try:
            with open(os.path.join(self.dir, "told"), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def pinentries(self):
        try:
            with open(os.path.join(self.dir, "pinentries"), encoding="utf-8") as file:
                return [int(line) for line in file]
        except FileNotFoundError:
            return []

    def event(self, state, **more):
        """The next event that says so of a question."""
        while True:
            event = self.wire.answer()["params"]
            if event["state"] == state and all(event.get(name) == value for name, value in more.items()):
                return event

    def take(self, number, path=None, extra=b"", **params):
        """A pinentry for the question of this id; the process."""
        taker = subprocess.Popen([sys.executable, "-I", "-S", "-c", TAKER, path or self.path, self.program],
                                 stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, user=self.uid,
                                 group=self.uid, extra_groups=None if self.uid is None else [])
        taker.stdin.write(request_line(1, id=number, **params) + extra)
        taker.stdin.close()
        self.takers.append(taker)
        return taker

    @staticmethod
    def answer_to(taker):
        """athd's answer to its consent.pinentry."""
        return json.loads(taker.stderr.readline() or b"null")

    def close(self):
        for taker in self.takers:
            taker.kill()
            taker.wait()
            taker.stderr.close()
        self.leave()

    def leave(self):
        for wire in (self.wire, self.calls):
            if wire:
                wire.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
