"""The composition root: settings in, running processes out.

`penstock serve` is one parent with its children: workers (the data plane), one control process (dashboard, API,
compaction), and the sandbox where a provider of that kind is configured. `python -m penstock.app ROLE ...` is how
the parent starts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from penstock.errors import InputError, PenstockError
from penstock.gateway.booking import Booking
from penstock.gateway.gateway import Gateway
from penstock.gateway.listening import close_sockets, open_sockets, shared_out
from penstock.gateway.providers import Destination
from penstock.gateway.supervisor import WRONG_INPUT, Child, Generation, Supervisor, python
from penstock.gateway.worker import Door, serve
from penstock.ledger.log import LogWriter
from penstock.policies.deployments import Provider
from penstock.policies.pipeline import Policy
from penstock.policies.unpriced import RefuseUnpriced
from penstock.pricing.books import default_catalog
from penstock.pricing.catalog import Catalog
from penstock.pricing.folder import genai_file, own_layers
from penstock.pricing.genai import genai_book
from penstock.pricing.own import parse_own_discounts, parse_own_prices
from penstock.settings import Settings

if TYPE_CHECKING:  # a worker never queries: it does without the engine's megabytes
    import uvicorn

    from penstock.ledger.store import Ledger

log = logging.getLogger("penstock")


def catalog_for(settings: Settings) -> Catalog:
    """Build the catalog that these settings, and the books in the data folder, ask for."""
    own = own_layers(settings.data)
    return default_catalog(
        own_rows=parse_own_prices(settings.prices.rows),
        own_discounts=parse_own_discounts(settings.prices.discounts),
        scenario=settings.prices.scenario,
        own_books=own.books,
        updates=own.updates,
        direct=own.direct,
    )


def keep_books(settings: Settings, ledger: Ledger) -> Catalog:
    """Archive the books that events of this run may name, and keep the converted one for a faster start."""
    catalog = catalog_for(settings).load()
    for book in catalog.books:
        ledger.archive_book(book)
    kept = genai_file(settings.data)
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(genai_book().to_bytes())
        part.replace(kept)
    return catalog


def ledger_for(settings: Settings, *, create: bool = True) -> Ledger:
    """Open the ledger of these settings."""
    from penstock.ledger.store import Ledger

    return Ledger.open(settings.data, create=create, objects=settings.ledger.objects or None)


# What `penstock serve` runs


def run_server(
    settings: Settings,
    *,
    ready: Callable[[str], None],
    say: Callable[[str], None],
    again: Callable[[], Settings] | None = None,
) -> None:
    """Serve until told to stop; `ready` gets the address once everything answers.

    On SIGHUP the settings are read `again`, and new workers take the place of the old ones, which end their calls.
    Raises InputError where the settings cannot be served, or the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-") as run:
        household = _Household(Path(run))
        first = household.generation(settings)
        following = (lambda: household.generation(again())) if again else None
        try:
            well = asyncio.run(_supervise(first, lambda: ready(address_of_door(settings)), following, say))
        finally:
            household.close()
        if not well:
            raise InputError("The server has stopped; what is written above says why.")


async def _supervise(
    first: Generation,
    ready: Callable[[], None],
    following: Callable[[], Generation] | None,
    say: Callable[[str], None],
) -> bool:
    return await Supervisor(say).run(first, ready, following)


def address_of_door(settings: Settings) -> str:
    """Return where clients reach the server."""
    server = settings.server
    if server.unix_socket:
        return f"unix:{server.unix_socket}"
    scheme = "https" if server.tls else "http"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{scheme}://{host}:{server.port}"


