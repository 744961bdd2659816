"""Allocations, calls of the store and sends of the real programs fail, one at a time, in a start and in work.

nth/nth_failure_test fails every such call of the cores; here the shells around them, the threads that answer calls,
RocksDB and ZeroMQ are the real ones.  What counts (calls.c): an allocation that the program itself asks for, through
malloc, calloc or realloc, but not what RocksDB, gRPC or ZeroMQ need inside; a frame that it has ZeroMQ make; a call of
RocksDB that can fail, each step of an iterator too; a send of a frame.  What must come of it: an allocation that fails
ends the process with the line assert.failed (CONTRIBUTING.md); a store that fails is an answer to who asked, or ends
the service in order with the reason in its log; a frame that is not made or not sent ends nothing, the pump or the link
sends it again.

SampledTest takes N by chance while clients work; WEIR_SEED picks the run, WEIR_FAULTS says how many for each service,
kind and phase, WEIR_DOCUMENTS how much work there is.

EveryTest takes N = 1, 2, ... for each service, kind and phase: as far as a pass came in which nothing failed, and on
until the service makes fewer calls than N several times in a row.  A pass is one start of the service, with work that
waits for it, one fixed round of work, one end of it in the middle of work, or one backup; it is over when all that was
asked for is, no link has anything left, and what was there before is found as it was.  Threads may change places
between two passes, so the Nth call of one need not be that of another; no N is left out.  WEIR_SERVICE, WEIR_KIND and
WEIR_PHASE (words with commas) take a part of the groups, WEIR_FROM and WEIR_TO a part of each, WEIR_JOBS says how many
groups run at a time.
"""

import collections
import concurrent.futures
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import BUILD, COLLECTION, ChaosTest, Rig, ends_of_good, harness  # noqa: E402  pylint: disable=C0413
from recorder import Journal, Recorder  # noqa: E402  pylint: disable=wrong-import-position
from workload import Worker, text_of  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
FAULTS = int(os.environ.get("WEIR_FAULTS", "2"))
DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", str(FAULTS * 400)))
KINDS = {"allocation": 1, "store": 2, "send": 3, "frame": 4}
# The largest N: how far a start goes, and what a few documents make.
REACH = {("start", "allocation"): 1500, ("start", "store"): 30, ("start", "send"): 4,
         ("work", "allocation"): 4000, ("work", "store"): 60, ("work", "send"): 40}
PLAN = struct.Struct("=4Q")
REACHED_S = 2.0  # a call that is not made by then may not come at all
PHASES = ("start", "work", "end", "backup")
NEVER = 1 << 62
SETTINGS = ("gateway.status_interval_ms=300",)  # a service that is back is told of the era soon
MISSES = 3  # passes in a row without the Nth call that end a group
PASS_S = 60  # nothing that fails once may keep a suite busy for longer


