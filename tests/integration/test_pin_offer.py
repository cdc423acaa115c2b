"""PINs at a machine's athd: a person's own program offers a pinentry, and the helper talks with it."""
import json
import os
import re
import shutil
import tempfile
import unittest

from peer.agent import Athd
from peer.asker import Asker
from peer.pin_taker import Person
from peer.wire import is_running, reason, wait_for

ALICE, BOB = 12301, 12302
AGENT_ID = "https://agent.example/a.json"
AUDIENCE = "https://api.example"
SIGN = {"key": "agent", "audience": AUDIENCE}
CREATE = {"name": "agent", "role": "client", "agent_id": AGENT_ID, "pin": True}


class OfferTest(unittest.TestCase):
    system = True
    timeout = 60

    def setUp(self):
        self.athd = Athd(arguments=["--system"] if self.system else [])
        self.addCleanup(self.end)
        os.chmod(self.athd.dir, 0o755)
        self.athd.configure({**({"socket_mode": "0666"} if self.system else {}), "consent_timeout": self.timeout})
        self.athd.start()
        self.athd.wait_for_hsm()
        self.dir = tempfile.mkdtemp(prefix="pin-offer-")
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def end(self):
        try:
            if self.athd.process and self.athd.process.poll() is None:
                self.assertEqual(self.athd.stop(), 0, self.athd.read_log())
            self.assertIsNone(re.search(r"ERROR: \w+Sanitizer|runtime error:", self.athd.read_log()), self.athd.read_log())
        finally:
            self.athd.__exit__()

    def person(self, uid=ALICE, **more):
        person = Person(self.athd.socket, os.path.join(self.dir, str(uid)), uid=uid, **more)
        self.addCleanup(person.close)
        return person

    def asker(self, uid=ALICE, path=None):
        asker = Asker(path or self.athd.socket, uid=uid)
        self.addCleanup(asker.close)
        return asker

    def records(self, event):
        found = []
        with open(os.path.join(self.athd.state, "audit", "00000001.jsonl"), encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n") and (record := json.loads(line))["event"] == event:
                    found.append(record)
        return found

    def created(self, person, asker):
        """A key with the person's PIN."""
        asker.ask("key.create", **CREATE)
        taker = person.take(person.event("asked")["id"])
        self.assertEqual(person.answer_to(taker)["result"], {})
        answer = asker.answer()
        self.assertIs(answer["result"]["pin"], True)
        return answer["result"]


@unittest.skipUnless(os.geteuid() == 0, "only root can be several people")
class System(OfferTest):
    def test_new_pin_and_its_use_are_asked_at_the_pinentry_of_the_uid(self):
        person, asker = self.person(), self.asker()
        self.created(person, asker)
        self.assertEqual(person.told().count("GETPIN"), 2)
        self.assertIn("Choose a PIN", person.told())
        self.assertIn("Key: agent", person.told())
        wait_for(lambda: not any(map(is_running, person.pinentries())))
        self.athd.stop()
        self.athd.start()
        self.athd.wait_for_hsm()


if __name__ == "__main__":
    unittest.main()
