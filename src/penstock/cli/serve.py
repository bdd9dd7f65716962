"""`penstock serve`."""

from cyclopts import App

app = App(name="serve")
