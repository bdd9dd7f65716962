"""The composition root: settings in, running processes out.

`penstock serve` is one parent with its children: workers (the data plane), one control process (dashboard, API,
compaction), and the sandbox where a provider of that kind is configured. `python -m penstock.app ROLE ...` is how
the parent starts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from penstock.errors import InputError, LedgerError, PenstockError
from penstock.gateway.booking import Booking
from penstock.gateway.gateway import Gateway
from penstock.gateway.keyring import Keyring
from penstock.gateway.listening import close_sockets, open_sockets, shared_out
from penstock.gateway.outcome_door import OutcomeDoor
from penstock.gateway.providers import Destination, provider_key
from penstock.gateway.supervisor import WRONG_INPUT, Child, Generation, Supervisor, keep_young, python, run_folder
from penstock.gateway.telemetry.settings import TelemetrySettings
from penstock.gateway.worker import Door, serve
from penstock.ledger.levers import LeverWatch
from penstock.ledger.log import LogWriter, list_logs
from penstock.ledger.logfile import is_live
from penstock.ledger.state import STATE_FILE, State
from penstock.metering.event import new_id
from penstock.policies.budgets.counters import Counters
from penstock.policies.budgets.embedded import EmbeddedCounters, SeparateCounters, need_redis
from penstock.policies.budgets.policy import Budgets
from penstock.policies.budgets.rules import Rule, Rules, merged
from penstock.policies.budgets.shared import RedisCounters, connect
from penstock.policies.budgets.store import made_rules
from penstock.policies.budgets.upkeep import Upkeep
from penstock.policies.deployments import Provider
from penstock.policies.pipeline import Policy
from penstock.policies.routing.cascade import Cascades
from penstock.policies.routing.learning import Learning
from penstock.policies.routing.policy import RoutePolicy, decides
from penstock.policies.routing.router import LEVER
from penstock.policies.unpriced import RefuseUnpriced
from penstock.pricing.books import default_catalog
from penstock.pricing.catalog import Catalog
from penstock.pricing.folder import genai_file, keep_genai, own_layers
from penstock.pricing.own import parse_own_discounts, parse_own_prices
from penstock.settings import ServerSettings, Settings

if TYPE_CHECKING:  # a worker never queries: it does without the engine's megabytes
    import uvicorn

    from penstock.analytics.budget_outlook import Allowances
    from penstock.analytics.savings import Terms
    from penstock.dashboard.doorkeeper import Access
    from penstock.dashboard.metrics import Beside, Worker
    from penstock.dashboard.scheduled import Desk
    from penstock.gateway.telemetry.exporter import Exporter
    from penstock.ledger.store import Ledger
    from penstock.policies.budgets.desk import Desk as BudgetDesk
    from penstock.policies.budgets.status import Standing

log = logging.getLogger("penstock")

LEDGER_ID = "ledger"
"""Setting of the state: names this ledger among those whose spending is counted together."""
WATCH_SECONDS = 3.0
LOOK_SECONDS = 5.0
"""How often it is looked whether a report is due, or an hour is over."""
SUM_SECONDS = 100.0
"""How long adding the ledger up for its counters may take."""


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
    keep_genai(settings.data)
    return catalog


def ledger_for(settings: Settings, *, create: bool = True) -> Ledger:
    """Open the ledger of these settings."""
    from penstock.ledger.store import Ledger

    return Ledger.open(settings.data, create=create, objects=settings.ledger.objects or None)


def state_for(settings: Settings, *, create: bool = True) -> State:
    """Open the small state beside the ledger: keys, alerts. Raises InputError where there is none to read."""
    if not create and not (settings.data / STATE_FILE).exists():
        raise InputError(f"There is no ledger in {settings.data}. Name its folder with --data.")
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The ledger's folder {settings.data} cannot be made: {error.strerror}.") from None
    return State(settings.data / STATE_FILE)


def routing_for(settings: Settings, catalog: Catalog, state: State) -> Learning | None:
    """Return the routing that these settings ask for, with what keeps it learning; None: they ask for none."""
    if not any(decides(route) for route in settings.routes):
        return None
    watch = LeverWatch(state)
    policy = RoutePolicy(
        catalog, settings.routes, settings.deployments, settings.providers, lambda key: watch.is_off(LEVER, key)
    )
    return Learning(policy, watch, settings.data)


def counters_for(settings: Settings, state: State, owner: str = "") -> Counters:
    """Return the counters that these settings ask for: in Redis, or in this process."""
    governance = settings.governance
    if not governance.redis:
        if settings.server.workers > 1:
            return SeparateCounters(settings.server.workers)
        return EmbeddedCounters(lease_seconds=governance.lease_seconds)
    ledger = state.get(LEDGER_ID)
    if not ledger:
        with state.transaction() as write:  # of several processes that begin at once, the first one names it
            write.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (LEDGER_ID, new_id()))
        ledger = state.get(LEDGER_ID)
    return RedisCounters(
        connect(governance.redis, governance.redis_timeout), ledger=ledger, prefix=governance.redis_prefix,
        lease_seconds=governance.lease_seconds, owner=owner,
    )  # fmt: skip


def desk_for(settings: Settings, state: State) -> BudgetDesk:
    """Return where people look after budgets."""
    from penstock.policies.budgets.desk import Desk

    def shared(state: State) -> RedisCounters:
        counters = counters_for(settings, state)
        assert isinstance(counters, RedisCounters)
        return counters

    return Desk(
        state, settings.data, settings.rules, shared if settings.governance.redis else None, settings.aliases
    )  # fmt: skip


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
    with run_folder(LONGEST_SOCKET_NAME) as run:
        household = _Household(run)
        first = household.generation(settings)
        following = (lambda: household.generation(again())) if again else None
        try:
            well = asyncio.run(_supervise(run, first, lambda: ready(address_of_door(settings)), following, say))
        finally:
            household.close()
        if not well:
            raise InputError("The server has stopped; what is written above says why.")


async def _supervise(
    run: Path,
    first: Generation,
    ready: Callable[[], None],
    following: Callable[[], Generation] | None,
    say: Callable[[str], None],
) -> bool:
    young = asyncio.create_task(keep_young(run))
    try:
        return await Supervisor(say).run(first, ready, following)
    finally:
        young.cancel()


def check_counters(settings: Settings) -> None:
    """Raise InputError where several workers would each count for themselves what all may spend together."""
    if settings.governance.redis:
        connect(settings.governance.redis, settings.governance.redis_timeout)
    elif settings.server.workers > 1:
        rules = settings.rules
        if (settings.data / STATE_FILE).exists():
            state = state_for(settings)
            made = made_rules(state)
            state.close()
            rules = Rules(budgets=(*rules.budgets, *made.budgets), limits=rules.limits)
        if rules.budgets or rules.limits:
            raise InputError(need_redis(settings.server.workers))


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
        for provider in settings.providers:
            provider_key(provider)
        check_counters(settings)
        check_telemetry(settings.telemetry)
        _convert_prices(settings.data)
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


def _convert_prices(data: Path) -> None:
    """Convert the prices of direct providers in a process of its own: a worker would keep its memory for good."""
    if not genai_file(data).exists():
        subprocess.run(python("-m", "penstock.pricing.folder", str(data)), check=False)  # noqa: S603  # this interpreter, our own module


LOCAL = "http://localhost"
LONGEST_SOCKET_NAME = "sandbox-0123456789ab/sandbox.sock"
"""Below the folder of a run."""


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


def run_worker(settings: Settings, file: Path, run: Path, name: str, listening: Sequence[int]) -> None:
    """Be one worker of the data plane; `listening` are the sockets that it inherited."""
    catalog = catalog_for(settings).load()
    writer = LogWriter(settings.data, name)
    keyring = Keyring(settings.data / STATE_FILE, settings.keys)
    state = state_for(settings)
    budgets = Budgets(catalog, counters_for(settings, state, name), settings.governance)
    routing = routing_for(settings, catalog, state)
    policies: list[Policy] = [routing.policy, budgets] if routing else [budgets]
    if settings.prices.unpriced == "refuse":
        policies.append(RefuseUnpriced(catalog))
    governed = tuple(policy for policy in policies if policy is not (routing and routing.policy))
    if any(route.routing and route.routing.cascade for route in settings.routes):
        policies.append(Cascades())
    server = settings.server
    opened = [socket.socket(fileno=one) for one in listening]
    door = Door(
        opened, server.limits, server.tls, server.drain_seconds, run / f"{name}.ready", run / f"{name}.condition"
    )

    async def work() -> None:
        loop = asyncio.get_running_loop()
        destinations = {provider.name: Destination(provider, loop) for provider in settings.providers}
        place = Provider(name="control", base_url=LOCAL, unix_socket=str(run / "control.sock"))
        control = Destination(place, loop, ours=True)
        booking = Booking(writer, settings.ledger.fsync, loop, settings.ledger.backlog)
        telling = exporter_for(settings.telemetry, loop, name)
        outcomes = OutcomeDoor(settings.data)

        def build(loop: asyncio.AbstractEventLoop) -> Gateway:
            gateway = Gateway(
                settings=settings.gateway,
                providers=settings.providers,
                deployments=settings.deployments,
                routes=settings.routes,
                destinations=destinations,
                control=control,
                policies=policies,
                catalog=catalog,
                booking=booking,
                keyring=keyring,
                loop=loop,
                notes=telling.notes if telling else None,
                outcomes=outcomes,
                proof=settings.proof,
                beside=governed,
            )
            if routing:
                routing.policy.rests, routing.policy.ask = gateway.rests, gateway.ask
                routing.policy.start = gateway.start
                routing.policy.book = outcomes.note
            return gateway

        keyring.start()
        if telling:
            telling.start()
        upkeep = Upkeep(
            budgets, file=settings.rules, state=state, settings=settings.governance,
            sum_up=lambda rules, cut: sum_up_beside(file, run, rules, cut), written=lambda: _written(writer),
            folder=settings.data, others=lambda: _others_book(settings.data, writer.writer),
        )  # fmt: skip
        await upkeep.start()
        if routing:
            routing.start()
        await serve(door, [*destinations.values(), control], booking, build)
        if routing:
            await routing.close()
        await upkeep.close()
        keyring.close()
        if telling:
            await telling.close()
        outcomes.close()

    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        runner.run(work())


def exporter_for(telemetry: TelemetrySettings, loop: asyncio.AbstractEventLoop, worker: str) -> Exporter | None:
    """Return what tells a collector of calls, if there is one: otherwise nothing of it is even imported."""
    if not telemetry.otlp_endpoint:
        return None
    from penstock.gateway.telemetry.exporter import Exporter

    return Exporter(telemetry, loop, worker)


def check_telemetry(telemetry: TelemetrySettings) -> None:
    """Raise InputError where calls should be told to a collector and cannot be."""
    if not telemetry.otlp_endpoint:
        return
    from penstock.ledger.importers.otlp_wire import has_protobuf

    if not has_protobuf():
        raise InputError(
            "[telemetry] otlp_endpoint needs an optional package: install it with pip install 'penstock[otel]'."
        )
    from penstock.gateway.telemetry.exporter import headers_of

    headers_of(telemetry.headers_env)


async def _written(writer: LogWriter) -> None:
    """Wait until what is booked by now is in the log."""
    booked = writer.sequence
    while writer.written < booked:
        await asyncio.sleep(0.02)


def _others_book(data: Path, writer: str) -> bool:
    """Whether another process has a log of this ledger open."""
    return any(f"-{writer}-" not in log.name and is_live(log) for log in list_logs(data))


class Question(msgspec.Struct, frozen=True):
    """What a worker asks of the ledger: its engine stays in a process of its own."""

    rules: Rules
    cut: datetime


async def sum_up_beside(file: Path, run: Path, rules: Rules, cut: datetime) -> dict[str, tuple[int, int]]:
    """Add the ledger up for the counters of some rules, in a process of its own. Raises LedgerError."""
    process = await asyncio.create_subprocess_exec(
        *python("-m", "penstock.app", "sums", str(file), str(run)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(SUM_SECONDS):
            said, _ = await process.communicate(msgspec.json.encode(Question(rules, cut)))
    except BaseException as error:
        if process.returncode is None:
            process.kill()
        if isinstance(error, TimeoutError):
            raise LedgerError(f"The ledger was not added up within {SUM_SECONDS:.0f} s.") from None
        raise
    if process.returncode:
        raise LedgerError("The ledger could not be added up; what is written above says why.")
    found = msgspec.json.decode(said, type=dict[str, tuple[str, int]])
    return {counter: (int(amount), forgotten) for counter, (amount, forgotten) in found.items()}


def run_sums(settings: Settings) -> None:
    """Answer a worker's question on the standard output."""
    from penstock.policies.budgets.sums import ledger_sums

    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    with ledger_for(settings) as ledger:
        found = ledger_sums(ledger, question.rules, now=datetime.now(UTC), cut=question.cut)
    answer = {counter: (str(amount), forgotten) for counter, (amount, forgotten) in found.items()}
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    sys.stdout.buffer.flush()


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where there is one (not on Windows)."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def run_control(settings: Settings, run: Path) -> None:
    """Be the control process: dashboard, API, and beside them compaction and alerts."""
    import uvicorn

    from penstock.dashboard.app import make_app
    from penstock.gateway.telemetry.receiver import Receiver
    from penstock.ledger.importers.live import Intake

    with ledger_for(settings) as ledger:
        catalog = keep_books(settings, ledger)
    stop = threading.Event()
    beside = [
        threading.Thread(target=work, args=(settings, stop), name=work.__name__.strip("_"))
        for work in (
            _compact_now_and_then,
            _deliver_alerts,
            _watch_budgets_now_and_then,
            _report_now_and_then,
            _guard_quality_now_and_then,
        )
    ]
    for thread in beside:
        thread.start()
    telemetry = settings.telemetry
    intake = (
        Intake(
            lambda: ledger_for(settings), catalog, max_body=telemetry.max_body, max_waiting=telemetry.max_waiting
        )
        if telemetry.receive
        else None
    )  # fmt: skip
    keyring = Keyring(settings.data / STATE_FILE, settings.keys)
    keyring.start()
    try:
        app = make_app(settings.data, catalog=catalog, info=info_for(settings, run), access=_access(settings))
        door = Receiver(app, intake, keyring, max_body=telemetry.max_body)
        config = uvicorn.Config(
            door, uds=str(run / "control.sock"), log_level="warning", access_log=False, lifespan="on"
        )
        _run_uvicorn(uvicorn.Server(config), run / "control.ready")
    finally:
        if intake:
            intake.close()
        keyring.close()
        stop.set()
        for thread in beside:
            thread.join()


