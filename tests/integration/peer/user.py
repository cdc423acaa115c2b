"""The user: the grant of step 0, and steps 6 and 7."""
from . import jws, transcript as tr
from .encoding import Refused, b64u, b64u_decode, require
from .keys import PublicKey, check_did


def grant(key, client_did, scopes, ttl, audience=None):
    """Step 0: a JWS by the user's key (section 3)."""
    issued = tr.now()
    claims = {"iss": key.did("user"), "user_did": key.did("user"), "sub": client_did,
              "client_did": client_did, "scopes": scopes, "iat": issued, "exp": issued + ttl,
              "expires_at": issued + ttl, "jti": tr.random_id()}
    if audience is not None:
        claims["aud"] = audience
    return jws.make(key, "ath-user-auth+jwt", claims, with_jwk=True)


def read_grant(token):
    """The claims and the user's key, or Refused INVALID_CREDENTIAL."""
    try:
        claims, key = jws.read(token, "ath-user-auth+jwt")
        check_did(claims.get("iss"), "user", key)
        tr.check_scopes(claims.get("scopes"))
    except Refused as refusal:
        raise Refused("INVALID_CREDENTIAL", str(refusal)) from None
    issued, ends = claims.get("iat"), claims.get("exp")
    require(claims.get("user_did") == claims["iss"] and claims.get("sub") == claims.get("client_did")
            and isinstance(claims["sub"], str), "INVALID_CREDENTIAL", "DIDs")
    require(type(issued) is int and type(ends) is int and ends == claims.get("expires_at") and
            issued < ends and tr.now() < ends and issued <= tr.now() + 300,
            "INVALID_CREDENTIAL", "times")
    if "aud" in claims:
        aud = claims["aud"]
        listed = [aud] if isinstance(aud, str) else aud
        require(isinstance(listed, list) and 1 <= len(listed) <= 16 and
                all(isinstance(did, str) and did.startswith("did:") for did in listed),
                "INVALID_CREDENTIAL", "aud")
    return claims, key


def grant_is_for(claims, client_did, server_did):
    aud = claims.get("aud", server_did)
    return claims["sub"] == client_did and server_did in ([aud] if isinstance(aud, str) else aud)


def check_m6(m6, key, polled_server):
    """Everything the user's side checks before a person is shown anything (step 6)."""
    tr.check_message(m6, "authorization_confirmation_request", timestamp_too=False)
    require(m6["timestamp"] < m6["expires_at"] <= m6["timestamp"] + 600 and
            m6["timestamp"] <= tr.now() + 300, "INVALID_MESSAGE", "expires_at")
    require(tr.now() <= m6["expires_at"], "TIMESTAMP_SKEW", "too late")
    require(m6["user_did"] == key.did("user"), "UNKNOWN_PEER", "another user's")
    require(polled_server in (None, m6["server_did"]), "UNKNOWN_PEER", "another server's")
    server, client = PublicKey.from_pem(m6["server_pubkey"]), PublicKey.from_pem(m6["client_pubkey"])
    check_did(m6["server_did"], "server", server)
    check_did(m6["client_did"], "client", client)
    tr.verify(server, "confirmation-request", tr.T0, m6, "signature")
    m5, t4 = m6["scope_request"], b64u_decode(m6["transcript"])
    tr.verify(client, "scope-request", t4, m5, "user_authorization", "signature")
    require(b64u(tr.add(t4, m5)) == m6["handshake"], "INVALID_MESSAGE", "handshake")
    require(m5["server_did"] == m6["server_did"], "UNKNOWN_PEER", "asked of another server")
    require(m6.get("context") == m5.get("context"), "INVALID_MESSAGE", "context")
    tr.check_scopes(m6["requested_scopes"])
    require(set(m6["requested_scopes"]) <= set(m5["scopes"]), "SCOPE_NOT_APPROVED")
    require(1 <= m6["ttl"] <= m5["ttl"], "INVALID_MESSAGE", "ttl")
    claims, _ = read_grant(m5["user_authorization"]["credential"])
    require(claims["iss"] == key.did("user") and
            grant_is_for(claims, m6["client_did"], m6["server_did"]), "INVALID_CREDENTIAL")


def answer(key, m6, scopes=None, polled_server=None):
    """M7. scopes: those approved (None: all that M6 asks for; []: no)."""
    check_m6(m6, key, polled_server)
    approved = list(m6["requested_scopes"]) if scopes is None else scopes
    stamp = tr.now()
    m7 = {"type": "authorization_confirmation_response", "request_id": m6["request_id"],
          "user_did": key.did("user"), "user_pubkey": key.pem, "approved": bool(approved),
          "approved_scopes": approved, "expires_at": stamp + m6["ttl"] if approved else stamp,
          "timestamp": stamp}
    m7["signature"] = tr.sign(key, "user-confirmation", tr.add(tr.T0, m6), m7)
    return m7
