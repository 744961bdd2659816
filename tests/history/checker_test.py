"""The checker is checked: a good history passes, and one planted anomaly of each kind does not.

Each row of ANOMALIES changes the good history or the good scan in one place and names the promise that is then broken.
"""

import base64
import copy
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare  # noqa: E402  pylint: disable=wrong-import-position
import history  # noqa: E402  pylint: disable=wrong-import-position
from checker import Checker  # noqa: E402  pylint: disable=wrong-import-position

ONE, TWO, THREE = "The first text.", "The second text. It has two parts.", "The third text."
PARTS = ["The second text.", "It has two parts."]


class Written:
    """Builds history lines: each call begins and ends before the next, unless it is told otherwise."""

    def __init__(self):
        self.lines, self.now, self.number = [], 0, 0

    def tick(self):
        self.now += 1000
        return self.now

    def begin(self, client, operation, **arguments):
        self.number += 1
        self.lines.append(
            {"t": self.tick(), "client": client, "id": self.number, "type": "invoke", "op": operation,
             "tenant": arguments.pop("tenant", "default"), "collection": "c", **arguments}
        )
        return client, self.number

    def finish(self, call, kind="ok", **fields):
        self.lines.append({"t": self.tick(), "client": call[0], "id": call[1], "type": kind, **fields})

    def ingest(self, document, text, revision, outcome="CREATED", client="w", request_id="", **arguments):
        call = self.begin(client, "ingest", document=document, text=text, request_id=request_id, **arguments)
        self.finish(call, result={**seen(document, revision, "PENDING", 0, text), "outcome": outcome})

    def delete(self, document, revision, client="w", request_id=""):
        call = self.begin(client, "delete", document=document, request_id=request_id)
        self.finish(call, result=seen(document, revision, "DELETED", 0, ""))

    def retry(self, document, revision, run, client="w", request_id=""):
        call = self.begin(client, "retry", document=document, request_id=request_id)
        self.finish(call, result={**seen(document, revision, "PENDING", 0, ""), "run": run})

    def get(self, document, revision, state, searchable, text, client="r", **fields):
        call = self.begin(client, "get", document=document)
        self.finish(call, result={**seen(document, revision, state, searchable, text), **fields})

    def search(self, document, hits, client="r", tenant="default"):
        call = self.begin(client, "search", document=document, query="?", tenant=tenant)
        self.finish(call, result={"complete": True, "hits": hits})

    def decide(self, operation, document, revision, run, run_after, state, client="w", request_id=""):
        call = self.begin(client, operation, document=document, revision=revision, run=run, request_id=request_id)
        self.finish(call, result={"document": document, "revision": revision, "run": run_after, "state": state})

    def wait(self, document, revision, state, text, client="r", **fields):
        call = self.begin(client, "wait", document=document)
        self.finish(call, result={**seen(document, revision, state, 0, text), **fields})

    def watch(self, documents, events, client="r"):
        self.finish(self.begin(client, "watch", documents=documents), result={"events": events})

    def stream(self, asked, told, kind="ok", client="w"):
        self.finish(self.begin(client, "stream", marks=asked), kind, result={"marks": told})

    def refused(self, operation, code, reason="", client="w", **arguments):
        self.finish(self.begin(client, operation, **arguments), "fail", code=code, reason=reason)

    def unknown(self, operation, client="w", **arguments):
        self.finish(self.begin(client, operation, **arguments), "info", code="UNAVAILABLE")


def seen(document, revision, state, searchable, text):
    return {
        "document": document, "revision": revision, "run": 1, "state": state, "searchable": searchable,
        "chunks": 2 if text == TWO and state == "READY" else 1, "sha256": history.sha256_of(text) if text else "",
    }


def hit(document, revision, ordinal, text):
    return {"document": document, "revision": revision, "ordinal": ordinal, "text": text}


def both_parts(revision=2):
    return [hit("a", revision, ordinal, text) for ordinal, text in enumerate(PARTS)]


