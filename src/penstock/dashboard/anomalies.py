"""Spend that was out of the usual: when, whose, what moved, and what people made of it."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from penstock.analytics.anomalies import Anomalies, Anomaly, anomalies
from penstock.analytics.anomalies_cause import Mover
from penstock.analytics.spend import add
from penstock.dashboard.asked import Asked
from penstock.dashboard.charts import Point, lines
from penstock.dashboard.figure import Card, Column, Figure, Row
from penstock.dashboard.figures_of import spent
from penstock.dashboard.followups import from_form
from penstock.dashboard.house import House
from penstock.dashboard.outlook import anomaly_id
from penstock.dashboard.page import Page, Shown
from penstock.dashboard.words import day, exact, money
from penstock.errors import InputError
from penstock.ledger.followups import STATUSES, Followup, Followups, unfollowed

KEPT = 600.0
"""Seconds: days and hours that are over are judged, and to find the causes takes many questions."""
UNKNOWN = "–"
SAID = {
    "volume": "volume: the number of requests",
    "mix": "mix: other models",
    "tokens_per_request": "length: tokens a request",
    "token_kinds": "kinds: other kinds of tokens",
    "price": "price: dollars a token",
}
"""The effects of a change, in words; the first word is the effect's name."""


class Told(Struct, frozen=True, kw_only=True):
    """An anomaly as the page tells it."""

    one: Anomaly
    id: str
    whose: str
    when: str
    requests: str
    """Address of its requests."""
    history: tuple[Followup, ...]
    """The newest first."""

    @property
    def now(self) -> Followup:
        """What holds."""
        return self.history[0] if self.history else unfollowed("anomaly", self.id)

    @property
    def main(self) -> str:
        """What moved most: volume, mix, length, kinds or price."""
        said = max(self.effects, key=lambda one: abs(one[1]), default=None)
        return said[0].partition(":")[0] if said else ""

    @property
    def effects(self) -> list[tuple[str, Decimal]]:
        """The parts of the change, in words."""
        effects = self.one.cause.effects if self.one.cause else None
        return [(said, getattr(effects, name)) for name, said in SAID.items()] if effects else []

    @property
    def movers(self) -> tuple[Mover, ...]:
        """Which key, model, app or feature moved."""
        return self.one.cause.movers if self.one.cause else ()


def judged(house: House, asked: Asked) -> Anomalies | str | None:
    """Find the anomalies of the page's period; a sentence where nothing can be judged; None: it is not done yet."""
    as_of = min(asked.until, asked.now)

    def ask() -> Anomalies | str:
        try:
            return anomalies(house.source(), as_of, since=asked.since, where=asked.where)
        except InputError as error:
            return str(error)

    hour = f"{as_of:%Y-%m-%dT%H}"
    return house.later(("anomalies", hour, asked.since, asked.where), ask, KEPT)


def told(house: House, asked: Asked, found: Anomalies) -> list[Told]:
    """Put what people made of them beside the anomalies."""
    known = Followups(house.ledger.state).by_subject("anomaly")
    rows = []
    for one in found.anomalies:
        name = anomaly_id(one, dict(asked.where))
        times = {"period": "", "from": f"{one.since:%Y-%m-%dT%H:%MZ}", "to": f"{one.until:%Y-%m-%dT%H:%MZ}"}
        rows.append(
            Told(
                one=one,
                id=name,
                whose=", ".join(f"{name} {value or '(none)'}" for name, value in one.scope.items()) or "all spend",
                when=when_of(one.since, one.until, one.grain),
                requests=asked.narrowed("/requests", one.scope, **times),
                history=tuple(reversed(known.get(name, ()))),
            )
        )
    return rows


def gather(house: House, asked: Asked) -> Shown:
    """Gather the page's figures."""
    found = judged(house, asked)
    listed = told(house, asked, found) if isinstance(found, Anomalies) else []
    unheeded = [one for one in listed if one.now.status == "open"]
    is_known = isinstance(found, Anomalies)
    excess = add(one.one.excess for one in listed if one.one.excess > 0)
    notes, judged_ = [found] if isinstance(found, str) else [], ""
    if found is None:
        notes = ["Days and hours are being judged. It takes some seconds; the page comes again by itself."]
    if isinstance(found, Anomalies):
        notes = [found.too_little] if found.too_little else []
        judged_ = f"{found.judged_days} days and {found.judged_hours} hours judged"
    return Shown(
        cards=[
            Card(name="Out of the usual", said=f"{len(listed)}" if is_known else UNKNOWN, sub=judged_),
            Card(
                name="Not looked at yet", said=f"{len(unheeded)}" if is_known else UNKNOWN,
                tone="warn" if unheeded else "", sub="status open",
            ),
            Card(
                name="Above the usual", said=money(excess) if is_known else UNKNOWN,
                exact=exact(excess) if is_known else "",
                sub="all of them together; days and hours of one event may be among them",
            ),
        ],
        figures=[_timeline(house, asked, listed), _table(listed, found)],
        notes=notes, pending=found is None,
        more={"listed": listed, "statuses": STATUSES["anomaly"]},
    )  # fmt: skip


