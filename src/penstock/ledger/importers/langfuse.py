"""Langfuse's observations: JSON Lines, arrays, pages of its API, or CSV, with names in either case.

Convention (ObservationV2 of langfuse 5.0): the parts of `usageDetails` are disjoint and add up to `total`: `input` is
without cached tokens, `output` without `output_reasoning_tokens`. Only generations (and embeddings) used a model.
Langfuse names no provider: the row's metadata, `--provider`, or the model's maker, in that order.
"""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.documents import Row, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample, recognise
from penstock.ledger.importers.fields import RowError, instant, label, mapping, money, whole
from penstock.ledger.importers.providers import maker_of, provider_of
from penstock.ledger.importers.tables import any_rows
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage, part_of

USED = ("GENERATION", "EMBEDDING")
PARTS = {
    "input": "input", "prompt_tokens": "input", "input_cached_tokens": "cache_read", "input_cache_read": "cache_read",
    "cache_read_input_tokens": "cache_read", "input_cache_creation": "cache_write",
    "cache_creation_input_tokens": "cache_write", "input_cache_creation_5m": "cache_write",
    "input_cache_creation_1h": "cache_write_1h", "input_audio_tokens": "input_audio", "output": "output",
    "completion_tokens": "output", "output_reasoning_tokens": "reasoning", "output_audio_tokens": "output_audio",
}  # fmt: skip
"""Part of `usageDetails` -> bucket; reasoning is inside our output and outside of Langfuse's."""


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise a trace's observations with usage details."""
    snake = recognise(sample, "Langfuse's observations", "usage_details", "trace_id", "start_time")
    camel = recognise(sample, "Langfuse's observations", "usageDetails", "traceId", "startTime")
    return snake if snake.fits else camel


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Make one event a generation; spans and events used no model."""
    others: Counter[str] = Counter()
    guessed = 0
    for row in any_rows(stream, "data", "observations"):
        if isinstance(row, Rejected):
            yield row
            continue
        kind = label(row.fields.get("type")).upper()
        if kind and kind not in USED:
            others[kind] += 1
            continue
        try:
            draft = _draft(row, assumed, now)
        except (RowError, UsageError) as error:
            yield refused(row.number, error, row.text)
            continue
        guessed += not assumed.provider and draft.event.provider == maker_of(draft.event.model)
        yield draft
    if others:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common())
        yield Note(f"observations that used no model: {kinds}")
    if guessed:
        yield Note(f"rows that name no provider, priced as the model's maker sells it: {guessed:,}; or say --provider")


def _draft(row: Row, assumed: Assumed, now: datetime) -> Draft:
    def said(*names: str) -> Any:
        return next((value for name in names if (value := row.fields.get(name)) not in (None, "")), None)

    at = instant(said("startTime", "start_time"), "startTime", now)
    model = label(said("model", "providedModelName", "provided_model_name", "internalModelId")) or assumed.model
    metadata = _object(said("metadata"))
    named = provider_of(label(metadata.get("ls_provider") or metadata.get("provider")))
    provider = named or assumed.provider or maker_of(model)
    if not model or not provider:
        raise RowError("missing_value", f"{'provider' if model else 'model'} is empty: whose price applies?")
    usage = _usage(_object(said("usageDetails", "usage_details")), said)
    failed = label(said("level")).upper() == "ERROR"
    tags = said("tags")
    event = UsageEvent(
        id="", request_id=label(said("id")), at=at, recorded_at=now, price_state="unpriced", provider=provider,
        model=model, deployment_type=assumed.deployment_type or "global", region=assumed.region,
        mode=assumed.mode or "standard", usage=usage, usage_source="provider" if usage.units() else "none",
        endpoint="embeddings" if label(said("type")).upper() == "EMBEDDING" else "",
        outcome="error" if failed else "ok", status=0 if failed else 200, error="failure" if failed else "",
        duration_us=_micros(at, said("endTime", "end_time"), now),
        first_token_us=_micros(at, said("completionStartTime", "completion_start_time"), now),
        provider_cost=money(said("totalCost", "total_cost", "calculatedTotalCost"), "totalCost"),
        team=assumed.team, app=assumed.app, feature=label(said("promptName", "prompt_name")),
        user=label(said("userId", "user_id")), run=label(said("sessionId", "session_id", "traceId", "trace_id")),
        tags={label(tag): "true" for tag in tags if label(tag)} if isinstance(tags, list) else {},
    )  # fmt: skip
    return Draft(event, row.text, event.request_id, row.number)


def _usage(details: dict[str, Any], said: Any) -> Usage:
    if not details:
        usage = mapping(said("usage"))
        details = {
            "input": usage.get("input") or said("promptTokens"),
            "output": usage.get("output") or said("completionTokens"),
        }
    counts: Counter[str] = Counter()
    for name, value in details.items():
        if name in PARTS:
            counts[PARTS[name]] += whole(value, name)
    unknown = [name for name, value in details.items() if name not in PARTS and name != "total" and value]
    total = whole(details.get("total"), "total")
    if total and total != counts.total():
        more = f"; not known: {', '.join(map(label, unknown))}" if unknown else ""
        raise UsageError(f"usageDetails says {total} in total, its parts add up to {counts.total()}{more}")
    counts["output"] += counts["reasoning"]
    part_of(counts["output"], counts["reasoning"], "output_reasoning_tokens of output")
    return Usage(**counts)


def _object(value: Any) -> dict[str, Any]:
    """Read an object that CSV holds as a text of JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return mapping(value)


def _micros(start: datetime, end: Any, now: datetime) -> int:
    return max(0, (instant(end, "endTime", now) - start) // timedelta(microseconds=1)) if end else 0


FORMAT = Format("langfuse", "Langfuse's observations, as JSON or CSV", sniff, read)