class _Household:
    """Makes the children of each configuration, and holds the sockets that they inherit."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._number = 0
        self._place = ("", 0, "")
        self._sockets: list[socket.socket] = []

    def generation(self, settings: Settings) -> Generation:
        """Make the children of these settings. Raises InputError where they cannot be served."""
        server = settings.server
        try:
            settings.data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The ledger's folder {settings.data} cannot be made: {error.strerror}.") from None
        if server.tls:
            server.tls.context()
        place = (server.host, server.port, server.unix_socket)
        same = self._sockets if place == self._place else []
        ours = bool(self._sockets) and server.port == self._place[1] and not self._place[2]
        sockets = open_sockets(*place, count=server.workers, beside=same, ours=ours)
        self._number += 1
        run = self._run / str(self._number)
        run.mkdir()
        children = [*self._sandbox(settings), *self._others(settings, run, sockets)]

        def settled(taken: bool) -> None:
            """Keep the sockets of those who serve now, and close what nobody needs any more."""
            mine, others = (self._sockets, self._place), (sockets, place)
            (gone, left), (kept, here) = (mine, others) if taken else (others, mine)
            close_sockets([one for one in gone if one not in kept], left[2] if left != here else "")
            self._sockets, self._place = kept, here

        return Generation(children, settled, server.drain_seconds)

    def _sandbox(self, settings: Settings) -> list[Child]:
        """The sandbox keeps a bill of its own, so it stays for as long as its settings do."""
        if not any(_is_played(provider) for provider in settings.providers):
            return []
        folder = _sandbox_folder(self._run, settings)
        folder.mkdir(exist_ok=True)
        file = folder / "settings.json"
        file.write_bytes(msgspec.json.encode(Settings(sandbox=settings.sandbox)))
        return [_child("sandbox", file, folder)]

    def _others(self, settings: Settings, run: Path, sockets: Sequence[socket.socket]) -> list[Child]:
        played = str(_sandbox_folder(self._run, settings) / "sandbox.sock")
        providers = tuple(
            msgspec.structs.replace(provider, base_url=LOCAL, unix_socket=played) if _is_played(provider) else provider
            for provider in settings.providers
        )
        file = run / "settings.json"
        file.write_bytes(msgspec.json.encode(msgspec.structs.replace(settings, providers=providers)))
        listening = shared_out(sockets, settings.server.workers)
        workers = [_child(f"worker-{number}", file, run, *mine) for number, mine in enumerate(listening, start=1)]
        return [_child("control", file, run), *workers]

    def close(self) -> None:
        """Close the sockets."""
        close_sockets(self._sockets, self._place[2])


LOCAL = "http://localhost"


def _is_played(provider: Provider) -> bool:
    """Whether the sandbox of this server stands in for a provider."""
    return provider.kind == "sandbox" and not provider.base_url


def _sandbox_folder(run: Path, settings: Settings) -> Path:
    said = msgspec.json.encode(settings.sandbox)
    return run / f"sandbox-{hashlib.sha256(said).hexdigest()[:12]}"


def _child(role: str, file: Path, run: Path, *inherited: int) -> Child:
    command = python("-m", "penstock.app", role, str(file), str(run), *map(str, inherited))
    return Child(role, command, run / f"{role}.ready", inherited, serves=bool(inherited))


# The children


def run_worker(settings: Settings, run: Path, name: str, listening: Sequence[int]) -> None:
    """Be one worker of the data plane; `listening` are the sockets that it inherited."""
    catalog = catalog_for(settings).load()
    writer = LogWriter(settings.data, name)
    policies: list[Policy] = []
    if settings.prices.unpriced == "refuse":
        policies.append(RefuseUnpriced(catalog))
    server = settings.server
    opened = [socket.socket(fileno=one) for one in listening]
    door = Door(opened, server.limits, server.tls, server.drain_seconds, run / f"{name}.ready")

    async def work() -> None:
        loop = asyncio.get_running_loop()
        destinations = {provider.name: Destination(provider, loop) for provider in settings.providers}
        control = Destination(Provider(name="control", base_url=LOCAL, unix_socket=str(run / "control.sock")), loop)
        booking = Booking(writer, settings.ledger.fsync, loop, settings.ledger.backlog)

        def build(loop: asyncio.AbstractEventLoop) -> Gateway:
            return Gateway(
                settings=settings.gateway,
                providers=settings.providers,
                deployments=settings.deployments,
                routes=settings.routes,
                destinations=destinations,
                control=control,
                policies=policies,
                catalog=catalog,
                booking=booking,
                loop=loop,
            )

        await serve(door, [*destinations.values(), control], booking, build)

    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        runner.run(work())


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where there is one (not on Windows)."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def run_control(settings: Settings, run: Path) -> None:
    """Be the control process: dashboard, API, and compaction beside them."""
    import uvicorn

    from penstock.dashboard.app import make_app

    with ledger_for(settings) as ledger:
        catalog = keep_books(settings, ledger)
    stop = threading.Event()
    compactor = threading.Thread(target=_compact_now_and_then, args=(settings, stop), name="compactor")
    compactor.start()
    try:
        info = {"sandbox": any(provider.kind == "sandbox" for provider in settings.providers)}
        app = make_app(settings.data, catalog=catalog, info=info)
        config = uvicorn.Config(
            app, uds=str(run / "control.sock"), log_level="warning", access_log=False, lifespan="on"
        )
        _run_uvicorn(uvicorn.Server(config), run / "control.ready")
    finally:
        stop.set()
        compactor.join()


def _compact_now_and_then(settings: Settings, stop: threading.Event) -> None:
    said = ""
    with ledger_for(settings) as ledger:
        while not stop.wait(settings.ledger.compact_seconds):
            try:
                ledger.compact()
                said = ""
            except PenstockError as error:
                if str(error) != said:  # a disk stays full for many rounds: once is enough
                    log.error("compaction: %s", error)  # noqa: TRY400  # the sentence says it all
                said = str(error)


def run_sandbox(settings: Settings, run: Path) -> None:
    """Be the stand-in for the paid APIs."""
    from penstock.gateway.sandbox.server import make_server

    _run_uvicorn(make_server(settings.sandbox, uds=run / "sandbox.sock"), run / "sandbox.ready")


def _run_uvicorn(server: uvicorn.Server, ready: Path) -> None:
    """Run an ASGI server, and make the file `ready` when it answers."""

    def tell() -> None:
        while not server.started:
            time.sleep(0.02)
        ready.touch()

    threading.Thread(target=tell, daemon=True, name="tell-ready").start()
    server.run()


def main() -> None:
    """Be the child that the arguments name."""
    role, file, run_name = sys.argv[1:4]
    inherited = sys.argv[4:]
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {role} %(levelname)s %(message)s", stream=sys.stderr)
    settings = msgspec.json.decode(Path(file).read_bytes(), type=Settings)
    run = Path(run_name)
    parent = os.getppid()
    threading.Thread(target=_follow, args=(parent,), daemon=True, name="follow-parent").start()
    code = 0
    try:
        if role == "control":
            run_control(settings, run)
        elif role == "sandbox":
            run_sandbox(settings, run)
        else:
            run_worker(settings, run, role, [int(one) for one in inherited])
    except PenstockError as error:
        print(f"penstock: {error}", file=sys.stderr)  # noqa: T201  # the parent's terminal is where people read
        code = WRONG_INPUT if isinstance(error, InputError) else 1
    # All is written and closed; DuckDB's binding would only complain of objects that outlive the interpreter.
    sys.stderr.flush()
    os._exit(code)


def _follow(parent: int) -> None:
    """End with the parent, even if it was killed: an orphan would hold the port against the next server."""
    pause = threading.Event()
    while os.getppid() == parent:
        pause.wait(0.5)
    with contextlib.suppress(ProcessLookupError):
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
