"""Power cuts of one, several or all five services while clients work; then the whole history is judged.

    suite_test.py BUILD [unittest arguments]      POWER_SEED, POWER_CUTS and POWER_DOCUMENTS pick the run

Clients ingest, replace, delete, retry and read, and write down what they are told (tests/history): their journals lie
outside the root that is cut.  Now and then a service that comes back is cut again before so many calls, which meets
its recovery.  The checker decides at the end whether one thing that was acknowledged is missing, doubled or back: from
the histories, which go on through every cut, and from a scan of all five databases.

The control runs the same with syncs of the WAL that lie.  Then the checker must find what is missing, or it would not
have found it above either.
"""

import os
import random
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))
import power  # noqa: E402  pylint: disable=wrong-import-position
from rig import ChaosTest, Rig, harness, history, history_checker  # noqa: E402  pylint: disable=wrong-import-position
from harness import SERVICES  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("POWER_SEED", random.SystemRandom().randrange(1 << 32)))
CUTS = int(os.environ.get("POWER_CUTS", "50"))
DOCUMENTS = int(os.environ.get("POWER_DOCUMENTS", str(CUTS * 30)))
CONTROL_CUTS = 6
CONTROL_TRIES = 20  # of two in three something is found missing
CALLS_OF_A_START = 150


class CutRig(Rig):
    """Each service under the shim, with a seed of its own for each start."""

    def __init__(self, generator, lies=""):
        self.place = power.Place(harness.BUILD)
        super().__init__(data=self.place.top)
        self.generator, self.lies = generator, lies
        self.armed = {}  # service -> before which call its next start is cut
        self.cuts = dict.fromkeys(SERVICES, 0)
        self.lost = power.Sum()

    def folder(self, service):
        return self.place.root

    def gather(self):
        return self.place.root

    def start(self, service):
        self.environments[service] = self.place.environment(
            self.generator.getrandbits(32), self.armed.pop(service, 0), self.lies
        )
        return super().start(service)

    def cut(self, services, again):
        """At once; `again` says how likely each is cut once more while it comes back."""
        with self.lock:  # nothing is started meanwhile
            running = [service for service in services if self.processes[service].poll() is None]
            for service in running:
                self.processes[service].send_signal(signal.SIGPWR)
            for service in running:
                power.must_be_cut(self.processes[service], service)
                if self.generator.random() < again:
                    self.armed[service] = self.generator.randint(1, CALLS_OF_A_START)

    def take_reports(self):
        reports = self.place.reports()
        for report in reports:
            self.cuts[report["program"][len("weir-") :]] += 1
        self.lost.add(reports)

    def close(self):
        super().close()
        self.place.remove()


class PowerTest(ChaosTest):
    def cut_rig(self, *arguments):
        suite = CutRig(*arguments)
        self.addCleanup(self.end_suite, suite)
        return suite.up()

    def storm(self, suite, work, generator, cuts, choices, again=0.0):
        """Each cut meets a share of the work that has just begun."""
        for number in range(cuts):
            work.open(number / cuts)
            time.sleep(generator.uniform(0.05, 0.3))  # the moment of the cut; nothing waits for it
            suite.cut(generator.sample(SERVICES, generator.choice(choices)), again)
            if suite.lies and sum(suite.failed_starts.values()) > 0:
                return
            self.assertEqual(sum(suite.failed_starts.values()), 0, "a service did not start again")

    def test_what_was_acknowledged_is_there(self):
        generator = random.Random(SEED)
        print(f"seed {SEED}, {CUTS} cuts, {DOCUMENTS} documents", flush=True)
        began = time.monotonic()
        suite = self.cut_rig(random.Random(SEED + 1))
        client = self.collection(suite)
        work = self.work(suite, SEED, DOCUMENTS)
        self.storm(suite, work, generator, CUTS, (1, 1, 2, 3, 5, 5), 0.3)
        counts = work.finish()
        settled = self.settle(suite, client)
        self.assertEqual(sum(suite.failed_starts.values()), 0, "a service did not start again")
        suite.take_reports()
        judge = self.check(suite, work)
        shown = ", ".join(f"{name} {suite.cuts[name]}" for name in SERVICES)
        print(
            f"power cuts, suite: seed {SEED}, {CUTS} moments and the recoveries after them: {suite.lost}; by service:"
            f" {shown}; {len(judge.scan.documents)} documents, {counts}, {len(judge.violations)} violations, settled"
            f" {settled:.1f} s after the work, {time.monotonic() - began:.0f} s",
            flush=True,
        )

    def control(self, seed):
        """What the checker says is missing after a few cuts under syncs that lie."""
        generator = random.Random(seed)
        suite = self.cut_rig(random.Random(seed + 1), "wal")
        self.collection(suite)
        work = self.work(suite, seed, CONTROL_CUTS * 30, processes=1)
        try:
            self.storm(suite, work, generator, CONTROL_CUTS, (5,))
        except power.Lost as error:  # a service found it out itself, and ended before the cut
            work.close()
            return [str(error)]
        if sum(suite.failed_starts.values()) > 0:
            work.close()
            return [f"a database that does not open: {suite.failed_starts}"]
        try:
            work.finish(30)
        except (subprocess.TimeoutExpired, AssertionError):
            work.close()  # clients may wait for ever for what was lost
        suite.down()
        try:
            scan = suite.scan()
        except AssertionError as error:
            if "is damaged" not in str(error):
                raise
            return [str(error)]  # its start had not failed yet when it was looked at above
        judge = history_checker.Checker(history.read(work.histories), scan)
        return [violation for violation in judge.run() if violation.invariant == "I1"]

    def test_control_syncs_that_lie_are_found_out(self):
        # By chance a short run may lose nothing that was acknowledged: all of several do not.
        for seed in range(SEED, SEED + CONTROL_TRIES):
            lost = self.control(seed)
            print(f"control: seed {seed}, {CONTROL_CUTS} cuts, {len(lost)} acknowledged things are missing", flush=True)
            if lost:
                print(f"the first: {str(lost[0])[:300]}", flush=True)
                return
        self.fail("nothing is lost without syncs: the other test proves nothing")


if __name__ == "__main__":
    harness.main()
