"""What was out of the usual: spikes and new levels, by day and by hour, each with its cause and its requests."""

import shlex
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import quote

from msgspec import Struct, structs

from penstock.analytics.anomalies_cause import Cause, cause
from penstock.analytics.anomalies_detect import DAYS, HOURS, THRESHOLD, Flag, Kind, Pace, detect
from penstock.analytics.question import GRAINS, trimmed
from penstock.analytics.series import Days, daily, dearest, midnight
from penstock.analytics.spend import Unpriced, add, check, dollars
from penstock.analytics.zones import zone
from penstock.errors import InputError

WATCHED = ("team", "key", "app")
"""Dimensions whose values are watched one by one beside the whole."""
PARTS = 20
"""The most expensive values of a dimension; a spike of others shows in the whole."""
PERIOD = timedelta(days=28)
LEARNT = 120
"""Days that are read in all."""
HOURS_BACK = timedelta(hours=48)
"""How far back hours are judged; what is older is judged by the day."""
HOURS_LEARNT = timedelta(days=28)
LEAST_FLOOR = Decimal(1)
FLOOR_SHARE = Decimal("0.1")
"""The floor, where none is given: that share of a usual day, and at least a dollar."""
GRAIN = Decimal("0.000001")
SCOPE_SHARE = Decimal("0.5")
"""A part whose excess is that much of an anomaly already listed for its period is that anomaly."""


class Anomaly(Struct, frozen=True, kw_only=True):
    """A period out of the usual. Observed dollars are exact, those expected are an estimate."""

    kind: Kind
    grain: Literal["day", "hour"]
    scope: dict[str, str]
    """Whose spend it is: empty for all of it."""
    since: datetime
    until: datetime
    observed: Decimal
    expected: Decimal
    low: Decimal
    """What would still have been usual, from `low` to `high`."""
    high: Decimal
    excess: Decimal
    """Observed less expected."""
    cause: Cause | None
    command: str
    """Shows what is behind it."""
    page: str
    """Address of its requests on the dashboard."""


class Anomalies(Struct, frozen=True, kw_only=True):
    """The answer, the newest first."""

    since: datetime
    as_of: datetime
    stale: bool
    detector: str
    threshold: float
    floor: Decimal
    anomalies: tuple[Anomaly, ...]
    judged_days: int
    judged_hours: int
    gaps: tuple[date, ...]
    too_little: str
    """Why nothing, or not everything, could be judged."""
    unpriced_events: int
    """Their dollars are unknown: a spike of theirs does not show."""
    unpriced: tuple[Unpriced, ...]


class _Watch(Struct, frozen=True):
    """What one series is judged with."""

    source: Any
    found: Days
    place: tzinfo
    time_zone: str
    where: tuple[tuple[str, str], ...]
    detector: str
    threshold: float
    floor: Decimal
    since: datetime
    last: datetime
    """When the newest event began."""


def anomalies(
    source: Any,
    now: datetime,
    *,
    by: Sequence[str] = WATCHED,
    since: datetime | None = None,
    time_zone: str = "UTC",
    where: Sequence[tuple[str, str]] = (),
    detector: str = "robust",
    threshold: float = THRESHOLD,
    floor: Decimal | None = None,
) -> Anomalies:
    """Find what was out of the usual since then (by default in 28 days), in the whole and in each value of `by`.

    Days that are over are judged by day, the latest 48 hours that are over by the hour as well. `floor` is the excess
    in dollars from which it is worth a word. Raises InputError where nothing is priced.
    """
    check(by)
    if grains := [name for name in by if name in GRAINS]:
        raise InputError(f"Days and hours are judged already: leave {', '.join(grains)} out of --by")
    if not 1 <= threshold <= 100:
        raise InputError(f"The threshold must be from 1 to 100 deviations, not {threshold}")
    detect(detector, [], DAYS, floor=0, threshold=threshold)
    place, where = zone(time_zone), tuple(where)
    whole = daily(source, now, time_zone=time_zone, where=where, most=LEARNT)
    first = since or whole.as_of - PERIOD
    floor = _floor(whole) if floor is None else floor
    watch = _Watch(source, whole, place, time_zone, where, detector, threshold, floor, first, whole.last)
    clock, hours = _hours(watch)
    found = _judged(watch, {}, whole.whole, hours[()], clock)
    for name in dict.fromkeys(by):
        parts = dearest(source, whole, name, PARTS, time_zone=time_zone, where=where)
        _, hours = _hours(watch, name, [value for (value,) in parts])
        for key, days in parts.items():
            inner = structs.replace(watch, where=(*where, (name, key[0])))
            found += [
                one for one in _judged(inner, {name: key[0]}, days, hours.get(key, ()), clock)
                if not any(_is_the_same(one, other) for other in found)
            ]  # fmt: skip
    told = sorted(found, key=lambda one: (one.since, one.excess), reverse=True)
    return Anomalies(
        since=first, as_of=whole.as_of, stale=whole.stale, detector=detector, threshold=threshold, floor=floor,
        anomalies=tuple(_explained(watch, one) for one in told),
        judged_days=sum(midnight(day, place) >= first for day in whole.days[DAYS.warm :]),
        judged_hours=_judged_hours(watch), gaps=whole.gaps, too_little=_too_little(whole),
        unpriced_events=whole.unpriced_events, unpriced=whole.unpriced,
    )  # fmt: skip


