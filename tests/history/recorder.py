"""A client that writes down what it does: one JSON line before each call and one after it.

invoke  the call is about to be sent, with its arguments
ok      an answer came, with what it says
fail    refused: the call had no effect (INVALID_ARGUMENT, ABORTED, RESOURCE_EXHAUSTED, ...)
info    nobody knows: the call had its effect, or will have it, or never will (UNAVAILABLE, DEADLINE_EXCEEDED, ...)

`t` is CLOCK_MONOTONIC in nanoseconds, one clock for all processes of a machine.  A line is written in one piece, so
histories of threads may share a file; those of processes are read together by history.read.
"""

import itertools
import json
import threading
import time

import grpc

import harness
from harness import MESSAGES, Client, Refusal, outcome_name, state_name

# No effect, by the conventions of the API; every other code says nothing about what happened.
NO_EFFECT = frozenset(
    grpc.StatusCode[name]
    for name in (
        "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
        "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED",
    )
)


class Journal:
    """The file; any thread writes."""

    def __init__(self, path):
        self.stream = open(path, "a", encoding="utf-8", buffering=1 << 16)
        self.lock = threading.Lock()
        self.ids = itertools.count(1)

    def write(self, line):
        with self.lock:
            line["t"] = time.monotonic_ns()
            self.stream.write(json.dumps(line) + "\n")

    def close(self):
        with self.lock:
            self.stream.close()


def view(document):
    """What a Document says, as the history keeps it."""
    seen = {
        "document": document.document_id,
        "revision": document.revision,
        "run": document.run,
        "state": state_name(document),
        "searchable": document.searchable_revision,
        "chunks": document.chunk_count,
        "sha256": document.content_sha256,
    }
    if document.HasField("error"):
        seen["reason"] = document.error.reason
    return seen


def view_hits(answer):
    return {
        "complete": answer.complete,
        "hits": [
            {"document": hit.document_id, "revision": hit.revision, "ordinal": hit.ordinal, "text": hit.text}
            for hit in answer.hits
        ],
    }


def reason_of(status):
    for detail in status.details:
        if detail.type_url.endswith("/google.rpc.ErrorInfo"):
            return MESSAGES("google.rpc.ErrorInfo").FromString(detail.value).reason
    return ""


