"""grpcurl on every service, as a person who debugs uses it, and the README's quick start, line by line.

usage: grpcurl_test.py BUILD_FOLDER REPOSITORY

grpcurl is built by tests/interop/build-clients; exit 77 (skipped) without it.
"""

import json
import os
import re
import subprocess
import sys
import unittest

REPOSITORY = os.path.abspath(sys.argv.pop(2))
sys.path.insert(0, os.path.join(REPOSITORY, "tests", "integration"))
import harness  # noqa: E402  pylint: disable=wrong-import-position

GRPCURL = os.environ.get("WEIR_GRPCURL") or os.path.join(REPOSITORY, ".cache", "interop", "grpcurl")
STANDARD = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
# What each service is asked besides its health: it must be listed, described and answered.
OWN = {
    "gateway": ("weir.v1.SystemService", "GetServerInfo"),
    "ingest": ("weir.internal.v1.StageService", "ListDeferred"),
    "embedder": ("weir.internal.v1.StageService", "ListLinks"),
    "indexer": ("weir.internal.v1.StageService", "GetStageStatus"),
    "reconciler": ("weir.internal.v1.StageService", "GetStageStatus"),
}


def run(*arguments):
    done = subprocess.run([GRPCURL, "-plaintext", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=60, check=False)
    return done.returncode, done.stdout


class GrpcurlTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.suite = harness.shared_suite(())

    def ask(self, *arguments):
        status, printed = run(*arguments)
        self.assertEqual(status, 0, printed)
        return printed

    def test_every_service_lists_its_services(self):
        for name in harness.SERVICES:
            listed = set(self.ask(self.suite.grpc_address(name), "list").split())
            self.assertLessEqual(STANDARD | {OWN[name][0], "weir.internal.v1.StageService"}, listed, name)

    def test_every_listed_service_and_its_methods_are_described(self):
        for name in harness.SERVICES:
            address = self.suite.grpc_address(name)
            for service in self.ask(address, "list").split():
                methods = self.ask(address, "list", service).split()
                self.assertTrue(methods, service)
                for symbol in (service, *methods):
                    self.assertIn("is a", self.ask(address, "describe", symbol))

    def test_every_service_answers_health_and_a_call_of_its_own(self):
        for name in harness.SERVICES:
            address = self.suite.grpc_address(name)
            health = json.loads(self.ask(address, "grpc.health.v1.Health/Check"))
            self.assertEqual(health, {"status": "SERVING"}, name)
            json.loads(self.ask(address, "/".join(OWN[name])))

    def test_a_refusal_shows_its_reason_and_its_field(self):
        status, printed = run("-d", '{"collectionId":"no such name"}', self.suite.grpc_address(),
                              "weir.v1.CollectionService/GetCollection")
        self.assertNotEqual(status, 0)
        for word in ("InvalidArgument", "ErrorInfo", "weir.dev", "BadRequest", "collection_id"):
            self.assertIn(word, printed)


class QuickStartTest(unittest.TestCase):
    """The lines that the README prints, with the suite's own addresses put in."""

    @classmethod
    def setUpClass(cls):
        cls.suite = harness.shared_suite(())
        with open(os.path.join(REPOSITORY, "README.md"), encoding="utf-8") as stream:
            blocks = re.findall(r"^```\n(.*?)^```", stream.read(), re.S | re.M)
        cls.lines = [line.split("  #")[0] for block in blocks for line in block.replace("\\\n", " ").splitlines()]

    def line(self, start):
        found = [line for line in self.lines if line.startswith(start)]
        self.assertTrue(found, f"the README has no line that starts with {start!r}")
        return found[0]

    def shell(self, line):
        gateway = self.suite.grpc_address()
        http = f"127.0.0.1:{self.suite.base + 80}"
        line = line.replace("127.0.0.1:7070", gateway).replace("127.0.0.1:7080", http)
        path = f"{os.path.dirname(GRPCURL)}:{os.environ['PATH']}"
        done = subprocess.run(
            line, shell=True, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=120, check=False, env={**os.environ, "PATH": path, "WEIR_ADDRESS": gateway},
        )
        self.assertEqual(done.returncode, 0, f"{line}\n{done.stdout}")
        return done.stdout

    def test_1_grpcurl_ingests(self):
        document = json.loads(self.shell(self.line("grpcurl ")))["document"]
        self.assertEqual(document["state"], "DOCUMENT_STATE_READY")

    def test_2_curl_searches(self):
        hits = json.loads(self.shell(self.line("curl ")))["hits"]
        self.assertEqual(hits[0]["text"], "The mill wheel turns.")

    def test_3_weir_ingests_a_folder_and_searches(self):
        for command in ("ingest", "search"):
            line = self.line(f"build/bin/weir {command} ")
            self.assertTrue(self.shell(line.replace("build/bin/weir", harness.WEIR)))


if __name__ == "__main__":
    if not os.access(GRPCURL, os.X_OK):
        print("skipped: no grpcurl; run tests/interop/build-clients, or set WEIR_GRPCURL")
        sys.exit(77)
    harness.main()
