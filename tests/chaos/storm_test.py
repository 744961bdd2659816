"""SIGKILL storms: services die at random instants, also while they recover, while clients work; then all is judged.

WEIR_SEED picks the run, WEIR_KILLS and WEIR_DOCUMENTS its size.
"""

import collections
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import ChaosTest, harness  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
KILLS = int(os.environ.get("WEIR_KILLS", "300"))
DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", "10000"))
RECOVERY_S = 0.3  # a kill within this time of a start meets the recovery


class StormTest(ChaosTest):
    def test_kills(self):
        generator = random.Random(SEED)
        suite = self.rig().up()
        client = self.collection(suite)
        print(f"seed {SEED}, {KILLS} kills, {DOCUMENTS} documents, data in {suite.data}", flush=True)
        began = time.monotonic()
        work = self.work(suite, SEED, DOCUMENTS)
        kills = self.storm(suite, work, generator)
        counts = work.finish()
        killed = time.monotonic() - began
        settled = self.settle(suite, client)
        judge = self.check(suite, work)
        total = sum(kills[name] for name in harness.SERVICES)
        shown = ", ".join(f"{name} {kills[name]}" for name in harness.SERVICES)
        print(
            f"storm: seed {SEED}, {total} kills ({shown}; {kills['again']} again within"
            f" {RECOVERY_S} s), {len(judge.scan.documents)} documents, {counts}, {len(judge.violations)} violations,"
            f" storm {killed:.0f} s, settled {settled:.1f} s later",
            flush=True,
        )

    def storm(self, suite, work, generator):
        """One kill after the other, each meeting a share of the work that has just begun; some kill what a kill before
        has just brought back."""
        kills = collections.Counter()
        done = 0
        while done < KILLS:
            service = generator.choice(harness.SERVICES)
            work.open(done / KILLS)
            time.sleep(generator.uniform(0.01, 0.2))
            repeats = generator.choice((0, 0, 0, 1, 2))
            for again in range(1 + repeats):
                if again:
                    time.sleep(generator.uniform(0, RECOVERY_S))
                if suite.kill(service):
                    kills[service] += 1
                    kills["again"] += again > 0
                    done += 1
        self.assertGreater(kills["again"], 0)
        return kills


if __name__ == "__main__":
    harness.main()
