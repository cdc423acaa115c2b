"""Nine steps between two athds, each with a software TPM, and what must not disturb them."""
import base64
import json
import os
import signal
import threading
import time
import unittest

from peer.agent import Connection, Failed
from peer.client import Client
from peer.keys import Key
from peer.scene import NO, SCOPES, Scene
from peer.user import grant


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class SceneTest(unittest.TestCase):
    service = {}
    says = "OK"

    def setUp(self):
        self.scene = Scene(self.says, **self.service)
        self.scene.__enter__()
        self.addCleanup(self.end)

    def end(self):
        me, app = self.scene.me, self.scene.app
        try:
            for athd in (me, app):
                if athd.process:
                    status = athd.stop()
                    self.assertEqual(status, 0, athd.read_log())
                self.assertNotIn("Sanitizer", athd.read_log())
        finally:
            self.scene.__exit__()

    def refused(self, reason, call, *arguments, **parameters):
        with self.assertRaises(Failed) as caught:
            call(*arguments, **parameters)
        self.assertEqual(caught.exception.reason, reason, caught.exception.message)
        return caught.exception


class WithoutConfirmation(SceneTest):
    def test_nine_steps_end_in_a_session_on_both_sides(self):
        scene = self.scene
        scene.issue()
        mine, theirs = scene.run(scopes=["mail:read", "files:read"])
        self.assertEqual(mine["peer"]["did"], scene.shop["did"])
        self.assertEqual(theirs["peer"]["did"], scene.agent["did"])
        self.assertEqual(theirs["account"], "alice")
        for result in (mine, theirs):
            self.assertEqual(result["user_did"], scene.user["did"])
            self.assertEqual(result["scopes"], ["mail:read"])
            self.assertEqual(result["denied"], [{"scope": "files:read", "reason": "server_policy"}])
        self.assertNotIn("access_token", theirs)
        sealed = scene.me.call("session.seal", session=mine["session"], plaintext=b64u(b"hello"))
        opened = scene.app.call("session.open", session=theirs["session"], jwe=sealed["jwe"])
        self.assertEqual(opened["plaintext"], b64u(b"hello"))
        self.refused("REPLAYED", scene.app.call, "session.open", session=theirs["session"],
                     jwe=sealed["jwe"])
        answer = scene.app.call("session.seal", session=theirs["session"], plaintext="", re=opened["seq"])
        opened = scene.me.call("session.open", session=mine["session"], jwe=answer["jwe"])
        self.assertEqual((opened["plaintext"], opened["re"]), ("", 0))
        self.refused("DECRYPT_FAILED", scene.me.call, "session.open", session=mine["session"],
                     jwe=sealed["jwe"])

    def test_token_is_honoured_for_its_holder_only(self):
        scene, app = self.scene, self.scene.app
        scene.issue()
        mine, theirs = scene.run()
        other_mine, other_theirs = scene.run()
        token = scene.me.call("session.token", session=mine["session"])["access_token"]
        self.assertEqual(token, mine["access_token"])
        self.refused("INVALID_PARAMS", app.call, "session.token", session=theirs["session"])
        verify = {"service": "mail", "token": token}
        claims = app.call("token.verify", **verify, session=theirs["session"], scope="mail:read")["claims"]
        self.assertEqual((claims["sub"], claims["scope"]), (scene.agent["did"], "mail:read mail:send"))
        self.refused("INVALID_CREDENTIAL", app.call, "token.verify", **verify)
        self.refused("INVALID_CREDENTIAL", app.call, "token.verify", **verify,
                     session=other_theirs["session"])
        self.refused("SCOPE_NOT_APPROVED", app.call, "token.verify", **verify, session=theirs["session"],
                     scope="files:read")
        head, body, tail = token.split(".")
        forged = ".".join((head, body, ("A" if tail[0] != "A" else "B") + tail[1:]))
        self.refused("INVALID_SIGNATURE", app.call, "token.verify", service="mail", token=forged,
                     session=theirs["session"])
        scene.put_service(bearer=True)
        self.assertEqual(app.call("token.verify", **verify)["claims"], claims)
        scene.put_service(agents={"*": ["files:read"]})
        self.refused("SCOPE_NOT_APPROVED", app.call, "token.verify", **verify, session=theirs["session"],
                     scope="mail:read")

    def test_stored_grant_that_covers_most_is_used(self):
        scene = self.scene
        self.refused("INVALID_CREDENTIAL", scene.start)
        narrow = scene.issue(scopes=["mail:read"])
        wide = scene.issue(scopes=["mail:read", "mail:send", "files:read"])
        scene.issue(scopes=["files:write"])
        scene.issue(scopes=["mail:read", "mail:send"], audience=scene.agent["did"].replace("client", "server"))
        self.assertEqual(scene.until_m5()["user_authorization"]["credential"], wide["credential"])
        m5 = scene.until_m5(credential=narrow["credential"])
        self.assertEqual(m5["user_authorization"]["credential"], narrow["credential"])
        self.assertEqual(len(scene.me.call("credential.list")["credentials"]), 4)

    def test_message_that_comes_twice_is_answered_again_without_a_signature(self):
        scene = self.scene
        scene.issue()
        m1 = scene.start()
        m2 = scene.accept(m1)
        first = scene.server
        signatures = scene.app.signatures()
        self.assertEqual(scene.accept(m1), m2)
        self.assertEqual((scene.server, scene.app.signatures()), (first, signatures))
        m3 = scene.to_client(m2)
        signatures = scene.me.signatures()
        self.assertEqual(scene.to_client(m2), m3)
        self.assertEqual(scene.me.signatures(), signatures)
        m5 = scene.to_client(scene.to_server(m3["send"])["send"])["send"]
        last = scene.to_server(m5)
        signatures = scene.app.signatures()
        self.assertEqual(scene.to_server(m5), last)
        self.assertEqual(scene.app.signatures(), signatures)
        self.assertEqual(scene.app.call("handshake.get", handshake=scene.server)["send"], last["send"])
        scene.to_client(last["send"][0])
        done = scene.to_client(last["send"][1])
        self.assertEqual(scene.to_client(last["send"][1]), done)

    def test_messages_out_of_order_end_the_handshake(self):
        scene = self.scene
        scene.issue()
        m5 = scene.until_m5()
        self.refused("UNEXPECTED_MESSAGE", scene.to_client, m5)
        self.refused("UNEXPECTED_MESSAGE", scene.to_client, m5)
        self.assertEqual(scene.me.call("handshake.get", handshake=scene.client)["state"], "failed")
        self.refused("HANDSHAKE_NOT_FOUND", scene.me.call, "handshake.receive", handshake="x", message=m5)

    def test_message_as_text_is_held_to_the_limits_of_its_bytes(self):
        scene = self.scene
        scene.issue()
        text = json.dumps(scene.start())
        self.refused("INVALID_MESSAGE", scene.accept, text.replace("{", '{"nonce":"x",', 1))
        self.refused("INVALID_MESSAGE", scene.accept, "{" + " " * 65536 + text[1:])
        self.refused("INVALID_MESSAGE", scene.accept, "garbage")
        m2 = scene.accept(text)
        self.refused("INVALID_MESSAGE", scene.to_client, json.dumps(m2)[:-1] + ',"x":1e3}')
        self.refused("UNEXPECTED_MESSAGE", scene.to_client, m2)  # it has ended

    def test_strangers_get_nothing(self):
        scene = self.scene
        scene.issue()
        scene.put_service(agents={})
        m3 = scene.to_client(scene.accept(scene.start()))["send"]
        m4 = self.refused("UNKNOWN_PEER", scene.to_server, m3).data["send"]
        self.assertEqual((m4["type"], m4["success"]), ("identity_result", False))
        self.refused("UNKNOWN_PEER", scene.to_client, m4)
        scene.put_service(users={})
        m5 = scene.until_m5()
        self.refused("UNKNOWN_PEER", scene.to_server, m5)

    def test_nothing_in_common_is_an_answer_at_the_server_and_an_error_at_the_client(self):
        scene = self.scene
        scene.issue(scopes=["files:read"])
        last = scene.to_server(scene.until_m5(scopes=["files:read"]))
        self.assertEqual(last["state"], "failed")
        self.assertEqual(last["result"]["error"]["code"], "SCOPE_NOT_APPROVED")
        self.assertEqual(last["send"]["scopes_granted"], [])
        self.refused("SCOPE_NOT_APPROVED", scene.to_client, last["send"])
        record = scene.app.last_record("access_denied")
        self.assertEqual((record["denial_reason"], record["denied_scopes"], record["agent_id"]),
                         ("SCOPE_NOT_APPROVED", ["files:read"], scene.agent["did"]))

    def test_first_contact_asks_once_and_a_changed_key_is_never_taken_silently(self):
        scene, origin = self.scene, {"origin": "https://mail.example"}
        scene.issue()
        scene.run(server=origin)
        asked = scene.me.questions().count("Trust this application")
        self.assertEqual(asked, 1)
        scene.run(server=origin)
        self.assertEqual(scene.me.questions().count("Trust this application"), 1)
        self.assertEqual([p["origin"] for p in scene.me.call("peer.list")["peers"]], [origin["origin"]])
        scene.app.call("key.create", name="shop2", role="server")
        scene.put_service(key="shop2")
        m1 = scene.start(server=origin)
        self.assertEqual(m1["audience"], scene.shop["did"])
        self.refused("UNKNOWN_PEER", scene.accept, m1)
        m1["audience"] = origin["origin"]
        self.refused("PEER_KEY_CHANGED", scene.to_client, scene.accept(m1))

    def test_user_who_does_not_trust_a_server_pins_nothing(self):
        scene = self.scene
        scene.issue()
        scene.me.answers(NO)
        m2 = scene.accept(scene.start(server={"origin": "https://mail.example"}))
        self.refused("USER_DENIED", scene.to_client, m2)
        self.assertEqual(scene.me.call("peer.list")["peers"], [])

    def test_grant_is_made_on_the_way_for_the_server_that_answered(self):
        scene = self.scene
        mine, _ = scene.run(user_key="alice", ttl=120)
        stored = scene.me.call("credential.list")["credentials"]
        self.assertEqual([g["audience"] for g in stored], [[scene.shop["did"]]])
        self.assertEqual(mine["user_did"], scene.user["did"])

    def test_records_of_both_sides_join(self):
        scene = self.scene
        scene.issue()
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        scene.run(trace=trace)
        scene.me.stop()  # the last records are on disk then: nobody waited for them
        scene.app.stop()
        mine = scene.me.last_record("access_granted")
        theirs = scene.app.last_record("access_granted")
        self.assertEqual(mine["handshake"], theirs["handshake"])
        for record in (mine, theirs):
            self.assertEqual((record["agent_id"], record["user_id"], record["provider_id"]),
                             (scene.agent["did"], scene.user["did"], scene.shop["did"]))
            self.assertEqual(record["trace"], trace)
        purposes = [r["purpose"] for r in scene.app.audit() if r["event"] == "signature"]
        self.assertEqual(purposes, ["server-identity", "at+jwt"])
        self.assertTrue(all(r["trace"] == trace for r in scene.app.audit() if r["event"] == "signature"))

    def test_abort_and_deletion_end_what_is_under_way(self):
        scene = self.scene
        scene.issue()
        mine, theirs = scene.run()
        m5 = scene.until_m5()
        scene.me.call("handshake.abort", handshake=scene.client)
        self.refused("UNEXPECTED_MESSAGE", scene.to_client, m5)
        scene.app.call("service.delete", name="mail")
        with self.assertRaises(Failed):
            scene.to_server(m5)
        self.refused("SESSION_NOT_FOUND", scene.app.call, "session.seal", session=theirs["session"],
                     plaintext="")
        scene.me.call("session.close", session=mine["session"])
        self.refused("SESSION_NOT_FOUND", scene.me.call, "session.token", session=mine["session"])


