"""`penstock budgets`: what may be spent, how far it is, and the switch that stops it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from msgspec import structs

from penstock.cli.options import Common, answer_no, console, counted, dollars, print_json, table
from penstock.errors import InputError
from penstock.policies.budgets.rules import Budget, Rules, merged
from penstock.settings import Settings

if TYPE_CHECKING:
    from penstock.policies.budgets.desk import Burning, Desk

app = App(name="budgets", default_parameter=Parameter(show_default=False))

BAR = 20
Scopes = Annotated[
    str,
    Parameter(help='Who: "team=support", "user=*" (each user), "team=support, model=gpt-4o"; by default everything.'),
]
Per = Annotated[str, Parameter(help="hour, day, week, month (the default), total, or a rolling 90m, 24h, 30d.")]
Zone = Annotated[str, Parameter(help="Time zone in which days, weeks and months begin: Europe/Berlin.")]


def examples(*lines: str) -> str:
    """Write the examples below a command's help."""
    return "\n".join(["Examples:", "", *(f"- `penstock budgets {line}`" for line in lines)])


@app.command(
    name="set",
    help_epilogue=examples(
        "set 500", "set 100 --scope team=support", 'set 5 --scope "user=*" --per day --time-zone Europe/Berlin',
        'set 2 --scope "run=*" --per total', "set 1000 --scope app=search --soft --threshold 80 --threshold 100",
    ),
)  # fmt: skip
def set_(
    amount: Annotated[str, Parameter(help="Dollars: 100, 0.25.")],
    *,
    scope: Scopes = "everything",
    per: Per = "month",
    time_zone: Zone = "UTC",
    soft: Annotated[bool, Parameter(help="Only tell; refuse nothing.", negative="")] = False,
    threshold: Annotated[
        tuple[int, ...], Parameter(help="Per cent at which somebody is told; may be repeated. By default 50 80 100.")
    ] = (50, 80, 100),
    common: Common | None = None,
) -> None:
    """Make a budget, or change its amount. Running gateways take it within a second or so.

    What was spent in the period counts from its beginning, also before there was a budget. A budget made here goes
    before one for the same scope, period and time zone in penstock.toml.
    """
    from penstock.policies.budgets.embedded import need_redis
    from penstock.policies.budgets.store import published

    common = common or Common()
    budget = Budget(
        dollars=_dollars(amount), scope=scope, per=per, time_zone=time_zone, hard=not soft, thresholds=threshold
    )
    budget.check()

    def change(made: Rules) -> Rules:
        return structs.replace(made, budgets=(*(one for one in made.budgets if one.id != budget.id), budget))

    settings, _ = _read(common)
    running = published(settings.data)
    workers = running.workers if running else settings.server.workers
    if workers > 1 and not settings.governance.redis:
        raise InputError(need_redis(workers))
    _, rules = _change(common, change)
    if common.json:
        print_json(_row(budget, "command"))
        return
    _say(f"{_spelled(budget)}. {counted(len(rules.budgets), 'budget')} in force: penstock budgets list")


@app.command(name="list", help_epilogue=examples("list", "list --json"))
def list_(*, common: Common | None = None) -> None:
    """List budgets, limits and freezes, and where each comes from. What was made by command goes first."""
    common = common or Common()
    settings, made = _read(common)
    rows = [(one, "command") for one in made.budgets]
    known = {one.id for one in made.budgets}
    rows += [(one, "penstock.toml" if one.id not in known else "hidden") for one in settings.budgets]
    if common.json:
        print_json(
            {
                "budgets": [_row(budget, source) for budget, source in rows],
                "limits": [structs.asdict(limit) for limit in settings.limits],
                "frozen": made.frozen,
            }
        )
        return
    grid = table("scope", "limit", "per", "time zone", "kind", "tells at", "from", numbers=("limit",))
    for budget, source in rows:
        where = "penstock.toml, hidden by the one made by command" if source == "hidden" else source
        grid.add_row(
            budget.scope, dollars(budget.dollars), budget.per, budget.time_zone, "hard" if budget.hard else "soft",
            " ".join(f"{one}%" for one in budget.thresholds), where,
        )  # fmt: skip
    console.print(grid) if rows else _say("No budget. Make one with: penstock budgets set 100 --scope team=support")
    for limit in settings.limits:
        rates = ", ".join(f"{most:,} {kind}" for kind, most in limit.rates if most)
        _say(f"Limit of {limit.scope}: {rates} (penstock.toml)")
    for scope in made.frozen:
        _say(f'FROZEN: {scope}. End it with: penstock budgets unfreeze "{scope}"', "red")


