"""The doors of a real server: TLS, Unix sockets, IPv6; and that nobody is turned away while it changes or is hurt."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
from collections import Counter
from decimal import Decimal
from pathlib import Path

import h11
import httpx2
import openai
import pytest
import trustme
from tests.gateway.conftest import SANDBOX, Server, free_port

from penstock.errors import InputError
from penstock.gateway import supervisor
from penstock.gateway.listening import open_sockets

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Who holds the gate?"}], "max_tokens": 5}
PLAIN = json.dumps(BODY).encode()
STREAM = json.dumps({**BODY, "stream": True}).encode()
PATH = "/v1/chat/completions"


def request(body: bytes = PLAIN, more: str = "") -> bytes:
    return f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def refused(folder: Path, settings: str, *options: str, **environment: str) -> str:
    """Start a server that cannot start; return the one sentence that it says."""
    file = folder / "refused.toml"
    file.write_text(settings, "utf-8")
    said = subprocess.run(
        [sys.executable, "-m", "penstock", "serve", "--config", str(file), "--data", str(folder / "none"), *options],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert said.returncode == 2, said
    assert "Traceback" not in said.stderr
    assert len(said.stderr.strip().splitlines()) == 1, said.stderr
    return said.stderr


def wait_for(true, seconds: float = 40.0, what: str = "") -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what or "it did not happen"
        time.sleep(0.05)


# TLS


class Papers:
    """An authority, and files that a server can be given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        self.renew()

    def renew(self) -> None:
        issued = self.authority.issue_cert("localhost", "127.0.0.1")
        (self.folder / "new.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(self.folder / "new.key"))
        (self.folder / "new.pem").replace(self.certificate)
        (self.folder / "new.key").replace(self.key)

    def client(self, *, certificate: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if certificate:
            self.authority.issue_cert("client").configure_cert(context)
        return context

    def settings(self, more: str = "") -> str:
        return f'[server.tls]\ncertificate = "{self.certificate}"\nkey = "{self.key}"\n{more}{SANDBOX}'


@pytest.fixture
def papers(tmp_path):
    return Papers(tmp_path)


def serial(port: int, context: ssl.SSLContext) -> int:
    with socket.create_connection(("127.0.0.1", port), 10) as raw, context.wrap_socket(
        raw, server_hostname="localhost"
    ) as secured:  # fmt: skip
        return int(secured.getpeercert()["serialNumber"], 16)


def test_clients_connect_by_tls_and_certificates_are_renewed_while_it_runs(papers, start):
    server = start(papers.settings())
    base = f"https://localhost:{server.port}/v1"
    assert f"https://127.0.0.1:{server.port}" in server.log.read_text()
    with httpx2.Client(verify=papers.client()) as http, openai.OpenAI(
        base_url=base, api_key="k", http_client=http, max_retries=0
    ) as client:  # fmt: skip
        assert client.chat.completions.create(**BODY).usage.completion_tokens > 0
        pieces = list(client.chat.completions.create(**BODY, stream=True))
        assert len(pieces) > 2
        first = serial(server.port, papers.client())
        papers.renew()
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: serial(server.port, papers.client()) != first)
        # A key that is not the certificate's: what is in force stays.
        papers.key.write_bytes(papers.authority.issue_cert("x").private_key_pem.bytes())
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "the private key is not the certificate's" in server.log.read_text())
        assert client.chat.completions.create(**BODY).usage.completion_tokens > 0
    with socket.create_connection(("127.0.0.1", server.port), 10) as plain:
        plain.sendall(request())
        assert plain.recv(100) == b""  # no TLS, no word
    began = time.monotonic()
    idle = papers.client().wrap_socket(
        socket.create_connection(("127.0.0.1", server.port), 10), server_hostname="localhost"
    )
    server.stop()
    idle.close()
    assert server.process.returncode == 0
    assert time.monotonic() - began < 20  # not the thirty seconds for which TLS would wait for a goodbye


