"""Small workloads that together pass every failpoint, and what must be true of their documents afterwards.

Calls are repeated under their request_id until they are answered, so whatever dies meanwhile, what was acknowledged is
known.  Each workload uses documents of its own; `check` looks at them, `check_all` at all of the suite.
"""

import collections
import itertools
import os
import shutil
import signal
import subprocess
import threading

import grpc

import harness
from fleet import FAILED_START
from harness import MODEL, SERVICES, Client, state_name, wait_for

COLLECTION = "failpoints"
COLLECTION_NO = 1
STORE_EDIT = os.path.join(os.path.dirname(harness.BUILD), "tests", "store-edit")
VECTOR = {"values": [1.0] * 384}
TERMINAL = ("READY", "FAILED", "SUPERSEDED", "DELETED")
PATIENCE = 60
TRIES = 12  # of a program that each of five services may fail twice
# The newest revision's state, its number, which revision is searchable (0: none), and at least which run.
Expected = collections.namedtuple("Expected", "state revision searchable run")


def key(tag, document, *before):
    """The start of the keys of a document; before: what stands before the collection, in hex."""
    return (tag.encode() + b"".join(before) + COLLECTION_NO.to_bytes(8, "big") + document.encode() + b"\0").hex()


def long_text(mark):
    """Above 64 KiB, so that its body travels by reference, and of more chunks than one row holds."""
    return "\n\n".join(
        f"Part {part} of {mark} tells of thing{part} and place{part} " + "and of much more " * 12 for part in range(360)
    )


