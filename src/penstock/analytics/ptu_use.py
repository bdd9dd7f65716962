"""What provisioned capacity was used for: utilisation, coverage, waste, and what it saved against paying by token."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from msgspec import Struct

from penstock.analytics.attempts import attempts_of
from penstock.analytics.commitments import Term
from penstock.analytics.efficiency import ratio
from penstock.analytics.question import trimmed
from penstock.analytics.spend import add
from penstock.errors import InputError
from penstock.planning.prices import Deployment, Prices
from penstock.pricing.book import PriceRow
from penstock.pricing.capacity import PtuModel, shipped_capacity
from penstock.pricing.catalog import Catalog
from penstock.pricing.usage import INPUT_TOKENS, OUTPUT_TOKENS

TOKENS = (*INPUT_TOKENS, *OUTPUT_TOKENS)
MONTH_MINUTES = 43_800
"""730 hours."""
CACHED = ("cache_read", "cache_read_audio", "cache_read_image")
CENTS = Decimal("0.000001")


class PtuUse(Struct, frozen=True, kw_only=True):
    """One model on so many PTUs. Money is dollars to six decimals, shares are of 1."""

    model: str
    ptus: int
    minutes: int
    """Of the period: PTUs are billed whether they are used or not."""
    requests: int
    """Served by PTUs."""
    tokens: int
    utilisation: Decimal
    """PTU-minutes of demand, each minute at most all PTUs, over those that were paid."""
    p95: Decimal
    """PTUs that 95 % of the minutes did not exceed, quiet ones included."""
    peak: Decimal
    """PTUs of the busiest minute; more than there are: bursts, or calls longer than a minute."""
    busy_minutes: int
    """Minutes with any demand."""
    full_minutes: int
    """Minutes that took all PTUs or more."""
    cost: Decimal
    """What the PTUs cost in this time."""
    idle: Decimal
    """Of it, what paid for capacity that nobody used."""
    value: Decimal
    """What their tokens would have cost by the token."""
    saved: Decimal
    """Value - cost; below zero, paying by the token would have been cheaper."""
    saving_rate: Decimal | None
    """Saved / value (the effective savings rate)."""
    break_even: Decimal | None
    """Utilisation from which on the PTUs pay, with this mix of tokens; above 1: never."""
    spilled_requests: int
    """Requests of the same model that were served by the token."""
    spilled_tokens: int
    spilled_cost: Decimal
    coverage: Decimal | None
    """Tokens on PTUs over all tokens of the model."""
    unpriced_events: int
    """Spilled events without a price."""


class Offer(Struct, frozen=True, kw_only=True):
    """PTUs of one model: what they are paid with, and what their tokens cost without them."""

    capacity: PtuModel
    deployment_type: str
    """As events have it: `global_ptu`."""
    dollars_per_month: Decimal
    """Of one PTU, for 730 hours."""
    by_token: PriceRow


def offer_of(
    catalog: Catalog,
    model: str,
    at: datetime,
    *,
    deployment_type: Deployment = "global",
    term: Term = "month",
    region: str = "",
    dollars_per_month: Decimal | None = None,
) -> Offer:
    """Find what PTUs of a model cost, by Azure's list or as given, and the price of its tokens at that time.

    Raises InputError where the model has no PTUs, or there is no price.
    """
    tables = shipped_capacity()
    capacity = tables.models.get(model.lower())
    if capacity is None:
        known = ", ".join(sorted(one.model for one in tables.models.values()))
        raise InputError(f"{model} cannot be provisioned, as far as is known; PTUs serve {known}")
    price = tables.rate(deployment_type, region)
    months = {"hourly": price.hourly * 730, "month": price.month, "year": price.year and price.year / 12}
    dollars = months[term] if dollars_per_month is None else dollars_per_month
    if dollars is None:
        raise InputError(f"There is no price by the {term} of {deployment_type} PTUs: give dollars per month")
    prices = Prices(catalog, at)
    place = region or ("" if deployment_type == "global" else "us")
    row = prices.find(capacity.model, deployment_type=deployment_type, region=place)
    row = row if row is not None and {"input", "output"} <= row.rates.keys() else prices.row(capacity.model)
    return Offer(
        capacity=capacity, deployment_type=f"{deployment_type}_ptu", dollars_per_month=dollars, by_token=row
    )  # fmt: skip


def ptu_use(
    source: Any,
    capacity: PtuModel,
    *,
    ptus: int,
    dollars_per_month: Decimal,
    rates: Mapping[str, Decimal],
    since: datetime,
    until: datetime,
    deployment_type: str = "",
    where: Sequence[tuple[str, str]] = (),
) -> PtuUse:
    """Hold a model's traffic of [since, until) against `ptus` PTUs at so many dollars each for a month of 730 hours.

    Events count as served by PTUs where their deployment type ends in `_ptu` (or is `deployment_type`), in the minute
    in which they began. `rates` are dollars by unit for the same tokens without PTUs; they also weigh tokens, where the
    model's accounting does. `source` is as for `spend`.
    """
    minutes = int((until - since).total_seconds() // 60)
    if minutes < 1 or ptus < 1:
        raise InputError("PTU use needs at least one PTU and one minute")
    events = attempts_of(source, since=since, until=until, where=where)
    events = events.filter(events.model.lower() == capacity.model.lower())
    provisioned = events.deployment_type.endswith("_ptu")
    if deployment_type:
        provisioned = events.deployment_type == deployment_type
    rows = _by_minute(events.filter(provisioned))
    spilled = _by_minute(events.filter(~events.deployment_type.endswith("_ptu")))
    demand = sorted((_ptus(row, capacity, rates) for row in rows), reverse=True)
    paid = Fraction(ptus) * minutes
    used = sum((min(each, Fraction(ptus)) for each in demand), Fraction(0))
    cost = Fraction(dollars_per_month) * paid / MONTH_MINUTES
    value = sum((_dollars(row, rates) for row in rows), Fraction(0))
    share = used / paid
    tokens, more = (sum(_tokens(row) for row in some) for some in (rows, spilled))
    rank = int(minutes * 0.05)  # so many minutes may exceed it
    return PtuUse(
        model=capacity.model, ptus=ptus, minutes=minutes, requests=_sum(rows, "requests"), tokens=tokens,
        utilisation=_number(share), p95=_number(demand[rank] if rank < len(demand) else Fraction(0)),
        peak=_number(demand[0] if demand else Fraction(0)), busy_minutes=sum(each > 0 for each in demand),
        full_minutes=sum(each >= ptus for each in demand), cost=_number(cost), idle=_number(cost * (1 - share)),
        value=_number(value), saved=_number(value - cost),
        saving_rate=_number((value - cost) / value) if value else None,
        break_even=_number(cost * sum(demand) / (paid * value)) if value else None,
        spilled_requests=_sum(spilled, "requests"), spilled_tokens=more,
        spilled_cost=trimmed(add(row["cost"] for row in spilled if row["cost"] is not None)),
        coverage=ratio(tokens, tokens + more), unpriced_events=_sum(spilled, "unpriced"),
    )  # fmt: skip


def _by_minute(events: Any) -> list[dict[str, Any]]:
    """Sum up each minute (UTC) in which anything began."""
    sums = {unit: events[unit].sum() for unit in TOKENS}
    rows: list[dict[str, Any]] = (
        events.group_by(minute=events["at"].truncate("m"))
        .aggregate(**sums, requests=events.requests.sum(), cost=events.cost.sum(), unpriced=events.is_unpriced.sum())
        .to_pyarrow()
        .to_pylist()
    )
    return rows


def _ptus(row: Mapping[str, Any], capacity: PtuModel, rates: Mapping[str, Decimal]) -> Fraction:
    """Return the PTUs that would serve a minute's tokens, weighed as the model's accounting does."""
    if capacity.accounting == "normalised":  # each kind of token weighs its price
        return _dollars(row, rates) / (Fraction(rates["input"]) * capacity.input_tpm)
    fresh = sum(int(row[unit]) for unit in INPUT_TOKENS if unit not in CACHED)
    output = sum(int(row[unit]) for unit in OUTPUT_TOKENS)
    return (fresh + Fraction(capacity.output_ratio) * output) / capacity.input_tpm


def _dollars(row: Mapping[str, Any], rates: Mapping[str, Decimal]) -> Fraction:
    """Price a minute's tokens by the token; a kind without a rate of its own costs what text of its side does."""
    total = Fraction(0)
    for units, plain in ((INPUT_TOKENS, "input"), (OUTPUT_TOKENS, "output")):
        for unit in units:
            total += int(row[unit] or 0) * Fraction(rates.get(unit, rates[plain]))
    return total


def _tokens(row: Mapping[str, Any]) -> int:
    return sum(int(row[unit]) for unit in TOKENS)


def _sum(rows: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(int(row[name]) for row in rows)


def _number(value: Fraction) -> Decimal:
    return (Decimal(value.numerator) / Decimal(value.denominator)).quantize(CENTS)
