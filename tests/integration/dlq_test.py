"""Dead letters as an operator meets them: what failed, why, the bytes, the way back and the way out."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import threading
import time

from harness import (
    MESSAGES, MODEL, PATIENCE, WEIR, OwnSuiteTest, SuiteTest, main, resident_kb, stage_name, state_name, wait_for
)

LETTERS = int(os.environ.get("WEIR_LETTERS", "2000"))
POISON = b"<html><body><script>1</script></body></html>"


def long_text(words):
    return " ".join(f"word{number} speaks of thing{number % 97}." for number in range(words))


class OperatorTest(SuiteTest):
    def poison(self, name, document, body=POISON, **fields):
        fields.setdefault("media_type", "text/html")
        answer = self.ingest(name, document, body, **fields)
        self.assertEqual(state_name(answer.document), "FAILED", answer.document)
        # The gateway knows of a failure a little before the dead letter is listed.
        wait_for(lambda: self.letter_of(answer.document), f"the dead letter of {document}")
        return answer.document

    def letter_of(self, document):
        letters = self.letters(document.collection_id, filter=f'document_id = "{document.document_id}"')
        return [letter for letter in letters if (letter.revision, letter.run) == (document.revision, document.run)]

    def letters(self, name="", **fields):
        found, token = [], ""
        while True:
            page = self.client.ListDeadLetters(collection_id=name, page_token=token, **fields)
            found += page.dead_letters
            token = page.next_page_token
            if not token:
                return found

    def download(self, name, document, **fields):
        header, body = None, b""
        for part in self.client.DownloadDocument(collection_id=name, document_id=document, **fields):
            if part.WhichOneof("part") == "header":
                self.assertIsNone(header)
                header = part.header
            else:
                self.assertIsNotNone(header)
                body += part.data
        return header, body

    def weir(self, *arguments, **options):
        environment = {**os.environ, "WEIR_ADDRESS": self.suite.grpc_address(), "NO_COLOR": "1"}
        return subprocess.run(
            [WEIR, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=120, check=False, env=environment, **options,
        )


class DlqTest(OperatorTest):
    # -- seen --

    def test_the_newest_failure_comes_first_and_filters_choose(self):
        name = self.collection()
        for number in range(5):
            self.poison(name, f"bad{number}")
        self.ready(name, "good", "good words")
        found = self.letters(name, page_size=2)
        self.assertEqual([letter.document_id for letter in found], [f"bad{number}" for number in (4, 3, 2, 1, 0)])
        times = [letter.last_failure_time.ToNanoseconds() for letter in found]
        self.assertEqual(times, sorted(times, reverse=True))
        middle = found[2].last_failure_time.ToJsonString()
        for text, count in (
            ('reason = "EMPTY"', 5), ('reason != "EMPTY"', 0), ("stage = CHUNK AND run = 1", 5), ("stage = EMBED", 0),
            ('document_id = "bad3"', 1), (f'last_failure_time >= "{middle}"', 3),
            (f'last_failure_time < "{middle}" AND reason = "EMPTY"', 2), ("run > 1", 0), ("*", 5),
        ):
            self.assertEqual(len(self.letters(name, filter=text)), count, text)
        self.assert_refused(
            "INVALID_ARGUMENT", "FILTER_INVALID", self.client.ListDeadLetters, collection_id=name,
            filter='reason = "EMPTY" OR run = 1', field="filter", says="at byte 17",
        )

    def test_a_summary_counts_by_stage_and_reason(self):
        name = self.collection()
        self.poison(name, "a")
        self.poison(name, "b")
        answer = self.client.SummarizeDeadLetters(collection_id=name)
        self.assertEqual(len(answer.summaries), 1)
        group = answer.summaries[0]
        self.assertEqual((group.reason, stage_name(group.stage), group.count), ("EMPTY", "CHUNK", 2))
        oldest = self.client.GetDeadLetter(dead_letter_id=group.sample_dead_letter_id).dead_letter
        self.assertEqual(oldest.document_id, "a")
        self.assertEqual(oldest.last_failure_time, group.oldest_time)
        self.assertEqual(len(self.client.SummarizeDeadLetters(collection_id=name, filter="stage = EMBED").summaries), 0)
        self.assertEqual(self.pressure(name).dead_letters, 2)
        other = self.collection()
        self.assertEqual(self.pressure(other).dead_letters, 0)

    def test_the_bytes_are_those_that_were_submitted(self):
        name = self.collection()
        body = POISON + b"\n<!--" + os.urandom(1500000).hex().encode() + b"-->"
        self.poison(name, "bad", body)
        letter = wait_for(lambda: self.letters(name), "the dead letter")[0]
        header, got = self.download(name, "bad")
        self.assertEqual(hashlib.sha256(got).hexdigest(), letter.content_sha256)
        self.assertEqual(got, body)
        self.assertEqual((header.size_bytes, header.document.state), (len(body), 4))
        self.assertEqual(header.media_type, "text/html")
        shown = self.weir("cat", "bad", "-c", name)
        self.assertEqual((shown.returncode, shown.stdout), (0, body))
        self.assert_refused(
            "UNIMPLEMENTED", "UNIMPLEMENTED", self.client.DownloadDocument, collection_id=name, document_id="bad",
            content="DOCUMENT_CONTENT_NORMALIZED_TEXT",
        )
        self.client.DeleteDocument(collection_id=name, document_id="bad")
        self.assert_refused(
            "NOT_FOUND", "DOCUMENT_NOT_FOUND", self.client.DownloadDocument, collection_id=name, document_id="bad",
            says="not kept",
        )
        self.assertEqual(self.weir("cat", "bad", "-c", name).returncode, 3)

    # -- the way back --

    def test_a_requeue_by_filter_meets_each_once(self):
        name = self.collection()
        for number in range(7):
            self.poison(name, f"bad{number}")
        dry = self.client.RequeueDeadLetters(collection_id=name, dry_run=True)
        self.assertEqual((dry.requeued_count, dry.more), (7, False))
        self.assertEqual({result.run for result in dry.results}, {2})
        seen, token = [], ""
        while True:  # they fail again at once, and are not met again
            answer = self.client.RequeueDeadLetters(collection_id=name, page_size=3, page_token=token)
            seen += [result.document_id for result in answer.results]
            self.client.WaitCollection(collection_id=name)
            token = answer.next_page_token
            self.assertEqual(answer.more, bool(token))
            if not token:
                break
        self.assertEqual(sorted(seen), [f"bad{number}" for number in range(7)])
        wait_for(lambda: [letter.run for letter in self.letters(name)] == [2] * 7, "the second failures")

    def test_a_requeue_is_done_once_by_a_hundred_at_the_same_time(self):
        name = self.collection()
        self.poison(name, "bad")
        letter = wait_for(lambda: self.letters(name), "the dead letter")[0].dead_letter_id
        answers = []

        def call():
            answers.append(self.client.RequeueDeadLetters(dead_letter_ids=[letter], request_id="once"))

        threads = [threading.Thread(target=call) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({answer.results[0].run for answer in answers}, {2})
        self.assertEqual(len(answers), 100)
        self.client.WaitDocument(collection_id=name, document_id="bad")
        self.assertEqual(self.get(name, "bad").run, 2)
        again = self.client.RequeueDeadLetters(dead_letter_ids=[letter])
        self.assertEqual(again.requeued_count, 0)
        self.assertEqual(again.results[0].status.code, 5)

    def test_an_ingest_is_done_once_by_a_hundred_at_the_same_time(self):
        name = self.collection()
        answers = []

        def call():
            answers.append(self.ingest(name, "a", "the same words", request_id=f"once-{name}", wait=0))

        threads = [threading.Thread(target=call) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({answer.document.revision for answer in answers}, {1})
        outcomes = sorted(answer.outcome for answer in answers)
        self.assertEqual((len(outcomes), outcomes.count(1), outcomes.count(4)), (100, 1, 99))

    # -- the way out --

    def test_a_discard_ends_the_revision_and_keeps_what_is_good(self):
        name = self.collection()
        self.ready(name, "kept", "the good old text")
        self.poison(name, "kept")
        self.poison(name, "gone")
        dry = self.client.DiscardDeadLetters(collection_id=name, dry_run=True)
        self.assertEqual(dry.discarded_count, 2)
        self.assertEqual(self.pressure(name).dead_letters, 2)
        answer = self.client.DiscardDeadLetters(collection_id=name, filter='reason = "EMPTY"', request_id="out")
        states = {result.document_id: state_name(result) for result in answer.results}
        self.assertEqual(states, {"kept": "SUPERSEDED", "gone": "DELETED"})
        wait_for(lambda: not self.letters(name), "the end of the dead letters")
        kept = self.get(name, "kept")
        self.assertEqual((state_name(kept), kept.revision, kept.searchable_revision), ("SUPERSEDED", 2, 1))
        self.assertEqual([hit.revision for hit in self.hits(name, "kept")], [1])
        self.assertEqual(state_name(self.get(name, "gone")), "DELETED")
        pressure = self.pressure(name)
        self.assertEqual((pressure.failed, pressure.dead_letters), (0, 0))
        again = self.client.DiscardDeadLetters(dead_letter_ids=list(answer.dead_letter_ids), request_id="out")
        self.assertEqual(again.discarded_count, 2)
        self.assertEqual(self.client.DiscardDeadLetters(dead_letter_ids=["nothing"]).discarded_count, 0)
        self.ready(name, "gone", "back with good words")

    def test_neither_ids_nor_filter_or_both_are_refused(self):
        for call in (self.client.RequeueDeadLetters, self.client.DiscardDeadLetters):
            self.assert_refused("INVALID_ARGUMENT", "INVALID_ARGUMENT", call)
            self.assert_refused("INVALID_ARGUMENT", "INVALID_ARGUMENT", call, dead_letter_ids=["1.1.1.a"], filter="*")
            self.assert_refused("INVALID_ARGUMENT", "INVALID_ARGUMENT", call, filter="*", page_size=-1)
            self.assert_refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", call, filter="*", page_token="x")
            self.assert_refused("NOT_FOUND", "COLLECTION_NOT_FOUND", call, collection_id="nowhere")

    # -- other doors --

    def test_the_json_port_answers_all_of_it(self):
        name = self.collection()
        self.poison(name, "bad")
        path = "/weir.v1.DeadLetterService/"
        status, _, answer = self.suite.json(path + "SummarizeDeadLetters", {"collectionId": name})
        self.assertEqual((status, answer["summaries"][0]["count"]), (200, "1"))
        status, _, answer = self.suite.json(path + "ListDeadLetters", {"collectionId": name, "filter": "stage = CHUNK"})
        letter = answer["deadLetters"][0]
        self.assertEqual((status, letter["failure"]["reason"]), (200, "EMPTY"))
        status, _, answer = self.suite.json(path + "GetDeadLetter", {"deadLetterId": letter["deadLetterId"]})
        self.assertEqual((status, answer["deadLetter"]["attempts"][0]["reason"]), (200, "EMPTY"))
        status, _, answer = self.suite.json(path + "RequeueDeadLetters", {"collectionId": name, "dryRun": True})
        self.assertEqual((status, answer["requeuedCount"]), (200, "1"))
        status, _, answer = self.suite.json(path + "DiscardDeadLetters", {"deadLetterIds": [letter["deadLetterId"]]})
        self.assertEqual((status, answer["results"][0]["state"]), (200, "DOCUMENT_STATE_DELETED"))

    def test_the_program_does_all_of_it(self):
        name = self.collection()
        for number in range(3):
            self.poison(name, f"bad{number}")
        done = self.weir("dlq", "summary", "-c", name, "-o", "json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["count"]), (0, "3"))
        done = self.weir("dlq", "ls", "-c", name, "-o", "json", "--filter", 'document_id = "bad1"')
        letter = json.loads(done.stdout)["deadLetterId"]
        self.assertIn(b"EMPTY", self.weir("dlq", "get", letter).stdout)
        self.assertIn(b"3 would be tried again", self.weir("dlq", "requeue", "-c", name, "--dry-run").stdout)
        self.assertIn(b"1 are tried again", self.weir("dlq", "requeue", "-c", name, "--limit", "1").stdout)
        self.client.WaitCollection(collection_id=name)
        wait_for(lambda: sorted(letter.run for letter in self.letters(name)) == [1, 1, 2], "the second failure")
        refused = self.weir("dlq", "discard", "-c", name)
        self.assertEqual(refused.returncode, 2)
        self.assertIn(b"--yes", refused.stderr)
        self.assertIn(b"3 would be discarded", self.weir("dlq", "discard", "-c", name, "--dry-run").stdout)
        self.assertIn(b"3 are discarded", self.weir("dlq", "discard", "-c", name, "--yes").stdout)
        wait_for(lambda: not self.letters(name), "the end of the dead letters")


def type_name(event):
    return MESSAGES.enum_name("weir.v1.DocumentEventType", event.type)[len("DOCUMENT_EVENT_TYPE_") :]


def situation(answer):
    return MESSAGES.enum_name("weir.v1.DocumentSituation", answer.situation)[len("DOCUMENT_SITUATION_") :]


class JournalTest(OperatorTest):
    def events(self, name, document, **fields):
        found, token = [], ""
        while True:
            page = self.client.ListDocumentEvents(
                collection_id=name, document_id=document, page_token=token, **fields
            )
            found += page.events
            token = page.next_page_token
            if not token:
                return found

    def types(self, name, document, **fields):
        return [type_name(event) for event in self.events(name, document, **fields)]

    def test_the_journal_has_every_step_of_a_good_document(self):
        name = self.collection()
        self.ready(name, "a", "good words")
        wanted = ["ACCEPTED", "CHUNKED", "EMBEDDED", "READY"]
        wait_for(lambda: self.types(name, "a") == wanted, "four events")
        self.assertEqual(self.types(name, "a", page_size=1), wanted)
        self.ready(name, "a", "better words")
        self.client.DeleteDocument(collection_id=name, document_id="a")
        wait_for(lambda: len(self.types(name, "a")) == 11, "eleven events")
        self.assertEqual(self.types(name, "a", revision=1), [*wanted, "SUPERSEDED"])
        self.assertEqual(self.types(name, "a", revision=2), [*wanted, "DELETED"])
        self.assertEqual(self.types(name, "a", revision=3), ["DELETED"])
        self.assert_refused(
            "NOT_FOUND", "DOCUMENT_NOT_FOUND", self.client.ListDocumentEvents, collection_id=name, document_id="b"
        )

    def test_the_journal_has_attempts_the_end_of_a_run_and_the_next_one(self):
        name = self.collection()
        self.poison(name, "bad")
        self.client.RetryDocument(collection_id=name, document_id="bad")
        self.client.WaitDocument(collection_id=name, document_id="bad")
        run = ["ATTEMPT_FAILED", "REVOKED", "FAILED"]
        wait_for(lambda: self.types(name, "bad") == ["ACCEPTED", *run, "RETRIED", *run], "two runs")
        failed = self.events(name, "bad")[3]
        self.assertEqual((failed.reason, failed.run, stage_name(failed.stage)), ("EMPTY", 1, "CHUNK"))
        shown = self.weir("events", "bad", "-c", name)
        self.assertEqual(shown.returncode, 0)
        self.assertIn(b"RETRIED", shown.stdout)

    def test_what_is_over_is_explained(self):
        name = self.collection()
        self.ready(name, "a", "good words")
        answer = self.client.ExplainDocument(collection_id=name, document_id="a")
        self.assertEqual((situation(answer), answer.searchable), ("SEARCHABLE", True))
        self.poison(name, "a")
        answer = self.client.ExplainDocument(collection_id=name, document_id="a")
        self.assertEqual((situation(answer), answer.searchable), ("FAILED", False))
        letter = wait_for(lambda: self.letters(name), "the dead letter")[0]
        self.assertEqual(answer.dead_letter_id, letter.dead_letter_id)
        self.assertEqual(answer.findings[0].reason, "EMPTY")
        self.assertIn("revision 1 meanwhile", answer.findings[-1].message)
        self.ready(name, "a", "good again")
        answer = self.client.ExplainDocument(collection_id=name, document_id="a", revision=1)
        self.assertEqual(situation(answer), "SUPERSEDED")
        self.assertIn("searches find revision 3", answer.summary)
        self.client.DeleteDocument(collection_id=name, document_id="a")
        answer = self.client.ExplainDocument(collection_id=name, document_id="a")
        self.assertEqual(situation(answer), "DELETED")
        shown = self.weir("explain", "a", "-c", name)
        self.assertEqual(shown.returncode, 0)
        self.assertIn(b"is deleted", shown.stdout)
        self.assertEqual(self.weir("explain", "b", "-c", name).returncode, 3)
        status, _, answer = self.suite.json(
            "/weir.v1.DocumentService/ExplainDocument", {"collectionId": name, "documentId": "a"}
        )
        self.assertEqual((status, answer["situation"]), (200, "DOCUMENT_SITUATION_DELETED"))


class StoppedTest(OwnSuiteTest):
    """Each service in turn is stopped, and a document that needs it says so."""

    def explain(self, document):
        return self.client.ExplainDocument(collection_id="c", document_id=document)

    def wait_for_situation(self, document, wanted, stage=None):
        def look():
            answer = self.explain(document)
            stages = [stage_name(finding.stage) for finding in answer.findings if finding.stage]
            return answer if situation(answer) == wanted and (stage is None or stage in stages) else None

        return wait_for(look, f"{document} to be {wanted} {stage}")

    @contextlib.contextmanager
    def stopped(self, service):
        pid = self.suite.signal(service, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def accept(self, document):
        self.client.IngestDocument(collection_id="c", document_id=document, text=f"words of {document}")

    def wait_until_ready(self, document):
        wait_for(lambda: situation(self.explain(document)) == "SEARCHABLE", f"{document} to be searchable")

    def test_a_document_says_what_it_waits_for(self):
        self.suite = self.own_suite(settings=["gateway.in_flight_max=1"]).up()
        self.client = self.suite.client()
        self.accept("first")
        self.wait_until_ready("first")
        with self.stopped("embedder"):
            for document in ("e1", "e2", "e3"):
                self.accept(document)
            answer = self.wait_for_situation("e1", "SERVICE_AWAY", "EMBED")
            self.assertIn("embedder does not answer", answer.summary)
            self.assertTrue(answer.next)
            answer = self.wait_for_situation("e3", "IN_BACKLOG")
            self.assertEqual(answer.work_ahead_count, 1)
        for document in ("e1", "e2", "e3"):
            self.wait_until_ready(document)
        with self.stopped("indexer"):
            self.accept("i1")
            self.wait_for_situation("i1", "SERVICE_AWAY", "INDEX")
            answer = self.wait_for_situation("first", "SERVICE_AWAY", "INDEX")
            self.assertFalse(answer.searchable)
        self.wait_until_ready("i1")
        with self.stopped("ingest"):
            self.accept("c1")
            self.wait_for_situation("c1", "SERVICE_AWAY", "CHUNK")
        self.wait_until_ready("c1")
        with self.stopped("reconciler"):
            self.assertEqual(situation(self.explain("first")), "SEARCHABLE")


class ManyTest(OwnSuiteTest):
    """A great requeue goes on in steps of a bounded size, and no service grows with it."""

    def send(self, client, count):
        requests = (
            client.request(
                "IngestDocuments", request={"collection_id": "c", "document_id": f"bad{number:06}", "text": " "}
            )
            for number in range(count)
        )
        return sum(answer.HasField("document") for answer in client.stream("IngestDocuments", requests, deadline=900))

    def wait_for_run(self, client, run):
        def look():
            groups = client.SummarizeDeadLetters(collection_id="c", filter=f"run = {run}").summaries
            return sum(group.count for group in groups) == LETTERS

        wait_for(look, f"{LETTERS} dead letters of run {run}", timeout=60 + LETTERS / 100)

    def test_a_great_requeue_is_done_in_steps(self):
        suite = self.own_suite(settings=["gateway.requeue_rate=0"]).up()
        client = suite.client()
        client.CreateCollection(collection={"collection_id": "c", "embedding_model": MODEL})
        self.assertEqual(self.send(client, LETTERS), LETTERS)
        self.wait_for_run(client, 1)
        before = {name: resident_kb(suite.pid(name)) for name in ("gateway", "reconciler")}
        began = time.monotonic()
        done = subprocess.run(
            [WEIR, "dlq", "requeue", "-c", "c", "--yes", "--address", suite.grpc_address()],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60 + LETTERS / 100, check=True,
        )
        took = time.monotonic() - began
        self.assertEqual(done.stdout.decode(), f"{LETTERS} are tried again\n")
        self.wait_for_run(client, 2)
        grown = {name: resident_kb(suite.pid(name)) - kb for name, kb in before.items()}
        print(f"{LETTERS} dead letters requeued in {took:.1f} s; grown by, KiB: {grown}")
        self.assertLess(max(grown.values()), 300 << 10, grown)


class FixTest(OwnSuiteTest):
    def test_a_requeue_after_the_fix_makes_them_ready(self):
        suite = self.own_suite(settings=["ingest.chunks_per_document_max=2"]).up()
        client = suite.client()
        client.CreateCollection(
            collection={"collection_id": "c", "embedding_model": MODEL, "chunking": {"max_tokens": 32}}
        )
        for number in range(20):
            client.IngestDocument(collection_id="c", document_id=f"d{number}", text=long_text(60 if number % 2 else 4))
        settled = client.WaitCollection(collection_id="c", timeout=PATIENCE - 5)
        self.assertEqual(settled.failed, 10)

        def summary():
            groups = client.SummarizeDeadLetters(collection_id="c").summaries
            return [(group.reason, group.count) for group in groups]

        wait_for(lambda: summary() == [("TOO_MANY_CHUNKS", 10)], "ten dead letters")
        suite.settings = [one for one in suite.settings if "chunks_per" not in one]
        suite.restart()
        client = suite.client()
        answer = client.RequeueDeadLetters(filter='reason = "TOO_MANY_CHUNKS"')
        self.assertEqual((answer.requeued_count, answer.more), (10, False))
        settled = client.WaitCollection(collection_id="c", timeout=PATIENCE - 5)
        self.assertEqual((settled.settled, settled.ready, settled.failed), (True, 20, 0))
        wait_for(lambda: not client.ListDeadLetters().dead_letters, "the end of the dead letters")
        self.assertEqual(client.GetPressure().pressure.dead_letters, 0)


if __name__ == "__main__":
    main()
