"""The server (the application): steps 1, 3, 5, 7 in; 2, 4, 6, 8, 9 out."""
from . import jws, transcript as tr, user
from .encoding import b64u, jcs, require
from .keys import Key, PublicKey, check_did, sha256, sign_batch
from .session import Session


class Service:
    """What an application offers to whom."""

    def __init__(self, key, agents, users, supported, confirm=False, max_ttl=3600, origins=()):
        self.key, self.agents, self.users = key, agents, users
        self.supported, self.confirm, self.max_ttl, self.origins = supported, confirm, max_ttl, origins
        self.did = key.did("server")


class Server:
    """One handshake."""

    def __init__(self, service):
        self.service, self.key = service, service.key
        self.ephemeral = Key()
        self.m6 = self.m7 = None

    # ---- steps 1 and 2
    def _response(self, m1):
        tr.check_message(m1, "handshake_request")
        require("ATH-TB1" in m1.get("capabilities", []), "PROFILE_REFUSED")
        require("0.1" in m1.get("versions", []), "VERSION_MISMATCH")
        require(m1.get("audience") in (self.service.did, *self.service.origins), "UNKNOWN_PEER",
                "M1 is for another server")
        tr.check_nonce(m1.get("nonce"))
        self.client = PublicKey.from_pem(m1.get("client_pubkey"))
        check_did(m1.get("client_did"), "client", self.client)
        self.client_did, self.traceparent = m1["client_did"], m1.get("traceparent")
        self.transcript = tr.add(tr.T0, m1)
        return {"type": "handshake_response", "server_did": self.service.did,
                "server_pubkey": self.key.pem, "version": "0.1",
                "capabilities": ["ATH-TB1", "ES256", "TLS1.3"], "nonce": tr.random_id(32),
                "handshake_id": tr.random_id(), "timestamp": tr.now()}

    def on_request(self, m1):
        """M1 in, M2 out."""
        m2 = self._response(m1)
        m2["signature"] = tr.sign(self.key, "server-identity", self.transcript, m2)
        self.transcript = tr.add(self.transcript, m2)
        return m2

    @classmethod
    def on_requests(cls, service, m1s):
        """Several M1 answered with one use of the key: [(server, M2)]."""
        servers = [cls(service) for _ in m1s]
        m2s = [server._response(m1) for server, m1 in zip(servers, m1s)]
        strings = [tr.string("server-identity", server.transcript, m2)
                   for server, m2 in zip(servers, m2s)]
        for server, m2, signature in zip(servers, m2s, sign_batch(service.key, strings)):
            m2["signature"] = signature
            server.transcript = tr.add(server.transcript, m2)
        return list(zip(servers, m2s))

    # ---- steps 3 and 4
    def on_proof(self, m3):
        tr.check_message(m3, "identity_proof")
        tr.verify(self.client, "client-identity", self.transcript, m3, "signature")
        self.transcript = tr.add(self.transcript, m3)
        allowed = self.service.agents.get(self.client_did, self.service.agents.get("*"))
        m4 = {"type": "identity_result", "success": allowed is not None, "error": None,
              "timestamp": tr.now()}
        if allowed is None:
            m4["error"] = {"code": "UNKNOWN_PEER", "message": "this client is not known here"}
        else:
            self.allowed = allowed
            m4["metadata"] = {"scopes_supported": self.service.supported,
                              "token_max_ttl": self.service.max_ttl,
                              "require_user_confirmation": self.service.confirm}
        self.transcript = tr.add(self.transcript, m4)
        return m4

    # ---- step 5, then 6 or 8 and 9
    def on_scope_request(self, m5):
        """M5 in; ("confirm", M6) or ("send", [M8, M9])."""
        tr.check_message(m5, "scope_request")
        tr.verify(self.client, "scope-request", self.transcript, m5, "user_authorization", "signature")
        require(m5.get("server_did") == self.service.did, "UNKNOWN_PEER", "M5 is for another server")
        require(m5.get("key_exchange_alg") == "ECDH-P256", "INVALID_MESSAGE", "key_exchange_alg")
        tr.check_scopes(m5.get("scopes"))
        require(type(m5.get("ttl")) is int and 1 <= m5["ttl"] <= 3600, "INVALID_MESSAGE", "ttl")
        self.grant, self.user = user.read_grant(m5["user_authorization"]["credential"])
        require(user.grant_is_for(self.grant, self.client_did, self.service.did), "INVALID_CREDENTIAL")
        require(len({self.user.point, self.client.point, self.key.point}) == 3, "INVALID_CREDENTIAL",
                "one key in two roles")
        require(self.grant["iss"] in self.service.users or "*" in self.service.users, "UNKNOWN_PEER",
                "no account for this user")
        self.z = self.ephemeral.agree(m5.get("key_exchange_params"))
        self.m5, t4 = m5, self.transcript
        self.transcript = tr.add(self.transcript, m5)
        self.asked = [s for s in m5["scopes"] if s in self.allowed and s in self.service.supported
                      and s in self.grant["scopes"]]
        if not self.service.confirm or not self.asked:
            return "send", self._finish(self.asked, None)
        return "confirm", self._confirmation(t4)

    def _confirmation(self, t4):
        stamp = tr.now()
        m6 = {"type": "authorization_confirmation_request", "request_id": "req_" + tr.random_id(),
              "client_did": self.client_did, "client_pubkey": self.client.pem,
              "client_info": {"name": "a client", "developer": "somebody"},
              "user_did": self.grant["iss"], "server_did": self.service.did,
              "server_pubkey": self.key.pem, "handshake": b64u(self.transcript),
              "transcript": b64u(t4), "scope_request": self.m5, "requested_scopes": self.asked,
              "ttl": min(self.m5["ttl"], self.service.max_ttl), "expires_at": stamp + 300,
              "timestamp": stamp}
        if "context" in self.m5:
            m6["context"] = self.m5["context"]
        if self.traceparent:
            m6["traceparent"] = self.traceparent
        m6["signature"] = tr.sign(self.key, "confirmation-request", tr.T0, m6)
        self.m6 = m6
        return m6

    # ---- step 7
    def on_confirmation(self, m7):
        """M7 in; [M8, M9], or [M8] after a no."""
        tr.check_message(m7, "authorization_confirmation_response")
        require(self.m6 and m7.get("request_id") == self.m6["request_id"], "UNEXPECTED_MESSAGE")
        require(m7.get("user_did") == self.grant["iss"], "UNKNOWN_PEER")
        check_did(m7["user_did"], "user", PublicKey.from_pem(m7.get("user_pubkey")))
        tr.verify(self.user, "user-confirmation", tr.add(tr.T0, self.m6), m7, "signature")
        require(m7["timestamp"] <= self.m6["expires_at"], "TIMESTAMP_SKEW", "too late")
        tr.check_scopes(m7["approved_scopes"], least=0)
        require(set(m7["approved_scopes"]) <= set(self.m6["requested_scopes"]), "SCOPE_NOT_APPROVED")
        require(m7["approved"] is bool(m7["approved_scopes"]), "INVALID_MESSAGE", "approved")
        self.m7 = m7
        return self._finish([s for s in self.asked if s in m7["approved_scopes"]],
                            b64u(tr.add(tr.add(tr.T0, self.m6), m7)))

    # ---- steps 8 and 9
    def _reason(self, scope):
        if scope not in self.allowed or scope not in self.service.supported:
            return "server_policy"
        return "user_grant" if scope not in self.grant["scopes"] else "user_confirmation"

    def _finish(self, granted, confirmation):
        stamp = tr.now()
        ends = [self.m5["ttl"], self.service.max_ttl, 3600, self.grant["exp"] - stamp]
        if self.m7 and self.m7["approved"]:
            ends.append(self.m7["expires_at"] - stamp)
        m8 = {"type": "scope_result", "scopes_granted": granted,
              "scopes_denied": [{"scope": s, "reason": self._reason(s)}
                                for s in self.m5["scopes"] if s not in granted],
              "ttl_granted": min(ends) if granted else 0, "timestamp": stamp}
        if confirmation:
            m8["confirmation"] = confirmation
        if not granted:
            code = "USER_DENIED" if self.m7 and not self.m7["approved"] else "SCOPE_NOT_APPROVED"
            m8["error"] = {"code": code, "message": "nothing was granted"}
            return [m8]
        m9 = {"type": "handshake_complete", "key_exchange_alg": "ECDH-P256",
              "key_exchange_params": self.ephemeral.share, "cipher_suite": "AES-256-GCM",
              "timestamp": stamp}
        ath_th = sha256(tr.add(self.transcript, m8), sha256(jcs(m9)))
        m9["access_token"] = jws.make(self.key, "at+jwt", {
            "iss": self.service.did, "sub": self.client_did, "aud": self.service.did,
            "user_did": self.grant["iss"], "scope": " ".join(granted), "iat": stamp,
            "exp": stamp + m8["ttl_granted"], "jti": tr.random_id(),
            "cnf": {"jkt": self.client.jkt}, "ath_th": b64u(ath_th)})
        self.session = Session(self.z, ath_th, "s2c")
        return [m8, m9]
