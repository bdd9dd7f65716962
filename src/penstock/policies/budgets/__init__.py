"""Budgets and rate limits: what a call may cost is reserved before it leaves, and settled to the truth afterwards."""
