"""SIGKILL of all five services at random moments while clients work; then everything is counted.

2,000 documents are ingested, some replaced, some deleted, some that must fail, by clients that repeat a call under its
request_id until it is answered.  Readers check what they see while services die: no state goes back, no acknowledged
revision is unknown, no deleted text is found, nothing that was READY is missing, no answer mixes revisions.  At the end
every document is where its last acknowledged call must have brought it, and every count agrees with a full scan.

WEIR_SEED picks the run, WEIR_KILLS and WEIR_DOCUMENTS its size.
"""

import collections
import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

import harness
from harness import MODEL, NO_ANSWER, RANK, SERVICES, Client, state_name, wait_for

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
KILLS = int(os.environ.get("WEIR_KILLS", "30"))
DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", "2000"))
WRITERS = 8
LATEST_S = 0.15  # from the beginning of a share of the work to the kill, at most
COLLECTION = "kill"
VECTOR = {"values": [1.0] * 384}
# What a document goes through; "bad" has no text, so its revision must fail.
FATES = (
    [("text",)] * 60
    + [("text", "text")] * 12
    + [("text", "text", "text")] * 6
    + [("text", "delete")] * 12
    + [("text", "delete", "text")] * 5
    + [("bad",)] * 3
    + [("bad", "text")] * 1
    + [("text", "bad")] * 1
)


def text_of(document, step, long):
    words = f"Document {document} in its step {step} has the mark{document}x{step}."
    if not long:
        return words
    parts = ([f"{words} Part {part} tells of thing{part}, place{part} and time{part}."] * 6 for part in range(5))
    return "\n\n".join(" ".join(part) for part in parts)


