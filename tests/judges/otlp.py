"""Judges OTLP requests by the protocol's published messages: JSON texts, or with `protobuf` as the
argument all of standard input as one request in Protocol Buffers.

`opentelemetry-proto` has them. OTLP's JSON differs from the usual JSON of Protocol Buffers in one
thing that matters here: ids of traces and spans are written in hexadecimal.
"""

import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber
from verdict import judge, strict, values

BYTES = {"traceId": 16, "spanId": 8}


def records_of(body):
    return (record for resource in body["resourceLogs"] for scope in resource["scopeLogs"]
            for record in scope["logRecords"])


def text_of(raw):
    """The JSON of a request in Protocol Buffers, every byte of which is a field of the protocol."""
    request = ExportLogsServiceRequest.FromString(raw)
    body = json_format.MessageToDict(request, use_integers_for_enums=True)
    again = json_format.ParseDict(body, ExportLogsServiceRequest()).SerializeToString()
    if len(again) != len(raw):
        raise ValueError(f"of {len(raw)} bytes {len(again)} are fields of the protocol, each once")
    body.setdefault("resourceLogs", [])
    for record in records_of(body):
        for key in BYTES:
            if key in record:
                record[key] = base64.b64decode(record[key]).hex()
    return json.dumps(body)


def rule(text):
    body = strict(text)
    records = list(records_of(body))
    for record in records:
        for key, length in BYTES.items():
            if key in record:
                raw = bytes.fromhex(record[key])
                if len(raw) != length or raw == bytes(length):
                    yield f"{key} of {len(raw)} bytes: {record[key]}"
                record[key] = base64.b64encode(raw).decode()
        # A bare number may be cut by readers that keep floating point.
        for key in ("timeUnixNano", "observedTimeUnixNano"):
            if not isinstance(record[key], str):
                yield f"{key} is no decimal string"
    request = json_format.ParseDict(body, ExportLogsServiceRequest(), ignore_unknown_fields=False)
    read = [record for resource in request.resource_logs for scope in resource.scope_logs
            for record in scope.log_records]
    if len(read) != len(records) or not read:
        yield f"{len(read)} records of {len(records)}"
    for record in read:
        if record.time_unix_nano == 0 or record.observed_time_unix_nano == 0:
            yield "a record without its times"
        if not SeverityNumber.Name(record.severity_number).startswith("SEVERITY_NUMBER_"):
            yield f"severity {record.severity_number}"
        if not record.event_name:
            yield "a record without a name"
        names = [attribute.key for attribute in record.attributes]
        if len(set(names)) != len(names) or "" in names:
            yield f"names of attributes: {sorted(names)}"


def binary_rule(raw):
    yield from rule(text_of(raw))


if __name__ == "__main__":
    if sys.argv[1:] == ["protobuf"]:
        judge(binary_rule, [("byte 0", sys.stdin.buffer.read())])
    judge(rule, values())
