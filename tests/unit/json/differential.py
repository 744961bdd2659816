"""Python's json_format as the reference for common/json: random messages, both ways.

    differential.py json_pipe weir.binpb json_shapes.binpb
"""
import difflib
import json
import random
import subprocess
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor as Field

SEED, MESSAGES = 20260131, 400
TYPES = ["weir.test.Shapes", "google.rpc.Status", "weir.v1.Document", "weir.v1.IngestDocumentRequest",
         "weir.v1.IngestDocumentsResponse", "weir.v1.Pressure", "weir.v1.SearchRequest",
         "weir.v1.SearchResponse", "weir.v1.UpdateCollectionRequest"]
DETAILS = ["google.rpc.ErrorInfo", "google.rpc.RetryInfo", "google.rpc.BadRequest"]
STRINGS = ["", "a", "é", "\U0001F600", "\"\\/\b\f\n\r\t\x01\x1f\x7f", "</script>", "\u2028", "x" * 300]
RANGES = {
    Field.TYPE_INT32: (-2**31, 2**31 - 1), Field.TYPE_SINT32: (-2**31, 2**31 - 1),
    Field.TYPE_SFIXED32: (-2**31, 2**31 - 1), Field.TYPE_INT64: (-2**63, 2**63 - 1),
    Field.TYPE_SINT64: (-2**63, 2**63 - 1), Field.TYPE_SFIXED64: (-2**63, 2**63 - 1),
    Field.TYPE_UINT32: (0, 2**32 - 1), Field.TYPE_FIXED32: (0, 2**32 - 1),
    Field.TYPE_UINT64: (0, 2**64 - 1), Field.TYPE_FIXED64: (0, 2**64 - 1),
}


