import csv
import dataclasses
import gzip
import json
from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planning.books import D, azure

from penstock.errors import PlanError
from penstock.planning.chart import blocks, svg
from penstock.planning.demand import Load, Minute, Mix, best_ptus, bill, loads
from penstock.planning.prices import Prices
from penstock.planning.ptu import Ptu, guide_table, hourly_overage, ptu, ways_to_pay
from penstock.pricing.book import PriceRow
from penstock.pricing.capacity import Capacity, PtuModel, PtuRate, shipped_capacity
from penstock.pricing.catalog import Catalog

SHARED = Path(__file__).parents[3] / "shared/data"
CAPACITY = shipped_capacity()


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine")
    return path


def test_microsofts_three_sizing_examples_come_out():
    """1,000 requests a minute: 105.88 -> 110 PTUs (150 regional), 76.47 with half cached, 147.06 for 100 + 50."""
    base = Ptu(
        model="gpt-5.2", requests_per_minute=D(1000), input_tokens=200, output_tokens=20, deployment_type="data_zone"
    )
    cases = [
        (base, "105.882353", 110, 360_000),
        (dataclasses.replace(base, cached_share=D("0.5")), "76.470588", 80, 260_000),
        (dataclasses.replace(base, deployment_type="regional"), "105.882353", 150, 360_000),
        (dataclasses.replace(base, cached_share=D("0.5"), deployment_type="regional"), "76.470588", 100, 260_000),
        (dataclasses.replace(base, input_tokens=100, output_tokens=50), "147.058824", 150, 500_000),
    ]  # fmt: skip
    for inputs, raw, needed, tokens in cases:
        plan = ptu(inputs, usd(inputs.deployment_type), CAPACITY)
        assert (plan.raw_ptus, plan.ptus_for_peak, plan.peak_tokens_per_minute) == (D(raw), needed, tokens)


@pytest.mark.parametrize(("cached", "needed"), [("0", 150), ("0.5", 100)])
def test_a_deployment_type_without_a_price_by_token_is_sized_with_the_global_price(cached, needed):
    inputs = Ptu(
        model="gpt-5.2", requests_per_minute=D(1000), input_tokens=200, output_tokens=20, deployment_type="regional",
        cached_share=D(cached),
    )  # fmt: skip
    plan = ptu(inputs, azure(), CAPACITY)
    assert plan.ptus_for_peak == needed
    hourly = plan.terms[0]
    assert hourly.peak_bill == needed * CAPACITY.rate("regional").hourly * 730
    assert any("break-even are against the global price" in note for note in plan.notes)


def test_traffic_that_is_idle_most_of_the_time_gets_no_ptus():
    inputs = Ptu(model="gpt-4.1", requests_per_minute=D(1000), input_tokens=1000, output_tokens=200)
    flat, on_off = (ptu(dataclasses.replace(inputs, average_load=D(a)), azure(), CAPACITY) for a in ("1", "0.3"))
    assert flat.best_ptus > 0
    assert on_off.best_ptus == 0
    assert on_off.pay_as_you_go == (flat.pay_as_you_go * D("0.3")).quantize(D("0.01"))
    assert on_off.terms[1].use == 0
    assert on_off.terms[1].minutes_above == D("0.3")
    assert any("the rest as idle" in note for note in on_off.notes)


def usd(deployment_type: str) -> Prices:
    """Price gpt-5.2 for a deployment type that the shipped book has no row for."""
    rates = {"input": D("1.925E-6"), "cache_read": D("0.1925E-6"), "output": D("15.4E-6")}
    row = PriceRow(
        provider="azure", model="gpt-5.2", deployment_type=deployment_type, rates=rates,
        valid_from=datetime(2025, 12, 11, tzinfo=UTC),
    )  # fmt: skip
    return Prices(Catalog([[row]]), datetime(2026, 11, 23, tzinfo=UTC))


