"""Fine-tuning at the provider: training tokens and hosting."""

import csv
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct


class FineTunePrice(Struct, frozen=True, kw_only=True):
    """What training and hosting of a tuned model cost; its tokens cost what the plain model's do."""

    model: str
    training_per_million: Decimal
    """Dollars for a million training tokens, each epoch counted."""
    hosting_per_hour: Decimal
    """Dollars for each hour that the tuned model is deployed, used or not."""
    valid_from: date = msgspec.field(name="from")
    source: str
    read: date


@cache
def shipped_finetunes() -> Mapping[str, FineTunePrice]:
    """Read the table of the package, by model."""
    text = (files("penstock.pricing") / "data" / "finetune.csv").read_text(encoding="utf-8")
    rows = msgspec.convert(list(csv.DictReader(text.splitlines())), list[FineTunePrice], strict=False)
    return {row.model: row for row in rows}
