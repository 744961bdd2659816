"""The whole suite in a control group whose memory runs out while clients work; the kernel kills, and nobody helps.

Skipped, with the reason, where no control group with a limit on memory can be made; recovery_test.py limits single
services everywhere. WEIR_SEED picks the run.
"""

import os
import random
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import ChaosTest, ends_of_good, harness  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", "400"))
SQUEEZES = int(os.environ.get("WEIR_SQUEEZES", "6"))
MIB = 1 << 20
ROOM = 1024  # MiB of caches and tables at most
MOUNT = "/sys/fs/cgroup"
INTO = 'echo $$ >"$0/cgroup.procs" && exec "$@"'  # a program that begins inside a group


class NoGroup(Exception):
    """Why there is none."""


class Group:
    """A control group below the one that this process is in."""

    def __init__(self):
        self.old = os.path.isdir(os.path.join(MOUNT, "memory"))  # version 1
        parent = self.parent()
        try:
            self.path = tempfile.mkdtemp(prefix="weir-", dir=parent)
            self.claim(parent)
            self.limit(None)
        except OSError as error:
            self.remove()
            raise NoGroup(f"no group with a limit on memory can be made in {parent}: {error.strerror}") from None

    def parent(self):
        self.path = None
        mount = os.path.join(MOUNT, "memory") if self.old else MOUNT
        with open("/proc/self/cgroup", encoding="utf-8") as stream:
            for line in stream:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                if ("memory" in controllers.split(",")) if self.old else not controllers:
                    found = mount + path.rstrip("/")
                    return found if os.path.isdir(found) else mount
        raise NoGroup("the kernel has no control groups for memory")

    def claim(self, parent):
        """Version 2 gives a group no controller that its parent does not hand down."""
        if not self.old and not os.path.exists(os.path.join(self.path, "memory.max")):
            with open(os.path.join(parent, "cgroup.subtree_control"), "w", encoding="utf-8") as stream:
                stream.write("+memory")

    def limit(self, size):
        text = ("-1" if self.old else "max") if size is None else str(size)
        name = "memory.limit_in_bytes" if self.old else "memory.max"
        with open(os.path.join(self.path, name), "w", encoding="utf-8") as stream:
            stream.write(text)

    def numbers(self, name):
        with open(os.path.join(self.path, name), encoding="utf-8") as stream:
            return {key: int(value) for key, value in (line.split() for line in stream)}

    def used(self):
        """Bytes that cannot be written out."""
        return self.numbers("memory.stat")["rss" if self.old else "anon"]

    def kills(self):
        return self.numbers("memory.oom_control" if self.old else "memory.events")["oom_kill"]

    def remove(self):
        if self.path is not None and os.path.isdir(self.path):
            os.rmdir(self.path)


class MemoryTest(ChaosTest):
    def test_a_suite_that_runs_out_of_memory(self):
        began = time.monotonic()
        generator = random.Random(SEED)
        self.addCleanup(GROUP.remove)
        suite = self.rig()
        suite.prefixes = dict.fromkeys(harness.SERVICES, ("sh", "-c", INTO, GROUP.path))
        suite.up()
        client = self.collection(suite)
        work = self.work(suite, SEED, DOCUMENTS, hot_steps=20)
        for number in range(SQUEEZES):
            before = GROUP.kills()
            self.squeeze(generator.randrange(MIB))
            work.open((number + 1) / SQUEEZES)
            self.wait_for_kill(before, generator.uniform(0.3, 2.0) if before > 0 else harness.PATIENCE)
            GROUP.limit(None)
            suite.wait_serving()
        counts = work.finish()
        settled = self.settle(suite, client)
        kills, ended = GROUP.kills(), sum(suite.starts.values()) - len(harness.SERVICES)
        judge = self.check(suite, work)
        print(
            f"memory: seed {SEED}, {SQUEEZES} limits, {kills} kills by the kernel, {ended} ends of services,"
            f" {len(judge.scan.documents)} documents, {counts}, {dict(ends_of_good(judge))},"
            f" {len(judge.violations)} violations, settled {settled:.1f} s after the last call,"
            f" {time.monotonic() - began:.0f} s",
            flush=True,
        )
        self.assertGreater(kills, 0, "no limit was felt")
        self.assertGreaterEqual(ended, kills)

    @staticmethod
    def squeeze(more):
        """It may have so many bytes more than it cannot do without."""
        size = GROUP.used() + more
        for _ in range(ROOM):
            try:
                GROUP.limit(size)
                return
            except OSError:  # version 1 refuses what it cannot free
                size += MIB
        raise AssertionError(f"no limit up to {size} bytes can be set")

    @staticmethod
    def wait_for_kill(before, patience):
        until = time.monotonic() + patience
        while GROUP.kills() == before and time.monotonic() < until:
            time.sleep(harness.POLL)


if __name__ == "__main__":
    try:
        GROUP = Group()
    except NoGroup as why:
        print(f"skipped: {why}")
        sys.exit(77)
    harness.main()
