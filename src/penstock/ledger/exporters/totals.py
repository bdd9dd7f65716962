"""Counters that only grow, for Prometheus: what the gateway has booked, each event once.

They are counted from the ledger when somebody asks, and kept in a file beside it with the number of the last event of
each writer that is in them. So they go on over restarts, are the same whichever worker answers, and cost a call
nothing. Delete the file, and they are counted anew from the events that the ledger still holds.
"""
# ruff: noqa: S608  # names of columns; values are bound

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct, field

from penstock.errors import LedgerError
from penstock.ledger.columns import BUCKETS, EXACT, plain_amount
from penstock.ledger.engine import Relation, connect
from penstock.ledger.exporters.labels import MetricsSettings
from penstock.ledger.logfile import sync_folder
from penstock.ledger.parts import MEMORY
from penstock.ledger.store import Ledger
from penstock.pricing.usage import INPUT_TOKENS, MEMO, OUTPUT_TOKENS

FILE = "metrics.msgpack"
OTHER = "other"
"""In place of a value for which there is no room."""
SOURCE = "gateway"
TOKENS = (*INPUT_TOKENS, *OUTPUT_TOKENS)
UNITS = tuple(bucket for bucket in BUCKETS if bucket not in TOKENS and bucket not in MEMO)
"""What is billed and no token."""
DURATIONS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKENS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds: the buckets that OpenTelemetry's conventions for GenAI name."""
ERRORS = 100
"""Codes of errors told apart."""
FORM = 1


class Sums(Struct):
    """What is counted of one combination of labels."""

    requests: dict[str, int] = {}
    """By outcome."""
    errors: dict[str, int] = {}
    """By code."""
    tokens: dict[str, int] = {}
    units: dict[str, int] = {}
    reasoning: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0


class Times(Struct):
    """Durations of one combination of labels: cumulative counts, the last of all, and the sum."""

    durations: list[int] = field(default_factory=lambda: [0] * (len(DURATIONS) + 1))
    duration_us: int = 0
    firsts: list[int] = field(default_factory=lambda: [0] * (len(FIRST_TOKENS) + 1))
    first_us: int = 0


class Counted(Struct):
    """The counters, and what is in them."""

    kind: str
    """Of the settings: others count anew."""
    part: int = 0
    """Number of the last part that was looked at."""
    positions: dict[str, int] = {}
    """Writer -> number of its last event that is counted."""
    sums: list[tuple[tuple[str, ...], Sums]] = []
    times: list[tuple[tuple[str, ...], Times]] = []
    events: int = 0
    others: int = 0
    """Events of which a label says `other`."""