def info_for(settings: Settings, run: Path) -> dict[str, Any]:
    """Tell the pages what the settings say that they show."""
    return {
        "sandbox": any(provider.kind == "sandbox" for provider in settings.providers),
        "chargeback": settings.chargeback,
        "metrics": settings.unit_economics.file,
        "beside": _beside(settings, run),
        "reports": settings.reports,
        "terms": terms_of(settings),
        "allowances": lambda: allowances_for(settings),
        "rules": settings.rules,
        "desk": lambda state: desk_for(settings, state),
        "channels": tuple(channel.name for channel in settings.alerts),
        "redis": bool(settings.governance.redis),
    }


def _beside(settings: Settings, run: Path) -> Beside:
    """Say what the metrics tell beside what is in the ledger."""
    from penstock.dashboard.metrics import Beside, Worker

    def budgets() -> list[Standing]:
        state = state_for(settings)
        try:
            return [one.standing for one in desk_for(settings, state).burning(datetime.now(UTC)).budgets]
        finally:
            state.close()

    def workers() -> dict[str, Worker]:
        found = {}
        for file in run.glob("*.condition"):
            with contextlib.suppress(OSError, msgspec.MsgspecError):  # gone, or of a worker of another version
                found[file.stem] = msgspec.json.decode(file.read_bytes(), type=Worker)
        return found

    return Beside(settings.metrics, budgets, workers)


