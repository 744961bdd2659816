"""What the integration tests share: a suite of real programs on free ports, a gRPC client, and patience.

A test is started as  NAME_test.py BUILD_FOLDER [unittest arguments]  and ends with the status of unittest.  Message
classes are built from BUILD_FOLDER/gen/weir.binpb, so nothing is generated.  Waiting is always for something that can
be seen, with a deadline.
"""

import glob
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import ports  # noqa: E402  pylint: disable=wrong-import-position

SERVICES = ("gateway", "ingest", "embedder", "indexer", "reconciler")
MODEL = "hash-384"
PATIENCE = 60
POLL = 0.02
NO_ANSWER = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
)
RANK = {"PENDING": 1, "PROCESSING": 2, "READY": 3, "FAILED": 3, "SUPERSEDED": 4, "DELETED": 5}


def build_folder():
    """The build folder that the test was started with; the arguments after it are unittest's."""
    if len(sys.argv) < 2 or not os.path.isdir(sys.argv[1]):
        sys.exit(f"usage: {sys.argv[0]} BUILD_FOLDER [unittest arguments]")
    return os.path.abspath(sys.argv.pop(1))


BUILD = build_folder()
WEIR = os.path.join(BUILD, "bin", "weir")


def wait_for(look, what, timeout=PATIENCE):
    """The first true answer of look(), which is asked until the time is over."""
    until = time.monotonic() + timeout
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"after {timeout} s still waiting for {what}")
        time.sleep(POLL)


# ---- messages ----


class Messages:
    """Message classes and methods of the descriptor set that the build made."""

    def __init__(self, path):
        self.pool = descriptor_pool.DescriptorPool()
        self.methods = {}
        files = descriptor_pb2.FileDescriptorSet()
        with open(path, "rb") as stream:
            files.ParseFromString(stream.read())
        for file in files.file:
            self.pool.Add(file)
        for file in files.file:
            for service in self.pool.FindFileByName(file.name).services_by_name.values():
                for method, proto in zip(service.methods, self.protos(file, service.name)):
                    path = f"/{service.full_name}/{method.name}"
                    self.methods[path] = (method, proto.client_streaming, proto.server_streaming)
                    if service.full_name.startswith("weir.v1."):
                        self.methods[method.name] = self.methods[path] + (path,)

    @staticmethod
    def protos(file, name):
        return next(service.method for service in file.service if service.name == name)

    def __call__(self, name):
        return self.class_of(self.pool.FindMessageTypeByName(name))

    def class_of(self, descriptor):
        if hasattr(message_factory, "GetMessageClass"):
            return message_factory.GetMessageClass(descriptor)
        return message_factory.MessageFactory(self.pool).GetPrototype(descriptor)

    def enum_name(self, enum, number):
        return self.pool.FindEnumTypeByName(enum).values_by_number[number].name

    def make(self, descriptor, fields):
        """A message of nested dicts and lists, maps of messages included."""
        message = self.class_of(descriptor)()
        self.fill(message, fields)
        return message

    def fill(self, message, fields):
        for name, value in fields.items():
            field = message.DESCRIPTOR.fields_by_name[name]
            target = getattr(message, name)
            if field.message_type is None:
                if field.label == field.LABEL_REPEATED:
                    target.extend(enum_number(field, item) for item in value)
                else:
                    setattr(message, name, enum_number(field, value))
            elif field.message_type.GetOptions().map_entry:
                for key, item in value.items():
                    self.fill(target[key], item)
            elif field.label == field.LABEL_REPEATED:
                for item in value:
                    self.fill(target.add(), item)
            elif isinstance(value, (int, float)) and field.message_type.name == "Duration":
                target.FromNanoseconds(round(value * 1e9))
            elif isinstance(value, dict):
                target.SetInParent()
                self.fill(target, value)
            else:
                target.CopyFrom(value)


def enum_number(field, value):
    if field.enum_type is not None and isinstance(value, str):
        return field.enum_type.values_by_name[value].number
    return value


MESSAGES = Messages(os.path.join(BUILD, "gen", "weir.binpb"))


def state_name(document):
    return MESSAGES.enum_name("weir.v1.DocumentState", document.state)[len("DOCUMENT_STATE_") :]


def outcome_name(response):
    return MESSAGES.enum_name("weir.v1.IngestOutcome", response.outcome)[len("INGEST_OUTCOME_") :]


def stage_name(number):
    return MESSAGES.enum_name("weir.v1.Stage", number)[len("STAGE_") :]


# ---- the client ----


