"""`penstock plan`."""

from cyclopts import App

app = App(name="plan")