@app.command(help_epilogue=examples("remove --scope team=support", 'remove --scope "user=*" --per day'))
def remove(
    *, scope: Scopes = "everything", per: Per = "month", time_zone: Zone = "UTC", common: Common | None = None
) -> None:
    """Take back a budget that was made by command. One in penstock.toml is removed there."""
    common = common or Common()
    wanted = Budget(dollars=Decimal(0), scope=scope, per=per, time_zone=time_zone)
    wanted.check()
    settings, made = _read(common)
    if wanted.id not in {one.id for one in made.budgets}:
        there = wanted.id in {one.id for one in settings.budgets}
        raise InputError(
            "That budget stands in penstock.toml: remove it there, then kill -HUP the server."
            if there
            else f"There is no budget for {scope!r} per {per} in {time_zone}: see penstock budgets list"
        )

    def change(made: Rules) -> Rules:
        return structs.replace(made, budgets=tuple(one for one in made.budgets if one.id != wanted.id))

    _change(common, change)
    if common.json:
        print_json({"removed": _row(wanted, "command")})
    else:
        _say(f"The budget of {scope} per {per} is removed.")


@app.command(help_epilogue=examples("freeze team=support", "freeze everything", "freeze run=nightly-7"))
def freeze(scope: Scopes, *, common: Common | None = None) -> None:
    """Stop all spending of a scope at once: every call in it is refused with 403. Calls under way end."""
    common = common or Common()
    with _desk(common) as desk:
        parsed = desk.freeze(scope, datetime.now(UTC))
    if common.json:
        print_json({"frozen": parsed})
    else:
        _say(f"Frozen: {parsed}. All workers refuse its calls within a second.")


@app.command(help_epilogue=examples("unfreeze team=support"))
def unfreeze(scope: Scopes, *, common: Common | None = None) -> None:
    """Let a scope spend again."""
    common = common or Common()
    with _desk(common) as desk:
        parsed = desk.unfreeze(scope)
    if common.json:
        print_json({"unfrozen": parsed})
    else:
        _say(f"{parsed} may spend again.")


@app.command(help_epilogue=examples("status", "status --json"))
def status(*, common: Common | None = None) -> None:
    """Show each budget: limit, spent, reserved by calls in flight, forecast, and any drift from the ledger.

    Exit code 1 if a counter is not what the ledger says.
    """
    common = common or Common()
    settings, _ = _read(common)
    found = _burning(settings)
    if any(one.standing.drift for one in found.budgets):  # what was settled while we looked is not drift: look again
        found = _burning(settings)
    rows, rules = [one.standing for one in found.budgets], found.rules
    drifted = any(row.drift for row in rows)
    if common.json:
        print_json({"budgets": rows, "frozen": rules.frozen, "note": found.note, "drift": drifted})
    elif not rows:
        _say(
            "No budget has any spending yet." if rules.budgets else "No budget. Make one with: penstock budgets set 100"
        )
    else:
        numbers = ("limit", "spent", "reserved", "forecast")
        grid = table("scope", "period", "", "spent", "limit", "reserved", "forecast", "state", numbers=numbers)
        for row in rows:
            forecast = "-" if row.forecast is None else dollars(row.forecast)
            state = row.state if row.hard or row.state != "used up" else "over (soft)"
            colour = {"ok": "green", "forecast over": "yellow"}.get(row.state, "red")
            drift = f", drift {row.drift:f}" if row.drift else ""
            full = min(BAR, int(row.share * BAR))
            bar = f"[{colour}]{'█' * full}[/][dim]{'░' * (BAR - full)}[/] {row.share:4.0%}"
            grid.add_row(
                row.scope.replace("[", "\\["), f"{row.per} {row.period}".strip(), bar, dollars(row.spent, 6),
                dollars(row.limit), dollars(row.reserved, 6), forecast, f"[{colour}]{state}[/]{drift}",
            )  # fmt: skip
        console.print(grid)
    if not common.json:
        for scope in rules.frozen:
            _say(f"FROZEN: {scope}", "red")
        if found.note:
            _say(found.note)
        if drifted:
            _say("Counters are not what the ledger says. Make them anew with: penstock budgets rebuild", "red")
    if drifted:
        answer_no()


