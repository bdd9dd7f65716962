"""What models are like beyond their price: what they read, how much, and what they are good for."""

import dataclasses
from typing import Literal

REASONING = ("o1", "o3", "o4", "gpt-5", "gpt-6", "deepseek-r1")
"""Beginnings of the names of models that think in hidden output tokens."""

Modality = Literal["text", "image", "embedding"]


def reasons(model: str) -> bool:
    """Say whether the model bills hidden reasoning tokens."""
    return model.lower().startswith(REASONING)


@dataclasses.dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model. Sources: the vendors' model cards; `tier` is this project's judgement, 1 (small) to 4 (largest)."""

    name: str
    tier: int
    context: int
    """Tokens that fit, prompt and answer together."""
    images: bool
    codes: bool = False
    """Among the best of its tier at code."""


MODELS = (
    ModelFacts("gpt-4.1-nano", 1, 1_047_576, images=True),
    ModelFacts("Phi-4", 1, 16_384, images=False),
    ModelFacts("gpt-4o-mini", 2, 128_000, images=True),
    ModelFacts("gpt-4.1-mini", 2, 1_047_576, images=True),
    ModelFacts("gpt-5-mini", 2, 400_000, images=True, codes=True),
    ModelFacts("o3-mini", 2, 200_000, images=False),
    ModelFacts("o4-mini", 2, 200_000, images=True),
    ModelFacts("gpt-4o", 3, 128_000, images=True),
    ModelFacts("gpt-4.1", 3, 1_047_576, images=True, codes=True),
    ModelFacts("gpt-5", 3, 400_000, images=True, codes=True),
    ModelFacts("o3", 3, 200_000, images=True),
    ModelFacts("DeepSeek-R1", 3, 128_000, images=False),
    ModelFacts("gpt-5.2", 4, 400_000, images=True, codes=True),
)
"""Models that the decision tree may choose; one whose card was not read is left out."""

EMBEDDINGS = ("text-embedding-3-small",)
