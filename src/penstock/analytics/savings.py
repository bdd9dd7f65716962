"""What a lever has saved, and whether that is proven: dollars by randomised arms, quality by judged pairs or scores.

Nothing is claimed that is not shown: without a holdout there is no saving, without a guard of quality no proof. The
dollars are those of the ledger's attempts, and add up to the digit; only the interval is statistics.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any, Literal

from msgspec import Struct

from penstock.analytics.arms import LEAST, Difference, Unit, difference, halfwidth
from penstock.analytics.betting import alarm, bounds, log_wealth, pairs_needed, spent
from penstock.analytics.question import EXACT, trimmed
from penstock.analytics.savings_arms import Answered, KeyCosts, UnitCost, answered, costs_of
from penstock.analytics.spend import add
from penstock.errors import InputError
from penstock.ledger.levers import Standing
from penstock.ledger.outcomes import Pair, Scored

State = Literal["estimated", "measuring", "proven", "not_proven", "rolled_back"]

ATTO = Decimal(1).scaleb(-18)
ALPHA = 0.05
LOUD_ENOUGH = 2_000.0
"""How loud the alarm of a worsened model must be: one false rollback in 2,000 pairs at most, on average, of a lever
that is just as good as its margin asks; of one that is better, far fewer."""
PATIENCE = 2
"""After so many times the pairs that a certificate should need, it is not expected any more."""
USUAL_DIFFER = 0.2
"""Share of pairs in which one answer is better, taken until own pairs say it; worth `PRIOR` of them."""
PRIOR = 20.0


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is asked of a proof. No Struct: Python cannot collect a module's own Structs, and the engine complains."""

    margin: float = 0.02
    """How much lower the mean score may be than without the lever, in [0, 1] of the scale of scores."""
    alpha: float = ALPHA
    """The chance of a false proof, at whatever time one looks."""

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise InputError(f"The margin is a part of the score's scale, above 0 and below 1, not {self.margin:g}.")
        if not 0 < self.alpha < 0.5:
            raise InputError(f"The chance of a false proof is above 0 and below 0.5, not {self.alpha:g}.")


USUAL = Terms()


class Quality(Struct, frozen=True, kw_only=True):
    """How much is lost in quality: score without the lever, less score with it."""

    source: Literal["pairs", "scores", "none"]
    """`pairs`: both answers judged side by side; `scores`: what was reported of each arm's answers."""
    count: int
    """Pairs; or units with a score in the smaller arm."""
    needed: int | None
    """How many of them a certificate should take if nothing is lost; None: more than can be foreseen."""
    loss: float | None
    low: float | None
    """Holds the true loss with `high`, at every look."""
    high: float | None
    certified: bool
    """It is ruled out that more is lost than the margin."""
    breached: bool
    """It is ruled out that no more is lost than the margin; or it was so, and has become worse."""


def unknown() -> Quality:
    """Return what is known of quality where nothing was judged or scored."""
    return Quality(source="none", count=0, needed=None, loss=None, low=None, high=None, certified=False, breached=False)


class Saving(Struct, frozen=True, kw_only=True):
    """One key of a lever, or (key `*`) all of it. Dollars are exact."""

    lever: str
    key: str
    state: State
    reason: str
    """In a sentence."""
    since: datetime | None
    until: datetime | None
    control_units: int
    treated_units: int
    control_calls: int
    treated_calls: int
    control: Decimal
    """What the calls of the control arm cost."""
    treated: Decimal
    """What serving the treated arm cost: all attempts but those below."""
    lever_cost: Decimal
    """Classifiers and the like."""
    proof_cost: Decimal
    """Shadow calls and judges."""
    left_out: Decimal
    """Of units that changed arms, or of which no answer came: they count in neither."""
    ledger: Decimal
    """All of it: the sum of the ledger's attempts."""
    baseline: Decimal | None
    """What the treated units would have cost without the lever, as the control arm says."""
    net: Decimal | None
    """Baseline - treated - lever_cost - proof_cost: below 0 the lever costs more than it saves."""
    low: Decimal | None
    """Holds the true net saving with `high`, at every look, with a probability of 1 - alpha."""
    high: Decimal | None
    heaviest: float
    """Share of the dearest unit in its arm: the interval means little where one unit is much of it."""
    unpriced: int
    """Attempts without a price: while there are any, nothing is proven."""
    quality: Quality