class Totals:
    """The counters of one ledger; several processes and threads may ask at once."""

    def __init__(self, ledger: Ledger, settings: MetricsSettings) -> None:
        self._ledger, self._settings = ledger, settings
        said = repr((FORM, settings, TOKENS, UNITS, DURATIONS, FIRST_TOKENS))
        self._kind = hashlib.sha256(said.encode()).hexdigest()[:16]
        self._file = ledger.folder / FILE
        self._engine: duckdb.DuckDBPyConnection | None = None

    def close(self) -> None:
        """Let go of the engine."""
        if self._engine is not None:
            self._engine.close()

    def now(self) -> Counted:
        """Count what came since, and return it all. Raises LedgerError where that cannot be kept."""
        try:
            with _alone(self._file.with_suffix(".lock")):
                found = self._kept()
                before = found.part, dict(found.positions)
                self._count(found)
                if before != (found.part, found.positions):
                    self._keep(found)
                return found
        except OSError as error:
            raise LedgerError(f"Cannot keep the metrics in {self._file}: {error.strerror}.") from error
        except duckdb.Error as error:
            raise LedgerError(f"The metrics cannot be counted: {error}") from error

    def _kept(self) -> Counted:
        try:
            found = msgspec.msgpack.decode(self._file.read_bytes(), type=Counted)
        except (FileNotFoundError, msgspec.MsgspecError):
            return Counted(self._kind)
        return found if found.kind == self._kind else Counted(self._kind)

    def _keep(self, found: Counted) -> None:
        part = self._file.with_suffix(".part")
        with part.open("wb") as out:
            out.write(msgspec.msgpack.encode(found))
            out.flush()
            os.fsync(out.fileno())
        part.replace(self._file)
        sync_folder(self._file.parent)

    def _count(self, found: Counted) -> None:
        snapshot = self._ledger.snapshot()
        parts = [part for part in snapshot.parts if part.number > found.part]
        found.part = max((part.number for part in snapshot.parts), default=found.part)
        ours = [part for part in parts if SOURCE in part.sources]
        tail = _fresh(snapshot.tail, found.positions)
        if not ours and not tail.num_rows:
            return
        if self._engine is None:
            self._engine = connect(self._ledger.folder, memory=MEMORY)
        events = Relation(self._engine, self._ledger.folder, ours, tail)
        try:
            self._add(self._engine, events.sql, found)
        finally:
            events.release()

    def _add(self, engine: duckdb.DuckDBPyConnection, events: str, found: Counted) -> None:
        known = {"writer": list(found.positions), "last": list(found.positions.values())}
        engine.register("positions", pa.table(known, schema=pa.schema([("writer", pa.string()), ("last", pa.int64())])))
        labels = dict.fromkeys((*self._settings.labels, *self._settings.latency_labels))
        columns = ", ".join(f'e."{name}"' for name in (*labels, *MEASURED, *BUCKETS))
        engine.execute(
            f"CREATE OR REPLACE TEMP TABLE fresh AS SELECT {columns} FROM ({events}) AS e "
            "LEFT JOIN positions AS p USING (writer) "
            f"WHERE e.source = '{SOURCE}' AND e.corrects = '' AND e.seq > coalesce(p.last, 0)"
        )
        for writer, last, count in engine.execute("SELECT writer, max(seq), count(*) FROM fresh GROUP BY 1").fetchall():
            found.positions[writer] = last
            found.events += count
        self._add_sums(engine, found)
        self._add_times(engine, found)
        engine.execute("DROP TABLE fresh")

    def _add_sums(self, engine: duckdb.DuckDBPyConnection, found: Counted) -> None:
        labels = self._settings.labels
        room = _Room(dict(found.sums), len(labels), self._settings)
        errors = {code for _, sums in found.sums for code in sums.errors}
        sums = ", ".join(f"sum({unit}) AS {unit}" for unit in BUCKETS)
        query = (
            f"SELECT {_listed(labels)} outcome, error, count(*) AS events, sum(requests) AS requests, {sums}, "
            "sum(cost) AS cost, count(*) FILTER (price_state = 'unpriced') AS unpriced FROM fresh "
            f"GROUP BY {_listed(labels)} outcome, error ORDER BY events DESC, {_listed(labels)} outcome, error"
        )
        for row in _rows(engine, query):
            place = room.place(tuple(row[name] for name in labels))
            found.others += row["events"] if OTHER in place else 0
            one = room.held.setdefault(place, Sums())
            _plus(one.requests, row["outcome"], row["requests"])
            if row["error"]:
                code = row["error"] if row["error"] in errors or len(errors) < ERRORS else OTHER
                errors.add(code)
                _plus(one.errors, code, row["requests"])
            for kept, units in ((one.tokens, TOKENS), (one.units, UNITS)):
                for unit in units:
                    if row[unit]:
                        _plus(kept, unit, row[unit])
            one.reasoning += int(row["reasoning"])
            one.cost = EXACT.add(one.cost, plain_amount(row["cost"]) or Decimal(0))
            one.unpriced += row["unpriced"]
        found.sums = list(room.held.items())

    def _add_times(self, engine: duckdb.DuckDBPyConnection, found: Counted) -> None:
        labels = self._settings.latency_labels
        room = _Room(dict(found.times), len(labels), self._settings)
        query = (
            f"SELECT {_listed(labels)} {_cumulative('duration', DURATIONS)}, {_cumulative('first', FIRST_TOKENS)} "
            "FROM fresh WHERE outcome = 'ok' AND requests <= 1 AND duration_us > 0 "
            f"GROUP BY ALL ORDER BY durations_all DESC, {_listed(labels)} durations_all"
        )
        for row in _rows(engine, query):
            one = room.held.setdefault(room.place(tuple(row[name] for name in labels)), Times())
            one.durations = _added(one.durations, row, "duration")
            one.duration_us += int(row["duration_sum"] or 0)
            one.firsts = _added(one.firsts, row, "first")
            one.first_us += int(row["first_sum"] or 0)
        found.times = list(room.held.items())


