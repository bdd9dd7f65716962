"""What a page is asked: a period and the values to keep, as they stand in its address."""

from datetime import UTC, date, datetime, time, timedelta

from msgspec import Struct

from penstock.analytics import periods
from penstock.dashboard.house import checked
from penstock.dashboard.words import day, link
from penstock.errors import InputError

DIMENSIONS = (
    "team", "app", "model", "provider", "feature", "user", "key", "deployment", "deployment_type", "region", "mode",
    "run",
)  # fmt: skip
"""What every page can be narrowed to, besides `tag:NAME`."""
FORM = ("team", "app", "model", "provider")
"""Those with a field of their own; the others stand under "More"."""
FURTHER = tuple(name for name in DIMENSIONS if name not in FORM)
PERIODS = {
    "today": "Today",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
    "month": "This month",
    "last-month": "Last month",
}
DEFAULT = "30d"
SHARED = ("period", "from", "to", *DIMENSIONS)
"""Fields that stay when one moves on to another page."""
NONE = "(none)"
"""Stands in an address for what is not filled in: spend without a team."""
MOST_DAYS = 400


class Chip(Struct, frozen=True):
    """One filter in force, and the address without it."""

    name: str
    value: str
    without: str


class Asked(Struct, frozen=True, kw_only=True):
    """A question, checked. Days are UTC's."""

    path: str
    fields: dict[str, str]
    """All of the address, also what only this page knows."""
    now: datetime
    since: datetime
    until: datetime
    """First instant after the period; may lie ahead of `now`."""
    period: str
    """One of `PERIODS`; empty: dates of one's own."""
    label: str
    """The period in words."""
    where: tuple[tuple[str, str], ...]
    """Dimensions and the values to keep; empty text: not filled in."""

    @property
    def days(self) -> tuple[date, ...]:
        """The days of the period, without those to come."""
        first, last = self.since.astimezone(UTC).date(), min(self.until - timedelta(microseconds=1), self.now)
        return tuple(first + timedelta(days=n) for n in range((last.astimezone(UTC).date() - first).days + 1))

    @property
    def dates(self) -> str:
        """The period's first and last day, or where it does not go by days its bounds."""
        first, last = self.since.astimezone(UTC), self.until.astimezone(UTC)
        if first.time() != time() or last.time() != time():
            return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"
        end = last - timedelta(days=1)
        return f"{first:%Y-%m-%d}" + (f" to {end:%Y-%m-%d}" if end > first else "")

    @property
    def before(self) -> tuple[datetime, datetime]:
        """The period to compare with: the same days of the month before, or as long a time right before.

        Of a day that is not over, the other one counts up to the same time.
        """
        first = self.since.astimezone(UTC)
        end = min(self.until, midnight(self.now.astimezone(UTC).date() + timedelta(days=1)))
        is_to_date = first.day == 1 and first.time() == time() and end.date() < _next_month(first).date()
        if is_to_date:
            begin = (first - timedelta(days=1)).replace(day=1)
            whole = min(begin + (end - first), first)
        else:
            begin, whole = periods.previous(self.since, end)
        return begin, min(begin + (self.now - first), whole) if self.is_running else whole

    @property
    def is_running(self) -> bool:
        """Whether the period's last day is not over: then as much of the one before is compared with."""
        return self.since < self.now < self.until

    @property
    def kept(self) -> dict[str, str]:
        """The fields that go along to other pages."""
        return kept(self.fields)

    @property
    def chips(self) -> tuple[Chip, ...]:
        """The values kept, each with the address that no longer asks for it."""
        return tuple(Chip(name, value or NONE, self.link(**{name: ""})) for name, value in self.where)

    def link(self, **changes: str) -> str:
        """Return this page's address with some fields changed; the page of a list begins anew."""
        return link(self.path, self.fields, **{"page": ""} | changes)

    def to(self, path: str, **changes: str) -> str:
        """Return another page's address with the same filters, and some more."""
        return link(path, self.kept, **changes)

    def narrowed(self, path: str, group: dict[str, str], **changes: str) -> str:
        """Return the address of a page with the same filters and a row's dimensions."""
        return self.to(path, **{name: value or NONE for name, value in group.items()}, **changes)

    def of_day(self, path: str, at: date) -> str:
        """Return the address of a page with the same filters, and a day of the period."""
        return self.to(path, **{"period": "", "from": at.isoformat(), "to": at.isoformat()})

    def own(self, name: str, choices: tuple[str, ...]) -> str:
        """Return a field of this page that takes one of some values; the first is the default."""
        value = self.fields.get(name, choices[0])
        if value not in choices:
            raise InputError(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
        return value


def asked(path: str, fields: dict[str, str], now: datetime, own: tuple[str, ...] = ()) -> Asked:
    """Read an address; `own` are fields that only this page knows. Dates go before the name of a period."""
    tags = tuple(name for name in fields if name.startswith("tag:") and len(name) > len("tag:"))
    fields = checked(fields, (*SHARED, *own, *tags))
    if "from" in fields or "to" in fields:
        fields.pop("period", None)
    period = "" if "from" in fields or "to" in fields else fields.get("period", DEFAULT)
    since, until = _named(period, now) if period else _dated(fields, now)
    if until <= since:
        raise InputError("The period ends before it begins: from must be before to.")
    if until - since > timedelta(days=MOST_DAYS):
        raise InputError(f"The period is longer than {MOST_DAYS} days: choose a shorter one.")
    where = tuple(
        (name, "" if fields[name] == NONE else fields[name]) for name in (*DIMENSIONS, *tags) if name in fields
    )
    return Asked(
        path=path, fields=fields, now=now, since=since, until=until, period=period,
        label=_label(period, since, until), where=where,
    )  # fmt: skip


def kept(fields: dict[str, str]) -> dict[str, str]:
    """Return the fields that every page knows."""
    return {name: value for name, value in fields.items() if name in SHARED or name.startswith("tag:")}


def midnight(at: date) -> datetime:
    """Return the first instant of a day."""
    return datetime.combine(at, time(), UTC)


def _named(period: str, now: datetime) -> tuple[datetime, datetime]:
    today = now.astimezone(UTC).date()
    tomorrow = midnight(today + timedelta(days=1))
    match period:
        case "today":
            return midnight(today), tomorrow
        case "7d" | "30d" | "90d":
            return tomorrow - timedelta(days=int(period[:-1])), tomorrow
        case "month":
            return midnight(today.replace(day=1)), tomorrow
        case "last-month":
            first = today.replace(day=1)
            return midnight((first - timedelta(days=1)).replace(day=1)), midnight(first)
    raise InputError(f"period must be one of {', '.join(PERIODS)}, not {period!r}; or give from and to.")


def _dated(fields: dict[str, str], now: datetime) -> tuple[datetime, datetime]:
    until = periods.until(fields["to"], now) if "to" in fields else None
    if "from" in fields:
        since = periods.since(fields["from"], now)
        return since, until or max(_named("today", now)[1], since + timedelta(days=1))
    assert until is not None
    return until - timedelta(days=30), until


def _label(period: str, since: datetime, until: datetime) -> str:
    first, last = since.astimezone(UTC), until.astimezone(UTC)
    match period:
        case "today":
            return "today"
        case "7d" | "30d" | "90d":
            return f"last {period[:-1]} days"
        case "month":
            return f"{first:%B} to date"
        case "last-month":
            return f"{first:%B %Y}"
    if first.time() == time() and last.time() == time():
        end = last - timedelta(days=1)
        same = first.date() == end.date()
        return f"{day(end)} {end.year}" if same else f"{day(first)} {first.year} to {day(end)} {end.year}"
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"


def _next_month(first: datetime) -> datetime:
    return (first.replace(day=28) + timedelta(days=4)).replace(day=1)
