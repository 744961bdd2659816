"""What clients and operators get wrong: each is refused with a reason, has no effect, and leaves the suite serving."""

import base64
import math
import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

import grpc

import harness
from harness import BUILD, MESSAGES, MODEL, SERVICES, OwnSuiteTest, SuiteTest, state_name, wait_for

MIB = 1 << 20
VECTOR = {"values": [0.5] * 384}
INGEST = "/weir.v1.DocumentService/IngestDocument"
# A message of unlimited depth in the public API does not exist; google.protobuf.Any is no cure.  A group, or an
# unknown field that nests, is what is left to a hostile client.
NESTED_GROUPS = b"\x9b\x3f" * 40 + b"\x9c\x3f" * 40


def field(number, data):
    """One length-delimited field of a message, as bytes."""
    out = bytearray()
    for value in ((number << 3) | 2, len(data)):
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out) + data


def nested(depth):
    """A metadata value within a value... as far as the types go, then unknown fields."""
    data = b""
    for _ in range(depth):
        data = field(2000, data)
    return data


class Unchanged:
    """What must not change: read before and after a test."""

    def __init__(self, client):
        pressure = client.GetPressure().pressure
        self.counts = [
            getattr(pressure, name) for name in ("ready", "failed", "superseded", "deleted", "dead_letters")
        ] + [pressure.pending + pressure.processing]
        self.collections = sorted(
            collection.collection_id for collection in client.ListCollections(page_size=1000).collections
        )

    def __eq__(self, other):
        return (self.counts, self.collections) == (other.counts, other.collections)

    def __repr__(self):
        return f"{self.counts} {self.collections}"