MEASURED = (
    "writer", "seq", "outcome", "error", "requests", "cost", "price_state", "duration_us", "first_token_us",
)  # fmt: skip


class _Room:
    """Which combinations of labels have series: the first ones, and those stay."""

    def __init__(self, held: dict[tuple[str, ...], Any], width: int, settings: MetricsSettings) -> None:
        self.held = held
        self._settings = settings
        self._values = [{place[number] for place in held} for number in range(width)]

    def place(self, values: tuple[str, ...]) -> tuple[str, ...]:
        if values in self.held:
            return values
        most = self._settings.most_values
        found = tuple(
            value if not value or value in known or len(known - {OTHER, ""}) < most else OTHER
            for value, known in zip(values, self._values, strict=True)
        )
        if found not in self.held and len(self.held) >= self._settings.most_series:
            found = tuple(OTHER for _ in values)
        for value, known in zip(found, self._values, strict=True):
            known.add(value)
        return found


def _fresh(tail: pa.Table, positions: Mapping[str, int]) -> pa.Table:
    """Leave out what is counted already, writer by writer: most of a log is."""
    ends = tail.group_by("writer").aggregate([("seq", "max")]).to_pydict()
    known = [(writer, positions[writer]) for writer in ends["writer"] if writer in positions]
    for writer, last in known:
        old = pc.and_(_is(tail.column("writer"), writer), pc.less_equal(tail.column("seq"), pa.scalar(last)))
        tail = tail.filter(pc.invert(old))
    return tail


def _is(column: pa.ChunkedArray, text: str) -> pa.ChunkedArray:
    return pc.is_in(column, pa.array([text]))  # to compare with a text would import pandas


def _cumulative(what: str, bounds: Sequence[float]) -> str:
    """Make the columns of one histogram: how many took no longer than each bound, all, and their sum."""
    micro = f"{what}_us" if what == "duration" else "first_token_us"
    counts = [
        f"count(*) FILTER ({micro} > 0 AND {micro} <= {round(bound * 1_000_000)}) AS {what}s_{number}"
        for number, bound in enumerate(bounds)
    ]
    return ", ".join(
        [*counts, f"count(*) FILTER ({micro} > 0) AS {what}s_all", f"sum({micro}) FILTER ({micro} > 0) AS {what}_sum"]
    )


def _added(kept: list[int], row: Mapping[str, Any], what: str) -> list[int]:
    names = [*(f"{what}s_{number}" for number in range(len(kept) - 1)), f"{what}s_all"]
    return [old + row[name] for old, name in zip(kept, names, strict=True)]


def _rows(engine: duckdb.DuckDBPyConnection, query: str) -> Iterator[dict[str, Any]]:
    for batch in engine.sql(query).to_arrow_reader(10_000):
        yield from batch.to_pylist()


def _listed(labels: Sequence[str]) -> str:
    return "".join(f'"{name}", ' for name in labels)


def _plus(sums: dict[str, int], name: str, count: Any) -> None:
    sums[name] = sums.get(name, 0) + int(count)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process or thread at a time count."""
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
