"""Every failpoint of the real programs, crashed on and failed on:  failpoints_test.py BUILD_FOLDER [options].

First one suite runs each workload unarmed, and the tables say which names each of them passes in which service.  Then
every name is armed in all of those services at once, once for each action, and its workload runs: each must fire, the
service must be back, and the documents must be as their acknowledgements say.  A name that no workload passes fails the
run.  Several suites work off one queue; a suite lives through all that it takes, so what one name left behind is met by
the next.  "Nothing was taken for a lost volume" is looked at too, where none was lost.

--actions pause sleeps at every hit instead; --pairs N arms N pairs of names that one workload passes, of which the
first must fire.
"""

import argparse
import collections
import itertools
import os
import queue
import random
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))

SKIPPED = 77
if len(sys.argv) > 1 and not os.path.exists(os.path.join(sys.argv[1], "bin", "weir-gateway")):
    print(f"{sys.argv[1]} is not built: 'make failpoints' does it")
    sys.exit(SKIPPED)

import harness
import ports
from fleet import FAILED_START, FATAL, FIRED_AT, Fleet
from release_test import PROGRAMS, names as names_of
from work import Work

# In the order in which they are preferred: the quickest first.
LOSSES = ("wipe_indexer", "wipe_reconciler", "restore")
WORKLOADS = ("path", "large", "deferred", "discard", "drain", "restart", "killer", "backup", "audit", *LOSSES)
# The audit runs when a workload asks for it, so that what it passes is passed by that workload alone.
SETTINGS = (
    "gateway.status_interval_ms=100", "ingest.backoff_base_ms=20", "embedder.backoff_base_ms=20",
    "audit.documents_per_second=0",
    "gateway.auto_create_collections=false", "shutdown_grace_ms=5000",
)
ATTEMPTS = 8  # what is passed by the way threads meet is not passed each time
PAUSE_MS = 20
Target = collections.namedtuple("Target", "name action other seed")


