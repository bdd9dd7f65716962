"""Budgets hold over two gateways with one Redis: under a race, with streams and fallbacks, through kills."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import anthropic
import openai
import pytest
from tests.gateway.conftest import Server
from tests.gateway.scripted import Asked, Scripted
from tests.policies.budgets.redis_server import RedisServer

from penstock.ledger.state import State
from penstock.ledger.store import Ledger
from penstock.metering.counting import count_request
from penstock.policies.budgets.counters import dollars_of
from penstock.policies.budgets.rules import Budget, Rule, Rules
from penstock.policies.budgets.shared import RedisCounters, connect
from penstock.policies.budgets.store import keep_rules, published

PROVIDERS = """
[[providers]]
name = "openai"
kind = "sandbox"
bills_as = "openai"
[[providers]]
name = "anthropic"
kind = "sandbox"
bills_as = "anthropic"
[[deployments]]
name = "first"
provider = "openai"
model = "gpt-4o"
[[deployments]]
name = "second"
provider = "openai"
model = "gpt-4.1"
[[routes]]
model = "best"
deployments = ["first", "second"]
"""
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hold?"}], "max_tokens": 20}
TWENTY = {"x-sandbox": "tokens=20"}
SENT = count_request("openai.chat", "gpt-4o-mini", json.dumps(CHAT).encode()).tokens
ONE = SENT * Decimal("0.00000015") + 20 * Decimal("0.0000006")
"""What such a call costs."""
OUTPUT = Decimal("0.0000006")
"""A token of output."""
_numbers = itertools.count(1)


class Nodes:
    """Two gateways with a ledger each, and the Redis that they share. Starting them is what takes long."""

    def __init__(self, folder: Path) -> None:
        (folder / "redis").mkdir()
        self.redis = RedisServer(folder / "redis", "--appendonly", "yes")
        # Calls that were answered and not yet settled when their worker died are known from the ledger as soon as it is
        # back; their leases must last until then, however busy the machine is.
        settings = (
            f'[governance]\nredis = "{self.redis.url}"\nlease_seconds = 10.0\nredis_timeout = 2.0\n'
            "cut_streams = true\ndefault_output_tokens = 100\n"
            f'{PROVIDERS}[ledger]\nfsync = "always"\n'
        )
        self.servers = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            self.servers.append(Server(folder / name, settings))

    def ask(self, what):
        async def main():
            counters = RedisCounters(connect(self.redis.url, 10), ledger="test")
            try:
                return await what(counters)
            finally:
                await counters.close()

        return asyncio.run(main())

    def allow(self, dollars: Decimal) -> Budget:
        """Bring a budget for a new team into force, and wait until both gateways have it."""
        number = next(_numbers)
        budget = Budget(dollars=dollars, scope=f"team=team{number}")
        canary = Budget(dollars=Decimal(0), scope=f"team=canary{number}")
        self.ask(lambda counters: counters.keep(Rules(budgets=(budget, canary))))
        for server in self.servers:
            wait_for(server, 402, "budget_exceeded", f"canary{number}")
        return budget

    def settled(self, budget: Budget) -> tuple[Decimal, Decimal]:
        """Wait until counter and ledgers agree and nothing is in flight; return both as they are then."""
        deadline = time.monotonic() + 60
        while True:
            (spent, reserved), total = self.counted(budget), self.booked(budget)
            if (spent == total and not reserved) or time.monotonic() > deadline:
                assert reserved == 0
                return spent, total
            time.sleep(0.5)

    def counted(self, budget: Budget) -> tuple[Decimal, Decimal]:
        rule = Rule(budget)
        name = rule.counter(rule.window(datetime.now(UTC)), "")
        [(spent, reserved)] = self.ask(lambda counters: counters.read([name]))
        return dollars_of(spent), dollars_of(reserved)

    def booked(self, budget: Budget) -> Decimal:
        total = Decimal(0)
        for server in self.servers:
            with Ledger.open(server.data, create=False) as ledger:
                events = ledger.table()
                mine = events.filter(events.team == budget.scope.partition("=")[2])
                total += mine.cost.sum().to_pyarrow().as_py() or 0
        return total

    def stop(self) -> None:
        for server in self.servers:
            server.stop()
        self.redis.stop()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    found = Nodes(tmp_path_factory.mktemp("nodes"))
    yield found
    found.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One gateway with one worker and no Redis."""
    settings = f'[ledger]\nfsync = "always"\n{PROVIDERS}[[limits]]\nscope = "user=ada"\nrequests_per_minute = 60\n'
    one = Server(tmp_path_factory.mktemp("alone"), settings)
    yield one
    one.stop()


