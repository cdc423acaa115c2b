"""docs/api.schema.json says of every method what athd really takes and answers."""
import json
import os
import re
import unittest

from jsonschema import Draft202012Validator

from peer.agent import Athd, Connection, Failed
from peer.asker import Asker
from peer.wire import wait_for

SOURCE = os.environ.get("ATH_SOURCE", os.path.join(os.path.dirname(__file__), "..", ".."))
NOT_IN_THIS_VERSION = (
    "key.rotate key.evidence evidence.verify credential.revoke vault.put "
    "vault.get vault.list vault.delete").split()
AGENT_ID = "https://bot.example/.well-known/agent.json"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Schema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(SOURCE, "docs", "api.schema.json"), encoding="utf-8") as file:
            cls.document = json.load(file)
        cls.methods = cls.document["properties"]
        cls.seen = set()
        cls.athd = Athd().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.athd.__exit__()

    def validate(self, schema, value):
        Draft202012Validator({**schema, "$defs": self.document["$defs"]}).validate(value)

    def params_of(self, method):
        return self.methods[method]["properties"]["params"]

    def call(self, method, /, **params):
        """A call whose params and result are as the schema says."""
        self.validate(self.params_of(method), params)
        result = self.athd.call(method, **params)
        self.validate(self.methods[method]["properties"]["result"], result)
        self.assertEqual(list(self.undescribed(method, self.methods[method]["properties"]["result"],
                                               result)), [])
        self.seen.add(method)
        return result

    def undescribed(self, path, schema, value):
        """Members of an answer that the schema does not know."""
        while "$ref" in schema:
            schema = self.document["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
        for option in schema.get("anyOf", []):
            if Draft202012Validator({**option, "$defs": self.document["$defs"]}).is_valid(value):
                yield from self.undescribed(path, option, value)
        if isinstance(value, dict) and "properties" in schema:
            for name, member in value.items():
                if name in schema["properties"]:
                    yield from self.undescribed(f"{path}.{name}", schema["properties"][name], member)
                elif "additionalProperties" not in schema:
                    yield f"{path}.{name}"
        elif isinstance(value, list):
            for member in value:
                yield from self.undescribed(f"{path}[]", schema.get("items", {}), member)

    def fails(self, code, method, /, **params):
        with self.assertRaises(Failed, msg=(method, params)) as caught:
            self.athd.call(method, **params)
        error = caught.exception
        self.assertEqual(error.code, code, (method, params, error.message))
        self.validate({"$ref": "#/$defs/Error"},
                      {"code": error.code, "message": error.message, "data": error.data})
        return error

    def test_schema_is_one(self):
        Draft202012Validator.check_schema(self.document)

    def test_methods_are_those_that_athd_has(self):
        self.assertEqual(set(self.athd.call("agent.hello")["capabilities"]), set(self.methods))

    def test_params_are_those_of_athds_table(self):
        with open(os.path.join(SOURCE, "src", "rpc", "methods_table.c"), encoding="utf-8") as file:
            table = dict(re.findall(r"params_([A-Z_]+)\[\] = \{(.*?)\};", file.read(), re.S))
        for method in self.methods:
            entries = re.findall(r'[({]"(\w+)"(?:, RPC_\w+)?(?:, (REQUIRED|OPTIONAL))?',
                                 table.pop(method.upper().replace(".", "_")))
            schema = self.params_of(method)
            self.assertEqual({name for name, _ in entries} | {"trace"}, set(schema["properties"]), method)
            self.assertEqual({name for name, need in entries if need == "REQUIRED"},
                             set(schema.get("required", [])), method)
        self.assertFalse(table)

    def test_methods_of_later_versions_are_not_there(self):
        for method in NOT_IN_THIS_VERSION:
            self.assertEqual(self.fails(-32601, method).reason, "METHOD_NOT_FOUND")

    def test_no_method_takes_bytes_to_sign(self):
        for method in ("sign", "key.sign", "key.decrypt", "hsm.sign"):
            self.fails(-32601, method)
        for name in self.methods:
            self.assertFalse({"data", "bytes", "digest", "hash", "payload", "input", "claims", "header"}
                             & set(self.params_of(name)["properties"]), name)

    def test_unknown_params_are_refused(self):
        for method in self.methods:
            self.fails(-32602, method, no_such_member=1)

    def test_missing_params_are_refused_by_name(self):
        for method in self.methods:
            required = self.params_of(method).get("required", [])
            if required:
                error = self.fails(-32602, method)
                self.assertTrue(any(name in error.message for name in required), error.message)

    def test_params_of_another_type_are_refused(self):
        for method in self.methods:
            schema = self.params_of(method)
            for name, member in schema["properties"].items():
                validator = Draft202012Validator({**member, "$defs": self.document["$defs"]})
                for value in (None, True, -1, [[]], {"no_such": [1]}):
                    if not validator.is_valid(value):
                        with self.assertRaises(Failed, msg=(method, name, value)) as caught:
                            self.athd.call(method, **{name: value})
                        self.assertEqual(caught.exception.code, -32602, (method, name, value))

    def test_what_is_not_in_this_version_is_a_wrong_parameter(self):
        self.fails(-32602, "key.import", name="p", role="client", tss2_pem="x", pin=True)
        self.fails(-32602, "key.import", name="p", role="client", pkcs11_uri="pkcs11:token=a")
        self.fails(-32602, "peer.pin", did="did:web:a.example", allow_literal=True)

    def test_names_are_those_of_the_api(self):
        for name in ("", ".a", "-a", "a/b", "a b", "a" * 65, "\u00e4"):
            self.fails(-32602, "key.get", name=name)
        self.assertEqual(self.fails(-32003, "key.get", name="a" * 64).reason, "KEY_NOT_FOUND")

    def test_every_methods_answer_is_as_the_schema_says(self):
        self.use_keys()
        self.use_attestations()
        self.use_handshakes()
        self.use_audit()
        self.use_policy()
        self.use_grants()
        self.use_consent()
        self.use_pins()
        self.use_lock()
        self.clean_up()
        self.assertEqual(self.seen, set(self.methods))

    def use_lock(self):
        with open(os.path.join(self.athd.dir, "getpin"), "w", encoding="utf-8") as file:
            file.write("echo D correct horse; echo OK\n")
        self.call("agent.lock")
        self.call("agent.status")
        self.call("agent.unlock")

    def use_policy(self):
        self.call("policy.check", method="key.list")
        self.call("policy.check", method="attestation.create", params={"key": "client", "audience": "a"},
                  **{"as": {"uid": 4000, "gid": 4000, "groups": [5], "exe": "/bin/a", "namespace": "unseen"}})
        self.call("policy.show")
        self.call("policy.reload")
        for which in ({"key": "client"}, {"all": True}):
            self.call("policy.freeze", **which)
            self.call("policy.unfreeze", **which)
        self.fails(-32602, "policy.check", method="key.none")
        self.fails(-32602, "policy.check", method="key.list", **{"as": {"gid": 1}})
        self.fails(-32602, "policy.freeze")

    def use_grants(self):
        made = self.call("grant.create", name="g", keys=["client"], methods=["group:use", "grant.*"], ttl=60, max_uses=3,
                         audiences=["https://*.example"], peers=["did:web:*"], scopes=["mail:*"], unit="a.scope")
        self.call("grant.create", name="h", keys=["client"])
        self.call("grant.create", name="h", process=os.getpid(), adopt=True)
        self.assertEqual([grant["name"] for grant in self.call("grant.list")["grants"]], ["g", "h"])
        self.assertEqual(self.fails(-32013, "grant.create", name="g", keys=["client"]).reason, "GRANT_EXISTS")
        self.fails(-32602, "grant.create", name="i")
        self.call("grant.revoke", name="g")
        self.assertEqual(self.fails(-32013, "grant.revoke", name="g").reason, "GRANT_NOT_FOUND")
        self.assertFalse(os.path.exists(made["socket"]))

    def question(self):
        wait_for(lambda: self.athd.call("consent.list")["questions"])
        question = self.call("consent.list")["questions"][0]
        self.assertEqual(self.call("consent.list", id=question["id"])["questions"], [question])
        return question["id"]

    def use_consent(self):
        self.call("consent.environment", TERM="dumb", LANG="C.UTF-8")
        attending = Connection(self.athd.socket)  # its events would come between the answers
        self.assertEqual(attending.call("consent.attend"), {})
        self.seen.add("consent.attend")
        issue = {"key": "user", "client": self.client["did"], "audience": self.server["did"], "scopes": ["a", "b"],
                 "ttl": 60}
        with Asker(self.athd.socket) as asker:
            asker.ask("credential.issue", **issue)
            self.call("consent.answer", id=self.question(), approve=True, scopes=["a"], remember={"uses": 2, "seconds": 60})
            self.assertIn("result", asker.answer())
            asker.ask("credential.issue", **issue)
            self.call("consent.answer", id=self.question(), approve=False, freeze=False)
            self.assertEqual(asker.answer()["error"]["data"]["reason"], "USER_DENIED")
        left = self.call("consent.list")
        for entry in left["allowed"] + left["refused"]:
            self.call("consent.forget", id=entry["id"])
        self.assertEqual(self.fails(-32002, "consent.answer", id="q0", approve=True).reason, "CONSENT_NOT_FOUND")
        attending.close()

    def use_pins(self):
        attending, taking = Connection(self.athd.socket), Connection(self.athd.socket)
        attending.call("consent.attend", pins=True)
        with Asker(self.athd.socket) as asker:
            asker.ask("key.create", name="pinned", role="user", pin=True)
            wait_for(lambda: self.athd.call("consent.list")["pins"])
            pin = self.call("consent.list")["pins"][0]
            self.assertEqual(self.call("consent.list", id=pin["id"])["pins"], [pin])
            place = {"id": pin["id"], "GPG_TTY": "/dev/pts/0", "TERM": "dumb", "LC_CTYPE": "C.UTF-8"}
            self.validate(self.params_of("consent.pinentry"), place)
            self.assertEqual(taking.call("consent.pinentry", **place), {})
            self.seen.add("consent.pinentry")
            self.assertIs(self.call("consent.list")["pins"][0]["taken"], True)
            taking.close()  # a pinentry that ends
            self.assertEqual(asker.answer()["error"]["data"]["reason"], "NO_PROMPTER")
        attending.close()

    def use_keys(self):
        self.call("agent.hello", client="test_schema", trace=TRACE)
        self.call("events.subscribe", topics=[])
        developer = {"name": "Somebody", "id": "https://somebody.example"}
        self.client = self.call("key.create", name="client", role="client", agent_id=AGENT_ID,
                                display={"name": "Bot", "developer": developer, "capabilities": ["mail"]})
        self.server = self.call("key.create", name="server", role="server", algorithm="ES256")
        self.user = self.call("key.create", name="user", role="user", confirm="always")
        self.assertEqual(self.user["confirm"], "always")
        self.assertTrue(self.user["software"])
        self.call("key.create", name="other", role="client", expires_at=4102444800)
        self.assertEqual(len(self.call("key.list", role="client")["keys"]), 2)
        self.call("key.get", name="user")
        for form in ("jwk", "pem", "did", "ssh", "tss2"):
            self.call("key.export", name="other", format=form)
        self.document_of_client = self.call("key.export", name="client", format="agent.json")["data"]
        blob = self.call("key.export", name="other", format="tss2")["data"]
        self.call("key.delete", name="other")
        self.call("key.import", name="other", role="client", tss2_pem=blob)
        self.call("agent.status")

    def use_attestations(self):
        jwt = self.call("attestation.create", key="client", audience="https://api.example", ttl=60)["jwt"]
        document = self.document_of_client
        if isinstance(document, str):
            document = json.loads(document)
        self.call("attestation.verify", jwt=jwt, audience="https://api.example",
                  identity_document=document)

    def use_handshakes(self):
        scopes = ["mail:read", "mail:send"]
        self.call("service.put", name="app", key="server", scopes_supported=scopes, token_max_ttl=600,
                  require_user_confirmation=True, agents={self.client["did"]: scopes},
                  users={self.user["did"]: "somebody"}, origins=["https://app.example"])
        self.call("service.list")
        grant = self.call("credential.issue", key="user", client=self.client["did"], scopes=scopes,
                          audience=self.server["did"], ttl=3600)["credential"]
        self.call("credential.verify", credential=grant, client=self.client["did"])
        self.call("credential.put", credential=grant)
        self.call("credential.list")
        start = self.call("handshake.start", key="client", scopes=scopes, ttl=300, context="a test",
                          credential=grant, server={"did": self.server["did"]}, trace=TRACE)
        accepted = self.call("handshake.accept", service="app", message=start["send"], source="test")
        at_client, at_server = start["handshake"], accepted["handshake"]
        m3 = self.call("handshake.receive", handshake=at_client, message=json.dumps(accepted["send"]))
        m4 = self.call("handshake.receive", handshake=at_server, message=m3["send"])
        m5 = self.call("handshake.receive", handshake=at_client, message=m4["send"])
        m6 = self.call("handshake.receive", handshake=at_server, message=m5["send"])
        self.assertEqual(m6["state"], "confirm")
        self.call("handshake.get", handshake=at_server)
        self.call("handshake.list")
        m7 = self.call("confirmation.answer", key="user", message=m6["confirm"],
                       server=self.server["did"])
        last = self.call("handshake.receive", handshake=at_server, message=m7["send"])
        self.assertEqual(last["state"], "done")
        for message in last["send"]:
            done = self.call("handshake.receive", handshake=at_client, message=message)
        self.use_session(done["result"], last["result"])
        again = self.call("handshake.start", key="client", scopes=scopes, server={"did": self.server["did"]})
        self.call("handshake.abort", handshake=again["handshake"])

    def use_session(self, client, server):
        jwe = self.call("session.seal", session=client["session"], plaintext="aGk")["jwe"]
        self.assertEqual(self.call("session.open", session=server["session"], jwe=jwe)["plaintext"], "aGk")
        token = self.call("session.token", session=client["session"])["access_token"]
        self.assertEqual(token, client["access_token"])
        self.call("token.verify", service="app", token=token, session=server["session"], scope="mail:read")
        self.call("session.list")
        self.call("session.close", session=client["session"])

    def use_audit(self):
        first = self.call("audit.checkpoint")["checkpoint"].split("\n")
        records = self.call("audit.query", event="signature", trace=TRACE, limit=2, since=1)
        self.assertEqual(len(records["records"]), 2)
        self.call("audit.query", after=records["next"], key="client", caller=str(os.getuid()))
        self.call("peer.pin", did="did:web:other.example", public_key=self.client["public_pem"])
        last = self.call("audit.checkpoint")["checkpoint"].split("\n")
        self.call("audit.proof", index=0, size=int(first[1]))
        self.call("audit.consistency", **{"from": int(first[1]), "to": int(last[1])})
        self.call("agent.status")

    def clean_up(self):
        self.call("peer.pin", did="did:web:peer.example", public_key=self.client["public_pem"],
                  origin="https://peer.example", name="peer")
        self.call("peer.list")
        self.call("peer.remove", did="did:web:peer.example")
        self.call("service.delete", name="app")


if __name__ == "__main__":
    unittest.main()
