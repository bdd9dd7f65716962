"""Where people look after budgets: the rules made by command, freezes, and how far every budget is."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, structs

from penstock.errors import InputError
from penstock.ledger.state import State
from penstock.policies.alerts import Alert, enqueue
from penstock.policies.budgets.embedded import need_redis
from penstock.policies.budgets.rules import Rules, merged, scopes_of
from penstock.policies.budgets.scopes import check_models, parse_scope
from penstock.policies.budgets.shared import RedisCounters
from penstock.policies.budgets.status import Figure, Standing, beside, from_published, from_redis, standings
from penstock.policies.budgets.store import keep_rules, made_rules, published

Sums = Callable[[Rules], Mapping[str, tuple[int, int]]]
"""Adds the ledger up for the counters of some rules."""


class Burn(Struct, frozen=True, kw_only=True):
    """How far one budget is, when somebody is told, and where it was made."""

    standing: Standing
    thresholds: tuple[int, ...]
    """Per cent."""
    source: Literal["command", "settings"]


class Burning(Struct, frozen=True, kw_only=True):
    """How far all budgets are, the fullest first, and what is to be said of that."""

    budgets: tuple[Burn, ...]
    rules: Rules
    """All that are in force."""
    note: str


class Desk:
    """Reads and changes what the running gateways hold calls to."""

    def __init__(
        self,
        state: State,
        folder: Path,
        file: Rules,
        shared: Callable[[State], RedisCounters] | None = None,
        aliases: Mapping[str, Sequence[str]] = {},
    ) -> None:
        """`file`: the rules of the settings. `shared` opens the counters in Redis, where there is one.

        `aliases` are names of routes that no model has, with the models that may answer there.
        """
        self._state, self._folder, self.file, self._shared, self._aliases = state, folder, file, shared, aliases

    @property
    def is_shared(self) -> bool:
        """Whether the counters are in Redis."""
        return self._shared is not None

    def made(self) -> Rules:
        """Return the rules made by command."""
        own = made_rules(self._state)
        if self._shared is None:
            return own
        found: Rules | None = self.ask(lambda counters: counters.made())
        return own if found is None else found

    def rules(self) -> Rules:
        """Return all rules in force."""
        return merged(self.file, self.made())

    def change(self, change: Callable[[Rules], Rules]) -> Rules:
        """Change the rules made by command; return all rules in force. Gateways take them within a second or so.

        Raises InputError where a new one is about no model that answers.
        """
        before = self.made()
        made = change(before)
        for scope in scopes_of(made) - scopes_of(before):
            check_models(scope, self._aliases)
        if self._shared is not None:
            self.ask(lambda counters: counters.keep(made))
        keep_rules(self._state, made)
        return merged(self.file, made)

    def freeze(self, scope: str, now: datetime) -> str:
        """Stop all spending of a scope, and tell everybody. Returns the scope as it is written."""
        parsed = str(parse_scope(scope))
        self.change(lambda made: structs.replace(made, frozen=_with(made.frozen, parsed)))
        enqueue(
            self._state,
            Alert(
                kind="budget.frozen", subject=parsed, period=f"{now:%Y-%m-%dT%H:%M:%S}",
                title=f"Spending of {parsed} is frozen",
                text=f'Calls of {parsed} are refused until: penstock budgets unfreeze "{parsed}"\n',
                severity="critical",
            ),
        )  # fmt: skip
        return parsed

    def unfreeze(self, scope: str) -> str:
        """Let a scope spend again. Raises InputError where it is not frozen."""
        parsed = str(parse_scope(scope))
        frozen = self.made().frozen
        if parsed not in frozen:
            named = ", ".join(f'"{one}"' for one in frozen) or "nothing"
            raise InputError(f"{parsed} is not frozen; frozen is {named}")
        self.change(lambda made: structs.replace(made, frozen=tuple(one for one in made.frozen if one != parsed)))
        return parsed

    def burning(self, now: datetime, sums: Sums | None = None, *, with_drift: bool = True) -> Burning:
        """Say how far every budget is, by the counters and by `sums`, as `figures` does.

        Raises UnavailableError where the counters are in Redis, and Redis does not answer.
        """
        made = self.made()
        rules = merged(self.file, made)
        return _burning(rules, made, *self.figures(rules, now, sums, with_drift=with_drift), now)

    def booked(self, now: datetime, sums: Sums, note: str) -> Burning:
        """Say it by the ledger alone, and by the rules that this machine knows: for when Redis does not answer."""
        made = made_rules(self._state)
        rules = merged(self.file, made)
        return _burning(rules, made, beside({}, sums(rules), ()), note, now)

    def figures(
        self, rules: Rules, now: datetime, sums: Sums | None = None, *, with_drift: bool = True
    ) -> tuple[dict[str, Figure], str]:
        """Return counters with the ledger's sums beside them, and what should be said of them.

        Without `sums` what was spent is not known where nobody keeps counters. Without `with_drift` the ledger is
        only asked for those.
        """
        kept, note = tuple(budget.id for budget in rules.budgets), ""
        if self._shared is not None:
            figures: dict[str, Figure] = self.ask(lambda counters: from_redis(counters, rules, now))
        else:
            found = published(self._folder)
            figures, kept = from_published(found), found.budgets if found else ()
            if found is None and rules.budgets:  # a gateway without budgets has nothing to publish
                note = "No gateway runs on this ledger now: what is shown is what the ledger says."
            elif found is not None and found.workers > 1:
                figures, kept = {}, ()
                note = f"{need_redis(found.workers)} Until then no call under one is let through."
        is_asked = with_drift or any(budget.id not in kept for budget in rules.budgets)
        return (beside(figures, sums(rules), kept) if sums and is_asked else figures), note

    def ask(self, question: Callable[[Any], Awaitable[Any]]) -> Any:
        """Ask Redis something."""
        open_ = self._shared
        assert open_ is not None

        async def main() -> Any:
            counters = open_(self._state)
            try:
                return await question(counters)
            finally:
                await counters.close()

        return asyncio.run(main())


def _burning(rules: Rules, made: Rules, figures: Mapping[str, Figure], note: str, now: datetime) -> Burning:
    ours = {budget.id for budget in made.budgets}
    found = [
        Burn(standing=one, thresholds=budget.thresholds, source="command" if budget.id in ours else "settings")
        for budget in rules.budgets
        for one in standings(Rules(budgets=(budget,)), figures, now)
    ]
    return Burning(budgets=tuple(sorted(found, key=lambda one: -one.standing.share)), rules=rules, note=note)


def _with(frozen: tuple[str, ...], scope: str) -> tuple[str, ...]:
    return frozen if scope in frozen else (*frozen, scope)