def good_history():
    """a: replaced; b: deleted and written again; f: failed; g: failed, retried, READY; u: an unanswered write."""
    w = Written()
    w.refused("get", "NOT_FOUND", "DOCUMENT_NOT_FOUND", client="r", document="a")
    w.ingest("a", ONE, 1, request_id="a-1")
    w.get("a", 1, "PENDING", 0, ONE)
    w.search("a", [])
    w.get("a", 1, "READY", 1, ONE)
    w.search("a", [hit("a", 1, 0, ONE)])
    w.ingest("a", TWO, 2, "REPLACED", request_id="a-2")
    w.ingest("a", TWO, 2, "REPEATED", request_id="a-2")
    w.search("a", [hit("a", 1, 0, ONE)])
    w.get("a", 2, "READY", 2, TWO)
    w.search("a", both_parts())
    w.refused("ingest", "ALREADY_EXISTS", "REQUEST_ID_CONFLICT", document="a", text=THREE, request_id="a-2")
    w.ingest("b", ONE, 1, source_version=5)
    w.refused("ingest", "ABORTED", "SOURCE_VERSION_NOT_GREATER", document="b", text=TWO, source_version=5)
    w.get("b", 1, "READY", 1, ONE)
    w.delete("b", 2, request_id="b-2")
    w.search("b", [])
    w.get("b", 2, "DELETED", 0, "")
    w.ingest("b", THREE, 3)
    w.get("b", 3, "READY", 3, THREE)
    w.ingest("f", " ", 1)
    w.get("f", 1, "FAILED", 0, " ")
    w.ingest("g", ONE, 1)
    w.get("g", 1, "FAILED", 0, ONE)
    w.retry("g", 1, 2, request_id="g-r")
    w.get("g", 1, "READY", 1, ONE, run=2)
    w.ingest("l", " ", 1)
    w.get("l", 1, "FAILED", 0, " ")
    w.decide("requeue", "l", 1, 1, 2, "PENDING", request_id="l-q")
    w.decide("requeue", "l", 1, 1, 2, "PENDING", request_id="l-q")
    w.refused("discard", "NOT_FOUND", "DEAD_LETTER_NOT_FOUND", document="l", revision=1, run=1)
    w.get("l", 1, "FAILED", 0, " ", run=2)
    w.decide("discard", "l", 1, 2, 2, "DELETED")
    w.get("l", 2, "DELETED", 0, "")
    w.ingest("m", ONE, 1)
    w.get("m", 1, "READY", 1, ONE)
    w.ingest("m", " ", 2, "REPLACED")
    w.get("m", 2, "FAILED", 1, " ")
    w.decide("discard", "m", 2, 1, 1, "SUPERSEDED")
    w.get("m", 2, "SUPERSEDED", 1, " ")
    w.search("m", [hit("m", 1, 0, ONE)])
    w.wait("g", 1, "READY", ONE, run=2)
    w.wait("b", 3, "READY", THREE)
    w.wait("b", 3, "PROCESSING", THREE)  # its READY is still on its way to the gateway
    w.watch(["a", "f"], [seen("f", 1, "FAILED", 0, " "), seen("a", 1, "READY", 1, ONE), seen("a", 2, "PENDING", 1, TWO),
                         seen("a", 2, "READY", 2, TWO), seen("a", 1, "SUPERSEDED", 2, ONE)])
    w.stream(["1", "2"], ["1", "2"])
    w.stream(["3", "4"], ["3"], kind="info")
    w.unknown("ingest", document="u", text=ONE)
    w.unknown("ingest", document="u", text=TWO)
    w.get("u", 1, "READY", 1, TWO)
    page = w.begin("r", "list", after="")
    w.finish(page, result={"end": True, "documents": [
        seen("a", 2, "READY", 2, TWO), seen("b", 3, "READY", 3, THREE), seen("f", 1, "FAILED", 0, " "),
        seen("g", 1, "READY", 1, ONE), seen("l", 2, "DELETED", 0, ""), seen("m", 2, "SUPERSEDED", 1, " "),
        seen("u", 1, "READY", 1, TWO)]})
    return w


# ---- the good scan ----

STATES = {name: number for number, name in compare.STATES.items()}
NEXT = {"gateway-ingest": 65536, "gateway-indexer": 262144}


def hashed(text):
    return base64.b64encode(bytes.fromhex(history.sha256_of(text))).decode()


