"""Ways to a provider: TLS that is verified, Unix sockets, IPv6, and HTTP proxies, against real servers."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme

from penstock.errors import InputError
from penstock.gateway.dialing import Address, Proxy, address_of, proxy_for, read_proxy, tls_context
from penstock.gateway.driving import Drive
from penstock.gateway.upstream import Origin, UpstreamError, send

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


def server_context(authority, *names: str, **more) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names, **more).configure_cert(context)
    return context


class Provider:
    """Answers every request with the number of the connection that it came on."""

    def __init__(self) -> None:
        self.connections = 0
        self.heads: list[bytes] = []
        self.open: list[asyncio.StreamWriter] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.append(writer)
        mine = str(self.connections).encode()
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(mine), mine))
        writer.close()

    async def chatter(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.append(writer)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    @contextlib.asynccontextmanager
    async def tcp(self, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        server = await asyncio.start_server(self.answer, host, 0, ssl=context)
        async with server:
            yield server.sockets[0].getsockname()[1]
            await self.hang_up()

    @contextlib.asynccontextmanager
    async def unix(self, path: str) -> AsyncIterator[None]:
        async with await asyncio.start_unix_server(self.answer, path):
            yield
            await self.hang_up()

    async def hang_up(self) -> None:
        for writer in self.open:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def driven(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
    """Run a coroutine as the gateway does, and wait for it as a test can."""
    future = asyncio.get_running_loop().create_future()

    async def story() -> None:
        future.set_result(await coroutine)

    Drive(story(), future.set_exception)
    return future


async def ask(address: Address, times: int = 1) -> list[bytes]:
    origin = Origin(address, asyncio.get_running_loop())
    try:
        replies = [
            await driven(send(origin, REQUEST, timeout=5, stall_timeout=5, max_reply=1000)) for _ in range(times)
        ]  # fmt: skip
        return [reply.body for reply in replies]
    finally:
        origin.close()
        await asyncio.sleep(0.01)


def run(story: Callable[[], object]) -> None:
    asyncio.run(story())


def test_a_certificate_is_verified_and_connections_are_kept(authority, ca_file):
    async def story() -> None:
        provider = Provider()
        async with provider.tcp(context=server_context(authority, "localhost")) as port:
            address, path = address_of(f"https://localhost:{port}/v1/", ca_file=ca_file)
            assert path == "/v1"
            assert await ask(address, 5) == [b"1"] * 5
            assert provider.connections == 1

    run(story)


@pytest.mark.parametrize(
    ("names", "more", "why"),
    [
        (["elsewhere.example"], {}, "not valid for 'localhost'"),
        (["localhost"], {"not_after": datetime(2020, 1, 1, tzinfo=UTC), "not_before": datetime(2019, 1, 1, tzinfo=UTC)},
         "expired"),
    ],
)  # fmt: skip
def test_a_certificate_of_another_name_or_time_is_not_accepted(names, more, why, authority, ca_file):
    async def story() -> None:
        async with Provider().tcp(context=server_context(authority, *names, **more)) as port:
            with pytest.raises(UpstreamError, match=why) as caught:
                await ask(address_of(f"https://localhost:{port}", ca_file=ca_file)[0])
            assert caught.value.code == "tls"
            assert not caught.value.sent

    run(story)


def test_a_certificate_of_an_unknown_authority_is_not_accepted_and_the_message_says_what_to_do(authority):
    async def story() -> None:
        async with Provider().tcp(context=server_context(authority, "localhost")) as port:
            with pytest.raises(UpstreamError, match="ca_file"):
                await ask(address_of(f"https://localhost:{port}")[0])

    run(story)


def test_a_server_that_does_not_speak_tls_is_told_apart():
    async def story() -> None:
        provider = Provider()
        provider.answer = provider.chatter  # type: ignore[method-assign]
        async with provider.tcp() as port:
            with pytest.raises(UpstreamError, match="No TLS with localhost") as caught:
                await ask(address_of(f"https://localhost:{port}")[0])
            assert caught.value.code == "tls"

    run(story)


def test_a_unix_socket_in_place_of_a_host(tmp_path):
    async def story() -> None:
        path = str(tmp_path / "vllm.sock")
        async with Provider().unix(path):
            address, below = address_of("http://localhost/v1", unix_socket=path, proxy="http://127.0.0.1:9")
            assert (address.authority, below) == ("localhost", "/v1")
            assert await ask(address) == [b"1"]
        with pytest.raises(UpstreamError, match=r"Cannot connect to localhost \(.*nowhere.sock\)"):
            await ask(address_of("http://localhost", unix_socket=str(tmp_path / "nowhere.sock"))[0])

    run(story)


def test_an_ipv6_address():
    async def story() -> None:
        async with Provider().tcp("::1") as port:
            address, _ = address_of(f"http://[::1]:{port}")
            assert address.authority == f"[::1]:{port}"
            assert await ask(address) == [b"1"]

    try:
        run(story)
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine: {error}")


class HttpProxy:
    """A proxy that joins connections for CONNECT, and forwards nothing else."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.answer = answer
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        writer.write(self.answer)
        if b" 200 " in self.answer:
            place = head.split(b" ")[1].decode()
            host, _, port = place.rpartition(":")
            there, back = await asyncio.open_connection(host, int(port))
            with contextlib.suppress(ConnectionError):
                await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]