class WithConfirmation(SceneTest):
    service = {"require_user_confirmation": True}

    def test_user_confirms_on_another_channel(self):
        scene = self.scene
        scene.issue()
        last = scene.to_server(scene.until_m5(context="to read \u202e mail"))
        self.assertEqual(last["state"], "confirm")
        self.assertNotIn("send", last)
        self.assertEqual(scene.app.call("handshake.get", handshake=scene.server)["state"], "confirm")
        m7 = scene.answer(last["confirm"])
        self.assertNotIn("\u202e", scene.me.questions())
        done = scene.to_server(m7)
        self.assertEqual([m["type"] for m in done["send"]], ["scope_result", "handshake_complete"])
        self.assertIn("confirmation", done["send"][0])
        scene.to_client(done["send"][0])
        self.assertEqual(scene.to_client(done["send"][1])["state"], "done")

    def test_the_users_no_is_an_m7_and_then_the_next_question_waits(self):
        scene = self.scene
        scene.issue()
        last = scene.to_server(scene.until_m5())
        scene.me.answers(NO)
        m7 = scene.answer(last["confirm"])
        self.assertEqual((m7["approved"], m7["approved_scopes"]), (False, []))
        end = scene.to_server(m7)
        self.assertEqual((end["state"], end["result"]["error"]["code"]), ("failed", "USER_DENIED"))
        self.refused("USER_DENIED", scene.to_client, end["send"])
        again = scene.to_server(scene.until_m5())
        self.assertEqual((again["state"], again["result"]["error"]["code"]), ("failed", "RATE_LIMITED"))
        self.refused("RATE_LIMITED", scene.to_client, again["send"])

    def test_m6_of_another_server_is_refused(self):
        scene = self.scene
        scene.issue()
        m6 = scene.to_server(scene.until_m5())["confirm"]
        self.refused("UNKNOWN_PEER", scene.me.call, "confirmation.answer", key="alice", message=m6,
                     server=scene.agent["did"].replace("client", "server"))
        changed = {**m6, "requested_scopes": ["mail:read", "files:read"]}
        with self.assertRaises(Failed):
            scene.answer(changed)
        self.refused("INVALID_PARAMS", scene.me.call, "confirmation.answer", key="agent", message=m6)

    def test_no_prompter_is_an_error_and_not_an_answer(self):
        scene = self.scene
        scene.issue()
        m6 = scene.to_server(scene.until_m5())["confirm"]
        os.remove(os.path.join(scene.me.dir, "prompter"))
        self.refused("NO_PROMPTER", scene.answer, m6)


