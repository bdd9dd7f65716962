"""`penstock check`."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cyclopts import App, Parameter
from msgspec import Struct
from rich.markup import escape

from penstock.cli.options import Common, answer_no, console, print_json, table
from penstock.errors import InputError
from penstock.policies.deployments import Provider
from penstock.pricing.catalog import Catalog, PriceKey
from penstock.settings import Settings

HELP = """
Exit code 0: all is well. 1: at least one answer is "no". 2: the settings cannot be read.

Examples:

- `penstock check`
- `penstock check --config staging.toml --json`
"""

app = App(name="check", help_epilogue=HELP, default_parameter=Parameter(show_default=False))

OLDEST_REDIS = 7
MARKS = {"yes": "[green]yes[/]", "look": "[yellow]look[/]", "no": "[red]no[/]"}


class Check(Struct, frozen=True):
    """One question, and its answer."""

    what: str
    answer: Literal["yes", "look", "no"]
    detail: str


@app.default
def check(*, common: Common = Common()) -> None:  # noqa: B008  # frozen
    """Check the settings, the keys, the prices they need, and the ledger."""
    from penstock.settings import load

    settings = load(common.config, data=common.data)
    checks = list(_checks(settings, common))
    if common.json:
        print_json({"ok": all(one.answer != "no" for one in checks), "checks": checks})
    else:
        grid = table("", "what", "detail")
        for one in checks:
            grid.add_row(MARKS[one.answer], escape(one.what), escape(one.detail))
        console.print(grid)
    if any(one.answer == "no" for one in checks):
        answer_no()


def _checks(settings: Settings, common: Common) -> Iterator[Check]:
    from penstock.app import catalog_for
    from penstock.settings import missing_keys

    there = common.config.exists()
    yield Check("settings", "yes" if there else "look", str(common.config) if there else "no file; defaults are used")
    missing = dict(missing_keys(settings))
    if not settings.providers:
        yield Check("providers", "no", "none is configured; start with: penstock init")
    for provider in settings.providers:
        if provider.name in missing:
            yield Check(
                f"provider {provider.name}", "no", f"the environment variable {missing[provider.name]} is not set"
            )
        else:
            yield _provider(provider)
        yield from _way_to(provider)
    yield from _door(settings)
    yield from _keys(settings)
    yield from _budgets(settings)
    yield from _alerts(settings)
    yield _telemetry(settings)
    catalog = catalog_for(settings)
    yield from _prices(settings, catalog)
    yield from _routing(settings, catalog)
    yield from _ledger(settings)


def _provider(provider: Provider) -> Check:
    """Say where a provider's key comes from."""
    from penstock.gateway.providers import provider_key

    what = f"provider {provider.name}"
    if not provider.has_key:
        return Check(what, "yes", "the client's own key is passed on")
    try:
        provider_key(provider)
    except InputError as error:
        return Check(what, "no", str(error))
    return Check(what, "yes", f"key from {provider.api_key_env or provider.api_key_file}")


def _keys(settings: Settings) -> Iterator[Check]:
    """Say who is let in, to call and to look."""
    from penstock.app import is_local, state_for
    from penstock.ledger.state import STATE_FILE
    from penstock.metering.event import utc_now
    from penstock.policies.key_store import KeyStore

    now, keys = utc_now(), []
    if (settings.data / STATE_FILE).exists():
        state = state_for(settings)
        keys = KeyStore(state).all()
        state.close()
    active = [key for key in keys if key.state_at(now) == "active"]
    callers = [key for key in active if key.role == "caller"]
    required = settings.keys.required
    if required is None:
        required = any(key.role == "caller" for key in keys)
    count = f"{len(callers)} active keys for calls"
    if required:
        detail = f"{count}; calls without one are refused"
        yield Check("keys", "yes" if callers else "no", detail if callers else f"{detail}: penstock keys create")
    else:
        yield Check("keys", "yes" if is_local(settings.server) else "look", f"{count}; a call needs none")
    for key in callers:
        if key.expires is not None and (key.expires - now).days < 14:
            yield Check(f"key {key.name}", "look", f"{key.id} expires at {key.expires:%Y-%m-%d %H:%M} UTC")
    without = [provider.name for provider in settings.providers if not provider.has_key and provider.kind != "sandbox"]
    if callers and without:
        yield Check(
            "keys of providers", "look",
            f"{', '.join(without)}: no key of its own, and a virtual key is never passed on; name one by api_key_env "
            "or api_key_file, or let clients send ours as x-penstock-key beside the provider's",
        )  # fmt: skip
    lookers = [key for key in active if key.role != "caller"]
    guarded = settings.keys.sign_in
    if guarded is None:
        guarded = not is_local(settings.server) or any(key.role != "caller" for key in keys)
    if not guarded:
        yield Check(
            "sign-in",
            "yes" if is_local(settings.server) else "look",
            "pages and API are open to whoever reaches the port",
        )
    elif lookers:
        yield Check("sign-in", "yes", f"pages and API ask for a key; {len(lookers)} are active")
    else:
        yield Check("sign-in", "no", "pages and API are closed; open them with: penstock keys create NAME --role admin")


