import ast
import builtins
import dataclasses
import io
import os
import socket
import time
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from tests.planning.books import azure

import penstock.planning
from penstock.planning.agents import Agent, Agents, agents
from penstock.planning.answer import Answer
from penstock.planning.batch import Batch, batch
from penstock.planning.cache import Cache, cache
from penstock.planning.cascade import Cascade, cascade
from penstock.planning.chart import blocks, svg
from penstock.planning.copilot import Copilot, copilot
from penstock.planning.demand import Minute
from penstock.planning.deployment import Deployment, deployment
from penstock.planning.foundry import Foundry, foundry, guardrails_of
from penstock.planning.gpu import Gpu, gpu
from penstock.planning.guardrails import render
from penstock.planning.guide import guide
from penstock.planning.mcp import Mcp, mcp
from penstock.planning.model import Model, model
from penstock.planning.month import Month, month
from penstock.planning.ptu import Ptu, ptu
from penstock.planning.quantity import Inputs
from penstock.planning.rag import Rag, rag
from penstock.planning.sensitivity import sensitivity
from penstock.planning.tokens import Tokens, tokens
from penstock.planning.tune import Tune, tune
from penstock.planning.unit import UnitEconomics, unit
from penstock.pricing.capacity import shipped_capacity
from penstock.pricing.finetune import shipped_finetunes
from penstock.pricing.gpu import shipped_gpus
from penstock.pricing.licences import shipped_licences
from penstock.pricing.lifecycle import Retirement
from penstock.pricing.search import shipped_search_tiers

PRICES, CAPACITY, VMS = azure(), shipped_capacity(), shipped_gpus()
FINETUNES, LICENCES, TIERS = shipped_finetunes(), shipped_licences(), shipped_search_tiers()
CHATBOT = {"model": "gpt-4o", "requests_per_day": 10_000, "input_tokens": 500, "output_tokens": 300}
CASCADE = Cascade(
    first_model="gpt-4o-mini", then_model="gpt-4o", requests_per_day=10_000, input_tokens=500, output_tokens=300
)

CALCULATORS = {
    "month": lambda: month(Month(**CHATBOT), PRICES),
    "tokens": lambda: tokens(Tokens(words=1000), PRICES),
    "deployment": lambda: deployment(Deployment(**CHATBOT), PRICES, CAPACITY),
    "ptu": lambda: ptu(Ptu(model="gpt-4o"), PRICES, CAPACITY, [Minute(10**6, 10**5), Minute(5 * 10**5, 10**5)]),
    "model": lambda: model(Model(), PRICES),
    "cache": lambda: cache(Cache(model="gpt-4o", requests_per_day=10_000), PRICES),
    "rag": lambda: rag(Rag(), PRICES, TIERS),
    "batch": lambda: batch(Batch(**CHATBOT), PRICES),
    "cascade": lambda: cascade(CASCADE, PRICES),
    "foundry": lambda: foundry(Foundry(), PRICES),
    "copilot": lambda: copilot(Copilot(), LICENCES),
    "agents": lambda: agents(Agents(runs=100), PRICES),
    "mcp": lambda: mcp(Mcp(model="gpt-4o", requests_per_day=10_000), PRICES),
    "unit": lambda: unit(UnitEconomics(), PRICES),
    "gpu": lambda: gpu(Gpu(), VMS),
    "tune": lambda: tune(Tune(), PRICES, FINETUNES),
    "guide": lambda: guide(PRICES, CAPACITY, VMS, FINETUNES, LICENCES),
}


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a calculator reached outside")


@pytest.fixture
def _sealed(monkeypatch):
    for place, name in (
        (builtins, "open"), (io, "open"), (os, "open"), (os, "getenv"), (socket, "socket"), (Path, "open"),
        (Path, "read_text"), (Path, "read_bytes"), (time, "time"),
    ):  # fmt: skip
        monkeypatch.setattr(place, name, refuse)


@pytest.mark.usefixtures("_sealed")
@pytest.mark.parametrize("name", CALCULATORS)
def test_no_calculator_reads_a_file_a_clock_the_environment_or_the_network(name):
    answer = CALCULATORS[name]()
    assert isinstance(answer, Answer)
    assert answer.answer.endswith(".")


