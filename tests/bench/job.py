"""The job that queue plus vector store does elsewhere, as one figure each: documents accepted to searchable.

usage: job.py BUILD_FOLDER [N]

2 KB documents of 4 chunks, an instant embedder (hash-384), sent by one Python client over one stream.  Prints one JSON
object a line: a run, an idle document, and a run in which ingest, embedder and indexer are killed with SIGKILL when
30 % is done.  CPU is user + system of the client, of the supervisor and of all five services.
"""

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

CHUNKS = 4
TICK = os.sysconf("SC_CLK_TCK")
LIMIT_S = 300


def text(number):
    words = random.Random(number)
    return " ".join("".join(words.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(256))


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
        fields = stream.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / TICK


class Job:
    def __init__(self, suite, name, count):
        self.suite, self.name, self.count = suite, name, count
        self.client = suite.client()
        chunking = {"max_tokens": 66, "overlap_tokens": 2}
        self.client.CreateCollection(
            collection={"collection_id": name, "embedding_model": harness.MODEL, "chunking": chunking}
        )

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
        return {"lost": sum(found < CHUNKS for found in chunks), "doubled": sum(found > CHUNKS for found in chunks)}


def processes(suite):
    pids = [suite.pid(service) for service in harness.SERVICES]
    with open(f"/proc/{pids[0]}/stat", encoding="utf-8") as stream:
        supervisor = int(stream.read().rsplit(")", 1)[1].split()[1])
    return [os.getpid(), supervisor, *pids]


def throughput(suite, count):
    job = Job(suite, "throughput", count)
    texts = [text(i) for i in range(count)]
    pids = processes(suite)
    before, begun = sum(map(cpu_s, pids)), time.monotonic()
    accepted_s = job.send(texts)
    job.wait(count)
    took = time.monotonic() - begun
    spent = sum(map(cpu_s, pids)) - before
    return {"test": "e2e", "system": "weir", "n": count, "accept_docs_s": count / accepted_s, "docs_s": count / took,
            "cpu_ms_per_doc": spent / count * 1e3, **job.counts()}


def idle(suite, times=20):
    job = Job(suite, "idle", times)
    waits = []
    for number in range(times):
        body, begun = text(10**6 + number), time.monotonic()
        answer = job.client.IngestDocument(collection_id="idle", document_id=str(number), text=body, wait=10)
        assert harness.state_name(answer.document) == "READY"
        waits.append((time.monotonic() - begun) * 1e3)
    return {"test": "idle", "system": "weir", "idle_ms_p50": statistics.median(waits), "idle_ms_max": max(waits)}


def crash(suite, count):
    job = Job(suite, "kill", count)
    texts = [text(2 * 10**6 + i) for i in range(count)]
    sender = threading.Thread(target=job.send, args=(texts,))
    begun = time.monotonic()
    sender.start()
    job.wait(int(count * 0.3))
    for service in ("ingest", "embedder", "indexer"):
        suite.signal(service, signal.SIGKILL)
    killed, done = time.monotonic(), job.ready()
    sender.join()
    job.wait(count)
    ended = time.monotonic()
    rest_s = (count - done) * (killed - begun) / max(done, 1)  # what the rest would have taken at the pace so far
    return {"test": "kill", "system": "weir", "n": count, "done_at_kill": done, "all_done_s": ended - killed,
            "beyond_the_work_s": ended - killed - rest_s, **job.counts()}


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    suite = harness.Suite()
    try:
        suite.up()
        for result in (lambda: throughput(suite, count), lambda: idle(suite), lambda: crash(suite, count)):
            print(json.dumps({key: round(value, 3) if isinstance(value, float) else value
                              for key, value in result().items()}), flush=True)
    finally:
        suite.close()


if __name__ == "__main__":
    main()
