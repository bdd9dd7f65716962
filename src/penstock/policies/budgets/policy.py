"""Holds calls to their budgets and limits: reserve, let go, settle."""

import asyncio
from collections.abc import Awaitable, Container, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from penstock.errors import RefusedError
from penstock.metering.event import UsageEvent
from penstock.policies.budgets.counters import (
    ATTO,
    Charge,
    Claim,
    Counters,
    Order,
    Rate,
    UnavailableError,
    Verdict,
    atto,
    dollars_of,
)
from penstock.policies.budgets.rules import BudgetSettings, Drawn, Rulebook, Rules
from penstock.policies.budgets.sizing import Size, Sizer
from penstock.policies.call import Call, Reply, StreamBudget
from penstock.policies.deployments import Target
from penstock.policies.pipeline import Proceed
from penstock.pricing.catalog import Catalog

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
IN_FLIGHT_SECONDS = 1.0
"""When to try again where reservations of others are in the way: most calls are over by then."""
TIGHT_CALLS = 256
"""For so many calls after one that found a budget near its end, input is counted exactly from the start."""
SHARES = (1, 2, 4, 8)
"""A stream that has outrun its reservation asks for as much again, or for a half, a fourth, an eighth of that."""
ENDLESS = 1 << 62
KINDS = {"requests": "requests a minute", "tokens": "tokens a minute", "concurrent": "calls at a time"}


class _Taken(Struct):
    """A call's reservation while it is in flight."""

    drawn: Sequence[tuple[Target, Drawn]]
    size: Size
    amount: int
    """Atto-dollars, for the dearest target."""
    held: int
    """Atto-dollars in all, with those of further reservations."""
    counted: Size | None = None
    """The true size, once something needs it."""
    again: int = 0
    """Further reservations: other attempts, and streams that became longer, needed them."""
    settled: int = 0
    """Events that the call had before: what was asked beside it has been settled by itself."""
    over: bool = False
    """The call has ended."""


