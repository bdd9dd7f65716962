"""Dashboards for Grafana over the metrics of `/metrics`: one for each of the guide's views, and for who runs it."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

Form = Literal["stat", "timeseries", "bargauge", "table"]
SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH = 24
"""Columns of Grafana's grid."""
CHOSEN = '{model=~"$model", team=~"$team"}'
"""What the choices at the top of a dashboard keep; an absent label is kept by "All"."""
BY_MODEL = '{model=~"$model"}'
DOLLARS = "currencyUSD"


class Panel(Struct, frozen=True, kw_only=True):
    """One picture: queries, each with what its lines are called."""

    title: str
    queries: tuple[tuple[str, str], ...]
    form: Form = "timeseries"
    unit: str = "short"
    width: int = 12
    height: int = 8
    text: str = ""
    stacked: bool = False
    steps: tuple[tuple[str, float | None], ...] = ()
    """Colours and from which value on they hold."""


class Dashboard(Struct, frozen=True, kw_only=True):
    """One page."""

    name: str
    title: str
    text: str
    panels: tuple[Panel, ...]
    choices: tuple[str, ...] = ("model", "team")
    """Labels that can be chosen at the top."""


def _stat(title: str, query: str, unit: str, text: str = "", **more: Any) -> Panel:
    return Panel(title=title, queries=((query, ""),), form="stat", unit=unit, width=6, height=4, text=text, **more)


def _spent(by: str, chosen: str = CHOSEN) -> str:
    """Dollars in the span that is looked at."""
    return f"sort_desc(sum by ({by}) (increase(penstock_cost_dollars_total{chosen}[$__range])))"


def _per_day(by: str, chosen: str = CHOSEN) -> str:
    return f"sum by ({by}) (rate(penstock_cost_dollars_total{chosen}[$__rate_interval])) * 86400"


def _quantile(q: str, metric: str) -> str:
    return f"histogram_quantile({q}, sum by (le, model) (rate({metric}_bucket{BY_MODEL}[$__rate_interval])))"


def _tokens(kind: str) -> str:
    return f'penstock_tokens_total{{model=~"$model", team=~"$team", kind{kind}}}'


GOOD_TO_BAD = (("green", None), ("orange", 0.8), ("red", 1.0))
ANY_IS_BAD = (("green", None), ("red", 1.0))
NONE_IS_BAD = (("red", None), ("green", 1.0))
INPUT, CACHED, OUTPUT = _tokens('!~"output.*"'), _tokens('=~"cache_read.*"'), _tokens('=~"output.*"')

