"""Clients as they are found in the wild: each gets the bytes that the provider sent, plain, streamed, many at once."""

import asyncio
import http.client
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import httpx2
import pytest
from tests.gateway.conftest import Server
from tests.gateway.scripted import Asked, Scripted, stream, whole

PATH = "/v1/chat/completions"
PLAIN = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Wild? Ünïcode — 日本"}]}
STREAM = {**PLAIN, "stream": True, "stream_options": {"include_usage": True}}
LARGE = {**PLAIN, "messages": [{"role": "user", "content": "The gate holds. " * 20_000}]}
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
ANSWER = json.dumps({"id": "1", "model": "gpt-4o", "choices": [], "usage": USAGE, "text": "ä 日本"}).encode()
EVENTS = [
    b"data: " + json.dumps({"model": "gpt-4o", "n": number, "choices": []}).encode() + b"\n\n" for number in range(40)
]
EVENTS += [b"data: " + json.dumps({"model": "gpt-4o", "choices": [], "usage": USAGE}).encode() + b"\n\n"]
EVENTS += [b"data: [DONE]\n\n"]
SETTINGS = """
[gateway]
stream_trailer = false
[[providers]]
name = "p"
base_url = "{url}/v1"
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[Scripted]:
    def answer(asked: Asked) -> list:
        said = json.loads(asked.body)
        return stream(EVENTS) if said.get("stream") else whole(ANSWER)

    one = Scripted(answer)
    yield one
    one.close()


@pytest.fixture(scope="module")
def wild(provider, tmp_path_factory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("wild"), SETTINGS.format(url=provider.url))
    yield one
    one.stop()
    assert "Traceback" not in one.log.read_text()


def needs(program: str) -> str:
    found = shutil.which(program)
    if not found:
        pytest.skip(f"{program} is not installed")
    return found


def run(*command: str, body: bytes = b"") -> bytes:
    done = subprocess.run(command, input=body, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def check_all(once: Callable[[bytes], bytes], provider: Scripted, *, large: bool = True) -> None:
    """Check a plain call, a streamed one, a large one, and fifty at once."""
    for asked, answer in [(PLAIN, ANSWER), (STREAM, b"".join(EVENTS)), *([(LARGE, ANSWER)] if large else [])]:
        body = json.dumps(asked).encode()
        assert once(body) == answer
        assert provider.asked[-1].body == body
    streamed, plain = json.dumps(STREAM).encode(), json.dumps(PLAIN).encode()
    with ThreadPoolExecutor(10) as pool:
        said = list(pool.map(once, [streamed, plain] * 25))
    assert said == [b"".join(EVENTS), ANSWER] * 25


# curl

CURLS = {
    "as it is": [],
    "in HTTP/1.0": ["--http1.0"],
    "in HTTP/1.1": ["--http1.1"],
    "offering HTTP/2": ["--http2"],
    "in chunks": ["-H", "Transfer-Encoding: chunked"],
    "asking for permission": ["-H", "Expect: 100-continue"],
    "asking for permission, in chunks": ["-H", "Expect: 100-continue", "-H", "Transfer-Encoding: chunked"],
    "hanging up": ["-H", "Connection: close"],
}


@pytest.mark.parametrize("way", CURLS)
def test_curl(way, wild, provider):
    def once(body: bytes) -> bytes:
        return run(
            needs("curl"), "-sSN", "--fail-with-body", "-m", "60", *CURLS[way], "-H",
            "Content-Type: application/json", "--data-binary", "@-", wild.url + PATH, body=body,
        )  # fmt: skip

    check_all(once, provider)


def test_curl_that_insists_on_http2_is_refused_and_others_are_served(wild):
    said = subprocess.run(
        [needs("curl"), "-sS", "-m", "10", "--http2-prior-knowledge", wild.url + "/healthz"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert said.returncode not in {0, 28}  # neither an answer nor a wait
    assert run(needs("curl"), "-sS", wild.url + "/healthz") == b"ok\n"


def test_curl_sees_a_head_without_a_body_and_keeps_its_connection(wild):
    said = run(
        needs("curl"), "-sS", "-I", wild.url + "/healthz", "--next", "-sS", wild.url + "/healthz", "--next", "-sS",
        "-w", "%{num_connects}", wild.url + "/healthz",
    )  # fmt: skip
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert said.endswith(b"\r\n\r\nok\nok\n0")


# Python's


def test_http_client(wild, provider):
    def once(body: bytes) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", wild.port, timeout=60)
        try:
            for _ in range(2):  # on one connection
                connection.request("POST", PATH, body, {"Content-Type": "application/json"})
                answer = connection.getresponse().read()
            pieces = (body[at : at + 5000] for at in range(0, len(body), 5000))
            connection.request("POST", PATH, pieces, encode_chunked=True)
            assert connection.getresponse().read() == answer
            return answer
        finally:
            connection.close()

    check_all(once, provider)


def test_httpx2(wild, provider):
    with httpx2.Client(timeout=60) as client:

        def once(body: bytes) -> bytes:
            with client.stream("POST", wild.url + PATH, content=body) as reply:
                answer = b"".join(reply.iter_raw())
            pieces = (body[at : at + 5000] for at in range(0, len(body), 5000))
            assert client.post(wild.url + PATH, content=pieces).content == answer
            return answer

        check_all(once, provider)


def test_aiohttp(wild, provider):
    async def ask(session: aiohttp.ClientSession, body: bytes, *, chunked: bool = False) -> bytes:
        async def pieces():
            for at in range(0, len(body), 5000):
                yield body[at : at + 5000]

        data = pieces() if chunked else body
        async with session.post(wild.url + PATH, data=data, expect100=chunked) as reply:
            assert reply.status == 200
            return await reply.read()

    async def story() -> None:
        async with aiohttp.ClientSession() as session:
            for asked, answer in ((PLAIN, ANSWER), (STREAM, b"".join(EVENTS)), (LARGE, ANSWER)):
                body = json.dumps(asked).encode()
                assert await ask(session, body) == answer
                assert provider.asked[-1].body == body
                assert await ask(session, body, chunked=True) == answer
                assert provider.asked[-1].body == body
            many = await asyncio.gather(*(ask(session, json.dumps(STREAM).encode()) for _ in range(50)))
            assert many == [b"".join(EVENTS)] * 50

    asyncio.run(story())


# Others', each a program of its own: it checks, and says so

NODE = """
const http = require("http");
const [url, plain, streamed, large, answer, events] = JSON.parse(require("fs").readFileSync(0));
const same = (got, wanted, what) => { if (got !== wanted) throw new Error(what + ": " + got.slice(0, 300)); };
const headers = { "content-type": "application/json" };
const post = body => fetch(url, { method: "POST", body, headers });
const chunked = body => new ReadableStream({ start(to) {
  const bytes = new TextEncoder().encode(body);
  for (let at = 0; at < bytes.length; at += 5000) to.enqueue(bytes.slice(at, at + 5000));
  to.close(); } });
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
const old = body => new Promise((done, failed) => {
  const call = http.request(url, { method: "POST", agent }, reply => {
    const parts = []; reply.on("data", part => parts.push(part));
    reply.on("end", () => done(Buffer.concat(parts).toString())); reply.on("error", failed); });
  call.on("error", failed); call.end(body); });
