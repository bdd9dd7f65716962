"""Requests as spans: one for the request, and below it one for each attempt, by which tokens are counted.

A reader that adds up `gen_ai.usage.*` over all spans gets what the ledger holds: only attempts carry them.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from penstock import __version__
from penstock.gateway.telemetry.names import (
    TIERS,
    count,
    figure,
    flag,
    model_name,
    operation_of,
    piece,
    provider_name,
    texts,
    unique,
    words,
)
from penstock.gateway.telemetry.told import Told
from penstock.metering.event import UsageEvent
from penstock.metering.meter import total
from penstock.pricing.usage import PRICED

TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SAMPLED = 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
LONGEST_STATE = 512
"""Bytes of a `tracestate` that are passed on, as W3C asks of everybody."""
NAMED = frozenset({"input", "cache_read", "cache_write", "output"})
"""Units for which the conventions have names."""
FAILED = Status(code=Status.STATUS_CODE_ERROR)
SCOPE = InstrumentationScope(name="penstock.gateway", version=__version__)


def export_request(resource: Resource, requests: Sequence[Told], sample: float) -> tuple[bytes, int]:
    """Return an export request for these, and how many spans it holds; requests that are not sampled have none."""
    spans = [span for told in requests for span in spans_of(told, sample)]
    if not spans:
        return b"", 0
    held = ScopeSpans(scope=SCOPE).SerializeToString() + b"".join(spans)
    held = ResourceSpans(resource=resource).SerializeToString() + piece(SCOPES, held)
    return piece(RESOURCES, held), len(spans)


SPANS, SCOPES = ScopeSpans.SPANS_FIELD_NUMBER, ResourceSpans.SCOPE_SPANS_FIELD_NUMBER
RESOURCES = ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER


def spans_of(told: Told, sample: float) -> Iterator[bytes]:
    """Make the spans of one request. Its trace is the caller's; without one it has the request's own id."""
    parent = TRACEPARENT.fullmatch(told.traceparent)
    trace = bytes.fromhex(parent[1].decode() if parent else told.request_id)
    if parent is None and int.from_bytes(trace[-7:]) >= sample * 2**56:
        return
    if parent is not None and not int(parent[3], 16) & SAMPLED:
        return
    own = bytes.fromhex(told.request_id[16:])
    state = told.tracestate.decode("latin-1") if parent and len(told.tracestate) <= LONGEST_STATE else ""
    begin = _nanos(told.at)
    failed = bool(told.refused) or told.status >= 500
    request = Span(
        trace_id=trace, span_id=own, parent_span_id=bytes.fromhex(parent[2].decode()) if parent else b"",
        trace_state=state, name=f"POST {told.path}", kind=Span.SPAN_KIND_SERVER, start_time_unix_nano=begin,
        end_time_unix_nano=begin + int(told.seconds * 1e9), status=FAILED if failed else None,
    )  # fmt: skip
    yield _whole(request, _of_request(told))
    for event in told.events:
        start = _nanos(event.at)
        attempt = Span(
            trace_id=trace, span_id=bytes.fromhex(event.id[16:]), parent_span_id=own, trace_state=state,
            name=f"{operation_of(event.endpoint)} {event.requested_model}", kind=Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=start, end_time_unix_nano=start + event.duration_us * 1000,
            status=FAILED if event.outcome == "error" else None,
        )  # fmt: skip
        yield _whole(attempt, _of_attempt(event))


def _whole(span: Span, attributes: list[bytes]) -> bytes:
    return piece(SPANS, span.SerializeToString() + b"".join(attributes))


def _of_request(told: Told) -> list[bytes]:
    found = texts(
        {
            "http.request.method": "POST", "url.path": told.path, "gen_ai.request.model": told.model,
            "penstock.decision": told.decision, "penstock.team": told.team, "penstock.app": told.app,
            "penstock.feature": told.feature, "penstock.key": told.key,
            "error.type": told.refused or (str(told.status) if told.status >= 500 else ""),
        }
    )  # fmt: skip
    found += unique("penstock.request_id", told.request_id) + unique("gen_ai.conversation.id", told.run)
    found.append(count("http.response.status_code", told.status))
    found.append(count("penstock.attempts", len(told.events)))
    if told.events:
        found.append(count("penstock.input_tokens", sum(event.usage.input_tokens for event in told.events)))
        found.append(count("penstock.output_tokens", sum(event.usage.output_tokens for event in told.events)))
        found += _money(total(told.events), told.events[-1].price_state)
    return found


def _of_attempt(event: UsageEvent) -> list[bytes]:
    usage = event.usage
    found = texts(
        {
            "gen_ai.operation.name": operation_of(event.endpoint),
            "gen_ai.provider.name": provider_name(event.provider), "gen_ai.request.model": event.requested_model,
            "gen_ai.response.model": model_name(event),
            "openai.response.service_tier": TIERS.get(event.mode, event.mode) if event.provider == "openai" else "",
            "error.type": event.error or (str(event.status) if event.outcome == "error" else ""),
            "penstock.purpose": event.purpose,
            "penstock.decision": event.decision, "penstock.deployment": event.deployment,
            "penstock.deployment_type": event.deployment_type, "penstock.region": event.region,
            "penstock.mode": event.mode, "penstock.team": event.team, "penstock.app": event.app,
            "penstock.feature": event.feature, "penstock.key": event.key,
        }
    )  # fmt: skip
    found += unique("penstock.request_id", event.request_id) + unique("gen_ai.conversation.id", event.run)
    found.append(count("penstock.attempt", event.attempt))
    if event.status:
        found.append(count("http.response.status_code", event.status))
    if event.finish_reason:
        found.append(words("gen_ai.response.finish_reasons", event.finish_reason))
    if event.stream:
        found.append(flag("gen_ai.request.stream", value=True))
        if event.first_token_us:
            found.append(figure("gen_ai.response.time_to_first_chunk", event.first_token_us / 1e6))
    if event.usage_source != "none":
        read = usage.cache_read + usage.cache_read_audio + usage.cache_read_image
        written = usage.cache_write + usage.cache_write_1h
        found.append(count("gen_ai.usage.input_tokens", usage.input_tokens))
        found.append(count("gen_ai.usage.output_tokens", usage.output_tokens))
        found += [
            count(f"gen_ai.usage.{name}", tokens)
            for name, tokens in (
                ("cache_read.input_tokens", read), ("cache_creation.input_tokens", written),
                ("reasoning.output_tokens", usage.reasoning),
            )
            if tokens
        ]  # fmt: skip
        if not usage.is_plain:
            found += [
                count(f"penstock.usage.{unit}", getattr(usage, unit))
                for unit in PRICED
                if unit not in NAMED and getattr(usage, unit)
            ]
        found += texts({"penstock.usage_source": event.usage_source})
    found += _money(event.cost, event.price_state)
    return found


def _money(cost: Decimal | None, state: str) -> list[bytes]:
    """Say what it cost; an unknown price is said, and is no number."""
    if cost is None:
        return texts({"penstock.price_state": "unpriced"})
    return [*texts({"penstock.price_state": state}), figure("penstock.cost", float(cost))]


def _nanos(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND * 1000
