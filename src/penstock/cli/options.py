"""What every command understands: where the settings and the ledger are, and in which form to answer."""

import json
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

console = Console()
"""Where people read; wide tables fold to its width."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """Options that every command understands."""

    config: Annotated[Path, Parameter(help="Settings file; by default penstock.toml.", show_default=False)] = Path(
        "penstock.toml"
    )
    data: Annotated[Path | None, Parameter(help="The ledger's folder; by default the one in the settings.")] = None
    json: Annotated[
        bool, Parameter(help="Print one JSON document instead of a table.", negative="", show_default=False)
    ] = False


def dollars(amount: Decimal, places: int = 4) -> str:
    """Round for the screen: at least cents, at most `places` decimals."""
    text = f"{amount:,.{places}f}"
    whole, _, fraction = text.partition(".")
    return f"${whole}.{fraction.rstrip('0').ljust(2, '0')}".replace("$-", "-$")


def counted(count: int, noun: str, verb: str = "") -> str:
    """Write `1 event has`, `2 events have`; the verb is given as one of several needs it."""
    one = {"have": "has", "are": "is", "were": "was"}
    words = [f"{count:,}", noun if count == 1 else f"{noun}s", one.get(verb, verb) if count == 1 else verb]
    return " ".join(word for word in words if word)


def plain(value: Any) -> Any:
    """Turn a value into what `--json` prints: money as decimal strings, times in UTC ISO 8601."""
    match value:
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date() | Path():
            return str(value)
        case msgspec.Struct():
            return {name: plain(item) for name, item in msgspec.structs.asdict(value).items()}
        case dict():
            return {str(name): plain(item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case _ if hasattr(value, "__dataclass_fields__"):
            return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
        case _:
            return value


def print_json(document: Any) -> None:
    """Print one JSON document."""
    json.dump(plain(document), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def table(*columns: str, title: str | None = None, numbers: tuple[str, ...] = ()) -> Table:
    """Start a table; the columns named in `numbers` stand flush right."""
    grid = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        grid.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return grid


def answer_no() -> NoReturn:
    """Leave with exit code 1: nothing broke, and the answer is no."""
    sys.exit(1)
