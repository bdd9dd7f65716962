"""The price books in a user's data folder. The only file of this room that reads them, once, at the start.

<data>/prices/own.csv              rows of `penstock prices set`; a change appends a row
<data>/prices/azure-<instant>-<digest>.json   Azure books of `penstock prices update`; older ones stay
<data>/prices/genai-prices-<version>.json   the converted package, kept to start faster
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec import Struct

from penstock.errors import PriceBookError
from penstock.pricing.book import Book, make_book
from penstock.pricing.fields import rows_from_table
from penstock.pricing.genai import genai_book, installed_version


class OwnLayers(Struct, frozen=True, kw_only=True):
    """What a data folder adds to the books of the package."""

    books: tuple[Book, ...] = ()
    """The user's own book, if there is one."""
    updates: tuple[Book, ...] = ()
    """Azure books, the newest first."""
    direct: Callable[[], Book] = genai_book
    """How to get the book of direct providers."""


def own_layers(data_folder: Path) -> OwnLayers:
    """Read the books in `data_folder/prices`; a folder that is not there adds nothing.

    Raises PriceBookError when a book cannot be read: a price that was set must not vanish silently.
    """
    folder = data_folder / "prices"
    own = own_file(data_folder)
    cached = genai_file(data_folder)
    return OwnLayers(
        books=(own_book(own),) if own.exists() else (),
        updates=tuple(read_book(file) for file in sorted(folder.glob("azure-*.json"), reverse=True)),
        direct=partial(genai_book, cached.read_bytes()) if cached.exists() else genai_book,
    )


def own_file(data_folder: Path) -> Path:
    """Say where the user's own rows stand."""
    return data_folder / "prices" / "own.csv"


def genai_file(data_folder: Path) -> Path:
    """Say where the converted book of the installed genai-prices is kept."""
    return data_folder / "prices" / f"genai-prices-{installed_version()}.json"


def keep_genai(data_folder: Path) -> None:
    """Keep the converted book of the installed genai-prices, unless it is kept; a full disk means slower starts."""
    kept = genai_file(data_folder)
    if kept.exists():
        return
    part = kept.with_suffix(f".{os.getpid()}.part")
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(genai_book().to_bytes())
        part.replace(kept)


def own_book(file: Path) -> Book:
    """Read a table of rows as a book whose version is the digest of its rows."""
    try:
        rows = rows_from_table(file.read_text(encoding="utf-8"), file.name)
    except (OSError, UnicodeDecodeError) as error:
        raise PriceBookError(file.name, str(file), f"it cannot be read: {error}") from error
    return make_book(file.stem, "", rows, title=str(file.name))


def read_book(file: Path) -> Book:
    """Read a book from its file, as JSON (with its hash) or as a CSV of rows."""
    if file.suffix == ".csv":
        return own_book(file)
    try:
        return Book.from_bytes(file.read_bytes(), name=file.name)
    except OSError as error:
        raise PriceBookError(file.name, str(file), f"it cannot be read: {error}") from error


if __name__ == "__main__":
    keep_genai(Path(sys.argv[1]))