class Work:
    def __init__(self, fleet):
        self.fleet = fleet
        self.client = Client(fleet.grpc_address())
        fleet.clients.append(self.client)
        self.numbers = itertools.count(1)
        self.expected = {}  # document: Expected
        self.fresh = []  # since the last check
        self.call("CreateCollection", collection={
            "collection_id": COLLECTION, "embedding_model": MODEL, "chunking": {"max_tokens": 64}})
        self.era = self.call("GetServerInfo").era

    # ---- calls ----

    def call(self, name, **fields):
        if "request_id" in harness.MESSAGES.methods[name][0].input_type.fields_by_name:
            fields.setdefault("request_id", f"r{next(self.numbers)}")
        return self.client.stubborn(name, patience=PATIENCE, each=4, **fields)

    def new_document(self):
        name = f"d{next(self.numbers)}"
        self.fresh.append(name)
        return name

    def wait(self, document, revision):
        """The revision when it is terminal."""
        def look():
            found = self.call("WaitDocument", collection_id=COLLECTION, document_id=document, revision=revision,
                              timeout=2).document
            return found if state_name(found) in TERMINAL else None

        return wait_for(look, f"{document}@{revision} to be terminal", PATIENCE)

    def ingest(self, document, text, wait=True):
        """The next revision of the document; `text` of blanks must fail."""
        acked = self.call("IngestDocument", collection_id=COLLECTION, document_id=document, text=text).document
        before = self.expected.get(document, Expected("", 0, 0, 0))
        self.must(acked.revision == before.revision + 1, f"{document} was acknowledged as {acked.revision}")
        good = bool(text.strip())
        self.expected[document] = Expected(
            "READY" if good else "FAILED", acked.revision, acked.revision if good else before.searchable, 1)
        if wait:
            self.wait(document, acked.revision)

    def delete(self, document):
        acked = self.call("DeleteDocument", collection_id=COLLECTION, document_id=document).document
        before = self.expected[document]
        self.must(acked.revision == before.revision + 1, f"the delete of {document} is {acked.revision}")
        self.expected[document] = Expected("DELETED", acked.revision, 0, 1)

    def letter(self, document):
        return wait_for(lambda: self.letters().get(document), f"the dead letter of {document}", PATIENCE)[0]

    def requeue(self, document):
        letter = self.letter(document)
        answer = self.call("RequeueDeadLetters", dead_letter_ids=[letter.dead_letter_id])
        self.must(answer.requeued_count == 1, f"requeueing {document}: {answer}")
        before = self.expected[document]
        self.expected[document] = before._replace(run=letter.run + 1)
        wait_for(lambda: self.get(document).run > letter.run, f"run {letter.run + 1} of {document}", PATIENCE)
        self.wait(document, before.revision)

    def retry(self, document):
        before = self.expected[document]
        again = self.call("RetryDocument", collection_id=COLLECTION, document_id=document).document
        self.must(again.run > before.run, f"the retry of {document} is run {again.run}, after {before.run}")
        self.expected[document] = before._replace(run=again.run)
        self.wait(document, before.revision)

    def get(self, document):
        return self.call("GetDocument", collection_id=COLLECTION, document_id=document).document

    def letters(self):
        """Dead letters by document."""
        found = self.call("ListDeadLetters", collection_id=COLLECTION, page_size=1000).dead_letters
        by_document = {}
        for letter in found:
            by_document.setdefault(letter.document_id, []).append(letter)
        return by_document

    def hits(self, document):
        return self.call("Search", collection_id=COLLECTION, vector=VECTOR, exact=True, top_k=1000,
                         filter=f'document_id = "{document}"').hits

    # ---- workloads ----

    def path(self):
        """Ingest, replace, delete, a document that must fail, its requeue, searches."""
        bad, replaced, deleted = self.new_document(), self.new_document(), self.new_document()
        self.ingest(bad, " \n ", wait=False)
        self.ingest(replaced, f"First words of {replaced}.", wait=False)
        self.ingest(deleted, f"Words of {deleted}.", wait=False)
        self.ingest(replaced, f"Second words of {replaced}.")
        self.delete(deleted)
        self.wait(bad, 1)
        self.requeue(bad)
        self.retry(bad)
        self.hits(replaced)

    def large(self):
        document = self.new_document()
        self.ingest(document, long_text(document))
        self.ingest(document, f"Short words of {document}.")

    def deferred(self):
        """Jobs fail once each, so the work is put off and begun again."""
        for service, name in (("ingest", "ingest.parse.before"), ("embedder", "embedder.embed.before")):
            if not self.fleet.tables[service].is_armed(name):
                self.fleet.tables[service].arm(name, "error")
        document = self.new_document()
        self.ingest(document, f"Patient words of {document}.")

    def killer(self):
        """A document over which ingest dies until it is set aside: the one that is in work first, so it is alone."""
        table = self.fleet.tables["ingest"]
        document = self.new_document()
        over = threading.Event()

        def arm_again():
            while not over.wait(0.01):
                if not table.is_armed("ingest.parse.before"):
                    table.arm("ingest.parse.before", "crash")

        armer = threading.Thread(target=arm_again, daemon=True)
        table.arm("ingest.parse.before", "crash")
        armer.start()
        try:
            self.ingest(document, f"Deadly words of {document}.")
        finally:
            over.set()
            armer.join()
            table.disarm("ingest.parse.before")
        self.expected[document] = Expected("FAILED", 1, 0, 1)
        self.requeue(document)
        self.expected[document] = Expected("READY", 1, 1, 2)

    def discard(self):
        """Of a document that has nothing else, and of one whose older revision stays."""
        gone, kept = self.new_document(), self.new_document()
        self.ingest(gone, " \n ", wait=False)
        self.ingest(kept, f"Words of {kept}.")
        self.ingest(kept, " \n ")
        self.wait(gone, 1)
        letters = [self.letter(document).dead_letter_id for document in (gone, kept)]
        answer = self.call("DiscardDeadLetters", dead_letter_ids=letters)
        self.must(answer.discarded_count == 2, f"discarding {letters}: {answer}")
        self.expected[gone] = Expected("DELETED", 2, 0, 1)
        self.expected[kept] = Expected("SUPERSEDED", 2, 1, 1)

    # ---- the audit ----

    def run_audit(self):
        return self.client.stubborn("RunAudit", patience=PATIENCE, each=30, collection_id=COLLECTION)

    def store_edit(self, service, *lines):
        subprocess.run([STORE_EDIT, os.path.join(self.fleet.data, service), service],
                       input="\n".join(lines) + "\n", text=True, timeout=30, check=True, stdout=subprocess.DEVNULL)

    def audit(self):
        """Damage in the databases: what the audit finds it puts right, but for what a person decides."""
        vector, text, sourceless, letterless = (self.new_document() for _ in range(4))
        for document in (vector, text, sourceless):
            self.ingest(document, f"Words of {document}.", wait=False)
        self.ingest(letterless, " \n ")
        self.letter(letterless)
        self.settle()
        with self.fleet.held():
            self.store_edit("indexer", f"delete {key('V', vector)}", f"delete {key('K', text)}")
            self.store_edit("gateway", f"delete {key('S', sourceless)}")
            self.store_edit("reconciler", f"delete {key('L', letterless, b'default', bytes(1))}")

        def only_sourceless():
            found = self.call("ListInconsistencies", page_size=1000).inconsistencies
            return found if [it.document_id for it in found] == [sourceless] else None

        self.run_audit()
        found = wait_for(only_sourceless, "the audit to leave one to decide", PATIENCE)
        self.call("ResolveInconsistency", inconsistency_id=found[0].inconsistency_id,
                  resolution="INCONSISTENCY_RESOLUTION_DISMISS")
        self.delete(sourceless)
        for document in (vector, text):
            self.wait_ready_again(document)

    def wait_ready_again(self, document):
        wait_for(lambda: state_name(self.get(document)) == "READY", f"{document} to be READY again", PATIENCE)

    # ---- copies ----

    def run_weir(self, before, *arguments):
        """Until it ends well; `before` each try."""
        said = []
        for _ in range(TRIES):
            before()
            code, output = self.fleet.weir(*arguments)
            if code == 0:
                return
            said.append((code, output))
        raise AssertionError(f"weir {arguments}: {said}")

    def backup(self):
        """One that ends well is whole, and one that does not is none."""
        folder = os.path.join(self.fleet.backups, f"backup{next(self.numbers)}")

        def clean():
            if os.path.exists(folder):
                self.must(not os.path.exists(os.path.join(folder, "manifest.json")) or self.is_whole(folder),
                          f"{folder} is damaged")
                shutil.rmtree(folder)
            self.fleet.wait_serving(timeout=PATIENCE)

        self.run_weir(clean, "backup", folder, "--data", self.fleet.data)
        self.must(self.is_whole(folder), f"{folder} is not whole")
        return folder

    def is_whole(self, folder):
        return self.fleet.weir("restore", folder, "--verify")[0] == 0

    def restore(self):
        """All databases come back from a backup of this moment; half a restore is not started on."""
        document, bad = self.new_document(), self.new_document()
        self.ingest(document, f"Words of {document}.", wait=False)
        self.ingest(bad, " \n ")
        self.settle()
        folder = self.backup()
        era = self.call("GetServerInfo").era

        def refuses_half():
            if os.path.exists(os.path.join(self.fleet.data, "restoring")):
                code = self.fleet.spawn("gateway").wait(PATIENCE)
                self.must(code == FAILED_START, f"a gateway began on half a restore and ended with {code}")

        with self.fleet.held():
            self.run_weir(refuses_half, "restore", folder, "--data", self.fleet.data, "--replace")
        shutil.rmtree(folder)
        wait_for(lambda: self.call("GetServerInfo").era > era, "the next era", PATIENCE)
        self.path()
        self.settle()
        self.after_loss()
        for name in os.listdir(self.fleet.data):
            if name.startswith("replaced-"):
                shutil.rmtree(os.path.join(self.fleet.data, name))

    def restart(self):
        """All five are killed with work under way."""
        document = self.new_document()
        self.ingest(document, f"Words of {document}.", wait=False)
        self.fleet.end(SERVICES, signal.SIGKILL)
        self.fleet.wait_serving(timeout=PATIENCE)
        self.path()

    def drain(self):
        document = self.new_document()
        self.ingest(document, f"Words of {document}.", wait=False)
        self.fleet.end(SERVICES, signal.SIGTERM)
        self.fleet.wait_serving(timeout=PATIENCE)
        self.path()

    def wipe_reconciler(self):
        bad = self.new_document()
        self.ingest(bad, " \n ")
        self.wipe("reconciler")

    def wipe_indexer(self):
        self.wipe("indexer")

    def wipe(self, service):
        """A volume is lost; everything comes back by itself."""
        gone, document = self.new_document(), self.new_document()
        self.ingest(gone, f"Words of {gone}.")
        self.delete(gone)
        self.ingest(document, f"Words of {document}.", wait=False)
        era = self.call("GetServerInfo").era
        self.fleet.wipe(service)
        wait_for(lambda: self.call("GetServerInfo").era > era, "the next era", PATIENCE)
        self.path()
        self.settle()
        self.after_loss()

    def after_loss(self):
        self.era = None  # what dies while a loss is decided may be taken for one more, which costs a re-drive only
        self.fresh = list(self.expected)

    # ---- checks ----

    @staticmethod
    def must(truth, text):
        if not truth:
            raise AssertionError(text)

    def settle(self):
        settled = lambda: self.call("WaitCollection", collection_id=COLLECTION, timeout=2).settled
        wait_for(settled, "the collection to settle", PATIENCE)

    def check_document(self, document):
        want = self.expected[document]
        found = self.get(document)
        now = Expected(state_name(found), found.revision, found.searchable_revision, found.run)
        if now.run > want.run:  # a re-drive after a loss is a run too
            want = want._replace(run=now.run)
        self.must(now == want, f"{document} must be {want} and is {now}: {found.error}")
        hits = self.hits(document)
        revisions = {hit.revision for hit in hits}
        self.must(revisions == ({want.searchable} if want.searchable else set()),
                  f"{document} is {now} and found as {[hit.chunk_id for hit in hits]}")
        self.must(sorted(hit.ordinal for hit in hits) == list(range(len(hits))),
                  f"{document} is found with chunks {sorted(hit.ordinal for hit in hits)}")
        if want.state == "FAILED":
            runs = lambda: [letter.run for letter in self.letters().get(document, ())]
            wait_for(lambda: runs() == [found.run], f"the dead letter of run {found.run} of {document}", 20)
        if want.state == "READY":
            self.must(len(hits) == found.chunk_count, f"{document}: {found.chunk_count} chunks, {len(hits)} found")

    def check(self):
        """The documents since the last check, all dead letters, and that nothing was taken for a lost volume."""
        era = self.call("GetServerInfo").era
        self.must(self.era in (None, era), f"the era rose from {self.era} to {era} without a loss")
        for document in self.fresh:
            self.wait(document, self.expected[document].revision)
            self.check_document(document)
        self.fresh = []
        failed = sorted(document for document, want in self.expected.items() if want.state == "FAILED")
        now = []

        def agree():
            now[:] = sorted((name, len(letters)) for name, letters in self.letters().items())
            return now == [(name, 1) for name in failed]

        try:
            wait_for(agree, "the dead letters", 20)
        except AssertionError:
            raise AssertionError(f"FAILED are {failed}, dead letters are {now}") from None

    def check_all(self):
        """Everything, every count, and the indexer's own comparison of its records with its index."""
        self.settle()
        self.fresh = list(self.expected)
        self.check()
        pressure = self.call("GetPressure", collection_id=COLLECTION).pressure
        states = ("pending", "processing", "ready", "failed", "superseded", "deleted")
        counts = {state: getattr(pressure, state) for state in states}
        self.must(sum(counts.values()) == sum(want.revision for want in self.expected.values()),
                  f"{len(self.expected)} documents, revisions counted {counts}")
        self.must(counts["pending"] + counts["processing"] == 0, f"not settled: {counts}")
        self.must(pressure.inconsistencies == 0, f"{pressure.inconsistencies} inconsistencies")
        audit = self.run_audit()
        self.must(audit.inconsistency_count == 0, f"the audit: {audit}")
        client = Client(f"unix:{self.fleet.data}/run/indexer.grpc")
        try:
            answer = client.stubborn("/weir.internal.v1.IndexerService/VerifyIndex")
        finally:
            client.close()
        self.must(not answer.findings and answer.chunks == answer.reachable, f"the index: {answer}")
