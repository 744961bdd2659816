"""A Python client as a user makes one: code generated from proto/ by protoc, then ingest, wait, search.

usage: python_client_test.py BUILD_FOLDER REPOSITORY

The first test is the README's example itself, with the address of the suite put in.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile
import unittest

REPOSITORY = os.path.abspath(sys.argv.pop(2))
sys.path.insert(0, os.path.join(REPOSITORY, "tests", "integration"))
import harness  # noqa: E402  pylint: disable=wrong-import-position

GENERATED = tempfile.TemporaryDirectory(prefix="weir-py-", dir="/tmp")


def readme():
    with open(os.path.join(REPOSITORY, "README.md"), encoding="utf-8") as stream:
        return stream.read()


def generate():
    """The README's own command, with the folder for its output put in."""
    command = re.search(r"`(python3 -m grpc_tools\.protoc [^`]+)`", readme()).group(1)
    command = command.replace("_out=.", f"_out={GENERATED.name}")
    subprocess.run(command, shell=True, cwd=REPOSITORY, check=True, timeout=120)


class PythonClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        generate()
        cls.suite = harness.shared_suite(())

    def run_script(self, text, *arguments):
        environment = {**os.environ, "PYTHONPATH": GENERATED.name, "GRPC_VERBOSITY": "ERROR"}
        done = subprocess.run(
            [sys.executable, "-c", text, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=60, check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_the_example_of_the_readme_works(self):
        example = re.search(r"```python\n(.*?)```", readme(), re.S).group(1)
        self.assertLessEqual(len(example.strip().splitlines()), 5)
        self.assertIn("127.0.0.1:7070", example)
        printed = self.run_script(example.replace("127.0.0.1:7070", self.suite.grpc_address()))
        self.assertEqual(printed.strip(), "The mill wheel turns.")

    def test_all_four_kinds_of_calls(self):
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "kinds.py"), encoding="utf-8") as stream:
            printed = self.run_script(stream.read(), self.suite.grpc_address(), harness.MODEL)
        self.assertRegex(printed, r"^version \d+\.\d+")

    def test_every_service_and_message_is_generated(self):
        names = {os.path.basename(path) for path in glob.glob(f"{GENERATED.name}/weir/v1/*_pb2_grpc.py")}
        for name in ("collection", "document", "search", "system", "dead_letter"):
            self.assertIn(f"{name}_pb2_grpc.py", names)


if __name__ == "__main__":
    unittest.addModuleCleanup(GENERATED.cleanup)
    harness.main()
