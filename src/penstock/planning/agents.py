"""What a chain of agents costs per interaction, at the median, at the tail, and when it runs away (section 7.9)."""

import dataclasses
import math
import random
from decimal import Decimal
from functools import cache

from penstock.errors import PlanError
from penstock.planning.answer import Answer, Correction
from penstock.planning.prices import Prices, PriceUsed, rate, used
from penstock.planning.quantity import (
    Amount,
    AtLeastOne,
    Balance,
    Count,
    Dollars,
    Inputs,
    Runs,
    Saved,
    Share,
    Tokens,
    cents,
    exact,
    money,
    percent,
    ratio,
)
from penstock.planning.sensitivity import sensitivity
from penstock.pricing.book import PriceRow

NORMAL_P95 = 1.6448536269514722
"""The 95th percentile of the standard normal distribution."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Agent(Inputs):
    """One agent of a chain, in the terms of the guide's formula and those that it leaves out."""

    name: str
    """What it is called."""
    model: str
    """The model that it runs on."""
    planning_tokens: Tokens = 0
    """Input tokens of planning, once."""
    tool_tokens: Tokens = 0
    """Input tokens of one tool call: its description and its result."""
    tool_calls: Amount = Decimal(1)
    """Tool calls, if there are tool tokens."""
    loop_tokens: Tokens = 0
    """Input tokens of one reasoning iteration: instructions, tools, task."""
    iterations: Amount = Decimal(1)
    """Reasoning iterations of the median run."""
    iterations_p95: Amount = Decimal(0)
    """Iterations that 95 of 100 runs do not exceed; 0: every run takes the median."""
    growth_tokens: Tokens = 0
    """Tokens that each iteration adds to the context and every later one sends again."""
    loop_output_tokens: Tokens = 0
    """Output tokens of one iteration."""
    memory_tokens: Tokens = 0
    """Input tokens of memory and history, once."""
    output_tokens: Tokens = 0
    """Output tokens of the final answer."""
    cached_share: Share = Decimal(0)
    """Share of the iterations' input that the prompt cache serves."""
    failure_share: Share = Decimal(0)
    """Share of the calls that fail and are paid again."""


GUIDE_CHAIN = (
    Agent(name="triage", model="gpt-4.1-nano", planning_tokens=500),
    Agent(name="research", model="gpt-4o-mini", tool_tokens=3000, tool_calls=Decimal(3)),
    Agent(name="response", model="gpt-4o-mini", output_tokens=2000),
)
"""The customer support escalation chain of section 7.9."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Agents(Inputs):
    """A chain of agents that every interaction passes, and the limits that hold it."""

    agents: tuple[Agent, ...] = GUIDE_CHAIN
    """The agents, each as name=...,model=...,planning_tokens=...; by default the guide's chain."""
    interactions_per_month: Count = 50_000
    """Interactions a month."""
    compare_model: str = "gpt-4o"
    """The model that runs every agent in the comparison."""
    max_iterations: Count = 0
    """Cap on the iterations of one agent; 0: none."""
    budget_per_run: Dollars = Decimal(0)
    """A run is stopped when it has cost this much; 0: no such limit."""
    runaway_iterations: AtLeastOne = 1000
    """Iterations of a loop that nothing stops."""
    runs: Runs = 10_000
    """Simulated runs."""
    seed: Count = 1
    """Start of the random numbers: equal seeds give equal results."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentCost:
    """One agent at the median number of iterations."""

    agent: str
    model: str
    planning: Dollars
    tools: Dollars
    loop: Dollars
    memory: Dollars
    output: Dollars
    total: Dollars


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentsPlan(Answer):
    """What the chain costs."""

    per_interaction: Dollars
    """By the formula, at the median iterations."""
    per_month: Dollars
    compared_per_interaction: Dollars
    """The same tokens with one model everywhere."""
    compared_per_month: Dollars
    routing_saves: Balance
    """A month, against one model everywhere."""
    routing_saves_share: Saved
    mean: Dollars
    """Of the simulated runs, per interaction."""
    p50: Dollars
    p95: Dollars
    p99: Dollars
    simulated_per_month: Dollars
    """Mean times interactions."""
    runs_cut: Share
    """Share of the runs that a limit cuts short."""
    cut_saves: Dollars
    """Dollars a month that the limits hold back."""
    runaway: Dollars
    """One run whose loops nothing stops."""
    runaway_held: Dollars
    """The same run with the limits."""
    chain: tuple[AgentCost, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Rates:
    """Dollars for one token."""

    fresh: Decimal
    cached: Decimal
    output: Decimal


def agents(inputs: Agents, prices: Prices) -> AgentsPlan:
    """Price the chain by the guide's formula, then simulate it with random numbers of iterations."""
    rows = [prices.row(agent.model, field="agents", unit="output") for agent in inputs.agents]
    other = prices.row(inputs.compare_model, field="compare_model", unit="output")
    chain = tuple(_parts(agent, _rates(row), agent.iterations) for agent, row in zip(inputs.agents, rows, strict=True))
    each = sum((part.total for part in chain), Decimal(0))
    same = sum((_parts(agent, _rates(other), agent.iterations).total for agent in inputs.agents), Decimal(0))
    free, held = _simulate(inputs, [_rates(row) for row in rows])
    ordered, mean = sorted(held), sum(held, Decimal(0)) / len(held)
    volume = inputs.interactions_per_month
    return AgentsPlan(
        answer=_sentence(inputs, each, same, mean),
        per_interaction=exact(each),
        per_month=exact(each * volume),
        compared_per_interaction=exact(same),
        compared_per_month=exact(same * volume),
        routing_saves=exact((same - each) * volume),
        routing_saves_share=ratio(same - each, same),
        mean=_millionths(mean),
        p50=_quantile(ordered, 50),
        p95=_quantile(ordered, 95),
        p99=_quantile(ordered, 99),
        simulated_per_month=cents(mean * volume),
        runs_cut=ratio(sum(1 for a, b in zip(free, held, strict=True) if b < a), len(free)),
        cut_saves=cents((sum(free, Decimal(0)) - sum(held, Decimal(0))) / len(free) * volume),
        runaway=_millionths(_runaway(inputs, rows, limited=False)),
        runaway_held=_millionths(_runaway(inputs, rows, limited=True)),
        chain=chain,
        notes=_notes(inputs, prices),
        prices=_distinct([*rows, other]),
        assumptions=_assumptions(inputs),
        corrections=_corrections(prices),
        moved="the monthly cost",
        sensitivity=sensitivity(
            inputs,
            lambda changed: _each(changed, rows) * changed.interactions_per_month,
            leave_out=("max_iterations", "budget_per_run", "runaway_iterations", "runs", "seed"),
        ),
    )


