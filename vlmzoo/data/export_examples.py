"""What all exported files share: examples, stretches of them, and what a format has to say."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from vlmzoo.data.synthetic import Kind, SyntheticTask

__all__ = ["Example", "ExportFormat", "Shard", "Write", "save_png", "whole_file"]

_COMPRESS_LEVEL = 1  # of 9: half as large again as level 6, and twice as fast


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A stretch of instances that is written at a time.

    Args:
        number: from 0.
        count: of all shards.
        start: index of the first instance.
        stop: index behind the last one.
    """

    number: int
    count: int
    start: int
    stop: int

    def __len__(self) -> int:
        """Return how many instances there are."""
        return self.stop - self.start

    @classmethod
    def cut(cls, num: int, size: int) -> "list[Shard]":
        """Cut instances 0 to ``num`` - 1 into stretches of ``size``, of which the last may be shorter."""
        count = -(-num // size)
        return [
            cls(number=number, count=count, start=number * size, stop=min(num, (number + 1) * size))
            for number in range(count)
        ]


@dataclass(frozen=True)
class Example:
    """One instance, as one kind of example.

    Args:
        task: that drew it.
        instance: what was drawn.
        kind: what is given and what is asked.
        seed: of the instance.
        index: of the instance.
        chain: what ``response`` is told about the chain of thought.
        picture: what the format's ``picture`` gave; None where no kind shows one.
    """

    task: SyntheticTask
    instance: Any
    kind: Kind
    seed: int
    index: int
    chain: Mapping[str, Any]
    picture: Any

    @property
    def id(self) -> str:
        """Task, level, kind, seed and index, as in a sample."""
        return f"{self.task.name}/{self.task.level}/{self.kind}/{self.seed}/{self.index}"

    @property
    def fields(self) -> dict[str, Any]:
        """``conversations`` in LLaVA's form, and the ``reference`` that a score compares with."""
        turns = [
            {"from": "human", "value": self.task.prompt(self.instance, self.kind)},
            {"from": "gpt", "value": self.task.response(self.instance, self.kind, **self.chain)},
        ]
        return {"conversations": turns, "reference": self.task.answer(self.instance)}


Write: TypeAlias = Callable[[Example], None]


class ExportFormat:
    """What is common to the formats, and what each has to say.

    Attributes:
        name: of the format.
        shard_size: instances that are written at a time, if nothing else is asked.
        is_extendable: whether a longer export may go on in the folder of a shorter one.
    """

    name: str
    shard_size: int = 1000
    is_extendable = False

    def check(self, kinds: Sequence[Kind]) -> None:
        """Refuse kinds that the format does not have, or a missing package."""

    def stem(self, task: SyntheticTask, kind: Kind, suffix: str) -> str:
        """Return how the files of a kind are called; the suffix tells the chain of thought."""
        return f"{kind}{suffix}"

    def shard_path(self, folder: Path, stem: str, shard: Shard) -> Path:
        """Return the file of a shard, which is there when the shard is done."""
        raise NotImplementedError

    def picture(self, task: SyntheticTask, instance: Any, index: int, folder: Path) -> Any:
        """Return the picture of an instance, as records hold it: here, as PNG."""
        file = io.BytesIO()
        save_png(task, instance, file)
        return file.getvalue()

    def open_shard(self, path: Path) -> AbstractContextManager[Write]:
        """Open the file of a shard; it takes its name when the ``with`` ends well."""
        raise NotImplementedError

    def finish(self, folder: Path, stems: Sequence[str], shards: Sequence[Shard]) -> list[Path]:
        """Do what remains when all shards are written, and return the files."""
        return [self.shard_path(folder, stem, shard) for stem in stems for shard in shards]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``, which takes its place at the end, and is removed on failure."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def save_png(task: SyntheticTask, instance: Any, file: BinaryIO) -> None:
    """Draw an instance into a file."""
    task.image(instance, mode="P").save(file, format="PNG", compress_level=_COMPRESS_LEVEL)
