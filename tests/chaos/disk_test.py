"""The disk fills up: ingest says so, everything else goes on, nothing is lost, and space is all that it takes to heal.

A tmpfs of its own in a mount namespace of its own; without the right to make one the test is skipped. WEIR_SEED picks
the run.
"""

import itertools
import os
import random
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

if "WEIR_TEST_NAMESPACE" not in os.environ:
    # In a chroot "/" is no mount whose propagation could be changed; there it is private as it is.
    for propagation in ("private", "unchanged"):
        words = ["unshare", "--mount", "--propagation", propagation]
        if subprocess.run([*words, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            os.environ["WEIR_TEST_NAMESPACE"] = propagation
            os.execvp(words[0], [*words, sys.executable, *sys.argv])
    print("skipped: no right to make a mount namespace")
    sys.exit(77)

from rig import ChaosTest, Rig, harness  # noqa: E402  pylint: disable=wrong-import-position
from recorder import Journal, Recorder  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
MIB = 1 << 20
DISK = 256 * MIB
LOW, RESERVE = 64 * MIB, 16 * MIB
SETTINGS = [f"store.low_water_bytes={LOW}", f"store.reserve_bytes={RESERVE}", "store.ballast_bytes=0"]
DOCUMENTS = 60


def text_of(name):
    return f"Document {name} has the mark{name}x, and it is about a disk."


class DiskTest(ChaosTest):
    def setUp(self):
        self.suite = Rig(SETTINGS)
        self.addCleanup(self.umount)
        self.addCleanup(self.end_suite, self.suite)
        for name in os.listdir(self.suite.data):
            os.rmdir(os.path.join(self.suite.data, name))
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", self.suite.data], check=True)
        os.makedirs(os.path.join(self.suite.data, "log"))
        self.suite.up()
        self.client = self.collection(self.suite)
        handle, path = tempfile.mkstemp(prefix="weir-disk-history-", dir="/tmp")  # not on that disk
        os.close(handle)
        self.histories = [path]
        self.addCleanup(os.unlink, self.histories[0])
        self.journal = Journal(self.histories[0])
        self.recorder = Recorder(self.journal, "c", self.suite.grpc_address(), "chaos")
        self.addCleanup(self.recorder.close)

    def umount(self):
        subprocess.run(["umount", "--lazy", self.suite.data], check=False)

    def free(self):
        found = os.statvfs(self.suite.data)
        return found.f_bavail * found.f_frsize

    def fill(self, left):
        """Leave so many bytes."""
        with open(os.path.join(self.suite.data, "filler"), "ab") as stream:
            while (more := min(self.free() - left, MIB)) > 0:
                try:
                    stream.write(b"\0" * more)
                    stream.flush()
                except OSError:
                    return

    def is_refused(self, numbers):
        """Each time another document: a repeated request is answered whatever the disk."""
        name = f"late{next(numbers)}"
        answer = self.recorder.ingest(name, text_of(name), request_id=f"r-{name}")
        return self.code(answer) == "RESOURCE_EXHAUSTED"

    @staticmethod
    def code(answer):
        return answer.code().name if isinstance(answer, harness.grpc.RpcError) else "OK"

    def ready(self, name):
        answer = self.recorder.until_answered(self.recorder.ingest, name, text_of(name), request_id=f"r-{name}")
        self.assertEqual(self.code(answer), "OK", answer)
        harness.wait_for(lambda: self.state(name) == "READY", f"{name} to be READY", 60)

    def state(self, name):
        answer = self.recorder.get(name, deadline=harness.PATIENCE)
        return self.code(answer) if self.code(answer) != "OK" else harness.state_name(answer.document)

    def test_a_disk_that_fills_up(self):
        began = time.monotonic()
        names = [f"d{number:03}" for number in range(DOCUMENTS)]
        for name in names:
            self.recorder.until_answered(self.recorder.ingest, name, text_of(name), request_id=f"r-{name}")
        self.settle(self.suite, self.client)

        self.fill(LOW - 24 * MIB)
        numbers = itertools.count()
        harness.wait_for(lambda: self.is_refused(numbers), "a refusal")
        refusal = harness.Refusal(self.recorder.ingest("later", text_of("later")))
        self.assertEqual((refusal.code, refusal.reason), ("RESOURCE_EXHAUSTED", "DISK_LOW"), refusal)
        self.assertIsNotNone(refusal.retry_s, refusal)
        self.look_around(names, "low")
        self.assertEqual(self.code(self.recorder.delete(names[0], request_id="x0", deadline=harness.PATIENCE)), "OK")

        self.fill(0)
        self.look_around(names[1:], "full")
        self.recorder.delete(names[1], request_id="x1", deadline=3)  # may wait for space
        killed = self.suite.kill("indexer")
        self.assertTrue(killed)

        os.unlink(os.path.join(self.suite.data, "filler"))
        freed = time.monotonic()
        self.ready("late")
        healed = time.monotonic() - freed
        self.ready("later")
        self.recorder.until_answered(self.recorder.delete, names[1], request_id="x1")
        self.look_around(names[2:], "healed")
        self.settle(self.suite, self.client)
        judge = self.check(self.suite, self)
        print(
            f"disk: {self.recorder.counts}, {len(judge.violations)} violations, accepted and READY {healed:.1f} s after"
            f" space came back, {time.monotonic() - began:.0f} s",
            flush=True,
        )

    def check(self, suite, work, losses=0, drains=True):
        self.journal.close()
        return super().check(suite, work, losses, drains)

    def look_around(self, names, when):
        """Reads work, whatever the disk."""
        for name in random.Random(SEED).sample(names, 10):
            self.assertEqual(self.state(name), "READY", when)
            answer = self.recorder.search(name, text_of(name), deadline=harness.PATIENCE)
            self.assertEqual(self.code(answer), "OK", (when, answer))
            self.assertEqual(len(answer.hits), 1, (when, name))


if __name__ == "__main__":
    harness.main()
