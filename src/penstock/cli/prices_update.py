"""`penstock prices update`: Azure's public price list, fetched when a user asks for it and never otherwise."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx2
from cyclopts import App, Parameter
from msgspec import structs

from penstock import __version__
from penstock.cli.options import Common, console, print_json, table
from penstock.cli.prices import settings_of
from penstock.cli.prices_show import change_json, change_table
from penstock.errors import InputError, PenstockError
from penstock.pricing.azure_retail import NAME, QUERY, URL, Item, Left, read_page, read_prices, without_losses
from penstock.pricing.book import Book, PriceRow, make_book, rows_hash
from penstock.pricing.books import default_catalog, own_layers
from penstock.pricing.diff import changes, places
from penstock.pricing.sanity import suspects

HELP = """
The book goes to `prices/azure-<instant>-<digest>.json` in the data folder and comes before the Azure book of the
package; older ones stay, so that old events can be explained. Meters that were not understood are listed. No key is
needed. Without `--yes` it asks before it writes; with `--json` it writes only with `--yes`.
A list that says what the newest book says is not written again.

Examples:

- `penstock prices update`
- `penstock prices update --yes --json`
"""

app = App(name="update", help_epilogue=HELP, default_parameter=Parameter(show_default=False))

PAGES = 200
"""The most pages that are read: the list has some, of a thousand rows each."""
PAGE_BYTES = 20_000_000
TRIES = 4
WAIT_SECONDS = 1.0
"""Pause before the first further try; it doubles."""


@app.default
def update_(
    *,
    url: Annotated[str, Parameter(help=f"Where the price list is, for mirrors; by default {URL}")] = URL,
    yes: Annotated[bool, Parameter(help="Write without asking.", negative="")] = False,
    common: Common | None = None,
) -> None:
    """Fetch Azure's public price list, show what would change, and write it as a new dated book."""
    common = common or Common()
    settings = settings_of(common)
    now = datetime.now(UTC)
    # list against list: prices of one's own stand above both, and do not change
    older = own_layers(settings.data).updates
    present = default_catalog(updates=older)
    prices = without_losses(read_prices(fetch(url), now.date()), present, now)
    version = f"{now:%Y-%m-%dT%H%M%SZ}-{rows_hash(prices.rows)[:6]}"
    book = make_book(
        NAME, version, prices.rows, title=f"Azure retail price list, read {now:%Y-%m-%d}", source=url, read=now.date()
    )
    found = list(changes(places(book.rows), present, now, default_catalog(updates=[book, *older]), now))
    doubts = [f"{one.row.id}: {one.problem}" for one in suspects(book.rows, at=now)]
    file = settings.data / "prices" / f"azure-{version}.json"
    if not common.json:
        tell(book, prices.left)
        console.print(change_table(found, "What would change", "now", "new") if found else "No price changes.")
        for doubt in doubts:
            console.print(f"[yellow]Is this right?[/yellow] {doubt}", highlight=False)
    if not book.rows:
        raise InputError(f"{url} has no price that could be read; nothing was written")
    same = older[0] if older and plain(older[0]) == plain(book) else None  # the newest comes first
    written = same is None and (yes or (not common.json and agreed(f"Write {file}?")))
    if written:
        write(file, book.to_bytes())
    if common.json:
        print_json({
            "book": book.id, "sha256": book.sha256, "rows": len(book.rows), "file": file if written else None,
            "changes": [change_json(one) for one in found], "doubts": doubts, "not_understood": prices.left,
            "same_as": same.id if same else None,
        })  # fmt: skip
    elif same:
        console.print(f"The list says what {same.id} says; nothing was written.", highlight=False)
    else:
        console.print(f"Written to {file}." if written else "Nothing was written.", highlight=False)


def plain(book: Book) -> list[PriceRow]:
    """Return what a book says, without when it was read."""
    return [structs.replace(row, read=None, book="", id="", hash="") for row in book.rows]


def write(file: Path, content: bytes) -> None:
    """Put a file in its place as a whole. Raises InputError where that cannot be."""
    fresh = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(content)
        fresh.replace(file)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}; is --data right?") from None


def fetch(url: str) -> list[Item]:
    """Read every page of the list, following its links. Raises InputError or PriceBookError; nothing is half-read."""
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise InputError(f"--url {url}: write an address that begins with https:// or http://")
    items, seen = list[Item](), set[str]()
    link: str | None = str(httpx2.URL(url).copy_merge_params(QUERY))
    with httpx2.Client(timeout=60, headers={"user-agent": f"penstock/{__version__}"}) as client:
        while link:
            if link in seen:
                raise InputError(f"{url}: its pages lead in a circle, at {link}")
            if len(seen) >= PAGES:
                raise InputError(f"{url}: more than {PAGES} pages; is this the price list?")
            seen.add(link)
            page = read_page(get(client, link))
            items += page.items
            link = page.next_link or None
            if link and server(link) != server(url):
                raise InputError(f"{url}: its next page is on another server, {link}; not followed")
    return items


def server(link: str) -> tuple[str, str | None, int]:
    """Return what names a server; the list's own links say `:443` where its address does not."""
    parts = urlsplit(link)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def get(client: httpx2.Client, link: str) -> bytes:
    """Fetch one page; busy servers and broken connections get further tries."""
    problem = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(WAIT_SECONDS * 2 ** (attempt - 1))
        try:
            with client.stream("GET", link) as answer:
                if answer.status_code < 500 and answer.status_code != 429:
                    if answer.status_code != 200:
                        raise InputError(f"{link}: the server answered {answer.status_code}")
                    return whole(answer, link)
                problem = f"the server answered {answer.status_code}"
        except httpx2.HTTPError as error:
            problem = str(error) or type(error).__name__
    raise PenstockError(f"{link}: {problem}, {TRIES} times; nothing was written. Try again later.")


def whole(answer: httpx2.Response, link: str) -> bytes:
    """Read a body up to the limit."""
    body = bytearray()
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > PAGE_BYTES:
            raise InputError(f"{link}: a page of more than {PAGE_BYTES} bytes")
    return bytes(body)


def tell(book: Book, left: tuple[Left, ...]) -> None:
    """Say what was read, and list every meter that became no price."""
    lines = table("meter", "product", "items", "why", title=f"{len(left)} meters became no price", numbers=("items",))
    for one in left:
        lines.add_row(one.meter, one.product, str(one.items), one.why)
    console.print(lines)
    console.print(f"{len(book.rows)} prices were read.", highlight=False)


def agreed(question: str) -> bool:
    """Ask a person; nobody there means no."""
    if not sys.stdin.isatty():
        console.print(f"{question} Nobody to ask: use --yes.", highlight=False)
        return False
    return console.input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
