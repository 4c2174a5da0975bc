"""Looking at every row of a source: what is in it, what is wrong with it, and by kind which come first."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vlmzoo.data.images import load_image
from vlmzoo.data.sources import RowError, Source
from vlmzoo.data.sources.pictures import read_size
from vlmzoo.errors import DataError
from vlmzoo.types import Content, Message, Sample

__all__ = ["SourceReport", "Spread", "check_source", "rows_to_check"]

_OTHER = "other"
_NUM_ENDLESS = 1000
_MAX_SHOWN = 3


@dataclass
class Spread:
    """Numbers, and how they spread."""

    values: list[int] = field(default_factory=list)

    def add(self, value: int) -> None:
        """Take one more."""
        self.values.append(value)

    def to_dict(self) -> dict[str, float]:
        """Return ``num``, ``min``, ``median``, ``p95``, ``max`` and ``mean``; {} without any."""
        if not self.values:
            return {}
        ordered, last = sorted(self.values), len(self.values) - 1
        return {
            "num": len(ordered),
            "min": ordered[0],
            "median": ordered[last // 2],
            "p95": ordered[round(0.95 * last)],
            "max": ordered[-1],
            "mean": round(sum(ordered) / len(ordered), 1),
        }


@dataclass
class SourceReport:
    """What was found in the rows of a source.

    Args:
        num_rows: how many were looked at.
        num_faults: how many are corrupt.
        num_images: in the good rows, like all that follows but the faults.
        num_with_images: rows.
        num_without_answer: rows that do not end with what an assistant says.
        num_repeated_ids: rows whose id an earlier row has.
        repeated_ids: the first of them.
        turns: how many, by role.
        turns_per_row: how many turns a row has.
        text_lengths: characters in a turn, by role.
        image_sides: pixels of the longer side.
        num_masks: in the good rows.
        num_empty_masks: to which no pixel belongs.
        faults: how many, by kind.
        first_faults: the sentences of the first few, by kind.
    """

    num_rows: int = 0
    num_faults: int = 0
    num_images: int = 0
    num_with_images: int = 0
    num_without_answer: int = 0
    num_repeated_ids: int = 0
    repeated_ids: list[str] = field(default_factory=list)
    turns: Counter[str] = field(default_factory=Counter)
    turns_per_row: Spread = field(default_factory=Spread)
    text_lengths: dict[str, Spread] = field(default_factory=dict)
    image_sides: Spread = field(default_factory=Spread)
    num_masks: int = 0
    num_empty_masks: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first_faults: dict[str, list[str]] = field(default_factory=dict)

    @property
    def fault_fraction(self) -> float:
        """The share of rows that are corrupt."""
        return self.num_faults / self.num_rows if self.num_rows else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        found = dict(self.__dict__)
        for name, value in found.items():
            found[name] = value.to_dict() if isinstance(value, Spread) else value
        texts = {role: spread.to_dict() for role, spread in sorted(self.text_lengths.items())}
        counts = {"turns": dict(self.turns), "faults": dict(self.faults.most_common()), "text_lengths": texts}
        return {**found, **counts, "fault_fraction": self.fault_fraction}

    def add_fault(self, error: DataError) -> None:
        """Count a corrupt row."""
        kind = error.kind if isinstance(error, RowError) else _OTHER
        self.num_faults += 1
        self.faults[kind] += 1
        shown = self.first_faults.setdefault(kind, [])
        if len(shown) < _MAX_SHOWN:
            shown.append(str(error))

    def add(self, sample: Sample, sizes: Sequence[tuple[int, int]]) -> None:
        """Count a good row.

        Args:
            sample: the row.
            sizes: (width, height) of its images, in pixels.
        """
        self.num_images += len(sizes)
        self.num_with_images += bool(sizes)
        self.num_without_answer += sample.messages[-1]["role"] != "assistant"
        self.turns_per_row.add(len(sample.messages))
        for size in sizes:
            self.image_sides.add(max(size))
        self.num_masks += len(sample.masks)
        self.num_empty_masks += sum(mask.area == 0 for mask in sample.masks)
        for message in sample.messages:
            self.turns[message["role"]] += 1
            self.text_lengths.setdefault(message["role"], Spread()).add(_num_characters(message))


def rows_to_check(source: Source, num: int | None = None) -> int:
    """Return how many rows `check_source` looks at.

    Args:
        source: any.
        num: as many as there are, at most; None for all, and for 1,000 of a source without end.
    """
    if source.size is None:
        return _NUM_ENDLESS if num is None else num
    return source.size if num is None else min(num, source.size)


def check_source(
    source: Source,
    *,
    num: int | None = None,
    decode: bool = False,
    keep: Callable[[Sample], None] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> SourceReport:
    """Read the rows of a source, and the headers of their images.

    Args:
        source: any.
        num: how many rows, see `rows_to_check`.
        decode: whether images are decoded, which finds those that are cut off.
        keep: called with each good row, in order; a `DataError` that it raises is a fault of the row.
        report: called with (rows done, rows in all) after each.
    """
    total = rows_to_check(source, num)
    found = SourceReport()
    seen: set[str] = set()
    for position in range(total):
        found.num_rows += 1
        try:
            sample = source.sample(position)
            sizes = _image_sizes(sample, decode=decode)
            if keep is not None:
                keep(sample)
        except DataError as error:
            found.add_fault(error)
        else:
            found.add(sample, sizes)
            _note_id(found, seen, sample.id)
        if report is not None:
            report(position + 1, total)
    return found


def _image_sizes(sample: Sample, *, decode: bool) -> list[tuple[int, int]]:
    """Return (width, height) of the images, which must be as many as the blocks that show them.

    Raises:
        RowError: if there are more or fewer, or one cannot be read.
    """
    blocks = [block for message in sample.messages for block in _blocks(message) if block["type"] == "image"]
    if len(blocks) != len(sample.images):
        raise RowError(
            f"Sample `{sample.id}` must have an image for each image block, but has {len(sample.images)} images and "
            f"{len(blocks)} blocks instead; correct its source.",
            "image count",
        )
    sizes = [read_size(image) for image in sample.images]
    try:
        for image in sample.images if decode else ():
            load_image(image)
    except DataError as error:
        raise RowError(f"Sample `{sample.id}`: {error}", "broken image") from error
    return sizes


def _note_id(found: SourceReport, seen: set[str], id: str) -> None:
    if id in seen:
        found.num_repeated_ids += 1
        if len(found.repeated_ids) < _MAX_SHOWN and id not in found.repeated_ids:
            found.repeated_ids.append(id)
    seen.add(id)


def _num_characters(message: Message) -> int:
    return sum(len(block["text"]) for block in _blocks(message) if block["type"] == "text")


def _blocks(message: Message) -> Sequence[Content]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