class Recorder:
    """One client: its calls come one after the other."""

    def __init__(self, journal, name, address, collection, tenant="default"):
        self.journal, self.name, self.collection, self.tenant = journal, name, collection, tenant
        self.client = Client(address)
        self.counts = {"ok": 0, "fail": 0, "info": 0}

    def close(self):
        self.client.close()

    def call(self, operation, method, reading, arguments, deadline=5, **fields):
        """The answer, or the grpc.RpcError."""
        number = next(self.journal.ids)
        about = {"client": self.name, "id": number}
        self.journal.write(
            {
                **about, "type": "invoke", "op": operation, "tenant": self.tenant, "collection": self.collection,
                **arguments,
            }
        )
        try:
            answer = self.client.call(
                method, deadline=deadline, wait_for_ready=True, collection_id=self.collection, **fields
            )
        except grpc.RpcError as error:
            kind = "fail" if error.code() in NO_EFFECT else "info"
            self.counts[kind] += 1
            refusal = Refusal(error)
            self.journal.write(
                {**about, "type": kind, "code": refusal.code, "reason": refusal.reason, "message": refusal.message}
            )
            return error
        self.counts["ok"] += 1
        self.journal.write({**about, "type": "ok", "result": reading(answer)})
        return answer

    def ingest(self, document, text, request_id="", source_version=0, force=False, wait=0, deadline=5):
        arguments = {
            "document": document, "text": text, "request_id": request_id, "source_version": source_version,
            "force": force,
        }
        return self.call(
            "ingest", "IngestDocument",
            lambda answer: {**view(answer.document), "outcome": outcome_name(answer)},
            arguments, deadline=deadline, document_id=document, text=text, request_id=request_id,
            source_version=source_version, force=force, wait=wait,
        )

    def delete(self, document, request_id="", deadline=5):
        return self.call(
            "delete", "DeleteDocument", lambda answer: view(answer.document),
            {"document": document, "request_id": request_id},
            deadline=deadline, document_id=document, request_id=request_id,
        )

    def retry(self, document, request_id="", revision=0, deadline=5):
        return self.call(
            "retry", "RetryDocument", lambda answer: view(answer.document),
            {"document": document, "request_id": request_id, "revision": revision},
            deadline=deadline, document_id=document, request_id=request_id, revision=revision,
        )

    def letters(self, document, deadline=5):
        """Dead letters of a document, newest first; not written down, since lists of them may be a little behind."""
        try:
            return self.client.call(
                "ListDeadLetters", deadline=deadline, wait_for_ready=True, collection_id=self.collection,
                filter=f'document_id = "{document}"',
            ).dead_letters
        except grpc.RpcError:
            return []

    def requeue(self, letter, request_id="", deadline=5):
        return self.decide("requeue", letter, request_id, deadline)

    def discard(self, letter, request_id="", deadline=5):
        return self.decide("discard", letter, request_id, deadline)

    def decide(self, operation, letter, request_id, deadline):
        """Try one dead letter again, or end it; the answer, a refusal of the one as a code, or the grpc.RpcError."""
        about = {"client": self.name, "id": next(self.journal.ids)}
        self.journal.write({
            **about, "type": "invoke", "op": operation, "tenant": self.tenant, "collection": self.collection,
            "document": letter.document_id, "revision": letter.revision, "run": letter.run, "request_id": request_id,
        })
        method = "RequeueDeadLetters" if operation == "requeue" else "DiscardDeadLetters"
        try:
            answer = self.client.call(
                method, deadline=deadline, wait_for_ready=True, dead_letter_ids=[letter.dead_letter_id],
                request_id=request_id,
            )
        except grpc.RpcError as error:
            kind = "fail" if error.code() in NO_EFFECT else "info"
            self.counts[kind] += 1
            refusal = Refusal(error)
            self.journal.write({**about, "type": kind, "code": refusal.code, "reason": refusal.reason})
            return error
        said = self.decided(operation, letter, answer)
        self.counts[said["type"]] += 1
        self.journal.write({**about, **said})
        return answer

    @staticmethod
    def decided(operation, letter, answer):
        if not answer.results:
            late = operation == "requeue"  # beyond the rate: asked to come back later
            code, reason = ("RESOURCE_EXHAUSTED", "") if late else ("NOT_FOUND", "DEAD_LETTER_NOT_FOUND")
            return {"type": "fail", "code": code, "reason": reason}
        one = answer.results[0]
        result = {"document": letter.document_id, "revision": letter.revision}
        if operation == "discard":
            return {"type": "ok", "result": {**result, "run": letter.run, "state": state_name(one)}}
        if not one.HasField("status"):
            return {"type": "ok", "result": {**result, "run": one.run, "state": "PENDING"}}
        code = next(code for code in grpc.StatusCode if code.value[0] == one.status.code)
        return {"type": "fail", "code": code.name, "reason": reason_of(one.status)}

    def get(self, document, deadline=5):
        return self.call(
            "get", "GetDocument", lambda answer: view(answer.document), {"document": document},
            deadline=deadline, document_id=document,
        )

    def wait(self, document, timeout=1, deadline=5):
        """How a document stands that is over, or still is not after the timeout."""
        return self.call(
            "wait", "WaitDocument", lambda answer: view(answer.document), {"document": document},
            deadline=deadline, document_id=document, timeout=timeout,
        )

    def watch(self, documents, seconds=1):
        """What a watch of some documents tells for a while; that it is then cut off says nothing."""
        number, told = next(self.journal.ids), []
        about = {"client": self.name, "id": number}
        self.journal.write({
            **about, "type": "invoke", "op": "watch", "tenant": self.tenant, "collection": self.collection,
            "documents": documents,
        })
        request = self.client.request("WatchDocuments", collection_id=self.collection, document_ids=documents)
        try:
            for answer in self.client.stream("WatchDocuments", request, deadline=seconds):
                told.append(view(answer.document))
        except grpc.RpcError:
            pass
        self.counts["ok"] += 1
        self.journal.write({**about, "type": "ok", "result": {"events": told}})
        return told

    def ingest_all(self, items, deadline=5):
        """(document, text, request_id) in one stream: each is written down as an ingest, and the stream as a whole."""
        about = [self.begin_item(*item) for item in items]
        whole = {"client": self.name, "id": next(self.journal.ids)}
        marks = [str(item["id"]) for item in about]
        self.journal.write({
            **whole, "type": "invoke", "op": "stream", "tenant": self.tenant, "collection": self.collection,
            "marks": marks,
        })
        answers, kind = [], "ok"
        try:
            requests = iter([self.item(mark, item) for mark, item in zip(marks, items)])
            for answer in self.client.stream("IngestDocuments", requests, deadline):
                answers.append(answer)
                self.end_item(about, answer)
        except grpc.RpcError:
            kind = "info"
        for item in about[len(answers):]:
            self.counts["info"] += 1
            self.journal.write({**item, "type": "info", "code": "UNAVAILABLE"})
        answered = [answer.correlation_id for answer in answers]
        self.journal.write({**whole, "type": kind, "result": {"marks": answered}})
        return [answer.HasField("document") for answer in answers]

    def begin_item(self, document, text, request_id):
        about = {"client": self.name, "id": next(self.journal.ids)}
        self.journal.write({
            **about, "type": "invoke", "op": "ingest", "tenant": self.tenant, "collection": self.collection,
            "document": document, "text": text, "request_id": request_id, "source_version": 0, "force": True,
        })
        return about

    def item(self, mark, item):
        document, text, request_id = item
        return self.client.request("IngestDocuments", correlation_id=mark, request={
            "collection_id": self.collection, "document_id": document, "text": text, "request_id": request_id,
            "force": True,
        })

    def end_item(self, about, answer):
        item = next(item for item in about if str(item["id"]) == answer.correlation_id)
        if answer.HasField("document"):
            self.counts["ok"] += 1
            result = {**view(answer.document), "outcome": outcome_name(answer)}
            self.journal.write({**item, "type": "ok", "result": result})
            return
        code = next(code for code in grpc.StatusCode if code.value[0] == answer.status.code)
        kind = "fail" if code in NO_EFFECT else "info"
        self.counts[kind] += 1
        reason = reason_of(answer.status)
        self.journal.write({**item, "type": kind, "code": code.name, "reason": reason})

    def search(self, document, text, deadline=5, allow_partial=False):
        """Everything that an exact search finds of one document, asked with its own words."""
        return self.call(
            "search", "Search", view_hits, {"document": document, "query": text}, deadline=deadline, text=text,
            exact=True, top_k=1000, filter=f'document_id = "{document}"', allow_partial=allow_partial,
        )

    def find(self, text, deadline=5, top_k=5):
        """What an exact search of the whole collection finds."""
        return self.call(
            "find", "Search", view_hits, {"query": text}, deadline=deadline, text=text, exact=True, top_k=top_k
        )

    def list(self, page_token, after, page_size=50, deadline=5):
        """One page; `after` is the last document of the page before."""
        return self.call(
            "list", "ListDocuments",
            lambda answer: {
                "documents": [view(document) for document in answer.documents],
                "end": not answer.next_page_token,
            },
            {"after": after}, deadline=deadline, page_size=page_size, page_token=page_token, show_deleted=True,
        )

    def until_answered(self, call, *arguments, patience=90, **options):
        """Repeat a call that carries a request_id until somebody answers; the answer or the refusal."""
        until = time.monotonic() + patience
        while True:
            answer = call(*arguments, **options)
            if not isinstance(answer, grpc.RpcError):
                return answer
            refused = answer.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            if (answer.code() in NO_EFFECT and not refused) or time.monotonic() > until:
                return answer
            if refused:
                time.sleep(harness.POLL)  # asked to come back later
