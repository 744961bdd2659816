"""The ends of a suite: SIGTERM and `weir down` with work in flight, a killed supervisor, one service asked to stop."""

import itertools
import os
import signal
import threading
import time

import grpc

import harness
from harness import MODEL, NO_ANSWER, SERVICES, process_is_gone, state_name, wait_for

GRACE_S = 10  # shutdown_grace_ms
LONG_GRACE_S = 60  # so that an end that waits for the grace, or half of it, is told from one that does not
AT_ONCE_S = 20
COLLECTION = "drain"


class Load:
    """Clients that ingest without a pause until they are told to stop; what was acknowledged is kept."""

    def __init__(self, suite, threads=4):
        self.acked = {}
        self.problems = []
        self.stop_now = threading.Event()
        self.numbers = itertools.count()
        self.threads = [threading.Thread(target=self.run, args=(suite.client(),)) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, client):
        while not self.stop_now.is_set():
            number = next(self.numbers)
            text = f"Document {number} of a load, with the mark{number}."
            try:
                answer = client.IngestDocument(
                    collection_id=COLLECTION, document_id=f"l{number}", text=text, deadline=10
                )
                self.acked[answer.document.document_id] = text
            except grpc.RpcError as error:
                if error.code() not in NO_ANSWER:
                    self.problems.append(str(harness.Refusal(error)))
                return

    def end(self):
        self.stop_now.set()
        for thread in self.threads:
            thread.join(harness.PATIENCE)
        return dict(self.acked)


class DrainTest(harness.OwnSuiteTest):
    def setUp(self):
        self.suite = self.own_suite()

    def collection(self):
        self.client = self.suite.client()
        self.client.CreateCollection(collection={"collection_id": COLLECTION, "embedding_model": MODEL})

    def loaded(self, documents=300):
        load = Load(self.suite)
        wait_for(lambda: len(load.acked) >= documents or load.problems, f"{documents} acknowledged documents")
        self.assertEqual(load.problems, [])
        return load

    def pids(self):
        return [service["pid"] for service in self.suite.status().values()]

    def assert_whole(self, acked):
        """Every acknowledged document is READY and found once, by its own text."""
        client = self.suite.client()
        answer = client.stubborn("WaitCollection", each=45, collection_id=COLLECTION, timeout=40)
        self.assertTrue(answer.settled, answer)
        self.assertEqual((answer.failed, answer.superseded, answer.deleted), (0, 0, 0))
        self.assertGreaterEqual(answer.ready, len(acked))
        for document, text in acked.items():
            found = client.GetDocument(collection_id=COLLECTION, document_id=document).document
            self.assertEqual(state_name(found), "READY", document)
            hits = client.Search(
                collection_id=COLLECTION, text=text, exact=True, filter=f'document_id = "{document}"'
            ).hits
            self.assertEqual([hit.text for hit in hits], [text])

    def test_sigterm_drains_in_time_and_loses_nothing(self):
        self.suite.up_foreground()
        self.collection()
        load = self.loaded()
        pids = self.pids()
        began = time.monotonic()
        self.suite.foreground.send_signal(signal.SIGTERM)
        code = self.suite.foreground.wait(GRACE_S + 15)
        seconds = time.monotonic() - began
        acked = load.end()
        self.assertEqual(code, 0)
        self.assertLess(seconds, GRACE_S + 5)
        self.assertEqual(load.problems, [])
        for pid in pids:
            self.assertTrue(process_is_gone(pid), pid)
        print(f"drain: {len(acked)} documents acknowledged, ended in {seconds:.2f} s", flush=True)
        self.suite.up()
        self.assert_whole(acked)

    def test_down_ends_a_detached_suite(self):
        self.suite.up()
        self.collection()
        load = self.loaded()
        pids = self.pids()
        began = time.monotonic()
        self.suite.down()
        seconds = time.monotonic() - began
        acked = load.end()
        print(f"down: {len(acked)} documents acknowledged, ended in {seconds:.2f} s", flush=True)
        self.assertLess(seconds, GRACE_S + 5)
        for pid in pids:
            self.assertTrue(process_is_gone(pid), pid)
        again = self.suite.down(check=False)
        self.assertIn("nothing runs", again.stdout)
        self.suite.up()
        self.assert_whole(acked)

    def test_an_idle_suite_ends_at_once(self):
        self.suite.settings.append(f"shutdown_grace_ms={LONG_GRACE_S}000")
        self.suite.up_foreground()
        self.collection()  # by a client that stays connected and says nothing more
        began = time.monotonic()
        self.suite.foreground.send_signal(signal.SIGINT)
        self.assertEqual(self.suite.foreground.wait(LONG_GRACE_S), 0)
        self.assertLess(time.monotonic() - began, AT_ONCE_S)

    def test_a_watch_and_a_wait_do_not_hold_up_the_end(self):
        self.suite.settings.append(f"shutdown_grace_ms={LONG_GRACE_S}000")
        self.suite.up_foreground()
        self.collection()
        self.suite.signal("embedder", signal.SIGSTOP)
        stopped = self.suite.pid("embedder")
        self.client.IngestDocument(collection_id=COLLECTION, document_id="d", text="words")
        watch = self.client.WatchDocuments(collection_id=COLLECTION, deadline=60)
        watch.initial_metadata()
        pressure = self.client.WatchPressure(interval={"seconds": 60}, deadline=60)
        next(pressure)
        wait = self.client.stub("WaitDocument").future(
            self.client.request("WaitDocument", collection_id=COLLECTION, document_id="d", timeout=60), timeout=60
        )
        self.suite.signal("gateway", signal.SIGTERM)
        began = time.monotonic()
        for call in (wait.result, lambda: list(watch), lambda: list(pressure)):
            with self.assertRaises(grpc.RpcError) as caught:
                call()
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertLess(time.monotonic() - began, AT_ONCE_S)  # half of the grace is what the servers would be given
        os.kill(stopped, signal.SIGCONT)

    def test_services_die_with_their_supervisor(self):
        self.suite.up_foreground()
        self.collection()
        acked = self.loaded(100)
        pids = self.pids()
        self.suite.foreground.kill()
        self.suite.foreground.wait(harness.PATIENCE)
        acked = acked.end()
        wait_for(lambda: all(process_is_gone(pid) for pid in pids), "the end of all services")
        self.suite.up()
        self.assert_whole(acked)

    def test_a_service_that_is_asked_to_stop_drains_and_is_started_again(self):
        self.suite.up()
        self.collection()
        load = self.loaded(100)
        for service in SERVICES:
            pid = self.suite.signal(service, signal.SIGTERM)
            wait_for(lambda old=pid: process_is_gone(old), f"the end of {service}")
            wait_for(lambda name=service, old=pid: self.suite.pid(name) not in (0, old), f"{service} again")
        self.suite.wait_serving()
        self.assert_whole(load.end())


if __name__ == "__main__":
    harness.main()