def made(server, rules: Rules) -> None:
    """Keep rules as `penstock budgets` does."""
    state = State(server.data / "state.sqlite")
    keep_rules(state, rules)
    state.close()


def wait_for(server, status: int, code: str, team: str, said: str = "") -> None:
    """Call for a team until that is the answer, in these words."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found, _, body = server.post("/v1/chat/completions", CHAT, {"x-penstock-team": team})
        if found == status and said.encode() in body:
            assert json.loads(body)["error"]["code"] == code
            return
        time.sleep(0.05)
    raise AssertionError(f"never {status}")


async def call(port: int, body: dict, headers: dict[str, str], leaves: bool = False) -> tuple[int, str, float]:
    """Make one call; return its status (0: broken off), the error's code, and how long to wait before another."""
    path = "/v1/messages" if body["model"].startswith("claude") else "/v1/chat/completions"
    data = json.dumps(body).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0, "", 0.2
    try:
        writer.write(
            f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nanthropic-version: 2023-06-01\r\n{lines}"
            f"content-length: {len(data)}\r\n\r\n".encode()
            + data
        )
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if leaves and status == 200:
            return -1, "", 0
        answer = await reader.read()
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        code = json.loads(answer)["error"]["code"] if b"application/json" in head and status >= 400 else ""
        return status, code or "", float(fields.get(b"retry-after-ms", b"0")) / 1000
    except (OSError, asyncio.IncompleteReadError):
        return 0, "", 0.2
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def crowd(nodes, budget: Budget, count: int, draw, *, at_once: int = 1000, until: float = 120) -> Counter:
    """Make calls at two doors at once; who is told to wait waits, as the official clients do."""
    became: Counter = Counter()
    room = asyncio.Semaphore(at_once)
    deadline = time.monotonic() + until

    async def one(number: int) -> None:
        chance = random.Random(number)
        while True:
            body, headers, leaves = draw(number, chance)
            headers = {**headers, "x-penstock-team": budget.scope.partition("=")[2]}
            async with room:
                status, code, wait = await call(nodes.servers[number % 2].port, body, headers, leaves)
            if status in {429, 503} and time.monotonic() < deadline:
                became["waited"] += 1
                await asyncio.sleep(wait * chance.uniform(0.2, 1))
                continue
            became[f"{status} {code}".strip()] += 1
            return

    await asyncio.gather(*(one(number) for number in range(count)))
    return became


def test_of_a_thousand_calls_at_once_a_budget_for_a_hundred_lets_a_hundred_through(nodes):
    budget = nodes.allow(ONE * 100)
    became = asyncio.run(crowd(nodes, budget, 1000, lambda *_: (CHAT, TWENTY, False)))
    assert became["200"] == 100, became
    assert became["402 budget_exceeded"] == 900, became
    assert nodes.settled(budget) == (ONE * 100, ONE * 100)


