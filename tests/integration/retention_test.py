"""What grows on disk is bounded: documents are replaced and deleted many times, and what is left is that of the last.

usage: retention_test.py BUILD_FOLDER

Records are weighed in the databases of the stopped suite: what a compaction would leave, without the wait for one.
"""

import collections

import harness
from audit_test import Store
from harness import SERVICES, state_name

DOCUMENTS = 8
ROUNDS = 30  # of replacing everything; the first 4 fill what is bounded by its own limit
WARM = 4
TEXT_BYTES = 6000
REVISION_BYTES = 1024  # record, change and place of a revision at the gateway: README says about 0.3 KiB and 0.1 KiB
JOURNAL_EVENTS = 16
TRIM_LATE = 48  # one event in 16 trims the journal of its document; three times that is far off


class Weight:
    """Bytes and number of the records of one database by the tag of their key."""

    def __init__(self, store):
        self.bytes = collections.Counter()
        self.count = collections.Counter()
        for line in store.run(*(f"list {tag:02x}" for tag in range(256))).splitlines():
            if line:
                key, value = line.split(" ")
                tag = chr(int(key[:2], 16))
                self.bytes[tag] += (len(key) + len(value)) // 2
                self.count[tag] += 1

    def of(self, tags):
        return sum(self.bytes[tag] for tag in tags)


class RetentionTest(harness.OwnSuiteTest):
    def setUp(self):
        # What is bounded by number has low bounds, so that the rounds go beyond them.
        self.suite = self.own_suite(
            (
                "gateway.change_log_entries_max=1000",
                "embedder.cache_bytes_max=256KiB",
                f"reconciler.journal_events_max={JOURNAL_EVENTS}",
                "audit.documents_per_second=0",
            )
        )
        self.suite.up()
        self.client = self.suite.client()
        self.client.CreateCollection(collection={"collection_id": "notes", "embedding_model": harness.MODEL})

    def replace_all(self, number):
        for document in range(DOCUMENTS):
            line = f"Round {number} of document {document} says something new. "
            text = "".join(f"{at} {line}" for at in range(TEXT_BYTES // len(line)))
            answer = self.client.stubborn(
                "IngestDocument", collection_id="notes", document_id=f"d{document}", text=text, wait=harness.PATIENCE
            )
            self.assertEqual(state_name(answer.document), "READY")

    def delete_all(self):
        for document in range(DOCUMENTS):
            self.client.stubborn("DeleteDocument", collection_id="notes", document_id=f"d{document}")

    def weigh(self):
        """After an audit: nothing is under way, and nothing waits to be cleared."""
        self.assertEqual(self.client.call("RunAudit", deadline=60).inconsistency_count, 0)
        self.suite.wait_quiet()
        self.suite.down()
        weights = {service: Weight(Store(self.suite, service)) for service in SERVICES}
        self.suite.up()
        self.client = self.suite.client()
        return weights

    def assert_no_more(self, before, after, service, tags, slack=0.1):
        was, now = before[service].of(tags), after[service].of(tags)
        self.assertLessEqual(now, was * (1 + slack), f"{service} {tags}: {was} bytes have become {now}")

    def test_what_is_replaced_and_deleted_leaves(self):
        for number in range(WARM):
            self.replace_all(number)
        before = self.weigh()
        for number in range(WARM, ROUNDS):
            self.replace_all(number)
            if number % 3 == 0:
                self.delete_all()
                self.replace_all(number)
        after = self.weigh()

        # Sources, texts and vectors of what is READY, and of nothing else.
        self.assertEqual(after["gateway"].count["S"], DOCUMENTS)
        self.assert_no_more(before, after, "gateway", "SBU")
        for tag in "KMV":
            self.assertEqual(after["indexer"].count[tag], before["indexer"].count[tag], tag)
        self.assert_no_more(before, after, "indexer", "DKMV")
        # What only passes through.
        for service in SERVICES:
            self.assertEqual(after[service].count["o"] + after[service].count["d"], 0, service)
        self.assert_no_more(before, after, "ingest", [chr(tag) for tag in range(256)])
        self.assertLessEqual(after["embedder"].of("vw"), 256 << 10)
        # History has its bounds by number.
        self.assertLessEqual(after["reconciler"].count["J"], DOCUMENTS * (JOURNAL_EVENTS + TRIM_LATE))
        self.assertEqual(after["reconciler"].of("ELTU"), 0)
        self.assertLessEqual(after["gateway"].count["W"], 1000)
        # Records of revisions stay, and are small.
        revisions = after["gateway"].count["R"] - before["gateway"].count["R"]
        grown = sum(after["gateway"].bytes.values()) - sum(before["gateway"].bytes.values())
        print(f"{revisions} revisions, {grown // revisions} bytes each at the gateway", flush=True)
        self.assertGreaterEqual(revisions, (ROUNDS - WARM) * DOCUMENTS)
        self.assertLessEqual(grown, revisions * REVISION_BYTES)

        # Of what is deleted for good a tombstone is left.
        self.delete_all()
        gone = self.weigh()
        self.assertEqual(gone["gateway"].count["S"], 0)
        self.assertEqual(gone["indexer"].of("KMV"), 0)
        self.assertLessEqual(gone["indexer"].of("D"), DOCUMENTS * 64)


if __name__ == "__main__":
    harness.main()
