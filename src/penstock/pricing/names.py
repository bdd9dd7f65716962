"""From the name that a reply gives to the plain name and version of a price row."""

import re

from msgspec import Struct

_DATED = re.compile(r"(?P<model>.+?)[-@](?P<y>20\d\d)-?(?P<m>0[1-9]|1[0-2])-?(?P<d>0[1-9]|[12]\d|3[01])")


class Clause(Struct, frozen=True, array_like=True):
    """A test on a lower-case name: `equals`, `starts_with`, `ends_with`, `contains`, `regex`; `or`, `and` of parts."""

    kind: str
    text: str = ""
    parts: tuple["Clause", ...] = ()

    def matches(self, name: str) -> bool:
        """Say whether the lower-case `name` passes."""
        match self.kind:
            case "equals":
                return name == self.text
            case "starts_with":
                return name.startswith(self.text)
            case "ends_with":
                return name.endswith(self.text)
            case "contains":
                return self.text in name
            case "regex":
                return re.search(self.text, name) is not None
            case "or":
                return any(part.matches(name) for part in self.parts)
            case _:
                return all(part.matches(name) for part in self.parts)


class Name(Struct, frozen=True, array_like=True):
    """Names that pass `clause` are those of one model (and version) of a book."""

    model: str
    version: str
    clause: Clause


def split_version(served: str) -> tuple[str, str]:
    """Split a dated name: `gpt-4o-2024-08-06`, `claude-sonnet-4-5-20250929`, `...@20250929`; the date becomes ISO."""
    found = _DATED.fullmatch(served)
    return (found["model"], f"{found['y']}-{found['m']}-{found['d']}") if found else (served, "")
