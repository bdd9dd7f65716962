"""Dollars that bought nothing: failed attempts, and answers that were cut off."""

from collections import defaultdict
from collections.abc import Callable, Iterator

from penstock.analytics.spend import add
from penstock.optimization.finding import Finding, Seen, command, named, per_cent
from penstock.optimization.traffic import Line


def failed(seen: Seen) -> Iterator[Finding]:
    """Find models whose failed attempts cost something all the same."""
    for group, lines in _by_model(seen):
        wasted, cost = add(line.wasted for line in lines), add(line.cost for line in lines)
        if wasted <= 0:
            continue
        count, events = _sum(lines, lambda line: line.failed), _sum(lines, lambda line: line.events)
        yield Finding(
            id=named("failed", group), kind="failed", title=f"Failed attempts at {group['model']} cost money",
            saving=seen.monthly(wasted), at_stake=seen.monthly(cost), certainty="measured",
            evidence=f"{count:,} of {events:,} attempts ({per_cent(count, events)}) ended without an answer and were "
            f"billed all the same: ${wasted:,.4f}, {per_cent(wasted, cost)} of what the model cost.",
            effort="medium", next="See why they fail; then set timeouts, limits and fallbacks so that they do not.",
            command=command("report", "errors", "--by", "app,model", "--only", f"model={group['model']}"), group=group,
        )  # fmt: skip


def cut(seen: Seen) -> Iterator[Finding]:
    """Find models whose answers end because no more tokens were allowed."""
    for group, lines in _by_model(seen):
        spent = add(line.cut_cost for line in lines)
        if spent <= 0:
            continue
        count, events = _sum(lines, lambda line: line.cut), _sum(lines, lambda line: line.events)
        yield Finding(
            id=named("cut", group), kind="cut", title=f"Answers of {group['model']} are cut off and paid for",
            saving=None, at_stake=seen.monthly(spent), certainty="measured",
            evidence=f"{count:,} of {events:,} answers ({per_cent(count, events)}) ended because no more tokens were "
            f"allowed; they cost ${spent:,.4f}. Who asks again pays twice.",
            effort="low", next="Ask for shorter answers in the prompt, or allow more tokens where they are needed.",
            command=command("report", "tokens", "--by", "app,model", "--only", f"model={group['model']}"), group=group,
        )  # fmt: skip


def _by_model(seen: Seen) -> Iterator[tuple[dict[str, str], list[Line]]]:
    found: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in seen.lines:
        found[line.provider, line.model].append(line)
    for (provider, model), lines in found.items():
        yield {"provider": provider, "model": model}, lines


def _sum(lines: list[Line], count: Callable[[Line], int]) -> int:
    return sum(map(count, lines))
