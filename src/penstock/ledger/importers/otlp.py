"""Spans of OpenTelemetry's GenAI conventions, as OTLP/JSON: one document, or one a line as the collector writes them.

Convention (semantic-conventions-genai): `input_tokens` holds what was read from and written to the cache, and
`output_tokens` holds reasoning. The older names `prompt_tokens` and `completion_tokens` are understood, and so are
OpenInference's. Spans of agents and tools repeat what their model calls used, and are passed over.

Of attributes that begin with `penstock.`, on the span or its resource, those are read that say who pays and what
decides the price; a Penstock that exports its calls writes them, and so may any program.
"""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.cut_json import Lists
from penstock.ledger.importers.documents import NOT_UTF8, is_garbled, json_rows, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample, recognise
from penstock.ledger.importers.fields import RowError, deployment_type, instant, label, mapping, whole
from penstock.ledger.importers.providers import maker_of, provider_of
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import PRICED, Usage, part_of

SENT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
RECEIVED = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion")
CACHED = (
    "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
    "llm.token_count.prompt_details.cache_read",
)  # fmt: skip
WRITTEN = (
    "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens", "llm.token_count.prompt_details.cache_write",
)  # fmt: skip
THOUGHT = (
    "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
)  # fmt: skip
PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
MODEL = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
CALLS = {
    "chat": "chat", "text_completion": "completions", "generate_content": "chat", "embeddings": "embeddings",
    "completion": "chat",
}  # fmt: skip
"""Operation of a span that is a call to a model -> endpoint."""
TIERS = {"default": "standard", "auto": "standard"}
SPLIT_OFF = tuple(unit for unit in PRICED if unit not in ("input", "cache_read", "cache_write", "output"))
WITHIN: Lists = {"resourceSpans": (), "scopeSpans": ("resource",), "spans": ()}
"""Lists whose elements may be booked where a document breaks off."""
OWN_USAGE = "penstock.usage."
"""Before a unit of ours: that many of the tokens are of that kind. The conventions have no names for these."""


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise spans; tell metrics from them."""
    if '"resourceMetrics"' in sample.text:
        return Guess(False, "it holds OpenTelemetry's metrics: they are read as otlp_metrics", 0.5)
    return recognise(sample, "OpenTelemetry's spans", '"resourceSpans"', '"scopeSpans"', '"spanId"')


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Make one event of each span that is a call to a model."""
    others: Counter[str] = Counter()
    for row in json_rows(stream, within=WITHIN, by_row=False):
        if isinstance(row, Rejected):
            yield row
        elif not isinstance(row.fields.get("resourceSpans"), list):
            yield Rejected(
                row.number, "unknown_kind", "a document without resourceSpans is not read", row.text[:10_000]
            )
        else:
            yield from _spans(row.number, row.fields, others, assumed, now, is_utf8=row.is_utf8)
    uncounted = others.pop(UNCOUNTED, 0)
    if others:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common(8))
        yield Note(f"spans that are no calls to a model: {kinds}")
    if uncounted:
        yield uncounted_calls(uncounted)


def drafts_of(document: dict[str, Any], assumed: Assumed, now: datetime) -> list[Draft | Rejected | Note]:
    """Read one export request, as a receiver gets it; spans that are no calls to a model are left out."""
    others: Counter[str] = Counter()
    items: list[Draft | Rejected | Note] = list(_spans(1, document, others, assumed, now))
    if others[UNCOUNTED]:
        items.append(uncounted_calls(others[UNCOUNTED]))
    return items


UNCOUNTED = "calls without token counts"


def uncounted_calls(count: int) -> Note:
    """Say that calls were made which cannot be booked."""
    advice = "ask for usage in streams, as with stream_options.include_usage"
    return Note(f"calls to a model that say nothing of tokens, and are not booked: {count:,}; {advice}")


def _spans(
    number: int,
    document: dict[str, Any],
    others: Counter[str],
    assumed: Assumed,
    now: datetime,
    *,
    is_utf8: bool = True,
) -> Iterator[Draft | Rejected]:
    for resource in objects(document, "resourceSpans"):
        about = attributes(mapping(resource.get("resource")))
        for scope in objects(resource, "scopeSpans"):
            for span in objects(scope, "spans"):
                said = attributes(span)
                operation = label(said.get("gen_ai.operation.name"))
                kind = label(said.get("openinference.span.kind")).upper()
                if (
                    _first(said, SENT, RECEIVED) is None
                    or (operation and operation not in CALLS)
                    or kind in ("AGENT", "CHAIN")
                ):
                    others[_kind_of(span, said, operation, kind)] += 1
                    continue
                try:
                    if not is_utf8 and is_garbled((span, about)):
                        raise RowError("wrong_encoding", NOT_UTF8)
                    event = _event(span, said, about, assumed, now)
                except (RowError, UsageError) as error:
                    yield refused(number, error, json.dumps(span, default=str))
                    continue
                trace, own = label(span.get("traceId")).lower(), label(span.get("spanId")).lower()
                text = json.dumps(span, default=str, sort_keys=True)
                yield Draft(event, text, f"{trace}\x1f{own}" if own else "")


def _kind_of(span: dict[str, Any], said: dict[str, Any], operation: str, kind: str) -> str:
    """Name what a span is that is not booked. A call that failed need not say what it used."""
    failed = said.get("error.type") or mapping(span.get("status")).get("code") in (2, "STATUS_CODE_ERROR")
    is_call = operation in CALLS or (not operation and kind == "LLM")
    return UNCOUNTED if is_call and not failed else operation or kind.lower() or "others"


