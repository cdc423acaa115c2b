"""An athd with a software TPM whose keys have PINs, and a person who knows them."""
import os
import re
import secrets
import shutil

from .scene import CheckedAthd

AGENT_ID = "https://agent.example/a.json"
# A pinentry is told in its description which key it is for; the second time it is asked for a new PIN it is
# told only that. $name is that of the key, $pin what the person knows; a script of the test says the rest.
KNOWS = """name=$(printf '%s\\n' "$about" | sed -n 's/^SETDESC .*%0AKey: \\([A-Za-z0-9._-]*\\)%0A.*/\\1/p')
pin=$(cat "{dir}/pin-$name")
"""
GOOD = 'echo "D $pin"; echo OK'
WRONG = 'echo "D wrong-$pin"; echo OK'
CANCELLED = "echo 'ERR 83886179 Operation cancelled <Pinentry>'"
HANGS = "sleep 600 & wait"
DIES = "kill -KILL $$"


class PinAthd(CheckedAthd):
    def __init__(self, pin=GOOD, config=None, **more):
        super().__init__(**more)
        self.pins = {}
        self.answers_pin(pin)
        if config:
            self.configure({"hsm": [{"name": "swtpm", "uri": "swtpm:", **config.pop("hsm", {})}], **config})
            self.configured = True

    def answers_pin(self, script):
        """What the prompter does from now on when it is asked for a PIN."""
        path = os.path.join(self.dir, "getpin")
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(KNOWS.format(dir=self.dir) + script + "\n")
        os.replace(path + ".new", path)

    def knows(self, name, pin=None):
        """The person knows this PIN of the key of this name (a random one)."""
        self.pins[name] = pin or "pin-" + secrets.token_hex(8)
        # a program that reads it has it in no argument and no environment
        path = os.path.join(self.dir, "pin-" + name)
        with open(path, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write(self.pins[name])
        return self.pins[name]

    def create(self, name="agent", pin=True, role="client", **more):
        """A key with a PIN, which the person knows from then on."""
        if name not in self.pins and pin:
            self.knows(name)
        if role == "client":
            more = {"agent_id": AGENT_ID, **more}
        if pin:
            more = {"pin": True, **more}
        return self.call("key.create", name=name, role=role, **more)

    def pins_asked(self):
        """How often somebody was asked for a PIN."""
        return self.questions().count("GETPIN")

    def last_question(self):
        return re.sub(r"%0A", "\n", self.questions().rsplit("SETDESC ", 1)[1].split("\n", 1)[0])

    def forget_wrong_pins(self):
        """While it does not run: as if time had gone by."""
        shutil.rmtree(os.path.join(self.state, "pins"), ignore_errors=True)
