"""A Python client as a user makes one: code generated from proto/ by protoc, then ingest, wait, search.

usage: python_client_test.py BUILD_FOLDER REPOSITORY

The first test is the README's example itself, with the address of the suite put in.
"""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

REPOSITORY = os.path.abspath(sys.argv.pop(2))
sys.path.insert(0, os.path.join(REPOSITORY, "tests", "integration"))
import harness  # noqa: E402  pylint: disable=wrong-import-position

SERVICE_CONFIG = os.path.join(REPOSITORY, "proto", "service_config.json")
OUTCOMES = harness.MESSAGES.pool.FindEnumTypeByName("weir.v1.IngestOutcome").values_by_name
GENERATED = tempfile.TemporaryDirectory(prefix="weir-py-", dir="/tmp")


def readme():
    with open(os.path.join(REPOSITORY, "README.md"), encoding="utf-8") as stream:
        return stream.read()


def generate():
    """The README's own command, with the folder for its output put in."""
    command = re.search(r"`(python3 -m grpc_tools\.protoc [^`]+)`", readme()).group(1)
    command = command.replace("_out=.", f"_out={GENERATED.name}")
    subprocess.run(command, shell=True, cwd=REPOSITORY, check=True, timeout=400)


class PythonClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        generate()
        cls.suite = harness.shared_suite(())

    def run_script(self, text, *arguments):
        environment = {**os.environ, "PYTHONPATH": GENERATED.name, "GRPC_VERBOSITY": "ERROR"}
        done = subprocess.run(
            [sys.executable, "-c", text, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=200, check=False,
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

    def test_the_service_config_names_every_unary_call_that_is_there(self):
        with open(SERVICE_CONFIG, encoding="utf-8") as stream:
            names = {(it["service"], it["method"]) for it in json.load(stream)["methodConfig"][0]["name"]}
        later = re.search(r"## What answers UNIMPLEMENTED\n(.*?)\n## ", readme(), re.S).group(1)
        unary = {
            tuple(path[1:].split("/")) for path, (_, *streams) in harness.MESSAGES.methods.items()
            if path.startswith("/weir.v1.") and not any(streams)
        }
        self.assertEqual(names, {(service, method) for service, method in unary if f"`{method}`" not in later})

    def test_a_call_with_the_service_config_outlives_a_restart_of_the_gateway(self):
        script = """
import os, signal, sys, grpc
from weir.v1 import document_pb2, document_pb2_grpc
config = open(sys.argv[2], encoding="utf-8").read()
channel = grpc.insecure_channel(sys.argv[1], options=[("grpc.service_config", config)])
stub = document_pb2_grpc.DocumentServiceStub(channel)
def ingest():
    return stub.IngestDocument(document_pb2.IngestDocumentRequest(
        collection_id="again", document_id="a", text="words", request_id="one"), timeout=50)
ingest()
os.kill(int(sys.argv[3]), signal.SIGKILL)
print(ingest().outcome)
"""
        printed = self.run_script(script, self.suite.grpc_address(), SERVICE_CONFIG, str(self.suite.pid("gateway")))
        self.assertEqual(printed.strip(), str(OUTCOMES["INGEST_OUTCOME_REPEATED"].number))


if __name__ == "__main__":
    unittest.addModuleCleanup(GENERATED.cleanup)
    harness.main()
