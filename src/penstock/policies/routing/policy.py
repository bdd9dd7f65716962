"""The policy: which deployments of a route a call goes to, and in which order."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from penstock.errors import RefusedError
from penstock.ledger.outcomes import Scored
from penstock.policies.call import Call, Reply
from penstock.policies.deployments import Cascade, Deployment, Provider, Route, Target, target_of
from penstock.policies.pipeline import Proceed
from penstock.policies.routing.answer import WIRES, read_answer
from penstock.policies.routing.asked import Asked, read_asked
from penstock.policies.routing.automatic import Signs
from penstock.policies.routing.capability import Ability, ability_of, why_not
from penstock.policies.routing.checks import why_failed
from penstock.policies.routing.classifier import Ask, Made, TierClassifier, labelled
from penstock.policies.routing.memory import USUAL_OUTPUT, Memory
from penstock.policies.routing.rates import RateCard
from penstock.policies.routing.router import LEVER, UNKNOWN, Decision, Rates, Router, conversation_of
from penstock.policies.routing.table import Key
from penstock.pricing.catalog import Catalog

Rests = Callable[[Target], bool]


class _Road(Struct):
    """One route that decides something."""

    route: Route
    router: Router | None
    """None: it only puts its deployments in order."""
    signs: Signs | None = None
    classifier: TierClassifier | None = None


class _Passing(Struct, eq=False):
    """One call on its way."""

    asked: Asked
    key: Key
    failed: dict[str, str] = {}
    """Which model's answer failed a check, and why."""


