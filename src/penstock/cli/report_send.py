"""`penstock report send`: scheduled reports by hand."""

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, answer_no, console, print_json, table
from penstock.cli.report_options import say

if TYPE_CHECKING:
    from penstock.analytics.report_schedule import ScheduledReport
    from penstock.settings import Settings

HELP = """
Writes a report of `[[reports]]` in penstock.toml and sends it now, to the channels that the row names. `penstock serve`
sends it by itself when it is due; what is sent by hand does not count as that. Without a name the reports are listed.

Examples:

- `penstock report send`
- `penstock report send weekly`
- `penstock report send weekly --dry-run --to-file weekly.html`
- `penstock report send weekly --period 2026-W46 --channel mail`
"""

app = App(name="send", help_epilogue=HELP, default_parameter=Parameter(show_default=False))


@app.default
def send(
    name: Annotated[str, Parameter(help="Name of the report; without it, the reports are listed.")] = "",
    /,
    *,
    period: Annotated[str, Parameter(help="Another period that is over: 2026-11-25, 2026-W46, 2026-10.")] = "",
    channel: Annotated[str, Parameter(help="Only this channel of those that the report names.")] = "",
    dry_run: Annotated[bool, Parameter(help="Send nothing; print the plain text.", negative="")] = False,
    to_file: Annotated[Path | None, Parameter(help="Write the HTML to this file as well.")] = None,
    common: Common | None = None,
) -> None:
    """Send a scheduled report now, or only look at it. Exit code 1 if a channel did not take it."""
    from penstock.analytics.report_schedule import edition_of, newest
    from penstock.app import ledger_for, report_desk_for
    from penstock.dashboard.scheduled import alert_of, write
    from penstock.errors import InputError
    from penstock.metering.event import utc_now
    from penstock.policies.alert_channels import LOG_ONLY, DeliveryError, tell
    from penstock.policies.alerts import Noted
    from penstock.settings import load

    common = common or Common()
    settings = load(common.config, data=common.data)
    if not name:
        _list(settings, common)
        return
    report = _named(settings, name)
    if channel and channel not in report.to:
        raise InputError(f"{name!r} does not go to {channel!r}, only to {', '.join(report.to)}.")
    now = utc_now()
    edition = edition_of(report, period, now) if period else newest(report, now)
    with ledger_for(settings, create=False) as ledger:
        alert = alert_of(report, edition, write(report_desk_for(settings, ledger), report, edition, now))
    if to_file is not None:
        try:
            to_file.write_text(alert.html, "utf-8")
        except OSError as error:
            raise InputError(f"{to_file} cannot be written: {error.strerror}.") from None
    results = []
    for one in () if dry_run else settings.alerts or LOG_ONLY:
        if one.name not in report.to or channel not in ("", one.name):
            continue
        try:
            tell(one, Noted(id=0, at=now, alert=alert))
            problem = ""
        except DeliveryError as error:
            problem = str(error)
        results.append({"channel": one.name, "kind": one.kind, "delivered": not problem, "problem": problem})
    if common.json:
        print_json({
            "report": name, "period": edition.label, "from": edition.since, "to": edition.until, "title": alert.title,
            "text": alert.text, "file": to_file, "channels": results,
        })  # fmt: skip
    else:
        if dry_run:
            say(alert.title, "bold")
            say("")
            say(alert.text)
        for result in results:
            said = f"[red]no[/]: {escape(str(result['problem']))}" if result["problem"] else "[green]taken[/]"
            console.print(f"{escape(str(result['channel']))} ({result['kind']}): {said}", soft_wrap=True)
        if to_file is not None:
            say(f"Written to {to_file}: open it in a browser.", "dim")
    if not all(result["delivered"] for result in results):
        answer_no()


def _named(settings: "Settings", name: str) -> "ScheduledReport":
    from penstock.errors import InputError

    for report in settings.reports:
        if report.name == name:
            return report
    known = ", ".join(report.name for report in settings.reports)
    there = f"only {known}" if known else "and none at all: add a [[reports]] row to penstock.toml"
    raise InputError(f"There is no report {name!r}, {there}.")


def _list(settings: "Settings", common: Common) -> None:
    from penstock.analytics.report_schedule import following
    from penstock.metering.event import utc_now

    now = utc_now()
    rows = [(report, following(report, now)) for report in settings.reports]
    if common.json:
        print_json({"reports": [
            {"name": report.name, "every": report.every, "to": report.to, "next": edition.due, "period": edition.label}
            for report, edition in rows
        ]})  # fmt: skip
        return
    if not rows:
        say("No report is scheduled: add a [[reports]] row to penstock.toml.")
        return
    grid = table("report", "every", "to", "next (UTC)", "about")
    for report, edition in rows:
        due = f"{edition.due.astimezone(UTC):%Y-%m-%d %H:%M}"
        grid.add_row(escape(report.name), report.every, escape(", ".join(report.to)), due, edition.label)
    console.print(grid)
