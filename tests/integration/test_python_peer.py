"""The Python peer (tests/integration/peer) by itself: it can serve as a judge of athd only if it
takes what is right and refuses what is wrong."""
import unittest

from peer import jws, transcript as tr, user
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


if __name__ == "__main__":
    unittest.main()
