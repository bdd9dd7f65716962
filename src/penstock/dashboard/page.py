"""What a page is: where it stands, what it gathers, and which template shows it."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from penstock.dashboard.asked import Asked
from penstock.dashboard.figure import Card, Figure
from penstock.dashboard.house import House


class Field(Struct, frozen=True):
    """A field of the filter form that only one page has. Without choices, text is typed in."""

    name: str
    label: str
    choices: tuple[tuple[str, str], ...] = ()
    """Values and what is shown for them."""
    blank: bool = True
    """Whether nothing may be chosen."""


class Shown(Struct, frozen=True, kw_only=True):
    """What a page gathered."""

    cards: Sequence[Card] = ()
    figures: Sequence[Figure] = ()
    unpriced: Sequence[Any] = ()
    """Models without a price, as rows of spend: a banner says what the totals leave out."""
    notes: Sequence[str] = ()
    """Sentences below the heading."""
    pending: bool = False
    """Something is still being worked out: the page comes again by itself."""
    more: dict[str, Any] = {}
    """What only the page's own template knows."""


class Told(Struct, frozen=True, kw_only=True):
    """What a form's act answers with, where it does not lead back to a page: shown once, kept nowhere."""

    template: str
    values: dict[str, Any]


class Page(Struct, frozen=True, kw_only=True):
    """One page. `pages.py` lists them all; the navigation, the routes and the CSVs follow from that."""

    path: str
    name: str
    title: str = ""
    """The heading, where it says more than the name."""
    group: str
    gather: Callable[[House, Asked], Shown]
    template: str = "figures.html"
    lead: str = ""
    own: tuple[str, ...] = ()
    """Fields of the address beside the shared filters."""
    fields: tuple[Field, ...] = ()
    """Those of them that stand in the form."""
    act: Callable[[House, dict[str, str], str], str | Told] | None = None
    """Does what a form of the page asks for, by who has an admin's key of that name; returns where to go on."""
    filters: bool = True
    """Whether the filter bar is shown; without it the filters only stay in the address."""
    alone: bool = False
    """Whether its fields are its own alone: the shared filters neither count nor travel along."""
    listed: bool = True
    """Whether it stands in the navigation."""
    live: bool = False
    """Whether its figures are fetched anew every few seconds."""

    @property
    def slug(self) -> str:
        """The name in the addresses of its CSVs."""
        return self.path.strip("/").replace("/", "-") or "summary"
