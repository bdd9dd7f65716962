"""`penstock alerts`: who is told what, and whether it arrives."""

from datetime import UTC
from typing import Annotated

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, answer_no, console, print_json, table
from penstock.errors import InputError
from penstock.metering.event import utc_now

app = App(
    name="alerts",
    help="Try out the channels by which people are told, and list what they were told.",
    default_parameter=Parameter(show_default=False),
)

COLORS = {"info": "cyan", "warning": "yellow", "critical": "red"}


@app.command(
    name="test",
    help_epilogue="Examples:\n\n- `penstock alerts test`\n- `penstock alerts test --channel slack-finops`\n"
    "- `penstock alerts test --json`",
)
def try_out(
    *,
    channel: Annotated[str, Parameter(help="Only this one; by default each `[[alerts]]` row.")] = "",
    common: Common | None = None,
) -> None:
    """Send a test message by each channel, now, and say whether it was taken. Exit code 1 if one was not.

    The message says that it is a test. It is not kept, and not tried again.
    """
    from penstock.policies.alert_channels import LOG_ONLY, DeliveryError, tell
    from penstock.policies.alerts import Alert, Noted
    from penstock.settings import load

    common = common or Common()
    channels = load(common.config, data=common.data).alerts or LOG_ONLY
    chosen = [one for one in channels if channel in ("", one.name)]
    if not chosen:
        raise InputError(f"There is no channel {channel!r}, only {', '.join(one.name for one in channels)}.")
    now = utc_now()
    alert = Alert(
        kind="test", subject="penstock", period=f"{now:%Y-%m-%d %H:%M}", title="A test of Penstock's alerts",
        text="Somebody ran `penstock alerts test`. If you read this, alerts arrive here.", severity="info",
    )  # fmt: skip
    results = []
    for one in chosen:
        try:
            tell(one, Noted(id=0, at=now, alert=alert))
            problem = ""
        except DeliveryError as error:
            problem = str(error)
        results.append({"channel": one.name, "kind": one.kind, "delivered": not problem, "problem": problem})
        if not common.json:
            said = f"[red]no[/]: {escape(problem)}" if problem else "[green]taken[/]"
            console.print(f"{escape(one.name)} ({one.kind}): {said}", soft_wrap=True)
    if common.json:
        print_json({"ok": all(one["delivered"] for one in results), "channels": results})
    if not all(one["delivered"] for one in results):
        answer_no()


@app.command(
    name="list", help_epilogue="Examples:\n\n- `penstock alerts list`\n- `penstock alerts list --limit 5 --json`"
)
def list_(
    *,
    limit: Annotated[int, Parameter(help="How many, the newest first; by default 50.")] = 50,
    common: Common | None = None,
) -> None:
    """List the newest alerts, and how far each channel has been told."""
    from penstock.app import state_for
    from penstock.policies.alert_delivery import listed
    from penstock.settings import load

    if limit < 1:
        raise InputError(f"--limit {limit}: at least one.")
    common = common or Common()
    state = state_for(load(common.config, data=common.data), create=False)
    try:
        found = listed(state, limit)
    finally:
        state.close()
    if common.json:
        print_json({"alerts": [
            {"id": noted.id, "at": noted.at, "kind": noted.alert.kind, "subject": noted.alert.subject,
             "period": noted.alert.period, "severity": noted.alert.severity, "title": noted.alert.title,
             "text": noted.alert.text, "deliveries": deliveries}
            for noted, deliveries in found
        ]})  # fmt: skip
        return
    if not found:
        console.print("There has been no alert.")
        return
    grid = table("at (UTC)", "severity", "alert", "told")
    for noted, deliveries in found:
        told = [
            f"{escape(one.channel)} {one.state.replace('_', ' ')}"
            + (f" after {one.attempts} attempts: {escape(one.error)}" if one.error else "")
            for one in deliveries
        ]
        severity = noted.alert.severity
        grid.add_row(
            f"{noted.at.astimezone(UTC):%Y-%m-%d %H:%M}", f"[{COLORS[severity]}]{severity}[/]",
            escape(noted.alert.title), "\n".join(told) or "nobody yet",
        )  # fmt: skip
    console.print(grid)
