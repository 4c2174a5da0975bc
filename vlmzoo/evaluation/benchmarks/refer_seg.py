"""Referring segmentation on refCLEF, refCOCO, refCOCO+ and refCOCOg."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.sources import TINY
from vlmzoo.data.sources.refer_seg import ReferDataset, ReferSegSource
from vlmzoo.evaluation.benchmarks import BENCHMARKS
from vlmzoo.evaluation.benchmarks._phrases import phrase_question
from vlmzoo.evaluation.segmentation import MaskBenchmark
from vlmzoo.types import Sample

__all__ = ["ReferSegBenchmark"]


@BENCHMARKS.register(
    "refer_seg",
    source="LISA, arXiv:2308.00692, section 4.3",
    tiny={"root": str(TINY / "lisa"), "dataset": "refcoco", "split": "testA"},
)
@dataclass(frozen=True, kw_only=True)
class ReferSegBenchmark(MaskBenchmark):
    """Every sentence of every reference of a split is a question; ``ciou`` is the main score.

    Args:
        root: folder that holds ``refer_seg``.
        dataset: ``refclef``, ``refcoco``, ``refcoco+`` or ``refcocog``.
        split: ``val``, ``test``, ``testA``, ``testB``.
        split_by: who made the splits; default: as ``ReferSegSource``.

    Raises:
        DataError: if the set is not there.
    """

    root: str
    dataset: ReferDataset = "refcoco"
    split: str = "val"
    split_by: str | None = None
    _source: ReferSegSource = field(init=False, repr=False, compare=False)
    _num: int = field(init=False, repr=False, compare=False)

    main_score = "ciou"

    def __post_init__(self) -> None:
        """Open the set."""
        super().__post_init__()
        source = ReferSegSource(root=self.root, dataset=self.dataset, split=self.split, split_by=self.split_by)
        object.__setattr__(self, "_source", source)
        num = sum(len(source.read(index).phrases) for index in range(source.num_images))
        object.__setattr__(self, "_num", num)

    @property
    def identity(self) -> Mapping[str, Any]:
        """All but where the set lies."""
        return {
            "type": "refer_seg",
            "dataset": self.dataset,
            "split": self.split,
            "split_by": self.split_by,
            "protocol": self.protocol,
            "max_new_tokens": self.max_new_tokens,
            "compat": self.compat,
        }

    @property
    def num_questions(self) -> int:
        """How many sentences there are."""
        return self._num

    def questions(self) -> Iterator[Sample]:
        """Ask image by image, reference by reference."""
        templates = load_prompts("lisa")["evaluation"]
        for index in range(self._source.num_images):
            image = self._source.read(index)
            for number, phrase in enumerate(image.phrases):
                yield phrase_question(image, phrase, templates, number=number)