def savings(
    source: Any,
    *,
    pairs: Sequence[Pair] = (),
    scores: Sequence[Scored] = (),
    standings: Mapping[tuple[str, str], Standing] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    terms: Terms = USUAL,
) -> list[Saving]:
    """Say of each lever and key what was saved, and of each lever with several keys the same of all together.

    `source` is a `Ledger.moment()` or any Ibis table of events.
    """
    known = standings or {}
    costs = costs_of(source, since=since, until=until)
    judged = qualities(source, pairs=pairs, scores=scores, standings=known, since=since, until=until, terms=terms)
    names = sorted({*costs, *judged, *known})
    found: list[Saving] = []
    for lever in dict.fromkeys(lever for lever, _ in names):
        mine = [name for name in names if name[0] == lever]
        parts = [
            _saving(name, costs.get(name, KeyCosts()), judged.get(name) or unknown(), known.get(name), terms)
            for name in mine
        ]
        found += parts
        if len(parts) > 1:
            found.append(_whole(lever, [costs[name] for name in mine if name in costs], parts, terms))
    return found


def qualities(
    source: Any,
    *,
    pairs: Sequence[Pair],
    scores: Sequence[Scored],
    standings: Mapping[tuple[str, str], Standing],
    since: datetime | None = None,
    until: datetime | None = None,
    terms: Terms = USUAL,
) -> dict[tuple[str, str], Quality]:
    """Say how much is lost, of each lever and key with pairs or scores. Without scores the ledger is not asked."""
    begun = {name: one.at for name, one in standings.items() if one.state == "on"}
    judged: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        start = begun.get((pair.lever, pair.key), since)
        if (start is None or pair.at >= start) and (until is None or pair.at < until):
            judged[pair.lever, pair.key].append(pair)
    requests = answered(source, {one.request_id for one in scores}, since=since, until=until)
    counted = _counted(scores, requests, begun)
    return {
        name: quality_of(judged.get(name, ()), counted.get(name, {}), terms, times=_times(standings.get(name)))
        for name in sorted({*judged, *counted})
    }


def _times(standing: Standing | None) -> int:
    return standing.times if standing is not None else 1


def _saving(
    name: tuple[str, str], costs: KeyCosts, quality: Quality, standing: Standing | None, terms: Terms
) -> Saving:
    figures = _dollars(costs.units.values(), terms)
    state, reason = _judged(figures, quality, standing, terms)
    since, until = (at.replace(tzinfo=UTC) if at else None for at in (costs.since, costs.until))
    return Saving(
        lever=name[0], key=name[1], state=state, reason=reason, since=since, until=until, quality=quality, **figures
    )


def _whole(lever: str, costs: Sequence[KeyCosts], parts: Sequence[Saving], terms: Terms) -> Saving:
    """Add up the keys of a lever; a unit that comes under several is one unit."""
    units: dict[str, UnitCost] = {}
    for key in costs:
        for name, one in key.units.items():
            units[name] = _joined(units.get(name), one)
    states = [part.state for part in parts if part.state != "estimated"]
    figures = _dollars(units.values(), terms)
    proven = [part for part in parts if part.state == "proven"]
    state: State = "estimated"
    if states:
        state = "proven" if len(proven) == len(states) and (figures["low"] or 0) > 0 else "measuring"
        if all(one in ("not_proven", "rolled_back") for one in states):
            state = "not_proven"
    since, until = [part.since for part in parts if part.since], [part.until for part in parts if part.until]
    return Saving(
        lever=lever, key="*", state=state, reason=f"{len(proven)} of {len(parts)} keys are proven",
        since=min(since, default=None), until=max(until, default=None), quality=unknown(), **figures,
    )  # fmt: skip


def _joined(one: UnitCost | None, other: UnitCost) -> UnitCost:
    if one is None:
        return other
    arms = {one.arm, other.arm} - {""}
    return UnitCost(
        arm=arms.pop() if len(arms) == 1 else "both" if arms else "",
        propensity=one.propensity if one.arm else other.propensity,
        serving=add((one.serving, other.serving)), lever=add((one.lever, other.lever)),
        proof=add((one.proof, other.proof)), calls=one.calls + other.calls, unpriced=one.unpriced + other.unpriced,
    )  # fmt: skip


