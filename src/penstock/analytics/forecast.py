"""What will be spent: to the end of the month or for some days, with an interval and how well that did in the past."""

import math
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from statistics import NormalDist
from typing import Any

from msgspec import Struct

from penstock.analytics.forecast_backtest import Backtest, backtest
from penstock.analytics.forecast_methods import METHODS, Outlook, between, plain_rule
from penstock.analytics.question import GRAINS, trimmed
from penstock.analytics.series import Days, Key, daily, local_day, midnight
from penstock.analytics.spend import Unpriced, add, check, spend
from penstock.analytics.zones import zone
from penstock.errors import InputError

LEVEL = 0.8
MOST_DAYS = 366
MOST_STRAIN = 3.0
"""How many times wider an interval becomes at most when it was too narrow in the past."""
GRAIN = Decimal("0.000001")
OTHERS = "(others)"


class ForecastDay(Struct, frozen=True, kw_only=True):
    """One day of the period; sums run from its begin."""

    day: date
    spent: Decimal | None
    """Booked; None for a day to come or a gap."""
    expected: Decimal
    """Booked and still to come on that day."""
    sum: Decimal
    low: Decimal
    """Interval of the sum."""
    high: Decimal


class ForecastRow(Struct, frozen=True, kw_only=True):
    """One group. What its days to come add is scaled, so that the groups add up to the whole."""

    group: dict[str, str]
    spent: Decimal
    expected: Decimal
    low: Decimal
    high: Decimal
    method: str


class Limit(Struct, frozen=True, kw_only=True):
    """The forecast against an amount."""

    amount: Decimal
    expected_over: Decimal
    """Dollars above it; below zero there is room."""
    probability: float
    """That the period ends above it, from 0 to 1."""
    day: date | None
    """The day on which the sum is expected to pass it, if it does."""


class Forecast(Struct, frozen=True, kw_only=True):
    """The answer. Dollars booked are exact; those to come are estimates with a microdollar's grain."""

    since: datetime
    as_of: datetime
    """Until here the ledger speaks; from here on it is a forecast."""
    until: datetime
    stale: bool
    """Whether `as_of` is the end of an old ledger, and not now."""
    method: str
    """The method that answered."""
    asked: str
    reason: str
    """Why another method answered than was asked for."""
    spent: Decimal
    expected: Decimal
    low: Decimal
    high: Decimal
    level: float
    """What share of such intervals should hold the truth."""
    plain: Decimal
    """What the guide's rule says of the same period: spent so far, then the mean of all days."""
    days: tuple[ForecastDay, ...]
    rows: tuple[ForecastRow, ...]
    history: int
    """Whole days that were learnt from."""
    gaps: tuple[date, ...]
    backtest: Backtest | None
    limit: Limit | None
    unpriced_events: int
    """Of the days learnt from. Their dollars are unknown and missing from every sum."""
    unpriced: tuple[Unpriced, ...]


class _Ahead(Struct, frozen=True):
    """What is to come: dollars of each day from today on, and the spread of their running sums."""

    outlook: Outlook
    rest: list[float]