class CallsRig(Rig):
    """A suite with the shim in each service, and how services ended by themselves."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.ends = collections.defaultdict(list)
        library = os.path.join(BUILD, "tests", "libweir-test-calls.so")
        for service in harness.SERVICES:
            with open(self.path(service), "wb") as stream:
                stream.write(PLAN.pack(0, 0, 0, 0))
            self.environments[service] = {"LD_PRELOAD": library, "WEIR_TEST_CALLS": self.path(service)}

    def start(self, service):
        with self.lock:
            before = self.processes.get(service)
            if before is not None and before.poll() != -signal.SIGKILL:
                self.ends[service].append(before.returncode)
            return super().start(service)

    def path(self, service):
        return os.path.join(self.data, f"calls-{service}")

    def plan(self, service):
        """kind, nth, count, failed"""
        with open(self.path(service), "rb") as stream:
            return PLAN.unpack(stream.read())

    def failed(self, service):
        return self.plan(service)[3]

    def arm(self, service, kind, nth):
        """In place: the service has it mapped, and counts in it."""
        with open(self.path(service), "r+b") as stream:
            stream.write(struct.pack("=3Q", KINDS.get(kind, 0), nth, 0))


class SampledTest(ChaosTest):
    def setUp(self):
        self.suite = CallsRig()
        self.addCleanup(self.end_suite, self.suite)

    def fail(self, service, kind, phase, nth):
        """True if the call was made, and so failed; then the suite serves again."""
        before = self.suite.failed(service)
        self.suite.arm(service, kind, nth)
        if phase == "start":
            self.suite.kill(service)
        until = time.monotonic() + REACHED_S
        while self.suite.failed(service) == before and time.monotonic() < until:
            time.sleep(harness.POLL)
        self.suite.arm(service, "none", 0)
        self.suite.wait_serving(timeout=60)
        return self.suite.failed(service) > before

    def test_some_nth_calls_fail(self):
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


# ---- every one ----

# What the documents of one round of work go through, and how they must end.
ROUND = (
    (("text",), "READY"),
    (("text", "look", "text"), "READY"),
    (("text", "look", "delete"), "DELETED"),
    (("bad", "look", "requeue"), "FAILED"),
    (("bad", "look", "discard", "text"), "READY"),
    (("stream",), "READY"),
)


class Round(Worker):
    """Work of one client that asks again until it is answered; each round has documents of its own."""

    def __init__(self, suite):
        self.histories = [os.path.join(suite.data, "history-0.jsonl")]
        super().__init__({
            "name": "p0", "address": suite.grpc_address(), "collection": COLLECTION, "history": self.histories[0],
            "poisoned": False,
        })
        self.one = self.recorder("w", 0)

    def sure(self, call, *arguments, **options):
        answer = self.one.until_answered(call, *arguments, **options)
        if isinstance(answer, harness.grpc.RpcError):
            raise AssertionError(f"{call.__name__} {arguments[0]}: {harness.Refusal(answer)}")
        return answer

    def wait_for_end(self, recorder, document):
        """Unlike in a storm the work must get there."""
        return harness.wait_for(lambda: self.ended(document), f"the end of {document}", PASS_S)

    def ended(self, document):
        found = self.sure(self.one.wait, document, timeout=2).document
        return harness.state_name(found) if found.terminal else ""

    def run_once(self, name):
        documents = {f"{name}-{index}": fate for index, fate in enumerate(ROUND)}
        for index, (document, (fate, _)) in enumerate(documents.items()):
            self.bring_through(self.one, document, index == 0, fate)
        self.look(*documents)
        ends = {document: self.wait_for_end(self.one, document) for document in documents}
        if ends != {document: end for document, (_, end) in documents.items()}:
            raise AssertionError(f"the round ended with {ends}")

    def look(self, document, *others):
        """One call of each kind that reads."""
        self.sure(self.one.get, document)
        self.sure(self.one.search, document, text_of(document, 0, True))
        self.sure(self.one.find, text_of(document, 0, False))
        self.sure(self.one.list, "", "")
        self.one.watch([document, *others], seconds=0.05)
        ask = self.one.client.stubborn
        about = {"collection_id": COLLECTION, "document_id": document}
        for name in ("ListDocumentEvents", "ExplainDocument", "ListChunks"):
            ask(name, **about)
        ask("SummarizeDeadLetters", collection_id=COLLECTION)
        letters = harness.wait_for(lambda: self.one.letters(others[2]), "the dead letter of a bad document", PASS_S)
        ask("GetDeadLetter", dead_letter_id=letters[0].dead_letter_id)
        ask("GetPressure", collection_id=COLLECTION)
        ask("GetCollection", collection_id=COLLECTION)

    def look_again(self, name):
        """What ended before the pass has not changed, and is found whole, or not at all."""
        for index, (_, end) in enumerate(ROUND):
            document = f"{name}-{index}"
            seen = self.sure(self.one.get, document).document
            hits = self.sure(self.one.search, document, text_of(document, 0, index == 0)).hits
            wanted = (end, seen.chunk_count if end == "READY" else 0)
            if (harness.state_name(seen), len(hits)) != wanted or (end == "READY") != bool(hits):
                raise AssertionError(f"{document} was {end}, {len(hits)} chunks are found, and now: {seen}")

    def sweep(self, name):
        """Rounds must not have more to read, search and count than the one before."""
        for index, (_, end) in enumerate(ROUND):
            if end != "DELETED":
                document = f"{name}-{index}"
                self.sure(self.one.delete, document, request_id=f"{document}-sweep")

    def accept(self, step):
        """A revision more of one document: new documents would give each start more to read."""
        self.sure(self.one.ingest, "again", text_of("again", step, False), request_id=step)

    def close(self):
        self.one.close()
        self.journal.close()


class Group:
    """One service, kind and phase: every N."""

    def __init__(self, test, service, kind, phase):
        self.test, self.service, self.kind, self.phase = test, service, kind, phase
        self.name = f"{service}, {kind}, {phase}"
        self.suite = CallsRig(SETTINGS)
        test.addCleanup(test.end_suite, self.suite)
        if (service, phase) != ("embedder", "start"):
            self.leave_models_out()
        self.client = test.collection(self.suite.up())
        self.round = Round(self.suite)
        self.ends = collections.Counter()
        self.passes = self.failed = self.last = self.count = self.late = 0
        self.longest = (0.0, 0)

    def leave_models_out(self):
        """The work is done without a model, and half a second of each start is its loading."""
        folder = os.path.join(self.suite.data, "no-models")
        os.mkdir(folder)
        self.suite.settings.append(f"model_dir={folder}")

    def run(self):
        try:
            return self.run_all()
        except Exception as error:
            print(f"calls-every: {error if self.name in str(error) else f'{self.name}: {error!r}'}", flush=True)
            raise

    def run_all(self):
        began = time.monotonic()
        self.round.run_once("first")
        counted = self.one(NEVER)
        self.every(counted, int(os.environ.get("WEIR_FROM", "1")), int(os.environ.get("WEIR_TO", NEVER)))
        self.round.close()
        self.test.settle(self.suite, self.client)
        judge = self.test.check(self.suite, self.round)
        good = ends_of_good(judge)
        self.suite.close()
        print(
            f"calls-every: {self.name}: {counted} counted, {self.failed} failed (N up to {self.last}), ends"
            f" {dict(self.ends)}, the longest pass {self.longest[0]:.1f} s (N {self.longest[1]}),"
            f" {len(judge.scan.documents)} documents, {dict(good)}, {len(judge.violations)} violations,"
            f" {time.monotonic() - began:.0f} s",
            flush=True,
        )
        assert good["READY"] == sum(good.values()), f"{self.name}: {good}"
        return self.failed

    def every(self, counted, nth, last):
        misses = 0
        while (misses < MISSES or nth <= counted) and nth <= last:
            try:
                made = self.one(nth)
            except Exception as error:
                raise AssertionError(f"{self.name}, N {nth}: {error!r}") from error
            misses = 0 if made else misses + 1
            self.failed += made
            self.last = nth if made else self.last
            nth += 1

    def one(self, nth):
        """A pass in which the Nth call fails: whether it was made; of the pass in which none fails, the calls."""
        began, before = time.monotonic(), self.suite.failed(self.service)
        self.passes += 1
        self.count = 0
        logged = len(self.suite.log_of(self.service))
        name = f"p{self.passes}"
        getattr(self, self.phase)(nth, name)
        self.suite.wait_serving([self.service], timeout=PASS_S)
        self.quiet()
        self.disarm()
        made = self.suite.failed(self.service) > before
        if made and self.kind == "allocation":
            harness.wait_for(lambda: self.suite.ends[self.service], "the end of a process without memory", PASS_S)
            self.suite.wait_serving([self.service], timeout=PASS_S)
        self.look_at_end(made, self.suite.log_of(self.service)[logged:])
        self.round.look_again("first")
        if self.phase == "work":
            self.round.sweep(name)
        self.longest = max(self.longest, (time.monotonic() - began, nth))
        return self.count if nth == NEVER else made

    def disarm(self):
        self.count += self.suite.plan(self.service)[2]
        self.suite.arm(self.service, "none", 0)

    def work(self, nth, name):
        self.suite.arm(self.service, self.kind, nth)
        self.round.run_once(name)

    def start(self, nth, name):
        """A document waits for the start, or the start of the gateway finds it not done."""
        if self.service == "gateway":
            self.round.accept(name)
        self.suite.stop(self.service, signal.SIGKILL)
        self.suite.arm(self.service, self.kind, nth)
        if self.service != "gateway":
            self.round.accept(name)
        self.suite.begin(self.service)
        self.wait_ready()

    def end(self, nth, name):
        """The service drains while a document is under way, and a start follows."""
        self.suite.let_end(self.service)
        if self.service == "gateway":
            self.round.accept(name)
        self.suite.arm(self.service, self.kind, nth)
        if self.service != "gateway":
            self.round.accept(name)
        self.suite.stop(self.service)
        self.disarm()
        self.suite.begin(self.service)
        self.wait_ready()

    def backup(self, nth, name):
        """Repeated, each time to another folder, until it says that it is whole; then it is."""
        self.suite.arm(self.service, self.kind, nth)
        folder = harness.wait_for(lambda: self.back_up(name), "a backup", PASS_S)
        self.disarm()
        done = self.weir("restore", folder, "--verify")
        assert done.returncode == 0, f"a backup that was whole is not: {done.stdout}"
        shutil.rmtree(folder)

    def back_up(self, name):
        folder = f"{self.suite.data}-backup-{name}-{time.monotonic_ns()}"
        self.test.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        if self.weir("backup", folder, "--data", self.suite.data).returncode == 0:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        return None

    @staticmethod
    def weir(*words):
        return subprocess.run(
            [harness.WEIR, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=PASS_S, check=False,
        )

    def wait_ready(self):
        ended = self.round.wait_for_end(None, "again")
        assert ended == "READY", f"the document ended {ended}"

    def quiet(self):
        """Looks are calls that count: not as many as ChaosTest.quiet makes."""
        waits = []

        def look():
            threading.Event().wait(0.1)
            return not self.test.what_waits(self.suite, waits)

        try:
            harness.wait_for(look, "empty links", PASS_S)
        except AssertionError as error:
            raise AssertionError(f"{error}: {waits}") from None

    def look_at_end(self, made, log):
        """How the service ended by itself, if it did, and what it said.  A call that failed last may end it a moment
        after the pass."""
        ends = [end for end in self.suite.ends.pop(self.service, []) if end != 0 or self.phase != "end"]
        assert not self.suite.ends, f"others ended: {dict(self.suite.ends)}"
        assert len(ends) <= made + self.late, f"it ended {ends}, and {made} call failed"
        wanted = {"allocation": (-signal.SIGABRT,), "store": tuple(range(1, 126))}.get(self.kind, ())
        assert not set(ends) - set(wanted), f"it ended {ends}"
        if -signal.SIGABRT in ends:
            assert re.search('"assert.failed","expression":"[^"]*!= NULL', log), f"it does not say why: {log}"
        elif ends and not self.late:
            assert "this call was to fail" in log, f"it does not say why: {log}"
        self.late = made and not ends
        if made:
            self.ends[ends[0] if ends else "none"] += 1


def chosen(name, words):
    """The words that a variable of the environment names, or all."""
    asked = [word for word in os.environ.get(name, "").split(",") if word]
    if set(asked) - set(words):
        sys.exit(f"{name} takes words of {', '.join(words)}")
    return [word for word in words if word in asked or not asked]


class EveryTest(ChaosTest):
    def test_every_nth_call_fails(self):
        groups = [
            (service, kind, phase)
            for phase in chosen("WEIR_PHASE", PHASES)
            for kind in chosen("WEIR_KIND", tuple(KINDS))
            for service in chosen("WEIR_SERVICE", harness.SERVICES)
        ]
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("WEIR_JOBS", "2"))) as pool:
            jobs = {group: pool.submit(lambda group=group: Group(self, *group).run()) for group in groups}
        broken = {group: job.exception() for group, job in jobs.items() if job.exception() is not None}
        failed = sum(job.result() for group, job in jobs.items() if group not in broken)
        print(
            f"calls-every: {len(groups)} groups, {failed} calls failed, each alone, {len(broken)} groups broken,"
            f" {time.monotonic() - began:.0f} s",
            flush=True,
        )
        self.assertFalse(broken)


if __name__ == "__main__":
    harness.main()
