"""The composition root: settings in, running processes out.

`penstock serve` is one parent with its children: workers (the data plane), one control process (dashboard, API,
compaction), and the sandbox where a provider of that kind is configured. `python -m penstock.app ROLE ...` is how
the parent starts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from penstock.errors import InputError, PenstockError
from penstock.gateway.booking import Booking
from penstock.gateway.gateway import Gateway
from penstock.gateway.providers import Destination
from penstock.gateway.supervisor import WRONG_INPUT, Child, Supervisor, python
from penstock.gateway.worker import Door, listening_socket, serve
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


def run_server(settings: Settings, *, ready: Callable[[str], None], say: Callable[[str], None]) -> None:
    """Serve until told to stop; `ready` gets the address once the first worker answers.

    Raises InputError where the port is taken.
    """
    server = settings.server
    try:
        listening_socket(server.host, server.port, shared=False).close()
    except OSError as error:
        raise InputError(
            f"Cannot listen on {server.host}:{server.port}: {error.strerror}. "
            "Choose another with --port, or stop what is using it."
        ) from None
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The ledger's folder {settings.data} cannot be made: {error.strerror}.") from None
    with tempfile.TemporaryDirectory(prefix="penstock-") as run_name:
        run = Path(run_name)
        file = run / "settings.json"
        file.write_bytes(msgspec.json.encode(settings))
        supervisor = Supervisor(_children(settings, run, file), grace_seconds=server.drain_seconds, say=say)
        asyncio.run(_supervise(supervisor, settings, ready))
        if supervisor.hopeless:
            raise InputError("The server has stopped; what is written above says why.")


async def _supervise(supervisor: Supervisor, settings: Settings, ready: Callable[[str], None]) -> None:
    tasks: list[asyncio.Task[None]] = []

    def started() -> None:
        tasks.append(asyncio.create_task(_announce(settings, ready)))

    await supervisor.run(started)
    for task in tasks:
        task.cancel()


async def _announce(settings: Settings, ready: Callable[[str], None]) -> None:
    host, port = settings.server.host, settings.server.port
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    while not await _answers(host, port, "/readyz"):
        await asyncio.sleep(0.05)
    ready(address)


async def _answers(host: str, port: int, path: str) -> bool:
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
            line = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in line


def _children(settings: Settings, run: Path, file: Path) -> list[Child]:
    children = [Child("control", python("-m", "penstock.app", "control", str(file), str(run)))]
    if any(provider.kind == "sandbox" for provider in settings.providers):
        children.append(Child("sandbox", python("-m", "penstock.app", "sandbox", str(file), str(run))))
    for number in range(1, settings.server.workers + 1):
        name = f"worker-{number}"
        children.append(Child(name, python("-m", "penstock.app", name, str(file), str(run))))
    return children


# The children


def run_worker(settings: Settings, run: Path, name: str) -> None:
    """Be one worker of the data plane."""
    catalog = catalog_for(settings).load()
    writer = LogWriter(settings.data, name)
    policies: list[Policy] = []
    if settings.prices.unpriced == "refuse":
        policies.append(RefuseUnpriced(catalog))
    door = Door(settings.server.host, settings.server.port, settings.server.limits, settings.server.drain_seconds)

    async def work() -> None:
        loop = asyncio.get_running_loop()
        destinations = {
            provider.name: Destination(provider, provider.base_url or f"unix://{run}/sandbox.sock", loop)
            for provider in settings.providers
        }
        control = Destination(Provider(name="control", kind="openai"), f"unix://{run}/control.sock", loop)
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
        uvicorn.run(app, uds=str(run / "control.sock"), log_level="warning", access_log=False, lifespan="on")
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

    make_server(settings.sandbox, uds=run / "sandbox.sock").run()


def main() -> None:
    """Be the child that the arguments name."""
    role, file, run_name = sys.argv[1:4]
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
            run_worker(settings, run, role)
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
