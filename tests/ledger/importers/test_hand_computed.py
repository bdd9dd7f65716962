"""Every sample is imported twice, and holds what was computed from it by hand, with the providers' list prices.

Dollars stand as sums of tokens times dollars for a million tokens, as they were worked out on paper: nothing here asks
a price book. Prices: gpt-4o-mini 0.15 / cached 0.075 / 0.60 (EU data zone 0.165 / 0.0825 / 0.66), gpt-4o 2.50 / 1.25 /
10.00, o3-mini 1.10 / 4.40, text-embedding-3-small 0.02, Claude Sonnet 4.5 3.00 / read 0.30 / write 3.75 / 15.00, on
Bedrock's `us.` profile 10% more.
"""

from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.ledger.importers.reading import DATA, NOW

from penstock.ledger.importers.drafts import Assumed
from penstock.ledger.importers.formats import FORMATS, choose
from penstock.ledger.importers.run import Imported, import_file
from penstock.ledger.store import Ledger
from penstock.pricing.books import default_catalog

CATALOG = default_catalog()
OTHERS = Path(__file__).parents[3] / "../shared/data/imports"
SAYS = Assumed(provider="azure", model="gpt-4o", deployment_type="global")


class Expected(NamedTuple):
    """What a file holds: events, tokens by kind (reasoning is part of output), dollars, and what is not in these."""

    format: str
    events: int
    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    millionths: str = "0"
    """Dollars times 1,000,000."""
    unpriced: int = 0
    charges: str = "0"
    """Dollars of mere charges."""
    rejected: int = 0


EXPECTED = {
    # 35,245 tokens sent and 5,795 received, added up column by column
    "azure_llm_2023_conv_50.csv": Expected("traces", 50, 35_245, 0, 0, 5_795, "146062.5"),
    # 500 * 0.15 + 300 * 0.60 = 255; a failure and a hit: 0; 976 * 0.165 + 1,024 * 0.0825 + 300 * 0.66 = 443.52;
    # 1,500 * 3 + 1,000 * 0.30 + 500 * 3.75 + 100 * 15 = 8,175
    "litellm_spend_logs.jsonl": Expected("litellm", 5, 2_976, 2_024, 500, 700, "8873.52"),
    # 476 * 0.15 + 24 * 0.075 + 300 * 0.60
    "langfuse_observations.jsonl": Expected("langfuse", 1, 476, 24, 0, 300, "253.2"),
    "helicone_requests.jsonl": Expected("helicone", 1, 500, 0, 0, 300, "255"),
    # 500 * 3.30 + 400 * 0.33 + 300 * 16.50
    "bedrock_invocations.jsonl": Expected("bedrock", 1, 500, 400, 0, 300, "6732"),
    "apim_llm_log.jsonl": Expected("apim_llm", 1, 500, 0, 0, 300, "255"),
    # three rows without counts; the second row with counts has the id of the first, and another content
    "azure_diagnostics.jsonl": Expected("azure_diagnostics", 1, 500, 0, 0, 300, "255", rejected=4),
    "azure_diagnostics.csv": Expected("azure_diagnostics", 0, rejected=1),
    # 625,000 * 0.15 + 375,000 * 0.60
    "azure_metrics.json": Expected("azure_metrics", 3, 625_000, 0, 0, 375_000, "318750"),
    # 3,976,000 * 0.15 + 1,024,000 * 0.075 + 3,000,000 * 0.60, in both
    "openai_usage_completions.json": Expected("openai_usage", 1, 3_976_000, 1_024_000, 0, 3_000_000, "2473200"),
    "openai_costs.json": Expected("openai_costs", 3, 3_976_000, 1_024_000, 0, 3_000_000, "2473200"),
    "openai_usage_embeddings.json": Expected("openai_usage", 1, 1_200_000, millionths="24000"),
    # 500,000 * 3 + 400,000 * 0.30 + 100,000 * 3.75 + 200,000 * 15, and 10 searches at $10 a thousand
    "anthropic_usage.json": Expected("anthropic_usage", 1, 500_000, 400_000, 100_000, 200_000, "5095000"),
    "anthropic_costs.json": Expected("anthropic_costs", 1, unpriced=1, charges="1.50"),
    # 5,000,000 * 0.15 + 3,000,000 * 0.60 + 10,240,000 * 1.25
    "focus_1_2.csv": Expected("focus", 3, 5_000_000, 10_240_000, 0, 3_000_000, "15350000"),
    # 476 * 0.15 + 24 * 0.075 + 300 * 0.60 = 253.2, and 255
    "otlp_traces.json": Expected("otlp", 2, 976, 24, 0, 600, "508.2"),
    # 255; 976 * 2.50 + 1,024 * 1.25 + 100 * 10 = 4,720; 100 * 1.10 + 900 * 4.40 = 4,070
    "usage.csv": Expected("csv", 3, 1_576, 1_024, 0, 1_300, "9045"),
    # 10,000 - 4,000 sent, 4,000 of the cache, 20,000 received; after the restart 5,000 and 7,000
    "vllm_metrics.prom": Expected("vllm", 2, 11_000, 4_000, 0, 27_000, unpriced=2),
    "m365_copilot.csv": Expected("m365_copilot", 0),
    "m365_copilot.json": Expected("m365_copilot", 0),
}
SAME = {
    "anthropic/cost_report.json": "anthropic_costs.json",
    "anthropic/usage_report_messages.json": "anthropic_usage.json",
    "azure_monitor/apim_gateway_llm_log.jsonl": "apim_llm_log.jsonl",
    "azure_monitor/azurediagnostics_la_export.csv": "azure_diagnostics.csv",
    "azure_monitor/diagnostics_eventhub.jsonl": "azure_diagnostics.jsonl",
    "azure_monitor/metrics_api.json": "azure_metrics.json",
    "bedrock/model_invocation_log.jsonl": "bedrock_invocations.jsonl",
    "focus/token_spend_focus_1_2.csv": "focus_1_2.csv", "focus/token_spend_focus_1_4.csv": "focus_1_2.csv",
    "helicone/requests.jsonl": "helicone_requests.jsonl", "langfuse/observations.jsonl": "langfuse_observations.jsonl",
    "m365_copilot/usage_user_detail.csv": "m365_copilot.csv",
    "m365_copilot/usage_user_detail.json": "m365_copilot.json",
    "openai/costs.json": "openai_costs.json", "openai/usage_completions.json": "openai_usage_completions.json",
    "otel/otlp_traces.json": "otlp_traces.json",
}  # fmt: skip
"""Samples that say the same as one of ours."""
OWN = {
    "litellm/spend_logs.jsonl": Expected("litellm", 2, 500, 0, 0, 300, "255"),
    "otel/otlp_metrics.json": Expected("otlp_metrics", 0, rejected=2),  # cumulative
    "vllm/metrics.prom": Expected("vllm", 0, rejected=1),  # one scrape, and no time
}


