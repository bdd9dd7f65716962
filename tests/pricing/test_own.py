from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import PriceBookError
from penstock.pricing.book import PriceRow, make_book
from penstock.pricing.books import default_catalog, find_row, parse_own_discounts, parse_own_prices
from penstock.pricing.catalog import Catalog, PriceKey
from penstock.pricing.discounts import Discount, discounted
from penstock.pricing.folder import own_book, own_file, own_layers
from penstock.pricing.shipped import shipped_book
from penstock.pricing.usage import Usage

NOW = datetime(2026, 11, 23, tzinfo=UTC)
D1, D2, D3, D4 = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 4, 7, 10))
GPT_4O = PriceKey(provider="azure", model="gpt-4o")
MILLION = Usage(input=1_000_000)


def test_a_contract_price_comes_before_every_book():
    rows = parse_own_prices(
        [{"provider": "azure", "model": "gpt-4o", "input": "2.10", "output": 8, "source": "EA 2026"}]
    )
    cost = default_catalog(own_rows=rows).price(GPT_4O, MILLION, NOW)
    assert cost.total == Decimal("2.1")
    assert cost.book.startswith("contract@")


def test_a_float_in_the_settings_means_what_the_user_wrote():
    (row,) = parse_own_prices([{"provider": "p", "model": "m", "input": 0.1}])
    assert row.rates["input"] == Decimal("0.0000001")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"model": "m", "input": 1}, r"prices.rows\[0\], provider: it is missing"),
        ({"provider": "p", "model": "m"}, r"prices.rows\[0\]: it has no rate"),
        ({"provider": "p", "model": "m", "inptu": 1}, r"prices.rows\[0\], inptu: there is no such field"),
        ({"provider": "p", "model": "m", "input": "-1"}, r"prices.rows\[0\], input: '-1': a rate is zero or more"),
        ({"provider": "p", "model": "m", "input": "NaN"}, r"input: 'NaN': a rate is zero or more"),
        ({"provider": "p", "model": "m", "input": "cheap"}, r"input: 'cheap' is not an amount of dollars"),
        ({"provider": "p", "model": "m", "input": "0.0000000000001"}, "more decimals than the ledger keeps"),
        ({"provider": "p", "model": "m", "input": "1." + "0" * 40 + "1"}, "more decimals than the ledger keeps"),
        ({"provider": "p", "model": "m", "input": 1, "from": "May"}, r"from: 'May' is not a day"),
        (
            {"provider": "p", "model": "m", "input": 1, "from": "2026-02-01", "to": "2026-02-01"},
            "to: 2026-02-01 is not after",
        ),
        ({"provider": "p", "model": "m", "input": 1, "mode": "slow"}, "mode: 'slow' is none of standard"),
        (
            {"provider": "p", "model": "m", "input": 1, "deployment_type": "ptu"},
            "deployment_type: 'ptu' is none of global",
        ),
        ({"provider": "p", "model": "m", "input": 1, "hours": "late"}, "hours: 'late'"),
        ({"provider": "p", "model": "m", "input": 1, "context_over": "many"}, "context_over: 'many' is not a number"),
    ],
)
def test_a_wrong_price_is_an_error_that_names_its_place(fields, sentence):
    with pytest.raises(PriceBookError, match=sentence):
        parse_own_prices([fields])


def test_two_prices_for_one_key_and_day_are_an_error():
    price = {"provider": "p", "model": "m", "input": 1}
    with pytest.raises(PriceBookError, match="two rows have this key"):
        parse_own_prices([price, price])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"percent": 5}, r"prices.discounts\[0\], provider: it is missing"),
        ({"provider": "azure"}, r"prices.discounts\[0\], percent: '' is not a number"),
        ({"provider": "azure", "percent": 0}, "percent: 0: a discount takes off more than 0"),
        ({"provider": "azure", "percent": 101}, "at most 100"),
        ({"provider": "azure", "percent": 5, "modle": "x"}, r"prices.discounts\[0\], modle: there is no such field"),
        ({"provider": "azure", "percent": 5, "from": "2026-02-01", "to": "2026-01-01"}, "to: 2026-01-01 is not after"),
    ],
)
def test_a_wrong_discount_is_an_error_that_names_its_place(fields, sentence):
    with pytest.raises(PriceBookError, match=sentence):
        parse_own_discounts([fields])


def test_a_discount_names_the_row_that_it_cuts_and_is_exact():
    discounts = parse_own_discounts([{"name": "EA-2026", "provider": "azure", "percent": "12.5"}])
    catalog = default_catalog(own_discounts=discounts)
    cost = catalog.price(GPT_4O, MILLION, NOW)
    assert cost.total == Decimal("2.1875")
    assert cost.row == "azure/gpt-4o/global/standard@2024-12-01-12.5%(EA-2026)"
    row = find_row(cost.book, cost.row, catalog=catalog)
    assert row.source == "azure/gpt-4o/global/standard@2024-12-01 of azure@2026-11-26, 12.5% off (EA-2026)"
    archived = next(book for book in catalog.books if book.id == cost.book).to_bytes()
    assert find_row(cost.book, cost.row, archived=archived) == row


