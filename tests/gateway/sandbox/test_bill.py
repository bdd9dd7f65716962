from datetime import UTC, datetime
from decimal import Decimal

import httpx2
from tests.gateway.sandbox.conftest import Sandbox, running

from penstock.gateway.sandbox.models import MODELS, find
from penstock.gateway.sandbox.prices import Metered, cost, sells
from penstock.gateway.sandbox.settings import SandboxSettings
from penstock.pricing.books import default_catalog
from penstock.pricing.catalog import PriceKey
from penstock.pricing.usage import Usage

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}


def test_a_call_is_billed_with_its_usage_and_exact_cost(sandbox: Sandbox) -> None:
    reply = sandbox.post("/v1/chat/completions", CHAT, x_client_request_id="mine")
    (entry,) = sandbox.entries(1)
    usage = reply.json()["usage"]
    assert entry["usage"] == usage
    assert entry["id"] == reply.json()["id"]
    assert entry["request_id"] == reply.headers["x-request-id"]
    assert (entry["client_request_id"], entry["path"], entry["model"]) == (
        "mine", "/v1/chat/completions", "gpt-4o-2024-08-06",
    )  # fmt: skip
    dollars = (usage["prompt_tokens"] * Decimal("2.5") + usage["completion_tokens"] * 10) / 1_000_000
    assert Decimal(entry["cost"]) == dollars


def test_totals_add_up_and_a_reset_empties_the_bill(sandbox: Sandbox) -> None:
    for model in ("gpt-4o", "gpt-4.1-nano", "gpt-4o"):
        sandbox.post("/v1/chat/completions", CHAT | {"model": model})
    sandbox.post("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["x", "y"]})
    bill = sandbox.bill()
    assert bill["totals"]["calls"] == 4
    assert Decimal(bill["totals"]["cost"]) == sum(Decimal(entry["cost"]) for entry in bill["entries"])
    assert sum(map(Decimal, bill["totals"]["cost_by_model"].values())) == Decimal(bill["totals"]["cost"])
    assert httpx2.delete(f"{sandbox.url}/sandbox/bill", timeout=60).json()["entries"] == []


def test_every_model_has_a_price_in_every_tier_it_is_sold_in() -> None:
    used = Metered(input=1_000_000, output=1_000_000)
    for model in MODELS:
        assert cost(model, "default", used) > 0
        for tier in ("flex", "priority"):
            if sells(model, tier):
                assert (cost(model, tier, used) > cost(model, "default", used)) is (tier == "priority")


def test_the_price_list_in_dollars_a_million() -> None:
    million = 1_000_000

    def price(model: str, tier: str = "default", **used: int) -> Decimal:
        found = find(model)
        assert found is not None
        return cost(found, tier, Metered(**used))

    assert price("gpt-4o", input=million) == Decimal("2.5")
    assert price("gpt-4o-mini", cached=million) == Decimal("0.075")
    assert price("gpt-4.1", "priority", output=million) == 14
    assert price("claude-sonnet-5", write_5m=million, write_1h=million) == Decimal("6.5")
    assert price("claude-haiku-4-5", cached=1) == Decimal("0.0000001")


def test_a_full_bill_takes_no_more_calls() -> None:
    with running(SandboxSettings(bill_limit=1)) as sandbox:
        statuses = [sandbox.post("/v1/chat/completions", CHAT).status_code for _ in range(2)]
    assert statuses == [200, 507]


def test_the_price_list_agrees_with_the_books_wherever_these_have_a_price() -> None:
    catalog, at = default_catalog(), datetime(2026, 11, 23, tzinfo=UTC)
    units = {"input": "input", "cached": "cache_read", "write_5m": "cache_write", "write_1h": "cache_write_1h"}
    agreed = 0
    for model in MODELS:
        for provider in ("anthropic",) if model.vendor == "anthropic" else ("openai", "azure"):
            name, version = catalog.identify(provider, model.served)
            for tier in ("default", "flex", "priority"):
                if tier != "default" and not sells(model, tier):
                    continue
                mode = "standard" if tier == "default" else tier
                key = PriceKey(provider=provider, model=name, version=version, mode=mode)
                for mine, unit in (units | {"output": "output"}).items():
                    if mine.startswith("write") and provider != "anthropic":
                        continue  # others do not charge for it
                    priced = catalog.price(key, Usage(**{unit: 1_000}), at)
                    if priced.total is not None and (unit != "output" or model.kind != "embedding"):
                        agreed += 1
                        used = Metered(**{mine: 1_000})
                        assert priced.total == cost(model, tier, used), (provider, model.name, tier, unit)
    assert agreed > 80


def test_azure_sells_no_tiers_here(sandbox: Sandbox) -> None:
    path = "/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21"
    reply = sandbox.post(path, CHAT | {"service_tier": "priority"})
    assert reply.json()["service_tier"] == "default"
    assert sandbox.post(path, CHAT | {"service_tier": "flex"}).status_code == 400
