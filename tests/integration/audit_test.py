"""The audit against damage planted in the databases of a stopped suite, and against a healthy suite under kills.

What the table repairs must be found, put right, and gone from the gauge; what a person decides must stay listed until
it is decided.  A healthy suite must never have had one inconsistency, whatever is killed meanwhile.
"""

import os
import random
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import harness
from harness import BUILD, SERVICES, state_name, wait_for

STORE_EDIT = os.path.join(BUILD, "tests", "store-edit")
SEED = int(os.environ.get("WEIR_SEED", random.SystemRandom().randrange(1 << 32)))
LOAD_S = float(os.environ.get("WEIR_SECONDS", "10"))
VERIFY = "/weir.internal.v1.IndexerService/VerifyIndex"
JOURNAL = "/weir.internal.v1.ReconcilerService/GetJournal"
TEXT = "The audit compares what five services know of the document {}. It is about {} and nothing else."
RESOLUTION = "INCONSISTENCY_RESOLUTION_"


def number(value):
    return value.to_bytes(8, "big")


def name(text):
    return text.encode() + b"\0"


class Store:
    """The database of a service that does not run."""

    def __init__(self, suite, service):
        self.command = [STORE_EDIT, os.path.join(suite.data, service), service]

    def run(self, *lines):
        done = subprocess.run(
            self.command, input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode != 0:
            raise AssertionError(f"store-edit {self.command[1]}: {done.stderr}")
        return done.stdout

    def list(self, prefix):
        found = {}
        for line in self.run(f"list {prefix.hex()}").splitlines():
            if line:
                key, value = line.split(" ")
                found[bytes.fromhex(key)] = bytes.fromhex(value)
        return found

    def put(self, key, value):
        self.run(f"put {key.hex()} {value.hex()}")

    def delete(self, prefix):
        if not self.list(prefix):
            raise AssertionError(f"nothing to delete below {prefix!r}")
        self.run(f"delete {prefix.hex()}")

    def copy(self, prefix, to):
        if not self.list(prefix):
            raise AssertionError(f"nothing to copy below {prefix!r}")
        self.run(f"copy {prefix.hex()} {to.hex()}")


def set_back(gateway, document):
    """READY to PENDING with everything that belongs to it, but without an entry in the backlog (custody)."""
    messages = harness.MESSAGES
    key = b"D" + number(1) + name(document)
    record = messages("weir.internal.v1.DocumentRecord").FromString(gateway.list(key)[key])
    revision = record.newest
    counters_key = b"N" + number(1)
    counters = messages("weir.internal.v1.CountersRecord").FromString(gateway.list(counters_key)[counters_key])
    counters.ready -= 1
    counters.pending += 1
    counters.chunks -= revision.chunk_count
    unready = messages("weir.internal.v1.UnreadyPageRecord")(
        collection_no=1, since_ms=revision.create_time_ms, sizes=[revision.size_bytes + 1],
    )
    revision.state = 1
    gateway.put(key, record.SerializeToString())
    gateway.put(counters_key, counters.SerializeToString())
    gateway.put(b"V" + number(revision.unready_no), unready.SerializeToString())


class AuditTest(harness.OwnSuiteTest):
    def start(self, *settings):
        self.suite = self.own_suite(settings)
        self.suite.up()
        self.client = self.suite.client()
        self.name = "audited"
        self.client.CreateCollection(collection={"collection_id": self.name, "embedding_model": harness.MODEL})

    # ---- what a client sees ----

    def ingest(self, document, text=None):
        answer = self.client.stubborn(
            "IngestDocument", collection_id=self.name, document_id=document,
            text=TEXT.format(document, document) if text is None else text,
        )
        return answer.document

    def get(self, document):
        return self.client.stubborn("GetDocument", collection_id=self.name, document_id=document).document

    def wait_state(self, document, *states):
        return wait_for(lambda: self.found_in(document, states), f"{document} to be {states}", 30)

    def found_in(self, document, states):
        found = self.get(document)
        return found if state_name(found) in states else None

    def hits(self, document=None):
        fields = {"filter": f'document_id = "{document}"'} if document else {}
        answer = self.client.stubborn(
            "Search", collection_id=self.name, vector={"values": [1.0] * 384}, top_k=1000, exact=True, **fields
        )
        return [(hit.document_id, hit.ordinal) for hit in answer.hits]

    def listed(self, resolved=False):
        answer = self.client.stubborn("ListInconsistencies", show_resolved=resolved, page_size=1000)
        return list(answer.inconsistencies)

    def metric(self, wanted):
        for line in self.suite.admin("gateway", "/metrics")[1].splitlines():
            if line.startswith(wanted + " "):
                return float(line.split()[1])
        raise AssertionError(f"there is no metric {wanted}")

    def audit(self, **fields):
        return self.client.call("RunAudit", deadline=60, **fields)

    def wait_closed(self, left=0):
        wait_for(lambda: self.metric("weir_inconsistencies") == left, f"{left} open inconsistencies", 45)
        self.assertEqual(len(self.listed()), left, self.listed())

    def events(self, document):
        reconciler = self.suite.client("reconciler")
        client = Inner(self.suite, "reconciler")
        try:
            return client.call(JOURNAL, tenant="default", collection_no=1, document_id=document).events
        finally:
            client.close()

    def assert_found(self, document, says, resolution):
        found = [it for it in self.listed(resolved=True) if it.document_id == document and says in it.message]
        self.assertEqual(len(found), 1, (document, says, self.listed(resolved=True)))
        self.assertEqual(enum_name(found[0].resolution), RESOLUTION + resolution, found)
        self.assertEqual(found[0].HasField("resolve_time"), resolution != "UNSPECIFIED")
        return found[0]


class Inner(harness.Client):
    """Calls over the Unix socket of a service."""

    def __init__(self, suite, service):
        super().__init__(f"unix:{suite.data}/run/{service}.grpc")


def enum_name(value):
    return harness.MESSAGES.enum_name("weir.v1.InconsistencyResolution", value)


class Planted(AuditTest):
    """One suite, stopped once, with damage of every kind in its databases."""

    GOOD = [f"good-{i}" for i in range(20)]
    DAMAGED = ["vector", "text", "register", "waiting", "lost", "foreign", "no-source"]
    FAILING = ["letterless", "lettered", "promise"]

    def key(self, tag, document, *numbers):
        return tag + number(1) + name(document) + b"".join(number(it) for it in numbers)

    def letter(self, document):
        return b"L" + name("default") + number(1) + name(document)

    def plant(self):
        indexer, gateway, reconciler = (Store(self.suite, it) for it in ("indexer", "gateway", "reconciler"))
        indexer.delete(self.key(b"V", "vector"))
        indexer.delete(self.key(b"K", "text"))
        indexer.delete(self.key(b"D", "register"))
        for tag in (b"D", b"K", b"M", b"V"):
            indexer.delete(self.key(tag, "lost"))
        indexer.delete(self.key(b"D", "promise"))
        for tag in (b"D", b"K", b"M", b"V"):
            indexer.copy(self.key(tag, "good-0"), self.key(tag, "orphan"))
        indexer.copy(self.key(b"K", "good-1", 1, 1), self.key(b"K", "good-1", 7, 7))
        set_back(gateway, "waiting")
        set_back(gateway, "lost")
        gateway.delete(self.key(b"S", "no-source"))
        reconciler.copy(self.letter("letterless") + number(1), self.letter("foreign") + number(1))
        reconciler.copy(self.letter("letterless") + number(1), self.letter("never-seen") + number(1))
        reconciler.delete(self.letter("letterless"))
        self.miscount(gateway)

    @staticmethod
    def miscount(gateway):
        key = b"N" + number(1)
        counters = harness.MESSAGES("weir.internal.v1.CountersRecord").FromString(gateway.list(key)[key])
        counters.ready += 3
        counters.failed = 0
        counters.documents -= 1
        counters.chunks += 1000
        gateway.put(key, counters.SerializeToString())

    def test_everything_planted_is_found_and_healed_or_listed(self):
        self.start("audit.documents_per_second=0")
        for document in self.GOOD + self.DAMAGED:
            self.ingest(document)
        for document in self.FAILING:
            self.ingest(document, text=" ")
        for document in self.GOOD + self.DAMAGED:
            self.wait_state(document, "READY")
        for document in self.FAILING:
            self.wait_state(document, "FAILED")
        wait_for(lambda: len(self.client.ListDeadLetters().dead_letters) == len(self.FAILING), "the dead letters")
        whole = sorted(self.hits())
        self.assertEqual(self.audit().inconsistency_count, 0)
        self.suite.down()
        self.plant()
        self.suite.up()
        self.client = self.suite.client()

        # What the indexer finds damaged at its start comes back without anybody's call; no search in between takes it
        # for absent (the stubborn search waits while it is told that the index is rebuilt).
        self.assertEqual(len(self.hits("vector")), len([it for it in whole if it[0] == "vector"]))
        self.wait_state("vector", "READY")
        self.wait_closed()
        self.assert_found("vector", "the indexer does not have it", "REDRIVE")

        before = self.run_two_at_once()
        self.assertEqual(before.inconsistency_count, before.repaired_count + 1, before)
        self.assertEqual(len(self.listed()), 0)
        self.check_run(before)
        self.check_healed(whole)
        self.decide()
        self.assertEqual(self.audit().inconsistency_count, 0)

    def run_two_at_once(self):
        """Each takes longer than a second, for what is seen twice: so one of them is refused."""
        with ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(self.audit, dry_run=True) for _ in range(2)]
        failed = [run.exception() for run in runs if run.exception()]
        self.assertEqual([it.code() for it in failed], [harness.grpc.StatusCode.RESOURCE_EXHAUSTED], failed)
        return next(run.result() for run in runs if not run.exception())

    def check_run(self, before):
        run = self.audit(request_id="run-1")
        self.assertEqual(run.inconsistency_count, before.inconsistency_count, (run, before))
        self.assertEqual(run.checked_count, len(self.GOOD + self.DAMAGED + self.FAILING))
        self.assertEqual(run.repaired_count, before.repaired_count)
        self.assertEqual(self.audit(request_id="run-1"), run)
        self.wait_closed(left=1)

    def check_healed(self, whole):
        for document in self.DAMAGED:
            self.wait_state(document, "READY")
        self.assert_found("text", "not whole", "REDRIVE")
        self.assert_found("register", "the indexer does not have it", "REDRIVE")
        self.assert_found("waiting", "READY and the gateway has not heard of it", "ADVANCE")
        self.assert_found("lost", "nobody works on it", "REDRIVE")
        self.assert_found("orphan", "never accepted", "ADVANCE")
        self.assert_found("good-1", "no revision owns", "ADVANCE")
        self.assert_found("foreign", "dead letter of a revision that is not FAILED", "ADVANCE")
        self.assert_found("never-seen", "dead letter of an unknown revision", "ADVANCE")
        self.assert_found("letterless", "it has no dead letter", "ADVANCE")
        self.assert_found("promise", "has not promised", "ADVANCE")
        self.assert_found("", "the counters of the collection say", "ADVANCE")
        collection = self.client.GetCollection(collection_id=self.name).collection
        self.assertEqual(collection.document_count, len(self.GOOD + self.DAMAGED + self.FAILING))
        self.assertEqual(collection.chunk_count, len(whole))
        self.assertEqual(sorted(self.hits()), whole)
        self.assertEqual(self.hits("orphan"), [])
        letters = {letter.document_id: letter for letter in self.client.ListDeadLetters().dead_letters}
        self.assertEqual(set(letters), set(self.FAILING))
        self.assertEqual(letters["letterless"].failure.reason, "EMPTY")
        self.assertEqual(self.get("lost").run, 2)
        self.assertEqual(self.get("waiting").run, 1)
        audited = [event for event in self.events("lost") if event.message]
        self.assertEqual(len(audited), 1, audited)
        indexer = Inner(self.suite, "indexer")
        self.addCleanup(indexer.close)
        self.assertEqual(list(indexer.call(VERIFY).findings), [])
        pressure = self.client.GetPressure().pressure
        self.assertEqual((pressure.pending, pressure.processing, pressure.failed), (0, 0, len(self.FAILING)))
        self.assertEqual(pressure.ready, len(self.GOOD + self.DAMAGED))

    def decide(self):
        """A document whose source is gone waits for a person; DISMISS is final while nothing changes."""
        self.assertEqual(self.client.GetPressure().pressure.inconsistencies, 1)
        open_one = self.listed()[0]
        self.assertEqual((open_one.document_id, open_one.proposed_resolution), ("no-source", 0))
        with self.assertRaises(harness.grpc.RpcError) as caught:
            self.client.ResolveInconsistency(
                inconsistency_id=open_one.inconsistency_id, resolution=RESOLUTION + "REDRIVE"
            )
        self.assertEqual(caught.exception.code(), harness.grpc.StatusCode.FAILED_PRECONDITION)
        decision = {"inconsistency_id": open_one.inconsistency_id, "resolution": RESOLUTION + "DISMISS"}
        done = self.client.ResolveInconsistency(request_id="decide-1", **decision)
        self.assertEqual(self.client.ResolveInconsistency(request_id="decide-1", **decision), done)
        self.assertEqual(self.client.ResolveInconsistency(**decision).inconsistency, done.inconsistency)
        self.assertTrue(done.inconsistency.HasField("resolve_time"))
        self.wait_closed()


