"""Cut, hanging, swallowing, slow and reset connections between the services, while clients work.

WEIR_SEED picks the run, WEIR_FAULTS and WEIR_DOCUMENTS its size.
"""

import collections
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import ChaosTest, harness  # noqa: E402  pylint: disable=wrong-import-position
from proxy import CUT, HANG, PASS, SWALLOW, ProxiedRig  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
FAULTS = int(os.environ.get("WEIR_FAULTS", "40"))
DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", "1000"))
KINDS = (CUT, HANG, SWALLOW, "slow", "reset")


class LinksTest(ChaosTest):
    def proxied(self):
        suite = ProxiedRig()
        self.addCleanup(self.end_suite, suite)
        return suite.up()

    def test_broken_connections(self):
        generator = random.Random(SEED)
        suite = self.proxied()
        client = self.collection(suite)
        began = time.monotonic()
        work = self.work(suite, SEED, DOCUMENTS)
        faults = self.break_connections(suite, work, generator)
        suite.heal()
        counts = work.finish()
        settled = self.settle(suite, client)
        resent = self.resent(suite)
        judge = self.check(suite, work)
        print(
            f"links: seed {SEED}, {FAULTS} faults {dict(faults)}, {len(judge.scan.documents)} documents, {counts},"
            f" {resent} rows sent again, {len(judge.violations)} violations, settled {settled:.1f} s after the last"
            f" call, {time.monotonic() - began:.0f} s",
            flush=True,
        )

    def break_connections(self, suite, work, generator):
        """Some wires at a time, each for a while; a third of the faults are on a whole service."""
        faults = collections.Counter()
        wires = list(suite.wires)
        for number in range(FAULTS):
            work.open(number / FAULTS)
            kind = generator.choice(KINDS)
            chosen = generator.sample(wires, generator.randrange(1, 6))
            if generator.random() < 0.33:
                service = generator.choice(harness.SERVICES)
                chosen = [key for key in wires if key[1] == service]
            for key in chosen:
                if kind == "reset":
                    suite.reset(key)
                else:
                    suite.set(key, PASS if kind == "slow" else kind, 0.05 if kind == "slow" else 0.0)
            faults[kind] += 1
            time.sleep(generator.uniform(0.05, 0.8))
            if generator.random() < 0.4:
                suite.heal()
        return faults

    def resent(self, suite):
        """Rows that the links sent again: a fault that nobody noticed is none."""
        rows = 0
        for service in harness.SERVICES:
            links = suite.client(service).call("/weir.internal.v1.StageService/ListLinks").links
            rows += sum(link.resent for link in links)
        self.assertGreater(rows, 0)
        return rows


if __name__ == "__main__":
    harness.main()
