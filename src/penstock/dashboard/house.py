"""What every page needs: the ledger, the prices, the clock, and the templates."""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined

from penstock import __version__
from penstock.dashboard import charts, words
from penstock.errors import InputError
from penstock.ledger.store import Ledger
from penstock.pricing.catalog import Catalog

T = TypeVar("T")
P = ParamSpec("P")

PAGES = (("/", "Overview"), ("/requests", "Requests"), ("/prices", "Prices"))
THREADS = 2
"""Questions answered at the same time; the others wait. Each thread keeps an engine connection."""
LONGEST = 1_000
"""Characters of a value in a query."""


class NotFoundError(InputError):
    """There is no such thing."""

    code = "not_found"


class House:
    """Holds what outlives a request."""

    def __init__(
        self, folder: Path, catalog: Catalog | None, info: dict[str, Any], now: Callable[[], datetime]
    ) -> None:
        self.ledger = Ledger.open(folder)
        self.catalog, self.info, self.now = catalog, info, now
        self._threads = ThreadPoolExecutor(THREADS, "pages")
        self._templates = Environment(
            loader=PackageLoader("penstock.dashboard"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        self._templates.globals.update(
            {name: getattr(words, name) for name in words.PUBLIC}
            | {
                "bar": charts.bar,
                "is_sandbox": self.is_sandbox,
                "web_part": web_part,
                "pages": PAGES,
                "sandbox": bool(info.get("sandbox")),
                "states": words.STATES,
                "static": static,
                "version": __version__,
            }
        )

    async def ask(self, question: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
        """Answer a question of the ledger beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(question, *values, **named))

    def render(self, template: str, **values: Any) -> str:
        """Make a page."""
        return self._templates.get_template(template).render(**values)

    def close(self) -> None:
        """Let go of threads and files."""
        self._threads.shutdown()
        self.ledger.close()

    def is_sandbox(self, event: Any) -> bool:
        """Say whether usage was invented: by the sandbox, or as the demo's history."""
        return bool(self.info.get("sandbox")) and (event.source == "sample" or event.deployment.startswith("sandbox"))


@cache
def static(name: str) -> str:
    """Return the address of a static file; the digest in it lets browsers keep the file until it changes."""
    content = (files("penstock.dashboard") / "static" / name).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"


def web_part(source: str) -> tuple[str, str]:
    """Split a price's source into words and the web address that it ends in, if it does."""
    words_, mark, address = source.partition("https://")
    return (words_, mark + address) if address and not any(sign.isspace() for sign in address) else (source, "")


def checked(fields: dict[str, str], known: tuple[str, ...]) -> dict[str, str]:
    """Keep the fields of a query that say something; a name that means nothing here is a mistake worth telling."""
    for name, value in fields.items():
        if name not in known:
            raise InputError(f"There is no field {name!r} here: use {', '.join(known)}.")
        if len(value) > LONGEST:
            raise InputError(f"The value of {name} is longer than {LONGEST:,} characters.")
        if "\0" in value:
            raise InputError(f"The value of {name} holds a zero byte.")
    return {name: value.strip() for name, value in fields.items() if value.strip()}


def number(fields: dict[str, str], name: str, default: int, most: int) -> int:
    """Read a whole number from 1 to `most`."""
    text = fields.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise InputError(f"{name} must be a number from 1 to {most:,}, not {text!r}.")
    return int(text)
