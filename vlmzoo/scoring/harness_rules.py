"""How lmms-eval, VLMEvalKit and the benchmarks' own papers read one and the same answer.

The rules are written after what the harnesses do (lmms-eval 0.7, VLMEvalKit 0.2), and tested against their functions;
they hold faults that scores of ours do not have. What a judge (a language model) does with answers that no rule can
read is not here: VLMEvalKit's rules are those of ``--judge exact_matching``.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from string import punctuation
from typing import Any, TypeAlias, cast

from vlmzoo.scoring.option_letter import OptionLetter
from vlmzoo.scoring.vqa_accuracy import agreement, normalise_answer, replace_marks, replace_words

__all__ = [
    "Judged",
    "Rule",
    "kit_choice",
    "kit_gqa",
    "kit_textvqa",
    "kit_yes_no",
    "lmms_choice",
    "lmms_gqa",
    "lmms_pope",
    "lmms_textvqa",
    "paper_gqa",
    "paper_mmstar",
    "paper_pope",
]

_COMMA_BETWEEN_DIGITS = re.compile(r"\d,\d")
_PERIOD_OUTSIDE_NUMBERS = re.compile(r"(?<!\d)\.(?!\d)")
_EDGES = ",.!?;:'\""
_LETTER_FORMS = (("({})", 6), ("{}.", 5), ("{}:", 4), ("{})", 3), ("{} ", 2))
_START, _END, _PHRASE, _ANYWHERE = 10, 9, 7, 0
_NAMED = ("answer", "correct answer", "best answer", "correct option", "best option", "choice", "correct choice")
_PHRASES = (
    *(f"{named} is" for named in (*_NAMED, *(f"the {name}" for name in _NAMED))),
    *("i choose", "i select", "i pick", "my answer is", "my choice is"),
    *("옵션", "정답은", "답은", "답:", "答案是", "答案为", "选", "答えは"),
)
_FAILED = "Failed to obtain answer via API"
_REFUSED = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_LAST_WORDS = 5  # VLMEvalKit takes a letter only among so many words at the end


@dataclass(frozen=True)
class Judged:
    """What a rule makes of an answer.

    Args:
        read: the answer in the form in which it is compared; None where the rule finds none.
        score: within [0, 1].
    """

    read: str | None
    score: float


Rule: TypeAlias = Callable[[str, Any, Mapping[str, str]], Judged]
"""``(completion, reference, options by letter)``."""


def lmms_pope(completion: str, reference: Any, options: Mapping[str, str]) -> Judged:
    """Yes or no: the whole answer must be the word."""
    said = completion.lower().strip()
    return Judged(said if said in ("yes", "no") else None, float(said == str(reference).lower().strip()))


def kit_yes_no(completion: str, reference: Any, options: Mapping[str, str]) -> Judged:
    """Yes or no: one of the two words stands in the answer, and the other does not."""
    words = _without_marks(completion.lower()).split()
    found = [word for word in ("yes", "no") if word in words]
    read = found[0] if len(found) == 1 else None
    return Judged(read, float(read == str(reference).lower().strip()))


def paper_pope(completion: str, reference: Any, options: Mapping[str, str]) -> Judged:
    """Yes or no: what does not deny in its first sentence affirms.

    Source: POPE, arXiv:2305.10355, its released ``evaluate.py``.
    """
    words = completion.split(".")[0].replace(",", "").split(" ")
    read = "no" if {"No", "not", "no"} & set(words) else "yes"
    return Judged(read, float(read == str(reference).lower().strip()))


def lmms_choice(completion: str, reference: Any, options: Mapping[str, str]) -> Judged:
    """A letter: of the places where one of A to D may be an answer, those of the surest form count, and the last."""
    text = " " + reduce(str.strip, _EDGES, completion.strip()) + " "
    found = max(_letters(text), default=None, key=lambda place: place[:2]) if completion.strip() else None
    read = None if found is None else found[2]
    return Judged(read, float((read or "") == str(reference).strip().upper()))


def kit_choice(completion: str, reference: Any, options: Mapping[str, str]) -> Judged:
    """A letter: the only one that stands alone, near the end, or else the only option whose text is in the answer."""
    read = _kit_letter(completion, options) or _kit_option(completion, options)
    known = read if read in options else None
    return Judged(known, float(known == str(reference).strip()))


def paper_mmstar(completion: str, reference: Any, options: Mapping[str, str]) -> Judged:
    """A letter: the answer begins with it. Source: MMStar, arXiv:2403.20330, its released grader."""
    score = OptionLetter(compat="mmstar")
    read = next((letter for letter in options if score(completion, letter)), None)
    return Judged(read, score(completion, reference))


def lmms_textvqa(completion: str, reference: Any, options: Mapping[str, str]) -> Judged:
    """Agreement with people's answers, in the normal form of EvalAI; the paper's rule, too.

    Source: TextVQA, arXiv:1904.08920, section 5.
    """
    read = normalise_answer(completion)
    return Judged(read, agreement(read, [normalise_answer(answer) for answer in _answers(reference)]))


def kit_textvqa(completion: str, reference: Any, options: Mapping[str, str]) -> Judged:
    """Agreement with people's answers: commas and possessives stay longer, and periods behind digits stay."""
    read = _kit_normal(completion)
    return Judged(read, agreement(read, [_kit_normal(answer) for answer in _answers(reference)]))


