"""Why spend changed between two periods: volume, mix, tokens per request, token kinds, price. The effects add up."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from penstock.analytics.attempts import group_of, keys, sums_of
from penstock.analytics.question import EXACT, trimmed
from penstock.analytics.spend import SpendRow, add
from penstock.errors import PriceBookError
from penstock.ledger.repriced import PRICED_BY
from penstock.ledger.store import Ledger
from penstock.pricing.books import find_row
from penstock.pricing.catalog import Catalog
from penstock.pricing.usage import INPUT_TOKENS, OUTPUT_TOKENS, PRICED

Rates = Callable[[str, str], Mapping[str, Decimal] | None]
"""(price book, price row) -> dollars for one of each unit; None where nobody knows the row any more."""

EFFECTS = ("volume", "mix", "tokens_per_request", "token_kinds", "price")
TOKENS = (*INPUT_TOKENS, *OUTPUT_TOKENS)
PLACES = Decimal(1).scaleb(-18)


class Moved(Struct, frozen=True, kw_only=True):
    """What one line, or the whole, cost in both periods, in dollars. The effects add up to `change` exactly."""

    before: Decimal
    after: Decimal
    change: Decimal
    volume: Decimal
    """More or fewer requests in all, at the old mix, tokens per request and prices."""
    mix: Decimal
    """Requests that moved between lines, at each line's old cost of a request. New and gone lines are moves."""
    tokens_per_request: Decimal
    """Longer or shorter requests and answers, at the line's old kinds of tokens and prices."""
    token_kinds: Decimal
    """Another share of cached, output, ... tokens, and other units than tokens, at the old prices."""
    price: Decimal
    """Other rates for the same units: a price change, a discount, another mode, tier or region; corrections too."""
    requests_before: int
    requests_after: int
    tokens_before: int
    tokens_after: int

    @property
    def main(self) -> str:
        """The effect that is the largest."""
        return max(EFFECTS, key=lambda name: abs(getattr(self, name)))


class Line(Struct, frozen=True, kw_only=True):
    """One line of the decomposition."""

    group: dict[str, str]
    status: str
    """`kept`; `new`: nothing before; `gone`: nothing after."""
    moved: Moved


class Change(Struct, frozen=True, kw_only=True):
    """The whole, its lines by the size of their change, and what it leaves out."""

    total: Moved
    lines: tuple[Line, ...]
    unpriced_before: int
    """Events without a price, which count in no figure above."""
    unpriced_after: int
    unknown_rates: int
    """Requests whose price row nobody knows any more: shifts between their kinds of tokens count as price."""


class _Side:
    """One line in one period."""

    def __init__(self) -> None:
        self.requests: int | Fraction = 0
        self.cost, self.rated = Decimal(0), Fraction(0)
        self.units: dict[str, int | Fraction] = defaultdict(int)
        self.spent: dict[str, Fraction] = defaultdict(Fraction)

    @property
    def tokens(self) -> int | Fraction:
        return sum(self.units[unit] for unit in TOKENS)

    def book(self, requests: int, cost: Decimal, units: Mapping[str, int], rates: Mapping[str, Decimal] | None) -> None:
        """Add calls that cost so much; without rates, all tokens cost alike."""
        self.requests += requests
        self.cost = EXACT.add(self.cost, cost)
        for unit, amount in dollars_by_unit(units, cost, rates).items():
            self.units[unit] += units[unit]
            self.spent[unit] += amount
            self.rated += amount

    def mean(self, periods: int) -> "_Side":
        """Return what one of so many periods was, in the mean."""
        one = _Side()
        one.requests, one.rated = Fraction(self.requests, periods), self.rated / periods
        one.cost = EXACT.quantize(EXACT.divide(self.cost, Decimal(periods)), PLACES)
        one.units.update({unit: Fraction(n, periods) for unit, n in self.units.items()})
        one.spent.update({unit: amount / periods for unit, amount in self.spent.items()})
        return one

    def rate(self, unit: str) -> Fraction | None:
        """Return the average rate of a unit; None: none of it was used."""
        return self.spent[unit] / self.units[unit] if self.units[unit] else None


