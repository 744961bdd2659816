"""Power cuts of a sender, a receiver, or both at once: what was acknowledged is there, nothing is there twice, the link
goes on.

    rig_test.py BUILD [--cuts N] [--from SEED]    cut N times, seeds from SEED on
    rig_test.py BUILD --control [--from SEED]     with syncs that lie: the same run must find that something is lost
    rig_test.py BUILD --create [--from SEED]      cut before every single call of the first start on an empty root

Two processes (link_rig of tests/unit/link) over real ZeroMQ and RocksDB below one root.  Each tells this process
through a pipe what its commits have made durable: the journal, which no cut touches.  A cut comes by count of calls,
which reaches the recovery too, or by signal once the link has moved.  After each cut the next start looks through its
database (every row not acknowledged, every body kept) and tells what it found; this process compares.
"""

import argparse
import os
import random
import subprocess
import sys
import threading
import time

import power
from power import Lost

CONTROL_CUTS = 60
AFTER_COMMIT = 25  # calls after the first commit before which the first start is cut, too
# Bounds of the call before which a start is cut: in its recovery, soon after, later; None: by signal, on the move.
MOMENTS = ((1, 120), (100, 600), (500, 1500), None, None)


class End:
    """One end of the link, through all its lives."""

    def __init__(self, role, place, program, lies):
        self.role, self.place, self.program, self.lies = role, place, program, lies
        self.promised = 0  # greatest number that a commit made durable
        self.floor = 0  # what the next start must find, as the other end knows it
        self.acked = 0  # the sender: greatest number that it knows to be acknowledged
        self.process = self.reader = self.problem = None
        self.begun = False

    def start(self, seed, at, floor):
        ours, theirs = os.pipe()
        self.floor = floor
        self.begun = False
        self.process = subprocess.Popen(
            [self.program, self.role, self.place.root, str(theirs)], pass_fds=(theirs,),
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=self.place.environment(seed, at, self.lies),
        )
        os.close(theirs)
        self.reader = threading.Thread(target=self.read, args=(ours,), daemon=True)
        self.reader.start()

    def read(self, fd):
        with os.fdopen(fd, encoding="ascii") as lines:
            for line in lines:
                kind, number = line.split()
                self.take(kind, int(number))

    def take(self, kind, number):
        if kind == "r":
            if number < self.promised:
                self.problem = f"the {self.role} had promised {self.promised} rows and has {number}"
            if number < self.floor:
                self.problem = f"{self.floor} rows are acknowledged, and the {self.role} has {number}"
            self.begun = True
        elif kind == "a":
            self.acked = max(self.acked, number)
        else:
            self.promised = max(self.promised, number)

    def is_over(self):
        return self.process.poll() is not None

    def ended(self):
        """After a cut: all that it told has been read."""
        status = power.end_of(self.process)
        self.reader.join(power.PATIENCE)
        said = self.process.stderr.read().strip()
        self.process.stderr.close()
        if self.problem:
            raise Lost(self.problem)
        return status, said

    def must_be_cut(self):
        status, said = self.ended()
        if status != -9:
            raise Lost(f"the {self.role} ended by itself with {status}: {said}")

    def be_cut(self):
        power.cut_now(self.process)
        self.must_be_cut()
        self.process = None

    def finish(self):
        self.process.terminate()
        status, said = self.ended()
        if status != 0:
            raise Lost(f"the {self.role} ended with {status}: {said}")


