"""All four kinds of calls through the stubs that protoc made.  Run by python_client_test.py: ADDRESS MODEL."""

import sys

import grpc
from google.rpc import error_details_pb2, status_pb2
from weir.v1 import collection_pb2, collection_pb2_grpc, document_pb2, document_pb2_grpc
from weir.v1 import search_pb2, search_pb2_grpc, system_pb2, system_pb2_grpc

channel = grpc.insecure_channel(sys.argv[1])
collections = collection_pb2_grpc.CollectionServiceStub(channel)
documents = document_pb2_grpc.DocumentServiceStub(channel)
searches = search_pb2_grpc.SearchServiceStub(channel)

made = collections.CreateCollection(
    collection_pb2.CreateCollectionRequest(collection={"collection_id": "py", "embedding_model": sys.argv[2]})
)
assert made.collection.dimension == 384, made

# A server stream, open while a stream of both sides brings documents in.
watch = documents.WatchDocuments(document_pb2.WatchDocumentsRequest(collection_id="py"), timeout=30)
watch.initial_metadata()
requests = (
    document_pb2.IngestDocumentsRequest(
        correlation_id=str(number),
        request={"collection_id": "py", "document_id": f"d{number}", "text": f"number{number} of ten"},
    )
    for number in range(10)
)
answers = list(documents.IngestDocuments(requests, timeout=30))
assert [answer.correlation_id for answer in answers] == [str(number) for number in range(10)], answers
ready = set()
for event in watch:
    if event.document.state == document_pb2.DOCUMENT_STATE_READY:
        ready.add(event.document.document_id)
    if len(ready) == 10:
        break
watch.cancel()

hits = searches.Search(search_pb2.SearchRequest(collection_id="py", text="number7", top_k=1)).hits
assert hits[0].document_id == "d7", hits

# A stream from the client, to a method that this version does not answer.
try:
    documents.UploadDocument(iter([document_pb2.UploadDocumentRequest(data=b"x")]), timeout=10)
    raise SystemExit("UploadDocument was answered")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error

try:
    documents.GetDocument(document_pb2.GetDocumentRequest(collection_id="py", document_id="none"))
    raise SystemExit("a missing document was answered")
except grpc.RpcError as error:
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("DOCUMENT_NOT_FOUND", "weir.dev"), info

system = system_pb2_grpc.SystemServiceStub(channel)
pressure = system.WatchPressure(
    system_pb2.WatchPressureRequest(collection_id="py", interval={"nanos": 100_000_000}), timeout=30
)
looks = [next(pressure) for _ in range(3)]
pressure.cancel()
assert [look.pressure.ready for look in looks] == [10, 10, 10], looks

info = system.GetServerInfo(system_pb2.GetServerInfoRequest())
print("version", info.version)
