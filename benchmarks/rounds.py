"""The run: every candidate takes its turn at every workload, round after round, so that a slow minute hits all."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bills import Agreement, compare
from benchmarks.candidates import Candidate, Penstock
from benchmarks.errors import BenchmarkError
from benchmarks.replies import STREAM_CHUNKS, request_body
from benchmarks.wire.ends import Ends, Upstream, http_request, run_load
from benchmarks.workloads import Workload

REST_SECONDS = 0.2
"""After a turn, before its CPU is read: what a reply left to be done belongs to it."""
WARM_SECONDS = 0.5


@dataclass
class Turn:
    """One candidate at one workload in one round: what the load client saw, and what the candidate used."""

    candidate: str
    workload: str
    round: int
    seen: dict[str, Any]
    cpu: dict[str, float]
    """Seconds, by role."""
    chunks: int
    rss_mb: dict[str, float]
    """Peak since the candidate was started, by role."""


@dataclass
class Run:
    """Everything that was measured."""

    turns: list[Turn] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)
    """Why a candidate was not run, or dropped."""
    problems: list[str] = field(default_factory=list)
    """Turns with errors or wrong replies, and ledgers that disagree: the run is then no good."""
    notes: list[str] = field(default_factory=list)
    """Errors and wrong replies of other gateways."""
    rounds: int = 0
    """Rounds that were begun: fewer than asked for where the time was up."""
    whole: dict[str, dict[str, float]] = field(default_factory=dict)
    """For each candidate: requests of all its turns, and CPU seconds by role from its start to its end."""


def measure(
    how: Ends,
    candidates: list[Candidate],
    workloads: list[Workload],
    *,
    rounds: int,
    seconds: float,
    folder: Path,
    say: Callable[[str], None],
    minutes: float = 60.0,
) -> Run:
    """Start all candidates, let them take turns, end them, and compare the books.

    No round is begun (but the first) that would probably last beyond `minutes`.
    """
    run = Run()
    begun = time.monotonic()
    billed: dict[str, dict[str, int]] = {}
    idle: dict[str, dict[str, float]] = {}
    started: list[Candidate] = []
    with Upstream(how, folder) as upstream:
        try:
            for candidate in candidates:
                if reason := candidate.missing or _start(candidate, upstream, folder):
                    run.not_run[candidate.name] = reason
                    if not candidate.missing and not candidate.peer:
                        run.problems.append(f"{candidate.name} did not start")
                    say(f"not run: {candidate.name}: {reason}")
                    continue
                started.append(candidate)
                idle[candidate.name] = candidate.cpu()
                say(f"started: {candidate.name} {candidate.version}".rstrip())
            last = 0.0
            for number in range(rounds):
                now = time.monotonic()
                if number and now + last > begun + minutes * 60:
                    say(f"the time is up after {number} rounds")
                    break
                run.rounds = number + 1
                for workload in workloads:
                    for candidate in list(started):
                        if number >= (workload.slow_rounds if candidate.slow else workload.rounds):
                            continue
                        before = upstream.bill()
                        try:
                            turn = _turn(how, upstream, candidate, workload, number=number, seconds=seconds)
                        except BenchmarkError as error:
                            started.remove(candidate)
                            candidate.stop()
                            run.not_run[candidate.name] = f"left the run at {workload.name}: {error}"
                            (run.notes if candidate.peer else run.problems).append(
                                f"{candidate.name} at {workload.name}: {error}"
                            )
                            say(f"{candidate.name} leaves the run: {error}")
                            continue
                        after = upstream.bill()
                        sums = billed.setdefault(candidate.name, dict.fromkeys(after, 0))
                        for name in sums:
                            sums[name] += after[name] - before[name]
                        run.turns.append(turn)
                        seen = turn.seen
                        if seen["errors"] or seen["wrong"] or not seen["done"]:
                            problem = (
                                f"{candidate.name} at {workload.name}: {seen['errors']} errors, {seen['wrong']} wrong "
                                f"replies of {seen['done']} ({seen['trouble']})"
                            )
                            (run.notes if candidate.peer else run.problems).append(problem)
                            say(problem)
                    say(f"round {number + 1} of {rounds}: {workload.name}, {time.monotonic() - begun:.0f} s so far")
                last = time.monotonic() - now
            for candidate in started:
                _close(run, candidate, billed.get(candidate.name), idle[candidate.name], say)
        finally:
            for candidate in started:
                candidate.stop()
    return run


def _start(candidate: Candidate, upstream: Upstream, folder: Path) -> str:
    own = folder / candidate.name
    own.mkdir()
    try:
        candidate.start(upstream, own)
    except BenchmarkError as error:
        if hasattr(candidate, "processes"):
            candidate.processes.stop()
        return str(error)
    return ""


def _turn(
    how: Ends, upstream: Upstream, candidate: Candidate, workload: Workload, *, number: int, seconds: float
) -> Turn:
    body = request_body(
        stream=workload.stream, usage=workload.usage, prompt_bytes=workload.prompt_bytes, model=candidate.model
    )
    request = http_request(candidate.port, candidate.path, body, candidate.headers())
    upstream.pace(0, 0)
    if number == 0:
        run_load(
            how, upstream, port=candidate.port, request=request, stream=workload.stream, usage=workload.usage,
            connections=workload.connections, seconds=min(WARM_SECONDS, seconds), check=candidate.check,
        )  # fmt: skip
    upstream.pace(workload.pace_us, workload.answer_us)
    before = candidate.cpu()
    seen = run_load(
        how, upstream, port=candidate.port, request=request, stream=workload.stream, usage=workload.usage,
        connections=workload.connections, seconds=seconds * workload.share, rate=workload.rate, check=candidate.check,
    )  # fmt: skip
    time.sleep(REST_SECONDS)
    after = candidate.cpu()
    return Turn(
        candidate=candidate.name,
        workload=workload.name,
        round=number,
        seen=seen,
        cpu={role: used - before.get(role, 0.0) for role, used in after.items()},
        chunks=seen["done"] * STREAM_CHUNKS if workload.stream else 0,
        rss_mb=candidate.peak(),
    )


def _close(
    run: Run, candidate: Candidate, billed: dict[str, int] | None, idle: dict[str, float], say: Callable[[str], None]
) -> None:
    """Note what the candidate used as a whole, end it, and compare its ledger with the bill."""
    used = {role: seconds - idle.get(role, 0.0) for role, seconds in candidate.cpu().items()}
    run.whole[candidate.name] = {"requests": float(billed["requests"] if billed else 0), **used}
    candidate.stop()
    if not isinstance(candidate, Penstock) or not candidate.booked or billed is None:
        return
    try:
        agreement = compare(candidate, billed)
    except BenchmarkError as error:
        run.problems.append(f"{candidate.name}: its ledger was not compared: {error}")
        say(run.problems[-1])
        return
    run.agreements.append(agreement)
    if not agreement.holds:
        run.problems.append(
            f"{candidate.name}: the ledger says {agreement.booked}, the upstream billed {agreement.billed}"
        )
        say(run.problems[-1])
