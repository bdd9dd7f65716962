"""The guide's own numbers, recomputed by the calculators: what holds, and what does not."""

import dataclasses
from collections.abc import Iterator, Mapping
from decimal import ROUND_HALF_UP, Decimal

from penstock.planning.agents import Agents, agents
from penstock.planning.answer import Answer, Correction
from penstock.planning.batch import CORRECTIONS as BATCH
from penstock.planning.cache import Cache, cache
from penstock.planning.copilot import Copilot, copilot
from penstock.planning.deployment import CORRECTIONS as DEPLOYMENT
from penstock.planning.foundry import Foundry, foundry
from penstock.planning.gpu import corrections as gpu_corrections
from penstock.planning.mcp import Mcp, mcp
from penstock.planning.model import CORRECTIONS as MODEL
from penstock.planning.model import right_sizes
from penstock.planning.month import Month, month
from penstock.planning.prices import Prices
from penstock.planning.ptu import guide_table
from penstock.planning.quantity import Inputs, exact, ratio
from penstock.planning.rag import CORRECTIONS as RAG
from penstock.planning.tokens import CORRECTIONS as TOKENS
from penstock.planning.tune import Tune, tune
from penstock.planning.unit import CORRECTIONS as UNIT
from penstock.planning.unit import GUIDE_CASES, judge
from penstock.pricing.capacity import Capacity
from penstock.pricing.finetune import FineTunePrice
from penstock.pricing.gpu import GpuVm
from penstock.pricing.licences import Licences


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GuideCheck(Inputs):
    """Nothing to give: the numbers are the guide's."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One number of the guide."""

    section: str
    what: str
    says: str
    computed: str
    holds: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GuideAnswer(Answer):
    """All of them."""

    right: int
    wrong: int
    checks: tuple[Check, ...]


COMPOUNDED = Correction(
    section="7.14",
    says="Savings of 40-90, 20-50, 30-70, 40-60 and 30-50% for five steps",
    computed="86 % to 99.7 % if they were independent",
    why="They compound and overlap: each step saves on what the steps before it have left.",
)

KQL = Correction(
    section="7.13",
    says="KQL over RequestResponse logs sums promptTokens",
    computed="no tokens stand in that log",
    why="RequestResponse carries no token counts, properties_s must be parsed first, and avg_if is not a function.",
)


def guide(
    prices: Prices,
    capacity: Capacity,
    vms: Mapping[str, GpuVm],
    finetunes: Mapping[str, FineTunePrice],
    licences: Licences,
) -> GuideAnswer:
    """Recompute the guide. Give the prices of its own table for the checks to hold."""
    checks = tuple(_checks(prices, licences))
    corrections = (
        *month(_chatbot("gpt-4o-mini"), prices).corrections,
        *TOKENS,
        *MODEL,
        *DEPLOYMENT,
        *guide_table(prices, capacity),
        *cache(CACHING, prices).corrections,
        *RAG,
        *BATCH,
        *foundry(Foundry(), prices).corrections,
        *copilot(Copilot(), licences).corrections,
        *agents(Agents(runs=1), prices).corrections,
        *mcp(TOOLS, prices).corrections,
        *UNIT,
        *gpu_corrections(vms),
        *tune(Tune(), prices, finetunes).corrections,
        KQL,
        COMPOUNDED,
    )
    right = sum(check.holds for check in checks)
    return GuideAnswer(
        answer=f"{right} of {len(checks)} worked numbers hold to the cent; {len(corrections)} statements do not.",
        right=right,
        wrong=len(checks) - right,
        checks=checks,
        corrections=corrections,
        assumptions=("Prices of the book in use; --book guide-2026-03 is the guide's own table.",),
    )


def _chatbot(model: str) -> Month:
    return Month(model=model, requests_per_day=10_000, input_tokens=500, output_tokens=300)


CACHING = Cache(model="gpt-4o", requests_per_day=10_000, prompt_hit_rate=Decimal(1), variable_tokens=0, output_tokens=0)
TOOLS = Mcp(model="gpt-4o", requests_per_day=10_000)


