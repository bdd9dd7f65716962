"""What the business did, day by day, kept beside the events: tickets solved, dollars of revenue."""

import json
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

from msgspec import Struct

from penstock.errors import InputError
from penstock.ledger.state import State
from penstock.metering.event import utc_now


class Observation(Struct, frozen=True, kw_only=True):
    """A business metric of one day: tickets solved, dollars of revenue."""

    day: date
    metric: str
    value: Decimal
    group: dict[str, str]
    """Dimensions that it is of; empty: of everything."""


class Kept(Struct, frozen=True, kw_only=True):
    """What became of the observations of one call."""

    new: int
    replaced: int
    """There were others of the same day, metric and dimensions, with another value."""
    unchanged: int


class Summary(Struct, frozen=True, kw_only=True):
    """What is kept of one metric."""

    metric: str
    days: int
    first: date
    last: date
    rows: int
    total: Decimal
    dimensions: tuple[str, ...]


class MetricStore:
    """The metrics of one ledger. A day, metric and dimensions have one value: writing it again replaces it."""

    def __init__(self, state: State) -> None:
        self._state = state

    def put(self, observations: Sequence[Observation]) -> Kept:
        """Keep all of them, or none. Raises InputError, with the number of the row from 1, where one cannot be."""
        new = replaced = 0
        now = utc_now().isoformat()
        with self._state.transaction() as write:
            known = {
                metric: set(json.loads(dimensions))
                for metric, dimensions in write.execute(
                    "SELECT metric, min(dimensions) FROM business_metrics GROUP BY metric"
                )
            }
            for number, one in enumerate(observations, 1):
                mine = known.setdefault(one.metric, set(one.group))
                if mine != set(one.group):
                    raise InputError(
                        f"row {number}: {one.metric} is kept {_by(mine)}, and this is {_by(one.group)}: added up they "
                        f"would count twice. Give it another name, or first: penstock metrics remove {one.metric}"
                    )
                key = (one.metric, one.day.isoformat(), _text(one.group))
                before = write.execute(
                    "SELECT value FROM business_metrics WHERE metric = ? AND day = ? AND dimensions = ?", key
                ).fetchone()
                if before is not None and Decimal(before[0]) == one.value:
                    continue
                new, replaced = new + (before is None), replaced + (before is not None)
                write.execute(
                    "INSERT OR REPLACE INTO business_metrics (metric, day, dimensions, value, recorded) "
                    "VALUES (?, ?, ?, ?, ?)", (*key, format(one.value, "f"), now),
                )  # fmt: skip
        return Kept(new=new, replaced=replaced, unchanged=len(observations) - new - replaced)

    def all(
        self,
        *,
        metric: str = "",
        since: date | None = None,
        until: date | None = None,
        limit: int = -1,
        first: int = 0,
    ) -> list[Observation]:
        """Return what is kept, by day; the first and the last day are included."""
        rows = self._state.read(
            "SELECT day, metric, value, dimensions FROM business_metrics WHERE (? = '' OR metric = ?) "
            "AND day >= ? AND day <= ? ORDER BY day, metric, dimensions LIMIT ? OFFSET ?",
            metric, metric, str(since or date.min), str(until or date.max), limit, first,
        )  # fmt: skip
        return [
            Observation(day=date.fromisoformat(day), metric=name, value=Decimal(value), group=json.loads(dimensions))
            for day, name, value, dimensions in rows
        ]

    def summaries(self) -> list[Summary]:
        """Say what there is, by metric."""
        found: dict[str, list[Observation]] = {}
        for one in self.all():
            found.setdefault(one.metric, []).append(one)
        return [
            Summary(
                metric=metric, days=len({one.day for one in some}), first=some[0].day, last=some[-1].day,
                rows=len(some), total=sum((one.value for one in some), Decimal(0)), dimensions=tuple(some[0].group),
            )
            for metric, some in sorted(found.items())
        ]  # fmt: skip

    def remove(self, metric: str) -> int:
        """Forget a metric; return how many rows that were. Raises InputError where there is none."""
        with self._state.transaction() as write:
            gone = write.execute("DELETE FROM business_metrics WHERE metric = ?", (metric,)).rowcount
        if not gone:
            names = ", ".join(one.metric for one in self.summaries()) or "none at all"
            raise InputError(f"There is no metric {metric!r} to remove: there is {names}")
        return gone


def together(kept: Sequence[Observation], of_file: Iterable[Observation]) -> list[Observation]:
    """Return what is kept, and the metrics of a file that are not kept."""
    names = {one.metric for one in kept}
    return [*kept, *(one for one in of_file if one.metric not in names)]


def _text(group: dict[str, str]) -> str:
    return json.dumps(group, sort_keys=True, ensure_ascii=False)


def _by(names: Iterable[str]) -> str:
    return "by " + ", ".join(sorted(names)) if names else "of everything"
