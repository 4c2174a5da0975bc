"""Average precision on fresh pictures of a synthetic detection task."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.synthetic import TASKS
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS
from vlmzoo.evaluation.detecting import DetectionBenchmark
from vlmzoo.registry import NestedSpecs
from vlmzoo.scoring import check_scores
from vlmzoo.types import Sample

__all__ = ["SyntheticDetectionBenchmark"]


@BENCHMARKS.register(
    "synthetic_detection",
    source="vlmzoo's own; scores of COCO, arXiv:1405.0312, and Visual-RFT, arXiv:2503.01785, section 4.2",
    tiny={
        "task": {"type": "shape_detection", "canvas_px": 48},
        "num_questions": 2,
        "seed": 0,
        "num_resamples": 2,
        "max_new_tokens": 8,
    },
)
@dataclass(frozen=True, kw_only=True)
class SyntheticDetectionBenchmark(DetectionBenchmark):
    """Pictures 0, 1, … of one seed, each with one category that is asked for, which is in it.

    Args:
        task: ``{type: shape_detection, …}`` of ``vlmzoo.data.synthetic.TASKS``.
        num_questions: how many are asked.
        seed: of the task; one that training does not use.

    Raises:
        ConfigError: if the task's samples name no category.
    """

    nested_specs: ClassVar[NestedSpecs] = {"task": TASKS.check, "score": check_scores}

    task: Mapping[str, Any]
    num_questions: int
    seed: int
    _task: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the task, and check that it is one of detection."""
        super().__post_init__()
        if self.num_questions < 1:
            raise ConfigError(f"`num_questions` must be at least 1, but is {self.num_questions} instead.")
        object.__setattr__(self, "_task", TASKS.build(self.task))
        if "category" not in self._sample(0).meta:
            raise ConfigError(f"`task` must give samples that name a category, but `{self._task.name}` does not.")

    @property
    def identity(self) -> Mapping[str, Any]:
        """The task, its seed and the rest, as a configuration would spell them."""
        return {
            "type": "synthetic_detection",
            "task": dict(self.task),
            "num_questions": self.num_questions,
            "seed": self.seed,
            "score": self.score_specs,
            "max_new_tokens": self.max_new_tokens,
        }

    def questions(self) -> Iterator[Sample]:
        """Draw the pictures one after the other; categories are numbered in the order of their names."""
        names: dict[str, int] = {name: id for id, name in enumerate(self._task.category_names, start=1)}
        for index in range(self.num_questions):
            sample = self._sample(index)
            told = {"image_id": index + 1, "category_id": names[sample.meta["category"]], "size_px": self._size(sample)}
            yield replace(prompt_of(sample), meta={**sample.meta, **told})

    def _size(self, sample: Sample) -> tuple[int, int]:
        picture: Any = sample.images[0]
        return picture.size

    def _sample(self, index: int) -> Sample:
        return self._task.sample("image", self.seed, index)
