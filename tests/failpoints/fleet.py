"""The five programs of the failpoint build, restarted at once when they die, with their tables of failpoints.

A table (common/base/failpoint.h) is a file that the service and this process map: arming is a write, and the counts of
hits outlive the service.
"""

import collections
import contextlib
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

import harness
from harness import SERVICES, WEIR, wait_for
from release_test import PROGRAMS, program_of

SLOT = struct.Struct("<64sIIQQQ")
ACTION_AT, AT_AT, HITS_AT, FIRED_AT = 64, 72, 80, 88
ACTIONS = {"none": 0, "crash": 1, "error": 2, "pause": 3, "chance": 4}
FATAL, FAILED_START = 70, 1


class Table:
    def __init__(self, path, names):
        with open(path, "wb") as file:
            for name in names:
                file.write(SLOT.pack(name.encode(), 0, 0, 0, 0, 0))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        self.names = list(names)
        self.at = {name: number * SLOT.size for number, name in enumerate(names)}

    def count(self, name, field=HITS_AT):
        return struct.unpack_from("<Q", self.map, self.at[name] + field)[0]

    def hits(self):
        return {name: self.count(name) for name in self.names}

    def is_armed(self, name):
        return struct.unpack_from("<I", self.map, self.at[name] + ACTION_AT)[0] != 0

    def arm(self, name, action, after=1, pause_ms=0):
        """From now on, at the hit that comes `after`; the action is written last.  A service may have no such name."""
        if name not in self.at:
            return
        struct.pack_into("<Q", self.map, self.at[name] + AT_AT, self.count(name) + after)
        struct.pack_into("<I", self.map, self.at[name] + ACTION_AT + 4, pause_ms)
        struct.pack_into("<I", self.map, self.at[name] + ACTION_AT, ACTIONS[action])

    def arm_chance(self, name, chance, seed):
        """From now on and for good each hit fails with that chance."""
        struct.pack_into("<Q", self.map, self.at[name] + AT_AT, seed)
        struct.pack_into("<I", self.map, self.at[name] + ACTION_AT + 4, round(chance * 1e6))
        struct.pack_into("<I", self.map, self.at[name] + ACTION_AT, ACTIONS["chance"])

    def disarm(self, name):
        if name in self.at:
            struct.pack_into("<I", self.map, self.at[name] + ACTION_AT, 0)

    def disarm_all(self):
        for name in self.names:
            self.disarm(name)


class Fleet(harness.Suite):
    """A suite without `weir up`: a service that ends is started again at once, and its end is written down."""

    def __init__(self, base, names, settings=()):
        # The killer dies often enough without a watch before each death is counted.
        settings = ("ingest.crash_watch_ms=0", *settings)
        super().__init__(settings=settings, data=tempfile.mkdtemp(prefix="failpoints-", dir="/tmp"), base=base)
        self.tables = {}
        self.processes = {}
        self.ends = []  # (service, exit code) of every end that was not asked for
        self.restarts = collections.Counter()
        self.stopping = False
        self.may_start = threading.Event()
        self.may_start.set()
        self.lock = threading.Lock()
        self.table_folder = os.path.join(self.data, "failpoints")
        self.backups = f"{self.data}-backups"
        os.makedirs(self.table_folder)
        os.makedirs(self.backups)
        os.makedirs(os.path.join(self.data, "log"))
        self.environment = {**os.environ, "WEIR_FAILPOINTS_DIR": self.table_folder}
        for program in PROGRAMS:
            self.tables[program] = Table(os.path.join(self.table_folder, program_of(program)), names[program])
        self.threads = [threading.Thread(target=self.keep_up, args=(service,), daemon=True) for service in SERVICES]

    def spawn(self, service):
        arguments = [os.path.join(harness.BUILD, "bin", f"weir-{service}"), "--data", self.data]
        arguments += ["--port-base", str(self.base), "--die-with-parent", str(os.getpid())]
        for setting in self.settings:
            arguments += ["--set", setting]
        with open(os.path.join(self.data, "log", f"{service}.log"), "ab") as log:
            return subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )

    def weir(self, *arguments):
        """One run of the program `weir`, which has failpoints too: how it ended, and what it said."""
        done = subprocess.run(
            [WEIR, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=60, env=self.environment, check=False,
        )
        return done.returncode, done.stdout

    def keep_up(self, service):
        """A service dies with the thread that started it, so one thread starts all of its lives."""
        while True:
            self.may_start.wait()
            with self.lock:
                if self.stopping:
                    return
                if not self.may_start.is_set():
                    continue
                process = self.processes[service] = self.spawn(service)
            began = time.monotonic()
            code = process.wait()
            with self.lock:
                self.ends.append((service, code))
                self.restarts[service] += 1
            if code == FAILED_START and time.monotonic() - began < 1:
                threading.Event().wait(0.2)  # a start that cannot succeed must not fill the machine

    def up(self):
        for thread in self.threads:
            thread.start()
        self.wait_serving(timeout=60)
        return self

    def pid(self, service):
        return self.processes[service].pid

    def end(self, services, number):
        """Signal them, and wait until each has ended."""
        with self.lock:
            processes = [self.processes[service] for service in services]
        for process in processes:
            process.send_signal(number)
        wait_for(lambda: all(process.poll() is not None for process in processes), "the services to end", 60)

    @contextlib.contextmanager
    def held(self):
        """Within it no service runs."""
        with self.lock:
            self.may_start.clear()
        self.end(SERVICES, signal.SIGKILL)
        try:
            yield
        finally:
            self.may_start.set()
        self.wait_serving(timeout=60)

    def take_ends(self):
        with self.lock:
            ends, self.ends = self.ends, []
        return ends

    def wipe(self, service):
        """The volume goes, then the process that had it open."""
        gone = os.path.join(self.data, f"gone-{time.monotonic_ns()}")
        os.rename(os.path.join(self.data, service), gone)
        self.end([service], signal.SIGKILL)
        shutil.rmtree(gone, ignore_errors=True)

    def stop(self):
        """Drain all; their exit codes."""
        with self.lock:
            self.stopping = True
            self.may_start.set()
            processes = dict(self.processes)
        for process in processes.values():
            process.terminate()
        for thread in self.threads:
            thread.join(60)
        return {service: process.poll() for service, process in processes.items()}

    def close(self):
        for client in self.clients:
            client.close()
        with self.lock:
            self.stopping = True
            self.may_start.set()
            processes = list(self.processes.values())
        for process in processes:
            if process.poll() is None:
                process.kill()
        for thread in self.threads:
            thread.join(30)
        if os.environ.get("WEIR_TEST_KEEP"):
            print(f"kept: {self.data}", file=sys.stderr)
        else:
            shutil.rmtree(self.data, ignore_errors=True)
            shutil.rmtree(self.backups, ignore_errors=True)