DASHBOARDS = (
    Dashboard(
        name="penstock-summary", title="Penstock: AI spend", choices=(),
        text="For leadership: what is spent, where it goes, and whether it stays within budget.",
        panels=(
            _stat("Spent this month", 'penstock_spend_dollars{period="month"}', DOLLARS,
                  "As penstock report says it, corrections included; UTC."),
            _stat("Spent today", 'penstock_spend_dollars{period="today"}', DOLLARS),
            _stat("Month's end at the pace of the last 7 days",
                  'penstock_spend_dollars{period="month"} + sum(rate(penstock_cost_dollars_total[7d])) '
                  "* 86400 * (days_in_month() - day_of_month() + 1 - (hour() / 24))", DOLLARS,
                  "For an interval and a backtest see: penstock forecast"),
            _stat("Events without a price this month", 'penstock_spend_unpriced_events{period="month"}', "short",
                  "Their cost is unknown and in no total.", steps=ANY_IS_BAD),
            Panel(title="Dollars per day, by team", queries=((_per_day("team", ""), "{{team}}"),), unit=DOLLARS,
                  stacked=True, width=16),
            Panel(title="Budgets: spent part", form="bargauge", unit="percentunit", width=8, steps=GOOD_TO_BAD,
                  queries=(("penstock_budget_spent_dollars / (penstock_budget_limit_dollars > 0)",
                            "{{scope}} per {{per}}"),)),
            Panel(title="Dollars by model", form="bargauge", unit=DOLLARS,
                  queries=((f"topk(10, {_spent('model', '')})", "{{model}}"),)),
            Panel(title="Dollars by app", form="bargauge", unit=DOLLARS,
                  queries=((f"topk(10, {_spent('app', '')})", "{{app}}"),)),
        ),
    ),
    Dashboard(
        name="penstock-models", title="Penstock: models",
        text="For the platform team: cost, traffic and failures by model and provider.",
        panels=(
            Panel(title="Dollars per day, by model", queries=((_per_day("model"), "{{model}}"),), unit=DOLLARS,
                  stacked=True),
            Panel(title="Dollars per day, by provider", queries=((_per_day("provider"), "{{provider}}"),),
                  unit=DOLLARS, stacked=True),
            Panel(title="Dollars of the span, by provider and model", form="table", unit=DOLLARS,
                  queries=((_spent("provider, model"), ""),)),
            Panel(title="Dollars for 1,000 requests", unit=DOLLARS, queries=((
                (f"1000 * sum by (model) (rate(penstock_cost_dollars_total{CHOSEN}[$__rate_interval])) / "
                f'sum by (model) (rate(penstock_requests_total{{model=~"$model", team=~"$team", outcome="ok"}}'
                "[$__rate_interval]))"), "{{model}}"),)),
            Panel(title="Requests per second, by model", unit="reqps", queries=((
                f"sum by (model) (rate(penstock_requests_total{CHOSEN}[$__rate_interval]))", "{{model}}"),)),
            Panel(title="Events without a price", queries=((
                f"sum by (model) (increase(penstock_unpriced_events_total{CHOSEN}[$__rate_interval]))", "{{model}}"),)),
        ),
    ),
    Dashboard(
        name="penstock-chargeback", title="Penstock: who pays",
        text="For business units: cost by team and app. Shared costs are split by: penstock report chargeback",
        panels=(
            Panel(title="Dollars of the span, by team", form="table", unit=DOLLARS, queries=((_spent("team"), ""),)),
            Panel(title="Dollars of the span, by team and app", form="table", unit=DOLLARS,
                  queries=((_spent("team, app"), ""),)),
            Panel(title="Dollars per day, by team", queries=((_per_day("team"), "{{team}}"),), unit=DOLLARS,
                  stacked=True),
            Panel(title="Dollars per day, by app", queries=((_per_day("app"), "{{app}}"),), unit=DOLLARS,
                  stacked=True),
            _stat("Without a team", 'sum(increase(penstock_cost_dollars_total{team=""}[$__range])) '
                  "/ sum(increase(penstock_cost_dollars_total[$__range]))", "percentunit",
                  "Part of the dollars that nobody is charged for."),
            Panel(title="Requests of the span, by team", form="bargauge", width=18, height=8, queries=((
                f"sort_desc(sum by (team) (increase(penstock_requests_total{CHOSEN}[$__range])))", "{{team}}"),)),
        ),
    ),
    Dashboard(
        name="penstock-tokens", title="Penstock: tokens",
        text="For AI engineers: what is sent and received, and how much of it is cached.",
        panels=(
            Panel(title="Tokens per second, by kind", stacked=True, queries=((
                f"sum by (kind) (rate(penstock_tokens_total{CHOSEN}[$__rate_interval]))", "{{kind}}"),)),
            Panel(title="Tokens per answered request", queries=(
                ((f"sum(rate({INPUT}[$__rate_interval])) / sum(rate(penstock_requests_total"
                 '{model=~"$model", team=~"$team", outcome="ok"}[$__rate_interval]))'), "input"),
                ((f"sum(rate({OUTPUT}[$__rate_interval])) / sum(rate(penstock_requests_total"
                 '{model=~"$model", team=~"$team", outcome="ok"}[$__rate_interval]))'), "output"))),
            Panel(title="Cached part of the input, by model", unit="percentunit", queries=((
                (f"sum by (model) (rate({CACHED}[$__rate_interval])) / sum by (model) "
                f"(rate({INPUT}[$__rate_interval]))"), "{{model}}"),)),
            Panel(title="Reasoning part of the output, by model", unit="percentunit", queries=((
                (f"sum by (model) (rate(penstock_reasoning_tokens_total{CHOSEN}[$__rate_interval])) / sum by (model) "
                f"(rate({OUTPUT}[$__rate_interval]))"), "{{model}}"),)),
            Panel(title="Searches, pages, characters, seconds", queries=((
                f"sum by (unit) (rate(penstock_units_total{CHOSEN}[$__rate_interval]))", "{{unit}}"),)),
            Panel(title="Dollars for 1,000,000 tokens, by model", unit=DOLLARS, queries=((
                (f"1e6 * sum by (model) (rate(penstock_cost_dollars_total{CHOSEN}[$__rate_interval])) / "
                f"sum by (model) (rate(penstock_tokens_total{CHOSEN}[$__rate_interval]))"), "{{model}}"),)),
        ),
    ),
    Dashboard(
        name="penstock-latency", title="Penstock: latency and failures", choices=("model",),
        text="How long answers take, and how many fail.",
        panels=(
            *(Panel(title=f"{name}, {q} quantile", unit="s", queries=((_quantile(q, metric), "{{model}}"),))
              for name, metric in (("Duration", "penstock_request_duration_seconds"),
                                   ("Time to first token", "penstock_time_to_first_token_seconds"))
              for q in ("0.5", "0.95")),
            Panel(title="Failed part, by provider", unit="percentunit", queries=((
                ('sum by (provider) (rate(penstock_requests_total{outcome="error"}[$__rate_interval])) / '
                "sum by (provider) (rate(penstock_requests_total[$__rate_interval]))"), "{{provider}}"),)),
            Panel(title="Errors per second, by code", queries=((
                f"sum by (error) (rate(penstock_errors_total{BY_MODEL}[$__rate_interval]))", "{{error}}"),)),
            Panel(title="Streams that clients left, per second", queries=((
                'sum by (model) (rate(penstock_requests_total{model=~"$model", outcome="aborted"}[$__rate_interval]))',
                "{{model}}"),)),
            Panel(title="Refusals per second, by code", queries=((
                "sum by (code) (rate(penstock_refusals_total[$__rate_interval]))", "{{code}}"),)),
        ),
    ),
    Dashboard(
        name="penstock-budgets", title="Penstock: budgets", choices=(),
        text="How far every budget is, and where it goes.",
        panels=(
            _stat("Counters can be asked", "penstock_budgets_up", "short", steps=NONE_IS_BAD),
            _stat("Budgets used up", "count(penstock_budget_spent_dollars >= (penstock_budget_limit_dollars > 0)) "
                  "or vector(0)", "short", steps=ANY_IS_BAD),
            _stat("Budgets that will not last", "count(penstock_budget_forecast_dollars > "
                  "(penstock_budget_limit_dollars > 0)) or vector(0)", "short", steps=ANY_IS_BAD),
            _stat("Reserved for calls under way", "sum(penstock_budget_reserved_dollars)", DOLLARS),
            Panel(title="Spent part", form="bargauge", unit="percentunit", steps=GOOD_TO_BAD, queries=((
                "sort_desc(penstock_budget_spent_dollars / (penstock_budget_limit_dollars > 0))",
                "{{scope}} per {{per}}"),)),
            Panel(title="Forecast part at the period's end", form="bargauge", unit="percentunit", steps=GOOD_TO_BAD,
                  queries=(("sort_desc(penstock_budget_forecast_dollars / (penstock_budget_limit_dollars > 0))",
                            "{{scope}} per {{per}}"),)),
            Panel(title="Dollars", unit=DOLLARS, width=24, queries=(
                ("penstock_budget_spent_dollars", "{{scope}} per {{per}}: spent"),
                ("penstock_budget_limit_dollars", "{{scope}} per {{per}}: limit"))),
            _stat("Budgets left out here", "penstock_budgets_left_out", "short", steps=ANY_IS_BAD),
        ),
    ),
    Dashboard(
        name="penstock-health", title="Penstock: health", choices=(),
        text="For who runs it: workers, the ledger, the disk, prices.",
        panels=(
            _stat("Workers that are well", "sum(penstock_worker_up)", "short", steps=NONE_IS_BAD),
            _stat("Workers that can write the ledger", "sum(penstock_worker_ledger_writable)", "short",
                  steps=NONE_IS_BAD),
            _stat("Damaged files", "penstock_ledger_damaged_files", "short", steps=ANY_IS_BAD),
            _stat("Since the newest event", "time() - penstock_ledger_newest_event_timestamp_seconds", "s"),
            Panel(title="Calls under way", queries=(("penstock_worker_calls", "{{worker}}"),)),
            Panel(title="Connections", queries=(("penstock_worker_connections", "{{worker}}"),)),
            Panel(title="Events that wait for the disk", queries=(("penstock_worker_events_waiting", "{{worker}}"),)),
            Panel(title="How long the oldest has waited", unit="s",
                  queries=(("penstock_worker_events_waiting_seconds", "{{worker}}"),)),
            Panel(title="Events in the ledger", stacked=True, queries=(("penstock_ledger_events", "{{place}}"),)),
            Panel(title="Bytes", unit="bytes", queries=(
                ("penstock_ledger_free_bytes", "free on the disk"), ("penstock_ledger_parts_bytes", "Parquet"))),
            Panel(title="Files", queries=(
                ("penstock_ledger_parts", "parts"), ("penstock_ledger_logs", "{{state}} logs"))),
            Panel(title="Since price books were read", form="bargauge", unit="s",
                  queries=(("time() - penstock_price_book_read_timestamp_seconds", "{{book}}"),)),
            Panel(title="Alerts by state", queries=(("penstock_alert_deliveries", "{{state}}"),)),
            Panel(title="Room for series", unit="percentunit", queries=((
                "penstock_metrics_label_sets / ignoring (of) group_left () penstock_metrics_label_sets_limit",
                "{{of}}"),)),
        ),
    ),
)  # fmt: skip


