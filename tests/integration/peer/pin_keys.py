"""An athd with a software TPM whose keys have PINs, and a person who knows them."""
import os
import re
import secrets

from .pinentry import GOOD, AskingAthd

AGENT_ID = "https://agent.example/a.json"
# A pinentry is told in its description which key it is for; the second time it is asked for a new PIN it is
# told only that. $name is that of the key, $pin what the person knows.
KNOWS = """name=$(printf '%s\\n' "$about" | sed -n 's/^SETDESC .*%0AKey: \\([A-Za-z0-9._-]*\\)%0A.*/\\1/p')
pin=$(cat "{dir}/pin-$name")"""


class PinAthd(AskingAthd):
    def __init__(self, pin=GOOD, config=None, **more):
        super().__init__(**more)
        self.pins = {}
        self.answers_pin(pin)
        if config:
            self.configure({"hsm": [{"name": "swtpm", "uri": "swtpm:", **config.pop("hsm", {})}], **config})
            self.configured = True

    def know_pin(self):
        return KNOWS.format(dir=self.dir)

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

    def last_question(self):
        return re.sub(r"%0A", "\n", self.questions().rsplit("SETDESC ", 1)[1].split("\n", 1)[0])
