"""`--from` and `--to`: dates, ISO times, and the words people use."""

import re
from datetime import UTC, datetime, time, timedelta, tzinfo

from penstock.errors import InputError

WORDS = (
    "a date (2026-03-14), a month (2026-03), a time (2026-03-14T10:00Z), 36h, 7d, 4w, "
    "now, today, yesterday, week, month or year"
)
SPANS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def since(text: str, now: datetime, place: tzinfo = UTC) -> datetime:
    """Return the first instant of what `text` names: of that day, week, month; or that long before `now`."""
    return _instants(text, now, place)[0]


def until(text: str, now: datetime, place: tzinfo = UTC) -> datetime:
    """Return the first instant after what `text` names: `--to 2026-03-31` holds the 31st of March."""
    return _instants(text, now, place)[1]


def between(begin: str, end: str, now: datetime, place: tzinfo = UTC) -> tuple[datetime | None, datetime | None]:
    """Return the first instant and the first one after, None where nothing was said; none between is an InputError."""
    first = since(begin, now, place) if begin else None
    last = until(end, now, place) if end else None
    if first and last and first >= last:
        raise InputError(f"There is no time between {begin} and {end}: the begin must come before the end")
    return first, last


def _instants(text: str, now: datetime, place: tzinfo) -> tuple[datetime, datetime]:
    try:
        return _bounds(text, now, place)
    except OverflowError:
        raise InputError(f"{text!r} is beyond the calendar, which has the years 1 to 9999") from None


def _bounds(text: str, now: datetime, place: tzinfo) -> tuple[datetime, datetime]:
    word = text.strip().lower()
    today = datetime.combine(now.astimezone(place).date(), time(), place)
    first: datetime
    if word == "now":
        return now, now
    if found := re.fullmatch(r"(\d{1,5})([hdw])", word):
        first = now - int(found[1]) * SPANS[found[2]]
        return first, first
    match word:
        case "today":
            return today, _days(today, 1)
        case "yesterday":
            return _days(today, -1), today
        case "week":
            monday = _days(today, -today.weekday())
            return monday, _days(monday, 7)
        case "month":
            return _month(today.replace(day=1))
        case "year":
            first = today.replace(month=1, day=1)
            return first, first.replace(year=first.year + 1)
    try:
        if re.fullmatch(r"\d{4}-\d{2}", word):
            return _month(datetime.fromisoformat(f"{word}-01").replace(tzinfo=place))
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"{text!r} is not a time: write {WORDS}") from None
    at = at.replace(tzinfo=place) if at.tzinfo is None else at
    if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}|\d{4}-?w\d{2}(-?\d)?", word):
        return at, _days(at, 1 if "w" not in word or re.search(r"w\d{2}-?\d$", word) else 7)
    return at, at


def _days(at: datetime, n: int) -> datetime:
    """Go by the calendar: a local day may have 23 or 25 hours."""
    return datetime.combine(at.date() + timedelta(days=n), time(), at.tzinfo)


def _month(first: datetime) -> tuple[datetime, datetime]:
    return first, (first.replace(day=28) + timedelta(days=4)).replace(day=1)


def named(text: str, now: datetime, place: tzinfo = UTC) -> tuple[datetime, datetime]:
    """Return the bounds of a whole period: `2026-02`, `2026-W08`, `yesterday`, or two ends as in `2026-02-01..14d`."""
    first, dots, last = text.partition("..")
    return since(first, now, place), until(last if dots else first, now, place)


def previous(first: datetime, last: datetime, place: tzinfo = UTC) -> tuple[datetime, datetime]:
    """Return the period right before [first, last): as many months before whole months, otherwise as long a time."""
    begin, end = (at.astimezone(place).replace(tzinfo=None) for at in (first, last))
    if all(at.day == 1 and at.time() == time() for at in (begin, end)) and begin < end:
        months = (end.year - begin.year) * 12 + end.month - begin.month
        year, month = divmod(begin.year * 12 + begin.month - 1 - months, 12)
        earlier = begin.replace(year=year, month=month + 1)
    else:
        earlier = begin - (end - begin)
    return earlier.replace(tzinfo=place), first


def late_begin(span: tuple[datetime, datetime] | None, period: tuple[datetime, datetime]) -> datetime | None:
    """Return when a ledger of this span begins, where that is after the period has: it holds not all of the period.

    A first hour without events is no gap, nor is a first day where the period has two or more: who imports November
    has nothing of its first minutes.
    """
    quiet = timedelta(days=1) if period[1] - period[0] >= timedelta(days=2) else timedelta(hours=1)
    return span[0] if span is not None and span[0] >= period[0] + quiet else None
