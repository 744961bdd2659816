"""Backup and restore of the real programs: what was acknowledged before the backup is there after the restore.

Everything that was acknowledged before `weir backup` began must come back: READY documents READY and found, in the
newest revision that was acknowledged, deleted ones deleted, FAILED ones FAILED with one dead letter.  What came after
it may be lost, and nothing of it may shine through.
"""

import contextlib
import os
import random
import shutil
import subprocess
import threading

import compare
import grpc

import harness
from harness import MODEL, SERVICES, WEIR, OwnSuiteTest, Refusal, Suite, state_name, wait_for

VECTOR = {"values": [1.0] * 384}
PATIENCE = 60
OK, ERROR, USAGE, NOT_FOUND, CONFLICT = 0, 1, 2, 3, 8


def weir(*arguments, status=OK, timeout=120):
    """What the program said; it must end with that status."""
    done = subprocess.run(
        [WEIR, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=timeout, check=False,
    )
    if done.returncode != status:
        raise AssertionError(f"weir {' '.join(arguments)} ended with {done.returncode}, not {status}:\n{done.stdout}")
    return done.stdout


def text_of(document, revision, parts=1):
    return f"The document {document} in revision {revision} is here. " * parts


class Databases(compare.Comparison):
    """The five databases against each other, without a history."""

    def __init__(self, scan):
        super().__init__(scan, None)

    def check_acknowledged(self):
        pass

    def check_contents(self):
        pass


class BackupTest(OwnSuiteTest):
    """A suite, what it was told, and copies of it."""

    def setUp(self):
        self.dir = os.path.join("/tmp", f"weir-backup-{random.SystemRandom().randrange(1 << 40):x}")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def new_suite(self, data=None):
        if data is not None:
            self.addCleanup(shutil.rmtree, data, ignore_errors=True)
        return self.own_suite(data=data)

    def new_folder(self):
        return f"{self.dir}-data-{random.SystemRandom().randrange(1 << 40):x}"

    # -- what happens to documents --

    def fill(self, client, collection="c", count=40):
        """Documents in every state; what must be seen of each: (state, revision)."""
        client.CreateCollection(collection={"collection_id": collection, "embedding_model": MODEL})
        told = {}
        for number in range(count):
            name = f"d{number:03}"
            client.IngestDocument(collection_id=collection, document_id=name, text=text_of(name, 1))
            told[name] = ("READY", 1)
        for number in range(0, count, 5):
            name = f"d{number:03}"
            client.IngestDocument(collection_id=collection, document_id=name, text=text_of(name, 2), wait=PATIENCE)
            told[name] = ("READY", 2)
        for number in range(1, count, 5):
            name = f"d{number:03}"
            client.DeleteDocument(collection_id=collection, document_id=name)
            told[name] = ("DELETED", 2)
        client.IngestDocument(
            collection_id=collection, document_id="large", text=text_of("large", 1, 3000), wait=PATIENCE
        )
        told["large"] = ("READY", 1)
        for name in ("bad-1", "bad-2"):
            client.IngestDocument(collection_id=collection, document_id=name, text=" \n", wait=PATIENCE)
            told[name] = ("FAILED", 1)
        self.assertTrue(client.WaitCollection(collection_id=collection, timeout=PATIENCE - 5).settled)
        return told

    @staticmethod
    def fill_late(client, collection="c"):
        """Documents that are under way when the copies are taken."""
        for number in range(20):
            client.IngestDocument(collection_id=collection, document_id=f"late-{number}", text=text_of(number, 1))
        return {f"late-{number}": ("READY", 1) for number in range(20)}

    @staticmethod
    def state(client, collection, name):
        try:
            document = client.call("GetDocument", deadline=5, collection_id=collection, document_id=name).document
        except grpc.RpcError as error:
            return Refusal(error).code, 0
        return state_name(document), document.revision

    def wait_until_told(self, client, told, collection="c"):
        """Until every document is what was acknowledged."""

        def differences():
            self.differ = {}
            for name, wanted in told.items():
                state, revision = self.state(client, collection, name)
                if (state, revision) != wanted:
                    self.differ[name] = (wanted, state, revision)
                if revision > wanted[1] or (revision == wanted[1] and wanted[0] in ("FAILED", "DELETED")):
                    self.assertNotIn(name, self.differ, self.differ)
            return not self.differ

        try:
            wait_for(differences, "what was acknowledged", PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.differ}") from error

    def hits(self, client, name, collection="c"):
        try:
            return list(
                client.call(
                    "Search", collection_id=collection, vector=VECTOR, exact=True, top_k=1000,
                    filter=f'document_id = "{name}"',
                ).hits
            )
        except grpc.RpcError as error:
            self.assertEqual(Refusal(error).reason, "INDEX_REBUILDING", Refusal(error))
            return None

    def check_found(self, client, told, collection="c"):
        """Found if and only if READY, in the right revision, every chunk once."""
        for name, (state, revision) in told.items():
            hits = wait_for(lambda name=name: self.answered(client, name, collection), f"a search for {name}")[0]
            self.assertEqual(state == "READY", bool(hits), (name, state, hits))
            self.assertEqual({hit.revision for hit in hits}, {revision} if hits else set(), name)
            ordinals = [hit.ordinal for hit in hits]
            self.assertEqual(len(ordinals), len(set(ordinals)), name)

    def answered(self, client, name, collection):
        hits = self.hits(client, name, collection)
        return None if hits is None else (hits,)

    def check_letters(self, client, told, collection="c"):
        failed = sorted(name for name, (state, _) in told.items() if state == "FAILED")

        def listed():
            letters = client.ListDeadLetters(collection_id=collection, page_size=100).dead_letters
            self.letters = sorted(letter.document_id for letter in letters)
            return self.letters == failed

        try:
            wait_for(listed, "the dead letters")  # the gateway knows of a failure a little before
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.letters}, not {failed}") from error

    def check_counts(self, client, told, collection="c"):
        """Counters, list and what was acknowledged agree."""
        states = [state for state, _ in told.values()]
        listed = client.ListDocuments(collection_id=collection, page_size=1000, show_deleted=True).documents
        self.assertEqual({document.document_id for document in listed}, set(told))
        names = ("pending", "processing", "ready", "failed", "dead_letters", "inconsistencies")
        wanted = [0, 0, states.count("READY"), states.count("FAILED"), states.count("FAILED"), 0]

        def counted():
            pressure = client.GetPressure(collection_id=collection).pressure
            self.counted = [getattr(pressure, name) for name in names]
            return self.counted == wanted

        try:
            wait_for(counted, "the counters to agree")  # those of the reconciler are looked at now and then
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.counted} of {names}, not {wanted}") from error

    def check(self, client, told, collection="c"):
        self.wait_until_told(client, told, collection)
        self.check_found(client, told, collection)
        self.check_letters(client, told, collection)
        self.check_counts(client, told, collection)
        self.check_audit(client)

    def check_audit(self, client):
        """The services' own comparison finds nothing; dry, so that it does not mend what it is to find."""

        def audit():
            self.found = client.call("RunAudit", deadline=60, dry_run=True)
            return self.found.inconsistency_count == 0 and self.found.checked_count > 0

        try:
            wait_for(audit, "an audit that finds nothing")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.found} {client.ListInconsistencies()}") from error

    def check_works(self, client, collection="c"):
        """New work of every kind, on a document that is there and on a new one."""
        for name, revision in (("d002", 2), ("new", 1)):
            answer = client.IngestDocument(
                collection_id=collection, document_id=name, text=f"another {name}", wait=PATIENCE
            )
            self.assertEqual((state_name(answer.document), answer.document.revision), ("READY", revision), answer)
        client.DeleteDocument(collection_id=collection, document_id="d003")
        self.assertEqual(self.hits(client, "d003", collection), [])
        self.assertEqual(self.state(client, collection, "d003")[0], "DELETED")

    def check_databases(self, suite):
        """All is quiet: what each database holds agrees with the others, and no source is kept that nobody needs."""
        for _ in range(4):  # the last rows of a link may be under way when it is ended: then it goes on first
            wait_for(lambda: len({self.era(suite, service) for service in SERVICES}) == 1, "one era everywhere")
            suite.down()
            found = self.scan(suite)
            if not found:
                return
            suite.up()
        self.assertEqual(found, [])

    @staticmethod
    def scan(suite):
        path = os.path.join(suite.data, "scan.jsonl")
        with open(path, "w", encoding="utf-8") as stream:
            subprocess.run([os.path.join(harness.BUILD, "tests", "weir-scan"), suite.data], stdout=stream, check=True)
        return [str(violation) for violation in Databases(compare.Scan.read(path)).run()]

    @staticmethod
    def era(suite, service="gateway"):
        return suite.client(service).call("/weir.internal.v1.StageService/GetStageStatus").era

    # -- all databases --

    def test_everything_that_was_acknowledged_before_a_backup_is_there_after_the_restore(self):
        suite = self.new_suite().up()
        client = suite.client()
        told = self.fill(client)
        token = self.token(client, "d000")
        late = self.fill_late(client)
        stop = threading.Event()
        writer = threading.Thread(target=self.write, args=(suite.client(), stop))
        writer.start()  # so that the copies are taken of databases in use
        said = weir("backup", self.dir, "--data", suite.data)
        stop.set()
        writer.join()
        self.assertIn("five databases", said)
        weir("restore", self.dir, "--verify")
        self.assertEqual(sorted(os.listdir(self.dir)), sorted([*SERVICES, "manifest.json"]))

        # The later life, of which nothing may be seen after the restore.
        client.DeleteDocument(collection_id="c", document_id="d002")
        client.IngestDocument(collection_id="c", document_id="d004", text=text_of("d004", 2), wait=PATIENCE)
        client.IngestDocument(collection_id="c", document_id="d001", text=text_of("d001", 3), wait=PATIENCE)
        later = self.token(client, "d001")
        era = self.era(suite)
        self.check_running_is_refused(suite)
        suite.down()

        data = self.new_folder()
        said = weir("restore", self.dir, "--data", data)
        self.assertIn("restored all databases", said)
        other = self.new_suite(data).up()
        client = other.client()
        self.check_found(client, told)  # from the first moment on: found, or refused
        self.check(client, {**told, **late})
        self.assertGreater(self.era(other), era)
        self.check_works(client)
        self.check_tokens(client, token, later)

        # The id of the restore was taken once: another start raises nothing.
        era = self.era(other)
        other.restart()
        self.assertEqual(self.era(other), era)
        self.assertEqual(self.state(other.client(), "c", "d000"), ("READY", 2))
        self.assertTrue(other.client().WaitCollection(collection_id="w", timeout=PATIENCE - 5).settled)
        self.check_databases(other)

    @staticmethod
    def token(client, name):
        watch = client.WatchDocuments(collection_id="c", document_ids=[name], deadline=20)
        token = next(iter(watch)).resume_token
        watch.cancel()
        return token

    def check_tokens(self, client, token, later):
        """A watch goes on after what it saw before the backup, and is told when that is gone."""
        watch = client.WatchDocuments(collection_id="c", resume_token=token, deadline=20)
        self.assertEqual(next(iter(watch)).document.collection_id, "c")
        watch.cancel()
        with self.assertRaises(grpc.RpcError) as caught:
            next(iter(client.WatchDocuments(collection_id="c", resume_token=later, deadline=20)))
        self.assertEqual(Refusal(caught.exception).reason, "RESUME_TOKEN_TOO_OLD")

    def write(self, client, stop):
        number = 0
        while not stop.is_set():
            name = f"w{number % 50}"
            client.stubborn("IngestDocument", collection_id="w", document_id=name, text=f"writing {number}")
            number += 1

    def check_running_is_refused(self, suite):
        said = weir("restore", self.dir, "--data", suite.data, "--replace", status=CONFLICT)
        self.assertIn("runs on", said)
        self.assertFalse(os.path.exists(os.path.join(suite.data, "restoring")))

    # -- the gateway alone --

    def other_disk(self):
        """A folder on a file system where nothing of the suite's can be linked to; where there is none, any."""
        if os.path.isdir("/dev/shm") and os.stat("/dev/shm").st_dev != os.stat("/tmp").st_dev:
            self.dir = self.dir.replace("/tmp/", "/dev/shm/")
            self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def test_a_gateway_restored_alone_heals_the_others_and_nothing_newer_shines_through(self):
        self.other_disk()
        suite = self.new_suite().up()
        client = suite.client()
        told = self.fill(client)
        weir("backup", self.dir, "--data", suite.data)

        # A collection whose number the restored gateway gives out again, and revisions beyond the backup's.
        client.CreateCollection(collection={"collection_id": "later", "embedding_model": MODEL})
        client.IngestDocument(collection_id="later", document_id="ghost", text="nobody may see this", wait=PATIENCE)
        for _ in range(3):
            client.IngestDocument(collection_id="c", document_id="d002", text=f"later {random.random()}", wait=PATIENCE)
        client.DeleteDocument(collection_id="c", document_id="d003")
        suite.down()

        said = weir("restore", self.dir, "--data", suite.data, status=CONFLICT)
        self.assertIn("--replace", said)
        said = weir("restore", self.dir, "--data", suite.data, "--replace", "--only-gateway")
        self.assertIn("the gateway's database", said)
        self.assertIn("replaced-", said)
        suite.up()
        client = suite.client()
        self.check_found(client, told)
        self.check(client, told)
        client.CreateCollection(collection={"collection_id": "other", "embedding_model": MODEL})
        self.assertEqual(list(client.Search(collection_id="other", vector=VECTOR, exact=True, top_k=10).hits), [])
        self.check_works(client)
        self.check_databases(suite)

    def test_a_gateway_put_back_by_hand_stops_and_in_place_makes_a_suite_of_it(self):
        suite = self.new_suite().up()
        client = suite.client()
        told = self.fill(client, count=10)
        weir("backup", self.dir, "--data", suite.data)
        for number in range(20):
            client.IngestDocument(
                collection_id="c", document_id=f"later-{number}", text="not in the backup", wait=PATIENCE
            )
        suite.down()
        db = os.path.join(suite.data, "gateway", "db")
        shutil.rmtree(db)
        shutil.copytree(os.path.join(self.dir, "gateway"), db)
        supervisor = subprocess.Popen(
            suite.arguments(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.addCleanup(supervisor.wait, PATIENCE)
        wait_for(lambda: "weir restore --in-place" in suite.log_tails(), "the gateway to say what to do")
        suite.down()
        weir("restore", "--in-place", "--data", suite.data)
        suite.up()
        self.check_found(suite.client(), told)
        self.check(suite.client(), told)
        self.check_databases(suite)

    # -- what is refused, before anything is changed --

    def test_a_backup_that_is_not_whole_is_refused_and_half_a_restore_never_starts(self):
        suite = self.new_suite().up()
        client = suite.client()
        told = self.fill(client, count=10)
        weir("backup", self.dir, "--data", suite.data)
        self.assertIn("is a backup already", weir("backup", self.dir, "--data", suite.data, status=CONFLICT))
        suite.down()
        self.assertIn("suite that runs", weir("backup", self.dir + "-2", "--data", suite.data, status=6))
        shutil.rmtree(self.dir + "-2", ignore_errors=True)

        manifest = os.path.join(self.dir, "manifest.json")
        data = self.new_folder()
        os.rename(manifest, manifest + ".part")  # as a backup that was cut off leaves it
        self.assertIn("not finished", weir("restore", self.dir, "--data", data, status=NOT_FOUND))
        os.rename(manifest + ".part", manifest)
        for service in SERVICES:
            path = self.flip(os.path.join(self.dir, service))
            self.assertIn("is damaged", weir("restore", self.dir, "--verify", status=ERROR))
            self.assertIn("is damaged", weir("restore", self.dir, "--data", data, status=ERROR))
            self.flip(None, path)
        self.assertFalse(os.path.exists(data))

        # A restore that was cut off: the mark is there, the databases are not.
        self.addCleanup(shutil.rmtree, data, ignore_errors=True)
        os.makedirs(os.path.join(data, "gateway"))
        with open(os.path.join(data, "restoring"), "w", encoding="ascii"):
            pass
        other = self.new_suite(data)
        done = other.try_up()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("half a restore", other.log_tails())
        self.assertFalse(os.path.exists(os.path.join(data, "gateway", "db")))
        weir("restore", self.dir, "--data", data, "--replace")
        other.up()
        self.check(other.client(), told)

    def test_a_backup_while_services_or_itself_are_killed_is_whole_or_none(self):
        suite = self.new_suite().up()
        client = suite.client()
        told = self.fill(client, count=10)
        whole = None
        outcomes = []
        for number in range(8):
            folder = f"{self.dir}-{number}"
            self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
            backup = subprocess.Popen(
                [WEIR, "backup", folder, "--data", suite.data], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            threading.Event().wait(random.uniform(0, 0.15))
            if number % 2 == 0:
                backup.kill()
            else:
                suite.kill(random.choice(SERVICES))
            status = backup.wait(60)
            outcomes.append(status)
            self.assertEqual(os.path.exists(os.path.join(folder, "manifest.json")), status == 0 or (
                status < 0 and self.is_whole(folder)), (folder, status))
            if status == 0:
                weir("restore", folder, "--verify")
                whole = folder
            suite.wait_serving()
        print(f"backups under kills ended with {outcomes}", flush=True)
        if whole is None:
            whole = self.dir
            weir("backup", whole, "--data", suite.data)
        suite.down()
        weir("restore", whole, "--data", suite.data, "--replace")
        suite.up()
        self.check(suite.client(), told)

    @staticmethod
    def is_whole(folder):
        """The program was killed after its last write: then the backup must be one."""
        if not os.path.exists(os.path.join(folder, "manifest.json")):
            return False
        weir("restore", folder, "--verify")
        return True

    @staticmethod
    def flip(folder, path=None):
        """One bit of the largest file of a folder, or of a path again."""
        if path is None:
            path = max((os.path.join(folder, name) for name in os.listdir(folder)), key=os.path.getsize)
        with open(path, "r+b") as stream:
            at = os.path.getsize(path) // 2
            stream.seek(at)
            byte = stream.read(1)[0]
            stream.seek(at)
            stream.write(bytes([byte ^ 4]))
        return path

    # -- folders that are not what they seem --

    def test_a_folder_copied_while_running_is_refused_and_can_be_healed_from_its_gateway(self):
        suite = self.new_suite().up()
        told = self.fill(suite.client(), count=10)
        data = self.new_folder()
        self.addCleanup(shutil.rmtree, data, ignore_errors=True)
        shutil.copytree(
            suite.data, data, ignore=lambda folder, names: [name for name in names if self.is_socket(folder, name)],
            copy_function=self.copy_if_there,
        )
        copy = self.new_suite(data)
        done = copy.try_up()
        self.assertEqual(done.returncode, CONFLICT, done.stdout)
        self.assertIn("is a copy of a folder in which weir was running", done.stdout)
        said = weir("restore", "--in-place", "--data", data)
        self.assertIn("heal", said)
        copy.up()
        self.check(copy.client(), told)
        self.check_databases(copy)
        suite.restart()  # the original is as it was
        wait_for(lambda: suite.status()["gateway"]["state"] == "SERVING", "the original to serve")

    @staticmethod
    def copy_if_there(source, target):
        """A file of a database in use may go meanwhile."""
        with contextlib.suppress(FileNotFoundError):
            shutil.copy2(source, target)

    @staticmethod
    def is_socket(folder, name):
        path = os.path.join(folder, name)
        return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)

    def test_two_suites_on_one_folder_the_second_is_refused(self):
        suite = self.new_suite().up()
        client = suite.client()
        client.CreateCollection(collection={"collection_id": "c", "embedding_model": MODEL})
        second = Suite(data=suite.data)
        done = second.try_up()
        self.assertEqual(done.returncode, CONFLICT, done.stdout)
        self.assertIn("runs on", done.stdout)
        for service in SERVICES:  # not even a single service, started by hand
            program = os.path.join(harness.BUILD, "bin", f"weir-{service}")
            done = subprocess.run(
                [program, "--data", suite.data, "--port-base", str(second.base)], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False,
            )
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("STORE_LOCKED", done.stdout)
        answer = client.IngestDocument(collection_id="c", document_id="d", text="as before", wait=PATIENCE)
        self.assertEqual(state_name(answer.document), "READY")


if __name__ == "__main__":
    harness.main()
