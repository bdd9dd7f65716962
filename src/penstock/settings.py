"""Configuration: `penstock.toml`, read once, checked whole, and handed down in pieces."""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from penstock.analytics.commitments import Commitment
from penstock.analytics.report_schedule import AnomalyWatch, ScheduledReport
from penstock.analytics.shared_costs import Chargeback
from penstock.errors import InputError, SettingsError
from penstock.gateway.booking import Backlog, Fsync
from penstock.gateway.dialing import address_of
from penstock.gateway.gateway import GatewaySettings
from penstock.gateway.listening import InboundTls
from penstock.gateway.sandbox.settings import SandboxSettings
from penstock.gateway.server import ServerLimits
from penstock.gateway.telemetry.settings import TelemetrySettings
from penstock.ledger.exporters.labels import MetricsSettings
from penstock.policies.alert_channels import LOG_ONLY, Channel
from penstock.policies.budgets.rules import Budget, BudgetSettings, Limit, Rules
from penstock.policies.budgets.scopes import check_models
from penstock.policies.deployments import Automatic, Cascade, Classifier, Deployment, Provider, Route, Routing
from penstock.policies.keys import KeySettings
from penstock.policies.proof import ProofSettings
from penstock.policies.routing.capability import ABILITIES

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


class UnitEconomicsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[unit_economics]`: what spend is held against."""

    metrics: str = ""
    """CSV file of business metrics: date, metric, value, dimensions."""

    @property
    def file(self) -> Path | None:
        """The file, if one is named."""
        return Path(self.metrics) if self.metrics else None


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that `penstock.toml` can say."""

    server: ServerSettings = ServerSettings()
    gateway: GatewaySettings = GatewaySettings()
    ledger: LedgerSettings = LedgerSettings()
    prices: PriceSettings = PriceSettings()
    keys: KeySettings = KeySettings()
    metrics: MetricsSettings = MetricsSettings()
    governance: BudgetSettings = BudgetSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    sandbox: SandboxSettings = SandboxSettings()
    providers: tuple[Provider, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    routes: tuple[Route, ...] = ()
    alerts: tuple[Channel, ...] = ()
    reports: tuple[ScheduledReport, ...] = ()
    anomalies: AnomalyWatch = AnomalyWatch()
    chargeback: Chargeback = Chargeback()
    commitments: tuple[Commitment, ...] = ()
    unit_economics: UnitEconomicsSettings = UnitEconomicsSettings()
    proof: ProofSettings = ProofSettings()
    budgets: tuple[Budget, ...] = ()
    limits: tuple[Limit, ...] = ()

    @property
    def rules(self) -> Rules:
        """Budgets and limits of the file."""
        return Rules(budgets=self.budgets, limits=self.limits)

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Names of routes that no model has, and the models that may answer there."""
        models = {row.name: row.model for row in self.deployments}
        return {
            route.model: tuple(dict.fromkeys(models[name] for name in route.deployments))
            for route in self.routes
            if route.model not in models.values()
        }

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
        place = place.strip("`").removeprefix("$.")
        raise SettingsError(name, place, sentence + _hint(sentence, place)) from None
    settings = msgspec.structs.replace(settings, providers=tuple(_with_defaults(row) for row in settings.providers))
    _check(settings, name)
    return settings


def _with_defaults(provider: Provider) -> Provider:
    return msgspec.structs.replace(
        provider, base_url=provider.base_url.rstrip("/") or DEFAULT_BASE_URLS.get(provider.kind, "")
    )