def test_only_clients_with_a_certificate_are_served_where_that_is_asked_for(papers, start):
    server = start(papers.settings(f'client_ca = "{papers.ca}"\n'))
    url = f"https://localhost:{server.port}{PATH}"
    with httpx2.Client(verify=papers.client(certificate=True)) as known:
        assert known.post(url, content=PLAIN).status_code == 200
    with httpx2.Client(verify=papers.client()) as unknown, pytest.raises(httpx2.TransportError):
        unknown.post(url, content=PLAIN)
    stranger = Papers(papers.folder)  # another authority
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    stranger.authority.issue_cert("client").configure_cert(context)
    with httpx2.Client(verify=context) as other, pytest.raises(httpx2.TransportError):
        other.post(url, content=PLAIN)


def test_files_that_cannot_be_used_for_tls_are_named_in_one_sentence(papers):
    folder = papers.folder
    assert "nowhere.pem cannot be read: No such file or directory" in refused(
        folder, f'[server.tls]\ncertificate = "{folder}/nowhere.pem"\n'
    )
    assert "there is no certificate with its private key" in refused(
        folder, f'[server.tls]\ncertificate = "{papers.certificate}"\n'
    )
    papers.key.write_bytes(papers.authority.issue_cert("x").private_key_pem.bytes())
    assert "the private key is not the certificate's" in refused(folder, papers.settings())
    papers.renew()
    papers.ca.write_text("nothing")
    assert "ca.pem holds no certificate" in refused(folder, papers.settings(f'client_ca = "{papers.ca}"\n'))


# Unix sockets and addresses


def test_a_unix_socket_is_a_door_and_one_left_behind_is_cleared_away(start, tmp_path):
    path = tmp_path / "door.sock"
    server = start(SANDBOX, "--unix-socket", str(path))
    assert f"unix:{path}" in server.log.read_text()

    def answers() -> int:
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path))) as client:
            return client.post(f"http://any{PATH}", content=PLAIN).status_code

    assert answers() == 200
    if shutil.which("curl"):
        said = subprocess.run(
            ["curl", "-sS", "--unix-socket", str(path), "http://any/healthz"], capture_output=True, check=True
        )
        assert said.stdout == b"ok\n"
    assert "another server answers there" in refused(tmp_path, SANDBOX, "--unix-socket", str(path))
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "the new settings are in force" in server.log.read_text())
    time.sleep(0.5)  # the old workers leave: not with the path
    assert answers() == 200
    # A server that is killed leaves its socket behind; its children follow it.
    children = server.workers()
    server.process.kill()
    server.process.wait()
    wait_for(lambda: not any(Path(f"/proc/{child}/cmdline").exists() for child in children))
    assert path.is_socket()
    again = start(SANDBOX, "--unix-socket", str(path))
    assert answers() == 200
    again.stop()
    assert not path.exists()


def test_a_path_that_cannot_be_a_door_is_said_to_be_so(tmp_path):
    file = tmp_path / "file"
    file.write_text("precious")
    assert "there is a file of that name" in refused(tmp_path, SANDBOX, "--unix-socket", str(file))
    assert file.read_text() == "precious"
    assert "too long" in refused(tmp_path, SANDBOX, "--unix-socket", str(tmp_path / ("x" * 120)))
    assert "No such file" in refused(tmp_path, SANDBOX, "--unix-socket", str(tmp_path / "elsewhere" / "door.sock"))


@pytest.mark.parametrize(("host", "reached"), [("::1", ["[::1]"]), ("::", ["[::1]", "127.0.0.1"])])
def test_ipv6_addresses_are_doors(host, reached, start):
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 on this machine: {error}")
    server = start(SANDBOX, "--host", host)
    assert f"http://[{host}]:{server.port}" in server.log.read_text()
    for name in reached:
        with openai.OpenAI(base_url=f"http://{name}:{server.port}/v1", api_key="k", max_retries=0) as client:
            assert client.chat.completions.create(**BODY).choices


def test_a_taken_port_and_an_address_of_elsewhere_are_said_to_be_so(server, tmp_path):
    said = refused(tmp_path, SANDBOX, "--port", str(server.port))
    assert f"127.0.0.1:{server.port}: Address already in use. Choose another" in said
    assert "an address of this machine" in refused(tmp_path, SANDBOX, "--host", "192.0.2.1", "--port", "4999")


def test_a_host_that_is_none_is_named_with_what_to_give_instead(monkeypatch):
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket.socket, "bind", unknown)  # the real one would ask name servers
    with pytest.raises(InputError) as refusal:
        open_sockets("bad.name", 4999, "", count=1)
    assert str(refusal.value) == (
        "Cannot listen on host 'bad.name': no address is known by that name (Name or service not known). Give an "
        "address of this machine, without scheme and port: 127.0.0.1 (this machine alone), 0.0.0.0 (all its "
        "addresses), ::1 or :: (the same with IPv6)."
    )


