"""The page of results: what a person wants to know first, then every table, then what not to conclude."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.candidates import Candidate
from benchmarks.plot import Bar, bars
from benchmarks.results import OURS, YARDSTICK, Row, grid, number
from benchmarks.rounds import Run
from benchmarks.targets import verdicts
from benchmarks.workloads import Workload

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
  Slow ones are asked for fewer requests and in fewer rounds, and not at a rate that they cannot reach.
  CPU for a request does not depend on how many there are, but their spread is known less well.
  They write replies anew, so for them only the end of the right text is looked for.
- CPU at low rate includes wake-ups of an idle machine; never mix it with the figure at saturation.
- Peak memory is that of a short run: it says nothing about leaks.
  It adds up the processes of a candidate, so pages that they share count more than once.
"""


def _headline(rows: Sequence[Row], candidates: Sequence[Candidate]) -> str:
    """One line for each candidate: what it costs, what it adds, and how many times that is ours."""
    at = {(row.candidate, row.workload): row for row in rows}
    lines = []
    for candidate in candidates:
        json, burst, low, high = (at.get((candidate.name, name)) for name in ("json", "burst", "low", "high"))
        mine = [row for row in rows if row.candidate == candidate.name]
        if not mine or candidate.name == "direct":
            continue
        lines.append([
            f"**{candidate.name}**" if candidate.name == OURS else f"{candidate.name} {candidate.version}".strip(),
            *_cost_cells(json), *_cost_cells(burst),
            *(number(row.added_p50_us if row else None, 0) for row in (low, high)),
            *(number(row.added_p99_us if row else None, 0) for row in (low, high)),
            number(max(row.rss_mb for row in mine), 0),
        ])  # fmt: skip
    columns = (
        "candidate", "us CPU/request", f"x {OURS}", "us CPU/chunk", f"x {OURS}", "added p50 us, low rate", "high rate",
        "added p99 us, low rate", "high rate", "peak MB",
    )  # fmt: skip
    return grid(columns, lines)


def _cost_cells(row: Row | None) -> tuple[str, str]:
    if row is None or row.cpu_us is None or row.cpu_us_range is None:
        return "–", "–"
    low, high = row.cpu_us_range
    spread = f" ({number(low)} to {number(high)})" if row.rounds > 1 else ""
    fault = " \\*" if row.faults else ""
    return f"{number(row.cpu_us)}{spread}{fault}", number(row.to_ours)


def _promises(rows: Sequence[Row]) -> str:
    said = {True: "met", False: "**NOT met**", None: "not measured"}
    lines = [[verdict.promise, verdict.measured, said[verdict.met]] for verdict in verdicts(rows)]
    return grid(("promise, metering, prices and the ledger on", "measured", ""), lines)


def picture(rows: Sequence[Row], candidates: Sequence[Candidate]) -> str | None:
    """Draw CPU for a request and for a chunk by candidate, as SVG; None where there is nothing to draw."""
    panels = []
    for workload, title in (
        ("json", "CPU for a request at saturation, microseconds (log scale)"),
        ("burst", "CPU for a chunk of a stream at saturation, microseconds (log scale)"),
    ):
        found = {row.candidate: row for row in rows if row.workload == workload and row.cpu_us and not row.faults}
        panel = [
            Bar(name, max(row.cpu_us, 1e-3), *(max(edge, 1e-3) for edge in row.cpu_us_range), name.startswith(OURS))
            for name in (candidate.name for candidate in candidates if candidate.name != "direct")
            if (row := found.get(name)) and row.cpu_us and row.cpu_us_range
        ]
        if panel:
            panels.append((title, sorted(panel, key=lambda bar: bar.value)))
    return bars(panels) if panels else None


def _table(workload: Workload, rows: Sequence[Row]) -> str:
    unit = "chunk" if workload.by_chunk else "request"
    paced = workload.pace_us > 1
    saturated = not workload.rate and not paced
    columns = [workload.name, f"us CPU/{unit}", "lowest to highest", f"x {YARDSTICK}", f"x {OURS}", f"{unit}s/s"]
    columns += ["added first byte p50 us"] if paced else []
    columns += ["p50 us"] if saturated else ["added p50 us", "added p99 us"]
    columns += ["peak MB", "replies", "faults"]
    lines = []
    for row in rows:
        cells = [row.candidate, number(row.cpu_us), *_spread(row)]
        cells.append(number(row.per_second, 0))
        cells += [number(row.first_byte_added_p50_us, 0)] if paced else []
        cells += [number(row.p50_us, 0)] if saturated else [number(row.added_p50_us, 0), number(row.added_p99_us, 0)]
        cells += [number(row.rss_mb, 0), f"{row.done:,}", str(row.faults)]
        lines.append(cells)
    return grid(columns, lines)


def _spread(row: Row) -> tuple[str, str, str]:
    ranged = " to ".join(number(edge) for edge in row.cpu_us_range) if row.cpu_us_range else "–"
    return ranged, number(row.ratio), number(row.to_ours)


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
            lines.append([f"{name}: {role}", *map(number, (*at, whole)), number(peak, 0)])
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
    image: str = "",
    others: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the results as Markdown that also reads well in a terminal.

    `image` is where the plot is, seen from the page; `others` are title and text of what other benchmarks printed.
    """
    parts = [
        "# Results",
        (
            f"{machine['date']}, on {machine['processor']}, load average before {machine['load average before']}. "
            f"Made by `{settings['command']}`: {run.rounds} round{'s' * (run.rounds != 1)} of {settings['seconds']:g} s"
            " for each candidate and workload, taken in turns (details in fewer rounds); "
            "medians over the rounds, ratios within each round. "
            f"Every one of {sum(row.done for row in rows):,} replies was compared with what the upstream sent."
        ),
        _headline(rows, candidates),
        (
            f"CPU is that of all processes of a candidate, in parentheses the lowest and the highest round. "
            f"`x {OURS}`: how many times the CPU of Penstock with metering, prices and the ledger on "
            "(`fsync = interval`). "
            "Latencies are added to what the upstream itself takes. – : not run there, or it cannot reach that rate."
            + (" \\*: with faults, see below." if any(row.faults for row in rows) else "")
        ),
    ]
    if image:
        parts.append(f"![CPU for a request and for a chunk, by candidate]({image})")
    parts += ["## Promises", _promises(rows)]
    parts += [
        "## Who took part",
        "\n".join(f"- **{c.name}** {c.version}: {_say(c, run)}".replace(" :", ":") for c in candidates),
        "\n".join(f"- {name}: {value}" for name, value in machine.items()),
        f"Upstream and load client: {settings['language']}.",
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
    for title, text in others:
        parts += [f"## {title}", f"```text\n{text.strip()}\n```"]
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
