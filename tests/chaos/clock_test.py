"""The wall clock jumps a year ahead and back while clients work and services die: nothing but times changes.

WEIR_SEED picks the run, WEIR_JUMPS and WEIR_DOCUMENTS its size.
"""

import os
import random
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import BUILD, ChaosTest, ends_of_good, harness  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
JUMPS = int(os.environ.get("WEIR_JUMPS", "24"))
DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", "800"))
YEAR_S = 366 * 86400
OFFSETS = (YEAR_S, -YEAR_S, 0, 3600, -3600, 30, -30, 0)


class ClockTest(ChaosTest):
    def setUp(self):
        self.suite = self.rig()
        self.clock = os.path.join(self.suite.data, "clock")
        self.set_clock(0)
        library = os.path.join(BUILD, "tests", "libweir-test-clock.so")
        for service in harness.SERVICES:
            self.suite.environments[service] = {"LD_PRELOAD": library, "WEIR_TEST_CLOCK": self.clock}

    def set_clock(self, offset_s):
        """In place: the services have it mapped."""
        with open(self.clock, "r+b" if os.path.exists(self.clock) else "wb") as stream:
            stream.write(struct.pack("=q", offset_s))

    def test_a_clock_that_jumps(self):
        generator = random.Random(SEED)
        client = self.collection(self.suite.up())
        began = time.monotonic()
        work = self.work(self.suite, SEED, DOCUMENTS)
        kills = 0
        for number in range(JUMPS):
            work.open(number / JUMPS)
            self.set_clock(generator.choice(OFFSETS))
            if generator.random() < 0.4:  # with work that waits for a time of another clock
                kills += self.suite.kill(generator.choice(harness.SERVICES))
            time.sleep(generator.uniform(0.1, 0.5))
        self.set_clock(-YEAR_S)
        counts = work.finish()
        settled = self.settle(self.suite, client)
        self.check_that_it_jumped(client)
        judge = self.check(self.suite, work)
        ends = ends_of_good(judge)
        print(
            f"clock: seed {SEED}, {JUMPS} jumps, {kills} kills, {len(judge.scan.documents)} documents, {counts},"
            f" {len(judge.violations)} violations, settled {settled:.1f} s after the last call,"
            f" {time.monotonic() - began:.0f} s",
            flush=True,
        )
        self.assertEqual(ends["READY"], sum(ends.values()))

    def check_that_it_jumped(self, client):
        """The services live a year ago."""
        made = client.stubborn("CreateCollection", collection={"collection_id": "late"}).collection
        self.assertGreater(time.time() - made.create_time.ToSeconds(), YEAR_S / 2)


if __name__ == "__main__":
    harness.main()