class Refusal:
    """A failed call, decoded."""

    def __init__(self, error):
        self.code = error.code().name
        self.message = error.details()
        self.reason = self.domain = self.request_id = None
        self.fields = []
        self.retry_s = None
        trailers = dict(error.trailing_metadata() or ())
        self.pushback_ms = trailers.get("grpc-retry-pushback-ms")
        self.initial = dict(error.initial_metadata() or ())
        if "grpc-status-details-bin" in trailers:
            status = MESSAGES("google.rpc.Status").FromString(trailers["grpc-status-details-bin"])
            self.same_status = status.code == error.code().value[0] and status.message == error.details()
            self.decode(status)

    def decode(self, status):
        for detail in status.details:
            name = detail.type_url.split("/")[-1]
            message = MESSAGES(name).FromString(detail.value)
            if name == "google.rpc.ErrorInfo":
                self.reason, self.domain = message.reason, message.domain
                self.request_id = message.metadata["request_id"]
            elif name == "google.rpc.BadRequest":
                self.fields = [violation.field for violation in message.field_violations]
            elif name == "google.rpc.RetryInfo":
                self.retry_s = message.retry_delay.ToNanoseconds() / 1e9

    def __str__(self):
        return f"{self.code} {self.reason} {self.fields}: {self.message}"


def raw(value):
    return value


class Client:
    """Calls by name: client.GetDocument(collection_id="c", document_id="d")."""

    def __init__(self, address):
        # A killed server is back at once: a client must not back off for long.
        self.channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.min_reconnect_backoff_ms", 200),
                ("grpc.max_reconnect_backoff_ms", 500),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.enable_retries", 0),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        self.stubs = {}

    def close(self):
        self.channel.close()

    def stub(self, name):
        if name not in self.stubs:
            method, client_streaming, server_streaming = MESSAGES.methods[name][:3]
            path = name if name.startswith("/") else MESSAGES.methods[name][3]
            kind = ("stream" if client_streaming else "unary") + "_" + ("stream" if server_streaming else "unary")
            answer = MESSAGES.class_of(method.output_type)
            self.stubs[name] = getattr(self.channel, kind)(
                path, lambda message: message.SerializeToString(), answer.FromString
            )
        return self.stubs[name]

    def request(self, name, **fields):
        return MESSAGES.make(MESSAGES.methods[name][0].input_type, fields)

    def call(self, name, deadline=PATIENCE, rpc_metadata=None, wait_for_ready=None, **fields):
        return self.stub(name)(
            self.request(name, **fields), timeout=deadline, metadata=rpc_metadata, wait_for_ready=wait_for_ready
        )

    def stream(self, name, requests, deadline=PATIENCE):
        return self.stub(name)(requests, timeout=deadline)

    def raw(self, path, data, deadline=PATIENCE, **options):
        return self.channel.unary_unary(path, raw, raw)(data, timeout=deadline, **options)

    def __getattr__(self, name):
        if name not in MESSAGES.methods:
            raise AttributeError(name)
        return lambda **fields: self.call(name, **fields)

    def stubborn(self, name, patience=90, each=5, **fields):
        """The answer of a call that is repeated as long as no answer comes, or it is refused for pressure."""
        until = time.monotonic() + patience
        while True:
            try:
                return self.call(name, deadline=each, wait_for_ready=True, **fields)
            except grpc.RpcError as error:
                refused = error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                if (error.code() not in NO_ANSWER and not refused) or time.monotonic() > until:
                    raise
                if refused:
                    threading.Event().wait(0.05)  # the pause of a client that was asked to come back later


# ---- the suite ----


