"""`penstock plan`: what something would cost, before it is built."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from penstock.cli.options import Common
from penstock.cli.plan_command import Calculator, Drawn, PlanOptions, declare, in_one_sentence
from penstock.cli.plan_content import contents_of
from penstock.cli.plan_demand import ChartOptions, minutes_of_ledger, minutes_of_trace
from penstock.cli.plan_diff import diff
from penstock.cli.plan_interview import InterviewOptions, interviewed
from penstock.errors import InputError, PlanError
from penstock.planning.agents import Agents, agents
from penstock.planning.answer import Answer
from penstock.planning.batch import Batch, batch
from penstock.planning.cache import Cache, cache
from penstock.planning.chart import blocks, svg
from penstock.planning.copilot import Copilot, copilot
from penstock.planning.demand import Load
from penstock.planning.deployment import Deployment, deployment
from penstock.planning.foundry import Foundry, foundry, guardrails_of
from penstock.planning.gpu import Gpu, gpu
from penstock.planning.guardrails import TEMPLATES, render
from penstock.planning.guide import GuideCheck, guide
from penstock.planning.mcp import Mcp, mcp
from penstock.planning.model import Model, model
from penstock.planning.month import Month, month
from penstock.planning.prices import Prices
from penstock.planning.ptu import Ptu, demand_of, ptu
from penstock.planning.quantity import percent
from penstock.planning.rag import Rag, rag
from penstock.planning.tokens import Piece, Tokens, tokens
from penstock.planning.tune import Tune, tune
from penstock.planning.unit import UnitEconomics, unit
from penstock.pricing.capacity import shipped_capacity
from penstock.pricing.finetune import shipped_finetunes
from penstock.pricing.gpu import shipped_gpus
from penstock.pricing.licences import shipped_licences
from penstock.pricing.search import shipped_search_tiers

app = App(name="plan", help="Work out what something would cost before it is built.", error_formatter=in_one_sentence)


def _ptu(inputs: Ptu, prices: Prices, options: ChartOptions, common: Common) -> Answer | Drawn:
    """Plan PTUs for a workload, or for the traffic of a trace or of the ledger; draw what spills over."""
    if inputs.trace and inputs.ledger:
        raise PlanError("ledger", "the demand comes from a trace or from the ledger; leave one of them out")
    capacity = shipped_capacity()
    series = minutes_of_trace(Path(inputs.trace)) if inputs.trace else ()
    measured = ""
    if inputs.ledger:
        model_name, _ = prices.catalog.identify(prices.provider, inputs.model)
        series, cached = minutes_of_ledger(folder_of(common), model_name, inputs.since, inputs.until)
        if not inputs.cached_share and cached:
            inputs = dataclasses.replace(inputs, cached_share=cached)
            measured = (
                f"In the ledger {percent(cached)} of the input was cached; --cached-share plans for another share."
            )
    plan = ptu(inputs, prices, capacity, series)
    if measured:
        plan = dataclasses.replace(plan, notes=(measured, *plan.notes))
    demand = drawn(demand_of(inputs, prices, capacity, series))
    if options.chart:
        heading = f"{inputs.model}: demand and {plan.best_ptus} PTUs, {plan.best_term}"
        write(options.chart, svg(demand, plan.best_ptus, heading))
    return Drawn(plan, partial(blocks, demand, plan.best_ptus)) if series else plan


@Parameter(name="*", group="Guardrails")
@dataclasses.dataclass(frozen=True, kw_only=True)
class GuardrailOptions:
    """Where the guardrail files go."""

    guardrails: Annotated[
        Path | None, Parameter(help="Write az commands, Bicep and Terraform for cap, budget and alerts here.")
    ] = None


def _foundry(inputs: Foundry, prices: Prices, options: GuardrailOptions, _: Common) -> Answer:
    """Plan a Foundry project, and write its guardrails into a folder."""
    plan = foundry(inputs, prices)
    if options.guardrails is None:
        return plan
    folder = files("penstock.planning") / "templates"
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in TEMPLATES}
    rendered = render(guardrails_of(inputs, prices, shipped_capacity()), texts)
    try:
        options.guardrails.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{options.guardrails}: cannot be made ({error.strerror})") from error
    for name, text in rendered.items():
        write(options.guardrails / name, text)
    written = ", ".join(str(options.guardrails / name) for name in rendered)
    return dataclasses.replace(
        plan, notes=(*plan.notes, f"Guardrails written: {written}. Read them before you run them.")
    )


def drawn(demand: Sequence[Load]) -> list[float]:
    """Return PTUs by the minute; shares of the minutes are drawn as parts of a hundred."""
    whole = all(load.minutes == 1 for load in demand)
    return [float(load.ptus) for load in demand for _ in range(1 if whole else round(100 * load.minutes))] or [0.0]


def _tokens(inputs: Tokens, prices: Prices) -> Answer:
    """Count what was given as each model of the book does, then price it."""
    contents = contents_of(inputs)

    def counted(model: str) -> tuple[Piece, ...]:
        return (*inputs.pieces, *(content.counted(model, inputs.detail) for content in contents))

    elsewhere = {model: counted(model) for model in prices.models()}
    return tokens(dataclasses.replace(inputs, pieces=counted(inputs.model)), prices, elsewhere)


def _model(inputs: Model, prices: Prices, options: InterviewOptions, _: Common) -> Answer:
    """Choose a model by the options, or by asking."""
    return model(interviewed(inputs) if options.interview else inputs, prices)


def _guide(_: GuideCheck, prices: Prices) -> Answer:
    return guide(prices, shipped_capacity(), shipped_gpus(), shipped_finetunes(), shipped_licences())


def folder_of(common: Common) -> Path:
    """Return the ledger's folder: the option, else the one in the settings."""
    from penstock.settings import load

    return load(common.config, data=common.data).data


