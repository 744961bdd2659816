"""One byte is flipped in a file of a database: never a wrong answer.

Each kind of file that RocksDB keeps, in each service in turn (those that are alike everywhere in one of them). Either
the damage has no effect; or the service heals; or it stops, and its log says in a sentence what is damaged and what
to do. What clients are told meanwhile is right or no answer. WEIR_SEED picks the bytes.
"""

import collections
import glob
import os
import random
import shutil
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import COLLECTION, ChaosTest, harness  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
DOCUMENTS = int(os.environ.get("WEIR_DOCUMENTS", "250"))
FLIPS = int(os.environ.get("WEIR_FLIPS", "1"))  # of each kind in each service
KINDS = {"table": "*.sst", "manifest": "MANIFEST-*", "blob": "*.blob", "current": "CURRENT", "options": "OPTIONS-*"}
ALIKE = ("current", "options")
SAMPLE = 12
ANSWER_S = 180  # until every answer is right
GONE, BAD, PLAIN = range(0, 20), range(20, 30), range(30, DOCUMENTS)
WORDS = "mill brook wheel stone grain sack dust weir river bridge".split()


WalRecord = collections.namedtuple("WalRecord", "sequence count place size")


def wal_records(path):
    """The commits of one of RocksDB's logs, in the layout that common/store/wal.c describes."""
    with open(path, "rb") as stream:
        log = stream.read()
    records, at, number = [], 0, None
    while len(log) - at >= 11:
        left = 32768 - at % 32768
        if left < 11:  # no header fits into the block
            at += left
            continue
        size, kind, its = struct.unpack_from("<HBI", log, at + 4)
        number = its if number is None else number
        if kind < 5 or its != number:  # what the file held when it had another name
            break
        if kind in (5, 6):  # the only or the first part of a batch
            records.append(WalRecord(*struct.unpack_from("<QI", log, at + 11), at + 11, size))
        at += 11 + size
    return records


def synced_of(folder):
    with open(os.path.join(folder, "SYNCED"), "rb") as stream:
        return int.from_bytes(stream.read(8), "big")


def text_of(index):
    generator = random.Random(index)
    return f"Document {index} has the mark{index}x. " + " ".join(generator.choices(WORDS, k=400))


