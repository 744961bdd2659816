"""The dashboard and the rules ask only for what the services tell, and every alert has its paragraph.

usage: ops_test.py BUILD_FOLDER
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

REPOSITORY = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(REPOSITORY, "tests", "integration"))
import harness  # noqa: E402  pylint: disable=wrong-import-position

METRIC = re.compile(r"(?<![:\w])(?:weir|process)_[a-z0-9_]+")
RECORDED = re.compile(r"weir:[a-z0-9_:]+")
RULES = os.path.join(REPOSITORY, "ops", "weir.rules.yml")


def read(*path):
    with open(os.path.join(REPOSITORY, *path), encoding="utf-8") as stream:
        return stream.read()


def dashboard_queries():
    panels = json.loads(read("ops", "grafana.json"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def promtool(*arguments):
    return subprocess.run(["promtool", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, check=False)


class OpsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        suite = harness.shared_suite(())
        client = suite.client()
        # Some are told only once there is something to tell: one document goes all the way, one fails.
        for document, text in (("good", "The mill wheel turns."), ("bad", " ")):
            client.IngestDocument(collection_id="notes", document_id=document, text=text, wait=harness.PATIENCE)
        client.Search(collection_id="notes", text="wheel")
        cls.told = set()
        for service in harness.SERVICES:
            for line in suite.admin(service, "/metrics")[1].splitlines():
                if line.startswith("# TYPE "):
                    cls.told.add(line.split()[2])

    def assert_told(self, text):
        for name in METRIC.findall(text):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            self.assertTrue(name in self.told or base in self.told, f"no service tells {name}")

    def test_the_rules_ask_for_what_is_told(self):
        for line in re.findall(r"expr: (.*(?:\n {10}.*)*)", read("ops", "weir.rules.yml")):
            self.assert_told(line)

    def test_the_dashboard_asks_for_what_is_told_or_recorded(self):
        recorded = set(re.findall(r"record: (\S+)", read("ops", "weir.rules.yml")))
        for query in dashboard_queries():
            self.assert_told(query)
            self.assertLessEqual(set(RECORDED.findall(query)), recorded, query)

    def test_the_queries_of_the_dashboard_are_promql(self):
        rules = [{"record": f"q:{i}:x", "expr": query} for i, query in enumerate(dashboard_queries())]
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
            file.flush()
            done = promtool("check", "rules", file.name)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_the_rules_are_good_and_fire_when_they_should(self):
        for verb, file in (("check", RULES), ("test", os.path.join(REPOSITORY, "tests", "ops", "rules_test.yml"))):
            done = promtool(verb, "rules", file)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_every_alert_is_tried_both_ways_and_has_its_paragraph(self):
        tried = read("tests", "ops", "rules_test.yml")
        sections = re.findall(r"^## (\S+)\n\n\S", read("ops", "RUNBOOK.md"), re.M)
        alerts = re.findall(r"alert: (\S+)", read("ops", "weir.rules.yml"))
        self.assertEqual(sorted(alerts), sorted(sections))
        for alert in alerts:
            self.assertIn(f"alertname: {alert}}}", tried)
            self.assertIn(f"{alert} fires", tried)
            self.assertIn(f"ops/RUNBOOK.md#{alert.lower()}\n", read("ops", "weir.rules.yml"))


if __name__ == "__main__":
    harness.main()
