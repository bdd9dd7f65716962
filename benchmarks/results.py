"""Turns into tables: medians over the rounds, and ratios to nginx within one and the same round."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.candidates import Candidate
from benchmarks.rounds import Run, Turn
from benchmarks.workloads import Workload

YARDSTICK = "nginx"
NOT_TO_CONCLUDE = """\
- Milliseconds and requests a second belong to this machine and this hour.
  Only ratios carry over to other machines, and only roughly.
- Load client, upstream and candidate share the machine's cores: requests a second is a lower bound.
  p99 mostly shows who else was running.
- The upstream answers at once, over plain HTTP on loopback. TLS towards a real provider adds CPU for every candidate.
  A real model takes seconds: nobody sees these differences in one call.
  They decide how many machines a busy gateway needs.
- nginx relays and does nothing else: it is a physical limit, not a competitor.
  `penstock-relay` is what compares with it.
- Peers are run as their own documentation starts them, without database and without tuning by their makers.
  A ratio to a peer is valid for the version and date given above.
- CPU at low rate includes wake-ups of an idle machine; never mix it with the figure at saturation.
- Peak memory is that of a short run: it says nothing about leaks.
  It adds up the processes of a candidate, so pages that they share count more than once.
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One candidate at one workload: medians over the rounds."""

    candidate: str
    workload: str
    cpu_us: float | None
    """For a request, or for a chunk where the workload says so; all processes of the candidate."""
    cpu_us_by_role: dict[str, float]
    ratio: float | None
    """CPU to that of nginx; median of the ratios within each round."""
    per_second: float
    p50_us: float
    added_p50_us: float | None
    added_p99_us: float | None
    first_byte_added_p50_us: float | None
    rss_mb: float
    rss_mb_by_role: dict[str, float]
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

            ratios = [
                _cost(mine, workload) / cost for mine, other in beside(YARDSTICK) if (cost := _cost(other, workload))
            ]
            direct = beside("direct")
            peak = max(turns, key=lambda turn: sum(turn.rss_mb.values())).rss_mb
            rows.append(
                Row(
                    candidate=candidate.name,
                    workload=workload.name,
                    cpu_us=median(_cost(turn, workload) for turn in answered) if answered else None,
                    cpu_us_by_role={
                        role: median(turn.cpu.get(role, 0) * 1e6 / _units(turn, workload) for turn in turns)
                        for role in turns[0].cpu
                    },
                    ratio=median(ratios) if ratios else None,
                    per_second=median(_units(turn, workload) / max(turn.seen["seconds"], 1e-9) for turn in turns),
                    p50_us=median(turn.seen["latency_p50_us"] for turn in turns),
                    added_p50_us=added("latency_p50_us", direct),
                    added_p99_us=added("latency_p99_us", direct),
                    first_byte_added_p50_us=added("first_byte_p50_us", direct),
                    rss_mb=sum(peak.values()),
                    rss_mb_by_role=peak,
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


def _number(value: float | None, places: int | None = None) -> str:
    if value is None:
        return "–"
    return f"{value:,.{places if places is not None else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f}"


def _table(workload: Workload, rows: Sequence[Row]) -> str:
    unit = "chunk" if workload.by_chunk else "request"
    paced = workload.pace_us > 1
    saturated = not workload.rate and not paced
    columns = [workload.name, f"us CPU/{unit}", "x nginx", f"{unit}s/s"]
    columns += ["added first byte p50 us"] if paced else []
    columns += ["p50 us"] if saturated else ["added p50 us", "added p99 us"]
    columns += ["peak MB", "replies", "faults"]
    lines = []
    for row in rows:
        cells = [row.candidate, _number(row.cpu_us), f"{row.ratio:.2f}" if row.ratio is not None else "–"]
        cells.append(_number(row.per_second, 0))
        cells += [_number(row.first_byte_added_p50_us, 0)] if paced else []
        cells += [_number(row.p50_us, 0)] if saturated else [_number(row.added_p50_us, 0), _number(row.added_p99_us, 0)]
        cells += [_number(row.rss_mb, 0), f"{row.done:,}", str(row.faults)]
        lines.append(cells)
    return grid(columns, lines)


def _roles(rows: Sequence[Row], run: Run) -> str:
    """The gateway's processes apart: at saturation, and over its whole life in this run."""
    by_place = {(row.candidate, row.workload): row for row in rows}
    lines = []
    for name, used in run.whole.items():
        mine = [row for row in rows if row.candidate == name]
        for role in used.keys() - {"requests", "all"}:
            at = [
                by_place[name, w].cpu_us_by_role.get(role) if (name, w) in by_place else None for w in ("json", "burst")
            ]
            whole = used[role] * 1e6 / (used["requests"] or 1)
            peak = max((row.rss_mb_by_role.get(role, 0.0) for row in mine), default=0.0)
            lines.append([f"{name}: {role}", *map(_number, (*at, whole)), _number(peak, 0)])
    if not lines:
        return ""
    columns = ("process", "json: us CPU/request", "burst: us CPU/chunk", "whole run: us CPU/request", "peak MB")
    return grid(columns, sorted(lines))


