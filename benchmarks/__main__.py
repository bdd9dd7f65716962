"""`python -m benchmarks`: one run, one table."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from benchmarks.candidates import Candidate, chosen, usual
from benchmarks.errors import BenchmarkError
from benchmarks.machine import facts
from benchmarks.peers import PEER_NAMES, peers
from benchmarks.results import as_document, render, summarise
from benchmarks.rounds import measure
from benchmarks.wire.ends import ends
from benchmarks.workloads import EVERY, FULL, USUAL

app = App(name="python -m benchmarks")


@app.default
def bench(
    *,
    quick: Annotated[bool, Parameter(help="One short round: does everything work?", negative="")] = False,
    full: Annotated[
        bool, Parameter(help="Also prompts of 1 KB to 1 MB, 1 to 500 streams, a high rate.", negative="")
    ] = False,
    only: Annotated[
        tuple[str, ...], Parameter(help="Names of candidates and workloads to keep.", consume_multiple=True)
    ] = (),
    rounds: Annotated[int | None, Parameter(help="Rounds; by default 3 (quick: 1).")] = None,
    seconds: Annotated[float | None, Parameter(help="Seconds a turn; by default 2.5 (quick: 0.6).")] = None,
    peers_venv: Annotated[
        Path | None, Parameter(help="Folder for other gateways; they are installed there once.")
    ] = None,
    python: Annotated[bool, Parameter(help="Use the upstream and load client in Python.", negative="")] = False,
    json_file: Annotated[
        Path | None, Parameter(name="--json", help="Write everything that was measured there.")
    ] = None,
    write: Annotated[Path | None, Parameter(help="Write the tables there, as Markdown.")] = None,
) -> int:
    """Measure Penstock beside nginx (and other gateways) in one run; everything on loopback, a few minutes.

    Exit code 1: a reply was wrong, or a ledger does not agree with the bill.

        make bench
        python -m benchmarks --quick
        python -m benchmarks --only penstock json burst
        python -m benchmarks --peers-venv ~/.cache/peers --full --json raw.json --write benchmarks/RESULTS.md
    """
    names = frozenset(only)
    try:
        if unknown := names - EVERY.keys() - set(PEER_NAMES) - {candidate.name for candidate in usual()}:
            raise BenchmarkError(f"There is no candidate or workload named {', '.join(sorted(unknown))}.")
        workloads = [EVERY[name] for name in EVERY if name in names] or list(FULL if full else USUAL)
        wanted = names - EVERY.keys()
        candidates: list[Candidate] = chosen(usual(), wanted)
        if peers_venv:
            candidates += peers(
                peers_venv.expanduser().resolve(), say, wanted & set(PEER_NAMES) if wanted else frozenset()
            )
        how = ends(python=python)
        settings = {
            "command": " ".join(("python -m benchmarks", *sys.argv[1:])),
            "rounds": rounds or (1 if quick else 3),
            "seconds": seconds or (0.6 if quick else 2.5),
            "language": how.language,
        }
        machine = facts()
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
            run = measure(
                how, candidates, workloads,
                rounds=settings["rounds"], seconds=settings["seconds"], folder=Path(folder), say=say,
            )  # fmt: skip
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    rows = summarise(run, candidates, workloads)
    document = as_document(run, rows, machine, settings, candidates)
    text = render(settings, machine, run, rows, candidates=candidates, workloads=workloads)
    print(text)
    if json_file:
        json_file.write_text(json.dumps(document, indent=1) + "\n")
    if write:
        write.write_text(text)
    return 1 if run.problems else 0


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(app())
