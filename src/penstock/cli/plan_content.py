"""Text, files and pictures for `penstock plan tokens`: counted here, by metering, and handed to the calculator."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from penstock.errors import InputError
from penstock.metering.counting import count_text
from penstock.metering.families import picture_of
from penstock.metering.pictures import picture_tokens, size_of
from penstock.planning.tokens import Piece

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")


@Parameter(name="*", group="Content")
@dataclass(frozen=True, kw_only=True)
class ContentOptions:
    """What to count."""

    text: Annotated[str, Parameter(help="Text to count.")] = ""
    file: Annotated[tuple[Path, ...], Parameter(help="Files to count; pictures by their size.", negative="")] = ()
    image: Annotated[tuple[str, ...], Parameter(help="Pictures by size, such as 1024x1024.", negative="")] = ()
    detail: Annotated[Literal["auto", "low", "high", "original"], Parameter(help="Detail of pictures.")] = "auto"


def pieces_of(options: ContentOptions, model: str) -> tuple[Piece, ...]:
    """Count all that was given."""
    pieces = [_text("text", options.text, model)] if options.text else []
    pieces += [_file(path, model, options.detail) for path in options.file]
    pieces += [_picture(size, *_size(size), model, options.detail) for size in options.image]
    return tuple(pieces)


def _text(name: str, text: str, model: str) -> Piece:
    count = count_text(model, text)
    return Piece(
        name=name, tokens=count.tokens, method=count.method, error=Decimal(str(round(count.error_band, 4))),
        detail=f"{len(text):,} characters, {len(text.split()):,} words",
    )  # fmt: skip


def _file(path: Path, model: str, detail: str) -> Piece:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if not data:
        raise InputError(f"{path}: the file is empty")
    if size := size_of(data):
        return _picture(path.name, *size, model, detail)
    if path.suffix.lower() in PICTURES:
        raise InputError(f"{path}: its size in pixels cannot be read; give it with --image 1024x1024")
    try:
        return _text(path.name, data.decode("utf-8"), model)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: neither UTF-8 text nor a picture") from error


def _picture(name: str, width: int, height: int, model: str, detail: str) -> Piece:
    rule = picture_of(model)
    tokens = picture_tokens(rule, width, height, detail)
    method = "estimated" if rule.guess else "exact"
    return Piece(name=name, kind="image", tokens=tokens, method=method, detail=f"{width} x {height}, detail {detail}")


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise InputError(f"--image: {text!r} is not a size such as 1024x1024")
    return int(width), int(height)
