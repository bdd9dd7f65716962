"""One route's router: key, table, choice. It knows no network; the same state and the same request choose alike."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from hashlib import blake2b
from math import isnan, nan

from msgspec import Struct, structs

from penstock.metering.attribution import Attribution
from penstock.policies.deployments import Routing
from penstock.policies.holdout import Arm, assign, unit_of
from penstock.policies.routing.asked import Asked
from penstock.policies.routing.choice import Candidate, best_of, choose, worth
from penstock.policies.routing.memory import Memory
from penstock.policies.routing.table import Key
from penstock.policies.routing.tasks import task_of

LEVER = "routing"
CACHED_FROM = 1024
"""Tokens from which providers keep a prompt's beginning in a cache."""
ENOUGH_CHECKS = 20
"""Answers checked at a key, from which the share that fails is believed."""
MOST_NAMED = 8
"""Candidates that the ledger keeps of a decision."""


class Rates(Struct, frozen=True, gc=False):
    """Dollars a token, for choosing; exact prices are for bills."""

    input: float
    cached: float
    output: float


UNKNOWN = Rates(nan, nan, nan)
"""Of a model without a price: it can be served, and not be compared."""


class Decision(Struct, frozen=True):
    """What was decided about a call, and everything that is needed to judge it later."""

    model: str
    key: Key
    arm: str
    arm_propensity: str
    propensity: float
    """Of the model, inside the arm."""
    reason: str
    candidates: tuple[Candidate, ...]
    then: str = ""
    """The model that is asked where the answer fails a check; empty: it is not checked."""
    unit: str = ""
    """What was drawn into the arm, where neither run nor user says it: a fingerprint of the conversation."""

    def tags(self, baseline: str) -> dict[str, str]:
        """Return what the ledger keeps of it."""
        said = ",".join(
            f"{one.name}={one.quality:.3f}@{'unknown' if isnan(one.dollars) else f'{one.dollars:.6f}'}"
            for one in self.candidates[:MOST_NAMED]
        )
        named = {"penstock.unit": self.unit} if self.unit else {}
        return named | {
            "penstock.lever": LEVER, "penstock.key": str(self.key), "penstock.arm": self.arm,
            "penstock.propensity": self.arm_propensity, "penstock.model_propensity": f"{self.propensity:.4f}",
            "penstock.baseline": baseline, "penstock.candidates": said,
        }  # fmt: skip


