"""Provisioned throughput or pay by token: sizing, break-even, and the best number of PTUs (guide, section 7.3)."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from penstock.errors import PlanError
from penstock.planning.answer import Answer, Correction
from penstock.planning.demand import Load, Minute, Mix, best_ptus, bill, loads
from penstock.planning.prices import Deployment, Prices, PriceUsed, call_cost, rate, used
from penstock.planning.quantity import (
    MONTH_HOURS,
    MONTH_MINUTES,
    Amount,
    Balance,
    Count,
    Dollars,
    Growth,
    Inputs,
    Saved,
    Share,
    Tokens,
    ceil_to,
    cents,
    money,
    percent,
    ratio,
)
from penstock.planning.sensitivity import Swing, sensitivity
from penstock.pricing.book import PriceRow
from penstock.pricing.capacity import Capacity, PtuModel, PtuRate


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ptu(Inputs):
    """A workload at its busiest minute; or a demand series, which then gives the tokens of each minute."""

    model: str
    """The model to provision."""
    requests_per_minute: Amount = Decimal(0)
    """Requests in the busiest minute; 0 with a series."""
    input_tokens: Tokens = 1000
    """Tokens sent with each request."""
    output_tokens: Tokens = 200
    """Tokens received for each request."""
    cached_share: Share = Decimal(0)
    """Share of the input tokens that the prompt cache serves."""
    written_share: Share = Decimal(0)
    """Share of the input tokens that is written to the prompt cache, where the model charges for writing."""
    average_load: Share = Decimal(1)
    """Share of the minutes that are as busy as the busiest one, the others idle: 20-35 % for business hours."""
    deployment_type: Deployment = "global"
    """Where the PTUs run."""
    region: str = ""
    """Region or zone; by default the US."""
    trace: str = ""
    """Demand of real minutes: a CSV file (or .csv.gz) with a line a request: time, input, output."""
    ledger: bool = False
    """Take the demand from the ledger (--data, or the settings)."""
    since: datetime | None = None
    """With the ledger: from this time on (UTC)."""
    until: datetime | None = None
    """With the ledger: before this time (UTC)."""
    reserved_ptus: Count = 0
    """PTUs already reserved; deployed PTUs beyond them bill by the hour."""
    deployed_ptus: Count = 0
    """PTUs deployed today, to see what the reservation does not cover."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TermPlan:
    """One way to pay for PTUs."""

    term: str
    """Billed by the hour, or reserved for a month or a year."""
    dollars_per_ptu: Dollars
    """For a month of 730 hours."""
    break_even_use: Growth
    """Mean use of the PTUs above which they are cheaper than tokens; above 100 % they never are."""
    peak_bill: Dollars
    """A month's dollars with PTUs for the busiest minute."""
    best_ptus: Count
    """The number with the lowest bill; demand above it spills over to pay-as-you-go."""
    best_bill: Dollars
    saving: Balance
    """Dollars a month less than paying by token alone."""
    saving_share: Saved
    use: Share
    """Mean use of the best number of PTUs."""
    spilled: Share
    """Share of the work that spills over."""
    minutes_above: Share
    """Share of the minutes in which demand exceeds the best number."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PtuPlan(Answer):
    """How many PTUs, if any."""

    pay_as_you_go: Dollars
    """A month's dollars without PTUs."""
    peak_tokens_per_minute: Amount
    """Weighed tokens of the busiest minute."""
    tokens_per_ptu: Count
    """Input tokens a minute that one PTU serves."""
    raw_ptus: Amount
    """PTUs for the busiest minute, not rounded."""
    ptus_for_peak: Count
    """The same, in what can be deployed."""
    value_per_ptu: Dollars
    """What one PTU serves in a month if it is always busy, at the price per token."""
    best_ptus: Count
    best_term: str
    best_bill: Dollars
    saving: Balance
    uncovered_ptus: Count
    """Deployed PTUs that the reservation does not cover: they bill by the hour."""
    uncovered_bill: Dollars
    terms: tuple[TermPlan, ...]


