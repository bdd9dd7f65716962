"""Budgets and limits as they are configured, and compiled so that a call finds its own by one look-up."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from penstock.errors import InputError
from penstock.metering.attribution import Attribution
from penstock.metering.event import UsageEvent
from penstock.policies.budgets.counters import Claim, Rate, RateKind, atto
from penstock.policies.budgets.scopes import Scope, dimensions_of, parse_scope
from penstock.policies.budgets.windows import Window, check_period, check_zone, window_at

MOST_DOLLARS = Decimal(10**12)
MOST_UNITS = 150_000_000
"""Tokens or requests a minute: above, exact arithmetic in Redis would end."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)
MEMO_SIZE = 20_000
"""Callers remembered: who calls is named by clients, so memory must not grow with them."""


class Budget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[budgets]]` row: dollars that a scope may spend in a period."""

    dollars: Decimal
    scope: str = "everything"
    """`team=support, user=*`: one counter for each value of a `*`."""
    per: str = "month"
    """`hour`, `day`, `week`, `month`, `total`, or a rolling window such as `24h`, `7d`, `90m`."""
    hard: bool = True
    """Calls that could go over it are refused; a soft budget only tells."""
    time_zone: str = "UTC"
    """In which days, weeks and months begin: `Europe/Berlin`."""
    thresholds: tuple[int, ...] = (50, 80, 100)
    """Per cent of the budget at which somebody is told."""
    forecast_thresholds: tuple[int, ...] = (100,)
    """Per cent that the period's end is forecast to reach, at which somebody is told."""

    @property
    def id(self) -> str:
        """Names its counters: another limit goes on with what was spent, another scope or period does not."""
        return _id("b", str(parse_scope(self.scope)), self.per, self.time_zone)

    def check(self) -> None:
        """Raise InputError where this cannot be a budget."""
        parse_scope(self.scope)
        check_period(self.per)
        check_zone(self.time_zone)
        if not (self.dollars.is_finite() and 0 <= self.dollars <= MOST_DOLLARS):
            raise InputError(f"{self.dollars} dollars are no budget: give 0 to {MOST_DOLLARS:,}")
        if any(not 0 < one <= 1000 for one in (*self.thresholds, *self.forecast_thresholds)):
            raise InputError("thresholds are per cent of the budget: 1 to 1000")


class Limit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[limits]]` row: how fast a scope may call."""

    scope: str = "everything"
    requests_per_minute: int = 0
    """0: no limit."""
    tokens_per_minute: int = 0
    """Input and output together; what a call may use is taken before it, what it did not use is given back."""
    concurrent: int = 0
    """Calls at a time."""

    @property
    def id(self) -> str:
        """Names its counters."""
        return _id("l", str(parse_scope(self.scope)))

    @property
    def rates(self) -> tuple[tuple[RateKind, int], ...]:
        """Each kind of limit, and how much it allows; 0: no limit."""
        return (
            ("requests", self.requests_per_minute),
            ("tokens", self.tokens_per_minute),
            ("concurrent", self.concurrent),
        )

    def check(self) -> None:
        """Raise InputError where this cannot be a limit."""
        parse_scope(self.scope)
        counts = (self.requests_per_minute, self.tokens_per_minute, self.concurrent)
        if not all(0 <= one <= MOST_UNITS for one in counts):
            raise InputError(f"a limit is a number from 0 (none) to {MOST_UNITS:,}")
        if not any(counts):
            raise InputError("give at least one of requests_per_minute, tokens_per_minute and concurrent")


class BudgetSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[governance]`: how budgets and limits are kept."""

    redis: str = ""
    """`redis://host:6379/0` (or `rediss://`, `unix://`): counters that many workers and nodes share. `$NAME` is the
    environment variable that holds the address."""
    redis_prefix: str = "penstock"
    """First part of every name in Redis."""
    when_unavailable: Literal["refuse", "serve"] = "refuse"
    """What happens to calls under a budget or limit while Redis cannot be asked."""
    redis_timeout: float = 1.0
    """Seconds that Redis may take to answer."""
    lease_seconds: float = 60.0
    """What a gateway that died had reserved is free again after so long."""
    default_output_tokens: int = 4096
    """Reserved for the answer of a call that names no limit of its own."""
    cut_streams: bool = False
    """End a stream that outruns what was reserved for it, where its hard budgets cannot hold more."""
    unpriced: Literal["refuse", "serve"] = "refuse"
    """Under a hard budget, a model whose price is unknown."""


class Rules(Struct, frozen=True, kw_only=True):
    """Everything in force at a time. Of two budgets with the same scope, period and zone, the first one counts."""

    budgets: tuple[Budget, ...] = ()
    limits: tuple[Limit, ...] = ()
    frozen: tuple[str, ...] = ()
    """Scopes that may not spend at all."""
    rebuild: int = 0
    """Goes up when all counters shall be made anew from the ledger."""


def scopes_of(rules: Rules) -> set[str]:
    """Return all scopes that rules are about."""
    return {*(row.scope for row in rules.budgets), *(row.scope for row in rules.limits), *rules.frozen}


def merged(file: Rules, made: Rules) -> Rules:
    """Put what was made by command before what stands in the file, row by row."""
    return Rules(
        budgets=_distinct((*made.budgets, *file.budgets)),
        limits=_distinct((*made.limits, *file.limits)),
        frozen=made.frozen,
        rebuild=made.rebuild,
    )


def _distinct(rows: Iterable[Budget | Limit]) -> tuple:  # type: ignore[type-arg]
    found: dict[str, Budget | Limit] = {}
    for row in rows:
        found.setdefault(row.id, row)
    return tuple(found.values())