def test_streams_abandoned_ones_and_fallbacks_never_overshoot_and_are_counted_to_the_last_digit(nodes):
    def draw(number: int, chance: random.Random):
        stream = chance.random() < 0.5
        body = {**CHAT, "stream": stream}
        if number % 5 == 0:
            body = {"model": "claude-sonnet-5", "max_tokens": 20, "messages": CHAT["messages"], "stream": stream}
        mishap = "tokens=20"
        if number % 5 == 1:
            body, mishap = {**body, "model": "best"}, "tokens=20;error=503;only=gpt-4o"
        if number % 5 == 2:
            mishap = f"tokens=20;error=429;retry_after=0;times=1;id=n{number}"
        return body, {"x-sandbox": mishap}, stream and number % 3 == 0

    budget = nodes.allow(Decimal("0.003"))
    became = asyncio.run(crowd(nodes, budget, 200, draw, at_once=60))
    assert became["200"] > 10, became
    assert became["-1"] > 3, became
    assert became["402 budget_exceeded"] > 5, became
    assert set(became) <= {"200", "-1", "402 budget_exceeded", "waited"}, became
    spent, total = nodes.settled(budget)
    assert spent == total
    assert budget.dollars / 2 < total <= budget.dollars


def test_a_gateway_killed_under_load_leaves_nothing_reserved_and_nothing_counted_twice(nodes):
    budget = nodes.allow(ONE * 120)
    killed: list[int] = []

    async def kill() -> None:
        for _ in range(2):
            await asyncio.sleep(0.4)
            for pid in nodes.servers[0].workers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            await asyncio.sleep(1.5)

    async def main():
        slow = {"x-sandbox": "tokens=20;first_ms=60"}
        crowded = crowd(nodes, budget, 300, lambda *_: (CHAT, slow, False), at_once=20)
        return (await asyncio.gather(crowded, kill()))[0]

    became = asyncio.run(main())
    assert killed
    assert became["200"] <= 120, became  # what a client was answered is on the disk (`fsync = "always"`)
    spent, total = nodes.settled(budget)
    assert spent == total
    assert 0 < total <= budget.dollars


@pytest.mark.parametrize("keeps", [True, False], ids=["with its data", "empty"])
def test_a_redis_that_is_killed_and_comes_back_is_made_anew_from_the_ledgers(nodes, keeps):
    budget = nodes.allow(ONE * 150)

    def again() -> None:
        if not keeps:
            shutil.rmtree(nodes.redis.folder)
            nodes.redis.folder.mkdir()
        nodes.redis.start()

    async def restart() -> None:
        await asyncio.sleep(0.5)
        nodes.redis.kill()
        await asyncio.sleep(1)
        await asyncio.get_running_loop().run_in_executor(None, again)

    async def main():
        slow = {"x-sandbox": "tokens=20;first_ms=40"}
        crowded = crowd(nodes, budget, 250, lambda *_: (CHAT, slow, False), at_once=10)
        return (await asyncio.gather(crowded, restart()))[0]

    became = asyncio.run(main())
    assert set(became) <= {"200", "402 budget_exceeded", "waited"}, became
    spent, total = nodes.settled(budget)
    assert spent == total
    # Calls in flight when Redis lost its data are the only ones whose reservations it did not hold.
    assert 0 < total <= budget.dollars + ONE * 10


def test_streams_at_two_gateways_that_outrun_their_reservations_share_what_is_left_and_end(nodes):
    budget = nodes.allow(OUTPUT * 2000)
    team = budget.scope.partition("=")[2]
    body = {"model": "gpt-4o-mini", "messages": CHAT["messages"], "stream": True}
    headers = {"x-penstock-team": team, "x-sandbox": "tokens=6000;token_ms=3"}

    async def main():
        return await asyncio.gather(*(call(nodes.servers[n % 2].port, body, headers) for n in range(4)))

    assert [status for status, _, _ in asyncio.run(main())] == [200] * 4
    spent, total = nodes.settled(budget)
    assert spent == total
    events = [event for server in nodes.servers for event in events_of(server, team)]
    assert [event["error"] for event in events] == ["budget_cut"] * 4
    assert OUTPUT * 1200 < total < OUTPUT * 3000