class Router:
    """Decides for one route."""

    def __init__(
        self, routing: Routing, default: str, memory: Memory, is_off: Callable[[str], bool] = lambda _: False
    ) -> None:
        """`default` is the model that serves what nothing is known of; `is_off`: whether a key was rolled back."""
        self.routing, self.default, self.memory, self.is_off = routing, default, memory, is_off
        self._worth = float(routing.answer_worth)

    def decide(
        self,
        request_id: str,
        asked: Asked,
        who: Attribution,
        rates: dict[str, Rates],
        at: float,
        *,
        output: int | None = None,
        checked: bool = False,
        key: Key | None = None,
    ) -> Decision:
        """Choose one of the models in `rates`, of which there is at least one.

        `at` is in seconds since 1970; `output`: tokens that the answer may have; `checked`: a cascade could follow;
        `key`: where another than `key_of` is known.
        """
        memory = self.memory
        key = key or self.key_of(asked, who)
        conversation = conversation_of(asked, who)
        arm, probable, unit = self.arm(request_id, who, conversation)
        current = memory.model_of(conversation) if asked.turns > 1 and conversation else ""
        written = self.memory.length(key.task)
        written = written if output is None else min(written, output)
        candidates = self._candidates(key, asked, rates, at, current=current, written=written)
        alone = {one.name: one for one in candidates}
        propensity, then = 1.0, ""
        if current in alone and (asked.in_tool_loop or asked.stored):
            chosen, reason = current, "tool loop" if asked.in_tool_loop else "kept by its provider"
        elif self.default in alone and (why := self._why_default(key, arm)):
            chosen, reason = self.default, why
        elif current in alone:
            better = best_of(candidates, self._worth)
            stays = better.name == current or worth(better, self._worth) <= worth(alone[current], self._worth)
            chosen, reason = (current, "same conversation") if stays else (better.name, "worth the switch")
        else:
            after = self._after(candidates) if checked else {}
            offered = [self._cascade(key, one, after[one.name]) if one.name in after else one for one in candidates]
            choice = choose(offered, self._worth, explore=self.routing.explore, seed=conversation or request_id)
            chosen, propensity, reason = choice.candidate.name, choice.propensity, choice.reason
            then = after[chosen].name if chosen in after and reason != "exploring" else ""
        memory.decided(request_id, key, asked.last, chosen, (who.key, who.team))
        memory.went_to(conversation, chosen)
        named = "" if who.run or who.user else unit
        return Decision(chosen, key, arm, f"{probable:f}", propensity, reason, tuple(candidates), then, named)

    def best_at(self, key: Key, candidates: Sequence[Candidate], at: float) -> Candidate:
        """Return who would be chosen if a call had that key, without holdout, exploring and conversation."""
        table = self.memory.table
        return best_of([structs.replace(one, quality=table.quality(key, one.name, at).mean) for one in candidates],
                       self._worth)  # fmt: skip

    def arm(self, request_id: str, who: Attribution, conversation: str) -> tuple[Arm, Decimal, str]:
        """Say in which arm of the holdout a call is, how probable that was, and what was drawn."""
        unit = unit_of(who.run, who.user, conversation or request_id)
        return *assign(unit, LEVER, self.routing.holdout, self.routing.salt), unit

    def _why_default(self, key: Key, arm: str) -> str:
        if arm == "control":
            return "holdout"
        if self.is_off(str(key)):
            return "rolled back"
        return "nothing known of this key" if key.task == "unknown" and not self.memory.table.knows(key) else ""

    def _candidates(
        self, key: Key, asked: Asked, rates: dict[str, Rates], at: float, *, current: str, written: float
    ) -> list[Candidate]:
        by_words = self.memory.by_words(key, asked.last, tuple(rates))
        candidates = []
        for name, rate in rates.items():
            quality = by_words.get(name)
            if quality is None:
                quality = self.memory.table.quality(key, name, at).mean
            kept = name == current and asked.prompt_tokens >= CACHED_FROM
            # Who leaves a conversation pays the full price for what its model has in its cache.
            dollars = asked.prompt_tokens * (rate.cached if kept else rate.input) + written * rate.output
            candidates.append(Candidate(name, quality, dollars))
        return candidates

    def _after(self, candidates: list[Candidate]) -> dict[str, Candidate]:
        """Say for each model which dearer one is asked where its answer fails a check: the one that is worth most."""
        after = {}
        for one in candidates:
            dearer = [other for other in candidates if other.dollars > one.dollars and other.quality >= one.quality]
            if dearer:
                after[one.name] = best_of(dearer, self._worth)
        return after

    def _cascade(self, key: Key, first: Candidate, then: Candidate) -> Candidate:
        """Wrong answers that a check finds are worth those of the better model; both are paid for.

        That a check finds wrong answers is believed once it has been seen often enough, and never of more of them than
        there are.
        """
        fails, seen = self.memory.failures(key, first.name)
        found = min(fails, 1 - first.quality) if seen >= ENOUGH_CHECKS else 0.0
        return Candidate(first.name, first.quality + found * then.quality, first.dollars + fails * then.dollars)

    def key_of(self, asked: Asked, who: Attribution) -> Key:
        """Name what this call has in common with others."""
        place = who.feature or who.app or _fingerprint(asked.system, *sorted(asked.tools))
        return Key(_plain(who.team or who.key), _plain(place), task_of(asked))


def conversation_of(asked: Asked, who: Attribution) -> str:
    """Name a conversation: as the caller does, or by how it began. Empty: there is nothing to name it by."""
    return who.run or (_fingerprint(who.team, who.user, asked.system, asked.first) if asked.first else "")


def _fingerprint(*parts: str) -> str:
    if not any(parts):
        return ""
    said = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return blake2b(said, digest_size=6).hexdigest()


def _plain(name: str) -> str:
    """Keep the character free that stands between the parts of a key."""
    return name.replace("|", "/")
