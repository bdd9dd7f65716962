"""The benchmarks of the ledger, asked within the same run; what they print becomes part of the page."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

LEDGER = (
    ("The ledger: writing events", ("benchmarks.ledger_write",)),
    (
        "The ledger: daily questions, from rollups and from every event",
        ("benchmarks.ledger_daily", "--events", "5000000", "20000000"),
    ),
    ("The ledger: other questions", ("benchmarks.ledger_query", "--events", "300000")),
)
PATIENCE_SECONDS = 420


def ask_others(
    say: Callable[[str], None], commands: tuple[tuple[str, tuple[str, ...]], ...] = LEDGER
) -> list[tuple[str, str]]:
    """Run each as `python -m`; return titles and what was printed, or why there is nothing."""
    found = []
    for title, command in commands:
        line = f"$ python -m {' '.join(command)}"
        say(line)
        try:
            done = subprocess.run(
                [sys.executable, "-m", *command], capture_output=True, text=True, check=False,
                timeout=PATIENCE_SECONDS, cwd=Path(__file__).parent.parent,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            found.append((title, f"{line}\nnot measured: it did not end within {PATIENCE_SECONDS} s"))
            continue
        said = done.stdout if done.returncode == 0 else f"not measured: {done.stderr[-400:].strip()}"
        found.append((title, f"{line}\n{said.strip()}"))
    return found
