"""When three panels follow a relation: the rule that two panels set for a third.

Source: S2H, arXiv:2501.02669, section 2 (Visual Analogy). Sets of values are bit masks: bit i is the i-th value of the
domain.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias

from vlmzoo.data.synthetic._analogy import LABELS, VALUES, Label, Panel, domains_of

__all__ = ["STEPS", "Rule", "labels_met", "members", "moved", "rules"]

Test: TypeAlias = Literal["equal", "one_of", "grow"]

STEPS = ((0, 1), (1, 0), (1, 1))
"""How positions progress: by a column, by a row, or by both, modulo 3."""

_BITS: Mapping[str, Mapping[Any, int]] = {
    domain: {value: 1 << index for index, value in enumerate(values)} for domain, values in VALUES.items()
}
_LABELS_OF_KIND = {kind: tuple([label for label in LABELS if label.kind == kind]) for kind in ("line", "shape")}


class Rule(NamedTuple):
    """What the third panel's values must be.

    Args:
        values: a mask.
        test: ``equal``: exactly these; ``one_of``: a single one of these; ``grow``: these and more.
    """

    values: int
    test: Test

    def is_met(self, values: int) -> bool:
        """Say whether a third panel with these values follows the rule."""
        if self.test == "equal":
            return values == self.values
        if self.test == "one_of":
            return _is_single(values) and bool(values & self.values)
        return values != self.values and values & self.values == self.values


def rules(first: Panel, second: Panel) -> dict[Label, Rule]:
    """Return the rules that two panels of one kind set for a third; combinations that they exclude are not there."""
    domains = domains_of(first.kind)
    masks = {
        name: (_mask(first, name, attribute), _mask(second, name, attribute)) for name, attribute in domains.items()
    }
    found = {label: _rule(label, *masks[label.domain]) for label in _LABELS_OF_KIND[first.kind]}
    return {label: rule for label, rule in found.items() if rule is not None}


def labels_met(first: Panel, second: Panel, third: Panel) -> list[Label]:
    """Return all combinations that three panels of one kind follow by S2H's definitions: puzzles are checked with it.

    Goldens hold the authors' own puzzles against it, and ours; the generator makes panels by :func:`rules`.
    """
    met = rules(first, second).items()
    return [label for label, rule in met if rule.is_met(_mask(third, label.domain, label.attribute))]


@cache
def members(domain: str, mask: int) -> tuple[Any, ...]:
    """Return the values of a mask, in the order of their domain."""
    return tuple([value for value, bit in _BITS[domain].items() if mask & bit])


@cache
def moved(position: tuple[int, int], step: tuple[int, int]) -> tuple[int, int]:
    """Return the position one step further; what leaves the panel comes in on the other side."""
    return (position[0] + step[0]) % 3, (position[1] + step[1]) % 3


def _rule(label: Label, first: int, second: int) -> Rule | None:
    """Return the rule of one combination, or None where the two panels exclude it."""
    if label.relation == "Progression":
        if label.attribute == "type":
            return _growth(label.domain, first, second)
        if label.attribute == "position":
            return _motion(first, second)
        return _order(label.domain, first, second)
    values = {"XOR": first ^ second, "OR": first | second, "AND": first & second}[label.relation]
    return Rule(values, "equal") if values else None


def _growth(domain: str, first: int, second: int) -> Rule | None:
    """Each panel has all types of the one before, and more."""
    has_grown = first != second and first & second == first
    return Rule(second, "grow") if has_grown and second != _whole(domain) else None


def _order(domain: str, first: int, second: int) -> Rule | None:
    """Each panel has a single value, and they rise or fall strictly."""
    if first == second or not _is_single(first) or not _is_single(second):
        return None
    beyond = _whole(domain) & -(second << 1) if first < second else second - 1
    return Rule(beyond, "one_of") if beyond else None


@cache
def _motion(first: int, second: int) -> Rule | None:
    """All positions move by the same step; where two steps fit, both lead to the same third panel."""
    for step in STEPS:
        if _moved_mask(first, step) == second:
            return Rule(_moved_mask(second, step), "equal")
    return None


def _moved_mask(mask: int, step: tuple[int, int]) -> int:
    bits = _BITS["shape_position"]
    return sum([bits[moved(position, step)] for position in members("shape_position", mask)])


def _mask(panel: Panel, domain: str, attribute: str) -> int:
    bits, mask = _BITS[domain], 0
    if attribute == "quantity":
        return bits[len(panel.objects)]
    for item in panel.objects:
        mask |= bits[getattr(item, attribute)]
    return mask


def _whole(domain: str) -> int:
    return (1 << len(VALUES[domain])) - 1


def _is_single(mask: int) -> bool:
    return mask & (mask - 1) == 0 and mask != 0
