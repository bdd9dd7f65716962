"""Training on GPU machines: memory, hours, spot with checkpoints, reservations (guide, section 7.12)."""

import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Literal

from penstock.errors import PlanError
from penstock.planning.answer import Answer, Correction
from penstock.planning.prices import PriceUsed
from penstock.planning.quantity import (
    MONTH_HOURS,
    Amount,
    AtLeastOne,
    Count,
    Dollars,
    Gigabytes,
    Hours,
    Inputs,
    Minutes,
    Share,
    ceil_to,
    cents,
    exact,
    money,
    percent,
    ratio,
)
from penstock.planning.sensitivity import sensitivity
from penstock.pricing.gpu import GpuVm

Method = Literal["full", "lora", "qlora"]

BILLION, MILLION, TERA = Decimal(10) ** 9, Decimal(10) ** 6, Decimal(10) ** 12
ADAM_BYTES = Decimal(16)
"""Bytes a trained parameter: weight and gradient in 16 bits, master weight and two moments in 32."""
FROZEN_BYTES = {"lora": Decimal(2), "qlora": Decimal("0.55")}
"""Bytes a frozen parameter: 16 bits, or 4 bits with their scales."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gpu(Inputs):
    """A training run, the machine it is for, and how machines are paid for."""

    parameters: Amount = Decimal(7)
    """Parameters of the model, in billions (the active ones, for a mixture of experts)."""
    training_tokens: Amount = Decimal(50)
    """Tokens of the training set, in millions."""
    epochs: AtLeastOne = 3
    """Passes over the training set."""
    method: Method = "full"
    """Train everything, or small adapters (LoRA), or adapters on a 4-bit model (QLoRA)."""
    trainable_share: Share = Decimal("0.005")
    """Share of the parameters that adapters add."""
    vm: str = "Standard_NC24ads_A100_v4"
    """The VM size."""
    vms: AtLeastOne = 1
    """Machines that train together."""
    mfu: Share = Decimal("0.4")
    """Share of the peak arithmetic that is reached."""
    mfu_low: Share = Decimal("0.3")
    """Low end of that share."""
    mfu_high: Share = Decimal("0.45")
    """High end of that share."""
    checkpointing: bool = False
    """Recompute activations instead of keeping them: a third more arithmetic, much less memory."""
    activation_gigabytes: Gigabytes = Decimal(0)
    """Memory for activations, with gradient checkpointing about 2 x layers x tokens x hidden size bytes."""
    margin: Share = Decimal("0.15")
    """Memory to keep free."""
    spot_price: Dollars = Decimal(0)
    """Spot dollars an hour; 0: the middle of the range that was seen, if there is one."""
    checkpoint_minutes: Minutes = Decimal(5)
    """Minutes that writing a checkpoint takes."""
    eviction_hours: Hours = Decimal(4)
    """Mean hours between evictions."""
    restart_minutes: Minutes = Decimal(10)
    """Minutes from eviction to working again."""
    reserved_discount: Share = Decimal("0.4")
    """What a reservation takes off the hourly price."""
    hours_per_month: Hours = Decimal(200)
    """Hours a month that the machine works."""
    inference_tokens: Amount = Decimal(0)
    """Tokens a month that the machine serves, in millions; 0: none."""
    inference_mfu: Share = Decimal("0.1")
    """Share of the peak reached when serving; low, because memory is the limit."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MethodLine:
    """One method on this machine."""

    method: str
    memory: Gigabytes
    """Before activations and margin."""
    gpus_for_memory: Count
    """GPUs over which the state must be spread."""
    gpu_hours: Hours
    cost: Dollars


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One VM size for the same run."""

    sku: str
    gpu: str
    hourly: Dollars
    machines: Count
    """Machines that hold the training state."""
    hours: Hours
    cost: Dollars


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GpuPlan(Answer):
    """Memory, hours and dollars of the run."""

    memory: Gigabytes
    """Weights, gradients and optimiser state, activations and margin."""
    memory_there: Gigabytes
    """Of all GPUs together."""
    fits: bool
    gpu_hours: Hours
    hours: Hours
    """Wall clock."""
    hours_best: Hours
    """At the high end of the arithmetic that is reached."""
    hours_worst: Hours
    cost: Dollars
    """Pay as you go."""
    cost_best: Dollars
    cost_worst: Dollars
    spot_price: Dollars | None
    """Dollars an hour of one machine; empty: no spot price is known."""
    checkpoint_every: Minutes
    """The interval that loses least (Daly)."""
    spot_lost: Share
    """Share of the time that checkpoints, lost work and restarts take."""
    spot_effective_price: Dollars | None
    """Dollars for an hour of useful work; empty: no price is known, or evictions leave no useful work."""
    spot_cost: Dollars | None
    spot_saving: Share | None
    reserved_break_even: Share
    """Share of all hours above which a reservation pays."""
    reserved_month: Dollars
    pay_as_you_go_month: Dollars
    """For the hours that the machine works."""
    inference_hours: Hours
    inference_cost: Dollars
    inference_per_million: Dollars | None
    """Dollars for a million served tokens; empty: it serves none."""
    methods: tuple[MethodLine, ...]
    machines: tuple[Machine, ...]


def gpu(inputs: Gpu, vms: Mapping[str, GpuVm]) -> GpuPlan:
    """Work out memory, hours and cost of a training run."""
    vm = _vm(inputs.vm, vms)
    for name, usual in (("mfu", "30 % to 45 %"), ("mfu_low", "30 %"), ("mfu_high", "45 %"), ("inference_mfu", "10 %")):
        if not getattr(inputs, name):
            raise PlanError(name, f"0 % of the peak never finishes; {usual} is usual")
    if inputs.mfu_low > inputs.mfu_high:
        low, high = percent(inputs.mfu_low), percent(inputs.mfu_high)
        raise PlanError("mfu_low", f"{low} is above the high end of {high}; exchange them")
    if not inputs.eviction_hours:
        raise PlanError("eviction_hours", "0 hours between evictions leave no time to work")
    need = (_memory(inputs, inputs.method) + inputs.activation_gigabytes) * (1 + inputs.margin)
    there = vm.gpus * vm.gigabytes * inputs.vms if vm.gpus >= 1 else Decimal(vm.gigabytes * inputs.vms)
    hours, best, worst = (_hours(inputs, vm, share) for share in (inputs.mfu, inputs.mfu_high, inputs.mfu_low))
    gpus = max(vm.gpus, Decimal(1)) * inputs.vms
    every, lost = spot_loss(inputs.checkpoint_minutes, inputs.eviction_hours * 60, inputs.restart_minutes)
    spot = inputs.spot_price or _seen_spot(vm)
    effective = spot / (1 - lost) if spot and lost < 1 else None
    reserved = vm.hourly * (1 - inputs.reserved_discount) * MONTH_HOURS * inputs.vms
    serving = _serving_hours(inputs, vm)
    return GpuPlan(
        answer=_sentence(inputs, need <= there, need, there, hours, hours * vm.hourly * inputs.vms),
        memory=_round(need),
        memory_there=_round(there),
        fits=need <= there,
        gpu_hours=_round(hours * gpus),
        hours=_round(hours),
        hours_best=_round(best),
        hours_worst=_round(worst),
        cost=cents(hours * vm.hourly * inputs.vms),
        cost_best=cents(best * vm.hourly * inputs.vms),
        cost_worst=cents(worst * vm.hourly * inputs.vms),
        spot_price=exact(spot) if spot else None,
        checkpoint_every=_round(every),
        spot_lost=ratio(min(lost, Decimal(1)), 1),
        spot_effective_price=None if effective is None else cents(effective),
        spot_cost=None if effective is None else cents(hours * effective * inputs.vms),
        spot_saving=None if effective is None else ratio(max(vm.hourly - effective, Decimal(0)), vm.hourly),
        reserved_break_even=1 - inputs.reserved_discount,
        reserved_month=cents(reserved),
        pay_as_you_go_month=cents(inputs.hours_per_month * vm.hourly * inputs.vms),
        inference_hours=_round(serving),
        inference_cost=cents(serving * vm.hourly),
        inference_per_million=exact(ratio(serving * vm.hourly, inputs.inference_tokens))
        if inputs.inference_tokens
        else None,
        methods=tuple(_method(inputs, vm, method) for method in ("full", "lora", "qlora")),
        machines=_machines(inputs, vms),
        notes=_notes(inputs, lost, spot, reserved, vm),
        prices=(_used(vm),),
        assumptions=_assumptions(inputs),
        corrections=corrections(vms),
        moved="the cost of the run",
        sensitivity=sensitivity(
            inputs,
            lambda changed: _hours(changed, vm, changed.mfu) * vm.hourly * changed.vms,
            leave_out=("mfu_low", "mfu_high", "checkpoint_minutes", "eviction_hours", "restart_minutes", "spot_price"),
        ),
    )


def spot_loss(checkpoint: Decimal, eviction: Decimal, restart: Decimal) -> tuple[Decimal, Decimal]:
    """Return the best checkpoint interval and the share of time lost, all in minutes.

    The interval is Daly's (2006): Young's root of 2 d M with the next terms of the series, and M where writing takes
    2 M or more. Lost: checkpoints d/t, work since the last one t/(2M), restarts R/M.
    """
    if checkpoint < 2 * eviction:
        part = checkpoint / (2 * eviction)
        every = (2 * checkpoint * eviction).sqrt() * (1 + part.sqrt() / 3 + part / 9) - checkpoint
    else:
        every = eviction
    writing = checkpoint / every + every / (2 * eviction) if every else Decimal(0)
    return every, writing + restart / eviction


def _vm(name: str, vms: Mapping[str, GpuVm]) -> GpuVm:
    found = vms.get(name)
    if found is None:
        near = get_close_matches(name, list(vms), n=2, cutoff=0.3) or list(vms)
        raise PlanError("vm", f"no size {name!r}; did you mean {', '.join(near)}?")
    return found


def _memory(inputs: Gpu, method: str) -> Decimal:
    """Return gigabytes of weights, gradients and optimiser state."""
    if method == "full":
        return inputs.parameters * ADAM_BYTES
    return inputs.parameters * (FROZEN_BYTES[method] + ADAM_BYTES * inputs.trainable_share)


def _flops(inputs: Gpu, method: str) -> Decimal:
    """Return operations: 6 N D to train everything, 4 N D for adapters, 2 N D more to recompute activations."""
    each = (6 if method == "full" else 4) + (2 if inputs.checkpointing else 0)
    return each * inputs.parameters * BILLION * inputs.training_tokens * MILLION * inputs.epochs


def _hours(inputs: Gpu, vm: GpuVm, mfu: Decimal, method: str = "") -> Decimal:
    gpus = max(vm.gpus, Decimal(1)) * inputs.vms
    return _flops(inputs, method or inputs.method) / (vm.teraflops * TERA * mfu * gpus) / 3600


def _serving_hours(inputs: Gpu, vm: GpuVm) -> Decimal:
    flops = 2 * inputs.parameters * BILLION * inputs.inference_tokens * MILLION
    return flops / (vm.teraflops * TERA * inputs.inference_mfu * max(vm.gpus, Decimal(1))) / 3600


def _seen_spot(vm: GpuVm) -> Decimal:
    return (vm.spot_low + vm.spot_high) / 2 if vm.spot_low and vm.spot_high else Decimal(0)


def _method(inputs: Gpu, vm: GpuVm, method: str) -> MethodLine:
    memory, hours = _memory(inputs, method), _hours(inputs, vm, inputs.mfu, method)
    room = (memory + inputs.activation_gigabytes) * (1 + inputs.margin)
    return MethodLine(
        method=method,
        memory=_round(memory),
        gpus_for_memory=ceil_to(room / vm.gigabytes, 1, 1),
        gpu_hours=_round(hours * max(vm.gpus, Decimal(1)) * inputs.vms),
        cost=cents(hours * vm.hourly * inputs.vms),
    )


def _machines(inputs: Gpu, vms: Mapping[str, GpuVm]) -> tuple[Machine, ...]:
    need = (_memory(inputs, inputs.method) + inputs.activation_gigabytes) * (1 + inputs.margin)
    lines = []
    for vm in vms.values():
        count = ceil_to(need / (vm.gigabytes * max(vm.gpus, Decimal(1))), 1, 1)
        hours = _hours(dataclasses.replace(inputs, vms=count), vm, inputs.mfu)
        lines.append(
            Machine(
                sku=vm.sku,
                gpu=vm.gpu,
                hourly=exact(vm.hourly),
                machines=count,
                hours=_round(hours),
                cost=cents(hours * vm.hourly * count),
            )
        )
    return tuple(sorted(lines, key=lambda line: line.cost))


def _round(number: Decimal) -> Decimal:
    return number.quantize(Decimal("0.01"))


def _sentence(inputs: Gpu, fits: bool, need: Decimal, there: Decimal, hours: Decimal, cost: Decimal) -> str:  # noqa: PLR0917
    room = "" if fits else f" It does not fit: {need:.0f} GB are needed, {there:.0f} GB are there."
    return (
        f"{inputs.method} training of {inputs.parameters}B parameters on {inputs.training_tokens}M tokens x "
        f"{inputs.epochs} takes {hours:.1f} h on {inputs.vms} x {inputs.vm}: {money(cents(cost))}.{room}"
    )


def _notes(inputs: Gpu, lost: Decimal, spot: Decimal, reserved: Decimal, vm: GpuVm) -> tuple[str, ...]:
    notes = []
    if not inputs.activation_gigabytes:
        notes.append(
            "Activations are not in the memory: give --activation-gigabytes (with checkpointing about 2 x layers x "
            "tokens in flight x hidden size bytes: 32 x 8,192 x 4,096 make 2.1 GB; without it many times that)."
        )
    notes += [
        "Adapters save a third of the arithmetic; what they save most is memory, and so the size of the machine.",
        "Spot machines get 30 seconds of notice: no last checkpoint can be written. There is no promise of a finish.",
    ]
    if not spot:
        notes.append(f"No spot price of {inputs.vm} is known: give it with --spot-price.")
    if lost >= 1:
        notes.append("Evictions come so often that a spot machine makes no progress.")
    if reserved < inputs.hours_per_month * vm.hourly * inputs.vms:
        notes.append(f"At {inputs.hours_per_month} hours a month a reservation is cheaper.")
    if vm.gpus < 1:
        notes.append(f"{inputs.vm} is a slice of a GPU, with {vm.gigabytes} GB.")
    if inputs.method == "qlora":
        notes.append("QLoRA unpacks 4-bit weights all the time: expect a lower share of the peak than LoRA's.")
    return tuple(notes)


def _assumptions(inputs: Gpu) -> tuple[str, ...]:
    return (
        f"Arithmetic: 6 N D to train everything, 4 N D for adapters; {percent(inputs.mfu)} of the dense BF16 peak.",
        f"The range of hours and cost is for {percent(inputs.mfu_low)} to {percent(inputs.mfu_high)} of the peak.",
        "Memory: 16 bytes a trained parameter, 2 (LoRA) or 0.55 (QLoRA) a frozen one, spread evenly over the GPUs.",
        f"A month has {MONTH_HOURS} hours; evictions come at random with the given mean.",
    )


def _used(vm: GpuVm) -> PriceUsed:
    rates = {"hour": vm.hourly, "spot_low": vm.spot_low, "spot_high": vm.spot_high}
    return PriceUsed(
        id=f"azure-vm/{vm.sku}@{vm.valid_from}",
        valid_from=vm.valid_from,
        source=vm.source,
        read=vm.read,
        rates={name: price for name, price in rates.items() if price is not None},
    )


def corrections(vms: Mapping[str, GpuVm]) -> tuple[Correction, ...]:
    """Set the guide's VM rows against the price list, and its claims against arithmetic."""
    why = {
        "Standard_ND96asr_v4": "The price is that of 8 x 40 GB = 320 GB; 640 GB is ND96amsr at $32.77.",
        "Standard_NC40ads_H100_v5": "Price and memory are other ones: $6.98, H100 NVL with 94 GB.",
        "Standard_NV12ads_A10_v5": "$0.91 buys a third of an A10, 8 GB; a whole A10 is NV36ads at $3.20.",
        "Standard_NV36ads_A10_v5": "There is no NC A10 v3 (NCv3 has V100s); a whole A10 is NV36ads_A10_v5.",
    }
    rows = [
        Correction(
            section="7.12",
            says=vm.guide_says,
            why=why[vm.sku],
            computed=f"{money(vm.hourly)}, {f'{vm.gpus.normalize():f} x ' if vm.gpus > 1 else ''}{vm.gigabytes} GB",
        )
        for vm in vms.values()
        if vm.guide_says and vm.sku in why
    ]
    return (
        *rows,
        Correction(
            section="7.12",
            says="Spot is 10-30% of pay-as-you-go",
            computed="19-36 % seen on A100 and H100 NVL",
            why="$0.68-1.10 of $3.67 and $1.40-2.53 of $6.98; with a quarter of the time lost, $0.73 is $0.97 of work.",
        ),
        Correction(
            section="7.12",
            says="LoRA / QLoRA: 80-95% of GPU hours",
            computed="33 % of the hours, 87-96 % of the memory",
            why="4 N D against 6 N D operations; 16 bytes a parameter against 2 (LoRA) or 0.55 (QLoRA). Hours follow "
            "only if a smaller machine becomes enough.",
        ),
    )
