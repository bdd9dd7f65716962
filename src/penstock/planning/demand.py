"""Demand for provisioned throughput: how many PTUs each minute of a traffic asks for, and what it costs per token."""

import dataclasses
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cached_property

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


@dataclasses.dataclass(frozen=True)
class Mix:
    """How a model weighs and bills what it is sent, and which shares of the input its prompt cache reads and writes."""

    model: PtuModel
    row: PriceRow
    """Prices by token: of long prompts, where prompts are long."""
    one: Decimal
    """Dollars of one token of a short prompt: what a weight of one stands for."""
    cached_share: Decimal = Decimal(0)
    written_share: Decimal = Decimal(0)

    @cached_property
    def dollars_in(self) -> Decimal:
        """Dollars of one input token without PTUs: fresh, read from the cache and written to it, by their shares."""
        more = self.written_share * (rate(self.row, "cache_write") - rate(self.row, "input"))
        return call_cost(self.row, 1, 0, self.cached_share) + more

    @cached_property
    def dollars_out(self) -> Decimal:
        """Dollars of one output token without PTUs."""
        return rate(self.row, "output")

    def load(self, input_tokens: int, output_tokens: int, times: Decimal = Decimal(1)) -> Load:
        """Return the demand of so many like requests in one minute, weighed as the model's PTU accounting does."""
        dollars = (input_tokens * self.dollars_in + output_tokens * self.dollars_out) * times
        if self.model.accounting == "normalised":  # each kind of token weighs its price
            return Load(dollars / (self.one * self.model.input_tpm), dollars)
        weight = input_tokens * (1 - self.cached_share) + self.model.output_ratio * output_tokens
        return Load(weight * times / self.model.input_tpm, dollars)


def loads(minutes: Iterable[Minute], mix: Mix) -> tuple[Load, ...]:
    """Turn traffic by the minute into demand by the minute."""
    found = [mix.load(minute.input_tokens, minute.output_tokens) for minute in minutes]
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