class Runner:
    def __init__(self, options):
        self.options = options
        self.names = {program: names_of(harness.BUILD, program) for program in PROGRAMS}
        self.all_names = sorted({name for names in self.names.values() for name in names})
        self.passed = {}  # name: {workload: [service]}
        self.queues = {True: queue.Queue(), False: queue.Queue()}  # those with a loss of a volume are first
        self.failures = []
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.bases = queue.Queue()
        while self.bases.qsize() < options.suites:
            base = ports.free_base()
            if base not in self.bases.queue:
                self.bases.put(base)

    def fleet(self):
        return Fleet(self.bases.get(), self.names, SETTINGS)

    def fail(self, what):
        with self.lock:
            self.failures.append(what)
        print(f"FAILED: {what}", flush=True)

    # ---- which workload passes what ----

    def measure(self):
        fleet = self.fleet()
        eras = [1]
        try:
            work = Work(fleet.up())
            for workload in itertools.chain(WORKLOADS, self.once_more()):
                before = {service: table.hits() for service, table in fleet.tables.items()}
                began = time.monotonic()
                getattr(work, workload)()
                work.check()
                seconds = time.monotonic() - began
                eras.append(work.call("GetServerInfo").era)
                if (eras[-1] > eras[-2]) != (workload in LOSSES):
                    self.fail(f"{workload} raised the era from {eras[-2]} to {eras[-1]}")
                passed = 0
                for service, table in fleet.tables.items():
                    for name, hits in table.hits().items():
                        if hits > before[service][name]:
                            services = self.passed.setdefault(name, {}).setdefault(workload, [])
                            services += [service] if service not in services else []
                            passed += 1
                print(f"{workload}: {passed} names of services in {seconds:.1f} s", flush=True)
            work.check_all()
        except Exception:
            fleet.print_logs()
            raise
        finally:
            fleet.close()
            self.bases.put(fleet.base)
        for name in self.all_names:
            if name not in self.passed:
                self.fail(f"{name} is passed by no workload")

    def once_more(self):
        """The workloads, as long as a name may have been missed by chance."""
        for _ in range(ATTEMPTS):
            for workload in WORKLOADS:
                if set(self.all_names) <= set(self.passed):
                    return
                yield workload

    def plan(self):
        """Eras first, while a suite has few documents to drive again."""
        generator = random.Random(self.options.seed)
        targets = []
        for name in self.passed:
            if self.options.names and self.options.names not in name:
                continue
            can_fail = any(names.get(name) for names in self.names.values())
            for action in self.options.actions.split(","):
                if action != "error" or can_fail:
                    targets.append(Target(name, action, None, generator.randrange(1 << 30)))
        if self.options.pairs:
            targets = [self.pair(generator, generator.choice(targets)) for _ in range(self.options.pairs)]
        generator.shuffle(targets)
        for target in targets:
            self.queues[next(iter(self.passed[target.name])) in LOSSES].put(target)
        self.counts["planned"] = len(targets)

    def pair(self, generator, first):
        """The first, and another one that its workload passes too."""
        workload = next(iter(self.passed[first.name]))
        others = sorted(name for name, workloads in self.passed.items() if workload in workloads)
        return first._replace(other=(generator.choice(others), generator.choice(("crash", "error"))),
                              seed=generator.randrange(1 << 30))

    # ---- one suite ----

    def work_off(self, targets):
        """One suite; eras that rose in one of losses would excuse what must not happen in the others."""
        fleet = self.fleet()
        target = None
        try:
            work = Work(fleet.up())
            fleet.take_ends()
            while True:
                try:
                    target = targets.get_nowait()
                except queue.Empty:
                    break
                self.round(fleet, work, target)
            target = None
            work.check_all()
            codes = fleet.stop()
            if any(codes.values()):
                self.fail(f"the last drain ended with {codes}")
        except Exception:  # pylint: disable=broad-except
            fleet.print_logs()
            self.fail(f"{target}: {traceback.format_exc()}")
        finally:
            fleet.close()
            self.bases.put(fleet.base)

    def work_off_all(self):
        for targets in self.queues.values():
            if not targets.empty():
                self.work_off(targets)

    def round(self, fleet, work, target):
        began = time.monotonic()
        left = {service for services in self.passed[target.name].values() for service in services}
        for workload, services in self.passed[target.name].items():
            wanted = left & set(services)
            if wanted:
                left -= self.drive(fleet, work, target, workload, wanted)
        if left:
            raise AssertionError(f"not reached again in {left}")
        seconds = time.monotonic() - began
        with self.lock:
            self.counts[target.action] += 1
        if self.options.verbose:
            print(f"{target.name} {target.action} {target.other or ''}: {workload} {seconds:.1f} s", flush=True)

    def drive(self, fleet, work, target, workload, services):
        """Arm, work, look; the services in which it fired."""
        generator = random.Random(target.seed)
        tables = [fleet.tables[service] for service in services]
        before = [table.count(target.name, FIRED_AT) for table in tables]
        for table in tables:
            table.arm(target.name, target.action, 1 + (generator.random() < 0.3), PAUSE_MS)
        if target.other:
            self.arm_other(fleet, target, generator)
        for _ in range(ATTEMPTS):
            getattr(work, workload)()
            done = {s for s, t, n in zip(services, tables, before) if t.count(target.name, FIRED_AT) > n}
            if len(done) == len(services):
                break
        for table in fleet.tables.values():
            table.disarm_all()
        fleet.wait_serving(timeout=60)
        work.check()
        self.look_at_ends(fleet, target, workload)
        with self.lock:
            self.counts["fired"] += len(done)
        return done

    @staticmethod
    def arm_other(fleet, target, generator):
        name, action = target.other
        for program in PROGRAMS:
            if generator.random() < 0.5:
                fleet.tables[program].arm(name, action, generator.randrange(1, 4))

    def look_at_ends(self, fleet, target, workload):
        """A process may end by the failpoint, by what the workload does to it, and by nothing else."""
        allowed = {-9}
        if "error" in (target.action, target.other and target.other[1]):
            allowed |= {FATAL, FAILED_START}
        if workload == "drain":
            allowed |= {0, -15}  # the latter: before its start had come to the signals
        for service, code in fleet.take_ends():
            if code not in allowed:
                raise AssertionError(f"{service} ended with {code}")

    # ---- all of it ----

    def run(self):
        began = time.monotonic()
        print(f"seed {self.options.seed}, {len(self.all_names)} names, {self.options.suites} suites", flush=True)
        self.measure()
        self.plan()
        threads = [threading.Thread(target=self.work_off_all) for _ in range(self.options.suites)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done = {action: self.counts[action] for action in self.options.actions.split(",")}
        print(
            f"failpoints: seed {self.options.seed}, {len(self.all_names)} names, {self.counts['planned']} planned,"
            f" done {done}, fired in {self.counts['fired']} services, {len(self.failures)} failures,"
            f" {time.monotonic() - began:.0f} s", flush=True)
        if sum(done.values()) != self.counts["planned"] and not self.failures:
            self.fail("not everything that was planned was done")
        return 1 if self.failures else 0


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--actions", default="crash,error")
    parser.add_argument("--suites", type=int, default=4)
    parser.add_argument("--names", default="", help="only names that contain this")
    parser.add_argument("--pairs", type=int, default=0, help="so many pairs instead of every name")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("WEIR_SEED", random.randrange(1 << 32))))
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    sys.exit(Runner(options()).run())
