"""`penstock import`."""

from cyclopts import App

app = App(name="import")
