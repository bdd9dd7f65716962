"""Where a call can go: providers (who is called), deployments (what is called there), routes (for which model)."""

from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

from penstock.metering.meter import Served
from penstock.metering.reading import Flavour
from penstock.policies.tiers import Tier

ProviderKind = Literal["openai", "azure", "anthropic", "sandbox"]
"""Whose wire a provider speaks. vLLM, Ollama, DeepSeek and their like are `openai` with another address."""


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[providers]]` row: an address that speaks one of the wires."""

    name: str
    kind: ProviderKind = "openai"
    base_url: str = ""
    """`https://api.openai.com/v1`, `https://NAME.openai.azure.com`, `https://api.anthropic.com`."""
    api_key_env: str = ""
    """Name of the environment variable that holds the key. Neither this nor a file: the client's own is passed on."""
    api_key_file: str = ""
    """File that holds the key, in place of a variable; others than its owner and group must not be able to read it."""
    api_version: str = ""
    """Azure only: the dated API; empty: its `v1` API."""
    bills_as: str = ""
    """Name of the provider in the price books; by default `kind`, or the name of a direct provider."""
    deployment_type: str = "global"
    region: str = ""
    models: tuple[str, ...] = ("*",)
    """Patterns of the models that may go here without a route of their own."""
    timeout: float = 600.0
    """Seconds until a reply must have begun."""
    stall_timeout: float = 120.0
    """Seconds that a stream may stay silent."""
    connect_timeout: float = 5.0
    connections: int = 512
    """Most connections at a time, for each worker."""
    unix_socket: str = ""
    """A Unix socket of this machine that is called in place of the host in `base_url`."""
    proxy: str = ""
    """`http://host:port` of an HTTP proxy, or `none`; by default what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say."""
    ca_file: str = ""
    """PEM file with the authorities that sign this provider's certificate; by default the system's."""

    @property
    def has_key(self) -> bool:
        """Whether the settings name a key for this provider: then the client's own is not for it."""
        return bool(self.api_key_env or self.api_key_file)

    @property
    def billed_as(self) -> str:
        """Who bills, as the price books name it."""
        return self.bills_as or ("openai" if self.kind == "sandbox" else self.kind)

    def speaks(self, flavour: Flavour) -> bool:
        """Tell whether this provider understands that wire."""
        return (self.billed_as == "anthropic" or self.kind == "anthropic") == (flavour == "anthropic.messages")

    def takes(self, model: str) -> bool:
        """Tell whether `model` may go here without a route."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)


class Deployment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[deployments]]` row: a model at a provider, with what decides its price."""

    name: str
    provider: str
    model: str
    """The model's plain name, as the price books know it."""
    upstream: str = ""
    """What the provider calls it (Azure: the deployment's name); by default the model."""
    deployment_type: str = ""
    """`global`, `data_zone`, `regional`, `global_ptu`, ...; by default the provider's."""
    region: str = ""
    """Region or zone; by default the provider's."""
    tier: Tier | None = None
    """`nano`, `mini`, `standard` or `premium`, for routing; by default what the package knows of the model."""
    context: int = 0
    """Tokens of prompt and answer together, for routing; 0: what the package knows."""
    can: tuple[str, ...] | None = None
    """What it can do, for routing: `tools`, `json_schema`, `images` ...; by default what the package knows."""


class Classifier(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[routes.routing.classifier]`: a small model that says which tier a task needs."""

    deployment: str
    mode: Literal["shadow", "on"] = "shadow"
    """`shadow`: it is asked and booked, and does not decide; `on`: its tier decides where it answers in time."""
    share: float = 0.05
    """Share of the calls that it is asked about in the shadow."""
    timeout_ms: int = 500
    """After that the call goes on without it."""


Sign = Literal["schema", "truncated", "refusal", "retry", "escalation"]
"""What an answer, or what comes after it, shows by itself."""


class Automatic(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[routes.routing.automatic]`: what speaks against an answer without anybody reporting it."""

    signs: tuple[Sign, ...] = ("schema", "truncated", "refusal", "retry", "escalation")
    """Which are taken; none: only what is reported counts."""
    weight: float = 0.2
    """What an answer that was looked at so counts, beside 1 for a reported score."""
    retry_seconds: float = 60.0
    """A user or run that asks nearly the same again within this time was not content with the answer."""


class Cascade(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[routes.routing.cascade]`: a cheap model answers first, and a better one where that answer fails a check."""

    steps: int = 1
    """Escalations of one call, at most."""
    form: str = ""
    """A regular expression that an answer's text must match somewhere."""
    min_logprob: float | None = None
    """Lowest tenth of the tokens' logprobs that is still sure enough, where the reply has them."""
    min_pass_rate: float | None = None
    """An answer escalates where answers like it were good less often than this."""


class Routing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[routes.routing]`: each call of the route goes to the deployment whose answer is worth most for its cost."""

    default: str = ""
    """Deployment that serves what nothing is known of, and the control arm; by default the last one of the route."""
    answer_worth: Decimal = Decimal("0.10")
    """The knob: dollars that a good answer is worth. More: better models; less: cheaper ones."""
    explore: float = 0.02
    """Share of conversations that go to any capable model, so that the table learns."""
    holdout: Decimal = Decimal("0.05")
    """Share of conversations (or users) that the default serves, for measuring the saving."""
    salt: str = ""
    """Draws another holdout."""
    regions: tuple[str, ...] = ()
    """Regions or zones that calls may go to; none named: any."""
    automatic: Automatic = Automatic()
    classifier: Classifier | None = None
    cascade: Cascade | None = None


class Route(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[routes]]` row: what clients ask for, and the deployments that may answer, in order."""

    model: str
    deployments: tuple[str, ...]
    retries: int = 2
    """Attempts after the first, over all deployments."""
    order: Literal["listed", "cheapest"] = "listed"
    """`cheapest`: provisioned capacity first, then by price; equal ones share the calls."""
    routing: Routing | None = None


class Target(Struct, frozen=True, gc=False):
    """One deployment with its provider, ready to be called."""

    deployment: Deployment
    provider: Provider
    served: Served
    """What events say of it."""
    upstream: str
    """What the provider calls the model."""
    key: str
    """Tells it from every other target."""


def target_of(deployment: Deployment, provider: Provider, *, declared: bool) -> Target:
    """Join a deployment with its provider; `declared`: the settings name it, and so the model that it serves."""
    served = Served(
        provider.billed_as,
        deployment.name,
        deployment.model,
        declared,
        deployment.deployment_type or provider.deployment_type,
        deployment.region or provider.region,
    )
    upstream = deployment.upstream or deployment.model
    return Target(deployment, provider, served, upstream, f"{provider.name} {deployment.name} {upstream}")