def _id(*parts: str) -> str:
    return parts[0] + hashlib.sha256("\0".join(parts[1:]).encode()).hexdigest()[:11]


class Rule:
    """One budget with its window of now."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.id = budget.id
        self.scope = parse_scope(budget.scope)
        self.limit = atto(budget.dollars)
        self._window: Window | None = None
        self._begin = self._end = LONG_AGO

    def lasts(self, at: datetime) -> tuple[datetime, datetime]:
        """Return from when and until when all that is spent goes to the same counter as at `at`."""
        self.window(at)
        return self._begin, self._end

    def window(self, at: datetime) -> Window:
        """Return the window that holds `at`; of a rolling one, the one whose newest piece does."""
        window = self._window
        if window is None or not self._begin <= at < self._end:
            window = self._window = window_at(self.budget.per, self.budget.time_zone, at)
            self._end = window.end or FOREVER
            self._begin = self._end - timedelta(seconds=window.piece) if window.piece else window.start
        return window

    def counter(self, window: Window, value: str) -> str:
        """Name the counter in which spending within the window (or its newest piece) is added up."""
        return f"{self.id}/{window.label}/{value}"

    def claim(self, at: datetime, value: str) -> Claim:
        """Return what a call at `at` draws on."""
        window = self.window(at)
        counter = self.counter(window, value)
        if not window.piece:
            return Claim(counter, (counter,), self.limit, self.budget.hard, window.forgotten)
        pieces = tuple(f"{self.id}/{number}/{value}" for number in window.pieces)
        return Claim(f"{self.id}/reserved/{value}", pieces, self.limit, self.budget.hard, window.forgotten)


class Drawn(Struct, frozen=True):
    """What calls of one caller to one model draw on, as long as their windows last."""

    rules: tuple[tuple[Rule, str], ...]
    """Budgets and the value of their stars."""
    claims: tuple[Claim, ...]
    counters: tuple[tuple[str, int], ...]
    """To which what a call did cost is added, and the Unix time from which nobody asks for each (0: never)."""
    rates: tuple[Rate, ...]
    frozen: str
    """The scope that was frozen, spelled out; empty: none."""
    since: datetime
    until: datetime
    hard: bool
    """Whether one of the budgets refuses."""


class Rulebook:
    """Rules, compiled."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.budgets = [Rule(budget) for budget in rules.budgets]
        self._limits = [(parse_scope(limit.scope), limit) for limit in rules.limits]
        self._frozen = [parse_scope(scope) for scope in rules.frozen]
        self.idle = not (rules.budgets or rules.limits or rules.frozen)
        self.limits_tokens = any(limit.tokens_per_minute for limit in rules.limits)
        self._known: dict[tuple[str, ...], Drawn] = {}
        self._shapes = _by_shape((rule.scope, rule) for rule in self.budgets)
        self._limit_shapes = _by_shape(self._limits)

    def drawn(self, who: Attribution | UsageEvent, model: str, at: datetime) -> Drawn:
        """Return what a call draws on that began at `at`, or an event of one."""
        key = (who.team, who.app, who.feature, who.user, who.key, who.run, model)
        found = self._known.get(key)
        if found is None or not found.since <= at < found.until:
            if len(self._known) >= MEMO_SIZE:
                self._known.clear()
            found = self._known[key] = self._work_out(dimensions_of(who, model), at)
        return found

    def _work_out(self, dimensions: dict[str, str], at: datetime) -> Drawn:
        rules: list[tuple[Rule, str]] = _matching(self._shapes, dimensions)
        rates = []
        for limit, value in _matching(self._limit_shapes, dimensions):
            name = f"{limit.id}/{value}"
            rates += [
                Rate(f"{name}/{kind}", kind, most)
                for kind, most in limit.rates
                if most
            ]  # fmt: skip
        lasting = [rule.lasts(at) for rule, _ in rules]
        frozen = next((scope for scope in self._frozen if scope.value(dimensions) is not None), None)
        return Drawn(
            tuple(rules),
            tuple(rule.claim(at, value) for rule, value in rules),
            tuple((rule.counter(window := rule.window(at), value), window.forgotten) for rule, value in rules),
            tuple(rates),
            str(frozen) if frozen is not None else "",
            max((begin for begin, _ in lasting), default=LONG_AGO),
            min((end for _, end in lasting), default=FOREVER),
            any(rule.budget.hard for rule, _ in rules),
        )


_Shape = tuple[tuple[str, ...], dict[tuple[str, ...], list]]  # type: ignore[type-arg]


def _by_shape(rows: Iterable[tuple[Scope, Rule | Limit]]) -> list[_Shape]:
    """Group by the dimensions that are fixed, so that a thousand teams' budgets are one look-up, not a thousand."""
    shapes: dict[tuple[str, ...], dict[tuple[str, ...], list[tuple[Scope, Rule | Limit]]]] = {}
    for scope, row in rows:
        names = tuple(name for name, _ in scope.fixed)
        shapes.setdefault(names, {}).setdefault(tuple(value for _, value in scope.fixed), []).append((scope, row))
    return list(shapes.items())


def _matching(shapes: Sequence[_Shape], dimensions: dict[str, str]) -> list:  # type: ignore[type-arg]
    found = []
    for names, by_value in shapes:
        for scope, row in by_value.get(tuple(dimensions[name] for name in names), ()):
            value = scope.value(dimensions)
            if value is not None:
                found.append((row, value))
    return found
