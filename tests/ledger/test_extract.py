import csv
from datetime import timedelta
from decimal import Decimal

import msgspec
import pyarrow.parquet as pq
import pytest
from tests.ledger.making import NOON, event, many, total

from penstock.errors import InputError
from penstock.ledger.columns import SCHEMA, to_events
from penstock.ledger.store import Ledger
from penstock.metering.event import UsageEvent


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "book") as ledger:
        ledger.add([*many(50), event(cost=Decimal("0.1"), tags={"k": 'a "b", c'})], source="csv")
        yield ledger


def test_parquet_holds_the_events_whole(ledger, tmp_path):
    file = tmp_path / "out.parquet"
    assert ledger.extract(file, "parquet") == 51
    table = pq.read_table(file)
    assert table.schema.equals(SCHEMA)
    assert to_events(table) == ledger.events()


def test_json_lines_are_the_events_as_they_spell_themselves(ledger, tmp_path):
    file = tmp_path / "out.jsonl"
    ledger.extract(file, "jsonl")
    found = [msgspec.json.decode(line, type=UsageEvent) for line in file.read_bytes().splitlines()]
    assert found == ledger.events()
    assert b'"cost":"0.1"' in file.read_bytes()


def test_csv_has_every_column_and_every_digit(ledger, tmp_path):
    file = tmp_path / "out.csv"
    ledger.extract(file, "csv")
    with file.open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert list(rows[0]) == SCHEMA.names
    assert sum(Decimal(row["cost"] or 0) for row in rows) == total(ledger.events())
    (tagged,) = [row for row in rows if row["tags"]]
    assert msgspec.json.decode(tagged["tags"]) == {"k": 'a "b", c'}
    assert (tagged["cost"], tagged["at"], tagged["stream"]) == ("0.1", "2026-03-14T12:00:00Z", "false")


def test_only_the_span_is_written(ledger, tmp_path):
    until = NOON + timedelta(days=1)
    events = ledger.extract(tmp_path / "out.jsonl", "jsonl", since=NOON, until=until)
    assert 0 < events < 51
    assert events == len(ledger.events(since=NOON, until=until))


def test_a_place_that_cannot_be_written_is_named_and_an_old_file_stays_whole(ledger, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="Cannot write"):
        ledger.extract(tmp_path / "no-such-folder" / "out.csv", "csv")
    file = tmp_path / "out.csv"
    file.write_text("old")

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("penstock.ledger.extract.to_events", broken)
    with pytest.raises(InputError, match="No space left on device"):
        ledger.extract(file, "jsonl")
    assert file.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"book", "out.csv"}
