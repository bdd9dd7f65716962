"""`penstock report`."""

from cyclopts import App

app = App(name="report")