class Pipe:
    def __init__(self, program):
        self.child = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, operation, name, data):
        self.child.stdin.write(f"{operation} {name} {data.hex()}\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline().rstrip("\n")
        if answer.startswith("ok "):
            return bytes.fromhex(answer[3:]), None
        assert answer.startswith("error "), f"json_pipe ended: {answer!r}"
        return None, answer


class Maker:
    """Random messages that the mapping can carry."""

    def __init__(self, rng, pool, classes):
        self.rng, self.pool, self.classes = rng, pool, classes

    def scalar(self, field):
        rng = self.rng
        if field.type in RANGES:
            low, high = RANGES[field.type]
            return rng.choice([low, high, 0, 1, rng.randint(low, high), rng.randint(max(low, -9), 9)])
        if field.type == Field.TYPE_FLOAT:
            return rng.choice([0.0, 1.5, 0.1, -3e38, 1e-44, float("inf"), float("-inf"), float("nan"),
                               rng.uniform(-1, 1)])
        if field.type == Field.TYPE_DOUBLE:
            # No -0.0: protobuf-c packs it as the default, which is nothing.
            return rng.choice([0.0, 0.1, 1e300, 5e-324, 2.0**60, float("inf"), float("nan"),
                               rng.uniform(-1e9, 1e9)])
        if field.type == Field.TYPE_BOOL:
            return rng.random() < 0.5
        if field.type == Field.TYPE_STRING:
            return rng.choice(STRINGS) + rng.choice(STRINGS)
        if field.type == Field.TYPE_BYTES:
            return rng.randbytes(rng.randrange(8))
        assert field.type == Field.TYPE_ENUM
        return rng.choice([value.number for value in field.enum_type.values] + [4711])

    def special(self, message):
        rng, name = self.rng, message.DESCRIPTOR.full_name
        if name == "google.protobuf.Timestamp":
            message.seconds = rng.choice([-62135596800, 253402300799, 0, -1,
                                          rng.randint(-62135596800, 253402300799)])
            message.nanos = rng.choice([0, 1, 1000, 500000000, 999999999, rng.randrange(10**9)])
        elif name == "google.protobuf.Duration":
            sign = rng.choice([1, -1])
            message.seconds = sign * rng.choice([0, 1, 315575999999, rng.randrange(10**6)])
            message.nanos = sign * rng.choice([0, 1, 10**6, rng.randrange(10**9)])
        elif name == "google.protobuf.FieldMask":
            message.paths.extend(rng.choice(["a", "filter_fields", "a.b_c", "metadata.some_key"])
                                 for _ in range(rng.randrange(3)))
        elif name == "google.protobuf.Any":
            detail = self.classes[rng.choice(DETAILS)]()
            self.fill(detail)
            message.type_url = "type.googleapis.com/" + detail.DESCRIPTOR.full_name
            message.value = detail.SerializeToString()
        else:
            return False
        return True

    def map(self, field, entries):
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        for _ in range(self.rng.randrange(4)):
            if value.message_type:
                self.fill(entries[self.scalar(key)])
            else:
                entries[self.scalar(key)] = self.scalar(value)

    def fill(self, message):
        if self.special(message):
            return message
        for field in message.DESCRIPTOR.fields:
            if self.rng.random() < 0.4:
                continue
            slot = getattr(message, field.name)
            is_map = field.message_type and field.message_type.GetOptions().map_entry
            if is_map:
                self.map(field, slot)
            elif field.label == Field.LABEL_REPEATED:
                for _ in range(self.rng.randrange(4)):
                    if field.message_type:
                        self.fill(slot.add())
                    else:
                        slot.append(self.scalar(field))
            elif field.message_type:
                slot.SetInParent()
                self.fill(slot)
            else:
                setattr(message, field.name, self.scalar(field))
        return message


def settle(message, classes):
    """Pack each Any anew: the order of a map in it, and whether its zeros are written, are open."""
    if message.DESCRIPTOR.full_name == "google.protobuf.Any":
        detail = classes[message.type_url.split("/")[1]].FromString(message.value)
        message.value = detail.SerializeToString(deterministic=True)
        return message
    for field, value in message.ListFields():
        is_map = field.message_type and field.message_type.GetOptions().map_entry
        if field.message_type and not is_map:
            for part in value if field.label == Field.LABEL_REPEATED else [value]:
                settle(part, classes)
    return message


def same(got, wanted, classes, context):
    got, wanted = settle(got, classes), settle(wanted, classes)
    if repr(got) != repr(wanted):
        lines = difflib.unified_diff(repr(wanted).splitlines(), repr(got).splitlines(), "wanted", "got", n=1)
        raise AssertionError(context + "\n" + "\n".join(lines))


def classes_of(paths):
    pool = descriptor_pool.DescriptorPool()
    seen, names = set(), []
    for path in paths:
        with open(path, "rb") as file:
            files = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file
        for file in files:
            if file.name not in seen:
                seen.add(file.name)
                pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    names = TYPES + DETAILS
    return pool, {name: factory.GetPrototype(pool.FindMessageTypeByName(name)) for name in names}


def main(program, *descriptors):
    pool, classes = classes_of(descriptors)
    maker, pipe, compared = Maker(random.Random(SEED), pool, classes), Pipe(program), 0
    for name in TYPES:
        for _ in range(MESSAGES):
            message = maker.fill(classes[name]())
            packed = message.SerializeToString()

            for operation, options in (("e", {}), ("p", {}), ("E", {"including_default_value_fields": True})):
                text, error = pipe.ask(operation, name, packed)
                assert error is None, f"{name}: {error}\n{message}"
                expected = json_format.MessageToJson(message, descriptor_pool=pool, **options)
                # Two texts of one number are the same; -0.0, NaN and infinities are strings or equal.
                assert json.loads(text) == json.loads(expected), f"{name}\n{text.decode()}\n{expected}"
                parsed = json_format.Parse(text, classes[name](), descriptor_pool=pool)
                same(parsed, message, classes, f"{name}: the reference reads another message")

            for text in (json_format.MessageToJson(message, descriptor_pool=pool),
                         json_format.MessageToJson(message, descriptor_pool=pool, preserving_proto_field_name=True,
                                                   use_integers_for_enums=True, indent=0)):
                back, error = pipe.ask("d", name, text.encode())
                assert error is None, f"{name}: {error}\n{text}"
                same(classes[name].FromString(back), message, classes, f"{name}: read wrongly")
            compared += 1
    print(f"{compared} messages of {len(TYPES)} types agree with json_format in both directions")


if __name__ == "__main__":
    main(*sys.argv[1:])
