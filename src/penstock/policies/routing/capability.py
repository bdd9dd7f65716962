"""What models can do, and which of them a request leaves. This comes before any score."""

import csv
from datetime import date
from functools import cache
from importlib.resources import files

from msgspec import Struct

from penstock.policies.deployments import Target
from penstock.policies.routing.asked import Asked
from penstock.policies.tiers import TIERS, Tier
from penstock.pricing.lifecycle import retirement
from penstock.pricing.names import split_version

ABILITIES = frozenset({"tools", "parallel_tools", "json_object", "json_schema", "images", "audio", "files", "logprobs"})


class Ability(Struct, frozen=True, gc=False):
    """What is known of one model."""

    tier: Tier = "standard"
    context: int = 0
    """Tokens of prompt and answer together; 0: not known, and not held against it."""
    output: int = 0
    """Tokens of an answer; 0: not known."""
    can: frozenset[str] = frozenset()
    known: bool = True
    """Whether the package or the settings say what it can."""
    retires: date | None = None


UNKNOWN = Ability(known=False)


@cache
def shipped() -> dict[str, Ability]:
    """Read the models of the package."""
    text = (files("penstock.policies.routing") / "data" / "models.csv").read_text(encoding="utf-8")
    return {
        row["model"]: Ability(
            _tier(row["tier"]), int(row["context"]), int(row["output"]), frozenset(row["can"].split())
        )
        for row in csv.DictReader(text.splitlines())
    }


def _tier(name: str) -> Tier:
    return next(tier for tier in TIERS if tier == name)


def ability_of(target: Target) -> Ability:
    """Say what is known of the model behind a target: the settings' row first, then the package."""
    row = target.deployment
    model, version = split_version(row.model)
    found = shipped().get(row.model) or shipped().get(model) or UNKNOWN
    gone = retirement(target.served.provider, model, version)
    return Ability(
        row.tier or found.tier, row.context or found.context, found.output,
        found.can if row.can is None else frozenset(row.can), found.known or row.can is not None,
        gone.retires if gone else None,
    )  # fmt: skip


def why_not(
    ability: Ability, target: Target, asked: Asked, *, output: int | None, today: date, regions: tuple[str, ...]
) -> str:
    """Say why a target cannot take a request, in two or three words; empty: it can."""
    if regions and target.served.region not in regions:
        return f"region {target.served.region or 'not said'}"
    if ability.retires is not None and ability.retires <= today:
        return f"retired {ability.retires}"
    missing = asked.needs - ability.can
    if missing:
        return f"no {min(missing)}"
    if ability.context and asked.prompt_tokens + (output or 0) > ability.context:
        return f"context {ability.context}"
    if output and ability.output and output > ability.output:
        return f"writes at most {ability.output}"
    return ""