(async () => {
  for (const [body, wanted] of [[plain, answer], [streamed, events], [large, answer]]) {
    same(await (await post(body)).text(), wanted, "fetch");
    const parts = []; const decoder = new TextDecoder();
    for await (const part of (await post(body)).body) parts.push(decoder.decode(part, { stream: true }));
    same(parts.join(""), wanted, "fetch, as it comes");
    const reply = await fetch(url, { method: "POST", body: chunked(body), duplex: "half" });
    same(await reply.text(), wanted, "fetch in chunks");
    same(await old(body), wanted, "http with an agent");
  }
  const many = await Promise.all(Array.from({ length: 50 }, async () => (await post(streamed)).text()));
  many.forEach(got => same(got, events, "fifty at once"));
  (await Promise.all(Array.from({ length: 50 }, () => old(streamed)))).forEach(got => same(got, events, "agent"));
  // Leaves a stream, and calls again.
  const control = new AbortController();
  const left = await fetch(url, { method: "POST", body: streamed, signal: control.signal });
  await left.body.getReader().read(); control.abort();
  same(await (await post(plain)).text(), answer, "after leaving");
  agent.destroy(); console.log("well");
})().catch(error => { console.error(error); process.exit(1); });
"""

GO = """
package main

import ("bytes"; "encoding/json"; "fmt"; "io"; "net/http"; "os"; "strings"; "sync")

func ask(url, body string, chunked bool) string {
    var from io.Reader = bytes.NewReader([]byte(body))
    if chunked { from = io.MultiReader(strings.NewReader(body[:7]), strings.NewReader(body[7:])) }
    request, _ := http.NewRequest("POST", url, from)
    request.Header.Set("Content-Type", "application/json")
    if chunked { request.Header.Set("Expect", "100-continue") }
    reply, err := http.DefaultClient.Do(request)
    if err != nil { panic(err) }
    defer reply.Body.Close()
    said, err := io.ReadAll(reply.Body)
    if err != nil { panic(err) }
    return string(said)
}

func main() {
    http.DefaultTransport.(*http.Transport).ExpectContinueTimeout = 5e9
    var given []string
    if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil { panic(err) }
    url, plain, streamed, large, answer, events := given[0], given[1], given[2], given[3], given[4], given[5]
    same := func(got, wanted string) { if got != wanted { panic(got) } }
    for _, one := range [][2]string{{plain, answer}, {streamed, events}, {large, answer}} {
        same(ask(url, one[0], false), one[1])
        same(ask(url, one[0], true), one[1])
    }
    var all sync.WaitGroup
    for n := 0; n < 50; n++ {
        all.Add(1)
        go func() { defer all.Done(); same(ask(url, streamed, false), events) }()
    }
    all.Wait()
    fmt.Println("well")
}
"""


def given(server: Server) -> bytes:
    bodies = [json.dumps(body) for body in (PLAIN, STREAM, LARGE)]
    return json.dumps([server.url + PATH, *bodies, ANSWER.decode(), b"".join(EVENTS).decode()]).encode()


def test_node(wild):
    assert run(needs("node"), "-e", NODE, body=given(wild)) == b"well\n"


def test_go(wild, tmp_path_factory):
    go = needs("go")
    folder: Path = tmp_path_factory.mktemp("go")
    (folder / "wild.go").write_text(GO)
    run(go, "build", "-o", str(folder / "wild"), str(folder / "wild.go"))
    assert run(str(folder / "wild"), body=given(wild)) == b"well\n"
