"""Hallucination at small scale: the icons that captions of drawn scenes name, against those that are there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.icons import icons_in
from vlmzoo.data.sources import SOURCES, Source
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, Expected
from vlmzoo.evaluation.benchmarks._described import RatioBenchmark
from vlmzoo.registry import NestedSpecs
from vlmzoo.types import Sample

__all__ = ["IconCaptionsBenchmark"]


@BENCHMARKS.register(
    "icon_captions",
    source="CHAIR, arXiv:1809.02156, section 3, on vlmzoo's own scenes",
    tiny={"source": {"type": "icon_scenes", "canvas_px": 28}, "num_questions": 2},
)
@dataclass(frozen=True, kw_only=True)
class IconCaptionsBenchmark(RatioBenchmark):
    """CHAIR of objects and of captions, coverage, F1 and length, as shares and numbers.

    Args:
        source: ``{type: icon_scenes, …}``, with a seed that training does not use.
        num_questions: how many scenes.
        max_new_tokens: how long a caption may be.
        expected: ``{value: …, source: …}``, for ``chair_i``.

    Raises:
        ConfigError: if there are too few scenes.
    """

    nested_specs: ClassVar[NestedSpecs] = {"source": SOURCES.check}

    source: Mapping[str, Any]
    num_questions: int
    max_new_tokens: int = 40
    expected: Expected | None = None
    _source: Source = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the source."""
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        object.__setattr__(self, "_source", SOURCES.build(self.source))
        size = self._source.size
        if self.num_questions < 1 or (size is not None and self.num_questions > size):
            raise ConfigError(f"`num_questions` must be from 1 to {size or 'any number'}, but is {self.num_questions}.")

    @property
    def identity(self) -> Mapping[str, Any]:
        """The source and the rest, as a configuration would spell them."""
        names = ("num_questions", "max_new_tokens")
        return {"type": "icon_captions", "source": dict(self.source), **{name: getattr(self, name) for name in names}}

    @property
    def ratios(self) -> Mapping[str, tuple[str, str]]:
        """CHAIR of objects first."""
        return {
            "chair_i": ("wrong", "named"),
            "chair_s": ("is_wrong", "captions"),
            "cover": ("right", "there"),
            "f1": ("twice_right", "named_and_there"),
            "named": ("named", "captions"),
        }

    def questions(self) -> Iterator[Sample]:
        """Ask for a caption of each scene."""
        for position in range(self.num_questions):
            sample = self._source.sample(position)
            yield replace(prompt_of(sample), id=str(position), reference=sample.meta["objects"])

    def counts_of(self, completion: str, sample: Sample) -> Mapping[str, float]:
        """Count icons."""
        named, there = set(icons_in(completion)), set(sample.reference)
        wrong, right = float(len(named - there)), float(len(named & there))
        return {
            "wrong": wrong,
            "named": float(len(named)),
            "is_wrong": float(wrong > 0),
            "captions": 1.0,
            "right": right,
            "there": float(len(there)),
            "twice_right": 2 * right,
            "named_and_there": float(len(named) + len(there)),
        }
