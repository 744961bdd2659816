"""The fault storm: one document in a hundred is poison, one call in twenty of the parser and of the embedder fails for
the moment, services are killed; then the share of good documents that ended READY with no operator is printed: all
must.

The five services are those of the failpoint build (BUILD/failpoints, `make failpoints`): a release program fails on
nobody's request.  Their tables of failpoints are armed with a chance, which outlives the kills; all else is as in
storm_test.py.

A document of which every attempt fails by chance is given up, and that is right: once in a thousand runs one is, and
its dead letter, of nothing but failures that were injected, tells it from one that must be READY.

WEIR_SEED picks the run, WEIR_KILLS and WEIR_DOCUMENTS its size.
"""

import collections
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "failpoints"))
import rig  # noqa: E402  pylint: disable=wrong-import-position
from rig import BUILD, ChaosTest, Rig, harness  # noqa: E402  pylint: disable=wrong-import-position

SKIPPED = 77
PROGRAMS = os.path.join(BUILD, "failpoints")
if not os.path.exists(os.path.join(PROGRAMS, "bin", "weir-gateway")):
    print(f"{PROGRAMS} is not built: 'make failpoints' does it")
    sys.exit(SKIPPED)

from fleet import FIRED_AT, Table  # noqa: E402  pylint: disable=wrong-import-position
from release_test import names as names_of  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1, 1 << 32)))
KILLS = int(os.environ.get("WEIR_KILLS", "20"))
DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", "1200"))
CHANCE = 0.05
UNLUCKY_MAX = 2  # of a short run one is rare, three are none
ATTEMPTS = 5  # ingest.attempts_max, embedder.attempts_max
CALLS = {"ingest": "ingest.parse.before", "embedder": "embedder.embed.before"}


class FaultRig(Rig):
    """Its services have failpoints, and each a table of them."""

    def __init__(self):
        super().__init__()
        folder = os.path.join(self.data, "failpoints")
        os.makedirs(folder)
        self.tables = {}
        for service in harness.SERVICES:
            self.tables[service] = Table(os.path.join(folder, f"weir-{service}"), names_of(PROGRAMS, service))
            self.environments[service] = {"WEIR_FAILPOINTS_DIR": folder}

    def programs(self):
        return os.path.join(PROGRAMS, "bin")

    def fail_by_chance(self, seed):
        for service, name in CALLS.items():
            self.tables[service].arm_chance(name, CHANCE, seed)

    def luck(self):
        """Calls and those that failed, by service."""
        return {
            service: (self.tables[service].count(name), self.tables[service].count(name, FIRED_AT))
            for service, name in CALLS.items()
        }


class FaultStormTest(ChaosTest):
    def test_every_good_document_ends_ready_with_no_operator(self):
        generator = random.Random(SEED)
        suite = FaultRig()
        self.addCleanup(self.end_suite, suite)
        suite.fail_by_chance(SEED)
        suite.up()
        client = self.collection(suite)
        print(f"seed {SEED}, {KILLS} kills, {DOCUMENTS} documents, data in {suite.data}", flush=True)
        began = time.monotonic()
        work = self.work(suite, SEED, DOCUMENTS, hot_steps=30, poisoned=True)
        kills = self.storm(suite, work, generator)
        counts = work.finish(timeout=1800)
        settled = self.settle(suite, client)
        luck = suite.luck()
        unlucky = self.unlucky(client)
        judge = self.check(suite, work)
        self.report(judge, kills, luck, unlucky, counts, settled, time.monotonic() - began)

    def storm(self, suite, work, generator):
        """Each kill meets a share of the work that has just begun."""
        kills = collections.Counter()
        while sum(kills.values()) < KILLS:
            work.open(sum(kills.values()) / KILLS)
            time.sleep(generator.uniform(0.05, 0.6))
            service = generator.choice((*harness.SERVICES, "ingest", "embedder"))
            kills[service] += suite.kill(service)
        return kills

    @staticmethod
    def unlucky(client):
        """(document, revision) that were given up since each of their attempts failed by chance."""
        letters, token = [], ""
        while True:
            page = client.stubborn("ListDeadLetters", collection_id=rig.COLLECTION, page_size=1000, page_token=token)
            letters += page.dead_letters
            token = page.next_page_token
            if not token:
                break
        return {
            (letter.document_id, letter.revision) for letter in letters
            if len(letter.attempts) >= ATTEMPTS and {attempt.reason for attempt in letter.attempts} == {"INJECTED"}
        }

    def report(self, judge, kills, luck, unlucky, counts, settled, seconds):
        ends = rig.ends_of_good(judge)
        good = sum(ends.values())
        unlucky &= {(document[-1], max(revisions)) for document, revisions in judge.scan.revisions.items()}
        shown = "; ".join(f"{service}: {failed} of {calls} calls failed" for service, (calls, failed) in luck.items())
        print(
            f"fault storm: seed {SEED}, {sum(kills.values())} kills ({dict(kills)}), {shown};"
            f" {len(judge.scan.documents)} documents, {counts}, {len(judge.violations)} violations,"
            f" settled {settled:.1f} s after the last call, {seconds:.0f} s\n"
            f"{100 * ends['READY'] / good:.4f} % of {good} good documents ended READY with no operator; with {ATTEMPTS}"
            f" attempts in each of two stages at {100 * CHANCE:.0f} %, {2 * good * CHANCE**ATTEMPTS:.1g} documents are"
            f" expected to fail by chance, {len(unlucky)} did",
            flush=True,
        )
        for service, (calls, failed) in luck.items():
            spread = 5 * (calls * CHANCE * (1 - CHANCE)) ** 0.5 + 1
            self.assertLess(abs(failed - CHANCE * calls), spread, f"{service}: {failed} of {calls} calls failed")
            self.assertGreater(failed, 0, service)
        self.assertEqual(ends["READY"] + len(unlucky), good, (ends, unlucky))
        self.assertLessEqual(len(unlucky), UNLUCKY_MAX + 100 * good * CHANCE**ATTEMPTS, unlucky)
        poison = self.ends_of_poison(judge)
        self.assertEqual(set(poison), {"FAILED"}, poison)

    @staticmethod
    def ends_of_poison(judge):
        """How the newest revisions without a text ended."""
        ends = collections.Counter()
        for document, revisions in judge.scan.revisions.items():
            newest = revisions[max(revisions)]
            text = judge.texts[document].get(rig.compare.hexed(newest, "contentSha256"), "")
            if text and not text.strip() and not newest.get("isDelete"):
                ends[judge.scan.state(document, max(revisions))] += 1
        return ends


if __name__ == "__main__":
    harness.main()
