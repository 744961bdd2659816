"""No failpoint is left in the programs that are installed:  release_test.py BUILD_FOLDER FAILPOINT_BUILD_FOLDER.

A name, the section, a symbol, the variable of the environment: each would stand in the file's bytes, whichever section
it is in, and does in the programs of the failpoint build, which are looked at too: else this test could not fail.
"""

import os
import subprocess
import sys
import unittest

PROGRAMS = ("gateway", "ingest", "embedder", "indexer", "reconciler", "weir")
TRACES = (b"weir_failpoint", b"WEIR_FAILPOINTS", b"--list-failpoints")
SKIPPED = 77


def program_of(name):
    """The file of a service, or of the program `weir`."""
    return "weir" if name == "weir" else f"weir-{name}"


def names(folder, name):
    """What a program of the failpoint build has: {name: can fail}."""
    program = os.path.join(folder, "bin", program_of(name))
    listed = subprocess.run([program, "--list-failpoints"], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = {}
    for line in listed.splitlines():
        place, can_fail = line.split()
        assert place not in found, f"{place} stands twice in {program_of(name)}"
        found[place] = can_fail == "1"
    return found


def read(folder, program):
    with open(os.path.join(folder, "bin", program), "rb") as file:
        return file.read()


class ReleaseTest(unittest.TestCase):
    def test_the_failpoint_build_has_every_name_and_trace(self):
        for program in PROGRAMS:
            data = read(FAILPOINTS, program_of(program))
            found = names(FAILPOINTS, program)
            self.assertGreater(len(found), 5 if program == "weir" else 30, program)
            for trace in (*TRACES, *(name.encode() + b"\0" for name in found)):
                self.assertIn(trace, data, program)

    def test_the_release_build_has_none(self):
        found = {name.encode() for program in PROGRAMS for name in names(FAILPOINTS, program)}
        for program in PROGRAMS:
            data = read(RELEASE, program_of(program))
            for trace in (*TRACES, *(name + b"\0" for name in found)):
                self.assertNotIn(trace, data, program)
        print(f"{len(found)} names, none in the release build", flush=True)

    def test_the_release_build_does_not_know_the_option(self):
        for program in PROGRAMS:
            path = os.path.join(RELEASE, "bin", program_of(program))
            done = subprocess.run([path, "--list-failpoints"], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, done)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    RELEASE, FAILPOINTS = sys.argv.pop(1), sys.argv.pop(1)
    if not os.path.exists(os.path.join(FAILPOINTS, "bin", "weir-gateway")):
        print(f"{FAILPOINTS} is not built: 'make failpoints' does it")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
