"""A suite whose services the test starts itself, each on its own, so that it decides when one dies and comes back.

`weir up` waits longer before each restart of a program that keeps dying; here a service is started again at once, or
when the test says so. Services may have data folders of their own (then their sockets are apart and a proxy can stand
between them), their own environment, and their own limits.
"""

import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.path.insert(0, os.path.join(HERE, "..", "history"))

import harness  # noqa: E402  pylint: disable=wrong-import-position
from harness import BUILD, SERVICES, Suite  # noqa: E402  pylint: disable=wrong-import-position

import checker as history_checker  # noqa: E402  pylint: disable=wrong-import-position
import compare  # noqa: E402  pylint: disable=wrong-import-position
import history  # noqa: E402  pylint: disable=wrong-import-position

SCAN = os.path.join(BUILD, "tests", "weir-scan")
WORKLOAD = os.path.join(HERE, "..", "history", "workload.py")
COLLECTION = "chaos"


class Rig(Suite):
    """Five services without a supervisor; `keep` says which of them are started again when they end."""

    def __init__(self, settings=(), **options):
        super().__init__(settings, **options)
        self.processes = {}
        self.kept = set()
        self.environments = {}  # service -> extra environment of its next start
        self.prefixes = {}  # service -> words before its program
        self.starts = dict.fromkeys(SERVICES, 0)
        self.failed_starts = dict.fromkeys(SERVICES, 0)
        self.lock = threading.RLock()
        self.watch = threading.Thread(target=self.keep_running, daemon=True)
        self.ending = threading.Event()
        self.paused = set()
        os.makedirs(os.path.join(self.data, "log"), exist_ok=True)

    # -- life --

    def folder(self, service):
        """The data folder that a service is given; the database is below it."""
        del service
        return self.data

    def programs(self):
        """The folder of the services' programs."""
        return os.path.join(BUILD, "bin")

    def command(self, service):
        words = [*self.prefixes.get(service, ()), os.path.join(self.programs(), f"weir-{service}")]
        words += ["--data", self.folder(service), "--port-base", str(self.base), "--die-with-parent", str(os.getpid())]
        for setting in self.settings:
            words += ["--set", setting]
        return words

    def start(self, service):
        with self.lock:
            with open(self.log_path(service), "a", encoding="utf-8") as log:
                self.processes[service] = subprocess.Popen(
                    self.command(service), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env={**os.environ, **self.environments.get(service, {})}, start_new_session=True,
                )
            self.starts[service] += 1
            return self.processes[service]

    def log_path(self, service):
        return os.path.join(self.data, "log", f"{service}.log")

    def log_of(self, service):
        with open(self.log_path(service), encoding="utf-8", errors="replace") as stream:
            return stream.read()

    def up(self):
        for service in SERVICES:
            self.start(service)
            self.kept.add(service)
        if not self.watch.is_alive():
            self.watch.start()
        self.wait_serving()
        return self

    def keep_running(self):
        while not self.ending.wait(0.01):
            with self.lock:
                for service in self.kept:
                    process = self.processes.get(service)
                    if process is not None and process.poll() is not None:
                        self.failed_starts[service] += process.returncode > 0
                        self.start(service)

    def let_end(self, service):
        """From now on the service is not started again by itself."""
        with self.lock:
            self.kept.discard(service)

    def stop(self, service, number=signal.SIGTERM, timeout=60):
        """End it for good; its exit status."""
        self.let_end(service)
        process = self.processes[service]
        self.resume(service)
        if process.poll() is None:
            process.send_signal(number)
        return process.wait(timeout)

    def begin(self, service):
        """Start a service that was stopped, and keep it running."""
        with self.lock:
            self.start(service)
            self.kept.add(service)

    def kill(self, service):
        """SIGKILL; it comes back at once if it is kept.  False if it was not running."""
        with self.lock:
            process = self.processes[service]
            self.paused.discard(service)
            if process.poll() is not None:
                return False
            process.kill()
            process.wait()
            return True

    def pause(self, service):
        with self.lock:
            if self.processes[service].poll() is None:
                self.processes[service].send_signal(signal.SIGSTOP)
                self.paused.add(service)

    def resume(self, service):
        with self.lock:
            if service in self.paused and self.processes[service].poll() is None:
                self.processes[service].send_signal(signal.SIGCONT)
            self.paused.discard(service)

    def down(self, timeout=60, check=True):
        """All end by a drain; statuses by service."""
        with self.lock:
            self.kept.clear()
        for service in self.processes:
            self.resume(service)
            if self.processes[service].poll() is None:
                self.processes[service].terminate()
        return {service: process.wait(timeout) for service, process in self.processes.items()}

    def close(self):
        self.ending.set()
        for client in self.clients:
            client.close()
        with self.lock:
            self.kept.clear()
            for process in self.processes.values():
                if process.poll() is None:
                    process.kill()
                process.wait()
        if self.own_data and not os.environ.get("WEIR_TEST_KEEP"):
            shutil.rmtree(self.data, ignore_errors=True)

    # -- looks --

    def status(self):
        return {
            service: {"name": service, "pid": process.pid if process.poll() is None else 0}
            for service, process in self.processes.items()
        }

    def verify_index(self):
        client = harness.Client(f"unix:{self.folder('indexer')}/run/indexer.grpc")
        try:
            return client.call("/weir.internal.v1.IndexerService/VerifyIndex", deadline=60)
        finally:
            client.close()

    def database(self, service):
        return os.path.join(self.folder(service), service)

    def gather(self):
        """A folder that has all five databases of the stopped suite side by side."""
        return self.data

    def scan(self):
        """What the databases hold; the suite must be down."""
        path = os.path.join(self.data, "scan.jsonl")
        with open(path, "w", encoding="utf-8") as stream:
            done = subprocess.run([SCAN, self.gather()], stdout=stream, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"weir-scan ended with {done.returncode}: {done.stderr}")
        return compare.Scan.read(path)


