"""The policy: who is able, who comes first, and what is kept of it. The gateway is played by a function."""

import asyncio
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from msgspec.structs import replace

from penstock.errors import RefusedError
from penstock.ledger.levers import LeverWatch, roll_back
from penstock.ledger.outcomes import Outcomes, Pair, Scored
from penstock.ledger.state import State
from penstock.metering.attribution import Attribution
from penstock.metering.event import UsageEvent
from penstock.metering.request import read_request
from penstock.policies.call import Call, Reply
from penstock.policies.deployments import Cascade, Deployment, Provider, Route, Routing, target_of
from penstock.policies.pipeline import pipeline
from penstock.policies.routing.asked import Asked
from penstock.policies.routing.capability import ability_of, why_not
from penstock.policies.routing.cascade import Cascades
from penstock.policies.routing.learning import Learning
from penstock.policies.routing.policy import RoutePolicy, decides
from penstock.policies.routing.rates import RateCard
from penstock.policies.routing.router import LEVER
from penstock.policies.routing.table import Key
from penstock.pricing.books import default_catalog
from penstock.pricing.own import parse_own_prices
from penstock.pricing.usage import Usage

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
PROVIDER = Provider(name="p", base_url="http://x")
MODELS = ("gpt-4.1-nano", "gpt-4o-mini", "gpt-4.1", "gpt-4o")
SURE = Routing(explore=0.0, holdout=Decimal(0))
CLASSIFY = "Classify the intent: refund"


@pytest.fixture(scope="module")
def catalog():
    return default_catalog().load()


def deployment(model: str, **more) -> Deployment:
    return Deployment(name=more.pop("name", f"d-{model}"), provider="p", model=model, **more)


ROWS = tuple(deployment(model) for model in MODELS)


def policy(catalog, route: Route | None = None, rows: tuple[Deployment, ...] = ROWS) -> RoutePolicy:
    route = route or Route(model="auto", deployments=tuple(row.name for row in rows), routing=SURE)
    return RoutePolicy(catalog, [route], rows, [PROVIDER])


def call(text: str = CLASSIFY, rows: tuple[Deployment, ...] = ROWS, request_id: str = "r", **body) -> Call:
    data = json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}], **body}).encode()
    targets = tuple(target_of(row, PROVIDER, declared=True) for row in rows)
    who = Attribution(team="t", tags={"own": "tag"})
    return Call(request_id, NOW, "openai.chat", read_request("openai.chat", data), data, who, targets, 2, "auto", [])


class Played:
    """Answers as it is told to, by model, and books an event for each attempt."""

    def __init__(self, **answers: tuple[int, str]) -> None:
        self.answers = {name.replace("_", "-").replace("4-1", "4.1"): answer for name, answer in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, call: Call) -> Reply:
        model = call.targets[0].deployment.model
        self.asked.append(f"{model} {call.purpose}")
        status, text = self.answers.get(model, (200, "fine"))
        body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
        call.events.append(
            UsageEvent(
                id="e", request_id=call.request_id, at=NOW, recorded_at=NOW, provider="openai", model=model,
                deployment=call.targets[0].deployment.name, usage=Usage(output=10), cost=Decimal("0.1"), status=status,
                price_state="priced", outcome="ok" if status < 400 else "error", tags=call.attribution.tags,
            )
        )  # fmt: skip
        return Reply(status, b"", json.dumps(body).encode(), call.events)


def run(one: RoutePolicy, asked: Call, send: Played | None = None) -> Reply:
    return asyncio.run(pipeline([one, Cascades()], send or Played())(asked))


def order(asked: Call) -> list[str]:
    return [target.deployment.model for target in asked.targets]


def test_the_chosen_model_comes_first_then_the_default_then_the_others(catalog) -> None:
    asked = call()
    run(policy(catalog), asked)
    assert order(asked) == ["gpt-4.1-nano", "gpt-4o", "gpt-4o-mini", "gpt-4.1"]
    assert asked.decisions == ["routing: gpt-4.1-nano for classification, best worth"]


def test_the_tags_say_all_that_judging_needs_and_keep_the_callers_own(catalog) -> None:
    asked = call()
    run(policy(catalog), asked)
    tags = asked.events[0].tags
    assert tags["own"] == "tag"
    assert tags["penstock.key"] == "t||classification"
    assert (tags["penstock.lever"], tags["penstock.arm"], tags["penstock.propensity"]) == (LEVER, "treated", "1")
    assert tags["penstock.baseline"] == "gpt-4o"
    names = [one.partition("=")[0] for one in tags["penstock.candidates"].split(",")]
    assert names == list(MODELS)


