"""Reports of many requests a row, and of what was charged."""

import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from tests.ledger.importers.reading import DATA, NOW, read, rejected

from penstock.ledger.importers import anthropic_costs, anthropic_usage, azure_metrics, openai_costs
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Note
from penstock.ledger.importers.formats import choose
from penstock.ledger.importers.run import import_file
from penstock.ledger.store import Ledger
from penstock.pricing.books import default_catalog
from penstock.pricing.usage import Usage

CATALOG = default_catalog()


def sample(name: str) -> Any:
    return json.loads((DATA / name).read_text("utf-8"))


def drafts(format_: Format, document: Any, **assumed: str) -> list[Draft]:
    return [item for item in read(format_, json.dumps(document), **assumed) if isinstance(item, Draft)]


def test_anthropic_s_input_is_without_the_cache():
    [draft] = drafts(anthropic_usage.FORMAT, sample("anthropic_usage.json"))
    assert draft.event.usage == Usage(
        input=500_000, cache_read=400_000, cache_write=100_000, output=200_000, web_searches=10
    )
    assert (draft.event.provider, draft.event.model, draft.event.requests) == ("anthropic", "claude-sonnet-4-5", 0)


def test_a_bucket_of_short_calls_is_priced_as_such_however_many_tokens_it_holds(tmp_path):
    document = sample("anthropic_usage.json")
    costs = {}
    for window in ("0-200k", "200k-1M"):
        document["data"][0]["results"][0]["context_window"] = window
        (tmp_path / "usage.json").write_text(json.dumps(document))
        outcome = import_file(
            tmp_path / "usage.json", choose(tmp_path / "usage.json", Assumed()),
            assumed=Assumed(), catalog=CATALOG, now=NOW, ledger=None,
        )  # fmt: skip
        costs[window] = outcome.cost
    searches = 10 * Decimal("0.01")
    rates = {"0-200k": ("3", "0.3", "3.75", "15"), "200k-1M": ("6", "0.6", "7.5", "22.5")}
    for window, (fresh, cached, written, out) in rates.items():
        million = 5 * Decimal(fresh) + 4 * Decimal(cached) + Decimal(written) + 2 * Decimal(out)
        assert costs[window] == million / 10 + searches


def test_anthropic_s_amounts_are_cents_and_mere_charges():
    [draft] = drafts(anthropic_costs.FORMAT, sample("anthropic_costs.json"))
    assert (draft.event.provider_cost, draft.event.usage, draft.only_charged) == (Decimal("1.5"), Usage(), True)
    assert draft.event.endpoint == "uncached_input_tokens"


def test_a_mere_charge_is_unpriced_never_zero_and_repricing_leaves_it(tmp_path):
    file = DATA / "anthropic_costs.json"
    with Ledger.open(tmp_path) as ledger:
        for new in (1, 0):
            outcome = import_file(
                file, choose(file, Assumed()), assumed=Assumed(), catalog=CATALOG, now=NOW, ledger=ledger
            )
            assert (outcome.new, outcome.charged, outcome.charges) == (new, {"claude-sonnet-4-5": 1}, Decimal("1.5"))
            assert (outcome.cost, outcome.unpriced) == (0, {})
        ledger.reprice(CATALOG, dry_run=False)
        [event] = ledger.events()
    assert (event.price_state, event.cost, event.provider_cost) == ("unpriced", None, Decimal("1.5"))


def test_an_openai_line_item_is_a_model_a_kind_and_a_quantity():
    lines = drafts(openai_costs.FORMAT, sample("openai_costs.json"))
    assert [draft.event.usage for draft in lines] == [
        Usage(input=3_976_000), Usage(cache_read=1_024_000), Usage(output=3_000_000),
    ]  # fmt: skip
    assert {draft.event.model for draft in lines} == {"gpt-4o-mini-2024-07-18"}
    assert sum(draft.event.provider_cost or 0 for draft in lines) == Decimal("2.4732")
    assert not any(draft.only_charged for draft in lines)


