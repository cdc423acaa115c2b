"""docs/audit-verify.py against who has the audit key: logs that were written twice, checkpoints of something else, and
records that are not what their place says. All that is signed here is signed well, and all trees are what was signed."""
import base64
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
import unittest

from peer.agent import SOURCE

spec = importlib.util.spec_from_file_location("audit_verify", os.path.join(SOURCE, "docs", "audit-verify.py"))
audit_verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(audit_verify)

SECRET, NONCE = 0x5EC2E7, 0x0CE0  # of no use but here: the nonce of ECDSA is used more than once


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def der_integer(number):
    data = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return bytes([2, len(data)]) + data


def sign(message):
    """ECDSA with SHA-256 (FIPS 186-4, 6.4), in DER."""
    e = int.from_bytes(hashlib.sha256(message).digest(), "big")
    r = audit_verify.times(NONCE, audit_verify.G)[0] % audit_verify.N
    s = pow(NONCE, -1, audit_verify.N) * (e + r * SECRET) % audit_verify.N
    both = der_integer(r) + der_integer(s)
    return bytes([0x30, len(both)]) + both


POINT = [c.to_bytes(32, "big") for c in audit_verify.times(SECRET, audit_verify.G)]
KEY = {"crv": "P-256", "kty": "EC", "x": b64u(POINT[0]), "y": b64u(POINT[1])}
JKT = b64u(hashlib.sha256(json.dumps(KEY, separators=(",", ":")).encode()).digest())
ORIGIN = "athd.audit/" + JKT


def leaf_hash(leaf):
    return hashlib.sha256(b"\0" + leaf.encode()).digest()


def split(n):
    """The largest power of two that is smaller."""
    return 1 << (n - 1).bit_length() - 1


def root(hashes):
    """RFC 9162, 2.1.1."""
    if len(hashes) == 1:
        return hashes[0]
    k = split(len(hashes))
    return hashlib.sha256(b"\1" + root(hashes[:k]) + root(hashes[k:])).digest()


def inclusion(at, hashes):
    """RFC 9162, 2.1.3.1."""
    if len(hashes) == 1:
        return []
    k = split(len(hashes))
    if at < k:
        return inclusion(at, hashes[:k]) + [root(hashes[k:])]
    return inclusion(at - k, hashes[k:]) + [root(hashes[:k])]


def consistency(first, hashes, is_whole=True):
    """RFC 9162, 2.1.4.1."""
    if first == len(hashes):
        return [] if is_whole else [root(hashes)]
    k = split(len(hashes))
    if first <= k:
        return consistency(first, hashes[:k], is_whole) + [root(hashes[k:])]
    return consistency(first - k, hashes[k:], False) + [root(hashes[:k])]


class Log:
    """Records, and what an athd that has them would say of them."""

    def __init__(self, size, word="honest", indices=None):
        self.leaves = [json.dumps({"index": index, "event": word}, separators=(",", ":"))
                       for index in (indices or range(size))]
        self.hashes = [leaf_hash(leaf) for leaf in self.leaves]

    def checkpoint(self, size=None, origin=ORIGIN):
        size = size or len(self.leaves)
        text = f"{origin}\n{size}\n{base64.b64encode(root(self.hashes[:size])).decode()}\n"
        key_id = hashlib.sha256(audit_verify.SPKI + b"".join(POINT)).digest()[:4]
        return f"{text}\n\u2014 {origin} {base64.b64encode(key_id + sign(text.encode())).decode()}\n"

    def inclusion(self, index, **more):
        return {"type": "athd.audit/inclusion", "index": index, "size": len(self.leaves), "leaf": self.leaves[index],
                "path": [b64u(h) for h in inclusion(index, self.hashes)], "checkpoint": self.checkpoint(**more), "key": KEY}

    def consistency(self, first, older=None, newer=None):
        """That it continues its own first records; older, newer: the checkpoint of another instead."""
        return {"type": "athd.audit/consistency", "from": first, "to": len(self.leaves),
                "path": [b64u(h) for h in consistency(first, self.hashes)],
                "from_checkpoint": older or self.checkpoint(first), "from_key": KEY,
                "to_checkpoint": newer or self.checkpoint(), "to_key": KEY}

    def write(self, base, **more):
        """As `ath audit export --format tlog-tiles` does, of what the script reads."""
        tiles = os.path.join(base, "tile", "entries")
        os.makedirs(tiles)
        with open(os.path.join(base, "checkpoint"), "w", encoding="utf-8") as file:
            file.write(self.checkpoint(**more))
        with open(os.path.join(base, "key.json"), "w", encoding="ascii") as file:
            json.dump(KEY, file)
        os.mkdir(os.path.join(tiles, "000.p"))
        with open(os.path.join(tiles, "000.p", str(len(self.leaves))), "wb") as file:
            for leaf in self.leaves:
                file.write(len(leaf).to_bytes(2, "big") + leaf.encode())


