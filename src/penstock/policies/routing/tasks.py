"""What kind of task a request is: by its structure first, then by its words. `unknown` is an answer too.

The words are a naive Bayes over a short list of phrases for each task of the guide's right-sizing matrix, so that what
it does can be read here. It says `unknown` where the best two are close.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from math import log
from typing import Literal

from penstock.policies.routing.asked import Asked
from penstock.policies.routing.text import excerpt, words_of

Task = Literal[
    "classification", "moderation", "summarization", "extraction", "support", "translation", "writing", "code", "rag",
    "maths", "question", "tools", "unknown",
]  # fmt: skip

WORDS: dict[Task, str] = {
    "classification": "classify classification categorize category categories label labels intent intents sentiment "
    "positive negative neutral route tag tags spam urgent priority triage which topic tier",
    "moderation": "moderate moderation harmful hate toxic toxicity violence violates policy unsafe safe abuse "
    "offensive harassment content nsfw",
    "summarization": "summarize summarise summary summaries tldr condense shorten key points bullet minutes "
    "abstract recap brief digest gist transcript",
    "extraction": "extract extraction fields field json entities entity parse invoice receipt names dates amounts "
    "structured form schema pull out",
    "support": "customer support order refund return delivery account password reset subscription cancel help "
    "shipping warranty complaint agent ticket billing faq policy",
    "translation": "translate translation translated into german french spanish italian english chinese japanese "
    "portuguese language sprache",
    "writing": "write essay story poem email letter blog post article slogan tweet draft tone paragraph sentence "
    "rewrite rephrase creative",
    "code": "code function python javascript typescript java sql bug stack trace implement refactor unit test compile "
    "class method algorithm regex script api def return exception debug repository query program array string",
    "rag": "context documents passages sources cite citation citations according following excerpt excerpts based "
    "retrieved knowledge document only provided answer",
    "maths": "solve equation calculate compute how many much total sum product probability derivative integral prove "
    "theorem triangle percent ratio average number integer algebra geometry polynomial area volume each cost "
    "velocity mass kg meters seconds",
    "question": "who what when where which was is the name of capital year born country president film song author "
    "following statement true correct option why best describes",
}
PHRASE_SETS = {task: frozenset(words.encode().split()) for task, words in WORDS.items()}
FORMULA = re.compile(r"\\(?:frac|sqrt|begin|cdot)\b|\$[^$\n]{1,80}\$|\bsolve for\b")
AMOUNT, DIGIT = re.compile(r"\bhow (?:many|much)\b"), re.compile(r"\d")
BEFORE = 400
"""Characters before the words of an amount among which a number must stand, in the same question."""


def _asks_for_an_amount(text: str) -> bool:
    # One pattern for all of it would look through the same characters for each digit of a long text.
    return any(
        DIGIT.search(text[max(0, found.start() - BEFORE) : found.start()].rpartition("?")[2])
        for found in AMOUNT.finditer(text)
    )


STRONG: tuple[tuple[str, str, Callable[[str], object], Task], ...] = (
    ("how solve", "\\$", lambda text: FORMULA.search(text) or _asks_for_an_amount(text), "maths"),
    ("def class import select function public traceback", "`",
     re.compile(r"```(?!json)|"
                r"^\s*(?:def|class|import|select|function|public)\s|traceback \(most", re.MULTILINE).search, "code"),
    ("write implement complete fix", "",
     re.compile(r"\b(?:write|implement|complete|fix)\b.{0,40}\b(?:function|program|script|query|code)\b").search,
     "code"),
    ("summarize summarise summary tldr tl", "",
     re.compile(r"^\W*(?:please\s+)?(?:summari[sz]e|tl;?dr)\b|\b(?:summary|summari[sz]e)\b.{0,30}:").search,
     "summarization"),
    ("translate translation", "", re.compile(r"\btranslat(?:e|ion)\b.{0,60}\b(?:in)?to\b").search, "translation"),
    ("classify classification sentiment intent", "",
     re.compile(r"\bclassif(?:y|ication)\b|\b(?:sentiment|intent) of\b").search, "classification"),
    ("extract", "", re.compile(r"\bextract\b.{0,80}\b(?:json|field|name|date|amount|entit)").search, "extraction"),
)  # fmt: skip
"""What says it outright: words and signs of which one must be there, and how. All in lower case."""
MARKS = tuple((frozenset(words.encode().split()), signs, says, task) for words, signs, says, task in STRONG)
EVERY_WORD = frozenset().union(*PHRASE_SETS.values(), *(words for words, *_ in MARKS))
MARGIN = 1.5
"""By how much, in natural logarithms, the best task must be ahead of the next."""
WEIGHT = log(0.06 / 0.006)
"""How often a word of a task's list is met in its texts, to how often in others: rounded, on purpose."""
SYSTEM = 1_500
"""Characters of a system prompt that are read."""


def task_of(asked: Asked) -> Task:
    """Name the task of a request."""
    if asked.tools and not asked.in_tool_loop and "json_schema" not in asked.needs:
        return "tools"
    said, words = _of_system(asked.system[:SYSTEM])
    found = EVERY_WORD.intersection(words_of(asked.last))
    said = said or _outright(asked.last, found)
    if said is not None:
        return said
    if asked.needs & {"json_object", "json_schema"}:
        return "extraction"
    return _standing_out(words | found)


@lru_cache(maxsize=256)
def _of_system(text: str) -> tuple[Task | None, frozenset[bytes]]:
    """Return what a system prompt says outright, and its words that are in a list. Many calls have the same one."""
    found = EVERY_WORD.intersection(words_of(text))
    return _outright(text, found), found


def _outright(text: str, found: frozenset[bytes]) -> Task | None:
    text = excerpt(text).lower()
    for words, signs, says, task in MARKS:
        if (not words.isdisjoint(found) or any([sign in text for sign in signs])) and says(text):  # noqa: C419  # a list is faster
            return task
    return None


def _standing_out(found: frozenset[bytes]) -> Task:
    """Name the task whose words stand out, or `unknown`."""
    scores = sorted([(len(found & own) * WEIGHT - LENGTHS[task], task) for task, own in PHRASE_SETS.items()])
    (second, _), (best, task) = scores[-2:]
    return task if best > 0 and best - second >= MARGIN else "unknown"


LENGTHS = {task: log(len(own) / 10) * 1.2 for task, own in PHRASE_SETS.items()}
"""A longer list has more words that are met by chance."""