class Budgets:
    """The policy. Where nothing is configured, a call passes without being looked at."""

    def __init__(self, catalog: Catalog, counters: Counters, settings: BudgetSettings, rules: Rules = Rules()) -> None:  # noqa: B008  # frozen
        self._catalog = catalog
        self._settings = settings
        self._sizer = Sizer(catalog, settings.default_output_tokens)
        self._tight = 0
        self.counters = counters
        self.book = self.charging = Rulebook(rules)
        """The rules that calls are held to, and those by which what is booked is counted: these come first."""
        self.flying: dict[str, _Taken] = {}
        self.unasked = 0
        """Calls that were served although the counters could not be asked."""
        self.refusing: dict[str, tuple[str, str, str]] = {}
        """Hard budgets that have refused lately, by counter: scope, dollars, period."""

    def use(self, book: Rulebook) -> None:
        """Hold calls to other rules from now on."""
        self.book = self.charging = book

    def __call__(self, call: Call, *, proceed: Proceed) -> Awaitable[Reply]:
        """Let the call go on once everything it may cost is reserved; raise RefusedError where it cannot be."""
        if self.book.idle:
            return proceed(call)
        return self._govern(call, proceed)

    async def _govern(self, call: Call, proceed: Proceed) -> Reply:
        drawn: list[tuple[Target, Drawn]] = []
        frozen: dict[str, str] = {}
        for target in call.targets:
            one = self.book.drawn(call.attribution, self._model(target), call.at)
            if one.frozen:
                frozen[target.key] = one.frozen
            elif one.claims or one.rates:
                drawn.append((target, one))
        if frozen and not _left_out(call, frozen, "frozen"):
            scope = next(iter(frozen.values()))
            raise RefusedError(
                403, "spending_frozen",
                f"Spending of {scope} is frozen. Whoever froze it can end that with: "
                f'penstock budgets unfreeze "{scope}"',
            )  # fmt: skip
        if not drawn:
            return await proceed(call)
        try:
            taken = await self._reserve(call, drawn)
        except UnavailableError as error:
            if self._settings.when_unavailable == "refuse":
                sentence = f"No call under a budget or limit is taken now: {error}"
                wait = 5.0 if error.passes else None
                raise RefusedError(503, "budgets_unavailable", sentence, retry_after=wait) from error
            self.unasked += 1
            call.decisions.append("budgets not asked")
            taken = None
        if taken is not None:
            self.flying[call.request_id] = taken
            call.another = self._another
            if self._settings.cut_streams and call.head.stream and any(one.hard for _, one in drawn):
                call.stream_budget = StreamBudget(taken.size.output, self._allowed)
        settled = len(call.events)
        try:
            return await proceed(call)
        finally:
            self._settle(call, taken, settled)

    async def _reserve(self, call: Call, drawn: Sequence[tuple[Target, Drawn]]) -> _Taken | None:
        """Take what the call may cost at the dearest of its targets from every budget, or nothing.

        Targets that cost more than a budget can hold are left out; None: those that are left draw on none.
        """
        size = self._sizer.cheap(call) if not self._tight else None
        if self._tight:
            self._tight -= 1
        if size is None:
            size = await self._sizer.exact(call)
        while True:
            order, drawn = self._order(call, drawn, size)
            verdict = await self.counters.reserve(order)
            if verdict.tight or verdict.reason in {"budget", "reserved"}:
                self._tight = TIGHT_CALLS
            if not verdict.reason:
                if order.rates:
                    call.headers = _rate_headers(order.rates, verdict)
                amount = max(order.amounts, default=0)
                return _Taken(drawn, size, amount, amount, settled=len(call.events))
            if not size.exact and verdict.reason not in {"requests", "concurrent"}:
                size = await self._sizer.exact(call)  # the cheap bound is too much: is the true size as well?
                continue
            dear = self._too_dear(call, drawn, size, order, verdict) if verdict.reason == "budget" else frozenset()
            if not dear or not _left_out(call, dear, "over budget"):
                raise self._refusal(order, verdict, drawn)
            drawn = [(target, one) for target, one in drawn if target.key not in dear]
            if not drawn:
                return None

    def _too_dear(
        self, call: Call, drawn: Sequence[tuple[Target, Drawn]], size: Size, order: Order, verdict: Verdict
    ) -> frozenset[str]:
        """Name the targets at which the call may cost more than is left of the budget that refused it."""
        claim = order.claims[verdict.index]
        left = claim.limit - verdict.spent
        return frozenset(
            target.key
            for target, one in drawn
            if claim in one.claims and (self._sizer.amount(call, target, size) or 0) > left
        )

    def _order(
        self, call: Call, drawn: Sequence[tuple[Target, Drawn]], size: Size
    ) -> tuple[Order, Sequence[tuple[Target, Drawn]]]:
        """Put together what to take; targets that no hard budget may pay for are left out of the call."""
        if len(drawn) == 1:
            target, one = drawn[0]
            amount = self._sizer.amount(call, target, size) if one.claims else 0
            if amount is not None:
                return Order(call.request_id, one.claims, [amount] * len(one.claims), one.rates, size.tokens), drawn
        kept: list[tuple[Target, Drawn]] = []
        amounts: dict[str, int] = {}
        claims: dict[str, Claim] = {}
        rates: dict[str, Rate] = {}
        for target, one in drawn:
            amount = self._sizer.amount(call, target, size) if one.claims else 0
            if amount is None:
                if one.hard and self._settings.unpriced == "refuse":
                    continue
                amount = 0
            kept.append((target, one))
            for claim in one.claims:
                claims[claim.counter] = claim
                amounts[claim.counter] = max(amounts.get(claim.counter, 0), amount)
            for rate in one.rates:
                rates[rate.counter] = rate
        if len(kept) < len(drawn):
            gone = {target.key for target, _ in drawn} - {target.key for target, _ in kept}
            if not _left_out(call, gone, "unpriced"):
                raise RefusedError(
                    403, "unpriced_model",
                    f"The model {call.requested_model} has no price, and a hard budget cannot hold what it does not "
                    f"know. Add one with: penstock prices set {call.requested_model}",
                )  # fmt: skip
        order = Order(call.request_id, list(claims.values()), list(amounts.values()), list(rates.values()), size.tokens)
        return order, kept

    async def _another(self, call: Call) -> bool:
        """Reserve anew where attempts that failed have used up what was reserved for the next."""
        taken = self.flying[call.request_id]
        spent = sum(atto(event.cost) for event in call.events[taken.settled :] if event.cost)
        if not spent or not taken.amount:
            return True
        needed = spent + taken.amount
        if needed <= taken.held:
            return True
        order, _ = self._order(call, taken.drawn, taken.size)
        order = Order(f"{call.request_id}+{taken.again + 1}", order.claims, order.amounts, (), 0)
        try:
            verdict = await self.counters.reserve(order)
        except UnavailableError:
            return self._settings.when_unavailable == "serve"
        if verdict.reason:
            call.decisions.append("no budget for another attempt")
            return False
        self._took(order, taken, taken.amount)
        return True

    async def _allowed(self, call: Call, target: Target, tokens: int) -> int:
        """Say how many tokens of output the reservation holds; where it holds fewer than came, reserve more."""
        taken = self.flying.get(call.request_id)
        one = next((one for its, one in taken.drawn if its.key == target.key), None) if taken else None
        if taken is None or one is None or not one.hard:
            return ENDLESS
        if taken.counted is None:
            taken.counted = taken.size if taken.size.exact else await self._sizer.exact(call)
        sent = self._cost(call, target, taken.counted.input, 0)
        each = self._cost(call, target, taken.counted.input, 1) - sent
        if not each:
            return ENDLESS
        spent = sum(atto(event.cost) for event in call.events[taken.settled :] if event.cost)
        if tokens <= (holds := (taken.held - spent - sent) // each):
            return holds
        for share in SHARES:
            missing = max(0, tokens - holds)
            more = (missing + max(1, taken.size.output // share)) * each
            order = Order(f"{call.request_id}+{taken.again + 1}", one.claims, [more] * len(one.claims), (), 0)
            try:
                verdict = await self.counters.reserve(order)
            except UnavailableError:
                return ENDLESS if self._settings.when_unavailable == "serve" else holds
            if not verdict.reason:
                if taken.over:  # nobody needs it any more
                    self.counters.settle(order.id, (), None)
                else:
                    self._took(order, taken, more)
                return holds + more // each
        return holds

    def _cost(self, call: Call, target: Target, sent: int, received: int) -> int:
        return self._sizer.amount(call, target, Size(sent, received, exact=True)) or 0

    def _took(self, order: Order, taken: _Taken, amount: int) -> None:
        taken.again += 1
        taken.held += amount
        self.flying[order.id] = taken

    def _settle(self, call: Call, taken: _Taken | None, settled: int) -> None:
        events = call.events[settled:]
        charges = charges_of(self.charging, events)
        tokens = sum(event.usage.input_tokens + event.usage.output_tokens for event in events)
        self.counters.settle(call.request_id, charges, tokens)
        if taken is not None:
            taken.over = True
            self.flying.pop(call.request_id, None)
            for number in range(1, taken.again + 1):
                self.flying.pop(f"{call.request_id}+{number}", None)
                self.counters.settle(f"{call.request_id}+{number}", (), None)

    def _model(self, target: Target) -> str:
        served = target.served
        return self._catalog.identify(served.provider, served.model)[0]

    def _refusal(self, order: Order, verdict: Verdict, drawn: Sequence[tuple[Target, Drawn]]) -> RefusedError:
        if verdict.reason in {"budget", "reserved"}:
            claim, amount = order.claims[verdict.index], order.amounts[verdict.index]
            rule, value = next(
                pair for _, one in drawn for pair, its in zip(one.rules, one.claims, strict=True) if its == claim
            )
            scope = rule.scope.spelled(value)
            if verdict.reason == "budget":
                self.refusing[claim.counter] = (scope, f"${rule.budget.dollars:f}", rule.budget.per)
            limit = f"{scope} may spend ${rule.budget.dollars:f} per {rule.budget.per}"
            spent = f"${_short(verdict.spent)} is spent"
            could = f"this call can cost up to ${_short(amount)}"
            if verdict.reason == "reserved":
                return RefusedError(
                    429, "budget_reserved",
                    f"{limit}: {spent}, ${_short(verdict.reserved)} is reserved by calls in flight, and {could}. "
                    "Try again when they are over.", retry_after=IN_FLIGHT_SECONDS,
                )  # fmt: skip
            advice = (
                "Raise it with penstock budgets set, or wait for the next period."
                if verdict.spent >= claim.limit
                else "Ask for fewer output tokens (max_tokens), or raise it with penstock budgets set."
            )
            return RefusedError(402, "budget_exceeded", f"{limit}: {spent}, and {could}. {advice}")
        rate = order.rates[verdict.index]
        wait = verdict.wait / 1e6 if verdict.wait else IN_FLIGHT_SECONDS
        return RefusedError(
            429, "rate_limited",
            f"The limit of {rate.limit:,} {KINDS[rate.kind]} is reached. Try again in {wait:.1f} s.",
            retry_after=wait, headers=_rate_headers(order.rates, verdict),
        )  # fmt: skip

    async def renew(self, every: float) -> None:
        """Keep the leases of calls in flight, until cancelled."""
        while True:
            await asyncio.sleep(every)
            if self.flying:
                self.counters.renew(list(self.flying))


def charges_of(book: Rulebook, events: Sequence[UsageEvent]) -> list[Charge]:
    """Return what events add to which counters: in the windows in which they began."""
    charges = []
    for event in events:
        if not event.cost:
            continue
        amount, recorded = atto(event.cost), (event.recorded_at - EPOCH) // MICROSECOND
        for counter, forgotten in book.drawn(event, event.model, event.at).counters:
            charges.append(Charge(counter, amount, recorded, forgotten))
    return charges


def _left_out(call: Call, gone: Container[str], why: str) -> bool:
    """Take targets out of a call, by their keys; False: nobody would be left."""
    left = tuple(target for target in call.targets if target.key not in gone)
    if left:
        names = ", ".join(target.deployment.name for target in call.targets if target.key in gone)
        call.targets = left
        call.decisions.append(f"{why}: {names}")
    return bool(left)


def _rate_headers(rates: Sequence[Rate], verdict: Verdict) -> str:
    """Write OpenAI's headers; of several limits of a kind, the one with the least left."""
    least: dict[str, tuple[int, int, int]] = {}
    for rate, (left, reset) in zip(rates, verdict.rates, strict=False):
        if rate.kind != "concurrent" and (rate.kind not in least or left < least[rate.kind][1]):
            least[rate.kind] = rate.limit, left, reset
    return "".join(
        f"x-ratelimit-limit-{kind}: {limit}\r\nx-ratelimit-remaining-{kind}: {left}\r\n"
        f"x-ratelimit-reset-{kind}: {_span(reset)}\r\n"
        for kind, (limit, left, reset) in least.items()
    )


def _span(microseconds: int) -> str:
    """Write a time as OpenAI does: `6m0s`, `1.5s`, `120ms`."""
    milliseconds = -(-microseconds // 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return (f"{minutes}m" if minutes else "") + f"{rest / 1000:g}s"


def _short(amount: int) -> str:
    """Write dollars with as many decimals as tell small amounts apart."""
    places = 2 if amount % (ATTO // 100) == 0 else 6
    return f"{dollars_of(amount):.{places}f}"
