"""`penstock plan`: what something would cost, before it is built."""

from pathlib import Path
from typing import Any

from cyclopts import App

from penstock.cli.options import Common, console
from penstock.cli.plan_command import Calculator, declare
from penstock.cli.plan_demand import DemandOptions, minutes_of_ledger, minutes_of_trace
from penstock.errors import InputError
from penstock.planning.agents import Agents, agents
from penstock.planning.answer import Answer
from penstock.planning.batch import Batch, batch
from penstock.planning.cache import Cache, cache
from penstock.planning.chart import blocks, svg
from penstock.planning.copilot import Copilot, copilot
from penstock.planning.gpu import Gpu, gpu
from penstock.planning.mcp import Mcp, mcp
from penstock.planning.month import Month, month
from penstock.planning.prices import Prices
from penstock.planning.ptu import Ptu, demand_of, ptu
from penstock.planning.tune import Tune, tune
from penstock.planning.unit import UnitEconomics, unit
from penstock.pricing.capacity import shipped_capacity
from penstock.pricing.finetune import shipped_finetunes
from penstock.pricing.gpu import shipped_gpus
from penstock.pricing.licences import shipped_licences

app = App(name="plan", help="Work out what something would cost before it is built.")


def _ptu(inputs: Ptu, prices: Prices, options: DemandOptions, common: Common) -> Answer:
    """Plan PTUs for a workload, or for the traffic of a trace or of the ledger; draw what spills over."""
    capacity = shipped_capacity()
    series = minutes_of_trace(options.trace) if options.trace else ()
    if options.ledger:
        series = minutes_of_ledger(folder_of(common), options.since, options.until)
    plan = ptu(inputs, prices, capacity, series)
    demand = [float(load.ptus) for load in demand_of(inputs, prices, capacity, series)]
    if options.chart:
        heading = f"{inputs.model}: demand and {plan.best_ptus} PTUs, {plan.best_term}"
        write(options.chart, svg(demand, plan.best_ptus, heading))
    if series and not common.json:
        console.print(blocks(demand, plan.best_ptus), highlight=False, soft_wrap=True)
        console.print()
    return plan


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
        "month",
        Month,
        month,
        "Monthly cost of a steady workload, with every model of the price book side by side.",
        "penstock plan month --model gpt-4o-mini --requests-per-day 10000 --input-tokens 500 --output-tokens 300",
    ),
    Calculator(
        "ptu",
        Ptu,
        _ptu,
        "Provisioned throughput: how many PTUs, and whether they beat paying by token.",
        "penstock plan ptu --model gpt-5.2 --requests-per-minute 1000 --input-tokens 200 --output-tokens 20",
        extras=DemandOptions,
    ),
    Calculator(
        "cache",
        Cache,
        cache,
        "Prompt cache and semantic cache: what they save, net of what they cost.",
        "penstock plan cache --model gpt-4o --requests-per-day 10000 --prefix-tokens 1024 --prompt-hit-rate 1",
    ),
    Calculator(
        "batch",
        Batch,
        batch,
        "Batch API: what moving a share of the traffic saves.",
        "penstock plan batch --model gpt-4o --requests-per-day 10000 --input-tokens 500 --output-tokens 300 "
        "--batch-share 40%",
    ),
    Calculator(
        "copilot",
        Copilot,
        lambda inputs, _: copilot(inputs, shipped_licences()),
        "Microsoft 365 Copilot licences, Copilot Studio and AI Builder credits: return, break-even, reclaiming.",
        "penstock plan copilot --licences 1000 --active-users 200 --hours-per-week 2",
    ),
    Calculator(
        "agents",
        Agents,
        agents,
        "A chain of agents: cost per interaction by the guide's formula, at the tail, and when it runs away.",
        "penstock plan agents --agents name=triage,model=gpt-4.1-nano,planning_tokens=500 "
        "--agents name=answer,model=gpt-4o-mini,loop_tokens=2000,iterations=4,iterations_p95=12,growth_tokens=800 "
        "--max-iterations 10",
    ),
    Calculator(
        "mcp",
        Mcp,
        mcp,
        "MCP tools: what their descriptions cost with every request, and when loading fewer costs more.",
        "penstock plan mcp --model gpt-4o --requests-per-day 10000 --tools 20 --tools-loaded 5",
    ),
    Calculator(
        "unit",
        UnitEconomics,
        unit,
        "Unit economics: cost, value, margin and payback of a product with AI in it.",
        "penstock plan unit --interactions 100000 --token-cost 255 --infra-cost 45 --value-per-interaction 2.50",
    ),
    Calculator(
        "gpu",
        Gpu,
        lambda inputs, _: gpu(inputs, shipped_gpus()),
        "Training on GPU machines: memory, hours, spot with checkpoints, reservations.",
        "penstock plan gpu --parameters 7 --training-tokens 50 --epochs 3 --method lora",
    ),
    Calculator(
        "tune",
        Tune,
        lambda inputs, prices: tune(inputs, prices, shipped_finetunes()),
        "Prompt, fine-tuning or retrieval: the cheapest way, and from which volume.",
        "penstock plan tune --requests-per-month 100000 --prompt-model gpt-4o --tuned-model gpt-4.1-mini",
    ),
)

for _calculator in CALCULATORS:
    declare(app, _calculator)
