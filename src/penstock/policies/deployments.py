"""Where a call can go: providers (who is called), deployments (what is called there), routes (for which model)."""

from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

from penstock.metering.meter import Served
from penstock.metering.reading import Flavour

ProviderKind = Literal["openai", "azure", "anthropic", "sandbox"]
"""Whose wire a provider speaks. vLLM, Ollama, DeepSeek and their like are `openai` with another address."""


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[providers]]` row: an address that speaks one of the wires."""

    name: str
    kind: ProviderKind = "openai"
    base_url: str = ""
    """`https://api.openai.com/v1`, `https://NAME.openai.azure.com`, `https://api.anthropic.com`."""
    api_key_env: str = ""
    """Name of the environment variable that holds the key. Empty: the client's own key is passed on."""
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


class Route(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[routes]]` row: what clients ask for, and the deployments that may answer, in order."""

    model: str
    deployments: tuple[str, ...]
    retries: int = 2
    """Attempts after the first, over all deployments."""


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
