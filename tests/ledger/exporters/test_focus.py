import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analytics.made import MARCH, correction, event, table

from penstock.ledger.exporters.charges import Charge, Unpriced, charges, first_of_month
from penstock.ledger.exporters.focus import COLUMNS, OWN, columns, row_of, write
from penstock.pricing.usage import Usage

RATES = {"input": Decimal("0.0000025"), "cache_read": Decimal("0.00000125"), "output": Decimal("0.00001")}
NAMES = Path(__file__).parents[3] / "../shared/data/imports/focus/focus_1_4_columns.csv"


def rates(_book: str, _hash: str) -> Mapping[str, Decimal]:
    return RATES


def priced(usage: Usage, **changes: Any) -> Any:
    cost = sum((RATES[unit] * n for unit, n in usage.units().items()), Decimal(0))
    return event(usage=usage, price_book="b", price_hash="h", cost=cost, **changes)


def made(events: Any, rates: Any = rates) -> tuple[list[Charge], Unpriced]:
    left = Unpriced()
    return list(charges(table(events), rates, left)), left


def test_a_charge_is_a_day_a_payer_and_a_kind_of_token():
    usage = Usage(input=1_000_000, cache_read=200_000, output=50_000)
    found, _ = made([priced(usage, team="a"), priced(usage, team="a"), priced(Usage(input=5), team="b")])
    assert [(one.group["team"], one.unit, one.quantity, one.cost, one.requests) for one in found] == [
        ("a", "input", 2_000_000, Decimal(5), 2), ("a", "cache_read", 400_000, Decimal("0.5"), 0),
        ("a", "output", 100_000, Decimal(1), 0), ("b", "input", 5, Decimal("0.0000125"), 1),
    ]  # fmt: skip


counts = st.builds(Usage, input=st.integers(0, 10**7), cache_read=st.integers(0, 10**7), output=st.integers(0, 10**7))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(counts, st.integers(0, 3), st.sampled_from(["", "a", "b"])), min_size=1, max_size=6))
def test_charges_add_up_to_what_the_events_cost(some):
    events = [priced(usage, team=team, at=MARCH + timedelta(days=days)) for usage, days, team in some]
    found, left = made(events)
    assert sum(one.cost for one in found) == sum(one.cost for one in events)
    assert left == Unpriced()


def test_corrections_are_adjustments_of_the_difference():
    mine = priced(Usage(input=1000))
    found, _ = made([mine, correction(mine, Decimal("0.25"), price_hash="h", price_book="b", requests=0)])
    assert sum(one.cost for one in found) == mine.cost + Decimal("0.25")
    adjustment = next(one for one in found if not one.unit)
    row = row_of(adjustment, "1.4", "acct")
    assert (row["ChargeCategory"], row["BilledCost"], row["PricingQuantity"]) == ("Adjustment", Decimal("0.25"), None)


def test_an_event_without_a_price_is_counted_and_never_a_zero():
    found, left = made([priced(Usage(input=5)), event(cost=None, usage=Usage(input=7, output=2))])
    assert len(found) == 1
    assert (left.events, left.tokens) == (1, 9)


def test_without_the_book_a_group_is_one_charge_of_all_its_tokens():
    [one], _ = made([priced(Usage(input=5, output=6))], rates=lambda _book, _hash: None)
    assert (one.unit, one.quantity, one.rate, one.cost) == ("tokens", 11, None, Decimal("0.0000725"))
    assert row_of(one, "1.2", "acct")["ListUnitPrice"] is None


def test_provisioned_calls_are_charged_nothing_and_say_so():
    [one], _ = made([event(price_state="flat_rate", cost=Decimal(0), usage=Usage(input=5), price_hash="h")])
    row = row_of(one, "1.4", "acct")
    assert (row["BilledCost"], row["ListUnitPrice"]) == (0, 0)
    assert json.loads(row["SkuPriceDetails"])["x_PriceState"] == "flat_rate"


def test_a_row_has_the_prices_quantities_and_names_of_focus():
    [one], _ = made([priced(Usage(input=5_000_000), team="support", app="bot", deployment="gpt-4o-prod", key="k1")])
    row = row_of(one, "1.2", "Contoso EA")
    assert row["PricingQuantity"] * row["ListUnitPrice"] == row["ListCost"] == Decimal("12.5")
    assert (row["ConsumedQuantity"], row["ConsumedUnit"], row["PricingUnit"]) == (5_000_000, "Tokens", "1000000 Tokens")
    assert (row["ProviderName"], row["ServiceName"], row["ResourceName"]) == (
        "Microsoft",
        "Azure OpenAI",
        "gpt-4o-prod",
    )
    assert json.loads(row["Tags"]) == {"team": "support", "app": "bot"}
    assert json.loads(row["SkuPriceDetails"])["x_TokenType"] == "Input"
    assert (row["ChargePeriodStart"], row["BillingPeriodEnd"]) == (datetime(2026, 3, 14), datetime(2026, 4, 1))  # noqa: DTZ001


def test_a_month_ends_where_the_next_begins_also_in_december():
    assert first_of_month(datetime(2026, 12, 31, tzinfo=UTC)) == (
        datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def test_the_columns_of_1_4_are_those_of_the_specification():
    if not NAMES.exists():
        pytest.skip("the names of the columns are not beside this repository")
    with NAMES.open(newline="") as file:
        known = {row["column"]: row for row in csv.DictReader(file) if row["dataset"] == "Cost and Usage"}
    assert {name for name in columns("1.4") if name not in known} == {"x_Requests"}
    must = {name for name, row in known.items() if row["feature_level"] == "Mandatory"}
    assert must <= set(columns("1.4"))
    [one], _ = made([priced(Usage(input=5))])
    row = row_of(one, "1.4", "acct")
    assert [name for name in must if row[name] is None and known[name]["allows_nulls"] == "False"] == []
    for name, value in row.items():
        allowed = known.get(name, {}).get("allowed_values")
        assert not allowed or value is None or value in allowed.split("|"), name


@pytest.mark.parametrize("version", ["1.2", "1.4"])
def test_csv_and_parquet_hold_the_same(version, tmp_path):
    found, _ = made([priced(Usage(input=5, output=7)), priced(Usage(input=3), team="a")])
    rows = [row_of(one, version, "acct") for one in found]
    assert (
        write(tmp_path / "x.csv", rows, version, "csv") == write(tmp_path / "x.parquet", rows, version, "parquet") == 3
    )
    with (tmp_path / "x.csv").open(newline="") as file:
        text = list(csv.DictReader(file))
    typed = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert list(text[0]) == list(typed[0]) == [*COLUMNS, *OWN[version]]
    assert [Decimal(row["BilledCost"]) for row in text] == [row["BilledCost"] for row in typed]
    assert text[0]["ConsumedQuantity"].endswith(".0")
    assert text[0]["ChargePeriodStart"] == "2026-03-14T00:00:00Z"
    assert not list(tmp_path.glob(".*"))


def test_an_empty_period_is_a_file_with_its_columns(tmp_path):
    assert write(tmp_path / "x.parquet", [], "1.4", "parquet") == 0
    assert pq.read_table(tmp_path / "x.parquet").column_names == list(columns("1.4"))
