"""The ledger as of one instant: what questions about sums are put to. Sums come from rollups wherever these will do."""
# ruff: noqa: S608  # names of columns and quoted paths; values are bound

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from penstock.ledger.engine import Relation, between
from penstock.ledger.manifest import Part
from penstock.ledger.measures import BASIC, MEASURES, OPEN, columns_of
from penstock.ledger.parts import ROW_GROUP
from penstock.ledger.repriced import COLUMNS as OF_REPRICED
from penstock.ledger.repriced import ITSELF, NEWEST, PRICED_BY, Repriced
from penstock.ledger.rollups import CORRECTIONS, CUBES, UNPRICED, Cube, Pick
from penstock.ledger.settled import COLUMNS as OF_SETTLED
from penstock.ledger.settled import Settled, holding, picked
from penstock.ledger.snapshot import Snapshot, within
from penstock.ledger.sums import Sums

if TYPE_CHECKING:
    import ibis

    from penstock.ledger.views import Views

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
OPENING = 10_000
"""To open one more file costs as much as to read so many rows."""
CELL = pa.schema(
    [("provider", pa.string()), ("model", pa.string()), ("day", pa.timestamp("us")), ("source", pa.string())]
)
"""What a source holds of a model on a day of UTC."""
CELL_OF = ("provider", "model", "source")
"""Columns of an event that name its cell, beside its day."""


class _Plan(Struct, frozen=True):
    """How a question is answered: from a cube's whole buckets, from the events at the edges, and from events."""

    cube: Cube | None
    since: datetime | None
    until: datetime | None
    """Bounds of the whole buckets."""
    summed: list[Part]
    edges: list[Part]
    events: list[Part]
    rows: int
    """That must be read, or so."""


