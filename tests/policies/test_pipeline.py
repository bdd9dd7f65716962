"""Policies fold around the call; the first is the outermost."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from penstock.errors import RefusedError
from penstock.metering.attribution import NOBODY
from penstock.metering.request import RequestHead
from penstock.policies.call import Call, Reply
from penstock.policies.deployments import Deployment, Provider, target_of
from penstock.policies.pipeline import pipeline
from penstock.policies.unpriced import RefuseUnpriced
from penstock.pricing.book import PriceRow
from penstock.pricing.catalog import Catalog

NOW = datetime(2026, 11, 23, tzinfo=UTC)
PROVIDER = Provider(name="p", base_url="http://x")


def target(model: str):
    return target_of(Deployment(name=f"d-{model}", provider="p", model=model), PROVIDER, declared=True)


def call(*models: str) -> Call:
    return Call(
        request_id="r", at=NOW, flavour="openai.chat", head=RequestHead(model=models[0]), body=b"{}",
        attribution=NOBODY, targets=tuple(target(model) for model in models), retries=0, requested_model=models[0],
        decisions=[],
    )  # fmt: skip


async def answer(call: Call) -> Reply:
    return Reply(200, b"", ",".join(one.deployment.name for one in call.targets).encode(), [])


def test_the_first_policy_sees_the_call_first_and_the_reply_last():
    seen = []

    def policy(name):
        async def one(call, *, proceed):
            seen.append(f"{name} in")
            reply = await proceed(call)
            seen.append(f"{name} out")
            return reply

        return one

    asyncio.run(pipeline([policy("a"), policy("b")], answer)(call("m")))
    assert seen == ["a in", "b in", "b out", "a out"]


@pytest.fixture
def refuse():
    row = PriceRow(
        provider="openai",
        model="known",
        valid_from=datetime(2026, 1, 1, tzinfo=UTC),
        rates={"input": Decimal("0.000001")},
    )
    return RefuseUnpriced(Catalog([[row]]))


def test_only_deployments_with_a_price_are_left(refuse):
    reply = asyncio.run(pipeline([refuse], answer)(call("unknown", "known")))
    assert reply.body == b"d-known"


def test_a_call_without_any_price_is_refused_and_told_what_to_do(refuse):
    with pytest.raises(RefusedError, match="penstock prices set unknown") as caught:
        asyncio.run(pipeline([refuse], answer)(call("unknown")))
    assert (caught.value.status, caught.value.reason) == (403, "unpriced_model")
