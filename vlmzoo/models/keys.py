"""Two-way tables between the names of published tensors and ours, and what comes of comparing the two.

A pattern is a key in which whole segments may be placeholders: ``{name}`` stands for one segment, ``{name:int}`` for a
number, ``{name:path}`` for one segment or more. "Theirs" is always the published name, "ours" the name in our model.
"""

import importlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from vlmzoo.errors import CheckpointError, ConfigError
from vlmzoo.models._key_report import KeyReport, Mismatch, Shape
from vlmzoo.models._patterns import Pattern
from vlmzoo.registry import nearest_hint

__all__ = [
    "KeyReport",
    "KeyTable",
    "Mismatch",
    "RowCut",
    "Shape",
    "compare_keys",
    "key_table",
    "key_tables",
    "nearest_layout",
    "with_hint",
]

T = TypeVar("T")


class RowCut(NamedTuple):
    """Rows at the end of a published table that a smaller table of ours leaves out on reading."""

    theirs: int
    """Rows as published."""
    ours: int
    """Rows that are kept, if our model has exactly so many."""
    reason: str
    """Why the others are never looked up."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KeyTable:
    """Renames that can be undone, and what is left out on reading.

    No key matches two renames, in either direction, and both sides of a rename name the same placeholders; so every
    key has one counterpart and ``to_theirs(to_ours(key)) == key``. This is checked when a table is made.

    Args:
        layout: what cards call it.
        source: whose code or files bear these names.
        renames: pattern of theirs to pattern of ours.
        drops: patterns of theirs that are left out on reading, each with the reason; they go before renames.
        cuts: keys of theirs whose last rows may be left out on reading.
        unread: patterns of theirs, renamed as well, of tensors that no forward pass reads, each with the reason: they
            are taken where they fit, and neither their absence nor another shape is a fault.

    Raises:
        ConfigError: if the table could not be undone.
    """

    layout: str
    source: str
    renames: Mapping[str, str]
    drops: Mapping[str, str] = field(default_factory=dict)
    cuts: Mapping[str, RowCut] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _ = self._dropped, self._unread  # are read at once, so that a faulty pattern fails here
        for theirs, ours in self._rules:
            if theirs.placeholders != ours.placeholders:
                raise ConfigError(f"`{theirs.text}` and `{ours.text}` must name the same placeholders.")
        for side in zip(*self._rules, strict=True):
            for place, pattern in enumerate(side):
                for other in side[place + 1 :]:
                    if pattern.overlaps(other):
                        raise ConfigError(
                            f"Layout `{self.layout}`: a key may match `{pattern.text}` or `{other.text}`."
                        )

    @cached_property
    def _rules(self) -> list[tuple[Pattern, Pattern]]:
        return [(Pattern(theirs), Pattern(ours)) for theirs, ours in self.renames.items()]

    @cached_property
    def _dropped(self) -> list[tuple[Pattern, str]]:
        return [(Pattern(theirs), reason) for theirs, reason in self.drops.items()]

    @cached_property
    def _unread(self) -> list[tuple[Pattern, str]]:
        return [(Pattern(theirs), reason) for theirs, reason in self.unread.items()]

    def reason_to_drop(self, key: str) -> str | None:
        """Return why a published key is left out on reading, or None if it is read."""
        return next((reason for pattern, reason in self._dropped if pattern.match(key) is not None), None)

    def reason_unread(self, key: str) -> str | None:
        """Return why it does not matter whether a published key is there, or None if it does."""
        return next((reason for pattern, reason in self._unread if pattern.match(key) is not None), None)

    def knows(self, key: str) -> bool:
        """Say whether a published key is renamed or dropped by this table."""
        return any(pattern.match(key) is not None for pattern, _ in [*self._dropped, *self._rules])

    def names(self, key: str) -> bool:
        """Say whether a key of ours has a published name in this table."""
        return self._published(key) is not None

    def to_ours(self, key: str) -> str | None:
        """Return our name of a published key, or None if it is dropped on reading.

        Raises:
            CheckpointError: if the layout has no such key; the nearest key is in the message.
        """
        if self.reason_to_drop(key) is not None:
            return None
        for theirs, ours in self._rules:
            values = theirs.match(key)
            if values is not None:
                return ours.fill(values)
        hint = nearest_hint(key, [theirs.nearest(key) for theirs, _ in self._rules])
        raise CheckpointError(f"Layout `{self.layout}` has no key `{key}`.{hint}")

    def to_theirs(self, key: str) -> str:
        """Return the published name of a key of ours.

        Raises:
            CheckpointError: if the layout has no name for it; the nearest key is in the message.
        """
        published = self._published(key)
        if published is None:
            hint = nearest_hint(key, [ours.nearest(key) for _, ours in self._rules])
            raise CheckpointError(f"Layout `{self.layout}` has no name for our `{key}`.{hint}")
        return published

    def _published(self, key: str) -> str | None:
        for theirs, ours in self._rules:
            values = ours.match(key)
            if values is not None and self.reason_to_drop(theirs.fill(values)) is None:
                return theirs.fill(values)
        return None

    def dict_to_ours(self, entries: Mapping[str, T]) -> dict[str, T]:
        """Rename the keys of a state dictionary, or of its shapes, leaving out what is dropped; no rows are cut.

        Raises:
            CheckpointError: if a key is unknown.
        """
        renamed = {self.to_ours(key): entry for key, entry in entries.items()}
        return {key: entry for key, entry in renamed.items() if key is not None}

    def dict_to_theirs(self, entries: Mapping[str, T]) -> dict[str, T]:
        """Rename the keys of our state dictionary, or of its shapes, to the published names.

        Raises:
            CheckpointError: if a key has no published name.
        """
        return {self.to_theirs(key): entry for key, entry in entries.items()}

    def cut_of(self, key: str, found: Shape, expected: Shape) -> RowCut | None:
        """Return the cut by which a published shape becomes ours, or None if none is declared for these very rows."""
        cut = self.cuts.get(key)
        if cut is None or found[1:] != expected[1:] or (found[:1], expected[:1]) != ((cut.theirs,), (cut.ours,)):
            return None
        return cut


def compare_keys(
    expected: Mapping[str, Shape],
    sources: Iterable[tuple[KeyTable, Mapping[str, Shape]]],
    *,
    ties: Iterable[Collection[str]] = (),
) -> KeyReport:
    """Compare what a model takes with what checkpoints hold.

    Args:
        expected: our keys and shapes.
        sources: for each part of the checkpoint its key table, and its keys and shapes.
        ties: groups of our keys that are one tensor; one of them is enough.
    """
    sources = list(sources)
    filled: set[str] = set()
    unexpected: list[str] = []
    mismatched: list[Mismatch] = []
    dropped: dict[str, str] = {}
    cut: dict[str, str] = {}
    for table, shapes in sources:
        for key, found in shapes.items():
            reason = table.reason_to_drop(key)
            ours = table.to_ours(key) if table.knows(key) else None
            if reason is None and ours is not None and expected.get(ours) != found:
                reason = table.reason_unread(key)
            if reason is not None:
                dropped[key] = reason
            elif ours is None or ours not in expected or ours in filled:
                unexpected.append(key)
            else:
                filled.add(ours)
                row_cut = table.cut_of(key, found, expected[ours])
                if row_cut is not None:
                    cut[key] = row_cut.reason
                elif found != expected[ours]:
                    mismatched.append(Mismatch(key, expected[ours], found))
    held = filled.union(*(group for group in ties if not filled.isdisjoint(group)))
    tables = [table for table, _ in sources]
    lacking = [key for key in expected if key not in held and not _is_unread(key, tables)]
    return KeyReport(
        layout=" + ".join(table.layout for table in tables),
        num_matched=len(filled) - len(mismatched),
        missing=tuple(_published_name(key, tables) for key in lacking),
        unexpected=tuple(unexpected),
        mismatched=tuple(mismatched),
        dropped=dropped,
        cut=cut,
    )


def _is_unread(key: str, tables: Iterable[KeyTable]) -> bool:
    """Say whether nothing reads a tensor of ours, according to a layout that names it."""
    return any(table.names(key) and table.reason_unread(table.to_theirs(key)) is not None for table in tables)


def _published_name(key: str, tables: Iterable[KeyTable]) -> str:
    """Return the name that a key bears in the first layout that has one, or else our own."""
    return next((table.to_theirs(key) for table in tables if table.names(key)), key)


def nearest_layout(tables: Mapping[str, KeyTable], keys: Collection[str], *, ours: Collection[str] = ()) -> KeyTable:
    """Return the table that knows most of a checkpoint's keys.

    Args:
        tables: by layout; the first of those that are equally near wins.
        keys: published names.
        ours: names in our model; of tables that know equally many keys, the one that names most of these is nearest.
    """
    return max(
        tables.values(),
        key=lambda table: (sum(table.knows(key) for key in keys), sum(table.names(key) for key in ours)),
    )


def key_tables(model: object) -> Mapping[str, KeyTable]:
    """Return the key tables of a model's family, by layout: ``TABLES`` of the ``keys`` module beside its class.

    Raises:
        ConfigError: if the family has none.
    """
    package = type(model).__module__.rpartition(".")[0]
    try:
        return _family_keys(model).TABLES
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"`{type(model).__name__}` must have key tables in `{package}.keys`, but has none."
        ) from error


def with_hint(report: KeyReport, model: object, keys: Collection[str]) -> KeyReport:
    """Add to a report with faults what the family knows of their cause: ``explain`` of its ``keys`` module, if any.

    Args:
        report: of the comparison.
        model: that the checkpoint was compared with.
        keys: published names.
    """
    try:
        explain = getattr(_family_keys(model), "explain", None)
    except ImportError:  # a class of our own making, or of another package
        explain = None
    return report if report.is_clean or explain is None else replace(report, hint=explain(model, keys))


def _family_keys(model: object) -> Any:
    return importlib.import_module(f"{type(model).__module__.rpartition('.')[0]}.keys")


def key_table(model: object, layout: str) -> KeyTable:
    """Return one key table of a model's family.

    Raises:
        ConfigError: if the family has no such layout; the nearest name is in the message.
    """
    tables = key_tables(model)
    if layout not in tables:
        known = ", ".join(f"`{name}`" for name in tables)
        raise ConfigError(f"`layout` must be one of {known}, but is `{layout}`.{nearest_hint(layout, tables)}")
    return tables[layout]
