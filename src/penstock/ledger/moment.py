"""The ledger as of one instant: what questions about sums are put to. Sums come from rollups wherever these will do."""
# ruff: noqa: S608  # names of columns and quoted paths

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from penstock.ledger.columns import MONEY, SCHEMA
from penstock.ledger.engine import Relation, between, quoted
from penstock.ledger.manifest import Part, Rollup
from penstock.ledger.rollups import (
    CUBES,
    MEASURES,
    OPEN,
    SETTLES,
    SETTLING,
    UNPRICED,
    Cube,
    Pick,
    rollup_files,
    rollup_path,
)
from penstock.ledger.snapshot import Snapshot, within
from penstock.ledger.views import Views

if TYPE_CHECKING:
    import ibis

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_KINDS = {"first": pa.timestamp("us"), "last": pa.timestamp("us"), "cost": MONEY, "newest_price": pa.string()}
_SETTLED = {
    "first": '"at"',
    "last": '"at"',
    "cost": "NULL::DECIMAL(38,18)",
    "newest_price": "NULL::VARCHAR",
    "unpriced_events": "-1::BIGINT",
    "unpriced_input_tokens": "-input_tokens",
    "unpriced_output_tokens": "-output_tokens",
}
"""What an event that is no longer unpriced takes back; of all other measures nothing."""


class _Plan(Struct, frozen=True):
    """How a question is answered: from a cube's files, from those within bounds, and from events."""

    cube: Cube | None
    whole: list[Part]
    cut: list[Part]
    events: list[Part]
    rows: int
    """That must be read."""