def _budgets(settings: Settings) -> Iterator[Check]:
    """Say whether what may be spent can be counted."""
    from penstock.app import check_counters
    from penstock.policies.budgets.shared import connect

    governance = settings.governance
    try:
        check_counters(settings)
    except InputError as error:
        yield Check("budgets", "no", str(error))
        return
    if not governance.redis:
        return

    async def version() -> str:
        client = connect(governance.redis, governance.redis_timeout)
        try:
            return str((await client.info("server"))["redis_version"])
        finally:
            await client.aclose()

    try:
        found = asyncio.run(version())
    except Exception as problem:  # noqa: BLE001  # whatever the client raises
        then = "refused" if governance.when_unavailable == "refuse" else "served uncounted"
        detail = f"Redis cannot be asked ({problem}): until it can, calls under a budget or limit are {then}"
        yield Check("budgets", "no", detail)
        return
    if int(found.partition(".")[0]) < OLDEST_REDIS:
        yield Check("budgets", "no", f"Redis is {found}; it must be {OLDEST_REDIS} or newer")
    else:
        yield Check("budgets", "yes", f"Redis {found} keeps the counters")


def _alerts(settings: Settings) -> Iterator[Check]:
    """Say by which channels people are told."""
    for channel in settings.alerts:
        absent = channel.missing()
        if absent:
            detail = f"the environment variable {absent[0]} is not set"
            yield Check(f"alerts {channel.name}", "no", detail)
        else:
            detail = f"{channel.kind}; try it with: penstock alerts test --channel {channel.name}"
            yield Check(f"alerts {channel.name}", "yes", detail)
    if not settings.alerts:
        yield Check("alerts", "yes", "written into the server's log only; tell people by [[alerts]] rows")


def _telemetry(settings: Settings) -> Check:
    """Say what is taken from OpenTelemetry's exporters, and who is told of calls."""
    from penstock.app import check_telemetry
    from penstock.ledger.importers.otlp_wire import has_protobuf

    try:
        check_telemetry(settings.telemetry)
    except InputError as error:
        return Check("telemetry", "no", str(error))
    forms = "protobuf and JSON" if has_protobuf() else "JSON only; for protobuf: pip install 'penstock[otel]'"
    taken = f"taken at /v1/traces and /v1/metrics ({forms})" if settings.telemetry.receive else "none is taken"
    return Check("telemetry", "yes", f"{taken}; calls are told to {settings.telemetry.otlp_endpoint or 'nobody'}")


def _way_to(provider: Provider) -> Iterator[Check]:
    """Say how a provider is reached, where it is not simply called."""
    from penstock.gateway.dialing import address_of
    from penstock.gateway.listening import is_socket

    if not provider.base_url:
        return
    address, _ = address_of(
        provider.base_url, unix_socket=provider.unix_socket, proxy=provider.proxy, ca_file=provider.ca_file
    )  # its files were read with the settings: what cannot be used ends there
    way = []
    if address.unix_socket:
        way.append(f"by the Unix socket {address.unix_socket}")
    if address.proxy:
        why = "" if provider.proxy else ", which the environment names"
        way.append(f"by the proxy {address.proxy.host}:{address.proxy.port}{why}")
    if provider.ca_file:
        way.append(f"its certificate is verified by {provider.ca_file}")
    if not way:
        return
    there = not address.unix_socket or is_socket(address.unix_socket)
    detail = "; ".join(way) + ("" if there else "; nothing listens there")
    yield Check(f"way to {provider.name}", "yes" if there else "look", detail)


def _door(settings: Settings) -> Iterator[Check]:
    """Say whether the server could be reached as the settings want it."""
    from penstock.gateway.listening import last_day

    server = settings.server
    if server.unix_socket:
        folder = Path(server.unix_socket).absolute().parent
        there = folder.is_dir()
        yield Check("unix_socket", "yes" if there else "no", server.unix_socket if there else f"{folder} is no folder")
    if server.tls is None:
        return
    try:
        server.tls.context()
    except InputError as error:
        yield Check("tls", "no", str(error))
        return
    until = last_day(server.tls.certificate)
    left = (until - datetime.now(UTC)).days
    ends = f"{server.tls.certificate}, valid until {until:%Y-%m-%d}"
    clients = f"; only clients with a certificate of {server.tls.client_ca}" if server.tls.client_ca else ""
    yield Check("tls", "no" if left < 0 else "look" if left < 14 else "yes", ends + clients)


