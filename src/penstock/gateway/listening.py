"""Where the door is: sockets that the parent opens and every worker inherits.

They stay open while workers come and go, so a client that calls meanwhile waits in the queue and is not turned away.
"""

import contextlib
import errno
import socket
import ssl
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from penstock.errors import InputError

BACKLOG = 1024


class InboundTls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is shown to clients that connect by TLS."""

    certificate: str
    """PEM file: the certificate, and those between it and its authority."""
    key: str = ""
    """PEM file with its private key; by default it is in the same file."""
    client_ca: str = ""
    """PEM file: only clients with a certificate of these authorities are served."""

    def context(self) -> ssl.SSLContext:
        """Load the files. Raises InputError, which names the one that cannot be used."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        for name in filter(None, (self.certificate, self.key, self.client_ca)):
            try:
                Path(name).read_bytes()
            except OSError as error:
                raise InputError(f"[server.tls]: {name} cannot be read: {error.strerror}.") from None
        try:
            context.load_cert_chain(self.certificate, self.key or None, _no_password)
        except (ssl.SSLError, ValueError) as error:
            files = f"{self.certificate} and {self.key}" if self.key else self.certificate
            raise InputError(f"[server.tls]: {files} cannot be used: {_problem(error)}.") from None
        if self.client_ca:
            try:
                context.load_verify_locations(self.client_ca)
            except ssl.SSLError:
                raise InputError(f"[server.tls]: {self.client_ca} holds no certificate.") from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _no_password() -> str:
    raise ValueError("the private key has a password; store it without one, readable by this user alone")


def _problem(error: Exception) -> str:
    if not isinstance(error, ssl.SSLError):
        return str(error)
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the private key is not the certificate's"
    return "there is no certificate with its private key in PEM form"


def last_day(certificate: str) -> datetime:
    """Return when a certificate, the first in its file, ends."""
    # The standard library reads a certificate of its own only in this way.
    found = ssl._ssl._test_decode_cert(certificate)  # type: ignore[attr-defined]  # noqa: SLF001
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC)


def open_sockets(
    host: str, port: int, unix_socket: str, *, count: int, beside: Sequence[socket.socket] = (), ours: bool = False
) -> list[socket.socket]:
    """Open a socket for each worker: of one TCP port, shared out by the system, or one Unix socket for all.

    `beside` are those of this place that are open already: all of them are kept, for each may have clients in its
    queue, and fewer workers then listen on several. A new one beside them is not listened to until its worker is
    ready, so that no client waits for one that may never be. `ours`: what uses the port is this server.
    Raises InputError where the place is taken or cannot be had.
    """
    if beside:
        more = 0 if unix_socket else count - len(beside)
        return [*beside, *(_open_tcp(host, port, shared=True) for _ in range(more))]
    if unix_socket:
        return [_open_unix(unix_socket)]
    if not ours:
        _open_tcp(host, port, shared=False).close()  # another server here would silently get half of the calls
    opened = [_open_tcp(host, port, shared=True) for _ in range(count)]
    for one in opened:
        one.listen(BACKLOG)
    return opened


def shared_out(sockets: Sequence[socket.socket], workers: int) -> list[list[int]]:
    """Say which file descriptors each worker listens on."""
    if len(sockets) < workers:  # a Unix socket
        return [[sockets[0].fileno()] for _ in range(workers)]
    return [[one.fileno() for one in sockets[first::workers]] for first in range(workers)]


HOSTS = "127.0.0.1 (this machine alone), 0.0.0.0 (all its addresses), ::1 or :: (the same with IPv6)"


def _open_tcp(host: str, port: int, *, shared: bool) -> socket.socket:
    if not host:  # the system would take it for every address
        raise InputError(f"`host` is empty. Give an address of this machine: {HOSTS}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        opened = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot_listen(host, port, error) from None
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        opened.bind((host, port))
    except (OSError, TypeError) as error:  # the latter for a NUL in it
        opened.close()
        raise _cannot_listen(host, port, error) from None
    return opened


def _cannot_listen(host: str, port: int, error: Exception) -> InputError:
    if isinstance(error, socket.gaierror) or not isinstance(error, OSError):
        reason = error.strerror if isinstance(error, OSError) else error
        return InputError(
            f"Cannot listen on host {host!r}: no address is known by that name ({reason}). Give an address of "
            f"this machine, without scheme and port: {HOSTS}."
        )
    if error.errno == errno.EADDRINUSE:
        advice = "Choose another with --port, or stop what is using it."
    elif error.errno in {errno.EACCES, errno.EPERM}:
        advice = "Ports below 1024 are the administrator's; choose another with --port."
    else:
        advice = f"`host` must be an address of this machine: {HOSTS}, or one that it has in its network."
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return InputError(f"Cannot listen on {place}: {error.strerror}. {advice}")


def _open_unix(name: str) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_left_over(name):
            Path(name).unlink()
        opened.bind(name)
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = "another server answers there" if is_socket(name) else "there is a file of that name"
        raise InputError(f"Cannot listen on the Unix socket {name}: {reason}.") from None
    return opened


def is_socket(name: str) -> bool:
    """Tell whether a path is a Unix socket."""
    try:
        return stat.S_ISSOCK(Path(name).stat().st_mode)
    except FileNotFoundError:
        return False


def _is_left_over(name: str) -> bool:
    """Tell whether a server that was killed left its socket behind: one that nobody answers any more."""
    if not is_socket(name):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # the queue of a busy server may be full
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            return False
    return False


def close_sockets(sockets: Sequence[socket.socket], unix_socket: str) -> None:
    """Close what `open_sockets` opened."""
    for one in sockets:
        one.close()
    if unix_socket:
        with contextlib.suppress(OSError):
            Path(unix_socket).unlink()
