"""Drawing whole visual analogies: examples, a query, and options of which one is right.

Source: S2H, arXiv:2501.02669, section 2 (Visual Analogy).
"""

from collections.abc import Sequence

from vlmzoo.data.synthetic._analogy import HARD_LABELS, LABELS, SIMPLE_LABELS, AnalogyInstance, Label, Panel
from vlmzoo.data.synthetic._analogy_panels import Context, draw_context, draw_third, pick
from vlmzoo.data.synthetic._draws import Draws

__all__ = ["draw_puzzle"]

_NUM_EXAMPLES, _NUM_OPTIONS = 2, 4
_NUM_DIRECTIONS = 6


def draw_puzzle(draws: Draws, level: str, *, same_direction: bool = False) -> AnalogyInstance:
    """Draw one instance.

    Every attempt at a row succeeds with a probability well above zero, so the loops end.

    Args:
        draws: where chance comes from.
        level: ``simple`` or ``hard``.
        same_direction: whether all progressions of the instance run the same way.
    """
    known = HARD_LABELS if level == "hard" else SIMPLE_LABELS
    target = pick(draws, known)
    labels = (target,) * _NUM_EXAMPLES
    if level == "hard":
        labels = draws.distinct([label for label in known if label.relation == target.relation], _NUM_EXAMPLES)
    direction = draws.integer(0, _NUM_DIRECTIONS - 1) if same_direction else None
    examples = tuple([_example(draws, label, direction) for label in labels])
    context, options = _query(draws, target, LABELS if level == "hard" else known, direction)
    return AnalogyInstance(
        examples=examples,
        example_labels=labels,
        query=(context.first, context.second),
        options=tuple([panel for _, panel in options]),
        option_labels=tuple([label for label, _ in options]),
        answer_index=[label for label, _ in options].index(target),
    )


def _context(draws: Draws, label: Label, direction: int | None) -> Context:
    while True:
        drawn = draws.integer(0, _NUM_DIRECTIONS - 1) if direction is None else direction
        context = draw_context(draws, label, direction=drawn)
        if context is not None and label in context.rules:
            return context


def _example(draws: Draws, label: Label, direction: int | None) -> tuple[Panel, Panel, Panel]:
    while True:
        context = _context(draws, label, direction)
        third = draw_third(draws, context, label)
        if third is not None:
            return context.first, context.second, third


def _query(
    draws: Draws, target: Label, known: Sequence[Label], direction: int | None
) -> tuple[Context, Sequence[tuple[Label, Panel]]]:
    """Draw two panels and, in random order, their options: other relations are those of ``known`` combinations."""
    others = [label for label in known if label.kind == target.kind and label.relation != target.relation]
    while True:
        context = _context(draws, target, direction)
        options = _options(draws, context, target, [label for label in others if label in context.rules])
        if options is not None:
            return context, options


def _options(
    draws: Draws, context: Context, target: Label, others: Sequence[Label]
) -> Sequence[tuple[Label, Panel]] | None:
    """Draw the right option and wrong ones, or None where there are not enough."""
    if len(others) < _NUM_OPTIONS - 1:
        return None
    options: list[tuple[Label, Panel]] = []
    for label in (target, *draws.distinct(others, len(others))):
        panel = draw_third(draws, context, label)
        if panel is not None:
            options.append((label, panel))
        elif label == target:
            return None
        if len(options) == _NUM_OPTIONS:
            return draws.distinct(options, _NUM_OPTIONS)
    return None
