"""Compare a history with what the databases of the stopped suite hold (scan.c), and the databases with each other."""

import base64
import collections
import json

import register
from history import FOREVER, Violation

STATES = {1: "PENDING", 2: "PROCESSING", 3: "READY", 4: "FAILED", 5: "SUPERSEDED", 6: "DELETED"}
ENDS = ("READY", "FAILED", "SUPERSEDED", "DELETED")
METHODS = {"ingest": 1, "delete": 2, "retry": 3}
# From services/domain: number of the kind of a link -> sender, receiver.
LINKS = {
    1: ("gateway", "ingest"), 2: ("ingest", "embedder"), 3: ("embedder", "indexer"), 4: ("gateway", "indexer"),
    5: ("gateway", "reconciler"), 6: ("ingest", "reconciler"), 7: ("embedder", "reconciler"),
    8: ("indexer", "reconciler"), 9: ("reconciler", "indexer"), 10: ("reconciler", "gateway"),
    11: ("indexer", "gateway"),
}


def number(value, name):
    """Of a 64-bit field: text in ProtoJSON, absent when 0."""
    return int(value.get(name, 0))


def hexed(value, name):
    return base64.b64decode(value.get(name, "")).hex()


class Scan:
    """The lines of weir-scan, by what they are about."""

    def __init__(self, lines):
        self.lines = lines
        self.names = {}  # collection_no -> (tenant, collection)
        self.documents, self.revisions, self.sources = {}, collections.defaultdict(dict), {}
        self.registers, self.letters = {}, collections.defaultdict(list)
        self.chunks, self.vectors = collections.defaultdict(list), collections.defaultdict(list)
        self.kinds = collections.defaultdict(list)
        self.outbox = collections.defaultdict(list)
        for line in lines:
            self.kinds[(line.get("db"), line["kind"])].append(line)
        if not self.kinds[(None, "end")]:
            raise ValueError("the scan has no end: weir-scan did not finish")
        for line in self.kinds[("gateway", "collection")]:
            self.names[number(line["value"], "collectionNo")] = (line["tenant"], line["value"]["collectionId"])
        self.sort()

    @staticmethod
    def read(path):
        with open(path, encoding="utf-8") as stream:
            return Scan([json.loads(line) for line in stream])

    def name(self, line):
        tenant, collection = self.names.get(line["collection_no"], ("?", f"#{line['collection_no']}"))
        return tenant, collection, line["document_id"]

    def of(self, database, kind):
        return self.kinds[(database, kind)]

    def sort(self):
        for line in self.of("gateway", "document"):
            self.documents[self.name(line)] = line["value"]
            if "newest" in line["value"]:
                self.revisions[self.name(line)][number(line["value"], "newestRevision")] = line["value"]["newest"]
        for line in self.of("gateway", "revision"):
            self.revisions[self.name(line)][line["revision"]] = line["value"]
        for line in self.of("gateway", "source"):
            self.sources[(*self.name(line), line["revision"])] = line
        for line in self.of("indexer", "register"):
            self.registers[self.name(line)] = line["value"]
        for line in self.of("indexer", "chunk"):
            self.chunks[(*self.name(line), line["revision"], line["epoch"])].append(line["ordinal"])
        for line in self.of("indexer", "vectors"):
            first, count = line["ordinal"], line.get("count", 0)
            self.vectors[(*self.name(line), line["revision"], line["epoch"])] += range(first, first + count)
        for line in self.of("reconciler", "dead_letter"):
            self.letters[(*self.name(line), line["revision"])].append(line["value"])
        for database in ("gateway", "ingest", "embedder", "indexer", "reconciler"):
            for line in self.of(database, "outbox"):
                self.outbox[(database, line["link"])].append(line["seq"])

    def state(self, document, revision):
        return STATES.get(self.revisions[document][revision].get("state", 0), "?")

    def newest(self, document):
        return number(self.documents[document], "newestRevision") if document in self.documents else 0


# ---- the end of a document's history ----


class End:
    """Stands for an operation: what the databases say when all is over."""

    name, kind, arguments, client, result = "end", "ok", {}, "databases", None
    invoked = ended = FOREVER

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return f"the databases: {self.text}"