def test_a_host_that_can_be_no_name_is_said_to_be_none():
    with pytest.raises(InputError, match=r"no address is known by that name .host name must not contain null"):
        open_sockets("a\0b", 4999, "", count=1)


def test_an_empty_host_is_not_every_address(tmp_path):
    assert "`host` is empty. Give an address" in refused(tmp_path, f'[server]\nhost = ""\n{SANDBOX}')


def test_a_temporary_folder_with_too_long_a_path_for_sockets_is_named(tmp_path):
    long = tmp_path / ("x" * 80)
    long.mkdir()
    said = refused(tmp_path, SANDBOX, "--port", str(free_port()), TMPDIR=str(long))
    assert f"The temporary folder {long} has too long a path for Unix sockets" in said
    assert "TMPDIR" in said
    assert list(long.iterdir()) == []


def test_no_cleaner_of_temporary_folders_finds_anything_old_in_that_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "YOUNG_SECONDS", 0.01)
    inner = tmp_path / "1" / "control.sock"
    inner.parent.mkdir()
    inner.touch()

    def seen() -> float:
        return min(path.stat().st_mtime for path in (tmp_path, inner.parent, inner))

    async def story() -> None:
        keeping = asyncio.create_task(supervisor.keep_young(tmp_path))
        for _ in range(2):
            for path in (inner, inner.parent, tmp_path):
                os.utime(path, (0, 0))
            while not seen():
                await asyncio.sleep(0.005)
        keeping.cancel()

    asyncio.run(asyncio.wait_for(story(), 30))
    assert seen() > 0


# Halves


def test_a_client_that_closes_its_half_after_asking_gets_its_whole_answer_and_its_stream(start):
    server = start(SANDBOX + "[sandbox]\nfirst_token_ms = 100\ntoken_ms = 5\n")
    for body, end in ((PLAIN, b"}"), (STREAM, b"0\r\n\r\n")):
        with socket.create_connection(("127.0.0.1", server.port), 20) as client:
            client.sendall(request(body))
            client.shutdown(socket.SHUT_WR)
            said = b""
            while piece := client.recv(65536):
                said += piece
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert said.endswith(end)
    wait_for(lambda: len(rows(server)) == 2)
    assert [row["outcome"] for row in rows(server)] == ["ok", "ok"]


def rows(server: Server) -> list[dict]:
    return server.get("/api/requests")["requests"]


# Permission


def test_a_pipelined_client_that_waits_for_permission_gets_it_when_its_turn_comes(server):
    first, second = h11.Connection(h11.CLIENT), h11.Connection(h11.CLIENT)
    fields = [("host", "x"), ("content-length", str(len(PLAIN)))]
    slow = [*fields, ("x-sandbox", "first_ms=400")]

    def head(of: h11.Connection, more: list[tuple[str, str]]) -> bytes:
        return of.send(h11.Request(method="POST", target=PATH, headers=more))

    with socket.create_connection(("127.0.0.1", server.port), 20) as client:

        def heard(by: h11.Connection) -> h11.Event:
            while (event := by.next_event()) is h11.NEED_DATA:
                by.receive_data(client.recv(65536))
            return event

        both = head(first, slow) + first.send(h11.Data(PLAIN)) + first.send(h11.EndOfMessage())
        client.sendall(both + head(second, [*fields, ("expect", "100-continue")]))
        assert heard(first).status_code == 200
        while type(heard(first)) is not h11.EndOfMessage:
            pass
        if first.trailing_data[0]:  # to be given nothing is the connection's end
            second.receive_data(first.trailing_data[0])
        permission = heard(second)
        assert (type(permission), permission.status_code) == (h11.InformationalResponse, 100)
        client.sendall(second.send(h11.Data(PLAIN)) + second.send(h11.EndOfMessage()))
        assert heard(second).status_code == 200


# Changes under load


