"""Why there is no price, and what to add: the sentence of an unpriced call."""

from collections.abc import Sequence
from datetime import datetime

from penstock.pricing.book import PriceKey, PriceRow
from penstock.pricing.zones import plain_region, zone_of


def why_missing(key: PriceKey, at: datetime, known: Sequence[PriceRow]) -> str:
    """Say which part of the key has no row; `known` are the rows of the model, in every layer."""
    region = plain_region(key.region)
    what, add = f"{key.model} at {key.provider}", f"Add one with: {_command(key)}"
    if not known:
        return f"No price for {what}. {add}"
    rows = list(known)
    for field, asked, allowed in (
        ("version", key.version or "an unnamed version", {key.version, ""}),
        ("deployment_type", key.deployment_type, {key.deployment_type}),
        ("mode", f"{key.mode} processing", {key.mode}),
        ("region", key.region or "an unnamed region", {region, zone_of(region), ""}),
    ):
        fitting = [row for row in rows if getattr(row, field) in allowed]
        if not fitting:
            there = ", ".join(sorted({getattr(row, field) or "any" for row in rows}))
            return f"Prices for {what} are known for {there}, not for {asked}. {add}"
        rows = fitting
    first = min(row.valid_from for row in rows)
    when = f"begin on {first:%Y-%m-%d}, after {at:%Y-%m-%d}" if at < first else f"were not in force on {at:%Y-%m-%d}"
    return f"Prices for {what} {when}. {add} --from {at:%Y-%m-%d}"


def _command(key: PriceKey) -> str:
    parts = [f"penstock prices set {key.model} --provider {key.provider}"]
    if key.deployment_type != "global":
        parts.append(f"--deployment-type {key.deployment_type}" + (f" --region {key.region}" if key.region else ""))
    if key.mode != "standard":
        parts.append(f"--mode {key.mode}")
    return " ".join([*parts, "--input … --output …"])
