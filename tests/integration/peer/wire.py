"""Bytes to and from athd's socket, as a clumsy or hostile caller would send them; and what can be seen
of athd's processes from outside."""
import json
import os
import signal
import socket
import threading
import time
import unittest


class Wire:
    """A connection that sends any bytes and reads lines, or does not."""

    def __init__(self, path, timeout=120, receive_buffer=None):
        self.socket = socket.socket(socket.AF_UNIX)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.timeout = timeout
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.buffer = b""

    def send(self, *lines):
        """Each a bytes object that is sent as it is, or something that becomes a line of JSON."""
        self.socket.sendall(b"".join(line if isinstance(line, bytes) else
                                     json.dumps(line).encode() + b"\n" for line in lines))

    def send_until_blocked(self, data, quiet=0.3):
        """Sends as much as athd takes; how many bytes. It takes no more when nothing moves for a while."""
        self.socket.settimeout(quiet)
        sent = 0
        try:
            while sent < len(data):
                sent += self.socket.send(data[sent:sent + 65536])
        except (TimeoutError, BlockingIOError):
            pass
        finally:
            self.socket.settimeout(self.timeout)
        return sent

    def line(self):
        """The next answer, or None at the end."""
        while b"\n" not in self.buffer:
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:  # it closed with something of ours unread
                data = b""
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def lines(self, count):
        return [self.line() for _ in range(count)]

    def lines_so_far(self):
        """What has come, without waiting."""
        self.socket.setblocking(False)
        try:
            while data := self.socket.recv(1 << 20):
                self.buffer += data
        except (BlockingIOError, ConnectionResetError):
            pass
        finally:
            self.socket.settimeout(self.timeout)
        *lines, self.buffer = self.buffer.split(b"\n")
        return [json.loads(line) for line in lines]

    def ask(self, *lines):
        self.send(*lines)
        return self.line()

    def end_of_writing(self):
        self.socket.shutdown(socket.SHUT_WR)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()


def request(number, method, **params):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def reason(answer):
    return answer["error"]["data"]["reason"] if "error" in answer else None


# ---- processes ----

_forking = threading.RLock()  # the fork has it too, and may fork again


def apart(run, uid=None):
    """run() in a process of its own, of that uid; gives what it returned, as JSON has it. One at a time is
    begun: a fork of another thread's would hold this one's pipe open."""
    _forking.acquire()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            result = run()
        except OSError as error:
            result = {"errno": error.errno}
        except Exception as error:  # reported by the parent's assertion
            result = {"error": repr(error)}
        os.write(write, json.dumps(result).encode())
        os._exit(0)
    os.close(write)
    _forking.release()
    with os.fdopen(read) as file:
        result = json.loads(file.read())
    os.waitpid(pid, 0)
    return result


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return None


def children(pid):
    """Of all its threads."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="utf-8") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return found


def process(athd, name):
    """The pid of a helper ("ath-hsm-helper") or its TPM ("swtpm"); waits until there is one that has
    become that program."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for child in children(athd.process.pid):
            for pid in [child, *children(child)]:
                if name_of(pid) == name:
                    return pid
        time.sleep(0.005)
    raise AssertionError(f"athd has no {name}:\n{athd.read_log()}")


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def open_files(pid):
    """What each descriptor leads to. A process that leaves no core shows that only to who may trace it: else
    the test is skipped."""
    paths = []
    try:
        for number in os.listdir(f"/proc/{pid}/fd"):
            try:
                paths.append(os.readlink(f"/proc/{pid}/fd/{number}"))
            except FileNotFoundError:
                pass  # closed meanwhile
    except PermissionError:
        raise unittest.SkipTest("only root, with CAP_SYS_PTRACE, may look at what athd has open") from None
    return paths


def descriptors(pid):
    """How many; without the audit log's, whose threads open and close its files when they get to it (test_audit.py
    counts those). 0, and that is said, to whom the kernel does not show them."""
    try:
        return sum("/state/audit" not in path for path in open_files(pid))
    except unittest.SkipTest as why:
        print(f"descriptors are not counted ... skipped '{why}'")
        return 0


def memory(pid):
    """Resident bytes."""
    with open(f"/proc/{pid}/statm", encoding="utf-8") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(what, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError("it did not happen in time")
        time.sleep(0.01)
