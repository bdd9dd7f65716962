"""Empties the outbox: each channel is told of each alert, again and again until it takes it, and not once more."""
# ruff: noqa: S608  # SQL is put together from names of columns; values are bound

import logging
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Event
from typing import Any

import msgspec

from penstock.errors import PenstockError
from penstock.ledger.state import State
from penstock.metering.event import utc_now
from penstock.policies.alert_channels import LOG_ONLY, Channel, DeliveryError, tell
from penstock.policies.alerts import (
    FIRST_PAUSE,
    GIVEN_UP_AFTER,
    LEASE,
    LONGEST_PAUSE,
    Alert,
    Delivery,
    Noted,
)

LOOK_SECONDS = 1.0
"""How often it is looked whether there is something to tell."""
ALERT_COLUMNS = "id, at, kind, subject, period, title, text, severity, html, channels"

log = logging.getLogger("penstock.alerts")


class Outbox:
    """The alerts of a ledger's state, and how far each channel has been told."""

    def __init__(self, state: State, channels: Sequence[Channel]) -> None:
        self._state = state
        self._channels = {channel.name: channel for channel in channels or LOG_ONLY}
        self._version = (-1, -1)
        self._next: datetime | None = None

    def deliver(
        self, *, now: Callable[[], datetime] = utc_now, send: Callable[[Channel, Noted], None] = tell
    ) -> tuple[int, int]:
        """Tell every channel what is due; return how many were told, and how many could not be."""
        version = self._state.version()
        if version == self._version and (self._next is None or self._next > now()):
            return 0, 0  # nothing new, and nothing to try again
        self._address(now())
        told = failed = 0
        while (claimed := self._claim(now())) is not None:
            noted, channel, attempts = claimed
            try:
                send(channel, noted)
            except DeliveryError as error:
                failed += 1
                self._failed(noted, channel, attempts, error, now())
            else:
                told += 1
                done = Delivery(
                    alert=noted.id, channel=channel.name, state="delivered", attempts=attempts, due=now(), error=""
                )
                self._settle(done)
        # What others have written meanwhile is still to be looked at; what we have is not.
        self._version = (version[0], self._state.version()[1])
        return told, failed

    def _address(self, now: datetime) -> None:
        """Say of each new alert which of today's channels it is for; a channel of tomorrow is not told old news."""
        new = self._state.read(f"SELECT {ALERT_COLUMNS} FROM alerts WHERE addressed = 0 ORDER BY id")
        if not new:
            return
        with self._state.transaction() as write:
            for noted in map(_noted, new):
                for channel in self._channels.values():
                    if channel.takes(noted.alert):
                        write.execute(
                            "INSERT OR IGNORE INTO alert_deliveries VALUES (?, ?, 'waiting', 0, ?, '')",
                            (noted.id, channel.name, now.isoformat()),
                        )
                write.execute("UPDATE alerts SET addressed = 1 WHERE id = ?", (noted.id,))

    def _claim(self, now: datetime) -> tuple[Noted, Channel, int] | None:
        """Take the next delivery that is due, so that no other process does the same for a while."""
        while True:
            rows = self._state.read(
                "SELECT alert, channel, attempts, due FROM alert_deliveries WHERE state = 'waiting' ORDER BY due, alert"
            )
            ours = [row for row in rows if row[1] in self._channels]
            self._next = datetime.fromisoformat(ours[0][3]) if ours else None
            if self._next is None or self._next > now:
                return None
            number, name, attempts, due = ours[0]
            with self._state.transaction() as write:
                taken = write.execute(
                    "UPDATE alert_deliveries SET due = ?, attempts = attempts + 1 "
                    "WHERE alert = ? AND channel = ? AND state = 'waiting' AND due = ?",
                    ((now + LEASE).isoformat(), number, name, due),
                )
            if taken.rowcount:  # else another process was quicker
                (row,) = self._state.read(f"SELECT {ALERT_COLUMNS} FROM alerts WHERE id = ?", number)
                return _noted(row), self._channels[name], attempts + 1

    def _failed(self, noted: Noted, channel: Channel, attempts: int, error: DeliveryError, now: datetime) -> None:
        pause = min(FIRST_PAUSE * 2 ** min(attempts - 1, 20), LONGEST_PAUSE)
        due = now + max(pause, min(timedelta(seconds=error.wait), LONGEST_PAUSE))
        over = due - noted.at > GIVEN_UP_AFTER
        what = "is given up" if over else f"is tried again in {(due - now).total_seconds():.0f} s"
        if attempts == 1 or over:
            log.warning("alert %d (%s) to %s %s: %s", noted.id, noted.alert.kind, channel.name, what, error)
        self._settle(
            Delivery(
                alert=noted.id, channel=channel.name, state="given_up" if over else "waiting", attempts=attempts,
                due=now if over else due, error=str(error)[:500],
            )
        )  # fmt: skip

    def _settle(self, delivery: Delivery) -> None:
        with self._state.transaction() as write:
            write.execute(
                "REPLACE INTO alert_deliveries (alert, channel, state, attempts, due, error) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    delivery.alert, delivery.channel, delivery.state, delivery.attempts, delivery.due.isoformat(),
                    delivery.error,
                ),
            )  # fmt: skip


def listed(state: State, limit: int = 50) -> list[tuple[Noted, list[Delivery]]]:
    """Return the newest alerts, the newest first, each with how far its channels have been told."""
    found = []
    for row in state.read(f"SELECT {ALERT_COLUMNS} FROM alerts ORDER BY id DESC LIMIT ?", limit):
        noted = _noted(row)
        rows = state.read(
            "SELECT alert, channel, state, attempts, due, error FROM alert_deliveries WHERE alert = ? ORDER BY channel",
            noted.id,
        )
        found.append((noted, [_delivery(one) for one in rows]))
    return found


def deliver_until(stop: Event, state: State, channels: Sequence[Channel]) -> None:
    """Deliver what comes into the outbox, until told to stop."""
    outbox = Outbox(state, channels)
    said = ""
    while not stop.wait(LOOK_SECONDS):
        try:
            outbox.deliver()
            said = ""
        except (PenstockError, sqlite3.Error) as error:
            if str(error) != said:  # once is enough
                log.error("alerts: %s", error)  # noqa: TRY400  # the sentence says it all
            said = str(error)


def _noted(row: tuple[Any, ...]) -> Noted:
    number, at, kind, subject, period, title, text, severity, html, channels = row
    alert = Alert(
        kind=kind, subject=subject, period=period, title=title, text=text, severity=severity, html=html,
        channels=msgspec.json.decode(channels, type=tuple[str, ...]),
    )  # fmt: skip
    return Noted(id=number, at=datetime.fromisoformat(at), alert=alert)


def _delivery(row: tuple[Any, ...]) -> Delivery:
    number, channel, state, attempts, due, error = row
    return Delivery(
        alert=number, channel=channel, state=state, attempts=attempts, due=datetime.fromisoformat(due), error=error
    )
