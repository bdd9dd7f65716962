"""Reading + price -> the event: one for each attempt."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from penstock.metering.attribution import NOBODY, Attribution
from penstock.metering.event import Outcome, Purpose, UsageEvent, new_id
from penstock.metering.reading import Reading
from penstock.pricing.catalog import Catalog, PriceKey
from penstock.pricing.cost import amount
from penstock.pricing.usage import Usage

MODES = {
    "": "standard", "default": "standard", "auto": "standard", "standard": "standard", "standard_only": "standard",
    "scale": "standard", "flex": "flex", "priority": "priority", "fast": "priority", "batch": "batch",
}  # fmt: skip
"""What a reply calls its `service_tier` -> the processing mode that it is billed as."""


NEVER = datetime.min.replace(tzinfo=UTC)
MOST_KNOWN = 4096
"""Kinds of attempts remembered: clients and replies name models, so memory must not grow with them."""


class Served(Struct, frozen=True, gc=False, cache_hash=True):
    """Who served an attempt, as far as the settings know it."""

    provider: str
    """As the price books name it."""
    deployment: str
    model: str
    declared: bool
    """The settings name the model that this deployment serves; the reply's name for it may be private."""
    deployment_type: str
    region: str


class Attempt(Struct, eq=False, gc=False):
    """What happens, apart from what is used: see the fields of the event. What comes last is filled in as it comes."""

    request_id: str
    number: int
    purpose: Purpose
    at: datetime
    endpoint: str
    requested_model: str
    stream: bool
    decision: str
    started: float = 0.0
    """The same instant as `at`, in seconds of a clock that nobody sets."""
    recorded_at: datetime = NEVER
    outcome: Outcome = "ok"
    status: int = 200
    error: str = ""
    duration_us: int = 0
    first_token_us: int = 0


class Known(Struct):
    """What attempts have in common that differ only in when they were, what they used, and what that cost."""

    keys: tuple[PriceKey, ...]
    """Whose price to ask for: of the served model's, and, where that has none, of the declared one's."""
    common: tuple[UsageEvent, ...]
    """What all their events say: naming every field of each would cost more than all the rest."""
    priced: UsageEvent | None = None
    """The same with the row of the first key, which prices what is served between `since` and `until`."""
    rates: dict[str, Decimal] = {}
    since: datetime = NEVER
    until: datetime = NEVER


class Meter:
    """Makes events: one for each attempt, priced as of the instant at which it was served."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[object, Known] = {}

    def event(self, served: Served, attempt: Attempt, reading: Reading, who: Attribution) -> UsageEvent:
        """Price what was served, and make the event. An unknown price is `unpriced`, never 0."""
        same = (
            served, reading.model, reading.tier, reading.region, reading.finish_reason, reading.usage_source,
            attempt.endpoint, attempt.requested_model, attempt.decision, attempt.stream, attempt.status,
        )  # fmt: skip
        known = self._known.get(same)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[same] = self._work_out(served, attempt, reading)
        common, cost = known.priced, None
        if common is not None and known.since <= attempt.at < known.until:
            cost = amount(reading.usage, known.rates)
        if common is None or cost is None:
            common, cost = self._priced(known, reading.usage, attempt.at)
        event = replace(
            common, id=attempt.request_id, request_id=attempt.request_id, at=attempt.at,
            recorded_at=attempt.recorded_at, duration_us=attempt.duration_us, first_token_us=attempt.first_token_us,
            usage=reading.usage, cost=cost,
        )  # fmt: skip
        error = attempt.error or reading.error
        if (
            error
            or attempt.number > 1
            or attempt.outcome != "ok"
            or reading.tool_calls
            or reading.provider_cost is not None
        ):
            event = replace(
                event,
                id=attempt.request_id if attempt.number == 1 else new_id(),
                attempt=attempt.number,
                purpose=attempt.purpose,
                outcome=attempt.outcome,
                error=error,
                tool_calls=reading.tool_calls,
                provider_cost=reading.provider_cost,
            )
        if who is not NOBODY:
            event = replace(
                event, key=who.key, team=who.team, app=who.app, feature=who.feature, user=who.user, run=who.run,
                tags=who.tags,
            )  # fmt: skip
        return event

    def _priced(self, known: Known, usage: Usage, at: datetime) -> tuple[UsageEvent, Decimal | None]:
        """Ask the catalog; remember its row where nothing but time decides."""
        for key, common in zip(known.keys, known.common, strict=True):
            cost = self._catalog.price(key, usage, at)
            event = replace(
                common, price_state=cost.state, price_book=cost.book, price_row=cost.row, price_hash=cost.row_hash
            )
            if cost.total is not None:
                break
        quote = self._catalog.quote(known.keys[0], at)
        if quote is not None and cost.state == "priced" and cost.rates and key is known.keys[0]:
            known.priced, known.rates, (_, known.since, known.until) = event, cost.rates, quote
        return event, cost.total

    def _work_out(self, served: Served, attempt: Attempt, reading: Reading) -> Known:
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
        events = tuple(
            UsageEvent(
                id="", at=NEVER, recorded_at=NEVER, request_id="", provider=served.provider,
                deployment=served.deployment, model=key.model, version=key.version,
                deployment_type=served.deployment_type, region=region, mode=mode, price_state="unpriced",
                requested_model=attempt.requested_model, endpoint=attempt.endpoint, status=attempt.status,
                finish_reason=reading.finish_reason, stream=attempt.stream, usage_source=reading.usage_source,
                decision=attempt.decision,
            )
            for key in keys
        )  # fmt: skip
        return Known(keys, events)


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
