"""Price the book anew: where a price differs, or was missing, a correction with the difference. Never an edit."""
# ruff: noqa: S608  # names of columns and quoted paths

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from penstock.ledger.columns import BUCKETS, EXACT, to_events
from penstock.ledger.compaction import Progress, silent
from penstock.ledger.engine import Relation, between, connect, first_row
from penstock.ledger.snapshot import Snapshot, within
from penstock.metering.event import UsageEvent
from penstock.pricing.book import PriceKey
from penstock.pricing.catalog import Catalog
from penstock.pricing.cost import Cost, cost_of
from penstock.pricing.usage import Usage

SOURCE = "reprice"
KEY = ("provider", "model", "version", "deployment_type", "region", "mode")
CHUNK = 50_000
NOTHING = Usage()


class Repriced(Struct, kw_only=True):
    """What repricing finds for one model. Dollars; `old` is without the events that had no price."""

    provider: str
    model: str
    events: int = 0
    """Events whose cost or price state changes."""
    were_unpriced: int = 0
    old: Decimal = Decimal(0)
    new: Decimal = Decimal(0)

    @property
    def difference(self) -> Decimal:
        """What the corrections add."""
        return EXACT.subtract(self.new, self.old)


class Repricing(Struct, kw_only=True):
    """What a catalog says of the events of a ledger."""

    models: dict[tuple[str, str], Repriced] = {}
    looked_at: int = 0
    written: int = 0
    """Corrections that were booked; zero with a dry run."""
    lost: int = 0
    """Events with a price that the catalog can no longer price: they keep what they have."""

    @property
    def difference(self) -> Decimal:
        """What all corrections add."""
        total = Decimal(0)
        for row in self.models.values():
            total = EXACT.add(total, row.difference)
        return total

    def count(self, event: UsageEvent, old: Decimal | None, new: Decimal) -> None:
        """Add one changed event to its model's row."""
        row = self.models.setdefault(
            (event.provider, event.model), Repriced(provider=event.provider, model=event.model)
        )
        row.events += 1
        row.were_unpriced += old is None
        row.old, row.new = EXACT.add(row.old, old or Decimal(0)), EXACT.add(row.new, new)


def corrections(
    folder: Path,
    snapshot: Snapshot,
    catalog: Catalog,
    report: Repricing,
    *,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Progress = silent,
) -> Iterator[UsageEvent]:
    """Yield one correction for each event whose price is another one today, and fill in the report.

    An event's id, its correction's number and the new price make the correction's id: written twice, it counts once.
    """
    engine = connect(folder, memory="2GB")
    keys: dict[tuple[str, ...], PriceKey] = {}
    try:
        booked = Relation(engine, folder, within(snapshot.parts, since, until), snapshot.tail).sql
        events = f"SELECT * FROM ({booked}) WHERE corrects = '' AND {between(since, until)}"
        (count,) = first_row(engine, f"SELECT count(*) FROM ({events})")
        for batch in engine.sql(_with_corrections(events, booked)).to_arrow_reader(CHUNK):
            table = pa.Table.from_batches([batch])
            yield from _of_table(table, catalog, keys, report, now)
            report.looked_at += table.num_rows
            progress("Events", report.looked_at, count)
    finally:
        engine.close()


def _with_corrections(events: str, booked: str) -> str:
    """Join each event with the sum of its corrections: what it costs, and used, as the book stands."""
    sums = ", ".join(f'sum("{bucket}")::BIGINT AS "{bucket}"' for bucket in BUCKETS)
    now = ", ".join(f'e."{bucket}" + coalesce(c."{bucket}", 0) AS "now_{bucket}"' for bucket in BUCKETS)
    corrected = (
        "SELECT corrects, count(*) AS corrections, sum(cost) AS added, "
        f"arg_max(price_state, recorded_at) FILTER (price_state <> 'unpriced') AS state, {sums} "
        f"FROM ({booked}) WHERE corrects <> '' GROUP BY corrects"
    )
    return (
        "SELECT e.*, coalesce(c.corrections, 0) AS corrections, coalesce(c.state, e.price_state) AS now_state, "
        "CASE WHEN e.cost IS NULL AND c.state IS NULL THEN NULL ELSE coalesce(e.cost, 0) + coalesce(c.added, 0) END "
        f"AS now_cost, {now} FROM ({events}) e LEFT JOIN ({corrected}) c ON c.corrects = e.id"
    )


def _of_table(
    table: pa.Table, catalog: Catalog, keys: dict[tuple[str, ...], PriceKey], report: Repricing, now: datetime
) -> Iterator[UsageEvent]:
    """Price each row; build whole events only of those that change."""
    served = zip(*(table.column(name).to_pylist() for name in KEY), strict=True)
    used = zip(*(table.column(f"now_{bucket}").to_pylist() for bucket in BUCKETS), strict=True)
    rest = (table.column(name).to_pylist() for name in ("at", "requests", "now_state", "now_cost"))
    changed: list[tuple[int, Decimal | None, Cost]] = []
    for row, (names, counts, at, requests, state, old) in enumerate(zip(served, used, *rest, strict=True)):
        key = keys.get(names) or keys.setdefault(names, PriceKey(**dict(zip(KEY, names, strict=True))))
        usage = Usage(**{bucket: n for bucket, n in zip(BUCKETS, counts, strict=True) if n})
        cost = price(catalog, key, usage, at.replace(tzinfo=UTC), requests)
        if state == "unpriced" and not usage.units():
            continue  # a charge without quantities, from a bill: no price makes it one
        if cost.total is None:
            report.lost += old is not None
        elif cost.state != state or cost.total != old:
            changed.append((row, old, cost))
    events = to_events(table.take(pa.array([row for row, _, _ in changed], pa.int64())))
    numbers = table.column("corrections")
    for event, (row, old, cost) in zip(events, changed, strict=True):
        report.count(event, old, cost.total or Decimal(0))
        yield _correction(event, numbers[row].as_py() + 1, old, cost, now)


def price(catalog: Catalog, key: PriceKey, usage: Usage, at: datetime, requests: int) -> Cost:
    """Price one event. An unknown name may be an alias.

    An aggregate's context tier is that of its average call, and the ordinary one where it does not say how many.
    """
    size = usage.input_tokens // requests if requests else 0
    row = catalog.row(key, at, size)
    if row is None:
        model, version = catalog.identify(key.provider, key.model)
        named = replace(key, model=model, version=key.version or version)
        row = catalog.row(named, at, size)
    return cost_of(usage, row) if row else catalog.price(key, usage, at)


def _correction(event: UsageEvent, number: int, old: Decimal | None, cost: Cost, now: datetime) -> UsageEvent:
    total = cost.total or Decimal(0)
    told = f"{event.id} {number} {cost.row} {cost.row_hash} {total.normalize(EXACT)}"
    return replace(
        event, id=hashlib.sha256(told.encode()).hexdigest()[:32], recorded_at=now, source=SOURCE, corrects=event.id,
        requests=0, tool_calls=0, duration_us=0, first_token_us=0, usage=NOTHING, usage_source="none",
        price_state=cost.state, cost=EXACT.subtract(total, old or Decimal(0)), price_book=cost.book, price_row=cost.row,
        price_hash=cost.row_hash, provider_cost=None, decision=f"reprice {number}",
    )  # fmt: skip
