"""SIGKILL storms: services die at random instants, also while they recover, while clients work; then all is judged.

And a storm of everything: one poisoned document in a hundred, services that are stopped for up to four seconds
(longer than heartbeats and time-outs of links), and kills, of the embedder above all, whose work is what most
documents wait for.

WEIR_SEED picks the run, WEIR_KILLS and WEIR_DOCUMENTS its size.
"""

import collections
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rig  # noqa: E402  pylint: disable=wrong-import-position
from rig import ChaosTest, harness  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
KILLS = int(os.environ.get("WEIR_KILLS", "300"))
DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", "10000"))
FAULTS = int(os.environ.get("WEIR_FAULTS", "40"))
POISONED_DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", "2000"))
PAUSE_S = 4.0
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

    def test_faults_of_every_kind_and_poison(self):
        generator = random.Random(SEED)
        suite = self.rig().up()
        client = self.collection(suite)
        began = time.monotonic()
        work = self.work(suite, SEED, POISONED_DOCUMENTS, hot_steps=30, poisoned=True)
        faults = self.pauses_and_kills(suite, work, generator)
        counts = work.finish()
        settled = self.settle(suite, client)
        judge = self.check(suite, work)
        ready, good = rig.ends_of_good(judge)["READY"], sum(rig.ends_of_good(judge).values())
        print(
            f"fault storm: seed {SEED}, {dict(faults)}, {len(judge.scan.documents)} documents, {counts},"
            f" {len(judge.violations)} violations, {100 * ready / good:.3f} % of {good} good documents READY with no"
            f" operator, settled {settled:.1f} s after the last call, {time.monotonic() - began:.0f} s",
            flush=True,
        )
        self.assertEqual(ready, good)

    def pauses_and_kills(self, suite, work, generator):
        faults = collections.Counter()
        until = {}  # service -> when it goes on
        for number in range(FAULTS):
            work.open(number / FAULTS)
            service = generator.choice((*harness.SERVICES, "embedder", "embedder"))
            if generator.random() < 0.5:
                suite.pause(service)
                until[service] = time.monotonic() + generator.uniform(0.05, PAUSE_S)
                faults["paused"] += 1
            elif suite.kill(service):
                faults["killed"] += 1
            time.sleep(generator.uniform(0.05, 0.6))
            for paused, instant in list(until.items()):
                if time.monotonic() > instant:
                    suite.resume(paused)
                    del until[paused]
        for paused in until:
            suite.resume(paused)
        return faults


if __name__ == "__main__":
    harness.main()
