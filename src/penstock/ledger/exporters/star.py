"""The ledger as a star: fact tables and dimensions in Parquet, for Power BI and whatever else joins tables.

Keys are whole numbers from 1 in the order of what they stand for: of one export, and the same again from the same
ledger. Everything is streamed through the engine, which spills to disk; nothing is held as Python objects but batches.
"""
# ruff: noqa: S608  # names of columns and quoted paths

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from penstock.errors import InputError
from penstock.ledger.columns import BUCKETS, MONEY
from penstock.ledger.engine import quoted
from penstock.ledger.exporters.charges import Charge
from penstock.ledger.parts import MEMORY
from penstock.pricing.usage import INPUT_TOKENS, OUTPUT_TOKENS

Grain = Literal["day", "hour", "event"]
CHUNK = 50_000
FACT_USAGE, FACT_CHARGE = "fact_usage", "fact_charge"
DIMENSIONS: dict[str, tuple[str, ...]] = {
    "provider": ("provider",),
    "model": ("provider", "model", "version"),
    "deployment": ("provider", "deployment", "deployment_type", "region", "mode"),
    "attribution": ("team", "app", "feature", "user", "key"),
    "price": ("price_state", "price_book", "price_row"),
    "call": ("source", "endpoint", "outcome", "error", "purpose", "stream"),
    "unit": ("unit",),
}
"""Name -> what a row stands for; `dim_NAME` has the key `NAME_key`."""
USAGE_BY = ("provider", "model", "deployment", "attribution", "price", "call")
CHARGE_BY = ("provider", "model", "deployment", "attribution", "price", "unit")
COUNTS = ("requests", "tool_calls", *BUCKETS, "input_tokens", "output_tokens", "duration_us", "first_token_us")
OF_EVENT = ("id", "corrects", "request_id", "run", "attempt", "status", "finish_reason")
"""Columns of an event that stand in the facts themselves, at the grain `event`."""
TIMES = "at"


class Written(Struct, frozen=True, kw_only=True):
    """What was written."""

    tables: dict[str, int]
    """Name -> rows."""


def write(folder: Path, events: Any, charges: Iterable[Charge], grain: Grain) -> Written:
    """Write the tables of these events (an Ibis table as `attempts_of` makes it) and charges into `folder`.

    The files of an earlier export are replaced, each whole or not at all. Raises InputError where that fails.
    """
    try:
        with _aside(folder) as aside:
            writer = _Writer(events.get_backend().con, aside, grain)
            writer.stage(events, charges)
            tables = writer.write()
            (aside / "relations.json").write_text(json.dumps(relations(grain), indent=1) + "\n", "utf-8")
            for file in sorted(aside.iterdir()):
                file.replace(folder / file.name)
    except OSError as error:
        raise InputError(f"Cannot write into {folder}: {error.strerror}.") from error
    return Written(tables=tables)


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """Make a hidden folder for files that are not whole yet."""
    aside = folder / ".star.part"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