def test_the_most_specific_discount_counts_and_they_do_not_add_up():
    discounts = parse_own_discounts(
        [
            {"name": "all", "provider": "azure", "percent": 10},
            {"name": "type", "provider": "azure", "percent": 20, "deployment_type": "global"},
            {"name": "model", "provider": "azure", "percent": 50, "model": "gpt-4o-mini"},
        ]
    )
    catalog = default_catalog(own_discounts=discounts)

    def cost(**key: str) -> Decimal | None:
        return catalog.price(PriceKey(provider="azure", **key), MILLION, NOW).total

    assert cost(model="gpt-4o-mini") == Decimal("0.075")
    assert cost(model="gpt-4o") == 2
    assert cost(model="gpt-4o", deployment_type="data_zone", region="eu") == Decimal("2.475")


def test_an_agreed_price_and_a_scenario_are_not_cut_again():
    rows = parse_own_prices([{"provider": "azure", "model": "gpt-4o", "input": 2}])
    discounts = parse_own_discounts([{"provider": "azure", "percent": 50}])
    assert default_catalog(own_rows=rows, own_discounts=discounts).price(GPT_4O, MILLION, NOW).total == 2
    scenario = default_catalog(scenario="guide-2026-03", own_discounts=discounts)
    assert scenario.price(GPT_4O, MILLION, NOW).total == Decimal("2.5")


def test_a_discount_reaches_direct_providers_too():
    discounts = parse_own_discounts([{"provider": "openai", "percent": 50}])
    cost = default_catalog(own_discounts=discounts).price(PriceKey(provider="openai", model="gpt-4o"), MILLION, NOW)
    assert cost.total == Decimal("1.25")


def test_a_discount_has_its_days():
    rows = [PriceRow(provider="p", model="m", valid_from=D1, rates={"input": Decimal(8)}, earliest=True)]
    book = make_book("list", "1", rows)
    offers = [Discount(name="x", provider="p", percent=Decimal(25), valid_from=D2, valid_to=D3)]
    catalog = Catalog([*discounted(book, offers), book])
    key = PriceKey(provider="p", model="m")
    old = datetime(2020, 1, 1, tzinfo=UTC)
    assert [catalog.price(key, Usage(input=1), at).total for at in (old, D1, D2, D3)] == [8, 8, 6, 8]


days = st.integers(0, 40).map(lambda n: datetime(2026, 1, 1, tzinfo=UTC).replace(day=1 + n % 28, month=1 + n // 28))
spans = st.tuples(days, days).filter(lambda span: span[0] < span[1])


@given(st.dictionaries(days, st.one_of(st.none(), days), max_size=5), spans, days)
def test_a_discounted_price_is_the_list_price_of_the_day_cut_while_the_discount_runs(starts, span, at):
    rows = [
        PriceRow(provider="p", model="m", valid_from=start, valid_to=end, rates={"input": Decimal(n)})
        for n, (start, end) in enumerate(starts.items(), 1)
        if end is None or end > start
    ]
    book = make_book("list", "1", rows)
    offers = [Discount(name="x", provider="p", percent=Decimal(50), valid_from=span[0], valid_to=span[1])]
    key = PriceKey(provider="p", model="m")
    plain = Catalog([book]).price(key, Usage(input=2), at).total
    cut = Catalog([*discounted(book, offers), book]).price(key, Usage(input=2), at).total
    assert cut == (plain / 2 if plain is not None and span[0] <= at < span[1] else plain)


def test_free_and_flat_rate_rows_are_not_discounted():
    book = shipped_book("azure")
    for cut in discounted(book, parse_own_discounts([{"provider": "azure", "percent": 10}])):
        assert not any(row.flat_rate or row.free for row in cut.rows)


def test_the_data_folder_brings_the_users_own_book_before_the_shipped_ones(tmp_path):
    assert own_layers(tmp_path).books == ()
    file = own_file(tmp_path)
    file.parent.mkdir()
    file.write_text("provider,model,from,input,output\nazure,gpt-4o,2026-11-01,1,2\nazure,gpt-4o,2026-12-01,1.5,2\n")
    layers = own_layers(tmp_path)
    catalog = default_catalog(own_books=layers.books, updates=layers.updates, direct=layers.direct)
    prices = [catalog.price(GPT_4O, MILLION, at).total for at in (D4, NOW, datetime(2026, 12, 1, tzinfo=UTC))]
    assert prices == [Decimal("2.5"), 1, Decimal("1.5")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("provider,model,input\nazure,gpt-4o,1\nazure,gpt-4.1,x\n", "own.csv, line 3, input: 'x' is not an amount"),
        ("provider,model,input\nazure,gpt-4o,1,9\n", "line 2: it has more fields"),
        ('provider,model,input\nazure,"gpt-4o,1\n', "not CSV"),
        ("provider,model,input\nazure,gpt-4o,1\nazure,gpt-4o,2\n", "two rows have this key"),
    ],
)
def test_a_broken_own_book_is_an_error_that_names_the_line(tmp_path, text, sentence):
    file = tmp_path / "own.csv"
    file.write_text(text)
    with pytest.raises(PriceBookError, match=sentence):
        own_book(file)


def test_the_own_book_is_another_book_once_a_row_is_added(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("provider,model,input\nazure,gpt-4o,1\n")
    first = own_book(file)
    file.write_text("provider,model,input\nazure,gpt-4o,1\nazure,gpt-4.1,1\n")
    assert own_book(file).id != first.id
