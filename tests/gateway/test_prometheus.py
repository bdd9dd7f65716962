"""A real Prometheus scrapes a real gateway of two workers: what PromQL says is what the ledger says."""

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from decimal import Decimal

import pytest
from tests.dashboard.test_exported_files import queries
from tests.gateway.conftest import SANDBOX, free_port

from penstock.cli.main import main
from penstock.ledger.exporters.written import alert_rules, put

CALLS = 24
METRIC = re.compile(r"\bpenstock_[a-z_]+(?:\{[^}]*\})?")


class Prometheus:
    """A server of our own, that scrapes one target every second."""

    def __init__(self, folder, target: int, key: str) -> None:
        (folder / "key").write_text(key)
        put(folder, alert_rules())
        (folder / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [penstock.rules.yml]
scrape_configs:
  - job_name: penstock
    authorization: {{credentials_file: {folder}/key}}
    static_configs: [{{targets: ["127.0.0.1:{target}"]}}]
""")
        self.port = free_port()
        self.log = folder / "prometheus.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
                 f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log,
            )  # fmt: skip

    def ask(self, path: str, **fields: str):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(fields)}"
        with urllib.request.urlopen(url, timeout=10) as reply:
            return json.load(reply)["data"]

    def value(self, query: str) -> dict[str, float]:
        """Return the value of each series, by its only label; where a scrape came too late, that of the one before."""
        query = METRIC.sub(r"last_over_time(\g<0>[5m])", query) if "[" not in query else query
        found = self.ask("query", query=query)["result"]
        return {next(iter(row["metric"].values()), ""): float(row["value"][1]) for row in found}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def prometheus(tmp_path):
    started = []

    def start_one(target: int, key: str = "") -> Prometheus:
        folder = tmp_path / "prometheus"
        folder.mkdir()
        started.append(Prometheus(folder, target, key))
        return started[-1]

    yield start_one
    for one in started:
        one.stop()


def until(holds, seconds: float = 30.0) -> None:
    """Wait for what another process does; say at last what was seen."""
    end = time.monotonic() + seconds
    seen = None
    while time.monotonic() < end:
        try:
            seen = holds()
        except OSError as error:
            seen = error
        if seen is True:
            return
        time.sleep(0.1)
    raise AssertionError(seen)


def penstock(capsys, *words: object) -> dict:
    with contextlib.suppress(SystemExit):
        main([*map(str, words), "--json"])
    return json.loads(capsys.readouterr().out)


def calls(server) -> None:
    """Send calls of two teams to three models, some of which fail."""
    for number in range(CALLS):
        model = ("gpt-4o", "gpt-4o-mini", "no-such-model")[number % 3]
        body = {"model": model, "messages": [{"role": "user", "content": f"Question {number}"}]}
        body["stream"] = number % 2 == 0
        server.post("/v1/chat/completions", body, {"x-penstock-team": f"team-{number % 4}"})


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="there is no prometheus here")
def test_promql_says_what_the_report_says_over_workers_and_restarts(start, prometheus, capsys, tmp_path):
    data = tmp_path / "data"
    key = penstock(capsys, "keys", "create", "scraper", "--role", "viewer", "--data", data)["secret"]
    server = start(SANDBOX, "--workers", "2", data=data)
    assert server.post("/v1/chat/completions", b"no JSON")[0] == 400  # refused, so nothing is booked
    eyes = prometheus(server.port, key)
    until(lambda: eyes.value("up") == {"up": 1.0})
    calls(server)

    def counted(calls: int):
        found = eyes.value("sum(penstock_requests_total)")
        return found == {"": float(calls)} or found

    until(lambda: counted(CALLS))
    _compare(eyes, data, capsys)
    assert eyes.value("sum by (outcome) (penstock_requests_total)") == {
        "ok": CALLS * 2 / 3, "error": CALLS / 3, "aborted": 0.0,
    }  # fmt: skip
    assert eyes.value("count(penstock_worker_up)") == {"": 2.0}
    _everything_can_be_asked(eyes)
    assert sum(eyes.value("sum by (code) (penstock_refusals_total)").values()) >= 1

    server.stop()
    penstock(capsys, "ledger", "compact", "--data", data)  # its logs are parts now, and the counters go on
    calls(start(SANDBOX, data=data, port=server.port))
    until(lambda: counted(2 * CALLS))
    _compare(eyes, data, capsys)
    assert eyes.value("sum(resets(penstock_requests_total[1h]))") == {"": 0.0}
    assert eyes.value("sum(resets(penstock_cost_dollars_total[1h]))") == {"": 0.0}


def _everything_can_be_asked(eyes: Prometheus) -> None:
    """Put the queries of dashboards and rules to it; some of them have no answer yet, but none is wrong."""

    def most_have_an_answer():
        # Where the last scrape came too late, a query has no answer for a moment.
        answered = [bool(eyes.ask("query", query=query)["result"]) for query in queries()]
        return sum(answered) > len(answered) / 2 or answered

    until(most_have_an_answer)
    rules = [rule for group in eyes.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == 19
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []


def _compare(eyes: Prometheus, data, capsys) -> None:
    by_model = penstock(capsys, "report", "--by", "model", "--data", data)
    cost = eyes.value("sum by (model) (penstock_cost_dollars_total)")
    assert cost == pytest.approx({row["model"]: float(row["cost"]) for row in by_model["rows"]}, rel=1e-12)
    by_team = penstock(capsys, "report", "--by", "team", "--data", data)
    teams = {row["team"]: row for row in by_team["rows"]}
    cost = eyes.value("sum by (team) (penstock_cost_dollars_total)")
    assert cost == pytest.approx({team: float(row["cost"]) for team, row in teams.items()}, rel=1e-12)
    requests = eyes.value("sum by (team) (penstock_requests_total)")
    assert requests == {team: row["requests"] for team, row in teams.items()}
    output = eyes.value('sum by (team) (penstock_tokens_total{kind=~"output.*"})')
    assert output == {team: row["output_tokens"] for team, row in teams.items() if row["output_tokens"]}
    spent = eyes.value('sum by (period) (penstock_spend_dollars{period="month"})')
    assert Decimal(str(spent["month"])) == pytest.approx(Decimal(by_team["total"]))
    # Each worker hands its clocks over once a second or so, the ledger is read at each scrape.
    ok = eyes.value('sum(penstock_requests_total{outcome="ok"})')
    until(lambda: (clocked := eyes.value("sum(penstock_request_duration_seconds_count)")) == ok or clocked)
