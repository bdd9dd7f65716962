"""Dated facts beside the price rows: when a model retires, and what fine-tuning it costs."""

import csv
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T")


class Retirement(Struct, frozen=True, kw_only=True):
    """The day from which a model no longer answers."""

    provider: str
    model: str
    version: str = ""
    """Empty: every version."""
    retires: date
    source: str
    read: date


class FineTuning(Struct, frozen=True, kw_only=True):
    """What training a model on Azure, or hosting the result, costs."""

    model: str
    deployment_type: str
    what: Literal["training", "hosting"]
    unit: str
    """What `dollars` buy: `1M tokens` of training, an `hour` of hosting."""
    dollars: Decimal
    valid_from: date = msgspec.field(name="from")
    source: str
    read: date


def retirement(provider: str, model: str, version: str = "") -> Retirement | None:
    """Say when a model retires; None: no date is known. A date of the version comes before one of the model."""
    lines = shipped_lifecycle()
    return lines.get((provider, model.lower(), version)) or lines.get((provider, model.lower(), ""))


def fine_tuning(model: str) -> list[FineTuning]:
    """List what fine-tuning a model on Azure costs; empty where it is not known."""
    return [price for price in _read("azure_finetuning.csv", FineTuning) if price.model.lower() == model.lower()]


@cache
def shipped_lifecycle() -> dict[tuple[str, str, str], Retirement]:
    """Read the retirement dates of the package, by provider, model in lower case, and version."""
    return {(line.provider, line.model.lower(), line.version): line for line in _read("lifecycle.csv", Retirement)}


def _read(name: str, shape: type[T]) -> list[T]:
    text = (files("penstock.pricing") / "data" / name).read_text(encoding="utf-8")
    lines: list[dict[str, Any]] = [
        {field: value for field, value in line.items() if value} for line in csv.DictReader(text.splitlines())
    ]
    return msgspec.convert(lines, list[shape], strict=False)  # type: ignore[valid-type]