@pytest.mark.usefixtures("_sealed")
def test_drawing_and_rendering_do_not_either():
    assert blocks([1.0], 1)
    assert svg([1.0], 1, "x").startswith("<svg")
    assert render(guardrails_of(Foundry(), PRICES, CAPACITY), {"a": "@model"}) == {"a": "gpt-4o-mini"}


@pytest.mark.parametrize("path", sorted(Path(penstock.planning.__path__[0]).glob("*.py")), ids=lambda path: path.stem)
def test_no_line_of_the_room_asks_for_the_time_a_file_or_the_environment(path):
    calls = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    names = {getattr(call, "id", None) or getattr(call, "attr", None) for call in calls}
    assert not names & {
        "now",
        "today",
        "utcnow",
        "open",
        "read_text",
        "write_text",
        "print",
        "input",
        "getenv",
        "files",
    }


@pytest.mark.parametrize("name", CALCULATORS)
def test_a_calculator_gives_the_same_answer_twice(name):
    assert CALCULATORS[name]() == CALCULATORS[name]()


@pytest.mark.parametrize("name", [name for name in CALCULATORS if name not in ("guide", "tokens")])
def test_every_result_says_what_moves_it_what_it_assumes_and_on_which_prices_it_rests(name):
    answer = CALCULATORS[name]()
    assert answer.sensitivity
    assert answer.moved
    assert answer.assumptions
    assert all(price.id and price.source for price in answer.prices)
    assert answer.prices or name == "unit"  # its costs are inputs


@pytest.mark.parametrize("shape", Inputs.__subclasses__(), ids=lambda shape: shape.__name__)
def test_every_input_says_what_it_is(shape):
    from penstock.cli.plan_command import documentation

    missing = [field.name for field in dataclasses.fields(shape) if not documentation(shape).get(field.name)]
    assert not missing


def test_the_widest_swing_stands_first_and_names_inputs_inside_tables():
    swings = CALCULATORS["agents"]().sensitivity
    assert [swing.swing for swing in swings] == sorted((swing.swing for swing in swings), reverse=True)
    assert "tool_tokens of research" in {swing.input for swing in swings}


def test_an_input_at_its_bound_moves_to_one_side_only():
    inputs = Cache(model="m", requests_per_day=100)
    full = dataclasses.replace(inputs, prompt_hit_rate=inputs.prompt_hit_rate / inputs.prompt_hit_rate)
    swing = next(
        each for each in sensitivity(full, lambda changed: changed.prompt_hit_rate) if each.input == "prompt_hit_rate"
    )
    assert (float(swing.low), float(swing.high)) == (0.9, 1.0)


RETIREMENT = Retirement(provider="azure", model="gpt-4o", retires=date(2027, 1, 1), source="", read=date(2026, 1, 1))
LAST_DAY = dataclasses.replace(PRICES, lifecycle={("azure", "gpt-4o", ""): RETIREMENT})


@pytest.mark.parametrize(
    "answer",
    [
        lambda: ptu(Ptu(model="gpt-4o", requests_per_minute=Decimal(1)), LAST_DAY, CAPACITY),
        lambda: batch(Batch(**CHATBOT), LAST_DAY),
        lambda: cache(Cache(model="gpt-4o", requests_per_day=10_000), LAST_DAY),
        lambda: mcp(Mcp(model="gpt-4o", requests_per_day=10_000), LAST_DAY),
        lambda: agents(Agents(runs=100, agents=(Agent(name="a", model="gpt-4o", planning_tokens=1),)), LAST_DAY),
        lambda: tune(Tune(), LAST_DAY, FINETUNES),
        lambda: foundry(Foundry(model="gpt-4o"), LAST_DAY),
    ],
    ids=["ptu", "batch", "cache", "mcp", "agents", "tune", "foundry"],
)
def test_a_model_with_a_last_day_is_a_note_in_every_plan(answer):
    assert "gpt-4o retires on 2027-01-01: plan for its successor." in answer().notes


def test_a_swing_in_the_last_digits_is_none():
    swings = sensitivity(Batch(**CHATBOT), lambda changed: changed.input_tokens * Decimal("1e-12"))
    assert swings == ()