def change(
    source: Any,
    *,
    by: Sequence[str],
    before: tuple[datetime, datetime],
    after: tuple[datetime, datetime],
    rates: Rates,
    where: Sequence[tuple[str, str]] = (),
) -> Change:
    """Split the change of spend from the period `before` to the period `after` into effects, by lines of `by`.

    Periods are (first instant, first instant after). `source` is as for `spend`.
    """
    names = tuple(dict.fromkeys(by))
    old, unpriced_before, unknown_before = _sides(source, names, before, rates, where)
    new, unpriced_after, unknown_after = _sides(source, names, after, rates, where)
    lines = [
        Line(
            group=dict(zip(names, group, strict=True)),
            status="new" if group not in old else "gone" if group not in new else "kept",
            moved=moved,
        )
        for group, moved in _split(old, new).items()
    ]
    return Change(
        total=_total([line.moved for line in lines]),
        lines=tuple(sorted(lines, key=lambda line: (-abs(line.moved.change), *line.group.values()))),
        unpriced_before=unpriced_before,
        unpriced_after=unpriced_after,
        unknown_rates=unknown_before + unknown_after,
    )


def document(
    found: Change,
    by: Sequence[str],
    before: tuple[datetime, datetime],
    after: tuple[datetime, datetime],
    begins: datetime | None,
) -> dict[str, Any]:
    """Lay the answer out for programs; `begins` is when the ledger does, where that is within or after `before`."""
    return {
        "by": by, "before": {"from": before[0], "to": before[1]}, "after": {"from": after[0], "to": after[1]},
        "ledger_begins": begins,
        **asdict(found), "lines": [line.group | {"status": line.status} | asdict(line.moved) for line in found.lines],
    }  # fmt: skip


def moved_from_usual(usual: Iterable[SpendRow], now: Iterable[SpendRow], periods: int) -> Moved:
    """Split the change from the mean of some periods to one period by model, both as rows of spend.

    Rows do not know which tokens cost what: other kinds of tokens count as price.
    """
    sides: list[dict[tuple[str, ...], _Side]] = []
    for rows in (usual, now):
        found: dict[tuple[str, ...], _Side] = {}
        for row in rows:
            side = found.setdefault((row.group["model"],), _Side())
            side.book(row.requests, row.cost, {"input": row.input_tokens, "output": row.output_tokens}, None)
        sides.append(found)
    old = {group: side.mean(periods) for group, side in sides[0].items()}
    return _total(list(_split(old, sides[1]).values()))


def _split(old: Mapping[tuple[str, ...], _Side], new: Mapping[tuple[str, ...], _Side]) -> dict[tuple[str, ...], Moved]:
    """Split the change of each line; volume is the growth of all."""
    requests_before = sum(side.requests for side in old.values())
    requests_after = sum(side.requests for side in new.values())
    growth = Fraction(requests_after, requests_before) if requests_before else None
    return {
        group: _moved(old.get(group) or _Side(), new.get(group) or _Side(), growth)
        for group in dict.fromkeys((*old, *new))
    }


def rates_in(ledger: Ledger, catalog: Callable[[], Catalog | None]) -> Rates:
    """Look rates up in the books that the ledger archived, in those of the package, and in those of a catalog.

    The catalog is asked for when a row is found nowhere else: to load its last book takes a while.
    """
    stacked: list[Catalog | None] = []
    books: dict[str, bytes | None] = {}
    known: dict[tuple[str, str], Mapping[str, Decimal] | None] = {}

    def rates(book: str, row: str) -> Mapping[str, Decimal] | None:
        if (book, row) not in known:
            if book not in books:
                books[book] = ledger.load_book(book) if book else None
            try:
                known[book, row] = find_row(book, row, archived=books[book]).rates
            except PriceBookError:
                known[book, row] = in_catalog(book, row)
        return known[book, row]

    def in_catalog(book: str, row: str) -> Mapping[str, Decimal] | None:
        if not stacked:
            found = catalog()
            stacked.append(found and found.load())
        try:
            return find_row(book, row, catalog=stacked[0]).rates
        except PriceBookError:
            return None

    return rates


