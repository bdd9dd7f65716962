r"""Half of a UTF-16 pair, written as `\ud83d`: no character, yet clients and models send it.

The JSON decoder refuses it even in members that it skips; a look at the other members must not fail for that.
"""

import re

LONE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


def mended(data: bytes) -> bytes | None:
    """Return JSON with U+FFFD in the place of lone surrogates, at the same offsets; None: there were none."""
    whole, count = LONE.subn(rb"\\ufffd", data)
    return whole if count else None
