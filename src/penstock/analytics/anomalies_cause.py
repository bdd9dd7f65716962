"""Why spend moved in a period: which key, model, feature or app, and whether by volume, mix, tokens or price."""
# ruff: noqa: S608  # names of columns; values are bound

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from decimal import Context, Decimal
from typing import Any

from msgspec import Struct, structs

from penstock.analytics.change import Moved, moved_from_usual
from penstock.analytics.question import COUNTS, EXACT, Where, chosen, columns_for, trimmed
from penstock.analytics.spend import SpendRow, add, dimension, given, spend
from penstock.ledger.engine import between
from penstock.ledger.moment import Moment, is_aligned
from penstock.ledger.rollups import CUBES

SUSPECTS = ("key", "model", "feature", "app", "team", "deployment")
"""Dimensions in which a mover is looked for."""
WEEKS = 4
LEAST_SHARE = Decimal("0.1")
"""A mover that explains less of the excess is not named."""
GRAIN = Decimal("0.000001")
DIVIDE = Context(prec=40)


class Mover(Struct, frozen=True, kw_only=True):
    """One value of one dimension, and what it spent above its usual."""

    dimension: str
    value: str
    spent: Decimal
    usual: Decimal
    share: Decimal
    """Of the whole excess: 1 is all of it; above 1 others went down."""


class Cause(Struct, frozen=True, kw_only=True):
    """What moved."""

    movers: tuple[Mover, ...]
    """At most one for each dimension, the one that explains most."""
    effects: Moved
    """From the usual to what was spent: effects that add up, as in a change between two periods."""


