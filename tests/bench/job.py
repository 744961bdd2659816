"""The job that queue plus vector store does elsewhere, as one figure each: documents accepted to searchable.

usage: job.py BUILD_FOLDER [N [CHUNKS]]

Documents of CHUNKS chunks of 64 words (4 and 2 KB if it is not given; 8 and 4 KB are the other size that is quoted),
an instant embedder (hash-384), sent by one Python client over one stream.  Prints one JSON object a line: accepts one
after the other (then little shares a round, and a document costs the most), a run, an idle document, and a run in which
ingest, embedder and indexer are killed with SIGKILL when 30 % is done.  CPU is user + system in ms a document:
`cpu_ms_per_doc` of the client, the supervisor and all five services, `services` without the client, and `hashing`, what
the embedder's workers took to make the vectors, which is within both.
"""

import glob
import json
import os
import random
import signal
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import harness  # noqa: E402  pylint: disable=wrong-import-position

CHUNK_WORDS = 64
TICK = os.sysconf("SC_CLK_TCK")
LIMIT_S = 300


def text(number, chunks):
    words = random.Random(number)
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return " ".join("".join(words.choices(alphabet, k=7)) for _ in range(chunks * CHUNK_WORDS))


def stat(path):
    """The name of a process or thread, and its CPU seconds with those of its ended children."""
    with open(path, encoding="utf-8") as stream:
        name, fields = stream.read().split("(", 1)[1].rsplit(")", 1)
    return name, sum(map(int, fields.split()[11:15])) / TICK


def cpu_s(pid):
    return stat(f"/proc/{pid}/stat")[1]


def workers_s(pid):
    threads = [stat(path) for path in glob.glob(f"/proc/{pid}/task/*/stat")]
    return sum(spent for name, spent in threads if name == "worker")


class Job:
    def __init__(self, suite, name, count, chunk_count):
        self.suite, self.name, self.count, self.chunk_count = suite, name, count, chunk_count
        self.client = suite.client()
        chunking = {"max_tokens": CHUNK_WORDS + 2, "overlap_tokens": 2}
        self.client.CreateCollection(
            collection={"collection_id": name, "embedding_model": harness.MODEL, "chunking": chunking}
        )

    def texts(self, seed=0):
        return [text(seed + number, self.chunk_count) for number in range(self.count)]

    def requests(self, texts):
        for number, body in enumerate(texts):
            document = {"collection_id": self.name, "document_id": str(number), "text": body}
            yield self.client.request("IngestDocuments", request=document, correlation_id=str(number))

    def send(self, texts):
        """Seconds until every document was acknowledged."""
        begun = time.monotonic()
        answered = sum(1 for answer in self.client.stream("IngestDocuments", self.requests(texts), deadline=LIMIT_S))
        assert answered == self.count, f"{answered} answers of {self.count}"
        return time.monotonic() - begun

    def ready(self):
        return self.client.GetPressure(collection_id=self.name).pressure.ready

    def wait(self, number):
        harness.wait_for(lambda: self.ready() >= number, f"{number} READY documents", timeout=LIMIT_S)

    def chunks(self, document):
        return self.client.stubborn("ListChunks", collection_id=self.name, document_id=document, page_size=100).chunks

    def counts(self):
        """What was lost and what was doubled, by the collection's own counts and by each document's chunks."""
        chunks = [len(self.chunks(str(number))) for number in range(self.count)]
        return {"lost": sum(found < self.chunk_count for found in chunks),
                "doubled": sum(found > self.chunk_count for found in chunks)}


def processes(suite):
    pids = [suite.pid(service) for service in harness.SERVICES]
    with open(f"/proc/{pids[0]}/stat", encoding="utf-8") as stream:
        supervisor = int(stream.read().rsplit(")", 1)[1].split()[1])
    return [os.getpid(), supervisor, *pids]


def unary(suite, chunk_count, times=300):
    job = Job(suite, "unary", times, chunk_count)
    texts, services = job.texts(3 * 10**6), processes(suite)[1:]
    before, begun = sum(map(cpu_s, services)), time.monotonic()
    for number, body in enumerate(texts):
        job.client.IngestDocument(collection_id="unary", document_id=str(number), text=body)
    took = time.monotonic() - begun
    job.wait(times)
    spent = sum(map(cpu_s, services)) - before
    return {"test": "unary", "system": "weir", "n": times, "accept_docs_s": times / took,
            "services": spent / times * 1e3}


def throughput(suite, count, chunk_count):
    job = Job(suite, "throughput", count, chunk_count)
    texts, pids, embedder = job.texts(), processes(suite), suite.pid("embedder")
    before, hashed, begun = [cpu_s(pid) for pid in pids], workers_s(embedder), time.monotonic()
    accepted_s = job.send(texts)
    job.wait(count)
    took = time.monotonic() - begun
    client, *services = (cpu_s(pid) - last for pid, last in zip(pids, before))
    hashed = workers_s(embedder) - hashed
    return {"test": "e2e", "system": "weir", "n": count, "chunks": chunk_count, "accept_docs_s": count / accepted_s,
            "docs_s": count / took, "cpu_ms_per_doc": (client + sum(services)) / count * 1e3,
            "services": sum(services) / count * 1e3, "hashing": hashed / count * 1e3, **job.counts()}


def idle(suite, chunk_count, times=20):
    job = Job(suite, "idle", times, chunk_count)
    waits = []
    for number, body in enumerate(job.texts(10**6)):
        begun = time.monotonic()
        answer = job.client.IngestDocument(collection_id="idle", document_id=str(number), text=body, wait=10)
        assert harness.state_name(answer.document) == "READY"
        waits.append((time.monotonic() - begun) * 1e3)
    return {"test": "idle", "system": "weir", "idle_ms_p50": statistics.median(waits), "idle_ms_max": max(waits)}


def crash(suite, count, chunk_count):
    job = Job(suite, "kill", count, chunk_count)
    sender = threading.Thread(target=job.send, args=(job.texts(2 * 10**6),))
    pids = [suite.pid(service) for service in ("ingest", "embedder", "indexer")]  # asked before: asking takes a while
    begun = time.monotonic()
    sender.start()
    job.wait(int(count * 0.3))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    killed, done = time.monotonic(), job.ready()
    sender.join()
    job.wait(count)
    ended = time.monotonic()
    rest_s = (count - done) * (killed - begun) / max(done, 1)  # what the rest would have taken at the pace so far
    return {"test": "kill", "system": "weir", "n": count, "chunks": chunk_count, "done_at_kill": done,
            "all_done_s": ended - killed, "beyond_the_work_s": ended - killed - rest_s, **job.counts()}


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    chunk_count = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    runs = (lambda: unary(suite, chunk_count), lambda: throughput(suite, count, chunk_count),
            lambda: idle(suite, chunk_count), lambda: crash(suite, count, chunk_count))
    suite = harness.Suite()
    try:
        suite.up()
        for run in runs:
            print(json.dumps({key: round(value, 3) if isinstance(value, float) else value
                              for key, value in run().items()}), flush=True)
    finally:
        suite.close()


if __name__ == "__main__":
    main()