class Truth:
    """What clients were told; the lock makes each update one instant."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acked = collections.Counter()  # newest acknowledged revision
        self.deleted = collections.Counter()  # newest acknowledged delete
        self.ready = {}  # newest revision that somebody saw READY, and its number of chunks
        self.may_go = set()  # a delete was sent at least once
        self.seen = {}  # (reader, document): newest (revision, run, rank)
        self.violations = []
        self.counts = collections.Counter()

    def violation(self, text):
        with self.lock:
            self.violations.append(text)
        print(f"violation: {text[:500]}", file=sys.stderr, flush=True)

    def see(self, reader, document):
        """One Document as a client got it, as an answer about the newest revision."""
        key = (reader, document.document_id)
        now = (document.revision, document.run, RANK[state_name(document)])
        with self.lock:
            before = self.seen.get(key, (0, 0, 0))
            self.seen[key] = max(before, now)
            if state_name(document) == "READY":
                self.see_ready(document)
        if now < before:
            self.violation(f"{reader} saw {document.document_id} go back from {before} to {now}")

    def see_ready(self, document):
        if document.revision > self.ready.get(document.document_id, (0, 0))[0]:
            self.ready[document.document_id] = (document.revision, document.chunk_count)

    def look(self, document):
        with self.lock:
            return self.acked[document], self.deleted[document], self.ready.get(document), document in self.may_go


class Writer(threading.Thread):
    """Brings its share of the documents through their fates."""

    def __init__(self, test, number, plan):
        super().__init__(daemon=True)
        self.test, self.truth, self.number, self.plan = test, test.truth, number, plan
        self.random = random.Random(SEED * 100 + number)
        self.client = Client(test.suite.grpc_address())
        self.failure = None

    def run(self):
        try:
            for position, (document, fate) in enumerate(self.plan):
                self.test.pace(position / len(self.plan))
                for step, what in enumerate(fate):
                    self.step(document, step, what)
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error
            shown = harness.Refusal(error) if isinstance(error, grpc.RpcError) else repr(error)
            self.truth.violation(f"writer {self.number}: {shown}")

    def call(self, name, **fields):
        """The answer, whatever dies meanwhile."""
        until = time.monotonic() + 90
        while True:
            self.truth.counts["calls"] += 1
            try:
                return self.client.call(name, deadline=5, wait_for_ready=True, **fields)
            except grpc.RpcError as error:
                self.truth.counts["calls without an answer"] += 1
                if error.code() not in NO_ANSWER + (grpc.StatusCode.RESOURCE_EXHAUSTED,) or time.monotonic() > until:
                    raise

    def step(self, document, step, what):
        request_id = f"{document}-{step}"
        if what == "delete":
            if self.random.random() < 0.5:
                answer = self.call("WaitDocument", collection_id=COLLECTION, document_id=document, timeout=2)
                self.truth.see(f"writer {self.number}", answer.document)
            with self.truth.lock:
                self.truth.may_go.add(document)
            answer = self.call(
                "DeleteDocument", collection_id=COLLECTION, document_id=document, request_id=request_id
            )
        else:
            text = " \n" if what == "bad" else text_of(document, step, is_long(document))
            answer = self.call(
                "IngestDocument", collection_id=COLLECTION, document_id=document, text=text, request_id=request_id,
                force=True,  # only the request_id keeps a repeated call from making one more revision
            )
        self.check(document, step, what, answer.document)

    def check(self, document, step, what, answer):
        self.truth.see(f"writer {self.number}", answer)
        if answer.revision != step + 1:
            self.truth.violation(f"{document}: step {step} was answered revision {answer.revision}")
        with self.truth.lock:
            self.truth.acked[document] = max(self.truth.acked[document], answer.revision)
            if what == "delete":
                self.truth.deleted[document] = answer.revision
        if what == "delete" and state_name(answer) != "DELETED":
            self.truth.violation(f"{document}: a delete was answered {state_name(answer)}")


class Reader(threading.Thread):
    """Reads and searches documents at random while services die."""

    def __init__(self, test, number, documents):
        super().__init__(daemon=True)
        self.test, self.truth, self.number, self.documents = test, test.truth, number, documents
        self.random = random.Random(SEED * 100 + 50 + number)
        self.client = Client(test.suite.grpc_address())

    def run(self):
        while not self.test.over.is_set():
            document = self.random.choice(self.documents)
            look = self.get if self.random.random() < 0.4 else self.search
            try:
                look(document)
            except grpc.RpcError as error:
                self.truth.counts["reads without an answer"] += 1
                if error.code() not in NO_ANSWER + (grpc.StatusCode.NOT_FOUND,):
                    self.truth.violation(f"reading {document}: {harness.Refusal(error)}")

    def get(self, document):
        acked = self.truth.look(document)[0]
        try:
            answer = self.client.call(
                "GetDocument", deadline=5, wait_for_ready=True, collection_id=COLLECTION, document_id=document
            )
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND and acked > 0:
                self.truth.violation(f"{document} was acknowledged and is not found")
            raise
        self.truth.counts["gets"] += 1
        if answer.document.revision < acked:
            self.truth.violation(f"{document}: revision {acked} was acknowledged, {answer.document.revision} is shown")
        self.truth.see(f"reader {self.number}", answer.document)

    def search(self, document):
        _, deleted, ready, _ = self.truth.look(document)
        answer = self.client.call(
            "Search", deadline=5, wait_for_ready=True, collection_id=COLLECTION, vector=VECTOR, exact=True, top_k=1000,
            filter=f'document_id = "{document}"',
        )
        may_go = self.truth.look(document)[3]
        self.truth.counts["searches"] += 1
        revisions = {hit.revision for hit in answer.hits}
        ordinals = sorted(hit.ordinal for hit in answer.hits)
        if len(revisions) > 1:
            self.truth.violation(f"{document}: one answer has revisions {revisions}")
        if any(revision <= deleted for revision in revisions):
            self.truth.violation(f"{document}: deleted as {deleted}, found as {revisions}")
        if ordinals != list(range(len(ordinals))):
            self.truth.violation(f"{document}: found with chunks {ordinals}")
        if ready and not may_go and (not revisions or max(revisions) < ready[0]):
            self.truth.violation(f"{document}: READY as {ready[0]}, found as {revisions}")
        if ready and revisions == {ready[0]} and len(ordinals) != ready[1]:
            self.truth.violation(f"{document}: {ready[1]} chunks, found {len(ordinals)}")
        for hit in answer.hits:
            if f"mark{document}x{hit.revision - 1}." not in hit.text and not is_long(document):
                self.truth.violation(f"{document}@{hit.revision} is found with the text {hit.text!r}")


class Watcher(threading.Thread):
    """Follows the whole collection, resuming where it was cut off."""

    def __init__(self, test):
        super().__init__(daemon=True)
        self.test, self.truth = test, test.truth
        self.client = Client(test.suite.grpc_address())
        self.token = ""
        self.states = {}
        self.ready = set()
        self.resumed = 0
        self.call = None

    def run(self):
        while not self.test.watch_over.is_set():
            try:
                self.call = self.client.WatchDocuments(
                    collection_id=COLLECTION, resume_token=self.token, deadline=600, wait_for_ready=True
                )
                self.call.initial_metadata()
                self.test.watching.set()
                for event in self.call:
                    self.take(event)
            except grpc.RpcError as error:
                self.resumed += 1
                if error.code() not in NO_ANSWER:
                    self.truth.violation(f"the watch ended with {harness.Refusal(error)}")
                    return

    def take(self, event):
        document, self.token = event.document, event.resume_token
        key = (document.document_id, document.revision)
        now = (document.run, RANK[state_name(document)])
        if now < self.states.get(key, (0, 0)):
            self.truth.violation(f"the watch saw {key} go back from {self.states[key]} to {now}")
        self.states[key] = now
        if state_name(document) == "READY":
            self.ready.add(key)


def is_long(document):
    return int(document[1:]) % 10 == 0


class KillTest(harness.OwnSuiteTest):
    def setUp(self):
        self.suite = self.own_suite().up()
        self.client = self.suite.client()
        self.truth = Truth()
        self.over, self.watch_over, self.watching = threading.Event(), threading.Event(), threading.Event()
        self.progress = threading.Condition()
        self.kills = collections.Counter()
        self.shares = 0

    def pace(self, share):
        """Wait until this share of the work is due: each kill meets a share that has just begun."""
        with self.progress:
            while self.shares <= share * KILLS and not self.over.is_set():
                self.progress.wait(1)

    def kill_all_the_time(self, generator):
        order = []
        while len(order) < KILLS:
            order += generator.sample(SERVICES, len(SERVICES))
        last = dict.fromkeys(SERVICES, 0)
        for service in order[:KILLS]:
            pid = wait_for(lambda name=service: self.living(name, last[name]), f"a start of {service}", 40)
            with self.progress:
                self.shares += 1
                self.progress.notify_all()
            self.over.wait(generator.uniform(0, LATEST_S))
            os.kill(pid, signal.SIGKILL)
            last[service] = pid
            self.kills[service] += 1

    def living(self, service, dead):
        pid = int(self.suite.status().get(service, {}).get("pid", 0))
        return pid if pid not in (0, dead) and not harness.process_is_gone(pid) else 0

    def test_nothing_is_lost_doubled_or_brought_back(self):
        print(f"seed {SEED}, {KILLS} kills, {DOCUMENTS} documents, data in {self.suite.data}", flush=True)
        began = time.monotonic()
        generator = random.Random(SEED)
        self.client.CreateCollection(
            collection={"collection_id": COLLECTION, "embedding_model": MODEL, "chunking": {"max_tokens": 64}}
        )
        self.era = self.client.GetServerInfo().era
        self.fates = {f"d{number}": generator.choice(FATES) for number in range(DOCUMENTS)}
        self.work(generator)
        killed = time.monotonic() - began
        settled = self.client.stubborn("WaitCollection", each=70, collection_id=COLLECTION, timeout=60)
        self.assertTrue(settled.settled, f"not settled a minute after the last kill: {settled}")
        print(f"settled {time.monotonic() - began - killed:.1f} s after the last call", flush=True)
        self.suite.wait_serving()
        self.check_documents()
        self.check_counts()
        self.check_watch()
        self.check_index()
        self.print_summary(time.monotonic() - began)
        self.assertEqual(len(self.truth.violations), 0, "violations are printed above")

    def work(self, generator):
        documents = list(self.fates)
        self.watcher = Watcher(self)
        self.watcher.start()
        self.assertTrue(self.watching.wait(20))
        shares = [
            [(document, self.fates[document]) for document in documents[number::WRITERS]] for number in range(WRITERS)
        ]
        writers = [Writer(self, number, share) for number, share in enumerate(shares)]
        readers = [Reader(self, number, documents) for number in range(2)]
        for thread in writers + readers:
            thread.start()
        try:
            self.kill_all_the_time(generator)
            for writer in writers:
                writer.join(120)
                self.assertFalse(writer.is_alive(), f"writer {writer.number} does not end")
                self.assertIsNone(writer.failure)
        finally:
            self.over.set()
            for reader in readers:
                reader.join(20)

    # ---- the end ----

    def expected(self, document):
        """State of the newest revision, and the revision that is searchable, as its fate says."""
        fate = self.fates[document]
        state = {"text": "READY", "bad": "FAILED", "delete": "DELETED"}[fate[-1]]
        searchable = 0
        for revision, what in enumerate(fate, 1):
            searchable = {"text": revision, "bad": searchable, "delete": 0}[what]
        return state, searchable

    def check_documents(self):
        with ThreadPoolExecutor(4) as pool:
            for problem in pool.map(self.check_document, self.fates):
                if problem:
                    self.truth.violation(problem)

    def check_document(self, document):
        state, searchable = self.expected(document)
        found = self.client.GetDocument(collection_id=COLLECTION, document_id=document).document
        now = (state_name(found), found.revision, found.searchable_revision)
        if now != (state, len(self.fates[document]), searchable):
            return f"{document} {self.fates[document]} is {now}"
        hits = self.client.Search(
            collection_id=COLLECTION, vector=VECTOR, exact=True, top_k=1000, filter=f'document_id = "{document}"'
        ).hits
        if {hit.revision for hit in hits} != ({searchable} if searchable else set()):
            return f"{document} {self.fates[document]} is found as {[hit.chunk_id for hit in hits]}"
        if sorted(hit.ordinal for hit in hits) != list(range(len(hits))):
            return f"{document} is found with chunks {sorted(hit.ordinal for hit in hits)}"
        if searchable == 0:
            return None
        if state == "READY" and len(hits) != found.chunk_count:
            return f"{document} has {found.chunk_count} chunks, {len(hits)} are found"
        text = text_of(document, searchable - 1, is_long(document))
        if any(hit.text not in text for hit in hits) or (len(hits) == 1 and hits[0].text != text):
            return f"{document} is found with {[hit.text for hit in hits]}"
        return self.check_ranking(document, text) if not is_long(document) else None

    def check_ranking(self, document, text):
        """Its own text finds it first, and once among all documents."""
        hits = self.client.Search(collection_id=COLLECTION, text=text, exact=True, top_k=5).hits
        own = [hit.score for hit in hits if hit.document_id == document]
        if len(own) != 1 or own[0] < hits[0].score - 1e-5:
            return f"{document}: its own text finds {[(hit.chunk_id, hit.score) for hit in hits]}"
        return None

    def scan(self):
        """Every document as it is listed, deleted ones too, and the states of all revisions."""
        documents, token = [], ""
        while True:
            page = self.client.ListDocuments(
                collection_id=COLLECTION, page_size=700, page_token=token, show_deleted=True
            )
            documents += page.documents
            token = page.next_page_token
            if not token:
                break
        states = collections.Counter(state_name(document) for document in documents)
        older = [(found.document_id, number) for found in documents for number in range(1, found.revision)]
        with ThreadPoolExecutor(4) as pool:
            for document, revision in older:
                pool.submit(self.count_older, document, revision, states)
        return documents, states

    def count_older(self, document, revision, states):
        found = self.client.GetDocument(collection_id=COLLECTION, document_id=document, revision=revision).document
        with self.truth.lock:
            states[state_name(found)] += 1

    def check_counts(self):
        documents, states = self.scan()
        self.states = states
        self.assertEqual([document.document_id for document in documents], sorted(self.fates))
        pressure = self.client.GetPressure(collection_id=COLLECTION).pressure
        for state in ("PENDING", "PROCESSING", "READY", "FAILED", "SUPERSEDED", "DELETED"):
            self.assertEqual(getattr(pressure, state.lower()), states[state], f"revisions that are {state}")
        self.assertEqual(sum(states.values()), sum(len(fate) for fate in self.fates.values()))
        failed = sorted(document for document in self.fates if self.expected(document)[0] == "FAILED")
        letters = wait_for(lambda: self.letters(len(failed)), f"{len(failed)} dead letters")
        self.assertEqual(sorted(letter.document_id for letter in letters), failed)
        self.assertEqual({letter.failure.reason for letter in letters}, {"EMPTY"})
        self.assertEqual(pressure.inconsistencies, 0)
        # A kill costs a resend at most: never a new try of a document, never the look of a lost volume.
        self.assertEqual({document.run for document in documents}, {1})
        self.assertEqual(self.client.GetServerInfo().era, self.era)
        collection = self.client.GetCollection(collection_id=COLLECTION).collection
        self.assertEqual(collection.document_count, sum(self.fates[d][-1] != "delete" for d in self.fates))
        self.chunks = collection.chunk_count

    def letters(self, number):
        found = self.client.ListDeadLetters(collection_id=COLLECTION, page_size=1000).dead_letters
        return found if len(found) == number else None

    def check_watch(self):
        """Resuming left no gap: whatever became searchable for good was reported."""
        expected = {(d, self.expected(d)[1]) for d in self.fates if self.expected(d)[1]}
        wait_for(lambda: expected <= self.watcher.ready, "the last events of the watch")
        self.watch_over.set()
        self.watcher.call.cancel()

    def check_index(self):
        """The indexer compares its records with what a search can reach."""
        client = Client(f"unix:{self.suite.data}/run/indexer.grpc")
        answer = client.call("/weir.internal.v1.IndexerService/VerifyIndex")
        client.close()
        self.assertEqual(list(answer.findings), [])
        self.assertEqual(answer.documents, sum(self.expected(d)[1] > 0 for d in self.fates))
        self.assertEqual((answer.chunks, answer.reachable), (self.chunks, self.chunks))

    def print_summary(self, seconds):
        kills = ", ".join(f"{name} {self.kills[name]}" for name in SERVICES)
        counts = ", ".join(f"{name} {number}" for name, number in sorted(self.truth.counts.items()))
        states = ", ".join(f"{name} {number}" for name, number in sorted(self.states.items()))
        print(
            f"kill: seed {SEED}, {sum(self.kills.values())} kills ({kills}), {len(self.fates)} documents, revisions:"
            f" {states}, chunks {self.chunks}, {counts}, watch resumed {self.watcher.resumed},"
            f" violations {len(self.truth.violations)}, {seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    harness.main()
