"""The decision tree of `penstock plan model` as questions at the terminal."""

import dataclasses
import sys
from typing import Annotated, Any

from cyclopts import Parameter

from penstock.errors import InputError
from penstock.planning.model import QUESTIONS, Model


@Parameter(name="*", group="Interview")
@dataclasses.dataclass(frozen=True, kw_only=True)
class InterviewOptions:
    """Whether to ask."""

    interview: Annotated[bool, Parameter(help="Ask the questions of the decision tree.", negative="")] = False


def interviewed(inputs: Model) -> Model:
    """Ask each question; an empty answer keeps what stands in brackets."""
    answers: dict[str, Any] = {}
    for field, question, choices in QUESTIONS:
        default = getattr(inputs, field)
        shown = f" ({', '.join(choices)})" if choices else ""
        answers[field] = _ask(f"{question}{shown} [{default}] ", default, choices)
    return dataclasses.replace(inputs, **answers)


def _ask(question: str, default: Any, choices: tuple[str, ...]) -> Any:
    """Ask on the error stream: the output is the answer alone."""
    while True:
        print(question, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise InputError("--interview: the answers ended before the questions")
        said = line.strip()
        if not said:
            return default
        if not choices and said.replace(",", "").isdecimal():
            return int(said.replace(",", ""))
        if said in choices:
            return said
        wanted = f"one of {', '.join(choices)}" if choices else "a whole number"
        print(f"Please answer with {wanted}.", file=sys.stderr)
