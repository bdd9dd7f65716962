"""The page says what was measured, and there is none when a reply was wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from benchmarks.bills import Agreement
from benchmarks.candidates import GOVERNANCE, POLICIES, Candidate, Direct, Penstock
from benchmarks.environments import PINS, fingerprint
from benchmarks.errors import BenchmarkError
from benchmarks.others import ask_others
from benchmarks.page import picture, render
from benchmarks.plot import Bar, bars, decades
from benchmarks.results import OURS, summarise
from benchmarks.rounds import Run, Turn, measure
from benchmarks.targets import verdicts
from benchmarks.wire.ends import ends
from benchmarks.workloads import BURST, JSON, LOW

import penstock.policies
from benchmarks import __main__ as command

MACHINE = {"date": "2026-11-26 12:00 UTC", "processor": "test", "load average before": "0.1"}
SETTINGS = {"command": "python -m benchmarks", "rounds": 2, "seconds": 1.5, "language": "C"}


class Named(Direct):
    def __init__(self, name: str, *, peer: bool = False) -> None:
        self.name, self.title, self.peer, self.version = name, f"it is {name}", peer, "1.2.3"


def turn(candidate: str, workload: str, number: int, us: float, *, wrong: int = 0, done: int = 1000) -> Turn:
    seen = {
        "done": done, "seconds": 1.0, "errors": 0, "wrong": wrong, "trouble": "", "latency_p50_us": 100,
        "latency_p99_us": 200, "first_byte_p50_us": 50,
    }  # fmt: skip
    chunks = done * 100 if workload == "burst" else 0
    used = us * (chunks or done) / 1e6
    return Turn(candidate, workload, number, seen, {"worker": used}, chunks, {"worker": 70.0})


CANDIDATES: list[Candidate] = [
    Named(name) for name in ("direct", "nginx", OURS, "litellm", "litellm-granian", "tensorzero")
]
COSTS = {"direct": 4.0, "nginx": 12.0, OURS: 24.0, "litellm": 12_000.0, "litellm-granian": 9_600.0, "tensorzero": 240.0}


def made(**other: float) -> Run:
    costs = {**COSTS, **{name.replace("_", "-"): us for name, us in other.items()}}
    slow = {0: 1.0, 1: 10.0}  # the second round falls into a slow minute: costs grow, ratios stay
    turns = [
        turn(name, workload, number, us * slow[number] / (10 if workload == "burst" else 1))
        for name, us in costs.items() for number in slow for workload in ("json", "burst")
    ]  # fmt: skip
    return Run(turns=turns, rounds=2)


def test_a_promise_is_kept_or_not_and_said_so_where_it_was_not_measured() -> None:
    rows = summarise(made(), CANDIDATES, [JSON, BURST])
    found = {verdict.promise: (verdict.measured, verdict.met) for verdict in verdicts(rows)}
    assert found["CPU of a request at saturation: at most 30 us"] == ("132 us", False)
    assert found["CPU of a request: at most 2 x nginx"] == ("2.00 x", True)
    assert found["CPU of a request: LiteLLM takes at least 300 times as much (its better server)"] == (
        "400 times", True,
    )  # fmt: skip
    assert found["CPU of a request: less than TensorZero's"] == ("10.0 times ours", True)
    assert found["peak memory of a worker: under 80 MB"] == ("70.0 MB", True)
    ours = [row for row in rows if row.candidate == OURS]
    alone = {verdict.met for verdict in verdicts(ours) if "LiteLLM" in verdict.promise or "Tensor" in verdict.promise}
    assert alone == {None}


def test_no_ratio_is_claimed_from_a_peer_that_answers_wrongly() -> None:
    run = made()
    for one in run.turns:
        if one.candidate.startswith("litellm"):
            one.seen["wrong"] = 1
    rows = summarise(run, CANDIDATES, [JSON, BURST])
    (litellm,) = (verdict for verdict in verdicts(rows) if "LiteLLM" in verdict.promise)
    assert (litellm.measured, litellm.met) == ("not measured", None)
    drawn = picture(rows, CANDIDATES)
    assert drawn
    assert "litellm" not in drawn


def test_the_headline_comes_first_with_ratios_of_one_round_and_the_spread() -> None:
    rows = summarise(made(), CANDIDATES, [JSON, BURST])
    page = render(
        SETTINGS, MACHINE, made(), rows, candidates=CANDIDATES, workloads=[JSON, BURST], image="results/cpu.svg",
        others=[("The ledger", "fast")],
    )  # fmt: skip
    headline, _, rest = page.partition("## Promises")
    line = next(line for line in headline.splitlines() if line.startswith("| litellm-granian 1.2.3"))
    assert "52,800 (9,600 to 96,000)" in line
    assert "400" in line
    assert "](results/cpu.svg)" in headline
    assert "| direct" not in headline
    assert "**NOT met**" in rest
    assert rest.index("## Who took part") < rest.index("## json") < rest.index("## The ledger")
    assert rest.rstrip().endswith("more than once.")


def test_bars_are_drawn_on_a_logarithmic_scale() -> None:
    assert decades([12.0, 9_600.0]) == (1, 4)
    assert decades([10.0, 10.0]) == (1, 2)
    drawn = ET.fromstring(
        bars([("CPU & all", [Bar("a<b", 10.0, 9.0, 11.0), Bar("c", 1_000.0, 1_000.0, 1_000.0, True)])])
    )
    widths = [float(bar.attrib["width"]) for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert widths[1] / widths[0] == pytest.approx(3.0, rel=1e-3)  # 1 to 10, 1 to 1000


def run_command(monkeypatch: pytest.MonkeyPatch, run: Run, folder: Path) -> int:
    monkeypatch.setattr(command, "measure", lambda *_, **__: run)
    monkeypatch.setattr(command, "usual", lambda: CANDIDATES)
    return command.bench(write=folder)


def test_what_was_measured_lies_beside_the_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, made(), tmp_path) == 0
    assert (tmp_path / "RESULTS.md").read_text() == capsys.readouterr().out.removesuffix("\n")
    raw = json.loads((tmp_path / "results" / "gateway.json").read_text())
    assert len(raw["turns"]) == len(made().turns)
    assert (tmp_path / "results" / "cpu.svg").read_text().startswith("<svg")


@pytest.mark.usefixtures("capsys")
def test_there_is_no_page_where_a_ledger_or_a_reply_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = made()
    billed = {"events": "2", "cost": "0.1"}
    run.agreements.append(Agreement(candidate=OURS, billed=billed, booked={**billed, "cost": "0.2"}))
    run.problems.append("penstock: the ledger says something else")
    assert run_command(monkeypatch, run, tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


class Leaves(Direct):
    """A candidate whose load client gives up."""

    def __init__(self, *, peer: bool) -> None:
        self.name, self.title, self.peer = "leaves", "", peer

    def headers(self) -> dict[str, str]:
        raise BenchmarkError("The load client did not come to an end.")


@pytest.mark.parametrize("peer", [True, False])
def test_a_peer_that_hangs_leaves_the_run_but_one_of_ours_spoils_it(peer: bool, tmp_path: Path) -> None:
    candidates: list[Candidate] = [Direct(), Leaves(peer=peer)]
    run = measure(ends(), candidates, [JSON], rounds=2, seconds=0.1, folder=tmp_path, say=lambda _: None)
    assert "did not come to an end" in run.not_run["leaves"]
    assert bool(run.problems) is not peer
    assert [one.round for one in run.turns] == [0, 1]


def test_no_round_is_begun_that_would_last_too_long(tmp_path: Path) -> None:
    said: list[str] = []
    run = measure(ends(), [Direct()], [JSON, LOW], rounds=5, seconds=0.1, folder=tmp_path, say=said.append, minutes=0.0)
    assert run.rounds == 1
    assert "the time is up after 1 rounds" in said


def test_a_slow_candidate_takes_part_in_some_rounds_only(tmp_path: Path) -> None:
    slow = Direct()
    slow.slow = True
    run = measure(
        ends(), [slow], [JSON], rounds=JSON.slow_rounds + 1, seconds=0.05, folder=tmp_path, say=lambda _: None
    )
    assert [one.round for one in run.turns] == list(range(JSON.slow_rounds))


def test_the_measured_gateway_has_every_policy_on(tmp_path: Path) -> None:
    rooms = {file.stem for path in penstock.policies.__path__ for file in Path(path).glob("[!_]*")}
    forms = {"call", "deployments", "pipeline", "keys", "key_store", "alerts", "alert_channels", "alert_delivery"}
    forms |= {"routing", "tiers", "holdout", "proof"}  # measured by `benchmarks.routing` and `benchmarks.certificates`
    assert rooms - forms == POLICIES.keys() | GOVERNANCE.keys(), "a policy is switched on in no measured gateway"


def test_pins_name_versions_and_hashes_and_no_registry() -> None:
    for name in ("peers.txt", "profile.txt"):
        text = (PINS / name).read_text()
        lines = [line for line in text.splitlines() if line and line[0] not in " #"]
        assert all("==" in line for line in lines)
        assert text.count("--hash=sha256:") >= len(lines)
        assert "://" not in text
    lock = json.loads((PINS / "portkey" / "package-lock.json").read_text())
    packages = [row for place, row in lock["packages"].items() if place]
    assert all("integrity" in row and "resolved" not in row for row in packages)
    assert fingerprint(PINS / "peers.txt") != fingerprint(PINS / "profile.txt")


def test_another_benchmark_that_fails_is_told_and_spoils_nothing() -> None:
    said: Callable[[str], None] = [].append
    (found,) = ask_others(said, (("A ledger", ("benchmarks.nothing_there",)),))
    assert found[0] == "A ledger"
    assert "not measured" in found[1]


def test_the_gateway_under_test_is_ours() -> None:
    from benchmarks.candidates import usual

    assert [row.name for row in usual() if isinstance(row, Penstock)] == [
        "penstock-relay",
        OURS,
        "penstock-governed",
        "penstock-always",
    ]
