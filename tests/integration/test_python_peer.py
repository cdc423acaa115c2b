"""athd against the Python peer (tests/integration/peer) in each role, and the peer by itself: it can
serve as a judge of athd only if it takes what is right and refuses what is wrong."""
import json
import os
import unittest
from unittest import mock
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from peer import jws, transcript as tr, user
from peer.agent import SOURCE, Athd, Failed
from peer.client import Client
from peer.encoding import Refused, b64u, b64u_decode, jcs, parse
from peer.keys import Key, PublicKey, merkle_path, merkle_root, merkle_root_of_path, sha256
from peer.server import Server, Service

SCOPES = ["mail:read", "mail:send", "files:read", "files:write"]


class Encodings(unittest.TestCase):
    def refused(self, reason, call, *arguments):
        with self.assertRaises(Refused) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.reason, reason)

    def test_json_that_two_parsers_could_read_differently_is_refused(self):
        for text in ('{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"a":1.0}', '{"a":1e3}', '{"a":-0}',
                     '{"a":01}', '{"a":9007199254740992}', '{"a":"\\u0000"}', '{"a":"\\ud800"}',
                     '{"a":NaN}', '[1]', '{"a":1}x', '\ufeff{}', '{"a":' * 17 + '1' + '}' * 17):
            self.refused("INVALID_MESSAGE", parse, text)
        self.refused("INVALID_MESSAGE", parse, b'{"a":"\xff"}')
        self.assertEqual(parse('{"a":-9007199254740991}'), {"a": -9007199254740991})
        self.assertEqual(len(jcs(parse('{"a":' * 16 + '1' + '}' * 16))), 97)

    def test_canonical_json_is_that_of_rfc_8785(self):
        self.assertEqual(jcs(parse('{"\\u20ac":"","\\r":"","\\ufb33":"","1":"","\\ud83d\\ude00":"",'
                                   '"\\u0080":"","\\u00f6":""}')).decode(),
                         '{"\\r":"","1":"","\x80":"","\xf6":"","\u20ac":"","\U0001f600":"","\ufb33":""}')
        self.assertEqual(jcs({"s": "\u20ac$\x0f\nA'B\"\\\\\"/"}).decode(),
                         '{"s":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}')

    def test_base64url_has_one_form_only(self):
        for text in ("QQ==", "QR", "Q", "Q+", "Q Q", "QQ\n"):
            self.refused("INVALID_MESSAGE", b64u_decode, text)
        self.assertEqual(b64u_decode("QQ"), b"A")

    def test_thumbprint_is_that_of_rfc_7638(self):
        # RFC 7517 appendix A.1's P-256 key; thumbprint computed with another implementation
        key = PublicKey.from_jwk({"kty": "EC", "crv": "P-256",
                                  "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                                  "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"})
        self.assertEqual(key.jkt, "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s")
        self.assertEqual(PublicKey.from_pem(key.pem).jkt, key.jkt)
        for pem in (key.pem + "\n", " " + key.pem, key.pem + key.pem, key.pem.replace("PUBLIC", "EC")):
            self.refused("INVALID_PUBLIC_KEY", PublicKey.from_pem, pem)

    def test_merkle_paths_lead_to_the_root(self):
        for size in range(1, 20):
            leaves = [bytes([n]) * n for n in range(size)]
            root = merkle_root(leaves)
            for index in range(size):
                path = merkle_path(index, leaves)
                self.assertEqual(merkle_root_of_path(leaves[index], index, size, path), root)
                if index:
                    self.assertNotEqual(merkle_root_of_path(leaves[0], index, size, path), root)
        self.assertEqual(merkle_root([b""]).hex(),  # RFC 6962: the hash of an empty leaf
                         "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d")


class Handshake(unittest.TestCase):
    def setUp(self):
        self.client_key, self.server_key, self.user_key = Key(), Key(), Key()

    def service(self, **more):
        return Service(self.server_key, {self.client_key.did("client"): SCOPES[:3]},
                       [self.user_key.did("user")], SCOPES, **more)

    def client(self, service, **more):
        grant = user.grant(self.user_key, self.client_key.did("client"), SCOPES[:2] + SCOPES[3:],
                           1800, service.did)
        return Client(self.client_key, service.did, grant, SCOPES, **more)

    def run_whole(self, client, server, m2, approved=None):
        kind, out = server.on_scope_request(client.on_identity_result(server.on_proof(
            client.on_response(m2))))
        if kind == "confirm":
            out = server.on_confirmation(user.answer(self.user_key, out, approved, server.service.did))
        client.on_scope_result(out[0])
        return client.on_complete(out[1])

    def test_a_whole_handshake_ends_with_keys_that_fit(self):
        service = self.service()
        client, server = self.client(service), Server(service)
        result = self.run_whole(client, server, server.on_request(client.start()))
        self.assertEqual(result["scopes"], SCOPES[:2])
        self.assertEqual(result["denied"], [{"scope": "files:read", "reason": "user_grant"},
                                            {"scope": "files:write", "reason": "server_policy"}])
        sealed = [client.session.seal(b"question"), client.session.seal(b"another")]
        self.assertEqual(server.session.open(sealed[1]), (b"another", 1, None))
        self.assertEqual(server.session.open(sealed[0]), (b"question", 0, None))
        with self.assertRaisesRegex(Refused, "REPLAYED"):
            server.session.open(sealed[0])
        with self.assertRaisesRegex(Refused, "DECRYPT_FAILED"):  # reflected to its sender
            client.session.open(sealed[0])
        self.assertEqual(client.session.open(server.session.seal(b"answer", 1)), (b"answer", 0, 1))

    def test_the_user_confirms_a_part(self):
        service = self.service(confirm=True)
        client, server = self.client(service, context="answer mail"), Server(service)
        result = self.run_whole(client, server, server.on_request(client.start()), SCOPES[:1])
        self.assertEqual(result["scopes"], SCOPES[:1])
        self.assertIn({"scope": SCOPES[1], "reason": "user_confirmation"}, result["denied"])

    def test_one_signature_serves_many_handshakes(self):
        service = self.service()
        clients = [self.client(service) for _ in range(5)]
        answers = Server.on_requests(service, [client.start() for client in clients])
        for client, (server, m2) in zip(clients, answers):
            self.assertEqual(m2["signature"].count("."), 3)
            self.run_whole(client, server, m2)
        with self.assertRaisesRegex(Refused, "INVALID_SIGNATURE"):  # another's place in the batch
            other = self.client(service)
            other.start()
            other.on_response(answers[0][1])

    def test_each_changed_member_of_a_signed_message_is_noticed(self):
        service = self.service(confirm=True)
        client, server = self.client(service, context="answer mail"), Server(service)
        m1 = client.start()
        for name in ("nonce", "client_pubkey", "capabilities", "audience", "timestamp", "versions"):
            other = self.client(service)
            sent = other.start()
            changed = {**sent, name: {"nonce": tr.random_id(32), "client_pubkey": Key().pem,
                                      "capabilities": ["ATH-TB1"], "audience": "https://a.example",
                                      "timestamp": sent["timestamp"] + 1, "versions": ["0.1", "9.9"]}[name]}
            with self.assertRaises(Refused, msg=name):
                other.on_response(Server(service).on_request(changed))
        m2 = server.on_request(m1)
        for name, value in (("nonce", tr.random_id(32)), ("version", "0.2"), ("server_did", "did:ath:x"),
                            ("server_pubkey", Key().pem), ("handshake_id", tr.random_id()),
                            ("extra", 1), ("capabilities", ["ATH-TB1"])):
            with self.assertRaises(Refused, msg=name):
                client.on_response({**m2, name: value})
        m3 = client.on_response(m2)
        m4 = server.on_proof(m3)
        m4_changed = {**m4, "metadata": {**m4["metadata"], "scopes_supported": ["all:write"]}}
        misled = self.client(service)
        misled.__dict__.update(client.__dict__)
        with self.assertRaisesRegex(Refused, "INVALID_SIGNATURE"):  # M4 is in the transcript
            server.on_scope_request(misled.on_identity_result(m4_changed))
        m5 = client.on_identity_result(m4)
        for name, value in (("scopes", ["all:write"]), ("ttl", 3600), ("context", "steal mail"),
                            ("key_exchange_params", Key().share), ("server_did", Key().did("server"))):
            with self.assertRaises(Refused, msg=name):
                server.on_scope_request({**m5, name: value})
        kind, m6 = server.on_scope_request(m5)
        self.assertEqual(kind, "confirm")
        for name, value in (("requested_scopes", ["all:write"]), ("ttl", 3601), ("context", "other"),
                            ("handshake", tr.random_id(32)), ("user_did", Key().did("user"))):
            with self.assertRaises(Refused, msg=name):
                user.answer(self.user_key, {**m6, name: value})
        m7 = user.answer(self.user_key, m6, [])
        for name, value in (("approved", True), ("approved_scopes", SCOPES[:1]), ("expires_at", 9),
                            ("user_pubkey", Key().pem), ("request_id", "req_" + tr.random_id())):
            with self.assertRaises(Refused, msg=name):
                server.on_confirmation({**m7, name: value})
        [m8] = server.on_confirmation(m7)
        with self.assertRaisesRegex(Refused, "USER_DENIED"):
            client.on_scope_result(m8)

    def test_m8_and_m9_are_bound_by_the_token(self):
        service = self.service()
        client, server = self.client(service), Server(service)
        _, (m8, m9) = server.on_scope_request(client.on_identity_result(server.on_proof(
            client.on_response(server.on_request(client.start())))))
        before = dict(client.__dict__)
        for changed8, changed9 in (
                ({**m8, "scopes_granted": SCOPES[:1]}, m9), ({**m8, "ttl_granted": 1}, m9),
                ({**m8, "confirmation": tr.random_id(32)}, m9), ({**m8, "restrictions": {}}, m9),
                (m8, {**m9, "key_exchange_params": Key().share}), (m8, {**m9, "cipher_suite": "none"}),
                (m8, {**m9, "access_token": jws.make(Key(), "at+jwt", {})})):
            client.__dict__.update(before)
            client.on_scope_result(changed8)
            with self.assertRaises(Refused, msg=(changed8, changed9)):
                client.on_complete(changed9)
        client.__dict__.update(before)
        client.on_scope_result(m8)
        client.on_complete(m9)

    def test_a_self_made_user_opens_no_account(self):
        service = self.service()
        client, server = self.client(service), Server(service)
        client.grant = user.grant(Key(), self.client_key.did("client"), SCOPES[:2], 60, service.did)
        m5 = client.on_identity_result(server.on_proof(client.on_response(server.on_request(client.start()))))
        with self.assertRaisesRegex(Refused, "UNKNOWN_PEER"):
            server.on_scope_request(m5)

    def test_m2_cannot_be_relayed_from_another_server(self):
        service, evil = self.service(), Service(Key(), {"*": SCOPES}, ["*"], SCOPES)
        client = self.client(service)
        with self.assertRaisesRegex(Refused, "UNKNOWN_PEER"):
            client.on_response(Server(evil).on_request({**client.start(), "audience": evil.did}))

    def test_transcript_starts_as_written(self):
        self.assertEqual(b64u(tr.T0), b64u(sha256(b"ATH-TB1")))
        self.assertRegex(tr.string("client-identity", tr.T0, {"a": 1}).decode(),
                         r"^ATH-TB1 client-identity [\w-]{43} [\w-]{43}$")


class Vectors(unittest.TestCase):
    """tests/vectors, which athd's C code made and replays, taken by the Python roles."""

    def roles_take(self, name):
        with open(os.path.join(SOURCE, "tests", "vectors", name), encoding="utf-8") as file:
            vector = json.load(file)
        steps = {entry["step"]: entry for entry in vector["steps"]}
        messages = {step: parse(json.dumps(entry["message"])) for step, entry in steps.items()}
        transcript = {step: b64u_decode(entry["transcript"]) for step, entry in steps.items()
                      if "transcript" in entry}
        with mock.patch.object(tr, "now", lambda: vector["now"]):
            self.client_takes(vector, messages, transcript)
            self.server_takes(vector, messages, transcript)
            if 6 in messages:
                user.check_m6(messages[6], self.key_of(vector, "user"),
                              vector["parties"]["server"]["did"])
        return vector

    def key_of(self, vector, party):
        return Key(load_pem_private_key(vector["parties"][party]["TEST_ONLY_private_key_pem"].encode(),
                                        None))

    def ephemeral_of(self, vector, party):
        scalar = int.from_bytes(b64u_decode(vector["TEST_ONLY_ephemeral"][party]["private"]), "big")
        key = Key(ec.derive_private_key(scalar, ec.SECP256R1()))
        self.assertEqual(key.share, vector["TEST_ONLY_ephemeral"][party]["share"])
        return key

    def client_takes(self, vector, messages, transcript):
        m5 = messages[5]
        client = Client(self.key_of(vector, "client"), vector["parties"]["server"]["did"],
                        vector["grant"], m5["scopes"], m5["ttl"], m5.get("context"))
        client.ephemeral, client.m1 = self.ephemeral_of(vector, "client"), messages[1]
        client.transcript = tr.add(tr.T0, messages[1])
        self.assertEqual(client.transcript, transcript[1])
        client.on_response(messages[2])
        client.transcript = transcript[3]  # ECDSA: our M3 has another signature
        made = client.on_identity_result(messages[4])
        self.assertEqual(tr.without(made, "user_authorization", "signature"),
                         tr.without(m5, "user_authorization", "signature"))
        client.transcript = transcript[5]
        client.on_scope_result(messages[8])
        self.assertEqual(client.transcript, transcript[8])
        client.on_complete(messages[9])
        self.assertEqual(client.session.sid, vector["session"]["sid"])
        for sealed in vector["session"]["sealed"]:
            if sealed["dir"] == "s2c":
                self.assertEqual(client.session.open(sealed["jwe"]),
                                 (sealed["plaintext"].encode(), sealed["seq"], sealed.get("re")))

    def server_takes(self, vector, messages, transcript):
        rules = vector["service"]
        service = Service(self.key_of(vector, "server"), rules["agents"], rules["users"],
                          rules["scopes_supported"], rules["require_user_confirmation"],
                          rules["token_max_ttl"], rules["origins"])
        server = Server(service)
        server.ephemeral = self.ephemeral_of(vector, "server")
        server.on_request(messages[1])
        server.transcript = transcript[2]
        self.assertEqual(server.on_proof(messages[3]), messages[4])
        self.assertEqual(server.transcript, transcript[4])
        kind, out = server.on_scope_request(messages[5])
        self.assertEqual(server.transcript, transcript[5])
        if kind == "confirm":
            server.m6 = messages[6]
            server.asked = messages[6]["requested_scopes"]
            out = server.on_confirmation(messages[7])
        self.assertEqual(out[0], tr.without(messages[8], "restrictions"))

    def test_the_roles_take_a_plain_handshake(self):
        self.roles_take("handshake-plain.json")

    def test_the_roles_take_a_confirmed_handshake(self):
        self.assertIn("restrictions", self.roles_take("handshake-confirmed.json")["service"])

    def test_the_roles_take_a_batch(self):
        vector = self.roles_take("handshake-batch.json")
        self.assertEqual(vector["steps"][1]["message"]["signature"].count("."), 3)


class WithAthd(unittest.TestCase):
    """Each role by athd, the others by Python."""

    def setUp(self):
        self.athd = Athd().__enter__()
        self.addCleanup(self.athd.__exit__)

    def key(self, role, **more):
        return self.athd.call("key.create", name=role, role=role, **more)

    def refused(self, reason, method, **params):
        with self.assertRaises(Failed) as caught:
            self.athd.call(method, **params)
        self.assertEqual(caught.exception.reason, reason, caught.exception.message)

    # ---- athd is the client
    def start(self, service, grant, **more):
        """handshake.start; what the Python server gets is the message's text."""
        answer = self.athd.call("handshake.start", key="client", scopes=SCOPES, ttl=600, credential=grant,
                                server={"did": service.did}, **more)
        self.handshake = answer["handshake"]
        return parse(json.dumps(answer["send"]))

    def receive(self, message):
        return self.athd.call("handshake.receive", handshake=self.handshake, message=jcs(message).decode())

    def python_service(self, **more):
        client = self.key("client")
        self.user_key = Key()
        service = Service(Key(), {client["did"]: SCOPES[:3]}, [self.user_key.did("user")], SCOPES, **more)
        grant = user.grant(self.user_key, client["did"], SCOPES[:2] + SCOPES[3:], 1800, service.did)
        return service, grant

    def finish_with(self, server, m2, approved=None):
        m5 = self.receive(server.on_proof(self.receive(m2)["send"]))["send"]
        kind, out = server.on_scope_request(m5)
        if kind == "confirm":
            out = server.on_confirmation(user.answer(self.user_key, out, approved, server.service.did))
        self.assertEqual(self.receive(out[0])["state"], "waiting")
        done = self.receive(out[1])
        self.assertEqual(done["state"], "done")
        return done["result"]

    def check_session(self, athd_session, python_session):
        jwe = self.athd.call("session.seal", session=athd_session, plaintext=b64u(b"to Python"))["jwe"]
        self.assertEqual(python_session.open(jwe)[0], b"to Python")
        sealed = python_session.seal(b"to athd", 0)
        opened = self.athd.call("session.open", session=athd_session, jwe=sealed)
        self.assertEqual(b64u_decode(opened["plaintext"]), b"to athd")
        with self.assertRaises(Failed) as caught:
            self.athd.call("session.open", session=athd_session, jwe=sealed)
        self.assertEqual(caught.exception.reason, "REPLAYED")
        large = bytes(65536)
        jwe = self.athd.call("session.seal", session=athd_session, plaintext=b64u(large))["jwe"]
        self.assertEqual(python_session.open(jwe)[0], large)

    def test_athd_as_client_of_a_python_server(self):
        service, grant = self.python_service()
        server = Server(service)
        result = self.finish_with(server, server.on_request(self.start(service, grant)))
        self.assertEqual(result["scopes"], SCOPES[:2])
        self.assertEqual(result["denied"], [{"scope": "files:read", "reason": "user_grant"},
                                            {"scope": "files:write", "reason": "server_policy"}])
        self.assertEqual((result["peer"]["did"], result["user_did"]),
                         (service.did, self.user_key.did("user")))
        self.check_session(result["session"], server.session)

    def test_athd_as_client_with_confirmation_by_a_python_user(self):
        service, grant = self.python_service(confirm=True)
        server = Server(service)
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        m1 = self.start(service, grant, context="answer mail \u00e4\u20ac\U0001f600", trace=trace)
        self.assertEqual(m1["traceparent"], trace)
        result = self.finish_with(server, server.on_request(m1), SCOPES[:1])
        self.assertEqual(result["scopes"], SCOPES[:1])
        self.check_session(result["session"], server.session)

    def test_athd_reads_batch_signatures(self):
        service, grant = self.python_service()
        m1s = [self.start(service, grant)]
        strangers = [Client(Key(), service.did, grant, SCOPES) for _ in range(4)]
        answers = Server.on_requests(service, [c.start() for c in strangers[:2]] + m1s +
                                     [c.start() for c in strangers[2:]])
        server, m2 = answers[2]
        self.refused("INVALID_SIGNATURE", "handshake.receive", handshake=self.handshake,
                     message={**m2, "signature": answers[1][1]["signature"]})
        m1s = [self.start(service, grant)]
        answers = Server.on_requests(service, m1s + [c.start() for c in strangers])
        self.finish_with(*answers[0])

    def test_athd_refuses_what_a_bad_server_sends(self):
        service, grant = self.python_service()
        other = Service(Key(), service.agents, service.users, SCOPES)
        for change, reason in (
                (lambda m2: {**m2, "signature": b64u(bytes(64))}, "INVALID_SIGNATURE"),
                (lambda m2: {**m2, "handshake_id": tr.random_id()}, "INVALID_SIGNATURE"),
                (lambda m2: {**m2, "extra": 1}, "INVALID_SIGNATURE"),
                (lambda m2: {**m2, "nonce": "ey.a.b"}, "INVALID_NONCE"),
                (lambda m2: {**m2, "timestamp": m2["timestamp"] - 400}, "TIMESTAMP_SKEW"),
                (lambda m2: {**m2, "capabilities": ["ES256"]}, "PROFILE_REFUSED"),
                (lambda m2: {**m2, "version": "0.2"}, "VERSION_MISMATCH"),
                (lambda m2: {**m2, "server_pubkey": Key().pem}, "UNKNOWN_PEER")):
            m2 = Server(service).on_request(self.start(service, grant))
            self.refused(reason, "handshake.receive", handshake=self.handshake, message=change(m2))
        m1 = self.start(service, grant)
        self.refused("UNKNOWN_PEER", "handshake.receive", handshake=self.handshake,
                     message=Server(other).on_request({**m1, "audience": other.did}))

    def test_athd_refuses_scopes_and_tokens_that_a_bad_server_makes_up(self):
        service, grant = self.python_service()
        for change8, change9, reason in (
                (lambda m: {**m, "scopes_granted": ["all:write"]}, lambda m: m, "SCOPE_NOT_APPROVED"),
                (lambda m: {**m, "scopes_granted": SCOPES[:1]}, lambda m: m, "SCOPE_NOT_APPROVED"),
                (lambda m: {**m, "ttl_granted": 3601}, lambda m: m, "INVALID_MESSAGE"),
                (lambda m: m, lambda m: {**m, "key_exchange_params": Key().share}, "INVALID_CREDENTIAL"),
                (lambda m: m, lambda m: {**m, "cipher_suite": "none"}, "INVALID_MESSAGE")):
            server = Server(service)
            m2 = server.on_request(self.start(service, grant))
            m5 = self.receive(server.on_proof(self.receive(m2)["send"]))["send"]
            _, (m8, m9) = server.on_scope_request(m5)
            with self.assertRaises(Failed, msg=reason) as caught:
                self.receive(change8(m8))
                self.receive(change9(m9))
            self.assertEqual(caught.exception.reason, reason, caught.exception.message)

    # ---- athd is the server
    def athd_service(self, confirm=False, users=None):
        self.server = self.key("server")
        self.client_key, self.user_key = Key(), Key()
        self.athd.call("service.put", name="app", key="server", scopes_supported=SCOPES,
                       token_max_ttl=900, require_user_confirmation=confirm,
                       agents={self.client_key.did("client"): SCOPES[:3]},
                       users=users or {self.user_key.did("user"): "somebody"})
        grant = user.grant(self.user_key, self.client_key.did("client"), SCOPES[:2] + SCOPES[3:], 1800,
                           self.server["did"])
        return Client(self.client_key, self.server["did"], grant, SCOPES, context="answer mail")

    def to_scope_request(self, client):
        """Up to M5's answer."""
        accepted = self.athd.call("handshake.accept", service="app", message=client.start())
        self.handshake = accepted["handshake"]
        m4 = self.receive(client.on_response(accepted["send"]))["send"]
        return self.receive(client.on_identity_result(m4))

    def finish_client(self, client, answer):
        self.assertEqual(answer["state"], "done")
        client.on_scope_result(answer["send"][0])
        client.on_complete(answer["send"][1])
        return answer["result"]

    def test_athd_as_server_of_a_python_client(self):
        client = self.athd_service()
        result = self.finish_client(client, self.to_scope_request(client))
        self.assertEqual((result["scopes"], client.result["scopes"]), (SCOPES[:2], SCOPES[:2]))
        self.assertEqual(client.result["denied"], [{"scope": "files:read", "reason": "user_grant"},
                                                   {"scope": "files:write", "reason": "server_policy"}])
        self.check_session(result["session"], client.session)
        token = client.result["access_token"]
        claims = self.athd.call("token.verify", service="app", token=token, session=result["session"],
                                scope=SCOPES[0])["claims"]
        self.assertEqual(claims["sub"], self.client_key.did("client"))
        self.refused("SCOPE_NOT_APPROVED", "token.verify", service="app", token=token,
                     session=result["session"], scope=SCOPES[2])
        with self.assertRaises(Failed):  # bound to its holder
            self.athd.call("token.verify", service="app", token=token)

    def proof(self, token, **more):
        """A DPoP proof (RFC 9449) by the client's key."""
        claims = {"jti": tr.random_id(), "htm": "GET", "htu": "https://app.example/mail", "iat": tr.now(),
                  "ath": b64u(sha256(token.encode())), **more}
        header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": self.client_key.jwk}
        signed = b64u(jcs(header)) + "." + b64u(jcs(claims))
        return signed + "." + b64u(self.client_key.sign(signed.encode()))

    def test_athd_takes_a_token_with_a_proof_of_its_holder_once(self):
        client = self.athd_service()
        self.finish_client(client, self.to_scope_request(client))
        token = client.result["access_token"]
        verify = {"service": "app", "token": token}
        proof = self.proof(token)
        self.athd.call("token.verify", **verify, proof=proof)
        self.refused("REPLAYED", "token.verify", **verify, proof=proof)
        self.athd.call("token.verify", **verify, proof={"jwt": self.proof(token), "method": "GET",
                                                        "uri": "https://app.example/mail"})
        for bad in (self.proof(token, ath=b64u(sha256(b"another token"))), self.proof(token)[:-6] + "AAAAAA",
                    self.proof(token, iat=tr.now() - 4000),
                    {"jwt": self.proof(token), "method": "POST", "uri": "https://app.example/mail"}):
            with self.assertRaises(Failed, msg=bad) as caught:
                self.athd.call("token.verify", **verify, proof=bad)
            self.assertEqual(caught.exception.code, -32009)
        self.client_key = Key()
        with self.assertRaises(Failed):
            self.athd.call("token.verify", **verify, proof=self.proof(token))

    def test_athd_as_server_with_confirmation_by_a_python_user(self):
        client = self.athd_service(confirm=True)
        answer = self.to_scope_request(client)
        self.assertEqual(answer["state"], "confirm")
        m7 = user.answer(self.user_key, answer["confirm"], SCOPES[:1], self.server["did"])
        result = self.finish_client(client, self.receive(m7))
        self.assertEqual(result["scopes"], SCOPES[:1])
        self.check_session(result["session"], client.session)

    def test_athd_as_server_takes_the_python_users_no(self):
        client = self.athd_service(confirm=True)
        answer = self.receive(user.answer(self.user_key, self.to_scope_request(client)["confirm"], []))
        self.assertEqual((answer["state"], answer["result"]["error"]["code"]), ("failed", "USER_DENIED"))
        m8 = answer["send"][0] if isinstance(answer["send"], list) else answer["send"]
        with self.assertRaisesRegex(Refused, "USER_DENIED"):
            client.on_scope_result(m8)

    def test_athd_refuses_what_a_bad_client_sends(self):
        client = self.athd_service()
        m1 = client.start()
        for change, reason in (({"audience": Key().did("server")}, "UNKNOWN_PEER"),
                               ({"capabilities": ["ES256"]}, "PROFILE_REFUSED"),
                               ({"versions": ["9.9"]}, "VERSION_MISMATCH"),
                               ({"nonce": "short"}, "INVALID_NONCE"),
                               ({"client_pubkey": Key().pem}, "UNKNOWN_PEER"),
                               ({"client_pubkey": "x"}, "INVALID_PUBLIC_KEY"),
                               ({"timestamp": m1["timestamp"] + 400}, "TIMESTAMP_SKEW")):
            self.refused(reason, "handshake.accept", service="app", message={**m1, **change})
        text = json.dumps(m1)
        for changed in (text.replace('"nonce"', '"nonce":"x","nonce"', 1), text[:-1] + ',"a":1.0}',
                        text[:-1] + ',"a":"\\u0000"}', text + " x"):
            self.refused("INVALID_MESSAGE", "handshake.accept", service="app", message=changed)
        m5 = lambda answer: client.on_identity_result(self.receive(client.on_response(answer))["send"])
        for change, reason in (({"scopes": SCOPES[:1]}, "INVALID_SIGNATURE"),
                               ({"key_exchange_params": Key().share}, "INVALID_SIGNATURE"),
                               ({"server_did": Key().did("server")}, "UNKNOWN_PEER")):
            accepted = self.athd.call("handshake.accept", service="app", message=client.start())
            self.handshake = accepted["handshake"]
            with self.assertRaises(Failed, msg=change) as caught:
                self.receive({**m5(accepted["send"]), **change})
            self.assertIn(caught.exception.reason, (reason, "INVALID_SIGNATURE"))

    def test_athd_under_load_asks_for_a_proof_and_takes_its_cookie_once(self):
        client = self.athd_service()

        def accept(message, source="192.0.2.1"):
            return self.athd.call("handshake.accept", service="app", message=message, source=source)
        open_ones = [accept(client.start())["handshake"] for _ in range(64)]
        retry = accept(client.start())
        self.assertNotIn("handshake", retry)
        self.assertEqual((retry["send"]["type"], retry["send"]["proof"]), ("handshake_retry", True))
        self.assertIn("handshake", accept(client.start(), "192.0.2.2"))  # others are served
        self.athd.call("handshake.abort", handshake=open_ones[0])
        with self.assertRaises(Failed) as caught:  # the cookie is for whom it was given
            accept(client.start(retry["send"]), "192.0.2.2")
        self.assertEqual(caught.exception.reason, "INVALID_MESSAGE")
        m1 = client.start(retry["send"])
        with self.assertRaises(Failed):
            accept({**m1, "proof": b64u(bytes(64))})
        retry = self.fill_up(client, accept)
        m1 = client.start(retry)
        m2 = accept(m1)
        self.assertEqual(m2["send"]["type"], "handshake_response")
        self.handshake = m2["handshake"]
        answer = self.receive(client.on_identity_result(self.receive(client.on_response(m2["send"]))["send"]))
        self.finish_client(client, answer)
        with self.assertRaises(Failed) as caught:
            accept(client.start(retry))
        self.assertEqual(caught.exception.reason, "INVALID_MESSAGE")

    def fill_up(self, client, accept):
        """Once more to the limit, a retry from there, and room for one again."""
        while True:
            answer = accept(client.start())
            if "handshake" not in answer:
                self.athd.call("handshake.abort", handshake=last)
                return answer["send"]
            last = answer["handshake"]

    def test_athd_refuses_a_user_it_does_not_know(self):
        client = self.athd_service(users={Key().did("user"): "another"})
        with self.assertRaises(Failed) as caught:
            self.to_scope_request(client)
        self.assertEqual(caught.exception.reason, "UNKNOWN_PEER")

    # ---- athd is the user
    def test_athd_as_user_of_a_python_server_and_client(self):
        athd_user = self.key("user")
        client_key, service = Key(), Service(Key(), {"*": SCOPES}, ["*"], SCOPES, confirm=True)
        grant = self.athd.call("credential.issue", key="user", client=client_key.did("client"),
                               scopes=SCOPES[:2], audience=service.did, ttl=900)["credential"]
        client, server = Client(client_key, service.did, grant, SCOPES[:3]), Server(service)
        m5 = client.on_identity_result(server.on_proof(client.on_response(server.on_request(client.start()))))
        kind, m6 = server.on_scope_request(m5)
        self.assertEqual((kind, m6["user_did"]), ("confirm", athd_user["did"]))
        for change, server_did, reason in (({"requested_scopes": SCOPES[2:3]}, None, "INVALID_SIGNATURE"),
                                           ({}, Key().did("server"), "UNKNOWN_PEER")):
            more = {"server": server_did} if server_did else {}
            self.refused(reason, "confirmation.answer", key="user", message={**m6, **change}, **more)
        forged = {**m6, "requested_scopes": SCOPES}  # signed by the server, never asked for by the client
        forged["signature"] = tr.sign(service.key, "confirmation-request", tr.T0,
                                      tr.without(forged, "signature"))
        forged["requested_scopes"].append("more:write")
        forged["signature"] = tr.sign(service.key, "confirmation-request", tr.T0,
                                      tr.without(forged, "signature"))
        self.refused("SCOPE_NOT_APPROVED", "confirmation.answer", key="user", message=forged)
        before = self.athd.questions()
        m7 = self.athd.call("confirmation.answer", key="user", message=m6, server=service.did)["send"]
        asked = self.athd.questions()[len(before):]
        self.assertIn(SCOPES[0], asked)
        self.assertIn(service.did, asked)
        m8, m9 = server.on_confirmation(m7)
        client.on_scope_result(m8)
        self.assertEqual(client.on_complete(m9)["scopes"], SCOPES[:2])

    def question_of(self, m6):
        """What the person is shown for it."""
        before = self.athd.questions()
        self.athd.call("confirmation.answer", key="user", message=m6)
        asked = self.athd.questions()[len(before):]
        return "\n".join(unquote(line[len("SETDESC "):]) for line in asked.splitlines()
                         if line.startswith("SETDESC "))

    def test_strangers_words_cannot_pose_as_athds(self):
        self.key("user", confirm="always")
        client_key, service = Key(), Service(Key(), {"*": SCOPES}, ["*"], SCOPES, confirm=True)
        grant = self.athd.call("credential.issue", key="user", client=client_key.did("client"),
                               scopes=SCOPES[:2], ttl=900)["credential"]
        context = "x\nServer: did:ath:server_of_mine\u2028\u202edesrever\u200b \"y\" \x1b[31m\x7f" + "z" * 500
        client, server = Client(client_key, service.did, grant, SCOPES[:2], context=context), Server(service)
        _, m6 = server.on_scope_request(client.on_identity_result(server.on_proof(client.on_response(
            server.on_request(client.start())))))
        shown = self.question_of(m6)
        self.assertIn(service.did, shown)
        self.assertNotIn("\nServer: did:ath:server_of_mine", shown)
        for character in "\u2028\u202e\u200b\x1b\x7f\r":
            self.assertNotIn(character, shown)
        self.assertLess(shown.count("z"), 257)
        self.assertGreater(shown.count("z"), 100)

    def test_athds_user_says_no(self):
        self.key("user", confirm="always")
        client_key, service = Key(), Service(Key(), {"*": SCOPES}, ["*"], SCOPES, confirm=True)
        grant = self.athd.call("credential.issue", key="user", client=client_key.did("client"),
                               scopes=SCOPES[:2], ttl=900)["credential"]
        client, server = Client(client_key, service.did, grant, SCOPES[:3]), Server(service)
        _, m6 = server.on_scope_request(client.on_identity_result(server.on_proof(client.on_response(
            server.on_request(client.start())))))
        self.athd.answers("ERR 83886194 Not confirmed <Pinentry>")
        m7 = self.athd.call("confirmation.answer", key="user", message=m6)["send"]
        self.assertEqual((m7["approved"], m7["approved_scopes"]), (False, []))
        [m8] = server.on_confirmation(m7)
        self.assertEqual(m8["error"]["code"], "USER_DENIED")


if __name__ == "__main__":
    unittest.main()
