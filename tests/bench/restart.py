#!/usr/bin/env python3
"""G14: SIGKILL of all five services at once, with a store full of chunks, and how long until it serves again.

    restart.py [--chunks N] [--rounds N] [--limit SECONDS]

Prints one JSON object a round and one for all: seconds from the kill until each service is SERVING, until a search by
text is answered and until one more document is READY.  Then the same after a SIGKILL of each service alone.  Meanwhile
a document that is READY must be found or the search must be refused: an answer without it ends the program with status
1, as does a time above the limit.
"""

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import sys
import time

import bench

READY_S = 600
TEXT = "a search by text"


class Port:
    """The JSON port; None when no answer came."""

    def __init__(self, base):
        self.port = base + 80

    def call(self, path, request, timeout=5):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST", f"/weir.v1.{path}", json.dumps(request), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            return json.loads(body) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()


def fill(suite, chunks):
    suite.collection("g", "hash-384")
    done = suite.load("documents", "g", chunks, 40)
    settled = next(line for line in done if line["run"] == "settled")
    if settled["ready"] != chunks:
        sys.exit(f"{settled} of {chunks} documents are READY")
    page = Port(suite.base).call("DocumentService/ListDocuments", {"collectionId": "g", "pageSize": 1})
    return page["documents"][0]["documentId"]


def ready_at(base, offset):
    """Is this service ready by its admin port?"""
    connection = http.client.HTTPConnection("127.0.0.1", base + 90 + offset, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def measure(suite, document, number, killed=bench.SERVICES):
    """One round: what became true when, in seconds after the kill."""
    port = Port(suite.base)
    pids = suite.pids()
    search = {"collectionId": "g", "text": TEXT, "exact": True, "topK": 5, "filter": f'document_id = "{document}"'}
    new = {"collectionId": "g", "documentId": f"round-{number}", "text": f"after the kill {number}", "wait": "30s"}
    begun = time.monotonic()
    for name in killed:
        os.kill(pids[name], signal.SIGKILL)
    seen = {}

    def note(name, is_true):
        if name not in seen and is_true:
            seen[name] = round(time.monotonic() - begun, 3)

    while "search" not in seen or any(name not in seen for name in bench.SERVICES):
        for offset, name in enumerate(bench.SERVICES):
            if name not in seen:
                note(name, ready_at(suite.base, offset))
        if "search" not in seen:
            answer = port.call("SearchService/Search", search)
            if answer is not None and not answer.get("hits"):
                sys.exit(f"round {number}: {document} is READY, and a search did not find it: {answer}")
            # The first look may be answered by what is about to end.
            note("search", answer is not None and all(is_new(suite, name, pids) for name in killed))
        if time.monotonic() - begun > READY_S:
            sys.exit(f"round {number}: not back after {READY_S} s: {seen}")
        time.sleep(0.01)
    answer = None
    while answer is None and time.monotonic() - begun < READY_S:
        answer = port.call("DocumentService/IngestDocument", new, timeout=35)
    note("ready again", answer is not None and answer["document"]["state"] == "DOCUMENT_STATE_READY")
    return seen


def is_new(suite, name, pids):
    """Does the lock file of the supervisor name another process than before?"""
    for line in (suite.data / "run" / "up.lock").read_text(encoding="ascii").splitlines():
        if line.startswith(name + " "):
            return line.split()[1] not in ("0", str(pids[name]))
    return False


def start_times(suite):
    """What each service says that its start took, in milliseconds."""
    times = {}
    for name in bench.SERVICES:
        text = (suite.data / "log" / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        found = re.findall(r'"service.started".*?"duration_ms":(\d+)', text)
        times[name] = int(found[-1]) if found else None
    return times


def run(chunks, rounds, *settings):
    """What became true when, by round."""
    with bench.Suite("embedder.allow_hash_models=true", "gateway.default_model=hash-384", *settings) as suite:
        document = fill(suite, chunks)
        seen = []
        for number in range(rounds):
            if number > 0:
                suite.again()  # a service that was killed within its first minute would wait before its next start
            seen.append(measure(suite, document, number))
            seen[-1]["start_ms"] = start_times(suite)
            print(json.dumps({"run": "restart", "chunks": chunks, **seen[-1]}), flush=True)
        suite.again()
        for name in bench.SERVICES:  # one alone, while the others go on
            seen.append({"alone": name, **measure(suite, document, name, (name,))})
            print(json.dumps({"run": "restart", "chunks": chunks, **seen[-1]}), flush=True)
        return seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=100000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--limit", type=float, default=0)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    seen = run(options.chunks, options.rounds, *options.set)
    median = statistics.median(one["search"] for one in seen if "alone" not in one)
    longest = max(one["search"] for one in seen if "alone" in one)
    print(json.dumps({"run": "restart", "chunks": options.chunks, "rounds": options.rounds, "search_median_s": median,
                      "alone_longest_s": longest}))
    if options.limit and max(median, longest) > options.limit:
        sys.exit(f"a search is answered after {median} s (all killed) or {longest} s (one): above {options.limit} s")


if __name__ == "__main__":
    main()