def line(db, kind, **fields):
    return {"db": db, "kind": kind, **fields}


def at(document, revision=None, **fields):
    place = {"collection_no": 1, "document_id": document, **fields}
    return place if revision is None else {**place, "revision": revision}


def document_lines(document, revisions, ready=0, deleted=0, run=1, chunks=1):
    """revisions: (state, text) of 1, 2, ...; text None: a delete."""
    record = {"newestRevision": str(len(revisions)), "searchableRevision": str(ready), "deletedBelow": str(deleted)}
    yield line("gateway", "document", **at(document), value=record)
    for number, (state, text) in enumerate(revisions, 1):
        value = {"state": STATES[state], "epoch": str(run if number == len(revisions) else 1)}
        if text is None:
            value["isDelete"] = True
        else:
            value["contentSha256"] = hashed(text)
        if state == "READY":
            value["chunkCount"] = chunks
        yield line("gateway", "revision", **at(document, number), value=value)
        if state in ("READY", "FAILED"):
            yield line("gateway", "source", **at(document, number), size=len(text), sha256=history.sha256_of(text))
        if state == "FAILED":
            failure = {"stage": 2, "code": 38, "attemptCount": 1}
            letter = {"epoch": "1", "contentSha256": hashed(text), "failure": failure}
            yield line("reconciler", "dead_letter", tenant="default", **at(document, number), value=letter)
            yield line("reconciler", "dead_letter_by_time", tenant="default", **at(document, number), number=1)
    known = {"readyRevision": str(ready), "deletedBelow": str(deleted)}
    if ready:
        known.update(readyEpoch=str(run), readyChunkCount=chunks)
        for ordinal in range(chunks):
            yield line("indexer", "chunk", **at(document, ready, epoch=run, ordinal=ordinal), value={})
        yield line("indexer", "vectors", **at(document, ready, epoch=run, ordinal=0), count=chunks)
    if revisions[-1][0] == "FAILED":
        known["revoked"] = [{"revision": str(len(revisions)), "epoch": "1"}]
    yield line("indexer", "register", **at(document), value=known)


def good_scan():
    lines = [line("gateway", "collection", tenant="default", value={"collectionNo": "1", "collectionId": "c"})]
    lines += document_lines("a", [("SUPERSEDED", ONE), ("READY", TWO)], ready=2, chunks=2)
    lines += document_lines("b", [("DELETED", ONE), ("DELETED", None), ("READY", THREE)], ready=3, deleted=2)
    lines += document_lines("f", [("FAILED", " ")])
    lines += document_lines("g", [("READY", ONE)], ready=1, run=2)
    lines += document_lines("l", [("DELETED", " "), ("DELETED", None)], deleted=2)
    lines += document_lines("m", [("READY", ONE), ("SUPERSEDED", " ")], ready=1)
    lines += document_lines("u", [("READY", TWO)], ready=1, chunks=2)
    for method, request_id, revision in ((1, "a-1", 1), (1, "a-2", 2), (2, "b-2", 2), (3, "g-r", 1)):
        value = {"revision": str(revision)}
        lines.append(line("gateway", "request", tenant="default", method=method, request_id=request_id, value=value))
    counters = {"ready": "5", "failed": "1", "superseded": "2", "deleted": "4", "accepted": "12", "documents": "6",
                "chunks": "7"}
    lines.append(line("gateway", "counters", collection_no=1, value=counters))
    for number in NEXT.values():
        lines.append(line("gateway", "link_tx", link=number, value={"acked": "8", "next": "10"}))
        lines.append(line("gateway", "outbox", link=number, seq=9))
    lines.append(line("ingest", "link_rx", link=65536, value={"cursor": "9"}))
    lines.append(line("indexer", "link_rx", link=262144, value={"cursor": "9"}))
    lines += [line(db, "era", number=1) for db in ("gateway", "ingest", "embedder", "indexer", "reconciler")]
    return lines + [{"kind": "end"}]


# ---- planted in the history ----


def lost_ack(w):
    w.ingest("n", ONE, 1)
    w.refused("get", "NOT_FOUND", "DOCUMENT_NOT_FOUND", client="r", document="n")


