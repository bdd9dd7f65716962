"""The layers of an AI Foundry bill, and the worst month that a cap allows (guide, section 7.7)."""

import dataclasses
from decimal import Decimal

from penstock.errors import PlanError
from penstock.planning.answer import Answer, Correction
from penstock.planning.guardrails import SKUS, Guardrails, whole_dollars
from penstock.planning.prices import Deployment, Prices, call_cost, rate, used
from penstock.planning.quantity import (
    MONTH_DAYS,
    MONTH_HOURS,
    Amount,
    AtLeastOne,
    Balance,
    Count,
    Days,
    Dollars,
    Growth,
    Hours,
    Inputs,
    Share,
    Tokens,
    cents,
    money,
    quotient,
    ratio,
)
from penstock.planning.sensitivity import sensitivity
from penstock.pricing.book import PriceRow
from penstock.pricing.capacity import Capacity


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Foundry(Inputs):
    """A project on Foundry in a month: traffic, development, evaluation, and the guardrails that hold it."""

    model: str = "gpt-4o-mini"
    """The deployed model."""
    model_version: str = ""
    """Its version, for the deployment's definition; by default the newest one of the PTU table."""
    requests_per_day: Count = 10_000
    """Requests on a usual day."""
    input_tokens: Tokens = 500
    """Tokens sent with each request."""
    output_tokens: Tokens = 300
    """Tokens received for each request."""
    deployment_type: Deployment = "global"
    """Where the calls may run."""
    flow_nodes: AtLeastOne = 1
    """Model calls of one request: nodes of a flow that call the model."""
    compute_instances: Count = 2
    """Development machines."""
    compute_hours: Hours = Decimal(160)
    """Hours a month that each of them runs."""
    compute_price: Dollars = Decimal("0.23")
    """Dollars an hour of one of them."""
    endpoint_instances: Count = 0
    """Machines behind managed online endpoints; they bill while they are deployed."""
    endpoint_price: Dollars = Decimal("0.23")
    """Dollars an hour of one of them."""
    evaluation_runs: Count = 20
    """Evaluation runs a month."""
    evaluation_rows: Count = 500
    """Rows of one run."""
    evaluation_calls: Count = 3
    """Calls of the judge for each row, one for each metric."""
    evaluation_model: str = "gpt-4o"
    """The judge."""
    evaluation_tokens: Tokens = 1500
    """Tokens sent to the judge with each call."""
    evaluation_output_tokens: Tokens = 150
    """Tokens that the judge writes."""
    sampled_share: Share = Decimal("0.2")
    """Share of the rows that a sampled evaluation would keep."""
    finetuning_cost: Dollars = Decimal(0)
    """Dollars a month for training and hosting; see penstock plan tune."""
    storage_gigabytes: Amount = Decimal(200)
    """Artefacts, data sets and logs."""
    storage_price: Dollars = Decimal("0.02")
    """Dollars a month for one gigabyte."""
    capacity: AtLeastOne = 30
    """Cap of the deployment in thousand tokens a minute."""
    budget: Dollars = Decimal(5000)
    """Dollars a month of the budget."""
    resource_group: str = "AI-RG"
    """Name of the resource group."""
    account: str = "my-openai-resource"
    """Name of the Azure OpenAI or Foundry resource."""
    deployment: str = ""
    """Name of the deployment; by default the model's name and -prod."""
    budget_name: str = "AI-Workload-Budget"
    """Name of the budget."""
    email: str = "ai-finops@contoso.com"
    """Who is told."""
    days: Days = MONTH_DAYS
    """Days of a month, for what is billed by token."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """One layer of the bill."""

    layer: str
    monthly_cost: Dollars
    share: Share
    optimise: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FoundryPlan(Answer):
    """The bill, and what the cap allows."""

    foundry_cost: Dollars
    """A month, all layers."""
    direct_cost: Dollars
    """The same traffic straight to Azure OpenAI: tokens alone."""
    difference: Balance
    difference_share: Growth | None
    """Of the tokens alone; empty: there are none."""
    sampled_evaluation_saves: Dollars
    shutdown_saves: Dollars
    """Against development machines that run day and night."""
    cap_tokens_per_month: Tokens
    """At the cap, every minute of the month."""
    worst_month_input: Dollars
    """The cap filled with input tokens."""
    worst_month_output: Dollars
    """The cap filled with output tokens."""
    cap_within_budget: Count
    """The cap, in thousand tokens a minute, that cannot exceed the budget even with output tokens."""
    layers: tuple[LayerCost, ...]


def foundry(inputs: Foundry, prices: Prices) -> FoundryPlan:
    """Add the layers up, and price a month at the cap."""
    row = _row(inputs, prices)
    judge = prices.row(inputs.evaluation_model, field="evaluation_model", unit="output")
    tokens, flow, evaluation = _traffic(inputs, row), _flow(inputs, row), _evaluation(inputs, judge)
    compute = inputs.compute_instances * inputs.compute_hours * inputs.compute_price
    parts = (
        ("model deployments", tokens, "right-size the model, cap tokens a minute"),
        ("flow calls", flow, "drop nodes that are not needed"),
        ("compute instances", compute, "shut down automatically"),
        ("managed endpoints", _endpoints(inputs), "scale to zero, or serverless"),
        ("evaluation runs", evaluation, "sample, and keep results"),
        ("fine-tuning", inputs.finetuning_cost, "adapters; stop hosting what is unused"),
        ("storage", inputs.storage_gigabytes * inputs.storage_price, "lifecycle rules"),
    )
    total = sum((cost for _, cost, _ in parts), Decimal(0))
    cap = inputs.capacity * 1000 * 1440 * inputs.days
    low, high = cap * rate(row, "input"), cap * rate(row, "output")
    per_thousand = 1000 * 1440 * inputs.days * rate(row, "output")
    return FoundryPlan(
        answer=f"Foundry costs {money(cents(total))} a month, {money(cents(total - tokens))} of it beside the tokens; "
        f"the cap of {inputs.capacity}K tokens a minute allows up to {money(cents(high))}.",
        foundry_cost=cents(total),
        direct_cost=cents(tokens),
        difference=cents(total - tokens),
        difference_share=quotient(total - tokens, tokens),
        sampled_evaluation_saves=cents(evaluation * (1 - inputs.sampled_share)),
        shutdown_saves=cents(_never_off(inputs) - compute),
        cap_tokens_per_month=cap,
        worst_month_input=cents(low),
        worst_month_output=cents(high),
        cap_within_budget=int(inputs.budget / per_thousand) if per_thousand else 0,
        layers=tuple(
            LayerCost(layer=name, monthly_cost=cents(cost), share=ratio(cost, total), optimise=how)
            for name, cost, how in parts
        ),
        notes=(*prices.retirement_note(inputs.model), *_notes(inputs, high)),
        prices=(used(row), used(judge)),
        assumptions=(
            f"Tokens: {inputs.days} days a month. Machines: {MONTH_HOURS} hours a month.",
            "Prices of machines and storage are inputs: look yours up, these are examples.",
            "Token prices are the same on Foundry and straight on Azure OpenAI.",
        ),
        corrections=_corrections(prices),
        moved="the monthly total",
        sensitivity=sensitivity(
            inputs,
            lambda changed: _total(changed, row, judge),
            leave_out=("days", "capacity", "budget", "sampled_share"),
        ),
    )


def guardrails_of(inputs: Foundry, prices: Prices, capacity: Capacity) -> Guardrails:
    """Return what the guardrail files say; the budget starts with the month of the prices' day.

    Raises PlanError where no version of the model is known: Azure deploys none without it.
    """
    row = _row(inputs, prices)
    known = capacity.models.get(row.model.lower())
    version = inputs.model_version or row.version or (known.version if known else "")
    if not version:
        raise PlanError("model_version", f"no version of {row.model} is known: the deployment's definition needs one")
    cap = inputs.capacity * 1000 * 1440 * inputs.days
    hourly = inputs.requests_per_day * inputs.flow_nodes * (inputs.input_tokens + inputs.output_tokens) * 3 // 24
    return Guardrails(
        resource_group=inputs.resource_group,
        account=inputs.account,
        deployment=inputs.deployment or f"{row.model}-prod",
        model=row.model,
        model_version=version,
        sku=SKUS[inputs.deployment_type],
        capacity=inputs.capacity,
        budget_name=inputs.budget_name,
        amount=whole_dollars(inputs.budget),
        email=inputs.email,
        start=f"{prices.at:%Y-%m}-01T00:00:00Z",
        tokens_per_hour=max(1, hourly),
        worst_low=money(cents(cap * rate(row, "input"))),
        worst_high=money(cents(cap * rate(row, "output"))),
    )


def _row(inputs: Foundry, prices: Prices) -> PriceRow:
    region = "" if inputs.deployment_type == "global" else "us"
    return prices.row(inputs.model, deployment_type=inputs.deployment_type, region=region)


def _traffic(inputs: Foundry, row: PriceRow) -> Decimal:
    return call_cost(row, inputs.input_tokens, inputs.output_tokens) * inputs.requests_per_day * inputs.days


def _flow(inputs: Foundry, row: PriceRow) -> Decimal:
    """Return the calls of a request after the first one."""
    return _traffic(inputs, row) * (inputs.flow_nodes - 1)


def _evaluation(inputs: Foundry, judge: PriceRow) -> Decimal:
    each = call_cost(judge, inputs.evaluation_tokens, inputs.evaluation_output_tokens)
    return each * inputs.evaluation_runs * inputs.evaluation_rows * inputs.evaluation_calls


def _endpoints(inputs: Foundry) -> Decimal:
    return inputs.endpoint_instances * inputs.endpoint_price * MONTH_HOURS


def _never_off(inputs: Foundry) -> Decimal:
    return inputs.compute_instances * max(Decimal(MONTH_HOURS), inputs.compute_hours) * inputs.compute_price


def _total(inputs: Foundry, row: PriceRow, judge: PriceRow) -> Decimal:
    return (
        _traffic(inputs, row)
        + _flow(inputs, row)
        + _evaluation(inputs, judge)
        + _endpoints(inputs)
        + inputs.compute_instances * inputs.compute_hours * inputs.compute_price
        + inputs.finetuning_cost
        + inputs.storage_gigabytes * inputs.storage_price
    )


def _notes(inputs: Foundry, high: Decimal) -> tuple[str, ...]:
    notes = ["A cap bounds the speed of spending, a budget only tells: neither stops a bill at a sum."]
    if high > inputs.budget:
        notes.append(f"A month at the cap may exceed the budget of {money(cents(inputs.budget))}.")
    return tuple(notes)


def _corrections(prices: Prices) -> tuple[Correction, ...]:
    cap = 30 * 1000 * 1440 * 30
    parts = []
    for name in ("gpt-4o-mini", "gpt-4o"):
        row = prices.find(name)
        if row is not None:
            low, high = (cents(cap * rate(row, unit)) for unit in ("input", "output"))
            parts.append(f"{name} {money(low)} to {money(high)}")
    return (
        Correction(
            section="7.7",
            says="30K TPM prevents runaway costs",
            computed=f"{cap // 10**6:,}M tokens in 30 days: " + ", ".join(parts),
            why="A cap is not a budget: it bounds tokens a minute, not dollars a month.",
        ),
        Correction(
            section="7.7",
            says="az cognitiveservices account deployment update --capacity 30",
            computed="deployment create --sku-capacity 30",
            why="The core command line has no `update` for deployments; `create` on an existing one updates it.",
        ),
        Correction(
            section="7.7",
            says="az consumption budget create ... --notifications '[...]'",
            computed="az rest --method put .../budgets, notifications as an object",
            why="`budget create` takes no notifications and demands dates; the list form fits no version of it.",
        ),
    )
