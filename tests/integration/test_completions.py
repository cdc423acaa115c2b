"""What bash, zsh and fish offer behind `ath`: the files of packaging/completions, loaded by the shells themselves."""
import os
import shutil
import subprocess
import unittest

from peer.agent import BIN, Athd
from peer.shells import Shells
from peer.wire import Wire, request, wait_for

SHELLS = ("bash", "zsh", "fish")
SILENT = "# no answer"


class Completions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        missing = [shell for shell in SHELLS if shutil.which(shell) is None]
        if missing:
            raise AssertionError(f"not installed: {', '.join(missing)} (packages_test of tools/lib.sh)")
        cls.athd = Athd(says=SILENT)
        cls.addClassCleanup(cls.athd.__exit__)
        cls.athd.start()
        cls.athd.call("key.create", name="agent", role="client", agent_id="https://agent.example/a.json")
        cls.athd.call("key.create", name="alice", role="user")
        cls.athd.call("grant.create", name="helper", keys=["agent"])
        cls.shells = Shells(cls.athd.socket)
        cls.addClassCleanup(cls.shells.close)

    def each(self, line, *expected, exactly=True):
        """Every shell offers these, and nothing else."""
        for shell in SHELLS:
            with self.subTest(shell, line=line):
                offered = self.shells.offered(shell, line)
                if exactly:
                    self.assertEqual(offered, set(expected))
                else:
                    self.assertLessEqual(set(expected), offered)

    def commands(self):
        """As `ath --help` has them: noun and verb, or one word."""
        text = subprocess.run([os.path.join(BIN, "ath"), "--help"], capture_output=True, text=True, check=True,
                              timeout=60).stdout
        lines = text.split("commands:\n", 1)[1].split("\n\n", 1)[0].splitlines()
        return [line.strip().split("  ")[0].split() for line in lines if line.startswith("  ") and line[2] != " "]

    def test_commands_and_their_verbs_are_those_of_help(self):
        commands = self.commands()
        self.assertGreater(len(commands), 20)
        self.each("ath ", *{words[0] for words in commands})
        self.each("ath key ", *{words[1] for words in commands if words[0] == "key" and len(words) > 1})
        self.each("ath ke", "key")

    def test_flags_are_those_of_the_command(self):
        self.each("ath key create --al", "--algorithm")
        self.each("ath attest agent --", "--audience", "--ttl", "--json", "--help", exactly=False)
        self.each("ath key create --algorithm ", "ES256", "ES384", "EdDSA")
        self.each("ath audit export --format ", "jsonl", "journald", "otel", "tlog-tiles")

    def test_names_are_athds(self):
        for line in ("ath key show ", "ath key delete ", "ath attest ", "ath freeze ", "ath run --key "):
            self.each(line, "agent", "alice")
        self.each("ath key export al", "alice")
        self.each("ath key create --hsm ", "swtpm")
        self.each("ath run ", "helper")
        self.each("ath grant revoke ", "helper")

    def test_questions_that_wait_are_offered(self):
        with Wire(self.athd.socket) as wire:
            wire.send(request(1, "credential.issue", key="alice", client="did:web:agent.example", scopes=["a"], ttl=60))
            wait_for(lambda: self.athd.call("consent.list")["questions"])
            question = self.athd.call("consent.list")["questions"][0]["id"]
            self.each("ath consent answer ", question)

    def test_behind_run_it_is_another_commands_line(self):
        for shell, word in (("zsh", "--almost-all"), ("fish", "--almost-all")):  # bash: with bash-completion
            with self.subTest(shell):
                self.assertIn(word, self.shells.offered(shell, "ath run helper -- ls --al"))
                self.assertIn("env", self.shells.offered(shell, "ath run helper -- en"))

    def test_programs_and_files_are_offered_where_they_are_meant(self):
        self.each("ath consent --prompter pinentry-t", "pinentry-tty", exactly=False)
        for shell in ("bash", "fish"):  # zsh offers a path part by part
            self.assertEqual(self.shells.offered(shell, "ath --socket /etc/passw"), {"/etc/passwd"} | (
                {"/etc/passwd-"} if os.path.exists("/etc/passwd-") else set()))
        self.assertIn("passwd", self.shells.offered("zsh", "ath --socket /etc/passw"))

    def test_where_athd_is_not_there_nothing_is_offered_or_said(self):
        with_athd = self.shells.environment["ATH_AUTH_SOCK"]
        self.shells.environment["ATH_AUTH_SOCK"] = "/nosuch/socket"
        try:
            self.each("ath key show ")
        finally:
            self.shells.environment["ATH_AUTH_SOCK"] = with_athd


if __name__ == "__main__":
    unittest.main()
