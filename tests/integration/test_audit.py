"""The audit log of a running athd: queries, checkpoints, proofs, and what it says of a log that was changed, cut
or put back."""
import base64
import glob
import hashlib
import json
import os
import shutil
import subprocess
import time
import unittest

from peer import jws
from peer.agent import BIN, Athd, Connection, Failed
from peer.encoding import b64u_decode
from peer.keys import PublicKey
from peer.scene import Scene
from peer.wire import open_files

SANITIZED = b"libasan" in subprocess.run(["ldd", os.path.join(BIN, "athd")], capture_output=True, check=True).stdout

AGENT_ID = "https://agent.example/a.json"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def leaf_hash(line):
    return hashlib.sha256(b"\0" + line).digest()


def root_of(hashes):
    """RFC 6962 2.1, as it is written there."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return hashlib.sha256(b"\1" + root_of(hashes[:split]) + root_of(hashes[split:])).digest()


def root_of_path(leaf, index, size, path):
    """RFC 9162 2.1.3.2."""
    position, last, at = index, size - 1, leaf
    for node in path:
        if position & 1 or position == last:
            at = hashlib.sha256(b"\1" + node + at).digest()
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            at = hashlib.sha256(b"\1" + at + node).digest()
        position >>= 1
        last >>= 1
    assert last == 0
    return at


def read_note(note):
    lines = note.split("\n")
    return {"origin": lines[0], "size": int(lines[1]), "root": base64.b64decode(lines[2]),
            "previous": lines[4].split()[1], "counter": int(lines[5].split()[3]) if "tpm" in lines[5] else None}


class Audit(unittest.TestCase):
    def setUp(self):
        self.athd = Athd()
        self.addCleanup(self.athd.__exit__)

    def start(self, **audit):
        if audit:
            self.athd.configure({"audit": audit})
        self.athd.start()
        if "agent" not in [key["name"] for key in self.athd.call("key.list")["keys"]]:
            self.athd.call("key.create", name="agent", role="client", agent_id=AGENT_ID)

    def sign(self, count=1, **more):
        return [self.athd.call("attestation.create", key="agent", audience="https://api.example", **more)["jti"]
                for _ in range(count)]

    def path(self, *names):
        return os.path.join(self.athd.state, "audit", *names)

    def segments(self):
        return sorted(glob.glob(self.path("*.jsonl")))

    def lines(self):
        lines = []
        for segment in self.segments():
            with open(segment, "rb") as file:
                lines += file.read().splitlines()
        return lines

    def events(self, event):
        return [json.loads(line) for line in self.lines() if json.loads(line)["event"] == event]

    def verify(self):
        return subprocess.run([os.path.join(BIN, "ath"), "audit", "verify", "--state-dir", self.athd.state],
                              capture_output=True, text=True, timeout=60, check=False)

    def assert_verified(self):
        done = self.verify()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def restart(self):
        self.assertEqual(self.athd.stop(), 0)
        self.athd.start()
        self.wait_until(lambda: self.athd.call("agent.status")["audit"]["state"] == "ok")

    def wait_until(self, condition, seconds=90):
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.athd.read_log()[-3000:])
            time.sleep(0.02)

    # ---- what is asked over the socket ----

    def test_checkpoint_covers_every_record_and_is_bound_to_the_counter(self):
        self.start()
        first = read_note(self.athd.call("audit.checkpoint")["checkpoint"])
        self.sign(3)
        second = read_note(self.athd.call("audit.checkpoint")["checkpoint"])
        self.assertEqual(second["size"], len(self.lines()))
        self.assertEqual(second["root"], root_of([leaf_hash(line) for line in self.lines()]))
        self.assertEqual((second["previous"], second["counter"]), (str(first["size"]), first["counter"] + 1))
        status = self.athd.call("agent.status")["audit"]
        self.assertEqual((status["size"], b64u_decode(status["root"])), (second["size"], second["root"]))
        self.assertEqual((status["last_checkpoint"]["size"], status["last_checkpoint"]["counter"]),
                         (second["size"], second["counter"]))
        self.assertEqual("athd.audit/" + status["key"], second["origin"])
        # nothing new: the same one again, and the counter stays where it is
        self.assertEqual(read_note(self.athd.call("audit.checkpoint")["checkpoint"]), second)
        self.assert_verified()

    def test_a_log_that_is_used_leaves_no_files_open(self):
        self.start(segment_size=65536)
        for _ in range(40):
            self.sign(10)
            self.athd.call("audit.checkpoint")
            self.athd.call("audit.query", limit=10)
        self.assertGreater(len(self.segments()), 2)
        # the segment that is written, the one that is read, the directories they lie in
        self.wait_until(lambda: sum("/state/audit" in path for path in open_files(self.athd.process.pid)) <= 4)

    def test_many_who_ask_at_once_get_one_checkpoint(self):
        self.start()
        before = read_note(self.athd.call("audit.checkpoint")["checkpoint"])
        self.sign()
        connection = Connection(self.athd.socket)
        self.addCleanup(connection.close)
        answer = connection.exchange(json.dumps([{"jsonrpc": "2.0", "id": n, "method": "audit.checkpoint"}
                                                 for n in range(50)]))
        notes = {one["result"]["checkpoint"] for one in answer}
        self.assertEqual(len(notes), 1)
        self.assertEqual(read_note(notes.pop())["counter"], before["counter"] + 1)

    def test_query_filters_and_goes_on_where_it_ended(self):
        self.start(segment_size=4096)
        jtis = self.sign(20)
        self.sign(1, trace=TRACE)
        self.athd.call("peer.pin", did="did:web:a.example", public_key=self.athd.call("key.get", name="agent")["public_pem"])
        self.wait_until(lambda: self.athd.call("audit.query", event="peer_pinned")["records"])  # nobody waits for it
        self.assertGreater(len(self.segments()), 2)
        found, after, pages = [], {}, 0
        while True:
            page = self.athd.call("audit.query", event="attestation_issued", limit=6, **after)
            found += page["records"]
            pages += 1
            self.assertLessEqual(len(page["records"]), 6)
            if "next" not in page:
                break
            after = {"after": page["next"]}
        self.assertEqual([record["jti"] for record in found][:20], jtis)
        self.assertEqual((len(found), pages >= 4), (21, True))
        everything = self.athd.call("audit.query", limit=1000)["records"]
        self.assertEqual(everything, [json.loads(line) for line in self.lines()])
        self.assertEqual(self.athd.call("audit.query", after=len(everything) - 1), {"records": []})

        def events(**filters):
            return {record["event"] for record in self.athd.call("audit.query", **filters)["records"]}
        self.assertEqual(events(trace=TRACE), {"attestation_issued"})
        self.assertEqual(events(trace=TRACE.replace("b7ad", "c7ad")), {"attestation_issued"})
        self.assertEqual(events(trace=TRACE.replace("0af7", "1af7")), set())
        self.assertEqual(events(key="agent"), {"key_created", "attestation_issued"})
        self.assertIn("peer_pinned", events(caller=str(os.getuid()), limit=1000))
        self.assertEqual(events(caller="nobody"), set())
        self.assertEqual(events(event="peer_pinned"), {"peer_pinned"})
        self.assertEqual(events(until=1000), set())
        self.assertEqual(events(since=4102444800), set())
        self.assertIn("peer_pinned", events(since=int(time.time()) - 3600, until=int(time.time()) + 60, limit=1000))

    def test_query_never_answers_with_more_than_a_client_reads(self):
        self.start()
        for n in range(6):
            self.athd.call("service.put", name=f"s{n}", key=self.athd.call("key.create", name=f"k{n}", role="server")["name"],
                           scopes_supported=["a:" + "x" * 60], token_max_ttl=60, require_user_confirmation=False,
                           agents={}, users={})
        self.sign(400)
        connection = Connection(self.athd.socket)
        self.addCleanup(connection.close)
        line = connection.exchange('{"jsonrpc":"2.0","id":1,"method":"audit.query","params":{"limit":1000}}')
        self.assertLess(len(json.dumps(line)), 262144)
        self.assertIn("next", line["result"])

    def test_many_queries_at_once_take_neither_memory_nor_time_from_signatures(self):
        os.mkdir(self.athd.state, 0o700)
        subprocess.run([os.path.join(os.path.dirname(BIN), "tests", "make_audit_log"), self.path(), "5000" if SANITIZED else "20000", "300",
                        "10000", "10000", "none"], check=True, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.umask(0o077))
        self.start()
        self.athd.call("audit.checkpoint")
        self.sign(50)

        def most_memory():
            with open(f"/proc/{self.athd.process.pid}/status", encoding="utf-8") as file:
                return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
        before = most_memory()
        connections = [Connection(self.athd.socket) for _ in range(50)]
        for connection in connections:
            self.addCleanup(connection.close)
        shares = []  # of the time of 500 queries, what five signatures take among them; more where this process stalls
        while not shares or min(shares) > 0.5:
            self.assertLess(len(shares), 5, shares)
            for connection in connections:
                connection.socket.sendall(b"".join(
                    b'{"jsonrpc":"2.0","id":%d,"method":"audit.query","params":{"event":"nothing"}}\n' % number
                    for number in range(10)))
            began = time.monotonic()
            self.sign(5)
            while_asked = time.monotonic() - began
            for connection in connections:
                for _ in range(10):
                    self.assertEqual(json.loads(connection.lines.readline())["result"], {"records": []})
            shares.append(while_asked / (time.monotonic() - began))
        if not SANITIZED:
            self.assertLess(most_memory() - before, 16 * 1024)  # 64 MiB, were all of them begun

    def test_proofs_hold_for_every_record_and_every_pair_of_checkpoints(self):
        self.start()
        roots = {}
        for _ in range(4):
            self.sign(3)
            note = read_note(self.athd.call("audit.checkpoint")["checkpoint"])
            roots[note["size"]] = note["root"]
        lines = self.lines()
        for index in range(note["size"]):
            proof = self.athd.call("audit.proof", index=index)
            self.assertEqual(proof["record"].encode(), lines[index])
            self.assertEqual(b64u_decode(proof["leaf"]), leaf_hash(lines[index]))
            path = [b64u_decode(node) for node in proof["path"]]
            self.assertEqual(root_of_path(leaf_hash(lines[index]), index, proof["size"], path), note["root"])
            self.assertEqual(read_note(proof["checkpoint"]), note)
        for first in roots:
            for second in roots:
                if first <= second:
                    self.athd.call("audit.consistency", **{"from": first, "to": second})
                    self.assertEqual(self.athd.call("audit.proof", index=0, size=second)["size"], second)
        for wrong in ({"index": note["size"]}, {"index": 0, "size": 2}):
            with self.assertRaises(Failed) as caught:
                self.athd.call("audit.proof", **wrong)
            self.assertEqual(caught.exception.code, -32602)
        # athd checks what it gives
        tile = glob.glob(self.path("tile", "0", "000.p", str(note["size"])))[0]
        with open(tile, "r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        with self.assertRaises(Failed) as caught:
            self.athd.call("audit.proof", index=5)
        self.assertEqual(caught.exception.reason, "AUDIT_UNAVAILABLE")

    def test_attestation_carries_the_head_where_it_is_wanted(self):
        self.start()
        self.athd.call("audit.checkpoint")

        def head():
            jwt = self.athd.call("attestation.create", key="agent", audience="https://api.example")["jwt"]
            key = PublicKey.from_jwk(self.athd.call("key.get", name="agent")["public_jwk"])
            return jws.read(jwt, "JWT", key)[0].get("ath_log")
        self.assertIsNone(head())
        self.athd.stop()
        self.athd.configure({"audit": {"witness": True}})
        self.athd.start()
        note = read_note(self.athd.call("audit.checkpoint")["checkpoint"])
        self.assertEqual(head(), {"origin": note["origin"], "size": note["size"],
                                  "root": base64.urlsafe_b64encode(note["root"]).decode().rstrip("=")})

    # ---- when checkpoints are made ----

    def test_checkpoints_come_by_themselves_and_at_a_clean_stop(self):
        self.start(checkpoint_interval=1)
        self.wait_until(lambda: "last_checkpoint" in self.athd.call("agent.status")["audit"])
        self.sign()
        size = len(self.lines())
        self.wait_until(lambda: self.athd.call("agent.status")["audit"]["last_checkpoint"]["size"] >= size)
        self.sign(5)
        self.assertEqual(self.athd.stop(), 0)
        with open(self.path("checkpoint"), encoding="utf-8") as file:
            self.assertEqual(read_note(file.read())["size"], len(self.lines()))
        self.assert_verified()

    def test_without_an_interval_none_comes_by_itself(self):
        self.start(checkpoint_interval=0)
        def newest():
            return self.athd.call("agent.status")["audit"].get("last_checkpoint", {}).get("size")

        self.wait_until(newest)  # that of the start
        size = read_note(self.athd.call("audit.checkpoint")["checkpoint"])["size"]
        self.sign(50)
        self.assertEqual(newest(), size)

    def test_a_tree_that_cannot_be_kept_is_told_and_kept_later(self):
        self.start()
        self.athd.call("audit.checkpoint")
        self.athd.stop()
        shutil.rmtree(self.path("tile"))
        open(self.path("tile"), "w").close()
        self.athd.start()
        self.wait_until(lambda: self.athd.call("agent.status")["audit"]["state"] == "failing")
        self.assertIn("tile", self.athd.call("agent.status")["audit"]["message"])
        self.sign()
        os.remove(self.path("tile"))
        # each try that failed made the pause to the next one longer
        self.wait_until(lambda: self.athd.call("agent.status")["audit"]["state"] == "ok", seconds=200)
        self.athd.call("audit.checkpoint")
        self.assert_verified()

    def test_a_directory_that_is_none_stops_the_start(self):
        self.start()
        self.athd.stop()
        for name in ("checkpoints", "keys"):
            os.rename(self.path(name), self.path(name) + ".away")
            open(self.path(name), "w").close()
            with self.assertRaises(AssertionError) as caught:
                self.athd.start()
            self.assertIn(self.path(name), str(caught.exception))
            os.replace(self.path(name), self.path("other"))
            os.rename(self.path(name) + ".away", self.path(name))

    def test_what_a_kill_left_is_covered_right_after_the_start(self):
        self.start()
        self.athd.call("audit.checkpoint")
        self.sign(5)
        self.athd.process.kill()
        self.athd.process.wait()
        with open(self.segments()[-1], "ab") as file:
            file.write(b'{"index":7,"times')
        self.athd.log_seen = len(self.athd.read_log())
        self.athd.start()
        self.wait_until(lambda: self.athd.call("agent.status")["audit"].get("last_checkpoint", {}).get("size", 0) > 7)
        self.assertEqual([(record["bytes"], record["kept"]) for record in self.events("log_torn")], [(17, False)])
        self.athd.stop()
        self.assert_verified()

    def test_old_segments_go_when_the_record_of_it_is_covered(self):
        self.start(segment_size=4096, keep_segments=3)
        self.sign(60)
        first = self.athd.call("audit.proof", index=0, size=read_note(self.athd.call("audit.checkpoint")["checkpoint"])["size"])
        self.assertIn("record", first)
        self.sign()
        self.wait_until(lambda: len(self.segments()) <= 5 and not os.path.exists(self.path("00000001.jsonl")))
        record = self.events("audit_retention")[-1]
        self.assertEqual(json.loads(self.lines()[0])["index"], record["kept_from"])
        self.athd.call("audit.checkpoint")
        proof = self.athd.call("audit.proof", index=0)  # without its line
        self.assertEqual((proof["leaf"], "record" in proof), (first["leaf"], False))
        self.assertEqual(self.athd.call("audit.query", limit=1)["records"][0]["index"], record["kept_from"])
        self.restart()
        self.sign()
        self.assertEqual(self.athd.call("agent.status")["damaged"], [])
        self.athd.stop()
        self.assert_verified()

    # ---- old logs, missing tiles ----

    def test_log_without_tree_is_taken_over(self):
        self.start()
        self.sign(600)
        self.athd.stop()
        for name in os.listdir(self.path()):
            if not name.endswith(".jsonl"):
                (shutil.rmtree if os.path.isdir(self.path(name)) else os.remove)(self.path(name))
        shutil.rmtree(os.path.join(self.athd.state, "audit_key"))
        self.athd.start()
        self.athd.call("audit.checkpoint")
        self.assertEqual(self.athd.call("agent.status")["damaged"], [])
        self.athd.stop()
        self.assert_verified()

    def test_tiles_that_are_missing_or_wrong_are_made_again(self):
        self.start()
        self.sign(300)
        self.athd.call("audit.checkpoint")
        self.athd.stop()
        shutil.rmtree(self.path("tile"))
        self.start()
        self.athd.call("audit.checkpoint")
        self.athd.stop()
        self.assert_verified()
        for tile in glob.glob(self.path("tile", "0", "001.p", "*")) + [self.path("tile", "0", "000")]:
            with open(tile, "wb") as file:
                file.write(b"\0" * 32)
        self.start()
        self.athd.call("audit.checkpoint")
        self.athd.stop()
        done = self.verify()
        self.assertNotIn("tile/0/000:", done.stdout + done.stderr)

    # ---- what must not go unseen ----

    def damage(self):
        return [item["message"] for item in self.athd.call("agent.status")["damaged"]]

    def test_state_that_was_put_back_shows(self):
        self.start()
        self.athd.call("audit.checkpoint")
        self.athd.stop()
        parts = ("audit", "audit_key")
        for part in parts:
            shutil.copytree(os.path.join(self.athd.state, part), os.path.join(self.athd.dir, "old", part))
        self.athd.start()
        self.sign(3)
        self.athd.stop()
        for part in parts:
            shutil.rmtree(os.path.join(self.athd.state, part))
            shutil.copytree(os.path.join(self.athd.dir, "old", part), os.path.join(self.athd.state, part))
        self.athd.start()
        self.wait_until(lambda: self.damage())
        self.assertIn("put back", self.damage()[0])
        self.wait_until(lambda: self.events("audit_rollback"))
        record = self.events("audit_rollback")[0]
        self.assertLess(record["expected"], record["found"])
        self.sign()  # a record must stay possible
        self.athd.call("audit.checkpoint")
        # said once: the record of it is under the next checkpoint
        self.restart()
        self.assertEqual((self.damage(), len(self.events("audit_rollback"))), ([], 1))

    def test_log_that_was_cut_shows(self):
        self.start()
        self.sign(3)
        self.athd.call("audit.checkpoint")
        self.athd.stop()
        lines = self.lines()
        with open(self.segments()[-1], "wb") as file:
            file.write(b"".join(line + b"\n" for line in lines[:-2]))
        self.athd.start()
        self.assertIn("taken away", self.damage()[0])
        self.wait_until(lambda: self.events("audit_rollback"))
        self.assertEqual(self.verify().returncode, 1)
        self.sign()

    def test_checkpoints_that_were_taken_away_show(self):
        self.start()
        self.athd.call("audit.checkpoint")
        self.athd.stop()
        os.remove(self.path("checkpoint"))
        shutil.rmtree(self.path("checkpoints"))
        self.athd.start()
        self.wait_until(lambda: self.damage())
        self.wait_until(lambda: self.events("audit_rollback"))

    def test_files_that_are_there_twice_are_put_back(self):
        self.start()
        self.athd.call("audit.checkpoint")
        for gone in ("keys/*.json", "checkpoints/NEWEST", "checkpoint"):
            self.sign()
            size = read_note(self.athd.call("audit.checkpoint")["checkpoint"])["size"]
            self.athd.process.kill()
            self.athd.process.wait()
            self.athd.log_seen = len(self.athd.read_log())
            os.remove(glob.glob(self.path(gone.replace("NEWEST", f"{size:020}")))[0])
            self.assertEqual(self.verify().returncode, 1)
            self.athd.start()
            self.sign()
            self.athd.call("audit.checkpoint")
            self.assert_verified()
        rollbacks = self.events("audit_rollback")
        self.assertEqual(["taken away" in record["message"] for record in rollbacks], [True])

    def test_record_that_was_changed_behind_the_newest_checkpoint_stops_no_signature(self):
        self.start()
        self.sign(300)
        self.athd.stop()
        with open(self.segments()[0], "r+b") as file:
            text = file.read()
            at = text.index(b"attestation_issued")
            file.seek(at)
            file.write(b"attestation_Issued")
        self.athd.start()
        self.sign()
        self.assertEqual(self.verify().returncode, 1)

    # ---- secrets ----

    def test_log_holds_no_secret(self):
        plaintext = "a message that is nobody else's business"
        with Scene(require_user_confirmation=True) as scene:
            credential = scene.issue()["credential"]
            client, server = scene.run(credential=credential)
            coded = base64.urlsafe_b64encode(plaintext.encode()).decode().rstrip("=")
            jwe = scene.me.call("session.seal", session=client["session"], plaintext=coded)["jwe"]
            scene.app.call("session.open", session=server["session"], jwe=jwe)
            scene.app.call("token.verify", service="mail", token=client["access_token"], session=server["session"])
            token = client["access_token"]
            secrets = [token, token.split(".")[2], plaintext, coded, jwe, jwe.split(".")[3], jwe.split(".")[0]]
            secrets += [credential] if isinstance(credential, str) else []
            seen = 0
            for athd in (scene.me, scene.app):
                athd.stop()
                for folder, _, names in os.walk(os.path.join(athd.state, "audit")):
                    for name in names:
                        with open(os.path.join(folder, name), "rb") as file:
                            content = file.read()
                        seen += content.count(b"session_opened")
                        for secret in secrets:
                            self.assertNotIn(secret.encode(), content, name)
            self.assertEqual(seen, 2)  # it has looked at the right files

if __name__ == "__main__":
    unittest.main()
