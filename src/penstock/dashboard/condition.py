"""The condition of the house: prices, store, workers, deployments, alerts, imports."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Struct, structs

from penstock.analytics.spend import Spend, spend
from penstock.dashboard.asked import NONE, Asked
from penstock.dashboard.figure import Card, Column, Figure, Row
from penstock.dashboard.house import House, checked
from penstock.dashboard.page import Page, Shown
from penstock.dashboard.words import link
from penstock.ledger.store import Status
from penstock.policies.alert_delivery import listed
from penstock.policies.budgets.store import published

OLD = timedelta(days=90)
"""A book that was read longer ago is old: the command `penstock prices check` says so as well."""
LATELY = timedelta(days=1)
BACK = timedelta(days=30)
MOST = 50


class BookAge(Struct, frozen=True, kw_only=True):
    """A price book, and when it was read."""

    id: str
    title: str
    rows: int
    read: date | None
    days: int | None
    """Since then; None: its source gives no day."""


class Deployed(Struct, frozen=True, kw_only=True):
    """How attempts at one deployment went in the last 24 hours."""

    provider: str
    deployment: str
    attempts: int
    failed: int


def ages(house: House) -> list[BookAge]:
    """Return the price books in the order in which they are asked."""
    today = house.now().astimezone(UTC).date()
    return [
        BookAge(
            id=book.id, title=book.title, rows=len(book.rows), read=book.read,
            days=(today - book.read).days if book.read else None,
        )
        for book in (house.catalog.load().books if house.catalog else ())
    ]  # fmt: skip


def deployed(house: House) -> list[Deployed]:
    """Return each deployment that was called in the last 24 hours, those that failed most first."""
    names = ("provider", "deployment", "outcome")
    rows = house.remember("deployed", lambda: spend(house.ledger.moment(), by=names, since=house.now() - LATELY).rows)
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        counts = found.setdefault((row.group["provider"], row.group["deployment"]), [0, 0])
        counts[0] += row.events
        counts[1] += row.events if row.group["outcome"] == "error" else 0
    some = [Deployed(provider=p, deployment=d, attempts=n, failed=bad) for (p, d), (n, bad) in found.items()]
    return sorted(some, key=lambda one: (-one.failed, -one.attempts, one.provider, one.deployment))


def gather(house: House, _asked: Asked) -> Shown:
    """Gather the page's figures."""
    books, store, unpriced = ages(house), status(house), lately(house)
    dated = [book for book in books if book.days is not None]
    oldest = max((book.days or 0 for book in dated), default=0)
    alerts = listed(house.ledger.state, MOST)
    waiting = sum(one.state == "waiting" for _, deliveries in alerts for one in deliveries)
    given_up = sum(one.state == "given_up" for _, deliveries in alerts for one in deliveries)
    events = sum(one.events for one in unpriced.unpriced)
    return Shown(
        cards=[
            Card(name="Oldest prices", said=counted(oldest, "day") if dated else "–",
                 tone="warn" if oldest > OLD.days else "", sub=counted(len(books), "book"),
                 note="older than 90 days" if oldest > OLD.days else ""),
            Card(name="Without a price", said=counted(events, "event"), tone="bad" if events else "",
                 sub=f"{counted(len(unpriced.unpriced), 'model')} in 30 days"),
            Card(name="In the ledger", said=counted(store.events, "event"),
                 sub=f"{store.logs_events:,} of them not in parts yet"),
            Card(name="Alerts on their way", said=f"{waiting}", tone="bad" if given_up else "",
                 sub=f"{given_up} given up" if given_up else "none given up"),
        ],
        figures=[
            _store(house, store), _workers(house, store), _deployments(house), _books(books),
            _unpriced(unpriced), _alerts(alerts), _imports(house),
        ],
    )  # fmt: skip


def status(house: House) -> Status:
    """Say what the ledger holds."""
    return house.ledger.status()


def lately(house: House) -> Spend:
    """Sum up the last 30 days, for what has no price."""
    return house.remember(
        "without a price", lambda: spend(house.ledger.moment(), by=("provider", "model"), since=house.now() - BACK)
    )


def _facts(name: str, title: str, rows: Sequence[tuple[str, str]], note: str = "") -> Figure:
    return Figure(
        name=name, title=title, note=note, period="now", half=True, shown=40,
        columns=(Column("what", "What", "sentence"), Column("value", "Is", "sentence")),
        rows=[Row(row) for row in rows],
    )  # fmt: skip


def _store(house: House, store: Status) -> Figure:
    kept = house.ledger.state.read("SELECT max(added) FROM parts")[0][0]
    logs = store.live_logs + store.closed_logs
    newest = datetime.fromisoformat(kept) if kept else None
    rows = [
        ("Events", f"{store.events:,}"),
        ("Parts", f"{store.parts:,} with {store.parts_events:,} events, {store.parts_bytes / 1_000_000:,.1f} MB"),
        ("In logs, to be compacted", f"{counted(store.logs_events, 'event')} in {counted(logs, 'log')}"),
        ("Newest part written", f"{newest:%Y-%m-%d %H:%M} UTC" if newest else "never"),
        ("From", f"{store.first:%Y-%m-%d %H:%M} UTC" if store.first else "–"),
        ("To", f"{store.last:%Y-%m-%d %H:%M} UTC" if store.last else "–"),
        ("Logs with a torn end", f"{store.torn:,}"),
        ("Object storage", store.objects or "none"),
    ]
    return _facts("store", "Store", rows)


