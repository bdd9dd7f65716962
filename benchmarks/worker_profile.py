"""Where a worker's microseconds go: `python -m benchmarks.worker_profile` samples it at saturation, C and Python."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from benchmarks.candidates import Penstock, usual
from benchmarks.environments import environment, home, version_in
from benchmarks.errors import BenchmarkError
from benchmarks.machine import facts
from benchmarks.processes import cpu_seconds
from benchmarks.replies import STREAM_CHUNKS, request_body
from benchmarks.results import OURS, grid, number
from benchmarks.stacks import Profile, read, weighed
from benchmarks.wire.ends import Ends, Upstream, ends, http_request, run_load
from benchmarks.workloads import BURST, CHUNKS, JSON, Workload

SAMPLES_A_SECOND = 150
PERF_A_SECOND = 1999
COST_SECONDS = 3.0
SPARE_SECONDS = 8.0
"""The load goes on for that much longer than the sampler is asked to: it needs a while to begin."""
LEAST_SHARE = 0.01

app = App(name="python -m benchmarks.worker_profile")


@dataclass
class Seen:
    """One workload's profile."""

    workload: Workload
    us: float
    """CPU of the worker for a request or a chunk, without a sampler beside it."""
    profile: Profile
    libraries: Counter[str] = field(default_factory=Counter)
    symbols: Counter[str] = field(default_factory=Counter)


@app.default
def profile(
    *,
    seconds: Annotated[float, Parameter(help="How long each workload is sampled.")] = 10.0,
    write: Annotated[Path | None, Parameter(help="Write the page there, as Markdown.")] = None,
    raw: Annotated[Path | None, Parameter(help="Keep the sampled stacks in that folder, for flamegraph.pl.")] = None,
    folder: Annotated[Path | None, Parameter(help="Where py-spy is installed; by default below ~/.cache.")] = None,
    of: Annotated[str, Parameter(help="Which of our candidates, as in RESULTS.md.")] = OURS,
) -> int:
    """Sample a worker of Penstock at saturation, and say by part where its time goes.

    It uses py-spy (installed once), which must be allowed to look into a process: run as root, or set
    kernel.yama.ptrace_scope to 0. With `perf` there is a second table, of libraries and their symbols.

        python -m benchmarks.worker_profile --write benchmarks/PROFILE.md --raw /tmp/stacks
        python -m benchmarks.worker_profile --of penstock-governed
    """
    try:
        spy = environment((folder or home()).expanduser().resolve(), "profile", say)
        with tempfile.TemporaryDirectory(prefix="penstock-profile-") as scratch:
            found = sample(ends(), Path(scratch), spy / "py-spy", seconds, of=of, keep=raw)
    except BenchmarkError as error:
        print(f"benchmarks.worker_profile: {error}", file=sys.stderr)
        return 2
    text = render(found, facts(), f"py-spy {version_in(spy / 'python', 'py-spy')}")
    print(text)
    if write:
        write.write_text(text)
    return 0


def sample(how: Ends, scratch: Path, spy: Path, seconds: float, *, of: str, keep: Path | None) -> list[Seen]:
    """Start the gateway, load it with one workload after the other, and sample its worker."""
    known = {row.name: row for row in usual() if isinstance(row, Penstock)}
    if of not in known:
        raise BenchmarkError(f"{of}: not a candidate of ours; known: {', '.join(known)}")
    candidate = known[of]
    if candidate.missing:
        raise BenchmarkError(candidate.missing)
    found = []
    with Upstream(how, scratch) as upstream:
        own = scratch / candidate.name
        own.mkdir()
        candidate.start(upstream, own)
        try:
            (worker,) = (pid for pid, role in candidate.processes.pids().items() if role == "worker")
            for workload in (JSON, BURST, CHUNKS):
                say(f"sampling {workload.name}")
                found.append(
                    _sample(
                        how, upstream, candidate,
                        workload=workload, worker=worker, spy=spy, seconds=seconds, keep=keep or scratch,
                    )
                )  # fmt: skip
        finally:
            candidate.stop()
    return found