def _say(candidate: Candidate, run: Run) -> str:
    reason = " ".join(run.not_run.get(candidate.name, "").split())
    return f"not run: {reason[:200]}" if reason else candidate.title


def render(
    settings: dict[str, Any],
    machine: dict[str, str],
    run: Run,
    rows: Sequence[Row],
    *,
    candidates: Sequence[Candidate],
    workloads: Sequence[Workload],
) -> str:
    """Return the results as Markdown that also reads well in a terminal."""
    parts = [
        "# Results",
        (
            f"Made by `{settings['command']}`: {settings['rounds']} rounds of {settings['seconds']:g} s for each "
            "candidate and workload, taken in turns; medians over the rounds. "
            f"Upstream and load client: {settings['language']}."
        ),
        "\n".join(f"- {name}: {value}" for name, value in machine.items()),
        "## Who took part",
        "\n".join(f"- **{c.name}** {c.version}: {_say(c, run)}".replace(" :", ":") for c in candidates),
    ]
    for workload in workloads:
        mine = [row for row in rows if row.workload == workload.name]
        if mine:
            parts += [f"## {workload.name}: {workload.title}", _table(workload, mine)]
    if processes := _roles(rows, run):
        parts += ["## Penstock's processes, apart", processes]
    if run.agreements:
        lines = [
            [a.candidate, "yes" if a.holds else "NO", a.billed["events"], a.booked["events"], a.billed["cost"],
             a.booked["cost"]] for a in run.agreements
        ]  # fmt: skip
        columns = ("ledger of", "agrees", "billed requests", "booked events", "billed $", "booked $")
        parts += ["## The ledger against the upstream's bill, to the last digit", grid(columns, lines)]
    if run.notes:
        parts += ["## Faults of other gateways", "\n".join(f"- {note}" for note in run.notes)]
    parts += ["## Problems", "\n".join(f"- {problem}" for problem in run.problems) or "None."]
    parts += ["## What not to conclude", NOT_TO_CONCLUDE.strip()]
    return "\n\n".join(parts) + "\n"


def as_document(run: Run, rows: Sequence[Row], machine: dict[str, str], settings: dict[str, Any],
                candidates: Sequence[Candidate]) -> dict[str, Any]:  # fmt: skip
    """Return everything as one JSON document: every turn, not only the medians."""
    return {
        "machine": machine,
        "settings": settings,
        "candidates": [{"name": c.name, "title": c.title, "version": c.version} for c in candidates],
        "rows": [asdict(row) for row in rows],
        "turns": [asdict(turn) for turn in run.turns],
        "agreements": [{**asdict(agreement), "holds": agreement.holds} for agreement in run.agreements],
        "whole": run.whole,
        "not_run": run.not_run,
        "problems": run.problems,
        "notes": run.notes,
    }
