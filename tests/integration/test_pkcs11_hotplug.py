"""A token that is taken out and put back: told at once, nobody else is disturbed, and all works again
when it is back, in whatever slot. ATH_TEST_CYCLES says how often, ATH_TEST_SEED makes the choices again."""
import os
import random
import threading
import time
import unittest

from peer.agent import BIN, Connection, Failed
from peer.seed import SEED
from peer.token_case import AGENT_ID, AUDIENCE, TokenTest, verified
from peer.wire import Wire, children, descriptors, memory, reason, request, wait_for

CYCLES = int(os.environ.get("ATH_TEST_CYCLES", "30"))
GONE = {"HSM_UNAVAILABLE"}
OTHER = {"KEY_NOT_FOUND", "HSM_ERROR", "HSM_UNAVAILABLE"}  # the key lies in another token


class HotPlug(TokenTest):
    module_leaks = True

    def setUp(self):
        self.token = self.new_token()
        self.athd = self.new_athd(self.token, query=self.token.pin_file(), software_tpm=True)
        self.info = self.create(self.athd)
        self.attest(self.athd)

    # ---- how a token goes and comes, as two kinds of modules show it ----

    def rename_out(self):
        """SoftHSM's own: handles go bad, C_GetTokenInfo fails, no code says that the token is gone."""
        self.token.remove()

    def rename_in(self):
        self.token.fault()
        self.token.insert()

    def card_out(self):
        """As with a reader: CKR_DEVICE_REMOVED, and a slot without a token."""
        self.token.fault("token away")

    def card_in_another_slot(self):
        self.token.fault("token slots 1000")


class Once(HotPlug):
    def gone_at_once(self):
        began = time.monotonic()
        failed = self.attest_refused("HSM_UNAVAILABLE", self.athd)
        self.assertLess(time.monotonic() - began, 60)
        self.assertTrue(failed.message)
        self.assertIn(self.athd.hsm()["state"], ("absent", "failed"))
        began = time.monotonic()
        for _ in range(5):
            self.attest_refused("HSM_UNAVAILABLE", self.athd)
        self.assertLess(time.monotonic() - began, 60)

    def back(self):
        self.assertLess(self.athd.wait_for_hsm("locked", "ready"), 60)
        self.assertEqual(self.attest(self.athd, pem=self.info["public_pem"])["sub"], AGENT_ID)

    def test_removal_is_told_at_once_and_it_works_when_it_is_back(self):
        for out, back in ((self.rename_out, self.rename_in), (self.card_out, self.rename_in),
                          (self.card_out, self.card_in_another_slot), (self.rename_out, self.rename_in)):
            with self.subTest(out.__name__ + ", " + back.__name__):
                out()
                self.gone_at_once()
                back()
                self.back()

    def test_events_tell(self):
        with Wire(self.athd.socket) as wire:
            wire.ask(request(1, "events.subscribe", topics=["hsm"]))
            states = []

            def until(*wanted):
                while not set(wanted) & set(states):
                    event = wire.line()["params"]
                    if event["name"] == "pkcs11" and "state" in event:
                        states.append(event["state"])
            self.card_out()
            until("absent")  # though nobody asks anything of it
            states.clear()
            self.rename_in()
            until("locked", "ready")

    def test_keys_elsewhere_are_not_disturbed(self):
        self.athd.call("key.create", name="other", role="client", agent_id=AGENT_ID, hsm="swtpm")
        pem = self.athd.call("key.get", name="other")["public_pem"]
        self.rename_out()
        for _ in range(20):
            began = time.monotonic()
            self.attest(self.athd, key="other", pem=pem)
            self.assertLess(time.monotonic() - began, 60)
        self.assertEqual(self.athd.call("key.get", name="agent")["did"], self.info["did"])
        self.rename_in()
        self.back()

    def test_what_is_on_its_way_is_answered_at_once(self):
        self.token.fault("C_Sign wait")
        with Wire(self.athd.socket) as wire:
            wire.send(*(request(n, "attestation.create", key="agent", audience=AUDIENCE) for n in range(16)))
            wait_for(lambda: self.token.calls("C_Sign") > 0)
            began = time.monotonic()
            self.card_out()
            answers = wire.lines(16)
            self.assertLess(time.monotonic() - began, 60)
        for answer in answers:
            if "error" in answer:
                self.assertIn(reason(answer), GONE, answer)
            else:
                verified(answer["result"]["jwt"], self.info["public_pem"])
        self.rename_in()
        self.back()

    def test_another_token_of_the_same_name_is_not_taken_for_it(self):
        """A stranger's token with our label: no key of ours is in it, and our PIN is not given away twice."""
        self.rename_out()
        self.attest_refused("HSM_UNAVAILABLE", self.athd)
        self.token.initialize(self.token.label, self.token.pin)
        with self.assertRaises(Failed) as caught:
            for _ in range(3):
                self.attest(self.athd, pem=self.info["public_pem"])
        self.assertIn(caught.exception.reason, OTHER, caught.exception)
        for name in os.listdir(self.token.store):
            os.rename(os.path.join(self.token.store, name), os.path.join(self.token.dir, "stranger"))
        self.rename_in()
        deadline = time.monotonic() + 60
        while True:
            try:
                self.attest(self.athd, pem=self.info["public_pem"])
                break
            except Failed as failed:
                self.assertIn(failed.reason, OTHER)
                self.assertLess(time.monotonic(), deadline, self.athd.read_log())
            time.sleep(0.05)


