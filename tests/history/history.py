"""Reading histories: lines of recorder.py become operations, operations become documents."""

import collections
import hashlib
import json

FOREVER = float("inf")
WRITES = ("ingest", "delete", "retry")


class Operation:
    """One call: what was asked, when, and what came of it."""

    __slots__ = ("client", "name", "arguments", "invoked", "ended", "kind", "code", "reason", "result")

    def __init__(self, line):
        self.client, self.name, self.invoked = line["client"], line["op"], line["t"]
        self.arguments = line
        self.ended, self.kind, self.code, self.reason, self.result = FOREVER, "info", "", "", None

    def end(self, line):
        self.kind, self.result = line["type"], line.get("result")
        self.code, self.reason = line.get("code", ""), line.get("reason", "")
        self.ended = line["t"]

    @property
    def scope(self):
        return self.arguments.get("tenant", "default"), self.arguments["collection"]

    @property
    def sha256(self):
        return sha256_of(self.arguments["text"])

    @property
    def payload(self):
        """What the same request_id must come with again."""
        return tuple(
            self.arguments.get(name) for name in ("document", "text", "source_version", "force", "revision", "run")
        )

    def __str__(self):
        asked = {
            name: value if len(str(value)) < 60 else str(value)[:57] + "..."
            for name, value in self.arguments.items()
            if name not in ("type", "op", "client", "id", "t", "tenant", "collection") and value not in ("", 0, False)
        }
        said = self.result if self.kind == "ok" else self.code
        until = "" if self.ended == FOREVER else f"{self.ended / 1e9:.4f}"
        return f"[{self.invoked / 1e9:.4f} {until}] {self.client} {self.name} {asked} -> {self.kind} {said}"


def sha256_of(text):
    return hashlib.sha256(text.encode()).hexdigest()


def parse(lines):
    """Operations in the order in which they were invoked."""
    opened, done = {}, []
    for line in lines:
        key = (line["client"], line["id"])
        if line["type"] == "invoke":
            opened[key] = Operation(line)
            done.append(opened[key])
        else:
            opened.pop(key).end(line)
    return sorted(done, key=lambda operation: operation.invoked)


def read(paths):
    """All operations of several files, one per process; the last line of a killed one may be cut."""
    operations = []
    for path in paths:
        with open(path, encoding="utf-8") as stream:
            lines = stream.read().split("\n")
        operations += parse([json.loads(line) for line in lines[:-1] if line])
    return sorted(operations, key=lambda operation: operation.invoked)


def by_document(operations):
    """(tenant, collection, document) -> its operations; lists and finds belong to no single one and are left out."""
    found = collections.defaultdict(list)
    for operation in operations:
        if "document" in operation.arguments:
            found[(*operation.scope, operation.arguments["document"])].append(operation)
    return found


class Violation:
    """A promise that was not kept, and where it shows."""

    def __init__(self, invariant, document, text):
        self.invariant, self.document, self.text = invariant, document, text

    def __str__(self):
        return f"{self.invariant} {'/'.join(self.document) if self.document else ''}: {self.text}"
