"""A person's athd and an application's, and the messages between them. Every answer is checked
against docs/api.schema.json."""
import json
import os
import time

import jsonschema

from .agent import Athd

SOURCE = os.environ.get("ATH_SOURCE") or os.path.join(os.path.dirname(__file__), "..", "..", "..")
YES = "OK"
NO = "ERR 83886194 Not confirmed <Pinentry>"
SCOPES = ["mail:read", "mail:send", "files:read"]


def _schema():
    with open(os.path.join(SOURCE, "docs", "api.schema.json"), encoding="utf-8") as file:
        return json.load(file)


class CheckedAthd(Athd):
    schema = _schema()
    validators = {}

    def call(self, method, /, **params):
        result = super().call(method, **params)
        if method not in self.validators:
            part = self.schema["properties"][method]["properties"]["result"]
            self.validators[method] = jsonschema.Draft202012Validator(
                {**part, "$defs": self.schema["$defs"]})
        self.validators[method].validate(result)
        return result

    def signatures(self):
        return self.call("agent.status")["counters"]["signatures"]

    def audit(self):
        with open(os.path.join(self.state, "audit", "00000001.jsonl"), encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def last_record(self, event):
        """The newest of this event; records that hold no signature may come after the answer."""
        deadline = time.monotonic() + 60
        while True:
            found = [record for record in self.audit() if record["event"] == event]
            if found or time.monotonic() > deadline:
                return found[-1]
            time.sleep(0.01)


class Scene:
    """`with Scene() as scene:` the person has keys alice (user) and agent (client), the application has
    shop (server) and a service mail."""

    def __init__(self, says=YES, **service):
        self.me, self.app = CheckedAthd(says), CheckedAthd()
        self.service = service

    def __enter__(self):
        self.me.__enter__()
        try:
            self.app.__enter__()
            self.create_keys()
            self.put_service(**self.service)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception):
        try:
            self.me.__exit__()
        finally:
            self.app.__exit__()

    def create_keys(self):
        self.user = self.me.call("key.create", name="alice", role="user")
        self.agent = self.me.call("key.create", name="agent", role="client",
                                  agent_id="https://agent.example/.well-known/agent.json")
        self.shop = self.app.call("key.create", name="shop", role="server")

    def put_service(self, **changes):
        service = {"name": "mail", "key": "shop", "scopes_supported": SCOPES, "token_max_ttl": 600,
                   "require_user_confirmation": False,
                   "agents": {self.agent["did"]: ["mail:read", "mail:send"]},
                   "users": {self.user["did"]: "alice"}, "origins": ["https://mail.example"], **changes}
        return self.app.call("service.put", **service)

    def issue(self, scopes=("mail:read", "mail:send"), ttl=3600, **more):
        return self.me.call("credential.issue", key="alice", client=self.agent["did"],
                            scopes=list(scopes), ttl=ttl, **more)

    # ---- the steps, one at a time ----

    def start(self, scopes=("mail:read", "mail:send"), server=None, **more):
        started = self.me.call("handshake.start", key="agent", scopes=list(scopes),
                               server=server or {"did": self.shop["did"]}, **more)
        self.client = started["handshake"]
        return started["send"]

    def accept(self, m1, **more):
        accepted = self.app.call("handshake.accept", service="mail", message=m1, **more)
        self.server = accepted.get("handshake")
        return accepted["send"]

    def to_client(self, message):
        return self.me.call("handshake.receive", handshake=self.client, message=message)

    def to_server(self, message):
        return self.app.call("handshake.receive", handshake=self.server, message=message)

    def until_m5(self, **start):
        m2 = self.accept(self.start(**start))
        m4 = self.to_server(self.to_client(m2)["send"])["send"]
        return self.to_client(m4)["send"]

    def answer(self, m6, **more):
        return self.me.call("confirmation.answer", key="alice", message=m6, server=self.shop["did"],
                            **more)["send"]

    def run(self, **start):
        """All nine steps; gives what both sides have at the end."""
        last = self.to_server(self.until_m5(**start))
        if last["state"] == "confirm":
            last = self.to_server(self.answer(last["confirm"]))
        m8, m9 = last["send"]
        self.to_client(m8)
        return self.to_client(m9)["result"], last["result"]
