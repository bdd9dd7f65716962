"""The policy: what a call reserves, what it is told, and what is counted afterwards."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from penstock.errors import RefusedError
from penstock.metering.attribution import Attribution
from penstock.metering.event import UsageEvent
from penstock.metering.request import read_request
from penstock.policies.budgets.counters import UnavailableError, atto
from penstock.policies.budgets.embedded import EmbeddedCounters, SeparateCounters
from penstock.policies.budgets.policy import Budgets
from penstock.policies.budgets.rules import Budget, BudgetSettings, Limit, Rulebook, Rules
from penstock.policies.budgets.sizing import Sizer
from penstock.policies.budgets.status import Figure, alerts_for, standings
from penstock.policies.call import Call, Reply
from penstock.policies.deployments import Deployment, Provider, target_of
from penstock.pricing.book import PriceRow
from penstock.pricing.catalog import Catalog
from penstock.pricing.usage import Usage

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
PROVIDER = Provider(name="p", base_url="http://x")
BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hold?"}],"max_tokens":10}'


def row(model: str, sent: str, received: str, **more) -> PriceRow:
    rates = {"input": Decimal(sent), "output": Decimal(received), **more}
    return PriceRow(
        provider="openai", model=model, rates=rates, valid_from=datetime(2020, 1, 1, tzinfo=UTC), source="test",
        read="2026-11-01",
    )  # fmt: skip


@pytest.fixture(scope="module")
def catalog():
    return Catalog([[row("gpt-4o", "0.001", "0.01"), row("gpt-4.1", "0.002", "0.02")]])


def target(model: str):
    return target_of(Deployment(name=f"d-{model}", provider="p", model=model), PROVIDER, declared=True)


def call(name: str = "r", *models: str, body: bytes = BODY, who: Attribution = Attribution()) -> Call:  # noqa: B008
    head = read_request("openai.chat", body)
    targets = tuple(target(model) for model in models or ("gpt-4o",))
    return Call(name, NOW, "openai.chat", head, body, who, targets, 0, "gpt-4o", [])


def event(cost: str, **more) -> UsageEvent:
    return UsageEvent(
        id="e", request_id="r", at=NOW, recorded_at=NOW, provider="openai", model="gpt-4o", price_state="priced",
        cost=Decimal(cost), **more,
    )  # fmt: skip


def policy(catalog, *budgets: Budget, limits: tuple[Limit, ...] = (), **settings) -> Budgets:
    return Budgets(catalog, EmbeddedCounters(), BudgetSettings(**settings), Rules(budgets=budgets, limits=limits))


def costing(cost: str):
    async def send(call: Call) -> Reply:
        call.events.append(event(cost))
        return Reply(200, b"", b"", call.events)

    return send


def refused(what: Budgets, one: Call, send=None) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        asyncio.run(what(one, proceed=send or costing("0")))
    return caught.value


def test_where_nothing_is_configured_the_call_is_handed_on_as_it_is(catalog):
    one, seen = call(), []

    def send(call: Call):
        seen.append(call)
        return "untouched"

    assert policy(catalog)(one, proceed=send) == "untouched"
    assert seen == [one]


def test_what_fits_only_when_counted_exactly_is_let_through(catalog):
    # 9 tokens sent and 10 received cost 0.109 at most; by its bytes the call could cost more.
    what = policy(catalog, Budget(dollars=Decimal("0.109")))
    reply = asyncio.run(what(call(), proceed=costing("0.05")))
    assert reply.status == 200
    assert list(what.counters.spent.values()) == [atto(Decimal("0.05"))]
    assert what.counters.reserved == {}
    assert refused(what, call("s")).status == 402


def test_one_digit_less_is_refused_with_402_and_says_what_to_do(catalog):
    error = refused(policy(catalog, Budget(dollars=Decimal("0.108"))), call())
    assert (error.status, error.reason, error.retry_after) == (402, "budget_exceeded", None)
    assert "max_tokens" in str(error)


def test_what_others_have_reserved_is_a_429_that_can_be_tried_again(catalog):
    what = policy(catalog, Budget(dollars=Decimal("0.15")))
    inside = []

    async def send(_: Call) -> Reply:
        with pytest.raises(RefusedError) as caught:
            await what(call("other"), proceed=costing("0"))
        inside.append(caught.value)
        return Reply(200, b"", b"", [])

    asyncio.run(what(call(), proceed=send))
    assert (inside[0].status, inside[0].reason) == (429, "budget_reserved")
    assert inside[0].retry_after
    assert what.counters.reserved == {}


def test_a_soft_budget_refuses_nothing_and_counts_everything(catalog):
    what = policy(catalog, Budget(dollars=Decimal("0.01"), hard=False))
    asyncio.run(what(call(), proceed=costing("5")))
    assert list(what.counters.spent.values()) == [5 * 10**18]


def test_the_reservation_is_given_back_when_the_call_breaks(catalog):
    what = policy(catalog, Budget(dollars=Decimal(1)))

    async def broken(_: Call) -> Reply:
        raise RefusedError(502, "broken", "broken")

    assert refused(what, call(), broken).status == 502
    assert (what.counters.reserved, what.flying) == ({}, {})


def test_of_several_targets_the_dearest_is_reserved_and_each_models_budget_its_own(catalog):
    what = policy(catalog, Budget(dollars=Decimal(1)), Budget(dollars=Decimal(1), scope="model=*"))
    held = {}

    async def send(one: Call) -> Reply:
        held.update(what.counters.reserved)
        return Reply(200, b"", b"", one.events)

    asyncio.run(what(call("r", "gpt-4o", "gpt-4.1"), proceed=send))
    tokens = len(BODY) + 64
    mine = {name.split("/")[-1]: amount for name, amount in held.items()}
    assert mine["gpt-4o"] == atto(Decimal("0.001") * tokens + Decimal("0.1"))
    assert mine["gpt-4.1"] == mine[""] == atto(Decimal("0.002") * tokens + Decimal("0.2"))


def test_another_attempt_needs_a_reservation_of_its_own_where_the_first_did_cost_something(catalog):
    what = policy(catalog, Budget(dollars=Decimal("0.35")))
    said = []

    async def send(one: Call) -> Reply:
        for _ in range(3):
            one.events.append(event("0.05"))
            said.append(await one.another(one))
        return Reply(200, b"", b"", one.events)

    one = call()
    one.retries = 3
    asyncio.run(what(one, proceed=send))
    assert said[-1] is False
    assert what.counters.reserved == {}
    assert list(what.counters.spent.values()) == [atto(Decimal("0.15"))]


def test_what_was_asked_beside_a_call_and_settled_by_itself_is_not_counted_again(catalog):
    what = policy(catalog, Budget(dollars=Decimal(20)), limits=(Limit(tokens_per_minute=1000),))
    one = call()
    one.events.append(event("0.09", purpose="classifier", usage=Usage(input=500)))
    asyncio.run(what(one, proceed=costing("0.05")))
    assert list(what.counters.spent.values()) == [atto(Decimal("0.05"))]
    assert asyncio.run(what(call("s", body=BODY.replace(b"10", b"900")), proceed=costing("0"))).status == 200


@pytest.mark.parametrize(
    ("more", "tokens"),
    [(b'"max_tokens":7', 7), (b'"max_completion_tokens":9,"n":3', 27), (b'"user":"x"', 4096), (b'"max_tokens":0', 0)],
)
def test_output_is_bounded_by_what_the_client_names_or_the_settings_say(catalog, more, tokens):
    body = b'{"model":"gpt-4o","messages":[],%s}' % more
    assert Sizer(catalog, 4096).cheap(call(body=body)).output == tokens


def test_a_body_that_points_to_pictures_is_not_bounded_by_its_bytes(catalog):
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x/y"}}]}]}'
    sizer = Sizer(catalog, 1)
    assert sizer.cheap(call(body=body)) is None
    assert asyncio.run(sizer.exact(call(body=body))).input > len(body)


def test_only_priced_targets_are_left_under_a_hard_budget(catalog):
    what = policy(catalog, Budget(dollars=Decimal(1)))
    one = call("r", "mystery", "gpt-4o")
    asyncio.run(what(one, proceed=costing("0")))
    assert [target.served.model for target in one.targets] == ["gpt-4o"]
    assert refused(what, call("s", "mystery")).reason == "unpriced_model"
    assert asyncio.run(
        policy(catalog, Budget(dollars=Decimal(1)), unpriced="serve")(call("t", "mystery"), proceed=costing("0"))
    )


def test_targets_that_are_dearer_than_a_budget_can_hold_are_left_out(catalog):
    # 9 tokens sent and 10 received: 0.109 at gpt-4o, 0.218 at gpt-4.1.
    what = policy(catalog, Budget(dollars=Decimal("0.2")))
    one = call("r", "gpt-4.1", "gpt-4o")
    asyncio.run(what(one, proceed=costing("0.1")))
    assert [target.served.model for target in one.targets] == ["gpt-4o"]
    assert one.decisions == ["over budget: d-gpt-4.1"]
    assert what.counters.reserved == {}
    error = refused(what, call("s", "gpt-4.1", "gpt-4o"))
    assert (error.status, error.reason) == (402, "budget_exceeded")


@pytest.mark.parametrize("more", [(), (Budget(dollars=Decimal(1)),)])
def test_a_model_whose_own_budget_is_used_up_leaves_the_others_of_its_route(catalog, more):
    what = policy(catalog, Budget(dollars=Decimal(0), scope="model=gpt-4o"), *more)
    one = call("r", "gpt-4o", "gpt-4.1")
    assert asyncio.run(what(one, proceed=costing("0.1"))).status == 200
    assert [target.served.model for target in one.targets] == ["gpt-4.1"]
    assert (what.counters.reserved, what.flying) == ({}, {})
    assert refused(what, call("s", "gpt-4o")).reason == "budget_exceeded"


def test_what_others_have_reserved_leaves_no_target_out(catalog):
    what = policy(catalog, Budget(dollars=Decimal("0.15"), scope="model=gpt-4o"))
    reasons = []

    async def send(_: Call) -> Reply:
        with pytest.raises(RefusedError) as caught:
            await what(call("other", "gpt-4o", "gpt-4.1"), proceed=costing("0"))
        reasons.append(caught.value.reason)
        return Reply(200, b"", b"", [])

    asyncio.run(what(call(), proceed=send))
    assert reasons == ["budget_reserved"], "in a second there is room again"


def test_a_frozen_model_leaves_the_others_of_its_route(catalog):
    what = policy(catalog)
    what.use(Rulebook(Rules(frozen=("model=gpt-4o",))))
    one = call("r", "gpt-4o", "gpt-4.1")
    assert asyncio.run(what(one, proceed=costing("0.1"))).status == 200
    assert ([target.served.model for target in one.targets], one.decisions) == (["gpt-4.1"], ["frozen: d-gpt-4o"])
    assert refused(what, call("s", "gpt-4o")).reason == "spending_frozen"


def test_a_rate_says_how_long_to_wait(catalog):
    what = policy(catalog, limits=(Limit(requests_per_minute=2),))
    for name in "ab":
        asyncio.run(what(call(name), proceed=costing("0")))
    error = refused(what, call("c"))
    assert (error.status, error.reason) == (429, "rate_limited")
    assert 25 < error.retry_after <= 30
    assert "x-ratelimit-remaining-requests: 0\r\n" in error.headers


def test_standings_tell_limit_forecast_and_drift():
    budget = Budget(dollars=Decimal(100), scope="team=*")
    figures = {f"{budget.id}/2026-11/support": Figure(75 * 10**18, 10**18, 75 * 10**18, 74 * 10**18)}
    [found] = standings(Rules(budgets=(budget,)), figures, datetime(2026, 11, 16, tzinfo=UTC))
    assert (found.scope, found.spent, found.reserved, found.drift) == ("team=support", 75, 1, 1)
    assert found.forecast == 150
    assert found.state == "forecast over"
    alerts = alerts_for(Rules(budgets=(budget,)), figures, datetime(2026, 11, 16, tzinfo=UTC))
    assert [(one.kind, one.period) for one in alerts] == [
        ("budget.threshold", "2026-11 50%"),
        ("budget.forecast", "2026-11 100%"),
    ]


STREAM = BODY.replace(b'"max_tokens":10', b'"stream":true')


def streaming(what: Budgets, ask) -> tuple[list[int], Call]:
    """Make a streamed call; `ask` asks how long it may become, and returns what was said."""
    said: list[int] = []
    one = call(body=STREAM)

    async def send(one: Call) -> Reply:
        said.extend(await ask(one))
        one.events.append(event("0.1"))
        return Reply(200, b"", b"", one.events)

    asyncio.run(what(one, proceed=send))
    assert what.counters.reserved == {}
    assert what.flying == {}
    return said, one


def test_a_stream_may_become_as_long_as_its_budget_can_hold_and_no_longer(catalog):
    # A token received costs 0.01. Reserved are 100, and what the bound of the input is too large by.
    what = policy(catalog, Budget(dollars=Decimal("2.6")), cut_streams=True, default_output_tokens=100)

    async def ask(one):
        budget, [target] = one.stream_budget, one.targets
        assert budget.tokens == 100
        found = [await budget.allowed(one, target, tokens) for tokens in (0, 90, 130, 210, 240)]
        held = sum(what.counters.reserved.values())
        assert held <= atto(Decimal("2.6"))
        return [*found, await budget.allowed(one, target, 260)]

    said, _ = streaming(what, ask)
    assert 100 <= said[0] == said[1] < 130
    assert said[2] == said[3] == 230  # as much again
    assert said[4] == 252  # no longer the whole, a half or a fourth of it, but an eighth
    assert said[5] < 260  # it is to be ended


def test_streams_are_left_alone_where_that_is_off_or_nothing_hard_is_drawn_on(catalog):
    async def ask(one):
        assert one.stream_budget is None
        return []

    streaming(policy(catalog, Budget(dollars=Decimal(100))), ask)
    streaming(policy(catalog, Budget(dollars=Decimal(100), hard=False), cut_streams=True), ask)


@pytest.mark.parametrize(("answer", "flows"), [("refuse", False), ("serve", True)])
def test_a_stream_for_which_no_more_can_be_asked_ends_or_flows_on_as_configured(catalog, answer, flows):
    what = policy(catalog, Budget(dollars=Decimal(100)), cut_streams=True, when_unavailable=answer)

    async def ask(one):
        async def gone(_):
            raise UnavailableError("gone")

        what.counters.reserve = gone
        return [await one.stream_budget.allowed(one, one.targets[0], 5000)]

    [said], _ = streaming(what, ask)
    assert (said >= 5000) == flows


def test_what_is_reserved_for_a_stream_that_has_ended_meanwhile_is_given_back(catalog):
    what = policy(catalog, Budget(dollars=Decimal(100)), cut_streams=True, default_output_tokens=100)
    reserve, ended, asked = what.counters.reserve, asyncio.Event(), []

    async def late(order):
        await ended.wait()
        verdict = await reserve(order)
        assert what.counters.reserved
        return verdict

    async def send(one: Call) -> Reply:
        what.counters.reserve = late
        asked.append(asyncio.create_task(one.stream_budget.allowed(one, one.targets[0], 500)))
        await asyncio.sleep(0)
        return Reply(200, b"", b"", one.events)

    async def run():
        await what(call(body=STREAM), proceed=send)
        ended.set()
        await asked[0]

    asyncio.run(run())
    assert (what.counters.reserved, what.flying) == ({}, {})


def test_a_stream_that_has_ended_asks_for_nothing_more(catalog):
    what = policy(catalog, Budget(dollars=Decimal(100)), cut_streams=True, default_output_tokens=100)

    async def ask(_):
        return []

    _, one = streaming(what, ask)
    asyncio.run(one.stream_budget.allowed(one, one.targets[0], 500))
    assert (what.counters.reserved, what.flying) == ({}, {})


def test_who_needs_other_settings_is_not_told_to_try_again(catalog):
    what = policy(catalog, Budget(dollars=Decimal(1)))
    what.counters = SeparateCounters(workers=2)
    error = refused(what, call())
    assert (error.status, error.reason, error.retry_after) == (503, "budgets_unavailable", None)


@pytest.mark.parametrize("answer", ["refuse", "serve"])
def test_counters_that_cannot_be_asked_are_answered_as_configured(catalog, answer):
    class Gone(EmbeddedCounters):
        async def reserve(self, order):
            raise UnavailableError("gone")

    what = policy(catalog, Budget(dollars=Decimal(1)), when_unavailable=answer)
    what.counters = Gone()
    one = call()
    if answer == "refuse":
        error = refused(what, one)
        assert (error.status, error.reason) == (503, "budgets_unavailable")
        assert error.retry_after
    else:
        assert asyncio.run(what(one, proceed=costing("0.5"))).status == 200
        assert "budgets not asked" in one.decisions
        assert list(what.counters.spent.values()) == [atto(Decimal("0.5"))]