def older_revision_after_ack(w):
    w.ingest("a", THREE, 3, "REPLACED")
    w.get("a", 2, "READY", 2, TWO, client="r2")


def two_acks_of_one_revision(w):
    w.ingest("n", ONE, 1)
    w.ingest("n", TWO, 1)


def gap_in_revisions(w):
    w.ingest("n", ONE, 1)
    w.ingest("n", TWO, 3, "REPLACED")


def stale_search(w):
    w.search("a", [hit("a", 1, 0, ONE)])


def ready_not_found(w):
    w.search("a", [])


def ready_not_found_by_nobody_asked(w):
    find = w.begin("r", "find", query="?")
    w.finish(find, result={"complete": True, "hits": [hit("a", 1, 0, ONE)]})


def found_before_ready(w):
    w.ingest("n", ONE, 1)
    w.search("n", [hit("n", 1, 0, ONE)])
    w.get("n", 1, "PENDING", 0, ONE)


def found_though_failed(w):
    w.search("f", [hit("f", 1, 0, " ")])


def stale_get(w):
    w.ingest("n", ONE, 1)
    w.get("n", 1, "READY", 1, ONE, client="r1")
    w.get("n", 1, "PROCESSING", 0, ONE, client="r2")


def stale_searchable(w):
    w.ingest("a", THREE, 3, "REPLACED")
    w.get("a", 3, "PENDING", 0, THREE)


def resurrected_by_search(w):
    w.delete("g", 2)
    w.search("g", [hit("g", 1, 0, ONE)])


def resurrected_by_get(w):
    w.delete("g", 2)
    w.get("g", 1, "READY", 1, ONE, client="r2")


def resurrected_by_find(w):
    w.delete("g", 2)
    find = w.begin("r", "find", query="?")
    w.finish(find, result={"complete": True, "hits": [hit("g", 1, 0, ONE)]})


def older_comes_back(w):
    w.search("a", both_parts(), client="r2")
    w.search("a", [hit("a", 1, 0, ONE)], client="r3")


def ready_and_failed(w):
    w.get("f", 1, "READY", 1, " ", client="r2")


def failed_forgotten(w):
    w.get("f", 1, "PROCESSING", 0, " ", client="r2")


def retried_without_asking(w):
    w.get("f", 1, "READY", 1, " ", client="r2", run=2)


def state_goes_back(w):
    w.get("a", 2, "PROCESSING", 1, TWO)


def run_goes_back(w):
    w.get("g", 1, "READY", 1, ONE, run=1)


def mixed_revisions(w):
    w.search("a", [hit("a", 1, 0, ONE), *both_parts()])


def doubled_chunk(w):
    w.search("a", [*both_parts(), hit("a", 2, 1, PARTS[1])])


def missing_chunk(w):
    w.search("a", both_parts()[:1])


def hole_in_chunks(w):
    w.search("a", both_parts()[1:])


def text_of_another_revision(w):
    w.search("a", [hit("a", 2, 0, ONE), hit("a", 2, 1, PARTS[1])])


def foreign_text(w):
    w.search("a", [hit("a", 2, 0, "Nobody wrote this."), hit("a", 2, 1, PARTS[1])])


def foreign_document(w):
    w.search("a", [hit("g", 1, 0, ONE)])


def foreign_tenant(w):
    w.search("a", both_parts(), client="stranger", tenant="other")


def request_with_two_revisions(w):
    w.ingest("a", TWO, 3, "REPLACED", request_id="a-2")


def request_of_two_documents(w):
    w.ingest("x", TWO, 1, request_id="q")
    w.ingest("y", TWO, 1, request_id="q")


def request_repeated_as_new(w):
    w.ingest("n", ONE, 1, request_id="n-1")
    w.ingest("n", ONE, 2, "REPLACED", request_id="n-1", client="w2")


def other_payload_taken(w):
    w.ingest("a", THREE, 2, "REPEATED", request_id="a-2")


def refused_with_effect(w):
    w.refused("ingest", "RESOURCE_EXHAUSTED", document="n", text=THREE)
    w.get("n", 1, "PENDING", 0, THREE)


def refused_delete_with_effect(w):
    w.refused("delete", "INVALID_ARGUMENT", document="g")
    w.get("g", 2, "DELETED", 0, "")


