"""TWIN's rows as a table of pairs: which images, the same or not, and which instances hang together.

Letters: R rows, E pairs.
"""

import logging
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from vlmzoo.data.components import connected_components, split_components
from vlmzoo.data.labels import normalised_label
from vlmzoo.data.sources._rows import JoinedRows, Rows
from vlmzoo.errors import DataError

__all__ = ["LinkedBy", "PairTable", "TwinReport"]

logger = logging.getLogger(__name__)

LinkedBy: TypeAlias = Literal["same", "all"]
"""What keeps images in one split: pairs of one instance (pairs across splits are left out and counted), or all."""

_COLUMNS = ("image_1", "image_2", "answer")
_LABELS = ("yes", "no")
_MAX_NAMED = 3


@dataclass
class TwinReport:
    """What was found in the rows, and what became of them.

    Args:
        num_rows: R.
        labels: how often each occurs, normalised.
        num_unknown: rows with another label than yes or no, which are left out.
        num_repeated: rows that ask again for a pair, in either order, which are left out.
        num_contradicting: such rows with the other label, left out too.
        num_across: pairs of two splits, which are left out.
        num_images: distinct.
        num_instances: as far as pairs of one instance tell.
        pairs: by split.
    """

    num_rows: int = 0
    labels: dict[str, int] = field(default_factory=lambda: dict[str, int]())
    num_unknown: int = 0
    num_repeated: int = 0
    num_contradicting: int = 0
    num_across: int = 0
    num_images: int = 0
    num_instances: int = 0
    pairs: dict[str, int] = field(default_factory=lambda: dict[str, int]())

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return asdict(self)


class PairTable:
    """An index of the rows: three numbers for each pair.

    Args:
        rows: of the files.
        on_unknown: what becomes of labels other than yes and no: ``refuse``, or ``skip``, which counts and tells them.

    Raises:
        DataError: if a column is missing, or labels are unknown and refused.
    """

    def __init__(self, rows: Rows, *, on_unknown: Literal["refuse", "skip"] = "refuse") -> None:
        self.rows = rows
        self.report = TwinReport(num_rows=len(rows))
        self.paths: list[str] = []
        self.row_numbers, self.firsts, self.seconds = array("q"), array("q"), array("q")
        self.is_same = bytearray()
        self._read(on_unknown)
        self.instances = connected_components(
            len(self.paths),
            ((a, b) for a, b, is_same in zip(self.firsts, self.seconds, self.is_same, strict=True) if is_same),
        )
        self.report.num_images = len(self.paths)
        self.report.num_instances = len(set(self.instances))

    def __len__(self) -> int:
        """Return E."""
        return len(self.row_numbers)

    def split(self, shares: Mapping[str, float], *, linked_by: LinkedBy, seed: int) -> Mapping[str, Sequence[int]]:
        """Return the pairs of each split; no two splits share an image or an instance.

        Raises:
            DataError: if the data hang together so that a split gets nothing.
        """
        groups = self.instances
        if linked_by == "all":
            pairs = zip(self.firsts, self.seconds, strict=True)
            groups = connected_components(len(self.paths), [*pairs, *_chained(self.instances)])
        sizes = Counter(groups)
        names = split_components([sizes[number] for number in range(len(sizes))], shares, seed=seed)
        of_image = [names[group] for group in groups]
        found: dict[str, list[int]] = {name: [] for name, share in shares.items() if share}
        for pair, (first, second) in enumerate(zip(self.firsts, self.seconds, strict=True)):
            if of_image[first] == of_image[second]:
                found[of_image[first]].append(pair)
            else:
                self.report.num_across += 1
        self.report.pairs = {name: len(pairs) for name, pairs in found.items()}
        self._assert_apart(found)
        return found

    def authors_split(self, *, num_test: int = 5_000, seed: int = 42) -> Mapping[str, Sequence[int]]:
        """Return TWIN's own splits, whose test pairs share images and instances with training.

        Source: its data preparation; ``datasets`` shuffles by a permutation of numpy's default generator.
        """
        order = np.random.default_rng(seed).permutation(len(self.rows)).tolist()
        pair_of = {row: pair for pair, row in enumerate(self.row_numbers)}
        parts = {"test": order[:num_test], "train": order[num_test:]}
        found = {name: [pair_of[row] for row in part if row in pair_of] for name, part in parts.items()}
        self.report.pairs = {name: len(pairs) for name, pairs in found.items()}
        return found

    def _read(self, on_unknown: str) -> None:
        ids: dict[str, int] = {}
        known: dict[tuple[int, int], bool] = {}
        unknown: dict[str, list[str]] = {}
        labels: Counter[str] = Counter()
        for number, (path_1, path_2, answer) in enumerate(_columns(self.rows)):
            label = normalised_label(answer)
            labels[label] += 1
            if label not in _LABELS:
                unknown.setdefault(label, []).append(self.rows.place(number))
                continue
            first, second = (ids.setdefault(path, len(ids)) for path in (path_1, path_2))
            key, is_same = (min(first, second), max(first, second)), label == "yes"
            if key in known:
                self.report.num_repeated += known[key] == is_same
                self.report.num_contradicting += known[key] != is_same
                continue
            known[key] = is_same
            self.row_numbers.append(number)
            self.firsts.append(first)
            self.seconds.append(second)
            self.is_same.append(is_same)
        self.paths = list(ids)
        self.report.labels = dict(labels)
        self.report.num_unknown = sum(map(len, unknown.values()))
        self._tell(unknown, on_unknown)

    def _tell(self, unknown: Mapping[str, Sequence[str]], on_unknown: str) -> None:
        if unknown:
            shown = ", ".join(
                f"{label!r} in {len(places)} rows ({'; '.join(places[:_MAX_NAMED])})"
                for label, places in unknown.items()
            )
            if on_unknown == "refuse":
                raise DataError(
                    f"Answers must be yes or no, but there is {shown}; set `on_unknown: skip`, or mend them."
                )
            logger.warning("Answers must be yes or no; left out: %s.", shown)
        if self.report.num_contradicting:
            logger.warning("%d rows contradict an earlier one about the same pair.", self.report.num_contradicting)
        if not len(self):
            raise DataError("The data must hold a pair, but hold none whose answer is yes or no.")

    def _assert_apart(self, found: Mapping[str, Sequence[int]]) -> None:
        images = {
            name: {image for pair in pairs for image in (self.firsts[pair], self.seconds[pair])}
            for name, pairs in found.items()
        }
        instances = {name: {self.instances[image] for image in own} for name, own in images.items()}
        for sets in (images, instances):
            assert len(set().union(*sets.values())) == sum(map(len, sets.values())), "splits share something"


def _chained(groups: Sequence[int]) -> list[tuple[int, int]]:
    """Return links that hold each group together."""
    first: dict[int, int] = {}
    return [(first.setdefault(group, node), node) for node, group in enumerate(groups)]


def _columns(rows: Rows) -> Any:
    """Iterate over the three columns that make a pair.

    Raises:
        DataError: if one is missing, or holds no text.
    """
    parts = rows.tables if isinstance(rows, JoinedRows) else [rows]
    for part in parts:
        read: Any = getattr(part, "columns", None)
        records = read(_COLUMNS) if read else ([part.row(i).get(name) for name in _COLUMNS] for i in range(len(part)))
        for number, values in enumerate(records):
            if not all(isinstance(value, str) for value in values):
                raise DataError(f"{part.place(number)} must have texts in {', '.join(_COLUMNS)}, but has {values}.")
            yield values
