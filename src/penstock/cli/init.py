"""`penstock init`."""

from cyclopts import App

app = App(name="init")
