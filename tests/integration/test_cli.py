"""`ath` as people and shells use it, against real athds: output, exit codes, where secrets may stand."""
import json
import os
import pty
import select
import subprocess
import unittest

from peer.agent import BIN, Athd
from peer.scene import NO, Scene

ATH = os.path.join(BIN, "ath")


def ath(*words, socket=None, text="", **environment):
    """Runs `ath`; says what it printed and how it ended."""
    inherited = {name: value for name, value in os.environ.items()
                 if name not in ("ATH_AUTH_SOCK", "XDG_RUNTIME_DIR")}
    run = subprocess.run([ATH, *words], input=text.encode() if isinstance(text, str) else text,
                         capture_output=True, timeout=60, check=False,
                         env={**inherited, **({"ATH_AUTH_SOCK": socket} if socket else {}), **environment})
    if b"Sanitizer" in run.stderr:
        raise AssertionError(run.stderr.decode())
    return run


class Alone(unittest.TestCase):
    """What needs no athd."""

    def test_every_command_has_help_with_an_example(self):
        everything = ath("--help").stdout.decode()
        listed = everything.split("commands:\n")[1].split("\n\n")[0]
        commands = [line[2:24].strip().split() for line in listed.splitlines()]
        self.assertGreater(len(commands), 30)
        for command in commands:
            run = ath(*command, "--help")
            self.assertEqual(run.returncode, 0, command)
            out = run.stdout.decode()
            self.assertIn("usage: ath " + " ".join(command), out)
            self.assertIn("examples:", out)
            self.assertEqual(ath("--json", *command, "-h").stdout, run.stdout)
            self.assertEqual(ath("help", *command).stdout, run.stdout)
        self.assertEqual(ath("help", "key").stdout, ath("key", "--help").stdout)
        self.assertEqual(ath("help").stdout, ath("--help").stdout)

    def test_wrong_usage_is_64_and_says_what(self):
        for words, expected in (
                ((), b"commands:"),
                (("key",), b"key create"),
                (("nonsense",), b"no such command"),
                (("key", "nonsense"), b"no such command"),
                (("key", "create", "a"), b"--role is missing"),
                (("key", "create", "--role", "user"), b"NAME is missing"),
                (("key", "create", "a", "b", "--role", "user"), b"one argument too many"),
                (("key", "create", "a", "--role"), b"is missing"),
                (("key", "create", "a", "--role", "user", "--role", "user"), b"twice"),
                (("key", "list", "--nonsense"), b"no such option"),
                (("key", "create", "a", "--role", "user", "--expires", "soon"), b"takes 2027-01-31"),
                (("attest", "a", "--audience", "https://a.example", "--ttl", "soon"), b"5m, 2h, 30d"),
                (("key", "import", "a", "--role", "user"), b"--tss2 or --pkcs11-uri is missing"),
                (("key", "import", "a", "--role", "user", "--tss2", "@/dev/null", "--pkcs11-uri", "pkcs11:id=%01"),
                 b"exclude each other"),
                (("key", "import", "a", "--role", "user", "--tss2", __file__), b"taken with @"),
                (("key", "import", "a", "--role", "user", "--tss2", "@/"), b"it is a directory"),
                (("status", "--timeout", "0"), b"--timeout"),
                (("help", "nonsense"), b"no such command"),
                (("call", "agent.status", "{broken"), b"not JSON"),
                (("--socket",), b"missing"),
                (("key", "import", "a", "--role", "user", "--tss2", "@/nonexistent"), b"cannot read")):
            run = ath(*words)
            self.assertEqual(run.returncode, 64, words)
            self.assertIn(expected, run.stdout + run.stderr, words)

    def test_a_session_whose_name_begins_like_a_flag_is_none(self):
        for name in ("-ag2Zc2vHq0Xn3SvJ4bQzw", "--g2Zc2vHq0Xn3SvJ4bQzw"):
            self.assertEqual(ath("session", "close", name, "--socket", "/nonexistent").returncode, 2)
        self.assertEqual(ath("session", "close", "--g2Zc2vHq0Xn3SvJ4bQz").returncode, 64)

    def test_secrets_are_not_taken_from_the_command_line(self):
        for words in (("session", "seal", "s", "a secret"), ("token", "verify", "ey.ey.sig", "--service", "s"),
                      ("verify", "ey.ey.sig", "--audience", "https://a.example")):
            run = ath(*words)
            self.assertEqual(run.returncode, 64)
            self.assertIn(b"every process can read", run.stderr)

    def test_an_athd_that_is_not_there_is_2_and_why_is_said(self):
        run = ath("status", "--socket", "/nonexistent/agent.sock")
        self.assertEqual(run.returncode, 2)
        self.assertIn(b"athd is not running", run.stderr)
        run = ath("status", "--json", "--socket", "/nonexistent/agent.sock")
        error = json.loads(run.stderr)
        self.assertEqual((error["data"]["reason"], error["data"]["cause"]), ("UNREACHABLE", "not_running"))
        run = ath("doctor", "--json", socket="/nonexistent/agent.sock")
        self.assertEqual(run.returncode, 2)
        self.assertFalse(json.loads(run.stdout)["ok"])

    def test_version(self):
        self.assertRegex(ath("--version").stdout.decode(), r"^ath \d+\.\d+\.\d+\n$")