class Moment:
    """Parts, logs and rollups, each event once; later bookings do not show."""

    def __init__(
        self,
        snapshot: Snapshot,
        sums: Sums,
        *,
        settled: Settled,
        repriced: Repriced,
        cursor: Callable[[], duckdb.DuckDBPyConnection],
        views: "Callable[[], Views]",
        gone: pa.Table | None = None,
    ) -> None:
        self._snapshot, self._sums = snapshot, sums
        self._settled, self._repriced = settled, repriced
        self._cursor, self._views, self._gone = cursor, views, gone

    def without(self, cells: Iterable[tuple[str, str, date, str]]) -> "Moment":
        """Return this moment less what some sources hold: provider, model, day (UTC) and source of each cell.

        Corrections have a source of their own, and stay.
        """
        rows = [
            {"provider": provider, "model": model, "day": datetime.combine(day, time()), "source": source}
            for provider, model, day, source in cells
        ]
        gone = pa.Table.from_pylist(rows, CELL)
        return Moment(
            self._snapshot, self._sums, settled=self._settled, repriced=self._repriced, cursor=self._cursor,
            views=self._views, gone=gone,
        )  # fmt: skip

    def table(self, *, since: datetime | None = None, until: datetime | None = None) -> "ibis.Table":
        """Return the events; with times, parts that lie outside are not even opened."""
        events = self._views().make(within(self._snapshot.parts, since, until), self._snapshot.tail)
        if self._gone is None:
            return events
        import ibis  # noqa: PLC0415  # the views have loaded it already

        gone = ibis.memtable(self._gone)
        dated = events.mutate(day=events["at"].truncate("D"))
        return dated.anti_join(gone, CELL.names).drop("day")

    def span(self) -> tuple[datetime, datetime] | None:
        """Return the first and the last `at` of all."""
        tail = pc.min_max(self._snapshot.tail.column("at")).as_py()
        times = [at for part in self._snapshot.parts for at in (part.first, part.last)]
        times += [at.replace(tzinfo=UTC) for at in tail.values() if at]
        return (min(times), max(times)) if times else None

    def sources(self, *, since: datetime | None = None, until: datetime | None = None) -> frozenset[str]:
        """Return which sources the events of a time may have; without looking at one of them."""
        parts = (part.sources for part in within(self._snapshot.parts, since, until))
        return frozenset(pc.unique(self._snapshot.tail.column("source")).to_pylist()).union(*parts)

    @staticmethod
    def has_sums(columns: Iterable[str]) -> bool:
        """Whether rollups know these dimensions together."""
        wanted = set(columns)
        return any(wanted <= set(cube.by) for cube in CUBES)

    def select(
        self,
        query: str,
        values: Sequence[Any] = (),
        *,
        columns: Iterable[str],
        since: datetime | None = None,
        until: datetime | None = None,
        only: Pick | None = None,
        among: Callable[[Part], bool] = lambda _part: True,
        **tables: pa.Table,
    ) -> pa.Table:
        """Answer a query over the relation `events`, as Arrow: `at` and these columns, a row an event or correction.

        They are those that began in [since, until), as they were booked; what was left out takes its corrections along.
        With `only`, they are just those that such a pick holds. `among` tells which parts may hold what is asked for.
        The query may speak of other `tables` too.
        """
        needed = columns if self._gone is None else (*columns, "id", "corrects")
        facts = _Facts(self._needed(needed), (), since=since, until=until, only=only, among=among)
        parts = facts.parts(self._snapshot.parts)
        try:
            if only is None:
                source = self._events(facts, parts, self._snapshot.tail)
            else:
                relation, source = picked(
                    self._cursor(), self._sums, only, facts.columns, Snapshot(parts, self._snapshot.tail)
                )
                facts.hold(relation)
            made = f"SELECT * FROM ({source}) WHERE {facts.condition}"
            if self._gone is not None:
                out, kept = (self._of_cells(made, self._gone, facts, how) for how in ("SEMI", "ANTI"))
                made = f"SELECT * FROM ({kept}) WHERE corrects NOT IN (SELECT id FROM ({out}))"
            named = "".join(f", {name} AS ({facts.hold(self._table(table))})" for name, table in tables.items())
            return self._cursor().sql(f"WITH events AS ({made}){named} {query}", params=list(values)).to_arrow_table()
        finally:
            facts.release()

    def ask(
        self,
        query: str,
        values: Sequence[Any] = (),
        *,
        columns: Iterable[str],
        measures: Iterable[str] = BASIC,
        since: datetime | None = None,
        until: datetime | None = None,
        fits: Callable[[int], bool] = lambda _minutes: True,
        only: Pick | None = None,
        among: Callable[[Part], bool] = lambda _part: True,
        repriced: bool = False,
    ) -> pa.Table:
        """Answer a query over the relation `facts`, as Arrow.

        `facts` are rows of these columns of the ledger, `at` and `measures` that sum up to what all events in
        [since, until) do. A row is an event, or what all events of a bucket of time have in common; then `at` is the
        begin of the bucket. `fits` says whether buckets of so many minutes will do. An unpriced event that was given
        a price since counts as one, and as minus one.
        With `only`, just the events are facts that such a pick holds. `among` tells which parts may hold what the query
        looks for. With `repriced`, a corrected event and whatever
        corrects it have the price state, book and row of the newest correction; of a group that it leaves, the
        measure `rows` is 0.
        """
        facts = _Facts(self._needed(columns), tuple(measures), since=since, until=until, only=only, among=among)
        try:
            selects = self._priced_anew(facts, fits) if repriced else self._as_booked(facts, fits)
            made = " UNION ALL ".join(selects)
            if self._gone is not None:
                made = self._of_cells(made, self._gone, facts, "ANTI")
            return self._cursor().sql(f"WITH facts AS ({made}) {query}", params=list(values)).to_arrow_table()
        finally:
            facts.release()

    def _of_cells(self, made: str, gone: pa.Table, facts: "_Facts", how: Literal["ANTI", "SEMI"]) -> str:
        """Leave out the cells that are gone, or keep those; a bucket or event lies in one, with what takes it back."""
        known = facts.hold(self._table(gone))
        same = " AND ".join(f'facts."{name}" = gone."{name}"' for name in CELL_OF)
        cells = f"({known}) AS gone ON {same} AND date_trunc('day', facts.\"at\") = gone.day"
        return f"SELECT facts.* FROM ({made}) AS facts {how} JOIN {cells}"

    def _as_booked(self, facts: "_Facts", fits: Callable[[int], bool]) -> list[str]:
        """Select what sums and events say, and what events that are no longer unpriced take back."""
        selects = self._booked(facts, fits)
        if any(MEASURES[name].settled.startswith("-") for name in facts.measures):
            selects += self._taken_back(facts)
        return selects

    def _booked(self, facts: "_Facts", fits: Callable[[int], bool]) -> list[str]:
        tail = self._snapshot.tail
        parts = facts.parts(self._snapshot.parts)
        if facts.only is not None:
            relation, source = picked(self._cursor(), self._sums, facts.only, facts.columns, Snapshot(parts, tail))
            facts.hold(relation)
            return [facts.select(source)]
        fitting = [
            cube for cube in CUBES
            if set(facts.names) <= set(cube.by) and set(facts.measures) <= set(cube.measures) and fits(cube.minutes)
        ]  # fmt: skip
        bounds = facts.since, facts.until
        plan = min((self._plan(cube, parts, *bounds) for cube in (*fitting, None)), key=lambda plan: plan.rows)
        selects = []
        if plan.cube is not None and (summed := self._summed(plan.cube, plan)):
            measures = ", ".join(f'"{name}"' for name in facts.measures)
            selects.append(f'SELECT {facts.listed}bucket AS "at", {measures} FROM {summed}')
        if plan.edges:
            outside = " OR ".join(
                f"({between(*some)})"
                for some in ((facts.since, plan.since), (plan.until, facts.until))
                if some[0] != some[1]
            )
            selects.append(f"{facts.select(self._events(facts, plan.edges))} AND ({outside})")
        if plan.events or tail.num_rows or not selects:
            selects.append(facts.select(self._events(facts, plan.events, tail)))
        return selects

    def _taken_back(self, facts: "_Facts") -> list[str]:
        """Select what events that are no longer unpriced take back."""
        settled = self._settled.find(self._cursor(), self._snapshot, self._sums)
        if not settled.num_rows:
            return []
        known = self._table(settled)
        source = facts.hold(known)
        if not {*facts.names, *(facts.only.of if facts.only else ())} <= set(OF_SETTLED):
            wanted = tuple(dict.fromkeys((*facts.columns, *OF_SETTLED, *UNPRICED.of)))
            parts = within(self._snapshot.parts, facts.since, facts.until)
            some = Snapshot(parts, self._snapshot.tail)
            relation, whole = picked(self._cursor(), self._sums, UNPRICED, wanted, some)
            facts.hold(relation)
            source = f"SELECT * FROM ({whole}) WHERE {OPEN} AND id IN (SELECT id FROM ({known.sql}))"
        taken_back = ", ".join(f'{MEASURES[name].settled} AS "{name}"' for name in facts.measures)
        return [facts.select(source, taken_back)]

    def _priced_anew(self, facts: "_Facts", fits: Callable[[int], bool]) -> list[str]:
        """Select the same, less what is priced by another row now, and that once more with its new price."""
        moved = self._repriced.find(self._cursor(), self._snapshot, self._sums)
        if moved is None or not {*facts.columns} <= set(OF_REPRICED):
            return [facts.select(self._with_newest(facts))]
        selects = self._booked(facts, fits)
        if moved.num_rows:
            source = facts.hold(self._table(moved))
            less = ", ".join(
                f'{MEASURES[name].what if MEASURES[name].how != "sum" else f"-({MEASURES[name].what})"} AS "{name}"'
                for name in facts.measures
            )
            anew = ", ".join(f"new_{name} AS {name}" for name in PRICED_BY)
            selects += [
                facts.select(source, less),
                facts.select(f"SELECT * REPLACE ({anew}) FROM ({source})"),
            ]
        return selects

    def _with_newest(self, facts: "_Facts") -> str:
        """Return every event with the price that holds for it now, as SQL: for those that nothing is known of."""
        wanted = tuple(dict.fromkeys((*facts.columns, *PRICED_BY, "id", "corrects")))
        parts, tail = self._snapshot.parts, self._snapshot.tail
        relation, corrections = picked(
            self._cursor(), self._sums, CORRECTIONS, ("corrects", "recorded_at", *PRICED_BY),
            Snapshot(holding(parts, CORRECTIONS, self._sums), tail),
        )  # fmt: skip
        facts.hold(relation)
        events = Relation(
            self._cursor(), self._sums.folder, within(parts, facts.since, facts.until), tail, columns=wanted
        )
        newest = ", ".join(f"coalesce(new_{name}, {name}) AS {name}" for name in PRICED_BY)
        return (
            f"WITH corrections AS ({corrections}), newest AS ({NEWEST}) SELECT events.* REPLACE ({newest}) "
            f"FROM ({facts.hold(events)}) AS events LEFT JOIN newest ON corrected = {ITSELF}"
        )

    def _needed(self, columns: Iterable[str]) -> tuple[str, ...]:
        """Add the columns that tell what is left out."""
        return tuple(dict.fromkeys((*columns, *(() if self._gone is None else CELL_OF))))

    def _table(self, table: pa.Table) -> Relation:
        """Let a query speak of a table in memory."""
        return Relation(
            self._cursor(), self._sums.folder, [], table, columns=table.column_names, schema=table.schema
        )  # fmt: skip

    def _events(self, facts: "_Facts", parts: Sequence[Part], tail: pa.Table | None = None) -> str:
        return facts.hold(Relation(self._cursor(), self._sums.folder, parts, tail, columns=facts.columns))

    def _plan(self, cube: Cube | None, parts: Sequence[Part], since: datetime | None, until: datetime | None) -> _Plan:
        everything = _Plan(None, None, None, [], [], list(parts), sum(part.rows + OPENING for part in parts))
        if cube is None:
            return everything
        begin, end = since and _next(since, cube.minutes), until and _last(until, cube.minutes)
        if begin and end and begin >= end:
            return everything
        plan = _Plan(cube, begin, end, [], [], [], 0)
        rows = 0
        for part in parts:
            rollup = self._sums.of(part, cube.kind)
            if rollup is None:
                plan.events.append(part)
                rows += part.rows + OPENING
                continue
            plan.summed.append(part)
            rows += rollup.rows
            # Where a bound is the begin of a bucket, what lies beyond it is not asked for.
            if (begin and begin != since and part.first < begin) or (end and end != until and part.last >= end):
                plan.edges.append(part)
                rows += min(part.rows, ROW_GROUP) + OPENING
        return _Plan(cube, begin, end, plan.summed, plan.edges, plan.events, rows)

    def _summed(self, cube: Cube, plan: _Plan) -> str:
        """Return a source of sums: the whole buckets within the bounds."""
        asked = {part.path for part in plan.summed}
        others = [part for part in self._snapshot.parts if part.path not in asked]
        outside = [part for part in others if not _within(part, plan.since, plan.until)]
        files, condition = self._sums.source(cube.kind, plan.summed, outside)
        bounds = between(plan.since, plan.until).replace('"at"', "bucket")
        return f"{files} WHERE {bounds} AND {condition}" if files else ""