def ptu(inputs: Ptu, prices: Prices, capacity: Capacity, series: Sequence[Minute] = ()) -> PtuPlan:
    """Size PTUs for the busiest minute, and find the number that costs least with spill-over.

    `series` has every minute, also the quiet ones; it is taken to repeat all the month. Without it a share
    `average_load` of the minutes is at the peak and the rest idle, and PTUs are either all needed or not worth it.
    """
    mix, price = _facts(inputs, prices, capacity, series=bool(series))
    model, row = mix.model, mix.row
    smallest = model.smallest(inputs.deployment_type)
    if smallest is None:
        raise PlanError("deployment_type", f"{model.model} has no {inputs.deployment_type} PTU deployment")
    least, step = smallest
    demand = demand_of(inputs, prices, capacity, series)
    peak = max(load.ptus for load in demand)
    needed = ceil_to(peak, step, least)
    by_token = bill(demand, 0, Decimal(0))
    value = _value(demand)
    terms = tuple(
        _term(name, dollars, demand=demand, needed=needed, smallest=(least, step), by_token=by_token, value=value)
        for name, dollars in ways_to_pay(price)
    )
    best = min(terms, key=lambda term: (term.best_bill, term.best_ptus))
    uncovered = hourly_overage(inputs.deployed_ptus, inputs.reserved_ptus)
    return PtuPlan(
        answer=_sentence(inputs, best, by_token, value),
        pay_as_you_go=cents(by_token),
        peak_tokens_per_minute=ratio(peak * model.input_tpm, 1),
        tokens_per_ptu=model.input_tpm,
        raw_ptus=ratio(peak, 1),
        ptus_for_peak=needed,
        value_per_ptu=cents(value),
        best_ptus=best.best_ptus,
        best_term=best.term if best.best_ptus else "pay as you go",
        best_bill=best.best_bill,
        saving=best.saving,
        uncovered_ptus=uncovered,
        uncovered_bill=cents(uncovered * price.hourly * MONTH_HOURS),
        terms=terms,
        notes=_notes(inputs, model, row, prices, best, series),
        prices=(used(row), *ptu_prices(price, model)),
        assumptions=_assumptions(inputs, model, series),
        corrections=guide_table(prices, capacity),
        moved="the lowest monthly bill",
        sensitivity=_of_series(mix, price, series, demand)
        if series
        else sensitivity(
            inputs, lambda changed: _cheapest(changed, prices, capacity), leave_out=("reserved_ptus", "deployed_ptus")
        ),
    )


def demand_of(inputs: Ptu, prices: Prices, capacity: Capacity, series: Sequence[Minute] = ()) -> tuple[Load, ...]:
    """Return the demand by the minute: of the series, or the busiest minute and an idle one, each with its share."""
    mix, _ = _facts(inputs, prices, capacity, series=bool(series))
    if series:
        return loads(series, mix)
    if not inputs.requests_per_minute * (inputs.input_tokens + inputs.output_tokens) * inputs.average_load:
        raise PlanError("requests_per_minute", "no demand: give the busiest minute's requests and tokens, or a series")
    peak = mix.load(inputs.input_tokens, inputs.output_tokens, inputs.requests_per_minute)
    if not peak.ptus:
        raise PlanError("cached_share", "what the prompt cache serves takes no PTU: nothing is left to size")
    busy = dataclasses.replace(peak, minutes=inputs.average_load)
    idle = Load(Decimal(0), Decimal(0), 1 - inputs.average_load)
    return (busy, idle) if idle.minutes else (busy,)


def ways_to_pay(price: PtuRate) -> list[tuple[str, Decimal]]:
    """Return each term with the dollars of one PTU for a month of 730 hours."""
    ways = [("hourly", price.hourly * MONTH_HOURS)]
    ways += [("reserved for a month", price.month)] if price.month is not None else []
    ways += [("reserved for a year", price.year / 12)] if price.year is not None else []
    return ways


def hourly_overage(deployed: int, reserved: int) -> int:
    """Return the PTUs that a reservation does not cover; they bill by the hour."""
    return max(0, deployed - reserved)


LONG_PROMPT = 128_000
"""Tokens of a prompt above which some models refuse it on PTUs."""


def _facts(inputs: Ptu, prices: Prices, capacity: Capacity, *, series: bool = False) -> tuple[Mix, PtuRate]:
    """Return capacity and prices; where the deployment type has no price by token, the Global row stands in.

    Prompts of a workload are priced by their length. Of a series only each minute's sum is known: short ones.
    """
    tokens = 0 if series else inputs.input_tokens
    row, short = (_by_token(inputs, prices, length) for length in (tokens, 0))
    model = capacity.models.get(row.model.lower())
    if model is None:
        known = ", ".join(sorted(each.model for each in capacity.models.values()))
        raise PlanError("model", f"{row.model} cannot be provisioned, as far as is known; PTUs serve {known}")
    if model.long_context is False and tokens > LONG_PROMPT:
        raise PlanError("input_tokens", f"PTUs of {model.model} refuse prompts of more than {LONG_PROMPT:,} tokens")
    if inputs.cached_share + inputs.written_share > 1:
        raise PlanError("written_share", "more input would be read from the cache and written to it than is sent")
    mix = Mix(model, row, rate(short, "input"), inputs.cached_share, inputs.written_share)
    return mix, capacity.rate(inputs.deployment_type, inputs.region)


