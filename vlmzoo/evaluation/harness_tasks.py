"""Tasks that both harnesses have: how each of them and the paper judge an answer, and what may make them differ.

A cause is a repair: the smallest change of an answer after which two rules judge it alike. So it is not a guess at what
somebody meant, and each answer on which two rules differ has exactly one.
"""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import ascii_uppercase, punctuation
from typing import Any, TypeAlias

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.records import Generation
from vlmzoo.registry import nearest_hint
from vlmzoo.scoring import harness_rules as rules
from vlmzoo.scoring.harness_rules import Rule
from vlmzoo.scoring.vqa_accuracy import replace_words

__all__ = ["HARNESS_TASKS", "HarnessTask", "Repair", "harness_task", "options_of", "reference_of"]

Repair: TypeAlias = Callable[[str, Mapping[str, str]], str]
"""``(text, options by letter)`` to a text without one kind of difference."""

_MARKS = re.compile(f"[{re.escape(punctuation)}]")
_END = re.compile(r"[.!?\n]")


@dataclass(frozen=True, kw_only=True)
class HarnessTask:
    """One task and its rules.

    Args:
        rules: by name: ``lmms-eval``, ``VLMEvalKit`` and ``paper``.
        repairs: by the name of the cause that they take away, the smallest first.
        has_options: whether answers are letters of options.
        repairs_reference: whether a repair changes the reference, too, as rules that normalise change both.
        sources: where each rule is written down.
    """

    rules: Mapping[str, Rule]
    repairs: Mapping[str, Repair]
    has_options: bool = False
    repairs_reference: bool = False
    sources: Mapping[str, str]


def harness_task(name: str) -> HarnessTask:
    """Return a task by name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in HARNESS_TASKS:
        known = ", ".join(HARNESS_TASKS)
        raise ConfigError(f"`task` must be one of {known}, but is `{name}` instead.{nearest_hint(name, HARNESS_TASKS)}")
    return HARNESS_TASKS[name]


def options_of(generation: Generation) -> dict[str, str]:
    """Return the options of a question by letter: columns ``A``, ``B`` … of its ``meta``, or its ``options`` there.

    Raises:
        DataError: if there are none.
    """
    meta = generation.meta
    listed = meta.get("options")
    if isinstance(listed, Mapping):
        return {str(letter): str(text) for letter, text in listed.items()}
    if isinstance(listed, (list, tuple)):
        return dict(zip(ascii_uppercase, map(str, listed), strict=False))
    found = {letter: str(meta[letter]) for letter in ascii_uppercase if meta.get(letter) not in (None, "")}
    if not found:
        raise DataError(
            f"`meta` of question `{generation.id}` must have its options under A, B, … or `options`, but has "
            f"{sorted(meta)} instead; VLMEvalKit reads the texts of options, too."
        )
    return found


def reference_of(generation: Generation) -> Any:
    """Return the reference; a list that a table wrote as text becomes a list."""
    reference = generation.reference
    if isinstance(reference, str) and reference.startswith("[") and reference.endswith("]"):
        try:
            return ast.literal_eval(reference)
        except (ValueError, SyntaxError):
            return reference
    return reference


def _lower(text: str, options: Mapping[str, str]) -> str:
    return text.lower()


def _upper(text: str, options: Mapping[str, str]) -> str:
    return text.upper() if len(_without_marks(text, options)) == 1 else text  # "a" is a word, too


def _stripped(text: str, options: Mapping[str, str]) -> str:
    return " ".join(text.split())


def _without_marks(text: str, options: Mapping[str, str]) -> str:
    return " ".join(_MARKS.sub(" ", text).split())


def _bare(text: str, options: Mapping[str, str]) -> str:
    return _MARKS.sub("", text).strip()


def _first_sentence(text: str, options: Mapping[str, str]) -> str:
    return _END.split(text.strip(), maxsplit=1)[0].strip()


def _first_word(text: str, options: Mapping[str, str]) -> str:
    return next(iter(_without_marks(text, options).split()), "")


def _only_word(text: str, options: Mapping[str, str]) -> str:
    words = _without_marks(text.lower(), options).split()
    found = {"yes", "no"} & set(words)
    return found.pop() if len(found) == 1 else text


def _denial(text: str, options: Mapping[str, str]) -> str:
    words = _without_marks(text.lower(), options).split()
    return "no" if "not" in words and not {"yes", "no"} & set(words) else text


def _only_letter(text: str, options: Mapping[str, str]) -> str:
    found = [word for word in _without_marks(text, options).split() if word in options]
    return found[0] if len(set(found)) == 1 else text


def _first_letter(text: str, options: Mapping[str, str]) -> str:
    return next((word for word in _without_marks(text, options).split() if word in options), text)


def _named_option(text: str, options: Mapping[str, str]) -> str:
    found = [letter for letter, option in options.items() if option.lower() in text.lower()]
    return found[0] if len(found) == 1 else text


def _plain_words(text: str, options: Mapping[str, str]) -> str:
    return replace_words(text)


_GIVEN = {"lmms-eval": "lmms-eval 0.7, {}", "VLMEvalKit": "VLMEvalKit 0.2, {}", "paper": "{}"}


def _sources(*texts: str) -> dict[str, str]:
    return {name: form.format(text) for (name, form), text in zip(_GIVEN.items(), texts, strict=True)}


HARNESS_TASKS: Mapping[str, HarnessTask] = {
    "pope": HarnessTask(
        rules={"lmms-eval": rules.lmms_pope, "VLMEvalKit": rules.kit_yes_no, "paper": rules.paper_pope},
        repairs={
            "upper case": _lower,
            "marks around the word": _bare,
            "denied by `not`": _denial,
            "words around the one answer": _only_word,
            "more than one sentence": _first_sentence,
            "both words": _first_word,
        },
        sources=_sources("tasks/pope", "YOrN_Extraction, exact matching", "arXiv:2305.10355, evaluate.py"),
    ),
    "mmstar": HarnessTask(
        rules={"lmms-eval": rules.lmms_choice, "VLMEvalKit": rules.kit_choice, "paper": rules.paper_mmstar},
        repairs={
            "lower case": _upper,
            "marks around the letter": _without_marks,
            "words around the one letter": _only_letter,
            "several letters": _first_letter,
            "the option in words": _named_option,
        },
        has_options=True,
        sources=_sources("tasks/mmstar", "can_infer, exact matching", "arXiv:2403.20330, released grader"),
    ),
    "textvqa": HarnessTask(
        rules={"lmms-eval": rules.lmms_textvqa, "VLMEvalKit": rules.kit_textvqa, "paper": rules.lmms_textvqa},
        repairs={
            "case or blanks": lambda text, options: _stripped(text.lower(), options),
            "marks": _without_marks,
            "number words, articles, contractions": _plain_words,
        },
        repairs_reference=True,
        sources=_sources("tasks/textvqa", "process_line, vqa_score", "arXiv:1904.08920, section 5, EvalAI"),
    ),
    "gqa": HarnessTask(
        rules={"lmms-eval": rules.lmms_gqa, "VLMEvalKit": rules.kit_gqa, "paper": rules.paper_gqa},
        repairs={
            "case or blanks": lambda text, options: _stripped(text.lower(), options),
            "a period at the end": lambda text, options: text.rstrip("."),
            "other marks": _bare,
        },
        repairs_reference=True,
        sources=_sources("exact_match", "process_line, accuracy", "arXiv:1902.09506, eval.py; LLaVA's conversion"),
    ),
}
"""By the name that both harnesses know."""
