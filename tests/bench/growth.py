#!/usr/bin/env python3
"""How cost grows with the number of documents: 1, 10 and 100 thousand of 256 words, 4 chunks, feature hashing.

    growth.py [--write] [--documents N,N,...]

One suite takes all of them, step by step, so each row gives the cost of its own step at that size and what the whole
store then weighs.  CPU is that of the services, until they are at rest again after the step: what they do behind it
(flushes, compactions) is in the figure.  --write makes tests/bench/GROWTH.md and growth.svg.  Status 1: a document
costs more than 1.2 times as much CPU, memory or disk at the last size as at 10,000.
"""

import argparse
import http.client
import json
import os
import pathlib
import platform
import random
import statistics
import sys
import time

import bench
import plot

FOLDER = pathlib.Path(__file__).resolve().parent
WORDS = 256
CHUNKS = 4
SEARCHES = 100
REFERENCE = 10000  # the size that the last one is compared with
LIMIT = 1.2
REST_S = 30
MODES = {"vector": {}, "exact": {"exact": True}, "lexical": {"mode": "SEARCH_MODE_LEXICAL"},
         "hybrid": {"mode": "SEARCH_MODE_HYBRID"}}
PLACES = ("river stone wheel gate mill reed water field bridge lock weir barge flood bank fish rain").split()


def cpu_s(pids):
    """CPU seconds of whole processes by their CPU clocks: a tick of /proc is as much as 300 accepts take."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def writing_s(pids):
    """CPU seconds of the store's own threads, which write out and merge what was committed."""
    return sum(bench.thread_seconds(pid)["rocksdb"] for pid in pids)


def rest(pids):
    """Wait until the services do nothing but tick: under 3 % of a processor for a second."""
    until = time.monotonic() + REST_S
    spent = 1.0
    while spent > 0.03 and time.monotonic() < until:
        before = cpu_s(pids)
        time.sleep(1)
        spent = cpu_s(pids) - before


def disk_bytes(folder):
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except FileNotFoundError:
            pass  # a compaction ended
    return total


class Meter:
    """CPU of these processes from now on, a document: all of it, and what their stores' threads took of it."""

    def __init__(self, pids):
        self.pids = dict(pids)
        self.before = {name: cpu_s([pid]) for name, pid in self.pids.items()}
        self.written = writing_s(self.pids.values())

    def read(self, documents):
        rest(self.pids.values())
        cpu = {name: (cpu_s([pid]) - self.before[name]) * 1e6 / documents for name, pid in self.pids.items()}
        writing = (writing_s(self.pids.values()) - self.written) * 1e6 / documents
        total = sum(cpu.values())
        return {"cpu_us": cpu, "all_us": total, "writing_us": writing, "own_us": total - writing}


def accepts(sizes):
    """The gateway alone: the CPU of one durable accept, by the step up to each size."""
    found, before = {}, 0
    with bench.Gateway() as gateway:
        pids = {"gateway": gateway.process.pid}
        rest(pids.values())
        for size in sizes:
            meter = Meter(pids)
            accepted = gateway.load("accept", "g", size - before, WORDS)[0]["accepted"]
            assert accepted == size - before, f"{accepted} accepted of {size - before}"
            found[size] = meter.read(accepted)
            before = size
    return found