def refused_for_no_reason(w):
    w.refused("ingest", "ABORTED", "SOURCE_VERSION_NOT_GREATER", document="b", text=TWO, source_version=6)


def lower_version_taken(w):
    w.ingest("b", TWO, 4, "REPLACED", source_version=4)


def unanswered_write_taken_back(w):
    w.unknown("ingest", document="n", text=ONE)
    w.get("n", 1, "PENDING", 0, ONE)
    w.refused("get", "NOT_FOUND", "DOCUMENT_NOT_FOUND", client="r2", document="n")


def list_leaves_out(w):
    page = w.begin("r", "list", after="a")
    w.finish(page, result={"end": False, "documents": [seen("f", 1, "FAILED", 0, " ")]})


def list_shows_older(w):
    page = w.begin("r", "list", after="")
    w.finish(page, result={"end": False, "documents": [seen("a", 1, "READY", 1, ONE)]})


def requeued_twice(w):
    w.decide("requeue", "f", 1, 1, 2, "PENDING", client="w1")
    w.decide("requeue", "f", 1, 1, 2, "PENDING", client="w2")


def requeued_without_a_new_run(w):
    w.decide("requeue", "f", 1, 1, 1, "PENDING")


def requeue_refused_though_failed(w):
    w.refused("requeue", "NOT_FOUND", "DEAD_LETTER_NOT_FOUND", document="f", revision=1, run=1)
    w.get("f", 1, "FAILED", 0, " ")


def requeue_refused_with_effect(w):
    w.refused("requeue", "RESOURCE_EXHAUSTED", document="f", revision=1, run=1)
    w.get("f", 1, "FAILED", 0, " ", run=2)


def discarded_and_still_failed(w):
    w.decide("discard", "f", 1, 1, 1, "DELETED")
    w.get("f", 1, "FAILED", 0, " ")


def discarded_though_ready(w):
    w.decide("discard", "g", 1, 2, 2, "DELETED")


def discard_took_the_older_one_too(w):
    w.ingest("m", " ", 3, "REPLACED")
    w.get("m", 3, "FAILED", 1, " ")
    w.decide("discard", "m", 3, 1, 1, "DELETED")


def wait_for_an_older_one(w):
    w.wait("a", 1, "SUPERSEDED", ONE)


def wait_finds_nothing(w):
    w.refused("wait", "NOT_FOUND", "DOCUMENT_NOT_FOUND", client="r", document="a")


def wait_for_what_never_was(w):
    w.wait("n", 1, "READY", ONE)


def wait_says_it_goes_on(w):
    w.wait("f", 1, "PROCESSING", " ")


def wait_says_ready_before_it_is(w):
    w.ingest("n", ONE, 1)
    w.wait("n", 1, "READY", ONE)
    w.search("n", [])


def watch_goes_back(w):
    w.watch(["a"], [seen("a", 2, "READY", 2, TWO), seen("a", 2, "PROCESSING", 1, TWO)])


def watch_tells_of_another(w):
    w.watch(["a"], [seen("b", 3, "READY", 3, THREE)])


def stream_out_of_order(w):
    w.stream(["1", "2"], ["2", "1"])


def stream_ends_without_an_answer(w):
    w.stream(["1", "2"], ["1"])


def stream_answers_twice(w):
    w.stream(["1", "2"], ["1", "1"], kind="info")


