"""`python -m benchmarks`: one run, one table."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from benchmarks.candidates import Candidate, chosen, usual
from benchmarks.environments import home
from benchmarks.errors import BenchmarkError
from benchmarks.machine import facts
from benchmarks.others import ask_others
from benchmarks.page import as_document, picture, render
from benchmarks.peers import PEER_NAMES, peers
from benchmarks.results import summarise
from benchmarks.rounds import measure
from benchmarks.wire.ends import ends
from benchmarks.workloads import EVERY, FULL, USUAL

RAW, PLOT = "results", "cpu.svg"

app = App(name="python -m benchmarks")


@app.default
def bench(
    *,
    quick: Annotated[bool, Parameter(help="One short round: does everything work?", negative="")] = False,
    full: Annotated[
        bool,
        Parameter(help="Also prompts of 1 KB to 1 MB, 1 to 500 streams, a high rate, and the ledger.", negative=""),
    ] = False,
    with_peers: Annotated[
        bool,
        Parameter(
            name="--peers", help="Also other gateways: LiteLLM, TensorZero, Portkey; installed once.", negative=""
        ),
    ] = False,
    peers_folder: Annotated[Path | None, Parameter(help="Where; by default below ~/.cache.")] = None,
    only: Annotated[
        tuple[str, ...], Parameter(help="Names of candidates and workloads to keep.", consume_multiple=True)
    ] = (),
    rounds: Annotated[int | None, Parameter(help="Rounds; by default 5 (quick: 1).")] = None,
    seconds: Annotated[float | None, Parameter(help="Seconds a turn; by default 1.5 (quick: 0.6).")] = None,
    minutes: Annotated[float, Parameter(help="No round is begun that would last beyond that.")] = 12.0,
    python: Annotated[bool, Parameter(help="Use the upstream and load client in Python.", negative="")] = False,
    json_file: Annotated[
        Path | None, Parameter(name="--json", help="Write everything that was measured there, right or wrong.")
    ] = None,
    write: Annotated[
        Path | None,
        Parameter(help="Write RESULTS.md, the plot and all that was measured into that folder, if all was right."),
    ] = None,
) -> int:
    """Measure Penstock beside nginx (and other gateways) in one run; everything on loopback, a few minutes.

    Exit code 1: a reply was wrong, or a ledger does not agree with the bill; then --write writes nothing.

        make bench
        python -m benchmarks --quick
        python -m benchmarks --only penstock json burst
        python -m benchmarks --full --peers --write benchmarks
    """
    names = frozenset(only)
    try:
        if unknown := names - EVERY.keys() - set(PEER_NAMES) - {candidate.name for candidate in usual()}:
            raise BenchmarkError(f"There is no candidate or workload named {', '.join(sorted(unknown))}.")
        workloads = [EVERY[name] for name in EVERY if name in names] or list(FULL if full else USUAL)
        wanted = names - EVERY.keys()
        candidates: list[Candidate] = chosen(usual(), wanted)
        if with_peers or names & set(PEER_NAMES):
            folder = (peers_folder or home()).expanduser().resolve()
            candidates += peers(folder, say, wanted & set(PEER_NAMES) if wanted else frozenset())
        how = ends(python=python)
        settings = {
            "command": " ".join(("python -m benchmarks", *sys.argv[1:])),
            "rounds": rounds or (1 if quick else 5),
            "seconds": seconds or (0.6 if quick else 1.5),
            "minutes": minutes,
            "language": how.language,
        }
        machine = facts()
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as scratch:
            run = measure(
                how, candidates, workloads, rounds=settings["rounds"], seconds=settings["seconds"],
                folder=Path(scratch), say=say, minutes=minutes,
            )  # fmt: skip
        others = ask_others(say) if full and not run.problems else []
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    rows = summarise(run, candidates, workloads)
    drawn = picture(rows, candidates)
    text = render(
        settings, machine, run, rows, candidates=candidates, workloads=workloads, others=others,
        image=f"{RAW}/{PLOT}" if write and drawn else "",
    )  # fmt: skip
    print(text)
    document = as_document(run, rows, machine, settings, candidates)
    if json_file:
        json_file.write_text(json.dumps(document, indent=1) + "\n")
    if run.problems:
        say(f"benchmarks: {len(run.problems)} problems, see above: these figures do not count, and are not written")
        return 1
    if write:
        (write / RAW).mkdir(parents=True, exist_ok=True)
        (write / RAW / "gateway.json").write_text(json.dumps(document, indent=1) + "\n")
        if drawn:
            (write / RAW / PLOT).write_text(drawn)
        (write / "RESULTS.md").write_text(text)
        say(f"written: {write / 'RESULTS.md'}, and everything that was measured in {write / RAW}")
    return 0


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(app())
