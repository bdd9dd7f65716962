"""`GET /metrics`: what Penstock knows, for Prometheus.

Counters come from the ledger, so every figure of them is exact and the same whichever worker is asked; gauges say how
things are at this moment.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import Any

from msgspec import Struct, field

from penstock import __version__
from penstock.analytics import periods
from penstock.analytics.overlap import Once, counted
from penstock.dashboard.house import House
from penstock.dashboard.prices import books
from penstock.errors import PenstockError
from penstock.ledger.exporters.exposition import (
    OPEN_METRICS,
    TEXT,
    Family,
    Sample,
    exposition,
    histogram,
    wants_open_metrics,
)
from penstock.ledger.exporters.labels import Label, MetricsSettings
from penstock.ledger.exporters.totals import DURATIONS, FIRST_TOKENS, Counted, Totals
from penstock.ledger.retention import RETIRED
from penstock.policies.budgets.status import Standing

OUTCOMES = ("ok", "error", "aborted")
"""There from a series' beginning, so that the first error shows as a rise from 0."""
STALE_SECONDS = 5.0
"""A worker that has not spoken for so long is not well."""


class Worker(Struct, frozen=True, kw_only=True):
    """How a worker said it was; as the gateway's `Condition`, which this room does not know."""

    at: float
    connections: int
    calls: int
    waiting: int
    waiting_seconds: float
    writable: bool
    refused: dict[str, int]


class Beside(Struct, frozen=True):
    """What the metrics need beside the ledger and the prices."""

    settings: MetricsSettings = MetricsSettings()
    budgets: Callable[[], Sequence[Standing]] = tuple
    """How far the budgets are. May raise PenstockError."""
    workers: Callable[[], Mapping[str, Worker]] = dict
    """By name."""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))


def beside(house: House) -> Beside:
    """Return what the house knows beside its ledger."""
    found: Beside = house.info.get("beside") or Beside()
    return found


def scrape(house: House, totals: Totals, accept: str) -> tuple[bytes, str]:
    """Answer a scrape: body and media type. Raises LedgerError where the ledger cannot be counted."""
    open_metrics = wants_open_metrics(accept)
    return exposition(families(house, totals), open_metrics=open_metrics), OPEN_METRICS if open_metrics else TEXT


def families(house: House, totals: Totals) -> Iterator[Family]:
    """Yield everything that is told."""
    found, settings = totals.now(), beside(house).settings
    return chain(
        _about(house),
        _calls(found, settings),
        _times(found, settings),
        _series(found, settings),
        _spend(house),
        _budgets(beside(house)),
        _workers(beside(house), house.now()),
        _ledger(house),
        _prices(house),
        _alerts(house),
    )


def _about(house: House) -> Iterator[Family]:
    sandbox = "true" if house.info.get("sandbox") else "false"
    about = Sample(1, {"version": __version__, "sandbox": sandbox})
    yield _gauge("penstock_build_info", "Version; sandbox: whether usage may be invented.", [about])
    yield _gauge(
        "penstock_start_time_seconds", "When the control process began, in Unix time.",
        [Sample(round(beside(house).started.timestamp(), 3))], "seconds",
    )  # fmt: skip


def _calls(found: Counted, settings: MetricsSettings) -> Iterator[Family]:
    """Yield what was booked, by the chosen labels."""
    rows = [(_labels(settings.labels, place), sums) for place, sums in sorted(found.sums)]
    yield _counter(
        "penstock_requests_total", "Model requests that the gateway booked; each attempt is one.",
        [
            Sample(sums.requests.get(outcome, 0), labels | {"outcome": outcome})
            for labels, sums in rows
            for outcome in dict.fromkeys((*OUTCOMES, *sorted(sums.requests)))
        ],
    )  # fmt: skip
    yield _counter(
        "penstock_errors_total", "Model requests that failed or were cut off, by the code of the error.",
        [Sample(n, labels | {"error": code}) for labels, sums in rows for code, n in sorted(sums.errors.items())],
    )  # fmt: skip
    yield _counter(
        "penstock_tokens_total", "Tokens by kind; no token stands in two kinds.",
        [Sample(n, labels | {"kind": kind}) for labels, sums in rows for kind, n in sorted(sums.tokens.items())],
    )  # fmt: skip
    yield _counter(
        "penstock_reasoning_tokens_total", "Hidden reasoning; these tokens are in kind output already.",
        [Sample(sums.reasoning, labels) for labels, sums in rows if sums.reasoning],
    )  # fmt: skip
    yield _counter(
        "penstock_units_total", "What is billed and no token: searches, characters, pages, seconds of audio.",
        [Sample(n, labels | {"unit": unit}) for labels, sums in rows for unit, n in sorted(sums.units.items())],
    )  # fmt: skip
    yield _counter(
        "penstock_cost_dollars_total",
        "US dollars of priced requests, as they were booked; see penstock_unpriced_events_total for the others.",
        [Sample(sums.cost, labels) for labels, sums in rows], "dollars",
    )  # fmt: skip
    yield _counter(
        "penstock_unpriced_events_total", "Events booked without a price: their cost is unknown, not zero.",
        [Sample(sums.unpriced, labels) for labels, sums in rows],
    )  # fmt: skip