def _floor(whole: Days) -> Decimal:
    known = [value for value in whole.whole[-28:] if value is not None]
    usual = sorted(known)[len(known) // 2] if known else Decimal(0)
    return max(LEAST_FLOOR, usual * FLOOR_SHARE).quantize(Decimal("0.01"))


def _too_little(whole: Days) -> str:
    known = sum(value is not None for value in whole.whole)
    if known <= DAYS.warm:
        return f"{known} whole days of history: days and hours are judged from day {DAYS.warm + 1} on"
    return ""


def _judged_hours(watch: _Watch) -> int:
    begin = midnight(watch.found.days[0], watch.place) if watch.found.days else watch.found.as_of
    first = max(watch.found.as_of - HOURS_BACK, begin + timedelta(hours=HOURS.warm), watch.since)
    return max(0, (watch.found.as_of - first) // timedelta(hours=1))


def _hours(
    watch: _Watch, name: str = "", values: Sequence[str] = ()
) -> tuple[list[datetime], dict[tuple[str, ...], list[Decimal | None]]]:
    """Return the local hours that are over, and the dollars of each: 24 hours to every day of the calendar.

    With the name of a dimension, it is so for some of its values.
    Hours after the ledger's last event are not known yet: logs are imported late. The hour that the clocks skip is a
    gap, and so is the one that they go through twice.
    """
    clock: list[datetime] = []
    known = min(watch.found.as_of, watch.last + timedelta(hours=1)).astimezone(watch.place)
    end = known.replace(minute=0, second=0, microsecond=0, tzinfo=None)
    if watch.found.days:
        begin = max(datetime.combine(watch.found.days[0], time()), datetime.combine(end.date(), time()) - HOURS_LEARNT)
        clock = [begin + timedelta(hours=n) for n in range(max(0, (end - begin) // timedelta(hours=1)))]
    spent: dict[tuple[str, ...], dict[str, Decimal]] = {}
    by = [name] if name else []
    if clock and (values or not name):
        found = dollars(
            watch.source, by=["hour", *by], among=(name, values) if name else None,
            since=clock[0].replace(tzinfo=watch.place), until=end.replace(tzinfo=watch.place),
            time_zone=watch.time_zone, where=watch.where,
        )  # fmt: skip
        for (hour, *key), cost in found.items():
            spent.setdefault(tuple(key), {})[hour] = cost
    gaps = set(watch.found.gaps)
    there = [f"{at:%Y-%m-%dT%H:00}" if at.date() not in gaps and _is_plain(at, watch.place) else "" for at in clock]
    hours = {key: [of.get(hour, Decimal(0)) if hour else None for hour in there] for key, of in spent.items()}
    return [at.replace(tzinfo=watch.place) for at in clock], hours if hours or by else {(): []}


def _is_plain(wall: datetime, place: tzinfo) -> bool:
    """Whether a local hour exists, and once only."""
    first, second = (wall.replace(tzinfo=place, fold=fold).utcoffset() for fold in (0, 1))
    return first == second


def _judged(
    watch: _Watch,
    scope: dict[str, str],
    days: Sequence[Decimal | None],
    hours: Sequence[Decimal | None],
    clock: Sequence[datetime],
) -> list[Anomaly]:
    """Judge one series by day, and its latest hours by the hour; hours of a day that is listed are not listed again."""
    found = []
    of_days = _flags(watch, _floats(days), DAYS)
    for flag in of_days:
        first, last = watch.found.days[flag.start], watch.found.days[flag.end - 1]
        times = midnight(first, watch.place), midnight(last + timedelta(days=1), watch.place)
        found.append(_anomaly(watch, scope, flag, times, days))
    for flag in _flags(watch, _lifted(_floats(hours), clock, of_days, watch.found.days), HOURS):
        times = clock[flag.start].astimezone(UTC), clock[flag.end - 1].astimezone(UTC) + timedelta(hours=1)
        if times[1] > watch.found.as_of - HOURS_BACK and not any(one.since <= times[0] < one.until for one in found):
            found.append(structs.replace(_anomaly(watch, scope, flag, times, hours), grain="hour"))
    return [one for one in found if one.until > watch.since]


def _floats(values: Sequence[Decimal | None]) -> list[float | None]:
    return [None if value is None else float(value) for value in values]


def _lifted(
    hours: list[float | None], clock: Sequence[datetime], of_days: Sequence[Flag], days: Sequence[date]
) -> list[float | None]:
    """Bring hours before a new level of the days to it: they are judged by what is usual now."""
    for flag in of_days:
        if flag.kind != "spike" and flag.expected > 0 and flag.observed > 0:
            lift, first = flag.observed / flag.expected, days[flag.start]
            hours = [value * lift if value is not None and at.date() < first else value
                     for value, at in zip(hours, clock, strict=False)]  # fmt: skip
    return hours


def _flags(watch: _Watch, values: Sequence[float | None], pace: Pace) -> list[Flag]:
    return detect(watch.detector, values, pace, floor=float(watch.floor), threshold=watch.threshold)


def _anomaly(
    watch: _Watch,
    scope: dict[str, str],
    flag: Flag,
    times: tuple[datetime, datetime],
    values: Sequence[Decimal | None],
) -> Anomaly:
    since, until = times
    observed = add(value for value in values[flag.start : flag.end] if value is not None)
    expected = _money(flag.expected)
    command, page = _ways(since, until, watch.where)
    return Anomaly(
        kind=flag.kind, grain="day", scope=scope, since=since, until=until, observed=trimmed(observed),
        expected=expected, low=_money(flag.low), high=_money(flag.high), excess=trimmed(observed - expected),
        cause=None, command=command, page=page,
    )  # fmt: skip


def _explained(watch: _Watch, one: Anomaly) -> Anomaly:
    where = (*watch.where, *one.scope.items())
    return structs.replace(one, cause=cause(watch.source, one.since, one.until, place=watch.place, where=where))


def _is_the_same(one: Anomaly, other: Anomaly) -> bool:
    """Whether two scopes tell of the same event."""
    if one.kind.split()[-1] != other.kind.split()[-1] and (one.excess > 0) != (other.excess > 0):
        return False
    overlap = min(one.until, other.until) - max(one.since, other.since)
    return overlap > timedelta(0) and abs(one.excess) >= SCOPE_SHARE * abs(other.excess)


def _ways(since: datetime, until: datetime, where: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Return the command that sums up what is behind a period, and the page that lists it."""
    times = [f"{at.astimezone(UTC):%Y-%m-%dT%H:%MZ}" for at in (since, until)]
    only = "".join(f" --only {_quoted(f'{name}={value}')}" for name, value in where)
    named = [name for name, _value in where]
    by = ",".join(name for name in ("key", "model", "app", "feature") if name not in named)
    query = "".join(f"&{name}={_escaped(value)}" for name, value in where if name in PAGE_FIELDS)
    return (
        f"penstock report --by {by} --from {times[0]} --to {times[1]}{only}",
        f"/requests?from={times[0]}&to={times[1]}{query}",
    )


PAGE_FIELDS = ("provider", "model", "deployment", "team", "app", "feature", "user", "key", "outcome")


def _quoted(text: str) -> str:

    return shlex.quote(text)


def _escaped(text: str) -> str:

    return quote(text, safe="")


def _money(value: float) -> Decimal:
    return Decimal(repr(value)).quantize(GRAIN)
