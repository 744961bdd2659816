"""A volume of an inner service is lost, or comes back as it was some time ago, while clients work.

Documents return to READY with no client's help, deleted ones stay deleted, FAILED ones stay FAILED with their dead
letters, and no search in between takes what is missing for absent: it finds it, or answers INDEX_REBUILDING. All that
is what the history checker judges. WEIR_SEED picks the run, WEIR_DOCUMENTS its size.
"""

import os
import random
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import COLLECTION, ChaosTest, harness  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", "300"))
NOTICED_S = 8  # the gateway looks at each service every two seconds
INNER = ("ingest", "embedder", "indexer", "reconciler")


class VolumesTest(ChaosTest):
    def setUp(self):
        self.generator = random.Random(SEED)
        self.suite = self.rig().up()
        self.client = self.collection(self.suite)
        self.job = self.work(self.suite, SEED, DOCUMENTS, writers=3, hot_writers=1, readers=2)

    def wait_for_era(self, before, must_come=True):
        """The gateway has noticed, and nothing is left to be driven again.  An embedder or an ingest that had told
        nobody of anything may be replaced without a word."""
        try:
            patience = 60 if must_come else NOTICED_S
            harness.wait_for(lambda: self.client.stubborn("GetServerInfo").era > before, "a new era", patience)
        except AssertionError:
            if must_come:
                raise
        self.settle(self.suite, self.client)

    def finish(self, what, began, losses):
        counts = self.job.finish()
        settled = self.settle(self.suite, self.client)
        judge = self.check(self.suite, self.job, losses)
        print(
            f"{what}: seed {SEED}, {len(judge.scan.documents)} documents, {counts}, settled {settled:.1f} s after the"
            f" last call, {len(judge.violations)} violations, {time.monotonic() - began:.0f} s",
            flush=True,
        )

    def lose(self, service):
        """Kill it and delete its database."""
        self.suite.let_end(service)
        self.suite.kill(service)
        shutil.rmtree(self.suite.database(service))
        self.suite.begin(service)

    def test_each_inner_volume_is_wiped(self):
        began = time.monotonic()
        order = self.generator.sample(INNER, len(INNER))
        for number, service in enumerate(order):
            era = self.client.stubborn("GetServerInfo").era
            self.job.open((number + 1) / (len(order) + 1))
            time.sleep(self.generator.uniform(0.3, 1))
            print(f"wiping {service} in era {era}", flush=True)
            self.lose(service)
            self.wait_for_era(era, must_come=service in ("indexer", "reconciler"))
        self.finish("wiped volumes", began, losses=1)

    def test_each_inner_volume_is_rolled_back(self):
        began = time.monotonic()
        order = self.generator.sample(INNER, len(INNER))
        for number, service in enumerate(order):
            era = self.client.stubborn("GetServerInfo").era
            self.job.open((number + 0.5) / (len(order) + 1))
            time.sleep(self.generator.uniform(0.3, 1))
            copy = self.copy(service)
            before = harness.wait_for(lambda: self.settled(service), f"{service} to tell its links")
            self.job.open((number + 1) / (len(order) + 1))
            harness.wait_for(
                lambda: (self.settled(service) or 0) > before + 3, f"{service} to get ahead of its copy", 60
            )
            print(f"rolling {service} back in era {era}", flush=True)
            self.bring_back(service, copy)
            self.wait_for_era(era)
        self.finish("rolled-back volumes", began, losses=1)

    def test_a_gateway_that_is_rolled_back_stops_and_says_what_to_do(self):
        """Nobody else has what was acknowledged since."""
        self.job.open(0.4)
        self.settle(self.suite, self.client)
        copy = self.copy("gateway")
        self.job.finish()
        self.settle(self.suite, self.client)
        self.see_it_refused(copy)
        self.make_do()
        copy = self.copy("gateway")
        for index in range(20):
            self.client.stubborn("IngestDocument", collection_id=COLLECTION, document_id=f"later{index}", text="Later.")
        self.settle(self.suite, self.client)
        self.see_it_refused(copy)

    def see_it_refused(self, copy):
        self.suite.let_end("gateway")
        open(self.suite.log_path("gateway"), "w", encoding="utf-8").close()
        self.bring_back("gateway", copy)
        self.suite.let_end("gateway")
        self.assertEqual(self.suite.processes["gateway"].wait(30), 70)
        self.assertIn("older than it was: restore a backup", self.suite.log_of("gateway"))

    def make_do(self):
        """As the sentence says, with what is in it."""
        for service in INNER:
            self.suite.stop(service)
        words = [harness.WEIR, "restore", "--in-place", "--data", self.suite.data]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        for service in harness.SERVICES:
            self.suite.begin(service)
        self.suite.wait_serving()
        self.settle(self.suite, self.client)

    def copy(self, service):
        """Its database as it is now, from a moment when it was stopped."""
        self.suite.stop(service)
        copy = os.path.join(self.suite.data, f"copy-{service}")
        shutil.copytree(self.suite.database(service), copy, symlinks=True)
        self.suite.begin(service)
        return copy

    def bring_back(self, service, copy):
        self.suite.let_end(service)
        self.suite.kill(service)
        shutil.rmtree(self.suite.database(service))
        os.rename(copy, self.suite.database(service))
        self.suite.begin(service)

    def settled(self, service):
        """How many rows its links have settled; None while it does not answer."""
        client = harness.Client(self.suite.grpc_address(service))
        try:
            links = client.call("/weir.internal.v1.StageService/ListLinks", deadline=5).links
            return sum(link.settled for link in links)
        except harness.grpc.RpcError:
            return None
        finally:
            client.close()


if __name__ == "__main__":
    harness.main()