def test_a_route_without_routing_is_not_looked_at(catalog) -> None:
    asked = call()
    asked.requested_model = "gpt-4o"
    run(policy(catalog), asked)
    assert order(asked) == list(MODELS)
    assert not asked.decisions
    assert not decides(Route(model="x", deployments=("a",)))


@pytest.mark.parametrize(
    ("needs", "row", "why"),
    [
        ({"images"}, deployment("o3-mini"), "no images"),
        ({"tools", "parallel_tools"}, deployment("claude-3-haiku"), "no parallel_tools"),
        ({"tools"}, deployment("own-model"), "no tools"),
        ({"tools"}, deployment("own-model", can=("tools",)), ""),
        (set(), deployment("own-model"), ""),
        (set(), deployment("phi-4"), "context 16384"),
        (set(), deployment("gpt-4o-mini", context=1_000), "context 1000"),
        (set(), deployment("gpt-4o-2024-08-06"), ""),
        (set(), deployment("gpt-4.1", region="us"), "region us"),
    ],
)
def test_who_is_able(needs: set[str], row: Deployment, why: str) -> None:
    target = target_of(row, PROVIDER, declared=True)
    regions = ("eu",) if row.region else ()
    asked = Asked(needs=frozenset(needs), prompt_tokens=20_000)
    assert why_not(ability_of(target), target, asked, output=None, today=NOW.date(), regions=regions) == why


def test_a_model_that_has_retired_is_not_able() -> None:
    target = target_of(deployment("gpt-4o"), replace(PROVIDER, bills_as="azure"), declared=True)
    ability = ability_of(target)
    assert ability.retires == date(2027, 4, 14)
    before, after = (
        why_not(ability, target, Asked(), output=None, today=day, regions=())
        for day in (date(2027, 4, 13), date(2027, 4, 14))
    )
    assert (before, after) == ("", "retired 2027-04-14")


def test_where_nobody_is_able_the_refusal_says_why_for_each(catalog) -> None:
    rows = (deployment("o3-mini"), deployment("phi-4"))
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,x"}}
    asked = call(rows=rows)
    asked.body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": [picture]}]}).encode()
    with pytest.raises(RefusedError, match="d-o3-mini: no images; d-phi-4: no images") as refused:
        run(policy(catalog, rows=rows), asked)
    assert refused.value.reason == "no_capable_model"


def test_a_model_whose_deployments_all_rest_is_passed_over(catalog) -> None:
    one, asked = policy(catalog), call()
    one.rests = lambda target: target.deployment.model == "gpt-4.1-nano"
    run(one, asked)
    assert order(asked)[0] == "gpt-4o-mini"


def test_an_unknown_price_is_never_taken_for_the_lowest(catalog) -> None:
    rows = (deployment("own-model", tier="nano"), *ROWS)
    asked = call(rows=rows)
    run(policy(catalog, rows=rows), asked)
    assert order(asked)[0] == "gpt-4.1-nano"
    assert "own-model" not in asked.events[0].tags["penstock.candidates"]


def test_a_price_of_input_alone_is_no_price_of_an_answer(catalog) -> None:
    half = default_catalog(own_rows=parse_own_prices([{"provider": "openai", "model": "half", "input": "0.01"}])).load()
    rows = (deployment("half", tier="nano"), *ROWS)
    asked = call(rows=rows)
    run(policy(half, rows=rows), asked)
    assert order(asked)[0] == "gpt-4.1-nano"
    target = target_of(rows[0], PROVIDER, declared=True)
    assert RateCard(half).of(target, NOW, 10) is None
    assert RateCard(half).of(target, NOW, 10, answers=False) is not None  # embeddings have no output


def test_a_decision_without_any_price_says_that_it_is_unknown(catalog) -> None:
    rows = (deployment("own-model", can=("tools",)),)
    asked = call(rows=rows)
    run(policy(catalog, rows=rows), asked)
    assert order(asked) == ["own-model"]
    assert asked.events[0].tags["penstock.candidates"].endswith("@unknown")


def test_cheapest_first_means_provisioned_capacity_then_price_and_equal_ones_take_turns(catalog) -> None:
    rows = (
        deployment("gpt-4o", name="dear", deployment_type="regional"), deployment("gpt-4o", name="one"),
        deployment("gpt-4o", name="two"), deployment("gpt-4o", name="ptu", deployment_type="global_ptu"),
    )  # fmt: skip
    azure = replace(PROVIDER, bills_as="azure")
    route = Route(model="auto", deployments=tuple(row.name for row in rows), order="cheapest")
    one = RoutePolicy(catalog, [route], rows, [azure])
    orders = []
    for _ in range(4):
        asked = call(rows=rows)
        asked.targets = tuple(target_of(row, azure, declared=True) for row in rows)
        run(one, asked)
        orders.append([target.deployment.name for target in asked.targets])
    assert all(names[0] == "ptu" and names[-1] == "dear" for names in orders)
    assert {tuple(names[1:3]) for names in orders} == {("one", "two"), ("two", "one")}


