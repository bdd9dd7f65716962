"""Laws that every calculator keeps, whatever it is asked."""

import dataclasses
from collections.abc import Callable
from decimal import Decimal
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.planning.books import D, azure

from penstock.errors import PlanError
from penstock.planning.agents import Agents, agents
from penstock.planning.answer import Answer
from penstock.planning.batch import Batch, batch
from penstock.planning.cache import Cache, cache
from penstock.planning.cascade import Cascade, cascade
from penstock.planning.copilot import Copilot, copilot
from penstock.planning.deployment import Deployment, deployment
from penstock.planning.foundry import Foundry, foundry
from penstock.planning.gpu import Gpu, gpu
from penstock.planning.mcp import Mcp, mcp
from penstock.planning.model import Model, model
from penstock.planning.month import Month, month
from penstock.planning.ptu import Ptu, ptu
from penstock.planning.quantity import Inputs, Unit, choices, units
from penstock.planning.rag import Rag, rag
from penstock.planning.tokens import Tokens, tokens
from penstock.planning.tune import Tune, tune
from penstock.planning.unit import UnitEconomics, unit
from penstock.pricing.capacity import shipped_capacity
from penstock.pricing.finetune import shipped_finetunes
from penstock.pricing.gpu import shipped_gpus
from penstock.pricing.licences import shipped_licences
from penstock.pricing.search import shipped_search_tiers

PRICES, CAPACITY, VMS = azure(), shipped_capacity(), shipped_gpus()
NAMES = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-6-sol", "text-embedding-3-small")

CALCULATORS: dict[type[Inputs], Callable[[Any], Answer]] = {
    Month: lambda inputs: month(inputs, PRICES),
    Tokens: lambda inputs: tokens(inputs, PRICES),
    Deployment: lambda inputs: deployment(inputs, PRICES, CAPACITY),
    Ptu: lambda inputs: ptu(inputs, PRICES, CAPACITY),
    Model: lambda inputs: model(inputs, PRICES),
    Cache: lambda inputs: cache(inputs, PRICES),
    Rag: lambda inputs: rag(inputs, PRICES, shipped_search_tiers()),
    Batch: lambda inputs: batch(inputs, PRICES),
    Cascade: lambda inputs: cascade(inputs, PRICES),
    Foundry: lambda inputs: foundry(inputs, PRICES),
    Copilot: lambda inputs: copilot(inputs, shipped_licences()),
    Agents: lambda inputs: agents(inputs, PRICES),
    Mcp: lambda inputs: mcp(inputs, PRICES),
    UnitEconomics: lambda inputs: unit(inputs, PRICES),
    Gpu: lambda inputs: gpu(inputs, VMS),
    Tune: lambda inputs: tune(inputs, PRICES, shipped_finetunes()),
}

MOST = {"runs": 20, "runaway_iterations": 1000, "months": 24, "growth": 5}
"""Fields of which a larger value only takes longer, or leaves what money can hold."""


def values_of(name: str, hint: Any, bounds: Unit | None) -> st.SearchStrategy[Any] | None:
    """Draw from the whole range that a field allows, its ends most of all; None: it keeps its default."""
    if bounds is None:
        return st.booleans() if hint is bool else None
    low = bounds.low or D(0)
    high = min(bounds.high if bounds.high is not None else D(10) ** 6, D(MOST.get(name, 10**6)))
    if int in (hint, *get_args(hint)):
        return st.sampled_from((int(low), int(low) + 1, int(high))) | st.integers(int(low), int(high))
    return st.sampled_from((low, high)) | st.decimals(low, high, places=4)


@st.composite
def inputs_of(draw: st.DrawFn, shape: Any) -> Any:
    hints, bounds, allowed = get_type_hints(shape), units(shape), choices(shape)
    given = {}
    for field in dataclasses.fields(shape):
        hint = hints[field.name]
        if field.name in allowed:
            given[field.name] = draw(st.sampled_from(allowed[field.name]))
        elif get_origin(hint) is tuple:
            continue
        elif (field.name == "model" or field.name.endswith("_model")) and shape is not Tune:
            given[field.name] = draw(st.sampled_from(NAMES))
        elif (strategy := values_of(field.name, hint, bounds.get(field.name))) is not None:
            given[field.name] = draw(strategy)
    return shape(**given)


def wrong(place: str, value: Any, unit: Unit | None) -> list[str]:
    """List the figures of an answer that are no numbers, or outside the bounds of their own unit."""
    if dataclasses.is_dataclass(value):
        known = units(type(value))  # type: ignore[arg-type]
        fields = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return [each for name, item in fields for each in wrong(f"{place}.{name}", item, known.get(name))]
    if isinstance(value, tuple):
        return [each for index, item in enumerate(value) for each in wrong(f"{place}[{index}]", item, unit)]
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        return []
    low, high = (unit.low, unit.high) if unit else (None, None)
    fine = Decimal(value).is_finite() and (low is None or value >= low) and (high is None or value <= high)
    return [] if fine else [f"{place} = {value}"]


@pytest.mark.parametrize("shape", CALCULATORS, ids=lambda shape: shape.__name__)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_figure_is_a_number_within_the_bounds_of_its_unit_or_the_input_is_named(shape, data):
    inputs = data.draw(inputs_of(shape))
    try:
        found = wrong(shape.__name__, CALCULATORS[shape](inputs), None)
    except PlanError as error:
        named = error.field in {field.name for field in dataclasses.fields(shape)}
        found = [] if named else [f"no input is named: {error}"]
    assert not found
