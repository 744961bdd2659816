"""The path of a document through the real programs: every RPC of this version, seen by a client."""

import base64
import os
import re
import signal
import threading
import time
import uuid

import grpc

import harness
from harness import MESSAGES, MODEL, PATIENCE, SuiteTest, outcome_name, stage_name, state_name, wait_for

REPOSITORY = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
PUBLIC = [path for path in MESSAGES.methods if path.startswith("/weir.v1.")]
LONG = "\n\n".join(
    f"Paragraph {number} speaks of barrel{number}, wheel{number} and river{number}. " * 12 for number in range(40)
)


class PathTest(SuiteTest):
    def test_an_accepted_document_becomes_searchable(self):
        name = self.collection()
        answer = self.ingest(name, "mill", "The mill wheel turns in the brook.", wait=0)
        self.assertEqual(outcome_name(answer), "CREATED")
        accepted = answer.document
        self.assertEqual((accepted.collection_id, accepted.document_id, accepted.revision), (name, "mill", 1))
        self.assertEqual(accepted.run, 1)
        self.assertTrue(accepted.consistency_token)

        document = self.client.WaitDocument(collection_id=name, document_id="mill").document
        self.assertEqual(state_name(document), "READY")
        self.assertTrue(document.terminal)
        self.assertEqual((document.revision, document.searchable_revision), (1, 1))
        self.assertEqual((document.chunk_count, document.embedded_chunk_count), (1, 1))
        self.assertGreater(document.token_count, 4)
        self.assertEqual(document.size_bytes, len("The mill wheel turns in the brook."))
        self.assertRegex(document.content_sha256, "^[0-9a-f]{64}$")
        self.assertEqual(document.media_type, "text/plain")
        self.assertGreaterEqual(document.ready_time.ToNanoseconds(), document.create_time.ToNanoseconds())
        self.assertFalse(document.HasField("error"))

        self.ready(name, "moon", "The moon rises over the sea tonight.")
        hits = self.client.Search(
            collection_id=name, text="mill wheel", min_consistency_token=document.consistency_token
        )
        self.assertEqual(hits.hits[0].document_id, "mill")
        self.assertEqual(hits.hits[0].text, "The mill wheel turns in the brook.")
        self.assertEqual(hits.hits[0].chunk_id, "mill@1#0")
        self.assertTrue(hits.consistency_satisfied)
        self.assertTrue(hits.complete)
        self.assertEqual(hits.unready_count, 0)

    def test_what_was_given_comes_back(self):
        name = self.collection()
        metadata = {
            "author": {"string_value": "A. Miller"},
            "year": {"number_value": 1999.5},
            "draft": {"bool_value": True},
            "tags": {"string_list": {"values": ["a", "b"]}},
        }
        self.ready(name, "d/1 ä", "Words of a document.", filename="dir/ä.txt", metadata=metadata)
        document = self.get(name, "d/1 ä")
        self.assertEqual(document.filename, "dir/ä.txt")
        self.assertEqual(document.metadata["author"].string_value, "A. Miller")
        self.assertEqual(document.metadata["year"].number_value, 1999.5)
        self.assertTrue(document.metadata["draft"].bool_value)
        self.assertEqual(list(document.metadata["tags"].string_list.values), ["a", "b"])
        hit = self.hits(name, "d/1 ä")[0]
        self.assertEqual(hit.metadata["author"].string_value, "A. Miller")

    def test_an_empty_id_is_made_by_the_server(self):
        document = self.ready(self.collection(), "", "A document without a name.")
        self.assertEqual(uuid.UUID(document.document_id).version, 7)

    def test_markdown_gives_title_and_headings(self):
        name = self.collection(chunking={"max_tokens": 48})
        intro = "Intro words about mills of all kinds. " * 5
        text = f"# Mills\n\n{intro}\n\n## Water mills\n\n" + "The wheel turns by **water** only. " * 5
        self.assertEqual(self.ready(name, "md", text, media_type="text/markdown").media_type, "text/markdown")
        found = [hit for hit in self.hits(name, "md") if "wheel turns" in hit.text]
        self.assertGreaterEqual(len(found), 1)
        self.assertEqual(found[0].title, "Mills")
        self.assertEqual(list(found[0].heading_path), ["Mills", "Water mills"])
        self.assertNotIn("**", found[0].text)

    def test_html_is_read_for_its_text(self):
        name = self.collection()
        page = (
            b"<!DOCTYPE html><html><head><title>Sea &amp; moon</title><style>p{}</style></head>"
            b"<body><h1>Tides</h1><p>The tide follows the moon.</p><script>var x=1</script></body></html>"
        )
        self.assertEqual(self.ready(name, "page", page, filename="tides.html").media_type, "text/html")
        hits = self.hits(name, "page")
        self.assertEqual(hits[0].title, "Sea & moon")
        text = " ".join(hit.text for hit in hits)
        self.assertIn("The tide follows the moon.", text)
        self.assertNotIn("var x", text)

    def test_bytes_are_taken_as_text_when_they_are(self):
        document = self.ready(self.collection(), "bytes", "Plain bytes, größer.".encode())
        self.assertEqual(document.media_type, "text/plain")

    def test_a_long_document_is_cut_and_covered(self):
        name = self.collection(chunking={"max_tokens": 64})
        document = self.ready(name, "long", LONG)
        self.assertGreater(document.chunk_count, 50)
        chunks, token = [], ""
        while True:
            page = self.client.ListChunks(collection_id=name, document_id="long", page_size=20, page_token=token)
            self.assertLessEqual(len(page.chunks), 20)
            chunks += page.chunks
            token = page.next_page_token
            if not token:
                break
        self.assertEqual([chunk.ordinal for chunk in chunks], list(range(document.chunk_count)))
        self.assertEqual(chunks[0].start_byte, 0)
        for chunk, after in zip(chunks, chunks[1:]):
            self.assertLessEqual(chunk.token_count, 64)
            self.assertLess(chunk.start_byte, after.start_byte)
            # Nothing but white space may lie between two chunks.
            self.assertLessEqual(after.start_byte - chunk.end_byte, 2)
        hits = self.hits(name, "long")
        self.assertEqual(sorted(hit.ordinal for hit in hits), list(range(document.chunk_count)))
        best = self.client.Search(collection_id=name, text=chunks[7].text, top_k=1).hits[0]
        self.assertEqual((best.ordinal, best.text), (7, chunks[7].text))
        self.assertGreater(best.score, 0.99)

    def test_search_by_vector_ranks_and_bounds(self):
        name = self.collection()
        for number in range(12):
            self.ready(name, f"d{number}", f"word{number} stands alone here")
        hits = self.hits(name, top_k=5)
        self.assertEqual(len(hits), 5)
        self.assertEqual([hit.score for hit in hits], sorted((hit.score for hit in hits), reverse=True))
        self.assertEqual(len(self.hits(name)), 12)
        self.assertEqual({hit.document_id for hit in self.hits(name, "d7")}, {"d7"})
        self.assertEqual(self.hits(name, "nobody"), [])
        self.assertEqual(self.hits(name, min_score=1.0), [])
        self.assertEqual({hit.text for hit in self.hits(name, omit_text=True)}, {""})

    def test_lists_are_in_order_and_in_pages(self):
        name = self.collection()
        ids = [f"doc-{number:03}" for number in range(25)]
        for document in reversed(ids):
            self.ingest(name, document, f"text of {document}", wait=0)
        self.client.WaitCollection(collection_id=name)
        pages, token = [], ""
        while True:
            page = self.client.ListDocuments(collection_id=name, page_size=10, page_token=token)
            pages.append([document.document_id for document in page.documents])
            token = page.next_page_token
            if not token:
                break
        self.assertEqual([len(page) for page in pages], [10, 10, 5])
        self.assertEqual(sum(pages, []), ids)
        ready = self.client.ListDocuments(collection_id=name, states=["DOCUMENT_STATE_READY"], page_size=1000)
        self.assertEqual(len(ready.documents), 25)
        failed = self.client.ListDocuments(collection_id=name, states=["DOCUMENT_STATE_FAILED"])
        self.assertEqual(len(failed.documents), 0)