def cause(
    source: Any,
    since: datetime,
    until: datetime,
    *,
    place: tzinfo,
    where: Sequence[tuple[str, str]] = (),
) -> Cause | None:
    """Compare [since, until) with the same hours of the same weekdays in the four weeks before.

    Weeks without any event are not counted. Returns None where there is nothing to compare with.
    Events without a price are left out on both sides: their dollars are unknown.
    """
    length = until - since
    apart = max(1, -(-length // timedelta(days=7)))  # a long period is not compared with a part of itself
    before = [
        (_weeks_before(since, week, place), _weeks_before(until, week, place)) for week in range(apart, apart + WEEKS)
    ]

    now, *earlier = _rows(source, [(since, until), *before], where)
    weeks = [found for found in earlier if found["model"]]
    if not weeks or not now["model"]:
        return None
    usual = {dimension: [row for week in weeks for row in week[dimension]] for dimension in SUSPECTS}
    parts = Decimal(len(weeks))
    excess = add(row.cost for row in now["model"]) - add(row.cost for row in usual["model"]) / parts
    movers = [_mover(name, now[name], usual[name], parts, excess) for name in SUSPECTS]
    known = [mover for mover in movers if mover is not None]
    return Cause(
        movers=tuple(sorted(known, key=lambda mover: (-mover.share, SUSPECTS.index(mover.dimension)))),
        effects=moved_from_usual(usual["model"], now["model"], len(weeks)),
    )


DAY = 24 * 60
"""Minutes."""
LONG = timedelta(days=2)
"""A period that holds a whole day wherever days begin."""
Period = tuple[datetime, datetime]
Rows = dict[str, list[SpendRow]]
"""By dimension: a row for each of its values."""


def _rows(source: Any, periods: Sequence[Period], where: Where) -> list[Rows]:
    """Sum periods up by each suspect, without what has no price."""
    since, until = min(first for first, _ in periods), max(last for _, last in periods)
    asked = chosen(source, since=since, until=until, where=where)
    found: list[Rows] = [{name: [] for name in SUSPECTS} for _ in periods]
    if not isinstance(asked, Moment):
        for one, (first, last) in zip(found, periods, strict=True):
            rows = spend(asked, by=SUSPECTS, since=first, until=last, where=where, brief=True).rows
            one |= {name: _summed(rows, name) for name in SUSPECTS}
    elif (together := _known_together(where)) and all(is_aligned(at, DAY) for period in periods for at in period):
        for names in together:
            _add_rows(found, asked, names, periods, where)
    elif together and periods[0][1] - periods[0][0] >= LONG:
        for one, period in zip(found, periods, strict=True):  # whole days of sums, and hours of events around them
            for names in together:
                _add_rows([one], asked, names, [period], where)
    else:
        _add_rows(found, asked, SUSPECTS, periods, where)
    return [{name: _priced(rows) for name, rows in one.items()} for one in found]


def _known_together(where: Where) -> list[tuple[str, ...]]:
    """Split the suspects so that rollups know each part; nothing: they do not know one of them."""
    together, left = [], list(SUSPECTS)
    for cube in sorted(CUBES, key=lambda cube: -len({*SUSPECTS} & {*cube.by})):
        some = tuple(name for name in left if name in cube.by)
        if some and {name for name, _value in where} <= {*cube.by}:
            together.append(some)
            left = [name for name in left if name not in some]
    return [] if left else together


def _add_rows(
    found: list[Rows], moment: Moment, names: tuple[str, ...], periods: Sequence[Period], where: Where
) -> None:
    """Ask for some of the suspects in all periods at once, of parts that reach into one of them."""
    keys = [f"by_{n}" for n in range(len(names))]
    listed = ", ".join(f"{dimension(name)} AS {key}" for name, key in zip(names, keys, strict=True))
    sums = ", ".join(f"sum({name})::VARCHAR AS {name}" for name in (*COUNTS, "cost"))
    cases = " ".join(f"WHEN {between(*period)} THEN {n}" for n, period in enumerate(periods))
    table = moment.ask(
        f"SELECT period, {', '.join(keys)}, {sums} "
        f"FROM (SELECT *, CASE {cases} END AS period, {listed} FROM facts WHERE {given(where)}) "
        "WHERE period IS NOT NULL "
        f"GROUP BY GROUPING SETS ({', '.join(f'(period, {key})' for key in keys)})",
        [value for _name, value in where], columns=(*names, *columns_for((), where)),
        measures=(*COUNTS, "cost"), since=min(first for first, _ in periods), until=max(last for _, last in periods),
        fits=lambda minutes: len(periods) == 1 or all(is_aligned(at, minutes) for period in periods for at in period),
        among=lambda part: any(part.last >= first and part.first < last for first, last in periods),
    )  # fmt: skip
    for row in table.to_pylist():
        [(name, value)] = [(name, row[key]) for name, key in zip(names, keys, strict=True) if row[key] is not None]
        counts = {count: int(row[count]) for count in COUNTS}
        one = SpendRow(group={name: value}, cost=trimmed(Decimal(row["cost"] or 0)), **counts)
        found[row["period"]][name].append(one)


def _summed(rows: Sequence[SpendRow], name: str) -> list[SpendRow]:
    """Sum rows up to one dimension."""
    grouped: dict[str, list[SpendRow]] = defaultdict(list)
    for row in rows:
        grouped[row.group[name]].append(row)
    return [
        SpendRow(
            group={name: value}, cost=trimmed(add(row.cost for row in some)),
            **{count: sum(getattr(row, count) for row in some) for count in COUNTS},
        )
        for value, some in grouped.items()
    ]  # fmt: skip


def _mover(
    dimension: str, now: Sequence[SpendRow], usual: Sequence[SpendRow], parts: Decimal, excess: Decimal
) -> Mover | None:
    """Return the value that explains most of the excess; a dimension with a single value explains nothing."""
    values = {row.group[dimension] for row in (*now, *usual)}
    if not excess or values == {""}:
        return None
    best: Mover | None = None
    for value in sorted(values):
        spent = add(row.cost for row in now if row.group[dimension] == value)
        before = EXACT.divide(add(row.cost for row in usual if row.group[dimension] == value), parts)
        share = _ratio(spent - before, excess).quantize(Decimal("0.001"))
        if share >= LEAST_SHARE and (best is None or share > best.share):
            best = Mover(
                dimension=dimension, value=value, spent=trimmed(spent),
                usual=before.quantize(GRAIN, context=EXACT), share=share,
            )  # fmt: skip
    return best


def _priced(rows: Iterable[SpendRow]) -> list[SpendRow]:
    """Leave out rows without any price, and the calls without one of the others."""
    return [
        structs.replace(row, requests=row.requests - row.unpriced_events) if row.unpriced_events else row
        for row in rows
        if not row.unpriced_events or row.cost or row.unpriced_events < row.events
    ]


def _weeks_before(at: datetime, weeks: int, place: tzinfo) -> datetime:
    """Go back on the local calendar: the same time of day, whatever the clocks did."""
    local = at.astimezone(place)
    return (local.replace(tzinfo=None) - timedelta(weeks=weeks)).replace(tzinfo=place)


def _ratio(part: Decimal, whole: Decimal) -> Decimal:
    return DIVIDE.divide(part, whole) if whole else Decimal(0)
