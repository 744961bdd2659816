"""Stored records that do not decode: one of them stops nothing else, and none is thrown away.

usage: record_test.py BUILD_FOLDER

The databases of a stopped suite get garbage under keys that the services read at their start, at work and for calls.
"""

import os
import subprocess

import harness
from audit_test import Inner, Store, name, number, set_back
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
        self.wait_for_gauge(service, 1)

    def wait_for_gauge(self, service, number):
        wanted = f"\nweir_records_set_aside {number}\n"
        wait_for(lambda: wanted in self.suite.admin(service, "/metrics")[1], f"{wanted.strip()} of {service}")

    def assert_works(self, document="new"):
        self.assertEqual(state_name(self.ingest(document, f"Words of {document}.")), "READY")

    def test_deferred_work_that_a_start_cannot_read(self):
        key = b"d" + number(1) + name("ghost") + number(1) + number(1)
        self.damage("ingest", key)
        self.assert_works()
        self.assert_aside("ingest", key)

    def test_pages_of_what_is_unready_and_of_what_waits(self):
        for tag, between in ((b"V", b""), (b"P", b"\0" + name("default"))):
            with self.subTest(tag):
                self.damage("gateway", tag + between + number(1 << 40))
                self.assert_works(f"after-{tag.decode()}")
        kept = lambda: sorted(record.key[:1] for record in self.aside("gateway"))
        wait_for(lambda: kept() == [b"P", b"V"], "both to be set aside")

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

    # ---- vectors of the indexer ----

    def flip(self, indexer, document):
        """One byte of the vectors; returns (key, value) as they are now."""
        (key, value), = indexer.list(b"V" + number(1) + name(document)).items()
        value = value[:7] + bytes([value[7] ^ 1]) + value[8:]
        indexer.put(key, value)
        return key, value

    def assert_driven_again(self, document, aside):
        """The indexer serves, has set aside what is damaged, and the audit brings the document back."""
        self.suite.up()
        self.client = self.suite.client()
        self.assert_works()
        found = wait_for(lambda: self.ready_after_an_audit(document), f"{document} to be READY again", 60)
        self.assertEqual(found.run, 2)
        self.assertEqual([(record.key, record.value) for record in self.aside("indexer")], aside)
        self.wait_for_gauge("indexer", len(aside))
        hits = self.client.stubborn("Search", collection_id="notes", text="The mill wheel turns.", top_k=5).hits
        self.assertEqual([hit.document_id for hit in hits].count(document), 1)
        noted = self.client.ListInconsistencies(show_resolved=True).inconsistencies
        self.assertEqual([it.document_id for it in noted], [document])

    def ready_after_an_audit(self, document):
        try:
            self.client.call("RunAudit", deadline=30)
            found = self.client.call("GetDocument", collection_id="notes", document_id=document).document
            return found if state_name(found) == "READY" and found.run > 1 else None
        except harness.grpc.RpcError:
            return None

    def test_a_damaged_vector_of_a_ready_revision(self):
        self.ingest("a")
        self.suite.down()
        self.assert_driven_again("a", [self.flip(Store(self.suite, "indexer"), "a")])

    def unmake(self, indexer, document):
        """READY to staged, as if the gate had not been open."""
        set_back(Store(self.suite, "gateway"), document)
        key = b"D" + number(1) + name(document)
        register = harness.MESSAGES("weir.internal.v1.IndexDocumentRecord").FromString(indexer.list(key)[key])
        register.staged.add(revision=1, epoch=1, era=1, chunk_count=1, staged_count=1, token_count=7)
        for field in ("ready_revision", "ready_epoch", "ready_chunk_count", "ready_token_count", "ready_time_ms"):
            register.ClearField(field)
        indexer.put(key, register.SerializeToString())

    def test_a_damaged_vector_of_a_staged_try(self):
        self.ingest("a")
        self.suite.down()
        indexer = Store(self.suite, "indexer")
        self.unmake(indexer, "a")
        self.assert_driven_again("a", [self.flip(indexer, "a")])

    def test_a_missing_vector_of_a_staged_try(self):
        self.ingest("a")
        self.suite.down()
        indexer = Store(self.suite, "indexer")
        self.unmake(indexer, "a")
        indexer.delete(b"V" + number(1) + name("a"))
        self.assert_driven_again("a", [])

    # ---- registers and collections of the indexer ----

    def never_absent(self, *documents):
        """Searches find them all or say that something is lost, until they find them."""
        def found():
            try:
                hits = self.client.call("Search", collection_id="notes", text="The mill wheel turns.", top_k=9).hits
            except harness.grpc.RpcError as error:
                self.assertEqual(harness.Refusal(error).reason, "INDEX_REBUILDING")
                return False
            self.assertEqual(sorted(hit.document_id for hit in hits), sorted(documents))
            return True

        wait_for(found, f"{documents} to be found", 60)

    def test_a_register_of_the_indexer(self):
        self.ingest("a")
        self.ingest("b")
        key = b"D" + number(1) + name("a")
        self.damage("indexer", key)
        self.never_absent("a", "b")
        self.assert_aside("indexer", key)
        self.assertEqual(self.client.GetDocument(collection_id="notes", document_id="a").document.run, 2)

    def test_a_register_that_held_a_tombstone(self):
        self.ingest("a")
        self.ingest("b")
        self.client.DeleteDocument(collection_id="notes", document_id="a")
        key = b"D" + number(1) + name("a")
        self.damage("indexer", key)
        self.client.call("RunAudit", deadline=30)
        self.never_absent("b")
        self.assert_aside("indexer", key)
        self.suite.down()
        record, = Store(self.suite, "indexer").list(key).values()
        register = harness.MESSAGES("weir.internal.v1.IndexDocumentRecord").FromString(record)
        self.assertEqual(register.deleted_below, 2)

    def test_a_collection_of_the_indexer(self):
        self.ingest("a")
        self.ingest("b")
        self.damage("indexer", b"T" + number(1))
        self.never_absent("a", "b")
        self.assert_aside("indexer", b"T" + number(1))
        self.suite.down()
        self.suite.up()
        self.client = self.suite.client()
        self.never_absent("a", "b")

    def test_a_text_of_the_indexer(self):
        self.ingest("a")
        self.suite.down()
        key, = Store(self.suite, "indexer").list(b"K" + number(1) + name("a"))
        self.suite.up()
        self.damage("indexer", key)
        self.assertRaises(harness.grpc.RpcError, self.client.call, "Search", collection_id="notes", text="mill")
        found = wait_for(lambda: self.ready_after_an_audit("a"), "a to be READY again", 60)
        self.assertEqual(found.run, 2)
        self.assert_works()

    # ---- what the gateway can make again ----

    def test_an_entry_of_the_backlog_of_schema_1(self):
        key = b"B\0" + name("default") + number(1)
        self.damage("gateway", key)
        self.assert_works()
        self.assert_aside("gateway", key)

    def test_an_entry_of_what_is_not_over_of_schema_1(self):
        key = b"U" + number(1)
        self.damage("gateway", key)
        self.assert_works()
        self.assert_aside("gateway", key)

    def test_an_inconsistency(self):
        key = b"I" + number(1)
        self.damage("gateway", key)
        self.assert_works()
        self.assert_aside("gateway", key)

    def test_the_place_of_the_audit(self):
        self.client.call("RunAudit", deadline=30)
        self.damage("gateway", b"A")
        self.assert_works()
        self.assert_aside("gateway", b"A")

    # ---- what a service cannot do without ----

    def test_a_record_of_a_link_stops_a_service_which_says_what_to_do(self):
        self.suite.down()
        store = Store(self.suite, "ingest")
        store.put(min(store.list(b"c")), GARBAGE)
        with subprocess.Popen(
            [os.path.join(harness.BUILD, "bin", "weir-ingest"), "--data", self.suite.data, "--port-base",
             str(self.suite.base)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:
            said, _ = process.communicate(timeout=60)
        self.assertGreater(process.returncode, 0)
        self.assertIn("ingest is damaged; delete that folder and start again", said)

    # ---- custody ----

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