class ChangeTest(SuiteTest):
    def test_a_replacement_is_never_both_and_never_none(self):
        name = self.collection()
        self.ready(name, "d", "text of revision 1")
        failures, seen, over = [], [], threading.Event()

        def search():
            client = self.suite.client()
            while not over.is_set():
                answer = client.Search(
                    collection_id=name, vector={"values": [1.0] * 384}, filter='document_id = "d"', exact=True
                )
                found = [(hit.revision, hit.text) for hit in answer.hits]
                seen.append(found[0][0] if found else 0)
                if len(found) != 1 or found[0][1] != f"text of revision {found[0][0]}":
                    failures.append(found)

        searchers = [threading.Thread(target=search) for _ in range(2)]
        for searcher in searchers:
            searcher.start()
        for revision in range(2, 22):
            answer = self.ingest(name, "d", f"text of revision {revision}")
            self.assertEqual(outcome_name(answer), "REPLACED")
            self.assertEqual(answer.document.revision, revision)
            self.assertEqual(state_name(answer.document), "READY")
            self.assertEqual([hit.revision for hit in self.hits(name, "d")], [revision])
        over.set()
        for searcher in searchers:
            searcher.join(PATIENCE)
        self.assertEqual(failures, [])
        self.assertGreater(len(set(seen)), 3)
        self.assertEqual(state_name(self.get(name, "d", revision=3)), "SUPERSEDED")

    def test_the_older_revision_serves_until_the_newer_is_ready(self):
        name = self.collection()
        self.ready(name, "d", "the older text")
        self.suite.signal("embedder", signal.SIGSTOP)
        try:
            self.ingest(name, "d", "the newer text", wait=0)
            newest = self.client.WaitDocument(collection_id=name, document_id="d", timeout=0.3).document
            self.assertFalse(newest.terminal)
            self.assertEqual((newest.revision, newest.searchable_revision), (2, 1))
            self.assertIn(state_name(newest), ("PENDING", "PROCESSING"))
            self.assertEqual([hit.text for hit in self.hits(name, "d")], ["the older text"])
            answer = wait_for(lambda: self.search_in_time(name, newest.consistency_token), "an answer in time")
            self.assertFalse(answer.consistency_satisfied)
            self.assertEqual(answer.unready_count, 1)
            self.assertEqual(self.pressure(name).pending + self.pressure(name).processing, 1)
        finally:
            self.suite.signal("embedder", signal.SIGCONT)
        document = self.client.WaitDocument(collection_id=name, document_id="d").document
        self.assertEqual((state_name(document), document.searchable_revision), ("READY", 2))
        self.assertEqual([hit.text for hit in self.hits(name, "d")], ["the newer text"])

    def search_in_time(self, name, token):
        """The server answers a little before the deadline; None when that was too late for the client."""
        try:
            return self.client.Search(
                collection_id=name, vector={"values": [1.0] * 384}, deadline=2, min_consistency_token=token
            )
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
            return None

    def test_the_same_content_makes_no_revision_unless_forced(self):
        name = self.collection()
        self.ready(name, "d", "the same words")
        again = self.ingest(name, "d", "the same words")
        self.assertEqual((outcome_name(again), again.document.revision), ("UNCHANGED", 1))
        forced = self.ingest(name, "d", "the same words", force=True)
        self.assertEqual((outcome_name(forced), forced.document.revision), ("REPLACED", 2))
        other = self.ingest(name, "d", "the same words", metadata={"k": {"string_value": "v"}})
        self.assertEqual((outcome_name(other), other.document.revision), ("REPLACED", 3))

    def test_a_request_id_is_answered_once(self):
        name = self.collection()
        first = self.ingest(name, "d", "first words", request_id="r1")
        again = self.ingest(name, "d", "first words", request_id="r1")
        self.assertEqual((outcome_name(first), outcome_name(again)), ("CREATED", "REPEATED"))
        self.assertEqual(again.document.revision, 1)
        self.assert_refused(
            "ALREADY_EXISTS", "REQUEST_ID_CONFLICT", self.ingest, name, "d", "other words", request_id="r1"
        )
        self.assertEqual(self.get(name, "d").revision, 1)
        self.ready(name, "d", "second words", request_id="r2")
        again = self.ingest(name, "d", "first words", request_id="r1")
        self.assertEqual((outcome_name(again), again.document.revision), ("REPEATED", 1))
        self.assertEqual(state_name(again.document), "SUPERSEDED")

    def test_a_request_id_holds_for_documents_named_by_the_server(self):
        name = self.collection()
        first = self.ingest(name, "", "nameless", request_id="r")
        again = self.ingest(name, "", "nameless", request_id="r")
        self.assertEqual(outcome_name(again), "REPEATED")
        self.assertEqual(again.document.document_id, first.document.document_id)

    def test_a_late_source_version_is_aborted(self):
        name = self.collection()
        self.ready(name, "d", "version seven", source_version=7)
        for late in (7, 3):
            self.assert_refused(
                "ABORTED", "SOURCE_VERSION_NOT_GREATER", self.ingest, name, "d", "late", source_version=late
            )
        self.assertEqual(self.ready(name, "d", "version eight", source_version=8).revision, 2)

    def test_a_delete_is_final(self):
        name = self.collection()
        self.ready(name, "d", "words that go away")
        deleted = self.client.DeleteDocument(collection_id=name, document_id="d").document
        self.assertEqual((state_name(deleted), deleted.revision), ("DELETED", 2))
        self.assertTrue(deleted.HasField("delete_time"))
        self.assertEqual(self.hits(name), [])
        self.assertEqual(state_name(self.get(name, "d")), "DELETED")
        self.assertEqual(len(self.client.ListDocuments(collection_id=name).documents), 0)
        shown = self.client.ListDocuments(collection_id=name, show_deleted=True).documents
        self.assertEqual([state_name(document) for document in shown], ["DELETED"])
        again = self.client.DeleteDocument(collection_id=name, document_id="d").document
        self.assertEqual((state_name(again), again.revision), ("DELETED", 2))
        anew = self.ingest(name, "d", "words that go away")
        self.assertEqual((outcome_name(anew), anew.document.revision), ("CREATED", 3))
        self.assertEqual([hit.revision for hit in self.hits(name)], [3])

    def test_a_missing_document_is_not_found(self):
        name = self.collection()
        missing = {"collection_id": name, "document_id": "never"}
        for call in (self.client.GetDocument, self.client.DeleteDocument, self.client.WaitDocument,
                     self.client.RetryDocument, self.client.ListChunks):
            self.assert_refused("NOT_FOUND", "DOCUMENT_NOT_FOUND", call, **missing)
        answer = self.client.DeleteDocument(allow_missing=True, **missing)
        self.assertFalse(answer.HasField("document"))
        self.ready(name, "d", "text")
        self.assert_refused(
            "NOT_FOUND", "DOCUMENT_NOT_FOUND", self.client.GetDocument, collection_id=name, document_id="d", revision=9
        )

    def test_a_delete_without_the_indexer_is_unavailable_and_still_arrives(self):
        name = self.collection()
        self.ready(name, "d", "words")
        self.suite.signal("indexer", signal.SIGSTOP)
        try:
            refusal = self.refusal(self.client.DeleteDocument, collection_id=name, document_id="d", deadline=1)
            self.assertIn(refusal.code, ("UNAVAILABLE", "DEADLINE_EXCEEDED"))
            # Nobody is told of it before it is so for searches, too.
            for call in (self.client.GetDocument, self.client.WaitDocument):
                refusal = self.refusal(call, collection_id=name, document_id="d", deadline=1)
                self.assertIn(refusal.code, ("UNAVAILABLE", "DEADLINE_EXCEEDED"))
        finally:
            self.suite.signal("indexer", signal.SIGCONT)
        wait_for(lambda: state_name(self.get(name, "d")) == "DELETED", "the delete")
        self.assertEqual(self.hits(name), [])

    def test_a_document_deleted_on_its_way_never_shows(self):
        name = self.collection()
        for number in range(30):
            self.ingest(name, f"d{number}", f"fleeting words {number}", wait=0)
            document = self.client.DeleteDocument(collection_id=name, document_id=f"d{number}").document
            self.assertEqual(state_name(document), "DELETED")
        answer = self.client.WaitCollection(collection_id=name)
        self.assertTrue(answer.settled)
        self.assertEqual((answer.ready, answer.failed, answer.deleted), (0, 0, 60))
        self.assertEqual(self.hits(name), [])


