"""Right-sizing: the same tokens at the other price, real evidence, and a settings file that stays a person's."""

import tomllib
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from tests.analytics.made import event, table

from penstock.errors import InputError
from penstock.ledger.outcomes import Pair
from penstock.optimization.rightsizing import rightsizing
from penstock.optimization.rightsizing_apply import with_smaller
from penstock.policies.deployments import Deployment, Provider
from penstock.pricing.books import default_catalog
from penstock.pricing.usage import Usage

NOW = datetime(2026, 3, 20, tzinfo=UTC)
PROVIDERS = [Provider(name="oa", base_url="https://x")]
ROWS = [Deployment(name=name, provider="oa", model=model) for name, model in
        (("big", "gpt-4o"), ("mini", "gpt-4o-mini"), ("dear", "gpt-4-32k"), ("own", "our-own"))]  # fmt: skip


@pytest.fixture(scope="module")
def catalog():
    return default_catalog().load()


def traffic(count=100, route="chat", **more):
    usage = Usage(input=1000, output=100)
    told = {"provider": "openai", "model": "gpt-4o", "deployment": "big", "requested_model": route, "usage": usage,
            "cost": Decimal("0.0035")}  # fmt: skip
    return [event(**(told | more)) for _ in range(count)]


def ask(events, catalog, pairs=()):
    return rightsizing(table(events), catalog, NOW, providers=PROVIDERS, deployments=ROWS, pairs=pairs)


def judged(events, loss):
    return [
        Pair(request_id=e.request_id, lever="routing", key="k", model="gpt-4o-mini", baseline="gpt-4o", judge="j",
             first=(1 - loss) / 2, second=(1 - loss) / 2, at=NOW)
        for e in events
    ]  # fmt: skip


def test_the_same_tokens_at_the_other_price(catalog):
    (one,) = ask(traffic(), catalog)  # what is dearer, or has no price, is not among them
    assert (one.route, one.model, one.deployment, one.to, one.to_deployment) == (
        "chat", "gpt-4o", "big", "gpt-4o-mini", "mini",
    )  # fmt: skip
    assert (one.calls, one.cost) == (100, Decimal("0.35"))
    assert one.would_cost == 100 * (1000 * Decimal("0.15") + 100 * Decimal("0.60")) / 1_000_000
    assert one.saving == one.cost - one.would_cost
    assert one.verdict == "untried"
    assert one.pairs_needed > 1_000
    assert one.proof_cost == one.pairs_needed * Decimal("0.0035")


def test_pairs_of_the_route_are_the_evidence(catalog):
    tags = {"penstock.lever": "routing", "penstock.arm": "treated", "penstock.key": "k"}
    small = traffic(600, model="gpt-4o-mini", deployment="mini", cost=Decimal("0.0001"), tags=tags)
    good, bad, few = (
        ask(traffic() + small, catalog, judged(some, loss))[0]
        for some, loss in ((small, 0.0), (small, 0.5), (small[:30], 0.0))
    )
    assert (good.verdict, good.quality.count, good.pairs_needed) == ("proven", 600, 0)
    assert bad.verdict == "worse"
    assert (few.verdict, few.quality.count) == ("measuring", 30)
    elsewhere = traffic(600, "other", model="gpt-4o-mini", deployment="mini", cost=Decimal("0.0001"), tags=tags)
    found = ask(traffic() + elsewhere, catalog, judged(elsewhere, 0.0))
    assert [one.verdict for one in found if one.route == "chat"] == ["untried"]


def test_what_another_model_may_not_take_and_what_proves_is_left_out(catalog):
    seen = traffic(30) + traffic(50, usage=Usage(input=10, input_audio=5)) + traffic(70, purpose="shadow")
    (one,) = ask(seen, catalog)
    assert one.calls == 30
    assert ask(traffic(5), catalog) == []


SETTINGS = """# ours
[[routes]]
model = "chat"        # the bot
deployments = ["big"] # one for now
retries = 1

# another one
[[routes]]
model = "other"
deployments = ["big"]

[server]
port = 4000
"""


def test_the_file_keeps_all_that_is_a_persons():
    after = with_smaller(SETTINGS, "chat", "mini", default="big", holdout=Decimal("0.1"))
    first, second = tomllib.loads(after)["routes"]
    assert first == {"model": "chat", "deployments": ["mini", "big"], "retries": 1,
                     "routing": {"default": "big", "holdout": "0.1"}}  # fmt: skip
    assert second == {"model": "other", "deployments": ["big"]}
    assert tomllib.loads(after)["server"] == {"port": 4000}
    assert [line for line in SETTINGS.splitlines() if "#" in line and "deployments" not in line] == [
        line for line in after.splitlines() if "#" in line and "deployments" not in line and "holdout" not in line
    ]
    with pytest.raises(InputError, match="routed already"):
        with_smaller(after, "chat", "mini", default="big", holdout=Decimal("0.1"))
    last = with_smaller(SETTINGS, "other", "mini", default="big", holdout=Decimal("0.2"))
    assert tomllib.loads(last)["routes"][1]["routing"]["holdout"] == "0.2"


def test_a_model_without_a_route_gets_one():
    after = tomllib.loads(with_smaller("", "gpt-4o", "mini", default="big", holdout=Decimal("0.1")))
    assert after["routes"] == [
        {"model": "gpt-4o", "deployments": ["mini", "big"], "routing": {"default": "big", "holdout": "0.1"}}
    ]


@pytest.mark.parametrize(
    "text",
    ['routes = [{model = "chat", deployments = ["big"]}]', '[[routes]]\nmodel = "chat"\n"deployments" = ["big"]\n'],
)
def test_what_cannot_be_changed_safely_is_left_to_a_person(text):
    with pytest.raises(InputError, match="by hand"):
        with_smaller(text, "chat", "mini", default="big", holdout=Decimal("0.1"))
