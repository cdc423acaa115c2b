#!/usr/bin/env python3
"""Every decision is a record: what a person, an agent and an application do leaves its trace, joined by
trace-id and T5, and nothing that is secret."""
import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer.agent import Connection, Failed  # noqa: E402
from peer.keys import Key  # noqa: E402
from peer.scene import NO, YES, CheckedAthd, Scene  # noqa: E402
from peer.pinentry import WRONG  # noqa: E402
from peer.token_case import TokenTest  # noqa: E402

SOURCE = os.environ["ATH_SOURCE"]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
AGENT = {"name": "agent", "role": "client", "agent_id": "https://a.example/agent.json"}


def listed_events():
    with open(os.path.join(SOURCE, "docs", "audit-events.md"), encoding="utf-8") as file:
        tables = file.read().split("## Signatures")[1]
    return {name for line in tables.splitlines() if line.startswith("| `")
            for name in re.findall(r"[a-z_]+", line.split("|")[1])}


def wait_for(found, what):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        result = found()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError(what)


class Records(unittest.TestCase):
    def records(self, athd, event):
        return wait_for(lambda: [r for r in athd.audit() if r["event"] == event], f"no {event}")

    def last(self, athd, event):
        return self.records(athd, event)[-1]

    def check(self, athd):
        """Events are listed, indexes have no gap, callers are named, and there is no secret in it."""
        records = athd.audit()
        self.assertEqual([r["index"] for r in records], list(range(len(records))))
        self.assertEqual({r["event"] for r in records} - listed_events(), set())
        for record in records:
            caller = record.get("caller")
            if caller:
                self.assertEqual(caller["uid"], os.getuid())
                self.assertGreater(caller["start_ticks"], 0)


class OneHandshake(Records):
    def test_three_sides_are_joined_by_trace_and_t5(self):
        with Scene(require_user_confirmation=True) as scene:
            scene.issue()
            scene.run(trace=TRACE)
            mine, theirs = self.last(scene.me, "access_granted"), self.last(scene.app, "access_granted")
            name = mine["handshake"]
            self.assertEqual(theirs["handshake"], name)
            given = self.last(scene.me, "confirmation_given")
            self.assertEqual((given["handshake"], given["trace"]), (name, TRACE))
            for athd in (scene.me, scene.app):
                of_it = [r for r in athd.audit() if TRACE == r.get("trace")]
                for record in of_it:
                    self.assertIn(record.get("handshake"), (None, name))
                events = [r["event"] for r in of_it]
                self.assertIn("authorization_started", events)
                self.assertIn("signature", events)
                self.assertIn("session_opened", events)
                # once it is known it stays: every later record has it
                first = next(i for i, r in enumerate(of_it) if "handshake" in r)
                self.assertTrue(all("handshake" in r for r in of_it[first:]), of_it)
                self.check(athd)
            steps = [(r.get("received"), r["sent"]) for r in scene.app.audit()
                     if r["event"] in ("authorization_started", "handshake_step")]
            self.assertEqual(steps[0], (None, ["handshake_response"]))
            self.assertEqual(steps[1], ("identity_proof", ["identity_result"]))
            self.assertEqual(steps[-1][1], ["scope_result", "handshake_complete"])
            asked = self.last(scene.me, "consent_asked")
            self.assertEqual(self.last(scene.me, "consent_given")["key"], asked["key"])
            self.assertEqual(given["consent"], "given")
            self.assertEqual(given["rule"], "owner")

    def test_user_who_says_no_is_on_record_on_all_sides(self):
        with Scene(says=NO, require_user_confirmation=True) as scene:
            scene.me.answers(YES)
            scene.issue()
            scene.me.answers(NO)
            try:
                scene.run(trace=TRACE)
            except (Failed, AssertionError, KeyError, ValueError):
                pass
            refused = self.last(scene.me, "consent_refused")
            self.assertEqual(refused["denial_reason"], "USER_DENIED")
            self.check(scene.me)
            self.check(scene.app)