class FailureTest(SuiteTest):
    def fail(self, name, document="bad"):
        answer = self.ingest(name, document, b"<html><body><script>1</script></body></html>", media_type="text/html")
        self.assertEqual(state_name(answer.document), "FAILED", answer.document)
        return answer.document

    def letters(self, name):
        return list(self.client.ListDeadLetters(collection_id=name).dead_letters)

    def test_a_document_without_text_fails_with_a_dead_letter(self):
        name = self.collection()
        document = self.fail(name)
        self.assertTrue(document.terminal)
        self.assertEqual((document.error.reason, stage_name(document.error.stage)), ("EMPTY", "CHUNK"))
        self.assertTrue(document.error.message)
        self.assertEqual(document.searchable_revision, 0)
        letters = wait_for(lambda: self.letters(name), "the dead letter")
        self.assertEqual(len(letters), 1)
        letter = self.client.GetDeadLetter(dead_letter_id=letters[0].dead_letter_id).dead_letter
        self.assertEqual((letter.collection_id, letter.document_id, letter.revision, letter.run), (name, "bad", 1, 1))
        self.assertEqual(letter.failure.reason, "EMPTY")
        self.assertEqual(letter.content_sha256, document.content_sha256)
        self.assertEqual(letter.size_bytes, document.size_bytes)
        self.assertGreaterEqual(len(letter.attempts), 1)
        wait_for(lambda: self.pressure().dead_letters >= 1, "the count of dead letters")
        self.assert_refused(
            "NOT_FOUND", "DEAD_LETTER_NOT_FOUND", self.client.GetDeadLetter, dead_letter_id="nothing"
        )

    def test_blank_text_is_empty_too(self):
        answer = self.ingest(self.collection(), "blank", " \n\t \n")
        self.assertEqual(state_name(answer.document), "FAILED")
        self.assertEqual(answer.document.error.reason, "EMPTY")

    def test_only_failed_revisions_are_retried(self):
        name = self.collection()
        self.ready(name, "good", "good words")
        self.assert_refused(
            "FAILED_PRECONDITION", "STATE_NOT_RETRYABLE", self.client.RetryDocument,
            collection_id=name, document_id="good",
        )
        self.fail(name)
        document = self.client.RetryDocument(collection_id=name, document_id="bad").document
        self.assertEqual((document.revision, document.run), (1, 2))
        document = self.client.WaitDocument(collection_id=name, document_id="bad").document
        self.assertEqual((state_name(document), document.run), ("FAILED", 2))
        wait_for(lambda: [letter.run for letter in self.letters(name)] == [2], "one dead letter, of run 2")

    def test_a_requeue_starts_a_new_run(self):
        name = self.collection()
        self.fail(name)
        letter = wait_for(lambda: self.letters(name), "the dead letter")[0]
        dry = self.client.RequeueDeadLetters(dead_letter_ids=[letter.dead_letter_id], dry_run=True)
        self.assertEqual(dry.requeued_count, 1)
        self.assertEqual(self.get(name, "bad").run, 1)
        answer = self.client.RequeueDeadLetters(dead_letter_ids=[letter.dead_letter_id, "nothing"])
        self.assertEqual(answer.requeued_count, 1)
        results = {result.dead_letter_id: result for result in answer.results}
        self.assertEqual(results[letter.dead_letter_id].run, 2)
        self.assertEqual(results["nothing"].status.code, grpc.StatusCode.NOT_FOUND.value[0])
        document = self.client.WaitDocument(collection_id=name, document_id="bad").document
        self.assertEqual((state_name(document), document.run), ("FAILED", 2))
        wait_for(lambda: [letter.run for letter in self.letters(name)] == [2], "one dead letter, of run 2")

    def test_a_failed_replacement_leaves_the_older_text_searchable(self):
        name = self.collection()
        self.ready(name, "bad", "the good old text")
        document = self.fail(name)
        self.assertEqual((document.revision, document.searchable_revision), (2, 1))
        self.assertEqual([hit.revision for hit in self.hits(name, "bad")], [1])

    def test_a_good_replacement_ends_the_dead_letter(self):
        name = self.collection()
        self.fail(name)
        wait_for(lambda: self.letters(name), "the dead letter")
        self.ready(name, "bad", "good text at last")
        wait_for(lambda: not self.letters(name), "the end of the dead letter")
        self.assertEqual(state_name(self.get(name, "bad", revision=1)), "SUPERSEDED")

    def test_dead_letters_come_in_pages(self):
        name = self.collection()
        for number in range(7):
            self.ingest(name, f"bad{number}", " ", wait=0)
        self.client.WaitCollection(collection_id=name)
        wait_for(lambda: len(self.letters(name)) == 7, "seven dead letters")
        seen, token = [], ""
        while True:
            page = self.client.ListDeadLetters(collection_id=name, page_size=3, page_token=token)
            seen.append([letter.document_id for letter in page.dead_letters])
            token = page.next_page_token
            if not token:
                break
        self.assertEqual([len(page) for page in seen], [3, 3, 1])
        self.assertEqual(sorted(sum(seen, [])), [f"bad{number}" for number in range(7)])


