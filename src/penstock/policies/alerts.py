"""Alerts: what somebody should be told, kept in an outbox until every channel has been told it."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from penstock.ledger.state import State
from penstock.metering.event import utc_now

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")

KINDS = (
    "budget.threshold", "budget.forecast", "budget.refusing", "budget.unavailable", "savings.rolled_back",
    "budget.frozen", "anomaly.spike", "anomaly.level_shift_up", "anomaly.level_shift_down", "report.day", "report.week",
    "report.month",
)  # fmt: skip
"""What somebody can be told of."""

LEASE = timedelta(minutes=2)
"""How long one process may take to tell a channel, before another may try."""
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=15)
GIVEN_UP_AFTER = timedelta(days=1)


class Alert(Struct, frozen=True, kw_only=True):
    """One thing that somebody should be told."""

    kind: str
    """What has happened, in the words of the settings: `budget.threshold`, `budget.refusing`, ..."""
    subject: str
    """What it has happened to: a budget's name, a team."""
    period: str
    """When: with kind and subject it says which alerts are one and the same, such as `2026-11 80%`."""
    title: str
    """One line."""
    text: str
    """What somebody needs to know to act; plain text, lines end with a newline."""
    severity: Severity = "warning"
    html: str = ""
    """The same for mail programs; without it they show the text."""
    channels: tuple[str, ...] = ()
    """Goes to these channels alone, whatever they take otherwise; without it, to those that take its kind."""


class Noted(Struct, frozen=True, kw_only=True):
    """An alert in the outbox."""

    id: int
    at: datetime
    alert: Alert


class Delivery(Struct, frozen=True, kw_only=True):
    """How far one channel has been told of one alert."""

    alert: int
    channel: str
    state: Literal["waiting", "delivered", "given_up"]
    attempts: int
    due: datetime
    """When it is tried next; of one that is over, when it ended."""
    error: str
    """Why the last attempt failed."""


def enqueue(state: State, alert: Alert, *, now: datetime | None = None) -> bool:
    """Put `alert` into the outbox; False where it is there already (the same kind, subject and period).

    It is safe on the disk when this returns. Raises LedgerError where it cannot be written.
    """
    if state.read(
        "SELECT 1 FROM alerts WHERE kind = ? AND subject = ? AND period = ?", alert.kind, alert.subject, alert.period
    ):
        return False
    with state.transaction() as write:
        done = write.execute(
            "INSERT OR IGNORE INTO alerts (at, kind, subject, period, title, text, severity, html, channels) "
            "VALUES (?,?,?,?,?,?,?,?,?)",
            (
                (now or utc_now()).isoformat(), alert.kind, alert.subject, alert.period, alert.title, alert.text,
                alert.severity, alert.html, msgspec.json.encode(alert.channels).decode(),
            ),
        )  # fmt: skip
        return done.rowcount == 1
