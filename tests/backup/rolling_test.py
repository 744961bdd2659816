"""One service after the other is restarted (SIGTERM) while clients work: no call is lost that a retry does not repair.

Clients ingest and wait, read, search, replace and delete without a pause; a call that gets no answer is made again with
the same request.  Every call must succeed in the end, a document that is READY is found or the search is refused, and
no service takes longer to drain than its work does.
"""

import json
import os
import random
import signal
import threading
import time

import grpc

import harness
from harness import MODEL, NO_ANSWER, SERVICES, Refusal, state_name, wait_for

THREADS = 6
CALL_S = 60  # from the first try of a call to its answer, at most
GRACE_MS = 60000  # so that a drain that waits for the grace, or half of it, is told from one that does not
DRAIN_MS = 20000
VECTOR = {"values": [1.0] * 384}


class Worker(threading.Thread):
    """One client with documents of its own."""

    def __init__(self, suite, number, stop):
        super().__init__(daemon=True)
        self.client, self.number, self.stop = suite.client(), number, stop
        self.problems, self.calls, self.repeated, self.longest = [], 0, 0, 0
        self.documents = {}  # name: text that is READY, None: deleted

    def call(self, name, **fields):
        began = time.monotonic()
        self.calls += 1
        while True:
            try:
                answer = self.client.call(name, deadline=8, wait_for_ready=self.number % 2 == 0, **fields)
                self.longest = max(self.longest, time.monotonic() - began)
                return answer
            except grpc.RpcError as error:
                refusal = Refusal(error)
                if error.code() not in NO_ANSWER or time.monotonic() - began > CALL_S:
                    raise AssertionError(f"{name}, {time.monotonic() - began:.1f} s: {refusal}") from error
                self.repeated += 1
                threading.Event().wait(min(refusal.retry_s or 0.05, 0.2))  # as a client does

    def run(self):
        step = 0
        try:
            while not self.stop.is_set():
                self.step(step)
                step += 1
        except AssertionError as error:
            self.problems.append(str(error))

    def step(self, step):
        name = f"w{self.number}-{step % 40}"
        text = f"The document {name} in step {step} of a client."
        answer = self.call(
            "IngestDocument", collection_id="c", document_id=name, text=text, request_id=f"{name}-{step}", force=True,
            wait=5,
        )
        revision = answer.document.revision
        while not answer.document.terminal:
            answer = self.call("WaitDocument", collection_id="c", document_id=name, revision=revision, timeout=5)
        assert state_name(answer.document) == "READY", answer
        self.check(name, text)
        self.documents[name] = text
        if step % 7 == 3:
            self.call("DeleteDocument", collection_id="c", document_id=name, request_id=f"gone-{name}-{step}")
            self.documents[name] = None
            self.check(name, None)

    def check(self, name, text):
        hits = self.call(
            "Search", collection_id="c", vector=VECTOR, exact=True, filter=f'document_id = "{name}"', top_k=10
        ).hits
        assert [hit.text for hit in hits] == ([text] if text else []), (name, text, hits)
        found = self.call("GetDocument", collection_id="c", document_id=name).document
        assert state_name(found) == ("READY" if text else "DELETED"), found


class RollingTest(harness.OwnSuiteTest):
    def test_each_service_can_be_restarted_under_load_without_a_call_lost(self):
        suite = self.own_suite([f"shutdown_grace_ms={GRACE_MS}"])
        suite.up()
        client = suite.client()
        client.CreateCollection(collection={"collection_id": "c", "embedding_model": MODEL})
        stop = threading.Event()
        workers = [Worker(suite, number, stop) for number in range(THREADS)]
        for worker in workers:
            worker.start()
        order = list(SERVICES)
        random.shuffle(order)
        for service in order:
            self.restart(suite, service, workers)
        stop.set()
        for worker in workers:
            worker.join(60)
        self.assertEqual([problem for worker in workers for problem in worker.problems], [])
        for worker in workers:
            for name, text in worker.documents.items():
                worker.check(name, text)
        calls, repeated = (sum(getattr(worker, what) for worker in workers) for what in ("calls", "repeated"))
        longest = max(worker.longest for worker in workers)
        print(f"rolling restart of {order}: {calls} calls, {repeated} made again, the longest took {longest:.2f} s; "
              f"drains, ms: {self.drains(suite)}", flush=True)
        self.assertGreater(calls, 0)
        for service, took_ms in self.drains(suite).items():
            self.assertLess(took_ms, DRAIN_MS, service)

    def test_the_gateway_knows_of_every_service_soon_after_a_start(self):
        suite = self.own_suite(["gateway.status_interval_ms=60000"])
        suite.up()
        client = suite.client()
        # Sooner than at its interval.
        wait_for(lambda: any(model.available for model in client.ListModels().models), "a model of the embedder", 40)

    def restart(self, suite, service, workers):
        """Ends when the service serves again and every client has been answered since."""
        old = suite.signal(service, signal.SIGTERM)
        self.assertNotEqual(old, 0)
        wait_for(lambda: suite.status().get(service, {}).get("pid") not in (None, 0, old), f"{service} again")
        suite.wait_serving()
        before = [worker.calls for worker in workers]
        wait_for(
            lambda: all(worker.calls > calls + 8 or worker.problems for worker, calls in zip(workers, before)),
            f"calls after the restart of the {service}", 2 * CALL_S,
        )

    @staticmethod
    def drains(suite):
        """How long each drain took, by the service's own log; a drain that was cut off has none."""
        took = {}
        for service in SERVICES:
            with open(os.path.join(suite.data, "log", f"{service}.log"), encoding="utf-8") as log:
                for line in log:
                    if '"service.stopped"' in line:
                        entry = json.loads(line)
                        took[service] = entry["duration_ms"] if entry["message"] == "drained" else float("inf")
        return took


if __name__ == "__main__":
    harness.main()
