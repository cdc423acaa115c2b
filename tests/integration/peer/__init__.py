"""A small, independent ATH-TB1 peer: client, server and user of docs/protocol.md in plain Python.

It shares no code with athd and needs only python3-cryptography. It is here so that athd's handshake
is tested against an implementation that was written from the text alone, and as a starting point for
whoever writes a peer in another language. It keeps its keys in memory: it is a test, not a product.

    encoding.py   base64url, strict JSON, RFC 8785 canonical JSON
    keys.py       P-256 keys, DIDs, signatures, one signature for many (Merkle batch)
    jws.py        compact JWS with this profile's rules
    transcript.py T0 ... T8, and the string a signature covers
    user.py       step 0 (the grant), steps 6 and 7
    client.py     steps 1, 3, 5 out; 2, 4, 8, 9 in
    server.py     steps 1, 3, 5, 7 in; 2, 4, 6, 8, 9 out
    session.py    keys and encrypted messages after step 9
    place.py      not part of the peer: where its tests lay their files
    agent.py      not part of the peer: starts athd and speaks JSON-RPC with it
"""