def test_without_redis_calls_under_a_budget_are_refused_until_it_is_back(nodes):
    budget = nodes.allow(Decimal(5))
    server, team = nodes.servers[0], {"x-penstock-team": budget.scope.partition("=")[2]}
    assert server.post("/v1/chat/completions", CHAT, team)[0] == 200
    nodes.redis.kill()
    status, headers, body = server.post("/v1/chat/completions", CHAT, team)
    assert (status, json.loads(body)["error"]["code"]) == (503, "budgets_unavailable")
    assert headers["retry-after"] == "5"
    assert server.post("/v1/chat/completions", CHAT)[0] == 200  # under no budget
    nodes.redis.start()
    deadline = time.monotonic() + 60
    while server.post("/v1/chat/completions", CHAT, team)[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    spent, total = nodes.settled(budget)
    assert spent == total > 0


# One worker, no Redis


def test_the_official_clients_do_not_try_again_where_that_cannot_help(server):
    allowed(server, "poor", Decimal("0.00000001"))
    before, poor = len(server.bill()["entries"]), {"x-penstock-team": "poor"}
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=5, default_headers=poor) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(**CHAT)
        assert caught.value.status_code == 402
        assert caught.value.code == "budget_exceeded"
        assert "max_tokens" in str(caught.value)
    with anthropic.Anthropic(base_url=server.url, api_key="any", max_retries=5, default_headers=poor) as claude:
        with pytest.raises(anthropic.APIStatusError) as refused:
            claude.messages.create(model="claude-sonnet-5", max_tokens=20, messages=CHAT["messages"])
        assert refused.value.status_code == 402
        assert refused.value.body["error"]["type"] == "billing_error"
        assert refused.value.response.headers["x-should-retry"] == "false"
    assert len(server.bill()["entries"]) == before


def test_the_official_clients_wait_for_a_rate_limit_and_then_come_through(server):
    # 60 a minute is one a second, once the first 60 are used up.
    for _ in range(100):
        status, headers, body = server.post("/v1/chat/completions", {**CHAT, "user": "ada"})
        assert headers["x-ratelimit-limit-requests"] == "60"
        if status != 200:
            break
    assert (status, json.loads(body)["error"]["code"]) == (429, "rate_limited")
    assert headers["x-should-retry"] == "true"
    assert int(headers["retry-after"]) >= 1
    # Who is under no limit sees the provider's own.
    _, headers, _ = server.post("/v1/chat/completions", {**CHAT, "user": "grace"})
    assert headers["x-ratelimit-limit-requests"] == "10000"
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=5) as client:
        assert client.chat.completions.create(**CHAT, user="ada").choices


def test_a_freeze_and_a_budget_made_by_command_come_into_force_while_it_runs(server):
    assert server.post("/v1/chat/completions", CHAT, {"x-penstock-team": "support"})[0] == 200
    made(server, Rules(frozen=("team=support",)))
    wait_for(server, 403, "spending_frozen", "support")
    assert server.post("/v1/chat/completions", CHAT)[0] == 200
    made(server, Rules(budgets=(Budget(dollars=ONE, scope="team=*", per="day"),)))
    wait_for(server, 402, "budget_exceeded", "support")  # what it had spent before counts


def test_a_worker_that_is_killed_comes_back_knowing_what_was_spent(server):
    allowed(server, "killed", ONE * 5)
    wait_for(server, 402, "budget_exceeded", "killed")
    [worker] = server.workers()
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError):
            status = server.post("/v1/chat/completions", CHAT, {"x-penstock-team": "killed"})[0]
            break
        assert time.monotonic() < deadline
    assert status == 402


