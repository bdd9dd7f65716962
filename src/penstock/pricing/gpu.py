"""GPU machines of Azure: memory, peak arithmetic, price by the hour and seen spot prices."""

import csv
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct


class GpuVm(Struct, frozen=True, kw_only=True):
    """A VM size."""

    sku: str
    gpu: str
    gpus: Decimal
    """Whole GPUs; a third where the size is a slice of one."""
    gigabytes: int
    """Memory of one GPU (of the slice, where it is one)."""
    hourly: Decimal
    """Pay-as-you-go dollars an hour, Linux."""
    spot_low: Decimal | None = None
    spot_high: Decimal | None = None
    """Range of spot prices that were seen."""
    teraflops: int
    """Dense BF16 peak of one GPU, in 10^12 operations a second."""
    guide_says: str = ""
    """The guide's row for it."""
    valid_from: date = msgspec.field(name="from")
    source: str
    read: date


@cache
def shipped_gpus() -> Mapping[str, GpuVm]:
    """Read the table of the package, by size."""
    text = (files("penstock.pricing") / "data" / "gpu_vms.csv").read_text(encoding="utf-8")
    rows = [{key: cell for key, cell in row.items() if cell} for row in csv.DictReader(text.splitlines())]
    return {vm.sku: vm for vm in msgspec.convert(rows, list[GpuVm], strict=False)}
