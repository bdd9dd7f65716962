"""After a run: does the ledger hold what the upstream billed, to the last digit?"""

import json
import subprocess
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from benchmarks.candidates import Penstock
from benchmarks.errors import BenchmarkError
from benchmarks.replies import bill

SETTLE_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What the upstream billed for one candidate, what that candidate's ledger says, and whether they are one."""

    candidate: str
    billed: dict[str, str]
    booked: dict[str, str]

    @property
    def holds(self) -> bool:
        return self.billed == self.booked


def report(candidate: Penstock) -> dict[str, Any]:
    """Ask for the report as a user would."""
    asked = subprocess.run(
        [str(candidate.program), "report", "--json", "--config", str(candidate.file), "--data", str(candidate.data)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    if asked.returncode:
        raise BenchmarkError(f"penstock report ended with code {asked.returncode}: {asked.stderr[-600:].strip()}")
    try:
        document: dict[str, Any] = json.loads(asked.stdout)
    except json.JSONDecodeError:
        raise BenchmarkError(f"penstock report --json printed no JSON: {asked.stdout[:200]!r}") from None
    return document


def compare(candidate: Penstock, billed: dict[str, int]) -> Agreement:
    """Compare the ledger's sums with the upstream's bill; ask again for a while, as events may be under way."""
    due = bill(billed["prompt_tokens"], billed["cached_tokens"], billed["completion_tokens"])
    expected = _plain(billed["requests"], billed["prompt_tokens"], billed["completion_tokens"], due, 0)
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        document = report(candidate)
        rows = document["rows"]
        booked = _plain(
            *(sum(int(row[name]) for row in rows) for name in ("events", "input_tokens", "output_tokens")),
            Decimal(document["total"]), int(document["unpriced_events"]),
        )  # fmt: skip
        if booked == expected or time.monotonic() > deadline:
            return Agreement(candidate=candidate.name, billed=expected, booked=booked)
        time.sleep(1)


def _plain(events: int, input_tokens: int, output_tokens: int, cost: Decimal, unpriced: int) -> dict[str, str]:
    return {
        "events": str(events), "input_tokens": str(input_tokens), "output_tokens": str(output_tokens),
        "cost": format(cost.normalize(), "f"), "unpriced_events": str(unpriced),
    }  # fmt: skip