def _times(found: Counted, settings: MetricsSettings) -> Iterator[Family]:
    rows = [(_labels(settings.latency_labels, place), times) for place, times in sorted(found.times)]
    durations = [histogram(DURATIONS, times.durations, _seconds(times.duration_us), labels) for labels, times in rows]
    firsts = [
        histogram(FIRST_TOKENS, times.firsts, _seconds(times.first_us), labels)
        for labels, times in rows
        if times.firsts[-1]
    ]
    yield Family(
        name="penstock_request_duration_seconds", kind="histogram", unit="seconds",
        help="From sending a model request to the end of its answer, of those that were answered.",
        samples=tuple(chain(*durations)),
    )  # fmt: skip
    yield Family(
        name="penstock_time_to_first_token_seconds", kind="histogram", unit="seconds",
        help="From sending a model request to its first content, of streams.", samples=tuple(chain(*firsts)),
    )  # fmt: skip


def _series(found: Counted, settings: MetricsSettings) -> Iterator[Family]:
    """Yield how much of the room for labels is taken."""
    yield _counter("penstock_metrics_events_total", "Events that are in these counters.", [Sample(found.events)])
    yield _counter(
        "penstock_metrics_other_events_total",
        'Events of which a label says "other", for want of room ([metrics] most_values, most_series).',
        [Sample(found.others)],
    )
    yield _gauge(
        "penstock_metrics_label_sets", "Combinations of labels that have series.",
        [Sample(len(found.sums), {"of": "calls"}), Sample(len(found.times), {"of": "latency"})],
    )  # fmt: skip
    yield _gauge(
        "penstock_metrics_label_sets_limit", "How many there may be.", [Sample(settings.most_series)]
    )  # fmt: skip


def _spend(house: House) -> Iterator[Family]:
    """Yield what `penstock report` says of the running day and month (UTC): every source, once, corrections too."""
    now = house.now()
    month = counted(Once(house.ledger.moment()), by=("day",), since=periods.since("month", now)).spend
    day = f"{now.astimezone(UTC):%Y-%m-%d}"
    today = [row for row in month.rows if row.group["day"] == day]
    amounts = {"today": sum((row.cost for row in today), Decimal(0)), "month": month.total}
    unpriced = {"today": sum(row.unpriced_events for row in today), "month": month.unpriced_events}
    yield _gauge(
        "penstock_spend_dollars", "What penstock report says was spent since the period began (UTC), all sources.",
        [Sample(amount, {"period": period}) for period, amount in amounts.items()], "dollars",
    )  # fmt: skip
    yield _gauge(
        "penstock_spend_unpriced_events", "Events of the period that have no price even now: their cost is unknown.",
        [Sample(count, {"period": period}) for period, count in unpriced.items()],
    )  # fmt: skip


def _budgets(known: Beside) -> Iterator[Family]:
    """Yield how far the budgets are: those that are spent most, where there are more than there may be series."""
    up, rows = 1, list[Standing]()
    try:
        rows = sorted(known.budgets(), key=lambda row: row.share, reverse=True)
    except PenstockError:
        up = 0
    most = known.settings.most_series
    shown, left_out = rows[:most], len(rows[most:])
    labelled = [(row, {"scope": row.scope, "per": row.per, "hard": "true" if row.hard else "false"}) for row in shown]
    yield _gauge("penstock_budgets_up", "Whether the counters of budgets could be asked.", [Sample(up)])
    yield _gauge("penstock_budgets_left_out", "Budgets for which there is no room here.", [Sample(left_out)])
    amounts: tuple[tuple[str, str, Callable[[Standing], Decimal | None]], ...] = (
        ("limit", "How much may be spent in the running period.", lambda row: row.limit),
        ("spent", "Spent in the running period.", lambda row: row.spent),
        ("reserved", "Held for calls under way.", lambda row: row.reserved),
        ("forecast", "What will be spent at the period's end, if it goes on like this.", lambda row: row.forecast),
    )
    for name, text, amount in amounts:
        samples = [Sample(value, labels) for row, labels in labelled if (value := amount(row)) is not None]
        yield _gauge(f"penstock_budget_{name}_dollars", text, samples, "dollars")


