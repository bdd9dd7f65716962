"""Reading + price -> the event: one for each attempt."""

from datetime import datetime
from decimal import Decimal

from msgspec import Struct, structs

from penstock.metering.attribution import Attribution
from penstock.metering.event import Outcome, Purpose, UsageEvent, new_id
from penstock.metering.reading import Reading
from penstock.pricing.catalog import Catalog, PriceKey
from penstock.pricing.usage import Usage

MODES = {
    "": "standard", "default": "standard", "auto": "standard", "standard": "standard", "standard_only": "standard",
    "scale": "standard", "flex": "flex", "priority": "priority", "fast": "priority", "batch": "batch",
}  # fmt: skip
"""What a reply calls its `service_tier` -> the processing mode that it is billed as."""


class Served(Struct, frozen=True, gc=False):
    """Who served an attempt, as far as the settings know it."""

    provider: str
    """As the price books name it."""
    deployment: str
    model: str
    declared: bool
    """The settings name the model that this deployment serves; the reply's name for it may be private."""
    deployment_type: str
    region: str


class Attempt(Struct, frozen=True, gc=False):
    """What happened, apart from what was used: see the fields of the event."""

    request_id: str
    number: int
    purpose: Purpose
    at: datetime
    recorded_at: datetime
    endpoint: str
    requested_model: str
    outcome: Outcome
    status: int
    error: str
    stream: bool
    duration_us: int
    first_token_us: int
    decision: str


def meter(catalog: Catalog, served: Served, attempt: Attempt, reading: Reading, who: Attribution) -> UsageEvent:
    """Price what was served at the instant it was, and make the event. An unknown price is `unpriced`, never 0."""
    provider, usage, at = served.provider, reading.usage, attempt.at
    mode = MODES.get(reading.tier, reading.tier)
    region = reading.region or served.region
    model, version = catalog.identify(provider, reading.model or served.model)
    key = PriceKey(
        provider=provider,
        model=model,
        version=version,
        deployment_type=served.deployment_type,
        region=region,
        mode=mode,
    )
    cost = catalog.price(key, usage, at)
    if cost.total is None and served.declared and reading.model:
        # A server of one's own answers with a name of its own; the settings say what it is.
        model, version = catalog.identify(provider, served.model)
        key = structs.replace(key, model=model, version=version)
        cost = catalog.price(key, usage, at)
    return UsageEvent(
        id=attempt.request_id if attempt.number == 1 else new_id(),
        at=at,
        recorded_at=attempt.recorded_at,
        request_id=attempt.request_id,
        attempt=attempt.number,
        purpose=attempt.purpose,
        provider=provider,
        deployment=served.deployment,
        model=model,
        version=version,
        requested_model=attempt.requested_model,
        deployment_type=served.deployment_type,
        region=region,
        mode=mode,
        endpoint=attempt.endpoint,
        outcome=attempt.outcome,
        status=attempt.status,
        error=attempt.error or reading.error,
        finish_reason=reading.finish_reason,
        stream=attempt.stream,
        tool_calls=reading.tool_calls,
        duration_us=attempt.duration_us,
        first_token_us=attempt.first_token_us,
        usage=usage,
        usage_source=reading.usage_source,
        price_state=cost.state,
        cost=cost.total,
        price_book=cost.book,
        price_row=cost.row,
        price_hash=cost.row_hash,
        provider_cost=reading.provider_cost,
        key=who.key,
        team=who.team,
        app=who.app,
        feature=who.feature,
        user=who.user,
        run=who.run,
        tags=who.tags,
        decision=attempt.decision,
    )


def total(events: list[UsageEvent]) -> Decimal | None:
    """Add up what the attempts of a request cost; None if the price of one is unknown."""
    amount = Decimal(0)
    for event in events:
        if event.cost is None:
            return None
        amount += event.cost
    return amount


NOTHING = Reading(usage=Usage(), usage_source="none")
"""The reading of an attempt that used nothing."""