class _Writer:
    """Makes the tables, over the engine connection of the question."""

    def __init__(self, engine: Any, folder: Path, grain: Grain) -> None:
        self._engine, self._folder, self._grain = engine, folder, grain
        self._charges = folder / "charges.staged"

    def stage(self, events: Any, charges: Iterable[Charge]) -> None:
        """Sum the events up, and put the charges into a file: both still by names, not by keys."""
        import ibis  # noqa: PLC0415  # half a second that only this export needs

        self._engine.execute(f"SET memory_limit = {quoted(MEMORY)}")  # what is more is spilled
        self._stage_charges(charges)  # first: they are a question to the same connection
        names = dict.fromkeys(name for dimension in USAGE_BY for name in DIMENSIONS[dimension])
        keys = ["date_trunc('day', \"at\")::DATE AS date", *map(_plain, names)]
        if self._grain != "day":
            keys.append('extract(hour FROM "at")::INTEGER AS hour')
        if self._grain == "event":
            keys += [f'"{name}"' for name in (TIMES, *OF_EVENT)]
        timed = "outcome = 'ok' AND requests <= 1 AND is_event = 1"
        sums = [
            "sum(is_event)::BIGINT AS events",
            *(f"sum({name})::BIGINT AS {name}" for name in COUNTS),
            f"count(*) FILTER ({timed} AND duration_us > 0) AS timed_events",
            f"count(*) FILTER ({timed} AND first_token_us > 0) AS streamed_events",
            "sum(is_unpriced)::BIGINT AS unpriced_events",
            "sum(CASE WHEN is_unpriced = 1 THEN input_tokens + output_tokens ELSE 0 END)::BIGINT AS unpriced_tokens",
            "sum(cost) AS cost",
            "sum(provider_cost) AS provider_cost",
        ]
        source = ibis.to_sql(events, dialect="duckdb")
        self._engine.execute(
            f"CREATE OR REPLACE TEMP TABLE {USAGE} AS SELECT {', '.join((*keys, *sums))} FROM ({source}) GROUP BY ALL"
        )

    def _stage_charges(self, charges: Iterable[Charge]) -> None:
        names = dict.fromkeys(name for dimension in CHARGE_BY for name in DIMENSIONS[dimension])
        schema = pa.schema([
            ("date", pa.date32()), *((name, pa.string()) for name in names), ("quantity", pa.int64()), ("rate", MONEY),
            ("cost", MONEY), ("requests", pa.int64()),
        ])  # fmt: skip
        iterator = iter(charges)
        with pq.ParquetWriter(self._charges, schema, compression="zstd") as out:
            while chunk := [_flat(charge, names) for charge in islice(iterator, CHUNK)]:
                out.write_table(pa.Table.from_pylist(chunk, schema=schema))

    def write(self) -> dict[str, int]:
        """Write every table; return how many rows each has."""
        rows = {"dim_date": self._put("dim_date", self._dates())}
        for name, columns in DIMENSIONS.items():
            listed = ", ".join(f'"{column}"' for column in columns)
            found = [
                f"SELECT DISTINCT {listed} FROM {source}"
                for source, by in ((USAGE, USAGE_BY), (self._charged, CHARGE_BY))
                if name in by
            ]
            more = f", {UNIT_KINDS}" if name == "unit" else ""
            rows[f"dim_{name}"] = self._put(
                f"dim_{name}",
                f"SELECT row_number() OVER (ORDER BY {listed})::INTEGER AS {name}_key, {listed}{more} "
                f"FROM ({' UNION '.join(found)}) ORDER BY 1",
            )
        rows[FACT_USAGE] = self._put(FACT_USAGE, self._usage())
        rows[FACT_CHARGE] = self._put(FACT_CHARGE, self._charge())
        self._engine.execute(f"DROP TABLE {USAGE}")
        self._engine.execute("RESET memory_limit")
        self._charges.unlink()
        return rows

    @property
    def _charged(self) -> str:
        return f"read_parquet({quoted(str(self._charges))})"

    def _dates(self) -> str:
        days = f"SELECT date FROM {USAGE} UNION SELECT date FROM {self._charged}"
        return (
            f"WITH span AS (SELECT min(date) AS first, max(date) AS last FROM ({days})) "
            f"SELECT {DATE_KEY} AS date_key, date, year(date)::INTEGER AS year, quarter(date)::INTEGER AS quarter, "
            "month(date)::INTEGER AS month, strftime(date, '%Y-%m') AS year_month, monthname(date) AS month_name, "
            "day(date)::INTEGER AS day, isodow(date)::INTEGER AS weekday, dayname(date) AS weekday_name, "
            "yearweek(date)::INTEGER AS iso_week FROM (SELECT unnest(generate_series(first, last, INTERVAL 1 DAY)) "
            "::DATE AS date FROM span WHERE first IS NOT NULL) ORDER BY 1"
        )

    def _usage(self) -> str:
        extra = {"day": [], "hour": ["f.hour"], "event": ["f.hour", f'f."{TIMES}"', *(f'f."{n}"' for n in OF_EVENT)]}
        measures = [
            "f.events", *(f"f.{name}" for name in COUNTS), "f.timed_events", "f.streamed_events", "f.unpriced_events",
            "f.unpriced_tokens", "f.cost", "f.cost::DOUBLE AS cost_float", "f.provider_cost",
        ]  # fmt: skip
        order = ", id" if self._grain == "event" else ", hour" if self._grain == "hour" else ""
        return self._joined(USAGE, USAGE_BY, [*extra[self._grain], *measures], order)

    def _charge(self) -> str:
        measures = ["f.quantity", "f.rate", "f.cost", "f.cost::DOUBLE AS cost_float", "f.requests"]
        return self._joined(self._charged, CHARGE_BY, measures, ", quantity, rate, f.cost")

    def _joined(self, source: str, by: Iterable[str], columns: Iterable[str], order: str) -> str:
        """Put keys in place of names."""
        keys, joins = [f"{DATE_KEY} AS date_key"], []
        for name in by:
            keys.append(f"d_{name}.{name}_key")
            same = " AND ".join(f'f."{column}" = d_{name}."{column}"' for column in DIMENSIONS[name])
            file = quoted(str(self._folder / f"dim_{name}.parquet"))
            joins.append(f"JOIN read_parquet({file}) AS d_{name} ON {same}")
        sorted_by = ", ".join(["date_key", *(f"{name}_key" for name in by)])
        return f"SELECT {', '.join((*keys, *columns))} FROM {source} AS f {' '.join(joins)} ORDER BY {sorted_by}{order}"

    def _put(self, name: str, query: str) -> int:
        """Write one table; return the number of its rows."""
        reader = self._engine.sql(query).to_arrow_reader(CHUNK)
        count = 0
        with pq.ParquetWriter(self._folder / f"{name}.parquet", reader.schema, compression="zstd") as out:
            for batch in reader:
                out.write_batch(batch)
                count += batch.num_rows
        return count


