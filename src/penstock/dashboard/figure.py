"""A figure of a page: a heading, a chart, the same as a table, and a CSV of it. And the cards above."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from markupsafe import Markup
from msgspec import Struct

from penstock.dashboard.documents import csv_of
from penstock.dashboard.words import places_for

Kind = Literal["text", "count", "tokens", "money", "exact", "share", "number", "time", "duration", "sentence"]
"""How a column is written: `money` and `tokens` are rounded; `share` is of 1; `duration` is in microseconds."""
Value = str | int | Decimal | date | datetime | None
"""None: unknown, or there is none."""
SHOWN = 15
"""Rows of a table before the rest is left to the CSV."""


class Column(Struct, frozen=True):
    """One column: its name in the CSV, its heading on the page, and what it holds."""

    name: str
    label: str
    kind: Kind = "text"
    bar: bool = False
    """Draw each amount as a share of the whole column beside it."""
    less: bool = False
    """Left out where the screen is narrow."""
    hidden: bool = False
    """Only in the CSV."""
    fine: bool = False
    """Has decimals of its own: dollars of one request beside those of a month."""


class Row(Struct, frozen=True):
    """One line: a value for each column, and what the first one leads to."""

    cells: tuple[Value, ...]
    href: str = ""
    badge: str = ""
    """Two or three words of warning beside the first value."""


class Legend(Struct, frozen=True):
    """One colour of a chart."""

    colour: int
    name: str
    amount: str = ""


class Figure(Struct, frozen=True, kw_only=True):
    """What the macro `figure` draws. Without a chart, the table stands open."""

    name: str
    """Of the address of its CSV, and of its place in the page."""
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Row]
    note: str = ""
    """A sentence below the heading."""
    chart: Markup | None = None
    legend: tuple[Legend, ...] = ()
    total: tuple[Value, ...] = ()
    empty: str = "Nothing in this period."
    """What is said where there are no rows, and what to do about it."""
    period: str = ""
    """Of what time it is, where that is not the page's period."""
    open: bool = False
    """Whether the table stands open below the chart."""
    half: bool = False
    """Half as wide: two stand side by side where there is room."""
    shown: int = SHOWN

    @property
    def places(self) -> list[int]:
        """Decimals of each column: the same for all columns of money that are not `fine`, so that a row reads well."""
        alike = [n for n, column in enumerate(self.columns) if column.kind == "money" and not column.fine]

        def of(names: Sequence[int]) -> int:
            return places_for(value for row in self.rows for n in names if isinstance(value := row.cells[n], Decimal))

        usual = of(alike)
        return [of([n]) if column.fine else usual for n, column in enumerate(self.columns)]

    @property
    def wholes(self) -> list[Decimal]:
        """The sum of each column, for its bars."""
        return [
            sum((value for row in self.rows if isinstance(value := row.cells[n], Decimal)), Decimal(0))
            if column.bar else Decimal(0)
            for n, column in enumerate(self.columns)
        ]  # fmt: skip

    def csv(self) -> str:
        """Write all rows, exactly."""
        return csv_of([column.name for column in self.columns], (row.cells for row in self.rows))


class Card(Struct, frozen=True, kw_only=True):
    """One large figure above the others."""

    name: str
    said: str
    """The figure as it is written."""
    exact: str = ""
    """All of its digits, for who rests the pointer on it."""
    sub: str = ""
    note: str = ""
    """What is wrong with the figure."""
    tone: Literal["", "good", "warn", "bad"] = ""
    href: str = ""
