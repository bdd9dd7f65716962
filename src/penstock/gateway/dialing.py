"""How a connection to a provider is opened: directly, through a Unix socket, or through an HTTP proxy."""

import asyncio
import base64
import ipaddress
import os
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from penstock.errors import InputError

LONGEST_ANSWER = 16 * 1024
"""Bytes of a proxy's answer to CONNECT."""

P = TypeVar("P", bound=asyncio.Protocol)


class DialError(Exception):
    """No connection could be opened. `code` is stable, the message says why and names the place."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Proxy(Struct, frozen=True):
    """An HTTP proxy."""

    host: str
    port: int
    authorization: str = ""
    """Value of `proxy-authorization`."""


def read_proxy(url: str) -> Proxy:
    """Read `http://user:password@host:port`."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or 80
    except ValueError as error:
        raise InputError(f"The address of the proxy cannot be used: {error}.") from None
    if parts.scheme != "http" or not parts.hostname:
        raise InputError("The address of the proxy must look like http://host:port.")
    if parts.username is None:
        return Proxy(parts.hostname, port)
    secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(parts.hostname, port, "Basic " + base64.b64encode(secret.encode()).decode())


def proxy_for(scheme: str, host: str, port: int, setting: str) -> Proxy | None:
    """Find the proxy for an address: what the settings say, else HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.

    What is on this machine is not asked for through a proxy of the environment's.
    """
    if setting == "none":
        return None
    if setting:
        return read_proxy(setting)
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    # Megabytes of a worker that hardly any needs.
    from urllib.request import (  # type: ignore[attr-defined]  # noqa: PLC0415
        getproxies_environment,
        proxy_bypass_environment,
    )

    known = getproxies_environment()
    url = known.get(scheme) or known.get("all")
    if not url or _is_here(host) or proxy_bypass_environment(f"{host}:{port}", known):
        return None
    return read_proxy(url)


