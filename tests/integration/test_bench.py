"""ath-bench runs through, leaves nothing behind, and prints what it promises."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from peer.agent import BIN

RUN = {"rate", "p50_ms", "p99_ms", "count"}


class Bench(unittest.TestCase):
    def bench(self, *arguments, **environment):
        with tempfile.TemporaryDirectory() as directory:
            run = subprocess.run([os.path.join(BIN, "ath-bench"), *arguments], capture_output=True, text=True,
                                 check=False, env={**os.environ, "TMPDIR": directory, **environment})
            self.assertEqual(os.listdir(directory), [])
        return run

    def test_every_measurement_is_in_the_json(self):
        run = self.bench("--json", "--seconds", "0.05", "--rounds", "1")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        report = json.loads(run.stdout)
        self.assertEqual(list(report), ["signing", "reload", "handshake", "idle", "start", "policy", "prompts"])
        for name in ("library", "depth_1", "depth_8", "depth_64", "clients_4", "clients_16"):
            self.assertEqual(set(report["signing"][name]), RUN)
            self.assertGreater(report["signing"][name]["count"], 0)
        self.assertGreater(report["signing"]["ratio_depth_8"], 0.1)
        self.assertGreater(report["handshake"]["carriers_1"]["count"], 0)
        self.assertEqual(report["idle"]["connections"], 1000)
        self.assertGreater(report["idle"]["helper_mib"], 0)
        self.assertGreater(report["start"]["ready_ms"], 0)
        for name in ("rules_1_us", "rules_1000_us", "rules_1000_denied_us"):
            self.assertGreater(report["policy"][name], 0)
        for name in ("prompters", "attended"):
            for questions in ("0", "50"):
                self.assertEqual(set(report["prompts"][f"{name}_{questions}"]), RUN)
            self.assertGreater(report["prompts"][f"{name}_ratio_p99"], 0)

    def test_only_what_is_asked_for_is_measured(self):
        run = self.bench("--only", "start", "--json")
        self.assertEqual(list(json.loads(run.stdout)), ["start"])

    @unittest.skipUnless(shutil.which("softhsm2-util") and shutil.which("ssh-agent"), "no SoftHSM or no ssh-agent")
    def test_peers_are_measured_in_one_run_with_their_ratios(self):
        run = self.bench("--peers", "--json", "--seconds", "0.05", "--rounds", "2")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        report = json.loads(run.stdout)
        self.assertEqual(list(report), ["peers"])
        peers = report["peers"]
        for name in ("raw_1", "raw_2", "raw_1_verified", "raw_2_verified", "athd_depth_1", "athd_depth_8",
                     "athd_depth_64", "athd_clients_4", "ssh_agent_depth_1", "ssh_agent_depth_8",
                     "ssh_agent_clients_4"):
            self.assertEqual(set(peers[name]), RUN)
            self.assertGreater(peers[name]["count"], 0, name)
        for name in ("ratio_raw_2", "ratio_raw_2_verified", "ratio_ssh_agent_depth_1", "ratio_ssh_agent_depth_8",
                     "ratio_ssh_agent_clients_4"):
            self.assertGreater(peers[name], 0.01)

    @unittest.skipUnless(shutil.which("softhsm2-util"), "no SoftHSM here")
    def test_without_ssh_agent_the_rest_is_measured_and_it_is_said(self):
        run = self.bench("--peers", "--json", "--seconds", "0.02", "--rounds", "1", PATH="/nonexistent")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        peers = json.loads(run.stdout)["peers"]
        self.assertIn("openssh-client", peers["ssh_agent"])
        self.assertNotIn("ssh_agent_depth_1", peers)
        self.assertGreater(peers["athd_depth_8"]["count"], 0)

    def test_the_table_is_for_people(self):
        run = self.bench("--only", "start")
        self.assertIn("ready_ms", run.stdout)
        self.assertNotIn("{", run.stdout)

    def test_wrong_usage_is_64(self):
        for arguments in (["--only", "nothing"], ["--only", "start,nothing"], ["--seconds", "0"],
                          ["--rounds", "x"], ["--rounds"], ["more"]):
            self.assertEqual(self.bench(*arguments).returncode, 64, arguments)


if __name__ == "__main__":
    unittest.main()