IN_HISTORY = {
    lost_ack: "I1", older_revision_after_ack: "I1", two_acks_of_one_revision: "I3", gap_in_revisions: "I3",
    stale_search: "I3", ready_not_found: "I3", ready_not_found_by_nobody_asked: "I3", found_before_ready: "I3",
    found_though_failed: "I3", stale_get: "I3", stale_searchable: "I3", resurrected_by_search: "I11",
    resurrected_by_get: "I1", resurrected_by_find: "I11", older_comes_back: "I3", ready_and_failed: "I8",
    failed_forgotten: "I9", retried_without_asking: "I3", state_goes_back: "I7", run_goes_back: "I7",
    mixed_revisions: "I6", doubled_chunk: "I4", missing_chunk: "I5", hole_in_chunks: "I5",
    text_of_another_revision: "I4", foreign_text: "I12", foreign_document: "I12", foreign_tenant: "I12",
    request_with_two_revisions: "I15", request_of_two_documents: "I15", request_repeated_as_new: "I15",
    other_payload_taken: "I3", refused_with_effect: "I16", refused_delete_with_effect: "I3",
    refused_for_no_reason: "I3", lower_version_taken: "I3", unanswered_write_taken_back: "I3",
    requeued_twice: "I3", requeued_without_a_new_run: "I3", requeue_refused_though_failed: "I3",
    requeue_refused_with_effect: "I3", discarded_and_still_failed: "I3", discarded_though_ready: "I3",
    discard_took_the_older_one_too: "I3",
    list_leaves_out: "I1", list_shows_older: "I1", wait_for_an_older_one: "I1", wait_finds_nothing: "I1",
    wait_for_what_never_was: "I3", wait_says_it_goes_on: "I9", wait_says_ready_before_it_is: "I3",
    watch_goes_back: "I7", watch_tells_of_another: "I12", stream_out_of_order: "I1",
    stream_ends_without_an_answer: "I1", stream_answers_twice: "I1",
}


# ---- planted in the databases ----


class Planted:
    """The good scan, to be changed."""

    def __init__(self):
        self.lines = good_scan()

    def find(self, db, kind, **fields):
        return next(
            line for line in self.lines
            if line.get("db") == db and line["kind"] == kind and all(line.get(k) == v for k, v in fields.items())
        )

    def value(self, db, kind, **fields):
        return self.find(db, kind, **fields)["value"]

    def drop(self, db, kind, **fields):
        self.lines.remove(self.find(db, kind, **fields))

    def repeat(self, db, kind, **fields):
        self.lines.insert(0, copy.deepcopy(self.find(db, kind, **fields)))

    def add(self, db, kind, **fields):
        self.lines.insert(0, line(db, kind, **fields))