class RequestTest(SuiteTest):
    def setUp(self):
        self.name = self.collection()
        self.ready(self.name, "good", "a good document")
        self.pids = {name: service["pid"] for name, service in self.suite.status().items()}
        self.before = Unchanged(self.client)

    def tearDown(self):
        self.assertEqual(Unchanged(self.client), self.before)
        self.assertEqual({name: service["pid"] for name, service in self.suite.status().items()}, self.pids)
        self.ready(self.name, "after", "a document after the bad one")
        self.assertEqual([hit.document_id for hit in self.hits(self.name, "after")], ["after"])

    def refuse(self, method, code, reason, where=None, says=None, **fields):
        with self.subTest(method=method, **{"reason": reason, "field": where}):
            self.assert_refused(code, reason, self.client.call, method, field=where, says=says, **fields)

    def refuse_raw(self, path, data, code="INVALID_ARGUMENT", reason="MALFORMED_MESSAGE", says=None):
        self.assert_refused(code, reason, self.client.raw, path, data, says=says)

    def ingest_fields(self, **fields):
        return {"collection_id": self.name, "document_id": "new", "text": "words", **fields}

    # ---- bytes ----

    def test_bytes_that_are_no_message(self):
        for data in (b"\xff" * 20, b"\x1a\xff\xff\xff\xff\x0f", b"\x0a\x05ab", b"\x00", b"\x0a"):
            self.refuse_raw(INGEST, data)
        self.refuse_raw("/weir.v1.SearchService/Search", b"\x1a\x03\x0a\x02\x00\x00")

    def test_random_bytes_to_every_unary_method(self):
        generator = random.Random(11)
        paths = [
            path for path, method in MESSAGES.methods.items()
            if path.startswith("/weir.v1.") and not method[1] and not method[2]
        ]
        self.assertGreater(len(paths), 25)
        for path in paths:
            for _ in range(12):
                data = generator.randbytes(generator.randrange(1, 120))
                try:
                    self.client.raw(path, data, deadline=5)
                except grpc.RpcError as error:
                    self.assertIn(
                        error.code().name, ("INVALID_ARGUMENT", "UNIMPLEMENTED", "NOT_FOUND"), (path, data)
                    )

    def test_text_that_is_not_utf_8(self):
        name = field(1, self.name.encode())
        self.refuse_raw(INGEST, name + field(2, b"d") + field(3, b"\xff\xfe\xfd"))
        self.refuse_raw(INGEST, name + field(2, b"\xc3\x28") + field(3, b"text"))
        self.refuse_raw(INGEST, name + field(2, b"d") + field(3, b"\xed\xa0\x80"))  # half a surrogate pair

    def test_a_nul_in_a_string(self):
        self.refuse_raw(INGEST, field(1, self.name.encode()) + field(2, b"a\0b") + field(3, b"text"))
        self.refuse("IngestDocument", "INVALID_ARGUMENT", "MALFORMED_MESSAGE", **self.ingest_fields(text="a\0b"))

    def test_deep_nesting(self):
        name = field(1, self.name.encode()) + field(3, b"text")
        self.refuse_raw(INGEST, name + NESTED_GROUPS)
        # Unknown fields are skipped unread, however deep they seem to go: accepted or refused, nothing is exhausted.
        self.client.raw("/weir.v1.SystemService/GetServerInfo", nested(20_000))

    def test_a_message_of_many_empty_parts(self):
        parts = field(7, field(1, b"k")) * 200_000
        self.refuse_raw(INGEST, field(1, self.name.encode()) + field(3, b"text") + parts)

    # ---- bodies ----

    def test_a_body_that_is_too_large(self):
        for fields in ({"text": "x" * (4 * MIB + 1)}, {"data": b"x" * (4 * MIB + 1), "text": None}):
            fields = {name: value for name, value in self.ingest_fields(**fields).items() if value is not None}
            where = "data" if "data" in fields else "text"
            self.refuse("IngestDocument", "INVALID_ARGUMENT", "BODY_TOO_LARGE", where, says="UploadDocument", **fields)

    def test_a_message_that_is_much_too_large(self):
        self.refuse(
            "IngestDocument", "INVALID_ARGUMENT", "BODY_TOO_LARGE", says="UploadDocument",
            **self.ingest_fields(text="x" * (24 * MIB)),
        )

    def test_a_body_of_exactly_the_limit_is_taken(self):
        text = ("word " * (4 * MIB // 5 + 1))[: 4 * MIB]
        name = self.collection()
        answer = self.client.IngestDocument(collection_id=name, document_id="large", text=text)
        self.assertEqual(answer.document.size_bytes, 4 * MIB)
        self.client.DeleteDocument(collection_id=name, document_id="large")
        self.before = None  # it has an effect
        wait_for(lambda: self.pressure().pending + self.pressure().processing == 0, "quiet")
        self.before = Unchanged(self.client)

    def test_an_empty_body(self):
        self.refuse("IngestDocument", "INVALID_ARGUMENT", "BODY_EMPTY", "text", **self.ingest_fields(text=""))
        self.refuse(
            "IngestDocument", "INVALID_ARGUMENT", "BODY_EMPTY", "data", collection_id=self.name, document_id="new",
            data=b"",
        )
        self.refuse("IngestDocument", "INVALID_ARGUMENT", "BODY_EMPTY", collection_id=self.name, document_id="new")

    def test_media_types(self):
        for media_type in ("image/png", "application/x-nothing"):
            self.refuse(
                "IngestDocument", "INVALID_ARGUMENT", "MEDIA_TYPE_UNSUPPORTED", "media_type",
                **self.ingest_fields(media_type=media_type),
            )
        for media_type in ("nonsense", "/", "text/", "a/" + "b" * 200):
            self.refuse(
                "IngestDocument", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "media_type",
                **self.ingest_fields(media_type=media_type),
            )

    # ---- names ----

    def test_a_collection_that_is_not_there(self):
        missing = {"collection_id": "nowhere"}
        one = {**missing, "document_id": "d"}
        for method, fields in (
            ("GetCollection", missing), ("WaitCollection", missing), ("ListDocuments", missing),
            ("GetDocument", one), ("DeleteDocument", one), ("WaitDocument", one), ("RetryDocument", one),
            ("ListChunks", one), ("Search", {**missing, "vector": VECTOR}), ("GetPressure", missing),
            ("ListDeadLetters", missing),
        ):
            self.refuse(method, "NOT_FOUND", "COLLECTION_NOT_FOUND", says="collection", **fields)
        refusal = self.refusal(self.client.stream, "WatchDocuments", self.client.request("WatchDocuments", **missing))
        self.assertEqual((refusal.code, refusal.reason), ("NOT_FOUND", "COLLECTION_NOT_FOUND"))

    def test_bad_ids(self):
        for bad in ("Upper", "-a", "a b", "x" * 65, "ä", "a/b"):
            self.refuse(
                "CreateCollection", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "collection.collection_id",
                collection={"collection_id": bad},
            )
            self.refuse(
                "IngestDocument", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "collection_id",
                **self.ingest_fields(collection_id=bad),
            )
        self.refuse("CreateCollection", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "collection")
        for method in ("GetDocument", "DeleteDocument", "WaitDocument", "RetryDocument", "ListChunks"):
            for bad in ("", "x" * 513):
                self.refuse(
                    method, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "document_id",
                    collection_id=self.name, document_id=bad,
                )
        self.refuse(
            "IngestDocument", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "document_id",
            **self.ingest_fields(document_id="x" * 513),
        )
        self.refuse(
            "IngestDocument", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "request_id",
            **self.ingest_fields(request_id="x" * 129),
        )

    def test_bad_fields_of_a_document(self):
        number = {"number_value": math.nan}
        for where, fields in (
            ("filename", {"filename": "x" * 1025}),
            ("source_version", {"source_version": -1}),
            ("metadata", {"metadata": {f"k{i}": {"bool_value": True} for i in range(65)}}),
            ("metadata", {"metadata": {"k": {"string_value": "x" * 17000}}}),
            ("metadata", {"metadata": {"": {"bool_value": True}}}),
            ('metadata["k"]', {"metadata": {"k": number}}),
            ('metadata["k"]', {"metadata": {"k": {}}}),
            ("wait", {"wait": -1}),
        ):
            self.refuse(
                "IngestDocument", "INVALID_ARGUMENT", "INVALID_ARGUMENT", where, **self.ingest_fields(**fields)
            )
        self.refuse(
            "GetDocument", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "revision",
            collection_id=self.name, document_id="good", revision=-1,
        )
        self.refuse(
            "WaitDocument", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "timeout",
            collection_id=self.name, document_id="good", timeout=-2,
        )

    def test_bad_fields_of_a_collection(self):
        for code, reason, where, fields in (
            ("INVALID_ARGUMENT", "MODEL_UNKNOWN", "collection.embedding_model", {"embedding_model": "no-such-model"}),
            ("INVALID_ARGUMENT", "DIMENSION_MISMATCH", "collection.dimension", {"dimension": 512}),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "collection.dimension", {"dimension": -1}),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "collection.metric", {"metric": "euclid"}),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "collection.filter_fields.name",
             {"filter_fields": [{"name": "A b", "kind": "FILTER_FIELD_KIND_TAG"}]}),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "collection.filter_fields.kind",
             {"filter_fields": [{"name": "a"}]}),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "collection.chunking.max_tokens",
             {"chunking": {"max_tokens": -5}}),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "collection.chunking.overlap_tokens",
             {"chunking": {"max_tokens": 100, "overlap_tokens": 90}}),
            ("UNIMPLEMENTED", "UNIMPLEMENTED", "collection.default_mode", {"default_mode": "SEARCH_MODE_HYBRID"}),
        ):
            self.refuse(
                "CreateCollection", code, reason, where,
                collection={"collection_id": "never-made", "embedding_model": MODEL, **fields},
            )

    # ---- searches ----

    def test_bad_searches(self):
        for code, reason, where, fields in (
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "query", {}),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "text", {"text": ""}),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "text", {"text": "x" * 8193}),
            ("INVALID_ARGUMENT", "DIMENSION_MISMATCH", "vector.values", {"vector": {"values": [0.5] * 383}}),
            ("INVALID_ARGUMENT", "DIMENSION_MISMATCH", "vector.values", {"vector": {"values": [0.5] * 385}}),
            ("INVALID_ARGUMENT", "VECTOR_INVALID", "vector.values", {"vector": {"values": [math.nan] + [0.5] * 383}}),
            ("INVALID_ARGUMENT", "VECTOR_INVALID", "vector.values", {"vector": {"values": [0.5] * 383 + [math.inf]}}),
            ("INVALID_ARGUMENT", "VECTOR_INVALID", "vector.values", {"vector": {"values": [0.0] * 384}}),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "top_k", {"text": "x", "top_k": -1}),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "top_k", {"text": "x", "top_k": 1001}),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "min_score", {"text": "x", "min_score": math.nan}),
            ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "neighbor_chunks", {"text": "x", "neighbor_chunks": 6}),
            ("INVALID_ARGUMENT", "FILTER_INVALID", "filter", {"text": "x", "filter": "author = "}),
            ("INVALID_ARGUMENT", "FILTER_INVALID", "filter", {"text": "x", "filter": 'author = "me"'}),
            ("INVALID_ARGUMENT", "FILTER_INVALID", "filter", {"text": "x", "filter": 'document_id = "a'}),
            ("UNIMPLEMENTED", "UNIMPLEMENTED", "mode", {"text": "x", "mode": "SEARCH_MODE_LEXICAL"}),
        ):
            self.refuse("Search", code, reason, where, collection_id=self.name, **fields)

    # ---- pages ----

    def test_a_negative_page_size(self):
        for method, fields in (
            ("ListCollections", {}), ("ListDocuments", {"collection_id": self.name}), ("ListModels", {}),
            ("ListDeadLetters", {}), ("ListChunks", {"collection_id": self.name, "document_id": "good"}),
        ):
            self.refuse(method, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "page_size", page_size=-1, **fields)

    def test_a_page_size_above_the_limit_is_taken_as_the_limit(self):
        self.client.ListDocuments(collection_id=self.name, page_size=2**31 - 1)

    def test_foreign_page_tokens(self):
        other = self.collection()
        for document in ("a", "b"):
            self.ready(other, document, f"words {document}")
        self.before = Unchanged(self.client)
        token = self.client.ListDocuments(collection_id=other, page_size=1).next_page_token
        of_collections = self.client.ListCollections(page_size=1).next_page_token
        altered = token[:-2] + ("1" if token[-2] != "1" else "2") + token[-1]
        for method, fields in (
            ("ListDocuments", {"collection_id": self.name, "page_token": token}),
            ("ListDocuments", {"collection_id": other, "page_token": altered}),
            ("ListDocuments", {"collection_id": other, "page_token": of_collections}),
            ("ListDocuments", {"collection_id": other, "page_token": token, "show_deleted": True}),
            ("ListDocuments", {"collection_id": other, "page_token": "x"}),
            ("ListCollections", {"page_token": token}),
            ("ListDeadLetters", {"page_token": token}),
            ("ListChunks", {"collection_id": other, "document_id": "a", "page_token": token}),
            ("ListModels", {"page_token": of_collections}),
        ):
            self.refuse(method, "INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token", **fields)

    def test_foreign_resume_tokens(self):
        request = self.client.request("WatchDocuments", collection_id=self.name, resume_token="nonsense")
        refusal = self.refusal(self.client.stream, "WatchDocuments", request)
        self.assertIn(refusal.code, ("INVALID_ARGUMENT", "OUT_OF_RANGE"), refusal)
        self.assertEqual(refusal.domain, "weir.dev")

    # ---- methods ----

    def test_unknown_methods(self):
        for path in ("/weir.v1.DocumentService/Nothing", "/weir.v1.Nothing/Get", "/x", "/a/b/c"):
            for service in SERVICES:
                client = self.suite.client(service)
                self.assert_refused("UNIMPLEMENTED", "UNIMPLEMENTED", client.raw, path, b"", says=path)
            code, _, answer = self.suite.json(path, {})
            self.assertIn((code, answer["code"]), ((404, "not_found"), (501, "unimplemented")), path)

    def finished(self, code):
        """How many calls of GetServerInfo ended with the code, by the gateway's count."""
        line = f'weir_rpc_requests_total{{method="weir.v1.SystemService/GetServerInfo",code="{code}"}} '
        told = self.suite.admin("gateway", "/metrics")[1].splitlines()
        return sum(int(float(it[len(line):])) for it in told if it.startswith(line))

    def given_up(self):
        return self.finished("CANCELLED") + self.finished("DEADLINE_EXCEEDED")

    def test_a_call_without_its_message_is_wrong_and_one_given_up_is_not(self):
        call = self.client.channel.stream_unary("/weir.v1.SystemService/GetServerInfo", harness.raw, harness.raw)
        # The end of a call may be overtaken by its deadline, which the gateway counts from when it reads the call.
        before = self.finished("UNIMPLEMENTED"), self.given_up()
        self.assert_refused("UNIMPLEMENTED", "UNIMPLEMENTED", call, iter(()), says="exactly one request message")
        wait_for(lambda: self.finished("UNIMPLEMENTED") == before[0] + 1, "the count of wrong calls")
        over = threading.Event()
        # While the gateway stands still the call and its end both come; it reads them at once.
        self.suite.signal("gateway", signal.SIGSTOP)
        try:
            future = call.future(iter(lambda: over.wait() and b"", b""), timeout=2)  # time for it to be sent
            self.assertEqual(future.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        finally:
            self.suite.signal("gateway", signal.SIGCONT)
            over.set()
        wait_for(lambda: self.given_up() == before[1] + 1, "the count of calls given up")
        self.assertEqual(self.finished("UNIMPLEMENTED"), before[0] + 1)

    def test_inner_methods_are_not_for_clients(self):
        for service in SERVICES:
            client = self.suite.client(service)
            for method in ("IndexerService/SearchVectors", "SourceService/ReadSource", "EmbedderService/Embed"):
                refusal = self.refusal(client.raw, f"/weir.internal.v1.{method}", b"")
                self.assertEqual(refusal.code, "UNIMPLEMENTED", (service, method))

    # ---- JSON ----

    def refuse_json(self, body, reason, says, status=400, method="DocumentService/IngestDocument", **options):
        code, _, answer = self.suite.json(f"/weir.v1.{method}", body, **options)
        self.assertEqual(code, status, answer)
        self.assertEqual(answer["code"], "invalid_argument", answer)
        self.assertIn(says, answer["message"])
        value = next(part for part in answer["details"] if part["type"] == "google.rpc.ErrorInfo")["value"]
        info = MESSAGES("google.rpc.ErrorInfo").FromString(base64.b64decode(value + "=="))
        self.assertEqual((info.reason, info.domain), (reason, "weir.dev"))
        self.assertTrue(info.metadata["request_id"])
        return answer

    def test_json_that_does_not_fit(self):
        body = {"collectionId": self.name, "documentId": "new", "text": "words"}
        answer = self.refuse_json({**body, "colour": 1}, "INVALID_ARGUMENT", "colour")
        self.assertIn("unknown", answer["message"].lower())
        nested_body = {**body, "metadata": {"k": {"stringValue": "v", "weight": 2}}}
        self.refuse_json(nested_body, "INVALID_ARGUMENT", "weight")
        self.refuse_json(b'{"collectionId": "x",', "MALFORMED_MESSAGE", "")
        self.refuse_json(b"[1, 2]", "INVALID_ARGUMENT", "")
        self.refuse_json({**body, "sourceVersion": "seven"}, "INVALID_ARGUMENT", "source_version")
        self.refuse_json({**body, "text": 5}, "INVALID_ARGUMENT", "text")
        self.refuse_json(b'{"text": "\\u0000"}', "MALFORMED_MESSAGE", "")
        self.refuse_json(b'{"text": "\xff"}', "MALFORMED_MESSAGE", "")
        self.refuse_json(b"[" * 50_000, "MALFORMED_MESSAGE", "")
        self.refuse_json({**body, "text": ""}, "BODY_EMPTY", "body")
        self.refuse_json({"collectionId": self.name, "pageSize": -1}, "INVALID_ARGUMENT", "page_size",
                         method="DocumentService/ListDocuments")

    def test_a_json_body_that_is_too_large(self):
        """Refused by its announced size: a client that asks first (Expect) sends none of it."""
        with socket.create_connection(("127.0.0.1", self.suite.base + 80), timeout=10) as connection:
            connection.sendall(
                b"POST /weir.v1.DocumentService/IngestDocument HTTP/1.1\r\nHost: x\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (8 * MIB)
            )
            answer = connection.makefile("rb").read(4096)
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer)
        self.assertIn(b"UploadDocument", answer)

    # ---- streams ----

    def test_garbage_ends_a_stream_and_nothing_else(self):
        stream = self.client.channel.stream_stream(
            "/weir.v1.DocumentService/IngestDocuments", harness.raw, harness.raw
        )
        with self.assertRaises(grpc.RpcError) as caught:
            list(stream(iter([b"\xff" * 9]), timeout=10))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)


