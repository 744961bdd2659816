"""A delete in every stage of a document: whatever is on its way, nothing of it shows afterwards.

usage: delete_test.py BUILD_FOLDER

A service is held with SIGSTOP, so that a revision stands in the stage before it while the delete comes.
"""

import signal
import time

import grpc

import harness
from harness import NO_ANSWER, state_name

HELD = ("ingest", "embedder", "indexer")
TEXT = "The {word} mill wheel turns in the water of the {word} weir."


class DeleteTest(harness.SuiteTest):
    def hold(self, service):
        self.suite.signal(service, signal.SIGSTOP)
        self.addCleanup(self.suite.signal, service, signal.SIGCONT)

    def let_go(self, service):
        self.suite.signal(service, signal.SIGCONT)

    def try_delete(self, name, document, deadline=3):
        """True: acknowledged; false: it may still arrive."""
        try:
            self.client.call("DeleteDocument", deadline=deadline, collection_id=name, document_id=document)
            return True
        except grpc.RpcError as error:
            self.assertIn(error.code(), NO_ANSWER)
            return False

    def settled(self, name):
        pressure = self.pressure(name)
        return pressure.pending + pressure.processing == 0

    def assert_gone_for_good(self, name, document):
        self.client.stubborn("DeleteDocument", collection_id=name, document_id=document)
        self.assertEqual(self.hits(name, document), [])
        harness.wait_for(lambda: self.settled(name), "the work that was under way to end")
        self.assertEqual(self.hits(name, document), [])
        self.assertEqual(self.hits(name), [])
        self.assertEqual(state_name(self.get(name, document)), "DELETED")

    def test_a_first_revision_on_its_way(self):
        for service in HELD:
            with self.subTest(service=service):
                name = self.collection()
                self.hold(service)
                self.ingest(name, "a", TEXT.format(word="first"), wait=0)
                # Only the indexer's tombstone makes a delete final, so without it there is no OK.
                acknowledged = self.try_delete(name, "a", 3 if service == "indexer" else harness.PATIENCE)
                self.assertEqual(acknowledged, service != "indexer")
                self.let_go(service)
                self.assert_gone_for_good(name, "a")

    def test_a_replacement_on_its_way_while_the_older_revision_serves(self):
        for service in HELD:
            with self.subTest(service=service):
                name = self.collection()
                self.ready(name, "a", TEXT.format(word="older"))
                self.hold(service)
                self.ingest(name, "a", TEXT.format(word="newer"), wait=0)
                self.try_delete(name, "a")
                self.let_go(service)
                self.assert_gone_for_good(name, "a")

    def test_a_document_whose_every_service_was_held_once(self):
        name = self.collection()
        for service in HELD:
            self.hold(service)
            self.ingest(name, "a", TEXT.format(word=service), wait=0)
            self.try_delete(name, "a")
            self.let_go(service)
        self.assert_gone_for_good(name, "a")
        self.ready(name, "a", TEXT.format(word="last"))
        self.assertEqual([hit.text for hit in self.hits(name)], [TEXT.format(word="last")])

    def test_a_failed_document_takes_its_dead_letter_along(self):
        name = self.collection()
        self.assertEqual(state_name(self.ingest(name, "a", "   ").document), "FAILED")
        harness.wait_for(lambda: self.letters(name), "the dead letter")
        self.client.DeleteDocument(collection_id=name, document_id="a")
        harness.wait_for(lambda: not self.letters(name), "the dead letter to go")

    def letters(self, name):
        return list(self.client.ListDeadLetters(collection_id=name).dead_letters)

    def test_deletes_and_ingests_in_turn_leave_the_last_word(self):
        name = self.collection()
        until = time.monotonic() + 2
        turns = 0
        while time.monotonic() < until or turns < 4:
            self.ingest(name, "a", TEXT.format(word=f"turn{turns}"), wait=0)
            self.client.DeleteDocument(collection_id=name, document_id="a")
            self.assertEqual(self.hits(name, "a"), [])
            turns += 1
        self.assert_gone_for_good(name, "a")


if __name__ == "__main__":
    harness.main()
