"""Rules of the messages that `buf lint` does not know, over their descriptors.

Every default is the zero value (no `optional`, no default), no message is recursive (the C decoder has no depth
limit), instants are Timestamps called ..._time, ids are called ..._id, and a field that has the name of a
resource holds the resource.
"""

import os
import subprocess
import tempfile

from google.protobuf import descriptor_pb2

Field = descriptor_pb2.FieldDescriptorProto
TIMESTAMP = ".google.protobuf.Timestamp"
OURS = ("weir.v1", "weir.internal.v1")


def load(roots, files):
    with tempfile.NamedTemporaryFile(suffix=".binpb") as out:
        command = ["protoc", "--include_imports", "--include_source_info", f"--descriptor_set_out={out.name}"]
        subprocess.run(command + [f"-I{root}" for root in [*roots, "/usr/include"]] + files, check=True)
        return descriptor_pb2.FileDescriptorSet.FromString(out.read())


def messages_of(container, prefix):
    """(full name, descriptor) of every message, nested ones too."""
    for message in getattr(container, "message_type", None) or getattr(container, "nested_type", []):
        yield f"{prefix}.{message.name}", message
        yield from messages_of(message, f"{prefix}.{message.name}")


def check_field(name, field, resources):
    where = f"{name}.{field.name}"
    if field.proto3_optional or field.default_value:
        yield f"{where}: `optional` and defaults are not used: every default is the zero value"
    if field.name.endswith("_time") and field.type_name != TIMESTAMP:
        yield f"{where}: an instant (_time) is a google.protobuf.Timestamp"
    if field.type_name == TIMESTAMP and not (field.name.endswith("_time") or field.name == "time"):
        if not field.name.startswith("timestamp_"):
            yield f"{where}: a Timestamp is called ..._time"
    if field.name.endswith("_id") and field.type not in (Field.TYPE_STRING, Field.TYPE_BYTES):
        yield f"{where}: an id (_id) is a string"
    resource = resources.get(field.name)
    if resource is not None and field.type != Field.TYPE_MESSAGE:
        yield f"{where}: a field with the name of {resource} holds the message"


def check_recursion(graph):
    done = set()

    def visit(name, path):
        if name in path:
            yield f"{name} is recursive: {' -> '.join([*path[path.index(name):], name])}"
        elif name not in done:
            for used in graph.get(name, ()):
                yield from visit(used, [*path, name])
            done.add(name)

    for name in sorted(graph):
        yield from visit(name, [])


def check_enums(name, container):
    for enum in container.enum_type:
        first = enum.value[0]
        if first.number != 0 or not first.name.endswith("_UNSPECIFIED"):
            yield f"{name}.{enum.name}: the first value is ..._UNSPECIFIED = 0"


def check_set(descriptors):
    problems, graph = [], {}
    ours = [file for file in descriptors.file if file.package in OURS]
    named = {name: message for file in ours for name, message in messages_of(file, f".{file.package}")}
    resources = {
        resource.lower(): resource
        for resource in ("Document", "Collection", "Chunk", "Tenant")
        if f".weir.v1.{resource}" in named
    }
    for file in ours:
        problems += [(file.name, text) for text in check_enums(file.package, file)]
        for name, message in messages_of(file, f".{file.package}"):
            graph[name] = [field.type_name for field in message.field if field.type == Field.TYPE_MESSAGE]
            problems += [(file.name, text) for text in check_enums(name, message)]
            if file.package == "weir.v1":
                for field in message.field:
                    problems += [(file.name, text) for text in check_field(name, field, resources)]
            elif any(field.proto3_optional for field in message.field):
                problems.append((file.name, f"{name}: `optional` is not used"))
    return problems + [("", text) for text in check_recursion(graph)]


def check_source(text):
    """For the tests: the problems of one file."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "a.proto"), "w", encoding="utf-8") as out:
            out.write(text)
        return check_set(load([folder], ["a.proto"]))


def check_tree(proto_folder):
    files = []
    for folder, _, names in os.walk(os.path.join(proto_folder, "weir")):
        files += [os.path.relpath(os.path.join(folder, n), proto_folder) for n in names if n.endswith(".proto")]
    return check_set(load([proto_folder, os.path.join(proto_folder, "third_party")], sorted(files)))