def _sample(
    how: Ends, upstream: Upstream, candidate: Penstock, *, workload: Workload, worker: int, spy: Path, seconds: float,
    keep: Path,
) -> Seen:  # fmt: skip
    body = request_body(stream=workload.stream)
    request = http_request(candidate.port, candidate.path, body, candidate.headers())
    upstream.pace(workload.pace_us, workload.answer_us)

    def load(seconds: float) -> int:
        seen = run_load(
            how, upstream, port=candidate.port, request=request, stream=workload.stream,
            connections=workload.connections, seconds=seconds,
        )  # fmt: skip
        if seen["errors"] or seen["wrong"] or not seen["done"]:
            raise BenchmarkError(f"at {workload.name}: a reply was wrong or missing: {seen['trouble']}")
        return int(seen["done"]) * (STREAM_CHUNKS if workload.by_chunk else 1)

    load(1.0)
    before = cpu_seconds(worker)
    units = load(COST_SECONDS)
    us = (cpu_seconds(worker) - before) * 1e6 / units
    keep.mkdir(parents=True, exist_ok=True)
    stacks = keep / f"{workload.name}.txt"
    spying = [
        str(spy), "record", "--pid", str(worker), "--native", "--format", "raw", "--rate", str(SAMPLES_A_SECOND),
        "--duration", str(round(seconds)), "--output", str(stacks),
    ]  # fmt: skip
    _beside(load, seconds + SPARE_SECONDS, spying, "py-spy")
    with stacks.open(encoding="utf-8") as lines:
        seen = Seen(workload, us, read(lines))
    if not seen.profile.samples:
        raise BenchmarkError(f"py-spy saw nothing of the worker at {workload.name}; may it look into processes?")
    if perf := shutil.which("perf"):
        data = keep / f"{workload.name}.perf"
        recording = [
            perf, "record", "-q", "-e", "cpu-clock", "-F", str(PERF_A_SECOND), "-t", str(worker), "-o", str(data), "--",
            "sleep", f"{seconds / 2:g}",
        ]  # fmt: skip
        try:
            _beside(load, seconds / 2 + 1, recording, "perf")
            seen.libraries, seen.symbols = _perf_report(perf, data, "dso"), _perf_report(perf, data, "symbol")
        except BenchmarkError as error:
            say(f"no table of libraries: {error}")
    return seen


def _beside(load: Callable[[float], int], seconds: float, command: list[str], what: str) -> None:
    """Run a sampler while the load runs."""
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load, seconds)
        time.sleep(0.3)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        loading.result()
    if done.returncode:
        raise BenchmarkError(f"{what} failed: {(done.stderr or done.stdout)[-400:].strip()}")


def _perf_report(perf: str, data: Path, key: str) -> Counter[str]:
    """Return per mille of the samples by library or by symbol."""
    told = subprocess.run(
        [perf, "report", "-i", str(data), "--stdio", "--no-children", "-g", "none", "--sort", key, "-t", ";"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found: Counter[str] = Counter()
    for line in told.stdout.splitlines():
        share, _, name = line.strip().partition(";")
        if share.strip().endswith("%") and name:
            found[" ".join(name.replace("[.]", "").replace("[k]", "kernel:").split(";")[0].split())] += round(
                float(share.strip(" %")) * 10
            )
    return found


def render(found: list[Seen], machine: dict[str, str], sampler: str) -> str:
    """Return the page."""
    parts = [
        "# Where a worker's microseconds go",
        (
            f"{machine['date']}, {machine['processor']}, load average before {machine['load average before']}, "
            f"Python {machine['Python']}. Made by `python -m benchmarks.worker_profile` with {sampler}, which stops "
            f"the worker {SAMPLES_A_SECOND} times a second and notes what it is doing, in Python and in C down to the "
            "system call. Metering, prices and ledger are on (`fsync = interval`). Microseconds are the share of the "
            "samples times the CPU that was measured without a sampler. A sampler by the clock sees too "
            "much of the system calls; where `perf` could be asked, the kernel's share is the one it saw."
        ),
    ]
    for seen in found:
        unit = "chunk" if seen.workload.by_chunk else "request"
        parts += [
            f"## {seen.workload.name}: {seen.workload.title}",
            (
                f"{number(seen.us)} us CPU of the worker for a {unit}; {seen.profile.samples:,} samples, "
                f"{100 * seen.profile.kernel_share():.0f} % of them in the kernel"
                + (f" (perf: {100 * kernel:.0f} %)." if (kernel := _kernel(seen)) is not None else ".")
            ),
            _table(f"part of a {unit}", seen.profile.parts, seen),
            _table("function of ours, with what it calls in C", seen.profile.functions, seen, most=18),
            _table("line of ours", seen.profile.lines, seen, most=12),
        ]
        if seen.libraries:
            parts += [
                "By `perf`, the same thread, only while it was on a processor:",
                _table("library", seen.libraries, seen),
                _table("symbol", seen.symbols, seen, most=15),
            ]
    return "\n\n".join(parts) + "\n"


def _kernel(seen: Seen) -> float | None:
    """Return the share of processor time in the kernel, by perf."""
    total = sum(seen.libraries.values())
    return seen.libraries["[kernel.kallsyms]"] / total if total else None


def _table(title: str, counts: Counter[str], seen: Seen, *, most: int = 30) -> str:
    shares = weighed(counts, _kernel(seen))
    lines = [
        [name, f"{100 * share:.1f} %", number(seen.us * share)]
        for name, share in list(shares.items())[:most]
        if share >= LEAST_SHARE
    ]
    return grid((title, "share", "us"), lines)


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(app())
