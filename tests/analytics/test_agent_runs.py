from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from tests.analytics.made import MARCH, correction, event

from penstock.analytics.agent_runs import agent_runs, span_of, steps_of
from penstock.analytics.longest import longest_prompts
from penstock.ledger.store import Ledger
from penstock.pricing.usage import Usage


def test_runs_are_summed_up_and_seen_step_by_step(tmp_path: Path):
    failed = event(run="a", request_id="r1", outcome="error", status=500, cost=Decimal("0.5"), team="red")
    retry = event(
        run="a", request_id="r1", attempt=2, purpose="retry", at=MARCH + timedelta(seconds=1), cost=None,
        duration_us=2_000_000, tool_calls=3,
    )  # fmt: skip
    second = event(run="a", request_id="r2", at=MARCH + timedelta(seconds=9), cost=Decimal(2), model="o1")
    other = event(run="b", request_id="r3", cost=Decimal(9), usage=Usage(input=900, output=1))
    late = correction(retry, Decimal("0.25"))
    with Ledger.open(tmp_path) as ledger:
        ledger.add([failed, retry, second, other, event(request_id="r4")], source="test")
        before = {run.run: run for run in agent_runs(ledger.moment()).first}
        ledger.add([late], source="reprice")
        both = agent_runs(ledger.moment())
        b, a = both.first
        longest_first = agent_runs(ledger.moment(), order="steps", limit=1)
        nobody = agent_runs(ledger.moment(), where=[("team", "blue")])
        steps = steps_of(ledger.moment(), "a")
        prompts = longest_prompts(ledger.moment(), limit=2)
        assert steps_of(ledger.moment(), "c") == []
    assert (before["a"].unpriced_events, before["a"].cost) == (1, Decimal("2.50"))
    assert (b.run, b.cost, b.steps) == ("b", 9, 1)
    assert (a.steps, a.attempts, a.failed, a.tool_calls, a.models) == (2, 3, 1, 3, 2)
    assert (a.cost, a.unpriced_events, a.team) == (Decimal("2.75"), 0, "red")
    assert (longest_first.first[0].run, nobody.first, nobody.count) == ("a", (), 0)
    for some in (both, longest_first):  # whatever stands first, these are of all
        assert (some.count, some.cost, some.cost_most) == (2, Decimal("11.75"), 9)
        assert (some.steps_median, some.steps_most) == (1.5, 2)
    assert [(step.request.request_id, step.request.cost) for step in steps] == [("r1", Decimal("0.75")), ("r2", 2)]
    assert [(one.purpose, one.cost) for one in steps[0].attempts] == [
        ("call", Decimal("0.50")), ("retry", Decimal("0.25")),
    ]  # fmt: skip
    assert span_of(steps) == timedelta(seconds=9)
    assert [(one.request_id, one.input_tokens) for one in prompts] == [("r3", 900), ("r1", 120)]