def lmms_gqa(completion: str, reference: Any, options: Mapping[str, str]) -> Judged:
    """Equal text, without case and without any mark."""
    drop = str.maketrans("", "", punctuation)
    read = completion.strip().lower().translate(drop)
    return Judged(read, float(read == str(reference).lower().translate(drop)))


def kit_gqa(completion: str, reference: Any, options: Mapping[str, str]) -> Judged:
    """Equal text, without case."""
    read = completion.strip().lower()
    return Judged(read, float(read == str(reference).strip().lower()))


def paper_gqa(completion: str, reference: Any, options: Mapping[str, str]) -> Judged:
    """Equal text, without case and without periods at the end.

    Source: GQA, arXiv:1902.09506, its released ``eval.py``; LLaVA, arXiv:2310.03744, its conversion of answers.
    """
    read = completion.rstrip(".").lower()
    return Judged(read, float(read == str(reference)))


def _letters(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (how sure, where, letter) for each way in which a letter of A to D may be an answer."""
    bare = text.strip()
    count = 0
    for place in (*_letters_in_forms(text), *_letters_after_phrases(text)):
        count += 1
        yield place
    for letter in "ABCD":
        if bare.startswith(letter) and not bare[1:2].isalpha():
            count += 1
            yield _START, 0, letter
        if bare.endswith(letter) and not bare[-2:-1].isalpha():
            count += 1
            yield _END, len(text) - 1, letter
    if not count:
        yield from ((_ANYWHERE, text.rfind(letter), letter) for letter in "ABCD" if letter in text)


def _letters_in_forms(text: str) -> Iterator[tuple[int, int, str]]:
    for form, sureness in _LETTER_FORMS:
        for letter in "ABCD":
            place = text.rfind(form.format(letter))
            if place >= 0:
                yield sureness, place, letter


def _letters_after_phrases(text: str) -> Iterator[tuple[int, int, str]]:
    lowered = text.lower()
    for phrase in _PHRASES:
        start = lowered.find(phrase)
        for letter in "ABCD" if start >= 0 else "":
            place = text.find(letter, start + len(phrase))
            if place >= 0:
                yield _PHRASE, place, letter


def _kit_letter(completion: str, options: Mapping[str, str]) -> str | None:
    """Return the only letter that stands alone, if it is among the last words; ``Z`` for a refusal."""
    if _FAILED in completion:
        return None
    if any(refusal in completion for refusal in _REFUSED):
        return "Z"
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", completion).split()
    found = [letter for letter in options if letter in words]
    if len(found) == 1 and words.index(found[0]) > len(words) - _LAST_WORDS:
        return found[0]
    return "Z" if not found and "Z" in words else None


def _kit_option(completion: str, options: Mapping[str, str]) -> str | None:
    """Return the only option whose text is in an answer that is not much longer than the options."""
    lowered = completion.lower()
    if len(lowered) > 2 * sum(len(str(text)) for text in options.values()):
        return None
    found = [letter for letter, text in options.items() if str(text).lower() in lowered]
    return found[0] if len(found) == 1 else None


def _kit_normal(text: str) -> str:
    bare = text.replace("\n", " ").replace("\t", " ").strip()
    return replace_words(_without_marks(bare))


def _without_marks(text: str) -> str:
    return replace_marks(text, period=_PERIOD_OUTSIDE_NUMBERS, comma=_COMMA_BETWEEN_DIGITS)


def _answers(reference: Any) -> list[str]:
    if isinstance(reference, (list, tuple)):
        return [str(answer) for answer in cast("Sequence[Any]", reference)]
    return [str(reference)]