def _prices(settings: Settings, catalog: Catalog) -> Iterator[Check]:
    from penstock.policies.deployments import target_of
    from penstock.pricing.lifecycle import retirement

    now = datetime.now(UTC)
    providers = {provider.name: provider for provider in settings.providers}
    for deployment in settings.deployments:
        served = target_of(deployment, providers[deployment.provider], declared=True).served
        model, version = catalog.identify(served.provider, served.model)
        key = PriceKey(
            provider=served.provider, model=model, version=version, deployment_type=served.deployment_type,
            region=served.region,
        )  # fmt: skip
        row = catalog.row(key, now)
        what = f"price of {deployment.name}"
        if row is None:
            how = f"penstock prices set {model} --provider {served.provider} --input … --output …"
            yield Check(what, "no", f"no price is known; add one with: {how}")
        else:
            rates = ", ".join(
                f"{unit} {rate * 1_000_000:f}".rstrip("0").rstrip(".") for unit, rate in row.rates.items()
            )
            yield Check(
                what, "yes", f"{row.id} ({row.book}): {rates or 'flat rate' if row.flat_rate else rates or 'free'}"
            )
        end = retirement(served.provider, model, version)
        if end is not None:
            gone = end.retires <= now.date()
            said = f"{model} {'was retired' if gone else 'retires'} on {end.retires} ({end.source})"
            yield Check(f"lifecycle of {deployment.name}", "no" if gone else "look", said)


def _routing(settings: Settings, catalog: Catalog) -> Iterator[Check]:
    """Say how each route decides, what is not known of its models, and whether its cascade can pay."""
    from penstock.policies.deployments import target_of
    from penstock.policies.routing.asked import NOTHING
    from penstock.policies.routing.capability import ability_of, why_not
    from penstock.policies.routing.rates import RateCard, breakeven

    now, card = datetime.now(UTC), RateCard(catalog)
    providers = {provider.name: provider for provider in settings.providers}
    targets = {row.name: target_of(row, providers[row.provider], declared=True) for row in settings.deployments}
    for route in settings.routes:
        if (routing := route.routing) is None:
            continue
        among = [targets[name] for name in route.deployments]
        default = targets[routing.default] if routing.default else among[-1]
        tiers = ", ".join(f"{one.deployment.model} is {ability_of(one).tier}" for one in among)
        detail = (
            f"{tiers}; {default.deployment.model} serves what is not known and {routing.holdout:.0%} as the holdout; "
            f"a good answer is worth ${routing.answer_worth:f}"
        )
        yield Check(f"routing of {route.model}", "yes" if len(among) > 1 else "look", detail)
        closed = {
            one.deployment.name: why for one in among
            if (why := why_not(ability_of(one), one, NOTHING, output=None, today=now.date(), regions=routing.regions))
        }  # fmt: skip
        for name, why in closed.items():
            also = ", and it should serve the holdout" if name == default.deployment.name else ""
            said = f"no call goes to {name}: {why}{also}"
            yield Check(f"routing of {route.model}", "no" if len(closed) == len(among) else "look", said)
        for one in among:
            if not ability_of(one).known:
                what = f"what {one.deployment.model} can do is not known, so it gets plain text only"
                how = f"say its `tier`, `context` and `can` in the row of deployment {one.deployment.name!r}"
                yield Check(f"routing of {route.model}", "look", f"{what}; {how}")
        if routing.cascade is not None:
            most = breakeven(card, among, default, now)
            pays = most is not None and most > 0
            said = "its cheapest model has no lower price than its default, so it cannot pay" if not pays else (
                f"it pays while less than {most:.0%} of the first answers fail a check"
            )  # fmt: skip
            yield Check(f"cascade of {route.model}", "yes" if pays else "look", said)


def _ledger(settings: Settings) -> Iterator[Check]:
    from penstock.analytics.spend import spend
    from penstock.app import ledger_for

    windows = {
        "always": "no loss",
        "interval": "at most 50 ms or, if power fails, a second",
        "never": "as the system likes",
    }
    if not settings.data.exists():
        yield Check("ledger", "look", f"{settings.data} is not there yet; it is made by serve and import")
        return
    with ledger_for(settings) as ledger:
        found = spend(ledger.moment(), by=["model"])
        events = sum(row.events for row in found.rows)
        yield Check(
            "ledger", "yes", f"{settings.data}: {events:,} events; lost in a crash: {windows[settings.ledger.fsync]}"
        )
        for gap in found.unpriced:
            yield Check(
                f"price of {gap.model}", "no",
                f"{gap.events:,} events of {gap.provider} have no price and are not in any total; "
                f"add one with: penstock prices set {gap.model} --provider {gap.provider} --input … --output …, "
                "then: penstock ledger reprice",
            )  # fmt: skip