class Rig:
    def __init__(self, build, lies=""):
        self.place = power.Place(build)
        self.program = os.path.join(build, "tests", "link_rig")
        self.sender = End("sender", self.place, self.program, lies)
        self.receiver = End("receiver", self.place, self.program, lies)
        self.lost = power.Sum()
        self.by_count = 0

    def both(self):
        return (self.sender, self.receiver)

    def start(self, end, seed, at):
        end.start(seed, at, self.sender.acked)

    def check(self):
        for end in self.both():
            if end.problem:
                raise Lost(end.problem)

    def cut(self, seed):
        """One cut: both run, one or both are cut, and are started again by the next."""
        generator = random.Random(seed)
        cut = generator.choice([(self.sender,), (self.receiver,), self.both()])
        bound = generator.choice(MOMENTS)
        counted = [end for end in cut if end.process is None and bound is not None]
        for end in self.both():
            if end.process is None:
                self.start(end, generator.getrandbits(32), generator.randint(*bound) if end in counted else 0)
        if counted:
            self.wait_for_count(counted)
        else:
            self.wait_for_move()
            time.sleep(generator.random() * 0.03)  # the moment of the cut; nothing waits for it
        for end in cut:
            power.cut_now(end.process)  # both at once
        for end in cut:
            end.be_cut()
        self.by_count += len(counted) > 0
        self.lost.add(self.place.reports())
        self.check()

    def wait_for_count(self, ends):
        """Or for two seconds, when so many calls do not come."""
        late = time.monotonic() + 2
        self.wait_for(lambda: any(end.is_over() for end in ends) or time.monotonic() > late, "the cut")

    def wait_for_move(self):
        before = [end.promised for end in self.both()]
        self.wait_for(lambda: all(end.promised > was for end, was in zip(self.both(), before)), "the link to move")

    def wait_for(self, look, what):
        def looked():
            self.check()
            for end in self.both():
                if end.process is not None and end.is_over() and end.process.returncode != -9:
                    end.must_be_cut()
            return look()

        power.wait_until(looked, what)

    def finish(self):
        """No more cuts: everything must be settled and acknowledged, and the databases agree."""
        for end in self.both():
            if end.process is None:
                self.start(end, 0, 0)
        self.wait_for(lambda: self.sender.begun and self.receiver.begun, "the last start")
        self.sender.finish()
        self.receiver.finish()
        self.check()
        done = subprocess.run(
            [self.program, "check", self.place.root], capture_output=True, text=True, timeout=power.PATIENCE,
            check=False,
        )
        if done.returncode != 0:
            raise Lost(f"the databases do not agree: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def close(self):
        for end in self.both():
            if end.process is not None and not end.is_over():
                end.process.kill()
                end.process.wait()
        self.place.remove()


def run(build, first, cuts):
    rig = Rig(build)
    began = time.monotonic()
    seed = first
    try:
        for seed in range(first, first + cuts):
            rig.cut(seed)
        said = rig.finish()
    except (Lost, AssertionError) as problem:
        print(f"seed {seed}: {problem}", file=sys.stderr)
        return 1
    finally:
        rig.close()
    seconds = time.monotonic() - began
    print(
        f"power cuts, rig: seeds {first} to {first + cuts - 1}, of which {rig.by_count} by count; {rig.lost}; {said},"
        f" {seconds:.0f} s"
    )
    return 0


def control(build, first, lies):
    """How many cuts it takes until a lie is found out."""
    rig = Rig(build, lies)
    try:
        for number in range(CONTROL_CUTS):
            rig.cut(first + number)
        rig.finish()
    except Lost as problem:
        print(f"control, {lies}: found after {number + 1} cuts from seed {first}: {problem}")
        return 0
    finally:
        rig.close()
    print(f"control, {lies}: nothing was lost in {CONTROL_CUTS} cuts: this test proves nothing", file=sys.stderr)
    return 1


def create_cut_at(rig, generator, number):
    """True: the start told of a commit before it was cut.  Each start must find what was promised by then."""
    end = rig.sender
    rig.place.fresh()
    end.promised = end.acked = 0
    end.start(generator.getrandbits(32), number, 0)
    rig.wait_for(end.is_over, "so many calls")
    end.be_cut()
    has_promised = end.promised > 0
    end.start(generator.getrandbits(32), generator.randint(1, number), 0)
    rig.wait_for(lambda: end.is_over() or end.begun, "the second start")
    end.be_cut()
    end.start(generator.getrandbits(32), 0, 0)
    rig.wait_for(lambda: end.begun, "a start that is not cut")
    end.be_cut()
    rig.lost.add(rig.place.reports())
    return has_promised


def create(build, first):
    rig = Rig(build)
    generator = random.Random(first)
    began = time.monotonic()
    number = after = 0
    try:
        while after < AFTER_COMMIT:
            number += 1
            after += create_cut_at(rig, generator, number)
    except (Lost, AssertionError) as problem:
        print(f"seed {first}, cut before call {number} of the first start: {problem}", file=sys.stderr)
        return 1
    finally:
        rig.close()
    print(f"power cuts, create: seed {first}, calls 1 to {number}; {rig.lost}; {time.monotonic() - began:.0f} s")
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--cuts", type=int, default=450)
    parser.add_argument("--from", type=int, default=None, dest="first")
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--create", action="store_true")
    arguments = parser.parse_args()
    first = random.SystemRandom().randrange(1 << 31) if arguments.first is None else arguments.first
    print(f"seed {first}", flush=True)
    if arguments.control:
        sys.exit(control(arguments.build, first, "wal") + control(arguments.build, first, "all"))
    if arguments.create:
        sys.exit(create(arguments.build, first))
    sys.exit(run(arguments.build, first, arguments.cuts))


if __name__ == "__main__":
    main()
