"""The client (the AI agent): steps 1, 3, 5 out; 2, 4, 8, 9 in (docs/protocol.md, section 5)."""
import re

from . import jws, transcript as tr, user
from .encoding import Refused, b64u, jcs, require
from .keys import Key, PublicKey, check_did, sha256
from .session import Session


class Client:
    def __init__(self, key, server_did, grant, scopes, ttl=600, context=None, traceparent=None):
        self.key, self.server_did, self.grant = key, server_did, grant
        self.scopes, self.ttl, self.context, self.traceparent = scopes, ttl, context, traceparent
        self.ephemeral = Key()
        self.result = None

    def start(self, retry=None):
        """M1; `retry` is a handshake_retry to follow."""
        m1 = {"type": "handshake_request", "client_did": self.key.did("client"),
              "client_pubkey": self.key.pem, "versions": ["0.1"],
              "capabilities": ["ATH-TB1", "ES256", "TLS1.3"], "nonce": tr.random_id(32),
              "audience": self.server_did, "timestamp": tr.now()}
        if self.traceparent:
            m1["traceparent"] = self.traceparent
        if retry is not None:
            tr.check_message(retry, "handshake_retry")
            m1["cookie"] = retry["cookie"]
            if retry["proof"]:
                m1["proof"] = tr.sign(self.key, "client-hello", tr.T0, m1)
        self.m1, self.transcript = m1, tr.add(tr.T0, m1)
        return m1

    def on_response(self, m2):
        """M2 in, M3 out."""
        tr.check_message(m2, "handshake_response")
        require("ATH-TB1" in m2.get("capabilities", []), "PROFILE_REFUSED")
        require(m2.get("version") == "0.1", "VERSION_MISMATCH")
        tr.check_nonce(m2.get("nonce"))
        require(m2["nonce"] != self.m1["nonce"], "INVALID_NONCE", "our own nonce")
        require(re.fullmatch(r"[A-Za-z0-9_-]{22}", str(m2.get("handshake_id"))), "INVALID_MESSAGE",
                "handshake_id")
        self.server = PublicKey.from_pem(m2.get("server_pubkey"))
        check_did(m2.get("server_did"), "server", self.server)
        require(m2["server_did"] == self.server_did, "UNKNOWN_PEER", "another server answered")
        require(self.server.point != self.key.point, "INVALID_CREDENTIAL", "server has our key")
        tr.verify(self.server, "server-identity", self.transcript, m2, "signature")
        self.transcript = tr.add(self.transcript, m2)
        m3 = {"type": "identity_proof", "timestamp": tr.now()}
        m3["signature"] = tr.sign(self.key, "client-identity", self.transcript, m3)
        self.transcript = tr.add(self.transcript, m3)
        return m3

    def on_identity_result(self, m4):
        """M4 in, M5 out."""
        tr.check_message(m4, "identity_result")
        if m4.get("success") is not True:
            raise Refused(m4["error"]["code"], m4["error"]["message"])
        self.transcript = tr.add(self.transcript, m4)
        m5 = {"type": "scope_request", "scopes": self.scopes, "ttl": self.ttl,
              "server_did": self.server_did, "user_authorization": {"credential": self.grant},
              "key_exchange_alg": "ECDH-P256", "key_exchange_params": self.ephemeral.share,
              "timestamp": tr.now()}
        if self.context is not None:
            m5["context"] = self.context
        m5["user_authorization"]["signature"] = tr.sign(self.key, "scope-request", self.transcript, m5)
        self.transcript = tr.add(self.transcript, m5)
        return m5

    def on_scope_result(self, m8):
        tr.check_message(m8, "scope_result")
        if m8.get("error"):
            raise Refused(m8["error"]["code"], m8["error"]["message"])
        tr.check_scopes(m8["scopes_granted"])
        require(set(m8["scopes_granted"]) <= set(self.scopes), "SCOPE_NOT_APPROVED", "more than asked")
        require(1 <= m8["ttl_granted"] <= min(self.ttl, 3600), "INVALID_MESSAGE", "ttl_granted")
        self.m8, self.transcript = m8, tr.add(self.transcript, m8)

    def on_complete(self, m9):
        """M9 in; the handshake is done: self.result, self.session."""
        tr.check_message(m9, "handshake_complete")
        require(m9.get("key_exchange_alg") == "ECDH-P256" and m9.get("cipher_suite") == "AES-256-GCM",
                "INVALID_MESSAGE", "algorithms")
        claims, _ = jws.read(m9.get("access_token"), "at+jwt", self.server)
        grant, _ = user.read_grant(self.grant)
        ath_th = sha256(self.transcript, sha256(jcs(tr.without(m9, "access_token"))))
        expected = {"iss": self.server_did, "aud": self.server_did, "sub": self.key.did("client"),
                    "cnf": {"jkt": self.key.jkt}, "user_did": grant["iss"],
                    "scope": " ".join(self.m8["scopes_granted"]), "ath_th": b64u(ath_th),
                    "restrictions": self.m8.get("restrictions")}
        for name, value in expected.items():
            require(claims.get(name) == value, "INVALID_CREDENTIAL", f"token's {name}")
        require(claims["exp"] - claims["iat"] == self.m8["ttl_granted"] and
                tr.now() < claims["exp"] <= grant["exp"], "INVALID_CREDENTIAL", "token's times")
        self.session = Session(self.ephemeral.agree(m9.get("key_exchange_params")), ath_th, "c2s")
        self.result = {"scopes": self.m8["scopes_granted"], "denied": self.m8["scopes_denied"],
                       "expires_at": claims["exp"], "access_token": m9["access_token"]}
        return self.result
