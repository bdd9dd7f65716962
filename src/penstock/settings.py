"""Configuration: `penstock.toml`, read once, checked whole, and handed down in pieces."""

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from penstock.errors import InputError, SettingsError
from penstock.gateway.booking import Backlog, Fsync
from penstock.gateway.dialing import address_of
from penstock.gateway.gateway import GatewaySettings
from penstock.gateway.listening import InboundTls
from penstock.gateway.sandbox.settings import SandboxSettings
from penstock.gateway.server import ServerLimits
from penstock.policies.deployments import Deployment, Provider, Route

DEFAULT_BASE_URLS = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}


class ServerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[server]`: where the door is."""

    host: str = "127.0.0.1"
    port: int = 4000
    unix_socket: str = ""
    """Path of a Unix socket to listen on, in place of host and port."""
    workers: int = 1
    drain_seconds: float = 30.0
    """How long calls under way may take to end when the server is told to stop."""
    limits: ServerLimits = ServerLimits()
    tls: InboundTls | None = None
    """`[server.tls]`: clients connect by TLS."""


class LedgerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[ledger]`: where the book is, and how soon an event is on the disk."""

    data: str = "penstock-data"
    fsync: Fsync = "interval"
    max_waiting: int = 20_000
    """Events of one worker that may wait for the disk."""
    max_waiting_seconds: float = 10.0
    """How long the oldest of them may have waited."""
    when_behind: Literal["wait", "refuse"] = "wait"
    """What a new call is told when more, or for longer, waits: to wait, up to as many seconds again, or 503 at once."""
    compact_seconds: float = 10.0
    """How often finished logs are turned into Parquet."""
    objects: str = ""
    """Optional object storage for the Parquet files: `s3://bucket/prefix`, `abfs://...`, `gs://...`."""

    @property
    def backlog(self) -> Backlog:
        """What may wait for the disk."""
        return Backlog(events=self.max_waiting, seconds=self.max_waiting_seconds, answer=self.when_behind)


class PriceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[prices]`: what comes before the books, and what happens to a call without a price."""

    unpriced: Literal["serve", "refuse"] = "serve"
    scenario: str = ""
    """A named scenario book, such as `guide-2026-03`, to price by instead of today's books."""
    rows: tuple[dict[str, Any], ...] = ()
    """Contract prices of your own: `[[prices.rows]]`."""
    discounts: tuple[dict[str, Any], ...] = ()
    """Discounts of your own: `[[prices.discounts]]`."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that `penstock.toml` can say."""

    server: ServerSettings = ServerSettings()
    gateway: GatewaySettings = GatewaySettings()
    ledger: LedgerSettings = LedgerSettings()
    prices: PriceSettings = PriceSettings()
    sandbox: SandboxSettings = SandboxSettings()
    providers: tuple[Provider, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    routes: tuple[Route, ...] = ()

    @property
    def data(self) -> Path:
        """The ledger's folder."""
        return Path(self.ledger.data)


def load(file: Path, *, data: Path | None = None) -> Settings:
    """Read `file`; one that is not there stands for the defaults. `data` overrides the ledger's folder.

    Raises SettingsError, which names the place and what is wrong there.
    """
    if not file.exists():
        settings = Settings()
    else:
        try:
            settings = parse(file.read_text("utf-8"), str(file))
        except UnicodeDecodeError as error:
            raise SettingsError(str(file), "", f"it is not UTF-8 text: {error.reason} at byte {error.start}") from None
        except OSError as error:
            raise SettingsError(str(file), "", f"it cannot be read: {error.strerror}") from None
    if data is not None:
        ledger = msgspec.structs.replace(settings.ledger, data=str(data))
        settings = msgspec.structs.replace(settings, ledger=ledger)
    return settings


def parse(text: str, name: str = "penstock.toml") -> Settings:
    """Turn TOML into settings."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(name, "", f"it is not TOML: {error}") from None
    try:
        settings = msgspec.convert(document, Settings)
    except msgspec.ValidationError as error:
        sentence, _, place = str(error).partition(" - at ")
        raise SettingsError(name, place.strip("`").removeprefix("$."), sentence + _hint(sentence)) from None
    settings = msgspec.structs.replace(settings, providers=tuple(_with_defaults(row) for row in settings.providers))
    _check(settings, name)
    return settings


def _with_defaults(provider: Provider) -> Provider:
    return msgspec.structs.replace(
        provider, base_url=provider.base_url.rstrip("/") or DEFAULT_BASE_URLS.get(provider.kind, "")
    )


def _hint(sentence: str) -> str:
    """Suggest the known name that an unknown one is nearest to."""
    if "unknown field" not in sentence:
        return ""
    unknown = sentence.rpartition("`")[0].rpartition("`")[2]
    structs = (
        Settings, ServerSettings, ServerLimits, InboundTls, GatewaySettings, LedgerSettings, PriceSettings,
        SandboxSettings, Provider, Deployment, Route,
    )  # fmt: skip
    known = {field.name for struct in structs for field in msgspec.structs.fields(struct)}
    near = get_close_matches(unknown, sorted(known), n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def _check(settings: Settings, name: str) -> None:
    """Check what types cannot: that names are unique, and that what is named is there."""
    _check_unique(name, "providers", [row.name for row in settings.providers])
    _check_unique(name, "deployments", [row.name for row in settings.deployments])
    _check_unique(name, "routes", [row.model for row in settings.routes])
    known = {provider.name for provider in settings.providers}
    for number, provider in enumerate(settings.providers):
        if not provider.base_url and provider.kind != "sandbox":
            raise SettingsError(name, f"providers[{number}].base_url", f"say where {provider.name!r} is")
        _check_address(name, f"providers[{number}]", provider)
    for number, deployment in enumerate(settings.deployments):
        if deployment.provider not in known:
            raise SettingsError(
                name,
                f"deployments[{number}].provider",
                f"there is no provider {deployment.provider!r}" + _near(deployment.provider, known),
            )
    places = {deployment.name for deployment in settings.deployments}
    for number, route in enumerate(settings.routes):
        if not route.deployments:
            raise SettingsError(name, f"routes[{number}].deployments", "name at least one deployment")
        for deployment_name in route.deployments:
            if deployment_name not in places:
                raise SettingsError(
                    name, f"routes[{number}].deployments",
                    f"there is no deployment {deployment_name!r}" + _near(deployment_name, places),
                )  # fmt: skip
    if not 0 < settings.server.port < 65536:
        raise SettingsError(name, "server.port", "a port is a number from 1 to 65535")
    if settings.ledger.max_waiting < 1:
        raise SettingsError(name, "ledger.max_waiting", "at least one event must be able to wait")
    if settings.ledger.max_waiting_seconds <= 0:
        raise SettingsError(name, "ledger.max_waiting_seconds", "events need some time to reach the disk: more than 0")
    if settings.server.workers < 1:
        raise SettingsError(name, "server.workers", "at least one worker is needed")


def _check_address(file: str, place: str, provider: Provider) -> None:
    """Check that a provider's address, proxy and authorities can be used."""
    if not provider.base_url:
        return
    try:
        address_of(provider.base_url, unix_socket=provider.unix_socket, proxy=provider.proxy, ca_file=provider.ca_file)
    except InputError as error:
        raise SettingsError(file, place, str(error)) from None


def _check_unique(file: str, kind: str, names: list[str]) -> None:
    for number, one in enumerate(names):
        if one in names[:number]:
            raise SettingsError(file, f"{kind}[{number}]", f"there are two rows for {one!r}")


def _near(name: str, known: set[str]) -> str:
    near = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def missing_keys(settings: Settings, environment: Mapping[str, str] = os.environ) -> list[tuple[str, str]]:
    """Return (provider, environment variable) for each key that is named and not there."""
    return [
        (provider.name, provider.api_key_env)
        for provider in settings.providers
        if provider.api_key_env and not environment.get(provider.api_key_env)
    ]