@pytest.mark.parametrize(
    "fields", [{"line_item": "web search tool calls"}, {"line_item": None}, {"quantity": None}, {"quantity_unit": "s"}]
)
def test_a_line_item_that_is_no_known_token_is_a_mere_charge(fields):
    document = sample("openai_costs.json")
    document["data"][0]["results"] = [document["data"][0]["results"][0] | fields]
    [draft] = drafts(openai_costs.FORMAT, document)
    assert (draft.only_charged, draft.event.provider_cost) == (True, Decimal("0.5964"))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"amount": {"value": 1, "currency": "eur"}}, "wrong_currency"), ({"amount": {}}, "missing_value"),
        ({"amount": {"value": "dear"}}, "not_a_number"), ({"quantity": -1}, "negative_number"),
    ],
)  # fmt: skip
def test_a_cost_that_cannot_be_booked_is_named(fields, code):
    document = sample("openai_costs.json")
    document["data"][0]["results"][1] |= fields
    assert rejected(openai_costs.FORMAT, json.dumps(document)) == [(2, code)]


def test_metrics_are_one_event_an_hour_and_deployment():
    items = read(azure_metrics.FORMAT, json.dumps(sample("azure_metrics.json")))
    found = [item.event for item in items if isinstance(item, Draft)]
    assert [(event.at.hour, event.usage, event.requests) for event in found] == [
        (0, Usage(input=208_333, output=125_000), 417), (1, Usage(input=208_333, output=125_000), 417),
        (2, Usage(input=208_334, output=125_000), 416),
    ]  # fmt: skip
    assert {(event.deployment, event.model, event.app) for event in found} == {
        ("gpt-4o-mini-prod", "gpt-4o-mini", "aoai-1")
    }
    assert any("AzureOpenAIProvisionedManagedUtilizationV2" in item.text for item in items if isinstance(item, Note))


def test_two_answers_that_overlap_and_two_families_of_metrics_count_once():
    document = sample("azure_metrics.json")
    newer = copy.deepcopy(document)
    for metric, name in zip(newer["value"], ("InputTokens", "OutputTokens"), strict=False):
        metric["name"]["value"] = name
    once = drafts(azure_metrics.FORMAT, document)
    assert drafts(azure_metrics.FORMAT, [document, document, newer]) == once
    assert len(once) == 3


def test_counts_split_by_a_dimension_that_is_no_field_are_added():
    document = sample("azure_metrics.json")
    for metric in document["value"][:2]:
        [series] = metric["timeseries"]
        other = copy.deepcopy(series)
        other["metadatavalues"].append({"name": {"value": "streamtype"}, "value": "Streaming"})
        metric["timeseries"].append(other)
    assert drafts(azure_metrics.FORMAT, document)[0].event.usage == Usage(input=416_666, output=250_000)


@pytest.mark.parametrize(
    ("format_", "name", "old", "new"),
    [
        (openai_costs.FORMAT, "openai_costs.json", "1773532800", "1900000000"),
        (anthropic_usage.FORMAT, "anthropic_usage.json", "2026-03-15", "2027-03-15"),
        (anthropic_costs.FORMAT, "anthropic_costs.json", "2026-03-15", "2026-11-24"),
        (azure_metrics.FORMAT, "azure_metrics.json", "2026-03-14T02:00", "2026-11-23T11:30"),
    ],
)
def test_a_bucket_that_still_grows_is_left_for_later(format_, name, old, new):
    text = (DATA / name).read_text("utf-8").replace(old, new)
    assert {code for _line, code in rejected(format_, text)} == {"unfinished_bucket"}


@pytest.mark.parametrize("format_", [openai_costs.FORMAT, anthropic_usage.FORMAT, anthropic_costs.FORMAT])
def test_a_page_that_has_more_is_told(format_):
    document = sample(f"{format_.name}.json") | {"has_more": True}
    assert any("has_more" in item.text for item in read(format_, json.dumps(document)) if isinstance(item, Note))


@pytest.mark.parametrize("format_", [openai_costs.FORMAT, anthropic_usage.FORMAT, anthropic_costs.FORMAT])
def test_the_id_of_a_result_is_its_bucket_and_dimensions_and_not_its_counts(format_):
    document = sample(f"{format_.name}.json")
    one, *_ = drafts(format_, document)
    result = document["data"][0]["results"][0]
    result |= (
        {"output_tokens": 7}
        if "output_tokens" in result
        else {"amount": {"value": 9} if "line_item" in result else "9"}
    )
    other, *_ = drafts(format_, document)
    assert one.source_id == other.source_id
    assert one.content != other.content
