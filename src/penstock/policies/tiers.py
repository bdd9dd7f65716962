"""The guide's four tiers, and its right-sizing matrix: which tier is enough for which task."""

from typing import Literal

Tier = Literal["nano", "mini", "standard", "premium"]
TIERS: tuple[Tier, ...] = ("nano", "mini", "standard", "premium")

ENOUGH: dict[str, Tier] = {
    "classification": "nano", "moderation": "nano", "summarization": "mini", "extraction": "mini", "support": "mini",
    "translation": "mini", "writing": "mini", "question": "standard", "code": "standard", "rag": "standard",
    "maths": "standard", "tools": "standard", **{tier: tier for tier in TIERS},
}  # fmt: skip
"""The matrix. Writing, questions and tools are not in it: the first is like its neighbours, of the others the public
results say that small models lose. A tier stands for the tasks that a classifier gives to it."""

GOOD, BELOW = 0.90, 0.10
"""What the answers of a tier that is enough are taken to be worth before any was scored, and what each tier below
loses. A bigger one than is needed gains nothing: so says the matrix, until scores say otherwise."""


def expected_quality(task: str, tier: Tier) -> float:
    """Say what the answers of a tier are worth at a task, as far as the matrix knows. Unknown tasks want the best."""
    return GOOD + BELOW * min(0, TIERS.index(tier) - TIERS.index(ENOUGH.get(task, "premium")))
