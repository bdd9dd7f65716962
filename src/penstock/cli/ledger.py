"""`penstock ledger`."""

from cyclopts import App

app = App(name="ledger")
