"""The soft accuracy of VQA and TextVQA: an answer is as right as people agree with it, after normalisation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from vlmzoo.scoring import SCORES

__all__ = ["VqaAccuracy", "agreement", "normalise_answer", "replace_marks", "replace_words"]

_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_DIGITS = {"none": "0", **{word: str(number) for number, word in enumerate(_NUMBERS)}}
_ARTICLES = {"a", "an", "the"}
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD = re.compile(r"\.(?!\d)")
_MAX_PERIODS = 32  # the released normaliser hands a flag over where a count belongs
_COMMA_IN_NUMBER = re.compile(r"(?<=\d),+(?=\d)")
_CONTRACTED = (
    "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't "
    "he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't "
    "must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've "
    "somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd "
    "something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're "
    "they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've "
    "who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll "
    "y'all'd've you'd you'd've you'll you're you've "
)


def _misspelt(word: str) -> list[str]:
    """Return a contraction with one of its apostrophes left out, in turn."""
    places = [place for place, letter in enumerate(word) if letter == "'"]
    return [word[:place] + word[place + 1 :] for place in places]


_CORRECTED = {wrong: word for word in _CONTRACTED.split() for wrong in _misspelt(word)} | {"somebody'd": "somebodyd"}


def normalise_answer(text: str) -> str:
    """Return an answer in the form in which answers are compared: no articles, no marks, digits for number words.

    Source: VQA, arXiv:1505.00468, evaluation code, in the form of TextVQA's evaluator (EvalAI).
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    return replace_words(replace_marks(text, period=_PERIOD))


def replace_marks(text: str, *, period: re.Pattern[str], comma: re.Pattern[str] = _COMMA_IN_NUMBER) -> str:
    """Return a text without marks: a blank in place of one within a word, nothing in place of one at its edge.

    Args:
        text: of an answer.
        period: finds the periods that go, too; evaluators differ here.
        comma: finds commas within numbers; where there are any, no mark leaves a blank.
    """
    has_number = comma.search(text) is not None
    spaced = text
    for mark in _MARKS:
        is_dropped = has_number or f"{mark} " in text or f" {mark}" in text
        spaced = spaced.replace(mark, "" if is_dropped else " ")
    return period.sub("", spaced, count=_MAX_PERIODS)


def replace_words(text: str) -> str:
    """Return a text in lower case without articles, with digits for number words, contractions with apostrophes."""
    words = [_DIGITS.get(word, word) for word in text.lower().split()]
    return " ".join(_CORRECTED.get(word, word) for word in words if word not in _ARTICLES)


def agreement(said: str, answers: Sequence[str]) -> float:
    """Return how far people agree with an answer: the mean, over them, of a third for each of the others who gave it.

    Args:
        said: in normal form.
        answers: of the people, in the same form; at least one.
    """
    matches = [answer == said for answer in answers]
    total = sum(matches)
    return sum(min(1.0, (total - own) / 3) for own in matches) / len(matches) if total else 0.0


@SCORES.register("vqa_accuracy", source="TextVQA, arXiv:1904.08920, section 5; VQA, arXiv:1505.00468", tiny={})
@dataclass(frozen=True, kw_only=True)
class VqaAccuracy:
    """The mean, over the people asked, of whether three of the others gave the answer (a third for each that did)."""

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, a list of people's answers (usually ten); 0 where it is none."""
        if not isinstance(reference, (list, tuple)) or not reference:
            return 0.0
        return agreement(
            normalise_answer(completion), [normalise_answer(str(a)) for a in cast("Sequence[Any]", reference)]
        )
