"""The Nth allocation, call of the store or send of a real program fails, for many N, in work and in the start.

nth/nth_failure_test does so for every such call of the cores; here the shells around them, the threads that answer
calls, RocksDB and ZeroMQ are the real ones.  WEIR_SEED picks the run, WEIR_FAULTS says how many for each service, kind
and phase, WEIR_DOCUMENTS how much work there is.
"""

import collections
import os
import random
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import BUILD, ChaosTest, ends_of_good, harness  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
FAULTS = int(os.environ.get("WEIR_FAULTS", "2"))
DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", str(FAULTS * 400)))
KINDS = {"allocation": 1, "store": 2, "send": 3}
# The largest N: how far a start goes, and what a few documents make.
REACH = {("start", "allocation"): 1500, ("start", "store"): 30, ("start", "send"): 4,
         ("work", "allocation"): 4000, ("work", "store"): 60, ("work", "send"): 40}
PLAN = struct.Struct("=4Q")
REACHED_S = 2.0  # a call that is not made by then may not come at all


class CallsTest(ChaosTest):
    def setUp(self):
        self.suite = self.rig()
        library = os.path.join(BUILD, "tests", "libweir-test-calls.so")
        for service in harness.SERVICES:
            with open(self.path(service), "wb") as stream:
                stream.write(PLAN.pack(0, 0, 0, 0))
            self.suite.environments[service] = {"LD_PRELOAD": library, "WEIR_TEST_CALLS": self.path(service)}

    def path(self, service):
        return os.path.join(self.suite.data, f"calls-{service}")

    def failed(self, service):
        with open(self.path(service), "rb") as stream:
            return PLAN.unpack(stream.read())[3]

    def arm(self, service, kind, nth):
        """In place: the service has it mapped, and counts in it."""
        with open(self.path(service), "r+b") as stream:
            stream.write(struct.pack("=3Q", KINDS.get(kind, 0), nth, 0))

    def fail(self, service, kind, phase, nth):
        """True if the call was made, and so failed; then the suite serves again."""
        before = self.failed(service)
        self.arm(service, kind, nth)
        if phase == "start":
            self.suite.kill(service)
        until = time.monotonic() + REACHED_S
        while self.failed(service) == before and time.monotonic() < until:
            time.sleep(harness.POLL)
        self.arm(service, "none", 0)
        self.suite.wait_serving(timeout=60)
        return self.failed(service) > before

    def test_each_nth_call_fails(self):
        generator = random.Random(SEED)
        client = self.collection(self.suite.up())
        began = time.monotonic()
        work = self.work(self.suite, SEED, DOCUMENTS)
        plans = FAULTS * [(service, kind, phase) for service in harness.SERVICES for phase, kind in REACH]
        generator.shuffle(plans)
        done = collections.Counter()
        for number, (service, kind, phase) in enumerate(plans):
            work.open(number / len(plans))
            # As many small numbers as large ones: the first calls differ most from each other.
            nth = int(REACH[phase, kind] ** generator.random())
            done[kind, phase] += self.fail(service, kind, phase, nth)
        counts = work.finish()
        settled = self.settle(self.suite, client)
        judge = self.check(self.suite, work)
        ends = ends_of_good(judge)
        starts = sum(self.suite.starts.values()) - len(harness.SERVICES)
        shown = ", ".join(f"{kind} in {phase} {count}" for (kind, phase), count in sorted(done.items()))
        print(
            f"calls: seed {SEED}, {len(plans)} planned, {sum(done.values())} failed ({shown}), {starts} starts,"
            f" {len(judge.scan.documents)} documents, {counts}, {dict(ends)}, {len(judge.violations)} violations,"
            f" settled {settled:.1f} s after the last call, {time.monotonic() - began:.0f} s",
            flush=True,
        )
        self.assertEqual(len(+done), len(REACH), "a kind of call never failed")
        self.assertEqual(ends["READY"], sum(ends.values()))


if __name__ == "__main__":
    harness.main()
