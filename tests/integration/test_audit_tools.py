"""`ath audit` on a log that a generator wrote, and docs/audit-verify.py, which knows nothing of our code."""
import base64
import hashlib
import importlib.util
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

from peer.agent import BIN, SOURCE

ATH = os.path.join(BIN, "ath")
GENERATOR = os.path.join(os.path.dirname(BIN), "tests", "make_audit_log")
SCRIPT = os.path.join(SOURCE, "docs", "audit-verify.py")
OTHER_KEY = "8Ux2cVfT1Hj9l0mYp0dVQ9sYv0oN1vYJ3d1aXg4Tq0c"

spec = importlib.util.spec_from_file_location("audit_verify", SCRIPT)
audit_verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(audit_verify)


def run(*words):
    return subprocess.run(words, capture_output=True, timeout=120, check=False, env={"PATH": os.environ["PATH"]})


class AuditTools(unittest.TestCase):
    RECORDS = 700

    @classmethod
    def setUpClass(cls):
        cls.tmp = tempfile.mkdtemp(prefix="athd-test-")
        cls.addClassCleanup(shutil.rmtree, cls.tmp, ignore_errors=True)
        cls.state = os.path.join(cls.tmp, "state")
        os.mkdir(cls.state)
        cls.log = os.path.join(cls.state, "audit")
        made = run(GENERATOR, cls.log, str(cls.RECORDS), "250", "300", "100", "tpm")
        cls.jkt = made.stdout.decode().strip()

    def ath(self, *words, status=0):
        done = run(ATH, "audit", *words, "--state-dir", self.state)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def script(self, path, *noted, status=0):
        done = run(sys.executable, SCRIPT, path, *noted)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertNotIn(b"Traceback", done.stderr)
        return done.stdout.decode() + done.stderr.decode()

    def path(self, name):
        return os.path.join(self.tmp, name)

    def copy(self, name):
        state = self.path(name)
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(self.state, state)
        return state

    # ---- verify ----

    def test_verify_says_what_it_found(self):
        text = self.ath("verify").decode()
        self.assertIn("records 0 to 699: all as they were written", text)
        self.assertIn("8 checkpoints", text)
        self.assertIn(f"signed by {self.jkt}: records 0 to 699", text)
        self.assertIn("the TPM's counter 01800a7d stood at 49", text)
        found = json.loads(self.ath("verify", "--json", "--key", self.jkt))
        self.assertEqual([found["ok"], found["size"], found["covered"]], [True, 700, 700])
        self.assertEqual(found["keys"], [{"jkt": self.jkt, "from": 0, "to": 700}])

    def test_verify_takes_a_copy_of_the_audit_directory_and_a_key_file(self):
        copy = os.path.join(self.copy("copied"), "audit")
        done = run(ATH, "audit", "verify", "--state-dir", copy, "--key", f"{copy}/keys/{self.jkt}.json")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_verify_refuses_another_key(self):
        found = json.loads(self.ath("verify", "--json", "--key", OTHER_KEY, status=1))
        self.assertFalse(found["ok"])
        self.assertIn("signed by another key", found["wrong"]["reason"])

    def test_verify_names_the_record_that_was_changed(self):
        state = self.copy("changed")
        path = os.path.join(state, "audit", "00000002.jsonl")
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
        offset = sum(len(line) + 1 for line in lines[:50])
        lines[50] = lines[50].replace(b"alice", b"mallo")
        with open(path, "wb") as file:
            file.write(b"\n".join(lines))
        done = run(ATH, "audit", "verify", "--state-dir", state)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"record 350, in 00000002.jsonl at byte {offset}: the record was changed", done.stdout.decode())

    def test_verify_finds_a_roll_back_by_a_kept_checkpoint(self):
        kept = os.path.join(self.log, "checkpoint")
        self.ath("verify", "--from", kept)
        old = self.path("old")
        run(GENERATOR, os.path.join(old), "400", "250", "300", "100", "tpm")
        self.assertEqual(run(ATH, "audit", "verify", "--state-dir", old).returncode, 0)
        done = run(ATH, "audit", "verify", "--state-dir", old, "--from", kept)
        self.assertEqual(done.returncode, 1)
        self.assertIn("the log was rolled back", done.stdout.decode())

    def test_verify_without_a_log_says_where_it_looked(self):
        done = run(ATH, "audit", "verify", "--state-dir", self.tmp)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"there is no audit log in {self.tmp}", done.stderr.decode())

    @staticmethod
    def attack(draw, path, content):
        """Other bytes for the file, None to remove it; and what that is called."""
        kind = draw.choice(["byte", "byte", "byte", "cut", "insert", "delete", "unlink"] + ["line"] * 4 * path.endswith(".jsonl"))
        at, end = sorted(draw.choices(range(len(content)), k=2))
        if kind == "byte":
            return content[:at] + bytes([content[at] ^ draw.randrange(1, 256)]) + content[at + 1:], kind
        if kind == "cut":
            return content[:at], kind
        if kind == "insert":
            return content[:at] + bytes([draw.randrange(256)]) + content[at:], kind
        if kind == "delete":
            return content[:at] + content[end + 1:], kind
        if kind == "unlink":
            return None, kind
        lines = content.splitlines(keepends=True)
        first, second = draw.sample(range(len(lines)), 2)
        kind = draw.choice(["line moved", "line again", "line gone", "lines exchanged"])
        if kind == "lines exchanged":
            lines[first], lines[second] = lines[second], lines[first]
        elif kind == "line again":
            lines.insert(second, lines[first])
        elif kind == "line gone":
            del lines[first]
        else:
            lines.insert(second, lines.pop(first))
        return b"".join(lines), kind

    def test_random_attacks_on_a_log_of_100_000_records_are_found(self):
        state = self.path("large")
        os.mkdir(state)
        run(GENERATOR, os.path.join(state, "audit"), "100000", "160", "30000", "7000", "tpm")
        files = sorted(os.path.join(top, name) for top, _, names in os.walk(state) for name in names)
        segments = [path for path in files if path.endswith(".jsonl")]
        draw = random.Random(os.environ.get("ATH_TEST_SEED", "5"))
        for _ in range(int(os.environ.get("ATH_TEST_ATTACKS", "12"))):
            path = draw.choice(draw.choice([files, segments]))
            with open(path, "rb") as file:
                content = file.read()
            changed, kind = self.attack(draw, path, content)
            if changed == content:
                continue
            if changed is None:
                os.unlink(path)
            else:
                with open(path, "wb") as file:
                    file.write(changed)
            done = run(ATH, "audit", "verify", "--state-dir", state, "--json")
            self.assertEqual(done.returncode, 1, f"{kind} of {path}")
            self.assertNotEqual(json.loads(done.stdout)["wrong"]["reason"], "")
            if kind == "byte":
                self.assertIn(json.loads(done.stdout)["wrong"]["file"], path)
            with open(path, "wb") as file:
                file.write(content)
        self.assertEqual(run(ATH, "audit", "verify", "--state-dir", state).returncode, 0)

    # ---- prove, and the script ----

    def prove(self, *words):
        path = self.path("proof.json")
        self.ath(*words, "--output", path)
        with open(path, encoding="utf-8", newline="") as file:
            return path, json.load(file)

    def test_the_script_accepts_proofs_of_records(self):
        for index, size in ((0, 700), (0, 100), (255, 300), (256, 700), (699, 700), (299, 300)):
            path, proof = self.prove("prove", str(index), "--size", str(size))
            self.assertEqual((proof["index"], proof["size"]), (index, size))
            self.assertIn(f"this is record {index} of {size}", self.script(path, self.jkt))
        self.assertIn("compare this thumbprint", self.script(path))
        self.assertIn("a key you did not name", self.script(path, OTHER_KEY, status=1))

    def test_the_script_accepts_proofs_of_consistency(self):
        for first, second in ((0, 700), (100, 200), (100, 700), (300, 700), (700, 700)):
            path, _ = self.prove("consistency", str(first), str(second))
            self.assertIn(f"the log of {second} records continues that of {first}", self.script(path, self.jkt))

    def holds(self, proof):
        try:
            audit_verify.check_proof(proof)
            return True
        except (ValueError, KeyError, TypeError, IndexError):
            return False

    def changes(self, proof):
        """Each member in turn: other numbers, texts with a character changed, paths that are not the path."""
        for name, value in proof.items():
            if isinstance(value, int):
                changed = [value + 1, value - 1, 0, -1, 2**64]
            elif isinstance(value, str):
                changed = [value[:i] + chr(ord(value[i]) ^ 1) + value[i + 1:] for i in range(0, len(value), 1 + len(value) // 80)]
                if name.endswith("checkpoint"):  # what only the TPM's line says is not the script's concern
                    end = value.index("\n\n") + 2 + value[value.index("\n\n") + 2:].index("\n")
                    changed = [value[:i] + chr(ord(value[i]) ^ 1) + value[i + 1:] for i in range(0, end, 1 + end // 80)]
            elif isinstance(value, list):
                changed = [value[1:], value[:-1], value + [value[0]], value[::-1]]
                changed += [value[:i] + [value[i - 1]] + value[i + 1:] for i in range(len(value))]
                changed += [value[:i] + ["B" + value[i][1:] if value[i][0] == "A" else "A" + value[i][1:]] + value[i + 1:]
                            for i in range(len(value))]
            else:
                changed = [{**value, c: value[c][:-1]} for c in ("x", "y")] + [{**value, "x": value["y"]}]
            for other in changed:
                if other != value:
                    yield name, {**proof, name: other}
            yield name, {key: kept for key, kept in proof.items() if key != name}

    def test_the_script_refuses_every_change_of_a_proof(self):
        for words in (("prove", "350", "--size", "400"), ("consistency", "300", "700")):
            _, proof = self.prove(*words)
            self.assertTrue(self.holds(proof))
            count = 0
            for name, changed in self.changes(proof):
                self.assertFalse(self.holds(changed), f"{words}: {name}")
                count += 1
            self.assertGreater(count, 100)

    def test_what_cannot_be_proved_is_said(self):
        done = run(ATH, "audit", "prove", "700", "--state-dir", self.state)
        self.assertEqual(done.returncode, 1)
        self.assertIn("record 700 is not covered by the checkpoint of 700 records", done.stderr.decode())
        done = run(ATH, "audit", "prove", "7", "--size", "123", "--state-dir", self.state)
        self.assertIn("no checkpoint covers exactly 123 records", done.stderr.decode())

    # ---- export ----

    def records(self):
        found = []
        for name in sorted(os.listdir(self.log)):
            if name.endswith(".jsonl"):
                with open(os.path.join(self.log, name), "rb") as file:
                    found += file.read().splitlines()
        return found

    def test_jsonl_is_the_records_as_they_are(self):
        self.assertEqual(self.ath("export", "--format", "jsonl").splitlines(), self.records())
        self.assertEqual(self.ath("export", "--format", "jsonl", "--from", "650").splitlines(), self.records()[650:])

    def test_journald_entries_hold_the_records(self):
        text, entries = self.ath("export", "--format", "journald"), []
        while text:
            entry = {}
            while not text.startswith(b"\n"):
                line, text = text.split(b"\n", 1)
                if b"=" in line:
                    name, value = line.split(b"=", 1)
                else:
                    size = struct.unpack("<Q", text[:8])[0]
                    name, value, text = line, text[8:8 + size], text[9 + size:]
                entry[name.decode()] = value
            entries.append(entry)
            text = text[1:]
        self.assertEqual([entry["ATH_RECORD"] for entry in entries], self.records())
        self.assertEqual(entries[1]["ATH_EVENT"], b"sign")
        self.assertEqual(entries[1]["__REALTIME_TIMESTAMP"], b"1767225600010000")

    def test_otel_records_have_trace_attributes_and_body(self):
        lines = self.ath("export", "--format", "otel").splitlines()
        found = [json.loads(line)["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0] for line in lines]
        self.assertEqual([record["body"]["stringValue"].encode() for record in found], self.records())
        self.assertEqual(found[1]["timeUnixNano"], "1767225600010000000")
        self.assertEqual((found[1]["traceId"], found[1]["spanId"], found[1]["flags"]),
                         ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1))
        attributes = {attribute["key"]: attribute["value"] for attribute in found[1]["attributes"]}
        self.assertEqual(attributes["event"], {"stringValue": "sign"})
        self.assertEqual(attributes["caller"]["kvlistValue"]["values"][0], {"key": "uid", "value": {"intValue": "1000"}})

    def test_a_static_log_is_what_tlog_tiles_asks_for(self):
        output = self.path("static")
        self.ath("export", "--format", "tlog-tiles", "--output", output)
        self.assertIn("all 700 records are those that were signed", self.script(output, self.jkt))
        tiles = sorted(os.path.relpath(os.path.join(top, name), output) for top, _, names in os.walk(output) for name in names)
        self.assertEqual(tiles, ["checkpoint", "key.json", "tile/0/000", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2",
                                 "tile/entries/000", "tile/entries/001", "tile/entries/002.p/188", "vkey"])
        with open(os.path.join(output, "vkey"), encoding="ascii") as file:
            name, key_id, key = file.read().strip().split("+", 2)
        der = base64.b64decode(key)
        self.assertEqual((name, der[0]), ("athd.audit/" + self.jkt, 2))
        self.assertEqual(hashlib.sha256(der[1:]).hexdigest()[:8], key_id)
        for path in tiles:
            if path == "vkey" or path.startswith(("tile/0", "tile/1")):
                continue  # the script makes the hashes itself
            with open(os.path.join(output, path), "r+b") as file:
                content = file.read()
                # of the checkpoint: what the audit key itself signed, and its signature
                end = content.index(b"\n", content.index(b"\n\n") + 2) if path == "checkpoint" else len(content)
                for at in (end // 3, end - 2):
                    file.seek(at)
                    file.write(bytes([content[at] ^ 1]))
                    file.flush()
                    self.script(output, self.jkt, status=1)
                    file.seek(at)
                    file.write(content[at:at + 1])
        self.script(output, self.jkt)
        done = run(ATH, "audit", "export", "--format", "tlog-tiles", "--output", output, "--state-dir", self.state)
        self.assertIn("File exists", done.stderr.decode())


if __name__ == "__main__":
    unittest.main()
