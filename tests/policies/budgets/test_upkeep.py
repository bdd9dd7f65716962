"""Upkeep: whom it tells of budgets that refuse and of counters that cannot be asked."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from tests.gateway.conftest import free_port

from penstock.errors import RefusedError
from penstock.ledger.state import State
from penstock.metering.attribution import Attribution
from penstock.metering.request import read_request
from penstock.policies.budgets import upkeep as upkeep_module
from penstock.policies.budgets.embedded import EmbeddedCounters, SeparateCounters
from penstock.policies.budgets.policy import Budgets
from penstock.policies.budgets.rules import Budget, BudgetSettings, Rules
from penstock.policies.budgets.shared import RedisCounters, connect
from penstock.policies.budgets.store import published
from penstock.policies.budgets.upkeep import Upkeep
from penstock.policies.call import Call, Reply
from penstock.policies.deployments import Deployment, Provider, target_of
from penstock.pricing.book import PriceRow
from penstock.pricing.catalog import Catalog

BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hold?"}],"max_tokens":10}'
RULES = Rules(budgets=(Budget(dollars=Decimal("0.001"), scope="team=support"),))


@pytest.fixture
def kept(tmp_path):
    """An upkeep around counters, with nothing in its ledger."""
    states = []

    def keep(counters, **settings) -> tuple[Budgets, Upkeep]:
        rates = {"input": Decimal("0.001"), "output": Decimal("0.01")}
        since = datetime(2020, 1, 1, tzinfo=UTC)
        row = PriceRow(
            provider="openai", model="gpt-4o", rates=rates, valid_from=since, source="test", read="2026-11-01"
        )

        async def nothing(*_):
            return {}

        configured = BudgetSettings(**settings)
        policy = Budgets(Catalog([[row]]), counters, configured)
        states.append(State(tmp_path / "state.sqlite"))
        one = Upkeep(
            policy, file=RULES, state=states[-1], settings=configured, sum_up=nothing, written=nothing, folder=tmp_path
        )
        return policy, one

    return keep


def alerts(folder) -> list[tuple[str, str, str, str]]:
    state = State(folder / "state.sqlite")
    found = state.read("SELECT kind, subject, severity, text FROM alerts ORDER BY id")
    state.close()
    return found


async def told(folder, count: int) -> list[tuple[str, str, str, str]]:
    """Wait for so many alerts."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 60
    while len(found := alerts(folder)) < count and loop.time() < deadline:
        await asyncio.sleep(0.05)
    return found


async def refusal(policy: Budgets, name: str) -> str:
    """Make a call that cannot be paid; return why it was refused."""
    provider = Provider(name="p", base_url="http://x")
    target = target_of(Deployment(name="d", provider="p", model="gpt-4o"), provider, declared=True)
    who = Attribution(team="support")
    head = read_request("openai.chat", BODY)
    one = Call(name, datetime.now(UTC), "openai.chat", head, BODY, who, (target,), 0, "gpt-4o", [])

    async def send(call: Call) -> Reply:
        return Reply(200, b"", b"", call.events)

    try:
        await policy(one, proceed=send)
    except RefusedError as error:
        return error.reason
    return ""


def test_of_a_budget_that_refuses_somebody_is_told_once_however_many_calls_it_refuses(kept, tmp_path):
    async def main():
        policy, upkeep = kept(EmbeddedCounters())
        await upkeep.start()
        for round_ in range(3):
            assert [await refusal(policy, f"{round_}-{n}") for n in range(5)] == ["budget_exceeded"] * 5
            await upkeep._look()  # as it does by itself every moment
        found = await told(tmp_path, 1)
        await upkeep.close()
        return found

    [(kind, subject, severity, text)] = asyncio.run(main())
    assert (kind, subject, severity) == ("budget.refusing", "team=support", "critical")
    assert "$0.001 per month" in text


@pytest.mark.parametrize(("answer", "becomes"), [("refuse", "refused"), ("serve", "served without being counted")])
def test_of_a_redis_that_is_away_somebody_is_told_with_what_becomes_of_the_calls(
    kept, tmp_path, monkeypatch, answer, becomes
):
    monkeypatch.setattr(upkeep_module, "SAID_AFTER", 0.0)

    async def main():
        redis = RedisCounters(connect(f"redis://127.0.0.1:{free_port()}/0", 1.0), ledger="test")
        policy, upkeep = kept(redis, redis="redis://x", when_unavailable=answer)
        await upkeep.start()
        reason = await refusal(policy, "r")
        found = await told(tmp_path, 1)
        await upkeep.close()
        return reason, found

    reason, found = asyncio.run(main())
    assert reason == ("budgets_unavailable" if answer == "refuse" else "")
    assert {one[:3] for one in found} == {("budget.unavailable", "penstock", "critical")}
    assert "Redis cannot be asked" in found[0][3]
    assert becomes in found[0][3]


def test_several_workers_without_redis_let_no_call_through_and_say_so(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep_module, "SAID_AFTER", 0.0)

    async def main():
        policy, upkeep = kept(SeparateCounters(3))
        await upkeep.start()
        reason = await refusal(policy, "r")
        found = await told(tmp_path, 1)
        await upkeep.close()
        return reason, found

    reason, found = asyncio.run(main())
    assert reason == "budgets_unavailable"
    assert found[0][0] == "budget.unavailable"
    assert "3 workers" in found[0][3]
    assert published(tmp_path).workers == 3
