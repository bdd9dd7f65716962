from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from penstock.errors import PriceBookError
from penstock.pricing.azure_meters import LONG_CONTEXT, read_meter
from penstock.pricing.azure_retail import Item, read_page, read_prices, without_losses
from penstock.pricing.book import PriceKey, make_book
from penstock.pricing.books import default_catalog
from penstock.pricing.catalog import Catalog
from penstock.pricing.usage import Usage

PAGE = (Path(__file__).parents[1] / "recorded/azure_retail/page1.json").read_bytes()
TODAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def item(meter: str, price: str = "1", region: str = "eastus2", start: str = "2026-01-01", **fields: object) -> Item:
    return Item(
        **{
            "meter_name": meter, "retail_price": Decimal(price), "arm_region_name": region,
            "effective_start_date": datetime.fromisoformat(start).replace(tzinfo=UTC), "product_name": "Azure OpenAI",
            "unit_of_measure": "1M", "type": "Consumption", "currency_code": "USD",
        } | fields
    )  # fmt: skip


def both(price: str, region: str = "eastus2", start: str = "2026-01-01", zone: str = "glbl") -> list[Item]:
    return [item(f"gpt 4.1 {unit} {zone} Tokens", price, region, start) for unit in ("Inp", "Outp")]


def dollars(items: list[Item], at: datetime = NOW, **key: str) -> Decimal | None:
    catalog = Catalog([read_prices(items, TODAY).rows])
    return catalog.price(
        PriceKey(**({"provider": "azure", "model": "gpt-4.1"} | key)), Usage(input=1_000_000), at
    ).total


@pytest.mark.parametrize(
    ("name", "product", "found"),
    [
        ("gpt 4o 1120 Inp glbl Tokens", "Azure OpenAI", "gpt-4o 2024-11-20 global standard 0 input"),
        ("gpt-4o-mini-0718-Outp-glbl Tokens", "Azure OpenAI", "gpt-4o-mini 2024-07-18 global standard 0 output"),
        (
            "gpt 4o mini0718 BatchOutp DataZone Tokens",
            "Azure OpenAI",
            "gpt-4o-mini 2024-07-18 data_zone batch 0 output",
        ),
        ("gpt 4.1 cached Inp regnl Tokens", "Azure OpenAI", "gpt-4.1  regional standard 0 cache_read"),
        ("o3 mini 0131 input Data Zone Tokens", "Azure OpenAI", "o3-mini 2025-01-31 data_zone standard 0 input"),
        ("5.4 mini cd Inp Dz 1M Tokens", "Azure OpenAI GPT5", "gpt-5.4-mini  data_zone standard 0 cache_read"),
        ("5 pp inp Gl 1M Tokens", "Azure OpenAI GPT5", "gpt-5  global priority 0 input"),
        (
            "5.6 luna ShortCo Cd Wr Std DZ 1M Tokens",
            "Azure OpenAI GPT5",
            "gpt-5.6-luna  data_zone standard 0 cache_write",
        ),
        (
            "5.6 sol LongCo Opt Std Gl 1M Tokens",
            "Azure OpenAI GPT5",
            f"gpt-5.6-sol  global standard {LONG_CONTEXT} output",
        ),
        ("gpt 5 mini cchd Inpt Glbl 1M Tokens", "Azure OpenAI GPT5", "gpt-5-mini  global standard 0 cache_read"),
        ("R1 Outp glbl Tokens", "Azure Deepseek Models", "DeepSeek-R1  global standard 0 output"),
        ("Phi-4-Input Tokens", "Azure Phi Models", "Phi-4  global standard 0 input"),
        ("text-embedding-3-small-glbl Tokens", "Azure OpenAI", "text-embedding-3-small  global standard 0 input"),
    ],
)
def test_every_spelling_of_a_meter_says_the_same_thing(name, product, found):
    assert " ".join(str(part) for part in msgspec.structs.astuple(read_meter(name, product))) == found


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gpt-4o-realtime-0101-Inp-glbl Tokens", "the word 'realtime' is not known"),
        ("gpt 5 pro Inp glbl Tokens", "the word 'pro' is not known"),
        ("gpt 4o 0999 Inp glbl Tokens", "the word '0999' is not known"),
        ("o3 deep research Inp glbl Tokens", "the word 'deep' is not known"),
        ("gpt 4.1 Inp Tokens", "it names no deployment type"),
        ("gpt 4.1 Inp glbl regnl Tokens", "it names global and regional"),
        ("gpt 4.1 Batch pp Inp glbl Tokens", "it names batch and priority"),
        ("gpt 4.1 glbl Tokens", "it does not say which tokens it bills"),
        ("gpt 4.1 Inp Outp glbl Tokens", "it does not say which tokens it bills"),
        ("gpt-4.1-ft hosting global Unit", "fine-tuning"),
        ("gpt 4o Aud Inp glbl Tokens", "audio"),
        ("Provisioned Managed Global Unit", "provisioned capacity, paid by the hour"),
        ("Grok 4 Inp glbl Tokens", "a model that is not known here"),
    ],
)
def test_a_meter_with_any_word_that_is_not_known_is_not_guessed(name, why):
    assert read_meter(name, "Azure OpenAI") == why


