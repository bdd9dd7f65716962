"""Text, files and pictures for `penstock plan tokens`: counted here, by metering, and handed to the calculator."""

from decimal import Decimal
from pathlib import Path

from penstock.errors import InputError
from penstock.metering.counting import count_text
from penstock.metering.families import picture_of
from penstock.metering.pictures import picture_tokens, size_of
from penstock.planning.tokens import Piece, Tokens

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")


def pieces_of(inputs: Tokens) -> tuple[Piece, ...]:
    """Count all that was given."""
    model, detail = inputs.model, inputs.detail
    pieces = [_text("text", inputs.text, model)] if inputs.text else []
    pieces += [_file(Path(path), model, detail) for path in inputs.file]
    pieces += [_picture(size, *_size(size), model, detail) for size in inputs.image]
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
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from error
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
