"""`penstock plan`: what something would cost, before it is built."""

from cyclopts import App

from penstock.cli.plan_command import Calculator, declare
from penstock.planning.month import Month, month

app = App(name="plan", help="Work out what something would cost before it is built.")

CALCULATORS = (
    Calculator(
        "month",
        Month,
        month,
        "Monthly cost of a steady workload, with every model of the price book side by side.",
        "penstock plan month --model gpt-4o-mini --requests-per-day 10000 --input-tokens 500 --output-tokens 300",
    ),
)

for _calculator in CALCULATORS:
    declare(app, _calculator)
