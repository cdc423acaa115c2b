"""Keys, pins and grants over the socket: what must hold when callers are many, careless or hostile."""
import json
import threading
import time
import unittest

from peer.agent import Connection, Failed
from peer.keys import Key
from peer.scene import CheckedAthd, NO

AGENT_ID = "https://agent.example/.well-known/agent.json"


class Keys(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.athd = CheckedAthd().__enter__()

    @classmethod
    def tearDownClass(cls):
        try:
            status = cls.athd.stop()
            assert status == 0 and "Sanitizer" not in cls.athd.read_log(), cls.athd.read_log()
        finally:
            cls.athd.__exit__()

    def setUp(self):
        for key in self.athd.call("key.list")["keys"]:
            self.athd.call("key.delete", name=key["name"])

    def refused(self, reason, method, **params):
        with self.assertRaises(Failed) as caught:
            self.athd.call(method, **params)
        self.assertEqual(caught.exception.reason, reason, caught.exception.message)
        return caught.exception

    def test_of_many_creations_of_one_name_one_wins(self):
        answers, lock = [], threading.Lock()

        def create():
            connection = Connection(self.athd.socket)
            try:
                answer = connection.call("key.create", name="one", role="client")["did"]
            except Failed as error:
                answer = error.reason
            connection.close()
            with lock:
                answers.append(answer)

        threads = [threading.Thread(target=create) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers.count("KEY_EXISTS"), 7)
        did = next(answer for answer in answers if answer != "KEY_EXISTS")
        self.assertEqual(self.athd.call("key.get", name="one")["did"], did)

    def test_params_that_make_no_sense_are_refused(self):
        create = {"name": "k", "role": "client"}
        self.refused("INVALID_PARAMS", "key.create", **create, agent_id="did:web:agent.example")
        self.refused("INVALID_PARAMS", "key.create", **create, agent_id="http://agent.example/a")
        self.refused("INVALID_PARAMS", "key.create", name="k", role="user", agent_id=AGENT_ID)
        self.refused("INVALID_PARAMS", "key.create", **create, expires_at=int(time.time()))
        self.refused("INVALID_PARAMS", "key.create", **create, display={"developer": {}})
        self.refused("UNSUPPORTED_ALGORITHM", "key.create", **create, algorithm="RS256")
        self.refused("UNSUPPORTED_ALGORITHM", "key.create", **create, algorithm="EdDSA")
        self.refused("HSM_NOT_FOUND", "key.create", **create, hsm="other")
        self.refused("KEY_NOT_FOUND", "key.get", name="k")
        self.assertEqual(self.athd.call("key.list")["keys"], [])

    def test_confirm_is_always_for_users_and_never_for_others_unless_said(self):
        for role, confirm in (("user", "always"), ("client", "never"), ("server", "never")):
            self.assertEqual(self.athd.call("key.create", name=role, role=role)["confirm"], confirm)
        info = self.athd.call("key.create", name="other", role="user", confirm="session")
        self.assertEqual(info["confirm"], "session")
        self.assertEqual([k["name"] for k in self.athd.call("key.list", role="user")["keys"]],
                         ["other", "user"])

    def test_key_comes_back_from_its_tss2_file_and_only_once(self):
        made = self.athd.call("key.create", name="a", role="client", agent_id=AGENT_ID)
        pem = self.athd.call("key.export", name="a", format="tss2")["data"]
        self.refused("KEY_EXISTS", "key.import", name="b", role="client", tss2_pem=pem)
        self.assertIn("copy", self.athd.call("key.delete", name="a")["note"])
        self.refused("KEY_NOT_FOUND", "attestation.create", key="a", audience="https://x.example")
        back = self.athd.call("key.import", name="b", role="client", tss2_pem=pem, agent_id=AGENT_ID)
        self.assertEqual(back["did"], made["did"])
        self.athd.call("attestation.create", key="b", audience="https://x.example")
        self.refused("INVALID_PARAMS", "key.import", name="c", role="client", tss2_pem="-----BEGIN x")
        self.refused("KEY_NOT_FOUND", "key.get", name="c")

    def test_es384_attests_with_its_own_algorithm_and_a_document_vouches_for_it(self):
        info = self.athd.call("key.create", name="big", role="client", algorithm="ES384", agent_id=AGENT_ID,
                              display={"name": "Big", "developer": {"name": "D", "id": "d"}})
        self.assertEqual(info["algorithm"], "ES384")
        document = self.athd.call("key.export", name="big", format="agent.json")["data"]
        made = self.athd.call("attestation.create", key="big", audience="https://x.example", issuer="origin")
        verify = {"jwt": made["jwt"], "audience": "https://x.example"}
        self.refused("INVALID_ATTESTATION", "attestation.verify", **verify,
                     identity_document={**document, "agent_id": "https://other.example/agent.json"})
        claims = self.athd.call("attestation.verify", **verify, identity_document=document)["claims"]
        self.assertEqual((claims["iss"], claims["sub"]), ("https://agent.example", AGENT_ID))
        self.refused("REPLAYED", "attestation.verify", **verify, identity_document=document)

    def test_attestation_is_held_to_what_the_verifier_is(self):
        info = self.athd.call("key.create", name="a", role="client", agent_id=AGENT_ID)
        made = self.athd.call("attestation.create", key="a", audience=["https://x.example", "https://y.example"])
        verify = {"jwt": made["jwt"], "public_key": info["public_pem"]}
        self.refused("INVALID_ATTESTATION", "attestation.verify", **verify, audience="https://z.example")
        self.refused("INVALID_SIGNATURE", "attestation.verify", jwt=made["jwt"], public_key=Key().pem,
                     audience="https://x.example")
        self.refused("INVALID_PUBLIC_KEY", "attestation.verify", jwt=made["jwt"], public_key="x",
                     audience="https://x.example")
        self.refused("INVALID_PARAMS", "attestation.verify", jwt=made["jwt"], audience="https://x.example")
        self.athd.call("attestation.verify", **verify, audience="https://y.example")
        self.athd.call("key.create", name="nobody", role="client")
        self.refused("INVALID_PARAMS", "attestation.create", key="nobody", audience="https://x.example")
        for ttl in (0, 3601):
            self.refused("INVALID_PARAMS", "attestation.create", key="a", audience="https://x.example", ttl=ttl)
        for audience in ("", [], [""]):
            self.refused("INVALID_PARAMS", "attestation.create", key="a", audience=audience)

    def test_role_decides_what_a_key_does(self):
        for role in ("user", "client", "server"):
            self.athd.call("key.create", name=role, role=role, confirm="never")
        did = self.athd.call("key.get", name="client")["did"]
        issue = {"client": did, "scopes": ["a:b"], "ttl": 60}
        self.refused("INVALID_PARAMS", "credential.issue", key="client", **issue)
        self.refused("INVALID_PARAMS", "credential.issue", key="user", **{**issue, "client": "did:ath:user_x y"})
        self.refused("INVALID_PARAMS", "credential.issue", key="user",
                     **{**issue, "client": did.replace("client", "server")})
        self.refused("INVALID_PARAMS", "credential.issue", key="user", **issue, audience=did)
        self.refused("INVALID_PARAMS", "handshake.start", key="user", scopes=["a:b"],
                     server={"did": "did:web:x"}, user_key="user")
        service = {"scopes_supported": ["a:b"], "token_max_ttl": 60, "require_user_confirmation": False,
                   "agents": {}, "users": {}}
        self.refused("INVALID_PARAMS", "service.put", name="s", key="client", **service)
        self.assertEqual(self.athd.call("service.put", name="s", key="server", **service), {})
        self.refused("INVALID_PARAMS", "service.put", name="t", key="server", **service)
        warned = self.athd.call("service.put", name="s", key="server", **{**service, "users": {"*": "all"}})
        self.assertEqual(len(warned["warnings"]), 1)
        self.athd.call("service.delete", name="s")

    def test_grant_is_verified_before_it_is_kept(self):
        self.athd.call("key.create", name="user", role="user")
        client = Key().did("client")
        made = self.athd.call("credential.issue", key="user", client=client, scopes=["a:b"], ttl=60)
        self.assertIn("a:b", self.athd.questions())
        self.assertEqual(self.athd.call("credential.put", credential=made["credential"]), {})
        head, body, tail = made["credential"].split(".")
        forged = ".".join((head, body, tail[::-1]))
        self.refused("INVALID_CREDENTIAL", "credential.put", credential=forged)
        self.refused("INVALID_CREDENTIAL", "credential.verify", credential=made["credential"],
                     client=Key().did("client"))
        grant = self.athd.call("credential.verify", credential=made["credential"], client=client)
        self.assertEqual(grant["jti"], made["jti"])
        self.athd.answers(NO)
        self.refused("USER_DENIED", "credential.issue", key="user", client=client, scopes=["a:b"], ttl=60)
        self.athd.answers("OK")

    def test_pins_are_the_owners_but_no_pin_saves_a_key_that_does_not_fit(self):
        key, other = Key(), Key()
        self.refused("INVALID_PARAMS", "peer.pin", did="did:web:x.example")
        self.refused("UNKNOWN_PEER", "peer.pin", did=key.did("server"), public_key=other.pem)
        self.refused("INVALID_PUBLIC_KEY", "peer.pin", did="did:web:x.example", public_key="nonsense")
        self.refused("INVALID_PARAMS", "peer.pin", did=key.did("server"), allow_literal=True)
        for origin in ("http://x.example", "https://x.example/", "https://X.example", "https://x.example:443"):
            self.refused("INVALID_PARAMS", "peer.pin", did=key.did("server"), origin=origin)
        self.athd.call("peer.pin", did=key.did("server"), origin="https://x.example", name="x")
        self.athd.call("peer.pin", did="did:web:x.example", public_key=other.pem)
        self.assertEqual(sorted(p["did"] for p in self.athd.call("peer.list")["peers"]),
                         sorted([key.did("server"), "did:web:x.example"]))
        for did in (key.did("server"), "did:web:x.example"):
            self.athd.call("peer.remove", did=did)
        self.refused("INVALID_PARAMS", "peer.remove", did="did:web:x.example")

    def test_key_that_is_made_for_a_caller_who_left_is_whole_or_not_there(self):
        for number in range(20):
            connection = Connection(self.athd.socket)
            connection.lines.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "key.create", "params":
                                               {"name": f"k{number}", "role": "client",
                                                "agent_id": AGENT_ID}}).encode() + b"\n")
            connection.lines.flush()
            for _ in range(number % 4):
                self.athd.call("agent.status")
            connection.close()
        self.athd.call("key.create", name="last", role="client")
        for key in self.athd.call("key.list")["keys"]:
            if key["name"] != "last":
                self.athd.call("attestation.create", key=key["name"], audience="https://x.example")
        self.assertEqual(self.athd.call("agent.status")["key_files"], {"orphans": [], "damaged": []})


if __name__ == "__main__":
    unittest.main()