@pytest.mark.parametrize(("model", "millions"), [("gpt-6-sol", "129.6"), ("gpt-6-astra", "25.92")])
def test_microsofts_month_of_one_busy_gpt_6_ptu_is_259_dollars_of_tokens(model, millions):
    """One PTU, always busy for 30 days, serves 129.6M (25.92M) weighed tokens: $259.20 against $260 for the PTU."""
    tokens = CAPACITY.models[model].input_tpm * 60 * 24 * 30
    assert D(tokens) / 1_000_000 == D(millions)
    row = azure().row(model)
    assert tokens * row.rates["input"] == D("259.2")
    assert CAPACITY.rate("global").month == 260


def test_microsofts_reservation_example_bills_100_ptus_by_the_hour():
    """500 reserved, 300 deployed before, 300 added: 500 covered, 100 by the hour."""
    assert hourly_overage(300 + 300, 500) == 100
    inputs = Ptu(model="gpt-4o", requests_per_minute=D(1), deployed_ptus=600, reserved_ptus=500)
    plan = ptu(inputs, azure(), CAPACITY)
    assert (plan.uncovered_ptus, plan.uncovered_bill) == (100, D("73000.00"))


def test_every_model_breaks_even_where_the_golden_figures_say():
    expected = json.loads(shared("imports/ptu/ptu_expected.json").read_text())["models"]
    models = {
        row["model"]: row for row in csv.DictReader(shared("imports/ptu/ptu_models.csv").read_text().splitlines())
    }
    for name, cases in expected.items():
        facts = models[name]
        rates = {"input": D(facts["paygo_input"]) / 10**6, "output": D(facts["paygo_output"]) / 10**6}
        if facts["paygo_cached"]:
            rates["cache_read"] = D(facts["paygo_cached"]) / 10**6
        row = PriceRow(provider="azure", model=name, rates=rates, valid_from=datetime(2025, 1, 1, tzinfo=UTC))
        prices = Prices(Catalog([[row]]), datetime(2026, 11, 23, tzinfo=UTC))
        for case, figures in cases.items():
            inputs = Ptu(model=name, requests_per_minute=D(500), cached_share=D(case.removeprefix("h=")))
            plan = ptu(inputs, prices, CAPACITY)
            computed = [round(float(term.break_even_use), 3) for term in plan.terms]
            golden = [figures["u_star_hourly"], figures["u_star_1m"], figures["u_star_1y"]]
            assert computed == pytest.approx(golden, abs=0.0011), (name, case)
            assert float(plan.value_per_ptu) == pytest.approx(figures["per_ptu_value_usd"], abs=0.011), (name, case)


def test_the_shipped_ptu_table_is_the_researched_one():
    for row in csv.DictReader(shared("imports/ptu/ptu_models.csv").read_text().splitlines()):
        ours = CAPACITY.models[row["model"].lower()]
        assert ours.input_tpm == int(row["input_tpm_per_ptu"])
        assert ours.output_ratio == int(row["output_ratio"])
        assert ours.smallest("global") == (int(row["min_global_dz"]), int(row["inc_global_dz"]))


def test_the_guides_break_even_table_in_7_3_is_for_a_model_that_does_not_exist():
    table = guide_table(azure(), CAPACITY)
    nano, big = zip(*(each.computed.split("; ") for each in table), strict=True)
    assert list(nano) == [
        "gpt-4.1-nano $319 PAYG, 15 PTUs $3,900 by the month, $3,315 by the year",
        "gpt-4.1-nano $1,275 PAYG, 15 PTUs $3,900 by the month, $3,315 by the year",
        "gpt-4.1-nano $6,375 PAYG, 25 PTUs $6,500 by the month, $5,525 by the year",
        "gpt-4.1-nano $31,875 PAYG, 125 PTUs $32,500 by the month, $27,625 by the year",
    ]
    assert list(big) == [
        "gpt-4o $7,969 PAYG, 30 PTUs $7,800 by the month, $6,630 by the year",
        "gpt-4o $31,875 PAYG, 120 PTUs $31,200 by the month, $26,520 by the year",
        "gpt-4o $159,375 PAYG, 595 PTUs $154,700 by the month, $131,495 by the year",
        "gpt-4o $796,875 PAYG, 2955 PTUs $768,300 by the month, $653,055 by the year",
    ]


