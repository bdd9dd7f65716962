"""What kind of text it is, as far as that decides how many tokens another vocabulary makes of it."""

import re

SAMPLE = 4_000
"""Characters looked at: the first and the middle half of them."""
KANA = re.compile("[\u3040-\u30ff]")
HAN = re.compile("[\u4e00-\u9fff]")
HANGUL = re.compile("[\uac00-\ud7a3]")
ACCENTED = re.compile("[\u00c0-\u024f]")
OTHER_SCRIPT = re.compile("[\u0370-\u1fff]")
WORDLESS = re.compile(r"[A-Za-z0-9+/=_-]{120,}")
MARKS = re.compile(r"[{}()\[\]<>;=_|&*]")
PYTHON = re.compile(
    r"^\s*(?:def |class |import |from \S+ import|if .*:$|for .*:$|return\b|elif |async def )", re.MULTILINE
)
LOG = re.compile(r"^\S*\d{2}:\d{2}:\d{2}|^\[?\d{4}-\d{2}-\d{2}|\b(?:INFO|DEBUG|WARN|ERROR)\b", re.MULTILINE)
FOREIGN_WORDS = re.compile(
    r"\b(?:der|die|und|das|nicht|ist|les|des|est|une|que|los|las|para|della|het|een|och|nie)\b", re.IGNORECASE
)


def content_class(text: str) -> str:
    """Name the class: prose, foreign, chinese, japanese, korean, code, python, json, json_minified, log, base64."""
    middle = len(text) // 2
    sample = text if len(text) <= SAMPLE else text[: SAMPLE // 2] + text[middle : middle + SAMPLE // 2]
    size = len(sample) or 1
    if len(KANA.findall(sample)) > size * 0.05:
        return "japanese"
    if len(HANGUL.findall(sample)) > size * 0.2:
        return "korean"
    if len(HAN.findall(sample)) > size * 0.15:
        return "chinese"
    if sum(map(len, WORDLESS.findall(sample))) > size * 0.7:
        return "base64"
    if sample.lstrip()[:1] in {"{", "["} and sample.count('"') > size * 0.02:
        return "json" if re.search(r"\n\s{2,}", sample) else "json_minified"
    if len(PYTHON.findall(sample)) > size / 250:
        return "python"
    if len(LOG.findall(sample)) > size / 150:
        return "log"
    if len(MARKS.findall(sample)) > size * 0.05:
        return "code"
    if len(ACCENTED.findall(sample)) > size * 0.012 or len(OTHER_SCRIPT.findall(sample)) > size * 0.3:
        return "foreign"
    return "foreign" if len(FOREIGN_WORDS.findall(sample)) > size / 60 else "prose"
