"""Microsoft 365 Copilot's usage report (Graph: getMicrosoft365CopilotUsageUserDetail), as CSV or JSON.

Convention: one row a licensed user, with the day of the last activity in each app, and nothing about tokens or money:
Copilot is paid by licence. So nothing is booked; what the report says about licences is said, for the calculator.
Names may be concealed; none is kept.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import BinaryIO

from penstock.ledger.importers.documents import refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample
from penstock.ledger.importers.fields import RowError, instant, label
from penstock.ledger.importers.tables import any_rows

REFRESHED, LAST = "reportrefreshdate", "lastactivitydate"
ACTIVE, IDLE = timedelta(days=30), timedelta(days=60)


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise the last activity of users in Word and Teams."""
    plain = _plain(sample.text)
    lacking = [mark for mark in (REFRESHED, "userprincipalname", f"wordcopilot{LAST}") if mark not in plain]
    if lacking or sample.is_parquet:
        return Guess(False, f"Microsoft 365 Copilot's usage report has {', '.join(lacking)}", 1 - len(lacking) / 3)
    return Guess(True, "it holds Microsoft 365 Copilot's users with their last activity in Word and other apps")


def read(stream: BinaryIO, _assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Count users by how long ago they were active; nothing of it is an event."""
    counts: Counter[str] = Counter()
    refreshed: datetime | None = None
    for row in any_rows(stream, "value"):
        if isinstance(row, Rejected):
            yield row
            continue
        fields = {_plain(name): value for name, value in row.fields.items()}
        try:
            refreshed = instant(fields.get(REFRESHED), "Report Refresh Date", now)
            days = {
                name: instant(value, name, now)
                for name, value in fields.items()
                if name.endswith(LAST) and label(value)
            }
        except RowError as error:
            yield refused(row.number, error, row.text)
            continue
        counts["licensed"] += 1
        last = days.pop(LAST, None)
        counts["never"] += last is None
        counts["active"] += last is not None and refreshed - last <= ACTIVE
        counts["idle"] += last is not None and refreshed - last > IDLE
        counts["broad"] += sum(refreshed - day <= ACTIVE for day in days.values()) >= 3
    if refreshed is None:
        return
    users = counts["licensed"]
    yield Note(
        f"{users:,} licensed user{'' if users == 1 else 's'} on {refreshed:%Y-%m-%d}: {counts['active']:,} active "
        f"within 30 days ({counts['active'] / users:.0%}), {counts['idle']:,} idle for more than "
        f"60 days, {counts['never']:,} never active; {counts['broad']:,} used three apps or more within 30 days"
    )
    yield Note(
        "Copilot is paid by licence, so nothing is booked; what the licences bring: "
        f"penstock plan copilot --licences {users} --active-users {counts['active']}"
    )


def _plain(name: str) -> str:
    return name.lower().replace(" ", "").replace("_", "")


FORMAT = Format("m365_copilot", "Microsoft 365 Copilot's usage report", sniff, read, kind="aggregate", books=False)