class Load:
    """Threads that sign without pause; each good answer is verified, each error noted."""

    def __init__(self, athd, pem, threads=4):
        self.athd, self.pem = athd, pem
        self.signed, self.errors, self.wrong = 0, {}, []
        self.is_over = False
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self):
        connection = Connection(self.athd.socket)
        try:
            while not self.is_over:
                try:
                    jwt = connection.call("attestation.create", key="agent", audience=AUDIENCE)["jwt"]
                    verified(jwt, self.pem)
                    self.signed += 1
                except Failed as failed:
                    self.errors[failed.reason] = self.errors.get(failed.reason, 0) + 1
                    time.sleep(0.005)
        except BaseException as error:  # reported by the test
            self.wrong.append(repr(error))
        finally:
            connection.close()

    def end(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(60)


class Cycles(HotPlug):
    def cycle(self, load, choices):
        out, back = choices.choice([(self.rename_out, self.rename_in), (self.card_out, self.rename_in),
                                    (self.card_out, self.card_in_another_slot)])
        gone = load.errors.get("HSM_UNAVAILABLE", 0)
        out()
        wait_for(lambda: load.errors.get("HSM_UNAVAILABLE", 0) > gone or load.wrong)
        signed = load.signed
        back()
        wait_for(lambda: load.signed > signed + 3 or load.wrong)

    def usage(self):
        """athd's descriptors and memory, between two loads; and it has its two helpers, no more."""
        wait_for(lambda: len(children(self.athd.process.pid)) == 2)
        pid = self.athd.process.pid
        return descriptors(pid), memory(pid)

    def under_load(self, cycles, choices):
        load = Load(self.athd, self.info["public_pem"])
        try:
            for _ in range(cycles):
                self.cycle(load, choices)
                self.assertEqual(load.wrong, [])
        finally:
            load.end()
        self.assertEqual(load.wrong, [])
        self.assertLessEqual(set(load.errors), GONE, load.errors)
        return load

    def test_removed_and_inserted_under_load_without_a_wrong_answer_or_a_leak(self):
        print(f"seed {SEED}, {CYCLES} cycles")
        choices = random.Random(SEED)
        self.under_load(10, choices)
        first, began = self.usage(), time.monotonic()
        load = self.under_load(CYCLES, choices)
        wait_for(lambda: self.usage()[0] <= first[0])  # a file may be open for a moment
        last = self.usage()
        print(f"{load.signed} signatures, {load.errors}, {time.monotonic() - began:.0f} s; "
              f"descriptors {first[0]} to {last[0]}, memory {first[1] >> 10} to {last[1] >> 10} KiB")
        if not self.is_sanitized():  # its allocator keeps what was freed
            self.assertLess(last[1] - first[1], 2 << 20)
        self.assertEqual(set(self.token.logins()), {0})
        self.attest(self.athd, pem=self.info["public_pem"])

    def is_sanitized(self):
        with open(os.path.join(BIN, "athd"), "rb") as file:
            return b"libasan" in file.read()


if __name__ == "__main__":
    unittest.main()
