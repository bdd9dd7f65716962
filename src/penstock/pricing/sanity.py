"""Rows that look like a slip: ten times their predecessor or their peers, cached dearer than fresh.

Price maps have carried rates a hundred times off; a budget or a bill would follow them without a word.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby, pairwise
from statistics import median

from msgspec import Struct

from penstock.pricing.book import KEY, PriceRow
from penstock.pricing.fields import plain_number, quoted

FACTOR = 10
"""How many times dearer or cheaper than its like a rate must be to be called suspect."""

TEXT = frozenset({"input", "cache_read", "cache_write", "cache_write_1h", "output"})


class Suspect(Struct, frozen=True, kw_only=True):
    """A rate that someone should look at."""

    row: PriceRow
    unit: str
    problem: str


def suspects(rows: Sequence[PriceRow], peers: Iterable[PriceRow] = (), *, at: datetime) -> list[Suspect]:
    """List the suspect rates of `rows`, each once; `peers` are further rows to compare them with, as of `at`."""
    found = [*_cached_dearer(rows), *_jumps([*peers, *rows]), *_outliers(rows, [*rows, *peers], at)]
    asked = {(row.book, row.id) for row in rows}
    first: dict[tuple[str, str, str], Suspect] = {}
    for one in found:
        if (one.row.book, one.row.id) in asked:
            first.setdefault((one.row.book, one.row.id, one.unit), one)
    return list(first.values())


def _cached_dearer(rows: Sequence[PriceRow]) -> Iterator[Suspect]:
    for row in rows:
        for unit, fresh in (("cache_read", "input"), ("cache_read_audio", "input_audio")):
            if unit in _own_units(row) and row.rates[unit] > row.rates.get(fresh, row.rates[unit]):
                yield Suspect(
                    row=row, unit=unit, problem=f"cached tokens cost more than fresh ones: {_say(row, unit, fresh)}"
                )


def _jumps(rows: Sequence[PriceRow]) -> Iterator[Suspect]:
    def key(row: PriceRow) -> tuple[str, ...]:
        return tuple(str(getattr(row, field)) for field in KEY)

    for _, some in groupby(sorted(rows, key=lambda row: (key(row), row.valid_from)), key=key):
        for old, new in pairwise(some):
            for unit in sorted(_own_units(new) & old.rates.keys()):
                if _far(new.rates[unit], old.rates[unit]):
                    before = plain_number(quoted(unit, old.rates[unit]))
                    yield Suspect(
                        row=new, unit=unit, problem=f"{_say(new, unit)} after {before} from {old.valid_from:%Y-%m-%d}"
                    )


def _outliers(rows: Sequence[PriceRow], peers: Sequence[PriceRow], at: datetime) -> Iterator[Suspect]:
    """Compare with what the same model costs elsewhere: other deployment types, regions, versions and layers."""
    groups: dict[tuple[str, ...], list[PriceRow]] = defaultdict(list)
    for row in peers:
        if (row.valid_to is None or at < row.valid_to) and row.rates:
            groups[row.provider, row.model.lower(), row.mode, str(row.context_over)].append(row)
    for row in rows:
        like = groups[row.provider, row.model.lower(), row.mode, str(row.context_over)]
        for unit in sorted(_own_units(row)):
            rate = row.rates[unit]
            others = [one.rates[unit] for one in like if unit in one.rates and (one.book, one.id) != (row.book, row.id)]
            if others and _far(rate, usual := median(others)):
                usually = plain_number(quoted(unit, usual))
                yield Suspect(
                    row=row, unit=unit, problem=f"{_say(row, unit)}, where the model's other rows ask {usually}"
                )


def _own_units(row: PriceRow) -> set[str]:
    """Leave out audio and images that are billed as text: one slip is one finding."""
    return {
        unit
        for unit, rate in row.rates.items()
        if row.rates.get(unit.removesuffix("_audio").removesuffix("_image")) != rate
    } | (row.rates.keys() & TEXT)


def _far(rate: Decimal, other: Decimal) -> bool:
    low, high = sorted((rate, other))
    return low > 0 and high >= FACTOR * low


def _say(row: PriceRow, *units: str) -> str:
    return ", ".join(f"{unit} {plain_number(quoted(unit, row.rates[unit]))}" for unit in units)