class DamageTest(ChaosTest):
    def setUp(self):
        self.suite = self.rig(["store.cache_bytes=4MiB"]).up()
        self.client = self.collection(self.suite, chunking={"max_tokens": 256})
        for index in range(DOCUMENTS):
            self.write(index)
        self.settle(self.suite, self.client)
        for index in GONE:
            self.client.stubborn("DeleteDocument", collection_id=COLLECTION, document_id=f"d{index}")
        self.suite.wait_quiet()
        self.generator = random.Random(SEED)
        self.last = ""

    def write(self, index):
        self.client.stubborn(
            "IngestDocument", collection_id=COLLECTION, document_id=f"d{index}",
            text=" \n" if index in BAD else text_of(index), request_id=f"w{index}",
        )

    def test_a_flipped_byte_is_never_a_wrong_answer(self):
        pristine = self.keep_pristine()
        outcomes = []
        for service in harness.SERVICES:
            for kind, pattern in KINDS.items():
                if kind in ALIKE and service != harness.SERVICES[SEED % len(harness.SERVICES)]:
                    continue
                found = sorted(glob.glob(os.path.join(pristine, service, "db", pattern)), key=os.path.getsize)
                for path in found[-1:] * FLIPS:  # the largest holds most
                    outcomes.append(self.one(pristine, service, kind, path, SAMPLE))
        self.report(outcomes)

    def test_a_flipped_byte_in_a_log_is_never_a_wrong_answer(self):
        """What was written last stands in a log alone: what the byte takes with it may be acknowledged."""
        pristine = self.keep_pristine()
        outcomes = []
        for service in harness.SERVICES:
            found = sorted(glob.glob(os.path.join(pristine, service, "db", "*.log")), key=os.path.getsize)
            for path in found[-1:] * FLIPS:
                outcomes.append(self.one(pristine, service, "log", path, DOCUMENTS))
        self.report(outcomes)

    def test_a_flipped_byte_at_either_end_of_a_log_is_found(self):
        """Nothing in a log tells its end from damage there."""
        pristine = self.keep_pristine()
        for service in reversed(harness.SERVICES):
            path = max(glob.glob(os.path.join(pristine, service, "db", "*.log")))
            records = wal_records(path)
            synced = synced_of(os.path.dirname(path))
            last = max(record for record in records if record.sequence <= synced)
            self.assertEqual(last.sequence + last.count - 1, synced, f"the last synced commit of {service}")
            for record in (records[0], last):
                places = (record.place, record.place + record.size)
                kind, outcome = self.one(pristine, service, "log", path, DOCUMENTS, places)
                self.assertEqual((kind, outcome), ("log", "stopped"))
        self.make_do()

    def make_do(self):
        """The gateway's log has lost its last commit: all before that comes back."""
        words = [harness.WEIR, "restore", "--in-place", "--data", self.suite.data]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        self.assertEqual(self.start_and_look("gateway", DOCUMENTS), "healed")

    def keep_pristine(self):
        """Copies of all databases after a SIGKILL."""
        self.stop_all()
        pristine = os.path.join(self.suite.data, "pristine")
        for service in harness.SERVICES:
            shutil.copytree(self.suite.database(service), os.path.join(pristine, service))
        return pristine

    def one(self, pristine, service, kind, path, documents, places=None):
        """`places`: from where to where in the file the byte is; else in its middle."""
        for name in harness.SERVICES:
            shutil.rmtree(self.suite.database(name), ignore_errors=True)
            shutil.copytree(os.path.join(pristine, name), self.suite.database(name))
            open(self.suite.log_path(name), "w", encoding="utf-8").close()
        place = self.flip(os.path.join(self.suite.database(service), "db", os.path.basename(path)), places)
        what = f"{service} {kind} {os.path.basename(path)} at {place}"
        try:
            outcome = self.start_and_look(service, documents)
        except AssertionError as error:
            self.fail(f"{what}: {error}")
        finally:
            self.stop_all()
        print(f"{what}: {outcome}", flush=True)
        return kind, outcome.split(":")[0]

    def flip(self, path, places):
        with open(path, "r+b") as stream:
            size = stream.seek(0, os.SEEK_END)
            place = self.generator.randrange(*(places or (size * 1 // 4, max(size * 3 // 4, 1))))
            stream.seek(place)
            byte = stream.read(1)
            stream.seek(place)
            stream.write(bytes([byte[0] ^ (1 << self.generator.randrange(8))]))
        return place

    def stop_all(self):
        for name in harness.SERVICES:
            self.suite.let_end(name)
            self.suite.kill(name)

    # ---- after the start ----

    def start_and_look(self, service, documents):
        for name in harness.SERVICES:
            self.suite.start(name)
            if name != service:
                self.suite.kept.add(name)
        process = self.suite.processes[service]
        until = time.monotonic() + ANSWER_S
        wrong, left = [], {"?"}
        while time.monotonic() < until and not wrong:
            if process.poll() is not None:
                return self.judge_end(service, process)
            wrong, left = self.look(documents)
            if not left and not wrong:
                return "healed" if self.era() > 1 else "no effect"
        self.assertEqual(wrong, [], "wrong answers")
        raise AssertionError(f"after {ANSWER_S} s no right answer for {sorted(left)[:5]} of {len(left)}: {self.last}")

    def era(self):
        return self.client.stubborn("GetServerInfo").era

    def judge_end(self, service, process):
        """It ended by itself: the log must say what is damaged and what to do."""
        errors = [line for line in self.suite.log_of(service).splitlines() if '"level":"error"' in line]
        self.assertNotEqual(process.returncode, 0)
        self.assertGreater(process.returncode, 0, f"it was killed by signal {-process.returncode}: {errors[-2:]}")
        self.assertTrue(any('"CORRUPT"' in line for line in errors), errors)
        self.assertTrue(
            any("restore" in line or "delete" in line or "remove" in line for line in errors), f"what to do? {errors}"
        )
        return f"stopped: {errors[-1][:300]}"

    def look(self, documents):
        """Wrong answers, and documents whose right answer has not come."""
        wrong, left = [], set()
        some = [*GONE[:3], *BAD[:3], *self.generator.sample(PLAIN, SAMPLE)]
        sample = range(DOCUMENTS) if documents == DOCUMENTS else some
        for index in sample:
            try:
                problem = self.check_document(index)
            except harness.grpc.RpcError as error:
                problem = None if error.code() == harness.grpc.StatusCode.NOT_FOUND else ""
                if problem is None:
                    wrong.append(f"d{index} is not found")
                left.add(index)
                self.last = str(harness.Refusal(error))
                if self.ended():
                    break
                continue
            if problem == "not yet":
                left.add(index)
            elif problem:
                wrong.append(problem)
        return wrong, left

    def ended(self):
        return any(process.poll() is not None for process in self.suite.processes.values())

    def check_document(self, index):
        found = self.client.call("GetDocument", deadline=3, collection_id=COLLECTION, document_id=f"d{index}").document
        state = harness.state_name(found)
        hits = self.client.call(
            "Search", deadline=3, collection_id=COLLECTION, text=text_of(index)[:200], exact=True, top_k=1000,
            filter=f'document_id = "d{index}"',
        ).hits
        if index in GONE or index in BAD:
            expected = "DELETED" if index in GONE else "FAILED"
            return None if state == expected and not hits else f"d{index} is {state}, and is found {len(hits)} times"
        if state in ("PENDING", "PROCESSING"):
            return "not yet" if not hits else None
        ordinals = sorted(hit.ordinal for hit in hits)
        if state != "READY" or ordinals != list(range(found.chunk_count)):
            return f"d{index} is {state} with {found.chunk_count} chunks, found with {ordinals}"
        if any(hit.text not in text_of(index) for hit in hits):
            return f"d{index} is found with a wrong text"
        return None

    def report(self, outcomes):
        shown = {}
        for kind, outcome in outcomes:
            shown.setdefault(kind, []).append(outcome)
        print(f"damage: seed {SEED}, {len(outcomes)} flips, no wrong answer: {shown}", flush=True)


if __name__ == "__main__":
    harness.main()
