"""Both engines against one model: whatever happens in whatever order, they say and hold the same."""

import asyncio
import itertools

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from msgspec.structs import astuple, replace

from penstock.policies.budgets.counters import MINUTE, Charge, Claim, Order, Rate
from penstock.policies.budgets.embedded import EmbeddedCounters
from penstock.policies.budgets.shared import RedisCounters, connect

LEASE = 10_000_000
BEGIN = 1_000_000_000_000_000
LARGE = 3 * 10**27 + 1
"""Atto-dollars beyond what a double holds."""
LIMITS = {"a": 10, "b": LARGE, "roll": 25, "soft": 3}
CLAIMS = {
    "a": Claim("a", ("a",), LIMITS["a"], True, 0),
    "b": Claim("b", ("b",), LIMITS["b"], True, 0),
    "roll": Claim("roll", ("roll1", "roll2"), LIMITS["roll"], True, 0),
    "soft": Claim("soft", ("soft",), LIMITS["soft"], False, 0),
}
RATES = {
    "requests": Rate("k/requests", "requests", 4),
    "tokens": Rate("k/tokens", "tokens", 100),
    "concurrent": Rate("k/concurrent", "concurrent", 3),
}
AMOUNTS = {"a": st.integers(0, 12), "b": st.integers(0, LARGE), "roll": st.integers(0, 30), "soft": st.integers(0, 9)}
COUNTERS = ("a", "b", "roll", "roll1", "roll2", "soft")
_names = itertools.count()