def _access(settings: Settings) -> Access:
    """Say who can reach the pages, and what the settings want of them."""
    from penstock.dashboard.doorkeeper import Access

    server = settings.server
    return Access(local=is_local(server), sign_in=settings.keys.sign_in, tls=server.tls is not None)


def is_local(server: ServerSettings) -> bool:
    """Tell whether only this machine reaches the server."""
    if server.unix_socket or server.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(server.host).is_loopback
    except ValueError:
        return False


def _watch_budgets_now_and_then(settings: Settings, stop: threading.Event) -> None:
    """Tell of thresholds that were crossed, beside the calls."""
    from penstock.policies.alerts import enqueue
    from penstock.policies.budgets.status import alerts_for

    said = ""
    state = state_for(settings)
    while not stop.wait(WATCH_SECONDS):
        desk, now = desk_for(settings, state), datetime.now(UTC)
        try:
            rules = desk.rules()
            for alert in alerts_for(rules, desk.figures(rules, now)[0], now) if rules.budgets else ():
                enqueue(state, alert)
            said = ""
        except PenstockError as error:
            if str(error) != said:
                log.error("budgets: %s", error)  # noqa: TRY400  # the sentence says it all
            said = str(error)
    state.close()


def allowances_for(settings: Settings) -> Allowances:
    """Return the budgets in force, of the file and made by command, as the ledger is asked about them."""
    from penstock.analytics.budget_outlook import Allowance

    made = Rules()
    if (settings.data / STATE_FILE).exists():
        state = state_for(settings)
        made = made_rules(state)
        state.close()
    rules = [Rule(budget) for budget in merged(settings.rules, made).budgets]

    def allowances(at: datetime) -> list[Allowance]:
        found = []
        for rule in rules:
            window, budget = rule.window(at), rule.budget
            found.append(
                Allowance(
                    scope=str(rule.scope), per=budget.per, dollars=budget.dollars, hard=budget.hard,
                    where=rule.scope.fixed, each=rule.scope.each, time_zone=budget.time_zone, since=window.start,
                    until=window.end and window.end - timedelta(seconds=window.piece), rolls=bool(window.piece),
                )
            )  # fmt: skip
        return found

    return allowances


