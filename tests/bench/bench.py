#!/usr/bin/env python3
"""The benchmarks: durable accepts, latency, accepted to searchable, pipeline CPU, restart, embedding speed, memory.

Every figure stands beside its raw limit measured in the same run; only ratios are worth quoting.  Writes
tests/bench/RESULTS.md when called with --write.  WEIR_BUILD names the build folder.
"""

import collections
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "tools"))
import ports  # noqa: E402  pylint: disable=wrong-import-position

BUILD = pathlib.Path(os.environ.get("WEIR_BUILD") or REPOSITORY / "build")
SERVICES = ("gateway", "ingest", "embedder", "indexer", "reconciler")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
SECONDS = 8
DOCUMENTS = int(os.environ.get("BENCH_DOCUMENTS", "3000"))
RESTART_CHUNKS = int(os.environ.get("BENCH_RESTART_CHUNKS", "100000"))


def run(*command, check=True):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def lines_of(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


class Suite:
    """One fresh suite; everything in it ends with it."""

    def __init__(self, *settings):
        self.data = BUILD / "bench" / "data"
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self.base = ports.free_base()
        self.sets = [word for setting in settings for word in ("--set", setting)]
        self.up()

    def up(self):
        run(BUILD / "bin/weir", "up", "--detach", "--data", self.data, "--port-base", self.base, *self.sets)

    def again(self):
        run(BUILD / "bin/weir", "down", "--data", self.data)
        self.up()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        run(BUILD / "bin/weir", "down", "--data", self.data, check=False)
        shutil.rmtree(self.data, ignore_errors=True)

    @property
    def address(self):
        return f"127.0.0.1:{self.base + 70}"

    def collection(self, name, model):
        run(BUILD / "bin/weir", "call", "weir.v1.CollectionService/CreateCollection", "--address", self.address,
            "-d", json.dumps({"collection": {"collectionId": name, "embeddingModel": model}}))
        return name

    def pids(self):
        # Not checked: its exit status says that all serve, and one may be too busy to say so at once.
        status = json.loads(run(BUILD / "bin/weir", "status", "--data", self.data, "-o", "json", check=False))
        return {service["name"]: service["pid"] for service in status["services"]}

    def load(self, kind, *arguments):
        return lines_of(run(BUILD / "tests/weir-load", kind, self.address, *arguments))


class Gateway:
    """The gateway alone: what one durable hop costs when no other service wants the processors."""

    def __init__(self):
        self.data = BUILD / "bench" / "data"
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True)
        self.base = ports.free_base()
        self.log = open(self.data.parent / "gateway.log", "wb")
        self.process = subprocess.Popen(
            [BUILD / "bin/weir-gateway", "--data", self.data, "--port-base", str(self.base), "--set",
             "embedder.allow_hash_models=true"], stdout=self.log, stderr=subprocess.STDOUT)

    def __enter__(self):
        until = time.monotonic() + 20
        request = json.dumps({"collection": {"collectionId": "g", "embeddingModel": "hash-384"}})
        while subprocess.run([BUILD / "bin/weir", "call", "weir.v1.CollectionService/CreateCollection", "--address",
                              self.address, "-d", request], capture_output=True, check=False).returncode != 0:
            if time.monotonic() > until or self.process.poll() is not None:
                sys.exit(f"the gateway does not serve: see {self.log.name}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.data, ignore_errors=True)

    address = Suite.address

    def load(self, kind, *arguments):
        return lines_of(run(BUILD / "tests/weir-load", kind, self.address, *arguments))


def cpu_seconds(pids):
    total = 0
    for pid in pids.values():
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def thread_seconds(pid):
    """CPU seconds of a process by the names of its threads; the store's are one."""
    total = collections.Counter()
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        name, fields = (task / "stat").read_text(encoding="ascii").split("(", 1)[1].rsplit(")", 1)
        total[name.split(":")[0]] += sum(map(int, fields.split()[11:13])) / TICKS
    return total


def resident_mib(pids):
    return {name: int(pathlib.Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE / 2**20
            for name, pid in pids.items()}


class Report:
    def __init__(self):
        self.rows = []

    def add(self, name, figure, raw="", ratio="", goal=""):
        self.rows.append((name, figure, raw, ratio, goal))
        print(f"  {name:<44} {figure:<26} {raw:<38} {ratio:<10} {goal}", flush=True)

    def markdown(self):
        head = "| what | weir | raw limit, same run | ratio | goal |\n|---|---|---|---|---|\n"
        return head + "".join(f"| {' | '.join(row)} |\n" for row in self.rows)


def raw_syncs():
    """p50 and p99 of fdatasync on the disk that the suite uses, in microseconds."""
    text = run(BUILD / "tests/store_bench", BUILD, 1)
    return tuple(float(re.search(rf"{which}\D*([\d.]+)", text).group(1)) for which in ("p50 ", "p99 "))


def raw_disk(report):
    p50, p99 = raw_syncs()
    report.add("fdatasync of 4 KiB", f"p50 {p50:.0f} us, p99 {p99:.0f} us")
    return p50


def raw_documents():
    """Synced group commits of the same bytes through the store for the same time, and the CPU of one."""
    os.sync()  # of the run before nothing is left to be written
    text = run(BUILD / "tests/store_bench", BUILD, SECONDS)
    found = re.search(r"([\d.]+)\s*records/s.*?([\d.]+) us of CPU", text)
    return float(found.group(1)), float(found.group(2))


def accepts_over_streams(report):
    """Raw before and after, as the disk drifts; then the same while the other four work on what was accepted."""
    before, cpu = raw_documents()
    os.sync()
    with Gateway() as gateway:
        stream = gateway.load("stream", "g", SECONDS, 8, 2048)[0]
        spent = cpu_seconds({"gateway": gateway.process.pid}) * 1e6 / stream["accepted"]
        threads = [f"{name} {cpu * 1e6 / stream['accepted']:.1f}"
                   for name, cpu in thread_seconds(gateway.process.pid).most_common(4)]
    after, _ = raw_documents()
    raw = (before + after) / 2
    report.add("G1 accepts/s, 8 streams, 2 KB, one hop", f"{stream['per_second']:.0f}/s, {spent:.0f} us of CPU",
               f"RocksDB group commit {raw:.0f}/s, {cpu:.0f} us", f"{stream['per_second'] / raw:.2f}", ">= 0.8")
    report.add("  us of CPU by thread", ", ".join(threads))
    paced_accepts(report, stream["per_second"] / 2)
    with Suite("embedder.allow_hash_models=true") as suite:
        suite.collection("g", "hash-384")
        stream = suite.load("stream", "g", SECONDS, 8, 2048)[0]
        report.add("  the same while the pipeline works", f"{stream['per_second']:.0f}/s", f"{raw:.0f}/s",
                   f"{stream['per_second'] / raw:.2f}")


def paced_accepts(report, rate):
    """Latency from the time at which each accept was due, at a fixed rate, over the streams of G1."""
    before = raw_syncs()[1]
    with Gateway() as gateway:
        done = gateway.load("paced", "g", SECONDS, 8, 2048, int(rate))
    raw = (before + raw_syncs()[1]) / 2
    kept = next(line for line in done if line["run"] == "paced")
    latency = next(line for line in done if line["run"] == "paced-latency")
    report.add(f"G4 accept p99 at {rate:.0f}/s, half of G1's", f"{latency['p99_us']} us (p50 {latency['p50_us']} us)",
               f"fdatasync p99 {raw:.0f} us", f"{latency['p99_us'] / raw:.2f}", "<= 3")
    if kept["per_second"] < 0.95 * rate:
        report.add("  accepted at that rate", f"{kept['per_second']:.0f}/s")


def latency_between_syncs(report, name, server, kind, count, goal=""):
    """One accept after the other, and fdatasync before and after, as the disk drifts."""
    before = raw_syncs()[0]
    accept = server.load(kind, "g", count, 2048)[0]
    raw = (before + raw_syncs()[0]) / 2
    report.add(name, f"{accept['p50_us']} us", f"fdatasync p50 {raw:.0f} us", f"{accept['p50_us'] / raw:.2f}", goal)


def idle_latencies(report, gateway):
    """With nothing else to do, after some work: the log is written into files that are there already, as ever after."""
    echo = gateway.load("echo-latency", 1000)[0]
    report.add("gRPC echo, one after the other, p50", f"{echo['p50_us']} us")
    latency_between_syncs(report, "G3 accept latency, idle, one hop, p50", gateway, "latency", 400, "<= 1.5")


def suite_latencies(report, suite):
    latency_between_syncs(report, "  all five up, each after the last is READY", suite, "idle-latency", 400)
    latency_between_syncs(report, "  while the pipeline works on the last ones", suite, "latency", 400)


def accepts(report, p50):
    accepts_over_streams(report)
    with Gateway() as gateway:
        echo = gateway.load("echo", 5, 256)[0]
        unary = gateway.load("unary", "g", SECONDS, 256, 2048)[0]
        report.add("G2 accepts/s, unary, 256 in flight", f"{unary['per_second']:.0f}/s",
                   f"gRPC echo {echo['per_second']:.0f}/s",
                   f"{unary['per_second'] / echo['per_second']:.2f}", ">= 0.6")
        idle_latencies(report, gateway)
    with Suite("embedder.allow_hash_models=true") as suite:
        suite.collection("g", "hash-384")
        suite_latencies(report, suite)
        searchable = suite.load("searchable", "g", 200)[0]
        report.add("G6 accepted to searchable, idle, hash-384",
                   f"p50 {searchable['p50_us'] / 1000:.1f} ms, p99 {searchable['p99_us'] / 1000:.1f} ms",
                   f"5 x fdatasync p50 + 2 ms = {(5 * p50 + 2000) / 1000:.1f} ms",
                   f"{searchable['p50_us'] / (5 * p50 + 2000):.2f}", "<= 1; p50 <= 60 ms")


def pipeline(report):
    """CPU of all five processes per document of 8 chunks of 64 words, and beside it that of feature hashing."""
    with Suite("embedder.allow_hash_models=true") as suite:
        run(BUILD / "bin/weir", "call", "weir.v1.CollectionService/CreateCollection", "--address", suite.address, "-d",
            json.dumps({"collection": {"collectionId": "g", "embeddingModel": "hash-384",
                                       "chunking": {"maxTokens": 66, "overlapTokens": 0}}}))
        pids = suite.pids()
        before = cpu_seconds(pids)
        done = suite.load("documents", "g", DOCUMENTS, 512)
        spent = cpu_seconds(pids) - before
        embedding = thread_seconds(pids["embedder"])["worker"]  # what these threads do is embed texts
        settled = next(line for line in done if line["run"] == "settled")
        figure = next(line for line in done if line["run"] == "documents")
        own_us, hash_us = (spent - embedding) * 1e6 / DOCUMENTS, embedding * 1e6 / DOCUMENTS
        report.add("G5 CPU per document of 512 words, embedding excluded", f"{own_us:.0f} us; hashing {hash_us:.0f} us",
                   f"{figure['per_second']:.0f} documents/s, {settled['ready']} READY", "", "<= 350 us")
        resident = resident_mib(suite.pids())
        report.add("  resident after it", ", ".join(f"{n} {m:.0f}" for n, m in resident.items()) + " MiB")


def embedding(report):
    if not (REPOSITORY / ".model/all-minilm-l6-v2/model.onnx").exists():
        report.add("G7 embedding speed", "skipped: no model here")
        return
    printed = run(BUILD / "tests/embed_bench", 3, 1)
    raw = float(re.search(r"bare runtime.*?(\d+) tokens per CPU second", printed).group(1))
    with Suite() as suite:
        suite.collection("g", "all-minilm-l6-v2")
        pids = suite.pids()
        idle = resident_mib(pids)
        idle_cpu = cpu_seconds(pids)
        time.sleep(10)
        idle_cpu = (cpu_seconds(pids) - idle_cpu) / 10
        begun = time.monotonic()
        before = cpu_seconds({"embedder": pids["embedder"]})
        done = suite.load("documents", "g", 150, 600)
        seconds = time.monotonic() - begun
        spent = cpu_seconds({"embedder": pids["embedder"]}) - before
        page = json.loads(run(BUILD / "bin/weir", "call", "weir.v1.DocumentService/ListDocuments", "--address",
                              suite.address, "-d", json.dumps({"collectionId": "g", "pageSize": 1000})))
        tokens = sum(int(document.get("tokenCount", 0)) for document in page["documents"])
        report.add("G7 embedded tokens per CPU second of the embedder", f"{tokens / spent:.0f}",
                   f"bare runtime {raw:.0f}", f"{tokens / spent / raw:.2f}", ">= 0.9")
        report.add("  tokens per second of the clock", f"{tokens / seconds:.0f}",
                   f"{os.cpu_count()} x bare = {os.cpu_count() * raw:.0f}",
                   f"{tokens / seconds / raw / os.cpu_count():.2f}")
        assert next(line for line in done if line["run"] == "settled")["failed"] == 0
        report.add("resident, idle, model loaded", f"{sum(idle.values()):.0f} MiB",
                   ", ".join(f"{n} {m:.0f}" for n, m in idle.items()), "", "<= 600 MiB")
        report.add("CPU, idle, all five", f"{idle_cpu * 100:.2f} % of a core", "", "", "<= 1 %")


def restarts(report):
    """SIGKILL of all five at once with a full store, until a search by text is answered."""
    import restart  # it uses this file

    seen = restart.run(RESTART_CHUNKS, 3)
    all_five = [one for one in seen if "alone" not in one]
    seconds = statistics.median(one["search"] for one in all_five)
    starts = ", ".join(f"{name} {all_five[-1]['start_ms'][name]}" for name in SERVICES)
    report.add(f"G14 SIGKILL of all to a search, {RESTART_CHUNKS} chunks", f"{seconds:.2f} s", f"starts, ms: {starts}",
               "", "<= 2 s")
    alone = ", ".join(f"{one['alone']} {one['search']:.2f}" for one in seen if "alone" in one)
    report.add("  SIGKILL of one to a search", f"{alone} s", "", "", "<= 2 s")


def main():
    report = Report()
    print(f"weir bench on {platform.processor() or platform.machine()}, {os.cpu_count()} cores\n")
    disk = raw_disk(report)
    accepts(report, disk)
    pipeline(report)
    restarts(report)
    embedding(report)
    if "--write" in sys.argv:
        revision = run("git", "rev-parse", "--short", "HEAD", check=False).strip()
        text = (f"# Benchmarks\n\n`make bench` on {os.cpu_count()} shared cores, revision {revision}. "
                "Trust ratios, not absolutes. "
                "The raw limits have weir's allocator (jemalloc) too.\n\n")
        also = ("\nHow cost grows with the number of documents: [GROWTH.md](GROWTH.md). "
                "The same job on what others use: [PEERS.md](PEERS.md). "
                "What limits, and what was tried: [LIMITS.md](LIMITS.md).\n")
        (REPOSITORY / "tests/bench/RESULTS.md").write_text(text + report.markdown() + also, encoding="utf-8")


if __name__ == "__main__":
    main()