class RoutePolicy:
    """Chooses by capability, price and expected quality. Calls of other routes pass without being looked at."""

    def __init__(
        self,
        catalog: Catalog,
        routes: Sequence[Route],
        deployments: Sequence[Deployment],
        providers: Sequence[Provider],
        is_off: Callable[[str], bool] = lambda _: False,
    ) -> None:
        by_name = {row.name: row for row in providers}
        targets = {row.name: target_of(row, by_name[row.provider], declared=True) for row in deployments}
        self._abilities: dict[str, Ability] = {target.key: ability_of(target) for target in targets.values()}
        self._models = {row.name: row.model for row in deployments}
        self._rates = RateCard(catalog)
        self._turns = count()
        self.memory = Memory({one.deployment.model: self._abilities[one.key].tier for one in targets.values()})
        self.book: Callable[[Scored], object] = lambda _: None
        """Keeps an automatic score beside the ledger."""
        self.rests: Rests = lambda _: False
        """Whether a target is better left alone now."""
        self.ask: Ask | None = None
        """Asks the classifier; None: it cannot be asked here."""
        self.start: Callable[[Coroutine[Any, Any, None]], object] = lambda asking: asking.close()
        """Runs something beside the calls."""
        self._roads = {route.model: self._road(route, targets, is_off) for route in routes if decides(route)}

    def _road(self, route: Route, targets: Mapping[str, Target], is_off: Callable[[str], bool]) -> _Road:
        routing = route.routing
        if routing is None:
            return _Road(route, None)
        default = targets[routing.default or route.deployments[-1]].deployment.model
        settings = routing.classifier
        return _Road(
            route, Router(routing, default, self.memory, is_off),
            Signs(routing.automatic, self.memory.table, lambda score: self.book(score)),  # noqa: PLW0108  # it is set later
            TierClassifier(settings, targets[settings.deployment]) if settings else None,
        )  # fmt: skip

    def __call__(self, call: Call, *, proceed: Proceed) -> Awaitable[Reply]:
        """Put the targets of the call into the order in which they are to be tried."""
        road = self._roads.get(call.requested_model)
        if road is None or not call.targets:
            return proceed(call)
        if road.router is None:
            call.targets = self._in_order(
                call.targets, call.at, len(call.body) // 4, answers=call.flavour != "openai.embeddings"
            )
            return proceed(call)
        return self._routed(call, road, road.router, proceed)

    async def _routed(self, call: Call, road: _Road, router: Router, proceed: Proceed) -> Reply:
        asked = read_asked(call.body)
        classifier, signs = road.classifier, road.signs
        if signs is not None:
            signs.asked_again(call, asked)
        groups, rates = self._able(call, router, asked)
        cascade = router.routing.cascade
        checked = cascade is not None and call.flavour in WIRES and not call.head.stream
        key = router.key_of(asked, call.attribution)
        if classifier is not None and classifier.settings.mode == "on":
            key = await self._labelled(call, router, classifier, key, asked)
        decision = router.decide(
            call.request_id, asked, call.attribution, rates, call.at.timestamp(), output=call.head.output_limit,
            checked=checked, key=key,
        )  # fmt: skip
        call.targets = _ladder(decision, groups, router.default)
        call.reason = decision.reason
        call.decisions.append(f"routing: {decision.model} for {decision.key.task}, {decision.reason}")
        tags = {**call.attribution.tags, **decision.tags(router.default)}
        call.attribution = replace(call.attribution, tags=tags)
        passing = _Passing(asked, decision.key)
        if decision.then and cascade is not None:
            call.check, call.escalations = self._check(cascade, passing), cascade.steps
        reply = await proceed(call)
        self._look_back(call, reply, road, passing)
        if classifier is not None and decision.arm == "treated":
            classifier.saving += _saving(decision, router.default)
            drawn = classifier.settings.mode == "shadow" and classifier.is_drawn(call.request_id)
            if drawn and self.ask is not None and classifier.may_ask(call):
                self.start(classifier.compare(self.ask, call, decision.key, asked, self._made(call, router, decision)))
        return reply

    def _made(self, call: Call, router: Router, decision: Decision) -> Made:
        key, at = decision.key, call.at.timestamp()
        chosen = next(one for one in decision.candidates if one.name == decision.model)
        return Made(
            chosen, self.memory.table.tier(chosen.name),
            lambda tier: router.best_at(labelled(key, tier), decision.candidates, at),
        )  # fmt: skip

    async def _labelled(self, call: Call, router: Router, classifier: TierClassifier, key: Key, asked: Asked) -> Key:
        """Ask the classifier about a call that the lever may act on, as long as it is worth its cost."""
        arm, propensity, unit = router.arm(call.request_id, call.attribution, conversation_of(asked, call.attribution))
        unfit = classifier.is_too_dear or not classifier.may_ask(call) or router.is_off(str(key))
        if self.ask is None or arm != "treated" or unfit:
            return key
        tags = {
            **call.attribution.tags, "penstock.lever": LEVER, "penstock.key": str(key), "penstock.arm": arm,
            "penstock.propensity": f"{propensity:f}", "penstock.baseline": router.default,
            **({} if call.attribution.run or call.attribution.user else {"penstock.unit": unit}),
        }  # fmt: skip
        call.attribution = replace(call.attribution, tags=tags)
        return labelled(key, await classifier.tier(self.ask, call, key, asked))

    def _able(self, call: Call, router: Router, asked: Asked) -> tuple[dict[str, tuple[Target, ...]], dict[str, Rates]]:
        """Return the deployments that can take the call, by model, and what each model costs."""
        wrong: list[str] = []
        able: dict[str, list[Target]] = {}
        for target in call.targets:
            why = why_not(
                self._abilities[target.key], target, asked, output=call.head.output_limit, today=call.at.date(),
                regions=router.routing.regions,
            )  # fmt: skip
            if why:
                wrong.append(f"{target.deployment.name}: {why}")
            else:
                able.setdefault(target.deployment.model, []).append(target)
        if not able:
            raise RefusedError(
                403, "no_capable_model",
                f"No deployment of {call.requested_model} can take this call ({'; '.join(wrong)}). Ask for less, or "
                "add one that can to the route; what a model can do may be said in `can` of its [[deployments]] row.",
            )  # fmt: skip
        groups, rates = {}, {}
        for model, targets in able.items():
            groups[model] = self._in_order(tuple(targets), call.at, asked.prompt_tokens)
            rate = self._rates.of(groups[model][0], call.at, asked.prompt_tokens)
            if rate is not None:
                rates[model] = rate
        awake = {model: rate for model, rate in rates.items() if not all(map(self.rests, groups[model]))}
        if not rates:  # nothing can be compared: the one that would have served without routing does
            rates = {router.default if router.default in groups else next(iter(groups)): UNKNOWN}
        return groups, awake or rates

    def _in_order(
        self, targets: tuple[Target, ...], at: datetime, tokens: int, *, answers: bool = True
    ) -> tuple[Target, ...]:
        """Put provisioned capacity first, then the cheapest; equal ones take turns; unpriced ones come last."""
        if len(targets) == 1:
            return targets
        turn, number = next(self._turns), len(targets)
        places = [
            (*self._rank(target, at, tokens, answers), (place - turn) % number, target)
            for place, target in enumerate(targets)
        ]
        return tuple(place[-1] for place in sorted(places, key=lambda place: place[:3]))

    def _rank(self, target: Target, at: datetime, tokens: int, answers: bool) -> tuple[bool, float]:
        rate = self._rates.of(target, at, tokens, answers=answers)
        if rate is None:
            return True, 0.0
        return False, tokens * rate.input + USUAL_OUTPUT * rate.output

    def _check(self, cascade: Cascade, passing: _Passing) -> Callable[[Call, Reply], str]:
        """Return the check of a cascade; it notes what fails."""
        memory, key, question = self.memory, passing.key, passing.asked.last

        def check(call: Call, reply: Reply) -> str:
            model = call.targets[0].deployment.model
            answer = read_answer(call.flavour, reply.body)
            if answer is None:
                return ""
            why = why_failed(cascade, call, answer, lambda one: memory.pass_rate(key, model, question, one))
            memory.checked(key, model, failed=bool(why))
            if why:
                passing.failed[model] = why
            return why

        return check

    def _look_back(self, call: Call, reply: Reply, road: _Road, passing: _Passing) -> None:
        """Note who answered, how long the answer is, and what speaks against it."""
        last = call.events[-1] if call.events else None
        served = self._models.get(last.deployment, "") if last is not None and last.outcome == "ok" else ""
        if road.signs is not None:
            for model, why in passing.failed.items():
                if model != served:
                    road.signs.escalated(call, passing.key, model, why)
        if last is None or not served:
            return
        self.memory.served(call.request_id, served)
        if last.usage.output:
            self.memory.wrote(passing.key.task, last.usage.output)
        cascade = road.route.routing.cascade if road.route.routing else None
        if cascade is not None and cascade.min_pass_rate is not None and not reply.relayed and call.flavour in WIRES:
            answer = read_answer(call.flavour, reply.body)
            if answer is not None:
                self.memory.said(call.request_id, answer)
        if road.signs is not None:
            road.signs.answered(call, reply, passing.asked, passing.key, served)


def _saving(decision: Decision, default: str) -> Decimal:
    """Return what a choice is expected to save beside the default: a guess, for weighing the classifier's cost."""
    dollars = {one.name: one.dollars for one in decision.candidates}
    return Decimal(dollars[default] - dollars[decision.model]) if default in dollars else Decimal(0)


def decides(route: Route) -> bool:
    """Whether a route needs this policy."""
    return route.routing is not None or route.order == "cheapest"


def _ladder(decision: Decision, groups: dict[str, tuple[Target, ...]], default: str) -> tuple[Target, ...]:
    """Return the deployments of the chosen model, then those that come where it fails: the default's, then others'."""
    names = dict.fromkeys((decision.model, decision.then, default, *groups))
    return tuple(target for name in names for target in groups.get(name, ()))