def _is_here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache
def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """Return what providers' certificates are verified with: the system's authorities, or those in `ca_file`.

    Raises InputError where the file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        reason = error.strerror if error.errno and not isinstance(error, ssl.SSLError) else "it holds no certificate"
        raise InputError(f"{ca_file} cannot be used as `ca_file`: {reason}.") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


class Address(Struct, frozen=True, kw_only=True):
    """A place that can be called, and the way there."""

    host: str
    port: int
    context: ssl.SSLContext | None = None
    """TLS is spoken with it, and verified by this."""
    unix_socket: str = ""
    """A socket of this machine that is called in place of host and port."""
    proxy: Proxy | None = None
    timeout: float = 5.0
    """Seconds to connect, handshakes and all."""

    @property
    def authority(self) -> str:
        """Host and port, as `Host` and people name them."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.context else 80) else f"{name}:{self.port}"

    @property
    def target_prefix(self) -> str:
        """What stands before the path in a request line: nothing, unless a proxy must be told where to go."""
        return f"http://{self.authority}" if self.proxy and not self.context else ""

    @property
    def proxy_header(self) -> str:
        """A header line for the proxy, where it is the one that reads the requests."""
        if self.proxy is None or self.context is not None or not self.proxy.authorization:
            return ""
        return f"proxy-authorization: {self.proxy.authorization}\r\n"

    async def dial(self, loop: asyncio.AbstractEventLoop, build: Callable[[], P]) -> P:
        """Open a connection. Raises DialError."""
        try:
            async with asyncio.timeout(self.timeout):
                return await self._dial(loop, build)
        except TimeoutError:
            raise DialError("connect_timeout", f"No connection to {self._place} in {self.timeout:g} s.") from None
        except ssl.SSLCertVerificationError as error:
            sentence = f"The certificate of {self.authority} is not accepted: {error.verify_message}"
            raise DialError("tls", f"{sentence.removesuffix('.')}. Its authority can be named by `ca_file`.") from None
        except ssl.SSLError as error:
            raise DialError("tls", f"No TLS with {self.authority}: {error.reason or error}") from None
        except OSError as error:
            raise DialError("connection", f"Cannot connect to {self._place}: {_reason(error)}") from None

    @property
    def _place(self) -> str:
        if self.unix_socket:
            return f"{self.authority} ({self.unix_socket})"
        return f"{self.authority} by the proxy {self.proxy.host}:{self.proxy.port}" if self.proxy else self.authority

    async def _dial(self, loop: asyncio.AbstractEventLoop, build: Callable[[], P]) -> P:
        name = self.host if self.context else None
        if self.unix_socket:
            _, protocol = await loop.create_unix_connection(
                build, self.unix_socket, ssl=self.context, server_hostname=name
            )
            return protocol
        if self.proxy is None:
            _, protocol = await loop.create_connection(
                build, self.host, self.port, ssl=self.context, server_hostname=name
            )
            return protocol
        if self.context is None:
            _, protocol = await loop.create_connection(build, self.proxy.host, self.proxy.port)
            return protocol
        return await self._tunnel(loop, build, self.proxy, self.context)

    async def _tunnel(
        self, loop: asyncio.AbstractEventLoop, build: Callable[[], P], proxy: Proxy, context: ssl.SSLContext
    ) -> P:
        """Ask the proxy for a line to the provider, and speak TLS through it: the proxy sees no request."""
        transport, asking = await loop.create_connection(_Asking, proxy.host, proxy.port)
        try:
            host = f"[{self.host}]" if ":" in self.host else self.host
            secret = f"proxy-authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
            place = f"{host}:{self.port}"
            transport.write(f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n{secret}\r\n".encode())
            status = (await asking.answer).partition(b"\r\n")[0].split(b" ", 2)
            if len(status) < 2 or not status[1].startswith(b"2"):
                said = b" ".join(status[1:]).decode("latin-1") or "no HTTP"
                raise ConnectionError(f"the proxy answered: {said}")
            protocol = build()
            secured = await loop.start_tls(transport, protocol, context, server_hostname=self.host)
            assert secured is not None
            protocol.connection_made(secured)
        except BaseException:
            transport.abort()
            raise
        return protocol


def _reason(error: OSError) -> str:
    return error.strerror if error.errno and error.strerror else str(error)


class _Asking(asyncio.Protocol):
    """Waits for a proxy's answer to CONNECT."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._data = b""

    def data_received(self, data: bytes) -> None:
        """Collect the head of the answer; nothing may follow it, for TLS begins with us."""
        self._data += data
        if self.answer.done():
            return
        if self._data.endswith(b"\r\n\r\n"):
            self.answer.set_result(self._data)
        elif len(self._data) > LONGEST_ANSWER or b"\r\n\r\n" in self._data:
            self.answer.set_exception(ConnectionError("the proxy's answer is not one to CONNECT"))

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the one who waits."""
        if not self.answer.done():
            self.answer.set_exception(error or ConnectionError("the proxy closed the connection"))


def address_of(
    base_url: str, *, unix_socket: str = "", proxy: str = "", ca_file: str = "", timeout: float = 5.0
) -> tuple[Address, str]:
    """Take a base URL apart: where to connect, and the path below which everything is.

    Raises InputError where it cannot be used.
    """
    try:
        parts = urlsplit(base_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise InputError(f"{base_url!r} cannot be used as an address: {error}.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InputError(f"{base_url!r} cannot be used as an address: it must look like https://host/path.")
    if parts.username is not None or parts.query or parts.fragment:
        raise InputError(
            f"The address of {parts.hostname} holds more than a host and a path; keys go into api_key_env."
        )
    address = Address(
        host=parts.hostname,
        port=port,
        context=tls_context(ca_file) if parts.scheme == "https" else None,
        unix_socket=unix_socket,
        proxy=None if unix_socket else proxy_for(parts.scheme, parts.hostname, port, proxy),
        timeout=timeout,
    )
    return address, parts.path.rstrip("/")
