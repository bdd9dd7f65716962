"""The seeing door: pages and the API behind them."""
