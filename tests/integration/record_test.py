"""Stored records that do not decode: one of them stops nothing else, and none is thrown away.

usage: record_test.py BUILD_FOLDER

The databases of a stopped suite get garbage under keys that the services read at their start, at work and for calls.
"""

import subprocess

import harness
from audit_test import Inner, Store, name, number
from harness import WEIR, state_name, wait_for

GARBAGE = b"\xff\xff\xff no message"
SET_ASIDE = "/weir.internal.v1.StageService/ListSetAside"


class RecordTest(harness.OwnSuiteTest):
    def setUp(self):
        # The slow audit rests, so that a test sees what is there before it is mended.
        self.suite = self.own_suite(("audit.documents_per_second=0",))
        self.suite.up()
        self.client = self.suite.client()
        self.client.CreateCollection(collection={"collection_id": "notes", "embedding_model": harness.MODEL})

    def ingest(self, document, text="The mill wheel turns."):
        return self.client.stubborn(
            "IngestDocument", collection_id="notes", document_id=document, text=text, wait=harness.PATIENCE
        ).document

    def damage(self, service, key):
        self.suite.down()
        Store(self.suite, service).put(key, GARBAGE)
        self.suite.up()
        self.client = self.suite.client()

    def aside(self, service):
        client = Inner(self.suite, service)
        self.addCleanup(client.close)
        return list(client.stubborn(SET_ASIDE).records)

    def assert_aside(self, service, key):
        records = wait_for(lambda: self.aside(service), f"a record of {service} to be set aside")
        self.assertEqual([(record.key, record.value) for record in records], [(key, GARBAGE)])
        self.assertIn("does not decode", records[0].reason)
        _, page = self.suite.admin(service, "/metrics")
        self.assertIn("\nweir_records_set_aside 1\n", page)

    def assert_works(self, document="new"):
        self.assertEqual(state_name(self.ingest(document, f"Words of {document}.")), "READY")

    def test_deferred_work_that_a_start_cannot_read(self):
        key = b"d" + number(1) + name("ghost") + number(1) + number(1)
        self.damage("ingest", key)
        self.assert_works()
        self.assert_aside("ingest", key)

    def test_a_journal_that_an_event_cannot_be_added_to(self):
        self.ingest("a")
        self.suite.down()
        events = Store(self.suite, "reconciler").list(b"J" + number(1) + name("a"))
        self.suite.up()
        self.client = self.suite.client()
        self.damage("reconciler", max(events))
        self.client.stubborn("DeleteDocument", collection_id="notes", document_id="a")
        self.assert_works("a")
        self.assert_works()

    def test_a_dead_letter_comes_back_by_the_audit(self):
        self.assertEqual(state_name(self.ingest("bad", "  ")), "FAILED")
        wait_for(lambda: len(self.client.ListDeadLetters().dead_letters) == 1, "the dead letter")
        self.damage("reconciler", b"L" + name("default") + number(1) + name("bad") + number(1))
        self.assert_works()
        wait_for(self.letters_after_an_audit, "the dead letter to come back", 60)

    def letters_after_an_audit(self):
        try:
            self.client.call("RunAudit", deadline=30)
            return len(self.client.ListDeadLetters().dead_letters) == 1
        except harness.grpc.RpcError:
            return False

    def test_custody_stays_and_only_what_needs_it_is_refused(self):
        self.ingest("kept")
        self.ingest("other")
        self.suite.down()
        key = min(Store(self.suite, "gateway").list(b"D" + number(1) + name("kept")))
        self.suite.up()
        self.client = self.suite.client()
        self.damage("gateway", key)
        for call, fields in (("GetDocument", {}), ("DeleteDocument", {}), ("IngestDocument", {"text": "anew"})):
            with self.subTest(call):
                with self.assertRaises(harness.grpc.RpcError) as caught:
                    self.client.call(call, collection_id="notes", document_id="kept", **fields)
                self.assertEqual(caught.exception.code(), harness.grpc.StatusCode.DATA_LOSS)
        other = self.client.GetDocument(collection_id="notes", document_id="other").document
        self.assertEqual(state_name(other), "READY")
        self.assert_works()
        self.client.call("RunAudit", deadline=30)
        self.assertEqual(self.aside("gateway"), [])
        self.suite.down()
        self.assertEqual(Store(self.suite, "gateway").list(key), {key: GARBAGE})

    def test_the_doctor_names_what_was_set_aside(self):
        self.damage("embedder", b"d" + number(1) + name("ghost") + number(1) + number(1))
        self.assert_works()
        done = subprocess.run([WEIR, "doctor", "--data", self.suite.data, "--report", "-"], stdout=subprocess.PIPE,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("embedder: 1 stored records did not decode", done.stdout)


if __name__ == "__main__":
    harness.main()
