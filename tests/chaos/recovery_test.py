"""Killed again and again while they recover, and killed for want of memory.

A suite that is killed with work under way is copied.  One copy recovers at once; in the other each service is killed as
soon as it comes back, many times over.  Both must end the same.  WEIR_SEED picks the run.
"""

import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import COLLECTION, ChaosTest, compare, ends_of_good  # noqa: E402  pylint: disable=wrong-import-position
from rig import harness  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", "400"))
AGAIN = 8  # kills of each service while it recovers
RECOVERY_S = 0.3
SQUEEZES = int(os.environ.get("WEIR_SQUEEZES", "24"))
MIB = 1 << 20
RECONNECTS = 4
AWAY_S = 3


def text_of(index):
    """Some of many chunks, some that cannot be READY."""
    if index % 40 == 7:
        return " \n"
    words = f"Document {index} has the mark{index}x and tells of a mill. "
    return words * (30 if index % 5 == 0 else 1)


class RecoveryTest(ChaosTest):
    def test_crashes_in_the_recovery_change_nothing(self):
        generator = random.Random(SEED)
        suite = self.rig().up()
        client = self.collection(suite)
        for index in range(DOCUMENTS):
            client.stubborn("IngestDocument", collection_id=COLLECTION, document_id=f"d{index}", text=text_of(index))
        for service in harness.SERVICES:
            suite.let_end(service)
            suite.kill(service)
        copy = tempfile.mkdtemp(prefix="weir-", dir="/tmp")
        self.addCleanup(shutil.rmtree, copy, ignore_errors=True)
        for service in harness.SERVICES:
            shutil.copytree(suite.database(service), os.path.join(copy, service))
        at_once = self.ends(self.rig(data=copy).up())
        kills = 0
        for service in harness.SERVICES:
            suite.begin(service)
        for _ in range(AGAIN):
            for service in harness.SERVICES:
                time.sleep(generator.uniform(0, RECOVERY_S))
                kills += suite.kill(service)
        again = self.ends(suite)
        self.assertEqual(again, at_once)
        states = sorted(state for states in at_once.values() for state, *_ in states)
        print(
            f"recovery: seed {SEED}, {kills} kills, {len(at_once)} documents: "
            + ", ".join(f"{name} {states.count(name)}" for name in sorted(set(states))),
            flush=True,
        )

    def ends(self, suite):
        """How every revision of every document ended, and what of it can be found."""
        client = suite.client()
        self.settle(suite, client)
        suite.wait_quiet()
        self.assertEqual(set(suite.down().values()), {0})
        scan = suite.scan()
        ends = {}
        for document, revisions in scan.revisions.items():
            ready = compare.number(scan.registers.get(document, {}), "readyRevision")
            ends[document] = [
                (scan.state(document, number), value.get("chunkCount", 0), compare.hexed(value, "contentSha256"), ready)
                for number, value in sorted(revisions.items())
            ]
        return ends

    # ---- memory ----

    def test_a_service_without_memory(self):
        """Allocations and starts of threads fail in one service after the other; it ends, comes back, and goes on."""
        generator = random.Random(SEED)
        suite = self.rig().up()
        client = self.collection(suite)
        began = time.monotonic()
        work = self.work(suite, SEED, DOCUMENTS, hot_steps=20)
        for number in range(SQUEEZES):
            work.open(number / SQUEEZES)
            self.squeeze(suite, generator.choice(harness.SERVICES), generator.randrange(0, 2 * MIB))
            time.sleep(generator.uniform(0.1, 0.5))
        harness.wait_for(lambda: self.is_felt(suite), "a limit to be felt", 120)
        for service in harness.SERVICES:
            self.limit(suite, service, resource.RLIM_INFINITY)
        suite.wait_serving()
        counts = work.finish()
        settled = self.settle(suite, client)
        ended = self.ended(suite)
        judge = self.check(suite, work, drains=False)
        ends = ends_of_good(judge)
        print(
            f"memory: seed {SEED}, {SQUEEZES} limits, {ended} ends of services, {len(judge.scan.documents)} documents,"
            f" {counts}, {dict(ends)}, {len(judge.violations)} violations, settled {settled:.1f} s after the last call,"
            f" {time.monotonic() - began:.0f} s",
            flush=True,
        )

    @staticmethod
    def ended(suite):
        return sum(suite.starts.values()) - len(harness.SERVICES)

    def is_felt(self, suite):
        """By chance a run may have met nobody who wanted memory: a connection that is new wants some for a thread."""
        for service in harness.SERVICES:
            if self.ended(suite) > 0:
                return True
            self.squeeze(suite, service, 0)
            suite.is_serving(service)
        return False

    def test_a_gateway_without_memory_while_services_come_back(self):
        """Its gRPC core needs threads for connections; one that it cannot start must not be lost in silence."""
        generator = random.Random(SEED)
        suite = self.rig().up()
        client = self.collection(suite)
        text = text_of(1)
        client.stubborn("IngestDocument", collection_id=COLLECTION, document_id="d1", text=text)
        self.settle(suite, client)
        for _ in range(RECONNECTS):
            suite.kill("gateway")
            suite.wait_serving()
            self.squeeze(suite, "gateway", generator.randrange(2 * MIB, 6 * MIB))
            for service in ("embedder", "indexer"):
                suite.stop(service, signal.SIGKILL)
            self.ask(client, text, deadline=1, within=AWAY_S)
            for service in ("embedder", "indexer"):
                suite.begin(service)
            self.ask(client, text, deadline=1, within=AWAY_S)
            self.limit(suite, "gateway", resource.RLIM_INFINITY)
            self.assertTrue(self.ask(client, text, deadline=5, within=60), "the limit is gone, and it finds nothing")
        ended = suite.starts["gateway"] - 1 - RECONNECTS
        print(f"reconnects: seed {SEED}, {RECONNECTS} limits, the gateway ended {ended} times", flush=True)
        self.assertGreater(ended, 0, "no limit was felt: the core of gRPC lost a thread, and said nothing")

    @staticmethod
    def ask(client, text, deadline, within):
        """True as soon as a search finds the document."""
        until = time.monotonic() + within
        while time.monotonic() < until:
            try:
                if client.call("Search", deadline=deadline, collection_id=COLLECTION, text=text, top_k=1).hits:
                    return True
            except harness.grpc.RpcError:
                time.sleep(harness.POLL)
        return False

    def squeeze(self, suite, service, more):
        """It may take so many bytes more than it has."""
        try:
            self.limit(suite, service, harness.resident_kb(suite.pid(service), "VmData") * 1024 + more)
        except OSError:
            pass  # it has just ended

    @staticmethod
    def limit(suite, service, size):
        pid = suite.pid(service)
        if pid:
            resource.prlimit(pid, resource.RLIMIT_DATA, (size, resource.RLIM_INFINITY))


if __name__ == "__main__":
    harness.main()
