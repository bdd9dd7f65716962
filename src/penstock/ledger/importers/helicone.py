"""Helicone's requests: JSON Lines, an array, or CSV, as its API and its export write them.

Convention (HeliconeRequest): whether `prompt_tokens` holds the cached ones depends on the provider; `total_tokens`
shows which it is. A hit in Helicone's own cache used nothing. `costUSD` is its own figure.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.documents import Row, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Rejected, Sample, recognise
from penstock.ledger.importers.fields import RowError, instant, label, mapping, micros, money, whole
from penstock.ledger.importers.providers import maker_of, provider_of
from penstock.ledger.importers.tables import any_rows
from penstock.ledger.measures import HIT
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage, part_of

NO_CACHE = "00000000-0000-0000-0000-000000000000"


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise requests with a delay and a path."""
    return recognise(sample, "Helicone's requests", "request_created_at", "delay_ms", "response_status")


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected]:
    """Make one event a request."""
    for row in any_rows(stream, "data"):
        if isinstance(row, Rejected):
            yield row
            continue
        try:
            yield _draft(row, assumed, now)
        except (RowError, UsageError) as error:
            yield refused(row.number, error, row.text)


def _draft(row: Row, assumed: Assumed, now: datetime) -> Draft:
    fields = row.fields
    model = label(fields.get("response_model") or fields.get("model") or fields.get("request_model")) or assumed.model
    provider = provider_of(label(fields.get("provider"))) or assumed.provider
    if provider in ("", "custom"):
        provider = assumed.provider or maker_of(model)
    if not model or not provider:
        raise RowError("missing_value", f"{'provider' if model else 'model'} is empty: whose price applies?")
    status = whole(fields.get("response_status"), "response_status")
    status = status if 100 <= status < 600 else 0
    hit = label(fields.get("cache_reference_id")) not in ("", NO_CACHE)
    usage = Usage() if hit else _usage(fields, provider)
    failed = status == 0 or status >= 400
    properties = {**mapping(fields.get("request_properties")), **mapping(fields.get("properties"))}
    tags = {label(name): label(value) for name, value in properties.items() if label(name)}
    event = UsageEvent(
        id="", request_id=label(fields.get("request_id")),
        at=instant(fields.get("request_created_at"), "request_created_at", now), recorded_at=now,
        price_state="unpriced", provider=provider, model=model, requested_model=label(fields.get("request_model")),
        deployment_type=assumed.deployment_type or "global", region=assumed.region, mode=assumed.mode or "standard",
        usage=usage, usage_source="provider" if usage.units() else "none", status=status,
        outcome="aborted" if status == 499 else "error" if failed else "ok",
        error=(f"http_{status}" if status else "failure") if failed else "",
        decision=f"{HIT}Helicone's cache" if hit else "",
        duration_us=micros(fields.get("delay_ms"), "delay_ms"),
        first_token_us=micros(fields.get("time_to_first_token"), "time_to_first_token"),
        provider_cost=money(fields.get("costUSD", fields.get("cost_usd")), "costUSD"),
        team=tags.get("team", "") or assumed.team, app=tags.get("app", "") or assumed.app,
        user=label(fields.get("request_user_id")), run=tags.get("Helicone-Session-Id", ""), tags=tags,
    )  # fmt: skip
    return Draft(event, row.text, event.request_id, row.number)


def _usage(fields: dict[str, Any], provider: str) -> Usage:
    def count(name: str) -> int:
        return whole(fields.get(name), name)

    sent, received, total = count("prompt_tokens"), count("completion_tokens"), count("total_tokens")
    cached, written = count("prompt_cache_read_tokens"), count("prompt_cache_write_tokens")
    apart = sent + cached + written + received
    if total and total not in (apart, sent + received):
        raise UsageError(
            f"total_tokens says {total}, the parts add up to {sent + received}, or {apart} with the cache's"
        )
    is_inside = total == sent + received if total else provider != "anthropic"
    fresh = part_of(sent, cached + written, "cached tokens of prompt_tokens") if is_inside else sent
    return Usage(input=fresh, cache_read=cached, cache_write=written, output=received)


FORMAT = Format("helicone", "Helicone's requests, as JSON or CSV", sniff, read)
