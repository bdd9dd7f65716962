"""What models are like, beyond their price."""

REASONING = ("o1", "o3", "o4", "gpt-5", "gpt-6", "deepseek-r1")
"""Beginnings of the names of models that think in hidden output tokens."""


def reasons(model: str) -> bool:
    """Say whether the model bills hidden reasoning tokens."""
    return model.lower().startswith(REASONING)
