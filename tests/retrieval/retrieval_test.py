"""Does weir answer as well as its model can?  nDCG@10 of a running suite's answers on the Cranfield collection against
the same model run outside it, over the same chunks.

usage: retrieval_test.py BUILD_FOLDER DATA_FOLDER

Skipped (77) where the collection or the model is not: WEIR_CRANFIELD names the collection's folder, by default it is
looked for beside the checkout.
"""

import os
import pathlib
import subprocess
import sys
import unittest

DATA = pathlib.Path(sys.argv.pop(2))
HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE.parents[1] / ".model" / "all-minilm-l6-v2"
sys.path.insert(0, str(HERE.parent / "integration"))
import harness  # noqa: E402  pylint: disable=wrong-import-position


class RetrievalTest(harness.OwnSuiteTest):
    def test_answers_are_as_good_as_the_same_model_outside(self):
        suite = self.own_suite((f"gateway.default_model={MODEL.name}",)).up()
        url = f"http://127.0.0.1:{suite.base + 80}"
        check = subprocess.run([sys.executable, "-B", str(HERE / "check.py"), str(DATA), url],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1150, check=False)
        print(check.stdout, flush=True)
        self.assertEqual(check.returncode, 0, check.stdout)
        self.assertIn("nDCG@10 weir", check.stdout)


if __name__ == "__main__":
    for path in (DATA / "cran.all.1400.xml", MODEL / "model.onnx"):
        if not path.exists():
            print(f"skipped: no {path}")
            sys.exit(77)
    harness.main()
