"""Visual analogies in words: text form, prompts, chains of thought and answer.

Source: S2H, arXiv:2501.02669, section 2 and appendix. The strings are the authors' (``prompts/s2h.yaml``). Where they
list a set of values, theirs stand in an order that changes from run to run, ours in the order of the objects.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.synthetic import Kind
from vlmzoo.data.synthetic._analogy import AnalogyInstance, Label, Panel, domains_of
from vlmzoo.data.synthetic._wording import IMAGE_PREFIX, CotStyle, kept_part

__all__ = ["COT_STYLES", "AnalogyWording"]

COT_STYLES: tuple[CotStyle, ...] = ("standard", "template", "order", "value")
"""``template`` looks at the attribute that matters only, ``order`` goes through the attributes of the examples in
another order, ``value`` lists their values in another order."""

_GAP = "\n\n\n"  # between the chain, without its last newline, and the answer
_PERMUTATION_SEED = 42  # of the authors' ablations


class AnalogyWording:
    """The words of visual analogies.

    Args:
        lacks_space: whether the right option's sentence of style ``template`` lacks a space, as the authors' does.
    """

    def __init__(self, *, lacks_space: bool = False) -> None:
        words = load_prompts("s2h")["visual_analogy"]
        self.prompts: Mapping[str, str] = words
        self.form: Mapping[str, str] = words["text_form"]
        self.final: Mapping[str, str] = words["answer"]
        chains = words["reasoning"]
        self.standard: Mapping[str, str] = chains["shared"] | chains["standard"]
        template = chains["shared"] | chains["template"]
        if not lacks_space:
            template["right_option"] = template["right_option"].replace("panelsand", "panels and")
        self.template: Mapping[str, str] = template

    def prompt(self, puzzle: AnalogyInstance, kind: Kind, *, distinct: bool = False) -> str:
        """Return the question about ``puzzle``.

        Args:
            puzzle: the instance.
            kind: what is given and what is asked.
            distinct: ask for the text form in so many words where ``kind`` is ``image_via_text``; the authors do not.
        """
        if kind == "text":
            return self.text_form(puzzle) + self.prompts["text"]
        if kind == "conversion":
            return self.prompts["conversion_request"]
        if kind == "image_via_text" and distinct:
            return f"{self.prompts['conversion_request']}\n{self.prompts['image'].removeprefix(IMAGE_PREFIX)}"
        return self.prompts["image"]

    def response(
        self, puzzle: AnalogyInstance, kind: Kind, *, cot: bool = True, keep: float = 1.0, style: CotStyle = "standard"
    ) -> str:
        """Return the target: conversion and chain as ``kind`` and ``cot`` ask, then the answer.

        Args:
            puzzle: the instance.
            kind: what is given and what is asked.
            cot: whether the chain of thought is there.
            keep: share of the chain that is left, from its beginning, in characters.
            style: which chain.
        """
        conversion = f"{self.prompts['conversion']}{self.text_form(puzzle)}"
        if kind == "conversion":
            return conversion.removesuffix("\n")
        kept = kept_part(self.chain(puzzle, style).removesuffix("\n"), keep) if cot else ""
        solution = f"{kept}{_GAP}{self.answer(puzzle)}" if kept else self.answer(puzzle)
        return f"{conversion}\n{solution}" if kind == "image_via_text" else solution

    def text_form(self, puzzle: AnalogyInstance) -> str:
        """Return the puzzle in words, one line for each panel."""
        parts: list[str] = []
        for number, example in enumerate(puzzle.examples, start=1):
            parts += [self.form["example"].format(number=number), *self._panels("panel", example)]
        parts += [self.form["query"], *self._panels("panel", puzzle.query)]
        parts += [self.form["options"], *self._panels("option", puzzle.options)]
        return "".join(parts)

    def answer(self, puzzle: AnalogyInstance) -> str:
        """Return what changes in each example and option, and the number of the right option."""
        words = self.final
        lines = [
            words["example"].format(number=number, label=self._label(label))
            for number, label in enumerate(puzzle.example_labels, start=1)
        ]
        for index, label in enumerate(puzzle.option_labels):
            line = words["right_option" if index == puzzle.answer_index else "wrong_option"]
            lines.append(line.format(number=index + 1, label=self._label(label)))
        return "".join(lines) + words["final"].format(number=puzzle.answer_index + 1)

    def chain(self, puzzle: AnalogyInstance, style: CotStyle = "standard") -> str:
        """Return the chain of thought, up to the newline behind its last sentence."""
        if style == "template":
            return self._template_chain(puzzle)
        words, relation = self.standard, puzzle.query_label.relation
        parts = [words["heading"]]
        for index, label in enumerate(puzzle.example_labels):
            parts += self._example(puzzle, index, label, style)
        labels = ", ".join([self._label(label) for label in puzzle.example_labels])
        parts += [words["patterns"].format(labels=labels), words["relation"].format(relation=relation), words["query"]]
        parts += self._query(puzzle, words)
        parts += [words["options"], *self._options(puzzle, words)]
        return "".join(parts) + words["conclusion"].format(number=puzzle.answer_index + 1, relation=relation)

    def _template_chain(self, puzzle: AnalogyInstance) -> str:
        words = self.template
        parts: list[str] = []
        for index, label in enumerate(puzzle.example_labels):
            parts += [words["example"].format(number=index + 1), words["attribute"].format(domain=label.words)]
            parts += _images(words, puzzle.examples[index], label.attribute)
            parts.append(words["pattern"].format(number=index + 1, relation=label.relation))
        parts += [words["relation"].format(relation=puzzle.query_label.relation), words["query"]]
        return "".join([*parts, *self._query(puzzle, words), *self._options(puzzle, words)])

    def _example(self, puzzle: AnalogyInstance, index: int, label: Label, style: CotStyle) -> list[str]:
        """Go through the attributes of one example, and say which one follows a pattern."""
        words, domains = self.standard, tuple(domains_of(label.kind).items())
        if style == "order":
            domains = _permuted(domains)
        parts = [words["example"].format(number=index + 1)]
        for domain, attribute in domains:
            parts.append(words["attribute"].format(attribute=attribute, domain=domain.replace("_", " ")))
            parts += _images(words, puzzle.examples[index], attribute, is_permuted=style == "value")
            found = words["pattern"].format(relation=label.relation) if domain == label.domain else words["no_pattern"]
            parts.append(found)
        return parts

    def _query(self, puzzle: AnalogyInstance, words: Mapping[str, str]) -> list[str]:
        """List the values of all attributes of the query."""
        parts: list[str] = []
        for domain, attribute in domains_of(puzzle.query_label.kind).items():
            parts.append(words["attribute"].format(attribute=attribute, domain=domain.replace("_", " ")))
            parts += _images(words, puzzle.query, attribute)
        return parts

    def _options(self, puzzle: AnalogyInstance, words: Mapping[str, str]) -> list[str]:
        """Say of each option which relation it follows, and whether that is the one."""
        parts: list[str] = []
        for index, (label, panel) in enumerate(zip(puzzle.option_labels, puzzle.options, strict=True)):
            values = _listed(panel, label.attribute)
            start = words["option" if values else "option_without_values"]
            end = words["right_option" if index == puzzle.answer_index else "wrong_option"]
            fields = {"number": index + 1, "domain": label.words, "relation": label.relation, "values": values}
            parts.append((start + end).format(**fields))
        return parts

    def _panels(self, heading: str, panels: Sequence[Panel]) -> list[str]:
        """Describe panels, each under its number; one without objects has no line."""
        parts: list[str] = []
        for number, panel in enumerate(panels, start=1):
            parts.append(self.form[heading].format(number=number))
            if panel.objects:
                quantity = self.form["quantity_one" if len(panel.objects) == 1 else "quantity_many"]
                attributes = type(panel.objects[0])._fields
                fields = {attribute: _listed(panel, attribute) for attribute in attributes}
                parts.append(
                    self.form[panel.kind].format(quantity=quantity.format(quantity=len(panel.objects)), **fields)
                )
        return parts

    def _label(self, label: Label) -> str:
        return self.final["label"].format(domain=label.words, relation=label.relation)


def _images(
    words: Mapping[str, str], panels: Sequence[Panel], attribute: str, *, is_permuted: bool = False
) -> list[str]:
    """List the values of an attribute in each panel."""
    return [
        words["values"].format(number=number, values=_listed(panel, attribute, is_permuted=is_permuted) or "NA")
        for number, panel in enumerate(panels, start=1)
    ]


def _listed(panel: Panel, attribute: str, *, is_permuted: bool = False) -> str:
    """Write the values of an attribute, with commas between them."""
    values = panel.values(attribute)
    return ", ".join([str(value) for value in (_permuted(values) if is_permuted else values)])


def _permuted(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values in the authors' other order: NumPy's permutation for their seed, which only counts them."""
    return tuple([values[index] for index in _permutation(len(values))])


@cache
def _permutation(num: int) -> tuple[int, ...]:
    return tuple(np.random.RandomState(_PERMUTATION_SEED).permutation(num).tolist())
