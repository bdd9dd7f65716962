import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planning.books import D, azure, made_up

from penstock.errors import PlanError
from penstock.planning.agents import GUIDE_CHAIN, Agent, Agents, agents

QUICK = Agents(runs=200)
LOOP = Agent(
    name="loop", model="m", loop_tokens=2000, iterations=D(4), iterations_p95=D(12), growth_tokens=800,
    loop_output_tokens=100,
)  # fmt: skip
PRICES = made_up(m=("1", "0.1", "4"), n=("2", "1", "8"))


def test_the_three_agent_chain_costs_what_section_7_9_says():
    plan = agents(QUICK, azure())
    assert [part.total for part in plan.chain] == [D("0.00005"), D("0.00135"), D("0.0012")]
    assert (plan.per_interaction, plan.per_month) == (D("0.0026"), D("130.00"))


def test_the_chain_on_gpt_4o_everywhere_is_not_the_0_0625_of_section_7_9():
    plan = agents(QUICK, azure())
    assert (plan.compared_per_interaction, plan.compared_per_month) == (D("0.04375"), D("2187.50"))
    assert (plan.routing_saves, plan.routing_saves_share) == (D("2057.50"), D("0.940571"))
    correction = plan.corrections[0]
    assert correction.computed == "$0.04375, $2,187.50, saves $2,057.50 (94.1 %)"
    assert "$0.00125 + $0.0225 + $0.02" in correction.why


def test_history_that_is_sent_again_grows_with_the_square_of_the_iterations():
    agent = dataclasses.replace(LOOP, loop_tokens=0, loop_output_tokens=0, iterations_p95=D(0))
    costs = [
        agents(Agents(agents=(dataclasses.replace(agent, iterations=D(n)),), compare_model="m", runs=1), PRICES)
        for n in (1, 2, 4)
    ]
    # 800 tokens each: none, 1 time, 0+1+2+3 = 6 times
    assert [plan.per_interaction for plan in costs] == [0, D("0.0008"), D("0.0048")]


def test_a_failed_call_is_paid_again():
    once = Agents(agents=(dataclasses.replace(LOOP, failure_share=D("0.5")),), compare_model="m", runs=1)
    plain = Agents(agents=(LOOP,), compare_model="m", runs=1)
    assert agents(once, PRICES).per_interaction == 2 * agents(plain, PRICES).per_interaction


def test_equal_seeds_give_equal_runs_and_other_seeds_others():
    inputs = Agents(agents=(LOOP,), compare_model="m", runs=500)
    assert agents(inputs, PRICES).mean == agents(inputs, PRICES).mean
    assert agents(inputs, PRICES).mean != agents(dataclasses.replace(inputs, seed=2), PRICES).mean


def test_the_simulated_iterations_have_the_given_median_and_95th_percentile():
    agent = Agent(name="a", model="m", loop_tokens=1_000_000, iterations=D(10), iterations_p95=D(40))
    plan = agents(Agents(agents=(agent,), compare_model="m", runs=20_000), PRICES)
    assert plan.p50 == pytest.approx(D(10), rel=D("0.06"))
    assert plan.p95 == pytest.approx(D(40), rel=D("0.06"))


def test_a_cap_holds_a_runaway_and_says_what_it_saves():
    free = Agents(agents=(LOOP,), compare_model="m")
    capped = agents(dataclasses.replace(free, max_iterations=10), PRICES)
    assert capped.runaway > 1000 * capped.runaway_held
    assert capped.p99 == capped.runaway_held
    assert 0 < capped.runs_cut < D("0.2")
    assert capped.simulated_per_month + capped.cut_saves == pytest.approx(
        agents(free, PRICES).simulated_per_month, abs=D("0.02")
    )


def test_a_budget_per_run_is_the_most_a_run_costs():
    plan = agents(Agents(agents=(LOOP,), compare_model="m", budget_per_run=D("0.02")), PRICES)
    assert plan.p99 == plan.runaway_held == D("0.02")


def test_an_unknown_model_in_the_chain_is_named():
    with pytest.raises(PlanError, match=r"agents: no model 'gpt-5-nanno' at azure; did you mean gpt-5-nano"):
        agents(Agents(agents=(dataclasses.replace(GUIDE_CHAIN[0], model="gpt-5-nanno"),)), azure())


@given(st.integers(0, 5000), st.integers(0, 20), st.decimals(0, 1, places=2), st.integers(0, 2000))
@settings(deadline=None)
def test_without_growth_the_simulation_of_fixed_iterations_is_the_formula(tokens, iterations, cached, output):
    agent = Agent(
        name="a", model="n", loop_tokens=tokens, iterations=D(iterations), cached_share=cached, output_tokens=output
    )
    plan = agents(Agents(agents=(agent,), compare_model="m", runs=3), PRICES)
    assert plan.p50 == plan.mean
    assert abs(plan.mean - plan.per_interaction) <= D("0.000001")


def test_where_iterations_vary_a_month_costs_what_the_average_run_does():
    varying = dataclasses.replace(LOOP, iterations_p95=3 * LOOP.iterations)
    plan = agents(Agents(agents=(varying,), compare_model="m", runs=2000), PRICES)
    assert plan.mean > plan.per_interaction  # the tail is paid as well
    assert f"a month cost ${plan.simulated_per_month:,}" in plan.answer


def test_a_model_that_writes_no_text_is_named_where_it_was_chosen():
    with pytest.raises(PlanError, match=r"compare_model: azure/text-embedding-3-small.* has no rate for output"):
        agents(Agents(compare_model="text-embedding-3-small", runs=1), azure())