def _workers(known: Beside, now: datetime) -> Iterator[Family]:
    rows = [({"worker": name}, worker) for name, worker in sorted(known.workers().items())]
    gauges: tuple[tuple[str, str, Callable[[Worker], Any], str], ...] = (
        ("up", "Whether the worker has said in the last 5 seconds how it is.",
         lambda worker: int(now.timestamp() - worker.at <= STALE_SECONDS), ""),
        ("connections", "Connections of clients.", lambda worker: worker.connections, ""),
        ("calls", "AI calls under way.", lambda worker: worker.calls, ""),
        ("events_waiting", "Booked events that wait for the disk.", lambda worker: worker.waiting, ""),
        ("events_waiting_seconds", "How long the oldest of them has waited.",
         lambda worker: round(worker.waiting_seconds, 3), "seconds"),
        ("ledger_writable", "Whether the worker can write its log; if not, it takes no call.",
         lambda worker: int(worker.writable), ""),
    )  # fmt: skip
    for name, text, figure, unit in gauges:
        yield _gauge(f"penstock_worker_{name}", text, [Sample(figure(one), labels) for labels, one in rows], unit)
    yield _counter(
        "penstock_refusals_total", "Answers that refused a request, by code, since the worker began.",
        [Sample(n, labels | {"code": code}) for labels, one in rows for code, n in sorted(one.refused.items())],
    )  # fmt: skip


def _ledger(house: House) -> Iterator[Family]:
    status = house.ledger.status()
    yield _gauge(
        "penstock_ledger_events", "Events in the ledger, of all sources.",
        [Sample(status.parts_events, {"place": "parts"}), Sample(status.logs_events, {"place": "logs"})],
    )  # fmt: skip
    yield _gauge("penstock_ledger_parts", "Parquet files of the ledger.", [Sample(status.parts)])
    yield _gauge("penstock_ledger_parts_bytes", "Their size.", [Sample(status.parts_bytes)], "bytes")
    yield _gauge(
        "penstock_ledger_logs", "Logs that are not compacted yet; closed ones wait for it.",
        [Sample(status.live_logs, {"state": "live"}), Sample(status.closed_logs, {"state": "closed"})],
    )  # fmt: skip
    yield _gauge("penstock_ledger_damaged_files", "Files in torn/: bytes of logs that are no events.",
                 [Sample(status.torn)])  # fmt: skip
    yield _gauge(
        "penstock_ledger_free_bytes", "Room on the ledger's disk.",
        [Sample(shutil.disk_usage(house.ledger.folder).free)], "bytes",
    )  # fmt: skip
    newest = [Sample(round(status.last.timestamp(), 6))] if status.last else []
    yield _gauge("penstock_ledger_newest_event_timestamp_seconds", "When the newest event's work began, in Unix time.",
                 newest, "seconds")  # fmt: skip
    retired = house.ledger.state.get(RETIRED)
    since = [Sample(int(datetime.fromisoformat(f"{retired}T00:00:00Z").timestamp()))] if retired else []
    yield _gauge("penstock_ledger_retired_before_timestamp_seconds", "Days before it are kept as totals only.",
                 since, "seconds")  # fmt: skip


def _prices(house: House) -> Iterator[Family]:
    yield _gauge(
        "penstock_price_book_info", "The price books in force.",
        [Sample(1, {"book": book.name, "version": book.version}) for book in books(house)],
    )  # fmt: skip
    read = [
        Sample(int(datetime.combine(day, datetime.min.time(), UTC).timestamp()), {"book": book.name})
        for book in books(house)
        if (day := book.read or max((row.read for row in book.rows if row.read), default=None))
    ]
    yield _gauge(
        "penstock_price_book_read_timestamp_seconds", "The day on which a price book was read at its source.",
        read, "seconds",
    )  # fmt: skip


def _alerts(house: House) -> Iterator[Family]:
    counts = house.ledger.state.read("SELECT state, count(*) FROM alert_deliveries GROUP BY state ORDER BY state")
    yield _gauge(
        "penstock_alert_deliveries", "Alerts by what became of them at their channels.",
        [Sample(count, {"state": state}) for state, count in counts],
    )  # fmt: skip


def _labels(names: Sequence[Label], values: Sequence[str]) -> dict[str, str]:
    return {str(name): value for name, value in zip(names, values, strict=True)}


def _counter(name: str, text: str, samples: Sequence[Sample], unit: str = "") -> Family:
    return Family(name=name, kind="counter", help=text, samples=tuple(samples), unit=unit)


def _gauge(name: str, text: str, samples: Sequence[Sample], unit: str = "") -> Family:
    return Family(name=name, kind="gauge", help=text, samples=tuple(samples), unit=unit)


def _seconds(micro: int) -> Decimal:
    return Decimal(micro).scaleb(-6)