class Traffic:
    """Clients that call without a pause until told to stop: none of their calls may fail."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.done: Counter[str] = Counter()
        self.ids: list[str] = []
        self.failed: list[str] = []
        self.stop = asyncio.Event()

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes, more: str) -> bool:
        """Make one call; return whether the connection stays open."""
        writer.write(request(body, more))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200 "), head
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        if b"content-length" in fields:
            answer = await reader.readexactly(int(fields[b"content-length"]))
            assert json.loads(answer)["usage"]["completion_tokens"] > 0
        else:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            assert await reader.readexactly(2) == b"\r\n"
        self.ids.append(fields[b"x-penstock-request-id"].decode())
        return fields.get(b"connection") != b"close"

    async def client(self, kind: str, body: bytes, *, keep: bool, more: str = "") -> None:
        stays, writer = False, None
        while not self.stop.is_set():
            try:
                if not stays:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
                stays = await asyncio.wait_for(self.one(reader, writer, body, more), 60) and keep
                self.done[kind] += 1
            except (OSError, AssertionError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.failed.append(f"{kind}: {error!r}")
                stays = False
            if not stays and writer is not None:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        if stays and writer is not None:
            writer.close()

    async def run(self, story) -> None:
        slow = "x-sandbox: first_ms=300;token_ms=60;tokens=60\r\n"
        long = json.dumps({**BODY, "stream": True, "max_tokens": 60}).encode()
        clients = [
            *(self.client("kept", PLAIN, keep=True) for _ in range(4)),
            *(self.client("new", PLAIN, keep=False) for _ in range(4)),
            *(self.client("streams", STREAM, keep=True) for _ in range(2)),
            *(self.client("long", long, keep=False, more=slow) for _ in range(4)),
        ]
        running = [asyncio.create_task(one) for one in clients]
        await story()
        self.stop.set()
        await asyncio.gather(*running)


CHANGES = [
    """[server]\nworkers = 2\n[[routes]]\nmodel = "best"\ndeployments = ["b"]
    [[deployments]]\nname = "b"\nprovider = "sandbox-openai"\nmodel = "gpt-4.1"\n""",
    '[server]\nworkers = 2\n[ledger]\nfsync = "always"\n',
    "[server]\nworkers = 1\n[server.limits]\nmax_body = 100000\n",
    "[server]\nworkers = 3\n[gateway]\nstream_trailer = false\n",
    "[server]\nworkers = 1\n",
]


def test_settings_change_under_load_and_not_one_call_is_dropped(start):
    server = start(SANDBOX)
    file = server.folder / "penstock.toml"
    traffic = Traffic(server)

    async def until(sentence: str, times: int) -> None:
        for _ in range(1200):
            if server.log.read_text().count(sentence) >= times:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(server.log.read_text())

    async def story() -> None:
        await asyncio.sleep(0.5)
        for number, change in enumerate(CHANGES, start=1):
            file.write_text(change + SANDBOX)
            server.process.send_signal(signal.SIGHUP)
            await until("the new settings are in force", number)
            if number == 1:
                status, _, body = await asyncio.to_thread(server.post, PATH, {**BODY, "model": "best"})
                assert status == 200
                traffic.ids.append("best")
                assert json.loads(body)["model"].startswith("gpt-4.1")
            if number == 3:
                # Wrong in itself, and wrong only for who uses it: both are refused, and nothing changes.
                file.write_text("[server]\nworkrs = 2\n" + SANDBOX)
                server.process.send_signal(signal.SIGHUP)
                await until("did you mean `workers`?", 1)
                wrong = '[[prices.rows]]\nmodel = "x"\nnonsense = 1\n'
                file.write_text("[server]\nworkers = 2\n" + wrong + SANDBOX)
                server.process.send_signal(signal.SIGHUP)
                await until("did not become ready", 1)
                assert server.log.read_text().count("The old ones stay in force.") == 2
        await asyncio.sleep(0.5)

    asyncio.run(traffic.run(story))
    assert traffic.failed == []
    assert set(traffic.done) == {"kept", "new", "streams", "long"}
    assert len(traffic.ids) > 200, traffic.done
    bill = server.bill()["totals"]
    assert bill["calls"] == len(traffic.ids)
    server.stop()
    assert server.process.returncode == 0
    from penstock.ledger.store import Ledger

    with Ledger.open(server.data) as ledger:
        events = list(ledger.events())
    booked = Counter(event.request_id for event in events)
    assert set(booked.values()) == {1}
    assert set(traffic.ids) - {"best"} <= set(booked)
    assert len(booked) == len(traffic.ids)
    assert sum((event.cost for event in events), Decimal(0)) == Decimal(bill["cost"])


def test_a_server_may_open_its_port_to_other_addresses_while_it_runs(start):
    server = start(SANDBOX)
    (server.folder / "penstock.toml").write_text('[server]\nhost = "0.0.0.0"\n' + SANDBOX)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "the new settings are in force" in server.log.read_text())
    assert server.post(PATH, BODY)[0] == 200
    with socket.create_connection(("127.0.0.2", server.port), 10) as other:
        other.sendall(request(more="Connection: close\r\n"))
        assert other.recv(100).startswith(b"HTTP/1.1 200 ")


def test_streams_end_before_the_server_does_and_new_calls_are_turned_away_at_once(start):
    server = start(SANDBOX + "[sandbox]\ntoken_ms = 30\n")
    traffic = Traffic(server)

    async def story() -> None:
        body = json.dumps({**BODY, "stream": True, "max_tokens": 50}).encode()
        calls = []
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            calls.append((asyncio.create_task(traffic.one(reader, writer, body, "")), writer))
        await asyncio.sleep(0.4)
        server.process.send_signal(signal.SIGTERM)
        for task, writer in calls:
            await task
            writer.close()

    asyncio.run(story())
    assert len(traffic.ids) == 10
    assert server.process.wait(30) == 0


def test_who_waits_while_a_dead_worker_is_replaced_is_served_by_the_next_one(start):
    server = start(SANDBOX)
    assert server.post(PATH, BODY)[0] == 200
    os.kill(server.workers()[0], signal.SIGKILL)
    statuses: list[int] = []

    async def wait() -> None:
        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request(more="Connection: close\r\n"))
            statuses.append(int((await asyncio.wait_for(reader.read(), 60)).split(b" ")[1]))
            writer.close()

        await asyncio.gather(*(one() for _ in range(30)))

    asyncio.run(wait())
    assert statuses == [200] * 30
    assert "started again" in server.log.read_text()


def test_pages_and_api_follow_commands_and_settings(start):
    """The control process reads the settings once: after a change there is a new one."""
    server = start('[[budgets]]\ndollars = 10\n[chargeback]\nby = "team"\n[proof]\nmargin = 0.02\n' + SANDBOX)

    def said(path: str) -> dict:
        return httpx2.get(f"{server.url}{path}", timeout=30).json()

    def limits() -> dict[str, str]:
        rows = httpx2.get(f"{server.url}/figures/summary/budgets.csv", timeout=30).text.splitlines()[1:]
        page = {row.split(",")[0]: row.split(",")[2] for row in rows}
        api = {one["scope"]: one["limit"] for one in said("/api/budgets")["budgets"]}
        return page if page == api else {}

    assert limits() == {"everything": "10"}
    command = [sys.executable, "-m", "penstock", "budgets", "set", "7", "--scope", "team=red", "--data", server.data]
    subprocess.run(command, check=True, capture_output=True, cwd=server.folder, timeout=60)
    wait_for(lambda: limits() == {"everything": "10", "team=red": "7"})
    assert (said("/api/savings")["margin"], said("/api/reports/chargeback")["by"]) == (0.02, "team")
    changed = '[[budgets]]\ndollars = 25\n[chargeback]\nby = "app"\n[proof]\nmargin = 0.1\n'
    (server.folder / "penstock.toml").write_text(changed + SANDBOX)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "the new settings are in force" in server.log.read_text())
    wait_for(lambda: limits() == {"everything": "25", "team=red": "7"})
    assert (said("/api/savings")["margin"], said("/api/reports/chargeback")["by"]) == (0.1, "app")


def test_pages_that_cannot_answer_now_are_told_of_without_our_inner_paths(start):
    server = start()
    (control,) = server.children("control")
    os.kill(control, signal.SIGKILL)
    wait_for(lambda: control not in server.children("control"))
    with pytest.raises(urllib.error.HTTPError) as caught:
        server.get("/api/health")
    said = json.load(caught.value)["error"]
    assert (caught.value.code, said["code"], caught.value.headers["retry-after"]) == (503, "not_ready", "1")
    assert ".sock" not in said["message"]