class Work:
    """Processes of clients on a suite (workload.py), whose work the test lets begin share by share."""

    def __init__(self, suite, seed, documents, processes=2, writers=6, hot_writers=2, hot_steps=60, readers=2,
                 hot_documents=12, poisoned=False):
        self.suite = suite
        self.histories, self.processes = [], []
        each = documents // processes
        for index in range(processes):
            plan = {
                "name": f"p{index}", "seed": seed, "address": suite.grpc_address(), "collection": COLLECTION,
                "history": os.path.join(suite.data, f"history-{index}.jsonl"), "first": index * each,
                "documents": each, "writers": writers, "hot_writers": hot_writers, "hot_steps": hot_steps,
                "hot_documents": hot_documents, "readers": readers, "poisoned": poisoned,
            }
            self.histories.append(plan["history"])
            self.processes.append(self.start(index, plan))

    def start(self, index, plan):
        path = os.path.join(self.suite.data, f"plan-{index}.json")
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(plan, stream)
        return subprocess.Popen(
            [sys.executable, WORKLOAD, BUILD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )

    def open(self, share):
        for process in self.processes:
            try:
                process.stdin.write(f"{share}\n")
                process.stdin.flush()
            except BrokenPipeError:
                pass  # its end is looked at in finish()

    def finish(self, timeout=300):
        """All may begin now; counts of answers.  Each process must end, with nothing to complain of."""
        counts = {"ok": 0, "fail": 0, "info": 0}
        for process in self.processes:
            output, _ = process.communicate("", timeout)
            said = json.loads(output.splitlines()[-1]) if output else {"problems": ["no output"]}
            if process.returncode != 0 or said["problems"]:
                raise AssertionError(f"a workload ended with {process.returncode}: {said['problems']}")
            for name, count in said["counts"].items():
                counts[name] += count
        return counts

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


class ChaosTest(harness.OwnSuiteTest):
    """A test that breaks a suite while clients work, and then has everything checked."""

    def rig(self, *arguments, **options):
        suite = Rig(*arguments, **options)
        self.addCleanup(self.end_suite, suite)
        return suite

    def collection(self, suite, **fields):
        client = suite.client()
        client.stubborn(
            "CreateCollection",
            collection={
                "collection_id": COLLECTION, "embedding_model": harness.MODEL, "chunking": {"max_tokens": 64}, **fields
            },
        )
        return client

    def work(self, suite, seed, documents, **options):
        made = Work(suite, seed, documents, **options)
        self.addCleanup(made.close)
        return made

    def settle(self, suite, client, patience=180):
        """Every accepted document is over; the seconds it took."""
        began = time.monotonic()
        suite.wait_serving(timeout=60)
        settled = client.stubborn(
            "WaitCollection", each=patience, patience=patience, collection_id=COLLECTION, timeout=patience - 10
        )
        self.assertTrue(settled.settled, f"{patience - 10} s after the last fault: {settled}")
        return time.monotonic() - began

    @staticmethod
    def what_waits(suite, waits):
        """Fills the list with what is still under way between and in the services."""
        waits[:] = suite.what_waits()
        return waits

    def check(self, suite, work, losses=0, drains=True):
        """Stop the suite, read what it holds, and judge.  drains False: processes that faults have left maimed may end
        as they like."""
        suite.wait_quiet()
        verified = suite.verify_index()
        self.assertEqual(list(verified.findings), [])
        ended = suite.down()
        self.assertTrue(not drains or set(ended.values()) == {0}, f"a service did not end by a drain: {ended}")
        began = time.monotonic()
        judge = history_checker.Checker(history.read(work.histories), suite.scan(), losses)
        for violation in judge.run()[:20]:
            print(f"violation: {str(violation)[:3000]}", file=sys.stderr, flush=True)
        print(f"{history_checker.summary(judge)}, judged in {time.monotonic() - began:.1f} s", flush=True)
        self.assertEqual(judge.undecided, [])
        self.assertEqual(len(judge.violations), 0, "violations are printed above")
        ends = ends_of_good(judge)
        print(f"good documents that ended READY with no operator: {ends['READY']} of {sum(ends.values())}", flush=True)
        return judge


def ends_of_good(judge):
    """How the newest revisions of documents that have a text, and are not deleted, ended."""
    ends = collections.Counter()
    for document, revisions in judge.scan.revisions.items():
        newest = revisions[max(revisions)]
        text = judge.texts[document].get(compare.hexed(newest, "contentSha256"), "")
        if text.strip() and not newest.get("isDelete"):
            ends[judge.scan.state(document, max(revisions))] += 1
    return ends
