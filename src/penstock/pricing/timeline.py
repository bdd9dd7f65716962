"""The rows of one key in time: which one is in force at an instant, for a call of a size."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, time
from itertools import groupby

from penstock.errors import PriceBookError
from penstock.pricing.book import PriceRow


class Hours:
    """A daily window in UTC, `16:30-00:30`: its first minute is inside, its last is not."""

    __slots__ = ("end", "start")

    def __init__(self, text: str) -> None:
        try:
            start, end = text.split("-")
            self.start, self.end = time.fromisoformat(start), time.fromisoformat(end)
        except ValueError as error:
            raise PriceBookError("?", f"hours {text!r}", "write them as 16:30-00:30, in UTC") from error

    def contain(self, at: datetime) -> bool:
        """Say whether the instant falls into the window."""
        now = at.astimezone(UTC).time()
        if self.end <= self.start:
            return now >= self.start or now < self.end
        return self.start <= now < self.end


class Line:
    """Rows with one key and one daily window, oldest first."""

    __slots__ = ("hours", "rows", "starts")

    def __init__(self, hours: str, rows: Sequence[PriceRow]) -> None:
        self.hours = Hours(hours) if hours else None
        self.rows = sorted(rows, key=lambda row: row.valid_from)
        self.starts = [row.valid_from for row in self.rows]

    def row(self, at: datetime) -> PriceRow | None:
        """Find the newest row in force; one that has ended gives way to the one that it had replaced."""
        if self.hours and not self.hours.contain(at):
            return None
        for n in range(bisect_right(self.starts, at) - 1, -1, -1):
            row = self.rows[n]
            if row.valid_to is None or at < row.valid_to:
                return row
        return None

    def stand_in(self, at: datetime) -> PriceRow | None:
        """Return the first row for an instant before it, if the row may stand in there."""
        first = self.rows[0]
        if not first.earliest or at >= first.valid_from or (self.hours and not self.hours.contain(at)):
            return None
        return first


class Timeline:
    """All rows of one key: context tiers, daily windows and dates."""

    __slots__ = ("tiers",)

    def __init__(self, rows: Sequence[PriceRow]) -> None:
        def tier(row: PriceRow) -> int:
            return -row.context_over

        def window(row: PriceRow) -> str:
            return row.hours

        self.tiers = [
            (
                -over,
                # the empty window sorts first; a narrower one is asked before it
                [Line(hours, list(some)) for hours, some in groupby(sorted(group, key=window), key=window)][::-1],
            )
            for over, group in groupby(sorted(rows, key=tier), key=tier)
        ]

    @property
    def depends_on_more(self) -> bool:
        """Whether the size of the call or the hour of the day has a say, beside the date."""
        return (
            len(self.tiers) > 1 or any(line.hours for _, lines in self.tiers for line in lines) or self.tiers[0][0] > 0
        )

    @property
    def edges(self) -> set[datetime]:
        """Instants at which the answer may change."""
        rows = [row for _, lines in self.tiers for line in lines for row in line.rows]
        return {row.valid_from for row in rows} | {row.valid_to for row in rows if row.valid_to}

    def row(self, at: datetime, input_tokens: int) -> PriceRow | None:
        """Find the row in force: the highest tier below the call's size, the window that holds, the newest date."""
        for over, lines in self.tiers:
            if input_tokens > over or over == 0:
                for line in lines:
                    if row := line.row(at):
                        return row
        return None

    def stand_in(self, at: datetime, input_tokens: int) -> PriceRow | None:
        """Find the earliest row, for an instant before every row."""
        for over, lines in self.tiers:
            if input_tokens > over or over == 0:
                for line in lines:
                    if row := line.stand_in(at):
                        return row
        return None