def test_several_workers_with_a_budget_need_redis_and_say_so(tmp_path):
    file = tmp_path / "penstock.toml"
    file.write_text(f"{PROVIDERS}[[budgets]]\ndollars = 5\n")
    said = subprocess.run(
        [sys.executable, "-m", "penstock", "serve", "--workers", "2", "--config", str(file), "--data",
         str(tmp_path / "data")], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert said.returncode == 2
    assert "[governance] redis" in said.stderr
    assert said.stderr.count("\n") == 1


# Streams that outrun what was reserved for them


@pytest.fixture(scope="module")
def cutting(tmp_path_factory):
    """One gateway that cuts streams; its Claude says more than it was asked for."""

    def talks(_: Asked):
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5", "content": []}
        message["usage"] = {"input_tokens": 11, "output_tokens": 1}
        begin = {"type": "message_start", "message": message}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "on and on "}}
        yield b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        for one in (begin, block):
            yield f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode()
        for _ in range(3000):
            data = f"event: content_block_delta\ndata: {json.dumps(delta)}\n\n".encode()
            yield data[:40]  # a read may end within an event
            yield data[40:]
            yield 0.001

    provider = Scripted(talks)
    settings = (
        f'[governance]\ncut_streams = true\ndefault_output_tokens = 400\n[ledger]\nfsync = "always"\n{PROVIDERS}'
        f'[[providers]]\nname = "talker"\nbase_url = "{provider.url}"\nkind = "anthropic"\nmodels = []\n'
        '[[deployments]]\nname = "chatterbox"\nprovider = "talker"\nmodel = "claude-sonnet-5"\n'
    )
    one = Server(tmp_path_factory.mktemp("cutting"), settings)
    yield one
    one.stop()
    provider.close()


def status_of(server, team: str) -> dict:
    """What `penstock budgets status` says of a team once nothing is in flight: counter and ledger side by side."""
    words = [
        "budgets",
        "status",
        "--json",
        "--config",
        str(server.folder / "penstock.toml"),
        "--data",
        str(server.data),
    ]
    deadline = time.monotonic() + 60
    while True:
        said = subprocess.run(
            [sys.executable, "-m", "penstock", *words], capture_output=True, text=True, timeout=60, check=False
        )
        found = [one for one in json.loads(said.stdout)["budgets"] if one["scope"] == f"team={team}"]
        settled = found and found[0]["drift"] == "0" and found[0]["reserved"] == "0" and found[0]["spent"] != "0"
        if settled or time.monotonic() > deadline:
            return found[0]
        time.sleep(0.2)


def events_of(server, team: str) -> list[dict]:
    with Ledger.open(server.data, create=False) as ledger:
        events = ledger.table()
        return events.filter(events.team == team).to_pyarrow().to_pylist()


def allowed(server, team: str, dollars: Decimal) -> None:
    """Bring a budget for a team into force."""
    rules = (Budget(dollars=dollars, scope=f"team={team}"), Budget(dollars=Decimal(0), scope=f"team={team}-canary"))
    made(server, Rules(budgets=rules))
    # In these words: what was in force before may refuse a call too.
    wait_for(server, 402, "budget_exceeded", f"{team}-canary", "may spend $0 per month")


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_an_openai_stream_that_outruns_its_budget_ends_with_an_error_that_the_client_raises(cutting, endpoint):
    allowed(cutting, endpoint, OUTPUT * 1000)
    headers = {"x-penstock-team": endpoint, "x-sandbox": "tokens=6000;token_ms=3"}
    pieces: list = []
    with openai.OpenAI(base_url=f"{cutting.url}/v1", api_key="any", max_retries=0, default_headers=headers) as client:
        if endpoint == "chat":
            stream = client.chat.completions.create(model="gpt-4o-mini", messages=CHAT["messages"], stream=True)
        else:
            stream = client.responses.create(model="gpt-4o-mini", input="Hold?", stream=True)
        with pytest.raises(openai.APIError) as caught:
            pieces.extend(stream)
    assert caught.value.code == "budget_exceeded"
    assert len(pieces) > 100
    found = status_of(cutting, endpoint)
    assert (found["drift"], found["reserved"]) == ("0", "0")
    [event] = events_of(cutting, endpoint)
    assert (event["outcome"], event["error"], event["usage_source"]) == ("aborted", "budget_cut", "estimated")
    assert event["cost"] == Decimal(found["spent"])
    # It got more than what was reserved at first, for there was more; and ended near the budget's end.
    assert OUTPUT * 700 < event["cost"] < OUTPUT * 1500


