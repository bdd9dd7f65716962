"""`penstock check`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cyclopts import App, Parameter
from msgspec import Struct

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

MARKS = {"yes": "[green]yes[/]", "look": "[yellow]look[/]", "no": "[red]no[/]"}


class Check(Struct, frozen=True):
    """One question, and its answer."""

    what: str
    answer: Literal["yes", "look", "no"]
    detail: str


@app.default
def check(*, common: Common = Common()) -> None:  # noqa: B008  # frozen
    """Check the settings, the prices they need, and the ledger."""
    from penstock.settings import load

    settings = load(common.config, data=common.data)
    checks = list(_checks(settings, common))
    if common.json:
        print_json({"ok": all(one.answer != "no" for one in checks), "checks": checks})
    else:
        grid = table("", "what", "detail")
        for one in checks:
            grid.add_row(MARKS[one.answer], one.what, one.detail)
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
            key = f"key from {provider.api_key_env}" if provider.api_key_env else "the client's own key is passed on"
            yield Check(f"provider {provider.name}", "yes", key)
        yield from _way_to(provider)
    yield from _door(settings)
    catalog = catalog_for(settings)
    yield from _prices(settings, catalog)
    yield from _ledger(settings)


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
