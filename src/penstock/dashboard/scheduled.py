"""What is sent without being asked for: reports when they are due, and anomalies when they are new."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from penstock.analytics.anomalies import Anomalies, Anomaly, anomalies
from penstock.analytics.budget_outlook import Allowances
from penstock.analytics.change import Rates, rates_in
from penstock.analytics.digest import digest
from penstock.analytics.overlap import Once
from penstock.analytics.report_schedule import AnomalyWatch, Edition, ScheduledReport, edition_of, newest
from penstock.analytics.zones import zone
from penstock.dashboard.house import House, NotFoundError, checked
from penstock.dashboard.letter import Letter, anomaly_said, letter, signed
from penstock.dashboard.words import money, places_for
from penstock.errors import InputError
from penstock.ledger.state import State
from penstock.ledger.store import Ledger
from penstock.policies.alerts import Alert, enqueue

SINCE = "reports since"
"""Setting of the state, with a report's name: when a server first knew it. What was due before is old news."""
LOOKED = "anomalies looked for"
"""Setting of the state: until when spend was looked through."""
BACK = timedelta(days=3)
"""Anomalies that ended longer ago are not told any more: imports of the past would ring every bell."""


class Desk(Struct, frozen=True):
    """What reports are put together from."""

    ledger: Ledger
    allowances: Allowances
    rates: Rates


def write(desk: Desk, report: ScheduledReport, edition: Edition, now: datetime) -> Letter:
    """Write one edition of a report."""
    moment = desk.ledger.moment()
    return letter(digest(moment, report, edition, now, allowances=desk.allowances, rates=desk.rates))


def preview(house: House, name: str, fields: dict[str, str]) -> str:
    """Write a report of the settings as its page shows it: `/scheduled/weekly?period=2026-W47`."""
    fields = checked(fields, ("period",))
    reports: Sequence[ScheduledReport] = house.info.get("reports", ())
    report = next((one for one in reports if one.name == name), None)
    if report is None:
        known = ", ".join(one.name for one in reports) or "none: add a [[reports]] row to penstock.toml"
        raise NotFoundError(f"There is no scheduled report {name[:100]!r}, only {known}.")
    now = house.now()
    edition = edition_of(report, fields["period"], now) if "period" in fields else newest(report, now)
    allowances = house.info.get("allowances", lambda: lambda _at: ())()
    desk = Desk(house.ledger, allowances, rates_in(house.ledger, lambda: house.catalog))
    return write(desk, report, edition, now).html


def alert_of(report: ScheduledReport, edition: Edition, written: Letter) -> Alert:
    """Address a report to its channels."""
    return Alert(
        kind=f"report.{report.every}", subject=report.name, period=edition.label, title=written.title,
        text=written.text, html=written.html, severity="info", channels=report.to,
    )  # fmt: skip


def due(state: State, reports: Sequence[ScheduledReport], now: datetime) -> list[tuple[ScheduledReport, Edition]]:
    """Return what is to be sent: the latest edition of each report, unless it was sent.

    One edition that a server missed is made up for, however many there were. A report that is new is first sent when
    it is next due.
    """
    found = []
    for report in reports:
        known = state.get(f"{SINCE} {report.name}")
        if not known:
            with state.transaction() as write_:  # of several servers that begin at once, the first one counts
                write_.execute(
                    "INSERT OR IGNORE INTO settings VALUES (?, ?)", (f"{SINCE} {report.name}", now.isoformat())
                )
            continue
        edition = newest(report, now)
        if edition.due > datetime.fromisoformat(known) and not _is_sent(state, report, edition):
            found.append((report, edition))
    return found


def _is_sent(state: State, report: ScheduledReport, edition: Edition) -> bool:
    """Whether this or a later edition is in the outbox."""
    return bool(state.read(
        "SELECT 1 FROM alerts WHERE kind = ? AND subject = ? AND period >= ? LIMIT 1",
        f"report.{report.every}", report.name, edition.label,
    ))  # fmt: skip


def send_due(state: State, reports: Sequence[ScheduledReport], desk: Callable[[], Desk], now: datetime) -> int:
    """Put into the outbox what is due; return how many reports that were."""
    return sum(
        enqueue(state, alert_of(report, edition, write(desk(), report, edition, now)), now=now)
        for report, edition in due(state, reports, now)
    )


def tell_of_anomalies(state: State, watch: AnomalyWatch, ledger: Ledger, now: datetime) -> int:
    """Look through the ledger where it is time to, and tell of what was not told yet; return how many that were.

    What is new is known by whose it is, its kind and when it began: a spike that grows is told once.
    """
    if watch.every == "never" or not _is_time(state, watch, now):
        return 0
    try:
        found = anomalies(
            Once(ledger.moment()), now, by=watch.names, since=now - BACK, time_zone=watch.time_zone,
            detector=watch.detector, threshold=watch.threshold, floor=watch.floor,
        )  # fmt: skip
    except InputError:  # nothing is booked yet, or nothing of it has a price
        found = None
    told = 0
    for one in found.anomalies if found is not None and not found.stale else ():
        assert found is not None
        alert = _told_of(one, found, watch)
        if not _is_known_by_hour(state, alert, one, watch):
            told += enqueue(state, alert, now=now)
    state.set(LOOKED, now.isoformat())
    return told


def _is_time(state: State, watch: AnomalyWatch, now: datetime) -> bool:
    """Whether an hour, or a local day, has ended since spend was last looked through."""
    place = zone(watch.time_zone)
    last = state.get(LOOKED)
    if not last:
        return True
    then, here = (at.astimezone(place) for at in (datetime.fromisoformat(last), now))
    grain = "%Y-%m-%dT%H" if watch.every == "hour" else "%Y-%m-%d"
    return f"{then:{grain}}" != f"{here:{grain}}"


def _is_known_by_hour(state: State, alert: Alert, one: Anomaly, watch: AnomalyWatch) -> bool:
    """Whether hours of a day were told already; what the whole day says of them is no news."""
    place = zone(watch.time_zone)
    first, last = (f"hour {at.astimezone(place):%Y-%m-%d}" for at in (one.since, one.until))
    return one.grain == "day" and bool(state.read(
        "SELECT 1 FROM alerts WHERE kind = ? AND subject = ? AND period >= ? AND period < ? LIMIT 1",
        alert.kind, alert.subject, first, last,
    ))  # fmt: skip


def _told_of(one: Anomaly, found: Anomalies, watch: AnomalyWatch) -> Alert:
    place = zone(watch.time_zone)
    whose = ", ".join(f"{name} {value or '(none)'}" for name, value in one.scope.items()) or "all spend"
    places = places_for([one.observed, one.expected])
    began = one.since.astimezone(place)
    when = f"{began:%Y-%m-%d %H:00}" if one.grain == "hour" else f"{began:%Y-%m-%d}"
    text = f"{anomaly_said(one, place)}\nUsual: {money(one.low, places)} to {money(one.high, places)}.\n"
    if one.kind != "spike":
        text += "A new level: what follows is judged by it.\n"
    text += f"See: {one.command}\n"
    if found.unpriced_events:
        text += f"Events without a price, which are in no figure: {found.unpriced_events:,}.\n"
    return Alert(
        kind=f"anomaly.{one.kind.replace(' ', '_')}", subject=whose, period=f"{one.grain} {when}",
        title=f"{one.kind.capitalize()} of {whose}: {signed(one.excess, places)} on {when}", text=text,
        severity="warning" if one.excess > 0 else "info", channels=watch.to,
    )  # fmt: skip