def _by_token(inputs: Ptu, prices: Prices, tokens: int) -> PriceRow:
    place = inputs.region or ("" if inputs.deployment_type == "global" else "us")
    found = prices.find(inputs.model, deployment_type=inputs.deployment_type, region=place, input_tokens=tokens)
    if found is not None and {"input", "output"} <= found.rates.keys():
        return found
    return prices.row(inputs.model, input_tokens=tokens)


def _value(demand: Sequence[Load]) -> Decimal:
    """Return the dollars that one PTU serves in a month if it is always busy with this mix of tokens."""
    return (
        MONTH_MINUTES
        * sum((load.minutes * load.dollars for load in demand), Decimal(0))
        / sum((load.minutes * load.ptus for load in demand), Decimal(0))
    )


def _term(
    name: str,
    dollars: Decimal,
    *,
    demand: Sequence[Load],
    needed: int,
    smallest: tuple[int, int],
    by_token: Decimal,
    value: Decimal,
) -> TermPlan:
    best = best_ptus(demand, dollars, *smallest)
    lowest = bill(demand, best, dollars)
    minutes = sum((load.minutes for load in demand), Decimal(0))
    total = sum((load.minutes * load.ptus for load in demand), Decimal(0))
    served = sum((load.minutes * min(load.ptus, Decimal(best)) for load in demand), Decimal(0))
    above = sum((load.minutes for load in demand if load.ptus > best), Decimal(0))
    return TermPlan(
        term=name,
        dollars_per_ptu=cents(dollars),
        break_even_use=ratio(dollars, value),
        peak_bill=cents(bill(demand, needed, dollars)),
        best_ptus=best,
        best_bill=cents(lowest),
        saving=cents(by_token - lowest),
        saving_share=ratio(by_token - lowest, by_token),
        use=ratio(served, best * minutes) if best else Decimal(0),
        spilled=ratio(total - served, total),
        minutes_above=ratio(above, minutes),
    )


def _cheapest(inputs: Ptu, prices: Prices, capacity: Capacity) -> Decimal:
    mix, price = _facts(inputs, prices, capacity)
    demand = demand_of(inputs, prices, capacity)
    least, step = mix.model.smallest(inputs.deployment_type) or (0, 1)
    return min(bill(demand, best_ptus(demand, dollars, least, step), dollars) for _, dollars in ways_to_pay(price))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Moves(Inputs):
    """What can be moved where a series gives the demand."""

    demand: Amount = Decimal(1)
    """Times the tokens of the series."""
    cached_share: Share
    """Share of the input tokens that the prompt cache serves."""
    ptu_price: Amount = Decimal(1)
    """Times the price of a PTU."""


def _of_series(mix: Mix, price: PtuRate, series: Sequence[Minute], demand: Sequence[Load]) -> tuple[Swing, ...]:
    """Scale the whole demand and the PTU's price, and move the cached share."""
    least, step = mix.model.smallest(price.deployment_type) or (0, 1)
    cheapest = min(dollars for _, dollars in ways_to_pay(price))  # a cheaper PTU never makes a dearer bill

    def lowest(moves: _Moves) -> Decimal:
        moved: Sequence[Load] = demand
        if moves.cached_share != mix.cached_share:
            moved = loads(series, dataclasses.replace(mix, cached_share=moves.cached_share))
        if moves.demand != 1:
            moved = [Load(load.ptus * moves.demand, load.dollars * moves.demand) for load in moved]
        dollars = cheapest * moves.ptu_price
        return bill(moved, best_ptus(moved, dollars, least, step), dollars)

    return sensitivity(_Moves(cached_share=mix.cached_share), lowest)


def _sentence(inputs: Ptu, best: TermPlan, by_token: Decimal, value: Decimal) -> str:
    if not best.best_ptus:
        return (
            f"Stay with pay-as-you-go on {inputs.model}: {money(cents(by_token))} a month; no number of PTUs is "
            f"cheaper (a PTU that is always busy is worth {money(cents(value))} a month)."
        )
    return (
        f"{best.best_ptus} PTUs of {inputs.model}, {best.term}, cost {money(best.best_bill)} a month with spill-over: "
        f"{money(best.saving)} ({percent(best.saving_share)}) less than pay-as-you-go."
    )


