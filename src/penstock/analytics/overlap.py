"""Spend where several sources recorded the same traffic: each provider, model and day counts once (decision 45)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Struct

from penstock.analytics.question import chosen, table_of, trimmed
from penstock.analytics.spend import Spend, spend
from penstock.errors import InputError
from penstock.ledger.importers.precedence import KINDS, rank
from penstock.ledger.moment import Moment
from penstock.ledger.repricing import SOURCE as CORRECTIONS

CELL = ("provider", "model", "day")
"""Where sources meet. A day is one of UTC, as in the reports of providers."""


class Cell(Struct, frozen=True, kw_only=True):
    """What several sources hold of one model on one day."""

    provider: str
    model: str
    day: str
    counted: tuple[str, ...]
    """The sources of the best rank; more than one where they are of one level."""
    left_out: tuple[str, ...]


class LeftOut(Struct, frozen=True, kw_only=True):
    """What a source holds that another one counts for. Dollars; `cost` is without the unpriced events."""

    source: str
    instead: tuple[str, ...]
    events: int
    input_tokens: int
    output_tokens: int
    cost: Decimal
    provider_cost: Decimal | None
    """What the source says was charged for these, where it says so."""
    counted_cost: Decimal
    """What counts for the same models and days."""
    counted_tokens: int
    models: int
    days: int


class Twice(Struct, frozen=True, kw_only=True):
    """Sources of one level that hold the same model on the same days: other calls, or the same ones twice."""

    sources: tuple[str, ...]
    models: tuple[str, ...]
    days: int


class Counted(Struct, frozen=True, kw_only=True):
    """What was spent, and what is not in it."""

    spend: Spend
    left_out: tuple[LeftOut, ...] = ()
    twice: tuple[Twice, ...] = ()


class Once:
    """A moment whose traffic counts once, by its best source: what every question about sums is put to.

    Who asks for one source gets that one. Where no two sources meet, rollups answer as ever; where they do, those will
    do that know sources, unless a correction is among what meets.
    """

    def __init__(self, moment: Moment, order: Sequence[str] = ()) -> None:
        """`order` names sources that come first."""
        self.moment, self.order = moment, tuple(order)
        self._known: dict[tuple[datetime | None, datetime | None], tuple[list[Cell], bool]] = {}

    def cells(self, since: datetime | None, until: datetime | None) -> tuple[list[Cell], bool]:
        """Return every model and day that sources share, and whether something corrects what does not count there."""
        period = _days(since, until)
        if period not in self._known:
            self._known[period] = _cells(self.moment, *period, self.order)
        return self._known[period]

    def chosen(self, *, since: datetime | None, until: datetime | None, where: Sequence[tuple[str, str]] = ()) -> Any:
        """Return the moment, less what does not count; where corrections go with that, a table of the events."""
        if any(name == "source" for name, _value in where):
            return self.moment
        cells, is_corrected = self.cells(since, until)
        contested = [cell for cell in cells if cell.left_out]
        if not contested:
            return self.moment
        if is_corrected:
            table = within(self.moment.table(since=since, until=until), since, until)
            return _without(table, _left_out(table, contested))
        return self._less(contested)

    def selecting(
        self, *, since: datetime | None, until: datetime | None, where: Sequence[tuple[str, str]] = ()
    ) -> Moment:
        """Return the moment for questions by `Moment.select`: less what does not count, and the corrections of that."""
        if any(name == "source" for name, _value in where):
            return self.moment
        contested = [cell for cell in self.cells(since, until)[0] if cell.left_out]
        return self._less(contested) if contested else self.moment

    def _less(self, contested: Iterable[Cell]) -> Moment:
        return self.moment.without(
            (cell.provider, cell.model, date.fromisoformat(cell.day), source)
            for cell in contested
            for source in cell.left_out
        )


def counting(moment: Moment, sources: str = "best") -> Moment | Once:
    """Return what questions are put to: `best`, `all` (everything adds up), or sources in order of precedence."""
    names = tuple(name.strip() for name in sources.split(",") if name.strip())
    if names == ("all",):
        return moment
    for name in names:
        if name != "best" and name not in KINDS:
            raise InputError(f"sources: there is no source {name!r}: use best, all, or of {', '.join(KINDS)}")
    return Once(moment, tuple(name for name in names if name != "best"))


def counted(
    source: Moment | Once,
    *,
    by: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    time_zone: str = "UTC",
    where: Sequence[tuple[str, str]] = (),
) -> Counted:
    """Sum up as `spend` does, and say what is left out."""
    found = spend(source, by=by, since=since, until=until, time_zone=time_zone, where=where)
    if isinstance(source, Moment) or any(name == "source" for name, _value in where):
        return Counted(spend=found)
    cells, _is_corrected = source.cells(since, until)
    contested = [cell for cell in cells if cell.left_out]
    left_out: tuple[LeftOut, ...] = ()
    if contested:
        out = _left_out(within(source.moment.table(since=since, until=until), since, until), contested)
        left_out = _summed(source.moment, out, contested, since, until)
    return Counted(spend=found, left_out=left_out, twice=_twice(cells))


def counted_events(source: Moment | Once, *, since: datetime | None = None, until: datetime | None = None) -> Any:
    """Return the events that began in [since, until) and count, as an Ibis table."""
    table = table_of(chosen(source, since=since, until=until), since=since, until=until)
    return within(table, since, until)


def within(table: Any, since: datetime | None, until: datetime | None) -> Any:
    """Keep the events that began in [since, until)."""
    if since is not None:
        table = table.filter(table.at >= since.astimezone(UTC).replace(tzinfo=None))
    if until is not None:
        table = table.filter(table.at < until.astimezone(UTC).replace(tzinfo=None))
    return table


def overlaps(
    moment: Moment, *, since: datetime | None = None, until: datetime | None = None, order: Sequence[str] = ()
) -> list[Cell]:
    """Return every model and day of which more than one source holds something."""
    return Once(moment, order).cells(since, until)[0]


def _days(since: datetime | None, until: datetime | None) -> tuple[datetime | None, datetime | None]:
    """Return bounds of whole days (UTC): the source of a day does not depend on the hour from which one looks."""
    begin = since and _midnight(since)
    end = until and _midnight(until + timedelta(days=1, microseconds=-1))
    return begin, end


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _cells(
    moment: Moment, begin: datetime | None, end: datetime | None, order: Sequence[str]
) -> tuple[list[Cell], bool]:
    if len(moment.sources(since=begin, until=end) - {CORRECTIONS}) < 2:
        return [], False
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    corrected: set[tuple[str, ...]] = set()
    for row in spend(moment, by=(*CELL, "source"), since=begin, until=end).rows:
        key = tuple(row.group[name] for name in CELL)
        if row.group["source"] == CORRECTIONS:
            corrected.add(key)
        else:
            found[key].append(row.group["source"])
    cells, is_corrected = [], False
    for (provider, model, day), here in sorted(found.items()):
        if len(here) > 1:
            best = min(rank(source, order) for source in here)
            first = tuple(sorted(source for source in here if rank(source, order) == best))
            rest = tuple(sorted(set(here) - set(first)))
            cells.append(Cell(provider=provider, model=model, day=day, counted=first, left_out=rest))
            is_corrected = is_corrected or (bool(rest) and (provider, model, day) in corrected)
    return cells, is_corrected


def _without(table: Any, out: Any) -> Any:
    """Drop events, and the corrections of them."""
    gone = out.select(gone=out.id).gone
    return table.filter(~table.id.isin(gone), ~table.corrects.isin(gone))


def _left_out(table: Any, cells: Iterable[Cell]) -> Any:
    """Return the events that do not count."""
    import ibis  # noqa: PLC0415  # takes half a second: only who has such events waits for it

    rows = [
        {"c_provider": cell.provider, "c_model": cell.model, "c_day": datetime.fromisoformat(cell.day),
         "c_source": source, "instead": "\x1f".join(cell.counted)}
        for cell in cells
        for source in cell.left_out
    ]  # fmt: skip
    kinds = {
        "c_provider": "string",
        "c_model": "string",
        "c_day": "timestamp",
        "c_source": "string",
        "instead": "string",
    }
    known = ibis.memtable(rows, schema=kinds)
    dated = table.mutate(day=table.at.truncate("D"))
    return dated.inner_join(
        known,
        [dated.provider == known.c_provider, dated.model == known.c_model, dated.day == known.c_day,
         dated.source == known.c_source],
    )  # fmt: skip


def _summed(
    moment: Moment, out: Any, cells: Sequence[Cell], since: datetime | None, until: datetime | None
) -> tuple[LeftOut, ...]:
    """Sum up what was left out, by source and by what counts instead."""
    sums = out.group_by(["source", "instead"]).aggregate(
        events=out.count(), input_tokens=out.input_tokens.sum(), output_tokens=out.output_tokens.sum(),
        cost=out.cost.sum(), provider_cost=out.provider_cost.sum(),
    )  # fmt: skip
    counts: dict[tuple[str, ...], Any] = {
        (*(row.group[name] for name in CELL), row.group["source"]): row
        for row in spend(moment, by=(*CELL, "source"), since=since, until=until).rows
    }
    found = []
    for row in sums.to_pyarrow().to_pylist():
        instead = tuple(row["instead"].split("\x1f"))
        mine = [cell for cell in cells if cell.counted == instead and row["source"] in cell.left_out]
        theirs = [
            one
            for cell in mine
            for source in instead
            if (one := counts.get((cell.provider, cell.model, cell.day, source)))
        ]
        found.append(
            LeftOut(
                source=row["source"], instead=instead, events=int(row["events"]),
                input_tokens=int(row["input_tokens"]), output_tokens=int(row["output_tokens"]),
                cost=trimmed(row["cost"] or Decimal(0)),
                provider_cost=None if row["provider_cost"] is None else trimmed(row["provider_cost"]),
                counted_cost=trimmed(sum((one.cost for one in theirs), Decimal(0))),
                counted_tokens=sum(one.input_tokens + one.output_tokens for one in theirs),
                models=len({(cell.provider, cell.model) for cell in mine}), days=len({cell.day for cell in mine}),
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda one: (one.source, one.instead)))


def _twice(cells: Iterable[Cell]) -> tuple[Twice, ...]:
    found: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        if len(cell.counted) > 1:
            found[cell.counted].append(cell)
    return tuple(
        Twice(sources=sources, models=tuple(sorted({c.model for c in some})), days=len({c.day for c in some}))
        for sources, some in sorted(found.items())
    )
