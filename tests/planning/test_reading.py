"""A calculator's inputs from text, field by field."""

import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from penstock.planning.agents import Agents
from penstock.planning.calculators import CALCULATORS
from penstock.planning.month import Month
from penstock.planning.reading import is_required, read, written

GIVEN = {"model": "gpt-4o", "requests_per_day": "10,000", "input_tokens": "500", "output_tokens": "300"}


def test_numbers_and_shares_are_read_as_people_write_them() -> None:
    inputs, wrong = read(Month, GIVEN | {"cached_share": "25%", "growth": "0.1"})
    assert wrong == {}
    assert isinstance(inputs, Month)
    assert (inputs.requests_per_day, inputs.cached_share, inputs.growth) == (10_000, Decimal("0.25"), Decimal("0.1"))


def test_each_field_that_cannot_be_used_says_why() -> None:
    _, wrong = read(Month, {"requests_per_day": "many", "input_tokens": "1.5", "output_tokens": "1"})
    assert wrong == {
        "model": "is missing", "requests_per_day": "'many' is not a number",
        "input_tokens": "'1.5' is not a whole number",
    }  # fmt: skip
    assert read(Month, GIVEN | {"cached_share": "300%"})[1] == {
        "cached_share": "300 % is not a share between 0 % and 100 %"
    }
    assert list(read(Month, GIVEN | {"deployment_type": "moon"})[1]) == ["deployment_type"]
    assert list(read(Month, GIVEN | {"requests_per_day": "9e99999999"})[1]) == ["requests_per_day"]


def test_tables_are_lines() -> None:
    inputs, wrong = read(Agents, {"agents": "name=a,model=gpt-4o,loop_tokens=10\nname=b,model=gpt-4o"})
    assert wrong == {}
    assert isinstance(inputs, Agents)
    assert [(one.name, one.loop_tokens) for one in inputs.agents] == [("a", 10), ("b", 0)]
    assert read(Agents, {"agents": "triage"})[1] == {"agents": "'triage' is not of the form name=value,name=value"}


@pytest.mark.parametrize("calculator", CALCULATORS, ids=lambda one: one.name)
def test_defaults_are_written_as_they_are_read(calculator: Any) -> None:
    fields = dataclasses.fields(calculator.inputs)
    texts = {one.name: written(calculator.inputs, one.name, one.default) for one in fields if not is_required(one)}
    inputs, wrong = read(calculator.inputs, texts | dict(calculator.example) | {
        one.name: dict(calculator.example).get(one.name, "1") for one in fields if is_required(one)
    })  # fmt: skip
    assert wrong == {}
    for one in fields:
        if one.name not in dict(calculator.example) and not is_required(one):
            assert getattr(inputs, one.name) == one.default