def test_tls_goes_through_a_proxy_that_sees_no_request(authority, ca_file):
    async def story() -> None:
        provider, between = Provider(), HttpProxy()
        async with provider.tcp(context=server_context(authority, "localhost")) as port, between.running() as at:
            address, _ = address_of(
                f"https://localhost:{port}", ca_file=ca_file, proxy=f"http://me:p%40ss@127.0.0.1:{at}"
            )
            assert await ask(address, 3) == [b"1"] * 3
        secret = base64.b64encode(b"me:p@ss").decode()
        assert between.heads == [
            f"CONNECT localhost:{port} HTTP/1.1\r\nhost: localhost:{port}\r\n"
            f"proxy-authorization: Basic {secret}\r\n\r\n".encode()
        ]
        assert provider.heads == [REQUEST] * 3

    run(story)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "the proxy answered: 407 Proxy Authentication Required",
        ),
        (b"nonsense\r\n\r\n", "the proxy answered: no HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore than that", "not one to CONNECT"),
        (b"x" * 20_000, "not one to CONNECT"),
        (b"", "the proxy closed the connection"),
    ],
)
def test_a_proxy_that_does_not_want_to_is_named(answer, why, ca_file):
    async def story() -> None:
        async with HttpProxy(answer).running() as at:
            address, _ = address_of("https://localhost:1", ca_file=ca_file, proxy=f"127.0.0.1:{at}")
            with pytest.raises(UpstreamError, match=f"localhost:1 by the proxy 127.0.0.1:{at}: .*{why}"):
                await ask(address)

    run(story)


def test_without_tls_the_proxy_is_told_where_to_go():
    address, _ = address_of("http://models.example:8000/v1", proxy="http://me:secret@127.0.0.1:3128")
    assert address.target_prefix == "http://models.example:8000"
    assert address.proxy_header.startswith("proxy-authorization: Basic ")


def test_the_environment_names_the_proxy_unless_the_settings_do(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert proxy_for("https", "api.openai.com", 443, "") is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "internal.example,10.0.0.1")
    there = Proxy("proxy.example", 3128)
    assert proxy_for("https", "api.openai.com", 443, "") == there
    assert proxy_for("http", "api.openai.com", 80, "") is None
    assert proxy_for("https", "llm.internal.example", 443, "") is None
    assert proxy_for("https", "10.0.0.1", 443, "") is None
    assert proxy_for("https", "api.openai.com", 443, "none") is None
    assert proxy_for("https", "10.0.0.1", 443, "http://other.example:1") == Proxy("other.example", 1)
    for here in ("localhost", "127.0.0.1", "::1"):
        assert proxy_for("https", here, 443, "") is None


@pytest.mark.parametrize("url", ["https://p.example:1", "socks5://p.example:1", "http://", "http://p.example:port"])
def test_a_proxy_that_cannot_be_used_is_said_to_be_so(url):
    with pytest.raises(InputError, match="address of the proxy"):
        read_proxy(url)


@pytest.mark.parametrize(
    "url", ["ftp://x", "api.example.com", "https://", "https://key@x", "https://x/v1?key=1", "https://x:port"]
)
def test_an_address_that_cannot_be_used_is_said_to_be_so(url):
    with pytest.raises(InputError):
        address_of(url)


def test_a_file_of_authorities_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.pem cannot be used as `ca_file`: No such file"):
        tls_context(str(tmp_path / "nowhere.pem"))
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(InputError, match=r"empty.pem cannot be used"):
        tls_context(str(empty))


def test_a_call_that_finds_no_free_connection_waits_its_turn_and_not_for_ever(monkeypatch):
    async def story() -> None:
        async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                await asyncio.sleep(0.2)
                writer.close()
                await writer.wait_closed()

        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            origin = Origin(address_of(f"http://127.0.0.1:{port}")[0], asyncio.get_running_loop(), connections=1)
            held = await driven(origin.connection())
            second = driven(origin.connection())
            await asyncio.sleep(0)
            origin.sweep(origin.now() + 29)
            assert not second.done()
            origin.sweep(origin.now() + 31)
            with pytest.raises(UpstreamError, match="came free"):
                await second
            held.abort()
            origin.close()
            await asyncio.sleep(0.3)

    run(story)
