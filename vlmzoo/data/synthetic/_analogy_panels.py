"""Drawing the panels of a visual analogy: two that set a relation, and a third that follows no other one.

Source: S2H, arXiv:2501.02669, section 2 (Visual Analogy). The objects of a panel stand in random order, so that the
order of a text does not tell which of them matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from vlmzoo.data.synthetic._analogy import VALUES, Label, Line, Panel, Shape, domains_of
from vlmzoo.data.synthetic._analogy_relations import STEPS, Rule, members, moved, rules
from vlmzoo.data.synthetic._draws import Draws

__all__ = ["Context", "draw_context", "draw_third", "pick"]

T = TypeVar("T")
Pools = Mapping[str, Sequence[Any]]  # the values that an attribute may have

_CLASSES: Mapping[str, Any] = {"line": Line, "shape": Shape}
_UNIQUE = {"line": "type", "shape": "position"}  # no two objects of a panel share it
_MOST_SHAPES = VALUES["shape_quantity"][-1]


@dataclass(frozen=True)
class Context:
    """The first two panels of a row."""

    first: Panel
    second: Panel

    @cached_property
    def all_rules(self) -> dict[Label, Rule]:
        """What each combination asks of a third panel."""
        return rules(self.first, self.second)

    @cached_property
    def rules(self) -> dict[Label, Rule]:
        """The same without combinations that ask the same of one domain: no panel can follow only one of them."""
        asked = [(label.domain, rule) for label, rule in self.all_rules.items()]
        return {label: rule for label, rule in self.all_rules.items() if asked.count((label.domain, rule)) == 1}


def pick(draws: Draws, items: Sequence[T]) -> T:
    """Return one of ``items``, all equally likely."""
    return items[draws.integer(0, len(items) - 1)]


def draw_context(draws: Draws, label: Label, *, direction: int) -> Context | None:
    """Draw two panels that set a relation.

    Args:
        draws: where chance comes from.
        label: the combination.
        direction: of a progression, from 0 to 5: even ones rise; modulo 3, an index of ``STEPS``.

    Returns:
        The panels, or None where a draw led nowhere.
    """
    if label.relation != "Progression":
        pair = _logic(draws, label)
    elif label.attribute == "type":
        pair = _growing_types(draws, label)
    elif label.attribute == "position":
        pair = _moving_positions(draws, STEPS[direction % len(STEPS)])
    else:
        pair = _ordered(draws, label, rising=direction % 2 == 0)
    first, second = pair
    return None if first is None or second is None else Context(first, second)


def draw_third(draws: Draws, context: Context, label: Label) -> Panel | None:
    """Draw a third panel that follows ``label`` and no other combination; None where a draw led nowhere.

    Of each other combination one value that it asks for is kept out of the panel, or all values where it asks for any
    one of them.
    """
    rule = context.rules.get(label)
    if rule is None:
        return None
    pools = _harmless_pools(draws, context, label)
    if label.attribute == "quantity":
        counts = members(label.domain, rule.values)
        return _panel(draws, "shape", pick(draws, counts), pools)
    asked = _asked(draws, label, rule)
    count = len(asked) if label.kind == "line" else _third_count(draws, label, rule, asked, pools)
    if count is None:
        return None
    extra = [pick(draws, asked) for _ in range(count - len(asked))]
    return _panel(draws, label.kind, count, pools, {label.attribute: [*asked, *extra]})


def _logic(draws: Draws, label: Label) -> tuple[Panel | None, Panel | None]:
    """Draw panels with a common value, of which the first has one more that the second must not have.

    There are two shapes in each; of lines, two or three in the first, and one or two in the second.
    """
    values, is_unique = VALUES[label.domain], label.attribute == _UNIQUE[label.kind]
    common, different = draws.distinct(values, 2)
    first, second = [common, different], [common]
    if label.kind == "line" and draws.coin():
        first.append(pick(draws, [value for value in values if not is_unique or value not in first]))
    if label.kind == "shape" or draws.coin():
        second.append(pick(draws, [v for v in values if v != different and not (is_unique and v == common)]))
    return (
        _panel(draws, label.kind, len(first), _pools(draws, label.kind), {label.attribute: first}),
        _panel(draws, label.kind, len(second), _pools(draws, label.kind), {label.attribute: second}),
    )


def _ordered(draws: Draws, label: Label, *, rising: bool) -> tuple[Panel | None, Panel | None]:
    """Draw panels of one value each, the second beyond the first, with room for a third beyond both."""
    values = VALUES[label.domain] if rising else VALUES[label.domain][::-1]
    start = draws.integer(0, len(values) - 3)
    pair = values[start], values[draws.integer(start + 1, len(values) - 2)]
    if label.attribute == "quantity":
        first, second = (_panel(draws, "shape", count, _pools(draws, "shape")) for count in pair)
        return first, second
    if label.kind == "line":
        return _ordered_lines(draws, label.attribute, pair)
    counts = draws.integer(1, _MOST_SHAPES), draws.integer(1, _MOST_SHAPES - 1)
    first, second = (
        _panel(draws, "shape", count, _pools(draws, "shape"), {label.attribute: [value] * count})
        for value, count in zip(pair, counts, strict=True)
    )
    return first, second


def _ordered_lines(draws: Draws, attribute: str, pair: tuple[Any, Any]) -> tuple[Panel | None, Panel | None]:
    """Draw two or three lines of one value in each panel, with at least one type in common: AND then asks something."""
    types = VALUES["line_type"]
    first = draws.distinct(types, 2 + draws.coin())
    common = pick(draws, first)
    others = draws.distinct([value for value in types if value != common], 1 + draws.coin())
    columns = [
        {"type": figures, attribute: [value] * len(figures)}
        for figures, value in zip((first, (common, *others)), pair, strict=True)
    ]
    one, two = (_panel(draws, "line", len(column["type"]), _pools(draws, "line"), column) for column in columns)
    return one, two


def _growing_types(draws: Draws, label: Label) -> tuple[Panel | None, Panel | None]:
    """Draw a panel, and one that has its types and others."""
    kind, values = label.kind, VALUES[label.domain]
    pools, second_pools = _pools(draws, kind), _pools(draws, kind)
    if kind == "line":
        first = draws.distinct(values, 1 + draws.coin())
        second = [*first, pick(draws, [value for value in values if value not in first])]
    else:
        first = [pick(draws, pools["type"]) for _ in range(draws.integer(1, _MOST_SHAPES - 2))]
        second = list(dict.fromkeys(first))
        num_others = draws.integer(0, _MOST_SHAPES - 1 - len(second))
        second += [pick(draws, second_pools["type"]) for _ in range(num_others)]
    return (
        _panel(draws, kind, len(first), pools, {"type": first}),
        _panel(draws, kind, len(second), second_pools, {"type": second}),
    )


def _moving_positions(draws: Draws, step: tuple[int, int]) -> tuple[Panel | None, Panel | None]:
    """Draw shapes, and as many others one step further."""
    count, pools = draws.integer(1, _MOST_SHAPES - 2), _pools(draws, "shape")
    first = draws.distinct(pools["position"], count)
    second = [moved(position, step) for position in first]
    return (
        _panel(draws, "shape", count, pools, {"position": first}),
        _panel(draws, "shape", count, _pools(draws, "shape"), {"position": second}),
    )


def _asked(draws: Draws, label: Label, rule: Rule) -> list[Any]:
    """Return the values that a third panel must have."""
    values = list(members(label.domain, rule.values))
    if rule.test == "one_of":
        return [pick(draws, values)]
    if rule.test == "grow":
        values.append(pick(draws, [value for value in VALUES[label.domain] if value not in values]))
    return values


def _third_count(draws: Draws, label: Label, rule: Rule, asked: Sequence[Any], pools: Pools) -> int | None:
    """Draw how many shapes a third panel has: as many as positions are asked for, else more than the rule names values.

    The second is a habit of the authors' panels, not a need.
    """
    if label.attribute == "position":
        counts = [count for count in pools["quantity"] if count == len(asked)]
    else:
        num_named = len(members(label.domain, rule.values)) + (rule.test == "grow")
        counts = [count for count in pools["quantity"] if num_named < count <= len(pools["position"])]
    return pick(draws, counts) if counts else None


def _harmless_pools(draws: Draws, context: Context, label: Label) -> dict[str, Sequence[Any]]:
    """Return the values of all attributes with which a third panel follows no combination of another domain."""
    domains = domains_of(label.kind)
    kept_out: dict[str, set[Any]] = {domain: set() for domain in domains}
    for other, rule in context.all_rules.items():
        if other.domain != label.domain:
            values = members(other.domain, rule.values)
            kept_out[other.domain].update(values if rule.test == "one_of" else [pick(draws, values)])
    return {
        domains[domain]: [value for value in VALUES[domain] if value not in values]
        for domain, values in kept_out.items()
    }


def _pools(draws: Draws, kind: str) -> dict[str, Sequence[Any]]:
    """Return the values of one of the first two panels: of shapes, it lacks one of each attribute."""
    pools: dict[str, Sequence[Any]] = {}
    for domain, attribute in domains_of(kind).items():
        missing = pick(draws, VALUES[domain]) if kind == "shape" else None
        pools[attribute] = [value for value in VALUES[domain] if value != missing]
    return pools


def _panel(
    draws: Draws, kind: str, count: int, pools: Pools, given: Mapping[str, Sequence[Any]] | None = None
) -> Panel | None:
    """Draw ``count`` objects: given values in random order, all others from the pools; None if a pool is too small."""
    columns: list[Sequence[Any]] = []
    for attribute in _CLASSES[kind]._fields:
        pool = pools[attribute]
        if given is not None and attribute in given:
            columns.append(draws.distinct(given[attribute], count))
        elif len(pool) < (count if attribute == _UNIQUE[kind] else 1):
            return None
        elif attribute == _UNIQUE[kind]:
            columns.append(draws.distinct(pool, count))
        else:
            columns.append([pick(draws, pool) for _ in range(count)])
    return Panel(tuple(map(_CLASSES[kind], *columns)))