def report_desk_for(settings: Settings, ledger: Ledger) -> Desk:
    """Return what scheduled reports are put together from."""
    from penstock.analytics.change import rates_in
    from penstock.dashboard.scheduled import Desk

    return Desk(ledger, allowances_for(settings), rates_in(ledger, lambda: catalog_for(settings)))


def _report_now_and_then(settings: Settings, stop: threading.Event) -> None:
    """Send reports when they are due, and tell of anomalies when they are new."""
    from penstock.dashboard.scheduled import send_due, tell_of_anomalies

    said = ""
    state = state_for(settings)
    with ledger_for(settings) as ledger:
        while not stop.wait(LOOK_SECONDS):
            try:
                now = datetime.now(UTC)
                send_due(state, settings.reports, lambda: report_desk_for(settings, ledger), now)
                tell_of_anomalies(state, settings.anomalies, ledger, now)
                said = ""
            except PenstockError as error:
                if str(error) != said:
                    log.error("reports: %s", error)  # noqa: TRY400  # the sentence says it all
                said = str(error)
    state.close()


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


def _guard_quality_now_and_then(settings: Settings, stop: threading.Event) -> None:
    """Take back levers whose answers have become too bad, and drop old scores once a day.

    Without new outcomes there is nothing to look at.
    """
    from penstock.ledger.outcomes import forget_old_scores, newest_outcome
    from penstock.optimization.guard import guard

    said, seen, terms = "", (0, 0), terms_of(settings)
    keep = timedelta(days=settings.proof.keep_days) or None
    due = datetime.min.replace(tzinfo=UTC)
    with ledger_for(settings) as ledger:
        while not stop.wait(settings.proof.check_seconds):
            try:
                now = datetime.now(UTC)
                if now >= due:
                    forget_old_scores(settings.data, now, keep=keep)
                    due = now + timedelta(days=1)
                newest = newest_outcome(settings.data)
                if newest != seen:
                    for lever, key in guard(ledger, now, terms):
                        log.warning("savings: %s was taken back for %s", lever, key)
                    seen = newest
                said = ""
            except PenstockError as error:
                if str(error) != said:
                    log.error("savings: %s", error)  # noqa: TRY400  # the sentence says it all
                said = str(error)


def terms_of(settings: Settings) -> Terms:
    """Return what these settings ask of a proof."""
    from penstock.analytics.savings import Terms

    return Terms(margin=settings.proof.margin, alpha=round(1 - settings.proof.confidence, 12))


def _deliver_alerts(settings: Settings, stop: threading.Event) -> None:
    from penstock.policies.alert_delivery import deliver_until

    state = state_for(settings)
    try:
        deliver_until(stop, state, settings.alerts)
    finally:
        state.close()


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
    for client in ("httpx", "httpx2"):  # they log whole addresses, and a webhook's is a secret
        logging.getLogger(client).setLevel(logging.WARNING)
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
        elif role == "sums":
            run_sums(settings)
        else:
            run_worker(settings, Path(file), run, role, [int(one) for one in inherited])
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
