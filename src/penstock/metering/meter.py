"""Reading + price -> the event: one for each attempt."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from penstock.metering.attribution import Attribution
from penstock.metering.event import Outcome, Purpose, UsageEvent, new_id
from penstock.metering.reading import Reading
from penstock.pricing.catalog import MEMO_SIZE, Catalog, PriceKey
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


class Known(Struct, frozen=True):
    """What was worked out of a name that a reply gave."""

    region: str
    mode: str
    keys: tuple[PriceKey, ...]
    """Whose price to ask for: of the served model's, and, where that has none, of the declared one's."""


class Meter:
    """Makes events: one for each attempt, priced as of the instant at which it was served."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[tuple[Served, str, str, str], Known] = {}

    def event(self, served: Served, attempt: Attempt, reading: Reading, who: Attribution) -> UsageEvent:
        """Price what was served, and make the event. An unknown price is `unpriced`, never 0."""
        name = (served, reading.model, reading.tier, reading.region)
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= MEMO_SIZE:
                self._known.clear()
            known = self._known[name] = self._work_out(served, reading)
        usage, at = reading.usage, attempt.at
        for key in known.keys:
            cost = self._catalog.price(key, usage, at)
            if cost.total is not None:
                break
        return UsageEvent(
            id=attempt.request_id if attempt.number == 1 else new_id(),
            at=at,
            recorded_at=attempt.recorded_at,
            request_id=attempt.request_id,
            attempt=attempt.number,
            purpose=attempt.purpose,
            provider=served.provider,
            deployment=served.deployment,
            model=key.model,
            version=key.version,
            requested_model=attempt.requested_model,
            deployment_type=served.deployment_type,
            region=known.region,
            mode=known.mode,
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

    def _work_out(self, served: Served, reading: Reading) -> Known:
        region, mode = reading.region or served.region, MODES.get(reading.tier, reading.tier)
        names = [reading.model or served.model]
        if served.declared and reading.model:
            # A server of one's own answers with a name of its own; the settings say what it is.
            names.append(served.model)
        found = dict.fromkeys(self._catalog.identify(served.provider, name) for name in names)
        keys = tuple(
            PriceKey(
                provider=served.provider, model=model, version=version, deployment_type=served.deployment_type,
                region=region, mode=mode,
            )
            for model, version in found
        )  # fmt: skip
        return Known(region, mode, keys)


def total(events: Sequence[UsageEvent]) -> Decimal | None:
    """Add up what the attempts of a request cost; None if the price of one is unknown."""
    amount = Decimal(0)
    for event in events:
        if event.cost is None:
            return None
        amount += event.cost
    return amount


NOTHING = Reading(usage=Usage(), usage_source="none")
"""The reading of an attempt that used nothing."""
