"""Apply a right-sizing: the route of the settings file gets the smaller deployment, and routing behind a holdout.

The file is a person's: only lines of that route are changed or added, and comments stay.
"""

import re
import tomllib
from decimal import Decimal

from penstock.errors import InputError

HEADER = re.compile(r"^\s*\[", re.MULTILINE)
ROUTES = re.compile(r"^[ \t]*\[\[\s*routes\s*\]\][^\n]*$", re.MULTILINE)
DEPLOYMENTS = re.compile(r"^([ \t]*deployments\s*=\s*)\[[^\]]*\]", re.MULTILINE)
SAFE = re.compile(r"[^\"\\\x00-\x1f]+")


def with_smaller(text: str, route: str, to: str, *, default: str, holdout: Decimal) -> str:
    """Return the settings' text with `to` as a deployment of `route`, and `default` for what is held out.

    A route that has no row gets one. Raises InputError where the row is routed already, or written in a way that
    cannot be changed safely.
    """
    for name in (route, to, default):
        if not SAFE.fullmatch(name):
            raise InputError(f"The name {name!r} cannot be written into the settings; change the file by hand.")
    rows = tomllib.loads(text).get("routes", [])
    place = next((number for number, row in enumerate(rows) if row.get("model") == route), None)
    if place is None:
        block = f'\n[[routes]]\nmodel = "{route}"\ndeployments = ["{to}", "{default}"]\n'
        changed = text.rstrip("\n") + "\n" + block + table_of(default, holdout)
        wanted = [to, default]
    else:
        row = rows[place]
        if "routing" in row:
            raise InputError(f"The route {route!r} is routed already: change [routes.routing] in the settings.")
        wanted = list(dict.fromkeys((to, *row.get("deployments", []), default)))
        changed = _in_block(text, place, route, wanted, table_of(default, holdout))
    after = tomllib.loads(changed)
    row = next(one for one in after["routes"] if one.get("model") == route)
    others = [one for one in after["routes"] if one.get("model") != route]
    safe = row.get("deployments") == wanted and row.get("routing", {}).get("default") == default
    if not safe or others != [one for one in rows if one.get("model") != route]:
        raise InputError(f"The route {route!r} cannot be changed safely; add [routes.routing] by hand.")
    return changed


def table_of(default: str, holdout: Decimal) -> str:
    """Return the table that switches routing on."""
    return f'\n[routes.routing]\ndefault = "{default}"     # serves the holdout\nholdout = "{holdout}"\n'


def _in_block(text: str, place: int, route: str, deployments: list[str], table: str) -> str:
    """Change the lines of the `place`-th row of routes."""
    starts = list(ROUTES.finditer(text))
    if place >= len(starts):
        raise InputError(f"The route {route!r} is not a [[routes]] row of its own; change the settings by hand.")
    begin = starts[place].end()
    following = HEADER.search(text, begin)
    end = following.start() if following else len(text)
    block = text[begin:end]
    listed = ", ".join(f'"{name}"' for name in deployments)
    block, count = DEPLOYMENTS.subn(lambda found: f"{found[1]}[{listed}]", block, count=1)
    if not count:
        raise InputError(f"The route {route!r} has no plain list of deployments; change the settings by hand.")
    rest = text[end:]
    return text[:begin] + block.rstrip("\n") + "\n" + table + ("\n" + rest.lstrip("\n") if rest else "")
