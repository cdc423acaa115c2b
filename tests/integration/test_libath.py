"""libath's typed calls against real athds: a C program that has nothing else (tests/support/programs/
libath_user.c) attests, shakes hands, talks in the session, has its token looked at, and is refused."""
import os
import subprocess
import unittest

from peer.agent import BIN
from peer.scene import Scene
from peer.token_case import verified

USER = os.path.join(os.path.dirname(BIN), "tests", "libath_user")
AUDIENCE = "https://mail.example"


class Libath(unittest.TestCase):
    def use(self, scene, server=None, user_key="alice"):
        return subprocess.run([USER, scene.me.socket, scene.app.socket, "agent", server or scene.shop["did"],
                               user_key], capture_output=True, text=True, timeout=300, check=False)

    def assert_all_was_as_declared(self, scene):
        used = self.use(scene)
        self.assertEqual((used.returncode, used.stderr), (0, ""),
                         f"{scene.me.read_log()}\n{scene.app.read_log()}")
        jwt, expires_at = used.stdout.split()
        claims = verified(jwt, scene.me.call("key.get", name="agent")["public_pem"])
        self.assertEqual((claims["aud"], claims["exp"]), (AUDIENCE, int(expires_at)))
        self.assertEqual(claims["exp"] - claims["iat"], 60)
        for athd in (scene.me, scene.app):
            self.assertEqual(athd.call("session.list")["sessions"], [])

    def test_typed_calls_do_what_their_header_says(self):
        with Scene() as scene:
            self.assert_all_was_as_declared(scene)

    def test_so_they_do_where_the_user_is_asked_to_confirm(self):
        with Scene(require_user_confirmation=True) as scene:
            self.assert_all_was_as_declared(scene)
            self.assertTrue(scene.me.last_record("confirmation_given"))

    def test_the_program_tells_what_is_not_as_expected(self):
        with Scene() as scene:
            used = self.use(scene, user_key="nobody")
            self.assertEqual(used.returncode, 1)
            self.assertRegex(used.stderr, "^not as expected: .*KEY_NOT_FOUND")


if __name__ == "__main__":
    unittest.main()