class StartTest(OwnSuiteTest):
    """What keeps a suite from starting is said in one sentence, and the exit status is not 0."""

    def assert_fails(self, suite, *patterns):
        began = time.monotonic()
        done = suite.try_up()
        self.assertNotEqual(done.returncode, 0, done.stdout)
        for pattern in patterns:
            self.assertRegex(done.stdout, pattern)
        self.assertLess(time.monotonic() - began, 50)  # `weir up` waits a minute for a suite that does not come
        self.assertEqual({service["pid"] for service in suite.status().values()} - {0}, set())

    def service(self, name, suite, *arguments):
        return subprocess.run(
            [os.path.join(BUILD, "bin", f"weir-{name}"), "--data", suite.data, "--port-base", str(suite.base),
             "--set", "log.format=text", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30,
            check=False,
        )

    def test_a_wrong_configuration_is_named_by_line_and_column(self):
        for text, place, says in (
            ("log:\n  level: info\n  colour: red\n", "3:3", "colour"),
            ("log:\n  levle: info\n", "2:3", "log.level"),
            ("port_base: [1, 2]\n", "1:12", "list"),
            ("log:\n\tlevel: info\n", "2:1", "character"),
            ("store:\n  cache_bytes: lots\n", "2:16", "cache_bytes"),
            ("gateway:\n  http_threads: 1000\n", "2:17", "64"),
            ("log:\n  level: loud\n", "2:10", "warn"),
        ):
            with self.subTest(text=text), tempfile.NamedTemporaryFile("w", suffix=".yaml", dir="/tmp") as file:
                file.write(text)
                file.flush()
                suite = self.own_suite(config=file.name)
                self.assert_fails(suite, re.escape(f"{file.name}:{place}: "), re.escape(says))
                done = self.service("indexer", suite, "--config", file.name)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(f"{file.name}:{place}: ", done.stdout)

    def test_a_wrong_setting_is_named(self):
        self.assert_fails(self.own_suite(settings=["log.levle=info"]), "log.levle", "log.level")
        self.assert_fails(self.own_suite(settings=["port_base=70000"]), "port_base")

    def test_a_port_in_use_is_named(self):
        suite = self.own_suite()
        for port in (suite.base + 70, suite.base + 80, suite.base + 73, suite.base + 93):
            with self.subTest(port=port - suite.base), socket.socket() as holder:
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old calls may linger
                holder.bind(("127.0.0.1", port))
                holder.listen()
                self.assert_fails(suite, str(port))

    def test_a_folder_that_another_suite_holds(self):
        suite = self.own_suite().up()
        other = self.own_suite(data=suite.data)
        done = other.try_up()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(suite.data, done.stdout)
        for name in SERVICES:
            done = self.service(name, other)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(f"{suite.data}/{name}", done.stdout)
            self.assertRegex(done.stdout, r"\b%d\b" % suite.pid(name))
        suite.wait_serving()

    def test_a_disk_below_the_reserve(self):
        free = os.statvfs("/tmp")
        if free.f_bavail * free.f_frsize >= 1 << 40:
            self.skipTest("this disk has more than 1 TiB free")
        suite = self.own_suite(settings=["store.reserve_bytes=1TiB", "store.low_water_bytes=1TiB"])
        self.assert_fails(suite, "free|reserve")

    def test_a_disk_below_the_mark_takes_no_documents_and_does_the_rest(self):
        free = os.statvfs("/tmp")
        if free.f_bavail * free.f_frsize >= 1 << 40:
            self.skipTest("this disk has more than 1 TiB free")
        suite = self.own_suite().up()
        client = suite.client()
        client.CreateCollection(collection={"collection_id": "c", "embedding_model": MODEL})
        for name in ("a", "b"):
            client.IngestDocument(collection_id="c", document_id=name, text=f"words of {name}", wait=10)
        suite.down()
        suite.settings.append("store.low_water_bytes=1TiB")
        suite.up()
        refusal = None

        def is_refused():
            nonlocal refusal
            try:
                client.IngestDocument(collection_id="c", document_id="x", text="x")
            except grpc.RpcError as error:
                refusal = harness.Refusal(error)
            return refusal is not None

        wait_for(is_refused, "the refusal")
        self.assertEqual((refusal.code, refusal.reason), ("RESOURCE_EXHAUSTED", "DISK_LOW"), refusal)
        self.assertGreater(refusal.retry_s, 0)
        self.assertTrue(refusal.pushback_ms)
        self.assertEqual(client.GetDocument(collection_id="c", document_id="a").document.revision, 1)
        deleted = client.DeleteDocument(collection_id="c", document_id="b").document
        self.assertEqual(state_name(deleted), "DELETED")
        hits = client.Search(collection_id="c", vector=VECTOR, exact=True).hits
        self.assertEqual([hit.document_id for hit in hits], ["a"])
        pressure = client.GetPressure().pressure
        self.assertEqual(MESSAGES.enum_name("weir.v1.Admission", pressure.admission), "ADMISSION_REJECTING")
        self.assertTrue(pressure.admission_reason)

    def schema(self, suite, service, number):
        os.makedirs(suite.data, exist_ok=True)
        subprocess.run(
            [os.path.join(BUILD, "tests", "store-schema"), f"{suite.data}/{service}", service, str(number)],
            check=True, timeout=30,
        )

    def test_a_store_of_a_newer_version(self):
        for service in ("gateway", "indexer"):
            suite = self.own_suite()
            self.schema(suite, service, 99)
            self.assert_fails(suite, "schema 99", f"{suite.data}/{service}", "newer")

    def test_a_store_of_an_older_version(self):
        suite = self.own_suite()
        self.schema(suite, "reconciler", 0)
        self.assert_fails(suite, "schema 0", "upgrade")

    def test_a_data_folder_whose_path_is_too_long_for_sockets(self):
        with tempfile.TemporaryDirectory(prefix="weir-", dir="/tmp") as parent:
            suite = self.own_suite(data=os.path.join(parent, "x" * 120))
            done = suite.try_up()
            if done.returncode == 0:  # sockets may lie elsewhere: then it must work
                client = suite.client()
                client.CreateCollection(collection={"collection_id": "c", "embedding_model": MODEL})
                answer = client.IngestDocument(collection_id="c", document_id="d", text="words", wait=10)
                self.assertEqual(state_name(answer.document), "READY")
            else:
                self.assertRegex(done.stdout, "path|long")


class ModelTest(OwnSuiteTest):
    def test_hash_models_are_for_tests_only(self):
        suite = self.own_suite()
        suite.settings = ["embedder.allow_hash_models=false"]
        suite.up()
        client = suite.client()
        with self.assertRaises(grpc.RpcError) as caught:
            client.CreateCollection(collection={"collection_id": "c", "embedding_model": "hash-128"})
        refusal = harness.Refusal(caught.exception)
        self.assertEqual((refusal.code, refusal.reason), ("FAILED_PRECONDITION", "MODEL_NOT_ALLOWED"), refusal)
        self.assertIn("embedder.allow_hash_models", refusal.message)
        self.assertEqual(len(client.ListCollections().collections), 0)


if __name__ == "__main__":
    harness.main()
