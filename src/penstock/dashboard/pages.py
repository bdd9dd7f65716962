"""All pages, in the order of the navigation."""

from penstock.dashboard.anomalies import PAGE as ANOMALIES
from penstock.dashboard.budgets import PAGE as BUDGETS
from penstock.dashboard.chargeback import PAGE as CHARGEBACK
from penstock.dashboard.condition import PAGE as HEALTH
from penstock.dashboard.models import PAGE as MODELS
from penstock.dashboard.page import Page
from penstock.dashboard.plan import PAGE as PLAN
from penstock.dashboard.prices import PAGE as PRICES
from penstock.dashboard.recommendations import PAGE as RECOMMENDATIONS
from penstock.dashboard.requests_ import PAGE as REQUESTS
from penstock.dashboard.runs import PAGE as RUNS
from penstock.dashboard.savings import PAGE as SAVINGS
from penstock.dashboard.statement import PAGE as STATEMENT
from penstock.dashboard.summary import PAGE as SUMMARY
from penstock.dashboard.tokens import PAGE as TOKENS

PAGES: tuple[Page, ...] = (
    SUMMARY, MODELS, CHARGEBACK, STATEMENT, TOKENS, REQUESTS, RUNS, ANOMALIES, BUDGETS, RECOMMENDATIONS, SAVINGS, PLAN,
    PRICES, HEALTH,
)  # fmt: skip
"""The navigation, the routes and the addresses of the CSVs follow from this. Groups keep together."""