def _each(inputs: Agents, rows: list[PriceRow]) -> Decimal:
    pairs = zip(inputs.agents, rows, strict=True)
    return sum((_parts(agent, _rates(row), agent.iterations).total for agent, row in pairs), Decimal(0))


def _rates(row: PriceRow) -> _Rates:
    return _Rates(rate(row, "input"), rate(row, "cache_read"), rate(row, "output"))


def _parts(agent: Agent, rates: _Rates, iterations: Decimal) -> AgentCost:
    """Price one agent; iteration i sends its own tokens and what the i-1 before it have added."""
    if agent.failure_share == 1:
        raise PlanError("agents", f"every call of {agent.name} fails: it is never done")
    again = 1 / (1 - agent.failure_share)
    resent = agent.growth_tokens * iterations * max(iterations - 1, Decimal(0)) / 2
    price = agent.cached_share * rates.cached + (1 - agent.cached_share) * rates.fresh
    planning = agent.planning_tokens * rates.fresh * again
    tools = agent.tool_tokens * agent.tool_calls * rates.fresh * again
    loop = (
        (agent.loop_tokens * iterations + resent) * price + agent.loop_output_tokens * iterations * rates.output
    ) * again
    memory = agent.memory_tokens * rates.fresh * again
    output = agent.output_tokens * rates.output * again
    return AgentCost(
        agent=agent.name,
        model=agent.model,
        planning=exact(planning),
        tools=exact(tools),
        loop=exact(loop),
        memory=exact(memory),
        output=exact(output),
        total=exact(planning + tools + loop + memory + output),
    )


def _simulate(inputs: Agents, rates: list[_Rates]) -> tuple[list[Decimal], list[Decimal]]:
    """Return the cost of each run without and with the limits, on the same random numbers."""
    draw = random.Random(inputs.seed)  # noqa: S311  (a simulation, not a secret)

    @cache
    def cost(index: int, iterations: int) -> Decimal:
        return _parts(inputs.agents[index], rates[index], Decimal(iterations)).total

    free, held = [], []
    for _ in range(inputs.runs):
        counts = [_iterations(agent, draw) for agent in inputs.agents]
        free.append(sum((cost(index, count) for index, count in enumerate(counts)), Decimal(0)))
        capped = [min(count, inputs.max_iterations) if inputs.max_iterations else count for count in counts]
        total = sum((cost(index, count) for index, count in enumerate(capped)), Decimal(0))
        held.append(min(total, inputs.budget_per_run) if inputs.budget_per_run else total)
    return free, held


