"""What every report is asked: which time, whose days, and which part of the ledger."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any, Generic, NamedTuple, TypeVar

from cyclopts import Parameter
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from penstock.cli.options import Common, console, print_json, table

if TYPE_CHECKING:
    from penstock.analytics.overlap import Once
    from penstock.ledger.moment import Moment
    from penstock.ledger.store import Ledger

Found = TypeVar("Found")
Sources = Annotated[
    str, Parameter(help="best, all, or names in order of precedence, for traffic recorded more than once.")
]


@Parameter(name="*", show_default=False)
@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options that every report understands."""

    from_: Annotated[str, Parameter(name="--from", help="Begin: 2026-03-14, 2026-03, 7d, today, month, ...")] = ""
    to: Annotated[str, Parameter(name="--to", help="End; a day or month named here is included.")] = ""
    only: Annotated[
        tuple[str, ...], Parameter(help="Keep one value, as in team=support. May be repeated.", negative="")
    ] = ()
    time_zone: Annotated[str, Parameter(help="Where days begin and end: Europe/Berlin.")] = "UTC"
    sources: Sources = "best"

    def source(self, ledger: "Ledger") -> "Moment | Once":
        """Return what questions are put to: the ledger as of now, shared traffic counted as `--sources` says."""
        return counting(ledger, self.sources)

    def bounds(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """Return the first instant and the first one after; None where nothing was said."""
        from penstock.analytics import periods
        from penstock.analytics.zones import zone

        return periods.between(self.from_, self.to, now, zone(self.time_zone))

    @property
    def where(self) -> list[tuple[str, str]]:
        """Return the pairs of dimension and value to keep."""
        return pairs(self.only, "--only", "a dimension and a value", "team=support")

    def said(self, since: datetime | None, until: datetime | None) -> str:
        """Write a period for the foot of a table."""
        from penstock.analytics.zones import zone

        place = zone(self.time_zone)
        ends = [f"{at.astimezone(place):%Y-%m-%d %H:%M}" if at else "" for at in (since, until)]
        if not since and not until:
            return "all time"
        return f"{ends[0] or 'the begin'} to {ends[1] or 'now'} {self.time_zone}"


def counting(ledger: "Ledger", sources: str) -> "Moment | Once":
    """Return the ledger as of now, traffic that several sources recorded counted as `--sources` says."""
    from penstock.analytics.overlap import counting as choose
    from penstock.errors import InputError

    try:
        return choose(ledger.moment(), sources)
    except InputError as error:
        raise InputError(f"--{error}") from None


class Answer(NamedTuple, Generic[Found]):
    """What a report found, and what it was asked."""

    found: Found
    names: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    period: str

    def document(self, **fields: Any) -> dict[str, Any]:
        """Return the fields of an answer, and what it answers."""
        return fields | {"by": self.names, "from": self.since, "to": self.until}


def put(
    question: Callable[..., Found], by: str, asked: Asked | None, common: Common | None, **more: Any
) -> Answer[Found]:
    """Put a question of `analytics` to the ledger."""
    from penstock.app import ledger_for
    from penstock.metering.event import utc_now
    from penstock.settings import load

    asked, common = asked or Asked(), common or Common()
    since, until = asked.bounds(utc_now())
    names = dimensions(by)
    with ledger_for(load(common.config, data=common.data), create=False) as ledger:
        source = asked.source(ledger)
        found = question(source, by=names, since=since, until=until, where=asked.where, **more)
    return Answer(found, names, since, until, asked.said(since, until))


def tell(
    answer: Answer[Found],
    common: Common | None,
    *,
    fields: Callable[[Found], dict[str, Any]],
    show: Callable[[Found, tuple[str, ...]], None],
    nothing: str,
    note: str = "",
) -> None:
    """Print an answer: as one document, as tables, or the sentence for nothing where the document holds no rows."""
    document = fields(answer.found)
    if common and common.json:
        print_json(answer.document(**document))
    elif not document["rows"] and not document.get("total"):
        say(nothing)
    else:
        show(answer.found, answer.names)
        say(answer.period + note, "dim")


def whole_and_rows(found: Sequence[Any]) -> dict[str, Any]:
    """Return the fields of an answer that is the whole first, then its groups."""
    rows = [flat(one) for one in found]
    return {"total": rows[0] if rows else None, "rows": rows[1:]}


def grid_by(names: tuple[str, ...], numbers: tuple[str, ...], *more: str) -> Table:
    """Start a table of groups: their dimensions fold where the screen is narrow, figures do not."""
    grid = table(*names, *numbers, *more, numbers=numbers)
    for column in grid.columns:
        column.no_wrap = column.header not in names
    return grid


def heads(group: dict[str, str], names: tuple[str, ...]) -> list[str]:
    """Write the dimensions of a group."""
    return [escape(group[name]) or "(none)" for name in names]


def total_heads(names: tuple[str, ...]) -> list[str]:
    """Write what stands in their place in the last line."""
    return ["total", *[""] * (len(names) - 1)] if names else []


def pairs(words: tuple[str, ...], option: str, what: str, example: str) -> list[tuple[str, str]]:
    """Split `name=value` words of an option."""
    from penstock.errors import InputError

    found = [(name.strip(), value.strip()) for name, sign, value in (word.partition("=") for word in words) if sign]
    if len(found) != len(words):
        raise InputError(f"{option} takes {what}, as in: {option} {example}")
    return found


def dimensions(text: str) -> tuple[str, ...]:
    """Split `team,model`."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def dollars_of(text: str, option: str) -> Decimal:
    """Read a number from zero on and below a trillion, exactly."""
    from penstock.errors import InputError

    try:
        number = Decimal(text)
    except InvalidOperation:
        raise InputError(f"{option}: {text!r} is not a number") from None
    if not number.is_finite() or not 0 <= number < 10**12:
        raise InputError(f"{option}: {text!r} is not a number from zero on and below a trillion")
    return number


def flat(row: Any) -> dict[str, Any]:
    """Put the dimensions of a row beside its figures, for JSON."""
    from msgspec.structs import asdict

    group: dict[str, Any] = row.group
    return group | {name: value for name, value in asdict(row).items() if name != "group"}


def show(grid: Table, least: tuple[str, ...]) -> tuple[str, ...]:
    """Print a table; where the screen is too narrow, without as many of the columns `least`, in turn, as it takes.

    Returns the columns left out.
    """
    hidden: list[str] = []
    wide = console.options.update(max_width=10_000)
    while len(hidden) < len(least) and Measurement.get(console, wide, grid).maximum > console.width:
        hidden.append(least[len(hidden)])
        grid = _without(grid, hidden[-1])
    console.print(grid)
    if names := ", ".join(name for name in hidden if name):
        say(f"Left out, for a wider screen or --json: {names}", "dim")
    return tuple(hidden)


def _without(grid: Table, name: str) -> Table:
    """Copy a table without one column."""
    kept = [column for column in grid.columns if column.header != name]
    fewer = table()
    for column in kept:
        fewer.add_column(column.header, justify=column.justify, overflow=column.overflow, no_wrap=column.no_wrap)
    for row, cells in zip(grid.rows, zip(*(column.cells for column in kept), strict=True), strict=True):
        fewer.add_row(*cells, style=row.style, end_section=row.end_section)
    return fewer


def say(text: str, style: str = "") -> None:
    """Print a sentence below a table."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def nothing_found(answer: Answer[Any]) -> str:
    """Say that the ledger has nothing of that time, and where events come from."""
    where = f" from {answer.period}" if answer.since or answer.until else ""
    return f"No events{where}. Serve calls with: penstock serve, or book files with: penstock import FILE..."


def say_nothing_found(asked: Asked, since: datetime | None, until: datetime | None) -> None:
    """Say that the ledger has nothing of that time."""
    say(nothing_found(Answer(None, (), since, until, asked.said(since, until))))
