#!/usr/bin/env python3
"""Checks what athd's audit log proves (docs/audit.md), with nothing but Python 3's own library.

    audit-verify.py PROOF.json [THUMBPRINT ...]   what `ath audit prove` or `consistency` wrote
    audit-verify.py DIRECTORY [THUMBPRINT ...]    what `ath audit export --format tlog-tiles` wrote

THUMBPRINT: the audit key you noted when athd was set up. Without one you learn only that the
files fit each other and which key signed them. Exit status 0: it holds; 1: it does not."""
import base64, hashlib, json, os, sys

P = 2**256 - 2**224 + 2**192 + 2**96 - 1  # FIPS 186-4 D.1.2.3: the field, the order, the base point
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
     0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)
SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200" "04")


def need(holds, what):
    if not holds:
        raise ValueError(what)


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        m = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P)
    else:
        m = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (m * m - a[0] - b[0]) % P
    return x, (m * (a[0] - x) - a[1]) % P


def times(k, point):
    total = None
    for bit in bin(k)[2:]:
        total = add(total, total)
        total = add(total, point) if bit == "1" else total
    return total


def ecdsa_holds(key, message, r, s):
    if not (0 < r < N and 0 < s < N):
        return False
    e, w = int.from_bytes(sha(message), "big"), pow(s, -1, N)
    point = add(times(e * w % N, G), times(r * w % N, key))
    return point is not None and point[0] % N == r


def sha(data):
    return hashlib.sha256(data).digest()


def b64(text):
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, "not the one base64 form: " + text)
    return data


def b64u(text):
    need(not set("+/=") & set(text), "no base64url: " + text)
    return b64(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))


def der_integers(der):
    r, s = der[4:4 + der[3]], der[6 + der[3]:]
    need(der == bytes([0x30, len(der) - 2, 2, len(r)]) + r + bytes([2, len(s)]) + s, "the signature is not DER")
    return int.from_bytes(r, "big"), int.from_bytes(s, "big")


def check_note(note, jwk):
    """The checkpoint's (thumbprint, size, root), if the key signed it."""
    need(jwk["kty"] == "EC" and jwk["crv"] == "P-256", "the key is not of P-256")
    key = tuple(int.from_bytes(b64u(jwk[c]), "big") for c in "xy")
    need((key[1]**2 - key[0]**3 + 3 * key[0] - B) % P == 0 and max(key) < P, "the key is no point")
    canonical = json.dumps({c: jwk[c] for c in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    jkt = base64.urlsafe_b64encode(sha(canonical.encode())).rstrip(b"=").decode()
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    lines = text.split("\n")
    need(lines[0] == "athd.audit/" + jkt, "the checkpoint is of another key: " + lines[0])
    key_id = sha(SPKI + b64u(jwk["x"]) + b64u(jwk["y"]))[:4]
    for line in signatures.split("\n"):
        blob = b64(line.rsplit(" ", 1)[-1])
        if line.startswith("\u2014 " + lines[0] + " ") and blob[:4] == key_id:
            need(ecdsa_holds(key, text.encode(), *der_integers(blob[4:])), "the signature is wrong")
            return jkt, int(lines[1]), b64(lines[2])
    raise ValueError("the key's signature is missing")


def node(left, right):
    return sha(b"\1" + left + right)


def climb(at, last, old, new, path):
    """The roots of the older and the newer tree that the path gives (RFC 9162, 2.1.3.2 and 2.1.4.2)."""
    for sibling in path:
        need(last > 0, "the path is too long")
        if at & 1 or at == last:
            old, new = node(sibling, old), node(sibling, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node(new, sibling)
        at, last = at >> 1, last >> 1
    need(last == 0, "the path is too short")
    return old, new


def check_consistency(first, old, second, new, path):
    if first in (0, second):
        return need(not path and old == (new if first == second else mth([])), "the roots differ")
    path = ([old] if first & (first - 1) == 0 else []) + path
    need(first < second and path, "the sizes do not fit")
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    need(climb(at, last, path[0], path[0], path[1:]) == (old, new), "the newer does not continue the older log")


def check_proof(proof):
    path = [b64u(text) for text in proof["path"]]
    need(all(len(h) == 32 for h in path), "a hash of the path is not 32 bytes long")
    if proof["type"] == "athd.audit/consistency":
        old, first, old_root = check_note(proof["from_checkpoint"], proof["from_key"])
        new, second, new_root = check_note(proof["to_checkpoint"], proof["to_key"])
        need((first, second) == (proof["from"], proof["to"]), "the sizes are not those signed")
        check_consistency(first, old_root, second, new_root, path)
        return {old, new}, f"the log of {second} records continues that of {first}"
    need(proof["type"] == "athd.audit/inclusion", "no proof of athd's")
    jkt, size, root = check_note(proof["checkpoint"], proof["key"])
    index, leaf = proof["index"], proof["leaf"].encode()
    need(size == proof["size"] and 0 <= index < size, "the size is not the one signed")
    leaf_hash = sha(b"\0" + leaf)
    need(climb(index, size - 1, leaf_hash, leaf_hash, path)[1] == root, "the record is not in the log")
    need(json.loads(leaf)["index"] == index, "the record has another index")
    return {jkt}, f"this is record {index} of {size}:\n{leaf.decode()}"


def bundle(base, n, width):
    name = f"{n % 1000:03}" + (f".p/{width}" if width < 256 else "")
    while n >= 1000:
        n //= 1000
        name = f"x{n % 1000:03}/{name}"
    with open(os.path.join(base, "tile", "entries", name), "rb") as file:
        return file.read()


def check_log(base):
    with open(os.path.join(base, "checkpoint"), newline="") as file, open(os.path.join(base, "key.json")) as key:
        jkt, size, root = check_note(file.read(), json.load(key))
    hashes = []
    for n in range(-(-size // 256)):
        rest = bundle(base, n, min(256, size - 256 * n))
        while rest:
            end = 2 + int.from_bytes(rest[:2], "big")
            need(json.loads(rest[2:end])["index"] == len(hashes), f"record {len(hashes)} is not in its place")
            hashes.append(sha(b"\0" + rest[2:end]))
            rest = rest[end:]
    need(len(hashes) == size and mth(hashes) == root, "the records are not those that were signed")
    return {jkt}, f"all {size} records are those that were signed"


def mth(hashes):  # RFC 6962 2.1
    if len(hashes) < 2:
        return hashes[0] if hashes else sha(b"")
    k = 1 << (len(hashes) - 1).bit_length() - 1
    return node(mth(hashes[:k]), mth(hashes[k:]))


def main(path, *noted):
    try:
        if os.path.isdir(path):
            keys, what = check_log(path)
        else:
            with open(path, newline="") as file:
                keys, what = check_proof(json.load(file))
        need(not noted or keys <= set(noted), "signed by a key you did not name: " + " ".join(keys))
    except (ValueError, LookupError, TypeError, OSError, RecursionError) as error:
        sys.exit(f"it does not hold: {type(error).__name__}: {error}")
    print(what + "\nsigned by " + " ".join(sorted(keys)))
    if not noted:
        print("compare this thumbprint with the one you noted")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
