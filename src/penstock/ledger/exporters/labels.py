"""By what the metrics for Prometheus are told apart: a module that the settings can read without the engine."""

from typing import Literal

from msgspec import Struct

Label = Literal[
    "provider", "model", "version", "requested_model", "deployment", "deployment_type", "region", "mode", "endpoint",
    "key", "team", "app", "feature", "user",
]  # fmt: skip


class MetricsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[metrics]`: by what `/metrics` is told apart, and how much of it there may be."""

    labels: tuple[Label, ...] = ("provider", "model", "team", "app")
    """Of requests, tokens, dollars, errors and unpriced events."""
    latency_labels: tuple[Label, ...] = ("provider", "model")
    """Of histograms, which have some twenty series for each combination."""
    most_values: int = 200
    """Values of one label that get series of their own; what comes later is `other`."""
    most_series: int = 2_000
    """Combinations of labels, likewise."""
