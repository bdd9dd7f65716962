"""The examples of the metering page do what it says."""

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/metering.md"


def test_the_examples_of_the_page_print_what_they_say() -> None:
    names: dict[str, object] = {}
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
            exec(block, names)
    printed = shown.getvalue()
    for line in ("86 1920 300", '"delta":{"content":"Hi"}}]}\n', "input=9", "tokens=2, method='exact'", "\n9\n"):
        assert line in printed
    assert '"usage"' not in printed