class Searches:
    """Four words of the documents' own vocabulary, new ones each time, one after the other over one connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.random = random.Random(4)
        self.compared_all = False  # did the last one compare every vector?

    def close(self):
        self.connection.close()

    def answer(self, **options):
        """The status, the body and the milliseconds of one search."""
        words = " ".join(f"{self.random.choice(PLACES)}{self.random.randrange(900)}" for _ in range(4))
        request = json.dumps({"collectionId": "g", "text": words, "topK": 10, **options})
        begun = time.monotonic()
        self.connection.request("POST", "/weir.v1.SearchService/Search", request, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        body = json.loads(answer.read())
        return answer.status, body, (time.monotonic() - begun) * 1e3

    def one(self, **options):
        status, body, took_ms = self.answer(**options)
        assert status == 200 and len(body["hits"]) == 10, f"{status} {body}"
        self.compared_all = body.get("exact", False)
        return took_ms

    def measure(self, pids, **options):
        """p50 and p99 in milliseconds and the services' CPU of one."""
        for _ in range(5):
            self.one(**options)
        before = cpu_s(pids)
        took = sorted(self.one(**options) for _ in range(SEARCHES))
        return {"p50": statistics.median(took), "p99": took[SEARCHES * 99 // 100], "compared_all": self.compared_all,
                "cpu_ms": (cpu_s(pids) - before) * 1e3 / SEARCHES}

    def all(self, pids):
        """By mode, those that this version has."""
        modes = {name: options for name, options in MODES.items() if self.answer(**options)[0] != 501}
        return {name: self.measure(pids, **options) for name, options in modes.items()}


class Store:
    """One collection that grows."""

    def __init__(self, suite):
        self.suite, self.size = suite, 0
        chunking = {"maxTokens": WORDS // CHUNKS + 2, "overlapTokens": 0}
        collection = {"collectionId": "g", "embeddingModel": "hash-384", "chunking": chunking}
        bench.run(bench.BUILD / "bin/weir", "call", "weir.v1.CollectionService/CreateCollection", "--address",
                  suite.address, "-d", json.dumps({"collection": collection}))
        rest(suite.pids().values())

    def empty(self):
        resident = sum(bench.resident_mib(self.suite.pids()).values())
        return {"documents": 0, "resident": resident, "disk": disk_bytes(self.suite.data)}

    def grow(self, size):
        """One row: the step up to `size` documents, and the store at that size."""
        step, pids = size - self.size, self.suite.pids()
        meter = Meter(pids)
        printed = {line["run"]: line for line in self.suite.load("documents", "g", step, WORDS)}
        assert printed["settled"]["ready"] == size, f"{printed['settled']} of {size}"
        spent = meter.read(step)
        assert pids == self.suite.pids(), "a service was started again"
        self.size = size
        row = {"documents": size, "step": step, "load": os.getloadavg()[0], "pipeline": spent,
               "per_second": printed["documents"]["per_second"], "resident_mib": bench.resident_mib(pids),
               "disk": disk_bytes(self.suite.data)}
        row["resident"] = sum(row["resident_mib"].values())
        searches = Searches(self.suite.base + 80)
        row["searches"] = searches.all(pids.values())
        searches.close()
        return row


def measure(sizes):
    accepted = accepts(sizes)
    with bench.Suite("embedder.allow_hash_models=true") as suite:
        store = Store(suite)
        rows = [store.empty()]
        print(json.dumps(rows[0]), flush=True)
        for size in sizes:
            rows.append({"accept": accepted[size], **store.grow(size)})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def added(rows, key):
    """What each document of a step added to `key`, by row; the first row of `rows` is the empty store."""
    return [(row[key] - last[key]) / row["step"] for last, row in zip(rows, rows[1:])]


def table(head, lines):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
                      *("| " + " | ".join(line) + " |" for line in lines)]) + "\n"


def costs(rows):
    def line(row, memory, disk):
        yield f"{row['documents']:,}"
        yield from (f"{row[hop]['all_us']:.0f} ({row[hop]['writing_us']:.0f})" for hop in ("accept", "pipeline"))
        yield from (f"{row['per_second']:.0f}", f"{row['resident']:.0f}", f"{memory:.1f}", f"{disk / 1024:.1f}",
                    f"{row['load']:.1f}")

    return table(("documents", "accept, us of CPU (writing out)", "accepted to searchable, us of CPU (writing out)",
                  "searchable/s", "resident, MiB", "memory a document added, KiB", "disk a document added, KiB",
                  "load average"), map(line, rows[1:], memory_kib(rows), added(rows, "disk")))


def memory_kib(rows):
    return [value * 1024 for value in added(rows, "resident")]


def searches(rows):
    def line(row):
        yield f"{row['documents']:,}"
        for one in row["searches"].values():
            yield f"{one['p50']:.1f}, {one['p99']:.1f} ({one['cpu_ms']:.1f})"

    modes = (f"{mode}: p50, p99 ms (CPU ms)" for mode in rows[-1]["searches"])
    return table(("documents", *modes), map(line, rows[1:]))


def by_service(rows):
    return table(("documents", *bench.SERVICES),
                 ([f"{row['documents']:,}"] +
                  [f"{row['pipeline']['cpu_us'][name]:.0f} us, {row['resident_mib'][name]:.0f} MiB"
                   for name in bench.SERVICES] for row in rows[1:]))


