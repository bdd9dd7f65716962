"""The star schema: what DuckDB joins of it is what the report says, to the last digit."""

import contextlib
import hashlib
import json
from datetime import UTC, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.dashboard.conftest import BOOK, NOW, event, unpriced

from penstock.cli.main import main
from penstock.ledger.columns import MONEY
from penstock.ledger.exporters.star import relations
from penstock.ledger.store import Ledger
from penstock.pricing.usage import Usage

DATA = Path(__file__).parents[2] / "data"
POWER_BI = {pa.int64(), pa.int32(), pa.float64(), pa.string(), pa.bool_(), pa.date32(), pa.timestamp("us"), MONEY}
"""Arrow types that Power Query reads out of Parquet: nothing unsigned, nested or coded."""


def penstock(capsys, *words: object) -> dict:
    with contextlib.suppress(SystemExit):
        main([*map(str, words), "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Three days: several payers, failures, events without a price, one of which was given one, and a correction."""
    events = [
        event(1), event(2, team="sales", user="ann", ago=timedelta(days=1)),
        event(3, outcome="error", error="timeout", status=0, usage=Usage(), cost=Decimal(0)),
        event(4, stream=True, first_token_us=90_000, ago=timedelta(days=2), cost=Decimal("0.000000000000000001")),
        unpriced(5), unpriced(6, ago=timedelta(days=1)), unpriced(7, team=""),
        event(8, corrects=f"{6:032x}", model="mystery", usage=Usage(), requests=0, source="reprice",
              cost=Decimal("0.125"), ago=timedelta(days=1)),
        event(9, corrects=f"{1:032x}", usage=Usage(), requests=0, source="reprice", cost=Decimal("-0.001")),
    ]  # fmt: skip
    with Ledger.open(tmp_path / "data") as found:
        found.archive_book(BOOK)
        found.add(events, source="gateway")
    return tmp_path / "data"


def joined(folder: Path, fact: str) -> str:
    """The SQL of a fact with all of its dimensions, joined as relations.json says."""
    sql = f"read_parquet('{folder}/{fact}.parquet') AS {fact}"
    for one in json.loads((folder / "relations.json").read_text())["relationships"]:
        if one["from"].startswith(f"{fact}."):
            dimension = one["to"].partition(".")[0]
            sql += f" JOIN read_parquet('{folder}/{dimension}.parquet') AS {dimension} ON {one['from']} = {one['to']}"
    return sql


def compare(folder: Path, report: dict, by: str, column: str) -> None:
    query = (
        f"SELECT {column}, sum(events), sum(requests), sum(input_tokens), sum(output_tokens), sum(unpriced_events), "
        f"coalesce(sum(cost), 0) FROM {joined(folder, 'fact_usage')} GROUP BY ALL"
    )
    names = ("events", "requests", "input_tokens", "output_tokens", "unpriced_events")
    found = {row[0]: (*map(int, row[1:6]), row[6]) for row in duckdb.sql(query).fetchall()}
    said = {row[by]: (*(row[name] for name in names), Decimal(row["cost"])) for row in report["rows"]}
    assert found == said


COLUMNS = {
    "model": "dim_model.model", "team": "dim_attribution.team", "user": "dim_attribution.user",
    "provider": "dim_provider.provider", "outcome": "dim_call.outcome", "day": "dim_date.date::VARCHAR",
}  # fmt: skip


@pytest.mark.parametrize(("grain", "every"), [("day", tuple(COLUMNS)), ("hour", ("team",)), ("event", ("day",))])
def test_joins_say_what_the_report_says(ledger: Path, tmp_path: Path, capsys, grain: str, every: tuple[str]) -> None:
    folder = tmp_path / "star"
    said = penstock(capsys, "export", "star", folder, "--grain", grain, "--data", ledger)
    for by in every:
        report = penstock(capsys, "report", "--by", by, "--data", ledger)
        compare(folder, report, by, COLUMNS[by])
    assert report["unpriced_events"] == 2
    for fact in ("fact_usage", "fact_charge"):
        total = duckdb.sql(f"SELECT sum(cost), count(*) FROM {joined(folder, fact)}").fetchall()
        assert total == [(Decimal(report["total"]), said["tables"][fact])]


def test_charges_are_quantity_times_rate_and_corrections_apart(ledger: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "star"
    penstock(capsys, "export", "star", folder, "--data", ledger)
    rows = duckdb.sql(
        f"SELECT kind, sum(quantity), sum(cost) FROM {joined(folder, 'fact_charge')} "
        "WHERE abs(quantity * rate - cost) < 1e-15 OR rate IS NULL GROUP BY kind"
    ).fetchall()
    kinds = {kind: cost for kind, _quantity, cost in rows}
    assert set(kinds) == {"input tokens", "output tokens", "correction"}
    read = duckdb.sql(f"SELECT sum(input_tokens) FROM {joined(folder, 'fact_usage')} WHERE cost IS NOT NULL").fetchall()
    assert read == [(next(quantity for kind, quantity, _ in rows if kind == "input tokens"),)]


def test_what_is_unknown_is_no_number_and_every_type_is_one_that_power_bi_reads(
    ledger: Path, tmp_path: Path, capsys
) -> None:
    folder = tmp_path / "star"
    penstock(capsys, "export", "star", folder, "--grain", "event", "--data", ledger)
    for file in folder.glob("*.parquet"):
        assert set(pq.read_schema(file).types) <= POWER_BI, file.name
    known = duckdb.sql(
        "SELECT unpriced_events, cost IS NULL, cost_float IS NULL, unpriced_tokens "
        f"FROM {joined(folder, 'fact_usage')} WHERE price_state = 'unpriced'"
    ).fetchall()
    assert known == [(1, True, True, 1_500)] * 2
    facts = pq.read_table(folder / "fact_usage.parquet")
    assert facts.num_rows == 9
    assert facts.schema.field("cost").type == MONEY
    assert facts.column("at")[0].as_py().replace(tzinfo=UTC) == NOW - timedelta(days=2, minutes=0)


def test_keys_are_unique_and_every_fact_finds_its_rows(ledger: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "star"
    rows = penstock(capsys, "export", "star", folder, "--data", ledger)["tables"]
    for name, count in rows.items():
        if name.startswith("dim_"):
            key = f"{name.removeprefix('dim_')}_key"
            [(different,)] = duckdb.sql(f"SELECT count(DISTINCT {key}) FROM '{folder}/{name}.parquet'").fetchall()
            assert different == count, name
    for fact in ("fact_usage", "fact_charge"):
        assert duckdb.sql(f"SELECT count(*) FROM {joined(folder, fact)}").fetchall() == [(rows[fact],)]
    dates = duckdb.sql(f"SELECT date_key FROM '{folder}/dim_date.parquet' ORDER BY 1").fetchall()
    assert dates == [(20261121,), (20261122,), (20261123,)]
    assert len(relations("day")["relationships"]) == 14


def test_writing_twice_changes_nothing_and_leaves_nothing_behind(ledger: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "star"

    def digests() -> dict[str, str]:
        penstock(capsys, "export", "star", folder, "--data", ledger)
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}

    first = digests()
    assert digests() == first
    assert len(first) == 11


def test_a_span_is_the_same_span_as_the_reports(ledger: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "star"
    span = ("--from", "2026-11-22", "--to", "2026-11-22", "--data", ledger)
    penstock(capsys, "export", "star", folder, *span)
    compare(folder, penstock(capsys, "report", "--by", "team", *span), "team", "dim_attribution.team")


def test_traffic_that_two_sources_recorded_stands_in_it_once(tmp_path: Path, capsys) -> None:
    data, folder = tmp_path / "data", tmp_path / "star"
    for name in ("openai_costs.json", "openai_usage_completions.json", "litellm_spend_logs.jsonl"):
        penstock(capsys, "import", DATA / name, "--data", data)
    penstock(capsys, "export", "star", folder, "--data", data)
    compare(folder, penstock(capsys, "report", "--by", "model", "--data", data), "model", "dim_model.model")


def test_an_empty_span_is_empty_tables(ledger: Path, tmp_path: Path, capsys) -> None:
    said = penstock(
        capsys, "export", "star", tmp_path / "star", "--from", "2025-01", "--to", "2025-01", "--data", ledger
    )
    assert set(said["tables"].values()) == {0}


def test_a_folder_that_cannot_be_written_is_one_sentence(ledger: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as end:
        main(["export", "star", str(tmp_path / "file"), "--data", str(ledger)])
    assert end.value.code == 2
    assert "Cannot write into" in capsys.readouterr().err