def forecast(
    source: Any,
    now: datetime,
    *,
    days: int | None = None,
    by: Sequence[str] = (),
    time_zone: str = "UTC",
    where: Sequence[tuple[str, str]] = (),
    method: str = "drift",
    level: float = LEVEL,
    amount: Decimal | None = None,
    most_rows: int = 10,
) -> Forecast:
    """Forecast this month's total, or that of the next `days` days from now, in local days of `time_zone`.

    `source` is a `Ledger.moment()` or a table of events, as for `spend`. Raises InputError where nothing is priced.
    """
    check(by)
    if grains := [name for name in by if name in GRAINS]:
        raise InputError(f"A forecast is by day already: leave {', '.join(grains)} out of --by")
    if method not in METHODS:
        raise InputError(f"There is no method {method!r}: use {', '.join(METHODS)}")
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise InputError(f"Days must be from 1 to {MOST_DAYS}, not {days}")
    if not 0.5 <= level <= 0.99:
        raise InputError(f"The level of the interval must be from 0.5 to 0.99, not {level}")
    place = zone(time_zone)
    found = daily(source, now, by=by, time_zone=time_zone, where=where)
    today = local_day(found.as_of, place)
    since_day, last_day = _period(today, days)
    ahead = (last_day - today).days + 1
    start = found.as_of if days else midnight(since_day, place)
    left = _left_of_today(source, found, place, time_zone, where)
    learnt, used = _learnt(found.whole)
    whole = _ahead(learnt, ahead, method, left)
    past = backtest(learnt, ahead, METHODS[method], level)
    if past is not None and past.windows > 1:
        whole = _strained(whole, min(MOST_STRAIN, max(1.0, past.strain)))
    booked = _booked(found, since_day, today) if days is None else {}
    so_far = add(booked.values())
    line = _line(whole, found, since_day, today, level, count_past=days is None)
    expected = line[-1].sum
    rows: tuple[ForecastRow, ...] = ()
    if by:
        rows = _rows(
            found, by, booked, to_come=sum(whole.rest), level=level, most=most_rows,
            alone=lambda values: _ahead(_learnt(values)[0], ahead, method, left),
        )  # fmt: skip
    plain = so_far + _money(sum(_ahead(learnt, ahead, "x30", left).rest))
    return Forecast(
        since=start, as_of=found.as_of, until=midnight(last_day + timedelta(days=1), place), stale=found.stale,
        method=whole.outlook.method, asked=method, reason=whole.outlook.reason,
        spent=trimmed(so_far), expected=trimmed(expected), low=line[-1].low, high=line[-1].high, level=level,
        plain=trimmed(plain), days=line,
        rows=rows,
        history=used, gaps=found.gaps, backtest=past,
        limit=_limit(amount, line, so_far, whole) if amount is not None else None,
        unpriced_events=found.unpriced_events, unpriced=found.unpriced,
    )  # fmt: skip


