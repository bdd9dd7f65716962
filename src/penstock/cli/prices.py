"""`penstock prices`."""

from cyclopts import App

app = App(name="prices")