class OneDaemon(Records):
    def setUp(self):
        self.athd = CheckedAthd(YES)
        self.athd.__enter__()
        self.addCleanup(self.athd.__exit__, None, None, None)

    def test_life_of_the_daemon(self):
        started = self.last(self.athd, "athd_started")
        self.assertEqual(started["pid"], self.athd.process.pid)
        self.assertTrue(re.fullmatch(r"[0-9a-f-]{36}", started["boot_id"]))
        self.assertLess(abs(started["booted_at"] - (time.time() - time.clock_gettime(time.CLOCK_BOOTTIME))), 3)
        self.assertEqual(self.last(self.athd, "helper_started")["failures"], 0)
        ready = self.last(self.athd, "hsm_state")
        self.assertEqual((ready["state"], ready["kind"], ready["software"]), ("ready", "tpm", True))
        self.assertEqual(self.athd.stop(), 0)
        self.assertEqual(self.last(self.athd, "athd_stopping")["pid"], started["pid"])
        self.check(self.athd)

    def test_keys(self):
        made = self.athd.call("key.create", **AGENT)
        record = self.last(self.athd, "key_created")
        self.assertEqual((record["key"], record["did"], record["rule"]), ("agent", made["did"], "owner"))
        self.assertGreater(record["duration_us"], 0)
        self.athd.call("key.export", name="agent", format="pem")
        self.assertEqual(self.last(self.athd, "key_exported")["format"], "pem")
        self.athd.call("attestation.create", key="agent", audience="https://b.example", trace=TRACE)
        issued = self.last(self.athd, "attestation_issued")
        self.assertEqual((issued["trace"], issued["jkt"]), (TRACE, record["jkt"]))
        self.athd.call("key.delete", name="agent")
        self.last(self.athd, "key_deleted")
        self.check(self.athd)

    def test_attestations_that_hold_and_that_do_not(self):
        self.athd.call("key.create", **AGENT)
        pem = self.athd.call("key.export", name="agent", format="pem")["data"]
        jwt = self.athd.call("attestation.create", key="agent", audience="https://b.example")["jwt"]
        verify = {"jwt": jwt, "audience": "https://b.example", "public_key": pem}
        self.athd.call("attestation.verify", **verify)
        self.assertEqual(self.last(self.athd, "attestation_verified")["agent_id"], AGENT["agent_id"])
        for params in (verify, {**verify, "public_key": Key().pem}):
            with self.assertRaises(Failed):
                self.athd.call("attestation.verify", **params)
        failed = wait_for(lambda: [r["denial_reason"] for r in self.athd.audit()
                                   if r["event"] == "attestation_failed"][1:] and self.athd.audit(), "not two")
        self.assertEqual([r["denial_reason"] for r in failed if r["event"] == "attestation_failed"],
                         ["REPLAYED", "INVALID_SIGNATURE"])
        self.check(self.athd)
        text = json.dumps(self.athd.audit())
        self.assertNotIn(jwt, text)
        self.assertNotIn(jwt.rsplit(".", 1)[1], text)

    def test_flood_of_what_is_refused_does_not_fill_the_disk(self):
        connection, pem = Connection(self.athd.socket), Key().pem
        for _ in range(500):
            with self.assertRaises(Failed):
                connection.call("attestation.verify", jwt="a.b.c", audience="https://b.example", public_key=pem)
        connection.close()
        self.assertEqual(self.athd.stop(), 0)
        failed = [r for r in self.athd.audit() if r["event"] == "attestation_failed"]
        more = [r for r in self.athd.audit() if r["event"] == "more_of_the_same"]
        self.assertLess(len(failed), 100)
        self.assertEqual(len(failed) + sum(r["count"] for r in more), 500)
        self.check(self.athd)

    def test_killed_helper_is_on_record(self):
        self.athd.call("key.create", **AGENT)
        helper = int(subprocess.run(["pgrep", "-P", str(self.athd.process.pid)], capture_output=True, text=True,
                                    check=True).stdout.split()[0])
        os.kill(helper, signal.SIGKILL)
        wait_for(lambda: len([r for r in self.athd.audit() if r["event"] == "helper_started"]) > 1, "no new one")
        self.last(self.athd, "helper_ended")
        self.assertIn("absent", [r["state"] for r in self.records(self.athd, "hsm_state")])

    def test_kill_shows_as_a_start_without_a_stop(self):
        self.last(self.athd, "athd_started")
        self.athd.process.kill()
        self.athd.process.wait()
        self.athd.process = None
        self.athd.stop()
        self.athd.log_seen = len(self.athd.read_log())
        self.athd.start()
        wait_for(lambda: len(self.records(self.athd, "athd_started")) == 2, "no second start")
        self.assertNotIn("athd_stopping", [r["event"] for r in self.athd.audit()])