class Tombstones(AuditTest):
    """Tombstones that only the indexer has: of what is deleted anyway they go, of others a person decides."""

    def entomb(self, indexer, document, revision):
        key = b"D" + number(1) + name(document)
        register = harness.MESSAGES("weir.internal.v1.IndexDocumentRecord").FromString(indexer.list(key)[key])
        register.deleted_below = revision
        for field in ("ready_revision", "ready_epoch", "ready_chunk_count", "ready_token_count", "ready_time_ms"):
            register.ClearField(field)
        indexer.put(key, register.SerializeToString())

    def resolve(self, document, resolution):
        found = next(it for it in self.listed() if it.document_id == document)
        self.client.ResolveInconsistency(inconsistency_id=found.inconsistency_id, resolution=RESOLUTION + resolution)

    def test_they_can_be_taken_and_undone(self):
        self.start("audit.documents_per_second=0")
        for document in ("taken", "undone", "deleted"):
            self.ingest(document)
            self.wait_state(document, "READY")
        self.client.DeleteDocument(collection_id=self.name, document_id="deleted")
        self.suite.down()
        indexer = Store(self.suite, "indexer")
        self.entomb(indexer, "taken", 7)  # of revisions that are yet to come
        self.entomb(indexer, "undone", 1)
        self.entomb(indexer, "deleted", 9)
        self.suite.up()
        self.client = self.suite.client()
        run = self.audit()
        self.assertEqual((run.inconsistency_count, run.repaired_count), (3, 1), run)
        self.assertEqual({it.document_id for it in self.listed() if it.proposed_resolution == 0}, {"taken", "undone"})
        self.resolve("taken", "ADVANCE")
        self.resolve("undone", "REDRIVE")
        self.assertEqual(self.wait_state("undone", "READY").run, 2)
        self.wait_state("taken", "DELETED")
        self.assertEqual((len(self.hits("taken")), len(self.hits("undone"))), (0, 1))
        self.wait_closed()
        for document in ("taken", "deleted"):
            self.ingest(document)
            self.assertEqual(self.wait_state(document, "READY").revision, 3)
        self.assertEqual(self.audit().inconsistency_count, 0)


