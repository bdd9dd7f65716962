"""The benchmark's own tools tell right from wrong; nothing here is about time."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.bills import Agreement
from benchmarks.candidates import Direct, Nginx, Penstock, chosen
from benchmarks.processes import Processes, cpu_seconds, peak_megabytes
from benchmarks.replies import FIRST_SEED, REPLIES, Reply, bill, request_body, write_replies
from benchmarks.results import summarise
from benchmarks.rounds import Run, Turn, measure
from benchmarks.wire.ends import Ends, Upstream, compiled, ends, http_request, run_load
from benchmarks.wire.load import Load
from benchmarks.workloads import BURST, JSON, LOW

LANGUAGES = [
    pytest.param(False, id="c", marks=pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")),
    pytest.param(True, id="python"),
]


def ask(how: Ends, upstream: Upstream, *, stream: bool, usage: bool = True, seconds: float = 0.1, rate: float = 0.0,
        prompt_bytes: int = 700, check: str = "bytes") -> dict[str, object]:  # fmt: skip
    body = request_body(stream=stream, usage=usage, prompt_bytes=prompt_bytes)
    request = http_request(upstream.port, "/v1/chat/completions", body, {})
    return run_load(
        how, upstream, port=upstream.port, request=request, stream=stream, usage=usage, connections=3,
        seconds=seconds, rate=rate, check=check,
    )  # fmt: skip


@pytest.mark.parametrize("python", LANGUAGES)
def test_every_reply_is_right_and_the_bill_counts_each_of_them(python: bool, tmp_path: Path) -> None:
    how = ends(python=python)
    with Upstream(how, tmp_path) as upstream:
        plain = ask(how, upstream, stream=False)
        shown = ask(how, upstream, stream=True)
        hidden = ask(how, upstream, stream=True, usage=False)
        upstream.pace(200, 20_000)
        paced = ask(how, upstream, stream=True)
        slow = ask(how, upstream, stream=False, rate=50)
        large = ask(how, upstream, stream=False, prompt_bytes=400_000, check="marker")
        billed = upstream.bill()
    runs = [plain, shown, hidden, paced, slow, large]
    assert [(run["errors"], run["wrong"], run["trouble"]) for run in runs] == [(0, 0, "")] * len(runs)
    assert all(run["done"] for run in runs)
    assert slow["latency_p50_us"] >= 10_000
    assert paced["latency_p50_us"] >= 10_000
    assert billed["requests"] == sum(run["done"] for run in runs)
    expected = sum(
        REPLIES[n % len(REPLIES)].usage["prompt_tokens"] for run in runs for n in range(int(str(run["done"])))
    )
    assert billed["prompt_tokens"] == expected


def altered(change: Callable[[bytes], bytes]) -> tuple[Reply, ...]:
    """Return the replies with each body and event changed."""
    others = tuple(Reply(reply.seed) for reply in REPLIES)
    for reply in others:
        reply.__dict__["plain"] = change(reply.plain)
        reply.__dict__["asked"] = [change(event) for event in reply.asked]
        reply.__dict__["unasked"] = [event and change(event) for event in reply.unasked]
    return others


WRONG = [
    pytest.param(altered(lambda body: body.replace(b"mill", b"bill")), id="a byte differs"),
    pytest.param((*REPLIES[1:], REPLIES[0]), id="it was meant for another"),
    pytest.param(altered(lambda body: body.replace(b"[DONE]\n\n", b"").removesuffix(b"}")), id="its end is missing"),
    pytest.param(
        altered(lambda body: body.replace(b'"id"', b'\n: within an event\n"id"')), id="a comment cuts an event"
    ),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("sent", WRONG)
def test_the_client_in_c_notices_a_reply_that_is_wrong(sent: tuple[Reply, ...], stream: bool, tmp_path: Path) -> None:
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    with Upstream(ends(), tmp_path, sent) as upstream:
        write_replies(upstream.replies)
        seen = ask(ends(), upstream, stream=stream)
    assert (seen["done"], bool(seen["wrong"])) == (0, True)


def test_the_client_in_c_bears_comments_between_events(tmp_path: Path) -> None:
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    commented = altered(lambda body: b": one\n\n:two\n" + body + (b": cost=1\n\n" if b"[DONE]" in body else b""))
    with Upstream(ends(), tmp_path, commented) as upstream:
        write_replies(upstream.replies)
        seen = ask(ends(), upstream, stream=True)
    assert (seen["wrong"], seen["errors"], bool(seen["done"])) == (0, 0, True)


def test_the_client_in_python_judges_alike(tmp_path: Path) -> None:
    request = tmp_path / "request"
    request.write_bytes(request_body(stream=True))
    keys = {"port": "1", "connections": "1", "seconds": "1", "rate": "0", "usage": "1", "check": "bytes"}
    stream = Load({**keys, "request": str(request), "stream": "1"})
    plain = Load({**keys, "request": str(request), "stream": "0"})
    right = REPLIES[0].body(stream=True, usage=True)
    assert stream.is_right(0, right)
    assert stream.is_right(0, b": one\n\n" + right.replace(b"data: [DONE]", b":two\ndata: [DONE]") + b": cost=1\n\n")
    assert not stream.is_right(1, right)
    assert not stream.is_right(0, right.replace(b"mill", b"bill"))
    assert not stream.is_right(0, right[:-5])
    assert plain.is_right(0, REPLIES[0].plain)
    assert not plain.is_right(0, REPLIES[0].plain + b" ")


def test_python_and_c_send_the_same_bytes(tmp_path: Path) -> None:
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    for upstream_in, client_in in ((True, False), (False, True)):
        with Upstream(ends(python=upstream_in), tmp_path) as upstream:
            for stream in (False, True):
                seen = ask(ends(python=client_in), upstream, stream=stream)
                assert (seen["errors"], seen["wrong"], bool(seen["done"])) == (0, 0, True)


def test_without_a_compiler_python_takes_over() -> None:
    assert compiled("upstream", "") is None
    assert ends(python=True).upstream[0] == sys.executable


def test_replies_differ_in_usage_and_sum_to_an_exact_bill() -> None:
    usages = {(reply.usage["prompt_tokens"], reply.usage["completion_tokens"]) for reply in REPLIES}
    assert len(usages) == len(REPLIES)
    assert format(bill(1_000_000, 400_000, 1_000_000), "f").rstrip("0") == "0.72"
    assert 1000 < len(REPLIES[0].plain) < 1200


def test_a_process_is_found_measured_and_ended_by_its_id(tmp_path: Path) -> None:
    spin = "import time\nwhile time.process_time() < 0.2: pass\nprint('port 1', flush=True)\ntime.sleep(60)"
    program = Processes([sys.executable, "-c", spin], tmp_path / "log", {}, lambda line: "spin" if "-c" in line else "")
    program.start()
    try:
        program.wait_for_line(r"port (\d)", seconds=20)
        (pid,) = program.pids()
        assert program.cpu()["spin"] > 0.1  # the system counts in ticks
        assert program.peak()["spin"] > 1
    finally:
        program.stop()
    assert cpu_seconds(pid) == 0
    assert peak_megabytes(pid) == 0


def test_a_run_measures_nginx_beside_no_gateway(tmp_path: Path) -> None:
    candidates = chosen([Direct(), Nginx(), Penstock("other", "", fsync="never")], frozenset({"direct"}))
    run = measure(
        ends(python=not shutil.which("cc")), candidates, [JSON, BURST], rounds=1, seconds=0.1, folder=tmp_path,
        say=lambda _: None,
    )  # fmt: skip
    assert not run.problems
    rows = {(row.candidate, row.workload): row for row in summarise(run, candidates, [JSON, BURST])}
    assert rows["direct", "json"].done
    if "nginx" in run.not_run:
        pytest.skip(run.not_run["nginx"])
    assert rows["nginx", "burst"].ratio == 1.0
    assert rows["nginx", "json"].faults == 0


def test_ratios_are_taken_within_a_round_and_latencies_against_no_gateway() -> None:
    def turn(candidate: str, number: int, cpu: float, p50: int) -> Turn:
        seen = {
            "done": 100, "seconds": 1.0, "errors": 0, "wrong": 0, "latency_p50_us": p50, "latency_p99_us": p50 * 2,
            "first_byte_p50_us": p50,
        }  # fmt: skip
        return Turn(candidate, "low", number, seen, {"worker": cpu, "control": 0.0}, 0, {"worker": 40.0 + number})

    run = Run(turns=[
        turn("direct", 0, 0.001, 100), turn("nginx", 0, 0.010, 150), turn("x", 0, 0.020, 400),
        turn("direct", 1, 0.001, 1000), turn("nginx", 1, 0.100, 1500), turn("x", 1, 0.300, 1200),
    ])  # fmt: skip

    class Named(Direct):
        def __init__(self, name: str) -> None:
            self.name = name

    row = summarise(run, [Named("x")], [LOW])[0]
    assert row.ratio == pytest.approx(2.5)
    assert row.cpu_us == pytest.approx(1600)
    assert row.added_p50_us == 250
    assert row.rss_mb == 41


def test_a_ledger_that_differs_by_the_last_digit_does_not_agree() -> None:
    billed = {"events": "1", "cost": "0.00000015"}
    assert Agreement(candidate="x", billed=billed, booked=dict(billed)).holds
    assert not Agreement(candidate="x", billed=billed, booked={"events": "1", "cost": "0.00000014"}).holds


def test_seeds_have_three_digits() -> None:
    assert all(len(str(reply.seed)) == 3 for reply in REPLIES)
    assert FIRST_SEED == 100