def _dollars(units: Collection[UnitCost], terms: Terms) -> dict[str, Any]:
    """Add up the arms, and compare them; each dollar of the ledger stands in exactly one of the sums."""
    control = [one for one in units if one.arm == "control"]
    treated = [one for one in units if one.arm == "treated"]
    others = [one for one in units if one.arm in ("both", "")]
    counted = (*control, *treated)
    sums = {
        "control": add(one.serving for one in control),
        "treated": add(one.serving for one in treated),
        "lever_cost": add(one.lever for one in counted),
        "proof_cost": add(one.proof for one in counted),
        "left_out": add(amount for one in others for amount in (one.serving, one.lever, one.proof)),
    }
    arms = [Unit("control", one.propensity, one.serving) for one in control]
    arms += [Unit("treated", one.propensity, add((one.serving, one.lever, one.proof))) for one in treated]
    found = difference(arms, terms.alpha)
    money = {name: trimmed(amount) for name, amount in sums.items()}
    return money | _net(found, sums, add(amount for one in control for amount in (one.lever, one.proof))) | {
        "ledger": trimmed(add(sums.values())),
        "control_units": len(control), "treated_units": len(treated),
        "control_calls": sum(one.calls for one in control), "treated_calls": sum(one.calls for one in treated),
        "unpriced": sum(one.unpriced for one in units), "heaviest": found.heaviest,
    }  # fmt: skip


def _net(found: Difference, sums: Mapping[str, Decimal], beside: Decimal) -> dict[str, Decimal | None]:
    """Return baseline, net saving and its interval; `beside` is what the lever cost in the control arm."""
    if found.baseline is None or not found.treated:
        return dict.fromkeys(("baseline", "net", "low", "high"))
    baseline = dollars(found.baseline * found.treated)
    used = add((sums["treated"], sums["lever_cost"], sums["proof_cost"]))
    interval = [
        None if end is None else dollars(Fraction(end) * found.treated - Fraction(beside))
        for end in (found.low, found.high)
    ]
    return {
        "baseline": trimmed(baseline), "net": trimmed(EXACT.subtract(baseline, used)),
        "low": interval[0], "high": interval[1],
    }  # fmt: skip


def dollars(amount: Fraction) -> Decimal:
    """Round once, to the 18 decimals of the ledger."""
    scaled = round(amount * 10**18)
    return Decimal(scaled).scaleb(-18, context=EXACT).quantize(ATTO, rounding=ROUND_HALF_EVEN, context=EXACT)


# Quality


def quality_of(
    pairs: Sequence[Pair], scores: Mapping[str, tuple[Answered, float]], terms: Terms, *, times: int = 1
) -> Quality:
    """Judge what is lost, by pairs where there are any, else by what was reported of both arms.

    `scores` holds for each unit where it stands, and its mean score. `times` says which attempt at a proof it is.
    """
    alpha = spent(terms.alpha, times)
    if pairs:
        return _by_pairs([pair.loss for pair in pairs], terms, alpha)
    arms = [Unit(where.arm, where.propensity, Decimal(score)) for where, score in scores.values()]  # type: ignore[arg-type]  # looked up by arm
    return _by_scores(arms, terms, alpha)


def _by_pairs(losses: Sequence[float], terms: Terms, alpha: float) -> Quality:
    seen = Counter(losses)
    low, high = bounds(seen, alpha)
    mirrored = {-loss: count for loss, count in seen.items()}
    breached = log_wealth(mirrored, -terms.margin) >= -math.log(terms.alpha)
    return Quality(
        source="pairs", count=len(losses), needed=foreseen(seen, terms.margin, alpha),
        loss=sum(losses) / len(losses), low=low, high=high,
        certified=log_wealth(seen, terms.margin) >= -math.log(alpha),
        breached=breached or alarm(losses, terms.margin) >= LOUD_ENOUGH,
    )  # fmt: skip


def foreseen(seen: Mapping[float, int], margin: float, alpha: float, *, differ: float = USUAL_DIFFER) -> int | None:
    """Return how many pairs a certificate should take if nothing is lost, by how often pairs differ."""
    weights: dict[float, float] = defaultdict(float)
    weights[0.0] = PRIOR * (1 - differ)
    weights[1.0] = weights[-1.0] = PRIOR * differ / 2
    for loss, count in seen.items():
        weights[loss] += count / 2
        weights[-loss] += count / 2
    return pairs_needed(weights, margin, alpha=alpha)