def write(path: Path, text: str) -> None:
    """Write a file that the user named. Raises InputError that names it."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


CALCULATORS: tuple[Calculator[Any], ...] = (
    Calculator(
        "month", Month, month,
        "Monthly cost of a steady workload, with every model of the price book side by side.",
        "penstock plan month --model gpt-4o-mini --requests-per-day 10000 --input-tokens 500 --output-tokens 300",
    ),
    Calculator(
        "tokens", Tokens, _tokens,
        "Tokens and cost of given text, files or pictures, or of words that are not written yet.",
        "penstock plan tokens --model gpt-4o --file README.md --image 1024x1024",
    ),
    Calculator(
        "deployment", Deployment, lambda inputs, prices: deployment(inputs, prices, shipped_capacity()),
        "Global, data zone, regional, batch, priority and PTU side by side, under residency and latency demands.",
        "penstock plan deployment --model gpt-4o --requests-per-day 10000 --input-tokens 500 --output-tokens 300 "
        "--residency zone",
    ),
    Calculator(
        "ptu", Ptu, _ptu,
        "Provisioned throughput: how many PTUs, and whether they beat paying by token.",
        "penstock plan ptu --model gpt-5.2 --requests-per-minute 1000 --input-tokens 200 --output-tokens 20",
        extras=ChartOptions,
    ),
    Calculator(
        "model", Model, _model,
        "Which model for a task: the smallest that is enough, why not a bigger one, and what it saves.",
        "penstock plan model --task classification --requests-per-day 10000",
        extras=InterviewOptions,
    ),
    Calculator(
        "cache", Cache, cache,
        "Prompt cache and semantic cache: what they save, net of what they cost.",
        "penstock plan cache --model gpt-4o --requests-per-day 10000 --prefix-tokens 1024 --prompt-hit-rate 1",
    ),
    Calculator(
        "rag", Rag, lambda inputs, prices: rag(inputs, prices, shipped_search_tiers()),
        "Retrieval: embedding, vector index, chunks in the prompt, reranking, updates.",
        "penstock plan rag --documents 100000 --queries-per-day 10000 --top-k 20 --reranked-k 5",
    ),
    Calculator(
        "batch", Batch, batch,
        "Batch API: what moving a share of the traffic saves.",
        "penstock plan batch --model gpt-4o --requests-per-day 10000 --input-tokens 500 --output-tokens 300 "
        "--batch-share 40%",
    ),
    Calculator(
        "foundry", Foundry, _foundry,
        "The layers of a Foundry bill, the worst month a cap allows, and guardrails as az, Bicep and Terraform files.",
        "penstock plan foundry --model gpt-4o-mini --capacity 30 --budget 5000 --guardrails guardrails/",
        extras=GuardrailOptions,
    ),
    Calculator(
        "copilot", Copilot, lambda inputs, _: copilot(inputs, shipped_licences()),
        "Microsoft 365 Copilot licences, Copilot Studio and AI Builder credits: return, break-even, reclaiming.",
        "penstock plan copilot --licences 1000 --active-users 200 --hours-per-week 2",
    ),
    Calculator(
        "agents", Agents, agents,
        "A chain of agents: cost per interaction by the guide's formula, at the tail, and when it runs away.",
        "penstock plan agents --agents name=triage,model=gpt-4.1-nano,planning_tokens=500 "
        "--agents name=answer,model=gpt-4o-mini,loop_tokens=2000,iterations=4,iterations_p95=12,growth_tokens=800 "
        "--max-iterations 10",
    ),
    Calculator(
        "mcp", Mcp, mcp,
        "MCP tools: what their descriptions cost with every request, and when loading fewer costs more.",
        "penstock plan mcp --model gpt-4o --requests-per-day 10000 --tools 20 --tools-loaded 5",
    ),
    Calculator(
        "unit", UnitEconomics, unit,
        "Unit economics: cost, value, margin and payback of a product with AI in it.",
        "penstock plan unit --interactions 100000 --token-cost 255 --infra-cost 45 --value-per-interaction 2.50",
    ),
    Calculator(
        "gpu", Gpu, lambda inputs, _: gpu(inputs, shipped_gpus()),
        "Training on GPU machines: memory, hours, spot with checkpoints, reservations.",
        "penstock plan gpu --parameters 7 --training-tokens 50 --epochs 3 --method lora",
    ),
    Calculator(
        "tune", Tune, lambda inputs, prices: tune(inputs, prices, shipped_finetunes()),
        "Prompt, fine-tuning or retrieval: the cheapest way, and from which volume.",
        "penstock plan tune --requests-per-month 100000 --prompt-model gpt-4o --tuned-model gpt-4.1-mini",
    ),
    Calculator(
        "guide", GuideCheck, _guide,
        "Every number of the guide, recomputed: what holds to the cent, and what does not, and why.",
        "penstock plan guide --book guide-2026-03",
    ),
)  # fmt: skip

for _calculator in CALCULATORS:
    declare(app, _calculator)


@app.command(name="diff")
def compare(first: Path, second: Path, /, *, options: PlanOptions | None = None, common: Common | None = None) -> None:
    """Run two plan files of one calculator and say what differs, in inputs and in figures.

    Example: `penstock plan diff today.toml tomorrow.toml`

    Parameters
    ----------
    first
        Plan file; its line `calculator` names the calculator.
    second
        Plan file to compare it with.
    options
        Prices for both.
    common
        Options of every command.

    """
    by_name = {calculator.name: calculator for calculator in CALCULATORS}
    diff(first, second, by_name, options or PlanOptions(), common or Common())
