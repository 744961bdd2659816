"""No faults at all, and a few documents that many clients write, delete, retry, read and search at once.

What they see must be explained by one order of their calls.  (Regression: GetDocument once answered with the newest
revision of one instant and the state of a later one.)  WEIR_SEED picks the run, WEIR_STEPS its size.
"""

import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import ChaosTest, harness  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
STEPS = int(os.environ.get("WEIR_STEPS", "200"))


class ContentionTest(ChaosTest):
    def test_what_many_see_of_one_document_is_one_history(self):
        suite = self.rig().up()
        client = self.collection(suite)
        work = self.work(suite, SEED, 40, writers=2, hot_writers=4, hot_steps=STEPS, hot_documents=6, readers=4)
        counts = work.finish()
        self.settle(suite, client)
        judge = self.check(suite, work)
        revisions = sum(len(revisions) for revisions in judge.scan.revisions.values())
        print(f"contention: seed {SEED}, {counts}, {revisions} revisions of {len(judge.scan.documents)} documents")


if __name__ == "__main__":
    harness.main()