def attributes(holder: dict[str, Any]) -> dict[str, Any]:
    """Read `[{"key": ..., "value": {"intValue": "5"}}]` as an object of plain values."""
    return {label(one.get("key")): _value(mapping(one.get("value"))) for one in objects(holder, "attributes")}


def _value(value: dict[str, Any]) -> Any:
    if "arrayValue" in value:
        return [_value(one) for one in objects(mapping(value["arrayValue"]), "values")]
    return next(
        (value[kind] for kind in ("stringValue", "intValue", "doubleValue", "boolValue") if kind in value), None
    )


def objects(holder: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects of a list; what is none counts as empty."""
    found = holder.get(name)
    return [mapping(one) for one in found] if isinstance(found, list) else []


def _first(said: dict[str, Any], *names: tuple[str, ...]) -> Any:
    return next((said[name] for some in names for name in some if said.get(name) not in (None, "")), None)


def _event(
    span: dict[str, Any], said: dict[str, Any], about: dict[str, Any], assumed: Assumed, now: datetime
) -> UsageEvent:
    provider, model = provider_and_model(said, assumed)
    at, end = instant_of(span, "startTimeUnixNano", now), instant_of(span, "endTimeUnixNano", now)
    status, failure = whole(said.get("http.response.status_code"), "status"), label(said.get("error.type"))
    failed = bool(failure) or mapping(span.get("status")).get("code") in (2, "STATUS_CODE_ERROR")
    tier = label(said.get("openai.response.service_tier") or said.get("gen_ai.openai.response.service_tier")).lower()
    trace, own = label(span.get("traceId")), label(span.get("spanId"))

    def ours(name: str) -> str:
        return label(said.get(f"penstock.{name}") or about.get(f"penstock.{name}"))

    environment = label(about.get("deployment.environment.name") or about.get("deployment.environment"))
    finished = said.get("gen_ai.response.finish_reasons")
    usage = _usage(said)
    return UsageEvent(
        id="", at=at, recorded_at=now, price_state="unpriced", provider=provider, model=model,
        request_id=ours("request_id") or label(said.get("gen_ai.response.id")) or (f"{trace}-{own}" if own else ""),
        attempt=max(1, whole(said.get("penstock.attempt"), "penstock.attempt")), deployment=ours("deployment"),
        requested_model=label(said.get("gen_ai.request.model")),
        deployment_type=deployment_type(ours("deployment_type")) or assumed.deployment_type or "global",
        region=ours("region") or label(about.get("cloud.region")) or assumed.region,
        mode=ours("mode") or TIERS.get(tier, tier) or assumed.mode or "standard",
        endpoint=CALLS.get(label(said.get("gen_ai.operation.name")), ""), usage=usage,
        usage_source="provider" if usage.units() else "none", outcome="error" if failed else "ok",
        status=status if 100 <= status < 600 else 0 if failed else 200, error=(failure or "failure") if failed else "",
        finish_reason=label(finished[0]) if isinstance(finished, list) and finished else "",
        duration_us=max(0, (end - at) // timedelta(microseconds=1)),
        team=ours("team") or label(said.get("team") or about.get("team")) or assumed.team,
        app=ours("app") or label(about.get("service.name")) or assumed.app,
        feature=ours("feature") or label(said.get("gen_ai.agent.name")),
        user=label(said.get("enduser.id") or said.get("user.id")),
        run=label(said.get("gen_ai.conversation.id") or said.get("session.id")) or trace,
        tags={"environment": environment} if environment else {},
    )  # fmt: skip


def provider_and_model(said: dict[str, Any], assumed: Assumed) -> tuple[str, str]:
    """Read who served and with what. Raises RowError where it is not said."""
    model = label(_first(said, MODEL)) or assumed.model
    provider = provider_of(label(_first(said, PROVIDER))) or assumed.provider or maker_of(model)
    if not model or not provider:
        raise RowError("missing_value", f"{'provider' if model else 'model'} is empty: whose price applies?")
    return provider, model


def _usage(said: dict[str, Any]) -> Usage:
    sent, received, cached, written, thought = (
        whole(_first(said, names), names[0]) for names in (SENT, RECEIVED, CACHED, WRITTEN, THOUGHT)
    )
    part_of(received, thought, "reasoning tokens of output_tokens")
    fresh = part_of(sent, cached + written, "cached tokens of input_tokens")
    if not any(name.startswith(OWN_USAGE) for name in said):
        return Usage(input=fresh, cache_read=cached, cache_write=written, output=received, reasoning=thought)
    own = {unit: whole(said.get(OWN_USAGE + unit), OWN_USAGE + unit) for unit in SPLIT_OFF}

    def left(count: int, *units: str) -> int:
        return part_of(count, sum(own[unit] for unit in units), ", ".join(units))

    return Usage(
        input=left(fresh, "input_audio", "input_image", "input_video"), reasoning=thought,
        cache_read=left(cached, "cache_read_audio", "cache_read_image"), cache_write=left(written, "cache_write_1h"),
        output=left(received, "output_audio", "output_image"), **own,
    )  # fmt: skip


def instant_of(span: dict[str, Any], name: str, now: datetime) -> datetime:
    """Read nanoseconds since 1970."""
    nanos = label(span.get(name))
    if not nanos.isdecimal() or len(nanos) > 20:
        raise RowError("missing_value" if not nanos else "not_a_time", f"{name} is {nanos[:40] or 'empty'}")
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(nanos) // 1000)
    return instant(at.isoformat(), name, now)


FORMAT = Format("otlp", "OpenTelemetry's GenAI spans, as OTLP/JSON", sniff, read)
