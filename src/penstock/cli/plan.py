"""`penstock plan`: what something would cost, before it is built."""

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from penstock.cli.options import Common
from penstock.cli.plan_command import Command, Drawn, PlanOptions, declare
from penstock.cli.plan_content import contents_of
from penstock.cli.plan_demand import ChartOptions, minutes_of_ledger, minutes_of_trace
from penstock.cli.plan_diff import diff
from penstock.cli.plan_interview import InterviewOptions, interviewed
from penstock.errors import InputError, PlanError
from penstock.planning.answer import Answer
from penstock.planning.calculators import CALCULATORS, Calculator
from penstock.planning.chart import blocks, svg
from penstock.planning.demand import Load
from penstock.planning.foundry import Foundry, foundry, guardrails_of
from penstock.planning.guardrails import TEMPLATES, render
from penstock.planning.guide import GuideCheck, guide
from penstock.planning.model import Model, model
from penstock.planning.prices import Prices
from penstock.planning.ptu import Ptu, demand_of, ptu
from penstock.planning.quantity import percent
from penstock.planning.tokens import Piece, Tokens, tokens
from penstock.pricing.capacity import shipped_capacity
from penstock.pricing.finetune import shipped_finetunes
from penstock.pricing.gpu import shipped_gpus
from penstock.pricing.licences import shipped_licences

app = App(name="plan", help="Work out what something would cost before it is built.")


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


WITH_FILES: dict[str, tuple[Callable[..., Answer | Drawn], type[Any], str]] = {
    "ptu": (_ptu, ChartOptions, ""),
    "model": (_model, InterviewOptions, ""),
    "foundry": (_foundry, GuardrailOptions, " --guardrails guardrails/"),
}
"""Calculators that do more here, the options of that, and what these add to the example: files, and questions."""
ONLY_HERE = (
    Command(
        "tokens", Tokens, _tokens,
        "Tokens and cost of given text, files or pictures, or of words that are not written yet.",
        "penstock plan tokens --model gpt-4o --file README.md --image 1024x1024",
    ),
    Command(
        "guide", GuideCheck, _guide,
        "Every number of the guide, recomputed: what holds to the cent, and what does not, and why.",
        "penstock plan guide --book guide-2026-03",
    ),
)  # fmt: skip


def _command(one: Calculator) -> Command[Any]:
    compute, extras, more = WITH_FILES.get(one.name, (one.compute, None, ""))
    example = f"penstock {shlex.join(('plan', one.name, *one.options))}{more}"
    return Command(one.name, one.inputs, compute, one.about, example, extras)


COMMANDS = (*map(_command, CALCULATORS), *ONLY_HERE)

for _one in COMMANDS:
    declare(app, _one)


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
    by_name = {command.name: command for command in COMMANDS}
    diff(first, second, by_name, options or PlanOptions(), common or Common())