def _workers(house: House, store: Status) -> Figure:
    found = published(house.folder)
    counters = "in Redis" if house.info.get("redis") else "in the worker's memory"
    rows = [
        ("Logs that a process writes now", f"{store.live_logs}"),
        ("Gateway with budgets", f"process {found.pid}, {found.workers} workers, said so {found.age:.0f} s ago"
         if found else "none says so now"),
        ("Budget counters", counters),
        ("Events that wait to be compacted", f"{store.logs_events:,}"),
    ]  # fmt: skip
    return _facts(
        "workers", "Workers and queue", rows,
        "Each worker writes a log of its own. How long the queue before it is, only the worker knows: it answers 503 "
        "when it is full.",
    )  # fmt: skip


def _deployments(house: House) -> Figure:
    return Figure(
        name="deployments", title="Deployments", period="last 24 hours", half=True,
        note="After three failures in a row a worker lets a deployment rest for up to a minute; which one rests now, "
        "only that worker knows.",
        columns=(
            Column("deployment", "Deployment"), Column("provider", "Provider"),
            Column("attempts", "Attempts", "count"), Column("failed", "Failed", "count"),
            Column("share", "Share", "share"),
        ),
        rows=[
            Row(
                (one.deployment, one.provider, one.attempts, one.failed,
                 Decimal(one.failed) / one.attempts if one.attempts else None),
                href=link(
                    "/requests", {"provider": one.provider, "deployment": one.deployment or NONE, "from": "24h"}
                    | ({"outcome": "error"} if one.failed else {}),
                ),
                badge="fails" if one.attempts and one.failed * 2 > one.attempts else "",
            )
            for one in deployed(house)
        ],
        empty="No deployment was called in the last 24 hours.",
    )  # fmt: skip


def _books(books: list[BookAge]) -> Figure:
    return Figure(
        name="books", title="Price books", period="in the order in which they are asked", half=True,
        columns=(
            Column("book", "Book"), Column("title", "What it is", less=True), Column("rows", "Rows", "count"),
            Column("read", "Read"), Column("days", "Days ago", "count"),
        ),
        rows=[
            Row((book.id, book.title, book.rows, book.read.isoformat() if book.read else None, book.days),
                badge="old" if book.days is not None and book.days > OLD.days else "")
            for book in books
        ],
        empty="No price book is loaded.",
    )  # fmt: skip


def _unpriced(found: Spend) -> Figure:
    return Figure(
        name="unpriced", title="Models without a price", period="last 30 days", half=True,
        columns=(
            Column("model", "Model"), Column("provider", "Provider"), Column("events", "Events", "count"),
            Column("input_tokens", "Input", "tokens", less=True),
            Column("output_tokens", "Output", "tokens", less=True),
        ),
        rows=[
            Row(
                (one.model, one.provider, one.events, one.input_tokens, one.output_tokens),
                href=link("/requests", {"model": one.model or NONE, "provider": one.provider or NONE,
                                        "price_state": "unpriced"}),
            )
            for one in found.unpriced
        ],
        empty="Every event of the last 30 days has a price.",
    )  # fmt: skip


def _alerts(alerts: Sequence[Any]) -> Figure:
    rows = []
    for noted, deliveries in alerts:
        told = ", ".join(f"{one.channel}: {one.state.replace('_', ' ')}" for one in deliveries)
        errors = "; ".join(one.error for one in deliveries if one.error)
        rows.append(
            Row(
                (
                    noted.at,
                    noted.alert.title,
                    noted.alert.kind,
                    noted.alert.severity,
                    told or "no channel",
                    errors or None,
                )
            )
        )
    return Figure(
        name="alerts", title="Alerts", period=f"the last {MOST}",
        columns=(
            Column("at", "When", "time"), Column("title", "What", "sentence"), Column("kind", "Kind", less=True),
            Column("severity", "Severity"), Column("told", "Who was told"), Column("error", "Trouble", less=True),
        ),
        rows=rows, empty="Nobody had to be told anything yet. Who is told is said by [[alerts]] in the settings.",
    )  # fmt: skip


def _imports(house: House) -> Figure:
    return Figure(
        name="imports", title="Imports", period="the last ones",
        columns=(
            Column("at", "When", "time"), Column("name", "File"), Column("source", "Format"),
            Column("new", "New", "count"), Column("duplicates", "Known already", "count"),
            Column("digest", "SHA-256", hidden=True),
        ),
        rows=[
            Row((one.at, one.name, one.source, one.new, one.duplicates, one.digest))
            for one in reversed(house.ledger.state.imports())
        ],
        empty="No file was imported yet. Book what was used elsewhere with: penstock import FILE",
    )  # fmt: skip


def counted(count: int, noun: str) -> str:
    """Write `1 event`, `2 events`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def get_condition(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `GET /api/condition`: what the page Health shows."""
    checked(fields, ())
    store = structs.asdict(status(house))
    store.pop("folder")
    running = published(house.folder)
    return {
        "store": store, "books": ages(house), "deployments": deployed(house),
        "unpriced": lately(house).unpriced,
        "alerts": [
            {"at": noted.at, **structs.asdict(noted.alert), "deliveries": deliveries}
            for noted, deliveries in listed(house.ledger.state, MOST)
        ],
        "imports": list(reversed(house.ledger.state.imports())),
        "gateway": {"pid": running.pid, "workers": running.workers} if running else None,
        "redis": bool(house.info.get("redis")),
    }  # fmt: skip


PAGE = Page(
    path="/health", name="Health", group="System", gather=gather, filters=False, live=True,
    lead="Whether prices are fresh, the store is tidy, calls are answered, and people are told.",
)  # fmt: skip
