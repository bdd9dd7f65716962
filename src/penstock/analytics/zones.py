"""Local time without a database's time zones: the offsets of a zone over a span."""

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from penstock.errors import InputError
from penstock.ledger.engine import between


def zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name."""
    if name.upper() in ("", "UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f"There is no time zone {name!r}: write it like Europe/Berlin") from None


def transitions(place: tzinfo, first: datetime, last: datetime) -> list[tuple[datetime, timedelta]]:
    """Return (instant in UTC, offset from then on) for `first` and for each change of the clocks up to `last`."""
    offset = _offset(place, first)
    found = [(first, offset)]
    at = first
    while at <= last:
        later = at + timedelta(days=1)
        if _offset(place, later) != offset:
            low, high = at, later
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) / 2
                low, high = (middle, high) if _offset(place, middle) == offset else (low, middle)
            offset = _offset(place, high)
            found.append((high.replace(microsecond=0), offset))
        at = later
    return found


def _offset(place: tzinfo, at: datetime) -> timedelta:
    return at.astimezone(place).utcoffset() or timedelta(0)


def local_sql(place: tzinfo, first: datetime, last: datetime) -> str:
    """Return `at` in local wall-clock time as SQL, exact for instants from `first` to `last`."""
    (_, before), *changes = transitions(place, first.replace(microsecond=0), last)
    seconds = str(int(before.total_seconds()))
    if changes:
        newest_first = [
            f"WHEN {between(instant, None)} THEN {int(size.total_seconds())}" for instant, size in reversed(changes)
        ]
        seconds = f"CASE {' '.join(newest_first)} ELSE {seconds} END"
    return f'"at" + to_seconds({seconds})'
