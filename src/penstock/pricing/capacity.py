"""Provisioned throughput (PTU): what a unit serves, and what it costs by the hour, month and year."""

import csv
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec
from msgspec import Struct

Accounting = Literal["ratio", "normalised"]
"""How tokens use up a PTU.

`ratio`: output weighs a fixed number of input tokens and cached input weighs nothing. `normalised` (GPT-6 and later):
every kind of token weighs its price over the price of input, cached input included.
"""


class PtuModel(Struct, frozen=True, kw_only=True):
    """What one PTU serves of a model, and in which steps PTUs are deployed."""

    model: str
    version: str = ""
    accounting: Accounting
    input_tpm: int
    """Input tokens a minute that one PTU serves."""
    output_ratio: Decimal
    """Input tokens that one output token weighs, under `ratio` accounting."""
    min_global: int
    step_global: int
    min_regional: int | None = None
    step_regional: int | None = None
    long_context: bool | None = None
    """Whether prompts over 128K tokens are served; None: not said."""
    valid_from: date = msgspec.field(name="from")
    """The revision of the sizing article that first says so."""
    source: str
    read: date

    def smallest(self, deployment_type: str) -> tuple[int, int] | None:
        """Return minimum and step of a deployment, or None where the model has no such deployment."""
        if deployment_type != "regional":
            return self.min_global, self.step_global
        if self.min_regional is None or self.step_regional is None:
            return None
        return self.min_regional, self.step_regional


class PtuRate(Struct, frozen=True, kw_only=True):
    """Dollars for one PTU."""

    deployment_type: str
    region: str = ""
    hourly: Decimal
    month: Decimal | None = None
    """A reservation of one month."""
    year: Decimal | None = None
    """A reservation of one year, the whole year's dollars."""
    valid_from: date = msgspec.field(name="from")
    source: str
    read: date

    @property
    def id(self) -> str:
        """Name the row: `azure-ptu/regional:westeurope@2026-08-01`."""
        place = f"{self.deployment_type}:{self.region}" if self.region else self.deployment_type
        return f"azure-ptu/{place}@{self.valid_from}"


class Capacity(Struct, frozen=True):
    """The PTU tables: models by lower-case name, rates by deployment type and region."""

    models: Mapping[str, PtuModel]
    rates: Mapping[tuple[str, str], PtuRate]

    def rate(self, deployment_type: str, region: str = "") -> PtuRate:
        """Return the rate of a region, or the one of the deployment type where the region has none of its own."""
        return self.rates.get((deployment_type, region)) or self.rates[deployment_type, ""]


@cache
def shipped_capacity() -> Capacity:
    """Read the PTU tables of the package."""
    models = msgspec.convert(_table("azure_ptu_models.csv"), list[PtuModel], strict=False)
    rates = msgspec.convert(_table("azure_ptu_rates.csv"), list[PtuRate], strict=False)
    return Capacity(
        {model.model.lower(): model for model in models}, {(rate.deployment_type, rate.region): rate for rate in rates}
    )


def _table(name: str) -> list[dict[str, str | bool]]:
    """Read a CSV of the package; empty cells are left out, `yes` and `no` are flags."""
    text = (files("penstock.pricing") / "data" / name).read_text(encoding="utf-8")
    flags: dict[str, str | bool] = {"yes": True, "no": False}
    return [
        {key: flags.get(cell, cell) for key, cell in row.items() if cell}
        for row in csv.DictReader(text.splitlines())
    ]  # fmt: skip