USAGE = "star_usage"
DATE_KEY = "(year(date) * 10000 + month(date) * 100 + day(date))::INTEGER"
UNIT_KINDS = (
    f"CASE WHEN unit IN ({', '.join(map(quoted, INPUT_TOKENS))}) THEN 'input tokens' "
    f"WHEN unit IN ({', '.join(map(quoted, OUTPUT_TOKENS))}) THEN 'output tokens' WHEN unit = 'tokens' THEN 'tokens' "
    "WHEN unit = '' THEN 'correction' ELSE 'other' END AS kind"
)


def _plain(name: str) -> str:
    return f'"{name}"' if name == "stream" else f'coalesce("{name}", \'\') AS "{name}"'


def _flat(charge: Charge, names: Iterable[str]) -> dict[str, Any]:
    """A charge by the columns of its dimensions; charges are not told apart by user."""
    group = {"user": "", "unit": charge.unit, **charge.group}
    return {
        "date": charge.group["day"].date(), **{name: group[name] or "" for name in names},
        "quantity": charge.quantity, "rate": charge.rate, "cost": charge.cost, "requests": charge.requests,
    }  # fmt: skip


def relations(grain: Grain) -> dict[str, Any]:
    """Say how the tables belong together: what Power BI is to be told under Manage relationships."""
    facts = {FACT_USAGE: ("date", *USAGE_BY), FACT_CHARGE: ("date", *CHARGE_BY)}
    return {
        "grain": grain,
        "relationships": [
            {"from": f"{fact}.{name}_key", "to": f"dim_{name}.{name}_key", "cardinality": "many to one",
             "filters": "single"}
            for fact, names in facts.items()
            for name in names
        ],
    }  # fmt: skip