def _by_scores(units: Sequence[Unit], terms: Terms, alpha: float) -> Quality:
    found = difference(units, 2 * alpha)  # each end is used alone: what is certified, or what is taken back
    count = min(found.treated, found.control)
    loss = float(found.difference) if found.difference is not None else None
    needed = None
    if found.high is not None and loss is not None:
        # Here the width shrinks as the root of the number, or so: doubled until it is small enough.
        wide, more = found.high - loss, count
        total = found.treated + found.control
        unit = halfwidth(total, 1.0, 2 * alpha)
        while wide * halfwidth(total * more // count, 1.0, 2 * alpha) / unit > terms.margin and more < 10**9:
            more = more * 5 // 4
        needed = more
    return Quality(
        source="scores" if units else "none", count=count, needed=needed, loss=loss, low=found.low, high=found.high,
        certified=found.high is not None and found.high < terms.margin,
        breached=found.low is not None and found.low > terms.margin,
    )  # fmt: skip


def _counted(
    scores: Iterable[Scored], requests: Mapping[str, Answered], begun: Mapping[tuple[str, str], datetime]
) -> dict[tuple[str, str], dict[str, tuple[Answered, float]]]:
    """Return the mean score of each unit, by lever and key. Who reports a score must be who made the request."""
    found: dict[tuple[str, str], dict[str, list[tuple[Answered, float]]]] = defaultdict(lambda: defaultdict(list))
    for one in scores:
        where = requests.get(one.request_id)
        if where is None or not may_score(one, where.payer):
            continue
        start = begun.get((where.lever, where.key))
        if start is None or one.at >= start:
            found[where.lever, where.key][where.unit].append((where, one.score))
    return {
        name: {unit: (some[0][0], sum(score for _, score in some) / len(some)) for unit, some in units.items()}
        for name, units in found.items()
    }


def may_score(one: Scored, payer: tuple[str, str]) -> bool:
    """Tell whether a score may count: by the key of the request, or one of its team; of a call without key, by all."""
    key, team = payer
    return one.key == key or not key or bool(team and one.team == team)


# The state


def _judged(figures: Mapping[str, Any], quality: Quality, standing: Standing | None, terms: Terms) -> tuple[State, str]:
    """Say where the proof is, and why."""
    low, high, net = figures["low"], figures["high"], figures["net"]
    if standing is not None and standing.state == "rolled_back":
        return "rolled_back", standing.reason or "it was taken back"
    if quality.breached:
        return "not_proven", "answers are worse than the margin allows, so the lever is being taken back"
    if not figures["control_units"] or not figures["treated_units"]:
        return "estimated", "there is no holdout to compare with"
    if figures["unpriced"]:
        return "measuring", f"attempts without a price: {figures['unpriced']:,}; set it with: penstock prices set"
    if quality.certified and low is not None and low > 0:
        return "proven", f"quality is at most {terms.margin:g} lower, and the saving is above zero"
    if high is not None and high < 0:
        return "not_proven", "it costs more than it saves"
    over = quality.needed is not None and quality.count > PATIENCE * quality.needed
    if over and not quality.certified:
        return "not_proven", f"after {quality.count:,} {quality.source}, a loss beyond the margin is still possible"
    return "measuring", _waiting(figures, quality, net)


def _waiting(figures: Mapping[str, Any], quality: Quality, net: Decimal | None) -> str:
    """Say what a proof waits for."""
    if quality.source == "none" and figures["proof_cost"]:
        return "shadow calls were paid for, and no pair was judged: see whether the judge answers as it is asked to"
    if quality.source == "none":
        return "nothing says how good the answers are: sample shadow pairs, or report outcomes"
    if quality.source == "scores" and quality.count < LEAST:
        return f"{quality.count:,} of at least {LEAST} scored units in the smaller arm"
    if not quality.certified:
        needed = f"about {quality.needed:,}" if quality.needed is not None else "an unknown number"
        return f"{quality.count:,} of {needed} {quality.source if quality.source == 'pairs' else 'scored units'}"
    smaller = min(figures["control_units"], figures["treated_units"])
    if smaller < LEAST:
        return f"{smaller:,} of at least {LEAST} units in the smaller arm"
    return "the saving cannot be told from zero yet" if (net or 0) > 0 else "no saving shows yet"