def _sides(
    source: Any,
    names: tuple[str, ...],
    period: tuple[datetime, datetime],
    rates: Rates,
    where: Sequence[tuple[str, str]],
) -> tuple[dict[tuple[str, ...], _Side], int, int]:
    """Sum up one period: its lines, the events without a price, and the requests without known rates."""
    rows = sums_of(
        source, ("requests", "cost", "unpriced_events", *PRICED), by=(*names, *PRICED_BY),
        since=period[0], until=period[1], where=where, rates=True,
    )  # fmt: skip
    priced_by = keys((*names, *PRICED_BY))[len(names) :]
    sides: dict[tuple[str, ...], _Side] = {}
    unpriced = unknown = 0
    for row in rows:
        state, book, price_row = (row[name] for name in priced_by)
        unpriced += int(row["unpriced_events"])
        if state == "unpriced":
            continue
        side = sides.setdefault(tuple(group_of(row, names).values()), _Side())
        units = {unit: int(row[unit]) for unit in PRICED if row[unit]}
        cost = row["cost"] or Decimal(0)
        known = rates(book, price_row) if cost else {}
        unknown += int(row["requests"]) if known is None else 0
        side.book(int(row["requests"]), cost, units, known)
    return sides, unpriced, unknown


def dollars_by_unit(
    units: Mapping[str, int], cost: Decimal, rates: Mapping[str, Decimal] | None
) -> dict[str, Fraction]:
    """Return what each unit cost; without rates (None), all tokens cost alike."""
    if rates is not None:
        return {unit: n * Fraction(rates.get(unit, 0)) for unit, n in units.items()}
    tokens = sum(units.get(unit, 0) for unit in TOKENS)
    each = Fraction(cost) / tokens if tokens else Fraction(0)
    return {unit: n * each if unit in TOKENS else Fraction(0) for unit, n in units.items()}


def _moved(old: _Side, new: _Side, growth: Fraction | None) -> Moved:
    """Change one thing after the other: requests, mix, tokens per request, kinds of tokens, rates."""
    start, end = Fraction(old.cost), Fraction(new.cost)
    if growth is None:  # there was nothing to compare with: all of it is volume
        steps = [end] * 5
    elif not old.requests or not new.requests:
        steps = [start * growth, *[end] * 4]
    else:
        moved = start * Fraction(new.requests, old.requests)
        longer = Fraction(new.tokens, old.tokens) if old.tokens and new.tokens else Fraction(new.requests, old.requests)
        # What corrections and rounding put on top of units times rates grows with the tokens.
        kinds = sum((n * _old_rate(unit, old, new) for unit, n in new.units.items()), Fraction(0))
        steps = [start * growth, moved, start * longer, kinds + (start - old.rated) * longer, end]
    values = [later - sooner for sooner, later in zip([start, *steps], steps, strict=False)]
    change = EXACT.subtract(new.cost, old.cost)
    effects = dict(zip(EFFECTS, rounded(values, change), strict=True))
    return Moved(
        before=trimmed(old.cost), after=trimmed(new.cost), change=trimmed(change),
        requests_before=round(old.requests), requests_after=round(new.requests),
        tokens_before=round(old.tokens), tokens_after=round(new.tokens), **effects,
    )  # fmt: skip


def _old_rate(unit: str, old: _Side, new: _Side) -> Fraction:
    """Return the old rate of a unit; one that was not used before has only its new one."""
    rate = old.rate(unit)
    return rate if rate is not None else new.rate(unit) or Fraction(0)


def rounded(values: Iterable[Fraction], whole: Decimal) -> list[Decimal]:
    """Round to the ledger's 18 decimals; the largest effect takes what rounding leaves over."""
    parts = [
        EXACT.quantize(EXACT.divide(Decimal(value.numerator), Decimal(value.denominator)), PLACES) for value in values
    ]
    largest = max(range(len(parts)), key=lambda n: abs(parts[n]))
    parts[largest] = EXACT.add(parts[largest], EXACT.subtract(whole, add(parts)))
    return [trimmed(part) for part in parts]


def _total(lines: Sequence[Moved]) -> Moved:
    money: dict[str, Any] = {
        name: trimmed(add(getattr(line, name) for line in lines)) for name in ("before", "after", *EFFECTS)
    }
    counts = ("requests_before", "requests_after", "tokens_before", "tokens_after")
    return Moved(
        change=trimmed(EXACT.subtract(money["after"], money["before"])),
        **money,
        **{name: sum(getattr(line, name) for line in lines) for name in counts},
    )