def ratios(rows):
    """How much dearer a document is at the last size than at REFERENCE; nothing if REFERENCE was not measured."""
    sizes = [row["documents"] for row in rows[1:]]
    if REFERENCE not in sizes or sizes[-1] == REFERENCE:
        return {}
    at = sizes.index(REFERENCE)
    cpu = {"CPU of an accept": "accept", "CPU from accepted to searchable": "pipeline"}
    series = {name: [row[part]["all_us"] for row in rows[1:]] for name, part in cpu.items()}
    series |= {f"{name} without writing out": [row[part]["own_us"] for row in rows[1:]] for name, part in cpu.items()}
    series |= {"memory a document added": memory_kib(rows), "disk a document added": added(rows, "disk")}
    return {name: values[-1] / values[at] for name, values in series.items()}


def verdict(rows):
    found = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios(rows).items())
    last = rows[-1]["documents"]
    return found and (f"At {last:,} documents beside {REFERENCE:,}, per document (1: same; limit: {LIMIT}): "
                      f"{found}.\n\n")


def picture(rows):
    xs = [row["documents"] for row in rows[1:]]

    def of(name, key):
        return [row[name][key] for row in rows[1:]]

    def service(name):
        return [row["pipeline"]["cpu_us"][name] for row in rows[1:]]

    latencies = {mode: [row["searches"][mode]["p50"] for row in rows[1:]] for mode in rows[-1]["searches"]}
    plot.write(FOLDER / "growth.svg", [
        plot.Panel("CPU a document, us", xs, {
            "to searchable": of("pipeline", "all_us"), "writing out": of("pipeline", "writing_us"),
            "accept": of("accept", "all_us")}),
        plot.Panel("the same by service, us", xs, {
            name: service(name) for name in ("indexer", "embedder", "gateway", "ingest")}),
        plot.Panel("documents searchable per second", xs, {"hash-384": [row["per_second"] for row in rows[1:]]}),
        plot.Panel("resident memory, MiB (log)", xs, {
            "all five": [row["resident"] for row in rows[1:]], "indexer": of("resident_mib", "indexer")}, True),
        plot.Panel("disk a document added, KiB", xs, {"all five": [size / 1024 for size in added(rows, "disk")]}),
        plot.Panel("search p50, ms (log)", xs, latencies, True)])


def report(rows, syncs):
    revision = bench.run("git", "rev-parse", "--short", "HEAD", check=False).strip()
    compared = [mode for mode, one in rows[-1]["searches"].items() if one["compared_all"]]
    return f"""# How cost grows

`make bench-long` on {platform.machine()}, {os.cpu_count()} shared cores, Linux {platform.release()}, \
revision {revision}.
fdatasync of 4 KiB before: {syncs[0]}; after: {syncs[1]}.
A load average above {os.cpu_count()} says that others worked too: CPU then errs by up to a third, rates and times by \
any factor.

Documents of {WORDS} words, {CHUNKS} chunks each, hash-384 (no model), one stream. The store grows from row to row, \
and a row gives the cost of its own step, flushes and compactions behind it included. "Accept" is the gateway alone; \
"accepted to searchable" is all five services. Memory and disk "a document added" are what the step added, divided by \
its documents: the first row carries what is allocated once (on disk an empty store has it already). "Writing out" is \
what the stores' background threads take: nothing is written out until a write buffer of up to 64 MiB is full, so the \
rows of a small store do not pay for it yet; what is at least half a KiB long is then moved seldom, and the rest is \
merged once a level.

![how cost grows](growth.svg)

{costs(rows)}
{verdict(rows)}Searches of four words, 10 hits, one after the other over the JSON port; {CHUNKS} vectors a document. \
These say that they compared every vector, so they grow with the store: {", ".join(compared)}.

{searches(rows)}
By service, CPU of a document and resident memory:

{by_service(rows)}"""


def fdatasync():
    return bench.run(bench.BUILD / "tests/store_bench", bench.BUILD).splitlines()[0].split(": ", 1)[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", default="1000,3000,10000,30000,100000")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    before = fdatasync()
    rows = measure([int(size) for size in options.documents.split(",")])
    text = report(rows, (before, fdatasync()))
    print(text)
    if options.write:
        (FOLDER / "GROWTH.md").write_text(text, encoding="utf-8")
        picture(rows)
    above = {name: round(ratio, 2) for name, ratio in ratios(rows).items() if ratio > LIMIT}
    if above:
        sys.exit(f"a document costs more at the last size than at {REFERENCE}: {above}")


if __name__ == "__main__":
    main()
