"""`penstock demo`."""

from cyclopts import App

app = App(name="demo")
