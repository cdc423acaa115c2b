"""One athd for every uid of a machine (--system): each works with things of its own, and neither sees nor
uses another's; nor does root."""
import json
import os
import socket
import stat
import subprocess
import unittest

from peer.agent import BIN, Athd, Connection, Failed
from peer.wire import apart

ALICE, BOB, ROOT_UID, ATH = 12301, 12302, 0, 12399
AGENT_ID = "https://agent.example/a.json"
AUDIENCE = "https://api.example"


def read_records(state):
    with open(os.path.join(state, "audit", "00000001.jsonl"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def call_as(uid, path, *calls):
    """Each call's result, or {"reason", "data", "message"} of its error; or {"errno"} where the socket is closed."""
    def run():
        connection, answers = Connection(path), []
        for method, params in calls:
            try:
                answers.append(connection.call(method, **params))
            except Failed as failed:
                answers.append({"reason": failed.reason, "data": failed.data, "message": failed.message})
        connection.close()
        return answers
    return apart(run, uid)


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class SystemTest(unittest.TestCase):
    mode = "0666"

    def setUp(self):
        self.athd = Athd(arguments=["--system"])
        self.addCleanup(self.athd.__exit__)
        os.chmod(self.athd.dir, 0o755)
        self.athd.configure({"socket_mode": self.mode})
        self.athd.start()

    def ask(self, uid, method, **params):
        answers = call_as(uid, self.athd.socket, (method, params))
        return answers[0] if isinstance(answers, list) else answers

    def key(self, uid, name="agent", **more):
        return self.ask(uid, "key.create", **{"name": name, "role": "client", "agent_id": AGENT_ID, **more})


class NameSpaces(SystemTest):
    def test_each_uid_has_keys_of_its_own_under_the_same_name(self):
        keys = {uid: self.key(uid) for uid in (ALICE, BOB, ROOT_UID)}
        self.assertEqual(len({key["did"] for key in keys.values()}), 3)
        for uid, key in keys.items():
            self.assertEqual([entry["did"] for entry in self.ask(uid, "key.list")["keys"]], [key["did"]])
            self.assertEqual(self.ask(uid, "key.get", name="agent")["did"], key["did"])
            self.assertEqual(self.ask(uid, "agent.status")["keys"], 1)
            signed = self.ask(uid, "attestation.create", key="agent", audience=AUDIENCE)
            self.assertIn("jwt", signed)
            verified = self.ask(BOB, "attestation.verify", jwt=signed["jwt"], audience=AUDIENCE,
                                public_key=key["public_jwk"])
            self.assertTrue(verified["valid"])
        self.ask(ALICE, "key.delete", name="agent")
        self.assertEqual(self.ask(ALICE, "key.get", name="agent")["reason"], "KEY_NOT_FOUND")
        self.assertEqual(self.ask(BOB, "key.get", name="agent")["did"], keys[BOB]["did"])

    def test_nobody_uses_anothers_key_service_pin_credential_or_session(self):
        self.key(ALICE, "alices")
        user = self.ask(ALICE, "key.create", name="user", role="user", confirm="never")
        self.ask(ALICE, "key.create", name="shop", role="server")
        self.assertNotIn("reason", self.ask(ALICE, "service.put", name="mail", key="shop", scopes_supported=["a"],
                                            token_max_ttl=60, require_user_confirmation=False, agents={}, users={}))
        self.assertNotIn("reason", self.ask(ALICE, "peer.pin", did=user["did"], name="alice"))
        issued = self.ask(ALICE, "credential.issue", key="user", client=self.ask(ALICE, "key.get", name="alices")["did"],
                          scopes=["a"], ttl=60)
        self.assertIn("credential", issued)
        self.key(BOB, "bobs")
        for uid in (BOB, ROOT_UID):
            for method, params in (("attestation.create", {"key": "alices", "audience": AUDIENCE}),
                                   ("key.export", {"name": "alices", "format": "pem"}),
                                   ("key.delete", {"name": "alices"}),
                                   ("credential.issue", {"key": "user", "client": user["did"], "scopes": ["a"], "ttl": 60}),
                                   ("policy.freeze", {"key": "alices"})):
                answer = self.ask(uid, method, **params)
                self.assertEqual(answer.get("reason"), "KEY_NOT_FOUND", (method, answer))
            self.assertEqual(self.ask(uid, "service.list")["services"], [])
            self.assertEqual(self.ask(uid, "peer.list")["peers"], [])
            self.assertEqual(self.ask(uid, "credential.list")["credentials"], [])
            self.assertEqual(self.ask(uid, "session.list")["sessions"], [])
            self.assertEqual(self.ask(uid, "handshake.list")["handshakes"], [])
        self.assertEqual(len(self.ask(ALICE, "credential.list")["credentials"]), 1)
        self.assertEqual(len(self.ask(ALICE, "service.list")["services"]), 1)

    def test_a_session_or_handshake_of_anothers_does_not_exist_for_whoever_knows_its_name(self):
        self.key(ALICE, "alices")
        did = self.ask(ALICE, "key.create", name="shop", role="server")["did"]
        user = self.ask(ALICE, "key.create", name="user", role="user", confirm="never")
        self.assertIn("did", user)
        started = self.ask(ALICE, "handshake.start", key="alices", scopes=["a"], ttl=60, user_key="user", server={"did": did})
        self.assertIn("handshake", started, started)
        for uid in (BOB, ROOT_UID):
            for method, params in (("handshake.get", {}), ("handshake.abort", {}), ("handshake.receive", {"message": {}})):
                answer = self.ask(uid, method, handshake=started["handshake"], **params)
                self.assertEqual(answer["reason"], "HANDSHAKE_NOT_FOUND", (method, answer))
        self.assertNotIn("reason", self.ask(ALICE, "handshake.get", handshake=started["handshake"]))

    def test_a_used_attestation_is_used_for_one_uid_only(self):
        key = self.key(ALICE)
        jwt = self.ask(ALICE, "attestation.create", key="agent", audience=AUDIENCE)["jwt"]
        check = {"jwt": jwt, "audience": AUDIENCE, "public_key": key["public_jwk"]}
        self.assertTrue(self.ask(ALICE, "attestation.verify", **check)["valid"])
        self.assertEqual(self.ask(ALICE, "attestation.verify", **check)["reason"], "REPLAYED")
        self.assertTrue(self.ask(BOB, "attestation.verify", **check)["valid"])

    def test_freezing_all_stops_ones_own_keys_only(self):
        self.key(ALICE)
        self.key(BOB)
        self.assertNotIn("reason", self.ask(BOB, "policy.freeze", all=True))
        self.assertEqual(self.ask(BOB, "attestation.create", key="agent", audience=AUDIENCE)["data"]["rule"], "frozen")
        self.assertIn("jwt", self.ask(ALICE, "attestation.create", key="agent", audience=AUDIENCE))

    def test_all_is_there_after_a_restart(self):
        keys = {uid: self.key(uid)["did"] for uid in (ALICE, BOB)}
        self.assertNotIn("reason", self.ask(BOB, "policy.freeze", key="agent"))
        self.assertEqual(self.athd.stop(), 0)
        self.athd.start()
        for uid, did in keys.items():
            self.assertEqual(self.ask(uid, "key.get", name="agent")["did"], did)
        self.assertIn("jwt", self.ask(ALICE, "attestation.create", key="agent", audience=AUDIENCE))
        self.assertEqual(self.ask(BOB, "attestation.create", key="agent", audience=AUDIENCE)["data"]["rule"], "frozen")

    def test_files_lie_apart_and_only_athd_can_read_them(self):
        self.key(ALICE)
        self.assertTrue(os.path.isfile(os.path.join(self.athd.state, "users", str(ALICE), "keys", "agent.json")))
        self.assertEqual(stat.S_IMODE(os.stat(self.athd.state).st_mode), 0o700)
        self.assertIn("errno", apart(lambda: os.listdir(os.path.join(self.athd.state, "users", str(ALICE))), ALICE))

    def test_what_is_no_uid_in_users_is_left_alone_and_said(self):
        self.key(ALICE)
        self.athd.stop()
        for name in ("007", "root", "+5", "4294967295"):
            os.mkdir(os.path.join(self.athd.state, "users", name), 0o700)
        self.athd.start()
        for name in ("007", "root", "+5", "4294967295"):
            self.assertIn(f"users/{name} is no uid", self.athd.read_log())
        self.assertEqual(len(self.ask(ALICE, "key.list")["keys"]), 1)

    def test_ones_damaged_file_is_told_to_that_one_only(self):
        self.key(ALICE)
        self.key(BOB)
        self.athd.stop()
        with open(os.path.join(self.athd.state, "users", str(ALICE), "keys", "agent.json"), "w", encoding="utf-8") as file:
            file.write("{")
        self.athd.start()
        self.assertEqual(len(self.ask(ALICE, "agent.status")["damaged"]), 1)
        self.assertEqual(self.ask(BOB, "agent.status")["damaged"], [])
        self.assertIn("jwt", self.ask(BOB, "attestation.create", key="agent", audience=AUDIENCE))


class Rules(SystemTest):
    def test_adopting_keys_and_reading_files_again_wants_a_rule(self):
        for method, params in (("key.import", {"name": "k", "role": "client", "pkcs11_uri": "pkcs11:token=t"}),
                               ("policy.reload", {})):
            answer = self.ask(ALICE, method, **params)
            self.assertEqual(answer["reason"], "POLICY_DENIED")
            self.assertEqual(answer["data"]["rule"], "everyone-their-own", answer)

    def test_rules_of_the_machine_hold_for_whom_they_name(self):
        self.key(ALICE)
        self.key(BOB)
        with open(os.path.join(self.athd.dir, "policy.json"), "w", encoding="utf-8") as file:
            json.dump({"rules": [{"name": "alice", "who": {"uid": ALICE}, "may": ["*"]},
                                 {"name": "readers", "who": {"uid": "*"}, "may": ["group:keys-read", "agent.hello"]}]}, file)
        self.assertNotIn("reason", self.ask(ALICE, "agent.hello"))
        self.athd.process.send_signal(1)
        while "rules=2" not in self.athd.read_log():
            self.assertIsNone(self.athd.process.poll())
        self.assertIn("jwt", self.ask(ALICE, "attestation.create", key="agent", audience=AUDIENCE))
        self.assertEqual(self.ask(BOB, "attestation.create", key="agent", audience=AUDIENCE)["reason"], "POLICY_DENIED")
        self.assertEqual(self.ask(ROOT_UID, "policy.reload")["reason"], "POLICY_DENIED")

    def test_a_uid_that_is_several_peoples_gets_nothing(self):
        def read():
            with socket.socket(socket.AF_UNIX) as caller:
                caller.settimeout(60)
                caller.connect(self.athd.socket)
                with caller.makefile("rb") as lines:
                    return [json.loads(line) for line in lines]  # to the end

        for uid, why in ((65534, "no uid here"), (61184, "DynamicUser"), (65519, "DynamicUser")):
            answers = apart(read, uid)
            self.assertEqual([answer["error"]["data"]["reason"] for answer in answers], ["POLICY_DENIED"])
            self.assertIn(why, answers[0]["error"]["message"])
        self.assertNotIn("reason", self.ask(61183, "key.list"))
        self.assertEqual(sorted(os.listdir(os.path.join(self.athd.state, "users"))), ["0", "61183"])


class Audit(SystemTest):
    def test_each_sees_its_own_records_and_those_of_athd(self):
        self.key(ALICE)
        self.key(BOB, "secret-project")
        self.assertIn("jwt", self.ask(BOB, "attestation.create", key="secret-project", audience="https://bobs.example"))
        seen = self.ask(ALICE, "audit.query", limit=1000)["records"]
        self.assertNotIn("bob", json.dumps(seen))
        self.assertNotIn("secret-project", json.dumps(seen))
        self.assertTrue({"athd_started", "key_created"} <= {record["event"] for record in seen})
        self.assertEqual({record["owner"] for record in seen if "owner" in record}, {ALICE})
        self.assertEqual(self.ask(ALICE, "audit.query", key="secret-project")["records"], [])
        whole = read_records(self.athd.state)
        bobs = [record for record in whole if record.get("owner") == BOB]
        self.assertIn("attestation_issued", [record["event"] for record in bobs])
        self.assertTrue(all("owner" in record for record in whole if "caller" in record))

    def test_a_proof_of_anothers_record_holds_without_its_words(self):
        self.key(BOB, "secret-project")
        index = next(record["index"] for record in read_records(self.athd.state) if record.get("owner") == BOB)
        self.ask(BOB, "audit.checkpoint")
        self.assertIn("secret-project", self.ask(BOB, "audit.proof", index=index)["record"])
        proof = self.ask(ALICE, "audit.proof", index=index)
        self.assertNotIn("record", proof)
        self.assertEqual(proof["leaf"], self.ask(BOB, "audit.proof", index=index)["leaf"])

    def test_events_go_to_those_they_are_about(self):
        def watch():
            connection = Connection(self.athd.socket)
            connection.call("events.subscribe", topics=["key", "hsm", "consent"])
            connection.call("agent.hello")
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            connection.lines.write(b'{"jsonrpc":"2.0","id":9,"method":"agent.hello","params":{}}\n')
            connection.lines.flush()
            line = json.loads(connection.lines.readline())
            connection.close()
            return line

        self.key(ALICE)  # the hardware is there
        ready, go = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(ready[0], 1)
            try:
                self.key(BOB)
            finally:
                os.write(go[1], b"x")
                os._exit(0)
        first = apart(watch, ALICE)  # an event of Bob's would have come before
        os.waitpid(pid, 0)
        self.assertEqual(first.get("id"), 9, first)


class TheSocket(SystemTest):
    mode = "0600"

    def test_its_mode_says_who_gets_as_far(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.athd.socket).st_mode), 0o600)
        self.assertEqual(self.ask(ALICE, "agent.hello"), {"errno": 13})

    def start_with(self, config, expected):
        self.athd.stop()
        self.athd.configure(config)
        self.athd.spawn()
        self.assertEqual(self.athd.process.wait(30), expected, self.athd.read_log())
        self.athd.process = None
        return self.athd.read_log()

    def test_what_it_cannot_be_is_said(self):
        log = self.start_with({"socket_mode": "0777"}, 1)
        self.assertIn('"socket_mode" must be "0600", "0660" or "0666"', log)
        log = self.start_with({"socket_group": "no-such-group"}, 1)
        self.assertIn('there is no group "no-such-group"', log)
        self.athd.arguments.remove("--system")
        log = self.start_with({"socket_mode": "0666"}, 1)
        self.assertIn("are for --system", log)

    def test_a_group_may_be_given(self):
        self.athd.stop()
        self.athd.configure({"socket_mode": "0660", "socket_group": "users"})
        self.athd.start()
        entry = os.stat(self.athd.socket)
        self.assertEqual((stat.S_IMODE(entry.st_mode), entry.st_gid), (0o660, 100))


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class OwnUser(unittest.TestCase):
    def test_an_athd_of_its_own_uid_serves_others_and_has_no_power_over_them(self):
        athd = Athd(arguments=["--system"])
        self.addCleanup(athd.__exit__)
        if not apart(lambda: os.access(os.path.join(BIN, "athd"), os.X_OK), ATH):
            self.skipTest(f"uid {ATH} may not run {BIN}/athd")
        athd.uid, athd.directory = ATH, "/"
        athd.configure({"socket_mode": "0666"})
        athd.tpm = athd.tpms.take(athd.state)
        for path, names, files in os.walk(athd.dir):
            for name in [path, *(os.path.join(path, entry) for entry in names + files)]:
                os.chown(name, ATH, ATH)
        os.chmod(athd.dir, 0o755)
        athd.start()
        key = call_as(ALICE, athd.socket, ("key.create", {"name": "agent", "role": "client", "agent_id": AGENT_ID}),
                      ("attestation.create", {"key": "agent", "audience": AUDIENCE}), ("agent.hello", {}))
        self.assertIn("jwt", key[1])
        self.assertEqual(key[2]["you"]["uid"], ALICE)
        self.assertEqual(call_as(ATH, athd.socket, ("key.list", {}))[0]["keys"], [])
        self.assertIn("errno", apart(lambda: os.listdir(athd.state), ALICE))
        self.assertEqual(call_as(ROOT_UID, athd.socket, ("key.get", {"name": "agent"}))[0]["reason"], "KEY_NOT_FOUND")


