from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from penstock.errors import PriceBookError
from penstock.pricing.book import SINCE_EVER, Book, PriceRow, make_book, row_id
from penstock.pricing.cost import cost_of
from penstock.pricing.fields import rows_from_table, table_of
from penstock.pricing.usage import Usage

ROW = PriceRow(
    provider="azure", model="gpt-4o", valid_from=datetime(2026, 1, 1, tzinfo=UTC), rates={"input": Decimal("0.0000025")}
)


def test_a_book_gives_its_rows_their_id_their_hash_and_its_own_name():
    book = make_book("azure", "2026-11-23", [ROW])
    (row,) = book.rows
    assert (row.book, row.id) == ("azure@2026-11-23", "azure/gpt-4o/global/standard@2026-01-01")
    assert len(row.hash) == 16
    assert book.row(row.id) is row
    assert book.row("azure/gpt-5") is None


def test_the_same_rows_have_the_same_hash_in_every_book():
    one, other = make_book("a", "1", [ROW]), make_book("b", "2", make_book("a", "1", [ROW]).rows)
    assert one.sha256 == other.sha256
    assert one.rows[0].hash == other.rows[0].hash


def test_an_archived_book_comes_back_as_it_was():
    book = make_book("azure", "1", [ROW], title="t", source="s", read=date(2026, 11, 23))
    assert Book.from_bytes(book.to_bytes()) == book


def test_a_tampered_archive_is_an_error():
    data = make_book("azure", "1", [ROW]).to_bytes()
    with pytest.raises(PriceBookError, match="not those that the book was pinned to"):
        Book.from_bytes(data.replace(b"0.0000025", b"0.0000035"))
    with pytest.raises(PriceBookError, match="no price book"):
        Book.from_bytes(data[:-5])


@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        ({"input": Decimal(-1)}, "must be zero or more"),
        ({"input": Decimal("Infinity")}, "must be zero or more"),
        ({"input": Decimal("1e-19")}, "more than 18 decimals"),
    ],
)
def test_a_rate_that_no_ledger_can_hold_is_rejected(rates, sentence):
    row = PriceRow(provider="p", model="m", valid_from=SINCE_EVER, rates=rates)
    with pytest.raises(PriceBookError, match=sentence):
        make_book("b", "1", [row])


def test_two_rows_with_one_key_and_one_first_instant_are_rejected():
    with pytest.raises(PriceBookError, match="two rows have this key"):
        make_book("b", "1", [ROW, ROW])


def test_rows_on_one_day_at_two_hours_are_two_rows():
    at_noon = PriceRow(provider="azure", model="gpt-4o", valid_from=datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert row_id(at_noon).endswith("@2026-01-01T12:00:00Z")
    assert len(make_book("b", "1", [ROW, at_noon]).rows) == 2


def test_every_field_of_a_row_survives_a_table():
    full = PriceRow(
        provider="p",
        model="m",
        version="v",
        deployment_type="regional",
        region="eu",
        mode="batch",
        context_over=200_000,
        hours="16:30-00:30",
        valid_from=datetime(2026, 1, 1, 6, 30, tzinfo=UTC),
        valid_to=datetime(2026, 2, 1, tzinfo=UTC),
        rates={unit: Decimal(rate) for unit, rate in (("input", "1.5E-7"), ("pages", "0.002"), ("seconds", "0.0001"))},
        earliest=True,
        source='a, "b"',
        read=date(2026, 11, 23),
    )
    always = PriceRow(provider="p", model="m", valid_from=SINCE_EVER)
    free = PriceRow(provider="p", model="gift", valid_from=SINCE_EVER, free=True)
    flat = PriceRow(provider="p", model="ptu", valid_from=SINCE_EVER, flat_rate=True)
    rows = [full, always, free, flat]
    assert rows_from_table(table_of(rows), "b") == rows


def test_a_unit_that_was_used_and_has_no_rate_makes_the_whole_cost_unpriced():
    row = make_book("b", "1", [ROW]).rows[0]
    cost = cost_of(Usage(input=5, output=1), row)
    assert (cost.state, cost.total, cost.lines) == ("unpriced", None, ())
    assert "no rate for output" in cost.reason


def test_a_free_row_prices_every_unit_at_zero():
    row = PriceRow(provider="p", model="m", valid_from=SINCE_EVER, free=True)
    assert (cost_of(Usage(output_audio=5), row).state, cost_of(Usage(output_audio=5), row).total) == ("free", 0)
