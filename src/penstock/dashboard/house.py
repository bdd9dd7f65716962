"""What every page needs: the ledger, the prices, the clock, and the templates."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined
from jinja2.bccache import Bucket

from penstock import __version__
from penstock.analytics.overlap import Once, counting
from penstock.dashboard import charts, words
from penstock.errors import InputError
from penstock.ledger.moment import Moment
from penstock.ledger.store import Ledger
from penstock.pricing.catalog import Catalog

T = TypeVar("T")
P = ParamSpec("P")


THREADS = 2
"""Questions answered at the same time; the others wait. Each thread keeps an engine connection."""
KEPT_SECONDS, MOST_KEPT = 30.0, 100
"""How long an answer that is dear is kept, and how many of them."""
LATER_SECONDS, PATIENCE = 300.0, 0.05
"""How long what is made beside the pages is good, and how long a page waits for it."""
EMPTY: Mapping[str, str] = {}
LONGEST = 1_000
"""Characters of a value in a query."""


class NotFoundError(InputError):
    """There is no such thing."""

    code = "not_found"


class _Compiled(BytecodeCache):
    """Templates that were compiled in this process, by their content."""

    known: ClassVar[dict[str, Any]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Take what is known."""
        bucket.code = self.known.get(bucket.key + bucket.checksum)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what was compiled."""
        self.known[bucket.key + bucket.checksum] = bucket.code


class House:
    """Holds what outlives a request."""

    def __init__(
        self,
        folder: Path,
        catalog: Catalog | None,
        info: dict[str, Any],
        now: Callable[[], datetime],
        *,
        pages: Sequence[Any] = (),
        patience: float = PATIENCE,
    ) -> None:
        self.ledger = Ledger.open(folder)
        self.catalog, self.info, self.now = catalog, info, now
        self.folder = folder
        self._threads = ThreadPoolExecutor(THREADS, "pages")
        self.patience = patience
        self._dear = ThreadPoolExecutor(1, "dear")
        self._later: dict[Any, tuple[float, Future[Any]]] = {}
        self._kept: dict[Any, tuple[float, Any]] = {}
        self._templates = Environment(
            loader=PackageLoader("penstock.dashboard"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, bytecode_cache=_Compiled(),
        )  # fmt: skip
        grouped: dict[str, list[Any]] = {}
        for page in (page for page in pages if page.listed):
            grouped.setdefault(page.group, []).append(page)
        self._templates.globals.update(
            {name: getattr(words, name) for name in words.PUBLIC}
            | {
                "bar": charts.bar,
                "is_sandbox": self.is_sandbox,
                "web_part": web_part,
                "pages": grouped,
                "kept": {},
                "sandbox": bool(info.get("sandbox")),
                "month_long": timedelta(days=29),
                "states": words.STATES,
                "static": static,
                "version": __version__,
                "visitor": None,
            }
        )

    async def ask(self, question: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
        """Answer a question of the ledger beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(question, *values, **named))

    def source(self, fields: Mapping[str, str] = EMPTY) -> Moment | Once:
        """Return what questions are put to: the ledger as of now, shared traffic counted as `sources` says."""
        return counting(self.ledger.moment(), fields.get("sources", "best"))

    def render(self, template: str, **values: Any) -> str:
        """Make a page."""
        return self._templates.get_template(template).render(**values)

    def prepare(self) -> None:
        """Compile the templates beside the first requests, which would wait for it otherwise."""
        for name in self._templates.list_templates(extensions=["html"]):
            self._dear.submit(self._templates.get_template, name)

    def remember(self, key: Hashable, make: Callable[[], T], seconds: float = KEPT_SECONDS) -> T:
        """Return what was made for this key a moment ago, or make it: for what is dear and may be a little old."""
        now = time.monotonic()
        found = self._kept.get(key)
        if found is None or found[0] < now:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            found = self._kept[key] = (now + seconds, make())
        return cast("T", found[1])

    def later(
        self, key: Hashable, make: Callable[[], T], seconds: float = LATER_SECONDS, *, patience: float | None = None
    ) -> T | None:
        """Return what takes longer than a page may; None: it is not there yet. What is old is shown meanwhile.

        `patience`: seconds to wait for it; None: as long as a page waits, and 0 only begins it.
        """
        patience = self.patience if patience is None else patience
        now = time.monotonic()
        due, work = self._later.get(key, (0.0, None))
        if work is None or (work.done() and (due < now or work.exception() is not None)):
            if len(self._later) >= MOST_KEPT:
                self._later = {name: one for name, one in self._later.items() if not one[1].done()}
            old, work = work, self._dear.submit(make)
            self._later[key] = (now + seconds, work)
            if old is not None and old.exception() is None:
                work = old if not wait([work], patience).done else work
        wait([work], patience)
        return cast("T", work.result()) if work.done() else None

    def close(self) -> None:
        """Let go of threads and files."""
        self._threads.shutdown()
        self._dear.shutdown(cancel_futures=True)
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
