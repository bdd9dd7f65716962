"""`GET /metrics`: the format, what is counted, and how much of it there may be."""

import re
import shutil
import subprocess
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tests.dashboard.conftest import NOW, event, unpriced

from penstock.ledger.columns import plain_amount
from penstock.ledger.exporters.exposition import Family, Sample, exposition, wants_open_metrics
from penstock.ledger.exporters.labels import MetricsSettings
from penstock.ledger.exporters.totals import FILE, Counted, Sums, Totals
from penstock.ledger.log import LogWriter
from penstock.ledger.store import Ledger
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

DOCS = (Path(__file__).parents[2] / "docs/metrics.md").read_text("utf-8")
OPEN = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}


def write(folder: Path, *events: UsageEvent) -> None:
    """Book events as a worker does."""
    writer = LogWriter(folder, "worker-1")
    for one in events:
        writer.append(one)
    writer.close()


def sums(found: Counted) -> dict[tuple[str, ...], Sums]:
    return dict(found.sums)


def total(found: Counted) -> Decimal:
    return sum((one.cost for _, one in found.sums), Decimal(0))


# What is counted


def test_each_event_counts_once_however_the_ledger_keeps_it(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        first = [event(1), event(2, outcome="error", error="timeout", status=0), unpriced(3)]
        write(tmp_path, *first)
        totals = Totals(ledger, MetricsSettings())
        assert totals.now().events == 3
        assert totals.now().events == 3
        ledger.compact()  # the log has become a part
        assert totals.now().events == 3
        write(tmp_path, event(4))
        ledger.compact()  # two parts have become one, with an event that is new
        found = totals.now()
        totals.close()
        other = Totals(ledger, MetricsSettings())  # after a restart
        assert other.now() == found
        assert found.events == 4
        (tmp_path / FILE).unlink()  # it is derived
        assert sums(other.now()) == sums(found)
        other.close()
    one = sums(found)["openai", "gpt-4o", "support", "helpdesk"]
    assert one.requests == {"ok": 2, "error": 1}
    assert one.errors == {"timeout": 1}
    assert one.tokens == {"input": 3_000, "cache_read": 600, "output": 900}
    assert one.reasoning == 150
    assert one.cost == sum((e.cost for e in (*first[:2], event(4)) if e.cost is not None), Decimal(0))
    assert sums(found)["openai", "mystery", "support", "helpdesk"].unpriced == 1


def test_imports_and_corrections_are_not_in_the_counters_for_these_only_grow(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        write(tmp_path, event(1))
        ledger.add([event(2, source="plain_csv")], source="plain_csv")
        correction = event(3, corrects=f"{1:032x}", usage=Usage(), requests=0, cost=Decimal("-0.001"), source="reprice")
        ledger.add([correction], source="reprice")
        totals = Totals(ledger, MetricsSettings())
        found = totals.now()
        totals.close()
    assert (found.events, total(found)) == (1, event(1).cost)


def test_labels_are_those_of_the_settings_and_other_ones_count_anew(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        write(tmp_path, event(1), event(2, team="sales"))
        for labels, expected in ((("team",), {("support",), ("sales",)}), ((), {()})):
            totals = Totals(ledger, MetricsSettings(labels=labels, latency_labels=labels))
            found = totals.now()
            totals.close()
            assert (set(sums(found)), found.events) == (expected, 2)
            assert sum(times.durations[-1] for _, times in found.times) == 2


def test_what_has_no_room_is_other_and_nothing_is_lost(tmp_path: Path) -> None:
    settings = MetricsSettings(labels=("model", "user"), most_values=3, most_series=5)
    users = [event(n, user=f"user-{n}") for n in range(1, 10)]
    with Ledger.open(tmp_path) as ledger:
        write(tmp_path, *users)
        totals = Totals(ledger, settings)
        found = totals.now()
        assert set(sums(found)) == {("gpt-4o", f"user-{n}") for n in (1, 2, 3)} | {("gpt-4o", "other")}
        write(tmp_path, *(event(n + 100, user=f"user-{n}") for n in range(1, 10)), *(
            event(n + 200, model=f"model-{n}", user="user-1") for n in range(9)))  # fmt: skip
        again = totals.now()
        totals.close()
    assert sums(again)["gpt-4o", "user-2"].requests == {"ok": 2}  # who has a series keeps it
    assert len(again.sums) <= settings.most_series + 1
    assert sums(again)["other", "other"].requests["ok"] >= 6
    assert sum(one.requests["ok"] for _, one in again.sums) == again.events == 27
    assert again.others == 6 + 6 + sum(
        one.requests["ok"] for place, one in again.sums if "other" in place and place != ("gpt-4o", "other")
    )  # fmt: skip


def test_a_file_that_is_damaged_is_counted_anew(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        write(tmp_path, event(1))
        totals = Totals(ledger, MetricsSettings())
        found = totals.now()
        (tmp_path / FILE).write_bytes(b"\x00" * 7)
        assert totals.now() == found
        totals.close()


# The format


def test_an_exposition_escapes_and_keeps_every_digit() -> None:
    family = Family(
        name="a_dollars_total", kind="counter", help='Says "so\\".\nTwice.', unit="dollars",
        samples=(
            Sample(Decimal("0.000000150000000000"), {"team": 'a"b\\c\nd', "app": ""}),
            Sample(Decimal(1_200), {}),
        ),
    )  # fmt: skip
    assert exposition([family], open_metrics=False).decode() == (
        '# HELP a_dollars_total Says "so\\\\".\\nTwice.\n# TYPE a_dollars_total counter\n'
        'a_dollars_total{team="a\\"b\\\\c\\nd"} 0.00000015\na_dollars_total 1200\n'
    )
    assert exposition([family], open_metrics=True).decode() == (
        '# HELP a_dollars Says \\"so\\\\\\".\\nTwice.\n# TYPE a_dollars counter\n# UNIT a_dollars dollars\n'
        'a_dollars_total{team="a\\"b\\\\c\\nd"} 0.00000015\na_dollars_total 1200\n# EOF\n'
    )


@pytest.mark.parametrize(("accept", "wanted"), [
    ("", False),
    ("*/*", False),
    ("text/plain", False),
    ("application/openmetrics-text", True),
    (OPEN["accept"] + ",application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1", True),
    ("application/openmetrics-text;version=0.0.1", False),
    ("text/plain;version=0.0.4, application/openmetrics-text; q=0.2", False),
    ("application/openmetrics-text;q=nonsense", False),
])  # fmt: skip
def test_open_metrics_is_for_those_who_would_rather_have_it(accept: str, wanted: bool) -> None:
    assert wants_open_metrics(accept) is wanted


# The page


def scraped(folder: Path, browse, *events: UsageEvent, **headers: str):
    write(folder, *events)
    return browse().get("/metrics", headers=headers)


def test_a_scrape_says_what_is_in_the_ledger(tmp_path: Path, browse) -> None:
    yesterday = event(2, ago=timedelta(days=1), team="")
    reply = scraped(tmp_path, browse, event(1), yesterday, unpriced(3))
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = reply.text.splitlines()
    labels = 'provider="openai",model="gpt-4o",team="support",app="helpdesk"'
    cost = plain_amount(event(1).cost)
    assert cost is not None
    assert f"penstock_cost_dollars_total{{{labels}}} {cost:f}" in lines
    assert f'penstock_requests_total{{{labels},outcome="ok"}} 1' in lines
    assert f'penstock_requests_total{{{labels},outcome="error"}} 0' in lines
    assert f'penstock_tokens_total{{{labels},kind="cache_read"}} 200' in lines
    assert 'penstock_requests_total{provider="openai",model="gpt-4o",app="helpdesk",outcome="ok"} 1' in lines
    assert f'penstock_spend_dollars{{period="today"}} {cost:f}' in lines
    assert f'penstock_spend_dollars{{period="month"}} {plain_amount(2 * cost):f}' in lines
    assert 'penstock_spend_unpriced_events{period="month"} 1' in lines
    assert 'penstock_request_duration_seconds_bucket{provider="openai",model="gpt-4o",le="0.64"} 0' in lines
    assert 'penstock_request_duration_seconds_bucket{provider="openai",model="gpt-4o",le="1.28"} 2' in lines
    assert 'penstock_request_duration_seconds_sum{provider="openai",model="gpt-4o"} 1.624' in lines
    assert 'penstock_ledger_events{place="logs"} 3' in lines
    assert f'penstock_price_book_read_timestamp_seconds{{book="test"}} {NOW.replace(hour=0).timestamp():.0f}' in lines


def test_a_scrape_can_be_open_metrics(tmp_path: Path, browse) -> None:
    reply = scraped(tmp_path, browse, event(1), **OPEN)
    assert reply.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "# TYPE penstock_cost_dollars counter\n# UNIT penstock_cost_dollars dollars\n" in reply.text
    assert reply.text.endswith("\n# EOF\n")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool here")
def test_promtool_finds_nothing_to_complain_of(tmp_path: Path, browse) -> None:
    reply = scraped(tmp_path, browse, event(1), event(2, team='"\\\n', stream=True, first_token_us=90_000), unpriced(3))
    said = subprocess.run(["promtool", "check", "metrics"], input=reply.content, capture_output=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")


def test_every_metric_is_documented(tmp_path: Path, browse) -> None:
    names = re.findall(r"^# TYPE (\S+)", scraped(tmp_path, browse, event(1)).text, re.MULTILINE)
    assert len(names) > 30
    for name in names:
        assert f"`{name}`" in DOCS, name
    for name in set(re.findall(r"`(penstock_[a-z_]+)`", DOCS)):
        assert name in names, name
