"""Reports that are sent by themselves: what `penstock.toml` says of one, when it is due, and of which period."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from penstock.analytics import periods
from penstock.analytics.anomalies_detect import DAYS, THRESHOLD, detect
from penstock.errors import InputError

Every = Literal["day", "week", "month"]
SECTIONS = ("spend", "trend", "movers", "budgets", "forecast", "anomalies", "unpriced", "tokens")
"""What a report may hold, in the order in which it does."""
AT = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
WATCHED = "team,key,app"
LABELS = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
"""How a period is named; `--from` and `--to` of every report understand it."""


class ScheduledReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[reports]]` row: what is reported, how often, and to whom."""

    name: str
    every: Every
    """`day`: the day before; `week`: the week before, on Mondays; `month`: the month before, on the first."""
    to: tuple[str, ...]
    """Names of `[[alerts]]` channels; where there is no such row, `log`."""
    at: str = "08:00"
    """Time of day, in the report's time zone."""
    time_zone: str = "UTC"
    """In which days, weeks and months begin: `Europe/Berlin`."""
    only: dict[str, str] = {}
    """Dimensions and the values to keep: `{ team = "support" }`. Without it, everything."""
    by: str = "model"
    """Dimensions of the table of spend, and of what moved: `team,model`."""
    sections: tuple[str, ...] = SECTIONS
    """What it holds."""

    @property
    def where(self) -> tuple[tuple[str, str], ...]:
        """The pairs of dimension and value to keep."""
        return tuple(self.only.items())

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions of its table."""
        return tuple(dict.fromkeys(name.strip() for name in self.by.split(",") if name.strip()))

    def wrong(self, channels: Sequence[str]) -> tuple[str, str] | None:
        """Return the field that cannot be used and why, if one cannot."""
        if not AT.fullmatch(self.at):
            return "at", f"{self.at!r} is no time of day: write it like 08:00"
        if not self.to:
            return "to", "name at least one channel of [[alerts]]"
        for name in self.to:
            if name not in channels:
                return "to", f"there is no channel {name!r} in [[alerts]], only {', '.join(channels)}"
        if not self.sections:
            return "sections", f"name at least one of {', '.join(SECTIONS)}"
        for name in self.sections:
            if name not in SECTIONS:
                return "sections", f"there is no section {name!r}: use {', '.join(SECTIONS)}"
        if not self.names:
            return "by", "name at least one dimension, as in team,model"
        for field, names in (("by", self.names), ("only", tuple(self.only))):
            if said := _wrong_names(names):
                return field, said
        return _wrong_zone(self.time_zone)


class AnomalyWatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[anomalies]`: how often spend is looked through, and what is worth an alert."""

    every: Literal["hour", "day", "never"] = "hour"
    """How often `penstock serve` looks."""
    floor: Decimal | None = None
    """Dollars of excess from which somebody is told; by default a tenth of a usual day, at least 1."""
    by: str = WATCHED
    """Dimensions watched value by value beside the whole."""
    detector: str = "robust"
    """`robust`, or `3x`: over three times the mean."""
    threshold: float = THRESHOLD
    """Robust deviations that are out of the usual."""
    time_zone: str = "UTC"
    """In which days and hours begin."""
    to: tuple[str, ...] = ()
    """Names of `[[alerts]]` channels; without it, those whose `kinds` take `anomaly.*`."""

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions that are watched."""
        return tuple(dict.fromkeys(name.strip() for name in self.by.split(",") if name.strip()))

    def wrong(self, channels: Sequence[str]) -> tuple[str, str] | None:
        """Return the field that cannot be used and why, if one cannot."""
        if self.floor is not None and not (self.floor.is_finite() and self.floor >= 0):
            return "floor", f"it must be dollars, from 0 on, not {self.floor}"
        try:
            detect(self.detector, [], DAYS, floor=0, threshold=THRESHOLD)
        except InputError as error:
            return "detector", str(error)
        if not 1 <= self.threshold <= 100:
            return "threshold", f"it must be from 1 to 100 deviations, not {self.threshold}"
        for name in self.to:
            if name not in channels:
                return "to", f"there is no channel {name!r} in [[alerts]], only {', '.join(channels)}"
        if self.by != WATCHED and (said := _wrong_names(self.names)):
            return "by", said
        return _wrong_zone(self.time_zone)


class Edition(Struct, frozen=True, kw_only=True):
    """One period of a report."""

    label: str
    """`2026-11-25`, `2026-W47`, `2026-10`: with the report's name it says which editions are one and the same."""
    since: datetime
    until: datetime
    due: datetime
    """When it is sent."""


def newest(report: ScheduledReport, now: datetime) -> Edition:
    """Return the latest edition that is due by now."""
    place = _place(report.time_zone)
    first = _begin(now.astimezone(place).replace(tzinfo=None), report.every)
    edition = _edition(report, first, place)
    return edition if edition.due <= now else _edition(report, _before(first, report.every), place)


def following(report: ScheduledReport, now: datetime) -> Edition:
    """Return the next edition that is not due yet."""
    place = _place(report.time_zone)
    first = _begin(now.astimezone(place).replace(tzinfo=None), report.every)
    edition = _edition(report, first, place)
    return edition if edition.due > now else _edition(report, _after(first, report.every), place)


def edition_of(report: ScheduledReport, label: str, now: datetime) -> Edition:
    """Return the edition of the period that somebody names. Raises InputError where that is no such period."""
    place = _place(report.time_zone)
    first, last = (at.astimezone(place).replace(tzinfo=None) for at in periods.named(label, now, place))
    if first != _begin(first, report.every) or last != _after(first, report.every):
        raise InputError(f"{label!r} is not one {report.every}, which {report.name!r} is about")
    edition = _edition(report, last, place)
    if edition.until > now:
        raise InputError(f"{label!r} is not over yet")
    return edition


def _edition(report: ScheduledReport, end: datetime, place: tzinfo) -> Edition:
    """Return the edition of the period that ends with a local midnight."""
    begin = _before(end, report.every)
    hour, minute = map(int, report.at.split(":"))
    since, until, due = (
        at.replace(tzinfo=place).astimezone(UTC) for at in (begin, end, end + timedelta(hours=hour, minutes=minute))
    )
    return Edition(label=f"{begin:{LABELS[report.every]}}", since=since, until=until, due=due)


def _begin(local: datetime, every: Every) -> datetime:
    midnight = datetime.combine(local.date(), time())
    if every == "week":
        return midnight - timedelta(days=midnight.weekday())
    return midnight.replace(day=1) if every == "month" else midnight


def _before(begin: datetime, every: Every) -> datetime:
    return _begin(begin - timedelta(days=1), every)


def _after(begin: datetime, every: Every) -> datetime:
    return _begin(begin + timedelta(days={"day": 1, "week": 7, "month": 32}[every]), every)


def _wrong_names(names: Sequence[str]) -> str:
    from penstock.analytics.spend import check  # noqa: PLC0415  # the engine: only who has reports loads it

    try:
        check(names, grains=())
    except InputError as error:
        return str(error)
    return ""


def _wrong_zone(name: str) -> tuple[str, str] | None:
    try:
        _place(name)
    except InputError as error:
        return "time_zone", str(error)
    return None


def _place(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from penstock.analytics.zones import zone  # noqa: PLC0415  # as above

    return zone(name)
