"""Whom a budget, a limit or a freeze is about: `team=support, user=*`."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from penstock.errors import InputError
from penstock.metering.attribution import Attribution
from penstock.metering.event import UsageEvent

DIMENSIONS = ("team", "app", "feature", "user", "key", "model", "run")
EACH = "*"
"""One counter for each value."""
EVERYTHING = ("", "everything", "organisation", "organization", "org")
"""Names of the scope that all calls are in."""
BETWEEN = "\x1f"
"""Stands between the values of a scope with more than one `*`; no value holds it."""


class Scope(Struct, frozen=True, order=True):
    """Dimensions with the value that each must have; none: everything."""

    pairs: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.pairs) or "everything"

    @property
    def each(self) -> tuple[str, ...]:
        """The dimensions that have a counter for each value."""
        return tuple(name for name, value in self.pairs if value == EACH)

    @property
    def fixed(self) -> tuple[tuple[str, str], ...]:
        """The dimensions that must have one value."""
        return tuple((name, value) for name, value in self.pairs if value != EACH)

    def names(self, name: str) -> bool:
        """Whether this scope asks for a dimension."""
        return any(one == name for one, _ in self.pairs)

    def value(self, dimensions: dict[str, str]) -> str | None:
        """Return which counter a call draws on, or None where it is not in the scope.

        A call without a team, app, feature, user or key is counted under the empty name: leaving it out is no way
        around a budget. One without a run is in no run.
        """
        values = []
        for name, wanted in self.pairs:
            found = dimensions[name]
            if wanted == EACH:
                if name == "run" and not found:
                    return None
                values.append(found)
            elif found != wanted:
                return None
        return BETWEEN.join(values)

    def held(self, value: str) -> dict[str, str]:
        """Return the dimensions that calls of one counter have, its values in the places of the stars."""
        values = iter(value.split(BETWEEN))
        return {name: next(values, "") if wanted == EACH else wanted for name, wanted in self.pairs}

    def spelled(self, value: str) -> str:
        """Write the scope of one counter."""
        return ", ".join(f"{name}={one or '(none)'}" for name, one in self.held(value).items()) or "everything"


def parse_scope(text: str) -> Scope:
    """Read `team=support, user=*`; InputError says what is wrong with it."""
    plain = text.strip()
    if plain.lower() in EVERYTHING:
        return Scope()
    pairs: dict[str, str] = {}
    for part in plain.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise InputError(f"the scope {text!r} cannot be read: write it like team=support, user=*")
        if name not in DIMENSIONS:
            raise InputError(f"the scope {text!r} names {name!r}: use {', '.join(DIMENSIONS)}, or everything")
        if name in pairs:
            raise InputError(f"the scope {text!r} names {name} twice")
        if not value.isprintable():
            raise InputError(f"the scope {text!r} has a value with characters that cannot be printed")
        pairs[name] = value
    return Scope(tuple(sorted(pairs.items(), key=lambda pair: DIMENSIONS.index(pair[0]))))


def check_models(text: str, aliases: Mapping[str, Sequence[str]]) -> None:
    """Raise InputError where a scope names what only routes are called: no answer is booked under that.

    `aliases`: names of routes, and the models that may answer there.
    """
    for name, value in parse_scope(text).pairs:
        if name == "model" and value in aliases:
            raise InputError(
                f"the scope {text!r} names a route, and what is counted is the model that answers: "
                f"{', '.join(aliases[value])}"
            )


def dimensions_of(who: Attribution | UsageEvent, model: str) -> dict[str, str]:
    """Return what scopes ask of a call."""
    return {
        "team": who.team, "app": who.app, "feature": who.feature, "user": who.user, "key": who.key, "model": model,
        "run": who.run,
    }  # fmt: skip


def values_of(scope: Scope, rows: Sequence[str]) -> str:
    """Join the values of the stars as `Scope.value` does."""
    assert len(rows) == len(scope.each)
    return BETWEEN.join(rows)