def test_on_an_hour_of_real_traffic_the_optimum_is_the_one_of_a_brute_force_search():
    totals = defaultdict(lambda: [0, 0])
    with gzip.open(shared("traces/azure_llm_2023_conv.csv.gz"), "rt") as file:
        for row in csv.DictReader(file):
            minute = totals[row["TIMESTAMP"][:16]]
            minute[0] += int(row["ContextTokens"])
            minute[1] += int(row["GeneratedTokens"])
    series = [Minute(*totals[name]) for name in sorted(totals)]
    for name in ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-6-sol", "gpt-5.6-sol"):
        model = CAPACITY.models[name]
        row = azure().row(name)
        demand = loads(series, Mix(model, row, row.rates["input"]))
        for _, dollars in ways_to_pay(CAPACITY.rate("global")):
            assert best_ptus(demand, dollars, 15, 5) == brute_force(demand, dollars, 15, 5)


def brute_force(demand, dollars, least, step):
    top = int(max(load.ptus for load in demand)) + least + step
    return min((0, *range(least, top + step, step)), key=lambda ptus: (bill(demand, ptus, dollars), ptus))


series = st.lists(
    st.builds(Load, st.decimals(0, 300, places=1), st.decimals("0.001", 3, places=3)), min_size=1, max_size=40
).filter(lambda demand: any(load.ptus for load in demand))
rates = st.decimals(1, 2000, places=0)


@given(series, rates, st.integers(1, 60), st.integers(1, 50))
@settings(max_examples=200, deadline=None)
def test_the_optimum_equals_brute_force_for_any_traffic_and_any_mix(demand, dollars, least, step):
    assert best_ptus(demand, dollars, least, step) == brute_force(demand, dollars, least, step)


@given(series, rates)
@settings(deadline=None)
def test_the_optimum_is_never_worse_than_no_ptus_or_ptus_for_the_peak(demand, dollars):
    best = bill(demand, best_ptus(demand, dollars, 15, 5), dollars)
    peak = max(load.ptus for load in demand)
    all_of_it = 15 + max(0, -int((15 - peak) // 5)) * 5
    assert best <= bill(demand, 0, dollars)
    assert best <= bill(demand, all_of_it, dollars)


@given(series, rates)
@settings(deadline=None)
def test_dearer_ptus_never_mean_more_of_them(demand, dollars):
    assert best_ptus(demand, dollars + 50, 15, 5) <= best_ptus(demand, dollars, 15, 5)


def test_with_one_mix_demand_exceeds_the_optimum_in_a_share_u_of_the_minutes():
    demand = tuple(Load(Decimal(minute), Decimal(minute) / 100) for minute in range(1, 101))  # $0.01 a PTU-minute
    dollars = D("87.6")  # of $438 that a busy PTU is worth: u* = 20 %
    assert best_ptus(demand, dollars, 1, 1) == 80


def test_capacity_of_september_and_prices_of_july_are_told_apart():
    july = dataclasses.replace(azure(), at=datetime(2026, 7, 15, tzinfo=UTC))
    plan = ptu(Ptu(model="gpt-5.6-luna", requests_per_minute=D(100)), july, CAPACITY)
    assert any("joining two dates can mislead" in note for note in plan.notes)
    assert plan.terms[1].break_even_use < D("0.25")


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (Ptu(model="gpt-4o"), "requests_per_minute: no demand"),
        (Ptu(model="text-embedding-3-small", requests_per_minute=D(1)), "model: text-embedding-3-small cannot be prov"),
        (Ptu(model="gpt-4", requests_per_minute=D(1)), "model: no model 'gpt-4' at azure; did you mean"),
    ],
)
def test_what_cannot_be_sized_is_named(inputs, sentence):
    with pytest.raises(PlanError) as error:
        ptu(inputs, azure(), CAPACITY)
    assert str(error.value).startswith(sentence)


