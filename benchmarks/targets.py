"""What Penstock promises of its own cost, and whether a run kept it."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results import OURS, YARDSTICK, Row


@dataclass(frozen=True)
class Verdict:
    """One promise beside what was measured; `met` is None where the run did not measure it."""

    promise: str
    measured: str
    met: bool | None


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Compare a run with the promises: metering, prices and the ledger on (`fsync = "interval"`)."""
    at = {(row.candidate, row.workload): row for row in rows}
    json, burst = at.get((OURS, "json")), at.get((OURS, "burst"))
    litellm = [
        row.to_ours
        for name in ("litellm", "litellm-granian")
        if (row := at.get((name, "json"))) and row.to_ours and not row.faults
    ]
    tensorzero = at.get(("tensorzero", "json"))
    worker = [row.rss_mb_by_role["worker"] for row in rows if row.candidate == OURS and "worker" in row.rss_mb_by_role]
    return [
        _at_most("CPU of a request at saturation: at most 30 us", json.cpu_us if json else None, 30, "us"),
        _at_most("CPU of a stream's chunk at saturation: at most 2 us", burst.cpu_us if burst else None, 2, "us"),
        _at_most(f"CPU of a request: at most 2 x {YARDSTICK}", json.ratio if json else None, 2, "x"),
        _at_most(f"CPU of a chunk: at most 2 x {YARDSTICK}", burst.ratio if burst else None, 2, "x"),
        _at_least(
            "CPU of a request: LiteLLM takes at least 300 times as much (its better server)",
            min(litellm) if litellm else None, 300, "times",
        ),
        _at_least(
            "CPU of a request: less than TensorZero's",
            tensorzero.to_ours if tensorzero and not tensorzero.faults else None, 1, "times ours",
        ),
        _at_most("peak memory of a worker: under 80 MB", max(worker) if worker else None, 80, "MB"),
    ]  # fmt: skip


def _at_most(promise: str, value: float | None, limit: float, unit: str) -> Verdict:
    return _verdict(promise, value, unit, met=value is not None and value <= limit)


def _at_least(promise: str, value: float | None, limit: float, unit: str) -> Verdict:
    return _verdict(promise, value, unit, met=value is not None and value >= limit)


def _verdict(promise: str, value: float | None, unit: str, *, met: bool) -> Verdict:
    if value is None:
        return Verdict(promise, "not measured", None)
    return Verdict(promise, f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}", met)