def test_another_makers_model_is_not_taken_for_one_of_the_same_name():
    assert read_meter("R1 Inp glbl Tokens", "Azure OpenAI") == "a model that is not known here"
    assert read_meter("Phi-4-mini-Input Tokens", "Azure Phi Models") == "the word 'mini' is not known"


def test_the_recorded_page_gives_its_whole_prices_and_lists_everything_else():
    page = read_page(PAGE)
    prices = read_prices(page.items, TODAY)
    assert [row.model for row in prices.rows] == [
        "gpt-4o", "gpt-4o-mini", "gpt-4o-mini", "gpt-4.1", "DeepSeek-R1", "Phi-4", "text-embedding-3-small",
    ]  # fmt: skip
    used = sum(row.source.count(" Tokens") for row in prices.rows)
    assert used + sum(left.items for left in prices.left) == len(page.items) == 42
    whys = {left.meter: left.why for left in prices.left}
    assert whys["gpt 4.1 Inp regnl Tokens"] == "no meter for output beside it: half a price is left out"
    assert whys["NC24ads A100 v4 Spot"] == "a virtual machine, not a model"


def test_the_recorded_page_agrees_with_the_shipped_book():
    shipped = default_catalog()
    for row in read_prices(read_page(PAGE).items, TODAY).rows:
        key = PriceKey(
            **{
                name: getattr(row, name)
                for name in ("provider", "model", "version", "deployment_type", "region", "mode")
            }
        )
        known = shipped.row(key, NOW)
        assert {unit: known.rates[unit] for unit in row.rates} == row.rates, row.id


def test_a_reservation_is_the_total_of_its_term_and_never_a_rate():
    items = [*both("2"), item("gpt 4.1 Inp glbl Tokens", "260", type="Reservation")]
    assert dollars(items) == 2
    assert [left.why for left in read_prices(items, TODAY).left] == [
        "a reservation: the total of its whole term, not a rate"
    ]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"type": "DevTestConsumption"}, "a DevTestConsumption price"),
        ({"currency_code": "EUR"}, "its price is in EUR"),
        ({"unit_of_measure": "1 Hour"}, "its unit is '1 Hour', not tokens"),
        ({"tier_minimum_units": Decimal(100)}, "a volume tier above 100 units"),
        ({"product_name": "Virtual Machines NC Windows"}, "a Windows machine"),
        ({"product_name": "Virtual Machines NC"}, "a virtual machine"),
    ],
)
def test_what_is_no_rate_for_tokens_is_listed_with_its_reason(fields, why):
    items = [*both("2"), item("gpt 4.1 cached Inp glbl Tokens", **fields)]
    prices = read_prices(items, TODAY)
    assert [left.why.startswith(why) for left in prices.left] == [True]
    assert "cache_read" not in prices.rows[0].rates


def test_units_of_a_thousand_and_of_a_million_are_one_price():
    thousand = [item(f"gpt 4.1 {unit} glbl Tokens", "0.002", unit_of_measure="1K") for unit in ("Inp", "Outp")]
    assert dollars(thousand) == dollars(both("2")) == 2


def test_several_effective_dates_are_all_kept_the_newest_in_force_counts():
    items = [*both("3", start="2026-01-01"), *both("2", start="2026-06-01"), *both("1", start="2027-01-01")]
    days = ("2026-05-31", "2026-06-01", "2026-11-23", "2027-01-01")
    assert [dollars(items, datetime.fromisoformat(day).replace(tzinfo=UTC)) for day in days] == [3, 2, 2, 1]


