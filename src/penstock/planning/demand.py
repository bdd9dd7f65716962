"""Demand for provisioned throughput: how many PTUs each minute of a traffic asks for, and what it costs per token."""

import dataclasses
from collections.abc import Iterable, Sequence
from decimal import Decimal

from penstock.errors import PlanError
from penstock.planning.prices import call_cost, rate
from penstock.planning.quantity import MONTH_MINUTES
from penstock.pricing.book import PriceRow
from penstock.pricing.capacity import PtuModel


@dataclasses.dataclass(frozen=True, slots=True)
class Minute:
    """What was asked in one minute."""

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """One minute of demand: PTUs that would serve it all, and dollars it costs at the price per token."""

    ptus: Decimal
    dollars: Decimal
    minutes: Decimal = Decimal(1)
    """How many minutes are like this one: their share, where demand is not a series."""


def weighed(model: PtuModel, row: PriceRow, input_tokens: Decimal, output_tokens: Decimal, cached: Decimal) -> Decimal:
    """Weigh tokens in input tokens, as the model's PTU accounting does; `cached` are part of the input tokens."""
    if model.accounting == "ratio":
        return input_tokens - cached + model.output_ratio * output_tokens
    one = rate(row, "input")
    fresh = input_tokens - cached
    return fresh + cached * rate(row, "cache_read") / one + output_tokens * rate(row, "output") / one


def loads(minutes: Iterable[Minute], model: PtuModel, row: PriceRow, cached_share: Decimal) -> tuple[Load, ...]:
    """Turn traffic by the minute into demand by the minute."""
    found = []
    for minute in minutes:
        cached = minute.input_tokens * cached_share
        weight = weighed(model, row, Decimal(minute.input_tokens), Decimal(minute.output_tokens), cached)
        dollars = call_cost(row, minute.input_tokens, minute.output_tokens, cached)
        found.append(Load(weight / model.input_tpm, dollars))
    if not any(load.ptus for load in found):
        raise PlanError("trace", "there is no minute with tokens in it")
    return tuple(found)


def per_month(series: Sequence[Load]) -> Decimal:
    """Return how often the series fits into a month of 730 hours: it is taken to repeat."""
    return Decimal(MONTH_MINUTES) / sum(load.minutes for load in series)


def bill(series: Sequence[Load], ptus: int, dollars_per_ptu: Decimal) -> Decimal:
    """Return a month's dollars: the PTUs, and per-token prices for the part of each minute that they do not serve."""
    spilled = sum(
        (load.minutes * load.dollars * (1 - ptus / load.ptus) for load in series if load.ptus > ptus), Decimal(0)
    )
    return ptus * dollars_per_ptu + per_month(series) * spilled


def best_ptus(series: Sequence[Load], dollars_per_ptu: Decimal, least: int, step: int) -> int:
    """Find the number of PTUs with the lowest bill: none, the minimum, or a step around the quantile.

    The bill is convex in the number of PTUs. One more PTU pays as long as the minutes that exceed it would cost more at
    per-token prices than it does. With one mix of tokens that is the point which demand exceeds in a share u* of the
    minutes (u* = the PTU's price over the value of a PTU that is always busy): the (1 - u*) quantile of demand.
    """
    point = break_point(series, dollars_per_ptu)
    below = least + max(0, int((point - least) // step)) * step
    candidates = (0, least, below, below + step)
    return min(candidates, key=lambda ptus: (bill(series, ptus, dollars_per_ptu), ptus))


def break_point(series: Sequence[Load], dollars_per_ptu: Decimal) -> Decimal:
    """Return the demand, in PTUs, above which another PTU no longer pays; not yet rounded to what can be bought."""
    often = per_month(series)
    earned = Decimal(0)
    for load in sorted(series, key=lambda load: load.ptus, reverse=True):
        if not load.ptus:
            break
        earned += often * load.minutes * load.dollars / load.ptus
        if earned > dollars_per_ptu:
            return load.ptus
    return Decimal(0)
