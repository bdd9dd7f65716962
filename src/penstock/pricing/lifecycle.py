"""When models retire: dated facts with their source. Advice must not name a model that no longer answers."""

import csv
from datetime import date
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct


class Retirement(Struct, frozen=True, kw_only=True):
    """The day from which a model no longer answers."""

    provider: str
    model: str
    version: str = ""
    """Empty: every version."""
    retires: date
    source: str
    read: date


def retirement(provider: str, model: str, version: str = "") -> Retirement | None:
    """Say when a model retires; None: no date is known. A date of the version comes before one of the model."""
    lines = shipped_lifecycle()
    return lines.get((provider, model.lower(), version)) or lines.get((provider, model.lower(), ""))


@cache
def shipped_lifecycle() -> dict[tuple[str, str, str], Retirement]:
    """Read the retirement dates of the package, by provider, model in lower case, and version."""
    text = (files("penstock.pricing") / "data" / "lifecycle.csv").read_text(encoding="utf-8")
    lines = msgspec.convert(list(csv.DictReader(text.splitlines())), list[Retirement], strict=False)
    return {(line.provider, line.model.lower(), line.version): line for line in lines}