def twice(file: Path, ledger: Ledger) -> Imported:
    """Import a file; again, it changes nothing."""
    assumed = SAYS if file.name.startswith("azure_llm") else Assumed()
    chosen = choose(file, assumed)
    first, again = (
        import_file(file, chosen, assumed=assumed, catalog=CATALOG, now=NOW, ledger=ledger) for _ in range(2)
    )
    assert (again.new, again.duplicates) == (0, first.new)
    assert (again.read, again.cost, again.rejected, again.notes) == (
        first.read, first.cost, first.rejected, first.notes,
    )  # fmt: skip
    return first


def check(file: Path, expected: Expected, folder: Path) -> None:
    with Ledger.open(folder) as ledger:
        outcome = twice(file, ledger)
        events = ledger.events()
    found = Expected(
        outcome.format, len(events),
        *(sum(getattr(event.usage, kind) for event in events) for kind in Expected._fields[2:6]),
        f"{sum((event.cost or Decimal(0)) * 1_000_000 for event in events):f}",
        sum(event.cost is None for event in events),
        str(outcome.charges), sum(outcome.rejected.values()),
    )  # fmt: skip
    assert found[:6] == expected[:6]
    assert (Decimal(found.millionths), Decimal(found.charges)) == (
        Decimal(expected.millionths),
        Decimal(expected.charges),
    )
    assert (found.unpriced, found.rejected) == (expected.unpriced, expected.rejected)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_holds_what_was_computed_by_hand(name, tmp_path):
    check(DATA / name, EXPECTED[name], tmp_path)


def test_every_sample_and_every_format_is_computed():
    assert sorted(EXPECTED) == sorted(file.name for file in DATA.iterdir() if file.suffix != ".md")
    # Samples of these two are made by their own tests.
    assert {one.format for one in EXPECTED.values()} == set(FORMATS) - {"otlp_metrics", "parquet"}


@pytest.mark.parametrize("name", [*SAME, *OWN])
def test_a_sample_of_others_holds_it_too(name, tmp_path):
    if not OTHERS.exists():
        pytest.skip("the samples of others are not beside this repository")
    check(OTHERS / name, OWN[name] if name in OWN else EXPECTED[SAME[name]], tmp_path)
