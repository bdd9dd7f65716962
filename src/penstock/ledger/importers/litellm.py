"""LiteLLM's spend logs (table LiteLLM_SpendLogs) as JSON Lines or as one array.

Convention (schema.prisma of litellm 1.109): `prompt_tokens` is everything sent, also for Anthropic; what was cached
stands only in `metadata.usage_object`. `spend` is LiteLLM's own figure, a float: kept as it is written, as
`provider_cost`. A hit in LiteLLM's own cache has its tokens in the row and never reached a provider: nothing was used.
"""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.documents import Row, decoded, json_rows, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Rejected, Sample, recognise
from penstock.ledger.importers.fields import RowError, instant, label, mapping, money, whole
from penstock.ledger.importers.providers import provider_of
from penstock.ledger.measures import HIT
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage, part_of

MARKS = ('"spend"', '"call_type"', '"startTime"')
ZONES = {"us": "us", "eu": "eu", "apac": "apac"}
ENDPOINTS = {
    "completion": "chat", "text_completion": "completions", "embedding": "embeddings", "responses": "responses",
    "anthropic_messages": "messages", "image_generation": "images",
}  # fmt: skip
ERRORS = {429: "rate_limited", 408: "timeout", 504: "timeout"}


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise spend, call_type and startTime in the first object."""
    return recognise(sample, "rows of LiteLLM's spend log", "{", *MARKS)


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected]:
    """Make one event a row."""
    for row in json_rows(stream):
        if isinstance(row, Rejected):
            yield row
            continue
        try:
            yield _draft(row, assumed, now)
        except (RowError, UsageError) as error:
            yield refused(row.number, error, row.text)


def _draft(line: Row, assumed: Assumed, now: datetime) -> Draft:
    row = line.fields
    metadata = _decoded(row.get("metadata"))
    provider, model, zone = _served(row, assumed)
    at = instant(row.get("startTime"), "startTime", now)
    hit = label(row.get("cache_hit")).lower() == "true"
    failed = "failure" in (row.get("status"), metadata.get("status"))
    code = label(mapping(metadata.get("error_information")).get("error_code"))
    status = int(code) if code.isdecimal() and len(code) == 3 else 0 if failed else 200
    usage = Usage() if hit else _usage(row, mapping(metadata.get("usage_object")))
    event = UsageEvent(
        id="", request_id=label(row.get("request_id")), at=at, recorded_at=now, price_state="unpriced",
        provider=provider, model=model, requested_model=label(row.get("model_group")),
        deployment=label(row.get("model_id")),
        deployment_type="data_zone" if zone else assumed.deployment_type or "global", region=zone or assumed.region,
        mode=assumed.mode or "standard", endpoint=_endpoint(row), usage=usage,
        usage_source="provider" if usage.units() else "none",
        outcome="error" if failed else "ok", status=status,
        error=ERRORS.get(status, f"http_{status}" if status else "failure") if failed else "",
        decision=f"{HIT}LiteLLM's cache" if hit else "",
        duration_us=_micros(at, row.get("endTime"), now),
        first_token_us=_micros(at, row.get("completionStartTime"), now),
        provider_cost=money(row.get("spend"), "spend"),
        key=_key(row), team=label(row.get("team_id")) or assumed.team,
        app=label(metadata.get("user_api_key_alias")) or assumed.app,
        user=label(row.get("end_user")) or label(row.get("user")).replace("default_user_id", ""),
        run=label(row.get("session_id")), tags=_tags(row.get("request_tags")),
    )  # fmt: skip
    return Draft(event, line.text, event.request_id, line.number)


def _decoded(value: Any) -> dict[str, Any]:
    """Read an object that some exports write as a text of JSON."""
    return mapping(decoded(value)) if isinstance(value, str) and value.startswith("{") else mapping(value)


def _served(row: dict[str, Any], assumed: Assumed) -> tuple[str, str, str]:
    """Split `azure/eu/gpt-4o` into provider, model and data zone."""
    parts = label(row.get("model") or row.get("model_group")).split("/")
    named = label(row.get("custom_llm_provider")).lower()
    if len(parts) > 1 and (not named or parts[0].lower() == named):
        named = named or parts[0].lower()
        parts = parts[1:]
    provider = provider_of(named)
    zone = ZONES.get(parts[0], "") if provider == "azure" and len(parts) > 1 else ""
    if provider == "azure" and len(parts) > 1 and (zone or parts[0] == "global"):
        parts = parts[1:]
    provider, model = provider or assumed.provider, "/".join(parts) or assumed.model
    if not provider or not model:
        raise RowError("missing_value", f"{'provider' if model else 'model'} is empty: whose price applies?")
    return provider, model, zone


def _usage(row: dict[str, Any], reported: dict[str, Any]) -> Usage:
    sent, received = whole(row.get("prompt_tokens"), "prompt_tokens"), whole(row.get("completion_tokens"), "completion")
    inside, outside = mapping(reported.get("prompt_tokens_details")), mapping(reported.get("completion_tokens_details"))
    read_ = whole(inside.get("cached_tokens") or reported.get("cache_read_input_tokens"), "cached_tokens")
    written = whole(
        reported.get("cache_creation_input_tokens") or inside.get("cache_creation_tokens"),
        "cache_creation_input_tokens",
    )
    heard, spoken = (
        whole(inside.get("audio_tokens"), "audio_tokens"),
        whole(outside.get("audio_tokens"), "audio_tokens"),
    )
    return Usage(
        input=part_of(sent, read_ + written + heard, "cached and audio tokens of prompt_tokens"),
        cache_read=read_, cache_write=written, input_audio=heard,
        output=part_of(received, spoken, "audio tokens of completion_tokens"), output_audio=spoken,
        reasoning=whole(outside.get("reasoning_tokens"), "reasoning_tokens"),
    )  # fmt: skip


def _endpoint(row: dict[str, Any]) -> str:
    name = label(row.get("call_type"))
    return ENDPOINTS.get(name, ENDPOINTS.get(name.removeprefix("a"), name))


def _key(row: dict[str, Any]) -> str:
    """Take the hash that stands for the key; a key in the clear never enters the ledger."""
    key = label(row.get("api_key"))
    return "" if key.startswith("sk-") else key


def _micros(start: datetime, end: Any, now: datetime) -> int:
    if not end:
        return 0
    return max(0, (instant(end, "endTime", now) - start) // timedelta(microseconds=1))


def _tags(value: Any) -> dict[str, str]:
    """Read `["team:support", "beta"]`, which some exports write as a text of JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    pairs = (label(tag).partition(":") for tag in value if isinstance(tag, str)) if isinstance(value, list) else ()
    return {name: text or "true" for name, _, text in pairs if name}


FORMAT = Format("litellm", "JSON of LiteLLM's spend logs", sniff, read)
