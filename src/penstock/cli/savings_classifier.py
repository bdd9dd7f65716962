"""`penstock savings classifier`: what the classifier in the shadow has shown, before it may decide."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from penstock.cli.options import Common, console, counted, dollars, print_json

if TYPE_CHECKING:
    from penstock.analytics.classifier_shadow import Shadowed

app = App(
    name="classifier",
    help_epilogue="Examples:\n\n- `penstock savings classifier`\n- `penstock savings classifier --from 30d --json`",
    default_parameter=Parameter(show_default=False),
)


@app.default
def classifier(
    *,
    from_: Annotated[str, Parameter(name="--from", help="Since when: 2026-03-14, 30d, month; by default all.")] = "",
    to: Annotated[str, Parameter(help="Until when: 2026-03-31, today, ...")] = "",
    common: Common | None = None,
) -> None:
    """Say how often the classifier agrees with the router, and what it would have cost or saved."""
    from penstock.analytics import periods
    from penstock.analytics.classifier_shadow import classifier_shadow
    from penstock.app import ledger_for
    from penstock.metering.event import utc_now
    from penstock.settings import load

    common = common or Common()
    now = utc_now()
    since, until = periods.between(from_, to, now)
    with ledger_for(load(common.config, data=common.data), create=False) as ledger:
        found = classifier_shadow(ledger.moment(), since=since, until=until)
    if common.json:
        print_json({"from": since, "to": until, "classifier": found})
        return
    if not found:
        console.print(
            "No classifier was asked in the shadow yet. Add a [routes.routing.classifier] table to a route.",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        return
    for one in found:
        for line in _lines(one):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(
        "What calls were expected to cost, not what they cost: it decided nothing. Prove it behind the holdout.",
        style="dim", highlight=False, soft_wrap=True,
    )  # fmt: skip


def _lines(one: "Shadowed") -> list[str]:
    name = "all keys" if one.key == "*" else one.key
    lines = [f"{name}: asked {counted(one.asked, 'time')} for {dollars(one.cost)}, named a tier {one.answered:,} times"]
    if one.agreement is not None and one.low is not None and one.high is not None:
        lines.append(
            f"  it agrees with the router in {one.agreement:.0%} ({one.low:.0%} to {one.high:.0%}); the same model "
            f"would have been chosen {counted(one.same_model, 'time')}"
        )
        verb = "saved" if one.net >= 0 else "cost an extra"
        lines.append(
            f"  it would have {verb} {dollars(abs(one.net))}: {dollars(one.would)} in place of {dollars(one.expected)}"
            f", and {dollars(one.cost)} for asking"
        )
    if one.unpriced:
        lines.append(f"  {counted(one.unpriced, 'question', 'have')} no price: in no sum")
    return lines
