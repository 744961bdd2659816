"""The dashboard and the rules ask only for what the services tell, every alert has its paragraph, METRICS.md has every
metric, and every command that a document names is one.

usage: ops_test.py BUILD_FOLDER, or  ops_test.py BUILD_FOLDER write  to print METRICS.md anew
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
COMMAND = re.compile(r"^(?:build/bin/)?weir((?: [a-z-]+)*)")
METRICS = """# Metrics

What the services tell at `/metrics` on their admin ports, in Prometheus' text format. Names and labels are part of the
interface; the dashboard (`grafana.json`) and the rules (`weir.rules.yml`) are made of them. A histogram has `_bucket`,
`_sum` and `_count`.

| metric | kind | labels | told by | meaning |
|---|---|---|---|---|
"""


def read(*path):
    with open(os.path.join(REPOSITORY, *path), encoding="utf-8") as stream:
        return stream.read()


def dashboard_queries():
    panels = json.loads(read("ops", "grafana.json"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


class Family:
    """One metric as some services tell it."""

    def __init__(self, name, kind, meaning):
        self.name, self.kind, self.meaning, self.labels, self.services = name, kind, meaning, set(), []

    def row(self):
        services = "all" if len(self.services) == len(harness.SERVICES) else ", ".join(self.services)
        labels = ", ".join(f"`{label}`" for label in sorted(self.labels))
        return f"| `{self.name}` | {self.kind} | {labels} | {services} | {self.meaning} |"


def families(suite):
    """By name and meaning: what one name means may differ between services."""
    found = {}
    for service in harness.SERVICES:
        meanings, own = {}, {}
        for line in suite.admin(service, "/metrics")[1].splitlines():
            words = line.split(" ", 3)
            if line.startswith("# HELP "):
                meanings[words[2]] = words[3]
            elif line.startswith("# TYPE "):
                key = (words[2], meanings[words[2]])
                own[words[2]] = found.setdefault(key, Family(words[2], words[3], key[1]))
                own[words[2]].services.append(service)
            else:
                name = re.match(r"[a-z0-9_]+", line).group()
                family = own.get(name) or own[re.sub(r"_(bucket|sum|count)$", "", name)]
                family.labels |= set(re.findall(r'[{,]([a-z_]+)="', line)) - {"le"}
    return [found[key] for key in sorted(found)]


def commands_named_in(text):
    """Lines of code blocks and spans of code that begin with `weir`."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.S | re.M)
    spans = re.findall(r"`(weir [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if COMMAND.match(line)] + [" ".join(span.split()) for span in spans]


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
        cls.families = families(suite)
        cls.told = {family.name for family in cls.families}

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

    def test_the_page_of_metrics_is_what_the_services_tell(self):
        self.assertEqual(
            read("ops", "METRICS.md"), METRICS + "".join(family.row() + "\n" for family in self.families),
            "it is stale: inside the base system, python3 tests/ops/ops_test.py build write >ops/METRICS.md",
        )

    def test_every_command_that_a_document_names_is_one(self):
        for document in (*(it for it in os.listdir(REPOSITORY) if it.endswith(".md")), "ops/RUNBOOK.md"):
            for line in commands_named_in(read(document)):
                with self.subTest(document=document, command=line):
                    self.assert_command(line)

    def assert_command(self, line):
        words = COMMAND.match(line).group(1).split()
        for count in (2, 1):  # "dlq ls" before "dlq"
            done = subprocess.run([harness.WEIR, "help", *words[:count]], stdout=subprocess.PIPE, text=True,
                                  stderr=subprocess.DEVNULL, timeout=20, check=False)
            if len(words) >= count and done.returncode == 0 and done.stdout:
                break
        else:
            self.fail("there is no such command")
        for option in re.findall(r" (-{1,2}[a-z][a-z-]*)", re.sub(r"'[^']*'|\"[^\"]*\"", "", line)):
            self.assertRegex(done.stdout, rf"(?m)^ +.*{option}[ ,]", option)

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
    if sys.argv[1:] == ["write"]:
        OpsTest.setUpClass()
        sys.stdout.write(METRICS + "".join(family.row() + "\n" for family in OpsTest.families))
        unittest.doModuleCleanups()
    else:
        harness.main()