class Forged(unittest.TestCase):
    def refuses(self, words, check, *arguments):
        with self.assertRaisesRegex(ValueError, words):
            check(*arguments)

    def directory(self, log, **more):
        base = tempfile.mkdtemp(prefix="athd-test-")
        self.addCleanup(shutil.rmtree, base, ignore_errors=True)
        log.write(os.path.join(base, "log"), **more)
        return os.path.join(base, "log")

    def test_what_is_honest_holds(self):
        """Without this the others would find nothing."""
        log = Log(13)
        for index in range(13):
            self.assertEqual(audit_verify.check_proof(log.inclusion(index))[0], {JKT})
        for first in range(1, 14):
            self.assertEqual(audit_verify.check_proof(log.consistency(first))[0], {JKT})
        self.assertEqual(audit_verify.check_log(self.directory(log))[0], {JKT})

    def test_a_log_that_was_written_anew_does_not_continue_the_one_before(self):
        log, fork = Log(13), Log(13, "forked")
        for first in range(1, 13):
            with self.subTest(first=first):  # for each, the path of the one, and the other's checkpoint
                self.refuses("does not continue", audit_verify.check_proof, log.consistency(first, older=fork.checkpoint(first)))
                self.refuses("does not continue", audit_verify.check_proof, log.consistency(first, newer=fork.checkpoint()))
        self.refuses("the roots differ", audit_verify.check_proof, log.consistency(13, older=fork.checkpoint()))

    def test_a_log_whose_last_records_were_exchanged_does_not_continue_the_one_before(self):
        log, fork = Log(13), Log(13)
        fork.hashes[10] = leaf_hash("another")
        for first in (11, 12):
            self.refuses("does not continue", audit_verify.check_proof, log.consistency(first, older=fork.checkpoint(first)))
            self.refuses("does not continue", audit_verify.check_proof, fork.consistency(first, older=log.checkpoint(first)))
        audit_verify.check_proof(fork.consistency(10, older=log.checkpoint(10)))  # until there they are one

    def test_a_checkpoint_of_something_else_that_the_key_signed_is_none_of_its_log(self):
        log = Log(5)
        for origin in ("athd.audit/" + "A" * 43, "athd.audit", JKT, "example.org/log", ORIGIN + "x", "Athd" + ORIGIN[4:]):
            with self.subTest(origin=origin):
                words = "of another key"
                self.refuses(words, audit_verify.check_proof, log.inclusion(3, origin=origin))
                self.refuses(words, audit_verify.check_proof, log.consistency(3, older=log.checkpoint(3, origin)))
                self.refuses(words, audit_verify.check_proof, log.consistency(3, newer=log.checkpoint(5, origin)))
                self.refuses(words, audit_verify.check_log, self.directory(log, origin=origin))

    def test_a_record_says_which_it_is(self):
        for indices in ([0, 1, 3, 2, 4], [0, 1, 2, 2, 3], [0, 1, 2, 4, 5], [1, 2, 3, 4, 5]):
            log = Log(5, indices=indices)
            with self.subTest(indices=indices):
                for place in range(5):
                    if indices[place] != place:
                        self.refuses("has another index", audit_verify.check_proof, log.inclusion(place))
                self.refuses("is not in its place", audit_verify.check_log, self.directory(log))


if __name__ == "__main__":
    unittest.main()