def _checks(prices: Prices, licences: Licences) -> Iterator[Check]:
    mini, big = (month(_chatbot(name), prices) for name in ("gpt-4o-mini", "gpt-4o"))
    yield from _money("7.2", "chatbot on gpt-4o-mini, a request", "0.000255", mini.cost_per_request)
    yield from _money("7.2", "chatbot on gpt-4o-mini, a day", "2.55", mini.cost_per_day)
    yield from _money("7.2", "chatbot on gpt-4o-mini, a month", "76.50", mini.monthly_cost)
    yield from _money("7.2", "chatbot on gpt-4o, a request", "0.00425", big.cost_per_request)
    yield from _money("7.2", "chatbot on gpt-4o, a day", "42.50", big.cost_per_day)
    yield from _money("7.2", "chatbot on gpt-4o, a month", "1275.00", big.monthly_cost)
    yield from _money("7.2", "saved by switching", "1198.50", mini.baseline_saving)
    yield _share("7.2", "saved by switching", 94, mini.baseline_saving_share)
    for name, more in (("code", 1800), ("German and French", 1500), ("CJK", 2000), ("JSON", 1600)):
        said = {"code": 38, "German and French": 15, "CJK": 54, "JSON": 23}[name]
        yield _share("7.2", f"{name}: more tokens than prose, by the guide's counts", said, ratio(more - 1300, 1300))
    sizes = dict(right_sizes(prices))
    for task, said in (
        ("classification", 96),
        ("summarization", 94),
        ("extraction", 94),
        ("support", 94),
        ("moderation", 96),
        ("code", 20),
        ("math", 56),
        ("translation", 94),
        ("embeddings", 99),
    ):
        yield _share("7.4", f"{task}: saved against gpt-4o", said, sizes[task])
    yield _share("7.5", "95 tokens become 35", 63, ratio(95 - 35, 95))
    prefix = cache(CACHING, prices)
    yield from _money("7.5", "1,024 tokens x 10,000 without caching, a day", "25.60", prefix.prefix_cost_per_day)
    yield from _money("7.5", "the same with caching, a day", "12.80", prefix.cached_prefix_cost_per_day)
    yield from _money("7.5", "saved by caching, a month", "384.00", prefix.prompt_cache_saving)
    yield from _money("7.6", "semantic cache with 80 % hits, a month", "255.00", big.monthly_cost * Decimal("0.2"))
    yield from _money("7.6", "semantic cache with 60 % hits, a month", "510.00", big.monthly_cost * Decimal("0.4"))
    yield from _copilot(licences)
    chain = agents(Agents(runs=1), prices)
    yield from _money("7.9", "three-agent chain, an interaction", "0.0026", chain.per_interaction)
    yield from _money("7.9", "three-agent chain, a month", "130.00", chain.per_month)
    yield from _money("7.9", "the chain with gpt-4o everywhere, a month", "3125.00", chain.compared_per_month)
    tools = mcp(TOOLS, prices)
    yield from _money("7.10", "20 tools, a day", "150.00", tools.all_per_day)
    yield from _money("7.10", "20 tools, a month", "4500.00", tools.all_per_month)
    yield from _money("7.10", "5 tools, a day", "37.50", tools.loaded_per_day)
    yield from _money("7.10", "5 tools, a month", "1125.00", tools.loaded_per_month)
    yield from _money("7.10", "saved by dynamic loading, uncached, a month", "3375.00", tools.saving)
    yield _share("7.10", "saved by dynamic loading, uncached", 75, tools.saving_share)
    for case, says in zip(GUIDE_CASES, ("833", "62.5", "750", "20", "333", "6", "10"), strict=True):
        multiple = judge(case).roi_multiple or Decimal(0)
        shown = multiple.quantize(Decimal(says)).normalize() + 0
        yield Check(
            section="7.11",
            what=f"{case.name}: ROI multiple",
            says=f"{says}x",
            computed=f"{shown:f}x",
            holds=shown == Decimal(says),
        )


def _copilot(licences: Licences) -> Iterator[Check]:
    many = copilot(Copilot(), licences)
    few = copilot(Copilot(active_users=200, hours_per_week=Decimal(2)), licences)
    yield from _money("7.8", "1,000 licences, a month", "30000.00", many.licence_cost)
    yield from _money("7.8", "700 users x 5 hours, a month", "700000.00", many.value)
    yield _share("7.8", "ROI with 700 users", 2233, many.roi)
    yield from _money("7.8", "200 users x 2 hours, a month", "80000.00", few.value)
    yield _share("7.8", "ROI with 200 users", 167, few.roi)
    yield from _money("7.8", "800 licences taken back, a month", "24000.00", few.reclaim_saving)


def _money(section: str, what: str, says: str, computed: Decimal) -> Iterator[Check]:
    amount = exact(computed)
    yield Check(
        section=section, what=what, says=f"${Decimal(says):,}", computed=f"${amount:,f}", holds=amount == Decimal(says)
    )


def _share(section: str, what: str, says: int, computed: Decimal) -> Check:
    """Compare in whole percent, as the guide writes them."""
    percent = int((computed * 100).to_integral_value(rounding=ROUND_HALF_UP))
    return Check(section=section, what=what, says=f"{says:,}%", computed=f"{percent:,}%", holds=percent == says)
