"""`penstock prices check`: what about the prices should worry someone."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from penstock.cli.options import Common, answer_no, console, counted, print_json, table
from penstock.cli.prices import At, catalog_of, instant, rows_of, settings_of
from penstock.errors import InputError
from penstock.pricing.catalog import Catalog
from penstock.pricing.lifecycle import retirement, shipped_lifecycle
from penstock.pricing.sanity import suspects

HELP = """
A rate is suspect when it is ten times dearer or cheaper than the one before it, or than the model's other rows, or when
cached tokens cost more than fresh ones. Exit code 1 if anything is found; retirements alone are only told.

Examples:

- `penstock prices check`
- `penstock prices check --direct --stale-days 30`
- `penstock prices check --at 2027-03-01 --json`
"""

app = App(name="check", help_epilogue=HELP, default_parameter=Parameter(show_default=False))

SOON = timedelta(days=60)
"""How long before a retirement it is worth a word."""
MOST_DAYS = 36_500


@app.default
def check_(
    *,
    stale_days: Annotated[int, Parameter(help="A price read longer ago than this is old; by default 90.")] = 90,
    direct: Annotated[bool, Parameter(help="Look at the books of direct providers too.", negative="")] = False,
    at: At = None,
    common: Common | None = None,
) -> None:
    """Check the prices: slips, old read dates, retired models, unpriced traffic in the ledger."""
    common, day = common or Common(), instant(at)
    if not 0 <= stale_days <= MOST_DAYS:
        raise InputError(f"--stale-days {stale_days}: give a number of days from 0 to {MOST_DAYS}")
    settings = settings_of(common)
    catalog = catalog_of(settings)
    rows = rows_of(catalog, "all" if direct else "")
    found = [
        *(
            {"kind": "suspect", "what": one.row.id, "problem": f"{one.problem} ({one.row.book})"}
            for one in suspects(rows, at=day)
        ),
        *stale(catalog, day, stale_days),
        *unpriced(settings.data, catalog, day),
    ]
    told = retirements(day)
    if common.json:
        print_json({"at": day, "problems": found, "retirements": told})
    else:
        lines = table("kind", "what", "problem", title=f"{len(found) or 'No'} problems on {day:%Y-%m-%d}")
        for one in (*found, *told):
            lines.add_row(one["kind"], one["what"], one["problem"])
        console.print(lines)
    if found:
        answer_no()


def stale(catalog: Catalog, at: datetime, days: int) -> list[dict[str, Any]]:
    """List the books whose rows were read too long ago, each once."""
    limit = at.date() - timedelta(days=days)
    old = []
    for book in catalog.books:
        dates = [row.read for row in book.rows if row.read is not None and row.read < limit]
        if dates:
            problem = (
                f"{len(dates)} of {len(book.rows)} prices were read over {days} days ago, the oldest on {min(dates)}"
            )
            old.append({"kind": "old", "what": book.id, "problem": problem})
    return old


def retirements(at: datetime) -> list[dict[str, Any]]:
    """List the models that have retired, or soon will."""
    return [
        {
            "kind": "retired" if one.retires <= at.date() else "retires",
            "what": f"{one.provider}/{one.model}",
            "problem": f"on {one.retires} ({one.source})",
        }
        for one in sorted(shipped_lifecycle().values(), key=lambda one: one.retires)
        if one.retires <= (at + SOON).date()
    ]


def unpriced(data_folder: Path, catalog: Catalog, at: datetime) -> list[dict[str, Any]]:
    """List what the ledger holds without a price, and why; then the calls to models that have retired."""
    if not (data_folder / "state.sqlite").exists():
        return []
    from penstock.analytics.tables import with_effective_state
    from penstock.ledger.store import Ledger
    from penstock.pricing.book import PriceKey
    from penstock.pricing.usage import Usage

    key = ["provider", "model", "version", "deployment_type", "region", "mode"]
    with Ledger.open(data_folder, create=False) as ledger:
        events = with_effective_state(ledger.table())
        without = events.filter(events.is_unpriced).group_by(key).agg(events=events.id.count(), last=events["at"].max())
        used = events.group_by(["provider", "model", "version"]).agg(last=events["at"].max())
        missing, calls = without.to_pyarrow().to_pylist(), used.to_pyarrow().to_pylist()
    found = []
    for line in missing:
        asked = PriceKey(**{name: line[name] for name in key})
        today = catalog.price(asked, Usage(input=1, output=1), instant(line["last"]))
        known = "today's books have a price; book it with: penstock ledger reprice"
        now = today.reason if today.state == "unpriced" else known
        found.append(
            {
                "kind": "unpriced",
                "what": f"{asked.provider}/{asked.model}",
                "problem": f"{counted(line['events'], 'event')}; {now}",
            }
        )
    for line in calls:
        gone = retirement(line["provider"], line["model"], line["version"])
        if gone and gone.retires <= at.date() and instant(line["last"]) >= at - SOON:
            problem = f"used until {line['last']:%Y-%m-%d}, retired on {gone.retires}"
            found.append({"kind": "retired", "what": f"{gone.provider}/{gone.model}", "problem": problem})
    return found
