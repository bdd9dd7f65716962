"""What people made of a thing that was found: status, owner and note, each change kept."""

from datetime import datetime

from msgspec import Struct

from penstock.errors import InputError
from penstock.ledger.state import State
from penstock.metering.event import utc_now

STATUSES: dict[str, tuple[str, ...]] = {
    "anomaly": ("open", "acknowledged", "explained"),
    "finding": ("open", "planned", "done", "dismissed"),
}
"""What can be followed up, and how far that can be; the first status holds until somebody says otherwise."""
LONGEST_SUBJECT, LONGEST_OWNER, LONGEST_NOTE = 2_000, 200, 2_000
"""Characters."""
COLUMNS = "kind, subject, at, status, owner, note, by"


class Followup(Struct, frozen=True, kw_only=True):
    """One change of what is made of a thing."""

    kind: str
    subject: str
    """The id of the anomaly, or of the finding."""
    at: datetime
    status: str
    owner: str = ""
    """Who looks after it."""
    note: str = ""
    by: str = ""
    """The name of the key that it was changed with."""


class Followups:
    """Keeps changes; nothing is ever overwritten."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(self, one: Followup) -> Followup:
        """Keep a change. Raises InputError where it says something that cannot be."""
        if one.kind not in STATUSES:
            raise InputError(f"kind must be one of {', '.join(STATUSES)}, not {one.kind!r}.")
        if one.status not in STATUSES[one.kind]:
            raise InputError(f"status must be one of {', '.join(STATUSES[one.kind])}, not {one.status!r}.")
        if not one.subject:
            raise InputError("subject is missing: name what this is about by its id.")
        for name, most in (("subject", LONGEST_SUBJECT), ("owner", LONGEST_OWNER), ("note", LONGEST_NOTE)):
            if len(getattr(one, name)) > most:
                raise InputError(f"{name} is longer than {most:,} characters: make it shorter.")
        with self._state.transaction() as write:
            write.execute(
                f"INSERT INTO followups ({COLUMNS}) VALUES (?,?,?,?,?,?,?)",  # noqa: S608  # names of columns
                (one.kind, one.subject, one.at.isoformat(), one.status, one.owner, one.note, one.by),
            )
        return one

    def history(self, kind: str, subject: str = "") -> list[Followup]:
        """List the changes, oldest first; without a subject those of all things of a kind."""
        rows = self._state.read(
            f"SELECT {COLUMNS} FROM followups WHERE kind = ? AND (? = '' OR subject = ?) ORDER BY id",  # noqa: S608
            kind, subject, subject,
        )  # fmt: skip
        return [
            Followup(
                kind=kind, subject=subject, at=datetime.fromisoformat(at), status=status, owner=owner, note=note, by=by
            )
            for kind, subject, at, status, owner, note, by in rows
        ]

    def by_subject(self, kind: str) -> dict[str, list[Followup]]:
        """Return the changes of each thing, oldest first: the last one holds."""
        found: dict[str, list[Followup]] = {}
        for one in self.history(kind):
            found.setdefault(one.subject, []).append(one)
        return found


def unfollowed(kind: str, subject: str) -> Followup:
    """Return what holds of a thing that nobody said anything of."""
    return Followup(kind=kind, subject=subject, at=utc_now(), status=STATUSES[kind][0])