class UnderLoad(SceneTest):
    def peer_client(self):
        user, key = Key(), Key()
        return Client(key, self.scene.shop["did"],
                      grant(user, key.did("client"), ["mail:read"], 600), ["mail:read"])

    def test_a_65th_half_open_handshake_of_one_source_is_told_to_come_again(self):
        scene = self.scene
        scene.put_service(agents={"*": SCOPES})
        for _ in range(64):
            self.assertEqual(scene.accept(self.peer_client().start(), source="192.0.2.1")["type"],
                             "handshake_response")
        client = self.peer_client()
        retry = scene.accept(client.start(), source="192.0.2.1")
        self.assertEqual((retry["type"], scene.server), ("handshake_retry", None))
        self.assertEqual(scene.accept(self.peer_client().start(), source="192.0.2.2")["type"],
                         "handshake_response")
        self.assertEqual(scene.accept(self.peer_client().start())["type"], "handshake_response")
        m1 = client.start(retry)
        self.refused("INVALID_MESSAGE", scene.accept, m1, source="192.0.2.2")
        self.assertIn(scene.accept(m1, source="192.0.2.1")["type"], ("handshake_retry",))
        self.refused("INVALID_MESSAGE", scene.accept, client.start(retry), source="192.0.2.1")

    def test_caller_that_leaves_in_the_middle_leaves_the_handshake_to_the_next(self):
        scene = self.scene
        scene.issue()
        for delay in range(30):
            m1 = scene.start()
            m2 = scene.accept(m1)
            connection = Connection(scene.me.socket)
            connection.lines.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "handshake.receive",
                                               "params": {"handshake": scene.client, "message": m2}}
                                              ).encode() + b"\n")
            connection.lines.flush()
            if delay % 3 == 1:
                scene.me.call("agent.status")
            connection.close()
            m3, deadline = None, time.monotonic() + 60
            while m3 is None:
                try:
                    m3 = scene.to_client(m2)["send"]
                except Failed as error:
                    self.assertEqual(error.reason, "HSM_BUSY", error.message)
                    self.assertLess(time.monotonic(), deadline)
            self.assertEqual(scene.to_server(m3)["send"]["success"], True)

    def test_two_requests_on_one_handshake_do_not_disturb_each_other(self):
        scene = self.scene
        scene.issue()
        m2 = scene.accept(scene.start())
        line = {"jsonrpc": "2.0", "method": "handshake.receive",
                "params": {"handshake": scene.client, "message": m2}}
        connection = Connection(scene.me.socket)
        for number in range(8):
            connection.lines.write(json.dumps({**line, "id": number}).encode() + b"\n")
        connection.lines.flush()
        answers = [json.loads(connection.lines.readline()) for _ in range(8)]
        connection.close()
        good = [a["result"] for a in answers if "result" in a]
        self.assertGreaterEqual(len(good), 1)
        self.assertTrue(all(a == good[0] for a in good))
        for answer in answers:
            if "error" in answer:
                self.assertEqual(answer["error"]["data"]["reason"], "HSM_BUSY")
        self.assertEqual(scene.to_server(good[0]["send"])["send"]["success"], True)

    def test_many_handshakes_at_once(self):
        scene = self.scene
        scene.issue()
        results, failures = [], []

        def one():
            try:
                me, app = Connection(scene.me.socket), Connection(scene.app.socket)
                started = me.call("handshake.start", key="agent", scopes=["mail:read"],
                                  server={"did": scene.shop["did"]})
                accepted = app.call("handshake.accept", service="mail", message=started["send"])
                message = accepted["send"]
                while message["type"] != "done":
                    answer = me.call("handshake.receive", handshake=started["handshake"], message=message)
                    answer = app.call("handshake.receive", handshake=accepted["handshake"],
                                      message=answer["send"])
                    message = answer["send"] if answer["state"] != "done" else {"type": "done"}
                for message in answer["send"]:
                    last = me.call("handshake.receive", handshake=started["handshake"], message=message)
                results.append((last["result"]["session"], answer["result"]["session"]))
                me.close()
                app.close()
            except Exception as error:  # reported by the main thread
                failures.append(error)

        threads = [threading.Thread(target=one) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(len({mine for mine, _ in results}), 16)


class AcrossRestarts(SceneTest):
    def test_everything_on_disk_is_whole_after_a_kill(self):
        scene = self.scene
        issued = scene.issue()
        scene.run(server={"origin": "https://mail.example"})
        attestation = scene.me.call("attestation.create", key="agent", audience="https://api.example")
        verify = {"jwt": attestation["jwt"], "audience": "https://api.example",
                  "public_key": scene.agent["public_jwk"]}
        self.assertEqual(scene.app.call("attestation.verify", **verify)["claims"]["jti"],
                         attestation["jti"])
        for athd in (scene.me, scene.app):
            athd.connection.close()
            athd.connection = None
            athd.process.send_signal(signal.SIGKILL)
            athd.process.wait()
            athd.log_seen = len(athd.read_log())
            athd.start()
        self.assertEqual(scene.me.call("key.get", name="agent")["did"], scene.agent["did"])
        self.assertEqual([g["jti"] for g in scene.me.call("credential.list")["credentials"]],
                         [issued["jti"]])
        self.assertEqual([p["origin"] for p in scene.me.call("peer.list")["peers"]],
                         ["https://mail.example"])
        self.assertEqual([s["name"] for s in scene.app.call("service.list")["services"]], ["mail"])
        self.refused("REPLAYED", scene.app.call, "attestation.verify", **verify)
        mine, _ = scene.run(server={"origin": "https://mail.example"})
        self.assertEqual(mine["scopes"], ["mail:read", "mail:send"])
        self.assertEqual(scene.me.questions().count("Trust this application"), 1)
        indexes = [record["index"] for record in scene.app.audit()]
        self.assertEqual(indexes, list(range(len(indexes))))


if __name__ == "__main__":
    unittest.main()
