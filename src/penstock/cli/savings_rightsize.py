"""`penstock savings rightsize`: which routes may move to a smaller model, and the one command that lets one try."""

import os
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, console, dollars, print_json, table

if TYPE_CHECKING:
    from penstock.optimization.rightsizing import RightSize
    from penstock.settings import Settings

HELP = """
Holds what each route costs against the cheaper deployments of the settings: the saving is an estimate (the same tokens
at the other price), the quality is what judged pairs say of it. `--apply ROUTE` puts the deployment into the route and
lets routing act behind a holdout, so that the saving is proven or taken back; the settings file keeps its comments.

Examples:

- `penstock savings rightsize`
- `penstock savings rightsize --from 30d --json`
- `penstock savings rightsize --apply support --to mini --holdout 0.1`
"""
TENTH = Decimal("0.1")
STYLES = {"proven": "green", "measuring": "cyan", "untried": "dim", "worse": "red"}

app = App(name="rightsize", help_epilogue=HELP, default_parameter=Parameter(show_default=False))


@app.default
def rightsize(
    *,
    from_: Annotated[str, Parameter(name="--from", help="Since when: 30d, month, 2026-03-14; by default 30d.")] = "30d",
    apply: Annotated[str, Parameter(help="The route to change in the settings file.")] = "",
    to: Annotated[str, Parameter(help="The deployment it may move to; by default the best one listed.")] = "",
    holdout: Annotated[Decimal, Parameter(help="Share of conversations left as they are; by default 0.1.")] = Decimal(
        "0.1"
    ),
    common: Common | None = None,
) -> None:
    """Say which routes may move to a smaller model, and let one try."""
    from penstock.analytics import periods
    from penstock.analytics.savings_book import evidence
    from penstock.app import catalog_for, ledger_for, terms_of
    from penstock.errors import InputError
    from penstock.metering.event import utc_now
    from penstock.optimization.rightsizing import rightsizing
    from penstock.settings import load

    common = common or Common()
    if not 0 < holdout < 1:
        raise InputError(f"--holdout is a share above 0 and below 1, not {holdout}.")
    if to and not apply:
        raise InputError("--to goes with --apply ROUTE.")
    settings, now = load(common.config, data=common.data), utc_now()
    with ledger_for(settings, create=False) as ledger:
        found = rightsizing(
            ledger.moment(), catalog_for(settings).load(), now, providers=settings.providers,
            deployments=settings.deployments, pairs=evidence(ledger)[0], since=periods.since(from_, now),
            terms=terms_of(settings),
        )  # fmt: skip
    if apply:
        fitting = [one for one in found if one.route == apply and to in ("", one.to_deployment)]
        _apply(settings, _chosen(fitting, apply, to), holdout, common)
    elif common.json:
        print_json({"from": periods.since(from_, now), "routes": found})
    else:
        _show(found, has_deployments=bool(settings.deployments))


def _show(found: "list[RightSize]", *, has_deployments: bool) -> None:
    if not found:
        console.print("No route could move to a cheaper deployment." if has_deployments else
                      "The settings name no deployments to move to: add [[deployments]] rows.")  # fmt: skip
        return
    grid = table("route", "now", "could be", "calls", "cost", "saves about", "quality lost", "evidence",
                 numbers=("calls", "cost", "saves about", "quality lost"))  # fmt: skip
    for one in found:
        quality = one.quality
        lost = "-"
        if quality.loss is not None and quality.low is not None and quality.high is not None:
            lost = f"{quality.loss:+.1%} ({quality.low:+.1%} to {quality.high:+.1%})"
        known = f"[{STYLES[one.verdict]}]{one.verdict}[/]"
        if quality.count:
            known += f", {quality.count:,} pairs"
        if one.pairs_needed:
            known += f"; a proof takes about {one.pairs_needed:,} more, {dollars(one.proof_cost, 2)} of shadow calls"
        grid.add_row(
            escape(one.route), escape(one.model), f"{escape(one.to)} ({escape(one.to_deployment)})", f"{one.calls:,}",
            dollars(one.cost), f"{dollars(one.saving)} ({one.saving / one.cost:.0%})", lost, known,
        )  # fmt: skip
    console.print(grid)
    console.print("Dollars: the same tokens at the other price, an estimate. Let one try, behind a holdout, with: "
                  "penstock savings rightsize --apply ROUTE", style="dim", highlight=False, soft_wrap=True)  # fmt: skip


def _chosen(fitting: "list[RightSize]", route: str, to: str) -> "RightSize":
    from penstock.errors import InputError

    for one in fitting:
        if one.verdict != "worse":
            return one
    bad = " Judged pairs say that its answers are worse." if fitting else ""
    raise InputError(f"There is nothing smaller for the route {route!r}{f' in {to!r}' if to else ''}.{bad}")


def _apply(settings: "Settings", chosen: "RightSize", holdout: Decimal, common: Common) -> None:
    from penstock.errors import InputError
    from penstock.optimization.rightsizing_apply import with_smaller
    from penstock.settings import parse

    route = chosen.route
    names = {row.name for row in settings.deployments}
    default = chosen.deployment
    if default not in names:
        raise InputError(
            f"{chosen.model} is served without a [[deployments]] row of its own: add one, so that it can serve "
            "the holdout."
        )
    try:
        text = common.config.read_text("utf-8")
        after = with_smaller(text, route, chosen.to_deployment, default=default, holdout=holdout)
        parse(after, str(common.config))
        part = common.config.with_suffix(f".{os.getpid()}.part")
        part.write_text(after, "utf-8")
        part.replace(common.config)
    except OSError as error:
        raise InputError(f"{common.config} cannot be changed: {error.strerror}.") from None
    if common.json:
        print_json(
            {"route": route, "to": chosen.to_deployment, "default": default, "holdout": holdout, "written": True}
        )
        return
    console.print(f"{common.config}: {route} may go to {chosen.to_deployment}; {holdout:%} of its conversations stay "
                  f"with {default}.", markup=False, highlight=False, soft_wrap=True)  # fmt: skip
    if not settings.proof.shadow:
        console.print(
            "Nothing guards its quality yet: set [proof] shadow and judge, or report outcomes.", style="yellow",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    console.print("Tell a running server with: kill -HUP PID", markup=False, highlight=False)