class _Facts:
    """What facts are asked for, and what was registered with the engine for that."""

    def __init__(
        self,
        names: tuple[str, ...],
        measures: tuple[str, ...],
        *,
        since: datetime | None,
        until: datetime | None,
        only: Pick | None,
        among: Callable[[Part], bool],
    ) -> None:
        self.names, self.measures, self.since, self.until, self.only = names, measures, since, until, only
        self._among = among
        self.columns = tuple(dict.fromkeys((*names, "at", *columns_of(measures), *(only.of if only else ()))))
        """Columns of an event that speak of all this."""
        self.listed = "".join(f'"{name}", ' for name in names)
        self.condition = f"{between(since, until)} AND {only.condition if only else 'true'}"
        self._relations: list[Relation] = []

    def parts(self, parts: Iterable[Part]) -> list[Part]:
        """Keep the parts that are asked for."""
        return [part for part in within(parts, self.since, self.until) if self._among(part)]

    def hold(self, relation: Relation) -> str:
        """Keep a relation until the question is answered; return its SQL."""
        self._relations.append(relation)
        return relation.sql

    def release(self) -> None:
        """Let go of all of them."""
        for relation in self._relations:
            relation.release()

    def select(self, events: str, said: str = "") -> str:
        """Return what events of the time say, as SQL."""
        said = said or ", ".join(f'{MEASURES[name].what} AS "{name}"' for name in self.measures)
        return f'SELECT {self.listed}"at", {said} FROM ({events}) WHERE {self.condition}'


def _within(part: Part, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or part.last >= since) and (until is None or part.first < until)


def _last(at: datetime, minutes: int) -> datetime:
    """Return the begin of the bucket that holds an instant."""
    return at - (at - EPOCH) % timedelta(minutes=minutes)


def _next(at: datetime, minutes: int) -> datetime:
    """Return the begin of the first bucket that holds nothing from before an instant."""
    return at if is_aligned(at, minutes) else _last(at, minutes) + timedelta(minutes=minutes)


def is_aligned(at: datetime, minutes: int) -> bool:
    """Whether a bucket of so many minutes begins at this instant."""
    return not (at - EPOCH) % timedelta(minutes=minutes)
