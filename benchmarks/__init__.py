"""Measures Penstock beside nginx and other gateways, all in one run."""
