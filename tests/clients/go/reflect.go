package main

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// What grpcurl does: ask which services there are and what they look like, then call them knowing nothing else.
type reflection interface {
	list() []string
	describe(symbol string) [][]byte // the file of the symbol and what it imports
}

type v1 struct {
	stream reflectv1.ServerReflection_ServerReflectionInfoClient
}

func (r v1) ask(request *reflectv1.ServerReflectionRequest) *reflectv1.ServerReflectionResponse {
	check(r.stream.Send(request), "reflection v1")
	answer, err := r.stream.Recv()
	check(err, "reflection v1")
	return answer
}

func (r v1) list() (names []string) {
	request := &reflectv1.ServerReflectionRequest_ListServices{}
	for _, service := range r.ask(&reflectv1.ServerReflectionRequest{MessageRequest: request}).GetListServicesResponse().GetService() {
		names = append(names, service.Name)
	}
	return names
}

func (r v1) describe(symbol string) [][]byte {
	request := &reflectv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol}
	return r.ask(&reflectv1.ServerReflectionRequest{MessageRequest: request}).GetFileDescriptorResponse().GetFileDescriptorProto()
}

type v1alpha struct {
	stream reflectv1alpha.ServerReflection_ServerReflectionInfoClient
}

func (r v1alpha) ask(request *reflectv1alpha.ServerReflectionRequest) *reflectv1alpha.ServerReflectionResponse {
	check(r.stream.Send(request), "reflection v1alpha")
	answer, err := r.stream.Recv()
	check(err, "reflection v1alpha")
	return answer
}

func (r v1alpha) list() (names []string) {
	request := &reflectv1alpha.ServerReflectionRequest_ListServices{}
	for _, service := range r.ask(&reflectv1alpha.ServerReflectionRequest{MessageRequest: request}).GetListServicesResponse().GetService() {
		names = append(names, service.Name)
	}
	return names
}

func (r v1alpha) describe(symbol string) [][]byte {
	request := &reflectv1alpha.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol}
	return r.ask(&reflectv1alpha.ServerReflectionRequest{MessageRequest: request}).GetFileDescriptorResponse().GetFileDescriptorProto()
}

// The service as the server describes it, from nothing but its answer.
func resolve(server reflection, name string) protoreflect.ServiceDescriptor {
	set := &descriptorpb.FileDescriptorSet{}
	for _, data := range server.describe(name) {
		file := &descriptorpb.FileDescriptorProto{}
		check(proto.Unmarshal(data, file), "the file of "+name)
		set.File = append(set.File, file)
	}
	files, err := protodesc.NewFiles(set)
	check(err, "the files of "+name)
	found, err := files.FindDescriptorByName(protoreflect.FullName(name))
	if err == protoregistry.NotFound {
		fail("%s is listed and not described", name)
	}
	check(err, name)
	return found.(protoreflect.ServiceDescriptor)
}

// Calls every unary method with an empty request.  What needs a field refuses it by name; nothing else is a failure.
func callAll(ctx context.Context, connection *grpc.ClientConn, service protoreflect.ServiceDescriptor) (calls, good int) {
	for i := 0; i < service.Methods().Len(); i++ {
		method := service.Methods().Get(i)
		if method.IsStreamingClient() || method.IsStreamingServer() {
			continue
		}
		path := fmt.Sprintf("/%s/%s", service.FullName(), method.Name())
		answer := dynamicpb.NewMessage(method.Output())
		err := connection.Invoke(ctx, path, dynamicpb.NewMessage(method.Input()), answer)
		calls++
		switch status.Code(err) {
		case codes.OK:
			good++
		case codes.InvalidArgument, codes.NotFound, codes.Unimplemented, codes.FailedPrecondition:
			_, why := reason(err)
			expect(why != "", "%s fails without a reason: %v", path, err)
		default:
			fail("%s: %v", path, err)
		}
	}
	return calls, good
}

// At least one call of each of these is answered OK on every server that lists it.
var answering = []string{"grpc.health.v1.Health", "weir.internal.v1.StageService", "weir.v1.SystemService", "weir.v1.CollectionService"}

func reflect(ctx context.Context, address string) {
	connection := dial(address)
	defer connection.Close()
	newer, err := reflectv1.NewServerReflectionClient(connection).ServerReflectionInfo(ctx)
	check(err, "reflection v1 on "+address)
	older, err := reflectv1alpha.NewServerReflectionClient(connection).ServerReflectionInfo(ctx)
	check(err, "reflection v1alpha on "+address)
	names, again := v1{newer}.list(), v1alpha{older}.list()
	sort.Strings(names)
	sort.Strings(again)
	expect(strings.Join(names, " ") == strings.Join(again, " "), "v1 lists %v, v1alpha %v", names, again)
	for _, name := range answering[:2] {
		expect(strings.Contains(strings.Join(names, " "), name), "%s does not list %s", address, name)
	}
	total, answered := 0, 0
	for _, name := range names {
		resolve(v1alpha{older}, name)
		calls, good := callAll(ctx, connection, resolve(v1{newer}, name))
		total, answered = total+calls, answered+good
		for _, must := range answering {
			expect(name != must || good > 0, "%s on %s answers no call", name, address)
		}
	}
	fmt.Printf("pass %s: %d services, %d calls, %d answered OK\n", address, len(names), total, answered)
}
