"""`ath run` on a terminal, under a shell with job control."""
import os
import pty
import select
import signal
import sys
import time
import unittest

from peer.run_case import WithAthd, environment


class Terminal(WithAthd):
    def setUp(self):
        super().setUp()
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.environ.clear()
            os.environ.update(environment(ATH_AUTH_SOCK=self.athd.socket, DIR=self.dir, PS1="prompt> ", TERM="dumb",
                                          HISTFILE=""))
            os.execvp("bash", ["bash", "--noprofile", "--norc", "-i"])
        self.addCleanup(self.end_shell)
        self.seen = ""
        self.expect("prompt> ")

    def end_shell(self):
        os.kill(self.child, signal.SIGKILL)
        os.close(self.terminal)
        os.waitpid(self.child, 0)

    def expect(self, text, seconds=60):
        """Reads until text has been seen, and forgets what came until then."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            if time.monotonic() > deadline:
                raise AssertionError(f"no {text!r} in {self.seen!r}")
            if select.select([self.terminal], [], [], 0.1)[0]:
                self.seen += os.read(self.terminal, 65536).decode(errors="replace")
        before, self.seen = self.seen.split(text, 1)
        return before

    def type(self, text):
        os.write(self.terminal, text.encode())

    def command(self, line):
        """Types a line, and reads its echo."""
        self.type(line + "\n")
        self.expect("\n")

    def test_ctrl_c_reaches_the_command_and_not_ath(self):
        self.command("\"$ATH\" run travel --key bot -- sh -c 'trap \"echo caught\" INT; echo rea''dy; while :; do read l "
                     "&& exit 5; done'")
        self.expect("ready")
        self.type("\x03")
        self.expect("caught")
        self.type("\n")
        self.expect("prompt> ")
        self.command("echo status=$?")
        self.expect("status=5")

    def test_ctrl_c_that_ends_the_command_ends_a_loop_of_the_shell_too(self):
        self.command("for i in 1 2 3; do \"$ATH\" run travel --key bot -- sh -c 'echo rea''dy; exec sleep 1000'; done")
        self.expect("ready")
        self.type("\x03")
        self.expect("prompt> ")
        self.command("echo status=$?")
        self.assertNotIn("ready", self.expect("status=130"))

    def test_ctrl_z_stops_both_and_fg_goes_on(self):
        self.command("\"$ATH\" run travel --key bot -- sh -c 'echo rea''dy; exec cat'")
        self.expect("ready")
        self.type("one\n")
        self.expect("one\r\none")
        self.type("\x1a")
        self.expect("Stopped")
        self.expect("prompt> ")
        self.assertIn("travel", self.grants())
        self.command("fg")
        self.expect("run travel")
        self.type("two\n")
        self.expect("two\r\ntwo")
        self.type("\x04")
        self.expect("prompt> ")
        self.command("echo status=$?")
        self.expect("status=0")

    def test_in_the_background_it_stops_when_it_reads_and_fg_lets_it(self):
        self.command('"$ATH" run travel --key bot -- cat & wait %1')
        self.expect("Stopped")
        self.expect("prompt> ")
        self.command("fg")
        self.expect("run travel")
        self.type("three\n")
        self.expect("three\r\nthree")
        self.type("\x04")
        self.expect("prompt> ")

    def test_a_shell_as_the_command_has_job_control_of_its_own(self):
        self.command('PS1="inner> " "$ATH" run travel --key bot -- bash --noprofile --norc -i')
        self.expect("inner> ")
        with open(self.path("waits.py"), "w", encoding="utf-8") as file:
            file.write("import signal\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\n"
                       "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT])  # it waits for us, not we for it\n"
                       "print('ready', flush=True)\nwhile True:\n    signal.sigwait([signal.SIGCONT])\n"
                       "    print('back', flush=True)\n")
        self.command(f"{sys.executable} $DIR/waits.py")
        self.expect("ready")
        self.type("\x1a")
        self.expect("Stopped")
        self.expect("inner> ")
        self.command("fg")
        self.expect("back")
        self.type("\x03")
        self.expect("inner> ")
        self.command("exit 6")
        self.expect("prompt> ")
        self.command("echo status=$?")
        self.expect("status=6")

    def test_behind_a_pipe_a_pager_keeps_the_terminal(self):
        self.command("\"$ATH\" run travel --key bot -- sh -c 'echo from inside; exec sleep 1000' | "
                     "sh -c 'read l; echo pa''ger; read k < /dev/tty; echo \"$l and $k\"'")
        self.expect("pager")
        self.type("typed\n")
        self.expect("from inside and typed")
        self.type("\x03")
        self.expect("prompt> ")


if __name__ == "__main__":
    unittest.main()