class Model:
    """What budgets mean, as plainly as it can be said; one list of what was taken, one of what was spent."""

    def __init__(self) -> None:
        self.flying: dict[str, tuple[dict[str, int], list[Rate], int, int]] = {}
        self.spent: list[tuple[str, int, int]] = []
        self.settled: set[str] = set()
        self.levels: dict[str, tuple[int, int]] = {}
        self.now = BEGIN
        self.filled = 0

    def expire(self) -> None:
        for one in [one for one, lease in self.flying.items() if lease[3] <= self.now]:
            del self.flying[one]

    def reserved(self, counter: str) -> int:
        return sum(amounts.get(counter, 0) for amounts, *_ in self.flying.values())

    def total(self, counter: str) -> int:
        return sum(amount for name, amount, _ in self.spent if name == counter)

    def level(self, rate: Rate) -> int:
        whole = rate.limit * MINUTE
        level, at = self.levels.get(rate.counter, (whole, self.now))
        return min(whole, level + (self.now - at) * rate.limit)

    def reserve(self, order: Order) -> str:
        self.expire()
        if order.id in self.flying:
            return ""
        waits = ""
        for claim, amount in zip(order.claims, order.amounts, strict=True):
            if claim.hard:
                spent = sum(map(self.total, claim.pieces))
                if spent + amount > claim.limit:
                    return "budget"
                if spent + self.reserved(claim.counter) + amount > claim.limit:
                    waits = "reserved"
        if waits:
            return waits
        longest = -1
        for rate in order.rates:
            if rate.kind == "concurrent":
                held = sum(rate in rates for _, rates, *_ in self.flying.values())
                lacking = 0 if held >= rate.limit else -1
            else:
                lacking = -(-(self._units(rate, order.tokens) - self.level(rate)) // rate.limit)
                lacking = lacking if lacking > 0 else -1
            if lacking > longest:
                waits, longest = rate.kind, lacking
        if waits:
            return waits
        for rate in order.rates:
            if rate.kind != "concurrent":
                self.levels[rate.counter] = self.level(rate) - self._units(rate, order.tokens), self.now
        amounts = {claim.counter: amount for claim, amount in zip(order.claims, order.amounts, strict=True)}
        self.flying[order.id] = amounts, list(order.rates), order.tokens, self.now + LEASE
        return ""

    @staticmethod
    def _units(rate: Rate, tokens: int) -> int:
        return (1 if rate.kind == "requests" else min(tokens, rate.limit)) * MINUTE

    def settle(self, one: str, charges: list[Charge], tokens: int) -> None:
        self.expire_if_asked(one)
        if one in self.settled:
            return
        self.settled.add(one)
        lease = self.flying.pop(one, None)
        if lease is not None:
            for rate in lease[1]:
                if rate.kind == "tokens":
                    level = self.level(rate) + self._units(rate, lease[2]) - tokens * MINUTE
                    self.levels[rate.counter] = min(level, rate.limit * MINUTE), self.now
        self.spent += [(c.counter, c.amount, c.recorded) for c in charges if c.recorded >= self.filled]

    def expire_if_asked(self, one: str) -> None:
        """Leases end when somebody reserves or looks; a settlement that comes before that still finds its own."""


class Race(RuleBasedStateMachine):
    """Calls of many gateways in any order, with clocks, crashes and rebuildings between them."""

    calls = Bundle("calls")

    def __init__(self, url: str) -> None:
        super().__init__()
        self.model = Model()
        self.loop = asyncio.new_event_loop()
        self.client = connect(url, 10)
        self.embedded = EmbeddedCounters(lease_seconds=LEASE / 1e6, clock=lambda: self.model.now)
        self.redis = RedisCounters(
            self.client, ledger="L", prefix=f"race{next(_names)}", lease_seconds=LEASE / 1e6,
            clock=lambda: self.model.now,
        )  # fmt: skip
        self.engines = (self.embedded, self.redis)
        self.filling: int | None = None
        self.booked: list[tuple[str, int, int]] = []
        """The ledger."""
        for engine in self.engines:
            self.run(engine.begin_fill(0))
            self.run(engine.end_fill(0, {}))

    def run(self, what):
        return self.loop.run_until_complete(what)

    def tell(self, what, *arguments) -> None:
        async def told() -> None:
            what(*arguments)

        self.run(told())

    def teardown(self) -> None:
        self.run(self.redis.close())
        self.loop.close()

    @rule(
        target=calls,
        amounts=st.fixed_dictionaries({}, optional=AMOUNTS),
        rates=st.lists(st.sampled_from(sorted(RATES)), unique=True, max_size=3),
        tokens=st.integers(0, 120),
    )
    def reserve(self, amounts, rates, tokens):
        order = Order(
            f"call{next(_names)}", [CLAIMS[one] for one in amounts], list(amounts.values()),
            [RATES[one] for one in rates], tokens,
        )  # fmt: skip
        self._reserve(order)
        return order

    def _reserve(self, order):
        said = self.model.reserve(order)
        verdicts = [self.run(engine.reserve(order)) for engine in self.engines]
        assert [one.reason for one in verdicts] == [said, said]
        assert astuple(replace(verdicts[0], rates=list(verdicts[0].rates))) == astuple(verdicts[1])

    @rule(order=calls)
    def reserve_again(self, order):
        if order.id not in self.model.settled:
            self._reserve(order)

    @rule(order=calls, share=st.sampled_from([0, 1, 2]), late=st.booleans(), tokens=st.integers(0, 200))
    def settle(self, order, share, late, tokens):
        """Book and settle what a call cost: nothing, less, or all of what was reserved for it; perhaps twice."""
        taken = order.id in self.model.flying
        if not taken and order.id not in self.model.settled:
            return
        charges = []
        if order.id not in self.model.settled:
            for claim, amount in zip(order.claims, order.amounts, strict=True):
                name, cost = claim.pieces[-1], amount * share // 2
                self.booked.append((name, cost, self.model.now))
                charges.append(Charge(name, cost, self.model.now, 0))
        if late:
            self.model.now += 1
        self.model.settle(order.id, charges, tokens)
        for engine in self.engines:
            self.tell(engine.settle, order.id, charges, tokens)

    @rule(order=calls)
    def renew(self, order):
        if order.id in self.model.flying:
            amounts, rates, tokens, until = self.model.flying[order.id]
            self.model.flying[order.id] = amounts, rates, tokens, max(until, self.model.now + LEASE)
        for engine in self.engines:
            self.tell(engine.renew, [order.id])

    @rule(seconds=st.sampled_from([0.1, 1, 4, 11, 70]))
    def time_passes(self, seconds):
        """Of calls that were never settled, the leases end: their gateways are dead."""
        self.model.now += int(seconds * 1e6)
        self.model.expire()
        self.run(self.embedded.read([]))
        self.embedded.sweep()
        self.run(self.redis.read([]))

    @precondition(lambda self: self.filling is None)
    @rule()
    def begin_to_rebuild(self):
        self.model.now += 1
        self.filling = self.model.now
        assert [self.run(engine.begin_fill(self.filling)) for engine in self.engines] == [True, True]

    @precondition(lambda self: self.filling is not None)
    @rule()
    def end_of_rebuilding(self):
        sums: dict[str, tuple[int, int]] = {}
        for name, cost, recorded in self.booked:
            if recorded < self.filling:
                sums[name] = sums.get(name, (0, 0))[0] + cost, 0
        for engine in self.engines:
            self.run(engine.end_fill(self.filling, sums))
        self.model.filled, self.filling = self.filling, None

    @invariant()
    def the_counters_are_the_same_and_are_what_was_booked(self):
        found = [self.run(engine.read(COUNTERS)) for engine in self.engines]
        self.model.expire()
        wanted = [(self.model.total(name), self.model.reserved(name)) for name in COUNTERS]
        assert found == [wanted, wanted]
        booked = [sum(cost for one, cost, _ in self.booked if one == name) for name in COUNTERS]
        assert [spent for spent, _ in wanted] == booked

    @invariant()
    def no_hard_budget_is_ever_overshot(self):
        for claim in CLAIMS.values():
            if claim.hard:
                spent = sum(map(self.model.total, claim.pieces))
                assert spent + self.model.reserved(claim.counter) <= claim.limit


def test_both_engines_do_what_the_model_says(redis_server):
    run_state_machine_as_test(
        lambda: Race(redis_server.url),
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_a_thousand_reservations_at_once_from_two_gateways_take_exactly_what_there_is(redis_server):
    async def main():
        gateways = [
            RedisCounters(connect(redis_server.url, 10), ledger=name, prefix="thousand") for name in ("one", "two")
        ]
        for gateway in gateways:
            assert await gateway.begin_fill(0)
            await gateway.end_fill(0, {})
        claim = Claim("c", ("c",), 100 * 7 * 10**12, True, 0)

        async def one(number: int) -> str:
            gateway = gateways[number % 2]
            verdict = await gateway.reserve(Order(f"r{number}", [claim], [7 * 10**12], [], 0))
            return verdict.reason

        said = await asyncio.gather(*(one(number) for number in range(1000)))
        assert sorted(set(said)) == ["", "reserved"]
        assert said.count("") == 100
        for number, reason in enumerate(said):
            if not reason:
                gateways[number % 2].settle(f"r{number}", [Charge("c", 7 * 10**12, 5, 0)], 0)
        assert await gateways[0].read(["c"]) != []
        [[spent, reserved]] = await gateways[1].read(["c"])
        assert (spent, reserved) == (claim.limit, 0)
        assert (await gateways[0].reserve(Order("last", [claim], [1], [], 0))).reason == "budget"
        for gateway in gateways:
            await gateway.close()

    asyncio.run(main())


@pytest.mark.parametrize("amount", [1, 10**15 - 1, 10**15, 10**18 + 7, 10**30])
def test_amounts_beyond_a_double_come_back_as_they_were(redis_server, amount):
    async def main():
        counters = RedisCounters(connect(redis_server.url, 10), ledger="x", prefix=f"amount{amount}")
        assert await counters.begin_fill(0)
        await counters.end_fill(0, {"c": (amount, 0)})
        counters.settle("s", [Charge("c", 1, 5, 0), Charge("c", -3, 5, 0)], None)
        assert await counters.read(["c"]) == [(amount - 2, 0)]
        await counters.close()

    asyncio.run(main())