def end(scan, document, facts):
    """The steps that the databases stand for; tells `facts` what they hold."""
    facts.numbers = collections.defaultdict(set)
    newest = scan.newest(document)
    for revision, value in scan.revisions.get(document, {}).items():
        facts.numbers["" if value.get("isDelete") else hexed(value, "contentSha256")].add(revision)
        facts.runs[revision] = max(facts.runs[revision], number(value, "epoch"))
        if scan.state(document, revision) in ("READY", "FAILED"):
            facts.see({"revision": revision, "state": scan.state(document, revision), "run": number(value, "epoch")})
    if newest == 0:
        return [register.Step(End("no such document"), holds=lambda state: not state.revisions)]
    if newest not in scan.revisions[document]:
        return []  # compare.check says so
    value = scan.revisions[document][newest]
    seen = {
        "revision": newest, "state": scan.state(document, newest), "run": number(value, "epoch"),
        "searchable": number(scan.documents[document], "searchableRevision"), "sha256": hexed(value, "contentSha256"),
    }
    return [register.Step(End(str(seen)), holds=register.shows(seen))]


# ---- the comparison ----


class Comparison:
    def __init__(self, scan, checker):
        self.scan, self.checker, self.found = scan, checker, []

    def report(self, invariant, document, text):
        self.found.append(Violation(invariant, document, text))

    def run(self):
        self.check_records()
        self.check_acknowledged()
        for document in self.scan.documents:
            self.check_document(document)
        self.check_contents()
        self.check_letters()
        self.check_counters()
        self.check_keys()
        self.check_index()
        self.check_links()
        self.check_left_over()
        return self.found

    def check_records(self):
        for line in self.scan.lines:
            if "problem" in line:
                self.report("I23", None, f"a record is damaged: {line}")
        eras = {line["db"]: line["number"] for line in self.scan.lines if line["kind"] == "era"}
        if len(set(eras.values())) > 1:
            self.report("I30", None, f"the services are in different eras: {eras}")

    # ---- what was acknowledged ----

    def check_acknowledged(self):
        requests = {
            (line["tenant"], line["method"], line["request_id"]): line["value"]
            for line in self.scan.of("gateway", "request")
        }
        for operation in self.checker.operations:
            if operation.kind != "ok" or operation.name not in METHODS:
                continue
            seen = operation.result
            document = (*operation.scope, seen["document"])
            if seen["revision"] not in self.scan.revisions.get(document, {}):
                self.report("I1", document, f"no record is left of what was acknowledged: {operation}")
            request_id = operation.arguments.get("request_id")
            if request_id:
                kept = requests.get((operation.scope[0], METHODS[operation.name], request_id))
                if kept is None or number(kept, "revision") != seen["revision"]:
                    self.report("I15", document, f"request_id {request_id} is kept as {kept}, not as {operation}")

    def check_contents(self):
        """What no client wrote, or what was refused, is nowhere."""
        for document, revisions in self.scan.revisions.items():
            operations = self.checker.documents.get(document, [])
            written = {o.sha256 for o in operations if o.name == "ingest" and o.kind != "fail"}
            deletes = sum(o.name in ("delete", "discard") and o.kind != "fail" for o in operations)
            for revision, value in revisions.items():
                if not value.get("isDelete") and hexed(value, "contentSha256") not in written:
                    self.report("I16", document, f"revision {revision} holds what nobody wrote whom nobody refused")
            if sum(bool(value.get("isDelete")) for value in revisions.values()) > deletes:
                self.report("I16", document, "it was deleted more often than somebody asked whom nobody refused")

    # ---- one document ----

    def check_document(self, document):
        newest = self.scan.newest(document)
        revisions = self.scan.revisions.get(document, {})
        if sorted(revisions) != list(range(1, newest + 1)):
            self.report("I1", document, f"newest is {newest}, and there are records of {sorted(revisions)}")
        known = self.scan.registers.get(document, {})
        ready = number(known, "readyRevision")
        if ready != number(self.scan.documents[document], "searchableRevision"):
            self.report("I28", document, f"the indexer has READY {ready}, the gateway {self.scan.documents[document]}")
        for revision, value in revisions.items():
            self.check_revision(document, revision, value, known, ready)
        deleted = number(self.scan.documents[document], "deletedBelow")
        if deleted and number(known, "deletedBelow") < deleted:
            self.report("I11", document, f"the indexer does not know of delete {deleted}: {known}")
        if ready and ready <= deleted:
            self.report("I11", document, f"revision {ready} can be found, and {deleted} deleted it")

    def check_revision(self, document, revision, value, known, ready):
        state = self.scan.state(document, revision)
        if state not in ENDS:
            self.report("I2", document, f"revision {revision} is {state} though all is quiet")
        if (state == "READY") != (revision == ready):
            both = "I8" if state == "FAILED" else "I3"
            self.report(both, document, f"revision {revision} is {state}, and the indexer has READY {ready}")
        source = self.scan.sources.get((*document, revision))
        needs_source = state in ("PENDING", "PROCESSING", "READY", "FAILED") and not value.get("isDelete")
        if needs_source and (source is None or source["sha256"] != hexed(value, "contentSha256")):
            self.report("I19", document, f"revision {revision} is {state}, and its source is {source}")
        if not needs_source and source is not None:
            self.report("I19", document, f"revision {revision} is {state}, and its source is kept")
        if state == "READY":
            self.check_chunks(document, revision, value, known)
        if state == "FAILED":
            self.check_promise(document, revision, value, known, ready)

    def check_chunks(self, document, revision, value, known):
        epoch = number(known, "readyEpoch")
        count = number(value, "chunkCount")
        for what, held in (("chunks", self.scan.chunks), ("vectors", self.scan.vectors)):
            ordinals = held.get((*document, revision, epoch), [])
            if len(ordinals) != len(set(ordinals)):
                self.report("I4", document, f"revision {revision} has {what} twice: {sorted(ordinals)}")
            if count == 0 or sorted(set(ordinals)) != list(range(count)):
                self.report("I5", document, f"revision {revision} has {count} chunks, and {what} {sorted(ordinals)}")
        if number(known, "readyChunkCount") != count:
            self.report("I5", document, f"{count} chunks at the gateway, {known.get('readyChunkCount')} at the indexer")

    def check_promise(self, document, revision, value, known, ready):
        """FAILED rests on the indexer's promise never to make that run READY."""
        epoch = number(value, "epoch")
        if ready > revision or number(known, "deletedBelow") >= revision:
            return
        promises = [p for p in known.get("revoked", []) if number(p, "revision") == revision]
        if not any(number(promise, "epoch") >= epoch for promise in promises):
            self.report("I21", document, f"revision {revision} is FAILED in run {epoch}, unrevoked: {known}")

    # ---- dead letters, counters, keys ----

    def check_letters(self):
        """Exactly one for each FAILED revision, and no other."""
        for document, revisions in self.scan.revisions.items():
            for revision, value in revisions.items():
                letters = self.scan.letters.get((*document, revision), [])
                state = self.scan.state(document, revision)
                if len(letters) != (state == "FAILED"):
                    self.report("I13", document, f"revision {revision} is {state}, and has {len(letters)} dead letters")
                for letter in letters:
                    self.check_letter(document, revision, value, letter)
        timed = self.scan.of("reconciler", "dead_letter_by_time")
        by_time = {(*self.scan.name(line), line["revision"]) for line in timed}
        for key in by_time ^ self.scan.letters.keys():
            self.report("I13", key[:3], f"the dead letter of {key[3]} is listed in one order and not in the other")
        for key in self.scan.letters:
            if key[3] not in self.scan.revisions.get(key[:3], {}):
                self.report("I13", key[:3], f"a dead letter of revision {key[3]}, which is none")

    def check_letter(self, document, revision, value, letter):
        source = self.scan.sources.get((*document, revision), {})
        hashes = {hexed(letter, "contentSha256"), hexed(value, "contentSha256"), source.get("sha256")}
        if len(hashes) != 1:
            self.report("I13", document, f"the dead letter of revision {revision} is of other bytes: {hashes}")
        failure = letter.get("failure", {})
        if not failure.get("stage") or not failure.get("code") or not failure.get("attemptCount"):
            self.report("I13", document, f"the dead letter of revision {revision} does not say why: {failure}")
        if number(letter, "epoch") != number(value, "epoch"):
            self.report("I13", document, f"the dead letter of revision {revision} is of another run: {letter}")

    def check_counters(self):
        counted = collections.defaultdict(collections.Counter)
        for document, revisions in self.scan.revisions.items():
            here = counted[document[:2]]
            for revision, value in revisions.items():
                state = self.scan.state(document, revision)
                here[state.lower()] += 1
                here["accepted"] += 1
                here["chunks"] += number(value, "chunkCount") if state == "READY" else 0
                here["rebuilding"] += bool(value.get("rebuilds"))
            here["documents"] += not revisions[max(revisions)].get("isDelete")
        for line in self.scan.of("gateway", "counters"):
            collection = self.scan.names[line["collection_no"]]
            for name in ("pending", "processing", "ready", "failed", "superseded", "deleted", "accepted", "documents",
                         "chunks", "rebuilding"):
                if number(line["value"], name) != counted[collection][name]:
                    self.report(
                        "I18", collection,
                        f"{name} is counted {number(line['value'], name)}, and there are {counted[collection][name]}",
                    )

    def check_keys(self):
        """The unready numbers at the gateway are those of the revisions that wait."""
        waiting = {}
        for line in self.scan.of("gateway", "unready"):
            name = self.scan.names.get(number(line["value"], "collectionNo"), ("?", "?"))
            sizes = enumerate(line["value"].get("sizes", []), line["number"])
            waiting.update({no: (*name, int(size) - 1) for no, size in sizes if int(size)})
        for document, revisions in self.scan.revisions.items():
            for revision, value in revisions.items():
                if self.scan.state(document, revision) not in ("PENDING", "PROCESSING"):
                    continue
                if waiting.pop(number(value, "unreadyNo"), None) != (*document[:2], number(value, "sizeBytes")):
                    self.report("I19", document, f"revision {revision} waits, and is not among the unready")
        for no, (*name, size) in waiting.items():
            self.report("I19", tuple(name), f"nothing waits as unready number {no} of {size} bytes")

    def check_index(self):
        """Nothing at the indexer that the gateway does not know, and no chunks beside those of the READY run."""
        for document, known in self.scan.registers.items():
            if number(known, "readyRevision") and document not in self.scan.documents:
                self.report("I28", document, "the indexer has it READY, and the gateway does not know it")
            if known.get("staged"):
                self.report("I28", document, f"it is over, and chunks are staged: {known['staged']}")
        for held in (self.scan.chunks, self.scan.vectors):
            for *document, revision, epoch in held:
                known = self.scan.registers.get(tuple(document), {})
                if (number(known, "readyRevision"), number(known, "readyEpoch")) != (revision, epoch):
                    self.report("I4", tuple(document), f"chunks of {revision} in run {epoch} are left: {known}")

    # ---- links ----

    def check_links(self):
        """What a sender thinks settled is settled, and what is not stands in its outbox without a gap."""
        cursors = {
            line["link"]: number(line["value"], "cursor")
            for database in ("gateway", "ingest", "embedder", "indexer", "reconciler")
            for line in self.scan.of(database, "link_rx")
        }
        for line in self.scan.lines:
            if line["kind"] != "link_tx":
                continue
            link, value = line["link"], line["value"]
            acked, following = number(value, "acked"), number(value, "next")
            name = "-".join(LINKS.get(link >> 16, ("?", "?")))
            if cursors.get(link, 0) < acked:
                self.report("I20", None, f"{name}: {acked} is acknowledged, the cursor is {cursors.get(link, 0)}")
            rows = sorted(self.scan.outbox.get((line["db"], link), []))
            if rows != list(range(acked + 1, following)):
                self.report("I20", None, f"{name}: acked {acked}, next {following}, and rows {rows[:3]}..{rows[-3:]}")
            if cursors.get(link, 0) + 1 < following:
                self.report("I2", None, f"{name}: {following - 1 - cursors.get(link, 0)} rows wait though all is quiet")

    def check_left_over(self):
        for line in self.scan.of("gateway", "inconsistency"):
            if not line["value"].get("resolution"):
                self.report("I28", None, f"the audit found, and nothing resolved: {line['value']}")
        for database in ("ingest", "embedder"):
            for line in self.scan.of(database, "deferred"):
                self.report("I2", self.scan.name(line), f"{database} keeps deferred work: {line['value']}")
        for line in self.scan.of("reconciler", "ending"):
            self.report("I2", self.scan.name(line), f"an ending is not over: {line['value']}")
        for line in self.scan.of("gateway", "backlog"):
            self.report("I2", None, f"the backlog is not empty: {line['value']}")


def check(scan, checker):
    return Comparison(scan, checker).run()