def _hint(sentence: str, place: str) -> str:
    """Suggest the known name that an unknown one is nearest to, or say which values there are."""
    if "enum value" in sentence:
        return f"; say one of: {', '.join(map(str, _values(place)))}"
    if "unknown field" not in sentence:
        return ""
    unknown = sentence.rpartition("`")[0].rpartition("`")[2]
    if unknown in ("api_key", "key", "password", "secret", "token"):
        return "; secrets do not stand in this file: name an environment variable (..._env) or, for a provider, a file"
    structs = (
        Settings, ServerSettings, ServerLimits, InboundTls, GatewaySettings, LedgerSettings, PriceSettings,
        KeySettings, BudgetSettings, Budget, Limit, MetricsSettings, SandboxSettings, Provider, Deployment, Route,
        Routing, Automatic, Cascade, Classifier, Channel, TelemetrySettings, ScheduledReport, AnomalyWatch,
        ProofSettings,
    )  # fmt: skip
    known = {field.name for struct in structs for field in msgspec.structs.fields(struct)}
    near = get_close_matches(unknown, sorted(known), n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def _values(place: str) -> Sequence[object]:
    """Return the values that a setting may have, such as `routes[0].order`; nothing where they are not listed."""
    import msgspec.inspect as types  # noqa: PLC0415  # only a mistake needs it

    def among(kind: Any, wanted: type) -> Any:
        kinds = kind.types if isinstance(kind, types.UnionType) else [kind]
        kinds = [one.item_type if isinstance(one, types.VarTupleType) else one for one in kinds]
        return next((one for one in kinds if isinstance(one, wanted)), None)

    kind: Any = types.type_info(Settings)
    for name in re.findall(r"[a-z]\w*", place):
        rows = among(kind, types.StructType)
        kind = next((field.type for field in rows.fields if field.encode_name == name), kind) if rows else kind
    listed = among(kind, types.LiteralType)
    return listed.values if listed else ()


def _check(settings: Settings, name: str) -> None:
    """Check what types cannot: that names are unique, and that what is named is there."""
    _check_unique(name, "providers", [row.name for row in settings.providers])
    _check_unique(name, "deployments", [row.name for row in settings.deployments])
    _check_unique(name, "routes", [row.model for row in settings.routes])
    known = {provider.name for provider in settings.providers}
    for number, provider in enumerate(settings.providers):
        if not provider.base_url and provider.kind != "sandbox":
            raise SettingsError(name, f"providers[{number}].base_url", f"say where {provider.name!r} is")
        if provider.api_key_env and provider.api_key_file:
            raise SettingsError(
                name, f"providers[{number}].api_key_file", "the key is in a variable or in a file, not in both"
            )
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
        if route.retries < 0:
            raise SettingsError(name, f"routes[{number}].retries", "attempts after the first are 0 or more")
        for deployment_name in route.deployments:
            if deployment_name not in places:
                raise SettingsError(
                    name, f"routes[{number}].deployments",
                    f"there is no deployment {deployment_name!r}" + _near(deployment_name, places),
                )  # fmt: skip
        if route.routing is not None:
            _check_routing(name, f"routes[{number}].routing", route, route.routing)
            _check_classifier(name, f"routes[{number}].routing.classifier", settings, route.routing.classifier)
    for number, deployment in enumerate(settings.deployments):
        unknown = sorted(set(deployment.can or ()) - ABILITIES)
        if unknown:
            raise SettingsError(
                name, f"deployments[{number}].can",
                f"{unknown[0]!r} is not known; say some of: {', '.join(sorted(ABILITIES))}",
            )  # fmt: skip
    _check_unique(name, "alerts", [row.name for row in settings.alerts])
    for number, channel in enumerate(settings.alerts):
        wrong = channel.wrong()
        if wrong:
            raise SettingsError(name, f"alerts[{number}].{wrong[0]}", wrong[1])
    _check_unique(name, "commitments", [row.name for row in settings.commitments])
    for number, commitment in enumerate(settings.commitments):
        try:
            commitment.check()
        except InputError as error:
            raise SettingsError(name, f"commitments[{number}]", str(error)) from None
    _check_sent(settings, name)
    _check_rules(settings, name)
    for most in ("most_values", "most_series"):
        if getattr(settings.metrics, most) < 1:
            raise SettingsError(name, f"metrics.{most}", "there must be room for at least 1")
    _check_telemetry(settings.telemetry, name)
    _check_proof(settings, name, places)
    if not 0 < settings.server.port < 65536:
        raise SettingsError(name, "server.port", "a port is a number from 1 to 65535")
    if settings.ledger.max_waiting < 1:
        raise SettingsError(name, "ledger.max_waiting", "at least one event must be able to wait")
    if settings.ledger.max_waiting_seconds <= 0:
        raise SettingsError(name, "ledger.max_waiting_seconds", "events need some time to reach the disk: more than 0")
    if settings.server.workers < 1:
        raise SettingsError(name, "server.workers", "at least one worker is needed")


def _check_telemetry(telemetry: TelemetrySettings, name: str) -> None:
    """Check that the collector's address can be used, and that figures are in their ranges."""
    if telemetry.otlp_endpoint:
        try:
            address_of(telemetry.otlp_endpoint, ca_file=telemetry.ca_file)
        except InputError as error:
            raise SettingsError(name, "telemetry.otlp_endpoint", str(error)) from None
        if telemetry.otlp_endpoint.rstrip("/").endswith(("/v1/traces", "/v1/metrics")):
            sentence = "say the base address: /v1/traces and /v1/metrics are put behind it"
            raise SettingsError(name, "telemetry.otlp_endpoint", sentence)
    if not 0 <= telemetry.sample <= 1:
        raise SettingsError(name, "telemetry.sample", "a part is a number from 0 to 1")
    for field in ("max_body", "max_waiting", "max_queue", "batch_seconds", "metrics_seconds"):
        if getattr(telemetry, field) <= 0:
            raise SettingsError(name, f"telemetry.{field}", "it must be more than 0")


def _check_sent(settings: Settings, name: str) -> None:
    """Check reports and the watch of anomalies, and that the channels they name are there."""
    _check_unique(name, "reports", [row.name for row in settings.reports])
    channels = [row.name for row in settings.alerts or LOG_ONLY]
    for number, report in enumerate(settings.reports):
        wrong = report.wrong(channels)
        if wrong:
            raise SettingsError(name, f"reports[{number}].{wrong[0]}", wrong[1])
    wrong = settings.anomalies.wrong(channels)
    if wrong:
        raise SettingsError(name, f"anomalies.{wrong[0]}", wrong[1])


def _check_routing(file: str, place: str, route: Route, routing: Routing) -> None:
    """Check what a route says of routing."""
    among = set(route.deployments)
    if routing.default and routing.default not in among:
        raise SettingsError(
            file, f"{place}.default",
            f"{routing.default!r} is none of the route's deployments" + _near(routing.default, among),
        )  # fmt: skip
    if not routing.answer_worth.is_finite() or routing.answer_worth <= 0:
        raise SettingsError(file, f"{place}.answer_worth", "a good answer is worth more than 0 dollars")
    for one, value in (("holdout", routing.holdout), ("explore", routing.explore)):
        if not (Decimal(value).is_finite() and 0 <= value <= 1):
            raise SettingsError(file, f"{place}.{one}", "say a share of conversations from 0 to 1, such as 0.05")
    automatic, cascade = routing.automatic, routing.cascade
    if not 0 <= automatic.weight <= 1:
        raise SettingsError(file, f"{place}.automatic.weight", "an automatic score counts from 0 to 1")
    if not automatic.retry_seconds >= 0:
        raise SettingsError(file, f"{place}.automatic.retry_seconds", "say seconds, such as 60")
    if cascade is not None:
        if not 1 <= cascade.steps <= 3:
            raise SettingsError(file, f"{place}.cascade.steps", "a call may escalate 1 to 3 times")
        if cascade.min_pass_rate is not None and not 0 < cascade.min_pass_rate <= 1:
            raise SettingsError(file, f"{place}.cascade.min_pass_rate", "say a share of answers, such as 0.7")
        if cascade.min_logprob is not None and not cascade.min_logprob < 0:
            raise SettingsError(
                file, f"{place}.cascade.min_logprob", "a logprob is below 0: -1 says that a token had a chance of 37 %"
            )
        try:
            re.compile(cascade.form)
        except re.error as error:
            raise SettingsError(file, f"{place}.cascade.form", f"it is no regular expression: {error}") from None


def _check_classifier(file: str, place: str, settings: Settings, classifier: Classifier | None) -> None:
    """Check that the classifier can be asked."""
    if classifier is None:
        return
    rows = {row.name: row for row in settings.deployments}
    row = rows.get(classifier.deployment)
    if row is None:
        near = _near(classifier.deployment, set(rows))
        raise SettingsError(file, f"{place}.deployment", f"there is no deployment {classifier.deployment!r}{near}")
    provider = next(one for one in settings.providers if one.name == row.provider)
    if not provider.speaks("openai.chat"):
        raise SettingsError(file, f"{place}.deployment", f"{row.provider!r} does not speak OpenAI's chat wire")
    if not 0 <= classifier.share <= 1:
        raise SettingsError(file, f"{place}.share", "say a share of calls from 0 to 1, such as 0.05")
    if classifier.timeout_ms < 1:
        raise SettingsError(file, f"{place}.timeout_ms", "it needs some time: at least 1")


def _check_rules(settings: Settings, name: str) -> None:
    """Check budgets and limits, and that no two are about the same."""
    every: tuple[tuple[str, tuple[Budget | Limit, ...]], ...] = (
        ("budgets", settings.budgets),
        ("limits", settings.limits),
    )
    for kind, rows in every:
        known: set[str] = set()
        for number, row in enumerate(rows):
            try:
                row.check()
                check_models(row.scope, settings.aliases)
            except InputError as error:
                raise SettingsError(name, f"{kind}[{number}]", str(error)) from None
            if row.id in known:
                raise SettingsError(name, f"{kind}[{number}]", f"there are two rows for {row.scope!r}")
            known.add(row.id)
    governance = settings.governance
    if not 1 <= governance.lease_seconds <= 86_400:
        raise SettingsError(name, "governance.lease_seconds", "a lease lasts from 1 second to a day (86400)")
    if not 0 < governance.redis_timeout <= 3_600:
        raise SettingsError(name, "governance.redis_timeout", "Redis needs some time to answer: more than 0 seconds")
    if governance.default_output_tokens < 1:
        raise SettingsError(name, "governance.default_output_tokens", "an answer has at least one token")


def _check_proof(settings: Settings, name: str, places: set[str]) -> None:
    """Check how savings are to be proven."""
    proof = settings.proof
    try:
        proof.check()
    except InputError as error:
        raise SettingsError(name, "proof", str(error)) from None
    if proof.judge and proof.judge not in places:
        raise SettingsError(name, "proof.judge", f"there is no deployment {proof.judge!r}" + _near(proof.judge, places))


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