def process_is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def resident_kb(pid, name="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


class Suite:
    """Five services under `weir up`, in a folder and on ports of their own."""

    def __init__(self, settings=(), data=None, base=None, config=None):
        # Unix sockets lie below the folder, and their paths hold 107 bytes.
        self.data = data or tempfile.mkdtemp(prefix="weir-", dir="/tmp")
        self.own_data = data is None
        self.base = base or ports.free_base()
        self.settings = ["embedder.allow_hash_models=true", f"gateway.default_model={MODEL}", *settings]
        self.config = config
        self.foreground = None
        self.output = None
        self.clients = []

    # -- life --

    def arguments(self, *extra):
        arguments = [WEIR, "up", "--data", self.data, "--port-base", str(self.base), *extra]
        if self.config:
            arguments += ["--config", self.config]
        for setting in self.settings:
            arguments += ["--set", setting]
        return arguments

    def try_up(self, timeout=90):
        """Start detached; the finished process of `weir up`, whose output went to a file: what it starts inherits
        its streams."""
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                self.arguments("--detach"), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                timeout=timeout, check=False,
            )
            output.seek(0)
            done.stdout = output.read()
        return done

    def up(self):
        began = time.monotonic()
        done = self.try_up()
        if done.returncode != 0:
            self.print_logs()
            raise AssertionError(f"weir up ended with {done.returncode}:\n{done.stdout}")
        self.start_seconds = time.monotonic() - began
        self.wait_serving()
        return self

    def up_foreground(self):
        """Start attached to this process; self.foreground is `weir up` itself."""
        self.output = open(os.path.join(self.data, "up.out"), "w+", encoding="utf-8")
        self.foreground = subprocess.Popen(
            self.arguments(), stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output
        )
        self.wait_serving()
        return self

    def down(self, timeout=60, check=True):
        done = subprocess.run(
            [WEIR, "down", "--data", self.data], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
        )
        if check and done.returncode != 0:
            self.print_logs()
            raise AssertionError(f"weir down ended with {done.returncode}:\n{done.stdout}")
        return done

    def restart(self):
        self.down()
        return self.up()

    def close(self):
        """End everything and delete the folder; never fails."""
        for client in self.clients:
            client.close()
        try:
            pids = [service["pid"] for service in self.status().values()]
            if self.foreground is not None and self.foreground.poll() is None:
                self.foreground.terminate()
                self.foreground.wait(30)
            self.down(check=False)
            wait_for(lambda: all(process_is_gone(pid) for pid in pids), "the end of the services")
        except (OSError, ValueError, AssertionError, subprocess.SubprocessError) as error:
            print(f"closing the suite in {self.data}: {error}", file=sys.stderr)
        if self.output is not None:
            self.output.close()
        if self.own_data and not os.environ.get("WEIR_TEST_KEEP"):
            shutil.rmtree(self.data, ignore_errors=True)

    # -- looks --

    def status(self):
        """What `weir status -o json` says, by service name; empty when it does not run."""
        done = subprocess.run(
            [WEIR, "status", "--data", self.data, "-o", "json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False,
        )
        if not done.stdout.strip():
            return {}
        return {service["name"]: service for service in json.loads(done.stdout)["services"]}

    def pid(self, service):
        return int(self.status()[service]["pid"])

    def signal(self, service, number):
        pid = self.pid(service)
        if pid > 0:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return 0
        return pid

    def kill(self, service):
        """SIGKILL; the process id, 0 if it was not running."""
        return self.signal(service, signal.SIGKILL)

    def grpc_address(self, service="gateway"):
        return f"127.0.0.1:{self.base + 70 + SERVICES.index(service)}"

    def client(self, service="gateway"):
        client = Client(self.grpc_address(service))
        self.clients.append(client)
        return client

    def is_serving(self, service):
        client = Client(self.grpc_address(service))
        try:
            return client.call("/grpc.health.v1.Health/Check", deadline=2).status == 1
        except grpc.RpcError:
            return False
        finally:
            client.close()

    def wait_serving(self, services=SERVICES, timeout=PATIENCE):
        for service in services:
            wait_for(lambda name=service: self.is_serving(name), f"{service} to be SERVING", timeout)

    def what_waits(self):
        """What is still under way between and in the services.  A service that has not been told of a new era resets
        its links when it is, and sends again what they had settled."""
        waits = []
        era = 0
        for service in SERVICES:
            client = Client(self.grpc_address(service))
            try:
                status = client.call("/weir.internal.v1.StageService/GetStageStatus", deadline=5)
                links = client.call("/weir.internal.v1.StageService/ListLinks", deadline=5).links
            except grpc.RpcError as error:
                waits.append((service, error.code().name))
                continue
            finally:
                client.close()
            counts = (status.queued, status.in_flight, status.deferred, status.parked)
            if any(counts):
                waits.append((service, counts))
            if service == "gateway":
                era = status.era
            elif status.applied_era < era:
                waits.append((service, f"era {status.applied_era} of {era}"))
            for link in links:
                if link.sender and link.settled + 1 != link.next or link.alarm:
                    waits.append((link.link, link.state, link.settled, link.next, link.alarm))
        return waits

    def wait_quiet(self, timeout=120):
        """Links are empty and nothing is left over: what a scan at rest must find."""
        waits = []

        def look():
            waits[:] = self.what_waits()
            return not waits

        try:
            wait_for(look, "empty links", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}: {waits}") from None

    def json(self, path, body, headers=None, method="POST"):
        """One request to the JSON port: status, headers in lower case, decoded body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.base + 80, timeout=PATIENCE)
        try:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            all_headers = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, data, all_headers)
            answer = connection.getresponse()
            text = answer.read()
            names = {name.lower(): value for name, value in answer.getheaders()}
            try:
                return answer.status, names, json.loads(text)
            except ValueError:
                return answer.status, names, text.decode("utf-8", "replace")
        finally:
            connection.close()

    def admin(self, service, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.base + 90 + SERVICES.index(service), timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def log_files(self):
        found = glob.glob(os.path.join(self.data, "log", "*.log"))
        found += glob.glob(os.path.join(self.data, "up.out"))
        return sorted(path for path in found if os.path.isfile(path))

    def log_tails(self, lines=30):
        """The ends of all log files, as one text."""
        parts = []
        for path in self.log_files():
            with open(path, encoding="utf-8", errors="replace") as stream:
                parts.append(f"---- {path}\n" + "".join(line[:400] for line in stream.readlines()[-lines:]))
        return "\n".join(parts)

    def print_logs(self):
        print(self.log_tails(), file=sys.stderr, flush=True)


# ---- what tests are made of ----


running = {}


def shared_suite(settings):
    """The running suite with these settings; it ends with the module's last test."""
    if settings not in running:
        suite = Suite(settings)
        unittest.addModuleCleanup(suite.close)
        suite.up()
        running[settings] = suite
    return running[settings]


class LoudTest(unittest.TestCase):
    """A test after whose failure the ends of the services' logs are shown."""

    def log_tails(self):
        raise NotImplementedError

    def run(self, result=None):
        before = self.problems(result)
        answer = super().run(result)
        if self.problems(result) > before:
            print(f"==== logs after {self.id()}", self.log_tails(), sep="\n", file=sys.stderr, flush=True)
        return answer

    @staticmethod
    def problems(result):
        return 0 if result is None else len(result.failures) + len(result.errors)


class OwnSuiteTest(LoudTest):
    """A test that starts suites of its own."""

    tails = ""

    def log_tails(self):
        return self.tails

    def own_suite(self, *arguments, **options):
        suite = Suite(*arguments, **options)
        self.addCleanup(self.end_suite, suite)
        return suite

    def end_suite(self, suite):
        self.tails += suite.log_tails()
        suite.close()


class SuiteTest(LoudTest):
    """Tests over one running suite, with a collection for each test."""

    settings = ()

    @classmethod
    def setUpClass(cls):
        cls.suite = shared_suite(cls.settings)
        cls.client = cls.suite.client()

    def log_tails(self):
        return self.suite.log_tails()

    def collection(self, **fields):
        """A new collection, named after the test."""
        name = self._testMethodName[len("test_") :][:40].replace("_", "-").rstrip("-") + f"-{random.randrange(10**6)}"
        self.client.CreateCollection(collection={"collection_id": name, "embedding_model": MODEL, **fields})
        return name

    def ingest(self, collection, document, text, wait=PATIENCE, **fields):
        body = {"data": text} if isinstance(text, bytes) else {"text": text}
        answer = self.client.IngestDocument(
            collection_id=collection, document_id=document, wait=wait, **body, **fields
        )
        return answer

    def ready(self, collection, document, text, **fields):
        """An ingested document that is READY."""
        document = self.ingest(collection, document, text, **fields).document
        self.assertEqual(state_name(document), "READY", document)
        return document

    def get(self, collection, document, **fields):
        return self.client.GetDocument(collection_id=collection, document_id=document, **fields).document

    def hits(self, collection, document=None, **fields):
        """Every chunk that an exact search finds, of one document if it is named."""
        if "vector" not in fields and "text" not in fields:
            fields["vector"] = {"values": [1.0] * 384}
        if document is not None:
            fields["filter"] = f'document_id = "{document}"'
        fields.setdefault("top_k", 1000)
        return list(self.client.Search(collection_id=collection, exact=True, **fields).hits)

    def refusal(self, call, *arguments, **fields):
        """The decoded failure of a call that must fail."""
        with self.assertRaises(grpc.RpcError) as caught:
            answer = call(*arguments, **fields)
            if hasattr(answer, "code") and hasattr(answer, "__iter__"):
                list(answer)
        return Refusal(caught.exception)

    def assert_refused(self, code, reason, call, *arguments, field=None, says=None, **fields):
        refusal = self.refusal(call, *arguments, **fields)
        self.assertEqual((refusal.code, refusal.reason), (code, reason), refusal)
        self.assertEqual(refusal.domain, "weir.dev", refusal)
        self.assertTrue(refusal.request_id, refusal)
        self.assertTrue(refusal.same_status, refusal)
        self.assertEqual(refusal.request_id, refusal.initial.get("x-request-id"), refusal)
        if field is not None:
            self.assertEqual(refusal.fields, [field], refusal)
        if says is not None:
            self.assertIn(says, refusal.message)
        return refusal

    def pressure(self, collection=""):
        return self.client.GetPressure(collection_id=collection).pressure


def main():
    os.environ.pop("GRPC_TRACE", None)
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    unittest.main(verbosity=2)