A, B, F, G = ({"document_id": name} for name in "abfg")
IN_SCAN = {
    "a lost record": ("I1", lambda p: p.drop("gateway", "revision", **A, revision=1)),
    "a lost document": ("I1", lambda p: [p.lines.remove(x) for x in list(p.lines) if x.get("document_id") == "g"]),
    "not over": ("I2", lambda p: p.value("gateway", "revision", **A, revision=2).update(state=2)),
    "found and not READY": ("I3", lambda p: p.value("gateway", "revision", **A, revision=1).update(state=3)),
    "a doubled vector": ("I4", lambda p: p.add("indexer", "vectors", **at("a", 2, epoch=1, ordinal=1), count=1)),
    "a doubled chunk": ("I4", lambda p: p.repeat("indexer", "chunk", **A)),
    "mixed runs": ("I4", lambda p: p.add("indexer", "vectors", **at("g", 1, epoch=1, ordinal=0), count=1)),
    "chunks of a replaced revision": ("I4", lambda p: p.add("indexer", "chunk", **at("a", 1, epoch=1, ordinal=0))),
    "chunks of nobody": ("I4", lambda p: p.add("indexer", "chunk", **at("z", 1, epoch=1, ordinal=0), value={})),
    "a missing chunk": ("I5", lambda p: p.drop("indexer", "chunk", **A, ordinal=1)),
    "a missing vector": ("I5", lambda p: p.find("indexer", "vectors", **A).update(count=1)),
    "READY without chunks": ("I5", lambda p: p.value("gateway", "revision", **G).update(chunkCount=0)),
    "READY and FAILED": ("I8", lambda p: p.value("indexer", "register", **F).update(readyRevision="1")),
    "a forgotten tombstone": ("I11", lambda p: p.value("indexer", "register", **B).update(deletedBelow="0")),
    "READY below its tombstone": ("I11", lambda p: p.value("gateway", "document", **B).update(deletedBelow="3")),
    "no dead letter": ("I13", lambda p: p.drop("reconciler", "dead_letter")),
    "a dead letter that is not listed by time": ("I13", lambda p: p.drop("reconciler", "dead_letter_by_time")),
    "an inconsistency left": ("I28", lambda p: p.add("gateway", "inconsistency", number=1, value={"revision": "1"})),
    "two dead letters": ("I13", lambda p: p.repeat("reconciler", "dead_letter")),
    "a dead letter of a READY one": (
        "I13", lambda p: p.add("reconciler", "dead_letter", **at("a", 2), tenant="default", value={})),
    "a dead letter of nobody": (
        "I13", lambda p: p.add("reconciler", "dead_letter", **at("z", 1), tenant="default", value={})),
    "a dead letter of other bytes": (
        "I13", lambda p: p.value("reconciler", "dead_letter").update(contentSha256=hashed(ONE))),
    "a dead letter without a reason": ("I13", lambda p: p.value("reconciler", "dead_letter").update(failure={})),
    "a dead letter of another run": ("I13", lambda p: p.value("reconciler", "dead_letter").update(epoch="2")),
    "a forgotten request_id": ("I15", lambda p: p.drop("gateway", "request", request_id="a-2")),
    "a request_id of another revision": (
        "I15", lambda p: p.value("gateway", "request", request_id="a-2").update(revision="1")),
    "what nobody wrote": (
        "I16", lambda p: p.value("gateway", "revision", **A, revision=1).update(contentSha256=hashed("?"))),
    "a wrong counter": ("I18", lambda p: p.value("gateway", "counters").update(ready="6")),
    "accepted and not accounted for": ("I18", lambda p: p.value("gateway", "counters").update(accepted="9")),
    "a lost source": ("I19", lambda p: p.drop("gateway", "source", **A)),
    "a damaged source": ("I19", lambda p: p.find("gateway", "source", **A).update(sha256="00")),
    "a kept source": ("I19", lambda p: p.add("gateway", "source", **at("a", 1), size=1, sha256="00")),
    "an acknowledged row that did not come": ("I20", lambda p: p.value("indexer", "link_rx").update(cursor="7")),
    "a gap in an outbox": ("I20", lambda p: p.drop("gateway", "outbox")),
    "rows behind the next": ("I20", lambda p: p.add("gateway", "outbox", link=65536, seq=10)),
    "a row that waits": ("I2", lambda p: p.value("ingest", "link_rx").update(cursor="8")),
    "a forgotten promise": ("I21", lambda p: p.value("indexer", "register", **F).update(revoked=[])),
    "a damaged record": ("I23", lambda p: p.find("indexer", "vectors").update(problem="not finite")),
    "READY at the indexer alone": (
        "I28", lambda p: p.add("indexer", "register", **at("z"), value={"readyRevision": "1"})),
    "READY at the gateway alone": ("I28", lambda p: p.value("indexer", "register", **A).update(readyRevision="1")),
    "staged chunks left": ("I28", lambda p: p.value("indexer", "register", **A).update(staged=[{"revision": "9"}])),
    "two eras": ("I30", lambda p: p.find("indexer", "era").update(number=2)),
    "deferred work left": ("I2", lambda p: p.add("ingest", "deferred", **at("a", 2), value={})),
    "a backlog left": ("I2", lambda p: p.add("gateway", "backlog", value={"collectionNo": "1", "documentId": "a"})),
    "unready though over": ("I19", lambda p: p.add(
        "gateway", "unready", number=7, value={"collectionNo": "1", "sizes": ["0", "9"]})),
    "an ending left": ("I2", lambda p: p.add("reconciler", "ending", **at("a", 2), value={})),
}


