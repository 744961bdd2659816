"""The RPC layer seen from grpcio (Python): health, reflection, failures, garbage, limits, drain.

usage: python_client_test.py SERVER DESCRIPTOR_SET... [unittest arguments]

SERVER is rpc-interop-server; messages are built from the descriptor sets, so nothing is generated.
"""

import os
import random
import signal
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "/grpc.testing.TestService/"
PATIENCE = 60


class Messages:
    """Message classes by full name, from FileDescriptorSet files."""

    def __init__(self, paths):
        self.pool = descriptor_pool.DescriptorPool()
        seen = set()
        for path in paths:
            files = descriptor_pb2.FileDescriptorSet()
            with open(path, "rb") as stream:
                files.ParseFromString(stream.read())
            for file in files.file:
                if file.name not in seen:
                    seen.add(file.name)
                    self.pool.Add(file)

    def __call__(self, name):
        descriptor = self.pool.FindMessageTypeByName(name)
        if hasattr(message_factory, "GetMessageClass"):
            return message_factory.GetMessageClass(descriptor)
        return message_factory.MessageFactory(self.pool).GetPrototype(descriptor)


class Server:
    """rpc-interop-server on a free port."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [SERVER_PATH, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        self.address = line.split()[-1]

    def peak_kb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmHWM"):
                    return int(line.split()[1])
        raise AssertionError("no VmHWM")

    def stop(self, timeout=PATIENCE):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, errors


def raw(value):
    return value


class RpcTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        code, errors = cls.server.stop()
        assert code == 0, errors

    def setUp(self):
        self.channel = grpc.insecure_channel(
            self.server.address,
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.enable_retries", 0),
                ("grpc.max_metadata_size", 1 << 20),
            ],
        )

    def tearDown(self):
        self.channel.close()

    def unary(self, path, request, metadata=None, timeout=PATIENCE, **options):
        method = self.channel.unary_unary(path, raw, raw)
        data = request if isinstance(request, bytes) else request.SerializeToString()
        return method.with_call(data, metadata=metadata, timeout=timeout, **options)

    def failure(self, path, request, **options):
        with self.assertRaises(grpc.RpcError) as caught:
            self.unary(path, request, **options)
        return caught.exception

    def details(self, error):
        trailers = dict(error.trailing_metadata())
        status = MESSAGES("google.rpc.Status")()
        status.ParseFromString(trailers["grpc-status-details-bin"])
        found = {}
        for any_message in status.details:
            name = any_message.type_url.split("/")[-1]
            found[name] = MESSAGES(name).FromString(any_message.value)
        self.assertEqual(status.code, error.code().value[0])
        self.assertEqual(status.message, error.details())
        return found

    def assert_alive(self):
        self.unary(SERVICE + "EmptyCall", b"")


class Failures(RpcTest):
    def fail_with(self, reason, **extra):
        metadata = [("x-weir-fail", reason)] + [("x-weir-" + k, v) for k, v in extra.items()]
        return self.failure(SERVICE + "UnaryCall", b"", metadata=metadata)

    def test_every_failure_carries_its_reason_and_the_call_id(self):
        error = self.fail_with("DOCUMENT_NOT_FOUND")
        self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)
        details = self.details(error)
        info = details["google.rpc.ErrorInfo"]
        self.assertEqual((info.reason, info.domain), ("DOCUMENT_NOT_FOUND", "weir.dev"))
        self.assertEqual(
            info.metadata["request_id"], dict(error.initial_metadata())["x-request-id"]
        )
        self.assertEqual(set(details), {"google.rpc.ErrorInfo"})

    def test_a_field_at_fault_is_a_bad_request_detail(self):
        details = self.details(self.fail_with("INVALID_ARGUMENT", field="document.filename"))
        violation = details["google.rpc.BadRequest"].field_violations[0]
        self.assertEqual(violation.field, "document.filename")

    def test_pressure_tells_when_to_come_back(self):
        error = self.fail_with("PRESSURE", **{"retry-ms": "2500"})
        self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        delay = self.details(error)["google.rpc.RetryInfo"].retry_delay
        self.assertEqual((delay.seconds, delay.nanos), (2, 500_000_000))
        self.assertEqual(dict(error.trailing_metadata())["grpc-retry-pushback-ms"], "2500")

    def test_an_outage_tells_when_to_come_back_by_itself(self):
        error = self.fail_with("STORE_IO")
        self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertIn("google.rpc.RetryInfo", self.details(error))

    def test_the_callers_request_id_is_echoed(self):
        _, call = self.unary(SERVICE + "EmptyCall", b"", metadata=[("x-request-id", "abc/7")])
        self.assertEqual(dict(call.initial_metadata())["x-request-id"], "abc/7")

    def test_a_missing_or_odd_request_id_is_replaced(self):
        for given in (None, "two words", "x" * 129):
            metadata = [] if given is None else [("x-request-id", given)]
            _, call = self.unary(SERVICE + "EmptyCall", b"", metadata=metadata)
            made = dict(call.initial_metadata())["x-request-id"]
            self.assertNotEqual(made, given)
            self.assertRegex(made, "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-")

    def test_a_method_without_a_handler_says_so_by_name(self):
        error = self.failure(SERVICE + "UnimplementedCall", b"")
        self.assertEqual(error.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.assertIn(SERVICE + "UnimplementedCall", error.details())
        self.assertEqual(
            self.details(error)["google.rpc.ErrorInfo"].reason, "UNIMPLEMENTED"
        )
        stream = self.channel.stream_stream(SERVICE + "HalfDuplexCall", raw, raw)
        with self.assertRaises(grpc.RpcError) as caught:
            list(stream(iter([b"", b""]), timeout=PATIENCE))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_unknown_paths_are_answered_at_once(self):
        paths = ["/no.Such/Method", SERVICE + "Nope", "/x", "/" + "a" * 5000 + "/b", "/a/b/c"]
        for path in paths:
            error = self.failure(path, b"", timeout=PATIENCE)
            self.assertEqual(error.code(), grpc.StatusCode.UNIMPLEMENTED, path)

    def test_a_deadline_ends_a_sleeping_call(self):
        request = MESSAGES("grpc.testing.StreamingOutputCallRequest")()
        request.response_parameters.add(size=1, interval_us=300_000)
        method = self.channel.unary_stream(SERVICE + "StreamingOutputCall", raw, raw)
        with self.assertRaises(grpc.RpcError) as caught:
            list(method(request.SerializeToString(), timeout=0.05))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assert_alive()


class Garbage(RpcTest):
    def expect_malformed(self, data):
        error = self.failure(SERVICE + "UnaryCall", data)
        self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(
            self.details(error)["google.rpc.ErrorInfo"].reason, "MALFORMED_MESSAGE"
        )

    def test_bytes_that_are_no_message_are_refused(self):
        self.expect_malformed(b"\x1a\xff\xff\xff\xff\x0f")  # a length beyond the end
        self.expect_malformed(b"\xff" * 20)
        self.expect_malformed(b"\x3a\x05\x12\x03\xff\xfe\xfd")  # a string that is not UTF-8
        self.assert_alive()

    def test_a_malformed_message_ends_a_stream(self):
        stream = self.channel.stream_unary(SERVICE + "StreamingInputCall", raw, raw)
        with self.assertRaises(grpc.RpcError) as caught:
            stream(iter([b"", b"\xff" * 9, b""]), timeout=PATIENCE)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assert_alive()

    def test_random_bytes_never_hurt(self):
        generator = random.Random(7)
        for _ in range(300):
            data = generator.randbytes(generator.randrange(1, 200))
            try:
                self.unary(SERVICE + "CacheableUnaryCall", data)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assert_alive()

    def test_a_unary_call_without_a_message_is_refused(self):
        method = self.channel.stream_unary(SERVICE + "UnaryCall", raw, raw)
        with self.assertRaises(grpc.RpcError) as caught:
            method(iter([]), timeout=PATIENCE)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.assert_alive()


class Limits(RpcTest):
    def request_of(self, size):
        request = MESSAGES("grpc.testing.SimpleRequest")()
        request.payload.body = bytes(size)
        return request

    def test_a_message_over_the_limit_is_told_what_to_use(self):
        error = self.failure(SERVICE + "UnaryCall", self.request_of(40 << 20))
        self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("StreamingInputCall", error.details())
        self.assertEqual(self.details(error)["google.rpc.ErrorInfo"].reason, "BODY_TOO_LARGE")

    def test_memory_for_messages_is_bounded(self):
        server = Server("--memory-mb", "64")
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(server.address, options=options) as channel:
            method = channel.unary_unary(SERVICE + "UnaryCall", raw, raw)
            before = server.peak_kb()
            with self.assertRaises(grpc.RpcError) as caught:
                method(self.request_of(300 << 20).SerializeToString(), timeout=PATIENCE)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            # The sanitizers keep freed memory for a while, so the bound is generous.
            self.assertLess(server.peak_kb() - before, 200 << 10)
            channel.unary_unary(SERVICE + "EmptyCall", raw, raw)(b"", timeout=PATIENCE)
        code, errors = server.stop()
        self.assertEqual(code, 0, errors)

    def test_a_compressed_message_is_refused_before_it_is_inflated(self):
        self.assert_alive()
        before = self.server.peak_kb()
        error = self.failure(
            SERVICE + "UnaryCall", self.request_of(200 << 20), compression=grpc.Compression.Gzip
        )
        self.assertEqual(error.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.assertLess(self.server.peak_kb() - before, 20 << 10)
        self.assert_alive()

    def test_too_much_metadata_is_refused(self):
        metadata = [("x-fill", "a" * 60_000)]
        error = self.failure(SERVICE + "EmptyCall", b"", metadata=metadata)
        self.assertIn(
            error.code(), (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
        )
        # The core may close the connection for it: others live on.
        with grpc.insecure_channel(self.server.address) as other:
            other.unary_unary(SERVICE + "EmptyCall", raw, raw)(b"", timeout=PATIENCE)


class Standard(RpcTest):
    def test_health_is_serving_and_unknown_services_are_not_found(self):
        request = MESSAGES("grpc.health.v1.HealthCheckRequest")
        answer = MESSAGES("grpc.health.v1.HealthCheckResponse")
        for name in ("", "grpc.testing.TestService", "grpc.health.v1.Health"):
            data, _ = self.unary("/grpc.health.v1.Health/Check", request(service=name))
            self.assertEqual(answer.FromString(data).status, 1)
        error = self.failure("/grpc.health.v1.Health/Check", request(service="x"))
        self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)

    def reflect(self, version, **fields):
        request = MESSAGES(f"grpc.reflection.{version}.ServerReflectionRequest")(**fields)
        answer = MESSAGES(f"grpc.reflection.{version}.ServerReflectionResponse")
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        method = self.channel.stream_stream(path, raw, raw)
        replies = list(method(iter([request.SerializeToString()]), timeout=PATIENCE))
        self.assertEqual(len(replies), 1)
        return answer.FromString(replies[0])

    def test_reflection_lists_the_services_in_both_versions(self):
        for version in ("v1", "v1alpha"):
            services = self.reflect(version, list_services="").list_services_response.service
            self.assertEqual(
                {service.name for service in services},
                {
                    "grpc.testing.TestService",
                    "grpc.health.v1.Health",
                    "grpc.reflection.v1.ServerReflection",
                    "grpc.reflection.v1alpha.ServerReflection",
                },
            )

    def test_reflected_files_build_a_pool_by_themselves(self):
        pool = descriptor_pool.DescriptorPool()
        answer = self.reflect("v1", file_containing_symbol="grpc.testing.TestService")
        files = answer.file_descriptor_response.file_descriptor_proto
        for data in reversed(files):  # what is imported comes after its importer
            pool.AddSerializedFile(data)
        method = pool.FindMethodByName("grpc.testing.TestService.UnaryCall")
        self.assertEqual(method.input_type.full_name, "grpc.testing.SimpleRequest")


class Ending(unittest.TestCase):
    def test_an_upload_that_breaks_off_leaves_the_server_well(self):
        server = Server()
        with grpc.insecure_channel(server.address) as channel:
            method = channel.stream_unary(SERVICE + "StreamingInputCall", raw, raw)
            for _ in range(20):
                release = threading.Event()

                def messages(gate=release):
                    yield b""
                    gate.wait(PATIENCE)

                future = method.future(messages())
                future.cancel()
                release.set()
            channel.unary_unary(SERVICE + "EmptyCall", raw, raw)(b"", timeout=PATIENCE)
        code, errors = server.stop()
        self.assertEqual(code, 0, errors)

    def test_a_drain_ends_a_watch_at_once(self):
        server = Server("--drain-ms", "50000")
        with grpc.insecure_channel(server.address) as channel:
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch", raw, raw)(b"")
            self.assertEqual(next(watch), b"\x08\x01")
            began = time.monotonic()
            code, errors = server.stop()
            self.assertEqual(code, 0, errors)
            self.assertLess(time.monotonic() - began, 20)
            self.assertEqual(next(watch), b"\x08\x02")  # NOT_SERVING before the end
            with self.assertRaises(grpc.RpcError) as caught:
                next(watch)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_a_drain_is_not_stopped_by_a_stalled_stream(self):
        server = Server("--drain-ms", "300")
        request = MESSAGES("grpc.testing.StreamingOutputCallRequest")()
        for _ in range(200):
            request.response_parameters.add(size=1 << 20)
        with grpc.insecure_channel(server.address) as channel:
            method = channel.unary_stream(SERVICE + "StreamingOutputCall", raw, raw)
            stream = method(request.SerializeToString())
            next(stream)  # and no more: the rest does not fit the windows
            began = time.monotonic()
            code, errors = server.stop()
            self.assertEqual(code, 0, errors)
            self.assertLess(time.monotonic() - began, PATIENCE / 2)
            with self.assertRaises(grpc.RpcError):
                list(stream)


class Authority:
    """A certificate authority in a folder of its own, by the openssl program."""

    def __init__(self):
        self.folder = tempfile.mkdtemp()
        self.ca = self.path("ca.pem")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-nodes", "-keyout", self.path("ca.key"), "-out", self.ca,
                     "-subj", "/CN=test authority", "-days", "2")

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def issue(self, name, subject):
        """Writes NAME.pem and NAME.key, in the place of older ones at once."""
        key, request, made = self.path("new.key"), self.path("new.csr"), self.path("new.pem")
        extensions = self.path("extensions")
        with open(extensions, "w", encoding="ascii") as stream:
            stream.write("subjectAltName=DNS:localhost,IP:127.0.0.1")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-keyout", key, "-out", request, "-subj", f"/CN={subject}")
        self.openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey",
                     self.path("ca.key"), "-CAcreateserial", "-out", made, "-days", "2",
                     "-extfile", extensions)
        os.replace(key, self.path(name + ".key"))
        os.replace(made, self.path(name + ".pem"))
        return self.path(name + ".pem"), self.path(name + ".key")

    def read(self, name):
        with open(self.path(name), "rb") as stream:
            return stream.read()

    def remove(self):
        shutil.rmtree(self.folder)


class Tls(unittest.TestCase):
    def setUp(self):
        self.authority = Authority()
        self.certificate, self.key = self.authority.issue("server", "first")

    def tearDown(self):
        self.authority.remove()

    def call(self, address, key=None, certificate=None):
        credentials = grpc.ssl_channel_credentials(
            self.authority.read("ca.pem"), private_key=key, certificate_chain=certificate
        )
        with grpc.secure_channel(address, credentials) as channel:
            channel.unary_unary(SERVICE + "EmptyCall", raw, raw)(b"", timeout=PATIENCE)

    def subject(self, address):
        host, port = address.rsplit(":", 1)
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", f"{host}:{port}", "-alpn", "h2"],
            input=b"", capture_output=True, check=False, timeout=PATIENCE,
        )
        return [line for line in shown.stdout.decode(errors="replace").splitlines() if "subject=" in line][0]

    def test_a_renewed_certificate_is_used_without_a_restart(self):
        server = Server("--tls-cert", self.certificate, "--tls-key", self.key)
        self.call(server.address)
        self.assertIn("first", self.subject(server.address))
        self.authority.issue("server", "second")
        self.assertIn("second", self.subject(server.address))
        self.call(server.address)
        with open(self.certificate, "w", encoding="ascii") as stream:
            stream.write("not a certificate")
        self.assertIn("second", self.subject(server.address))
        code, errors = server.stop()
        self.assertEqual(code, 0, errors)

    def test_plaintext_is_refused(self):
        server = Server("--tls-cert", self.certificate, "--tls-key", self.key)
        with grpc.insecure_channel(server.address) as channel:
            with self.assertRaises(grpc.RpcError):
                channel.unary_unary(SERVICE + "EmptyCall", raw, raw)(b"", timeout=5)
        self.call(server.address)
        code, errors = server.stop()
        self.assertEqual(code, 0, errors)

    def test_with_a_client_authority_a_client_needs_a_certificate(self):
        server = Server("--tls-cert", self.certificate, "--tls-key", self.key,
                        "--tls-client-ca", self.authority.ca)
        with self.assertRaises(grpc.RpcError):
            self.call(server.address)
        self.authority.issue("client", "client")
        self.call(server.address, self.authority.read("client.key"),
                  self.authority.read("client.pem"))
        code, errors = server.stop()
        self.assertEqual(code, 0, errors)


if __name__ == "__main__":
    SERVER_PATH = sys.argv[1]
    sets = [argument for argument in sys.argv[2:] if argument.endswith(".binpb")]
    MESSAGES = Messages(sets)
    os.environ.pop("GRPC_TRACE", None)
    unittest.main(argv=[sys.argv[0]] + [a for a in sys.argv[2:] if not a.endswith(".binpb")])
