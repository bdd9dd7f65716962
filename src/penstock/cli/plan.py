"""`penstock plan`: what something would cost, before it is built."""

from pathlib import Path
from typing import Any

from cyclopts import App

from penstock.cli.options import Common, console
from penstock.cli.plan_command import Calculator, declare
from penstock.cli.plan_demand import DemandOptions, minutes_of_ledger, minutes_of_trace
from penstock.errors import InputError
from penstock.planning.answer import Answer
from penstock.planning.chart import blocks, svg
from penstock.planning.month import Month, month
from penstock.planning.prices import Prices
from penstock.planning.ptu import Ptu, demand_of, ptu
from penstock.pricing.capacity import shipped_capacity

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
)

for _calculator in CALCULATORS:
    declare(app, _calculator)