@app.command(help_epilogue=examples("rebuild"))
def rebuild(*, common: Common | None = None) -> None:
    """Make every counter anew from the ledger, in Redis or in the running gateway. Calls go on meanwhile."""
    from penstock.app import ledger_for, state_for
    from penstock.policies.budgets.store import made_rules, published
    from penstock.policies.budgets.sums import ledger_sums

    common = common or Common()
    settings, made = _read(common)
    rules = merged(settings.rules, made)
    if settings.governance.redis:
        done = _shared(settings, lambda counters: _rebuild(counters, settings, rules))
        count = len(done)
    else:
        before = published(settings.data)
        if before is None:
            _say("No gateway runs on this ledger: its counters are made from the ledger when it starts.")
            return
        _change(common, lambda made: structs.replace(made, rebuild=made.rebuild + 1))
        state = state_for(settings)
        wanted = made_rules(state).rebuild
        state.close()
        deadline = time.monotonic() + 120
        while (found := published(settings.data)) is None or found.rebuilt < wanted:
            if time.monotonic() > deadline:
                raise InputError("The gateway did not answer within 120 s; its log says why.")
            time.sleep(0.2)
        with ledger_for(settings, create=False) as ledger:
            count = len(ledger_sums(ledger, rules, now=datetime.now(UTC)))
    if common.json:
        print_json({"counters": count})
    else:
        _say(f"{counted(count, 'counter')} made anew from the ledger.")


async def _rebuild(counters: Any, settings: Settings, rules: Rules) -> dict[str, tuple[int, int]]:
    from penstock.app import ledger_for
    from penstock.policies.budgets.embedded import now_us
    from penstock.policies.budgets.policy import EPOCH
    from penstock.policies.budgets.sums import ledger_sums
    from penstock.policies.budgets.upkeep import FLUSH_SECONDS

    for _ in range(100):
        cut = now_us()
        if await counters.begin_fill(cut):
            break
        await asyncio.sleep(0.5)
    else:
        raise InputError("Somebody else has been rebuilding the counters for a while; try again.")
    await asyncio.sleep(FLUSH_SECONDS)
    with ledger_for(settings) as ledger:
        at = EPOCH + timedelta(microseconds=cut)
        sums = ledger_sums(ledger, rules, now=datetime.now(UTC), cut=at)
    await counters.end_fill(cut, sums)
    return sums


def _burning(settings: Settings) -> "Burning":
    """Return how far every budget is, with the ledger's sums beside the counters."""
    from penstock.app import desk_for, ledger_for
    from penstock.policies.budgets.sums import ledger_sums

    now = datetime.now(UTC)
    with ledger_for(settings) as ledger:
        return desk_for(settings, ledger.state).burning(now, lambda rules: ledger_sums(ledger, rules, now=now))


def _read(common: Common) -> tuple[Settings, Rules]:
    """Return the settings, and the rules made by command."""
    from penstock.settings import load

    with _desk(common) as desk:
        return load(common.config, data=common.data), desk.made()


def _change(common: Common, change: Callable[[Rules], Rules]) -> tuple[Settings, Rules]:
    """Change the rules made by command; return the settings and all rules in force."""
    from penstock.settings import load

    with _desk(common) as desk:
        return load(common.config, data=common.data), desk.change(change)


@contextmanager
def _desk(common: Common) -> "Iterator[Desk]":
    from penstock.app import desk_for, state_for
    from penstock.settings import load

    settings = load(common.config, data=common.data)
    state = state_for(settings)
    try:
        yield desk_for(settings, state)
    finally:
        state.close()


def _shared(settings: Settings, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    """Ask Redis something."""
    from penstock.app import desk_for, state_for

    state = state_for(settings)
    try:
        return desk_for(settings, state).ask(ask)
    finally:
        state.close()


def _dollars(text: str) -> Decimal:
    try:
        return Decimal(text.removeprefix("$").replace(",", "").replace("_", ""))
    except InvalidOperation:
        raise InputError(f"{text!r} is no amount of dollars: write it like 100 or 0.25") from None


def _row(budget: Budget, source: str) -> dict[str, Any]:
    return {**structs.asdict(budget), "source": source}


def _spelled(budget: Budget) -> str:
    kind = "may spend" if budget.hard else "should spend"
    return f"{budget.scope} {kind} {dollars(budget.dollars)} per {budget.per}"


def _say(text: str, style: str = "") -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
