"""What a prompter does that is asked for a PIN; and the real ones, with somebody who types at their terminal."""
import contextlib
import os
import re
import select
import shutil
import termios
import threading
import time

from .scene import CheckedAthd

# Lines of shell; $pin is what the person knows.
GOOD = 'echo "D $pin"; echo OK'
WRONG = 'echo "D wrong-$pin"; echo OK'
CANCELLED = "echo 'ERR 83886179 Operation cancelled <Pinentry>'"
HANGS = "sleep 600 & wait"
DIES = "kill -KILL $$"


class AskingAthd(CheckedAthd):
    """An athd whose prompter is asked for PINs; know_pin: lines of shell that set $pin."""

    def know_pin(self):
        raise NotImplementedError

    def answers_pin(self, script):
        """What the prompter does from now on when it is asked for a PIN: GOOD, WRONG, ... or any lines of shell."""
        path = os.path.join(self.dir, "getpin")
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(f"{self.know_pin()}\n{script}\n")
        os.replace(path + ".new", path)

    def answers_pin_after_go(self, script):
        """The same, once the function that this gives was called."""
        go = os.path.join(self.dir, "go")
        self.answers_pin(f"while [ ! -e {go} ]; do sleep 0.02; done\n" + script)
        return lambda: open(go, "w", encoding="utf-8").close()

    def pins_asked(self):
        """How often somebody was asked for a PIN."""
        return self.questions().count("GETPIN")

    def forget_wrong_pins(self):
        """While it does not run: as if time had gone by."""
        shutil.rmtree(os.path.join(self.state, "pins"), ignore_errors=True)


class Terminal:
    """A real prompter's: the athd has it from its next start on."""

    def __init__(self, test, athd, program):
        path = shutil.which(program)
        test.assertIsNotNone(path, f"there is no {program} here: tools/lib.sh names the packages")
        self.test = test
        self.master, self.slave = os.openpty()
        test.addCleanup(os.close, self.master)
        test.addCleanup(os.close, self.slave)
        athd.environment = {"GPG_TTY": os.ttyname(self.slave), "TERM": "vt100", "LC_ALL": "C.UTF-8"}
        os.unlink(os.path.join(athd.dir, "prompter"))
        os.symlink(path, os.path.join(athd.dir, "prompter"))

    def is_taken(self):
        """The program has taken it: what is typed before is shown, or thrown away by the program that comes."""
        return not termios.tcgetattr(self.slave)[3] & termios.ECHO

    @contextlib.contextmanager
    def typing(self, keys):
        """Meanwhile, each (pattern, typed) is typed when what was shown since the one before has the pattern; gives all
        that was shown."""
        screen, is_done = bytearray(), threading.Event()

        def type_keys():
            deadline = time.monotonic() + 150  # a question's own time is 120 s
            for pattern, typed in keys:
                begin = len(screen)
                while not (re.search(pattern, screen[begin:], re.DOTALL) and self.is_taken()):
                    if time.monotonic() > deadline:
                        return
                    if select.select([self.master], [], [], 0.02)[0]:
                        screen.extend(os.read(self.master, 65536))
                os.write(self.master, typed)
            is_done.set()

        typist = threading.Thread(target=type_keys)
        typist.start()
        try:
            yield screen
        finally:
            typist.join()
        self.test.assertTrue(is_done.is_set(), screen)
