// A Go client of weir: the path of a document through generated stubs, then every service of the suite by reflection.
//
// usage: client MODEL GATEWAY INGEST EMBEDDER INDEXER RECONCILER     (addresses; exit 0 = all well)
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	weir "weir.dev/weir/v1"
)

const collection = "go"

func check(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "FAIL "+format+"\n", arguments...)
	os.Exit(1)
}

func expect(good bool, format string, arguments ...any) {
	if !good {
		fail(format, arguments...)
	}
}

func dial(address string) *grpc.ClientConn {
	connection, err := grpc.Dial(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err, "dial "+address)
	return connection
}

// The reason of a failure, from its details.
func reason(err error) (codes.Code, string) {
	for _, detail := range status.Convert(err).Details() {
		if info, is := detail.(*errdetails.ErrorInfo); is {
			expect(info.Domain == "weir.dev", "domain %q", info.Domain)
			return status.Code(err), info.Reason
		}
	}
	return status.Code(err), ""
}

func ingest(ctx context.Context, documents weir.DocumentServiceClient) {
	answer, err := documents.IngestDocument(ctx, &weir.IngestDocumentRequest{
		CollectionId: collection, DocumentId: "mill", RequestId: "go-1",
		Body: &weir.IngestDocumentRequest_Text{Text: "The mill wheel turns."},
		Metadata: map[string]*weir.MetadataValue{
			"by": {Value: &weir.MetadataValue_StringValue{StringValue: "go"}},
		},
	})
	check(err, "IngestDocument")
	expect(answer.Outcome == weir.IngestOutcome_INGEST_OUTCOME_CREATED, "outcome %v", answer.Outcome)
	waited, err := documents.WaitDocument(ctx, &weir.WaitDocumentRequest{
		CollectionId: collection, DocumentId: "mill", Timeout: durationpb.New(20 * time.Second),
	})
	check(err, "WaitDocument")
	expect(waited.Document.State == weir.DocumentState_DOCUMENT_STATE_READY, "state %v", waited.Document.State)
}

// Sends a hundred documents while it reads the answers, which come in order.
func ingestStream(ctx context.Context, documents weir.DocumentServiceClient) {
	const number = 100
	stream, err := documents.IngestDocuments(ctx)
	check(err, "IngestDocuments")
	go func() {
		for i := 0; i < number; i++ {
			check(stream.Send(&weir.IngestDocumentsRequest{
				CorrelationId: fmt.Sprint(i),
				Request: &weir.IngestDocumentRequest{
					CollectionId: collection, DocumentId: fmt.Sprintf("s%d", i),
					Body: &weir.IngestDocumentRequest_Data{Data: []byte(fmt.Sprintf("Stone number%d of the mill.", i))},
				},
			}), "Send")
		}
		check(stream.CloseSend(), "CloseSend")
	}()
	for i := 0; i < number; i++ {
		answer, err := stream.Recv()
		check(err, "Recv")
		expect(answer.CorrelationId == fmt.Sprint(i), "answer %d is for %s", i, answer.CorrelationId)
		expect(answer.GetDocument() != nil, "item %d: %v", i, answer.GetStatus())
	}
	_, err = stream.Recv()
	expect(err == io.EOF, "the stream ends with %v", err)
}

// Follows the collection until all documents are READY, or have been.
func watch(ctx context.Context, documents weir.DocumentServiceClient) func() {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := documents.WatchDocuments(ctx, &weir.WatchDocumentsRequest{CollectionId: collection})
	check(err, "WatchDocuments")
	_, err = stream.Header()
	check(err, "the header of the watch")
	return func() {
		ready := map[string]bool{}
		for len(ready) < 101 {
			event, err := stream.Recv()
			check(err, "the watch")
			if event.Document.State == weir.DocumentState_DOCUMENT_STATE_READY {
				ready[event.Document.DocumentId] = true
			}
		}
		cancel()
		_, err := stream.Recv()
		expect(status.Code(err) == codes.Canceled, "a cancelled watch ends with %v", err)
	}
}

func search(ctx context.Context, connection *grpc.ClientConn) {
	searches := weir.NewSearchServiceClient(connection)
	answer, err := searches.Search(ctx, &weir.SearchRequest{
		CollectionId: collection, Query: &weir.SearchRequest_Text{Text: "number42"}, TopK: 1,
	})
	check(err, "Search")
	expect(len(answer.Hits) == 1 && answer.Hits[0].DocumentId == "s42", "hits %v", answer.Hits)
	_, err = searches.Search(ctx, &weir.SearchRequest{
		CollectionId: collection, Query: &weir.SearchRequest_Vector{Vector: &weir.Vector{Values: []float32{1}}},
	})
	code, why := reason(err)
	expect(code == codes.InvalidArgument && why == "DIMENSION_MISMATCH", "a short vector: %v", err)
}

func failures(ctx context.Context, documents weir.DocumentServiceClient) {
	_, err := documents.GetDocument(ctx, &weir.GetDocumentRequest{CollectionId: collection, DocumentId: "none"})
	code, why := reason(err)
	expect(code == codes.NotFound && why == "DOCUMENT_NOT_FOUND", "a missing document: %v", err)
	_, err = documents.IngestDocument(ctx, &weir.IngestDocumentRequest{
		CollectionId: collection, DocumentId: "mill", RequestId: "go-1",
		Body: &weir.IngestDocumentRequest_Text{Text: "Something else."},
	})
	code, why = reason(err)
	expect(code == codes.AlreadyExists && why == "REQUEST_ID_CONFLICT", "a used request id: %v", err)

	upload, err := documents.UploadDocument(ctx)
	check(err, "UploadDocument")
	_, err = upload.CloseAndRecv()
	expect(status.Code(err) == codes.Unimplemented, "UploadDocument: %v", err)

	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	stream, err := documents.WatchDocuments(short, &weir.WatchDocumentsRequest{CollectionId: collection})
	check(err, "WatchDocuments")
	for err == nil {
		_, err = stream.Recv()
	}
	expect(status.Code(err) == codes.DeadlineExceeded, "a watch past its deadline: %v", err)
}

func path(ctx context.Context, address, model string) {
	connection := dial(address)
	defer connection.Close()
	documents := weir.NewDocumentServiceClient(connection)
	made, err := weir.NewCollectionServiceClient(connection).CreateCollection(ctx, &weir.CreateCollectionRequest{
		Collection: &weir.Collection{CollectionId: collection, EmbeddingModel: model},
	})
	check(err, "CreateCollection")
	expect(made.Collection.Dimension == 384, "dimension %d", made.Collection.Dimension)
	follow := watch(ctx, documents)
	ingest(ctx, documents)
	ingestStream(ctx, documents)
	follow()
	search(ctx, connection)
	failures(ctx, documents)
	fmt.Println("pass create, ingest, stream, wait, watch, search, failures")
}

func main() {
	expect(len(os.Args) == 7, "usage: %s MODEL GATEWAY INGEST EMBEDDER INDEXER RECONCILER", os.Args[0])
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	path(ctx, os.Args[2], os.Args[1])
	for _, address := range os.Args[2:] {
		reflect(ctx, address)
	}
}