class Configuration(Records):
    def test_what_is_loaded_and_what_is_refused(self):
        athd = CheckedAthd(YES)
        athd.configure({"consent_timeout": 30})
        with athd:
            record = self.last(athd, "configuration_loaded")
            files = {f["path"]: f["sha256"] for f in record["files"]}
            for path, digest in files.items():
                with open(path, "rb") as file:
                    real = base64.urlsafe_b64encode(hashlib.sha256(file.read()).digest()).rstrip(b"=").decode()
                self.assertEqual(digest, real)
            self.assertTrue(files)
            path = next(iter(files))
            with open(path, "w", encoding="utf-8") as file:
                file.write('{"consent_timeout": -1}')
            athd.process.send_signal(signal.SIGHUP)
            refused = self.last(athd, "configuration_refused")
            self.assertIn("consent_timeout", refused["message"])
            self.assertNotEqual(refused["files"][0]["sha256"], files[path])
            with open(path, "w", encoding="utf-8") as file:
                file.write('{"consent_timeout": 31}')
            athd.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(self.records(athd, "configuration_loaded")) == 2, "not loaded again")
            self.check(athd)


class Caller(Records):
    @unittest.skipUnless(os.getuid() == 0, "only root can be somebody else")
    def test_stranger_is_on_record_by_uid_pid_and_program(self):
        with CheckedAthd(YES) as athd:
            for path in (os.path.dirname(athd.socket), athd.socket):
                os.chmod(path, 0o777)
            code = ("import os,socket,sys\nos.setuid(65534)\ns=socket.socket(socket.AF_UNIX)\n"
                    "s.connect(sys.argv[1])\n"
                    "s.sendall(b'{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"key.list\"}\\n')\n"
                    "print(s.recv(4096).decode())\n")
            answer = subprocess.run([sys.executable, "-c", code, athd.socket], capture_output=True, text=True,
                                    timeout=60)
            self.assertIn("POLICY_DENIED", answer.stdout, answer.stderr)
            denied = self.last(athd, "policy_denied")
            self.assertEqual((denied["caller"]["uid"], denied["method"], denied["rule"]), (65534, "key.list", "default"))
            self.assertIn("missing", denied)


class Logins(TokenTest):
    """PINs: what came of them, and never they."""

    def logins(self, athd, count):
        def found():
            with open(os.path.join(athd.state, "audit", "00000001.jsonl"), encoding="utf-8") as file:
                records = [json.loads(line) for line in file if line.endswith("\n")]
            logins = [r for r in records if r["event"] == "login"]
            return len(logins) >= count and (logins, records)
        return wait_for(found, f"not {count} logins")

    def test_right_and_wrong_pins(self):
        token = self.new_token()
        athd = self.new_athd(token)
        self.create(athd)
        (first,), _ = self.logins(athd, 1)
        self.assertTrue(first["success"])
        athd.stop()
        athd.answers_pin(WRONG)
        athd.start()
        with self.assertRaises(Failed) as caught:
            self.attest(athd)
        self.assertEqual(caught.exception.reason, "PIN_INCORRECT")
        logins, records = self.logins(athd, 2)
        self.assertEqual((logins[1]["success"], logins[1]["denial_reason"]), (False, "PIN_INCORRECT"))
        text = json.dumps(records)
        self.assertNotIn(token.pin, text)
        self.assertEqual({r["event"] for r in records} - listed_events(), set())
        states = [r["state"] for r in records if r["event"] == "hsm_state"]
        self.assertIn("locked", states)  # a PIN was needed


if __name__ == "__main__":
    unittest.main()