CASCADE = Route(
    model="auto", deployments=tuple(row.name for row in ROWS), routing=replace(SURE, cascade=Cascade(form="fine")),
)  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "asked_for", "status", "text"),
    [
        ({}, ["gpt-4.1-nano call"], 200, "fine"),
        ({"gpt_4_1_nano": (200, "bad")}, ["gpt-4.1-nano call", "gpt-4o cascade"], 200, "fine"),
        (
            {"gpt_4_1_nano": (200, "bad"), "gpt_4o": (200, "worse")},
            ["gpt-4.1-nano call", "gpt-4o cascade"],
            200,
            "worse",
        ),
        ({"gpt_4_1_nano": (200, "bad"), "gpt_4o": (503, "")}, ["gpt-4.1-nano call", "gpt-4o cascade"], 200, "bad"),
        ({"gpt_4_1_nano": (503, "")}, ["gpt-4.1-nano call", "gpt-4o fallback"], 200, "fine"),
        ({"gpt_4_1_nano": (400, "")}, ["gpt-4.1-nano call"], 400, ""),
    ],
)
def test_a_cascade(catalog, answers: dict, asked_for: list[str], status: int, text: str) -> None:
    send = Played(**answers)
    one = policy(catalog, CASCADE)
    key = "t||classification"
    for number in range(200):  # it is known that nano's answers are worse, and that the check finds those
        one.memory.checked(Key.read(key), "gpt-4.1-nano", failed=number % 10 == 0)
        for model, score in (("gpt-4.1-nano", 0.9), ("gpt-4o", 1.0), ("gpt-4o-mini", 0.5), ("gpt-4.1", 0.5)):
            one.memory.table.learn(Key.read(key), model, score, NOW.timestamp())
    reply = run(one, call(), send)
    assert send.asked == asked_for
    assert reply.status == status
    assert json.loads(reply.body)["choices"][0]["message"]["content"] == text


def test_a_stream_is_never_held_back_for_a_check(catalog) -> None:
    asked = call(stream=True)
    run(policy(catalog, CASCADE), asked, Played(gpt_4_1_nano=(200, "bad")))
    assert asked.check is None


def test_no_budget_no_escalation(catalog) -> None:
    async def no(_) -> bool:
        return False

    asked = call()
    asked.another = no
    send = Played(gpt_4_1_nano=(200, "bad"), gpt_4o_mini=(200, "bad"))
    run(policy(catalog, CASCADE), asked, send)
    assert send.asked == ["gpt-4.1-nano call"]


def test_scores_judged_pairs_and_rollbacks_reach_a_worker(catalog, tmp_path) -> None:
    state, outcomes = State(tmp_path / "state.sqlite"), Outcomes(tmp_path)
    watch = LeverWatch(state)
    route = Route(model="auto", deployments=tuple(row.name for row in ROWS), routing=SURE)
    one = RoutePolicy(catalog, [route], ROWS, [PROVIDER], lambda key: watch.is_off(LEVER, key))
    learning = Learning(one, watch, tmp_path)
    asked = call(request_id="r1")
    run(one, asked)
    outcomes.score([Scored(request_id="r1", score=0.0, source="user", at=NOW)])
    outcomes.score([Scored(request_id="r1", score=0.0, source="user", name="x", at=NOW, key="another", team="u")])
    key = Key.read("t||classification")
    before = one.memory.table.quality(key, "gpt-4.1-nano", NOW.timestamp())
    learning.look()
    after = one.memory.table.quality(key, "gpt-4.1-nano", NOW.timestamp())
    assert (before.own, after.own) == (0, 1)  # the score of another team's key is not counted
    assert after.mean < before.mean
    outcomes.judge(
        Pair(request_id="r1", lever=LEVER, key=str(key), model="gpt-4.1-nano", baseline="gpt-4o", judge="j", first=0.0,
             second=0.0, at=NOW)
    )  # fmt: skip
    learning.look()
    assert one.memory.table.quality(key, "gpt-4.1-nano", NOW.timestamp()).own == 2
    assert one.memory.table.quality(key, "gpt-4o", NOW.timestamp()).own == 1
    roll_back(state, LEVER, str(key), reason="worse", at=NOW)
    learning.look()
    asked = call(request_id="r2")
    run(one, asked)
    assert order(asked)[0] == "gpt-4o"
    assert asked.decisions == ["routing: gpt-4o for classification, rolled back"]