class FollowTest(SuiteTest):
    def follow(self, call, events, enough):
        for event in call:
            events.append(event)
            if enough(event):
                break
        call.cancel()

    def test_a_watch_follows_and_resumes(self):
        name = self.collection()
        call = self.client.WatchDocuments(collection_id=name, document_ids=["a"])
        call.initial_metadata()
        self.ready(name, "a", "first words")
        events = []
        self.follow(call, events, lambda event: state_name(event.document) == "READY")
        self.assertEqual({event.document.document_id for event in events}, {"a"})
        self.ready(name, "b", "another one")
        self.ready(name, "a", "second words")
        self.client.DeleteDocument(collection_id=name, document_id="a")
        resumed = self.client.WatchDocuments(
            collection_id=name, document_ids=["a"], resume_token=events[0].resume_token
        )
        rest = []
        self.follow(resumed, rest, lambda event: state_name(event.document) == "DELETED")
        everything = events[:1] + rest
        keys = [
            (event.document.revision, event.document.run, harness.RANK[state_name(event.document)])
            for event in everything
        ]
        ready = [event.document.revision for event in everything if state_name(event.document) == "READY"]
        self.assertEqual(ready, [1, 2])
        by_revision = {}
        for revision, run, rank in keys:
            self.assertGreaterEqual((run, rank), by_revision.get(revision, (0, 0)), keys)
            by_revision[revision] = (run, rank)
        self.assertEqual({event.document.document_id for event in rest}, {"a"})

    def test_a_watch_of_the_pressure_answers_at_once_and_at_intervals(self):
        name = self.collection()
        call = self.client.WatchPressure(collection_id=name, interval={"nanos": 150_000_000})
        times = [first.time.ToMilliseconds() for first in [next(call)]]
        self.ready(name, "a", "words that put pressure on")
        seen = wait_for(lambda: self.next_with(call, times, ready=1), "one READY document in the watch")
        self.assertEqual((seen.pending, seen.processing, len(seen.stages)), (0, 0, 4))
        while len(times) < 6:
            times.append(next(call).time.ToMilliseconds())
        self.assertGreaterEqual(times[-1] - times[0], 5 * 100, times)
        call.cancel()
        whole = next(self.client.WatchPressure())
        self.assertGreaterEqual(whole.pressure.ready, 1)

    @staticmethod
    def next_with(call, times, ready):
        answer = next(call)
        times.append(answer.time.ToMilliseconds())
        return answer.pressure if answer.pressure.ready == ready else None

    def test_a_watch_of_the_pressure_has_limits(self):
        for fields, code, reason in (
            ({"interval": {"nanos": 99_000_000}}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
            ({"interval": {"seconds": -1}}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
            ({"collection_id": "No Such"}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
            ({"collection_id": "none-such"}, "NOT_FOUND", "COLLECTION_NOT_FOUND"),
        ):
            with self.subTest(fields):
                request = self.client.request("WatchPressure", **fields)
                refusal = self.refusal(lambda: next(self.client.stream("WatchPressure", request)))
                self.assertEqual((refusal.code, refusal.reason), (code, reason), refusal)

    def test_a_watch_of_a_collection_sees_every_document(self):
        name = self.collection()
        call = self.client.WatchDocuments(collection_id=name)
        call.initial_metadata()
        for number in range(20):
            self.ingest(name, f"d{number}", f"words {number}", wait=0)
        ready = set()
        for event in call:
            if state_name(event.document) == "READY":
                ready.add(event.document.document_id)
            if len(ready) == 20:
                break
        call.cancel()
        self.assertEqual(len(ready), 20)

    def test_a_wait_ends_when_the_time_is_over(self):
        name = self.collection()
        self.suite.signal("ingest", signal.SIGSTOP)
        try:
            began = time.monotonic()
            answer = self.ingest(name, "d", "words", wait=0.4)
            self.assertFalse(answer.document.terminal)
            settled = self.client.WaitCollection(collection_id=name, timeout=0.3)
            self.assertFalse(settled.settled)
            self.assertEqual(settled.pending + settled.processing, 1)
            self.assertLess(time.monotonic() - began, PATIENCE / 2)  # the calls' own deadline is PATIENCE
        finally:
            self.suite.signal("ingest", signal.SIGCONT)
        settled = self.client.WaitCollection(
            collection_id=name, consistency_token=answer.document.consistency_token
        )
        self.assertTrue(settled.settled)
        self.assertEqual((settled.pending, settled.processing, settled.ready), (0, 0, 1))

    def test_a_stream_answers_each_item_in_order(self):
        name = self.collection()
        call_name = "IngestDocuments"
        items = [
            {"collection_id": name, "document_id": f"s{number}", "text": f"streamed words {number}"}
            for number in range(50)
        ]
        items[10] = {"collection_id": name, "document_id": "s10"}
        items[20] = {"collection_id": name, "document_id": "x" * 600, "text": "t"}
        requests = (
            self.client.request(call_name, request=item, correlation_id=f"c{number}")
            for number, item in enumerate(items)
        )
        answers = list(self.client.stream(call_name, requests))
        self.assertEqual([answer.correlation_id for answer in answers], [f"c{number}" for number in range(50)])
        refused = {number: answer.status for number, answer in enumerate(answers) if answer.HasField("status")}
        self.assertEqual(set(refused), {10, 20})
        for status, reason in ((refused[10], "BODY_EMPTY"), (refused[20], "INVALID_ARGUMENT")):
            self.assertEqual(status.code, grpc.StatusCode.INVALID_ARGUMENT.value[0])
            info = MESSAGES("google.rpc.ErrorInfo").FromString(status.details[0].value)
            self.assertEqual((info.reason, info.domain), (reason, "weir.dev"))
        settled = self.client.WaitCollection(collection_id=name)
        self.assertEqual((settled.settled, settled.ready), (True, 48))

    def test_pressure_counts_revisions(self):
        name = self.collection()
        for document in ("a", "b", "c"):
            self.ready(name, document, f"words of {document}")
        self.ready(name, "a", "newer words")
        self.client.DeleteDocument(collection_id=name, document_id="b")
        self.ingest(name, "e", " ")
        pressure = self.pressure(name)
        self.assertEqual((pressure.pending, pressure.processing), (0, 0))
        self.assertEqual((pressure.ready, pressure.failed, pressure.superseded, pressure.deleted), (2, 1, 1, 2))
        self.assertEqual(MESSAGES.enum_name("weir.v1.Admission", pressure.admission), "ADMISSION_ACCEPTING")
        self.assertFalse(pressure.HasField("oldest_unready_age"))
        whole = self.pressure()
        self.assertGreaterEqual(whole.ready, 2)
        self.assertEqual(
            [stage_name(stage.stage) for stage in whole.stages], ["ACCEPT", "CHUNK", "EMBED", "INDEX"]
        )


class CollectionTest(SuiteTest):
    def test_a_collection_has_its_defaults(self):
        name = self.collection()
        collection = self.client.GetCollection(collection_id=name).collection
        self.assertEqual((collection.collection_id, collection.embedding_model), (name, MODEL))
        self.assertEqual((collection.dimension, collection.metric, collection.language), (384, "cosine", "en"))
        self.assertEqual(MESSAGES.enum_name("weir.v1.CollectionState", collection.state), "COLLECTION_STATE_ACTIVE")
        self.assertEqual(MESSAGES.enum_name("weir.v1.SearchMode", collection.default_mode), "SEARCH_MODE_VECTOR")
        self.assertGreater(collection.chunking.max_tokens, 0)
        self.assertTrue(collection.etag)

    def test_a_collection_is_made_once(self):
        made = {"collection_id": f"once-{time.monotonic_ns()}", "embedding_model": MODEL}
        self.client.CreateCollection(collection=made, request_id="r")
        again = self.client.CreateCollection(collection=made, request_id="r")
        self.assertEqual(again.collection.collection_id, made["collection_id"])
        self.assert_refused("ALREADY_EXISTS", "COLLECTION_EXISTS", self.client.CreateCollection, collection=made)
        self.assert_refused(
            "ALREADY_EXISTS", "REQUEST_ID_CONFLICT", self.client.CreateCollection,
            collection={**made, "language": "de"}, request_id="r",
        )

    def test_collections_are_listed_in_pages(self):
        names = sorted(self.collection() for _ in range(5))
        seen, token = [], ""
        while True:
            page = self.client.ListCollections(page_size=2, page_token=token)
            self.assertLessEqual(len(page.collections), 2)
            seen += [collection.collection_id for collection in page.collections]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(seen, sorted(seen))
        self.assertTrue(set(names) <= set(seen))

    def test_counts_of_a_collection_follow(self):
        name = self.collection()
        self.ready(name, "a", "words")
        self.ready(name, "b", "more words")
        self.client.DeleteDocument(collection_id=name, document_id="a")
        collection = self.client.GetCollection(collection_id=name).collection
        self.assertEqual((collection.document_count, collection.chunk_count), (1, 1))

    def test_a_missing_collection_is_made_by_the_first_ingest(self):
        name = f"auto-{time.monotonic_ns()}"
        answer = self.ingest(name, "d", "words")
        self.assertTrue(answer.collection_created)
        self.assertEqual(state_name(answer.document), "READY")
        self.assertFalse(self.ingest(name, "e", "words").collection_created)
        self.assertEqual(self.client.GetCollection(collection_id=name).collection.embedding_model, MODEL)


class ServerTest(SuiteTest):
    def test_the_server_tells_about_itself(self):
        info = self.client.GetServerInfo()
        self.assertTrue(info.version)
        self.assertEqual(info.default_embedding_model, MODEL)
        self.assertTrue(info.auto_create_collections)
        self.assertFalse(info.authentication_required)
        for media_type in ("text/plain", "text/markdown", "text/html"):
            self.assertIn(media_type, info.media_types)
        self.assertEqual([service.name for service in info.services], list(harness.SERVICES))
        wait_for(
            lambda: all(service.serving for service in self.client.GetServerInfo().services), "five serving services"
        )
        self.assertEqual(info.limits.unary_body_bytes, 4 << 20)
        self.assertEqual((info.limits.page_size, info.limits.top_k), (1000, 1000))
        self.assertGreaterEqual(info.era, 1)

    def test_the_models_are_listed(self):
        models = {model.name: model for model in self.client.ListModels().models}
        self.assertIn(MODEL, models)
        self.assertEqual(models[MODEL].dimension, 384)
        wait_for(
            lambda: all(model.available for model in self.client.ListModels().models if model.name == MODEL),
            "the embedder's word on its model",
        )
        models = {model.name: model for model in self.client.ListModels().models}
        self.assertEqual([name for name, model in models.items() if model.is_default], [MODEL])
        self.assertTrue(models[MODEL].fingerprint)

    def answer_to_nothing(self, path):
        """The code of a call with an empty message, or a stream of none: OK once anything comes."""
        _, client_streaming, server_streaming = MESSAGES.methods[path]
        empty = self.client.request(path)
        try:
            answer = self.client.stub(path)(iter(()) if client_streaming else empty, timeout=PATIENCE)
            if server_streaming:
                next(answer, None)
                answer.cancel()
            return "OK"
        except grpc.RpcError as error:
            refusal = harness.Refusal(error)
            self.assertEqual(refusal.domain, "weir.dev", (path, refusal))
            return refusal.code

    def test_what_comes_later_is_unimplemented_and_the_readme_lists_it(self):
        codes = {path: self.answer_to_nothing(path) for path in PUBLIC}
        self.assertLessEqual(set(codes.values()), {"OK", "INVALID_ARGUMENT", "UNIMPLEMENTED"}, codes)
        with open(os.path.join(REPOSITORY, "README.md"), encoding="utf-8") as stream:
            section = re.search(r"## What answers UNIMPLEMENTED\n(.*?)\n## ", stream.read(), re.S).group(1)
        listed = re.findall(r"`([A-Z][A-Za-z]+)`", section)
        later = [path.split("/")[-1] for path, code in codes.items() if code == "UNIMPLEMENTED"]
        self.assertEqual(sorted(listed), sorted(later))

    def test_every_service_is_serving_and_reflects(self):
        for service in harness.SERVICES:
            client = self.suite.client(service)
            status = client.call("/grpc.health.v1.Health/Check")
            self.assertEqual(status.status, 1)
            stage = client.call("/weir.internal.v1.StageService/GetStageStatus")
            self.assertEqual(stage.service, service)
            for path in ("/livez", "/readyz"):
                self.assertEqual(self.suite.admin(service, path)[0], 200)
            code, text = self.suite.admin(service, "/metrics")
            self.assertEqual(code, 200)
            self.assertIn("weir_build_info", text)

    def test_the_callers_request_id_is_echoed(self):
        _, call = self.client.stub("GetServerInfo").with_call(
            self.client.request("GetServerInfo"), metadata=[("x-request-id", "my-id-1")], timeout=PATIENCE
        )
        self.assertEqual(dict(call.initial_metadata())["x-request-id"], "my-id-1")

    def test_a_search_right_after_a_start_is_answered(self):
        name = self.collection()
        self.ready(name, "d", "words of a document")
        for number in range(3):
            self.suite.restart()
            hits = self.client.call("Search", wait_for_ready=True, collection_id=name, text=f"words {number}").hits
            self.assertEqual([hit.document_id for hit in hits], ["d"])

    def test_a_restart_keeps_everything(self):
        name = self.collection()
        self.ready(name, "kept", "kept words")
        self.ready(name, "gone", "gone words")
        self.client.DeleteDocument(collection_id=name, document_id="gone")
        self.ingest(name, "bad", " ")
        before = self.pressure(name)
        era = self.client.GetServerInfo().era
        token = self.client.ListDocuments(collection_id=name, page_size=1).next_page_token
        self.suite.restart()
        self.assertEqual([hit.document_id for hit in self.hits(name)], ["kept"])
        self.assertEqual(state_name(self.get(name, "gone")), "DELETED")
        self.assertEqual(state_name(self.get(name, "bad")), "FAILED")
        after = self.pressure(name)
        for count in ("pending", "processing", "ready", "failed", "superseded", "deleted"):
            self.assertEqual(getattr(before, count), getattr(after, count), count)
        self.assertEqual(self.client.GetServerInfo().era, era)
        self.assertEqual(len(self.client.ListDocuments(collection_id=name, page_token=token).documents), 1)


class PressureTest(SuiteTest):
    settings = ("gateway.max_pending_documents=5", "gateway.stream_window=4")

    def test_one_call_is_refused_and_a_stream_is_held(self):
        name = self.collection()
        self.suite.signal("ingest", signal.SIGSTOP)
        try:
            for number in range(5):
                self.ingest(name, f"d{number}", f"words {number}", wait=0)
            refusal = self.assert_refused(
                "RESOURCE_EXHAUSTED", "PRESSURE", self.ingest, name, "d5", "one too many", wait=0
            )
            self.assertGreater(refusal.retry_s, 0)
            self.assertGreater(int(refusal.pushback_ms), 0)
            self.assert_refused(
                "NOT_FOUND", "DOCUMENT_NOT_FOUND", self.client.WaitDocument, collection_id=name, document_id="d5"
            )
            pressure = self.pressure()
            self.assertEqual(MESSAGES.enum_name("weir.v1.Admission", pressure.admission), "ADMISSION_REJECTING")
            requests = (
                self.client.request(
                    "IngestDocuments",
                    request={"collection_id": name, "document_id": f"s{number}", "text": f"held words {number}"},
                )
                for number in range(40)
            )
            stream = self.client.stream("IngestDocuments", requests, deadline=120)
        finally:
            self.suite.signal("ingest", signal.SIGCONT)
        answers = list(stream)
        self.assertEqual(len(answers), 40)
        self.assertEqual([answer for answer in answers if answer.HasField("status")], [])
        settled = self.client.WaitCollection(collection_id=name)
        self.assertEqual((settled.settled, settled.ready), (True, 45))


class JsonTest(SuiteTest):
    def post(self, name, body, **options):
        return self.suite.json(f"/weir.v1.{name}", body, **options)

    def test_the_path_of_a_document_in_json(self):
        name = f"json-{time.monotonic_ns()}"
        code, _, made = self.post(
            "CollectionService/CreateCollection",
            {"collection": {"collectionId": name, "embeddingModel": MODEL}},
        )
        self.assertEqual((code, made["collection"]["dimension"]), (200, 384))
        code, _, answer = self.post(
            "DocumentService/IngestDocument",
            {"collectionId": name, "documentId": "d", "text": "Der Müller mahlt.", "wait": "10s"},
        )
        self.assertEqual(code, 200, answer)
        self.assertEqual(answer["outcome"], "INGEST_OUTCOME_CREATED")
        self.assertEqual(answer["document"]["state"], "DOCUMENT_STATE_READY")
        self.assertEqual(answer["document"]["revision"], "1")
        code, headers, answer = self.post(
            "SearchService/Search", {"collectionId": name, "text": "Müller", "topK": 1}
        )
        self.assertEqual((code, answer["hits"][0]["text"]), (200, "Der Müller mahlt."))
        self.assertTrue(headers["content-type"].startswith("application/json"))
        code, _, answer = self.post("DocumentService/ListDocuments", {"collectionId": name})
        self.assertEqual((code, len(answer["documents"])), (200, 1))
        code, _, answer = self.post("SystemService/GetPressure", {})
        self.assertEqual(code, 200)
        code, _, answer = self.post("DocumentService/DeleteDocument", {"collectionId": name, "documentId": "d"})
        self.assertEqual((code, answer["document"]["state"]), (200, "DOCUMENT_STATE_DELETED"))

    def test_every_unary_method_answers_in_json_and_a_stream_says_where_to_go(self):
        for path in PUBLIC:
            with self.subTest(path):
                code, headers, answer = self.suite.json(path, {})
                self.assertTrue(headers["content-type"].startswith("application/json"))
                if any(MESSAGES.methods[path][1:]):
                    self.assertEqual((code, answer["code"]), (501, "unimplemented"))
                    self.assertIn("use gRPC", answer["message"])
                elif code == 501:
                    self.assertIn("does not have", answer["message"])
                elif code != 200:
                    self.assertEqual((code, answer["code"]), (400, "invalid_argument"), answer)
                    types = [detail["type"] for detail in answer["details"]]
                    self.assertEqual(types, ["google.rpc.ErrorInfo", "google.rpc.BadRequest"])

    def test_the_path_of_a_document_in_rest(self):
        name = f"rest-{time.monotonic_ns()}"
        base, rest = f"/v1/collections/{name}", self.suite.json
        self.client.CreateCollection(collection={"collection_id": name, "embedding_model": MODEL})
        code, _, answer = rest(f"{base}/documents/a/b%20c.md?request_id={name}", b"# Mills\n\nThey turn.", method="PUT",
                               headers={"Content-Type": "text/markdown"})
        self.assertEqual((code, answer.get("outcome")), (200, "INGEST_OUTCOME_CREATED"), answer)
        self.assertEqual((answer["document"]["documentId"], answer["document"]["filename"]), ("a/b c.md", "b c.md"))
        code, _, answer = rest(f"{base}/documents/a/b%20c.md?request_id={name}", b"# Mills\n\nThey turn.", method="PUT",
                               headers={"Content-Type": "text/markdown"})
        self.assertEqual((code, answer["outcome"]), (200, "INGEST_OUTCOME_REPEATED"))
        code, _, answer = rest(f"{base}/documents", {"documentId": "d", "text": "Rivers flow.", "wait": "10s"})
        self.assertEqual((code, answer["document"]["state"]), (200, "DOCUMENT_STATE_READY"))
        self.client.WaitDocument(collection_id=name, document_id="a/b c.md")
        code, _, answer = rest(f"{base}/documents/a%2Fb%20c.md", b"", method="GET")
        self.assertEqual((code, answer["document"]["mediaType"]), (200, "text/markdown"))
        code, _, answer = rest(f"{base}:search?q=they+turn&k=1", b"", method="GET")
        self.assertEqual((code, [hit["title"] for hit in answer["hits"]]), (200, ["Mills"]))
        code, _, answer = rest(f"{base}:search", {"text": "rivers flow", "topK": 1})
        self.assertEqual((code, [hit["documentId"] for hit in answer["hits"]]), (200, ["d"]))
        code, _, answer = rest(f"/v1/pressure?collection_id={name}", b"", method="GET")
        self.assertEqual((code, answer["pressure"]["ready"]), (200, "2"))
        code, _, answer = rest(f"{base}/documents/d", b"", method="DELETE")
        self.assertEqual((code, answer["document"]["state"]), (200, "DOCUMENT_STATE_DELETED"))

    def test_rest_refuses_what_it_does_not_know(self):
        for method, path, code, says in (
            ("GET", "/v1/collections/x:search?q=a&topK=3", 400, 'no parameter "topK"'),
            ("GET", "/v1/collections/x:search?q=a&k=many", 400, "k must be a number"),
            ("PUT", "/v1/collections/x/documents/d?wait=3s", 400, 'no parameter "wait"'),
            ("DELETE", "/v1/collections/x/documents/d?force", 400, 'no parameter "force"'),
            ("GET", "/v1/pressure?of=x", 400, 'no parameter "of"'),
            ("GET", "/v1/collections/x/documents", 404, "there are POST /v1/collections/{id}/documents"),
            ("GET", "/v1/nothing", 404, "GET /v1/pressure"),
        ):
            with self.subTest(path=path):
                status, _, answer = self.suite.json(path, b"", method=method)
                self.assertEqual(status, code, answer)
                self.assertIn(says, answer["message"])

    def test_failures_have_connects_shape(self):
        code, headers, answer = self.post(
            "DocumentService/GetDocument", {"collectionId": "nowhere", "documentId": "d"},
            headers={"x-request-id": "json-1"},
        )
        self.assertEqual((code, answer["code"]), (404, "not_found"))
        self.assertIn("nowhere", answer["message"])
        self.assertEqual(answer["details"][0]["type"], "google.rpc.ErrorInfo")
        info = MESSAGES("google.rpc.ErrorInfo").FromString(base64.b64decode(answer["details"][0]["value"] + "=="))
        self.assertEqual((info.reason, info.domain), ("COLLECTION_NOT_FOUND", "weir.dev"))
        self.assertEqual(info.metadata["request_id"], "json-1")
        self.assertEqual(headers["x-request-id"], "json-1")

    def test_other_ways_to_call_are_refused(self):
        path = "DocumentService/GetDocument"
        for kind in ("text/plain", "application/jsonl", "application/connect+json"):
            self.assertEqual(self.post(path, {}, headers={"Content-Type": kind})[0], 415, kind)
        self.assertEqual(self.post(path, {}, headers={"Content-Type": "application/JSON; charset=utf-8"})[0], 400)
        self.assertIn(self.post("DocumentService/Nothing", {})[0], (404, 501))
        self.assertIn(self.suite.json("/nothing", {})[0], (404, 501))
        code, headers, answer = self.post(path, {}, method="PUT")
        self.assertEqual((code, headers["allow"], answer["code"]), (405, "POST", "invalid_argument"))
        code, _, answer = self.post("SearchService/BatchSearch", {})
        self.assertEqual((code, answer["code"]), (501, "unimplemented"))


if __name__ == "__main__":
    harness.main()