class WithOne(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.athd = Athd()
        cls.athd.__enter__()
        cls.addClassCleanup(cls.athd.__exit__)

    def ath(self, *words, status=0, **more):
        run = ath(*words, socket=self.athd.socket, **more)
        self.assertEqual(run.returncode, status, run.stderr.decode())
        return run.stdout.decode()

    def fails(self, status, *words, **more):
        run = ath(*words, socket=self.athd.socket, **more)
        self.assertEqual((run.returncode, run.stdout), (status, b""), run.stderr.decode())
        return run.stderr.decode()

    def test_json_is_the_methods_result(self):
        made = json.loads(self.ath("key", "create", "one", "--role", "client", "--agent-id",
                                   "https://agents.example/one", "--display-name", "Num\u00e9ro un",
                                   "--capability", "a b", "--expires", "+30d", "--json"))
        self.assertEqual(made, self.athd.call("key.get", name="one"))
        self.assertEqual(made["display"], {"name": "Num\u00e9ro un", "capabilities": ["a", "b"]})
        self.assertAlmostEqual(made["expires_at"] - made["created_at"], 30 * 86400, delta=5)
        self.assertEqual(json.loads(self.ath("key", "list", "--json")), self.athd.call("key.list"))
        self.assertEqual(self.ath("key", "show", "one", "--field", "did").strip(), made["did"])
        self.assertEqual(self.ath("--field", "keys.0.role", "key", "list", "--role", "client"), "client\n")
        self.assertIn('no member "nonsense"', ath("key", "show", "one", "--field", "nonsense",
                                                    socket=self.athd.socket).stderr.decode())

    def test_people_get_tables_and_times(self):
        self.ath("key", "create", "two", "--role", "user")
        table = self.ath("key", "list")
        self.assertRegex(table, r"(?m)^NAME +ROLE +ALGORITHM +HSM +SOFTWARE +DID$")
        self.assertRegex(table, r"(?m)^two +user +ES256 +swtpm +yes +did:ath:user_[\w-]{43}$")
        shown = self.ath("key", "show", "two")
        self.assertRegex(shown, r"(?m)^created_at +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC \(")
        self.assertIn("a software TPM", ath("status", socket=self.athd.socket).stderr.decode())
        self.assertEqual(ath("status", "-q", socket=self.athd.socket).stderr, b"")
        self.assertNotIn("\033", table)

    def test_what_strangers_wrote_cannot_move_the_cursor(self):
        self.ath("key", "create", "esc", "--role", "client", "--display-name", "a\u202eb")
        self.assertNotIn("\u202e", self.ath("key", "show", "esc"))

    def on_terminal(self, *words):
        """What `ath` writes to a terminal."""
        ours, theirs = pty.openpty()
        try:
            run = subprocess.run([ATH, *words], stdout=theirs, stdin=subprocess.DEVNULL, timeout=60, check=True,
                                 env={**os.environ, "ATH_AUTH_SOCK": self.athd.socket})
            self.assertEqual(run.returncode, 0)
            return os.read(ours, 65536).decode().replace("\r\n", "\n")
        finally:
            os.close(ours)
            os.close(theirs)

    def delete_at_terminal(self, answer, *words):
        """`ath key delete` for a person who answers so: its exit status, and what it said."""
        ours, theirs = pty.openpty()
        try:
            os.write(ours, answer)
            run = subprocess.run([ATH, "key", "delete", *words], stdin=theirs, stderr=theirs,
                                 stdout=subprocess.DEVNULL, timeout=60, check=False,
                                 env={**os.environ, "ATH_AUTH_SOCK": self.athd.socket})
            os.write(theirs, b"END")
            said = b""
            while not said.endswith(b"END"):
                said += os.read(ours, 65536)
            return run.returncode, said
        finally:
            os.close(ours)
            os.close(theirs)

    def test_who_deletes_a_key_at_a_terminal_is_asked(self):
        did = json.loads(self.ath("--json", "key", "create", "dear", "--role", "client"))["did"].encode()
        for answer in (b"n\n", b"\n", b"yesterday\n", b"\x04"):
            status, said = self.delete_at_terminal(answer, "dear")
            self.assertEqual(status, 1)
            self.assertIn(b"nothing brings it", said)
            self.assertIn(did, said)
            self.ath("key", "show", "dear")
        self.assertEqual(self.delete_at_terminal(b"y\n", "dear")[0], 0)
        self.assertNotEqual(ath("key", "show", "dear", socket=self.athd.socket).returncode, 0)
        self.ath("key", "create", "dear", "--role", "client")
        status, said = self.delete_at_terminal(b"", "dear", "--yes")
        self.assertEqual(status, 0)
        self.assertNotIn(b"[y/N]", said)

    def test_json_on_a_terminal_cannot_steer_it_and_means_the_same(self):
        name = "a\u009b31m\u202eb"
        self.ath("key", "create", "c1", "--role", "client", "--display-name", name)
        shown = self.on_terminal("--json", "key", "show", "c1")
        self.assertNotIn("\u009b", shown)
        self.assertNotIn("\u202e", shown)
        self.assertEqual(json.loads(shown)["display"]["name"], name)
        self.assertEqual(self.on_terminal("key", "show", "c1", "--field", "display.name"), "a?31m?b\n")
        self.assertIn(name, self.ath("--json", "key", "show", "c1"))  # to a program: as it is

    def test_who_makes_a_key_is_told_what_is_waited_for(self):
        with Athd(software_tpm=False, arguments=["--hsm", "tpm:device=/nonexistent/tpm"]) as alone:
            process = subprocess.Popen([ATH, "key", "create", "k", "--role", "user"], stderr=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL,
                                       env={**os.environ, "ATH_AUTH_SOCK": alone.socket})
            try:
                readable, _, _ = select.select([process.stderr], [], [], 20)
                self.assertTrue(readable, "nothing was said in 20 s")
                self.assertRegex(process.stderr.readline(), rb"^Waiting for tpm, which is (absent|failed)")
            finally:
                process.kill()
                process.wait()
                process.stderr.close()

    def test_errors_have_their_exit_codes(self):
        self.assertIn("KEY_NOT_FOUND", self.fails(1, "key", "show", "nobody"))
        self.assertIn("INVALID_PARAMS", self.fails(64, "key", "show", "a/b"))
        self.assertIn("METHOD_NOT_FOUND", self.fails(1, "call", "no.such"))
        self.assertIn("HSM_NOT_FOUND", self.fails(69, "key", "create", "x", "--role", "user", "--hsm", "no"))
        error = json.loads(self.fails(1, "--json", "key", "show", "nobody"))
        self.assertEqual((error["code"], error["data"]["reason"]), (-32003, "KEY_NOT_FOUND"))

    def test_a_users_no_is_77(self):
        self.ath("key", "create", "no", "--role", "user")
        words = ("credential", "issue", "--key", "no", "--client", "did:ath:client_" + "A" * 43, "--scope",
                 "a:b", "--ttl", "1h")
        self.athd.answers(NO)
        try:
            self.assertIn("USER_DENIED", self.fails(77, *words))
        finally:
            self.athd.answers("OK")
        self.assertRegex(self.ath(*words), r"^ey[\w.-]+\n$")

    def test_export_prints_the_data_and_nothing_else(self):
        self.ath("key", "create", "pub", "--role", "server")
        pem = self.ath("key", "export", "pub")
        self.assertRegex(pem, r"^-----BEGIN PUBLIC KEY-----\n[\w+/=\n]+-----END PUBLIC KEY-----\n$")
        self.assertEqual(pem, self.athd.call("key.get", name="pub")["public_pem"])
        self.assertEqual(json.loads(self.ath("key", "export", "pub", "--format", "jwk"))["crv"], "P-256")
        self.assertIn("TSS2", self.ath("key", "export", "pub", "--format", "tss2"))

    def test_attestations_go_from_hand_to_hand(self):
        self.ath("key", "create", "att", "--role", "client", "--agent-id", "https://agents.example/att")
        jwt = self.ath("attest", "att", "--audience", "https://a.example", "--ttl", "1m")
        pem = os.path.join(self.athd.dir, "att.pem")
        with open(pem, "w", encoding="utf-8") as file:
            file.write(self.ath("key", "export", "att"))
        claims = self.ath("verify", "--audience", "https://a.example", "--public-key", "@" + pem, text=jwt)
        self.assertRegex(claims, r"(?m)^sub +https://agents.example/att$")
        self.assertIn("REPLAYED", self.fails(1, "verify", "-", "--audience", "https://a.example",
                                             "--public-key", "@" + pem, text=jwt))

    def test_call_takes_params_from_anywhere(self):
        path = os.path.join(self.athd.dir, "params.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write('{"client":\n "me"}\n')
        for words, text in ((("{}",), ""), (("@" + path,), ""), (("-",), '{"client":"me"}'), ((), "")):
            out = json.loads(self.ath("call", "agent.hello", *words, text=text))
            self.assertEqual(out["you"]["uid"], os.getuid())

    def test_events_are_lines(self):
        with subprocess.Popen([ATH, "--socket", self.athd.socket, "events", "key"],
                              stdout=subprocess.PIPE) as events:
            for attempt in range(100):  # nothing shows that the subscription has been made but its events
                self.athd.call("key.create", name=f"event{attempt}", role="user")
                if select.select([events.stdout], [], [], 0.1)[0]:
                    break
            event = json.loads(events.stdout.readline())
            events.terminate()
        self.assertEqual(event["topic"], "key")
        self.assertRegex(event["key"], "^event")

    def test_doctor_finds_a_software_tpm_and_is_content(self):
        run = ath("doctor", "--json", socket=self.athd.socket)
        found = {entry["what"]: entry for entry in json.loads(run.stdout)["findings"]}
        self.assertEqual(found["socket"]["state"], "ok")
        self.assertEqual(found["athd"]["state"], "ok")
        self.assertIn("software TPM", found["hsm"]["found"])

    def test_a_peers_name_is_kept(self):
        did = "did:ath:server_" + "B" * 43
        self.ath("peer", "pin", did, "--origin", "https://b.example", "--name", "bee")
        self.assertRegex(self.ath("peer", "list"), r"(?m)^bee +https://b.example +" + did)
        self.ath("peer", "remove", did)
        self.assertEqual(self.ath("peer", "list"), "")


class Doctor(unittest.TestCase):
    """What it says of a machine, and by its exit status."""

    @classmethod
    def setUpClass(cls):
        cls.athd = Athd()
        cls.addClassCleanup(cls.athd.__exit__)
        cls.athd.start()
        cls.athd.wait_for_hsm()
        cls.athd.call("key.create", name="agent", role="client", agent_id="https://agent.example/a.json")
        cls.programs = os.path.join(cls.athd.dir, "programs")  # a PATH with a pinentry
        os.mkdir(cls.programs)
        os.symlink("/bin/true", os.path.join(cls.programs, "pinentry"))

    def doctor(self, **environment):
        """Its findings by what they are about, and its exit status."""
        run = ath("doctor", "--json", socket=self.athd.socket,
                  **{"PATH": self.programs, "DISPLAY": ":0", "GPG_TTY": "", **environment})
        told = json.loads(run.stdout)
        self.assertEqual(told["ok"], run.returncode == 0, told)
        self.assertEqual(told["ok"], all(entry["state"] != "WRONG" for entry in told["findings"]), told)
        return {entry["what"]: entry for entry in told["findings"]}, run.returncode

    def test_without_a_pinentry_something_is_wrong(self):
        found, status = self.doctor(PATH=self.athd.dir)
        self.assertEqual((found["prompter"]["state"], status), ("WRONG", 1))
        self.assertIn("no pinentry in $PATH", found["prompter"]["found"])
        found, status = self.doctor()
        self.assertEqual((found["prompter"]["state"], status), ("ok", 0))

    def test_without_window_and_terminal_it_says_how_pinentry_learns_of_one(self):
        inherited = {name: os.environ.pop(name) for name in ("WAYLAND_DISPLAY", "DISPLAY") if name in os.environ}
        try:
            run = ath("doctor", socket=self.athd.socket, PATH=self.programs, GPG_TTY="")
        finally:
            os.environ.update(inherited)
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertIn(b"without a window system and without GPG_TTY", run.stdout)
        self.assertIn(b"export GPG_TTY=$(tty); ath consent environment", run.stdout)

    def test_a_socket_that_is_open_to_others_is_told(self):
        os.chmod(self.athd.socket, 0o666)
        try:
            run = ath("doctor", socket=self.athd.socket, PATH=self.programs, DISPLAY=":0")
        finally:
            os.chmod(self.athd.socket, 0o600)
        self.assertIn(b"is open to others (mode 666)", run.stdout)
        self.assertIn(b"chmod 600 it", run.stdout)

    def test_state_that_was_damaged_is_told_with_what_to_do(self):
        with Athd() as athd:
            athd.stop()
            path = os.path.join(athd.state, "keys", "bad.json")
            with open(path, "w", encoding="utf-8") as file:
                file.write("{")
            athd.start()
            run = ath("doctor", "--json", socket=athd.socket)
            state = [entry for entry in json.loads(run.stdout)["findings"] if entry["what"] == "state"]
            self.assertEqual((len(state), run.returncode), (1, 1), run.stdout)
            self.assertIn("bad.json", state[0]["found"])

    def test_a_frozen_key_says_what_unfreezes_it(self):
        for words, remedy in ((("agent",), "ath unfreeze agent"), (("--all",), "ath unfreeze --all")):
            self.assertEqual(ath("freeze", *words, socket=self.athd.socket).returncode, 0)
            run = ath("attest", "agent", "--audience", "https://a.example", socket=self.athd.socket)
            self.assertEqual(run.returncode, 77, run.stderr)
            self.assertIn(f"`{remedy}`".encode(), run.stderr)
            self.assertEqual(ath(*remedy.split()[1:], socket=self.athd.socket).returncode, 0)
        run = ath("freeze", socket=self.athd.socket)
        self.assertEqual(run.returncode, 64, run.stderr)
        self.assertIn(b"`ath freeze NAME`, or --all", run.stderr)

    def test_what_is_not_there_is_exit_status_1_and_said(self):
        for words, said in ((("explain", "999999"), b"athd has no record 999999, or none that you may see"),
                            (("consent", "answer", "nosuch", "--approve"), b"CONSENT_NOT_FOUND"),
                            (("consent", "forget", "nosuch"), b"CONSENT_NOT_FOUND"),
                            (("grant", "revoke", "nosuch"), b"GRANT_NOT_FOUND"),
                            (("grant", "create", "g", "--key", "nosuch"), b"KEY_NOT_FOUND"),
                            (("status", "--field", "nosuch"), b'the result has no member "nosuch"')):
            with self.subTest(words):
                run = ath(*words, socket=self.athd.socket)
                self.assertEqual((run.returncode, run.stdout), (1, b""), run.stderr)
                self.assertIn(said, run.stderr)
        run = ath("key", "create", "k", "--role", "user", "--hsm", "nosuch", socket=self.athd.socket)
        self.assertEqual(run.returncode, 69, run.stderr)
        self.assertIn(b"`ath status` lists those that are", run.stderr)


class OfAnotherHsm(unittest.TestCase):
    def test_keys_whose_hsm_is_no_longer_configured_are_told(self):
        with Athd() as athd:
            athd.call("key.create", name="k", role="client", agent_id="https://a.example/a")
            athd.stop()
            path = os.path.join(athd.state, "keys", "k.json")
            with open(path, encoding="utf-8") as file:
                text = file.read()
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.replace('"hsm": "swtpm"', '"hsm": "old"'))
            athd.start()
            athd.wait_for_hsm()
            run = ath("attest", "k", "--audience", "https://b.example", socket=athd.socket)
            self.assertEqual(run.returncode, 69)
            self.assertIn(b'key k is in the hsm "old"', run.stderr)
            run = ath("doctor", "--json", socket=athd.socket)
            keys = [entry for entry in json.loads(run.stdout)["findings"] if entry["what"] == "key"]
            self.assertEqual([(entry["state"], "k is in the hsm old" in entry["found"]) for entry in keys],
                             [("WRONG", True)])


class Handshake(unittest.TestCase):
    def setUp(self):
        self.scene = Scene(require_user_confirmation=True)
        self.scene.__enter__()
        self.addCleanup(self.scene.__exit__)
        self.me, self.app = self.scene.me, self.scene.app

    def run_handshake(self, *words, scopes="mail:read files:read"):
        return ath("handshake", "run", "--client", self.me.socket, "--server", self.app.socket, "--key",
                   "agent", "--service", "mail", "--scope", scopes, *words)

    def test_nine_steps_are_shown_and_lead_to_a_session(self):
        self.scene.issue(scopes=["mail:read", "files:read"])
        run = self.run_handshake("--context", "for a test")
        self.assertEqual(run.returncode, 0, run.stderr.decode())
        lines = run.stdout.decode().splitlines()
        self.assertEqual([line.split()[0] for line in lines[:9]], [str(n) for n in range(1, 10)])
        for step, key in ((2, "shop"), (3, "agent"), (5, "agent"), (6, "shop"), (7, "alice"), (9, "shop")):
            self.assertRegex(lines[step - 1], rf"signed with the [a-z]+'s key {key}, [0-9.]+ ms in its hardware$")
        out = run.stdout.decode()
        self.assertIn("granted  mail:read\n", out)
        self.assertIn("denied   files:read  (server_policy: the application does not give it to this agent)", out)
        self.assertIn("for a test", self.me.questions())

    def test_json_has_both_sides_and_the_steps(self):
        self.scene.issue(scopes=["mail:read", "files:read"])
        run = self.run_handshake("--json")
        self.assertEqual(run.returncode, 0, run.stderr.decode())
        result = json.loads(run.stdout)
        self.assertEqual(result["scopes"], ["mail:read"])
        self.assertEqual(result["server"]["account"], "alice")
        self.assertEqual([step["step"] for step in result["steps"]], list(range(1, 10)))
        self.assertTrue(all(step["hardware_us"] > 0 for step in result["steps"] if "signed_by" in step))
        mine, theirs = result["session"], result["server"]["session"]
        secret = bytes(range(256))
        sealed = ath("session", "seal", mine, socket=self.me.socket, text=secret)
        opened = ath("session", "open", theirs, socket=self.app.socket, text=sealed.stdout)
        self.assertEqual(opened.stdout, secret)
        answer = ath("session", "seal", theirs, "-", "--re", "0", socket=self.app.socket, text="yes")
        opened = ath("session", "open", mine, "--json", socket=self.me.socket, text=answer.stdout)
        self.assertEqual(json.loads(opened.stdout)["re"], 0)
        token = ath("session", "token", mine, socket=self.me.socket).stdout
        self.assertEqual(token.decode().strip(), result["access_token"])
        verified = ath("token", "verify", "--service", "mail", "--session", theirs, "--scope", "mail:read",
                       socket=self.app.socket, text=token)
        self.assertIn("mail:read", verified.stdout.decode())
        refused = ath("token", "verify", "--service", "mail", "--session", theirs, "--scope", "mail:send",
                      socket=self.app.socket, text=token)
        self.assertEqual(refused.returncode, 77)
        self.assertEqual(ath("session", "close", mine, socket=self.me.socket).returncode, 0)
        self.assertEqual(ath("session", "list", "--json", socket=self.me.socket).stdout, b'{"sessions":[]}\n')

    def test_the_user_may_be_on_another_machine(self):
        with Athd() as other:
            user = other.call("key.create", name="bob", role="user")
            self.scene.put_service(users={user["did"]: "bob"}, require_user_confirmation=True)
            run = self.run_handshake("--user", other.socket, "--user-key", "bob", "--json")
            self.assertEqual(run.returncode, 0, run.stderr.decode())
            self.assertEqual(json.loads(run.stdout)["user_did"], user["did"])
            self.assertEqual(other.questions().count("CONFIRM"), 2)  # the grant, and step 6
        self.assertEqual(self.me.questions(), "")

    def test_steps_are_carried_by_hand(self):
        self.scene.issue(scopes=["mail:read"])
        def side(athd):
            def run(*words, text=""):
                done = ath(*words, socket=athd.socket, text=text)
                self.assertEqual(done.returncode, 0, done.stderr.decode())
                return done.stdout
            return run

        me, app = side(self.me), side(self.app)
        started = json.loads(me("handshake", "start", "--key", "agent", "--server", self.scene.shop["did"],
                                "--scope", "mail:read", "--json"))
        accepted = json.loads(app("handshake", "accept", "mail", "--json", text=json.dumps(started["send"])))
        mine, theirs, message = started["handshake"], accepted["handshake"], json.dumps(accepted["send"])
        for party, handshake, member in ((me, mine, "send"), (app, theirs, "send"), (me, mine, "send"),
                                         (app, theirs, "confirm")):
            message = party("handshake", "receive", handshake, "--field", member, text=message)
        message = me("confirm", "--key", "alice", "--server", self.scene.shop["did"], text=message)
        message = app("handshake", "receive", theirs, "--field", "send", text=message)
        self.assertEqual([entry["type"] for entry in json.loads(message)],
                         ["scope_result", "handshake_complete"])
        result = me("handshake", "receive", mine, "--field", "result.scopes.0", text=message)
        self.assertEqual(result, b"mail:read\n")

    def test_a_message_that_is_refused_is_shown_once(self):
        self.scene.issue(scopes=["mail:read"])
        run = self.run_handshake("--origin", "https://other.example")
        self.assertEqual(run.returncode, 1)
        self.assertEqual(run.stdout.count(b"handshake_request"), 1)
        self.assertIn(b"At the application's side:", run.stderr)
        self.assertIn(b"https://other.example, which is neither", run.stderr)

    def test_what_an_application_cannot_mean_is_warned_of(self):
        run = ath("service", "put", "mail", "--key", "shop", "--scope", "mail:read", "--agent", "*=mail:raed",
                  "--user", self.scene.user["did"] + "=alice", socket=self.app.socket)
        self.assertEqual(run.returncode, 0)
        self.assertIn(b'agents["*"]: not all of its scopes', run.stdout)
        taken = ath("service", "put", "other", "--key", "shop", "--scope", "a", "--agent", "*=a", "--user",
                    "*=guest", socket=self.app.socket)
        self.assertIn(b"another service (mail)", taken.stderr)
        gone = ath("key", "delete", "shop", socket=self.app.socket)
        self.assertIn(b'the service "mail" serves nobody', gone.stdout)

    def test_a_grant_comes_from_a_file(self):
        path = os.path.join(self.me.dir, "grant")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.scene.issue(scopes=["mail:read"])["credential"] + "\n")
        run = self.run_handshake("--credential", "@" + path, "--json", scopes="mail:read mail:send")
        self.assertEqual(run.returncode, 0, run.stderr.decode())
        self.assertEqual(json.loads(run.stdout)["denied"], [{"scope": "mail:send", "reason": "user_grant"}])

    def test_refusals_say_who_and_why(self):
        self.assertIn("INVALID_CREDENTIAL", self.run_handshake().stderr.decode())
        self.scene.issue(scopes=["mail:read", "files:read"])
        run = self.run_handshake(scopes="files:read")
        self.assertEqual(run.returncode, 77)
        self.assertIn("SCOPE_NOT_APPROVED", run.stderr.decode())
        self.me.answers(NO)
        run = self.run_handshake("--json", scopes="mail:read")
        self.assertEqual(run.returncode, 77)
        self.assertEqual(json.loads(run.stderr)["data"]["reason"], "USER_DENIED")
        self.assertEqual(run.stdout, b"")
        run = ath("handshake", "run", "--client", self.me.socket, "--server", self.app.socket, "--key",
                  "agent", "--service", "no-such", "--scope", "mail:read")
        self.assertEqual(run.returncode, 64)
        for athd in (self.me, self.app):
            self.assertEqual(athd.call("agent.status")["handshakes"], 0)


if __name__ == "__main__":
    unittest.main()
