"""ReasonSeg: questions that take thought, answered with a mask."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.sources import TINY
from vlmzoo.data.sources.reason_seg import ReasonSegSource
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS
from vlmzoo.evaluation.benchmarks._phrases import phrase_question
from vlmzoo.evaluation.segmentation import MaskBenchmark
from vlmzoo.types import Sample

__all__ = ["ReasonSegBenchmark"]

_SUBSETS = {"all": None, "short": False, "long": True}


@BENCHMARKS.register(
    "reason_seg",
    source="LISA, arXiv:2308.00692, section 4.1",
    tiny={"root": str(TINY / "lisa"), "split": "train"},
)
@dataclass(frozen=True, kw_only=True)
class ReasonSegBenchmark(MaskBenchmark):
    """The first text of each image, in the authors' words; ``giou`` is the main score.

    Args:
        root: folder that holds ``reason_seg``.
        split: ``val`` or ``test``.
        subset: ``short`` asks for phrases only, ``long`` for sentences only.

    Raises:
        ConfigError: if there is no such subset, or nothing is in it.
        DataError: if the set is not there.
    """

    root: str
    split: str = "val"
    subset: Literal["all", "short", "long"] = "all"
    _places: list[int] = field(init=False, repr=False, compare=False)
    _source: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Open the set."""
        super().__post_init__()
        if self.subset not in _SUBSETS:
            raise ConfigError(f"`subset` must be one of {', '.join(_SUBSETS)}, but is {self.subset!r} instead.")
        source = ReasonSegSource(root=self.root, split=self.split)
        wanted = _SUBSETS[self.subset]
        places = [n for n in range(source.num_images) if wanted in (None, source.read(n).meta["is_sentence"])]
        if not places:
            raise ConfigError(f"Split `{self.split}` of ReasonSeg has no question of `subset: {self.subset}`.")
        object.__setattr__(self, "_source", source)
        object.__setattr__(self, "_places", places)

    @property
    def identity(self) -> Mapping[str, Any]:
        """All but where the set lies."""
        return {
            "type": "reason_seg",
            "split": self.split,
            "subset": self.subset,
            "protocol": self.protocol,
            "max_new_tokens": self.max_new_tokens,
            "compat": self.compat,
        }

    @property
    def num_questions(self) -> int:
        """How many images are asked about."""
        return len(self._places)

    def questions(self) -> Iterator[Sample]:
        """Ask about one image after the other; groups tell short from long, and images without a target."""
        for place in self._places:
            image = self._source.read(place)
            phrase = image.phrases[0]
            groups = ["long" if phrase.is_sentence else "short", *(["with_target"] if phrase.mask().area else [])]
            yield phrase_question(image, phrase, load_prompts("lisa")["evaluation"], groups=groups)