class Healthy(AuditTest):
    """Nothing is ever counted while services die at work."""

    def work(self, worker, until):
        generator = random.Random(SEED + worker)
        while time.monotonic() < until:
            document = f"d{worker}-{generator.randrange(40)}"
            fate = generator.random()
            if fate < 0.15:
                self.client.stubborn(
                    "DeleteDocument", collection_id=self.name, document_id=document, allow_missing=True
                )
            elif fate < 0.25:
                self.ingest(document, text=" ")
            else:
                self.ingest(document, text=TEXT.format(document, generator.randrange(10**9)))

    def test_a_healthy_suite_shows_none_under_load_and_kills(self):
        print(f"WEIR_SEED={SEED}", flush=True)
        self.start("audit.interval=1s", "audit.documents_per_second=2000", "gateway.status_interval_ms=200")
        generator = random.Random(SEED)
        until = time.monotonic() + LOAD_S
        threads = [threading.Thread(target=self.work, args=(worker, until)) for worker in range(4)]
        for thread in threads:
            thread.start()
        kills = 0
        while time.monotonic() < until - 1:
            threading.Event().wait(0.3 + generator.random())  # the work between two kills
            kills += self.suite.kill(generator.choice(SERVICES)) > 0
        for thread in threads:
            thread.join()
        self.suite.wait_serving()
        self.client.stubborn("WaitCollection", each=60, collection_id=self.name, timeout=50)
        run = self.audit()
        print(f"{kills} kills, {run.checked_count} documents", flush=True)
        self.assertEqual(run.inconsistency_count, 0, run)
        self.assertEqual(self.listed(resolved=True), [])
        wait_for(lambda: self.metric("weir_audit_pass_age_seconds") > 0, "a whole pass", 30)
        self.assertEqual(self.metric("weir_inconsistencies"), 0)


    def test_none_while_lost_volumes_are_brought_back(self):
        self.start("audit.interval=1s", "audit.documents_per_second=2000", "gateway.status_interval_ms=200")
        good = [f"d-{i}" for i in range(60)]
        bad = [f"bad-{i}" for i in range(5)]
        for document in good:
            self.ingest(document)
        for document in bad:
            self.ingest(document, text=" ")
        self.client.DeleteDocument(collection_id=self.name, document_id=good.pop())
        self.client.stubborn("WaitCollection", each=60, collection_id=self.name, timeout=50)
        for service in ("indexer", "reconciler", "embedder"):
            self.suite.down()
            shutil.rmtree(os.path.join(self.suite.data, service))
            self.suite.up()
            self.client = self.suite.client()
            for document in good:
                self.wait_state(document, "READY")
            wait_for(lambda: len(self.client.ListDeadLetters().dead_letters) == len(bad), "the dead letters")
            self.assertEqual(self.audit().inconsistency_count, 0, service)
            self.assertEqual(self.listed(resolved=True), [], service)


if __name__ == "__main__":
    harness.main()
