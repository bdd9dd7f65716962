import io
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.ledger.importers.reading import NOW

from penstock.errors import InputError
from penstock.ledger.importers.drafts import Assumed, Draft, Note, Rejected
from penstock.ledger.importers.formats import choose
from penstock.ledger.importers.run import import_file
from penstock.ledger.store import Ledger
from penstock.pricing.books import default_catalog
from penstock.pricing.usage import Usage

AT = datetime(2026, 3, 14, 10, tzinfo=UTC)
ROW = {"timestamp": AT, "Provider": "azure", "model": "gpt-4o", "input_tokens": 2000, "cached_tokens": 24}


def items(tmp_path, *rows, schema=None):
    file = tmp_path / "usage.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), file)
    format_, _why = choose(file, Assumed())
    assert format_.name == "parquet"
    with file.open("rb") as stream:
        return list(format_.read(stream, Assumed(), NOW))


def test_columns_are_those_of_the_csv_with_types(tmp_path):
    row = ROW | {"cost": Decimal("0.0051"), "tags": [("stage", "prod")], "colour": "red"}
    kinds = {"tags": pa.map_(pa.string(), pa.string()), "cost": pa.decimal128(38, 18)}
    plain = pa.Table.from_pylist([ROW | {"colour": "red"}]).schema
    schema = pa.schema([*plain, *(pa.field(name, kind) for name, kind in kinds.items())])
    note, draft = items(tmp_path, row, schema=schema)
    assert note == Note("columns not read: colour")
    assert isinstance(draft, Draft)
    assert (draft.event.at, draft.event.usage) == (AT, Usage(input=1976, cache_read=24))
    assert (draft.event.provider_cost, draft.event.tags) == (Decimal("0.0051"), {"stage": "prod"})


def test_a_bad_row_is_named_by_its_number(tmp_path):
    found = items(tmp_path, ROW, ROW | {"input_tokens": -1}, ROW | {"cached_tokens": 3000})
    assert [(item.line, item.code) for item in found if isinstance(item, Rejected)] == [
        (2, "negative_number"), (3, "wrong_usage"),
    ]  # fmt: skip


def test_a_file_without_the_columns_or_cut_off_is_refused(tmp_path):
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1]}), file)
    with pytest.raises(InputError, match=r"parquet: its header has no column at"):
        choose(file, Assumed())
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a whole Parquet file"):
        choose(file, Assumed())


def test_what_the_ledger_exports_can_be_imported(tmp_path):
    """Its own export has the same names, and comes back with the same tokens."""
    file = tmp_path / "usage.parquet"
    pq.write_table(pa.Table.from_pylist([ROW]), file)
    with Ledger.open(tmp_path / "ledger") as ledger:
        arguments = {"assumed": Assumed(), "catalog": default_catalog(), "now": NOW, "ledger": ledger}
        assert import_file(file, choose(file, Assumed()), **arguments).new == 1
        assert import_file(file, choose(file, Assumed()), **arguments).new == 0


def test_a_page_that_is_broken_is_named_and_rows_before_it_are_read(tmp_path):
    file = tmp_path / "usage.parquet"
    rows = pa.Table.from_pylist([ROW | {"team": f"team-{n}"} for n in range(20_000)])
    pq.write_table(rows, file, row_group_size=10_000, compression="zstd", use_dictionary=False)
    second = pq.read_metadata(file).row_group(1).column(rows.schema.names.index("team"))
    data = bytearray(file.read_bytes())
    data[second.data_page_offset + 60 : second.data_page_offset + 200] = b"\xff" * 140
    with io.BytesIO(data) as stream:
        found = list(choose(file, Assumed())[0].read(stream, Assumed(), NOW))
    assert sum(isinstance(item, Draft) for item in found) == 10_000
    assert [(item.line, item.code) for item in found if isinstance(item, Rejected)] == [(10_001, "truncated_file")]