def _iterations(agent: Agent, draw: random.Random) -> int:
    """Draw the iterations of one run: lognormal with the given median and 95th percentile, at least one."""
    median = float(agent.iterations)
    if agent.iterations_p95 <= agent.iterations or not median:
        return max(1, round(median)) if median else 0
    spread = math.log(float(agent.iterations_p95) / median) / NORMAL_P95
    return max(1, round(draw.lognormvariate(math.log(median), spread)))


def _quantile(ordered: list[Decimal], part: int) -> Decimal:
    return _millionths(ordered[min(len(ordered) - 1, math.ceil(len(ordered) * part / 100) - 1)])


def _millionths(amount: Decimal) -> Decimal:
    return exact(ratio(amount, 1))


def _runaway(inputs: Agents, rows: list[PriceRow], *, limited: bool) -> Decimal:
    """Price a run in which every loop goes on until something stops it."""
    count = inputs.runaway_iterations
    if limited and inputs.max_iterations:
        count = min(count, inputs.max_iterations)
    total = Decimal(0)
    for agent, row in zip(inputs.agents, rows, strict=True):
        loops = agent.loop_tokens or agent.growth_tokens or agent.loop_output_tokens
        if agent.tool_tokens and not loops:  # a chain without loops runs away by calling tools
            agent = dataclasses.replace(agent, tool_calls=Decimal(count))  # noqa: PLW2901
        total += _parts(agent, _rates(row), Decimal(count) if loops else agent.iterations).total
    return min(total, inputs.budget_per_run) if limited and inputs.budget_per_run else total


def _sentence(inputs: Agents, each: Decimal, same: Decimal, mean: Decimal) -> str:
    """Say what a month costs: by the mean of the simulated runs where iterations vary, since the tail is paid too."""
    volume, saved = inputs.interactions_per_month, ratio(same - each, same)
    if any(agent.iterations_p95 > agent.iterations for agent in inputs.agents):
        return (
            f"An interaction costs {money(_millionths(mean))} on average and {money(each)} at the median iterations: "
            f"{volume:,} a month cost {money(cents(mean * volume))}."
        )
    return (
        f"An interaction costs {money(each)}, {volume:,} a month {money(cents(each * volume))}; "
        f"with {inputs.compare_model} everywhere {money(cents(same * volume))} ({percent(abs(saved))} "
        f"{'saved' if saved >= 0 else 'lost'} by routing)."
    )


def _notes(inputs: Agents, prices: Prices) -> tuple[str, ...]:
    models = dict.fromkeys(agent.model for agent in inputs.agents)
    notes = [note for model in models for note in prices.retirement_note(model)]
    if inputs.agents == GUIDE_CHAIN:
        notes.append("This is the guide's chain: agents 1 and 2 are priced as input alone, agent 3 as output alone.")
    if not any(agent.growth_tokens for agent in inputs.agents):
        notes.append("No context grows here; in real runs the history that is sent again is most of the cost.")
    if not inputs.max_iterations and not inputs.budget_per_run:
        notes.append("Nothing stops a run that loops: set --max-iterations or --budget-per-run.")
    return tuple(notes)


def _assumptions(inputs: Agents) -> tuple[str, ...]:
    return (
        "Each agent: planning + tool tokens x calls + iterations (with all that earlier ones added) + memory + output.",
        f"Iterations: lognormal where a 95th percentile is given; {inputs.runs:,} runs, seed {inputs.seed}.",
        "A budget stops a run exactly at its limit; in practice the call in flight still ends.",
    )


def _distinct(rows: list[PriceRow]) -> tuple[PriceUsed, ...]:
    return tuple({row.id: used(row, "input", "cache_read", "output") for row in rows}.values())


def _corrections(prices: Prices) -> tuple[Correction, ...]:
    rows = [prices.find(agent.model) for agent in GUIDE_CHAIN]
    big = prices.find("gpt-4o")
    if big is None or None in rows:
        return ()
    pairs = [(agent, row) for agent, row in zip(GUIDE_CHAIN, rows, strict=True) if row is not None]
    each = sum((_parts(agent, _rates(row), Decimal(1)).total for agent, row in pairs), Decimal(0))
    parts = [_parts(agent, _rates(big), Decimal(1)).total for agent in GUIDE_CHAIN]
    same = sum(parts, Decimal(0))
    return (
        Correction(
            section="7.9",
            says="The chain with GPT-4o everywhere: $0.0625, $3,125 a month, routing saves 96%",
            computed=f"{money(same)}, {money(same * 50_000)}, saves {money((same - each) * 50_000)} "
            f"({percent(ratio(same - each, same).quantize(Decimal('0.001')))})",
            why=f"The same tokens give {' + '.join(map(money, parts))}; no reading of the example gives $0.0625.",
        ),
        Correction(
            section="7.9",
            says="Planning on mini saves 60-80%",
            computed="94 %",
            why="gpt-4o-mini costs 6 % of gpt-4o for input and output alike.",
        ),
    )