def test_a_meter_that_has_ended_prices_nothing_after_its_end():
    ended = [msgspec.structs.replace(one, effective_end_date=datetime(2026, 6, 1, tzinfo=UTC)) for one in both("3")]
    assert dollars(ended, datetime(2026, 5, 1, tzinfo=UTC)) == 3
    assert dollars(ended, NOW) is None


def test_units_that_change_on_different_days_carry_each_other_on():
    items = [
        item("gpt 4.1 Inp glbl Tokens", "2"),
        item("gpt 4.1 Outp glbl Tokens", "8"),
        item("gpt 4.1 Outp glbl Tokens", "6", start="2026-06-01"),
    ]
    rows = read_prices(items, TODAY).rows
    assert [(row.valid_from.month, row.rates["input"] * 10**6, row.rates["output"] * 10**6) for row in rows] == [
        (1, 2, 8),
        (6, 2, 6),
    ]


def test_a_price_begins_when_both_its_halves_do():
    items = [item("gpt 4.1 Inp glbl Tokens", "2"), item("gpt 4.1 Outp glbl Tokens", "8", start="2026-06-01")]
    assert [row.valid_from.month for row in read_prices(items, TODAY).rows] == [6]


def test_a_global_price_that_is_the_same_everywhere_is_one_row_for_everywhere():
    items = [*both("2", "eastus2"), *both("2", "japaneast", "2026-03-01")]
    (row,) = read_prices(items, TODAY).rows
    assert (row.region, row.valid_from.month) == ("", 1)


def test_one_meter_with_several_live_prices_keeps_them_apart_by_region():
    items = [*both("2.2", zone="regnl"), *both("2.42", "swedencentral", zone="regnl")]
    prices = [
        dollars(items, deployment_type="regional", region=region)
        for region in ("eastus2", "swedencentral", "westus", "")
    ]
    assert prices == [Decimal("2.2"), Decimal("2.42"), None, None]
    apart = [*both("2", "eastus2"), *both("3", "japaneast")]
    assert [dollars(apart, region=region) for region in ("eastus2", "japaneast", "")] == [2, 3, None]


def test_a_data_zone_is_priced_by_its_zone():
    items = [
        *both("2.2", "eastus2", zone="DZ"),
        *both("2.4", "japaneast", zone="Data Zone"),
        *both("2.5", "koreacentral", zone="DZone"),
    ]
    regions = ("westus", "eu", "apac", "koreacentral", "koreasouth")
    prices = [dollars(items, deployment_type="data_zone", region=region) for region in regions]
    assert prices == [Decimal("2.2"), None, Decimal("2.4"), Decimal("2.5"), None]


def test_two_prices_for_one_meter_region_and_day_are_both_refused():
    items = [*both("2"), item("gpt-4.1-Inp-glbl Tokens", "3")]
    prices = read_prices(items, TODAY)
    assert prices.rows == ()
    assert any("two prices for one day in eastus2" in left.why for left in prices.left)


def test_the_same_price_twice_is_one_price():
    assert dollars([*both("2"), *both("2")]) == 2


def test_half_a_price_never_hides_a_whole_one():
    items = [item("gpt 4o mini 0718 Inp glbl Tokens", "0.15"), item("gpt 4o mini 0718 Outp glbl Tokens", "0.6")]
    prices = without_losses(read_prices(items, TODAY), default_catalog(), NOW)
    assert prices.rows == ()
    assert [left.why for left in prices.left] == ["no meter for cache_read, which the present price has"]


def test_a_new_book_comes_before_the_shipped_one_and_leaves_the_rest_to_it():
    update = make_book("azure-retail", "x", read_prices(both("1.5", start="2026-11-20"), TODAY).rows)
    catalog = default_catalog(updates=[update])
    key = PriceKey(provider="azure", model="gpt-4.1")
    assert catalog.price(key, Usage(input=1_000_000), NOW).total == Decimal("1.5")
    assert catalog.price(key, Usage(input=1_000_000), datetime(2026, 11, 19, tzinfo=UTC)).total == 2
    assert catalog.price(PriceKey(provider="azure", model="gpt-4o"), Usage(input=1), NOW).book == "azure@2026-11-26"


@pytest.mark.parametrize("body", [PAGE[:-10], b"", b"<html>", b'{"Items": [{"meterName": 1}]}', b"\xff\xfe"])
def test_a_page_that_is_cut_off_is_an_error_and_not_fewer_prices(body):
    with pytest.raises(PriceBookError, match="not a whole page"):
        read_page(body)
