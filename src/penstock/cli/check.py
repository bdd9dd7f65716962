"""`penstock check`."""

from cyclopts import App

app = App(name="check")
