"""When a budget begins anew: hours, days, weeks and calendar months in a time zone, rolling windows, never."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from penstock.errors import InputError

CALENDAR = ("hour", "day", "week", "month")
TOTAL = "total"
ROLLING = re.compile(r"([1-9]\d{0,4})([mhd])")
SECONDS = {"m": 60, "h": 3600, "d": 86400}
PIECES = 48
"""A rolling window is counted in so many pieces; the oldest one counts whole, so that nothing is forgotten early."""
KEPT_FOR = 7 * 86400
"""Seconds that a counter stays after its window, for those who look back."""
FIRST = datetime(1970, 1, 1, tzinfo=UTC)


class Window(Struct, frozen=True):
    """A span of time with counters of its own. `end` is None where it never ends."""

    label: str
    start: datetime
    end: datetime | None
    piece: int = 0
    """Seconds of a piece of a rolling window; 0: counted as one."""

    @property
    def pieces(self) -> tuple[int, ...]:
        """Numbers of the pieces of a rolling window, the newest last."""
        newest = int(self.label)
        return tuple(range(newest - PIECES, newest + 1))

    @property
    def forgotten(self) -> int:
        """Unix time from which nobody asks for its counters; 0: never."""
        if self.end is None:
            return 0
        return int(self.end.timestamp()) + KEPT_FOR + self.piece * PIECES


def check_period(per: str) -> None:
    """Raise InputError where `per` is no period."""
    if per not in (*CALENDAR, TOTAL) and not ROLLING.fullmatch(per):
        raise InputError(f"{per!r} is no period: use hour, day, week, month, total, or a rolling 90m, 24h, 30d")


def check_zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name, or raise InputError."""
    if name.upper() in ("", "UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f"there is no time zone {name!r}: write it like Europe/Berlin") from None


_zone = lru_cache(64)(check_zone)


def window_at(per: str, time_zone: str, at: datetime) -> Window:
    """Return the window of `per` that holds `at`; of a rolling one, the piece of which `at` is part names it."""
    if per == TOTAL:
        return Window("all", FIRST, None)
    if rolling := ROLLING.fullmatch(per):
        piece = max(1, int(rolling[1]) * SECONDS[rolling[2]] // PIECES)
        number = int(at.timestamp()) // piece
        begin = FIRST + timedelta(seconds=(number - PIECES) * piece)
        return Window(str(number), begin, FIRST + timedelta(seconds=(number + 1) * piece), piece)
    local = at.astimezone(_zone(time_zone))
    if per == "hour":
        start = local.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
        return Window(f"{start:%Y-%m-%dT%H:%M}Z", start, start + timedelta(hours=1))
    first = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    if per == "day":
        after, label = first + timedelta(days=1), f"{first:%Y-%m-%d}"
    elif per == "week":
        first -= timedelta(days=first.weekday())
        after, label = first + timedelta(days=7), f"{first:%G-W%V}"
    else:
        first = first.replace(day=1)
        after, label = (first + timedelta(days=32)).replace(day=1), f"{first:%Y-%m}"
    place = _zone(time_zone)
    start, end = (moment.replace(tzinfo=place).astimezone(UTC) for moment in (first, after))
    return Window(label, start, end)


def elapsed(window: Window, at: datetime) -> float | None:
    """Return which part of a calendar window has gone by, 0 to 1; None where that means nothing."""
    if window.end is None or window.piece:
        return None
    return min(1.0, max(0.0, (at - window.start) / (window.end - window.start)))
