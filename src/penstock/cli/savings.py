"""`penstock savings`: what levers have saved, whether that is proven, and what a proof takes."""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, answer_no, console, counted, dollars, print_json

if TYPE_CHECKING:
    from penstock.analytics.savings import Saving

HELP = """
A lever acts on a part of the traffic, and is left off for the rest, drawn by conversation or user. Net saving: what the
treated calls would have cost, as the others say, less what they cost, less classifiers, judges and shadow calls. The
interval holds at every look. Without a holdout a figure is an estimate; without a guard of quality nothing is proven.

Examples:

- `penstock savings`
- `penstock savings --from month --check`
- `penstock savings --json`
"""
STATES = {"estimated": "dim", "measuring": "cyan", "proven": "green", "not_proven": "yellow", "rolled_back": "red"}

app = App(name="savings", help_epilogue=HELP, default_parameter=Parameter(show_default=False))
app.command(
    "penstock.cli.savings_rightsize:app", name="rightsize", help="Say which routes may move to a smaller model."
)
app.command(
    "penstock.cli.savings_classifier:app", name="classifier",
    help="Say what the classifier in the shadow has shown.",
)  # fmt: skip
app.command(
    "penstock.cli.savings_outcomes:app", name="outcomes",
    help="List what came of answers: reported scores and automatic outcomes.",
)  # fmt: skip


@app.default
def savings(
    *,
    from_: Annotated[str, Parameter(name="--from", help="Since when: 2026-03-14, 30d, month; by default all.")] = "",
    to: Annotated[str, Parameter(help="Until when: 2026-03-31, today, ...")] = "",
    lever: Annotated[str, Parameter(help="Only this lever.")] = "",
    details: Annotated[bool, Parameter(help="Also how the dollars come about.", negative="")] = False,
    check: Annotated[bool, Parameter(help="Exit with 1 unless every key is proven.", negative="")] = False,
    common: Common | None = None,
) -> None:
    """Say what each lever has saved, net of its own cost, and whether that is proven."""
    from penstock.analytics import periods
    from penstock.analytics.savings_book import savings_of
    from penstock.app import ledger_for, terms_of
    from penstock.metering.event import utc_now
    from penstock.settings import load

    common = common or Common()
    settings, now = load(common.config, data=common.data), utc_now()
    terms = terms_of(settings)
    since, until = periods.between(from_, to, now)
    with ledger_for(settings, create=False) as ledger:
        found = [one for one in savings_of(ledger, since=since, until=until, terms=terms) if lever in ("", one.lever)]
    if common.json:
        print_json(
            {"margin": terms.margin, "confidence": 1 - terms.alpha, "from": since, "to": until, "savings": found}
        )
    else:
        _show(found, details=details, margin=terms.margin, confidence=1 - terms.alpha)
    if check and not (found and all(one.state == "proven" for one in found if one.key != "*")):
        answer_no()


def _show(found: "list[Saving]", *, details: bool, margin: float, confidence: float) -> None:
    if not found:
        console.print("No lever has decided about a call yet.")
        return
    for one in found:
        _say_one(one)
    console.print(
        f"Proven: with {confidence:.0%} confidence, however often one looks, the saving is above zero, and with the "
        f"same confidence the mean score is at most {margin:g} lower.", style="dim", highlight=False, soft_wrap=True,
    )  # fmt: skip
    if details:
        for one in found:
            _say_details(one)


def _say_one(one: "Saving") -> None:
    state = f"[{STATES[one.state]}]{one.state.replace('_', ' ')}[/]"
    name = "all keys" if one.key == "*" else one.key
    console.print(f"[bold]{escape(one.lever)}[/], {escape(name)}: {state}, {escape(one.reason)}", soft_wrap=True)
    if one.net is not None and one.baseline is not None:
        said = f"  net saving {dollars(one.net)} of {dollars(one.baseline)}"
        if one.low is not None and one.high is not None:
            said += f", {dollars(one.low)} to {dollars(one.high)}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    quality = one.quality
    if quality.loss is not None:
        said = f"  quality lost {quality.loss:+.1%}"
        if quality.low is not None and quality.high is not None:
            said += f", {quality.low:+.1%} to {quality.high:+.1%}"
        said += f", by {counted(quality.count, 'judged pair' if quality.source == 'pairs' else 'scored unit')}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)


def _say_details(one: "Saving") -> None:
    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"\n{one.lever}, {one.key}:")
    for sign, name, amount in (
        (" ", "control arm", one.control), ("+", "treated arm", one.treated), ("+", "classifiers", one.lever_cost),
        ("+", "shadow and judge", one.proof_cost), ("+", "left out", one.left_out), ("=", "in the ledger", one.ledger),
    ):  # fmt: skip
        say(f"  {sign} {name:22} ${amount}")
    control = f"{counted(one.control_units, 'unit')} and {counted(one.control_calls, 'call')}"
    treated = f"{counted(one.treated_units, 'unit')} and {counted(one.treated_calls, 'call')}"
    say(f"  {control} in the control arm, {treated} in the treated one")
    if one.baseline is not None:
        say(f"  without the lever the treated ones would have cost ${one.baseline}: saved, net, ${one.net}")
    if one.heaviest > 0.1:
        say(f"  one unit is {one.heaviest:.0%} of its arm: mistrust the interval")


