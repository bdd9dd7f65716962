"""Dashboards and alert rules: what they name is there, and Prometheus understands what they ask."""

import contextlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.dashboard.conftest import event

from penstock.cli.main import main
from penstock.ledger.exporters.written import alert_rules, dashboards

HERE = Path(__file__).parent
DOCS = (HERE.parents[1] / "docs/metrics.md").read_text("utf-8")
RULES = alert_rules()["penstock.rules.yml"]
NAME = re.compile(r"\bpenstock_[a-z_]+")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool here")


def queries() -> list[str]:
    """Every query of every dashboard, with what Grafana would put in place of its variables."""
    found = [
        target["expr"]
        for text in dashboards().values()
        for panel in json.loads(text)["panels"]
        for target in panel["targets"]
    ]
    put = {"$__rate_interval": "1m", "$__range": "1h", "$model": ".*", "$team": ".*"}
    return [re.sub(r"\$\w+", lambda match: put[match[0]], query) for query in found]


@pytest.fixture
def there(browse) -> set[str]:
    """Names of samples that /metrics tells."""
    found = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)", browse([event(1)]).get("/metrics").text, re.MULTILINE):
        found |= {name} if kind != "histogram" else {name + suffix for suffix in ("_bucket", "_sum", "_count")}
    return found


def test_every_metric_that_a_dashboard_or_a_rule_names_is_told(there: set[str]) -> None:
    expressions = "\n".join(re.findall(r"expr: (?:>-\n)?((?:.*\n)+?)\s+(?:for|labels):", RULES))
    named = set(NAME.findall("\n".join([*queries(), expressions])))
    assert len(named) > 25
    assert named <= there


def test_dashboards_are_laid_out_and_have_names_of_their_own() -> None:
    documents = [json.loads(text) for text in dashboards().values()]
    assert len({one["uid"] for one in documents}) == len(documents) == 7
    for one in documents:
        assert f"`{one['uid']}`" in DOCS
        places = set()
        for panel in one["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not places & cells, panel["title"]
            places |= cells
            assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
        choices = {choice["name"] for choice in one["templating"]["list"]}
        assert set(re.findall(r"\$(model|team)\b", json.dumps(one["panels"]))) <= choices


@needs_promtool
def test_prometheus_understands_every_query_of_the_dashboards(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries())]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
    said = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"{len(rules)} rules found" in said.stdout


@needs_promtool
def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    with contextlib.suppress(SystemExit):
        main(["export", "alerts", str(tmp_path)])
    shutil.copy(HERE / "penstock.rules.test.yml", tmp_path)
    for words in (("check", "rules", "penstock.rules.yml"), ("test", "rules", "penstock.rules.test.yml")):
        said = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert said.returncode == 0, said.stdout + said.stderr


def test_every_alert_is_tested_and_documented() -> None:
    names = re.findall(r"- alert: (\w+)", RULES)
    tested = (HERE / "penstock.rules.test.yml").read_text("utf-8")
    assert len(set(names)) == len(names) == 19
    for name in names:
        assert re.search(rf"alertname: {name}\n\s+exp_alerts:\n", tested), name
        assert f"`{name}`" in DOCS, name
