"""Text, files and pictures for `penstock plan tokens`: counted here, by metering, and handed to the calculator."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from penstock.errors import InputError
from penstock.metering.counting import count_text
from penstock.metering.families import picture_of
from penstock.metering.pictures import picture_tokens, size_of
from penstock.planning.tokens import Piece, Tokens

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")


@dataclass(frozen=True)
class Content:
    """What was given, read once: text, or the size of a picture."""

    name: str
    text: str = ""
    size: tuple[int, int] | None = None

    def counted(self, model: str, detail: str) -> Piece:
        """Count it as `model` does."""
        if self.size:
            return _picture(self.name, *self.size, model, detail)
        count = count_text(model, self.text)
        return Piece(
            name=self.name, tokens=count.tokens, method=count.method, error=Decimal(str(round(count.error_band, 4))),
            detail=f"{len(self.text):,} characters, {len(self.text.split()):,} words",
        )  # fmt: skip


def contents_of(inputs: Tokens) -> tuple[Content, ...]:
    """Read all that was given. Raises InputError that names the file or option."""
    contents = [Content("text", inputs.text)] if inputs.text else []
    contents += [_file(Path(path)) for path in inputs.file]
    contents += [Content(size, size=_size(size)) for size in inputs.image]
    return tuple(contents)


def _file(path: Path) -> Content:
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from error
    if not data:
        raise InputError(f"{path}: the file is empty")
    if size := size_of(data):
        return Content(path.name, size=size)
    if path.suffix.lower() in PICTURES:
        raise InputError(f"{path}: its size in pixels cannot be read; give it with --image 1024x1024")
    try:
        return Content(path.name, data.decode("utf-8"))
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
