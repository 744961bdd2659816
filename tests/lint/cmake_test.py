"""A wrong arrow is an error of the configuration: cmake/weir.cmake refuses it, and takes a right one."""

import os
import subprocess
import tempfile
import unittest

HELPERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "cmake", "weir.cmake")
PROJECT = """cmake_minimum_required(VERSION 3.25)
set(CMAKE_C_COMPILER_WORKS ON)
project(arrows VERSION 1 LANGUAGES C)
include({helpers})
{lines}
"""
STORE = "weir_library(store LAYER 1 SOURCES a.c USES base)"
BASE = "weir_library(base LAYER 0 SOURCES a.c)"


class Arrows(unittest.TestCase):
    def configure(self, *lines):
        with tempfile.TemporaryDirectory(prefix="weir-arrows-") as folder:
            with open(os.path.join(folder, "a.c"), "w", encoding="utf-8"):
                pass
            with open(os.path.join(folder, "CMakeLists.txt"), "w", encoding="utf-8") as stream:
                stream.write(PROJECT.format(helpers=os.path.abspath(HELPERS), lines="\n".join(lines)))
            done = subprocess.run(["cmake", "-S", folder, "-B", os.path.join(folder, "build")], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=150, check=False)
        return done.returncode, " ".join(done.stdout.split())

    def test_an_arrow_down_is_taken(self):
        status, printed = self.configure(BASE, STORE, "weir_library(wal LAYER 1 SOURCES a.c USES store base)")
        self.assertEqual(status, 0, printed)

    def test_an_arrow_up_is_refused(self):
        status, printed = self.configure(BASE, STORE, "weir_library(hash LAYER 0 SOURCES a.c USES store)")
        self.assertNotEqual(status, 0)
        self.assertIn("weir_hash (layer 0) uses 'store' (layer 1): arrows point down only", printed)

    def test_what_comes_later_cannot_be_used(self):
        status, printed = self.configure(STORE, BASE)
        self.assertNotEqual(status, 0)
        self.assertIn("weir_store uses 'base', which is not declared before it: arrows point down only", printed)


if __name__ == "__main__":
    unittest.main()
