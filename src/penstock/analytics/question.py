"""A question about spend, and what an engine finds: the ground that every way of asking stands on."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Context, Decimal
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from penstock.ledger.moment import Moment

GRAINS: dict[str, tuple[str, str]] = {
    "hour": ("h", "%Y-%m-%dT%H:00"),
    "day": ("D", "%Y-%m-%d"),
    "week": ("W", "%Y-%m-%d"),
    "month": ("M", "%Y-%m"),
}
"""Grain -> its unit for the engine, and how its first instant is written. A week is named by its Monday."""
TAG = "tag:"
Bound = datetime | None
Where = Sequence[tuple[str, str]]
"""Dimensions, each with the value that counts."""
COUNTS = ("events", "requests", "input_tokens", "cached_tokens", "output_tokens", "unpriced_events")
UNPRICED = ("unpriced_events", "unpriced_input_tokens", "unpriced_output_tokens")
SUMS = (*COUNTS, *UNPRICED[1:])
"""Whole numbers that are summed up for each group."""
EXACT = Context(prec=60)
"""Sums of 38-digit numbers need more than the 28 digits of Python's default."""


@runtime_checkable
class Choosing(Protocol):
    """A source of events that holds more than counts (`overlap.Once`)."""

    def chosen(self, *, since: datetime | None, until: datetime | None, where: Sequence[tuple[str, str]]) -> Any:
        """Return the moment, or the table, that a question about this time is to be put to."""


def chosen(
    source: Any, *, since: datetime | None, until: datetime | None, where: Sequence[tuple[str, str]] = ()
) -> Any:
    """Return what answers: a moment, whose rollups may do, or a table of events."""
    return source.chosen(since=since, until=until, where=where) if isinstance(source, Choosing) else source


def table_of(source: Any, *, since: datetime | None, until: datetime | None) -> Any:
    """Return the events of what answers as an Ibis table."""
    return source.table(since=since, until=until) if isinstance(source, Moment) else source


def columns_for(by: Iterable[str], where: Where) -> tuple[str, ...]:
    """Return the columns of the ledger that dimensions and a filter need."""
    names = (*by, *(name for name, _value in where))
    return tuple(dict.fromkeys("tags" if name.startswith(TAG) else name for name in names))


class Found(Struct, frozen=True, kw_only=True):
    """Sums as an engine found them: a list a column, a value a group."""

    keys: Sequence[Sequence[str]]
    """A list for each dimension asked for."""
    sums: dict[str, list[int]]
    """`SUMS`."""
    costs: Sequence[Decimal]
    first: datetime | None
    last: datetime | None
    unpriced: Sequence[tuple[str, str, int, int, int]]
    """Provider, model and `UNPRICED`."""
    early: Sequence[tuple[str, str, int]]
    """Model, price row, events."""
    is_sorted: bool = False
    """Whether the groups come the most expensive first, of like ones those with the most input."""


class Question(Struct, frozen=True, kw_only=True):
    """What is asked, checked."""

    names: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    place: tzinfo
    where: tuple[tuple[str, str], ...]
    among: tuple[str, tuple[str, ...]] | None = None
    """A dimension and the values of it that count; None: all."""
    sums: tuple[str, ...] = SUMS
    """What is summed up beside the dollars."""
    brief: bool = False
    """Whether it does not matter which models lack a price, or have one that starts later."""

    def columns(self, *wanted: str) -> tuple[str, ...]:
        """Return the columns of the ledger that dimensions, and the filter, need besides the time."""
        names = (*wanted, *(self.among[:1] if self.among else ()))
        return columns_for((name for name in names if name not in GRAINS), self.where)

    @property
    def is_local(self) -> bool:
        """Whether the clocks of a place have a say."""
        return self.place is not UTC and bool(set(self.names) & set(GRAINS))


def trimmed(amount: Decimal) -> Decimal:
    """Drop the zeros that end a ledger's 18 decimals; cents stay."""
    sign, digits, exponent = amount.as_tuple()
    assert isinstance(exponent, int)
    while exponent < -2 and digits[-1] == 0:
        digits, exponent = digits[:-1] or (0,), exponent + 1
    return Decimal((sign, digits, exponent)) if exponent <= -2 else amount.quantize(Decimal("0.01"), context=EXACT)
