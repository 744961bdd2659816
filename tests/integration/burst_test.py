"""20,000 documents of 2 KB over streams: all READY, none doubled, memory bounded.

WEIR_DOCUMENTS changes the number.  Prints rates and the greatest resident memory of each service.
"""

import os
import random
import threading
import time

import harness
from harness import MODEL, SERVICES, OwnSuiteTest, resident_kb

DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", "20000"))
STREAMS = 4
COLLECTION = "burst"
RESIDENT_MIB_MAX = 600  # of one service
SECONDS_MAX = 120
STEMS = ("mill", "brook", "wheel", "stone", "grain", "sack", "dust", "weir")
WORDS = [f"{stem}{number}" for stem in STEMS for number in range(60)]


def text_of(number):
    """2 KB that no other document has."""
    generator = random.Random(number)
    head = f"Document {number} with the mark{number}. "
    return (head + " ".join(generator.choices(WORDS, k=360)))[:2048]


class BurstTest(OwnSuiteTest):
    def setUp(self):
        self.suite = self.own_suite().up()
        self.client = self.suite.client()
        self.client.CreateCollection(collection={"collection_id": COLLECTION, "embedding_model": MODEL})

    def send(self, first, answers):
        client = self.suite.client()
        requests = (
            client.request(
                "IngestDocuments",
                request={"collection_id": COLLECTION, "document_id": f"b{number:06}", "text": text_of(number)},
            )
            for number in range(first, DOCUMENTS, STREAMS)
        )
        for answer in client.stream("IngestDocuments", requests, deadline=SECONDS_MAX):
            answers.append(answer.document.document_id if answer.HasField("document") else str(answer.status))

    def test_a_burst_ends_ready(self):
        began = time.monotonic()
        answers = []
        threads = [threading.Thread(target=self.send, args=(first, answers)) for first in range(STREAMS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS_MAX)
        accepted = time.monotonic() - began
        expected = [f"b{number:06}" for number in range(DOCUMENTS)]
        self.assertEqual(sorted(answers), expected)
        settled = self.client.WaitCollection(
            collection_id=COLLECTION, timeout=SECONDS_MAX, deadline=SECONDS_MAX + 10
        )
        ready = time.monotonic() - began
        self.assertTrue(settled.settled, settled)
        self.assertEqual(
            (settled.ready, settled.failed, settled.superseded, settled.deleted), (DOCUMENTS, 0, 0, 0)
        )
        self.check_all(expected)
        self.report(accepted, ready)
        self.assertLess(ready, SECONDS_MAX)

    def check_all(self, expected):
        """Listed once each, every chunk reachable once, and a sample found by its own text."""
        listed, token, chunks = [], "", 0
        while True:
            page = self.client.ListDocuments(
                collection_id=COLLECTION, page_size=1000, page_token=token, states=["DOCUMENT_STATE_READY"]
            )
            listed += [document.document_id for document in page.documents]
            chunks += sum(document.chunk_count for document in page.documents)
            self.assertEqual({document.revision for document in page.documents}, {1})
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(listed, expected)
        indexer = harness.Client(f"unix:{self.suite.data}/run/indexer.grpc")
        verified = indexer.call("/weir.internal.v1.IndexerService/VerifyIndex", deadline=60)
        indexer.close()
        self.assertEqual(list(verified.findings), [])
        self.assertEqual((verified.documents, verified.chunks, verified.reachable), (DOCUMENTS, chunks, chunks))
        for number in random.Random(1).sample(range(DOCUMENTS), 50):
            hits = self.client.Search(
                collection_id=COLLECTION, text=text_of(number)[:400], exact=True, top_k=1000,
                filter=f'document_id = "b{number:06}"',
            ).hits
            ordinals = sorted(hit.ordinal for hit in hits)
            self.assertEqual(ordinals, list(range(len(ordinals))))
            self.assertGreater(len(ordinals), 0)
            self.assertTrue(all(hit.text in text_of(number) for hit in hits))

    def report(self, accepted, ready):
        peaks = {name: resident_kb(self.suite.pid(name), "VmHWM") // 1024 for name in SERVICES}
        memory = ", ".join(f"{name} {size}" for name, size in peaks.items())
        print(
            f"burst: {DOCUMENTS} documents of 2 KB accepted in {accepted:.1f} s ({DOCUMENTS / accepted:.0f}/s),"
            f" READY in {ready:.1f} s ({DOCUMENTS / ready:.0f}/s); peak resident MiB: {memory}",
            flush=True,
        )
        for name, size in peaks.items():
            self.assertLess(size, RESIDENT_MIB_MAX, name)


if __name__ == "__main__":
    harness.main()
