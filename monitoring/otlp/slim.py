"""OTLP metrics as a slim schema: the same field numbers on the wire, but resources, attributes and buckets left as bytes.

What is left as bytes can be looked up whole in a cache, or counted as it is. What isn't declared (exemplars, start times,
metadata) stays in the message unread, so that any part can be written out again and given to the stock classes.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "bytes": _Field.TYPE_BYTES,
    "string": _Field.TYPE_STRING,
    "double": _Field.TYPE_DOUBLE,
    "fixed64": _Field.TYPE_FIXED64,
    "sfixed64": _Field.TYPE_SFIXED64,
    "int32": _Field.TYPE_INT32,
    "sint32": _Field.TYPE_SINT32,
    "uint32": _Field.TYPE_UINT32,
    "bool": _Field.TYPE_BOOL,
}
# number, name, type; `*` repeated, `?` optional, `|data` one of the group "data"
_MESSAGES: dict[str, tuple[str, ...]] = {
    "Request": ("1 resource_metrics *ResourceMetrics",),
    "Resource": ("1 attributes *bytes", "3 entity_refs *EntityRef"),
    "EntityRef": ("1 schema_url string", "2 type string", "3 id_keys *string", "4 description_keys *string"),
    "ResourceMetrics": ("1 resource bytes", "2 scope_metrics *ScopeMetrics", "3 schema_url string"),
    "ScopeMetrics": ("1 scope bytes", "2 metrics *Metric", "3 schema_url string"),
    "Metric": (
        "1 name string",
        "2 description string",
        "3 unit string",
        "5 gauge Gauge|data",
        "7 sum Sum|data",
        "9 histogram Other|data",
        "10 exponential_histogram Histogram|data",
        "11 summary Other|data",
    ),
    "Other": (),
    "Gauge": ("1 data_points *Number",),
    "Sum": ("1 data_points *Number", "2 aggregation_temporality int32", "3 is_monotonic bool"),
    "Number": (
        "3 time_unix_nano fixed64",
        "4 as_double double|value",
        "6 as_int sfixed64|value",
        "7 attributes *bytes",
        "8 flags uint32",
    ),
    "Histogram": ("1 data_points *Exponential", "2 aggregation_temporality int32"),
    "Exponential": (
        "1 attributes *bytes",
        "3 time_unix_nano fixed64",
        "4 count fixed64",
        "5 sum double?",
        "6 scale sint32",
        "7 zero_count fixed64",
        "8 positive bytes",
        "9 negative bytes",
        "10 flags uint32",
        "12 min double?",
        "13 max double?",
    ),
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    described = descriptor_pb2.FileDescriptorProto(name="hawkops/slim.proto", package="hawkops.slim", syntax="proto3")
    for name, lines in _MESSAGES.items():
        message = described.message_type.add(name=name)
        groups = sorted({line.partition("|")[2] for line in lines if "|" in line})
        for group in groups:
            message.oneof_decl.add(name=group)
        for line in lines:
            number, field_name, said = line.split()
            plain, _, group = said.strip("*?").partition("|")
            field = message.field.add(name=field_name, number=int(number))
            field.label = _Field.LABEL_REPEATED if said.startswith("*") else _Field.LABEL_OPTIONAL
            if plain in _TYPES:
                field.type = _TYPES[plain]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".hawkops.slim.{plain}"
            if group:
                field.oneof_index = groups.index(group)
            elif said.endswith("?"):
                field.proto3_optional, field.oneof_index = True, len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field_name}")
    return described


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file())
Request: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName("hawkops.slim.Request"))
Resource: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName("hawkops.slim.Resource"))