@app.command(
    name="plan",
    help_epilogue="Examples:\n\n- `penstock savings plan`\n- `penstock savings plan --differ 0.1 --pair-cost 0.005`\n"
    "- `penstock savings plan --margin 0.05 --calls-per-day 2000 --shadow 0.1 --json`",
)
def plan(
    *,
    margin: Annotated[float, Parameter(help="How much lower the mean score may be; by default 0.02.")] = 0.02,
    differ: Annotated[float, Parameter(help="Share of pairs in which one answer is better; by default 0.2.")] = 0.2,
    loss: Annotated[float, Parameter(help="What is truly lost; by default 0.")] = 0.0,
    confidence: Annotated[float, Parameter(help="Of the proof; by default 0.95.")] = 0.95,
    pair_cost: Annotated[Decimal, Parameter(help="Dollars of a pair, with its judge; by default 0.")] = Decimal(0),
    calls_per_day: Annotated[int, Parameter(help="Calls a day that the lever sends elsewhere; by default 0.")] = 0,
    shadow: Annotated[float, Parameter(help="Share of them that is sampled; by default 0.05.")] = 0.05,
    common: Common | None = None,
) -> None:
    """Say how many judged pairs a certificate will take, what they cost, and how many days that is."""
    from math import ceil

    from penstock.analytics.betting import pairs_needed, spent
    from penstock.analytics.savings import Terms
    from penstock.errors import InputError

    common = common or Common()
    if not 0.5 < confidence < 1:
        raise InputError(f"--confidence is above 0.5 and below 1, such as 0.95, not {confidence:g}.")
    terms = Terms(margin=margin, alpha=round(1 - confidence, 12))
    if not 0 < differ <= 1 or not -differ <= loss <= differ:
        raise InputError("--differ is a share above 0 and at most 1, and --loss lies between -differ and differ.")
    if not pair_cost.is_finite() or pair_cost < 0 or calls_per_day < 0 or not 0 < shadow <= 1:
        raise InputError("--pair-cost and --calls-per-day are not below 0, and --shadow is a share above 0.")
    losses = {1.0: (differ + loss) / 2, -1.0: (differ - loss) / 2, 0.0: 1 - differ}
    needed = pairs_needed(losses, terms.margin, alpha=spent(terms.alpha, 1))
    days = ceil(needed / (calls_per_day * shadow)) if needed and calls_per_day else None
    cost = needed * pair_cost if needed else None
    if common.json:
        print_json({"pairs": needed, "cost": cost, "days": days, "feasible": needed is not None, "power": 0.8})
    elif needed is None:
        console.print(f"No number of pairs is enough: {loss:g} is lost, and {margin:g} is allowed.", highlight=False)
    else:
        said = f"About {needed:,} judged pairs, with a chance of 80 % that they are enough"
        said += f", for {dollars(cost, 2)}" if cost else ""
        said += f", in {counted(days, 'day')}" if days else ""
        console.print(f"{said}.", highlight=False, soft_wrap=True)
    if needed is None:
        answer_no()


@app.command(
    name="resume", help_epilogue="Examples:\n\n- `penstock savings resume routing 'support|chat|summarization'`"
)
def resume_(lever: str, key: str, /, *, common: Common | None = None) -> None:
    """Let a lever that was taken back act again for a key; its proof begins anew, and has to be surer."""
    from penstock.app import state_for
    from penstock.ledger.levers import resume
    from penstock.metering.event import utc_now
    from penstock.settings import load

    common = common or Common()
    state = state_for(load(common.config, data=common.data), create=False)
    try:
        standing = resume(state, lever, key, at=utc_now())
    finally:
        state.close()
    if common.json:
        print_json(standing)
    else:
        console.print(f"{escape(lever)} acts again for {escape(key)}; this is proof number {standing.times}.")


@app.command(
    name="rollback",
    help_epilogue="Examples:\n\n- `penstock savings rollback routing 'support|chat|summarization' --reason tone`",
)
def rollback(
    lever: str,
    key: str,
    /,
    *,
    reason: Annotated[str, Parameter(help="Why, for those who read it later.")] = "by hand",
    common: Common | None = None,
) -> None:
    """Take a lever back for a key by hand; running workers see it within a second."""
    from penstock.app import state_for
    from penstock.errors import InputError
    from penstock.ledger.levers import roll_back
    from penstock.metering.event import utc_now
    from penstock.policies.routing.router import LEVER
    from penstock.policies.routing.table import Key
    from penstock.settings import load

    common = common or Common()
    if lever != LEVER:
        raise InputError(f"There is no lever {lever!r} that could be taken back, only {LEVER}.")
    try:
        Key.read(key)
    except ValueError:
        raise InputError(
            f"{key!r} is no key of {LEVER}: name it as penstock savings lists it, such as 'support|chat|summarization'."
        ) from None
    state = state_for(load(common.config, data=common.data), create=False)
    try:
        done = roll_back(state, lever, key, reason=reason, at=utc_now())
    finally:
        state.close()
    if common.json:
        print_json({"lever": lever, "key": key, "rolled_back": True, "changed": done})
    else:
        console.print(f"{escape(lever)} {'is' if done else 'was already'} taken back for {escape(key)}.")