class Moment:
    """Parts, logs and rollups, each event once; later bookings do not show."""

    def __init__(
        self, folder: Path, snapshot: Snapshot, rollups: dict[str, dict[str, Rollup]], views: Callable[[], Views]
    ) -> None:
        self._folder, self._snapshot, self._rollups, self._views = folder, snapshot, rollups, views
        self._there: dict[str, frozenset[str]] = {}

    def table(self, *, since: datetime | None = None, until: datetime | None = None) -> "ibis.Table":
        """Return the events; with times, parts that lie outside are not even opened."""
        return self._views().make(within(self._snapshot.parts, since, until), self._snapshot.tail)

    def span(self) -> tuple[datetime, datetime] | None:
        """Return the first and the last `at` of all."""
        tail = pc.min_max(self._snapshot.tail.column("at")).as_py()
        times = [at for part in self._snapshot.parts for at in (part.first, part.last)]
        times += [at.replace(tzinfo=UTC) for at in tail.values() if at]
        return (min(times), max(times)) if times else None

    def facts(
        self,
        columns: Iterable[str],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        fits: Callable[[int], bool] = lambda _minutes: True,
    ) -> "ibis.Table":
        """Return rows of these columns of the ledger, `at` and `MEASURES` that sum up to what all events in it do.

        A row is an event, or what all events of a bucket of time have in common; then `at` is the begin of the bucket.
        `fits` says whether buckets of so many minutes will do. An unpriced event that was given a price since
        counts as one, and as minus one. `price_state` is what was booked.
        """
        names = tuple(dict.fromkeys(columns))
        parts = within(self._snapshot.parts, since, until)
        fitting = [cube for cube in CUBES if set(names) <= set(cube.by) and fits(cube.minutes)]
        plan = min((self._plan(cube, parts, since, until) for cube in (*fitting, None)), key=lambda plan: plan.rows)
        views = self._views()
        tail = self._snapshot.tail
        events = Relation(views.cursor, self._folder, plan.events, tail, name=views.name("events"))
        unpriced, unpriced_sql = self._picked(UNPRICED, parts, views)
        settling, settling_sql = self._picked(SETTLING, parts, views)
        listed = "".join(f'"{name}", ' for name in names)
        inside = between(since, until)
        said = ", ".join(f"{what} AS {name}" for name, (what, _how) in MEASURES.items())
        selects = [f'SELECT {listed}"at", {said} FROM ({events.sql}) WHERE {inside}']
        if plan.cube is not None and (summed := self._summed(plan.cube, plan, since, until)):
            selects.append(f'SELECT {listed}bucket AS "at", {", ".join(MEASURES)} FROM {summed}')
        taken_back = ", ".join(f"{_SETTLED.get(name, '0::BIGINT')} AS {name}" for name in MEASURES)
        if not self._may_settle(parts):
            return self._shown(names, selects, (events, unpriced, settling), views)
        selects.append(
            f'SELECT {listed}"at", {taken_back} FROM ({unpriced_sql}) '
            f"WHERE {inside} AND {OPEN} AND id IN (SELECT corrects FROM ({settling_sql}) WHERE {SETTLES})"
        )
        return self._shown(names, selects, (events, unpriced, settling), views)

    def _may_settle(self, parts: Sequence[Part]) -> bool:
        """Whether there is a correction at all that gives an event its price."""
        rollups = [self._rollup(part, SETTLING.kind) for part in parts]
        return any(rollup is None or rollup.rows for rollup in rollups) or bool(
            pc.any(pc.not_equal(self._snapshot.tail.column("corrects"), "")).as_py()
        )

    @staticmethod
    def _shown(
        names: Sequence[str], selects: Sequence[str], relations: Sequence[Relation], views: Views
    ) -> "ibis.Table":
        schema = pa.schema(
            [*(SCHEMA.field(name) for name in names), SCHEMA.field("at")]
            + [pa.field(name, _KINDS.get(name, pa.int64())) for name in MEASURES]
        )
        return views.show(" UNION ALL ".join(selects), schema, relations)

    def _plan(self, cube: Cube | None, parts: Sequence[Part], since: datetime | None, until: datetime | None) -> _Plan:
        if cube is None:
            return _Plan(None, [], [], list(parts), sum(part.rows for part in parts))
        aligned = all(at is None or is_aligned(at, cube.minutes) for at in (since, until))
        plan = _Plan(cube, [], [], [], 0)
        rows = 0
        for part in parts:
            rollup = self._rollup(part, cube.kind)
            is_whole = (since is None or part.first >= since) and (until is None or part.last < until)
            if rollup is None or not (is_whole or aligned):
                plan.events.append(part)
                rows += part.rows
            else:
                (plan.whole if is_whole else plan.cut).append(part)
                rows += rollup.rows
        return _Plan(cube, plan.whole, plan.cut, plan.events, rows)

    def _rollup(self, part: Part, kind: str) -> Rollup | None:
        """Return the rollup of a part, if there is one, and if nobody has deleted its file."""
        found = self._rollups.get(part.path, {}).get(kind)
        if found is None or found.rows < 0 or (found.file and found.file not in self._files(kind)):
            return None
        return found

    def _files(self, kind: str) -> frozenset[str]:
        if kind not in self._there:
            self._there[kind] = rollup_files(self._folder, kind)
        return self._there[kind]

    def _of(self, kind: str, parts: Iterable[Part]) -> tuple[str, str]:
        """Return SQL: files with the rollups of these parts, and the condition that a row is of one of them."""
        rollups = [self._rollups[part.path][kind] for part in parts]
        files = sorted({one.file for one in rollups} - {""})
        paths = ", ".join(quoted(str(self._folder / rollup_path(kind, file))) for file in files)
        numbers = ", ".join(str(one.number) for one in rollups if one.file) or "NULL"
        return f"read_parquet([{paths}], hive_partitioning = false)" if files else "", f"number IN ({numbers})"

    def _summed(self, cube: Cube, plan: _Plan, since: datetime | None, until: datetime | None) -> str:
        """Return a source of sums: all of the whole parts, and of the cut ones those within bounds."""
        files, _ = self._of(cube.kind, [*plan.whole, *plan.cut])
        if not files:
            return ""
        bounds = between(since, until).replace('"at"', "bucket")
        _, of_whole = self._of(cube.kind, plan.whole)
        _, of_cut = self._of(cube.kind, plan.cut)
        # The first condition says nothing new: it lets whole groups of rows be passed over.
        near = between(since and since - timedelta(minutes=cube.minutes), until).replace('"at"', "bucket")
        return f"{files} WHERE {near} AND ({of_whole} OR ({of_cut} AND {bounds}))"

    def _picked(self, pick: Pick, parts: Sequence[Part], views: Views) -> tuple[Relation, str]:
        """Return the picked events; of parts without a pick, and of the tail, all events."""
        picked = [part for part in parts if self._rollup(part, pick.kind) is not None]
        others = [part for part in parts if self._rollup(part, pick.kind) is None]
        relation = Relation(views.cursor, self._folder, others, self._snapshot.tail, name=views.name(pick.name))
        files, condition = self._of(pick.kind, picked)
        more = f" UNION ALL SELECT * EXCLUDE number FROM {files} WHERE {condition}" if files else ""
        return relation, relation.sql + more


def is_aligned(at: datetime, minutes: int) -> bool:
    """Whether a bucket of so many minutes begins at this instant."""
    return not (at - EPOCH) % timedelta(minutes=minutes)
