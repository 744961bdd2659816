"""What the power-cut tests share: programs under the shim, and what the shim says when it cuts.

A program is started with an environment of its own (shim.c lists it), so that each start has a seed and a moment of
its own.  Whatever a cut must not touch (the client's journal, the shim's reports) lies outside the root, in memory of
the test or in the folder `beside`.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

PATIENCE = 60
SYNC_US = 200

# Programs inherit this: a cut that comes before the shim is ready waits for it.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPWR})


class Lost(Exception):
    """Something that was promised is not there."""


class Place:
    """A root that is cut, and a folder beside it that is not."""

    def __init__(self, build):
        # Unix sockets lie below it, and their paths hold 107 bytes.
        self.top = tempfile.mkdtemp(prefix="weir-cut-", dir="/tmp")
        self.root = os.path.join(self.top, "root")
        self.report = os.path.join(self.top, "report")
        self.shim = os.path.join(build, "tests", "powercut.so")
        self.starts = 0
        self.read_to = 0
        os.mkdir(self.root)

    def environment(self, seed, at=0, lies="", sync_us=SYNC_US):
        """For one start of one program; at: cut before that call (0: by SIGPWR only)."""
        self.starts += 1
        return {
            **os.environ,
            "LD_PRELOAD": self.shim,
            "POWERCUT_ROOT": self.root,
            "POWERCUT_SHADOW": os.path.join(self.top, f"shadow{self.starts}"),
            "POWERCUT_REPORT": self.report,
            "POWERCUT_SEED": str(seed),
            "POWERCUT_AT": str(at),
            "POWERCUT_SYNC_US": str(sync_us),
            "POWERCUT_LIES": lies,
        }

    def reports(self):
        """What cuts since the last look took back."""
        if not os.path.exists(self.report):
            return []
        with open(self.report, encoding="ascii") as stream:
            stream.seek(self.read_to)
            lines = stream.read()
        self.read_to += len(lines)
        return [json.loads(line) for line in lines.splitlines()]

    def fresh(self):
        shutil.rmtree(self.root)
        os.mkdir(self.root)

    def remove(self):
        if not os.environ.get("WEIR_TEST_KEEP"):
            shutil.rmtree(self.top, ignore_errors=True)


class Sum(dict):
    """Adds the numbers of reports."""

    def add(self, reports):
        for report in reports:
            self["cuts"] = self.get("cuts", 0) + 1
            for name, value in report.items():
                if name not in ("program", "seed"):
                    self[name] = self.get(name, 0) + value

    def __str__(self):
        names = ("cuts", "bytes", "changes", "torn", "spoilt", "entries", "entries_kept")
        words = {
            "bytes": "unsynced bytes taken back", "changes": "changes", "torn": "torn", "spoilt": "spoilt sectors",
            "entries": "folder entries undone", "entries_kept": "kept",
        }
        return ", ".join(f"{self.get(name, 0)} {words.get(name, name)}" for name in names)


def end_of(process, patience=PATIENCE):
    """Wait; SIGKILL and an error when it takes too long."""
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"{process.args} did not end within {patience} s") from None


def cut_now(process):
    """SIGPWR, unless the process is gone already."""
    if process.poll() is None:
        process.send_signal(signal.SIGPWR)


def must_be_cut(process, what):
    """The end of a process that is being cut; any other end is its own doing."""
    status = end_of(process)
    if status != -signal.SIGKILL:
        raise Lost(f"{what} ended by itself with {status}")


def wait_until(look, what, patience=PATIENCE):
    """The first true answer of look(); its own errors pass through."""
    until = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"after {patience} s still waiting for {what}")
        time.sleep(0.002)
