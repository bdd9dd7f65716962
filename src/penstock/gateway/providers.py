"""How a call is put to a provider: address, key, headers, and the few bytes of the body that must change."""

import json
import os
import re
from asyncio import AbstractEventLoop
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from penstock.errors import InputError
from penstock.gateway.dialing import address_of
from penstock.gateway.endpoints import Endpoint
from penstock.gateway.heads import Head
from penstock.gateway.keyring import holds_secret
from penstock.gateway.outbox import Outbox
from penstock.gateway.upstream import Origin
from penstock.policies.deployments import Provider, Target

NOT_FORWARDED = frozenset(
    b"host connection keep-alive proxy-authorization proxy-connection te trailer transfer-encoding upgrade "
    b"content-length accept-encoding expect http2-settings cookie".split()
)
"""Headers that concern one hop only, or that Penstock sets itself."""
MOST_FORWARDED = 16
"""Heads kept for each head of a client."""
OWN_HEADERS = frozenset({b"cookie", b"host"})
"""Of those, what a process of this server gets: its pages name the address by which they were reached, and take forms
only from there."""
KEY_HEADERS = frozenset({b"authorization", b"x-api-key", b"api-key"})


def provider_key(provider: Provider, environment: Mapping[str, str] = os.environ) -> str:
    """Return the key of a provider, or nothing where none is named or its variable is not set.

    Raises InputError where a file is named that cannot be used, or that others can read.
    """
    if not provider.api_key_file:
        return environment.get(provider.api_key_env, "") if provider.api_key_env else ""
    file = Path(provider.api_key_file)
    where = f"The key of provider {provider.name!r} in {file}"
    try:
        mode = file.stat().st_mode
        if mode & 0o027:  # the group may read: a secret that Kubernetes mounts belongs to the pod's group
            raise InputError(
                f"{where} is not safe: others on this machine can read or change it. Close it with: chmod 600 {file}"
            )
        key = file.read_text("utf-8").strip()
    except UnicodeDecodeError:
        raise InputError(f"{where} is not text.") from None
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}.") from None
    if not key or not key.isascii() or not key.isprintable():
        raise InputError(f"{where}: write the key into it, in one line, and nothing else.")
    return key


class Destination:
    """One provider, ready to be called: its connections, and what all requests to it share."""

    def __init__(
        self,
        provider: Provider,
        loop: AbstractEventLoop,
        environment: Mapping[str, str] = os.environ,
        outbox: Outbox | None = None,
        *,
        ours: bool = False,
    ) -> None:
        """`ours`: a process of this server. It alone gets host, cookies, and Penstock's own keys and headers."""
        self.provider = provider
        self._ours = ours
        address, self.base_path = address_of(
            provider.base_url,
            unix_socket=provider.unix_socket,
            proxy=provider.proxy,
            ca_file=provider.ca_file,
            timeout=provider.connect_timeout,
        )
        self.origin = Origin(address, loop, connections=provider.connections, outbox=outbox)
        self._target_prefix = address.target_prefix
        self._key = provider_key(provider, environment)
        host = "" if ours else f"host: {address.authority}\r\n"
        fixed = f"{host}accept-encoding: identity\r\n{address.proxy_header}"
        self._fixed = fixed.encode() + self._key_header()

    def _key_header(self) -> bytes:
        if not self._key:
            return b""
        name = {"azure": "api-key: ", "anthropic": "x-api-key: "}.get(self.provider.kind, "authorization: Bearer ")
        return f"{name}{self._key}\r\n".encode()

    def path_for(self, endpoint: Endpoint, target: Target, client_target: bytes) -> str:
        """Say where `endpoint` is at this provider."""
        path, _, query = client_target.decode("latin-1").partition("?")
        if self.provider.kind == "openai":
            return self.base_path + endpoint.path
        if self.provider.kind == "anthropic":
            return self.base_path + endpoint.path + (f"?{query}" if query else "")
        azure = path.startswith("/openai/")
        version = self.provider.api_version or (
            query.partition("api-version=")[2].partition("&")[0] if azure and "api-version=" in query else ""
        )
        if self.provider.kind == "sandbox" and not azure:
            return path
        if version in {"", "v1", "preview", "latest"}:
            return f"{self.base_path}/openai/v1{endpoint.path}"
        if endpoint.name == "responses":
            return f"{self.base_path}/openai/responses?api-version={quote(version, safe='')}"
        deployment = quote(target.upstream, safe="")  # it may be what a client wrote
        return f"{self.base_path}/openai/deployments/{deployment}{endpoint.path}?api-version={quote(version, safe='')}"

    def request(self, head: Head, method: str, path: str, body: bytes) -> bytes:
        """Return the bytes of a request: head and body in one write."""
        key = f"{method} {path}"
        forwarded = head.forwarded.get(key) or self.forward(head, key, path, method)
        return b"%b%d\r\n\r\n%b" % (forwarded, len(body), body)

    def forward(self, head: Head, key: str, path: str, method: str = "POST") -> bytes:
        """Return the head as this provider gets it, up to the length of the body.

        It is made once for all requests with the same one to the same target, and kept in it; `key` names the target.
        """
        if len(head.forwarded) >= MOST_FORWARDED:
            head.forwarded.clear()
        forwarded = head.forwarded[key] = self._forwarded(head, method, path)
        return forwarded

    def _forwarded(self, head: Head, method: str, path: str) -> bytes:
        own_key = self.provider.has_key  # named, if perhaps not set: the client's is not for this provider
        lines = [f"{method} {self._target_prefix}{path} HTTP/1.1\r\n".encode("latin-1"), self._fixed]
        left_out = (NOT_FORWARDED - OWN_HEADERS if self._ours else NOT_FORWARDED) | _named_by_connection(head)
        for name, value in head.headers:
            if name in left_out or (own_key and name in KEY_HEADERS):
                continue
            if not self._ours and (name.startswith(b"x-penstock-") or holds_secret(name, value)):
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        lines.append(b"content-length: ")
        return b"".join(lines)


def _named_by_connection(head: Head) -> set[bytes]:
    """Return the headers that the client says are for this hop only."""
    named = [value for name, value in head.headers if name == b"connection"]
    return {token.strip().lower() for value in named for token in value.split(b",")}


def with_model(body: bytes, old: str, new: str) -> bytes:
    """Change the model's name in place; where the bytes leave a doubt, write the whole body anew."""
    pattern = rb'("model"\s*:\s*)' + re.escape(json.dumps(old, ensure_ascii=False).encode())
    found = list(re.finditer(pattern, body))
    if len(found) == 1:
        start, end = found[0].span()
        return body[:start] + found[0].group(1) + json.dumps(new).encode() + body[end:]
    document = json.loads(body)
    document["model"] = new
    return json.dumps(document, separators=(",", ":")).encode()


def with_usage(body: bytes) -> bytes:
    """Ask for usage at the end of the stream, in the client's name."""
    if b'"stream_options"' not in body:
        start = body.index(b"{") + 1
        return body[:start] + b'"stream_options":{"include_usage":true},' + body[start:]
    document = json.loads(body)
    document["stream_options"] = {**(document.get("stream_options") or {}), "include_usage": True}
    return json.dumps(document, separators=(",", ":")).encode()
