"""OTLP as it comes over HTTP: requests as one plain document, whether they were JSON or protobuf, and the answers.

A document has the shape of OTLP/JSON: ids are hex digits, and a value is `{"stringValue": ...}`. Of a protobuf
request only what somebody here reads is taken over; the messages' own reader checks the rest.
"""

import json
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from penstock.errors import InputError

Signal = Literal["traces", "metrics", "logs"]
Form = Literal["json", "protobuf"]

REJECTED: dict[Signal, tuple[str, str]] = {
    "traces": ("rejectedSpans", "spans"),
    "metrics": ("rejectedDataPoints", "data points"),
    "logs": ("rejectedLogRecords", "log records"),
}
"""What a partial success counts: in JSON, and in words."""
ROOTS: dict[Signal, str] = {"traces": "resourceSpans", "metrics": "resourceMetrics", "logs": "resourceLogs"}


class WireError(InputError):
    """The bytes are not what they are said to be."""

    code = "wrong_otlp"


def has_protobuf() -> bool:
    """Tell whether protobuf can be read and written here: the optional group `otel` is installed."""
    try:
        return find_spec("opentelemetry.proto") is not None
    except ModuleNotFoundError:
        return False


def document_of(signal: Signal, form: Form, body: bytes) -> dict[str, Any]:
    """Read an export request. Raises WireError."""
    if form == "protobuf":
        return _from_protobuf(signal, body)
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError(f"The body is not JSON: {str(error)[:200]}.") from None
    root = ROOTS[signal]
    if not isinstance(found, dict) or not isinstance(found.get(root, []), list):
        raise WireError(f"The body is not an export request: a JSON object with a list {root} is expected.")
    return found


def answer_of(signal: Signal, form: Form, rejected: int = 0, message: str = "") -> bytes:
    """Return an export response; a partial success where something was rejected or there is something to say."""
    if form == "json":
        if not (rejected or message):
            return b"{}"
        partial = {REJECTED[signal][0]: str(rejected), "errorMessage": message}
        return json.dumps({"partialSuccess": partial}, ensure_ascii=False).encode()
    if not (rejected or message):
        return b""
    return _field(1, _number(1, rejected) + _field(2, message.encode()))


def status_of(form: Form, code: int, message: str) -> bytes:
    """Return a `google.rpc.Status`, the body of every refusal."""
    if form == "json":
        return json.dumps({"code": code, "message": message}, ensure_ascii=False).encode()
    return _number(1, code) + _field(2, message.encode())


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data if data else b""


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value) if value else b""


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# protobuf, by OpenTelemetry's own messages


def _from_protobuf(signal: Signal, body: bytes) -> dict[str, Any]:
    request, decode_error = _messages(signal)
    message = request()
    try:
        message.ParseFromString(body)
    except decode_error:
        raise WireError(f"The body is not a protobuf export request of {signal}, or it is cut off.") from None
    readers: dict[Signal, Callable[[Any], dict[str, Any]]] = {
        "traces": _resource_spans, "metrics": _resource_metrics, "logs": _resource_logs,
    }  # fmt: skip
    held = getattr(message, f"resource_{'spans' if signal == 'traces' else signal}")
    return {ROOTS[signal]: [readers[signal](one) for one in held]}


@cache
def _messages(signal: Signal) -> tuple[Any, type[Exception]]:
    """Import the message of a signal when the first one comes: most servers never see one."""
    if not has_protobuf():
        raise WireError(NO_PROTOBUF)
    name = {"traces": "trace", "metrics": "metrics", "logs": "logs"}[signal]
    messages = import_module(f"opentelemetry.proto.collector.{name}.v1.{name}_service_pb2")
    request = getattr(messages, f"Export{name.title()}ServiceRequest")
    return request, import_module("google.protobuf.message").DecodeError


NO_PROTOBUF = (
    "This server cannot read protobuf: install it with pip install 'penstock[otel]', "
    "or send JSON (OTEL_EXPORTER_OTLP_PROTOCOL=http/json)."
)


def _resource_spans(held: Any) -> dict[str, Any]:
    return {
        "resource": _attributed(held.resource.attributes),
        "scopeSpans": [
            {"scope": {"name": scope.scope.name}, "spans": [_span(one) for one in scope.spans]}
            for scope in held.scope_spans
        ],
    }


def _span(span: Any) -> dict[str, Any]:
    return {
        "traceId": span.trace_id.hex(), "spanId": span.span_id.hex(), "name": span.name, "kind": span.kind,
        "startTimeUnixNano": str(span.start_time_unix_nano), "endTimeUnixNano": str(span.end_time_unix_nano),
        "status": {"code": span.status.code}, **_attributed(span.attributes),
    }  # fmt: skip


def _resource_metrics(held: Any) -> dict[str, Any]:
    return {
        "resource": _attributed(held.resource.attributes),
        "scopeMetrics": [
            {"scope": {"name": scope.scope.name}, "metrics": [_metric(one) for one in scope.metrics]}
            for scope in held.scope_metrics
        ],
    }


def _metric(metric: Any) -> dict[str, Any]:
    kind = metric.WhichOneof("data")
    found: dict[str, Any] = {"name": metric.name}
    if kind is not None:
        data = getattr(metric, kind)
        name = {"exponential_histogram": "exponentialHistogram"}.get(kind, kind)
        found[name] = {
            "aggregationTemporality": getattr(data, "aggregation_temporality", 0),
            "dataPoints": [_point(kind, one) for one in data.data_points],
        }
    return found


def _point(kind: str, point: Any) -> dict[str, Any]:
    found = {
        "startTimeUnixNano": str(point.start_time_unix_nano), "timeUnixNano": str(point.time_unix_nano),
        **_attributed(point.attributes),
    }  # fmt: skip
    if kind in ("histogram", "exponential_histogram"):
        found |= {"count": str(point.count), "sum": point.sum if point.HasField("sum") else None}
    return found


def _resource_logs(held: Any) -> dict[str, Any]:
    return {
        "resource": _attributed(held.resource.attributes),
        "scopeLogs": [
            {"logRecords": [{"eventName": one.event_name, **_attributed(one.attributes)} for one in scope.log_records]}
            for scope in held.scope_logs
        ],
    }


def _attributed(pairs: Iterable[Any]) -> dict[str, Any]:
    return {"attributes": [{"key": pair.key, "value": _value(pair.value)} for pair in pairs]}


SCALARS = {
    "string_value": "stringValue", "bool_value": "boolValue", "int_value": "intValue", "double_value": "doubleValue",
}  # fmt: skip


def _value(value: Any) -> dict[str, Any]:
    kind = value.WhichOneof("value")
    if kind in SCALARS:
        found = getattr(value, kind)
        return {SCALARS[kind]: str(found) if kind == "int_value" else found}
    if kind == "array_value":  # scalars only: nothing that is read here is nested
        return {"arrayValue": {"values": [_value(one) for one in value.array_value.values if _is_scalar(one)]}}
    return {}


def _is_scalar(value: Any) -> bool:
    return value.WhichOneof("value") in SCALARS
