"""What one call used, in disjoint buckets: nothing stands in two, so nothing is charged twice."""

from operator import attrgetter

from msgspec import Struct
from msgspec.structs import asdict

from penstock.errors import UsageError

MEMO = frozenset({"reasoning"})
"""Shown apart, never priced: these tokens are inside another bucket (`output`)."""

INPUT_TOKENS = (
    "input", "cache_read", "cache_write", "cache_write_1h", "input_audio", "cache_read_audio",
    "input_image", "cache_read_image", "input_video",
)  # fmt: skip
OUTPUT_TOKENS = ("output", "output_audio", "output_image")


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Counts of what was used; every bucket is disjoint from every other, but for the memo `reasoning`.

    Field names are the units of a price row. Tokens, unless the name says otherwise.
    A correction that takes an event back holds negative counts.
    """

    input: int = 0
    """Text sent, not read from or written to a prompt cache."""
    cache_read: int = 0
    """Text served from the provider's prompt cache."""
    cache_write: int = 0
    """Text written to the prompt cache at its default lifetime (Anthropic: 5 minutes)."""
    cache_write_1h: int = 0
    """Text written to the prompt cache with a long lifetime (Anthropic: 1 hour)."""
    output: int = 0
    """Text received, hidden reasoning included."""
    reasoning: int = 0
    """Memo: hidden reasoning inside `output`. Never priced on its own."""
    input_audio: int = 0
    cache_read_audio: int = 0
    output_audio: int = 0
    input_image: int = 0
    cache_read_image: int = 0
    output_image: int = 0
    input_video: int = 0
    web_searches: int = 0
    """Searches run by the provider's own tool."""
    file_searches: int = 0
    characters: int = 0
    pages: int = 0
    seconds: int = 0
    """Seconds of audio, for models billed by time."""

    @property
    def input_tokens(self) -> int:
        """All tokens sent: cached and not, text, audio, image and video."""
        return (
            self.input + self.cache_read + self.cache_write + self.cache_write_1h + self.input_audio
            + self.cache_read_audio + self.input_image + self.cache_read_image + self.input_video
        )  # fmt: skip

    @property
    def output_tokens(self) -> int:
        """All tokens received, hidden reasoning included."""
        return self.output + self.output_audio + self.output_image

    @property
    def is_plain(self) -> bool:
        """Whether nothing was used but `input`, `cache_read`, `cache_write` and `output`, as by nearly every call."""
        return not (
            self.cache_write_1h or self.input_audio or self.cache_read_audio or self.output_audio or self.input_image
            or self.cache_read_image or self.output_image or self.input_video or self.web_searches
            or self.file_searches or self.characters or self.pages or self.seconds
        )  # fmt: skip

    def units(self) -> dict[str, int]:
        """Return the priced buckets that are not zero, in order, by unit name."""
        return {unit: n for unit, n in zip(PRICED, _every(self), strict=True) if n}

    def __add__(self, other: "Usage") -> "Usage":
        """Add bucket by bucket."""
        mine, theirs = asdict(self), asdict(other)
        return Usage(**{unit: n + theirs[unit] for unit, n in mine.items()})


PRICED = tuple(unit for unit in Usage.__struct_fields__ if unit not in MEMO)
"""Every unit that a price row may have a rate for."""

_every = attrgetter(*PRICED)


def part_of(whole: int, part: int, what: str) -> int:
    """Return `whole - part`; a part larger than its whole is an error that names both numbers."""
    if part > whole or part < 0:
        raise UsageError(f"{what}: the part {part} does not fit into the whole {whole}")
    return whole - part