def document(dashboard: Dashboard) -> str:
    """Write a dashboard as Grafana imports it (schema 39: Grafana 10.4 and newer)."""
    return json.dumps({
        "uid": dashboard.name, "title": dashboard.title, "description": dashboard.text, "tags": ["penstock"],
        "schemaVersion": 39, "editable": True, "graphTooltip": 1, "refresh": "1m", "timezone": "utc",
        "time": {"from": "now-24h", "to": "now"}, "annotations": {"list": []}, "links": [],
        "templating": {"list": [_source(), *map(_choice, dashboard.choices)]},
        "panels": _placed(dashboard.panels),
    }, indent=1) + "\n"  # fmt: skip


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}}


def _choice(label: str) -> dict[str, Any]:
    query = f"label_values(penstock_requests_total, {label})"
    return {
        "name": label, "label": label.capitalize(), "type": "query", "datasource": SOURCE, "definition": query,
        "query": {"query": query, "refId": "choice"}, "refresh": 2, "sort": 1, "multi": True, "includeAll": True,
        "allValue": ".*", "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Lay panels out from left to right, row by row."""
    found, x, y, tallest = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        found.append(_panel(number, panel) | {"gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height}})
        x, tallest = x + panel.width, max(tallest, panel.height)
    return found


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    at_once = panel.form != "timeseries"
    targets = [
        {
            "refId": chr(ord("A") + place), "datasource": SOURCE, "expr": query, "instant": at_once,
            "range": not at_once, "legendFormat": legend or "__auto",
            "format": "table" if panel.form == "table" else "time_series",
        }
        for place, (query, legend) in enumerate(panel.queries)
    ]  # fmt: skip
    defaults: dict[str, Any] = {"unit": panel.unit, "noValue": "-"}
    if panel.form == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        defaults["custom"] = {"fillOpacity": 20 if panel.stacked else 0, "stacking": stacking, "showPoints": "never"}
        defaults["min"] = 0
    if panel.steps:
        steps = [{"color": colour, "value": value} for colour, value in panel.steps]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    options: dict[str, Any] = {}
    if panel.form in ("stat", "bargauge"):
        options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    if panel.form == "bargauge":
        options |= {"orientation": "horizontal", "displayMode": "basic"}
    found = {
        "id": number, "title": panel.title, "description": panel.text, "type": panel.form, "datasource": SOURCE,
        "targets": targets, "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
    }  # fmt: skip
    if panel.form == "table":
        found["transformations"] = [{"id": "organize", "options": {"excludeByName": {"Time": True}}}]
    return found