def _period(today: date, days: int | None) -> tuple[date, date]:
    if days is not None:
        # From now on: today's rest is a part of the first day, and the last day is whole.
        return today, today + timedelta(days=days - 1)
    first = today.replace(day=1)
    return first, (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def _learnt(values: Sequence[Decimal | None]) -> tuple[list[float | None], int]:
    """Turn money into floats; a first day that may have begun in the middle is left out once there are others."""
    kept = list(values[1:] if len(values) > 14 else values)
    return [None if value is None else float(value) for value in kept], sum(value is not None for value in kept)


def _left_of_today(source: Any, found: Days, place: tzinfo, time_zone: str, where: Sequence[tuple[str, str]]) -> float:
    """Return the share of a usual day's spend that falls after this time of day, by the last four weeks' hours."""
    clock = found.as_of.astimezone(place)
    if (clock.hour, clock.minute, clock.second) == (0, 0, 0):
        return 1.0
    today = local_day(found.as_of, place)
    hours = spend(
        source, by=["hour"], since=midnight(today - timedelta(days=28), place), until=midnight(today, place),
        time_zone=time_zone, where=where,
    )  # fmt: skip
    usual = [0.0] * 24
    for row in hours.rows:
        usual[int(row.group["hour"][11:13])] += max(0.0, float(row.cost))
    passed = clock.minute / 60 + clock.second / 3600
    if not sum(usual):
        return 1 - (clock.hour + passed) / 24
    return (usual[clock.hour] * (1 - passed) + sum(usual[clock.hour + 1 :])) / sum(usual)


def _ahead(values: Sequence[float | None], ahead: int, method: str, left: float) -> _Ahead:
    known = any(value is not None for value in values)
    outlook = METHODS[method](values, ahead) if known else plain_rule(values, ahead, "there is no whole day yet")
    return _Ahead(outlook, [value * (left if n == 0 else 1.0) for n, value in enumerate(outlook.days)])


def _strained(whole: _Ahead, factor: float) -> _Ahead:
    outlook = whole.outlook
    return _Ahead(
        Outlook(
            method=outlook.method, days=outlook.days, reason=outlook.reason,
            spreads=tuple(spread * factor for spread in outlook.spreads),
        ),
        whole.rest,
    )  # fmt: skip


def _booked(found: Days, since: date, today: date) -> dict[Key, Decimal]:
    """Return what each part has spent in the period so far."""
    booked = {}
    for key, values in found.parts.items():
        past = add(
            value for day, value in zip(found.days, values, strict=True) if value is not None and since <= day < today
        )
        booked[key] = past + found.today.get(key, Decimal(0))
    return booked


def _line(
    whole: _Ahead, found: Days, since: date, today: date, level: float, *, count_past: bool
) -> tuple[ForecastDay, ...]:
    """Return each day of the period with running sums."""
    line: list[ForecastDay] = []
    total = Decimal(0)
    for day, value in zip(found.days, found.whole, strict=True):
        if count_past and since <= day < today:
            total += value or Decimal(0)
            line.append(
                ForecastDay(day=day, spent=value, expected=value or Decimal(0), sum=total, low=total, high=total)
            )
    now = add(found.today.values()) if count_past else Decimal(0)
    fixed = total + now
    to_come = 0.0
    for n, rest in enumerate(whole.rest):
        to_come += rest
        low, high = between(to_come, whole.outlook.spreads[n], level)
        line.append(ForecastDay(
            day=today + timedelta(days=n), spent=now if n == 0 and count_past else None,
            expected=_money(rest) + (now if n == 0 else 0), sum=fixed + _money(to_come), low=fixed + _money(low),
            high=fixed + _money(high),
        ))  # fmt: skip
    return tuple(line)


def _rows(
    found: Days,
    by: Sequence[str],
    booked: dict[Key, Decimal],
    *,
    to_come: float,
    alone: Callable[[Sequence[Decimal | None]], _Ahead],
    level: float,
    most: int,
) -> tuple[ForecastRow, ...]:
    """Forecast each group by itself, and scale what is to come so that the groups add up to the whole."""
    names = tuple(name for name in dict.fromkeys(by))
    recent = {key: add(value or Decimal(0) for value in values[-28:]) + booked.get(key, Decimal(0))
              for key, values in found.parts.items()}  # fmt: skip
    order = sorted(recent, key=lambda key: (-recent[key], key))
    shown, others = order[:most], order[most:]
    lines = {key: found.parts[key] for key in shown}
    if others:
        lines[OTHERS,] = tuple(
            None if day in found.gaps else add(found.parts[key][n] or Decimal(0) for key in others)
            for n, day in enumerate(found.days)
        )
    aheads = {key: alone(line) for key, line in lines.items()}
    sums = {key: max(0.0, sum(one.rest)) for key, one in aheads.items()}
    scale = to_come / sum(sums.values()) if sum(sums.values()) > 0 else 0.0
    missing = _money(to_come)
    rows = []
    for number, (key, one) in enumerate(aheads.items()):
        rest = missing if number == len(aheads) - 1 else _money(sums[key] * scale)
        missing -= rest
        spent = add(booked.get(part, Decimal(0)) for part in ([key] if key in found.parts else others))
        low, high = between(float(rest), one.outlook.spread, level)
        group = dict(zip(names, key, strict=True)) if key in found.parts else dict.fromkeys(names, OTHERS)
        rows.append(ForecastRow(
            group=group, spent=trimmed(spent), expected=trimmed(spent + rest), low=trimmed(spent + _money(low)),
            high=trimmed(spent + _money(high)), method=one.outlook.method,
        ))  # fmt: skip
    return tuple(sorted(rows, key=lambda row: (OTHERS in row.group.values(), -row.expected)))


def _limit(amount: Decimal, line: Sequence[ForecastDay], so_far: Decimal, whole: _Ahead) -> Limit:
    room, to_come, spread = float(amount - so_far), sum(whole.rest), whole.outlook.spread
    if room <= 0:
        probability = 1.0
    elif to_come <= 0 or spread <= 0:
        probability = float(to_come > room)
    else:
        probability = 1 - NormalDist().cdf(math.log(room / to_come) / spread)
    passed = next((day.day for day in line if day.sum > amount), None)
    return Limit(
        amount=amount, expected_over=trimmed(line[-1].sum - amount), probability=round(probability, 4), day=passed
    )


def _money(value: float) -> Decimal:
    """Return dollars of a float."""
    return Decimal(repr(value)).quantize(GRAIN, rounding=ROUND_HALF_EVEN)
