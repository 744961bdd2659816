"""A newer weir opens the data of the ones before it: one folder for each set of schemas that was released.

schemas-G-I-E-X-R.tar.xz holds the databases of gateway, ingest, embedder, indexer and reconciler as make_data.py left
them: killed with work under way.  After the start everything that its clients were told must be so, the work under way
must end, a repeated request must give what it gave, and a second start must find it all again.
"""

import glob
import json
import os
import re
import shutil
import tarfile
import tempfile

import grpc

import harness
from harness import SERVICES, OwnSuiteTest, Refusal, outcome_name, state_name, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
ARCHIVES = sorted(glob.glob(os.path.join(HERE, "schemas-*.tar.xz")))
VECTOR = {"values": [1.0] * 384}
PATIENCE = 60


def schemas():
    """(oldest, newest) of each service, as this version says."""
    with open(os.path.join(HERE, "..", "..", "common", "domain", "schemas.h"), encoding="utf-8") as stream:
        found = re.findall(r"WEIR_SERVICE_(\w+)\] = { .newest = (\d+), .oldest = (\d+) }", stream.read())
    return {name.lower(): (int(oldest), int(newest)) for name, newest, oldest in found}


class UpgradeTest(OwnSuiteTest):
    def test_there_is_data_of_every_schema_that_is_still_read(self):
        kept = [[int(part) for part in re.findall(r"\d+", os.path.basename(path))] for path in ARCHIVES]
        self.assertEqual(set(schemas()), set(SERVICES))
        for service, (oldest, newest) in schemas().items():
            there = {numbers[SERVICES.index(service)] for numbers in kept}
            self.assertLessEqual(set(range(oldest, newest)), there, service)

    def test_the_data_of_each_earlier_schema_opens_and_everything_is_there(self):
        self.assertGreater(len(ARCHIVES), 0)
        for archive in ARCHIVES:
            with self.subTest(os.path.basename(archive)):
                self.open(archive)

    def open(self, archive):
        data = tempfile.mkdtemp(prefix="weir-", dir="/tmp")
        self.addCleanup(shutil.rmtree, data, ignore_errors=True)
        with tarfile.open(archive) as packed:
            packed.extractall(data, filter="data")
        with open(os.path.join(data, "told.json"), encoding="utf-8") as stream:
            told = json.load(stream)
        suite = self.own_suite(data=data)
        suite.up()
        client = suite.client()
        self.check(client, told["documents"])
        self.check_requests(client, told["documents"])
        self.check_watch(client, told["resume_token"])
        self.check_new_work(client)
        suite.restart()  # what was raised or written anew is read again
        del told["documents"]["ready-1"], told["documents"]["ready-2"]
        self.check(suite.client(), told["documents"])

    def check(self, client, documents):
        for name, entry in documents.items():
            wanted = entry["state"], entry["revision"]
            look = lambda name=name, wanted=wanted: self.found(client, name, wanted)
            found = wait_for(look, f"{name} {wanted}", PATIENCE)
            if entry["state"] == "DELETED":
                self.assertEqual(self.hits(client, name), [])
                continue
            self.assertEqual(found.content_sha256, entry["sha256"], name)
            hits = self.hits(client, name)
            self.assertEqual(bool(hits), entry["state"] == "READY", name)
            if len(hits) == 1:
                self.assertEqual(hits[0].text, entry["text"], name)
            self.assertEqual(len(hits), found.chunk_count, name)
        failed = [name for name, entry in documents.items() if entry["state"] == "FAILED"]
        listed = lambda: sorted(it.document_id for it in client.ListDeadLetters(collection_id="notes").dead_letters)
        wait_for(lambda: listed() == sorted(failed), f"the dead letters of {failed}", PATIENCE)

    @staticmethod
    def found(client, name, wanted):
        found = client.GetDocument(collection_id="notes", document_id=name).document
        return found if (state_name(found), found.revision) == wanted else None

    def hits(self, client, name):
        answer = client.Search(
            collection_id="notes", vector=VECTOR, exact=True, top_k=1000, filter=f'document_id = "{name}"'
        )
        return list(answer.hits)

    def check_requests(self, client, documents):
        """A request id of before the upgrade gives the same revision, and makes nothing new."""
        for name, entry in documents.items():
            if entry["state"] == "DELETED":
                continue
            answer = client.IngestDocument(
                collection_id="notes", document_id=name, text=entry["text"], request_id=f"{name}-{entry['revision']}"
            )
            self.assertEqual(answer.document.revision, entry["revision"], name)
        with self.assertRaises(grpc.RpcError) as caught:
            client.IngestDocument(collection_id="notes", document_id="ready-0", text="other", request_id="ready-0-1")
        self.assertEqual(Refusal(caught.exception).reason, "REQUEST_ID_CONFLICT")

    def check_watch(self, client, token):
        """A token of before the upgrade goes on where it stood."""
        watch = client.WatchDocuments(collection_id="notes", resume_token=token, deadline=20)
        self.assertNotEqual(next(iter(watch)).document.document_id, "")
        watch.cancel()

    def check_new_work(self, client):
        answer = client.IngestDocument(
            collection_id="notes", document_id="ready-1", text="after the upgrade", wait=PATIENCE
        )
        self.assertEqual((state_name(answer.document), answer.document.revision), ("READY", 2), answer)
        self.assertEqual(outcome_name(answer), "REPLACED")
        client.DeleteDocument(collection_id="notes", document_id="ready-2")
        self.assertEqual(self.hits(client, "ready-2"), [])
        answer = client.RetryDocument(collection_id="notes", document_id="failed")
        self.assertEqual(answer.document.run, 2)
        self.assertIsNotNone(
            wait_for(lambda: self.found(client, "failed", ("FAILED", 1)), "the retry to fail again", PATIENCE)
        )


if __name__ == "__main__":
    harness.main()