def _notes(  # noqa: PLR0917
    inputs: Ptu, model: PtuModel, row: PriceRow, prices: Prices, best: TermPlan, series: Sequence[Minute]
) -> tuple[str, ...]:
    notes = list(prices.retirement_note(inputs.model))
    if best.break_even_use > 1:
        notes.append("At these prices a PTU never pays, even if it is always busy: buy it for latency only.")
    if row.deployment_type != inputs.deployment_type:
        notes.append(
            f"{row.model} has no {inputs.deployment_type} price by token: pay-as-you-go, spill-over and break-even are "
            f"against the {row.deployment_type} price; size and bill of the PTUs do not depend on it."
        )
    if not series and inputs.average_load < 1:
        notes.append(
            f"--average-load takes {percent(inputs.average_load)} of the minutes at the peak and the rest as idle; "
            "real traffic lies between that and flat: --trace or --ledger plan with its minutes."
        )
    if prices.at.date() < model.valid_from:
        notes.append(
            f"What a PTU serves was read from a page of {model.valid_from}, prices are of {prices.at:%Y-%m-%d}: "
            "joining two dates can mislead by a factor."
        )
    if inputs.cached_share and "cache_read" not in row.rates:
        notes.append(f"{row.model} has no cached price: cached input is billed like any other input.")
    if model.long_context is False:
        notes.append(f"PTUs of {model.model} refuse prompts over 128K tokens: they spill over or fail with 400.")
    notes += [
        "A reservation does not guarantee capacity: deploy first, then buy. It is per deployment type, not per model.",
        "Larger calls use up more than their tokens on GPT-4.1 and later: benchmark before you commit.",
        "Steady latency and guaranteed capacity are benefits beside the price; they are not in these figures.",
    ]
    return tuple(notes)


def _assumptions(inputs: Ptu, model: PtuModel, series: Sequence[Minute]) -> tuple[str, ...]:
    kinds = {
        "ratio": f"Each output token weighs {model.output_ratio} input tokens; cached input weighs nothing.",
        "normalised": "Each kind of token weighs its price over the price of input, cached input included.",
    }
    if series:
        shape = f"The series of {len(series)} minutes repeats all the month; demand above the PTUs is billed by token."
    else:
        shape = f"{percent(inputs.average_load)} of the minutes are as busy as the busiest one, the others idle."
    return (f"A month has {MONTH_HOURS} hours.", kinds[model.accounting], shape)


def ptu_prices(price: PtuRate, model: PtuModel) -> tuple[PriceUsed, PriceUsed]:
    """Name the price of a PTU and the table that says what it serves."""
    dollars = {"ptu_hour": price.hourly, "ptu_month": price.month, "ptu_year": price.year}
    rates = PriceUsed(
        id=price.id,
        valid_from=price.valid_from,
        source=price.source,
        read=price.read,
        rates={name: each for name, each in dollars.items() if each is not None},
    )
    return rates, PriceUsed(
        id=f"azure-ptu/{model.model}@{model.valid_from}",
        valid_from=model.valid_from,
        source=model.source,
        read=model.read,
        rates={"input_tokens_per_minute": Decimal(model.input_tpm)},
    )


GUIDE_ROWS = (
    (50, "< 50M tokens/day: ~$150 PAYG, ~$2,000 PTU"),
    (200, "50-200M/day: ~$600 PAYG, ~$2,000 PTU, near break-even"),
    (1000, "200M-1B/day: ~$3,000 PAYG, ~$2,000 PTU, saves 30-40%"),
    (5000, "> 1B/day: ~$15,000 PAYG, ~$6,000 PTU"),
)
"""The break-even table of section 7.3: the upper end of each band in millions of tokens a day, and what it says."""


def guide_table(prices: Prices, capacity: Capacity) -> tuple[Correction, ...]:
    """Recompute the guide's break-even table for the cheapest model and for gpt-4o, at flat traffic.

    The mix is the chatbot's: 500 tokens in, 300 out. The guide's column is input alone at $0.10 a million.
    """
    found = []
    for millions, says in GUIDE_ROWS:
        parts = [part for name in ("gpt-4.1-nano", "gpt-4o") if (part := _guide_cell(name, millions, prices, capacity))]
        if parts:
            why = (
                "Its PAYG column prices input tokens only, at $0.10 a million; its PTU column is below the smallest "
                "deployment (15 PTUs)."
                if millions == GUIDE_ROWS[0][0]
                else "The same, at flat traffic; peaks cost more."
            )
            found.append(Correction(section="7.3", says=says, computed="; ".join(parts), why=why))
    return tuple(found)


def _guide_cell(name: str, millions: int, prices: Prices, capacity: Capacity) -> str:
    row, model, price = prices.find(name), capacity.models.get(name), capacity.rate("global")
    if row is None or model is None or price.month is None or price.year is None:
        return ""
    requests = Decimal(millions) * 1_000_000 / 800
    peak = Mix(model, row, rate(row, "input")).load(500, 300, requests / 1440).ptus
    count = ceil_to(peak, model.step_global, model.min_global)
    by_token = call_cost(row, 500, 300) * requests * 30
    return (
        f"{name} ${by_token:,.0f} PAYG, {count} PTUs ${count * price.month:,.0f} by the month, "
        f"${count * price.year / 12:,.0f} by the year"
    )
