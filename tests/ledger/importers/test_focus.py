import csv
import io
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from tests.ledger.importers.reading import DATA, NOW, read, rejected

from penstock.ledger.importers.drafts import Assumed, Draft, Note
from penstock.ledger.importers.focus import FORMAT
from penstock.ledger.importers.formats import choose
from penstock.ledger.importers.run import import_file
from penstock.ledger.store import Ledger
from penstock.pricing.books import default_catalog
from penstock.pricing.usage import Usage

FILE = DATA / "focus_1_2.csv"


def azure(**fields: str) -> dict[str, str]:
    """Make a row as Azure's export of costs writes it."""
    return {
        "BilledCost": "2.5", "BillingCurrency": "USD", "ChargeCategory": "Usage",
        "ChargePeriodStart": "2026-03-14T00:00Z",
        "ChargePeriodEnd": "2026-03-15T00:00Z", "ConsumedQuantity": "1000000", "ConsumedUnit": "Units",
        "PricingQuantity": "1000", "PricingUnit": "1K", "ProviderName": "Microsoft", "RegionId": "swedencentral",
        "ResourceId": "/subscriptions/0/providers/microsoft.cognitiveservices/accounts/aoai1", "SubAccountId": "sub",
        "ServiceCategory": "AI and Machine Learning", "ServiceName": "Azure OpenAI", "SkuPriceId": "p",
        "Tags": '"team":"support","app":"bot"', "x_PricingBlockSize": "1000",
        "x_SkuMeterName": "gpt 4o 1120 Inp glbl Tokens", "x_SkuMeterSubcategory": "Azure OpenAI",
    } | fields  # fmt: skip


def text(*rows: dict[str, str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def drafts(*rows: dict[str, str]) -> list[Draft]:
    return [item for item in read(FORMAT, text(*rows)) if isinstance(item, Draft)]


def test_token_meters_of_azure_become_models_and_tokens():
    [draft] = drafts(azure())
    event = draft.event
    assert (event.usage, event.model, event.version) == (Usage(input=1_000_000), "gpt-4o", "2024-11-20")
    assert (event.provider, event.deployment_type, event.region) == ("azure", "global", "swedencentral")
    assert (event.provider_cost, event.team, event.app) == (Decimal("2.5"), "support", "bot")
    assert event.at == datetime(2026, 3, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"PricingUnit": "1M", "PricingQuantity": "1.5"}, 1_500_000),
        ({"PricingUnit": "1M Tokens"}, 1_000_000_000),
        ({"PricingUnit": "1000000 Tokens", "PricingQuantity": "0.5"}, 500_000),
        ({"PricingUnit": "", "x_PricingBlockSize": "", "ConsumedUnit": "1K", "ConsumedQuantity": "12.345"}, 12_345),
        ({"PricingUnit": "", "PricingQuantity": "2"}, 2_000),
    ],
)
def test_a_quantity_is_read_with_the_size_of_its_unit(fields, tokens):
    assert drafts(azure(**fields))[0].event.usage == Usage(input=tokens)


@pytest.mark.parametrize(
    "fields",
    [
        {"x_SkuMeterName": "Provisioned Managed Global Unit", "PricingUnit": "1 Hour"},
        {"ChargeCategory": "Purchase"},
        {"x_SkuMeterName": "gpt 99 Inp glbl Tokens"},
        {"ChargeCategory": "Credit", "BilledCost": "-3"},
        {"PricingUnit": "1 Hour", "x_PricingBlockSize": "", "ConsumedUnit": "Hours"},
    ],
)
def test_what_is_no_token_meter_is_a_mere_charge(fields):
    [draft] = drafts(azure(**fields))
    assert (draft.only_charged, draft.event.usage) == (True, Usage())
    assert draft.event.provider_cost == Decimal(fields.get("BilledCost", "2.5"))


def test_rows_of_other_services_are_counted_and_passed_over():
    other = azure(ServiceCategory="Compute", ServiceName="Virtual Machines", x_SkuMeterSubcategory="NC A100 v4")
    found = read(FORMAT, text(azure(), other))
    assert [item.text for item in found if isinstance(item, Note)] == ["1 rows of other services than AI"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"BillingCurrency": "EUR"}, "wrong_currency"), ({"BilledCost": ""}, "missing_value"),
        ({"ChargePeriodStart": "2026-11-21T00:00Z", "ChargePeriodEnd": "2026-11-22T00:00Z"}, "unfinished_bucket"),
        ({"PricingQuantity": "-x"}, "not_a_number"),
    ],
)  # fmt: skip
def test_a_charge_that_cannot_be_booked_is_named(fields, code):
    assert rejected(FORMAT, text(azure(), azure(**fields))) == [(3, code)]


def test_other_currencies_count_where_azure_gives_dollars():
    [draft] = drafts(azure(BillingCurrency="EUR", x_BilledCostInUsd="2.7"))
    assert draft.event.provider_cost == Decimal("2.7")


def test_equal_charges_are_as_many_as_they_are_and_an_amount_that_changed_is_no_second_charge():
    one, two = drafts(azure(), azure())
    assert one.source_id != two.source_id
    assert drafts(azure(BilledCost="2.6"))[0].source_id == one.source_id


def test_a_parquet_export_is_booked_as_the_csv_is(tmp_path):
    table = pyarrow.csv.read_csv(FILE, convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True))
    pq.write_table(table, tmp_path / "export.parquet")
    catalog = default_catalog()
    with Ledger.open(tmp_path / "ledger") as ledger:
        for file, new in (FILE, 3), (tmp_path / "export.parquet", 0):
            chosen = choose(file, Assumed())
            assert chosen[0].name == "focus"
            outcome = import_file(file, chosen, assumed=Assumed(), catalog=catalog, now=NOW, ledger=ledger)
            assert (outcome.read, outcome.provider_cost, outcome.cost) == (3, Decimal("15.35"), Decimal("15.35"))
            if new:
                assert outcome.new == new
        assert isinstance(table, pa.Table)
