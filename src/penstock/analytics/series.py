"""What was spent day by day and hour by hour in local time, with gaps told apart from days without spend."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from msgspec import Struct

from penstock.analytics.spend import Spend, Unpriced, add, dollars, spend
from penstock.analytics.zones import zone
from penstock.errors import InputError

STALE = timedelta(days=3)
"""A ledger whose last event is older is taken as it stood then: it holds imports of the past."""
Key = tuple[str, ...]
WEEKS = 28
"""Days in four weeks."""


class Days(Struct, frozen=True, kw_only=True):
    """Consecutive local days that are over, and today so far. `None` is a gap: nothing was recorded."""

    as_of: datetime
    """The instant until which the ledger speaks."""
    stale: bool
    """Whether that is the end of an old ledger, not now."""
    last: datetime
    """When the newest event began."""
    days: tuple[date, ...]
    whole: tuple[Decimal | None, ...]
    parts: dict[Key, tuple[Decimal | None, ...]]
    """Values of the dimensions -> dollars of each day; a day without events of a part is 0 if others had some."""
    today: dict[Key, Decimal]
    """Dollars since midnight, by part."""
    gaps: tuple[date, ...]
    unpriced_events: int
    unpriced: tuple[Unpriced, ...]


def local_day(at: datetime, place: tzinfo) -> date:
    """Return the day of an instant on the local calendar."""
    return at.astimezone(place).date()


def midnight(day: date, place: tzinfo) -> datetime:
    """Return the first instant of a local day."""
    return datetime.combine(day, time(), place).astimezone(UTC)


def as_of(source: Any, now: datetime, place: tzinfo, where: Sequence[tuple[str, str]]) -> tuple[datetime, Spend]:
    """Return the instant until which the ledger speaks, and all that it holds until `now`.

    Raises InputError where there is nothing to go by: no event, or none with a price.
    """
    whole = spend(source, until=now, where=where, brief=True)
    if whole.last is None:
        what = " of " + ", ".join(f"{name}={value}" for name, value in where) if where else ""
        raise InputError(
            f"The ledger holds no events{what} before {now.astimezone(place):%Y-%m-%d %H:%M}. "
            "Serve calls with: penstock serve, or book files with: penstock import FILE..."
        )
    if whole.unpriced_events >= whole.events:
        lacking = spend(source, until=now, where=where).unpriced
        models = ", ".join(sorted({row.model for row in lacking})[:3])
        raise InputError(
            f"None of the {whole.events:,} events has a price ({models}), and an unknown price is not 0. "
            f"Add it with: penstock prices set {lacking[0].model}, then: penstock ledger reprice"
        )
    if now - whole.last > STALE:
        return midnight(local_day(whole.last, place) + timedelta(days=1), place), whole
    return now, whole


def daily(
    source: Any, now: datetime, *, by: Sequence[str] = (), time_zone: str = "UTC",
    where: Sequence[tuple[str, str]] = (), most: int = 180,
) -> Days:  # fmt: skip
    """Read the newest `most` local days that are over, and today so far."""
    place = zone(time_zone)
    at, whole = as_of(source, now, place, where)
    assert whole.first is not None
    assert whole.last is not None
    today = local_day(at, place)
    first = max(local_day(whole.first, place), today - timedelta(days=most))
    names = ("day", *(name for name in dict.fromkeys(by) if name != "day"))
    found = spend(
        source, by=names, since=midnight(first, place), until=at, time_zone=time_zone, where=where
    )  # fmt: skip
    days = tuple(first + timedelta(days=n) for n in range((today - first).days))
    seen = {date.fromisoformat(row.group["day"]) for row in found.rows}
    gaps = _gaps(days, seen)
    sums: dict[Key, dict[date, list[Decimal]]] = {}
    for row in found.rows:
        key = tuple(row.group[name] for name in names[1:])
        sums.setdefault(key, {}).setdefault(date.fromisoformat(row.group["day"]), []).append(row.cost)
    parts = {key: _line(of, days, gaps) for key, of in sums.items()}
    so_far = {key: add(of[today]) for key, of in sums.items() if today in of}
    totals = tuple(
        None if day in gaps else add(part[n] or Decimal(0) for part in parts.values()) for n, day in enumerate(days)
    )
    return Days(
        as_of=at, stale=at != now, last=whole.last, days=days, whole=totals, parts=parts,
        today=so_far, gaps=tuple(sorted(gaps)),
        unpriced_events=found.unpriced_events, unpriced=found.unpriced,
    )  # fmt: skip


def dearest(
    source: Any, whole: Days, name: str, most: int, *, time_zone: str = "UTC", where: Sequence[tuple[str, str]] = ()
) -> dict[Key, tuple[Decimal | None, ...]]:
    """Return the values of a dimension that spent most in the last four weeks, each with the dollars of its days.

    `whole` is what `daily` says of the same time; nothing: there are no two values, or no day is over.
    """
    if not whole.days:
        return {}
    place = zone(time_zone)
    first, recent, today = (
        midnight(day, place) for day in (whole.days[0], whole.days[-WEEKS:][0], whole.days[-1] + timedelta(days=1))
    )
    ever = dollars(source, by=[name], since=first, until=whole.as_of, where=where)
    if len(ever) < 2:
        return {}
    spent = dollars(source, by=[name], since=recent, until=today, where=where)
    dear = [key[0] for key in sorted(ever, key=lambda key: (-spent.get(key, Decimal(0)), key))[:most]]
    sums: dict[str, dict[date, list[Decimal]]] = {value: {} for value in dear}
    for (day, value), cost in dollars(
        source, by=["day", name], since=first, until=whole.as_of, time_zone=time_zone, where=where, among=(name, dear)
    ).items():
        sums[value][date.fromisoformat(day)] = [cost]
    return {(value,): _line(of, whole.days, frozenset(whole.gaps)) for value, of in sums.items()}


def _line(
    of: Mapping[date, Sequence[Decimal]], days: Sequence[date], gaps: frozenset[date]
) -> tuple[Decimal | None, ...]:
    return tuple(None if day in gaps else add(of.get(day, ())) for day in days)


def _gaps(days: Sequence[date], seen: set[date]) -> frozenset[date]:
    """Find days without any event; a weekday that is without as often as not just rests."""
    rests = set()
    for weekday in range(7):
        of_weekday = [day for day in days if day.weekday() == weekday]
        if sum(day in seen for day in of_weekday) * 2 <= len(of_weekday):
            rests.add(weekday)
    inside = [day for day in days if not seen or day > min(seen)]
    return frozenset(day for day in inside if day not in seen and day.weekday() not in rests)
