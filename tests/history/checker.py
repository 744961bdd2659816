"""Decide whether a history keeps weir's promises.

usage: checker.py [--scan SCAN] [--losses N] HISTORY...     exit 0 if it does, 1 with what it breaks

Simple rules come first, since they name what is broken; then the search for an order of each document's operations
(register.py); then, with a scan of the databases, everything that only they can tell (compare.py). Rules are named as
the promises are: I1 acknowledged is never lost, I3 searchable if and only if READY, I4 no chunk doubled, I5 all
chunks or none, I6 one revision in one answer, I7 nobody sees a revision, run or state go back, I8 READY and FAILED
exclude each other, I9 FAILED stays, I10 an older revision does not come back, I11 a delete is final, I12 nobody sees
what another tenant wrote, I15 a request_id has one answer, I16 a refusal has no effect.
"""

import argparse
import bisect
import collections
import sys

import compare
import register
from history import Violation, by_document, read

RANK = {"PENDING": 1, "PROCESSING": 2, "READY": 3, "FAILED": 3, "SUPERSEDED": 4, "DELETED": 5}
NOT_AGAIN = ("PENDING", "PROCESSING", "READY")  # what a FAILED run is never seen as


class Checker:
    def __init__(self, operations, scan=None, losses=0):
        self.operations, self.scan, self.losses = operations, scan, losses
        self.documents = by_document(operations)
        self.texts = collections.defaultdict(dict)  # document -> sha256 -> text
        self.finds = collections.defaultdict(list)
        self.violations = []
        self.undecided = []
        self.acks = sorted(  # the first to be acknowledged last
            (
                (operation.ended, (*operation.scope, operation.result["document"]), operation.result["revision"])
                for operation in operations
                if operation.kind == "ok" and operation.name in ("ingest", "delete")
            ),
            reverse=True,
        )
        self.acked, self.acked_names = {}, []

    def report(self, invariant, document, text):
        self.violations.append(Violation(invariant, document, text))

    def run(self):
        self.gather()
        self.check_clients()
        self.check_requests()
        for operation in self.operations:
            if operation.kind == "ok" and operation.name in ("search", "find"):
                self.check_hits(operation)
            if operation.kind == "ok" and operation.name == "list":
                self.check_page(operation)
            if operation.name == "stream":
                self.check_stream(operation)
            if operation.name == "watch":
                self.check_watch(operation)
        for document, operations in self.documents.items():
            self.check_document(document, operations)
        if self.scan is not None:
            self.violations += compare.check(self.scan, self)
        return self.violations

    def gather(self):
        for document, operations in self.documents.items():
            for operation in operations:
                if operation.name == "ingest":
                    self.texts[document][operation.sha256] = operation.arguments["text"]
        for operation in self.operations:
            if operation.kind == "ok" and operation.name == "find":
                for name, revision in {(hit["document"], hit["revision"]) for hit in operation.result["hits"]}:
                    self.finds[(*operation.scope, name)].append((operation, revision))

    # ---- what one client sees ----

    def check_clients(self):
        newest = {}
        for operation in sorted(self.operations, key=lambda o: o.ended):
            if operation.kind != "ok" or "revision" not in operation.result:
                continue
            seen = operation.result
            if operation.name != "get":
                # An answer about an earlier request says nothing of the newest revision.
                continue
            key = (operation.client, *operation.scope, seen["document"])
            now = (seen["revision"], seen["run"], RANK[seen["state"]])
            if now < newest.get(key, (0, 0, 0)):
                self.report("I7", key[1:], f"{operation.client} saw it go back from {newest[key]}: {operation}")
            newest[key] = max(now, newest.get(key, (0, 0, 0)))

    def check_requests(self):
        """One request_id, one answer; whoever asked."""
        answers = collections.defaultdict(set)
        for operation in self.operations:
            request_id = operation.arguments.get("request_id")
            if request_id and operation.kind == "ok":
                key = (operation.scope[0], operation.name, request_id)
                answers[key].add((operation.result["document"], operation.result["revision"]))
        for (_, name, request_id), found in answers.items():
            if len(found) > 1:
                self.report("I15", None, f"{name} with request_id {request_id} was answered {sorted(found)}")

    # ---- streams ----

    def check_stream(self, operation):
        """Items are answered in their order, each once, and all of them when the stream ended well."""
        asked = operation.arguments["marks"]
        told = (operation.result or {}).get("marks", [])
        if told != asked[: len(told)] or (operation.kind == "ok" and len(told) != len(asked)):
            self.report("I1", None, f"a stream of items {asked} was answered for {told}")

    def check_watch(self, operation):
        """Only of documents that were asked for; no run of a revision goes back."""
        newest = {}
        for seen in (operation.result or {}).get("events", []):
            document = (*operation.scope, seen["document"])
            if seen["document"] not in operation.arguments["documents"]:
                self.report("I12", document, f"a watch of others tells of it: {operation}")
            key, now = (seen["document"], seen["revision"]), (seen["run"], RANK[seen["state"]])
            if now < newest.get(key, (0, 0)):
                self.report("I7", document, f"a watch goes back from {newest[key]} to {seen}")
            newest[key] = max(now, newest.get(key, (0, 0)))

    # ---- hits ----

    def check_hits(self, operation):
        revisions = collections.defaultdict(set)
        for hit in operation.result["hits"]:
            self.check_hit(operation, hit)
            revisions[hit["document"]].add(hit["revision"])
        for name, found in revisions.items():
            if len(found) > 1:
                self.report("I6", (*operation.scope, name), f"one answer has revisions {sorted(found)}: {operation}")
        hits = operation.result["hits"]
        places = collections.Counter((hit["document"], hit["revision"], hit["ordinal"]) for hit in hits)
        for place, number in places.items():
            if number > 1:
                self.report("I4", (*operation.scope, place[0]), f"chunk {place} is in one answer {number} times")
        if operation.name == "search" and operation.result["complete"]:
            self.check_whole(operation)

    def check_hit(self, operation, hit):
        document = (*operation.scope, hit["document"])
        wanted = operation.arguments.get("document")
        if wanted is not None and hit["document"] != wanted:
            self.report("I12", document, f"a search of {wanted} alone found {hit}")
        if not any(hit["text"] in text for text in self.texts[document].values()):
            self.report("I12", document, f"nobody wrote into {document[:2]} what was found: {hit}")

    def check_whole(self, operation):
        document = (*operation.scope, operation.arguments["document"])
        ordinals = sorted(hit["ordinal"] for hit in operation.result["hits"])
        if ordinals and sorted(set(ordinals)) != list(range(len(set(ordinals)))):
            self.report("I5", document, f"found with chunks {ordinals} alone")

    # ---- lists ----

    def check_page(self, operation):
        """Who was acknowledged before the page was asked for, and lies between its ends, is on it, and not older."""
        shown = {seen["document"]: seen for seen in operation.result["documents"]}
        names = list(shown)
        if names != sorted(names):
            self.report("I1", None, f"a page is out of order: {operation}")
        first, last = operation.arguments["after"], names[-1] if names else ""
        if operation.result["end"]:
            last = "\U0010ffff"
        for document, revision in self.acknowledged_before(operation, first, last):
            if document[2] not in shown:
                self.report("I1", document, f"revision {revision} was acknowledged, a page leaves it out: {operation}")
            elif shown[document[2]]["revision"] < revision:
                self.report("I1", document, f"revision {revision} was acknowledged, and a page shows an older one")

    def acknowledged_before(self, page, first, last):
        """Newest acknowledged revisions between two documents.  Pages come in order: the acks are gone through once."""
        while self.acks and self.acks[-1][0] < page.invoked:
            _, document, revision = self.acks.pop()
            if document not in self.acked:
                bisect.insort(self.acked_names, document)
            self.acked[document] = max(revision, self.acked.get(document, 0))
        begin = bisect.bisect_right(self.acked_names, (*page.scope, first))
        end = bisect.bisect_right(self.acked_names, (*page.scope, last))
        return [(document, self.acked[document]) for document in self.acked_names[begin:end]]

    # ---- one document ----

    def check_document(self, document, operations):
        before = len(self.violations)
        self.check_acknowledged(document, operations)
        self.check_deletes(document, operations)
        self.check_ends(document, operations)
        self.check_contents(document, operations)
        self.check_chunks(document, operations)
        if len(self.violations) == before:
            self.check_order(document, operations)

    def check_acknowledged(self, document, operations):
        ended = sorted((o for o in operations if o.kind == "ok" and o.name in register.WRITERS), key=lambda o: o.ended)
        for operation in operations:
            if operation.name not in ("get", "wait"):
                continue
            acked = max((o.result["revision"] for o in ended if o.ended < operation.invoked), default=0)
            if operation.kind == "ok" and operation.result["revision"] < acked:
                self.report("I1", document, f"revision {acked} was acknowledged: {operation}")
            if operation.reason == "DOCUMENT_NOT_FOUND" and acked:
                self.report("I1", document, f"revision {acked} was acknowledged and is not found: {operation}")

    def check_deletes(self, document, operations):
        deletes = [(o.ended, o.result["revision"]) for o in operations if o.kind == "ok" and o.name == "delete"]
        searches = [(o, hit["revision"]) for o in operations if o.kind == "ok" and o.name == "search"
                    for hit in o.result["hits"]] + self.finds.get(document, [])
        for operation, revision in searches:
            if any(ended < operation.invoked and revision < number for ended, number in deletes):
                self.report("I11", document, f"revision {revision} was deleted before: {operation}")

    def check_ends(self, document, operations):
        """READY and FAILED of one run exclude each other, and FAILED stays until a retry."""
        ready, failed = {}, {}
        for operation in operations:
            seen = operation.result
            if operation.kind != "ok" or "state" not in (seen or {}):
                continue
            key = (seen["revision"], seen["run"])
            if seen["state"] == "READY":
                ready[key] = operation
            if seen["state"] == "FAILED":
                failed.setdefault(key, operation)
        for key in ready.keys() & failed.keys():
            self.report("I8", document, f"revision and run {key} is both: {ready[key]}; {failed[key]}")
        for operation in operations:
            seen = operation.result
            if operation.kind != "ok" or operation.name not in ("get", "wait"):
                continue
            was = failed.get((seen["revision"], seen["run"]))
            if was is not None and was.ended < operation.invoked and seen["state"] in NOT_AGAIN:
                self.report("I9", document, f"it had FAILED in this run: {operation}")

    def check_contents(self, document, operations):
        """Each revision holds what somebody wrote whom nobody refused."""
        texts = self.texts[document]
        written = {o.sha256 for o in operations if o.name == "ingest" and o.kind != "fail"}
        found = {
            (o.result["revision"], o.result["sha256"])
            for o in operations
            if o.kind == "ok" and o.name == "get" and o.result["sha256"]
        }
        for revision, sha256 in found:
            if sha256 in written:
                continue
            what = "was refused" if sha256 in texts else "nobody wrote"
            self.report("I16", document, f"revision {revision} holds what {what}: {texts.get(sha256, sha256)[:80]!r}")

    def check_chunks(self, document, operations):
        """Number of chunks and their texts, by revision."""
        gets = [o.result for o in operations if o.kind == "ok" and o.name == "get"]
        counts = {seen["revision"]: seen["chunks"] for seen in gets if seen["state"] == "READY"}
        texts = {seen["revision"]: self.texts[document].get(seen["sha256"]) for seen in gets}
        for operation in operations:
            if operation.kind != "ok" or operation.name != "search" or not operation.result["complete"]:
                continue
            hits = operation.result["hits"]
            for revision in {hit["revision"] for hit in hits} & counts.keys():
                ordinals = {hit["ordinal"] for hit in hits if hit["revision"] == revision}
                if ordinals != set(range(counts[revision])):
                    self.report("I5", document, f"{counts[revision]} chunks, found {sorted(ordinals)}: {operation}")
            for hit in hits:
                text = texts.get(hit["revision"])
                if text is not None and hit["text"] not in text:
                    self.report("I4", document, f"revision {hit['revision']} is found with a text of another: {hit}")

    def check_order(self, document, operations):
        finds = self.finds.get(document, [])
        facts = register.facts_of(operations, finds, self.losses)
        end = [] if self.scan is None else compare.end(self.scan, document, facts)
        steps = register.steps_of(operations, finds, facts) + end
        search = register.Search(steps, facts)
        answer = search.run()
        if answer is None:
            self.undecided.append(document)
        elif not answer:
            self.report("I3", document, search.explain())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", help="what weir-scan printed of the stopped suite")
    parser.add_argument("--losses", type=int, default=0, help="volumes that were lost or rolled back in the run")
    parser.add_argument("history", nargs="+")
    arguments = parser.parse_args()
    scan = compare.Scan.read(arguments.scan) if arguments.scan else None
    checker = Checker(read(arguments.history), scan, arguments.losses)
    for violation in checker.run():
        print(violation)
    print(summary(checker))
    sys.exit(1 if checker.violations or checker.undecided else 0)


def summary(checker):
    kinds = collections.Counter(operation.kind for operation in checker.operations)
    return (
        f"history: {len(checker.operations)} operations ({kinds['ok']} ok, {kinds['fail']} refused, {kinds['info']}"
        f" unknown) on {len(checker.documents)} documents, {len(checker.violations)} violations,"
        f" {len(checker.undecided)} undecided"
    )


if __name__ == "__main__":
    main()
