"""`penstock anomalies`: what was out of the usual."""

from datetime import tzinfo
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from penstock.cli.options import Common, answer_no, console, counted, dollars, print_json
from penstock.cli.report_options import Sources, counting

if TYPE_CHECKING:
    from penstock.analytics.anomalies import Anomalies, Anomaly

HELP = """
Judges each day, and each of the latest 48 hours, by the level, the noise and the weekly shape of what came before: the
whole, and each team, key and app. A lasting change is announced once, as a new level. Each anomaly says what moved,
whether by volume (requests), mix (models), length (tokens a request) or price (dollars a token), and which command
shows more.

Examples:

- `penstock anomalies`
- `penstock anomalies --check --from yesterday --floor 20`
- `penstock anomalies --by key,feature --only team=support --time-zone Europe/Berlin`
- `penstock anomalies --detector 3x --json`
"""

app = App(name="anomalies", help_epilogue=HELP, default_parameter=Parameter(show_default=False))


@app.default
def anomalies(
    *,
    from_: Annotated[str, Parameter(name="--from", help="Since when: 2026-03-14, 7d, month; by default 28d.")] = "",
    by: Annotated[str, Parameter(help="Dimensions watched value by value beside the whole.")] = "team,key,app",
    only: Annotated[
        tuple[str, ...], Parameter(help="Keep one value, as in team=support. May be repeated.", negative="")
    ] = (),
    floor: Annotated[
        Decimal | None, Parameter(help="Excess in dollars worth a word; by default a tenth of a day, at least 1.")
    ] = None,
    detector: Annotated[str, Parameter(help="robust (by default), or 3x: over three times the mean.")] = "robust",
    threshold: Annotated[float, Parameter(help="Robust deviations that are out of the usual; by default 4.5.")] = 4.5,
    check: Annotated[bool, Parameter(help="Exit with 1 if there is an anomaly.", negative="")] = False,
    as_of: Annotated[str, Parameter(help="Judge as of then: 2026-03-14, 7d, ...; by default now.")] = "",
    time_zone: Annotated[str, Parameter(help="Where days and hours begin: Europe/Berlin.")] = "UTC",
    sources: Sources = "best",
    common: Common | None = None,
) -> None:
    """Find spend that is out of the usual, and say what moved."""
    import msgspec

    from penstock.analytics import periods
    from penstock.analytics.anomalies import anomalies as ask
    from penstock.analytics.zones import zone
    from penstock.app import ledger_for
    from penstock.errors import InputError
    from penstock.metering.event import utc_now
    from penstock.settings import load

    common = common or Common()
    if floor is not None and not (floor.is_finite() and floor >= 0):
        raise InputError(f"--floor must be dollars, from 0 on, not {floor}")
    now, place = utc_now(), zone(time_zone)
    if as_of:
        now = min(now, periods.since(as_of, now, place))
    since = periods.since(from_, now, place) if from_ else None
    where = [(name, value) for name, found, value in (pair.partition("=") for pair in only) if found]
    if len(where) != len(only):
        raise InputError("--only takes a dimension and a value, as in: --only team=support")
    names = tuple(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    with ledger_for(load(common.config, data=common.data), create=False) as ledger:
        found = ask(
            counting(ledger, sources), now, by=names, since=since, time_zone=time_zone, where=where, detector=detector,
            threshold=threshold, floor=floor,
        )  # fmt: skip
    if common.json:
        fields = msgspec.structs.asdict(found)
        fields["from"] = fields.pop("since")
        print_json(fields | {"by": names, "time_zone": time_zone})
    else:
        _show(found, place, time_zone)
    if check and found.anomalies:
        answer_no()


def say(text: str, style: str = "") -> None:
    """Print a line as it is."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _show(found: "Anomalies", place: tzinfo, time_zone: str) -> None:
    from penstock.cli.forecast import say_unpriced

    for one in found.anomalies:
        _show_one(one, place)
        say("")
    days = f"{counted(found.judged_days, 'day')} and {counted(found.judged_hours, 'hour')}"
    since = f"{found.since.astimezone(place):%Y-%m-%d %H:%M} to {found.as_of.astimezone(place):%Y-%m-%d %H:%M}"
    many = counted(len(found.anomalies), "anomaly").replace("anomalys", "anomalies")
    none = not found.anomalies
    say(f"{'No anomaly' if none else many} in {days} judged, {since} {time_zone}.", "green" if none else "bold")
    how = f"more than {found.threshold:g} robust deviations" if found.detector == "robust" else "3 times the mean"
    say(f"Detector {found.detector}: {how}, and at least {dollars(found.floor, 2)} of excess (--floor).", "dim")
    if found.too_little:
        say(f"Too little to judge: {found.too_little}.", "yellow")
    if found.stale:
        say(f"The newest event is old, so this is as of {found.as_of.astimezone(place):%Y-%m-%d %H:%M}.", "yellow")
    if found.gaps:
        listed = ", ".join(str(day) for day in found.gaps[-5:])
        say(f"Days without any event are taken as missing, not as $0: {listed}", "yellow")
    say_unpriced(found, say)


def _show_one(one: "Anomaly", place: tzinfo) -> None:
    places = 2 if one.observed >= 10 else 4
    first, last = one.since.astimezone(place), one.until.astimezone(place)
    whose = ", ".join(f"{name} {value or '(none)'}" for name, value in one.scope.items()) or "all spend"
    when = f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"
    colour = "red" if one.excess > 0 else "cyan"
    say(f"{one.kind}, {whose}: {when}", f"bold {colour}")
    sign = "+" if one.excess > 0 else ""
    usual = f"{dollars(one.low, places)} to {dollars(one.high, places)}"
    say(f"  {dollars(one.observed, places)} instead of {dollars(one.expected, places)} "
        f"({sign}{dollars(one.excess, places)}; usual: {usual})")  # fmt: skip
    if one.kind != "spike":
        say("  A new level: what follows is judged by it, and it is not announced again.")
    if one.cause is None:
        say("  Cause unknown: there is nothing in the weeks before to compare with.")
    else:
        _say_cause(one.cause, places)
    say(f"  {one.command}", "dim")


def _say_cause(cause: Any, places: int) -> None:
    for mover in cause.movers[:3]:
        say(f"  {mover.dimension} {mover.value or '(none)'}: {dollars(mover.spent, places)} instead of "
            f"{dollars(mover.usual, places)}, {mover.share:.0%} of the change")  # fmt: skip
    from penstock.cli.report_change import LABELS

    effects = cause.effects
    parts = [(label, getattr(effects, name)) for name, label in LABELS.items()]
    parts.sort(key=lambda part: -abs(part[1]))
    least = abs(parts[0][1]) / 100
    said = ", ".join(
        f"{name} {'+' if value > 0 else ''}{dollars(value, places)}" for name, value in parts if abs(value) > least
    )
    if said:
        say(f"  mostly {LABELS[effects.main]}: {said}")