def _timeline(house: House, asked: Asked, listed: list[Told]) -> Figure:
    amounts: dict[str, Decimal] = {}
    for row in spent(house, asked, ("day",)).rows:
        amounts[row.group["day"]] = add((amounts.get(row.group["day"], Decimal(0)), row.cost))
    flags: dict[date, str] = {}
    for one in reversed(listed):
        for at in _days(one.one.since, one.one.until):
            flags[at] = "; ".join(filter(None, (flags.get(at, ""), f"{one.one.kind}: {one.whose}")))
    points = [
        Point(at, amount, amount, amount) for at in asked.days for amount in (amounts.get(at.isoformat(), Decimal(0)),)
    ]
    marked = [f"{day(at)} ({said})" for at, said in flags.items() if at in asked.days]
    title = f"Spend per day, {asked.label}. Out of the usual: {', '.join(marked[:20]) or 'nothing'}."
    return Figure(
        name="timeline", title="Spend per day, and what was out of the usual",
        columns=(Column("day", "Day"), Column("cost", "Spend", "money"), Column("anomalies", "Out of the usual")),
        rows=[
            Row(
                (point.day.isoformat(), point.amount, flags.get(point.day)),
                href=asked.of_day("/requests", point.day) if point.amount else "",
            )
            for point in reversed(points)
        ] if amounts else (),
        chart=lines(points, title=title, flags=flags) if amounts else None, shown=400,
    )  # fmt: skip


def _table(listed: list[Told], found: Anomalies | str | None) -> Figure:
    judged_ = isinstance(found, Anomalies) and found.judged_days
    return Figure(
        name="anomalies", title="Anomalies",
        note="" if not isinstance(found, Anomalies) else f"An excess of {money(found.floor)} or more, and more than "
        f"{found.threshold:g} robust deviations from the usual for that day of the week or hour.",
        columns=(
            Column("when", "When"), Column("whose", "Whose spend"), Column("kind", "What"),
            Column("observed", "Spent", "money"), Column("expected", "Usual", "money", less=True),
            Column("excess", "Above", "money"), Column("moved", "What moved most", less=True),
            Column("by", "By", less=True), Column("status", "Status"), Column("owner", "Owner", less=True),
            Column("id", "Id", hidden=True),
        ),
        rows=[
            Row(
                (
                    one.when, one.whose, one.one.kind, one.one.observed, one.one.expected, one.one.excess,
                    f"{one.movers[0].dimension} {one.movers[0].value or '(none)'}" if one.movers else None,
                    one.main or None, one.now.status, one.now.owner or None, one.id,
                ),
                href=f"#anomaly-{n}",
            )
            for n, one in enumerate(listed, 1)
        ],
        shown=50,
        empty="Nothing was out of the usual in this period." if judged_ else "Nothing is judged yet."
        if found is None else "There is too little history to judge.",
    )  # fmt: skip


def when_of(since: datetime, until: datetime, grain: str) -> str:
    """Say a span of hours or days for people."""
    first, last = since.astimezone(UTC), until.astimezone(UTC)
    if grain == "hour":
        other = "" if first.date() == last.date() else f"{day(last)} "
        return f"{day(first)} {first:%H:%M} to {other}{last:%H:%M}"
    end = last - timedelta(microseconds=1)
    return day(first) if first.date() == end.date() else f"{day(first)} to {day(end)}"


def _days(since: datetime, until: datetime) -> list[date]:
    first, last = since.astimezone(UTC).date(), (until - timedelta(microseconds=1)).astimezone(UTC).date()
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def act(house: House, form: dict[str, str], who: str) -> str:
    """Keep what a form says of an anomaly."""
    from_form(house, "anomaly", form, who)
    return form.get("next", "/anomalies")


PAGE = Page(
    path="/anomalies", name="Anomalies", group="Control", gather=gather, act=act, template="anomalies.html",
    lead="Days and hours whose spend was out of the usual, what moved them, and who looks after it.",
)  # fmt: skip
