"""Turns into rows: medians over the rounds, and ratios within one and the same round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.candidates import Candidate
from benchmarks.rounds import Run, Turn
from benchmarks.workloads import Workload

YARDSTICK = "nginx"
OURS = "penstock"

Beside = Callable[[str], list[tuple[Turn, Turn]]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One candidate at one workload: medians over the rounds."""

    candidate: str
    workload: str
    cpu_us: float | None
    """For a request, or for a chunk where the workload says so; all processes of the candidate."""
    cpu_us_range: tuple[float, float] | None
    """The lowest and the highest round."""
    cpu_us_by_role: dict[str, float]
    ratio: float | None
    """CPU to that of nginx; median of the ratios within each round."""
    ratio_range: tuple[float, float] | None
    to_ours: float | None
    """CPU to that of Penstock with all policies and the ledger; likewise."""
    per_second: float
    p50_us: float
    added_p50_us: float | None
    added_p99_us: float | None
    first_byte_added_p50_us: float | None
    rss_mb: float
    rss_mb_by_role: dict[str, float]
    rounds: int
    done: int
    faults: int


def _units(turn: Turn, workload: Workload) -> int:
    return max(turn.chunks if workload.by_chunk else turn.seen["done"], 1)


def _cost(turn: Turn, workload: Workload) -> float:
    return sum(turn.cpu.values()) * 1e6 / _units(turn, workload)


def summarise(run: Run, candidates: Sequence[Candidate], workloads: Sequence[Workload]) -> list[Row]:
    """Return a row for each candidate and workload that was measured."""
    by_place = {(turn.candidate, turn.workload, turn.round): turn for turn in run.turns}
    rows = []
    for workload in workloads:
        for candidate in candidates:
            turns = [t for t in run.turns if (t.candidate, t.workload) == (candidate.name, workload.name)]
            if not turns:
                continue

            answered = [turn for turn in turns if turn.seen["done"]]

            def beside(name: str, turns: list[Turn] = turns, workload: Workload = workload) -> list[tuple[Turn, Turn]]:
                pairs = ((t, by_place.get((name, workload.name, t.round))) for t in turns)
                return [(mine, other) for mine, other in pairs if other and mine.seen["done"] and other.seen["done"]]

            def added(key: str, pairs: list[tuple[Turn, Turn]]) -> float | None:
                return median(mine.seen[key] - other.seen[key] for mine, other in pairs) if pairs else None

            def ratios_to(name: str, beside: Beside = beside, workload: Workload = workload) -> list[float]:
                pairs = beside(name)
                return [_cost(mine, workload) / cost for mine, other in pairs if (cost := _cost(other, workload))]

            costs = [_cost(turn, workload) for turn in answered]
            ratios, to_ours = ratios_to(YARDSTICK), ratios_to(OURS)
            direct = beside("direct")
            peak = max(turns, key=lambda turn: sum(turn.rss_mb.values())).rss_mb
            rows.append(
                Row(
                    candidate=candidate.name,
                    workload=workload.name,
                    cpu_us=median(costs) if costs else None,
                    cpu_us_range=(min(costs), max(costs)) if costs else None,
                    cpu_us_by_role={
                        role: median(turn.cpu.get(role, 0) * 1e6 / _units(turn, workload) for turn in turns)
                        for role in turns[0].cpu
                    },
                    ratio=median(ratios) if ratios else None,
                    ratio_range=(min(ratios), max(ratios)) if ratios else None,
                    to_ours=median(to_ours) if to_ours else None,
                    per_second=median(_units(turn, workload) / max(turn.seen["seconds"], 1e-9) for turn in turns),
                    p50_us=median(turn.seen["latency_p50_us"] for turn in turns),
                    added_p50_us=added("latency_p50_us", direct),
                    added_p99_us=added("latency_p99_us", direct),
                    first_byte_added_p50_us=added("first_byte_p50_us", direct),
                    rss_mb=sum(peak.values()),
                    rss_mb_by_role=peak,
                    rounds=len(turns),
                    done=sum(turn.seen["done"] for turn in turns),
                    faults=sum(turn.seen["errors"] + turn.seen["wrong"] for turn in turns),
                )
            )
    return rows


def grid(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Lay out a table that reads well in a terminal and is Markdown: the first column left, the others right."""
    widths = [max(len(column), *(len(line[n]) for line in lines)) for n, column in enumerate(columns)]

    def lay(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = "| " + " | ".join("-" * w if n == 0 else "-" * (w - 1) + ":" for n, w in enumerate(widths)) + " |"
    return "\n".join((lay(columns), rule, *(lay(line) for line in lines)))


def number(value: float | None, places: int | None = None) -> str:
    if value is None:
        return "–"
    return f"{value:,.{places if places is not None else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"
