"""Every rule on the list that is broken on purpose is found by the simulator:

  plants_test.py WEIR-SIM-PLANTS BIN-FOLDER [SEEDS]

Prints one line each: plant, the seed that found it, the promise that failed, seconds; fails if one is not found within
SEEDS (20,000: the CI size).  The programs that are installed have no plant in them.
"""

import glob
import os
import re
import subprocess
import sys
import time

FOUND = re.compile(r"^seed (\d+), step \d+: ([^:]+): (.*)$", re.M)


def look_for(simulator, name, seeds):
    """(seed, promise, sentence), or None."""
    done = subprocess.run([simulator, "--plant", name, "--from", "1", "--seeds", str(seeds), "--failures", "1"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    found = FOUND.search(done.stdout)
    if done.returncode != 0 and found is None:
        sys.exit(f"{name}: the simulator ended with {done.returncode}: {done.stdout[-500:]}")
    return found.groups() if found else None


def main():
    simulator, folder = sys.argv[1], sys.argv[2]
    seeds = int(sys.argv[3]) if len(sys.argv) > 3 else 20000
    listed = subprocess.run([simulator, "--list-plants"], stdout=subprocess.PIPE, text=True, check=True).stdout
    names = [line.split("\t")[0] for line in listed.splitlines()]
    missed = []
    print(f"{'plant':26} {'seed':>6} {'promise':8} {'seconds':>7}  what was seen")
    for name in names:
        begun = time.monotonic()
        found = look_for(simulator, name, seeds)
        took = time.monotonic() - begun
        seed, promise, sentence = found or ("-", "-", f"NOT FOUND in {seeds} seeds")
        print(f"{name:26} {seed:>6} {promise:8} {took:7.1f}  {sentence[:100]}", flush=True)
        if found is None:
            missed.append(name)
    assert len(names) >= 12, names
    with open(simulator, "rb") as file:
        assert b"weir_plant_on" in file.read(), "the simulator with plants shows none: this test could not fail"
    for program in glob.glob(os.path.join(folder, "weir*")):
        with open(program, "rb") as file:
            assert b"weir_plant_on" not in file.read(), f"{program} has plants in it"
    print(f"{len(names) - len(missed)} of {len(names)} plants found; none in {folder}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
