"""The README's programs do what the README says."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from peer.agent import BIN, Athd

SOURCE = os.path.abspath(os.environ.get("ATH_SOURCE", os.path.join(os.path.dirname(__file__), "..", "..")))


def example(language):
    with open(os.path.join(SOURCE, "README.md"), encoding="utf-8") as file:
        return re.search(f"```{language}\n(.*?)```", file.read(), re.S).group(1)


class Readme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.athd = Athd().__enter__()
        cls.athd.call("key.create", name="bot", role="client",
                      agent_id="https://bot.example/.well-known/agent.json")

    @classmethod
    def tearDownClass(cls):
        cls.athd.__exit__()

    def run_program(self, *command):
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False,
                             env={**os.environ, "ATH_AUTH_SOCK": self.athd.socket})
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertRegex(run.stdout, r"^ey[\w-]+\.ey[\w-]+\.[\w-]{86}\n$")

    def test_the_python_example_prints_an_attestation(self):
        self.run_program(sys.executable, "-c", example("python"))

    @unittest.skipUnless(shutil.which("node"), "no node here")
    def test_the_node_example_prints_an_attestation(self):
        self.run_program("node", "-e", example("js"))

    def test_the_audit_commands_work_as_they_stand(self):
        home = tempfile.mkdtemp(prefix="athd-test-")
        self.addCleanup(shutil.rmtree, home)
        os.symlink(self.athd.state, os.path.join(home, "ath"))  # as if athd ran with the usual directory
        os.symlink(os.path.join(SOURCE, "docs"), os.path.join(home, "docs"))
        run = subprocess.run(["sh", "-ec", example("sh")], capture_output=True, text=True, timeout=60, check=False,
                             cwd=home, env={**os.environ, "ATH_AUTH_SOCK": self.athd.socket, "XDG_STATE_HOME": home,
                                            "PATH": f"{BIN}:{os.environ['PATH']}"})
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertIn("attestation_issued", run.stdout)
        self.assertIn("all as they were written", run.stdout)
        self.assertIn("this is record 0 of", run.stdout)

    def test_the_examples_are_short(self):
        for language in ("python", "js"):
            self.assertLessEqual(len(example(language).strip().splitlines()), 12)


if __name__ == "__main__":
    unittest.main()
