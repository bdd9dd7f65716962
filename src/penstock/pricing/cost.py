"""Usage x price row -> cost: exact, and able to explain itself."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from penstock.pricing.book import PriceRow
from penstock.pricing.usage import Usage

PriceState = Literal["priced", "free", "flat_rate", "unpriced"]
"""How certain a cost is. `unpriced` is an error state, never a zero."""


class CostLine(Struct, frozen=True, gc=False):
    """One unit of one call: how many, at what rate (dollars for one), and the product."""

    unit: str
    quantity: int
    rate: Decimal
    amount: Decimal


class Cost(Struct, frozen=True, kw_only=True):
    """What a call cost, and which row of which book says so.

    `total` is dollars, exact, and None when the state is `unpriced`; `reason` then says what is missing.
    """

    state: PriceState
    total: Decimal | None
    book: str = ""
    """Id of the price book, with its version: `azure@2026-11-23`."""
    row: str = ""
    """Id of the row in that book."""
    row_hash: str = ""
    """First 16 hex digits of the SHA-256 of the row's content."""
    reason: str = ""
    usage: Usage = Usage()
    rates: dict[str, Decimal] = {}
    """What was multiplied: kept as it is, because most costs are never asked for their lines."""

    @property
    def lines(self) -> tuple[CostLine, ...]:
        """One line for each unit that was used, in dollars; they add up to `total`."""
        return tuple(CostLine(unit, n, self.rates[unit], n * self.rates[unit]) for unit, n in self._used())

    def _used(self) -> Iterable[tuple[str, int]]:
        return self.usage.units().items() if self.rates else ()


ZERO = Decimal(0)


def cost_of(usage: Usage, row: PriceRow) -> Cost:
    """Price `usage` in US dollars by one row, one line for each unit that was used.

    A unit that was used and has no rate makes the whole cost `unpriced`: a part is not a total.
    A free row needs no rates: whatever was used, zero is the price.
    """
    if row.flat_rate or row.free:
        state: PriceState = "flat_rate" if row.flat_rate else "free"
        return Cost(state=state, total=ZERO, book=row.book, row=row.id, row_hash=row.hash)
    total = amount(usage, row.rates)
    if total is None:
        lacking = next(unit for unit in usage.units() if unit not in row.rates)
        return Cost(
            state="unpriced", total=None, book=row.book, row=row.id, row_hash=row.hash,
            reason=f"{row.id} has no rate for {lacking}" + ("" if row.rates else f" ({row.source})"),
        )  # fmt: skip
    return Cost(state="priced", total=total, book=row.book, row=row.id, row_hash=row.hash, usage=usage, rates=row.rates)


def amount(usage: Usage, rates: Mapping[str, Decimal]) -> Decimal | None:
    """Multiply and add up, exactly; None where a unit that was used has no rate: a part is not a total."""
    total = ZERO
    try:
        if not usage.is_plain:
            for unit, quantity in usage.units().items():
                total += quantity * rates[unit]
            return total
        # Nearly every call used text alone. Named one by one: this stands on the path of every request.
        if usage.input:
            total += usage.input * rates["input"]
        if usage.cache_read:
            total += usage.cache_read * rates["cache_read"]
        if usage.cache_write:
            total += usage.cache_write * rates["cache_write"]
        if usage.output:
            total += usage.output * rates["output"]
    except KeyError:
        return None
    return total