def test_a_model_without_a_regional_deployment_is_named():
    model = PtuModel(model="r1", accounting="ratio", input_tpm=4000, output_ratio=D(4), min_global=100, step_global=100,
                     valid_from=date(2026, 1, 1), source="", read=date(2026, 1, 1))  # fmt: skip
    rate = PtuRate(
        deployment_type="regional", hourly=D(2), valid_from=date(2026, 1, 1), source="", read=date(2026, 1, 1)
    )
    rates = {"input": D("1E-6"), "output": D("4E-6")}
    since = datetime(2026, 1, 1, tzinfo=UTC)
    row = PriceRow(provider="azure", model="r1", deployment_type="regional", valid_from=since, rates=rates)
    prices = Prices(Catalog([[row]]), datetime(2026, 11, 23, tzinfo=UTC))
    with pytest.raises(PlanError, match="r1 has no regional PTU deployment"):
        ptu(Ptu(model="r1", requests_per_minute=D(1), deployment_type="regional"), prices,
            Capacity({"r1": model}, {("regional", ""): rate}))  # fmt: skip


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("minutes", [1, 3, 60, 5000])
def test_the_terminal_chart_is_no_wider_than_the_terminal(minutes, width):
    lines = blocks([float(minute % 7) * 100 for minute in range(minutes)], 215, width).splitlines()
    assert max(map(len, lines)) <= max(width, 60)
    assert f"minute {minutes}" in lines[-2]


def test_the_terminal_chart_tells_served_from_spilled():
    drawing = blocks([1.0, 5.0, 10.0], 5)
    assert "█" in drawing
    assert "░" in drawing
    assert "5 PTUs" in drawing


def test_the_svg_is_well_formed_and_escapes_its_heading():
    from xml.etree import ElementTree as ET

    drawing = svg([1.0, 5.0, 10.0] * 1000, 5, "a <model> & more")
    assert "a <model> & more" in ET.fromstring(drawing).itertext()


def test_a_series_says_what_demand_cached_share_and_the_price_of_a_ptu_move():
    minutes = [Minute(10**6, 10**5), Minute(5 * 10**5, 10**5)]
    plan = ptu(Ptu(model="gpt-4o", cached_share=D("0.5")), azure(), CAPACITY, minutes)
    moved = {swing.input: swing for swing in plan.sensitivity}
    assert moved.keys() == {"demand", "cached_share", "ptu_price"}
    assert moved["demand"].low < plan.best_bill < moved["demand"].high
    assert moved["ptu_price"].low < plan.best_bill < moved["ptu_price"].high
    assert moved["cached_share"].low > plan.best_bill > moved["cached_share"].high


def test_a_long_prompt_weighs_and_costs_its_own_price():
    """GPT-6 bills prompts over 272,000 tokens twice as dear for input and 1.5 times for output, and weighs them so."""
    long = Ptu(model="gpt-6-sol", requests_per_minute=D(1), input_tokens=300_000, output_tokens=1000)
    plan = ptu(long, azure(), CAPACITY)
    assert plan.peak_tokens_per_minute == 2 * 300_000 + D("7.5") * 1000
    assert plan.pay_as_you_go == (43_800 * (300_000 * D("4E-6") + 1000 * D("15E-6"))).quantize(D("0.01"))
    assert plan.prices[0].rates["input"] == 4
    with pytest.raises(PlanError, match=r"input_tokens: PTUs of gpt-4.1 refuse prompts of more than 128,000 tokens"):
        ptu(dataclasses.replace(long, model="gpt-4.1"), azure(), CAPACITY)


def test_writing_to_the_prompt_cache_weighs_and_costs_a_quarter_more_on_gpt_6():
    base = Ptu(model="gpt-6-sol", requests_per_minute=D(100), input_tokens=1000, output_tokens=0)
    plain, mixed = (
        ptu(inputs, azure(), CAPACITY)
        for inputs in (base, dataclasses.replace(base, cached_share=D("0.5"), written_share=D("0.4")))
    )
    share = D("0.1") + D("0.5") * D("0.1") + D("0.4") * D("1.25")  # fresh, read, written
    assert mixed.peak_tokens_per_minute == share * plain.peak_tokens_per_minute
    assert mixed.pay_as_you_go == (share * plain.pay_as_you_go).quantize(D("0.01"))
    with pytest.raises(PlanError, match="written_share: more input would be read from the cache and written"):
        ptu(dataclasses.replace(base, cached_share=D("0.7"), written_share=D("0.4")), azure(), CAPACITY)
