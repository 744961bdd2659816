"""What `make install` copies runs from where it lies, with nothing of the build folder and of the repository.

usage: install_test.py BUILD_FOLDER
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import harness  # noqa: E402  pylint: disable=wrong-import-position

REPOSITORY = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
MODEL = ".model/all-minilm-l6-v2"


class InstallTest(harness.OwnSuiteTest):
    @classmethod
    def setUpClass(cls):
        cls.prefix = tempfile.mkdtemp(prefix="weir-install-", dir="/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.prefix)
        subprocess.run([os.path.join(REPOSITORY, "tools/build/install"), harness.BUILD, MODEL, cls.prefix],
                       cwd=REPOSITORY, check=True, timeout=120, stdout=subprocess.DEVNULL)
        cls.weir = os.path.join(cls.prefix, "bin", "weir")

    def run_weir(self, *arguments):
        done = subprocess.run([self.weir, *arguments], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_the_protos_the_configuration_and_the_license_are_there(self):
        share = os.path.join(self.prefix, "share", "weir")
        for name in ("LICENSE", "weir.yaml", "REFERENCE.md", "proto/weir/v1/document.proto",
                     "proto/third_party/google/rpc/status.proto", "proto/service_config.json"):
            self.assertTrue(os.path.isfile(os.path.join(share, name)), name)
        self.run_weir("config", "check", "--config", os.path.join(share, "weir.yaml"))

    def test_the_installed_suite_works_with_the_installed_model(self):
        suite = self.own_suite()
        place = ["--data", suite.data]
        self.run_weir("up", "--detach", "--port-base", str(suite.base), *place)
        self.addCleanup(self.run_weir, "down", *place)
        address = ["--address", suite.grpc_address()]
        models = self.run_weir("model", "ls", *address)
        if os.path.isfile(os.path.join(REPOSITORY, MODEL, "manifest.json")):
            self.assertIn("all-minilm-l6-v2", models)
            self.assertTrue(os.path.isfile(os.path.join(self.prefix, "share/weir/models/all-minilm-l6-v2/model.onnx")))
        self.run_weir("ingest", os.path.join(self.prefix, "share/weir/REFERENCE.md"), "-c", "notes", "--wait", *address)
        self.assertIn("REFERENCE", self.run_weir("search", "which setting", "-c", "notes", *address))


if __name__ == "__main__":
    harness.main()