class CheckerTest(unittest.TestCase):
    def judge(self, written, lines=None, losses=0):
        scan = None if lines is None else compare.Scan(lines)
        checker = Checker(history.parse(written.lines), scan, losses)
        return [str(violation) for violation in checker.run()], [v.invariant for v in checker.violations]

    def test_a_good_history_is_accepted_alone(self):
        self.assertEqual(self.judge(good_history())[0], [])

    def test_a_good_history_is_accepted_with_its_databases(self):
        self.assertEqual(self.judge(good_history(), good_scan())[0], [])

    def test_each_planted_anomaly_of_a_history_is_rejected(self):
        for plant, invariant in IN_HISTORY.items():
            with self.subTest(plant.__name__):
                written = good_history()
                plant(written)
                texts, found = self.judge(written)
                self.assertIn(invariant, found, texts)

    def test_each_planted_anomaly_of_the_databases_is_rejected(self):
        for name, (invariant, plant) in IN_SCAN.items():
            with self.subTest(name):
                planted = Planted()
                plant(planted)
                texts, found = self.judge(good_history(), planted.lines)
                self.assertIn(invariant, found, texts)

    def test_what_happens_at_once_may_be_seen_in_either_order(self):
        w = Written()
        w.ingest("n", ONE, 1)
        search = w.begin("r1", "search", document="n", query="?")
        w.get("n", 1, "READY", 1, ONE, client="r2")
        w.finish(search, result={"complete": True, "hits": []})
        self.assertEqual(self.judge(w)[0], [])

    def test_an_unanswered_write_may_happen_later_or_never(self):
        w = Written()
        w.ingest("n", ONE, 1)
        w.unknown("ingest", document="n", text=TWO)
        w.unknown("ingest", document="n", text=THREE)
        w.get("n", 1, "READY", 1, ONE)
        w.get("n", 2, "READY", 2, TWO)
        self.assertEqual(self.judge(w)[0], [])

    def test_a_delete_under_way_may_be_overtaken(self):
        w = Written()
        w.ingest("n", ONE, 1)
        w.get("n", 1, "READY", 1, ONE)
        w.unknown("delete", document="n")
        w.ingest("n", TWO, 3)
        w.search("n", [hit("n", 1, 0, ONE)])
        w.search("n", [])
        w.get("n", 3, "READY", 3, TWO)
        self.assertEqual(self.judge(w)[0], [])

    def test_an_answered_delete_may_not(self):
        w = Written()
        w.ingest("n", ONE, 1)
        w.get("n", 1, "READY", 1, ONE)
        w.delete("n", 2)
        w.ingest("n", TWO, 3)
        w.search("n", [hit("n", 1, 0, ONE)])
        self.assertIn("I11", self.judge(w)[1])

    def test_a_lost_index_is_driven_again_if_one_was_lost(self):
        w = Written()
        w.ingest("n", ONE, 1)
        w.get("n", 1, "READY", 1, ONE)
        w.get("n", 1, "PENDING", 0, ONE, run=2)
        w.get("n", 1, "READY", 1, ONE, run=2)
        self.assertEqual(self.judge(w, losses=1)[0], [])
        self.assertIn("I3", self.judge(w)[1])

    def test_a_ready_that_only_a_search_had_shown_may_be_lost_with_the_index(self):
        w = Written()
        w.ingest("n", ONE, 1)
        w.get("n", 1, "READY", 1, ONE)
        w.ingest("n", THREE, 2, "REPLACED")
        w.search("n", [hit("n", 2, 0, THREE)])
        w.search("n", [hit("n", 1, 0, ONE)])
        w.get("n", 2, "PROCESSING", 1, THREE, run=2)
        w.get("n", 2, "READY", 2, THREE, run=2)
        self.assertEqual(self.judge(w, losses=1)[0], [])
        self.assertIn("I3", self.judge(w)[1])

    def test_a_ready_that_nobody_had_seen_may_be_lost_with_the_index(self):
        w = Written()
        w.ingest("n", ONE, 1)
        w.get("n", 1, "READY", 1, ONE)
        w.ingest("n", THREE, 2, "REPLACED")
        w.get("n", 2, "PROCESSING", 0, THREE, run=2)
        w.delete("n", 3)
        self.assertEqual(self.judge(w, losses=1)[0], [])
        self.assertIn("I3", self.judge(w)[1])

    def test_an_index_that_is_rebuilt_may_not_answer_that_nothing_is_there(self):
        w = Written()
        w.ingest("n", ONE, 1)
        w.get("n", 1, "READY", 1, ONE)
        w.search("n", [])
        w.get("n", 1, "READY", 1, ONE, run=2)
        self.assertIn("I3", self.judge(w, losses=1)[1])

    def test_a_scan_that_was_cut_is_refused(self):
        with self.assertRaises(ValueError):
            compare.Scan(good_scan()[:-1])


if __name__ == "__main__":
    print(f"planted: {len(IN_HISTORY)} anomalies in a history, {len(IN_SCAN)} in the databases", flush=True)
    unittest.main(verbosity=2)