def test_an_anthropic_stream_that_outruns_its_budget_ends_with_an_error_that_the_client_raises(cutting):
    allowed(cutting, "claude", Decimal("0.015"))
    headers = {"x-penstock-team": "claude"}
    pieces: list = []
    with anthropic.Anthropic(base_url=cutting.url, api_key="any", max_retries=0, default_headers=headers) as client:
        stream = client.messages.create(model="chatterbox", max_tokens=400, messages=CHAT["messages"], stream=True)
        with pytest.raises(anthropic.APIStatusError) as caught:
            pieces.extend(stream)
    assert caught.value.body["error"]["code"] == "budget_exceeded"
    assert caught.value.body["error"]["type"] == "billing_error"
    assert len(pieces) > 100
    found = status_of(cutting, "claude")
    [event] = events_of(cutting, "claude")
    assert (event["outcome"], event["error"], event["usage_source"]) == ("aborted", "budget_cut", "estimated")
    assert (event["cost"], found["drift"], found["reserved"]) == (Decimal(found["spent"]), "0", "0")
    assert Decimal("0.008") < event["cost"] < Decimal("0.03")


def test_a_stream_that_outruns_its_reservation_flows_on_where_the_budget_can_hold_more(cutting):
    allowed(cutting, "rich", Decimal(1))
    headers = {"x-penstock-team": "rich", "x-sandbox": "tokens=1500"}
    with openai.OpenAI(base_url=f"{cutting.url}/v1", api_key="any", max_retries=0, default_headers=headers) as client:
        pieces = list(client.chat.completions.create(model="gpt-4o-mini", messages=CHAT["messages"], stream=True))
    assert pieces[-1].choices[0].finish_reason == "stop"
    found = status_of(cutting, "rich")
    [event] = events_of(cutting, "rich")
    assert (event["outcome"], event["usage_source"]) == ("ok", "provider")
    assert (event["cost"], found["drift"], found["reserved"]) == (Decimal(found["spent"]), "0", "0")


def test_a_client_that_has_left_is_no_reason_to_spend_more_than_the_budget(cutting):
    allowed(cutting, "gone", OUTPUT * 1000)
    body = {"model": "gpt-4o-mini", "messages": CHAT["messages"], "stream": True}
    headers = {"x-penstock-team": "gone", "x-sandbox": "tokens=6000;token_ms=3"}
    assert asyncio.run(call(cutting.port, body, headers, leaves=True))[0] == -1
    found = status_of(cutting, "gone")
    [event] = events_of(cutting, "gone")
    assert (event["outcome"], event["error"]) == ("aborted", "budget_cut")
    assert (event["cost"], found["drift"], found["reserved"]) == (Decimal(found["spent"]), "0", "0")
    assert event["cost"] < OUTPUT * 1500


# Several workers without Redis


def test_a_budget_set_while_several_workers_run_without_redis_is_refused_in_a_sentence(tmp_path):
    server = Server(tmp_path, PROVIDERS, "--workers", "2")
    try:
        words = ["--config", str(server.folder / "penstock.toml"), "--data", str(server.data)]
        deadline = time.monotonic() + 60
        while published(server.data) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        said = subprocess.run(
            [sys.executable, "-m", "penstock", "budgets", "set", "5", *words], capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert said.returncode == 2
        assert "2 workers" in said.stderr
        assert said.stderr.count("\n") == 1
        assert server.post("/v1/chat/completions", CHAT)[0] == 200
        # One that comes into the state all the same lets nothing through, in any worker.
        made(server, Rules(budgets=(Budget(dollars=Decimal(5), scope="team=held"),), frozen=("team=cold",)))
        wait_for(server, 503, "budgets_unavailable", "held")
        wait_for(server, 403, "spending_frozen", "cold")
        assert server.post("/v1/chat/completions", CHAT)[0] == 200
        # And a reload that brings one is refused: what was in force stays.
        with (server.folder / "penstock.toml").open("a") as file:
            file.write("[[limits]]\nrequests_per_minute = 1\n")
        server.process.send_signal(signal.SIGHUP)
        while "[governance] redis" not in server.log.read_text().replace("\n", " "):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert server.post("/v1/chat/completions", CHAT)[0] == 200
        assert server.post("/v1/chat/completions", CHAT)[0] == 200
    finally:
        server.stop()