class Grants(SystemTest):
    """Sockets for agents: each uid's in a directory of its own, which everybody can walk to and only that
    uid is served at."""

    def grant(self, uid, name="g", **limits):
        return self.ask(uid, "grant.create", name=name, keys=["agent"], **limits)

    @staticmethod
    def first_line(uid, path):
        """What a caller of this uid is told that has said nothing yet."""
        def run():
            with socket.socket(socket.AF_UNIX) as wire:
                wire.settimeout(60)
                wire.connect(path)
                return wire.makefile("rb").readline().decode()
        return json.loads(apart(run, uid))

    def process(self, uid):
        process = subprocess.Popen(["sleep", "300"], user=uid, group=uid, extra_groups=[])

        def end():
            process.kill()
            process.wait()
        self.addCleanup(end)
        return process

    def test_each_uids_serve_that_uid_alone(self):
        paths = {}
        for uid in (ALICE, BOB, ROOT_UID):
            self.key(uid)
            paths[uid] = self.grant(uid)["socket"]
            self.assertEqual(paths[uid], os.path.join(self.athd.dir, "grants", str(uid), "g", "agent.sock"))
            attested, hello = call_as(uid, paths[uid], ("attestation.create", {"key": "agent", "audience": AUDIENCE}),
                                      ("agent.hello", {}))
            self.assertIn("jwt", attested)
            self.assertEqual((hello["you"]["uid"], hello["grant"]["name"]), (uid, "g"))
            self.assertEqual(len(self.ask(uid, "grant.list")["grants"]), 1)
        for uid, path in paths.items():
            for other in {ALICE, BOB, ROOT_UID} - {uid}:
                error = self.first_line(other, path)["error"]
                self.assertEqual((error["code"], error["data"]["reason"]), (-32001, "POLICY_DENIED"))
        self.assertEqual(self.ask(BOB, "grant.revoke", name="none")["reason"], "GRANT_NOT_FOUND")
        self.ask(BOB, "grant.revoke", name="g")
        self.assertEqual(len(self.ask(ALICE, "grant.list")["grants"]), 1)
        self.assertFalse(os.path.exists(paths[BOB]))

    def test_a_process_must_be_the_uids_own(self):
        self.key(ALICE)
        self.assertEqual(self.grant(ALICE, process=self.process(BOB).pid)["reason"], "INVALID_PARAMS")
        self.assertEqual(self.grant(ALICE, process=os.getpid())["reason"], "INVALID_PARAMS")
        self.assertIn("socket", self.grant(ALICE, process=self.process(ALICE).pid))

    def test_those_of_living_processes_outlive_a_kill(self):
        for uid in (ALICE, BOB):
            self.key(uid)
        path = self.grant(ALICE, process=self.process(ALICE).pid)["socket"]
        self.grant(BOB)
        self.athd.process.kill()
        self.athd.process.wait()
        self.athd.log_seen = len(self.athd.read_log())
        self.athd.connection.close()
        self.athd.start()
        self.assertEqual(len(self.ask(ALICE, "grant.list")["grants"]), 1)
        self.assertEqual(self.ask(BOB, "grant.list")["grants"], [])
        [hello] = call_as(ALICE, path, ("agent.hello", {}))
        self.assertEqual(hello["grant"]["name"], "g")
        self.assertEqual(self.first_line(BOB, path)["error"]["data"]["reason"], "POLICY_DENIED")
        self.assertEqual(os.listdir(os.path.join(self.athd.dir, "grants", str(BOB))), [])


if __name__ == "__main__":
    unittest.main()
